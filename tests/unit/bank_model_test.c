/* bank_model_test.c: random histories of several banks on one store, against sums that anybody can check.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "src/budget/till.h"
#include "store_helpers.h"

enum { BANKS = 3, BUDGETS = 5, IN_FLIGHT = 48, ACCOUNTS = 4096 };

/* The reference: what each account has come to, by hand. */
typedef struct model_account {
    weirp_account_key key;
    int budget;
    int64_t posted;          /* known to the ledger */
    int64_t unposted[BANKS]; /* known to the bank only */
    int64_t worst[BANKS], likely[BANKS];
    int64_t unproven; /* by its row */
    int64_t lost;     /* of banks that died: may be as much, unposted and in flight */
    bool excused;     /* somebody came to more than its worst case, or the limit was lowered */
    int64_t settled;  /* all that was ever settled, lost or not */
} model_account;

typedef struct flight {
    weirp_claim claim;
    int bank, n;
    int account[WEIRP_MAX_CLAIMED];
    int64_t worst[WEIRP_MAX_CLAIMED], likely[WEIRP_MAX_CLAIMED];
    weirp_subject subject;
} flight;

static struct {
    weirp_store *store;
    weirp_bank *bank[BANKS];
    weirp_budget budget[BUDGETS];
    weirp_zone *zone;
    model_account account[ACCOUNTS];
    int n_accounts;
    flight flying[IN_FLIGHT];
    int n_flying;
    int64_t now_ms;
    uint64_t seed, drawn, n_calls;
    int n_result[4], n_crashes, n_overruns;
} m;

static uint64_t clock_ns;

static uint64_t fake_clock(void) {
    return clock_ns;
}

static uint64_t draw(uint64_t below) {
    return weirp_random_u64(m.seed, 1, m.drawn++) % below;
}

static void open_bank(int i) {
    weir_error err = {0};
    weirp_bank_options options = {.clock_ns = fake_clock};
    if (weirp_bank_open(&m.bank[i], path, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void post(int i) {
    weir_error err = {0};
    unsigned wait;
    if (weirp_bank_post(m.bank[i], &wait, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (int a = 0; a < m.n_accounts; a++) {
        m.account[a].posted += m.account[a].unposted[i];
        m.account[a].unposted[i] = 0;
    }
}

static void post_all(int rounds) {
    for (int r = 0; r < rounds; r++) {
        clock_ns += 5 * WEIRP_TILL_MS;
        for (int i = 0; i < BANKS; i++) post(i);
    }
}

static int account_of(int b, const weirp_subject *subject) {
    weirp_account_key key;
    int64_t start = weirp_period_at(m.zone, m.budget[b].period, m.now_ms / 1000).start;
    weirp_account_key_of(&m.budget[b], start, subject, &key);
    for (int a = 0; a < m.n_accounts; a++)
        if (m.account[a].key.size == key.size && memcmp(m.account[a].key.bytes, key.bytes, key.size) == 0) return a;
    assert_true(m.n_accounts < ACCOUNTS);
    m.account[m.n_accounts] = (model_account){.key = key, .budget = b};
    return m.n_accounts++;
}

static void set_budget(int b, int64_t limit) {
    weir_error err = {0};
    if (limit < m.budget[b].limit)
        for (int a = 0; a < m.n_accounts; a++) m.account[a].excused |= m.account[a].budget == b;
    m.budget[b].limit = limit;
    if (weirp_ledger_set(m.store, &m.budget[b], &m.budget[b].id, &err) != WEIR_OK) fail_msg("%s", err.text);
    clock_ns += 300 * WEIRP_TILL_MS; /* what was refused before is looked at again */
}

static void define_budgets(void) {
    static const weirp_budget KINDS[BUDGETS] = {
        {.name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_TOTAL, .hard = true, .limit = 40000},
        {.name = "user-day",
         .unit = WEIRP_UNIT_USD,
         .period = WEIRP_PERIOD_DAY,
         .hard = true,
         .limit = 3000,
         .match = {[WEIRP_DIM_USER] = "*"}},
        {.name = "tokens",
         .unit = WEIRP_UNIT_TOKENS,
         .period = WEIRP_PERIOD_HOUR,
         .limit = 500,
         .match = {[WEIRP_DIM_USER] = "*", [WEIRP_DIM_KEY] = "*"},
         .warn = {0.5, 1}},
        {.name = "requests",
         .unit = WEIRP_UNIT_REQUESTS,
         .period = WEIRP_PERIOD_HOUR,
         .hard = true,
         .limit = 60,
         .match = {[WEIRP_DIM_KEY] = "k1"}},
        {.name = "team",
         .unit = WEIRP_UNIT_USD,
         .period = WEIRP_PERIOD_HOUR,
         .hard = true,
         .limit = 2500,
         .match = {[WEIRP_DIM_TEAM] = "blue"}},
    };
    for (int b = 0; b < BUDGETS; b++) {
        m.budget[b] = KINDS[b];
        set_budget(b, KINDS[b].limit);
    }
}

/* ---- what must hold ---- */

static void complain(void *user, const char *text) {
    (void)user;
    fail_msg("audit: %s (seed %llu)", text, (unsigned long long)m.seed);
}

static weir_status check_row(void *user, const weirp_account_row *row, weir_error *err) {
    (void)user, (void)err;
    for (int a = 0; a < m.n_accounts; a++) {
        model_account *acc = &m.account[a];
        if (acc->key.size != row->key.size || memcmp(acc->key.bytes, row->key.bytes, row->key.size) != 0) continue;
        int64_t in_flight = 0;
        acc->unproven = row->unproven;
        for (int i = 0; i < BANKS; i++) in_flight += acc->unposted[i] + acc->worst[i];
        if (row->spent != acc->posted)
            fail_msg("account %d of %s: spent %lld, settled %lld (seed %llu)", a, m.budget[acc->budget].name,
                     (long long)row->spent, (long long)acc->posted, (unsigned long long)m.seed);
        if (!m.budget[acc->budget].hard || acc->excused) return WEIR_OK;
        if (row->spent + row->leased + row->unproven > row->limit) fail_msg("more was lent than there is");
        if (acc->posted + in_flight + acc->lost > row->limit)
            fail_msg("%s: %lld posted, %lld in flight, %lld lost: above %lld (seed %llu)", m.budget[acc->budget].name,
                     (long long)acc->posted, (long long)in_flight, (long long)acc->lost, (long long)row->limit,
                     (unsigned long long)m.seed);
        if (acc->lost > row->unproven + row->leased) fail_msg("what dead banks had isn't counted");
        return WEIR_OK;
    }
    assert_int_equal(row->spent, 0); /* opened for a call that was refused */
    return WEIR_OK;
}

static void check(bool audit) {
    weir_error err = {0};
    weirp_snapshot *snapshot;
    weirp_audit found = {0};
    assert_int_equal(weirp_snapshot_begin(&snapshot, m.store, &err), WEIR_OK);
    weirp_txn *table = weirp_snapshot_table(snapshot);
    if (weirp_ledger_accounts(table, check_row, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (audit && weirp_ledger_audit(table, &found, complain, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
    weirp_snapshot_end(snapshot);
}

/* ---- what happens ---- */

static void random_subject(weirp_subject *subject) {
    static const char *const USERS[] = {"ann", "bob", "cleo"}, *const KEYS[] = {"k1", "k2"};
    *subject = (weirp_subject){0};
    subject->value[WEIRP_DIM_USER] = USERS[draw(3)];
    subject->value[WEIRP_DIM_KEY] = KEYS[draw(2)];
    subject->value[WEIRP_DIM_TEAM] = draw(3) ? NULL : "blue";
    subject->value[WEIRP_DIM_MODEL] = draw(2) ? "small" : "large";
}

/* A refusal is right when some hard budget has no room for the prediction beside what is known to this bank. */
static bool refused_rightly(int bank, const weirp_subject *subject, const weirp_need *need) {
    for (int b = 0; b < BUDGETS; b++) {
        if (!m.budget[b].hard || !weirp_budget_covers(&m.budget[b], subject)) continue;
        model_account *acc = &m.account[account_of(b, subject)];
        int64_t left = m.budget[b].limit - acc->posted - acc->unproven - acc->likely[bank];
        for (int i = 0; i < BANKS; i++) left -= acc->unposted[i];
        if (left < need->likely[m.budget[b].unit]) return true;
    }
    return false;
}

static void take_off(int bank, const weirp_subject *subject, const weirp_need *need, const weirp_claim *claim) {
    flight *f = &m.flying[m.n_flying++];
    *f = (flight){.claim = *claim, .bank = bank, .subject = *subject};
    for (int b = 0; b < BUDGETS; b++) {
        if (!weirp_budget_covers(&m.budget[b], subject)) continue;
        weirp_unit u = m.budget[b].unit;
        int64_t worst = need->worst[u] < claim->most[u] ? need->worst[u] : claim->most[u];
        int a = account_of(b, subject);
        f->account[f->n] = a;
        f->worst[f->n] = worst;
        f->likely[f->n] = need->likely[u] < worst ? need->likely[u] : worst;
        m.account[a].worst[bank] += worst;
        m.account[a].likely[bank] += f->likely[f->n++];
    }
    assert_int_equal(f->n, claim->n);
}

static void try_call(void) {
    int bank = (int)draw(BANKS);
    weirp_subject subject;
    weirp_claim claim = {0};
    weirp_shortage why;
    if (m.n_flying == IN_FLIGHT) return;
    random_subject(&subject);
    weirp_need need = {.worst = {(int64_t)draw(400), (int64_t)draw(60), 1}};
    for (int u = 0; u < WEIRP_N_UNITS; u++) need.likely[u] = (int64_t)draw((uint64_t)need.worst[u] + 1);
    for (int u = 0; u < WEIRP_N_UNITS; u++) need.likely[u] += !need.likely[u] && need.worst[u];
    need.likely[WEIRP_UNIT_REQUESTS] = 1;
    weirp_claim_result result = WEIRP_CLAIM_WAIT;
    int tries = 0;
    for (; result == WEIRP_CLAIM_WAIT && tries < 120; tries++) {
        result = weirp_bank_claim(m.bank[bank], &subject, &need, m.now_ms, &claim, &why);
        if (result == WEIRP_CLAIM_WAIT) post_all(1);
    }
    m.n_result[result]++;
    if (result == WEIRP_CLAIM_WAIT && m.n_flying == 0)
        fail_msg("waits for nobody (seed %llu)", (unsigned long long)m.seed);
    if (result == WEIRP_CLAIM_EXHAUSTED && !refused_rightly(bank, &subject, &need))
        fail_msg("wrongly refused by %s: %lld left (seed %llu)", why.budget, (long long)why.left,
                 (unsigned long long)m.seed);
    if (result == WEIRP_CLAIM_LOWERED) assert_true(claim.lowered && claim.most[why.unit] >= 0);
    if (result == WEIRP_CLAIM_GRANTED || result == WEIRP_CLAIM_LOWERED) take_off(bank, &subject, &need, &claim);
}

static void land(int which, bool overrun) {
    flight *f = &m.flying[which];
    char id[40];
    weirp_settlement s = {.id = id, .at_ms = m.now_ms, .subject = &f->subject, .price_version = 7};
    snprintf(id, sizeof id, "weir-%024llx", (unsigned long long)m.n_calls++);
    int64_t most[WEIRP_N_UNITS] = {INT64_MAX, INT64_MAX, INT64_MAX};
    for (int k = 0; k < f->n; k++) {
        weirp_unit u = m.budget[m.account[f->account[k]].budget].unit;
        if (f->worst[k] < most[u]) most[u] = f->worst[k];
    }
    bool free_of_charge = draw(6) == 0;
    for (int u = 0; u < WEIRP_N_UNITS; u++) {
        if (most[u] == INT64_MAX) most[u] = 10;
        s.amount[u] = free_of_charge ? 0 : (int64_t)draw((uint64_t)most[u] + 1);
        if (overrun) s.amount[u] = most[u] + 1 + (int64_t)draw(50);
    }
    m.n_overruns += overrun;
    for (int k = 0; k < f->n; k++) {
        model_account *acc = &m.account[f->account[k]];
        int64_t amount = s.amount[m.budget[acc->budget].unit];
        acc->worst[f->bank] -= f->worst[k];
        acc->likely[f->bank] -= f->likely[k];
        acc->unposted[f->bank] += amount;
        acc->settled += amount;
        acc->excused |= amount > f->worst[k];
    }
    weirp_bank_settle(m.bank[f->bank], &f->claim, &s);
    m.flying[which] = m.flying[--m.n_flying];
}

static void crash(int bank) {
    m.n_crashes++;
    for (int k = 0; k < m.n_flying;) {
        if (m.flying[k].bank == bank)
            m.flying[k] = m.flying[--m.n_flying];
        else
            k++;
    }
    for (int a = 0; a < m.n_accounts; a++) {
        model_account *acc = &m.account[a];
        if (m.budget[acc->budget].hard) acc->lost += acc->unposted[bank] + acc->worst[bank];
        acc->unposted[bank] = acc->worst[bank] = acc->likely[bank] = 0;
    }
    weirp_bank_abandon(m.bank[bank]);
    open_bank(bank);
    check(false);
}

static void leave_and_return(int bank) {
    weir_error err = {0};
    for (int k = 0; k < m.n_flying;) {
        if (m.flying[k].bank == bank)
            land(k, false);
        else
            k++;
    }
    if (weirp_bank_close(m.bank[bank], &err) != WEIR_OK) fail_msg("%s", err.text);
    for (int a = 0; a < m.n_accounts; a++) {
        m.account[a].posted += m.account[a].unposted[bank];
        m.account[a].unposted[bank] = 0;
    }
    open_bank(bank);
}

static void jump(void) {
    static const int64_t JUMPS_S[] = {60, 3600, 86400, -60, -3600, -86400};
    m.now_ms += JUMPS_S[draw(6)] * 1000;
    if (draw(2)) clock_ns += 2000 * WEIRP_TILL_MS;
}

static void step(bool crashes) {
    uint64_t what = draw(100);
    clock_ns += draw(20) * WEIRP_TILL_MS;
    m.now_ms += (int64_t)draw(1000);
    if (what < 50)
        try_call();
    else if (what < 80 && m.n_flying)
        land((int)draw((uint64_t)m.n_flying), draw(200) == 0);
    else if (what < 92)
        post((int)draw(BANKS));
    else if (what < 94)
        jump();
    else if (what < 95) {
        int b = (int)draw(BUDGETS);
        set_budget(b, m.budget[b].limit * (int64_t)(50 + draw(150)) / 100 + (int64_t)draw(10));
        post_all(2);
    } else if (what < 96 && crashes)
        crash((int)draw(BANKS));
    else if (what < 97)
        leave_and_return((int)draw(BANKS));
}

static void history(uint64_t seed, int steps, bool crashes) {
    weir_error err = {0};
    memset(&m, 0, sizeof m);
    m.seed = seed;
    m.now_ms = INT64_C(1767225600000) + (int64_t)draw(400) * 3600000;
    clock_ns = 1000000 * WEIRP_TILL_MS;
    if (weirp_store_open(&m.store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(weirp_zone_open(&m.zone, "", &err), WEIR_OK);
    define_budgets();
    for (int i = 0; i < BANKS; i++) open_bank(i);
    for (int i = 0; i < steps; i++) {
        step(crashes);
        check(i % 50 == 0);
    }
    while (m.n_flying) land(0, false);
    post_all(2);
    check(true);
    for (int i = 0; i < BANKS; i++) assert_int_equal(weirp_bank_close(m.bank[i], &err), WEIR_OK);
    check(true);
    print_message("seed %llu: %d granted, %d lowered, %d waited, %d refused; %d crashes, %d overruns, %d accounts\n",
                  (unsigned long long)seed, m.n_result[0], m.n_result[1], m.n_result[2], m.n_result[3], m.n_crashes,
                  m.n_overruns, m.n_accounts);
    assert_true(m.n_result[WEIRP_CLAIM_GRANTED] > 0);
    weirp_zone_close(m.zone);
    weirp_store_close(m.store);
}

static void histories(bool crashes) {
    const char *more = getenv("WEIR_TEST_HISTORIES");
    const char *from = getenv("WEIR_TEST_SEED");
    int n = more ? atoi(more) : 6, first = from ? atoi(from) : 1;
    int lowered = 0, refused = 0;
    for (int i = 0; i < n; i++) {
        void *state = NULL;
        history((uint64_t)(i + first) + (crashes ? 1000 : 0), 1500, crashes);
        lowered += m.n_result[WEIRP_CLAIM_LOWERED];
        refused += m.n_result[WEIRP_CLAIM_EXHAUSTED];
        remove_folder(&state);
        assert_int_equal(make_folder(&state), 0);
    }
    assert_true(lowered > 0 && refused > 0); /* the limits were reached */
}

static void sums_agree(void **state) {
    (void)state;
    histories(false);
}

static void sums_agree_when_banks_die(void **state) {
    (void)state;
    histories(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_agree, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(sums_agree_when_banks_die, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

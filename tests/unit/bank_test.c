/* bank_test.c: what a claim is told, rule by rule; waiters; budgets that change; what the ledger says afterwards.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/bank.h"
#include "src/budget/till.h"
#include "store_helpers.h"

#define NOW_MS INT64_C(1800000000000)
#define MS     UINT64_C(1000000)

static weirp_store *store;
static weirp_bank *bank;
static uint64_t clock_ns;
static int n_wakes, n_warnings;
static double last_share;
static char last_scope[WEIRP_ACCOUNT_SCOPE];

static uint64_t fake_clock(void) {
    return clock_ns;
}

static void wake(void *user) {
    (void)user;
    n_wakes++;
}

static void warn(void *user, const weirp_budget *budget, const char *scope, double share, int64_t spent, int64_t limit,
                 int64_t period_end) {
    (void)user;
    n_warnings++;
    last_share = share;
    snprintf(last_scope, sizeof last_scope, "%s", scope);
    assert_true((double)spent >= share * (double)limit);
    assert_true(period_end > NOW_MS / 1000);
    assert_string_equal(budget->name, "warned");
}

static weirp_bank *open_bank(void) {
    weirp_bank_options options = {.wake = wake, .warn = warn, .clock_ns = fake_clock};
    weir_error err = {0};
    weirp_bank *opened;
    if (weirp_bank_open(&opened, path, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    return opened;
}

static int set_up(void **state) {
    weir_error err = {0};
    if (make_folder(state)) return -1;
    clock_ns = 1000000 * MS;
    n_wakes = n_warnings = 0;
    if (weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) return -1;
    bank = open_bank();
    return 0;
}

static int tear_down(void **state) {
    weir_error err = {0};
    assert_int_equal(weirp_bank_close(bank, &err), WEIR_OK);
    weirp_store_close(store);
    return remove_folder(state);
}

static unsigned post_of(weirp_bank *which) {
    weir_error err = {0};
    unsigned wait;
    if (weirp_bank_post(which, &wait, &err) != WEIR_OK) fail_msg("%s", err.text);
    return wait;
}

static unsigned post(void) {
    return post_of(bank);
}

static void set_limit(const char *name, int64_t limit, bool hard) {
    weir_error err = {0};
    weirp_budget b = {.name = "", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_DAY, .hard = hard, .limit = limit};
    snprintf(b.name, sizeof b.name, "%s", name);
    if (weirp_ledger_set(store, &b, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
    post();
    post();
}

static weirp_shortage why; /* of the last claim */

static weirp_claim_result claim(weirp_bank *which, int64_t worst, int64_t likely, weirp_claim *out) {
    weirp_subject subject = {.value = {[WEIRP_DIM_USER] = "ann"}};
    weirp_need need = {.worst = {worst, 0, 1}, .likely = {likely, 0, 1}};
    why = (weirp_shortage){.hope = false};
    return weirp_bank_claim(which, &subject, &need, NOW_MS, out, &why);
}

static weirp_claim_result claim_posted(int64_t worst, int64_t likely, weirp_claim *out) {
    weirp_claim_result result = claim(bank, worst, likely, out);
    for (int i = 0; i < 3 && result == WEIRP_CLAIM_WAIT; i++) {
        post();
        result = claim(bank, worst, likely, out);
    }
    return result;
}

static void settle(weirp_claim *c, int64_t amount) {
    static unsigned n;
    char id[40];
    snprintf(id, sizeof id, "weir-%024x", ++n);
    weirp_subject subject = {.value = {[WEIRP_DIM_USER] = "ann"}};
    weirp_settlement s = {.id = id, .at_ms = NOW_MS, .subject = &subject, .amount = {amount, 0, amount > 0}};
    weirp_bank_settle(bank, c, &s);
    assert_int_equal(c->n, 0);
}

static void nothing_is_limited(void **state) {
    (void)state;
    weirp_claim c = {0};
    assert_int_equal(weirp_bank_n_budgets(bank), 0);
    assert_int_equal(claim(bank, INT64_MAX, 1, &c), WEIRP_CLAIM_GRANTED);
    assert_int_equal(c.n, 0);
    settle(&c, 5);
    assert_int_equal(n_wakes, 0);
}

static void rules(void **state) {
    (void)state;
    weirp_claim a = {0}, b = {0}, c = {0}, d = {0};
    set_limit("day", 1000, true);
    assert_int_equal(claim(bank, 600, 100, &a), WEIRP_CLAIM_WAIT); /* nothing is leased yet */
    assert_int_equal(n_wakes, 1);
    post();
    assert_int_equal(claim(bank, 600, 100, &a), WEIRP_CLAIM_GRANTED);
    assert_int_equal(a.most[WEIRP_UNIT_USD], INT64_MAX);
    assert_int_equal(claim_posted(600, 100, &b), WEIRP_CLAIM_LOWERED); /* the prediction fits */
    assert_true(b.lowered);
    assert_int_equal(b.most[WEIRP_UNIT_USD], 400);
    assert_int_equal(claim_posted(600, 100, &c), WEIRP_CLAIM_WAIT); /* 800 if both come to what is likely */
    assert_false(why.hope);
    assert_int_equal(claim_posted(900, 801, &d), WEIRP_CLAIM_WAIT); /* they may come to less */
    assert_true(why.hope);
    assert_int_equal(claim_posted(1100, 1001, &d), WEIRP_CLAIM_EXHAUSTED);
    settle(&a, 50);
    assert_int_equal(claim_posted(1100, 950, &d), WEIRP_CLAIM_WAIT);
    assert_int_equal(claim_posted(1100, 951, &d), WEIRP_CLAIM_EXHAUSTED);
    assert_false(why.hope);
    assert_int_equal(claim(bank, 600, 100, &c), WEIRP_CLAIM_LOWERED);
    assert_int_equal(c.most[WEIRP_UNIT_USD], 550);
    settle(&b, 400);
    settle(&c, 550);
    assert_int_equal(claim_posted(1, 1, &d), WEIRP_CLAIM_EXHAUSTED);
    assert_int_equal(claim_posted(0, 0, &d), WEIRP_CLAIM_GRANTED); /* what costs nothing is always paid for */
    settle(&d, 0);
    set_limit("day", 1001, true); /* more is there at once */
    assert_int_equal(claim_posted(1, 1, &d), WEIRP_CLAIM_GRANTED);
    settle(&d, 1);
    set_limit("day", 500, true); /* below what is spent */
    assert_int_equal(claim_posted(1, 1, &d), WEIRP_CLAIM_EXHAUSTED);
    set_limit("day", 500, false); /* soft */
    assert_int_equal(claim_posted(1000000, 1, &d), WEIRP_CLAIM_GRANTED);
    settle(&d, 1000000);
}

static void another_day_is_another_account(void **state) {
    (void)state;
    weirp_claim c = {0};
    weirp_subject nobody = {0};
    weirp_need need = {.worst = {10, 0, 1}, .likely = {10, 0, 1}};
    set_limit("day", 10, true);
    assert_int_equal(claim_posted(10, 10, &c), WEIRP_CLAIM_GRANTED);
    settle(&c, 10);
    post();
    int64_t tomorrow = NOW_MS + 86400000;
    assert_int_equal(weirp_bank_claim(bank, &nobody, &need, tomorrow, &c, &why), WEIRP_CLAIM_WAIT);
    post();
    assert_int_equal(weirp_bank_claim(bank, &nobody, &need, tomorrow, &c, &why), WEIRP_CLAIM_GRANTED);
    settle(&c, 4);
    post();
    assert_int_equal(claim_posted(1, 1, &c), WEIRP_CLAIM_EXHAUSTED); /* the clock went back: it is spent already */
}

/* ---- waiters ---- */

typedef struct patient {
    weirp_waiter waiter;
    int n_ready;
} patient;

static void ready(weirp_waiter *waiter) {
    ((patient *)waiter)->n_ready++;
}

static void waiters_in_their_order(void **state) {
    (void)state;
    weirp_claim held = {0}, first = {0}, second = {0};
    patient one = {.waiter.ready = ready}, two = one, gone = one;
    set_limit("day", 100, true);
    assert_int_equal(claim_posted(100, 10, &held), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(80, 50, &first), WEIRP_CLAIM_WAIT);
    weirp_bank_wait(bank, &one.waiter, &first);
    assert_int_equal(claim_posted(80, 60, &second), WEIRP_CLAIM_WAIT);
    weirp_bank_wait(bank, &two.waiter, &second);
    weirp_claim third = {0};
    assert_int_equal(claim_posted(80, 5, &third), WEIRP_CLAIM_WAIT);
    weirp_bank_wait(bank, &gone.waiter, &third);
    weirp_bank_unwait(bank, &gone.waiter);
    assert_int_equal(one.n_ready + two.n_ready, 0);
    settle(&held, 10);
    assert_int_equal(one.n_ready, 1);
    assert_int_equal(two.n_ready, 0); /* beside the first one's 50 there is no room for 60 */
    assert_int_equal(gone.n_ready, 0);
    assert_int_equal(claim(bank, 80, 50, &first), WEIRP_CLAIM_GRANTED);
    settle(&first, 0);
    assert_int_equal(two.n_ready, 1);
    assert_int_equal(claim(bank, 80, 60, &second), WEIRP_CLAIM_GRANTED);
    settle(&second, 80);
    weirp_bank_unwait(bank, &two.waiter); /* harmless */
}

static void who_waits_long_is_not_passed(void **state) {
    (void)state;
    weirp_claim big = {0}, small[2] = {0}, other = {0};
    patient one = {.waiter.ready = ready};
    set_limit("day", 100, true);
    for (int i = 0; i < 2; i++) assert_int_equal(claim_posted(50, 10, &small[i]), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(100, 75, &big), WEIRP_CLAIM_WAIT);
    weirp_bank_wait(bank, &one.waiter, &big);
    clock_ns += 300 * MS;
    settle(&small[0], 1);
    assert_int_equal(one.n_ready, 1);
    assert_int_equal(claim(bank, 40, 10, &other), WEIRP_CLAIM_WAIT); /* it would fit */
    assert_int_equal(claim(bank, 100, 75, &big), WEIRP_CLAIM_WAIT);
    settle(&small[1], 1);
    assert_int_equal(claim(bank, 100, 75, &big), WEIRP_CLAIM_LOWERED);
    assert_int_equal(big.most[WEIRP_UNIT_USD], 98);
    settle(&big, 5);
    assert_int_equal(claim(bank, 40, 10, &other), WEIRP_CLAIM_GRANTED);
    settle(&other, 5);
}

static void who_hopes_in_vain_is_told_so(void **state) {
    (void)state;
    weirp_claim held[2] = {0}, lucky = {0}, other = {0};
    patient one = {.waiter.ready = ready}, two = one;
    set_limit("day", 100, true);
    for (int i = 0; i < 2; i++) assert_int_equal(claim_posted(50, 40, &held[i]), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(60, 55, &lucky), WEIRP_CLAIM_WAIT); /* 20 are likely to be left */
    assert_int_equal(claim_posted(99, 98, &other), WEIRP_CLAIM_WAIT);
    weirp_bank_wait(bank, &one.waiter, &lucky);
    weirp_bank_wait(bank, &two.waiter, &other);
    clock_ns += 300 * MS;
    settle(&held[0], 5);
    assert_int_equal(one.n_ready, 1); /* the first has a look at each change, and queues up again */
    assert_int_equal(two.n_ready, 1); /* 95 at most will be left */
    assert_int_equal(claim_posted(99, 98, &other), WEIRP_CLAIM_EXHAUSTED);
    assert_int_equal(claim_posted(60, 55, &lucky), WEIRP_CLAIM_WAIT);
    assert_false(why.hope); /* now that is likely */
    weirp_bank_wait(bank, &one.waiter, &lucky);
    settle(&held[1], 50);
    assert_int_equal(one.n_ready, 2);
    assert_int_equal(claim_posted(60, 46, &lucky), WEIRP_CLAIM_EXHAUSTED);
    assert_int_equal(claim_posted(60, 45, &lucky), WEIRP_CLAIM_LOWERED);
    settle(&lucky, 45);
    weirp_bank_unwait(bank, &one.waiter);
    weirp_bank_unwait(bank, &two.waiter);
}

static void nobody_is_held_up_by_a_hope(void **state) {
    (void)state;
    weirp_claim held[2] = {0}, big = {0}, small = {0};
    patient one = {.waiter.ready = ready};
    set_limit("day", 100, true);
    assert_int_equal(claim_posted(60, 40, &held[0]), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(20, 15, &held[1]), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(90, 80, &big), WEIRP_CLAIM_WAIT);
    assert_true(why.hope);
    weirp_bank_wait(bank, &one.waiter, &big);
    clock_ns += 300 * MS;
    settle(&held[1], 1);
    assert_int_equal(one.n_ready, 1);
    assert_int_equal(claim_posted(90, 80, &big), WEIRP_CLAIM_WAIT);
    assert_true(why.hope);
    weirp_bank_wait(bank, &one.waiter, &big);
    assert_int_equal(claim_posted(30, 20, &small), WEIRP_CLAIM_GRANTED); /* no guard keeps it from what is there */
    settle(&small, 1);
    settle(&held[0], 1);
    assert_true(one.n_ready >= 2);
    assert_int_equal(claim_posted(90, 80, &big), WEIRP_CLAIM_GRANTED);
    settle(&big, 90);
    weirp_bank_unwait(bank, &one.waiter);
}

static void something_happened_before_it_waited(void **state) {
    (void)state;
    weirp_claim held = {0}, c = {0};
    patient one = {.waiter.ready = ready};
    set_limit("day", 100, true);
    assert_int_equal(claim_posted(100, 10, &held), WEIRP_CLAIM_GRANTED);
    assert_int_equal(claim_posted(80, 50, &c), WEIRP_CLAIM_WAIT);
    settle(&held, 1);
    weirp_bank_wait(bank, &one.waiter, &c);
    assert_int_equal(one.n_ready, 1);
}

static void another_process_gives_back(void **state) {
    (void)state;
    weirp_claim held = {0}, c = {0};
    weirp_bank *other = open_bank();
    set_limit("day", 100, true);
    clock_ns += 2000 * MS;
    post(); /* sees that it isn't alone */
    post_of(other);
    assert_int_equal(claim_posted(100, 10, &held), WEIRP_CLAIM_GRANTED);
    settle(&held, 30); /* and 70 stay leased */
    assert_int_equal(claim(other, 60, 60, &c), WEIRP_CLAIM_WAIT);
    int rounds = 0;
    while (claim(other, 60, 60, &c) == WEIRP_CLAIM_WAIT && rounds < 8) {
        rounds++;
        post_of(other);
        post();
        clock_ns += 4 * MS;
    }
    assert_in_range(rounds, 1, 4);
    assert_int_equal(c.n, 1);
    weirp_settlement s = {.id = "x", .at_ms = NOW_MS, .amount = {60, 0, 0}};
    weirp_bank_settle(other, &c, &s);
    weir_error err = {0};
    assert_int_equal(weirp_bank_close(other, &err), WEIR_OK);
    assert_int_equal(claim_posted(11, 11, &held), WEIRP_CLAIM_EXHAUSTED);
}

/* ---- warnings, what is left ---- */

static void warnings_once(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_claim c = {0};
    weirp_budget b = {.name = "warned",
                      .unit = WEIRP_UNIT_USD,
                      .period = WEIRP_PERIOD_TOTAL,
                      .limit = 100,
                      .warn = {0.5, 1},
                      .match = {[WEIRP_DIM_USER] = "*"}};
    assert_int_equal(weirp_ledger_set(store, &b, NULL, &err), WEIR_OK);
    post();
    for (int i = 0; i < 12; i++) {
        assert_int_equal(claim_posted(10, 10, &c), WEIRP_CLAIM_GRANTED);
        settle(&c, 10);
        post();
        assert_int_equal(n_warnings, (i >= 4) + (i >= 9));
    }
    assert_true(last_share == 1);
    assert_string_equal(last_scope, "user=ann");
}

static void too_many_budgets(void **state) {
    (void)state;
    weirp_claim c = {0};
    weirp_subject nobody = {0};
    weirp_need need = {.worst = {1, 1, 1}, .likely = {1, 1, 1}};
    char name[16];
    for (int i = 0; i <= WEIRP_MAX_CLAIMED; i++) {
        snprintf(name, sizeof name, "b%d", i);
        set_limit(name, 100, false);
    }
    assert_int_equal(weirp_bank_claim(bank, &nobody, &need, NOW_MS, &c, &why), WEIRP_CLAIM_EXHAUSTED);
    assert_true(why.too_many);
    weir_error err = {0};
    assert_int_equal(weirp_ledger_remove(store, "b3", &err), WEIR_OK);
    assert_int_equal(weirp_ledger_remove(store, "b3", NULL), WEIR_NOTFOUND);
    post();
    assert_int_equal(weirp_bank_n_budgets(bank), WEIRP_MAX_CLAIMED);
    assert_int_equal(weirp_bank_claim(bank, &nobody, &need, NOW_MS, &c, &why), WEIRP_CLAIM_GRANTED);
    settle(&c, 1);
}

static void many_users_come_and_go(void **state) {
    (void)state;
    enum { USERS = 5000 };
    weir_error err = {0};
    weirp_budget b = {.name = "each",
                      .unit = WEIRP_UNIT_USD,
                      .period = WEIRP_PERIOD_DAY,
                      .hard = true,
                      .limit = 100,
                      .match = {[WEIRP_DIM_USER] = "*"}};
    char name[32];
    weirp_subject subject = {.value = {[WEIRP_DIM_USER] = name}};
    weirp_need need = {.worst = {60, 0, 1}, .likely = {60, 0, 1}};
    weirp_claim *claims = calloc(USERS, sizeof *claims), c = {0};
    assert_non_null(claims);
    assert_int_equal(weirp_ledger_set(store, &b, NULL, &err), WEIR_OK);
    b = (weirp_budget){.name = "one",
                       .unit = WEIRP_UNIT_REQUESTS,
                       .period = WEIRP_PERIOD_DAY,
                       .limit = 1,
                       .match = {[WEIRP_DIM_USER] = "user-77", [WEIRP_DIM_KEY] = "k"}};
    assert_int_equal(weirp_ledger_set(store, &b, NULL, &err), WEIR_OK);
    post();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < USERS; i++) {
            snprintf(name, sizeof name, "user-%d", i);
            subject.value[WEIRP_DIM_KEY] = i == 77 ? "k" : NULL;
            weirp_claim_result result = weirp_bank_claim(bank, &subject, &need, NOW_MS, &claims[i], &why);
            assert_int_equal(result, round ? WEIRP_CLAIM_GRANTED : WEIRP_CLAIM_WAIT);
            if (round) assert_int_equal(claims[i].n, 1 + (i == 77));
        }
        post();
    }
    for (int i = 1; i < USERS; i++) settle(&claims[i], 50);
    for (int i = 0; i < 3; i++) {
        clock_ns += 40000 * MS;
        post();
    }
    assert_true(bank->n_accounts < 10); /* user-0's call is under way */
    settle(&claims[0], 50);
    snprintf(name, sizeof name, "user-42");
    assert_int_equal(weirp_bank_claim(bank, &subject, &need, NOW_MS, &c, &why), WEIRP_CLAIM_WAIT);
    for (int i = 0; i < 3; i++) post();
    assert_int_equal(weirp_bank_claim(bank, &subject, &need, NOW_MS, &c, &why), WEIRP_CLAIM_EXHAUSTED);
    assert_int_equal(why.spent, 50);
    free(claims);
}

/* ---- the ledger afterwards ---- */

static int n_seen;

static weir_status see(void *user, uint64_t number, const weirp_entry *e, weir_error *err) {
    (void)number, (void)err;
    if (e->kind != WEIRP_ENTRY_SETTLE) return WEIR_OK;
    n_seen++;
    assert_string_equal(e->id, user);
    assert_string_equal(e->subject.value[WEIRP_DIM_USER], "ann");
    assert_true(strncmp(e->subject.value[WEIRP_DIM_TAG], "sha256:", 7) == 0);
    assert_null(e->subject.value[WEIRP_DIM_KEY]);
    assert_int_equal(e->attempt, 2);
    assert_int_equal(e->price_version, UINT64_C(0xfedcba9876543210));
    assert_int_equal(e->usage.input_tokens, 1000);
    assert_int_equal(e->usage.reasoning_tokens, 7);
    assert_true(e->usage.estimated && !e->usage.known);
    assert_int_equal(e->amount[WEIRP_UNIT_USD], 130);
    assert_int_equal(e->amount[WEIRP_UNIT_TOKENS], 300);
    assert_true(e->overrun);
    assert_int_equal(e->at_ms, NOW_MS - 5);
    return WEIR_OK;
}

static void entries_say_it_all(void **state) {
    (void)state;
    static const char *const IDS[] = {"weir-0123456789abcdef01234567", "weir-0123456789ABCDEF01234567",
                                      "an id of a client's"};
    char longer[300];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    set_limit("day", 1000, true);
    for (size_t i = 0; i < 3; i++) {
        weir_error err = {0};
        weirp_claim c = {0};
        weirp_snapshot *snapshot;
        weirp_subject subject = {.value = {[WEIRP_DIM_USER] = "ann", [WEIRP_DIM_TAG] = longer, [WEIRP_DIM_KEY] = ""}};
        assert_int_equal(claim_posted(100, 100, &c), WEIRP_CLAIM_GRANTED);
        weirp_settlement s = {.id = IDS[i],
                              .attempt = 2,
                              .price_version = UINT64_C(0xfedcba9876543210),
                              .at_ms = NOW_MS - 5,
                              .subject = &subject,
                              .usage = {.input_tokens = 1000, .reasoning_tokens = 7, .estimated = true},
                              .amount = {130, 300, 1}};
        weirp_bank_settle(bank, &c, &s);
        post();
        n_seen = 0;
        assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
        weirp_txn *table = weirp_snapshot_table(snapshot);
        if (i == 0) assert_int_equal(weirp_ledger_entries(table, 0, INT64_MAX, see, (void *)IDS[i], &err), WEIR_OK);
        if (i == 0) assert_int_equal(n_seen, 1);
        assert_int_equal(weirp_ledger_entries(table, 0, NOW_MS - 5, see, NULL, &err), WEIR_OK);
        weirp_snapshot_end(snapshot);
    }
}

static void collect(void *user, const char *text) {
    snprintf(user, 512, "%s", text);
}

static int64_t wrong_spent;

static weir_status spoil(void *user, weirp_txn *txn, weir_error *err) {
    weirp_account_row row;
    weirp_row_key key;
    uint8_t bytes[WEIRP_ROW_MOST];
    (void)user;
    weir_status st = weirp_account_row_read(txn, 1, &row, err);
    if (st) return st;
    row.spent += wrong_spent;
    weirp_row_key_u64(&key, WEIRP_ROW_ACCOUNT, 1);
    return weirp_txn_put(txn, key.bytes, key.size, bytes, weirp_account_row_encode(&row, bytes), err);
}

static weirp_audit audit(char told[512]) {
    weir_error err = {0};
    weirp_snapshot *snapshot;
    weirp_audit found = {0};
    told[0] = '\0';
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_audit(weirp_snapshot_table(snapshot), &found, collect, told, &err), WEIR_OK);
    weirp_snapshot_end(snapshot);
    return found;
}

static void the_audit_finds_a_nano(void **state) {
    (void)state;
    weir_error err = {0};
    char told[512];
    weirp_claim c = {0};
    set_limit("day", 1000, true);
    assert_int_equal(claim_posted(100, 100, &c), WEIRP_CLAIM_GRANTED);
    settle(&c, 77);
    post();
    assert_int_equal(audit(told).n_wrong, 0);
    wrong_spent = 1;
    assert_int_equal(weirp_store_transact(store, NULL, 0, spoil, NULL, &err), WEIR_OK);
    assert_int_equal(audit(told).n_wrong, 2); /* what is spent, and so what is free */
    assert_non_null(strstr(told, "account 1"));
    wrong_spent = -1;
    assert_int_equal(weirp_store_transact(store, NULL, 0, spoil, NULL, &err), WEIR_OK);
    assert_int_equal(audit(told).n_wrong, 0);
}

static weirp_unproven unproven;

static weir_status take_unproven(void *user, const weirp_unproven *u, weir_error *err) {
    (void)user, (void)err;
    unproven = *u;
    return WEIR_OK;
}

static void a_person_decides_what_cannot_be_proven(void **state) {
    (void)state;
    weir_error err = {0};
    char told[512];
    weirp_claim c = {0}, mine = {0};
    weirp_snapshot *snapshot;
    set_limit("day", 100, true);
    weirp_bank *other = open_bank();
    post_of(other);
    assert_int_equal(claim(other, 90, 90, &c), WEIRP_CLAIM_WAIT);
    post_of(other);
    assert_int_equal(claim(other, 90, 90, &c), WEIRP_CLAIM_GRANTED);
    /* closed with a call under way: nobody will know what that came to */
    assert_int_equal(weirp_bank_close(other, &err), WEIR_OK);
    assert_int_equal(claim_posted(20, 20, &mine), WEIRP_CLAIM_EXHAUSTED);
    assert_int_equal(audit(told).n_wrong, 0);
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_unproven(weirp_snapshot_table(snapshot), take_unproven, NULL, &err), WEIR_OK);
    weirp_snapshot_end(snapshot);
    assert_int_equal(unproven.amount, 90);
    assert_true(unproven.died_ms > 0);
    assert_int_equal(weirp_ledger_reconcile(store, unproven.process, unproven.account, 91, NULL), WEIR_INVALID);
    assert_int_equal(weirp_ledger_reconcile(store, unproven.process, 99, 0, NULL), WEIR_NOTFOUND);
    assert_int_equal(weirp_ledger_reconcile(store, unproven.process, unproven.account, 30, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_reconcile(store, unproven.process, unproven.account, 0, NULL), WEIR_NOTFOUND);
    assert_int_equal(audit(told).n_wrong, 0);
    post();
    post();
    assert_int_equal(claim_posted(70, 70, &mine), WEIRP_CLAIM_GRANTED);
    settle(&mine, 70);
}

int main(void) {
#define WITH_BANK(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BANK(nothing_is_limited),
        WITH_BANK(rules),
        WITH_BANK(another_day_is_another_account),
        WITH_BANK(waiters_in_their_order),
        WITH_BANK(who_waits_long_is_not_passed),
        WITH_BANK(who_hopes_in_vain_is_told_so),
        WITH_BANK(nobody_is_held_up_by_a_hope),
        WITH_BANK(something_happened_before_it_waited),
        WITH_BANK(another_process_gives_back),
        WITH_BANK(warnings_once),
        WITH_BANK(too_many_budgets),
        WITH_BANK(many_users_come_and_go),
        WITH_BANK(entries_say_it_all),
        WITH_BANK(the_audit_finds_a_nano),
        WITH_BANK(a_person_decides_what_cannot_be_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

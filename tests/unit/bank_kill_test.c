/* bank_kill_test.c: a process is killed at every write of its ledger in turn, or the write fails; what it had settled
 * is in the ledger afterwards, once, and what was under way is counted in its worst case.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <sys/mman.h>

#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "store_helpers.h"

enum { CALLS = 40, AT_ONCE = 5, MOST_WRITES = 2000 };

/* What the child has done, in memory that outlives it. */
static struct oracle {
    int64_t settled, in_flight;
    int n_writes;
    bool done;
} * oracle;

static int armed; /* the write that goes wrong; 0: none */
static enum { KILL_BEFORE, KILL_AFTER, FAIL } how;

weir_status __real_weirp_txn_put(weirp_txn *txn, const void *key, size_t key_size, const uint8_t *data, size_t size,
                                 weir_error *err);
weir_status __wrap_weirp_txn_put(weirp_txn *txn, const void *key, size_t key_size, const uint8_t *data, size_t size,
                                 weir_error *err);
weir_status __real_weirp_store_transact(weirp_store *store, const weirp_change *changes, size_t n,
                                        weirp_table_work work, void *user, weir_error *err);
weir_status __wrap_weirp_store_transact(weirp_store *store, const weirp_change *changes, size_t n,
                                        weirp_table_work work, void *user, weir_error *err);

static bool is_now(void) {
    return oracle && ++oracle->n_writes == armed;
}

weir_status __wrap_weirp_txn_put(weirp_txn *txn, const void *key, size_t key_size, const uint8_t *data, size_t size,
                                 weir_error *err) {
    bool now = is_now();
    if (now && how == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (now && how == FAIL) return weirp_fail(err, WEIR_FULL, 0, "the disk is full, says the test");
    weir_status st = __real_weirp_txn_put(txn, key, key_size, data, size, err);
    if (now && how == KILL_AFTER) kill(getpid(), SIGKILL);
    return st;
}

/* Once before the transaction, once between its commit and whoever waits for that. */
weir_status __wrap_weirp_store_transact(weirp_store *store, const weirp_change *changes, size_t n,
                                        weirp_table_work work, void *user, weir_error *err) {
    bool now = is_now();
    if (now && how == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (now && how == FAIL) return weirp_fail(err, WEIR_FULL, 0, "the disk is full, says the test");
    weir_status st = __real_weirp_store_transact(store, changes, n, work, user, err);
    if (now && how == KILL_AFTER) kill(getpid(), SIGKILL);
    return st;
}

/* ---- the child ---- */

static void post(weirp_bank *bank) {
    unsigned wait;
    weir_error err = {0};
    weir_status st = weirp_bank_post(bank, &wait, &err);
    if (st && how != FAIL) _exit(3);
}

static void claim_one(weirp_bank *bank, weirp_claim *claim, int i) {
    weirp_subject subject = {.value = {[WEIRP_DIM_USER] = i % 2 ? "ann" : "bob"}};
    weirp_need need = {.worst = {100 + i, 10, 1}, .likely = {50, 5, 1}};
    weirp_shortage why;
    for (int tries = 0; tries < 20; tries++) {
        oracle->in_flight += need.worst[0]; /* before: it may be killed within */
        weirp_claim_result result = weirp_bank_claim(bank, &subject, &need, 1800000000000, claim, &why);
        if (result == WEIRP_CLAIM_GRANTED) return;
        oracle->in_flight -= need.worst[0];
        if (result != WEIRP_CLAIM_WAIT) _exit(4);
        post(bank);
    }
    _exit(5);
}

static void settle_one(weirp_bank *bank, weirp_claim *claim, int i) {
    char id[40];
    weirp_settlement s = {.id = id, .at_ms = 1800000000000, .amount = {90 + i, 9, 1}};
    int64_t worst = 0;
    if (!claim->n) return;
    snprintf(id, sizeof id, "weir-%024x", i);
    for (size_t k = 0; k < claim->n; k++)
        if (claim->of[k].worst > worst) worst = claim->of[k].worst;
    weirp_bank_settle(bank, claim, &s);
    oracle->in_flight -= worst;
    oracle->settled += s.amount[0];
}

static void live(void) {
    weir_error err = {0};
    weirp_bank *bank = NULL;
    weirp_claim claims[AT_ONCE] = {0};
    weir_status st = weirp_bank_open(&bank, path, NULL, &err);
    if (st) _exit(how == FAIL ? 0 : 2);
    for (int i = 0; i < CALLS; i++) {
        settle_one(bank, &claims[i % AT_ONCE], i);
        claim_one(bank, &claims[i % AT_ONCE], i);
        if (i % 4 == 0) post(bank);
    }
    for (int i = 0; i < AT_ONCE; i++) settle_one(bank, &claims[i], CALLS + i);
    post(bank);
    if (how == FAIL) post(bank); /* the one that failed, again */
    (void)weirp_bank_close(bank, &err);
    oracle->done = true;
    _exit(0);
}

/* ---- the parent ---- */

static void make_budgets(void) {
    static const weirp_budget KINDS[] = {
        {.name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_TOTAL, .hard = true, .limit = 100000},
        {.name = "user",
         .unit = WEIRP_UNIT_USD,
         .period = WEIRP_PERIOD_DAY,
         .hard = true,
         .limit = 60000,
         .match = {[WEIRP_DIM_USER] = "*"}},
        {.name = "tokens", .unit = WEIRP_UNIT_TOKENS, .period = WEIRP_PERIOD_HOUR, .limit = 10},
    };
    weir_error err = {0};
    weirp_store *store;
    assert_int_equal(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err), WEIR_OK);
    for (size_t i = 0; i < 3; i++) assert_int_equal(weirp_ledger_set(store, &KINDS[i], NULL, &err), WEIR_OK);
    weirp_store_close(store);
}

static weir_status add_row(void *user, const weirp_account_row *row, weir_error *err) {
    int64_t *sums = user;
    (void)err;
    if (row->unit != WEIRP_UNIT_USD) return WEIR_OK;
    sums[row->budget == 1] += row->spent;
    sums[2] += row->leased;
    sums[3] += row->unproven;
    return WEIR_OK;
}

static void complain(void *user, const char *text) {
    (void)user;
    fail_msg("write %d: %s", armed, text);
}

static void check(void) {
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_audit audit = {0};
    int64_t sums[4] = {0};
    size_t dead = 0;
    assert_int_equal(weirp_store_open(&store, path, WEIRP_STORE_JOIN, &err), WEIR_OK);
    if (weirp_ledger_bury(store, path, &dead, &err) != WEIR_OK) fail_msg("write %d: %s", armed, err.text);
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    weirp_txn *table = weirp_snapshot_table(snapshot);
    assert_int_equal(weirp_ledger_audit(table, &audit, complain, NULL, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_accounts(table, add_row, sums, &err), WEIR_OK);
    int64_t expected = oracle->settled + oracle->in_flight;
    if (sums[0] != expected || sums[1] != expected || sums[2] || sums[3])
        fail_msg("write %d: settled %lld and %lld under way, but spent %lld and %lld, leased %lld, unproven %lld",
                 armed, (long long)oracle->settled, (long long)oracle->in_flight, (long long)sums[0],
                 (long long)sums[1], (long long)sums[2], (long long)sums[3]);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
}

static bool one_life(void) {
    void *state = NULL;
    int status;
    oracle = NULL;
    make_budgets();
    oracle = mmap(NULL, sizeof *oracle, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(oracle != MAP_FAILED);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) live();
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0) fail_msg("write %d: child says %d", armed, WEXITSTATUS(status));
    bool went_wrong = oracle->n_writes >= armed;
    int was = armed;
    armed = 0;
    check();
    armed = was;
    munmap(oracle, sizeof *oracle);
    oracle = NULL;
    remove_folder(&state);
    assert_int_equal(make_folder(&state), 0);
    return went_wrong;
}

static int all_lives(void) {
    for (armed = 1; armed < MOST_WRITES; armed++)
        if (!one_life()) return armed - 1;
    fail_msg("it never ends");
    return 0;
}

static void killed_before_every_write(void **state) {
    (void)state;
    how = KILL_BEFORE;
    int n = all_lives();
    print_message("killed before each of %d writes\n", n);
    assert_true(n > 50);
}

static void killed_after_every_write(void **state) {
    (void)state;
    how = KILL_AFTER;
    assert_true(all_lives() > 50);
}

static void every_write_fails_once(void **state) {
    (void)state;
    how = FAIL;
    assert_true(all_lives() > 50);
}

/* ---- several processes, killed at random ---- */

enum { CHILDREN = 3, ROUNDS = 25, TIGHT = 400000 };

/* What a child has done at least, and at most. */
typedef struct share {
    int64_t at_least, at_most;
    int64_t n_calls, n_refused;
} share;

static share *shares;

static void work_until_killed(int child, uint64_t seed) {
    weir_error err = {0};
    weirp_bank *bank = NULL;
    weirp_claim claims[AT_ONCE] = {0};
    int64_t worst[AT_ONCE] = {0};
    share *s = &shares[child];
    uint64_t drawn = 0;
    char id[40];
    if (weirp_bank_open(&bank, path, NULL, &err)) _exit(2);
    for (unsigned i = 0;; i++) {
        int k = (int)(i % AT_ONCE);
        unsigned wait;
        if (claims[k].n) {
            int64_t amount = (int64_t)(weirp_random_u64(seed, 2, drawn++) % (uint64_t)(worst[k] + 1));
            weirp_settlement done = {.id = id, .at_ms = 1800000000000, .amount = {amount, 0, 0}};
            snprintf(id, sizeof id, "weir-%08x%016x", (unsigned)seed, i);
            weirp_bank_settle(bank, &claims[k], &done);
            s->at_least += amount;
            s->at_most -= worst[k] - amount;
            s->n_calls++;
        }
        weirp_subject subject = {.value = {[WEIRP_DIM_USER] = i % 2 ? "ann" : "bob"}};
        weirp_need need = {.worst = {100 + (int64_t)(i % 300), 0, 0}, .likely = {50, 0, 0}};
        weirp_shortage why;
        s->at_most += need.worst[0];
        weirp_claim_result result = weirp_bank_claim(bank, &subject, &need, 1800000000000, &claims[k], &why);
        worst[k] = claims[k].n && claims[k].most[0] < need.worst[0] ? claims[k].most[0] : need.worst[0];
        s->at_most -= claims[k].n ? need.worst[0] - worst[k] : need.worst[0];
        s->n_refused += result == WEIRP_CLAIM_EXHAUSTED;
        if (!claims[k].n || i % 16 == 0)
            if (weirp_bank_post(bank, &wait, &err)) _exit(3);
    }
}

static weir_status check_limit(void *user, const weirp_account_row *row, weir_error *err) {
    (void)err;
    if (row->unit == WEIRP_UNIT_USD && row->spent > row->limit) fail_msg("%lld spent", (long long)row->spent);
    if (row->leased || row->unproven)
        fail_msg("%lld leased, %lld unproven", (long long)row->leased, (long long)row->unproven);
    if (row->budget == 1) *(int64_t *)user = row->spent;
    return WEIR_OK;
}

/* All are dead: what is in the ledger is what they have done, and no limit was passed. */
static int64_t check_all(void) {
    weir_error err = {0};
    weirp_store *opened;
    weirp_snapshot *snapshot;
    weirp_audit audit = {0};
    int64_t spent = 0, least = 0, most = 0;
    assert_int_equal(weirp_store_open(&opened, path, WEIRP_STORE_JOIN, &err), WEIR_OK);
    if (weirp_ledger_bury(opened, path, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(weirp_snapshot_begin(&snapshot, opened, &err), WEIR_OK);
    weirp_txn *table = weirp_snapshot_table(snapshot);
    assert_int_equal(weirp_ledger_audit(table, &audit, complain, NULL, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_accounts(table, check_limit, &spent, &err), WEIR_OK);
    for (int c = 0; c < CHILDREN; c++) {
        least += shares[c].at_least;
        most += shares[c].at_most;
    }
    if (spent < least || spent > most)
        fail_msg("%lld spent, not %lld to %lld", (long long)spent, (long long)least, (long long)most);
    weirp_snapshot_end(snapshot);
    weirp_store_close(opened);
    for (int c = 0; c < CHILDREN; c++) { /* what is known now, is */
        shares[c].at_least = c ? 0 : spent;
        shares[c].at_most = c ? 0 : spent;
    }
    return spent;
}

static void killed_at_random(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *opened;
    int64_t spent = 0;
    weirp_budget all = {
        .name = "all", .unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_TOTAL, .hard = true, .limit = TIGHT};
    oracle = NULL;
    assert_int_equal(weirp_store_open(&opened, path, WEIRP_STORE_CREATE, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_set(opened, &all, NULL, &err), WEIR_OK);
    weirp_store_close(opened);
    shares = mmap(NULL, CHILDREN * sizeof *shares, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shares != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[CHILDREN];
        int status;
        for (int c = 0; c < CHILDREN; c++) {
            children[c] = fork();
            if (!children[c]) work_until_killed(c, (uint64_t)(round * CHILDREN + c));
        }
        for (int c = 0; c < CHILDREN; c++) {
            usleep(3000 + (useconds_t)(weirp_random_u64(7, 3, (uint64_t)(round * CHILDREN + c)) % 20000));
            kill(children[c], SIGKILL);
        }
        for (int c = 0; c < CHILDREN; c++) {
            assert_int_equal(waitpid(children[c], &status, 0), children[c]);
            if (WIFEXITED(status)) fail_msg("round %d: child says %d", round, WEXITSTATUS(status));
        }
        spent = check_all();
    }
    int64_t calls = 0, refused = 0;
    for (int c = 0; c < CHILDREN; c++) {
        calls += shares[c].n_calls;
        refused += shares[c].n_refused;
    }
    print_message("%d kills, %lld calls, %lld refused, %lld of %d spent\n", ROUNDS * CHILDREN, (long long)calls,
                  (long long)refused, (long long)spent, TIGHT);
    assert_true(calls > 0);
    munmap(shares, CHILDREN * sizeof *shares);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_before_every_write, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(killed_after_every_write, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(every_write_fails_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(killed_at_random, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

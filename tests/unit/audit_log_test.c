/* audit_log_test.c: the ledger's settlements against a traffic log, with either of them tampered with.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/bank.h"
#include "src/budget/books.h"
#include "store_helpers.h"

#define NOW_MS INT64_C(1800000000000)

static weirp_store *store;
static weirp_bank *bank;
static weirp_log_audit found;
static weirp_log_difference told; /* the last; its id in told_id */
static char told_id[64];

static int set_up(void **state) {
    weir_error err = {0};
    const weirp_bank_options options = {0};
    const weirp_budget b = {.name = "all",
                            .unit = WEIRP_UNIT_USD,
                            .period = WEIRP_PERIOD_DAY,
                            .zone = "UTC",
                            .hard = true,
                            .limit = 1000000};
    if (make_folder(state) || weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) return -1;
    if (weirp_ledger_set(store, &b, NULL, &err) != WEIR_OK) return -1;
    return weirp_bank_open(&bank, path, &options, &err) != WEIR_OK;
}

static int tear_down(void **state) {
    weir_error err = {0};
    assert_int_equal(weirp_bank_close(bank, &err), WEIR_OK);
    weirp_store_close(store);
    return remove_folder(state);
}

static void post(void) {
    weir_error err = {0};
    unsigned wait;
    if (weirp_bank_post(bank, &wait, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void spend(const char *id, unsigned attempt, int64_t nano, bool estimated) {
    const weirp_subject subject = {.value = {[WEIRP_DIM_USER] = "ann", [WEIRP_DIM_MODEL] = "m"}};
    const weirp_need need = {.worst = {5000, 100, 1}, .likely = {5000, 100, 1}};
    weirp_claim claim = {0};
    weirp_claim_result result = WEIRP_CLAIM_WAIT;
    for (int i = 0; i < 5 && result == WEIRP_CLAIM_WAIT; i++) {
        weirp_shortage why;
        result = weirp_bank_claim(bank, &subject, &need, NOW_MS, &claim, &why);
        if (result == WEIRP_CLAIM_WAIT) post();
    }
    assert_int_equal(result, WEIRP_CLAIM_GRANTED);
    const weirp_settlement s = {.id = id,
                                .attempt = attempt,
                                .at_ms = NOW_MS,
                                .subject = &subject,
                                .usage = {.estimated = estimated},
                                .amount = {nano, 30, 1}};
    weirp_bank_settle(bank, &claim, &s);
    post();
}

/* The gateway has ended. */
static void leave(void) {
    weir_error err = {0};
    assert_int_equal(weirp_bank_close(bank, &err), WEIR_OK);
    bank = NULL;
}

typedef struct log_of {
    const weirp_logged *item;
    size_t n;
    weir_status status; /* at its end */
} log_of;

static weir_status walk(void *user, weirp_logged_visit visit, void *visit_user, weir_error *err) {
    const log_of *l = user;
    for (size_t i = 0; i < l->n; i++) {
        weir_status st = visit(visit_user, &l->item[i], err);
        if (st) return st;
    }
    return l->status;
}

static void take(void *user, const weirp_log_difference *d) {
    (void)user;
    told = *d;
    snprintf(told_id, sizeof told_id, "%s", d->id);
}

static weir_status audit_source(const weirp_log_source *source) {
    weir_error err = {0};
    weirp_snapshot *snapshot;
    found = (weirp_log_audit){0};
    told = (weirp_log_difference){.why = ""};
    told_id[0] = '\0';
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    weir_status st = weirp_ledger_audit_log(weirp_snapshot_table(snapshot), source, &found, take, NULL, &err);
    weirp_snapshot_end(snapshot);
    return st;
}

static void audit(const weirp_logged *logged, size_t n) {
    log_of l = {logged, n, WEIR_OK};
    const weirp_log_source source = {.walk = walk, .user = &l};
    assert_int_equal(audit_source(&source), WEIR_OK);
}

static uint64_t n_skipped(void) {
    uint64_t n = 0;
    for (int i = 0; i < WEIRP_N_SKIPS; i++) n += found.n_skipped[i];
    return n;
}

static weirp_logged logged(const char *id, int64_t nano) {
    return (weirp_logged){.id = id,
                          .time_ms = NOW_MS - 50,
                          .subject = {.value = {[WEIRP_DIM_USER] = "ann"}},
                          .n = 1,
                          .model = {"m"},
                          .nano = {nano},
                          .answered = 0,
                          .tokens = 30};
}

static void both_say_the_same(void **state) {
    (void)state;
    spend("a", 1, 20, false); /* after a failure that cost nothing */
    spend("b", 0, 25, true);
    leave();
    weirp_logged rows[] = {logged("a", 0), logged("b", 20), logged("free", 0)};
    rows[0].n = 2;
    rows[0].nano[1] = 20;
    rows[0].answered = 1;
    audit(rows, 3);
    assert_int_equal(found.n_wrong, 0);
    assert_int_equal(found.n_decisions, 3);
    assert_int_equal(found.n_same, 1);
    assert_int_equal(found.n_safe, 1);
    assert_int_equal(found.spent_nano, 45);
    assert_int_equal(found.spent_log_nano, 40);
    assert_int_equal(n_skipped(), 0);
}

static void the_log_says_something_else(void **state) {
    (void)state;
    spend("a", 0, 20, false);
    spend("b", 0, 25, true);
    leave();
    weirp_logged rows[] = {logged("a", 21), logged("b", 25), logged("c", 5)};
    audit(rows, 2);
    assert_int_equal(found.n_wrong, 1);
    assert_string_equal(told_id, "a");
    assert_int_equal(told.ledger, 20);
    assert_int_equal(told.log, 21);
    rows[0].nano[0] = 20;
    rows[0].tokens = 31;
    audit(rows, 2);
    assert_int_equal(found.n_wrong, 1);
    assert_int_equal(told.unit, WEIRP_UNIT_TOKENS);
    rows[0].tokens = 30;
    rows[1].nano[0] = 26; /* estimates are charged on the safe side, never below */
    audit(rows, 2);
    assert_int_equal(found.n_wrong, 1);
    assert_non_null(strstr(told.why, "safe side"));
    rows[1].nano[0] = 25;
    audit(rows, 3);
    assert_int_equal(found.n_wrong, 1);
    assert_string_equal(told_id, "c");
    assert_true(told.entry == UINT64_MAX && told.ledger == -1);
    audit(rows + 1, 1);
    assert_int_equal(found.n_wrong, 1);
    assert_string_equal(told_id, "a");
    assert_int_equal(told.log, -1);
}

static void what_cannot_be_compared_is_named(void **state) {
    (void)state;
    spend("a", 0, 20, false);
    spend("many", WEIRP_LOGGED_ATTEMPTS, 25, false);
    weirp_logged rows[] = {logged("a", -1), logged("b", 5), logged("many", 0), logged("early", 5)};
    rows[3].time_ms = NOW_MS - 86400000; /* when there was no account */
    audit(rows + 1, 3);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_RUNNING], 2); /* "b", and "a" in the ledger */
    assert_int_equal(found.n_wrong, 0);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_ATTEMPTS], 1);
    leave();
    rows[0].answered = SIZE_MAX;
    audit(rows, 4);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_UNPRICED], 1);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_UNCOVERED], 1);
    assert_int_equal(found.n_wrong, 1);
    assert_string_equal(told_id, "b");
    log_of l = {rows + 2, 1, WEIR_OK};
    weirp_log_source source = {.walk = walk, .user = &l, .trimmed = true};
    assert_int_equal(audit_source(&source), WEIR_OK);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_TRIMMED], 1);
    source = (weirp_log_source){.walk = walk, .user = &l, .from_ms = NOW_MS + 1};
    assert_int_equal(audit_source(&source), WEIR_OK);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_OLDER], 2);
    l = (log_of){NULL, 0, WEIR_OK};
    source = (weirp_log_source){.walk = walk, .user = &l, .optional = true};
    assert_int_equal(audit_source(&source), WEIR_OK);
    assert_int_equal(found.n_skipped[WEIRP_SKIP_NO_LOG], 1);
    assert_int_equal(found.n_wrong, 0);
    l.status = WEIR_IO;
    assert_int_equal(audit_source(&source), WEIR_IO);
}

/* ---- a ledger that somebody has changed, balances and all ---- */

typedef struct forgery {
    uint8_t key[WEIRP_TABLE_KEY];
    size_t key_size;
    weirp_writer batch;
    int64_t amount, posting; /* added to settlements' */
} forgery;

static weir_status forge(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                         weir_error *err) {
    forgery *f = user;
    weirp_entry_reader reader;
    weirp_entry e;
    uint8_t bytes[WEIRP_ENTRY_MOST];
    weir_status st = weirp_batch_open(&reader, data, size, err);
    bool hit = false;
    if (st || f->key_size) return st;
    f->batch.size = 0;
    weirp_put(&f->batch, data, WEIRP_BATCH_HEAD);
    while ((st = weirp_batch_next(&reader, &e, err)) == WEIR_OK) {
        if (e.kind == WEIRP_ENTRY_SETTLE) {
            hit = true;
            e.amount[WEIRP_UNIT_USD] += f->amount;
            e.postings[0].amount += f->posting;
        }
        weirp_put(&f->batch, bytes, weirp_entry_encode(&e, reader.base_ms, reader.texts, bytes));
    }
    if (hit) memcpy(f->key, key, f->key_size = key_size);
    return st == WEIR_END ? WEIR_OK : st;
}

static weir_status forge_entries(void *user, weirp_txn *txn, weir_error *err) {
    forgery *f = user;
    f->key_size = 0;
    weir_status st = weirp_txn_scan(txn, WEIRP_ROW_ENTRIES, 2, NULL, 0, forge, f, err);
    return st ? st : weirp_txn_put(txn, f->key, f->key_size, f->batch.data, f->batch.size, err);
}

static void a_forged_entry_is_named(void **state) {
    (void)state;
    weir_error err = {0};
    const weirp_logged rows[] = {logged("a", 20)};
    spend("a", 0, 20, false);
    leave();
    audit(rows, 1);
    assert_int_equal(found.n_wrong, 0);
    forgery f = {.amount = -3, .posting = -3};
    assert_int_equal(weirp_store_transact(store, NULL, 0, forge_entries, &f, &err), WEIR_OK);
    audit(rows, 1); /* it adds up, but isn't what the log says */
    assert_int_equal(found.n_wrong, 1);
    assert_string_equal(told_id, "a");
    assert_int_equal(told.ledger, 17);
    assert_int_equal(told.log, 20);
    f.amount = 3, f.posting = 0;
    assert_int_equal(weirp_store_transact(store, NULL, 0, forge_entries, &f, &err), WEIR_OK);
    audit(rows, 1); /* it says what the log says, but has moved less */
    assert_int_equal(found.n_wrong, 1);
    assert_int_equal(told.ledger, 17);
    assert_int_equal(told.log, 20);
    assert_non_null(strstr(told.why, "moved"));
    weirp_writer_free(&f.batch);
}

int main(void) {
#define WITH_BANK(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BANK(both_say_the_same),
        WITH_BANK(the_log_says_something_else),
        WITH_BANK(what_cannot_be_compared_is_named),
        WITH_BANK(a_forged_entry_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

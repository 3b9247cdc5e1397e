/* glance_test.c: how budgets stand by the ledger. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/bank.h"
#include "src/budget/books.h"
#include "store_helpers.h"

#define NOW_MS INT64_C(1800000000000)

static weirp_store *store;

static void set(const char *name, weirp_unit unit, int64_t limit, weirp_period_kind period, const char *user) {
    weir_error err = {0};
    weirp_budget b = {.unit = unit, .period = period, .zone = "UTC", .limit = limit};
    snprintf(b.name, sizeof b.name, "%s", name);
    snprintf(b.match[WEIRP_DIM_USER], sizeof b.match[0], "%s", user);
    if (weirp_ledger_set(store, &b, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void spend(weirp_bank *bank, const char *user, int64_t nano, int64_t at_ms) {
    const weirp_subject subject = {.value = {[WEIRP_DIM_USER] = user}};
    const weirp_need need = {.worst = {nano, 100, 1}, .likely = {nano, 100, 1}};
    const weirp_settlement s = {.id = "a", .at_ms = at_ms, .subject = &subject, .amount = {nano, 30, 1}};
    weirp_claim claim = {0};
    weirp_shortage why;
    assert_int_equal(weirp_bank_claim(bank, &subject, &need, at_ms, &claim, &why), WEIRP_CLAIM_GRANTED);
    weirp_bank_settle(bank, &claim, &s);
}

static size_t glance(weirp_budget_glance *item, size_t capacity, size_t *n_budgets) {
    weir_error err = {0};
    weirp_snapshot *snapshot;
    size_t n;
    assert_int_equal(weirp_snapshot_begin(&snapshot, store, &err), WEIR_OK);
    assert_int_equal(weirp_ledger_glance(weirp_snapshot_table(snapshot), NOW_MS / 1000, item, capacity, &n, n_budgets,
                                         &err),
                     WEIR_OK);
    weirp_snapshot_end(snapshot);
    return n;
}

static void the_period_that_runs(void **state) {
    (void)state;
    weir_error err = {0};
    const weirp_bank_options options = {0};
    weirp_bank *bank;
    weirp_budget_glance g[4];
    size_t n_budgets;
    unsigned wait;
    assert_int_equal(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err), WEIR_OK);
    assert_int_equal(glance(g, 4, &n_budgets), 0); /* a store without a ledger */
    set("gone", WEIRP_UNIT_USD, 5, WEIRP_PERIOD_DAY, "");
    set("all", WEIRP_UNIT_USD, 1000, WEIRP_PERIOD_DAY, "");
    set("each", WEIRP_UNIT_REQUESTS, 4, WEIRP_PERIOD_TOTAL, "*");
    set("zero", WEIRP_UNIT_TOKENS, 0, WEIRP_PERIOD_HOUR, "eve");
    assert_int_equal(weirp_ledger_remove(store, "gone", &err), WEIR_OK);
    assert_int_equal(weirp_bank_open(&bank, path, &options, &err), WEIR_OK);
    spend(bank, "ann", 100, NOW_MS);
    spend(bank, "bob", 20, NOW_MS);
    spend(bank, "bob", 3, NOW_MS);
    spend(bank, "bob", 500, NOW_MS - INT64_C(86400000)); /* yesterday's */
    spend(bank, "eve", 0, NOW_MS);
    assert_int_equal(weirp_bank_post(bank, &wait, &err), WEIR_OK);
    assert_int_equal(glance(g, 4, &n_budgets), 3);
    assert_int_equal(n_budgets, 3);
    assert_string_equal(g[0].name, "all");
    assert_int_equal(g[0].spent, 123);
    assert_int_equal(g[0].limit, 1000);
    assert_int_equal(g[0].n_accounts, 1);
    assert_true(g[0].span.start <= NOW_MS / 1000 && g[0].span.end == g[0].span.start + 86400);
    assert_int_equal(g[1].n_accounts, 3);
    assert_int_equal(g[1].spent, 5);
    assert_true(g[1].highest_share == 0.75);
    assert_true(g[1].span.end == INT64_MAX);
    assert_int_equal(g[2].spent, 30);
    assert_true(g[2].highest_share > 1e300); /* something of nothing */
    assert_int_equal(glance(g, 2, &n_budgets), 2);
    assert_int_equal(n_budgets, 3);
    char user[16];
    for (int i = 0; i < WEIRP_GLANCE_ACCOUNTS; i++) {
        snprintf(user, sizeof user, "user%d", i);
        spend(bank, user, 0, NOW_MS);
    }
    assert_int_equal(weirp_bank_post(bank, &wait, &err), WEIR_OK);
    assert_int_equal(glance(g, 4, &n_budgets), 3);
    assert_true(g[1].cut && g[1].n_accounts == WEIRP_GLANCE_ACCOUNTS);
    assert_false(g[0].cut);
    assert_int_equal(weirp_bank_close(bank, &err), WEIR_OK);
    weirp_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_period_that_runs, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

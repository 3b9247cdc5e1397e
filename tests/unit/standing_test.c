/* standing_test.c: how a budget stands, as its pacer sees it: of all processes, by period and hour.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "store_helpers.h"

#define NOW_MS  INT64_C(1800000000000) /* 2027-01-15T08:00:00Z, a Friday */
#define HOUR_MS INT64_C(3600000)

static weirp_store *store;

static weirp_bank *open_bank(void) {
    weirp_bank_options options = {.wake = NULL};
    weir_error err = {0};
    weirp_bank *opened;
    if (weirp_bank_open(&opened, path, &options, &err) != WEIR_OK) fail_msg("%s", err.text);
    return opened;
}

static void post(weirp_bank *bank) {
    weir_error err = {0};
    unsigned wait;
    for (int i = 0; i < 2; i++)
        if (weirp_bank_post(bank, &wait, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static int set_up(void **state) {
    weir_error err = {0};
    if (make_folder(state)) return -1;
    return weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK;
}

static int tear_down(void **state) {
    weirp_store_close(store);
    return remove_folder(state);
}

static void set_budget(const char *name, const char *team, const char *zone, int64_t limit) {
    weir_error err = {0};
    weirp_budget b = {.unit = WEIRP_UNIT_USD, .period = WEIRP_PERIOD_DAY, .limit = limit};
    snprintf(b.name, sizeof b.name, "%s", name);
    snprintf(b.zone, sizeof b.zone, "%s", zone);
    snprintf(b.match[WEIRP_DIM_TEAM], sizeof b.match[0], "%s", team);
    if (weirp_ledger_set(store, &b, NULL, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static void claim(weirp_bank *bank, int64_t likely, weirp_claim *c) {
    weirp_subject subject = {.value = {[WEIRP_DIM_TEAM] = "search", [WEIRP_DIM_USER] = "ann"}};
    weirp_need need = {.worst = {2 * likely, 0, 1}, .likely = {likely, 0, 1}};
    weirp_shortage why;
    assert_int_equal(weirp_bank_claim(bank, &subject, &need, NOW_MS, c, &why), WEIRP_CLAIM_GRANTED);
}

static void settle(weirp_bank *bank, weirp_claim *c, int64_t amount) {
    weirp_subject subject = {.value = {[WEIRP_DIM_TEAM] = "search", [WEIRP_DIM_USER] = "ann"}};
    weirp_settlement s = {.at_ms = NOW_MS, .subject = &subject, .amount = {amount, 0, 1}};
    weirp_bank_settle(bank, c, &s);
}

static weirp_standing standing(weirp_bank *bank, const char *name, int64_t now_ms, bool look) {
    weirp_standing s;
    assert_true(weirp_bank_standing(bank, name, now_ms, look, &s));
    return s;
}

static void in_flight_then_spent(void **state) {
    (void)state;
    set_budget("team", "search", "UTC", 1000);
    weirp_bank *bank = open_bank();
    weirp_claim c = {0};
    weirp_standing s = standing(bank, "team", NOW_MS, false);
    assert_int_equal(s.limit, 1000);
    assert_int_equal(s.spent + s.in_flight, 0);
    claim(bank, 70, &c);
    s = standing(bank, "team", NOW_MS, false);
    assert_int_equal(s.in_flight, 70);
    assert_int_equal(s.spent, 0);
    settle(bank, &c, 55);
    s = standing(bank, "team", NOW_MS, false); /* before it is in the ledger, too */
    assert_int_equal(s.in_flight, 0);
    assert_int_equal(s.spent, 55);
    post(bank);
    s = standing(bank, "team", NOW_MS, false);
    assert_int_equal(s.spent, 55);
    assert_true(s.seen);
    /* tomorrow is another day */
    assert_int_equal(standing(bank, "team", NOW_MS + 24 * HOUR_MS, false).spent, 0);
    assert_int_equal(standing(bank, "team", NOW_MS, false).spent, 55);
    assert_int_equal(weirp_bank_close(bank, NULL), WEIR_OK);
}

static void what_others_spend(void **state) {
    (void)state;
    set_budget("team", "search", "UTC", 1000);
    weirp_bank *one = open_bank(), *other = open_bank();
    weirp_claim c = {0};
    post(one);
    assert_false(standing(one, "team", NOW_MS, true).seen);
    claim(other, 70, &c);
    settle(other, &c, 60);
    post(other);
    standing(one, "team", NOW_MS, true);
    post(one);
    weirp_standing s = standing(one, "team", NOW_MS, false);
    assert_true(s.seen);
    assert_int_equal(s.spent, 60);
    assert_int_equal(s.in_flight, 0);
    assert_int_equal(weirp_bank_close(one, NULL), WEIR_OK);
    assert_int_equal(weirp_bank_close(other, NULL), WEIR_OK);
}

static void periods_and_hours(void **state) {
    (void)state;
    set_budget("utc", "", "UTC", 10);
    set_budget("india", "", "Asia/Kolkata", 20); /* half past one in the afternoon */
    weirp_bank *bank = open_bank();
    weirp_standing s = standing(bank, "utc", NOW_MS + 100, false);
    assert_int_equal(s.span.start, NOW_MS / 1000 - 8 * 3600);
    assert_int_equal(s.span.end - s.span.start, 86400);
    assert_int_equal(s.hour.start, NOW_MS / 1000);
    assert_int_equal(s.hour_of_day, 8);
    assert_int_equal(s.weekday, 4);
    s = standing(bank, "india", NOW_MS, false);
    assert_int_equal(s.limit, 20);
    assert_int_equal(s.span.start, NOW_MS / 1000 - 13 * 3600 - 1800);
    assert_int_equal(s.hour.start, NOW_MS / 1000 - 1800);
    assert_int_equal(s.hour_of_day, 13);
    assert_int_equal(weirp_bank_close(bank, NULL), WEIR_OK);
}

static void budgets_that_are_not_there(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_standing s;
    weirp_bank *bank = open_bank();
    assert_false(weirp_bank_standing(bank, "team", NOW_MS, true, &s));
    set_budget("team", "search", "UTC", 1000);
    set_budget("each", "*", "UTC", 1000);
    post(bank);
    assert_true(weirp_bank_standing(bank, "team", NOW_MS, true, &s));
    assert_false(weirp_bank_standing(bank, "tea", NOW_MS, true, &s));
    assert_true(weirp_bank_standing(bank, "each", NOW_MS, true, &s)); /* whoever asks sees the "*" */
    assert_string_equal(s.budget.match[WEIRP_DIM_TEAM], "*");
    if (weirp_ledger_remove(store, "team", &err) != WEIR_OK) fail_msg("%s", err.text);
    post(bank);
    assert_false(weirp_bank_standing(bank, "team", NOW_MS, true, &s));
    assert_int_equal(weirp_bank_close(bank, NULL), WEIR_OK);
}

static void set_limit(const char *name, const char *team, weirp_unit unit, int64_t limit, bool hard) {
    weir_error err = {0};
    weirp_budget b = {.unit = unit, .period = WEIRP_PERIOD_TOTAL, .zone = "UTC", .limit = limit, .hard = hard};
    snprintf(b.name, sizeof b.name, "%s", name);
    snprintf(b.match[WEIRP_DIM_TEAM], sizeof b.match[0], "%s", team);
    assert_int_equal(weirp_ledger_set(store, &b, NULL, &err), WEIR_OK);
}

static void what_is_left(void **state) {
    (void)state;
    weir_error err = {0};
    set_limit("wide", "", WEIRP_UNIT_USD, 5000, true);
    set_limit("team", "search", WEIRP_UNIT_USD, 1000, true);
    set_limit("soft", "", WEIRP_UNIT_USD, 1, false);
    set_limit("few", "", WEIRP_UNIT_REQUESTS, 3, true);
    const weirp_subject search = {.value = {[WEIRP_DIM_TEAM] = "search", [WEIRP_DIM_USER] = "ann"}};
    const weirp_subject other = {.value = {[WEIRP_DIM_TEAM] = "other"}};
    weirp_bank *bank = open_bank();
    weirp_room room[WEIRP_N_UNITS];
    weirp_claim c = {0};
    weirp_bank_room(bank, &search, NOW_MS, room); /* nobody has looked at them */
    for (int u = 0; u < WEIRP_N_UNITS; u++) assert_int_equal(room[u].limit, -1);
    weirp_need need = {.worst = {200, 0, 1}, .likely = {70, 0, 1}};
    weirp_shortage why;
    weirp_claim_result result = WEIRP_CLAIM_WAIT;
    for (int i = 0; i < 5 && result == WEIRP_CLAIM_WAIT; i++) {
        result = weirp_bank_claim(bank, &search, &need, NOW_MS, &c, &why);
        if (result == WEIRP_CLAIM_WAIT) post(bank);
    }
    assert_int_equal(result, WEIRP_CLAIM_GRANTED);
    weirp_bank_room(bank, &search, NOW_MS, room);
    assert_int_equal(room[WEIRP_UNIT_USD].limit, 1000); /* not the soft one's */
    assert_int_equal(room[WEIRP_UNIT_USD].left, 930);
    assert_int_equal(room[WEIRP_UNIT_REQUESTS].left, 2);
    assert_true(room[WEIRP_UNIT_REQUESTS].period_end == INT64_MAX);
    assert_int_equal(room[WEIRP_UNIT_TOKENS].limit, -1);
    settle(bank, &c, 50);
    weirp_bank_room(bank, &search, NOW_MS, room);
    assert_int_equal(room[WEIRP_UNIT_USD].left, 950);
    post(bank);
    weirp_bank_room(bank, &other, NOW_MS, room);
    assert_int_equal(room[WEIRP_UNIT_USD].limit, 5000);
    assert_int_equal(room[WEIRP_UNIT_USD].left, 4950);
    assert_int_equal(room[WEIRP_UNIT_REQUESTS].left, 2);
    assert_int_equal(weirp_bank_close(bank, &err), WEIR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_flight_then_spent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_others_spend, set_up, tear_down),
        cmocka_unit_test_setup_teardown(periods_and_hours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(budgets_that_are_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_left, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

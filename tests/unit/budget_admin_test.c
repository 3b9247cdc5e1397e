/* Budgets as people set them and look at them. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/made_store.h"

#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/budget/amount.h"
#include "src/budget/bank.h"
#include "src/budget/ledger.h"
#include "weir/budget.h"

static void test_amounts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        weirp_unit unit;
        int64_t amount;
        const char *shown;
    } good[] = {
        {"50USD", WEIRP_UNIT_USD, INT64_C(50000000000), "50.00"}, {"0.000000001usd", WEIRP_UNIT_USD, 1, "0.000000001"},
        {"1.5 USD", WEIRP_UNIT_USD, 1500000000, "1.50"},          {"0USD", WEIRP_UNIT_USD, 0, "0.00"},
        {"1000000tokens", WEIRP_UNIT_TOKENS, 1000000, "1000000"}, {"200ktokens", WEIRP_UNIT_TOKENS, 200000, "200000"},
        {"3M Tokens", WEIRP_UNIT_TOKENS, 3000000, "3000000"},     {"500requests", WEIRP_UNIT_REQUESTS, 500, "500"}};
    static const char *const bad[] = {"",
                                      "50",
                                      "USD",
                                      "$50",
                                      "-1USD",
                                      "1.0000000001USD",
                                      "1,000USD",
                                      "1.5tokens",
                                      "1e3tokens",
                                      "5kUSD",
                                      "50EUR",
                                      "1kktokens",
                                      "1 tokens x",
                                      "tokens",
                                      "9999999999999999999tokens",
                                      "9999999999999999M tokens",
                                      "10000000000USD",
                                      "1000000000000000000000000000000000000000000000000USD"};
    weirp_unit unit;
    int64_t amount;
    char text[WEIRP_AMOUNT_TEXT];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        OK(weirp_amount_parse(good[i].text, &unit, &amount, &err));
        assert_int_equal(unit, good[i].unit);
        assert_int_equal(amount, good[i].amount);
        weirp_amount_text(text, unit, amount);
        assert_string_equal(text, good[i].shown);
        OK(weirp_amount_parse_in(good[i].text, unit, &amount, &err));
        OK(weirp_amount_parse_in(text, unit, &amount, &err));
        assert_int_equal(amount, good[i].amount);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(weirp_amount_parse(bad[i], &unit, &amount, &err), WEIR_INVALID, "50USD");
    FAILS(weirp_amount_parse_in("5tokens", WEIRP_UNIT_USD, &amount, &err), WEIR_INVALID, "1.25USD");
    FAILS(weirp_amount_parse_in("1.5", WEIRP_UNIT_TOKENS, &amount, &err), WEIR_INVALID, "whole number");
    weirp_amount_text(text, WEIRP_UNIT_USD, -1500000000);
    assert_string_equal(text, "-1.50");
    weirp_amount_text(text, WEIRP_UNIT_USD, INT64_MIN);
    assert_string_equal(text, "-9223372036.854775807");
}

static json_t *report(weir_status (*ask)(const char *store, char **json, weir_error *e)) {
    char *text = NULL;
    OK(ask(path, &text, &err));
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(root);
    return root;
}

static json_t *shown(const char *name) {
    char *text = NULL;
    OK(weir_budget_show(path, name, &text, &err));
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(root);
    return root;
}

static const char *text_of(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static void test_set_list_remove(void **state) {
    (void)state;
    bool afresh = true;
    weir_budget_options daily = {.limit = "50USD", .per = "day", .zone = "Europe/Berlin", .warn = "0.5,0.8"};
    OK(weir_budget_set(path, "daily", &daily, &afresh, &err));
    assert_false(afresh);
    weir_budget_options each = {
        .limit = "1Mtokens", .per = "month", .key = "*", .team = "search", .soft = true, .when_exhausted = "refuse"};
    OK(weir_budget_set(path, "each", &each, NULL, &err));
    json_t *root = report(weir_budget_list), *all = json_object_get(root, "budgets");
    assert_int_equal(json_array_size(all), 2);
    const json_t *d = json_array_get(all, 0), *e = json_array_get(all, 1);
    assert_string_equal(text_of(d, "name"), "daily");
    assert_string_equal(text_of(d, "limit"), "50.00");
    assert_string_equal(text_of(d, "zone"), "Europe/Berlin");
    assert_string_equal(text_of(d, "when_exhausted"), "cheaper");
    assert_true(json_is_true(json_object_get(d, "hard")));
    assert_int_equal(json_object_size(json_object_get(d, "match")), 0);
    assert_int_equal(json_array_size(json_object_get(d, "warn")), 2);
    assert_true(json_is_false(json_object_get(e, "hard")));
    assert_string_equal(text_of(json_object_get(e, "match"), "key"), "*");
    assert_string_equal(text_of(json_object_get(e, "match"), "team"), "search");
    assert_string_equal(text_of(e, "limit"), "1000000");
    json_decref(root);

    daily.limit = "60USD"; /* in place */
    OK(weir_budget_set(path, "daily", &daily, &afresh, &err));
    assert_false(afresh);
    daily.zone = NULL; /* another one */
    OK(weir_budget_set(path, "daily", &daily, &afresh, &err));
    assert_true(afresh);
    json_t *one = shown("daily");
    assert_string_equal(text_of(one, "limit"), "60.00");
    assert_string_equal(text_of(one, "zone"), "UTC");
    assert_int_equal(json_array_size(json_object_get(one, "accounts")), 0);
    json_decref(one);

    OK(weir_budget_remove(path, "each", &err));
    FAILS(weir_budget_remove(path, "each", &err), WEIR_INVALID, "no budget 'each'");
    char *text = NULL;
    FAILS(weir_budget_show(path, "dialy", &text, &err), WEIR_INVALID, "did you mean 'daily'");
    root = report(weir_budget_list);
    assert_int_equal(json_array_size(json_object_get(root, "budgets")), 1);
    json_decref(root);
}

static void test_what_may_be_said(void **state) {
    (void)state;
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    static const struct {
        weir_budget_options options;
        const char *said;
    } cases[] = {{{.per = "day"}, "limit"},
                 {{.limit = "5USD"}, "period"},
                 {{.limit = "5", .per = "day"}, "50USD"},
                 {{.limit = "5USD", .per = "minute"}, "hour, day"},
                 {{.limit = "5USD", .per = "day", .zone = "Mars/Base"}, "Europe/Berlin"},
                 {{.limit = "5USD", .per = "day", .key = "a*"}, "\"*\""},
                 {{.limit = "5USD", .per = "day", .when_exhausted = "beg"}, "'cheaper'"},
                 {{.limit = "5USD", .per = "day", .warn = "0.5,,0.8"}, "0.5,0.8"},
                 {{.limit = "5USD", .per = "day", .warn = "x"}, "0.5,0.8"},
                 {{.limit = "5USD", .per = "day", .warn = "0.8,0.5"}, "smaller before"},
                 {{.limit = "5USD", .per = "day", .warn = "0.1,0.2,0.3,0.4,0.5"}, "up to 4"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        FAILS(weir_budget_set(path, "b", &cases[i].options, NULL, &err), WEIR_INVALID, cases[i].said);
    const weir_budget_options fine = {.limit = "5USD", .per = "day"};
    FAILS(weir_budget_set(path, name, &fine, NULL, &err), WEIR_INVALID, "63");
    FAILS(weir_budget_set(path, "two words", &fine, NULL, &err), WEIR_INVALID, "63");
    FAILS(weir_budget_set(path, "", &fine, NULL, &err), WEIR_INVALID, "63");
    OK(weir_budget_set(path, name + 1, &fine, NULL, &err));
    FAILS(weir_budget_reconcile(path, 1, "1USD", &err), WEIR_INVALID, "no account 1");
}

static void test_a_key_with_its_budget(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT], name[64];
    OK(weir_key_create(path, "alice", &(weir_key_options){.budget = "5USD/day"}, secret, &err));
    json_t *one = shown("key-alice");
    assert_string_equal(text_of(one, "limit"), "5.00");
    assert_string_equal(text_of(json_object_get(one, "match"), "key"), "alice");
    json_decref(one);
    FAILS(weir_key_create(path, "alice", &(weir_key_options){.budget = "9USD/day"}, secret, &err), WEIR_INVALID,
          "already");
    OK(weir_key_remove(path, "alice", &err));
    FAILS(weir_key_create(path, "alice", &(weir_key_options){.budget = "9USD/day"}, secret, &err), WEIR_INVALID,
          "budget 'key-alice' already");
    one = shown("key-alice"); /* untouched */
    assert_string_equal(text_of(one, "limit"), "5.00");
    json_decref(one);
    static const char *const bad[] = {"5USD", "/day", "5USD/", "5USD/year", "5/day", "5USD/day/day"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(weir_key_create(path, "bob", &(weir_key_options){.budget = bad[i]}, secret, &err), WEIR_INVALID, "");
    memset(name, 'n', sizeof name);
    name[60] = '\0';
    FAILS(weir_key_create(path, name, &(weir_key_options){.budget = "5USD/day"}, secret, &err), WEIR_INVALID,
          "too long");
    OK(weir_key_create(path, name + 1, &(weir_key_options){.budget = "5USD/day"}, secret, &err));
    json_t *root = report(weir_key_list);
    assert_int_equal(json_array_size(json_object_get(root, "keys")), 1);
    json_decref(root);
}

static void test_audit_of_nothing(void **state) {
    (void)state;
    bool sound = false;
    char *text = NULL;
    OK(weir_budget_audit(path, NULL, &sound, &text, &err));
    assert_true(sound);
    free(text);
}

/* ---- balances ---- */

/* A process that spends 0.25 USD of key "a", and dies with another call under way. */
static weirp_claim_result claim(weirp_bank *bank, const weirp_subject *subject, weirp_claim *out) {
    const weirp_need need = {.worst = {INT64_C(500000000), 1000, 1}, .likely = {INT64_C(500000000), 1000, 1}};
    weirp_claim_result result = WEIRP_CLAIM_WAIT;
    for (int i = 0; i < 100 && result == WEIRP_CLAIM_WAIT; i++) { /* the lease comes with a post */
        weirp_shortage why;
        unsigned wait_ms;
        result = weirp_bank_claim(bank, subject, &need, weirp_unix_ms(), out, &why);
        if (result == WEIRP_CLAIM_WAIT && weirp_bank_post(bank, &wait_ms, NULL) != WEIR_OK) break;
    }
    return result;
}

static int spend_and_die(void *user) {
    weirp_bank *bank = NULL;
    weir_error why = {0};
    const weirp_bank_options options = {0};
    weirp_claim first = {0}, second = {0};
    unsigned wait_ms;
    const weirp_subject subject = {.value = {[WEIRP_DIM_KEY] = user}};
    CHECK(weirp_bank_open(&bank, path, &options, &why) == WEIR_OK);
    CHECK(claim(bank, &subject, &first) == WEIRP_CLAIM_GRANTED);
    const weirp_settlement done = {
        .id = "weir-1", .at_ms = weirp_unix_ms(), .subject = &subject, .amount = {INT64_C(250000000), 700, 1}};
    weirp_bank_settle(bank, &first, &done);
    CHECK(claim(bank, &subject, &second) == WEIRP_CLAIM_GRANTED);
    CHECK(weirp_bank_post(bank, &wait_ms, &why) == WEIR_OK);
    return 0; /* by _exit: nothing is given back */
}

static int64_t amount_of(const json_t *account, const char *key) {
    int64_t amount = -1;
    OK(weirp_amount_parse_in(text_of(account, key), WEIRP_UNIT_USD, &amount, &err));
    return amount;
}

/* What is left of a process whose machine has gone down, too: nothing that proves anything. */
static void lose_spools(void) {
    glob_t found;
    char pattern[PATH_MAX];
    assert_true((size_t)snprintf(pattern, sizeof pattern, "%s-spool.*", path) < sizeof pattern);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) assert_int_equal(unlink(found.gl_pathv[i]), 0);
    globfree(&found);
}

/* A spool that isn't there is waited for: somebody else may be burying it. */
static void bury_all(void) {
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    bool leased = true;
    for (int i = 0; leased && i < 100; i++) {
        size_t n = 0;
        OK(weirp_ledger_bury(store, path, &n, &err));
        json_t *one = shown("each"), *account = json_array_get(json_object_get(one, "accounts"), 0);
        leased = strcmp(text_of(account, "leased"), "0.00") != 0;
        json_decref(one);
        if (leased) nanosleep(&(struct timespec){0, 100000000}, NULL);
    }
    weirp_store_close(store);
    assert_false(leased);
}

static void test_balances_and_reconciling(void **state) {
    (void)state;
    char alice[] = "alice";
    const weir_budget_options each = {.limit = "10USD", .per = "total", .key = "*"};
    OK(weir_budget_set(path, "each", &each, NULL, &err));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(child_status(spend_and_die, alice), 0);
        lose_spools();
    }
    bury_all();
    json_t *one = shown("each"), *account = json_array_get(json_object_get(one, "accounts"), 0);
    assert_int_equal(json_array_size(json_object_get(one, "accounts")), 1);
    assert_string_equal(text_of(account, "scope"), "key=alice");
    assert_string_equal(text_of(one, "spent"), "0.50");
    assert_string_equal(text_of(account, "spent"), "0.50");
    assert_string_equal(text_of(account, "leased"), "0.00");
    int64_t unproven = amount_of(account, "unproven");
    assert_true(unproven >= 2 * INT64_C(500000000)); /* each left a call */
    assert_int_equal(amount_of(account, "limit") - amount_of(account, "spent") - unproven, amount_of(account, "free"));
    uint64_t number = (uint64_t)json_integer_value(json_object_get(account, "account"));
    json_decref(one);

    char more[WEIRP_AMOUNT_TEXT];
    weirp_amount_text(more, WEIRP_UNIT_USD, unproven + 1);
    FAILS(weir_budget_reconcile(path, number, more, &err), WEIR_INVALID, "unproven");
    FAILS(weir_budget_reconcile(path, number, "1tokens", &err), WEIR_INVALID, "1.25USD");
    OK(weir_budget_reconcile(path, number, "0.75USD", &err)); /* of both */
    one = shown("each");
    account = json_array_get(json_object_get(one, "accounts"), 0);
    assert_string_equal(text_of(account, "spent"), "1.25");
    assert_string_equal(text_of(account, "unproven"), "0.00");
    assert_string_equal(text_of(account, "free"), "8.75");
    json_decref(one);
    FAILS(weir_budget_reconcile(path, number, "0", &err), WEIR_INVALID, "nothing of account");

    bool sound = false;
    char *text = NULL;
    OK(weir_budget_audit(path, NULL, &sound, &text, &err));
    assert_true(sound);
    json_t *audit = json_loads(text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(audit, "n_settled")), 2);
    json_decref(audit);
    free(text);
}

/* ---- an account whose row says something else than the entries ---- */

static weir_status find_account(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                weir_error *e) {
    struct {
        uint8_t key[WEIRP_TABLE_KEY], data[4096];
        size_t key_size, size;
    } *row = user;
    (void)e;
    memcpy(row->key, key, row->key_size = key_size);
    memcpy(row->data, data, row->size = size);
    return WEIR_OK;
}

static weir_status drop_entries(void *user, weirp_txn *txn, weir_error *e) {
    struct {
        uint8_t key[WEIRP_TABLE_KEY], data[4096];
        size_t key_size, size;
    } row = {.key_size = 0};
    (void)user;
    weir_status st = weirp_txn_scan(txn, "Le", 2, NULL, 0, find_account, &row, e);
    return st == WEIR_OK ? weirp_txn_delete(txn, row.key, row.key_size, e) : st;
}

static void test_audit_finds_what_is_lost(void **state) {
    (void)state;
    char alice[] = "alice";
    const weir_budget_options all = {.limit = "10USD", .per = "total"};
    OK(weir_budget_set(path, "all", &all, NULL, &err));
    assert_int_equal(child_status(spend_and_die, alice), 0);
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    OK(weirp_store_transact(store, NULL, 0, drop_entries, NULL, &err));
    weirp_store_close(store);
    bool sound = true;
    char *text = NULL;
    weir_status st = weir_budget_audit(path, NULL, &sound, &text, &err);
    assert_true(st == WEIR_OK || st == WEIR_CORRUPT);
    assert_false(sound);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_amounts),
        STORE_TEST(test_set_list_remove),
        STORE_TEST(test_what_may_be_said),
        STORE_TEST(test_a_key_with_its_budget),
        STORE_TEST(test_audit_of_nothing),
        STORE_TEST(test_balances_and_reconciling),
        STORE_TEST(test_audit_finds_what_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

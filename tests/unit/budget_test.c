/* Limits: what may be said, whom they cover, account keys, bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/budget.h"
#include "src/store/store.h"

static weirp_budget sample(void) {
    return (weirp_budget){.name = "team-a.daily",
                          .id = 7,
                          .unit = WEIRP_UNIT_USD,
                          .limit = 50,
                          .period = WEIRP_PERIOD_DAY,
                          .zone = "Europe/Berlin",
                          .hard = true,
                          .exhausted = WEIRP_EXHAUSTED_REFUSE,
                          .warn = {0.5, 0.8, 1},
                          .match = {[WEIRP_DIM_TEAM] = "a", [WEIRP_DIM_KEY] = "*"}};
}

static void names(void **state) {
    (void)state;
    static const char *const units[] = {"usd", "tokens", "requests"};
    static const char *const dimensions[] = {"key", "team", "user", "tag", "model", "provider"};
    for (int i = 0; i < WEIRP_N_UNITS; i++) assert_string_equal(weirp_unit_name((weirp_unit)i), units[i]);
    for (int i = 0; i < WEIRP_N_DIMS; i++) assert_string_equal(weirp_dimension_name((weirp_dimension)i), dimensions[i]);
    for (int i = 0; i < WEIRP_N_EXHAUSTED; i++) {
        weirp_exhausted what = WEIRP_N_EXHAUSTED;
        assert_true(weirp_exhausted_find(weirp_exhausted_name((weirp_exhausted)i), &what) && (int)what == i);
    }
    weirp_exhausted what = WEIRP_N_EXHAUSTED;
    assert_false(weirp_exhausted_find("euro", &what) || weirp_exhausted_find(NULL, &what) ||
                 weirp_exhausted_find("", &what));
    assert_int_equal(what, WEIRP_N_EXHAUSTED);
    assert_string_equal(weirp_unit_name(WEIRP_N_UNITS), "unknown");
}

/* What is wrong with the sample, and a word that the message must have. */
typedef void spoil(weirp_budget *b);
#define SPOIL(what, ...)                                                                                               \
    static void what(weirp_budget *b) {                                                                                \
        __VA_ARGS__;                                                                                                   \
    }
SPOIL(no_name, b->name[0] = 0)
SPOIL(odd_name, strcpy(b->name, "a b"))
SPOIL(endless_name, memset(b->name, 'a', sizeof b->name))
SPOIL(no_unit, b->unit = WEIRP_N_UNITS)
SPOIL(no_period, b->period = WEIRP_N_PERIODS)
SPOIL(no_action, b->exhausted = WEIRP_N_EXHAUSTED)
SPOIL(below_zero, b->limit = -1)
SPOIL(no_zone, strcpy(b->zone, "Europe/Berlim"))
SPOIL(endless_zone, memset(b->zone, 'a', sizeof b->zone))
SPOIL(falling, b->warn[1] = 0.4)
SPOIL(equal, b->warn[1] = 0.5)
SPOIL(negative_share, b->warn[0] = -0.5)
SPOIL(not_a_share, b->warn[0] = NAN)
SPOIL(huge_share, b->warn[2] = 11)
SPOIL(a_gap, b->warn[0] = 0)
SPOIL(pattern, strcpy(b->match[WEIRP_DIM_MODEL], "gpt-*"))
SPOIL(control, strcpy(b->match[WEIRP_DIM_TAG], "a\nb"))
SPOIL(broken, strcpy(b->match[WEIRP_DIM_USER], "\xc3"))
SPOIL(endless_match, memset(b->match[WEIRP_DIM_USER], 'a', WEIRP_SCOPE_TEXT))

static const struct {
    spoil *what;
    weir_status status;
    const char *word;
} wrong[] = {{no_name, WEIR_INVALID, "letters"},        {odd_name, WEIR_INVALID, "letters"},
             {endless_name, WEIR_INVALID, "63"},        {no_unit, WEIR_INVALID, "unit 3"},
             {no_period, WEIR_INVALID, "period 6"},     {no_action, WEIR_INVALID, "team-a.daily"},
             {below_zero, WEIR_INVALID, "0 or more"},   {no_zone, WEIR_NOTFOUND, "Europe/Berlim"},
             {endless_zone, WEIR_INVALID, "63 bytes"},  {falling, WEIR_INVALID, "shares"},
             {equal, WEIR_INVALID, "shares"},           {negative_share, WEIR_INVALID, "shares"},
             {not_a_share, WEIR_INVALID, "shares"},     {huge_share, WEIR_INVALID, "up to 10"},
             {a_gap, WEIR_INVALID, "shares"},           {pattern, WEIR_INVALID, "as model"},
             {control, WEIR_INVALID, "as tag"},         {broken, WEIR_INVALID, "as user"},
             {endless_match, WEIR_INVALID, "127 bytes"}};

static void checks(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_budget b = sample();
    assert_int_equal(weirp_budget_check(&b, &err), WEIR_OK);
    b = (weirp_budget){.name = "x"}; /* no money at all, for nobody in particular, by the minute: odd, not wrong */
    assert_int_equal(weirp_budget_check(&b, &err), WEIR_OK);
    assert_int_equal(err.status, WEIR_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        b = sample();
        wrong[i].what(&b);
        err = (weir_error){0};
        weir_status st = weirp_budget_check(&b, &err);
        if (st != wrong[i].status || err.status != st || !strstr(err.text, wrong[i].word))
            fail_msg("case %zu: %s: %s", i, weir_status_name(st), err.text);
    }
}

static void covering(void **state) {
    (void)state;
    weirp_budget all = {.name = "all"}, one = sample();
    weirp_subject nobody = {{NULL}}, s = {{[WEIRP_DIM_TEAM] = "a", [WEIRP_DIM_KEY] = "k1", [WEIRP_DIM_MODEL] = "m"}};
    assert_true(weirp_budget_covers(&all, &nobody) && weirp_budget_covers(&all, &s));
    assert_true(weirp_budget_covers(&one, &s));
    assert_false(weirp_budget_covers(&one, &nobody));
    s.value[WEIRP_DIM_TEAM] = "b";
    assert_false(weirp_budget_covers(&one, &s));
    s.value[WEIRP_DIM_TEAM] = "ab";
    assert_false(weirp_budget_covers(&one, &s));
    s.value[WEIRP_DIM_TEAM] = "a";
    s.value[WEIRP_DIM_KEY] = NULL; /* "*" is any that is known */
    assert_false(weirp_budget_covers(&one, &s));
    s.value[WEIRP_DIM_KEY] = "";
    assert_false(weirp_budget_covers(&one, &s));
    s.value[WEIRP_DIM_KEY] = "*"; /* a client may call itself so */
    assert_true(weirp_budget_covers(&one, &s));
    assert_false(weirp_budget_needs_model(&one) || weirp_budget_needs_model(&all));
    strcpy(one.match[WEIRP_DIM_PROVIDER], "*");
    assert_true(weirp_budget_needs_model(&one));
    strcpy(all.match[WEIRP_DIM_MODEL], "m");
    assert_true(weirp_budget_needs_model(&all));
}

static int compare(const weirp_account_key *a, const weirp_account_key *b) {
    int c = memcmp(a->bytes, b->bytes, a->size < b->size ? a->size : b->size);
    return c ? c : (a->size > b->size) - (a->size < b->size);
}

static weirp_account_key key_of(const weirp_budget *b, int64_t start, const char *key, const char *tag) {
    weirp_subject s = {{[WEIRP_DIM_KEY] = key, [WEIRP_DIM_TEAM] = "a", [WEIRP_DIM_TAG] = tag, [WEIRP_DIM_USER] = "u"}};
    weirp_account_key out;
    assert_true(weirp_budget_covers(b, &s));
    weirp_account_key_of(b, start, &s, &out);
    assert_true(out.size <= WEIRP_ACCOUNT_KEY);
    return out;
}

static void account_keys(void **state) {
    (void)state;
    weirp_budget b = sample();
    char scope[WEIRP_ACCOUNT_SCOPE];
    int64_t start;
    weirp_account_key k = key_of(&b, 1700000000, "alice", NULL), other;
    assert_int_equal(k.size, 12 + 1 + 5);
    assert_true(weirp_account_key_read(&b, k.bytes, k.size, &start, scope));
    assert_true(start == 1700000000);
    assert_string_equal(scope, "key=alice");
    other = key_of(&b, 1700000000, "alice", "night"); /* no "*" there: the tag doesn't matter */
    assert_int_equal(compare(&k, &other), 0);
    strcpy(b.match[WEIRP_DIM_TAG], "*");
    k = key_of(&b, 0, "ab", "c");
    other = key_of(&b, 0, "a", "bc");
    assert_int_not_equal(compare(&k, &other), 0);
    assert_true(weirp_account_key_read(&b, k.bytes, k.size, &start, scope));
    assert_string_equal(scope, "key=ab tag=c");
    /* in the order of periods, then of ids, whatever their bytes */
    static const int64_t starts[] = {INT64_MIN, -1, 0, 1, 255, 256, 1700000000, INT64_MAX};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        other = key_of(&b, starts[i], "zz", "y");
        assert_true(weirp_account_key_read(&b, other.bytes, other.size, &start, scope) && start == starts[i]);
        if (i) assert_true(compare(&k, &other) < 0);
        k = other;
    }
    b.id = 256;
    other = key_of(&b, INT64_MIN, "a", "a");
    assert_true(compare(&k, &other) < 0);
    /* cut, or with something after it, or another budget's */
    for (size_t n = 0; n < other.size; n++) assert_false(weirp_account_key_read(&b, other.bytes, n, &start, scope));
    other.bytes[other.size++] = 0;
    assert_false(weirp_account_key_read(&b, other.bytes, other.size, &start, scope));
    b.id = 7;
    assert_false(weirp_account_key_read(&b, other.bytes, other.size - 1, &start, scope));
}

static void long_values(void **state) {
    (void)state;
    weirp_budget b = sample();
    char exact[WEIRP_ACCOUNT_VALUE + 1], more[4000], scope[WEIRP_ACCOUNT_SCOPE];
    memset(exact, 'x', sizeof exact - 1);
    exact[sizeof exact - 1] = 0;
    memset(more, 'x', sizeof more - 1);
    more[sizeof more - 1] = 0;
    int64_t start;
    weirp_account_key k = key_of(&b, 0, exact, NULL), digest = key_of(&b, 0, more, NULL), other;
    assert_int_equal(k.size, 12 + 1 + 64);
    assert_int_equal(digest.size, 12 + 1 + 32);
    more[sizeof more - 2] = 'y';
    other = key_of(&b, 0, more, NULL);
    assert_int_not_equal(compare(&other, &digest), 0);
    assert_true(weirp_account_key_read(&b, digest.bytes, digest.size, &start, scope));
    assert_int_equal(strlen(scope), strlen("key=sha256:") + 64);
    assert_memory_equal(scope, "key=sha256:", 11);
    /* of "abc" 22 times, 66 bytes, as sha256sum has it */
    char abc[67] = "";
    for (int i = 0; i < 22; i++) strcat(abc, "abc");
    other = key_of(&b, 0, abc, NULL);
    assert_true(weirp_account_key_read(&b, other.bytes, other.size, &start, scope));
    assert_string_equal(scope, "key=sha256:9953faf4960772aeaa6aa0ae515221ffb0eb664760aa7363c85ff4a3611b67e3");
    /* whoever calls himself by 32 bytes that are a digest has an account of his own */
    char bytes[33] = "";
    memset(bytes, 'd', 32);
    other = key_of(&b, 0, bytes, NULL);
    digest = other;
    digest.bytes[12] |= 0x80;
    assert_int_not_equal(compare(&other, &digest), 0);
    /* every dimension at its longest: fits */
    for (int d = 0; d < WEIRP_N_DIMS; d++) strcpy(b.match[d], "*");
    weirp_subject all;
    for (int d = 0; d < WEIRP_N_DIMS; d++) all.value[d] = exact;
    weirp_account_key_of(&b, 0, &all, &k);
    assert_int_equal(k.size, WEIRP_ACCOUNT_KEY);
    assert_true(k.size + 64 <= WEIRP_TABLE_KEY);
    assert_true(weirp_account_key_read(&b, k.bytes, k.size, &start, scope));
    assert_int_equal(strlen(scope), 5 + strlen("keyteamusertagmodelprovider") + 6 + 6 * 64);
    for (int d = 0; d < WEIRP_N_DIMS; d++) all.value[d] = more;
    weirp_account_key_of(&b, 0, &all, &k);
    assert_true(weirp_account_key_read(&b, k.bytes, k.size, &start, scope));
    assert_int_equal(strlen(scope), 5 + strlen("keyteamusertagmodelprovider") + 6 + 6 * 71);
}

static void bytes(void **state) {
    (void)state;
    weirp_budget b = sample(), back;
    weirp_writer w = {0};
    b.limit = INT64_MAX;
    weirp_budget_encode(&b, &w);
    assert_false(w.failed);
    weir_error err = {0};
    assert_int_equal(weirp_budget_decode(&back, w.data, w.size, &err), WEIR_OK);
    assert_memory_equal(back.match, b.match, sizeof b.match);
    assert_memory_equal(back.warn, b.warn, sizeof b.warn);
    assert_string_equal(back.name, b.name);
    assert_string_equal(back.zone, b.zone);
    assert_true(back.id == 7 && back.unit == b.unit && back.limit == b.limit && back.period == b.period);
    assert_true(back.hard && back.exhausted == b.exhausted);
    for (size_t n = 0; n < w.size; n++) assert_int_equal(weirp_budget_decode(&back, w.data, n, NULL), WEIR_CORRUPT);
    assert_string_equal(back.name, ""); /* nothing of what was damaged */
    /* any byte may be damaged: what is still read is a budget that could have been said */
    for (size_t at = 4; at < w.size; at++)
        for (int bit = 0; bit < 8; bit++) {
            w.data[at] ^= (uint8_t)(1 << bit);
            weir_status st = weirp_budget_decode(&back, w.data, w.size, NULL);
            assert_true(st == WEIR_OK || st == WEIR_CORRUPT);
            if (st == WEIR_OK) {
                strcpy(back.zone, "UTC");
                assert_int_equal(weirp_budget_check(&back, NULL), WEIR_OK);
            }
            w.data[at] ^= (uint8_t)(1 << bit);
        }
    w.data[0] = 2;
    assert_int_equal(weirp_budget_decode(&back, w.data, w.size, &err), WEIR_NEWER);
    w.data[0] = 0;
    assert_int_equal(weirp_budget_decode(&back, w.data, w.size, NULL), WEIR_CORRUPT);
    weirp_put(&w, "", 1);
    w.data[0] = 1;
    assert_int_equal(weirp_budget_decode(&back, w.data, w.size, NULL), WEIR_CORRUPT);
    weirp_writer_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),        cmocka_unit_test(checks),      cmocka_unit_test(covering),
        cmocka_unit_test(account_keys), cmocka_unit_test(long_values), cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

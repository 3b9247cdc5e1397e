/* Bills: against a sum of fractions, and what they promise each other. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/price/money.h"

enum { SEED = 41, ROUNDS = 200000 };

typedef struct dice {
    uint64_t stream, at;
} dice;

static int64_t below(dice *d, int64_t n) {
    return (int64_t)(weirp_random_u64(SEED, d->stream, d->at++) % (uint64_t)n);
}

/* As many small numbers as large ones. */
static int64_t upto(dice *d, int bits) {
    return below(d, INT64_C(1) << (1 + below(d, bits)));
}

static weirp_rates some_rates(dice *d, int bits) {
    weirp_rates r = {.known = true};
    int64_t *rate[] = {&r.input,  &r.cached_input, &r.cache_write,  &r.audio_input,
                       &r.output, &r.reasoning,    &r.audio_output, &r.request};
    for (size_t i = 0; i < 8; i++) *rate[i] = below(d, 4) ? upto(d, bits) : 0;
    return r;
}

static weirp_usage some_usage(dice *d, int bits) {
    weirp_usage u = {.known = true};
    int64_t *n[] = {&u.input_tokens,  &u.cached_input_tokens, &u.cache_write_tokens, &u.audio_input_tokens,
                    &u.output_tokens, &u.reasoning_tokens,    &u.audio_output_tokens};
    for (size_t i = 0; i < 7; i++) *n[i] = below(d, 3) ? upto(d, bits) : 0;
    return u;
}

/* ---- the reference: whole nano-USD and thousandths of one apart, a token kind at a time ---- */

typedef struct sum {
    int64_t nano, thousandths;
} sum;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* n * rate / 1000, with both split into thousands and the rest, so that nothing outgrows 63 bits. */
static void plus(sum *s, int64_t n, int64_t rate) {
    s->nano += n * (rate / 1000) + n / 1000 * (rate % 1000);
    s->thousandths += n % 1000 * (rate % 1000);
}

static int64_t reference(const weirp_rates *r, const weirp_usage *u) {
    sum s = {r->request, 0};
    int64_t cached = least(u->cached_input_tokens, u->input_tokens);
    int64_t written = least(u->cache_write_tokens, u->input_tokens - cached);
    int64_t heard = least(u->audio_input_tokens, u->input_tokens - cached - written);
    int64_t thought = least(u->reasoning_tokens, u->output_tokens);
    int64_t spoken = least(u->audio_output_tokens, u->output_tokens - thought);
    plus(&s, cached, r->cached_input);
    plus(&s, written, r->cache_write);
    plus(&s, heard, r->audio_input);
    plus(&s, u->input_tokens - cached - written - heard, r->input);
    plus(&s, thought, r->reasoning);
    plus(&s, spoken, r->audio_output);
    plus(&s, u->output_tokens - thought - spoken, r->output);
    return s.nano + s.thousandths / 1000 + (s.thousandths % 1000 != 0);
}

static void bills_are_exact(void **state) {
    (void)state;
    dice d = {1, 0};
    for (int i = 0; i < ROUNDS; i++) {
        weirp_rates r = some_rates(&d, 30);
        weirp_usage u = some_usage(&d, 30);
        assert_int_equal(weirp_bill(&r, &u), reference(&r, &u));
    }
    /* one token at 0.0001 USD per million: a tenth of a nano-USD, rounded up; ten of them: exactly one */
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 0.0001;
    m.output_usd_per_mtok = 0.0001;
    weirp_rates r = weirp_rates_of(&m);
    assert_int_equal(r.input, 100);
    assert_int_equal(weirp_bill(&r, &(weirp_usage){.input_tokens = 1, .known = true}), 1);
    assert_int_equal(weirp_bill(&r, &(weirp_usage){.input_tokens = 5, .output_tokens = 5, .known = true}), 1);
    assert_int_equal(weirp_bill(&r, &(weirp_usage){.input_tokens = 5, .output_tokens = 6, .known = true}), 2);
}

/* Every price of up to six decimals becomes its rate, and the double of a bill is the one nearest to it. */
static void doubles_keep_every_nano(void **state) {
    (void)state;
    dice d = {2, 0};
    for (int i = 0; i < ROUNDS; i++) {
        int64_t in = upto(&d, 49), request = upto(&d, 40);
        weir_model m = weir_model_defaults();
        m.input_usd_per_mtok = (double)in / 1e6;
        m.output_usd_per_mtok = 0;
        m.request_usd = (double)request / 1e9;
        weirp_rates r = weirp_rates_of(&m);
        assert_true(r.known && r.input == in && r.audio_input == in && r.request == request && r.reasoning == 0);
        weirp_usage u = {.input_tokens = below(&d, 1 << 10), .known = true};
        int64_t bill = weirp_bill(&r, &u);
        double usd = weirp_price_usage(&m, &u);
        if (bill < INT64_C(1) << 52) assert_int_equal(llround(usd * 1e9), bill);
        assert_true(usd == (double)bill / 1e9);
    }
}

/* More tokens never cost less. Parts only move tokens from one rate to others: up where it is dearer than all that
 * stand after it, down where it is cheaper. */
static void bills_grow_with_counts(void **state) {
    (void)state;
    dice d = {3, 0};
    for (int i = 0; i < ROUNDS; i++) {
        weirp_rates r = some_rates(&d, 45);
        weirp_usage u = some_usage(&d, 50), more = u;
        more.input_tokens += upto(&d, 40);
        assert_true(weirp_bill(&r, &more) >= weirp_bill(&r, &u));
        more.output_tokens += upto(&d, 40);
        assert_true(weirp_bill(&r, &more) >= weirp_bill(&r, &u));
        assert_true(weirp_bill_most(&r, more.input_tokens, more.output_tokens) >=
                    weirp_bill_most(&r, u.input_tokens, u.output_tokens));
        weirp_usage moved = u;
        moved.cached_input_tokens += upto(&d, 40);
        if (r.cached_input >= r.cache_write && r.cached_input >= r.audio_input && r.cached_input >= r.input)
            assert_true(weirp_bill(&r, &moved) >= weirp_bill(&r, &u));
        if (r.cached_input <= r.cache_write && r.cached_input <= r.audio_input && r.cached_input <= r.input)
            assert_true(weirp_bill(&r, &moved) <= weirp_bill(&r, &u));
        moved = u;
        moved.audio_output_tokens += upto(&d, 40);
        bool dearer = r.audio_output >= r.output;
        assert_true(dearer ? weirp_bill(&r, &moved) >= weirp_bill(&r, &u)
                           : weirp_bill(&r, &moved) <= weirp_bill(&r, &u));
    }
}

/* However the vendor splits the tokens, the bound holds; and some split reaches it. */
static void bound_holds_and_is_reached(void **state) {
    (void)state;
    dice d = {4, 0};
    for (int i = 0; i < ROUNDS; i++) {
        weirp_rates r = some_rates(&d, 50);
        weirp_usage u = some_usage(&d, 62);
        int64_t most = weirp_bill_most(&r, u.input_tokens, u.output_tokens), reached = 0;
        assert_true(weirp_bill(&r, &u) <= most);
        for (int in = 0; in < 4; in++)
            for (int out = 0; out < 3; out++) {
                weirp_usage all = {.known = true, .input_tokens = u.input_tokens, .output_tokens = u.output_tokens};
                *(int64_t *[]){&all.cached_input_tokens, &all.cache_write_tokens, &all.audio_input_tokens,
                               &all.input_tokens}[in] = u.input_tokens;
                *(int64_t *[]){&all.reasoning_tokens, &all.audio_output_tokens, &all.output_tokens}[out] =
                    u.output_tokens;
                int64_t bill = weirp_bill(&r, &all);
                assert_true(bill <= most);
                if (bill > reached) reached = bill;
            }
        assert_int_equal(reached, most);
    }
}

static void affordable_is_the_most(void **state) {
    (void)state;
    dice d = {5, 0};
    int refused = 0, bounded = 0;
    for (int i = 0; i < ROUNDS; i++) {
        weirp_rates r = some_rates(&d, 50);
        int64_t in = upto(&d, 62), nano = upto(&d, 62), n = weirp_affordable_output(&r, in, nano);
        if (n < 0) {
            refused++;
            assert_int_equal(n, -1);
            assert_true(weirp_bill_most(&r, in, 0) > nano);
            continue;
        }
        assert_true(weirp_bill_most(&r, in, n) <= nano);
        if (n == INT64_MAX) continue;
        bounded++;
        assert_true(weirp_bill_most(&r, in, n + 1) > nano);
    }
    assert_true(refused > ROUNDS / 20 && bounded > ROUNDS / 20); /* both were put to the test */
}

static void limits(void **state) {
    (void)state;
    const int64_t max = INT64_MAX;
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 1e300;
    m.output_usd_per_mtok = INFINITY;
    m.cached_input_usd_per_mtok = -3;
    m.request_usd = 5e9;
    weirp_rates r = weirp_rates_of(&m);
    assert_true(r.known && r.input == INT64_C(1000000000000000) && r.output == r.input && r.cached_input == 0);
    assert_int_equal(r.request, INT64_C(1000000000000000000));
    weirp_usage u = {.input_tokens = max, .output_tokens = max, .cached_input_tokens = INT64_MIN, .known = true};
    assert_int_equal(weirp_bill(&r, &u), max);
    assert_int_equal(weirp_bill_most(&r, max, max), max);
    assert_int_equal(weirp_bill_most(&r, INT64_MIN, -1), r.request);
    assert_int_equal(weirp_affordable_output(&r, max, max), max); /* what saturates is no more than the most there is */
    assert_int_equal(weirp_affordable_output(&r, max, max - 1), -1);
    assert_int_equal(weirp_affordable_output(&r, 0, r.request - 1), -1);
    assert_int_equal(weirp_affordable_output(&r, -7, r.request), 0);
    m.request_usd = 0;
    r = weirp_rates_of(&m);
    assert_int_equal(weirp_affordable_output(&r, 0, 0), 0);
    assert_int_equal(weirp_affordable_output(&r, 0, -1), -1);
    assert_int_equal(weirp_affordable_output(&r, 0, INT64_MIN), -1);
    assert_int_equal(weirp_bill_most(&r, 0, 0), 0);
    assert_int_equal(weirp_bill_most(&r, 9223372, 0), INT64_C(9223372000000000000));
    assert_int_equal(weirp_bill_most(&r, 9223373, 0), max);
    m.input_usd_per_mtok = m.output_usd_per_mtok = 0;
    r = weirp_rates_of(&m);
    assert_int_equal(weirp_bill_most(&r, max, max), 0);
    assert_int_equal(weirp_affordable_output(&r, max, 0), max);
}

static void unknown_is_not_free(void **state) {
    (void)state;
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 1;
    weirp_rates r = weirp_rates_of(&m);
    assert_true(!r.known);
    assert_int_equal(weirp_bill_most(&r, 10, 1), WEIRP_UNKNOWN_COST);
    assert_int_equal(weirp_bill_most(&r, 10, 0), 10000);
    assert_int_equal(weirp_affordable_output(&r, 10, 10000), 0);
    assert_int_equal(weirp_affordable_output(&r, 10, 9999), -1);
    assert_int_equal(weirp_bill(&r, &(weirp_usage){.input_tokens = 1}), 1000);
    assert_int_equal(weirp_bill(&r, &(weirp_usage){0}), WEIRP_UNKNOWN_COST); /* nobody counted */
    m.input_usd_per_mtok = NAN;
    m.output_usd_per_mtok = 1;
    m.cached_input_usd_per_mtok = 0.5; /* known, but nobody knows that all of it comes from there */
    r = weirp_rates_of(&m);
    assert_int_equal(weirp_bill_most(&r, 1, 0), WEIRP_UNKNOWN_COST);
    assert_int_equal(weirp_affordable_output(&r, 1, INT64_MAX), -1);
    weirp_usage u = {.input_tokens = 10, .cached_input_tokens = 9, .known = true};
    assert_int_equal(weirp_bill(&r, &u), WEIRP_UNKNOWN_COST);
    u.cached_input_tokens = 10;
    assert_int_equal(weirp_bill(&r, &u), 5000);
    m.input_usd_per_mtok = 1;
    m.request_usd = NAN;
    r = weirp_rates_of(&m);
    assert_true(!r.known);
    assert_int_equal(weirp_bill_most(&r, 0, 0), WEIRP_UNKNOWN_COST);
    assert_int_equal(weirp_affordable_output(&r, 0, INT64_MAX), -1);
    assert_int_equal(weirp_bill(&r, &u), WEIRP_UNKNOWN_COST);
}

static void money_as_text(void **state) {
    (void)state;
    static const struct {
        int64_t nano;
        const char *text;
    } cases[] = {{0, "0.00"},
                 {1, "0.000000001"},
                 {31500, "0.0000315"},
                 {250000000, "0.25"},
                 {INT64_C(50000000000), "50.00"},
                 {INT64_C(12345678901), "12.345678901"},
                 {INT64_C(1000000000010), "1000.00000001"},
                 {INT64_MAX, "9223372036.854775807"},
                 {-250000000, "-0.25"},
                 {INT64_MIN, "-9223372036.854775808"}};
    char text[WEIRP_MONEY_TEXT];
    int64_t back;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_money_text(text, sizeof text, cases[i].nano);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(weirp_money_parse(text, &back), cases[i].nano >= 0);
        if (cases[i].nano >= 0) assert_int_equal(back, cases[i].nano);
    }
    dice d = {6, 0};
    for (int i = 0; i < ROUNDS; i++) {
        int64_t nano = upto(&d, 62);
        weirp_money_text(text, sizeof text, nano);
        assert_true(weirp_money_parse(text, &back) && back == nano);
    }
    weirp_money_text(text, 4, INT64_MAX);
    assert_string_equal(text, "922"); /* cut, but ended */
}

static void what_is_no_amount(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        ".",
                                        "-",
                                        "-1",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "1e3",
                                        " 1",
                                        "1 ",
                                        "$1",
                                        "1,000",
                                        "0x10",
                                        "nan",
                                        "inf",
                                        "1..2",
                                        "1.2.3",
                                        "1.-2",
                                        "١",
                                        "0.1234567890",
                                        "9223372036.854775808",
                                        "9223372037",
                                        "99999999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t nano = 77;
        assert_false(weirp_money_parse(wrong[i], &nano));
        assert_int_equal(nano, 77);
    }
    int64_t nano;
    assert_false(weirp_money_parse(NULL, &nano));
    assert_true(weirp_money_parse("50", &nano) && nano == INT64_C(50000000000));
    assert_true(weirp_money_parse("0007.5", &nano) && nano == INT64_C(7500000000));
    assert_true(weirp_money_parse("0.123456789", &nano) && nano == 123456789);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bills_are_exact),        cmocka_unit_test(doubles_keep_every_nano),
        cmocka_unit_test(bills_grow_with_counts), cmocka_unit_test(bound_holds_and_is_reached),
        cmocka_unit_test(affordable_is_the_most), cmocka_unit_test(limits),
        cmocka_unit_test(unknown_is_not_free),    cmocka_unit_test(money_as_text),
        cmocka_unit_test(what_is_no_amount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

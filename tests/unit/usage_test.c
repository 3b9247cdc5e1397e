/* What usage costs, computed by hand. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <math.h>

#include "src/price/usage.h"

static weir_model priced(void) {
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 3;
    m.output_usd_per_mtok = 15;
    m.cached_input_usd_per_mtok = 0.3;
    m.cache_write_usd_per_mtok = 3.75;
    m.audio_input_usd_per_mtok = 40;
    m.reasoning_usd_per_mtok = 20;
    m.audio_output_usd_per_mtok = 80;
    return m;
}

/* To a part in 10^12: what the additions may round. */
static void assert_usd(double got, double usd) {
    if (!(fabs(got - usd) <= 1e-12 * fabs(usd))) fail_msg("got %.17g, must be %.17g", got, usd);
}

static void parts_at_their_own_rates(void **state) {
    (void)state;
    weir_model m = priced();
    /* 10,000 input: 6,000 cached, 2,000 written, 500 audio, so 1,500 plain:
     * 6000 * 0.3 + 2000 * 3.75 + 500 * 40 + 1500 * 3 = 1800 + 7500 + 20000 + 4500 = 33,800 millionths
     * 1,000 output: 300 thought, 100 spoken, so 600 plain: 300 * 20 + 100 * 80 + 600 * 15 = 6000 + 8000 + 9000 */
    weirp_usage u = {.input_tokens = 10000,
                     .cached_input_tokens = 6000,
                     .cache_write_tokens = 2000,
                     .audio_input_tokens = 500,
                     .output_tokens = 1000,
                     .reasoning_tokens = 300,
                     .audio_output_tokens = 100,
                     .known = true};
    assert_usd(weirp_price_usage(&m, &u), 0.0338 + 0.023);
    m.request_usd = 0.01;
    assert_usd(weirp_price_usage(&m, &u), 0.0668);
}

/* Tokens that are counted as a part are in the whole already. */
static void nothing_twice(void **state) {
    (void)state;
    weir_model m = priced();
    weirp_usage u = {.input_tokens = 1000, .cached_input_tokens = 1000, .known = true};
    assert_usd(weirp_price_usage(&m, &u), 0.0003);
    /* at one rate for all, parts change nothing: 1000 * 3 + 200 * 15 */
    m = weir_model_defaults();
    m.input_usd_per_mtok = 3;
    m.output_usd_per_mtok = 15;
    for (int64_t part = 0; part <= 1000; part += 50) {
        u = (weirp_usage){.input_tokens = 1000,
                          .cached_input_tokens = part,
                          .cache_write_tokens = part / 2,
                          .audio_input_tokens = part / 3,
                          .output_tokens = 200,
                          .reasoning_tokens = part / 5,
                          .audio_output_tokens = part / 7,
                          .known = true};
        assert_usd(weirp_price_usage(&m, &u), 0.006);
    }
}

static void parts_are_cut_to_the_whole(void **state) {
    (void)state;
    weir_model m = priced();
    /* 100 input: 80 cached, then 20 of the 50 written, then none of the audio: 80 * 0.3 + 20 * 3.75 = 99 */
    weirp_usage u = {.input_tokens = 100,
                     .cached_input_tokens = 80,
                     .cache_write_tokens = 50,
                     .audio_input_tokens = 1000,
                     .known = true};
    assert_usd(weirp_price_usage(&m, &u), 99e-6);
    u = (weirp_usage){.output_tokens = 10, .reasoning_tokens = INT64_MAX, .audio_output_tokens = INT64_MAX};
    assert_usd(weirp_price_usage(&m, &u), 200e-6);
    u = (weirp_usage){.input_tokens = -5, .cached_input_tokens = 7, .output_tokens = INT64_MIN, .known = true};
    assert_true(weirp_price_usage(&m, &u) == 0);
    u = (weirp_usage){.input_tokens = 10, .cached_input_tokens = -7, .reasoning_tokens = -1, .known = true};
    assert_usd(weirp_price_usage(&m, &u), 30e-6);
}

static void unknown_rates_follow_the_plain_one(void **state) {
    (void)state;
    weir_model m = weir_model_defaults();
    m.input_usd_per_mtok = 2;
    m.output_usd_per_mtok = 8;
    m.cached_input_usd_per_mtok = 1;
    weirp_usage u = {.input_tokens = 100,
                     .cached_input_tokens = 40,
                     .cache_write_tokens = 30,
                     .output_tokens = 50,
                     .reasoning_tokens = 50,
                     .known = true};
    assert_usd(weirp_price_usage(&m, &u), (40 * 1 + 60 * 2 + 50 * 8) * 1e-6);
    m.cached_input_usd_per_mtok = 0; /* free is not unknown */
    assert_usd(weirp_price_usage(&m, &u), (60 * 2 + 50 * 8) * 1e-6);
}

static void unknown_only_where_it_matters(void **state) {
    (void)state;
    weir_model m = weir_model_defaults();
    weirp_usage u = {.input_tokens = 100, .known = true};
    assert_true(isnan(weirp_price_usage(&m, &u)));
    m.input_usd_per_mtok = 1; /* no output: its rate doesn't matter */
    assert_usd(weirp_price_usage(&m, &u), 100e-6);
    u.output_tokens = 1;
    assert_true(isnan(weirp_price_usage(&m, &u)));
    u.reasoning_tokens = 1; /* all of it at a rate that is known */
    m.reasoning_usd_per_mtok = 5;
    assert_usd(weirp_price_usage(&m, &u), 105e-6);
    m.input_usd_per_mtok = NAN;
    assert_true(isnan(weirp_price_usage(&m, &u)));
    u.cached_input_tokens = 100;
    m.cached_input_usd_per_mtok = 0.5;
    assert_usd(weirp_price_usage(&m, &u), 55e-6);
    m.request_usd = NAN;
    assert_true(isnan(weirp_price_usage(&m, &u)));
}

/* An answer whose usage never came isn't free; one that was counted as nothing is. */
static void uncounted_is_not_free(void **state) {
    (void)state;
    weir_model m = priced();
    weirp_usage u = {0};
    assert_true(isnan(weirp_price_usage(&m, &u)));
    u.estimated = true;
    assert_true(weirp_price_usage(&m, &u) == 0);
    u = (weirp_usage){.known = true};
    assert_true(weirp_price_usage(&m, &u) == 0);
    u = (weirp_usage){.output_tokens = 2};
    assert_usd(weirp_price_usage(&m, &u), 30e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_at_their_own_rates),      cmocka_unit_test(nothing_twice),
        cmocka_unit_test(parts_are_cut_to_the_whole),    cmocka_unit_test(unknown_rates_follow_the_plain_one),
        cmocka_unit_test(unknown_only_where_it_matters), cmocka_unit_test(uncounted_is_not_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

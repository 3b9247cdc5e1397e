/* What a log's own figures say of its chances. SPDX-License-Identifier: GPL-3.0-or-later */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/base.h"
#include "src/ope/judge.h"

/* n rows that give the model the chance p each, and chose it this often. */
static double z_of(size_t n, double p, double chosen) {
    double expected = (double)n * p, variance = (double)n * p * (1 - p);
    weir_ope r = {.n_rows = n};
    const weirp_log_facts f = {
        .n = n, .n_decided = n, .n_full = n, .expected = &expected, .variance = &variance, .chosen = &chosen};
    weirp_log_facts_tell(&f, 1, &r);
    return r.propensity_z;
}

static void counts_are_surprising(void **state) {
    (void)state;
    static const struct {
        size_t n;
        double p, chosen, z;
    } cases[] = {
        {10000, 0.3, 3000, 0},        {10000, 0.3, 3100, 100 / 45.82575694955840}, /* sqrt(10000 x 0.3 x 0.7) */
        {10000, 0.5, 4900, -2},                                                    /* sqrt(2500) = 50 */
        {1200, 1e-4, 3, 3.4669},      /* P(X >= 3 | 0.12) = 2.63e-4, and not 8.3 errors */
        {1000, 0.004, 0, -2.0040},    /* P(X = 0 | 4) = 0.0183, that is 2.0906: the normal is nearer */
        {1000, 0.9999, 996, -4.4735}, /* 4 where 0.1 are due: P(X >= 4 | 0.1) = 3.85e-6 */
        {1000, 0.002, 2, 0},          /* as often as it should be */
        {1000, 0.001, 60, 19.2734},   /* P(X >= 60 | 1) = 4.5e-83 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double z = z_of(cases[i].n, cases[i].p, cases[i].chosen);
        /* never more than the normal's */
        const double n = (double)cases[i].n, p = cases[i].p, normal = (cases[i].chosen - n * p) / sqrt(n * p * (1 - p));
        assert_true(fabs(z) <= fabs(normal) * (1 + 1e-12) && z * normal >= 0);
        if (!(fabs(z - cases[i].z) < 2e-3)) fail_msg("case %zu: %.6g, not %.6g", i, z, cases[i].z);
    }
}

/* Chances of next to 1 sum up to the number of rows: nothing is due then, and nothing is no mean of Poisson's law. */
static void next_to_nothing_is_no_surprise(void **state) {
    (void)state;
    const double sure = 1 - 0x1p-53;
    for (size_t missed = 0; missed < 2; missed++) {
        double expected = 0, variance = sure * (1 - sure), chosen = (double)(200 - missed);
        for (size_t i = 0; i < 200; i++) expected += i == 150 ? sure : 1;
        assert_true(expected == 200);
        weir_ope r = {.n_rows = 200};
        const weirp_log_facts f = {
            .n = 200, .n_decided = 200, .n_full = 200, .expected = &expected, .variance = &variance, .chosen = &chosen};
        weirp_log_facts_tell(&f, 1, &r);
        assert_true(missed ? r.propensity_z < -1e6 : r.propensity_z == 0);
    }
}

/* Two thousand models, most of which are hardly ever due: true chances raise no alarm. */
static void many_rare_models_are_no_alarm(void **state) {
    (void)state;
    enum { MODELS = 2000, ROWS = 1500, TIMES = 20 };
    static double expected[MODELS], variance[MODELS], chosen[MODELS], p[MODELS];
    double rest = 1;
    for (size_t a = 1; a < MODELS; a++) rest -= p[a] = 8e-5;
    p[0] = rest;
    for (uint64_t seed = 1; seed <= TIMES; seed++) {
        for (size_t a = 0; a < MODELS; a++) {
            expected[a] = ROWS * p[a];
            variance[a] = ROWS * p[a] * (1 - p[a]);
            chosen[a] = 0;
        }
        for (size_t i = 0; i < ROWS; i++) {
            const double u = weirp_random_uniform(seed, 0, i);
            chosen[u < p[0] ? 0 : 1 + (size_t)fmin((u - p[0]) / p[1], MODELS - 2)]++;
        }
        weir_ope r = {.n_rows = ROWS};
        const weirp_log_facts f = {
            .n = ROWS, .n_decided = ROWS, .n_full = ROWS, .expected = expected, .variance = variance, .chosen = chosen};
        weirp_log_facts_tell(&f, MODELS, &r);
        if (!(fabs(r.propensity_z) < 5)) fail_msg("seed %d: %.3g", (int)seed, r.propensity_z);
    }
}

/* Rows of the log whose weights have this sum and sum of squares, all of them known; `full`: all chances are. */
static weirp_ope_standing weighed(size_t n, double sum, double squares, double unsupported, bool full) {
    weir_ope r = {.n_rows = n, .n_decided = n, .n_clusters = n};
    weirp_ope_standing s;
    const weirp_cell_facts f = {.n = n,
                                .n_known = n,
                                .n_clusters = n,
                                .sum_w = sum,
                                .sum_w2 = squares,
                                .max_w = 1,
                                .sum_wk = sum,
                                .sum_wk2 = squares,
                                .max_wk = 1,
                                .unsupported = unsupported * (double)n,
                                .n_full = full ? n : 0};
    weirp_ope_weigh(&f, &s);
    weirp_ope_refuse(&r, WEIR_METRIC_QUALITY, &s, 0);
    return s;
}

static void the_mean_weight_must_be_one(void **state) {
    (void)state;
    enum { N = 1000 };
    static const struct {
        double mean, sd, unsupported;
        bool full;
        const char *why; /* what the refusal says; NULL: there is none */
        double z;
    } cases[] = {
        {1, 0.5, 0, true, NULL, 0},
        {1.01, 0.5, 0, true, NULL, 0.6325}, /* 0.01 / (0.5 / sqrt(1000)) */
        {0.8, 0.5, 0, true, "not 1, by 12.6 standard errors", -12.649},
        {0.8, 0.5, 0.2, true, NULL, 0},
        {1.1, 0.5, 0.2, true, "not 0.8, by 19.0 standard errors", 18.974},
        {0.8, 0.5, 0, false, "or the candidate takes what the log could not have chosen", -12.649},
        {1.2, 0.5, 0, false, "not 1, by 12.6 standard errors: the logged chances aren't", 12.649},
        {1, 0, 0, true, NULL, 0}, /* weights that don't vary */
        {1.015, 0, 0, true, NULL, 0},
        {2.5, 0, 0, true, "the mean weight is 2.500 and not 1 in all rows", INFINITY},
        {2.5, 1e-12, 0, false, "the mean weight is 2.500 and not 1 in all rows", INFINITY}, /* but for rounding */
        {2.5, 1e-8, 0, true, "the mean weight is 2.500 and not 1 in all rows", INFINITY},
        {0.6, 0, 0, false, "not 1 in all rows", -INFINITY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double m = cases[i].mean, v = cases[i].sd * cases[i].sd;
        const weirp_ope_standing s = weighed(N, N * m, N * m * m + (N - 1) * v, cases[i].unsupported, cases[i].full);
        if (cases[i].why ? !strstr(s.refusal, cases[i].why) : *s.refusal) fail_msg("case %zu: \"%s\"", i, s.refusal);
        if (!(s.mean_weight_z == cases[i].z || fabs(s.mean_weight_z - cases[i].z) < 1e-3))
            fail_msg("case %zu: %g", i, s.mean_weight_z);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_surprising),
        cmocka_unit_test(next_to_nothing_is_no_surprise),
        cmocka_unit_test(many_rare_models_are_no_alarm),
        cmocka_unit_test(the_mean_weight_must_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

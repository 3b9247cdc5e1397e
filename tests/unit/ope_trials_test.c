/* How verdicts are counted where the truth is known. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "src/ope/population.h"
#include "src/ope/trials.h"

static void counts_by_hand(void **state) {
    (void)state;
    const size_t logged = (size_t)-1;
    weirp_trial_cell cell[2 * WEIR_N_METRICS] = {{.asked = false}};
    weir_ope_trials t = {.cell = cell, .n_policies = 2};
    const struct {
        size_t other;
        double se;
        weirp_verdict verdict;
    } quality[] = {
        {logged, 0.04, WEIRP_VERDICT_BETTER},  /* 0.7 against 0.6: clear, told, right */
        {logged, 0.06, WEIRP_VERDICT_BETTER},  /* told, right, not clear */
        {logged, 0.04, WEIRP_VERDICT_MORE},    /* clear, not told */
        {logged, 0.04, WEIRP_VERDICT_REFUSED}, /* clear, refused */
        {logged, 0.06, WEIRP_VERDICT_REFUSED},
        {logged, NAN, WEIRP_VERDICT_REFUSED}, /* no estimate: nobody knows whether it's clear */
        {1, 0.04, WEIRP_VERDICT_BETTER},      /* 0.7 against 0.9: clear, told, wrong */
        {1, 0.04, WEIRP_VERDICT_WORSE},       /* clear, told, right */
        {1, 0, WEIRP_VERDICT_SAME},           /* said to be the same, clearly isn't */
    };
    cell[WEIR_METRIC_QUALITY] = (weirp_trial_cell){.asked = true, .truth = 0.7, .logged_truth = 0.6};
    cell[WEIR_N_METRICS + WEIR_METRIC_QUALITY] = (weirp_trial_cell){.asked = true, .truth = 0.9, .logged_truth = 0.6};
    for (size_t i = 0; i < sizeof quality / sizeof *quality; i++)
        weirp_trials_count_verdict(&t, &(weirp_contrast){.other = quality[i].other,
                                                         .metric = WEIR_METRIC_QUALITY,
                                                         .se = quality[i].se,
                                                         .verdict = quality[i].verdict});
    const weirp_trial_verdicts *v = &t.verdicts[WEIR_METRIC_QUALITY];
    assert_int_equal(v->n, 9);
    assert_int_equal(v->n_refused, 3);
    assert_int_equal(v->n_same, 1);
    assert_int_equal(v->n_told, 4);
    assert_int_equal(v->n_wrong, 1);
    assert_int_equal(v->n_clear, 6);
    assert_int_equal(v->n_clear_told, 3);
    assert_int_equal(v->n_refused_clear, 1);
    /* Less cost is better; the same but for rounding isn't clear. */
    cell[WEIR_METRIC_COST] = (weirp_trial_cell){.asked = true, .truth = 0.001, .logged_truth = 0.002};
    cell[WEIR_N_METRICS + WEIR_METRIC_COST] = (weirp_trial_cell){.asked = true, .truth = 0.001 * (1 + 1e-15)};
    weirp_trials_count_verdict(
        &t,
        &(weirp_contrast){.other = logged, .metric = WEIR_METRIC_COST, .se = 1e-4, .verdict = WEIRP_VERDICT_BETTER});
    weirp_trials_count_verdict(
        &t, &(weirp_contrast){.other = 1, .metric = WEIR_METRIC_COST, .verdict = WEIRP_VERDICT_SAME});
    v = &t.verdicts[WEIR_METRIC_COST];
    assert_true(v->n == 2 && v->n_told == 1 && v->n_wrong == 0 && v->n_clear == 1 && v->n_clear_told == 1);
    assert_int_equal(t.verdicts[WEIR_METRIC_LATENCY].n, 0);
}

/* Outcomes count by their chances; what is never chosen, or not known, doesn't. */
static void quantiles_by_hand(void **state) {
    (void)state;
    enum { N = 10 };
    double latency[N * 2], chances[N * 2], q[WEIRP_N_QUANTILES];
    weirp_population p = {.n = N, .n_models = 2};
    weir_error err = {WEIR_OK, 0, ""};
    p.metric[WEIR_METRIC_LATENCY] = latency;
    for (size_t i = 0; i < N; i++) { /* 100, 90, ..., 10 always; the other model never */
        latency[2 * i] = 100 - 10 * (double)i, latency[2 * i + 1] = 1e6;
        chances[2 * i] = 1, chances[2 * i + 1] = 0;
    }
    assert_int_equal(weirp_population_quantiles(&p, chances, WEIR_METRIC_LATENCY, q, &err), WEIR_OK);
    assert_true(q[0] == 50 && q[1] == 90 && q[2] == 100 && q[3] == 100);
    chances[0] = 0.06, chances[1] = 0.94; /* the slow one of one prompt: 9.4 % of all */
    assert_int_equal(weirp_population_quantiles(&p, chances, WEIR_METRIC_LATENCY, q, &err), WEIR_OK);
    assert_true(q[0] == 50 && q[1] == 90 && q[2] == 1e6 && q[3] == 1e6);
    latency[1] = NAN;
    assert_int_equal(weirp_population_quantiles(&p, chances, WEIR_METRIC_LATENCY, q, &err), WEIR_OK);
    assert_true(q[1] == 90 && q[2] == 90 && q[3] == 90);
    assert_int_equal(weirp_population_quantiles(&p, chances, WEIR_METRIC_COST, q, &err), WEIR_OK);
    assert_true(isnan(q[0]) && isnan(q[3])); /* nobody knows it */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_by_hand), cmocka_unit_test(quantiles_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

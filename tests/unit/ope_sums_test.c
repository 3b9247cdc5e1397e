/* Sums: totals that lose nothing, and influences against finite differences of clusters' weights.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ope_rows.h"

static weirp_sums sums_new(size_t n_clusters, size_t n_columns) {
    weirp_sums s;
    assert_int_equal(weirp_sums_init(&s, n_clusters, n_columns, NULL), WEIR_OK);
    return s;
}

static void totals_are_compensated(void **state) {
    (void)state;
    /* More columns than are totalled at once, so that the seams are crossed. */
    weirp_sums s = sums_new(4, 150);
    for (size_t k = 0; k < 150; k++) {
        const double x[] = {1, 1e100, (double)k, -1e100};
        for (size_t c = 0; c < 4; c++) s.x[c * 150 + k] = x[c];
    }
    weirp_sums_finish(&s);
    for (size_t k = 0; k < 150; k++) assert_true(s.total[k] == 1 + (double)k);
    weirp_sums_free(&s);

    s = sums_new(100000, 1); /* 0.1 is no binary fraction: a plain sum is off by 1.9e-8 */
    for (size_t c = 0; c < 100000; c++) s.x[c] = 0.1;
    weirp_sums_finish(&s);
    assert_true(s.total[0] == 10000);
    weirp_sums_free(&s);
}

static void empty_and_impossible_sizes(void **state) {
    (void)state;
    weirp_sums s = sums_new(0, 3);
    weirp_sums_finish(&s);
    assert_true(s.total[2] == 0);
    weirp_sums_free(&s);
    weir_error err = {0};
    assert_int_equal(weirp_sums_init(&s, SIZE_MAX / 2, 3, &err), WEIR_NOMEM);
    assert_null(s.x);
    weirp_sums_free(&s);
}

/* The value with cluster c's weight at 1 + by. */
static double reweighted(const weirp_statistic *s, const weirp_sums *sums, size_t c, double by) {
    double total[8];
    assert_true(sums->n_columns <= 8);
    for (size_t k = 0; k < sums->n_columns; k++) total[k] = sums->total[k] + by * sums->x[c * sums->n_columns + k];
    return weirp_statistic_value(s, total);
}

static void influences_are_derivatives(void **state) {
    (void)state;
    enum { N = 40, M = 6 };
    const size_t no = WEIRP_NO_COLUMN;
    const weirp_ratio ratios[][2] = {
        {{.num = 0, .den = 1, .add = no, .add_den = no, .factor = 1}},
        {{.num = no, .den = no, .add = 2, .add_den = 3, .factor = 1}},
        {{.num = 0, .den = 1, .add = 2, .add_den = 3, .factor = 1}},
        {{.num = 0, .den = 1, .add = 2, .add_den = 3, .factor = 1},
         {.num = 4, .den = 1, .add = 5, .add_den = 3, .factor = -1}},
        {{.num = 0, .den = 3, .add = no, .add_den = no, .factor = -0.5},
         {.num = 4, .den = 3, .add = no, .add_den = no, .factor = 3}},
    };
    const size_t n_ratios[] = {1, 1, 1, 2, 2};
    weirp_sums sums = sums_new(N, M);
    double u[N];
    for (size_t i = 0; i < N * M; i++) sums.x[i] = weirp_random_uniform(7, 0, i) + (i % M == 1 || i % M == 3);
    weirp_sums_finish(&sums);
    for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++) {
        const weirp_statistic s = {ratios[r], n_ratios[r]};
        double sum = 0;
        weirp_statistic_influence(&s, &sums, u);
        for (size_t c = 0; c < N; c++) {
            const double step = 1e-5,
                         slope = (reweighted(&s, &sums, c, step) - reweighted(&s, &sums, c, -step)) / (2 * step);
            assert_true(fabs(u[c] - slope) < 1e-10);
            assert_true(fabs(u[c]) > 1e-6);
            sum += u[c];
        }
        assert_true(fabs(sum) < 1e-14);
    }
    weirp_sums_free(&sums);
}

static void values_by_hand(void **state) {
    (void)state;
    const double total[] = {6, 4, -3, 12};
    const weirp_ratio both = {.num = 0, .den = 1, .add = 2, .add_den = 3, .factor = 1};
    const weirp_ratio minus[] = {{.num = 0, .den = 3, .add = WEIRP_NO_COLUMN, .factor = 2},
                                 {.num = 2, .den = 1, .add = WEIRP_NO_COLUMN, .factor = -1},
                                 {.num = 0, .den = 1, .add = WEIRP_NO_COLUMN, .factor = -0.0}};
    assert_true(weirp_statistic_value(&(weirp_statistic){&both, 1}, total) == 1.25);
    assert_true(weirp_statistic_value(&(weirp_statistic){minus, 2}, total) == 1.75);
    assert_true(weirp_statistic_value(&(weirp_statistic){minus, 3}, total) == 1.75); /* no part of it */
    assert_true(weirp_statistic_value(&(weirp_statistic){NULL, 0}, total) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_compensated),
        cmocka_unit_test(empty_and_impossible_sizes),
        cmocka_unit_test(influences_are_derivatives),
        cmocka_unit_test(values_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

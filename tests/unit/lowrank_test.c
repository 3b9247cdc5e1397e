/* Low rank: all directions give ridge, recursive updates against refits, a truth of rank one, and what every estimator
 * must do. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/estimator_suite.h"

static void updates_are_refits(void **state) {
    (void)state;
    enum { M = 6, N = 500, FIRST = 200 };
    world w = world_new(N, M, 12, 0.2, 0.2, 0.4, 6, 0);
    weirp_sample first = w.sample;
    first.n = FIRST;
    for (size_t k = 0; k < suite->n_settings; k++) {
        weirp_estimator *e = fitted(&first, k), *refit = NULL;
        for (size_t i = FIRST; i < N; i++)
            for (size_t m = 0; m < M; m++) learn(e, &w.sample, i, m);
        assert_int_equal(weirp_lowrank_refit(&refit, e, &w.sample, NULL), WEIR_OK);
        double *sda, *sdb, *qa = ask(e, &w.sample, &sda), *qb = ask(refit, &w.sample, &sdb);
        assert_true(largest_difference(qa, qb, N * M) < 1e-8);
        assert_true(largest_difference(sda, sdb, N * M) < 1e-8);
        free(qa), free(qb), free(sda), free(sdb);
        suite->free(e);
        suite->free(refit);
    }
    world_free(&w);
}

/* With as many directions as models nothing is left out: ridge at the same alpha. */
static void full_rank_is_ridge(void **state) {
    (void)state;
    world w = world_new(300, 4, 10, 0.2, 0.2, 0, 17, 0), t = world_new(50, 4, 10, 0.2, 0.2, 0, 17, 1000);
    size_t n = 50 * 4, found = 0;
    double *low = weirp_array(suite->n_settings * n, sizeof *low);
    double *ridge = weirp_array(weirp_ridge_class.n_settings * n, sizeof *ridge);
    assert_int_equal(suite->fit_predict(&w.sample, &t.sample, low, NULL), WEIR_OK);
    assert_int_equal(weirp_ridge_class.fit_predict(&w.sample, &t.sample, ridge, NULL), WEIR_OK);
    for (size_t k = 0; k < suite->n_settings; k++)
        for (size_t l = 0; l < weirp_ridge_class.n_settings; l++) {
            char a[64], b[64];
            suite->describe(k, a, sizeof a);
            weirp_ridge_class.describe(l, b, sizeof b);
            if (!strncmp(a, "rank=4", 6) && !strcmp(strstr(a, "alpha"), b)) {
                assert_true(largest_difference(low + k * n, ridge + l * n, n) < 1e-5);
                found++;
            }
        }
    assert_true(found > 0);
    free(low), free(ridge);
    world_free(&w);
    world_free(&t);
}

/* Where models differ along one direction, one direction beats free weights for each. */
static void rank_one_truth(void **state) {
    (void)state;
    enum { M = 12, D = 20 };
    double low = 0, free_weights = INFINITY;
    world w = world_new(400, M, D, 0, 0.3, 0, 19, 0), t = world_new(300, M, D, 0, 0, 0, 19, 1000000);
    for (int k = 0; k < 2; k++) {
        world *x = k ? &t : &w;
        for (size_t i = 0; i < x->sample.n; i++) {
            double along = 0;
            for (size_t j = 0; j < D; j++) along += weirp_random_normal(3, 1, j) * x->dense[i * D + j];
            for (size_t m = 0; m < M; m++) {
                double add = 0.3 * weirp_random_normal(3, 2, m) * along;
                x->target[i * M + m] += add;
                x->truth[i * M + m] += add;
            }
        }
    }
    low = INFINITY;
    size_t n = 300 * M;
    double *path = weirp_array(suite->n_settings * n, sizeof *path);
    assert_int_equal(suite->fit_predict(&w.sample, &t.sample, path, NULL), WEIR_OK);
    for (size_t k = 0; k < suite->n_settings; k++) low = fmin(low, mean_square(path + k * n, t.truth, n));
    free(path);
    path = weirp_array(weirp_ridge_class.n_settings * n, sizeof *path);
    assert_int_equal(weirp_ridge_class.fit_predict(&w.sample, &t.sample, path, NULL), WEIR_OK);
    for (size_t k = 0; k < weirp_ridge_class.n_settings; k++)
        free_weights = fmin(free_weights, mean_square(path + k * n, t.truth, n));
    free(path);
    print_message("lowrank: squared error %.5f, ridge %.5f on a truth of rank one\n", low, free_weights);
    assert_true(low < 0.7 * free_weights);
    world_free(&w);
    world_free(&t);
}

int main(void) {
    suite = &weirp_lowrank_class;
    suite_setting = 5;
    const struct CMUnitTest tests[] = {
        SUITE_TESTS,
        cmocka_unit_test(updates_are_refits),
        cmocka_unit_test(full_rank_is_ridge),
        cmocka_unit_test(rank_one_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

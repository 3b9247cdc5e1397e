/* K-means: cluster means in closed form, recursive updates against refits, and what every estimator must do.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/estimator_suite.h"

static void updates_are_refits(void **state) {
    (void)state;
    enum { M = 5, N = 500, FIRST = 200 };
    world w = world_new(N, M, 12, 0.2, 0.2, 0.4, 6, 0);
    weirp_sample first = w.sample;
    first.n = FIRST;
    weirp_estimator *e = fitted(&first, suite_setting), *refit = NULL;
    for (size_t i = FIRST; i < N; i++)
        for (size_t m = 0; m < M; m++) learn(e, &w.sample, i, m);
    assert_int_equal(weirp_kmeans_refit(&refit, e, &w.sample, NULL), WEIR_OK);
    double *sda, *sdb, *qa = ask(e, &w.sample, &sda), *qb = ask(refit, &w.sample, &sdb);
    assert_true(largest_difference(qa, qb, N * M) < 1e-8);
    assert_true(largest_difference(sda, sdb, N * M) < 1e-8);
    free(qa), free(qb), free(sda), free(sdb);
    suite->free(e);
    suite->free(refit);
    world_free(&w);
}

/* Two far-apart kinds of prompts, no noise: each prompt gets its kind's mean, but for the little that priors take. */
static void far_clusters_are_found(void **state) {
    (void)state;
    enum { N = 400 };
    world w = world_new(N, 2, 4, 0, 0, 0, 9, 0);
    for (size_t i = 0; i < N; i++) {
        memset(w.dense + i * 4, 0, 4 * sizeof *w.dense);
        w.dense[i * 4 + i % 2] = 1;
        w.dense[i * 4 + 2] = 0.01f * (float)weirp_random_normal(1, 1, i);
        w.target[i * 2] = i % 2 ? 0.9 : 0.1;
        w.target[i * 2 + 1] = i % 2 ? 0.3 : 0.7;
    }
    for (size_t k = 0; k < suite->n_settings; k++) {
        weirp_estimator *e = fitted(&w.sample, k);
        double *q = ask(e, &w.sample, NULL);
        assert_true(largest_difference(q, w.target, N * 2) < 0.05);
        free(q);
        suite->free(e);
    }
    world_free(&w);
}

int main(void) {
    suite = &weirp_kmeans_class;
    suite_setting = 3;
    const struct CMUnitTest tests[] = {
        SUITE_TESTS,
        cmocka_unit_test(updates_are_refits),
        cmocka_unit_test(far_clusters_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* kNN: brute force, lists that grow, and what every estimator must do. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/estimator_suite.h"

#include "estimators/ivf.h"

/* Features on the grid that the index keeps, 1/127 of the largest, which is 1: so brute force sees the same distances.
 */
static void to_grid(world *w) {
    for (size_t k = 0; k < w->sample.n * w->sample.dim; k++) w->dense[k] = roundf(w->dense[k] * 127) / 127;
    w->dense[0] = 1;
}

typedef struct neighbour {
    double distance;
    size_t row;
} neighbour;

static int by_distance(const void *a, const void *b) {
    double x = ((const neighbour *)a)->distance, y = ((const neighbour *)b)->distance;
    return (x > y) - (x < y);
}

/* The head comment of knn.c, written out: BETA 20, RHO 10; means as levels.h has them. false: the k-th nearest is not
 * alone, so that there is no one answer. */
static bool brute_force(const world *w, const float *x, size_t k, const double *mean, double *q) {
    size_t n = 0, models = w->sample.n_models, dim = w->sample.dim;
    neighbour *all = weirp_array(w->sample.n, sizeof *all);
    for (size_t i = 0; i < w->sample.n; i++) {
        bool seen = false;
        for (size_t m = 0; m < models; m++) seen |= isfinite(w->target[i * models + m]);
        if (!seen) continue; /* a row without outcomes is nobody's neighbour */
        all[n].row = i;
        for (size_t j = 0; j < dim; j++)
            all[n].distance += pow(rint(127 * (double)w->dense[i * dim + j]) - rint(127 * (double)x[j]), 2);
        n++;
    }
    qsort(all, n, sizeof *all, by_distance);
    if (k > n) k = n;
    bool alone = k == n || all[k].distance > all[k - 1].distance;
    double common = 0;
    for (size_t i = 0; i < k; i++) {
        double sum = 0, seen = 0;
        for (size_t m = 0; m < models; m++) {
            double y = w->target[all[i].row * models + m];
            if (isfinite(y)) sum += y - mean[m], seen++;
        }
        if (seen > 0) common += sum / seen;
    }
    common /= (double)k + 10;
    for (size_t m = 0; m < models; m++) {
        double sum = 0, count = 0;
        for (size_t i = 0; i < k; i++) {
            double y = w->target[all[i].row * models + m];
            if (isfinite(y)) sum += y - mean[m], count++;
        }
        q[m] = mean[m] + (sum + 20 * common) / (count + 20);
    }
    free(all);
    return alone;
}

static void is_brute_force(void **state) {
    (void)state;
    enum { N = 3000, M = 5, D = 12 };
    for (int missing = 0; missing < 2; missing++) {
        world w = world_new(N, M, D, 0.2, 0.2, missing ? 0.5 : 0, 7, 0), t = world_new(40, M, D, 0, 0, 0, 7, 100000);
        to_grid(&w);
        to_grid(&t);
        weirp_levels levels;
        assert_int_equal(weirp_levels_fit(&levels, &w.sample, NULL, NULL), WEIR_OK);
        double mean[M];
        for (size_t m = 0; m < M; m++) mean[m] = levels.mean[m] + levels.offset;
        for (size_t s = 0; s < suite->n_settings; s++) {
            char text[64];
            suite->describe(s, text, sizeof text);
            size_t k = strtoul(text + 2, NULL, 10);
            weirp_estimator *e = fitted(&w.sample, s);
            weirp_knn_probe_all(e);
            double *q = ask(e, &t.sample, NULL), direct[M], off = 0;
            size_t compared = 0;
            for (size_t i = 0; i < 40; i++) {
                if (!brute_force(&w, t.dense + i * D, k, mean, direct)) continue;
                off = fmax(off, largest_difference(direct, q + i * M, M));
                compared++;
            }
            assert_true(off < 1e-5);
            assert_true(compared >= 20);
            free(q);
            suite->free(e);
        }
        weirp_levels_free(&levels);
        world_free(&w);
        world_free(&t);
    }
}

/* Few lists read instead of all: nearly the same. */
static void probing_is_close(void **state) {
    (void)state;
    enum { N = 20000, M = 3, D = 40 };
    world w = world_new(N, M, D, 0.2, 0.3, 0, 8, 0), t = world_new(200, M, D, 0.2, 0, 0, 8, 1000000);
    weirp_estimator *e = fitted(&w.sample, 4);
    double *some = ask(e, &t.sample, NULL);
    weirp_knn_probe_all(e);
    double *all = ask(e, &t.sample, NULL);
    double apart = mean_square(some, all, 200 * M), off_some = mean_square(some, t.truth, 200 * M),
           off_all = mean_square(all, t.truth, 200 * M);
    print_message("knn: squared error %.5f reading some lists, %.5f reading all; they differ by %.6f\n", off_some,
                  off_all, apart);
    assert_true(off_some < 1.25 * off_all);
    free(some), free(all);
    suite->free(e);
    world_free(&w);
    world_free(&t);
}

/* Rows that arrive one by one are the rows of a fit: the same neighbours, whatever lists they are in. */
static void appending_is_fitting(void **state) {
    (void)state;
    enum { N = 2500, FIRST = 10, M = 3, D = 8 };
    world w = world_new(N, M, D, 0.2, 0.2, 0, 9, 0), t = world_new(60, M, D, 0, 0, 0, 9, 1000000);
    weirp_sample first = w.sample;
    first.n = FIRST;
    weirp_estimator *a = fitted(&first, 1), *b = fitted(&w.sample, 1);
    for (size_t i = FIRST; i < N; i++)
        for (size_t m = 0; m < M; m++) learn(a, &w.sample, i, m);
    weirp_knn_probe_all(a);
    weirp_knn_probe_all(b);
    double *qa = ask(a, &t.sample, NULL), *qb = ask(b, &t.sample, NULL);
    /* what is left of a difference is the prior on means, and deviations taken at the time */
    assert_true(largest_difference(qa, qb, 60 * M) < 0.02);
    free(qa), free(qb);
    suite->free(a);
    suite->free(b);
    world_free(&w);
    world_free(&t);
}

/* A thousand times the same prompt, and rows without any features: lists still split. */
static void copies_of_one_prompt(void **state) {
    (void)state;
    world w = world_new(1000, 2, 5, 0, 0.1, 0, 10, 0);
    for (size_t i = 1; i < 1000; i++) memcpy(w.dense + i * 5, w.dense, 5 * sizeof *w.dense);
    weirp_estimator *e = fitted(&w.sample, 2);
    for (size_t i = 0; i < 1000; i++) learn(e, &w.sample, i, i % 2);
    free(ask(e, &w.sample, NULL));
    suite->free(e);
    w.sample.dim = 0;
    e = fitted(&w.sample, 2);
    for (size_t i = 0; i < 1000; i++) learn(e, &w.sample, i, i % 2);
    free(ask(e, &w.sample, NULL));
    suite->free(e);
    world_free(&w);
}

/* Features far longer than any that were fitted don't overflow a distance. */
static void long_vectors(void **state) {
    (void)state;
    world w = world_new(400, 2, 6, 0.1, 0.1, 0, 11, 0);
    weirp_estimator *e = fitted(&w.sample, 2);
    float far[6] = {1e6f, -1e6f, 1e6f, 3e38f, 0, 1e-30f};
    weirp_features x = {.dim = 6, .dense = far};
    double q[2], sd[2];
    for (int round = 0; round < 3; round++) {
        void *scratch = weirp_aligned(suite->scratch_size(e), 1);
        suite->predict(e, &x, scratch, q, sd);
        assert_true(isfinite(q[0]) && isfinite(sd[1]));
        free(scratch);
        assert_int_equal(suite->update(e, &x, 0, 0.5, 1, NULL), WEIR_OK);
    }
    suite->free(e);
    world_free(&w);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void kth_is_sorted_kth(void **state) {
    (void)state;
    enum { N = 300 };
    uint32_t v[N], sorted[N], work[N];
    for (uint64_t trial = 0; trial < 200; trial++) {
        size_t n = 1 + weirp_random_u64(1, trial, 0) % N;
        unsigned shift = (unsigned)(trial % 33);
        for (size_t i = 0; i < n; i++) v[i] = (uint32_t)((weirp_random_u64(2, trial, i) & UINT32_MAX) >> shift);
        memcpy(sorted, v, n * sizeof *v);
        qsort(sorted, n, sizeof *sorted, by_value);
        for (size_t k = 1; k <= n; k++) assert_int_equal(weirp_kth_smallest(v, n, k, work), sorted[k - 1]);
    }
}

int main(void) {
    suite = &weirp_knn_class;
    suite_setting = 1;
    const struct CMUnitTest tests[] = {
        SUITE_TESTS,
        cmocka_unit_test(kth_is_sorted_kth),
        cmocka_unit_test(is_brute_force),
        cmocka_unit_test(probing_is_close),
        cmocka_unit_test(appending_is_fitting),
        cmocka_unit_test(copies_of_one_prompt),
        cmocka_unit_test(long_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

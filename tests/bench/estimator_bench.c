/* estimator_bench.c: how long estimators take, on rows in clusters on the unit sphere.
 *
 *   estimator_bench [ROWS [MODELS [DIM [SHARE_MISSING [CLASS]]]]]
 *
 * For each class: one fit, a path over all settings, predictions (with and without sd) in random order, updates as full
 * and as bandit feedback, and the bytes it stores. CPU time; microseconds are medians of batches.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/estimator.h"
#include "estimators/kernels.h"

enum { BATCHES = 41, BATCH = 200, KINDS = 60 };

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void make_rows(weirp_sample *s, float *dense, double *target, double missing, uint64_t stream) {
    for (size_t i = 0; i < s->n; i++) {
        double length = 0;
        uint64_t kind = weirp_random_u64(1, stream, i) % KINDS;
        for (size_t j = 0; j < s->dim; j++) {
            double v = weirp_random_normal(2, kind, j) + weirp_random_normal(3, stream, i * s->dim + j);
            v /= 1 + (double)j / 8; /* later columns matter less, as after an SVD */
            dense[i * s->dim + j] = (float)v;
            length += v * v;
        }
        for (size_t j = 0; j < s->dim; j++) dense[i * s->dim + j] /= (float)sqrt(length);
        for (size_t m = 0; m < s->n_models; m++) {
            double q = 0.5 + 0.2 * weirp_random_normal(4, m, kind) + 0.3 * dense[i * s->dim + m % s->dim];
            double y = weirp_random_uniform(5 + stream, m, i) < q;
            target[i * s->n_models + m] = weirp_random_uniform(9 + stream, m, i) < missing ? NAN : y;
        }
    }
}

static double seconds_since(uint64_t begin) {
    return (double)(weirp_cpu_ns() - begin) * 1e-9;
}

static void time_predict(const weirp_estimator *e, const weirp_sample *test, bool with_sd) {
    void *scratch = weirp_aligned(e->class->scratch_size(e), 1);
    double *q = weirp_array(2 * e->n_models, sizeof *q), took[BATCHES], sum = 0;
    for (size_t b = 0; b < BATCHES; b++) {
        uint64_t begin = weirp_cpu_ns();
        for (size_t i = 0; i < BATCH; i++) {
            size_t row = weirp_random_u64(7, b, i) % test->n;
            weirp_features x = {.dim = test->dim, .dense = test->dense + row * test->dim};
            e->class->predict(e, &x, scratch, q, with_sd ? q + e->n_models : NULL);
            sum += q[0];
        }
        took[b] = seconds_since(begin) / BATCH * 1e6;
    }
    qsort(took, BATCHES, sizeof *took, by_value);
    printf("  predict %s sd %7.2f us (batches from %.2f to %.2f)%s\n", with_sd ? "with" : "less", took[BATCHES / 2],
           took[0], took[BATCHES - 1], sum > 1e300 ? "!" : "");
    free(scratch);
    free(q);
}

static void time_update(weirp_estimator *e, const weirp_sample *test, bool full) {
    double took[1024], sum = 0;
    for (size_t i = 0; i < 1024; i++) {
        size_t row = full ? i / e->n_models % test->n : i % test->n;
        size_t model = full ? i % e->n_models : weirp_random_u64(8, 0, i) % e->n_models;
        weirp_features x = {.dim = test->dim, .dense = test->dense + row * test->dim};
        uint64_t begin = weirp_cpu_ns();
        if (e->class->update(e, &x, model, (double)(i % 3 == 0), 1, NULL) != WEIR_OK) exit(1);
        took[i] = seconds_since(begin) * 1e6;
        sum += took[i] / 1024;
    }
    qsort(took, 1024, sizeof *took, by_value);
    printf("  update, %s feedback: mean %.1f us, p50 %.1f, p99 %.1f, worst %.1f\n", full ? "full" : "bandit", sum,
           took[512], took[1013], took[1023]);
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 36000, models = argc > 2 ? strtoul(argv[2], NULL, 10) : 11;
    size_t dim = argc > 3 ? strtoul(argv[3], NULL, 10) : 110, n_test = n / 5 + 1;
    double missing = argc > 4 ? strtod(argv[4], NULL) : 0;
    weirp_sample train = {.n = n, .n_models = models, .dim = dim, .lo = 0, .hi = 1, .seed = 1, .n_threads = 1};
    weirp_sample test = train;
    test.n = n_test;
    float *a = weirp_array(n * dim, sizeof *a), *b = weirp_array(n_test * dim, sizeof *b);
    double *ya = weirp_array(n * models, sizeof *ya), *yb = weirp_array(n_test * models, sizeof *yb);
    make_rows(&train, a, ya, missing, 100);
    make_rows(&test, b, yb, missing, 200);
    train.dense = a, train.target = ya, test.dense = b, test.target = yb;
    for (size_t c = 0; weirp_estimator_class_at(c); c++) {
        if (argc > 5 && strcmp(argv[5], weirp_estimator_class_at(c)->name)) continue;
        const weirp_estimator_class *class = weirp_estimator_class_at(c);
        size_t setting = class->n_settings / 2 + 1;
        char text[64];
        class->describe(setting, text, sizeof text);
        weirp_estimator *e = NULL;
        uint64_t begin = weirp_cpu_ns();
        if (class->fit(&e, &train, setting, NULL) != WEIR_OK) return 1;
        double fit = seconds_since(begin);
        double *path = weirp_array(class->n_settings * n_test * models, sizeof *path);
        begin = weirp_cpu_ns();
        if (class->fit_predict(&train, &test, path, NULL) != WEIR_OK) return 1;
        weirp_writer w = {0};
        printf("%s %s\n  fit %.3f s, path of %zu settings %.3f s\n", class->name, text, fit, class->n_settings,
               seconds_since(begin));
        begin = weirp_cpu_ns();
        class->save(e, &w);
        printf("  %.3f MB, saved in %.2f ms\n", (double)w.size * 1e-6, seconds_since(begin) * 1e3);
        time_predict(e, &test, false);
        time_predict(e, &test, true);
        time_update(e, &test, true);
        time_update(e, &test, false);
        time_predict(e, &test, true);
        fflush(stdout);
        weirp_writer_free(&w);
        class->free(e);
        free(path);
    }
    free(a), free(b), free(ya), free(yb);
    return 0;
}

/* estimator_suite.h: what every estimator must do, whatever it is; run by each estimator's own test.
 *
 * A test sets `suite` to its class and lists SUITE_TESTS. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_ESTIMATOR_SUITE_H
#define WEIR_ESTIMATOR_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "estimators/classes.h"
#include "estimators/kernels.h"

static const weirp_estimator_class *suite;
static size_t suite_setting; /* one in the middle of the grid */

/* ---- samples ---- */

/* A world: rows in clusters on the unit sphere, models with a level, a slope and a share of each cluster. */
typedef struct world {
    weirp_sample sample;
    float *dense;
    double *target, *truth; /* (n, n_models) */
} world;

enum { N_KINDS = 6 };

/* Targets are truth + noise, in [0,1]; truth varies by `signal` with kind and direction. Rows from `first` of the
 * stream that `seed` names: the same seed is the same world. */
static world world_new(size_t n, size_t n_models, size_t dim, double signal, double noise, double missing,
                       uint64_t seed, size_t first) {
    world w = {0};
    w.dense = weirp_array(n * dim, sizeof *w.dense);
    w.target = weirp_array(n * n_models, sizeof *w.target);
    w.truth = weirp_array(n * n_models, sizeof *w.truth);
    assert_true(w.dense && w.target && w.truth);
    for (size_t i = 0; i < n; i++) {
        uint64_t row = first + i;
        float *x = w.dense + i * dim;
        size_t kind = weirp_random_u64(seed, 1, row) % N_KINDS;
        double length = 0, slope = 0;
        for (size_t j = 0; j < dim; j++) {
            double v = weirp_random_normal(seed, 100 + kind, j) + 0.5 * weirp_random_normal(seed, 2, row * dim + j);
            x[j] = (float)v;
            length += v * v;
        }
        for (size_t j = 0; j < dim; j++) x[j] /= (float)sqrt(length > 0 ? length : 1);
        for (size_t j = 0; j < dim; j++) slope += x[j] * weirp_random_normal(seed, 3, j);
        for (size_t m = 0; m < n_models; m++) {
            double skill = weirp_random_normal(seed, 200 + m, kind), level = weirp_random_uniform(seed, 4, m);
            double q = 0.35 + 0.3 * level + signal * (0.6 * skill + 0.6 * slope);
            w.truth[i * n_models + m] = q;
            double y = q + noise * weirp_random_normal(seed, 300 + m, row);
            if (weirp_random_uniform(seed, 400 + m, row) < missing) y = NAN;
            w.target[i * n_models + m] = y;
        }
    }
    w.sample = (weirp_sample){.n = n,
                              .n_models = n_models,
                              .dim = dim,
                              .dense = w.dense,
                              .target = w.target,
                              .lo = -INFINITY,
                              .hi = INFINITY,
                              .seed = 7,
                              .n_threads = 1};
    return w;
}

static void world_free(world *w) {
    free(w->dense);
    free(w->target);
    free(w->truth);
}

static weirp_features row_of(const weirp_sample *s, size_t i) {
    return (weirp_features){.dim = s->dim, .dense = s->dense + i * s->dim};
}

/* ---- asking ---- */

/* Predicts all rows of `s` into new memory (n, n_models); sd may be NULL. */
static double *ask(const weirp_estimator *e, const weirp_sample *s, double **sd) {
    double *q = weirp_array(s->n * e->n_models, sizeof *q), *spread = weirp_array(s->n * e->n_models, sizeof *q);
    void *scratch = weirp_aligned(e->class->scratch_size(e), 1);
    assert_true(q && spread && scratch);
    for (size_t i = 0; i < s->n; i++) {
        weirp_features x = row_of(s, i);
        e->class->predict(e, &x, scratch, q + i * e->n_models, spread + i * e->n_models);
        for (size_t m = 0; m < e->n_models; m++) {
            assert_true(isfinite(q[i * e->n_models + m]));
            assert_true(isfinite(spread[i * e->n_models + m]) && spread[i * e->n_models + m] >= 0);
        }
    }
    free(scratch);
    if (sd)
        *sd = spread;
    else
        free(spread);
    return q;
}

static weirp_estimator *fitted(const weirp_sample *s, size_t setting) {
    weirp_estimator *e = NULL;
    weir_error err = {0};
    if (suite->fit(&e, s, setting, &err) != WEIR_OK) fail_msg("fit: %s", err.text);
    assert_ptr_equal(e->class, suite);
    assert_int_equal(e->n_models, s->n_models);
    assert_int_equal(e->dim, s->dim);
    return e;
}

static double largest_difference(const double *a, const double *b, size_t n) {
    double d = 0;
    for (size_t i = 0; i < n; i++) d = fmax(d, fabs(a[i] - b[i]));
    return d;
}

static double mean_square(const double *a, const double *b, size_t n) {
    double d = 0;
    for (size_t i = 0; i < n; i++) d += (a[i] - b[i]) * (a[i] - b[i]) / (double)n;
    return d;
}

static void learn(weirp_estimator *e, const weirp_sample *s, size_t i, size_t m) {
    weirp_features x = row_of(s, i);
    weir_error err = {0};
    double y = s->target[i * s->n_models + m];
    if (isfinite(y) && e->class->update(e, &x, m, y, 1, &err) != WEIR_OK) fail_msg("update: %s", err.text);
}

/* ---- the suite ---- */

static void suite_is_registered(void **state) {
    (void)state;
    assert_ptr_equal(weirp_estimator_class_find(suite->name), suite);
    assert_null(weirp_estimator_class_find("no such estimator"));
    bool found = false;
    for (size_t k = 0; weirp_estimator_class_at(k); k++) found |= weirp_estimator_class_at(k) == suite;
    assert_true(found);
    char a[64], b[64];
    for (size_t k = 0; k < suite->n_settings; k++) {
        suite->describe(k, a, sizeof a);
        assert_true(strlen(a) > 0);
        for (size_t l = 0; l < k; l++) {
            suite->describe(l, b, sizeof b);
            assert_string_not_equal(a, b);
        }
    }
}

static void suite_path_is_single_fits(void **state) {
    (void)state;
    for (int missing = 0; missing < 2; missing++) {
        world train = world_new(300, 5, 12, 0.2, 0.2, missing ? 0.4 : 0, 11, 0);
        world test = world_new(60, 5, 12, 0.2, 0.2, 0, 11, 1000);
        double *path = weirp_array(suite->n_settings * 60 * 5, sizeof *path);
        weir_error err = {0};
        assert_int_equal(suite->fit_predict(&train.sample, &test.sample, path, &err), WEIR_OK);
        for (size_t k = 0; k < suite->n_settings; k++) {
            weirp_estimator *e = fitted(&train.sample, k);
            double *q = ask(e, &test.sample, NULL);
            assert_true(largest_difference(q, path + k * 60 * 5, 60 * 5) < 1e-5);
            free(q);
            suite->free(e);
        }
        free(path);
        world_free(&train);
        world_free(&test);
    }
}

static void suite_ignores_test_targets(void **state) {
    (void)state;
    world train = world_new(200, 3, 8, 0.2, 0.2, 0.2, 12, 0);
    world test = world_new(40, 3, 8, 0.2, 0.2, 0, 12, 1000);
    size_t size = suite->n_settings * 40 * 3;
    double *a = weirp_array(size, sizeof *a), *b = weirp_array(size, sizeof *b);
    assert_int_equal(suite->fit_predict(&train.sample, &test.sample, a, NULL), WEIR_OK);
    test.sample.target = NULL;
    assert_int_equal(suite->fit_predict(&train.sample, &test.sample, b, NULL), WEIR_OK);
    assert_memory_equal(a, b, size * sizeof *a);
    free(a);
    free(b);
    world_free(&train);
    world_free(&test);
}

static void suite_is_deterministic(void **state) {
    (void)state;
    world w = world_new(250, 4, 10, 0.2, 0.2, 0.3, 13, 0);
    weirp_estimator *a = fitted(&w.sample, suite_setting), *b = fitted(&w.sample, suite_setting);
    weirp_writer wa = {0}, wb = {0};
    suite->save(a, &wa);
    suite->save(b, &wb);
    assert_int_equal(wa.size, wb.size);
    assert_memory_equal(wa.data, wb.data, wa.size);
    weirp_writer_free(&wa);
    weirp_writer_free(&wb);
    suite->free(a);
    suite->free(b);
    world_free(&w);
}

/* Mean squared distance from the truth on fresh rows, at the grid's best setting. */
static double excess(size_t n, double signal, double missing, uint64_t seed) {
    world train = world_new(n, 5, 12, signal, 0.3, missing, seed, 0);
    world test = world_new(300, 5, 12, signal, 0, 0, seed, 1000000);
    double *path = weirp_array(suite->n_settings * 300 * 5, sizeof *path), best = INFINITY;
    weir_error err = {0};
    if (suite->fit_predict(&train.sample, &test.sample, path, &err) != WEIR_OK) fail_msg("%s", err.text);
    for (size_t k = 0; k < suite->n_settings; k++)
        best = fmin(best, mean_square(path + k * 300 * 5, test.truth, 300 * 5));
    free(path);
    world_free(&train);
    world_free(&test);
    return best;
}

static void suite_excess_falls(void **state) {
    (void)state;
    double small = 0, middle = 0, large = 0, holes = 0;
    for (uint64_t seed = 20; seed < 23; seed++) {
        small += excess(60, 0.2, 0, seed) / 3;
        middle += excess(500, 0.2, 0, seed) / 3;
        large += excess(5000, 0.2, 0, seed) / 3;
        holes += excess(5000, 0.2, 0.8, seed) / 3;
    }
    print_message("%s: excess squared error at 60, 500, 5000 rows: %.5f %.5f %.5f; 5000 with 80%% missing: %.5f\n",
                  suite->name, small, middle, large, holes);
    assert_true(middle < 0.8 * small);
    assert_true(large < 0.8 * middle);
    assert_true(holes < small);
}

/* Where features say nothing, the best setting is nearly the models' means. */
static void suite_noise_is_constant(void **state) {
    (void)state;
    world train = world_new(1500, 5, 12, 0, 0.3, 0, 31, 0), test = world_new(200, 5, 12, 0, 0.3, 0, 31, 1000000);
    weirp_estimator *e = fitted(&train.sample, suite->n_settings - 1);
    double *q = ask(e, &test.sample, NULL), spread = 0;
    for (size_t m = 0; m < 5; m++) {
        double mean = 0;
        for (size_t i = 0; i < 1500; i++) mean += train.target[i * 5 + m] / 1500;
        for (size_t i = 0; i < 200; i++) spread = fmax(spread, fabs(q[i * 5 + m] - mean));
    }
    print_message("%s: pure noise moves predictions by at most %.4f\n", suite->name, spread);
    assert_true(spread < 0.08);
    free(q);
    suite->free(e);
    world_free(&train);
    world_free(&test);
}

static void suite_constant_targets(void **state) {
    (void)state;
    world w = world_new(80, 3, 6, 0, 0, 0, 41, 0);
    for (size_t i = 0; i < 80 * 3; i++) w.target[i] = i % 3 == 2 ? 0.5 : 1.0;
    weirp_estimator *e = fitted(&w.sample, suite_setting);
    double *q = ask(e, &w.sample, NULL);
    for (size_t i = 0; i < 80 * 3; i++) assert_true(fabs(q[i] - (i % 3 == 2 ? 0.5 : 1.0)) < 0.05);
    free(q);
    suite->free(e);
    for (size_t i = 0; i < 80 * 3; i++) w.target[i] = 0.25;
    e = fitted(&w.sample, suite_setting);
    q = ask(e, &w.sample, NULL);
    for (size_t i = 0; i < 80 * 3; i++) assert_true(fabs(q[i] - 0.25) < 1e-6);
    free(q);
    suite->free(e);
    world_free(&w);
}

/* Sizes at the edge: no rows, one row, no models, one model, more columns than rows, no columns, nothing seen. */
static void suite_small_samples(void **state) {
    (void)state;
    static const struct {
        size_t n, models, dim;
        double missing;
    } cases[] = {{0, 3, 5, 0},  {1, 3, 5, 0}, {1, 1, 1, 0},  {2, 1, 40, 0}, {10, 2, 64, 0},
                 {30, 0, 4, 0}, {0, 0, 0, 0}, {20, 3, 0, 0}, {25, 4, 6, 2}, {40, 1, 7, 0.5}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        world w = world_new(cases[c].n, cases[c].models, cases[c].dim, 0.1, 0.1, cases[c].missing, 51, 0);
        world test = world_new(9, cases[c].models, cases[c].dim, 0.1, 0.1, 0, 52, 0);
        w.sample.lo = test.sample.lo = 0;
        w.sample.hi = test.sample.hi = 1;
        weirp_estimator *e = fitted(&w.sample, suite_setting);
        double *q = ask(e, &test.sample, NULL);
        for (size_t i = 0; i < 9 * cases[c].models; i++) assert_true(q[i] >= 0 && q[i] <= 1);
        free(q);
        for (size_t i = 0; i < 9; i++)
            for (size_t m = 0; m < cases[c].models; m++) learn(e, &test.sample, i, m);
        free(ask(e, &test.sample, NULL));
        double *path = weirp_array(suite->n_settings * 9 * cases[c].models, sizeof *path);
        weir_error err = {0};
        if (suite->fit_predict(&w.sample, &test.sample, path, &err) != WEIR_OK) fail_msg("%s", err.text);
        free(path);
        suite->free(e);
        world_free(&w);
        world_free(&test);
    }
}

static void suite_refuses_nonsense(void **state) {
    (void)state;
    world w = world_new(30, 2, 4, 0.1, 0.1, 0, 53, 0);
    weirp_estimator *e = NULL;
    assert_int_equal(suite->fit(&e, &w.sample, suite->n_settings, NULL), WEIR_INVALID);
    w.dense[5] = NAN;
    assert_int_equal(suite->fit(&e, &w.sample, 0, NULL), WEIR_INVALID);
    w.dense[5] = 0;
    w.sample.lo = 1, w.sample.hi = 0;
    assert_int_equal(suite->fit(&e, &w.sample, 0, NULL), WEIR_INVALID);
    w.sample.lo = -INFINITY, w.sample.hi = INFINITY;
    e = fitted(&w.sample, 0);
    weirp_features x = row_of(&w.sample, 0);
    weir_error err = {0};
    assert_int_equal(suite->update(e, &x, 2, 0.5, 1, &err), WEIR_INVALID);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(suite->update(e, &x, 0, NAN, 1, NULL), WEIR_INVALID);
    assert_int_equal(suite->update(e, &x, 0, 0.5, 0, NULL), WEIR_INVALID);
    assert_int_equal(suite->update(e, &x, 0, 0.5, INFINITY, NULL), WEIR_INVALID);
    x.dim = 3;
    assert_int_equal(suite->update(e, &x, 0, 0.5, 1, NULL), WEIR_INVALID);
    assert_int_equal(suite->remove_model(e, 2, NULL), WEIR_INVALID);
    suite->free(e);
    suite->free(NULL);
    world_free(&w);
}

/* sd may be left out, and the prediction is the same. */
static void suite_sd_is_optional(void **state) {
    (void)state;
    world w = world_new(120, 3, 8, 0.2, 0.2, 0.2, 54, 0);
    weirp_estimator *e = fitted(&w.sample, suite_setting);
    void *scratch = weirp_aligned(suite->scratch_size(e), 1);
    weirp_features x = row_of(&w.sample, 3);
    double a[3], b[3], sd[3];
    suite->predict(e, &x, scratch, a, sd);
    suite->predict(e, &x, scratch, b, NULL);
    assert_memory_equal(a, b, sizeof a);
    free(scratch);
    suite->free(e);
    world_free(&w);
}

/* A model without outcomes predicts what the others suggest, and says that it doesn't know. */
static void suite_unseen_model_borrows(void **state) {
    (void)state;
    world w = world_new(800, 5, 12, 0.2, 0.15, 0, 61, 0);
    for (size_t i = 0; i < 800; i++) w.target[i * 5 + 4] = NAN;
    weirp_estimator *e = fitted(&w.sample, suite_setting);
    double *sd, *q = ask(e, &w.sample, &sd), pool[800], borrowed[800], mean = 0, level = 0, wide = 0, narrow = 0;
    for (size_t i = 0; i < 800; i++) {
        pool[i] = 0;
        for (size_t m = 0; m < 4; m++) pool[i] += q[i * 5 + m] / 4;
        borrowed[i] = q[i * 5 + 4];
        mean += pool[i] / 800;
        level += borrowed[i] / 800;
        wide += sd[i * 5 + 4] / 800;
        narrow += sd[i * 5] / 800;
    }
    assert_true(fabs(level - mean) < 0.05);
    double flat[800];
    for (size_t i = 0; i < 800; i++) flat[i] = mean;
    /* it follows the pool's prompts, not only its mean */
    assert_true(mean_square(borrowed, pool, 800) < 0.5 * mean_square(flat, pool, 800));
    assert_true(wide > 2 * narrow);
    free(q);
    free(sd);
    suite->free(e);
    world_free(&w);
}

/* A few outcomes beside many of the others': better than the model's own rows alone, better than the pool alone. */
static void suite_few_outcomes_borrow(void **state) {
    (void)state;
    double mixed = 0, alone = 0;
    for (uint64_t seed = 70; seed < 74; seed++) {
        world w = world_new(1000, 5, 12, 0.2, 0.25, 0, seed, 0), test = world_new(200, 5, 12, 0.2, 0, 0, seed, 1000000);
        for (size_t i = 20; i < 1000; i++) w.target[i * 5 + 4] = NAN;
        world own = world_new(20, 1, 12, 0, 0, 0, seed, 0);
        memcpy(own.dense, w.dense, 20 * 12 * sizeof *own.dense);
        for (size_t i = 0; i < 20; i++) own.target[i] = w.target[i * 5 + 4];
        weirp_estimator *a = fitted(&w.sample, suite_setting), *b = fitted(&own.sample, suite_setting);
        test.sample.n_models = 5;
        double *qa = ask(a, &test.sample, NULL), *qb = ask(b, &test.sample, NULL);
        for (size_t i = 0; i < 200; i++) {
            double t = test.truth[i * 5 + 4];
            mixed += pow(qa[i * 5 + 4] - t, 2) / 800;
            alone += pow(qb[i] - t, 2) / 800;
        }
        free(qa);
        free(qb);
        suite->free(a);
        suite->free(b);
        world_free(&w);
        world_free(&own);
        world_free(&test);
    }
    print_message("%s: a model with 20 outcomes: %.5f in a pool, %.5f alone\n", suite->name, mixed, alone);
    assert_true(mixed < 0.9 * alone);
}

/* sd is of the right size where the setting suits the world, and falls as outcomes come. */
static void suite_sd_is_of_the_right_size(void **state) {
    (void)state;
    double nearest = INFINITY, spread[2] = {0};
    for (size_t k = 0; k < suite->n_settings; k++) {
        double ratio = 0, sds[2] = {0};
        for (uint64_t seed = 900; seed < 903; seed++)
            for (int large = 0; large < 2; large++) {
                world w = world_new(large ? 4000 : 200, 5, 12, 0.1, 0.4, 0.2, seed, 0);
                world t = world_new(200, 5, 12, 0.1, 0, 0, seed, 1000000);
                weirp_estimator *e = fitted(&w.sample, k);
                double *sd, *q = ask(e, &t.sample, &sd);
                for (size_t i = 0; i < 1000; i++) {
                    if (!large) ratio += pow((q[i] - t.truth[i]) / sd[i], 2) / 3000;
                    sds[large] += sd[i] / 3000;
                }
                free(q), free(sd);
                suite->free(e);
                world_free(&w);
                world_free(&t);
            }
        if (fabs(log(ratio)) < fabs(log(nearest))) {
            nearest = ratio;
            spread[0] = sds[0], spread[1] = sds[1];
        }
    }
    print_message("%s: mean squared (truth - q)/sd %.2f at the setting that suits; sd %.4f at 200 rows, %.4f at 4000\n",
                  suite->name, nearest, spread[0], spread[1]);
    assert_true(nearest > 0.5 && nearest < 2);
    assert_true(spread[1] < spread[0]);
}

static void suite_add_and_remove_leave_others(void **state) {
    (void)state;
    world w = world_new(400, 4, 10, 0.2, 0.2, 0.3, 81, 0);
    weirp_estimator *e = fitted(&w.sample, suite_setting);
    double *sd0, *q0 = ask(e, &w.sample, &sd0);
    assert_int_equal(suite->add_model(e, NULL), WEIR_OK);
    assert_int_equal(e->n_models, 5);
    double *sd1, *q1 = ask(e, &w.sample, &sd1);
    for (size_t i = 0; i < 400; i++) {
        assert_memory_equal(q0 + i * 4, q1 + i * 5, 4 * sizeof *q0);
        assert_memory_equal(sd0 + i * 4, sd1 + i * 5, 4 * sizeof *q0);
    }
    assert_int_equal(suite->remove_model(e, 1, NULL), WEIR_OK);
    assert_int_equal(e->n_models, 4);
    double *sd2, *q2 = ask(e, &w.sample, &sd2);
    static const size_t kept[] = {0, 2, 3, 4};
    for (size_t i = 0; i < 400; i++)
        for (size_t m = 0; m < 4; m++) {
            assert_true(q2[i * 4 + m] == q1[i * 5 + kept[m]]);
            assert_true(sd2[i * 4 + m] == sd1[i * 5 + kept[m]]);
        }
    /* the newcomer learns, and a pool may shrink to nothing and grow again */
    weirp_features x = row_of(&w.sample, 0);
    double before = q2[3], after[8];
    for (int k = 0; k < 200; k++) assert_int_equal(suite->update(e, &x, 3, 0.9, 1, NULL), WEIR_OK);
    void *scratch = weirp_aligned(suite->scratch_size(e), 1);
    suite->predict(e, &x, scratch, after, NULL);
    assert_true(fabs(after[3] - 0.9) < 0.5 * fabs(before - 0.9));
    free(scratch);
    while (e->n_models) assert_int_equal(suite->remove_model(e, 0, NULL), WEIR_OK);
    assert_int_equal(suite->add_model(e, NULL), WEIR_OK);
    double *q3 = ask(e, &w.sample, NULL);
    assert_int_equal(suite->update(e, &x, 0, 0.7, 1, NULL), WEIR_OK);
    free(q0), free(q1), free(q2), free(q3), free(sd0), free(sd1), free(sd2);
    suite->free(e);
    world_free(&w);
}

/* Learning row by row from some start ends near the fit on all rows. */
static void suite_learns_online(void **state) {
    (void)state;
    world w = world_new(1500, 4, 12, 0.2, 0.2, 0.3, 83, 0), test = world_new(300, 4, 12, 0.2, 0, 0, 83, 1000000);
    weirp_sample half = w.sample;
    half.n = 300;
    weirp_estimator *e = fitted(&half, suite_setting), *whole = fitted(&w.sample, suite_setting);
    double *before = ask(e, &test.sample, NULL);
    for (size_t i = 300; i < 1500; i++)
        for (size_t m = 0; m < 4; m++) learn(e, &w.sample, i, m);
    double *after = ask(e, &test.sample, NULL), *at_once = ask(whole, &test.sample, NULL);
    double was = mean_square(before, test.truth, 1200), is = mean_square(after, test.truth, 1200);
    double could = mean_square(at_once, test.truth, 1200);
    print_message("%s: squared error %.5f at 300 rows, %.5f after 1200 updates, %.5f fitted at once\n", suite->name,
                  was, is, could);
    assert_true(is < was);
    assert_true(is < 1.3 * could);
    free(before), free(after), free(at_once);
    suite->free(e);
    suite->free(whole);
    world_free(&w);
    world_free(&test);
}

/* From nothing at all. */
static void suite_learns_from_cold(void **state) {
    (void)state;
    world w = world_new(1500, 3, 12, 0.2, 0.2, 0, 84, 0), test = world_new(300, 3, 12, 0.2, 0, 0, 84, 1000000);
    weirp_sample none = w.sample;
    none.n = 0;
    weirp_estimator *e = fitted(&none, suite_setting);
    double *before = ask(e, &test.sample, NULL);
    for (size_t i = 0; i < 1500; i++)
        for (size_t m = 0; m < 3; m++) learn(e, &w.sample, i, m);
    double *after = ask(e, &test.sample, NULL);
    assert_true(mean_square(after, test.truth, 900) < 0.5 * mean_square(before, test.truth, 900));
    free(before), free(after);
    suite->free(e);
    world_free(&w);
    world_free(&test);
}

static void suite_round_trip(void **state) {
    (void)state;
    world w = world_new(300, 4, 10, 0.2, 0.2, 0.3, 91, 0);
    w.sample.lo = 0, w.sample.hi = 1;
    weirp_sample most = w.sample;
    most.n = 280;
    weirp_estimator *e = fitted(&most, suite_setting), *back = NULL;
    assert_int_equal(suite->add_model(e, NULL), WEIR_OK);
    for (size_t i = 280; i < 300; i++)
        for (size_t m = 0; m < 4; m++) learn(e, &w.sample, i, m);
    assert_int_equal(suite->remove_model(e, 0, NULL), WEIR_OK);
    weirp_writer bytes = {0};
    weirp_put_u32(&bytes, 42); /* it may begin anywhere */
    suite->save(e, &bytes);
    assert_false(bytes.failed);
    weirp_bytes r = {bytes.data, bytes.size, 4, false};
    weir_error err = {0};
    if (suite->load(&back, &r, &err) != WEIR_OK) fail_msg("load: %s", err.text);
    assert_int_equal(r.at, r.size);
    double *sda, *sdb, *qa = ask(e, &w.sample, &sda), *qb = ask(back, &w.sample, &sdb);
    assert_memory_equal(qa, qb, 300 * 4 * sizeof *qa);
    assert_memory_equal(sda, sdb, 300 * 4 * sizeof *qa);
    free(qa), free(qb), free(sda), free(sdb);
    /* and goes on learning as the other does */
    for (size_t i = 0; i < 40; i++) {
        weirp_features x = row_of(&w.sample, i);
        assert_int_equal(suite->update(e, &x, i % 4, 0.3, 1, NULL), WEIR_OK);
        assert_int_equal(suite->update(back, &x, i % 4, 0.3, 1, NULL), WEIR_OK);
    }
    qa = ask(e, &w.sample, NULL), qb = ask(back, &w.sample, NULL);
    assert_memory_equal(qa, qb, 300 * 4 * sizeof *qa);
    free(qa), free(qb);
    weirp_writer_free(&bytes);
    suite->free(e);
    suite->free(back);
    world_free(&w);
}

static uint64_t suite_checksum(const uint8_t *data, size_t n) {
    return XXH3_64bits(data, n);
}

/* Whatever it holds, it predicts and learns without a crash; its numbers may be anything. */
static void suite_exercise(weirp_estimator *e, const weirp_sample *s) {
    double q[16], sd[16];
    if (e->dim != s->dim || e->n_models > 16) return;
    for (int round = 0; round < 2; round++) {
        void *scratch = weirp_aligned(suite->scratch_size(e), 1);
        weirp_features x = row_of(s, 0);
        suite->predict(e, &x, scratch, q, sd);
        free(scratch);
        if (e->n_models && suite->update(e, &x, 0, 0.5, 1, NULL) != WEIR_OK) return;
    }
    if (suite->add_model(e, NULL) != WEIR_OK) return;
    (void)suite->remove_model(e, 0, NULL);
}

/* Every truncation and every flipped byte is an error; and behind a right checksum, none is a crash. */
static void suite_damage(void **state) {
    (void)state;
    world w = world_new(24, 3, 3, 0.2, 0.2, 0.2, 92, 0);
    weirp_estimator *e = fitted(&w.sample, suite_setting), *back = NULL;
    weirp_writer bytes = {0};
    suite->save(e, &bytes);
    assert_false(bytes.failed);
    for (size_t cut = 0; cut < bytes.size; cut++) {
        uint8_t *part = malloc(cut + 1); /* so that a sanitizer sees a read past the end */
        memcpy(part, bytes.data, cut);
        weirp_bytes r = {part, cut, 0, false};
        assert_int_not_equal(suite->load(&back, &r, NULL), WEIR_OK);
        free(part);
    }
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    size_t loaded = 0;
    for (size_t at = 0; at < bytes.size; at++)
        for (size_t k = 0; k < 3; k++) {
            bytes.data[at] ^= masks[k];
            weirp_bytes r = {bytes.data, bytes.size, 0, false};
            weir_error err = {0};
            assert_int_not_equal(suite->load(&back, &r, &err), WEIR_OK);
            assert_true(strlen(err.text) > 0);
            if (at + 8 < bytes.size) {
                uint64_t sum = suite_checksum(bytes.data, bytes.size - 8), was;
                memcpy(&was, bytes.data + bytes.size - 8, 8);
                memcpy(bytes.data + bytes.size - 8, &sum, 8);
                weirp_bytes again = {bytes.data, bytes.size, 0, false};
                if (suite->load(&back, &again, NULL) == WEIR_OK) {
                    suite_exercise(back, &w.sample);
                    suite->free(back);
                    loaded++;
                }
                memcpy(bytes.data + bytes.size - 8, &was, 8);
            }
            bytes.data[at] ^= masks[k];
        }
    assert_true(loaded > 0); /* a changed number is no damage that can be seen */
    weirp_writer_free(&bytes);
    suite->free(e);
    world_free(&w);
}

#define SUITE_TESTS                                                                                                    \
    cmocka_unit_test(suite_is_registered), cmocka_unit_test(suite_path_is_single_fits),                                \
        cmocka_unit_test(suite_ignores_test_targets), cmocka_unit_test(suite_is_deterministic),                        \
        cmocka_unit_test(suite_excess_falls), cmocka_unit_test(suite_noise_is_constant),                               \
        cmocka_unit_test(suite_constant_targets), cmocka_unit_test(suite_small_samples),                               \
        cmocka_unit_test(suite_refuses_nonsense), cmocka_unit_test(suite_sd_is_optional),                              \
        cmocka_unit_test(suite_unseen_model_borrows), cmocka_unit_test(suite_few_outcomes_borrow),                     \
        cmocka_unit_test(suite_sd_is_of_the_right_size), cmocka_unit_test(suite_add_and_remove_leave_others),          \
        cmocka_unit_test(suite_learns_online), cmocka_unit_test(suite_learns_from_cold),                               \
        cmocka_unit_test(suite_round_trip), cmocka_unit_test(suite_damage)

#endif

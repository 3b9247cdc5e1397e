/* Bayes: the recursive regression against the direct solution, forgetting against its closed form.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/bayes.h"
#include "src/base/base.h"

enum { DIM = 21, N_TEXT = 13, N = 300 };

static const weirp_bayes_prior prior = {.level = 0.16, .text = 0.0144, .scalar = 0.0025, .n_text = N_TEXT};

static double variance_of(size_t i) {
    return i == 0 ? 0.16 : i <= N_TEXT ? 0.0144 : 0.0025;
}

static void make_x(uint64_t row, double *x, size_t dim) {
    x[0] = 1;
    for (size_t i = 1; i < dim; i++) x[i] = 0.5 * weirp_random_normal(1, i, row);
}

static double noise_of(uint64_t row) {
    return 0.03 + 0.3 * weirp_random_uniform(2, 0, row);
}

static weirp_bayes make(size_t dim) {
    double *memory = weirp_array(weirp_bayes_size(dim), sizeof *memory);
    assert_non_null(memory);
    weirp_bayes b = weirp_bayes_at(memory, dim);
    weirp_bayes_reset(&b, &prior, 1);
    return b;
}

static void observe(const weirp_bayes *b, const double *x, double y, double noise) {
    double gain[DIM];
    double variance = weirp_bayes_gain(b, x, gain);
    weirp_bayes_learn(b, gain, variance, noise, y - weirp_bayes_predict(b, x));
}

static double variance_at(const weirp_bayes *b, const double *x) {
    double gain[DIM];
    return weirp_bayes_gain(b, x, gain);
}

/* w = A^-1 sum x y / noise, A = prior^-1 + sum x x' / noise: the normal equations, solved by LAPACK. */
static void equals_the_direct_solution(void **state) {
    (void)state;
    weirp_bayes b = make(DIM);
    double a[DIM * DIM] = {0}, w[DIM] = {0}, x[DIM];
    for (size_t i = 0; i < DIM; i++) a[i * DIM + i] = 1 / variance_of(i);
    for (uint64_t t = 0; t < N; t++) {
        make_x(t, x, DIM);
        double y = weirp_random_normal(3, 0, t), noise = noise_of(t);
        observe(&b, x, y, noise);
        for (size_t i = 0; i < DIM; i++) {
            w[i] += x[i] * y / noise;
            for (size_t j = 0; j < DIM; j++) a[i * DIM + j] += x[i] * x[j] / noise;
        }
    }
    assert_int_equal(LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', DIM, a, DIM), 0);
    assert_int_equal(LAPACKE_dpotrs(LAPACK_ROW_MAJOR, 'L', DIM, 1, a, DIM, w, 1), 0);
    for (size_t i = 0; i < DIM; i++) assert_true(fabs(b.mean[i] - w[i]) < 1e-8);
    for (uint64_t t = 0; t < 20; t++) {
        double v[DIM], direct = 0;
        make_x(1000 + t, x, DIM);
        memcpy(v, x, sizeof v);
        assert_int_equal(LAPACKE_dpotrs(LAPACK_ROW_MAJOR, 'L', DIM, 1, a, DIM, v, 1), 0);
        for (size_t i = 0; i < DIM; i++) direct += x[i] * v[i];
        assert_true(fabs(variance_at(&b, x) - direct) < 1e-8);
    }
    free(b.mean);
}

/* A level alone, observed every step with the same noise r, settles: before an observation p = a s + (1 - a) p0, after
 * it s = p r / (p + r). Eliminating p gives a s^2 + ((1 - a)(p0 + r)) s - (1 - a) p0 r = 0; from then on the mean is an
 * exponential average with gain s / r. */
static void forgetting_has_its_closed_form(void **state) {
    (void)state;
    const double a = 1 - 1.0 / 80, r = 0.2, p0 = prior.level;
    weirp_bayes b = make(1);
    const double x = 1;
    for (int t = 0; t < 5000; t++) {
        weirp_bayes_forget(&b, &prior, a);
        observe(&b, &x, 0.3, r);
    }
    double linear = (1 - a) * (p0 + r), constant = (1 - a) * p0 * r;
    double settled = (-linear + sqrt(linear * linear + 4 * a * constant)) / (2 * a);
    assert_true(fabs(b.cov[0] - settled) < 1e-12);
    assert_true(fabs(b.mean[0] - 0.3) < 1e-9);
    for (int t = 0; t < 10; t++) {
        weirp_bayes_forget(&b, &prior, a);
        observe(&b, &x, 1.3, r);
        assert_true(fabs(1.3 - b.mean[0] - pow(1 - settled / r, t + 1)) < 1e-9);
    }
    free(b.mean);
}

static void many_steps_of_forgetting_are_one(void **state) {
    (void)state;
    const double a = 1 - 1.0 / 400;
    weirp_bayes one = make(DIM), many = make(DIM);
    double x[DIM];
    for (uint64_t t = 0; t < 50; t++) {
        make_x(t, x, DIM);
        observe(&one, x, 0.1, 0.2);
        observe(&many, x, 0.1, 0.2);
    }
    double before = one.cov[0], wide = variance_at(&one, x);
    for (int i = 0; i < 37; i++) weirp_bayes_forget(&many, &prior, a);
    weirp_bayes_forget(&one, &prior, pow(a, 37));
    for (size_t i = 0; i < DIM * (DIM + 1) / 2; i++) assert_true(fabs(one.cov[i] - many.cov[i]) < 1e-12);
    assert_true(one.cov[0] > before && one.cov[0] < prior.level);
    assert_true(variance_at(&one, x) > wide);
    weirp_bayes_forget(&one, &prior, 0); /* the level as if never seen; the rest as it was */
    assert_true(one.cov[0] == prior.level);
    assert_true(one.cov[1] == 0);
    for (size_t i = 2; i < DIM * (DIM + 1) / 2; i++)
        if (one.cov[i] != many.cov[i]) {
            size_t row = (size_t)((sqrt(8.0 * (double)i + 1) - 1) / 2);
            assert_int_equal(i, row * (row + 1) / 2); /* only the first column */
        }
    free(one.mean);
    free(many.mean);
}

static void relaxing_goes_towards_the_prior(void **state) {
    (void)state;
    weirp_bayes b = make(DIM);
    double x[DIM], mean[DIM], before = 0, start;
    make_x(7, x, DIM);
    start = variance_at(&b, x);
    for (uint64_t t = 0; t < N; t++) {
        double row[DIM];
        make_x(t, row, DIM);
        observe(&b, row, 0.5, 0.2);
    }
    before = variance_at(&b, x);
    memcpy(mean, b.mean, sizeof mean);
    weirp_bayes_relax(&b, &prior, 0.5);
    assert_true(fabs(variance_at(&b, x) - (before + start) / 2) < 1e-12);
    assert_memory_equal(mean, b.mean, sizeof mean);
    weirp_bayes_relax(&b, &prior, 1);
    assert_true(fabs(variance_at(&b, x) - start) < 1e-12);
    free(b.mean);
}

/* Nearly without noise, on few directions, for long: rounding must leave a covariance. */
static void stays_sound(void **state) {
    (void)state;
    weirp_bayes b = make(DIM);
    double x[DIM], gain[DIM];
    for (uint64_t t = 0; t < 200000; t++) {
        make_x(t % 3, x, DIM);
        observe(&b, x, 1, 1e-6);
        if (t % 1000 == 0) weirp_bayes_forget(&b, &prior, 0.99);
    }
    assert_true(weirp_bayes_sound(&b));
    assert_true(fabs(weirp_bayes_predict(&b, x) - 1) < 1e-3);
    double variance = weirp_bayes_gain(&b, x, gain);
    assert_true(variance >= 0 && variance < 1e-5);
    b.cov[4] = NAN;
    assert_false(weirp_bayes_sound(&b));
    free(b.mean);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_direct_solution),
        cmocka_unit_test(forgetting_has_its_closed_form),
        cmocka_unit_test(many_steps_of_forgetting_are_one),
        cmocka_unit_test(relaxing_goes_towards_the_prior),
        cmocka_unit_test(stays_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

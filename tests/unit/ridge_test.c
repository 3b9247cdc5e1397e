/* Ridge: the direct LAPACK solution, recursive updates against refits, and what every estimator must do.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/estimator_suite.h"

#include <lapacke.h>

/* Least squares on a dense (rows, columns) system by QR; b is (rows), the solution in its first columns. */
static void qr_solve(double *a, double *b, size_t rows, size_t columns) {
    assert_int_equal(LAPACKE_dgels(LAPACK_ROW_MAJOR, 'N', (int)rows, (int)columns, 1, a, (int)columns, b, 1), 0);
}

/* With one model all is one regression: the estimator's theta solves the augmented least-squares system
 * [Z; sqrt(Lambda)] theta = [y; sqrt(Lambda) prior]. prior is read off a model without outcomes. */
static void is_the_augmented_system(void **state) {
    (void)state;
    enum { N = 90, D = 7, M = 3 };
    for (size_t setting = 0; setting < suite->n_settings; setting++) {
        world w = world_new(N, M, D, 0.3, 0.2, 0.35, 5, 0);
        for (size_t i = 0; i < N; i++) w.target[i * M + 2] = NAN; /* the unseen model predicts prior.z */
        weirp_estimator *e = fitted(&w.sample, setting);
        char text[64];
        suite->describe(setting, text, sizeof text);
        double alpha = strtod(strchr(text, '=') + 1, NULL);
        double centre[D] = {0}, rows = 0, prior[D + 1], *sd;
        for (size_t i = 0; i < N; i++) {
            if (isnan(w.target[i * M]) && isnan(w.target[i * M + 1])) continue;
            rows++;
            for (size_t j = 0; j < D; j++) centre[j] += w.dense[i * D + j];
        }
        for (size_t j = 0; j < D; j++) centre[j] /= rows;
        /* probes: the centre, and one step along each axis */
        world probe = world_new(D + 1, M, D, 0, 0, 0, 6, 0);
        for (size_t i = 0; i <= D; i++)
            for (size_t j = 0; j < D; j++) probe.dense[i * D + j] = (float)centre[j] + (i == j + 1 ? 1 : 0);
        double *q = ask(e, &probe.sample, &sd);
        double at_centre = q[2], base[D + 1];
        for (size_t j = 0; j < D; j++) prior[j] = q[(j + 1) * M + 2] - at_centre;
        prior[D] = at_centre;
        for (size_t i = 0; i <= D; i++) base[i] = q[i * M];
        /* kappa by moments, as levels.h says */
        double n[2] = {0}, sum[2] = {0}, square[2] = {0};
        for (size_t i = 0; i < N; i++)
            for (size_t m = 0; m < 2; m++) {
                double y = w.target[i * M + m];
                if (isnan(y)) continue;
                n[m]++, sum[m] += y, square[m] += y * y;
            }
        double all = n[0] + n[1], mean = (sum[0] + sum[1]) / all, within = 0, between = 0;
        for (size_t m = 0; m < 2; m++) {
            within += (square[m] - sum[m] * sum[m] / n[m]) / (all - 2);
            between += n[m] * pow(sum[m] / n[m] - mean, 2);
        }
        between = (between - within) / (all - (n[0] * n[0] + n[1] * n[1]) / all);
        double kappa = between > within / 50 ? fmax(0.5, within / between) : 50;
        double share[2] = {n[0] / (n[0] + kappa), n[1] / (n[1] + kappa)};
        double pool = (share[0] * sum[0] / n[0] + share[1] * sum[1] / n[1]) / (share[0] + share[1]);
        assert_true(fabs(pool - at_centre) < 1e-6); /* the probe's centre is rounded to floats */
        /* model 0 by QR */
        double a[(N + D + 1) * (D + 1)] = {0}, b[N + D + 1] = {0};
        size_t k = 0;
        for (size_t i = 0; i < N; i++) {
            if (isnan(w.target[i * M])) continue;
            for (size_t j = 0; j < D; j++) a[k * (D + 1) + j] = w.dense[i * D + j] - centre[j];
            a[k * (D + 1) + D] = 1;
            b[k++] = w.target[i * M];
        }
        for (size_t j = 0; j <= D; j++, k++) {
            double root = sqrt(j < D ? alpha : kappa);
            a[k * (D + 1) + j] = root;
            b[k] = root * prior[j];
        }
        qr_solve(a, b, k, D + 1);
        for (size_t i = 0; i <= D; i++) {
            double direct = b[D];
            for (size_t j = 0; j < D; j++) direct += b[j] * (probe.dense[i * D + j] - centre[j]);
            assert_true(fabs(direct - base[i]) < 1e-6);
        }
        free(q);
        free(sd);
        suite->free(e);
        world_free(&w);
        world_free(&probe);
    }
}

/* Update by update, q is a refit's to 1e-8 and sd to what floats hold: bandit order, models that see other rows. */
static void updates_are_refits(void **state) {
    (void)state;
    enum { M = 5, N = 400, FIRST = 150 };
    for (int full = 0; full < 2; full++) {
        world w = world_new(N, M, 20, 0.2, 0.2, full ? 0 : 0.5, 6, 0);
        weirp_sample first = w.sample;
        first.n = FIRST;
        weirp_estimator *e = fitted(&first, suite_setting), *refit = NULL;
        for (size_t i = FIRST; i < N; i++)
            for (size_t m = 0; m < M; m++) learn(e, &w.sample, i, m);
        assert_int_equal(weirp_ridge_refit(&refit, e, &w.sample, NULL), WEIR_OK);
        double *sda, *sdb, *qa = ask(e, &w.sample, &sda), *qb = ask(refit, &w.sample, &sdb);
        double dq = largest_difference(qa, qb, N * M), dsd = largest_difference(sda, sdb, N * M);
        print_message("ridge: %s updates against a refit: q %.1e, sd %.1e\n", full ? "full" : "partial", dq, dsd);
        assert_true(dq < 1e-8);
        assert_true(dsd < 1e-6);
        free(qa), free(qb), free(sda), free(sdb);
        suite->free(e);
        suite->free(refit);
        world_free(&w);
    }
}

/* Weight 2 is the row twice. */
static void weight_is_repetition(void **state) {
    (void)state;
    world w = world_new(60, 2, 9, 0.2, 0.2, 0, 8, 0);
    weirp_estimator *a = fitted(&w.sample, suite_setting), *b = fitted(&w.sample, suite_setting);
    for (size_t i = 0; i < 5; i++) {
        weirp_features x = row_of(&w.sample, i);
        assert_int_equal(suite->update(a, &x, 1, 0.1, 2, NULL), WEIR_OK);
        assert_int_equal(suite->update(b, &x, 1, 0.1, 1, NULL), WEIR_OK);
        assert_int_equal(suite->update(b, &x, 1, 0.1, 1, NULL), WEIR_OK);
    }
    double *qa = ask(a, &w.sample, NULL), *qb = ask(b, &w.sample, NULL);
    assert_true(largest_difference(qa, qb, 120) < 1e-10);
    free(qa), free(qb);
    suite->free(a);
    suite->free(b);
    world_free(&w);
}

/* The standard error is one: (truth - q) / sd has a spread near 1 where the prior holds, and falls as 1/sqrt(n). */
static void sd_is_a_standard_error(void **state) {
    (void)state;
    enum { D = 10, M = 4 };
    double ratio[2] = {0}, mean_sd[2] = {0};
    for (int large = 0; large < 2; large++) {
        size_t n = large ? 4000 : 250;
        for (uint64_t seed = 0; seed < 6; seed++) {
            world w = world_new(n, M, D, 0, 0.3, 0, 500 + seed, 0),
                  t = world_new(200, M, D, 0, 0, 0, 500 + seed, 1000000);
            /* deviations with prior variance sigma2 / alpha, alpha = 30 (setting 2) */
            double beta[M][D];
            for (size_t m = 0; m < M; m++)
                for (size_t j = 0; j < D; j++) beta[m][j] = 0.3 / sqrt(30) * weirp_random_normal(seed, 900 + m, j);
            for (size_t k = 0; k < 2; k++) {
                world *x = k ? &t : &w;
                for (size_t i = 0; i < x->sample.n; i++)
                    for (size_t m = 0; m < M; m++)
                        for (size_t j = 0; j < D; j++) {
                            x->target[i * M + m] += beta[m][j] * x->dense[i * D + j];
                            x->truth[i * M + m] += beta[m][j] * x->dense[i * D + j];
                        }
            }
            weirp_estimator *e = fitted(&w.sample, 2);
            double *sd, *q = ask(e, &t.sample, &sd);
            for (size_t i = 0; i < 200 * M; i++) {
                ratio[large] += pow((q[i] - t.truth[i]) / sd[i], 2) / (6 * 200 * M);
                mean_sd[large] += sd[i] / (6 * 200 * M);
            }
            free(q), free(sd);
            suite->free(e);
            world_free(&w);
            world_free(&t);
        }
    }
    print_message("ridge: mean squared (truth - q)/sd: %.2f at 250 rows, %.2f at 4000; sd %.4f, %.4f\n", ratio[0],
                  ratio[1], mean_sd[0], mean_sd[1]);
    for (int k = 0; k < 2; k++) assert_true(ratio[k] > 0.5 && ratio[k] < 1.6);
    assert_true(mean_sd[1] < 0.5 * mean_sd[0]);
}

/* The triangle kernels against plain loops, at sizes around the lanes. */
static void triangles_multiply(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 15, 16, 17, 31, 33, 64, 111};
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
        size_t n = sizes[c], p = weirp_padded(n);
        double *full = weirp_array(n * n, sizeof *full), *tri = weirp_aligned(weirp_tri_size(n), sizeof *tri);
        double *x = weirp_aligned(p, sizeof *x), *y = weirp_aligned(p, sizeof *y);
        float *quad = weirp_aligned(weirp_tri_size(n), sizeof *quad), *f = weirp_aligned(p, sizeof *f);
        for (size_t i = 0; i < n; i++) {
            x[i] = weirp_random_normal(1, 1, i);
            f[i] = (float)x[i];
            for (size_t j = i; j < n; j++) full[i * n + j] = full[j * n + i] = weirp_random_normal(1, 2, i * n + j);
        }
        weirp_tri_pack(tri, full, n);
        for (int round = 0; round < 2; round++) {
            double form = 0;
            weirp_tri_mul(tri, n, x, y);
            for (size_t i = 0; i < n; i++) {
                double direct = 0;
                for (size_t j = 0; j < n; j++) direct += full[i * n + j] * x[j];
                assert_true(fabs(direct - y[i]) < 1e-10);
                form += direct * x[i];
                assert_true(weirp_tri_diagonal(tri, n, i) == full[i * n + i]);
            }
            weirp_tri_quad_from(quad, tri, n);
            assert_true(fabs(weirp_tri_quad(quad, n, f) - form) < 1e-3 * (1 + fabs(form)));
            weirp_tri_rank1(tri, n, 0.25, x);
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) full[i * n + j] += 0.25 * x[i] * x[j];
        }
        free(full), free(tri), free(x), free(y), free(quad), free(f);
    }
}

int main(void) {
    suite = &weirp_ridge_class;
    suite_setting = 3;
    const struct CMUnitTest tests[] = {
        SUITE_TESTS,
        cmocka_unit_test(triangles_multiply),
        cmocka_unit_test(is_the_augmented_system),
        cmocka_unit_test(updates_are_refits),
        cmocka_unit_test(weight_is_repetition),
        cmocka_unit_test(sd_is_a_standard_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* path.c: many penalties over the same sums. A penalty costs one Cholesky factorisation a group of models. (One
 * eigendecomposition for all of them, possible where intercepts decouple, costs as much as ten of these.)
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/path.h"

#include <stdlib.h>
#include <string.h>

#include <cblas.h>

enum { BLOCK = 512 };

weir_status weirp_ridge_path_new(weirp_ridge_path *t, const weirp_sample *train, const weirp_sample *test,
                                 weir_error *err) {
    memset(t, 0, sizeof *t);
    weir_status st = weirp_sample_check(train, err);
    if (st != WEIR_OK) return st;
    if (test && (test->dim != train->dim || test->n_models != train->n_models))
        return weirp_fail(err, WEIR_INVALID, 0, "test rows are of another kind than the training rows");
    WEIRP_TRY(weirp_levels_fit(&t->levels, train, NULL, err));
    WEIRP_TRY(weirp_gram_new(&t->gram, train, t->levels.offset, NULL, err));
    WEIRP_TRY(weirp_shared_fit(&t->shared, train, &t->gram, &t->levels, NULL, err));
done:
    if (st != WEIR_OK) weirp_ridge_path_free(t);
    return st;
}

void weirp_ridge_path_free(weirp_ridge_path *t) {
    weirp_levels_free(&t->levels);
    weirp_gram_free(&t->gram);
    weirp_shared_free(&t->shared);
}

/* One group: a (d, d) and b (d, its models) are work. */
static weir_status solve_group(const weirp_ridge_path *t, size_t k, double alpha, double *a, double *b, double *theta,
                               weir_error *err) {
    const weirp_gram *g = &t->gram;
    size_t d = g->d, models = g->n_models, size = g->size[k], column = 0;
    memcpy(a, g->a + k * d * d, d * d * sizeof *a);
    for (size_t j = 0; j < d; j++) a[j * d + j] += j + 1 < d ? alpha : t->levels.kappa;
    for (size_t m = 0; m < models; m++) {
        if (g->group[m] != k) continue;
        const double *s = g->s + m * d;
        for (size_t j = 0; j + 1 < d; j++) b[j * size + column] = s[j] + alpha * t->shared.w[j];
        b[(d - 1) * size + column++] = s[d - 1] + t->levels.kappa * t->levels.pool;
    }
    weir_status st = weirp_solve_spd(a, d, b, size, err);
    column = 0;
    for (size_t m = 0; m < models; m++) {
        if (g->group[m] != k) continue;
        for (size_t j = 0; j < d; j++) theta[j * models + m] = b[j * size + column];
        column++;
    }
    return st;
}

weir_status weirp_ridge_path_solve(const weirp_ridge_path *t, double alpha, double *theta, weir_error *err) {
    size_t d = t->gram.d;
    double *a = weirp_array(d * d, sizeof *a), *b = weirp_array(d * t->gram.n_models, sizeof *b);
    weir_status st = a && b ? WEIR_OK : weirp_nomem(err);
    for (size_t k = 0; k < t->gram.n_groups && st == WEIR_OK; k++) st = solve_group(t, k, alpha, a, b, theta, err);
    free(a);
    free(b);
    return st;
}

weir_status weirp_ridge_path_predict(const weirp_ridge_path *t, const weirp_sample *test, const double *theta,
                                     double *predicted, weir_error *err) {
    size_t d = t->gram.d, models = test->n_models;
    double *z = weirp_array(BLOCK * d, sizeof *z);
    if (!z) return weirp_nomem(err);
    for (size_t i = 0; i < test->n && models; i += BLOCK) {
        size_t n = test->n - i < BLOCK ? test->n - i : BLOCK;
        weirp_gram_rows(test->dense + i * test->dim, n, test->dim, t->gram.centre, z);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)models, (int)d, 1, z, (int)d, theta,
                    (int)models, 0, predicted + i * models, (int)models);
    }
    for (size_t k = 0; k < test->n * models; k++) predicted[k] = weirp_levels_clip(&t->levels, predicted[k]);
    free(z);
    return WEIR_OK;
}

/* lowrank.c: "lowrank": models' factors times features: reduced-rank regression, recursive in the factors.
 *
 * Model m's expectation is f.theta_m with factors f = (x'.w, x'.U, 1), x' = x - centre: how hard the prompt is for all
 * (shared.h), r directions in which models differ, and one. This is RouteLLM's matrix factorisation (arXiv 2406.18665,
 * section 4.2) with a linear map of features in place of a learned embedding, and N models in place of two.
 *
 * U comes from the hierarchical ridge solutions (ridge.c) at penalty alpha: the r directions that hold most of what
 * models' deviations from w predict (Izenman, Journal of Multivariate Analysis 5(2), 1975), each scaled to unit
 * variance. Then theta_m = argmin sum (y - f.theta)^2 + alpha |w (c - 1) + U a|^2 + kappa (b - pool)^2, theta = (c, a,
 * b): the same penalty on the same weights, kept to these directions. So a model without outcomes has theta = (1, 0,
 * pool), and one with few is pulled towards that; as only r + 2 numbers are its own, a few tell much. Settings: r and
 * alpha.
 *
 * sd^2 = sigma2_m f'P_m f, P_m the inverse of m's sum of f f' and penalty; sigma2_m as in ridge.c.
 * Update is exact for theta (Sherman and Morrison) with w, U, alpha and kappa as they were fitted.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "estimators/classes.h"
#include "estimators/kernels.h"
#include "estimators/path.h"

enum { VERSION = 1, MAX_RANK = 16, MAX_WIDTH = MAX_RANK + 2, MAX_BASIS = 512 };

static const size_t ranks[] = {1, 2, 4};
static const double alphas[] = {3, 10, 30, 100, 300};
#define N_RANKS  (sizeof ranks / sizeof *ranks)
#define N_ALPHAS (sizeof alphas / sizeof *alphas)

typedef struct lowrank {
    weirp_estimator base;
    weirp_levels levels;
    size_t d, p;     /* dim + 1, padded */
    size_t width;    /* r + 2 */
    double variance; /* residual, all models */
    double *centre;  /* (dim) */
    double *factor;  /* (width, p) rows that map (x', 1) to f */
    double *penalty; /* (width, width) but for kappa, which is levels' */
    double *inverse; /* (n_models, width, width) P_m */
    double *s;       /* (n_models, width) sum of f (target - offset) */
    double *theta;   /* (n_models, width) */
    double *sigma2;  /* (n_models) */
} lowrank;

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "rank=%zu alpha=%g", ranks[setting % N_RANKS], alphas[setting / N_RANKS]);
}

static void lowrank_free(weirp_estimator *self) {
    lowrank *r = (lowrank *)self;
    if (!r) return;
    weirp_levels_free(&r->levels);
    free(r->centre);
    free(r->factor);
    free(r->penalty);
    free(r->inverse);
    free(r->s);
    free(r->theta);
    free(r->sigma2);
    free(r);
}

static bool make(lowrank *r, size_t n_models, size_t dim, size_t width) {
    size_t cells = width * width;
    r->base = (weirp_estimator){&weirp_lowrank_class, n_models, dim};
    r->d = dim + 1;
    r->p = weirp_padded(r->d);
    r->width = width;
    r->centre = weirp_array(dim, sizeof(double));
    r->factor = weirp_aligned(width * r->p, sizeof(double));
    r->penalty = weirp_array(cells, sizeof(double));
    r->inverse = weirp_array(n_models * cells, sizeof(double));
    r->s = weirp_array(n_models * width, sizeof(double));
    r->theta = weirp_array(n_models * width, sizeof(double));
    r->sigma2 = weirp_array(n_models, sizeof(double));
    return r->centre && r->factor && r->penalty && r->inverse && r->s && r->theta && r->sigma2;
}

/* ---- the directions ---- */

typedef struct basis {
    size_t n;       /* models that it is made of: those with most outcomes */
    size_t *model;  /* (n) */
    double *delta;  /* (dim, n) their weights less the shared ones */
    double *vector; /* (n, n) columns: eigenvectors, ascending */
    double *value;  /* (n) of delta' (scatter + alpha) delta */
} basis;

static void basis_free(basis *b) {
    free(b->model);
    free(b->delta);
    free(b->vector);
    free(b->value);
    memset(b, 0, sizeof *b); /* who asked for it frees it, too */
}

/* The models with most outcomes, at most MAX_BASIS. */
static void choose_models(basis *b, const weirp_levels *l) {
    for (size_t m = 0; m < l->n_models; m++) {
        size_t at = b->n < MAX_BASIS ? b->n++ : b->n - 1;
        if (b->n == MAX_BASIS && at == b->n - 1 && m >= MAX_BASIS && l->count[m] <= l->count[b->model[at]]) continue;
        while (at > 0 && l->count[b->model[at - 1]] < l->count[m]) b->model[at] = b->model[at - 1], at--;
        b->model[at] = m;
    }
}

/* theta: (d, n_models) ridge solutions at alpha. */
static weir_status basis_new(basis *b, const weirp_ridge_path *t, double alpha, const double *theta, weir_error *err) {
    memset(b, 0, sizeof *b);
    size_t models = t->gram.n_models, dim = t->gram.d - 1, d = t->gram.d;
    size_t most = models < MAX_BASIS ? models : MAX_BASIS;
    b->model = weirp_array(most + 1, sizeof *b->model);
    b->delta = weirp_array(dim * most, sizeof(double));
    b->vector = weirp_array(most * most, sizeof(double));
    b->value = weirp_array(most, sizeof(double));
    double *scatter = weirp_array(dim * dim, sizeof *scatter), *image = weirp_array(dim * most, sizeof *image);
    weir_status st = WEIR_OK;
    if (!b->model || !b->delta || !b->vector || !b->value || !scatter || !image) WEIRP_TRY(weirp_nomem(err));
    choose_models(b, &t->levels);
    size_t n = b->n;
    for (size_t j = 0; j < dim; j++)
        for (size_t k = 0; k < n; k++) b->delta[j * n + k] = theta[j * models + b->model[k]] - t->shared.w[j];
    double share = models ? 1 / (double)models : 0;
    for (size_t k = 0; k < t->gram.n_groups; k++) /* the scatter an average model has seen */
        for (size_t i = 0; i < dim; i++)
            for (size_t j = 0; j < dim; j++)
                scatter[i * dim + j] += share * (double)t->gram.size[k] * t->gram.a[k * d * d + i * d + j];
    for (size_t j = 0; j < dim; j++) scatter[j * dim + j] += alpha;
    if (dim && n) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)dim, (int)n, (int)dim, 1, scatter, (int)dim,
                    b->delta, (int)n, 0, image, (int)n);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)n, (int)dim, 1, b->delta, (int)n, image,
                    (int)n, 0, b->vector, (int)n);
        WEIRP_TRY(weirp_eigh(b->vector, n, b->value, err));
    }
done:
    free(scatter);
    free(image);
    if (st != WEIR_OK) basis_free(b);
    return st;
}

/* The rows that make f of (x', 1), and the penalty on the weights they stand for. */
static void make_factors(lowrank *r, const weirp_ridge_path *t, const basis *b, double alpha) {
    size_t dim = r->d - 1, p = r->p, width = r->width;
    memcpy(r->factor, t->shared.w, dim * sizeof(double));
    for (size_t k = 0; k + 2 < width && k < b->n; k++) {
        size_t at = b->n - 1 - k;
        double value = b->value[at], *row = r->factor + (k + 1) * p;
        if (!(value > 0) || !(value > 1e-12 * b->value[b->n - 1])) continue;
        double scale = sqrt((double)t->gram.n_rows / value);
        for (size_t j = 0; j < dim; j++)
            for (size_t m = 0; m < b->n; m++) row[j] += scale * b->delta[j * b->n + m] * b->vector[m * b->n + at];
    }
    r->factor[(width - 1) * p + dim] = 1;
    double trace = 0;
    for (size_t i = 0; i + 1 < width; i++)
        for (size_t k = 0; k + 1 < width; k++) {
            double sum = 0;
            for (size_t j = 0; j < dim; j++) sum += r->factor[i * p + j] * r->factor[k * p + j];
            r->penalty[i * width + k] = alpha * sum;
            if (i == k) trace += alpha * sum;
        }
    /* directions that are nearly dependent, or empty, must not make it singular */
    for (size_t i = 0; i + 1 < width; i++)
        r->penalty[i * width + i] += 1e-9 * trace + (r->penalty[i * width + i] > 0 ? 0 : 1);
}

/* ---- the models ---- */

static double penalty(const lowrank *r, size_t i, size_t k) {
    return r->penalty[i * r->width + k] + (i == k && i + 1 == r->width ? r->levels.kappa : 0);
}

static double prior(const lowrank *r, size_t i) {
    return i == 0 ? 1 : i + 1 == r->width ? r->levels.pool : 0;
}

/* theta of all models, and their residual variances (the identities are ridge.c's). */
static void settle(lowrank *r) {
    size_t w = r->width, models = r->base.n_models;
    double pull[MAX_WIDTH] = {0}, all = 0, all_freedom = 0;
    for (size_t i = 0; i < w; i++)
        for (size_t k = 0; k < w; k++) pull[i] += penalty(r, i, k) * prior(r, k);
    for (int round = 0; round < 2; round++) {
        for (size_t m = 0; m < models; m++) {
            const double *inverse = r->inverse + m * w * w, *s = r->s + m * w;
            double *theta = r->theta + m * w;
            for (size_t i = 0; i < w && !round; i++) {
                theta[i] = 0;
                for (size_t k = 0; k < w; k++) theta[i] += inverse[i * w + k] * (s[k] + pull[k]);
            }
            double squares = r->levels.square[m], freedom = r->levels.count[m] - (double)w;
            for (size_t i = 0; i < w; i++) {
                squares -= theta[i] * s[i];
                for (size_t k = 0; k < w; k++) {
                    squares += theta[i] * penalty(r, i, k) * (prior(r, k) - theta[k]);
                    freedom += penalty(r, i, k) * inverse[k * w + i];
                }
            }
            if (!round && freedom > 0 && squares > 0) all += squares, all_freedom += freedom;
            if (round) r->sigma2[m] = weirp_shrunk_variance(squares, freedom, r->variance);
        }
        if (!round) r->variance = weirp_shrunk_variance(all, all_freedom, r->levels.variance);
    }
}

/* P of one group into the models of that group. a: (d, d) of the group; work: (d + 2 width) * width numbers. */
static weir_status invert_group(lowrank *r, const double *a, double *out, double *work, weir_error *err) {
    size_t w = r->width, d = r->d;
    double *image = work, *sum = image + w * d; /* (w, d), (w, w) */
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)w, (int)d, (int)d, 1, r->factor, (int)r->p, a, (int)d,
                0, image, (int)d);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)w, (int)w, (int)d, 1, image, (int)d, r->factor, (int)r->p,
                0, sum, (int)w);
    for (size_t i = 0; i < w; i++)
        for (size_t k = 0; k < w; k++) {
            sum[i * w + k] += penalty(r, i, k);
            out[i * w + k] = i == k;
        }
    return weirp_solve_spd(sum, w, out, w, err);
}

/* All from sums over rows: factors are linear in features. */
static weir_status fill_models(lowrank *r, const weirp_gram *g, weir_error *err) {
    size_t w = r->width, d = r->d;
    double *work = weirp_array((d + w) * w, sizeof *work);
    weir_status st = work ? WEIR_OK : weirp_nomem(err);
    for (size_t k = 0; k < g->n_groups && st == WEIR_OK; k++) {
        size_t first = SIZE_MAX;
        for (size_t m = 0; m < g->n_models && st == WEIR_OK; m++) {
            if (g->group[m] != k) continue;
            double *inverse = r->inverse + m * w * w;
            if (first == SIZE_MAX)
                st = invert_group(r, g->a + k * d * d, inverse, work, err);
            else
                memcpy(inverse, r->inverse + first * w * w, w * w * sizeof(double));
            if (first == SIZE_MAX) first = m;
            for (size_t i = 0; i < w; i++)
                for (size_t j = 0; j < d; j++) r->s[m * w + i] += r->factor[i * r->p + j] * g->s[m * d + j];
        }
    }
    free(work);
    if (st == WEIR_OK) settle(r);
    return st;
}

/* r is new; it takes the path's levels over. */
static weir_status from_path(lowrank **out, weirp_ridge_path *t, const basis *b, size_t rank, double alpha,
                             weir_error *err) {
    size_t dim = t->gram.d - 1;
    lowrank *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    if (!make(r, t->gram.n_models, dim, rank + 2)) WEIRP_TRY(weirp_nomem(err));
    r->levels = t->levels;
    memset(&t->levels, 0, sizeof t->levels);
    memcpy(r->centre, t->gram.centre, dim * sizeof(double));
    make_factors(r, t, b, alpha);
    WEIRP_TRY(fill_models(r, &t->gram, err));
    *out = r;
done:
    if (st != WEIR_OK) lowrank_free(&r->base);
    return st;
}

static weir_status lowrank_fit(weirp_estimator **out, const weirp_sample *s, size_t setting, weir_error *err) {
    if (setting >= N_RANKS * N_ALPHAS) return weirp_fail(err, WEIR_INVALID, 0, "lowrank has no setting %zu", setting);
    double alpha = alphas[setting / N_RANKS];
    weirp_ridge_path t = {0};
    basis b = {0};
    lowrank *r = NULL;
    double *theta = weirp_array((s->dim + 1) * s->n_models, sizeof *theta);
    weir_status st = theta ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_ridge_path_new(&t, s, NULL, err);
    if (st == WEIR_OK) st = weirp_ridge_path_solve(&t, alpha, theta, err);
    if (st == WEIR_OK) st = basis_new(&b, &t, alpha, theta, err);
    if (st == WEIR_OK) st = from_path(&r, &t, &b, ranks[setting % N_RANKS], alpha, err);
    if (st == WEIR_OK) *out = &r->base;
    basis_free(&b);
    weirp_ridge_path_free(&t);
    free(theta);
    return st;
}

weir_status weirp_lowrank_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *s,
                                weir_error *err) {
    const lowrank *from = (const lowrank *)like;
    weir_status st = weirp_sample_check(s, err);
    if (st != WEIR_OK) return st;
    if (like->dim != s->dim)
        return weirp_fail(err, WEIR_INVALID, 0, "%zu features where %zu are expected", s->dim, like->dim);
    weirp_gram g = {0};
    lowrank *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    if (!make(r, s->n_models, s->dim, from->width)) WEIRP_TRY(weirp_nomem(err));
    memcpy(r->centre, from->centre, s->dim * sizeof(double));
    memcpy(r->factor, from->factor, r->width * r->p * sizeof(double));
    memcpy(r->penalty, from->penalty, r->width * r->width * sizeof(double));
    WEIRP_TRY(weirp_levels_fit(&r->levels, s, &from->levels, err));
    WEIRP_TRY(weirp_gram_new(&g, s, r->levels.offset, r->centre, err));
    WEIRP_TRY(fill_models(r, &g, err));
    *out = &r->base;
done:
    weirp_gram_free(&g);
    if (st != WEIR_OK) lowrank_free(&r->base);
    return st;
}

/* Coefficients of (x', 1): theta (d, n_models) of all models. */
static void expand(const lowrank *r, double *theta) {
    size_t models = r->base.n_models;
    for (size_t j = 0; j < r->d; j++)
        for (size_t m = 0; m < models; m++) {
            double sum = 0;
            for (size_t i = 0; i < r->width; i++) sum += r->factor[i * r->p + j] * r->theta[m * r->width + i];
            theta[j * models + m] = sum;
        }
}

static weir_status lowrank_fit_predict(const weirp_sample *train, const weirp_sample *test, double *predicted,
                                       weir_error *err) {
    weir_status st = WEIR_OK;
    size_t models = train->n_models;
    weirp_ridge_path t = {0};
    basis b = {0};
    double *theta = weirp_array((train->dim + 1) * models, sizeof *theta);
    if (!theta) return weirp_nomem(err);
    WEIRP_TRY(weirp_ridge_path_new(&t, train, test, err));
    for (size_t a = 0; a < N_ALPHAS; a++) {
        WEIRP_TRY(weirp_ridge_path_solve(&t, alphas[a], theta, err));
        WEIRP_TRY(basis_new(&b, &t, alphas[a], theta, err));
        for (size_t k = 0; k < N_RANKS; k++) {
            lowrank *r = NULL;
            WEIRP_TRY(from_path(&r, &t, &b, ranks[k], alphas[a], err));
            expand(r, theta);
            t.levels = r->levels; /* back where it came from */
            memset(&r->levels, 0, sizeof r->levels);
            lowrank_free(&r->base);
            WEIRP_TRY(weirp_ridge_path_predict(&t, test, theta, predicted + (a * N_RANKS + k) * test->n * models, err));
        }
        basis_free(&b);
    }
done:
    basis_free(&b);
    weirp_ridge_path_free(&t);
    free(theta);
    return st;
}

/* ---- predicting and learning ---- */

static size_t lowrank_scratch_size(const weirp_estimator *self) {
    return ((const lowrank *)self)->p * sizeof(double);
}

/* f of a prompt; z: (p) work. */
static void make_f(const lowrank *r, const weirp_features *x, double *z, double *f) {
    size_t dim = r->d - 1;
    memset(z + r->d, 0, (r->p - r->d) * sizeof *z);
    for (size_t j = 0; j < dim; j++) z[j] = (double)x->dense[j] - r->centre[j];
    z[dim] = 1;
    weirp_rows_dot(r->factor, r->width, r->p, z, f);
}

static void lowrank_predict(const weirp_estimator *self, const weirp_features *x, void *scratch, double *q,
                            double *sd) {
    const lowrank *r = (const lowrank *)self;
    size_t w = r->width;
    double f[MAX_WIDTH];
    make_f(r, x, scratch, f);
    for (size_t m = 0; m < self->n_models; m++) {
        double sum = 0;
        for (size_t i = 0; i < w; i++) sum += r->theta[m * w + i] * f[i];
        q[m] = weirp_levels_clip(&r->levels, sum);
    }
    for (size_t m = 0; sd && m < self->n_models; m++) {
        const double *inverse = r->inverse + m * w * w;
        double v = 0;
        for (size_t i = 0; i < w; i++) {
            double sum = 0;
            for (size_t k = 0; k < w; k++) sum += inverse[i * w + k] * f[k];
            v += f[i] * sum;
        }
        sd[m] = sqrt(r->sigma2[m] * (v > 0 ? v : 0));
    }
}

static weir_status lowrank_update(weirp_estimator *self, const weirp_features *x, size_t model, double target,
                                  double weight, weir_error *err) {
    lowrank *r = (lowrank *)self;
    weir_status st = weirp_update_check(self, x, model, target, weight, err);
    if (st != WEIR_OK) return st;
    size_t w = r->width;
    double f[MAX_WIDTH], u[MAX_WIDTH], fu = 0, *z = weirp_aligned(r->p, sizeof *z);
    if (!z) return weirp_nomem(err);
    make_f(r, x, z, f);
    free(z);
    double *inverse = r->inverse + model * w * w, y = target - r->levels.offset;
    for (size_t i = 0; i < w; i++) {
        u[i] = 0;
        for (size_t k = 0; k < w; k++) u[i] += inverse[i * w + k] * f[k];
        fu += f[i] * u[i];
    }
    double scale = weight / (1 + weight * fu);
    for (size_t i = 0; i < w; i++) {
        r->s[model * w + i] += weight * y * f[i];
        for (size_t k = 0; k < w; k++) inverse[i * w + k] -= scale * (u[i] * u[k]);
    }
    weirp_levels_add(&r->levels, model, target, weight);
    settle(r);
    return WEIR_OK;
}

static weir_status lowrank_add_model(weirp_estimator *self, weir_error *err) {
    lowrank *r = (lowrank *)self;
    size_t n = self->n_models, w = r->width;
    double sum[MAX_WIDTH * MAX_WIDTH], start[MAX_WIDTH * MAX_WIDTH];
    for (size_t i = 0; i < w; i++)
        for (size_t k = 0; k < w; k++) {
            sum[i * w + k] = penalty(r, i, k);
            start[i * w + k] = i == k;
        }
    weir_status st = weirp_solve_spd(sum, w, start, w, err);
    if (st != WEIR_OK) return st;
    if (!weirp_append_zero((void **)&r->inverse, n, w * w * sizeof(double)) ||
        !weirp_append_zero((void **)&r->s, n, w * sizeof(double)) ||
        !weirp_append_zero((void **)&r->theta, n, w * sizeof(double)) ||
        !weirp_append_zero((void **)&r->sigma2, n, sizeof(double)))
        return weirp_nomem(err);
    if ((st = weirp_levels_add_model(&r->levels, err)) != WEIR_OK) return st;
    memcpy(r->inverse + n * w * w, start, w * w * sizeof(double));
    for (size_t i = 0; i < w; i++) r->theta[n * w + i] = prior(r, i);
    r->sigma2[n] = r->variance;
    self->n_models = n + 1;
    return WEIR_OK;
}

static weir_status lowrank_remove_model(weirp_estimator *self, size_t index, weir_error *err) {
    lowrank *r = (lowrank *)self;
    size_t n = self->n_models, w = r->width;
    if (index >= n) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", index);
    weirp_levels_remove_model(&r->levels, index);
    weirp_take_out(r->inverse, n, index, w * w * sizeof(double));
    weirp_take_out(r->s, n, index, w * sizeof(double));
    weirp_take_out(r->theta, n, index, w * sizeof(double));
    weirp_take_out(r->sigma2, n, index, sizeof(double));
    self->n_models--;
    return WEIR_OK;
}

/* ---- storing ---- */

static void lowrank_save(const weirp_estimator *self, weirp_writer *b) {
    const lowrank *r = (const lowrank *)self;
    size_t n = self->n_models, w = r->width, begin = weirp_put_head(b, self, VERSION);
    weirp_levels_save(&r->levels, b);
    weirp_put_u64(b, w);
    weirp_put_f64(b, r->variance);
    weirp_put_f64s(b, r->centre, self->dim);
    weirp_put_f64s(b, r->factor, w * r->p);
    weirp_put_f64s(b, r->penalty, w * w);
    weirp_put_f64s(b, r->inverse, n * w * w);
    weirp_put_f64s(b, r->s, n * w);
    weirp_put_f64s(b, r->theta, n * w);
    weirp_put_f64s(b, r->sigma2, n);
    weirp_put_tail(b, begin);
}

static weir_status lowrank_load(weirp_estimator **out, weirp_bytes *b, weir_error *err) {
    size_t begin;
    lowrank *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->base.class = &weirp_lowrank_class;
    bool ok = weirp_get_head(b, &r->base, VERSION, &begin);
    size_t n = r->base.n_models, dim = r->base.dim;
    ok = ok && weirp_levels_load(&r->levels, b, n);
    uint64_t w = ok ? weirp_get_u64(b) : 0;
    if (ok && w >= 2 && w <= MAX_WIDTH) {
        r->width = (size_t)w;
        r->d = dim + 1;
        r->p = weirp_padded(r->d);
        r->variance = weirp_get_f64(b);
        r->centre = weirp_get_aligned(b, dim);
        r->factor = weirp_get_aligned(b, r->width * r->p);
        r->penalty = weirp_get_aligned(b, r->width * r->width);
        r->inverse = weirp_get_aligned(b, n * r->width * r->width);
        r->s = weirp_get_aligned(b, n * r->width);
        r->theta = weirp_get_aligned(b, n * r->width);
        r->sigma2 = weirp_get_aligned(b, n);
        ok = !b->failed && r->variance >= 0;
    } else {
        ok = false;
    }
    if (!ok || !weirp_get_tail(b, begin)) {
        weirp_damaged(b, "lowrank", err);
        lowrank_free(&r->base);
        return WEIR_CORRUPT;
    }
    *out = &r->base;
    return WEIR_OK;
}

const weirp_estimator_class weirp_lowrank_class = {
    .name = "lowrank",
    .n_settings = N_RANKS * N_ALPHAS,
    .describe = describe,
    .fit = lowrank_fit,
    .fit_predict = lowrank_fit_predict,
    .predict = lowrank_predict,
    .scratch_size = lowrank_scratch_size,
    .update = lowrank_update,
    .add_model = lowrank_add_model,
    .remove_model = lowrank_remove_model,
    .save = lowrank_save,
    .load = lowrank_load,
    .free = lowrank_free,
};

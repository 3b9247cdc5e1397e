/* ridge.c: "ridge": regularised linear, hierarchical.
 *
 * Model m's expectation is z.theta_m with z = (x - centre, 1) and
 *     theta_m = argmin sum over m's outcomes (y - z.theta)^2 + alpha |beta - w|^2 + kappa (b - pool)^2,  theta = (beta,
 * b) = P_m (s_m + Lambda prior),   P_m = (sum z z' + Lambda)^-1,  s_m = sum z y,  prior = (w, pool), Lambda =
 * diag(alpha, ..., alpha, kappa). w is the shared weight vector (shared.h: all models' residuals from their means, its
 * own penalty chosen by evidence), pool and kappa come from levels.h. So a model with few outcomes is the pool: its
 * mean is shrunk towards the pool's by its count, and its weights towards the shared ones; with none it predicts pool +
 * (x - centre).w. Settings are alphas; differences between models depend on alpha alone.
 *
 * sd^2 = sigma2_m z'P_m z + (share of z that m hasn't learned)^2 var(x.w), where the share is alpha z'P_m z over its
 * value before any outcome, and sigma2_m is m's residual variance (shrunk towards the pool's, ten outcomes' worth).
 *
 * Models that have seen the same rows with the same weights share one P (a "view"); an update gives its model a view of
 * its own, or that of a model which has just seen the same row. Update is exact: P by Sherman and Morrison's formula,
 * the rest from sufficient statistics in doubles. A new w reaches the views of other models in turns, at most PULLS an
 * update: with more views than that their shared part lags by a few updates. What a removed model told of w and pool
 * stays. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "estimators/classes.h"
#include "estimators/kernels.h"
#include "estimators/path.h"

static const double alphas[] = {3, 10, 30, 100, 300, 1000, 3000, 10000};
#define N_ALPHAS (sizeof alphas / sizeof *alphas)

enum { VERSION = 1, PULLS = 12 };

typedef struct view {
    uint64_t key;     /* what was seen; 0: nothing */
    uint32_t n_users; /* models */
    double *inverse;  /* P, a triangle of (d, d) */
    double *pull;     /* (padded d) P Lambda prior */
    float *quad;      /* of inverse */
    double used;      /* degrees of freedom */
} view;

typedef struct ridge {
    weirp_estimator base;
    weirp_levels levels;
    weirp_shared shared;
    size_t d, p; /* dim + 1, padded */
    double alpha;
    double variance;   /* residual, all models */
    double *centre;    /* (dim) */
    double *s;         /* (n_models, p) */
    double *own;       /* (n_models, p) P_m s_m */
    double *theta;     /* (n_models, p) own + the view's pull */
    double *sigma2;    /* (n_models) residual variance */
    double *squares;   /* (n_models) work: sum of squared residuals */
    uint32_t *view_of; /* (n_models) */
    view *views;       /* (n_views) none without users */
    size_t n_views, view_capacity, turn;
} ridge;

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "alpha=%g", alphas[setting]);
}

static void view_free(view *v) {
    free(v->inverse);
    free(v->pull);
    free(v->quad);
}

static void ridge_free(weirp_estimator *self) {
    ridge *r = (ridge *)self;
    if (!r) return;
    weirp_levels_free(&r->levels);
    weirp_shared_free(&r->shared);
    for (size_t k = 0; k < r->n_views; k++) view_free(&r->views[k]);
    free(r->views);
    free(r->view_of);
    free(r->centre);
    free(r->s);
    free(r->own);
    free(r->theta);
    free(r->sigma2);
    free(r->squares);
    free(r);
}

static double penalty(const ridge *r, size_t j) {
    return j + 1 < r->d ? r->alpha : r->levels.kappa;
}

static double prior(const ridge *r, size_t j) {
    return j + 1 < r->d ? r->shared.w[j] : r->levels.pool;
}

/* Room for one more view; its index, or SIZE_MAX. The matrix is not filled. */
static size_t view_new(ridge *r) {
    if (!weirp_reserve((void **)&r->views, &r->view_capacity, r->n_views + 1, sizeof *r->views)) return SIZE_MAX;
    view v = {0};
    v.inverse = weirp_aligned(weirp_tri_size(r->d), sizeof(double));
    v.quad = weirp_aligned(weirp_tri_size(r->d), sizeof(float));
    v.pull = weirp_aligned(r->p, sizeof(double));
    if (!v.inverse || !v.quad || !v.pull) {
        view_free(&v);
        return SIZE_MAX;
    }
    r->views[r->n_views] = v;
    return r->n_views++;
}

static size_t view_find(const ridge *r, uint64_t key) {
    for (size_t k = 0; k < r->n_views; k++)
        if (r->views[k].key == key) return k;
    return SIZE_MAX;
}

/* One user less; the last one takes the view along (the last view moves into its place). */
static void view_leave(ridge *r, size_t k) {
    if (--r->views[k].n_users) return;
    view_free(&r->views[k]);
    size_t last = --r->n_views;
    r->views[k] = r->views[last];
    for (size_t m = 0; m < r->base.n_models; m++)
        if (r->view_of[m] == last) r->view_of[m] = (uint32_t)k;
}

/* What follows from a view's inverse. */
static void view_settle(const ridge *r, view *v) {
    weirp_tri_quad_from(v->quad, v->inverse, r->d);
    v->used = (double)r->d;
    for (size_t j = 0; j < r->d; j++) v->used -= penalty(r, j) * weirp_tri_diagonal(v->inverse, r->d, j);
}

/* The pull of a view, and theta of its models. `work`: p doubles. */
static void pull(ridge *r, size_t k, double *work) {
    view *v = &r->views[k];
    memset(work, 0, r->p * sizeof *work);
    for (size_t j = 0; j < r->d; j++) work[j] = penalty(r, j) * prior(r, j);
    weirp_tri_mul(v->inverse, r->d, work, v->pull);
    for (size_t m = 0; m < r->base.n_models; m++) {
        if (r->view_of[m] != k) continue;
        for (size_t j = 0; j < r->p; j++) r->theta[m * r->p + j] = r->own[m * r->p + j] + v->pull[j];
    }
}

/* Residual variances from sufficient statistics: with A = P^-1 - Lambda, the sum of squared residuals is
 * yy - theta.s + theta' Lambda (prior - theta), and the degrees of freedom are count - d + sum Lambda_j P_jj. */
static void measure_residuals(ridge *r) {
    size_t models = r->base.n_models;
    double all = 0, all_freedom = 0;
    for (size_t m = 0; m < models; m++) {
        const double *theta = r->theta + m * r->p, *s = r->s + m * r->p;
        double squares = r->levels.square[m], freedom = r->levels.count[m] - r->views[r->view_of[m]].used;
        for (size_t j = 0; j < r->d; j++) squares += theta[j] * (penalty(r, j) * (prior(r, j) - theta[j]) - s[j]);
        r->squares[m] = squares;
        if (freedom > 0 && squares > 0) all += squares, all_freedom += freedom;
    }
    r->variance = weirp_shrunk_variance(all, all_freedom, r->levels.variance);
    for (size_t m = 0; m < models; m++)
        r->sigma2[m] =
            weirp_shrunk_variance(r->squares[m], r->levels.count[m] - r->views[r->view_of[m]].used, r->variance);
}

static bool make(ridge *r, size_t n_models, size_t dim) {
    r->base.n_models = n_models;
    r->base.dim = dim;
    r->d = dim + 1;
    r->p = weirp_padded(r->d);
    r->centre = weirp_array(dim, sizeof(double));
    r->s = weirp_aligned(n_models * r->p, sizeof(double));
    r->own = weirp_aligned(n_models * r->p, sizeof(double));
    r->theta = weirp_aligned(n_models * r->p, sizeof(double));
    r->sigma2 = weirp_array(n_models, sizeof(double));
    r->squares = weirp_array(n_models, sizeof(double));
    r->view_of = weirp_array(n_models, sizeof *r->view_of);
    return r->centre && r->s && r->own && r->theta && r->sigma2 && r->squares && r->view_of;
}

/* A view for each group of the normal equations, and the models' own parts. */
static weir_status make_views(ridge *r, const weirp_gram *g, weir_error *err) {
    size_t d = r->d;
    double *a = weirp_array(d * d, sizeof *a), *work = weirp_array(r->p, sizeof *work);
    weir_status st = a && work ? WEIR_OK : weirp_nomem(err);
    for (size_t k = 0; k < g->n_groups && st == WEIR_OK; k++) {
        size_t index = view_new(r);
        if (index == SIZE_MAX) {
            st = weirp_nomem(err);
            break;
        }
        view *v = &r->views[index];
        memcpy(a, g->a + k * d * d, d * d * sizeof *a);
        for (size_t j = 0; j < d; j++) a[j * d + j] += penalty(r, j);
        v->key = g->key[k];
        v->n_users = (uint32_t)g->size[k];
        st = weirp_invert_spd(a, d, v->inverse, err);
        view_settle(r, v);
    }
    for (size_t m = 0; m < r->base.n_models && st == WEIR_OK; m++) {
        r->view_of[m] = g->group[m];
        memcpy(r->s + m * r->p, g->s + m * d, d * sizeof(double));
        weirp_tri_mul(r->views[r->view_of[m]].inverse, d, r->s + m * r->p, r->own + m * r->p);
    }
    for (size_t k = 0; k < r->n_views && st == WEIR_OK; k++) pull(r, k, work);
    free(a);
    free(work);
    return st;
}

static weir_status fit_at(weirp_estimator **out, const weirp_sample *s, double alpha, const ridge *like,
                          weir_error *err) {
    weir_status st = WEIR_OK;
    weirp_gram gram = {0};
    ridge *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->base.class = &weirp_ridge_class;
    WEIRP_TRY(weirp_sample_check(s, err));
    if (like && like->base.dim != s->dim)
        WEIRP_TRY(weirp_fail(err, WEIR_INVALID, 0, "%zu features where %zu are expected", s->dim, like->base.dim));
    if (!make(r, s->n_models, s->dim)) WEIRP_TRY(weirp_nomem(err));
    r->alpha = alpha;
    WEIRP_TRY(weirp_levels_fit(&r->levels, s, like ? &like->levels : NULL, err));
    WEIRP_TRY(weirp_gram_new(&gram, s, r->levels.offset, like ? like->centre : NULL, err));
    memcpy(r->centre, gram.centre, s->dim * sizeof *r->centre);
    WEIRP_TRY(weirp_shared_fit(&r->shared, s, &gram, &r->levels, like ? &like->shared : NULL, err));
    WEIRP_TRY(make_views(r, &gram, err));
    measure_residuals(r);
    *out = &r->base;
done:
    weirp_gram_free(&gram);
    if (st != WEIR_OK) ridge_free(&r->base);
    return st;
}

static weir_status ridge_fit(weirp_estimator **out, const weirp_sample *sample, size_t setting, weir_error *err) {
    if (setting >= N_ALPHAS) return weirp_fail(err, WEIR_INVALID, 0, "ridge has no setting %zu", setting);
    return fit_at(out, sample, alphas[setting], NULL, err);
}

weir_status weirp_ridge_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *sample,
                              weir_error *err) {
    return fit_at(out, sample, ((const ridge *)like)->alpha, (const ridge *)like, err);
}

static weir_status ridge_fit_predict(const weirp_sample *train, const weirp_sample *test, double *predicted,
                                     weir_error *err) {
    weir_status st = WEIR_OK;
    size_t models = train->n_models;
    weirp_ridge_path path = {0};
    double *theta = weirp_array((train->dim + 1) * models, sizeof *theta);
    if (!theta) return weirp_nomem(err);
    WEIRP_TRY(weirp_ridge_path_new(&path, train, test, err));
    for (size_t a = 0; a < N_ALPHAS; a++) {
        WEIRP_TRY(weirp_ridge_path_solve(&path, alphas[a], theta, err));
        WEIRP_TRY(weirp_ridge_path_predict(&path, test, theta, predicted + a * test->n * models, err));
    }
done:
    weirp_ridge_path_free(&path);
    free(theta);
    return st;
}

/* Scratch: z as doubles (p), z as floats (p), a number a view. */
static size_t ridge_scratch_size(const weirp_estimator *self) {
    const ridge *r = (const ridge *)self;
    return r->p * (sizeof(double) + sizeof(float)) + r->n_views * sizeof(double);
}

static void ridge_predict(const weirp_estimator *self, const weirp_features *x, void *scratch, double *q, double *sd) {
    const ridge *r = (const ridge *)self;
    size_t d = r->d, p = r->p, dim = d - 1, models = self->n_models;
    double *z = scratch;
    float *f = (float *)(z + p);
    double *spread = (double *)(f + p);
    memset(z + d, 0, (p - d) * sizeof *z);
    for (size_t j = 0; j < dim; j++) z[j] = (double)x->dense[j] - r->centre[j];
    z[dim] = 1;
    weirp_rows_dot(r->theta, models, p, z, q);
    for (size_t m = 0; m < models; m++) q[m] = weirp_levels_clip(&r->levels, q[m]);
    if (!sd) return;
    for (size_t j = 0; j < p; j++) f[j] = (float)z[j];
    for (size_t k = 0; k < r->n_views; k++) {
        double v = weirp_tri_quad(r->views[k].quad, d, f);
        spread[k] = v > 0 ? v : 0;
    }
    double length = 0;
    for (size_t j = 0; j < dim; j++) length += z[j] * z[j];
    f[dim] = 0;
    double common = weirp_shared_variance(&r->shared, weirp_tri_quad(r->shared.quad, dim, f));
    double unlearned = length / r->alpha + 1 / r->levels.kappa; /* z'Pz before any outcome */
    for (size_t m = 0; m < models; m++) {
        double v = spread[r->view_of[m]], share = v < unlearned ? v / unlearned : 1;
        sd[m] = sqrt(r->sigma2[m] * v + share * share * (common > 0 ? common : 0));
    }
}

/* Gives `model` the view after (z, weight): one that is there, its own changed, or a changed copy. */
static weir_status see(ridge *r, size_t model, const double *z, double weight, double *u, weir_error *err) {
    size_t from = r->view_of[model], d = r->d;
    uint64_t bits;
    memcpy(&bits, &weight, sizeof bits);
    uint64_t key = weirp_mix64(XXH3_64bits_withSeed(z, d * sizeof *z, r->views[from].key) ^ bits);
    size_t to = view_find(r, key);
    if (to != SIZE_MAX) {
        r->views[to].n_users++;
        r->view_of[model] = (uint32_t)to;
        view_leave(r, from);
        return WEIR_OK;
    }
    if (r->views[from].n_users > 1) {
        if ((to = view_new(r)) == SIZE_MAX) return weirp_nomem(err);
        memcpy(r->views[to].inverse, r->views[from].inverse, weirp_tri_size(d) * sizeof(double));
        r->views[to].n_users = 1;
        r->views[from].n_users--;
        r->view_of[model] = (uint32_t)to;
    } else {
        to = from;
    }
    view *v = &r->views[to];
    weirp_tri_mul(v->inverse, d, z, u);
    double zu = 0;
    for (size_t j = 0; j < d; j++) zu += z[j] * u[j];
    weirp_tri_rank1(v->inverse, d, -weight / (1 + weight * zu), u);
    view_settle(r, v);
    v->key = key;
    return WEIR_OK;
}

static weir_status ridge_update(weirp_estimator *self, const weirp_features *x, size_t model, double target,
                                double weight, weir_error *err) {
    ridge *r = (ridge *)self;
    size_t d = r->d, p = r->p, dim = d - 1;
    weir_status st = weirp_update_check(self, x, model, target, weight, err);
    if (st != WEIR_OK) return st;
    double *z = weirp_aligned(3 * p, sizeof *z), *work = z ? z + p : NULL;
    if (!z) return weirp_nomem(err);
    for (size_t j = 0; j < dim; j++) z[j] = (double)x->dense[j] - r->centre[j];
    z[dim] = 1;
    WEIRP_TRY(see(r, model, z, weight, work, err));
    double y = target - r->levels.offset;
    for (size_t j = 0; j < d; j++) r->s[model * p + j] += weight * y * z[j];
    z[dim] = 0; /* the shared part has no intercept */
    weirp_shared_add(&r->shared, &r->levels, model, z, target, weight, work);
    weirp_levels_add(&r->levels, model, target, weight);
    size_t own = r->view_of[model];
    weirp_tri_mul(r->views[own].inverse, d, r->s + model * p, r->own + model * p);
    pull(r, own, work);
    for (size_t k = 0; k < r->n_views && k < PULLS; k++) {
        r->turn = (r->turn + 1) % r->n_views;
        if (r->turn != own) pull(r, r->turn, work);
    }
    measure_residuals(r);
done:
    free(z);
    return st;
}

/* The view of a model without outcomes; SIZE_MAX: out of memory. */
static size_t empty_view(ridge *r) {
    size_t k = view_find(r, 0);
    if (k != SIZE_MAX || (k = view_new(r)) == SIZE_MAX) return k;
    view *v = &r->views[k];
    for (size_t j = 0; j < r->d; j++) {
        v->inverse[weirp_tri_row(r->d, j) + j - weirp_tri_first(j)] = 1 / penalty(r, j);
        v->pull[j] = prior(r, j);
    }
    view_settle(r, v);
    return k;
}

static weir_status ridge_add_model(weirp_estimator *self, weir_error *err) {
    ridge *r = (ridge *)self;
    size_t n = self->n_models, p = r->p;
    double **rows[] = {&r->s, &r->own, &r->theta};
    double *grown[3] = {0};
    bool room = true;
    for (int k = 0; k < 3; k++) {
        grown[k] = weirp_aligned((n + 1) * p, sizeof(double));
        room &= grown[k] != NULL;
    }
    room = room && weirp_append_zero((void **)&r->sigma2, n, sizeof(double)) &&
           weirp_append_zero((void **)&r->squares, n, sizeof(double)) &&
           weirp_append_zero((void **)&r->view_of, n, sizeof *r->view_of);
    weir_status st = room ? weirp_shared_add_model(&r->shared, n, err) : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_levels_add_model(&r->levels, err);
    size_t k = st == WEIR_OK ? empty_view(r) : SIZE_MAX;
    if (k == SIZE_MAX) {
        for (int i = 0; i < 3; i++) free(grown[i]);
        if (st == WEIR_OK) { /* levels had grown already */
            weirp_levels_remove_model(&r->levels, n);
            st = weirp_nomem(err);
        }
        return st;
    }
    for (int i = 0; i < 3; i++) {
        memcpy(grown[i], *rows[i], n * p * sizeof(double));
        free(*rows[i]);
        *rows[i] = grown[i];
    }
    memcpy(r->theta + n * p, r->views[k].pull, p * sizeof(double));
    r->sigma2[n] = r->variance;
    r->view_of[n] = (uint32_t)k;
    r->views[k].n_users++;
    self->n_models = n + 1;
    return WEIR_OK;
}

static weir_status ridge_remove_model(weirp_estimator *self, size_t index, weir_error *err) {
    ridge *r = (ridge *)self;
    size_t n = self->n_models, row = r->p * sizeof(double);
    if (index >= n) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", index);
    view_leave(r, r->view_of[index]);
    weirp_shared_remove_model(&r->shared, n, index);
    weirp_levels_remove_model(&r->levels, index);
    weirp_take_out(r->s, n, index, row);
    weirp_take_out(r->own, n, index, row);
    weirp_take_out(r->theta, n, index, row);
    weirp_take_out(r->sigma2, n, index, sizeof(double));
    weirp_take_out(r->view_of, n, index, sizeof *r->view_of);
    self->n_models--;
    return WEIR_OK;
}

static void ridge_save(const weirp_estimator *self, weirp_writer *w) {
    const ridge *r = (const ridge *)self;
    size_t n = self->n_models, begin = weirp_put_head(w, self, VERSION);
    weirp_levels_save(&r->levels, w);
    weirp_shared_save(&r->shared, n, w);
    weirp_put_f64(w, r->alpha);
    weirp_put_f64(w, r->variance);
    weirp_put_f64s(w, r->centre, self->dim);
    weirp_put_f64s(w, r->s, n * r->p);
    weirp_put_f64s(w, r->own, n * r->p);
    weirp_put_f64s(w, r->theta, n * r->p);
    weirp_put_f64s(w, r->sigma2, n);
    weirp_put_u32s(w, r->view_of, n);
    weirp_put_u64(w, r->turn);
    weirp_put_u64(w, r->n_views);
    for (size_t k = 0; k < r->n_views; k++) {
        weirp_put_u64(w, r->views[k].key);
        weirp_put_f64s(w, r->views[k].inverse, weirp_tri_size(r->d));
        weirp_put_f64s(w, r->views[k].pull, r->p);
    }
    weirp_put_tail(w, begin);
}

static bool load_views(ridge *r, weirp_bytes *b) {
    uint64_t n_views = weirp_get_u64(b);
    if (n_views > r->base.n_models) b->failed = true; /* each has a user */
    for (uint64_t k = 0; k < n_views && !b->failed; k++) {
        view v = {.key = weirp_get_u64(b)};
        v.inverse = weirp_get_aligned(b, weirp_tri_size(r->d));
        v.pull = weirp_get_aligned(b, r->p);
        v.quad = b->failed ? NULL : weirp_aligned(weirp_tri_size(r->d), sizeof(float));
        if (!v.quad || !weirp_reserve((void **)&r->views, &r->view_capacity, r->n_views + 1, sizeof v)) {
            view_free(&v);
            b->out_of_memory |= !b->failed;
            b->failed = true;
            break;
        }
        view_settle(r, &v);
        r->views[r->n_views++] = v;
    }
    for (size_t m = 0; m < r->base.n_models && !b->failed; m++) {
        if (r->view_of[m] >= r->n_views)
            b->failed = true;
        else
            r->views[r->view_of[m]].n_users++;
    }
    for (size_t k = 0; k < r->n_views; k++)
        if (!r->views[k].n_users) b->failed = true;
    if (r->n_views) r->turn %= r->n_views;
    return !b->failed;
}

static weir_status ridge_load(weirp_estimator **out, weirp_bytes *b, weir_error *err) {
    size_t begin;
    ridge *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->base.class = &weirp_ridge_class;
    bool ok = weirp_get_head(b, &r->base, VERSION, &begin);
    size_t n = r->base.n_models, dim = r->base.dim;
    r->d = dim + 1;
    r->p = weirp_padded(r->d);
    ok = ok && weirp_levels_load(&r->levels, b, n) && weirp_shared_load(&r->shared, b, dim, n);
    if (ok) {
        r->alpha = weirp_get_f64(b);
        r->variance = weirp_get_f64(b);
        r->centre = weirp_get_aligned(b, dim);
        r->s = weirp_get_aligned(b, n * r->p);
        r->own = weirp_get_aligned(b, n * r->p);
        r->theta = weirp_get_aligned(b, n * r->p);
        r->sigma2 = weirp_get_f64s(b, n);
        r->squares = weirp_array(n, sizeof(double));
        r->view_of = weirp_get_u32s(b, n);
        r->turn = (size_t)weirp_get_u64(b);
        if (!r->squares) b->failed = b->out_of_memory = true;
        ok = !b->failed && r->alpha > 0 && r->variance >= 0 && weirp_all_finite(r->sigma2, n) && load_views(r, b);
    }
    if (!ok || !weirp_get_tail(b, begin)) {
        weirp_damaged(b, "ridge", err);
        ridge_free(&r->base);
        return WEIR_CORRUPT;
    }
    *out = &r->base;
    return WEIR_OK;
}

const weirp_estimator_class weirp_ridge_class = {
    .name = "ridge",
    .n_settings = N_ALPHAS,
    .settings_ascend = true,
    .describe = describe,
    .fit = ridge_fit,
    .fit_predict = ridge_fit_predict,
    .predict = ridge_predict,
    .scratch_size = ridge_scratch_size,
    .update = ridge_update,
    .add_model = ridge_add_model,
    .remove_model = ridge_remove_model,
    .save = ridge_save,
    .load = ridge_load,
    .free = ridge_free,
};

/* reward_ridge.c: linear models off the normal equations, in two levels. All models share
 *     theta_0 = argmin sum over all rows w (y - z.theta)^2 + theta' L0 theta,
 * and each has its own, drawn to the shared one:
 *     theta_m = argmin sum over m's rows w (y - z.theta)^2 + (theta - theta_0)' L1 (theta - theta_0),
 * so that a model with few rows is as what the log expected of it (its estimates are among z), and one without rows is
 * wholly that. L0 and L1 are diagonal: fixed for 1 and the estimates, of which there are few, and from a grid for
 * the dense columns. Each final fit takes the pair of least squared error over its inner fits' held-out groups, which
 * the same sums give: yy - 2 theta.s + theta' A theta. SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "src/linalg/linalg.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward_parts.h"

/* Of the dense columns; the last leaves them out. In rows: the columns' mean variance is 1. */
static const double shared_grid[] = {10, 100, 1000, 10000, 1e10};
static const double own_grid[] = {100, 1000, 10000, 1e10};
enum { N_SHARED = sizeof shared_grid / sizeof *shared_grid, N_OWN = sizeof own_grid / sizeof *own_grid };

#define SHARED_HATS 1.0
#define OWN_ONE     10.0
#define OWN_HATS    30.0
#define LEFT_OUT    1e10
#define NO_PENALTY  1e-9

typedef struct solving {
    weirp_reward_linear *l;
    const weirp_reward_gram *g;
    size_t n_shared, n_own; /* points of the grids that are tried */
    bool failed[WEIRP_REWARD_MAX_FOLDS], no_room[WEIRP_REWARD_MAX_FOLDS];
} solving;

/* One thread's. */
typedef struct work {
    double *a;      /* (n_models, d, d) sums that a fit sees */
    double *s;      /* (n_models, d) */
    double *all;    /* (d, d) and the factor of a system */
    double *system; /* (d, d) */
    double *shared; /* (d, N_SHARED) */
    double *b;      /* (d, N_SHARED) */
    double *theta;  /* (n_models, N_OWN, d, N_SHARED) */
    double *az;     /* (d) */
} work;

static bool work_init(work *w, size_t models, size_t d) {
    w->a = weirp_array(models * d * d, sizeof *w->a);
    w->s = weirp_array(models * d, sizeof *w->s);
    w->all = weirp_array(d * d, sizeof *w->all);
    w->system = weirp_array(d * d, sizeof *w->system);
    w->shared = weirp_array(d * N_SHARED, sizeof *w->shared);
    w->b = weirp_array(d * N_SHARED, sizeof *w->b);
    w->theta = weirp_array(models * N_OWN * d * N_SHARED, sizeof *w->theta);
    w->az = weirp_array(d, sizeof *w->az);
    return w->a && w->s && w->all && w->system && w->shared && w->b && w->theta && w->az;
}

static void work_free(work *w) {
    free(w->a);
    free(w->s);
    free(w->all);
    free(w->system);
    free(w->shared);
    free(w->b);
    free(w->theta);
    free(w->az);
}

static double penalty(const weirp_reward_linear *l, size_t j, bool own, double dense) {
    if (j == WEIRP_Z_ONE) return own ? OWN_ONE : NO_PENALTY;
    if (j < WEIRP_Z_DENSE) return !(l->hats & 1u << j) ? LEFT_OUT : own ? OWN_HATS : SHARED_HATS;
    return l->dense ? dense : LEFT_OUT;
}

/* Sums over the parts that a fit sees: added up, never taken off a total, so that what isn't seen leaves no trace. */
static void gather(const solving *v, size_t fit, work *w) {
    const weirp_reward_frame *o = v->g->frame;
    size_t d = v->l->d, from = v->g->d, dd = d * d, models = o->n_models;
    memset(w->a, 0, models * dd * sizeof *w->a);
    memset(w->s, 0, models * d * sizeof *w->s);
    memset(w->all, 0, dd * sizeof *w->all);
    for (size_t p = 0; p < o->folds.n_parts; p++) {
        if (!weirp_reward_sees(&o->folds, fit, p)) continue;
        for (size_t m = 0; m < models; m++) {
            size_t group = p * models + m;
            for (size_t j = 0; j < d; j++)
                cblas_daxpy((int)d, 1, v->g->a + (group * from + j) * from, 1, w->a + (m * d + j) * d, 1);
            cblas_daxpy((int)d, 1, v->g->s + (group * WEIRP_N_SCALES + (size_t)v->l->scale) * from, 1, w->s + m * d, 1);
        }
    }
    for (size_t m = 0; m < models; m++) cblas_daxpy((int)dd, 1, w->a + m * dd, 1, w->all, 1);
}

/* All points of the grids, or (n_shared = n_own = 1) the one that starts at `first`. */
static bool solve(const solving *v, work *w, const double *shared, size_t n_shared, const double *own, size_t n_own) {
    const weirp_reward_linear *l = v->l;
    size_t d = l->d, dd = d * d, models = l->frame->n_models;
    for (size_t k = 0; k < n_shared; k++) {
        memcpy(w->system, w->all, dd * sizeof *w->system);
        memset(w->az, 0, d * sizeof *w->az);
        for (size_t m = 0; m < models; m++) cblas_daxpy((int)d, 1, w->s + m * d, 1, w->az, 1);
        for (size_t j = 0; j < d; j++) w->system[j * d + j] += penalty(l, j, false, shared[k]);
        if (weirp_solve_spd(w->system, d, w->az, 1, NULL) != WEIR_OK) return false;
        for (size_t j = 0; j < d; j++) w->shared[j * n_shared + k] = w->az[j];
    }
    for (size_t m = 0; m < models; m++)
        for (size_t h = 0; h < n_own; h++) {
            memcpy(w->system, w->a + m * dd, dd * sizeof *w->system);
            double *b = w->theta + (m * n_own + h) * d * n_shared;
            for (size_t j = 0; j < d; j++) {
                double lambda = penalty(l, j, true, own[h]);
                w->system[j * d + j] += lambda;
                for (size_t k = 0; k < n_shared; k++)
                    b[j * n_shared + k] = w->s[m * d + j] + lambda * w->shared[j * n_shared + k];
            }
            if (weirp_solve_spd(w->system, d, b, n_shared, NULL) != WEIR_OK) return false;
        }
    return true;
}

/* Squared error on the group that inner fit g of f hasn't seen, added to error (n_own, n_shared). */
static void add_errors(const solving *v, size_t f, size_t g, work *w, double *error) {
    const weirp_reward_frame *o = v->g->frame;
    size_t d = v->l->d, from = v->g->d, models = o->n_models;
    for (size_t p = 0; p < o->folds.n_parts; p++) {
        if (o->folds.group[f][p] != (int)g) continue;
        for (size_t m = 0; m < models; m++) {
            size_t group = p * models + m;
            const double *a = v->g->a + group * from * from,
                         *s = v->g->s + (group * WEIRP_N_SCALES + (size_t)v->l->scale) * from;
            double yy = v->g->yy[group * WEIRP_N_SCALES + (size_t)v->l->scale];
            if (!(a[0] > 0)) continue; /* no rows */
            for (size_t h = 0; h < v->n_own; h++)
                for (size_t k = 0; k < v->n_shared; k++) {
                    const double *theta = w->theta + (m * v->n_own + h) * d * v->n_shared + k;
                    cblas_dsymv(CblasRowMajor, CblasUpper, (int)d, 1, a, (int)from, theta, (int)v->n_shared, 0, w->az,
                                1);
                    for (size_t j = 0; j < d; j++) w->az[j] -= 2 * s[j];
                    error[h * v->n_shared + k] += yy + cblas_ddot((int)d, w->az, 1, theta, (int)v->n_shared);
                }
        }
    }
}

static void keep(const solving *v, size_t fit, const work *w) {
    size_t d = v->l->d, models = v->l->frame->n_models;
    memcpy(v->l->theta + fit * models * d, w->theta, models * d * sizeof(double));
}

static bool solve_final(const solving *v, size_t f, work *w) {
    const weirp_reward_folds *o = &v->g->frame->folds;
    double error[N_OWN * N_SHARED] = {0};
    size_t first = f * (1 + o->n_inner), best = 0, n_points = v->n_own * v->n_shared;
    const double *shared = shared_grid + (N_SHARED - v->n_shared), *own = own_grid + (N_OWN - v->n_own);
    for (size_t g = 0; g < o->n_inner && n_points > 1; g++) {
        gather(v, first + 1 + g, w);
        if (!solve(v, w, shared, v->n_shared, own, v->n_own)) return false;
        add_errors(v, f, g, w, error);
    }
    for (size_t k = 1; k < n_points; k++)
        if (error[k] <= error[best]) best = k; /* of equals the stronger */
    for (size_t k = 0; k <= o->n_inner; k++) {
        gather(v, first + k, w);
        if (!solve(v, w, shared + best % v->n_shared, 1, own + best / v->n_shared, 1)) return false;
        keep(v, first + k, w);
    }
    return true;
}

static void solve_share(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    solving *v = context;
    work w = {0};
    bool room = work_init(&w, v->l->frame->n_models, v->l->d);
    for (size_t f = begin; f < end; f++) {
        v->no_room[f] = !room;
        v->failed[f] = room && !solve_final(v, f, &w);
    }
    work_free(&w);
}

/* z's scales undone: a prediction is spread[0] + sum of spread[j] * column j as it is logged. */
static void spread_out(weirp_reward_linear *l) {
    const weirp_reward_frame *o = l->frame;
    size_t d = l->d, models = o->n_models;
    for (size_t f = 0; f < o->folds.n_folds; f++)
        for (size_t m = 0; m < models; m++) {
            const double *theta = l->theta + (f * (1 + o->folds.n_inner) * models + m) * d;
            double *to = l->spread + f * d * models + m, one = theta[WEIRP_Z_ONE];
            for (size_t j = WEIRP_Z_QUALITY; j < d; j++) {
                bool dense = j >= WEIRP_Z_DENSE;
                double scale = dense ? o->scale : o->hat[j - WEIRP_Z_QUALITY][1];
                double centre = dense ? o->centre[j - WEIRP_Z_DENSE] : o->hat[j - WEIRP_Z_QUALITY][0];
                double slope = scale > 0 ? theta[j] / scale : 0;
                to[j * models] = slope;
                if (slope != 0) one -= slope * centre;
            }
            to[0] = one;
        }
}

weir_status weirp_reward_linear_fit(weirp_reward_linear *l, const weirp_reward_gram *g, int scale, unsigned hats,
                                    bool dense, weir_error *err) {
    const weirp_reward_frame *o = g->frame;
    *l = (weirp_reward_linear){.frame = o, .scale = scale, .hats = hats, .dense = dense && o->dim > 0};
    l->d = l->dense ? g->d : WEIRP_Z_DENSE;
    size_t fits = weirp_reward_n_fits(&o->folds), cells = o->n_models * l->d;
    l->theta = weirp_array(fits * cells, sizeof *l->theta);
    l->spread = weirp_array(o->folds.n_folds * cells, sizeof *l->spread);
    if (!l->theta || !l->spread) {
        weirp_reward_linear_free(l);
        return weirp_nomem(err);
    }
    solving v = {.l = l, .g = g, .n_shared = l->dense ? N_SHARED : 1, .n_own = l->dense ? N_OWN : 1};
    weirp_parallel(o->folds.n_folds, 1, o->n_threads, solve_share, &v);
    for (size_t f = 0; f < o->folds.n_folds; f++)
        if (v.failed[f] || v.no_room[f]) {
            weirp_reward_linear_free(l);
            if (v.no_room[f]) return weirp_nomem(err);
            return weirp_fail(err, WEIR_NUMERIC, 0, "the reward model's normal equations can't be solved");
        }
    spread_out(l);
    return WEIR_OK;
}

void weirp_reward_linear_free(weirp_reward_linear *l) {
    free(l->theta);
    free(l->spread);
    memset(l, 0, sizeof *l);
}

double weirp_reward_linear_one(const weirp_reward_linear *l, size_t fit, size_t model, const double *z) {
    const double *theta = l->theta + (fit * l->frame->n_models + model) * l->d;
    size_t d = l->d;
    double lane[8] = {0}, rest = 0;
    size_t j = 0;
    for (; j + 8 <= d; j += 8)
        for (size_t k = 0; k < 8; k++) lane[k] += theta[j + k] * z[j + k];
    for (; j < d; j++) rest += theta[j] * z[j];
    return rest + ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* out += sum over columns of x_j * c_j (n models each), four columns at a time. */
WEIRP_CLONES static void add_columns(const float *x, size_t n_columns, const double *c, size_t stride, size_t n,
                                     double *out) {
    size_t j = 0;
    for (; j + 4 <= n_columns; j += 4) {
        const double *c0 = c + j * stride, *c1 = c0 + stride, *c2 = c1 + stride, *c3 = c2 + stride;
        double x0 = (double)x[j], x1 = (double)x[j + 1], x2 = (double)x[j + 2], x3 = (double)x[j + 3];
        for (size_t m = 0; m < n; m++) out[m] += (x0 * c0[m] + x1 * c1[m]) + (x2 * c2[m] + x3 * c3[m]);
    }
    for (; j < n_columns; j++)
        for (size_t m = 0; m < n; m++) out[m] += (double)x[j] * c[j * stride + m];
}

bool weirp_reward_linear_row(const weirp_reward_linear *l, size_t f, const weirp_ope_block *b, size_t i, size_t begin,
                             size_t end, double *out) {
    const weirp_reward_frame *o = l->frame;
    size_t models = o->n_models, n = end - begin;
    const double *c = l->spread + f * l->d * models + begin;
    const double *q = b->quality_hat ? b->quality_hat + i * models + begin : NULL;
    const double *u = b->cost_hat ? b->cost_hat + i * models + begin : NULL;
    for (size_t m = 0; m < n; m++) {
        double quality = q && isfinite(q[m]) ? q[m] : o->hat[0][0];
        double cost = u && isfinite(u[m]) ? u[m] : o->hat[1][0];
        double log_cost = u && u[m] >= 0 && isfinite(u[m]) ? log(u[m] + WEIRP_COST_SHIFT) : o->hat[2][0];
        out[m] = c[m] + c[WEIRP_Z_QUALITY * models + m] * quality + c[WEIRP_Z_COST * models + m] * cost +
                 c[WEIRP_Z_LOG_COST * models + m] * log_cost;
    }
    if (!l->dense) return true;
    if (!b->dense) return false;
    add_columns(b->dense + i * b->dim, o->dim, c + WEIRP_Z_DENSE * models, models, n, out);
    return isfinite(out[0]);
}

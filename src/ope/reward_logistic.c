/* reward_logistic.c: logistic regressions for what is right or wrong, in two levels as reward_ridge.c: all models share
 * coefficients, and each has its own, drawn to the shared ones. Newton's method on the penalised likelihood (concave,
 * so that halving a step that overshoots makes it converge from anywhere), on at most MOST_ROWS rows. Outcomes may lie
 * between 0 and 1. A pair of penalties is taken by least squared error on the first inner group of a final fit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "src/linalg/linalg.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward_sample.h"

enum { MOST_ROWS = 40000, MOST_STEPS = 50, BLOCK = 64 };
#define TOLERANCE 1e-10

static const double grid[][2] = {{30, 100}, {100, 1000}, {1000, 10000}, {1e10, 1e10}}; /* shared, own */
enum { N_GRID = sizeof grid / sizeof *grid };

typedef struct logistic {
    const weirp_reward_frame *frame;
    size_t d;
    double *theta; /* (n_folds, n_models, d) */
} logistic;

/* One thread's. */
typedef struct newton {
    const weirp_reward_sample *s;
    size_t d;
    uint32_t *row; /* (s->n) rows that are fitted on */
    size_t n;
    double *penalty, *prior;       /* (d) */
    double *hessian, *step, *next; /* (d, d), (d), (d) */
    double *z;                     /* (BLOCK, d) */
    double *shared;                /* (d) */
} newton;

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Negative log-likelihood with the penalty; -log p = log(1 + e^x) - y x. */
static double loss(const newton *w, const double *theta) {
    double sum = 0;
    for (size_t k = 0; k < w->n; k++) {
        size_t i = w->row[k];
        double x = cblas_ddot((int)w->d, w->s->z + i * w->d, 1, theta, 1);
        sum += w->s->w[i] * ((x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))) - w->s->y[i] * x);
    }
    for (size_t j = 0; j < w->d; j++) sum += 0.5 * w->penalty[j] * (theta[j] - w->prior[j]) * (theta[j] - w->prior[j]);
    return sum;
}

/* Hessian and the negative gradient (in step). */
static void differentiate(newton *w, const double *theta) {
    size_t d = w->d, filled = 0;
    memset(w->hessian, 0, d * d * sizeof *w->hessian);
    for (size_t j = 0; j < d; j++) w->step[j] = -w->penalty[j] * (theta[j] - w->prior[j]);
    for (size_t k = 0; k < w->n; k++) {
        size_t i = w->row[k];
        const double *z = w->s->z + i * d;
        double p = sigmoid(cblas_ddot((int)d, z, 1, theta, 1)), root = sqrt(w->s->w[i] * p * (1 - p));
        cblas_daxpy((int)d, w->s->w[i] * (w->s->y[i] - p), z, 1, w->step, 1);
        for (size_t j = 0; j < d; j++) w->z[filled * d + j] = root * z[j];
        if (++filled < BLOCK && k + 1 < w->n) continue;
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)d, (int)filled, 1, w->z, (int)d, 1, w->hessian, (int)d);
        filled = 0;
    }
    for (size_t j = 0; j < d; j++) w->hessian[j * d + j] += w->penalty[j];
}

/* Minimises from theta as it stands. */
static bool minimise(newton *w, double *theta) {
    double at = loss(w, theta);
    for (int round = 0; round < MOST_STEPS; round++) {
        differentiate(w, theta);
        if (weirp_solve_spd(w->hessian, w->d, w->step, 1, NULL) != WEIR_OK) return false;
        double size = 0, share = 1, to = INFINITY;
        for (size_t j = 0; j < w->d; j++) size = fmax(size, fabs(w->step[j]));
        for (int half = 0; half < 30; half++, share /= 2) {
            for (size_t j = 0; j < w->d; j++) w->next[j] = theta[j] + share * w->step[j];
            to = loss(w, w->next);
            if (to <= at + 1e-12 * fabs(at)) break;
        }
        if (!(to <= at + 1e-12 * fabs(at))) return true; /* as low as rounding allows */
        memcpy(theta, w->next, w->d * sizeof *theta);
        at = to;
        if (size < TOLERANCE) break;
    }
    return true;
}

static void set_penalties(newton *w, bool own, double dense) {
    for (size_t j = 0; j < w->d; j++)
        w->penalty[j] = j == WEIRP_Z_ONE ? (own ? 2.5 : 1e-9) : j < WEIRP_Z_DENSE ? (own ? 7.5 : 0.25) : dense / 4;
}

/* Rows that a fit sees: of final fit f, without group 0 where `inner`; of one model, or of all (n_models). */
static void take_rows(newton *w, const weirp_reward_frame *o, size_t f, bool inner, size_t model) {
    w->n = 0;
    for (size_t i = 0; i < w->s->n; i++) {
        int group = o->folds.group[f][w->s->part[i]];
        if (group < 0 || (inner && group == 0) || (model < o->n_models && w->s->chosen[i] != model)) continue;
        w->row[w->n++] = (uint32_t)i;
    }
}

static bool fit(newton *w, const weirp_reward_frame *o, size_t f, bool inner, const double point[2], double *theta) {
    memset(w->shared, 0, w->d * sizeof *w->shared);
    memset(w->prior, 0, w->d * sizeof *w->prior);
    set_penalties(w, false, point[0]);
    take_rows(w, o, f, inner, o->n_models);
    double y = 0.5, n = 1;
    for (size_t k = 0; k < w->n; k++) y += w->s->w[w->row[k]] * w->s->y[w->row[k]], n += w->s->w[w->row[k]];
    w->shared[WEIRP_Z_ONE] = log(y / (n - y));
    if (!minimise(w, w->shared)) return false;
    memcpy(w->prior, w->shared, w->d * sizeof *w->prior);
    set_penalties(w, true, point[1]);
    for (size_t m = 0; m < o->n_models; m++) {
        double *own = theta + m * w->d;
        take_rows(w, o, f, inner, m);
        memcpy(own, w->shared, w->d * sizeof *own);
        if (w->n && !minimise(w, own)) return false;
    }
    return true;
}

static double error_of(const newton *w, const weirp_reward_frame *o, size_t f, const double *theta) {
    double error = 0;
    for (size_t i = 0; i < w->s->n; i++) {
        if (o->folds.group[f][w->s->part[i]] != 0) continue;
        const double *own = theta + w->s->chosen[i] * w->d;
        double r = w->s->y[i] - sigmoid(cblas_ddot((int)w->d, w->s->z + i * w->d, 1, own, 1));
        error += w->s->w[i] * r * r;
    }
    return error;
}

static bool fit_final(newton *w, const weirp_reward_frame *o, size_t f, double *theta) {
    size_t best = 0;
    double least = INFINITY;
    for (size_t k = 0; o->dim && k < N_GRID; k++) {
        if (!fit(w, o, f, true, grid[k], theta)) return false;
        double error = error_of(w, o, f, theta);
        if (error <= least) least = error, best = k;
    }
    return fit(w, o, f, false, grid[best], theta);
}

typedef struct fitting {
    logistic *l;
    const weirp_reward_sample *s;
    bool no_memory[WEIRP_REWARD_MAX_FOLDS], failed[WEIRP_REWARD_MAX_FOLDS];
} fitting;

static void fit_share(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    fitting *v = context;
    size_t d = v->l->d;
    double *numbers = weirp_array(d * d + (BLOCK + 5) * d, sizeof *numbers), *at = numbers;
    newton w = {.s = v->s, .d = d, .row = weirp_array(v->s->n, sizeof(uint32_t))};
    if (numbers) w.hessian = at, at += d * d;
    if (numbers) w.z = at, at += BLOCK * d;
    double **vectors[] = {&w.penalty, &w.prior, &w.step, &w.next, &w.shared};
    for (size_t k = 0; numbers && k < sizeof vectors / sizeof *vectors; k++) *vectors[k] = at + k * d;
    for (size_t f = begin; f < end; f++) {
        v->no_memory[f] = !numbers || !w.row;
        if (!v->no_memory[f])
            v->failed[f] = !fit_final(&w, v->l->frame, f, v->l->theta + f * v->l->frame->n_models * d);
    }
    free(numbers);
    free(w.row);
}

static void logistic_free(weirp_reward_other *self) {
    logistic *l = (logistic *)self;
    if (!l) return;
    free(l->theta);
    free(l);
}

static weir_status logistic_fit(weirp_reward_other **out, const weirp_reward_frame *frame, weirp_ope_target *robust_for,
                                const char *name, weir_error *err) {
    (void)name;
    weirp_reward_sample s = {0};
    weir_status st = WEIR_OK;
    size_t folds = frame->folds.n_folds;
    logistic *l = weirp_array(1, sizeof *l);
    if (!l) return weirp_nomem(err);
    l->frame = frame;
    l->d = weirp_reward_d(frame);
    if (!(l->theta = weirp_array(folds * frame->n_models * l->d, sizeof *l->theta))) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_reward_sample_take(&s, frame, robust_for, MOST_ROWS, false, err));
    fitting v = {.l = l, .s = &s};
    weirp_parallel(folds, 1, frame->n_threads, fit_share, &v);
    for (size_t f = 0; f < folds; f++) {
        if (v.no_memory[f]) WEIRP_TRY(weirp_nomem(err));
        if (v.failed[f]) WEIRP_TRY(weirp_fail(err, WEIR_NUMERIC, 0, "the logistic reward model can't be fitted"));
    }
    *out = (weirp_reward_other *)l;
done:
    weirp_reward_sample_free(&s);
    if (st != WEIR_OK) logistic_free((weirp_reward_other *)l);
    return st;
}

static bool logistic_row(const weirp_reward_other *self, size_t f, const weirp_ope_block *b, size_t i, double *q,
                         weirp_reward_scratch *scratch) {
    const logistic *l = (const logistic *)self;
    if (!scratch->bytes && !(scratch->bytes = weirp_array(l->d, sizeof(double)))) return false;
    double *z = scratch->bytes;
    for (size_t m = 0; m < b->n_models; m++) {
        if (!weirp_reward_z(l->frame, b, i, m, z)) return false;
        q[m] = sigmoid(cblas_ddot((int)l->d, z, 1, l->theta + (f * b->n_models + m) * l->d, 1));
    }
    return true;
}

const weirp_reward_class weirp_reward_logistic = {logistic_fit, logistic_row, logistic_free};

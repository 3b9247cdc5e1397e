/* reward_choice.c: what predicts held-out rows best, of a reward model's members.
 *
 * "auto" goes by the least squared error on held-out rows, over all convex combinations of table, logged estimates,
 * ridge and (cost, latency) ridge on the log scale (stacking: Wolpert, Neural Networks 5, 1992; Breiman, Machine
 * Learning 24, 1996; van der Laan, Polley, Hubbard, 2007): there is nothing to gain from betting on one. What was
 * predicted on the log scale is brought to the mean by a factor of each model, the ratio of sums of outcomes and of
 * predictions on held-out rows (Duan's smearing, JASA 78, 1983, without its assumption that errors look alike).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/linalg/linalg.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward_members.h"

enum { K = WEIRP_REWARD_MEMBERS, MOMENTS = (K + 1) * (K + 1) };

static void add_row(weirp_reward_choosing *v, size_t k, size_t f, const double *z) {
    const weirp_reward *r = v->r;
    const weirp_reward_folds *o = &r->frame.folds;
    const weirp_ope_block *b = v->rows->block;
    size_t i = v->rows->row[k], m = b->chosen[i], fit = f * (1 + o->n_inner) + 1;
    fit += (size_t)o->group[f][v->rows->part[k]];
    double x[K + 1] = {v->rows->y[k]};
    for (size_t t = 0; t < r->n_members; t++) {
        double raw = r->kind[t] == WEIRP_MEMBER_TABLE ? weirp_reward_table_predict(r->table, fit, b->segment[i], m)
                                                      : weirp_reward_linear_one(&r->linear[t], fit, m, z);
        x[1 + t] = weirp_reward_unscaled(r, f, r->kind[t], raw);
    }
    double *sums = v->sums + (f * r->frame.n_models + m) * (K + 1);
    double *moments = v->moments + (f * r->frame.n_models + m) * MOMENTS;
    for (size_t s = 0; s <= r->n_members; s++) {
        sums[s] += v->rows->w[k] * x[s];
        for (size_t t = 0; t <= r->n_members; t++) moments[s * (K + 1) + t] += v->rows->w[k] * x[s] * x[t];
    }
}

static void add_share(void *context, unsigned worker, size_t begin, size_t end) {
    weirp_reward_choosing *v = context;
    const weirp_reward_frame *o = &v->r->frame;
    double *z = v->z + worker * v->d;
    for (size_t share = begin; share < end; share++)
        for (size_t k = 0; k < v->rows->n; k++) {
            size_t i = v->rows->row[k];
            if (!weirp_reward_z(o, v->rows->block, i, v->rows->block->chosen[i], z)) continue;
            for (size_t f = share; f < o->folds.n_folds; f += v->n_threads)
                if (o->folds.group[f][v->rows->part[k]] >= 0) add_row(v, k, f, z);
        }
}

void weirp_reward_choosing_add(void *context, const weirp_reward_rows *rows) {
    weirp_reward_choosing *v = context;
    v->rows = rows;
    weirp_parallel(v->n_threads, 1, v->n_threads, add_share, v);
}

/* Ratio of outcomes to predictions, each model's drawn to that of all by `prior` rows' worth. */
static void find_smear(weirp_reward *r, const weirp_reward_choosing *v, size_t f, size_t member) {
    size_t models = r->frame.n_models;
    const double *sums = v->sums + f * models * (K + 1);
    double y = 0, p = 0, *smear = r->smear + f * models;
    for (size_t m = 0; m < models; m++) {
        y += sums[m * (K + 1)];
        p += sums[m * (K + 1) + 1 + member];
    }
    double all = p > 0 && y > 0 ? y / p : 1, drag = p / (double)models * 0.1;
    for (size_t m = 0; m < models; m++) {
        double own = sums[m * (K + 1) + 1 + member];
        smear[m] = own + drag > 0 ? (sums[m * (K + 1)] + all * drag) / (own + drag) : all;
        smear[m] = weirp_clip(smear[m], 0.1, 10);
    }
}

/* Least w'Rw over the simplex: on each face the minimum solves R u = 1 and is 1 / sum u. */
static void least_combination(const double *residual, size_t n, double *weight) {
    double least = INFINITY, trace = 0;
    for (size_t k = 0; k < n; k++) trace += residual[k * K + k];
    for (unsigned face = 1; face < 1u << n; face++) {
        double a[K * K], u[K], total = 0;
        size_t at[K], size = 0;
        bool inside = true;
        for (size_t k = 0; k < n; k++)
            if (face & 1u << k) at[size++] = k;
        for (size_t s = 0; s < size; s++) {
            u[s] = 1;
            for (size_t t = 0; t < size; t++) a[s * size + t] = residual[at[s] * K + at[t]];
            a[s * size + s] += 1e-9 * trace + DBL_MIN;
        }
        if (weirp_solve_spd(a, size, u, 1, NULL) != WEIR_OK) continue;
        for (size_t s = 0; s < size; s++) total += u[s], inside &= u[s] >= 0;
        if (!inside || !(total > 0) || !(1 / total < least)) continue;
        least = 1 / total;
        memset(weight, 0, K * sizeof *weight);
        for (size_t s = 0; s < size; s++) weight[at[s]] = u[s] / total;
    }
}

static void choose_for(weirp_reward *r, const weirp_reward_choosing *v, size_t f) {
    size_t models = r->frame.n_models, n = r->n_members;
    double residual[K * K] = {0};
    for (size_t t = 0; t < n; t++)
        if (r->kind[t] == WEIRP_MEMBER_LOG_RIDGE) find_smear(r, v, f, t);
    for (size_t m = 0; m < models; m++) {
        const double *c = v->moments + (f * models + m) * MOMENTS;
        for (size_t s = 0; s < n; s++)
            for (size_t t = 0; t < n; t++) {
                double a = r->kind[s] == WEIRP_MEMBER_LOG_RIDGE ? r->smear[f * models + m] : 1;
                double b = r->kind[t] == WEIRP_MEMBER_LOG_RIDGE ? r->smear[f * models + m] : 1;
                residual[s * K + t] += c[0] - a * c[1 + s] - b * c[1 + t] + a * b * c[(1 + s) * (K + 1) + 1 + t];
            }
    }
    least_combination(residual, n, r->weight[f]);
}

void weirp_reward_choosing_end(const weirp_reward_choosing *v) {
    for (size_t f = 0; f < v->r->frame.folds.n_folds; f++) choose_for(v->r, v, f);
}

bool weirp_reward_needs_choice(const weirp_reward *r) {
    return r->n_members > 1 || (r->n_members && r->kind[0] == WEIRP_MEMBER_LOG_RIDGE);
}

weir_status weirp_reward_choosing_init(weirp_reward_choosing *v, weirp_reward *r, weir_error *err) {
    const weirp_reward_frame *o = &r->frame;
    const size_t folds = o->folds.n_folds, d = weirp_reward_d(o);
    *v = (weirp_reward_choosing){.r = r, .d = (d + 7) / 8 * 8};
    v->n_threads = folds < o->pass_threads ? (unsigned)folds : o->pass_threads;
    if (v->n_threads > WEIRP_MAX_THREADS) v->n_threads = WEIRP_MAX_THREADS;
    if (d <= 16) v->n_threads = 1; /* small rows aren't worth a thread */
    v->moments = weirp_array(folds * o->n_models * MOMENTS, sizeof *v->moments);
    v->sums = weirp_array(folds * o->n_models * (K + 1), sizeof *v->sums);
    v->z = weirp_array(v->n_threads * v->d, sizeof *v->z);
    return v->moments && v->sums && v->z ? WEIR_OK : weirp_nomem(err);
}

void weirp_reward_choosing_free(weirp_reward_choosing *v) {
    free(v->moments);
    free(v->sums);
    free(v->z);
}

/* figures.c: all measures of one (re)sample of prompts. Definitions: docs/formats.md, "Measures".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

weir_status weirp_rank_estimates(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t n = t->n, m = t->n_models;
    weir_status st = WEIR_OK;
    e->rank = weirp_array(n * m, sizeof *e->rank);
    e->n_rank = weirp_array(m, sizeof *e->n_rank);
    e->gap_rank = weirp_array(n, sizeof *e->gap_rank);
    if (!e->rank || !e->n_rank || !e->gap_rank) return weirp_nomem(err);
    for (size_t k = 0; k < m; k++)
        WEIRP_TRY(weirp_rank(t->q_hat + k, t->quality + k, n, m, e->rank + k * n, &e->n_rank[k], err));
    if (e->gap) WEIRP_TRY(weirp_rank(e->gap, e->gap, n, 1, e->gap_rank, &e->n_gap_rank, err));
done:
    return st;
}

static double clip(double q) {
    return fmin(fmax(q, 0), 1);
}

/* Measures of the estimates themselves, over the cells that have both an estimate and a label. */
static void measure_estimator(const weir_evaluation *e, const double *weight, weirp_figures *f) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    double error = 0, n = 0, q_in = 0, q_n = 0, c_in = 0, c_n = 0, auc = 0, n_auc = 0;
    for (size_t i = 0; i < t->n; i++) {
        const double w = weight ? weight[i] : 1;
        if (w == 0) continue;
        for (size_t k = i * m; k < (i + 1) * m; k++) {
            const double q = t->quality[k], c = t->cost_usd[k];
            if (isnan(q)) continue;
            if (isfinite(t->q_hat[k])) error += w * (clip(t->q_hat[k]) - q) * (clip(t->q_hat[k]) - q), n += w;
            if (!isnan(t->q_lo[k]) && !isnan(t->q_hi[k]))
                q_in += w * (q >= t->q_lo[k] - 1e-9 && q <= t->q_hi[k] + 1e-9), q_n += w;
            if (!isnan(t->c_lo[k]) && !isnan(t->c_hi[k]) && !isnan(c))
                c_in += w * (c >= t->c_lo[k] * (1 - 1e-9) && c <= t->c_hi[k] * (1 + 1e-9)), c_n += w;
        }
    }
    for (size_t k = 0; k < m; k++) {
        const double a = weirp_auc_ranked(e->rank + k * t->n, e->n_rank[k], t->q_hat + k, t->quality + k, m, weight);
        if (!isnan(a)) auc += a, n_auc++;
    }
    f->auc = n_auc > 0 ? auc / n_auc : NAN;
    f->brier = n > 0 ? error / n : NAN;
    f->quality_coverage = q_n > 0 ? q_in / q_n : NAN;
    f->cost_coverage = e->has_cost && c_n > 0 ? c_in / c_n : NAN;
    f->cost_r2 = e->has_cost ? weirp_r2_table(t->c_hat, t->cost_usd, t->n, m, (size_t)-1, weight) : NAN;
}

/* Mean outcome of every single model, as points whose value is the model's index. */
static void singles(const weirp_tables *t, const double *weight, weirp_point *out) {
    const size_t m = t->n_models;
    double total = 0;
    for (size_t k = 0; k < m; k++) out[k] = (weirp_point){0, 0, (double)k};
    for (size_t i = 0; i < t->n; i++) {
        const double w = weight ? weight[i] : 1;
        total += w;
        if (w == 0) continue;
        for (size_t k = 0; k < m; k++) {
            out[k].cost += w * t->cost_usd[i * m + k];
            out[k].quality += w * t->quality[i * m + k];
        }
    }
    for (size_t k = 0; k < m; k++) out[k].cost /= total, out[k].quality /= total;
}

/* The axis that all policies are measured on. */
typedef struct axis {
    double lo, hi; /* USD: the cheapest and the dearest single model */
    double best_quality, best_cost;
} axis;

static axis find_axis(const weirp_point *single, size_t m) {
    axis a = {INFINITY, 0, -INFINITY, 0};
    for (size_t k = 0; k < m; k++) {
        a.lo = fmin(a.lo, single[k].cost), a.hi = fmax(a.hi, single[k].cost);
        const bool better = single[k].quality > a.best_quality + 1e-12;
        const bool same = single[k].quality > a.best_quality - 1e-12;
        if (better || (same && single[k].cost < a.best_cost))
            a.best_quality = single[k].quality, a.best_cost = single[k].cost;
    }
    return a;
}

/* Figures of one policy from its points, which are used up. `hull` says that the policy is its own hull (it draws lots
 * between points, as the zero router does), so that it also reaches what lies between them. */
static void measure_points(weirp_point *points, size_t n, bool hull, const axis *a, weirp_policy_figures *f) {
    static const double shares[3] = {1, 0.98, 0.95};
    double *const reach[3] = {&f->cost_at_100, &f->cost_at_98, &f->cost_at_95};
    f->max_quality = -INFINITY;
    for (size_t i = 0; i < n; i++) f->max_quality = fmax(f->max_quality, points[i].quality);
    const size_t h = hull ? weirp_hull(points, n) : 0;
    for (size_t s = 0; s < 3; s++) {
        const double want = shares[s] * a->best_quality;
        *reach[s] = (hull ? weirp_hull_cost(points, h, want) : weirp_points_cost(points, n, want)) / a->best_cost;
    }
    f->aiq = weirp_hull_area(points, hull ? h : weirp_hull(points, n), a->lo, a->hi);
}

static void forget(double *figures, size_t n) {
    for (size_t i = 0; i < n; i++) figures[i] = NAN;
}

static void measure_policies(const weir_evaluation *e, const double *weight, weirp_point *points, weirp_figures *f) {
    const size_t m = e->tables->n_models;
    weirp_point *const single = points + e->max_points;
    singles(e->tables, weight, single);
    const axis a = find_axis(single, m);
    f->best_quality = a.best_quality;
    f->best_cost = a.best_cost;
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        if (p == WEIRP_ZERO) continue;
        const size_t n = e->curve[p].path.n ? weirp_path_points(&e->curve[p].path, weight, points) : 0;
        if (n == 0) continue;
        if (p == WEIRP_ORACLE) f->oracle_quality = points[n - 1].quality, f->oracle_cost = points[n - 1].cost;
        measure_points(points, n, false, &a, &f->policy[p]);
    }
    measure_points(single, m, true, &a, &f->policy[WEIRP_ZERO]);
    const double zero = f->policy[WEIRP_ZERO].aiq, room = f->policy[WEIRP_ORACLE].aiq - zero;
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        f->policy[p].lift = f->policy[p].aiq - zero;
        f->policy[p].captured_lift = room > 1e-12 ? f->policy[p].lift / room : NAN;
    }
}

/* What rests on costs, undone. */
static void forget_costs(weirp_figures *f) {
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        const double max_quality = f->policy[p].max_quality;
        forget((double *)&f->policy[p], sizeof f->policy[p] / sizeof(double));
        f->policy[p].max_quality = max_quality;
    }
    f->best_cost = f->oracle_cost = NAN;
}

void weirp_measure(const weir_evaluation *e, const double *weight, weirp_point *points, weirp_figures *out) {
    static const double x[2] = {0.5, 0.8};
    double cpt[2] = {NAN, NAN};
    forget((double *)out, WEIRP_N_FIGURES);
    measure_estimator(e, weight, out);
    if (!e->has_curve) return;
    measure_policies(e, weight, points, out);
    if (!e->has_cost) forget_costs(out);
    if (!e->gap) return;
    weirp_apgr_ranked(e->gap_rank, e->n_gap_rank, e->gap, e->q_weak, e->q_strong, weight, x, 2, &out->apgr, cpt);
    out->cpt50 = cpt[0], out->cpt80 = cpt[1];
}

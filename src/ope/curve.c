/* curve.c: a whole cost-quality curve off one log: a policy with one knob left open, estimated at many settings on the
 * same rows, with bands that hold for all settings at once, and its AIQ.
 *
 * Points are self-normalised doubly robust estimates. The hull takes the best of many noisy points, so that its area is
 * drawn upwards; the interval of AIQ is the bootstrap's, shifted by the bias that the bootstrap shows (Efron and
 * Tibshirani, An Introduction to the Bootstrap, 1993, ch. 10). SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/measure/measure.h"
#include "src/ope/judge.h"

enum { MOST_KNOBS = 48, SWITCH_ROWS = 4096, CURVE_CLUSTERS = 8192, N_SHARES = 3 };
static const double SHARES[N_SHARES] = {1, 0.98, 0.95}; /* cost@100, 98, 95 % */

/* Columns: the number of rows, then those of each point. */
enum { COL_N, N_SHARED };
enum { V_QUALITY, D_QUALITY, A_QUALITY, V_COST, D_COST, A_COST, N_OF_POINT };

typedef struct curving {
    const weirp_judging *j;
    weirp_ope_target *target;
    double knob[MOST_KNOBS];
    size_t n_knobs, n_points; /* points: the knobs', then the single models' */
    weirp_sums sums;
    weirp_draws draws;
    double *pi;
} curving;

/* ---- where the knob is to be set ---- */

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Values at which some row's best model changes: (c_b - c_a)/(q_b - q_a) for every pair. */
static size_t switches(const weirp_ope_block *b, double *out, size_t room) {
    size_t n = 0;
    if (!b->quality_hat || !b->cost_hat) return 0;
    for (size_t i = 0; i < b->n; i++) {
        const double *q = b->quality_hat + i * b->n_models, *c = b->cost_hat + i * b->n_models;
        for (size_t x = 0; x < b->n_models && n < room; x++)
            for (size_t y = 0; y < b->n_models && n < room; y++)
                if (c[y] > c[x] && q[y] > q[x]) out[n++] = (c[y] - c[x]) / (q[y] - q[x]);
    }
    return n;
}

static weir_status spread_values(curving *c, weir_error *err) {
    enum { ROOM = 1 << 18 };
    weirp_ope_block b;
    weirp_scan *scan = NULL;
    size_t n = 0;
    double *all = weirp_array(ROOM, sizeof *all);
    if (!all) return weirp_nomem(err);
    weir_status st = weirp_scan_new(&scan, c->j->table, err);
    while (st == WEIR_OK && n < ROOM && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK && b.first < SWITCH_ROWS)
        n += switches(&b, all + n, ROOM - n);
    if (st == WEIR_END) st = WEIR_OK;
    qsort(all, n, sizeof *all, rising);
    c->knob[c->n_knobs++] = 0;
    for (size_t k = 0; k + 2 < MOST_KNOBS; k++) {
        const double at = n ? all[(size_t)((double)(n - 1) * (double)k / (MOST_KNOBS - 3))]
                            : 1e-6 * pow(1e9, (double)k / (MOST_KNOBS - 3));
        if (at > c->knob[c->n_knobs - 1]) c->knob[c->n_knobs++] = at;
    }
    c->knob[c->n_knobs++] = INFINITY;
    weirp_scan_free(scan);
    free(all);
    return st;
}

static weir_status place_knobs(curving *c, weir_error *err) {
    const char *text = c->j->s->o.curve;
    if (strstr(text, "value=?")) return spread_values(c, err);
    for (size_t k = 0; k < MOST_KNOBS; k++) {
        const double t = (double)k / (MOST_KNOBS - 1);
        c->knob[c->n_knobs++] = strstr(text, "max_cost=?") ? 1e-7 * pow(1e7, t) : t;
    }
    return WEIR_OK;
}

/* ---- the rows ---- */

static void add_point(curving *c, const weirp_ope_block *b, size_t point) {
    const weirp_judging *j = c->j;
    const size_t m = b->n_models, first = N_SHARED + point * N_OF_POINT;
    static const weir_metric metric[] = {WEIR_METRIC_QUALITY, WEIR_METRIC_COST};
    for (size_t i = 0; i < b->n; i++) {
        const double *pi = c->pi + i * m;
        if (b->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED) || isnan(pi[b->chosen[i]])) continue;
        double *x = c->sums.x + (b->cluster[i] % c->sums.n_clusters) * c->sums.n_columns;
        const double w = pi[b->chosen[i]] / b->p[i];
        for (size_t k = 0; k < 2; k++) {
            const double *q = j->q[metric[k]] + i * m, y = b->metric[i * WEIR_N_METRICS + metric[k]];
            double v = 0;
            for (size_t a = 0; a < m; a++) v += pi[a] > 0 ? pi[a] * q[a] : 0;
            x[first + 3 * k] += v;
            if (isnan(y)) continue;
            const double wl = w / j->e[metric[k]][i];
            x[first + 3 * k + 1] += wl * (y - q[b->chosen[i]]);
            x[first + 3 * k + 2] += wl;
        }
    }
}

static void always(double *pi, size_t n, size_t n_models, size_t model) {
    memset(pi, 0, n * n_models * sizeof *pi);
    for (size_t i = 0; i < n; i++) pi[i * n_models + model] = 1;
}

static weir_status add_block(curving *c, const weirp_ope_block *b, weir_error *err) {
    const weirp_judging *j = c->j;
    weir_status st = WEIR_OK;
    size_t n_undecided = 0;
    for (weir_metric m = WEIR_METRIC_QUALITY; m <= WEIR_METRIC_COST; m++) {
        weirp_reward_predict(j->reward[m], b, j->q[m]);
        weirp_ope_labels_predict(j->labels[m], b, j->e[m]);
    }
    for (size_t k = 0; k < c->n_points; k++) {
        if (k < c->n_knobs) {
            WEIRP_TRY(weirp_ope_target_turn(c->target, c->knob[k], err));
            WEIRP_TRY(weirp_ope_target_fill(c->target, b, c->pi, &n_undecided, err));
        } else {
            always(c->pi, b->n, b->n_models, k - c->n_knobs);
        }
        if (k == 0)
            for (size_t i = 0; i < b->n; i++)
                if (!(b->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED)) && !isnan(c->pi[i * b->n_models]))
                    c->sums.x[(b->cluster[i] % c->sums.n_clusters) * c->sums.n_columns + COL_N]++;
        add_point(c, b, k);
    }
done:
    return st;
}

static weir_status go_over(curving *c, weir_error *err) {
    const weir_ope_options *o = &c->j->s->o;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = weirp_scan_new(&scan, c->j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        if (o->progress && o->progress(o->progress_user, "curve", b.first, weirp_ope_table_n(c->j->table)))
            st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        if (st == WEIR_OK) st = add_block(c, &b, err);
    }
    weirp_scan_free(scan);
    if (st != WEIR_END) return st;
    weirp_sums_finish(&c->sums);
    return weirp_draws_make(&c->draws, &c->sums, o->n_bootstrap, o->seed, o->n_threads, err);
}

/* ---- figures ---- */

static void ratios(size_t point, bool cost, weirp_ratio out[1]) {
    const size_t first = N_SHARED + point * N_OF_POINT + (cost ? V_COST : V_QUALITY);
    out[0] = (weirp_ratio){.num = first + 1, .den = first + 2, .add = first, .add_den = COL_N, .factor = 1};
}

static double value_of(const double *total, size_t point, bool cost) {
    weirp_ratio ratio[1];
    ratios(point, cost, ratio);
    return weirp_statistic_value(&(weirp_statistic){ratio, 1}, total);
}

typedef struct figures {
    double aiq, cost_at[N_SHARES];
} figures;

/* AIQ and cost@ of totals, the observed ones or a draw's. `points` has room for all. */
static figures figures_of(const curving *c, const double *total, weirp_point *points) {
    double lo = INFINITY, hi = 0, best = -INFINITY, best_cost = NAN;
    for (size_t k = c->n_knobs; k < c->n_points; k++) {
        const double cost = value_of(total, k, true), quality = value_of(total, k, false);
        if (isnan(cost) || isnan(quality)) continue;
        lo = fmin(lo, cost);
        hi = fmax(hi, cost);
        if (quality > best) best = quality, best_cost = cost;
    }
    size_t n = 0;
    for (size_t k = 0; k < c->n_knobs; k++) {
        const weirp_point p = {value_of(total, k, true), value_of(total, k, false), c->knob[k]};
        if (!isnan(p.cost) && !isnan(p.quality)) points[n++] = p;
    }
    figures f = {NAN, {NAN, NAN, NAN}};
    if (!n || !(hi > 0)) return f;
    const size_t n_hull = weirp_hull(points, n);
    f.aiq = weirp_hull_area(points, n_hull, lo, hi);
    for (size_t s = 0; s < N_SHARES; s++) f.cost_at[s] = weirp_hull_cost(points, n_hull, SHARES[s] * best) / best_cost;
    return f;
}

static int at(const void *a, const void *b) {
    return rising(a, b);
}

/* Interval of one figure from its draws, shifted by the bias that they show; NANs (never reached) count as infinite. */
static void bounds(double *draws, size_t n, double value, double level, double *lo, double *hi) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(draws[i])) draws[i] = INFINITY;
        sum += draws[i];
    }
    const double bias = sum / (double)n - value;
    qsort(draws, n, sizeof *draws, at);
    *lo = weirp_percentile(draws, n, (1 - level) / 2);
    *hi = weirp_percentile(draws, n, (1 + level) / 2);
    if (isfinite(bias)) *lo -= 2 * bias, *hi -= 2 * bias;
    if (!isfinite(*lo)) *lo = NAN;
    if (!isfinite(*hi)) *hi = NAN;
}

static weir_status tell_figures(const curving *c, weirp_log_curve *out, weir_error *err) {
    const size_t n = c->draws.n_draws;
    weirp_point *points = weirp_array(c->n_knobs, sizeof *points);
    double *draws = weirp_array(n * (1 + N_SHARES), sizeof *draws);
    weir_status st = WEIR_OK;
    if (!points || !draws) WEIRP_TRY(weirp_nomem(err));
    const figures f = figures_of(c, c->sums.total, points);
    double aiq_mean = 0;
    for (size_t d = 0; d < n; d++) {
        const figures g = figures_of(c, c->draws.total + d * c->draws.n_columns, points);
        draws[d] = g.aiq;
        aiq_mean += g.aiq / (double)n;
        for (size_t s = 0; s < N_SHARES; s++) draws[(1 + s) * n + d] = g.cost_at[s];
    }
    out->aiq = 2 * f.aiq - aiq_mean; /* less the bias */
    bounds(draws, n, f.aiq, c->j->s->o.level, &out->aiq_lo, &out->aiq_hi);
    for (size_t s = 0; s < N_SHARES; s++) {
        out->cost_at[s] = f.cost_at[s];
        bounds(draws + (1 + s) * n, n, f.cost_at[s], c->j->s->o.level, &out->cost_at_lo[s], &out->cost_at_hi[s]);
    }
done:
    free(points);
    free(draws);
    return st;
}

static weir_status tell_points(const curving *c, weirp_log_curve *out, weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t n = 2 * c->n_points;
    weirp_ratio *ratio = weirp_array(n, sizeof *ratio);
    weirp_statistic *statistic = weirp_array(n, sizeof *statistic);
    double *se = weirp_array(n, sizeof *se), factor = NAN, df;
    out->point = weirp_array(c->n_knobs, sizeof *out->point);
    out->single = weirp_array(c->n_points - c->n_knobs, sizeof *out->single);
    if (!ratio || !statistic || !se || !out->point || !out->single) WEIRP_TRY(weirp_nomem(err));
    for (size_t k = 0; k < n; k++) {
        ratios(k / 2, k % 2, &ratio[k]);
        statistic[k] = (weirp_statistic){&ratio[k], 1};
        se[k] = weirp_se(&statistic[k], &c->sums, true, &df);
    }
    /* one band for the knobs; single models are drawn with it, too */
    WEIRP_TRY(weirp_band_factor(statistic, 2 * c->n_knobs, &c->sums, &c->draws, se, c->j->s->o.level, &factor, err));
    for (size_t k = 0; k < c->n_points; k++) {
        weirp_curve_point *p = k < c->n_knobs ? &out->point[k] : &out->single[k - c->n_knobs];
        const double quality = value_of(c->sums.total, k, false), cost = value_of(c->sums.total, k, true);
        const double lo = cost - factor * se[2 * k + 1];
        *p = (weirp_curve_point){.knob = k < c->n_knobs ? c->knob[k] : NAN,
                                 .cost = cost,
                                 .cost_se = se[2 * k + 1],
                                 .quality = quality,
                                 .quality_se = se[2 * k],
                                 .quality_lo = quality - factor * se[2 * k],
                                 .quality_hi = quality + factor * se[2 * k],
                                 .cost_lo = cost < 0 ? lo : fmax(0, lo), /* costs are never below 0 */
                                 .cost_hi = cost + factor * se[2 * k + 1],
                                 .true_cost = NAN,
                                 .true_quality = NAN};
    }
    out->n = c->n_knobs;
    out->true_aiq = NAN;
done:
    free(ratio);
    free(statistic);
    free(se);
    return st;
}

weir_status weirp_ope_curve(const weirp_judging *j, weir_ope *result, weir_error *err) {
    curving c = {.j = j};
    weir_status st = WEIR_OK;
    if (result->deterministic)
        return weirp_fail(
            err, WEIR_NODATA, 0,
            "the log is deterministic: every choice had a chance of 1, so no curve can be read off it; log "
            "with exploration (policy.explore_floor)");
    if (!j->reward[WEIR_METRIC_QUALITY] || !j->reward[WEIR_METRIC_COST])
        return weirp_fail(err, WEIR_NODATA, 0, "a curve needs the quality and the cost of the log's answers");
    WEIRP_TRY(weirp_ope_target_new(&c.target, j->s->o.curve, j->table, j->router, err));
    WEIRP_TRY(weirp_ope_target_turn(c.target, 0, err));
    WEIRP_TRY(place_knobs(&c, err));
    c.n_points = c.n_knobs + j->n_models;
    const size_t n_clusters = weirp_ope_table_n_clusters(j->table);
    WEIRP_TRY(weirp_sums_init(&c.sums, n_clusters < CURVE_CLUSTERS ? n_clusters : CURVE_CLUSTERS,
                              N_SHARED + c.n_points * N_OF_POINT, err));
    c.pi = weirp_array(WEIRP_BLOCK_ROWS * j->n_models, sizeof *c.pi);
    result->curve.policy = strdup(j->s->o.curve);
    if (!c.pi || !result->curve.policy) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(go_over(&c, err));
    WEIRP_TRY(tell_points(&c, &result->curve, err));
    st = tell_figures(&c, &result->curve, err);
done:
    weirp_ope_target_free(c.target);
    weirp_sums_free(&c.sums);
    weirp_draws_free(&c.draws);
    free(c.pi);
    return st;
}

/* curve_figures.c: what resamples say of a curve: its band, AIQ and cost@p%.
 *
 * The hull takes the best of many noisy points, so that its area is drawn upwards; the interval of AIQ is the
 * bootstrap's, shifted by the bias that the bootstrap shows (Efron and Tibshirani, An Introduction to the Bootstrap,
 * 1993, ch. 10), and AIQ itself is told less that bias. Points are added one at a time, so that nobody needs the draws
 * of all of them at once: of the knobs two numbers a draw are kept, of all single models together four.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/measure/measure.h"
#include "src/ope/curve_parts.h"

enum { N_SHARES = 3 };
static const double SHARES[N_SHARES] = {1, 0.98, 0.95}; /* cost@100, 98, 95 % */
static const double SAME = 1e-12;                       /* means that differ by less are the same */

weir_status weirp_curve_drawn_init(weirp_curve_drawn *d, size_t n_draws, size_t n_knobs, weir_error *err) {
    *d = (weirp_curve_drawn){.n_draws = n_draws, .n_knobs = n_knobs, .fewest = INFINITY};
    const size_t all = n_draws + 1;
    d->knob = weirp_array(n_knobs, sizeof *d->knob);
    d->quality = weirp_array(n_knobs * all, sizeof *d->quality);
    d->cost = weirp_array(n_knobs * all, sizeof *d->cost);
    d->lo = weirp_array(4 * all, sizeof *d->lo);
    d->most = weirp_array(all, sizeof *d->most);
    if (!d->knob || !d->quality || !d->cost || !d->lo || !d->most) return weirp_nomem(err);
    d->hi = d->lo + all;
    d->best = d->hi + all;
    d->best_cost = d->best + all;
    for (size_t i = 0; i < all; i++) {
        d->lo[i] = INFINITY;
        d->best[i] = -INFINITY;
        d->best_cost[i] = NAN;
    }
    return WEIR_OK;
}

void weirp_curve_drawn_free(weirp_curve_drawn *d) {
    free(d->knob);
    free(d->quality);
    free(d->cost);
    free(d->lo);
    free(d->most);
}

/* ---- points ---- */

static double value_at(const weirp_statistic *s, const weirp_sums *sums, const weirp_draws *draws, size_t d) {
    return weirp_statistic_value(s, d < draws->n_draws ? draws->total + d * draws->n_columns : sums->total);
}

/* The best single model is that of most quality; of equals, the cheaper. */
static void add_single(weirp_curve_drawn *to, size_t d, double quality, double cost) {
    if (isnan(quality) || isnan(cost)) return;
    to->lo[d] = fmin(to->lo[d], cost);
    to->hi[d] = fmax(to->hi[d], cost);
    if (quality > to->best[d] + SAME || (quality > to->best[d] - SAME && cost < to->best_cost[d])) {
        to->best[d] = quality;
        to->best_cost[d] = cost;
    }
}

void weirp_curve_drawn_add(weirp_curve_drawn *to, const weirp_statistic *quality, const weirp_statistic *cost,
                           const weirp_sums *sums, const weirp_draws *draws, bool single, weirp_curve_point *p) {
    const size_t n = to->n_draws, at = to->n_judged * (n + 1);
    double df_quality, df_cost;
    p->quality = weirp_statistic_value(quality, sums->total);
    p->cost = weirp_statistic_value(cost, sums->total);
    p->quality_se = weirp_se(quality, sums, true, &df_quality);
    p->cost_se = weirp_se(cost, sums, true, &df_cost);
    for (size_t d = 0; d <= n; d++) {
        const double q = value_at(quality, sums, draws, d), c = value_at(cost, sums, draws, d);
        if (single) {
            add_single(to, d, q, c);
            continue;
        }
        to->quality[at + d] = q;
        to->cost[at + d] = c;
    }
    to->n_singles += single;
    if (single) return;
    weirp_band_add(to->most, &to->fewest, quality, sums, draws, p->quality_se, df_quality);
    weirp_band_add(to->most, &to->fewest, cost, sums, draws, p->cost_se, df_cost);
    to->knob[to->n_judged++] = p->knob;
}

/* ---- figures ---- */

typedef struct figures {
    double aiq, cost_at[N_SHARES];
} figures;

/* Of one draw. `points` has room for all knobs. */
static figures figures_of(const weirp_curve_drawn *c, size_t d, weirp_point *points) {
    size_t n = 0;
    for (size_t k = 0; k < c->n_judged; k++) {
        const size_t at = k * (c->n_draws + 1) + d;
        if (!isnan(c->cost[at]) && !isnan(c->quality[at]))
            points[n++] = (weirp_point){c->cost[at], c->quality[at], c->knob[k]};
    }
    figures f = {NAN, {NAN, NAN, NAN}};
    if (!n || !(c->hi[d] > 0)) return f;
    for (size_t s = 0; s < N_SHARES; s++)
        f.cost_at[s] = weirp_points_cost(points, n, SHARES[s] * c->best[d]) / c->best_cost[d];
    f.aiq = weirp_hull_area(points, weirp_hull(points, n), c->lo[d], c->hi[d]);
    return f;
}

/* Interval of one figure from its draws, shifted by the bias that they show; NANs (never reached) count as infinite. */
static void bounds(double *draws, size_t n, double value, double level, double *lo, double *hi) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(draws[i])) draws[i] = INFINITY;
        sum += draws[i];
    }
    const double bias = sum / (double)n - value;
    *lo = weirp_percentile(draws, n, (1 - level) / 2);
    *hi = weirp_percentile(draws, n, (1 + level) / 2);
    if (isfinite(bias)) *lo -= 2 * bias, *hi -= 2 * bias;
    if (!isfinite(*lo)) *lo = NAN;
    if (!isfinite(*hi)) *hi = NAN;
}

static weir_status tell_figures(const weirp_curve_drawn *c, weirp_log_curve *out, double level, weir_error *err) {
    const size_t n = c->n_draws;
    weirp_point *points = weirp_array(c->n_judged, sizeof *points);
    double *draws = weirp_array(n * (1 + N_SHARES), sizeof *draws);
    weir_status st = WEIR_OK;
    if (!points || !draws) WEIRP_TRY(weirp_nomem(err));
    const figures f = figures_of(c, n, points);
    double aiq_mean = 0;
    for (size_t d = 0; d < n; d++) {
        const figures g = figures_of(c, d, points);
        draws[d] = g.aiq;
        aiq_mean += g.aiq / (double)n;
        for (size_t s = 0; s < N_SHARES; s++) draws[(1 + s) * n + d] = g.cost_at[s];
    }
    out->aiq_drawn = f.aiq;
    out->aiq = 2 * f.aiq - aiq_mean; /* less the bias */
    bounds(draws, n, f.aiq, level, &out->aiq_lo, &out->aiq_hi);
    for (size_t s = 0; s < N_SHARES; s++) {
        out->cost_at[s] = f.cost_at[s];
        bounds(draws + (1 + s) * n, n, f.cost_at[s], level, &out->cost_at_lo[s], &out->cost_at_hi[s]);
    }
done:
    free(points);
    free(draws);
    return st;
}

/* ---- the whole ---- */

static bool rests_on_bounds(const weirp_curve_point *p) {
    return !*p->refusal && p->unsupported > WEIRP_OPE_NO_MASS;
}

static void set_band(weirp_curve_point *p, double factor, double most_cost) {
    const double lo = p->cost - factor * p->cost_se;
    if (*p->refusal) return;
    p->quality_lo = p->quality - factor * p->quality_se;
    p->quality_hi = p->quality + factor * p->quality_se;
    p->cost_lo = p->cost < 0 ? lo : fmax(0, lo); /* costs are never below 0 */
    p->cost_hi = p->cost + factor * p->cost_se;
    if (!rests_on_bounds(p)) return;
    const double reach = fmin(2 * p->unsupported, 1); /* points are normalised: honesty.c */
    p->quality_lo = fmax(p->quality_lo - reach, fmin(p->quality_lo, 0));
    p->quality_hi = fmin(p->quality_hi + reach, fmax(p->quality_hi, 1));
    p->cost_lo = fmax(p->cost_lo - reach * most_cost, fmin(p->cost_lo, 0));
    p->cost_hi = fmin(p->cost_hi + reach * most_cost, fmax(p->cost_hi, most_cost));
}

/* Settings and single models, of those that can be judged. */
static void count_on_bounds(const weirp_log_curve *c, size_t n_models, size_t *settings, size_t *singles) {
    *settings = *singles = 0;
    for (size_t k = 0; k < c->n; k++) *settings += rests_on_bounds(&c->point[k]);
    for (size_t m = 0; m < n_models; m++) *singles += rests_on_bounds(&c->single[m]);
}

weir_status weirp_curve_tell(weirp_curve_drawn *c, weirp_log_curve *out, size_t n_models, double level,
                             double most_cost, weir_error *err) {
    size_t settings, singles;
    /* one band for the knobs; single models are drawn with it, too */
    const double factor = weirp_band_factor(c->most, c->n_draws, c->fewest, level);
    for (size_t k = 0; k < out->n; k++) set_band(&out->point[k], factor, most_cost);
    for (size_t m = 0; m < n_models; m++) set_band(&out->single[m], factor, most_cost);
    count_on_bounds(out, n_models, &settings, &singles);
    out->n_singles = c->n_singles;
    out->aiq = out->aiq_drawn = out->aiq_lo = out->aiq_hi = NAN;
    for (size_t s = 0; s < N_SHARES; s++) out->cost_at[s] = out->cost_at_lo[s] = out->cost_at_hi[s] = NAN;
    /* Both are of the whole curve: what a part of it reaches says nothing of where the rest goes. AIQ's range goes from
     * the cheapest model to the dearest: of several, one is no range. */
    if (out->n_refused)
        snprintf(out->why_not, sizeof out->why_not,
                 "they are of the whole curve, and %zu of %zu settings can't be judged", out->n_refused,
                 out->n + out->n_refused);
    else if (c->n_singles < 2 && n_models > 1)
        snprintf(out->why_not, sizeof out->why_not,
                 "they go by the cheapest, the dearest and the best model, and %zu of %zu can be judged", c->n_singles,
                 n_models);
    else if (settings || singles) /* how far a hull's area may be off by what bounds alone tell isn't known */
        snprintf(
            out->why_not, sizeof out->why_not,
            "they rest on choices that the log never could have made, at %zu of %zu settings and of %zu of %zu models",
            settings, out->n, singles, c->n_singles);
    if (*out->why_not) return WEIR_OK;
    return tell_figures(c, out, level, err);
}

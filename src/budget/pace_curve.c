/* pace_curve.c: mean cost and quality of a request as functions of value.
 *
 * As value rises, argmin value*(1-q)+c walks along the lower right hull of a request's (cost, quality) points: from the
 * cheapest model upwards, passing an edge at value = dc/dq, the edge's slope. So one request adds to the curve a base
 * and a few steps, each put into the bin of its value; sums over bins give what all requests of the past would have
 * cost and yielded at any value, without a decision having to be made again. Within a bin the curve runs straight in
 * log value. Forgetting: each request weighs a little more than the one before, which is the same as all others
 * weighing less. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/budget/pace_parts.h"

enum { COST, SQUARE, QUALITY };
static const double DEAREST = 1e6; /* USD; a dearer call isn't believed */
static const double HEAVY = 1e100; /* weights are brought back to 1 before sums could overflow */

void weirp_curve_init(weirp_curve *curve, double least, double most, double memory) {
    memset(curve, 0, sizeof *curve);
    curve->least = least, curve->most = most;
    curve->log_step = log(most / least) / WEIRP_CURVE_BINS;
    curve->growth = 1 / (1 - 1 / fmax(memory, 2));
    curve->next = 1;
    curve->stale = true;
}

static bool usable(const double *quality, const double *cost, const bool *eligible, size_t m) {
    return (!eligible || eligible[m]) && isfinite(quality[m]) && cost[m] >= 0 && cost[m] <= DEAREST;
}

static double within(double quality) {
    return fmin(fmax(quality, 0), 1);
}

static void lighten(weirp_curve *curve) {
    const double by = 1 / curve->next;
    for (size_t part = 0; part < 3; part++) {
        curve->base[part] *= by;
        for (size_t k = 0; k < WEIRP_CURVE_BINS; k++) curve->step[part][k] *= by;
    }
    curve->weight *= by;
    curve->next = 1;
}

/* Adds to the base, or to the bin of `value`, where that is given; above the range it is never bought. */
static void add(weirp_curve *curve, double value, double d_cost, double d_square, double d_quality) {
    const double w = curve->next, d[3] = {d_cost, d_square, d_quality};
    if (value < curve->least) {
        for (size_t part = 0; part < 3; part++) curve->base[part] += w * d[part];
    } else if (value < curve->most) {
        size_t k = (size_t)(log(value / curve->least) / curve->log_step);
        if (k >= WEIRP_CURVE_BINS) k = WEIRP_CURVE_BINS - 1; /* rounding */
        for (size_t part = 0; part < 3; part++) curve->step[part][k] += w * d[part];
    }
}

bool weirp_curve_add(weirp_curve *curve, size_t n, const double *quality, const double *cost, const bool *eligible) {
    size_t at = n;
    for (size_t m = 0; m < n; m++) {
        if (!usable(quality, cost, eligible, m)) continue;
        if (at == n || cost[m] < cost[at] || (cost[m] == cost[at] && quality[m] > quality[at])) at = m;
    }
    if (at == n) return false;
    double c = cost[at], q = within(quality[at]);
    add(curve, 0, c, c * c, q);
    for (size_t steps = 0; steps < n; steps++) { /* the hull, edge by edge; few models lie on it */
        double least = INFINITY, to_c = 0, to_q = 0;
        for (size_t m = 0; m < n; m++) {
            if (!usable(quality, cost, eligible, m)) continue;
            const double qm = within(quality[m]);
            if (!(qm > q) || cost[m] < c) continue;
            const double slope = (cost[m] - c) / (qm - q);
            if (slope < least || (slope == least && qm > to_q)) least = slope, to_c = cost[m], to_q = qm;
        }
        if (!(least < curve->most)) break;
        add(curve, least, to_c - c, to_c * to_c - c * c, to_q - q);
        c = to_c, q = to_q;
    }
    curve->weight += curve->next;
    curve->n++;
    curve->next *= curve->growth;
    curve->stale = true;
    if (curve->next > HEAVY) lighten(curve);
    return true;
}

void weirp_curve_refresh(weirp_curve *curve) {
    if (!curve->stale) return;
    curve->stale = false;
    const double by = curve->weight > 0 ? 1 / curve->weight : 0;
    double *const out[3] = {curve->cost, curve->square, curve->quality};
    for (size_t part = 0; part < 3; part++) {
        double sum = curve->base[part];
        for (size_t k = 0; k < WEIRP_CURVE_BINS; k++) {
            out[part][k] = sum * by;
            sum += curve->step[part][k];
        }
        out[part][WEIRP_CURVE_BINS] = sum * by;
    }
}

double weirp_curve_at(const weirp_curve *curve, const double *of, double value) {
    if (!(value > curve->least)) return of[0];
    if (value >= curve->most) return of[WEIRP_CURVE_BINS];
    const double x = log(value / curve->least) / curve->log_step;
    const size_t k = x < WEIRP_CURVE_BINS ? (size_t)x : WEIRP_CURVE_BINS - 1;
    return of[k] + (x - (double)k) * (of[k + 1] - of[k]);
}

double weirp_curve_find(const weirp_curve *curve, const double *of, double target) {
    if (target <= of[0]) return curve->least;
    if (!(target <= of[WEIRP_CURVE_BINS])) return INFINITY;
    size_t lo = 0, hi = WEIRP_CURVE_BINS; /* of[lo] < target <= of[hi] */
    while (hi - lo > 1) {
        const size_t mid = lo + (hi - lo) / 2;
        if (of[mid] < target)
            lo = mid;
        else
            hi = mid;
    }
    const double x = (double)lo + (target - of[lo]) / (of[hi] - of[lo]);
    return curve->least * exp(x * curve->log_step);
}

void weirp_curve_save(const weirp_curve *curve, weirp_writer *out) {
    weirp_put_u32(out, WEIRP_CURVE_BINS);
    weirp_put_f64(out, curve->least);
    weirp_put_f64(out, curve->most);
    weirp_put_f64(out, curve->weight);
    weirp_put_f64(out, curve->next);
    weirp_put_f64(out, curve->n);
    for (size_t part = 0; part < 3; part++) weirp_put_f64(out, curve->base[part]);
    for (size_t part = 0; part < 3; part++)
        for (size_t k = 0; k < WEIRP_CURVE_BINS; k++) weirp_put_f64(out, curve->step[part][k]);
}

/* A sum that a curve can hold. */
static bool possible(double x) {
    return x >= 0 && x < 1e300;
}

bool weirp_curve_load(weirp_curve *curve, weirp_bytes *in) {
    if (weirp_get_u32(in) != WEIRP_CURVE_BINS) return false;
    if (weirp_get_f64(in) != curve->least || weirp_get_f64(in) != curve->most) return false;
    curve->weight = weirp_get_f64(in);
    curve->next = weirp_get_f64(in);
    curve->n = weirp_get_f64(in);
    bool good = possible(curve->weight) && curve->next >= 1 && curve->next <= HEAVY && possible(curve->n);
    for (size_t part = 0; part < 3; part++)
        if (!possible(curve->base[part] = weirp_get_f64(in))) good = false;
    for (size_t part = 0; part < 3; part++)
        for (size_t k = 0; k < WEIRP_CURVE_BINS; k++)
            if (!possible(curve->step[part][k] = weirp_get_f64(in))) good = false;
    curve->stale = true;
    return good && !in->failed;
}

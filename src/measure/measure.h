/* measure.h: measures, each a pure function of numbers (definitions: docs/formats.md, "Measures").
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_MEASURE_H
#define WEIRP_MEASURE_H

#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

typedef struct weirp_point {
    double cost, quality; /* means over prompts */
    double value;         /* the knob that gave it; NAN: none */
} weirp_point;

/* Upper concave non-decreasing hull (RouterBench, arXiv 2403.12031, section 3): sorts `points` in place by cost and moves
 * the hull's points to the front; gives their number. */
size_t weirp_hull(weirp_point *points, size_t n);

/* Mean height of a hull between two costs: 0 left of its first point, flat right of its last. lo == hi gives the height
 * there. */
double weirp_hull_area(const weirp_point *hull, size_t n, double cost_lo, double cost_hi);
/* Height of a hull at a cost (0 left of it), and the least cost that reaches a quality (NAN: never). */
double weirp_hull_at(const weirp_point *hull, size_t n, double cost);
double weirp_hull_cost(const weirp_point *hull, size_t n, double quality);

/* The curve of a policy that chooses argmin value*(1-q)+c, for ALL values at once: the exact set of (mean cost, mean
 * quality) points that value = 0 .. infinity can reach, without a grid, from the estimates' lower envelopes per prompt.
 * Tables are (n, n_models) row-major without NANs. `points` is new (free it); at least 400 of them where the curve has
 * that many, sorted by value. */
weir_status weirp_value_curve(const double *q_hat, const double *c_hat, const double *quality, const double *cost,
                              size_t n, size_t n_models, weirp_point **points, size_t *n_points, weir_error *err);

/* AIQ of that curve over [cost_lo, cost_hi]. */
weir_status weirp_aiq(const double *q_hat, const double *c_hat, const double *quality, const double *cost, size_t n,
                      size_t n_models, double cost_lo, double cost_hi, double *aiq, weir_error *err);

/* ROC area of score against label > 0.5, ties counted half; NAN when one class is empty. Skips NANs. */
double weirp_auc(const double *score, const double *label, size_t n, size_t stride);

/* APGR and CPT(x) of calls ranked by `gap` (higher: strong first) (RouteLLM, arXiv 2406.18665, section 4). `cpt` (n_cpt)
 * gets the least share of strong calls that recovers x[i] of the gap; NAN: never. NAN when there is no gap. */
weir_status weirp_apgr(const double *gap, const double *weak, const double *strong, size_t n, const double *x,
                       size_t n_cpt, double *apgr, double *cpt, weir_error *err);

/* 1 - sum (y-p)^2 / sum (y-mean)^2 over pairs without NAN; NAN when undefined. */
double weirp_r2(const double *predicted, const double *actual, size_t n);

/* Percentile of values (sorted in place), p in [0,1], linear interpolation; NAN for n == 0. */
double weirp_percentile(double *values, size_t n, double p);

#endif

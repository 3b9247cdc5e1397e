/* measure.h: measures, each a pure function of numbers (definitions: docs/formats.md, "Measures").
 *
 * Lives here: sums, hulls, ranks. Knows no store, no text, no file; may include src/base/ only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_MEASURE_H
#define WEIRP_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

typedef struct weirp_point {
    double cost, quality; /* means over prompts */
    double value;         /* the knob that gave it; NAN: none */
} weirp_point;

/* Upper concave non-decreasing hull (RouterBench, arXiv 2403.12031, section 3): sorts `points` in place by cost and
 * moves the hull's points to the front; gives their number. */
size_t weirp_hull(weirp_point *points, size_t n);

/* Mean height of a hull between two costs: 0 left of its first point, flat right of its last. lo == hi gives the height
 * there. */
double weirp_hull_area(const weirp_point *hull, size_t n, double cost_lo, double cost_hi);
/* Height of a hull at a cost (0 left of it), and the least cost that reaches a quality (NAN: never). */
double weirp_hull_at(const weirp_point *hull, size_t n, double cost);
double weirp_hull_cost(const weirp_point *hull, size_t n, double quality);

/* A policy's way along its knob: what every prompt costs and yields at the knob's start, and every later change of
 * model. Held so that a resample of the prompts is one sweep over the steps. */
typedef struct weirp_step {
    double value;             /* the knob from which on the choice holds */
    double d_cost, d_quality; /* outcome of the new model minus that of the one before */
    uint32_t prompt, model;
} weirp_step;

typedef struct weirp_path {
    size_t n, n_steps, capacity;
    double *cost, *quality; /* (n) outcomes at the start */
    uint32_t *model;        /* (n) the model chosen at the start */
    weirp_step *steps;      /* (n_steps) by value, then prompt */
    double start;           /* the knob's first value */
    bool grid; /* only the steps' own values are known to give these choices; otherwise everything between two steps */
} weirp_path;

/* The path of argmin value*(1-q)+c for ALL values at once, from the estimates' lower envelopes per prompt: no grid.
 * Tables are (n, n_models) row-major; an estimate that isn't finite makes that model not eligible for that prompt. Ties
 * at value 0 go to the higher quality. A prompt without an eligible model: WEIR_NODATA. `path` is the caller's; free it
 * with weirp_path_free whatever the status. */
weir_status weirp_path_plugin(weirp_path *path, const double *q_hat, const double *c_hat, const double *quality,
                              const double *cost, size_t n, size_t n_models, weir_error *err);
/* An empty path for n prompts, to be filled by hand: set cost, quality, model, add steps, then sort. */
weir_status weirp_path_init(weirp_path *path, size_t n, weir_error *err);
weir_status weirp_path_add(weirp_path *path, weirp_step step, weir_error *err);
void weirp_path_sort(weirp_path *path);
void weirp_path_free(weirp_path *path);
/* Sweeps: mean cost and quality after each change, prompts weighted by `weight` (n; NULL: all 1). `points` has room for
 * n_steps + 1; gives their number, 0 when no prompt has weight. Each point's value lies inside the range of values that
 * gives it. */
size_t weirp_path_points(const weirp_path *path, const double *weight, weirp_point *points);
/* Thins points (sorted along the curve) in place to about `target` that are spread evenly along it, and leaves the
 * ends, the hull and those whose `keep` is set (NULL: none). Gives their number. */
weir_status weirp_thin(weirp_point *points, size_t *n, size_t target, const bool *keep, weir_error *err);

/* The points of that path, sorted by value. `points` is new (free it). More than 4,000 are thinned to 400 or more, the
 * hull's among them. Tables as for weirp_path_plugin. */
weir_status weirp_value_curve(const double *q_hat, const double *c_hat, const double *quality, const double *cost,
                              size_t n, size_t n_models, weirp_point **points, size_t *n_points, weir_error *err);

/* AIQ of that curve over [cost_lo, cost_hi]. */
weir_status weirp_aiq(const double *q_hat, const double *c_hat, const double *quality, const double *cost, size_t n,
                      size_t n_models, double cost_lo, double cost_hi, double *aiq, weir_error *err);

/* Least mean cost of a point that reaches a quality (NAN: none does). */
double weirp_points_cost(const weirp_point *points, size_t n, double quality);

/* ROC area of score against label > 0.5, ties counted half; NAN when one class is empty (or memory is out). Skips
 * NANs. */
double weirp_auc(const double *score, const double *label, size_t n, size_t stride);

/* Items by falling score, ties in order of index; items whose score or label is NAN are left out. `order` has room for
 * n; *n_order is their number. */
weir_status weirp_rank(const double *score, const double *label, size_t n, size_t stride, uint32_t *order,
                       size_t *n_order, weir_error *err);
/* weirp_auc of ranked items, weighted (NULL: all 1). */
double weirp_auc_ranked(const uint32_t *order, size_t n_order, const double *score, const double *label, size_t stride,
                        const double *weight);

/* APGR and CPT(x) of calls ranked by `gap` (higher: strong first) (RouteLLM, arXiv 2406.18665, section 4). Between two
 * ranks, and through prompts of equal gap, the recovered share runs straight: what drawing lots among them gives. `cpt`
 * (n_cpt) gets the least share of strong calls that recovers x[i] of the gap; NAN: never. NAN when the strong model
 * isn't the better one, so that there is no gap. */
weir_status weirp_apgr(const double *gap, const double *weak, const double *strong, size_t n, const double *x,
                       size_t n_cpt, double *apgr, double *cpt, weir_error *err);
/* The same for prompts ranked by weirp_rank(gap, gap, n, 1, ...), weighted (NULL: all 1). */
void weirp_apgr_ranked(const uint32_t *order, size_t n_order, const double *gap, const double *weak,
                       const double *strong, const double *weight, const double *x, size_t n_cpt, double *apgr,
                       double *cpt);

/* 1 - sum (y-p)^2 / sum (y-mean)^2 over pairs without NAN; NAN when undefined. */
double weirp_r2(const double *predicted, const double *actual, size_t n);
/* The same over a table's cells, rows weighted (NULL: all 1); cells of column `column` only, or all ((size_t)-1). */
double weirp_r2_table(const double *predicted, const double *actual, size_t n, size_t n_columns, size_t column,
                      const double *weight);

/* Percentile of values (sorted in place), p in [0,1], linear interpolation; NAN for n == 0. INFINITY is a value, NANs
 * are left out. */
double weirp_percentile(double *values, size_t n, double p);

#endif

/* curve_parts.h: what the files of a curve share; nobody else includes it.
 *
 * curve_knobs.c    at which settings the open knob is looked at
 * curve_rows.c     rows into sums
 * curve.c          what can be judged, and what is told
 * curve_figures.c  resamples: the band, AIQ, cost@p%
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_CURVE_PARTS_H
#define WEIRP_OPE_CURVE_PARTS_H

#include "src/ope/judge.h"

/* ---- settings ---- */

enum { WEIRP_CURVE_KNOBS = 48 };

typedef struct weirp_curve_grid {
    double knob[WEIRP_CURVE_KNOBS]; /* rising */
    size_t n;
} weirp_curve_grid;

/* Settings spread by where the decisions of the log's own rows change. None (grid->n == 0): the log's rows lack the
 * estimates that the knob weighs, or it makes no difference to them; `why` says which. */
weir_status weirp_curve_place(weirp_curve_grid *grid, weirp_ope_target *target, const weirp_judging *j, char *why,
                              size_t size, weir_error *err);

/* ---- rows ---- */

enum { WEIRP_CURVE_AXES = 2 }; /* quality, cost */
extern const weir_metric weirp_curve_metric[WEIRP_CURVE_AXES];

/* What is looked at: the knob's settings, then single models. */
typedef struct weirp_curve_points {
    weirp_curve_grid grid;
    size_t *single; /* (n_singles) the models that enough rows chose, rising */
    size_t n_singles;
} weirp_curve_points;

/* Columns of the sums: the number of rows, then on each axis, of each kind, one a point: what the reward model says,
 * what was seen beyond that, and the weights. */
enum { WEIRP_COLUMN_N, WEIRP_N_SHARED };
enum { WEIRP_COLUMN_V, WEIRP_COLUMN_D, WEIRP_COLUMN_A, WEIRP_N_OF_AXIS };

typedef struct weirp_curve_rows weirp_curve_rows;
/* *out is new; the rest is borrowed. */
weir_status weirp_curve_rows_new(weirp_curve_rows **out, const weirp_judging *j, const weirp_curve_points *points,
                                 size_t n_clusters, weir_error *err);
void weirp_curve_rows_free(weirp_curve_rows *rows); /* NULL is fine */
/* One way through the rows, for the points [first, first + n): of these are the sums after it, and the columns. */
weir_status weirp_curve_rows_go(weirp_curve_rows *rows, size_t first, size_t n, weir_error *err);
const weirp_sums *weirp_curve_rows_sums(const weirp_curve_rows *rows); /* borrowed; not finished */
size_t weirp_curve_rows_column(const weirp_curve_rows *rows, size_t axis, size_t kind, size_t point);
weirp_cell_facts weirp_curve_rows_facts(const weirp_curve_rows *rows, size_t axis, size_t point);

/* ---- resamples ---- */

/* What comes of the points draw by draw. The observed rows count as one draw more, the last. */
typedef struct weirp_curve_drawn {
    size_t n_draws, n_knobs, n_judged; /* knobs: room; those that have been added */
    double *knob;                      /* (n_judged) settings */
    double *quality, *cost;            /* (n_judged, n_draws + 1) of the knobs */
    double *lo, *hi;                   /* (n_draws + 1) costs of the cheapest and the dearest single model */
    double *best, *best_cost;          /* (n_draws + 1) the best single model's quality and cost */
    double *most, fewest;              /* (n_draws) sup-t over the knobs; least degrees of freedom */
    size_t n_singles;
} weirp_curve_drawn;

weir_status weirp_curve_drawn_init(weirp_curve_drawn *drawn, size_t n_draws, size_t n_knobs, weir_error *err);
void weirp_curve_drawn_free(weirp_curve_drawn *drawn);

/* A point that can be judged: quality and cost as statistics of `sums`, with their draws. Fills in the point's values
 * and standard errors. `single`: one model always; else the point's knob counts. */
void weirp_curve_drawn_add(weirp_curve_drawn *drawn, const weirp_statistic *quality, const weirp_statistic *cost,
                           const weirp_sums *sums, const weirp_draws *draws, bool single, weirp_curve_point *point);
/* After all points: bands of *out's points, AIQ and cost@p%. `most_cost` bounds the cost of what a point's unsupported
 * mass does; NAN: nothing does, and no point has any. */
weir_status weirp_curve_tell(weirp_curve_drawn *drawn, weirp_log_curve *out, size_t n_models, double level,
                             double most_cost, weir_error *err);

#endif

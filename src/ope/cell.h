/* cell.h: one policy on one metric: what rows put into the columns of the sums, and how estimates are read off them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_CELL_H
#define WEIRP_OPE_CELL_H

#include "src/ope/estimate.h"
#include "src/ope/table.h"

typedef struct weirp_cell weirp_cell;

/* How many columns a cell has: [first_column, first_column + that) of the sums are its own. */
size_t weirp_cell_n_columns(void);
/* `robust`: a reward model fitted as MRDR says will be given. *out is new. */
weir_status weirp_cell_new(weirp_cell **out, const weirp_ope_table *table, weir_metric metric, size_t first_column,
                           bool robust, weir_error *err);
/* The same without a table: logger_rows (n_loggers) says how many rows each logging policy made; 0 or 1: one policy. */
weir_status weirp_cell_make(weirp_cell **out, const double *logger_rows, size_t n_loggers, weir_metric metric,
                            size_t first_column, bool robust, weir_error *err);
void weirp_cell_free(weirp_cell *cell); /* NULL is fine */

/* What one block of rows brings. Borrowed. */
typedef struct weirp_cell_input {
    const double *pi;       /* (n, n_models) candidate's chances; NANs: the row is undecided and left out */
    const double *q;        /* (n, n_models) reward model; NULL: none, and no estimator that needs one */
    const double *q_robust; /* (n, n_models); NULL */
    const double *e;        /* (n) chance of a label; NULL: all are labelled */
    /* (n) rows that no cell takes since some candidate is undecided there, so that all stand on the same rows; NULL:
     * none */
    const bool *left_out;
} weirp_cell_input;

/* Forced and cached rows were nobody's decision: they are left out. Doesn't count sums->rows: cells share them. */
void weirp_cell_add(weirp_cell *cell, weirp_sums *sums, const weirp_ope_block *block, const weirp_cell_input *input);
/* After the last row and weirp_sums_finish: chooses the lambdas that are tuned. */
weir_status weirp_cell_finish(weirp_cell *cell, const weirp_sums *sums, weir_error *err);

enum { WEIRP_MAX_RATIOS = 2 };
/* An estimator as ratios of columns. False: not to be had here, and *why_not (static) says why. */
bool weirp_cell_statistic(const weirp_cell *cell, size_t estimator, weirp_ratio ratio[WEIRP_MAX_RATIOS],
                          size_t *n_ratios, double *lambda, const char **why_not);
/* The logged policy's own mean of the metric. */
weirp_ratio weirp_cell_logged(const weirp_cell *cell);
/* The plain weighted mean of what was seen, sum w k r / sum w k, and the column that counts the rows of a cluster. */
weirp_ratio weirp_cell_weighted(const weirp_cell *cell);
size_t weirp_cell_rows_column(const weirp_cell *cell);
/* Sample variance (over n) of the rows' terms of an estimator that isn't normalised, for Bernstein; NAN otherwise. */
double weirp_cell_variance(const weirp_cell *cell, size_t estimator);

/* Sums over rows, for what can be trusted. */
typedef struct weirp_cell_facts {
    size_t n, n_known;           /* rows taken; of them, that know the metric */
    size_t n_clusters;           /* that have a row which knows the metric and has a weight */
    size_t n_undecided;          /* decided rows on which this candidate is undecided; others' may be left out, too */
    double sum_w, sum_w2, max_w; /* weights w = pi/p of rows that were taken, labels aside */
    double sum_wk, sum_wk2, max_wk;              /* of w/e over those that know the metric: what estimates rest on */
    double least_p, least_e;                     /* least chance of a chosen model; of a label */
    double unsupported;                          /* sum over rows of the candidate's mass on models of chance 0 */
    size_t n_full;                               /* rows that logged all chances, over which that sum goes */
    double sum_y, sum_q, sum_y2, sum_q2, sum_yq; /* outcomes and predictions on rows that know the metric */
} weirp_cell_facts;
const weirp_cell_facts *weirp_cell_facts_of(const weirp_cell *cell); /* borrowed; whole after weirp_cell_finish */

#endif

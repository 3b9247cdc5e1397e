/* sums.h: what is kept of the rows: one sum a cluster and column. Every estimator here is a smooth function of the
 * columns' totals, so these sums are all that estimates, variances and resamples need.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_SUMS_H
#define WEIRP_OPE_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

/* Sums of columns over the rows of each cluster. Clusters are independent of each other; rows of one needn't be. */
typedef struct weirp_sums {
    size_t n_clusters, n_columns;
    double *x;     /* (n_clusters, n_columns) row-major */
    size_t *rows;  /* (n_clusters) how many rows each has */
    double *total; /* (n_columns) after weirp_sums_finish */
} weirp_sums;

weir_status weirp_sums_init(weirp_sums *sums, size_t n_clusters, size_t n_columns, weir_error *err);
void weirp_sums_free(weirp_sums *sums);
void weirp_sums_finish(weirp_sums *sums); /* totals, by compensated summation */

#define WEIRP_NO_COLUMN ((size_t)-1)

/* An estimate as a function of totals: T[num]/T[den] + T[add]/T[add_den]; WEIRP_NO_COLUMN leaves a fraction out. Times
 * `factor`, so that differences are lists of them; a factor of 0 is one like any other: it takes the ratio out. */
typedef struct weirp_ratio {
    size_t num, den, add, add_den;
    double factor;
} weirp_ratio;

/* A sum of ratios: one for a policy's value, two for a difference of policies. */
typedef struct weirp_statistic {
    const weirp_ratio *ratio; /* (n) borrowed */
    size_t n;
} weirp_statistic;

double weirp_statistic_value(const weirp_statistic *s, const double *total);
/* u (n_clusters): first-order influence of each cluster (infinitesimal jackknife): the value's change when the
 * cluster's weight goes up, times 1; they sum to 0. */
void weirp_statistic_influence(const weirp_statistic *s, const weirp_sums *sums, double *u);
/* The same of clusters [begin, end) alone: u (end - begin). */
void weirp_statistic_influence_of(const weirp_statistic *s, const weirp_sums *sums, size_t begin, size_t end,
                                  double *u);

#endif

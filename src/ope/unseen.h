/* unseen.h: outcomes of which few were seen, or none: how far an interval must reach for these.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_UNSEEN_H
#define WEIRP_OPE_UNSEEN_H

#include "src/ope/interval.h"

/* One side of what is estimated: a weighted mean of outcomes. Columns of the sums: its weights, and the rows that they
 * are of. What was not seen may lie above the mean by `up` and below it by `down`. */
typedef struct weirp_unseen_side {
    size_t weight, rows; /* WEIRP_NO_COLUMN: there is no such side */
    double up, down;
} weirp_unseen_side;

/* A mean, or the difference of two over the same clusters. */
typedef struct weirp_unseen {
    weirp_statistic mean; /* sum w r / sum w of `a`, minus that of `b`; borrowed */
    weirp_unseen_side a, b;
} weirp_unseen;

/* By how much an interval of `level` that reaches from `value` to [lo, hi] falls short of what so few outcomes of some
 * kind leave open: .lo below and .hi above it, 0 where it doesn't. */
weirp_interval weirp_unseen_shortfall(const weirp_unseen *u, const weirp_sums *sums, double level, double value,
                                      weirp_interval interval);

#endif

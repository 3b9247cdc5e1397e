/* distribution.h: the weighted distribution of a metric, in bounded memory: for quantiles and tails.
 *
 * Values fall into buckets that grow by a constant factor (relative width 0.2 %; Masson, Rim, Lee, VLDB 2019,
 * DDSketch), each of which keeps its sums of w, w^2 and w x. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_DISTRIBUTION_H
#define WEIRP_OPE_DISTRIBUTION_H

#include <stdbool.h>

#include "src/ope/interval.h"

typedef struct weirp_distribution weirp_distribution;

weir_status weirp_distribution_new(weirp_distribution **out, weir_error *err); /* *out is new */
void weirp_distribution_add(weirp_distribution *d, double x, double w);        /* x >= 0, w >= 0, finite; others: no */
bool weirp_distribution_takes(double x, double w);
void weirp_distribution_clear(weirp_distribution *d); /* as if nothing had been added */
/* The upper end of the bucket that the quantile lies in: what it tells apart, it also does in the buckets. NAN when
 * nothing was added. */
double weirp_distribution_place(const weirp_distribution *d, double level);
/* Self-normalised quantile, NAN when nothing was added, and Woodruff's interval (JASA 47, 1952): the distribution
 * function's interval, inverted; `inflate` multiplies its standard error (clusters). Where the data don't bound it, it
 * ends at 0 or at INFINITY. */
double weirp_distribution_quantile(const weirp_distribution *d, double level);
weirp_interval weirp_distribution_quantile_interval(const weirp_distribution *d, double level, double inflate,
                                                    double confidence);
/* Mean of the worst 1 - level (greatest values). */
double weirp_distribution_cvar(const weirp_distribution *d, double level);
void weirp_distribution_free(weirp_distribution *d); /* NULL is fine */

#endif

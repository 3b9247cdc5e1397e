/* tail.h: quantiles of a metric under a policy, with intervals that know of sessions.
 *
 * An interval of a quantile is the distribution function's, inverted (Woodruff, JASA 47, 1952), and that function, at
 * a fixed place, is a ratio of sums like any other estimate: sum w 1{x <= place} / sum w. So its variance is that of
 * clusters' influences (Francisco and Fuller, Ann. Stat. 19(1), 1991), for which a table of a row a cluster is kept, at
 * a place near each quantile that is settled before the rows are gone over. What that variance is over the one of
 * independent rows (Kish's design effect) is taken over to the quantile itself.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_TAIL_H
#define WEIRP_OPE_TAIL_H

#include "src/ope/distribution.h"
#include "src/ope/result.h"

typedef struct weirp_tails weirp_tails;

weir_status weirp_tails_new(weirp_tails **out, size_t n_clusters, weir_error *err); /* *out is new */
void weirp_tails_free(weirp_tails *tails);                                          /* NULL is fine */
/* Some of the rows, beforehand; then weirp_tails_settle, once; then all of them. x is what weirp_distribution_add
 * takes. */
void weirp_tails_look(weirp_tails *tails, double x, double w);
void weirp_tails_settle(weirp_tails *tails);
void weirp_tails_add(weirp_tails *tails, size_t cluster, double x, double w);
/* Intervals allow for mass that was never looked at: wherever it lies, in [0, most] (NAN: nothing bounds it), the
 * quantile does. `unsupported`: its share; NAN counts as none. */
void weirp_tails_tell(weirp_tails *tails, double confidence, double unsupported, double most, weirp_tail *tail);

#endif

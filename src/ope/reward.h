/* reward.h: reward models: what a metric would have been with each model. One a file, behind one interface.
 *
 * A row is predicted by a model that saw no row of its cluster: rows go to folds by cluster (cluster % n_folds), so
 * that neither a row nor its session tells on itself. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_REWARD_H
#define WEIRP_OPE_REWARD_H

#include "src/ope/table.h"
#include "src/ope/target.h"

typedef struct weirp_reward weirp_reward;

typedef struct weirp_reward_options {
    const char *name; /* "auto", "logged", "table", "ridge", "logistic", or an estimator's; NULL: "auto" */
    weir_metric metric;
    size_t n_folds; /* 0: 5; 1: every row is seen */
    /* More robust doubly robust (Farajtabar, Chow, Ghavamzadeh, ICML 2018, arXiv 1802.03493): rows are weighted by
     * pi^2 (1 - p) / p^2 of this target, so that the doubly robust estimate's variance is what is made small. NULL: all
     * rows weigh 1. */
    weirp_ope_target *robust_for;
    double prior; /* table: rows' worth of the overall mean; 0: 10 */
    double most;  /* predictions lie in [0, most]; 0: in no known range */
    uint64_t seed;
    unsigned n_threads;
} weirp_reward_options;

/* Several at once, which go over the table together, as often as they need; rows that don't know the metric, and forced
 * or cached ones, are left out. out (n) is new where it succeeds, untouched where it fails. The number of threads is
 * the first one's. */
weir_status weirp_reward_fit_all(weirp_reward **out, const weirp_ope_table *table, const weirp_reward_options *options,
                                 size_t n, weir_error *err);
/* q (n, n_models): predictions, finite always. Threads may share a fitted model. */
void weirp_reward_predict(const weirp_reward *reward, const weirp_ope_block *block, double *q);
const char *weirp_reward_name(const weirp_reward *reward); /* what "auto" came to; borrowed */
void weirp_reward_free(weirp_reward *reward);              /* NULL is fine */

/* The chance that a row's metric became known, from what was known before (its chosen model, segment, estimates): e
 * (n), in (0,1], cross-fitted likewise. All rows known: all 1, and nothing is fitted. */
typedef struct weirp_ope_labels weirp_ope_labels;
weir_status weirp_ope_labels_fit(weirp_ope_labels **out, const weirp_ope_table *table, weir_metric metric,
                                 size_t n_folds, unsigned n_threads, weir_error *err);
void weirp_ope_labels_predict(const weirp_ope_labels *labels, const weirp_ope_block *block, double *e);
void weirp_ope_labels_free(weirp_ope_labels *labels);

#endif

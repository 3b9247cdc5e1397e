/* trials.h: what came of many drawn logs, for src/report/. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_TRIALS_H
#define WEIRP_OPE_TRIALS_H

#include "src/ope/judge.h"

/* X(name, text): kinds of interval whose coverage is counted. */
#define WEIRP_INTERVAL_TABLE(X)                                                                                        \
    X(NORMAL, "normal")                                                                                                \
    X(T, "t")                                                                                                          \
    X(PERCENTILE, "percentile")                                                                                        \
    X(BCA, "bca")                                                                                                      \
    X(BERNSTEIN, "bernstein")

typedef enum weirp_interval_kind {
#define WEIRP_INTERVAL_ENUM(name, text) WEIRP_INTERVAL_##name,
    WEIRP_INTERVAL_TABLE(WEIRP_INTERVAL_ENUM)
#undef WEIRP_INTERVAL_ENUM
        WEIRP_N_INTERVALS
} weirp_interval_kind;
extern const char *const weirp_interval_names[WEIRP_N_INTERVALS];

/* One estimator of one policy on one metric, over the logs that weren't refused. */
typedef struct weirp_trial {
    size_t n;                              /* logs on which it was to be had */
    double sum_error, sum_squares, sum_se; /* error: estimate - truth */
    size_t n_interval[WEIRP_N_INTERVALS], covered[WEIRP_N_INTERVALS];
    size_t below[WEIRP_N_INTERVALS]; /* logs whose interval lies above the truth */
    double width[WEIRP_N_INTERVALS]; /* sum */
} weirp_trial;

typedef struct weirp_trial_cell {
    bool asked;
    double truth, logged_truth;
    size_t n_refused;
    double sum_ess;         /* over the others */
    weirp_trial *estimator; /* (n_estimators) */
    /* Of cost and latency: the true quantiles, and logs that weren't refused whose interval has each. */
    double quantile[WEIRP_N_QUANTILES];
    size_t n_tails, quantile_covered[WEIRP_N_QUANTILES];
} weirp_trial_cell;

/* Verdicts on the first policy against the logged one and the others. */
typedef struct weirp_trial_verdicts {
    size_t n, n_refused, n_same;
    size_t n_told, n_wrong; /* "better" or "worse"; of them, against the truth */
    size_t n_clear, n_clear_told,
        n_refused_clear; /* true differences beyond twice the estimated standard error; of them, told; refused */
} weirp_trial_verdicts;

struct weir_ope_trials;
/* Counts one log's comparison, whose truth is in the cells. */
void weirp_trials_count_verdict(struct weir_ope_trials *trials, const weirp_contrast *contrast);

struct weir_ope_trials {
    size_t n_logs, least_rows, most_rows, n_prompts, n_models, n_policies, n_estimators;
    char **policy; /* (n_policies) names */
    char *logging;
    const char *recommended, *interval; /* static */
    double level;
    weirp_trial_cell *cell; /* (n_policies, WEIR_N_METRICS) */
    weirp_trial_verdicts verdicts[WEIR_N_METRICS];
    /* The confidence sequence for the first policy's quality by inverse propensity: logs, and those it never left. */
    size_t n_sequences, n_sequences_right;
    /* A curve's, where one was asked for. */
    size_t n_curves, n_aiq_covered, n_bands_covered;
    double true_aiq, sum_aiq, sum_aiq_squares;
    weir_ope last; /* the last log's own result, with the truth beside its curve */
    double seconds;
};

#endif

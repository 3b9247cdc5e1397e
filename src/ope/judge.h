/* judge.h: the middle of an evaluation: from a finished table and candidates to a result.
 *
 * judge.c goes over the rows once, after the reward models have; honesty.c says what can be trusted; verdict.c what
 * follows; curve.c a whole cost-quality curve. ope.c reads logs before it, simulate.c draws them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_JUDGE_H
#define WEIRP_OPE_JUDGE_H

#include "src/ope/cell.h"
#include "src/ope/result.h"
#include "src/ope/reward.h"
#include "src/ope/tail.h"
#include "src/ope/target.h"
#include "src/ope/unseen.h"

enum { WEIRP_OPE_MAX_POLICIES = 16 };

/* Less unsupported mass than this comes of rounding. */
#define WEIRP_OPE_NO_MASS 1e-9

/* A candidate that can't be asked about more than this share of the rows is refused. */
#define WEIRP_OPE_MOST_UNDECIDED 0.1

/* Options with their defaults filled in; names are resolved. */
typedef struct weirp_ope_settings {
    weir_ope_options o;          /* every 0 and NULL replaced */
    int64_t since_ms, until_ms;  /* rows in [since_ms, until_ms) are read; INT64_MIN, INT64_MAX: no limit */
    size_t recommended;          /* index of the estimator that verdicts go by */
    unsigned metrics;            /* set of those to evaluate; never 0 */
    double most[WEIR_N_METRICS]; /* bounds of cost, latency and loss; 0: none */
} weirp_ope_settings;

/* Checks options; `table` tells which metrics there are, and whether its rows keep within the bounds. */
weir_status weirp_ope_settle(weirp_ope_settings *s, const weir_ope_options *o, const weirp_ope_table *table,
                             weir_error *err);
/* An error that says so: n outcomes of a metric are above what was said to bound it, `largest` the most. */
weir_status weirp_ope_contradicted(const weirp_ope_settings *s, weir_metric metric, size_t n, double largest,
                                   const char *of_what, weir_error *err);

/* Facts of the log that don't depend on a candidate. Rows that were forced or cached are counted, and nothing else. */
typedef struct weirp_log_facts {
    size_t n, n_cached, n_forced, n_fallen_back, n_careful;
    size_t n_decided; /* rows somebody decided */
    size_t n_full;    /* of them, with all chances logged */
    size_t n_sure;    /* of them, whose choice had a chance of 1 */
    int64_t first_ms, last_ms;
    size_t n_backwards;          /* rows earlier than one before them, by more than a minute */
    double *expected, *variance; /* (n_models) of the number of times each was chosen, by the chances */
    double *chosen;              /* (n_models) and how often it was */
} weirp_log_facts;

/* A judging under way. */
typedef struct weirp_judging {
    const weirp_ope_settings *s;
    const weirp_ope_table *table;
    const weir_router *router;       /* NULL: none */
    weirp_ope_target *const *target; /* (n_targets) */
    size_t n_targets, n_models;
    weirp_reward *reward[WEIR_N_METRICS];
    weirp_ope_labels *labels[WEIR_N_METRICS];
    struct weirp_judged {
        weirp_cell *cell;
        weirp_reward *robust;
        weirp_tails *tail; /* NULL where the metric has none */
    } judged[WEIRP_OPE_MAX_POLICIES][WEIR_N_METRICS];
    weirp_log_facts facts;
    weirp_sums sums;
    double *first_half;  /* (n_columns) totals over the first half of the rows */
    double *second_half; /* (n_columns) the same of the other half */
    weirp_draws draws;
    /* one block's worth */
    double *pi[WEIRP_OPE_MAX_POLICIES], *q[WEIR_N_METRICS], *e[WEIR_N_METRICS];
    double *q_robust[WEIRP_OPE_MAX_POLICIES][WEIR_N_METRICS];
    double bound[WEIRP_OPE_MAX_POLICIES]; /* greatest pi/p that any choice could have had; NAN: not all chances known */
    /* Of each policy's chances and the logged ones; of the first policy's and each other's. */
    struct weirp_likeness {
        size_t n;    /* rows on which both are known */
        bool unlike; /* on one of them they differ, or on some row the logged ones aren't known */
    } to_logged[WEIRP_OPE_MAX_POLICIES], to_first[WEIRP_OPE_MAX_POLICIES];
    bool left_out[WEIRP_BLOCK_ROWS]; /* rows that no cell takes: some candidate is undecided there */
    /* Candidates that are refused for being undecided too often, of several: they take no rows from the others. */
    bool apart[WEIRP_OPE_MAX_POLICIES];
} weirp_judging;

/* Fills `result`, which begins as zeros; weirp_ope_clear it whatever the status. `router`: for the curve's policy;
 * NULL. */
weir_status weirp_ope_judge(weir_ope *result, const weirp_ope_table *table, weirp_ope_target *const *target,
                            size_t n_targets, const weirp_ope_settings *settings, const weir_router *router,
                            weir_error *err);
void weirp_ope_clear(weir_ope *result); /* frees what it holds, and makes it zeros again */

/* honesty.c */
weir_status weirp_log_facts_init(weirp_log_facts *facts, size_t n_models, weir_error *err);
void weirp_log_facts_add(weirp_log_facts *facts, const weirp_ope_block *block);
void weirp_log_facts_free(weirp_log_facts *facts);
void weirp_log_facts_tell(const weirp_log_facts *facts, size_t n_models, weir_ope *result);
/* Notes whether policies do the same: a block's chances are in j->pi. */
void weirp_ope_compare_rows(weirp_judging *j, const weirp_ope_block *block);
/* A policy gives every model the same chance as the logged one ((size_t)-1), or the first one as another, on all rows
 * on which both are known. */
bool weirp_ope_is_same(const weirp_judging *j, size_t policy, size_t other);
/* Of few enough rows it can't be told what the policy would have done. */
bool weirp_ope_is_askable(const weirp_ope_standing *standing);
/* Rows of the candidate's own traffic that a log must be worth, at least: docs/evaluation.md, "Verdicts", has what
 * intervals cover above it. */
enum { WEIRP_OPE_LEAST_ESS = 50 };
/* What the weights alone say: fills *s from nothing; its `refusal` is empty. */
void weirp_ope_weigh(const weirp_cell_facts *facts, weirp_ope_standing *s);
/* Fills in the `refusal` of a standing whose other members are there: why it can't be judged, if it can't. */
void weirp_ope_refuse(const weir_ope *result, weir_metric metric, weirp_ope_standing *s, size_t n_undecided);
/* What an interval around `value` must be widened by, below and above, since few outcomes of some kind were seen: of a
 * policy's mean ((size_t)-1: what ran), or of its difference from *other's. */
weirp_interval weirp_ope_unseen(const weirp_judging *j, size_t policy, const size_t *other, weir_metric metric,
                                double value, weirp_interval interval);
/* Whether one cell can be judged, and how far to trust it. */
void weirp_ope_stand(const weirp_judging *j, const weir_ope *result, size_t policy, weir_metric metric,
                     weirp_cell_result *cell);

/* verdict.c: contrasts and the trade. */
weir_status weirp_ope_conclude(const weirp_judging *j, weir_ope *result, weir_error *err);

/* curve.c. The first finds what is wrong with the options of a curve (WEIR_INVALID) before there is work to lose; a log
 * that has no curve to read is no failure of the second: result->curve.refusal says why. */
weir_status weirp_ope_curve_check(const weir_ope_options *o, const weirp_ope_table *table, const weir_router *router,
                                  weir_error *err);
weir_status weirp_ope_curve(const weirp_judging *j, weir_ope *result, weir_error *err);

/* Statistic of one estimator, or of the logged mean (policy (size_t)-1). False: not to be had. */
bool weirp_ope_statistic(const weirp_judging *j, size_t policy, weir_metric metric, size_t estimator,
                         weirp_ratio ratio[WEIRP_MAX_RATIOS], size_t *n, double *lambda, const char **why_not);
/* The interval of the kind asked for. `value` of `s` and its spread go to *value and *se. */
weir_status weirp_ope_interval(const weirp_judging *j, const weirp_statistic *s, double *value, double *se,
                               weirp_interval *interval, weir_error *err);

#endif

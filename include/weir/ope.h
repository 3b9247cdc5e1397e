/* ope.h: off-policy evaluation: what another policy would have done on traffic that was logged, and how sure that is.
 *
 * Definitions, formulas and sources: docs/evaluation.md. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_OPE_H
#define WEIR_OPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/data.h"
#include "weir/error.h"

WEIR_BEGIN_DECLS

/* X(name, text, unit, less_is_better): what a row of a log may tell of its answer. */
#define WEIR_METRIC_TABLE(X)                                                                                           \
    X(QUALITY, "quality", "", false)  /* feedback, [0,1] */                                                            \
    X(COST, "cost", "USD", true)      /* of all tries together */                                                      \
    X(LATENCY, "latency", "ms", true) /* from the request's end to the answer's */                                     \
    X(ERROR, "error", "", true)       /* 1: the client got an error, 0: an answer */                                   \
    X(LOSS, "loss", "USD", true)      /* value * (1 - quality) + cost, where both are known */

typedef enum weir_metric {
#define WEIR_METRIC_ENUM(name, text, unit, less) WEIR_METRIC_##name,
    WEIR_METRIC_TABLE(WEIR_METRIC_ENUM)
#undef WEIR_METRIC_ENUM
        WEIR_N_METRICS
} weir_metric;

WEIR_API const char *weir_metric_name(weir_metric metric); /* borrowed, static */

typedef struct weir_ope weir_ope; /* the result of an evaluation */

/* Start from zeros: every member's 0 or NULL is its default. Strings are borrowed until weir_ope_run returns. */
typedef struct weir_ope_options {
    const char *const *logs; /* (n_logs) stores, .jsonl[.zst] of `weir store export --log` or of others, .csv; "-" */
    size_t n_logs;
    const char *map; /* how a foreign log's columns are to be read (docs/formats.md, "Log mapping"); NULL: weir's own */
    const char *since; /* rows from this time on alone are read: RFC 3339, or seconds or milliseconds since 1970 */
    const char *until; /* and those before this one; NULL: no limit. With either, rows without a time are left out */
    const char *const *policies; /* (n_policies) "NAME[,KEY=VALUE]...", docs/evaluation.md, "Naming a policy" */
    size_t n_policies;           /* 1 to 16; the first is the candidate */
    const char *store;           /* whose estimators the candidates ask; NULL: the estimates that were logged */
    unsigned metrics;            /* set of 1 << WEIR_METRIC_...; 0: all that the log has */
    double value_usd;            /* of a fully right answer, for the loss; 0: no loss */
    const char *reward_model;    /* "auto", "logged", "table", "ridge", "logistic", or an estimator's; NULL: "auto" */
    size_t n_folds;              /* of cross-fitting; 0: 5; 1: none */
    const char *estimator;       /* that verdicts go by; NULL: the recommended one */
    const char *interval;        /* that verdicts go by: "t", "normal", "percentile", "bca"; NULL: "t" */
    double level;                /* of two-sided intervals; 0: 0.95 */
    size_t n_bootstrap;          /* 0: 1000 */
    double margin_quality;       /* a loss of quality that doesn't matter, for "cheaper at no more than that" */
    double margin_cost;          /* a saving that is wanted, as a share of the other's cost */
    /* The most that one request can have, the least being 0: of the cost (USD) and the latency (ms) alone; 0: not
     * known. Quality and error lie in [0,1]; a loss is bounded where the cost is. A row that has more is an error. */
    double bounds[WEIR_N_METRICS];
    const char *curve; /* a policy with one knob left open: its cost-quality curve from the log; NULL: none */
    bool strict;       /* stop at the first malformed row instead of counting it */
    uint64_t seed;
    unsigned n_threads; /* 0: as many as there are cores */
    weir_warning_fn warning;
    void *warning_user;
    weir_progress_fn progress;
    void *progress_user;
} weir_ope_options;

/* Reads the logs once. *out is new; free it with weir_ope_free. A log on which a policy can't be judged is not an error
 * here: weir_ope_is_refused says so, and weir_ope_refusal why. */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_run(weir_ope **out, const weir_ope_options *options, weir_error *err);
WEIR_API void weir_ope_free(weir_ope *ope); /* NULL is fine */

/* The i-th reason, from 0, why the log can't judge a policy on a metric, or (metric WEIR_N_METRICS) why the curve of
 * that policy can't be read off it; false: there are no more. Borrowed. */
WEIR_API bool weir_ope_refusal(const weir_ope *ope, size_t i, const char **policy, weir_metric *metric,
                               const char **reason);
/* Whether a verdict as a whole is "refused", of whichever policies, or the curve is. What is refused on some metrics
 * and judged on others isn't. */
WEIR_API bool weir_ope_is_refused(const weir_ope *ope);

/* The machine's version (docs/formats.md, "Evaluation of a log"); *json is new: free() it. */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_json(const weir_ope *ope, char **json, weir_error *err);
/* The person's version: the verdict first, then tables. `columns`: width of the terminal. */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_print(const weir_ope *ope, FILE *out, int columns, weir_error *err);
/* Charts: estimates with intervals; the curve where one was asked for. */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_svg(const weir_ope *ope, FILE *out, weir_error *err);

/* ---- trying the method itself, where the truth is known ---- */

typedef struct weir_ope_trials weir_ope_trials; /* what came of many drawn logs */

/* Logs are drawn from outcomes of every model: a prompt at random, a model by the logging policy's chances, and of the
 * outcomes only that model's. Every estimator is then held against what each policy would have got over all prompts. */
typedef struct weir_ope_trial_options {
    const char *const *data; /* (n_data) outcome files; prompts on which some model lacks an outcome are left out */
    size_t n_data;
    const char *logging;          /* the policy that makes the logs; it must explore; NULL: "plugin,explore=0.05" */
    size_t n_logs;                /* 0: 200 */
    size_t least_rows, most_rows; /* of a log, drawn log-uniformly; 0: 1000 to 10000 */
    weir_ope_options o;           /* policies, store (needed: its features and estimates), metrics, level, seed, ...;
                                     since and until must be NULL: what is drawn has no time */
} weir_ope_trial_options;

WEIR_API WEIR_MUST_CHECK weir_status weir_ope_simulate(weir_ope_trials **out, const weir_ope_trial_options *options,
                                                       weir_error *err);
WEIR_API void weir_ope_trials_free(weir_ope_trials *trials); /* NULL is fine */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_trials_json(const weir_ope_trials *trials, char **json, weir_error *err);
/* The last log's curve beside the truth; needs options.o.curve. */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_trials_svg(const weir_ope_trials *trials, FILE *out, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_trials_print(const weir_ope_trials *trials, FILE *out, int columns,
                                                           weir_error *err);

/* ---- a rollout that a gateway has under way ---- */

/* How the store's rollout stands: each step's share, what was counted, the intervals, why it went on, stopped or waits.
 * WEIR_NOTFOUND: there is none. *json is new: free() it (docs/formats.md, "Rollout report"). */
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_rollout_json(const char *store, char **json, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_ope_rollout_print(const char *store, FILE *out, int columns, weir_error *err);

WEIR_END_DECLS

#endif

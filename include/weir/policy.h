/* policy.h: from the estimates for one prompt to a decision.
 *
 * Policies know estimates and nothing of text. Risk is in USD: R_m = value * (1 - q_m) + c_m + latency_price * l_m
 * (CARROT, arXiv 2502.03261, eq. for the plug-in rule). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

/* What is expected of every model for one prompt. Arrays have n_models entries and belong to whoever made the struct.
 */
typedef struct weir_estimates {
    size_t n_models;
    double *quality;    /* expected quality, [0,1] */
    double *quality_sd; /* standard error of that expectation, not of the outcome */
    double *quality_lo; /* interval for the outcome's quality, coverage below */
    double *quality_hi;
    double *cost_usd; /* expected cost; NAN: not known */
    double *cost_sd;
    double *cost_lo; /* interval for the outcome's cost */
    double *cost_hi;
    double *latency_ms;    /* expected latency; NAN: not known */
    double *latency_p95;   /* 95th percentile of latency; NAN: not known */
    double input_tokens;   /* expected number of input tokens */
    double *output_tokens; /* expected number of output tokens; NAN: not known */
    bool *eligible;        /* may be chosen at all: in the pool, prompt fits, not disabled */
    double coverage;       /* nominal coverage of the intervals, e.g. 0.9 */
    double novelty;        /* share of held-out training prompts that were less unlike the rest than this one: [0,1] */
    bool fitted;           /* false: no estimator yet; quality is a prior and intervals are [0,1] */
} weir_estimates;

/* X(name, text): which rule spoke. */
#define WEIR_RULE_TABLE(X)                                                                                             \
    X(PLUGIN, "plugin")                                                                                                \
    X(MINIMAX, "minimax")                                                                                              \
    X(THRESHOLD, "threshold")                                                                                          \
    X(CONSTRAINED, "constrained")                                                                                      \
    X(FIXED, "fixed")                                                                                                  \
    X(RANDOM, "random")                                                                                                \
    X(THOMPSON, "thompson")                                                                                            \
    X(ORACLE, "oracle")

typedef enum weir_rule {
#define WEIR_RULE_ENUM(name, text) WEIR_RULE_##name,
    WEIR_RULE_TABLE(WEIR_RULE_ENUM)
#undef WEIR_RULE_ENUM
} weir_rule;

/* X(name, text): why that rule spoke. */
#define WEIR_REASON_TABLE(X)                                                                                           \
    X(LEAST_RISK, "least expected loss")                                                                               \
    X(ASKED, "the policy was asked for")                                                                               \
    X(NO_ESTIMATOR, "no estimator yet")                                                                                \
    X(NOVEL_PROMPT, "the prompt is unlike anything seen")                                                              \
    X(WIDE_INTERVALS, "the estimates are less certain than the gap between them")                                      \
    X(ESTIMATOR_FAILED, "the estimator failed")                                                                        \
    X(NO_COST, "no cost is known, so only quality counts")                                                             \
    X(WITHIN_LIMITS, "best model within the limits")                                                                   \
    X(LIMITS_UNMET, "no model meets the limits: the nearest one")                                                      \
    X(STRONG, "the strong model is likely enough to win")                                                              \
    X(WEAK, "the weak model is likely good enough")                                                                    \
    X(EXPLORED, "exploration")

typedef enum weir_reason {
#define WEIR_REASON_ENUM(name, text) WEIR_REASON_##name,
    WEIR_REASON_TABLE(WEIR_REASON_ENUM)
#undef WEIR_REASON_ENUM
} weir_reason;

WEIR_API const char *weir_rule_name(weir_rule rule);       /* "plugin"; borrowed, static */
WEIR_API const char *weir_reason_text(weir_reason reason); /* one clause; borrowed, static */

/* The knobs. Start from weir_policy_defaults(), which sets every member. */
typedef struct weir_policy_options {
    const char *policy;       /* a name that weir_policy_name lists; NULL: "plugin" */
    double value_usd;         /* what a fully right answer is worth, >= 0; INFINITY: only quality counts. Default 1 */
    double latency_usd_per_s; /* price of time; default 0 */
    double max_cost_usd;      /* constrained: expected cost at most; default INFINITY */
    double min_quality;       /* constrained: expected quality at least; default 0 */
    double max_latency_ms;    /* constrained: expected latency at most; default INFINITY */
    double threshold;         /* threshold: strong iff P(strong is better) >= this; default 0.5 */
    size_t strong, weak;      /* threshold: the two models; default: (size_t)-1, best and cheapest by expectation */
    size_t fixed;             /* fixed: the model */
    bool fallback;            /* plugin may fall back to minimax; default true */
    double novelty_limit;     /* fall back above this novelty; default 0.999 */
    double explore_floor;     /* every eligible model's propensity is at least this; default 0: no exploration */
    uint64_t seed;            /* random numbers of random, thompson and exploration: a pure function of seed and draw */
    uint64_t draw;            /* number of this decision in its stream */
    const double *true_quality; /* (n_models) oracle only, borrowed; NULL otherwise */
    const double *true_cost;    /* (n_models) oracle only */
} weir_policy_options;

WEIR_API weir_policy_options weir_policy_defaults(void);
/* CARROT's mu in [0,1] as a value: (1-mu)/mu; mu = 0 gives INFINITY. */
WEIR_API double weir_value_from_mu(double mu);

/* The decision for one prompt. Arrays have n_models entries and belong to whoever made the struct. */
typedef struct weir_decision {
    size_t n_models;
    size_t model;       /* the chosen one */
    weir_rule rule;     /* which rule spoke */
    weir_reason reason; /* and why */
    double *risk_usd; /* R_m; INFINITY for models that are not eligible; in units of the value where that is INFINITY */
    double *regret_usd; /* worst-case regret of m: max(0, R+_m - min_{j != m} R-_j) */
    double *propensity; /* probability with which each model was chosen; sums to 1 */
} weir_decision;

/* P(strong is better than weak) as the threshold policy sees it, from expectations and standard errors. */
WEIR_API double weir_policy_strong_wins(const weir_estimates *estimates, size_t strong, size_t weak);

/* Names of the policies, in order; NULL past the last. Borrowed, static. */
WEIR_API const char *weir_policy_name(size_t index);

/* Checks options by themselves: NULL, or what is wrong with them (borrowed, static). */
WEIR_API const char *weir_policy_check(const weir_policy_options *options, size_t n_models);

/* Decides. Neither allocates nor locks. `decision`'s arrays are the caller's. Fails with WEIR_NODATA when no model is
 * eligible, WEIR_INVALID when the options don't fit. */
WEIR_API WEIR_MUST_CHECK weir_status weir_policy_decide(const weir_policy_options *options,
                                                        const weir_estimates *estimates, weir_decision *decision,
                                                        weir_error *err);

WEIR_END_DECLS

#endif

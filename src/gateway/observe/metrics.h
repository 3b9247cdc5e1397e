/* metrics.h: counters, gauges and histograms in Prometheus' text format.
 *
 * Each loop thread counts in a set of its own, without locks; a scrape adds them up. What a label can be is fixed when
 * the set is made (models, deployments and results are numbers here), so that nobody outside can make labels grow.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_METRICS_H
#define WEIRP_METRICS_H

#include <stdatomic.h>

#include "src/base/base.h"
#include "weir/policy.h"

#define WEIRP_METRIC_PREFIX "weir_"

/* X(name, label, help): how an attempt at a vendor ended; the same words in logs, metrics and the traffic log. */
#define WEIRP_RESULT_TABLE(X)                                                                                          \
    X(OK, "ok")                                                                                                        \
    X(CONNECT, "connect")                                                                                              \
    X(TLS, "tls")                                                                                                      \
    X(FIRST_TIMEOUT, "first_token_timeout")                                                                            \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                                    \
    X(TOTAL_TIMEOUT, "total_timeout")                                                                                  \
    X(CUT, "cut")                                                                                                      \
    X(MALFORMED, "malformed")                                                                                          \
    X(TOO_LARGE, "too_large")                                                                                          \
    X(RATE_LIMIT, "rate_limit")                                                                                        \
    X(QUOTA, "quota")                                                                                                  \
    X(OVERLOADED, "overloaded")                                                                                        \
    X(SERVER, "server_error")                                                                                          \
    X(AUTH, "auth")                                                                                                    \
    X(NOT_FOUND, "not_found")                                                                                          \
    X(TOO_LONG, "too_long")                                                                                            \
    X(FILTERED, "filtered")                                                                                            \
    X(INVALID, "invalid_request")                                                                                      \
    X(UNSUPPORTED, "unsupported")                                                                                      \
    X(HEDGED, "hedge_lost")                                                                                            \
    X(GONE, "client_gone")                                                                                             \
    X(SHUTDOWN, "shutdown")                                                                                            \
    X(BREAKER, "breaker_open")                                                                                         \
    X(BUDGET, "budget")                                                                                                \
    X(OTHER, "other")

typedef enum weirp_result {
#define WEIRP_RESULT_ENUM(name, label) WEIRP_RESULT_##name,
    WEIRP_RESULT_TABLE(WEIRP_RESULT_ENUM)
#undef WEIRP_RESULT_ENUM
        WEIRP_N_RESULTS
} weirp_result;
const char *weirp_result_label(weirp_result result);

#define WEIRP_N_APIS 11 /* endpoints, and "other" */

/* Names of everything that a label can say; borrowed for the life of the sets. */
typedef struct weirp_metric_names {
    size_t n_models, n_deployments;
    const char *const *models;
    const char *const *deployments;
    const size_t *deployment_model; /* (n_deployments) */
    const char *endpoints[WEIRP_N_APIS];
} weirp_metric_names;

typedef struct weirp_metrics weirp_metrics; /* one thread's set */

weir_status weirp_metrics_new(weirp_metrics **out, const weirp_metric_names *names, weir_error *err);
void weirp_metrics_free(weirp_metrics *m); /* NULL is fine */
/* Takes over what `old` counted, by name, so that counters go on after a reload; what has no name any more is lost, and
 * gauges stay as they are. Before `m` is counted in by its thread. */
weir_status weirp_metrics_carry(weirp_metrics *m, const weirp_metrics *old, weir_error *err);

/* Own thread only; none allocates or locks. */
void weirp_metrics_request(weirp_metrics *m, size_t endpoint, int status,
                           double seconds); /* a request has been answered */
void weirp_metrics_decision(weirp_metrics *m, size_t model, weir_rule rule, double seconds);
void weirp_metrics_attempt(weirp_metrics *m, size_t deployment, weirp_result result, double seconds);
void weirp_metrics_first_token(weirp_metrics *m, size_t model, double seconds);
void weirp_metrics_overhead(weirp_metrics *m, double seconds); /* time of a request that was not the vendor's */
/* kinds: input, cached_input, cache_write, output, reasoning, each as in weirp_usage (parts are in their whole, too);
 * what isn't above 0 isn't counted */
void weirp_metrics_tokens(weirp_metrics *m, size_t model, const double tokens[5]);
void weirp_metrics_cost(weirp_metrics *m, size_t model, double usd, double predicted_usd, bool estimated);
/* Counted by where it came from and by where it went, each for itself: pairs of models would be too many. */
void weirp_metrics_fallback(weirp_metrics *m, size_t from_model, size_t to_model);
void weirp_metrics_retry(weirp_metrics *m, size_t deployment);
void weirp_metrics_hedge(weirp_metrics *m, size_t deployment, bool won);
void weirp_metrics_active(weirp_metrics *m, int requests, int streams); /* added to gauges; may be negative */
void weirp_metrics_client_gone(weirp_metrics *m);

/* Things that are not counted a request: read when a scrape comes. */
/* A paced budget. NAN: not known. */
typedef struct weirp_pace_facts {
    bool on;
    double value_usd;
    double forecast_usd[3]; /* spend at the period's end: low, mean, high */
    double spent_share;     /* of the limit */
    double quality;         /* mean of the period, as predicted */
    bool contradiction, overloaded;
} weirp_pace_facts;

/* A rollout. */
typedef struct weirp_rollout_fact {
    bool on, stopped, passed;
    char name[64];
    double share, step, steps;   /* step: from 1 */
    double decisions, feedback;  /* counted in the step */
    double quality[2], error[2]; /* candidate minus base: lower and upper end */
} weirp_rollout_fact;

/* A budget in the period that runs, in USD, tokens or requests. */
typedef struct weirp_budget_fact {
    char name[64];
    const char *unit; /* static */
    double limit, spent, leased, unproven, accounts, highest_ratio;
    double period_end_s; /* unix; INFINITY: never */
} weirp_budget_fact;
enum { WEIRP_BUDGET_FACTS = 100 }; /* series of each metric, at most */

typedef struct weirp_metric_facts {
    const int *breaker; /* (n_deployments) 0 closed, 1 half open, 2 open */
    double uptime_s;
    uint64_t store_version, feedbacks, feedbacks_refused, log_records, log_dropped, log_errors, reloads,
        reload_failures;
    uint64_t connections;
    bool store_holder;
    double config_loaded_unix_s, snapshot_age_s;
    const weirp_pace_facts *pace;      /* NULL: none */
    const weirp_rollout_fact *rollout; /* NULL: none */
    uint64_t budget_lowered, budget_cheaper, budget_refused, budget_waited, budget_warnings, ledger_posts,
        ledger_errors;
    const weirp_budget_fact *budget;  /* (n_budget_facts,) */
    size_t n_budget_facts, n_budgets; /* those that are told of; all */
} weirp_metric_facts;

/* The text of a scrape over all threads' sets (any thread; sets may be counted in meanwhile). The first one's names are
 * those that are written and that `breaker` belongs to; what another has under a name that the first doesn't know,
 * since one thread has taken a new configuration before the other, is left out. w->failed: out of memory. Version 0.0.4
 * of Prometheus' text format. */
void weirp_metrics_write(weirp_metrics *const *sets, size_t n_sets, const weirp_metric_facts *facts, weirp_writer *w);

#endif

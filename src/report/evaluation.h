/* evaluation.h: what an evaluation holds, between its makers (tables, figures, bootstrap) and its shows (JSON,
 * terminal, SVG).
 *
 * Lives here: judging estimates on held-out outcomes, and showing the judgement. Only evaluate.c asks a router; the
 * rest works on tables of estimates, whoever made them. Knows no store, no HTTP. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_EVALUATION_H
#define WEIRP_EVALUATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/measure/measure.h"
#include "weir/evaluate.h"

/* ---- what goes in ---- */

/* Outcomes and what was estimated before them. (n, n_models) tables are row-major; what isn't known is NAN. */
typedef struct weirp_tables {
    size_t n, n_models;
    char **names;                            /* (n_models) */
    char **tasks;                            /* (n) never NULL strings */
    double *quality, *cost_usd, *latency_ms; /* (n, n_models) outcomes */
    double *q_hat, *q_sd, *q_lo, *q_hi;      /* (n, n_models) estimates */
    double *c_hat, *c_sd, *c_lo, *c_hi;      /* (n, n_models) USD */
    double *novelty;                         /* (n) */
    bool *eligible;                          /* (n, n_models) */
    bool *fitted;                            /* (n) */
    double coverage;                         /* nominal, of the intervals */
} weirp_tables;

/* Tables of NANs, every model eligible and fitted, names and tasks ""; *out is new. */
weir_status weirp_tables_new(weirp_tables **out, size_t n, size_t n_models, weir_error *err);
weir_status weirp_tables_name(char **slot, const char *text, weir_error *err); /* replaces a name or task by a copy */
void weirp_tables_free(weirp_tables *tables);                                  /* NULL is fine */

/* Judges. Steals `tables`, whatever the status says. *out is new. */
weir_status weirp_evaluation_from_tables(weir_evaluation **out, weirp_tables *tables,
                                         const weir_evaluate_options *options, weir_error *err);

/* ---- what comes out ---- */

/* X(NAME, key, label): the policies that are compared. */
#define WEIRP_POLICY_TABLE(X)                                                                                          \
    X(PLUGIN, "plugin", "plug-in")                                                                                     \
    X(FALLBACK, "fallback", "fallback")                                                                                \
    X(MINIMAX, "minimax", "minimax")                                                                                   \
    X(THRESHOLD, "threshold", "threshold")                                                                             \
    X(CONSTANT, "constant", "constant")                                                                                \
    X(ZERO, "zero", "zero router")                                                                                     \
    X(RANDOM, "random", "random")                                                                                      \
    X(ORACLE, "oracle", "oracle")

typedef enum weirp_policy_index {
#define WEIRP_POLICY_ENUM(name, key, label) WEIRP_##name,
    WEIRP_POLICY_TABLE(WEIRP_POLICY_ENUM)
#undef WEIRP_POLICY_ENUM
        WEIRP_N_POLICIES
} weirp_policy_index;

extern const char *const weirp_policy_keys[WEIRP_N_POLICIES];
extern const char *const weirp_policy_labels[WEIRP_N_POLICIES];

/* What a policy reaches; NAN: undefined or never. Members are doubles only (see weirp_figures). */
typedef struct weirp_policy_figures {
    double aiq, lift, captured_lift, max_quality;
    double cost_at_100, cost_at_98, cost_at_95; /* shares of the best single model's cost */
} weirp_policy_figures;

/* Everything that gets a bootstrap interval. Members are doubles only: it is resampled as an array of them. */
typedef struct weirp_figures {
    weirp_policy_figures policy[WEIRP_N_POLICIES];
    double best_quality, best_cost;     /* the best single model */
    double oracle_quality, oracle_cost; /* most quality a prompt, at the least cost that gives it */
    double auc, brier, cost_r2, quality_coverage, cost_coverage;
    double apgr, cpt50, cpt80;
} weirp_figures;

enum { WEIRP_N_FIGURES = sizeof(weirp_figures) / sizeof(double) };

typedef struct weirp_model_summary {
    double quality, cost, latency_ms; /* mean outcomes */
    double auc, brier, cost_r2;
    double share; /* of calls at the operating point */
} weirp_model_summary;

typedef struct weirp_task_summary {
    const char *task; /* borrowed from the tables */
    size_t n;
    double best_quality, best_cost;     /* the best single model (of all prompts) on this task */
    double router_quality, router_cost; /* plug-in at the operating point */
    double oracle_quality;
} weirp_task_summary;

/* The value at which the router is shown in detail: the cheapest point of the plug-in curve that reaches `target` of
 * the best single model's quality, the highest target that it reaches; 0: none, the point of most quality. */
typedef struct weirp_operating_point {
    double value, target, quality, cost, latency_ms, fallback_share;
} weirp_operating_point;

typedef struct weirp_curve {
    weirp_path path;
    weirp_point *points; /* (n_points) along the curve; the zero router's are its hull */
    size_t n_points;
} weirp_curve;

enum { WEIRP_MAX_NOTES = 16 };

struct weir_evaluation {
    weirp_tables *tables;                                /* reduced to the prompts that are used */
    char *title;                                         /* NULL: none */
    size_t n_given;                                      /* prompts that came in */
    size_t n_unlabelled, n_without_cost, n_not_eligible; /* left out, by first reason */
    bool has_curve;      /* some prompts have every model's label; otherwise only the estimator is judged */
    bool has_cost;       /* outcomes carry costs */
    bool estimates_cost; /* estimates do */
    bool has_intervals;
    size_t strong, weak, best, cheapest; /* models; (size_t)-1: none */
    double *q_eff, *c_eff;               /* (n, n_models) estimates as policies see them; NAN: not eligible */
    uint32_t *rank;                      /* (n_models, n) prompts by falling q_hat, for each model */
    size_t *n_rank;                      /* (n_models) */
    double *gap;                         /* (n) predicted quality gap strong - weak */
    double *q_weak, *q_strong;           /* (n) true qualities */
    uint32_t *gap_rank;                  /* (n) */
    size_t n_gap_rank;
    weirp_curve curve[WEIRP_N_POLICIES];
    size_t max_points;             /* of any curve, before thinning */
    weirp_figures figures, lo, hi; /* and the bounds of their 95 % intervals */
    size_t n_bootstrap;
    uint64_t seed;
    weirp_model_summary *models; /* (n_models) */
    weirp_operating_point operating;
    uint32_t *choice;          /* (n) models at the operating point */
    weirp_task_summary *tasks; /* (n_tasks) by falling n, then name; NULL where the data has none */
    size_t n_tasks;
    char *notes[WEIRP_MAX_NOTES]; /* what was left out or is missing, a sentence each */
    size_t n_notes;
};

/* ---- the steps of making it, in order ---- */

weir_status weirp_select_prompts(weir_evaluation *e, weir_error *err);
weir_status weirp_effective_estimates(weir_evaluation *e, weir_error *err);
weir_status weirp_find_pair(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err);
weir_status weirp_trace_policies(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err);
weir_status weirp_rank_estimates(weir_evaluation *e, weir_error *err);
/* All figures, prompts weighted by `weight` (NULL: all 1). `points` is scratch: max_points + n_models of them. */
void weirp_measure(const weir_evaluation *e, const double *weight, weirp_point *points, weirp_figures *out);
weir_status weirp_bootstrap(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err);
weir_status weirp_summarise(weir_evaluation *e, weir_error *err);
weir_status weirp_keep_points(weir_evaluation *e, weir_error *err);

weir_status weirp_note(weir_evaluation *e, weir_error *err, const char *format, ...) WEIR_PRINTF(3, 4);
/* Asks options->progress whether to go on. */
weir_status weirp_progress(const weir_evaluate_options *options, const char *stage, size_t done, size_t total,
                           weir_error *err);

#endif

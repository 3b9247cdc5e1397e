/* state.h: everything a store knows, in memory; and how it becomes bytes and back.
 *
 * Lives in this folder: predict, decide, learn, and what keeps their state. May not know: HTTP, files other than the
 * store, how reports look. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_STATE_H
#define WEIRP_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "estimators/adaptive.h"
#include "estimators/estimator.h"
#include "src/base/base.h"
#include "src/store/store.h"
#include "src/text/text.h"
#include "weir/policy.h"
#include "weir/pool.h"

#define WEIRP_MAX_MEMBERS 8

/* The combination of estimators that predicts quality:
 * q_m = mean_m + shrink * sum_k weight_k (p_km - mean_m), clipped to [0,1]. */
typedef struct weirp_quality {
    size_t n_members;
    weirp_estimator *member[WEIRP_MAX_MEMBERS];
    double weight[WEIRP_MAX_MEMBERS]; /* sum to 1 */
    double shrink;                    /* 0: constant estimates */
    double *mean;                     /* (n_models) mean quality in training, shrunk to the pool's where data is thin */
} weirp_quality;

/* One positive quantity for every model, on a log scale: log y = f_m(x) + level_m. */
typedef struct weirp_log_model {
    weirp_estimator *shape; /* NULL: levels alone */
    double *level;          /* (n_models) mean residual; NAN: nothing known */
    double *level_n;        /* (n_models) evidence behind it, discounted */
    double *spread;         /* (n_models) standard deviation of residuals */
    double *smear;          /* (n_models) E exp(residual): from the median to the mean (Duan, JASA 78, 1983) */
    double *lo, *hi;        /* (n_models) residual quantiles that bound the interval (split conformal) */
} weirp_log_model;

typedef enum weirp_cost_source {
    WEIRP_COST_NONE,   /* neither prices nor recorded costs */
    WEIRP_COST_TOKENS, /* prices times predicted tokens */
    WEIRP_COST_DIRECT, /* recorded costs without tokens: the cost itself is predicted */
} weirp_cost_source;

typedef struct weirp_costs {
    uint8_t *source;               /* (n_models) weirp_cost_source */
    weirp_log_model input_tokens;  /* log(tokens / tokens counted in the text) */
    weirp_log_model output_tokens; /* log(1 + tokens) */
    weirp_log_model cost;          /* log USD: DIRECT only, and the intervals of TOKENS (residual of the estimate) */
    weirp_log_model latency;       /* log ms */
} weirp_costs;

/* Half-widths of the split conformal intervals for quality (Vovk et al. 2005; Lei et al., JASA 113, 2018). */
typedef struct weirp_intervals {
    double coverage;
    double *quality_half; /* (n_models) */
    size_t n_novelty;
    double *novelty; /* (n_novelty) ascending quantiles of held-out prompts' share of unexplained text */
} weirp_intervals;

typedef struct weirp_state {
    weir_pool *pool;              /* names and prices */
    bool *disabled;               /* (n_models) taken out of the pool, kept in the estimators */
    weirp_featurizer *featurizer; /* never NULL */
    weirp_quality quality;        /* n_members 0: never trained */
    weirp_costs costs;
    weirp_intervals intervals;
    weirp_adaptive *adaptive; /* what came after training: corrections, forgetting, drift */
    uint64_t n_trained_prompts;
    uint64_t n_feedbacks;     /* learned since training */
    uint64_t checkpoint_log;  /* log records whose quality the stored state has taken in */
    uint64_t costs_log;       /* log records whose tokens, costs and latency it has */
    uint64_t trained_version; /* commit of the last training: features of older decisions mean something else */
    uint64_t n_taught;        /* records taken in that aren't stored: of quality; not stored */
    uint64_t n_served;        /* and of tokens, costs and latency alone; not stored */
    uint64_t n_logged;        /* log records in the store; not stored */
    uint64_t store_version;   /* commit it was read at; not stored */
    char estimator[32];       /* what was asked of train */
} weirp_state;

/* A state on `featurizer` (stolen, also on failure) with priors and nothing fitted. *out is new. */
weir_status weirp_state_new(weirp_state **out, const weir_pool *pool, weirp_featurizer *featurizer, bool trained,
                            weir_error *err);
/* The same on a cold featurizer: a store that was never trained. */
weir_status weirp_state_cold(weirp_state **out, const weir_pool *pool, weir_error *err);
void weirp_state_free(weirp_state *s); /* NULL is fine */
size_t weirp_state_n_models(const weirp_state *s);

/* Appends a model that has no outcomes: estimators borrow from the pool for it. */
weir_status weirp_state_add_model(weirp_state *s, const weir_model *model, weir_error *err);
/* New prices and limits for model m; its name stays. */
void weirp_state_reprice(weirp_state *s, size_t m, const weir_model *model);

/* A copy that is only ever asked for estimates: it shares what learning doesn't change, and lacks what only learning
 * needs. *out is new. */
weir_status weirp_state_copy(weirp_state **out, const weirp_state *s, weir_error *err);
/* Gives up what only learning and saving need. */
void weirp_state_freeze(weirp_state *s);

/* Sections that make up a state in the store. */
typedef struct weirp_sections {
    size_t n;
    struct {
        char name[16];
        weirp_writer bytes;
    } section[8];
} weirp_sections;

/* `w` is filled with new bytes; free them with weirp_sections_free. */
weir_status weirp_state_save(const weirp_state *s, weirp_sections *w, weir_error *err);
void weirp_sections_free(weirp_sections *w);
/* A light checkpoint: what records of kind `served` change. `checkpoint_log` and `costs_log` as they will be. */
void weirp_state_save_levels(const weirp_state *s, uint64_t checkpoint_log, uint64_t costs_log, weirp_writer *w);
/* Writes every section, after `more` changes, in one durable transaction. */
weir_status weirp_state_commit(const weirp_state *s, weirp_store *store, const weirp_change *more, size_t n_more,
                               weir_error *err);
/* The same, and `work` on the table in that transaction. */
weir_status weirp_state_transact(const weirp_state *s, weirp_store *store, const weirp_change *more, size_t n_more,
                                 weirp_table_work work, void *user, weir_error *err);
/* Reads a snapshot, then replays the log past its checkpoint: what was acknowledged is there. *out is new. */
weir_status weirp_state_load(weirp_state **out, weirp_snapshot *snapshot, weir_error *err);
/* The pool alone (*pool is new), and the commit of the last training, without estimators and without a replay. */
weir_status weirp_state_names(weirp_snapshot *snapshot, weir_pool **pool, uint64_t *trained_version, weir_error *err);
/* Opens, reads, closes. */
weir_status weirp_state_open(weirp_state **out, const char *path, weir_error *err);

#define WEIRP_LEVELS_SECTION "levels"

#endif

/* learn.h: outcomes into a state, the same way when they happen and when the log is replayed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LEARN_H
#define WEIRP_LEARN_H

#include "src/router/workspace.h"
#include "weir/router.h"

/* What a log record holds: docs/formats.md, "Log record". Arrays are (n_models) unless they say otherwise. */
typedef struct weirp_log_record {
    int64_t time_ms;
    char *id;
    uint32_t n_models, model, rule, reason;
    double *propensity, *quality, *cost; /* NAN: not known */
    uint32_t dim;
    float *dense; /* (dim) */
    double approximate_tokens;
    uint32_t n_outcomes;
    uint32_t *outcome_model; /* (n_outcomes) */
    weir_outcome *outcome;   /* (n_outcomes) */
} weirp_log_record;

void weirp_log_encode(weirp_writer *w, const weirp_workspace *from, const char *id, size_t n, const size_t *models,
                      const weir_outcome *outcomes);
weir_status weirp_log_decode(weirp_log_record *record, const uint8_t *data, size_t size, weir_error *err);
void weirp_log_record_free(weirp_log_record *record);

typedef void (*weirp_drift_fn)(void *user, size_t model, const weirp_alarm *alarm);

/* Teaches `s` what n models did with the prompt in w->features, whose prior is in w->prior. w->state must be s. */
weir_status weirp_learn(weirp_state *s, weirp_workspace *w, size_t n, const size_t *models,
                        const weir_outcome *outcomes, weirp_drift_fn drift, void *user, weir_error *err);
/* Teaches `s` the log records past its checkpoint. */
weir_status weirp_learn_replay(weirp_state *s, weirp_snapshot *snapshot, weir_error *err);

#endif

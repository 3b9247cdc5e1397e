/* learn.h: outcomes into a state, the same way when they happen and when the log is replayed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LEARN_H
#define WEIRP_LEARN_H

#include "src/router/reading.h"
#include "src/router/workspace.h"
#include "weir/router.h"

typedef void (*weirp_drift_fn)(void *user, size_t model, const weirp_alarm *alarm);

/* Quality and costs (tokens, prices, latency) know nothing of each other, so that a checkpoint may hold the one without
 * the other. */
enum { WEIRP_LEARN_QUALITY = 1, WEIRP_LEARN_COSTS = 2, WEIRP_LEARN_ALL = 3 };

/* Teaches `s` what n models did with the prompt in w->features, whose prior is in w->prior (unless quality isn't among
 * `what`). w->state must be s. */
weir_status weirp_learn(weirp_state *s, weirp_workspace *w, size_t n, const size_t *models,
                        const weir_outcome *outcomes, unsigned what, weirp_drift_fn drift, void *user, weir_error *err);
/* Teaches a decoded record's tokens, cost and latency. */
void weirp_learn_served(weirp_state *s, weirp_workspace *w, const weirp_log_record *record);
/* Teaches a feedback's quality; sets w->features and w->prior. */
weir_status weirp_learn_feedback(weirp_state *s, weirp_workspace *w, const weirp_log_record *record,
                                 weirp_drift_fn drift, void *user, weir_error *err);
/* Whether a record's features mean to `s` what they meant when it was made. */
bool weirp_learn_fits(const weirp_state *s, const weirp_log_record *record);

/* Teaches `s` the log records past its checkpoints. */
weir_status weirp_learn_replay(weirp_state *s, weirp_snapshot *snapshot, weir_error *err);

#endif

/* rollout.h: the rollout that a gateway has under way: the gate (src/ope/gate.h), fed by the log, kept in the store,
 * and told to the threads that decide. The journal's thread has the gate; all others look at one word.
 *
 * Of several processes with one store the one that learns moves the gate; the others read it from the store.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ROLLOUT_H
#define WEIRP_ROLLOUT_H

#include <stdatomic.h>

#include "src/gateway/config/config.h"
#include "src/gateway/observe/logging.h"
#include "src/gateway/observe/metrics.h"
#include "src/router/record.h"

typedef struct weirp_rollout weirp_rollout;

weir_status weirp_rollout_new(weirp_rollout **out, weirp_log *log, weir_error *err);
void weirp_rollout_free(weirp_rollout *rollout); /* NULL is fine */

/* A configuration comes into force, with a rollout or without. Any thread. */
void weirp_rollout_configure(weirp_rollout *rollout, const weirp_config *config);
/* The step that a rollout of this digest is at; WEIRP_GATE_OFF: the candidate has nothing to decide. Any thread, no
 * lock. */
unsigned weirp_rollout_step(const weirp_rollout *rollout, uint64_t digest);
void weirp_rollout_facts(weirp_rollout *rollout, weirp_rollout_fact *out); /* any thread */

/* Before there is a journal. `moved` hears of each step that is gone on from, passed or stopped at, once the store has
 * it, and never again: whoever dies in between has told nobody. `share`: the candidate's from now on. From the
 * journal's thread. */
typedef void (*weirp_moved)(void *user, const weirp_gate_plan *plan, const weirp_gate_event *event, double share);
void weirp_rollout_listen(weirp_rollout *rollout, weirp_moved moved, void *user);

/* ---- the journal's thread; `rollout` NULL: nothing happens ---- */

/* This process has the store now: takes up what is in it, and listens to the learner. */
weir_status weirp_rollout_hold(weirp_rollout *rollout, weir_learner *learner, weir_error *err);
/* Now and then, by whoever has the store: takes a new configuration over, and lets time pass. True: a commit is due. */
bool weirp_rollout_look(weirp_rollout *rollout, weir_learner *learner);
/* After a commit, by whoever has the store: tells of what it has made durable. */
void weirp_rollout_committed(weirp_rollout *rollout, const weir_learner *learner);
/* Now and then, by a process that has joined the store. */
weir_status weirp_rollout_follow(weirp_rollout *rollout, weirp_store *store, weir_error *err);

#endif

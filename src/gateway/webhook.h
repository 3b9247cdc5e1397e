/* webhook.h: what happens to budgets and to a rollout, sent to URLs of the operator's.
 *
 * Each is one POST of JSON from the worker's loop, to the URL that the configuration in force has; where it has none,
 * nothing is sent. Tried once; a failure is logged, and so is a body that can't be built. Any thread; nobody waits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WEBHOOK_H
#define WEIRP_WEBHOOK_H

#include "src/gateway/money/treasury.h"
#include "src/gateway/worker.h"

/* docs/budgets.md, "Warnings" */
void weirp_webhook_warning(weirp_worker *worker, const weirp_warning *warning);
/* docs/gateway.md, "rollout"; `share`: of the traffic that the candidate decides from now on */
void weirp_webhook_move(weirp_worker *worker, const weirp_gate_plan *plan, const weirp_gate_event *event, double share);

/* The body of that, new; what isn't a number is null. NULL: it can't be built. */
char *weirp_webhook_move_body(const weirp_gate_plan *plan, const weirp_gate_event *event, double share);

/* At the end of the worker's thread: what is under way is given up, and the log says so. */
void weirp_webhook_clear(weirp_worker *worker);

#endif

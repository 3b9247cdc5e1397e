/* pacing.h: one pacer (src/budget/pace.h) for all of a gateway's threads: it sees every decision and what came of it,
 * and gives the value that spends its budget for the most quality to requests that name none.
 *
 * pacing.c        what requests ask; the budget's periods
 * pacing_state.c  what outlives a restart
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PACING_H
#define WEIRP_PACING_H

#include "src/budget/bank.h"
#include "src/gateway/observe/logging.h"
#include "src/gateway/observe/metrics.h"
#include "weir/policy.h"

typedef struct weirp_pacing weirp_pacing;

typedef struct weirp_pacing_options {
    const char *store, *budget; /* copied */
    weirp_bank *bank;           /* borrowed until the pacing is closed or stopped */
    weirp_log *log;             /* borrowed */
    double floor, max_latency_ms, expected_requests;
    bool floor_first;
} weirp_pacing_options;

/* Takes up what was learned before. The budget needn't be there yet. *out is new. */
weir_status weirp_pacing_open(weirp_pacing **out, const weirp_pacing_options *options, weir_error *err);
/* Saves what was learned. NULL is fine. */
void weirp_pacing_close(weirp_pacing *pacing);

/* For one request. */
typedef struct weirp_advice {
    bool paced;            /* its budget is paced, and covers it */
    double value;          /* USD; NAN: not known yet */
    double most_usd;       /* that a call should be expected to cost */
    double max_latency_ms; /* INFINITY: no limit */
} weirp_advice;

/* A request with these estimates is about to be decided on. `observe`: it counts as one that has come; otherwise it is
 * only asked about. `subject` NULL: nothing is known of who asks. Any thread; about a microsecond. */
void weirp_pacing_advise(weirp_pacing *pacing, const weirp_subject *subject, const weir_estimates *estimates,
                         bool observe, weirp_advice *advice);
/* What came of one that was observed: what its model's quality and cost were thought to be, and what it cost. Nobody
 * answered: zeros. Any thread. */
void weirp_pacing_settle(weirp_pacing *pacing, double quality, double expected_usd, double actual_usd);
/* Every half second or so, from one thread: keeps up with the clock and with others' spending, tells of contradictions,
 * saves once a minute. */
void weirp_pacing_tick(weirp_pacing *pacing);
void weirp_pacing_facts(weirp_pacing *pacing, weirp_pace_facts *out); /* any thread */

#endif

/* plan.h: from a request to the models that may answer it, in order. One planner a thread.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PLAN_H
#define WEIRP_PLAN_H

#include "src/gateway/knobs.h"
#include "src/router/record.h"

typedef struct weirp_choice {
    size_t model;          /* in the configuration's pool */
    size_t router_model;   /* in the store's */
    double cost_usd;       /* expected; NAN: not known */
    double cost_hi_usd;    /* upper end of its interval; NAN: not known */
    double latency_p95_ms; /* NAN: not known */
    double output_tokens;  /* expected; NAN: not known */
    double quality;        /* expected; NAN: not known */
} weirp_choice;

typedef struct weirp_plan {
    char id[WEIRP_ID_SIZE];
    bool pinned;
    size_t n;                                /* 0: nothing can answer it */
    weirp_choice choice[WEIRP_MAX_ATTEMPTS]; /* the decision first, then by rising risk */
    weir_rule rule;
    weir_reason reason;
    double input_tokens; /* expected */
    bool observed;       /* pacing has counted it, and wants to hear what comes of it */
    bool paced;          /* it was decided by `value`, which is pacing's */
    double value;        /* USD */
} weirp_plan;

typedef struct weirp_planner weirp_planner;

/* `router` and `setup` are kept by reference. `salt` tells threads apart. *out is new. */
weir_status weirp_planner_new(weirp_planner **out, weir_router *router, weirp_setup *setup, uint32_t salt,
                              weir_error *err);
void weirp_planner_free(weirp_planner *planner); /* NULL is fine */
/* Other models, other estimates: between requests. On failure the old ones stay. */
weir_status weirp_planner_router(weirp_planner *planner, weir_router *router, weir_error *err);
weir_status weirp_planner_setup(weirp_planner *planner, weirp_setup *setup, weir_error *err);
weir_router *weirp_planner_router_of(const weirp_planner *planner); /* borrowed */

/* Decides. `record` (emptied first) takes the decision for the log; NULL: none is kept. WEIR_PARSE, WEIR_NOTFOUND: the
 * fault says what the client did wrong; WEIR_NODATA: no model may answer (the fault says why; `wait_ms` until one might
 * be asked again, where breakers are the reason, else 0). */
weir_status weirp_plan_make(weirp_planner *planner, const weirp_request *request, const weirp_knobs *knobs,
                            uint64_t now_ms, weirp_plan *plan, weirp_writer *record, uint64_t *wait_ms,
                            weirp_fault *fault, weir_error *err);
/* What a client is told that nothing came of: 400, 404, 429, 500 or 503. */
int weirp_plan_http_status(weir_status status, uint64_t wait_ms, const weirp_fault *fault);
/* The decision that was made last, explained as JSON (new). WEIR_INVALID after a pinned one. */
weir_status weirp_plan_explain(weirp_planner *planner, const weirp_knobs *knobs, char **json, weir_error *err);

#endif

/* session.c: asking a store's snapshot. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/record.h"
#include "src/router/session.h"

static void find_costs(weir_router *r) {
    r->has_cost = false;
    for (size_t m = 0; m < weir_router_n_models(r); m++) r->has_cost |= r->state->costs.source[m] != WEIRP_COST_NONE;
}

weir_status weirp_router_new(weir_router **out, weirp_state *state, weir_error *err) {
    weir_router *r = weirp_array(1, sizeof *r);
    if (!r) {
        weirp_state_free(state);
        return weirp_nomem(err);
    }
    r->state = state;
    atomic_init(&r->refs, 1);
    find_costs(r);
    *out = r;
    return WEIR_OK;
}

weir_status weir_router_open(weir_router **out, const char *path, weir_error *err) {
    weirp_state *state = NULL;
    weir_status st = weirp_state_open(&state, path, err);
    if (st != WEIR_OK) return st;
    weirp_state_freeze(state);
    return weirp_router_new(out, state, err);
}

weir_router *weirp_router_keep(weir_router *router) {
    atomic_fetch_add_explicit(&router->refs, 1, memory_order_relaxed);
    return router;
}

void weirp_router_reprice(weir_router *router, const weir_pool *pool) {
    weirp_state *s = router->state;
    for (size_t m = 0; m < weirp_state_n_models(s); m++) {
        size_t j = weir_pool_find(pool, s->pool->models[m].name);
        if (j == (size_t)-1) continue;
        weir_model model = pool->models[j];
        /* what the pool doesn't say stays as the store has it */
        if (isnan(model.input_usd_per_mtok)) model.input_usd_per_mtok = s->pool->models[m].input_usd_per_mtok;
        if (isnan(model.output_usd_per_mtok)) model.output_usd_per_mtok = s->pool->models[m].output_usd_per_mtok;
        weirp_state_reprice(s, m, &model);
    }
    find_costs(router);
}

void weir_router_close(weir_router *router) {
    if (!router || atomic_fetch_sub_explicit(&router->refs, 1, memory_order_acq_rel) > 1) return;
    weirp_state_free(router->state);
    free(router);
}

size_t weir_router_n_models(const weir_router *router) {
    return weirp_state_n_models(router->state);
}

const char *weir_router_model(const weir_router *router, size_t index) {
    return index < weir_router_n_models(router) ? router->state->pool->models[index].name : NULL;
}

size_t weir_router_find_model(const weir_router *router, const char *name) {
    return weir_pool_find(router->state->pool, name);
}

bool weir_router_has_cost(const weir_router *router) {
    return router->has_cost;
}

uint64_t weir_router_version(const weir_router *router) {
    return router->state->store_version;
}

weir_status weir_session_new(weir_session **out, const weir_router *router, weir_error *err) {
    weir_session *s = weirp_array(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    weir_status st = weirp_workspace_init(&s->workspace, router->state, err);
    if (st != WEIR_OK) {
        free(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

void weir_session_free(weir_session *session) {
    if (!session) return;
    weirp_workspace_clear(&session->workspace);
    free(session);
}

weir_status weir_estimate(weir_session *session, const char *prompt, size_t prompt_len, const weir_estimates **out,
                          weir_error *err) {
    (void)err; /* estimating can't fail; the status is there for estimators that will talk to somebody */
    weirp_workspace_estimate(&session->workspace, prompt, prompt_len);
    *out = &session->workspace.estimates;
    return WEIR_OK;
}

weir_status weir_decide(weir_session *session, const char *prompt, size_t prompt_len,
                        const weir_policy_options *options, const weir_decision **out, const weir_estimates **estimates,
                        weir_error *err) {
    weirp_workspace_estimate(&session->workspace, prompt, prompt_len);
    weir_status st = weirp_workspace_decide(&session->workspace, options, err);
    if (st != WEIR_OK) return st;
    *out = &session->workspace.decision;
    if (estimates) *estimates = &session->workspace.estimates;
    return WEIR_OK;
}

weir_status weir_session_decide(weir_session *session, const weir_policy_options *options, const weir_decision **out,
                                weir_error *err) {
    weir_status st = weirp_workspace_decide(&session->workspace, options, err);
    if (st == WEIR_OK) *out = &session->workspace.decision;
    return st;
}

weir_decision *weirp_session_decision(weir_session *session) {
    return &session->workspace.decision;
}

void weir_session_profile(weir_session *session, bool on) {
    session->workspace.profile = on;
}

size_t weir_session_phases(const weir_session *session, const weir_phase **out) {
    *out = session->workspace.phase;
    return session->workspace.n_phases;
}

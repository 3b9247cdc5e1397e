/* plan.c: from a request to the models that may answer it. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/money/pacing.h"
#include "src/gateway/mixture.h"
#include "src/gateway/plan.h"
#include "src/gateway/journal/rollout.h"
#include "src/router/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weirp_planner {
    weir_router *router;
    weirp_setup *setup;
    weir_session *session;
    size_t *to_router; /* (models of the setup) index in the router; (size_t)-1: the store doesn't know it */
    size_t *to_setup;  /* (models of the router) index in the setup; (size_t)-1: not configured */
    uint64_t n_decisions;
    uint32_t salt;
    weirp_writer text;
    weir_decision candidate;         /* of a rollout; arrays of the router's models */
    double *numbers;                 /* what they are cut from */
    uint64_t chance;                 /* seed of which arm is drawn: not the same in any two lives */
    const weir_estimates *estimates; /* of the last decision, borrowed from the session; NULL: none */
    const weir_decision *decision;
};

/* ---- router and setup ---- */

typedef struct maps {
    size_t *to_router, *to_setup;
    double *numbers; /* (3, n_models) of the candidate's decision */
    size_t n_models; /* of the router */
} maps;

static weir_status map(maps *out, const weir_router *router, const weirp_setup *setup, weir_error *err) {
    const weir_pool *pool = setup->config->pool;
    size_t n = weir_router_n_models(router);
    maps made = {weirp_array(pool->n_models, sizeof(size_t)), weirp_array(n, sizeof(size_t)),
                 weirp_array(3 * n, sizeof(double)), n};
    if (!made.to_router || !made.to_setup || !made.numbers) {
        free(made.to_router);
        free(made.to_setup);
        free(made.numbers);
        return weirp_nomem(err);
    }
    for (size_t r = 0; r < n; r++) made.to_setup[r] = (size_t)-1;
    for (size_t m = 0; m < pool->n_models; m++) {
        size_t r = made.to_router[m] = weir_router_find_model(router, pool->models[m].name);
        if (r != (size_t)-1) made.to_setup[r] = m;
    }
    *out = made;
    return WEIR_OK;
}

static void use(weirp_planner *p, maps made) {
    free(p->to_router);
    free(p->to_setup);
    free(p->numbers);
    p->to_router = made.to_router;
    p->to_setup = made.to_setup;
    p->numbers = made.numbers;
    p->candidate = (weir_decision){.n_models = made.n_models,
                                   .risk_usd = made.numbers,
                                   .regret_usd = made.numbers + made.n_models,
                                   .propensity = made.numbers + 2 * made.n_models};
    p->estimates = NULL;
    p->decision = NULL;
}

weir_status weirp_planner_router(weirp_planner *p, weir_router *router, weir_error *err) {
    weir_session *session = NULL;
    maps made;
    weir_status st = weir_session_new(&session, router, err);
    if (st != WEIR_OK) return st;
    st = map(&made, router, p->setup, err);
    if (st != WEIR_OK) {
        weir_session_free(session);
        return st;
    }
    use(p, made);
    weir_session_free(p->session);
    weir_router_close(p->router);
    p->session = session;
    p->router = weirp_router_keep(router);
    return WEIR_OK;
}

weir_status weirp_planner_setup(weirp_planner *p, weirp_setup *setup, weir_error *err) {
    maps made;
    weir_status st = map(&made, p->router, setup, err);
    if (st != WEIR_OK) return st;
    use(p, made);
    weirp_setup *old = p->setup;
    p->setup = weirp_setup_keep(setup);
    weirp_setup_drop(old);
    return WEIR_OK;
}

weir_status weirp_planner_new(weirp_planner **out, weir_router *router, weirp_setup *setup, uint32_t salt,
                              weir_error *err) {
    weirp_planner *p = weirp_array(1, sizeof *p);
    if (!p) return weirp_nomem(err);
    p->salt = salt;
    p->chance = weirp_mix64((uint64_t)weirp_unix_ms() ^ weirp_mix64(weirp_monotonic_ns() + salt));
    p->setup = weirp_setup_keep(setup);
    weir_status st = weirp_planner_router(p, router, err);
    if (st != WEIR_OK)
        weirp_planner_free(p);
    else
        *out = p;
    return st;
}

void weirp_planner_free(weirp_planner *p) {
    if (!p) return;
    weir_session_free(p->session);
    weir_router_close(p->router);
    weirp_setup_drop(p->setup);
    free(p->to_router);
    free(p->to_setup);
    free(p->numbers);
    weirp_writer_free(&p->text);
    free(p);
}

weir_router *weirp_planner_router_of(const weirp_planner *planner) {
    return planner->router;
}

/* ---- who may answer ---- */

static bool able(const weirp_abilities *a, const weirp_request *r) {
    return (a->tools || !r->has_tools) && (a->images || !r->has_images) && (a->audio || !r->has_audio) &&
           (a->json || !r->wants_json);
}

/* Milliseconds until some deployment of the model might be asked. */
static uint64_t wait_for(const weirp_setup *s, size_t model, uint64_t now_ms) {
    size_t n, first = weirp_config_deployments(s->config, model, &n);
    uint64_t least = UINT64_MAX;
    for (size_t d = first; d < first + n; d++) {
        uint64_t wait = weirp_breaker_wait_ms(s->breaker[d], now_ms);
        if (wait < least) least = wait;
    }
    return least;
}

/* No deployment of the model is ill: it only rests. */
static bool is_limited(const weirp_setup *s, size_t model, uint64_t now_ms) {
    size_t n, first = weirp_config_deployments(s->config, model, &n);
    for (size_t d = first; d < first + n; d++)
        if (weirp_breaker_state(s->breaker[d], now_ms) != WEIRP_BREAKER_CLOSED) return false;
    return true;
}

typedef struct excluded {
    size_t configured, unable, too_long, resting, limited; /* limited: resting because a vendor asked for it */
    size_t forbidden;                                      /* the client's key doesn't have them */
    uint64_t wait_ms;
} excluded;

/* Takes out of the estimates who may not be asked. Where every able model rests because of its breaker, nobody is left.
 */
static size_t restrict_to(weirp_planner *p, const weir_estimates *e, const weirp_request *r, const weirp_key *key,
                          uint64_t now_ms, excluded *x) {
    size_t left = 0;
    *x = (excluded){.wait_ms = UINT64_MAX};
    for (size_t i = 0; i < e->n_models; i++) {
        size_t m = p->to_setup[i];
        bool fits = e->eligible[i];
        e->eligible[i] = false;
        if (m == (size_t)-1) continue;
        x->configured++;
        uint64_t wait = wait_for(p->setup, m, now_ms);
        if (key && !weirp_key_allows(key, p->setup->config->pool->models[m].name)) {
            x->forbidden++;
        } else if (!able(&p->setup->config->abilities[m], r)) {
            x->unable++;
        } else if (!fits) {
            x->too_long++;
        } else if (wait) {
            x->resting++;
            x->limited += is_limited(p->setup, m, now_ms);
            if (wait < x->wait_ms) x->wait_ms = wait;
        } else {
            e->eligible[i] = true;
            left++;
        }
    }
    return left;
}

#define NOT_ALLOWED "model_not_allowed"

static weir_status nobody(const excluded *x, uint64_t *wait_ms, weirp_fault *fault) {
    *wait_ms = x->resting ? x->wait_ms : 0;
    const char *why = "No model of the pool is known to the store.";
    fault->code[0] = fault->param[0] = 0;
    if (x->resting && x->resting == x->limited) {
        why = "Every model that could answer this is rate limited; try again later.";
        snprintf(fault->code, sizeof fault->code, "rate_limit_exceeded");
    } else if (x->resting) {
        why = "Every model that could answer this is failing at the moment; try again later.";
        snprintf(fault->code, sizeof fault->code, "no_model_available");
    } else if (x->too_long) {
        why = "The prompt is longer than any model of the pool takes.";
        snprintf(fault->code, sizeof fault->code, "context_length_exceeded");
        snprintf(fault->param, sizeof fault->param, "messages");
    } else if (x->forbidden && x->forbidden == x->configured) {
        why = "The API key isn't allowed any model that could answer this.";
        snprintf(fault->code, sizeof fault->code, NOT_ALLOWED);
    } else if (x->unable) {
        why = "No model of the pool can do what this request asks for (tools, images, audio or JSON).";
        snprintf(fault->code, sizeof fault->code, "unsupported_request");
    }
    snprintf(fault->text, sizeof fault->text, "%s", why);
    return WEIR_NODATA;
}

static weirp_choice choice_of(const weirp_planner *p, size_t router_model) {
    const weir_estimates *e = p->estimates;
    return (weirp_choice){.model = p->to_setup[router_model],
                          .router_model = router_model,
                          .cost_usd = e->cost_usd[router_model],
                          .cost_hi_usd = e->cost_hi[router_model],
                          .latency_p95_ms = e->latency_p95[router_model],
                          .output_tokens = e->output_tokens[router_model],
                          .quality = e->quality[router_model]};
}

/* The decision, then the others by rising risk: a short insertion sort of the best. */
static void order(const weirp_planner *p, weirp_plan *plan) {
    const weir_decision *d = p->decision;
    plan->choice[0] = choice_of(p, d->model);
    plan->n = 1;
    size_t best[WEIRP_MAX_ATTEMPTS];
    size_t n = 0;
    for (size_t i = 0; i < d->n_models; i++) {
        if (i == d->model || !p->estimates->eligible[i]) continue;
        size_t at = n < WEIRP_MAX_ATTEMPTS - 1 ? n++ : n;
        while (at > 0 && d->risk_usd[i] < d->risk_usd[best[at - 1]]) {
            if (at < WEIRP_MAX_ATTEMPTS - 1) best[at] = best[at - 1];
            at--;
        }
        if (at < WEIRP_MAX_ATTEMPTS - 1) best[at] = i;
    }
    for (size_t i = 0; i < n; i++) plan->choice[plan->n++] = choice_of(p, best[i]);
}

/* ---- deciding ---- */

static weir_status estimate(weirp_planner *p, const weirp_request *r, weir_error *err) {
    const char *text;
    size_t len;
    p->estimates = NULL;
    p->decision = NULL;
    weir_status st = weirp_request_prompt(r, &p->text, &text, &len);
    if (st != WEIR_OK) return weirp_nomem(err);
    const weir_estimates *e;
    st = weir_estimate(p->session, text, len, &e, err);
    if (st == WEIR_OK) p->estimates = e;
    return st;
}

static weir_status pin(weirp_planner *p, const weirp_knobs *knobs, uint64_t now_ms, weir_policy_options *options,
                       uint64_t *wait_ms, weirp_fault *fault) {
    size_t r = p->to_router[knobs->pinned];
    excluded x = {.configured = 1};
    if (r == (size_t)-1) return nobody(&x, wait_ms, fault);
    x.forbidden = knobs->key && !weirp_key_allows(knobs->key, p->setup->config->pool->models[knobs->pinned].name);
    if (x.forbidden) return nobody(&x, wait_ms, fault);
    x.wait_ms = wait_for(p->setup, knobs->pinned, now_ms);
    if (x.wait_ms) {
        x.resting = 1;
        x.limited = is_limited(p->setup, knobs->pinned, now_ms);
        return nobody(&x, wait_ms, fault);
    }
    for (size_t i = 0; i < p->estimates->n_models; i++) p->estimates->eligible[i] = i == r;
    options->policy = "fixed";
    options->fixed = r;
    return WEIR_OK;
}

/* A limit that some eligible model would break. */
static bool binds(const weir_estimates *e, const double *amount, double limit) {
    for (size_t i = 0; i < e->n_models; i++)
        if (e->eligible[i] && amount[i] > limit) return true;
    return false;
}

/* How a request is paced: the same for every policy that decides on it. */
typedef struct pace {
    bool on, binds; /* binds: within limits, too */
    weirp_advice advice;
} pace;

/* Who names no value of its own gets the one that its budget can pay for. Asked once a request, which is counted. */
static void ask_pacing(const weirp_planner *p, const weirp_knobs *knobs, weirp_plan *plan, pace *out) {
    const weir_estimates *e = p->estimates;
    const weirp_advice *a = &out->advice;
    if (!knobs->pacing) return;
    weirp_pacing_advise(knobs->pacing, knobs->subject, e, !knobs->dry, &out->advice);
    plan->observed = a->paced && !knobs->dry;
    plan->paced = out->on = a->paced && !knobs->own_value && !plan->pinned && isfinite(a->value);
    if (!out->on) return;
    plan->value = a->value;
    out->binds = binds(e, e->cost_usd, a->most_usd) || binds(e, e->latency_ms, a->max_latency_ms);
}

/* Limits are only looked at by the policy that keeps them. */
static void keep_pace(const pace *how, weir_policy_options *o) {
    const weirp_advice *a = &how->advice;
    if (!how->on) return;
    o->value_usd = a->value;
    if (!how->binds) return;
    if (!o->policy || !strcmp(o->policy, "plugin")) o->policy = "constrained";
    o->max_cost_usd = fmin(o->max_cost_usd, a->most_usd);
    o->max_latency_ms = fmin(o->max_latency_ms, a->max_latency_ms);
}

/* ---- rollouts ---- */

#define ARM_STREAM 0x726f6c6cu /* "roll": random numbers of its own */

/* The options with the setup's models as the router's. */
static weir_policy_options translated(const weirp_planner *p, const weir_policy_options *policy, uint64_t draw) {
    weir_policy_options o = *policy;
    if (o.strong != (size_t)-1) o.strong = p->to_router[o.strong];
    if (o.weak != (size_t)-1) o.weak = p->to_router[o.weak];
    o.fixed = p->to_router[o.fixed];
    o.seed = p->salt;
    o.draw = draw;
    return o;
}

/* Has the candidate decide on the same estimates, paced alike, and draws who is heard; `trial` is filled if there is a
 * candidate that can decide. A client that steers by itself, or has pinned a model, is nobody's to try things on. */
static void try_candidate(weirp_planner *p, const weirp_knobs *knobs, const pace *how, uint64_t draw,
                          weirp_trial *trial) {
    const weirp_gate_plan *g = &p->setup->config->rollout.gate;
    if (!knobs->rollout || !p->setup->config->rollout.on || knobs->steered || knobs->pinned != WEIRP_UNPINNED) return;
    const unsigned step = weirp_rollout_step(knobs->rollout, g->digest);
    if (step >= g->n_steps) return;
    weir_policy_options options = translated(p, &p->setup->config->rollout.policy, draw);
    keep_pace(how, &options);
    if (weir_policy_decide(&options, p->estimates, &p->candidate, NULL) != WEIR_OK) return;
    const double u = weirp_random_uniform(p->chance, ARM_STREAM, draw);
    *trial = (weirp_trial){.name = g->name,
                           .digest = g->digest,
                           .step = step,
                           .share = g->step[step],
                           .propensity = p->candidate.propensity};
    trial->arm = weirp_mixture_draw(weirp_session_decision(p->session), &p->candidate, trial->share, u);
}

weir_status weirp_plan_make(weirp_planner *p, const weirp_request *request, const weirp_knobs *knobs, uint64_t now_ms,
                            weirp_plan *plan, weirp_writer *record, uint64_t *wait_ms, weirp_fault *fault,
                            weir_error *err) {
    weir_policy_options options = translated(p, &knobs->policy, p->n_decisions++);
    weirp_trial trial = {.name = NULL};
    pace paced = {.on = false};
    plan->n = 0;
    plan->pinned = knobs->pinned != WEIRP_UNPINNED;
    plan->observed = plan->paced = false;
    *wait_ms = 0;
    weirp_id_new(plan->id, p->n_decisions, p->salt);
    weir_status st = estimate(p, request, err);
    if (st != WEIR_OK) return st;
    if (plan->pinned) {
        st = pin(p, knobs, now_ms, &options, wait_ms, fault);
        if (st != WEIR_OK) return st;
    } else {
        excluded x;
        if (!restrict_to(p, p->estimates, request, knobs->key, now_ms, &x)) return nobody(&x, wait_ms, fault);
    }
    ask_pacing(p, knobs, plan, &paced);
    keep_pace(&paced, &options);
    st = weir_session_decide(p->session, &options, &p->decision, err);
    if (st != WEIR_OK) return st;
    try_candidate(p, knobs, &paced, options.draw, &trial);
    plan->rule = p->decision->rule;
    plan->reason = p->decision->reason;
    plan->input_tokens = p->estimates->input_tokens;
    order(p, plan);
    if (record) {
        record->size = 0;
        weirp_record_trial(record, p->session, plan->id, trial.name ? &trial : NULL);
        if (record->failed) return weirp_nomem(err);
    }
    return WEIR_OK;
}

int weirp_plan_http_status(weir_status st, uint64_t wait_ms, const weirp_fault *fault) {
    if (!strcmp(fault->code, NOT_ALLOWED)) return 403;
    if (st == WEIR_PARSE || (st == WEIR_NODATA && !wait_ms)) return 400;
    if (st == WEIR_NOTFOUND) return 404;
    if (st != WEIR_NODATA) return 500;
    return !strcmp(fault->code, "rate_limit_exceeded") ? 429 : 503;
}

weir_status weirp_plan_explain(weirp_planner *p, const weirp_knobs *knobs, char **json, weir_error *err) {
    if (!p->decision) return weirp_fail(err, WEIR_INVALID, 0, "nothing has been decided");
    return weir_explain_json(p->router, &knobs->policy, p->estimates, p->decision, json, err);
}

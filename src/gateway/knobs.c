/* knobs.c: what a request says about routing. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/knobs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"

static const char *const policies[] = {"plugin", "minimax", "constrained", "random", "thompson", NULL};

typedef struct knob {
    const char *name, *header;
    double least, most;
    const char *right;
    void (*set)(weir_policy_options *policy, double x);
} knob;

/* A limit asks for the policy that keeps limits, unless another one was named. */
static void constrain(weir_policy_options *p) {
    if (!p->policy || !strcmp(p->policy, "plugin")) p->policy = "constrained";
}
static void set_value(weir_policy_options *p, double x) {
    p->value_usd = x;
}
static void set_mu(weir_policy_options *p, double x) {
    p->value_usd = weir_value_from_mu(x);
}
static void set_max_cost(weir_policy_options *p, double x) {
    p->max_cost_usd = x;
    constrain(p);
}
static void set_min_quality(weir_policy_options *p, double x) {
    p->min_quality = x;
    constrain(p);
}
static void set_max_latency(weir_policy_options *p, double x) {
    p->max_latency_ms = x;
    constrain(p);
}
static void set_explore(weir_policy_options *p, double x) {
    p->explore_floor = x;
}

static const knob knobs_known[] = {
    {"value", "x-weir-value", 0, 1e9, "USD, 0 or more", set_value},
    {"mu", "x-weir-mu", 0, 1, "a number from 0 to 1", set_mu},
    {"max_cost", "x-weir-max-cost", 0, 1e9, "USD, 0 or more", set_max_cost},
    {"min_quality", "x-weir-min-quality", 0, 1, "a number from 0 to 1", set_min_quality},
    {"max_latency_ms", "x-weir-max-latency-ms", 0, 1e9, "milliseconds, 0 or more", set_max_latency},
    {"explore", "x-weir-explore", 0, 0.5, "a number from 0 to 0.5", set_explore},
};
enum { N_KNOBS = sizeof knobs_known / sizeof knobs_known[0] };

static weir_status wrong(weirp_fault *fault, weir_status status, const char *param, const char *code,
                         const char *format, const char *a, const char *b) {
    snprintf(fault->param, sizeof fault->param, "%s", param);
    snprintf(fault->code, sizeof fault->code, "%s", code);
    snprintf(fault->text, sizeof fault->text, format, a, b);
    return status;
}

static weir_status set_policy(weirp_knobs *k, const char *name, size_t len, const char *param, weirp_fault *fault) {
    for (size_t i = 0; policies[i]; i++)
        if (strlen(policies[i]) == len && !memcmp(policies[i], name, len)) {
            k->policy.policy = policies[i];
            k->steered = true;
            return WEIR_OK;
        }
    return wrong(fault, WEIR_PARSE, param, "invalid_knob", "%s must be %s.", "policy",
                 "plugin, minimax, constrained, random or thompson");
}

static weir_status set_knob(weirp_knobs *k, const knob *which, const char *text, size_t len, const char *param,
                            weirp_fault *fault) {
    double x;
    if (!weirp_number_parse(text, len, &x) || !(x >= which->least && x <= which->most))
        return wrong(fault, WEIR_PARSE, param, "invalid_knob", "%s must be %s.", which->name, which->right);
    which->set(&k->policy, x);
    k->steered = true;
    k->own_value |= which->set == set_value || which->set == set_mu;
    return WEIR_OK;
}

static weir_status read_pair(weirp_knobs *k, const char *pair, size_t len, weirp_fault *fault) {
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals ? (size_t)(equals - pair) : len;
    char name[48];
    weirp_excerpt(name, sizeof name, pair, name_len);
    if (!equals)
        return wrong(fault, WEIR_PARSE, "model", "invalid_knob", "\"%s\" must read KNOB=VALUE, as in weir:value=0.02%s",
                     name, ".");
    const char *value = equals + 1;
    size_t value_len = len - name_len - 1;
    if (!strcmp(name, "policy")) return set_policy(k, value, value_len, "model", fault);
    for (size_t i = 0; i < N_KNOBS; i++)
        if (!strcmp(name, knobs_known[i].name)) return set_knob(k, &knobs_known[i], value, value_len, "model", fault);
    return wrong(fault, WEIR_PARSE, "model", "invalid_knob", "No knob is named \"%s\": there are %s.", name,
                 "value, mu, max_cost, min_quality, max_latency_ms, explore and policy");
}

static weir_status read_name(weirp_knobs *k, const weirp_setup *setup, const char *model, weirp_fault *fault) {
    k->pinned = weir_pool_find(setup->config->pool, model);
    if (k->pinned != WEIRP_UNPINNED || !strcmp(model, "weir")) return WEIR_OK;
    if (strncmp(model, "weir:", 5) != 0) {
        char name[96];
        weirp_excerpt(name, sizeof name, model, strlen(model));
        return wrong(fault, WEIR_NOTFOUND, "model", "model_not_found",
                     !strncmp(model, "router-", 7)
                         ? "The model \"%s\" isn't served: names that begin with router- are reserved%s"
                         : "The model \"%s\" isn't in the pool: GET /v1/models lists those that are%s",
                     name, ", and \"weir\" chooses among them.");
    }
    for (const char *at = model + 5;;) {
        size_t len = strcspn(at, ",");
        weir_status st = read_pair(k, at, len, fault);
        if (st != WEIR_OK || !at[len]) return st;
        at += len + 1;
    }
}

weir_status weirp_knobs_read(weirp_knobs *knobs, const weirp_setup *setup, const char *model, weirp_header_fn header,
                             void *user, weirp_fault *fault) {
    *knobs = (weirp_knobs){setup->config->policy, WEIRP_UNPINNED};
    const char *pin = header ? header(user, "x-weir-model") : NULL;
    weir_status st = read_name(knobs, setup, pin ? pin : model, fault);
    for (size_t i = 0; st == WEIR_OK && header && i < N_KNOBS; i++) {
        const char *text = header(user, knobs_known[i].header);
        if (text) st = set_knob(knobs, &knobs_known[i], text, strlen(text), knobs_known[i].header, fault);
    }
    const char *policy = st == WEIR_OK && header ? header(user, "x-weir-policy") : NULL;
    if (policy) st = set_policy(knobs, policy, strlen(policy), "x-weir-policy", fault);
    return st;
}

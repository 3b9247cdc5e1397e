/* registry.c: the policies by name, and what they share: checking, exploration, drawing.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "policies/policy.h"
#include "src/base/base.h"

static const weirp_policy *const policies[] = {
    &weirp_policy_plugin, &weirp_policy_minimax, &weirp_policy_threshold, &weirp_policy_constrained,
    &weirp_policy_fixed,  &weirp_policy_random,  &weirp_policy_thompson,  &weirp_policy_oracle,
};

#define N_POLICIES (sizeof policies / sizeof *policies)
#define STREAM     0x706f6c696379u /* "policy": random numbers of its own */

static const weirp_policy *find(const char *name) {
    if (!name) return policies[0];
    for (size_t i = 0; i < N_POLICIES; i++)
        if (!strcmp(policies[i]->name, name)) return policies[i];
    return NULL;
}

const char *weir_policy_name(size_t index) {
    return index < N_POLICIES ? policies[index]->name : NULL;
}

const char *weir_rule_name(weir_rule rule) {
    switch (rule) {
#define NAME(name, text)                                                                                               \
    case WEIR_RULE_##name: return text;
        WEIR_RULE_TABLE(NAME)
#undef NAME
    }
    return "unknown";
}

const char *weir_reason_text(weir_reason reason) {
    switch (reason) {
#define TEXT(name, text)                                                                                               \
    case WEIR_REASON_##name: return text;
        WEIR_REASON_TABLE(TEXT)
#undef TEXT
    }
    return "unknown";
}

weir_policy_options weir_policy_defaults(void) {
    return (weir_policy_options){
        .value_usd = 1,
        .max_cost_usd = INFINITY,
        .max_latency_ms = INFINITY,
        .threshold = 0.5,
        .strong = (size_t)-1,
        .weak = (size_t)-1,
        .fallback = true,
        .novelty_limit = 0.999,
    };
}

double weir_value_from_mu(double mu) {
    return mu == 0 ? INFINITY : (1 - mu) / mu;
}

static const char *check(const weirp_policy *policy, const weir_policy_options *o, size_t n) {
    if (!policy) return "no policy of that name";
    if (!n) return "there are no models";
    if (!(o->value_usd >= 0)) return "the value must be at least 0";
    if (!(o->latency_usd_per_s >= 0) || isinf(o->latency_usd_per_s))
        return "the price of time must be at least 0 and finite";
    if (isnan(o->novelty_limit)) return "the novelty limit must be a number";
    if (!(o->explore_floor >= 0) || o->explore_floor * (double)n > 1 + 1e-12)
        return "the exploration floor must be between 0 and 1 / number of models";
    return policy->check ? policy->check(o, n) : NULL;
}

const char *weir_policy_check(const weir_policy_options *options, size_t n_models) {
    return check(find(options->policy), options, n_models);
}

/* With a floor f and n eligible models: uniform with probability n f, else the policy. */
static void mix(double explore_floor, const weir_estimates *e, double *propensity) {
    size_t n_eligible = 0;
    for (size_t m = 0; m < e->n_models; m++) n_eligible += e->eligible[m];
    double floor = fmin(explore_floor, 1 / (double)n_eligible);
    double keep = fmax(0, 1 - (double)n_eligible * floor);
    for (size_t m = 0; m < e->n_models; m++)
        if (e->eligible[m]) propensity[m] = floor + keep * propensity[m];
}

void weirp_policy_spread(const weir_policy_options *options, const weir_estimates *estimates, size_t model,
                         double *propensity) {
    memset(propensity, 0, estimates->n_models * sizeof *propensity);
    propensity[model] = 1;
    if (options->explore_floor > 0) mix(options->explore_floor, estimates, propensity);
}

static size_t draw(const weir_policy_options *o, const weir_decision *d) {
    double u = weirp_random_uniform(o->seed, STREAM, o->draw), sum = 0;
    size_t last = (size_t)-1;
    for (size_t m = 0; m < d->n_models; m++) {
        if (!(d->propensity[m] > 0)) continue;
        sum += d->propensity[m];
        last = m; /* rounding may leave the sum a hair below 1 */
        if (u < sum) break;
    }
    return last;
}

weir_status weir_policy_decide(const weir_policy_options *options, const weir_estimates *estimates,
                               weir_decision *decision, weir_error *err) {
    size_t n = estimates->n_models;
    const weirp_policy *policy = find(options->policy);
    const char *wrong = check(policy, options, n);
    if (wrong)
        return weirp_fail(err, WEIR_INVALID, 0, "policy %s: %s", options->policy ? options->policy : "plugin", wrong);
    weirp_view view = weirp_view_make(options, estimates);
    if (!view.n_eligible) return weirp_fail(err, WEIR_NODATA, 0, "no model may answer this prompt");

    decision->n_models = n;
    memset(decision->propensity, 0, n * sizeof *decision->propensity);
    weirp_view_tables(&view, decision->risk_usd, decision->regret_usd);
    weir_status st = policy->decide(&view, decision, err);
    if (st != WEIR_OK) return st;

    size_t own = decision->model;
    if (!policy->draws) decision->propensity[own] = 1;
    if (options->explore_floor > 0) mix(options->explore_floor, estimates, decision->propensity);
    if (!policy->draws && !(options->explore_floor > 0)) return WEIR_OK;
    decision->model = draw(options, decision);
    if (own != (size_t)-1 && decision->model != own) decision->reason = WEIR_REASON_EXPLORED;
    return WEIR_OK;
}

bool weirp_policy_decide_at(const weir_policy_options *options, const weir_estimates *estimates,
                            const double *value_usd, size_t n, uint32_t *model) {
    const weirp_policy *policy = find(options->policy);
    if (check(policy, options, estimates->n_models) || !policy->decide_at) return false;
    const weirp_view view = weirp_view_make(options, estimates);
    return view.n_eligible && policy->decide_at(&view, value_usd, n, model);
}

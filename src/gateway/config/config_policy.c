/* config_policy.c: how requests are decided that say nothing else. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/gateway/config/config_file.h"

enum { MAX_POLICIES = 32 };

/* The policy's own static name; the oracle needs a truth that nobody has here. */
static weir_status named(const weirp_maker *m, const weirp_file_policy *f, const char *name, const char **out) {
    const char *names[MAX_POLICIES];
    size_t n = 0;
    for (size_t i = 0; n < MAX_POLICIES && weir_policy_name(i); i++)
        if (strcmp(weir_policy_name(i), "oracle") != 0) names[n++] = weir_policy_name(i);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = names[i];
        return WEIR_OK;
    }
    return weirp_maker_unknown(m, f->name_line, "name", "policy", name, names, n);
}

/* Without a name, the other keys tell it, as on the command line. */
static const char *told(const weirp_file_policy *f) {
    if (f->fixed) return "fixed";
    if (f->strong || f->weak || f->threshold_line) return "threshold";
    if (f->max_cost_line || f->min_quality_line || f->max_latency_line) return "constrained";
    return "plugin";
}

/* Keys that the policy wouldn't look at are an error: whoever wrote them expects something of them. */
static weir_status fits(const weirp_maker *m, const weirp_file_policy *f, const char *name) {
    const struct {
        size_t line;
        const char *key, *policy;
    } keys[] = {
        {f->fixed_line, "fixed", "fixed"},
        {f->strong_line, "strong", "threshold"},
        {f->weak_line, "weak", "threshold"},
        {f->threshold_line, "threshold", "threshold"},
        {f->max_cost_line, "max_cost_usd", "constrained"},
        {f->min_quality_line, "min_quality", "constrained"},
        {f->max_latency_line, "max_latency_ms", "constrained"},
    };
    if (f->value_line && f->mu_line)
        return weirp_maker_wrong(m, f->mu_line, "\"value_usd\" and \"mu\" are the same knob: give one");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i].line && strcmp(keys[i].policy, name) != 0)
            return weirp_maker_wrong(m, keys[i].line, "key \"%s\" doesn't go with policy \"%s\"", keys[i].key, name);
    if (!strcmp(name, "fixed") && !f->fixed)
        return weirp_maker_wrong(m, f->name_line, "policy \"fixed\" needs the key \"fixed\": a model");
    return WEIR_OK;
}

weir_status weirp_maker_policy(weirp_maker *m, const weirp_file_policy *f, weir_policy_options *o) {
    weir_status st;
    *o = weir_policy_defaults();
    WEIRP_TRY(named(m, f, f->name ? f->name : told(f), &o->policy));
    WEIRP_TRY(fits(m, f, o->policy));
    /* as on the command line: who asks for enough and names no price wants the cheapest that is enough */
    bool enough = f->min_quality_line && !f->value_line;
    o->value_usd = f->mu_line ? weir_value_from_mu(f->mu) : enough ? 0 : f->value_usd;
    o->latency_usd_per_s = f->latency_usd_per_s;
    o->max_cost_usd = f->max_cost_usd;
    o->min_quality = f->min_quality;
    o->max_latency_ms = f->max_latency_ms;
    o->threshold = f->threshold;
    o->fallback = f->fallback;
    o->novelty_limit = f->novelty_limit;
    o->explore_floor = f->explore_floor;
    o->seed = (uint64_t)f->seed;
    if (f->strong) WEIRP_TRY(weirp_maker_model(m, f->strong_line, "strong", f->strong, &o->strong));
    if (f->weak) WEIRP_TRY(weirp_maker_model(m, f->weak_line, "weak", f->weak, &o->weak));
    if (f->fixed) WEIRP_TRY(weirp_maker_model(m, f->fixed_line, "fixed", f->fixed, &o->fixed));
    const char *wrong = weir_policy_check(o, m->config->pool->n_models);
    if (wrong) st = weirp_maker_wrong(m, f->line ? f->line : 1, "policy \"%s\": %s", o->policy, wrong);
done:
    return st;
}

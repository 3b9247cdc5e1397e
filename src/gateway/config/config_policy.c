/* config_policy.c: how requests are decided that say nothing else. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/gateway/config/config_file.h"
#include "src/ope/target.h"

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

/* ---- as it would be written ---- */

static void put(weirp_writer *w, const char *text) {
    weirp_put(w, text, strlen(text));
}

/* The shortest form that reads back as x: 0.05 is written as such. */
static void put_number(weirp_writer *w, double x) {
    char text[32] = "";
    for (int digits = 15; digits <= 17 && (!*text || strtod(text, NULL) != x); digits++)
        snprintf(text, sizeof text, "%.*g", digits, x);
    put(w, text);
}

weir_status weirp_maker_policy_text(const weirp_maker *m, const weirp_file_policy *f, const weir_policy_options *o,
                                    char out[WEIRP_GATE_POLICY]) {
    const bool implied = f->min_quality_line && !f->mu_line; /* a value that the file needn't give */
    const struct {
        size_t line;
        const char *key;
        double number;
        const char *text; /* NULL: it is a number */
    } keys[] = {
        {f->value_line || implied, "value", o->value_usd, NULL},
        {f->mu_line, "mu", f->mu, NULL},
        {f->price_line, "latency_usd_per_s", o->latency_usd_per_s, NULL},
        {f->max_cost_line, "max_cost", o->max_cost_usd, NULL},
        {f->min_quality_line, "min_quality", o->min_quality, NULL},
        {f->max_latency_line, "max_latency", o->max_latency_ms, NULL},
        {f->threshold_line, "threshold", o->threshold, NULL},
        {f->strong_line, "strong", 0, f->strong},
        {f->weak_line, "weak", 0, f->weak},
        {f->fixed_line, "model", 0, f->fixed},
        {f->explore_line, "explore", o->explore_floor, NULL},
        {f->novelty_line, "novelty_limit", o->novelty_limit, NULL},
        {f->fallback_line, "fallback", 0, o->fallback ? "on" : "off"},
    };
    weirp_writer w = {0};
    put(&w, o->policy);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!keys[i].line || !weirp_ope_target_has_key(o->policy, keys[i].key)) continue;
        put(&w, ",");
        put(&w, keys[i].key);
        put(&w, "=");
        if (keys[i].text)
            put(&w, keys[i].text);
        else
            put_number(&w, keys[i].number);
    }
    if (!w.failed) weirp_excerpt(out, WEIRP_GATE_POLICY, (const char *)w.data, w.size);
    const bool failed = w.failed;
    weirp_writer_free(&w);
    return failed ? weirp_nomem(m->err) : WEIR_OK;
}

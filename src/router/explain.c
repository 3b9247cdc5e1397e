/* explain.c: a decision as JSON. SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "weir/router.h"

/* JSON has no NaN and no infinity: both are null. */
static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *interval(double lo, double hi) {
    return json_pack("[o,o]", number(lo), number(hi));
}

static json_t *model_json(const weir_router *router, const weir_estimates *e, const weir_decision *d, size_t m) {
    json_t *o = json_object();
    int failed = !o;
    failed |= json_object_set_new(o, "name", json_string(weir_router_model(router, m)));
    failed |= json_object_set_new(o, "eligible", json_boolean(e->eligible[m]));
    failed |= json_object_set_new(o, "quality", number(e->quality[m]));
    failed |= json_object_set_new(o, "quality_sd", number(e->quality_sd[m]));
    failed |= json_object_set_new(o, "quality_interval", interval(e->quality_lo[m], e->quality_hi[m]));
    failed |= json_object_set_new(o, "cost", number(e->cost_usd[m]));
    failed |= json_object_set_new(o, "cost_interval", interval(e->cost_lo[m], e->cost_hi[m]));
    failed |= json_object_set_new(o, "output_tokens", number(e->output_tokens[m]));
    failed |= json_object_set_new(o, "latency_ms", number(e->latency_ms[m]));
    failed |= json_object_set_new(o, "risk", number(d->risk_usd[m]));
    failed |= json_object_set_new(o, "regret", number(d->regret_usd[m]));
    failed |= json_object_set_new(o, "propensity", number(d->propensity[m]));
    if (!failed) return o;
    json_decref(o);
    return NULL;
}

weir_status weir_explain_json(const weir_router *router, const weir_policy_options *options,
                              const weir_estimates *estimates, const weir_decision *decision, char **json,
                              weir_error *err) {
    json_t *o = json_object(), *models = json_array();
    int failed = !o || !models;
    for (size_t m = 0; m < estimates->n_models; m++)
        failed |= json_array_append_new(models, model_json(router, estimates, decision, m));
    failed |= json_object_set_new(o, "model", json_string(weir_router_model(router, decision->model)));
    failed |= json_object_set_new(o, "rule", json_string(weir_rule_name(decision->rule)));
    failed |= json_object_set_new(o, "reason", json_string(weir_reason_text(decision->reason)));
    failed |= json_object_set_new(o, "policy", json_string(options->policy ? options->policy : "plugin"));
    failed |= json_object_set_new(o, "value", number(options->value_usd));
    failed |= json_object_set_new(o, "propensity", number(decision->propensity[decision->model]));
    failed |= json_object_set_new(o, "novelty", number(estimates->novelty));
    failed |= json_object_set_new(o, "fitted", json_boolean(estimates->fitted));
    failed |= json_object_set_new(o, "coverage", number(estimates->coverage));
    failed |= json_object_set_new(o, "input_tokens", number(estimates->input_tokens));
    failed |= json_object_set(o, "models", models);
    json_decref(models);
    *json = failed ? NULL : json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}

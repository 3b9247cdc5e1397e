/* check.c: what `weir serve` would take from a configuration. SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "src/budget/amount.h"
#include "src/gateway/config/config.h"
#include "weir/gateway.h"

/* What isn't known or has no limit is null, as in every report. */
static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *text(const char *x) {
    return x ? json_string(x) : json_null();
}

static json_t *secret(const char *key) {
    return key ? json_string("set") : json_null();
}

static json_t *providers_json(const weirp_config *c) {
    static const char *const protocols[] = {"openai", "anthropic", "gemini"};
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_providers; i++) {
        const weirp_provider *p = &c->providers[i];
        json_t *headers = json_array();
        for (size_t k = 0; k < p->n_headers; k++)
            json_array_append_new(headers, json_stringn(p->headers[k], strcspn(p->headers[k], ":")));
        const weirp_timeouts *t = &p->timeouts;
        json_t *timeouts = json_pack("{s:i, s:i, s:i, s:i}", "connect_ms", (int)t->connect_ms, "first_token_ms",
                                     (int)t->first_token_ms, "idle_ms", (int)t->idle_ms, "total_ms", (int)t->total_ms);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "name", p->name, "protocol",
                                              protocols[p->protocol], "base_url", p->base_url, "key", secret(p->key),
                                              "headers", headers, "ca_file", text(p->ca_file), "timeouts", timeouts));
    }
    return list;
}

static json_t *deployments_json(const weirp_config *c, size_t model) {
    json_t *list = json_array();
    size_t n, first = weirp_config_deployments(c, model, &n);
    for (size_t i = first; i < first + n; i++) {
        const weirp_deployment *d = &c->deployments[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:f, s:b, s:b, s:b, s:o}", "name", d->name, "provider",
                            c->providers[d->provider].name, "model", d->vendor_model, "weight", d->weight,
                            "legacy_completions", d->legacy_completions, "no_stream_options", d->no_stream_options,
                            "max_completion_tokens", d->max_completion_tokens, "default_max_output_tokens",
                            d->default_max_output_tokens > 0 ? json_real(d->default_max_output_tokens) : json_null()));
    }
    return list;
}

static json_t *models_json(const weirp_config *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->pool->n_models; i++) {
        const weir_model *m = &c->pool->models[i];
        const weirp_abilities *a = &c->abilities[i];
        json_t *model =
            json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:b, s:b, s:b, s:b}, s:o}", "name",
                      m->name, "input_usd_per_mtok", number(m->input_usd_per_mtok), "output_usd_per_mtok",
                      number(m->output_usd_per_mtok), "cached_input_usd_per_mtok", number(m->cached_input_usd_per_mtok),
                      "cache_write_usd_per_mtok", number(m->cache_write_usd_per_mtok), "audio_input_usd_per_mtok",
                      number(m->audio_input_usd_per_mtok), "reasoning_usd_per_mtok", number(m->reasoning_usd_per_mtok),
                      "audio_output_usd_per_mtok", number(m->audio_output_usd_per_mtok), "request_usd",
                      number(m->request_usd), "max_input_tokens", number(m->max_input_tokens), "max_output_tokens",
                      number(m->max_output_tokens), "abilities", "tools", a->tools, "images", a->images, "audio",
                      a->audio, "json", a->json, "deployments", deployments_json(c, i));
        json_array_append_new(list, model);
    }
    return list;
}

static json_t *model_name(const weirp_config *c, size_t index) {
    return index < c->pool->n_models ? json_string(c->pool->models[index].name) : json_null();
}

static json_t *policy_json(const weirp_config *c, const weir_policy_options *o) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:I}", "name", o->policy,
                     "value_usd", number(o->value_usd), "latency_usd_per_s", number(o->latency_usd_per_s),
                     "max_cost_usd", number(o->max_cost_usd), "min_quality", number(o->min_quality), "max_latency_ms",
                     number(o->max_latency_ms), "threshold", number(o->threshold), "strong", model_name(c, o->strong),
                     "weak", model_name(c, o->weak), "fixed",
                     strcmp(o->policy, "fixed") ? json_null() : model_name(c, o->fixed), "fallback", o->fallback,
                     "novelty_limit", number(o->novelty_limit), "explore_floor", number(o->explore_floor), "seed",
                     (json_int_t)o->seed);
}

static json_t *limits_json(const weirp_config *c) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "header_bytes", (json_int_t)c->limits.header_bytes,
                     "body_bytes", (json_int_t)c->limits.body_bytes, "answer_bytes", (json_int_t)c->limits.answer_bytes,
                     "concurrent", (json_int_t)c->limits.concurrent, "connections", (json_int_t)c->limits.connections,
                     "request_ms", (int)c->limits.request_ms, "client_idle_s", (int)c->limits.client_idle_s);
}

static json_t *traffic_json(const weirp_config *c) {
    json_t *redact = json_array();
    for (size_t i = 0; i < c->traffic.n_redact; i++) json_array_append_new(redact, json_string(c->traffic.redact[i]));
    return json_pack("{s:b, s:b, s:o, s:i, s:i, s:I}", "on", c->traffic.on, "prompts", c->traffic.prompts, "redact",
                     redact, "commit_ms", (int)c->traffic.commit_ms, "refresh_ms", (int)c->traffic.refresh_ms,
                     "queue_bytes", (json_int_t)c->traffic.queue_bytes);
}

/* NULL: none are listed. */
static json_t *budgets_json(const weirp_config *c) {
    json_t *list = c->budgets.n ? json_array() : NULL;
    for (size_t i = 0; list && i < c->budgets.n; i++) {
        const weirp_budget *b = &c->budgets.list[i];
        char limit[WEIRP_AMOUNT_TEXT];
        json_t *match = json_object(), *warn = json_array();
        for (int d = 0; d < WEIRP_N_DIMS; d++)
            if (b->match[d][0])
                json_object_set_new(match, weirp_dimension_name((weirp_dimension)d), json_string(b->match[d]));
        for (size_t k = 0; k < WEIRP_MAX_WARNINGS && b->warn[k] > 0; k++)
            json_array_append_new(warn, json_real(b->warn[k]));
        weirp_amount_text(limit, b->unit, b->limit);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:s, s:o}", "name", b->name, "limit",
                                        limit, "unit", weirp_unit_name(b->unit), "per", weirp_period_name(b->period),
                                        "zone", b->zone, "match", match, "soft", !b->hard, "when_exhausted",
                                        weirp_exhausted_name(b->exhausted), "warn", warn));
    }
    return list;
}

/* NULL: nothing is paced. */
static json_t *pacing_json(const weirp_config *c) {
    if (!c->pacing.budget) return NULL;
    return json_pack("{s:s, s:f, s:s, s:o, s:f}", "budget", c->pacing.budget, "min_quality", c->pacing.min_quality,
                     "precedence", c->pacing.floor_first ? "floor" : "budget", "max_latency_ms",
                     number(c->pacing.max_latency_ms), "expected_requests", c->pacing.expected_requests);
}

/* NULL: nothing is tried. */
static json_t *rollout_json(const weirp_config *c) {
    const weirp_gate_plan *g = &c->rollout.gate;
    if (!c->rollout.on) return NULL;
    json_t *steps = json_array();
    for (size_t i = 0; i < g->n_steps; i++) json_array_append_new(steps, json_real(g->step[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:f, s:f, s:f, s:I, s:f}", "name", g->name, "mode",
                     g->shadow ? "shadow" : "share", "policy", policy_json(c, &c->rollout.policy), "steps", steps,
                     "margin_quality", g->margin, "margin_error", g->margin_error, "level", g->level, "min_feedback",
                     (json_int_t)g->min_feedback, "hold_hours", g->hold_ms / 3600e3);
}

static json_t *config_json(const weirp_config *c) {
    static const char *const formats[] = {"text", "json"}, *const levels[] = {"debug", "info", "warn", "error"};
    char version[24];
    snprintf(version, sizeof version, "%016llx", (unsigned long long)c->price_version);
    json_t *warnings = json_array();
    for (size_t i = 0; i < c->n_warnings; i++) json_array_append_new(warnings, json_string(c->warnings[i]));
    return json_pack(
        "{s:s, s:s, s:i, s:i, s:s, s:{s:I}, s:o, s:o, s:o, s:o, s:o, s:{s:i, s:i, s:i, s:b}, s:{s:i, s:i, s:i},"
        " s:{s:b, s:f, s:i}, s:{s:s, s:s, s:b}, s:o, s:o*, s:o*, s:o*, s:{s:i}, s:s, s:o}",
        "path", c->path, "listen", c->listen, "threads", (int)c->threads, "busy_poll_us", (int)c->busy_poll_us, "store",
        c->store, "auth", "keys", (json_int_t)c->n_client_keys, "policy", policy_json(c, &c->policy), "providers",
        providers_json(c), "models", models_json(c), "embeddings", text(c->embeddings), "limits", limits_json(c),
        "retry", "max", (int)c->retry.max, "base_ms", (int)c->retry.base_ms, "max_ms", (int)c->retry.max_ms,
        "other_models", c->retry.other_models, "breaker", "failures", (int)c->breaker.failures, "window_ms",
        (int)c->breaker.window_ms, "open_ms", (int)c->breaker.open_ms, "hedge", "on", c->hedge.on, "max_share",
        c->hedge.max_share, "least_ms", (int)c->hedge.least_ms, "log", "format", formats[c->log.format], "level",
        levels[c->log.level], "requests", c->log.requests, "traffic", traffic_json(c), "budgets", budgets_json(c),
        "pacing", pacing_json(c), "rollout", rollout_json(c), "shutdown", "drain_ms", (int)c->shutdown.drain_ms,
        "price_version", version, "warnings", warnings);
}

weir_status weir_gateway_check(const char *config_path, char **json, weir_error *err) {
    weirp_config *c;
    if (json) *json = NULL;
    weir_status st = weirp_config_load(&c, config_path, err);
    if (st || !json) {
        weirp_config_free(c);
        return st;
    }
    json_t *report = config_json(c);
    *json = report ? json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(report);
    weirp_config_free(c);
    return *json ? WEIR_OK : weirp_nomem(err);
}

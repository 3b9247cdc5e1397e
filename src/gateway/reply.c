/* reply.c: what the client gets: heads, errors, whole answers. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/gateway/exchange.h"

enum { LONG_MS = 60000 }; /* nobody sits and waits so long */

/* Fields of one answer, with room for the numbers among them. */
typedef struct head {
    size_t n;
    weirp_field field[WEIRP_MAX_FIELDS];
    char text[512];
    size_t used;
    char quota[WEIRP_QUOTA_FIELDS][WEIRP_QUOTA_TEXT];
} head;

static void add(head *h, const char *name, const char *value) {
    if (value && *value && h->n < WEIRP_MAX_FIELDS) h->field[h->n++] = (weirp_field){name, value};
}

static void add_number(head *h, const char *name, const char *format, double value) {
    if (!isfinite(value)) return;
    char *at = h->text + h->used;
    int n = snprintf(at, sizeof h->text - h->used, format, value);
    if (n <= 0 || (size_t)n >= sizeof h->text - h->used) return;
    h->used += (size_t)n + 1;
    add(h, name, at);
}

static void add_ids(head *h, const weirp_exchange *x) {
    const char *decision = x->plan.n ? x->plan.id : NULL;
    const char *id = x->request_id[0] ? x->request_id : decision;
    add(h, "x-request-id", id);
    if (x->api == WEIRP_API_MESSAGES) add(h, "request-id", id); /* where Anthropic's clients look for it */
    add(h, "x-weir-decision-id", decision);
    if (h->n + WEIRP_QUOTA_FIELDS <= WEIRP_MAX_FIELDS) h->n += weirp_admit_fields(x, h->field + h->n, h->quota);
}

static void add_answer(head *h, const weirp_exchange *x, const weirp_try *t) {
    const weirp_config *c = x->setup->config;
    const weirp_choice *choice = &x->plan.choice[t->choice];
    add_ids(h, x);
    add(h, "x-weir-model", c->pool->models[choice->model].name);
    add(h, "x-weir-deployment", c->deployments[t->deployment].name);
    if (x->plan.rule != WEIR_RULE_FIXED) add(h, "x-weir-rule", weir_rule_name(x->plan.rule));
    add_number(h, "x-weir-predicted-cost-usd", "%.9g", choice->cost_usd);
    if (x->plan.paced) add_number(h, "x-weir-value", "%.6g", x->plan.value);
    if (x->n_tries > 1) add_number(h, "x-weir-attempts", "%.0f", (double)x->n_tries);
    if (t->choice > 0) add(h, "x-weir-fallback-from", c->pool->models[x->plan.choice[0].model].name);
    weirp_budget_action action = weirp_spend_action(x);
    if (action == WEIRP_BUDGET_NONE) return;
    add(h, "x-weir-budget", x->spend.shortage.budget);
    add(h, "x-weir-budget-action", weirp_budget_action_name(action));
    if (action == WEIRP_BUDGET_LOWERED) add_number(h, "x-weir-max-tokens", "%.0f", x->spend.lowered_to);
}

void weirp_reply_begin(weirp_exchange *x, weirp_try *t) {
    head h = {0};
    add(&h, "content-type", "text/event-stream; charset=utf-8");
    add(&h, "cache-control", "no-cache");
    add(&h, "x-accel-buffering", "no");
    add_answer(&h, x, t);
    x->served.status = 200;
    x->streaming = true;
    x->worker->n_streams++;
    weirp_metrics_active(x->worker->metrics, 0, 1);
    if (x->call && !x->gone) weirp_call_begin(x->call, 200, h.field, h.n);
}

void weirp_reply_whole(weirp_exchange *x, weirp_try *t, const char *body, size_t len) {
    head h = {0};
    add(&h, "content-type", "application/json");
    add_answer(&h, x, t);
    add_number(&h, "x-weir-cost-usd", "%.15g", x->served.cost_usd);
    if (x->served.usage_estimated) add(&h, "x-weir-usage-estimated", "true");
    x->served.status = 200;
    x->answered = true;
    if (x->call && !x->gone) weirp_call_answer(x->call, 200, h.field, h.n, body, len);
}

void weirp_reply_note(void *one_try, const weirp_answer_facts *facts, weirp_writer *out) {
    const weirp_try *t = one_try;
    weirp_exchange *x = t->exchange;
    (void)facts;
    weirp_usage usage;
    double cost = weirp_account_usd(weirp_account_cost(x, t, &usage));
    const weirp_choice *choice = &x->plan.choice[t->choice];
    char text[512];
    int n = snprintf(text, sizeof text, "weir decision=%s model=%s", x->plan.id,
                     x->setup->config->pool->models[choice->model].name);
    if (isfinite(choice->cost_usd) && n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " predicted_cost_usd=%.9g", choice->cost_usd);
    if (isfinite(cost) && n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " cost_usd=%.15g%s", x->served.cost_usd + cost,
                      usage.estimated || x->served.usage_estimated ? " usage_estimated=true" : "");
    if (n > 0) weirp_put(out, text, strlen(text));
}

void weirp_reply_error(weirp_exchange *x, int status, const char *type, const char *code, const char *param,
                       const char *text, int64_t retry_after_ms) {
    head h = {0};
    weirp_writer out = {0};
    add(&h, "content-type", "application/json");
    add_ids(&h, x);
    if (retry_after_ms > 0) {
        add_number(&h, "retry-after", "%.0f", ceil((double)retry_after_ms / 1000));
        add_number(&h, "retry-after-ms", "%.0f", (double)retry_after_ms);
        if (retry_after_ms > LONG_MS) add(&h, "x-should-retry", "false"); /* OpenAI's and Anthropic's clients heed it */
    }
    weirp_error_write(x->api, status, type, code, param, text, &out);
    if (!x->fault.text[0]) snprintf(x->fault.text, sizeof x->fault.text, "%s", text);
    x->served.status = status;
    x->answered = true;
    if (x->call && !x->gone)
        weirp_call_answer(x->call, status, h.field, h.n, out.failed ? "" : (const char *)out.data,
                          out.failed ? 0 : out.size);
    weirp_writer_free(&out);
    weirp_account_complete(x, status);
}

/* X(result, status, code, text): what a client is told when nothing worked. Vendors' own words go along only where they
 * are about the request: what is wrong between gateway and vendor is for the log. */
static const struct {
    weirp_result result;
    int status;
    const char *code, *text;
    bool vendor_text;
} told[] = {
    {WEIRP_RESULT_INVALID, 400, NULL, "The model's vendor refused the request.", true},
    {WEIRP_RESULT_UNSUPPORTED, 400, NULL, "The model doesn't support what the request asks.", true},
    {WEIRP_RESULT_FILTERED, 400, "content_filter", "The model's vendor refused the request for its content.", true},
    {WEIRP_RESULT_TOO_LONG, 400, "context_length_exceeded", "The prompt is longer than the model takes.", true},
    {WEIRP_RESULT_RATE_LIMIT, 429, "rate_limit_exceeded", "Every model that could answer is rate limited.", false},
    {WEIRP_RESULT_QUOTA, 502, "upstream_quota", "The gateway's account with the vendor is out of credit.", false},
    {WEIRP_RESULT_AUTH, 502, "upstream_auth", "The vendor doesn't accept the gateway's key.", false},
    {WEIRP_RESULT_NOT_FOUND, 502, "upstream_not_found", "The vendor doesn't know the model.", false},
    {WEIRP_RESULT_OVERLOADED, 503, "upstream_overloaded", "The vendor is overloaded.", false},
    {WEIRP_RESULT_BREAKER, 503, "no_model_available", "Every model that could answer this is failing at the moment.",
     false},
    {WEIRP_RESULT_FIRST_TIMEOUT, 504, "upstream_timeout", "The vendor was silent for too long.", false},
    {WEIRP_RESULT_IDLE_TIMEOUT, 504, "upstream_timeout", "The vendor was silent for too long.", false},
    {WEIRP_RESULT_TOTAL_TIMEOUT, 504, "upstream_timeout", "The answer took too long.", false},
    {WEIRP_RESULT_TOO_LARGE, 502, "upstream_too_large", "The vendor's answer is too large.", false},
    {WEIRP_RESULT_MALFORMED, 502, "upstream_malformed", "The vendor's answer isn't what its API promises.", false},
    {WEIRP_RESULT_CONNECT, 502, "upstream_unreachable", "The vendor can't be reached.", false},
    {WEIRP_RESULT_TLS, 502, "upstream_unreachable", "The vendor can't be reached safely.", false},
    {WEIRP_RESULT_CUT, 502, "upstream_cut", "The vendor's answer broke off.", false},
};

void weirp_reply_result(weirp_exchange *x) {
    if (x->result == WEIRP_RESULT_BUDGET) {
        weirp_spend_refuse(x);
        return;
    }
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (told[i].result != x->result) continue;
        bool own = told[i].vendor_text && x->fault.text[0];
        const char *code = told[i].code ? told[i].code : x->fault.code[0] ? x->fault.code : NULL;
        bool anthropic_overloaded = x->result == WEIRP_RESULT_OVERLOADED && x->api == WEIRP_API_MESSAGES;
        int status = anthropic_overloaded ? 529 : told[i].status; /* Anthropic's own for that */
        weirp_reply_error(x, status, NULL, code, NULL, own ? x->fault.text : told[i].text, x->retry_after_ms);
        return;
    }
    weirp_reply_error(x, 502, NULL, "upstream_error", NULL, "The vendor failed to answer.", x->retry_after_ms);
}

/* Anthropic's clients tell errors in a stream apart by the types of its reference. */
static const char *broken_type(const weirp_exchange *x) {
    if (x->api != WEIRP_API_MESSAGES) return "upstream_error";
    switch (x->result) {
    case WEIRP_RESULT_OVERLOADED: return "overloaded_error";
    case WEIRP_RESULT_RATE_LIMIT: return "rate_limit_error";
    case WEIRP_RESULT_IDLE_TIMEOUT:
    case WEIRP_RESULT_TOTAL_TIMEOUT: return "timeout_error";
    default: return "api_error";
    }
}

void weirp_reply_broken(weirp_exchange *x, const weirp_try *t) {
    const char *text = "The vendor's answer broke off.";
    weirp_writer out = {0};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (told[i].result == x->result) text = told[i].vendor_text && x->fault.text[0] ? x->fault.text : told[i].text;
    weirp_answer_error(t->answer, text, broken_type(x), &out);
    if (!out.failed) weirp_call_write(x->call, (const char *)out.data, out.size);
    weirp_writer_free(&out);
    x->answered = true;
    weirp_call_finish(x->call);
}

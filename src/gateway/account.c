/* account.c: what a request cost, and the records of it: metrics, log line, traffic log.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/gateway/exchange.h"
#include "src/gateway/money/pacing.h"

static double ms_since(uint64_t from_ns) {
    return (double)(weirp_monotonic_ns() - from_ns) * 1e-6;
}

/* ---- usage and cost ---- */

/* Whether a vendor that was left like this has counted tokens, as far as anyone can know from here. */
static bool is_billed(weirp_result r, const weirp_try *t) {
    switch (r) {
    case WEIRP_RESULT_OK:
    case WEIRP_RESULT_CUT:
    case WEIRP_RESULT_FIRST_TIMEOUT:
    case WEIRP_RESULT_IDLE_TIMEOUT:
    case WEIRP_RESULT_TOTAL_TIMEOUT:
    case WEIRP_RESULT_MALFORMED:
    case WEIRP_RESULT_TOO_LARGE:
    case WEIRP_RESULT_HEDGED:
    case WEIRP_RESULT_GONE:
    case WEIRP_RESULT_SHUTDOWN:
    case WEIRP_RESULT_OTHER: return true;                          /* memory is out: the answer may have been there */
    default: return weirp_answer_facts_of(t->answer)->has_content; /* an error in the middle of a stream */
    }
}

/* The vendor's count where it is final; otherwise what went in, as predicted, and what came out, as counted here. */
int64_t weirp_account_cost(weirp_exchange *x, const weirp_try *t, weirp_usage *usage) {
    const weirp_answer_facts *f = weirp_answer_facts_of(t->answer);
    *usage = f->usage;
    bool final = f->usage.known && (f->done || !t->streaming);
    if (!final) {
        int64_t seen = (int64_t)ceil(f->approximate_tokens), in = (int64_t)ceil(x->plan.input_tokens);
        if (!f->usage.known) *usage = (weirp_usage){.input_tokens = in > 0 ? in : 0};
        if (usage->output_tokens < seen) usage->output_tokens = seen;
        usage->estimated = true;
    }
    size_t model = x->setup->config->deployments[t->deployment].model;
    return weirp_bill(&x->setup->rates[model], usage);
}

double weirp_account_usd(int64_t nano) {
    return nano == WEIRP_UNKNOWN_COST ? NAN : (double)nano / (double)WEIRP_NANO_PER_USD;
}

void weirp_account_try(weirp_exchange *x, weirp_try *t, weirp_result result) {
    const weirp_deployment *d = &x->setup->config->deployments[t->deployment];
    weirp_usage usage = {0};
    bool billed = is_billed(result, t);
    int64_t nano = billed ? weirp_account_cost(x, t, &usage) : 0;
    double cost = weirp_account_usd(nano);
    weirp_spend_settle(x, t, result, billed, nano, &usage);
    double ms = ms_since(t->started_ns);
    weirp_worker *w = x->worker;
    weirp_metrics_attempt(w->metrics, weirp_worker_deployment(w, x->setup, t->deployment), result, ms * 1e-3);
    x->served.cost_usd += cost;
    x->billed_tokens += usage.input_tokens + usage.output_tokens;
    x->served.usage_estimated |= usage.estimated;
    if (result != WEIRP_RESULT_OK && x->winner != t && cost > 0)
        weirp_metrics_cost(w->metrics, weirp_worker_model(w, x->setup, d->model), cost, 0, true);
    if (x->served.n_attempts == WEIRP_MAX_ATTEMPTS) return;
    x->tried[x->served.n_attempts] = t->deployment;
    weirp_attempt *a = &x->served.attempt[x->served.n_attempts++];
    *a = (weirp_attempt){.model = (uint32_t)x->plan.choice[t->choice].router_model,
                         .status = t->status,
                         .started_ms = (float)((double)(t->started_ns - x->arrived_ns) * 1e-6),
                         .ms = (float)ms,
                         .cost_usd = cost};
    weirp_copy_text(a->deployment, sizeof a->deployment, d->name);
    weirp_copy_text(a->result, sizeof a->result, weirp_result_label(result));
}

void weirp_account_served(weirp_exchange *x, weirp_try *t) {
    weirp_served *s = &x->served;
    const weirp_choice *choice = &x->plan.choice[t->choice];
    double cost = weirp_account_usd(weirp_account_cost(x, t, &s->usage));
    s->model = choice->router_model;
    s->predicted_cost_usd = choice->cost_usd;
    s->usage_estimated |= s->usage.estimated;
    s->first_token_ms = t->first_ns ? (double)(t->first_ns - x->arrived_ns) * 1e-6 : NAN;
    x->vendor_ms = ms_since(t->started_ns);
    const weirp_usage *u = &s->usage;
    double tokens[5] = {(double)u->input_tokens, (double)u->cached_input_tokens, (double)u->cache_write_tokens,
                        (double)u->output_tokens, (double)u->reasoning_tokens};
    weirp_metrics *m = x->worker->metrics;
    size_t row = weirp_worker_model(x->worker, x->setup, choice->model);
    weirp_metrics_tokens(m, row, tokens);
    weirp_metrics_cost(m, row, cost, choice->cost_usd, u->estimated);
    if (x->request.stream && t->first_ns)
        weirp_metrics_first_token(m, row, (double)(t->first_ns - x->arrived_ns) * 1e-9);
}

/* ---- the record ---- */

/* `text` with what the expression matches taken out; new, NULL: out of memory. */
static char *without(const regex_t *regex, const char *text) {
    static const char mark[] = "[redacted]";
    weirp_writer out = {0};
    regmatch_t hit;
    const char *at = text;
    while (*at && regexec(regex, at, 1, &hit, at == text ? 0 : REG_NOTBOL) == 0) {
        bool empty = hit.rm_eo == hit.rm_so;
        weirp_put(&out, at, (size_t)hit.rm_so);
        if (!empty) weirp_put(&out, mark, sizeof mark - 1);
        at += hit.rm_eo;
        if (empty && *at) weirp_put(&out, at++, 1);
    }
    weirp_put(&out, at, strlen(at) + 1);
    if (out.failed) weirp_writer_free(&out);
    return (char *)out.data;
}

/* The prompt as it may be stored; what can't be redacted isn't. */
static void redact(const weirp_exchange *x, const char *text, size_t len, weirp_writer *out) {
    char *plain = weirp_strndup(text, len);
    for (size_t i = 0; plain && i < x->setup->n_redact; i++) {
        char *next = without(&x->setup->redact[i], plain);
        free(plain);
        plain = next;
    }
    if (plain) weirp_put(out, plain, strlen(plain));
    free(plain);
}

static void record(weirp_exchange *x) {
    const weirp_config *c = x->setup->config;
    if (!c->traffic.on || !x->record.size || x->record.failed) return;
    weirp_served *s = &x->served;
    weirp_writer text = {0}, prompt = {0};
    const char *at;
    size_t len;
    if (c->traffic.prompts && weirp_request_prompt(&x->request, &text, &at, &len) == WEIR_OK) {
        redact(x, at, len, &prompt);
        s->prompt = prompt.failed || !prompt.size ? NULL : (const char *)prompt.data;
        s->prompt_len = prompt.size;
    }
    s->request_id = x->request_id;
    s->price_version = c->price_version;
    s->features_version = weir_router_version(weirp_planner_router_of(x->worker->planner));
    s->pinned = x->plan.pinned;
    s->streamed = x->request.stream;
    s->client_gone = x->gone;
    s->budget_action = weirp_spend_action(x);
    if (s->budget_action) s->budget = x->spend.shortage.budget;
    weirp_record_served(&x->record, s);
    weirp_journal_record(x->worker->gateway->journal, &x->record);
    weirp_writer_free(&text);
    weirp_writer_free(&prompt);
    s->prompt = NULL;
}

static void log_line(weirp_exchange *x, int status) {
    const weirp_config *c = x->setup->config;
    const weirp_served *s = &x->served;
    if (!c->log.requests) return;
    weir_router *router = weirp_planner_router_of(x->worker->planner);
    const char *model = s->model != (size_t)-1 ? weir_router_model(router, s->model) : NULL;
    const weirp_ending ending = weirp_served_ending(s);
    const bool broke_off = ending == WEIRP_ENDING_ERROR && status < 400;
    const bool went_wrong = ending != WEIRP_ENDING_ANSWERED && !s->client_gone && status != 499;
    weirp_budget_action action = weirp_spend_action(x);
    const char *error = went_wrong && x->fault.text[0] ? x->fault.text : NULL;
    WEIRP_LOG(x->worker->gateway->log, status >= 500 || broke_off ? WEIRP_LOG_WARN : WEIRP_LOG_INFO, "request",
              WEIRP_S("request_id", x->request_id[0] ? x->request_id : x->plan.id), WEIRP_S("decision", x->plan.id),
              WEIRP_S("endpoint", s->api), WEIRP_I("status", status), WEIRP_S("model", model),
              WEIRP_S("rule", x->plan.n ? weir_rule_name(x->plan.rule) : NULL), WEIRP_S("key", s->key),
              WEIRP_S("team", s->team), WEIRP_B("stream", x->request.stream), WEIRP_I("attempts", s->n_attempts),
              WEIRP_F("latency_ms", s->latency_ms),
              WEIRP_F("first_token_ms", x->request.stream ? s->first_token_ms : NAN),
              WEIRP_I("input_tokens", s->usage.input_tokens), WEIRP_I("output_tokens", s->usage.output_tokens),
              WEIRP_F("cost_usd", s->cost_usd), WEIRP_F("predicted_cost_usd", s->predicted_cost_usd),
              WEIRP_B("usage_estimated", s->usage_estimated),
              WEIRP_S("result", s->n_attempts ? s->attempt[s->n_attempts - 1].result : NULL),
              WEIRP_S("budget_action", action ? weirp_budget_action_name(action) : NULL),
              WEIRP_S("budget", action ? x->spend.shortage.budget : NULL),
              WEIRP_S("traceparent", x->traceparent[0] ? x->traceparent : NULL), WEIRP_S("error", error));
}

/* What pacing has counted has come to something, or to nothing. */
static void settle_pace(const weirp_exchange *x) {
    const weirp_served *s = &x->served;
    double quality = 0, expected = 0;
    if (!x->plan.observed) return;
    for (size_t i = 0; i < x->plan.n && s->model != (size_t)-1; i++) {
        if (x->plan.choice[i].router_model != s->model) continue;
        quality = x->plan.choice[i].quality;
        expected = s->predicted_cost_usd;
    }
    weirp_pacing_settle(x->worker->gateway->pacing, quality, expected, s->cost_usd);
}

void weirp_account_record(weirp_exchange *x, int status) {
    weirp_served *s = &x->served;
    if (x->answered_ns) return;
    x->answered_ns = weirp_monotonic_ns();
    double ms = (double)(x->answered_ns - x->arrived_ns) * 1e-6;
    weirp_admit_leave(x, x->billed_tokens);
    settle_pace(x);
    s->status = status;
    if (s->model != (size_t)-1) s->latency_ms = ms;
    weirp_metrics_request(x->worker->metrics, x->endpoint, status, ms * 1e-3);
    if (s->model != (size_t)-1 && s->n_attempts == 1 && !x->gone)
        weirp_metrics_overhead(x->worker->metrics, (ms - x->vendor_ms) * 1e-3);
    record(x);
}

void weirp_account_complete(weirp_exchange *x, int status) {
    if (x->completed) return;
    x->completed = true;
    weirp_spend_note(x);
    weirp_account_record(x, status);
    log_line(x, x->served.status);
}

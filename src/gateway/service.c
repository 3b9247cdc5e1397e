/* service.c: endpoints that no vendor is asked for. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/admit.h"
#include "src/gateway/service.h"
#include "src/gateway/money/pacing.h"
#include "src/gateway/journal/rollout.h"
#include "src/gateway/money/treasury.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/parts.h"

enum { MAX_NAME = 257 }; /* of a model, with its NUL */

static const weirp_field as_json = {"content-type", "application/json"};
static const weirp_field as_text = {"content-type", "text/plain; charset=utf-8"};

static void answer(weirp_call *call, int status, const weirp_field *type, const char *body, size_t len) {
    weirp_call_answer(call, status, type, 1, body, len);
}

void weirp_service_error(weirp_call *call, weirp_endpoint endpoint, int status, const char *code, const char *param,
                         const char *text) {
    weirp_writer out = {0};
    weirp_error_write(weirp_endpoint_api(endpoint), status, NULL, code, param, text, &out);
    answer(call, status, &as_json, out.failed ? "" : (const char *)out.data, out.failed ? 0 : out.size);
    weirp_writer_free(&out);
}

/* Steals `json`. */
static void answer_json(weirp_call *call, int status, json_t *json) {
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(json);
    if (text)
        answer(call, status, &as_json, text, strlen(text));
    else
        weirp_call_answer(call, 500, NULL, 0, "", 0);
    free(text);
}

/* ---- models ---- */

static json_t *model_json(const char *name, bool anthropic) {
    return anthropic ? json_pack("{s:s,s:s,s:s,s:s}", "type", "model", "id", name, "display_name", name, "created_at",
                                 "1970-01-01T00:00:00Z")
                     : json_pack("{s:s,s:s,s:i,s:s}", "id", name, "object", "model", "created", 0, "owned_by", "weir");
}

static int hex_digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Clients write "lab/model" as "lab%2Fmodel". What isn't an escape stays; what doesn't fit is no model's name. */
static void decode_name(char *out, size_t size, const char *text) {
    size_t n = 0;
    while (*text && n + 1 < size) {
        int high = *text == '%' ? hex_digit(text[1]) : -1, low = high < 0 ? -1 : hex_digit(text[2]);
        out[n++] = low < 0 ? *text : (char)(high << 4 | low);
        text += low < 0 ? 1 : 3;
    }
    out[*text ? 0 : n] = '\0';
}

static bool has(const weirp_key *key, const char *model) {
    return !key || weirp_key_allows(key, model);
}

static void one_model(weirp_worker *w, weirp_call *call, const weirp_key *key, const char *wanted, bool anthropic) {
    char name[MAX_NAME];
    decode_name(name, sizeof name, wanted);
    bool known = weir_pool_find(w->setup->config->pool, name) != (size_t)-1 && has(key, name);
    if (known || !strcmp(name, "weir"))
        answer_json(call, 200, model_json(name, anthropic));
    else
        weirp_service_error(call, anthropic ? WEIRP_ENDPOINT_MESSAGES : WEIRP_ENDPOINT_MODELS, 404, "model_not_found",
                            "model", "The model isn't in the pool.");
}

static void all_models(weirp_worker *w, weirp_call *call, const weirp_key *key, bool anthropic) {
    const weir_pool *pool = w->setup->config->pool;
    const char *last = "weir";
    json_t *data = json_array();
    json_array_append_new(data, model_json("weir", anthropic));
    for (size_t m = 0; m < pool->n_models; m++) {
        if (!has(key, pool->models[m].name)) continue;
        last = pool->models[m].name;
        json_array_append_new(data, model_json(last, anthropic));
    }
    answer_json(call, 200,
                anthropic
                    ? json_pack("{s:o,s:b,s:s,s:s}", "data", data, "has_more", 0, "first_id", "weir", "last_id", last)
                    : json_pack("{s:s,s:o}", "object", "list", "data", data));
}

/* "weir" first, then what of the pool the key may use, in the shape of whichever API asks. */
static void models(weirp_worker *w, weirp_call *call) {
    bool anthropic = weirp_call_header(call, "anthropic-version") != NULL;
    const char *wanted = weirp_call_path(call) + strlen("/v1/models");
    weirp_keys *keys;
    const weirp_key *key = weirp_admit_key(w, call, &keys);
    if (*wanted == '/')
        one_model(w, call, key, wanted + 1, anthropic);
    else
        all_models(w, call, key, anthropic);
    weirp_keys_drop(keys);
}

/* ---- feedback ---- */

/* Waits for the journal; whoever comes last, the journal or the end of the call, frees it. Only the worker's thread
 * touches it but for `status` and `what`, which the journal fills before it posts. */
typedef struct weirp_ticket ticket;
struct weirp_ticket {
    weirp_worker *worker;
    ticket *next, **link; /* among the worker's */
    weirp_call *call;     /* NULL: ended */
    weir_status status;
    char what[160];
};

static void ticket_free(ticket *t) {
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    free(t);
}

void weirp_service_clear(weirp_worker *w) {
    while (w->tickets) ticket_free(w->tickets);
}

static void feedback_told(void *user) {
    ticket *t = user;
    if (t->call) {
        weirp_call *call = t->call;
        weirp_call_set_user(call, NULL);
        if (t->status == WEIR_OK)
            answer_json(call, 200, json_pack("{s:s}", "status", "recorded"));
        else if (t->status == WEIR_NOTFOUND)
            weirp_service_error(call, WEIRP_ENDPOINT_FEEDBACK, 404, "decision_not_found", "id",
                                "No decision with that id is in the traffic log.");
        else if (t->status == WEIR_INVALID)
            weirp_service_error(call, WEIRP_ENDPOINT_FEEDBACK, 409, "feedback_refused", "id", t->what);
        else
            weirp_service_error(call, WEIRP_ENDPOINT_FEEDBACK, 500, "internal_error", NULL,
                                "The feedback couldn't be stored; the gateway's log says why.");
    }
    ticket_free(t);
}

static void feedback_done(void *user, weir_status status, const char *what) {
    ticket *t = user;
    t->status = status;
    snprintf(t->what, sizeof t->what, "%s", what ? what : "");
    if (!weirp_loop_post(t->worker->loop, feedback_told, t)) {
        /* out of memory: the client's own timeout ends the call */
    }
}

/* Quality from "quality", or from "thumbs": "up" or "down" (also "thumb", and true or false); NAN: neither. */
static double quality_of(const json_t *json) {
    const json_t *q = json_object_get(json, "quality"), *thumbs = json_object_get(json, "thumbs");
    if (!thumbs) thumbs = json_object_get(json, "thumb");
    if (json_is_number(q)) return json_number_value(q);
    if (q || !thumbs) return NAN;
    if (json_is_boolean(thumbs)) return json_is_true(thumbs);
    const char *word = json_string_value(thumbs);
    if (word && !strcmp(word, "up")) return 1;
    return word && !strcmp(word, "down") ? 0 : NAN;
}

static void feedback(weirp_worker *w, weirp_call *call) {
    size_t len;
    const char *body = weirp_call_body(call, &len);
    char what[128] = "";
    json_t *json = weirp_json_parse(body, len, what, sizeof what);
    const char *id = json_string_value(json_object_get(json, "id")), *param = NULL, *text = NULL;
    if (!id) id = json_string_value(json_object_get(json, "decision_id"));
    const char *source = json_string_value(json_object_get(json, "source"));
    const char *model = json_string_value(json_object_get(json, "model"));
    double quality = quality_of(json);
    if (!json_is_object(json)) {
        text = what[0] ? what : "The body must be a JSON object.";
    } else if (!id || !weirp_id_number(id)) {
        text = "id must be the decision's id, as the answer's x-weir-decision-id said.";
        param = "id";
    } else if (!(quality >= 0 && quality <= 1)) {
        text = "quality must be a number from 0 to 1, or thumbs \"up\" or \"down\".";
        param = "quality";
    } else if (source && strlen(source) > 63) {
        text = "source may have 63 bytes.";
        param = "source";
    } else if (model && weir_router_find_model(weirp_planner_router_of(w->planner), model) == (size_t)-1) {
        text = "model must be one of the pool's; without it, the one that answered is meant.";
        param = "model";
    }
    ticket *t = text ? NULL : weirp_array(1, sizeof *t);
    if (text) {
        weirp_service_error(call, WEIRP_ENDPOINT_FEEDBACK, 400, "invalid_feedback", param, text);
    } else if (t) {
        *t = (ticket){.worker = w, .call = call, .next = w->tickets, .link = &w->tickets};
        if (w->tickets) w->tickets->link = &t->next;
        w->tickets = t;
        weirp_feedback f = {id, quality, source ? source : "user", model};
        weirp_call_set_user(call, t);
        if (weirp_journal_feedback(w->gateway->journal, &f, feedback_done, t) != WEIR_OK) {
            weirp_call_set_user(call, NULL);
            ticket_free(t);
            weirp_service_error(call, WEIRP_ENDPOINT_FEEDBACK, 503, "too_much_feedback", NULL,
                                "Too much feedback is waiting to be stored; try again in a moment.");
        }
    } else {
        weirp_call_answer(call, 500, NULL, 0, "", 0);
    }
    json_decref(json);
}

void weirp_service_end(weirp_worker *w, weirp_call *call) {
    (void)w;
    ticket *t = weirp_call_user(call);
    if (t) t->call = NULL;
}

/* ---- route ---- */

static const char *header_of(void *user, const char *name) {
    return weirp_call_header(user, name);
}

/* The body with a model where it names none. False: out of memory. */
static bool with_model(const char *body, size_t len, const json_t *json, weirp_writer *out) {
    if (json_object_get(json, "model")) {
        weirp_put(out, body, len);
        weirp_put(out, "", 1);
        out->size--;
        return !out->failed;
    }
    weirp_edit edit = {"model", "\"weir\""};
    return weirp_json_edit(body, len, &edit, 1, out) == WEIR_OK && !out->failed;
}

static void explain(weirp_worker *w, weirp_call *call, weirp_knobs *knobs, const weirp_plan *plan) {
    char *json = NULL;
    weir_error err = {0};
    if (weirp_plan_explain(w->planner, knobs, &json, &err) == WEIR_OK) {
        weirp_field fields[] = {as_json, {"x-weir-decision-id", plan->id}};
        weirp_call_answer(call, 200, fields, 2, json, strlen(json));
    } else {
        weirp_service_error(call, WEIRP_ENDPOINT_ROUTE, 500, "internal_error", NULL, err.text);
    }
    free(json);
}

/* Borrowed from all three. */
static weirp_subject subject_of(const weirp_call *call, const weirp_key *key, const weirp_request *request) {
    weirp_subject s = {{NULL}};
    const char *user = weirp_call_header(call, "x-weir-user");
    s.value[WEIRP_DIM_USER] = user && *user ? user : request->end_user;
    s.value[WEIRP_DIM_TAG] = weirp_call_header(call, "x-weir-tag");
    if (!key) return s;
    s.value[WEIRP_DIM_KEY] = key->name;
    s.value[WEIRP_DIM_TEAM] = key->team;
    return s;
}

static void decide(weirp_worker *w, weirp_call *call, weirp_request *request) {
    weirp_knobs knobs;
    weirp_plan plan = {.n = 0};
    weirp_fault fault = {{0}, {0}, {0}};
    weir_error err = {0};
    uint64_t wait_ms = 0;
    weirp_keys *keys;
    weir_status st = weirp_knobs_read(&knobs, w->setup, request->model, header_of, call, &fault);
    knobs.key = weirp_admit_key(w, call, &keys);
    knobs.pacing = w->gateway->pacing;
    knobs.dry = true;
    weirp_subject who = subject_of(call, knobs.key, request);
    knobs.subject = &who;
    if (st == WEIR_OK)
        st = weirp_plan_make(w->planner, request, &knobs, weirp_monotonic_ns() / 1000000u, &plan, NULL, &wait_ms,
                             &fault, &err);
    if (plan.paced) knobs.policy.value_usd = plan.value;
    if (st == WEIR_OK)
        explain(w, call, &knobs, &plan);
    else if (fault.text[0])
        weirp_service_error(call, WEIRP_ENDPOINT_ROUTE, weirp_plan_http_status(st, wait_ms, &fault), fault.code,
                            fault.param, fault.text);
    else
        weirp_service_error(call, WEIRP_ENDPOINT_ROUTE, 500, "internal_error", NULL, err.text);
    weirp_keys_drop(keys);
}

/* A chat request, or {"prompt": TEXT}; "model" may be left out. */
static void route(weirp_worker *w, weirp_call *call) {
    size_t len;
    const char *body = weirp_call_body(call, &len);
    weirp_fault fault = {{0}, {0}, {0}};
    weirp_writer text = {0};
    weirp_request request;
    json_t *json = weirp_json_parse(body, len, fault.text, sizeof fault.text);
    weir_status st = json_is_object(json) ? WEIR_OK : WEIR_PARSE;
    weirp_api api = json_object_get(json, "prompt") ? WEIRP_API_COMPLETIONS : WEIRP_API_CHAT;
    if (st == WEIR_OK) st = with_model(body, len, json, &text) ? WEIR_OK : WEIR_NOMEM;
    if (st == WEIR_OK) st = weirp_request_parse(&request, api, (const char *)text.data, text.size, &fault);
    json_decref(json);
    if (st == WEIR_OK) {
        decide(w, call, &request);
        weirp_request_free(&request);
    } else {
        weirp_service_error(call, WEIRP_ENDPOINT_ROUTE, st == WEIR_PARSE ? 400 : 500, fault.code, fault.param,
                            fault.text[0] ? fault.text : "The body must be a JSON object.");
    }
    weirp_writer_free(&text);
}

/* ---- health and metrics ---- */

static void ready(weirp_worker *w, weirp_call *call) {
    const weirp_setup *s = w->setup;
    uint64_t now = weirp_monotonic_ns() / 1000000u;
    size_t n_open = 0;
    for (size_t d = 0; d < s->config->n_deployments; d++)
        n_open += weirp_breaker_state(s->breaker[d], now) == WEIRP_BREAKER_OPEN;
    bool draining = atomic_load(&w->gateway->draining);
    bool good = !draining && n_open < s->config->n_deployments;
    answer_json(call, good ? 200 : 503,
                json_pack("{s:s,s:i,s:i}", "status",
                          draining ? "draining"
                          : good   ? "ready"
                                   : "no deployment may be asked",
                          "deployments", (int)s->config->n_deployments, "breakers_open", (int)n_open));
}

static void metrics(weirp_worker *w, weirp_call *call) {
    weirp_gateway *g = w->gateway;
    const weirp_setup *s = w->setup;
    uint64_t now = weirp_monotonic_ns();
    int *breaker = weirp_array(s->config->n_deployments, sizeof *breaker);
    weirp_metrics *sets[WEIRP_MAX_THREADS];
    weirp_writer out = {0};
    weirp_journal_counts counts = {0};
    weirp_journal_counts_of(g->journal, &counts);
    weirp_metric_facts facts = {.breaker = breaker,
                                .uptime_s = (double)(now - g->started_ns) * 1e-9,
                                .store_version = counts.version,
                                .store_holder = counts.holder,
                                .feedbacks = counts.feedbacks,
                                .feedbacks_refused = counts.feedbacks_refused,
                                .log_records = counts.records,
                                .log_dropped = counts.dropped,
                                .log_errors = counts.errors,
                                .reloads = g->n_reloads,
                                .reload_failures = g->n_reload_failures,
                                .config_loaded_unix_s = (double)g->loaded_unix_ms * 1e-3,
                                .snapshot_age_s = (double)(now - counts.published_ns) * 1e-9};
    weirp_treasury_counts money = {0};
    if (g->treasury) weirp_treasury_counts_of(g->treasury, &money);
    facts.budget_lowered = money.actions[WEIRP_BUDGET_LOWERED];
    facts.budget_cheaper = money.actions[WEIRP_BUDGET_CHEAPER];
    facts.budget_refused = money.actions[WEIRP_BUDGET_REFUSED];
    facts.budget_waited = money.waited;
    facts.budget_warnings = money.warnings;
    facts.ledger_posts = money.posts;
    facts.ledger_errors = money.errors;
    weirp_budget_fact *budgets = weirp_array(WEIRP_BUDGET_FACTS, sizeof *budgets);
    if (budgets && g->treasury) facts.n_budget_facts = weirp_treasury_facts(g->treasury, budgets, &facts.n_budgets);
    facts.budget = budgets;
    weirp_pace_facts pace = {.on = false};
    if (g->pacing) weirp_pacing_facts(g->pacing, &pace);
    facts.pace = &pace;
    weirp_rollout_fact rollout;
    weirp_rollout_facts(g->rollout, &rollout);
    facts.rollout = &rollout;
    for (size_t d = 0; breaker && d < s->config->n_deployments; d++)
        breaker[d] = weirp_breaker_state(s->breaker[d], now / 1000000u);
    pthread_mutex_lock(&g->metrics_mutex);
    size_t n = 0;
    sets[n++] = w->metrics; /* first: its names are those of this thread's setup, whose breakers they are */
    for (size_t i = 0; i < g->n_workers; i++) {
        if (i != w->number && g->workers[i].metrics) sets[n++] = g->workers[i].metrics;
        facts.connections += g->n_connections[i];
    }
    if (breaker && budgets) weirp_metrics_write(sets, n, &facts, &out);
    pthread_mutex_unlock(&g->metrics_mutex);
    weirp_field type = {"content-type", "text/plain; version=0.0.4; charset=utf-8"};
    if (breaker && budgets && !out.failed)
        answer(call, 200, &type, (const char *)out.data, out.size);
    else
        answer(call, 500, &as_text, "", 0);
    weirp_writer_free(&out);
    free(breaker);
    free(budgets);
}

void weirp_service(weirp_worker *w, weirp_call *call, weirp_endpoint endpoint) {
    w->gateway->n_connections[w->number] = weirp_server_n_connections(w->server);
    switch (endpoint) {
    case WEIRP_ENDPOINT_MODELS: models(w, call); break;
    case WEIRP_ENDPOINT_FEEDBACK: feedback(w, call); break;
    case WEIRP_ENDPOINT_ROUTE: route(w, call); break;
    case WEIRP_ENDPOINT_HEALTHZ: answer(call, 200, &as_text, "ok\n", 3); break;
    case WEIRP_ENDPOINT_READYZ: ready(w, call); break;
    case WEIRP_ENDPOINT_METRICS: metrics(w, call); break;
    default: weirp_service_error(call, endpoint, 404, "not_found", NULL, "There is nothing at this path."); break;
    }
}

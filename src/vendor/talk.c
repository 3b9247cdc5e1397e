/* talk.c: one request, from its arrival to its end. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "src/vendor/json.h"
#include "src/vendor/talk.h"

enum { MAX_SPARE = 64, RESET_LINGER = 0 };

/* ---- life ---- */

static vend_talk *talk_new(vend_worker *w, weirp_call *call) {
    vend_talk *t = w->spare;
    if (t) {
        w->spare = t->next_spare;
        w->n_spare--;
    } else if (!(t = malloc(sizeof *t))) {
        return NULL;
    }
    *t = (vend_talk){.worker = w, .call = call, .slot = VEND_NOT_DUE, .raw_limit = SIZE_MAX};
    t->ask.max_tokens = NAN;
    t->ask.n = 1;
    t->start_ns = weirp_monotonic_ns();
    t->number = atomic_fetch_add(&w->vendor->number, 1) + 1;
    t->scenario = vend_vendor_scenario(w->vendor);
    int64_t seed = t->scenario->file.seed;
    t->seed = seed == VEND_UNSET ? w->vendor->seed : (uint64_t)seed;
    t->counted = VEND_NOT_DUE;
    weirp_call_set_user(call, t);
    return t;
}

static void talk_free(vend_talk *t) {
    vend_worker *w = t->worker;
    vend_due_cancel(t);
    vend_talk_counted(t, VEND_ANSWERED);
    if (t->has_reply) vend_reply_free(&t->reply);
    vend_ask_free(&t->ask);
    free(t->model_name);
    weirp_writer_free(&t->raw_out);
    vend_scenario_unref(t->scenario);
    if (w->n_spare == MAX_SPARE) {
        free(t);
        return;
    }
    t->next_spare = w->spare;
    w->spare = t;
    w->n_spare++;
}

void vend_talk_spares_free(vend_worker *w) {
    while (w->spare) {
        vend_talk *next = w->spare->next_spare;
        free(w->spare);
        w->spare = next;
    }
    w->n_spare = 0;
}

void vend_talk_counted(vend_talk *t, vend_end end) {
    if (t->end != VEND_UNDER_WAY) return;
    t->end = end;
    if (t->counted == VEND_NOT_DUE) return;
    vend_stats_end(t->worker->vendor->stats, t);
    vend_books_enter(t->worker->vendor->books, t);
}

void vend_talk_break(vend_talk *t, bool reset) {
    vend_due_cancel(t);
    vend_talk_counted(t, VEND_BROKEN);
    if (reset) { /* Linux: to connect to nowhere ends a TCP connection by a reset, whatever is on its way (connect(2))
                  */
        struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
        if (connect(weirp_call_socket(t->call), &nowhere, sizeof nowhere)) { /* the reset of close() is second best */
            struct linger linger = {1, RESET_LINGER};
            setsockopt(weirp_call_socket(t->call), SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
    }
    weirp_call_abort(t->call);
}

/* ---- which endpoint ---- */

/* "/v1beta/models/NAME:generateContent" */
static bool is_generate(const char *path, const char **name, size_t *len, bool *stream) {
    static const char *const versions[] = {"/v1beta/models/", "/v1/models/", NULL};
    for (size_t i = 0; versions[i]; i++) {
        size_t n = strlen(versions[i]);
        const char *colon = strchr(path, ':');
        if (strncmp(path, versions[i], n) || !colon) continue;
        *name = path + n;
        *len = (size_t)(colon - *name);
        *stream = !strcmp(colon, ":streamGenerateContent");
        return *len && (*stream || !strcmp(colon, ":generateContent"));
    }
    return false;
}

static bool route(const char *path, vend_api *api) {
    static const struct {
        const char *path;
        vend_api api;
    } routes[] = {{"/v1/chat/completions", VEND_CHAT},
                  {"/v1/completions", VEND_COMPLETIONS},
                  {"/v1/embeddings", VEND_EMBEDDINGS},
                  {"/v1/messages", VEND_MESSAGES},
                  {"/chat/completions", VEND_CHAT}};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(path, routes[i].path)) continue;
        *api = routes[i].api;
        return true;
    }
    return false;
}

/* Gemini's key may stand in the query, and where it does it counts as the header does. */
static const char *header_of(const void *user, const char *name) {
    const weirp_call *call = user;
    const char *value = weirp_call_header(call, name);
    if (!value && !strcmp(name, "x-goog-api-key")) value = weirp_call_query(call, "key");
    return value;
}

/* ---- what happens ---- */

static double or_zero(double ms) {
    return isnan(ms) ? 0 : ms;
}

/* Milliseconds until the head; the rest goes into the stream's pace. */
static double plan(vend_talk *t) {
    const vend_rule *r = t->rule;
    double latency = r ? r->latency_ms : NAN, first = r ? r->first_token_ms : NAN, pace = r ? r->per_token_ms : NAN;
    if (r && r->events != VEND_UNSET && t->ask.stream) pace = r->event_ms;
    double known = t->known.latency_ms / t->worker->vendor->speed, n = (double)t->reply.n_pieces;
    bool told = !isnan(latency) || !isnan(first) || !isnan(pace);
    if (!told && known >= 0 && t->ask.stream && n > 0) { /* a quarter of the time goes by before the first token */
        first = known / 4;
        pace = (known - first) / n;
    } else if (!told && known >= 0) {
        latency = known;
    }
    if (isnan(pace) && r && r->endless) pace = 10; /* an endless stream without a pace would only fill buffers */
    t->first_ns = or_zero(first) * 1e6;
    t->pace_ns = or_zero(pace) * 1e6;
    latency = or_zero(latency);
    if (r && r->jitter_ms > 0) latency += r->jitter_ms * weirp_random_uniform(t->seed, 91, t->number);
    if (t->ask.stream) return latency;
    t->base_ns = t->start_ns + (uint64_t)(latency * 1e6);
    return latency + or_zero(first) + (n > 0 ? or_zero(pace) * n : 0);
}

static void rule_fault(vend_talk *t) {
    const vend_error_rule *e = &t->rule->error;
    vend_fault fault;
    vend_refuse(&fault, (vend_kind)e->kind, NULL, "%s", e->message ? e->message : "");
    if (e->status != VEND_UNSET) fault.status = (int)e->status;
    fault.retry_after_s = !isnan(e->retry_after_ms) ? e->retry_after_ms / 1000 : e->retry_after_s;
    vend_send_fault(t, &fault);
}

static void reset_now(vend_talk *t) {
    vend_talk_break(t, true);
}

static void respond(vend_talk *t) {
    static const char page[] = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head>\n"
                               "<body><h1>This is not the API</h1></body></html>\n";
    const vend_rule *r = t->rule;
    weirp_writer *w = &t->worker->scratch;
    if (r && r->error.kind != VEND_UNSET && (r->error.after_events == VEND_UNSET || !t->ask.stream)) {
        rule_fault(t);
    } else if (r && r->html) {
        vend_send_whole(t, 200, "text/html; charset=utf-8", page, sizeof page - 1);
    } else if (r && r->body) {
        vend_send_whole(t, 200, NULL, r->body, strlen(r->body));
    } else if (t->ask.stream) {
        vend_stream_start(t);
    } else {
        w->size = 0;
        t->made = true;
        vend_dialect_of(t->ask.api)->whole(&t->reply, w);
        if (r && r->malformed == VEND_BAD_JSON && w->size > 2) w->size -= w->size / 3; /* whole HTTP, half the JSON */
        if (r && r->malformed == VEND_GARBAGE) vend_put(w, "\x01\xff garbage {");
        if (r && r->malformed == VEND_NOT_OBJECT) w->size = 0, vend_put(w, "[1,2,3]");
        if (w->failed)
            vend_talk_break(t, true);
        else
            vend_send_whole(t, 200, NULL, (const char *)w->data, w->size);
    }
}

static void decide(vend_talk *t) {
    vend_vendor *v = t->worker->vendor;
    vend_shown shown = {t->ask.api,    t->ask.model, t->ask.stream, (const char *)t->ask.text.data,
                        t->ask.header, t->ask.user};
    t->counted = vend_stats_begin(v->stats, t->ask.api, t->ask.model, t->call);
    vend_books_caller(t);
    t->rule = t->scenario->file.rules.n ? vend_scenario_match(t->scenario, &shown, t->seed) : NULL;
    t->known = vend_outcomes_find(v->outcomes, &t->ask);
    t->has_reply = true;
    if (!vend_reply_make(&t->reply, &t->ask, t->rule, &t->known, t->seed, t->number)) {
        vend_talk_break(t, true);
        return;
    }
    if (t->rule && t->rule->outage_ms != VEND_UNSET) {
        vend_vendor_outage(v, t->rule->outage_ms);
        vend_talk_break(t, true);
        return;
    }
    if (t->rule && t->rule->silent) return; /* until the client goes */
    double wait_ms = plan(t);
    vend_step step = t->rule && t->rule->reset ? reset_now : respond;
    if (wait_ms <= 0)
        step(t);
    else
        vend_due_at(t, t->start_ns + (uint64_t)(wait_ms * 1e6), step);
}

static void refuse(vend_talk *t, vend_fault *fault) {
    vend_fault_settle(fault, t->ask.api);
    vend_stats_invalid(t->worker->vendor->stats, t->ask.api, t->call, fault->message);
    vend_send_fault(t, fault);
}

/* No such endpoint: each vendor has its own way to say so, but by the path alone one can't tell whose it would be. */
static void not_found(weirp_call *call) {
    static const char body[] = "{\"error\":{\"message\":\"Invalid URL\",\"type\":\"invalid_request_error\",\"param\":"
                               "null,\"code\":null}}\n";
    weirp_field type = {"Content-Type", "application/json"};
    weirp_call_answer(call, 404, &type, 1, body, sizeof body - 1);
}

/* The text ends with a NUL that doesn't count. */
static bool close_text(vend_ask *ask) {
    weirp_put(&ask->text, "", 1);
    if (ask->text.failed) return false;
    ask->text.size--;
    return true;
}

static void on_request(void *user, weirp_call *call) {
    vend_worker *w = user;
    const char *path = weirp_call_path(call), *name = NULL;
    size_t name_len = 0, len;
    bool stream = false;
    vend_api api = VEND_GENERATE;
    if (vend_control(w, call)) return;
    bool generate = is_generate(path, &name, &name_len, &stream);
    if ((!generate && !route(path, &api)) || strcmp(weirp_call_method(call), "POST")) {
        not_found(call);
        return;
    }
    vend_talk *t = talk_new(w, call);
    if (!t) {
        weirp_call_abort(call);
        return;
    }
    t->ask.api = api;
    t->ask.scenario = t->scenario;
    t->ask.header = header_of;
    t->ask.user = call;
    const char *body = weirp_call_body(call, &len), *alt = weirp_call_query(call, "alt");
    vend_fault fault = {0};
    t->ask.json = json_loadb(body, len, 0, NULL);
    if (generate) {
        t->ask.stream = stream;
        t->ask.array = !alt || strcmp(alt, "sse");
        t->model_name = weirp_strndup(name, name_len);
        t->ask.model = t->model_name ? t->model_name : "";
    }
    if (!vend_dialect_of(api)->check(&t->ask, &fault))
        refuse(t, &fault);
    else if (!close_text(&t->ask))
        vend_talk_break(t, true);
    else
        decide(t);
}

static void on_drained(void *user, weirp_call *call) {
    vend_talk *t = weirp_call_user(call);
    (void)user;
    if (!t || t->end != VEND_UNDER_WAY) return;
    t->blocked = false;
    vend_stream_pump(t);
}

static void on_gone(void *user, weirp_call *call) {
    vend_talk *t = weirp_call_user(call);
    (void)user;
    if (!t) return;
    vend_due_cancel(t);
    vend_talk_counted(t, VEND_GONE);
}

static void on_end(void *user, weirp_call *call) {
    vend_talk *t = weirp_call_user(call);
    (void)user;
    if (!t) return;
    weirp_call_set_user(call, NULL);
    talk_free(t);
}

const weirp_server_handlers vend_handlers_template = {
    .request = on_request, .drained = on_drained, .gone = on_gone, .end = on_end};

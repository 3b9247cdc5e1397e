/* attempt.c: one try at one deployment: what is sent, and what is made of what comes back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/words.h"
#include "src/gateway/exchange.h"

enum {
    MAX_ERROR_BODY = 64 << 10,
    MAX_HELD = 1 << 20, /* of a stream before its first token */
    MAX_LINES = 64,
    URL_SIZE = 2048,
};

/* ---- results ---- */

static weirp_result result_of_fetch(weirp_fetch_result r, bool first_token) {
    switch (r) {
    case WEIRP_FETCH_CONNECT: return WEIRP_RESULT_CONNECT;
    case WEIRP_FETCH_CONNECT_TIMEOUT: return WEIRP_RESULT_CONNECT;
    case WEIRP_FETCH_TLS: return WEIRP_RESULT_TLS;
    case WEIRP_FETCH_FIRST_TIMEOUT: return WEIRP_RESULT_FIRST_TIMEOUT;
    case WEIRP_FETCH_IDLE_TIMEOUT: return first_token ? WEIRP_RESULT_IDLE_TIMEOUT : WEIRP_RESULT_FIRST_TIMEOUT;
    case WEIRP_FETCH_TOTAL_TIMEOUT: return WEIRP_RESULT_TOTAL_TIMEOUT;
    case WEIRP_FETCH_CUT: return WEIRP_RESULT_CUT;
    case WEIRP_FETCH_PROTOCOL: return WEIRP_RESULT_MALFORMED;
    case WEIRP_FETCH_TOO_LARGE: return WEIRP_RESULT_TOO_LARGE;
    default: return WEIRP_RESULT_OTHER;
    }
}

static weirp_result result_of_fault(weirp_vendor_fault_kind kind) {
    switch (kind) {
    case WEIRP_VENDOR_RATE_LIMIT: return WEIRP_RESULT_RATE_LIMIT;
    case WEIRP_VENDOR_QUOTA: return WEIRP_RESULT_QUOTA;
    case WEIRP_VENDOR_OVERLOADED: return WEIRP_RESULT_OVERLOADED;
    case WEIRP_VENDOR_AUTH: return WEIRP_RESULT_AUTH;
    case WEIRP_VENDOR_NOT_FOUND: return WEIRP_RESULT_NOT_FOUND;
    case WEIRP_VENDOR_TOO_LONG: return WEIRP_RESULT_TOO_LONG;
    case WEIRP_VENDOR_FILTERED: return WEIRP_RESULT_FILTERED;
    case WEIRP_VENDOR_INVALID: return WEIRP_RESULT_INVALID;
    case WEIRP_VENDOR_UNSUPPORTED: return WEIRP_RESULT_UNSUPPORTED;
    case WEIRP_VENDOR_TIMEOUT: return WEIRP_RESULT_TOTAL_TIMEOUT;
    default: return WEIRP_RESULT_SERVER;
    }
}

static void blame(weirp_exchange *x, const char *text) {
    x->fault = (weirp_vendor_fault){.kind = WEIRP_VENDOR_SERVER};
    snprintf(x->fault.text, sizeof x->fault.text, "%s", text);
}

/* What a vendor says may go to the client, and a vendor may say the key that it was shown. */
static void clean(weirp_exchange *x) {
    weirp_log_clean(x->worker->gateway->log, x->fault.text, sizeof x->fault.text);
    weirp_log_clean(x->worker->gateway->log, x->fault.code, sizeof x->fault.code);
}

/* ---- ending ---- */

static void stop(weirp_try *t) {
    if (t->fetch) weirp_fetch_cancel(t->fetch);
    t->fetch = NULL;
    if (t->first_token) weirp_timer_stop(t->first_token);
}

void weirp_try_give_up(weirp_try *t, weirp_result result) {
    weirp_exchange *x = t->exchange;
    stop(t);
    weirp_breaker_leave(x->setup->breaker[t->deployment]);
    if (x->winner == t) weirp_account_served(x, t);
    weirp_account_try(x, t, result);
    t->live = false;
}

/* From a handler of the fetch that isn't its last. */
static void fail(weirp_try *t, weirp_result result) {
    stop(t);
    weirp_exchange_try_failed(t->exchange, t, result, -1);
}

static void on_first_token_late(void *user) {
    weirp_try *t = user;
    blame(t->exchange, "no first token in time");
    fail(t, WEIRP_RESULT_FIRST_TIMEOUT);
}

/* ---- the answer ---- */

static bool is_event_stream(weirp_fetch *fetch) {
    const char *type = weirp_fetch_header(fetch, "content-type");
    return type && !strncasecmp(type, "text/event-stream", 17);
}

static void on_head(void *user, weirp_fetch *fetch, int status) {
    weirp_try *t = user;
    t->status = status;
    t->streaming = t->exchange->request.stream && status >= 200 && status < 300 && is_event_stream(fetch);
}

/* What has been held back, and all that follows, goes to the client from now on. */
static void commit(weirp_try *t) {
    weirp_exchange *x = t->exchange;
    t->first_ns = weirp_monotonic_ns();
    if (t->first_token) weirp_timer_stop(t->first_token);
    weirp_exchange_commit(x, t);
    weirp_reply_begin(x, t);
}

static weir_status on_event(void *user, const weirp_sse_event *event, weir_error *err) {
    weirp_try *t = user;
    weirp_exchange *x = t->exchange;
    x->fault.text[0] = 0;
    return weirp_answer_event(t->answer, event->type, event->type_len, event->data, event->len, &t->got, &x->fault,
                              err);
}

static void pass_on(weirp_try *t) {
    weirp_exchange *x = t->exchange;
    if (!t->got.size) return;
    bool room = !x->call || x->gone || weirp_call_write(x->call, (const char *)t->got.data, t->got.size);
    t->got.size = 0;
    if (room || !t->fetch) return;
    t->held = true;
    weirp_fetch_pause(t->fetch);
}

static void on_stream(weirp_try *t, const char *bytes, size_t len) {
    weirp_exchange *x = t->exchange;
    weir_error err = {0};
    weir_status st = weirp_sse_feed(&t->sse, bytes, len, on_event, t, &err);
    if (t->got.failed) st = WEIR_NOMEM;
    bool has_content = weirp_answer_facts_of(t->answer)->has_content;
    if (x->winner != t && (has_content || (t->got.size > MAX_HELD && st == WEIR_OK))) commit(t);
    if (x->winner == t) pass_on(t);
    if (st == WEIR_OK) return;
    if (st == WEIR_NET) {
        clean(x);
        fail(t, result_of_fault(x->fault.kind));
        return;
    }
    blame(x, st == WEIR_PARSE ? err.text : weir_status_text(st));
    fail(t, st == WEIR_PARSE ? WEIRP_RESULT_MALFORMED : WEIRP_RESULT_OTHER);
}

static void on_data(void *user, weirp_fetch *fetch, const char *bytes, size_t len) {
    weirp_try *t = user;
    (void)fetch;
    if (t->streaming) {
        on_stream(t, bytes, len);
        return;
    }
    bool good = t->status >= 200 && t->status < 300;
    /* an error is told in its first words: no piece after the first that doesn't fit, or there would be a hole */
    if (!good && len > MAX_ERROR_BODY - t->got.size) len = MAX_ERROR_BODY - t->got.size;
    if (t->got.size + len > t->exchange->setup->config->limits.answer_bytes) {
        blame(t->exchange, "the answer is too large");
        fail(t, WEIRP_RESULT_TOO_LARGE);
        return;
    }
    weirp_put(&t->got, bytes, len);
}

/* All of a stream is there: out with it. */
static void finish_stream(weirp_try *t) {
    weirp_exchange *x = t->exchange;
    if (x->winner != t) commit(t);
    pass_on(t);
    weirp_account_served(x, t);
    weirp_account_try(x, t, WEIRP_RESULT_OK);
    x->answered = true;
    if (x->call && !x->gone) weirp_call_finish(x->call);
    weirp_exchange_try_done(x, t);
}

static void stream_ended(weirp_try *t) {
    weirp_exchange *x = t->exchange;
    weir_error err = {0};
    weir_status st = weirp_answer_end(t->answer, &t->got, &err);
    if (st != WEIR_OK || t->got.failed) {
        blame(x, st == WEIR_PARSE ? err.text : weir_status_text(st == WEIR_OK ? WEIR_NOMEM : st));
        weirp_exchange_try_failed(x, t, st == WEIR_PARSE ? WEIRP_RESULT_CUT : WEIRP_RESULT_OTHER, -1);
        return;
    }
    finish_stream(t);
}

static void whole_ended(weirp_try *t) {
    weirp_exchange *x = t->exchange;
    weir_error err = {0};
    weirp_writer out = {0};
    weir_status st = weirp_answer_body(t->answer, (const char *)t->got.data, t->got.size, &out, &err);
    if (st == WEIR_OK && (out.failed || t->got.failed)) st = weirp_nomem(&err);
    if (st != WEIR_OK) {
        blame(x, err.text);
        weirp_exchange_try_failed(x, t, st == WEIR_PARSE ? WEIRP_RESULT_MALFORMED : WEIRP_RESULT_OTHER, -1);
    } else if (x->request.stream) { /* not every vendor streams: what it said has been put into events */
        weirp_writer vendors = t->got;
        t->got = out;
        out = vendors;
        finish_stream(t);
    } else {
        t->first_ns = weirp_monotonic_ns();
        weirp_exchange_commit(x, t);
        weirp_account_served(x, t);
        weirp_account_try(x, t, WEIRP_RESULT_OK);
        weirp_reply_whole(x, t, (const char *)out.data, out.size);
        weirp_exchange_try_done(x, t);
    }
    weirp_writer_free(&out);
}

static void on_end(void *user, weirp_fetch *fetch, weirp_fetch_result result, const char *what) {
    weirp_try *t = user;
    weirp_exchange *x = t->exchange;
    int status = t->status;
    t->fetch = NULL;
    if (t->first_token) weirp_timer_stop(t->first_token);
    if (result != WEIRP_FETCH_DONE) {
        /* a vendor may close without the last chunk once it has said all */
        bool said_all = t->streaming && result == WEIRP_FETCH_CUT && weirp_answer_facts_of(t->answer)->done;
        if (said_all) {
            stream_ended(t);
            return;
        }
        blame(x, what && *what ? what : weirp_fetch_result_text(result));
        weirp_exchange_try_failed(x, t, result_of_fetch(result, t->first_ns != 0), -1);
    } else if (status < 200 || status >= 300) {
        weirp_protocol protocol =
            x->setup->config->providers[x->setup->config->deployments[t->deployment].provider].protocol;
        weirp_vendor_fault_read(&x->fault, protocol, status, (const char *)t->got.data, t->got.size);
        clean(x);
        int64_t retry_after = weirp_fetch_retry_after_ms(fetch);
        if (retry_after < 0 && x->fault.retry_after_ms) retry_after = x->fault.retry_after_ms;
        weirp_exchange_try_failed(x, t, result_of_fault(x->fault.kind), retry_after);
    } else if (t->streaming) {
        stream_ended(t);
    } else {
        whole_ended(t);
    }
}

/* ---- starting ---- */

static bool write_request(weirp_exchange *x, weirp_try *t, char *url) {
    const weirp_config *c = x->setup->config;
    const weirp_deployment *d = &c->deployments[t->deployment];
    const weirp_provider *p = &c->providers[d->provider];
    double most = c->pool->models[d->model].max_output_tokens;
    most = isfinite(most) && x->request.max_output_tokens > most ? most : NAN;
    weirp_target target = {.protocol = p->protocol,
                           .model = d->vendor_model,
                           .max_output_tokens = fmin(most, x->spend.most_output), /* passes over a NAN */
                           .default_max_output_tokens = d->default_max_output_tokens,
                           .legacy_completions = d->legacy_completions,
                           .no_stream_options = d->no_stream_options,
                           .max_completion_tokens = d->max_completion_tokens};
    weirp_fault fault = {{0}, {0}, {0}};
    char path[512];
    weir_status st = weirp_request_write(&x->request, &target, &t->body, path, sizeof path, &fault);
    if (st == WEIR_OK && !t->body.failed) {
        size_t n = weirp_copy_text(url, URL_SIZE, p->base_url);
        if (n < URL_SIZE && n + weirp_copy_text(url + n, URL_SIZE - n, path) < URL_SIZE) return true;
    }
    x->fault = (weirp_vendor_fault){.kind = WEIRP_VENDOR_INVALID};
    snprintf(x->fault.text, sizeof x->fault.text, "%s", fault.text[0] ? fault.text : weir_status_text(st));
    snprintf(x->fault.code, sizeof x->fault.code, "%s", fault.code);
    x->result = st == WEIR_INVALID || st == WEIR_PARSE ? WEIRP_RESULT_INVALID : WEIRP_RESULT_OTHER;
    return false;
}

/* What goes along with the client's own request: traces, and what its API lets it ask of the vendor. */
static size_t lines(weirp_exchange *x, const weirp_provider *p, size_t provider, const char **line,
                    char extra[3][256]) {
    size_t n = x->setup->n_heads[provider];
    if (n > MAX_LINES - 3) n = MAX_LINES - 3;
    memcpy(line, x->setup->head[provider], n * sizeof *line);
    size_t e = 0;
    if (x->traceparent[0]) {
        snprintf(extra[e], sizeof extra[e], "traceparent: %s", x->traceparent);
        line[n++] = extra[e++];
    }
    if (x->request_id[0]) {
        size_t at = weirp_copy_text(extra[e], sizeof extra[e], "x-request-id: ");
        weirp_copy_text(extra[e] + at, sizeof extra[e] - at, x->request_id);
        line[n++] = extra[e++];
    }
    const char *beta = p->protocol == WEIRP_PROTOCOL_ANTHROPIC && x->api == WEIRP_API_MESSAGES
                           ? weirp_call_header(x->call, "anthropic-beta")
                           : NULL;
    if (beta && strlen(beta) < sizeof extra[e] - 20 && !strpbrk(beta, "\r\n")) {
        snprintf(extra[e], sizeof extra[e], "anthropic-beta: %s", beta);
        line[n++] = extra[e++];
    }
    return n;
}

static bool new_answer(weirp_exchange *x, weirp_try *t, weirp_protocol protocol) {
    const weirp_deployment *d = &x->setup->config->deployments[t->deployment];
    weirp_answer_options options = {.protocol = protocol,
                                    .legacy_completions = d->legacy_completions,
                                    .model = x->setup->config->pool->models[d->model].name,
                                    .id = x->plan.id,
                                    .created_s = weirp_unix_ms() / 1000,
                                    .note = weirp_reply_note,
                                    .note_user = t};
    return weirp_answer_new(&t->answer, &x->request, &options, NULL) == WEIR_OK;
}

static bool fetch(weirp_exchange *x, weirp_try *t, const char *url) {
    size_t provider = x->setup->config->deployments[t->deployment].provider;
    const weirp_provider *p = &x->setup->config->providers[provider];
    const char *line[MAX_LINES];
    char extra[3][256];
    uint64_t now = weirp_monotonic_ns();
    uint64_t left_ms = x->deadline_ns > now ? (x->deadline_ns - now) / 1000000u + 1 : 1;
    weirp_fetch_options options = {
        .url = url,
        .headers = line,
        .n_headers = lines(x, p, provider, line, extra),
        .body = (const char *)t->body.data,
        .body_len = t->body.size,
        .connect_ms = p->timeouts.connect_ms,
        .first_byte_ms = x->request.stream ? p->timeouts.first_token_ms : 0,
        .idle_ms = x->request.stream ? p->timeouts.idle_ms : 0,
        .total_ms = left_ms < p->timeouts.total_ms || !p->timeouts.total_ms ? (unsigned)left_ms : p->timeouts.total_ms,
        .max_bytes = x->request.stream ? 0 : x->setup->config->limits.answer_bytes,
        .small_buffers = x->request.stream,
        .ca_file = p->ca_file,
        .user = t,
        .head = on_head,
        .data = on_data,
        .end = on_end};
    t->started_ns = now;
    return weirp_fetch_start(&t->fetch, x->worker->client, &options, NULL) == WEIR_OK;
}

static bool arm_first_token(weirp_exchange *x, weirp_try *t, unsigned ms) {
    if (!x->request.stream || !ms) return true;
    if (!t->first_token && weirp_timer_new(&t->first_token, x->worker->loop, on_first_token_late, t, NULL) != WEIR_OK)
        return false;
    weirp_timer_start(t->first_token, ms);
    return true;
}

bool weirp_try_start(weirp_exchange *x, size_t choice, size_t deployment, bool hedge) {
    weirp_try *t = !x->tries[0].live ? &x->tries[0] : &x->tries[1];
    const weirp_provider *p = &x->setup->config->providers[x->setup->config->deployments[deployment].provider];
    char url[URL_SIZE];
    weirp_answer_free(t->answer);
    weirp_sse_free(&t->sse);
    weirp_writer body = t->body, got = t->got;
    body.size = got.size = 0;
    *t = (weirp_try){.exchange = x,
                     .choice = choice,
                     .deployment = deployment,
                     .hedge = hedge,
                     .body = body,
                     .got = got,
                     .first_token = t->first_token};
    if (!write_request(x, t, url)) return false;
    if (!new_answer(x, t, p->protocol) || !fetch(x, t, url) || !arm_first_token(x, t, p->timeouts.first_token_ms)) {
        stop(t);
        x->result = WEIRP_RESULT_OTHER;
        blame(x, "the request couldn't be started");
        return false;
    }
    t->claim = x->spend.offer;
    memcpy(t->worst, x->spend.worst, sizeof t->worst);
    x->spend.offer = (weirp_claim){0};
    t->live = true;
    x->n_tries++;
    return true;
}

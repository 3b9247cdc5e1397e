/* webhook.c: one POST a warning. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/webhook.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 5000, TOTAL_MS = 15000, MAX_ANSWER = 64 << 10 };

typedef struct message {
    weirp_worker *worker;
    weirp_warning warning;
    char *body;
    weirp_fetch *fetch;
    int status;
} message;

static void message_free(message *m) {
    free(m->body);
    free(m);
}

static char *body_of(const weirp_warning *w) {
    json_t *end = w->period_end < INT64_MAX ? json_integer((json_int_t)w->period_end) : json_null();
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:o, s:I}", "event", "budget_warning", "budget",
                          w->budget, "scope", w->scope, "unit", weirp_unit_name(w->unit), "share", w->share, "spent",
                          weirp_unit_value(w->unit, w->spent), "limit", weirp_unit_value(w->unit, w->limit),
                          "period_end", end, "time_ms", (json_int_t)weirp_unix_ms());
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(o);
    return text;
}

static void on_head(void *user, weirp_fetch *fetch, int status) {
    (void)fetch;
    ((message *)user)->status = status;
}

static void on_data(void *user, weirp_fetch *fetch, const char *bytes, size_t len) {
    (void)user, (void)fetch, (void)bytes, (void)len; /* whatever it says */
}

static void complain(const message *m, const char *what) {
    WEIRP_LOG(m->worker->gateway->log, WEIRP_LOG_WARN, "the webhook can't be reached",
              WEIRP_S("budget", m->warning.budget), WEIRP_S("error", what), WEIRP_I("status", m->status));
}

static void on_end(void *user, weirp_fetch *fetch, weirp_fetch_result result, const char *what) {
    message *m = user;
    (void)fetch;
    if (result != WEIRP_FETCH_DONE)
        complain(m, what && *what ? what : weirp_fetch_result_text(result));
    else if (m->status < 200 || m->status >= 300)
        complain(m, "it answered with an error");
    message_free(m);
}

/* The worker's thread. */
static void send(void *user) {
    message *m = user;
    const char *url = m->worker->setup->config->budgets.webhook;
    static const char *const headers[] = {"content-type: application/json"};
    m->body = url ? body_of(&m->warning) : NULL;
    weirp_fetch_options options = {.url = url,
                                   .headers = headers,
                                   .n_headers = 1,
                                   .body = m->body,
                                   .body_len = m->body ? strlen(m->body) : 0,
                                   .connect_ms = CONNECT_MS,
                                   .total_ms = TOTAL_MS,
                                   .max_bytes = MAX_ANSWER,
                                   .user = m,
                                   .head = on_head,
                                   .data = on_data,
                                   .end = on_end};
    if (m->body && weirp_fetch_start(&m->fetch, m->worker->client, &options, NULL) == WEIR_OK) return;
    if (url) complain(m, "it couldn't be started");
    message_free(m);
}

void weirp_webhook_send(weirp_worker *worker, const weirp_warning *warning) {
    message *m = weirp_array(1, sizeof *m);
    if (!m) return;
    *m = (message){.worker = worker, .warning = *warning};
    if (!worker->loop || !weirp_loop_post(worker->loop, send, m)) message_free(m);
}

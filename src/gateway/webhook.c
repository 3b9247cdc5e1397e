/* webhook.c: one POST each. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/webhook.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"

#define ENDS "weir ends"
enum { CONNECT_MS = 5000, TOTAL_MS = 15000, MAX_ANSWER = 64 << 10 };

typedef enum hook { BUDGETS, ROLLOUT } hook;

typedef struct weirp_message {
    weirp_worker *worker;
    struct weirp_message *next, **link; /* among the worker's that are under way */
    hook hook;
    char about[WEIRP_GATE_NAME]; /* its name; budgets' are no longer */
    char *body;
    weirp_fetch *fetch;
    int status;
} message;

static void message_free(message *m) {
    free(m->body);
    free(m);
}

/* ---- sending ---- */

static const char *url_of(hook which, const weirp_config *c) {
    return which == BUDGETS ? c->budgets.webhook : c->rollout.webhook;
}

static void on_head(void *user, weirp_fetch *fetch, int status) {
    (void)fetch;
    ((message *)user)->status = status;
}

static void on_data(void *user, weirp_fetch *fetch, const char *bytes, size_t len) {
    (void)user, (void)fetch, (void)bytes, (void)len; /* whatever it says */
}

static void log_of(const message *m, const char *text, const char *what) {
    WEIRP_LOG(m->worker->gateway->log, WEIRP_LOG_WARN, text, WEIRP_S("budget", m->hook == BUDGETS ? m->about : NULL),
              WEIRP_S("rollout", m->hook == ROLLOUT ? m->about : NULL), WEIRP_S("error", what),
              WEIRP_I("status", m->status));
}

static void complain(const message *m, const char *what) {
    log_of(m, "the webhook can't be reached", what);
}

static void enter(message *m) {
    m->next = m->worker->messages;
    m->link = &m->worker->messages;
    if (m->next) m->next->link = &m->next;
    m->worker->messages = m;
}

static void leave(const message *m) {
    *m->link = m->next;
    if (m->next) m->next->link = m->link;
}

static void on_end(void *user, weirp_fetch *fetch, weirp_fetch_result result, const char *what) {
    message *m = user;
    (void)fetch;
    if (result != WEIRP_FETCH_DONE)
        complain(m, what && *what ? what : weirp_fetch_result_text(result));
    else if (m->status < 200 || m->status >= 300)
        complain(m, "it answered with an error");
    leave(m);
    message_free(m);
}

/* The worker's thread; the main one's, once that has ended. */
static void send(void *user) {
    message *m = user;
    const char *url = url_of(m->hook, m->worker->setup->config);
    if (!m->body) {
        if (url) log_of(m, "the webhook's message can't be built", "no memory, or a text that isn't UTF-8");
        message_free(m);
        return;
    }
    static const char *const headers[] = {"content-type: application/json"};
    weirp_fetch_options options = {.url = url,
                                   .headers = headers,
                                   .n_headers = 1,
                                   .body = m->body,
                                   .body_len = strlen(m->body),
                                   .connect_ms = CONNECT_MS,
                                   .total_ms = TOTAL_MS,
                                   .max_bytes = MAX_ANSWER,
                                   .user = m,
                                   .head = on_head,
                                   .data = on_data,
                                   .end = on_end};
    if (url && !m->worker->ended && weirp_fetch_start(&m->fetch, m->worker->client, &options, NULL) == WEIR_OK) {
        enter(m);
        return;
    }
    if (url) complain(m, m->worker->ended ? ENDS : "it couldn't be started");
    message_free(m);
}

/* Steals the body; NULL: it couldn't be built. */
static void post(weirp_worker *worker, hook which, const char *about, char *body) {
    message *m = weirp_array(1, sizeof *m);
    if (!m || !worker->loop) {
        free(body);
        free(m);
        return;
    }
    *m = (message){.worker = worker, .hook = which, .body = body};
    weirp_copy_text(m->about, sizeof m->about, about);
    if (!weirp_loop_post(worker->loop, send, m)) message_free(m);
}

void weirp_webhook_clear(weirp_worker *worker) {
    while (worker->messages) {
        message *m = worker->messages;
        complain(m, ENDS);
        weirp_fetch_cancel(m->fetch);
        leave(m);
        message_free(m);
    }
}

/* ---- what is told ---- */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

/* Steals the object; NULL is passed on. */
static char *dumped(json_t *o) {
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(o);
    return text;
}

void weirp_webhook_warning(weirp_worker *worker, const weirp_warning *w) {
    json_t *end = w->period_end < INT64_MAX ? json_integer((json_int_t)w->period_end) : json_null();
    post(worker, BUDGETS, w->budget,
         dumped(json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:I}", "event", "budget_warning", "budget",
                          w->budget, "scope", w->scope, "unit", weirp_unit_name(w->unit), "share", number(w->share),
                          "spent", number(weirp_unit_value(w->unit, w->spent)), "limit",
                          number(weirp_unit_value(w->unit, w->limit)), "period_end", end, "time_ms",
                          (json_int_t)weirp_unix_ms())));
}

static const char *event_name(weirp_gate_change change) {
    switch (change) {
    case WEIRP_GATE_ADVANCED: return "rollout_advanced";
    case WEIRP_GATE_FINISHED: return "rollout_passed";
    case WEIRP_GATE_HARM_QUALITY:
    case WEIRP_GATE_HARM_ERRORS: return "rollout_stopped";
    case WEIRP_GATE_STARTED:
    case WEIRP_N_GATE_CHANGES: break;
    }
    return "rollout_started";
}

char *weirp_webhook_move_body(const weirp_gate_plan *p, const weirp_gate_event *e, double share) {
    return dumped(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:[o, o], s:[o, o], s:I}", "event",
                            event_name(e->change), "rollout", p->name, "base", p->base, "candidate", p->candidate,
                            "mode", p->shadow ? "shadow" : "share", "what", weirp_gate_change_text(e->change), "step",
                            (json_int_t)e->step + 1, "steps", (json_int_t)p->n_steps, "share", number(share),
                            "decisions", (json_int_t)e->n_decisions, "feedback", (json_int_t)e->n_feedback,
                            "quality_difference", number(e->quality.lo), number(e->quality.hi), "error_difference",
                            number(e->error.lo), number(e->error.hi), "time_ms", (json_int_t)e->time_ms));
}

void weirp_webhook_move(weirp_worker *worker, const weirp_gate_plan *p, const weirp_gate_event *e, double share) {
    post(worker, ROLLOUT, p->name, weirp_webhook_move_body(p, e, share));
}

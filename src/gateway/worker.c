/* worker.c: one thread of the gateway. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/gateway/exchange.h"
#include "src/gateway/service.h"
#include "src/gateway/webhook.h"

enum { DRAIN_GRACE_MS = 100 /* for requests that had been sent, and not read yet, when draining began */ };

/* A client that reads slowly may have so much waiting before its vendor is held back. */
enum { WRITE_HIGH_BYTES = 32 << 10 };

double weirp_worker_random(weirp_worker *w) {
    return weirp_random_uniform(w->gateway->started_ns, w->number, w->n_random++);
}

size_t weirp_worker_model(const weirp_worker *w, const weirp_setup *of, size_t model) {
    return of == w->setup ? model : weir_pool_find(w->setup->config->pool, of->names.models[model]);
}

size_t weirp_worker_deployment(const weirp_worker *w, const weirp_setup *of, size_t deployment) {
    if (of == w->setup) return deployment;
    const weirp_metric_names *names = &w->setup->names;
    for (size_t d = 0; d < names->n_deployments; d++)
        if (!strcmp(names->deployments[d], of->names.deployments[deployment])) return d;
    return (size_t)-1;
}

/* ---- what the server asks ---- */

static bool is_exchange(weirp_endpoint e) {
    return e == WEIRP_ENDPOINT_CHAT || e == WEIRP_ENDPOINT_COMPLETIONS || e == WEIRP_ENDPOINT_EMBEDDINGS ||
           e == WEIRP_ENDPOINT_MESSAGES;
}

/* In whose shape errors are told: Anthropic's clients show themselves at other paths than /v1/messages, too. */
static weirp_endpoint shape(const weirp_call *call, weirp_endpoint e) {
    bool shared = e == WEIRP_ENDPOINT_OTHER || e == WEIRP_ENDPOINT_MODELS;
    return shared && weirp_call_header(call, "anthropic-version") ? WEIRP_ENDPOINT_MESSAGES : e;
}

/* Refuses what needs no body to be refused. */
static int on_head(void *user, weirp_call *call) {
    weirp_worker *w = user;
    weirp_endpoint e = weirp_endpoint_find(weirp_call_path(call));
    int status = 0;
    const char *code = NULL, *text = NULL;
    const char *method = weirp_call_method(call), *right = weirp_endpoint_method(e);
    if (e == WEIRP_ENDPOINT_OTHER) {
        status = 404;
        code = "not_found";
        text = "There is nothing at this path.";
    } else if (strcmp(method, right) != 0 && !(!strcmp(right, "GET") && !strcmp(method, "HEAD"))) {
        status = 405;
        code = "method_not_allowed";
        text = !strcmp(right, "POST") ? "This path takes POST." : "This path takes GET.";
    } else if (weirp_endpoint_needs_key(e) && (text = weirp_admit_refusal(w, weirp_admit_shown(call)))) {
        status = 401;
        code = "invalid_api_key";
    } else if (w->draining && is_exchange(e)) {
        status = 503;
        code = "shutting_down";
        text = "The gateway is shutting down.";
    }
    if (!status) return 0;
    weirp_service_error(call, shape(call, e), status, code, NULL, text);
    return status;
}

static void on_request(void *user, weirp_call *call) {
    weirp_worker *w = user;
    weirp_endpoint e = weirp_endpoint_find(weirp_call_path(call));
    if (is_exchange(e))
        weirp_exchange_begin(w, call, e);
    else
        weirp_service(w, call, e);
}

static bool has_exchange(const weirp_call *call) {
    return is_exchange(weirp_endpoint_find(weirp_call_path(call))) && weirp_call_user(call);
}

static void on_drained(void *user, weirp_call *call) {
    (void)user;
    if (has_exchange(call)) weirp_exchange_drained(weirp_call_user(call));
}

static void on_gone(void *user, weirp_call *call) {
    (void)user;
    if (has_exchange(call)) weirp_exchange_gone(weirp_call_user(call));
}

/* Exchanges count themselves; what else was answered, and refused by its head, is counted here. */
static void on_end(void *user, weirp_call *call) {
    weirp_worker *w = user;
    if (has_exchange(call)) {
        weirp_exchange_end(weirp_call_user(call));
    } else {
        int status = weirp_call_status(call);
        if (status) weirp_metrics_request(w->metrics, weirp_endpoint_find(weirp_call_path(call)), status, NAN);
        weirp_service_end(w, call);
    }
    weirp_worker_stop_if_idle(w, 1);
}

/* The server's own refusals, in the shape of the path's API. */
static char *error_body(void *user, int status, const char *path, const char *what) {
    (void)user;
    weirp_endpoint e = path ? weirp_endpoint_find(path) : WEIRP_ENDPOINT_OTHER;
    weirp_writer out = {0};
    weirp_error_write(weirp_endpoint_api(e), status, NULL, NULL, NULL, what, &out);
    weirp_put(&out, "", 1);
    return (char *)out.data;
}

/* ---- what others ask ---- */

typedef struct parcel {
    weirp_worker *worker;
    weirp_setup *setup;
    weir_router *router;
} parcel;

/* Another setup needs another set of counters, even where its models are the same: the names are the setup's own. The
 * new set takes over what the old one counted. */
/* Steals a reference to `setup`, and gives the old one's back by *setup. */
static weir_status take_metrics(weirp_worker *w, weirp_setup **setup, weir_error *err) {
    weirp_metrics *made = NULL;
    weir_status st = weirp_metrics_new(&made, &(*setup)->names, err);
    if (st == WEIR_OK) st = weirp_metrics_carry(made, w->metrics, err);
    if (st != WEIR_OK) {
        weirp_metrics_free(made);
        return st;
    }
    weirp_metrics_active(made, (int)w->n_active, (int)w->n_streams);
    pthread_mutex_lock(&w->gateway->metrics_mutex);
    weirp_metrics *old = w->metrics;
    w->metrics = made;
    weirp_setup *before = w->setup;
    w->setup = *setup;
    *setup = before;
    pthread_mutex_unlock(&w->gateway->metrics_mutex);
    weirp_metrics_free(old);
    return WEIR_OK;
}

static void take_setup(void *user) {
    parcel *p = user;
    weirp_worker *w = p->worker;
    weir_error err = {0};
    weir_status st = weirp_planner_setup(w->planner, p->setup, &err);
    if (st == WEIR_OK) st = take_metrics(w, &p->setup, &err);
    if (st == WEIR_OK)
        weirp_loop_busy_poll(w->loop, w->setup->config->busy_poll_us);
    else
        WEIRP_LOG(w->gateway->log, WEIRP_LOG_ERROR, "a thread can't take the new configuration",
                  WEIRP_S("error", err.text));
    weirp_setup_drop(p->setup);
    free(p);
}

static void take_router(void *user) {
    parcel *p = user;
    weir_error err = {0};
    if (weirp_planner_router(p->worker->planner, p->router, &err) != WEIR_OK)
        WEIRP_LOG(p->worker->gateway->log, WEIRP_LOG_ERROR, "a thread can't take the new router",
                  WEIRP_S("error", err.text));
    weir_router_close(p->router);
    free(p);
}

static void hand_over(weirp_worker *w, weirp_task task, weirp_setup *setup, weir_router *router) {
    parcel *p = weirp_array(1, sizeof *p);
    if (!p) return; /* the old one stays; the next one comes with the next change */
    *p = (parcel){w, setup ? weirp_setup_keep(setup) : NULL, router ? weirp_router_keep(router) : NULL};
    if (weirp_loop_post(w->loop, task, p)) return;
    weirp_setup_drop(p->setup);
    weir_router_close(p->router);
    free(p);
}

void weirp_worker_take_setup(weirp_worker *worker, weirp_setup *setup) {
    hand_over(worker, take_setup, setup, NULL);
}

void weirp_worker_take_router(weirp_worker *worker, weir_router *router) {
    hand_over(worker, take_router, NULL, router);
}

/* All calls, not exchanges alone: feedback waits for the journal, and has been taken. */
void weirp_worker_stop_if_idle(weirp_worker *w, size_t ending) {
    if (w->draining && w->heard && !w->n_active && weirp_server_n_calls(w->server) <= ending) weirp_loop_stop(w->loop);
}

static void on_grace_over(void *user) {
    weirp_worker *w = user;
    w->heard = true;
    weirp_worker_stop_if_idle(w, 0);
}

static void drain(void *user) {
    weirp_worker *w = user;
    w->draining = true;
    if (!w->server) return; /* posted to a loop that has ended */
    weirp_server_quiesce(w->server);
    if (weirp_timer_new(&w->grace, w->loop, on_grace_over, w, NULL) == WEIR_OK)
        weirp_timer_start(w->grace, DRAIN_GRACE_MS);
    else
        on_grace_over(w);
}

void weirp_worker_drain(weirp_worker *worker) {
    weirp_loop_post(worker->loop, drain, worker);
}

void weirp_worker_stop(weirp_worker *worker) {
    weirp_loop_stop(worker->loop);
}

/* ---- the thread ---- */

static void *run(void *user) {
    weirp_worker *w = user;
    weir_error err = {0};
    if (weirp_loop_run(w->loop, &err) != WEIR_OK)
        WEIRP_LOG(w->gateway->log, WEIRP_LOG_ERROR, "a thread's loop has failed", WEIRP_S("error", err.text));
    w->ended = true;
    weirp_server_free(w->server);
    weirp_webhook_clear(w);
    weirp_client_free(w->client);
    w->server = NULL;
    w->client = NULL;
    return NULL;
}

void weirp_worker_clear(weirp_worker *w) {
    if (w->loop) weirp_loop_run_posts(w->loop); /* what came after the loop's end owns memory, too */
    weirp_service_clear(w);
    weirp_server_free(w->server);
    weirp_client_free(w->client);
    weirp_exchange_free_spares(w);
    weirp_timer_free(w->grace);
    weirp_loop_free(w->loop);
    weirp_planner_free(w->planner);
    weirp_metrics_free(w->metrics);
    weirp_setup_drop(w->setup);
    *w = (weirp_worker){0};
}

weir_status weirp_worker_start(weirp_worker *w, weirp_gateway *gateway, unsigned number, int listen_fd,
                               weirp_setup *setup, weir_router *router, weir_error *err) {
    const weirp_config *c = setup->config;
    *w = (weirp_worker){.gateway = gateway, .number = number, .listen_fd = listen_fd};
    w->setup = weirp_setup_keep(setup);
    weirp_server_options server = {.listen_fd = listen_fd,
                                   .max_header_bytes = c->limits.header_bytes,
                                   .max_body_bytes = c->limits.body_bytes,
                                   .max_connections = c->limits.connections / gateway->n_workers + 1,
                                   .idle_timeout_s = c->limits.client_idle_s,
                                   .write_high_bytes = WRITE_HIGH_BYTES,
                                   .error_body = error_body};
    weirp_server_handlers handlers = {w, on_head, on_request, on_drained, on_gone, on_end};
    weirp_client_options client = {0};
    weir_status st;
    WEIRP_TRY(weirp_loop_new(&w->loop, err));
    weirp_loop_busy_poll(w->loop, c->busy_poll_us);
    WEIRP_TRY(weirp_metrics_new(&w->metrics, &setup->names, err));
    WEIRP_TRY(weirp_planner_new(&w->planner, router, setup, number, err));
    WEIRP_TRY(weirp_client_new(&w->client, w->loop, &client, err));
    WEIRP_TRY(weirp_server_new(&w->server, w->loop, &server, &handlers, err));
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc) st = weirp_fail_errno(err, rc, "starting a thread", "weir serve");
done:
    if (st != WEIR_OK) weirp_worker_clear(w);
    return st;
}

void weirp_worker_join(weirp_worker *w) {
    if (w->loop) pthread_join(w->thread, NULL);
}

/* serve.c: the gateway as a whole: starting, signals, reloading, draining. SPDX-License-Identifier: GPL-3.0-or-later */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/gateway/money/pacing.h"
#include "src/gateway/journal/rollout.h"
#include "src/gateway/money/treasury.h"
#include "src/gateway/webhook.h"
#include "src/gateway/worker.h"
#include "weir/gateway.h"

enum { BACKLOG = 4096 };

typedef struct serving {
    weirp_gateway gateway;
    weirp_setup *setup; /* in force; a reference */
    int *listen_fd;     /* (n_workers) -1: none */
    char address[128];
} serving;

/* ---- what is learned reaches the workers ---- */

static void publish(void *user, weir_router *router) {
    serving *s = user;
    for (size_t i = 0; i < s->gateway.n_workers; i++)
        if (s->gateway.workers[i].loop) weirp_worker_take_router(&s->gateway.workers[i], router);
    weir_router_close(router);
}

/* ---- limits that come near ---- */

static void warned(void *user, const weirp_warning *warning) {
    serving *s = user;
    weirp_webhook_warning(&s->gateway.workers[0], warning);
}

/* ---- a rollout that moves ---- */

static void moved(void *user, const weirp_gate_plan *plan, const weirp_gate_event *event, double share) {
    serving *s = user;
    weirp_webhook_move(&s->gateway.workers[0], plan, event, share);
}

/* ---- starting ---- */

static unsigned n_threads(const weirp_config *c, const weir_gateway_options *options) {
    const unsigned n = options->threads ? options->threads : c->threads;
    return n < WEIRP_MAX_THREADS ? n : WEIRP_MAX_THREADS;
}

/* One socket a thread, all on one address: the first finds the port where any will do. Somebody else's port is refused,
 * but gateways with one store may have one port: the kernel spreads connections over all their sockets. */
static weir_status listen_all(serving *s, const char *address, weir_error *err) {
    bool shared = weirp_journal_is_shared(s->gateway.journal);
    for (size_t i = 0; i < s->gateway.n_workers; i++) {
        weir_status st = weirp_listen(&s->listen_fd[i], i ? s->address : address, BACKLOG, !i && !shared, err);
        if (st != WEIR_OK) return st;
        if (!i) weirp_listen_name(s->listen_fd[0], s->address, sizeof s->address);
    }
    return WEIR_OK;
}

static weir_status start_journal(serving *s, weir_router **router, weir_error *err) {
    const weirp_config *c = s->setup->config;
    weirp_journal_options options = {.store = c->store,
                                     .pool = c->pool,
                                     .commit_ms = c->traffic.commit_ms,
                                     .refresh_ms = c->traffic.refresh_ms,
                                     .queue_bytes = c->traffic.queue_bytes,
                                     .log = s->gateway.log,
                                     .rollout = s->gateway.rollout,
                                     .publish = publish,
                                     .publish_user = s};
    return weirp_journal_open(&s->gateway.journal, router, &options, err);
}

static weir_status start_treasury(serving *s, weir_error *err) {
    weirp_treasury_options options = {
        .store = s->setup->config->store, .log = s->gateway.log, .warned = warned, .user = s};
    return weirp_treasury_open(&s->gateway.treasury, &options, err);
}

static void tick(void *user) {
    weirp_pacing_tick(user);
}

static weir_status start_pacing(serving *s, weir_error *err) {
    const weirp_config *c = s->setup->config;
    weirp_gateway *g = &s->gateway;
    if (!c->pacing.budget) return WEIR_OK;
    weirp_pacing_options options = {.store = c->store,
                                    .budget = c->pacing.budget,
                                    .bank = weirp_treasury_bank(g->treasury),
                                    .log = g->log,
                                    .floor = c->pacing.min_quality,
                                    .floor_first = c->pacing.floor_first,
                                    .max_latency_ms = c->pacing.max_latency_ms,
                                    .expected_requests = c->pacing.expected_requests};
    weir_status st = weirp_pacing_open(&g->pacing, &options, err);
    if (st == WEIR_OK) weirp_treasury_every(g->treasury, tick, g->pacing);
    return st;
}

static weir_status start(serving *s, const weir_gateway_options *options, weir_error *err) {
    weirp_gateway *g = &s->gateway;
    weirp_config *config = NULL;
    weir_router *router = NULL;
    weir_status st;
    WEIRP_TRY(weirp_config_load(&config, options->config_path, err));
    WEIRP_TRY(weirp_log_new(&g->log, STDERR_FILENO, config->log.format, config->log.level, err));
    g->n_workers = n_threads(config, options);
    g->workers = weirp_array(g->n_workers, sizeof *g->workers);
    s->listen_fd = weirp_array(g->n_workers, sizeof *s->listen_fd);
    if (!g->workers || !s->listen_fd) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < g->n_workers; i++) s->listen_fd[i] = -1;
    weirp_config *stolen = config;
    config = NULL;
    WEIRP_TRY(weirp_setup_new(&s->setup, stolen, &g->breakers, g->log, err));
    for (size_t i = 0; i < s->setup->config->n_warnings; i++)
        WEIRP_LOG(g->log, WEIRP_LOG_WARN, "configuration", WEIRP_S("warning", s->setup->config->warnings[i]));
    WEIRP_TRY(weirp_rollout_new(&g->rollout, g->log, err));
    weirp_rollout_listen(g->rollout, moved, s);
    weirp_rollout_configure(g->rollout, s->setup->config);
    WEIRP_TRY(start_journal(s, &router, err));
    WEIRP_TRY(listen_all(s, options->listen ? options->listen : s->setup->config->listen, err));
    WEIRP_TRY(weirp_treasury_configure(s->setup->config->store, s->setup->config, g->log, err));
    WEIRP_TRY(start_treasury(s, err));
    WEIRP_TRY(start_pacing(s, err));
    for (size_t i = 0; i < g->n_workers; i++)
        WEIRP_TRY(weirp_worker_start(&g->workers[i], g, (unsigned)i, s->listen_fd[i], s->setup, router, err));
    WEIRP_TRY(weirp_journal_start(g->journal, err));
    g->loaded_unix_ms = weirp_unix_ms();
done:
    weirp_config_free(config);
    weir_router_close(router);
    return st;
}

/* ---- reloading ---- */

static bool paces_differ(const weirp_config *a, const weirp_config *b) {
    const char *left = a->pacing.budget, *right = b->pacing.budget;
    if (!left || !right) return left != right;
    return strcmp(left, right) != 0 || a->pacing.min_quality != b->pacing.min_quality ||
           a->pacing.floor_first != b->pacing.floor_first || a->pacing.max_latency_ms != b->pacing.max_latency_ms ||
           a->pacing.expected_requests != b->pacing.expected_requests;
}

/* Keys that only a restart can change. */
static const char *needs_restart(const weirp_config *a, const weirp_config *b) {
    if (strcmp(a->listen, b->listen) != 0) return "listen";
    if (a->threads != b->threads) return "threads";
    if (strcmp(a->store, b->store) != 0) return "store";
    if (a->limits.header_bytes != b->limits.header_bytes) return "limits.header_bytes";
    if (a->limits.body_bytes != b->limits.body_bytes) return "limits.body_bytes";
    if (a->limits.connections != b->limits.connections) return "limits.connections";
    if (a->limits.client_idle_s != b->limits.client_idle_s) return "limits.client_idle_s";
    if (a->traffic.queue_bytes != b->traffic.queue_bytes) return "traffic.queue_bytes";
    if (paces_differ(a, b)) return "pacing";
    return NULL;
}

static bool limits_differ(const weir_pool *a, const weir_pool *b) {
    if (a->n_models != b->n_models) return true;
    for (size_t m = 0; m < a->n_models; m++)
        if (a->models[m].max_input_tokens != b->models[m].max_input_tokens ||
            a->models[m].max_output_tokens != b->models[m].max_output_tokens)
            return true;
    return false;
}

static weir_status reload(serving *s, weir_error *err) {
    weirp_gateway *g = &s->gateway;
    weirp_config *config = NULL;
    weirp_setup *setup = NULL;
    weir_status st = weirp_config_load(&config, s->setup->config->path, err);
    if (st != WEIR_OK) return st;
    const char *key = needs_restart(s->setup->config, config);
    if (key) WEIRP_LOG(g->log, WEIRP_LOG_WARN, "a change of this key waits for the next start", WEIRP_S("key", key));
    bool changed =
        config->price_version != s->setup->config->price_version || limits_differ(config->pool, s->setup->config->pool);
    st = weirp_setup_new(&setup, config, &g->breakers, g->log, err);
    if (st != WEIR_OK) return st;
    if (changed) st = weirp_journal_pool(g->journal, setup->config->pool, err);
    if (st == WEIR_OK) st = weirp_treasury_configure(s->setup->config->store, setup->config, g->log, err);
    if (st != WEIR_OK) {
        weirp_setup_drop(setup);
        return st;
    }
    weirp_rollout_configure(g->rollout, setup->config);
    weirp_log_set(g->log, setup->config->log.format, setup->config->log.level);
    weirp_journal_pace(g->journal, setup->config->traffic.commit_ms, setup->config->traffic.refresh_ms);
    for (size_t i = 0; i < g->n_workers; i++) weirp_worker_take_setup(&g->workers[i], setup);
    weirp_setup_drop(s->setup);
    s->setup = setup;
    g->loaded_unix_ms = weirp_unix_ms();
    return WEIR_OK;
}

static void on_hangup(serving *s) {
    weir_error err = {0};
    weirp_gateway *g = &s->gateway;
    if (reload(s, &err) == WEIR_OK) {
        g->n_reloads++;
        WEIRP_LOG(g->log, WEIRP_LOG_INFO, "configuration reloaded", WEIRP_S("file", s->setup->config->path));
        return;
    }
    g->n_reload_failures++;
    WEIRP_LOG(g->log, WEIRP_LOG_ERROR, "reload refused: the old configuration stays in force",
              WEIRP_S("error", err.text));
}

/* ---- stopping ---- */

static void end_workers(serving *s) {
    weirp_gateway *g = &s->gateway;
    for (size_t i = 0; g->workers && i < g->n_workers; i++)
        if (g->workers[i].loop) weirp_worker_stop(&g->workers[i]);
    for (size_t i = 0; g->workers && i < g->n_workers; i++) weirp_worker_join(&g->workers[i]);
}

static void *join_all(void *user) {
    serving *s = user;
    for (size_t i = 0; i < s->gateway.n_workers; i++) weirp_worker_join(&s->gateway.workers[i]);
    return NULL;
}

/* Until all requests have been answered, drain_ms are over, or another signal asks for the end. */
static void drain(serving *s, const sigset_t *signals) {
    weirp_gateway *g = &s->gateway;
    unsigned most = s->setup->config->shutdown.drain_ms;
    atomic_store(&g->draining, true);
    WEIRP_LOG(g->log, WEIRP_LOG_INFO, "draining", WEIRP_I("drain_ms", most));
    for (size_t i = 0; i < g->n_workers; i++) weirp_worker_drain(&g->workers[i]);
    pthread_t joiner;
    if (pthread_create(&joiner, NULL, join_all, s) != 0) {
        end_workers(s);
        return;
    }
    uint64_t deadline = weirp_monotonic_ns() + most * UINT64_C(1000000);
    struct timespec step = {0, 10000000};
    bool forced = false;
    while (pthread_tryjoin_np(joiner, NULL) == EBUSY) {
        int signal = sigtimedwait(signals, NULL, &step);
        if (forced || (weirp_monotonic_ns() < deadline && signal != SIGTERM && signal != SIGINT)) continue;
        forced = true;
        WEIRP_LOG(g->log, WEIRP_LOG_WARN, "not all requests could be finished");
        for (size_t i = 0; i < g->n_workers; i++) weirp_worker_stop(&g->workers[i]);
    }
}

static weir_status clear(serving *s, weir_error *err) {
    weirp_gateway *g = &s->gateway;
    weir_error settling = {0};
    weir_status settled = weirp_treasury_close(g->treasury, &settling);
    weirp_pacing_close(g->pacing); /* whoever ticked it, and all who asked it, have ended */
    weir_status st = weirp_journal_close(g->journal, err);
    if (st == WEIR_OK && settled != WEIR_OK) st = weirp_fail(err, settled, 0, "%s", settling.text);
    for (size_t i = 0; g->workers && i < g->n_workers; i++) {
        weirp_worker_clear(&g->workers[i]);
        if (s->listen_fd && s->listen_fd[i] >= 0) close(s->listen_fd[i]);
    }
    weirp_rollout_free(g->rollout);
    weirp_setup_drop(s->setup);
    weirp_breakers_free(&g->breakers);
    weirp_log_free(g->log);
    free(g->workers);
    free(s->listen_fd);
    pthread_mutex_destroy(&g->metrics_mutex);
    return st;
}

static void wait_for_end(serving *s, const sigset_t *signals) {
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGHUP)
            on_hangup(s);
        else if (signal == SIGTERM || signal == SIGINT)
            return;
    }
}

weir_status weir_gateway_serve(const weir_gateway_options *options, weir_error *err) {
    serving *s = weirp_array(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, pipe_before;
    sigaction(SIGPIPE, &ignore, &pipe_before);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    pthread_mutex_init(&s->gateway.metrics_mutex, NULL);
    s->gateway.started_ns = weirp_monotonic_ns();
    weir_status st = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
                         ? start(s, options, err)
                         : weirp_fail(err, WEIR_NET, 0, "libcurl can't be initialised");
    if (st == WEIR_OK) {
        WEIRP_LOG(s->gateway.log, WEIRP_LOG_INFO, "serving", WEIRP_S("address", s->address),
                  WEIRP_I("threads", s->gateway.n_workers), WEIRP_S("store", s->setup->config->store));
        if (options->ready) options->ready(options->ready_user, s->address);
        wait_for_end(s, &signals);
        drain(s, &signals);
    } else {
        end_workers(s);
    }
    weir_error closing = {0};
    weir_status closed = clear(s, &closing);
    if (st == WEIR_OK && closed != WEIR_OK) st = weirp_fail(err, closed, 0, "%s", closing.text);
    free(s);
    curl_global_cleanup();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGPIPE, &pipe_before, NULL);
    return st;
}

/* vendor.c: the vendor's threads, each with its loop, server and socket; outages; signals.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/vendor/talk.h"

enum { MAX_THREADS = 64, BACKLOG = 1024, MAX_CONNECTIONS = 20000 };

/* ---- the scenario ---- */

vend_scenario *vend_vendor_scenario(vend_vendor *v) {
    pthread_mutex_lock(&v->lock);
    vend_scenario *scenario = vend_scenario_ref(v->scenario);
    pthread_mutex_unlock(&v->lock);
    return scenario;
}

void vend_vendor_set_scenario(vend_vendor *v, vend_scenario *scenario) {
    pthread_mutex_lock(&v->lock);
    vend_scenario *old = v->scenario;
    v->scenario = scenario;
    pthread_mutex_unlock(&v->lock);
    vend_scenario_unref(old);
}

/* ---- threads ---- */

static weir_status open_server(vend_worker *w, weir_error *err) {
    weirp_server_handlers handlers = vend_handlers_template;
    weirp_server_options options = {
        .max_header_bytes = 16 << 10, .max_connections = MAX_CONNECTIONS, .max_body_bytes = 64 << 20};
    weir_status st;
    int fd = -1;
    handlers.user = w;
    WEIRP_TRY(weirp_listen(&fd, w->vendor->address, BACKLOG, false, err));
    options.listen_fd = w->fd = fd;
    WEIRP_TRY(weirp_server_new(&w->server, w->loop, &options, &handlers, err));
    return WEIR_OK;
done:
    if (fd >= 0) close(fd);
    w->fd = -1;
    return st;
}

static void close_server(vend_worker *w) {
    weirp_server_free(w->server);
    w->server = NULL;
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
}

static void outage_begins(void *user) {
    vend_worker *w = user;
    if (w->server) close_server(w);
    weirp_timer_start(w->back, (uint64_t)atomic_load(&w->outage_ms));
}

static void outage_ends(void *user) {
    enum { AGAIN_MS = 100 };
    vend_worker *w = user;
    weir_error err = {0};
    if (!w->server && open_server(w, &err)) {
        fprintf(stderr, "weir-vendor: %s; tries again\n", err.text);
        weirp_timer_start(w->back, AGAIN_MS);
    }
}

void vend_vendor_outage(vend_vendor *v, int64_t ms) {
    for (size_t i = 0; i < v->n_workers; i++) {
        atomic_store(&v->workers[i].outage_ms, ms);
        if (!weirp_loop_post(v->workers[i].loop, outage_begins, &v->workers[i])) continue; /* that thread stays up */
    }
}

static void *work(void *user) {
    vend_worker *w = user;
    weir_error err = {0};
    if (weirp_loop_run(w->loop, &err)) fprintf(stderr, "weir-vendor: %s\n", err.text);
    return NULL;
}

static weir_status worker_init(vend_worker *w, vend_vendor *v, weir_error *err) {
    weir_status st;
    w->vendor = v;
    w->fd = -1;
    WEIRP_TRY(weirp_loop_new(&w->loop, err));
    WEIRP_TRY(vend_due_init(w, err));
    WEIRP_TRY(weirp_timer_new(&w->back, w->loop, outage_ends, w, err));
    WEIRP_TRY(open_server(w, err));
done:
    return st;
}

static void worker_fini(vend_worker *w) {
    close_server(w);
    if (w->loop) {
        vend_due_free(w);
        weirp_timer_free(w->back);
    }
    weirp_loop_free(w->loop);
    weirp_writer_free(&w->scratch);
    vend_talk_spares_free(w);
}

/* The port is kept by a socket of its own that only is bound, so that all threads, and those after an outage, get the
 * same one (SO_REUSEPORT), and nobody else does meanwhile. */
static weir_status hold_port(vend_vendor *v, const char *listen, weir_error *err) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    int first, on = 1;
    weir_status st = weirp_listen(&first, listen, BACKLOG, true, err);
    if (st) return st;
    weirp_listen_name(first, v->address, sizeof v->address);
    if (!getsockname(first, (struct sockaddr *)&at, &len)) {
        v->held = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (v->held >= 0) {
            setsockopt(v->held, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            setsockopt(v->held, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
            if (bind(v->held, (struct sockaddr *)&at, len)) close(v->held), v->held = -1;
        }
    }
    int failed = errno;
    close(first);
    return v->held >= 0 ? WEIR_OK : weirp_fail_errno(err, failed, "can't hold the address", v->address);
}

static weir_status start_threads(vend_vendor *v, weir_error *err) {
    sigset_t stops, before;
    int failed = 0;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, &before); /* threads inherit it: signals are for the one that waits for them */
    for (size_t i = 0; i < v->n_workers && !failed; i++) {
        failed = pthread_create(&v->workers[i].thread, NULL, work, &v->workers[i]);
        v->workers[i].running = !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? weirp_fail_errno(err, failed, "can't start a thread for", v->address) : WEIR_OK;
}

/* ---- the whole ---- */

weir_status vend_vendor_start(vend_vendor **out, const weir_vendor_options *o, weir_error *err) {
    weir_status st = WEIR_OK;
    *out = NULL;
    if (!o->listen) return weirp_fail(err, WEIR_INVALID, 0, "an address to listen on is needed");
    if (o->threads > MAX_THREADS)
        return weirp_fail(err, WEIR_INVALID, 0, "%u threads: at most %d are run", o->threads, MAX_THREADS);
    if (o->speed < 0) return weirp_fail(err, WEIR_INVALID, 0, "the speed must be above 0");
    vend_vendor *v = weirp_array(1, sizeof *v);
    if (!v) return weirp_nomem(err);
    v->held = -1;
    v->seed = o->seed;
    v->speed = o->speed > 0 ? o->speed : 1;
    pthread_mutex_init(&v->lock, NULL);
    v->stats = vend_stats_new();
    v->workers = weirp_array(o->threads ? o->threads : 1, sizeof *v->workers);
    if (!v->stats || !v->workers) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(vend_books_open(&v->books, o->books_path, err));
    if (o->scenario_path)
        WEIRP_TRY(vend_scenario_load(&v->scenario, o->scenario_path, err));
    else
        WEIRP_TRY(vend_scenario_parse(&v->scenario, "scenario", NULL, 0, err));
    if (o->outcomes_path) WEIRP_TRY(vend_outcomes_load(&v->outcomes, o->outcomes_path, err));
    WEIRP_TRY(hold_port(v, o->listen, err));
    for (size_t i = 0; i < (o->threads ? o->threads : 1); i++) {
        v->n_workers++;
        WEIRP_TRY(worker_init(&v->workers[i], v, err));
    }
    WEIRP_TRY(start_threads(v, err));
    *out = v;
    return WEIR_OK;
done:
    vend_vendor_stop(v);
    return st;
}

const char *vend_vendor_address(const vend_vendor *v) {
    return v->address;
}

void vend_vendor_stop(vend_vendor *v) {
    if (!v) return;
    for (size_t i = 0; i < v->n_workers; i++)
        if (v->workers[i].running) weirp_loop_stop(v->workers[i].loop);
    for (size_t i = 0; i < v->n_workers; i++)
        if (v->workers[i].running) pthread_join(v->workers[i].thread, NULL);
    for (size_t i = 0; i < v->n_workers; i++) worker_fini(&v->workers[i]);
    free(v->workers);
    if (v->held >= 0) close(v->held);
    vend_outcomes_free(v->outcomes);
    vend_stats_free(v->stats);
    vend_books_close(v->books);
    vend_scenario_unref(v->scenario);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

weir_status weir_vendor_serve(const weir_vendor_options *options, weir_error *err) {
    vend_vendor *v;
    sigset_t stops, before;
    int got;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, &before);
    weir_status st = vend_vendor_start(&v, options, err);
    if (st == WEIR_OK) {
        if (options->ready) options->ready(options->ready_user, vend_vendor_address(v));
        while (sigwait(&stops, &got) == EINTR) {
        }
        vend_vendor_stop(v);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return st;
}

/* worker.h: one thread of the gateway: a loop with its server, its client and its planner. Workers share nothing but
 * the gateway's log, journal and breakers.
 *
 * Lives in this folder: the process (serve.c), the APIs in and out, and a request's way: what brings src/net,
 * src/translate and src/router together. Rooms of their own, which know nothing of requests:
 *
 * config/   the configuration file
 * observe/  log lines and metrics
 * money/    budgets and their pacing
 * journal/  what the store keeps: the traffic log, feedback, the rollout
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WORKER_H
#define WEIRP_WORKER_H

#include <pthread.h>

#include "src/gateway/journal/journal.h"
#include "src/gateway/plan.h"
#include "src/linalg/parallel.h"
#include "src/net/client.h"
#include "src/net/server.h"

struct weirp_exchange;
struct weirp_message;
struct weirp_ticket;

typedef struct weirp_worker {
    struct weirp_gateway *gateway; /* borrowed */
    unsigned number;
    pthread_t thread;
    int listen_fd;
    weirp_loop *loop;
    weirp_server *server;
    weirp_client *client;
    weirp_planner *planner;
    weirp_setup *setup; /* in force; a reference */
    weirp_metrics *metrics;
    bool draining, heard; /* heard: who had sent a request before draining began, has been */
    weirp_timer *grace;
    size_t n_active;     /* exchanges under way */
    size_t n_streams;    /* of these, streams that have begun */
    uint64_t n_requests; /* ever */
    uint64_t n_hedges;
    uint64_t n_random;
    bool ended;                   /* its loop has: what is under way is broken off, by nobody else */
    struct weirp_exchange *spare; /* free list */
    size_t n_spare;
    struct weirp_ticket *tickets;   /* feedback that waits for the journal */
    struct weirp_message *messages; /* to webhooks, under way */
} weirp_worker;

/* What all workers share. */
typedef struct weirp_gateway {
    weirp_log *log;
    weirp_breakers breakers; /* the main thread's; what setups point to stays */
    weirp_journal *journal;
    struct weirp_treasury *treasury; /* NULL: no budgets */
    struct weirp_pacing *pacing;     /* NULL: nothing is paced */
    struct weirp_rollout *rollout;
    size_t n_workers;
    weirp_worker *workers; /* (n_workers) */
    uint64_t started_ns;
    _Atomic uint64_t n_reloads, n_reload_failures;
    _Atomic int64_t loaded_unix_ms;
    _Atomic uint64_t n_connections[WEIRP_MAX_THREADS]; /* by worker, for scrapes */
    atomic_bool draining;
    pthread_mutex_t metrics_mutex; /* of the workers' `metrics` and `setup`: a scrape reads them all */
} weirp_gateway;

weir_status weirp_worker_start(weirp_worker *worker, weirp_gateway *gateway, unsigned number, int listen_fd,
                               weirp_setup *setup, weir_router *router, weir_error *err);
/* From any thread. Setup and router are kept by reference. */
void weirp_worker_take_setup(weirp_worker *worker, weirp_setup *setup);
void weirp_worker_take_router(weirp_worker *worker, weir_router *router);
void weirp_worker_drain(weirp_worker *worker); /* takes no new requests; ends once none is under way */
void weirp_worker_stop(weirp_worker *worker);  /* ends now */
void weirp_worker_join(weirp_worker *worker);  /* waits for the thread's end */
void weirp_worker_clear(weirp_worker *worker); /* after that, and after the journal's: frees what it had */

/* Own thread, where something has ended: a worker that drains, and has nothing under way, ends. `ending`: calls whose
 * end is being told. */
void weirp_worker_stop_if_idle(weirp_worker *worker, size_t ending);

/* Rows to count in: those of the configuration in force, for what began under `of`; (size_t)-1, which no one counts:
 * it isn't there any more. */
size_t weirp_worker_model(const weirp_worker *worker, const weirp_setup *of, size_t model);
size_t weirp_worker_deployment(const weirp_worker *worker, const weirp_setup *of, size_t deployment);

double weirp_worker_random(weirp_worker *worker); /* [0,1) */

#endif

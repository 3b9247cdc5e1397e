/* loop.h: one event loop a thread, on libevent_core.
 *
 * Lives in this folder: sockets, HTTP and server-sent events. May not know: models, prompts, money, what a body means.
 * The libraries behind the server (libmicrohttpd), the client (libcurl) and the loop (libevent) stay behind their
 * headers, so that they can be replaced. Nothing here is shared between loops; what isn't marked "any thread" belongs
 * to the loop's. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOOP_H
#define WEIRP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/base.h"

typedef struct weirp_loop weirp_loop;
typedef void (*weirp_task)(void *user);

weir_status weirp_loop_new(weirp_loop **out, weir_error *err);
void weirp_loop_free(
    weirp_loop *loop); /* after all that lives on it; posted tasks that didn't run are dropped; NULL is fine */
weir_status weirp_loop_run(weirp_loop *loop, weir_error *err); /* until weirp_loop_stop */
void weirp_loop_stop(weirp_loop *loop);                        /* any thread */
/* For so long after a turn that did something the loop looks for events without sleeping, which costs its core; 0, as
 * at first: it sleeps at once. */
void weirp_loop_busy_poll(weirp_loop *loop, unsigned us);

/* Runs task(user) in the loop's thread, soon; tasks keep their order. Any thread. False: out of memory. */
bool weirp_loop_post(weirp_loop *loop, weirp_task task, void *user);
/* Runs what is posted: for who ends a loop whose tasks own something, once its thread is no more. */
void weirp_loop_run_posts(weirp_loop *loop);
/* Runs task(user) once at the end of this turn of the loop, after all events that are ready now. The node belongs to
 * the caller, and may be queued only once at a time (a second time is passed over). */
typedef struct weirp_later {
    weirp_task task;
    void *user;
    bool queued;
    struct weirp_later *next;
} weirp_later;
void weirp_loop_later(weirp_loop *loop, weirp_later *node);
void weirp_loop_not_later(weirp_loop *loop, weirp_later *node); /* takes it out again, before it is freed */

/* A timer fires once a start; starting it again moves it. The clock is the kernel's coarse one: some milliseconds (a
 * tick, 4 at 250 Hz) early or late. */
typedef struct weirp_timer weirp_timer;
weir_status weirp_timer_new(weirp_timer **out, weirp_loop *loop, weirp_task task, void *user, weir_error *err);
void weirp_timer_start(weirp_timer *timer, uint64_t after_ms);
void weirp_timer_stop(weirp_timer *timer);
void weirp_timer_free(weirp_timer *timer); /* NULL is fine */

struct event_base;
struct event_base *weirp_loop_base(weirp_loop *loop); /* for this folder's own files */

#endif

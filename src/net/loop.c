/* loop.c: turns of a libevent base, with tasks at the end of a turn and tasks from other threads.
 *
 * libevent's own means for "after all that is ready now" is a lower priority, which starves under steady load and costs
 * a system call a turn; so each turn is one pass of event_base_loop, and what is to follow it is run here.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/net/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct post {
    weirp_task task;
    void *user;
    struct post *next;
} post;

struct weirp_loop {
    struct event_base *base;
    struct event wake; /* on wake_fd */
    int wake_fd;       /* eventfd: tasks are posted, or the loop is to stop */
    atomic_bool stop;
    weirp_later *later, **later_end; /* for the end of this turn */
    weirp_later *batch;              /* those that are being run */
    uint64_t busy_ns, busy_until_ns; /* how long, and until when, it looks for events instead of sleeping */

    pthread_mutex_t lock; /* of the two below */
    post *posts, **posts_end;
};

struct weirp_timer {
    struct event event;
    weirp_task task;
    void *user;
};

static void ring(weirp_loop *loop) {
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(loop->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR); /* EAGAIN: it is ringing already */
}

static void on_wake(evutil_socket_t fd, short what, void *user) {
    (void)what;
    (void)user;
    uint64_t count;
    if (read((int)fd, &count, sizeof count) < 0) return; /* nothing to be done; the posts are looked at every turn */
}

static weir_status base_new(weirp_loop *loop, weir_error *err) {
    struct event_config *config = event_config_new();
    if (!config) return weirp_nomem(err);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    /* Early close: the server learns of clients that leave without reading from them. */
    event_config_require_features(config, EV_FEATURE_O1 | EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop->base) return weirp_fail(err, WEIR_NET, 0, "no event loop that notices closed connections");
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) return weirp_fail_errno(err, errno, "cannot create", "eventfd");
    if (event_assign(&loop->wake, loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop) ||
        event_add(&loop->wake, NULL))
        return weirp_nomem(err);
    return WEIR_OK;
}

weir_status weirp_loop_new(weirp_loop **out, weir_error *err) {
    *out = NULL;
    weirp_loop *loop = weirp_array(1, sizeof *loop);
    if (!loop) return weirp_nomem(err);
    loop->wake_fd = -1;
    loop->later_end = &loop->later;
    loop->posts_end = &loop->posts;
    pthread_mutex_init(&loop->lock, NULL);
    weir_status st = base_new(loop, err);
    if (st != WEIR_OK) {
        weirp_loop_free(loop);
        return st;
    }
    *out = loop;
    return WEIR_OK;
}

void weirp_loop_free(weirp_loop *loop) {
    if (!loop) return;
    for (post *p = loop->posts; p;) {
        post *next = p->next;
        free(p);
        p = next;
    }
    if (loop->base) {
        if (event_initialized(&loop->wake)) event_del(&loop->wake);
        event_base_free(loop->base);
    }
    if (loop->wake_fd >= 0) close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

struct event_base *weirp_loop_base(weirp_loop *loop) {
    return loop->base;
}

/* ---- tasks ---- */

bool weirp_loop_post(weirp_loop *loop, weirp_task task, void *user) {
    post *p = malloc(sizeof *p);
    if (!p) return false;
    *p = (post){task, user, NULL};
    pthread_mutex_lock(&loop->lock);
    bool was_empty = !loop->posts;
    *loop->posts_end = p;
    loop->posts_end = &p->next;
    pthread_mutex_unlock(&loop->lock);
    if (was_empty) ring(loop);
    return true;
}

static void run_posts(weirp_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    post *p = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    pthread_mutex_unlock(&loop->lock);
    while (p) {
        post *next = p->next;
        p->task(p->user);
        free(p);
        p = next;
    }
}

void weirp_loop_run_posts(weirp_loop *loop) {
    run_posts(loop);
}

void weirp_loop_later(weirp_loop *loop, weirp_later *node) {
    if (node->queued) return;
    node->queued = true;
    node->next = NULL;
    *loop->later_end = node;
    loop->later_end = &node->next;
}

/* What tasks queue in their turn waits for the next one, so that tasks that queue each other don't keep sockets
 * waiting. A node is free to be queued again, or to go, from the moment its task starts. */
static void run_later(weirp_loop *loop) {
    loop->batch = loop->later;
    loop->later = NULL;
    loop->later_end = &loop->later;
    while (loop->batch) {
        weirp_later *node = loop->batch;
        loop->batch = node->next;
        node->queued = false;
        node->task(node->user);
    }
}

void weirp_loop_not_later(weirp_loop *loop, weirp_later *node) {
    if (!node->queued) return;
    node->queued = false;
    for (weirp_later **at = &loop->batch; *at; at = &(*at)->next) {
        if (*at != node) continue;
        *at = node->next;
        return;
    }
    for (weirp_later **at = &loop->later; *at; at = &(*at)->next) {
        if (*at != node) continue;
        *at = node->next;
        if (!node->next) loop->later_end = at;
        return;
    }
}

void weirp_loop_busy_poll(weirp_loop *loop, unsigned us) {
    loop->busy_ns = (uint64_t)us * 1000;
}

/* Whether to look again rather than to sleep. A turn did something if it left something to be done at its end: all
 * requests and answers do. */
static bool stays_awake(weirp_loop *loop) {
    if (loop->later) return true;
    if (!loop->busy_ns || weirp_monotonic_ns() >= loop->busy_until_ns) return false;
    sched_yield(); /* whoever else has something to do on this core does it first */
    return true;
}

weir_status weirp_loop_run(weirp_loop *loop, weir_error *err) {
    while (!atomic_load_explicit(&loop->stop, memory_order_acquire)) {
        int flags = EVLOOP_ONCE | (stays_awake(loop) ? EVLOOP_NONBLOCK : 0);
        if (event_base_loop(loop->base, flags) < 0)
            return weirp_fail(err, WEIR_NET, 0, "the event loop failed: %s", strerror(errno));
        run_posts(loop);
        if (loop->busy_ns && loop->later) loop->busy_until_ns = weirp_monotonic_ns() + loop->busy_ns;
        run_later(loop);
    }
    run_later(loop); /* what the last turn has put off */
    atomic_store(&loop->stop, false);
    return WEIR_OK;
}

void weirp_loop_stop(weirp_loop *loop) {
    atomic_store_explicit(&loop->stop, true, memory_order_release);
    ring(loop);
}

/* ---- timers ---- */

static void on_time(evutil_socket_t fd, short what, void *user) {
    (void)fd;
    (void)what;
    weirp_timer *timer = user;
    timer->task(timer->user);
}

weir_status weirp_timer_new(weirp_timer **out, weirp_loop *loop, weirp_task task, void *user, weir_error *err) {
    weirp_timer *timer = *out = weirp_array(1, sizeof *timer);
    if (!timer) return weirp_nomem(err);
    timer->task = task;
    timer->user = user;
    if (event_assign(&timer->event, loop->base, -1, 0, on_time, timer)) {
        free(timer);
        *out = NULL;
        return weirp_fail(err, WEIR_NET, 0, "cannot create a timer");
    }
    return WEIR_OK;
}

void weirp_timer_start(weirp_timer *timer, uint64_t after_ms) {
    struct timeval after = {.tv_sec = (time_t)(after_ms / 1000), .tv_usec = (suseconds_t)(after_ms % 1000) * 1000};
    event_add(&timer->event, &after); /* fails only without memory for the heap of timers, which only grows */
}

void weirp_timer_stop(weirp_timer *timer) {
    event_del(&timer->event);
}

void weirp_timer_free(weirp_timer *timer) {
    if (!timer) return;
    event_del(&timer->event);
    free(timer);
}

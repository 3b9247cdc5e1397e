/* client.c: fetches on a loop: starting, running libcurl, ending, and the times between.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/net/client_internal.h"

#define DEFAULT_KEPT           256
#define DEFAULT_RECEIVE_BUFFER (64 * 1024)
#define MAX_FREE               512 /* fetches kept for use again, some 6 KiB each */
#define MAX_HELD_FREE          (32 * 1024)
#define DELIVER_BYTES          16384 /* of held bytes at a time, as libcurl would */

/* ---- lists ---- */

void weirp_fetch_dirty(weirp_fetch *f) {
    weirp_client *c = f->client;
    if (f->dirty) return;
    f->dirty = true;
    f->next_dirty = NULL;
    *c->dirty_tail = f;
    c->dirty_tail = &f->next_dirty;
    if (!c->depth && !c->running) weirp_loop_later(c->loop, &c->later);
}

static weirp_fetch *pop_dirty(weirp_client *c) {
    weirp_fetch *f = c->dirty_head;
    if (!f) return NULL;
    if (!(c->dirty_head = f->next_dirty)) c->dirty_tail = &c->dirty_head;
    f->dirty = false;
    return f;
}

static weirp_fetch *pop_start(weirp_client *c) {
    weirp_fetch *f = c->start_head;
    if (!f) return NULL;
    if (!(c->start_head = f->next_start)) c->start_tail = &c->start_head;
    f->queued = false;
    return f;
}

/* Out of libcurl. What is in the middle of an answer is closed by this, what is whole has gone back to the cache. */
static void detach(weirp_fetch *f) {
    if (!f->added) return;
    weirp_fetch_forget_sockets(f);
    weirp_lane_remove(f->lane, f->easy);
    f->added = false;
}

static void unlive(weirp_fetch *f) {
    weirp_client *c = f->client;
    if (!f->live) return;
    f->live = false;
    if (f->prev)
        f->prev->next = f->next;
    else
        c->live = f->next;
    if (f->next) f->next->prev = f->prev;
    c->n_live--;
    f->lane->n_fetches--;
}

/* Back to the free list, unless a handler of it is on the stack or a list still holds it: whoever comes to it there
 * calls again. */
static void recycle(weirp_fetch *f) {
    weirp_client *c = f->client;
    if (f->busy || f->dirty || f->queued) return;
    detach(f);
    /* A large body leaves libcurl's upload buffer of 64 KiB behind. */
    if (c->n_free >= MAX_FREE || f->large_body || f->held.capacity > MAX_HELD_FREE) {
        weirp_fetch_free(f);
        return;
    }
    f->next = c->free;
    c->free = f;
    c->n_free++;
}

/* ---- times ---- */

static uint64_t after(uint64_t start, unsigned ms) {
    return ms ? start + (uint64_t)ms * 1000000 : NEVER;
}

/* When the fetch is to be ended, if nothing changes, and with what. */
static uint64_t deadline(const weirp_fetch *f, weirp_fetch_result *why) {
    uint64_t phase = NEVER, total = after(f->started, f->o.total_ms);
    if (!f->connected) {
        phase = after(f->started, f->o.connect_ms);
        *why = WEIRP_FETCH_CONNECT_TIMEOUT;
    } else if (!f->heard) {
        phase = after(f->connected, f->o.first_byte_ms);
        *why = WEIRP_FETCH_FIRST_TIMEOUT;
    } else if (!f->paused) {
        phase = after(f->last, f->o.idle_ms);
        *why = WEIRP_FETCH_IDLE_TIMEOUT;
    }
    if (phase <= total) return phase;
    *why = WEIRP_FETCH_TOTAL_TIMEOUT;
    return total;
}

void weirp_fetch_arm(weirp_fetch *f) {
    weirp_fetch_result why = WEIRP_FETCH_OTHER;
    uint64_t at = deadline(f, &why);
    if (at == NEVER || (f->armed && f->armed <= at)) return;
    uint64_t now = weirp_monotonic_ns();
    f->armed = at;
    weirp_timer_start(f->timer, at > now ? (at - now + 999999) / 1000000 : 0);
}

/* ---- ending ---- */

static void end(weirp_fetch *f, weirp_fetch_result result, const char *what) {
    f->ended = true;
    unlive(f);
    f->busy++;
    if (f->o.end) f->o.end(f->o.user, f, result, what);
    f->busy--;
    recycle(f);
}

static void end_finished(weirp_fetch *f) {
    bool own = f->broken || f->result == WEIRP_FETCH_DONE || !*f->what;
    const char *what = own ? weirp_fetch_result_text(f->result) : f->what;
    end(f, f->result, what);
}

static void on_fetch_timer(void *user) {
    weirp_fetch *f = user;
    weirp_fetch_result why = WEIRP_FETCH_OTHER;
    f->armed = 0;
    if (!f->live || f->finished || f->cancelled) return;
    if (deadline(f, &why) > weirp_monotonic_ns()) {
        weirp_fetch_arm(f);
        return;
    }
    detach(f);
    end(f, why, weirp_fetch_result_text(why));
}

/* Hands over what came while the fetch was paused. */
static void deliver(weirp_fetch *f) {
    while (!f->paused && !f->cancelled && f->held_at < f->held.size) {
        size_t n = f->held.size - f->held_at;
        if (n > DELIVER_BYTES) n = DELIVER_BYTES;
        const char *bytes = (const char *)f->held.data + f->held_at;
        f->held_at += n;
        f->busy++;
        if (f->o.data) f->o.data(f->o.user, f, bytes, n);
        f->busy--;
    }
    if (f->held_at == f->held.size) f->held.size = f->held_at = 0;
}

static void set_curl_pause(weirp_fetch *f, bool pause) {
    if (!f->added || f->curl_paused == pause) return;
    /* Fails where there is no connection yet; then the first bytes are held, and it's done again. */
    f->curl_paused = weirp_lane_pause(f->lane, f->easy, pause) == CURLE_OK && pause;
}

/* Does what handlers asked for while libcurl was on the stack. */
static void tend(weirp_fetch *f) {
    if (!f->cancelled && !f->ended) deliver(f);
    if (f->cancelled || f->ended)
        recycle(f);
    else if (!f->finished)
        set_curl_pause(f, f->paused || f->held.size > 0);
    else if (!f->held.size)
        end_finished(f);
}

static void enqueue(weirp_fetch *f) {
    weirp_client *c = f->client;
    f->queued = true;
    f->next_start = NULL;
    *c->start_tail = f;
    c->start_tail = &f->next_start;
    weirp_loop_later(c->loop, &c->later);
}

/* libcurl 7.88 sends a request again by itself where a kept connection turns out dead, but not where it notices while
 * it sends a large body (the multi's state PERFORMING knows receiving errors only). Nothing was answered, so that it's
 * as safe there. */
static bool send_again(weirp_fetch *f, CURLcode code) {
    if (code != CURLE_SEND_ERROR || f->heard || f->fresh || !weirp_fetch_reused(f)) return false;
    if (curl_easy_setopt(f->easy, CURLOPT_FRESH_CONNECT, 1L)) return false;
    f->fresh = true;
    f->body_at = 0;
    f->what[0] = '\0';
    f->connected = 0;
    f->curl_paused = false;
    detach(f);
    enqueue(f);
    return true;
}

void weirp_fetch_finished(weirp_fetch *f, CURLcode code) {
    if (f->cancelled) {
        recycle(f);
        return;
    }
    if (send_again(f, code)) return;
    f->result = weirp_fetch_map(f, code);
    f->finished = true;
    detach(f);
    if (f->held.size)
        weirp_fetch_dirty(f);
    else
        end_finished(f);
}

/* ---- running ---- */

void weirp_client_tend(weirp_client *c) {
    weirp_fetch *f;
    while ((f = pop_dirty(c))) tend(f);
}

static void add(weirp_fetch *f) {
    CURLMcode code = weirp_lane_add(f->lane, f->easy);
    f->added = code == CURLM_OK;
    if (f->added) return;
    f->result = code == CURLM_OUT_OF_MEMORY ? WEIRP_FETCH_NOMEM : WEIRP_FETCH_OTHER;
    f->broken = f->finished = true;
    weirp_fetch_dirty(f);
}

/* The end of a turn: starts what was asked for in it, all at once. */
static void on_later(void *user) {
    weirp_client *c = user;
    weirp_fetch *f;
    c->running = true;
    while ((f = pop_start(c))) {
        if (f->cancelled)
            recycle(f);
        else
            add(f);
    }
    weirp_client_tend(c);
    weirp_lanes_run(c);
}

/* ---- what handlers and owners call ---- */

static weirp_fetch *obtain(weirp_client *c, weir_error *err) {
    weirp_fetch *f = c->free;
    if (f) {
        c->free = f->next;
        c->n_free--;
        return f;
    }
    if (!(f = weirp_fetch_new(c, err))) return NULL;
    if (weirp_timer_new(&f->timer, c->loop, on_fetch_timer, f, err)) {
        weirp_fetch_free(f);
        return NULL;
    }
    return f;
}

static void reset(weirp_fetch *f) {
    if (f->fresh) curl_easy_setopt(f->easy, CURLOPT_FRESH_CONNECT, 0L);
    f->fresh = false;
    f->next = f->prev = NULL;
    f->body_at = f->head_bytes = f->received = f->held_at = f->held.size = 0;
    f->held.failed = false;
    f->status = 0;
    f->what[0] = '\0';
    f->connected = f->last = 0;
    f->paused = f->curl_paused = f->heard = f->broken = f->finished = f->cancelled = f->ended = false;
}

weir_status weirp_fetch_start(weirp_fetch **out, weirp_client *c, const weirp_fetch_options *options, weir_error *err) {
    *out = NULL;
    client_lane *lane = weirp_lane_for(c, options->small_buffers, err);
    weirp_fetch *f = lane ? obtain(c, err) : NULL;
    if (!f) return err && err->status ? err->status : WEIR_NOMEM;
    reset(f);
    weir_status st = weirp_fetch_prepare(f, options, err);
    if (st) {
        weirp_fetch_free(f);
        return st;
    }
    f->live = true;
    if ((f->next = c->live)) f->next->prev = f;
    c->live = f;
    c->n_live++;
    f->lane = lane;
    lane->n_fetches++;
    f->started = weirp_monotonic_ns();
    weirp_fetch_arm(f);
    enqueue(f);
    *out = f;
    return WEIR_OK;
}

void weirp_fetch_cancel(weirp_fetch *f) {
    if (f->cancelled || f->ended) return;
    f->cancelled = true;
    unlive(f);
    /* With libcurl on the stack the body may be gone before this fetch is taken out. It isn't read: a small one is
     * copied when it's sent, which on_connected refuses from now on, and a large one comes from on_read. */
    if (f->client->depth) {
        weirp_fetch_dirty(f);
        return;
    }
    detach(f);
    recycle(f);
}

void weirp_fetch_pause(weirp_fetch *f) {
    if (f->paused || f->cancelled || f->ended) return;
    f->paused = true;
    if (f->client->depth)
        weirp_fetch_dirty(f);
    else
        set_curl_pause(f, true);
}

void weirp_fetch_resume(weirp_fetch *f) {
    if (!f->paused || f->cancelled || f->ended) return;
    f->paused = false;
    f->last = weirp_monotonic_ns();
    weirp_fetch_arm(f);
    weirp_fetch_dirty(f);
}

size_t weirp_client_n_fetches(const weirp_client *client) {
    return client->n_live;
}

static bool proxy_in_environment(void) {
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return true;
    }
    return false;
}

static weir_status open_first(weirp_client *c, weir_error *err) {
    if (!(c->share = curl_share_init())) return weirp_nomem(err);
    curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    c->lanes[0] = weirp_lane_new(c, err);
    c->n_lanes = c->lanes[0] ? 1 : 0;
    return c->lanes[0] ? WEIR_OK : WEIR_NOMEM;
}

weir_status weirp_client_new(weirp_client **out, weirp_loop *loop, const weirp_client_options *options,
                             weir_error *err) {
    static const weirp_client_options none;
    if (!options) options = &none;
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return weirp_fail(err, WEIR_NET, 0, "libcurl doesn't start");
    weirp_client *c = weirp_array(1, sizeof *c);
    if (!c) {
        curl_global_cleanup();
        return weirp_nomem(err);
    }
    c->loop = loop;
    c->max_kept = options->max_kept_connections ? options->max_kept_connections : DEFAULT_KEPT;
    c->receive_buffer = options->receive_buffer_bytes > 0 ? options->receive_buffer_bytes : DEFAULT_RECEIVE_BUFFER;
    c->no_proxy = !proxy_in_environment();
    c->later = (weirp_later){.task = on_later, .user = c};
    c->start_tail = &c->start_head;
    c->dirty_tail = &c->dirty_head;
    weir_status st = WEIR_OK;
    if (options->ca_file && !(c->ca_file = weirp_strndup(options->ca_file, strlen(options->ca_file))))
        st = weirp_nomem(err);
    if (!st) st = open_first(c, err);
    if (st) {
        weirp_client_free(c);
        return st;
    }
    *out = c;
    return WEIR_OK;
}

void weirp_client_free(weirp_client *c) {
    if (!c) return;
    weirp_fetch *f;
    while ((f = c->live)) weirp_fetch_cancel(f);
    while ((f = pop_start(c))) recycle(f);
    while ((f = pop_dirty(c))) recycle(f);
    while ((f = c->free)) {
        c->free = f->next;
        weirp_fetch_free(f);
    }
    for (size_t i = 0; i < c->n_lanes; i++) weirp_lane_free(c->lanes[i]);
    if (c->share) curl_share_cleanup(c->share);
    weirp_loop_not_later(c->loop, &c->later);
    weirp_client_sockets_free(c);
    free(c->ca_file);
    free(c);
    curl_global_cleanup();
}

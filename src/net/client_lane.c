/* client_lane.c: libcurl's multi handles: their timers, their bounds, their running.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "src/net/client_internal.h"

#define LANE_STREAMS 256 /* fetches of a lane of streams; looking through as many connections takes about 10 us */

static int on_curl_timer(CURLM *multi, long ms, void *user) {
    (void)multi;
    client_lane *l = user;
    l->want = ms < 0 ? NEVER : ms == 0 ? 0 : weirp_monotonic_ns() + (uint64_t)ms * 1000000;
    return 0;
}

/* libcurl moves its timer with every request. The loop's is only ever moved forward: what fires too early is armed
 * again, and what isn't wanted any more fires once for nothing. */
static void arm(client_lane *l) {
    if (l->want == NEVER) return;
    if (l->want == 0) {
        if (!l->client->running) weirp_loop_later(l->client->loop, &l->client->later);
        return;
    }
    if (l->armed && l->armed <= l->want) return;
    uint64_t now = weirp_monotonic_ns();
    l->armed = l->want;
    weirp_timer_start(l->timer, l->want > now ? (l->want - now + 999999) / 1000000 : 0);
}

/* A quarter of the kept connections is for streams. libcurl counts connections in use, too, against its bound, and
 * looks through all of them for the oldest when that's passed; so the bound moves with the fetches under way. */
static void set_kept(client_lane *l) {
    const weirp_client *c = l->client;
    size_t streams = c->max_kept / 4, n = c->max_kept - streams;
    if (l != c->lanes[0]) n = streams / (c->n_lanes > 1 ? c->n_lanes - 1 : 1) + 1;
    n += l->n_fetches;
    if (n == l->kept) return;
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)n);
    l->kept = n;
}

/* Ends what libcurl has done with. Handlers run in here, outside of libcurl. */
static void settle(client_lane *l) {
    for (;;) {
        weirp_fetch *f;
        int left;
        weirp_client_tend(l->client);
        CURLMsg *m = curl_multi_info_read(l->multi, &left);
        if (!m) break;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        weirp_fetch_finished(f, code);
    }
    set_kept(l);
    arm(l);
}

static void act(client_lane *l, curl_socket_t fd, int events) {
    int n;
    l->client->depth++;
    curl_multi_socket_action(l->multi, fd, events, &n);
    l->client->depth--;
    settle(l);
}

void weirp_lane_ready(client_lane *l, int fd, int events) {
    act(l, fd, events);
}

static void on_timer(void *user) {
    client_lane *l = user;
    l->armed = 0;
    if (l->want == NEVER) return;
    if (l->want > weirp_monotonic_ns()) {
        arm(l);
        return;
    }
    l->want = NEVER;
    act(l, CURL_SOCKET_TIMEOUT, 0);
}

void weirp_lanes_run(weirp_client *c) {
    for (size_t i = 0; i < c->n_lanes; i++) {
        if (c->lanes[i]->want) continue;
        c->lanes[i]->want = NEVER;
        act(c->lanes[i], CURL_SOCKET_TIMEOUT, 0);
    }
    c->running = false;
    for (size_t i = 0; i < c->n_lanes; i++) arm(c->lanes[i]);
    if (c->dirty_head) weirp_loop_later(c->loop, &c->later);
}

CURLMcode weirp_lane_add(client_lane *l, CURL *easy) {
    set_kept(l);
    l->client->depth++;
    CURLMcode code = curl_multi_add_handle(l->multi, easy);
    l->client->depth--;
    arm(l);
    return code;
}

void weirp_lane_remove(client_lane *l, CURL *easy) {
    l->client->depth++;
    curl_multi_remove_handle(l->multi, easy);
    l->client->depth--;
    arm(l);
}

CURLcode weirp_lane_pause(client_lane *l, CURL *easy, bool pause) {
    l->client->depth++;
    CURLcode code = curl_easy_pause(easy, pause ? CURLPAUSE_RECV : CURLPAUSE_CONT);
    l->client->depth--;
    arm(l);
    return code;
}

client_lane *weirp_lane_for(weirp_client *c, bool stream, weir_error *err) {
    if (!stream) return c->lanes[0];
    for (size_t i = 1; i < c->n_lanes; i++) {
        if (c->lanes[i]->n_fetches < LANE_STREAMS) return c->lanes[i];
    }
    if (c->n_lanes < MAX_LANES) {
        client_lane *l = weirp_lane_new(c, err);
        if (l) c->lanes[c->n_lanes++] = l;
        return l;
    }
    client_lane *least = c->lanes[1];
    for (size_t i = 2; i < c->n_lanes; i++) {
        if (c->lanes[i]->n_fetches < least->n_fetches) least = c->lanes[i];
    }
    return least;
}

client_lane *weirp_lane_new(weirp_client *client, weir_error *err) {
    client_lane *l = weirp_array(1, sizeof *l);
    if (!l) return weirp_nomem(err), NULL;
    l->client = client;
    l->want = NEVER;
    l->multi = curl_multi_init();
    if (!l->multi || !weirp_lane_sockets_init(l) || weirp_timer_new(&l->timer, client->loop, on_timer, l, err)) {
        weirp_nomem(err);
        weirp_lane_free(l);
        return NULL;
    }
    curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
    curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    return l;
}

void weirp_lane_free(client_lane *l) {
    if (!l) return;
    if (l->multi) curl_multi_cleanup(l->multi);
    weirp_timer_free(l->timer);
    free(l);
}

/* load_flood.c: many requests that aren't streamed, each connection sending its next one when the last is answered.
 * A line of figures a second. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/gateway/load.h"

enum { EVENTS = 256, MAX_WAIT_MS = 30000 };

typedef struct flood {
    const load_options *o;
    load_requests requests;
    int epoll;
    size_t begun, answered, refused, reconnected, running;
    uint64_t start_ns;
} flood;

typedef struct wire {
    int fd;
    bool busy;
    load_reply reply;
} wire;

static void open_wire(flood *f, wire *w) {
    w->fd = load_connect(&f->o->to, true, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = w};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, w->fd, &e)) load_die("epoll_ctl: %s", strerror(errno));
}

static void next(flood *f, wire *w) {
    w->busy = f->begun < f->o->requests;
    if (!w->busy) return;
    const load_request *r = &f->requests.at[f->begun++ % f->requests.n];
    load_reply_restart(&w->reply);
    for (size_t sent = 0; sent < r->size;) {
        ssize_t n = send(w->fd, r->bytes + sent, r->size - sent, 0);
        if (n < 0) load_die("request %zu: send: %s", f->begun, strerror(errno));
        sent += (size_t)n;
    }
    f->running++;
}

static void reopen(flood *f, wire *w) {
    close(w->fd);
    f->reconnected++;
    open_wire(f, w);
}

static void read_wire(flood *f, wire *w) {
    static char buffer[65536];
    ssize_t n = recv(w->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 && w->busy)
        load_die("after %zu answers a connection ended within one: %s", f->answered, n ? strerror(errno) : "closed");
    if (n <= 0) { /* between two answers a server may */
        reopen(f, w);
        return;
    }
    load_reply_feed(&w->reply, buffer, (size_t)n);
    if (w->reply.state == LOAD_BROKEN || w->reply.state == LOAD_UNTIL_CLOSE)
        load_die("after %zu answers one can't be read: %.*s", f->answered, (int)n, buffer);
    if (w->reply.state != LOAD_COMPLETE) return;
    if (w->reply.status != 200 && !f->refused++)
        fprintf(stderr, "gateway_load: the first refusal: %.*s\n", (int)n, buffer);
    f->answered++, f->running--;
    if (w->reply.closes) reopen(f, w);
    next(f, w);
}

static void print_figures(const flood *f) {
    printf("{\"s\":%.3f,\"answered\":%zu,\"refused\":%zu,\"reconnected\":%zu}\n",
           (double)(load_now_ns() - f->start_ns) / 1e9, f->answered, f->refused, f->reconnected);
}

int load_flood(const load_options *o) {
    flood f = {.o = o, .requests = load_read_requests(o->bodies_path, &o->to, o->key), .epoll = epoll_create1(0)};
    wire *wires = load_array(o->connections, sizeof *wires);
    for (size_t i = 0; i < o->connections; i++) open_wire(&f, &wires[i]);
    f.start_ns = load_now_ns();
    for (size_t i = 0; i < o->connections; i++) next(&f, &wires[i]);
    uint64_t told_ns = f.start_ns, alive_ns = f.start_ns;
    while (f.running) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(f.epoll, events, EVENTS, 1000);
        for (int i = 0; i < n; i++) read_wire(&f, events[i].data.ptr);
        uint64_t now = load_now_ns();
        if (n > 0) alive_ns = now;
        if (now - alive_ns > MAX_WAIT_MS * 1000000ull)
            load_die("nothing came for %d s: %zu answers, %zu awaited", MAX_WAIT_MS / 1000, f.answered, f.running);
        if (now - told_ns < 1000000000u) continue;
        print_figures(&f);
        told_ns = now;
    }
    print_figures(&f);
    return f.refused > 0;
}

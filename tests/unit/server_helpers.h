/* server_helpers.h: a server on a loop in a thread of its own, whose handlers do what the path says, and raw sockets
 * to talk to it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TEST_SERVER_HELPERS_H
#define WEIRP_TEST_SERVER_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "src/net/server.h"

#define HOST "Host: test\r\n"

enum { STREAM_EVENT = 1000 }; /* bytes of an event of /flood */

/* What a handler keeps for a call. */
typedef struct request_state {
    struct house *house;
    weirp_call *call;
    weirp_timer *timer;
    unsigned left, number; /* events to write, and written */
    bool gone;
} request_state;

typedef struct house {
    weirp_server_options options; /* set before house_open */
    weirp_loop *loop;
    weirp_server *server;
    int listen_fd;
    uint16_t port;
    pthread_t thread;
    weirp_call *held; /* of the last /hold */
    atomic_int n_requests, n_gone, n_end, n_drained, n_refused_writes, n_wrong;
    atomic_size_t n_written;
    atomic_uint_fast64_t last_gone_ns;
} house;

static inline void nap_ms(long ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* True as soon as *counter is at least `n`. */
static inline bool wait_for(atomic_int *counter, int n, int ms) {
    for (uint64_t end = weirp_monotonic_ns() + (uint64_t)ms * 1000000; weirp_monotonic_ns() < end; nap_ms(1))
        if (atomic_load(counter) >= n) return true;
    return atomic_load(counter) >= n;
}

/* ---- handlers: in the loop's thread, so that they count what is wrong instead of asserting ---- */

static void answer_text(weirp_call *call, int status, const char *text) {
    weirp_field fields[] = {{"Content-Type", "text/plain"}, {"X-Test", "yes"}};
    weirp_call_answer(call, status, fields, 2, text, strlen(text));
}

static void answer_hello(void *user) {
    answer_text(user, 200, "hello");
}

static void write_event(void *user) {
    request_state *s = user;
    char event[64];
    int n = snprintf(event, sizeof event, "data: %u\n\n", s->number++);
    weirp_call_write(s->call, event, (size_t)n);
    if (--s->left == 0)
        weirp_call_finish(s->call);
    else
        weirp_timer_start(s->timer, 10);
}

/* As fast as the client reads: numbered events, until it says stop. */
static void flood(request_state *s) {
    char event[STREAM_EVENT + 1];
    while (s->left) {
        s->left--;
        snprintf(event, sizeof event, "%0*u", STREAM_EVENT, s->number++);
        s->house->n_written += STREAM_EVENT;
        if (weirp_call_write(s->call, event, STREAM_EVENT)) continue;
        s->house->n_refused_writes++;
        return;
    }
    weirp_call_finish(s->call);
}

static void describe(weirp_call *call) {
    char peer[64], text[2048];
    size_t len;
    const char *header = weirp_call_header(call, "x-OTHER"), *query = weirp_call_query(call, "q");
    const char *body = weirp_call_body(call, &len);
    snprintf(text, sizeof text, "%s %s q=%s x=%s len=%zu nul=%d peer=%s", weirp_call_method(call),
             weirp_call_path(call), query ? query : "-", header ? header : "-", len, body[len],
             weirp_call_peer(call, peer, sizeof peer));
    answer_text(call, 200, text);
}

static void begin(weirp_call *call, int status) {
    weirp_field type = {"Content-Type", "text/event-stream"};
    weirp_call_begin(call, status, &type, 1);
}

static unsigned query_number(const weirp_call *call, const char *name, unsigned otherwise) {
    const char *text = weirp_call_query(call, name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void on_request(void *user, weirp_call *call) {
    house *h = user;
    h->n_requests++;
    request_state *s = calloc(1, sizeof *s);
    if (!s) abort();
    *s = (request_state){.house = h, .call = call, .left = query_number(call, "n", 3)};
    weirp_call_set_user(call, s);
    const char *path = weirp_call_path(call);
#define IS(text) (strcmp(path, text) == 0)
    if (IS("/posted")) {
        weirp_loop_post(h->loop, answer_hello, call);
    } else if (IS("/timer")) {
        if (weirp_timer_new(&s->timer, h->loop, answer_hello, call, NULL) == WEIR_OK) weirp_timer_start(s->timer, 20);
    } else if (IS("/describe")) {
        describe(call);
    } else if (IS("/echo")) {
        size_t len;
        const char *body = weirp_call_body(call, &len);
        weirp_call_answer(call, 200, NULL, 0, body, len);
    } else if (IS("/stream") || IS("/empty")) {
        begin(call, IS("/empty") ? 204 : 200);
        if (weirp_timer_new(&s->timer, h->loop, write_event, s, NULL) == WEIR_OK) weirp_timer_start(s->timer, 60);
    } else if (IS("/burst")) { /* all of it before the head has gone out */
        begin(call, 200);
        for (; s->left; s->left--) weirp_call_write(call, "burst ", 6);
        weirp_call_write(call, "", 0);
        weirp_call_finish(call);
    } else if (IS("/flood")) {
        begin(call, 200);
        flood(s);
    } else if (IS("/abort")) {
        weirp_call_abort(call);
    } else if (IS("/silent") || IS("/hold")) {
        h->held = call;
    } else if (IS("/open")) {
        h->held = call;
        begin(call, 200);
    } else if (IS("/fields")) {
        weirp_field bad[] = {{"X-A", "a\r\nX-Evil: 1"}, {"X-B\r\n", "b"}, {"Content-Length", "3"}, {"X-Good", "c"}};
        weirp_call_answer(call, 200, bad, 4, "fields", 6);
    } else {
        answer_text(call, IS("/") ? 200 : 404, IS("/") ? "hello" : "what?");
    }
#undef IS
}

static int on_head(void *user, weirp_call *call) {
    (void)user;
    if (!weirp_call_header(call, "X-Refuse")) return 0;
    if (strcmp(weirp_call_header(call, "X-Refuse"), "silently") != 0) answer_text(call, 401, "who are you?");
    return 401;
}

static void on_drained(void *user, weirp_call *call) {
    house *h = user;
    h->n_drained++;
    flood(weirp_call_user(call));
}

static void on_gone(void *user, weirp_call *call) {
    house *h = user;
    request_state *s = weirp_call_user(call);
    h->n_wrong += !s || s->gone;
    if (s) s->gone = true;
    if (s && s->timer) weirp_timer_stop(s->timer);
    weirp_call_write(call, "nowhere", 7); /* all of these are to be harmless */
    weirp_call_answer(call, 200, NULL, 0, "nowhere", 7);
    weirp_call_finish(call);
    weirp_call_abort(call);
    h->last_gone_ns = weirp_monotonic_ns();
    h->n_gone++;
}

static void on_end(void *user, weirp_call *call) {
    house *h = user;
    request_state *s = weirp_call_user(call);
    if (h->held == call) h->held = NULL;
    if (s) weirp_timer_free(s->timer);
    free(s);
    h->n_end++;
}

/* ---- the house ---- */

static void *house_run(void *user) {
    house *h = user;
    if (weirp_loop_run(h->loop, NULL) != WEIR_OK) h->n_wrong++;
    return NULL;
}

static void house_open(house *h) {
    weir_error err = {0};
    weirp_server_handlers handlers = {h, on_head, on_request, on_drained, on_gone, on_end};
    assert_int_equal(weirp_listen(&h->listen_fd, "127.0.0.1:0", 512, false, &err), WEIR_OK);
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(h->listen_fd, (struct sockaddr *)&at, &len), 0);
    h->port = ntohs(at.sin_port);
    h->options.listen_fd = h->listen_fd;
    assert_int_equal(weirp_loop_new(&h->loop, &err), WEIR_OK);
    assert_int_equal(weirp_server_new(&h->server, h->loop, &h->options, &handlers, &err), WEIR_OK);
    assert_int_equal(pthread_create(&h->thread, NULL, house_run, h), 0);
}

static void house_close(house *h) {
    if (!h->loop) return;
    weirp_loop_stop(h->loop);
    pthread_join(h->thread, NULL);
    weirp_server_free(h->server);
    weirp_loop_free(h->loop);
    close(h->listen_fd);
    h->loop = NULL;
}

/* Runs task(house) in the loop's thread and waits for it. */
typedef struct errand {
    void (*task)(house *);
    house *house;
    sem_t done;
} errand;

static inline void errand_run(void *user) {
    errand *e = user;
    e->task(e->house);
    sem_post(&e->done);
}

static inline void house_do(house *h, void (*task)(house *)) {
    errand e = {.task = task, .house = h};
    sem_init(&e.done, 0, 0);
    assert_true(weirp_loop_post(h->loop, errand_run, &e));
    while (sem_wait(&e.done) != 0) continue;
    sem_destroy(&e.done);
}

/* Fresh, and closed after the test. */
static inline int set_up(void **state) {
    *state = calloc(1, sizeof(house));
    return *state ? 0 : -1;
}

static inline int tear_down(void **state) {
    house *h = *state;
    house_close(h);
    int wrong = h->n_wrong;
    free(h);
    return wrong ? -1 : 0;
}

/* ---- clients ---- */

static inline int dial(const house *h) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(h->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

/* Sends what it can; a server that has closed is no failure. */
static inline void say_bytes(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) return;
        bytes += n;
        len -= (size_t)n;
    }
}

static inline void say(int fd, const char *text) {
    say_bytes(fd, text, strlen(text));
}

typedef struct heard {
    char *bytes; /* NUL-terminated */
    size_t len;
    bool closed, reset; /* by the server */
} heard;

/* Hears until `until` is there (NULL: anything), the server closes, or ms have passed. Free .bytes. */
static inline heard hear(int fd, const char *until, int ms) {
    size_t room = 1 << 16;
    heard h = {.bytes = malloc(room)};
    assert_non_null(h.bytes);
    h.bytes[0] = 0;
    uint64_t end = weirp_monotonic_ns() + (uint64_t)ms * 1000000;
    size_t tail = until ? strlen(until) + 65536 : 0; /* looked through after each piece, instead of all again */
    while (!until || !strstr(h.bytes + (h.len > tail ? h.len - tail : 0), until)) {
        uint64_t now = weirp_monotonic_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= end || poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0) break;
        if (h.len + 1 == room) {
            h.bytes = realloc(h.bytes, room *= 2);
            assert_non_null(h.bytes);
        }
        ssize_t n = recv(fd, h.bytes + h.len, room - h.len - 1, 0);
        if (n <= 0) {
            h.closed = true;
            h.reset = n < 0;
            break;
        }
        h.len += (size_t)n;
        h.bytes[h.len] = 0;
        if (!until) break;
    }
    return h;
}

/* Whole of what the server says to `request` until it closes. */
static inline heard ask(const house *h, const char *request) {
    int fd = dial(h);
    say(fd, request);
    heard answer = hear(fd, "\x01never", 3000);
    close(fd);
    return answer;
}

static inline int status_of(const heard *h) {
    return h->len > 12 && strncmp(h->bytes, "HTTP/1.1 ", 9) == 0 ? atoi(h->bytes + 9) : 0;
}

static inline bool server_closes(int fd, int ms) {
    uint64_t end = weirp_monotonic_ns() + (uint64_t)ms * 1000000;
    while (weirp_monotonic_ns() < end) {
        heard h = hear(fd, "\x01never", 20);
        free(h.bytes);
        if (h.closed) return true;
    }
    return false;
}

#endif

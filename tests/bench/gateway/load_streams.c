/* load_streams.c: many streams at once, every event's number checked. Commands come on standard input, a word a line:
 *
 *   count    the figures so far
 *   resume   reads on where --stop-after had stopped
 *   leave    closes all streams at once; reset: by a reset
 *
 * and each is answered by a line of JSON. The end of standard input ends the program.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/gateway/load.h"

enum { EVENTS = 512, PREFIX = 1024, READS = 4, NUMBER_DIGITS = 9 };

typedef enum phase { NOT_YET, CONNECTING, READING, STOPPED, ENDED, CUT, FAILED, LEFT, N_PHASES } phase;

typedef struct stream {
    int fd;
    phase phase;
    load_reply reply;
    uint64_t next, lost, moved, events, bytes;
    bool done; /* [DONE] was there */
    size_t line_len;
    char line[PREFIX]; /* the beginning of the event's line */
} stream;

typedef struct crowd {
    const load_options *o;
    load_requests requests;
    int epoll;
    stream *all; /* (o->streams) */
    size_t opened;
    uint64_t start_ns;
    bool resumed, over;
    int last_status, last_errno;
} crowd;

/* ---- events ---- */

/* The simulated vendor's numbered events begin with nine digits. */
static void take_number(stream *s) {
    static const char key[] = "\"content\":\"";
    char *at = strstr(s->line, key), *end;
    if (!at) return;
    at += sizeof key - 1;
    uint64_t number = strtoull(at, &end, 10);
    if (end - at != NUMBER_DIGITS) return;
    s->events++;
    if (number < s->next) {
        s->moved++;
    } else {
        s->lost += number - s->next;
        s->next = number + 1;
    }
}

static void take_body(void *user, const char *bytes, size_t size) {
    stream *s = user;
    s->bytes += size;
    while (size) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end ? (size_t)(end - bytes) : size, room = PREFIX - 1 - s->line_len;
        size_t kept = n < room ? n : room;
        memcpy(s->line + s->line_len, bytes, kept);
        s->line_len += kept;
        if (!end) return;
        s->line[s->line_len] = 0;
        if (!strncmp(s->line, "data: [DONE]", 12))
            s->done = true;
        else if (!strncmp(s->line, "data: ", 6))
            take_number(s);
        s->line_len = 0;
        bytes += n + 1, size -= n + 1;
    }
}

/* ---- connections ---- */

static void watch(crowd *c, stream *s, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(c->epoll, op, s->fd, &e)) load_die("epoll_ctl: %s", strerror(errno));
}

static void open_stream(crowd *c, stream *s) {
    s->fd = load_connect(&c->o->to, false, c->o->rcvbuf);
    s->reply = (load_reply){.body = take_body, .user = s};
    s->phase = CONNECTING;
    watch(c, s, EPOLL_CTL_ADD, EPOLLOUT);
}

static void end_stream(crowd *c, stream *s, phase how) {
    if (how == FAILED || how == CUT) c->last_status = s->reply.status;
    close(s->fd);
    s->fd = -1;
    s->phase = how;
}

static void send_request(crowd *c, stream *s) {
    const load_request *r = &c->requests.at[(size_t)(s - c->all) % c->requests.n];
    /* a fresh socket's buffer holds a request */
    ssize_t n = send(s->fd, r->bytes, r->size, 0);
    if (n != (ssize_t)r->size) {
        c->last_errno = n < 0 ? errno : EMSGSIZE;
        end_stream(c, s, FAILED);
        return;
    }
    s->phase = READING;
    watch(c, s, EPOLL_CTL_MOD, EPOLLIN);
}

static void read_stream(crowd *c, stream *s) {
    static char buffer[65536];
    for (int i = 0; i < READS && s->phase == READING; i++) {
        size_t most = c->o->stop_after && !c->resumed ? 4096 : sizeof buffer;
        ssize_t n = recv(s->fd, buffer, most, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            if (n < 0) c->last_errno = errno;
            end_stream(c, s, CUT);
            return;
        }
        load_reply_feed(&s->reply, buffer, (size_t)n);
        if (s->reply.state == LOAD_BROKEN || (s->reply.state > LOAD_HEADERS && s->reply.status != 200)) {
            fprintf(stderr, "gateway_load: stream %zd: %.*s\n", s - c->all, (int)(n < 600 ? n : 600), buffer);
            end_stream(c, s, FAILED);
        } else if (s->reply.state == LOAD_COMPLETE) {
            end_stream(c, s, s->done ? ENDED : CUT);
        } else if (c->o->stop_after && !c->resumed && s->events >= c->o->stop_after) {
            s->phase = STOPPED;
            watch(c, s, EPOLL_CTL_DEL, 0);
        }
    }
}

static void open_due(crowd *c) {
    double due = (double)(load_now_ns() - c->start_ns) / 1e9 * c->o->per_s;
    while (!c->over && c->opened < c->o->streams && (double)c->opened <= due) open_stream(c, &c->all[c->opened++]);
}

/* ---- commands ---- */

static void print_figures(const crowd *c) {
    static const char *const names[N_PHASES] = {"not_yet", "connecting", "reading", "stopped",
                                                "ended",   "cut",        "failed",  "left"};
    size_t phases[N_PHASES] = {0};
    uint64_t events = 0, lost = 0, moved = 0, bytes = 0, least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < c->o->streams; i++) {
        const stream *s = &c->all[i];
        phases[s->phase]++;
        events += s->events, lost += s->lost, moved += s->moved, bytes += s->bytes;
        if (s->events < least) least = s->events;
        if (s->events > most) most = s->events;
    }
    printf("{\"unix_ms\":%.3f,\"events\":%llu,\"lost\":%llu,\"moved\":%llu,\"bytes\":%llu,\"least\":%llu,\"most\":%llu,"
           "\"last_status\":%d,\"last_error\":\"%s\"",
           load_unix_ms(), (unsigned long long)events, (unsigned long long)lost, (unsigned long long)moved,
           (unsigned long long)bytes, (unsigned long long)least, (unsigned long long)most, c->last_status,
           c->last_errno ? strerror(c->last_errno) : "");
    for (size_t p = 0; p < N_PHASES; p++) printf(",\"%s\":%zu", names[p], phases[p]);
    printf("}\n");
}

static void resume(crowd *c) {
    c->resumed = true;
    for (size_t i = 0; i < c->opened; i++) {
        if (c->all[i].phase != STOPPED) continue;
        c->all[i].phase = READING;
        watch(c, &c->all[i], EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void leave(crowd *c, bool reset) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    double first_ms = load_unix_ms();
    size_t n = 0;
    c->over = true;
    for (size_t i = 0; i < c->opened; i++) {
        stream *s = &c->all[i];
        if (s->fd < 0) continue;
        if (reset) setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        end_stream(c, s, LEFT);
        n++;
    }
    printf("{\"left\":%zu,\"first_ms\":%.3f,\"last_ms\":%.3f}\n", n, first_ms, load_unix_ms());
}

/* False: standard input has ended. */
static bool obey(crowd *c) {
    static char text[256];
    ssize_t n = read(STDIN_FILENO, text, sizeof text - 1);
    if (n <= 0) return false;
    text[n] = 0;
    for (char *save, *word = strtok_r(text, "\n", &save); word; word = strtok_r(NULL, "\n", &save)) {
        if (!strcmp(word, "leave") || !strcmp(word, "reset")) {
            leave(c, *word == 'r');
            continue;
        }
        if (!strcmp(word, "resume"))
            resume(c);
        else if (strcmp(word, "count") != 0)
            load_die("\"%s\" is no command", word);
        print_figures(c);
    }
    return true;
}

int load_streams(const load_options *o) {
    crowd c = {.o = o, .requests = load_read_requests(o->bodies_path, &o->to, o->key), .epoll = epoll_create1(0)};
    c.all = load_array(o->streams, sizeof *c.all);
    for (size_t i = 0; i < o->streams; i++) c.all[i].fd = -1;
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(c.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &in)) load_die("standard input: %s", strerror(errno));
    c.start_ns = load_now_ns();
    for (;;) {
        open_due(&c);
        struct epoll_event events[EVENTS];
        int n = epoll_wait(c.epoll, events, EVENTS, c.opened < o->streams && !c.over ? 1 : 1000);
        for (int i = 0; i < n; i++) {
            stream *s = events[i].data.ptr;
            if (!s && !obey(&c)) return 0;
            if (!s || s->fd < 0) continue;
            if (s->phase == CONNECTING)
                send_request(&c, s);
            else
                read_stream(&c, s);
        }
    }
}

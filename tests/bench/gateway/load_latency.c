/* load_latency.c: the same request past the gateway and through it, in turns, on one connection each. Which of the two
 * goes first is drawn for each pair, so that what the one leaves in caches hits both alike.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/bench/gateway/load.h"

typedef struct line {
    int fd;
    const char *name;
    load_requests requests;
    uint64_t bytes; /* of bodies that came */
} line;

static void count_bytes(void *user, const char *bytes, size_t size) {
    (void)bytes;
    ((line *)user)->bytes += size;
}

static double call_us(line *l, size_t i) {
    static char buffer[65536];
    const load_request *request = &l->requests.at[i % l->requests.n];
    load_reply reply = {.body = count_bytes, .user = l};
    uint64_t begin = load_now_ns();
    for (size_t sent = 0; sent < request->size;) {
        ssize_t n = send(l->fd, request->bytes + sent, request->size - sent, 0);
        if (n < 0) load_die("%s: call %zu: send: %s", l->name, i, strerror(errno));
        sent += (size_t)n;
    }
    while (reply.state != LOAD_COMPLETE) {
        ssize_t n = recv(l->fd, buffer, sizeof buffer, 0);
        if (n <= 0) load_die("%s: call %zu: %s", l->name, i, n ? strerror(errno) : "the connection was closed");
        load_reply_feed(&reply, buffer, (size_t)n);
        if (reply.state == LOAD_BROKEN || (reply.state > LOAD_HEADERS && reply.status != 200))
            load_die("%s: call %zu: status %d: %.*s", l->name, i, reply.status, (int)n, buffer);
    }
    return (double)(load_now_ns() - begin) / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_figures(const char *name, double *us, size_t n) {
    static const struct {
        const char *name;
        double at;
    } quantiles[] = {{"least", 0}, {"p10", .1}, {"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"most", 1}};
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += us[i];
    qsort(us, n, sizeof *us, by_value);
    printf("\"%s\":{\"mean\":%.2f", name, sum / (double)n);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        printf(",\"%s\":%.2f", quantiles[i].name, us[(size_t)(quantiles[i].at * (double)(n - 1) + .5)]);
    printf("}");
}

int load_latency(const load_options *o) {
    if (!o->direct.sin_port) load_die("--direct is missing");
    if (!o->pairs) load_die("--pairs is 0");
    line through = {.fd = load_connect(&o->to, true, 0),
                    .name = "through",
                    .requests = load_read_requests(o->bodies_path, &o->to, o->key)};
    line direct = {.fd = load_connect(&o->direct, true, 0),
                   .name = "direct",
                   .requests = load_read_requests(o->bodies_path, &o->direct, o->direct_key)};
    double *t = load_array(o->pairs, sizeof *t), *d = load_array(o->pairs, sizeof *d),
           *added = load_array(o->pairs, sizeof *added);
    uint64_t chance = 88172645463325252u, size = 0;
    for (size_t i = 0; i < o->warm + o->pairs; i++) {
        chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17; /* Marsaglia, "Xorshift RNGs", 2003 */
        bool first = chance >> 63;
        double a = call_us(first ? &through : &direct, i), b = call_us(first ? &direct : &through, i);
        if (i < o->warm) continue;
        size_t k = i - o->warm;
        t[k] = first ? a : b, d[k] = first ? b : a, added[k] = t[k] - d[k];
        size += through.requests.at[i % through.requests.n].size;
    }
    printf("{\"pairs\":%zu,\"request_bytes\":%.0f,\"answer_bytes\":%.0f,", o->pairs, (double)size / (double)o->pairs,
           (double)through.bytes / (double)(o->pairs + o->warm));
    print_figures("direct_us", d, o->pairs);
    printf(",");
    print_figures("through_us", t, o->pairs);
    printf(",");
    print_figures("paired_us", added, o->pairs);
    printf("}\n");
    return 0;
}

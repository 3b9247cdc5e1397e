/* load.c: gateway_load, the client of the gateway's benchmarks. Every kind of load prints JSON, a line at a time.
 *
 *   gateway_load latency --to A --direct A --bodies FILE [--pairs N] [--warm N] [--key K] [--direct-key K]
 *   gateway_load flood   --to A --bodies FILE [--connections N] [--requests N]
 *   gateway_load streams --to A --bodies FILE [--streams N] [--per-s X] [--stop-after N] [--rcvbuf BYTES]
 *
 * A is 127.0.0.1:PORT; FILE holds a request's JSON a line, and its lines take turns. streams obeys what it reads on
 * standard input: see load_streams.c. SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/gateway/load.h"

void load_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("gateway_load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void *load_array(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) load_die("no memory for %zu times %zu bytes", n, size);
    return p;
}

static uint64_t ns_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t load_now_ns(void) {
    return ns_of(CLOCK_MONOTONIC);
}

double load_unix_ms(void) {
    return (double)ns_of(CLOCK_REALTIME) / 1e6;
}

int load_connect(const struct sockaddr_in *to, bool blocking, int rcvbuf) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0) load_die("socket: %s (ulimit -n?)", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* before connecting, for the window's scale is settled then */
    if (rcvbuf) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS)
        load_die("connect to port %d: %s", ntohs(to->sin_port), strerror(errno));
    return fd;
}

static load_request request_of(const char *body, size_t size, const struct sockaddr_in *host, const char *key) {
    char head[512];
    int n = snprintf(head, sizeof head,
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                     "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                     ntohs(host->sin_port), key ? key : "sk-bench", size);
    if (n < 0 || (size_t)n >= sizeof head) load_die("the key is too long");
    load_request r = {.bytes = load_array((size_t)n + size, 1), .size = (size_t)n + size};
    memcpy(r.bytes, head, (size_t)n);
    memcpy(r.bytes + n, body, size);
    return r;
}

load_requests load_read_requests(const char *path, const struct sockaddr_in *host, const char *key) {
    FILE *f = path ? fopen(path, "r") : NULL;
    if (!f) load_die("--bodies %s: %s", path ? path : "is missing", path ? strerror(errno) : "");
    load_requests all = {0};
    char *text = NULL;
    size_t capacity = 0, room = 0;
    for (ssize_t n; (n = getline(&text, &capacity, f)) > 0;) {
        if (text[n - 1] == '\n') n--;
        if (!n) continue;
        if (all.n == room) {
            room = room ? 2 * room : 64;
            all.at = realloc(all.at, room * sizeof *all.at);
            if (!all.at) load_die("no memory for %s", path);
        }
        all.at[all.n++] = request_of(text, (size_t)n, host, key);
    }
    free(text);
    fclose(f);
    if (!all.n) load_die("%s is empty", path);
    return all;
}

static struct sockaddr_in address_of(const char *text) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[64];
    int port;
    if (sscanf(text, "%63[0-9.]:%d", host, &port) != 2 || port < 1 || port > 65535 || !inet_aton(host, &a.sin_addr))
        load_die("\"%s\" isn't an address like 127.0.0.1:8080", text);
    a.sin_port = htons((uint16_t)port);
    return a;
}

static double number_of(const char *name, const char *text) {
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !(v >= 0 && v <= 1e12)) load_die("%s \"%s\" isn't a number", name, text);
    return v;
}

static void read_option(load_options *o, const char *name, const char *value) {
    struct {
        const char *name;
        size_t *to;
    } counts[] = {{"--pairs", &o->pairs},       {"--warm", &o->warm},       {"--connections", &o->connections},
                  {"--requests", &o->requests}, {"--streams", &o->streams}, {"--stop-after", &o->stop_after}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!strcmp(name, counts[i].name)) {
            *counts[i].to = (size_t)number_of(name, value);
            return;
        }
    if (!strcmp(name, "--to"))
        o->to = address_of(value);
    else if (!strcmp(name, "--direct"))
        o->direct = address_of(value);
    else if (!strcmp(name, "--bodies"))
        o->bodies_path = value;
    else if (!strcmp(name, "--key"))
        o->key = value;
    else if (!strcmp(name, "--direct-key"))
        o->direct_key = value;
    else if (!strcmp(name, "--per-s"))
        o->per_s = number_of(name, value);
    else if (!strcmp(name, "--rcvbuf"))
        o->rcvbuf = (int)number_of(name, value);
    else
        load_die("%s is no option", name);
}

int main(int argc, char **argv) {
    load_options o = {
        .pairs = 20000, .warm = 2000, .connections = 32, .requests = 100000, .streams = 100, .per_s = 1000};
    if (argc < 2) load_die("latency, flood or streams?");
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 == argc) load_die("%s needs a value", argv[i]);
        read_option(&o, argv[i], argv[i + 1]);
    }
    if (!o.to.sin_port) load_die("--to is missing");
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(argv[1], "latency")) return load_latency(&o);
    if (!strcmp(argv[1], "flood")) return load_flood(&o);
    if (!strcmp(argv[1], "streams")) return load_streams(&o);
    load_die("%s is no kind of load", argv[1]);
}

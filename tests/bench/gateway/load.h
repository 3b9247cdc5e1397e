/* load.h: the parts of gateway_load, the benchmarks' client. Plain sockets and no library, so that the client's own
 * time is small beside what it measures. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef GATEWAY_LOAD_H
#define GATEWAY_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct load_options {
    struct sockaddr_in to, direct; /* direct: past the gateway */
    const char *bodies_path;       /* a JSON body a line */
    const char *key, *direct_key;  /* what clients show; NULL: sk-bench */
    size_t pairs, warm;            /* latency */
    size_t connections, requests;  /* flood */
    size_t streams, stop_after;    /* stop_after: a stream isn't read on after so many events; 0: always */
    double per_s;                  /* streams opened a second */
    int rcvbuf;                    /* bytes; 0: the system's */
} load_options;

typedef struct load_request {
    char *bytes; /* head and body */
    size_t size;
} load_request;

typedef struct load_requests {
    load_request *at;
    size_t n;
} load_requests;

/* ---- load.c ---- */

_Noreturn void load_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *load_array(size_t n, size_t size); /* zeroed; ends the program where there's no memory */
load_requests load_read_requests(const char *path, const struct sockaddr_in *host, const char *key);
uint64_t load_now_ns(void);
double load_unix_ms(void);
/* A socket without Nagle's delay; blocking: connected, else on its way. Ends the program where there's none. */
int load_connect(const struct sockaddr_in *to, bool blocking, int rcvbuf);

/* ---- load_reply.c: one HTTP/1.1 answer, fed in pieces ---- */

typedef enum load_state {
    LOAD_STATUS_LINE,
    LOAD_HEADERS,
    LOAD_BODY,
    LOAD_UNTIL_CLOSE,
    LOAD_CHUNK_SIZE,
    LOAD_CHUNK,
    LOAD_CHUNK_END,
    LOAD_TRAILERS,
    LOAD_COMPLETE,
    LOAD_BROKEN, /* not HTTP as it should be */
} load_state;

enum { LOAD_LINE = 512 };

typedef struct load_reply {
    load_state state;
    int status;
    bool chunked, has_length, closes;
    uint64_t left; /* bytes of the body or chunk */
    size_t line_len;
    char line[LOAD_LINE];
    void (*body)(void *user, const char *bytes, size_t size); /* may be NULL */
    void *user;
} load_reply;

/* For the next answer on the same connection. */
void load_reply_restart(load_reply *r);
/* Bytes used: fewer than size only where the answer is complete or broken before. */
size_t load_reply_feed(load_reply *r, const char *bytes, size_t size);

/* ---- the kinds of load; each returns the program's status ---- */

int load_latency(const load_options *o);
int load_flood(const load_options *o);
int load_streams(const load_options *o);

#endif

/* client.h: HTTP requests to vendors on a loop, over libcurl's multi interface.
 *
 * Proxies are taken from the environment as libcurl does (http_proxy, https_proxy, all_proxy, no_proxy); redirects are
 * answers like others. HTTP/1.1 only: pausing an HTTP/2 stream is broken in libcurl before 8.1. Connections are kept
 * and used again. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CLIENT_H
#define WEIRP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/net/loop.h"

typedef struct weirp_client weirp_client; /* one a loop */
typedef struct weirp_fetch weirp_fetch;   /* one request under way */

/* X(name, text): how a fetch ended. */
#define WEIRP_FETCH_TABLE(X)                                                                                           \
    X(DONE, "done")                 /* a whole answer, whatever its status */                                          \
    X(CONNECT, "could not connect") /* name not found, refused, unreachable */                                         \
    X(CONNECT_TIMEOUT, "connecting took too long")                                                                     \
    X(TLS, "TLS failed")                                                                                               \
    X(FIRST_TIMEOUT, "no first byte in time")                                                                          \
    X(IDLE_TIMEOUT, "silent for too long")                                                                             \
    X(TOTAL_TIMEOUT, "took too long")                                                                                  \
    X(CUT,                                                                                                             \
      "the connection broke") /* before the answer was whole; a stale kept connection is tried again by libcurl */     \
    X(PROTOCOL, "not HTTP as it should be") /* malformed head, bad chunk, bad compression */                           \
    X(TOO_LARGE, "the answer is too large")                                                                            \
    X(NOMEM, "out of memory")                                                                                          \
    X(OTHER, "failed")

typedef enum weirp_fetch_result {
#define WEIRP_FETCH_ENUM(name, text) WEIRP_FETCH_##name,
    WEIRP_FETCH_TABLE(WEIRP_FETCH_ENUM)
#undef WEIRP_FETCH_ENUM
} weirp_fetch_result;

const char *weirp_fetch_result_text(weirp_fetch_result result);

typedef struct weirp_fetch_options {
    const char *method;         /* NULL: POST where there is a body, else GET */
    const char *url;            /* copied, like the headers */
    const char *const *headers; /* (n_headers) "Name: value" */
    size_t n_headers;
    const char *body; /* borrowed until the end: the caller may let go of it in `end`, or after weirp_fetch_cancel */
    size_t body_len;
    /* 0: no limit. Connecting includes finding the name and TLS; the first byte is waited for from then on, so that it
     * includes sending the body; time spent paused isn't idle. None fires before its time. */
    unsigned connect_ms, first_byte_ms, idle_ms, total_ms;
    size_t max_bytes;    /* of the answer's body, uncompressed; 0: no limit */
    const char *ca_file; /* whom to trust; copied; NULL: as the client */
    bool small_buffers;  /* many long-lived streams: less memory, more calls, connections apart from the others' */

    /* Handlers may call weirp_fetch_cancel (also on their own fetch), and start new fetches. */
    void *user;
    void (*head)(void *user, weirp_fetch *fetch, int status); /* the final head (no 1xx); may be NULL */
    void (*data)(void *user, weirp_fetch *fetch, const char *bytes, size_t len);
    /* Once, last; never after weirp_fetch_cancel. `what` is libcurl's sentence. The fetch is gone when it returns. */
    void (*end)(void *user, weirp_fetch *fetch, weirp_fetch_result result, const char *what);
} weirp_fetch_options;

typedef struct weirp_client_options {
    size_t max_kept_connections; /* 0: 256; a quarter is for streams */
    const char *ca_file;         /* NULL: the system's */
    int receive_buffer_bytes;    /* SO_RCVBUF, where paused bytes wait; 0: 64 KiB */
} weirp_client_options;

weir_status weirp_client_new(weirp_client **out, weirp_loop *loop, const weirp_client_options *options,
                             weir_error *err);
void weirp_client_free(weirp_client *client); /* cancels what is under way; not in a handler; NULL is fine */
size_t weirp_client_n_fetches(const weirp_client *client);

/* Starts. On failure no handler is ever called. Nothing is called before this returns. */
weir_status weirp_fetch_start(weirp_fetch **out, weirp_client *client, const weirp_fetch_options *options,
                              weir_error *err);
/* Closes the vendor's connection now, in this turn of the loop; no handler is called any more. */
void weirp_fetch_cancel(weirp_fetch *fetch);
/* What has been handed over is taken, but no more `data` comes until resume. `end` may come: when all has been handed
 * over, or the total time is up. */
void weirp_fetch_pause(weirp_fetch *fetch);
void weirp_fetch_resume(weirp_fetch *fetch);

/* Of the answer's head; borrowed until the end. NULL: absent. */
const char *weirp_fetch_header(weirp_fetch *fetch, const char *name);
int weirp_fetch_status(const weirp_fetch *fetch); /* 0: no head yet */
/* Milliseconds that Retry-After (seconds or a date) or retry-after-ms asks for; -1: neither. */
int64_t weirp_fetch_retry_after_ms(weirp_fetch *fetch);
bool weirp_fetch_reused(weirp_fetch *fetch); /* went over a kept connection */

#endif

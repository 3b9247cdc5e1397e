/* server_internal.h: what the server's files share. server.c and server_call.c are where libmicrohttpd shows: the first
 * has the daemon and the connections, the second the calls. server_head.c and server_out.c know neither of them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SERVER_INTERNAL_H
#define WEIRP_SERVER_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <microhttpd.h>

#include "src/base/base.h"
#include "src/net/server.h"

/* ---- server_head.c: what libmicrohttpd 0.9.75 lets through, and a server in front of money shouldn't ---- */

/* Filled while the fields of a head are shown to weirp_head_field in their order. */
typedef struct weirp_head {
    const char *next; /* where the next field must start if nothing is hidden between */
    unsigned n_host, n_length, n_encoding;
    bool chunked, expects, bad;
    uint64_t length; /* of the body; meaningful if n_length is 1 */
} weirp_head;

/* Length of a request's target before it is taken apart; 0: not a proper one. */
size_t weirp_head_uri(const char *uri);
void weirp_head_begin(weirp_head *head, const char *method, const char *uri, size_t uri_len, const char *version);
void weirp_head_field(weirp_head *head, const char *name, size_t name_len, const char *value, size_t value_len);
/* NULL, or why it is refused with 400. `end`: first byte after the head. */
const char *weirp_head_end(const weirp_head *head, const char *version, const char *end);

/* ---- server_out.c: bytes of a stream on their way to the socket ---- */

/* Zero-initialise. Memory is there only while bytes wait. */
typedef struct weirp_out {
    char *data;
    size_t at, len, capacity; /* data[at, len) waits */
} weirp_out;

typedef enum weirp_sent { WEIRP_SENT_ALL, WEIRP_SENT_BLOCKED, WEIRP_SENT_BROKEN } weirp_sent;

/* Adds bytes, as one chunk of a chunked body if `chunked`. False: out of memory, nothing is added. */
bool weirp_out_put(weirp_out *out, const char *bytes, size_t len, bool chunked);
weirp_sent weirp_out_send(weirp_out *out, int fd);
void weirp_out_free(weirp_out *out);
static inline size_t weirp_out_size(const weirp_out *out) {
    return out->len - out->at;
}

/* ---- connections and calls ---- */

typedef struct weirp_conn {
    weirp_server *server;
    struct MHD_Connection *mhd;
    int fd;
    bool closed;         /* by the client, or broken */
    struct event socket; /* closed by the client, or writable again; edge-triggered, for the connection's whole life */
    weirp_call *call;    /* from the end of a head to the end of its answer */
    const char *uri;     /* of the head that is being read, as sent; NULL: no request line yet */
    size_t uri_len;
    size_t n_calls;    /* so far */
    uint64_t since_ms; /* waiting for the end of a head */
    struct weirp_conn *prev, *next;
    struct weirp_conn *closed_prev, *closed_next; /* among those that are closed */
} weirp_conn;

struct weirp_call {
    weirp_server *server;
    weirp_conn *conn;
    void *user;
    const char *method, *path; /* borrowed from libmicrohttpd until `end` */

    bool known;     /* to the handlers: `end` is due */
    bool asked;     /* `request` was called */
    bool suspended; /* in libmicrohttpd */
    bool complete;  /* all of the answer is given */
    bool gone, aborted;
    bool discard; /* what comes of the body is thrown away */
    bool refused; /* an answer has gone out past libmicrohttpd: the connection only waits for the client to read it */

    char *body; /* NUL-terminated once asked */
    size_t body_len, body_capacity;
    uint64_t body_seen; /* bytes that came, thrown away or not */
    uint64_t since_ms;  /* the head was there */

    bool counted;                        /* in the server's n_chunked */
    bool parked, suspect, condemned;     /* see park_stuck */
    unsigned n_pieces, n_pieces_checked; /* of the body, that libmicrohttpd brought */

    struct MHD_Response *response; /* given, not yet queued */
    unsigned status;

    bool stream;   /* begun with weirp_call_begin, and has a body */
    bool bodiless; /* begun, but HEAD, 204 or 304: nothing that is written goes out */
    bool open;     /* the stream's head has gone out; from here on its bytes go to the socket directly */
    bool chunked;
    bool full;           /* weirp_call_write said false */
    bool blocked;        /* the socket takes no more */
    uint64_t blocked_ms; /* since */
    weirp_out out;

    bool dirty; /* in the server's list of calls to be looked at when this turn ends */
    struct weirp_call *dirty_prev, *dirty_next;
};

struct weirp_server {
    weirp_loop *loop;
    weirp_server_options options;
    weirp_server_handlers handlers;
    struct MHD_Daemon *daemon;
    int listen_fd;      /* libmicrohttpd's own copy of the descriptor */
    struct event ready; /* libmicrohttpd's epoll descriptor has something */
    weirp_timer *timer; /* libmicrohttpd's timeouts */
    weirp_timer *sweep;
    weirp_later later;
    uint64_t timer_due_ms; /* 0: not started */
    unsigned restless;     /* runs in a row after which libmicrohttpd wanted another at once */
    size_t n_chunked;      /* bodies in chunks that are coming */
    bool running, wants_run, in_later;
    bool quiesced, stopping;
    weirp_conn *conns;
    weirp_conn *closed;
    size_t n_conns, n_calls;
    weirp_call *dirty, *dirty_end;
    size_t n_dirty;
    weirp_call *spare; /* calls to be used again, linked by dirty_next */
    size_t n_spare;
};

static inline uint64_t weirp_server_now_ms(void) {
    return weirp_monotonic_ns() / 1000000;
}

void weirp_server_closed(weirp_conn *conn); /* by its client */
/* The daemon is to run before this turn ends. */
void weirp_server_want_run(weirp_server *server);
/* weirp_call_settle(call) is to run before this turn ends. */
void weirp_server_mark(weirp_call *call);
void weirp_server_unmark(weirp_call *call);

/* libmicrohttpd's callbacks for requests */
enum MHD_Result weirp_call_on_access(void *server, struct MHD_Connection *mhd, const char *url, const char *method,
                                     const char *version, const char *bytes, size_t *n_bytes, void **call);
void weirp_call_on_completed(void *server, struct MHD_Connection *mhd, void **call,
                             enum MHD_RequestTerminationCode why);

void weirp_call_settle(weirp_call *call); /* sends what waits, tells what there is to tell */
void weirp_call_lost(weirp_call *call);   /* its client has closed */
void weirp_call_resume(weirp_call *call); /* if suspended */
void weirp_call_delete(weirp_call *call);

#endif

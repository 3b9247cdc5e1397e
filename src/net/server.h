/* server.h: an HTTP/1.1 server on a loop. A call is one request and its answer.
 *
 * Order of a call's handlers: `request` once, when head and body are there; then any of `drained`; `gone` at most once;
 * `end` once, last, after which the call is no more. A request that is refused by the server itself (too large,
 * malformed) reaches no handler; one that `head` has seen gets its `end`, though `request` may never come (refused, or
 * the client left while it sent its body). All handlers run in the loop's thread, and may not free the server. A client
 * that closes only its sending direction counts as gone unless it is answered in `request`: from here both look the
 * same. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SERVER_H
#define WEIRP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/net/loop.h"

typedef struct weirp_server weirp_server;
typedef struct weirp_call weirp_call;

typedef struct weirp_field {
    const char *name, *value; /* NUL-terminated, borrowed */
} weirp_field;

typedef struct weirp_server_handlers {
    void *user;
    /* The head is there and the body is to come: 0 to take it, or a status (401, 404, 405, 413, 503) to refuse it, for
     * which the handler has given its answer with weirp_call_answer (or gets a plain one). May be NULL. Not all clients
     * read an answer before they have sent their body: it goes out after the body, which is read and thrown away,
     * unless the client asked with "Expect: 100-continue". */
    int (*head)(void *user, weirp_call *call);
    /* All of it is there. Answer now or later. */
    void (*request)(void *user, weirp_call *call);
    /* What was written has gone out so far that there is room again: only after weirp_call_write said false. */
    void (*drained)(void *user, weirp_call *call);
    /* The client has closed before the answer was complete. Nothing that is written from now on goes anywhere; the call
     * stays valid until `end`, which follows by itself. */
    void (*gone)(void *user, weirp_call *call);
    void (*end)(void *user, weirp_call *call);
} weirp_server_handlers;

typedef struct weirp_server_options {
    int listen_fd; /* listening socket, non-blocking; stays the caller's, and open until the server is freed */
    size_t max_header_bytes; /* a connection's memory for heads; 0: 8192 */
    size_t max_body_bytes;   /* 413 above; 0: 32 MiB */
    size_t max_connections;  /* 0: 10000; more are closed at once */
    unsigned idle_timeout_s; /* of a connection that neither sends nor waits for an answer, or takes nothing of the
                                answer that is there; a head may take twice as long; 0: 75 */
    size_t write_high_bytes; /* weirp_call_write says false above; 0: 64 KiB */
    /* The server's own refusals (400, 413, and what `head` refuses without an answer): the body to send, new (freed
     * with free), or NULL for plain text. `path` may be NULL. Lines that libmicrohttpd can't read at all, and heads
     * that don't fit, it refuses itself, with a page of its own (400, 414, 431, 505). */
    char *(*error_body)(void *user, int status, const char *path, const char *what);
    void *error_user;
} weirp_server_options;

/* A listening socket with SO_REUSEPORT, so that each thread can have its own. Address: "127.0.0.1:8080", "[::1]:8080",
 * ":8080" (every address), port 0: any. `first`: nobody else may listen there yet. Errors name the address. */
weir_status weirp_listen(int *fd, const char *address, int backlog, bool first, weir_error *err);
/* "127.0.0.1:8080" of a socket, for messages. */
void weirp_listen_name(int fd, char *out, size_t size);

weir_status weirp_server_new(weirp_server **out, weirp_loop *loop, const weirp_server_options *options,
                             const weirp_server_handlers *handlers, weir_error *err);
void weirp_server_quiesce(weirp_server *server); /* takes no new connections; those there are may go on and are closed
                                                    after their answer */
size_t weirp_server_n_calls(const weirp_server *server);       /* under way */
size_t weirp_server_n_connections(const weirp_server *server); /* open */
/* Breaks off what is under way (`gone` where it applies, then `end`) and closes. NULL is fine. */
void weirp_server_free(weirp_server *server);

/* ---- the request; everything borrowed until `end` ---- */

const char *weirp_call_method(const weirp_call *call);
const char *weirp_call_path(const weirp_call *call);                     /* without the query, as sent */
const char *weirp_call_header(const weirp_call *call, const char *name); /* NULL: absent; the first of several */
const char *weirp_call_query(const weirp_call *call, const char *name);  /* NULL: absent */
const char *weirp_call_body(const weirp_call *call, size_t *len);        /* NUL-terminated; never NULL */
/* All fields of the head, in their order. */
void weirp_call_each_header(const weirp_call *call, void (*fn)(void *user, const char *name, const char *value),
                            void *user);
/* The connection's socket, for what HTTP has no words for (a reset, half a head); borrowed. Who writes to it ends the
 * call with weirp_call_abort, and with nothing else. */
int weirp_call_socket(const weirp_call *call);
const char *weirp_call_peer(const weirp_call *call, char *out, size_t size); /* client's address without port */
void weirp_call_set_user(weirp_call *call, void *user);
void *weirp_call_user(const weirp_call *call);

/* ---- the answer: either all at once, or begin, write, ..., finish ---- */

/* Bytes are copied. Header names and values must not hold CR, LF or NUL (such a field is left out). */
void weirp_call_answer(weirp_call *call, int status, const weirp_field *fields, size_t n_fields, const char *body,
                       size_t len);
/* The head goes out at once. */
void weirp_call_begin(weirp_call *call, int status, const weirp_field *fields, size_t n_fields);
/* Queues bytes (copied). False: the client reads too slowly; stop until `drained`. The bytes of this call are kept in
 * any case. */
bool weirp_call_write(weirp_call *call, const char *bytes, size_t len);
void weirp_call_finish(weirp_call *call);
int weirp_call_status(const weirp_call *call); /* of the answer, as it was given; 0: none yet */
/* Breaks the connection in the middle, so that the client doesn't take what it has for the whole. */
void weirp_call_abort(weirp_call *call);

#endif

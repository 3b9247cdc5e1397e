/* server_call.c: calls: a request as libmicrohttpd brings it, and its answer.
 *
 * A call that isn't answered in `request` is suspended, and resumed when there is an answer. libmicrohttpd looks
 * through all its suspended connections whenever one is resumed, so that with thousands of streams each event would
 * cost more for those that wait than for itself; therefore libmicrohttpd sends a stream's head and its end, and what is
 * between goes to the socket from here, while the connection stays suspended. That is sound because the content reader
 * is asked for the first byte only when the head has gone to the kernel. SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "src/net/server_internal.h"

enum {
    BODY_FIRST = 4096,       /* bytes */
    BODY_TRUST = 64 << 10,   /* of a Content-Length that room is made for before the bytes are there */
    SPARE_CALLS = 256,       /* kept to be used again */
    SPARE_BODY = 16 << 10,   /* bytes of a body's memory kept with one */
    STREAM_BLOCK = 16,       /* libmicrohttpd's own buffer for a stream, which is never filled */
    LINGER_BYTES = 64 << 20, /* of a body that was refused are read, so that the client gets to read its answer */
};

/* ---- life ---- */

static weirp_call *call_new(weirp_server *server, weirp_conn *conn) {
    weirp_call *call = server->spare;
    if (call) {
        server->spare = call->dirty_next;
        server->n_spare--;
        char *body = call->body;
        size_t capacity = call->body_capacity;
        *call = (weirp_call){.body = body, .body_capacity = capacity};
    } else {
        call = weirp_array(1, sizeof *call);
        if (!call) return NULL;
    }
    call->server = server;
    call->conn = conn;
    call->since_ms = weirp_server_now_ms();
    conn->call = call;
    conn->n_calls++;
    server->n_calls++;
    return call;
}

void weirp_call_delete(weirp_call *call) {
    if (call->response) MHD_destroy_response(call->response);
    weirp_out_free(&call->out);
    free(call->body);
    free(call);
}

/* The body is there, or won't come. */
static void body_done(weirp_call *call) {
    if (call->counted) call->server->n_chunked--;
    call->counted = false;
}

static void call_recycle(weirp_call *call) {
    weirp_server *server = call->server;
    body_done(call);
    server->n_calls--;
    if (server->n_spare >= SPARE_CALLS || server->stopping) {
        weirp_call_delete(call);
        return;
    }
    if (call->response) MHD_destroy_response(call->response);
    call->response = NULL;
    weirp_out_free(&call->out);
    if (call->body_capacity > SPARE_BODY) {
        free(call->body);
        call->body = NULL;
        call->body_capacity = 0;
    }
    call->dirty_next = server->spare;
    server->spare = call;
    server->n_spare++;
}

void weirp_call_resume(weirp_call *call) {
    if (!call->suspended) return;
    call->suspended = false;
    MHD_resume_connection(call->conn->mhd);
    if (!call->server->stopping) weirp_server_want_run(call->server);
}

static void suspend(weirp_call *call) {
    if (call->suspended) return;
    call->suspended = true;
    MHD_suspend_connection(call->conn->mhd);
}

/* Nothing that the handlers give changes the answer any more. */
static bool is_over(const weirp_call *call) {
    return call->gone || call->aborted || call->complete;
}

static void tell_gone(weirp_call *call) {
    if (!call->asked || is_over(call)) return;
    call->gone = true;
    const weirp_server_handlers *h = &call->server->handlers;
    if (h->gone) h->gone(h->user, call);
}

void weirp_call_on_completed(void *user, struct MHD_Connection *mhd, void **slot, enum MHD_RequestTerminationCode why) {
    (void)why;
    weirp_server *server = user;
    weirp_conn *conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (conn) {
        conn->uri = NULL;
        conn->call = NULL;
        conn->since_ms = weirp_server_now_ms();
    }
    weirp_call *call = *slot;
    *slot = NULL;
    if (!call) return;
    call->suspended = false;
    tell_gone(call);
    call->gone = true;
    if (call->known && server->handlers.end) server->handlers.end(server->handlers.user, call);
    weirp_server_unmark(call);
    call_recycle(call);
}

/* ---- refusals of the server's own ---- */

static char *refusal_body(weirp_call *call, int status, const char *what, size_t *len) {
    const weirp_server_options *o = &call->server->options;
    char *body = o->error_body ? o->error_body(o->error_user, status, call->path, what) : NULL;
    if (!body) {
        size_t size = strlen(what) + 2;
        body = malloc(size);
        if (body) snprintf(body, size, "%s\n", what);
    }
    *len = body ? strlen(body) : 0;
    return body;
}

static const char *refusal_type(const char *body) {
    return body && *body == '{' ? "application/json" : "text/plain; charset=utf-8";
}

static void refuse(weirp_call *call, int status, const char *what) {
    size_t len;
    char *body = refusal_body(call, status, what, &len);
    weirp_field type = {"Content-Type", refusal_type(body)};
    weirp_call_answer(call, status, &type, 1, body ? body : "", len);
    free(body);
}

/* In the middle of a body libmicrohttpd takes no answer, and an early one it follows by closing, which resets the
 * connection under a client that is still sending. So the answer goes out past it, and the rest of the body is read and
 * thrown away until the client has seen the answer and closes. */
static void refuse_aside(weirp_call *call, int status, const char *reason, const char *what) {
    call->discard = call->refused = call->complete = true;
    size_t len;
    char *body = refusal_body(call, status, what, &len);
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status,
                     reason, refusal_type(body), len);
    weirp_out out = {0};
    if (weirp_out_put(&out, head, (size_t)n, false) && weirp_out_put(&out, body ? body : "", len, false))
        weirp_out_send(&out,
                       call->conn->fd); /* what doesn't fit into an idle socket's buffer is not worth waiting for */
    weirp_out_free(&out);
    free(body);
    shutdown(call->conn->fd, SHUT_WR);
}

/* ---- the request ---- */

static enum MHD_Result on_field(void *user, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                const char *value, size_t value_len) {
    (void)kind;
    weirp_head_field(user, name, name_len, value ? value : "", value ? value_len : 0);
    return MHD_YES;
}

static const char *check_head(weirp_head *head, const weirp_conn *conn, const char *method, const char *version) {
    weirp_head_begin(head, method, conn->uri ? conn->uri : "", conn->uri_len, version);
    MHD_get_connection_values_n(conn->mhd, MHD_HEADER_KIND, on_field, head);
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return weirp_head_end(head, version, method + (size ? size->header_size : 0));
}

static bool body_room(weirp_call *call, size_t need) {
    if (need + 1 <= call->body_capacity) return true; /* and the NUL */
    size_t capacity = call->body_capacity ? call->body_capacity : BODY_FIRST;
    while (capacity < need + 1) capacity *= 2;
    char *body = realloc(call->body, capacity);
    if (!body) return false;
    call->body = body;
    call->body_capacity = capacity;
    return true;
}

static enum MHD_Result queue(weirp_call *call) {
    enum MHD_Result queued = MHD_queue_response(call->conn->mhd, call->status, call->response);
    MHD_destroy_response(call->response);
    call->response = NULL;
    return queued;
}

/* The head is there. What is refused while a body is to come is answered after it, unless the client waits to hear
 * whether it may send. */
static enum MHD_Result take_head(weirp_call *call, const char *method, const char *version) {
    weirp_server *server = call->server;
    const weirp_server_options *o = &server->options;
    weirp_head head;
    const char *wrong = check_head(&head, call->conn, method, version);
    if (wrong) {
        refuse(call, 400, wrong); /* answered before the end of the body: closes */
        return call->response ? queue(call) : MHD_NO;
    }
    call->chunked = strcmp(version, "HTTP/1.1") >= 0;
    bool has_body = head.chunked || head.length > 0;
    call->counted = head.chunked;
    server->n_chunked += head.chunked;
    if (head.length > o->max_body_bytes) {
        static const char what[] = "the body is too large";
        if (!head.expects) {
            refuse_aside(call, 413, "Content Too Large", what);
            return MHD_YES;
        }
        refuse(call, 413, what);
        return call->response ? queue(call) : MHD_NO;
    }
    if (server->handlers.head) {
        call->known = true;
        int status = server->handlers.head(server->handlers.user, call);
        if (status && !is_over(call)) refuse(call, status, "refused");
        if (call->aborted) return MHD_NO;
        if (call->response) {
            call->discard = true;
            if (has_body && head.expects) return queue(call);
            return MHD_YES;
        }
    }
    size_t expected = head.length < BODY_TRUST ? (size_t)head.length : BODY_TRUST;
    return !has_body || body_room(call, expected) ? MHD_YES : MHD_NO;
}

static enum MHD_Result take_body(weirp_call *call, const char *bytes, size_t n) {
    call->body_seen += n;
    call->n_pieces++;
    if (call->refused) return call->body_seen > LINGER_BYTES ? MHD_NO : MHD_YES;
    if (call->body_seen > call->server->options.max_body_bytes) {
        refuse_aside(call, 413, "Content Too Large", "the body is too large");
        return MHD_YES;
    }
    if (call->discard) return MHD_YES;
    if (!body_room(call, call->body_len + n)) return MHD_NO;
    memcpy(call->body + call->body_len, bytes, n);
    call->body_len += n;
    return MHD_YES;
}

/* All is there, or the call was resumed. */
static enum MHD_Result take_all(weirp_call *call) {
    const weirp_server_handlers *h = &call->server->handlers;
    body_done(call);
    if (call->refused) return MHD_NO;
    if (!call->asked && !call->response) {
        if (!body_room(call, call->body_len)) return MHD_NO;
        call->body[call->body_len] = 0;
        call->asked = call->known = true;
        h->request(h->user, call);
    }
    if (call->gone || call->aborted) return MHD_NO;
    if (call->response && (!call->bodiless || call->complete)) return queue(call);
    suspend(call);
    if (call->conn->closed) weirp_server_mark(call);
    return MHD_YES;
}

enum MHD_Result weirp_call_on_access(void *user, struct MHD_Connection *mhd, const char *url, const char *method,
                                     const char *version, const char *bytes, size_t *n_bytes, void **slot) {
    weirp_server *server = user;
    weirp_call *call = *slot;
    if (!call) {
        weirp_conn *conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        call = conn ? call_new(server, conn) : NULL;
        if (!call) return MHD_NO;
        *slot = call;
        call->method = method;
        call->path = url;
        return take_head(call, method, version);
    }
    if (!*n_bytes) return take_all(call);
    size_t n = *n_bytes;
    *n_bytes = 0;
    return take_body(call, bytes, n);
}

/* ---- streams ---- */

static ssize_t on_read(void *user, uint64_t at, char *bytes, size_t room) {
    (void)at;
    (void)bytes;
    (void)room;
    weirp_call *call = user;
    call->open = true;
    if (call->gone || call->aborted) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (call->complete && !weirp_out_size(&call->out)) return MHD_CONTENT_READER_END_OF_STREAM;
    suspend(call);
    if (weirp_out_size(&call->out) || call->conn->closed) weirp_server_mark(call);
    return 0;
}

static void break_off(weirp_call *call) {
    /* Without chunks the end of the connection is the end of the answer, unless it is reset. */
    if (call->stream && !call->chunked) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(call->conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    if (call->suspended) {
        /* Refused when libmicrohttpd asks. 0.9.75 then marks the connection closed, but only closes it when it looks at
         * it once more: that is in every run for those with a timeout of their own, for all others once no connection
         * has been idle for longer. */
        MHD_set_connection_option(call->conn->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
        weirp_call_resume(call);
    } else if (call->conn->closed)
        shutdown(call->conn->fd, SHUT_RDWR);
}

void weirp_call_lost(weirp_call *call) {
    if (call->complete && call->open) { /* whether the rest can still be sent is for the socket to say */
        call->blocked = false;
        weirp_server_mark(call);
    }
    if (!call->asked || is_over(call)) return; /* libmicrohttpd sees for itself */
    tell_gone(call);
    break_off(call);
}

void weirp_call_settle(weirp_call *call) {
    const weirp_server *server = call->server;
    if (call->conn->closed && !call->complete) weirp_call_lost(call);
    if (!call->open || call->blocked || call->gone || call->aborted) return;
    switch (weirp_out_send(&call->out, call->conn->fd)) {
    case WEIRP_SENT_ALL: break;
    case WEIRP_SENT_BLOCKED:
        call->blocked = true;
        call->blocked_ms = weirp_server_now_ms();
        break;
    case WEIRP_SENT_BROKEN:
        weirp_server_closed(call->conn);
        if (call->complete) { /* the handlers have nothing to say to it any more */
            call->aborted = true;
            break_off(call);
        }
        weirp_call_lost(call);
        return;
    }
    if (call->complete) {
        if (!weirp_out_size(&call->out)) weirp_call_resume(call);
    } else if (call->full && weirp_out_size(&call->out) < server->options.write_high_bytes / 2) {
        call->full = false;
        if (server->handlers.drained) server->handlers.drained(server->handlers.user, call);
    }
}

/* ---- what handlers ask ---- */

const char *weirp_call_method(const weirp_call *call) {
    return call->method;
}

const char *weirp_call_path(const weirp_call *call) {
    return call->path;
}

const char *weirp_call_header(const weirp_call *call, const char *name) {
    return MHD_lookup_connection_value(call->conn->mhd, MHD_HEADER_KIND, name);
}

const char *weirp_call_query(const weirp_call *call, const char *name) {
    return MHD_lookup_connection_value(call->conn->mhd, MHD_GET_ARGUMENT_KIND, name);
}

const char *weirp_call_body(const weirp_call *call, size_t *len) {
    if (len) *len = call->body_len;
    return call->asked ? call->body : "";
}

typedef struct header_visitor {
    void (*fn)(void *user, const char *name, const char *value);
    void *user;
} header_visitor;

static enum MHD_Result visit_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value) {
    const header_visitor *visitor = user;
    (void)kind;
    visitor->fn(visitor->user, name, value ? value : "");
    return MHD_YES;
}

void weirp_call_each_header(const weirp_call *call, void (*fn)(void *user, const char *name, const char *value),
                            void *user) {
    header_visitor visitor = {fn, user};
    MHD_get_connection_values(call->conn->mhd, MHD_HEADER_KIND, visit_header, &visitor);
}

int weirp_call_socket(const weirp_call *call) {
    return call->conn->fd;
}

const char *weirp_call_peer(const weirp_call *call, char *out, size_t size) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(call->conn->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *at = info ? info->client_addr : NULL;
    const char *text = NULL;
    if (at && at->sa_family == AF_INET) {
        text = inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)at)->sin_addr, out, (socklen_t)size);
    } else if (at && at->sa_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(six))
            text = inet_ntop(AF_INET, six->s6_addr + 12, out, (socklen_t)size);
        else
            text = inet_ntop(AF_INET6, six, out, (socklen_t)size);
    }
    if (!text) snprintf(out, size, "?");
    return out;
}

void weirp_call_set_user(weirp_call *call, void *user) {
    call->user = user;
}

void *weirp_call_user(const weirp_call *call) {
    return call->user;
}

/* ---- what handlers give ---- */

/* Takes the response over, with its fields. */
static void give(weirp_call *call, int status, struct MHD_Response *response, const weirp_field *fields, size_t n) {
    if (!response) {
        weirp_call_abort(call); /* out of memory */
        return;
    }
    call->response = response;
    call->status = (unsigned)status;
    for (size_t i = 0; i < n; i++) MHD_add_response_header(response, fields[i].name, fields[i].value);
    if (call->server->quiesced) MHD_add_response_header(response, "Connection", "close");
}

int weirp_call_status(const weirp_call *call) {
    return (int)call->status;
}

void weirp_call_answer(weirp_call *call, int status, const weirp_field *fields, size_t n_fields, const char *body,
                       size_t len) {
    if (is_over(call) || call->response || call->stream) return;
    /* libmicrohttpd only reads from a buffer that it copies */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    give(call, status, response, fields, n_fields);
    if (call->aborted) return;
    call->complete = true;
    weirp_call_resume(call);
}

void weirp_call_begin(weirp_call *call, int status, const weirp_field *fields, size_t n_fields) {
    if (is_over(call) || call->response || call->stream) return;
    call->bodiless = strcmp(call->method, "HEAD") == 0 || status == 204 || status == 304;
    call->stream = !call->bodiless;
    struct MHD_Response *response =
        call->stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read, call, NULL)
                     : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    give(call, status, response, fields, n_fields);
    if (!call->bodiless) weirp_call_resume(call);
}

bool weirp_call_write(weirp_call *call, const char *bytes, size_t len) {
    if (is_over(call) || !call->stream) return true;
    if (!weirp_out_put(&call->out, bytes, len, call->chunked)) {
        weirp_call_abort(call); /* out of memory; the client must not take what it has for the whole */
        return true;
    }
    if (call->open && !call->blocked) weirp_server_mark(call);
    if (weirp_out_size(&call->out) > call->server->options.write_high_bytes) call->full = true;
    return !call->full;
}

void weirp_call_finish(weirp_call *call) {
    if (is_over(call) || (!call->stream && !call->bodiless)) return;
    call->complete = true;
    call->full = false;
    if (call->bodiless)
        weirp_call_resume(call);
    else if (call->open)
        weirp_server_mark(call);
}

void weirp_call_abort(weirp_call *call) {
    if (is_over(call)) return;
    if (call->open && !call->blocked) weirp_out_send(&call->out, call->conn->fd);
    call->aborted = true;
    break_off(call);
}

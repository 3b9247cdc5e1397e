/* server.c: a libmicrohttpd daemon on a loop, and its connections. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/net/server_internal.h"

enum {
    RUNS_A_TURN = 3,       /* an answer that was waited for is queued in one run of the daemon and sent in the next */
    SETTLES_A_TURN = 4,    /* rounds of streams that send and a daemon that runs, before sockets get their turn again */
    RESTLESS_RUNS = 64,    /* so often in a row libmicrohttpd wants to run again at once before it is looked into */
    ACCEPT_ROUNDS = 64,    /* bound on what a server takes from its backlog when it quiesces */
    MIN_BODY_RATE = 256,   /* bytes/s; a body that comes more slowly, after the idle timeout, is not waited for */
    QUIET_GRACE_MS = 1000, /* for the first request of a connection that was there when the server quiesced */
};

static void on_socket(evutil_socket_t fd, short what, void *user);

/* ---- uploads that are stuck ----
 *
 * A chunk's size line may have an extension of any length. When it fills libmicrohttpd's buffer, 0.9.75 neither refuses
 * it nor waits, but looks at it again in every run and wants to be run again at once: ten such connections cost a
 * server nearly all of its speed. From outside they look like clients that pause. So when the daemon gets restless, all
 * uploads in chunks that stand still are suspended until there is something to read from them, which does a client that
 * pauses no harm; those that have bytes to be read and still stand still are condemned. libmicrohttpd doesn't look at
 * the sockets of such connections, and only a timeout makes it close them, which a suspended connection hasn't; so they
 * stay suspended until a sweep, and are then let go together for the second that the shortest timeout takes. */

static void watch(weirp_conn *conn, short for_what) {
    if (event_initialized(&conn->socket)) event_del(&conn->socket);
    if (event_assign(&conn->socket, weirp_loop_base(conn->server->loop), conn->fd,
                     (short)(for_what | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST), on_socket, conn) ||
        event_add(&conn->socket, NULL))
        shutdown(conn->fd, SHUT_RDWR);
}

static void park(weirp_call *call) {
    call->parked = call->suspended = true;
    MHD_suspend_connection(call->conn->mhd);
    if (!call->condemned) watch(call->conn, EV_READ);
}

static void park_stuck(weirp_server *server) {
    for (weirp_conn *conn = server->conns; conn; conn = conn->next) {
        weirp_call *call = conn->call;
        if (!call || !call->counted || call->suspended || call->condemned) continue;
        bool moved = call->n_pieces != call->n_pieces_checked;
        call->n_pieces_checked = call->n_pieces;
        int unread = 0;
        if (moved || ioctl(conn->fd, FIONREAD, &unread) != 0) {
            call->suspect = false;
        } else if (unread && !call->suspect) {
            call->suspect = true; /* what came just now libmicrohttpd hasn't seen yet */
        } else {
            call->condemned = unread || conn->closed;
            park(call);
        }
    }
}

static void unpark(weirp_call *call) {
    if (!call->parked || call->condemned) return;
    call->parked = false;
    watch(call->conn, 0);
    weirp_call_resume(call);
}

/* Closed in about a second. */
static void execute(weirp_call *call) {
    call->condemned = true;
    call->parked = false;
    MHD_set_connection_option(call->conn->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
    weirp_call_resume(call);
}

/* ---- connections that their clients have closed ---- */

void weirp_server_closed(weirp_conn *conn) {
    weirp_server *server = conn->server;
    if (conn->closed) return;
    conn->closed = true;
    conn->closed_next = server->closed;
    if (server->closed) server->closed->closed_prev = conn;
    server->closed = conn;
    weirp_server_want_run(server);
}

static void forget_closed(weirp_conn *conn) {
    if (!conn->closed) return;
    if (conn->closed_prev)
        conn->closed_prev->closed_next = conn->closed_next;
    else
        conn->server->closed = conn->closed_next;
    if (conn->closed_next) conn->closed_next->closed_prev = conn->closed_prev;
}

/* libmicrohttpd takes a short read for the end of what there is, and so misses an end of the connection that came
 * together with its last bytes. When it has read those and nothing is under way, it is told in a way it can't miss. */
static void end_closed(weirp_server *server) {
    for (weirp_conn *conn = server->closed; conn; conn = conn->closed_next) {
        int unread = 0;
        const weirp_call *call = conn->call;
        if (call && (call->asked || call->parked)) continue; /* may still be answered; waits for the sweep */
        if (ioctl(conn->fd, FIONREAD, &unread) != 0 || !unread) shutdown(conn->fd, SHUT_RDWR);
    }
}

/* ---- running the daemon ---- */

static void start_timer(weirp_server *server) {
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES) return;
    /* Deadlines mostly move away; a timer that comes too early only looks again. */
    uint64_t due_ms = weirp_server_now_ms() + wait_ms;
    if (server->timer_due_ms && server->timer_due_ms <= due_ms) return;
    server->timer_due_ms = due_ms;
    weirp_timer_start(server->timer, wait_ms);
}

static void run(weirp_server *server) {
    if (server->running || server->stopping) return;
    server->running = true;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    for (int i = 0; i < RUNS_A_TURN; i++) {
        server->wants_run = false;
        MHD_run(server->daemon);
        if (MHD_get_timeout(server->daemon, &wait_ms) != MHD_YES || wait_ms > 0) {
            server->restless = 0;
            break;
        }
        if (++server->restless % RESTLESS_RUNS == 0 && server->n_chunked) park_stuck(server);
    }
    end_closed(server);
    start_timer(server);
    server->running = false;
}

static void on_ready(evutil_socket_t fd, short what, void *user) {
    (void)fd;
    (void)what;
    run(user);
}

static void on_timer(void *user) {
    weirp_server *server = user;
    server->timer_due_ms = 0;
    run(server);
}

static void on_later(void *user) {
    weirp_server *server = user;
    server->in_later = true;
    for (int i = 0; i < SETTLES_A_TURN && (server->dirty || server->wants_run); i++) {
        for (size_t n = server->n_dirty; n && server->dirty; n--) { /* those that are marked meanwhile wait a round */
            weirp_call *call = server->dirty;
            weirp_server_unmark(call);
            weirp_call_settle(call);
        }
        if (server->wants_run) run(server);
    }
    server->in_later = false;
    if (server->dirty || server->wants_run) weirp_loop_later(server->loop, &server->later);
}

void weirp_server_want_run(weirp_server *server) {
    server->wants_run = true;
    if (!server->in_later) weirp_loop_later(server->loop, &server->later);
}

void weirp_server_mark(weirp_call *call) {
    weirp_server *server = call->server;
    if (call->dirty) return;
    call->dirty = true;
    call->dirty_prev = server->dirty_end;
    call->dirty_next = NULL;
    if (server->dirty_end)
        server->dirty_end->dirty_next = call;
    else
        server->dirty = call;
    server->dirty_end = call;
    server->n_dirty++;
    if (!server->in_later) weirp_loop_later(server->loop, &server->later);
}

void weirp_server_unmark(weirp_call *call) {
    weirp_server *server = call->server;
    if (!call->dirty) return;
    call->dirty = false;
    server->n_dirty--;
    if (call->dirty_prev)
        call->dirty_prev->dirty_next = call->dirty_next;
    else
        server->dirty = call->dirty_next;
    if (call->dirty_next)
        call->dirty_next->dirty_prev = call->dirty_prev;
    else
        server->dirty_end = call->dirty_prev;
}

/* ---- connections ---- */

/* Closed, broken (which libevent reports as writable), or writable again after it was full. */
static void on_socket(evutil_socket_t fd, short what, void *user) {
    weirp_conn *conn = user;
    weirp_call *call = conn->call;
    if (!(what & EV_CLOSED) && call) {
        struct pollfd now = {.fd = (int)fd, .events = POLLRDHUP};
        if (poll(&now, 1, 0) > 0 && (now.revents & (POLLRDHUP | POLLHUP | POLLERR))) what |= EV_CLOSED;
    }
    if (what & EV_CLOSED) {
        weirp_server_closed(conn);
        if (call) unpark(call);
        if (call) weirp_call_lost(call);
    } else if (call && call->parked && (what & EV_READ)) {
        unpark(call);
    } else if (call && call->blocked) {
        call->blocked = false;
        weirp_server_mark(call);
    }
}

static void conn_open(weirp_server *server, struct MHD_Connection *mhd, void **slot) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    weirp_conn *conn = weirp_array(1, sizeof *conn);
    *slot = conn; /* NULL: its requests are refused */
    server->n_conns++;
    if (!conn || !info) return;
    conn->server = server;
    conn->mhd = mhd;
    conn->fd = (int)info->connect_fd;
    conn->since_ms = weirp_server_now_ms();
    conn->next = server->conns;
    if (server->conns) server->conns->prev = conn;
    server->conns = conn;
    watch(conn, 0);
    if (server->n_conns == 1) weirp_timer_start(server->sweep, server->options.idle_timeout_s * 250);
}

static void conn_close(weirp_server *server, void **slot) {
    weirp_conn *conn = *slot;
    server->n_conns--;
    *slot = NULL;
    if (!conn) return;
    if (event_initialized(&conn->socket)) event_del(&conn->socket);
    forget_closed(conn);
    if (conn->prev)
        conn->prev->next = conn->next;
    else if (server->conns == conn)
        server->conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    free(conn);
}

static void on_connection(void *user, struct MHD_Connection *mhd, void **slot,
                          enum MHD_ConnectionNotificationCode what) {
    weirp_server *server = user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        conn_open(server, mhd, slot);
    else
        conn_close(server, slot);
}

static enum MHD_Result on_accept(void *user, const struct sockaddr *address, socklen_t len) {
    (void)address;
    (void)len;
    const weirp_server *server = user;
    return server->n_conns < server->options.max_connections ? MHD_YES : MHD_NO;
}

/* The request line is there. Remembered for the checks on the head, for what comes after takes the line apart. */
static void *on_request_line(void *user, const char *uri, struct MHD_Connection *mhd) {
    (void)user;
    weirp_conn *conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (!conn) return NULL;
    conn->uri = uri;
    conn->uri_len = weirp_head_uri(uri);
    return NULL;
}

/* Paths stay as they were sent, queries are decoded. */
static size_t on_unescape(void *user, struct MHD_Connection *mhd, char *text) {
    (void)user;
    weirp_conn *conn = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    return conn && conn->uri == text ? strlen(text) : MHD_http_unescape(text);
}

/* ---- connections that take too long ---- */

/* libmicrohttpd's timeout is for those that do nothing; one byte now and then keeps it from coming. A head has twice
 * the idle timeout, a body a least rate, a stream's reader must take something within the idle timeout. */
static bool conn_overdue(const weirp_conn *conn, uint64_t now_ms) {
    uint64_t idle_ms = (uint64_t)conn->server->options.idle_timeout_s * 1000;
    const weirp_call *call = conn->call;
    if (!call) {
        if (conn->server->quiesced && (conn->n_calls || now_ms - conn->since_ms > QUIET_GRACE_MS) && !conn->uri)
            return true;
        return now_ms - conn->since_ms > 2 * idle_ms;
    }
    if (call->condemned) return call->parked;
    if (!call->asked) return now_ms - call->since_ms > idle_ms + call->body_seen * 1000 / MIN_BODY_RATE;
    return call->blocked && now_ms - call->blocked_ms > idle_ms;
}

static void on_sweep(void *user) {
    weirp_server *server = user;
    uint64_t now_ms = weirp_server_now_ms();
    for (weirp_conn *conn = server->conns; conn; conn = conn->next) {
        if (!conn_overdue(conn, now_ms)) continue;
        if (conn->call && conn->call->parked) {
            execute(conn->call);
            continue;
        }
        /* Closes it in libmicrohttpd too, which sees the end of the connection. */
        shutdown(conn->fd, SHUT_RDWR);
        weirp_server_closed(conn);
        if (conn->call) weirp_call_lost(conn->call);
    }
    if (server->n_conns)
        weirp_timer_start(server->sweep, server->quiesced ? 100 : server->options.idle_timeout_s * 250);
}

/* ---- the server ---- */

static struct MHD_Daemon *daemon_new(weirp_server *server) {
    /* Without the eventfd by which another thread could resume connections: that would be a write and a read for each.
     */
    unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | (MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC);
    return MHD_start_daemon(flags, 0, on_accept, server, weirp_call_on_access, server, MHD_OPTION_LISTEN_SOCKET,
                            server->listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, server->options.max_header_bytes,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->options.max_connections + 1,
                            MHD_OPTION_CONNECTION_TIMEOUT, server->options.idle_timeout_s, MHD_OPTION_NOTIFY_COMPLETED,
                            weirp_call_on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
                            MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_UNESCAPE_CALLBACK,
                            on_unescape, server, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_END);
}

static void set_options(weirp_server *server, const weirp_server_options *options) {
    weirp_server_options *o = &server->options;
    *o = *options;
    if (!o->max_header_bytes) o->max_header_bytes = 8192;
    if (!o->max_body_bytes) o->max_body_bytes = 32u << 20;
    if (!o->max_connections) o->max_connections = 10000;
    if (!o->idle_timeout_s) o->idle_timeout_s = 75;
    if (!o->write_high_bytes) o->write_high_bytes = 64u << 10;
    if (o->max_header_bytes < 1024) o->max_header_bytes = 1024; /* an answer's head must fit, too */
    if (o->max_connections > 1u << 24) o->max_connections = 1u << 24;
}

weir_status weirp_server_new(weirp_server **out, weirp_loop *loop, const weirp_server_options *options,
                             const weirp_server_handlers *handlers, weir_error *err) {
    *out = NULL;
    weir_status st = WEIR_OK;
    weirp_server *server = weirp_array(1, sizeof *server);
    if (!server) return weirp_nomem(err);
    server->loop = loop;
    server->handlers = *handlers;
    server->later = (weirp_later){.task = on_later, .user = server};
    set_options(server, options);
    server->listen_fd = fcntl(options->listen_fd, F_DUPFD_CLOEXEC, 0); /* libmicrohttpd closes it where it fails */
    if (server->listen_fd < 0) WEIRP_TRY(weirp_fail(err, WEIR_NET, 0, "not a listening socket: %s", strerror(errno)));
    WEIRP_TRY(weirp_timer_new(&server->timer, loop, on_timer, server, err));
    WEIRP_TRY(weirp_timer_new(&server->sweep, loop, on_sweep, server, err));
    server->daemon = daemon_new(server);
    if (!server->daemon) {
        server->listen_fd = -1;
        WEIRP_TRY(weirp_fail(err, WEIR_NET, 0, "cannot start the HTTP server"));
    }
    int epoll_fd = (int)MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    if (event_assign(&server->ready, weirp_loop_base(loop), epoll_fd, EV_READ | EV_PERSIST, on_ready, server) ||
        event_add(&server->ready, NULL))
        WEIRP_TRY(weirp_fail(err, WEIR_NET, 0, "cannot watch the HTTP server"));
    *out = server;
    return WEIR_OK;
done:
    weirp_server_free(server);
    return st;
}

void weirp_server_quiesce(weirp_server *server) {
    if (server->quiesced || !server->daemon) return;
    /* Who is connected already, but not yet accepted, would be reset. */
    struct pollfd waiting = {.fd = server->listen_fd, .events = POLLIN};
    for (int i = 0; i < ACCEPT_ROUNDS && !server->running && poll(&waiting, 1, 0) > 0; i++) run(server);
    server->quiesced = true;
    MHD_quiesce_daemon(server->daemon);
    on_sweep(server);
}

size_t weirp_server_n_calls(const weirp_server *server) {
    return server->n_calls;
}

size_t weirp_server_n_connections(const weirp_server *server) {
    return server->n_conns;
}

void weirp_server_free(weirp_server *server) {
    if (!server) return;
    server->stopping = true;
    if (server->daemon) {
        for (weirp_conn *conn = server->conns; conn; conn = conn->next)
            if (conn->call) weirp_call_resume(conn->call); /* libmicrohttpd can't stop with suspended connections */
        if (event_initialized(&server->ready)) event_del(&server->ready);
        MHD_stop_daemon(server->daemon); /* ends all calls; closes listen_fd unless it was quiesced */
    }
    if ((!server->daemon || server->quiesced) && server->listen_fd >= 0) close(server->listen_fd);
    weirp_loop_not_later(server->loop, &server->later);
    weirp_timer_free(server->timer);
    weirp_timer_free(server->sweep);
    while (server->spare) {
        weirp_call *next = server->spare->dirty_next;
        weirp_call_delete(server->spare);
        server->spare = next;
    }
    free(server);
}

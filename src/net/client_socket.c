/* client_socket.c: libcurl's sockets as events of the loop.
 *
 * libcurl says "remove" at the end of each request and "in" at the start of the next on the same connection. Taken at
 * its word that's two epoll_ctl a request; here reading stays registered until an event comes that nobody wants, or the
 * socket is closed. Sockets that libcurl opened on its own (the resolver's) vanish without notice and are
 * removed at once. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/net/client_internal.h"

static void on_ready(evutil_socket_t fd, short what, void *user) {
    client_socket *s = user;
    int events = 0;
    if (what & EV_READ) {
        if (s->want_read) {
            events |= CURL_CSELECT_IN;
        } else { /* paused, or a kept connection that the vendor closes; libcurl looks before it uses it again */
            event_del(&s->read);
            s->reading = false;
        }
    }
    if ((what & EV_WRITE) && s->want_write) events |= CURL_CSELECT_OUT;
    if (events) weirp_lane_ready(s->lane, (int)fd, events);
}

static client_socket *socket_of(weirp_client *client, int fd) {
    size_t at = (size_t)fd;
    if (at < client->n_sockets && client->sockets[at]) return client->sockets[at];
    size_t capacity = client->n_sockets;
    if (!weirp_reserve((void **)&client->sockets, &capacity, at + 1, sizeof(client_socket *))) return NULL;
    while (client->n_sockets < capacity) client->sockets[client->n_sockets++] = NULL;
    client_socket *s = weirp_array(1, sizeof *s);
    if (!s) return NULL;
    s->fd = fd;
    struct event_base *base = weirp_loop_base(client->loop);
    event_assign(&s->read, base, fd, EV_READ | EV_PERSIST, on_ready, s);
    event_assign(&s->write, base, fd, EV_WRITE | EV_PERSIST, on_ready, s);
    return client->sockets[at] = s;
}

static void unregister(client_socket *s) {
    if (s->reading) event_del(&s->read);
    if (s->writing) event_del(&s->write);
    s->reading = s->writing = s->want_read = s->want_write = false;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user) {
    (void)easy;
    (void)socket_user;
    client_lane *lane = user;
    client_socket *s = socket_of(lane->client, (int)fd);
    if (!s)
        return 0; /* only the resolver's; without it a name is found by libcurl's timer. An error would end the multi */
    s->lane = lane;
    s->want_read = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
    s->want_write = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
    if (what == CURL_POLL_REMOVE && !s->ours) {
        unregister(s);
        return 0;
    }
    if (s->want_read && !s->reading) s->reading = event_add(&s->read, NULL) == 0;
    if (s->want_write != s->writing) {
        if (s->want_write)
            s->writing = event_add(&s->write, NULL) == 0;
        else
            s->writing = event_del(&s->write) != 0;
    }
    return 0;
}

/* A socket that is still connecting is closed by libcurl 7.88 on its own, without our callback, and we are told
 * afterwards. By then the descriptor may be another thread's, so that it's taken out of the loop before. */
void weirp_fetch_forget_sockets(weirp_fetch *f) {
    for (size_t i = 0; i < MAX_OPENED && i < f->n_opened; i++) {
        client_socket *s = f->client->sockets[f->opened[i]];
        if (s->opener != f) continue; /* closed, and opened by another one since */
        s->opener = NULL;
        if (!f->connected) unregister(s);
    }
    f->n_opened = 0;
}

curl_socket_t weirp_client_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)purpose;
    weirp_fetch *f = user;
    weirp_client *client = f->client;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd < 0) return CURL_SOCKET_BAD;
    client_socket *s = socket_of(client, fd);
    if (!s) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    /* Before connecting, so that the window is right from the start. Paused bytes wait there, outside our memory. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &client->receive_buffer, sizeof client->receive_buffer);
    unregister(s);
    s->ours = true;
    s->opener = f;
    f->opened[f->n_opened++ % MAX_OPENED] = fd;
    return fd;
}

int weirp_client_close_socket(void *user, curl_socket_t fd) {
    weirp_client *client = user;
    client_socket *s = (size_t)fd < client->n_sockets ? client->sockets[fd] : NULL;
    if (s) {
        unregister(s);
        s->ours = false;
        s->opener = NULL;
    }
    return close(fd);
}

bool weirp_lane_sockets_init(client_lane *lane) {
    return !curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket) &&
           !curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
}

void weirp_client_sockets_free(weirp_client *client) {
    for (size_t i = 0; i < client->n_sockets; i++) {
        if (!client->sockets[i]) continue;
        unregister(client->sockets[i]);
        free(client->sockets[i]);
    }
    free(client->sockets);
}

/* client_internal.h: what the client's files share.
 *
 * Three rules keep libcurl whole. (1) Nothing of the multi interface is called while libcurl is on the stack (`depth`):
 * what a handler asks for there (cancel, pause, resume) is noted in the `dirty` list and done when libcurl has
 * returned. (2) libcurl never holds back bytes of ours: a paused fetch's rest of a buffer is kept in `held`, and
 * curl_easy_pause is called only from outside, so that resuming never calls back. (3) A socket's events outlive the
 * request: a kept connection stays registered, and costs no epoll_ctl until it is used again or closed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CLIENT_INTERNAL_H
#define WEIRP_CLIENT_INTERNAL_H

#include <curl/curl.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "src/base/base.h"
#include "src/net/client.h"

#define NEVER UINT64_MAX

/* One libcurl multi handle. For each new request libcurl 7.88 goes through all connections to the host until one is
 * free, so long streams would make every start slower: they have handles of their own, each with a bounded number. */
typedef struct client_lane {
    weirp_client *client;
    CURLM *multi;
    size_t n_fetches, kept; /* kept: as set */
    weirp_timer *timer;
    uint64_t want, armed; /* when libcurl wants to be called (0: now); when the timer fires */
} client_lane;

typedef struct client_socket {
    struct event read, write; /* persistent, assigned once for the descriptor's number */
    client_lane *lane;
    int fd;
    bool reading, writing;      /* registered */
    bool want_read, want_write; /* what libcurl waits for */
    bool ours;                  /* opened by us, so that we are told before it is closed, once it is connected */
    struct weirp_fetch *opener; /* while that one is with libcurl; only compared */
} client_socket;

/* libcurl tries at most two addresses at once. */
#define MAX_OPENED 4

enum fetch_kind { KIND_NONE, KIND_GET, KIND_HEAD, KIND_POST };

struct weirp_fetch {
    weirp_client *client;
    client_lane *lane; /* that it counts in */
    CURL *easy;
    weirp_fetch *next, *prev; /* in client->live, or next in client->free */
    weirp_fetch *next_dirty, *next_start;

    /* The request. Settings that the easy handle has already aren't given again. */
    weirp_fetch_options o; /* url, headers: NULL; they are in `text` */
    size_t body_at;        /* of a large body: sent so far */
    char *text;            /* every header, NUL-terminated, one after the other */
    size_t text_capacity;
    struct curl_slist *fields; /* nodes point into `text` */
    size_t fields_capacity;
    char *url, *custom; /* as the easy handle has them; custom: method that isn't GET, HEAD or POST */
    CURLU *parsed;      /* the url */
    enum fetch_kind kind;
    bool own_ca; /* the handle trusts what its last request asked for */
    bool small, large_body;

    /* The answer. */
    int status;
    size_t head_bytes, received;
    weirp_writer held; /* bytes that came after pause, from held_at */
    size_t held_at;
    weirp_fetch_result result; /* of `finished`, or why a callback of ours broke off (`broken`) */
    char what[CURL_ERROR_SIZE];

    /* Times in ns of the monotonic clock. The timer stays armed when the fetch ends: it is looked at when it fires. */
    weirp_timer *timer;
    uint64_t armed, started, connected, last;

    int opened[MAX_OPENED]; /* descriptors of its last n_opened sockets, in a ring */
    size_t n_opened;

    unsigned busy; /* handlers of this fetch on the stack */
    bool live, queued, added, dirty;
    bool paused, curl_paused;
    bool heard; /* a byte of the answer */
    bool fresh; /* sent again, over a connection of its own */
    bool broken, finished, cancelled, ended;
};

#define MAX_LANES 64

struct weirp_client {
    weirp_loop *loop;
    CURLSH *share; /* TLS sessions, names */
    char *ca_file;
    bool no_proxy; /* no proxy variable was set at the start: libcurl needn't look at each request */
    int receive_buffer;
    size_t max_kept;

    client_lane *lanes[MAX_LANES]; /* (n_lanes); the first is for what isn't a stream */
    size_t n_lanes;
    client_socket **sockets; /* (n_sockets), by descriptor; NULL: never used */
    size_t n_sockets;

    weirp_fetch *live, *free;
    size_t n_live, n_free;
    weirp_fetch *start_head, **start_tail, *dirty_head, **dirty_tail;

    unsigned depth; /* libcurl calls on the stack */
    bool running;   /* `later` is on the stack, and looks at every lane */
    weirp_later later;
};

/* client.c */
void weirp_fetch_dirty(weirp_fetch *fetch);
void weirp_fetch_arm(weirp_fetch *fetch);
void weirp_client_tend(weirp_client *client); /* does all that is in the `dirty` list */
void weirp_fetch_finished(weirp_fetch *fetch, CURLcode code);

/* client_lane.c */
client_lane *weirp_lane_new(weirp_client *client, weir_error *err);
void weirp_lane_free(client_lane *lane);
client_lane *weirp_lane_for(weirp_client *client, bool stream, weir_error *err);
CURLMcode weirp_lane_add(client_lane *lane, CURL *easy);
void weirp_lane_remove(client_lane *lane, CURL *easy);
CURLcode weirp_lane_pause(client_lane *lane, CURL *easy, bool pause);
void weirp_lane_ready(client_lane *lane, int fd, int events); /* CURL_CSELECT_* */
void weirp_lanes_run(weirp_client *client);                   /* what was added or resumed */

/* client_socket.c */
bool weirp_lane_sockets_init(client_lane *lane);
void weirp_client_sockets_free(weirp_client *client);
/* Before a fetch is taken from libcurl. */
void weirp_fetch_forget_sockets(weirp_fetch *fetch);
curl_socket_t weirp_client_open_socket(void *fetch, curlsocktype purpose, struct curl_sockaddr *address);
int weirp_client_close_socket(void *client, curl_socket_t fd);

/* client_request.c */
weirp_fetch *weirp_fetch_new(weirp_client *client, weir_error *err);
void weirp_fetch_free(weirp_fetch *fetch);
weir_status weirp_fetch_prepare(weirp_fetch *fetch, const weirp_fetch_options *options, weir_error *err);
/* The callbacks that are set once. */
size_t weirp_fetch_on_header(char *line, size_t size, size_t n, void *fetch);
size_t weirp_fetch_on_body(char *bytes, size_t size, size_t n, void *fetch);
int weirp_fetch_on_connected(void *fetch, char *peer, char *local, int peer_port, int local_port);

/* client_answer.c */
weirp_fetch_result weirp_fetch_map(const weirp_fetch *fetch, CURLcode code);

#endif

/* talk.h: requests under way in the simulated vendor, and the threads that they live in.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_VENDOR_TALK_H
#define WEIRP_VENDOR_TALK_H

#include <pthread.h>

#include "src/net/server.h"
#include "src/vendor/vendor.h"

typedef struct vend_talk vend_talk;
typedef struct vend_worker vend_worker;
typedef struct vend_stats vend_stats;
typedef struct vend_books vend_books;

#define VEND_NOT_DUE ((size_t)-1)

/* Talks that wait for their time: a binary heap, with one timer a thread for all of them. */
typedef struct vend_heap {
    vend_talk **items; /* (n), the least due first */
    size_t n, capacity;
} vend_heap;

struct vend_worker {
    vend_vendor *vendor;
    weirp_loop *loop;
    int fd;               /* listening; -1 while the vendor is out */
    weirp_server *server; /* NULL then */
    weirp_timer *timer;   /* of the heap */
    weirp_timer *back;    /* ends an outage */
    vend_heap heap;
    uint64_t timer_due_ms; /* 0: not started */
    weirp_writer scratch;  /* an answer's body, or an event */
    vend_talk *spare;      /* to be used again */
    size_t n_spare;
    pthread_t thread;
    bool running;
    _Atomic int64_t outage_ms;
};

struct vend_vendor {
    char address[64];
    int held; /* bound, not listening: keeps the port while the vendor is out */
    uint64_t seed;
    double speed;
    vend_outcomes *outcomes;
    vend_stats *stats;
    vend_books *books;
    pthread_mutex_t lock; /* of scenario */
    vend_scenario *scenario;
    _Atomic uint64_t number; /* requests so far */
    size_t n_workers;
    vend_worker *workers;
};

typedef enum vend_end { VEND_UNDER_WAY, VEND_ANSWERED, VEND_GONE, VEND_BROKEN } vend_end;
typedef void (*vend_step)(vend_talk *talk);

struct vend_talk {
    vend_worker *worker;
    weirp_call *call;
    vend_scenario *scenario;
    const vend_rule *rule; /* NULL: none */
    vend_ask ask;
    char *model_name; /* new; where it comes from the path */
    vend_reply reply;
    bool has_reply;
    vend_known known;
    uint64_t number, seed;
    uint64_t start_ns;
    size_t counted; /* the model's place in the stats */
    vend_end end;
    int status;
    bool made;                    /* all of the answer */
    char request_id[64], key[20]; /* as the client says; "sha256:" and 8 digits */

    uint64_t due_ms; /* when `step` is to run */
    size_t slot;     /* in the heap; VEND_NOT_DUE */
    vend_step step;

    /* a stream */
    uint64_t base_ns;           /* pieces are due from here on */
    double first_ns, pace_ns;   /* the first, and each further one */
    uint64_t n_paced, n_events; /* out so far */
    uint64_t n_bytes;           /* of the body */
    bool blocked;               /* the client reads too slowly */
    bool misbehaved;            /* the malformed event is out */
    vend_gzip gzip;

    /* an answer that is written past the server, for it isn't to be HTTP as it should */
    bool raw, raw_whole; /* nothing more comes */
    bool raw_reset;      /* ends in a reset */
    weirp_writer raw_out;
    size_t raw_at, raw_head; /* bytes that are out; size of the head */
    size_t raw_limit;        /* ends after so many of raw_out; SIZE_MAX */
    uint64_t raw_since_ns;   /* the head, or the body, was begun */
    vend_talk *next_spare;
};

/* ---- due.c ---- */

weir_status vend_due_init(vend_worker *worker, weir_error *err);
void vend_due_at(vend_talk *talk, uint64_t due_ns, vend_step step); /* moves it where it waits already */
void vend_due_cancel(vend_talk *talk);
void vend_due_free(vend_worker *worker);

/* ---- talk.c ---- */

extern const weirp_server_handlers vend_handlers_template; /* `user` is to be the worker */
void vend_talk_spares_free(vend_worker *worker);
/* Breaks the connection; with a reset, if it is to be told from an end. */
void vend_talk_break(vend_talk *talk, bool reset);
void vend_talk_counted(vend_talk *talk, vend_end end); /* the first one counts */

/* ---- send.c ---- */

/* Whole answers. `type` NULL: application/json. */
void vend_send_whole(vend_talk *talk, int status, const char *type, const char *body, size_t len);
void vend_send_fault(vend_talk *talk, vend_fault *fault);
/* Streams: a head, pieces of the body, the end. False: wait for `drained`. */
void vend_send_begin(vend_talk *talk, const char *type);
bool vend_send_piece(vend_talk *talk, const char *bytes, size_t len);
void vend_send_end(vend_talk *talk);
void vend_send_cut(vend_talk *talk); /* in the middle, when all that was written is out */

/* ---- stream.c ---- */

void vend_stream_start(vend_talk *talk);
void vend_stream_pump(vend_talk *talk);

/* ---- stats.c; any thread ---- */

vend_stats *vend_stats_new(void);
void vend_stats_free(vend_stats *stats);
void vend_stats_reset(vend_stats *stats);
/* A request for `model` has begun; gives the model's place. Remembers what was sent. */
size_t vend_stats_begin(vend_stats *stats, vend_api api, const char *model, const weirp_call *call);
void vend_stats_end(vend_stats *stats, const vend_talk *talk);
/* Refused as the vendor refuses; remembered under the model "(invalid)", with what was wrong. */
void vend_stats_invalid(vend_stats *stats, vend_api api, const weirp_call *call, const char *fault);
void vend_stats_write(vend_stats *stats, const vend_scenario *scenario, int64_t nano, weirp_writer *w);
/* What came last for a model (NULL: all of them). False: nothing has. */
bool vend_stats_last(vend_stats *stats, const char *model, weirp_writer *w);

/* ---- books.c; any thread ---- */

/* What was billed. `path` NULL: into no file. *out is new. */
weir_status vend_books_open(vend_books **out, const char *path, weir_error *err);
void vend_books_close(vend_books *books);                        /* NULL is fine */
void vend_books_reset(vend_books *books);                        /* the file stays as it is */
void vend_books_caller(vend_talk *talk);                         /* notes who asks, while the request can be read */
void vend_books_enter(vend_books *books, const vend_talk *talk); /* the talk has ended */
/* All of it; of single calls the last so many, or those of one request (NULL: of any). */
void vend_books_write(vend_books *books, size_t last, const char *request_id, weirp_writer *w);
int64_t vend_books_nano(vend_books *books); /* billed in all */

/* ---- control.c ---- */

/* GET /stats and the like; false: not one of these. */
bool vend_control(vend_worker *worker, weirp_call *call);

/* ---- vendor.c ---- */

vend_scenario *vend_vendor_scenario(vend_vendor *vendor);                    /* new reference */
void vend_vendor_set_scenario(vend_vendor *vendor, vend_scenario *scenario); /* steals */
void vend_vendor_outage(vend_vendor *vendor, int64_t ms);

#endif

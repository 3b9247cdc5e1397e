/* journal_parts.h: what the journal's files share. journal.c: the queue, the thread, opening and closing;
 * journal_hold.c: the store's one writer; journal_join.c: a process beside it. All but the queue is the thread's own.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_JOURNAL_PARTS_H
#define WEIRP_JOURNAL_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/gateway/journal/inbox.h"
#include "src/gateway/journal/journal.h"

typedef struct weirp_journal_item {
    enum { ITEM_RECORD, ITEM_FEEDBACK, ITEM_POOL } kind;
    uint8_t *data; /* RECORD */
    size_t size;
    char *id, *source, *model; /* FEEDBACK */
    double quality;
    weirp_feedback_done done;
    void *user;
    weir_status status;
    char what[160];
    weir_pool *pool; /* POOL */
    struct weirp_pool_change *change;
    /* What it needs may be under way in another process: it is tried again until then (0: it hasn't been tried). */
    uint64_t until_ns;
    bool held; /* is to be tried again */
} weirp_journal_item;

/* Waited for, under the mutex; on the stack of who waits. */
typedef struct weirp_pool_change {
    bool over;
    weir_status status;
    weir_error err;
} weirp_pool_change;

typedef struct weirp_journal_queue {
    size_t n, capacity, bytes, n_feedback;
    weirp_journal_item *items; /* (n) */
} weirp_journal_queue;

struct weirp_journal {
    char *store;
    weir_learner *learner; /* NULL: another process has the store */
    weirp_store *joined;   /* NULL: this one has it, or neither way works at the moment */
    weirp_log *log;
    struct weirp_rollout *rollout; /* borrowed; NULL: none */
    void (*publish)(void *user, weir_router *router);
    void *publish_user;
    atomic_uint commit_ms, refresh_ms;
    size_t queue_bytes;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake, changed; /* changed: a pool's change is over */
    weirp_journal_queue waiting;  /* under the mutex */
    bool stopping, idle;
    weirp_journal_queue taken, held; /* the thread's own */
    bool learned;                    /* something that decisions don't use yet */
    bool worked;                     /* since memory was last given back */
    size_t n_held;                   /* of what has been taken */
    weir_pool *pool;
    uint64_t refreshed_ns, trimmed_ns, worked_ns, drained_ns, probe_ns, full_ns, gate_ns;
    weirp_inbox_taken inbox; /* what the learner's next commit takes out of the inbox */
    uint64_t table_seen;     /* the table's version when the inbox was empty; UINT64_MAX: not looked yet */
    uint64_t ever_seen;      /* what the inbox had ever had when this process got the store */
    bool others;             /* other processes leave things in the inbox */
    bool inbox_more;
    bool shared;  /* since the start */
    bool started; /* the thread */
    atomic_bool holder;
    _Atomic uint64_t n_records, n_dropped, n_errors, n_feedbacks, n_refused, version, published_ns;
};

#define WEIRP_COUNT(field, by) atomic_fetch_add_explicit(&(field), (by), memory_order_relaxed)

enum {
    WEIRP_JOURNAL_HELD = 4096,      /* items that are tried again, at most */
    WEIRP_JOURNAL_HOLD_MS = 1000,   /* beside twice commit_ms: for a decision's record that another process has */
    WEIRP_JOURNAL_POOL_MS = 3000,   /* for models that another process has to put into the store */
    WEIRP_JOURNAL_PROBE_MS = 250,   /* between looks whether the store is free */
    WEIRP_JOURNAL_FOLLOW_MS = 2000, /* between looks at what the holder has learned, at least */
    WEIRP_JOURNAL_GATE_MS = 500,    /* between looks at its rollout, however rarely it learns */
};
#define WEIRP_JOURNAL_MS UINT64_C(1000000)

void weirp_journal_complain(weirp_journal *j, const char *what, const weir_error *err);
/* Has a feedback tried again, if its decision may yet turn up; else it keeps its status. */
void weirp_journal_hold_on(weirp_journal *j, weirp_journal_item *it);
void weirp_journal_publish(weirp_journal *j, weir_router *router); /* steals */
/* The pool's first model that the router hasn't; NULL: it has all. Borrowed from the pool. */
const char *weirp_journal_lacks(const weir_router *router, const weir_pool *pool);

/* ---- the store's one writer ---- */

/* Opens the store, made where there is none, with at least the pool's models: the learner, and *router with the pool's
 * prices (NULL: no router is wanted, and the pool is left alone). WEIR_BUSY: another process has it. */
weir_status weirp_journal_hold(weirp_journal *j, weir_router **router, weir_error *err);
weir_status weirp_journal_close_learner(weirp_journal *j, weir_error *err);
void weirp_journal_learn(weirp_journal *j);   /* what has been taken from the queue */
void weirp_journal_refresh(weirp_journal *j); /* what has been learned to the workers */
void weirp_journal_drain(weirp_journal *j);   /* a round of the inbox */
void weirp_journal_gate(weirp_journal *j);    /* a look at the rollout */
weir_status weirp_journal_set_pool(weirp_journal *j, weirp_journal_item *it, weir_error *err);
weir_status weirp_journal_let_go(weirp_journal *j, weir_error *err); /* everything committed, and the inbox empty */

/* ---- beside it ---- */

weir_status weirp_journal_join(weirp_journal *j, weir_router **router, weir_error *err);
void weirp_journal_leave(weirp_journal *j);       /* what has been taken from the queue, into the inbox */
void weirp_journal_follow(weirp_journal *j);      /* what the holder learns */
void weirp_journal_follow_gate(weirp_journal *j); /* how its rollout stands */
void weirp_journal_probe(weirp_journal *j);       /* takes the store over where nobody has it */
/* WEIR_BUSY: the models aren't there yet. */
weir_status weirp_journal_join_pool(weirp_journal *j, weirp_journal_item *it, weir_error *err);

#endif

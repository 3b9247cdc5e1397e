/* journal.h: the thread that owns the store: writes records, learns from them and from feedback, and publishes what has
 * been learned. Of several processes with one store, one does that; the others leave to it what they have, follow what
 * it learns, and take its place when it ends. Requests never wait for it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_JOURNAL_H
#define WEIRP_JOURNAL_H

#include "src/gateway/observe/logging.h"
#include "src/router/record.h"

typedef struct weirp_journal weirp_journal;

typedef struct weirp_journal_options {
    const char *store;     /* path; made where there is none */
    const weir_pool *pool; /* models that must be in it, with their prices; borrowed during the call */
    unsigned commit_ms, refresh_ms;
    size_t queue_bytes;
    weirp_log *log;                /* borrowed */
    struct weirp_rollout *rollout; /* borrowed; NULL: none */
    /* A new router (a reference of the callee's), in the journal's thread. */
    void (*publish)(void *user, weir_router *router);
    void *publish_user;
} weirp_journal_options;

/* Brings the store's pool up to `pool`, opens it for writing, and gives its router. Where another
 * process has the store, this one joins it: the pool's models must be there then (WEIR_INVALID). */
weir_status weirp_journal_open(weirp_journal **out, weir_router **router, const weirp_journal_options *options,
                               weir_error *err);
/* Starts the thread, which may publish from now on. What has been queued before waits for it. */
weir_status weirp_journal_start(weirp_journal *journal, weir_error *err);
/* Whether other processes had the store when it was opened. */
bool weirp_journal_is_shared(const weirp_journal *journal);
/* Writes what waits, commits, ends the thread. NULL is fine. */
weir_status weirp_journal_close(weirp_journal *journal, weir_error *err);

/* Any thread. Steals the bytes (and leaves the writer empty). Where the queue is full the record is dropped, and
 * counted.
 */
void weirp_journal_record(weirp_journal *journal, weirp_writer *record);

/* `done` is called in the journal's thread once the feedback is durable, or with what is wrong with it. Strings are
 * copied. WEIR_FULL: too much waits already; `done` is not called then. Any thread. */
typedef void (*weirp_feedback_done)(void *user, weir_status status, const char *what);
weir_status weirp_journal_feedback(weirp_journal *journal, const weirp_feedback *feedback, weirp_feedback_done done,
                                   void *user);
/* After a reload: new prices and models, copied. Returns once `publish` has given them out, so that a configuration
 * that follows finds its models known, or with what is wrong. Any thread but the journal's; not beside
 * weirp_journal_close.
 */
weir_status weirp_journal_pool(weirp_journal *journal, const weir_pool *pool, weir_error *err);
void weirp_journal_pace(weirp_journal *journal, unsigned commit_ms, unsigned refresh_ms);

typedef struct weirp_journal_counts {
    uint64_t records, dropped, errors, feedbacks, feedbacks_refused, version, published_ns;
    bool holder; /* this process has the store and learns; else it has joined */
} weirp_journal_counts;
void weirp_journal_counts_of(weirp_journal *journal, weirp_journal_counts *out); /* any thread */

#endif

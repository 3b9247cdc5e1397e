/* inbox.h: what processes that don't own the store leave for the one that does: served records and feedback, in the
 * store's table (docs/formats.md, "Inbox"). Who leaves something and who takes it in may be killed at any time: each
 * item is in the inbox or in the log, never in both. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_INBOX_H
#define WEIRP_INBOX_H

#include "src/router/record.h"

enum {
    WEIRP_INBOX_VALUE = 64 << 10,  /* bytes of a value; an item that is longer has one of its own */
    WEIRP_INBOX_MOST = 64 << 20,   /* bytes that may wait */
    WEIRP_INBOX_ROUND = 2 << 20,   /* bytes that are taken in with one commit */
    WEIRP_INBOX_ITEM = 1000 << 10, /* bytes of an item: a value of the table takes a little more */
};

/* ---- items ---- */

typedef struct weirp_inbox_item {
    uint64_t number;     /* of the decision's id; 0: not one of ours */
    const uint8_t *data; /* a served record, borrowed; NULL: feedback */
    size_t size;
    weirp_feedback feedback; /* texts borrowed */
} weirp_inbox_item;

/* The item at *at, which then is the next one's place; begin with 0. WEIR_END: no more. Any bytes. */
weir_status weirp_inbox_next(const uint8_t *value, size_t size, size_t *at, weirp_inbox_item *item, weir_error *err);

/* ---- leaving ---- */

/* Values that are being filled. Start with zeros. */
typedef struct weirp_inbox_batch {
    size_t n, capacity;
    weirp_writer *value; /* (n) */
} weirp_inbox_batch;

/* WEIR_FULL: too long for a value; WEIR_NOMEM. */
weir_status weirp_inbox_add_record(weirp_inbox_batch *batch, const uint8_t *record, size_t size);
weir_status weirp_inbox_add_feedback(weirp_inbox_batch *batch, const weirp_feedback *feedback);
void weirp_inbox_batch_free(weirp_inbox_batch *batch);
/* All of it or nothing, durable on return. WEIR_FULL: too much waits already. An empty batch still leaves a sign that
 * somebody has joined. */
weir_status weirp_inbox_put(weirp_store *store, const weirp_inbox_batch *batch, weir_error *err);

/* ---- taking ---- */

/* How many values wait, and how many bytes; 0 where there has never been an inbox. *ever: values that there have been,
 * or signs. */
weir_status weirp_inbox_count(weirp_snapshot *snapshot, uint64_t *values, uint64_t *bytes, uint64_t *ever,
                              weir_error *err);
/* In order; a non-OK return of `visit` stops it. Data are borrowed from the snapshot. */
typedef weir_status (*weirp_inbox_visit)(void *user, uint64_t sequence, const uint8_t *data, size_t size,
                                         weir_error *err);
weir_status weirp_inbox_scan(weirp_snapshot *snapshot, weirp_inbox_visit visit, void *user, weir_error *err);

/* Values that go: to be done in the transaction that logs what was in them. Of the last one, bytes from `rest_at` on
 * may stay (0: none do). */
typedef struct weirp_inbox_taken {
    size_t n, capacity;
    struct weirp_inbox_place {
        uint64_t sequence;
        size_t at, size;
    } * place;          /* (n) */
    weirp_writer bytes; /* of all values, one after the other */
    size_t rest_at;
    bool whole; /* there is no more in the inbox */
} weirp_inbox_taken;

/* Copies up to WEIRP_INBOX_ROUND bytes out of the inbox. Start with zeros. */
weir_status weirp_inbox_take(weirp_inbox_taken *taken, weirp_snapshot *snapshot, weir_error *err);
weir_status weirp_inbox_remove(void *taken, weirp_txn *txn, weir_error *err); /* a weirp_table_work */
void weirp_inbox_taken_free(weirp_inbox_taken *taken);

#endif

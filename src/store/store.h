/* store.h: the one LMDB file, as named sections and a log.
 *
 * Lives here: bytes under names, durable and checked. May not know: what the bytes mean. Schema: docs/formats.md,
 * "Store". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_STORE_H
#define WEIRP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/base.h"
#include "weir/error.h"

typedef struct weirp_store weirp_store;

typedef enum weirp_store_mode {
    WEIRP_STORE_READ,   /* must exist; works on read-only files and folders, beside a writer in another process */
    WEIRP_STORE_WRITE,  /* must exist; the one writer: WEIR_BUSY while another process or handle has it */
    WEIRP_STORE_CREATE, /* as WRITE; made where there is none */
    WEIRP_STORE_JOIN,   /* must exist; changes the table only, beside the one writer and any number of others who have
                           joined, in this process and in others. WEIR_BUSY while the file is being compacted in place,
                           which in turn is WEIR_BUSY while anyone has joined */
} weirp_store_mode;

/* Foreign, truncated, newer and damaged files are told apart (WEIR_FOREIGN, _CORRUPT, _NEWER) and never written to:
 * every page that LMDB would follow is checked first. Any number of handles on a file may be open in a process. A
 * handle belongs to the process that opened it (after a fork: WEIR_INVALID); threads may share a reader's. A reader
 * that can't write the lock file gets WEIR_BUSY while somebody writes or has joined, and keeps them out while it has
 * snapshots. */
weir_status weirp_store_open(weirp_store **out, const char *path, weirp_store_mode mode, weir_error *err);
void weirp_store_close(weirp_store *store); /* NULL is fine */
/* The process that has a store open as its one writer; 0: none, or it can't be told. */
long weirp_store_holder(const char *path);
/* Whether somebody has joined it, this process included. */
bool weirp_store_is_joined(const char *path);

/* ---- reading: one snapshot ---- */

typedef struct weirp_snapshot weirp_snapshot;

/* The latest state, also when compaction has meanwhile put a new file in place. A snapshot outlives its handle, and
 * keeps its pages from being used again: the file grows while it is held beside a writer. One thread at a time. */
weir_status weirp_snapshot_begin(weirp_snapshot **out, weirp_store *store, weir_error *err);
void weirp_snapshot_end(weirp_snapshot *snapshot); /* NULL is fine */
/* Bytes of a section, borrowed from the map until the snapshot ends, aligned to nothing. WEIR_NOTFOUND; WEIR_CORRUPT
 * when the checksum is wrong: it is computed anew by every call. */
weir_status weirp_snapshot_get(weirp_snapshot *snapshot, const char *section, const uint8_t **data, size_t *size,
                               weir_error *err);
/* Names of the sections in order; WEIR_END past the last. Borrowed until the snapshot ends. */
weir_status weirp_snapshot_section(weirp_snapshot *snapshot, size_t index, const char **name, size_t *size,
                                   weir_error *err);
/* Counters. */
uint64_t weirp_snapshot_version(weirp_snapshot *snapshot);   /* the one writer's commits so far */
uint64_t weirp_snapshot_n_log(weirp_snapshot *snapshot);     /* log records ever appended */
uint64_t weirp_snapshot_first_log(weirp_snapshot *snapshot); /* number of the oldest that is still there */
/* Records ever appended under an index number of their own. */
uint64_t weirp_snapshot_n_indexed(weirp_snapshot *snapshot);
/* Entries of the index, now: of them and of those that follow them. */
uint64_t weirp_snapshot_n_entries(weirp_snapshot *snapshot);
uint64_t weirp_snapshot_n_table(weirp_snapshot *snapshot); /* entries of the table */
/* Transactions that have changed the table; these alone don't count as commits. */
uint64_t weirp_snapshot_table_version(weirp_snapshot *snapshot);
/* The log in order, from record number `from` (0 is the first ever appended), or from the oldest that is still there: a
 * non-OK return of `visit` stops it. */
typedef weir_status (*weirp_log_visit)(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err);
weir_status weirp_snapshot_log(weirp_snapshot *snapshot, uint64_t from, weirp_log_visit visit, void *user,
                               weir_error *err);

/* Records that were appended under `index`, until `visit` returns something other than WEIR_NOTFOUND, which is
 * returned; in the order in which they came. WEIR_NOTFOUND: none, or none of them was it. Looks at WEIRP_FIND_MOST
 * records at most. */
#define WEIRP_FIND_MOST 1024
weir_status weirp_snapshot_find(weirp_snapshot *snapshot, uint64_t index, weirp_log_visit visit, void *user,
                                weir_error *err);
/* Every entry of the index whose number has the upper half of `index`, part by part: for whoever wants many of them.
 * `visit` gets the entry's number and that of its record; a non-OK return stops it. */
typedef weir_status (*weirp_index_visit)(void *user, uint64_t index, uint64_t number, weir_error *err);
weir_status weirp_snapshot_bucket(weirp_snapshot *snapshot, uint64_t index, weirp_index_visit visit, void *user,
                                  weir_error *err);
/* Every value of the index against its checksum, and its entries in order and within the log. *sum: of weirp_index_sum
 * over all entries, which tells whether the log's records are in the index, and nothing else is. */
weir_status weirp_index_verify(weirp_snapshot *snapshot, uint64_t *sum, weir_error *err);
uint64_t weirp_index_sum(uint64_t index, uint64_t number);
/* One record, borrowed until the snapshot ends. WEIR_NOTFOUND: trimmed, or not yet written. */
weir_status weirp_snapshot_record(weirp_snapshot *snapshot, uint64_t number, const uint8_t **data, size_t *size,
                                  weir_error *err);

/* ---- writing: one transaction, durable when commit returns ---- */

typedef struct weirp_change {
    enum { WEIRP_PUT, WEIRP_DELETE, WEIRP_DELETE_PREFIX, WEIRP_APPEND_LOG, WEIRP_TRIM_LOG } kind;
    const char *section; /* PUT, DELETE: its name, 1 to 511 bytes; DELETE_PREFIX: all names that begin so ("": all) */
    const uint8_t *data; /* PUT, APPEND_LOG; borrowed */
    size_t size;         /* bytes, below 2 GiB */
    /* APPEND_LOG: what weirp_snapshot_find finds it under; 0: nothing. TRIM_LOG: records with a number below this go,
     * and their places in the index with them; batches go whole or not at all, and the last one never */
    uint64_t number;
    /* APPEND_LOG: found under an earlier record's number, which it follows; weirp_snapshot_n_indexed doesn't count it
     */
    bool follows;
} weirp_change;

/* All or nothing, in order; threads may call this at once. Deleting what isn't there is fine. Grows the map as needed.
 * After a failure (WEIR_FULL, WEIR_IO) the store holds what it held before, and the call may be made again. WEIR_IO,
 * too, when the file has lost its name. A commit without changes counts as one. */
weir_status weirp_store_commit(weirp_store *store, const weirp_change *changes, size_t n, weir_error *err);

/* ---- the table: values under keys of bytes, in the keys' order, read and changed in one transaction ----
 *
 * Opening checks the pages that keys and short values lie on, all of them: what is kept for long and in great number
 * had better be packed into values of 2 KiB and more, which have pages of their own. */

typedef struct weirp_txn weirp_txn;
enum { WEIRP_TABLE_KEY = 500, WEIRP_TABLE_VALUE = 1 << 20 /* bytes at most; a key has one at least */ };

/* WEIR_NOTFOUND (says nothing in `err`); WEIR_CORRUPT. Borrowed until the transaction's next change, or the snapshot's
 * end; aligned to nothing. */
weir_status weirp_txn_get(weirp_txn *txn, const void *key, size_t key_size, const uint8_t **data, size_t *size,
                          weir_error *err);
/* `data` may be NULL where there is none, and not borrowed from the table. A failure spoils the transaction: it won't
 * be committed, but may be repeated. */
weir_status weirp_txn_put(weirp_txn *txn, const void *key, size_t key_size, const uint8_t *data, size_t size,
                          weir_error *err);
weir_status weirp_txn_delete(weirp_txn *txn, const void *key, size_t key_size, weir_error *err); /* WEIR_NOTFOUND */
/* Keys that begin with `prefix`, in order, from `from` on (NULL: the first): a non-OK return of `visit` stops it. The
 * table may not be changed by `visit` (WEIR_INVALID). */
typedef weir_status (*weirp_table_visit)(void *user, const uint8_t *key, size_t key_size, const uint8_t *data,
                                         size_t size, weir_error *err);
weir_status weirp_txn_scan(weirp_txn *txn, const void *prefix, size_t prefix_size, const void *from, size_t from_size,
                           weirp_table_visit visit, void *user, weir_error *err);
/* The snapshot's table, for get and scan; borrowed until the snapshot ends. */
weirp_txn *weirp_snapshot_table(weirp_snapshot *snapshot);

/* `work` within one durable transaction, beside `changes` (0 for a store that was joined): others who write wait
 * meanwhile, so it should be short, and may not write to the store any other way (WEIR_INVALID). It may be called more
 * than once (when the map has to grow, or the table be made): each time on the table as it then is, so it must be
 * repeatable. What it returns other than WEIR_OK undoes all; `err` is its own until then. Threads may call this at
 * once. Counts as a commit if there are changes. Nothing changed: nothing is written. */
typedef weir_status (*weirp_table_work)(void *user, weirp_txn *txn, weir_error *err);
weir_status weirp_store_transact(weirp_store *store, const weirp_change *changes, size_t n, weirp_table_work work,
                                 void *user, weir_error *err);

/* Lets go of the file's pages that this process has mapped: they are read again when they are needed. */
void weirp_store_forget(weirp_store *store);

/* ---- looking after ---- */

/* Verifies pages, checksums and counters; NULL-safe counts out. */
weir_status weirp_store_verify(const char *path, size_t *n_sections, uint64_t *n_log, weir_error *err);
/* A copy without free pages; `target` must not exist (WEIR_INVALID); NULL: in place (fsync'd copy, then rename),
 * WEIR_BUSY beside a writer. Verifies first. Readers go on and find the new file with their next snapshot. */
weir_status weirp_store_compact_file(const char *path, const char *target, weir_error *err);

#endif

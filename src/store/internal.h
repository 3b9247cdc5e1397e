/* internal.h: what the store's files share; nobody outside src/store/ but its tests includes this.
 *
 * env.c       one LMDB environment a file and process, counted; map sizes
 * lock.c      who may write, and who may swap the file
 * format.c    bytes of our records
 * walk.c      LMDB's own pages, checked before LMDB follows them
 * snapshot.c  reading; commit.c  writing; create.c  a new file; maintain.c  verify and compact
 * index.c     from an index number to the log records that were appended under it
 * table.c     keys and values that several processes change
 * spool.c, spool_adopt.c: what survives the process, but not the machine (spool.h); not LMDB
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_STORE_INTERNAL_H
#define WEIRP_STORE_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "src/store/store.h"

/* ---- LMDB's pages (mdb.c, data version 1: MDB_page, MDB_node) ---- */

enum {
    WEIRP_PAGE_HEADER = 16, /* number, pad, flags, lower, upper */
    WEIRP_NODE_HEADER = 8,  /* size or page, flags, key size */
    WEIRP_PAGE_BRANCH = 0x01,
    WEIRP_PAGE_LEAF = 0x02,
    WEIRP_PAGE_OVERFLOW = 0x04,
    WEIRP_PAGE_META = 0x08,
    WEIRP_PAGE_DIRTY = 0x10, /* in memory only */
};

/* ---- our records (docs/formats.md, "Store") ---- */

#define WEIRP_SCHEMA_PLAIN   1u /* no index, and the log begins at record 0: what a new store has */
#define WEIRP_SCHEMA_INDEX   2u /* an index */
#define WEIRP_SCHEMA_FOLLOW  3u /* in which records may follow others */
#define WEIRP_SCHEMA_TABLE   4u /* has an index, too */
#define WEIRP_SCHEMA         WEIRP_SCHEMA_TABLE
#define WEIRP_DB_META        "weir.meta"
#define WEIRP_DB_SECTIONS    "weir.sections"
#define WEIRP_DB_LOG         "weir.log"
#define WEIRP_DB_INDEX       "weir.index" /* schema 2 */
#define WEIRP_DB_TABLE       "weir.table" /* schema 4 */
#define WEIRP_MAX_DBS        5
#define WEIRP_META_KEY       "store"
#define WEIRP_META_SIZE      104u /* the longest: of schema 4 */
#define WEIRP_META_SIZE_1    56u
#define WEIRP_META_SIZE_2    80u
#define WEIRP_SECTION_HEADER 16u  /* checksum, size */
#define WEIRP_BATCH_HEADER   8u   /* records, reserved */
#define WEIRP_RECORD_HEADER  16u  /* checksum, size, reserved */
#define WEIRP_NAME_MAX       511u /* LMDB's longest key */
#define WEIRP_INDEX_KEY      12u  /* bucket, number of the first record */
#define WEIRP_INDEX_HEADER   8u   /* checksum */
#define WEIRP_INDEX_ENTRY    8u   /* low half of the index number, record less the key's */
#define WEIRP_TABLE_HEADER   8u   /* checksum */
/* A log batch that has reached this size is left alone; a smaller last one is extended by the next commit. */
#define WEIRP_BATCH_BYTES 16384u

typedef struct weirp_meta {
    uint32_t schema;
    uint64_t n_commits;
    uint64_t n_log; /* records ever appended */
    uint64_t n_sections;
    uint64_t sections_sum; /* sum of the sections' checksums, modulo 2^64 */
    /* schema 2; 0 before */
    uint64_t first_log; /* the oldest record that hasn't been trimmed */
    uint64_t n_indexed; /* records ever appended under an index number of their own */
    uint64_t n_entries; /* of the index, now */
    /* schema 4; 0 before */
    uint64_t n_table;       /* entries of the table, now */
    uint64_t table_sum;     /* sum of their checksums, modulo 2^64 */
    uint64_t table_version; /* transactions that have changed it; n_commits counts those that changed anything else */
} weirp_meta;

/* Returns the bytes that the meta's schema takes. */
size_t weirp_meta_encode(const weirp_meta *meta, uint8_t bytes[WEIRP_META_SIZE]);
/* WEIR_FOREIGN, WEIR_NEWER or WEIR_CORRUPT when it isn't ours to read; `path` is for the error's text. */
weir_status weirp_meta_decode(weirp_meta *meta, const void *bytes, size_t size, const char *path, weir_error *err);

/* Of a section under its name, or a value of the table under its key. */
uint64_t weirp_section_checksum(const void *name, size_t name_len, const uint8_t *data, size_t size);
/* Splits a stored section into its checksum and bytes; false when the header and the length don't agree. */
bool weirp_section_split(const MDB_val *stored, uint64_t *checksum, const uint8_t **data, size_t *size);

void weirp_log_key(uint64_t number, uint8_t key[8]); /* big-endian: LMDB's byte order is numeric order */
uint64_t weirp_log_number(const void *key);
size_t weirp_record_size(size_t size); /* bytes of a record with its header, in multiples of 8 */
void weirp_record_encode(uint64_t number, const uint8_t *data, size_t size, uint8_t *out);
/* The record at *at in a batch of `total` bytes; moves *at past it. false: it doesn't fit or its checksum is wrong. */
bool weirp_record_decode(uint64_t number, const uint8_t *batch, size_t total, size_t *at, const uint8_t **data,
                         size_t *size);
void weirp_put_le32(uint8_t *out, uint32_t v);
void weirp_put_le64(uint8_t *out, uint64_t v);
uint32_t weirp_get_le32(const uint8_t *in);
uint64_t weirp_get_le64(const uint8_t *in);

/* ---- LMDB's failures as ours ---- */

weir_status weirp_store_fail(weir_error *err, int rc, const char *what, const char *path);

/* ---- locks ---- */

/* Locks the data file for writing on a descriptor of its own; WEIR_BUSY names the holder where the kernel tells it. */
weir_status weirp_lock_writer(int *fd, const char *path, weir_error *err);
void weirp_unlock(int fd); /* -1 is fine */
/* The process that holds a flock() on the file, from /proc/locks; 0: not to be found. */
pid_t weirp_lock_holder(const struct stat *st);
/* Joins those who change the table: a shared lock on the data file that disturbs no flock() and dies with its holder;
 * *st: of the file that is locked. WEIR_BUSY while it is being compacted, or read by a stranger. weirp_unlock() ends
 * it. */
weir_status weirp_lock_join(int *fd, struct stat *st, const char *path, weir_error *err);
/* Keeps writers and those who join out, for readers that they can't see; false: there is one. Ended by the other. */
/* Waits until no other process has this turn, which LMDB's mutex of the same purpose would otherwise be waited for. -1
 * is fine, and waits for nobody. Threads that share `fd` don't keep each other out. A fork's child that outlives its
 * killed parent keeps what that had. */
typedef enum weirp_turn { WEIRP_TURN_WRITE, WEIRP_TURN_READER } weirp_turn;
void weirp_lock_turn(int fd, weirp_turn turn);
void weirp_unlock_turn(int fd, weirp_turn turn);
bool weirp_lock_stranger(int fd);
void weirp_unlock_stranger(int fd);
/* Keeps those who join out, on the writer's descriptor and until it is closed. WEIR_BUSY while there are any. */
weir_status weirp_lock_alone(int fd, const char *path, weir_error *err);
weir_status weirp_busy(const char *path, const struct stat *st, weir_error *err);
/* The gate: opening shares it, swapping the file for a compacted one excludes openers, so that nobody pairs the new
 * data file with the old lock file. *fd is -1 where the folder can't be opened (nobody can swap files there either). */
weir_status weirp_gate_enter(int *fd, const char *path, bool exclusive, weir_error *err);
int weirp_sync_folder(const char *path); /* fsync of the folder that holds `path`; 0 or errno */
/* `path`'s folder followed by `name`; new, free() it. */
char *weirp_sibling(const char *path, const char *suffix);

/* ---- environments ---- */

typedef struct weirp_env {
    struct weirp_env *next;
    pid_t pid;   /* the process that opened it; a fork's child must leave it alone */
    size_t refs; /* handles and snapshots; guarded by the registry */
    char *path;  /* resolved */
    struct stat data_id, lock_id;
    bool has_lock_id;

    /* Taken in this order. `writing` is held through a write transaction and growing for it; `opening` while database
     * handles are being opened; `mutex`, never for long, guards what follows. */
    pthread_mutex_t writing, opening, mutex;
    MDB_env *mdb;
    MDB_dbi meta, sections, log, index, table;
    uint32_t schema; /* whose databases' handles are open: all of WEIRP_SCHEMA_PLAIN's are */
    size_t map_size, page_size;
    size_t n_active; /* transactions: while there are any, the map may not move */
    bool read_only, no_lock;
    bool broken;   /* LMDB refuses to write until the environment is opened again */
    int turn_fd;   /* for weirp_lock_turn: WRITE with `writing` held, READER with `mutex`; -1: read-only */
    int shared_fd; /* no_lock: descriptor whose shared flock keeps writers out while n_active; else -1 */
} weirp_env;

/* The environment of an existing file, checked page by page; shared by all who have it open in this process. */
weir_status weirp_env_acquire(weirp_env **out, const char *path, weir_error *err);
void weirp_env_retain(weirp_env *env);
void weirp_env_release(weirp_env *env);
bool weirp_env_alone(weirp_env *env); /* nobody but the caller refers to it */
/* Whoever writes, or grows the map for it, holds this: threads of a process write in turn without holding up its
 * readers. WEIR_INVALID when the calling thread holds it already. */
weir_status weirp_env_lock_writing(weirp_env *env, weir_error *err);
void weirp_env_unlock_writing(weirp_env *env);
/* Begins a transaction, following what other processes did to the map; ended by weirp_env_end. */
weir_status weirp_env_begin(weirp_env *env, bool write, MDB_txn **txn, weir_error *err);
int weirp_env_end(weirp_env *env, MDB_txn *txn, bool commit); /* LMDB's code */
weir_status weirp_env_grow(weirp_env *env, size_t more, weir_error *err);
/* Opens the handles of all databases that `schema` has, and with `create` (and `writing` held) makes what is missing
 * and the header that goes with it, in a transaction of its own. *full: the map must grow first. Transactions that are
 * open already don't see the new handles. */
weir_status weirp_env_raise(weirp_env *env, uint32_t schema, bool create, bool *full, weir_error *err);
uint32_t weirp_env_schema(weirp_env *env); /* whose handles are open */
/* Whose the path is now: the environment's file's, another file's, or nobody's. */
typedef enum weirp_name { WEIRP_NAME_OURS, WEIRP_NAME_OTHERS, WEIRP_NAME_GONE } weirp_name;
weirp_name weirp_env_name(const weirp_env *env);
/* Where the map begins. `txn` has changed nothing yet. */
const uint8_t *weirp_env_map(weirp_env *env, MDB_txn *txn);
/* Lets go of the map's pages: they count as this process's memory for as long as it has them mapped. */
void weirp_env_forget(weirp_env *env);
/* Readers that died keep pages from being used again: their slots are cleared. */
void weirp_env_sweep(weirp_env *env);

/* ---- pages ---- */

typedef struct weirp_pages {
    uint64_t n_pages, n_free, n_lost; /* in the file's address range; on the free list; neither used nor free */
    uint64_t n_sections, n_batches, n_table;
    bool thorough; /* set by the caller: visit the first page of every long value, as whoever deletes one must know */
} weirp_pages;

/* Reads the two meta pages without LMDB: WEIR_FOREIGN when they aren't LMDB's, WEIR_CORRUPT when they can't be. */
weir_status weirp_walk_headers(int fd, const char *path, size_t *page_size, uint64_t *n_pages, weir_error *err);
/* Follows every pointer of transaction `txnid`'s trees within the file's bounds. `pages` may be NULL. Nothing that LMDB
 * holds is called: a transaction of LMDB's must keep the pages alive meanwhile. */
weir_status weirp_walk(int fd, uint64_t txnid, const char *path, weirp_pages *pages, weir_error *err);

/* ---- the index (docs/formats.md, "Index") ---- */

typedef struct weirp_index_pair {
    uint64_t index, record;
} weirp_index_pair;

/* Adds pairs, whose records are newer than all that the index has, in any order (they are sorted). LMDB's code;
 * MDB_CORRUPTED when what is there is damaged. */
int weirp_index_add(MDB_txn *txn, MDB_dbi index, weirp_index_pair *pairs, size_t n);
/* Takes out entries of records below `record`; *n_gone: how many. */
int weirp_index_trim(MDB_txn *txn, MDB_dbi index, uint64_t record, uint64_t *n_gone);

/* ---- handles ---- */

struct weirp_store {
    weirp_env *env;
    weirp_store_mode mode;
    pid_t pid;
    int lock_fd;           /* the writer's, flock()ed, or of one who has joined; -1: a reader */
    char *path;            /* resolved */
    uint64_t n_commits;    /* by this handle; guarded by env->writing */
    pthread_mutex_t mutex; /* guards env, which changes when another file takes a reader's path */
};

struct weirp_txn {
    weirp_env *env;
    MDB_txn *mdb;
    weirp_meta *meta; /* borrowed; its counts of the table are kept here */
    bool write, changed;
    unsigned n_scans; /* under way */
    /* of a write that failed: the transaction can't go on */
    weir_status failed;
    bool full, no_table; /* it would, once the map has grown, or the table been made */
    size_t n_bytes;      /* that were to be put */
    const uint8_t *map;  /* where the file's pages begin */
};

struct weirp_snapshot {
    weirp_env *env;
    MDB_txn *txn;
    weirp_meta meta;
    weirp_txn table;
    bool listed;
    size_t n_names;
    char **names;  /* (n_names) in order; all in one piece of memory; NULL until asked for */
    size_t *sizes; /* (n_names) bytes */
};

/* Makes an empty store where there is none; somebody else's, made meanwhile, is fine too. */
weir_status weirp_create(const char *path, weir_error *err);
/* A new file beside `path` under a name of its own; *temp is new. Unlink and free it. */
weir_status weirp_temporary(const char *path, char **temp, int *fd, weir_error *err);
/* Gives a finished, synced file its name, durably, with nobody opening that name meanwhile, and takes away the lock
 * file, which belongs to the file that had the name before. WEIR_INVALID when the name is taken and `replace` is false.
 */
weir_status weirp_put_in_place(const char *temp, const char *path, bool replace, weir_error *err);
weir_status weirp_read_meta(weirp_env *env, MDB_txn *txn, weirp_meta *meta, weir_error *err);
weir_status weirp_snapshot_of(weirp_snapshot **out, weirp_env *env, weir_error *err);
/* Every value of the table against its checksum, and the counters. */
weir_status weirp_table_verify(weirp_txn *txn, weir_error *err);
/* Every section, record and value of a snapshot against its checksum and the counters. */
weir_status weirp_snapshot_verify(weirp_snapshot *snapshot, weir_error *err);

#endif

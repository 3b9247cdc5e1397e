/* maintain.c: verifying and compacting. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/store/internal.h"

#define COPY_SAVE ((size_t)1 << 28) /* bytes a transaction of a copy; a copy nobody sees may take several */

weir_status weirp_store_verify(const char *path, size_t *n_sections, uint64_t *n_log, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weir_status st;
    mdb_filehandle_t fd;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    /* opening has walked the pages already, unless this process had the file open: then it may have been long ago */
    if (mdb_env_get_fd(snapshot->env->mdb, &fd) == 0) {
        weir_error quiet = {0};
        weirp_pages pages = {.thorough = true};
        st = weirp_walk(fd, mdb_txn_id(snapshot->txn), store->path, &pages, &quiet);
        /* a writer was two commits ahead before the walk began: its pages were checked when they were opened */
        if (st != WEIR_OK && st != WEIR_BUSY) {
            weirp_fail(err, st, 0, "%s", quiet.text);
            goto done;
        }
    }
    WEIRP_TRY(weirp_snapshot_verify(snapshot, err));
    if (n_sections) *n_sections = (size_t)snapshot->meta.n_sections;
    if (n_log) *n_log = snapshot->meta.n_log;
done:
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st;
}

static weir_status write_u64(int fd, uint64_t v, size_t at, const char *path, weir_error *err) {
    uint8_t bytes[8];
    weirp_put_le64(bytes, v);
    if (pwrite(fd, bytes, 8, (off_t)at) == 8) return WEIR_OK;
    return weirp_fail_errno(err, errno ? errno : ENOSPC, "can't write", path);
}

/* Processes that have the old file open share a lock file with whoever opens the new one until compaction has taken the
 * lock file away, and it may die before it does. The lock file notes the last transaction's number and those that
 * readers still need; so the copy takes the old file's number over, and the two agree. `env` wrote the copy; its last
 * transaction's number and `txnid` are both odd or both even, as each meta page has its own kind. */
static weir_status keep_number(int fd, size_t page_size, uint64_t txnid, const char *path, weir_error *err) {
    const size_t at = 16 + 128; /* page header, then MDB_meta up to mm_txnid */
    weir_status st = write_u64(fd, txnid, txnid % 2 * page_size + at, path, err);
    return st == WEIR_OK ? write_u64(fd, txnid - 1, (txnid + 1) % 2 * page_size + at, path, err) : st;
}

/* ---- copying ---- */

/* LMDB's own compacting copy refuses files with lost pages (MDB_INCOMPATIBLE); putting every value into a new file
 * heals them, and packs the pages as well, for keys arrive in order. */
typedef struct copier {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta, sections, log, index, table;
    uint32_t schema;
    size_t unsaved; /* bytes in this transaction */
} copier;

static int copy_begin(copier *c) {
    int rc = mdb_txn_begin(c->env, NULL, 0, &c->txn);
    if (rc) {
        c->txn = NULL;
        return rc;
    }
    c->unsaved = 0;
    if ((rc = mdb_dbi_open(c->txn, WEIRP_DB_META, MDB_CREATE, &c->meta)) ||
        (rc = mdb_dbi_open(c->txn, WEIRP_DB_SECTIONS, MDB_CREATE, &c->sections)))
        return rc;
    if (c->schema >= WEIRP_SCHEMA_INDEX && (rc = mdb_dbi_open(c->txn, WEIRP_DB_INDEX, MDB_CREATE, &c->index)))
        return rc;
    if (c->schema >= WEIRP_SCHEMA_TABLE && (rc = mdb_dbi_open(c->txn, WEIRP_DB_TABLE, MDB_CREATE, &c->table)))
        return rc;
    return mdb_dbi_open(c->txn, WEIRP_DB_LOG, MDB_CREATE, &c->log);
}

static int copy_save(copier *c) {
    int rc = mdb_txn_commit(c->txn);
    c->txn = NULL;
    return rc;
}

static int copy_database(copier *c, MDB_txn *from_txn, MDB_dbi from, const MDB_dbi *to) {
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(from_txn, from, &cursor);
    if (rc) return rc;
    for (int step = MDB_FIRST; (rc = mdb_cursor_get(cursor, &key, &value, step)) == 0; step = MDB_NEXT) {
        if ((rc = mdb_put(c->txn, *to, &key, &value, MDB_APPEND))) break;
        c->unsaved += value.mv_size;
        if (c->unsaved > COPY_SAVE && ((rc = copy_save(c)) || (rc = copy_begin(c)))) break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int copy_values(copier *c, weirp_snapshot *from, const char *path, uint64_t txnid) {
    int rc;
    size_t map = from->env->map_size;
    c->schema = from->meta.schema;
    if ((rc = mdb_env_set_maxdbs(c->env, WEIRP_MAX_DBS)) || (rc = mdb_env_set_mapsize(c->env, map)) ||
        (rc = mdb_env_open(c->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0666)) || (rc = copy_begin(c)) ||
        (rc = copy_database(c, from->txn, from->env->sections, &c->sections)) ||
        (rc = copy_database(c, from->txn, from->env->log, &c->log)) ||
        (c->schema >= WEIRP_SCHEMA_INDEX && (rc = copy_database(c, from->txn, from->env->index, &c->index))) ||
        (c->schema >= WEIRP_SCHEMA_TABLE && (rc = copy_database(c, from->txn, from->env->table, &c->table))) ||
        (rc = copy_database(c, from->txn, from->env->meta, &c->meta)))
        return rc;
    size_t number = mdb_txn_id(c->txn);
    if ((rc = copy_save(c)) || number % 2 == txnid % 2) return rc;
    /* one more transaction, of the other kind; LMDB writes it only if something was put */
    uint8_t bytes[WEIRP_META_SIZE];
    char key_text[] = WEIRP_META_KEY;
    MDB_val key = {strlen(key_text), key_text}, value = {0, bytes};
    value.mv_size = weirp_meta_encode(&from->meta, bytes);
    if ((rc = copy_begin(c)) || (rc = mdb_put(c->txn, c->meta, &key, &value, 0))) return rc;
    return copy_save(c);
}

/* A synced copy of the snapshot under another name beside `place`; *temp is new. */
static weir_status copy_beside(weirp_snapshot *from, const char *place, char **temp, weir_error *err) {
    int fd = -1, rc;
    weir_status st;
    copier c = {0};
    uint64_t txnid = mdb_txn_id(from->txn);
    WEIRP_TRY(weirp_temporary(place, temp, &fd, err));
    struct stat own = from->env->data_id;
    if (fchmod(fd, own.st_mode & 0777) != 0 || (geteuid() == 0 && fchown(fd, own.st_uid, own.st_gid) != 0)) {
        st = weirp_fail_errno(err, errno, "can't give the copy its rights", place);
        goto done;
    }
    rc = mdb_env_create(&c.env);
    if (!rc) rc = copy_values(&c, from, *temp, txnid);
    if (c.txn) mdb_txn_abort(c.txn);
    MDB_stat stat = {0};
    if (!rc) rc = mdb_env_stat(c.env, &stat); /* this machine's page size, which needn't be the old file's */
    mdb_env_close(c.env);
    if (rc) st = weirp_store_fail(err, rc, "can't copy", place);
    if (st == WEIR_OK) st = keep_number(fd, stat.ms_psize, txnid, place, err);
    if (st == WEIR_OK && fsync(fd) != 0) st = weirp_fail_errno(err, errno, "fsync", place);
    if (st == WEIR_OK) st = weirp_walk(fd, txnid, place, NULL, err);
done:
    if (fd >= 0) close(fd);
    if (st != WEIR_OK && *temp) {
        unlink(*temp);
        free(*temp);
        *temp = NULL;
    }
    return st;
}

weir_status weirp_store_compact_file(const char *path, const char *target, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    char *temp = NULL;
    weir_status st;
    if (target && access(target, F_OK) == 0) return weirp_fail(err, WEIR_INVALID, 0, "%s: exists", target);
    WEIRP_TRY(weirp_store_open(&store, path, target ? WEIRP_STORE_READ : WEIRP_STORE_WRITE, err));
    if (!target) WEIRP_TRY(weirp_lock_alone(store->lock_fd, store->path, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(weirp_snapshot_verify(snapshot, err)); /* never put a damaged copy in a store's place */
    const char *place = target ? target : store->path;
    WEIRP_TRY(copy_beside(snapshot, place, &temp, err));
    st = weirp_put_in_place(temp, place, !target, err);
    if (st != WEIR_OK) unlink(temp);
done:
    free(temp);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st;
}

/* maintain.c: verifying and compacting. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/store/internal.h"

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
        st = weirp_walk(fd, mdb_txn_id(snapshot->txn), store->path, NULL, &quiet);
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

/* LMDB numbers a compacted copy's transaction 1. Processes that have the old file open share a lock file with it, where
 * the last transaction's number and what readers still need are noted. Compaction takes the lock file away with the old
 * file, but it may die in between; so the copy takes the old file's number over, which makes the two agree. `txnid` is
 * odd, as the second meta page's must be. */
static weir_status keep_number(int fd, size_t page_size, uint64_t txnid, const char *path, weir_error *err) {
    const size_t at = 16 + 128; /* page header, then MDB_meta up to mm_txnid */
    weir_status st = write_u64(fd, txnid - 1, at, path, err);
    return st == WEIR_OK ? write_u64(fd, txnid, page_size + at, path, err) : st;
}

/* A synced copy of the env's state under another name beside `place`; *temp is new. txnid 0: as LMDB numbers it. */
static weir_status copy_beside(weirp_env *env, const char *place, uint64_t txnid, char **temp, weir_error *err) {
    int fd = -1, rc;
    weir_status st;
    MDB_txn *txn = NULL;
    WEIRP_TRY(weirp_temporary(place, temp, &fd, err));
    struct stat own = env->data_id;
    if (fchmod(fd, own.st_mode & 0777) != 0 || (geteuid() == 0 && fchown(fd, own.st_uid, own.st_gid) != 0)) {
        st = weirp_fail_errno(err, errno, "can't give the copy its rights", place);
        goto done;
    }
    WEIRP_TRY(weirp_env_begin(env, false, &txn, err)); /* keeps the map where it is */
    if ((rc = mdb_env_copyfd2(env->mdb, fd, MDB_CP_COMPACT))) st = weirp_store_fail(err, rc, "can't copy", place);
    weirp_env_end(env, txn, false);
    if (st == WEIR_OK && txnid) st = keep_number(fd, env->page_size, txnid, place, err);
    if (st == WEIR_OK && fsync(fd) != 0) st = weirp_fail_errno(err, errno, "fsync", place);
    if (st == WEIR_OK) st = weirp_walk(fd, txnid ? txnid : 1, place, NULL, err);
done:
    if (fd >= 0) close(fd);
    if (st != WEIR_OK && *temp) {
        unlink(*temp);
        free(*temp);
        *temp = NULL;
    }
    return st;
}

static weir_status last_number(weirp_env *env, uint64_t *txnid, weir_error *err) {
    MDB_txn *txn;
    weir_status st = weirp_env_begin(env, false, &txn, err);
    if (st != WEIR_OK) return st;
    *txnid = mdb_txn_id(txn);
    weirp_env_end(env, txn, false);
    return WEIR_OK;
}

static weir_status verify_env(weirp_env *env, weir_error *err) {
    weirp_snapshot *snapshot;
    weir_status st = weirp_snapshot_of(&snapshot, env, err);
    if (st != WEIR_OK) return st;
    st = weirp_snapshot_verify(snapshot, err);
    weirp_snapshot_end(snapshot);
    return st;
}

weir_status weirp_store_compact_file(const char *path, const char *target, weir_error *err) {
    weirp_store *store = NULL;
    char *temp = NULL;
    uint64_t txnid = 0;
    weir_status st;
    if (target && access(target, F_OK) == 0) return weirp_fail(err, WEIR_INVALID, 0, "%s: exists", target);
    WEIRP_TRY(weirp_store_open(&store, path, target ? WEIRP_STORE_READ : WEIRP_STORE_WRITE, err));
    WEIRP_TRY(verify_env(store->env, err)); /* never put a damaged copy in a store's place */
    const char *place = target ? target : store->path;
    if (!target) {
        WEIRP_TRY(last_number(store->env, &txnid, err));
        if (txnid % 2 == 0) {
            WEIRP_TRY(weirp_store_commit(store, NULL, 0, err));
            WEIRP_TRY(last_number(store->env, &txnid, err));
        }
    }
    WEIRP_TRY(copy_beside(store->env, place, txnid, &temp, err));
    st = weirp_put_in_place(temp, place, !target, err);
    if (st != WEIR_OK) unlink(temp);
done:
    free(temp);
    weirp_store_close(store);
    return st;
}

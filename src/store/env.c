/* env.c: one LMDB environment a file and process.
 *
 * LMDB forbids opening a file twice in one process: the second close drops the first one's locks (fcntl locks belong to
 * the process) and clears its reader slots. So environments are counted here, by the file's device and inode. A fork's
 * child inherits this list and must not touch its parent's environments (closing one would free the parent's reader
 * slots): an entry counts only for the process that made it.
 *
 * The map reserves far more address space than the file needs, so that it practically never has to move: moving it
 * needs that this process has no transaction open, and with borrowed section bytes about, that could take long. Where
 * address space is limited (ulimit -v) the map starts smaller and grows. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "src/store/internal.h"

#define MAP_RESERVE ((size_t)1 << 36) /* 64 GiB of addresses, not of memory */
#define MAP_LEAST   ((size_t)1 << 24)
enum {
    MAX_READERS = 1024,
    LOCK_BYTES = 64 * 1024 + 256, /* what LMDB takes for so many readers */
    OPEN_TRIES = 40,
    OPEN_WAIT_NS = 5000000,
    QUIET_TRIES = 50,
    QUIET_WAIT_NS = 1000000
};

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static weirp_env *registry;

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* ---- opening LMDB ---- */

/* LMDB stretches a new lock file without asking for its blocks and writes to it through a map: on a full disk that is a
 * SIGBUS. So the blocks are asked for first. Closing the descriptor drops no lock: this process has none on the file
 * until LMDB opens it, and never opens it twice. Where the file can't be made, opening says so. */
static int reserve_lock_file(const weirp_env *env) {
    char path[PATH_MAX];
    struct stat file;
    if (snprintf(path, sizeof path, "%s-lock", env->path) >= (int)sizeof path) return ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666), rc = 0;
    if (fd < 0) return 0;
    if (fstat(fd, &file) == 0 && file.st_blocks * 512 < (file.st_size ? file.st_size : 1))
        rc = posix_fallocate(fd, 0, file.st_size ? file.st_size : LOCK_BYTES);
    close(fd);
    return rc == ENOSPC || rc == EDQUOT ? rc : 0; /* a file system that can't reserve is left to its luck */
}

static int open_mdb(weirp_env *env, unsigned flags, size_t map) {
    int rc = mdb_env_create(&env->mdb);
    if (rc) return rc;
    if (!(rc = mdb_env_set_maxdbs(env->mdb, WEIRP_MAX_DBS)) && !(rc = mdb_env_set_maxreaders(env->mdb, MAX_READERS)) &&
        !(rc = mdb_env_set_mapsize(env->mdb, map)))
        rc = mdb_env_open(env->mdb, env->path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0666);
    if (rc) {
        mdb_env_close(env->mdb);
        env->mdb = NULL;
    }
    return rc;
}

static int open_patiently(weirp_env *env, unsigned flags, size_t map) {
    int rc = EAGAIN;
    for (int i = 0; i < OPEN_TRIES; i++) {
        errno = 0; /* mdb_env_setup_locks looks at what an earlier call may have left there */
        rc = open_mdb(env, flags, map);
        /* lmdb.h: "opening a database can fail if another process is opening or closing it at exactly the same time" */
        if (rc != EAGAIN && rc != EINTR && rc != MDB_INVALID && rc != EINVAL && rc != EBUSY) break;
        nanosleep(&(struct timespec){0, OPEN_WAIT_NS}, NULL);
    }
    return rc;
}

/* A map as large as may be: with room to grow where there is any, and just what the file needs where there isn't. */
static int open_mapped(weirp_env *env, unsigned flags, size_t need) {
    int rc = ENOMEM;
    for (size_t map = MAP_RESERVE; (rc == ENOMEM || rc == EINVAL) && map >= MAP_LEAST && map / 2 >= need; map /= 2)
        rc = open_patiently(env, flags, map);
    if (rc == ENOMEM) rc = open_patiently(env, flags, need);
    if (rc == 0) {
        MDB_envinfo info;
        mdb_env_info(env->mdb, &info); /* LMDB takes no less than the file needs */
        env->map_size = info.me_mapsize;
    }
    return rc;
}

/* Read-write if it can be (so that a later writer in this process may share it), else read-only, else without the lock
 * file, which LMDB needs to write to even for reading. */
static int open_any(weirp_env *env, size_t need) {
    env->read_only = env->no_lock = false;
    int rc = reserve_lock_file(env);
    if (rc == 0) rc = open_mapped(env, 0, need);
    if (rc == EACCES || rc == EPERM) {
        env->read_only = true;
        rc = open_mapped(env, MDB_RDONLY, need);
    }
    if (rc == EACCES || rc == EPERM || rc == EROFS) {
        env->read_only = env->no_lock = true;
        rc = open_mapped(env, MDB_RDONLY | MDB_NOLOCK, need);
    }
    return rc;
}

static weir_status open_databases(weirp_env *env, MDB_txn *txn, weir_error *err) {
    int rc;
    if ((rc = mdb_dbi_open(txn, WEIRP_DB_META, 0, &env->meta)) ||
        (rc = mdb_dbi_open(txn, WEIRP_DB_SECTIONS, 0, &env->sections)) ||
        (rc = mdb_dbi_open(txn, WEIRP_DB_LOG, 0, &env->log)))
        return weirp_store_fail(err, rc, "can't open its databases", env->path);
    env->schema = WEIRP_SCHEMA_PLAIN;
    if (!(rc = mdb_dbi_open(txn, WEIRP_DB_INDEX, 0, &env->index))) {
        env->schema = WEIRP_SCHEMA_INDEX;
        if (!(rc = mdb_dbi_open(txn, WEIRP_DB_TABLE, 0, &env->table))) env->schema = WEIRP_SCHEMA_TABLE;
    }
    if (rc && rc != MDB_NOTFOUND) return weirp_store_fail(err, rc, "can't open its databases", env->path);
    return WEIR_OK;
}

/* The first transaction: its pages are checked before LMDB follows any. */
static weir_status check_env(weirp_env *env, weir_error *err) {
    weir_status st;
    MDB_txn *txn = NULL;
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(env->mdb, &fd);
    if (rc) return weirp_store_fail(err, rc, "no descriptor", env->path);
    fcntl(fd, F_SETFD, FD_CLOEXEC); /* LMDB sets it on its lock file only */
    for (int round = 0;; round++) {
        WEIRP_TRY(weirp_env_begin(env, false, &txn, err));
        weir_error quiet = {0};
        st = weirp_walk(fd, mdb_txn_id(txn), env->path, NULL, &quiet);
        if (st == WEIR_OK) break;
        weirp_env_end(env, txn, false);
        txn = NULL;
        /* two commits since the transaction began have overwritten its header; its pages are safe, but not found */
        if (st != WEIR_BUSY || round == 100) return weirp_fail(err, st, 0, "%s", quiet.text);
    }
    WEIRP_TRY(open_databases(env, txn, err));
    rc = weirp_env_end(env, txn, true); /* LMDB keeps database handles of committed transactions only */
    txn = NULL;
    if (rc) st = weirp_store_fail(err, rc, "can't open", env->path);
done:
    if (txn) weirp_env_end(env, txn, false);
    return st;
}

/* Not on the lock file: LMDB's own locks there would go when this descriptor is closed. */
static weir_status open_turns(weirp_env *env, weir_error *err) {
    struct stat file;
    env->turn_fd = open(env->path, O_RDWR | O_CLOEXEC);
    if (env->turn_fd < 0 || fstat(env->turn_fd, &file) != 0)
        return weirp_fail_errno(err, errno, "can't open", env->path);
    if (same_file(&file, &env->data_id)) return WEIR_OK;
    return weirp_fail(err, WEIR_BUSY, 0, "%s: was replaced while it was being opened", env->path);
}

/* With the gate held: the data file doesn't change under its name meanwhile. */
static weir_status open_gated(weirp_env *env, int fd, weir_error *err) {
    size_t page_size;
    uint64_t n_pages;
    weir_status st;
    WEIRP_TRY(weirp_walk_headers(fd, env->path, &page_size, &n_pages, err));
    if (fstat(fd, &env->data_id) != 0) return weirp_fail_errno(err, errno, "fstat", env->path);
    env->page_size = page_size;
    int rc = open_any(env, (size_t)n_pages * page_size);
    if (rc) {
        env->mdb = NULL;
        return weirp_store_fail(err, rc, "can't open", env->path);
    }
    struct stat opened;
    mdb_filehandle_t mdb_fd;
    if (mdb_env_get_fd(env->mdb, &mdb_fd) != 0 || fstat(mdb_fd, &opened) != 0 || !same_file(&opened, &env->data_id))
        return weirp_fail(err, WEIR_BUSY, 0, "%s: was replaced while it was being opened", env->path);
    char *lock = weirp_sibling(env->path, "-lock");
    if (!lock) return weirp_nomem(err);
    env->has_lock_id = !env->no_lock && stat(lock, &env->lock_id) == 0;
    free(lock);
    if (env->no_lock) env->shared_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!env->read_only) WEIRP_TRY(open_turns(env, err));
    st = check_env(env, err);
done:
    return st;
}

static void free_env(weirp_env *env) {
    if (!env) return;
    if (env->mdb) mdb_env_close(env->mdb);
    if (env->shared_fd >= 0) close(env->shared_fd);
    if (env->turn_fd >= 0) close(env->turn_fd);
    pthread_mutex_destroy(&env->mutex);
    pthread_mutex_destroy(&env->writing);
    pthread_mutex_destroy(&env->opening);
    free(env->path);
    free(env);
}

static weir_status new_env(weirp_env **out, const char *path, int fd, weir_error *err) {
    weirp_env *env = weirp_array(1, sizeof *env);
    if (!env) return weirp_nomem(err);
    pthread_mutexattr_t checked;
    pthread_mutexattr_init(&checked);
    pthread_mutexattr_settype(&checked, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&env->writing, &checked);
    pthread_mutexattr_destroy(&checked);
    pthread_mutex_init(&env->mutex, NULL);
    pthread_mutex_init(&env->opening, NULL);
    env->pid = getpid();
    env->shared_fd = env->turn_fd = -1;
    env->refs = 1;
    env->path = weirp_strndup(path, strlen(path));
    weir_status st = env->path ? open_gated(env, fd, err) : weirp_nomem(err);
    if (st != WEIR_OK) {
        free_env(env);
        return st;
    }
    *out = env;
    return WEIR_OK;
}

/* ---- the registry ---- */

/* This process's environment of the file, or one that stands in the way of opening it. */
static weirp_env *find_env(const struct stat *data, const struct stat *lock, bool *in_the_way) {
    *in_the_way = false;
    for (weirp_env *env = registry; env; env = env->next) {
        if (env->pid != getpid()) continue;
        if (same_file(&env->data_id, data)) return env;
        if (lock && env->has_lock_id && same_file(&env->lock_id, lock)) *in_the_way = true;
    }
    return NULL;
}

static weir_status acquire_gated(weirp_env **out, const char *path, weir_error *err) {
    struct stat data, lock;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return weirp_fail_errno(err, errno, "can't open", path);
    weir_status st = WEIR_OK;
    char *lock_path = weirp_sibling(path, "-lock");
    bool in_the_way;
    if (!lock_path || fstat(fd, &data) != 0) {
        st = lock_path ? weirp_fail_errno(err, errno, "fstat", path) : weirp_nomem(err);
        goto done;
    }
    weirp_env *env = find_env(&data, stat(lock_path, &lock) == 0 ? &lock : NULL, &in_the_way);
    if (env) {
        env->refs++;
        *out = env;
    } else if (in_the_way) {
        /* somebody moved another file here by hand; the two would share a lock file, which LMDB can't bear */
        st = weirp_fail(err, WEIR_BUSY, 0, "%s: was replaced while this process has the old file open", path);
    } else if ((st = new_env(out, path, fd, err)) == WEIR_OK) {
        (*out)->next = registry;
        registry = *out;
    }
done:
    free(lock_path);
    close(fd);
    return st;
}

weir_status weirp_env_acquire(weirp_env **out, const char *path, weir_error *err) {
    int gate;
    *out = NULL;
    weir_status st = weirp_gate_enter(&gate, path, false, err);
    if (st != WEIR_OK) return st;
    pthread_mutex_lock(&registry_mutex);
    st = acquire_gated(out, path, err);
    pthread_mutex_unlock(&registry_mutex);
    weirp_unlock(gate);
    return st;
}

void weirp_env_retain(weirp_env *env) {
    pthread_mutex_lock(&registry_mutex);
    env->refs++;
    pthread_mutex_unlock(&registry_mutex);
}

void weirp_env_release(weirp_env *env) {
    if (!env || env->pid != getpid()) return;
    pthread_mutex_lock(&registry_mutex);
    if (--env->refs > 0) {
        env = NULL;
    } else {
        weirp_env **at = &registry;
        while (*at != env) at = &(*at)->next;
        *at = env->next;
    }
    free_env(env);
    pthread_mutex_unlock(&registry_mutex);
}

bool weirp_env_alone(weirp_env *env) {
    pthread_mutex_lock(&registry_mutex);
    bool alone = env->refs == 1;
    pthread_mutex_unlock(&registry_mutex);
    return alone;
}

weirp_name weirp_env_name(const weirp_env *env) {
    struct stat named;
    if (stat(env->path, &named) != 0) return WEIRP_NAME_GONE;
    return same_file(&named, &env->data_id) ? WEIRP_NAME_OURS : WEIRP_NAME_OTHERS;
}

/* ---- transactions and the map ---- */

static weir_status move_map(weirp_env *env, size_t bytes, weir_status blocked, weir_error *err) {
    if (env->n_active)
        return weirp_fail(err, blocked, 0,
                          "%s: its map of %zu bytes must grow, which can't be while snapshots are open", env->path,
                          env->map_size);
    int rc = mdb_env_set_mapsize(env->mdb, bytes);
    if (rc) {
        /* the old map is gone by now: only opening again helps */
        env->broken = true;
        return weirp_store_fail(err, rc, "can't enlarge its map", env->path);
    }
    MDB_envinfo info;
    mdb_env_info(env->mdb, &info);
    env->map_size = info.me_mapsize;
    return WEIR_OK;
}

/* With the mutex, which is let go meanwhile: other threads' snapshots that end soon are waited for. */
static void wait_quiet(weirp_env *env) {
    for (int i = 0; i < QUIET_TRIES && env->n_active; i++) {
        pthread_mutex_unlock(&env->mutex);
        nanosleep(&(struct timespec){0, QUIET_WAIT_NS}, NULL);
        pthread_mutex_lock(&env->mutex);
    }
}

static weir_status reopen_locked(weirp_env *env, weir_error *err) {
    if (env->n_active)
        return weirp_fail(err, WEIR_IO, 0, "%s: can't be opened again while snapshots are open", env->path);
    mdb_env_close(env->mdb);
    env->mdb = NULL;
    int rc = open_mapped(env, env->no_lock ? MDB_RDONLY | MDB_NOLOCK : env->read_only ? MDB_RDONLY : 0, env->page_size);
    if (rc) return weirp_store_fail(err, rc, "can't open again", env->path);
    MDB_txn *txn;
    rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc) return weirp_store_fail(err, rc, "can't open again", env->path);
    weir_status st = open_databases(env, txn, err);
    rc = mdb_txn_commit(txn);
    if (st == WEIR_OK && rc) st = weirp_store_fail(err, rc, "can't open again", env->path);
    env->broken = st != WEIR_OK;
    return st;
}

/* Without a lock file nobody sees this reader: it keeps writers out with a shared lock instead. */
static weir_status keep_writers_out(weirp_env *env, weir_error *err) {
    if (!env->no_lock || env->n_active) return WEIR_OK;
    if (env->shared_fd >= 0 && weirp_lock_stranger(env->shared_fd)) return WEIR_OK;
    pid_t holder = weirp_lock_holder(&env->data_id);
    const char *why = "reading beside a writer needs write access to its lock file";
    if (holder)
        return weirp_fail(err, WEIR_BUSY, 0, "%s: process %ld writes to it, and %s", env->path, (long)holder, why);
    return weirp_fail(err, WEIR_BUSY, 0, "%s: another process writes to it, and %s", env->path, why);
}

static weir_status begin_locked(weirp_env *env, MDB_txn **txn, weir_error *err) {
    weir_status st;
    if (env->broken || !env->mdb) WEIRP_TRY(reopen_locked(env, err));
    WEIRP_TRY(keep_writers_out(env, err));
    int rc = 0;
    for (int i = 0; i < 4; i++) {
        int dead;
        weirp_lock_turn(env->turn_fd, WEIRP_TURN_READER);
        rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, txn);
        if (rc == MDB_READERS_FULL) mdb_reader_check(env->mdb, &dead);
        weirp_unlock_turn(env->turn_fd, WEIRP_TURN_READER);
        if (rc == MDB_READERS_FULL) {
            continue;
        } else if (rc == MDB_MAP_RESIZED) {
            WEIRP_TRY(move_map(env, 0, WEIR_BUSY, err)); /* 0: as large as the writer's */
        } else if (rc == MDB_PANIC) {
            WEIRP_TRY(reopen_locked(env, err));
        } else {
            break;
        }
    }
    if (rc)
        st = weirp_store_fail(err, rc, "can't begin a transaction", env->path);
    else
        env->n_active++;
done:
    if (st != WEIR_OK && env->no_lock && !env->n_active && env->shared_fd >= 0) weirp_unlock_stranger(env->shared_fd);
    return st;
}

/* Another process may be at work for as long as it likes: this process's readers don't wait with us for it. */
static weir_status begin_write(weirp_env *env, MDB_txn **txn, weir_error *err) {
    int rc = 0;
    for (int i = 0; i < 4; i++) {
        weir_status st = WEIR_OK;
        pthread_mutex_lock(&env->mutex);
        if (rc == MDB_MAP_RESIZED) {
            wait_quiet(env);
            st = move_map(env, 0, WEIR_BUSY, err);
        }
        if (st == WEIR_OK && (env->broken || !env->mdb || rc == MDB_PANIC)) st = reopen_locked(env, err);
        if (st == WEIR_OK) env->n_active++; /* the map stays where it is */
        pthread_mutex_unlock(&env->mutex);
        if (st != WEIR_OK) return st;
        rc = mdb_txn_begin(env->mdb, NULL, 0, txn);
        if (!rc) return WEIR_OK;
        *txn = NULL;
        pthread_mutex_lock(&env->mutex);
        env->n_active--;
        pthread_mutex_unlock(&env->mutex);
        if (rc != MDB_MAP_RESIZED && rc != MDB_PANIC) break;
    }
    return weirp_store_fail(err, rc, "can't begin a transaction", env->path);
}

weir_status weirp_env_begin(weirp_env *env, bool write, MDB_txn **txn, weir_error *err) {
    *txn = NULL;
    if (env->pid != getpid())
        return weirp_fail(err, WEIR_INVALID, 0, "%s: was opened before a fork; open it again", env->path);
    if (write) return begin_write(env, txn, err);
    pthread_mutex_lock(&env->mutex);
    weir_status st = begin_locked(env, txn, err);
    pthread_mutex_unlock(&env->mutex);
    return st;
}

weir_status weirp_env_lock_writing(weirp_env *env, weir_error *err) {
    if (env->pid != getpid())
        return weirp_fail(err, WEIR_INVALID, 0, "%s: was opened before a fork; open it again", env->path);
    if (pthread_mutex_lock(&env->writing) != 0)
        return weirp_fail(err, WEIR_INVALID, 0, "%s: a transaction of this thread is under way", env->path);
    weirp_lock_turn(env->turn_fd, WEIRP_TURN_WRITE);
    return WEIR_OK;
}

void weirp_env_unlock_writing(weirp_env *env) {
    weirp_unlock_turn(env->turn_fd, WEIRP_TURN_WRITE);
    pthread_mutex_unlock(&env->writing);
}

/* LMDB tells only of fixed maps; but a page knows its number. */
const uint8_t *weirp_env_map(weirp_env *env, MDB_txn *txn) {
    MDB_val key = {strlen(WEIRP_META_KEY), (void *)(uintptr_t)WEIRP_META_KEY}, value;
    if (mdb_get(txn, env->meta, &key, &value) != 0) return NULL;
    uintptr_t page = (uintptr_t)value.mv_data / env->page_size * env->page_size;
    uint64_t number = weirp_get_le64((const uint8_t *)page);
    return number < env->map_size / env->page_size ? (const uint8_t *)(page - number * env->page_size) : NULL;
}

void weirp_env_forget(weirp_env *env) {
    MDB_txn *txn;
    struct stat file;
    mdb_filehandle_t fd;
    if (weirp_env_begin(env, false, &txn, NULL) != WEIR_OK) return;
    const uint8_t *map = weirp_env_map(env, txn);
    if (map && mdb_env_get_fd(env->mdb, &fd) == 0 && fstat(fd, &file) == 0) {
        size_t bytes = (size_t)file.st_size < env->map_size ? (size_t)file.st_size : env->map_size;
        /* a shared map of a file: nothing is lost, and a reader that comes by finds the page in the cache */
        (void)madvise((void *)(uintptr_t)map, bytes, MADV_DONTNEED);
    }
    weirp_env_end(env, txn, false);
}

uint32_t weirp_env_schema(weirp_env *env) {
    pthread_mutex_lock(&env->mutex);
    uint32_t schema = env->schema;
    pthread_mutex_unlock(&env->mutex);
    return schema;
}

/* The header of a store that is to have what `schema` has. */
static int put_schema(weirp_env *env, MDB_txn *txn, uint32_t schema, weir_error *err) {
    weirp_meta meta;
    uint8_t bytes[WEIRP_META_SIZE];
    char key_text[] = WEIRP_META_KEY;
    if (weirp_read_meta(env, txn, &meta, err) != WEIR_OK) return MDB_CORRUPTED;
    if (meta.schema >= schema) return 0;
    meta.schema = schema;
    MDB_val key = {strlen(key_text), key_text}, value = {0, bytes};
    value.mv_size = weirp_meta_encode(&meta, bytes);
    return mdb_put(txn, env->meta, &key, &value, 0);
}

/* LMDB lets only one transaction of a process open handles at a time, to its end: `opening` sees to that. */
weir_status weirp_env_raise(weirp_env *env, uint32_t schema, bool create, bool *full, weir_error *err) {
    MDB_txn *txn = NULL;
    MDB_dbi index = 0, table = 0;
    *full = false;
    uint32_t has = weirp_env_schema(env);
    if (has >= schema) return WEIR_OK;
    if (create) { /* may have to wait for another process, and readers for whoever holds `opening` */
        weir_status st = weirp_env_begin(env, true, &txn, err);
        if (st != WEIR_OK) return st;
    }
    pthread_mutex_lock(&env->opening);
    if (txn && weirp_env_schema(env) != has) {
        /* a reader has found what another process made; this transaction wouldn't know those handles */
        weirp_env_end(env, txn, false);
        pthread_mutex_unlock(&env->opening);
        return weirp_env_raise(env, schema, create, full, err);
    }
    weir_status st = create ? WEIR_OK : weirp_env_begin(env, false, &txn, err);
    if (st == WEIR_OK) {
        unsigned flags = create ? MDB_CREATE : 0;
        int rc = mdb_dbi_open(txn, WEIRP_DB_INDEX, flags, &index);
        if (!rc && schema >= WEIRP_SCHEMA_TABLE) rc = mdb_dbi_open(txn, WEIRP_DB_TABLE, flags, &table);
        if (!rc && create) rc = put_schema(env, txn, schema, err);
        int ended = weirp_env_end(env, txn, !rc);
        if (!rc) rc = ended;
        *full = rc == MDB_MAP_FULL;
        if (rc) st = weirp_store_fail(*full ? NULL : err, rc, "can't open its databases", env->path);
    }
    pthread_mutex_lock(&env->mutex);
    if (st == WEIR_OK && env->schema < schema) {
        /* others may be using what is there already */
        if (env->schema < WEIRP_SCHEMA_INDEX) env->index = index;
        if (schema >= WEIRP_SCHEMA_TABLE) env->table = table;
        env->schema = schema;
    }
    pthread_mutex_unlock(&env->mutex);
    pthread_mutex_unlock(&env->opening);
    return st;
}

int weirp_env_end(weirp_env *env, MDB_txn *txn, bool commit) {
    int rc = 0;
    if (!txn) return 0;
    if (commit)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    pthread_mutex_lock(&env->mutex);
    env->n_active--;
    if (env->no_lock && !env->n_active) weirp_unlock_stranger(env->shared_fd);
    pthread_mutex_unlock(&env->mutex);
    return rc;
}

void weirp_env_sweep(weirp_env *env) {
    int dead;
    pthread_mutex_lock(&env->mutex);
    weirp_lock_turn(env->turn_fd, WEIRP_TURN_READER);
    if (env->mdb) mdb_reader_check(env->mdb, &dead);
    weirp_unlock_turn(env->turn_fd, WEIRP_TURN_READER);
    pthread_mutex_unlock(&env->mutex);
}

weir_status weirp_env_grow(weirp_env *env, size_t more, weir_error *err) {
    pthread_mutex_lock(&env->mutex);
    wait_quiet(env);
    size_t bytes = env->map_size, at_least = bytes < SIZE_MAX - more ? bytes + more : SIZE_MAX;
    while (bytes < at_least && bytes < SIZE_MAX / 2) bytes *= 2;
    if (bytes == env->map_size && bytes < SIZE_MAX / 2) bytes *= 2;
    weir_status st = move_map(env, bytes, WEIR_FULL, err);
    pthread_mutex_unlock(&env->mutex);
    return st;
}

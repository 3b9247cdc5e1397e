/* snapshot.c: opening, and reading one consistent state. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/store/internal.h"

/* ---- handles ---- */

/* A writer that was killed after its commit reached the file, but before LMDB noted that in the lock file, leaves
 * readers with the state before it, while the next write transaction finds the state after it. Beginning one sets the
 * lock file right, so that what a new writer reads first is what its first commit builds on. */
static weir_status settle(weirp_env *env, weir_error *err) {
    MDB_txn *txn;
    weir_status st = weirp_env_lock_writing(env, err);
    if (st != WEIR_OK) return st;
    st = weirp_env_begin(env, true, &txn, err);
    if (st == WEIR_OK) weirp_env_end(env, txn, false);
    weirp_env_unlock_writing(env);
    if (st == WEIR_OK) weirp_env_sweep(env);
    return st;
}

static weir_status open_resolved(weirp_store *store, weir_error *err) {
    weir_status st;
    struct stat joined = {0};
    bool join = store->mode == WEIRP_STORE_JOIN, write = store->mode != WEIRP_STORE_READ;
    if (join)
        WEIRP_TRY(weirp_lock_join(&store->lock_fd, &joined, store->path, err));
    else if (write)
        WEIRP_TRY(weirp_lock_writer(&store->lock_fd, store->path, err));
    WEIRP_TRY(weirp_env_acquire(&store->env, store->path, err));
    const struct stat *opened = &store->env->data_id;
    if (join && (opened->st_ino != joined.st_ino || opened->st_dev != joined.st_dev))
        st = weirp_fail(err, WEIR_BUSY, 0, "%s: was replaced while it was being opened", store->path);
    else if (write && store->env->read_only)
        st = weirp_fail(err, WEIR_READONLY, 0, "%s: this process has it open read-only", store->path);
    else if (write)
        st = settle(store->env, err);
done:
    return st;
}

weir_status weirp_store_open(weirp_store **out, const char *path, weirp_store_mode mode, weir_error *err) {
    *out = NULL;
    weir_status st;
    weirp_store *store = weirp_array(1, sizeof *store);
    if (!store) return weirp_nomem(err);
    store->mode = mode;
    store->pid = getpid();
    store->lock_fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    if (mode == WEIRP_STORE_CREATE && access(path, F_OK) != 0 && errno == ENOENT) WEIRP_TRY(weirp_create(path, err));
    /* LMDB must open the file itself, and compaction replace it, where `path` is a link to it */
    store->path = realpath(path, NULL);
    if (!store->path) {
        st = weirp_fail_errno(err, errno, "can't open", path);
        goto done;
    }
    st = open_resolved(store, err);
done:
    if (st == WEIR_OK)
        *out = store;
    else
        weirp_store_close(store);
    return st;
}

void weirp_store_close(weirp_store *store) {
    if (!store) return;
    if (store->pid == getpid()) {
        weirp_env_release(store->env);
        weirp_unlock(store->lock_fd);
    } else if (store->lock_fd >= 0) {
        close(store->lock_fd); /* a fork's child: the lock is its parent's */
    }
    pthread_mutex_destroy(&store->mutex);
    free(store->path);
    free(store);
}

/* ---- snapshots ---- */

weir_status weirp_read_meta(weirp_env *env, MDB_txn *txn, weirp_meta *meta, weir_error *err) {
    char key_text[] = WEIRP_META_KEY;
    MDB_val key = {strlen(key_text), key_text}, value;
    int rc = mdb_get(txn, env->meta, &key, &value);
    if (rc == MDB_NOTFOUND) return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: it has no header", env->path);
    if (rc) return weirp_store_fail(err, rc, "can't read its header", env->path);
    return weirp_meta_decode(meta, value.mv_data, value.mv_size, env->path, err);
}

weir_status weirp_snapshot_of(weirp_snapshot **out, weirp_env *env, weir_error *err) {
    *out = NULL;
    weir_status st;
    weirp_snapshot *snapshot = weirp_array(1, sizeof *snapshot);
    if (!snapshot) return weirp_nomem(err);
    snapshot->env = env;
    weirp_env_retain(env);
    WEIRP_TRY(weirp_env_begin(env, false, &snapshot->txn, err));
    WEIRP_TRY(weirp_read_meta(env, snapshot->txn, &snapshot->meta, err));
    while (snapshot->meta.schema > weirp_env_schema(env)) {
        /* another process has made more databases since this one opened the file; a transaction sees only handles older
         * than it */
        bool full;
        weirp_env_end(env, snapshot->txn, false);
        snapshot->txn = NULL;
        WEIRP_TRY(weirp_env_raise(env, snapshot->meta.schema, false, &full, err));
        WEIRP_TRY(weirp_env_begin(env, false, &snapshot->txn, err));
        WEIRP_TRY(weirp_read_meta(env, snapshot->txn, &snapshot->meta, err));
    }
    snapshot->table = (weirp_txn){.env = env, .mdb = snapshot->txn, .meta = &snapshot->meta};
    *out = snapshot;
done:
    if (st != WEIR_OK) weirp_snapshot_end(snapshot);
    return st;
}

/* Compaction by another process puts a new file in place: a reader follows. Where compaction died before it took the
 * old lock file away, LMDB can't have both files open in one process: the old one is let go first, or, while snapshots
 * of it are about, still serves. */
static weir_status follow(weirp_store *store, weir_error *err) {
    weirp_env *now = NULL;
    weir_error quiet = {0};
    weir_status st = weirp_env_acquire(&now, store->path, &quiet);
    if (st == WEIR_BUSY && weirp_env_alone(store->env)) {
        weirp_env_release(store->env);
        store->env = NULL;
        return weirp_env_acquire(&store->env, store->path, err);
    }
    if (st == WEIR_BUSY) return WEIR_OK;
    if (st != WEIR_OK) return weirp_fail(err, st, 0, "%s", quiet.text);
    weirp_env_release(store->env);
    store->env = now;
    return WEIR_OK;
}

weir_status weirp_snapshot_begin(weirp_snapshot **out, weirp_store *store, weir_error *err) {
    *out = NULL;
    if (store->pid != getpid())
        return weirp_fail(err, WEIR_INVALID, 0, "%s: was opened before a fork; open it again", store->path);
    pthread_mutex_lock(&store->mutex);
    weir_status st = WEIR_OK;
    if (!store->env)
        st = weirp_env_acquire(&store->env, store->path, err);
    else if (store->mode == WEIRP_STORE_READ && weirp_env_name(store->env) == WEIRP_NAME_OTHERS)
        st = follow(store, err);
    if (st == WEIR_OK) st = weirp_snapshot_of(out, store->env, err);
    pthread_mutex_unlock(&store->mutex);
    return st;
}

void weirp_snapshot_end(weirp_snapshot *snapshot) {
    if (!snapshot) return;
    if (snapshot->env->pid == getpid()) {
        weirp_env_end(snapshot->env, snapshot->txn, false);
        weirp_env_release(snapshot->env);
    }
    free(snapshot->names);
    free(snapshot->sizes);
    free(snapshot);
}

uint64_t weirp_snapshot_version(weirp_snapshot *snapshot) {
    return snapshot->meta.n_commits;
}

uint64_t weirp_snapshot_n_log(weirp_snapshot *snapshot) {
    return snapshot->meta.n_log;
}

uint64_t weirp_snapshot_first_log(weirp_snapshot *snapshot) {
    return snapshot->meta.first_log;
}

uint64_t weirp_snapshot_n_indexed(weirp_snapshot *snapshot) {
    return snapshot->meta.n_indexed;
}

uint64_t weirp_snapshot_n_entries(weirp_snapshot *snapshot) {
    return snapshot->meta.n_entries;
}

uint64_t weirp_snapshot_n_table(weirp_snapshot *snapshot) {
    return snapshot->meta.n_table;
}

uint64_t weirp_snapshot_table_version(weirp_snapshot *snapshot) {
    return snapshot->meta.table_version;
}

weirp_txn *weirp_snapshot_table(weirp_snapshot *snapshot) {
    return &snapshot->table;
}

/* ---- sections ---- */

static weir_status check_section(weirp_snapshot *s, const MDB_val *name, const MDB_val *stored, uint64_t *checksum,
                                 const uint8_t **data, size_t *size, weir_error *err) {
    if (!weirp_section_split(stored, checksum, data, size) ||
        weirp_section_checksum(name->mv_data, name->mv_size, *data, *size) != *checksum)
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: section %.*s: wrong checksum", s->env->path,
                          (int)name->mv_size, (const char *)name->mv_data);
    return WEIR_OK;
}

weir_status weirp_snapshot_get(weirp_snapshot *s, const char *section, const uint8_t **data, size_t *size,
                               weir_error *err) {
    MDB_val name = {strlen(section), (void *)(uintptr_t)section}, stored;
    uint64_t checksum;
    if (name.mv_size == 0 || name.mv_size > WEIRP_NAME_MAX)
        return weirp_fail(err, WEIR_INVALID, 0, "%s: a section's name has 1 to %u bytes", s->env->path, WEIRP_NAME_MAX);
    int rc = mdb_get(s->txn, s->env->sections, &name, &stored);
    if (rc == MDB_NOTFOUND) return weirp_fail(err, WEIR_NOTFOUND, 0, "%s: no section %s", s->env->path, section);
    if (rc) return weirp_store_fail(err, rc, "can't read a section", s->env->path);
    return check_section(s, &name, &stored, &checksum, data, size, err);
}

/* Names and sizes, kept: pointers into leaf pages wouldn't end in a NUL. */
static weir_status list_sections(weirp_snapshot *s, weir_error *err) {
    weir_status st = WEIR_OK;
    MDB_cursor *cursor = NULL;
    MDB_val name, stored;
    size_t text = 0, n = 0, whole = (size_t)s->meta.n_sections;
    int rc = mdb_cursor_open(s->txn, s->env->sections, &cursor);
    for (int step = MDB_FIRST; !rc; step = MDB_NEXT) {
        if ((rc = mdb_cursor_get(cursor, &name, &stored, step)) == 0 && ++n) text += name.mv_size + 1;
    }
    if (rc == MDB_NOTFOUND && n == whole) {
        s->names = malloc(n * sizeof *s->names + text + 1);
        s->sizes = weirp_array(n, sizeof *s->sizes);
        char *at = (char *)(s->names + n);
        if (!s->names || !s->sizes) st = weirp_nomem(err);
        for (size_t i = 0; i < n && st == WEIR_OK; i++) {
            const uint8_t *data;
            uint64_t checksum;
            if (mdb_cursor_get(cursor, &name, &stored, i ? MDB_NEXT : MDB_FIRST) != 0 ||
                memchr(name.mv_data, '\0', name.mv_size) ||
                !weirp_section_split(&stored, &checksum, &data, &s->sizes[i]))
                st = weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: a section without its header", s->env->path);
            s->names[i] = at;
            memcpy(at, name.mv_data, name.mv_size);
            at[name.mv_size] = '\0';
            at += name.mv_size + 1;
        }
        s->n_names = n;
        s->listed = st == WEIR_OK;
    } else if (rc == MDB_NOTFOUND) {
        st = weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: %zu sections where its header says %zu", s->env->path, n,
                        whole);
    } else {
        st = weirp_store_fail(err, rc, "can't list its sections", s->env->path);
    }
    if (cursor) mdb_cursor_close(cursor);
    return st;
}

weir_status weirp_snapshot_section(weirp_snapshot *s, size_t index, const char **name, size_t *size, weir_error *err) {
    if (!s->listed) {
        free(s->names);
        free(s->sizes);
        s->names = NULL;
        s->sizes = NULL;
        weir_status st = list_sections(s, err);
        if (st != WEIR_OK) return st;
    }
    if (index >= s->n_names) return WEIR_END;
    *name = s->names[index];
    if (size) *size = s->sizes[index];
    return WEIR_OK;
}

/* ---- the log ---- */

static weir_status bad_log(weirp_snapshot *s, uint64_t number, weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: log record %llu", s->env->path, (unsigned long long)number);
}

/* Visits a batch's records from `from` on; *number becomes the number after its last. */
static weir_status visit_batch(weirp_snapshot *s, const MDB_val *batch, uint64_t from, uint64_t *number,
                               weirp_log_visit visit, void *user, weir_error *err) {
    if (batch->mv_size < WEIRP_BATCH_HEADER) return bad_log(s, *number, err);
    uint32_t n = weirp_get_le32(batch->mv_data);
    size_t at = WEIRP_BATCH_HEADER, size;
    const uint8_t *data;
    for (uint32_t i = 0; i < n; i++, ++*number) {
        if (!weirp_record_decode(*number, batch->mv_data, batch->mv_size, &at, &data, &size))
            return bad_log(s, *number, err);
        if (*number < from) continue;
        weir_status st = visit(user, *number, data, size, err);
        if (st != WEIR_OK) return st;
    }
    return at == batch->mv_size && n ? WEIR_OK : bad_log(s, *number, err);
}

static int find_batch(MDB_cursor *cursor, uint64_t from, MDB_val *key, MDB_val *batch) {
    uint8_t bytes[8];
    weirp_log_key(from, bytes);
    *key = (MDB_val){sizeof bytes, bytes};
    int rc = mdb_cursor_get(cursor, key, batch, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND) return mdb_cursor_get(cursor, key, batch, MDB_LAST);
    if (rc == 0 && (key->mv_size != 8 || weirp_log_number(key->mv_data) > from))
        return mdb_cursor_get(cursor, key, batch, MDB_PREV);
    return rc;
}

weir_status weirp_snapshot_log(weirp_snapshot *s, uint64_t from, weirp_log_visit visit, void *user, weir_error *err) {
    if (from < s->meta.first_log) from = s->meta.first_log;
    if (from >= s->meta.n_log) return WEIR_OK;
    MDB_cursor *cursor;
    MDB_val key, batch;
    int rc = mdb_cursor_open(s->txn, s->env->log, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its log", s->env->path);
    weir_status st = WEIR_OK;
    rc = find_batch(cursor, from, &key, &batch);
    uint64_t number = rc == 0 && key.mv_size == 8 ? weirp_log_number(key.mv_data) : 0;
    while (rc == 0 && st == WEIR_OK) {
        if (key.mv_size != 8 || weirp_log_number(key.mv_data) != number)
            st = bad_log(s, number, err);
        else
            st = visit_batch(s, &batch, from, &number, visit, user, err);
        if (st == WEIR_OK) rc = mdb_cursor_get(cursor, &key, &batch, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (st != WEIR_OK) return st;
    if (rc != MDB_NOTFOUND) return weirp_store_fail(err, rc, "can't read its log", s->env->path);
    return number == s->meta.n_log ? WEIR_OK : bad_log(s, number, err);
}

typedef struct wanted {
    uint64_t number;
    const uint8_t *data;
    size_t size;
} wanted;

static weir_status take_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    wanted *w = user;
    (void)err;
    if (number != w->number) return WEIR_OK;
    w->data = data;
    w->size = size;
    return WEIR_END;
}

weir_status weirp_snapshot_record(weirp_snapshot *s, uint64_t number, const uint8_t **data, size_t *size,
                                  weir_error *err) {
    wanted w = {.number = number};
    if (number < s->meta.first_log || number >= s->meta.n_log)
        return weirp_fail(err, WEIR_NOTFOUND, 0, "%s: log record %llu is not there", s->env->path,
                          (unsigned long long)number);
    weir_status st = weirp_snapshot_log(s, number, take_record, &w, err);
    if (st != WEIR_END) return st == WEIR_OK ? bad_log(s, number, err) : st;
    *data = w.data;
    *size = w.size;
    return WEIR_OK;
}

/* ---- everything ---- */

static weir_status pass(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)user, (void)number, (void)data, (void)size, (void)err;
    return WEIR_OK;
}

weir_status weirp_snapshot_verify(weirp_snapshot *s, weir_error *err) {
    MDB_cursor *cursor;
    MDB_val name, stored;
    uint64_t n = 0, sum = 0, checksum;
    int rc = mdb_cursor_open(s->txn, s->env->sections, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its sections", s->env->path);
    weir_status st = WEIR_OK;
    for (int step = MDB_FIRST; st == WEIR_OK && (rc = mdb_cursor_get(cursor, &name, &stored, step)) == 0;
         step = MDB_NEXT) {
        const uint8_t *data;
        size_t size;
        st = check_section(s, &name, &stored, &checksum, &data, &size, err);
        if (st == WEIR_OK) {
            n++;
            sum += checksum;
        }
    }
    mdb_cursor_close(cursor);
    if (st != WEIR_OK) return st;
    if (rc != MDB_NOTFOUND) return weirp_store_fail(err, rc, "can't read its sections", s->env->path);
    if (n != s->meta.n_sections || sum != s->meta.sections_sum)
        return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: its sections aren't those its header counts",
                          s->env->path);
    st = weirp_snapshot_log(s, 0, pass, NULL, err);
    if (st == WEIR_OK) st = weirp_index_verify(s, &sum, err);
    return st == WEIR_OK ? weirp_table_verify(&s->table, err) : st;
}

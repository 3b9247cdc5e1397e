/* commit.c: changes, all or none, durable on return.
 *
 * LMDB's defaults are kept: data pages are written and fdatasync()ed, then the meta page is written through a
 * synchronous descriptor. Nothing that is in use is overwritten, so that whatever fails or dies before the meta page
 * leaves the old state. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "src/store/internal.h"

#define BATCH_FLUSH 65536u /* a batch that has grown so long is put away */
enum {
    READER_CHECK_EVERY = 256,
    FORGET_EVERY = 32, /* each commit maps a few pages of the log, which is in nobody's way until it is long */
    MAX_TRIES = 48     /* doublings of the map */
};

typedef struct commit {
    weirp_env *env;
    MDB_txn *txn;
    weir_error *err;
    weirp_meta meta;
    weirp_txn table;
    bool full; /* the map: grow it and start over */
    /* the log's batch at hand */
    bool loaded, replaces;
    uint64_t first; /* number of its first record */
    uint32_t n;
    weirp_writer batch;
    weirp_index_pair *pairs; /* (n_pairs) for the index, when everything else is done */
    size_t n_pairs, pair_capacity;
} commit;

static weir_status fail(commit *c, int rc, const char *what) {
    c->full = rc == MDB_MAP_FULL;
    return weirp_store_fail(c->full ? NULL : c->err, rc, what, c->env->path);
}

/* ---- sections ---- */

/* Takes a stored section out of the header's counts. */
static weir_status uncount(commit *c, const MDB_val *stored) {
    uint64_t checksum;
    const uint8_t *data;
    size_t size;
    if (!weirp_section_split(stored, &checksum, &data, &size))
        return weirp_fail(c->err, WEIR_CORRUPT, 0, "%s: damaged: a section without its header", c->env->path);
    c->meta.n_sections--;
    c->meta.sections_sum -= checksum;
    return WEIR_OK;
}

static weir_status put_section(commit *c, const weirp_change *change) {
    weir_status st = WEIR_OK;
    MDB_val name = {strlen(change->section), (void *)(uintptr_t)change->section}, stored;
    int rc = mdb_get(c->txn, c->env->sections, &name, &stored);
    if (rc == 0)
        st = uncount(c, &stored);
    else if (rc != MDB_NOTFOUND)
        st = fail(c, rc, "can't replace a section");
    if (st != WEIR_OK) return st;
    stored = (MDB_val){WEIRP_SECTION_HEADER + change->size, NULL};
    if ((rc = mdb_put(c->txn, c->env->sections, &name, &stored, MDB_RESERVE)))
        return fail(c, rc, "can't put a section");
    uint64_t checksum = weirp_section_checksum(name.mv_data, name.mv_size, change->data, change->size);
    uint8_t *out = stored.mv_data;
    weirp_put_le64(out, checksum);
    weirp_put_le64(out + 8, change->size);
    if (change->size) memcpy(out + WEIRP_SECTION_HEADER, change->data, change->size);
    c->meta.n_sections++;
    c->meta.sections_sum += checksum;
    return WEIR_OK;
}

/* Deletes the first section at or after `prefix` if it is `prefix` (exact) or begins so; WEIR_END: there is none. */
static weir_status delete_one(commit *c, const char *prefix, bool exact) {
    size_t len = strlen(prefix);
    MDB_val name = {len, (void *)(uintptr_t)prefix}, stored;
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(c->txn, c->env->sections, &cursor);
    if (rc) return fail(c, rc, "can't delete a section");
    weir_status st;
    rc = mdb_cursor_get(cursor, &name, &stored, len ? MDB_SET_RANGE : MDB_FIRST);
    if (rc == MDB_NOTFOUND)
        st = WEIR_END;
    else if (rc)
        st = fail(c, rc, "can't delete a section");
    else if (name.mv_size < len || memcmp(name.mv_data, prefix, len) != 0 || (exact && name.mv_size != len))
        st = WEIR_END;
    else if ((st = uncount(c, &stored)) == WEIR_OK && (rc = mdb_cursor_del(cursor, 0)))
        st = fail(c, rc, "can't delete a section");
    mdb_cursor_close(cursor);
    return st;
}

static weir_status delete_sections(commit *c, const weirp_change *change) {
    bool exact = change->kind == WEIRP_DELETE;
    weir_status st;
    while ((st = delete_one(c, change->section, exact)) == WEIR_OK && !exact) {
    }
    return st == WEIR_END ? WEIR_OK : st;
}

/* ---- the log ---- */

/* A short last batch is taken up again: single records would otherwise take a value, and every few of them a page,
 * each. */
static weir_status load_batch(commit *c) {
    MDB_cursor *cursor;
    MDB_val key, last;
    weir_status st = WEIR_OK;
    int rc = mdb_cursor_open(c->txn, c->env->log, &cursor);
    if (rc) return fail(c, rc, "can't append to the log");
    c->loaded = true;
    c->first = c->meta.n_log;
    rc = mdb_cursor_get(cursor, &key, &last, MDB_LAST);
    if (rc == 0) {
        uint32_t n = last.mv_size >= WEIRP_BATCH_HEADER ? weirp_get_le32(last.mv_data) : 0;
        if (!n || key.mv_size != 8 || weirp_log_number(key.mv_data) + n != c->meta.n_log)
            st = weirp_fail(c->err, WEIR_CORRUPT, 0, "%s: damaged: its log doesn't end where its header says",
                            c->env->path);
        else if (last.mv_size < WEIRP_BATCH_BYTES) {
            c->replaces = true;
            c->first = weirp_log_number(key.mv_data);
            c->n = n;
            weirp_put(&c->batch, last.mv_data, last.mv_size);
        }
    } else if (rc != MDB_NOTFOUND || c->meta.n_log) {
        st = rc != MDB_NOTFOUND ? fail(c, rc, "can't append to the log")
                                : weirp_fail(c->err, WEIR_CORRUPT, 0, "%s: damaged: its log is gone", c->env->path);
    }
    mdb_cursor_close(cursor);
    return st;
}

static weir_status flush_batch(commit *c) {
    if (!c->loaded || !c->n) return WEIR_OK;
    uint8_t bytes[8];
    weirp_log_key(c->first, bytes);
    weirp_put_le32(c->batch.data, c->n);
    weirp_put_le32(c->batch.data + 4, 0);
    MDB_val key = {sizeof bytes, bytes}, value = {c->batch.size, c->batch.data};
    int rc = mdb_put(c->txn, c->env->log, &key, &value, c->replaces ? 0 : MDB_APPEND);
    if (rc) return fail(c, rc, "can't append to the log");
    c->first += c->n;
    c->n = 0;
    c->batch.size = 0;
    c->replaces = false;
    return WEIR_OK;
}

static weir_status append(commit *c, const weirp_change *change) {
    weir_status st;
    if (!c->loaded) WEIRP_TRY(load_batch(c));
    uint64_t header = 0;
    if (!c->batch.size) weirp_put(&c->batch, &header, WEIRP_BATCH_HEADER);
    size_t at = c->batch.size, whole = weirp_record_size(change->size);
    if (c->batch.failed || whole > SIZE_MAX - at ||
        !weirp_reserve((void **)&c->batch.data, &c->batch.capacity, at + whole, 1))
        return weirp_nomem(c->err);
    weirp_record_encode(c->meta.n_log, change->data, change->size, c->batch.data + at);
    c->batch.size += whole;
    c->n++;
    if (change->number) {
        if (!weirp_reserve((void **)&c->pairs, &c->pair_capacity, c->n_pairs + 1, sizeof *c->pairs))
            return weirp_nomem(c->err);
        c->pairs[c->n_pairs++] = (weirp_index_pair){change->number, c->meta.n_log};
        c->meta.n_indexed += !change->follows;
        if (change->follows && c->meta.schema < WEIRP_SCHEMA_FOLLOW) c->meta.schema = WEIRP_SCHEMA_FOLLOW;
    }
    c->meta.n_log++;
    st = c->batch.size >= BATCH_FLUSH ? flush_batch(c) : WEIR_OK;
done:
    return st;
}

static weir_status flush_index(commit *c) {
    if (!c->n_pairs) return WEIR_OK;
    int rc = weirp_index_add(c->txn, c->env->index, c->pairs, c->n_pairs);
    if (rc) return fail(c, rc, "can't add to its index");
    c->meta.n_entries += c->n_pairs;
    c->n_pairs = 0;
    return WEIR_OK;
}

/* Deletes batches from the log's beginning; the last one stays, so that a log that is gone is told from a short one. */
static weir_status trim(commit *c, uint64_t number) {
    MDB_cursor *cursor;
    MDB_val key, batch;
    weir_status st;
    WEIRP_TRY(flush_batch(c));
    WEIRP_TRY(flush_index(c));
    c->loaded = false;
    int rc = mdb_cursor_open(c->txn, c->env->log, &cursor);
    if (rc) return fail(c, rc, "can't trim its log");
    while (!(rc = mdb_cursor_get(cursor, &key, &batch, MDB_FIRST))) {
        uint32_t n = batch.mv_size >= WEIRP_BATCH_HEADER ? weirp_get_le32(batch.mv_data) : 0;
        uint64_t end = c->meta.first_log + n;
        if (!n || key.mv_size != 8 || weirp_log_number(key.mv_data) != c->meta.first_log) {
            st = weirp_fail(c->err, WEIR_CORRUPT, 0, "%s: damaged: log record %llu", c->env->path,
                            (unsigned long long)c->meta.first_log);
            break;
        }
        if (end > number || end >= c->meta.n_log || (rc = mdb_cursor_del(cursor, 0))) break;
        c->meta.first_log = end;
    }
    mdb_cursor_close(cursor);
    uint64_t gone = 0;
    if (st == WEIR_OK && (!rc || rc == MDB_NOTFOUND))
        rc = weirp_index_trim(c->txn, c->env->index, c->meta.first_log, &gone);
    if (st == WEIR_OK && rc) st = fail(c, rc, "can't trim its log");
    c->meta.n_entries -= gone < c->meta.n_entries ? gone : c->meta.n_entries;
done:
    return st;
}

/* ---- one try ---- */

/* What is to be done, beside what a try finds out. */
typedef struct job {
    const weirp_change *changes;
    size_t n, need; /* need: bytes of map that the changes may take */
    weirp_table_work work;
    void *user;
    bool counts; /* as a commit: even without changes */
} job;

static weir_status apply(commit *c, const weirp_change *changes, size_t n) {
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < n; i++) {
        if (changes[i].kind == WEIRP_PUT)
            WEIRP_TRY(put_section(c, &changes[i]));
        else if (changes[i].kind == WEIRP_APPEND_LOG)
            WEIRP_TRY(append(c, &changes[i]));
        else if (changes[i].kind == WEIRP_TRIM_LOG)
            WEIRP_TRY(trim(c, changes[i].number));
        else
            WEIRP_TRY(delete_sections(c, &changes[i]));
    }
    WEIRP_TRY(flush_batch(c));
    WEIRP_TRY(flush_index(c));
done:
    return st;
}

/* The caller's work on the table. What it says of a try that is repeated is nobody's business. */
static weir_status run_work(commit *c, const job *j) {
    weir_error own = {0};
    c->table = (weirp_txn){
        .env = c->env, .mdb = c->txn, .meta = &c->meta, .write = true, .map = weirp_env_map(c->env, c->txn)};
    weir_status st = j->work(j->user, &c->table, &own);
    c->full = c->table.full;
    if (c->table.failed != WEIR_OK) st = c->table.failed; /* it can't be committed, whatever `work` says */
    if (st != WEIR_OK && !c->full && !c->table.no_table && own.status != WEIR_OK)
        weirp_fail(c->err, own.status, own.line, "%s", own.text);
    return st;
}

static weir_status put_meta(commit *c, const job *j) {
    if (j->counts || j->n) c->meta.n_commits++;
    if (c->table.changed) c->meta.table_version++;
    uint8_t bytes[WEIRP_META_SIZE];
    char key_text[] = WEIRP_META_KEY;
    MDB_val key = {strlen(key_text), key_text}, value = {weirp_meta_encode(&c->meta, bytes), bytes};
    int rc = mdb_put(c->txn, c->env->meta, &key, &value, 0);
    return rc ? fail(c, rc, "can't write its header") : WEIR_OK;
}

/* Begins the transaction and reads the header; handles of databases that others have made are opened first. */
static weir_status begin(commit *c) {
    for (;;) {
        weir_status st = weirp_env_begin(c->env, true, &c->txn, c->err);
        if (st != WEIR_OK) return st;
        st = weirp_read_meta(c->env, c->txn, &c->meta, c->err);
        if (st == WEIR_OK && c->meta.schema <= weirp_env_schema(c->env)) return WEIR_OK;
        weirp_env_end(c->env, c->txn, false);
        c->txn = NULL;
        bool full;
        if (st == WEIR_OK) st = weirp_env_raise(c->env, c->meta.schema, false, &full, c->err);
        if (st != WEIR_OK) return st;
    }
}

/* LMDB reports a short write as EIO: is the disk, the quota or the file size limit behind it? */
static bool out_of_space(weirp_env *env, size_t need) {
    struct statvfs fs;
    struct rlimit limit;
    struct stat st;
    if (stat(env->path, &st) != 0) return false;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (uint64_t)st.st_size + need > limit.rlim_cur)
        return true;
    return statvfs(env->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < need;
}

static weir_status try_once(commit *c, const job *j) {
    weir_status st = begin(c);
    if (st != WEIR_OK) return st;
    if (j->work) st = run_work(c, j);
    if (st == WEIR_OK) st = apply(c, j->changes, j->n);
    bool nothing = !j->counts && !j->n && !c->table.changed;
    if (st == WEIR_OK && !nothing) st = put_meta(c, j);
    if (st != WEIR_OK || nothing) {
        weirp_env_end(c->env, c->txn, false);
        return st;
    }
    int rc = weirp_env_end(c->env, c->txn, true);
    c->full = rc == MDB_MAP_FULL;
    if (rc == EIO && out_of_space(c->env, j->need + c->table.n_bytes))
        return weirp_fail(c->err, WEIR_FULL, 0, "%s: no space left to commit", c->env->path);
    return rc ? weirp_store_fail(c->full ? NULL : c->err, rc, "can't commit", c->env->path) : WEIR_OK;
}

/* With `writing` held: tries until there is nothing left to make room for. */
static weir_status try_all(weirp_env *env, const job *j, uint32_t schema, weir_error *err) {
    for (int i = 0; i < MAX_TRIES; i++) {
        commit c = {.env = env, .err = err};
        weir_status st = schema > WEIRP_SCHEMA_PLAIN ? weirp_env_raise(env, schema, true, &c.full, err) : WEIR_OK;
        if (st == WEIR_OK) st = try_once(&c, j);
        weirp_writer_free(&c.batch);
        free(c.pairs);
        if (c.table.no_table && !c.full) {
            schema = WEIRP_SCHEMA_TABLE;
            continue;
        }
        if (!c.full) return st;
        st = weirp_env_grow(env, 2 * (j->need + c.table.n_bytes), err);
        if (st != WEIR_OK) return st;
    }
    return weirp_fail(err, WEIR_FULL, 0, "%s: its map can't grow any further", env->path);
}

void weirp_store_forget(weirp_store *store) {
    if (store->pid == getpid() && store->env) weirp_env_forget(store->env);
}

/* ---- the call ---- */

/* What is wrong with a change; NULL: nothing. */
static const char *check_change(const weirp_change *change) {
    /* LMDB writes a value with one pwrite(), which Linux cuts off just below 2 GiB */
    const size_t longest = INT32_MAX - (1u << 20);
    size_t name = change->section ? strlen(change->section) : 0;
    switch (change->kind) {
    case WEIRP_PUT:
    case WEIRP_DELETE:
        if (!name || name > WEIRP_NAME_MAX) return "a section's name has 1 to 511 bytes";
        break;
    case WEIRP_DELETE_PREFIX:
        if (!change->section || name > WEIRP_NAME_MAX) return "a prefix has 0 to 511 bytes";
        return NULL;
    case WEIRP_TRIM_LOG: return NULL;
    case WEIRP_APPEND_LOG: break;
    default: return "no such kind of change";
    }
    if (change->kind == WEIRP_DELETE) return NULL;
    if (change->size && !change->data) return "a change without its bytes";
    return change->size > longest ? "a section or record of 2 GiB or more" : NULL;
}

/* Checks the changes; *schema: what they need. */
static weir_status check_job(const weirp_store *store, job *j, uint32_t *schema, weir_error *err) {
    *schema = WEIRP_SCHEMA_PLAIN;
    j->need = 1u << 16;
    for (size_t i = 0; i < j->n; i++) {
        const weirp_change *change = &j->changes[i];
        const char *wrong = check_change(change);
        if (wrong) return weirp_fail(err, WEIR_INVALID, 0, "%s: %s", store->path, wrong);
        j->need += change->size + 4096;
        if (change->kind == WEIRP_TRIM_LOG || (change->kind == WEIRP_APPEND_LOG && change->number))
            *schema = WEIRP_SCHEMA_INDEX;
    }
    return WEIR_OK;
}

/* Now and then, with `writing` held. */
static void tidy(weirp_store *store) {
    store->n_commits++;
    if (store->n_commits % READER_CHECK_EVERY == 0) weirp_env_sweep(store->env);
    if (store->n_commits % FORGET_EVERY == 0) weirp_env_forget(store->env);
}

static weir_status run(weirp_store *store, job *j, weir_error *err) {
    if (store->mode == WEIRP_STORE_READ)
        return weirp_fail(err, WEIR_READONLY, 0, "%s: was opened for reading", store->path);
    if (store->mode == WEIRP_STORE_JOIN && (j->n || j->counts))
        return weirp_fail(err, WEIR_READONLY, 0, "%s: who has joined may change its table only", store->path);
    if (store->pid != getpid())
        return weirp_fail(err, WEIR_INVALID, 0, "%s: was opened before a fork; open it again", store->path);
    uint32_t schema;
    weir_status st = check_job(store, j, &schema, err);
    if (st != WEIR_OK) return st;
    /* what is written to a file without a name is lost with the process */
    weirp_name name = weirp_env_name(store->env);
    if (name != WEIRP_NAME_OURS)
        return weirp_fail(err, WEIR_IO, 0, "%s: %s; nothing was written", store->path,
                          name == WEIRP_NAME_GONE ? "the file is gone" : "another file has taken its place");
    st = weirp_env_lock_writing(store->env, err);
    if (st != WEIR_OK) return st;
    tidy(store);
    st = try_all(store->env, j, schema, err);
    weirp_env_unlock_writing(store->env);
    return st;
}

weir_status weirp_store_commit(weirp_store *store, const weirp_change *changes, size_t n, weir_error *err) {
    return run(store, &(job){.changes = changes, .n = n, .counts = true}, err);
}

weir_status weirp_store_transact(weirp_store *store, const weirp_change *changes, size_t n, weirp_table_work work,
                                 void *user, weir_error *err) {
    return run(store, &(job){.changes = changes, .n = n, .work = work, .user = user}, err);
}

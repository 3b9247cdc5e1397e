/* table.c: keys and values that several processes change, within one transaction each.
 *
 * A value carries the checksum of its key and bytes, and the header their number and sum, as for sections. The database
 * is made by the first put: until then the file stays readable for older programs. A write that finds no database, or
 * no room in the map, says so in the transaction, and whoever runs it (commit.c) brings that about and starts over.
 *
 * Opening doesn't read long values, which have pages of their own, so that a ledger of years opens at once. LMDB reads
 * such a page's header when the value goes, and frees as many pages as that says: so it is looked at before.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/store/internal.h"

static bool has_table(const weirp_txn *t) {
    return t->meta->schema >= WEIRP_SCHEMA_TABLE;
}

/* A key as LMDB takes it; it doesn't write to it. */
static MDB_val key_of(const void *key, size_t size) {
    return (MDB_val){size, (void *)(uintptr_t)key};
}

static weir_status bad_value(weirp_txn *t, weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: a value of its table: wrong checksum", t->env->path);
}

static weir_status check_key(weirp_txn *t, size_t size, weir_error *err) {
    if (size >= 1 && size <= WEIRP_TABLE_KEY) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0, "%s: a key of its table has 1 to %d bytes", t->env->path, WEIRP_TABLE_KEY);
}

/* Takes a stored value apart; false: its checksum is wrong. */
static bool read_value(const MDB_val *key, const MDB_val *stored, const uint8_t **data, size_t *size) {
    if (stored->mv_size < WEIRP_TABLE_HEADER) return false;
    *data = (const uint8_t *)stored->mv_data + WEIRP_TABLE_HEADER;
    *size = stored->mv_size - WEIRP_TABLE_HEADER;
    return weirp_get_le64(stored->mv_data) == weirp_section_checksum(key->mv_data, key->mv_size, *data, *size);
}

/* ---- reading ---- */

weir_status weirp_txn_get(weirp_txn *t, const void *key, size_t key_size, const uint8_t **data, size_t *size,
                          weir_error *err) {
    weir_status st = check_key(t, key_size, err);
    if (st != WEIR_OK) return st;
    if (!has_table(t)) return WEIR_NOTFOUND;
    MDB_val k = key_of(key, key_size), stored;
    int rc = mdb_get(t->mdb, t->env->table, &k, &stored);
    if (rc == MDB_NOTFOUND) return WEIR_NOTFOUND;
    if (rc) return weirp_store_fail(err, rc, "can't read its table", t->env->path);
    return read_value(&k, &stored, data, size) ? WEIR_OK : bad_value(t, err);
}

static bool begins_with(const MDB_val *key, const void *prefix, size_t size) {
    return key->mv_size >= size && (!size || memcmp(key->mv_data, prefix, size) == 0);
}

/* Where a scan begins: at `from`, or at the prefix where that comes later. */
static MDB_val first_key(const void *prefix, size_t prefix_size, const void *from, size_t from_size) {
    if (!from || !from_size) return key_of(prefix, prefix_size);
    size_t n = prefix_size < from_size ? prefix_size : from_size;
    int order = n ? memcmp(from, prefix, n) : 0;
    return order > 0 || (order == 0 && from_size >= prefix_size) ? key_of(from, from_size)
                                                                 : key_of(prefix, prefix_size);
}

weir_status weirp_txn_scan(weirp_txn *t, const void *prefix, size_t prefix_size, const void *from, size_t from_size,
                           weirp_table_visit visit, void *user, weir_error *err) {
    if (!has_table(t) || prefix_size > WEIRP_TABLE_KEY) return WEIR_OK;
    MDB_cursor *cursor;
    MDB_val key = first_key(prefix, prefix_size, from, from_size), stored;
    /* LMDB looks for nothing longer than its longest key; none of ours lies between `from` and so much of it */
    if (key.mv_size > WEIRP_NAME_MAX) key.mv_size = WEIRP_NAME_MAX;
    weir_status st = WEIR_OK;
    int rc = mdb_cursor_open(t->mdb, t->env->table, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its table", t->env->path);
    t->n_scans++;
    for (int step = key.mv_size ? MDB_SET_RANGE : MDB_FIRST;
         (rc = mdb_cursor_get(cursor, &key, &stored, step)) == 0 && begins_with(&key, prefix, prefix_size);
         step = MDB_NEXT) {
        const uint8_t *data;
        size_t size;
        st = read_value(&key, &stored, &data, &size) ? visit(user, key.mv_data, key.mv_size, data, size, err)
                                                     : bad_value(t, err);
        if (st != WEIR_OK) break;
    }
    t->n_scans--;
    mdb_cursor_close(cursor);
    if (rc && rc != MDB_NOTFOUND) return weirp_store_fail(err, rc, "can't read its table", t->env->path);
    return st;
}

/* ---- changing ---- */

/* Remembers that the transaction can't go on, whatever its owner makes of the status. */
static weir_status spoil(weirp_txn *t, int rc, weir_error *err) {
    t->full = rc == MDB_MAP_FULL;
    t->failed = weirp_store_fail(t->full ? NULL : err, rc, "can't change its table", t->env->path);
    return t->failed;
}

static weir_status check_write(weirp_txn *t, size_t key_size, weir_error *err) {
    if (t->failed != WEIR_OK) return t->failed;
    if (!t->write) return weirp_fail(err, WEIR_READONLY, 0, "%s: a snapshot's table can't be changed", t->env->path);
    if (t->n_scans) return weirp_fail(err, WEIR_INVALID, 0, "%s: its table is being scanned", t->env->path);
    return check_key(t, key_size, err);
}

/* Whether LMDB puts the value on pages of its own (mdb.c: mdb_env_open2, me_nodemax; mdb_node_add). */
static bool is_long(const weirp_txn *t, size_t key_size, size_t stored_size) {
    size_t most = ((t->env->page_size - WEIRP_PAGE_HEADER) / 2 & ~(size_t)1) - 2;
    return WEIRP_NODE_HEADER + key_size + stored_size > most;
}

/* Whether the first page of a long value is what LMDB takes it for. A value never lies in a longer run than it needs,
 * as it could were it replaced in place (below). */
static bool sound_run(const weirp_txn *t, const MDB_val *stored) {
    const uint8_t *page = (const uint8_t *)stored->mv_data - WEIRP_PAGE_HEADER;
    unsigned flags = page[10] | (unsigned)page[11] << 8;
    uint64_t n = (WEIRP_PAGE_HEADER - 1 + stored->mv_size) / t->env->page_size + 1;
    if (weirp_get_le32(page + 12) != n) return false;
    /* this transaction's own are in memory of LMDB's */
    if (page < t->map || page >= t->map + t->env->map_size) return flags == (WEIRP_PAGE_OVERFLOW | WEIRP_PAGE_DIRTY);
    return flags == WEIRP_PAGE_OVERFLOW && weirp_get_le64(page) == (size_t)(page - t->map) / t->env->page_size;
}

/* Takes what is under the key out of the header's counts, and out of the table where LMDB might otherwise put a long
 * value in place of another. LMDB's code; MDB_NOTFOUND: nothing is there. */
static int uncount(weirp_txn *t, MDB_val *key, bool remove) {
    MDB_val stored;
    int rc = mdb_get(t->mdb, t->env->table, key, &stored);
    if (rc) return rc;
    if (stored.mv_size < WEIRP_TABLE_HEADER || !t->meta->n_table) return MDB_CORRUPTED;
    bool pages = is_long(t, key->mv_size, stored.mv_size);
    if (pages && !sound_run(t, &stored)) return MDB_CORRUPTED;
    t->meta->n_table--;
    t->meta->table_sum -= weirp_get_le64(stored.mv_data);
    return remove || pages ? mdb_del(t->mdb, t->env->table, key, NULL) : 0;
}

weir_status weirp_txn_put(weirp_txn *t, const void *key, size_t key_size, const uint8_t *data, size_t size,
                          weir_error *err) {
    weir_status st = check_write(t, key_size, err);
    if (st != WEIR_OK) return st;
    if (size > WEIRP_TABLE_VALUE || (size && !data))
        return weirp_fail(err, WEIR_INVALID, 0, "%s: a value of its table has up to %d bytes", t->env->path,
                          WEIRP_TABLE_VALUE);
    if (!has_table(t)) {
        t->no_table = true;
        return t->failed = WEIR_FULL; /* never seen by anybody but `work` */
    }
    MDB_val k = key_of(key, key_size), stored = {WEIRP_TABLE_HEADER + size, NULL};
    uint64_t checksum = weirp_section_checksum(key, key_size, data, size);
    t->n_bytes += key_size + size;
    int rc = uncount(t, &k, false);
    if (rc && rc != MDB_NOTFOUND) return spoil(t, rc, err);
    if ((rc = mdb_put(t->mdb, t->env->table, &k, &stored, MDB_RESERVE))) return spoil(t, rc, err);
    uint8_t *out = stored.mv_data;
    weirp_put_le64(out, checksum);
    if (size) memcpy(out + WEIRP_TABLE_HEADER, data, size);
    t->meta->n_table++;
    t->meta->table_sum += checksum;
    t->changed = true;
    return WEIR_OK;
}

weir_status weirp_txn_delete(weirp_txn *t, const void *key, size_t key_size, weir_error *err) {
    weir_status st = check_write(t, key_size, err);
    if (st != WEIR_OK) return st;
    if (!has_table(t)) return WEIR_NOTFOUND;
    MDB_val k = key_of(key, key_size);
    int rc = uncount(t, &k, true);
    if (rc == MDB_NOTFOUND) return WEIR_NOTFOUND;
    if (rc) return spoil(t, rc, err);
    t->changed = true;
    return WEIR_OK;
}

/* ---- everything ---- */

typedef struct tally {
    uint64_t n, sum;
} tally;

static weir_status count(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                         weir_error *err) {
    tally *sum = user;
    (void)err;
    sum->n++;
    sum->sum += weirp_section_checksum(key, key_size, data, size);
    return WEIR_OK;
}

weir_status weirp_table_verify(weirp_txn *t, weir_error *err) {
    tally seen = {0};
    weir_status st = weirp_txn_scan(t, NULL, 0, NULL, 0, count, &seen, err);
    if (st != WEIR_OK || (seen.n == t->meta->n_table && seen.sum == t->meta->table_sum)) return st;
    return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: its table isn't the one its header counts", t->env->path);
}

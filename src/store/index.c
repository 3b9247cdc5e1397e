/* index.c: from an index number to the log records that were appended under it.
 *
 * Index numbers grow with time, more or less. Those with the same upper half (a bucket: some four seconds of decision
 * ids) that come with one commit are one value, sorted, so that an entry takes 8 bytes, a commit a few puts, and
 * opening doesn't read what it need not. Small values are extended by the next commit. A look-up goes through its
 * bucket's values, as many as commits had a part in it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/store/internal.h"

enum {
    EXTEND_BYTES = 1024,  /* a bucket's last value is extended while it is shorter: it lies in its page */
    MAX_VALUES = 1 << 16, /* looked at for one look-up */
};

typedef struct part { /* of a bucket: one value */
    uint32_t bucket;
    uint64_t base; /* record that entries count from */
    const uint8_t *entries;
    size_t n;
} part;

static void put_key(uint8_t key[WEIRP_INDEX_KEY], uint32_t bucket, uint64_t base) {
    for (int i = 0; i < 4; i++) key[i] = (uint8_t)(bucket >> (24 - 8 * i));
    weirp_log_key(base, key + 4);
}

static uint64_t checksum(const uint8_t key[WEIRP_INDEX_KEY], const uint8_t *entries, size_t n) {
    return XXH3_64bits_withSeed(entries, n * WEIRP_INDEX_ENTRY, XXH3_64bits(key, WEIRP_INDEX_KEY));
}

static uint32_t low_of(const part *p, size_t i) {
    return weirp_get_le32(p->entries + i * WEIRP_INDEX_ENTRY);
}

static uint64_t record_of(const part *p, size_t i) {
    return p->base + weirp_get_le32(p->entries + i * WEIRP_INDEX_ENTRY + 4);
}

/* Takes a value apart; false: it can't be one. Its checksum is not looked at. */
static bool split_part(part *p, const MDB_val *key, const MDB_val *value) {
    if (key->mv_size != WEIRP_INDEX_KEY || value->mv_size < WEIRP_INDEX_HEADER + WEIRP_INDEX_ENTRY ||
        (value->mv_size - WEIRP_INDEX_HEADER) % WEIRP_INDEX_ENTRY)
        return false;
    const uint8_t *k = key->mv_data, *v = value->mv_data;
    p->bucket = (uint32_t)k[0] << 24 | (uint32_t)k[1] << 16 | (uint32_t)k[2] << 8 | k[3];
    p->base = weirp_log_number(k + 4);
    p->entries = v + WEIRP_INDEX_HEADER;
    p->n = (value->mv_size - WEIRP_INDEX_HEADER) / WEIRP_INDEX_ENTRY;
    return true;
}

static bool read_part(part *p, const MDB_val *key, const MDB_val *value) {
    return split_part(p, key, value) && weirp_get_le64(value->mv_data) == checksum(key->mv_data, p->entries, p->n);
}

/* ---- adding ---- */

static int by_index(const void *a, const void *b) {
    const weirp_index_pair *x = a, *y = b;
    if (x->index != y->index) return x->index < y->index ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

/* Writes sorted pairs of one bucket as one value. */
static int put_part(MDB_cursor *cursor, const weirp_index_pair *pairs, size_t n, uint64_t base) {
    uint8_t bytes[WEIRP_INDEX_KEY];
    put_key(bytes, (uint32_t)(pairs[0].index >> 32), base);
    MDB_val key = {sizeof bytes, bytes}, value = {WEIRP_INDEX_HEADER + n * WEIRP_INDEX_ENTRY, NULL};
    int rc = mdb_cursor_put(cursor, &key, &value, MDB_RESERVE);
    if (rc) return rc;
    uint8_t *out = (uint8_t *)value.mv_data + WEIRP_INDEX_HEADER;
    for (size_t i = 0; i < n; i++) {
        weirp_put_le32(out + i * WEIRP_INDEX_ENTRY, (uint32_t)pairs[i].index);
        weirp_put_le32(out + i * WEIRP_INDEX_ENTRY + 4, (uint32_t)(pairs[i].record - base));
    }
    weirp_put_le64(value.mv_data, checksum(bytes, out, n));
    return 0;
}

/* The last value of a bucket; MDB_NOTFOUND: it has none. */
static int last_part(MDB_cursor *cursor, uint32_t bucket, part *p) {
    uint8_t bytes[WEIRP_INDEX_KEY];
    put_key(bytes, bucket, UINT64_MAX);
    MDB_val key = {sizeof bytes, bytes}, value;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    rc = mdb_cursor_get(cursor, &key, &value, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    if (rc) return rc;
    if (!read_part(p, &key, &value)) return MDB_CORRUPTED;
    return p->bucket == bucket ? 0 : MDB_NOTFOUND;
}

/* One bucket's pairs, `n` sorted ones: into its last value where that is short, else into one of their own. */
static int add_bucket(MDB_cursor *cursor, const weirp_index_pair *pairs, size_t n) {
    part last;
    uint32_t bucket = (uint32_t)(pairs[0].index >> 32);
    uint64_t base = pairs[0].record, newest = base;
    for (size_t i = 1; i < n; i++) {
        if (pairs[i].record < base) base = pairs[i].record;
        if (pairs[i].record > newest) newest = pairs[i].record;
    }
    int rc = last_part(cursor, bucket, &last);
    if (rc && rc != MDB_NOTFOUND) return rc;
    bool extend = !rc && last.n * WEIRP_INDEX_ENTRY < EXTEND_BYTES && newest - last.base <= UINT32_MAX;
    if (!extend) return newest - base <= UINT32_MAX ? put_part(cursor, pairs, n, base) : EINVAL;
    weirp_index_pair *all = weirp_array(last.n + n, sizeof *all);
    if (!all) return ENOMEM;
    for (size_t i = 0; i < last.n; i++)
        all[i] = (weirp_index_pair){(uint64_t)bucket << 32 | low_of(&last, i), record_of(&last, i)};
    memcpy(all + last.n, pairs, n * sizeof *pairs);
    qsort(all, last.n + n, sizeof *all, by_index);
    rc = put_part(cursor, all, last.n + n, last.base);
    free(all);
    return rc;
}

int weirp_index_add(MDB_txn *txn, MDB_dbi index, weirp_index_pair *pairs, size_t n) {
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, index, &cursor);
    if (rc) return rc;
    qsort(pairs, n, sizeof *pairs, by_index);
    for (size_t from = 0, to; !rc && from < n; from = to) {
        for (to = from + 1; to < n && pairs[to].index >> 32 == pairs[from].index >> 32;) to++;
        rc = add_bucket(cursor, pairs + from, to - from);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* ---- trimming ---- */

/* What is left of a value when entries below `record` are gone takes its place; *gone: how many went. */
static int trim_part(MDB_cursor *cursor, const part *p, uint64_t record, uint64_t *gone) {
    weirp_index_pair *left = weirp_array(p->n, sizeof *left);
    if (!left) return ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (record_of(p, i) >= record)
            left[n++] = (weirp_index_pair){(uint64_t)p->bucket << 32 | low_of(p, i), record_of(p, i)};
    *gone = p->n - n;
    int rc = 0;
    if (*gone) rc = n ? put_part(cursor, left, n, p->base) : mdb_cursor_del(cursor, 0);
    free(left);
    return rc;
}

int weirp_index_trim(MDB_txn *txn, MDB_dbi index, uint64_t record, uint64_t *n_gone) {
    MDB_cursor *cursor;
    MDB_val key, value;
    part p;
    *n_gone = 0;
    int rc = mdb_cursor_open(txn, index, &cursor);
    if (rc) return rc;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (!rc) {
        uint64_t gone = 0;
        if (!read_part(&p, &key, &value)) {
            rc = MDB_CORRUPTED;
            break;
        }
        size_t n = p.n;
        uint8_t bytes[WEIRP_INDEX_KEY];
        memcpy(bytes, key.mv_data, sizeof bytes);
        if (p.base < record && (rc = trim_part(cursor, &p, record, &gone))) break;
        *n_gone += gone;
        /* the next key, wherever a deletion has left the cursor */
        key = (MDB_val){sizeof bytes, bytes};
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (!rc && gone != n) rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- reading ---- */

static weir_status bad_index(weirp_snapshot *s, weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "%s: damaged: its index", s->env->path);
}

/* The first entry of `low` or more. */
static size_t lower_bound(const part *p, uint32_t low) {
    size_t a = 0, b = p->n;
    while (a < b) {
        size_t mid = (a + b) / 2;
        if (low_of(p, mid) < low)
            a = mid + 1;
        else
            b = mid;
    }
    return a;
}

weir_status weirp_snapshot_find(weirp_snapshot *s, uint64_t index, weirp_log_visit visit, void *user, weir_error *err) {
    MDB_cursor *cursor;
    uint8_t bytes[WEIRP_INDEX_KEY];
    part p;
    if (s->meta.schema < WEIRP_SCHEMA_INDEX) return WEIR_NOTFOUND;
    int rc = mdb_cursor_open(s->txn, s->env->index, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its index", s->env->path);
    put_key(bytes, (uint32_t)(index >> 32), 0);
    MDB_val key = {sizeof bytes, bytes}, value;
    weir_status st = WEIR_NOTFOUND;
    int visits = 0, values = 0;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (!rc && st == WEIR_NOTFOUND && values++ < MAX_VALUES) {
        /* a busy bucket has many values: only one that has the number is read as a whole */
        bool sound = split_part(&p, &key, &value);
        if (sound && p.bucket != index >> 32) break;
        size_t i = sound ? lower_bound(&p, (uint32_t)index) : 0;
        if (!sound || (i < p.n && low_of(&p, i) == (uint32_t)index && !read_part(&p, &key, &value))) {
            st = bad_index(s, err);
            break;
        }
        for (; i < p.n && low_of(&p, i) == (uint32_t)index; i++) {
            const uint8_t *data;
            size_t size;
            if (visits++ == WEIRP_FIND_MOST) goto done;
            st = weirp_snapshot_record(s, record_of(&p, i), &data, &size, err);
            if (st == WEIR_OK) st = visit(user, record_of(&p, i), data, size, err);
            if (st != WEIR_NOTFOUND) goto done;
        }
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc && rc != MDB_NOTFOUND) st = weirp_store_fail(err, rc, "can't read its index", s->env->path);
done:
    mdb_cursor_close(cursor);
    return st;
}

weir_status weirp_snapshot_bucket(weirp_snapshot *s, uint64_t index, weirp_index_visit visit, void *user,
                                  weir_error *err) {
    MDB_cursor *cursor;
    uint8_t bytes[WEIRP_INDEX_KEY];
    part p;
    if (s->meta.schema < WEIRP_SCHEMA_INDEX) return WEIR_OK;
    int rc = mdb_cursor_open(s->txn, s->env->index, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its index", s->env->path);
    put_key(bytes, (uint32_t)(index >> 32), 0);
    MDB_val key = {sizeof bytes, bytes}, value;
    weir_status st = WEIR_OK;
    for (int step = MDB_SET_RANGE; st == WEIR_OK && (rc = mdb_cursor_get(cursor, &key, &value, step)) == 0;
         step = MDB_NEXT) {
        if (split_part(&p, &key, &value) && p.bucket != index >> 32) break;
        if (!read_part(&p, &key, &value)) st = bad_index(s, err);
        for (size_t i = 0; st == WEIR_OK && i < p.n; i++)
            st = visit(user, (uint64_t)p.bucket << 32 | low_of(&p, i), record_of(&p, i), err);
    }
    if (rc && rc != MDB_NOTFOUND) st = weirp_store_fail(err, rc, "can't read its index", s->env->path);
    mdb_cursor_close(cursor);
    return st;
}

uint64_t weirp_index_sum(uint64_t index, uint64_t number) {
    return weirp_mix64(weirp_mix64(index) + number);
}

weir_status weirp_index_verify(weirp_snapshot *s, uint64_t *sum, weir_error *err) {
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t n = 0;
    *sum = 0;
    if (s->meta.schema < WEIRP_SCHEMA_INDEX) return WEIR_OK;
    int rc = mdb_cursor_open(s->txn, s->env->index, &cursor);
    if (rc) return weirp_store_fail(err, rc, "can't read its index", s->env->path);
    bool sound = true;
    for (int step = MDB_FIRST; sound && (rc = mdb_cursor_get(cursor, &key, &value, step)) == 0; step = MDB_NEXT) {
        part p;
        sound = read_part(&p, &key, &value);
        for (size_t i = 0; sound && i < p.n; i++)
            sound = record_of(&p, i) >= s->meta.first_log && record_of(&p, i) < s->meta.n_log &&
                    (!i || low_of(&p, i - 1) <= low_of(&p, i));
        for (size_t i = 0; sound && i < p.n; i++)
            *sum += weirp_index_sum((uint64_t)p.bucket << 32 | low_of(&p, i), record_of(&p, i));
        n += sound ? p.n : 0;
    }
    mdb_cursor_close(cursor);
    if (!sound) return bad_index(s, err);
    if (rc != MDB_NOTFOUND) return weirp_store_fail(err, rc, "can't read its index", s->env->path);
    return n == s->meta.n_entries ? WEIR_OK : bad_index(s, err);
}

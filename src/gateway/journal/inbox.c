/* inbox.c: see inbox.h. Keys are numbered from a row that every change goes through, so that their order is that of the
 * transactions: feedback comes after its decision, whoever left either. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/journal/inbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX  "I"
#define COUNTS  "i"
#define VERSION 1u

enum { KEY = 9, HEAD = 8, ITEM_HEAD = 13, KIND_RECORD = 0, KIND_FEEDBACK = 1, COUNTS_SIZE = 28 };

static weir_status damaged(weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "the store's inbox can't be read");
}

static void key_of(uint8_t key[KEY], uint64_t sequence) {
    key[0] = PREFIX[0];
    for (int i = 0; i < 8; i++) key[1 + i] = (uint8_t)(sequence >> (56 - 8 * i));
}

static uint64_t sequence_of(const uint8_t *key) {
    uint64_t sequence = 0;
    for (int i = 0; i < 8; i++) sequence = sequence << 8 | key[1 + i];
    return sequence;
}

/* ---- items ---- */

/* A text that ends with a NUL within the item. */
static const char *text_at(const uint8_t *data, size_t size, size_t *at) {
    const uint8_t *end = *at < size ? memchr(data + *at, 0, size - *at) : NULL;
    if (!end) return NULL;
    const char *text = (const char *)data + *at;
    *at = (size_t)(end - data) + 1;
    return text;
}

static bool read_feedback(const uint8_t *data, size_t size, weirp_feedback *f) {
    size_t at = 8;
    if (size < at) return false;
    memcpy(&f->quality, data, 8);
    f->id = text_at(data, size, &at);
    f->source = text_at(data, size, &at);
    f->model = text_at(data, size, &at);
    if (!f->id || !f->source || !f->model) return false;
    if (!*f->model) f->model = NULL;
    return true;
}

weir_status weirp_inbox_next(const uint8_t *value, size_t size, size_t *at, weirp_inbox_item *item, weir_error *err) {
    weirp_bytes r = {.data = value, .size = size, .at = *at};
    if (!*at && (weirp_get_u32(&r) != VERSION || size < HEAD)) return damaged(err);
    if (!*at) r.at = HEAD;
    if (r.at == size) return WEIR_END;
    uint8_t kind;
    uint32_t length = weirp_get_u32(&r);
    weirp_get(&r, &kind, 1);
    *item = (weirp_inbox_item){.number = weirp_get_u64(&r)};
    if (r.failed || length > size - r.at || kind > KIND_FEEDBACK) return damaged(err);
    const uint8_t *data = value + r.at;
    if (kind == KIND_FEEDBACK && !read_feedback(data, length, &item->feedback)) return damaged(err);
    if (kind == KIND_RECORD) {
        item->data = data;
        item->size = length;
    }
    *at = r.at + length;
    return WEIR_OK;
}

/* ---- leaving ---- */

static void put_head(weirp_writer *w) {
    weirp_put_u32(w, VERSION);
    weirp_put_u32(w, (uint32_t)getpid());
}

/* A value with room for an item of `size` bytes, its head written. */
static weir_status begin_item(weirp_inbox_batch *b, uint8_t kind, uint64_t number, size_t size, weirp_writer **out) {
    if (size > WEIRP_INBOX_ITEM) return WEIR_FULL;
    weirp_writer *w = b->n ? &b->value[b->n - 1] : NULL;
    if (!w || w->size + ITEM_HEAD + size > WEIRP_INBOX_VALUE) {
        weirp_writer fresh = {0};
        put_head(&fresh);
        if (fresh.failed || !weirp_reserve((void **)&b->value, &b->capacity, b->n + 1, sizeof *b->value)) {
            weirp_writer_free(&fresh);
            return WEIR_NOMEM;
        }
        w = &b->value[b->n++];
        *w = fresh;
    }
    if (!weirp_reserve((void **)&w->data, &w->capacity, w->size + ITEM_HEAD + size, 1)) return WEIR_NOMEM;
    weirp_put_u32(w, (uint32_t)size); /* there is room: none of these fails */
    weirp_put(w, &kind, 1);
    weirp_put_u64(w, number);
    *out = w;
    return WEIR_OK;
}

weir_status weirp_inbox_add_record(weirp_inbox_batch *batch, const uint8_t *record, size_t size) {
    weirp_writer *w;
    weir_status st = begin_item(batch, KIND_RECORD, weirp_record_number(record, size), size, &w);
    if (st == WEIR_OK) weirp_put(w, record, size);
    return st;
}

weir_status weirp_inbox_add_feedback(weirp_inbox_batch *batch, const weirp_feedback *f) {
    weirp_writer *w;
    const char *model = f->model ? f->model : "";
    size_t id = strlen(f->id) + 1, source = strlen(f->source) + 1, model_size = strlen(model) + 1;
    weir_status st = begin_item(batch, KIND_FEEDBACK, weirp_id_number(f->id), 8 + id + source + model_size, &w);
    if (st != WEIR_OK) return st;
    weirp_put_f64(w, f->quality);
    weirp_put(w, f->id, id);
    weirp_put(w, f->source, source);
    weirp_put(w, model, model_size);
    return WEIR_OK;
}

void weirp_inbox_batch_free(weirp_inbox_batch *batch) {
    for (size_t i = 0; i < batch->n; i++) weirp_writer_free(&batch->value[i]);
    free(batch->value);
    *batch = (weirp_inbox_batch){0};
}

/* ---- the row of counts ---- */

typedef struct counts {
    uint64_t next, values, bytes; /* number of the next value; what waits */
} counts;

static weir_status read_counts(weirp_txn *txn, counts *c, weir_error *err) {
    const uint8_t *data;
    size_t size;
    *c = (counts){0};
    weir_status st = weirp_txn_get(txn, COUNTS, 1, &data, &size, err);
    if (st == WEIR_NOTFOUND) return WEIR_OK;
    if (st != WEIR_OK) return st;
    weirp_bytes r = {.data = data, .size = size};
    if (weirp_get_u32(&r) != VERSION || size != COUNTS_SIZE) return damaged(err);
    c->next = weirp_get_u64(&r);
    c->values = weirp_get_u64(&r);
    c->bytes = weirp_get_u64(&r);
    return WEIR_OK;
}

static weir_status write_counts(weirp_txn *txn, const counts *c, weir_error *err) {
    uint8_t bytes[COUNTS_SIZE];
    uint32_t version = VERSION;
    memcpy(bytes, &version, 4);
    memcpy(bytes + 4, &c->next, 8);
    memcpy(bytes + 12, &c->values, 8);
    memcpy(bytes + 20, &c->bytes, 8);
    return weirp_txn_put(txn, COUNTS, 1, bytes, sizeof bytes, err);
}

static weir_status put_all(void *user, weirp_txn *txn, weir_error *err) {
    const weirp_inbox_batch *b = user;
    counts c;
    uint64_t more = 0;
    weir_status st = read_counts(txn, &c, err);
    for (size_t i = 0; i < b->n; i++) more += b->value[i].size;
    if (st == WEIR_OK && c.bytes + more > WEIRP_INBOX_MOST && more)
        st = weirp_fail(err, WEIR_FULL, 0, "the store's inbox is full: nobody takes out what is in it");
    for (size_t i = 0; st == WEIR_OK && i < b->n; i++) {
        uint8_t key[KEY];
        key_of(key, c.next++);
        st = weirp_txn_put(txn, key, KEY, b->value[i].data, b->value[i].size, err);
    }
    c.next += !b->n;
    c.values += b->n;
    c.bytes += more;
    return st == WEIR_OK ? write_counts(txn, &c, err) : st;
}

weir_status weirp_inbox_put(weirp_store *store, const weirp_inbox_batch *batch, weir_error *err) {
    return weirp_store_transact(store, NULL, 0, put_all, (void *)(uintptr_t)batch, err);
}

/* ---- taking ---- */

weir_status weirp_inbox_count(weirp_snapshot *snapshot, uint64_t *values, uint64_t *bytes, uint64_t *ever,
                              weir_error *err) {
    counts c;
    weir_status st = read_counts(weirp_snapshot_table(snapshot), &c, err);
    *values = c.values;
    *bytes = c.bytes;
    *ever = c.next;
    return st;
}

typedef struct scanning {
    weirp_inbox_visit visit;
    void *user;
} scanning;

static weir_status visit_row(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                             weir_error *err) {
    const scanning *s = user;
    return key_size == KEY ? s->visit(s->user, sequence_of(key), data, size, err) : damaged(err);
}

weir_status weirp_inbox_scan(weirp_snapshot *snapshot, weirp_inbox_visit visit, void *user, weir_error *err) {
    scanning s = {visit, user};
    return weirp_txn_scan(weirp_snapshot_table(snapshot), PREFIX, 1, NULL, 0, visit_row, &s, err);
}

static weir_status copy_value(void *user, uint64_t sequence, const uint8_t *data, size_t size, weir_error *err) {
    weirp_inbox_taken *t = user;
    if (t->n && t->bytes.size + size > WEIRP_INBOX_ROUND) return WEIR_END;
    if (!weirp_reserve((void **)&t->place, &t->capacity, t->n + 1, sizeof *t->place)) return weirp_nomem(err);
    t->place[t->n] = (struct weirp_inbox_place){sequence, t->bytes.size, size};
    weirp_put(&t->bytes, data, size);
    if (t->bytes.failed) return weirp_nomem(err);
    t->n++;
    return WEIR_OK;
}

weir_status weirp_inbox_take(weirp_inbox_taken *taken, weirp_snapshot *snapshot, weir_error *err) {
    weir_status st = weirp_inbox_scan(snapshot, copy_value, taken, err);
    taken->whole = st == WEIR_OK;
    if (st == WEIR_OK || st == WEIR_END) return WEIR_OK;
    weirp_inbox_taken_free(taken);
    return st;
}

/* The last value again, without what was taken out of it. */
static weir_status leave_rest(const weirp_inbox_taken *t, weirp_txn *txn, const uint8_t key[KEY], counts *c,
                              weir_error *err) {
    const struct weirp_inbox_place *last = &t->place[t->n - 1];
    weirp_writer rest = {0};
    weirp_put(&rest, t->bytes.data + last->at, HEAD);
    weirp_put(&rest, t->bytes.data + last->at + t->rest_at, last->size - t->rest_at);
    weir_status st = rest.failed ? weirp_nomem(err) : weirp_txn_put(txn, key, KEY, rest.data, rest.size, err);
    c->values++;
    c->bytes += rest.size;
    weirp_writer_free(&rest);
    return st;
}

weir_status weirp_inbox_remove(void *taken, weirp_txn *txn, weir_error *err) {
    const weirp_inbox_taken *t = taken;
    counts c;
    weir_status st = read_counts(txn, &c, err);
    for (size_t i = 0; st == WEIR_OK && i < t->n; i++) {
        uint8_t key[KEY];
        key_of(key, t->place[i].sequence);
        st = weirp_txn_delete(txn, key, KEY, err);
        if (st == WEIR_NOTFOUND)
            return weirp_fail(err, WEIR_INVALID, 0, "somebody else has taken a value out of the store's inbox");
        c.values -= c.values > 0;
        c.bytes -= c.bytes < t->place[i].size ? c.bytes : t->place[i].size;
        if (st == WEIR_OK && t->rest_at && i + 1 == t->n) st = leave_rest(t, txn, key, &c, err);
    }
    return st == WEIR_OK ? write_counts(txn, &c, err) : st;
}

void weirp_inbox_taken_free(weirp_inbox_taken *taken) {
    free(taken->place);
    weirp_writer_free(&taken->bytes);
    *taken = (weirp_inbox_taken){0};
}

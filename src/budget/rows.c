/* rows.c: bytes of the ledger's rows and of their keys. SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "src/budget/books.h"

enum { ROW_VERSION = 1 };

/* ---- keys: big-endian, so that the table's order is numeric ---- */

static void key_begin(weirp_row_key *key, const char *kind) {
    memcpy(key->bytes, kind, 2);
    key->size = 2;
}

static void key_put(weirp_row_key *key, uint64_t n, size_t n_bytes) {
    for (size_t i = n_bytes; i-- > 0;) key->bytes[key->size++] = (uint8_t)(n >> (8 * i));
}

void weirp_row_key_u32(weirp_row_key *key, const char *kind, uint32_t n) {
    key_begin(key, kind);
    key_put(key, n, 4);
}

void weirp_row_key_u64(weirp_row_key *key, const char *kind, uint64_t n) {
    key_begin(key, kind);
    key_put(key, n, 8);
}

void weirp_row_key_pair(weirp_row_key *key, const char *kind, uint32_t process, uint64_t account) {
    key_begin(key, kind);
    key_put(key, process, 4);
    key_put(key, account, 8);
}

void weirp_row_key_bytes(weirp_row_key *key, const char *kind, const void *bytes, size_t n) {
    key_begin(key, kind);
    assert(n <= sizeof key->bytes - key->size);
    memcpy(key->bytes + key->size, bytes, n);
    key->size += n;
}

void weirp_row_key_of_account(weirp_row_key *key, const weirp_account_key *account) {
    weirp_row_key_bytes(key, WEIRP_ROW_KEY, account->bytes, account->size);
}

uint32_t weirp_be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t weirp_be64(const uint8_t *bytes) {
    return (uint64_t)weirp_be32(bytes) << 32 | weirp_be32(bytes + 4);
}

/* ---- rows: little-endian ---- */

static weir_status put_row(weirp_txn *txn, const weirp_row_key *key, weirp_writer *w, weir_error *err) {
    weir_status st = w->failed ? weirp_nomem(err) : weirp_txn_put(txn, key->bytes, key->size, w->data, w->size, err);
    weirp_writer_free(w);
    return st;
}

weir_status weirp_counters_read(weirp_txn *txn, weirp_counters *c, weir_error *err) {
    const uint8_t *data;
    size_t size;
    weir_status st = weirp_txn_get(txn, WEIRP_ROW_COUNTERS, 2, &data, &size, err);
    *c = (weirp_counters){.next_budget = 1, .next_process = 1, .next_text = 1, .next_account = 1};
    if (st == WEIR_NOTFOUND) return WEIR_OK;
    if (st) return st;
    weirp_bytes r = {.data = data, .size = size};
    uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > ROW_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "the store's ledger was written by a newer version");
    c->next_budget = weirp_get_u32(&r);
    c->next_process = weirp_get_u32(&r);
    c->next_text = weirp_get_u32(&r);
    c->next_account = weirp_get_u64(&r);
    c->next_entry = weirp_get_u64(&r);
    c->version = weirp_get_u64(&r);
    c->n_posts = weirp_get_u64(&r);
    return r.failed ? weirp_fail(err, WEIR_CORRUPT, 0, "the ledger's counters are cut off") : WEIR_OK;
}

weir_status weirp_counters_write(weirp_txn *txn, const weirp_counters *c, weir_error *err) {
    weirp_writer w = {0};
    weirp_row_key key = {.bytes = WEIRP_ROW_COUNTERS, .size = 2};
    weirp_put_u32(&w, ROW_VERSION);
    weirp_put_u32(&w, c->next_budget);
    weirp_put_u32(&w, c->next_process);
    weirp_put_u32(&w, c->next_text);
    weirp_put_u64(&w, c->next_account);
    weirp_put_u64(&w, c->next_entry);
    weirp_put_u64(&w, c->version);
    weirp_put_u64(&w, c->n_posts);
    return put_row(txn, &key, &w, err);
}

#define ACCOUNT_NUMBERS(X)                                                                                             \
    X(number)                                                                                                          \
    X(span.start) X(span.end) X(limit) X(spent) X(leased) X(unproven) X(wanted_ms) X(budget) X(holders) X(wanted_by)

size_t weirp_account_row_encode(const weirp_account_row *row, uint8_t bytes[WEIRP_ROW_MOST]) {
    uint8_t *at = bytes;
    *at++ = ROW_VERSION;
    *at++ = (uint8_t)row->unit;
    *at++ = row->warned;
#define PUT(member)                                                                                                    \
    memcpy(at, &row->member, sizeof row->member);                                                                      \
    at += sizeof row->member;
    ACCOUNT_NUMBERS(PUT)
#undef PUT
    memcpy(at, row->key.bytes, row->key.size);
    return (size_t)(at - bytes) + row->key.size;
}

weir_status weirp_account_row_decode(weirp_account_row *row, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {.data = data, .size = size};
    uint8_t head[3];
    weirp_get(&r, head, 3);
    if (!r.failed && head[0] > ROW_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "an account was written by a newer version");
    row->unit = (weirp_unit)head[1];
    row->warned = head[2];
#define GET(member) weirp_get(&r, &row->member, sizeof row->member);
    ACCOUNT_NUMBERS(GET)
#undef GET
    size_t key = r.size - r.at;
    if (r.failed || key > sizeof row->key.bytes || head[1] >= WEIRP_N_UNITS)
        return weirp_fail(err, WEIR_CORRUPT, 0, "an account's row is damaged");
    weirp_get(&r, row->key.bytes, key);
    row->key.size = key;
    return WEIR_OK;
}

weir_status weirp_account_row_read(weirp_txn *txn, uint64_t number, weirp_account_row *row, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_u64(&key, WEIRP_ROW_ACCOUNT, number);
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    return st ? st : weirp_account_row_decode(row, data, size, err);
}

int64_t weirp_account_free(const weirp_account_row *row) {
    return row->limit - row->spent - row->leased - row->unproven;
}

weir_status weirp_amount_read(weirp_txn *txn, const char *kind, uint32_t process, uint64_t account, int64_t *amount,
                              weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    *amount = 0;
    weirp_row_key_pair(&key, kind, process, account);
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    if (st) return st == WEIR_NOTFOUND ? WEIR_OK : st;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "a lease's row is damaged");
    memcpy(amount, data, 8);
    return WEIR_OK;
}

weir_status weirp_budget_row_write(weirp_txn *txn, const weirp_budget *budget, bool removed, weir_error *err) {
    weirp_writer w = {0};
    weirp_row_key key;
    weirp_row_key_u32(&key, WEIRP_ROW_BUDGET, budget->id);
    weirp_put_u32(&w, removed);
    weirp_budget_encode(budget, &w);
    return put_row(txn, &key, &w, err);
}

weir_status weirp_process_row_write(weirp_txn *txn, const weirp_process_row *row, weir_error *err) {
    weirp_writer w = {0};
    weirp_row_key key;
    weirp_row_key_u32(&key, WEIRP_ROW_PROCESS, row->id);
    weirp_put_u32(&w, ROW_VERSION);
    weirp_put_u32(&w, row->pid);
    weirp_put_u64(&w, (uint64_t)row->started_ms);
    weirp_put_u64(&w, (uint64_t)row->died_ms);
    weirp_put(&w, row->boot, sizeof row->boot);
    weirp_put(&w, row->lock, sizeof row->lock);
    return put_row(txn, &key, &w, err);
}

weir_status weirp_process_row_decode(weirp_process_row *row, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {.data = data, .size = size};
    if (weirp_get_u32(&r) > ROW_VERSION && !r.failed)
        return weirp_fail(err, WEIR_NEWER, 0, "a process was registered by a newer version");
    row->pid = weirp_get_u32(&r);
    row->started_ms = (int64_t)weirp_get_u64(&r);
    row->died_ms = (int64_t)weirp_get_u64(&r);
    weirp_get(&r, row->boot, sizeof row->boot);
    weirp_get(&r, row->lock, sizeof row->lock);
    if (r.failed || memchr(row->boot, 0, sizeof row->boot) == NULL || memchr(row->lock, 0, sizeof row->lock) == NULL)
        return weirp_fail(err, WEIR_CORRUPT, 0, "a process's row is damaged");
    return WEIR_OK;
}

weir_status weirp_budget_row_read(weirp_txn *txn, uint32_t id, weirp_budget *budget, bool *removed, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_u32(&key, WEIRP_ROW_BUDGET, id);
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    if (st) return st;
    if (size < 4) return weirp_fail(err, WEIR_CORRUPT, 0, "a budget's row is cut off");
    *removed = data[0] != 0;
    return weirp_budget_decode(budget, data + 4, size - 4, err);
}

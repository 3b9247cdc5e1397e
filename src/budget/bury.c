/* bury.c: what dead processes have left. What their spools prove to be spent is spent, calls that were under way count
 * as spent in their worst case, for they may have been billed, and the rest is free again; without proof all that they
 * held stays unproven. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/books.h"

enum { MANY = 256, MISSING_MS = 500 };

/* ---- one burial, in one transaction ---- */

typedef struct holding {
    uint64_t account;
    int64_t amount;
} holding;

typedef struct burial {
    uint32_t process;
    const weirp_orphan *orphan; /* NULL: there is no spool */
    bool proven;                /* nothing is missing from the spool */
    weirp_books books;
    weirp_process_row row;
    holding *holdings;
    size_t n, capacity;
    uint64_t *calls; /* settled ones: their slots say nothing new */
    size_t n_calls, calls_capacity;
    int64_t now_ms;
} burial;

static weir_status take_holding(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                weir_error *err) {
    burial *b = user;
    if (key_size != 14 || size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "a lease's row is damaged");
    if (!weirp_reserve((void **)&b->holdings, &b->capacity, b->n + 1, sizeof *b->holdings)) return weirp_nomem(err);
    holding *h = &b->holdings[b->n++];
    h->account = weirp_be64(key + 6);
    memcpy(&h->amount, data, 8);
    return WEIR_OK;
}

/* An account that had no row yet when the call was settled. */
static weir_status account_by_key(burial *b, const weirp_account_key *key, weirp_open_row **row, weir_error *err) {
    weirp_budget budget;
    weirp_zone *zone = NULL;
    bool removed;
    int64_t start;
    char scope[WEIRP_ACCOUNT_SCOPE];
    weir_status st = weirp_books_find(&b->books, key, row, err);
    if (st != WEIR_NOTFOUND) return st;
    if (key->size < 4) return weirp_fail(err, WEIR_CORRUPT, 0, "a spool's account has no budget");
    st = weirp_budget_row_read(b->books.txn, weirp_be32(key->bytes), &budget, &removed, err);
    if (st) return st;
    if (!weirp_account_key_read(&budget, key->bytes, key->size, &start, scope))
        return weirp_fail(err, WEIR_CORRUPT, 0, "a spool's account isn't one of its budget");
    if ((st = weirp_zone_open(&zone, budget.zone, err))) return st;
    weirp_span span = weirp_period_at(zone, budget.period, start);
    weirp_zone_close(zone);
    st = weirp_books_open_account(&b->books, &budget, span, key, row, err);
    return st ? st : weirp_books_limit(&b->books, *row, removed ? 0 : budget.limit, b->now_ms, err);
}

static void post_part(weirp_entry *e, const weirp_open_row *row, int64_t leased, int64_t rest) {
    int64_t room = WEIRP_MOST_MONEY - row->row.spent;
    if (leased > row->holding) { /* it gave some back, and died before it was told so */
        rest += leased - row->holding;
        leased = row->holding;
    }
    if (leased > room) leased = room;
    if (rest > room - leased) rest = room - leased;
    if (leased > 0) e->postings[e->n_postings++] = (weirp_posting){row->row.number, WEIRP_LEASED, WEIRP_SPENT, leased};
    if (rest > 0) e->postings[e->n_postings++] = (weirp_posting){row->row.number, WEIRP_FREE, WEIRP_SPENT, rest};
}

/* The key that belongs to the next part without a number. */
static bool next_key(const uint8_t **at, const uint8_t *end, weirp_account_key *key) {
    uint16_t size;
    if (end - *at < 2) return false;
    memcpy(&size, *at, 2);
    if (size > sizeof key->bytes || size > end - *at - 2) return false;
    memcpy(key->bytes, *at + 2, size);
    key->size = size;
    *at += 2 + size;
    return true;
}

static weir_status post_record(burial *b, const weirp_spooled *t, const uint8_t *texts, const uint8_t *end,
                               weir_error *err) {
    weirp_entry e;
    const uint8_t *keys = texts + t->texts_size;
    weirp_spooled_entry(t, (const char *)texts, &e);
    for (uint32_t i = 0; i < t->n; i++) {
        weirp_open_row *row;
        weirp_account_key key;
        if (!t->part[i].number && !next_key(&keys, end, &key))
            return weirp_fail(err, WEIR_CORRUPT, 0, "a spool's record is damaged");
        weir_status st = t->part[i].number ? weirp_books_row(&b->books, t->part[i].number, &row, err)
                                           : account_by_key(b, &key, &row, err);
        if (st) return st;
        post_part(&e, row, t->part[i].leased, t->part[i].free);
        e.overrun |= t->part[i].overrun;
    }
    return weirp_books_enter(&b->books, &e, err);
}

static bool has_texts(const uint8_t *texts, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) n += !texts[i];
    return n == 1 + WEIRP_N_DIMS && !texts[size - 1];
}

/* A record that can't be posted proves nothing, but mustn't keep the living from their work for ever. */
static weir_status settle_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    burial *b = user;
    weirp_spooled t;
    size_t head = offsetof(weirp_spooled, part);
    if (size >= head) memcpy(&t, data, size < sizeof t ? size : sizeof t);
    size_t parts = size >= head && t.n <= WEIRP_SPOOLED_PARTS ? t.n * sizeof t.part[0] : size;
    if (size < head || t.form != WEIRP_SPOOLED_FORM || t.size != size || parts > size - head ||
        t.texts_size > size - head - parts || !has_texts(data + head + parts, t.texts_size)) { /* another build's */
        b->proven = false;
        return WEIR_OK;
    }
    if (!weirp_reserve((void **)&b->calls, &b->calls_capacity, b->n_calls + 1, sizeof *b->calls))
        return weirp_nomem(err);
    b->calls[b->n_calls++] = t.call;
    if (number < b->row.done) return WEIR_OK;
    weir_error inner = {0};
    weir_status st = post_record(b, &t, data + head + parts, data + size, &inner);
    if (st == WEIR_CORRUPT || st == WEIR_NOTFOUND || st == WEIR_NUMERIC) {
        b->proven = false;
        return WEIR_OK;
    }
    return st ? weirp_fail(err, st, inner.line, "%s", inner.text) : WEIR_OK;
}

static weir_status spend_slot(void *user, uint32_t slot, const uint8_t *data, size_t size, weir_error *err) {
    burial *b = user;
    uint64_t call, accounts[WEIRP_SPOOLED_PARTS];
    int64_t worst[WEIRP_SPOOLED_PARTS];
    size_t n;
    (void)slot;
    if (!data || !weirp_slot_decode(data, size, &call, accounts, worst, &n)) {
        b->proven = false;
        return WEIR_OK;
    }
    for (size_t i = 0; i < b->n_calls; i++)
        if (b->calls[i] == call) return WEIR_OK;
    for (size_t i = 0; i < n; i++) {
        weirp_open_row *row;
        weir_status st = weirp_books_row(&b->books, accounts[i], &row, err);
        if (st) return st;
        int64_t amount = worst[i] < row->holding ? worst[i] : row->holding;
        weirp_entry e = {.kind = WEIRP_ENTRY_RECONCILE, .at_ms = b->now_ms, .n_postings = 1, .unproven = true};
        e.postings[0] = (weirp_posting){row->row.number, WEIRP_UNPROVEN, WEIRP_SPENT, amount};
        st =
            weirp_books_move(&b->books, WEIRP_ENTRY_FORFEIT, row, WEIRP_LEASED, WEIRP_UNPROVEN, amount, b->now_ms, err);
        if (!st && amount > 0) st = weirp_books_enter(&b->books, &e, err);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status end_leases(burial *b, size_t *n_unproven, weir_error *err) {
    for (size_t i = 0; i < b->n; i++) {
        weirp_open_row *row;
        weir_status st = weirp_books_row(&b->books, b->holdings[i].account, &row, err);
        if (st) return st;
        if (row->row.wanted_by == b->process) {
            row->row.wanted_by = 0;
            row->changed = true;
        }
        st = b->proven ? weirp_books_move(&b->books, WEIRP_ENTRY_RETURN, row, WEIRP_LEASED, WEIRP_FREE, row->holding,
                                          b->now_ms, err)
                       : weirp_books_move(&b->books, WEIRP_ENTRY_FORFEIT, row, WEIRP_LEASED, WEIRP_UNPROVEN,
                                          row->holding, b->now_ms, err);
        if (st) return st;
        *n_unproven += row->unproven > 0;
    }
    return WEIR_OK;
}

static weir_status bury(void *user, weirp_txn *txn, weir_error *err) {
    burial *b = user;
    weirp_row_key prefix;
    size_t n_unproven = 0;
    weir_status st = weirp_process_row_read(txn, b->process, &b->row, err);
    if (st) return st == WEIR_NOTFOUND ? WEIR_OK : st; /* somebody was faster */
    if (b->row.died_ms) return WEIR_OK;
    b->n = b->n_calls = 0;
    b->now_ms = weirp_unix_ms();
    b->proven = b->orphan && weirp_orphan_trusted(b->orphan);
    weirp_row_key_u32(&prefix, WEIRP_ROW_HOLDING, b->process);
    WEIRP_TRY(weirp_books_begin(&b->books, txn, b->process, err));
    if (!b->orphan && (!b->row.missing_ms || b->now_ms - b->row.missing_ms < MISSING_MS)) {
        if (b->row.missing_ms && b->now_ms >= b->row.missing_ms) return WEIR_OK;
        b->row.missing_ms = b->now_ms; /* perhaps somebody is just burying it */
        return weirp_process_row_write(txn, &b->row, err);
    }
    WEIRP_TRY(weirp_txn_scan(txn, prefix.bytes, prefix.size, NULL, 0, take_holding, b, err));
    if (b->orphan) WEIRP_TRY(weirp_orphan_records(b->orphan, settle_record, b, err));
    if (b->proven) WEIRP_TRY(weirp_orphan_slots(b->orphan, spend_slot, b, err));
    WEIRP_TRY(end_leases(b, &n_unproven, err));
    /* moves nothing: it tells that the process was killed, and may have taken rows of the traffic log with it */
    weirp_entry end = {.kind = WEIRP_ENTRY_FORFEIT, .at_ms = b->now_ms};
    WEIRP_TRY(weirp_books_enter(&b->books, &end, err));
    b->row.died_ms = b->now_ms;
    if (n_unproven) /* kept until it is proven */
        WEIRP_TRY(weirp_process_row_write(txn, &b->row, err));
    else
        WEIRP_TRY(weirp_process_leave(&b->books, b->process, err));
    b->books.moved = true;
    b->books.counters.version++; /* there may be room for those who were refused */
    st = weirp_books_end(&b->books, err);
done:
    return st;
}

static weir_status bury_one(weirp_store *store, uint32_t process, const weirp_orphan *orphan, weir_error *err) {
    burial b = {.process = process, .orphan = orphan};
    weir_status st = weirp_store_transact(store, NULL, 0, bury, &b, err);
    weirp_books_free(&b.books);
    free(b.holdings);
    free(b.calls);
    return st;
}

/* ---- who is dead ---- */

typedef struct census {
    const char *path;
    uint32_t self;
    const weirp_orphan *adopted; /* NULL: none */
    weirp_process_row dead[MANY];
    size_t n_dead, n_alive;
} census;

static weir_status count(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                         weir_error *err) {
    census *c = user;
    weirp_process_row row = {0};
    weir_status st = weirp_process_row_decode(&row, data, size, err);
    if (st) return st;
    if (key_size != 6) return weirp_fail(err, WEIR_CORRUPT, 0, "a process's row is damaged");
    row.id = weirp_be32(key + 2);
    if (row.id == c->self || row.died_ms) return WEIR_OK;
    /* a spool that has been adopted is locked, as those of the living are: by ourselves */
    bool adopted =
        c->adopted && row.spool == weirp_orphan_number(c->adopted) && row.spool_id == weirp_orphan_id(c->adopted);
    if (!adopted && weirp_spool_lives(c->path, row.spool, row.spool_id))
        c->n_alive++;
    else if (c->n_dead < MANY)
        c->dead[c->n_dead++] = row;
    return WEIR_OK;
}

static weir_status take_census(weirp_store *store, census *c, weir_error *err) {
    weirp_snapshot *snapshot;
    c->n_dead = c->n_alive = 0;
    weir_status st = weirp_snapshot_begin(&snapshot, store, err);
    if (st) return st;
    st = weirp_txn_scan(weirp_snapshot_table(snapshot), WEIRP_ROW_PROCESS, 2, NULL, 0, count, c, err);
    weirp_snapshot_end(snapshot);
    return st;
}

static weirp_process_row *owner_of(census *c, const weirp_orphan *orphan) {
    for (size_t i = 0; i < c->n_dead; i++)
        if (c->dead[i].id && c->dead[i].spool == weirp_orphan_number(orphan) &&
            c->dead[i].spool_id == weirp_orphan_id(orphan))
            return &c->dead[i];
    return NULL;
}

/* Those whose spools are there first; a spool of nobody's (its process hadn't got round to registering, or somebody has
 * buried it and died) says nothing. */
static weir_status bury_spools(weirp_store *store, census *c, weir_error *err) {
    weirp_orphan *orphan;
    weir_status st;
    while ((st = weirp_spool_adopt(&orphan, c->path, err)) == WEIR_OK) {
        weirp_process_row *row = owner_of(c, orphan);
        if (!row) { /* it may have died since the census */
            c->adopted = orphan;
            st = take_census(store, c, err);
            c->adopted = NULL;
            row = st ? NULL : owner_of(c, orphan);
        }
        if (!st && row) st = bury_one(store, row->id, orphan, err);
        if (!st && row) row->id = 0;
        weir_status closed = weirp_orphan_close(orphan, st == WEIR_OK, err);
        if (st || closed) return st ? st : closed;
    }
    return st == WEIR_END ? WEIR_OK : st;
}

weir_status weirp_processes_bury(weirp_store *store, const char *path, uint32_t self, size_t *n_dead, size_t *n_alive,
                                 weir_error *err) {
    census *c = calloc(1, sizeof *c);
    if (!c) return weirp_nomem(err);
    c->path = path;
    c->self = self;
    weir_status st = take_census(store, c, err);
    size_t dead = c->n_dead;
    if (!st && dead) st = bury_spools(store, c, err);
    for (size_t i = 0; !st && i < c->n_dead; i++)
        if (c->dead[i].id) st = bury_one(store, c->dead[i].id, NULL, err);
    if (n_dead) *n_dead = dead;
    if (n_alive) *n_alive = c->n_alive;
    free(c);
    return st;
}

weir_status weirp_ledger_bury(weirp_store *store, const char *path, size_t *n_dead, weir_error *err) {
    return weirp_processes_bury(store, path, 0, n_dead, NULL, err);
}

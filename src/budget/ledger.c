/* ledger.c: what people and reports do with the ledger: budgets, accounts, entries.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/books.h"

/* ---- budgets ---- */

static weir_status name_row(weirp_txn *txn, const char *name, uint32_t *id, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_bytes(&key, WEIRP_ROW_NAME, name, strnlen(name, WEIRP_BUDGET_NAME));
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    if (st) return st;
    if (size != 4) return weirp_fail(err, WEIR_CORRUPT, 0, "a budget's name is damaged");
    *id = weirp_be32(data);
    return WEIR_OK;
}

weir_status weirp_ledger_find(weirp_txn *txn, const char *name, weirp_budget *budget, weir_error *err) {
    uint32_t id;
    bool removed;
    weir_status st = name_row(txn, name, &id, err);
    if (st == WEIR_NOTFOUND) return weirp_fail(err, st, 0, "there is no budget \"%.64s\"", name);
    return st ? st : weirp_budget_row_read(txn, id, budget, &removed, err);
}

typedef struct change {
    const weirp_budget *budget; /* NULL: remove */
    const char *name;
    uint32_t id;
    bool configured;      /* by a gateway's file: a mark is kept, by which it is known when it vanishes from there */
    weirp_set_result did; /* what has come of it */
} change;

/* What is set by hand, or removed, is no file's any more. */
static weir_status mark(weirp_txn *txn, const char *name, bool configured, weir_error *err) {
    weirp_row_key key;
    weirp_row_key_bytes(&key, WEIRP_ROW_CONFIGURED, name, strlen(name));
    if (configured) return weirp_txn_put(txn, key.bytes, key.size, NULL, 0, err);
    weir_status st = weirp_txn_delete(txn, key.bytes, key.size, err);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

/* Only where it isn't yet: a transaction that changes nothing isn't written. */
static weir_status marked(weirp_txn *txn, const char *name, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_bytes(&key, WEIRP_ROW_CONFIGURED, name, strlen(name));
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    return st == WEIR_NOTFOUND ? mark(txn, name, true, err) : st;
}

/* 1: the same in all; 0: not; -1: no memory. */
static int same_budget(const weirp_budget *a, const weirp_budget *b) {
    weirp_budget other = *b;
    weirp_writer left = {0}, right = {0};
    other.id = a->id;
    weirp_budget_encode(a, &left);
    weirp_budget_encode(&other, &right);
    int same =
        left.failed || right.failed ? -1 : left.size == right.size && memcmp(left.data, right.data, left.size) == 0;
    weirp_writer_free(&left);
    weirp_writer_free(&right);
    return same;
}

/* What may not change without the accounts meaning something else. */
static bool same_accounts(const weirp_budget *a, const weirp_budget *b) {
    bool same = a->unit == b->unit && a->period == b->period && strcmp(a->zone, b->zone) == 0;
    for (int d = 0; same && d < WEIRP_N_DIMS; d++) same = strcmp(a->match[d], b->match[d]) == 0;
    return same;
}

static weir_status change_budget(void *user, weirp_txn *txn, weir_error *err) {
    change *c = user;
    c->did = WEIRP_SET_MADE;
    weirp_counters counters;
    weirp_budget now, was;
    weirp_row_key key;
    uint32_t id = 0;
    weir_status st;
    bool removed;
    WEIRP_TRY(weirp_counters_read(txn, &counters, err));
    weirp_row_key_bytes(&key, WEIRP_ROW_NAME, c->name, strlen(c->name));
    st = name_row(txn, c->name, &id, err);
    if (st && st != WEIR_NOTFOUND) return st;
    bool known = !st, kept = false;
    if (!known && !c->budget) return weirp_fail(err, WEIR_NOTFOUND, 0, "there is no budget \"%.64s\"", c->name);
    if (known) {
        WEIRP_TRY(weirp_budget_row_read(txn, id, &was, &removed, err));
        kept = c->budget && same_accounts(&was, c->budget);
        c->did = kept ? WEIRP_SET_CHANGED : WEIRP_SET_AFRESH;
        int same = kept && c->configured ? same_budget(&was, c->budget) : 0;
        if (same < 0) return weirp_nomem(err);
        if (same) {
            c->id = id;
            c->did = WEIRP_SET_SAME;
            return marked(txn, c->name, err);
        }
        if (!kept) WEIRP_TRY(weirp_budget_row_write(txn, &was, true, err));
    }
    if (c->budget) {
        now = *c->budget;
        now.id = c->id = kept ? id : counters.next_budget++;
        uint8_t bytes[4] = {(uint8_t)(now.id >> 24), (uint8_t)(now.id >> 16), (uint8_t)(now.id >> 8), (uint8_t)now.id};
        WEIRP_TRY(weirp_budget_row_write(txn, &now, false, err));
        WEIRP_TRY(weirp_txn_put(txn, key.bytes, key.size, bytes, 4, err));
    } else {
        WEIRP_TRY(weirp_txn_delete(txn, key.bytes, key.size, err));
    }
    WEIRP_TRY(mark(txn, c->name, c->configured, err));
    counters.version++;
    counters.n_posts++;
    st = weirp_counters_write(txn, &counters, err);
done:
    return st;
}

static weir_status check(const weirp_budget *budget, weir_error *err) {
    weir_status st = weirp_budget_check(budget, err);
    if (!st && budget->limit > WEIRP_MOST_MONEY)
        st = weirp_fail(err, WEIR_INVALID, 0, "budget \"%s\": the limit is above %lld", budget->name,
                        (long long)WEIRP_MOST_MONEY);
    return st;
}

weir_status weirp_ledger_set(weirp_store *store, const weirp_budget *budget, uint32_t *id, weir_error *err) {
    change c = {.budget = budget, .name = budget->name};
    weir_status st = check(budget, err);
    if (st) return st;
    st = weirp_store_transact(store, NULL, 0, change_budget, &c, err);
    if (!st && id) *id = c.id;
    return st;
}

typedef struct configuring {
    const weirp_budget *budget; /* (n,) */
    size_t n;
    weirp_set_result *did; /* (n,) */
    weirp_vanished *vanished;
} configuring;

static weir_status find_vanished(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                 weir_error *err) {
    configuring *c = user;
    const char *name = (const char *)key + 2;
    const size_t len = key_size - 2;
    (void)data, (void)size;
    if (len >= WEIRP_BUDGET_NAME) return weirp_fail(err, WEIR_CORRUPT, 0, "a configured budget's name is damaged");
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->budget[i].name) == len && memcmp(c->budget[i].name, name, len) == 0) return WEIR_OK;
    if (c->vanished->n++ >= WEIRP_VANISHED) return WEIR_OK;
    char *to = c->vanished->name[c->vanished->n - 1];
    memcpy(to, name, len);
    to[len] = '\0';
    return WEIR_OK;
}

static weir_status configure(void *user, weirp_txn *txn, weir_error *err) {
    configuring *c = user;
    c->vanished->n = 0;
    for (size_t i = 0; i < c->n; i++) {
        change one = {.budget = &c->budget[i], .name = c->budget[i].name, .configured = true};
        weir_status st = change_budget(&one, txn, err);
        if (st) return st;
        c->did[i] = one.did;
    }
    return weirp_txn_scan(txn, WEIRP_ROW_CONFIGURED, 2, NULL, 0, find_vanished, c, err);
}

weir_status weirp_ledger_configure(weirp_store *store, const weirp_budget *budget, size_t n, weirp_set_result *did,
                                   weirp_vanished *vanished, weir_error *err) {
    configuring c = {budget, n, did, vanished};
    for (size_t i = 0; i < n; i++) {
        weir_status st = check(&budget[i], err);
        if (st) return st;
    }
    return weirp_store_transact(store, NULL, 0, configure, &c, err);
}

weir_status weirp_ledger_remove(weirp_store *store, const char *name, weir_error *err) {
    change c = {.name = name};
    if (strnlen(name, WEIRP_BUDGET_NAME) >= WEIRP_BUDGET_NAME)
        return weirp_fail(err, WEIR_NOTFOUND, 0, "there is no budget \"%.64s...\"", name);
    return weirp_store_transact(store, NULL, 0, change_budget, &c, err);
}

typedef struct listing {
    weirp_ledger_budget_visit budgets;
    weirp_ledger_account_visit accounts;
    void *user;
} listing;

static weir_status list_budget(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                               weir_error *err) {
    listing *l = user;
    weirp_budget budget;
    (void)key;
    if (key_size != 6 || size < 4) return weirp_fail(err, WEIR_CORRUPT, 0, "a budget's row is cut off");
    bool removed = data[0] != 0;
    weir_status st = weirp_budget_decode(&budget, data + 4, size - 4, err);
    return st ? st : l->budgets(l->user, &budget, removed, err);
}

weir_status weirp_ledger_budgets(weirp_txn *txn, weirp_ledger_budget_visit visit, void *user, weir_error *err) {
    listing l = {.budgets = visit, .user = user};
    return weirp_txn_scan(txn, WEIRP_ROW_BUDGET, 2, NULL, 0, list_budget, &l, err);
}

static weir_status list_account(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                weir_error *err) {
    listing *l = user;
    weirp_account_row row;
    weir_status st = weirp_account_row_decode(&row, data, size, err);
    if (!st && (key_size != 10 || weirp_be64(key + 2) != row.number))
        return weirp_fail(err, WEIR_CORRUPT, 0, "an account's row is another's");
    return st ? st : l->accounts(l->user, &row, err);
}

weir_status weirp_ledger_accounts(weirp_txn *txn, weirp_ledger_account_visit visit, void *user, weir_error *err) {
    listing l = {.accounts = visit, .user = user};
    return weirp_txn_scan(txn, WEIRP_ROW_ACCOUNT, 2, NULL, 0, list_account, &l, err);
}

/* ---- entries with their texts ---- */

typedef struct reading {
    weirp_txn *txn;
    int64_t from_ms, to_ms;
    weirp_ledger_entry_visit visit;
    void *user;
    char **texts; /* (n_texts,): by number, read when they are met */
    size_t n_texts;
} reading;

static weir_status text_of(reading *r, uint32_t id, const char **text, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    *text = NULL;
    if (!id) return WEIR_OK;
    if (id >= r->n_texts) return weirp_fail(err, WEIR_CORRUPT, 0, "an entry names a text that isn't there");
    if (!r->texts[id]) {
        weirp_row_key_u32(&key, WEIRP_ROW_TEXT, id);
        weir_status st = weirp_txn_get(r->txn, key.bytes, key.size, &data, &size, err);
        if (st == WEIR_NOTFOUND) return weirp_fail(err, WEIR_CORRUPT, 0, "an entry names a text that isn't there");
        if (st) return st;
        r->texts[id] = weirp_strndup((const char *)data, size);
        if (!r->texts[id]) return weirp_nomem(err);
    }
    *text = r->texts[id];
    return WEIR_OK;
}

static weir_status read_entry(void *user, uint64_t number, const weirp_entry *entry, const uint32_t texts[WEIRP_N_DIMS],
                              weir_error *err) {
    reading *r = user;
    weirp_entry named = *entry;
    if (entry->at_ms < r->from_ms || entry->at_ms >= r->to_ms) return WEIR_OK;
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        weir_status st = text_of(r, texts[d], &named.subject.value[d], err);
        if (st) return st;
    }
    return r->visit(r->user, number, &named, err);
}

weir_status weirp_ledger_entries(weirp_txn *txn, int64_t from_ms, int64_t to_ms, weirp_ledger_entry_visit visit,
                                 void *user, weir_error *err) {
    reading r = {.txn = txn, .from_ms = from_ms, .to_ms = to_ms, .visit = visit, .user = user};
    weirp_counters counters;
    weir_status st = weirp_counters_read(txn, &counters, err);
    if (st) return st;
    r.n_texts = counters.next_text;
    r.texts = weirp_array(r.n_texts, sizeof *r.texts);
    if (!r.texts) return weirp_nomem(err);
    st = weirp_entries_scan(txn, read_entry, &r, NULL, err);
    for (size_t i = 0; i < r.n_texts; i++) free(r.texts[i]);
    free(r.texts);
    return st;
}

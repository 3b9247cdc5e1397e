/* process.c: who shares the ledger; what is unproven of those who did.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <unistd.h>

#include "src/budget/books.h"

weir_status weirp_process_register(weirp_books *b, weirp_process_row *row, weir_error *err) {
    row->id = b->counters.next_process++;
    row->pid = (uint32_t)getpid();
    row->started_ms = weirp_unix_ms();
    b->moved = true;
    return weirp_process_row_write(b->txn, row, err);
}

weir_status weirp_process_leave(weirp_books *b, uint32_t id, weir_error *err) {
    weirp_row_key key;
    weirp_row_key_u32(&key, WEIRP_ROW_PROCESS, id);
    b->moved = true;
    weir_status st = weirp_txn_delete(b->txn, key.bytes, key.size, err);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

weir_status weirp_process_row_read(weirp_txn *txn, uint32_t process, weirp_process_row *row, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_u32(&key, WEIRP_ROW_PROCESS, process);
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    row->id = process;
    return st ? st : weirp_process_row_decode(row, data, size, err);
}

bool weirp_process_lives(weirp_txn *txn, uint32_t id) {
    weirp_process_row row = {0};
    return weirp_process_row_read(txn, id, &row, NULL) == WEIR_OK && !row.died_ms;
}

weir_status weirp_process_end(weirp_books *b, uint32_t id, weir_error *err) {
    weirp_process_row row = {0};
    weir_status st = weirp_process_row_read(b->txn, id, &row, err);
    if (st) return st;
    row.died_ms = weirp_unix_ms();
    b->moved = true;
    return weirp_process_row_write(b->txn, &row, err);
}

/* ---- what is unproven ---- */

typedef struct listing {
    weirp_txn *txn;
    weirp_ledger_unproven_visit visit;
    void *user;
} listing;

static weir_status list_unproven(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                 weir_error *err) {
    listing *l = user;
    weirp_process_row row;
    if (key_size != 14 || size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "what is unproven has a damaged row");
    weirp_unproven u = {.process = weirp_be32(key + 2), .account = weirp_be64(key + 6)};
    memcpy(&u.amount, data, 8);
    weir_status st = weirp_process_row_read(l->txn, u.process, &row, err);
    if (st && st != WEIR_NOTFOUND) return st;
    u.died_ms = st ? 0 : row.died_ms;
    return l->visit(l->user, &u, err);
}

weir_status weirp_ledger_unproven(weirp_txn *txn, weirp_ledger_unproven_visit visit, void *user, weir_error *err) {
    listing l = {.txn = txn, .visit = visit, .user = user};
    return weirp_txn_scan(txn, WEIRP_ROW_UNPROVEN, 2, NULL, 0, list_unproven, &l, err);
}

typedef struct verdict {
    uint32_t process;
    uint64_t account;
    int64_t spent;
} verdict;

static weir_status any(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                       weir_error *err) {
    (void)key, (void)key_size, (void)data, (void)size, (void)err;
    *(bool *)user = true;
    return WEIR_END;
}

static weir_status reconcile(void *user, weirp_txn *txn, weir_error *err) {
    const verdict *v = user;
    weirp_books books = {0};
    weirp_open_row *open;
    weirp_row_key prefix;
    bool more = false;
    weir_status st;
    WEIRP_TRY(weirp_books_begin(&books, txn, v->process, err));
    st = weirp_books_row(&books, v->account, &open, err);
    if (st == WEIR_NOTFOUND || (!st && !open->unproven)) {
        st = weirp_fail(err, WEIR_NOTFOUND, 0, "nothing of account %llu is unproven for process %u",
                        (unsigned long long)v->account, v->process);
        goto done;
    }
    if (st) goto done;
    if (v->spent < 0 || v->spent > open->unproven) {
        st = weirp_fail(err, WEIR_INVALID, 0, "%lld is unproven; no more can have been spent of it",
                        (long long)open->unproven);
        goto done;
    }
    int64_t now = weirp_unix_ms(), rest = open->unproven - v->spent;
    WEIRP_TRY(weirp_books_move(&books, WEIRP_ENTRY_RECONCILE, open, WEIRP_UNPROVEN, WEIRP_SPENT, v->spent, now, err));
    WEIRP_TRY(weirp_books_move(&books, WEIRP_ENTRY_RECONCILE, open, WEIRP_UNPROVEN, WEIRP_FREE, rest, now, err));
    books.counters.version++; /* there may be room for those who were refused */
    WEIRP_TRY(weirp_books_end(&books, err));
    weirp_row_key_u32(&prefix, WEIRP_ROW_UNPROVEN, v->process);
    st = weirp_txn_scan(txn, prefix.bytes, prefix.size, NULL, 0, any, &more, err);
    if (st == WEIR_END) st = WEIR_OK;
    if (!st && !more) {
        books.txn = txn;
        st = weirp_process_leave(&books, v->process, err);
    }
done:
    weirp_books_free(&books);
    return st;
}

weir_status weirp_ledger_reconcile(weirp_store *store, uint32_t process, uint64_t account, int64_t spent,
                                   weir_error *err) {
    verdict v = {.process = process, .account = account, .spent = spent};
    return weirp_store_transact(store, NULL, 0, reconcile, &v, err);
}

/* process.c: who shares the ledger, who of them is alive, and what the dead held.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/budget/books.h"

/* ---- a life: a lock that the kernel lets go of with the process ---- */

static char *beside(const char *store, const char *name) {
    const char *slash = strrchr(store, '/');
    char *path = NULL;
    if (asprintf(&path, "%.*s%s", slash ? (int)(slash + 1 - store) : 0, store, name) < 0) return NULL;
    return path;
}

weir_status weirp_life_begin(weirp_life *life, const char *store, weir_error *err) {
    uint64_t chance;
    *life = (weirp_life){.fd = -1};
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return weirp_fail_errno(err, errno, "can't get random bytes for", store);
    const char *slash = strrchr(store, '/'), *base = slash ? slash + 1 : store;
    snprintf(life->name, sizeof life->name, "%.32s-bank-%016llx", base, (unsigned long long)chance);
    life->path = beside(store, life->name);
    if (!life->path) return weirp_nomem(err);
    life->fd = open(life->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (life->fd < 0 || flock(life->fd, LOCK_EX | LOCK_NB) != 0) {
        weir_status st = weirp_fail_errno(err, errno, "can't lock", life->path);
        weirp_life_end(life, true);
        return st;
    }
    return WEIR_OK;
}

void weirp_life_end(weirp_life *life, bool remove_file) {
    if (remove_file && life->path && life->fd >= 0) (void)unlink(life->path);
    if (life->fd >= 0) (void)close(life->fd);
    free(life->path);
    *life = (weirp_life){.fd = -1};
}

/* Whether nobody holds it; what can't be told counts as alive. */
static bool is_dead(const char *store, const weirp_process_row *row) {
    char *path = beside(store, row->lock);
    if (!path) return false;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool dead = fd < 0 ? errno == ENOENT : flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0) (void)close(fd);
    free(path);
    return dead;
}

static void remove_lock(const char *store, const weirp_process_row *row) {
    char *path = beside(store, row->lock);
    if (path) (void)unlink(path);
    free(path);
}

void weirp_boot_id(char out[40]) {
    memset(out, 0, 40);
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f) return;
    if (!fgets(out, 40, f)) out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    (void)fclose(f);
}

weir_status weirp_process_register(weirp_books *b, const weirp_life *life, uint32_t *id, weir_error *err) {
    weirp_process_row row = {
        .id = b->counters.next_process++, .pid = (uint32_t)getpid(), .started_ms = weirp_unix_ms()};
    weirp_boot_id(row.boot);
    snprintf(row.lock, sizeof row.lock, "%s", life->name);
    *id = row.id;
    b->moved = true;
    return weirp_process_row_write(b->txn, &row, err);
}

weir_status weirp_process_leave(weirp_books *b, uint32_t id, weir_error *err) {
    weirp_row_key key;
    weirp_row_key_u32(&key, WEIRP_ROW_PROCESS, id);
    b->moved = true;
    weir_status st = weirp_txn_delete(b->txn, key.bytes, key.size, err);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

/* ---- burying ---- */

enum { MANY = 256 };

typedef struct found {
    const char *store;
    uint32_t self;
    weirp_process_row dead[MANY];
    size_t n_dead, n_alive;
} found;

static weir_status look_at(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                           weir_error *err) {
    found *f = user;
    weirp_process_row row = {0};
    weir_status st = weirp_process_row_decode(&row, data, size, err);
    if (st) return st;
    if (key_size != 6) return weirp_fail(err, WEIR_CORRUPT, 0, "a process's row is damaged");
    row.id = weirp_be32(key + 2);
    if (row.id == f->self || row.died_ms) return WEIR_OK;
    if (!is_dead(f->store, &row))
        f->n_alive++;
    else if (f->n_dead < MANY)
        f->dead[f->n_dead++] = row;
    return WEIR_OK;
}

typedef struct holding {
    uint64_t account;
    int64_t amount;
} holding;

typedef struct burial {
    const weirp_process_row *row;
    holding *holdings;
    size_t n, capacity;
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

/* Somebody else may have been faster: then there is nothing left of it. */
static weir_status still_there(weirp_txn *txn, uint32_t process, weirp_process_row *row, weir_error *err) {
    weirp_row_key key;
    const uint8_t *data;
    size_t size;
    weirp_row_key_u32(&key, WEIRP_ROW_PROCESS, process);
    weir_status st = weirp_txn_get(txn, key.bytes, key.size, &data, &size, err);
    row->id = process;
    return st ? st : weirp_process_row_decode(row, data, size, err);
}

weir_status weirp_process_end(weirp_books *b, uint32_t id, weir_error *err) {
    weirp_process_row row = {0};
    weir_status st = still_there(b->txn, id, &row, err);
    if (st) return st;
    row.died_ms = weirp_unix_ms();
    b->moved = true;
    return weirp_process_row_write(b->txn, &row, err);
}

bool weirp_process_lives(weirp_txn *txn, uint32_t id) {
    weirp_process_row row = {0};
    return still_there(txn, id, &row, NULL) == WEIR_OK && !row.died_ms;
}

static weir_status bury(void *user, weirp_txn *txn, weir_error *err) {
    burial *burial_ = user;
    weirp_books books = {0};
    weirp_process_row row;
    weirp_row_key prefix;
    weir_status st = still_there(txn, burial_->row->id, &row, err);
    if (st) return st == WEIR_NOTFOUND ? WEIR_OK : st;
    if (row.died_ms) return WEIR_OK;
    burial_->n = 0;
    row.died_ms = weirp_unix_ms();
    weirp_row_key_u32(&prefix, WEIRP_ROW_HOLDING, row.id);
    WEIRP_TRY(weirp_books_begin(&books, txn, row.id, err));
    WEIRP_TRY(weirp_txn_scan(txn, prefix.bytes, prefix.size, NULL, 0, take_holding, burial_, err));
    for (size_t i = 0; i < burial_->n; i++) {
        weirp_open_row *open;
        WEIRP_TRY(weirp_books_row(&books, burial_->holdings[i].account, &open, err));
        if (open->row.wanted_by == row.id) open->row.wanted_by = 0;
        WEIRP_TRY(weirp_books_move(&books, WEIRP_ENTRY_FORFEIT, open, WEIRP_LEASED, WEIRP_UNPROVEN,
                                   burial_->holdings[i].amount, row.died_ms, err));
    }
    if (burial_->n) /* kept until what it held is proven */
        WEIRP_TRY(weirp_process_row_write(txn, &row, err));
    else
        WEIRP_TRY(weirp_process_leave(&books, row.id, err));
    books.moved = true;
    WEIRP_TRY(weirp_books_end(&books, err));
done:
    weirp_books_free(&books);
    return st;
}

weir_status weirp_processes_bury(weirp_store *store, const char *path, uint32_t self, size_t *n_dead, size_t *n_alive,
                                 weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    burial b = {0};
    found *f = calloc(1, sizeof *f);
    if (!f) return weirp_nomem(err);
    f->store = path;
    f->self = self;
    weir_status st;
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(weirp_txn_scan(weirp_snapshot_table(snapshot), WEIRP_ROW_PROCESS, 2, NULL, 0, look_at, f, err));
    weirp_snapshot_end(snapshot);
    snapshot = NULL;
    for (size_t i = 0; i < f->n_dead; i++) {
        b.row = &f->dead[i];
        WEIRP_TRY(weirp_store_transact(store, NULL, 0, bury, &b, err));
        remove_lock(path, b.row);
    }
    if (n_dead) *n_dead = f->n_dead;
    if (n_alive) *n_alive = f->n_alive;
done:
    weirp_snapshot_end(snapshot);
    free(b.holdings);
    free(f);
    return st;
}

weir_status weirp_ledger_bury(weirp_store *store, const char *path, size_t *n_dead, weir_error *err) {
    return weirp_processes_bury(store, path, 0, n_dead, NULL, err);
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
    weir_status st = still_there(l->txn, u.process, &row, err);
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

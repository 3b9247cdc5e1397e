/* open.c: a bank comes and goes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/budget/till.h"

static void free_bank(weirp_bank *bank) {
    weirp_spool_close(bank->spool);
    weirp_store_close(bank->store);
    weirp_till_loaded_free(bank);
    free(bank->loaded);
    weirp_till_accounts_free(bank);
    weirp_books_free(&bank->books);
    weirp_writer_free(&bank->queue);
    weirp_writer_free(&bank->posting);
    free(bank->ops);
    free(bank->path);
    pthread_cond_destroy(&bank->called);
    pthread_mutex_destroy(&bank->lock);
    free(bank);
}

/* A spool that nothing was ever written to would be cleared away as if it had never been, and leases that nothing was
 * spent from couldn't be told from those whose proof was lost. */
static weir_status sign(weirp_bank *bank, const char *store, weir_error *err) {
    uint8_t none[WEIRP_SPOOL_SLOT];
    weir_status st = weirp_spool_open(&bank->spool, store, NULL, err);
    if (st) return st;
    bank->self.spool = weirp_spool_number(bank->spool);
    bank->self.spool_id = weirp_spool_id(bank->spool);
    size_t size = weirp_slot_encode(UINT64_MAX, NULL, NULL, 0, none);
    st = weirp_spool_take(bank->spool, none, size, &bank->signature);
    return st ? weirp_fail(err, st, 0, "the spool has no room") : WEIR_OK;
}

static weir_status enrol(void *user, weirp_txn *txn, weir_error *err) {
    weirp_bank *bank = user;
    weir_status st;
    WEIRP_TRY(weirp_books_begin(&bank->books, txn, 0, err));
    WEIRP_TRY(weirp_process_register(&bank->books, &bank->self, err));
    bank->process = bank->self.id;
    WEIRP_TRY(weirp_till_load(bank, txn, bank->books.counters.version, err));
    st = weirp_books_end(&bank->books, err);
done:
    return st;
}

weir_status weirp_bank_open(weirp_bank **out, const char *store, const weirp_bank_options *options, weir_error *err) {
    weirp_bank *bank = calloc(1, sizeof *bank);
    *out = NULL;
    if (!bank) return weirp_nomem(err);
    pthread_mutex_init(&bank->lock, NULL);
    pthread_cond_init(&bank->called, NULL);
    bank->epoch = 1;
    if (options) bank->options = *options;
    bank->path = strdup(store);
    weir_status st = bank->path ? WEIR_OK : weirp_nomem(err);
    if (!st) st = weirp_store_open(&bank->store, store, WEIRP_STORE_JOIN, err);
    if (!st) st = sign(bank, store, err);
    if (!st) st = weirp_processes_bury(bank->store, store, 0, NULL, &bank->n_others, err);
    if (!st) st = weirp_store_transact(bank->store, NULL, 0, enrol, bank, err);
    if (st) {
        if (bank->signature) weirp_spool_empty(bank->spool, bank->signature);
        free_bank(bank);
        return st;
    }
    weirp_books_done(&bank->books);
    bank->buried_ns = weirp_till_now(bank);
    st = weirp_till_take_over(bank, err);
    if (st) {
        weirp_bank_abandon(bank);
        return st;
    }
    *out = bank;
    return WEIR_OK;
}

void weirp_bank_abandon(weirp_bank *bank) {
    if (bank) free_bank(bank);
}

/* ---- leaving ---- */

/* What is still claimed may be spent by calls that go on: nobody will know. */
static weir_status leave_account(weirp_bank *bank, weirp_account *a, bool *clean, weir_error *err) {
    weirp_open_row *row;
    int64_t now_ms = weirp_unix_ms();
    if (!a->number) return WEIR_OK;
    weir_status st = weirp_books_row(&bank->books, a->number, &row, err);
    if (st) return st;
    int64_t unproven = a->worst < row->holding ? a->worst : row->holding;
    if (row->row.wanted_by == bank->process) {
        row->row.wanted_by = 0;
        row->changed = true;
    }
    if (unproven > 0) *clean = false;
    WEIRP_TRY(
        weirp_books_move(&bank->books, WEIRP_ENTRY_FORFEIT, row, WEIRP_LEASED, WEIRP_UNPROVEN, unproven, now_ms, err));
    WEIRP_TRY(
        weirp_books_move(&bank->books, WEIRP_ENTRY_RETURN, row, WEIRP_LEASED, WEIRP_FREE, row->holding, now_ms, err));
done:
    return st;
}

static weir_status leave(void *user, weirp_txn *txn, weir_error *err) {
    weirp_bank *bank = user;
    bool clean = true;
    weir_status st;
    WEIRP_TRY(weirp_books_begin(&bank->books, txn, bank->process, err));
    for (size_t i = 0; i < bank->n_slots; i++)
        for (weirp_account *a = bank->accounts[i]; a; a = a->next) WEIRP_TRY(leave_account(bank, a, &clean, err));
    if (clean)
        WEIRP_TRY(weirp_process_leave(&bank->books, bank->process, err));
    else
        WEIRP_TRY(weirp_process_end(&bank->books, bank->process, err));
    st = weirp_books_end(&bank->books, err);
done:
    return st;
}

weir_status weirp_bank_close(weirp_bank *bank, weir_error *err) {
    unsigned wait;
    if (!bank) return WEIR_OK;
    weir_status st = weirp_bank_post(bank, &wait, err);
    if (!st) st = weirp_store_transact(bank->store, NULL, 0, leave, bank, err);
    if (!st) weirp_spool_empty(bank->spool, bank->signature);
    free_bank(bank);
    return st;
}

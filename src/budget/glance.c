/* glance.c: how budgets stand by the ledger, all processes together. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/budget/books.h"

typedef struct glancing {
    weirp_txn *txn;
    int64_t now_s;
    weirp_budget_glance *item;
    size_t capacity, *n, *n_budgets;
    weirp_budget_glance *at; /* whose accounts are being added up */
} glancing;

static void add_to(int64_t *sum, int64_t amount) {
    if (__builtin_add_overflow(*sum, amount, sum)) *sum = INT64_MAX;
}

static weir_status add_account(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                               weir_error *err) {
    glancing *g = user;
    weirp_budget_glance *to = g->at;
    weirp_account_row row;
    (void)key, (void)key_size;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "an account's key is damaged");
    if (to->n_accounts == WEIRP_GLANCE_ACCOUNTS) {
        to->cut = true;
        return WEIR_END;
    }
    weir_status st = weirp_account_row_read(g->txn, weirp_be64(data), &row, err);
    if (st) return st;
    to->n_accounts++;
    add_to(&to->spent, row.spent);
    add_to(&to->leased, row.leased);
    add_to(&to->unproven, row.unproven);
    const double share = row.limit > 0 ? (double)row.spent / (double)row.limit : row.spent > 0 ? INFINITY : 0;
    if (share > to->highest_share) to->highest_share = share;
    return WEIR_OK;
}

/* A budget's accounts of one period stand together in the table: their keys begin with its number and the start. */
static weir_status add_accounts(glancing *g, const weirp_budget *budget, weir_error *err) {
    weirp_budget plain = {.id = budget->id};
    const weirp_subject nobody = {{NULL}};
    weirp_account_key key;
    weirp_row_key prefix;
    weirp_account_key_of(&plain, g->at->span.start, &nobody, &key);
    weirp_row_key_of_account(&prefix, &key);
    weir_status st = weirp_txn_scan(g->txn, prefix.bytes, prefix.size, NULL, 0, add_account, g, err);
    return st == WEIR_END ? WEIR_OK : st;
}

static weir_status take(void *user, const weirp_budget *budget, bool removed, weir_error *err) {
    glancing *g = user;
    weirp_zone *zone = NULL;
    if (removed) return WEIR_OK;
    if (++*g->n_budgets > g->capacity) return WEIR_OK;
    weir_status st = weirp_zone_open(&zone, budget->zone, NULL);
    if (st == WEIR_NOMEM) return weirp_nomem(err);
    if (st) return WEIR_OK; /* this machine doesn't know it: nothing is claimed under it either */
    g->at = &g->item[*g->n];
    *g->at = (weirp_budget_glance){.unit = budget->unit, .limit = budget->limit};
    memcpy(g->at->name, budget->name, sizeof g->at->name);
    g->at->span = weirp_period_at(zone, budget->period, g->now_s);
    weirp_zone_close(zone);
    st = add_accounts(g, budget, err);
    if (!st) ++*g->n;
    return st;
}

weir_status weirp_ledger_glance(weirp_txn *txn, int64_t now_s, weirp_budget_glance *item, size_t capacity, size_t *n,
                                size_t *n_budgets, weir_error *err) {
    glancing g = {txn, now_s, item, capacity, n, n_budgets, NULL};
    *n = *n_budgets = 0;
    return weirp_ledger_budgets(txn, take, &g, err);
}

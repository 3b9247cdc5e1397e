/* plan.c: which leases are taken and given back, and budgets that somebody has changed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/till.h"

enum { CASES_AHEAD = 4 }; /* worst cases that a lease has room for, ahead of need */

/* What has been spent in the last second or so, and the largest reservation of the last ten. */
static void follow_rate(weirp_account *a, uint64_t now_ns) {
    double passed_s = a->planned_ns ? (double)(now_ns - a->planned_ns) / 1e9 : 1;
    a->used_1s = a->used_1s * exp(-passed_s) + (double)a->used_since;
    a->used_since = 0;
    a->largest = (int64_t)((double)a->largest * exp(-passed_s / 10));
    a->planned_ns = now_ns;
}

static bool is_over(const weirp_account *a, uint64_t now_ns) {
    return !a->first && !a->asked && now_ns - a->claimed_ns > WEIRP_TILL_IDLE_NS;
}

/* What is given back at once is out of everybody's reach from here on; a post that fails brings it back. */
static void plan_hard(const weirp_bank *bank, weirp_account *a, weirp_till_op *op, uint64_t now_ns) {
    int64_t open = a->lease - a->settled - a->worst, left = a->looked_ns ? weirp_till_global(a) : 0;
    double target = a->used_1s, few = CASES_AHEAD * (double)a->largest;
    if (target < few) target = few;
    op->target = target < (double)WEIRP_MOST_MONEY ? (int64_t)target : WEIRP_MOST_MONEY;
    op->free = open;
    op->asked = a->asked;
    op->idle = is_over(a, now_ns);
    if (op->idle || a->wanted)
        op->give = open;
    else if (left < 0)
        op->give = open < -left ? open : -left;
    else if (bank->n_others && !a->asked && open / 4 > op->target)
        op->give = open - 2 * op->target;
    if (op->give < 0) op->give = 0;
    op->free -= op->give;
    op->need = a->asked > op->free ? a->asked - (op->free > 0 ? op->free : 0) : 0;
    if (op->idle || (!a->asked && !a->top_up)) op->target = 0;
}

static void plan_one(weirp_bank *bank, weirp_account *a, weirp_till_op *op, uint64_t now_ns) {
    follow_rate(a, now_ns);
    if (!a->first && now_ns - a->claimed_ns > WEIRP_TILL_GIVEN_UP_NS) a->asked = 0; /* whoever asked has left */
    if (a->budget->budget.hard && !a->budget->removed) {
        plan_hard(bank, a, op, now_ns);
    } else {
        int64_t open = a->lease - a->settled - a->worst;
        op->give = open > 0 ? open : 0;
        op->idle = true;
    }
    a->lease -= op->give;
    op->settled = a->settled;
    op->unposted = a->unposted;
    memcpy(op->lost, a->lost, sizeof op->lost);
    op->look = a->look || a->touch || a->first || a->asked || a->marked ||
               (a->lease > 0 && (bank->n_others || now_ns - a->looked_ns > WEIRP_TILL_FRESH_NS));
    a->asked = 0;
    a->top_up = a->look = false;
    memset(a->lost, 0, sizeof a->lost);
}

weir_status weirp_till_plan(weirp_bank *bank, uint64_t now_ns, weir_error *err) {
    size_t n = 0;
    for (weirp_account *a = bank->active; a; a = a->next_active) n++;
    bank->n_ops = 0;
    if (!weirp_reserve((void **)&bank->ops, &bank->ops_capacity, n, sizeof *bank->ops)) return weirp_nomem(err);
    if (bank->posting.size) { /* of a post that failed: what is new goes behind it */
        weirp_put(&bank->posting, bank->queue.data, bank->queue.size);
        if (bank->posting.failed) {
            bank->posting.failed = false;
            return weirp_nomem(err);
        }
        bank->n_posting += bank->n_queued;
    } else {
        weirp_writer empty = bank->posting;
        bank->posting = bank->queue;
        bank->queue = empty;
        bank->n_posting = bank->n_queued;
    }
    bank->n_ring += bank->n_ringed;
    bank->queue.size = 0;
    bank->n_queued = bank->n_ringed = 0;
    bank->woken = false;
    for (weirp_account *a = bank->active; a; a = a->next_active) {
        weirp_till_op *op = &bank->ops[bank->n_ops];
        memset(op, 0, sizeof *op);
        op->account = a;
        a->op = bank->n_ops++;
        plan_one(bank, a, op, now_ns);
    }
    return WEIR_OK;
}

/* ---- budgets ---- */

void weirp_till_loaded_free(weirp_bank *bank) {
    for (size_t i = 0; i < bank->n_loaded; i++) weirp_zone_close(bank->loaded[i].zone);
    bank->n_loaded = 0;
    bank->reloaded = false;
}

static weir_status load_one(void *user, const weirp_budget *budget, bool removed, weir_error *err) {
    weirp_bank *bank = user;
    if (!weirp_reserve((void **)&bank->loaded, &bank->loaded_capacity, bank->n_loaded + 1, sizeof *bank->loaded))
        return weirp_nomem(err);
    weirp_till_budget *b = &bank->loaded[bank->n_loaded];
    *b = (weirp_till_budget){.budget = *budget, .removed = removed};
    weir_status st = removed ? WEIR_OK : weirp_zone_open(&b->zone, budget->zone, err);
    if (!st) bank->n_loaded++;
    return st;
}

weir_status weirp_till_load(weirp_bank *bank, weirp_txn *txn, uint64_t version, weir_error *err) {
    weirp_till_loaded_free(bank);
    weir_status st = weirp_ledger_budgets(txn, load_one, bank, err);
    bank->reloaded = !st;
    bank->loaded_version = version;
    return st;
}

/* Budgets are in the order of their ids, and ids never go. */
static weirp_till_budget *known(weirp_bank *bank, uint32_t id) {
    size_t low = 0, high = bank->n_known;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bank->budgets[middle]->budget.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < bank->n_known && bank->budgets[low]->budget.id == id ? bank->budgets[low] : NULL;
}

weir_status weirp_till_take_over(weirp_bank *bank, weir_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < bank->n_loaded; i++) {
        weirp_till_budget *from = &bank->loaded[i], *to = known(bank, from->budget.id);
        if (!to) {
            if (!weirp_reserve((void **)&bank->budgets, &bank->budgets_capacity, bank->n_known + 1,
                               sizeof(weirp_till_budget *)))
                return weirp_nomem(err);
            to = calloc(1, sizeof *to);
            if (!to) return weirp_nomem(err);
            bank->budgets[bank->n_known++] = to;
        }
        to->budget = from->budget;
        to->removed = from->removed;
        if (!to->zone && from->zone) {
            to->zone = from->zone;
            from->zone = NULL;
            to->span = weirp_period_at(to->zone, to->budget.period, weirp_unix_ms() / 1000);
        }
        n += !to->removed;
    }
    for (size_t i = 0; i < bank->n_slots; i++) {
        for (weirp_account *a = bank->accounts[i]; a; a = a->next) {
            if (!a->looked_ns) continue;
            a->touch = true; /* its row may have another limit now */
            weirp_till_activate(bank, a);
        }
    }
    if (!weirp_till_index(bank)) return weirp_nomem(err);
    bank->epoch++;
    bank->version = bank->loaded_version;
    atomic_store_explicit(&bank->n_budgets, n, memory_order_relaxed);
    weirp_till_loaded_free(bank);
    return WEIR_OK;
}

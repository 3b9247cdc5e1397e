/* post.c: one durable transaction: what was settled, leases taken and given back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/till.h"

enum { IDLE_MS = 100, SHARED_MS = 20, BURY_MS = 1000, WANTED_MS = 1000 };

/* ---- in the transaction ---- */

/* The budget as it is in the store now. */
static const weirp_till_budget *current(const weirp_bank *bank, const weirp_account *a) {
    uint32_t id = a->budget->budget.id;
    size_t low = 0, high = bank->reloaded ? bank->n_loaded : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bank->loaded[middle].budget.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < bank->n_loaded && bank->reloaded && bank->loaded[low].budget.id == id ? &bank->loaded[low] : a->budget;
}

static weir_status open_row(weirp_bank *bank, weirp_till_op *op, int64_t now_ms, weir_error *err) {
    weirp_account *a = op->account;
    const weirp_till_budget *b = current(bank, a);
    weir_status st = weirp_books_find(&bank->books, &a->key, &op->row, err);
    if (st == WEIR_NOTFOUND) {
        if (!op->need && !op->unposted && !op->target) return WEIR_OK; /* nobody has spent here yet */
        st = weirp_books_open_account(&bank->books, &b->budget, a->span, &a->key, &op->row, err);
    }
    if (st || b->removed) return st;
    return weirp_books_limit(&bank->books, op->row, b->budget.limit, now_ms, err);
}

static void post_part(weirp_entry *e, const weirp_till_op *op, int64_t amount, weirp_bucket from) {
    int64_t room = WEIRP_MOST_MONEY - op->row->row.spent;
    if (amount > room) amount = room; /* nine digits of billions are enough */
    if (amount > 0) e->postings[e->n_postings++] = (weirp_posting){op->row->row.number, from, WEIRP_SPENT, amount};
}

static weir_status post_entry(weirp_bank *bank, const weirp_spooled *t, weir_error *err) {
    weirp_entry e;
    weirp_spooled_entry(t, WEIRP_SPOOLED_TEXTS(t), &e);
    for (uint32_t i = 0; i < t->n; i++) {
        const weirp_account *a = t->part[i].account;
        post_part(&e, &bank->ops[a->op], t->part[i].leased, WEIRP_LEASED);
        post_part(&e, &bank->ops[a->op], t->part[i].free, WEIRP_FREE);
        e.overrun |= t->part[i].overrun;
    }
    return weirp_books_enter(&bank->books, &e, err);
}

static weir_status post_queue(weirp_bank *bank, weir_error *err) {
    for (size_t at = 0; at < bank->posting.size;) {
        const weirp_spooled *t = (const weirp_spooled *)(const void *)(bank->posting.data + at);
        weir_status st = post_entry(bank, t, err);
        if (st) return st;
        at += t->size;
    }
    if (bank->ring_next <= bank->self.done) return WEIR_OK;
    weirp_process_row self = bank->self; /* who dies before it hears of this commit leaves records that are in it */
    self.done = bank->ring_next;
    return weirp_process_row_write(bank->books.txn, &self, err);
}

/* Passes the records of the ring that are about to be posted. */
static weir_status pass_ring(weirp_bank *bank, weir_error *err) {
    const uint8_t *data;
    size_t size;
    for (; bank->n_ring; bank->n_ring--) {
        uint64_t number;
        weir_status st = weirp_spool_next(bank->spool, &number, &data, &size);
        if (st) return weirp_fail(err, st, 0, "the spool has lost a record");
        bank->ring_next = number + 1;
    }
    return WEIR_OK;
}

/* What was posted is forgotten. With the lock. */
static void forget_posted(weirp_bank *bank) {
    if (bank->ring_next > bank->self.done) {
        weirp_spool_durable(bank->spool, bank->ring_next - 1);
        bank->self.done = bank->ring_next;
    }
    for (size_t at = 0; at < bank->posting.size;) {
        const weirp_spooled *t = (const weirp_spooled *)(const void *)(bank->posting.data + at);
        if (!t->in_ring && t->slot) weirp_spool_empty(bank->spool, t->slot);
        at += t->size;
    }
    bank->posting.size = 0;
    bank->n_posting = 0;
}

/* What was settled without an entry, for want of memory. */
static weir_status post_lost(weirp_bank *bank, const weirp_till_op *op, int64_t now_ms, weir_error *err) {
    weirp_entry e = {.kind = WEIRP_ENTRY_SETTLE, .at_ms = now_ms};
    if (!op->lost[0] && !op->lost[1]) return WEIR_OK;
    e.amount[op->account->budget->budget.unit] = op->lost[0] + op->lost[1];
    post_part(&e, op, op->lost[0], WEIRP_LEASED);
    post_part(&e, op, op->lost[1], WEIRP_FREE);
    return weirp_books_enter(&bank->books, &e, err);
}

/* Whose turn it is to get what others don't use: one at a time, for a second at most. A mark from the future is as good
 * as old: somebody's clock went back. */
static bool is_marked(const weirp_bank *bank, weirp_txn *txn, const weirp_account_row *row, int64_t now_ms) {
    return row->wanted_by && now_ms >= row->wanted_ms && now_ms - row->wanted_ms <= WANTED_MS &&
           (row->wanted_by == bank->process || weirp_process_lives(txn, row->wanted_by));
}

static void mark(weirp_bank *bank, weirp_till_op *op, int64_t now_ms) {
    weirp_txn *txn = bank->books.txn;
    weirp_account_row *row = &op->row->row;
    bool marked = is_marked(bank, txn, row, now_ms), ours = row->wanted_by == bank->process;
    if (op->starved && (!marked || (ours && now_ms - row->wanted_ms > WANTED_MS / 2))) {
        row->wanted_by = bank->process;
        row->wanted_ms = now_ms;
        op->row->changed = true;
    } else if (!op->starved && ours) {
        row->wanted_by = 0;
        op->row->changed = true;
    }
}

/* Ahead of need, beside `take`: a share of what is left, so that the end of a budget is shared finely. */
static int64_t ahead(const weirp_bank *bank, const weirp_till_op *op, int64_t left, int64_t take) {
    int64_t open = op->free + take - op->asked;
    if (open < 0) open = 0;
    int64_t share = (left - take + open) / (WEIRP_TILL_SHARE * (int64_t)(bank->n_others + 1));
    int64_t more = (op->target < share ? op->target : share) - open;
    return more < 0 ? 0 : more < left - take ? more : left - take;
}

static weir_status lease(weirp_bank *bank, weirp_till_op *op, int64_t now_ms, weir_error *err) {
    const weirp_till_budget *b = current(bank, op->account);
    const weirp_account_row *row = &op->row->row;
    weirp_txn *txn = bank->books.txn;
    if (b->removed || !b->budget.hard) op->need = op->target = 0;
    bool others_turn = is_marked(bank, txn, row, now_ms) && row->wanted_by != bank->process;
    int64_t left = others_turn ? 0 : weirp_account_free(row);
    int64_t take = left < op->need ? left : op->need;
    if (take < 0) take = 0;
    op->starved = take < op->need && (others_turn || row->leased > op->row->holding);
    mark(bank, op, now_ms);
    if (take == op->need && left > take) take += ahead(bank, op, left, take);
    op->leased = take;
    return weirp_books_move(&bank->books, WEIRP_ENTRY_LEASE, op->row, WEIRP_FREE, WEIRP_LEASED, take, now_ms, err);
}

static void see(weirp_bank *bank, weirp_txn *txn, weirp_till_op *op, const weirp_account_row *row) {
    const weirp_budget *b = &current(bank, op->account)->budget;
    int64_t now_ms = weirp_unix_ms();
    op->found = true;
    op->number = row->number;
    op->limit = row->limit;
    op->spent = row->spent;
    op->all_leased = row->leased;
    op->unproven = row->unproven;
    op->wanted = row->wanted_by != bank->process && is_marked(bank, txn, row, now_ms);
    op->marked = row->wanted_by == bank->process && now_ms - row->wanted_ms <= WANTED_MS / 2;
    op->warned_from = op->warned_to = row->warned;
    while (op->warned_to < WEIRP_MAX_WARNINGS && b->warn[op->warned_to] > 0 && row->spent > 0 &&
           (double)row->spent >= b->warn[op->warned_to] * (double)row->limit)
        op->warned_to++;
}

static weir_status settle_accounts(weirp_bank *bank, int64_t now_ms, weir_error *err) {
    weir_status st;
    for (size_t i = 0; i < bank->n_ops; i++) {
        weirp_till_op *op = &bank->ops[i];
        op->row = NULL;
        op->leased = 0;
        op->starved = op->found = op->wanted = false;
        WEIRP_TRY(open_row(bank, op, now_ms, err));
        if (!op->row) continue;
        WEIRP_TRY(weirp_books_move(&bank->books, WEIRP_ENTRY_RETURN, op->row, WEIRP_LEASED, WEIRP_FREE, op->give,
                                   now_ms, err));
        WEIRP_TRY(post_lost(bank, op, now_ms, err));
    }
    WEIRP_TRY(post_queue(bank, err));
    for (size_t i = 0; i < bank->n_ops; i++) {
        weirp_till_op *op = &bank->ops[i];
        if (!op->row) continue;
        WEIRP_TRY(lease(bank, op, now_ms, err));
        see(bank, bank->books.txn, op, &op->row->row);
        if (op->warned_to == op->warned_from) continue;
        op->row->row.warned = (uint8_t)op->warned_to;
        op->row->changed = true;
    }
done:
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

static weir_status work(void *user, weirp_txn *txn, weir_error *err) {
    weirp_bank *bank = user;
    weir_status st;
    weirp_till_loaded_free(bank);
    WEIRP_TRY(weirp_books_begin(&bank->books, txn, bank->process, err));
    if (bank->books.counters.version != bank->version)
        WEIRP_TRY(weirp_till_load(bank, txn, bank->books.counters.version, err));
    WEIRP_TRY(settle_accounts(bank, weirp_unix_ms(), err));
    st = weirp_books_end(&bank->books, err);
done:
    return st;
}

/* ---- only looking ---- */

static weir_status look(weirp_bank *bank, weirp_txn *txn, weir_error *err) {
    weirp_counters counters;
    weir_status st;
    WEIRP_TRY(weirp_counters_read(txn, &counters, err));
    if (counters.version != bank->version) WEIRP_TRY(weirp_till_load(bank, txn, counters.version, err));
    for (size_t i = 0; i < bank->n_ops; i++) {
        weirp_till_op *op = &bank->ops[i];
        weirp_account_row row;
        if (!op->look || !op->account->number) continue;
        WEIRP_TRY(weirp_account_row_read(txn, op->account->number, &row, err));
        see(bank, txn, op, &row);
        op->warned_to = op->warned_from; /* who writes warns */
    }
done:
    return st;
}

static weir_status look_only(weirp_bank *bank, weir_error *err) {
    weirp_snapshot *snapshot;
    weir_status st = weirp_snapshot_begin(&snapshot, bank->store, err);
    if (st) return st;
    st = look(bank, weirp_snapshot_table(snapshot), err);
    weirp_snapshot_end(snapshot);
    return st;
}

/* ---- before and after ---- */

static bool must_write(const weirp_bank *bank, uint64_t now_ns) {
    bool must = bank->n_posting > 0;
    for (size_t i = 0; !must && i < bank->n_ops; i++) {
        const weirp_till_op *op = &bank->ops[i];
        const weirp_account *a = op->account;
        bool ask = op->need || op->target;
        must = op->give || (a->marked && !op->need && !a->first && now_ns - a->claimed_ns > WEIRP_TILL_GIVEN_UP_NS) ||
               op->lost[0] || op->lost[1] || a->touch || (ask && !a->looked_ns) || (op->look && !a->number);
        must = must || (op->need && !weirp_till_is_stuck(a)) || (op->target && weirp_till_global(a) > 0);
    }
    return must;
}

/* Back to how it was before the plan. */
static void undo(weirp_bank *bank) {
    for (size_t i = 0; i < bank->n_ops; i++) {
        weirp_till_op *op = &bank->ops[i];
        weirp_account *a = op->account;
        a->lease += op->give;
        a->asked = a->asked > WEIRP_MOST_MONEY - op->asked ? WEIRP_MOST_MONEY : a->asked + op->asked;
        a->look |= op->look;
        a->lost[0] += op->lost[0];
        a->lost[1] += op->lost[1];
    }
    weirp_till_loaded_free(bank);
}

static void keep_asking(weirp_account *a, const weirp_till_op *op) {
    a->asked = a->asked > WEIRP_MOST_MONEY - op->asked ? WEIRP_MOST_MONEY : a->asked + op->asked;
}

static void apply_written(weirp_account *a, const weirp_till_op *op) {
    a->lease += op->leased - op->settled;
    a->settled -= op->settled;
    a->unposted -= op->unposted;
    a->touch = false;
    if (op->starved)
        keep_asking(a, op);
    else
        a->round++;
}

static void apply_one(weirp_bank *bank, weirp_till_op *op, bool written, uint64_t now_ns) {
    weirp_account *a = op->account;
    bool first = !a->looked_ns, was_starved = a->starved;
    int64_t potential = weirp_till_potential(a), global = weirp_till_global(a);
    if (written) {
        apply_written(a, op);
        a->starved = op->starved;
    } else {
        keep_asking(a, op);
    }
    if (op->target > 0) a->low = op->target / 2;
    if (!op->found) return;
    a->number = op->number;
    a->limit = op->limit;
    a->spent = op->spent;
    a->leased = op->all_leased;
    a->unproven = op->unproven;
    a->wanted = op->wanted;
    a->marked = op->marked;
    a->looked_ns = now_ns;
    bool answered = written && op->need && !(op->starved && was_starved);
    /* somebody who was woken may have left without taking what was there */
    bool forgotten = a->first && now_ns - a->event_ns > IDLE_MS * WEIRP_TILL_MS;
    if (first || answered || forgotten || op->leased > 0 || weirp_till_potential(a) > potential ||
        weirp_till_global(a) > global)
        weirp_till_event(bank, a, now_ns);
}

/* Accounts that have nothing more to say leave the list. */
static void retire(weirp_bank *bank) {
    weirp_account **at = &bank->active;
    while (*at) {
        weirp_account *a = *at;
        if (a->lease || a->settled || a->unposted || a->asked || a->look || a->touch || a->top_up || a->first ||
            a->marked) {
            at = &a->next_active;
            continue;
        }
        a->active = false;
        *at = a->next_active;
    }
}

static unsigned wait_ms(const weirp_bank *bank) {
    unsigned wait = IDLE_MS;
    if (bank->woken) return 0;
    for (const weirp_account *a = bank->active; a; a = a->next_active) {
        if (a->touch || a->look || (a->asked && !weirp_till_is_stuck(a))) return 0;
        bool others = a->leased > a->lease;
        if ((a->first && (others || a->starved)) || a->marked ||
            (a->lease > 0 && bank->n_others && weirp_till_global(a) <= 0))
            return WEIRP_TILL_POLL_MS;
        if (a->lease > 0 && bank->n_others) wait = SHARED_MS; /* somebody may want it */
    }
    return wait;
}

static void warn(weirp_bank *bank) {
    for (size_t i = 0; bank->options.warn && i < bank->n_ops; i++) {
        const weirp_till_op *op = &bank->ops[i];
        const weirp_account *a = op->account;
        char scope[WEIRP_ACCOUNT_SCOPE];
        int64_t start;
        if (!op->found || op->warned_to <= op->warned_from) continue;
        (void)weirp_account_key_read(&a->budget->budget, a->key.bytes, a->key.size, &start, scope);
        for (unsigned k = op->warned_from; k < op->warned_to; k++)
            bank->options.warn(bank->options.user, &a->budget->budget, scope, a->budget->budget.warn[k], op->spent,
                               op->limit, a->span.end);
    }
}

static weir_status bury(weirp_bank *bank, uint64_t now_ns, weir_error *err) {
    if (now_ns - bank->buried_ns < BURY_MS * WEIRP_TILL_MS) return WEIR_OK;
    bank->buried_ns = now_ns;
    return weirp_processes_bury(bank->store, bank->path, bank->process, NULL, &bank->n_others, err);
}

weir_status weirp_bank_post(weirp_bank *bank, unsigned *wait, weir_error *err) {
    uint64_t now_ns = weirp_till_now(bank);
    *wait = IDLE_MS;
    weir_error inner = {0}; /* what is wrong with the dead is told, but doesn't hold up the living */
    weir_status buried = bury(bank, now_ns, &inner), st;
    pthread_mutex_lock(&bank->lock);
    st = weirp_till_plan(bank, now_ns, err);
    bool write = !st && must_write(bank, now_ns);
    pthread_mutex_unlock(&bank->lock);
    if (st) return st;
    if (write) st = pass_ring(bank, err);
    if (!st) st = write ? weirp_store_transact(bank->store, NULL, 0, work, bank, err) : look_only(bank, err);
    pthread_mutex_lock(&bank->lock);
    if (!st) {
        if (write) {
            weirp_books_done(&bank->books);
            forget_posted(bank);
        }
        for (size_t i = 0; i < bank->n_ops; i++) apply_one(bank, &bank->ops[i], write, now_ns);
        if (bank->reloaded) st = weirp_till_take_over(bank, err);
        retire(bank);
        weirp_till_sweep(bank, now_ns);
        *wait = wait_ms(bank);
    } else {
        undo(bank);
    }
    bool due = bank->due != NULL;
    pthread_mutex_unlock(&bank->lock);
    if (!st && write) warn(bank);
    if (due) weirp_till_call_due(bank);
    return st || !buried ? st : weirp_fail(err, buried, inner.line, "%s", inner.text);
}

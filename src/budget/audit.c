/* audit.c: every balance computed anew from the entries.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/books.h"

typedef struct teller {
    weirp_audit *audit;
    weirp_audit_tell tell;
    void *user;
} teller;

static void differs(teller *t, const char *format, ...) WEIR_PRINTF(2, 3);
static void differs(teller *t, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    t->audit->n_wrong++;
    if (t->tell) t->tell(t->user, text);
}

/* ---- what the entries add up to ---- */

typedef struct balance {
    int64_t bucket[WEIRP_N_BUCKETS];
    bool seen; /* a row has it */
} balance;

/* A process's share of an account: leased, unproven. */
typedef struct share {
    uint64_t account;
    uint32_t process;
    bool used, seen[2];
    int64_t amount[2];
} share;

typedef struct sums {
    teller t;
    balance *accounts; /* (n_accounts,) by number */
    uint64_t n_accounts;
    share *shares; /* (n_slots,): open addressing */
    size_t n_shares, n_slots;
} sums;

static share *share_slot(share *shares, size_t n_slots, uint32_t process, uint64_t account) {
    size_t i = weirp_mix64(account * UINT64_C(0x9e3779b97f4a7c15) + process) & (n_slots - 1);
    while (shares[i].used && (shares[i].account != account || shares[i].process != process))
        i = (i + 1) & (n_slots - 1);
    return &shares[i];
}

static bool grow_shares(sums *s) {
    if (s->n_shares * 2 < s->n_slots) return true;
    size_t n = s->n_slots ? 2 * s->n_slots : 1024;
    share *shares = weirp_array(n, sizeof *shares);
    if (!shares) return false;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->shares[i].used) *share_slot(shares, n, s->shares[i].process, s->shares[i].account) = s->shares[i];
    free(s->shares);
    s->shares = shares;
    s->n_slots = n;
    return true;
}

static void add(sums *s, int64_t *to, int64_t amount, uint64_t entry) {
    if (__builtin_add_overflow(*to, amount, to)) differs(&s->t, "entry %" PRIu64 ": the sum overflows", entry);
}

static weir_status add_share(sums *s, weirp_bucket bucket, const weirp_entry *e, uint64_t account, int64_t amount,
                             uint64_t number, weir_error *err) {
    if (bucket != WEIRP_LEASED && bucket != WEIRP_UNPROVEN) return WEIR_OK;
    if (!grow_shares(s)) return weirp_nomem(err);
    share *slot = share_slot(s->shares, s->n_slots, e->process, account);
    s->n_shares += !slot->used;
    slot->used = true;
    slot->process = e->process;
    slot->account = account;
    int64_t *sum = &slot->amount[bucket == WEIRP_UNPROVEN];
    add(s, sum, amount, number);
    if (*sum < 0)
        differs(&s->t, "entry %" PRIu64 ": process %u gives %" PRId64 " more of account %" PRIu64 " than it had",
                number, e->process, -*sum, account);
    return WEIR_OK;
}

static weir_status add_entry(void *user, uint64_t number, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS],
                             weir_error *err) {
    sums *s = user;
    (void)texts;
    s->t.audit->n_settled += e->kind == WEIRP_ENTRY_SETTLE;
    for (size_t i = 0; i < e->n_postings; i++) {
        const weirp_posting *p = &e->postings[i];
        if (p->account == 0 || p->account >= s->n_accounts) {
            differs(&s->t, "entry %" PRIu64 ": there is no account %" PRIu64, number, p->account);
            continue;
        }
        balance *b = &s->accounts[p->account];
        add(s, &b->bucket[p->from], -p->amount, number);
        add(s, &b->bucket[p->to], p->amount, number);
        weir_status st = add_share(s, p->from, e, p->account, -p->amount, number, err);
        if (!st) st = add_share(s, p->to, e, p->account, p->amount, number, err);
        if (st) return st;
    }
    return WEIR_OK;
}

/* ---- what the rows say ---- */

static void compare(sums *s, uint64_t account, const char *what, int64_t row, int64_t entries) {
    if (row != entries)
        differs(&s->t, "account %" PRIu64 ": %s is %" PRId64 ", but by the entries %" PRId64, account, what, row,
                entries);
}

static weir_status compare_account(void *user, const weirp_account_row *row, weir_error *err) {
    sums *s = user;
    (void)err;
    s->t.audit->n_accounts++;
    if (row->number == 0 || row->number >= s->n_accounts) {
        differs(&s->t, "account %" PRIu64 ": its number was never given", row->number);
        return WEIR_OK;
    }
    balance *b = &s->accounts[row->number];
    b->seen = true;
    compare(s, row->number, "the limit", row->limit, -b->bucket[WEIRP_OUTSIDE]);
    compare(s, row->number, "what is spent", row->spent, b->bucket[WEIRP_SPENT]);
    compare(s, row->number, "what is leased", row->leased, b->bucket[WEIRP_LEASED]);
    compare(s, row->number, "what is unproven", row->unproven, b->bucket[WEIRP_UNPROVEN]);
    compare(s, row->number, "what is free", weirp_account_free(row), b->bucket[WEIRP_FREE]);
    return WEIR_OK;
}

static weir_status compare_share(sums *s, int which, const uint8_t *key, size_t key_size, const uint8_t *data,
                                 size_t size, weir_error *err) {
    static const char *const WHAT[] = {"leased", "unproven"};
    int64_t amount;
    if (key_size != 14 || size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "a lease's row is damaged");
    memcpy(&amount, data, 8);
    uint32_t process = weirp_be32(key + 2);
    uint64_t account = weirp_be64(key + 6);
    share none = {0}, *found = s->n_slots ? share_slot(s->shares, s->n_slots, process, account) : &none;
    if (found->used) found->seen[which] = true;
    if (amount != found->amount[which])
        differs(&s->t, "process %u: %" PRId64 " of account %" PRIu64 " is %s, but by the entries %" PRId64, process,
                amount, account, WHAT[which], found->amount[which]);
    return WEIR_OK;
}

static weir_status compare_leased(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                  weir_error *err) {
    return compare_share(user, 0, key, key_size, data, size, err);
}

static weir_status compare_unproven(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                    weir_error *err) {
    return compare_share(user, 1, key, key_size, data, size, err);
}

static void tell_missing(sums *s) {
    for (uint64_t i = 1; i < s->n_accounts; i++)
        if (!s->accounts[i].seen) differs(&s->t, "account %" PRIu64 " has no row", i);
    for (size_t i = 0; i < s->n_slots; i++) {
        const share *h = &s->shares[i];
        for (int which = 0; h->used && which < 2; which++)
            if (h->amount[which] != 0 && !h->seen[which])
                differs(&s->t, "process %u: %" PRId64 " of account %" PRIu64 " is %s by the entries, and has no row",
                        h->process, h->amount[which], h->account, which ? "unproven" : "leased");
    }
}

weir_status weirp_ledger_audit(weirp_txn *txn, weirp_audit *audit, weirp_audit_tell tell, void *user, weir_error *err) {
    sums s = {.t = {audit, tell, user}};
    weirp_counters counters;
    weir_status st;
    WEIRP_TRY(weirp_counters_read(txn, &counters, err));
    s.n_accounts = counters.next_account;
    s.accounts = s.n_accounts < SIZE_MAX / sizeof *s.accounts ? weirp_array(s.n_accounts, sizeof *s.accounts) : NULL;
    if (!s.accounts) return weirp_nomem(err);
    WEIRP_TRY(weirp_entries_scan(txn, add_entry, &s, &audit->n_entries, err));
    if (audit->n_entries != counters.next_entry)
        differs(&s.t, "there are %" PRIu64 " entries, but %" PRIu64 " were written", audit->n_entries,
                counters.next_entry);
    WEIRP_TRY(weirp_ledger_accounts(txn, compare_account, &s, err));
    WEIRP_TRY(weirp_txn_scan(txn, WEIRP_ROW_HOLDING, 2, NULL, 0, compare_leased, &s, err));
    WEIRP_TRY(weirp_txn_scan(txn, WEIRP_ROW_UNPROVEN, 2, NULL, 0, compare_unproven, &s, err));
    tell_missing(&s);
done:
    free(s.accounts);
    free(s.shares);
    return st;
}

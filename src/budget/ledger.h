/* ledger.h: what was allowed, lent and spent: durable, shared by processes, double-entry, in whole numbers.
 *
 * Every account (one budget, one period, one value of each "*") has five buckets, and nothing ever moves but from one
 * of them to another, by a posting of an entry that is never changed again:
 *
 *     outside --limit--> free --lease--> leased --settle--> spent
 *                          ^---return-----'  '---forfeit--> unproven --reconcile--> spent or free
 *
 * so that free + leased + spent + unproven is the limit at any time, and every balance can be computed anew from the
 * entries. Rows: docs/formats.md, "Ledger". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LEDGER_H
#define WEIRP_LEDGER_H

#include "src/budget/budget.h"
#include "src/price/usage.h"
#include "src/store/store.h"

typedef enum weirp_bucket {
    WEIRP_OUTSIDE,
    WEIRP_FREE,
    WEIRP_LEASED,
    WEIRP_SPENT,
    WEIRP_UNPROVEN, /* leased by a process that died: counts as spent until somebody proves otherwise */
    WEIRP_N_BUCKETS
} weirp_bucket;

typedef enum weirp_entry_kind {
    WEIRP_ENTRY_LIMIT, /* an account was opened, or its limit changed */
    WEIRP_ENTRY_LEASE,
    WEIRP_ENTRY_RETURN,
    WEIRP_ENTRY_SETTLE, /* one call: what it came to. A call that came to nothing has no entry */
    WEIRP_ENTRY_FORFEIT,
    WEIRP_ENTRY_RECONCILE,
    WEIRP_N_ENTRIES
} weirp_entry_kind;

typedef struct weirp_posting {
    uint64_t account;
    weirp_bucket from, to;
    int64_t amount; /* above 0 */
} weirp_posting;

enum { WEIRP_MAX_POSTINGS = 32, WEIRP_ENTRY_ID = 160 };

/* Texts are borrowed. The members from `id` on: of settlements. */
typedef struct weirp_entry {
    weirp_entry_kind kind;
    int64_t at_ms;    /* unix */
    uint32_t process; /* whose lease it is about; 0: nobody's */
    size_t n_postings;
    weirp_posting postings[WEIRP_MAX_POSTINGS];
    const char *id; /* of the decision; NULL: not known. Cut to WEIRP_ENTRY_ID - 1 bytes */
    unsigned attempt;
    uint64_t price_version;
    weirp_subject subject; /* values longer than WEIRP_SCOPE_TEXT - 1 bytes: "sha256:" and hex digits */
    weirp_usage usage;
    int64_t amount[WEIRP_N_UNITS];
    bool overrun;  /* came to more than was reserved for it */
    bool unproven; /* reconciled: assumed, not known (a call that was under way when its process died) */
} weirp_entry;

/* ---- budgets ---- */

/* Creates the budget of this name, or changes it; *id is its number. Limit, hardness, `exhausted` and warnings change
 * in place; another unit, period, zone or match makes another budget of it, with accounts of its own. Processes see it
 * at their next post. WEIR_INVALID: see weirp_budget_check. */
weir_status weirp_ledger_set(weirp_store *store, const weirp_budget *budget, uint32_t *id, weir_error *err);
/* The name is free again; accounts and entries stay. WEIR_NOTFOUND. */
weir_status weirp_ledger_remove(weirp_store *store, const char *name, weir_error *err);

/* For a transaction's table, or a snapshot's. A store without a ledger has no budgets. `removed` ones too: their
 * accounts name them. */
typedef weir_status (*weirp_ledger_budget_visit)(void *user, const weirp_budget *budget, bool removed, weir_error *err);
weir_status weirp_ledger_budgets(weirp_txn *table, weirp_ledger_budget_visit visit, void *user, weir_error *err);
weir_status weirp_ledger_find(weirp_txn *table, const char *name, weirp_budget *budget, weir_error *err);

/* ---- accounts ---- */

typedef struct weirp_account_row {
    uint64_t number;
    uint32_t budget;
    weirp_unit unit;
    weirp_span span;
    int64_t limit, spent, leased, unproven; /* free is the rest; below 0 where a limit was lowered, or is soft */
    uint32_t holders;                       /* processes that hold a lease */
    uint32_t wanted_by;                     /* the process that wants others' unused leases back; 0: none */
    int64_t wanted_ms;                      /* since when, unix */
    uint8_t warned;                         /* warnings that were given */
    weirp_account_key key;                  /* weirp_account_key_read tells whom it is for */
} weirp_account_row;

int64_t weirp_account_free(const weirp_account_row *row);

/* In the order in which they were opened. */
typedef weir_status (*weirp_ledger_account_visit)(void *user, const weirp_account_row *row, weir_error *err);
weir_status weirp_ledger_accounts(weirp_txn *table, weirp_ledger_account_visit visit, void *user, weir_error *err);

/* ---- entries ---- */

/* Those with from_ms <= at_ms < to_ms, in the order in which they were written. A non-OK return of `visit` stops it. */
typedef weir_status (*weirp_ledger_entry_visit)(void *user, uint64_t number, const weirp_entry *entry, weir_error *err);
weir_status weirp_ledger_entries(weirp_txn *table, int64_t from_ms, int64_t to_ms, weirp_ledger_entry_visit visit,
                                 void *user, weir_error *err);

/* ---- what dead processes held ---- */

/* Leases of processes that have died become unproven. A bank does so when it is opened, and now and then.
 * `path`: the store's, beside which processes have their lock files. */
weir_status weirp_ledger_bury(weirp_store *store, const char *path, size_t *n_dead, weir_error *err);

typedef struct weirp_unproven {
    uint32_t process;
    uint64_t account;
    int64_t amount;
    int64_t died_ms; /* when it was found dead; unix */
} weirp_unproven;
typedef weir_status (*weirp_ledger_unproven_visit)(void *user, const weirp_unproven *unproven, weir_error *err);
weir_status weirp_ledger_unproven(weirp_txn *table, weirp_ledger_unproven_visit visit, void *user, weir_error *err);
/* A person's word: of what this process held of this account, `spent` was spent (at most what is unproven; more is
 * WEIR_INVALID), the rest was not. WEIR_NOTFOUND: nothing of it is unproven. */
weir_status weirp_ledger_reconcile(weirp_store *store, uint32_t process, uint64_t account, int64_t spent,
                                   weir_error *err);

/* ---- audit ---- */

typedef struct weirp_audit {
    uint64_t n_entries, n_accounts, n_settled;
    uint64_t n_wrong;                     /* differences found, all of which were told */
    uint64_t n_bills, n_bills_matched;    /* of the traffic log: attempts that cost something */
    int64_t spent_nano, spent_log_nano;   /* USD settled: by entries, by the log */
    uint64_t n_log_missing, n_not_logged; /* attempts that only the log knows; that only the ledger knows */
    uint64_t n_log_differs;
} weirp_audit;
/* One sentence about one difference; borrowed. */
typedef void (*weirp_audit_tell)(void *user, const char *text);

/* Computes every balance from the entries, and compares rows, leases and what is unproven with that. WEIR_OK: the
 * audit was made; audit->n_wrong says what it found. */
weir_status weirp_ledger_audit(weirp_txn *table, weirp_audit *audit, weirp_audit_tell tell, void *user,
                               weir_error *err);

/* One decision of the traffic log: what each attempt came to, nano-USD; -1: not known, 0: nothing. Borrowed until the
 * next call. WEIR_END: no more. */
typedef struct weirp_audit_bill {
    const char *id;
    size_t n;
    const int64_t *nano; /* (n,) */
} weirp_audit_bill;
typedef weir_status (*weirp_audit_next)(void *log, weirp_audit_bill *bill, weir_error *err);
/* Compares settlements from from_ms on with the log's bills, by decision and attempt; fills the members from n_bills
 * on, and counts differences as n_wrong. Decisions that are in one only are differences, too: the caller leaves out
 * those of the log that were made without budgets. */
weir_status weirp_ledger_audit_log(weirp_txn *table, int64_t from_ms, weirp_audit_next next, void *log,
                                   weirp_audit *audit, weirp_audit_tell tell, void *user, weir_error *err);

#endif

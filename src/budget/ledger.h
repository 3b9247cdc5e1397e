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
/* What a gateway's file says, all of it in one transaction; did[i] (n,) is what has come of budget[i]. Budgets that a
 * file has set and this one doesn't have stay as they are: `vanished` names them. What is set by hand, or removed, is
 * no file's any more. */
typedef enum weirp_set_result {
    WEIRP_SET_SAME,
    WEIRP_SET_MADE,
    WEIRP_SET_CHANGED, /* in place */
    WEIRP_SET_AFRESH,  /* it starts from nothing */
} weirp_set_result;
enum { WEIRP_VANISHED = 32 };
typedef struct weirp_vanished {
    size_t n; /* may be more than are named */
    char name[WEIRP_VANISHED][WEIRP_BUDGET_NAME];
} weirp_vanished;
weir_status weirp_ledger_configure(weirp_store *store, const weirp_budget *budget, size_t n, weirp_set_result *did,
                                   weirp_vanished *vanished, weir_error *err);
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

/* ---- how budgets stand ---- */

enum { WEIRP_GLANCE_ACCOUNTS = 1024 };

/* A budget in the period that runs, of all processes, as posted. Amounts in its unit. */
typedef struct weirp_budget_glance {
    char name[WEIRP_BUDGET_NAME];
    weirp_unit unit;
    weirp_span span;
    int64_t limit;                   /* of each account */
    size_t n_accounts;               /* in this period, at most WEIRP_GLANCE_ACCOUNTS are looked at */
    bool cut;                        /* there are more, which the sums don't have */
    int64_t spent, leased, unproven; /* of all accounts */
    double highest_share;            /* spent of its limit, of the account where that is most */
} weirp_budget_glance;
/* The first `capacity` budgets by age; *n_budgets: how many there are. */
weir_status weirp_ledger_glance(weirp_txn *table, int64_t now_s, weirp_budget_glance *item, size_t capacity, size_t *n,
                                size_t *n_budgets, weir_error *err);

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
    uint64_t n_wrong; /* differences found, all of which were told */
} weirp_audit;
/* One sentence about one difference; borrowed. */
typedef void (*weirp_audit_tell)(void *user, const char *text);

/* Computes every balance from the entries, and compares rows, leases and what is unproven with that. WEIR_OK: the
 * audit was made; audit->n_wrong says what it found. */
weir_status weirp_ledger_audit(weirp_txn *table, weirp_audit *audit, weirp_audit_tell tell, void *user,
                               weir_error *err);

/* ---- audit against the traffic log ---- */

enum { WEIRP_LOGGED_ATTEMPTS = 16 }; /* those that a record of the traffic log has room for */

/* One decision of the traffic log, and what each attempt came to. Texts are borrowed for the call. */
typedef struct weirp_logged {
    const char *id;
    int64_t time_ms;
    weirp_subject subject; /* without model and provider */
    size_t n;
    const char *model[WEIRP_LOGGED_ATTEMPTS]; /* (n,) NULL: not known any more */
    int64_t nano[WEIRP_LOGGED_ATTEMPTS];      /* (n,) nano-USD; 0: nothing, -1: not known */
    size_t answered;                          /* the attempt that answered; SIZE_MAX: none, or it can't be told */
    int64_t tokens;                           /* of that one; -1: not known */
} weirp_logged;
typedef weir_status (*weirp_logged_visit)(void *user, const weirp_logged *logged, weir_error *err);

typedef struct weirp_log_source {
    /* All of the log's decisions, in the log's order; once for each WEIRP_AUDIT_BILLS settlements of the ledger. */
    weir_status (*walk)(void *user, weirp_logged_visit visit, void *visit_user, weir_error *err);
    void *user;
    bool trimmed;    /* its oldest decisions are gone */
    bool optional;   /* it may have no decisions at all: then none was kept */
    int64_t from_ms; /* what is older isn't compared; 0: all is */
} weirp_log_source;
enum { WEIRP_AUDIT_BILLS = 1 << 19 }; /* that are in memory at once, of some 100 bytes each */

/* X(name, key, text): why something can't be compared. */
#define WEIRP_SKIP_TABLE(X)                                                                                            \
    X(ASSUMED, "assumed",                                                                                              \
      "settled without a decision: calls cut off by a kill, at their worst case, or said by a person")                 \
    X(TRIMMED, "trimmed", "settlements whose part of the log is trimmed")                                              \
    X(KILLED, "killed",                                                                                                \
      "settlements of a gateway's last minutes before it was killed, which took the log's rows with it")               \
    X(RUNNING, "running",                                                                                              \
      "calls of gateways that run, or were killed and not looked after yet: one side isn't written")                   \
    X(ATTEMPTS, "attempts", "settlements of attempts beyond the 16 that a row of the log has")                         \
    X(UNPRICED, "unpriced", "attempts whose cost the log doesn't know: their model had no price")                      \
    X(UNCOVERED, "uncovered", "attempts under no budget")                                                              \
    X(UNSURE, "unsure", "attempts under a budget that has been removed, or goes by what the log doesn't tell")         \
    X(NO_LOG, "no_log", "settlements without a traffic log to compare them with")                                      \
    X(OLDER, "older", "settlements and decisions from before the time that was asked for")
typedef enum weirp_skip {
#define WEIRP_SKIP_ENUM(name, key, text) WEIRP_SKIP_##name,
    WEIRP_SKIP_TABLE(WEIRP_SKIP_ENUM)
#undef WEIRP_SKIP_ENUM
        WEIRP_N_SKIPS
} weirp_skip;
const char *weirp_skip_key(weirp_skip skip);  /* borrowed, static */
const char *weirp_skip_text(weirp_skip skip); /* likewise */

typedef struct weirp_log_audit {
    uint64_t n_decisions; /* of the log */
    uint64_t n_same;      /* settlements that are what the log says */
    uint64_t n_safe;      /* more than it says, for their usage was estimated */
    uint64_t n_wrong;     /* differences, all of which were told */
    uint64_t n_skipped[WEIRP_N_SKIPS];
    int64_t spent_nano, spent_log_nano; /* of the settlements; of the attempts that were compared with one */
} weirp_log_audit;

typedef struct weirp_log_difference {
    uint64_t entry; /* the first that is about it; UINT64_MAX: none is */
    const char *id; /* borrowed for the call */
    unsigned attempt;
    weirp_unit unit;
    int64_t ledger, log; /* in the unit; -1: it isn't there */
    const char *why;     /* static */
} weirp_log_difference;
typedef void (*weirp_log_tell)(void *user, const weirp_log_difference *difference);

/* Compares every settlement with what the log says of its attempt, and with what it has moved; and looks for attempts
 * that a budget covers and the ledger doesn't know. What can't be compared is counted by its reason. */
weir_status weirp_ledger_audit_log(weirp_txn *table, const weirp_log_source *log, weirp_log_audit *audit,
                                   weirp_log_tell tell, void *user, weir_error *err);

#endif

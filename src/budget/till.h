/* till.h: what the bank's files share; nobody outside src/budget/ includes this.
 *
 * bank.c     claims and settlements: nothing here waits for a disk
 * account.c  accounts in memory, and which of them cover a subject
 * waiter.c   who waits for what
 * post.c     what goes to the ledger, and what comes back; plan.c  which leases are taken and given back
 * open.c     opening, closing
 *
 * Everything of a bank is guarded by its lock, but what says otherwise. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TILL_H
#define WEIRP_TILL_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/budget/bank.h"
#include "src/budget/books.h"

/* A budget as this process knows it. Written by the posting thread alone, with the lock; lives as long as the bank. */
typedef struct weirp_till_budget {
    weirp_budget budget;
    weirp_zone *zone; /* owned */
    weirp_span span;  /* the one that was asked for last */
    bool removed;
    struct weirp_till_budget *next; /* that asks for the same value: see account.c */
} weirp_till_budget;

/* Never freed before the bank is: one that isn't needed any more is used for another key, with another serial. */
struct weirp_account {
    weirp_account *next;        /* of the same hash, or free */
    weirp_account *next_active; /* has something for the next post */
    bool active;
    uint64_t hash, serial;
    weirp_till_budget *budget;
    weirp_span span;
    weirp_account_key key;
    /* of this process */
    int64_t lease;         /* what the ledger says we hold, less what is on its way back */
    int64_t settled;       /* of that; not yet posted */
    int64_t unposted;      /* settled in all; not yet posted */
    int64_t worst, likely; /* sums of what is in flight */
    int64_t lost[2];       /* settled, but its entry had no memory: leased, free */
    uint32_t n_claims;
    /* of all, as of the last look; `looked_ns` 0: never */
    uint64_t number, looked_ns;
    int64_t limit, spent, leased, unproven;
    bool wanted;  /* by another process: what isn't in use is given back */
    bool starved; /* we want more than is free, and others have some */
    bool marked;  /* its row says so */
    /* for the next post */
    int64_t asked;  /* worst cases that wait for a lease */
    uint64_t round; /* moved when they have been seen to */
    bool top_up, look, touch;
    /* how fast it is spent */
    double used_1s;
    int64_t used_since, largest, low;
    uint64_t planned_ns, claimed_ns;
    /* waiters in the order of their tickets */
    weirp_waiter *first, *last;
    uint64_t events;                       /* moved by everything that may help a waiter */
    uint64_t event_ns;                     /* when that was */
    uint64_t guard_ticket, guard_until_ns; /* who has waited so long that the others may not pass */
    int64_t guard_likely;
    /* the posting thread's */
    size_t op;
};

/* Accounts that cover a subject, found by its texts. */
typedef struct weirp_till_subject {
    uint64_t hash, epoch;
    int64_t from_s, until_s; /* valid for these instants */
    size_t key_size, n;
    uint8_t *key; /* owned */
    weirp_account *accounts[WEIRP_MAX_CLAIMED];
    bool too_many;
} weirp_till_subject;

/* What one post does with one account. The posting thread's. */
typedef struct weirp_till_op {
    weirp_account *account;
    int64_t free, asked, give, need, target; /* plan */
    int64_t settled, unposted, lost[2];      /* taken */
    bool idle, look;
    weirp_open_row *row; /* in the transaction */
    int64_t leased;      /* what was leased */
    int64_t limit, spent, all_leased, unproven;
    uint64_t number;
    unsigned warned_from, warned_to;
    bool wanted, starved, marked, found;
} weirp_till_op;

typedef struct weirp_till_call {
    weirp_waiter *waiter;
    pthread_t thread;
    struct weirp_till_call *next;
} weirp_till_call;

struct weirp_bank {
    pthread_mutex_t lock;
    pthread_cond_t called; /* a `ready` has returned */
    weirp_bank_options options;
    atomic_size_t n_budgets; /* those that aren't removed */
    weirp_till_budget **budgets;
    size_t n_known, budgets_capacity;
    weirp_till_budget **by_value; /* (n_values,) chains of those that ask for one value of a dimension */
    size_t n_values;
    weirp_till_budget *for_any; /* those that don't */
    weirp_account **accounts;   /* (n_slots,) chains */
    size_t n_accounts, n_slots;
    weirp_account *active, *unused;
    uint64_t next_serial, next_ticket;
    weirp_till_subject *subjects; /* (SUBJECTS,) */
    uint64_t epoch;
    weirp_writer queue;        /* weirp_spooled, one behind the other */
    size_t n_queued, n_ringed; /* of them, those that are in the spool's ring, too */
    uint64_t next_call;
    weirp_spool *spool;
    uint32_t signature; /* a slot that says that the spool is one of a process that lives */
    bool woken;         /* and not yet posted */
    weirp_waiter *due, *due_last;
    weirp_till_call *calls;
    size_t n_waiting;
    /* the posting thread's */
    weirp_store *store;
    char *path;
    weirp_process_row self;
    uint32_t process; /* self.id */
    weirp_books books;
    weirp_writer posting;
    size_t n_posting, n_ring; /* n_ring: records of the ring that its next reader has to pass */
    uint64_t ring_next;       /* past the last that is being posted */
    weirp_till_op *ops;
    size_t n_ops, ops_capacity;
    uint64_t version, table_version; /* of budgets; of the table */
    struct weirp_till_budget *loaded;
    size_t n_loaded, loaded_capacity;
    bool reloaded;
    uint64_t loaded_version;
    size_t n_others; /* live processes */
    uint64_t buried_ns, swept_ns, looked_ns;
};

enum {
    WEIRP_TILL_MANY = 2048, /* entries that are worth a post */
    WEIRP_TILL_POLL_MS = 4, /* how often a row is looked at that others may change */
    WEIRP_TILL_SHARE = 8    /* at most one in so many of what is left is leased ahead of need */
};
#define WEIRP_TILL_MS          UINT64_C(1000000)
#define WEIRP_TILL_GIVEN_UP_NS (50 * WEIRP_TILL_MS) /* whoever was told to wait comes sooner, or not at all */
#define WEIRP_TILL_FRESH_NS    (250 * WEIRP_TILL_MS)
#define WEIRP_TILL_IDLE_NS     (1000 * WEIRP_TILL_MS)
#define WEIRP_TILL_LONG_NS     (20 * WEIRP_TILL_MS)  /* has waited long */
#define WEIRP_TILL_GUARD_NS    (250 * WEIRP_TILL_MS) /* and is guarded so long, if nothing happens */

static inline uint64_t weirp_till_now(const weirp_bank *bank) {
    return bank->options.clock_ns ? bank->options.clock_ns() : weirp_monotonic_ns();
}

/* What of the lease isn't spoken for; less what the limit has been lowered below what is leased. */
int64_t weirp_till_free(const weirp_account *account);
/* What may still be leased, as last seen. */
int64_t weirp_till_global(const weirp_account *account);
/* What will be left if everything in flight comes to what is likely. */
int64_t weirp_till_potential(const weirp_account *account);
/* What would be left if everything in flight came to nothing: who needs more needn't wait for it. */
int64_t weirp_till_unsettled(const weirp_account *account);

/* Others' leases are all there is, and they know, or it's another's turn: until the row changes, asking is of no use.
 */
bool weirp_till_is_stuck(const weirp_account *account);
void weirp_till_activate(weirp_bank *bank, weirp_account *account);
/* Accounts that cover the subject; NULL: no memory. Borrowed until the lock is let go. */
const weirp_till_subject *weirp_till_find(weirp_bank *bank, const weirp_subject *subject, int64_t now_ms);
/* Sorts the budgets anew by whom they may cover: after every change. False: no memory. */
bool weirp_till_index(weirp_bank *bank);
void weirp_till_sweep(weirp_bank *bank, uint64_t now_ns);
void weirp_till_accounts_free(weirp_bank *bank);

/* Something has happened to it that may help: with the lock. */
void weirp_till_event(weirp_bank *bank, weirp_account *account, uint64_t now_ns);
/* Calls those who are due: without the lock. */
void weirp_till_call_due(weirp_bank *bank);

/* With the lock: sees what is to be done, takes the queue. */
weir_status weirp_till_plan(weirp_bank *bank, uint64_t now_ns, weir_error *err);
/* Lets go of everything as a process that dies would: nothing is posted. For tests. NULL is fine. */
void weirp_bank_abandon(weirp_bank *bank);
/* Reads budgets where they have changed since `version`. */
weir_status weirp_till_load(weirp_bank *bank, weirp_txn *txn, uint64_t version, weir_error *err);
/* With the lock: budgets that were read become those that hold. */
weir_status weirp_till_take_over(weirp_bank *bank, weir_error *err);
void weirp_till_loaded_free(weirp_bank *bank);

#endif

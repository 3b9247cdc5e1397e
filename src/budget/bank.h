/* bank.h: one process's share of the budgets, in memory: what a request may spend is told without touching the disk.
 *
 * The ledger (ledger.h) is durable and shared by processes. A bank takes leases from it, slices of a budget that the
 * ledger counts as gone from the moment they are durable, and lets requests spend from these. For every account it
 * knows
 *
 *     free = lease - settled since - sum of the worst cases in flight
 *
 * and never lets a hard budget's go below 0, so that whatever happens to this process, what was leased covers it.
 * Any thread; one short lock. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BANK_H
#define WEIRP_BANK_H

#include "src/budget/budget.h"
#include "src/price/usage.h"
#include "src/store/store.h"

typedef struct weirp_bank weirp_bank;
typedef struct weirp_account weirp_account;

enum { WEIRP_MAX_CLAIMED = 16 };

/* What one call to one model of one provider may come to, in each unit. */
typedef struct weirp_need {
    int64_t worst[WEIRP_N_UNITS];  /* input at its upper bound; output at max_tokens, or the rest of the context */
    int64_t likely[WEIRP_N_UNITS]; /* the upper end of the predicted interval; at most `worst` */
} weirp_need;

/* A reservation of one call, under every budget that covers it. The caller's memory; zeros: nothing is claimed. */
typedef struct weirp_claim {
    size_t n;
    struct weirp_claimed {
        weirp_account *account;
        int64_t worst, likely;
    } of[WEIRP_MAX_CLAIMED];
    int64_t most[WEIRP_N_UNITS]; /* what the call may come to; INT64_MAX: no hard budget says */
    bool lowered;                /* `most` is below the need's worst case: max_tokens must be lowered to it */
    bool hard;                   /* granted: one of the budgets is */
    uint32_t slot;               /* of the process's spool; 0: none */
    uint64_t call;               /* names it there */
    /* Whoever was told to wait: its place in the queue, which the next try with the same claim keeps. The bank's. */
    struct weirp_queued {
        weirp_account *at;
        uint64_t serial, seen, ticket, since_ns, asked, round;
        int64_t likely;
    } queued;
} weirp_claim;

typedef enum weirp_claim_result {
    WEIRP_CLAIM_GRANTED,   /* the worst case fits */
    WEIRP_CLAIM_LOWERED,   /* only the prediction does: see claim->most */
    WEIRP_CLAIM_WAIT,      /* neither fits now, but may when calls under way have settled, or a lease has come */
    WEIRP_CLAIM_EXHAUSTED, /* the prediction doesn't fit into what is left of the period */
} weirp_claim_result;

/* The budget that stood in the way: the tightest. */
typedef struct weirp_shortage {
    char budget[WEIRP_BUDGET_NAME];
    weirp_unit unit;
    weirp_exhausted exhausted;
    int64_t limit, spent, left; /* in the unit; spent: settled, of all processes, as last seen */
    int64_t period_end;         /* unix seconds; INT64_MAX: never */
    bool too_many;              /* more than WEIRP_MAX_CLAIMED budgets cover it */
    bool hope;                  /* WAIT: of help only if calls under way come to less than is likely */
} weirp_shortage;

/* All or none. `claim` is filled for GRANTED and LOWERED, and must then be settled, once; for WAIT it holds a place in
 * the queue, to be passed to weirp_bank_wait and to the next try as it is. `why` is filled but for GRANTED. */
weirp_claim_result weirp_bank_claim(weirp_bank *bank, const weirp_subject *subject, const weirp_need *need,
                                    int64_t now_ms, weirp_claim *claim, weirp_shortage *why);

/* What a call came to. Texts are borrowed. */
typedef struct weirp_settlement {
    const char *id;         /* of the decision */
    unsigned attempt;       /* 0, 1, ... of that decision */
    uint64_t price_version; /* digest of the price list it was billed by */
    int64_t at_ms;          /* unix */
    const weirp_subject *subject;
    weirp_usage usage;
    int64_t amount[WEIRP_N_UNITS]; /* nano-USD, tokens, requests; all 0: the call was never made, or not billed */
} weirp_settlement;

/* Gives the rest of the claim back, counts what was spent, and queues the entry for the ledger. Empties the claim. */
void weirp_bank_settle(weirp_bank *bank, weirp_claim *claim, const weirp_settlement *settlement);

/* One who was told to wait. `ready` is called once, from any thread (also from within weirp_bank_wait) and with no lock
 * held, when it may be worth asking again, and may free the waiter; never after weirp_bank_unwait has returned, unless
 * that was called by `ready` itself. The struct is the caller's, and must not move meanwhile. First come, first served:
 * one who needs less may pass one who needs more, but not for longer than a moment (docs/budgets.md). */
typedef struct weirp_waiter {
    void (*ready)(struct weirp_waiter *waiter);
    struct weirp_waiter *next, *previous; /* these and below: the bank's */
    weirp_account *at;
    uint64_t ticket, since_ns;
    int64_t likely;
    bool due;
} weirp_waiter;
void weirp_bank_wait(weirp_bank *bank, weirp_waiter *waiter, const weirp_claim *claim);
void weirp_bank_unwait(weirp_bank *bank, weirp_waiter *waiter);

/* How a budget stands, by its name: one of its accounts, as a request is charged to that matches it with nothing more
 * than it asks for (so a budget with "*" has none). `look`: the posting thread looks at what all have spent, with its
 * next post; where nobody claims, nothing else does. False: there is no such budget. Any thread. */
typedef struct weirp_standing {
    weirp_budget budget;
    weirp_span span, hour;    /* its period, and the clock's hour */
    int hour_of_day, weekday; /* local; 0: Monday */
    int64_t limit, spent;     /* in the unit; spent: settled and unproven, of all processes, as last seen */
    int64_t in_flight;        /* what is likely of this process's calls under way */
    bool seen;                /* what all have spent has been looked at, or nobody has spent */
    size_t n_others;          /* live processes that share the ledger */
} weirp_standing;
bool weirp_bank_standing(weirp_bank *bank, const char *name, int64_t now_ms, bool look, weirp_standing *out);

/* What hard budgets leave of a unit to whom they cover. */
typedef struct weirp_room {
    int64_t limit, left; /* of the budget that leaves least; limit -1: there is none */
    int64_t period_end;  /* its; unix seconds; INT64_MAX: never */
} weirp_room;
/* left: less what is spent by all processes, as last seen, and what is likely of this one's calls under way. Budgets
 * that nobody has looked at yet say nothing. Any thread. */
void weirp_bank_room(weirp_bank *bank, const weirp_subject *subject, int64_t now_ms, weirp_room room[WEIRP_N_UNITS]);

/* ---- the ledger's side: the one thread that writes the store ---- */

typedef struct weirp_bank_options {
    /* There is something that somebody waits for (a lease), or `many` entries are queued. Any thread. */
    void (*wake)(void *user);
    /* An account's spend has passed a share of its limit for the first time in its period. The posting thread. */
    void (*warn)(void *user, const weirp_budget *budget, const char *scope, double share, int64_t spent, int64_t limit,
                 int64_t period_end);
    void *user;
    uint64_t (*clock_ns)(void); /* NULL: weirp_monotonic_ns; for tests */
} weirp_bank_options;

/* Registers the process with the ledger, and counts what dead processes had leased as spent until it is reconciled
 * (docs/budgets.md). Opens its own joined handle of the store. *out is new. */
weir_status weirp_bank_open(weirp_bank **out, const char *store, const weirp_bank_options *options, weir_error *err);
/* Posts what is queued, returns what is left of the leases; what is still claimed becomes unproven. Nothing may be
 * claimed or settled any more. The bank is gone whatever is returned: after a failure as if the process had died. NULL
 * is fine. */
weir_status weirp_bank_close(weirp_bank *bank, weir_error *err);
/* One durable transaction: entries, leases taken and given back, budgets that somebody has changed. Does nothing where
 * there is nothing to do. Call it when woken, and every few milliseconds to seconds otherwise: `wait_ms` says when. One
 * thread. After a failure everything is still queued. */
weir_status weirp_bank_post(weirp_bank *bank, unsigned *wait_ms, weir_error *err);
size_t weirp_bank_n_budgets(weirp_bank *bank); /* 0: nothing is limited, and claims cost nothing */

#endif

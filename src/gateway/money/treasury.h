/* treasury.h: the budgets of a gateway: the bank, the thread that posts to the ledger what it holds, and the telling of
 * limits that come near. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TREASURY_H
#define WEIRP_TREASURY_H

#include "src/budget/bank.h"
#include "src/budget/keys.h"
#include "src/gateway/config/config.h"
#include "src/gateway/observe/logging.h"
#include "src/gateway/observe/metrics.h"
#include "src/router/record.h"

typedef struct weirp_treasury weirp_treasury;

typedef struct weirp_warning {
    char budget[WEIRP_BUDGET_NAME], scope[WEIRP_SCOPE_TEXT];
    weirp_unit unit;
    double share; /* of the limit that has been passed */
    int64_t spent, limit, period_end;
} weirp_warning;

typedef struct weirp_treasury_options {
    const char *store; /* path; it exists */
    weirp_log *log;    /* borrowed */
    /* A limit comes near, or is reached: from the treasury's thread. May be NULL. */
    void (*warned)(void *user, const weirp_warning *warning);
    void *user;
} weirp_treasury_options;

weir_status weirp_treasury_open(weirp_treasury **out, const weirp_treasury_options *options, weir_error *err);
/* Before it is opened, and after a reload: sets the budgets of the configuration in the store (which a reload doesn't
 * change), in one transaction, and tells the log what that has changed, and which budgets an earlier configuration had.
 */
weir_status weirp_treasury_configure(const char *store, const weirp_config *config, weirp_log *log, weir_error *err);
/* Once nobody claims any more: posts all that is queued, gives the leases back. NULL is fine. */
weir_status weirp_treasury_close(weirp_treasury *treasury, weir_error *err);
/* Something else to be done every half second at least, after a post: by the treasury's thread, until it is closed. */
void weirp_treasury_every(weirp_treasury *treasury, void (*tick)(void *user), void *user);
weirp_bank *weirp_treasury_bank(weirp_treasury *treasury);
weirp_limiter *weirp_treasury_limiter(weirp_treasury *treasury);
/* The store's keys as they are now (changes are seen within a second), counted for the caller; NULL: there are none.
 * Any thread. */
weirp_keys *weirp_treasury_keys(weirp_treasury *treasury);
/* The same, but reads the store again if that was more than a moment ago: for a key that isn't known, and may have been
 * made just now. */
weirp_keys *weirp_treasury_keys_now(weirp_treasury *treasury);

typedef struct weirp_treasury_counts {
    uint64_t posts, errors, warnings;
    uint64_t waited;                          /* claims that had to wait */
    uint64_t actions[WEIRP_N_BUDGET_ACTIONS]; /* requests, by what budgets did to them */
} weirp_treasury_counts;
/* A request is over. Any thread. */
void weirp_treasury_note(weirp_treasury *treasury, weirp_budget_action action, bool waited);
void weirp_treasury_counts_of(weirp_treasury *treasury, weirp_treasury_counts *out); /* any thread */

/* How the budgets stand, a second ago at most (a moment more, where the ledger can't be read). Gives how many of `fact`
 * there are; *n_budgets: all budgets. Any thread. */
size_t weirp_treasury_facts(weirp_treasury *treasury, weirp_budget_fact fact[WEIRP_BUDGET_FACTS], size_t *n_budgets);

#endif

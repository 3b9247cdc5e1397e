/* spend.h: whether the budgets let a try go out, and what they are told of it afterwards.
 *
 *     claim -> go, with or without a lower max_tokens
 *           -> wait, until calls under way have settled or a lease has come
 *           -> no: another model, or the client is refused, as the budget says
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SPEND_H
#define WEIRP_SPEND_H

#include "src/budget/bank.h"
#include "src/gateway/observe/metrics.h"
#include "src/router/record.h"

struct weirp_exchange;
struct weirp_try;

typedef enum weirp_leave { WEIRP_LEAVE_GO, WEIRP_LEAVE_WAIT, WEIRP_LEAVE_NO } weirp_leave;

/* What an exchange keeps about its money. Zeros: nothing yet. */
typedef struct weirp_spend {
    weirp_subject subject;        /* texts borrowed from here and from the configuration */
    char *user, *tag;             /* NULL: none */
    weirp_claim offer;            /* claimed, and not yet taken over by a try */
    int64_t worst[WEIRP_N_UNITS]; /* what the offer's try may come to */
    double most_output;           /* tokens that the offer's try may ask for; NAN: as it likes */
    double lowered_to;            /* of the try that was lowered last; NAN: none was */
    weirp_shortage shortage;      /* of the last claim that wasn't granted */
    bool refused;                 /* by a budget that leaves no other model */
    bool dodged;                  /* a budget has sent it to another model */
    bool had_to_wait;
    uint64_t blocked;  /* a bit a deployment, of the first 64: a budget has said no */
    uint64_t until_ns; /* it waits no longer than this; 0: it hasn't waited yet */
    struct weirp_patience *patience;
} weirp_spend;

/* Who the request is for: once, when it has been parsed. */
void weirp_spend_begin(struct weirp_exchange *x);
/* For one try of `choice` at `deployment`. GO: the offer is claimed. */
weirp_leave weirp_spend_claim(struct weirp_exchange *x, size_t choice, size_t deployment);
/* Gives back an offer that no try has taken over. */
void weirp_spend_return(struct weirp_exchange *x);
/* A try is over: `nano` and `usage` are what it came to; not billed: neither. Its claim is settled; where the usage is
 * estimated, on the safe side. */
void weirp_spend_settle(struct weirp_exchange *x, struct weirp_try *t, weirp_result result, bool billed, int64_t nano,
                        const weirp_usage *usage);
/* After WAIT: `resume` is called once in the loop's thread, when it is worth claiming again or the time is up. False:
 * its time is up already, or memory is out. */
bool weirp_spend_wait(struct weirp_exchange *x, void (*resume)(struct weirp_exchange *x));
/* It was told to wait, and won't: what the budget says to those it has no room for happens. */
void weirp_spend_give_up(struct weirp_exchange *x);
/* It needn't wait any more: before the exchange is let go. */
void weirp_spend_end(struct weirp_exchange *x);
void weirp_spend_free(struct weirp_exchange *x);

/* What hard budgets leave to who asks, by unit. */
void weirp_spend_room(const struct weirp_exchange *x, weirp_room room[WEIRP_N_UNITS]);
/* What the client and the log are told. */
weirp_budget_action weirp_spend_action(const struct weirp_exchange *x);
/* Once it is over: counts it. */
void weirp_spend_note(const struct weirp_exchange *x);
/* Refuses, in the client's API shape. */
void weirp_spend_refuse(struct weirp_exchange *x);

#endif

/* admit.h: who asks, and whether now: keys of the configuration, virtual keys of the store, and their limits a minute.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ADMIT_H
#define WEIRP_ADMIT_H

#include "src/budget/keys.h"
#include "src/budget/limiter.h"
#include "src/gateway/worker.h"

struct weirp_exchange;

/* Zeros: no key of the store's. */
typedef struct weirp_admission {
    weirp_keys *keys; /* a reference, for as long as the key is looked at */
    const weirp_key *key;
    weirp_pass pass;
    weirp_quota quota; /* as it was when the request came; zeros: no limits */
} weirp_admission;

/* Whether who shows `shown` (NULL: nothing) may ask at all; NULL: yes, else why not, in one sentence. */
const char *weirp_admit_refusal(const weirp_worker *worker, const char *shown);
/* The key that a call shows: "Authorization: Bearer" or x-api-key; NULL: none. */
const char *weirp_admit_shown(const weirp_call *call);
/* The virtual key that a call shows, borrowed from *keys, which is new (drop it; NULL: there are none); NULL: none that
 * is known. */
const weirp_key *weirp_admit_key(const weirp_worker *worker, const weirp_call *call, weirp_keys **keys);
/* Whose the exchange is. */
void weirp_admit_begin(struct weirp_exchange *x);
/* Counts the request, once it is planned, against its key's limits. False: it has been refused, with 429. */
bool weirp_admit_enter(struct weirp_exchange *x);
/* It is over, and came to so many tokens (below 0: nobody knows). */
void weirp_admit_leave(struct weirp_exchange *x, int64_t tokens);
void weirp_admit_free(struct weirp_exchange *x);

/* Rate-limit headers in the manner of the client's API; `text` holds the numbers. Returns how many. */
enum { WEIRP_QUOTA_FIELDS = 6, WEIRP_QUOTA_TEXT = 40 };
size_t weirp_admit_fields(const struct weirp_exchange *x, weirp_field field[WEIRP_QUOTA_FIELDS],
                          char text[WEIRP_QUOTA_FIELDS][WEIRP_QUOTA_TEXT]);

#endif

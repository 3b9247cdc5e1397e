/* breaker.h: whether a deployment may be asked now. Shared by all threads, without locks.
 *
 * Closed: yes. After `failures` failures within a window it opens: no, for open_ms, which doubles with every further
 * opening up to eightfold. Then it is half open: one request at a time may try; a success closes it. Beside that, a
 * deployment that asked to be left alone (Retry-After) is left alone. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BREAKER_H
#define WEIRP_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct weirp_breaker_limits {
    unsigned failures;  /* that open it; 0: never */
    unsigned window_ms; /* within which they count */
    unsigned open_ms;
} weirp_breaker_limits;

/* Zero-initialised: closed. Times are of one monotonic clock, in milliseconds. */
typedef struct weirp_breaker {
    atomic_uint failures;
    _Atomic uint64_t window_began_ms;
    _Atomic uint64_t open_until_ms;  /* 0: closed */
    _Atomic uint64_t probe_until_ms; /* half open: somebody is trying until then */
    _Atomic uint64_t rest_until_ms;  /* Retry-After */
    atomic_uint openings;            /* in a row */
} weirp_breaker;

enum { WEIRP_BREAKER_CLOSED, WEIRP_BREAKER_HALF_OPEN, WEIRP_BREAKER_OPEN };

int weirp_breaker_state(const weirp_breaker *b, uint64_t now_ms);
/* Milliseconds until it might be asked; 0: now. Half open beside another's try counts as 1. */
uint64_t weirp_breaker_wait_ms(const weirp_breaker *b, uint64_t now_ms);
/* The same, and takes the place of the one who tries where it is half open. False: may not be asked. */
bool weirp_breaker_enter(weirp_breaker *b, uint64_t now_ms);
void weirp_breaker_success(weirp_breaker *b);
/* `at_once`: this failure alone opens it (a refused key: more tries can't help). */
void weirp_breaker_failure(weirp_breaker *b, const weirp_breaker_limits *limits, uint64_t now_ms, bool at_once);
/* Neither: whoever entered leaves without having learned anything. */
void weirp_breaker_leave(weirp_breaker *b);
void weirp_breaker_rest(weirp_breaker *b, uint64_t until_ms);

#endif

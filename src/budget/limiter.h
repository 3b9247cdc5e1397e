/* limiter.h: requests and tokens a minute, and requests at once, of each key.
 *
 * A minute slides: in no 60 seconds, wherever they begin, do requests pass that are more than the limit, or that have
 * asked for more tokens than the limit. Time is cut into seconds, and what came in one counts until 60 whole seconds
 * after its end, so a request counts for 60 to 61 seconds. What is refused doesn't count.
 *
 * It is one process's memory: of n processes each grants the whole limit. These limits protect from bursts; what may be
 * spent is the ledger's, which all processes share. Any thread; one short lock. Keys that have been idle for a minute
 * are forgotten. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LIMITER_H
#define WEIRP_LIMITER_H

#include "src/base/base.h"

typedef struct weirp_limiter weirp_limiter;

/* 0: no limit. They come with each call, so that a change acts at once, on what has passed before, too. */
typedef struct weirp_limits {
    uint32_t requests; /* a minute */
    int64_t tokens;    /* a minute */
    uint32_t at_once;
} weirp_limits;

typedef enum weirp_limit_result {
    WEIRP_LIMIT_PASSED,
    WEIRP_LIMIT_REQUESTS,  /* too many this minute */
    WEIRP_LIMIT_TOKENS,    /* they would be too many this minute */
    WEIRP_LIMIT_TOO_LARGE, /* they are more than a minute's: it will never pass */
    WEIRP_LIMIT_AT_ONCE,
    WEIRP_LIMIT_NO_MEMORY,
} weirp_limit_result;

/* A request that has passed. The caller's memory, and must be left, once; zeros: nothing to leave. */
typedef struct weirp_pass {
    struct weirp_limited *key;
    int64_t second, tokens;
} weirp_pass;

/* What rate-limit headers say. Limits of 0: there is none, and what belongs to it is 0. */
typedef struct weirp_quota {
    int64_t requests_limit, requests_left, requests_reset_ms; /* reset: until nothing of the minute is used */
    int64_t tokens_limit, tokens_left, tokens_reset_ms;
    int64_t at_once_limit, at_once;
    int64_t retry_ms; /* when refused: until it would pass if nobody else came; 0: not known (at once), or never */
} weirp_quota;

weir_status weirp_limiter_new(weirp_limiter **out, weir_error *err); /* *out is new */
void weirp_limiter_free(weirp_limiter *limiter);                     /* nobody has a pass any more; NULL is fine */

/* Lets a request in, or tells why not. `key` is any text (a key's name). `tokens`, at least 0: the most that it may
 * come to, so far as is known; they are reserved. `now_ns` is weirp_monotonic_ns(); a time before the latest that was
 * handed in counts as that. `pass` is filled when it passed, else zeros; `quota` (may be NULL): after it, either way.
 */
weirp_limit_result weirp_limiter_enter(weirp_limiter *limiter, const char *key, const weirp_limits *limits,
                                       int64_t tokens, uint64_t now_ns, weirp_pass *pass, weirp_quota *quota);
/* The request is over, and has come to `tokens` (below 0: nobody knows, and the reservation stands). What it didn't
 * need is given back to the second in which it came, if that still counts; what it needed beyond counts from now on.
 * Empties the pass. */
void weirp_limiter_leave(weirp_limiter *limiter, weirp_pass *pass, int64_t tokens, uint64_t now_ns);

/* "250ms", "7s", "1m0s", "23h59m59s": how OpenAI's headers write such times. */
void weirp_limiter_time_text(char *out, size_t size, int64_t ms);

#endif

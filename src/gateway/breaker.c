/* breaker.c: circuit breakers. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/breaker.h"

#include <stddef.h>

enum { MAX_DOUBLINGS = 3, PROBE_MS = 10000 /* a probe that never reports back gives its place up after this */ };

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

int weirp_breaker_state(const weirp_breaker *b, uint64_t now_ms) {
    uint64_t until = LOAD(b->open_until_ms);
    if (!until) return WEIRP_BREAKER_CLOSED;
    return now_ms < until ? WEIRP_BREAKER_OPEN : WEIRP_BREAKER_HALF_OPEN;
}

uint64_t weirp_breaker_wait_ms(const weirp_breaker *b, uint64_t now_ms) {
    uint64_t open = LOAD(b->open_until_ms), rest = LOAD(b->rest_until_ms), probe = LOAD(b->probe_until_ms);
    uint64_t until = open > rest ? open : rest;
    if (until > now_ms) return until - now_ms;
    return open && probe > now_ms ? 1 : 0;
}

bool weirp_breaker_enter(weirp_breaker *b, uint64_t now_ms) {
    if (LOAD(b->rest_until_ms) > now_ms) return false;
    uint64_t open = LOAD(b->open_until_ms);
    if (!open) return true;
    if (open > now_ms) return false;
    uint64_t probe = LOAD(b->probe_until_ms);
    return probe <= now_ms && atomic_compare_exchange_strong(&b->probe_until_ms, &probe, now_ms + PROBE_MS);
}

void weirp_breaker_success(weirp_breaker *b) {
    if (LOAD(b->failures)) STORE(b->failures, 0);
    if (!LOAD(b->open_until_ms)) return;
    STORE(b->openings, 0);
    STORE(b->probe_until_ms, 0);
    STORE(b->open_until_ms, 0);
}

void weirp_breaker_failure(weirp_breaker *b, const weirp_breaker_limits *limits, uint64_t now_ms, bool at_once) {
    if (!limits->failures) return;
    if (now_ms - LOAD(b->window_began_ms) > limits->window_ms) {
        STORE(b->window_began_ms, now_ms);
        STORE(b->failures, 0);
    }
    unsigned failures = atomic_fetch_add_explicit(&b->failures, 1, memory_order_relaxed) + 1;
    bool was_open = LOAD(b->open_until_ms) != 0;
    if (!at_once && !was_open && failures < limits->failures) return;
    if (was_open && LOAD(b->open_until_ms) > now_ms) return; /* a late report on what is known */
    unsigned openings = atomic_fetch_add_explicit(&b->openings, 1, memory_order_relaxed);
    STORE(b->failures, 0);
    STORE(b->probe_until_ms, 0);
    STORE(b->open_until_ms,
          now_ms + ((uint64_t)limits->open_ms << (openings < MAX_DOUBLINGS ? openings : MAX_DOUBLINGS)));
}

void weirp_breaker_leave(weirp_breaker *b) {
    STORE(b->probe_until_ms, 0);
}

void weirp_breaker_rest(weirp_breaker *b, uint64_t until_ms) {
    uint64_t rest = LOAD(b->rest_until_ms);
    while (rest < until_ms && !atomic_compare_exchange_weak(&b->rest_until_ms, &rest, until_ms)) {
    }
}

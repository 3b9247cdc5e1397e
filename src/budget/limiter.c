/* limiter.c: sliding minutes of 61 seconds' counts a key, in a chained hash table.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/limiter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The second that runs, and the 60 whole ones before it: any 60 seconds that end now lie within them. */
enum { N_SECONDS = 61, LEAST_SLOTS = 64, SWEEP = 2 };
#define NS_PER_S INT64_C(1000000000)

typedef struct weirp_limited {
    struct weirp_limited *next; /* in its slot */
    uint64_t hash;
    int64_t newest;                   /* second up to which the counts go */
    int64_t sum_requests, sum_tokens; /* of the counts below */
    int64_t tokens[N_SECONDS];        /* of second s at s % N_SECONDS */
    uint32_t requests[N_SECONDS];     /* likewise */
    uint32_t at_once;                 /* have entered and not left */
    char key[];
} limited;

struct weirp_limiter {
    pthread_mutex_t mutex;
    int64_t now_ns; /* the latest that was handed in */
    size_t n, n_slots, sweep;
    limited **slot; /* (n_slots), a power of two */
};

weir_status weirp_limiter_new(weirp_limiter **out, weir_error *err) {
    weirp_limiter *l = weirp_array(1, sizeof *l);
    if (l) l->slot = weirp_array(LEAST_SLOTS, sizeof(limited *));
    if (!l || !l->slot || pthread_mutex_init(&l->mutex, NULL)) {
        if (l) free(l->slot);
        free(l);
        return weirp_nomem(err);
    }
    l->n_slots = LEAST_SLOTS;
    *out = l;
    return WEIR_OK;
}

void weirp_limiter_free(weirp_limiter *l) {
    if (!l) return;
    for (size_t i = 0; i < l->n_slots; i++)
        for (limited *k = l->slot[i], *next; k; k = next) {
            next = k->next;
            free(k);
        }
    free(l->slot);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* ---- one key's minute ---- */

static void forget(limited *k, int64_t second) {
    size_t at = (size_t)(second % N_SECONDS);
    k->sum_requests -= k->requests[at];
    k->sum_tokens -= k->tokens[at];
    k->requests[at] = 0;
    k->tokens[at] = 0;
}

/* Counts up to `second`, forgetting what then lies too far back. */
static void advance(limited *k, int64_t second) {
    int64_t n = second - k->newest;
    if (n > N_SECONDS) n = N_SECONDS;
    for (int64_t i = 0; i < n; i++) forget(k, second - i);
    if (n > 0) k->newest = second;
}

static bool counts(const limited *k, int64_t second) {
    return second > k->newest - N_SECONDS;
}

static bool idle(const limited *k, int64_t second) {
    return !k->at_once && (second - k->newest >= N_SECONDS || (!k->sum_requests && !k->sum_tokens));
}

/* ---- the table ---- */

static limited *find(weirp_limiter *l, const char *key, uint64_t hash) {
    for (limited *k = l->slot[hash & (l->n_slots - 1)]; k; k = k->next)
        if (k->hash == hash && !strcmp(k->key, key)) return k;
    return NULL;
}

/* Drops the idle keys of the next few slots: each call that may add one key clears away two slots' worth, so that what
 * is idle goes within as many calls as there are slots. */
static void sweep(weirp_limiter *l, int64_t second) {
    for (int i = 0; i < SWEEP; i++) {
        limited **link = &l->slot[l->sweep++ & (l->n_slots - 1)];
        while (*link) {
            limited *k = *link;
            if (idle(k, second)) {
                *link = k->next;
                free(k);
                l->n--;
            } else {
                link = &k->next;
            }
        }
    }
}

/* Without memory for it chains get longer, and nothing else happens. */
static void grow(weirp_limiter *l) {
    size_t n = 2 * l->n_slots;
    limited **slot = weirp_array(n, sizeof *slot);
    if (!slot) return;
    for (size_t i = 0; i < l->n_slots; i++)
        for (limited *k = l->slot[i], *next; k; k = next) {
            next = k->next;
            k->next = slot[k->hash & (n - 1)];
            slot[k->hash & (n - 1)] = k;
        }
    free(l->slot);
    l->slot = slot;
    l->n_slots = n;
}

static limited *add(weirp_limiter *l, const char *key, uint64_t hash, int64_t second) {
    size_t size = strlen(key) + 1;
    limited *k = weirp_array(1, sizeof *k + size);
    if (!k) return NULL;
    if (l->n >= l->n_slots) grow(l);
    memcpy(k->key, key, size);
    k->hash = hash;
    k->newest = second;
    k->next = l->slot[hash & (l->n_slots - 1)];
    l->slot[hash & (l->n_slots - 1)] = k;
    l->n++;
    return k;
}

static int64_t tick(weirp_limiter *l, uint64_t now_ns) {
    if (now_ns <= INT64_MAX && (int64_t)now_ns > l->now_ns) l->now_ns = (int64_t)now_ns;
    return l->now_ns / NS_PER_S;
}

/* ---- what is told ---- */

static int64_t until_ms(const weirp_limiter *l, int64_t second) {
    int64_t ns = second * NS_PER_S - l->now_ns;
    return ns > 0 ? (ns + 999999) / 1000000 : 0;
}

/* Until the newest second with anything in it no longer counts. */
static int64_t reset_ms(const weirp_limiter *l, const limited *k, bool tokens) {
    for (int64_t s = k->newest; counts(k, s) && s >= 0; s--)
        if (tokens ? k->tokens[s % N_SECONDS] != 0 : k->requests[s % N_SECONDS] != 0) return until_ms(l, s + N_SECONDS);
    return 0;
}

/* Until so many seconds no longer count that `excess` is gone. */
static int64_t retry_ms(const weirp_limiter *l, const limited *k, bool tokens, int64_t excess) {
    int64_t s = k->newest - N_SECONDS + 1;
    for (s = s < 0 ? 0 : s; s <= k->newest; s++) {
        excess -= tokens ? k->tokens[s % N_SECONDS] : k->requests[s % N_SECONDS];
        if (excess <= 0) return until_ms(l, s + N_SECONDS);
    }
    return 0;
}

static int64_t rest(int64_t limit, int64_t used) {
    return used < limit ? limit - used : 0;
}

/* `k` NULL: nothing is used. */
static void tell(const weirp_limiter *l, const limited *k, const weirp_limits *limits, weirp_quota *q) {
    *q = (weirp_quota){.requests_limit = limits->requests, .tokens_limit = limits->tokens};
    q->at_once_limit = limits->at_once;
    if (limits->requests) {
        q->requests_left = rest(limits->requests, k ? k->sum_requests : 0);
        q->requests_reset_ms = k ? reset_ms(l, k, false) : 0;
    }
    if (limits->tokens) {
        q->tokens_left = rest(limits->tokens, k ? k->sum_tokens : 0);
        q->tokens_reset_ms = k ? reset_ms(l, k, true) : 0;
    }
    if (k) q->at_once = k->at_once;
}

/* ---- entering and leaving ---- */

/* Tokens can't overflow: they are capped where they come in, and where there is no limit they aren't counted. */
static weirp_limit_result judge(const weirp_limiter *l, const limited *k, const weirp_limits *limits, int64_t tokens,
                                int64_t *retry) {
    *retry = 0;
    if (limits->tokens && tokens > limits->tokens) return WEIRP_LIMIT_TOO_LARGE;
    if (limits->at_once && k->at_once >= limits->at_once) return WEIRP_LIMIT_AT_ONCE;
    int64_t requests = limits->requests ? k->sum_requests + 1 - limits->requests : 0;
    int64_t more = limits->tokens && tokens ? k->sum_tokens - (limits->tokens - tokens) : 0;
    int64_t first = requests > 0 ? retry_ms(l, k, false, requests) : 0;
    int64_t second = more > 0 ? retry_ms(l, k, true, more) : 0;
    *retry = first > second ? first : second;
    if (requests > 0) return WEIRP_LIMIT_REQUESTS;
    return more > 0 ? WEIRP_LIMIT_TOKENS : WEIRP_LIMIT_PASSED;
}

/* So many tokens a request that sums over a minute stay far from overflowing. */
static int64_t capped(int64_t tokens) {
    return tokens > INT64_C(1) << 40 ? INT64_C(1) << 40 : tokens;
}

static void count(limited *k, int64_t second, int64_t tokens) {
    k->tokens[second % N_SECONDS] += tokens;
    k->sum_tokens += tokens;
}

weirp_limit_result weirp_limiter_enter(weirp_limiter *l, const char *key, const weirp_limits *limits, int64_t tokens,
                                       uint64_t now_ns, weirp_pass *pass, weirp_quota *quota) {
    *pass = (weirp_pass){0};
    tokens = tokens > 0 ? capped(tokens) : 0;
    uint64_t hash = XXH3_64bits(key, strlen(key));
    int64_t retry = 0;
    pthread_mutex_lock(&l->mutex);
    int64_t now = tick(l, now_ns);
    sweep(l, now);
    limited *k = find(l, key, hash);
    if (!k) k = add(l, key, hash, now);
    weirp_limit_result result = WEIRP_LIMIT_NO_MEMORY;
    if (k) {
        advance(k, now);
        result = judge(l, k, limits, tokens, &retry);
    }
    if (result == WEIRP_LIMIT_PASSED) {
        k->requests[now % N_SECONDS]++;
        k->sum_requests++;
        k->at_once++;
        count(k, now, tokens);
        *pass = (weirp_pass){k, now, tokens};
    }
    if (quota) {
        tell(l, k, limits, quota);
        quota->retry_ms = retry;
    }
    pthread_mutex_unlock(&l->mutex);
    return result;
}

void weirp_limiter_leave(weirp_limiter *l, weirp_pass *pass, int64_t tokens, uint64_t now_ns) {
    limited *k = pass->key;
    if (!k) return;
    pthread_mutex_lock(&l->mutex);
    int64_t now = tick(l, now_ns);
    advance(k, now);
    k->at_once--;
    int64_t more = tokens < 0 ? 0 : capped(tokens) - pass->tokens;
    if (more > 0) count(k, now, more);
    if (more < 0 && counts(k, pass->second)) count(k, pass->second, more);
    pthread_mutex_unlock(&l->mutex);
    *pass = (weirp_pass){0};
}

void weirp_limiter_time_text(char *out, size_t size, int64_t ms) {
    long long whole = ms > 0 ? ms : 0;
    if (whole < 1000)
        snprintf(out, size, "%lldms", whole);
    else if (whole < 60000 && whole % 1000)
        snprintf(out, size, "%lld.%03llds", whole / 1000, whole % 1000);
    else if (whole < 60000)
        snprintf(out, size, "%llds", whole / 1000);
    else if ((whole = (whole + 999) / 1000) < 3600) /* whole seconds, upwards: nobody comes back too early */
        snprintf(out, size, "%lldm%llds", whole / 60, whole % 60);
    else
        snprintf(out, size, "%lldh%lldm%llds", whole / 3600, whole / 60 % 60, whole % 60);
}

/* admit.c: who asks, and whether now. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/admit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "src/gateway/exchange.h"
#include "src/gateway/money/treasury.h"

const char *weirp_admit_shown(const weirp_call *call) {
    const char *bearer = weirp_call_header(call, "authorization");
    if (bearer && !strncasecmp(bearer, "bearer ", 7)) {
        bearer += 7;
        return bearer + strspn(bearer, " ");
    }
    return weirp_call_header(call, "x-api-key");
}

/* Keys of the store are known by how they begin. */
static bool is_virtual(const char *shown) {
    return shown && !strncmp(shown, WEIR_KEY_PREFIX, sizeof WEIR_KEY_PREFIX - 1);
}

static weirp_keys *keys_of(const weirp_worker *w) {
    return w->gateway->treasury ? weirp_treasury_keys(w->gateway->treasury) : NULL;
}

const char *weirp_admit_refusal(const weirp_worker *w, const char *shown) {
    const weirp_key *key;
    if (!is_virtual(shown)) {
        bool asks_for_one = w->setup->config->virtual_keys && !w->setup->config->n_client_keys;
        if (!asks_for_one && weirp_setup_admits(w->setup, shown)) return NULL;
        return "The API key is missing or isn't one of this gateway's.";
    }
    weirp_keys *keys = keys_of(w);
    weirp_key_state state =
        keys ? weirp_keys_find(keys, shown, strlen(shown), weirp_unix_ms(), &key) : WEIRP_KEY_UNKNOWN;
    weirp_keys_drop(keys);
    if (state == WEIRP_KEY_UNKNOWN &&
        (keys = w->gateway->treasury ? weirp_treasury_keys_now(w->gateway->treasury) : NULL)) {
        state = weirp_keys_find(keys, shown, strlen(shown), weirp_unix_ms(), &key);
        weirp_keys_drop(keys);
    }
    switch (state) {
    case WEIRP_KEY_VALID: return NULL;
    case WEIRP_KEY_EXPIRED: return "The API key has expired.";
    case WEIRP_KEY_REVOKED: return "The API key has been revoked.";
    case WEIRP_KEY_REPLACED: return "The API key has been replaced by a new one.";
    default: return "The API key is missing or isn't one of this gateway's.";
    }
}

const weirp_key *weirp_admit_key(const weirp_worker *w, const weirp_call *call, weirp_keys **keys) {
    const char *shown = weirp_admit_shown(call);
    const weirp_key *key = NULL;
    *keys = is_virtual(shown) ? keys_of(w) : NULL;
    /* it was valid when the head came; whatever has become of it since, it is whose the request is */
    if (*keys && weirp_keys_find(*keys, shown, strlen(shown), weirp_unix_ms(), &key) == WEIRP_KEY_UNKNOWN) return NULL;
    return key;
}

void weirp_admit_begin(weirp_exchange *x) {
    weirp_admission *a = &x->admission;
    a->key = weirp_admit_key(x->worker, x->call, &a->keys);
    if (!a->key) return;
    x->spend.subject.value[WEIRP_DIM_KEY] = x->served.key = a->key->name;
    if (a->key->team[0]) x->spend.subject.value[WEIRP_DIM_TEAM] = x->served.team = a->key->team;
    x->knobs.key = a->key;
}

/* ---- limits a minute ---- */

static int64_t expected_tokens(const weirp_exchange *x) {
    double output = x->plan.choice[0].output_tokens, asked = x->request.max_output_tokens;
    double tokens = fmax(x->plan.input_tokens, 0) + fmin(isfinite(output) ? output : 0, isfinite(asked) ? asked : 1e9);
    return tokens < 1e15 ? (int64_t)ceil(tokens) : 0;
}

static void refuse(weirp_exchange *x, weirp_limit_result why) {
    const weirp_limits *l = &x->admission.key->limits;
    char text[160];
    switch (why) {
    case WEIRP_LIMIT_REQUESTS:
        snprintf(text, sizeof text, "The key's limit of %" PRIu32 " requests a minute is reached.", l->requests);
        break;
    case WEIRP_LIMIT_TOKENS:
        snprintf(text, sizeof text, "The key's limit of %" PRId64 " tokens a minute is reached.", l->tokens);
        break;
    case WEIRP_LIMIT_TOO_LARGE:
        snprintf(text, sizeof text,
                 "The request is expected to need more tokens than the key has in a minute (%" PRId64 ").", l->tokens);
        break;
    case WEIRP_LIMIT_AT_ONCE:
        snprintf(text, sizeof text, "The key has %" PRIu32 " requests under way, as many as it may.", l->at_once);
        break;
    default: snprintf(text, sizeof text, "The gateway is out of memory."); break;
    }
    int status = why == WEIRP_LIMIT_NO_MEMORY ? 503 : 429;
    weirp_reply_error(x, status, NULL, "rate_limit_exceeded", NULL, text, x->admission.quota.retry_ms);
}

bool weirp_admit_enter(weirp_exchange *x) {
    weirp_admission *a = &x->admission;
    if (!a->key) return true;
    const weirp_limits *l = &a->key->limits;
    if (!l->requests && !l->tokens && !l->at_once) return true;
    weirp_limiter *limiter = weirp_treasury_limiter(x->worker->gateway->treasury);
    weirp_limit_result r =
        weirp_limiter_enter(limiter, a->key->name, l, expected_tokens(x), weirp_monotonic_ns(), &a->pass, &a->quota);
    if (r != WEIRP_LIMIT_PASSED) refuse(x, r);
    return r == WEIRP_LIMIT_PASSED;
}

void weirp_admit_leave(weirp_exchange *x, int64_t tokens) {
    if (!x->admission.pass.key) return;
    weirp_limiter_leave(weirp_treasury_limiter(x->worker->gateway->treasury), &x->admission.pass, tokens,
                        weirp_monotonic_ns());
}

void weirp_admit_free(weirp_exchange *x) {
    weirp_admit_leave(x, -1);
    weirp_keys_drop(x->admission.keys);
    x->admission = (weirp_admission){.keys = NULL};
}

/* ---- headers ---- */

/* RFC 3339, as Anthropic's headers have it. */
static void instant_text(char *out, size_t size, int64_t after_ms) {
    time_t at = (time_t)((weirp_unix_ms() + after_ms + 999) / 1000);
    struct tm utc;
    gmtime_r(&at, &utc);
    strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

typedef struct fields {
    weirp_field *field;
    char (*text)[WEIRP_QUOTA_TEXT];
    size_t n;
    bool anthropic;
} fields;

/* What is told of requests, or of tokens. */
typedef struct limit {
    int64_t limit, left; /* limit 0 or less: there is none */
    int64_t reset_ms;    /* below 0: never */
} limit;

/* Whichever leaves less; of two that leave the same, the one that leaves it for longer. */
static limit tighter(limit minute, const weirp_room *room) {
    int64_t now_ms = weirp_unix_ms(), end = room->period_end;
    if (room->limit < 0) return minute;
    limit period = {room->limit, room->left, end < INT64_MAX / 1000 ? end * 1000 - now_ms : -1};
    if (end < INT64_MAX / 1000 && period.reset_ms < 0) period.reset_ms = 0;
    if (minute.limit <= 0 || period.left < minute.left) return period;
    if (period.left > minute.left) return minute;
    return period.reset_ms < 0 || period.reset_ms > minute.reset_ms ? period : minute;
}

static char *next(fields *f, const char *openai, const char *anthropic) {
    f->field[f->n] = (weirp_field){f->anthropic ? anthropic : openai, f->text[f->n]};
    return f->text[f->n++];
}

static void add(fields *f, const char *const name[6], const limit *l) {
    snprintf(next(f, name[0], name[1]), WEIRP_QUOTA_TEXT, "%" PRId64, l->limit);
    snprintf(next(f, name[2], name[3]), WEIRP_QUOTA_TEXT, "%" PRId64, l->left);
    if (l->reset_ms < 0) return;
    char *reset = next(f, name[4], name[5]);
    if (f->anthropic)
        instant_text(reset, WEIRP_QUOTA_TEXT, l->reset_ms);
    else
        weirp_limiter_time_text(reset, WEIRP_QUOTA_TEXT, l->reset_ms);
}

size_t weirp_admit_fields(const weirp_exchange *x, weirp_field field[WEIRP_QUOTA_FIELDS],
                          char text[WEIRP_QUOTA_FIELDS][WEIRP_QUOTA_TEXT]) {
    static const char *const REQUESTS[] = {"x-ratelimit-limit-requests",     "anthropic-ratelimit-requests-limit",
                                           "x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining",
                                           "x-ratelimit-reset-requests",     "anthropic-ratelimit-requests-reset"};
    static const char *const TOKENS[] = {"x-ratelimit-limit-tokens",     "anthropic-ratelimit-tokens-limit",
                                         "x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining",
                                         "x-ratelimit-reset-tokens",     "anthropic-ratelimit-tokens-reset"};
    const weirp_quota *q = &x->admission.quota; /* zeros: there are no limits a minute */
    weirp_room room[WEIRP_N_UNITS];
    fields f = {field, text, 0, x->api == WEIRP_API_MESSAGES};
    weirp_spend_room(x, room);
    const limit requests =
        tighter((limit){q->requests_limit, q->requests_left, q->requests_reset_ms}, &room[WEIRP_UNIT_REQUESTS]);
    const limit tokens =
        tighter((limit){q->tokens_limit, q->tokens_left, q->tokens_reset_ms}, &room[WEIRP_UNIT_TOKENS]);
    if (requests.limit > 0 || room[WEIRP_UNIT_REQUESTS].limit == 0) add(&f, REQUESTS, &requests);
    if (tokens.limit > 0 || room[WEIRP_UNIT_TOKENS].limit == 0) add(&f, TOKENS, &tokens);
    return f.n;
}

/* admit.c: who asks, and whether now. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/admit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "src/gateway/exchange.h"
#include "src/gateway/treasury.h"

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
    a->limited = true;
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
} fields;

static void add(fields *f, const char *name, int64_t count) {
    snprintf(f->text[f->n], WEIRP_QUOTA_TEXT, "%" PRId64, count);
    f->field[f->n] = (weirp_field){name, f->text[f->n]};
    f->n++;
}

static void add_reset(fields *f, const char *name, bool anthropic, int64_t ms) {
    if (anthropic)
        instant_text(f->text[f->n], WEIRP_QUOTA_TEXT, ms);
    else
        weirp_limiter_time_text(f->text[f->n], WEIRP_QUOTA_TEXT, ms);
    f->field[f->n] = (weirp_field){name, f->text[f->n]};
    f->n++;
}

size_t weirp_admit_fields(const weirp_exchange *x, weirp_field field[WEIRP_QUOTA_FIELDS],
                          char text[WEIRP_QUOTA_FIELDS][WEIRP_QUOTA_TEXT]) {
    const weirp_quota *q = &x->admission.quota;
    bool anthropic = x->api == WEIRP_API_MESSAGES;
    fields f = {field, text, 0};
    if (!x->admission.limited) return 0;
    if (q->requests_limit) {
        add(&f, anthropic ? "anthropic-ratelimit-requests-limit" : "x-ratelimit-limit-requests", q->requests_limit);
        add(&f, anthropic ? "anthropic-ratelimit-requests-remaining" : "x-ratelimit-remaining-requests",
            q->requests_left);
        add_reset(&f, anthropic ? "anthropic-ratelimit-requests-reset" : "x-ratelimit-reset-requests", anthropic,
                  q->requests_reset_ms);
    }
    if (q->tokens_limit) {
        add(&f, anthropic ? "anthropic-ratelimit-tokens-limit" : "x-ratelimit-limit-tokens", q->tokens_limit);
        add(&f, anthropic ? "anthropic-ratelimit-tokens-remaining" : "x-ratelimit-remaining-tokens", q->tokens_left);
        add_reset(&f, anthropic ? "anthropic-ratelimit-tokens-reset" : "x-ratelimit-reset-tokens", anthropic,
                  q->tokens_reset_ms);
    }
    return f.n;
}

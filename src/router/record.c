/* record.c: log records as bytes (docs/formats.md, "Log record"), and decision ids.
 *
 * A record is written in one piece of memory that is asked for once: the gateway makes one for every request.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/record.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "src/router/format.h"
#include "src/router/reading.h"
#include "src/router/session.h"

/* ---- ids ---- */

#define ID_PREFIX "weir-"
enum { ID_PREFIX_LEN = 5, ID_NUMBER_DIGITS = 16, ID_CHANCE_DIGITS = 8, SEQUENCE_BITS = 20 };

static uint64_t process_seed(void) {
    static _Atomic uint64_t seed;
    uint64_t s = atomic_load_explicit(&seed, memory_order_relaxed);
    while (!s) {
        uint64_t drawn = 0;
        if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn) drawn = weirp_mix64(weirp_monotonic_ns());
        drawn |= 1;
        /* the first one counts, for every thread */
        if (atomic_compare_exchange_strong(&seed, &s, drawn)) s = drawn;
    }
    return s;
}

static char *put_hex(char *out, uint64_t v, int digits) {
    for (int i = digits; i-- > 0;) *out++ = "0123456789abcdef"[v >> (4 * i) & 15];
    return out;
}

void weirp_id_new(char id[WEIRP_ID_SIZE], uint64_t sequence, uint32_t salt) {
    uint64_t number = (uint64_t)weirp_unix_ms() << SEQUENCE_BITS | (sequence & ((1u << SEQUENCE_BITS) - 1));
    uint64_t chance = weirp_random_u64(process_seed(), salt, sequence ^ weirp_monotonic_ns() << 20);
    memcpy(id, ID_PREFIX, ID_PREFIX_LEN);
    *put_hex(put_hex(id + ID_PREFIX_LEN, number, ID_NUMBER_DIGITS), chance, ID_CHANCE_DIGITS) = '\0';
}

bool weirp_id_parse(const char *id, uint64_t *number, uint32_t *chance) {
    uint64_t half[2] = {0, 0};
    if (!id || strncmp(id, ID_PREFIX, ID_PREFIX_LEN) != 0) return false;
    for (int i = 0; i < ID_NUMBER_DIGITS + ID_CHANCE_DIGITS; i++) {
        char c = id[ID_PREFIX_LEN + i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return false; /* the end, too */
        uint64_t *part = &half[i >= ID_NUMBER_DIGITS];
        *part = *part << 4 | (uint64_t)digit;
    }
    *number = half[0];
    *chance = (uint32_t)half[1];
    return id[ID_PREFIX_LEN + ID_NUMBER_DIGITS + ID_CHANCE_DIGITS] == '\0' && half[0] != 0;
}

void weirp_id_print(char id[WEIRP_ID_SIZE], uint64_t number, uint32_t chance) {
    memcpy(id, ID_PREFIX, ID_PREFIX_LEN);
    *put_hex(put_hex(id + ID_PREFIX_LEN, number, ID_NUMBER_DIGITS), chance, ID_CHANCE_DIGITS) = '\0';
}

uint64_t weirp_id_number(const char *id) {
    uint64_t number;
    uint32_t chance;
    return weirp_id_parse(id, &number, &chance) ? number : 0;
}

/* ---- how it ended ---- */

/* In this order: who has left got no error whatever the tries before had come to, and status 503 of a gateway that was
 * shut down went to nobody. */
weirp_ending weirp_ending_of(int status, bool client_gone, bool answered, const char *result) {
    enum { CLIENT_GONE = 499 };
    const bool told = result && *result;
    if (client_gone || status == CLIENT_GONE) return WEIRP_ENDING_UNDECIDED;
    if (told && (!strcmp(result, "client_gone") || !strcmp(result, "shutdown"))) return WEIRP_ENDING_UNDECIDED;
    if (status >= 400) return WEIRP_ENDING_ERROR;
    if (told) return strcmp(result, "ok") ? WEIRP_ENDING_ERROR : WEIRP_ENDING_ANSWERED;
    return answered ? WEIRP_ENDING_ANSWERED : WEIRP_ENDING_ERROR;
}

weirp_ending weirp_served_ending(const weirp_served *s) {
    const char *result = s->n_attempts ? s->attempt[s->n_attempts - 1].result : NULL;
    return weirp_ending_of(s->status, s->client_gone, s->model != (size_t)-1, result);
}

/* ---- writing ---- */

/* The end of a writer's bytes, with room for `n` more; NULL: out of memory. */
static uint8_t *room(weirp_writer *w, size_t n) {
    if (w->failed || n > SIZE_MAX - w->size || !weirp_reserve((void **)&w->data, &w->capacity, w->size + n, 1)) {
        w->failed = true;
        return NULL;
    }
    return w->data + w->size;
}

static uint8_t *put(uint8_t *p, const void *v, size_t n) {
    if (n) memcpy(p, v, n);
    return p + n;
}

static uint8_t *put_u16(uint8_t *p, size_t v) {
    uint16_t narrow = (uint16_t)v;
    return put(p, &narrow, sizeof narrow);
}

static uint8_t *put_f32(uint8_t *p, double v) {
    float narrow = (float)v;
    return put(p, &narrow, sizeof narrow);
}

/* Seven bits a byte, the lowest first; at most ten bytes. */
static uint8_t *put_count(uint8_t *p, int64_t v) {
    uint64_t left = v > 0 ? (uint64_t)v : 0;
    for (; left > 127; left >>= 7) *p++ = (uint8_t)(left | 128);
    *p++ = (uint8_t)left;
    return p;
}

static uint8_t *put_short_text(uint8_t *p, const char *text, size_t most) {
    size_t n = text ? strnlen(text, most) : 0;
    *p++ = (uint8_t)n;
    return put(p, text, n);
}

/* What every record begins with. */
typedef struct head {
    weirp_kind_of_record kind;
    const char *id;
    int64_t time_ms;
    uint64_t features_version;
    size_t n_models, model;
    unsigned rule, reason;
    const weir_estimates *estimates; /* NULL: none are told */
    const double *propensity;        /* (n_models) with estimates */
    size_t dim;
    const float *dense;
    double approximate_tokens;
    const weirp_trial *trial; /* NULL: none; needs estimates */
} head;

static uint8_t *put_models(uint8_t *p, const head *h, bool certain) {
    const weir_estimates *e = h->estimates;
    size_t bytes = (h->n_models + 7) / 8;
    uint8_t *bits = p;
    memset(bits, 0, bytes);
    p += bytes;
    for (size_t m = 0; e && m < h->n_models; m++) {
        if (!e->eligible[m]) continue;
        bits[m / 8] |= (uint8_t)(1u << m % 8);
        p = put_f32(p, e->quality[m]);
        p = put_f32(p, e->cost_usd[m]);
        if (!certain) p = put_f32(p, h->propensity[m]);
    }
    return p;
}

static uint8_t *put_trial(uint8_t *p, const head *h) {
    const weirp_trial *t = h->trial;
    p = put(p, &t->digest, 8);
    *p++ = (uint8_t)t->step;
    *p++ = t->arm;
    p = put(p, &t->share, 8);
    p = put_short_text(p, t->name, 255);
    for (size_t m = 0; m < h->n_models; m++)
        if (h->estimates->eligible[m]) p = put_f32(p, t->propensity[m]);
    return p;
}

static void put_head(weirp_writer *w, const head *h) {
    size_t id_len = strlen(h->id), trial = h->trial ? WEIRP_TRIAL_BYTES + 4 * h->n_models : 0;
    uint8_t *start = room(w, WEIRP_HEAD_BYTES + id_len + (h->n_models + 7) / 8 + 12 * h->n_models + trial + 4 * h->dim +
                                 WEIRP_TAIL_GUESS);
    if (!start) return;
    uint32_t version = h->trial ? WEIRP_RECORD_VERSION : WEIRP_RECORD_PLAIN, chance;
    uint64_t number;
    bool own = weirp_id_parse(h->id, &number, &chance);
    bool certain = h->estimates ? h->propensity[h->model] == 1 : h->kind == WEIRP_RECORD_SERVED;
    uint8_t *p = put(start, &version, 4);
    *p++ = (uint8_t)h->kind;
    *p++ = (uint8_t)h->rule;
    *p++ = (uint8_t)h->reason;
    *p++ = (uint8_t)((own ? WEIRP_HEAD_OWN_ID : 0) | (certain ? WEIRP_HEAD_CERTAIN : 0) |
                     (h->trial ? WEIRP_HEAD_TRIAL : 0));
    p = put(p, &h->time_ms, 8);
    p = put(p, &h->features_version, 8);
    p = put(p, &h->approximate_tokens, 8);
    p = put_u16(p, h->n_models);
    p = put_u16(p, h->model);
    p = put_u16(p, h->dim);
    if (own) {
        p = put(put(p, &number, 8), &chance, 4);
    } else {
        uint32_t n = id_len < WEIRP_MAX_ID ? (uint32_t)id_len : WEIRP_MAX_ID;
        p = put(put(p, &n, 4), h->id, n);
    }
    p = put_models(p, h, certain);
    if (h->trial) p = put_trial(p, h);
    p = put(p, h->dense, 4 * h->dim);
    w->size += (size_t)(p - start);
}

static head head_of(weirp_kind_of_record kind, const weirp_workspace *w, const char *id) {
    return (head){.kind = kind,
                  .id = id,
                  .time_ms = weirp_unix_ms(),
                  .features_version = w->state->store_version,
                  .n_models = w->estimates.n_models,
                  .model = w->decision.model,
                  .rule = w->decision.rule,
                  .reason = w->decision.reason,
                  .estimates = &w->estimates,
                  .propensity = w->decision.propensity,
                  .dim = w->features.dim,
                  .dense = w->features.dense,
                  .approximate_tokens = w->features.approximate_tokens};
}

void weirp_record_trial(weirp_writer *w, const weir_session *session, const char *id, const weirp_trial *trial) {
    head h = head_of(WEIRP_RECORD_SERVED, &session->workspace, id);
    h.trial = trial;
    put_head(w, &h);
}

void weirp_record_decision(weirp_writer *w, const weir_session *session, const char *id) {
    weirp_record_trial(w, session, id, NULL);
}

void weirp_record_pinned(weirp_writer *w, const weir_router *router, size_t model, const char *id) {
    head h = {.kind = WEIRP_RECORD_SERVED,
              .id = id,
              .time_ms = weirp_unix_ms(),
              .features_version = router->state->store_version,
              .n_models = weirp_state_n_models(router->state),
              .model = model,
              .rule = WEIR_RULE_FIXED,
              .reason = WEIR_REASON_ASKED};
    put_head(w, &h);
}

const char *weirp_budget_action_name(weirp_budget_action action) {
    static const char *const names[] = {
#define ACTION_NAME(name, text) text,
        WEIRP_BUDGET_ACTION_TABLE(ACTION_NAME)
#undef ACTION_NAME
    };
    return action < WEIRP_N_BUDGET_ACTIONS ? names[action] : "unknown";
}

void weirp_record_served(weirp_writer *w, const weirp_served *s) {
    size_t n_attempts = s->n_attempts < WEIRP_MAX_ATTEMPTS ? s->n_attempts : WEIRP_MAX_ATTEMPTS;
    size_t prompt_len = s->prompt ? (s->prompt_len < WEIRP_MAX_PROMPT ? s->prompt_len : WEIRP_MAX_PROMPT) : 0;
    uint8_t *start = room(w, WEIRP_SERVED_BYTES + n_attempts * WEIRP_ATTEMPT_BYTES + prompt_len), *p = start;
    if (!start) return;
    const weirp_usage *u = &s->usage;
    *p++ = (uint8_t)((s->streamed ? WEIRP_SERVED_STREAMED : 0) | (s->client_gone ? WEIRP_SERVED_GONE : 0) |
                     (s->pinned ? WEIRP_SERVED_PINNED : 0) | (s->usage_estimated ? WEIRP_SERVED_ESTIMATED : 0) |
                     (u->known ? WEIRP_USAGE_KNOWN : 0) | (u->estimated ? WEIRP_USAGE_ESTIMATED : 0) |
                     (s->prompt ? WEIRP_SERVED_PROMPT : 0));
    p = put_u16(p, s->model < WEIRP_NOBODY ? s->model : WEIRP_NOBODY);
    p = put_u16(p, s->status > 0 && s->status < 1000 ? (size_t)s->status : 0);
    const int64_t counts[] = {u->input_tokens,  u->cached_input_tokens, u->cache_write_tokens, u->audio_input_tokens,
                              u->output_tokens, u->reasoning_tokens,    u->audio_output_tokens};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) p = put_count(p, counts[i]);
    p = put_f32(p, s->predicted_cost_usd);
    p = put(p, &s->cost_usd, 8);
    p = put_f32(p, s->latency_ms);
    p = put_f32(p, s->first_token_ms);
    p = put(p, &s->price_version, 8);
    p = put_short_text(p, s->api, 255);
    p = put_short_text(p, s->request_id, 255);
    *p++ = (uint8_t)n_attempts;
    for (size_t i = 0; i < n_attempts; i++) {
        const weirp_attempt *a = &s->attempt[i];
        p = put_u16(p, a->model);
        p = put_short_text(p, a->deployment, sizeof a->deployment - 1);
        p = put_short_text(p, a->result, sizeof a->result - 1);
        p = put_u16(p, a->status > 0 && a->status < 1000 ? (size_t)a->status : 0);
        p = put_f32(p, (double)a->started_ms);
        p = put_f32(p, (double)a->ms);
        p = put(p, &a->cost_usd, 8);
    }
    *p++ = (uint8_t)s->budget_action;
    const char *const texts[] = {s->key, s->team, s->user, s->tag, s->budget};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) p = put_short_text(p, texts[i], 255);
    if (s->prompt) {
        uint32_t n = (uint32_t)prompt_len;
        p = put(put(p, &n, 4), s->prompt, prompt_len);
    }
    w->size += (size_t)(p - start);
}

void weirp_record_learned(weirp_writer *w, const weirp_workspace *from, const char *id, size_t n, const size_t *models,
                          const weir_outcome *outcomes) {
    head h = head_of(WEIRP_RECORD_LEARNED, from, id);
    put_head(w, &h);
    uint8_t *start = room(w, 2 + n * (2 + sizeof *outcomes)), *p = start;
    if (!start) return;
    p = put_u16(p, n);
    for (size_t i = 0; i < n; i++) p = put(put_u16(p, models[i]), &outcomes[i], sizeof outcomes[i]);
    w->size += (size_t)(p - start);
}

void weirp_record_feedback(weirp_writer *w, const weirp_log_record *decision, size_t model, double quality,
                           const char *source, bool stale) {
    head h = {.kind = WEIRP_RECORD_FEEDBACK,
              .id = decision->id,
              .time_ms = weirp_unix_ms(),
              .features_version = decision->features_version,
              .n_models = decision->n_models,
              .model = decision->model,
              .rule = decision->rule,
              .reason = decision->reason,
              .dim = decision->dim,
              .dense = decision->dense,
              .approximate_tokens = decision->approximate_tokens};
    put_head(w, &h);
    uint8_t *start = room(w, 2 + 8 + 1 + 1 + WEIRP_MAX_SOURCE), *p = start;
    if (!start) return;
    p = put_u16(p, model);
    p = put(p, &quality, 8);
    *p++ = stale;
    p = put_short_text(p, source, WEIRP_MAX_SOURCE);
    w->size += (size_t)(p - start);
}

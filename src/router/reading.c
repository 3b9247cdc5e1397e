/* reading.c: log records of every version, from any bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/format.h"

/* Version 1 (whatever weir learned before there was a gateway) had no kinds and every number in full. */
#define VERSION_1 1u
/* Version 2 had attempts' costs in short, and nobody's account. */
#define VERSION_2 2u
/* Version 3 had no rollouts. */
#define VERSION_3 3u

const char *weirp_record_kind_name(weirp_kind_of_record kind) {
    static const char *const names[] = {
#define KIND_NAME(name, text) text,
        WEIRP_KIND_TABLE(KIND_NAME)
#undef KIND_NAME
    };
    return kind < WEIRP_N_KINDS_OF_RECORDS ? names[kind] : "unknown";
}

void weirp_log_record_free(weirp_log_record *record) {
    free(record->memory);
    memset(record, 0, sizeof *record);
}

/* ---- memory: one piece, as large as the record's claims, which its size bounds ---- */

typedef struct arena {
    uint8_t *at;
    bool failed;
} arena;

static void *take(arena *a, size_t n, size_t size) {
    void *p = a->at;
    a->at += (n * size + 15) / 16 * 16;
    return p;
}

/* Room for everything that a record of `n_models`, `dim` and `size` bytes can hold. */
static bool make_room(weirp_log_record *r, size_t n_models, size_t n_outcomes, size_t dim, size_t size, arena *a) {
    size_t need = n_models * (4 * sizeof(double) + 1) + n_outcomes * (sizeof(size_t) + sizeof(weir_outcome)) +
                  dim * sizeof(float) + 2 * size + WEIRP_ID_SIZE + 16 * 16;
    a->failed = !weirp_reserve((void **)&r->memory, &r->capacity, need, 1);
    if (a->failed) return false;
    a->at = (uint8_t *)(((uintptr_t)r->memory + 15) / 16 * 16);
    r->propensity = take(a, n_models, sizeof(double));
    r->quality = take(a, n_models, sizeof(double));
    r->cost = take(a, n_models, sizeof(double));
    r->trial.propensity = take(a, n_models, sizeof(double));
    r->eligible = take(a, n_models, 1);
    r->dense = take(a, dim, sizeof(float));
    r->outcome_model = take(a, n_outcomes, sizeof(size_t));
    r->outcome = take(a, n_outcomes, sizeof(weir_outcome));
    return true;
}

static const char *take_text(arena *a, weirp_bytes *r, size_t n) {
    char *text = (char *)a->at;
    if (r->failed || n > r->size - r->at) {
        r->failed = true;
        return "";
    }
    a->at += n + 1;
    memcpy(text, r->data + r->at, n);
    text[n] = '\0';
    r->at += n;
    return text;
}

/* ---- version 1 ---- */

static void get_f64_array(weirp_bytes *r, double *v, size_t n) {
    if (weirp_get_u64(r) != n) r->failed = true;
    weirp_get(r, v, n * sizeof *v);
}

/* Where the arrays' lengths stand is known only once the id has been read: they are read twice. */
static void decode_1(weirp_log_record *out, weirp_bytes *r, arena *a) {
    out->kind = WEIRP_RECORD_LEARNED;
    out->time_ms = (int64_t)weirp_get_u64(r);
    uint64_t id_len = weirp_get_u64(r);
    if (r->failed || id_len > r->size - r->at) {
        r->failed = true;
        return;
    }
    size_t id_at = r->at;
    r->at += (size_t)id_len;
    out->n_models = weirp_get_u32(r);
    out->model = weirp_get_u32(r);
    out->rule = weirp_get_u32(r);
    out->reason = weirp_get_u32(r);
    size_t arrays_at = r->at, n = out->n_models;
    if (r->failed || n > WEIR_MAX_MODELS || out->model >= n || r->size - r->at < 3 * (8 + 8 * n) + 4) {
        r->failed = true;
        return;
    }
    r->at += 3 * (8 + 8 * n);
    out->dim = weirp_get_u32(r);
    if (r->failed || out->dim > WEIRP_MAX_DIM || (r->size - r->at) / 4 < out->dim) {
        r->failed = true;
        return;
    }
    if (!make_room(out, n, n, out->dim, r->size, a)) return;
    size_t after = r->at;
    r->at = id_at;
    out->id = take_text(a, r, (size_t)id_len);
    r->at = arrays_at;
    get_f64_array(r, out->propensity, n);
    get_f64_array(r, out->quality, n);
    get_f64_array(r, out->cost, n);
    for (size_t m = 0; m < n; m++) out->eligible[m] = out->propensity[m] > 0 || isfinite(out->quality[m]);
    r->at = after;
    if (weirp_get_u64(r) != out->dim) r->failed = true;
    weirp_get(r, out->dense, out->dim * sizeof(float));
    out->approximate_tokens = weirp_get_f64(r);
    out->n_outcomes = weirp_get_u32(r);
    if (out->n_outcomes > n) r->failed = true;
    for (uint32_t i = 0; !r->failed && i < out->n_outcomes; i++) {
        out->outcome_model[i] = weirp_get_u32(r);
        weirp_get(r, &out->outcome[i], sizeof out->outcome[i]);
        if (out->outcome_model[i] >= n) r->failed = true;
    }
}

/* ---- versions 2 to 4 ---- */

static uint8_t get_u8(weirp_bytes *r) {
    uint8_t v;
    weirp_get(r, &v, sizeof v);
    return v;
}

static uint16_t get_u16(weirp_bytes *r) {
    uint16_t v;
    weirp_get(r, &v, sizeof v);
    return v;
}

static float get_f32(weirp_bytes *r) {
    float v;
    weirp_get(r, &v, sizeof v);
    return v;
}

static int64_t get_count(weirp_bytes *r) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte = get_u8(r);
        v |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return (int64_t)v;
    }
    r->failed = true;
    return 0;
}

static void copy_short_text(weirp_bytes *r, char *out, size_t size) {
    size_t n = get_u8(r);
    if (n >= size) r->failed = true;
    if (r->failed) n = 0;
    weirp_get(r, out, n);
    out[n] = '\0';
}

/* What the first 38 bytes say, and whether the rest can be as long as they claim. */
typedef struct claims {
    uint8_t flags;
    uint16_t n_models, dim;
} claims;

static claims get_claims(weirp_log_record *out, weirp_bytes *r) {
    claims c = {0};
    uint8_t kind = get_u8(r);
    out->rule = get_u8(r);
    out->reason = get_u8(r);
    c.flags = get_u8(r);
    out->time_ms = (int64_t)weirp_get_u64(r);
    out->features_version = weirp_get_u64(r);
    out->approximate_tokens = weirp_get_f64(r);
    c.n_models = get_u16(r);
    out->model = get_u16(r);
    c.dim = get_u16(r);
    if (kind >= WEIRP_N_KINDS_OF_RECORDS || c.n_models > WEIR_MAX_MODELS || out->model >= c.n_models ||
        (size_t)c.dim * 4 > r->size - r->at)
        r->failed = true;
    out->kind = (weirp_kind_of_record)kind;
    out->n_models = c.n_models;
    out->dim = c.dim;
    return c;
}

static void get_models(weirp_log_record *out, weirp_bytes *r, bool certain) {
    const uint8_t *bits = r->data + r->at;
    size_t n = out->n_models, bytes = (n + 7) / 8;
    if (r->failed || bytes > r->size - r->at) {
        r->failed = true;
        return;
    }
    r->at += bytes;
    for (size_t m = 0; m < n; m++) {
        out->eligible[m] = bits[m / 8] >> m % 8 & 1;
        out->quality[m] = out->cost[m] = NAN;
        out->propensity[m] = certain && m == out->model;
        if (!out->eligible[m]) continue;
        out->quality[m] = (double)get_f32(r);
        out->cost[m] = (double)get_f32(r);
        if (!certain) out->propensity[m] = (double)get_f32(r);
    }
}

static bool is_chance(double p) {
    return p >= 0 && p <= 1 + 1e-6;
}

static void get_trial(weirp_log_record *out, weirp_bytes *r, arena *a) {
    weirp_trial *t = &out->trial;
    double *p = (double *)t->propensity; /* make_room's */
    t->digest = weirp_get_u64(r);
    t->step = get_u8(r);
    t->arm = get_u8(r) != 0;
    t->share = weirp_get_f64(r);
    t->name = take_text(a, r, get_u8(r));
    if (!(t->share >= 0 && t->share < 1)) r->failed = true;
    for (size_t m = 0; m < out->n_models; m++) {
        p[m] = out->eligible[m] ? (double)get_f32(r) : 0;
        if (!is_chance(p[m])) r->failed = true;
    }
}

static void get_account(weirp_served *s, weirp_bytes *r, arena *a) {
    unsigned action = get_u8(r);
    if (action >= WEIRP_N_BUDGET_ACTIONS) r->failed = true;
    s->budget_action = (weirp_budget_action)action;
    const char **const texts[] = {&s->key, &s->team, &s->user, &s->tag, &s->budget};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t n = get_u8(r);
        if (n) *texts[i] = take_text(a, r, n);
    }
}

static void get_served(weirp_log_record *out, uint32_t version, weirp_bytes *r, arena *a) {
    weirp_served *s = &out->served;
    uint8_t flags = get_u8(r);
    s->streamed = flags & WEIRP_SERVED_STREAMED;
    s->client_gone = flags & WEIRP_SERVED_GONE;
    s->pinned = flags & WEIRP_SERVED_PINNED;
    s->usage_estimated = flags & WEIRP_SERVED_ESTIMATED;
    s->usage.known = flags & WEIRP_USAGE_KNOWN;
    s->usage.estimated = flags & WEIRP_USAGE_ESTIMATED;
    s->model = get_u16(r);
    if (s->model == WEIRP_NOBODY)
        s->model = (size_t)-1;
    else if (s->model >= out->n_models)
        r->failed = true;
    s->status = get_u16(r);
    int64_t *counts[] = {&s->usage.input_tokens,       &s->usage.cached_input_tokens, &s->usage.cache_write_tokens,
                         &s->usage.audio_input_tokens, &s->usage.output_tokens,       &s->usage.reasoning_tokens,
                         &s->usage.audio_output_tokens};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) *counts[i] = get_count(r);
    s->predicted_cost_usd = (double)get_f32(r);
    s->cost_usd = weirp_get_f64(r);
    s->latency_ms = (double)get_f32(r);
    s->first_token_ms = (double)get_f32(r);
    s->price_version = weirp_get_u64(r);
    s->features_version = out->features_version;
    s->api = take_text(a, r, get_u8(r));
    s->request_id = take_text(a, r, get_u8(r));
    s->n_attempts = get_u8(r);
    if (s->n_attempts > WEIRP_MAX_ATTEMPTS) r->failed = true;
    for (size_t i = 0; !r->failed && i < s->n_attempts; i++) {
        weirp_attempt *t = &s->attempt[i];
        t->model = get_u16(r);
        copy_short_text(r, t->deployment, sizeof t->deployment);
        copy_short_text(r, t->result, sizeof t->result);
        t->status = get_u16(r);
        t->started_ms = get_f32(r);
        t->ms = get_f32(r);
        t->cost_usd = version == VERSION_2 ? (double)get_f32(r) : weirp_get_f64(r);
        if (t->model >= out->n_models) r->failed = true;
    }
    s->key = s->team = s->user = s->tag = s->budget = NULL;
    s->budget_action = WEIRP_BUDGET_NONE;
    if (version > VERSION_2) get_account(s, r, a);
    s->prompt = NULL;
    s->prompt_len = 0;
    if (r->failed || !(flags & WEIRP_SERVED_PROMPT)) return;
    s->prompt_len = weirp_get_u32(r);
    s->prompt = take_text(a, r, s->prompt_len);
}

static void get_outcomes(weirp_log_record *out, weirp_bytes *r) {
    for (uint32_t i = 0; i < out->n_outcomes; i++) {
        out->outcome_model[i] = get_u16(r);
        weirp_get(r, &out->outcome[i], sizeof out->outcome[i]);
        if (out->outcome_model[i] >= out->n_models) r->failed = true;
    }
}

static void get_feedback(weirp_log_record *out, weirp_bytes *r, arena *a) {
    out->label_model = get_u16(r);
    out->label = weirp_get_f64(r);
    out->stale = get_u8(r) != 0;
    out->source = take_text(a, r, get_u8(r));
    /* the model may have joined the pool after the decision */
    if (out->label_model >= WEIR_MAX_MODELS || !(out->label >= 0 && out->label <= 1)) r->failed = true;
}

static void decode_2(weirp_log_record *out, uint32_t version, weirp_bytes *r, arena *a) {
    claims c = get_claims(out, r);
    if (r->failed) return;
    /* outcomes are counted where they stand, which is past everything of variable length: as many as could be */
    size_t most = out->kind == WEIRP_RECORD_LEARNED ? (r->size - r->at) / (2 + sizeof(weir_outcome)) : 0;
    if (!make_room(out, c.n_models, most, c.dim, r->size, a)) return;
    if (c.flags & WEIRP_HEAD_OWN_ID) {
        uint64_t number = weirp_get_u64(r);
        char *id = (char *)a->at;
        a->at += WEIRP_ID_SIZE;
        weirp_id_print(id, number, weirp_get_u32(r));
        out->id = id;
    } else {
        out->id = take_text(a, r, weirp_get_u32(r));
    }
    get_models(out, r, c.flags & WEIRP_HEAD_CERTAIN);
    if (version > VERSION_3 && c.flags & WEIRP_HEAD_TRIAL) get_trial(out, r, a);
    weirp_get(r, out->dense, c.dim * sizeof(float));
    if (r->failed) return;
    if (out->kind == WEIRP_RECORD_SERVED) {
        get_served(out, version, r, a);
    } else if (out->kind == WEIRP_RECORD_FEEDBACK) {
        get_feedback(out, r, a);
    } else {
        out->n_outcomes = get_u16(r);
        if (out->n_outcomes > most) r->failed = true;
        if (!r->failed) get_outcomes(out, r);
    }
}

/* ---- the call ---- */

weirp_kind_of_record weirp_log_kind(const uint8_t *data, size_t size) {
    uint32_t version = 0;
    if (size > 4) memcpy(&version, data, 4);
    return version >= VERSION_2 && version <= WEIRP_RECORD_VERSION && data[4] < WEIRP_N_KINDS_OF_RECORDS
               ? (weirp_kind_of_record)data[4]
               : WEIRP_RECORD_LEARNED;
}

/* Everything but the memory, and the attempts, of which only so many are looked at as are counted. */
static void blank(weirp_log_record *r) {
    uint8_t *memory = r->memory;
    size_t capacity = r->capacity;
    memset(r, 0, offsetof(weirp_log_record, served));
    r->served.n_attempts = 0;
    r->label_model = 0;
    r->label = NAN;
    r->source = "";
    r->stale = false;
    r->memory = memory;
    r->capacity = capacity;
}

weir_status weirp_log_decode(weirp_log_record *record, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {data, size, 0, false, false};
    arena a = {0};
    blank(record);
    uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > WEIRP_RECORD_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "a log record is version %u; this weir reads up to %u: update weir",
                          version, WEIRP_RECORD_VERSION);
    if (version == VERSION_1)
        decode_1(record, &r, &a);
    else if (version >= VERSION_2)
        decode_2(record, version, &r, &a);
    else
        r.failed = true;
    if (a.failed) return weirp_nomem(err);
    return r.failed ? weirp_fail(err, WEIR_CORRUPT, 0, "a log record is damaged") : WEIR_OK;
}

uint64_t weirp_record_number(const uint8_t *record, size_t size) {
    enum { AT_FLAGS = 7, AT_ID = 38 };
    weirp_bytes r = {.data = record, .size = size};
    if (size < AT_ID + 8 || weirp_get_u32(&r) == VERSION_1 || !(record[AT_FLAGS] & WEIRP_HEAD_OWN_ID)) return 0;
    r.at = AT_ID;
    return weirp_get_u64(&r);
}

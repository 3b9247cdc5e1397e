/* budget.c: limits: what may be said, whom they cover, whose account it is, bytes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/budget.h"

#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"

/* ---- names ---- */

static const char *const unit_names[WEIRP_N_UNITS] = {"usd", "tokens", "requests"};
static const char *const dimension_names[WEIRP_N_DIMS] = {"key", "team", "user", "tag", "model", "provider"};
static const char *const exhausted_names[WEIRP_N_EXHAUSTED] = {"cheaper", "refuse"};

static const char *name_of(const char *const *names, int n, int at) {
    return at >= 0 && at < n ? names[at] : "unknown";
}

static int find(const char *const *names, int n, const char *name) {
    for (int i = 0; name && i < n; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

const char *weirp_unit_name(weirp_unit unit) {
    return name_of(unit_names, WEIRP_N_UNITS, (int)unit);
}

const char *weirp_dimension_name(weirp_dimension dim) {
    return name_of(dimension_names, WEIRP_N_DIMS, (int)dim);
}

const char *weirp_exhausted_name(weirp_exhausted what) {
    return name_of(exhausted_names, WEIRP_N_EXHAUSTED, (int)what);
}

bool weirp_exhausted_find(const char *name, weirp_exhausted *what) {
    int at = find(exhausted_names, WEIRP_N_EXHAUSTED, name);
    if (at >= 0) *what = (weirp_exhausted)at;
    return at >= 0;
}

/* ---- checks ---- */

static const double MOST_WARNING = 10;

static bool ended(const char *text, size_t size) {
    return memchr(text, 0, size) != NULL;
}

static bool is_name(const char *text) {
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return len > 0 && !text[len];
}

static weir_status check_warnings(const weirp_budget *b, weir_error *err) {
    double before = 0;
    bool over = false;
    for (size_t i = 0; i < WEIRP_MAX_WARNINGS; i++) {
        double share = b->warn[i];
        if (share == 0) {
            over = true;
            continue;
        }
        if (!(share > before && share <= MOST_WARNING) || over)
            return weirp_fail(err, WEIR_INVALID, 0,
                              "budget \"%s\": warnings are up to %d shares of the limit above 0 and up to %g, the "
                              "smaller before the greater (0.5, 0.8, 1)",
                              b->name, WEIRP_MAX_WARNINGS, MOST_WARNING);
        before = share;
    }
    return WEIR_OK;
}

static weir_status check_match(const weirp_budget *b, weir_error *err) {
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        const char *text = b->match[d];
        bool good = ended(text, sizeof b->match[d]);
        size_t len = good ? strlen(text) : 0;
        good = good && weirp_utf8_valid(text, len) == len && (!strchr(text, '*') || !strcmp(text, "*"));
        for (size_t i = 0; good && i < len; i++) good = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
        if (!good)
            return weirp_fail(err, WEIR_INVALID, 0,
                              "budget \"%s\": what is matched as %s must be \"*\" (each by itself) or one name of up "
                              "to %d bytes of UTF-8, without \"*\" and control characters",
                              b->name, dimension_names[d], WEIRP_SCOPE_TEXT - 1);
    }
    return WEIR_OK;
}

static weir_status check_members(const weirp_budget *b, weir_error *err) {
    if (!ended(b->name, sizeof b->name) || !is_name(b->name))
        return weirp_fail(err, WEIR_INVALID, 0, "a budget's name is 1 to %d letters, digits, \"-\", \"_\" and \".\"",
                          WEIRP_BUDGET_NAME - 1);
    if (b->unit >= WEIRP_N_UNITS || b->period >= WEIRP_N_PERIODS || b->exhausted >= WEIRP_N_EXHAUSTED)
        return weirp_fail(err, WEIR_INVALID, 0,
                          "budget \"%s\": unit %d, period %d or what to do without money, %d, is none that there is",
                          b->name, (int)b->unit, (int)b->period, (int)b->exhausted);
    if (b->limit < 0) return weirp_fail(err, WEIR_INVALID, 0, "budget \"%s\": the limit must be 0 or more", b->name);
    if (!ended(b->zone, sizeof b->zone))
        return weirp_fail(err, WEIR_INVALID, 0, "budget \"%s\": a time zone has at most %d bytes", b->name,
                          WEIRP_ZONE_NAME - 1);
    weir_status st = check_warnings(b, err);
    return st ? st : check_match(b, err);
}

weir_status weirp_budget_check(const weirp_budget *budget, weir_error *err) {
    weir_status st = check_members(budget, err);
    if (st) return st;
    weirp_zone *zone;
    weir_error inner = {0};
    st = weirp_zone_open(&zone, budget->zone, &inner);
    weirp_zone_close(zone);
    return st ? weirp_fail(err, st, 0, "budget \"%s\": %s", budget->name, inner.text) : WEIR_OK;
}

/* ---- covering ---- */

static bool is_each(const weirp_budget *b, int dim) {
    return b->match[dim][0] == '*' && !b->match[dim][1];
}

bool weirp_budget_covers(const weirp_budget *budget, const weirp_subject *subject) {
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        const char *value = subject->value[d];
        if (!budget->match[d][0]) continue;
        if (!value || !*value || (!is_each(budget, d) && strcmp(value, budget->match[d]) != 0)) return false;
    }
    return true;
}

bool weirp_budget_needs_model(const weirp_budget *budget) {
    return budget->match[WEIRP_DIM_MODEL][0] || budget->match[WEIRP_DIM_PROVIDER][0];
}

/* ---- account keys: u32 id, u64 start with the sign's bit turned, both big-endian; a value: u8 length, bytes ---- */

enum { IS_DIGEST = 0x80 }; /* in the length: so that no name can pass for another one's digest */

static size_t put_ordered(uint8_t *out, uint64_t v, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return bytes;
}

static uint64_t get_ordered(const uint8_t *in, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++) v = v << 8 | in[i];
    return v;
}

void weirp_account_key_of(const weirp_budget *budget, int64_t period_start, const weirp_subject *subject,
                          weirp_account_key *key) {
    uint8_t *at = key->bytes;
    at += put_ordered(at, budget->id, 4);
    at += put_ordered(at, (uint64_t)period_start ^ UINT64_C(1) << 63, 8);
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        if (!is_each(budget, d)) continue;
        size_t len = strlen(subject->value[d]);
        if (len <= WEIRP_ACCOUNT_VALUE) {
            *at++ = (uint8_t)len;
            memcpy(at, subject->value[d], len);
            at += len;
        } else {
            *at++ = IS_DIGEST | SHA256_DIGEST_LENGTH;
            SHA256((const unsigned char *)subject->value[d], len, at);
            at += SHA256_DIGEST_LENGTH;
        }
    }
    key->size = (size_t)(at - key->bytes);
}

static void show_value(char *text, size_t size, const uint8_t *value, size_t len, bool digest) {
    if (!digest) {
        weirp_excerpt(text, size, (const char *)value, len);
        return;
    }
    size_t n = (size_t)snprintf(text, size, "sha256:");
    for (size_t i = 0; i < len; i++) n += (size_t)snprintf(text + n, size - n, "%02x", value[i]);
}

bool weirp_account_key_read(const weirp_budget *budget, const uint8_t *key, size_t size, int64_t *period_start,
                            char scope[WEIRP_ACCOUNT_SCOPE]) {
    size_t at = 12, n = 0;
    scope[0] = 0;
    if (size < at || get_ordered(key, 4) != budget->id) return false;
    *period_start = (int64_t)(get_ordered(key + 4, 8) ^ UINT64_C(1) << 63);
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        if (!is_each(budget, d)) continue;
        if (at == size) return false;
        bool digest = key[at] & IS_DIGEST;
        size_t len = key[at++] & ~(unsigned)IS_DIGEST;
        if (len > size - at || len > WEIRP_ACCOUNT_VALUE || (digest && len != SHA256_DIGEST_LENGTH)) return false;
        char text[72]; /* "sha256:", 64 digits, or as many bytes */
        show_value(text, sizeof text, key + at, len, digest);
        at += len;
        n += (size_t)snprintf(scope + n, WEIRP_ACCOUNT_SCOPE - n, "%s%s=%s", n ? " " : "", dimension_names[d], text);
    }
    return at == size;
}

/* ---- bytes ---- */

enum { BYTES_VERSION = 1 };

void weirp_budget_encode(const weirp_budget *b, weirp_writer *w) {
    weirp_put_u32(w, BYTES_VERSION);
    weirp_put_u32(w, b->id);
    weirp_put_text(w, b->name);
    weirp_put_u32(w, b->unit);
    weirp_put_u64(w, (uint64_t)b->limit);
    weirp_put_u32(w, b->period);
    weirp_put_text(w, b->zone);
    weirp_put_u32(w, b->hard);
    weirp_put_u32(w, b->exhausted);
    for (size_t i = 0; i < WEIRP_MAX_WARNINGS; i++) weirp_put_f64(w, b->warn[i]);
    for (size_t d = 0; d < WEIRP_N_DIMS; d++) weirp_put_text(w, b->match[d]);
}

static void get_text(weirp_bytes *r, char *out, size_t size) {
    uint64_t n = weirp_get_u64(r);
    if (r->failed || n >= size) {
        r->failed = true;
        return;
    }
    weirp_get(r, out, (size_t)n);
    out[n] = 0;
    if (strlen(out) != n) r->failed = true;
}

weir_status weirp_budget_decode(weirp_budget *b, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {.data = data, .size = size};
    *b = (weirp_budget){0};
    uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > BYTES_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "a stored budget was written by a newer version");
    b->id = weirp_get_u32(&r);
    get_text(&r, b->name, sizeof b->name);
    b->unit = (weirp_unit)weirp_get_u32(&r);
    b->limit = (int64_t)weirp_get_u64(&r);
    b->period = (weirp_period_kind)weirp_get_u32(&r);
    get_text(&r, b->zone, sizeof b->zone);
    uint32_t hard = weirp_get_u32(&r);
    b->hard = hard == 1;
    b->exhausted = (weirp_exhausted)weirp_get_u32(&r);
    for (size_t i = 0; i < WEIRP_MAX_WARNINGS; i++) b->warn[i] = weirp_get_f64(&r);
    for (size_t d = 0; d < WEIRP_N_DIMS; d++) get_text(&r, b->match[d], sizeof b->match[d]);
    if (r.failed || r.at != size || version != BYTES_VERSION || hard > 1 || check_members(b, NULL) != WEIR_OK) {
        *b = (weirp_budget){0};
        return weirp_fail(err, WEIR_CORRUPT, 0, "a stored budget is damaged");
    }
    return WEIR_OK;
}

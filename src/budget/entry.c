/* entry.c: bytes of entries. A batch is written once and never changed; numbers take as few bytes as they need, so that
 * a settled call takes some 60. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <string.h>

#include "src/budget/books.h"

enum { BATCH_VERSION = 1, PACKED_ID = 12 };
enum { ID_NONE, ID_PACKED, ID_TEXT };
/* Second byte of an entry. */
enum { HAS_CALL = 1, OVERRUN = 2, USAGE_KNOWN = 4, USAGE_ESTIMATED = 8, UNPROVEN = 16, ALL_FLAGS = 31 };

/* 7 bits a byte, the lowest first; bit 7: more follow. */
static uint8_t *put_number(uint8_t *at, uint64_t n) {
    for (; n >= 128; n >>= 7) *at++ = (uint8_t)(n | 128);
    *at++ = (uint8_t)n;
    return at;
}

static uint64_t get_number(weirp_bytes *r) {
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at >= r->size) break;
        uint8_t byte = r->data[r->at++];
        n |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128)) return n;
    }
    r->failed = true;
    return 0;
}

/* Counts and amounts: never negative. */
static int64_t get_amount(weirp_bytes *r) {
    uint64_t n = get_number(r);
    r->failed |= n > INT64_MAX;
    return r->failed ? 0 : (int64_t)n;
}

/* Signed numbers near 0 in few bytes: 0, -1, 1, -2, ... */
static uint64_t folded(int64_t n) {
    return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
}

static int64_t unfolded(uint64_t n) {
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Ids of ours are "weir-" and 24 hexadecimal digits, lower case. */
static bool pack_id(const char *id, uint8_t out[PACKED_ID]) {
    if (strncmp(id, "weir-", 5) != 0 || strlen(id) != 5 + 2 * PACKED_ID) return false;
    for (int i = 0; i < PACKED_ID; i++) {
        int high = hex_value(id[5 + 2 * i]), low = hex_value(id[6 + 2 * i]);
        if (high < 0 || low < 0) return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void unpack_id(const uint8_t in[PACKED_ID], char *out) {
    static const char DIGITS[] = "0123456789abcdef";
    memcpy(out, "weir-", 5);
    for (int i = 0; i < PACKED_ID; i++) {
        out[5 + 2 * i] = DIGITS[in[i] >> 4];
        out[6 + 2 * i] = DIGITS[in[i] & 15];
    }
    out[5 + 2 * PACKED_ID] = '\0';
}

static uint8_t *put_id(uint8_t *at, const char *id) {
    uint8_t packed[PACKED_ID];
    if (!id) {
        *at++ = ID_NONE;
    } else if (pack_id(id, packed)) {
        *at++ = ID_PACKED;
        memcpy(at, packed, PACKED_ID);
        at += PACKED_ID;
    } else {
        size_t n = strnlen(id, WEIRP_ENTRY_ID - 1);
        *at++ = ID_TEXT;
        *at++ = (uint8_t)n;
        memcpy(at, id, n);
        at += n;
    }
    return at;
}

static bool get_id(weirp_bytes *r, char out[WEIRP_ENTRY_ID], const char **id) {
    uint8_t kind, n, packed[PACKED_ID];
    weirp_get(r, &kind, 1);
    *id = kind == ID_NONE ? NULL : out;
    if (kind == ID_PACKED) {
        weirp_get(r, packed, PACKED_ID);
        unpack_id(packed, out);
    } else if (kind == ID_TEXT) {
        weirp_get(r, &n, 1);
        if (n >= WEIRP_ENTRY_ID) return false;
        weirp_get(r, out, n);
        out[n] = '\0';
        if (strlen(out) != n) return false;
    } else if (kind != ID_NONE) {
        return false;
    }
    return !r->failed;
}

#define COUNTS(X)                                                                                                      \
    X(input_tokens)                                                                                                    \
    X(cached_input_tokens)                                                                                             \
    X(cache_write_tokens) X(audio_input_tokens) X(output_tokens) X(reasoning_tokens) X(audio_output_tokens)

static uint8_t *put_call(uint8_t *at, const weirp_entry *e, const uint32_t texts[WEIRP_N_DIMS]) {
    at = put_id(at, e->id);
    at = put_number(at, e->attempt);
    memcpy(at, &e->price_version, 8);
    at += 8;
    for (int d = 0; d < WEIRP_N_DIMS; d++) at = put_number(at, texts[d]);
#define PUT(member) at = put_number(at, e->usage.member > 0 ? (uint64_t)e->usage.member : 0);
    COUNTS(PUT)
#undef PUT
    for (int u = 0; u < WEIRP_N_UNITS; u++) at = put_number(at, e->amount[u] > 0 ? (uint64_t)e->amount[u] : 0);
    return at;
}

static bool get_call(weirp_entry_reader *reader, weirp_bytes *r, weirp_entry *e) {
    if (!get_id(r, reader->id, &e->id)) return false;
    e->attempt = (unsigned)get_number(r);
    e->price_version = weirp_get_u64(r);
    for (int d = 0; d < WEIRP_N_DIMS; d++) reader->texts[d] = (uint32_t)get_number(r);
#define GET(member) e->usage.member = get_amount(r);
    COUNTS(GET)
#undef GET
    for (int u = 0; u < WEIRP_N_UNITS; u++) e->amount[u] = get_amount(r);
    return !r->failed;
}

size_t weirp_entry_encode(const weirp_entry *e, int64_t base_ms, const uint32_t texts[WEIRP_N_DIMS],
                          uint8_t bytes[WEIRP_ENTRY_MOST]) {
    uint8_t *at = bytes;
    bool call = e->kind == WEIRP_ENTRY_SETTLE;
    *at++ = (uint8_t)e->kind;
    *at++ = (uint8_t)((call ? HAS_CALL : 0) | (e->overrun ? OVERRUN : 0) | (e->usage.known ? USAGE_KNOWN : 0) |
                      (e->usage.estimated ? USAGE_ESTIMATED : 0) | (e->unproven ? UNPROVEN : 0));
    at = put_number(at, folded((int64_t)((uint64_t)e->at_ms - (uint64_t)base_ms)));
    at = put_number(at, e->process);
    if (call) at = put_call(at, e, texts);
    at = put_number(at, e->n_postings);
    for (size_t i = 0; i < e->n_postings; i++) {
        const weirp_posting *p = &e->postings[i];
        at = put_number(at, p->account);
        *at++ = (uint8_t)(p->from << 4 | p->to);
        at = put_number(at, (uint64_t)p->amount);
    }
    return (size_t)(at - bytes);
}

weir_status weirp_batch_open(weirp_entry_reader *reader, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {.data = data, .size = size};
    uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > BATCH_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "entries were written by a newer version");
    memset(reader, 0, sizeof *reader);
    reader->data = data;
    reader->size = size;
    reader->n = weirp_get_u32(&r);
    reader->base_ms = (int64_t)weirp_get_u64(&r);
    reader->at = r.at;
    return r.failed ? weirp_fail(err, WEIR_CORRUPT, 0, "a batch of entries is cut off") : WEIR_OK;
}

static bool get_postings(weirp_bytes *r, weirp_entry *e) {
    uint64_t n = get_number(r);
    if (r->failed || n > WEIRP_MAX_POSTINGS) return false;
    e->n_postings = (size_t)n;
    for (size_t i = 0; i < n; i++) {
        uint8_t way;
        weirp_posting *p = &e->postings[i];
        p->account = get_number(r);
        weirp_get(r, &way, 1);
        p->from = (weirp_bucket)(way >> 4);
        p->to = (weirp_bucket)(way & 15);
        p->amount = get_amount(r);
        if (r->failed || p->from >= WEIRP_N_BUCKETS || p->to >= WEIRP_N_BUCKETS) return false;
    }
    return true;
}

weir_status weirp_batch_next(weirp_entry_reader *reader, weirp_entry *e, weir_error *err) {
    weirp_bytes r = {.data = reader->data, .size = reader->size, .at = reader->at};
    uint8_t head[2];
    if (!reader->n && reader->at == reader->size) return WEIR_END;
    memset(e, 0, offsetof(weirp_entry, postings));
    memset(&e->id, 0, sizeof *e - offsetof(weirp_entry, id));
    memset(reader->texts, 0, sizeof reader->texts);
    weirp_get(&r, head, 2);
    e->kind = (weirp_entry_kind)head[0];
    e->at_ms = (int64_t)((uint64_t)reader->base_ms + (uint64_t)unfolded(get_number(&r)));
    e->process = (uint32_t)get_number(&r);
    e->overrun = head[1] & OVERRUN;
    e->unproven = head[1] & UNPROVEN;
    e->usage.known = head[1] & USAGE_KNOWN;
    e->usage.estimated = head[1] & USAGE_ESTIMATED;
    bool fine = reader->n && !r.failed && head[0] < WEIRP_N_ENTRIES && head[1] <= ALL_FLAGS &&
                !(head[1] & HAS_CALL) == (head[0] != WEIRP_ENTRY_SETTLE);
    if (fine && (head[1] & HAS_CALL)) fine = get_call(reader, &r, e);
    if (!fine || !get_postings(&r, e)) return weirp_fail(err, WEIR_CORRUPT, 0, "an entry is damaged");
    reader->at = r.at;
    reader->n--;
    return WEIR_OK;
}

typedef struct scanning {
    weirp_raw_visit visit;
    void *user;
    uint64_t expected;
} scanning;

static weir_status scan_batch(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                              weir_error *err) {
    scanning *s = user;
    weirp_entry_reader reader;
    weirp_entry entry;
    if (key_size != 10 || weirp_be64(key + 2) != s->expected)
        return weirp_fail(err, WEIR_CORRUPT, 0, "entry %llu isn't where it should be", (unsigned long long)s->expected);
    weir_status st = weirp_batch_open(&reader, data, size, err);
    while (!st) {
        st = weirp_batch_next(&reader, &entry, err);
        if (st == WEIR_END) return WEIR_OK;
        if (!st) st = s->visit(s->user, s->expected++, &entry, reader.texts, err);
    }
    return st;
}

weir_status weirp_entries_scan(weirp_txn *txn, weirp_raw_visit visit, void *user, uint64_t *n_entries,
                               weir_error *err) {
    scanning s = {.visit = visit, .user = user};
    weir_status st = weirp_txn_scan(txn, WEIRP_ROW_ENTRIES, 2, NULL, 0, scan_batch, &s, err);
    if (n_entries) *n_entries = s.expected;
    return st;
}

/* ---- what is on its way ---- */

void weirp_spooled_entry(const weirp_spooled *t, const char *texts, weirp_entry *e) {
    memset(e, 0, offsetof(weirp_entry, postings));
    e->kind = WEIRP_ENTRY_SETTLE;
    e->at_ms = t->at_ms;
    e->attempt = t->attempt;
    e->price_version = t->price_version;
    e->usage = t->usage;
    e->overrun = e->unproven = false;
    memcpy(e->amount, t->amount, sizeof e->amount);
    e->id = *texts ? texts : NULL;
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        texts += strlen(texts) + 1;
        e->subject.value[d] = *texts ? texts : NULL;
    }
}

size_t weirp_slot_encode(uint64_t call, const uint64_t *accounts, const int64_t *worst, size_t n,
                         uint8_t bytes[WEIRP_SPOOL_SLOT]) {
    uint8_t *at = bytes, part[24];
    memcpy(at, &call, 8);
    at[8] = (uint8_t)n;
    at += 9;
    for (size_t i = 0; i < n; i++) {
        uint8_t *end = put_number(put_number(part, accounts[i]), (uint64_t)worst[i]);
        size_t size = (size_t)(end - part);
        if ((size_t)(at - bytes) + size > WEIRP_SPOOL_SLOT) return 0;
        memcpy(at, part, size);
        at += size;
    }
    return (size_t)(at - bytes);
}

bool weirp_slot_decode(const uint8_t *bytes, size_t size, uint64_t *call, uint64_t *accounts, int64_t *worst,
                       size_t *n) {
    weirp_bytes r = {.data = bytes, .size = size};
    uint8_t count;
    *call = weirp_get_u64(&r);
    weirp_get(&r, &count, 1);
    if (r.failed || count > WEIRP_SPOOLED_PARTS) return false;
    *n = count;
    for (size_t i = 0; i < count; i++) {
        accounts[i] = get_number(&r);
        worst[i] = get_amount(&r);
    }
    return !r.failed;
}

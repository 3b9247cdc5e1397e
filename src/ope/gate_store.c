/* gate_store.c: see gate_store.h. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/gate_store.h"

#include <string.h>

#define CONFIGURED_VERSION 1u
/* In front of a stopped one's state: when it was stopped, i64. */
#define STOPPED_HEAD 8

typedef struct key {
    uint8_t bytes[sizeof WEIRP_GATE_STOPPED_KEY - 1 + 8];
} key;

static key stopped_key(uint64_t digest) {
    key k;
    const size_t at = sizeof WEIRP_GATE_STOPPED_KEY - 1;
    memcpy(k.bytes, WEIRP_GATE_STOPPED_KEY, at);
    for (size_t i = 0; i < 8; i++) k.bytes[at + i] = (uint8_t)(digest >> (8 * i));
    return k;
}

/* Frees the writer. */
static weir_status put(weirp_txn *txn, const void *at, size_t size, weirp_writer *w, weir_error *err) {
    weir_status st = w->failed ? weirp_nomem(err) : weirp_txn_put(txn, at, size, w->data, w->size, err);
    weirp_writer_free(w);
    return st;
}

/* ---- the one that was configured last ---- */

weir_status weirp_gate_read(weirp_txn *txn, weirp_gate *gate, weir_error *err) {
    const uint8_t *data;
    size_t size;
    weir_status st = weirp_txn_get(txn, WEIRP_GATE_KEY, sizeof WEIRP_GATE_KEY - 1, &data, &size, err);
    return st == WEIR_OK ? weirp_gate_load(gate, data, size, err) : st;
}

weir_status weirp_gate_write(weirp_txn *txn, const weirp_gate *gate, weir_error *err) {
    weirp_writer w = {0};
    weirp_gate_save(gate, &w);
    return put(txn, WEIRP_GATE_KEY, sizeof WEIRP_GATE_KEY - 1, &w, err);
}

/* ---- those that were stopped ---- */

typedef struct oldest {
    size_t n;
    int64_t stopped_ms;
    key key;
} oldest;

static weir_status find_oldest(void *user, const uint8_t *at, size_t at_size, const uint8_t *data, size_t size,
                               weir_error *err) {
    oldest *o = user;
    weirp_bytes r = {.data = data, .size = size};
    const int64_t stopped_ms = (int64_t)weirp_get_u64(&r);
    (void)err;
    if (at_size != sizeof o->key.bytes) return WEIR_OK;
    if (!o->n++ || stopped_ms < o->stopped_ms) {
        o->stopped_ms = stopped_ms;
        memcpy(o->key.bytes, at, at_size);
    }
    return WEIR_OK;
}

/* Room for one more. */
static weir_status make_room(weirp_txn *txn, weir_error *err) {
    oldest o = {.n = 0};
    weir_status st =
        weirp_txn_scan(txn, WEIRP_GATE_STOPPED_KEY, sizeof WEIRP_GATE_STOPPED_KEY - 1, NULL, 0, find_oldest, &o, err);
    if (st != WEIR_OK || o.n < WEIRP_GATE_STOPPED_KEPT) return st;
    return weirp_txn_delete(txn, o.key.bytes, sizeof o.key.bytes, err);
}

weir_status weirp_gate_keep_stopped(weirp_txn *txn, uint64_t digest, weir_error *err) {
    weirp_gate gate;
    weir_error why = {0};
    const uint8_t *data;
    size_t size;
    weir_status st = weirp_gate_read(txn, &gate, &why);
    /* one that is damaged has been complained of */
    if (st == WEIR_NOTFOUND || st == WEIR_CORRUPT || st == WEIR_NEWER) return WEIR_OK;
    if (st != WEIR_OK) return weirp_fail(err, st, 0, "%s", why.text);
    if (gate.plan.digest == digest || gate.status != WEIRP_GATE_STOPPED) return WEIR_OK;
    const key k = stopped_key(gate.plan.digest);
    st = weirp_txn_get(txn, k.bytes, sizeof k.bytes, &data, &size, err);
    if (st == WEIR_NOTFOUND) st = make_room(txn, err);
    if (st != WEIR_OK) return st;
    weirp_writer w = {0};
    weirp_put_u64(&w, (uint64_t)(gate.n_events ? gate.event[gate.n_events - 1].time_ms : gate.since_ms));
    weirp_gate_save(&gate, &w);
    return put(txn, k.bytes, sizeof k.bytes, &w, err);
}

weir_status weirp_gate_read_stopped(weirp_txn *txn, uint64_t digest, weirp_gate *gate, weir_error *err) {
    const uint8_t *data;
    size_t size;
    const key k = stopped_key(digest);
    weir_status st = weirp_txn_get(txn, k.bytes, sizeof k.bytes, &data, &size, err);
    if (st != WEIR_OK) return st;
    const size_t head = size < STOPPED_HEAD ? size : STOPPED_HEAD;
    st = weirp_gate_load(gate, data + head, size - head, err);
    if (st == WEIR_OK && (gate->plan.digest != digest || gate->status != WEIRP_GATE_STOPPED))
        st = weirp_fail(err, WEIR_CORRUPT, 0, "a rollout's state is damaged");
    return st;
}

/* ---- what is configured ---- */

weir_status weirp_gate_read_configured(weirp_txn *txn, weirp_gate_configured *out, weir_error *err) {
    const uint8_t *data;
    size_t size;
    const size_t key_size = sizeof WEIRP_GATE_CONFIGURED_KEY - 1;
    weir_status st = weirp_txn_get(txn, WEIRP_GATE_CONFIGURED_KEY, key_size, &data, &size, err);
    if (st != WEIR_OK) return st;
    weirp_bytes r = {.data = data, .size = size};
    const uint32_t version = weirp_get_u32(&r);
    out->digest = weirp_get_u64(&r);
    out->since_ms = (int64_t)weirp_get_u64(&r);
    if (!r.failed && version > CONFIGURED_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "what is configured is version %u; this weir reads up to %u: update weir",
                          version, CONFIGURED_VERSION);
    return r.failed || !version || r.at != size
               ? weirp_fail(err, WEIR_CORRUPT, 0, "what is configured of rollouts is damaged")
               : WEIR_OK;
}

weir_status weirp_gate_write_configured(weirp_txn *txn, const weirp_gate_configured *configured, weir_error *err) {
    weirp_gate_configured before;
    weir_error why = {0};
    weirp_writer w = {0};
    if (weirp_gate_read_configured(txn, &before, &why) == WEIR_OK && before.digest == configured->digest)
        return WEIR_OK;
    weirp_put_u32(&w, CONFIGURED_VERSION);
    weirp_put_u64(&w, configured->digest);
    weirp_put_u64(&w, (uint64_t)configured->since_ms);
    return put(txn, WEIRP_GATE_CONFIGURED_KEY, sizeof WEIRP_GATE_CONFIGURED_KEY - 1, &w, err);
}

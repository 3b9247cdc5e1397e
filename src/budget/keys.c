/* keys.c: all keys in memory, found by digest. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/keys.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 512 }; /* bytes of what a client shows as its key; ours have 51 */

/* A digest in the table: a key's own, or the one before it. */
typedef struct entry {
    const uint8_t *digest; /* in its key; NULL: free */
    const weirp_key *key;
} entry;

struct weirp_keys {
    atomic_size_t refs;
    _Atomic int64_t latest_ms; /* that anybody has asked at */
    uint64_t version;
    size_t n, capacity, n_unreadable;
    weirp_key *key; /* (n) */
    size_t n_slots; /* a power of two, at least twice the digests */
    entry *slot;    /* (n_slots), open addressing */
    weirp_arena arena;
};

/* ---- loading ---- */

weir_status weirp_keys_version(weirp_snapshot *snapshot, uint64_t *version, weir_error *err) {
    const uint8_t *data;
    size_t size;
    *version = 0;
    weir_status st =
        weirp_txn_get(weirp_snapshot_table(snapshot), WEIRP_KEYS_COUNT, sizeof WEIRP_KEYS_COUNT - 1, &data, &size, err);
    if (st == WEIR_NOTFOUND) return WEIR_OK;
    if (st != WEIR_OK) return st;
    if (size != sizeof *version) return weirp_fail(err, WEIR_CORRUPT, 0, "the count of changed keys is damaged");
    memcpy(version, data, sizeof *version);
    return WEIR_OK;
}

static weir_status visit(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                         weir_error *err) {
    weirp_keys *k = user;
    const size_t skip = sizeof WEIRP_KEYS_PREFIX - 1;
    if (!weirp_reserve((void **)&k->key, &k->capacity, k->n + 1, sizeof *k->key)) return weirp_nomem(err);
    weir_error quiet = {0};
    weir_status st =
        weirp_key_decode(&k->key[k->n], (const char *)key + skip, key_size - skip, data, size, &k->arena, &quiet);
    if (st == WEIR_NOMEM) return weirp_nomem(err);
    if (st == WEIR_OK)
        k->n++;
    else
        k->n_unreadable++;
    return WEIR_OK;
}

/* The digest's own first bytes are the hash: whoever made them couldn't choose them. */
static size_t place(const weirp_keys *k, const uint8_t *digest) {
    uint64_t first;
    memcpy(&first, digest, sizeof first);
    return (size_t)first & (k->n_slots - 1);
}

static void insert(weirp_keys *k, const uint8_t *digest, const weirp_key *key) {
    size_t at = place(k, digest);
    while (k->slot[at].digest) at = (at + 1) & (k->n_slots - 1);
    k->slot[at] = (entry){digest, key};
}

static weir_status build(weirp_keys *k, weir_error *err) {
    k->n_slots = 16;
    while (k->n_slots < 4 * k->n) k->n_slots *= 2;
    k->slot = weirp_array(k->n_slots, sizeof *k->slot);
    if (!k->slot) return weirp_nomem(err);
    for (size_t i = 0; i < k->n; i++) {
        insert(k, k->key[i].digest, &k->key[i]);
        if (k->key[i].previous_until_ms) insert(k, k->key[i].previous, &k->key[i]);
    }
    return WEIR_OK;
}

weir_status weirp_keys_load(weirp_keys **out, weirp_snapshot *snapshot, const weirp_keys *earlier, weir_error *err) {
    weir_status st;
    weirp_keys *k = weirp_array(1, sizeof *k);
    if (!k) return weirp_nomem(err);
    atomic_init(&k->refs, 1);
    atomic_init(&k->latest_ms, earlier ? atomic_load_explicit(&earlier->latest_ms, memory_order_relaxed) : 0);
    WEIRP_TRY(weirp_keys_version(snapshot, &k->version, err));
    WEIRP_TRY(weirp_txn_scan(weirp_snapshot_table(snapshot), WEIRP_KEYS_PREFIX, sizeof WEIRP_KEYS_PREFIX - 1, NULL, 0,
                             visit, k, err));
    WEIRP_TRY(build(k, err));
    *out = k;
    return WEIR_OK;
done:
    weirp_keys_drop(k);
    return st;
}

weirp_keys *weirp_keys_keep(weirp_keys *keys) {
    atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void weirp_keys_drop(weirp_keys *keys) {
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) != 1) return;
    weirp_arena_free(&keys->arena);
    free(keys->key);
    free(keys->slot);
    free(keys);
}

size_t weirp_keys_n_unreadable(const weirp_keys *keys) {
    return keys->n_unreadable;
}

uint64_t weirp_keys_loaded_version(const weirp_keys *keys) {
    return keys->version;
}

/* ---- finding ---- */

static int64_t latest(weirp_keys *keys, int64_t now_ms) {
    int64_t seen = atomic_load_explicit(&keys->latest_ms, memory_order_relaxed);
    while (now_ms > seen && !atomic_compare_exchange_weak_explicit(&keys->latest_ms, &seen, now_ms,
                                                                   memory_order_relaxed, memory_order_relaxed)) {
    }
    return now_ms > seen ? now_ms : seen;
}

/* Walks to the free place at the end of the chain, found or not, comparing every digest on the way whole, and there one
 * of zeros. */
static const entry *lookup(const weirp_keys *keys, const uint8_t *digest) {
    static const uint8_t zeros[WEIRP_KEY_DIGEST_SIZE];
    const entry *found = NULL;
    for (size_t at = place(keys, digest);; at = (at + 1) & (keys->n_slots - 1)) {
        const entry *e = &keys->slot[at];
        bool same = CRYPTO_memcmp(e->digest ? e->digest : zeros, digest, sizeof zeros) == 0;
        if (!e->digest) return found;
        if (same) found = e;
    }
}

weirp_key_state weirp_keys_find(weirp_keys *keys, const char *text, size_t len, int64_t now_ms, const weirp_key **key) {
    uint8_t digest[WEIRP_KEY_DIGEST_SIZE];
    *key = NULL;
    now_ms = latest(keys, now_ms);
    if (len > MAX_SHOWN) return WEIRP_KEY_UNKNOWN;
    weirp_key_digest(text, len, digest);
    const entry *e = lookup(keys, digest);
    if (!e) return WEIRP_KEY_UNKNOWN;
    *key = e->key;
    weirp_key_state state = weirp_key_state_at(e->key, now_ms);
    bool over = e->digest == e->key->previous && now_ms >= e->key->previous_until_ms;
    return state == WEIRP_KEY_VALID && over ? WEIRP_KEY_REPLACED : state;
}

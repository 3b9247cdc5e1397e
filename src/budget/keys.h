/* keys.h: virtual API keys: who may ask, for which models, how often.
 *
 * A key is "sk-weir-" and 32 random bytes in base64url. The store has its SHA-256 alone: with 256 bits of chance there
 * is nothing to guess, so it needs neither salt nor a slow hash. For the same reason timing tells nothing: the table is
 * searched by the digest, and who could choose digests to probe it with would have to invert SHA-256. Digests are
 * compared in constant time all the same, and an unknown key goes the way of a known one.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_KEYS_H
#define WEIRP_KEYS_H

#include "src/base/arena.h"
#include "src/budget/budget.h"
#include "src/budget/limiter.h"
#include "src/store/store.h"
#include "weir/budget.h"

enum {
    WEIRP_KEY_NAME = 64, /* bytes with the zero; letters, digits, "_", "-", ".", as a budget's */
    WEIRP_KEY_NOTE = 256,
    WEIRP_KEY_MODELS = 64, /* at most; each as long as a budget's scope may be */
    WEIRP_KEY_DIGEST_SIZE = 32,
    WEIRP_KEY_LAST = 4, /* characters that are kept, for people to tell keys apart */
};

typedef struct weirp_key {
    const char *name, *team, *note; /* borrowed from where it was read; team, note: "" for none */
    uint8_t digest[WEIRP_KEY_DIGEST_SIZE];
    uint8_t previous[WEIRP_KEY_DIGEST_SIZE]; /* rotation's, which goes on until previous_until_ms; 0: there is none */
    int64_t previous_until_ms;
    int64_t created_ms, rotated_ms, expires_ms, revoked_ms; /* unix; 0: never */
    weirp_limits limits;
    size_t n_models;
    const char *const *models; /* (n_models) that it may ask for; none: all */
    char last[WEIRP_KEY_LAST + 1];
} weirp_key;

typedef enum weirp_key_state {
    WEIRP_KEY_VALID,
    WEIRP_KEY_UNKNOWN,
    WEIRP_KEY_EXPIRED,
    WEIRP_KEY_REVOKED,
    WEIRP_KEY_REPLACED, /* rotated, and its time of grace is over */
} weirp_key_state;

const char *weirp_key_state_name(weirp_key_state state); /* "valid", "unknown", "expired", "revoked", "replaced" */
/* Of the key itself, whichever of its two texts is shown: VALID, EXPIRED or REVOKED. */
weirp_key_state weirp_key_state_at(const weirp_key *key, int64_t now_ms);
bool weirp_key_allows(const weirp_key *key, const char *model);

/* ---- all of them, in memory ---- */

/* Immutable, counted, any thread: a change makes a new one. */
typedef struct weirp_keys weirp_keys;

/* How often keys have been changed: whoever has loaded them at another number loads them anew. */
weir_status weirp_keys_version(weirp_snapshot *snapshot, uint64_t *version, weir_error *err);
/* *out is new, counted once. A record that can't be read is left out (that key is unknown) and counted: it is no reason
 * to refuse all the others. `earlier` (may be NULL) hands on the latest time it has seen. */
weir_status weirp_keys_load(weirp_keys **out, weirp_snapshot *snapshot, const weirp_keys *earlier, weir_error *err);
weirp_keys *weirp_keys_keep(weirp_keys *keys);
void weirp_keys_drop(weirp_keys *keys); /* NULL is fine */
size_t weirp_keys_n_unreadable(const weirp_keys *keys);
uint64_t weirp_keys_loaded_version(const weirp_keys *keys);

/* Whose it is. *key is set for every state but UNKNOWN; borrowed from `keys`. A clock that goes back revives nothing:
 * what counts is the latest time that these keys (and those before them) have been asked at. */
weirp_key_state weirp_keys_find(weirp_keys *keys, const char *text, size_t len, int64_t now_ms, const weirp_key **key);

/* ---- their records in the store's table (docs/formats.md, "Keys") ---- */

#define WEIR_KEY_PREFIX   "sk-weir-" /* of every key's text */
#define WEIRP_KEYS_PREFIX "Kk"       /* then the name */
#define WEIRP_KEYS_COUNT  "Kc"       /* how often they have been changed, u64 */

void weirp_key_digest(const char *text, size_t len, uint8_t digest[WEIRP_KEY_DIGEST_SIZE]);
/* A new key's text. */
weir_status weirp_key_make(char text[WEIR_KEY_TEXT], weir_error *err);
/* What a person has said; the message says what would be right. */
weir_status weirp_key_check(const weirp_key *key, weir_error *err);
void weirp_key_encode(const weirp_key *key, weirp_writer *out);
/* `name` and everything that the record holds is copied into the arena. WEIR_CORRUPT, WEIR_NEWER, WEIR_NOMEM. */
weir_status weirp_key_decode(weirp_key *key, const char *name, size_t name_len, const uint8_t *data, size_t size,
                             weirp_arena *arena, weir_error *err);
/* Within a transaction. get: WEIR_NOTFOUND, without a message. put and delete count the change. */
weir_status weirp_key_get(weirp_txn *txn, const char *name, weirp_key *key, weirp_arena *arena, weir_error *err);
weir_status weirp_key_put(weirp_txn *txn, const weirp_key *key, weir_error *err);
weir_status weirp_key_delete(weirp_txn *txn, const char *name, weir_error *err);

#endif

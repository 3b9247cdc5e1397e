/* key_record.c: one key: made, checked, and as bytes in the store's table. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "src/base/words.h"
#include "src/budget/keys.h"

enum { VERSION = 1, SECRET_SIZE = 32 };
/* Limits beyond these are slips: a minute of 10^12 tokens is more than any vendor sells. */
#define MAX_TOKENS INT64_C(1000000000000)

/* SHA256() looks its algorithm up at each call, which takes longer than hashing a key. */
static EVP_MD *sha256;

static void fetch_sha256(void) {
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); /* NULL: SHA256() does it */
}

void weirp_key_digest(const char *text, size_t len, uint8_t digest[WEIRP_KEY_DIGEST_SIZE]) {
    _Static_assert(WEIRP_KEY_DIGEST_SIZE == SHA256_DIGEST_LENGTH, "SHA-256");
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_sha256);
    if (sha256 && EVP_Digest(text, len, digest, NULL, sha256, NULL) == 1) return;
    SHA256((const unsigned char *)text, len, digest);
}

weir_status weirp_key_make(char text[WEIR_KEY_TEXT], weir_error *err) {
    uint8_t secret[SECRET_SIZE];
    unsigned char base64[4 * ((SECRET_SIZE + 2) / 3) + 1];
    for (size_t n = 0; n < sizeof secret;) {
        ssize_t got = getrandom(secret + n, sizeof secret - n, 0);
        if (got < 0 && errno != EINTR) return weirp_fail_errno(err, errno, "can't get random bytes", "getrandom()");
        if (got > 0) n += (size_t)got;
    }
    size_t n = (size_t)EVP_EncodeBlock(base64, secret, sizeof secret);
    while (n && base64[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) /* base64url (RFC 4648, section 5), so that keys need no quotes anywhere */
        base64[i] = base64[i] == '+' ? '-' : base64[i] == '/' ? '_' : base64[i];
    snprintf(text, WEIR_KEY_TEXT, WEIR_KEY_PREFIX "%.*s", (int)n, (const char *)base64);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(base64, sizeof base64);
    return WEIR_OK;
}

/* ---- checking ---- */

static weir_status check_name(const char *name, weir_error *err) {
    size_t n = strlen(name), fine = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    char shown[80];
    if (n && n < WEIRP_KEY_NAME && fine == n) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0, "a key's name has 1 to %d letters, digits, '_', '-' or '.'; '%s' hasn't",
                      WEIRP_KEY_NAME - 1, weirp_excerpt(shown, sizeof shown, name, n));
}

/* Text without control characters, which tables and log lines can show. */
static weir_status check_text(const char *what, const char *text, size_t size, weir_error *err) {
    size_t n = strlen(text);
    if (n >= size)
        return weirp_fail(err, WEIR_INVALID, 0, "a key's %s has at most %zu bytes, not %zu", what, size - 1, n);
    bool clean = weirp_utf8_valid(text, n) == n;
    for (size_t i = 0; i < n; i++) clean = clean && (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
    return clean ? WEIR_OK
                 : weirp_fail(err, WEIR_INVALID, 0, "a key's %s is UTF-8 text without control characters", what);
}

static weir_status check_models(const weirp_key *key, weir_error *err) {
    weir_status st = WEIR_OK;
    if (key->n_models > WEIRP_KEY_MODELS)
        return weirp_fail(err, WEIR_INVALID, 0, "a key names at most %d models, not %zu", WEIRP_KEY_MODELS,
                          key->n_models);
    for (size_t i = 0; i < key->n_models; i++) {
        if (!*key->models[i]) return weirp_fail(err, WEIR_INVALID, 0, "a model's name is empty");
        WEIRP_TRY(check_text("model", key->models[i], WEIRP_SCOPE_TEXT, err));
    }
done:
    return st;
}

weir_status weirp_key_check(const weirp_key *key, weir_error *err) {
    weir_status st;
    WEIRP_TRY(check_name(key->name, err));
    WEIRP_TRY(check_text("team", key->team, WEIRP_SCOPE_TEXT, err));
    WEIRP_TRY(check_text("note", key->note, WEIRP_KEY_NOTE, err));
    WEIRP_TRY(check_models(key, err));
    if (key->limits.tokens < 0 || key->limits.tokens > MAX_TOKENS)
        return weirp_fail(err, WEIR_INVALID, 0, "tokens a minute are from 0 (no limit) to %lld, not %lld",
                          (long long)MAX_TOKENS, (long long)key->limits.tokens);
done:
    return st;
}

/* ---- judging ---- */

const char *weirp_key_state_name(weirp_key_state state) {
    static const char *const names[] = {"valid", "unknown", "expired", "revoked", "replaced"};
    return names[state];
}

weirp_key_state weirp_key_state_at(const weirp_key *key, int64_t now_ms) {
    if (key->revoked_ms) return WEIRP_KEY_REVOKED; /* whatever the clock says */
    return key->expires_ms && now_ms >= key->expires_ms ? WEIRP_KEY_EXPIRED : WEIRP_KEY_VALID;
}

bool weirp_key_allows(const weirp_key *key, const char *model) {
    bool found = !key->n_models;
    for (size_t i = 0; i < key->n_models && !found; i++) found = !strcmp(key->models[i], model);
    return found;
}

/* ---- bytes ---- */

void weirp_key_encode(const weirp_key *key, weirp_writer *out) {
    weirp_put_u32(out, VERSION);
    weirp_put_u32(out, key->limits.requests);
    weirp_put_u32(out, key->limits.at_once);
    weirp_put_u32(out, (uint32_t)key->n_models);
    weirp_put_u64(out, (uint64_t)key->limits.tokens);
    weirp_put_u64(out, (uint64_t)key->created_ms);
    weirp_put_u64(out, (uint64_t)key->rotated_ms);
    weirp_put_u64(out, (uint64_t)key->expires_ms);
    weirp_put_u64(out, (uint64_t)key->revoked_ms);
    weirp_put_u64(out, (uint64_t)key->previous_until_ms);
    weirp_put(out, key->digest, sizeof key->digest);
    weirp_put(out, key->previous, sizeof key->previous);
    weirp_put(out, key->last, WEIRP_KEY_LAST);
    weirp_put_text(out, key->team);
    weirp_put_text(out, key->note);
    for (size_t i = 0; i < key->n_models; i++) weirp_put_text(out, key->models[i]);
}

/* "" once the stream or the memory has failed. */
static const char *text_of(weirp_bytes *in, size_t size, weirp_arena *arena) {
    uint64_t n = weirp_get_u64(in);
    if (in->failed || n >= size || n > in->size - in->at || memchr(in->data + in->at, '\0', (size_t)n)) {
        in->failed = true;
        return "";
    }
    const char *text = n ? weirp_arena_text(arena, (const char *)in->data + in->at, (size_t)n) : "";
    in->at += (size_t)n;
    if (!text) in->failed = in->out_of_memory = true;
    return text ? text : "";
}

static void models_of(weirp_key *key, weirp_bytes *in, weirp_arena *arena) {
    if (in->failed || !key->n_models) return;
    const char **models =
        key->n_models <= WEIRP_KEY_MODELS ? weirp_arena_take(arena, key->n_models * sizeof *models) : NULL;
    if (!models) {
        in->failed = true;
        in->out_of_memory = key->n_models <= WEIRP_KEY_MODELS;
        return;
    }
    for (size_t i = 0; i < key->n_models; i++) models[i] = text_of(in, WEIRP_SCOPE_TEXT, arena);
    key->models = models;
}

weir_status weirp_key_decode(weirp_key *key, const char *name, size_t name_len, const uint8_t *data, size_t size,
                             weirp_arena *arena, weir_error *err) {
    weirp_bytes in = {.data = data, .size = size};
    char shown[80];
    memset(key, 0, sizeof *key);
    uint32_t version = weirp_get_u32(&in);
    if (!in.failed && version > VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "key '%s' was written by a newer version",
                          weirp_excerpt(shown, sizeof shown, name, name_len));
    key->limits.requests = weirp_get_u32(&in);
    key->limits.at_once = weirp_get_u32(&in);
    key->n_models = weirp_get_u32(&in);
    key->limits.tokens = (int64_t)weirp_get_u64(&in);
    key->created_ms = (int64_t)weirp_get_u64(&in);
    key->rotated_ms = (int64_t)weirp_get_u64(&in);
    key->expires_ms = (int64_t)weirp_get_u64(&in);
    key->revoked_ms = (int64_t)weirp_get_u64(&in);
    key->previous_until_ms = (int64_t)weirp_get_u64(&in);
    weirp_get(&in, key->digest, sizeof key->digest);
    weirp_get(&in, key->previous, sizeof key->previous);
    weirp_get(&in, key->last, WEIRP_KEY_LAST);
    key->team = text_of(&in, WEIRP_SCOPE_TEXT, arena);
    key->note = text_of(&in, WEIRP_KEY_NOTE, arena);
    models_of(key, &in, arena);
    key->name = name_len < WEIRP_KEY_NAME ? weirp_arena_text(arena, name, name_len) : "";
    if (!key->name || in.out_of_memory) return weirp_nomem(err);
    if (version == VERSION && !in.failed && in.at == size && weirp_key_check(key, NULL) == WEIR_OK) return WEIR_OK;
    return weirp_fail(err, WEIR_CORRUPT, 0, "the record of key '%s' is damaged",
                      weirp_excerpt(shown, sizeof shown, name, name_len));
}

/* ---- in a transaction ---- */

static size_t table_key(const char *name, char key[WEIRP_TABLE_KEY]) {
    return (size_t)snprintf(key, WEIRP_TABLE_KEY, WEIRP_KEYS_PREFIX "%.*s", WEIRP_KEY_NAME, name);
}

weir_status weirp_key_get(weirp_txn *txn, const char *name, weirp_key *key, weirp_arena *arena, weir_error *err) {
    char at[WEIRP_TABLE_KEY];
    const uint8_t *data;
    size_t size;
    weir_status st = weirp_txn_get(txn, at, table_key(name, at), &data, &size, err);
    return st == WEIR_OK ? weirp_key_decode(key, name, strlen(name), data, size, arena, err) : st;
}

static weir_status count_change(weirp_txn *txn, weir_error *err) {
    const uint8_t *data;
    size_t size;
    uint64_t n = 0;
    weir_status st = weirp_txn_get(txn, WEIRP_KEYS_COUNT, sizeof WEIRP_KEYS_COUNT - 1, &data, &size, err);
    if (st != WEIR_OK && st != WEIR_NOTFOUND) return st;
    if (st == WEIR_OK && size == sizeof n) memcpy(&n, data, sizeof n);
    n++;
    return weirp_txn_put(txn, WEIRP_KEYS_COUNT, sizeof WEIRP_KEYS_COUNT - 1, (const uint8_t *)&n, sizeof n, err);
}

weir_status weirp_key_put(weirp_txn *txn, const weirp_key *key, weir_error *err) {
    char at[WEIRP_TABLE_KEY];
    weirp_writer record = {0};
    weirp_key_encode(key, &record);
    weir_status st = record.failed ? weirp_nomem(err)
                                   : weirp_txn_put(txn, at, table_key(key->name, at), record.data, record.size, err);
    weirp_writer_free(&record);
    return st == WEIR_OK ? count_change(txn, err) : st;
}

weir_status weirp_key_delete(weirp_txn *txn, const char *name, weir_error *err) {
    char at[WEIRP_TABLE_KEY];
    weir_status st = weirp_txn_delete(txn, at, table_key(name, at), err);
    return st == WEIR_OK ? count_change(txn, err) : st;
}

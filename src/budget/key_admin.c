/* key_admin.c: keys made, changed and listed, beside whoever has the store. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/budget/admin.h"
#include "src/budget/keys.h"
#include "src/budget/ledger.h"
#include "src/base/when.h"

/* ---- changing ---- */

/* One change of one key, within a transaction that may run more than once. `at_ms` is when it was asked for. */
typedef struct change {
    const char *name;
    int64_t at_ms;
    /* what becomes of a key that is there; `key` may be altered */
    weir_status (*alter)(const struct change *c, weirp_key *key, weir_error *err);
    const weirp_key *made; /* create: the whole key */
    bool remove;
    uint8_t digest[WEIRP_KEY_DIGEST_SIZE]; /* rotate: of the new text */
    char last[WEIRP_KEY_LAST + 1];
    int64_t when_ms;                 /* rotate: how long the old one goes on; expire, set: when */
    const weir_key_changes *changes; /* set */
} change;

typedef struct names {
    const char *item[1024];
    size_t n;
    weirp_arena arena;
} names;

static weir_status collect(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                           weir_error *err) {
    names *all = user;
    const size_t skip = sizeof WEIRP_KEYS_PREFIX - 1;
    (void)data;
    (void)size;
    if (all->n == sizeof all->item / sizeof *all->item) return WEIR_END;
    const char *name = weirp_arena_text(&all->arena, (const char *)key + skip, key_size - skip);
    if (!name) return weirp_nomem(err);
    all->item[all->n++] = name;
    return WEIR_OK;
}

static weir_status no_such_key(weirp_txn *txn, const char *name, weir_error *err) {
    names *all = weirp_array(1, sizeof *all);
    if (!all) return weirp_nomem(err);
    char shown[80];
    weirp_excerpt(shown, sizeof shown, name, strlen(name));
    weir_status st = weirp_txn_scan(txn, WEIRP_KEYS_PREFIX, sizeof WEIRP_KEYS_PREFIX - 1, NULL, 0, collect, all, err);
    const char *near = weirp_suggest(name, all->item, all->n);
    if (st == WEIR_OK || st == WEIR_END)
        st = near ? weirp_fail(err, WEIR_INVALID, 0, "no key '%s'; did you mean '%s'?", shown, near)
                  : weirp_fail(err, WEIR_INVALID, 0, "no key '%s'", shown);
    weirp_arena_free(&all->arena);
    free(all);
    return st;
}

/* As weirp_key_get, with a message that helps. */
static weir_status get(weirp_txn *txn, const char *name, weirp_key *key, weirp_arena *arena, weir_error *err) {
    weir_status st = weirp_key_get(txn, name, key, arena, err);
    return st == WEIR_NOTFOUND ? no_such_key(txn, name, err) : st;
}

static weir_status name_is_taken(const char *name, weir_error *err) {
    return weirp_fail(err, WEIR_INVALID, 0, "there is a key '%s' already; 'weir key rotate' gives it a new text", name);
}

/* Fails where there is one, readable or not. */
static weir_status create(const change *c, weirp_txn *txn, weirp_arena *arena, weir_error *err) {
    weirp_key there;
    weir_status st = weirp_key_get(txn, c->name, &there, arena, err);
    if (st == WEIR_NOTFOUND) return weirp_key_put(txn, c->made, err);
    return st == WEIR_OK ? name_is_taken(c->name, err) : st;
}

/* Doesn't read it: a damaged record can go, too. */
static weir_status erase(const change *c, weirp_txn *txn, weir_error *err) {
    weir_error quiet = {0};
    weir_status st = weirp_key_delete(txn, c->name, &quiet);
    if (st == WEIR_NOTFOUND) return no_such_key(txn, c->name, err);
    return st == WEIR_OK ? st : weirp_fail(err, st, 0, "%s", quiet.text);
}

static weir_status work(void *user, weirp_txn *txn, weir_error *err) {
    const change *c = user;
    weirp_arena arena = {0};
    weirp_key key;
    weir_status st;
    if (c->made) {
        st = create(c, txn, &arena, err);
    } else if (c->remove) {
        st = erase(c, txn, err);
    } else {
        WEIRP_TRY(get(txn, c->name, &key, &arena, err));
        WEIRP_TRY(c->alter(c, &key, err));
        st = weirp_key_put(txn, &key, err);
    }
done:
    weirp_arena_free(&arena);
    return st;
}

static weir_status apply(const char *path, change *c, weir_error *err) {
    weirp_store *store = NULL;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_JOIN, err));
    st = weirp_store_transact(store, NULL, 0, work, c, err);
done:
    weirp_store_close(store);
    return st;
}

static weir_status make(char secret[WEIR_KEY_TEXT], uint8_t digest[WEIRP_KEY_DIGEST_SIZE],
                        char last[WEIRP_KEY_LAST + 1], weir_error *err) {
    weir_status st = weirp_key_make(secret, err);
    if (st != WEIR_OK) return st;
    size_t len = strlen(secret);
    weirp_key_digest(secret, len, digest);
    memcpy(last, secret + len - WEIRP_KEY_LAST, WEIRP_KEY_LAST + 1);
    return WEIR_OK;
}

static weir_status done(weir_status st, char secret[WEIR_KEY_TEXT]) {
    if (st != WEIR_OK) explicit_bzero(secret, WEIR_KEY_TEXT);
    return st;
}

/* ---- a key's own budget ---- */

/* "5USD/day" as a budget "key-NAME" that matches this key alone. */
typedef struct own_budget {
    char name[WEIRP_BUDGET_NAME + 8], limit[64];
    weir_budget_options options;
} own_budget;

static weir_status own_budget_of(own_budget *own, const char *key, const char *text, weir_error *err) {
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : 0;
    if (!n || n >= sizeof own->limit)
        return weirp_fail(err, WEIR_INVALID, 0,
                          "a key's budget is a limit and its period, such as 5USD/day, not '%.60s'", text);
    *own = (own_budget){0};
    memcpy(own->limit, text, n);
    snprintf(own->name, sizeof own->name, "key-%s", key);
    if (strlen(own->name) >= WEIRP_BUDGET_NAME)
        return weirp_fail(err, WEIR_INVALID, 0,
                          "'%s' is too long for a budget's name; 'weir budget set' gives it another", own->name);
    own->options = (weir_budget_options){.limit = own->limit, .per = slash + 1, .key = key};
    return WEIR_OK;
}

/* Neither the key nor the budget may be there yet. */
static weir_status both_free(const char *store, const char *key, const char *budget, weir_error *err) {
    weirp_admin_view v = {0};
    weirp_arena arena = {0};
    weirp_key there;
    weirp_budget taken;
    weir_error quiet = {0};
    weir_status st;
    WEIRP_TRY(weirp_admin_open(&v, store, err));
    weirp_txn *table = weirp_snapshot_table(v.snapshot);
    st = weirp_key_get(table, key, &there, &arena, err);
    if (st == WEIR_OK) st = name_is_taken(key, err);
    if (st != WEIR_NOTFOUND) goto done;
    st = weirp_ledger_find(table, budget, &taken, &quiet);
    if (st == WEIR_OK)
        st = weirp_fail(err, WEIR_INVALID, 0, "there is a budget '%s' already; 'weir budget set' changes it", budget);
    else if (st == WEIR_NOTFOUND)
        st = WEIR_OK;
    else
        weirp_fail(err, st, 0, "%s", quiet.text);
done:
    weirp_arena_free(&arena);
    weirp_admin_close(&v);
    return st;
}

/* The budget first: a key that is there is limited. If the key then fails, the budget goes again. */
static weir_status apply_with_budget(const char *store, change *c, const char *text, weir_error *err) {
    own_budget own;
    weir_status st;
    WEIRP_TRY(own_budget_of(&own, c->name, text, err));
    WEIRP_TRY(both_free(store, c->name, own.name, err));
    WEIRP_TRY(weir_budget_set(store, own.name, &own.options, NULL, err));
    st = apply(store, c, err);
    if (st != WEIR_OK) {
        weir_status undone = weir_budget_remove(store, own.name, NULL);
        (void)undone; /* at worst it limits a key that isn't there */
    }
done:
    return st;
}

/* ---- what may be asked for ---- */

weir_status weir_key_create(const char *store, const char *name, const weir_key_options *options,
                            char secret[WEIR_KEY_TEXT], weir_error *err) {
    static const weir_key_options none;
    const weir_key_options *o = options ? options : &none;
    int64_t now = weirp_unix_ms();
    weirp_key key = {.name = name,
                     .team = o->team ? o->team : "",
                     .note = o->note ? o->note : "",
                     .created_ms = now,
                     .limits = {o->requests_per_minute, o->tokens_per_minute, o->concurrent},
                     .n_models = o->n_models,
                     .models = o->models};
    change c = {.name = name, .at_ms = now, .made = &key};
    weir_status st;
    WEIRP_TRY(weirp_key_check(&key, err));
    if (o->expires) WEIRP_TRY(weirp_when_parse("when a key expires", o->expires, now, &key.expires_ms, err));
    if (key.expires_ms && key.expires_ms <= now) {
        st = weirp_fail(err, WEIR_INVALID, 0, "a new key can't expire at %s, which is over", o->expires);
        goto done;
    }
    WEIRP_TRY(make(secret, key.digest, key.last, err));
    st = o->budget ? apply_with_budget(store, &c, o->budget, err) : apply(store, &c, err);
done:
    return done(st, secret);
}

static weir_status rotate(const change *c, weirp_key *key, weir_error *err) {
    if (key->revoked_ms)
        return weirp_fail(err, WEIR_INVALID, 0, "key '%s' is revoked; 'weir key create' makes another", c->name);
    if (weirp_key_state_at(key, c->at_ms) != WEIRP_KEY_VALID)
        return weirp_fail(err, WEIR_INVALID, 0, "key '%s' has expired; 'weir key expire %s never' revives it", c->name,
                          c->name);
    memcpy(key->previous, key->digest, sizeof key->previous);
    key->previous_until_ms = c->when_ms ? c->at_ms + c->when_ms : 0;
    if (!c->when_ms) memset(key->previous, 0, sizeof key->previous);
    memcpy(key->digest, c->digest, sizeof key->digest);
    memcpy(key->last, c->last, sizeof key->last);
    key->rotated_ms = c->at_ms;
    return WEIR_OK;
}

weir_status weir_key_rotate(const char *store, const char *name, const char *grace, char secret[WEIR_KEY_TEXT],
                            weir_error *err) {
    change c = {.name = name, .at_ms = weirp_unix_ms(), .alter = rotate};
    weir_status st;
    if (grace) WEIRP_TRY(weirp_duration_parse("a time of grace", grace, &c.when_ms, err));
    WEIRP_TRY(make(secret, c.digest, c.last, err));
    st = apply(store, &c, err);
done:
    return done(st, secret);
}

static weir_status expire(const change *c, weirp_key *key, weir_error *err) {
    if (key->revoked_ms)
        return weirp_fail(err, WEIR_INVALID, 0, "key '%s' is revoked, for ever; 'weir key create' makes another",
                          c->name);
    key->expires_ms = c->when_ms;
    return WEIR_OK;
}

weir_status weir_key_expire(const char *store, const char *name, const char *when, weir_error *err) {
    change c = {.name = name, .at_ms = weirp_unix_ms(), .alter = expire};
    weir_status st = weirp_when_parse("when a key expires", when, c.at_ms, &c.when_ms, err);
    return st == WEIR_OK ? apply(store, &c, err) : st;
}

static weir_status set(const change *c, weirp_key *key, weir_error *err) {
    const weir_key_changes *to = c->changes;
    if (key->revoked_ms)
        return weirp_fail(err, WEIR_INVALID, 0, "key '%s' is revoked, for ever; 'weir key create' makes another",
                          c->name);
    if (to->team) key->team = to->team;
    if (to->note) key->note = to->note;
    if (to->expires) key->expires_ms = c->when_ms;
    if (to->models) {
        key->models = to->models;
        key->n_models = to->n_models;
    }
    if (to->requests_per_minute) key->limits.requests = *to->requests_per_minute;
    if (to->tokens_per_minute) key->limits.tokens = *to->tokens_per_minute;
    if (to->concurrent) key->limits.at_once = *to->concurrent;
    return weirp_key_check(key, err);
}

weir_status weir_key_set(const char *store, const char *name, const weir_key_changes *changes, weir_error *err) {
    change c = {.name = name, .at_ms = weirp_unix_ms(), .alter = set, .changes = changes};
    weir_status st = WEIR_OK;
    if (changes->expires) st = weirp_when_parse("when a key expires", changes->expires, c.at_ms, &c.when_ms, err);
    return st == WEIR_OK ? apply(store, &c, err) : st;
}

static weir_status revoke(const change *c, weirp_key *key, weir_error *err) {
    (void)err;
    if (!key->revoked_ms) key->revoked_ms = c->at_ms;
    return WEIR_OK;
}

weir_status weir_key_revoke(const char *store, const char *name, weir_error *err) {
    change c = {.name = name, .at_ms = weirp_unix_ms(), .alter = revoke};
    return apply(store, &c, err);
}

weir_status weir_key_remove(const char *store, const char *name, weir_error *err) {
    change c = {.name = name, .at_ms = weirp_unix_ms(), .remove = true};
    return apply(store, &c, err);
}

/* ---- showing ---- */

static json_t *text_or_null(const char *text) {
    return *text ? json_string(text) : json_null();
}

static json_t *limit_or_null(int64_t limit) {
    return limit ? json_integer((json_int_t)limit) : json_null();
}

static json_t *when_or_null(int64_t ms) {
    char text[WEIRP_WHEN_TEXT];
    weirp_when_text(text, ms);
    return ms ? json_string(text) : json_null();
}

static json_t *key_json(const weirp_key *key, int64_t now_ms) {
    char shown[32];
    snprintf(shown, sizeof shown, "...%s", key->last);
    json_t *models = json_array();
    for (size_t i = 0; i < key->n_models; i++) json_array_append_new(models, json_string(key->models[i]));
    bool grace = key->previous_until_ms > now_ms && weirp_key_state_at(key, now_ms) == WEIRP_KEY_VALID;
    return json_pack("{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", key->name,
                     "team", text_or_null(key->team), "key", shown, "state",
                     weirp_key_state_name(weirp_key_state_at(key, now_ms)), "created", when_or_null(key->created_ms),
                     "rotated", when_or_null(key->rotated_ms), "expires", when_or_null(key->expires_ms), "revoked",
                     when_or_null(key->revoked_ms), "previous_until", when_or_null(grace ? key->previous_until_ms : 0),
                     "requests_per_minute", limit_or_null(key->limits.requests), "tokens_per_minute",
                     limit_or_null(key->limits.tokens), "concurrent", limit_or_null(key->limits.at_once), "models",
                     models, "note", text_or_null(key->note));
}

typedef struct listing {
    json_t *keys, *unreadable;
    int64_t now_ms;
} listing;

static weir_status list_one(void *user, const uint8_t *at, size_t at_size, const uint8_t *data, size_t size,
                            weir_error *err) {
    listing *l = user;
    const size_t skip = sizeof WEIRP_KEYS_PREFIX - 1;
    weirp_arena arena = {0};
    weir_error quiet = {0};
    weirp_key key;
    weir_status st = weirp_key_decode(&key, (const char *)at + skip, at_size - skip, data, size, &arena, &quiet);
    int failed = st == WEIR_NOMEM;
    if (st == WEIR_OK)
        failed = json_array_append_new(l->keys, key_json(&key, l->now_ms));
    else if (!failed)
        failed = json_array_append_new(l->unreadable, json_string(quiet.text));
    weirp_arena_free(&arena);
    return failed ? weirp_nomem(err) : WEIR_OK;
}

weir_status weir_key_list(const char *store, char **json, weir_error *err) {
    weirp_admin_view v = {0};
    listing l = {json_array(), json_array(), weirp_unix_ms()};
    weir_status st;
    *json = NULL;
    WEIRP_TRY(weirp_admin_open(&v, store, err));
    WEIRP_TRY(weirp_txn_scan(weirp_snapshot_table(v.snapshot), WEIRP_KEYS_PREFIX, sizeof WEIRP_KEYS_PREFIX - 1, NULL, 0,
                             list_one, &l, err));
    json_t *root = json_pack("{s:O}", "keys", l.keys);
    if (root && json_array_size(l.unreadable)) json_object_set(root, "unreadable", l.unreadable);
    st = weirp_admin_dump(root, json, err);
done:
    json_decref(l.keys);
    json_decref(l.unreadable);
    weirp_admin_close(&v);
    return st;
}

weir_status weir_key_show(const char *store, const char *name, char **json, weir_error *err) {
    weirp_admin_view v = {0};
    weirp_arena arena = {0};
    weirp_key key;
    weir_status st;
    *json = NULL;
    WEIRP_TRY(weirp_admin_open(&v, store, err));
    WEIRP_TRY(get(weirp_snapshot_table(v.snapshot), name, &key, &arena, err));
    st = weirp_admin_dump(key_json(&key, weirp_unix_ms()), json, err);
done:
    weirp_arena_free(&arena);
    weirp_admin_close(&v);
    return st;
}

/* Virtual keys: their records, their lives, and all of them in memory. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/made_store.h"

#include <jansson.h>
#include <malloc.h>
#include <time.h>

#include "src/budget/keys.h"
#include "src/base/when.h"

#define DAY_MS INT64_C(86400000)

static weirp_keys *load(const weirp_keys *earlier) {
    weirp_keys *keys = NULL;
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *snapshot = NULL;
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    OK(weirp_keys_load(&keys, snapshot, earlier, &err));
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return keys;
}

static weirp_key_state find(weirp_keys *keys, const char *text, int64_t now) {
    const weirp_key *key;
    weirp_key_state state = weirp_keys_find(keys, text, strlen(text), now, &key);
    assert_int_equal(state == WEIRP_KEY_UNKNOWN, key == NULL);
    return state;
}

static void create(const char *name, const weir_key_options *options, char secret[WEIR_KEY_TEXT]) {
    OK(weir_key_create(path, name, options, secret, &err));
}

/* ---- times ---- */

static void test_times(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* from 1,000,000 */
    } good[] = {{"90s", 1090000},
                {"15m", 1900000},
                {"0d", 1000000},
                {"2w", 1000000 + 14 * DAY_MS},
                {"1970-01-02", DAY_MS},
                {"2027-01-31", INT64_C(1801353600000)},
                {"2027-01-31T12:30Z", INT64_C(1801398600000)},
                {"2028-02-29T00:00:07Z", INT64_C(1835395207000)},
                {"now", 1000000},
                {"never", 0}};
    static const char *const bad[] = {"",
                                      "d",
                                      "-1d",
                                      "1.5h",
                                      "3y",
                                      "30 d",
                                      "30dd",
                                      "tomorrow",
                                      "2027-02-29",
                                      "2027-13-01",
                                      "2027-1-31",
                                      "40000d",
                                      "1e3s",
                                      "2027-01-31T12",
                                      "2027-01-31T12:00",
                                      "2027-01-31T25:00Z",
                                      "2027-01-31 12:00Z",
                                      "99999999999999999999s",
                                      "2027-01-31T12:00:00Zx"};
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        OK(weirp_when_parse("it", good[i].text, 1000000, &ms, &err));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(weirp_when_parse("it", bad[i], 1000000, &ms, &err), WEIR_INVALID, "2027-01-31");
    FAILS(weirp_duration_parse("it", "2027-01-31", &ms, &err), WEIR_INVALID, "30d");
    char text[WEIRP_WHEN_TEXT];
    weirp_when_text(text, INT64_C(1801398600999));
    assert_string_equal(text, "2027-01-31T12:30:00Z");
    weirp_when_text(text, 0);
    assert_string_equal(text, "never");
}

/* ---- one record ---- */

static void test_text_of_keys(void **state) {
    (void)state;
    char text[WEIR_KEY_TEXT], other[WEIR_KEY_TEXT];
    for (int i = 0; i < 200; i++) { /* enough for every character of the alphabet */
        OK(weirp_key_make(text, &err));
        OK(weirp_key_make(other, &err));
        assert_int_equal(strlen(text), 8 + 43);
        assert_memory_equal(text, "sk-weir-", 8);
        assert_int_equal(strspn(text + 8, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
        assert_string_not_equal(text, other);
    }
    uint8_t digest[WEIRP_KEY_DIGEST_SIZE]; /* of "abc": FIPS 180-2, appendix B.1 */
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    weirp_key_digest("abc", 3, digest);
    assert_memory_equal(digest, abc, sizeof abc);
}

static const char *const two_models[] = {"gpt-4o-mini", "claude"};

static weirp_key example(void) {
    weirp_key key = {.name = "alice",
                     .team = "search",
                     .note = "for nightly runs",
                     .created_ms = 5,
                     .rotated_ms = 6,
                     .expires_ms = 7,
                     .revoked_ms = 8,
                     .previous_until_ms = 9,
                     .limits = {60, 200000, 4},
                     .n_models = 2,
                     .models = two_models,
                     .last = "wxyz"};
    memset(key.digest, 1, sizeof key.digest);
    memset(key.previous, 2, sizeof key.previous);
    return key;
}

static void test_records(void **state) {
    (void)state;
    weirp_key key = example(), read;
    weirp_writer w = {0}, again = {0};
    weirp_arena arena = {0};
    weirp_key_encode(&key, &w);
    OK(weirp_key_decode(&read, "alice", 5, w.data, w.size, &arena, &err));
    weirp_key_encode(&read, &again);
    assert_int_equal(again.size, w.size);
    assert_memory_equal(again.data, w.data, w.size);
    assert_string_equal(read.name, "alice");
    assert_string_equal(read.models[1], "claude");
    assert_string_equal(read.last, "wxyz");
    for (size_t n = 0; n < w.size; n++) /* cut anywhere */
        FAILS(weirp_key_decode(&read, "alice", 5, w.data, n, &arena, &err), WEIR_CORRUPT, "alice");
    FAILS(weirp_key_decode(&read, "al\nice", 6, w.data, w.size, &arena, &err), WEIR_CORRUPT, "damaged");
    for (uint64_t i = 0; i < 20000; i++) { /* any byte wrong: read as something, or refused, in bounds */
        size_t at = weirp_random_u64(1, 1, i) % w.size;
        uint8_t was = w.data[at];
        w.data[at] = (uint8_t)weirp_random_u64(1, 2, i);
        weir_status st = weirp_key_decode(&read, "alice", 5, w.data, w.size, &arena, NULL);
        assert_true(st == WEIR_OK || st == WEIR_CORRUPT || st == WEIR_NEWER);
        w.data[at] = was;
        if (i % 1000 == 0) weirp_arena_free(&arena);
    }
    w.data[0] = 2;
    FAILS(weirp_key_decode(&read, "alice", 5, w.data, w.size, &arena, &err), WEIR_NEWER, "newer");
    weirp_writer_free(&w);
    weirp_writer_free(&again);
    weirp_arena_free(&arena);
}

static void test_what_may_be_said(void **state) {
    (void)state;
    char name[WEIRP_KEY_NAME + 1], note[WEIRP_KEY_NOTE + 1], model[WEIRP_SCOPE_TEXT + 1];
    memset(name, 'n', sizeof name);
    memset(note, 'n', sizeof note);
    memset(model, 'm', sizeof model);
    name[WEIRP_KEY_NAME] = note[WEIRP_KEY_NOTE] = model[WEIRP_SCOPE_TEXT] = '\0';
    weirp_key key = example();
    OK(weirp_key_check(&key, &err));
    static const char *const names[] = {"", "two words", "a/b", "a\nb", "\xc3\xa9", "a*"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        key.name = names[i];
        FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "1 to 63");
    }
    key.name = name;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "1 to 63");
    key.name = name + 1;
    OK(weirp_key_check(&key, &err));
    key.note = note;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "note has at most 255 bytes");
    key.note = note + 1;
    OK(weirp_key_check(&key, &err));
    key.team = "a\x1b[31m";
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "team");
    key.team = "\xff";
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "UTF-8");
    key = example();
    const char *many[WEIRP_KEY_MODELS + 1] = {model + 1, ""};
    key.models = many;
    key.n_models = 1;
    OK(weirp_key_check(&key, &err));
    key.n_models = 2;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "empty");
    many[1] = model;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "model");
    key.n_models = WEIRP_KEY_MODELS + 1;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "at most 64");
    key = example();
    key.limits.tokens = -1;
    FAILS(weirp_key_check(&key, &err), WEIR_INVALID, "tokens a minute");
}

static void test_models(void **state) {
    (void)state;
    weirp_key key = example();
    assert_true(weirp_key_allows(&key, "claude"));
    assert_false(weirp_key_allows(&key, "claud"));
    assert_false(weirp_key_allows(&key, "gpt-4o"));
    key.n_models = 0;
    assert_true(weirp_key_allows(&key, "anything"));
}

/* ---- lives ---- */

static void test_life(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT], other[WEIR_KEY_TEXT];
    int64_t now = weirp_unix_ms();
    weirp_keys *keys = load(NULL), *later;
    assert_int_equal(find(keys, "sk-weir-none", now), WEIRP_KEY_UNKNOWN);
    weirp_keys_drop(keys);

    create("alice", &(weir_key_options){.team = "search", .expires = "30d", .requests_per_minute = 60}, secret);
    create("bob", NULL, other);
    FAILS(weir_key_create(path, "alice", NULL, other, &err), WEIR_INVALID, "already");
    FAILS(weir_key_create(path, "carol", &(weir_key_options){.expires = "2001-01-01"}, other, &err), WEIR_INVALID,
          "over");
    FAILS(weir_key_create(path, "carol", &(weir_key_options){.expires = "soon"}, other, &err), WEIR_INVALID, "30d");
    keys = load(NULL);
    const weirp_key *key;
    assert_int_equal(weirp_keys_find(keys, secret, strlen(secret), now, &key), WEIRP_KEY_VALID);
    assert_string_equal(key->name, "alice");
    assert_string_equal(key->team, "search");
    assert_int_equal(key->limits.requests, 60);
    assert_string_equal(key->last, secret + strlen(secret) - 4);
    assert_int_equal(find(keys, "", now), WEIRP_KEY_UNKNOWN);
    secret[20] ^= 1;
    assert_int_equal(find(keys, secret, now), WEIRP_KEY_UNKNOWN);
    secret[20] ^= 1;
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    assert_int_equal(weirp_keys_find(keys, longer, sizeof longer, now, &key), WEIRP_KEY_UNKNOWN);

    OK(weir_key_revoke(path, "alice", &err));
    OK(weir_key_revoke(path, "alice", &err));
    assert_int_equal(find(keys, secret, now), WEIRP_KEY_VALID); /* a table doesn't change */
    later = load(keys);
    assert_int_not_equal(weirp_keys_loaded_version(later), weirp_keys_loaded_version(keys));
    assert_int_equal(find(later, secret, now), WEIRP_KEY_REVOKED);
    assert_int_equal(find(later, secret, 0), WEIRP_KEY_REVOKED); /* whatever the clock says */
    FAILS(weir_key_expire(path, "alice", "never", &err), WEIR_INVALID, "revoked");
    FAILS(weir_key_rotate(path, "alice", NULL, other, &err), WEIR_INVALID, "revoked");
    FAILS(weir_key_create(path, "alice", NULL, other, &err), WEIR_INVALID, "already");
    weirp_keys_drop(keys);
    weirp_keys_drop(later);

    OK(weir_key_remove(path, "alice", &err));
    FAILS(weir_key_remove(path, "alice", &err), WEIR_INVALID, "no key 'alice'");
    FAILS(weir_key_revoke(path, "bbo", &err), WEIR_INVALID, "did you mean 'bob'");
    char *json = NULL;
    FAILS(weir_key_show(path, "alice", &json, &err), WEIR_INVALID, "no key");
    create("alice", NULL, other); /* the name is free again, and the old text is not */
    keys = load(NULL);
    assert_int_equal(find(keys, secret, now), WEIRP_KEY_UNKNOWN);
    assert_int_equal(find(keys, other, now), WEIRP_KEY_VALID);
    weirp_keys_drop(keys);
}

static void test_expiry_and_clocks_that_go_back(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT];
    create("a", &(weir_key_options){.expires = "2100-01-01T00:00Z"}, secret);
    const int64_t end = INT64_C(4102444800000);
    weirp_keys *keys = load(NULL);
    assert_int_equal(find(keys, secret, end - 1), WEIRP_KEY_VALID);
    assert_int_equal(find(keys, "x", end), WEIRP_KEY_UNKNOWN); /* any question tells the time */
    assert_int_equal(find(keys, secret, end - DAY_MS), WEIRP_KEY_EXPIRED);
    weirp_keys *later = load(keys);
    weirp_keys_drop(keys);
    assert_int_equal(find(later, secret, end - DAY_MS), WEIRP_KEY_EXPIRED);
    weirp_keys_drop(later);

    OK(weir_key_expire(path, "a", "never", &err));
    keys = load(NULL);
    assert_int_equal(find(keys, secret, INT64_MAX), WEIRP_KEY_VALID);
    weirp_keys_drop(keys);
    OK(weir_key_expire(path, "a", "now", &err));
    keys = load(NULL);
    assert_int_equal(find(keys, secret, weirp_unix_ms()), WEIRP_KEY_EXPIRED);
    weirp_keys_drop(keys);
    char other[WEIR_KEY_TEXT];
    FAILS(weir_key_rotate(path, "a", NULL, other, &err), WEIR_INVALID, "expired");
}

static void test_rotation(void **state) {
    (void)state;
    char first[WEIR_KEY_TEXT], second[WEIR_KEY_TEXT], third[WEIR_KEY_TEXT], fourth[WEIR_KEY_TEXT];
    create("a", &(weir_key_options){.team = "t", .note = "n", .models = two_models, .n_models = 2}, first);
    OK(weir_key_rotate(path, "a", "1h", second, &err));
    int64_t now = weirp_unix_ms();
    weirp_keys *keys = load(NULL);
    assert_int_equal(find(keys, first, now), WEIRP_KEY_VALID);
    assert_int_equal(find(keys, second, now), WEIRP_KEY_VALID);
    const weirp_key *old, *new;
    weirp_keys_find(keys, first, strlen(first), now, &old);
    weirp_keys_find(keys, second, strlen(second), now, &new);
    assert_ptr_equal(old, new); /* one key: one budget, one set of rates */
    assert_string_equal(new->team, "t");
    assert_int_equal(new->n_models, 2);
    assert_in_range(new->previous_until_ms, now + 3590000, now + 3600000);
    assert_int_equal(find(keys, first, now + 3600000), WEIRP_KEY_REPLACED);
    assert_int_equal(find(keys, second, now + 3600000), WEIRP_KEY_VALID);
    assert_int_equal(find(keys, first, now), WEIRP_KEY_REPLACED); /* the clock went back */
    weirp_keys_drop(keys);

    OK(weir_key_rotate(path, "a", "10m", third, &err)); /* within the grace of the first */
    keys = load(NULL);
    assert_int_equal(find(keys, first, now), WEIRP_KEY_UNKNOWN);
    assert_int_equal(find(keys, second, now), WEIRP_KEY_VALID);
    assert_int_equal(find(keys, third, now), WEIRP_KEY_VALID);
    weirp_keys_drop(keys);
    OK(weir_key_rotate(path, "a", NULL, fourth, &err)); /* no grace */
    keys = load(NULL);
    assert_int_equal(find(keys, second, now), WEIRP_KEY_UNKNOWN);
    assert_int_equal(find(keys, third, now), WEIRP_KEY_UNKNOWN);
    assert_int_equal(find(keys, fourth, now), WEIRP_KEY_VALID);
    weirp_keys_drop(keys);
    FAILS(weir_key_rotate(path, "a", "soon", first, &err), WEIR_INVALID, "grace");
    FAILS(weir_key_rotate(path, "b", "1h", first, &err), WEIR_INVALID, "no key 'b'");
    /* revoking ends both texts */
    OK(weir_key_rotate(path, "a", "1h", first, &err));
    OK(weir_key_revoke(path, "a", &err));
    keys = load(NULL);
    assert_int_equal(find(keys, first, now), WEIRP_KEY_REVOKED);
    assert_int_equal(find(keys, fourth, now), WEIRP_KEY_REVOKED);
    weirp_keys_drop(keys);
}

static void test_secrets_are_not_stored(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT], second[WEIR_KEY_TEXT];
    create("a", NULL, secret);
    OK(weir_key_rotate(path, "a", "1h", second, &err));
    size_t size;
    uint8_t *bytes = slurp(path, &size);
    assert_null(memmem(bytes, size, secret + 8, 12));
    assert_null(memmem(bytes, size, second + 8, 12));
    assert_non_null(memmem(bytes, size, second + strlen(second) - 4, 4));
    free(bytes);
    char *json = NULL;
    OK(weir_key_show(path, "a", &json, &err));
    assert_null(strstr(json, second + 8));
    free(json);
}

static void test_reports(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT];
    create("b", &(weir_key_options){.models = two_models, .n_models = 2, .tokens_per_minute = 1000, .concurrent = 3},
           secret);
    create("a", &(weir_key_options){.expires = "2100-01-01", .note = "caf\xc3\xa9"}, secret);
    char *text = NULL;
    OK(weir_key_list(path, &text, &err));
    json_t *root = json_loads(text, 0, NULL), *keys = json_object_get(root, "keys");
    assert_int_equal(json_array_size(keys), 2);
    json_t *a = json_array_get(keys, 0), *b = json_array_get(keys, 1);
    assert_string_equal(json_string_value(json_object_get(a, "name")), "a");
    assert_string_equal(json_string_value(json_object_get(a, "expires")), "2100-01-01T00:00:00Z");
    assert_string_equal(json_string_value(json_object_get(a, "note")), "caf\xc3\xa9");
    assert_true(json_is_null(json_object_get(a, "tokens_per_minute")));
    assert_int_equal(json_array_size(json_object_get(b, "models")), 2);
    assert_int_equal(json_integer_value(json_object_get(b, "tokens_per_minute")), 1000);
    assert_int_equal(json_integer_value(json_object_get(b, "concurrent")), 3);
    assert_string_equal(json_string_value(json_object_get(b, "state")), "valid");
    json_decref(root);
    free(text);
}

/* A record that can't be read costs its own key, can be seen, and can be removed. */
static weir_status spoil(void *user, weirp_txn *txn, weir_error *e) {
    return weirp_txn_put(txn, user, strlen(user), (const uint8_t *)"\1\0\0\0rubbish", 11, e);
}

static void test_one_bad_record(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT];
    create("good", NULL, secret);
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    char bad[] = WEIRP_KEYS_PREFIX "bad";
    OK(weirp_store_transact(store, NULL, 0, spoil, bad, &err));
    weirp_store_close(store);
    weirp_keys *keys = load(NULL);
    assert_int_equal(weirp_keys_n_unreadable(keys), 1);
    assert_int_equal(find(keys, secret, 0), WEIRP_KEY_VALID);
    weirp_keys_drop(keys);
    char *text = NULL;
    OK(weir_key_list(path, &text, &err));
    assert_non_null(strstr(text, "'bad' is damaged"));
    free(text);
    FAILS(weir_key_rotate(path, "bad", NULL, secret, &err), WEIR_CORRUPT, "damaged");
    OK(weir_key_remove(path, "bad", &err));
    keys = load(NULL);
    assert_int_equal(weirp_keys_n_unreadable(keys), 0);
    weirp_keys_drop(keys);
}

/* ---- threads ---- */

enum { N_THREADS = 3, N_FINDS = 20000 };

typedef struct asking {
    weirp_keys *keys; /* counted for the thread */
    const char *text;
    size_t n_valid;
} asking;

static void *ask(void *user) {
    asking *a = user;
    const weirp_key *key;
    for (int64_t i = 0; i < N_FINDS; i++)
        a->n_valid +=
            weirp_keys_find(a->keys, a->text, strlen(a->text), i, &key) == WEIRP_KEY_VALID && !strcmp(key->name, "a");
    weirp_keys_drop(a->keys);
    return NULL;
}

/* The last to let go frees it, whoever that is. */
static void test_threads_share_a_table(void **state) {
    (void)state;
    char secret[WEIR_KEY_TEXT];
    pthread_t thread[N_THREADS];
    asking a[N_THREADS];
    create("a", NULL, secret);
    weirp_keys *keys = load(NULL);
    for (int i = 0; i < N_THREADS; i++) {
        a[i] = (asking){weirp_keys_keep(keys), secret, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, ask, &a[i]), 0);
    }
    weirp_keys *later = load(keys);
    weirp_keys_drop(keys);
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(a[i].n_valid, N_FINDS);
    }
    weirp_keys_drop(later);
}

/* ---- many ---- */

enum { MANY = 100000, A_TRANSACTION = 10000 };

static void many_key(size_t i, weirp_key *key, char name[32], char text[32]) {
    snprintf(name, 32, "service-%zu", i);
    snprintf(text, 32, "text-%zu", i);
    *key = (weirp_key){.name = name, .team = "platform", .note = "", .created_ms = 1, .limits = {60, 100000, 4}};
    weirp_key_digest(text, strlen(text), key->digest);
    memcpy(key->last, "abcd", 5);
}

static weir_status put_many(void *user, weirp_txn *txn, weir_error *e) {
    weir_status st = WEIR_OK;
    for (size_t i = *(size_t *)user; i < *(size_t *)user + A_TRANSACTION && st == WEIR_OK; i++) {
        weirp_key key;
        char name[32], text[32];
        many_key(i, &key, name, text);
        st = weirp_key_put(txn, &key, e);
    }
    return st;
}

static void test_a_hundred_thousand(void **state) {
    (void)state;
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    for (size_t from = 0; from < MANY; from += A_TRANSACTION)
        OK(weirp_store_transact(store, NULL, 0, put_many, &from, &err));
    weirp_store_close(store);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    uint64_t started = weirp_cpu_ns();
    weirp_keys *keys = load(NULL);
    uint64_t loaded = weirp_cpu_ns();
    size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    for (size_t i = 0; i < MANY; i++) {
        weirp_key key;
        const weirp_key *found;
        char name[32], text[32];
        many_key(i, &key, name, text);
        assert_int_equal(weirp_keys_find(keys, text, strlen(text), 5, &found), WEIRP_KEY_VALID);
        assert_string_equal(found->name, name);
    }
    uint64_t done = weirp_cpu_ns();
    print_message("%d keys: loaded in %.0f ms of CPU, %.1f MB; %.2f us a lookup\n", MANY,
                  (double)(loaded - started) / 1e6, (double)bytes / 1e6, (double)(done - loaded) / 1e3 / MANY);
    assert_true(bytes < 64 << 20); /* sanitizers' allocators tell nothing */
    assert_int_equal(find(keys, "text-100000", 5), WEIRP_KEY_UNKNOWN);
    weirp_keys_drop(keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_text_of_keys),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_what_may_be_said),
        cmocka_unit_test(test_models),
        STORE_TEST(test_life),
        STORE_TEST(test_expiry_and_clocks_that_go_back),
        STORE_TEST(test_rotation),
        STORE_TEST(test_secrets_are_not_stored),
        STORE_TEST(test_reports),
        STORE_TEST(test_one_bad_record),
        STORE_TEST(test_threads_share_a_table),
        STORE_TEST(test_a_hundred_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

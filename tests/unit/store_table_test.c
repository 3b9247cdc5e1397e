/* Store: the table: values under keys, in order, read and changed in one transaction.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

/* ---- one step at a time ---- */

typedef struct step {
    const char *key;
    const void *data; /* NULL: delete */
    size_t size;
    weir_status expected, then; /* of the step; what the work returns */
    int calls;
} step;

static weir_status one_step(void *user, weirp_txn *txn, weir_error *err) {
    step *s = user;
    s->calls++;
    weir_status st = s->data ? weirp_txn_put(txn, s->key, strlen(s->key), s->data, s->size, err)
                             : weirp_txn_delete(txn, s->key, strlen(s->key), err);
    s->expected = st;
    return st == WEIR_OK ? s->then : st;
}

static void put_value(weirp_store *store, const char *key, const char *value) {
    weir_error err = {0};
    step s = {.key = key, .data = value, .size = strlen(value)};
    OK(weirp_store_transact(store, NULL, 0, one_step, &s, &err));
}

/* What a new snapshot finds; NULL: nothing. In a buffer of its own. */
static const char *value_of(weirp_store *store, const char *key) {
    static char text[300];
    weirp_snapshot *s;
    weir_error err = {0};
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&s, store, &err));
    weir_status st = weirp_txn_get(weirp_snapshot_table(s), key, strlen(key), &data, &size, &err);
    if (st == WEIR_OK) {
        assert_true(size < sizeof text);
        memcpy(text, data, size);
        text[size] = '\0';
    } else {
        assert_int_equal(st, WEIR_NOTFOUND);
        assert_int_equal(err.status, WEIR_OK);
    }
    weirp_snapshot_end(s);
    return st == WEIR_OK ? text : NULL;
}

static void puts_gets_and_deletes(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    assert_null(value_of(store, "a"));
    put_value(store, "a", "one");
    put_value(store, "b", "");
    assert_string_equal(value_of(store, "a"), "one");
    assert_string_equal(value_of(store, "b"), "");
    put_value(store, "a", "another, longer one");
    assert_string_equal(value_of(store, "a"), "another, longer one");
    step gone = {.key = "a"};
    OK(weirp_store_transact(store, NULL, 0, one_step, &gone, &err));
    assert_null(value_of(store, "a"));
    assert_int_equal(weirp_store_transact(store, NULL, 0, one_step, &gone, &err), WEIR_NOTFOUND);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    store = open_store(path, WEIRP_STORE_READ);
    assert_string_equal(value_of(store, "b"), "");
    weirp_store_close(store);
}

/* ---- against a model: sorted keys of many lengths, among them binary ones and ones that begin another ---- */

enum { KEYS = 600, ROUNDS = 120, OPS = 40 };

typedef struct model {
    uint64_t value[KEYS]; /* seed of the bytes; 0: not there */
    uint64_t round;
} model;

static size_t key_bytes(size_t i, uint8_t key[WEIRP_TABLE_KEY]) {
    size_t size = 2 + (i % 9 == 0 ? WEIRP_TABLE_KEY - 2 : i % 7 * 11);
    memset(key, (int)(i % 3 ? 0 : 255), size);
    key[0] = (uint8_t)(i >> 4); /* 16 keys a prefix */
    key[1] = (uint8_t)(i & 15);
    return size;
}

static size_t value_size(uint64_t seed) {
    return seed % 5 == 0 ? seed % 9000 : seed % 60;
}

static weir_status change_some(void *user, weirp_txn *txn, weir_error *err) {
    model *m = user;
    uint8_t key[WEIRP_TABLE_KEY];
    weir_status st;
    for (uint64_t op = 0; op < OPS; op++) {
        uint64_t chance = weirp_random_u64(1, m->round, op);
        size_t i = chance % KEYS, size = key_bytes(i, key), found;
        const uint8_t *data;
        st = weirp_txn_get(txn, key, size, &data, &found, err);
        assert_int_equal(st, m->value[i] ? WEIR_OK : WEIR_NOTFOUND);
        if (m->value[i]) assert_int_equal(found, value_size(m->value[i]));
        if (chance >> 40 & 1) {
            m->value[i] = chance >> 41 | 1;
            uint8_t *bytes = bytes_of(value_size(m->value[i]), m->value[i]);
            st = weirp_txn_put(txn, key, size, bytes, value_size(m->value[i]), err);
            free(bytes);
            if (st != WEIR_OK) return st; /* to be repeated: the caller restores the model */
        } else {
            assert_int_equal(weirp_txn_delete(txn, key, size, err), m->value[i] ? WEIR_OK : WEIR_NOTFOUND);
            m->value[i] = 0;
        }
    }
    return WEIR_OK;
}

/* Starts every try from the model as it was before the first. */
typedef struct attempt {
    model before, now;
    int calls;
} attempt;

static weir_status attempt_some(void *user, weirp_txn *txn, weir_error *err) {
    attempt *a = user;
    a->calls++;
    a->now = a->before;
    return change_some(&a->now, txn, err);
}

typedef struct walker {
    const model *m;
    size_t at, end; /* model keys: the next that may come, and where they end */
    size_t n;
} walker;

static weir_status visit_model(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                               weir_error *err) {
    walker *w = user;
    uint8_t expected[WEIRP_TABLE_KEY];
    (void)err;
    while (w->at < w->end && !w->m->value[w->at]) w->at++;
    assert_true(w->at < w->end);
    assert_int_equal(key_size, key_bytes(w->at, expected));
    assert_memory_equal(key, expected, key_size);
    uint8_t *bytes = bytes_of(value_size(w->m->value[w->at]), w->m->value[w->at]);
    assert_int_equal(size, value_size(w->m->value[w->at]));
    assert_memory_equal(data, bytes, size);
    free(bytes);
    w->at++;
    w->n++;
    return WEIR_OK;
}

static size_t count_model(const model *m, size_t from, size_t to) {
    size_t n = 0;
    for (size_t i = from; i < to; i++) n += m->value[i] != 0;
    return n;
}

static void check_model(weirp_store *store, const model *m) {
    weirp_snapshot *s;
    weir_error err = {0};
    uint8_t key[WEIRP_TABLE_KEY];
    OK(weirp_snapshot_begin(&s, store, &err));
    weirp_txn *t = weirp_snapshot_table(s);
    assert_int_equal(weirp_snapshot_n_table(s), count_model(m, 0, KEYS));
    walker all = {m, 0, KEYS, 0};
    OK(weirp_txn_scan(t, NULL, 0, NULL, 0, visit_model, &all, &err));
    assert_int_equal(all.n, count_model(m, 0, KEYS));
    for (size_t first = 0; first < KEYS; first += 16) {
        /* a prefix, from its middle, from before it, and from behind it */
        uint8_t prefix = (uint8_t)(first >> 4), behind = (uint8_t)(prefix + 1);
        size_t end = first + 16 < KEYS ? first + 16 : KEYS, middle = first + m->round % (end - first);
        walker w = {m, first, end, 0};
        OK(weirp_txn_scan(t, &prefix, 1, NULL, 0, visit_model, &w, &err));
        assert_int_equal(w.n, count_model(m, first, end));
        w = (walker){m, first, end, 0};
        OK(weirp_txn_scan(t, &prefix, 1, "", 1, visit_model, &w, &err));
        assert_int_equal(w.n, count_model(m, first, end));
        w = (walker){m, middle, end, 0};
        OK(weirp_txn_scan(t, &prefix, 1, key, key_bytes(middle, key), visit_model, &w, &err));
        assert_int_equal(w.n, count_model(m, middle, end));
        w = (walker){m, 0, 0, 0};
        OK(weirp_txn_scan(t, &prefix, 1, &behind, 1, visit_model, &w, &err));
    }
    weirp_snapshot_end(s);
}

static void agrees_with_a_model(void **state) {
    (void)state;
    weir_error err = {0};
    attempt *a = weirp_array(1, sizeof *a);
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        a->before.round = round;
        OK(weirp_store_transact(store, NULL, 0, attempt_some, a, &err));
        a->before = a->now;
        if (round % 10 == 0) check_model(store, &a->now);
        if (round % 30 != 29) continue;
        weirp_store_close(store);
        OK(weirp_store_verify(path, NULL, NULL, &err));
        if (round % 60 == 59) OK(weirp_store_compact_file(path, NULL, &err));
        store = open_store(path, round % 60 == 59 ? WEIRP_STORE_JOIN : WEIRP_STORE_WRITE);
        check_model(store, &a->now);
    }
    assert_int_equal(a->calls, ROUNDS + 1); /* once more for making the table */
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(a);
}

/* ---- limits, and what may not be ---- */

static weir_status try_limits(void *user, weirp_txn *txn, weir_error *err) {
    uint8_t *big = user, key[WEIRP_TABLE_KEY + 1] = {1};
    const uint8_t *data;
    size_t size;
    (void)err;
    assert_int_equal(weirp_txn_put(txn, key, 0, big, 1, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_put(txn, key, WEIRP_TABLE_KEY + 1, big, 1, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_get(txn, key, 0, &data, &size, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_get(txn, key, WEIRP_TABLE_KEY + 1, &data, &size, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_delete(txn, key, 0, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_put(txn, key, 1, big, WEIRP_TABLE_VALUE + 1, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_put(txn, key, 1, NULL, 1, NULL), WEIR_INVALID);
    weir_status st = weirp_txn_put(txn, key, WEIRP_TABLE_KEY, big, WEIRP_TABLE_VALUE, NULL);
    if (st != WEIR_OK) return st;
    assert_int_equal(weirp_txn_get(txn, key, WEIRP_TABLE_KEY, &data, &size, NULL), WEIR_OK);
    assert_int_equal(size, WEIRP_TABLE_VALUE);
    assert_memory_equal(data, big, size);
    return WEIR_OK;
}

static weir_status change_in_scan(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                  weir_error *err) {
    (void)err;
    assert_int_equal(weirp_txn_put(user, key, key_size, data, 1, NULL), WEIR_INVALID);
    assert_int_equal(weirp_txn_delete(user, key, key_size, NULL), WEIR_INVALID);
    const uint8_t *again;
    assert_int_equal(weirp_txn_get(user, key, key_size, &again, &size, NULL), WEIR_OK);
    return WEIR_END;
}

static weir_status scan_and_change(void *user, weirp_txn *txn, weir_error *err) {
    weirp_store *store = user;
    assert_int_equal(weirp_txn_scan(txn, NULL, 0, NULL, 0, change_in_scan, txn, err), WEIR_END);
    /* no second way in: it would wait for this one for ever */
    assert_int_equal(weirp_store_transact(store, NULL, 0, scan_and_change, store, NULL), WEIR_INVALID);
    assert_int_equal(weirp_store_commit(store, NULL, 0, NULL), WEIR_INVALID);
    return WEIR_OK;
}

static void limits(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *big = bytes_of(WEIRP_TABLE_VALUE + 1, 3);
    OK(weirp_store_transact(store, NULL, 0, try_limits, big, &err));
    OK(weirp_store_transact(store, NULL, 0, scan_and_change, store, &err));
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(weirp_txn_put(weirp_snapshot_table(s), "k", 1, big, 1, NULL), WEIR_READONLY);
    assert_int_equal(weirp_txn_delete(weirp_snapshot_table(s), "k", 1, NULL), WEIR_READONLY);
    weirp_snapshot_end(s);
    weirp_store *reader = open_store(path, WEIRP_STORE_READ);
    assert_int_equal(weirp_store_transact(reader, NULL, 0, try_limits, big, NULL), WEIR_READONLY);
    weirp_store_close(reader);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(big);
}

/* ---- all or nothing ---- */

static void failing_work_undoes_all(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    put_value(store, "a", "old");
    weirp_change change = put("section", "bytes", 5);
    step s = {.key = "a", .data = "new", .size = 3, .then = WEIR_NUMERIC};
    assert_int_equal(weirp_store_transact(store, &change, 1, one_step, &s, &err), WEIR_NUMERIC);
    assert_int_equal(s.calls, 1);
    assert_string_equal(value_of(store, "a"), "old");
    /* and changes that can't be undo the work */
    weirp_change bad = {.kind = WEIRP_PUT, .section = ""};
    s.then = WEIR_OK;
    assert_int_equal(weirp_store_transact(store, &bad, 1, one_step, &s, NULL), WEIR_INVALID);
    assert_string_equal(value_of(store, "a"), "old");
    weirp_snapshot *snapshot;
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    assert_int_equal(weirp_snapshot_version(snapshot), 0);
    assert_int_equal(weirp_snapshot_table_version(snapshot), 1);
    weirp_snapshot_end(snapshot);
    /* both together */
    OK(weirp_store_transact(store, &change, 1, one_step, &s, &err));
    assert_string_equal(value_of(store, "a"), "new");
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_get(snapshot, "section", &data, &size, &err));
    assert_int_equal(weirp_snapshot_version(snapshot), 1);
    assert_int_equal(weirp_snapshot_table_version(snapshot), 2);
    weirp_snapshot_end(snapshot);
    /* the table alone is no commit: what the one writer knows stays right */
    put_value(store, "a", "newer");
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    assert_int_equal(weirp_snapshot_version(snapshot), 1);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
}

/* ---- the map ---- */

static void repeated_on_growth(void **state) {
    (void)state;
    weir_error err = {0};
    attempt *a = weirp_array(1, sizeof *a);
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    int repeated = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        if (round % 4 == 0) OK(set_map(store->env, file_size(path) + 4096 * 4, &err));
        a->before.round = round;
        a->calls = 0;
        OK(weirp_store_transact(store, NULL, 0, attempt_some, a, &err));
        assert_int_equal(err.status, WEIR_OK);
        repeated += a->calls > 1;
        a->before = a->now;
        if (round % 20 == 0) check_model(store, &a->now);
    }
    assert_true(repeated > 5);
    check_model(store, &a->now);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(a);
}

/* ---- schema ---- */

static weir_status only_look(void *user, weirp_txn *txn, weir_error *err) {
    const uint8_t *data;
    size_t size;
    (void)user;
    assert_int_equal(weirp_txn_get(txn, "a", 1, &data, &size, err), WEIR_NOTFOUND);
    assert_int_equal(weirp_txn_delete(txn, "a", 1, err), WEIR_NOTFOUND);
    return weirp_txn_scan(txn, "a", 1, NULL, 0, change_in_scan, txn, err);
}

static uint32_t schema_of(const char *name) {
    weir_error err = {0};
    weirp_store *store = open_store(name, WEIRP_STORE_READ);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    uint32_t schema = s->meta.schema;
    weirp_snapshot_end(s);
    weirp_store_close(store);
    return schema;
}

/* Stores without a table stay as they are, byte for byte, until something is put into it. */
static void made_when_first_written(void **state) {
    (void)state;
    weir_error err = {0};
    for (int indexed = 0; indexed < 2; indexed++) {
        weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
        weirp_change change = append("record", 6);
        change.number = indexed ? 77 : 0;
        OK(weirp_store_commit(store, &change, 1, &err));
        weirp_store_close(store);
        size_t size, size_after;
        uint8_t *before = slurp(path, &size);
        store = open_store(path, WEIRP_STORE_JOIN);
        OK(weirp_store_transact(store, NULL, 0, only_look, NULL, &err));
        weirp_snapshot *s, *old;
        OK(weirp_snapshot_begin(&s, store, &err));
        assert_int_equal(weirp_txn_get(weirp_snapshot_table(s), "a", 1, &(const uint8_t *){0}, &(size_t){0}, &err),
                         WEIR_NOTFOUND);
        weirp_snapshot_end(s);
        uint8_t *after = slurp(path, &size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        assert_int_equal(schema_of(path), indexed ? WEIRP_SCHEMA_INDEX : WEIRP_SCHEMA_PLAIN);
        /* a reader, and a writer, who had the file open before there was a table */
        weirp_store *reader = open_store(path, WEIRP_STORE_READ), *writer = open_store(path, WEIRP_STORE_WRITE);
        OK(weirp_snapshot_begin(&old, reader, &err));
        put_value(store, "a", "1");
        assert_string_equal(value_of(reader, "a"), "1");
        OK(weirp_store_commit(writer, &change, 1, &err));
        put_value(writer, "b", "2");
        assert_string_equal(value_of(reader, "b"), "2");
        assert_int_equal(weirp_txn_get(weirp_snapshot_table(old), "a", 1, &(const uint8_t *){0}, &(size_t){0}, &err),
                         WEIR_NOTFOUND);
        weirp_snapshot_end(old);
        weirp_store_close(writer);
        weirp_store_close(reader);
        weirp_store_close(store);
        assert_int_equal(schema_of(path), WEIRP_SCHEMA_TABLE);
        OK(weirp_store_verify(path, NULL, NULL, &err));
        OK(weirp_store_compact_file(path, NULL, &err));
        OK(weirp_store_verify(path, NULL, NULL, &err));
        reader = open_store(path, WEIRP_STORE_READ);
        assert_string_equal(value_of(reader, "b"), "2");
        weirp_store_close(reader);
        free(before);
        free(after);
        unlink(path);
    }
}

/* ---- damage ---- */

/* Every byte of the table's values counts. */
static void flipped_bytes_are_found(void **state) {
    (void)state;
    static const char *values[] = {"needle-in-a-short-value", "needle-in-another"};
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    put_value(store, "key-one", values[0]);
    put_value(store, "key-two", values[1]);
    uint8_t *big = bytes_of(9000, 8);
    step s = {.key = "key-long", .data = big, .size = 9000};
    OK(weirp_store_transact(store, NULL, 0, one_step, &s, &err));
    weirp_store_close(store);
    OK(weirp_store_compact_file(path, NULL, &err)); /* no copies in free pages */
    size_t size, flipped = 0;
    uint8_t *whole = slurp(path, &size);
    for (size_t i = 0; i + 40 < size; i++) {
        bool is_value = memcmp(whole + i, "needle", 6) == 0 || memcmp(whole + i, big, 16) == 0;
        bool is_key = memcmp(whole + i, "key-", 4) == 0;
        if (!is_value && !is_key) continue;
        for (size_t at = i - (is_value ? WEIRP_TABLE_HEADER : 0); at < i + 7; at++) {
            whole[at] ^= 0x10;
            spill(path, whole, size);
            assert_int_equal(weirp_store_verify(path, NULL, NULL, NULL), WEIR_CORRUPT);
            assert_int_equal(weirp_store_compact_file(path, NULL, NULL), WEIR_CORRUPT);
            whole[at] ^= 0x10;
            flipped++;
        }
    }
    assert_true(flipped >= 3 * 15 + 3 * 7);
    spill(path, whole, size);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(whole);
    free(big);
}

/* What LMDB believes of a long value's first page when the value goes. */
static void flipped_page_headers_are_found(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *big = bytes_of(90000, 8);
    step s = {.key = "long", .data = big, .size = 90000};
    put_value(store, "short", "1");
    for (int i = 0; i < 40; i++) { /* longer and shorter, in transactions of their own */
        s.size = 3000 + (size_t)(i * 7919 % 20000);
        OK(weirp_store_transact(store, NULL, 0, one_step, &s, &err));
    }
    weirp_store_close(store);
    OK(weirp_store_compact_file(path, NULL, &err));
    size_t size, at = 0;
    uint8_t *whole = slurp(path, &size);
    while (at + 4096 < size && memcmp(whole + at + WEIRP_PAGE_HEADER + WEIRP_TABLE_HEADER, big, 64) != 0) at += 4096;
    assert_true(at + 4096 < size);
    for (size_t byte = 0; byte < WEIRP_PAGE_HEADER; byte++) {
        if (byte == 8 || byte == 9) continue; /* nobody's */
        for (int bit = 0; bit < 8; bit++) {
            whole[at + byte] ^= (uint8_t)(1 << bit);
            spill(path, whole, size);
            assert_int_equal(weirp_store_verify(path, NULL, NULL, NULL), WEIR_CORRUPT);
            for (int kind = 0; kind < 2; kind++) {
                step change = {.key = "long", .data = kind ? big : NULL, .size = 5000};
                store = open_store(path, WEIRP_STORE_JOIN);
                assert_int_equal(weirp_store_transact(store, NULL, 0, one_step, &change, NULL), WEIR_CORRUPT);
                weirp_store_close(store);
            }
            whole[at + byte] ^= (uint8_t)(1 << bit);
        }
    }
    spill(path, whole, size);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(whole);
    free(big);
}

/* Values of all lengths around what fits into a page, put and deleted several times in one transaction. */
static weir_status put_again(void *user, weirp_txn *txn, weir_error *err) {
    uint8_t *big = user;
    weir_status st;
    for (size_t size = 1900; size < 2150; size++) {
        char key[16];
        snprintf(key, sizeof key, "%zu", size);
        for (size_t i = 0; i < 3; i++)
            WEIRP_TRY(weirp_txn_put(txn, key, strlen(key), big, (size + 4096 * (i + size)) % 13000, err));
        WEIRP_TRY(weirp_txn_put(txn, key, strlen(key), big, size, err));
        if (size % 7 == 0) WEIRP_TRY(weirp_txn_delete(txn, key, strlen(key), err));
    }
    st = WEIR_OK;
done:
    return st;
}

static void lengths_around_a_page(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *big = bytes_of(13000, 8);
    for (int round = 0; round < 5; round++) {
        OK(weirp_store_transact(store, NULL, 0, put_again, big, &err));
        OK(weirp_store_verify(path, NULL, NULL, &err));
    }
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(big);
}

/* A value that is gone, or an older one that has come back, with its checksum intact. */
static void wrong_counts_are_found(void **state) {
    (void)state;
    weir_error err = {0};
    for (int kind = 0; kind < 2; kind++) {
        weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
        put_value(store, "a", "older");
        put_value(store, "b", "b");
        uint8_t stored[WEIRP_TABLE_HEADER + 5];
        MDB_val key = {1, (void *)(uintptr_t) "a"}, value;
        MDB_txn *txn;
        OK(weirp_env_begin(store->env, false, &txn, &err));
        assert_int_equal(mdb_get(txn, store->env->table, &key, &value), 0);
        assert_int_equal(value.mv_size, sizeof stored);
        memcpy(stored, value.mv_data, sizeof stored);
        weirp_env_end(store->env, txn, false);
        put_value(store, "a", "newer");
        OK(weirp_env_begin(store->env, true, &txn, &err));
        value = (MDB_val){sizeof stored, stored};
        assert_int_equal(
            kind ? mdb_del(txn, store->env->table, &key, NULL) : mdb_put(txn, store->env->table, &key, &value, 0), 0);
        assert_int_equal(weirp_env_end(store->env, txn, true), 0);
        weirp_store_close(store);
        assert_int_equal(weirp_store_verify(path, NULL, NULL, NULL), WEIR_CORRUPT);
        unlink(path);
    }
}

static weir_status ignore_failure(void *user, weirp_txn *txn, weir_error *err) {
    (void)user, (void)err;
    assert_int_equal(weirp_txn_put(txn, "first", 5, (const uint8_t *)"1", 1, NULL), WEIR_OK);
    assert_int_equal(weirp_txn_put(txn, "bad", 3, (const uint8_t *)"1", 1, NULL), WEIR_CORRUPT);
    assert_int_equal(weirp_txn_put(txn, "second", 6, (const uint8_t *)"1", 1, NULL), WEIR_CORRUPT);
    return WEIR_OK;
}

/* Nothing is committed once a write has failed, whatever the work makes of it. */
static void a_failed_write_spoils_all(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    put_value(store, "a", "1");
    MDB_txn *txn;
    MDB_val key = {3, (void *)(uintptr_t) "bad"}, value = {3, (void *)(uintptr_t) "abc"};
    OK(weirp_env_begin(store->env, true, &txn, &err));
    assert_int_equal(mdb_put(txn, store->env->table, &key, &value, 0), 0);
    assert_int_equal(weirp_env_end(store->env, txn, true), 0);
    assert_int_equal(weirp_store_transact(store, NULL, 0, ignore_failure, NULL, NULL), WEIR_CORRUPT);
    assert_null(value_of(store, "first"));
    assert_string_equal(value_of(store, "a"), "1");
    weirp_store_close(store);
    assert_int_equal(open_status(path, WEIRP_STORE_READ, NULL), WEIR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(puts_gets_and_deletes),   TEST(agrees_with_a_model),       TEST(limits),
        TEST(failing_work_undoes_all), TEST(repeated_on_growth),        TEST(made_when_first_written),
        TEST(flipped_bytes_are_found), TEST(wrong_counts_are_found),    TEST(flipped_page_headers_are_found),
        TEST(lengths_around_a_page),   TEST(a_failed_write_spoils_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

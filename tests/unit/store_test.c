/* Store: what is put comes back, commits are whole, the log keeps its order, files keep their names.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

static void create_put_get(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weirp_change changes[] = {put("pool", "abc", 3), put("empty", NULL, 0), append("one", 3), append("", 0)};
    OK(weirp_store_commit(store, changes, 4, &err));
    weirp_store_close(store);
    assert_int_equal(count_files(".new-"), 0);

    store = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    const uint8_t *data;
    const char *name;
    size_t size;
    OK(weirp_snapshot_get(s, "pool", &data, &size, &err));
    assert_int_equal(size, 3);
    assert_memory_equal(data, "abc", 3);
    OK(weirp_snapshot_get(s, "empty", &data, &size, &err));
    assert_int_equal(size, 0);
    assert_int_equal(weirp_snapshot_version(s), 1);
    assert_int_equal(weirp_snapshot_n_log(s), 2);
    OK(weirp_snapshot_section(s, 0, &name, &size, &err));
    assert_string_equal(name, "empty");
    const char *second;
    OK(weirp_snapshot_section(s, 1, &second, &size, &err));
    assert_string_equal(second, "pool");
    assert_int_equal(size, 3);
    assert_string_equal(name, "empty"); /* still there */
    assert_int_equal(weirp_snapshot_section(s, 2, &name, &size, &err), WEIR_END);
    assert_int_equal(weirp_snapshot_get(s, "none", &data, &size, &err), WEIR_NOTFOUND);
    weirp_snapshot_end(s);
    err = (weir_error){0};
    assert_int_equal(weirp_store_commit(store, changes, 4, &err), WEIR_READONLY);
    weirp_store_close(store);
    size_t n_sections;
    uint64_t n_log;
    err = (weir_error){0};
    OK(weirp_store_verify(path, &n_sections, &n_log, &err));
    assert_int_equal(n_sections, 2);
    assert_int_equal(n_log, 2);
    OK(weirp_store_verify(path, NULL, NULL, NULL));
    weirp_store_close(NULL);
    weirp_snapshot_end(NULL);
}

static void missing_is_not_found(void **state) {
    (void)state;
    assert_int_equal(open_status(path, WEIRP_STORE_READ, NULL), WEIR_NOTFOUND);
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, NULL), WEIR_NOTFOUND);
    char deep[400];
    snprintf(deep, sizeof deep, "%s/none/s.mdb", folder);
    assert_int_equal(open_status(deep, WEIRP_STORE_CREATE, NULL), WEIR_NOTFOUND);
    assert_int_equal(count_files("s.mdb"), 0);
}

static void changes_in_order(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weirp_change changes[] = {
        put("a/1", "x", 1),
        put("a/2", "y", 1),
        put("ab", "z", 1),
        put("b", "w", 1),
        put("a/1", "second", 6),
        {WEIRP_DELETE, "b", NULL, 0},
        {WEIRP_DELETE, "never", NULL, 0},
        {WEIRP_DELETE, "a", NULL, 0},
    };
    OK(weirp_store_commit(store, changes, 8, &err));
    weirp_snapshot *s;
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&s, store, &err));
    OK(weirp_snapshot_get(s, "a/1", &data, &size, &err));
    assert_int_equal(size, 6);
    assert_int_equal(weirp_snapshot_get(s, "b", &data, &size, NULL), WEIR_NOTFOUND);
    OK(weirp_snapshot_get(s, "ab", &data, &size, &err));
    weirp_snapshot_end(s);
    weirp_change prefix[] = {{WEIRP_DELETE_PREFIX, "a/", NULL, 0}, put("a/3", "new", 3)};
    OK(weirp_store_commit(store, prefix, 2, &err));
    OK(weirp_snapshot_begin(&s, store, &err));
    const char *name;
    OK(weirp_snapshot_section(s, 0, &name, &size, &err));
    assert_string_equal(name, "a/3");
    OK(weirp_snapshot_section(s, 1, &name, &size, &err));
    assert_string_equal(name, "ab");
    assert_int_equal(weirp_snapshot_section(s, 2, &name, &size, &err), WEIR_END);
    weirp_snapshot_end(s);
    weirp_change all[] = {{WEIRP_DELETE_PREFIX, "", NULL, 0}};
    OK(weirp_store_commit(store, all, 1, &err));
    size_t n_sections = 9;
    OK(weirp_store_verify(path, &n_sections, NULL, &err));
    assert_int_equal(n_sections, 0);
    weirp_store_close(store);
}

static void wrong_changes(void **state) {
    (void)state;
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    char long_name[600];
    memset(long_name, 'n', sizeof long_name);
    long_name[511] = '\0';
    weir_error err = {0};
    weirp_change longest[] = {put(long_name, "v", 1)};
    OK(weirp_store_commit(store, longest, 1, &err));
    long_name[511] = 'n';
    long_name[512] = '\0';
    const weirp_change wrong[] = {put("", "v", 1),
                                  put(NULL, "v", 1),
                                  put(long_name, "v", 1),
                                  put("s", NULL, 4),
                                  append(NULL, 1),
                                  append("v", (size_t)UINT32_MAX),
                                  {WEIRP_DELETE, NULL, NULL, 0},
                                  {WEIRP_DELETE_PREFIX, NULL, NULL, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weirp_change both[] = {put("ok", "v", 1), wrong[i]};
        assert_int_equal(weirp_store_commit(store, both, 2, NULL), WEIR_INVALID);
    }
    weirp_snapshot *s;
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(weirp_snapshot_version(s), 1);
    assert_int_equal(weirp_snapshot_get(s, "ok", &data, &size, NULL), WEIR_NOTFOUND);
    assert_int_equal(weirp_snapshot_get(s, "", &data, &size, NULL), WEIR_INVALID);
    OK(weirp_snapshot_get(s, longest->section, &data, &size, NULL) == WEIR_INVALID ? WEIR_OK : WEIR_IO);
    weirp_snapshot_end(s);
    weirp_store_close(store);
}

/* ---- the log ---- */

typedef struct expectation {
    uint64_t next, seed, stop_at;
    size_t spread;
} expectation;

static size_t record_size(uint64_t number, uint64_t seed, size_t spread) {
    return (size_t)(weirp_random_u64(seed, 7, number) % (spread + 1));
}

static weir_status expect_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    expectation *e = user;
    assert_int_equal(number, e->next);
    assert_int_equal(size, record_size(number, e->seed, e->spread));
    uint8_t *bytes = bytes_of(size, e->seed + number);
    assert_memory_equal(data, bytes, size);
    free(bytes);
    e->next++;
    return number == e->stop_at ? weirp_fail(err, WEIR_CANCELED, 0, "enough") : WEIR_OK;
}

static void append_records(weirp_store *store, uint64_t from, size_t n, uint64_t seed, size_t spread) {
    weir_error err = {0};
    weirp_change *changes = calloc(n, sizeof *changes);
    uint8_t **bytes = calloc(n, sizeof *bytes);
    for (size_t i = 0; i < n; i++) {
        size_t size = record_size(from + i, seed, spread);
        bytes[i] = bytes_of(size, seed + from + i);
        changes[i] = append(bytes[i], size);
    }
    OK(weirp_store_commit(store, changes, n, &err));
    for (size_t i = 0; i < n; i++) free(bytes[i]);
    free(bytes);
    free(changes);
}

/* Batches of every size, records of every size: what counts is that the log reads the same from any place. */
static void log_in_any_batches(void **state) {
    (void)state;
    const struct { size_t spread, most; } cases[] = {{40, 3}, {3000, 1}, {3000, 100}, {70000, 5}, {0, 500}};
    weir_error err = {0};
    uint64_t n = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char name[320];
        snprintf(name, sizeof name, "%s-%zu", path, k);
        weirp_store *store = open_store(name, WEIRP_STORE_CREATE);
        n = 0;
        for (uint64_t i = 0; i < 30; i++) {
            size_t add = (size_t)(weirp_random_u64(5, k, i) % (cases[k].most + 1));
            append_records(store, n, add, 11, cases[k].spread);
            n += add;
        }
        assert_true(n > 5);
        weirp_snapshot *s;
        OK(weirp_snapshot_begin(&s, store, &err));
        assert_int_equal(weirp_snapshot_n_log(s), n);
        for (uint64_t from = 0; from <= n + 1; from += n > 60 && from > 3 && from + 20 < n ? 13 : 1) {
            expectation e = {from, 11, UINT64_MAX, cases[k].spread};
            OK(weirp_snapshot_log(s, from, expect_record, &e, &err));
            assert_int_equal(e.next, from > n ? from : n);
        }
        expectation stops = {2, 11, 4, cases[k].spread};
        weir_error stopped = {0};
        assert_int_equal(weirp_snapshot_log(s, 2, expect_record, &stops, &stopped), WEIR_CANCELED);
        assert_int_equal(stops.next, 5);
        weirp_snapshot_end(s);
        weirp_store_close(store);
        uint64_t counted;
        OK(weirp_store_verify(name, NULL, &counted, &err));
        assert_int_equal(counted, n);
    }
}

/* One record a commit doesn't cost a page a record. */
static void single_records_share_pages(void **state) {
    (void)state;
    enum { N = 600, SIZE = 100 };
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weir_error err = {0};
    uint8_t *bytes = bytes_of(SIZE, 3);
    for (int i = 0; i < N; i++) {
        weirp_change change = append(bytes, SIZE);
        OK(weirp_store_commit(store, &change, 1, &err));
    }
    free(bytes);
    MDB_txn *txn;
    MDB_stat stat;
    OK(weirp_env_begin(store->env, false, &txn, &err));
    assert_int_equal(mdb_stat(txn, store->env->log, &stat), 0);
    weirp_env_end(store->env, txn, false);
    assert_true(stat.ms_entries <= N * (SIZE + 24) / WEIRP_BATCH_BYTES + 1);
    assert_true((stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize < 2 * N * (SIZE + 24));
    weirp_store_close(store);
}

/* ---- snapshots ---- */

static void snapshots_stand_still(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *writer = open_store(path, WEIRP_STORE_CREATE), *reader = open_store(path, WEIRP_STORE_READ);
    uint8_t *old = bytes_of(100000, 1), *new = bytes_of(120000, 2);
    weirp_change change = put("s", old, 100000);
    OK(weirp_store_commit(writer, &change, 1, &err));
    weirp_snapshot *before, *after;
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&before, reader, &err));
    for (int i = 0; i < 50; i++) {
        weirp_change again[] = {put("s", new, 120000), append(new, 500)};
        OK(weirp_store_commit(writer, again, 2, &err));
    }
    OK(weirp_snapshot_begin(&after, reader, &err));
    OK(weirp_snapshot_get(before, "s", &data, &size, &err));
    assert_int_equal(size, 100000);
    assert_memory_equal(data, old, size);
    assert_int_equal(weirp_snapshot_n_log(before), 0);
    OK(weirp_snapshot_get(after, "s", &data, &size, &err));
    assert_int_equal(size, 120000);
    assert_memory_equal(data, new, size);
    assert_int_equal(weirp_snapshot_n_log(after), 50);
    /* handles may go before their snapshots */
    weirp_store_close(reader);
    weirp_store_close(writer);
    OK(weirp_snapshot_get(before, "s", &data, &size, &err));
    assert_memory_equal(data, old, size);
    weirp_snapshot_end(before);
    weirp_snapshot_end(after);
    free(old);
    free(new);
}

/* A snapshot that stays open makes the file grow; once it ends, freed pages serve again and growth stops. */
static void long_reader_grows_file(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *bytes = bytes_of(SIZE, 1);
    weirp_change change = put("s", bytes, SIZE);
    for (int i = 0; i < 20; i++) OK(weirp_store_commit(store, &change, 1, &err));
    size_t steady = file_size(path);
    assert_true(steady < 6 * SIZE);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    for (int i = 0; i < 40; i++) OK(weirp_store_commit(store, &change, 1, &err));
    size_t grown = file_size(path);
    assert_true(grown > 35 * SIZE);
    weirp_snapshot_end(s);
    for (int i = 0; i < 60; i++) OK(weirp_store_commit(store, &change, 1, &err));
    assert_int_equal(file_size(path), grown);
    OK(weirp_store_compact_file(path, NULL, NULL) == WEIR_BUSY ? WEIR_OK : WEIR_IO); /* while the writer has it */
    weirp_store_close(store);
    OK(weirp_store_compact_file(path, NULL, &err));
    assert_true(file_size(path) < 2 * SIZE);
    free(bytes);
}

/* ---- the map ---- */

static void map_grows(void **state) {
    (void)state;
    enum { SIZE = 3000000 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    OK(set_map(store->env, 1 << 20, &err));
    uint8_t *bytes = bytes_of(SIZE, 4);
    weirp_change changes[] = {put("first", "1", 1), put("s", bytes, SIZE), append(bytes, 200000), append("x", 1)};
    OK(weirp_store_commit(store, changes, 4, &err));
    assert_true(store->env->map_size > SIZE);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(weirp_snapshot_version(s), 1); /* the tries before don't count */
    assert_int_equal(weirp_snapshot_n_log(s), 2);
    /* with borrowed bytes about the map can't move: an error, and nothing has happened */
    size_t before = store->env->map_size;
    uint8_t *more = bytes_of(before, 5);
    weirp_change big = put("big", more, before);
    weir_error full = {0};
    assert_int_equal(weirp_store_commit(store, &big, 1, &full), WEIR_FULL);
    assert_non_null(strstr(full.text, "snapshots"));
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_get(s, "s", &data, &size, &err));
    assert_memory_equal(data, bytes, SIZE);
    weirp_snapshot_end(s);
    OK(weirp_store_commit(store, &big, 1, &err));
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(more);
    free(bytes);
}

/* Large sections that are replaced again and again, with a growing log and a smaller section in between: a value needs
 * its pages in one piece, and the log takes single ones out of what is free. The file must not grow without end. */
static void file_stays_in_bounds(void **state) {
    (void)state;
    enum { LARGE = 4 << 20, MEDIUM = 1 << 20, ROUNDS = 120 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *bytes = bytes_of(LARGE + ROUNDS * 4096, 8);
    size_t halfway = 0, logged = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        weirp_change fit[] = {put("large", bytes, LARGE + round % 7 * 4096), put("medium", bytes + round, MEDIUM)};
        OK(weirp_store_commit(store, fit, 2, &err));
        for (size_t i = 0; i < 20; i++) {
            weirp_change learn[] = {append(bytes + i, 4000), put("online", bytes + i, (30 + i) * 1024)};
            OK(weirp_store_commit(store, learn, 2, &err));
            logged += 4000;
        }
        if (round == ROUNDS / 2) halfway = file_size(path) - logged;
    }
    size_t end = file_size(path) - logged;
    print_message("%.1f MB of sections and %.1f MB of log in a file of %.1f MB\n", (LARGE + MEDIUM) / 1e6, logged / 1e6,
                  (double)file_size(path) / 1e6);
    assert_true(end < (size_t)7 * (LARGE + MEDIUM));
    assert_true(end < halfway + LARGE + MEDIUM);
    weirp_store_close(store);
    free(bytes);
}

/* ---- speed, with much room for busy machines; measured figures are in the documentation ---- */

static void fast_enough(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("SKIPPED: sanitizers are slow\n");
    skip();
#endif
    enum { N = 20, SIZE = 1000000, COMMITS = 100, TRIES = 7 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *bytes = bytes_of(SIZE, 8);
    char names[N][16];
    weirp_change changes[65];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "s%d", i);
        changes[i] = put(names[i], bytes, SIZE);
    }
    OK(weirp_store_commit(store, changes, N, &err));
    weirp_store_close(store);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t begin = weirp_monotonic_ns();
        weirp_snapshot *s;
        const uint8_t *data;
        size_t size;
        store = open_store(path, WEIRP_STORE_READ);
        OK(weirp_snapshot_begin(&s, store, &err));
        for (int k = 0; k < N; k++) OK(weirp_snapshot_get(s, names[k], &data, &size, &err));
        weirp_snapshot_end(s);
        weirp_store_close(store);
        uint64_t ns = weirp_monotonic_ns() - begin;
        if (ns < best) best = ns;
    }
    for (int i = 0; i < 64; i++) changes[i] = append(bytes + i, 1024);
    changes[64] = put("online", bytes, 200 * 1024);
    store = open_store(path, WEIRP_STORE_WRITE);
    uint64_t begin = weirp_cpu_ns();
    for (int i = 0; i < COMMITS; i++) OK(weirp_store_commit(store, changes, 65, &err));
    double cpu_us = (double)(weirp_cpu_ns() - begin) / COMMITS / 1e3;
    weirp_store_close(store);
    free(bytes);
    print_message(
        "20 MB opened, read and checked in %.2f ms; a commit of 64 KB of log and 200 KB takes %.0f us of CPU\n",
        (double)best / 1e6, cpu_us);
    assert_true(best < 20000000);
    assert_true(cpu_us < 3000);
}

/* After a failed write of its meta page LMDB refuses to go on until the file is opened again; that happens by itself.
 */
static void opened_again_when_broken(void **state) {
    (void)state;
    weir_error err = {0}, refused = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    append_records(store, 0, 5, 11, 900);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    store->env->broken = true;
    weirp_change change = append("x", 1);
    assert_int_equal(weirp_store_commit(store, &change, 1, &refused), WEIR_IO);
    expectation e = {0, 11, UINT64_MAX, 900};
    OK(weirp_snapshot_log(s, 0, expect_record, &e, &err)); /* what is open stays */
    weirp_snapshot_end(s);
    append_records(store, 5, 5, 11, 900);
    assert_false(store->env->broken);
    OK(weirp_snapshot_begin(&s, store, &err));
    e.next = 0;
    OK(weirp_snapshot_log(s, 0, expect_record, &e, &err));
    assert_int_equal(e.next, 10);
    weirp_snapshot_end(s);
    weirp_store_close(store);
}

/* ---- one process, many handles ---- */

static void many_snapshots(void **state) {
    (void)state;
    enum { MORE = 1100 }; /* than LMDB's lock file has slots for */
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weirp_snapshot **all = calloc(MORE, sizeof(weirp_snapshot *));
    assert_non_null(all);
    size_t n = 0;
    weir_status st;
    while (n < MORE && (st = weirp_snapshot_begin(&all[n], store, &err)) == WEIR_OK) n++;
    assert_int_equal(st, WEIR_BUSY);
    assert_true(n > 1000);
    append_records(store, 0, 3, 11, 900); /* writing goes on */
    weirp_snapshot_end(all[--n]);
    err = (weir_error){0};
    OK(weirp_snapshot_begin(&all[n++], store, &err));
    assert_int_equal(weirp_snapshot_n_log(all[n - 1]), 3);
    while (n > 0) weirp_snapshot_end(all[--n]);
    free(all);
    weirp_store_close(store);
}

static void same_file_twice(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *a = open_store(path, WEIRP_STORE_CREATE), *b = open_store(path, WEIRP_STORE_READ);
    char link_name[320];
    snprintf(link_name, sizeof link_name, "%s/link.mdb", folder);
    assert_int_equal(symlink(path, link_name), 0);
    weirp_store *c = open_store(link_name, WEIRP_STORE_READ);
    assert_ptr_equal(a->env, b->env);
    assert_ptr_equal(a->env, c->env);
    weir_error busy = {0};
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, &busy), WEIR_BUSY);
    assert_non_null(strstr(busy.text, "this process"));
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, b, &err));
    weirp_store_close(c);
    weirp_store_close(a);
    weirp_store_close(b);
    weirp_store *w = open_store(link_name, WEIRP_STORE_WRITE); /* the lock went with its handle */
    weirp_change change = append("x", 1);
    OK(weirp_store_commit(w, &change, 1, &err));
    assert_int_equal(weirp_snapshot_n_log(s), 0);
    weirp_snapshot_end(s);
    weirp_store_close(w);
}

/* ---- compaction ---- */

static weir_status count_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)number, (void)data, (void)size, (void)err;
    ++*(size_t *)user;
    return WEIR_OK;
}

static void compaction_keeps_everything(void **state) {
    (void)state;
    weir_error err = {0};
    char target[320];
    snprintf(target, sizeof target, "%s/copy.mdb", folder);
    for (int odd = 0; odd < 2; odd++) {
        weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
        uint8_t *bytes = bytes_of(300000, 6);
        append_records(store, 0, 200, 11, 900);
        weirp_change changes[] = {put("s", bytes, 300000), put("t", bytes, 10)};
        for (int i = 0; i < 10 + odd; i++) OK(weirp_store_commit(store, changes, 2, &err));
        weirp_store_close(store);

        weirp_store *reader = open_store(path, WEIRP_STORE_READ);
        weirp_snapshot *old, *new;
        OK(weirp_snapshot_begin(&old, reader, &err));
        size_t before = file_size(path);
        OK(weirp_store_compact_file(path, target, &err));
        assert_int_equal(weirp_store_compact_file(path, target, NULL), WEIR_INVALID); /* exists */
        OK(weirp_store_compact_file(path, NULL, &err));
        assert_true(file_size(path) < before);
        assert_int_equal(count_files(".new-"), 0);
        /* the reader that was there keeps what it has, and finds the new file next time */
        const uint8_t *data;
        size_t size, n = 0;
        OK(weirp_snapshot_get(old, "s", &data, &size, &err));
        assert_memory_equal(data, bytes, size);
        store = open_store(path, WEIRP_STORE_WRITE);
        append_records(store, 200, 10, 11, 900);
        OK(weirp_snapshot_begin(&new, reader, &err));
        assert_int_equal(weirp_snapshot_n_log(old), 200);
        assert_int_equal(weirp_snapshot_n_log(new), 210);
        OK(weirp_snapshot_get(old, "s", &data, &size, &err));
        expectation e = {0, 11, UINT64_MAX, 900};
        OK(weirp_snapshot_log(new, 0, expect_record, &e, &err));
        weirp_snapshot_end(new);
        weirp_snapshot_end(old);
        weirp_store_close(reader);
        weirp_store_close(store);
        uint64_t n_log;
        OK(weirp_store_verify(path, NULL, &n_log, &err));
        assert_int_equal(n_log, 210);
        OK(weirp_store_verify(target, NULL, &n_log, &err));
        assert_int_equal(n_log, 200);
        store = open_store(target, WEIRP_STORE_WRITE); /* a copy is a store like any other */
        append_records(store, 200, 10, 11, 900);
        OK(weirp_snapshot_begin(&new, store, &err));
        OK(weirp_snapshot_log(new, 0, count_record, &n, &err));
        assert_int_equal(n, 210);
        weirp_snapshot_end(new);
        weirp_store_close(store);
        free(bytes);
        unlink(path);
        unlink(target);
    }
}

/* A store that is deleted and made anew while somebody still has the old file open: the old lock file must not be
 * shared. */
static void recreated_while_open(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *old = open_store(path, WEIRP_STORE_CREATE);
    append_records(old, 0, 20, 11, 900);
    append_records(old, 20, 20, 11, 900);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, old, &err));
    unlink(path);
    weirp_change lost = append("x", 1);
    assert_int_equal(weirp_store_commit(old, &lost, 1, NULL), WEIR_IO); /* it would go to a file without a name */
    weirp_store *new = open_store(path, WEIRP_STORE_CREATE);
    append_records(new, 0, 5, 11, 900);
    /* the old writer notices that its name is gone */
    weirp_change change = append("x", 1);
    assert_int_equal(weirp_store_commit(old, &change, 1, NULL), WEIR_IO);
    expectation e = {0, 11, UINT64_MAX, 900};
    OK(weirp_snapshot_log(s, 0, expect_record, &e, &err));
    assert_int_equal(e.next, 40);
    weirp_snapshot_end(s);
    weirp_store_close(old);
    append_records(new, 5, 5, 11, 900);
    weirp_store_close(new);
    uint64_t n_log;
    OK(weirp_store_verify(path, NULL, &n_log, &err));
    assert_int_equal(n_log, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(create_put_get),
        TEST(missing_is_not_found),
        TEST(changes_in_order),
        TEST(wrong_changes),
        TEST(log_in_any_batches),
        TEST(single_records_share_pages),
        TEST(snapshots_stand_still),
        TEST(long_reader_grows_file),
        TEST(map_grows),
        TEST(file_stays_in_bounds),
        TEST(fast_enough),
        TEST(opened_again_when_broken),
        TEST(many_snapshots),
        TEST(same_file_twice),
        TEST(compaction_keeps_everything),
        TEST(recreated_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

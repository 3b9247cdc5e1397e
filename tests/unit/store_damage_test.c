/* Store: files that are foreign, newer, cut off or flipped are told apart, never crash the reader, never get written
 * to. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <xxhash.h>

/* ---- a store with everything in it: two levels of sections, long and short values, a log, a table, a free list ----
 */

/* Entries of many lengths; those of a round replace some of the last. */
static weir_status change_table(void *user, weirp_txn *txn, weir_error *err) {
    uint64_t round = *(uint64_t *)user;
    weir_status st = WEIR_OK;
    for (uint64_t i = 0; i < 40 && st == WEIR_OK; i++) {
        char key[64];
        size_t size = i % 10 == round % 3 ? 2500 + i * 200 : i * 17;
        uint8_t *bytes = bytes_of(size, 1000 + 100 * round + i);
        snprintf(key, sizeof key, "entry/%03zu/of-the-table", (size_t)(i * (1 + round % 2)));
        st = weirp_txn_put(txn, key, strlen(key), bytes, size, err);
        free(bytes);
        if (st == WEIR_OK && i % 8 == 5) st = weirp_txn_delete(txn, key, strlen(key), err);
    }
    return st;
}

static void build_rich(const char *name) {
    weir_error err = {0};
    weirp_store *store = open_store(name, WEIRP_STORE_CREATE);
    for (uint64_t round = 0; round < 6; round++) {
        weirp_change changes[64];
        uint8_t *bytes[64];
        char names[64][80];
        size_t n = 0;
        for (; n < 40; n++) {
            snprintf(names[n], sizeof names[n], "section/%02zu/with-a-name-long-enough-to-need-more-than-one-page", n);
            size_t size = n == 7 ? 20000 : n == 8 ? 9000 : n * 11;
            bytes[n] = bytes_of(size, 100 * round + n);
            changes[n] = put(names[n], bytes[n], size);
        }
        for (; n < 64; n++) {
            size_t size = 900 + n;
            bytes[n] = bytes_of(size, 100 * round + n);
            changes[n] = append(bytes[n], size);
            changes[n].number = round % 3 ? (round << 32) + (n * 7919) % 64 * 1000 : 0;
        }
        OK(weirp_store_commit(store, changes, n, &err));
        weirp_change trim = {.kind = WEIRP_TRIM_LOG, .number = 30};
        if (round == 2) OK(weirp_store_commit(store, &trim, 1, &err));
        OK(weirp_store_transact(store, NULL, 0, change_table, &round, &err));
        for (size_t i = 0; i < n; i++) free(bytes[i]);
    }
    weirp_store_close(store);
}

static weir_status digest_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)err;
    *(uint64_t *)user = XXH3_64bits_withSeed(data, size, *(uint64_t *)user + number);
    return WEIR_OK;
}

static weir_status digest_entry(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                                weir_error *err) {
    (void)err;
    *(uint64_t *)user = XXH3_64bits_withSeed(data, size, *(uint64_t *)user + XXH3_64bits(key, key_size));
    return WEIR_OK;
}

/* One number for all that a store holds, read as users read it. */
static weir_status digest(const char *name, uint64_t *out) {
    weirp_store *store = NULL;
    weirp_snapshot *s = NULL;
    weir_error err = {0};
    weir_status st;
    *out = 0;
    WEIRP_TRY(weirp_store_open(&store, name, WEIRP_STORE_READ, &err));
    WEIRP_TRY(weirp_snapshot_begin(&s, store, &err));
    const char *section;
    const uint8_t *data;
    size_t size;
    for (size_t i = 0; (st = weirp_snapshot_section(s, i, &section, &size, &err)) == WEIR_OK; i++) {
        *out = XXH3_64bits_withSeed(section, strlen(section), *out);
        WEIRP_TRY(weirp_snapshot_get(s, section, &data, &size, &err));
        *out = XXH3_64bits_withSeed(data, size, *out);
    }
    if (st != WEIR_END) goto done;
    WEIRP_TRY(weirp_snapshot_log(s, 0, digest_record, out, &err));
    WEIRP_TRY(weirp_txn_scan(weirp_snapshot_table(s), NULL, 0, NULL, 0, digest_entry, out, &err));
    *out += weirp_snapshot_version(s);
done:
    weirp_snapshot_end(s);
    weirp_store_close(store);
    if (st != WEIR_OK && (err.status != st || !strstr(err.text, name)))
        return WEIR_INVALID; /* every error names its file */
    return st;
}

/* Writes to a file that may be damaged: whatever the status, nothing may crash. */
static void write_to(const char *name) {
    weirp_store *store = NULL;
    if (weirp_store_open(&store, name, WEIRP_STORE_WRITE, NULL) != WEIR_OK) return;
    uint8_t *bytes = bytes_of(30000, 1);
    for (int i = 0; i < 3; i++) {
        weirp_change changes[] = {append(bytes, 5000),
                                  put("new", bytes, 30000),
                                  {WEIRP_DELETE_PREFIX, "section/1", NULL, 0},
                                  put("section/07", bytes, 100)};
        if (weirp_store_commit(store, changes, 4, NULL) != WEIR_OK) break;
        uint64_t round = 7 + (uint64_t)i;
        if (weirp_store_transact(store, NULL, 0, change_table, &round, NULL) != WEIR_OK) break;
    }
    weirp_change all[] = {{WEIRP_DELETE_PREFIX, "", NULL, 0}, append(bytes, 10)};
    weir_status st = weirp_store_commit(store, all, 2, NULL);
    (void)st;
    free(bytes);
    weirp_store_close(store);
}

/* A file is refused with `status`, whatever it is opened for, and not a byte of it changes. */
static void refused(const char *name, weir_status status) {
    size_t size, again;
    uint8_t *before = slurp(name, &size);
    for (int mode = WEIRP_STORE_READ; mode <= WEIRP_STORE_JOIN; mode++) {
        weir_error err = {0};
        weir_status st = open_status(name, (weirp_store_mode)mode, &err);
        if (st != status) print_error("%s: %s\n", weir_status_name(st), err.text);
        assert_int_equal(st, status);
        assert_non_null(strstr(err.text, name));
    }
    assert_int_equal(weirp_store_verify(name, NULL, NULL, NULL), status);
    assert_int_equal(weirp_store_compact_file(name, NULL, NULL), status);
    uint8_t *after = slurp(name, &again);
    assert_int_equal(size, again);
    assert_memory_equal(before, after, size);
    free(before);
    free(after);
}

/* ---- foreign ---- */

static void foreign_files(void **state) {
    (void)state;
    uint8_t *noise = bytes_of(70000, 5);
    const size_t sizes[] = {0, 1, 15, 16, 19, 20, 100, 4096, 8192, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        spill(path, noise, sizes[i]);
        refused(path, WEIR_FOREIGN);
        uint8_t *zeros = calloc(1, 70000);
        spill(path, zeros, sizes[i]);
        refused(path, WEIR_FOREIGN);
        free(zeros);
    }
    memcpy(noise, "SQLite format 3\0\x10\0\1\1\0\x40\x20\x20", 24);
    spill(path, noise, 8192);
    refused(path, WEIR_FOREIGN);
    spill(path, "{\"id\":\"gsm8k.17\"}\n", 18);
    refused(path, WEIR_FOREIGN);
    free(noise);
    assert_int_equal(open_status(folder, WEIRP_STORE_READ, NULL), WEIR_FOREIGN);
    assert_int_equal(count_files("-lock"), 0); /* nothing was made beside them either */
}

/* LMDB files of other programs: with plain records, with named databases, with duplicate keys, and empty. */
static void other_lmdb(const char *name, int kind) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, name, MDB_NOSUBDIR | MDB_NOLOCK, 0644), 0);
    if (kind > 0) {
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        const char *db = kind == 1 ? NULL : kind == 2 ? "data" : kind == 3 ? NULL : WEIRP_DB_META;
        unsigned flags = MDB_CREATE | (kind == 3 ? MDB_DUPSORT : 0);
        assert_int_equal(mdb_dbi_open(txn, db, flags, &dbi), 0);
        for (int i = 0; i < 300; i++) {
            char text[32];
            snprintf(text, sizeof text, "%06d", i);
            MDB_val key = {6, text}, value = {sizeof text, text};
            assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
        }
        if (kind == 5) {
            char text[] = "the meta record of something else";
            MDB_val key = {strlen(WEIRP_META_KEY), (void *)(uintptr_t)WEIRP_META_KEY}, value = {sizeof text, text};
            assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
        }
        assert_int_equal(mdb_txn_commit(txn), 0);
    }
    mdb_env_close(env);
}

static void lmdb_of_others(void **state) {
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        other_lmdb(path, kind);
        refused(path, kind == 4 ? WEIR_CORRUPT : WEIR_FOREIGN); /* 4: it has our database, but not our record */
        unlink(path);
    }
}

static void newer_schema(void **state) {
    (void)state;
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    MDB_txn *txn;
    weir_error err = {0};
    uint8_t bytes[WEIRP_META_SIZE + 40] = {0}; /* a later version's header may be longer, and mean other things */
    weirp_meta_encode(&(weirp_meta){.schema = WEIRP_SCHEMA + 1}, bytes);
    memset(bytes + 16, 0x5a, sizeof bytes - 16);
    MDB_val key = {strlen(WEIRP_META_KEY), (void *)(uintptr_t)WEIRP_META_KEY}, value = {sizeof bytes, bytes};
    OK(weirp_env_begin(store->env, true, &txn, &err));
    assert_int_equal(mdb_put(txn, store->env->meta, &key, &value, 0), 0);
    assert_int_equal(weirp_env_end(store->env, txn, true), 0);
    weirp_store_close(store);
    refused(path, WEIR_NEWER);
}

/* ---- cut off ---- */

static int truncate_everywhere(void *user) {
    (void)user;
    size_t size;
    uint8_t *whole = slurp(path, &size);
    char copy[330];
    snprintf(copy, sizeof copy, "%s.cut", path);
    uint64_t good, seen;
    CHECK(digest(path, &good) == WEIR_OK);
    for (size_t cut = size; cut-- > 0;) {
        /* every page border and its neighbours, and places in between */
        size_t in_page = cut % 4096;
        if (in_page > 1 && in_page != 4095 && cut % 397 && cut > 200) continue;
        spill(copy, whole, cut);
        weir_status st = digest(copy, &seen);
        CHECK(st == WEIR_OK ? seen == good : st == WEIR_CORRUPT || (st == WEIR_FOREIGN && cut < 200));
        weir_status verified = weirp_store_verify(copy, NULL, NULL, NULL);
        CHECK((verified == WEIR_OK) == (st == WEIR_OK));
        /* only free pages at the end may be missing, and a writer may go on from there */
        if (st == WEIR_OK) {
            CHECK(cut + 4096 * 80 > size);
            write_to(copy);
            CHECK(weirp_store_verify(copy, NULL, NULL, NULL) == WEIR_OK);
        }
    }
    free(whole);
    return 0;
}

static void truncated(void **state) {
    (void)state;
    build_rich(path);
    assert_int_equal(child_status(truncate_everywhere, NULL), 0);
}

/* LMDB leaves a file shorter than its last page number says when a transaction gives back pages at the end that it
 * never wrote: such a file is sound. */
static void legitimately_short(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *bytes = bytes_of(200000, 1);
    weirp_change changes[] = {append(bytes, 100), put("s", bytes, 200000), {WEIRP_DELETE, "s", NULL, 0}};
    /* it gives them back to the list it takes from, so there must be such a list: a few commits make one */
    for (int i = 0; i < 6; i++) OK(weirp_store_commit(store, changes, 1, &err));
    OK(weirp_store_commit(store, changes, 3, &err));
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(store->env->mdb, &info), 0);
    weirp_store_close(store);
    assert_true(file_size(path) < (info.me_last_pgno + 1) * 4096 - 100000); /* so it does occur */
    OK(weirp_store_verify(path, NULL, NULL, &err));
    store = open_store(path, WEIRP_STORE_WRITE);
    OK(weirp_store_commit(store, changes, 2, &err));
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    OK(weirp_store_compact_file(path, NULL, &err));
    OK(weirp_store_verify(path, NULL, NULL, &err));
    free(bytes);
}

/* ---- flipped ---- */

typedef struct flips {
    uint64_t seed;
    size_t n, width;    /* how many trials; bits a trial */
    size_t first_pages; /* 0: anywhere */
} flips;

static int flip_bits(void *user) {
    const flips *f = user;
    size_t size, n_found = 0, n_harmless = 0;
    uint8_t *whole = slurp(path, &size);
    char copy[330];
    snprintf(copy, sizeof copy, "%s.flip", path);
    uint64_t good, seen;
    CHECK(digest(path, &good) == WEIR_OK);
    spill(copy, whole, size);
    for (size_t i = 0; i < f->n; i++) {
        size_t range = f->first_pages ? f->first_pages * 4096 : size, at[64];
        for (size_t k = 0; k < f->width; k++) {
            uint64_t r = weirp_random_u64(f->seed, i, k);
            at[k] = (size_t)(r >> 3) % range;
            /* page headers and node tables are where LMDB could be led astray: half of the flips go there */
            if (r >> 63) at[k] = at[k] / 4096 * 4096 + at[k] % 64;
            whole[at[k]] ^= (uint8_t)(1u << (r & 7));
        }
        int fd = open(copy, O_WRONLY);
        CHECK(fd >= 0);
        for (size_t k = 0; k < f->width; k++) CHECK(pwrite(fd, whole + at[k], 1, (off_t)at[k]) == 1);
        weir_status st = digest(copy, &seen);
        weir_status verified = weirp_store_verify(copy, NULL, NULL, NULL);
        CHECK(st == WEIR_OK || st == WEIR_CORRUPT || st == WEIR_FOREIGN);
        /* nothing wrong is ever read as if it were right */
        if (st == WEIR_OK) CHECK(seen == good);
        /* verifying also reads the page headers of the log's, the index's and the table's bulk, which reading does
         * without */
        CHECK(verified == st || (st == WEIR_OK && verified == WEIR_CORRUPT));
        n_found += st != WEIR_OK;
        n_harmless += st == WEIR_OK;
        bool wrote = i % 5 == 0;
        if (wrote) write_to(copy);
        for (size_t k = f->width; k-- > 0;) {
            uint64_t r = weirp_random_u64(f->seed, i, k);
            whole[at[k]] ^= (uint8_t)(1u << (r & 7));
        }
        for (size_t k = 0; k < f->width; k++) CHECK(pwrite(fd, whole + at[k], 1, (off_t)at[k]) == 1);
        close(fd);
        if (wrote) spill(copy, whole, size);
    }
    CHECK(digest(copy, &seen) == WEIR_OK && seen == good);
    CHECK(n_found > f->n / (f->first_pages ? 50 : 4)); /* most of the first pages is unused */
    fprintf(stderr, "%zu flips of %zu bits: %zu refused, %zu harmless\n", f->n, f->width, n_found, n_harmless);
    free(whole);
    return 0;
}

static void flipped(void **state) {
    (void)state;
    build_rich(path);
    flips cases[] = {{1, 3000, 1, 0}, {2, 1500, 1, 2}, {3, 1500, 40, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(child_status(flip_bits, &cases[i]), 0);
}

/* Every byte of one page set to wild values: page numbers, offsets and sizes that point anywhere. */
static int scramble_pages(void *user) {
    (void)user;
    size_t size;
    uint8_t *whole = slurp(path, &size);
    char copy[330];
    snprintf(copy, sizeof copy, "%s.wild", path);
    uint64_t good, seen;
    CHECK(digest(path, &good) == WEIR_OK);
    for (size_t trial = 0; trial < 1500; trial++) {
        uint64_t r = weirp_random_u64(9, 0, trial);
        size_t page = (size_t)(r >> 8) % (size / 4096), n = 1 + (size_t)(r & 7), from = (size_t)(r >> 40) % 512 * 8;
        uint8_t saved[64];
        memcpy(saved, whole + page * 4096 + from, 64 < 4096 - from ? 64 : 4096 - from);
        if (from + 8 * n > 4096) n = (4096 - from) / 8;
        static const uint64_t wild[] = {
            0, 1, 2, UINT64_MAX, UINT64_MAX - 1, 1ull << 32, 1ull << 47, 0x00100010001000ull};
        for (size_t i = 0; i < n; i++) {
            uint64_t v = r & 128 ? wild[(r >> 16) % 8] : weirp_random_u64(10, trial, i) % (size / 4096 + 3);
            memcpy(whole + page * 4096 + from + 8 * i, &v, 8);
        }
        spill(copy, whole, size);
        weir_status st = digest(copy, &seen);
        CHECK(st == WEIR_OK ? seen == good : st == WEIR_CORRUPT || st == WEIR_FOREIGN);
        weir_status verified = weirp_store_verify(copy, NULL, NULL, NULL);
        CHECK(verified == st || (st == WEIR_OK && verified == WEIR_CORRUPT));
        if (trial % 4 == 0) write_to(copy);
        memcpy(whole + page * 4096 + from, saved, 8 * n);
    }
    free(whole);
    return 0;
}

static void scrambled(void **state) {
    (void)state;
    build_rich(path);
    assert_int_equal(child_status(scramble_pages, NULL), 0);
}

/* A page that is both in use and on the free list would be overwritten by a later commit: found before it happens. */
static void free_list_with_a_page_in_use(void **state) {
    (void)state;
    build_rich(path);
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    weir_error err = {0};
    OK(weirp_env_begin(store->env, false, &txn, &err));
    assert_int_equal(mdb_cursor_open(txn, 0, &cursor), 0); /* LMDB's handle 0 is the free list */
    assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_LAST), 0);
    uint64_t list[64];
    assert_true(value.mv_size > 8 && value.mv_size <= sizeof list);
    memcpy(list, value.mv_data, value.mv_size);
    size_t list_size = value.mv_size;
    mdb_cursor_close(cursor);
    weirp_env_end(store->env, txn, false);
    weirp_store_close(store);
    size_t size, n_found = 0;
    uint8_t *whole = slurp(path, &size);
    for (size_t at = 0; at + list_size <= size; at += 2) {
        if (memcmp(whole + at, list, list_size) != 0) continue;
        uint64_t lower = list[list_size / 8 - 1] - 1; /* keeps the order; 2 and up are pages of somebody */
        for (; lower > 1; lower--) {
            memcpy(whole + at + list_size - 8, &lower, 8);
            spill(path, whole, size);
            n_found += weirp_store_verify(path, NULL, NULL, NULL) == WEIR_CORRUPT;
        }
    }
    assert_true(n_found > 5);
    free(whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(foreign_files), TEST(lmdb_of_others),     TEST(newer_schema), TEST(truncated),
        TEST(flipped),       TEST(legitimately_short), TEST(scrambled),    TEST(free_list_with_a_page_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Store: the index over log records, and trimming the log. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

typedef struct found {
    size_t n;
    uint64_t number;
    uint64_t content;
} found;

static weir_status note(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    found *f = user;
    (void)err;
    assert_true(size >= 8);
    f->n++;
    f->number = number;
    memcpy(&f->content, data, 8);
    return WEIR_NOTFOUND; /* all of them */
}

static size_t find(weirp_snapshot *s, uint64_t index, found *f) {
    weir_error err = {0};
    memset(f, 0, sizeof *f);
    assert_int_equal(weirp_snapshot_find(s, index, note, f, &err), WEIR_NOTFOUND);
    assert_int_equal(err.status, WEIR_OK);
    return f->n;
}

/* Numbers as decision ids have them: growing, with some that come late, in buckets of 2^32. */
static uint64_t number_of(uint64_t record) {
    uint64_t late = weirp_random_u64(5, 1, record) % 8 ? 0 : weirp_random_u64(5, 2, record) % (UINT64_C(3) << 32);
    return (UINT64_C(1) << 40) + record * (UINT64_C(1) << 26) + (UINT64_C(4) << 32) - late + record % 1024;
}

/* `n` records, `each` a commit, of 8 numbers of their own each. */
static void fill(weirp_store *store, uint64_t from, uint64_t n, uint64_t each) {
    weir_error err = {0};
    uint64_t *content = calloc(8 * each, 8);
    weirp_change *changes = calloc(each, sizeof *changes);
    assert_true(content && changes);
    for (uint64_t i = 0; i < n; i += each) {
        for (uint64_t k = 0; k < each; k++) {
            for (int j = 0; j < 8; j++) content[8 * k + (uint64_t)j] = from + i + k;
            changes[k] = append(content + 8 * k, 64);
            changes[k].number = number_of(from + i + k);
        }
        OK(weirp_store_commit(store, changes, each, &err));
    }
    free(content);
    free(changes);
}

static void check_all(weirp_store *store, uint64_t first, uint64_t n) {
    weir_error err = {0};
    weirp_snapshot *s;
    found f;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(weirp_snapshot_first_log(s), first);
    assert_int_equal(weirp_snapshot_n_log(s), n);
    for (uint64_t i = 0; i < n; i++) {
        assert_int_equal(find(s, number_of(i), &f), i >= first);
        if (i >= first) assert_true(f.number == i && f.content == i);
        const uint8_t *data;
        size_t size;
        assert_int_equal(weirp_snapshot_record(s, i, &data, &size, NULL), i >= first ? WEIR_OK : WEIR_NOTFOUND);
    }
    assert_int_equal(find(s, 12345, &f), 0);
    assert_int_equal(find(s, UINT64_MAX, &f), 0);
    weirp_snapshot_end(s);
}

static void finds_every_record(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    fill(store, 0, 3000, 500);
    fill(store, 3000, 300, 1);
    check_all(store, 0, 3300);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    OK(weirp_store_compact_file(path, NULL, &err));
    OK(weirp_store_verify(path, NULL, NULL, &err));
    store = open_store(path, WEIRP_STORE_READ);
    check_all(store, 0, 3300);
    weirp_store_close(store);
}

static void one_number_many_records(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint64_t content = 9;
    weirp_change same[100];
    for (int i = 0; i < 100; i++) same[i] = append(&content, 8), same[i].number = 77;
    OK(weirp_store_commit(store, same, 30, &err));
    weirp_snapshot *s;
    found f;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(find(s, 77, &f), 30);
    weirp_snapshot_end(s);
    for (int i = 0; i < 10; i++) OK(weirp_store_commit(store, same, 100, &err));
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(find(s, 77, &f), WEIRP_FIND_MOST); /* bounded */
    weirp_snapshot_end(s);
    weirp_store_close(store);
}

/* Followers are found after what they follow, don't count as records of their own, and make the store newer. */
static void followers(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint64_t content = 1;
    weirp_change c = append(&content, 8);
    c.number = UINT64_C(5) << 33;
    OK(weirp_store_commit(store, &c, 1, &err));
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(s->meta.schema, WEIRP_SCHEMA_INDEX);
    weirp_snapshot_end(s);
    c.follows = true;
    for (content = 2; content < 500; content++) OK(weirp_store_commit(store, &c, 1, &err));
    found f;
    OK(weirp_snapshot_begin(&s, store, &err));
    assert_int_equal(s->meta.schema, WEIRP_SCHEMA_FOLLOW);
    assert_int_equal(find(s, c.number, &f), 499);
    assert_int_equal(f.content, 499);
    assert_int_equal(weirp_snapshot_n_indexed(s), 1);
    assert_int_equal(weirp_snapshot_n_entries(s), 499);
    weirp_snapshot_end(s);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    OK(weirp_store_compact_file(path, NULL, &err));
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* A reader that had the file open before there was an index finds what was indexed later; and a store without an index
 * keeps the older schema, which older programs read. */
static void index_made_later(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weirp_change plain = append("12345678", 8);
    OK(weirp_store_commit(store, &plain, 1, &err));
    weirp_store *reader = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *old, *now;
    found f;
    OK(weirp_snapshot_begin(&old, reader, &err));
    assert_int_equal(old->meta.schema, WEIRP_SCHEMA_PLAIN);
    assert_int_equal(find(old, 5, &f), 0);
    weirp_change indexed = append("abcdefgh", 8);
    indexed.number = 5;
    OK(weirp_store_commit(store, &indexed, 1, &err));
    assert_int_equal(find(old, 5, &f), 0);
    OK(weirp_snapshot_begin(&now, reader, &err));
    assert_int_equal(now->meta.schema, WEIRP_SCHEMA_INDEX);
    assert_int_equal(find(now, 5, &f), 1);
    assert_int_equal(f.number, 1);
    assert_int_equal(weirp_snapshot_n_indexed(now), 1);
    weirp_snapshot_end(now);
    weirp_snapshot_end(old);
    weirp_store_close(reader);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

static int in_other_process(void *user) {
    weirp_store *store = NULL;
    (void)user;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_WRITE, NULL) == WEIR_OK);
    weirp_change indexed = append("abcdefgh", 8);
    indexed.number = 5;
    CHECK(weirp_store_commit(store, &indexed, 1, NULL) == WEIR_OK);
    weirp_store_close(store);
    return 0;
}

static void index_made_by_another_process(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    weirp_store *reader = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *s;
    found f;
    OK(weirp_snapshot_begin(&s, reader, &err));
    weirp_snapshot_end(s);
    assert_int_equal(child_status(in_other_process, NULL), 0);
    OK(weirp_snapshot_begin(&s, reader, &err));
    assert_int_equal(find(s, 5, &f), 1);
    weirp_snapshot_end(s);
    weirp_store_close(reader);
}

static uint64_t trim_to(weirp_store *store, uint64_t number) {
    weir_error err = {0};
    weirp_snapshot *s;
    weirp_change trim = {.kind = WEIRP_TRIM_LOG, .number = number};
    OK(weirp_store_commit(store, &trim, 1, &err));
    OK(weirp_snapshot_begin(&s, store, &err));
    uint64_t first = weirp_snapshot_first_log(s);
    assert_int_equal(weirp_snapshot_n_entries(s), weirp_snapshot_n_log(s) - first);
    weirp_snapshot_end(s);
    assert_true(first <= number);
    return first;
}

static void trims_whole_batches(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    fill(store, 0, 6000, 300);
    assert_int_equal(trim_to(store, 0), 0);
    uint64_t first = trim_to(store, 2500);
    assert_true(first > 1000);
    check_all(store, first, 6000);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    fill(store, 6000, 300, 300);
    check_all(store, first, 6300);
    uint64_t last = trim_to(store, UINT64_MAX - 1); /* the last batch stays */
    assert_true(last > first && last < 6300);
    check_all(store, last, 6300);
    fill(store, 6300, 600, 300);
    check_all(store, last, 6900);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
    size_t before = file_size(path);
    OK(weirp_store_compact_file(path, NULL, &err));
    assert_true(file_size(path) < before / 2);
    store = open_store(path, WEIRP_STORE_WRITE);
    check_all(store, last, 6900);
    /* pages that were freed are used again */
    for (uint64_t i = 6900; i < 30900; i += 300) {
        fill(store, i, 300, 300);
        trim_to(store, i);
    }
    weirp_store_close(store);
    assert_true(file_size(path) < before);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

static void trims_nothing(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    weirp_change trim = {.kind = WEIRP_TRIM_LOG, .number = 10};
    OK(weirp_store_commit(store, &trim, 1, &err));
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(finds_every_record),
                                       TEST(followers),
                                       TEST(one_number_many_records),
                                       TEST(index_made_later),
                                       TEST(index_made_by_another_process),
                                       TEST(trims_whole_batches),
                                       TEST(trims_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

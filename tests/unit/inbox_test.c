/* What joined processes leave in the store's table. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/journal/inbox.h"
#include "tests/unit/store_helpers.h"

#define ID "weir-19a0b0c0d0e0000100000007"

static void count(weirp_store *store, uint64_t *values, uint64_t *bytes, uint64_t *ever) {
    weir_error err = {0};
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    OK(weirp_inbox_count(s, values, bytes, ever, &err));
    weirp_snapshot_end(s);
}

static void take(weirp_store *store, weirp_inbox_taken *taken) {
    weir_error err = {0};
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, store, &err));
    OK(weirp_inbox_take(taken, s, &err));
    weirp_snapshot_end(s);
}

/* Feedback number i, whose quality is i / 1000. */
static void add_feedback(weirp_inbox_batch *b, int i) {
    weir_error err = {0};
    weirp_feedback f = {ID, i / 1000.0, "user", i % 2 ? NULL : "large"};
    OK(weirp_inbox_add_feedback(b, &f));
}

static void check_feedback(const weirp_inbox_item *item, int i) {
    assert_null(item->data);
    assert_int_equal(item->number, weirp_id_number(ID));
    assert_string_equal(item->feedback.id, ID);
    assert_string_equal(item->feedback.source, "user");
    assert_true(item->feedback.quality == i / 1000.0);
    if (i % 2)
        assert_null(item->feedback.model);
    else
        assert_string_equal(item->feedback.model, "large");
}

static void comes_out_in_order(void **state) {
    (void)state;
    weir_error err = {0};
    uint64_t values, bytes, ever;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    count(store, &values, &bytes, &ever);
    assert_int_equal(values + bytes + ever, 0);
    weirp_inbox_batch sign = {0};
    OK(weirp_inbox_put(store, &sign, &err));
    count(store, &values, &bytes, &ever);
    assert_int_equal(values + bytes, 0);
    assert_int_equal(ever, 1);
    uint8_t *record = calloc(1, 30000); /* opaque bytes: version 0 has no number */
    for (int round = 0; round < 3; round++) {
        weirp_inbox_batch b = {0};
        for (int i = 0; i < 5; i++) {
            record[29999] = (uint8_t)(10 * round + i);
            OK(weirp_inbox_add_record(&b, record, 30000));
            add_feedback(&b, 10 * round + i);
        }
        assert_int_equal(b.n, 3); /* two records a value */
        OK(weirp_inbox_put(store, &b, &err));
        weirp_inbox_batch_free(&b);
    }
    free(record);
    count(store, &values, &bytes, &ever);
    assert_int_equal(values, 9);
    assert_true(bytes > 450000 && bytes < 460000);
    weirp_inbox_taken t = {0};
    take(store, &t);
    assert_int_equal(t.n, 9);
    assert_true(t.whole);
    int n = 0;
    for (size_t i = 0; i < t.n; i++) {
        size_t at = 0;
        weirp_inbox_item item;
        weir_status st;
        while ((st = weirp_inbox_next(t.bytes.data + t.place[i].at, t.place[i].size, &at, &item, &err)) == WEIR_OK) {
            int expected = n / 10 * 10 + n % 10 / 2;
            if (n++ % 2) {
                check_feedback(&item, expected);
            } else {
                assert_int_equal(item.size, 30000);
                assert_int_equal(item.data[29999], expected);
            }
        }
        assert_int_equal(st, WEIR_END);
    }
    assert_int_equal(n, 30);
    OK(weirp_store_transact(store, NULL, 0, weirp_inbox_remove, &t, &err));
    /* a second time: somebody else has taken it */
    assert_int_equal(weirp_store_transact(store, NULL, 0, weirp_inbox_remove, &t, NULL), WEIR_INVALID);
    weirp_inbox_taken_free(&t);
    count(store, &values, &bytes, &ever);
    assert_int_equal(values + bytes, 0);
    assert_int_equal(ever, 10);
    weirp_store_close(store);
}

/* What can't be taken in yet stays, and what comes later stands behind it. */
static void the_rest_stays(void **state) {
    (void)state;
    weir_error err = {0};
    uint64_t values, bytes, ever, bytes_left;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    weirp_inbox_batch b = {0};
    for (int i = 0; i < 7; i++) add_feedback(&b, i);
    OK(weirp_inbox_put(store, &b, &err));
    weirp_inbox_batch_free(&b);
    count(store, &values, &bytes, &ever);
    for (int done = 1; done < 7; done++) {
        weirp_inbox_taken t = {0};
        weirp_inbox_item item;
        take(store, &t);
        assert_int_equal(t.n, 1);
        OK(weirp_inbox_next(t.bytes.data, t.bytes.size, &t.rest_at, &item, &err));
        check_feedback(&item, done - 1);
        OK(weirp_store_transact(store, NULL, 0, weirp_inbox_remove, &t, &err));
        weirp_inbox_taken_free(&t);
        count(store, &values, &bytes_left, &ever);
        assert_int_equal(values, 1);
        assert_true(bytes_left < bytes);
        bytes = bytes_left;
    }
    weirp_inbox_taken t = {0};
    weirp_inbox_item item;
    size_t at = 0;
    take(store, &t);
    assert_int_equal(t.bytes.size, bytes);
    OK(weirp_inbox_next(t.bytes.data, t.bytes.size, &at, &item, &err));
    check_feedback(&item, 6);
    assert_int_equal(weirp_inbox_next(t.bytes.data, t.bytes.size, &at, &item, &err), WEIR_END);
    weirp_inbox_taken_free(&t);
    weirp_store_close(store);
}

static void bounds(void **state) {
    (void)state;
    weir_error err = {0};
    uint64_t values, bytes, ever;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    weirp_store *store = open_store(path, WEIRP_STORE_JOIN);
    uint8_t *record = calloc(1, WEIRP_INBOX_ITEM + 1);
    weirp_inbox_batch b = {0};
    assert_int_equal(weirp_inbox_add_record(&b, record, WEIRP_INBOX_ITEM + 1), WEIR_FULL);
    assert_int_equal(b.n, 0);
    for (int i = 0; i < 32; i++) OK(weirp_inbox_add_record(&b, record, WEIRP_INBOX_ITEM));
    free(record);
    assert_int_equal(b.n, 32);
    OK(weirp_inbox_put(store, &b, &err));
    OK(weirp_inbox_put(store, &b, &err));
    assert_int_equal(weirp_inbox_put(store, &b, NULL), WEIR_FULL);
    count(store, &values, &bytes, &ever);
    assert_int_equal(values, 64);
    assert_true(bytes <= WEIRP_INBOX_MOST);
    weirp_inbox_taken t = {0};
    take(store, &t); /* a part */
    assert_int_equal(t.n, 2);
    assert_false(t.whole);
    OK(weirp_store_transact(store, NULL, 0, weirp_inbox_remove, &t, &err));
    weirp_inbox_taken_free(&t);
    count(store, &values, &bytes, &ever);
    assert_int_equal(values, 62);
    weirp_inbox_batch_free(&b);
    weirp_store_close(store);
}

/* Every cut and every changed byte: an error or other items, never a read outside (ASan). */
static void any_bytes(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_inbox_batch b = {0};
    weirp_inbox_item item;
    OK(weirp_inbox_add_record(&b, (const uint8_t *)"0123456789", 10));
    add_feedback(&b, 1);
    add_feedback(&b, 2);
    size_t size = b.value[0].size, n_refused = 0;
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, b.value[0].data, cut);
        size_t at = 0, n = 0;
        weir_status st;
        while ((st = weirp_inbox_next(copy, cut, &at, &item, NULL)) == WEIR_OK) n++;
        assert_true(st == WEIR_END || st == WEIR_CORRUPT);
        n_refused += st == WEIR_CORRUPT;
        assert_int_equal(n == 3, cut == size);
        free(copy);
    }
    assert_int_equal(n_refused, size - 3); /* all but the four where an item ends */
    for (size_t i = 0; i < 8 * size; i++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, b.value[0].data, size);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        size_t at = 0, n = 0;
        while (weirp_inbox_next(copy, size, &at, &item, NULL) == WEIR_OK) n++;
        assert_true(n <= 3);
        free(copy);
    }
    weirp_inbox_batch_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(comes_out_in_order), TEST(the_rest_stays), TEST(bounds), TEST(any_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

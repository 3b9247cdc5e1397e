/* Store: every allocation fails once, LMDB's own included: a status, no crash, and the store holds what it held.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static long until_failure = -1; /* allocations that still succeed; -1: all */

static bool fails(void) {
    if (until_failure < 0) return false;
    return until_failure-- == 0;
}

/* These take the C library's place in this program, for the libraries it loads as well. */
void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    return fails() ? NULL : __libc_realloc(old, size);
}

static weir_status seen(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)number, (void)data, (void)size, (void)err;
    ++*(uint64_t *)user;
    return WEIR_OK;
}

static weir_status work(weir_error *err) {
    static uint8_t bytes[50000];
    weirp_store *store = NULL;
    weirp_snapshot *s = NULL;
    const char *name;
    size_t size;
    uint64_t n = 0;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_CREATE, err));
    const weirp_change changes[] = {{WEIRP_PUT, "a", bytes, sizeof bytes},
                                    {WEIRP_PUT, "b", bytes, 10},
                                    {WEIRP_APPEND_LOG, NULL, bytes, 30000},
                                    {WEIRP_APPEND_LOG, NULL, bytes, 100},
                                    {WEIRP_DELETE_PREFIX, "c", NULL, 0}};
    WEIRP_TRY(weirp_store_commit(store, changes, 5, err));
    WEIRP_TRY(weirp_snapshot_begin(&s, store, err));
    WEIRP_TRY(weirp_snapshot_section(s, 0, &name, &size, err));
    WEIRP_TRY(weirp_snapshot_log(s, 0, seen, &n, err));
    weirp_snapshot_end(s);
    s = NULL;
    weirp_store_close(store);
    store = NULL;
    WEIRP_TRY(weirp_store_compact_file(path, NULL, err));
    WEIRP_TRY(weirp_store_verify(path, NULL, NULL, err));
done:
    weirp_snapshot_end(s);
    weirp_store_close(store);
    return st;
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    weir_status st = WEIR_NOMEM;
    uint64_t before = 0;
    long n = 0;
    for (; st != WEIR_OK; n++) {
        weir_error err = {0};
        until_failure = n;
        st = work(&err);
        bool reached = until_failure < 0;
        until_failure = -1;
        if (st != WEIR_OK && st != WEIR_NOMEM) print_error("%ld: %s\n", n, err.text);
        assert_true(st == WEIR_OK || st == WEIR_NOMEM);
        assert_int_equal(err.status, st);
        assert_true(n < 5000 && (reached || st == WEIR_OK));
        if (reached && st == WEIR_OK) st = WEIR_NOMEM; /* a failure that could be done without; go on to the last */
        if (access(path, F_OK) != 0) continue;
        uint64_t n_log;
        err = (weir_error){0};
        OK(weirp_store_verify(path, NULL, &n_log, &err));
        assert_true(n_log >= before && n_log <= before + 2 && n_log % 2 == 0);
        before = n_log;
    }
    assert_true(n > 30 && before > 10);
    assert_int_equal(count_files(".new-"), 0);
    print_message("%ld allocations\n", n - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) {
    printf("SKIPPED: allocations can't be made to fail under a sanitizer\n");
    return 0;
}

#endif

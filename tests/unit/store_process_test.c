/* Store: several processes and threads at one file: who may write, what readers see, what a fork inherits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_versions.h"

#include <pthread.h>

/* ---- who may write ---- */

static int hold_writer(int to, uint64_t seed) {
    (void)seed;
    weirp_store *store;
    if (weirp_store_open(&store, path, WEIRP_STORE_CREATE, NULL) != WEIR_OK) return 1;
    tell(to, 1);
    for (;;) pause();
}

static void one_writer(void **state) {
    (void)state;
    int from;
    uint64_t ready;
    pid_t pid = start(hold_writer, 0, &from);
    assert_true(hear(from, &ready));
    weir_error err = {0};
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, &err), WEIR_BUSY);
    char number[32];
    snprintf(number, sizeof number, "process %ld", (long)pid);
    assert_non_null(strstr(err.text, number));
    assert_int_equal(open_status(path, WEIRP_STORE_CREATE, NULL), WEIR_BUSY);
    assert_int_equal(weirp_store_compact_file(path, NULL, NULL), WEIR_BUSY);
    assert_int_equal(open_status(path, WEIRP_STORE_READ, NULL), WEIR_OK);
    OK(weirp_store_verify(path, NULL, NULL, NULL));
    end_by_kill(pid, from);
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, NULL), WEIR_OK);
}

static int create_and_append(int to, uint64_t seed) {
    (void)to, (void)seed;
    for (int i = 0; i < 20000; i++) {
        weirp_store *store;
        weir_status st = weirp_store_open(&store, path, WEIRP_STORE_CREATE, NULL);
        if (st == WEIR_BUSY) {
            sleep_us(200);
            continue;
        }
        CHECK(st == WEIR_OK);
        weirp_change change = append("x", 1);
        CHECK(weirp_store_commit(store, &change, 1, NULL) == WEIR_OK);
        weirp_store_close(store);
        return 0;
    }
    return 1;
}

/* Many create the same store at once: one file, and nobody's record is lost. */
static void created_by_many(void **state) {
    (void)state;
    enum { N = 8, ROUNDS = 5 };
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[N];
        int from[N];
        for (int i = 0; i < N; i++) pids[i] = start(create_and_append, 0, &from[i]);
        for (int i = 0; i < N; i++) expect_exit(pids[i], from[i]);
        uint64_t n_log;
        weir_error err = {0};
        OK(weirp_store_verify(path, NULL, &n_log, &err));
        assert_int_equal(n_log, N);
        assert_int_equal(count_files(".new-"), 0);
        unlink(path);
    }
}

/* ---- consistency ---- */

static int read_versions(int to, uint64_t until) {
    weirp_store *store;
    weir_error err = {0};
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    uint64_t version = 0, before = 0, n = 0;
    tell(to, 0);
    while (version < until) {
        weirp_snapshot *s;
        if (weirp_snapshot_begin(&s, store, &err) != WEIR_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        int line = check_version(s, &version);
        if (line) {
            fprintf(stderr, "version %lu is mixed: line %d\n", version, line);
            return 1;
        }
        CHECK(version >= before);
        /* the same later: a snapshot doesn't move under its reader */
        if (n++ % 16 == 0) {
            uint64_t again;
            sleep_us(2000);
            CHECK(check_version(s, &again) == 0 && again == version);
        }
        weirp_snapshot_end(s);
        before = version;
    }
    weirp_store_close(store);
    tell(to, n);
    return 0;
}

static void readers_see_whole_commits(void **state) {
    (void)state;
    enum { COMMITS = 4000 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    int from[2];
    uint64_t n;
    pid_t pids[2];
    /* the children leave the parent's handle alone */
    for (int i = 0; i < 2; i++) pids[i] = start(read_versions, COMMITS, &from[i]);
    for (int i = 0; i < 2; i++) assert_true(hear(from[i], &n));
    for (uint64_t v = 1; v <= COMMITS; v++) OK(commit_version(store, v, &err));
    for (int i = 0; i < 2; i++) {
        assert_true(hear(from[i], &n));
        assert_true(n > 100);
        expect_exit(pids[i], from[i]);
    }
    weirp_store_close(store);
}

typedef struct shared {
    weirp_store *store;
    uint64_t until;
    int failed_at;
} shared;

static void *read_in_thread(void *user) {
    shared *sh = user;
    uint64_t version = 0;
    while (version < sh->until && !sh->failed_at) {
        weirp_snapshot *s;
        if (weirp_snapshot_begin(&s, sh->store, NULL) != WEIR_OK) {
            sh->failed_at = __LINE__;
            break;
        }
        sh->failed_at = check_version(s, &version);
        weirp_snapshot_end(s);
    }
    return NULL;
}

static void threads_share_a_process(void **state) {
    (void)state;
    enum { COMMITS = 800, N = 3 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    pthread_t threads[N];
    shared sh[N];
    for (int i = 0; i < N; i++) {
        /* two share a handle with each other, one the writer's */
        sh[i] = (shared){i == 0 ? store : i == 1 ? open_store(path, WEIRP_STORE_READ) : sh[1].store, COMMITS, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, read_in_thread, &sh[i]), 0);
    }
    for (uint64_t v = 1; v <= COMMITS; v++) OK(commit_version(store, v, &err));
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(sh[i].failed_at, 0);
    }
    weirp_store_close(sh[1].store);
    weirp_store_close(store);
}

/* ---- readers that die, maps that grow elsewhere, forks ---- */

static int hold_snapshot(int to, uint64_t seed) {
    (void)seed;
    weirp_store *store;
    weirp_snapshot *s;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, NULL) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, NULL) == WEIR_OK);
    tell(to, 1);
    for (;;) pause();
}

/* A reader killed in mid-snapshot holds pages back only until the writer looks. */
static void dead_readers_are_cleared(void **state) {
    (void)state;
    enum { SIZE = 20000 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    uint8_t *bytes = bytes_of(SIZE, 1);
    weirp_change change = put("s", bytes, SIZE);
    for (int i = 0; i < 10; i++) OK(weirp_store_commit(store, &change, 1, &err));
    size_t small = file_size(path);
    int from;
    uint64_t ready;
    pid_t pid = start(hold_snapshot, 0, &from);
    assert_true(hear(from, &ready));
    for (int i = 0; i < 30; i++) OK(weirp_store_commit(store, &change, 1, &err));
    assert_true(file_size(path) > small + 20 * SIZE); /* alive: its pages stay */
    end_by_kill(pid, from);
    for (int i = 0; i < 300; i++) OK(weirp_store_commit(store, &change, 1, &err)); /* the writer looks now and then */
    size_t settled = file_size(path);
    for (int i = 0; i < 300; i++) OK(weirp_store_commit(store, &change, 1, &err));
    assert_int_equal(file_size(path), settled);
    free(bytes);
    weirp_store_close(store);
}

static int follow_growth(int to, uint64_t seed) {
    (void)seed;
    weirp_store *store;
    weirp_snapshot *s, *other;
    weir_error err = {0};
    uint64_t version;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    CHECK(set_map(store->env, file_size(path) + 4096 * 16, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    tell(to, store->env->map_size);
    char go[320];
    snprintf(go, sizeof go, "%s-go", path);
    while (access(go, F_OK) != 0) sleep_us(500);            /* the writer writes far past our map */
    CHECK(check_version(s, &version) == 0 && version == 3); /* the old snapshot is as it was */
    /* a new one needs the map to move, which the old one forbids */
    CHECK(weirp_snapshot_begin(&other, store, &err) == WEIR_BUSY && strstr(err.text, "snapshots"));
    weirp_snapshot_end(s);
    err = (weir_error){0};
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    const uint8_t *data;
    size_t size;
    CHECK(weirp_snapshot_get(s, "large", &data, &size, &err) == WEIR_OK && size == 9000000);
    weirp_snapshot_end(s);
    weirp_store_close(store);
    return 0;
}

static void map_grown_elsewhere(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t v = 1; v <= 3; v++) OK(commit_version(store, v, &err));
    int from;
    uint64_t map;
    pid_t pid = start(follow_growth, 0, &from);
    assert_true(hear(from, &map));
    uint8_t *bytes = bytes_of(9000000, 1);
    weirp_change change = put("large", bytes, 9000000);
    assert_true(map < 9000000);
    OK(weirp_store_commit(store, &change, 1, &err));
    char go[320];
    snprintf(go, sizeof go, "%s-go", path);
    spill(go, "", 0);
    expect_exit(pid, from);
    free(bytes);
    weirp_store_close(store);
}

static weirp_store *inherited;
static weirp_snapshot *inherited_snapshot;

static int use_after_fork(void *user) {
    (void)user;
    weir_error err = {0};
    weirp_snapshot *s;
    weirp_change change = append("x", 1);
    uint64_t version;
    CHECK(weirp_snapshot_begin(&s, inherited, &err) == WEIR_INVALID && strstr(err.text, "fork"));
    CHECK(weirp_store_commit(inherited, &change, 1, NULL) == WEIR_INVALID);
    weirp_store *own;
    err = (weir_error){0};
    CHECK(weirp_store_open(&own, path, WEIRP_STORE_WRITE, NULL) == WEIR_BUSY); /* the parent still has it */
    CHECK(weirp_store_open(&own, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, own, &err) == WEIR_OK);
    CHECK(check_version(s, &version) == 0 && version == 3);
    weirp_snapshot_end(s);
    weirp_store_close(own);
    weirp_snapshot_end(inherited_snapshot);
    weirp_store_close(inherited);
    return 0;
}

static void fork_leaves_the_parent_alone(void **state) {
    (void)state;
    weir_error err = {0};
    inherited = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t v = 1; v <= 3; v++) OK(commit_version(inherited, v, &err));
    OK(weirp_snapshot_begin(&inherited_snapshot, inherited, &err));
    assert_int_equal(child_status(use_after_fork, NULL), 0);
    /* the child's closing has neither unlocked the file nor given our snapshot's pages away */
    weirp_store *other;
    assert_int_equal(weirp_store_open(&other, path, WEIRP_STORE_WRITE, NULL), WEIR_BUSY);
    for (uint64_t v = 4; v <= 60; v++) OK(commit_version(inherited, v, &err));
    uint64_t version;
    assert_int_equal(check_version(inherited_snapshot, &version), 0);
    assert_int_equal(version, 3);
    weirp_snapshot_end(inherited_snapshot);
    weirp_store_close(inherited);
}

static int linger(int to, uint64_t seed) {
    tell(to, 1);
    while (seed == 0) pause();
    return 0;
}

/* A child that lives on with an inherited descriptor doesn't keep the lock. */
static void lock_goes_with_its_handle(void **state) {
    (void)state;
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    int from;
    uint64_t ready;
    pid_t pid = start(linger, 0, &from);
    assert_true(hear(from, &ready));
    weirp_store_close(store);
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, NULL), WEIR_OK);
    end_by_kill(pid, from);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_writer),
        TEST(created_by_many),
        TEST(readers_see_whole_commits),
        TEST(threads_share_a_process),
        TEST(dead_readers_are_cleared),
        TEST(map_grown_elsewhere),
        TEST(fork_leaves_the_parent_alone),
        TEST(lock_goes_with_its_handle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

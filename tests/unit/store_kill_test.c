/* Store: kill -9 while committing and while compacting; swaps of the file under readers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_versions.h"

/* ---- kill -9 ---- */

typedef struct kills {
    uint64_t n;
    unsigned within_us; /* of the start, but every third thrice as late */
} kills;

/* Commits until it is killed; tells the number of log records after each commit that has returned. */
static int append_until_killed(int to, uint64_t seed) {
    weirp_store *store;
    weir_error err = {0};
    weirp_snapshot *s;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    uint64_t v = weirp_snapshot_version(s);
    weirp_snapshot_end(s);
    if (seed % 4 == 0) CHECK(set_map(store->env, file_size(path) + 8192, &err) == WEIR_OK); /* it must grow */
    for (;;) {
        CHECK(commit_version(store, ++v, &err) == WEIR_OK);
        tell(to, v);
    }
}

static int kill_loop(void *user) {
    const kills *all = user;
    uint64_t acknowledged = 0, n_mid = 0;
    weirp_store *reader = NULL;
    for (uint64_t k = 0; k < all->n; k++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            _exit(append_until_killed(ends[1], k));
        }
        close(ends[1]);
        uint64_t v, first = acknowledged;
        /* a random moment, from before the file is made to many commits in */
        sleep_us((unsigned)(weirp_random_u64(77, 0, k) % (all->within_us * (k % 3 ? 1u : 3u))));
        kill(pid, SIGKILL);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status)); /* it didn't fail before */
        while (hear(ends[0], &v)) acknowledged = v;
        close(ends[0]);
        n_mid += acknowledged > first;
        if (access(path, F_OK) != 0) {
            CHECK(acknowledged == 0);
            continue;
        }
        uint64_t n_log, version;
        weir_error err = {0};
        weir_status st = weirp_store_verify(path, NULL, &n_log, &err);
        if (st != WEIR_OK) fprintf(stderr, "kill %lu: %s\n", k, err.text);
        CHECK(st == WEIR_OK);
        CHECK(n_log >= acknowledged && n_log <= acknowledged + 1); /* the one in flight may have made it */
        /* every other time somebody has the store open meanwhile, so that LMDB can't start with a fresh lock file */
        if (k % 20 == 5) CHECK(weirp_store_open(&reader, path, WEIRP_STORE_READ, &err) == WEIR_OK);
        if (k % 20 == 15) {
            weirp_store_close(reader);
            reader = NULL;
        }
        weirp_store *now = reader;
        if (!now) CHECK(weirp_store_open(&now, path, WEIRP_STORE_READ, &err) == WEIR_OK);
        weirp_snapshot *s;
        CHECK(weirp_snapshot_begin(&s, now, &err) == WEIR_OK);
        int line = check_version(s, &version);
        if (line) fprintf(stderr, "kill %lu: version %lu is mixed: line %d\n", k, version, line);
        if (version < n_log || version > acknowledged + 1)
            fprintf(stderr, "kill %lu: version %lu, log %lu, acknowledged %lu, %s reader\n", k, version, n_log,
                    acknowledged, reader ? "a" : "no");
        /* the commit in flight may come to light only when nobody is left who had the file open while it died */
        CHECK(line == 0 && version >= n_log && version <= acknowledged + 1);
        weirp_snapshot_end(s);
        if (now != reader) weirp_store_close(now);
        acknowledged = version;
    }
    weirp_store_close(reader);
    fprintf(stderr, "%lu kills, %lu of them after commits, %lu commits kept\n", all->n, n_mid, acknowledged);
    CHECK(n_mid > all->n / 8 && acknowledged > all->n / 8); /* most kills hit a store at work */
    return 0;
}

static void killed_while_committing(void **state) {
    (void)state;
    kills all = {240, 15000};
    assert_int_equal(child_status(kill_loop, &all), 0);
}

/* The same where fsync takes its time, so that most kills fall into it. */
static void killed_on_disk(void **state) {
    (void)state;
    kills all = {60, 60000};
    const char *base = getenv("TMPDIR");
    assert_int_equal(rmdir(folder), 0);
    snprintf(folder, sizeof folder, "%s/weir-store-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s.mdb", folder);
    assert_int_equal(child_status(kill_loop, &all), 0);
}

static int compact_until_killed(int to, uint64_t seed) {
    (void)seed;
    for (;;) {
        CHECK(weirp_store_compact_file(path, NULL, NULL) == WEIR_OK);
        tell(to, 1);
    }
}

/* Compaction, too, leaves the old file or the new one; whoever reads meanwhile sees it whole. */
static void killed_while_compacting(void **state) {
    (void)state;
    enum { KILLS = 120, COMMITS = 30 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t v = 1; v <= COMMITS; v++) OK(commit_version(store, v, &err));
    weirp_store_close(store);
    weirp_store *reader = open_store(path, WEIRP_STORE_READ);
    uint64_t n_done = 0, n_between = 0, version = COMMITS;
    for (uint64_t k = 0; k < KILLS; k++) {
        int from;
        uint64_t done;
        pid_t pid = start(compact_until_killed, 0, &from);
        sleep_us((unsigned)(weirp_random_u64(78, 0, k) % 20000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (hear(from, &done)) n_done++;
        close(from);
        weirp_snapshot *s;
        uint64_t seen;
        OK(weirp_snapshot_begin(&s, reader, &err));
        assert_int_equal(check_version(s, &seen), 0);
        assert_int_equal(seen, version);
        /* and a writer goes on while that snapshot is open: on the old file or the new one, the reader keeps its own */
        weir_error busy = {0};
        weir_status st = weirp_store_open(&store, path, WEIRP_STORE_WRITE, &busy);
        if (st == WEIR_BUSY) {
            /* killed between the file and its lock file: this process must let go of the old file first */
            assert_non_null(strstr(busy.text, "old file"));
            n_between++;
            weirp_snapshot_end(s);
            OK(weirp_snapshot_begin(&s, reader, &err));
            store = open_store(path, WEIRP_STORE_WRITE);
        } else {
            OK(st);
        }
        for (int i = 0; i < 4; i++) OK(commit_version(store, ++version, &err));
        weirp_store_close(store);
        assert_int_equal(check_version(s, &seen), 0);
        weirp_snapshot_end(s);
        OK(weirp_store_verify(path, NULL, NULL, &err));
    }
    weirp_store_close(reader);
    print_message("%d kills, %lu compactions done, %lu killed before the lock file was gone\n", KILLS, n_done,
                  n_between);
    assert_true(n_done > 5);
}

static int read_across_swap(int to, uint64_t seed) {
    char go[320];
    weirp_store *store;
    weirp_snapshot *s;
    weir_error err = {0};
    uint64_t version;
    snprintf(go, sizeof go, "%s-go", path);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    tell(to, 1);
    while (access(go, F_OK) != 0) sleep_us(500);
    CHECK(check_version(s, &version) == 0 && version == seed);
    /* while the snapshot lives the old file still serves; then the new one does */
    weirp_snapshot *other;
    CHECK(weirp_snapshot_begin(&other, store, &err) == WEIR_OK);
    CHECK(check_version(other, &version) == 0 && version == seed);
    weirp_snapshot_end(other);
    weirp_snapshot_end(s);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    CHECK(check_version(s, &version) == 0 && version == seed + 50);
    weirp_snapshot_end(s);
    weirp_store_close(store);
    return 0;
}

/* Compaction dies after it has put the new file in place, and before it has taken the lock file away, which processes
 * with the old file open still use: the new file must get along with it. */
static void compaction_died_before_the_lock(void **state) {
    (void)state;
    weir_error err = {0};
    char lock[320], kept[320], go[320];
    snprintf(lock, sizeof lock, "%s-lock", path);
    snprintf(kept, sizeof kept, "%s-kept", path);
    snprintf(go, sizeof go, "%s-go", path);
    for (uint64_t last = 20; last < 22; last++) { /* an even and an odd number of transactions */
        weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
        for (uint64_t v = 1; v <= last; v++) OK(commit_version(store, v, &err));
        weirp_store_close(store);
        int from;
        uint64_t ready, version;
        pid_t pid = start(read_across_swap, last, &from);
        assert_true(hear(from, &ready));
        assert_int_equal(link(lock, kept), 0);
        OK(weirp_store_compact_file(path, NULL, &err));
        assert_int_equal(rename(kept, lock), 0);
        store = open_store(path, WEIRP_STORE_WRITE);
        weirp_snapshot *s;
        OK(weirp_snapshot_begin(&s, store, &err));
        assert_int_equal(check_version(s, &version), 0);
        assert_int_equal(version, last);
        for (uint64_t v = last + 1; v <= last + 50; v++) OK(commit_version(store, v, &err));
        assert_int_equal(check_version(s, &version), 0);
        assert_int_equal(version, last);
        weirp_snapshot_end(s);
        spill(go, "", 0);
        expect_exit(pid, from);
        weirp_store_close(store);
        OK(weirp_store_verify(path, NULL, NULL, &err));
        unlink(go);
        unlink(path);
    }
}

static int read_through_swaps(int to, uint64_t until_ms) {
    weirp_store *store;
    weir_error err = {0};
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    uint64_t end = weirp_monotonic_ns() + until_ms * 1000000, n = 0, before = 0;
    while (weirp_monotonic_ns() < end) {
        weirp_snapshot *s;
        weir_status st = weirp_snapshot_begin(&s, store, &err);
        if (st != WEIR_OK) fprintf(stderr, "reader: %s\n", err.text);
        CHECK(st == WEIR_OK);
        uint64_t version;
        int line = check_version(s, &version);
        if (line) fprintf(stderr, "reader: version %lu is mixed: line %d\n", version, line);
        CHECK(line == 0 && version >= before);
        if (n++ % 8 == 0) {
            sleep_us(3000);
            CHECK(check_version(s, &version) == 0);
        }
        before = version;
        weirp_snapshot_end(s);
        if (n % 32 == 0) { /* open anew, in the midst of swaps */
            weirp_store_close(store);
            st = weirp_store_open(&store, path, WEIRP_STORE_READ, &err);
            if (st != WEIR_OK) fprintf(stderr, "reader: %s\n", err.text);
            CHECK(st == WEIR_OK);
        }
    }
    weirp_store_close(store);
    tell(to, n);
    return 0;
}

/* A writer that comes and goes, compactions in between, readers all the time. */
static void swaps_under_readers(void **state) {
    (void)state;
    enum { N = 2, MS = 1500 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    OK(commit_version(store, 1, &err));
    weirp_store_close(store);
    pid_t pids[N];
    int from[N];
    for (int i = 0; i < N; i++) pids[i] = start(read_through_swaps, MS, &from[i]);
    uint64_t end = weirp_monotonic_ns() + (uint64_t)MS * 1000000, version = 1, n_swaps = 0, n;
    while (weirp_monotonic_ns() < end) {
        store = open_store(path, WEIRP_STORE_WRITE);
        for (int i = 0; i < 10; i++) OK(commit_version(store, ++version, &err));
        weirp_store_close(store);
        OK(weirp_store_compact_file(path, NULL, &err));
        n_swaps++;
    }
    for (int i = 0; i < N; i++) {
        assert_true(hear(from[i], &n));
        assert_true(n > 20);
        expect_exit(pids[i], from[i]);
    }
    assert_true(n_swaps > 10);
    OK(weirp_store_verify(path, NULL, &n, &err));
    assert_int_equal(n, version);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(killed_while_committing),         TEST(killed_on_disk),      TEST(killed_while_compacting),
        TEST(compaction_died_before_the_lock), TEST(swaps_under_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Store: several processes, and what ends them: locks, forks, kills, full disks, read-only folders.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>

static void sleep_us(unsigned us) {
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

/* A child that runs `body` with the write end of a pipe; *from is the read end. */
static pid_t start(int (*body)(int to, uint64_t seed), uint64_t seed, int *from) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        _exit(body(ends[1], seed));
    }
    close(ends[1]);
    *from = ends[0];
    return pid;
}

static void tell(int to, uint64_t value) {
    if (write(to, &value, sizeof value) != sizeof value) _exit(99);
}

/* The next number from a child; false: it has ended. */
static bool hear(int from, uint64_t *value) {
    uint8_t *at = (uint8_t *)value;
    size_t have = 0;
    while (have < sizeof *value) {
        ssize_t n = read(from, at + have, sizeof *value - have);
        if (n <= 0) return false;
        have += (size_t)n;
    }
    return true;
}

static void expect_exit(pid_t pid, int from) {
    int status;
    close(from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void end_by_kill(pid_t pid, int from) {
    close(from);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

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

/* Commit number v holds sections "a" and "b" made of v, and v records in the log of which the last holds v. */
static weir_status commit_version(weirp_store *store, uint64_t v, weir_error *err) {
    uint64_t a[600], b[90];
    for (size_t i = 0; i < 600; i++) a[i] = v * 1000 + i;
    for (size_t i = 0; i < 90; i++) b[i] = v ^ i;
    size_t a_size = (v % 5 ? 600 : 20) * 8;
    weirp_change changes[] = {put("a", a, a_size), append(&v, 8), put("b", b, sizeof b)};
    return weirp_store_commit(store, changes, 3, err);
}

static weir_status last_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    uint64_t v;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "size");
    memcpy(&v, data, 8);
    if (v != number + 1) return weirp_fail(err, WEIR_CORRUPT, 0, "record %lu holds %lu", number, v);
    *(uint64_t *)user = v;
    return WEIR_OK;
}

/* 0, or the line at which the snapshot isn't of one version. */
static int check_version(weirp_snapshot *s, uint64_t *version) {
    const uint8_t *data;
    size_t size;
    uint64_t v = weirp_snapshot_version(s), last = 0, x;
    weir_error err = {0};
    *version = v;
    if (v == 0) return 0;
    if (weirp_snapshot_n_log(s) != v) return __LINE__;
    if (weirp_snapshot_get(s, "a", &data, &size, &err) != WEIR_OK) return __LINE__;
    if (size != (v % 5 ? 600u : 20u) * 8) return __LINE__;
    for (size_t i = 0; i < size / 8; i++) {
        memcpy(&x, data + 8 * i, 8);
        if (x != v * 1000 + i) return __LINE__;
    }
    if (weirp_snapshot_get(s, "b", &data, &size, &err) != WEIR_OK || size != 720) return __LINE__;
    for (size_t i = 0; i < 90; i++) {
        memcpy(&x, data + 8 * i, 8);
        if (x != (v ^ i)) return __LINE__;
    }
    if (weirp_snapshot_log(s, v > 40 ? v - 40 : 0, last_record, &last, &err) != WEIR_OK) return __LINE__;
    return last == v ? 0 : __LINE__;
}

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

/* ---- kill -9 ---- */

/* Commits until it is killed; tells the number of log records after each commit that has returned. */
static int append_until_killed(int to, uint64_t seed) {
    weirp_store *store;
    weir_error err = {0};
    weirp_snapshot *s;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    uint64_t v = weirp_snapshot_version(s);
    weirp_snapshot_end(s);
    if (seed % 4 == 0) CHECK(weirp_env_set_map(store->env, file_size(path) + 8192, &err) == WEIR_OK); /* it must grow */
    for (;;) {
        CHECK(commit_version(store, ++v, &err) == WEIR_OK);
        tell(to, v);
    }
}

static int kill_loop(void *user) {
    (void)user;
    enum { KILLS = 240 };
    uint64_t acknowledged = 0, n_mid = 0;
    weirp_store *reader = NULL;
    for (uint64_t k = 0; k < KILLS; k++) {
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
        sleep_us((unsigned)(weirp_random_u64(77, 0, k) % (k % 3 ? 12000 : 60000)));
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
        /* the commit in flight may come to light only when nobody is left who had the file open while it died */
        CHECK(line == 0 && version >= n_log && version <= acknowledged + 1);
        weirp_snapshot_end(s);
        if (now != reader) weirp_store_close(now);
        acknowledged = version;
    }
    weirp_store_close(reader);
    fprintf(stderr, "%d kills, %lu of them after commits, %lu commits kept\n", KILLS, n_mid, acknowledged);
    CHECK(n_mid > KILLS / 3 && acknowledged > KILLS);
    return 0;
}

static void killed_while_committing(void **state) {
    (void)state;
    assert_int_equal(child_status(kill_loop, NULL), 0);
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
    CHECK(weirp_env_set_map(store->env, file_size(path) + 4096 * 16, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    tell(to, store->env->map_size);
    sleep_us(300000); /* the writer writes far past our map */
    while (file_size(path) < 8000000) sleep_us(1000);
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

/* ---- no space ---- */

/* Fills up to whatever limit there is; then the store must hold exactly what was committed, and serve again with room.
 */
static int fill_up(weirp_store *store, int (*make_room)(void)) {
    weir_error err = {0};
    uint64_t v = 0, version;
    uint8_t *bytes = bytes_of(1 << 20, 1);
    weir_status st;
    while ((st = commit_version(store, v + 1, &err)) == WEIR_OK) CHECK(++v < 100000);
    if (st != WEIR_FULL) fprintf(stderr, "%s: %s\n", weir_status_name(st), err.text);
    CHECK(st == WEIR_FULL && v > 3);
    for (int i = 0; i < 5; i++) CHECK(commit_version(store, v + 1, NULL) == WEIR_FULL);
    weirp_change big = put("big", bytes, 1 << 20);
    CHECK(weirp_store_commit(store, &big, 1, NULL) == WEIR_FULL);
    free(bytes);
    weirp_snapshot *s;
    err = (weir_error){0};
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    CHECK(check_version(s, &version) == 0 && version == v);
    weirp_snapshot_end(s);
    CHECK(weirp_store_verify(path, NULL, NULL, &err) == WEIR_OK);
    CHECK(make_room() == 0);
    for (int i = 0; i < 20; i++) CHECK(commit_version(store, ++v, &err) == WEIR_OK);
    weirp_store_close(store);
    uint64_t n_log;
    CHECK(weirp_store_verify(path, NULL, &n_log, &err) == WEIR_OK && n_log == v);
    return 0;
}

static int lift_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_FSIZE, &limit);
}

static int fill_to_limit(void *user) {
    size_t limit_bytes = *(size_t *)user;
    signal(SIGXFSZ, SIG_IGN);
    weirp_store *store;
    struct rlimit limit;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, NULL) == WEIR_OK);
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = limit_bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    return fill_up(store, lift_limit);
}

static void file_size_limit(void **state) {
    (void)state;
    /* limits in mid-page, at a page's end, and one past it */
    size_t limits[] = {300000, 4096 * 80, 4096 * 80 + 1, 4096 * 81 - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(child_status(fill_to_limit, &limits[i]), 0);
        unlink(path);
    }
}

/* ---- file systems of our own, in a mount namespace that ends with its child ---- */

enum { NO_MOUNT = 77 };

static int mount_own(const char *disk, const char *options) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", disk, "tmpfs", 0, options) != 0) {
        print_message("SKIPPED: a file system can't be mounted here: %s\n", strerror(errno));
        return NO_MOUNT;
    }
    return 0;
}

static char ballast[400];

static int drop_ballast(void) {
    return unlink(ballast);
}

static int fill_disk(void *user) {
    const char *disk = user;
    if (mount_own(disk, "size=2m") != 0) return NO_MOUNT;
    weirp_store *store;
    uint8_t *bytes = bytes_of(1 << 20, 1);
    snprintf(ballast, sizeof ballast, "%s/ballast", disk);
    spill(ballast, bytes, 1 << 20);
    free(bytes);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, NULL) == WEIR_OK);
    return fill_up(store, drop_ballast);
}

static int in_own_file_system(int (*body)(void *)) {
    char disk[280];
    snprintf(disk, sizeof disk, "%s/disk", folder);
    snprintf(path, sizeof path, "%s/s.mdb", disk);
    assert_int_equal(mkdir(disk, 0755), 0);
    int status = child_status(body, disk);
    assert_int_equal(rmdir(disk), 0);
    return status;
}

static void disk_full(void **state) {
    (void)state;
    int status = in_own_file_system(fill_disk);
    if (status == NO_MOUNT) skip();
    assert_int_equal(status, 0);
}

static int small_address_space(void *user) {
    (void)user;
    struct rlimit limit = {(rlim_t)400 << 20, (rlim_t)400 << 20};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    weirp_store *store;
    weir_error err = {0};
    if (weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    CHECK(store->env->map_size <= (size_t)400 << 20);
    for (uint64_t v = 1; v <= 20; v++) CHECK(commit_version(store, v, &err) == WEIR_OK);
    weirp_store_close(store);
    CHECK(weirp_store_verify(path, NULL, NULL, &err) == WEIR_OK);
    return 0;
}

static void little_address_space(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    print_message("SKIPPED: sanitizers need the address space\n");
    skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    print_message("SKIPPED: sanitizers need the address space\n");
    skip();
#endif
#endif
    assert_int_equal(child_status(small_address_space, NULL), 0);
}

/* ---- read-only ---- */

enum { NOBODY = 65534 };

static int read_and_fail_to_write(void *user) {
    if (geteuid() == 0) {
        CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
        CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    }
    weir_error err = {0};
    weirp_store *store, *writer;
    weirp_snapshot *s, *second;
    uint64_t version;
    weir_status st = weirp_store_open(&store, path, WEIRP_STORE_READ, &err);
    if (st != WEIR_OK) fprintf(stderr, "%s\n", err.text);
    CHECK(st == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&second, store, &err) == WEIR_OK);
    CHECK(check_version(s, &version) == 0 && version == 3);
    weirp_snapshot_end(s);
    CHECK(check_version(second, &version) == 0 && version == 3);
    weirp_snapshot_end(second);
    CHECK(weirp_store_open(&writer, path, WEIRP_STORE_WRITE, &err) == WEIR_READONLY);
    CHECK(strstr(err.text, path));
    CHECK(weirp_store_open(&writer, path, WEIRP_STORE_CREATE, NULL) == WEIR_READONLY);
    weir_status compacted = weirp_store_compact_file(path, NULL, NULL);
    CHECK(compacted == WEIR_READONLY);
    weirp_store_close(store);
    CHECK(weirp_store_verify(path, NULL, NULL, NULL) == WEIR_OK);
    if (!user) return 0;
    char other[400];
    snprintf(other, sizeof other, "%s-new", path);
    CHECK(weirp_store_open(&store, other, WEIRP_STORE_CREATE, NULL) == WEIR_READONLY);
    return 0;
}

static void read_only(void **state) {
    (void)state;
    weir_error err = {0};
    char lock[320];
    snprintf(lock, sizeof lock, "%s-lock", path);
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t v = 1; v <= 3; v++) OK(commit_version(store, v, &err));
    weirp_store_close(store);
    bool folder_too = true;
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0777), 0); /* a read-only file: the lock file can be made */
    unlink(lock);
    assert_int_equal(child_status(read_and_fail_to_write, NULL), 0);
    unlink(lock);
    assert_int_equal(chmod(folder, 0555), 0); /* a read-only folder, and nobody has left a lock file */
    assert_int_equal(child_status(read_and_fail_to_write, &folder_too), 0);
    chmod(folder, 0755);
    spill(lock, "", 0); /* ... or one that can't be written */
    chmod(lock, 0444);
    chmod(folder, 0555);
    assert_int_equal(child_status(read_and_fail_to_write, &folder_too), 0);
    chmod(folder, 0755);
    chmod(path, 0644);
}

static int read_beside_writer(void *user) {
    int expected = *(int *)user;
    CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *s;
    weir_status st = weirp_store_open(&store, path, WEIRP_STORE_READ, &err);
    if (expected != WEIR_OK) return st != (weir_status)expected || !strstr(err.text, "process");
    CHECK(st == WEIR_OK && weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    uint64_t version;
    CHECK(check_version(s, &version) == 0);
    weirp_snapshot_end(s);
    weirp_store_close(store);
    return 0;
}

/* Somebody who may read the file but not write its lock file can't be seen by a writer: it is told so, and neither
 * reads what is being overwritten nor blocks. */
static void strangers_beside_a_writer(void **state) {
    (void)state;
    if (geteuid() != 0) {
        print_message("SKIPPED: another user is needed: run as root\n");
        skip();
    }
    weir_error err = {0};
    char lock[320];
    snprintf(lock, sizeof lock, "%s-lock", path);
    chmod(folder, 0755);
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    OK(commit_version(store, 1, &err));
    chmod(lock, 0644);
    int expected = WEIR_BUSY;
    assert_int_equal(child_status(read_beside_writer, &expected), 0);
    chmod(lock, 0666);
    expected = WEIR_OK;
    assert_int_equal(child_status(read_beside_writer, &expected), 0);
    chmod(lock, 0644);
    weirp_store_close(store);
    assert_int_equal(child_status(read_beside_writer, &expected), 0);
}

static int read_mounted(void) {
    weir_error err = {0};
    weirp_store *store;
    weirp_snapshot *s;
    uint64_t version;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_READ, &err) == WEIR_OK);
    CHECK(weirp_snapshot_begin(&s, store, &err) == WEIR_OK);
    CHECK(check_version(s, &version) == 0 && version == 2);
    weirp_snapshot_end(s);
    weirp_store_close(store);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_WRITE, NULL) == WEIR_READONLY);
    return 0;
}

static int write_protected(void *user) {
    const char *disk = user;
    char lock[320];
    weir_error err = {0};
    weirp_store *store;
    if (mount_own(disk, "size=8m") != 0) return NO_MOUNT;
    snprintf(lock, sizeof lock, "%s-lock", path);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_CREATE, &err) == WEIR_OK);
    CHECK(commit_version(store, 1, &err) == WEIR_OK && commit_version(store, 2, &err) == WEIR_OK);
    weirp_store_close(store);
    CHECK(mount("tmpfs", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m") == 0);
    CHECK(read_mounted() == 0);
    CHECK(mount("tmpfs", disk, "tmpfs", MS_REMOUNT, "size=8m") == 0);
    CHECK(unlink(lock) == 0); /* and without a lock file */
    CHECK(mount("tmpfs", disk, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=8m") == 0);
    return read_mounted();
}

static void read_only_file_system(void **state) {
    (void)state;
    int status = in_own_file_system(write_protected);
    if (status == NO_MOUNT) skip();
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_writer),
        TEST(created_by_many),
        TEST(readers_see_whole_commits),
        TEST(threads_share_a_process),
        TEST(killed_while_committing),
        TEST(killed_while_compacting),
        TEST(compaction_died_before_the_lock),
        TEST(swaps_under_readers),
        TEST(dead_readers_are_cleared),
        TEST(map_grown_elsewhere),
        TEST(fork_leaves_the_parent_alone),
        TEST(lock_goes_with_its_handle),
        TEST(file_size_limit),
        TEST(disk_full),
        TEST(little_address_space),
        TEST(read_only),
        TEST(strangers_beside_a_writer),
        TEST(read_only_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

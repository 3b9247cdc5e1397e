/* Store: many who change the table at once: threads, processes, some of them killed; and compaction, which needs the
 * file to itself. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_versions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* ---- a counter that must come out exact ---- */

static weir_status read_u64(weirp_txn *txn, const char *key, uint64_t *v, weir_error *err) {
    const uint8_t *data;
    size_t size;
    *v = 0;
    weir_status st = weirp_txn_get(txn, key, strlen(key), &data, &size, err);
    if (st == WEIR_OK && size == 8) memcpy(v, data, 8);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

/* Adds 1 to the sum and to the caller's own count, and leaves an entry that says which it was. */
static weir_status add_one(void *user, weirp_txn *txn, weir_error *err) {
    const char *own = user;
    uint64_t sum, mine;
    char entry[64];
    weir_status st;
    WEIRP_TRY(read_u64(txn, "sum", &sum, err));
    WEIRP_TRY(read_u64(txn, own, &mine, err));
    sum++, mine++;
    snprintf(entry, sizeof entry, "entry/%016llx", (unsigned long long)sum);
    WEIRP_TRY(weirp_txn_put(txn, "sum", 3, (uint8_t *)&sum, 8, err));
    WEIRP_TRY(weirp_txn_put(txn, own, strlen(own), (uint8_t *)&mine, 8, err));
    WEIRP_TRY(weirp_txn_put(txn, entry, strlen(entry), (const uint8_t *)own, strlen(own), err));
done:
    return st;
}

typedef struct totals {
    uint64_t sum, own, entries;
} totals;

static weir_status add_up(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size,
                          weir_error *err) {
    totals *t = user;
    uint64_t v = 0;
    (void)err;
    if (size == 8) memcpy(&v, data, 8);
    if (key_size == 3)
        t->sum = v;
    else if (memcmp(key, "entry/", 6) == 0)
        t->entries++;
    else
        t->own += v;
    return WEIR_OK;
}

/* 0, or the line at which what should be equal isn't. */
static int check_totals(weirp_store *store, uint64_t *sum) {
    weirp_snapshot *s;
    totals t = {0};
    if (weirp_snapshot_begin(&s, store, NULL) != WEIR_OK) return __LINE__;
    weir_status st = weirp_txn_scan(weirp_snapshot_table(s), NULL, 0, NULL, 0, add_up, &t, NULL);
    uint64_t version = weirp_snapshot_table_version(s), n = weirp_snapshot_n_table(s);
    weirp_snapshot_end(s);
    *sum = t.sum;
    if (st != WEIR_OK) return __LINE__;
    if (t.own != t.sum || t.entries != t.sum) return __LINE__;
    return version == t.sum && n >= t.sum ? 0 : __LINE__;
}

typedef struct adder {
    weirp_store *store;
    char name[16];
    int n, failed_at;
    pthread_t thread;
} adder;

static void *add_many(void *user) {
    adder *a = user;
    weir_error err = {0};
    for (int i = 0; i < a->n && !a->failed_at; i++)
        if (weirp_store_transact(a->store, NULL, 0, add_one, a->name, &err) != WEIR_OK) {
            fprintf(stderr, "%s\n", err.text);
            a->failed_at = i + 1;
        }
    return NULL;
}

static void *look_on(void *user) {
    adder *a = user;
    uint64_t sum = 0, before = 0;
    while (sum < (uint64_t)a->n && !a->failed_at) {
        a->failed_at = check_totals(a->store, &sum);
        if (sum < before) a->failed_at = __LINE__;
        before = sum;
        sleep_us(2000);
    }
    return NULL;
}

/* The one writer, who commits versions as well; two threads on one joined handle, one on another; and a reader. */
static void threads_count(void **state) {
    (void)state;
    enum { N = 1500, COMMITS = 300 };
    weir_error err = {0};
    weirp_store *writer = open_store(path, WEIRP_STORE_CREATE), *joined = open_store(path, WEIRP_STORE_JOIN);
    weirp_store *other = open_store(path, WEIRP_STORE_JOIN), *reader = open_store(path, WEIRP_STORE_READ);
    adder adders[] = {{.store = joined, .name = "a", .n = N},
                      {.store = joined, .name = "b", .n = N},
                      {.store = other, .name = "c", .n = N},
                      {.store = writer, .name = "d", .n = N}};
    adder looker = {.store = reader, .n = 4 * N};
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&adders[i].thread, NULL, add_many, &adders[i]), 0);
    assert_int_equal(pthread_create(&looker.thread, NULL, look_on, &looker), 0);
    for (uint64_t v = 1; v <= COMMITS; v++) OK(commit_version(writer, v, &err));
    for (int i = 0; i < 4; i++) {
        pthread_join(adders[i].thread, NULL);
        assert_int_equal(adders[i].failed_at, 0);
    }
    pthread_join(looker.thread, NULL);
    assert_int_equal(looker.failed_at, 0);
    weirp_snapshot *s;
    uint64_t version;
    OK(weirp_snapshot_begin(&s, reader, &err));
    assert_int_equal(check_version(s, &version), 0);
    assert_int_equal(version, COMMITS); /* the others' don't count as commits */
    weirp_snapshot_end(s);
    weirp_store_close(reader);
    weirp_store_close(other);
    weirp_store_close(joined);
    weirp_store_close(writer);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* Threads whose map is too small again and again, while a reader keeps looking. */
static void threads_grow_the_map(void **state) {
    (void)state;
    enum { N = 400 };
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE), *reader = open_store(path, WEIRP_STORE_READ);
    OK(set_map(store->env, file_size(path) + 8192, &err));
    adder adders[] = {{.store = store, .name = "a", .n = N}, {.store = store, .name = "b", .n = N}};
    adder looker = {.store = reader, .n = 2 * N};
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&adders[i].thread, NULL, add_many, &adders[i]), 0);
    assert_int_equal(pthread_create(&looker.thread, NULL, look_on, &looker), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(adders[i].thread, NULL);
        assert_int_equal(adders[i].failed_at, 0);
    }
    pthread_join(looker.thread, NULL);
    assert_int_equal(looker.failed_at, 0);
    weirp_store_close(reader);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* ---- processes ---- */

enum { EACH = 2000 };

static int add_in_process(int to, uint64_t seed) {
    weirp_store *store;
    weir_error err = {0};
    char name[16];
    snprintf(name, sizeof name, "p%llu", (unsigned long long)seed);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_JOIN, &err) == WEIR_OK);
    /* one of them in a map that is just large enough, and follows what the others do to it */
    if (seed == 1) CHECK(set_map(store->env, file_size(path) + 4096 * 8, &err) == WEIR_OK);
    tell(to, 0);
    for (int i = 0; i < EACH; i++) {
        if (weirp_store_transact(store, NULL, 0, add_one, name, &err) == WEIR_OK) continue;
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    weirp_store_close(store);
    return 0;
}

static void processes_count(void **state) {
    (void)state;
    enum { N = 3, COMMITS = 500 };
    weir_error err = {0};
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    int from[N];
    uint64_t n;
    pid_t pids[N];
    for (int i = 0; i < N; i++) pids[i] = start(add_in_process, (uint64_t)i, &from[i]);
    for (int i = 0; i < N; i++) assert_true(hear(from[i], &n));
    weirp_store *writer = open_store(path, WEIRP_STORE_WRITE);
    for (uint64_t v = 1; v <= COMMITS; v++) OK(commit_version(writer, v, &err));
    for (int i = 0; i < N; i++) expect_exit(pids[i], from[i]);
    uint64_t sum;
    assert_int_equal(check_totals(writer, &sum), 0);
    assert_int_equal(sum, N * EACH);
    weirp_snapshot *s;
    OK(weirp_snapshot_begin(&s, writer, &err));
    assert_int_equal(check_version(s, &n), 0);
    assert_int_equal(n, COMMITS);
    weirp_snapshot_end(s);
    weirp_store_close(writer);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* Tells of every transaction after it has returned. */
static int add_until_killed(int to, uint64_t seed) {
    weirp_store *store;
    char name[16];
    snprintf(name, sizeof name, "k%llu", (unsigned long long)seed % 4);
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_JOIN, NULL) == WEIR_OK);
    for (;;) {
        if (weirp_store_transact(store, NULL, 0, add_one, name, NULL) != WEIR_OK) return 1;
        tell(to, 1);
    }
}

/* A survivor goes on beside them, and never waits for the dead. */
static void killed_again_and_again(void **state) {
    (void)state;
    enum { ROUNDS = 150 };
    weir_error err = {0};
    uint64_t told = 0, one, sum;
    weirp_store *store = open_store(path, WEIRP_STORE_CREATE);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        int from[2];
        pid_t pids[2];
        for (int i = 0; i < 2; i++) pids[i] = start(add_until_killed, round + (uint64_t)i, &from[i]);
        for (int i = 0; i < 2; i++) {
            assert_true(hear(from[i], &one));
            told++;
        }
        sleep_us((unsigned)(weirp_random_u64(5, 1, round) % 3000));
        for (int i = 0; i < 2; i++) kill(pids[i], SIGKILL);
        OK(weirp_store_transact(store, NULL, 0, add_one, (void *)(uintptr_t) "self", &err));
        told++;
        for (int i = 0; i < 2; i++) {
            while (hear(from[i], &one)) told++;
            int status;
            close(from[i]);
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFSIGNALED(status)); /* it didn't end by itself */
        }
        OK(weirp_store_transact(store, NULL, 0, add_one, (void *)(uintptr_t) "self", &err));
        told++;
        assert_int_equal(check_totals(store, &sum), 0);
        /* one of each of the killed may have been durable before it could tell */
        assert_true(sum >= told && sum <= told + 2 * (round + 1));
        if (round % 10 == 9) OK(weirp_store_verify(path, NULL, NULL, &err));
    }
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* ---- those who wait while another who waits is killed ---- */

static _Atomic uint64_t *progress; /* (2,), shared with the children */

static weir_status touch(void *user, weirp_txn *txn, weir_error *err) {
    return weirp_txn_put(txn, "touched", 7, user, 8, err);
}

/* Both kinds of waiting: to write, and to be entered among the readers. */
static int touch_for_ever(int to, uint64_t seed) {
    weirp_store *store;
    weirp_snapshot *s;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_JOIN, NULL) == WEIR_OK);
    tell(to, 1);
    for (uint64_t n = 0;; n++) {
        CHECK(weirp_store_transact(store, NULL, 0, touch, &n, NULL) == WEIR_OK);
        CHECK(weirp_snapshot_begin(&s, store, NULL) == WEIR_OK);
        weirp_snapshot_end(s);
        if (seed < 2) progress[seed]++;
    }
}

/* Of three who write, one is killed again and again: neither of the others may be forgotten, as they were by LMDB's
 * mutexes alone. */
static void survivors_go_on(void **state) {
    (void)state;
    enum { ROUNDS = 200, PATIENCE_MS = 10000 };
    uint64_t one, before[2];
    int from[3], status;
    pid_t pids[3];
    progress = mmap(NULL, 2 * sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(progress != MAP_FAILED);
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    for (uint64_t i = 0; i < 2; i++) pids[i] = start(touch_for_ever, i, &from[i]);
    for (int i = 0; i < 2; i++) assert_true(hear(from[i], &one));
    bool alive = true;
    for (uint64_t round = 0; alive && round < ROUNDS; round++) {
        pids[2] = start(touch_for_ever, 2, &from[2]);
        assert_true(hear(from[2], &one));
        sleep_us(1000 + (unsigned)(weirp_random_u64(6, 1, round) % 3000));
        kill(pids[2], SIGKILL);
        assert_int_equal(waitpid(pids[2], &status, 0), pids[2]);
        close(from[2]);
        for (int i = 0; i < 2; i++) before[i] = progress[i];
        for (int i = 0, waited = 0; i < 2 && alive; waited++) {
            if (progress[i] != before[i])
                i++;
            else if (waited < PATIENCE_MS)
                sleep_us(1000);
            else
                alive = false;
        }
    }
    for (int i = 0; i < 2; i++) {
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFSIGNALED(status)); /* it didn't end by itself */
        close(from[i]);
    }
    munmap((void *)(uintptr_t)progress, 2 * sizeof *progress);
    assert_true(alive);
}

/* ---- compaction ---- */

static int stay_joined(int to, uint64_t seed) {
    weirp_store *store;
    (void)seed;
    CHECK(weirp_store_open(&store, path, WEIRP_STORE_JOIN, NULL) == WEIR_OK);
    CHECK(weirp_store_transact(store, NULL, 0, add_one, (void *)(uintptr_t) "j", NULL) == WEIR_OK);
    tell(to, 1);
    for (;;) pause();
}

static void compaction_needs_the_file_to_itself(void **state) {
    (void)state;
    weir_error err = {0};
    int from;
    uint64_t one;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    /* joined in another process, until it dies */
    pid_t pid = start(stay_joined, 0, &from);
    assert_true(hear(from, &one));
    weir_error busy = {0};
    assert_int_equal(weirp_store_compact_file(path, NULL, &busy), WEIR_BUSY);
    assert_non_null(strstr(busy.text, "joined"));
    char copy[330];
    snprintf(copy, sizeof copy, "%s.copy", path);
    OK(weirp_store_compact_file(path, copy, &err)); /* a copy is in nobody's way */
    OK(weirp_store_verify(copy, NULL, NULL, &err));
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, NULL), WEIR_OK);
    end_by_kill(pid, from);
    OK(weirp_store_compact_file(path, NULL, &err));
    /* joined in this one */
    weirp_store *joined = open_store(path, WEIRP_STORE_JOIN);
    assert_int_equal(weirp_store_compact_file(path, NULL, NULL), WEIR_BUSY);
    weirp_store_close(joined);
    OK(weirp_store_compact_file(path, NULL, &err));
    /* and nobody joins meanwhile */
    weirp_store *writer = open_store(path, WEIRP_STORE_WRITE);
    OK(weirp_lock_alone(writer->lock_fd, path, &err));
    busy = (weir_error){0};
    assert_int_equal(open_status(path, WEIRP_STORE_JOIN, &busy), WEIR_BUSY);
    assert_non_null(strstr(busy.text, "compacted"));
    weirp_store_close(writer);
    assert_int_equal(open_status(path, WEIRP_STORE_JOIN, NULL), WEIR_OK);
}

static int compact_often(int to, uint64_t seed) {
    (void)seed;
    uint64_t done = 0;
    for (int i = 0; i < 200 || !done; i++) {
        weir_error err = {0};
        weir_status st = weirp_store_compact_file(path, NULL, &err);
        if (st != WEIR_OK && st != WEIR_BUSY) fprintf(stderr, "%s\n", err.text);
        CHECK(st == WEIR_OK || st == WEIR_BUSY);
        done += st == WEIR_OK;
        sleep_us(500);
    }
    tell(to, done);
    return 0;
}

static int join_often(int to, uint64_t seed) {
    char name[16];
    snprintf(name, sizeof name, "q%llu", (unsigned long long)seed);
    uint64_t done = 0;
    for (int i = 0; i < 300 || !done; i++) {
        weirp_store *store;
        weir_error err = {0};
        weir_status st = weirp_store_open(&store, path, WEIRP_STORE_JOIN, &err);
        if (st != WEIR_OK && st != WEIR_BUSY) fprintf(stderr, "%s\n", err.text);
        CHECK(st == WEIR_OK || st == WEIR_BUSY);
        if (st == WEIR_OK) {
            CHECK(weirp_store_transact(store, NULL, 0, add_one, name, &err) == WEIR_OK);
            done++;
        }
        weirp_store_close(store);
        sleep_us(st == WEIR_OK ? 1000 : 100);
    }
    tell(to, done);
    return 0;
}

/* Nothing that was counted stays behind in a file that has lost its name. */
static void compaction_between_joins(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    int from[3];
    pid_t pids[3];
    uint64_t n, sum = 0;
    for (int i = 0; i < 3; i++) pids[i] = start(i ? join_often : compact_often, (uint64_t)i, &from[i]);
    for (int i = 0; i < 3; i++) {
        assert_true(hear(from[i], &n));
        if (i) sum += n;
        expect_exit(pids[i], from[i]);
    }
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    uint64_t found;
    assert_int_equal(check_totals(store, &found), 0);
    assert_int_equal(found, sum);
    weirp_store_close(store);
    OK(weirp_store_verify(path, NULL, NULL, &err));
}

/* ---- who may do what ---- */

static void rights(void **state) {
    (void)state;
    weir_error err = {0};
    assert_int_equal(open_status(path, WEIRP_STORE_JOIN, NULL), WEIR_NOTFOUND); /* it makes no store */
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    weirp_store *joined = open_store(path, WEIRP_STORE_JOIN);
    weirp_change change = put("a", "b", 1);
    char name[] = "r";
    assert_int_equal(weirp_store_commit(joined, &change, 1, NULL), WEIR_READONLY);
    assert_int_equal(weirp_store_commit(joined, NULL, 0, NULL), WEIR_READONLY);
    assert_int_equal(weirp_store_transact(joined, &change, 1, add_one, name, NULL), WEIR_READONLY);
    OK(weirp_store_transact(joined, NULL, 0, add_one, name, &err));
    /* another file takes the path: nothing goes into the one that has lost its name */
    char other[330];
    snprintf(other, sizeof other, "%s.other", path);
    weirp_store_close(open_store(other, WEIRP_STORE_CREATE));
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(weirp_store_transact(joined, NULL, 0, add_one, name, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "another file"));
    unlink(path);
    err = (weir_error){0};
    assert_int_equal(weirp_store_transact(joined, NULL, 0, add_one, name, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "gone"));
    weirp_store_close(joined);
}

static weirp_store *inherited;

static int use_inherited(void *user) {
    char name[] = "f";
    (void)user;
    CHECK(weirp_store_transact(inherited, NULL, 0, add_one, name, NULL) == WEIR_INVALID);
    weirp_store_close(inherited);
    weirp_store *own;
    CHECK(weirp_store_open(&own, path, WEIRP_STORE_JOIN, NULL) == WEIR_OK);
    CHECK(weirp_store_transact(own, NULL, 0, add_one, name, NULL) == WEIR_OK);
    weirp_store_close(own);
    return 0;
}

/* A fork's child has no part in its parent's handle, and closing it there takes nothing from the parent. */
static void forked(void **state) {
    (void)state;
    weir_error err = {0};
    char name[] = "f";
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    inherited = open_store(path, WEIRP_STORE_JOIN);
    OK(weirp_store_transact(inherited, NULL, 0, add_one, name, &err));
    assert_int_equal(child_status(use_inherited, NULL), 0);
    assert_int_equal(weirp_store_compact_file(path, NULL, NULL), WEIR_BUSY);
    OK(weirp_store_transact(inherited, NULL, 0, add_one, name, &err));
    uint64_t sum;
    assert_int_equal(check_totals(inherited, &sum), 0);
    assert_int_equal(sum, 3);
    weirp_store_close(inherited);
    OK(weirp_store_compact_file(path, NULL, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(threads_count),
        TEST(threads_grow_the_map),
        TEST(processes_count),
        TEST(killed_again_and_again),
        TEST(survivors_go_on),
        TEST(compaction_needs_the_file_to_itself),
        TEST(compaction_between_joins),
        TEST(rights),
        TEST(forked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

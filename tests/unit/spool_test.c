/* Spool: records and slots that survive their process: rings that wrap and fill, files of every kind, and children that
 * are killed at any instruction. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_versions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "src/store/spool.h"
#include "src/store/spool_file.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

static const weirp_spool_options small = {.ring_bytes = 1 << 16, .n_slots = 8};

static weirp_spool *open_spool(const weirp_spool_options *options) {
    weir_error err = {0};
    weirp_spool *spool = NULL;
    if (access(path, F_OK) != 0) weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    OK(weirp_spool_open(&spool, path, options, &err));
    return spool;
}

/* Makes a child's death: the owner lets the file go as it is. */
static void abandon(weirp_spool *spool) {
    char keep[340];
    snprintf(keep, sizeof keep, "%s-spool.%u", path, weirp_spool_number(spool));
    char aside[350];
    snprintf(aside, sizeof aside, "%s.aside", keep);
    assert_int_equal(rename(keep, aside), 0); /* what is closed is removed by name, if at all */
    weirp_spool_close(spool);
    assert_int_equal(rename(aside, keep), 0);
}

static weirp_orphan *adopt(weir_status expected) {
    weir_error err = {0};
    weirp_orphan *orphan = NULL;
    assert_int_equal(weirp_spool_adopt(&orphan, path, &err), expected);
    return orphan;
}

/* ---- records that say who they are ---- */

static size_t make_record(uint8_t bytes[WEIRP_SPOOL_RECORD], uint64_t thread, uint64_t n, size_t most) {
    uint64_t chance = weirp_random_u64(9, thread, n);
    size_t size = 16 + (most > 16 ? chance % (most - 15) : 0);
    memcpy(bytes, &thread, 8);
    memcpy(bytes + 8, &n, 8);
    for (size_t i = 16; i < size; i++) bytes[i] = (uint8_t)(chance + i * n);
    return size;
}

static bool is_record(const uint8_t *data, size_t size, size_t most, uint64_t *thread, uint64_t *n) {
    uint8_t expected[WEIRP_SPOOL_RECORD];
    if (size < 16) return false;
    memcpy(thread, data, 8);
    memcpy(n, data + 8, 8);
    return make_record(expected, *thread, *n, most) == size && memcmp(expected, data, size) == 0;
}

/* ---- the ring ---- */

static void records_come_in_order(void **state) {
    (void)state;
    weirp_spool *s = open_spool(&small);
    uint8_t bytes[WEIRP_SPOOL_RECORD];
    const uint8_t *data;
    size_t size, most[] = {16, 300, WEIRP_SPOOL_RECORD};
    uint64_t number, last = 0, thread, n, written = 0, read = 0, appended = 0, passed = 0, forgotten = 0; /* bytes */
    assert_int_equal(weirp_spool_next(s, &number, &data, &size), WEIR_END);
    for (uint64_t step = 0; step < 60000; step++) {
        uint64_t chance = weirp_random_u64(2, 0, step);
        if (chance % 2) {
            size = make_record(bytes, 7, written, most[written % 3]);
            weir_status st = weirp_spool_append(s, bytes, size);
            if (st == WEIR_OK) written++, appended += spool_whole(size);
            if (st == WEIR_FULL) /* but for what didn't fit at the ring's end, and now */
                assert_true(appended - forgotten > small.ring_bytes - 2 * WEIRP_SPOOL_RECORD - 64);
            assert_true(appended - forgotten <= small.ring_bytes);
        } else if (chance % 16 == 2 && read) { /* a transaction that took some time */
            weirp_spool_durable(s, last);
            forgotten = passed;
        } else if (weirp_spool_next(s, &number, &data, &size) == WEIR_OK) {
            assert_true(is_record(data, size, most[read % 3], &thread, &n));
            assert_int_equal(n, read);
            assert_true(read == 0 || number > last);
            last = number;
            read++;
            passed += spool_whole(size);
            if (chance % 3 == 0) {
                weirp_spool_durable(s, number);
                weirp_spool_durable(s, number);
                forgotten = passed;
            }
        } else {
            assert_int_equal(read, written);
        }
    }
    assert_true(written > 20000);
    weirp_spool_close(s);
}

static void a_full_ring_says_so(void **state) {
    (void)state;
    weirp_spool *s = open_spool(&small);
    uint8_t bytes[WEIRP_SPOOL_RECORD + 1] = {0};
    size_t size, lengths[] = {0, 1, 16, 1000, WEIRP_SPOOL_RECORD};
    uint64_t number;
    const uint8_t *data;
    assert_int_equal(weirp_spool_append(s, bytes, WEIRP_SPOOL_RECORD + 1), WEIR_INVALID);
    assert_int_equal(weirp_spool_append(s, NULL, 1), WEIR_INVALID);
    for (int i = 0; i < 20; i++) {
        size_t length = lengths[i % 5], n = 0, given = 0;
        while (weirp_spool_append(s, bytes, length) == WEIR_OK) n++;
        size_t waiting = n * spool_whole(length);
        assert_true(waiting <= small.ring_bytes && waiting > small.ring_bytes - 2 * (length + 32));
        while (weirp_spool_next(s, &number, &data, &size) == WEIR_OK) {
            assert_int_equal(size, length);
            given++;
        }
        assert_int_equal(given, n);
        weirp_spool_durable(s, number); /* the next turn finds all of the ring free */
    }
    weirp_spool_close(s);
    assert_int_equal(count_files("-spool."), 0);
}

/* ---- slots ---- */

typedef struct seen {
    uint64_t n, sum;
} seen;

static weir_status see_slot(void *user, uint32_t slot, const uint8_t *data, size_t size, weir_error *err) {
    seen *s = user;
    uint32_t value;
    (void)err;
    assert_non_null(data);
    assert_int_equal(size, 4 + slot % 200);
    memcpy(&value, data, 4);
    s->n++;
    s->sum += value;
    return WEIR_OK;
}

static void slots_grow_up_to_a_limit(void **state) {
    (void)state;
    uint8_t bytes[WEIRP_SPOOL_SLOT + 1] = {0};
    uint32_t slot, *taken = weirp_array(WEIRP_SPOOL_SLOTS_MAX, sizeof *taken);
    weirp_spool *s = open_spool(&small);
    assert_int_equal(weirp_spool_take(s, bytes, WEIRP_SPOOL_SLOT + 1, &slot), WEIR_INVALID);
    weir_error err = {0};
    seen expected = {0}, found = {0};
    for (uint32_t i = 0; i < WEIRP_SPOOL_SLOTS_MAX; i++) {
        memcpy(bytes, &i, 4);
        /* slots come one by one from a new file */
        assert_int_equal(weirp_spool_take(s, bytes, 4 + (i + 1) % 200, &taken[i]), WEIR_OK);
        assert_int_equal(taken[i], i + 1);
    }
    assert_int_equal(weirp_spool_take(s, bytes, 4, &slot), WEIR_FULL);
    assert_int_equal(slot, 0);
    for (uint32_t i = 0; i < WEIRP_SPOOL_SLOTS_MAX; i++) {
        if (i % 3)
            weirp_spool_empty(s, taken[i]);
        else
            expected.n++, expected.sum += i;
    }
    abandon(s);
    weirp_orphan *orphan = adopt(WEIR_OK);
    OK(weirp_orphan_slots(orphan, see_slot, &found, &err));
    assert_int_equal(found.n, expected.n);
    assert_int_equal(found.sum, expected.sum);
    OK(weirp_orphan_close(orphan, true, &err));
    free(taken);
}

static void slots_are_used_again(void **state) {
    (void)state;
    weirp_spool *s = open_spool(&small);
    uint32_t slot[5];
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 5; i++) assert_int_equal(weirp_spool_take(s, "abc", 3, &slot[i]), WEIR_OK);
        for (int i = 0; i < 5; i++) {
            assert_in_range(slot[i], 1, 5);
            for (int k = 0; k < i; k++) assert_int_not_equal(slot[i], slot[k]);
        }
        for (int i = 0; i < 5; i++) weirp_spool_empty(s, slot[(i + round) % 5]);
    }
    weirp_spool_close(s);
    assert_int_equal(count_files("-spool."), 0);
}

/* ---- files ---- */

static weir_status count_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)number, (void)data, (void)size, (void)err;
    ++*(size_t *)user;
    return WEIR_OK;
}

static weir_status count_slot(void *user, uint32_t slot, const uint8_t *data, size_t size, weir_error *err) {
    (void)slot, (void)data, (void)size, (void)err;
    ++*(size_t *)user;
    return WEIR_OK;
}

static void heirs_find_the_dead_alone(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_spool *alive = open_spool(&small), *dead = open_spool(NULL);
    assert_int_equal(weirp_spool_number(alive), 1);
    assert_int_equal(weirp_spool_number(dead), 2);
    assert_int_not_equal(weirp_spool_id(alive), weirp_spool_id(dead));
    uint64_t id = weirp_spool_id(dead), number;
    assert_true(weirp_spool_lives(path, 2, id));
    assert_false(weirp_spool_lives(path, 1, id));
    assert_false(weirp_spool_lives(path, 3, id));
    assert_int_equal(weirp_spool_append(dead, "first", 5), WEIR_OK);
    assert_int_equal(weirp_spool_append(dead, "second", 6), WEIR_OK);
    uint32_t slot;
    assert_int_equal(weirp_spool_take(dead, "slot", 4, &slot), WEIR_OK);
    const uint8_t *data;
    size_t size, n = 0;
    assert_int_equal(weirp_spool_next(dead, &number, &data, &size), WEIR_OK);
    weirp_spool_durable(dead, number);
    adopt(WEIR_END);
    weirp_spool_close(dead); /* not empty: it stays */
    assert_false(weirp_spool_lives(path, 2, id));
    weirp_orphan *orphan = adopt(WEIR_OK);
    assert_int_equal(weirp_orphan_id(orphan), id);
    assert_int_equal(weirp_orphan_number(orphan), 2);
    assert_true(weirp_orphan_trusted(orphan));
    adopt(WEIR_END); /* nobody else has it meanwhile */
    for (int again = 0; again < 2; again++) OK(weirp_orphan_records(orphan, count_record, &n, &err));
    OK(weirp_orphan_slots(orphan, count_slot, &n, &err));
    assert_int_equal(n, 2 + 1);
    OK(weirp_orphan_close(orphan, false, &err));
    orphan = adopt(WEIR_OK);
    assert_int_equal(weirp_orphan_id(orphan), id);
    OK(weirp_orphan_close(orphan, true, &err));
    adopt(WEIR_END);
    assert_int_equal(count_files("-spool."), 1);
    /* an emptied one leaves nothing, and its number is free */
    weirp_spool_close(alive);
    assert_int_equal(count_files("-spool."), 0);
    alive = open_spool(&small);
    assert_int_equal(weirp_spool_number(alive), 1);
    weirp_spool_close(alive);
    assert_int_equal(weirp_spool_open(&alive, "/nowhere/at-all", NULL, NULL), WEIR_NOTFOUND);
}

static void name_spool(char name[350], unsigned number) {
    snprintf(name, 350, "%s-spool.%u", path, number);
}

/* Half-made files go; what isn't ours, or is newer, stays; after a restart of the machine nothing is to be trusted. */
static void files_of_every_kind(void **state) {
    (void)state;
    weir_error err = {0};
    char name[350];
    weirp_spool *s = open_spool(&small);
    assert_int_equal(weirp_spool_append(s, "record", 6), WEIR_OK);
    weirp_spool_close(s);
    name_spool(name, 1);
    size_t size, n = 0;
    uint8_t *whole = slurp(name, &size);
    spool_header *h = (spool_header *)whole;
    unlink(name);
    /* killed while it was being made: after any number of the header's bytes, with or without the file's length */
    for (size_t cut = 0; cut <= sizeof *h - 8; cut++) {
        uint8_t *copy = calloc(1, size);
        assert_non_null(copy);
        memcpy(copy, whole, cut);
        if (cut < offsetof(spool_header, checksum) + 8) {
            spill(name, copy, cut % 2 ? size : cut);
            adopt(WEIR_END);
            assert_int_equal(count_files("-spool."), 0);
        }
        free(copy);
    }
    /* cut off behind the header */
    spill(name, whole, SPOOL_PAGE);
    adopt(WEIR_END);
    assert_int_equal(count_files("-spool."), 0);
    /* not ours, or a newer program's, or no file */
    memset(whole, 'x', 8);
    spill(name, whole, size);
    adopt(WEIR_END);
    memcpy(h->magic, weirp_spool_magic, 8);
    h->version++;
    spill(name, whole, size);
    adopt(WEIR_END);
    assert_int_equal(count_files("-spool."), 1);
    unlink(name);
    assert_int_equal(mkdir(name, 0700), 0);
    adopt(WEIR_END);
    rmdir(name);
    assert_int_equal(symlink(path, name), 0);
    adopt(WEIR_END);
    unlink(name);
    static const char *others[] = {"-spool.", "-spool.x", "-spool.01", "-spool.0", "-spool.10000", "-spool.1x"};
    h->version--;
    for (size_t i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "%s%s", path, others[i]);
        spill(name, whole, size);
        adopt(WEIR_END);
        assert_int_equal(unlink(name), 0);
    }
    /* the machine was started anew */
    name_spool(name, 9999);
    h->boot_id[3] ^= 1;
    h->checksum = weirp_spool_header_sum(h);
    spill(name, whole, size);
    weirp_orphan *orphan = adopt(WEIR_OK);
    assert_false(weirp_orphan_trusted(orphan));
    OK(weirp_orphan_records(orphan, count_record, &n, &err));
    assert_int_equal(n, 1);
    OK(weirp_orphan_close(orphan, true, &err));
    free(whole);
}

static int with_little_space(void *user) {
    (void)user;
    weirp_spool *s;
    size_t first = SPOOL_PAGE + (1 << 16) + 8 * sizeof(spool_slot);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){first - 1, first - 1}) == 0);
    CHECK(weirp_spool_open(&s, path, &small, NULL) == WEIR_FULL);
    return 0;
}

static int with_space_for_some(void *user) {
    (void)user;
    weirp_spool *s;
    uint32_t slot;
    size_t room = SPOOL_PAGE + (1 << 16) + 20 * sizeof(spool_slot);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){room, room}) == 0);
    CHECK(weirp_spool_open(&s, path, &small, NULL) == WEIR_OK);
    for (uint32_t i = 1; i <= 16; i++) CHECK(weirp_spool_take(s, "a", 1, &slot) == WEIR_OK && slot == i);
    CHECK(weirp_spool_take(s, "a", 1, &slot) == WEIR_FULL);
    weirp_spool_empty(s, 3);
    CHECK(weirp_spool_take(s, "a", 1, &slot) == WEIR_OK && slot == 3);
    for (uint32_t i = 1; i <= 16; i++) weirp_spool_empty(s, i);
    weirp_spool_close(s);
    return 0;
}

/* Space is taken when it can still be refused. */
static void no_space(void **state) {
    (void)state;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    assert_int_equal(child_status(with_little_space, NULL), 0);
    assert_int_equal(count_files("-spool."), 0);
    assert_int_equal(child_status(with_space_for_some, NULL), 0);
    assert_int_equal(count_files("-spool."), 0);
}

/* Whatever the power has made of a file's ring and slots: bounded reads, and nothing that wasn't written. */
static void damaged_contents(void **state) {
    (void)state;
    weir_error err = {0};
    char name[350];
    uint8_t bytes[WEIRP_SPOOL_RECORD];
    weirp_spool *s = open_spool(&small);
    size_t records = 0, size, slots = 0;
    while (weirp_spool_append(s, bytes, make_record(bytes, 0, records, 900)) == WEIR_OK) records++;
    uint32_t slot;
    for (int i = 0; i < 8; i++) assert_int_equal(weirp_spool_take(s, bytes, 200, &slot), WEIR_OK);
    weirp_spool_close(s);
    name_spool(name, 1);
    uint8_t *whole = slurp(name, &size);
    for (uint64_t round = 0; round < 400; round++) {
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, whole, size);
        for (uint64_t i = 0; i < 1 + round % 60; i++) {
            uint64_t chance = weirp_random_u64(3, round, i);
            size_t at = offsetof(spool_header, durable) + chance % (size - offsetof(spool_header, durable));
            if (round % 2 && at >= SPOOL_PAGE) at = at / 16 * 16 + 8; /* marks, most of them */
            copy[at] ^= (uint8_t)(chance >> 56 | 1);
        }
        spill(name, copy, size);
        size_t n = 0;
        weirp_orphan *orphan = adopt(WEIR_OK);
        OK(weirp_orphan_records(orphan, count_record, &n, &err));
        assert_true(n <= records);
        OK(weirp_orphan_slots(orphan, count_slot, &slots, &err));
        OK(weirp_orphan_close(orphan, false, &err));
        free(copy);
    }
    assert_true(slots > 400);
    free(whole);
}

/* ---- threads ---- */

enum { THREADS = 3, HELD = 8 };

/* What children tell, in memory that outlives them and needs no system call: they may be killed anywhere. */
typedef struct told {
    struct told_thread {
        _Atomic uint64_t appended;            /* records that were acknowledged, by number from 1 */
        _Atomic uint64_t about_to_be, marked; /* durable, likewise */
        _Atomic uint64_t held[HELD];          /* what a slot holds; odd while it is taken or emptied */
        _Atomic uint64_t before[HELD];        /* odd: the last that was in it */
    } thread[THREADS];
    _Atomic uint64_t ready, stop;
} told;

typedef struct worker {
    weirp_spool *spool;
    told *told;
    uint64_t thread, until; /* 0: for ever */
    size_t most;
    pthread_t id;
    int failed_at;
} worker;

static void *append_records(void *user) {
    worker *w = user;
    uint8_t bytes[WEIRP_SPOOL_RECORD];
    uint32_t slot[HELD] = {0};
    struct told_thread *t = &w->told->thread[w->thread];
    for (uint64_t n = 1; !w->until || n <= w->until; n++) {
        size_t size = make_record(bytes, w->thread, n, w->most), i = n % HELD;
        weir_status st;
        while ((st = weirp_spool_append(w->spool, bytes, size)) == WEIR_FULL && !atomic_load(&w->told->stop))
            sched_yield();
        if (st != WEIR_OK) w->failed_at = __LINE__;
        atomic_store(&t->appended, n);
        /* each slot in turn: even numbers are held, and emptied again a while later */
        uint64_t value = 2 * (n * THREADS + w->thread);
        if (slot[i]) {
            atomic_fetch_add(&t->held[i], 1);
            weirp_spool_empty(w->spool, slot[i]);
            atomic_store(&t->held[i], 1);
        }
        uint64_t id[2] = {value, (uint64_t)i << 8 | w->thread};
        atomic_store(&t->before[i], value);
        atomic_store(&t->held[i], value + 1);
        if (weirp_spool_take(w->spool, id, sizeof id, &slot[i]) != WEIR_OK) w->failed_at = __LINE__;
        atomic_store(&t->held[i], value);
        if (w->failed_at) break;
    }
    if (w->until)
        for (size_t i = 0; i < HELD; i++)
            if (slot[i]) weirp_spool_empty(w->spool, slot[i]);
    return NULL;
}

/* Takes records in batches, as somebody does who makes each batch durable. */
static void *consume_records(void *user) {
    worker *w = user;
    uint64_t last[THREADS] = {0}, number = 0, thread, n, batches = 0;
    const uint8_t *data;
    size_t size;
    bool done = false, late = false;
    while (!done && !w->failed_at) {
        int got = 0;
        for (; got < 50 && weirp_spool_next(w->spool, &number, &data, &size) == WEIR_OK; got++) {
            if (!is_record(data, size, w->most, &thread, &n) || thread >= THREADS || n != last[thread] + 1) {
                w->failed_at = __LINE__;
                return NULL;
            }
            last[thread] = n;
        }
        if (!got && !late) {
            sched_yield();
            continue;
        }
        late = got && ++batches % 7 == 3;
        if (late) continue; /* as if the transaction had failed: these go with the next */
        for (int t = 0; t < THREADS; t++) atomic_store(&w->told->thread[t].about_to_be, last[t]);
        weirp_spool_durable(w->spool, number);
        for (int t = 0; t < THREADS; t++) atomic_store(&w->told->thread[t].marked, last[t]);
        done = w->until;
        for (int t = 0; t < THREADS; t++) done &= last[t] == w->until;
        atomic_store(&w->told->ready, 1);
    }
    return NULL;
}

static told *new_told(void) {
    told *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(t != MAP_FAILED);
    return t;
}

static void threads_append(void **state) {
    (void)state;
    enum { N = 30000 };
    told *t = new_told();
    weirp_spool *s = open_spool(&small);
    worker w[THREADS + 1];
    for (uint64_t i = 0; i <= THREADS; i++) {
        w[i] = (worker){.spool = s, .told = t, .thread = i, .until = N, .most = 200};
        assert_int_equal(pthread_create(&w[i].id, NULL, i < THREADS ? append_records : consume_records, &w[i]), 0);
    }
    pthread_join(w[THREADS].id, NULL);
    atomic_store(&t->stop, 1);
    for (int i = 0; i < THREADS; i++) pthread_join(w[i].id, NULL);
    for (int i = 0; i <= THREADS; i++) assert_int_equal(w[i].failed_at, 0);
    weirp_spool_close(s);
    assert_int_equal(count_files("-spool."), 0); /* every slot came back, too */
    munmap(t, sizeof *t);
}

/* ---- what it costs: a copy and no system call ---- */

static void costs(void **state) {
    (void)state;
    enum { N = 10000, ROUNDS = 15 };
    weirp_spool *s = open_spool(NULL);
    uint64_t number = 0, append_ns = UINT64_MAX, read_ns = UINT64_MAX, slot_ns = UINT64_MAX;
    uint8_t bytes[200] = {1};
    const uint8_t *data;
    size_t size;
    uint32_t slot;
    for (int round = 0; round < ROUNDS; round++) { /* the fastest: others use the machine, too */
        uint64_t at = weirp_cpu_ns(), now;
        for (int i = 0; i < N; i++) assert_int_equal(weirp_spool_append(s, bytes, sizeof bytes), WEIR_OK);
        now = weirp_cpu_ns();
        append_ns = now - at < append_ns ? now - at : append_ns;
        at = now;
        while (weirp_spool_next(s, &number, &data, &size) == WEIR_OK) {
        }
        weirp_spool_durable(s, number);
        now = weirp_cpu_ns();
        read_ns = now - at < read_ns ? now - at : read_ns;
        at = now;
        for (int i = 0; i < N; i++) {
            assert_int_equal(weirp_spool_take(s, bytes, sizeof bytes, &slot), WEIR_OK);
            weirp_spool_empty(s, slot);
        }
        now = weirp_cpu_ns();
        slot_ns = now - at < slot_ns ? now - at : slot_ns;
    }
    weirp_spool_close(s);
    fprintf(stderr,
            "200 bytes: appending takes %.1f ns, reading and forgetting %.1f ns, a slot taken and emptied %.1f ns\n",
            (double)append_ns / N, (double)read_ns / N, (double)slot_ns / N);
    assert_true(append_ns / N < 5000 && slot_ns / N < 5000); /* under sanitizers, too */
}

/* seccomp(2), strict mode: a system call other than read, write and exit is the process's end. */
static int work_without_the_kernel(void *user) {
    (void)user;
    weirp_spool *s;
    uint8_t bytes[200] = {1};
    const uint8_t *data;
    size_t size;
    uint32_t slot;
    uint64_t number;
    CHECK(weirp_spool_open(&s, path, NULL, NULL) == WEIR_OK);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 0; /* a kernel without it */
    long failed = 0;
    for (int i = 0; i < 100000; i++) {
        failed |= weirp_spool_take(s, bytes, sizeof bytes, &slot) != WEIR_OK;
        failed |= weirp_spool_append(s, bytes, sizeof bytes) != WEIR_OK;
        weirp_spool_empty(s, slot);
        if (i % 100) continue;
        while (weirp_spool_next(s, &number, &data, &size) == WEIR_OK) {
        }
        weirp_spool_durable(s, number);
    }
    syscall(SYS_exit, failed); /* _exit() ends all threads, which isn't allowed */
    return 1;
}

static void needs_no_system_call(void **state) {
    (void)state;
#ifdef SANITIZED
    print_message("SKIPPED: sanitizers call the kernel themselves\n");
    skip();
#endif
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    assert_int_equal(child_status(work_without_the_kernel, NULL), 0);
}

/* ---- killed ---- */

static told *shared_told;

static int work_until_killed(int to, uint64_t seed) {
    weirp_spool *s;
    worker w[THREADS + 1];
    CHECK(weirp_spool_open(&s, path, &small, NULL) == WEIR_OK);
    for (uint64_t i = 0; i <= THREADS; i++) {
        w[i] = (worker){.spool = s, .told = shared_told, .thread = i, .most = seed % 3 ? 200 : 4000};
        CHECK(pthread_create(&w[i].id, NULL, i < THREADS ? append_records : consume_records, &w[i]) == 0);
    }
    tell(to, 1);
    for (int i = 0; i <= THREADS; i++) pthread_join(w[i].id, NULL);
    return 1; /* one of them has failed */
}

typedef struct legacy {
    uint64_t first[THREADS], last[THREADS]; /* of the records found */
    uint64_t held[THREADS][HELD];           /* what slots held; 0: not found */
    size_t most, n;
} legacy;

static weir_status inherit_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    legacy *l = user;
    uint64_t thread, n;
    (void)number, (void)err;
    assert_true(is_record(data, size, l->most, &thread, &n));
    assert_true(thread < THREADS);
    if (l->first[thread])
        assert_int_equal(n, l->last[thread] + 1); /* once each, and in order */
    else
        l->first[thread] = n;
    l->last[thread] = n;
    l->n++;
    return WEIR_OK;
}

static weir_status inherit_slot(void *user, uint32_t slot, const uint8_t *data, size_t size, weir_error *err) {
    legacy *l = user;
    uint64_t id[2];
    (void)slot, (void)err;
    assert_non_null(data);
    assert_int_equal(size, sizeof id);
    memcpy(id, data, sizeof id);
    uint64_t thread = id[1] & 255, i = id[1] >> 8;
    assert_true(thread < THREADS && i < HELD && !l->held[thread][i]);
    l->held[thread][i] = id[0];
    return WEIR_OK;
}

static void check_legacy(const legacy *l, const told *t) {
    for (int i = 0; i < THREADS; i++) {
        const struct told_thread *of = &t->thread[i];
        uint64_t appended = of->appended, marked = of->marked, about = of->about_to_be;
        if (l->first[i]) {
            /* nothing that was marked is given again, and nothing between is missing */
            assert_true(l->first[i] == marked + 1 || l->first[i] == about + 1);
            assert_true(l->last[i] == appended || l->last[i] == appended + 1);
        } else {
            /* all are durable; the last may have been so before its thread could say that it was appended */
            assert_true(marked - appended <= 1 || about - appended <= 1);
        }
        for (int k = 0; k < HELD; k++) {
            uint64_t held = of->held[k], found = l->held[i][k];
            if (held & 1)
                assert_true(!found || found == of->before[k] || found == held - 1); /* being taken or emptied */
            else
                assert_int_equal(found, held); /* 0: never taken */
        }
    }
}

static void killed_anywhere(void **state) {
    (void)state;
    enum { ROUNDS = 400 };
    weir_error err = {0};
    size_t n = 0, with_slots = 0;
    weirp_store_close(open_store(path, WEIRP_STORE_CREATE));
    for (uint64_t round = 0; round < ROUNDS; round++) {
        shared_told = new_told();
        int from;
        uint64_t one;
        pid_t pid = start(work_until_killed, round, &from);
        assert_true(hear(from, &one));
        sleep_us((unsigned)(weirp_random_u64(6, 1, round) % 4000));
        kill(pid, SIGKILL);
        int status;
        close(from);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        weirp_orphan *orphan = adopt(WEIR_OK);
        assert_true(weirp_orphan_trusted(orphan));
        legacy l = {.most = round % 3 ? 200 : 4000};
        OK(weirp_orphan_records(orphan, inherit_record, &l, &err));
        OK(weirp_orphan_slots(orphan, inherit_slot, &l, &err));
        check_legacy(&l, shared_told);
        OK(weirp_orphan_close(orphan, true, &err));
        adopt(WEIR_END);
        n += l.n;
        with_slots += l.held[0][0] != 0;
        munmap(shared_told, sizeof *shared_told);
    }
    assert_true(n > 10 * ROUNDS && with_slots > ROUNDS / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(records_come_in_order),
        TEST(a_full_ring_says_so),
        TEST(slots_grow_up_to_a_limit),
        TEST(slots_are_used_again),
        TEST(heirs_find_the_dead_alone),
        TEST(files_of_every_kind),
        TEST(no_space),
        TEST(damaged_contents),
        TEST(threads_append),
        TEST(costs),
        TEST(needs_no_system_call),
        TEST(killed_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

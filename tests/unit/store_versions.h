/* store_versions.h: commits that can be told whole from mixed, and children that make them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_VERSIONS_H
#define STORE_VERSIONS_H

#include "tests/unit/store_helpers.h"

#include <time.h>

/* ---- children ---- */

static inline void sleep_us(unsigned us) {
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

/* A child that runs `body` with the write end of a pipe; *from is the read end. */
static inline pid_t start(int (*body)(int to, uint64_t seed), uint64_t seed, int *from) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        close(ends[0]);
        _exit(body(ends[1], seed));
    }
    close(ends[1]);
    *from = ends[0];
    return pid;
}

static inline void tell(int to, uint64_t value) {
    if (write(to, &value, sizeof value) != sizeof value) _exit(99);
}

/* The next number from a child; false: it has ended. */
static inline bool hear(int from, uint64_t *value) {
    uint8_t *at = (uint8_t *)value;
    size_t have = 0;
    while (have < sizeof *value) {
        ssize_t n = read(from, at + have, sizeof *value - have);
        if (n <= 0) return false;
        have += (size_t)n;
    }
    return true;
}

static inline void expect_exit(pid_t pid, int from) {
    int status;
    close(from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static inline void end_by_kill(pid_t pid, int from) {
    close(from);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- versions ---- */

/* Commit number v holds sections "a" and "b" made of v, and v records in the log of which the last holds v. */
static inline weir_status commit_version(weirp_store *store, uint64_t v, weir_error *err) {
    uint64_t a[600], b[90];
    for (size_t i = 0; i < 600; i++) a[i] = v * 1000 + i;
    for (size_t i = 0; i < 90; i++) b[i] = v ^ i;
    size_t a_size = (v % 5 ? 600 : 20) * 8;
    weirp_change changes[] = {put("a", a, a_size), append(&v, 8), put("b", b, sizeof b)};
    return weirp_store_commit(store, changes, 3, err);
}

static inline weir_status last_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    uint64_t v;
    if (size != 8) return weirp_fail(err, WEIR_CORRUPT, 0, "size");
    memcpy(&v, data, 8);
    if (v != number + 1) return weirp_fail(err, WEIR_CORRUPT, 0, "record %lu holds %lu", number, v);
    *(uint64_t *)user = v;
    return WEIR_OK;
}

/* 0, or the line at which the snapshot isn't of one version. */
static inline int check_version(weirp_snapshot *s, uint64_t *version) {
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

#endif

/* store_helpers.h: folders, files and children for the store's tests. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_HELPERS_H
#define STORE_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/store/internal.h"

static char folder[256]; /* the test's own; emptied after each */
static char path[300];   /* folder/s.mdb */

/* A map of just so many bytes, for tests of growth; nobody may use the store meanwhile. */
static inline weir_status set_map(weirp_env *env, size_t bytes, weir_error *err) {
    MDB_envinfo info;
    int rc = env->n_active ? MDB_BAD_TXN : mdb_env_set_mapsize(env->mdb, bytes);
    if (rc || (rc = mdb_env_info(env->mdb, &info))) return weirp_fail(err, WEIR_IO, 0, "%s", mdb_strerror(rc));
    env->map_size = info.me_mapsize;
    return WEIR_OK;
}

static inline int make_folder(void **state) {
    (void)state;
    /* memory where there is some: most tests commit a lot, and fsync isn't what they are about */
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/weir-store-XXXXXX", base);
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/s.mdb", folder);
    return 0;
}

static inline int remove_folder(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    char name[600];
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        unlink(name);
    }
    closedir(dir);
    return rmdir(folder);
}

/* How many files of the folder have `part` in their names. */
static inline size_t count_files(const char *part) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) n += strstr(entry->d_name, part) != NULL;
    closedir(dir);
    return n;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        weir_status ok_st_ = (call);                                                                                   \
        if (ok_st_ != WEIR_OK) print_error("%s: %s\n", weir_status_name(ok_st_), err.text);                            \
        assert_int_equal(ok_st_, WEIR_OK);                                                                             \
    } while (0)

static inline weirp_store *open_store(const char *name, weirp_store_mode mode) {
    weir_error err = {0};
    weirp_store *store = NULL;
    OK(weirp_store_open(&store, name, mode, &err));
    return store;
}

static inline weir_status open_status(const char *name, weirp_store_mode mode, weir_error *err) {
    weirp_store *store = NULL;
    weir_error own = {0};
    weir_status st = weirp_store_open(&store, name, mode, err ? err : &own);
    if (st != WEIR_OK) assert_null(store);
    weirp_store_close(store);
    return st;
}

static inline weirp_change put(const char *section, const void *data, size_t size) {
    return (weirp_change){WEIRP_PUT, section, data, size};
}

static inline weirp_change append(const void *data, size_t size) {
    return (weirp_change){WEIRP_APPEND_LOG, NULL, data, size};
}

/* `size` bytes that depend on the seed alone; free() them. */
static inline uint8_t *bytes_of(size_t size, uint64_t seed) {
    uint8_t *bytes = malloc(size + 8);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t v = weirp_random_u64(seed, 1, i / 8);
        memcpy(bytes + i, &v, 8);
    }
    return bytes;
}

static inline uint8_t *slurp(const char *name, size_t *size) {
    FILE *f = fopen(name, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static inline void spill(const char *name, const void *bytes, size_t size) {
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline size_t file_size(const char *name) {
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return (size_t)st.st_size;
}

/* Runs `body` in a child that must exit with 0: a crash or failure there fails here, and leaves this process alone. */
static inline int child_status(int (*body)(void *), void *user) {
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        _exit(body(user));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* In children, where cmocka's asserts would jump into the parent's frames. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

#endif

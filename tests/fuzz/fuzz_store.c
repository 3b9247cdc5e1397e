/* Store: hostile files. The input is a whole file, or edits to a sound store: whatever it is, opening, verifying,
 * reading and writing end with a status.
 *
 * First byte odd: the rest is the file. Even: the rest is edits of 8 bytes to a sound store: page (2), offset in the
 * page (2), length 1 to 4 (1), what to do with it (1), value (2); an edit of length 0 cuts the file off there.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/store/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 4096, N_SECTIONS = 60 };

static char path[128], lock_path[140];
static uint8_t *sound; /* a store with two levels of pages, long values, a log and a free list */
static size_t sound_size;

static void check(bool condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "fuzz_store: %s\n", what);
    abort();
}

static void write_file(const uint8_t *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(fd >= 0 && (size == 0 || write(fd, bytes, size) == (ssize_t)size), "can't write the file");
    close(fd);
}

static void remove_files(void) {
    unlink(path);
    unlink(lock_path);
}

static void make_sound(void) {
    const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, sizeof path, "%s/weir-fuzz-store-%ld", folder, (long)getpid());
    snprintf(lock_path, sizeof lock_path, "%s-lock", path);
    atexit(remove_files);
    weirp_store *store;
    check(weirp_store_open(&store, path, WEIRP_STORE_CREATE, NULL) == WEIR_OK, "can't create");
    static uint8_t bytes[16384];
    char names[N_SECTIONS][64];
    for (unsigned round = 0; round < 5; round++) {
        weirp_change changes[N_SECTIONS + 8];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)weirp_mix64(i + round);
        for (size_t i = 0; i < N_SECTIONS; i++) {
            snprintf(names[i], sizeof names[i], "section/%02zu/with-a-name-that-takes-its-room", i);
            changes[i] = (weirp_change){WEIRP_PUT, names[i], bytes, i == 7 ? sizeof bytes : 20 + 3 * i};
        }
        for (size_t i = N_SECTIONS; i < N_SECTIONS + 8; i++)
            changes[i] = (weirp_change){WEIRP_APPEND_LOG, NULL, bytes, 3000};
        check(weirp_store_commit(store, changes, N_SECTIONS + 8, NULL) == WEIR_OK, "can't commit");
    }
    weirp_store_close(store);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0 && fstat(fd, &st) == 0, "can't read");
    sound_size = (size_t)st.st_size;
    sound = malloc(sound_size);
    check(sound && read(fd, sound, sound_size) == (ssize_t)sound_size, "can't read");
    close(fd);
}

static void write_edited(const uint8_t *edits, size_t n_bytes) {
    uint8_t *file = malloc(sound_size);
    check(file != NULL, "out of memory");
    memcpy(file, sound, sound_size);
    size_t size = sound_size;
    for (; n_bytes >= 8; edits += 8, n_bytes -= 8) {
        size_t at = (size_t)(edits[0] | edits[1] << 8) % (sound_size / PAGE) * PAGE + (edits[2] | edits[3] << 8) % PAGE;
        size_t len = edits[4] % 5;
        if (len == 0) size = at < size ? at : size;
        for (size_t i = 0; i < len && at + i < sound_size; i++) {
            uint8_t v = edits[6 + i % 2];
            file[at + i] = (uint8_t)(edits[5] & 1 ? file[at + i] ^ v : edits[5] & 2 ? file[at + i] + v : v);
        }
    }
    write_file(file, size);
    free(file);
}

static weir_status count(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)number, (void)err;
    for (size_t i = 0; i < size; i++) *(uint64_t *)user += data[i];
    return WEIR_OK;
}

static weir_status read_all(void) {
    weirp_store *store = NULL;
    weirp_snapshot *s = NULL;
    weir_error err = {0};
    const char *name;
    const uint8_t *data;
    size_t size;
    uint64_t sum = 0;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_READ, &err));
    WEIRP_TRY(weirp_snapshot_begin(&s, store, &err));
    for (size_t i = 0; (st = weirp_snapshot_section(s, i, &name, &size, &err)) == WEIR_OK; i++) {
        WEIRP_TRY(weirp_snapshot_get(s, name, &data, &size, &err));
        for (size_t k = 0; k < size; k++) sum += data[k];
    }
    if (st == WEIR_END) st = weirp_snapshot_log(s, 0, count, &sum, &err);
done:
    weirp_snapshot_end(s);
    weirp_store_close(store);
    check(st == WEIR_OK || err.status == st, "a failure without its error");
    return st;
}

static void write_some(void) {
    weirp_store *store;
    if (weirp_store_open(&store, path, WEIRP_STORE_WRITE, NULL) != WEIR_OK) return;
    static const uint8_t bytes[9000] = {1, 2, 3};
    const weirp_change changes[] = {{WEIRP_APPEND_LOG, NULL, bytes, sizeof bytes},
                                    {WEIRP_PUT, "section/07", bytes, sizeof bytes},
                                    {WEIRP_DELETE_PREFIX, "section/2", NULL, 0}};
    for (int i = 0; i < 3; i++)
        if (weirp_store_commit(store, changes, 3, NULL) != WEIR_OK) break;
    weirp_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!sound) make_sound();
    if (size == 0) return 0;
    if (data[0] & 1)
        write_file(data + 1, size - 1);
    else
        write_edited(data + 1, size - 1);
    weir_status verified = weirp_store_verify(path, NULL, NULL, NULL), read = read_all();
    check(verified != WEIR_OK || read == WEIR_OK, "verified, but not readable");
    if (read == WEIR_OK || read == WEIR_CORRUPT) write_some();
    return 0;
}

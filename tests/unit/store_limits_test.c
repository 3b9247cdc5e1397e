/* Store: no space, little address space, nothing that may be written.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_versions.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

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
    uint64_t v = 1;
    for (; v <= 20; v++) CHECK(commit_version(store, v, &err) == WEIR_OK);
    /* more than the map can ever hold: refused, and the store stays of use */
    size_t size = store->env->map_size / 4;
    uint8_t *bytes = bytes_of(size, 1);
    weirp_change change = put("big", bytes, size);
    weir_status st = WEIR_OK;
    char names[8][16];
    for (int i = 0; i < 8 && st == WEIR_OK; i++) {
        snprintf(names[i], sizeof names[i], "big%d", i);
        change.section = names[i];
        st = weirp_store_commit(store, &change, 1, &err);
    }
    CHECK(st == WEIR_NOMEM || st == WEIR_FULL);
    free(bytes);
    err = (weir_error){0};
    weirp_change away = {WEIRP_DELETE_PREFIX, "big", NULL, 0};
    st = weirp_store_commit(store, &away, 1, &err);
    if (st != WEIR_OK) fprintf(stderr, "%s\n", err.text);
    CHECK(st == WEIR_OK);
    weirp_store_close(store);
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
    weir_error err = {0};
    uint64_t n_log;
    assert_int_equal(child_status(small_address_space, NULL), 0);
    OK(weirp_store_verify(path, NULL, &n_log, &err));
    assert_int_equal(n_log, 20);
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
    /* the same beside one who has joined */
    store = open_store(path, WEIRP_STORE_JOIN);
    expected = WEIR_BUSY;
    chmod(lock, 0644);
    assert_int_equal(child_status(read_beside_writer, &expected), 0);
    weirp_store_close(store);
    expected = WEIR_OK;
    assert_int_equal(child_status(read_beside_writer, &expected), 0);
    /* and while such a reader reads, nobody joins */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && weirp_lock_stranger(fd));
    assert_int_equal(open_status(path, WEIRP_STORE_JOIN, NULL), WEIR_BUSY);
    assert_int_equal(open_status(path, WEIRP_STORE_WRITE, NULL), WEIR_BUSY);
    weirp_unlock_stranger(fd);
    assert_int_equal(open_status(path, WEIRP_STORE_JOIN, NULL), WEIR_OK);
    close(fd);
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
        TEST(file_size_limit),           TEST(disk_full),
        TEST(little_address_space),      TEST(read_only),
        TEST(strangers_beside_a_writer), TEST(read_only_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

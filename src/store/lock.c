/* lock.c: who may write, and who may swap the file.
 *
 * LMDB serialises transactions, not writers: two processes could take turns and each overwrite what the other has
 * learned. So a writer holds flock() on the data file for as long as its handle lives; the kernel drops it with the
 * process, whatever ends it. LMDB itself locks only its lock file, so that a descriptor of our own on the data file
 * disturbs nothing.
 *
 * Those who have joined share a lock of the other kind on the data file, an open file description lock (fcntl(2)),
 * which Linux keeps apart from flock(). Compaction in place takes it for itself alone. Readers that can't be seen in
 * the lock file (strangers) share a second one, as long as nobody has joined.
 *
 * Two more are taken before each of LMDB's two mutexes, so that no process ever sleeps on those. They are robust ones
 * in shared memory, and such a mutex loses those who wait when one of them is killed: an unlock wakes one sleeper alone
 * and takes the mark off that others sleep; if that one dies before it has run, and a third has the mutex by then,
 * without the mark, the kernel's clean-up of the dead leaves it as it is (handle_futex_death() in kernel/futex/core.c
 * wakes others only where the mutex is free, or the dead's own), and whoever still sleeps does so until two others
 * happen to meet there again. File locks are the kernel's own, waiters and all. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "src/store/internal.h"

enum { BYTE_JOINED, BYTE_STRANGERS, BYTE_TURN };    /* of the data file; what is locked, not what is there */
enum { GATE_TRIES = 2000, GATE_WAIT_NS = 5000000 }; /* 10 s: a swap takes two renames and an fsync */

static pid_t look_for_holder(const struct stat *st) {
    FILE *file = fopen("/proc/locks", "re");
    if (!file) return 0;
    char line[256];
    pid_t holder = 0;
    while (!holder && fgets(line, sizeof line, file)) {
        char kind[16];
        int pid;
        unsigned major_id, minor_id;
        unsigned long long inode;
        /* "12: FLOCK  ADVISORY  WRITE 4711 fe:01:131 0 EOF"; proc(5) */
        if (sscanf(line, "%*d: %15s %*s %*s %d %x:%x:%llu", kind, &pid, &major_id, &minor_id, &inode) != 5) continue;
        if (strcmp(kind, "FLOCK") == 0 && inode == st->st_ino && major_id == major(st->st_dev) &&
            minor_id == minor(st->st_dev) && pid > 0)
            holder = pid;
    }
    fclose(file);
    return holder;
}

/* The kernel gives the list a page at a time, and while others' locks come and go a line between two pages may be
 * missed.
 */
pid_t weirp_lock_holder(const struct stat *st) {
    enum { LOOKS = 4 };
    pid_t holder = 0;
    for (int i = 0; i < LOOKS && !holder; i++) holder = look_for_holder(st);
    return holder;
}

long weirp_store_holder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (long)weirp_lock_holder(&st) : 0;
}

weir_status weirp_busy(const char *path, const struct stat *st, weir_error *err) {
    pid_t holder = weirp_lock_holder(st);
    if (holder == getpid()) return weirp_fail(err, WEIR_BUSY, 0, "%s: already open in this process", path);
    if (holder) return weirp_fail(err, WEIR_BUSY, 0, "%s: in use by process %ld", path, (long)holder);
    return weirp_fail(err, WEIR_BUSY, 0, "%s: in use by another process", path);
}

static int range_lock(int fd, short kind, off_t from, off_t n) {
    struct flock range = {.l_type = kind, .l_whence = SEEK_SET, .l_start = from, .l_len = n};
    return fcntl(fd, F_OFD_SETLK, &range) == 0 ? 0 : errno;
}

static bool is_held(int fd, off_t byte) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_UNLCK;
}

bool weirp_store_is_joined(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool joined = fd >= 0 && is_held(fd, BYTE_JOINED);
    if (fd >= 0) close(fd);
    return joined;
}

weir_status weirp_lock_alone(int fd, const char *path, weir_error *err) {
    int e = range_lock(fd, F_WRLCK, BYTE_JOINED, 1);
    if (e == EAGAIN || e == EACCES)
        return weirp_fail(err, WEIR_BUSY, 0, "%s: in use: somebody has joined it to change its table", path);
    return e ? weirp_fail_errno(err, e, "can't lock", path) : WEIR_OK;
}

/* Each takes its own lock before it looks for the other's: at least one of two sees the other. */
bool weirp_lock_stranger(int fd) {
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) return false;
    if (range_lock(fd, F_RDLCK, BYTE_STRANGERS, 1) == 0 && !is_held(fd, BYTE_JOINED)) return true;
    weirp_unlock_stranger(fd);
    return false;
}

void weirp_unlock_stranger(int fd) {
    range_lock(fd, F_UNLCK, 0, 0);
    flock(fd, LOCK_UN);
}

/* Where the file system has no such locks, LMDB's have to do. */
static void turn_lock(int fd, short kind, weirp_turn turn) {
    struct flock range = {.l_type = kind, .l_whence = SEEK_SET, .l_start = BYTE_TURN + (off_t)turn, .l_len = 1};
    while (fd >= 0 && fcntl(fd, F_OFD_SETLKW, &range) != 0 && errno == EINTR) {
    }
}

void weirp_lock_turn(int fd, weirp_turn turn) {
    turn_lock(fd, F_WRLCK, turn);
}

void weirp_unlock_turn(int fd, weirp_turn turn) {
    turn_lock(fd, F_UNLCK, turn);
}

weir_status weirp_lock_join(int *out, struct stat *held, const char *path, weir_error *err) {
    for (int round = 0; round < 8; round++) { /* as below */
        struct stat named;
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 && errno == EISDIR) return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a file", path);
        if (fd < 0) return weirp_fail_errno(err, errno, "can't open for writing", path);
        int e = fstat(fd, held) == 0 ? range_lock(fd, F_RDLCK, BYTE_JOINED, 1) : errno;
        if (e) {
            close(fd);
            if (e == EAGAIN || e == EACCES) return weirp_fail(err, WEIR_BUSY, 0, "%s: is being compacted", path);
            return weirp_fail_errno(err, e, "can't lock", path);
        }
        if (is_held(fd, BYTE_STRANGERS)) {
            weirp_unlock(fd);
            return weirp_fail(err, WEIR_BUSY, 0, "%s: in use by a reader that can't write to its lock file", path);
        }
        if (stat(path, &named) == 0 && named.st_ino == held->st_ino && named.st_dev == held->st_dev) {
            *out = fd;
            return WEIR_OK;
        }
        weirp_unlock(fd);
    }
    return weirp_fail(err, WEIR_BUSY, 0, "%s: is being replaced again and again", path);
}

weir_status weirp_lock_writer(int *out, const char *path, weir_error *err) {
    /* The file may be swapped for a compacted one between open() and flock(): then the lock is on a file that has lost
     * its name, and the next round takes the new one. */
    for (int round = 0; round < 8; round++) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 && errno == EISDIR) return weirp_fail(err, WEIR_FOREIGN, 0, "%s: not a file", path);
        if (fd < 0) return weirp_fail_errno(err, errno, "can't open for writing", path);
        struct stat held, named;
        if (fstat(fd, &held) != 0) {
            int e = errno;
            close(fd);
            return weirp_fail_errno(err, e, "fstat", path);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            int e = errno;
            close(fd);
            if (e == EWOULDBLOCK) return weirp_busy(path, &held, err);
            return weirp_fail_errno(err, e, "flock", path);
        }
        if (stat(path, &named) == 0 && named.st_ino == held.st_ino && named.st_dev == held.st_dev) {
            *out = fd;
            return WEIR_OK;
        }
        weirp_unlock(fd);
    }
    return weirp_fail(err, WEIR_BUSY, 0, "%s: is being replaced again and again", path);
}

void weirp_unlock(int fd) {
    if (fd < 0) return;
    /* by name: a descriptor that a fork's child still holds would keep the lock alive after close() */
    flock(fd, LOCK_UN);
    range_lock(fd, F_UNLCK, 0, 0);
    close(fd);
}

char *weirp_sibling(const char *path, const char *suffix) {
    size_t a = strlen(path), b = strlen(suffix);
    char *name = malloc(a + b + 1);
    if (!name) return NULL;
    memcpy(name, path, a);
    memcpy(name + a, suffix, b + 1);
    return name;
}

static int open_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? weirp_strndup("/", 1) : slash ? weirp_strndup(path, (size_t)(slash - path)) : NULL;
    if (slash && !folder) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = errno;
    free(folder);
    errno = e;
    return fd;
}

weir_status weirp_gate_enter(int *out, const char *path, bool exclusive, weir_error *err) {
    *out = -1;
    int fd = open_folder(path);
    if (fd < 0) {
        if (!exclusive && (errno == EACCES || errno == EPERM)) return WEIR_OK;
        return weirp_fail_errno(err, errno, "can't open its folder", path);
    }
    for (int i = 0; i < GATE_TRIES; i++) {
        if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) {
            *out = fd;
            return WEIR_OK;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) break;
        nanosleep(&(struct timespec){0, GATE_WAIT_NS}, NULL);
    }
    int e = errno;
    close(fd);
    if (e == EWOULDBLOCK) return weirp_fail(err, WEIR_BUSY, 0, "%s: its folder stays locked", path);
    return weirp_fail_errno(err, e, "can't lock its folder", path);
}

int weirp_sync_folder(const char *path) {
    int fd = open_folder(path);
    if (fd < 0) return errno;
    int e = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    /* some file systems have no fsync for folders: there is nothing more to do */
    return e == EINVAL ? 0 : e;
}

/* spool_adopt.c: what the dead have left, and a spool's bytes.
 *
 * A record that was being written when its process died is followed by complete ones of other threads. So the whole
 * ring is searched from where the durable ones end, at every place where a record may begin: what isn't one doesn't
 * have the checksum that goes with the place. SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xxhash.h>

#include "src/store/internal.h"
#include "src/store/spool_file.h"

#define SUFFIX "-spool."

const char weirp_spool_magic[8] = {'w', 'e', 'i', 'r', 's', 'p', 'o', 'l'};

uint64_t weirp_spool_checksum(uint64_t id, uint64_t where, const void *data, size_t size) {
    return XXH3_64bits_withSeed(size ? data : "", size, weirp_mix64(id + where));
}

uint64_t weirp_spool_header_sum(const spool_header *header) {
    return XXH3_64bits(header, offsetof(spool_header, checksum));
}

void weirp_spool_boot_id(char id[SPOOL_BOOT_ID]) {
    memset(id, 0, SPOOL_BOOT_ID);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, id, SPOOL_BOOT_ID - 1) : 0;
    if (fd >= 0) close(fd);
    if (n < 0) n = 0;
    id[n] = '\0';
    id[strcspn(id, "\n")] = '\0';
}

char *weirp_spool_path(const char *resolved, unsigned number) {
    char suffix[32];
    snprintf(suffix, sizeof suffix, SUFFIX "%u", number);
    return weirp_sibling(resolved, suffix);
}

bool weirp_spool_named(const char *path, const struct stat *file) {
    struct stat named;
    return lstat(path, &named) == 0 && named.st_ino == file->st_ino && named.st_dev == file->st_dev;
}

struct weirp_orphan {
    int fd;
    unsigned number;
    char *path;
    const uint8_t *map;
    size_t size;
    const spool_header *header; /* verified, but for `durable` */
    uint64_t durable;
    uint32_t n_slots;
    bool trusted;
};

/* ---- one file ---- */

/* What is known of a file that has been locked. */
typedef enum found { FOUND_SPOOL, FOUND_NOTHING, FOUND_OTHER } found;

/* Whether the header is one of ours, one that wasn't finished (or was lost with the power), or nothing of ours. */
static found judge(const spool_header *h, size_t size) {
    for (size_t i = 0; i < sizeof h->magic; i++)
        if (h->magic[i] && h->magic[i] != weirp_spool_magic[i]) return FOUND_OTHER;
    if (h->version != SPOOL_VERSION && h->version != 0) return FOUND_OTHER; /* a newer program's */
    if (h->checksum != weirp_spool_header_sum(h)) return FOUND_NOTHING;
    bool sound = h->ring_bytes >= SPOOL_RING_LEAST && h->ring_bytes <= SPOOL_RING_MOST &&
                 (h->ring_bytes & (h->ring_bytes - 1)) == 0 && size >= SPOOL_PAGE + h->ring_bytes &&
                 h->slot_size == sizeof(spool_slot);
    return sound ? FOUND_SPOOL : FOUND_NOTHING;
}

static found map_file(weirp_orphan *o, size_t size) {
    if (size < SPOOL_PAGE) return FOUND_NOTHING;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, o->fd, 0);
    if (map == MAP_FAILED) return FOUND_OTHER; /* tried again another time */
    o->map = map;
    o->size = size;
    o->header = map;
    found what = judge(o->header, size);
    if (what != FOUND_SPOOL) return what;
    o->durable = atomic_load(&o->header->durable);
    size_t slots = (size - SPOOL_PAGE - (size_t)o->header->ring_bytes) / sizeof(spool_slot);
    o->n_slots = slots < WEIRP_SPOOL_SLOTS_MAX ? (uint32_t)slots : WEIRP_SPOOL_SLOTS_MAX;
    char boot_id[SPOOL_BOOT_ID];
    weirp_spool_boot_id(boot_id);
    o->trusted = boot_id[0] && memcmp(boot_id, o->header->boot_id, sizeof boot_id) == 0;
    /* impossible but for a file that the power took with it */
    if (o->durable % SPOOL_ALIGN) o->durable = 0, o->trusted = false;
    return FOUND_SPOOL;
}

static void free_orphan(weirp_orphan *o) {
    if (o->map) munmap((void *)(uintptr_t)o->map, o->size);
    if (o->fd >= 0) close(o->fd);
    free(o->path);
    free(o);
}

/* WEIR_NOTFOUND: nothing to adopt there. */
static weir_status adopt_file(weirp_orphan **out, const char *resolved, unsigned number, weir_error *err) {
    weirp_orphan *o = weirp_array(1, sizeof *o);
    char *path = weirp_spool_path(resolved, number);
    if (!o || !path) {
        free(o);
        free(path);
        return weirp_nomem(err);
    }
    o->path = path;
    o->number = number;
    struct stat file;
    o->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (o->fd >= 0 && fstat(o->fd, &file) == 0 && S_ISREG(file.st_mode) && flock(o->fd, LOCK_EX | LOCK_NB) == 0 &&
        fstat(o->fd, &file) == 0 && weirp_spool_named(path, &file)) {
        found what = map_file(o, (size_t)file.st_size);
        if (what == FOUND_NOTHING) unlink(path);
        if (what == FOUND_SPOOL) {
            *out = o;
            return WEIR_OK;
        }
    }
    free_orphan(o);
    return WEIR_NOTFOUND;
}

/* ---- all of a store's ---- */

/* The number at the end of a spool's name; 0: it isn't one. */
static unsigned number_of(const char *name, const char *base) {
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || strncmp(name + n, SUFFIX, strlen(SUFFIX)) != 0) return 0;
    const char *digits = name + n + strlen(SUFFIX);
    unsigned number = 0;
    if (*digits == '0' || !*digits) return 0;
    for (; *digits; digits++) {
        if (*digits < '0' || *digits > '9') return 0;
        number = number * 10 + (unsigned)(*digits - '0');
        if (number >= SPOOL_NUMBERS) return 0;
    }
    return number;
}

weir_status weirp_spool_adopt(weirp_orphan **out, const char *store, weir_error *err) {
    *out = NULL;
    char *resolved = realpath(store, NULL);
    if (!resolved) return weirp_fail_errno(err, errno, "can't open", store);
    char *slash = strrchr(resolved, '/'); /* a resolved path has one */
    *slash = '\0';
    DIR *folder = opendir(*resolved ? resolved : "/");
    int e = errno;
    *slash = '/';
    weir_status st = folder ? WEIR_NOTFOUND : weirp_fail_errno(err, e, "can't list its folder", store);
    for (struct dirent *entry; st == WEIR_NOTFOUND && (entry = readdir(folder));) {
        unsigned number = number_of(entry->d_name, slash + 1);
        if (number) st = adopt_file(out, resolved, number, err);
    }
    if (folder) closedir(folder);
    free(resolved);
    return st == WEIR_NOTFOUND ? WEIR_END : st;
}

bool weirp_spool_lives(const char *store, unsigned number, uint64_t id) {
    char *resolved = realpath(store, NULL), *path = resolved ? weirp_spool_path(resolved, number) : NULL;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    spool_header h;
    bool lives = fd >= 0 && pread(fd, &h, sizeof h, 0) == sizeof h && h.id == id &&
                 memcmp(h.magic, weirp_spool_magic, sizeof h.magic) == 0 && h.checksum == weirp_spool_header_sum(&h) &&
                 flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0) close(fd);
    free(path);
    free(resolved);
    return lives;
}

/* ---- the orphan ---- */

unsigned weirp_orphan_number(const weirp_orphan *o) {
    return o->number;
}

uint64_t weirp_orphan_id(const weirp_orphan *o) {
    return o->header->id;
}

bool weirp_orphan_trusted(const weirp_orphan *o) {
    return o->trusted;
}

/* The bytes at `at` that a complete record, or pad, of that position takes; 0: there is none. */
static uint64_t whole_record(const weirp_orphan *o, uint64_t at, const uint8_t **data, size_t *size, bool *pad) {
    uint64_t ring = o->header->ring_bytes, left = ring - (at & (ring - 1));
    const spool_record *record = (const spool_record *)(o->map + SPOOL_PAGE + (at & (ring - 1)));
    uint64_t mark = atomic_load_explicit(&record->mark, memory_order_relaxed);
    *size = (uint32_t)mark;
    *pad = mark & SPOOL_MARK_PAD;
    *data = (const uint8_t *)(record + 1);
    if (mark != spool_mark(at, *pad ? SPOOL_MARK_PAD : 0, *size) || *size > WEIRP_SPOOL_RECORD || (*pad && *size))
        return 0;
    uint64_t whole = *pad ? left : spool_whole(*size);
    return whole <= left && record->checksum == weirp_spool_checksum(o->header->id, at, *data, *size) ? whole : 0;
}

weir_status weirp_orphan_records(const weirp_orphan *o, weirp_orphan_record visit, void *user, weir_error *err) {
    uint64_t end = o->durable + o->header->ring_bytes;
    for (uint64_t at = o->durable; at < end;) {
        const uint8_t *data;
        size_t size;
        bool pad;
        uint64_t whole = whole_record(o, at, &data, &size, &pad);
        if (whole && !pad) {
            weir_status st = visit(user, at, data, size, err);
            if (st != WEIR_OK) return st;
        }
        at += whole ? whole : SPOOL_ALIGN;
    }
    return WEIR_OK;
}

weir_status weirp_orphan_slots(const weirp_orphan *o, weirp_orphan_slot visit, void *user, weir_error *err) {
    const spool_slot *slots = (const spool_slot *)(o->map + SPOOL_PAGE + o->header->ring_bytes);
    for (uint32_t i = 0; i < o->n_slots; i++) {
        uint64_t mark = atomic_load_explicit(&slots[i].mark, memory_order_relaxed);
        if (!mark) continue;
        size_t size = (size_t)(mark & ~SPOOL_MARK_SET);
        bool sound = (mark & SPOOL_MARK_SET) && size <= WEIRP_SPOOL_SLOT &&
                     slots[i].checksum == weirp_spool_checksum(o->header->id, i + 1, slots[i].data, size);
        weir_status st = visit(user, i + 1, sound ? slots[i].data : NULL, sound ? size : 0, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

weir_status weirp_orphan_close(weirp_orphan *o, bool remove, weir_error *err) {
    if (!o) return WEIR_OK;
    weir_status st = WEIR_OK;
    if (remove && unlink(o->path) != 0) st = weirp_fail_errno(err, errno, "can't remove", o->path);
    free_orphan(o);
    return st;
}

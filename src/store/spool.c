/* spool.c: the owner's side of a spool.
 *
 * Appending reserves room by moving `head`, copies, and sets the record's mark: nobody waits for anybody, and a thread
 * that is held up in between only keeps those who read the ring waiting. What was made durable is zeroed before its
 * room is given out again, so that a mark that isn't zero was set in this lap.
 *
 * A kill takes effect between two instructions: stores that come before one that has been done have been done, too, and
 * the kernel keeps them. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/store/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/store/internal.h"
#include "src/store/spool_file.h"

enum { LINE = 64, DEFAULT_SLOTS = 4096 };
#define DEFAULT_RING ((uint64_t)1 << 22)

struct weirp_spool {
    int fd;
    pid_t pid;
    unsigned number;
    char *path;
    uint8_t *map;
    size_t map_size;
    spool_header *header;
    uint8_t *ring;
    spool_slot *slots; /* (WEIRP_SPOOL_SLOTS_MAX), of which n_slots have disk space */
    uint64_t ring_bytes, id;
    uint64_t cursor;        /* position: read up to here */
    _Atomic uint32_t *next; /* (WEIRP_SPOOL_SLOTS_MAX) of the free slots' list: from 1; 0: its end */
    pthread_mutex_t growing;
    alignas(LINE) _Atomic uint64_t head;    /* position: given out up to here */
    alignas(LINE) _Atomic uint64_t tail;    /* position: room before it is free again */
    alignas(LINE) _Atomic uint64_t free;    /* first of the free slots' list, and above it a count of changes */
    alignas(LINE) _Atomic uint32_t n_fresh; /* slots below it have been used */
    _Atomic uint32_t n_slots;
};

/* ---- opening ---- */

static uint64_t ring_size(const weirp_spool_options *options) {
    uint64_t wanted = options && options->ring_bytes ? options->ring_bytes : DEFAULT_RING, size = SPOOL_RING_LEAST;
    while (size < wanted && size < SPOOL_RING_MOST) size *= 2;
    return size;
}

static uint32_t first_slots(const weirp_spool_options *options) {
    uint32_t n = options && options->n_slots ? options->n_slots : DEFAULT_SLOTS;
    return n < WEIRP_SPOOL_SLOTS_MAX ? n : WEIRP_SPOOL_SLOTS_MAX;
}

static size_t slots_at(const weirp_spool *s) {
    return SPOOL_PAGE + (size_t)s->ring_bytes;
}

/* A file of a number that nobody has, locked. Somebody may take an empty file for one that a dead process has left, and
 * remove it: then the next number is as good. */
static weir_status make_file(weirp_spool *s, const char *resolved, weir_error *err) {
    for (unsigned number = 1; number < SPOOL_NUMBERS; number++) {
        char *path = weirp_spool_path(resolved, number);
        if (!path) return weirp_nomem(err);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), e = errno;
        struct stat file;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &file) == 0 && weirp_spool_named(path, &file)) {
            s->fd = fd;
            s->path = path;
            s->number = number;
            return WEIR_OK;
        }
        free(path);
        if (fd >= 0)
            close(fd);
        else if (e != EEXIST)
            return weirp_fail_errno(err, e, "can't make a spool beside it", resolved);
    }
    return weirp_fail(err, WEIR_FULL, 0, "%s: too many spools beside it", resolved);
}

static int take_space(int fd, size_t at, size_t bytes) {
    int e;
    do {
        e = posix_fallocate(fd, (off_t)at, (off_t)bytes);
    } while (e == EINTR);
    return e;
}

static weir_status fill_file(weirp_spool *s, uint32_t n_slots, weir_error *err) {
    size_t bytes = slots_at(s) + n_slots * sizeof(spool_slot);
    int e = take_space(s->fd, 0, bytes);
    if (e) return weirp_store_fail(err, e, "can't take the space of a spool", s->path);
    /* addresses for all slots there may ever be; those past the file's end aren't touched */
    s->map_size = slots_at(s) + WEIRP_SPOOL_SLOTS_MAX * sizeof(spool_slot);
    void *map = mmap(NULL, s->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED) return weirp_fail_errno(err, errno, "can't map", s->path);
    s->map = map;
    (void)madvise(map, s->map_size, MADV_DONTFORK); /* a fork's child must not write to it */
    s->header = map;
    s->ring = s->map + SPOOL_PAGE;
    s->slots = (spool_slot *)(s->map + slots_at(s));
    atomic_init(&s->n_slots, n_slots);
    spool_header *h = s->header;
    memcpy(h->magic, weirp_spool_magic, sizeof h->magic);
    h->version = SPOOL_VERSION;
    h->slot_size = sizeof(spool_slot);
    h->ring_bytes = s->ring_bytes;
    h->id = s->id;
    h->pid = (uint64_t)s->pid;
    h->created_ms = weirp_unix_ms();
    weirp_spool_boot_id(h->boot_id);
    atomic_init(&h->durable, 0);
    atomic_signal_fence(memory_order_release);
    h->checksum = weirp_spool_header_sum(h);
    return WEIR_OK;
}

static uint64_t new_id(void) {
    uint64_t id = 0;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id)
        id = weirp_mix64((uint64_t)weirp_unix_ms() ^ weirp_monotonic_ns() << 20 ^ (uint64_t)getpid() << 44);
    return id ? id : 1;
}

weir_status weirp_spool_open(weirp_spool **out, const char *store, const weirp_spool_options *options,
                             weir_error *err) {
    *out = NULL;
    char *resolved = realpath(store, NULL);
    if (!resolved) return weirp_fail_errno(err, errno, "can't open", store);
    weir_status st;
    weirp_spool *s = aligned_alloc(LINE, sizeof *s);
    if (!s) {
        free(resolved);
        return weirp_nomem(err);
    }
    memset(s, 0, sizeof *s);
    s->fd = -1;
    s->pid = getpid();
    s->id = new_id();
    s->ring_bytes = ring_size(options);
    pthread_mutex_init(&s->growing, NULL);
    s->next = weirp_array(WEIRP_SPOOL_SLOTS_MAX, sizeof *s->next);
    if (!s->next) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(make_file(s, resolved, err));
    WEIRP_TRY(fill_file(s, first_slots(options), err));
    *out = s;
done:
    free(resolved);
    if (st != WEIR_OK) weirp_spool_close(s);
    return st;
}

static bool is_empty(weirp_spool *s) {
    if (!s->map) return true; /* never finished */
    if (atomic_load(&s->head) != atomic_load(&s->tail)) return false;
    uint32_t n = atomic_load(&s->n_fresh);
    for (uint32_t i = 0; i < n; i++)
        if (atomic_load_explicit(&s->slots[i].mark, memory_order_relaxed)) return false;
    return true;
}

void weirp_spool_close(weirp_spool *s) {
    if (!s) return;
    if (s->pid == getpid()) {
        if (s->path && is_empty(s)) unlink(s->path); /* before the lock goes: nobody adopts it in between */
        if (s->map) munmap(s->map, s->map_size);
    }
    if (s->fd >= 0) close(s->fd);
    pthread_mutex_destroy(&s->growing);
    free((void *)s->next);
    free(s->path);
    free(s);
}

unsigned weirp_spool_number(const weirp_spool *s) {
    return s->number;
}

uint64_t weirp_spool_id(const weirp_spool *s) {
    return s->id;
}

/* ---- the ring ---- */

static spool_record *record_at(weirp_spool *s, uint64_t position) {
    return (spool_record *)(s->ring + (position & (s->ring_bytes - 1)));
}

static uint64_t to_ring_end(const weirp_spool *s, uint64_t position) {
    return s->ring_bytes - (position & (s->ring_bytes - 1));
}

weir_status weirp_spool_append(weirp_spool *s, const void *data, size_t size) {
    if (size > WEIRP_SPOOL_RECORD || (size && !data)) return WEIR_INVALID;
    uint64_t whole = spool_whole(size), at = atomic_load_explicit(&s->head, memory_order_relaxed), start;
    do {
        uint64_t left = to_ring_end(s, at);
        start = left < whole ? at + left : at;
        /* acquire: whoever freed the room has zeroed it before. The tail may have passed an `at` that is out of date,
         * which then isn't exchanged. */
        uint64_t tail = atomic_load_explicit(&s->tail, memory_order_acquire);
        if ((int64_t)(start + whole - tail) > (int64_t)s->ring_bytes) return WEIR_FULL;
    } while (!atomic_compare_exchange_weak_explicit(&s->head, &at, start + whole, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (start != at) {
        spool_record *pad = record_at(s, at);
        pad->checksum = weirp_spool_checksum(s->id, at, "", 0);
        atomic_store_explicit(&pad->mark, spool_mark(at, SPOOL_MARK_PAD, 0), memory_order_release);
    }
    spool_record *record = record_at(s, start);
    if (size) memcpy(record + 1, data, size);
    record->checksum = weirp_spool_checksum(s->id, start, data, size);
    atomic_store_explicit(&record->mark, spool_mark(start, 0, size), memory_order_release);
    return WEIR_OK;
}

weir_status weirp_spool_next(weirp_spool *s, uint64_t *number, const uint8_t **data, size_t *size) {
    /* a ring that is full to the brim ends where it begins */
    for (uint64_t most = atomic_load_explicit(&s->tail, memory_order_relaxed) + s->ring_bytes; s->cursor < most;) {
        spool_record *record = record_at(s, s->cursor);
        uint64_t mark = atomic_load_explicit(&record->mark, memory_order_acquire);
        if (!mark) break;
        if (mark & SPOOL_MARK_PAD) {
            s->cursor += to_ring_end(s, s->cursor);
            continue;
        }
        *number = s->cursor;
        *data = (const uint8_t *)(record + 1);
        *size = (uint32_t)mark;
        s->cursor += spool_whole(*size);
        return WEIR_OK;
    }
    return WEIR_END;
}

void weirp_spool_durable(weirp_spool *s, uint64_t number) {
    uint64_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    if (number < tail) return; /* said before */
    assert(number < s->cursor);
    uint64_t end =
        number + spool_whole((uint32_t)atomic_load_explicit(&record_at(s, number)->mark, memory_order_relaxed));
    assert(end <= s->cursor);
    atomic_store_explicit(&s->header->durable, end, memory_order_release);
    uint64_t n = end - tail, left = to_ring_end(s, tail), first = n < left ? n : left;
    memset(record_at(s, tail), 0, first);
    memset(s->ring, 0, n - first);
    atomic_store_explicit(&s->tail, end, memory_order_release);
}

/* ---- slots ---- */

/* A slot that was used before, from 1; 0: none. The count above the index tells a list that has changed and changed
 * back from one that hasn't. */
static uint32_t take_used(weirp_spool *s) {
    uint64_t head = atomic_load_explicit(&s->free, memory_order_acquire);
    while ((uint32_t)head) {
        uint32_t slot = (uint32_t)head, next = atomic_load_explicit(&s->next[slot - 1], memory_order_relaxed);
        uint64_t now = ((head >> 32) + 1) << 32 | next;
        if (atomic_compare_exchange_weak_explicit(&s->free, &head, now, memory_order_acquire, memory_order_acquire))
            return slot;
    }
    return 0;
}

static uint32_t take_fresh(weirp_spool *s) {
    uint32_t n = atomic_load_explicit(&s->n_fresh, memory_order_relaxed);
    while (n < atomic_load_explicit(&s->n_slots, memory_order_acquire))
        if (atomic_compare_exchange_weak_explicit(&s->n_fresh, &n, n + 1, memory_order_relaxed, memory_order_relaxed))
            return n + 1;
    return 0;
}

/* False: no more can be had. */
static bool grow(weirp_spool *s, uint32_t had) {
    bool grown = true;
    pthread_mutex_lock(&s->growing);
    uint32_t n = atomic_load_explicit(&s->n_slots, memory_order_relaxed);
    if (n == had) { /* nobody else has done it meanwhile */
        uint32_t more = n < WEIRP_SPOOL_SLOTS_MAX - n ? n : WEIRP_SPOOL_SLOTS_MAX - n;
        size_t at = slots_at(s) + n * sizeof(spool_slot);
        grown = more && take_space(s->fd, at, more * sizeof(spool_slot)) == 0;
        if (grown) atomic_store_explicit(&s->n_slots, n + more, memory_order_release);
    }
    pthread_mutex_unlock(&s->growing);
    return grown;
}

weir_status weirp_spool_take(weirp_spool *s, const void *data, size_t size, uint32_t *slot) {
    *slot = 0;
    if (size > WEIRP_SPOOL_SLOT || (size && !data)) return WEIR_INVALID;
    uint32_t taken;
    for (;;) {
        uint32_t had = atomic_load_explicit(&s->n_slots, memory_order_acquire);
        if ((taken = take_used(s)) || (taken = take_fresh(s))) break;
        if (!grow(s, had)) return WEIR_FULL;
    }
    spool_slot *at = &s->slots[taken - 1];
    if (size) memcpy(at->data, data, size);
    at->checksum = weirp_spool_checksum(s->id, taken, data, size);
    atomic_store_explicit(&at->mark, SPOOL_MARK_SET | size, memory_order_release);
    *slot = taken;
    return WEIR_OK;
}

void weirp_spool_empty(weirp_spool *s, uint32_t slot) {
    assert(slot && slot <= atomic_load(&s->n_slots) && atomic_load(&s->slots[slot - 1].mark));
    atomic_store_explicit(&s->slots[slot - 1].mark, 0, memory_order_release);
    uint64_t head = atomic_load_explicit(&s->free, memory_order_relaxed), now;
    do {
        atomic_store_explicit(&s->next[slot - 1], (uint32_t)head, memory_order_relaxed);
        now = ((head >> 32) + 1) << 32 | slot;
    } while (!atomic_compare_exchange_weak_explicit(&s->free, &head, now, memory_order_release, memory_order_relaxed));
}

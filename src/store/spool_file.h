/* spool_file.h: a spool's file, as its owner and its heir see it (docs/formats.md, "Spool").
 *
 * Everything in it is written by a process that may be killed between any two instructions. So each thing is complete
 * from one store of 8 bytes on: a record and a slot from their mark on, and the ring's beginning moves with one such
 * store. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SPOOL_FILE_H
#define WEIRP_SPOOL_FILE_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "src/store/spool.h"

enum {
    SPOOL_VERSION = 1,
    SPOOL_PAGE = 4096, /* the header's; the ring begins behind it */
    SPOOL_ALIGN = 16,  /* records begin at multiples */
    SPOOL_BOOT_ID = 40,
    SPOOL_NUMBERS = 10000 /* of files; more than so many processes on one store leave no room */
};
#define SPOOL_RING_LEAST ((uint64_t)1 << 16)
#define SPOOL_RING_MOST  ((uint64_t)1 << 30)

typedef struct spool_header {
    char magic[8];
    uint32_t version, slot_size;
    uint64_t ring_bytes; /* a power of two */
    uint64_t id, pid;
    int64_t created_ms;
    char boot_id[SPOOL_BOOT_ID]; /* of the machine's start; NUL-padded */
    uint64_t checksum;           /* of all before it */
    _Atomic uint64_t durable;    /* position: records before it are safe elsewhere */
} spool_header;

/* A record's position is the number of bytes of the ring that were given out before it; where it lies is the rest by
 * the ring's size. The mark is 0 until the record is complete. */
typedef struct spool_record {
    uint64_t checksum; /* of the bytes, seeded with position and id: nothing older passes for a record */
    _Atomic uint64_t mark;
} spool_record;

#define SPOOL_MARK_SET ((uint64_t)1 << 63)
#define SPOOL_MARK_PAD ((uint64_t)1 << 62) /* nothing up to the ring's end */

typedef struct spool_slot {
    uint64_t checksum;     /* of the bytes, seeded with the slot's index and the id */
    _Atomic uint64_t mark; /* 0: free; SPOOL_MARK_SET and the size */
    uint8_t data[WEIRP_SPOOL_SLOT];
} spool_slot;

_Static_assert(sizeof(spool_header) <= SPOOL_PAGE, "the header has a page");
_Static_assert(sizeof(spool_record) == SPOOL_ALIGN, "a mark never lies across the ring's end");
_Static_assert(sizeof(spool_slot) == 256 && ATOMIC_LLONG_LOCK_FREE == 2, "as docs/formats.md says");

/* Tells records of one lap from those of another at a glance. */
static inline uint64_t spool_mark(uint64_t position, uint64_t kind, size_t size) {
    return SPOOL_MARK_SET | kind | (position / SPOOL_ALIGN % (1u << 30)) << 32 | size;
}

static inline uint64_t spool_whole(size_t size) {
    return sizeof(spool_record) + (size + SPOOL_ALIGN - 1) / SPOOL_ALIGN * SPOOL_ALIGN;
}

uint64_t weirp_spool_checksum(uint64_t id, uint64_t where, const void *data, size_t size);
uint64_t weirp_spool_header_sum(const spool_header *header);
extern const char weirp_spool_magic[8];
/* NUL-padded; empty where the kernel doesn't tell. */
void weirp_spool_boot_id(char id[SPOOL_BOOT_ID]);
/* STORE-spool.NUMBER of the resolved store; new, free() it. */
char *weirp_spool_path(const char *resolved, unsigned number);
/* Whether `path` still names the file. */
bool weirp_spool_named(const char *path, const struct stat *file);

#endif

/* spool.h: what must survive the death of a process, but may go with the machine's power.
 *
 * A file of the process's own beside the store (STORE-spool.NUMBER), mapped, so that writing to it costs a copy and no
 * system call: the kernel keeps what a killed process has written. It holds a ring of records that wait to be made
 * durable, and slots for what is under way. Its owner locks it while it lives; whoever can lock it has found a dead
 * one's, reads what is left, makes that durable in the store, and removes the file.
 *
 * Lives here: bytes; may not know what they mean. Format: docs/formats.md, "Spool".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SPOOL_H
#define WEIRP_SPOOL_H

#include "src/base/base.h"

typedef struct weirp_spool weirp_spool;

enum {
    WEIRP_SPOOL_RECORD = 16384,   /* bytes of a record, at most */
    WEIRP_SPOOL_SLOT = 240,       /* bytes of a slot, at most */
    WEIRP_SPOOL_SLOTS_MAX = 65536 /* whatever is asked for */
};

typedef struct weirp_spool_options {
    size_t ring_bytes; /* rounded up to a power of two from 64 KiB to 1 GiB; 0: 4 MiB */
    uint32_t n_slots;  /* to begin with; they double as they are needed; 0: 4096 */
} weirp_spool_options;

/* A new file for this process, empty, beside the store, which must exist. The disk space is taken here (and as slots
 * are added), so that a disk that fills up later harms nobody. *out is new. It belongs to the process that opened it:
 * a fork's child may close it, no more, and should soon exec or exit, for it keeps the lock of a parent that dies. */
weir_status weirp_spool_open(weirp_spool **out, const char *store, const weirp_spool_options *options, weir_error *err);
/* Removes the file if everything in it was durable and no slot is in use; else leaves it to whoever adopts it. NULL is
 * fine. */
void weirp_spool_close(weirp_spool *spool);
/* Both together name one spool for ever: the number is used again, the id is not. */
unsigned weirp_spool_number(const weirp_spool *spool);
uint64_t weirp_spool_id(const weirp_spool *spool); /* never 0 */
/* Whether that spool's process, or who has adopted it, is alive. False as well for what can't be known (no such file,
 * somebody else's). */
bool weirp_spool_lives(const char *store, unsigned number, uint64_t id);

/* ---- the ring ---- */

/* Any thread; waits for nobody. What this has returned WEIR_OK for survives the process. WEIR_FULL: as it says; nothing
 * was appended. WEIR_INVALID: longer than WEIRP_SPOOL_RECORD. */
weir_status weirp_spool_append(weirp_spool *spool, const void *data, size_t size);

/* The following are for one thread. */

/* The next record in the order of their numbers, which grow without end, but not one by one. WEIR_END: none for now.
 * Borrowed until it is durable. */
weir_status weirp_spool_next(weirp_spool *spool, uint64_t *number, const uint8_t **data, size_t *size);
/* This record, given by weirp_spool_next, and all before it are safe elsewhere: they are forgotten. To have each of
 * them counted once whatever happens, keep id and number in the same transaction: a process may die before it comes
 * here. */
void weirp_spool_durable(weirp_spool *spool, uint64_t number);

/* ---- slots ---- */

/* Any thread. Takes a free slot and fills it: once this has returned WEIR_OK, the slot is found in use after the
 * process's death until it is emptied. *slot: its number, from 1. WEIR_FULL: all are in use, and no more can be had;
 * WEIR_INVALID: longer than WEIRP_SPOOL_SLOT. Waits for nobody but, now and then, the disk space of more slots. */
weir_status weirp_spool_take(weirp_spool *spool, const void *data, size_t size, uint32_t *slot);
/* Once for every take. To settle a call, append its record first: who dies in between leaves both. */
void weirp_spool_empty(weirp_spool *spool, uint32_t slot);

/* ---- what the dead have left ---- */

typedef struct weirp_orphan weirp_orphan;

/* One of the store's spools whose process is dead, now locked: nobody else adopts it meanwhile. WEIR_END: there is none
 * (any more). Files in which nothing can have been written are removed on the way. *out is new. */
weir_status weirp_spool_adopt(weirp_orphan **out, const char *store, weir_error *err);
unsigned weirp_orphan_number(const weirp_orphan *orphan);
uint64_t weirp_orphan_id(const weirp_orphan *orphan);
/* False: the machine has been started anew since. What is visited was written, but more may have been, and may have
 * been emptied or made durable meanwhile. */
bool weirp_orphan_trusted(const weirp_orphan *orphan);
/* Records that weren't marked durable, in order: a non-OK return stops it. May be called again. Borrowed until the
 * orphan is closed. */
typedef weir_status (*weirp_orphan_record)(void *user, uint64_t number, const uint8_t *data, size_t size,
                                           weir_error *err);
weir_status weirp_orphan_records(const weirp_orphan *orphan, weirp_orphan_record visit, void *user, weir_error *err);
/* Slots in use. `data` NULL: in use, but unreadable. */
typedef weir_status (*weirp_orphan_slot)(void *user, uint32_t slot, const uint8_t *data, size_t size, weir_error *err);
weir_status weirp_orphan_slots(const weirp_orphan *orphan, weirp_orphan_slot visit, void *user, weir_error *err);
/* `remove`: what it held is durable elsewhere, and the file goes, all of it at once. Else it stays to be adopted. NULL
 * is fine. */
weir_status weirp_orphan_close(weirp_orphan *orphan, bool remove, weir_error *err);

#endif

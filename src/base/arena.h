/* arena.h: strings and small things that are freed together. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ARENA_H
#define WEIRP_ARENA_H

#include <stddef.h>

typedef struct weirp_arena_block weirp_arena_block;

/* Zero-initialise it. Pointers into it stay valid until it is freed. */
typedef struct weirp_arena {
    weirp_arena_block *last; /* the block that is being filled; NULL: none yet */
} weirp_arena;

/* n bytes, aligned for any type, not cleared; NULL: out of memory. Borrowed from the arena. */
void *weirp_arena_take(weirp_arena *arena, size_t n);
/* A NUL-terminated copy, packed without padding; NULL: out of memory. Borrowed from the arena. */
char *weirp_arena_text(weirp_arena *arena, const char *text, size_t len);
void weirp_arena_free(weirp_arena *arena); /* and makes it empty again */

#endif

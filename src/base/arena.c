/* arena.c: blocks that grow with what was asked for, so that a million strings cost a few hundred allocations.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/arena.h"

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct weirp_arena_block {
    weirp_arena_block *previous;
    size_t used, size; /* bytes of data */
    alignas(max_align_t) char data[];
};

static char *take(weirp_arena *arena, size_t n, size_t align) {
    weirp_arena_block *b = arena->last;
    if (b) {
        size_t at = (b->used + align - 1) / align * align;
        if (at <= b->size && n <= b->size - at) {
            b->used = at + n;
            return b->data + at;
        }
    }
    size_t size = b ? b->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
    if (n > SIZE_MAX - sizeof *b) return NULL;
    /* what would fill most of a block gets one of its own, put behind the one that is being filled */
    bool apart = n > size / 4;
    if (apart) size = n;
    weirp_arena_block *fresh = malloc(sizeof *fresh + size);
    if (!fresh) return NULL;
    fresh->used = n;
    fresh->size = size;
    if (apart && b) {
        fresh->previous = b->previous;
        b->previous = fresh;
    } else {
        fresh->previous = b;
        arena->last = fresh;
    }
    return fresh->data;
}

void *weirp_arena_take(weirp_arena *arena, size_t n) {
    return take(arena, n, alignof(max_align_t));
}

char *weirp_arena_text(weirp_arena *arena, const char *text, size_t len) {
    if (len == SIZE_MAX) return NULL;
    char *copy = take(arena, len + 1, 1);
    if (!copy) return NULL;
    if (len) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void weirp_arena_free(weirp_arena *arena) {
    while (arena->last) {
        weirp_arena_block *b = arena->last;
        arena->last = b->previous;
        free(b);
    }
}

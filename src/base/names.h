/* names.h: strings to the numbers in which they came, 0, 1, 2, ... SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_NAMES_H
#define WEIRP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"

#define WEIRP_NO_NAME ((size_t)-1)

/* Zero-initialise it. */
typedef struct weirp_names {
    size_t n, capacity;
    const char **text; /* (n) NUL-terminated, in order of arrival */
    size_t *len;       /* (n) bytes */
    uint64_t *hash;    /* (n) */
    size_t n_slots;    /* a power of two */
    size_t *slot;      /* (n_slots) index + 1; 0: free */
    weirp_arena arena; /* of the texts */
} weirp_names;

/* The name's number, or WEIRP_NO_NAME. */
size_t weirp_names_find(const weirp_names *names, const char *text, size_t len);
/* The name's number, which is new if *added; WEIRP_NO_NAME: out of memory. */
size_t weirp_names_add(weirp_names *names, const char *text, size_t len, bool *added);
void weirp_names_free(weirp_names *names); /* and makes it empty again */

#endif

/* memory.c: checked allocation. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/base.h"

void *weirp_array(size_t n, size_t size) {
    return calloc(n ? n : 1, size ? size : 1);
}

/* Only whole huge pages are asked for, so that none holds what isn't ours; the rest of a table has small ones. */
void *weirp_large(size_t n, size_t size) {
    enum { LINE = 64, HUGE_PAGE = 2 << 20, MAY_BE_LOST = HUGE_PAGE / 8 };
    if (size && n > (SIZE_MAX - HUGE_PAGE) / size) return NULL;
    size_t bytes = (n * size / LINE + 1) * LINE, whole = (n * size + MAY_BE_LOST) / HUGE_PAGE * HUGE_PAGE;
    if (!whole) return aligned_alloc(LINE, bytes);
    void *p = aligned_alloc(HUGE_PAGE, bytes > whole ? bytes : whole);
#ifdef MADV_HUGEPAGE
    if (p) (void)madvise(p, whole, MADV_HUGEPAGE); /* small pages do, too */
#endif
    return p;
}

bool weirp_reserve(void **array, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) return true;
    size_t grown = *capacity < 16 ? 16 : *capacity + *capacity / 2;
    if (grown < need) grown = need;
    if (size && grown > SIZE_MAX / size) return false;
    void *moved = realloc(*array, grown * size);
    if (!moved) return false;
    *array = moved;
    *capacity = grown;
    return true;
}

char *weirp_strndup(const char *text, size_t len) {
    char *copy = malloc(len + 1);
    if (!copy) return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

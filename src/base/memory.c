/* memory.c: checked allocation. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/base.h"

void *weirp_array(size_t n, size_t size) {
    return calloc(n ? n : 1, size ? size : 1);
}

/* Huge pages are asked for up to where the table fills them; what is left of it has small ones, and what is left of the
 * last huge page's room is never touched, so that it costs addresses alone. */
void *weirp_large(size_t n, size_t size) {
    enum { LINE = 64, HUGE_PAGE = 2 << 20, MAY_BE_LOST = HUGE_PAGE / 8 };
    if (size && n > (SIZE_MAX - 2 * HUGE_PAGE) / size) return NULL;
    size_t bytes = n * size, filled = (bytes + MAY_BE_LOST) / HUGE_PAGE * HUGE_PAGE;
    if (!filled) return aligned_alloc(LINE, (bytes / LINE + 1) * LINE);
    void *p = aligned_alloc(HUGE_PAGE, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
#ifdef MADV_HUGEPAGE
    if (p) (void)madvise(p, filled, MADV_HUGEPAGE); /* small pages do, too */
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

/* memory.c: checked allocation. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

void *weirp_array(size_t n, size_t size) {
    return calloc(n ? n : 1, size ? size : 1);
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

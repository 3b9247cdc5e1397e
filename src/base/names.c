/* names.c: an open-addressing table over XXH3, kept at most half full. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/base/base.h"
#include "src/base/names.h"

/* The slot that holds the name, or the free one where it belongs. */
static size_t probe(const weirp_names *names, uint64_t hash, const char *text, size_t len) {
    size_t mask = names->n_slots - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        size_t i = names->slot[at];
        if (!i) return at;
        i--;
        if (names->hash[i] == hash && names->len[i] == len && !memcmp(names->text[i], text, len)) return at;
    }
}

static bool grow_slots(weirp_names *names) {
    size_t n_slots = names->n_slots ? names->n_slots * 2 : 32;
    size_t *slot = weirp_array(n_slots, sizeof *slot);
    if (!slot) return false;
    for (size_t i = 0; i < names->n; i++) {
        size_t at = names->hash[i] & (n_slots - 1);
        while (slot[at]) at = (at + 1) & (n_slots - 1);
        slot[at] = i + 1;
    }
    free(names->slot);
    names->slot = slot;
    names->n_slots = n_slots;
    return true;
}

static bool grow_entries(weirp_names *names) {
    if (names->n < names->capacity) return true;
    size_t t = names->capacity, l = t, h = t, need = names->n + 1;
    bool ok = weirp_reserve((void **)&names->text, &t, need, sizeof *names->text) &&
              weirp_reserve((void **)&names->len, &l, need, sizeof *names->len) &&
              weirp_reserve((void **)&names->hash, &h, need, sizeof *names->hash);
    if (ok) names->capacity = t;
    return ok;
}

size_t weirp_names_find(const weirp_names *names, const char *text, size_t len) {
    if (!names->n) return WEIRP_NO_NAME;
    size_t i = names->slot[probe(names, XXH3_64bits(text, len), text, len)];
    return i ? i - 1 : WEIRP_NO_NAME;
}

size_t weirp_names_add(weirp_names *names, const char *text, size_t len, bool *added) {
    *added = false;
    if (names->n * 2 >= names->n_slots && !grow_slots(names)) return WEIRP_NO_NAME;
    uint64_t hash = XXH3_64bits(text, len);
    size_t at = probe(names, hash, text, len);
    if (names->slot[at]) return names->slot[at] - 1;
    if (!grow_entries(names)) return WEIRP_NO_NAME;
    char *copy = weirp_arena_text(&names->arena, text, len);
    if (!copy) return WEIRP_NO_NAME;
    size_t i = names->n++;
    names->text[i] = copy;
    names->len[i] = len;
    names->hash[i] = hash;
    names->slot[at] = i + 1;
    *added = true;
    return i;
}

void weirp_names_free(weirp_names *names) {
    free(names->text);
    free(names->len);
    free(names->hash);
    free(names->slot);
    weirp_arena_free(&names->arena);
    *names = (weirp_names){0};
}

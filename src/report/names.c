/* names.c: short names for models. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/report/show.h"

/* Are two of the n texts the same? Quadratic: reports show few models by name. */
static bool alike(char (*names)[WEIRP_CELL], size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0) return true;
    return false;
}

static const char *after_vendor(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash && slash[1] ? slash + 1 : name;
}

static bool separates(char c) {
    return strchr("-_./: ", c) != NULL;
}

/* Bytes that all names begin (or, with `from_end`, end) with, up to the last separator inside. */
static size_t common(char *const *names, size_t n, bool from_end) {
    size_t length = 0, at_separator = 0;
    for (;; length++) {
        char c = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t all = strlen(names[i]);
            if (length >= all) return at_separator;
            const char here = names[i][from_end ? all - 1 - length : length];
            if (i > 0 && here != c) return at_separator;
            c = here;
        }
        if (separates(c)) at_separator = length + 1;
    }
}

static void fit_all(char *const *names, size_t n, size_t columns, bool vendor, char (*out)[WEIRP_CELL]) {
    for (size_t i = 0; i < n; i++)
        weirp_text_fit(out[i], WEIRP_CELL, vendor ? names[i] : after_vendor(names[i]), columns);
}

static bool inside_character(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* The part of a name that is its own, [from, to), with as much of what surrounds it as `columns` bytes leave room for.
 */
static void fit_middle(const char *name, size_t from, size_t to, size_t columns, char *out) {
    const size_t length = strlen(name), own = to - from, room = columns > own + 2 ? columns - own - 2 : 0;
    const size_t after = length - to < room / 2 ? length - to : room / 2,
                 before = from < room - after ? from : room - after;
    from -= before, to += after;
    while (from > 0 && inside_character(name[from])) from--;
    while (to < length && inside_character(name[to])) to++;
    char text[2 * WEIRP_CELL];
    snprintf(text, sizeof text, "%s%.*s%s", from > 0 ? "…" : "", (int)(to - from), name + from, to < length ? "…" : "");
    weirp_text_fit(out, WEIRP_CELL, text, columns);
}

void weirp_short_names(char *const *names, size_t n, size_t columns, char (*out)[WEIRP_CELL]) {
    fit_all(names, n, WEIRP_CELL, false, out);
    const bool vendor = alike(out, n);
    fit_all(names, n, columns, vendor, out);
    if (n < 2 || !alike(out, n)) return;
    const size_t head = common(names, n, false), tail = common(names, n, true);
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) <= head + tail)
            return; /* all head and tail: they can't be told apart by what is between */
    for (size_t i = 0; i < n; i++) fit_middle(names[i], head, strlen(names[i]) - tail, columns, out[i]);
}

/* jline.h: one JSON text as a flat list of its values, for logs of millions of lines: no allocation a line, numbers and
 * texts read only where they are asked for.
 *
 * Written here, and not left to Jansson, because of what a tree costs: on a log's line of 11 models it is most of the
 * time that an evaluation takes (tests/bench/logged_bench.c). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_JLINE_H
#define WEIRP_JLINE_H

#include "src/base/base.h"

enum { WEIRP_JLINE_DEPTH = 64 };

typedef enum weirp_jtype {
    WEIRP_JNULL,
    WEIRP_JTRUE,
    WEIRP_JFALSE,
    WEIRP_JNUMBER,
    WEIRP_JTEXT,
    WEIRP_JOBJECT,
    WEIRP_JARRAY
} weirp_jtype;

typedef struct weirp_jvalue {
    uint8_t type;        /* weirp_jtype */
    bool escaped;        /* TEXT: has escapes that weirp_jline_text hasn't undone yet */
    uint32_t start, len; /* bytes of the text: a TEXT's are without quotes */
    uint32_t next;       /* index of the value after this one and all within it */
} weirp_jvalue;

typedef struct weirp_jline {
    char *text;          /* borrowed, and written to */
    weirp_jvalue *value; /* (n) in the order of the text; an object's are key, value, key, value, ...; 0 is the whole */
    size_t n, capacity;
    size_t column;     /* where it went wrong, from 1 */
    const char *wrong; /* what; static */
} weirp_jline;

/* Start from zeros. WEIR_PARSE: j->wrong and j->column say why (`err` isn't filled); WEIR_NOMEM. The text must be one
 * value below 2 GiB, and text[len] may be written to. */
weir_status weirp_jline_parse(weirp_jline *j, char *text, size_t len);
void weirp_jline_free(weirp_jline *j);

#define WEIRP_JNONE ((size_t)-1)

/* The value of an object's first member of that name, or WEIRP_JNONE. */
size_t weirp_jline_member(weirp_jline *j, size_t object, const char *key, size_t len);
/* Going over an object or an array: `for (size_t i = first(j, o); i < end(j, o); i = after(j, i))`. In an object keys
 * and values take turns. */
static inline size_t weirp_jline_first(size_t of) {
    return of + 1;
}
static inline size_t weirp_jline_after(const weirp_jline *j, size_t i) {
    return j->value[i].next;
}
/* A TEXT without its escapes, or the digits of a NUMBER; NUL-terminated, in the line's own memory. NULL: it holds a
 * NUL, or an escape that is none. */
const char *weirp_jline_text(weirp_jline *j, size_t i, size_t *len);
bool weirp_jline_number(const weirp_jline *j, size_t i, double *out); /* false: it isn't a number */

/* All of `text` as a decimal number, as weirp_number_parse, but fast: the nearest double. */
bool weirp_fast_number(const char *text, size_t len, double *out);

#endif

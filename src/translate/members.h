/* members.h: a light look at JSON text that isn't taken apart: where its members begin and end. Safe on any bytes; what
 * is not JSON gives some answer or none, never a wrong access. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_MEMBERS_H
#define WEIRP_TRANSLATE_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct weirp_member {
    const char *begin; /* after the comma (or brace) before it: white space, key, colon, value, white space */
    const char *key;   /* between its quotes, escapes as they stand */
    size_t key_len;
    const char *value;
    size_t value_len; /* without white space around it */
    const char *end;  /* at the comma or brace after it */
} weirp_member;

/* Goes through the members of an object. */
typedef struct weirp_members {
    const char *at, *end; /* what is left */
    bool failed;          /* this isn't an object: what has been found so far is not to be trusted */
    bool started, closed;
} weirp_members;

void weirp_members_init(weirp_members *m, const char *text, size_t len);
bool weirp_members_next(weirp_members *m, weirp_member *out); /* false: no more, or failed */
/* Where the object ends: after its brace. Only once members_next has given false without failing. */
const char *weirp_members_end(const weirp_members *m);
/* The member's key is this, escapes undone. */
bool weirp_member_is(const weirp_member *member, const char *key);

/* Goes through the elements of an array (`text` begins with its bracket): the next element's text, or NULL. *at is NULL
 * at first. */
const char *weirp_element_next(const char *text, size_t len, const char **at, size_t *element_len);

/* The end of the value that begins at `at` (after its last byte); NULL: it doesn't end before `end`. */
const char *weirp_json_skip(const char *at, const char *end);
/* The end of the string whose first quote is at `at`; NULL: it doesn't end. */
const char *weirp_json_skip_string(const char *at, const char *end);
/* How deep it is nested, and an upper bound on its values, keys not counted. */
void weirp_json_measure(const char *text, size_t len, size_t *depth, size_t *values);

#endif

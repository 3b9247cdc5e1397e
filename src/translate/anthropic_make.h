/* anthropic_make.h: for those who make requests as JSON trees, in both directions. Failed allocations are noted and
 * looked at once at the end: Jansson's functions that steal take NULL and fail.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_ANTHROPIC_MAKE_H
#define WEIRP_TRANSLATE_ANTHROPIC_MAKE_H

#include <string.h>

#include "src/translate/anthropic_parts.h"

typedef struct weirp_maker {
    json_t *system;   /* blocks; owned */
    json_t *messages; /* owned */
    json_t *blocks;   /* of the last message; borrowed */
    const char *role; /* of the last message; NULL: there is none */
    bool nomem;
    bool refused; /* the fault is filled */
    weirp_fault *fault;
    char at[48]; /* where in the request: "messages[3].content[0]" */
} weirp_maker;

/* Steals value; NULL is an allocation that failed. */
static inline void set(weirp_maker *m, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) m->nomem = true;
}

static inline void append(weirp_maker *m, json_t *array, json_t *value) {
    if (json_array_append_new(array, value)) m->nomem = true;
}

static inline json_t *share(json_t *json) {
    return json_incref(json);
}

static inline json_t *typed(weirp_maker *m, const char *type) {
    json_t *object = json_object();
    set(m, object, "type", json_string(type));
    return object;
}

static inline bool is(const json_t *string, const char *text) {
    return json_is_string(string) && !strcmp(json_string_value(string), text);
}

static inline bool blank(const json_t *string) {
    const char *text = json_string_value(string);
    size_t len = json_string_length(string), i = 0;
    while (i < len && strchr(" \t\r\n\f\v", text[i]) && text[i]) i++;
    return i == len;
}

/* ---- chat messages as Anthropic's (anthropic_content.c) ---- */

/* WEIR_INVALID, with the fault filled: the first one stays. */
weir_status weirp_make_refuse(weirp_maker *m, const char *member, const char *text);
/* A text block, unless the text is blank. Borrows both; cache_control may be NULL. */
void weirp_make_text(weirp_maker *m, json_t *blocks, json_t *text, json_t *cache_control);
/* The text of blocks that are one text and nothing else (borrowed), or NULL. */
json_t *weirp_make_sole_text(const json_t *blocks);
/* Fills m->messages and m->system. */
weir_status weirp_make_messages(weirp_maker *m, const json_t *messages);

#endif

/* yaml.h: a YAML (or JSON) file into C structs, as a schema says. libyaml parses; this checks and stores.
 *
 * Unknown, doubled, missing and wrong keys are errors that name file, line, key and what would be right. Depth, size
 * and what aliases unfold to are bounded. A key whose value is null counts as absent. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_YAML_H
#define WEIRP_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

typedef enum weirp_yaml_type {
    WEIRP_YAML_TEXT,   /* char *, new; NULL where absent without a default */
    WEIRP_YAML_NUMBER, /* double */
    WEIRP_YAML_COUNT,  /* int64_t: a whole number */
    WEIRP_YAML_FLAG,   /* bool: true or false */
    WEIRP_YAML_CHOICE, /* int: index into `choices` */
    WEIRP_YAML_MAP,    /* a struct in place, as `map` says; its defaults hold where it is absent */
    WEIRP_YAML_MAPS,   /* weirp_yaml_list of structs, as `map` says */
    WEIRP_YAML_TEXTS,  /* weirp_yaml_list of char * */
    WEIRP_YAML_PAIRS,  /* weirp_yaml_list of weirp_yaml_pair: keys of the user's own, with text values */
} weirp_yaml_type;

typedef struct weirp_yaml_list {
    size_t n;
    void *items; /* (n) new */
} weirp_yaml_list;

typedef struct weirp_yaml_pair {
    char *key, *value;
    size_t line;
} weirp_yaml_pair;

typedef struct weirp_yaml_map weirp_yaml_map;

/* One key. `right` ends the sentence "... must be RIGHT", with the unit, for instance "USD per million tokens, 0 or
 * more". */
typedef struct weirp_yaml_key {
    const char *name;
    weirp_yaml_type type;
    size_t offset; /* of the member in the struct */
    const char *right;
    bool required;
    double min, max;  /* NUMBER, COUNT: inclusive; both 0: any. The infinities (".inf") only where max is INFINITY */
    double fallback;  /* NUMBER, COUNT, FLAG, CHOICE where absent */
    const char *text; /* TEXT: default; NULL: none */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const weirp_yaml_map *map;  /* MAP, MAPS */
    bool has_line;              /* the struct has a size_t at line_offset that takes the key's line, 0 where absent */
    size_t line_offset;
} weirp_yaml_key;

struct weirp_yaml_map {
    const char *what; /* for messages: "a model" */
    size_t size;      /* of the struct */
    size_t n_keys;
    const weirp_yaml_key *keys; /* (n_keys) */
    bool has_line;              /* the struct has a size_t at line_offset that takes its line */
    size_t line_offset;
};

enum {
    WEIRP_YAML_MAX_BYTES = 16 << 20, /* of a file */
    WEIRP_YAML_MAX_DEPTH = 24,
    WEIRP_YAML_MAX_NODES = 1 << 20, /* with aliases unfolded */
};

/* Fills the struct at `out` (schema->size bytes; what it held is forgotten). Free its contents with weirp_yaml_free.
 * On failure nothing is left to free. `name` is for messages. */
weir_status weirp_yaml_load(const char *path, const weirp_yaml_map *schema, void *out, weir_error *err);
weir_status weirp_yaml_parse(const char *name, const char *text, size_t len, const weirp_yaml_map *schema, void *out,
                             weir_error *err);
void weirp_yaml_free(const weirp_yaml_map *schema, void *out); /* and makes it zero */

#endif

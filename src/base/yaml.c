/* yaml.c: a tree of YAML into structs, as a schema says. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/base/yaml.h"
#include "src/base/yaml_tree.h"

enum { MAX_KEYS = 64, SHOWN = 64 };

typedef struct decoder {
    const char *name; /* of the file */
    weir_error *err;
} decoder;

static const char *shown(char out[SHOWN], const weirp_yaml_node *node) {
    if (node->kind == WEIRP_YAML_NODE_LIST) return "a list";
    if (node->kind == WEIRP_YAML_NODE_MAP) return "a map";
    return node->len ? weirp_excerpt(out, SHOWN, node->text, node->len) : "empty";
}

static bool is_null(const weirp_yaml_node *node) {
    if (node->kind != WEIRP_YAML_NODE_SCALAR || node->quoted) return false;
    return !node->len || !strcmp(node->text, "~") || !strcmp(node->text, "null") || !strcmp(node->text, "Null") ||
           !strcmp(node->text, "NULL");
}

static weir_status wrong(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node,
                         const char *otherwise) {
    char text[SHOWN];
    return weirp_fail(d->err, WEIR_PARSE, node->line, "%s:%zu: key \"%s\" is %s: must be %s", d->name, node->line,
                      key->name, shown(text, node), key->right ? key->right : otherwise);
}

/* ---- values ---- */

static weir_status store_text(const decoder *d, char **slot, const char *text, size_t len) {
    *slot = weirp_strndup(text, len);
    return *slot ? WEIR_OK : weirp_nomem(d->err);
}

static bool infinite(const char *text, double *out) {
    bool minus = *text == '-';
    if (minus || *text == '+') text++;
    *out = minus ? -INFINITY : INFINITY;
    return !strcmp(text, ".inf") || !strcmp(text, ".Inf") || !strcmp(text, ".INF");
}

/* NUMBER and COUNT. NaN is never in range, and so never stored. */
static weir_status read_number(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node, double *out) {
    const char *otherwise = key->type == WEIRP_YAML_COUNT ? "a whole number" : "a number";
    if (node->kind != WEIRP_YAML_NODE_SCALAR || node->quoted) return wrong(d, key, node, otherwise);
    bool endless = infinite(node->text, out);
    if (!endless && (!weirp_number_parse(node->text, node->len, out) || !isfinite(*out)))
        return wrong(d, key, node, otherwise);
    bool ranged = key->min != 0 || key->max != 0;
    if (endless && !(ranged && (*out > 0 ? key->max == INFINITY : key->min == -INFINITY)))
        return wrong(d, key, node, otherwise);
    if (ranged && !(*out >= key->min && *out <= key->max)) {
        char text[SHOWN];
        if (key->right) return wrong(d, key, node, key->right);
        return weirp_fail(d->err, WEIR_PARSE, node->line, "%s:%zu: key \"%s\" is %s: must be from %g to %g", d->name,
                          node->line, key->name, shown(text, node), key->min, key->max);
    }
    /* beyond 2^53 a double skips whole numbers */
    if (key->type == WEIRP_YAML_COUNT && (*out != floor(*out) || fabs(*out) > 0x1p53))
        return wrong(d, key, node, otherwise);
    return WEIR_OK;
}

static weir_status read_flag(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node, bool *out) {
    bool plain = node->kind == WEIRP_YAML_NODE_SCALAR && !node->quoted;
    if (plain && !strcmp(node->text, "true"))
        *out = true;
    else if (plain && !strcmp(node->text, "false"))
        *out = false;
    else
        return wrong(d, key, node, "true or false");
    return WEIR_OK;
}

static weir_status read_choice(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node, int *out) {
    char list[256] = "";
    size_t used = 0, n = 0;
    for (; key->choices[n]; n++) {
        if (node->kind == WEIRP_YAML_NODE_SCALAR && !strcmp(node->text, key->choices[n])) {
            *out = (int)n;
            return WEIR_OK;
        }
        const char *comma = !n ? "" : key->choices[n + 1] ? ", " : " or ";
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", comma, key->choices[n]);
        if (wrote > 0 && (size_t)wrote < sizeof list - used) used += (size_t)wrote;
    }
    return wrong(d, key, node, list);
}

static weir_status read_map(const decoder *d, const weirp_yaml_map *map, const weirp_yaml_node *node, void *out);

static size_t n_children(const weirp_yaml_node *node) {
    size_t n = 0;
    for (const weirp_yaml_node *child = node->first; child; child = child->next) n++;
    return n;
}

static weir_status read_maps(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node,
                             weirp_yaml_list *list) {
    char otherwise[SHOWN];
    snprintf(otherwise, sizeof otherwise, "a list of maps, each %s", key->map->what);
    if (node->kind != WEIRP_YAML_NODE_LIST) return wrong(d, key, node, otherwise);
    list->items = weirp_array(n_children(node), key->map->size);
    if (!list->items) return weirp_nomem(d->err);
    for (const weirp_yaml_node *child = node->first; child; child = child->next) {
        if (child->kind != WEIRP_YAML_NODE_MAP) return wrong(d, key, child, otherwise);
        void *item = (char *)list->items + list->n++ * key->map->size;
        weir_status st = read_map(d, key->map, child, item);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status read_texts(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node,
                              weirp_yaml_list *list) {
    if (node->kind != WEIRP_YAML_NODE_LIST) return wrong(d, key, node, "a list of texts");
    char **items = list->items = weirp_array(n_children(node), sizeof *items);
    if (!items) return weirp_nomem(d->err);
    for (const weirp_yaml_node *child = node->first; child; child = child->next) {
        if (child->kind != WEIRP_YAML_NODE_SCALAR || is_null(child)) return wrong(d, key, child, "a list of texts");
        weir_status st = store_text(d, &items[list->n++], child->text, child->len);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status read_pairs(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node,
                              weirp_yaml_list *list) {
    if (node->kind != WEIRP_YAML_NODE_MAP) return wrong(d, key, node, "a map of names to texts");
    weirp_yaml_pair *items = list->items = weirp_array(n_children(node), sizeof *items);
    weirp_names seen = {0};
    weir_status st = items ? WEIR_OK : weirp_nomem(d->err);
    for (const weirp_yaml_node *child = node->first; child && st == WEIR_OK; child = child->next) {
        bool added;
        if (weirp_names_add(&seen, child->key, strlen(child->key), &added) == WEIRP_NO_NAME) {
            st = weirp_nomem(d->err);
        } else if (!added) {
            char text[SHOWN];
            st = weirp_fail(d->err, WEIR_PARSE, child->key_line, "%s:%zu: key \"%s\" comes twice in \"%s\"", d->name,
                            child->key_line, weirp_excerpt(text, SHOWN, child->key, strlen(child->key)), key->name);
        } else if (child->kind != WEIRP_YAML_NODE_SCALAR || is_null(child)) {
            st = wrong(d, key, child, "a map of names to texts");
        } else {
            weirp_yaml_pair *pair = &items[list->n++];
            pair->line = child->key_line;
            st = store_text(d, &pair->key, child->key, strlen(child->key));
            if (!st) st = store_text(d, &pair->value, child->text, child->len);
        }
    }
    weirp_names_free(&seen);
    return st;
}

static weir_status not_a_map(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node) {
    char otherwise[SHOWN];
    snprintf(otherwise, sizeof otherwise, "a map: %s", key->map->what);
    return wrong(d, key, node, otherwise);
}

static weir_status read_value(const decoder *d, const weirp_yaml_key *key, const weirp_yaml_node *node, void *slot) {
    weir_status st;
    double number;
    switch (key->type) {
    case WEIRP_YAML_TEXT:
        if (node->kind != WEIRP_YAML_NODE_SCALAR) return wrong(d, key, node, "a text");
        if (!node->len) return wrong(d, key, node, "a text that isn't empty");
        free(*(char **)slot); /* the default */
        return store_text(d, slot, node->text, node->len);
    case WEIRP_YAML_NUMBER: return read_number(d, key, node, slot);
    case WEIRP_YAML_COUNT:
        st = read_number(d, key, node, &number);
        if (st == WEIR_OK) *(int64_t *)slot = (int64_t)number;
        return st;
    case WEIRP_YAML_FLAG: return read_flag(d, key, node, slot);
    case WEIRP_YAML_CHOICE: return read_choice(d, key, node, slot);
    case WEIRP_YAML_MAP:
        if (node->kind != WEIRP_YAML_NODE_MAP) return not_a_map(d, key, node);
        weirp_yaml_free(key->map, slot); /* its defaults */
        return read_map(d, key->map, node, slot);
    case WEIRP_YAML_MAPS: return read_maps(d, key, node, slot);
    case WEIRP_YAML_TEXTS: return read_texts(d, key, node, slot);
    case WEIRP_YAML_PAIRS: return read_pairs(d, key, node, slot);
    }
    return WEIR_OK;
}

/* ---- maps ---- */

static weir_status set_defaults(const decoder *d, const weirp_yaml_map *map, char *out) {
    memset(out, 0, map->size);
    for (size_t k = 0; k < map->n_keys; k++) {
        const weirp_yaml_key *key = &map->keys[k];
        void *slot = out + key->offset;
        weir_status st = WEIR_OK;
        switch (key->type) {
        case WEIRP_YAML_TEXT:
            if (key->text) st = store_text(d, slot, key->text, strlen(key->text));
            break;
        case WEIRP_YAML_NUMBER: *(double *)slot = key->fallback; break;
        case WEIRP_YAML_COUNT: *(int64_t *)slot = (int64_t)key->fallback; break;
        case WEIRP_YAML_FLAG: *(bool *)slot = key->fallback != 0; break;
        case WEIRP_YAML_CHOICE: *(int *)slot = (int)key->fallback; break;
        case WEIRP_YAML_MAP: st = set_defaults(d, key->map, slot); break;
        default: break;
        }
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status unknown_key(const decoder *d, const weirp_yaml_map *map, const weirp_yaml_node *child) {
    const char *names[MAX_KEYS];
    for (size_t k = 0; k < map->n_keys; k++) names[k] = map->keys[k].name;
    const char *near = weirp_suggest(child->key, names, map->n_keys);
    char text[SHOWN], all[256] = "";
    size_t used = 0;
    for (size_t k = 0; k < map->n_keys && !near; k++) {
        int wrote = snprintf(all + used, sizeof all - used, "%s%s", k ? ", " : "", names[k]);
        if (wrote > 0 && (size_t)wrote < sizeof all - used) used += (size_t)wrote;
    }
    return weirp_fail(d->err, WEIR_PARSE, child->key_line, "%s:%zu: unknown key \"%s\" (%s%s%s)", d->name,
                      child->key_line, weirp_excerpt(text, SHOWN, child->key, strlen(child->key)),
                      near ? "did you mean \"" : "known: ", near ? near : all, near ? "\"?" : "");
}

static weir_status read_map(const decoder *d, const weirp_yaml_map *map, const weirp_yaml_node *node, void *out) {
    weir_status st = map->n_keys <= MAX_KEYS ? set_defaults(d, map, out)
                                             : weirp_fail(d->err, WEIR_INVALID, 0, "schema with too many keys");
    size_t first[MAX_KEYS] = {0}; /* line on which the key came; 0: not yet */
    for (const weirp_yaml_node *child = node->first; child && st == WEIR_OK; child = child->next) {
        size_t k = 0;
        while (k < map->n_keys && strcmp(child->key, map->keys[k].name)) k++;
        if (k == map->n_keys) return unknown_key(d, map, child);
        if (first[k])
            return weirp_fail(d->err, WEIR_PARSE, child->key_line, "%s:%zu: key \"%s\" comes twice (first on line %zu)",
                              d->name, child->key_line, map->keys[k].name, first[k]);
        first[k] = child->key_line;
        if (!is_null(child) && map->keys[k].has_line)
            memcpy((char *)out + map->keys[k].line_offset, &first[k], sizeof first[k]);
        if (!is_null(child))
            st = read_value(d, &map->keys[k], child, (char *)out + map->keys[k].offset);
        else if (map->keys[k].required)
            first[k] = 0;
    }
    for (size_t k = 0; k < map->n_keys && st == WEIR_OK; k++)
        if (map->keys[k].required && !first[k])
            st = weirp_fail(d->err, WEIR_PARSE, node->line, "%s:%zu: key \"%s\" is missing: %s needs it", d->name,
                            node->line, map->keys[k].name, map->what);
    if (st == WEIR_OK && map->has_line) {
        size_t line = node->line;
        memcpy((char *)out + map->line_offset, &line, sizeof line);
    }
    return st;
}

void weirp_yaml_free(const weirp_yaml_map *schema, void *out) {
    for (size_t k = 0; k < schema->n_keys; k++) {
        const weirp_yaml_key *key = &schema->keys[k];
        void *slot = (char *)out + key->offset;
        weirp_yaml_list *list = slot;
        switch (key->type) {
        case WEIRP_YAML_TEXT: free(*(char **)slot); break;
        case WEIRP_YAML_MAP: weirp_yaml_free(key->map, slot); break;
        case WEIRP_YAML_MAPS:
            for (size_t i = 0; i < list->n; i++) weirp_yaml_free(key->map, (char *)list->items + i * key->map->size);
            free(list->items);
            break;
        case WEIRP_YAML_TEXTS:
            for (size_t i = 0; i < list->n; i++) free(((char **)list->items)[i]);
            free(list->items);
            break;
        case WEIRP_YAML_PAIRS:
            for (size_t i = 0; i < list->n; i++) {
                free(((weirp_yaml_pair *)list->items)[i].key);
                free(((weirp_yaml_pair *)list->items)[i].value);
            }
            free(list->items);
            break;
        default: break;
        }
    }
    memset(out, 0, schema->size);
}

/* ---- files ---- */

weir_status weirp_yaml_parse(const char *name, const char *text, size_t len, const weirp_yaml_map *schema, void *out,
                             weir_error *err) {
    weirp_arena arena = {0};
    weirp_yaml_node *root;
    decoder d = {name, err};
    memset(out, 0, schema->size);
    weir_status st = weirp_yaml_tree(&root, &arena, name, text, len, err);
    if (st == WEIR_OK && (!root || root->kind != WEIRP_YAML_NODE_MAP))
        st = weirp_fail(err, WEIR_PARSE, root ? root->line : 0, "%s:%zu: must be a map: %s", name,
                        root ? root->line : (size_t)1, schema->what);
    if (st == WEIR_OK) st = read_map(&d, schema, root, out);
    if (st) weirp_yaml_free(schema, out);
    weirp_arena_free(&arena);
    return st;
}

weir_status weirp_yaml_load(const char *path, const weirp_yaml_map *schema, void *out, weir_error *err) {
    memset(out, 0, schema->size);
    FILE *file = fopen(path, "rb");
    if (!file) return weirp_fail_errno(err, errno, "can't open", path);
    char *text = NULL;
    size_t size = 0, capacity = 0;
    weir_status st = WEIR_OK;
    while (st == WEIR_OK) {
        if (!weirp_reserve((void **)&text, &capacity, size + 4096, 1)) {
            st = weirp_nomem(err);
            break;
        }
        size_t n = fread(text + size, 1, capacity - size, file);
        size += n;
        if (size > WEIRP_YAML_MAX_BYTES)
            st = weirp_fail(err, WEIR_PARSE, 0, "%s: larger than %d bytes", path, WEIRP_YAML_MAX_BYTES);
        else if (!n && ferror(file))
            st = weirp_fail_errno(err, errno, "can't read", path);
        else if (!n)
            break;
    }
    fclose(file);
    if (st == WEIR_OK) st = weirp_yaml_parse(path, text, size, schema, out, err);
    free(text);
    return st;
}

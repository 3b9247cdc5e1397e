/* yaml_tree.h: one YAML document as a tree of bounded depth and size. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_YAML_TREE_H
#define WEIRP_YAML_TREE_H

#include "src/base/arena.h"
#include "src/base/base.h"

typedef enum weirp_yaml_kind { WEIRP_YAML_NODE_SCALAR, WEIRP_YAML_NODE_LIST, WEIRP_YAML_NODE_MAP } weirp_yaml_kind;

typedef struct weirp_yaml_node {
    weirp_yaml_kind kind;
    bool quoted;      /* scalar: in quotes or a block, so that it is text whatever it looks like */
    size_t line;      /* from 1 */
    size_t weight;    /* nodes in it, aliases unfolded */
    const char *text; /* scalar: NUL-terminated */
    size_t len;       /* bytes of text */
    const char *key;  /* as a map's child: its key, NUL-terminated */
    size_t key_line;
    struct weirp_yaml_node *first, *next; /* children; siblings */
} weirp_yaml_node;

/* *root is borrowed from the arena; NULL for an empty document. */
weir_status weirp_yaml_tree(weirp_yaml_node **root, weirp_arena *arena, const char *name, const char *text, size_t len,
                            weir_error *err);

#endif

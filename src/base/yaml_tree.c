/* yaml_tree.c: libyaml's events to a tree. Events, not libyaml's own documents, so that depth and aliases are bounded
 * while they come in. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <yaml.h>

#include "src/base/words.h"
#include "src/base/yaml.h"
#include "src/base/yaml_tree.h"

enum { MAX_ANCHORS = 256 };

typedef struct frame {
    weirp_yaml_node *node; /* a list or map that isn't closed yet */
    weirp_yaml_node *last; /* its last child */
    const char *anchor;    /* NULL: none */
    const char *key;       /* map: the key that waits for its value */
    size_t key_line;
} frame;

typedef struct builder {
    const char *name;
    weirp_arena *arena;
    weir_error *err;
    frame stack[WEIRP_YAML_MAX_DEPTH];
    size_t depth;
    weirp_yaml_node *root;
    bool done; /* one document has been read */
    size_t weight;
    size_t n_anchors;
    struct {
        const char *name;
        weirp_yaml_node *node;
    } anchor[MAX_ANCHORS];
} builder;

static weir_status count(builder *b, size_t weight, size_t line) {
    b->weight += weight;
    if (b->weight > WEIRP_YAML_MAX_NODES)
        return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: too many values (aliases unfolded): at most %d are read",
                          b->name, line, WEIRP_YAML_MAX_NODES);
    return WEIR_OK;
}

static weir_status remember(builder *b, const char *anchor, weirp_yaml_node *node) {
    if (!anchor) return WEIR_OK;
    if (b->n_anchors == MAX_ANCHORS)
        return weirp_fail(b->err, WEIR_PARSE, node->line, "%s:%zu: too many anchors: at most %d are read", b->name,
                          node->line, MAX_ANCHORS);
    b->anchor[b->n_anchors].name = anchor;
    b->anchor[b->n_anchors++].node = node;
    return WEIR_OK;
}

/* Hangs a finished or opened node into what is open. A map's scalar child is its next key, in turn. */
static weir_status attach(builder *b, weirp_yaml_node *node) {
    if (!b->depth) {
        b->root = node;
        return WEIR_OK;
    }
    frame *f = &b->stack[b->depth - 1];
    if (f->node->kind == WEIRP_YAML_NODE_MAP && !f->key) {
        if (node->kind != WEIRP_YAML_NODE_SCALAR)
            return weirp_fail(b->err, WEIR_PARSE, node->line, "%s:%zu: a key must be plain text, not a list or map",
                              b->name, node->line);
        f->key = node->text;
        f->key_line = node->line;
        return WEIR_OK;
    }
    node->key = f->key;
    node->key_line = f->key_line;
    f->key = NULL;
    if (f->last)
        f->last->next = node;
    else
        f->node->first = node;
    f->last = node;
    return WEIR_OK;
}

static weirp_yaml_node *make(builder *b, weirp_yaml_kind kind, size_t line) {
    weirp_yaml_node *node = weirp_arena_take(b->arena, sizeof *node);
    if (node) *node = (weirp_yaml_node){.kind = kind, .line = line, .weight = 1};
    return node;
}

static weir_status copy_text(builder *b, const char **out, const yaml_char_t *text, size_t len) {
    *out = NULL;
    if (!text) return WEIR_OK;
    *out = weirp_arena_text(b->arena, (const char *)text, len);
    return *out ? WEIR_OK : weirp_nomem(b->err);
}

static weir_status on_scalar(builder *b, const yaml_event_t *e, size_t line) {
    weir_status st;
    const char *anchor;
    const yaml_char_t *a = e->data.scalar.anchor;
    weirp_yaml_node *node = make(b, WEIRP_YAML_NODE_SCALAR, line);
    if (!node) return weirp_nomem(b->err);
    WEIRP_TRY(copy_text(b, &node->text, e->data.scalar.value, e->data.scalar.length));
    WEIRP_TRY(copy_text(b, &anchor, a, a ? strlen((const char *)a) : 0));
    node->len = e->data.scalar.length;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (memchr(node->text, 0, node->len))
        return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: a text may not hold a NUL character", b->name, line);
    WEIRP_TRY(remember(b, anchor, node));
    st = attach(b, node);
done:
    return st;
}

static weir_status on_open(builder *b, weirp_yaml_kind kind, const yaml_char_t *anchor, size_t line) {
    weir_status st;
    const char *anchor_copy;
    if (b->depth == WEIRP_YAML_MAX_DEPTH)
        return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: nested too deeply: at most %d levels are read", b->name,
                          line, WEIRP_YAML_MAX_DEPTH);
    weirp_yaml_node *node = make(b, kind, line);
    if (!node) return weirp_nomem(b->err);
    WEIRP_TRY(copy_text(b, &anchor_copy, anchor, anchor ? strlen((const char *)anchor) : 0));
    WEIRP_TRY(attach(b, node));
    b->stack[b->depth++] = (frame){.node = node, .anchor = anchor_copy};
done:
    return st;
}

static weir_status on_close(builder *b) {
    frame *f = &b->stack[--b->depth];
    for (weirp_yaml_node *child = f->node->first; child; child = child->next) f->node->weight += child->weight;
    return remember(b, f->anchor, f->node); /* only now: an alias within itself finds nothing */
}

static weir_status on_alias(builder *b, const char *anchor, size_t line) {
    for (size_t i = b->n_anchors; i-- > 0;) {
        if (strcmp(b->anchor[i].name, anchor)) continue;
        weir_status st = count(b, b->anchor[i].node->weight, line);
        if (st) return st;
        weirp_yaml_node *node = make(b, b->anchor[i].node->kind, line);
        if (!node) return weirp_nomem(b->err);
        *node = *b->anchor[i].node;
        node->line = line;
        node->next = NULL;
        node->key = NULL;
        return attach(b, node);
    }
    char shown[48];
    return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: \"*%s\" names no anchor that comes before it", b->name, line,
                      weirp_excerpt(shown, sizeof shown, anchor, strlen(anchor)));
}

static weir_status no_tag(builder *b, const yaml_char_t *tag, size_t line) {
    if (!tag) return WEIR_OK;
    char shown[64];
    return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: tags such as \"%s\" aren't read: leave it out", b->name, line,
                      weirp_excerpt(shown, sizeof shown, (const char *)tag, strlen((const char *)tag)));
}

static weir_status on_event(builder *b, const yaml_event_t *e) {
    weir_status st;
    size_t line = e->start_mark.line + 1;
    WEIRP_TRY(count(b, 1, line));
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->done)
            return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: a second document begins: there must be one", b->name,
                              line);
        break;
    case YAML_DOCUMENT_END_EVENT: b->done = true; break;
    case YAML_SCALAR_EVENT:
        WEIRP_TRY(no_tag(b, e->data.scalar.tag, line));
        WEIRP_TRY(on_scalar(b, e, line));
        break;
    case YAML_SEQUENCE_START_EVENT:
        WEIRP_TRY(no_tag(b, e->data.sequence_start.tag, line));
        WEIRP_TRY(on_open(b, WEIRP_YAML_NODE_LIST, e->data.sequence_start.anchor, line));
        break;
    case YAML_MAPPING_START_EVENT:
        WEIRP_TRY(no_tag(b, e->data.mapping_start.tag, line));
        WEIRP_TRY(on_open(b, WEIRP_YAML_NODE_MAP, e->data.mapping_start.anchor, line));
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: WEIRP_TRY(on_close(b)); break;
    case YAML_ALIAS_EVENT: WEIRP_TRY(on_alias(b, (const char *)e->data.alias.anchor, line)); break;
    default: break;
    }
    st = WEIR_OK;
done:
    return st;
}

static weir_status syntax_error(builder *b, const yaml_parser_t *p) {
    if (p->error == YAML_MEMORY_ERROR) return weirp_nomem(b->err);
    if (p->error == YAML_READER_ERROR)
        return weirp_fail(b->err, WEIR_PARSE, 0, "%s: byte %zu: %s: the file must be UTF-8", b->name, p->problem_offset,
                          p->problem ? p->problem : "unreadable");
    size_t line = p->problem_mark.line + 1;
    return weirp_fail(b->err, WEIR_PARSE, line, "%s:%zu: not YAML: %s%s%s (column %zu)", b->name, line,
                      p->problem ? p->problem : "syntax error", p->context ? ", " : "", p->context ? p->context : "",
                      p->problem_mark.column + 1);
}

weir_status weirp_yaml_tree(weirp_yaml_node **root, weirp_arena *arena, const char *name, const char *text, size_t len,
                            weir_error *err) {
    *root = NULL;
    builder *b = weirp_arena_take(arena, sizeof *b);
    yaml_parser_t parser;
    if (!b || !yaml_parser_initialize(&parser)) return weirp_nomem(err);
    *b = (builder){.name = name, .arena = arena, .err = err};
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    weir_status st = WEIR_OK;
    for (bool end = false; !end && st == WEIR_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            st = syntax_error(b, &parser);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        st = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (st == WEIR_OK) *root = b->root;
    return st;
}

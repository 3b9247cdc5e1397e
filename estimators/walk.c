/* walk.c: blocks of three levels, and walks through them.
 *
 * What a decision costs that comes after others have had the caches is the lines it touches, and how many of them are
 * waited for at a time. A node's children lie next to it only if lines hold subtrees, not levels (van Emde Boas's
 * layout, cut at the size of a line; Prokop, Cache-oblivious algorithms, MIT 1999, section 2.2 of the static trees
 * there): a walk of 12 steps touches 4 lines. All trees take the steps of one block each before any goes on, and each
 * sends for what it needs next, so that by the time its turn comes again that has arrived.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/walk.h"

#include <stdlib.h>
#include <string.h>

enum { NODES = 7, EXITS = 8, TO_LEAF = 0x80, LINE = 64 };

/* Node i leads to nodes 2i + 1 and 2i + 2, nodes past the last are exits. Below a leaf the nodes are empty (feature 0,
 * threshold 0): both sides lead to that leaf. */
struct weirp_block {
    float threshold[EXITS];  /* to the left when below; the last is unused */
    uint16_t feature[EXITS]; /* the same */
    uint8_t to[EXITS];       /* distance from `block`, or from `leaf` with TO_LEAF */
    uint32_t block, leaf;    /* the first block and the first leaf that exits lead to */
};
_Static_assert(sizeof(weirp_block) == LINE, "a block is a cache line");

static bool is_leaf(const weirp_step *s) {
    return (s->threshold & ~WEIRP_LEAF_MASK) == WEIRP_LEAF_BITS;
}

static uint32_t left_of(const weirp_step *s) {
    return s->next & WEIRP_LEFT_MASK;
}

/* ---- steps ---- */

/* Breadth-first, a node's children are the next two that nobody has; so paths end, and every node has one parent. */
static bool sound_tree(const weirp_steps *s, size_t t, size_t dim) {
    const weirp_step *root = s->step + s->first[t];
    uint32_t n = s->first[t + 1] - s->first[t], leaves = 0, taken = 1, level_end = 1, depth = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == level_end) level_end = taken, depth++;
        if (i >= taken) return false;
        if (is_leaf(&root[i])) {
            if (root[i].next != ((i - 1) & WEIRP_LEFT_MASK) || (root[i].threshold & WEIRP_LEAF_MASK) != leaves++)
                return false;
            continue;
        }
        if (root[i].next >> WEIRP_LEFT_BITS >= dim || left_of(&root[i]) != taken || taken + 2 > n) return false;
        taken += 2;
    }
    return taken == n && leaves == s->first_leaf[t + 1] - s->first_leaf[t] && depth <= s->depth[t] &&
           s->depth[t] <= WEIRP_TREE_DEPTH;
}

bool weirp_steps_sound(const weirp_steps *s, size_t dim) {
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        if (!sound_tree(s, t, dim)) return false;
    return true;
}

/* ---- laying out ---- */

/* A block to be made: where its root is. */
typedef struct place {
    const weirp_step *tree; /* its first step */
    uint32_t node, first_leaf;
} place;

/* A block's nodes within the tree; what is below a leaf is that leaf. at: (NODES + EXITS). */
static void spread(const weirp_step *tree, uint32_t root, uint32_t at[NODES + EXITS]) {
    at[0] = root;
    for (uint32_t i = 0; i < NODES; i++) {
        bool leaf = is_leaf(&tree[at[i]]);
        at[2 * i + 1] = leaf ? at[i] : left_of(&tree[at[i]]);
        at[2 * i + 2] = leaf ? at[i] : left_of(&tree[at[i]]) + 1;
    }
}

/* Makes block number `index` of places that end at *n_places, and puts there those of the blocks below it. */
static void make_block(weirp_block *b, place *places, size_t index, size_t *n_places, uint32_t *n_rows, uint32_t *row) {
    place p = places[index];
    uint32_t at[NODES + EXITS], blocks = 0, leaves = 0, last = UINT32_MAX;
    memset(b, 0, sizeof *b);
    b->block = (uint32_t)*n_places;
    b->leaf = *n_rows;
    spread(p.tree, p.node, at);
    for (uint32_t i = 0; i < NODES; i++) {
        const weirp_step *s = &p.tree[at[i]];
        if (is_leaf(s)) continue;
        memcpy(&b->threshold[i], &s->threshold, sizeof s->threshold);
        b->feature[i] = (uint16_t)(s->next >> WEIRP_LEFT_BITS);
    }
    for (uint32_t e = 0; e < EXITS; e++) {
        uint32_t node = at[NODES + e];
        if (is_leaf(&p.tree[node])) {
            if (node != last) row[p.first_leaf + (p.tree[node].threshold & WEIRP_LEAF_MASK)] = b->leaf + leaves++;
            b->to[e] = (uint8_t)(TO_LEAF | (leaves - 1));
        } else {
            places[(*n_places)++] = (place){p.tree, node, p.first_leaf};
            b->to[e] = (uint8_t)blocks++;
        }
        last = node;
    }
    *n_rows += leaves;
}

/* Blocks begin at every third level. */
static size_t count_blocks(const weirp_steps *s) {
    size_t blocks = WEIRP_N_TREES;
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        const weirp_step *root = s->step + s->first[t];
        uint32_t n = s->first[t + 1] - s->first[t], level = 0, level_end = 1, taken = 1;
        for (uint32_t i = 0; i < n; i++) {
            if (i == level_end) level_end = taken, level = (level + 1) % 3;
            if (is_leaf(&root[i])) continue;
            taken += 2;
            blocks += i && level == 0;
        }
    }
    return blocks;
}

weirp_walk *weirp_walk_new(const weirp_steps *s, size_t dim, uint32_t *row) {
    size_t n = count_blocks(s), n_places = WEIRP_N_TREES;
    uint32_t n_rows = 0;
    weirp_walk *w = weirp_array(1, sizeof *w);
    place *places = weirp_array(n, sizeof *places);
    weirp_block *block = weirp_large(n, sizeof *block);
    if (!w || !places || !block) {
        free(w);
        free(places);
        free(block);
        return NULL;
    }
    for (size_t t = 0; t < WEIRP_N_TREES; t++) places[t] = (place){s->step + s->first[t], 0, s->first_leaf[t]};
    for (size_t i = 0; i < n; i++) make_block(&block[i], places, i, &n_places, &n_rows, row);
    free(places);
    atomic_init(&w->refs, 1);
    w->n_blocks = n;
    w->dim = dim;
    w->block = block;
    memcpy(w->first, s->first, sizeof w->first);
    memcpy(w->first_leaf, s->first_leaf, sizeof w->first_leaf);
    memcpy(w->depth, s->depth, sizeof w->depth);
    return w;
}

weirp_walk *weirp_walk_keep(weirp_walk *w) {
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    return w;
}

void weirp_walk_free(weirp_walk *w) {
    if (!w || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1) return;
    free(w->block);
    free(w);
}

/* ---- and back ---- */

/* A node of a block, with the exits [exit, exit + n) below it; n == 0: a leaf, whose row is `block`. */
typedef struct spot {
    uint32_t block;
    uint8_t node, exit, n;
} spot;

/* The exits below an empty node are all one. */
static spot resolve(const weirp_block *all, spot s) {
    const weirp_block *b = &all[s.block];
    uint8_t to = b->to[s.exit];
    if (to != b->to[s.exit + s.n - 1]) return s;
    return to & TO_LEAF ? (spot){b->leaf + (to & ~TO_LEAF), 0, 0, 0} : (spot){b->block + to, 0, 0, EXITS};
}

bool weirp_walk_steps(const weirp_walk *w, weirp_step *step, uint32_t *row) {
    size_t most = 0;
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        if (w->first[t + 1] - w->first[t] > most) most = w->first[t + 1] - w->first[t];
    spot *queue = weirp_array(most, sizeof *queue);
    if (!queue) return false;
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        weirp_step *to = step + w->first[t];
        uint32_t n = 1, leaves = 0;
        queue[0] = resolve(w->block, (spot){(uint32_t)t, 0, 0, EXITS});
        for (uint32_t i = 0; i < n; i++) {
            spot s = queue[i];
            if (!s.n) {
                to[i] = (weirp_step){WEIRP_LEAF_BITS | leaves, (i - 1) & WEIRP_LEFT_MASK};
                row[w->first_leaf[t] + leaves++] = s.block;
                continue;
            }
            const weirp_block *b = &w->block[s.block];
            uint8_t half = s.n / 2, left = (uint8_t)(2 * s.node + 1);
            memcpy(&to[i].threshold, &b->threshold[s.node], sizeof to[i].threshold);
            to[i].next = (uint32_t)b->feature[s.node] << WEIRP_LEFT_BITS | n;
            queue[n++] = resolve(w->block, (spot){s.block, left, s.exit, half});
            queue[n++] = resolve(w->block, (spot){s.block, (uint8_t)(left + 1), (uint8_t)(s.exit + half), half});
        }
    }
    free(queue);
    return true;
}

/* ---- walking ---- */

/* The exit that x takes from a block. */
static inline uint32_t leave(const weirp_block *b, const float *x) {
    uint32_t i = 1 + !(x[b->feature[0]] < b->threshold[0]);
    i = 2 * i + 1 + !(x[b->feature[i]] < b->threshold[i]);
    i = 2 * i + 1 + !(x[b->feature[i]] < b->threshold[i]);
    return i - NODES;
}

/* Takes every tree from block to block. The trees that have come to a leaf drop out of `at`, without a branch, for
 * which they are can't be foreseen. */
static void walk(const weirp_block *block, const float *x, uint32_t *leaf, const char *value, size_t size) {
    uint32_t at[WEIRP_N_TREES];
    uint16_t tree[WEIRP_N_TREES];
    size_t n = WEIRP_N_TREES, last = size ? size - 1 : 0;
    for (uint32_t t = 0; t < WEIRP_N_TREES; t++) {
        __builtin_prefetch(block + t, 0, 2);
        at[t] = t;
        tree[t] = (uint16_t)t;
    }
    while (n) {
        size_t on = 0;
        for (size_t i = 0; i < n; i++) {
            const weirp_block *b = block + at[i];
            uint32_t to = b->to[leave(b, x)], done = to >> 7, row = b->leaf + (to & (TO_LEAF - 1));
            uint32_t next = b->block + to;
            uint16_t t = tree[i];
            uintptr_t begin = (uintptr_t)value + row * size, line = (uintptr_t)block + (size_t)next * LINE;
            __builtin_prefetch((const void *)(done ? begin : line), 0, 2);
            /* a row may end in the next line; asking for a line twice would take up a place among those under way */
            __builtin_prefetch((const void *)(done ? begin + last : (uintptr_t)b), 0, 2);
            leaf[t] = row; /* for good, the last time */
            at[on] = next;
            tree[on] = t;
            on += 1 - done;
        }
        n = on;
    }
}

void weirp_walk_leaves(const weirp_walk *w, const float *x, uint32_t *leaf, const float *value, size_t n_models) {
    static const float nothing[1]; /* empty nodes look at feature 0 */
    walk(w->block, w->dim ? x : nothing, leaf, (const char *)value, n_models * sizeof *value);
}

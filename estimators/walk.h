/* walk.h: trees laid out for walking them with cold caches: three levels are one cache line, and all trees go down
 * together, so that their misses wait at the same time.
 *
 * A store holds trees as steps, breadth-first; loading lays them out, saving puts them back. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_WALK_H
#define WEIRP_WALK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "estimators/trees.h"

/* A node as it is stored. A tree's nodes are in breadth-first order, its leaves numbered in that order; the left child
 * of a node is followed by the right one. */
typedef struct weirp_step {
    uint32_t threshold; /* a float's bits; of a leaf: a quiet NaN, below whose own bits its number within the tree is */
    uint32_t next;      /* feature << WEIRP_LEFT_BITS | left child within the tree; of a leaf: the node before it */
} weirp_step;
#define WEIRP_LEFT_BITS    22u
#define WEIRP_LEFT_MASK    ((1u << WEIRP_LEFT_BITS) - 1)
#define WEIRP_LEAF_BITS    0x7fc00000u
#define WEIRP_LEAF_MASK    0x003fffffu
#define WEIRP_MAX_FEATURES (1u << (32 - WEIRP_LEFT_BITS))

/* All trees as they are stored. */
typedef struct weirp_steps {
    weirp_step *step;                       /* (first[WEIRP_N_TREES]) */
    uint32_t first[WEIRP_N_TREES + 1];      /* where a tree's steps begin */
    uint32_t first_leaf[WEIRP_N_TREES + 1]; /* where its leaves' rows begin */
    uint32_t depth[WEIRP_N_TREES];
} weirp_steps;

typedef struct weirp_block weirp_block;

/* All trees as they are walked. Immutable, shared by whoever holds it. */
typedef struct weirp_walk {
    atomic_uint refs;
    size_t n_blocks, dim;
    weirp_block *block; /* (n_blocks) the roots' first, one a tree, then level after level */
    uint32_t first[WEIRP_N_TREES + 1], first_leaf[WEIRP_N_TREES + 1], depth[WEIRP_N_TREES];
} weirp_walk;

/* Whether these bytes are trees: breadth-first, every feature below dim, no deeper than they say. */
bool weirp_steps_sound(const weirp_steps *s, size_t dim);
/* Lays out sound steps; NULL: out of memory. row (n leaves) gets the row that each leaf has from now on. */
weirp_walk *weirp_walk_new(const weirp_steps *s, size_t dim, uint32_t *row);
weirp_walk *weirp_walk_keep(weirp_walk *w);
void weirp_walk_free(weirp_walk *w); /* NULL is fine */
/* The reverse, into room for as many steps and rows; false: out of memory. */
bool weirp_walk_steps(const weirp_walk *w, weirp_step *step, uint32_t *row);

static inline size_t weirp_walk_n_leaves(const weirp_walk *w) {
    return w->first_leaf[WEIRP_N_TREES];
}

/* Where x leads in each tree: leaf (WEIRP_N_TREES) gets the leaves' rows; those rows of `value` (rows, n_models) are
 * sent for. */
void weirp_walk_leaves(const weirp_walk *w, const float *x, uint32_t *leaf, const float *value, size_t n_models);

#endif

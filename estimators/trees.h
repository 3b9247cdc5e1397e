/* trees.h: growing the trees of a forest: splits, out-of-bag predictions, hierarchical shrinkage. forest.c makes an
 * estimator of them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TREES_H
#define WEIRP_TREES_H

#include "estimators/estimator.h"

#define WEIRP_N_TREES        256u
#define WEIRP_TREE_DEPTH     40u /* deeper nodes become leaves */
#define WEIRP_TREE_MAX_NODES (1u << 26)
#define WEIRP_LANES          8u /* sums are formed lane by lane, whatever the threads; trees are walked so, too */

/* A node of a tree while it grows. */
typedef struct weirp_tree_node {
    float threshold;  /* to `left` when below, else to left + 1 */
    uint32_t left;    /* within the tree; the node itself in a leaf */
    uint32_t feature; /* 0 in a leaf */
} weirp_tree_node;

/* What the trees of one fit share. */
typedef struct weirp_ground {
    const weirp_sample *s; /* borrowed */
    float *z;              /* (n, n_models) split targets, nothing missing */
    double *mean, *share;  /* (n_models): root means; share of rows that have a label */
    size_t n_bag, least_leaf, n_try;
} weirp_ground;

/* A tree while it grows, and what hierarchical shrinkage needs of every node. */
typedef struct weirp_tree {
    weirp_tree_node *node;
    size_t n_nodes, capacity, depth, n_leaves;
    float *mean;  /* (n_nodes, n_models) of in-bag labels; the parent's where there is none */
    float *count; /* (n_nodes, n_models) in-bag labels */
    uint32_t *parent;
    size_t mean_capacity, count_capacity, parent_capacity;
    uint32_t *bag; /* (n_bag) rows, reordered so that a node's are together */
    uint32_t *swap;
    uint8_t *in_bag; /* (n) */
    uint64_t seed, draws;
} weirp_tree;

/* A lane's share of the out-of-bag sums. */
typedef struct weirp_lane {
    double *sum; /* (n_settings, n, n_models) */
    uint32_t *n; /* (n) trees that didn't see the row */
    bool failed;
} weirp_lane;

/* All trees of a fit. */
typedef struct weirp_trees {
    const weirp_ground *g; /* borrowed */
    const double *lambda;
    size_t n_settings;
    bool out_of_bag;
    weirp_tree *tree; /* (WEIRP_N_TREES); NULL: trees are dropped once their out-of-bag rows are counted */
    weirp_lane lane[WEIRP_LANES];
    size_t n_threads;
} weirp_trees;

/* Fills *g, which borrows the sample. */
weir_status weirp_ground_make(weirp_ground *g, const weirp_sample *s, weir_error *err);
void weirp_ground_free(weirp_ground *g);

/* Grows all trees, with the sample's threads; the same trees and sums whatever their number. */
weir_status weirp_trees_grow(weirp_trees *w, weir_error *err);
/* Out-of-bag means, (n_settings, n, n_models); a row that every tree has seen gets the constants. */
void weirp_trees_held_out(const weirp_trees *w, double *predicted);
void weirp_trees_free(weirp_trees *w);

/* Values of all nodes of a tree at one lambda: (n_nodes, n_models). */
void weirp_tree_shrink(const weirp_tree *t, const weirp_ground *g, double lambda, float *value);

#endif

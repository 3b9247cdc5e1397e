/* forest.c: extremely randomised trees with hierarchical shrinkage.
 *
 * Trees: Geurts, Ernst, Wehenkel, Extremely randomized trees, Machine Learning 63, 2006: each on a bootstrap sample,
 * one random threshold for each of a random share of the features, the split with the largest drop of squared error
 * taken. The error is that of sqrt2 y - (sqrt2 - 1) mean_models(y): a model's deviation from the prompt's mean counts
 * double, for only differences between models move a decision. Leaves: Agarwal, Tan, Ronen, Singh, Yu, Hierarchical
 * shrinkage, ICML 2022: v_child = v_parent + (mean_child - mean_parent) / (1 + lambda / n_parent), so that a thin leaf
 * says what its ancestors say. lambda is the setting, judged on out-of-bag rows.
 *
 * Missing cells: counts and means are per model; a missing cell is imputed for the choice of splits alone. A model with
 * labels on a share s of the prompts moves with the pool's mean deviation in so far as (1 - s) and its own shrinkage
 * leave room; one without labels is the pool's mean and moves with it entirely.
 *
 * Learning: a label moves its leaf in each tree as if the leaf's value were a mean of its rows and lambda pseudo-rows.
 * Splits and ancestors stay as fitted, so this is recursive but not what a refit would give.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/classes.h"
#include "estimators/estimator.h"

#define N_TREES       256u
#define BAG_SHARE     0.7   /* of the rows, drawn with replacement, for each tree */
#define FEATURE_SHARE 0.25  /* of the features, tried at each node */
#define LEAST_LEAF    4u    /* rows; n/1000 where that is more, which also keeps trees in the cache */
#define SPLIT_ROWS    1024u /* a larger node judges its splits on so many of its rows */
#define MAX_DEPTH     40u   /* deeper nodes become leaves */
#define LANES         8u    /* trees walked together; also sums are formed lane by lane, whatever the threads */
#define POOL_PRIOR    5.0   /* a model's mean counts as this many rows of the pool's */
#define FORMAT        1u
#define MAX_NODES     (1u << 26)

static const double lambdas[] = {1, 3, 10, 30, 100, 300, 1000};
enum { N_SETTINGS = sizeof lambdas / sizeof *lambdas };

/* A node of a tree while it grows. */
typedef struct node {
    float threshold;  /* to `left` when below, else to left + 1 */
    uint32_t left;    /* within the tree; the node itself in a leaf */
    uint32_t feature; /* 0 in a leaf */
} node;

/* A node of a tree that is walked: eight to a cache line, in breadth-first order, so that a tree's first three levels
 * are one line. No number is below a NaN: a leaf leads to its own "right", itself, and trees of different depth can be
 * walked in step; the bits below the NaN's own say which row of the tree's values it is. */
typedef struct step {
    uint32_t threshold; /* a float's bits */
    uint32_t next;      /* feature << LEFT_BITS | left child within the tree; of a leaf: the node before it */
} step;
#define LEFT_BITS    22u
#define LEFT_MASK    ((1u << LEFT_BITS) - 1)
#define LEAF_BITS    0x7fc00000u /* a quiet NaN */
#define LEAF_MASK    0x003fffffu
#define MAX_FEATURES (1u << (32 - LEFT_BITS))

typedef struct forest {
    weirp_estimator base;
    double lambda, lo, hi;
    double n_effective;               /* rows that a prediction rests on (1 / sum of squared weights) */
    double *mean;                     /* (n_models) root means, shrunk to the pool's */
    double *variance;                 /* (n_models) of out-of-bag residuals */
    uint32_t first[N_TREES + 1];      /* a tree's nodes are steps[first[t]] .. */
    uint32_t first_leaf[N_TREES + 1]; /* and its leaves' values begin at this row */
    uint32_t depth[N_TREES];
    step *steps;
    float *value; /* (first_leaf[N_TREES], n_models) */
    float *count; /* (first_leaf[N_TREES], n_models) rows behind it */
} forest;

static size_t n_leaves(const forest *f) {
    return f->first_leaf[N_TREES];
}

/* ---- growing one tree ---- */

/* What the trees of one fit share. */
typedef struct ground {
    const weirp_sample *s; /* borrowed */
    float *z;              /* (n, n_models) split targets, nothing missing */
    double *mean, *share;  /* (n_models): root means; share of rows that have a label */
    size_t n_bag, least_leaf, n_try;
} ground;

/* A tree while it grows, and what hierarchical shrinkage needs of every node. */
typedef struct tree {
    node *node;
    size_t n_nodes, capacity, depth, n_leaves;
    float *mean;  /* (n_nodes, n_models) of in-bag labels; the parent's where there is none */
    float *count; /* (n_nodes, n_models) in-bag labels */
    uint32_t *parent;
    size_t mean_capacity, count_capacity, parent_capacity;
    uint32_t *bag; /* (n_bag) rows, reordered so that a node's are together */
    uint32_t *swap;
    uint8_t *in_bag; /* (n) */
    uint64_t seed, draws;
} tree;

static void tree_free(tree *t) {
    free(t->node);
    free(t->mean);
    free(t->count);
    free(t->parent);
    free(t->bag);
    free(t->swap);
    free(t->in_bag);
    memset(t, 0, sizeof *t);
}

static double draw(tree *t) {
    return weirp_random_uniform(t->seed, 1, t->draws++);
}

static bool tree_begin(tree *t, const ground *g, uint64_t seed) {
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->bag = weirp_array(g->n_bag, sizeof *t->bag);
    t->swap = weirp_array(g->n_bag, sizeof *t->swap);
    t->in_bag = weirp_array(g->s->n, 1);
    if (!t->bag || !t->swap || !t->in_bag) return false;
    for (size_t i = 0; i < g->n_bag; i++) {
        t->bag[i] = (uint32_t)(draw(t) * (double)g->s->n);
        t->in_bag[t->bag[i]] = 1;
    }
    return true;
}

static bool add_node(tree *t, const ground *g, uint32_t parent, const uint32_t *row, size_t n) {
    size_t k = g->s->n_models, i = t->n_nodes;
    if (i >= MAX_NODES || !weirp_reserve((void **)&t->node, &t->capacity, i + 1, sizeof *t->node) ||
        !weirp_reserve((void **)&t->mean, &t->mean_capacity, (i + 1) * k, sizeof *t->mean) ||
        !weirp_reserve((void **)&t->count, &t->count_capacity, (i + 1) * k, sizeof *t->count) ||
        !weirp_reserve((void **)&t->parent, &t->parent_capacity, i + 1, sizeof *t->parent))
        return false;
    t->n_nodes++;
    t->node[i] = (node){0, (uint32_t)i, 0};
    t->parent[i] = parent;
    float *mean = t->mean + i * k, *count = t->count + i * k;
    memset(mean, 0, k * sizeof *mean);
    memset(count, 0, k * sizeof *count);
    for (size_t r = 0; r < n; r++) {
        const double *y = g->s->target + (size_t)row[r] * k;
        for (size_t m = 0; m < k; m++)
            if (!isnan(y[m])) mean[m] += (float)y[m], count[m]++;
    }
    const float *above = i ? t->mean + parent * k : NULL;
    for (size_t m = 0; m < k; m++) mean[m] = count[m] > 0 ? mean[m] / count[m] : above ? above[m] : (float)g->mean[m];
    return true;
}

typedef struct split {
    double gain;
    uint32_t feature;
    float threshold;
} split;

/* Sum of squares between the two sides, for one feature and threshold. */
static double split_gain(const ground *g, const uint32_t *row, size_t n, size_t stride, uint32_t feature,
                         float threshold, float *left, const float *all) {
    size_t k = g->s->n_models, dim = g->s->dim, n_left = 0, seen = 0;
    memset(left, 0, k * sizeof *left);
    for (size_t r = 0; r < n; r += stride, seen++) {
        if (!(g->s->dense[(size_t)row[r] * dim + feature] < threshold)) continue;
        const float *z = g->z + (size_t)row[r] * k;
        for (size_t m = 0; m < k; m++) left[m] += z[m];
        n_left++;
    }
    size_t thin = n_left < seen - n_left ? n_left : seen - n_left;
    if (!thin || thin * stride < g->least_leaf) return -1;
    double below = 0, above = 0;
    for (size_t m = 0; m < k; m++) {
        double l = left[m], a = all[m] - left[m];
        below += l * l;
        above += a * a;
    }
    return below / (double)n_left + above / (double)(seen - n_left);
}

static split best_split(tree *t, const ground *g, const uint32_t *row, size_t n, float *tmp) {
    size_t k = g->s->n_models, dim = g->s->dim, stride = (n + SPLIT_ROWS - 1) / SPLIT_ROWS;
    float *left = tmp, *all = tmp + k;
    split best = {-1, 0, 0};
    memset(all, 0, k * sizeof *all);
    for (size_t r = 0; r < n; r += stride) {
        const float *z = g->z + (size_t)row[r] * k;
        for (size_t m = 0; m < k; m++) all[m] += z[m];
    }
    for (size_t i = 0; i < g->n_try; i++) {
        uint32_t f = (uint32_t)(draw(t) * (double)dim);
        double u = draw(t);
        float lo = INFINITY, hi = -INFINITY;
        for (size_t r = 0; r < n; r += stride) {
            float x = g->s->dense[(size_t)row[r] * dim + f];
            lo = x < lo ? x : lo;
            hi = x > hi ? x : hi;
        }
        if (!(lo < hi)) continue;
        float threshold = lo + (float)u * (hi - lo);
        if (!(threshold > lo)) threshold = hi;
        double gain = split_gain(g, row, n, stride, f, threshold, left, all);
        if (gain > best.gain) best = (split){gain, f, threshold};
    }
    return best;
}

/* Stable, so that the tree is the same whatever sorts or partitions a C library has. */
static size_t partition(tree *t, const ground *g, uint32_t *row, size_t n, split s) {
    size_t left = 0, right = 0;
    for (size_t r = 0; r < n; r++) {
        if (g->s->dense[(size_t)row[r] * g->s->dim + s.feature] < s.threshold)
            row[left++] = row[r];
        else
            t->swap[right++] = row[r];
    }
    memcpy(row + left, t->swap, right * sizeof *row);
    return left;
}

typedef struct task {
    uint32_t node;
    size_t from, n, depth;
} task;

/* Splits one node: its two children are appended. false: it stays a leaf, or *failed. */
static bool split_node(tree *t, const ground *g, const task *at, task child[2], float *tmp, bool *failed) {
    uint32_t *row = t->bag + at->from;
    if (at->n < 2 * g->least_leaf || at->depth >= MAX_DEPTH) return false;
    split s = best_split(t, g, row, at->n, tmp);
    if (s.gain < 0) return false;
    size_t left = partition(t, g, row, at->n, s);
    if (left < g->least_leaf || at->n - left < g->least_leaf) return false;
    uint32_t first = (uint32_t)t->n_nodes;
    if (!add_node(t, g, at->node, row, left) || !add_node(t, g, at->node, row + left, at->n - left)) {
        *failed = true;
        return false;
    }
    t->node[at->node] = (node){s.threshold, first, s.feature};
    child[0] = (task){first, at->from, left, at->depth + 1};
    child[1] = (task){first + 1, at->from + left, at->n - left, at->depth + 1};
    return true;
}

static bool tree_grow(tree *t, const ground *g, uint64_t seed) {
    task stack[2 * MAX_DEPTH + 2];
    size_t n_stack = 0;
    bool failed = false;
    float *tmp = weirp_array(2 * g->s->n_models, sizeof *tmp);
    if (!tmp || !tree_begin(t, g, seed) || !add_node(t, g, 0, t->bag, g->n_bag))
        failed = true;
    else
        stack[n_stack++] = (task){0, 0, g->n_bag, 0};
    while (n_stack && !failed) {
        task at = stack[--n_stack], child[2];
        if (at.depth > t->depth) t->depth = at.depth;
        if (split_node(t, g, &at, child, tmp, &failed)) {
            stack[n_stack++] = child[0];
            stack[n_stack++] = child[1];
        } else {
            t->n_leaves++;
        }
    }
    free(tmp);
    return !failed;
}

/* ---- hierarchical shrinkage ---- */

/* Values of all nodes of a tree at one lambda: (n_nodes, n_models). Parents come before their children. */
static void shrink_tree(const tree *t, const ground *g, double lambda, float *value) {
    size_t k = g->s->n_models;
    for (size_t m = 0; m < k; m++) {
        double n = t->count[m], own = t->mean[m];
        value[m] = (float)((n * own + POOL_PRIOR * g->mean[m]) / (n + POOL_PRIOR));
    }
    for (size_t i = 1; i < t->n_nodes; i++) {
        size_t p = t->parent[i];
        const float *mean = t->mean + i * k, *above = t->mean + p * k, *n = t->count + p * k;
        double shared = 0, weight = 0;
        for (size_t m = 0; m < k; m++) {
            double keep = n[m] / (n[m] + lambda);
            shared += g->share[m] * keep * (mean[m] - above[m]);
            weight += g->share[m];
        }
        shared = weight > 0 ? shared / weight : 0;
        for (size_t m = 0; m < k; m++) {
            double keep = n[m] / (n[m] + lambda);
            double own = keep * (mean[m] - above[m]), borrowed = (1 - g->share[m]) * (1 - keep) * shared;
            value[i * k + m] = value[p * k + m] + (float)(own + borrowed);
        }
    }
}

static uint32_t descend(const node *root, const float *x) {
    uint32_t at = 0;
    while (root[at].left != at) at = root[at].left + !(x[root[at].feature] < root[at].threshold);
    return at;
}

/* ---- the ground ---- */

static void ground_free(ground *g) {
    free(g->z);
    free(g->mean);
    free(g->share);
}

static void find_means(ground *g) {
    const weirp_sample *s = g->s;
    double all = 0, n_all = 0;
    for (size_t m = 0; m < s->n_models; m++) {
        double sum = 0, n = 0;
        for (size_t i = 0; i < s->n; i++)
            if (!isnan(s->target[i * s->n_models + m])) sum += s->target[i * s->n_models + m], n++;
        g->mean[m] = sum, g->share[m] = n;
        all += sum, n_all += n;
    }
    double pool = n_all > 0 ? all / n_all : isfinite(s->lo + s->hi) ? (s->lo + s->hi) / 2 : 0;
    for (size_t m = 0; m < s->n_models; m++) {
        g->mean[m] = (g->mean[m] + POOL_PRIOR * pool) / (g->share[m] + POOL_PRIOR);
        g->share[m] = s->n ? g->share[m] / (double)s->n : 0;
    }
}

static weir_status ground_make(ground *g, const weirp_sample *s, weir_error *err) {
    size_t k = s->n_models;
    memset(g, 0, sizeof *g);
    if (s->n > UINT32_MAX) return weirp_fail(err, WEIR_INVALID, 0, "forest: more than 4294967295 prompts");
    if (s->dim > MAX_FEATURES) return weirp_fail(err, WEIR_INVALID, 0, "forest: more than %u features", MAX_FEATURES);
    g->s = s;
    g->z = weirp_array(s->n * k, sizeof *g->z);
    g->mean = weirp_array(k, sizeof *g->mean);
    g->share = weirp_array(k, sizeof *g->share);
    if (!g->z || !g->mean || !g->share) {
        ground_free(g);
        return weirp_nomem(err);
    }
    find_means(g);
    for (size_t i = 0; i < s->n; i++) {
        const double *y = s->target + i * k;
        double residual = 0, n = 0, mean = 0;
        for (size_t m = 0; m < k; m++)
            if (!isnan(y[m])) residual += y[m] - g->mean[m], n++;
        residual = n > 0 ? residual / n : 0;
        for (size_t m = 0; m < k; m++) mean += (isnan(y[m]) ? g->mean[m] + residual : y[m]) / (double)k;
        for (size_t m = 0; m < k; m++) {
            double v = isnan(y[m]) ? g->mean[m] + residual : y[m];
            g->z[i * k + m] = (float)(M_SQRT2 * v - (M_SQRT2 - 1) * mean);
        }
    }
    g->n_bag = (size_t)fmax(1, BAG_SHARE * (double)s->n);
    g->least_leaf = s->n / 1000 > LEAST_LEAF ? s->n / 1000 : LEAST_LEAF;
    g->n_try = (size_t)ceil(FEATURE_SHARE * (double)s->dim);
    return WEIR_OK;
}

/* ---- all trees, in lanes ---- */

/* A lane's share of the out-of-bag sums. */
typedef struct lane {
    double *sum; /* (n_settings, n, n_models) */
    uint32_t *n; /* (n) trees that didn't see the row */
    bool failed;
} lane;

typedef struct work {
    const ground *g;
    const double *lambda;
    size_t n_settings;
    bool out_of_bag;
    tree *tree; /* (N_TREES); NULL: trees are dropped once their out-of-bag rows are counted */
    lane lane[LANES];
    size_t n_threads;
} work;

typedef struct worker {
    work *w;
    size_t first;
} worker;

static void count_out_of_bag(const work *w, lane *l, const tree *t, float *value) {
    const weirp_sample *s = w->g->s;
    size_t k = s->n_models;
    for (size_t i = 0; i < s->n; i++) l->n[i] += !t->in_bag[i];
    for (size_t h = 0; h < w->n_settings; h++) {
        shrink_tree(t, w->g, w->lambda[h], value);
        for (size_t i = 0; i < s->n; i++) {
            if (t->in_bag[i]) continue;
            const float *v = value + (size_t)descend(t->node, s->dense + i * s->dim) * k;
            double *sum = l->sum + (h * s->n + i) * k;
            for (size_t m = 0; m < k; m++) sum[m] += v[m];
        }
    }
}

static bool grow_one(work *w, lane *l, size_t index) {
    tree local = {0}, *t = w->tree ? &w->tree[index] : &local;
    bool ok = tree_grow(t, w->g, weirp_random_u64(w->g->s->seed, 0xf0, index));
    if (ok && w->out_of_bag) {
        float *value = weirp_array(t->n_nodes * w->g->s->n_models, sizeof *value);
        ok = value != NULL;
        if (ok) count_out_of_bag(w, l, t, value);
        free(value);
    }
    free(t->bag);
    free(t->swap);
    free(t->in_bag);
    t->bag = t->swap = NULL, t->in_bag = NULL;
    if (!w->tree || !ok) tree_free(t);
    return ok;
}

static void *run_lanes(void *argument) {
    const worker *me = argument;
    work *w = me->w;
    for (size_t i = me->first; i < LANES; i += w->n_threads)
        for (size_t t = i; t < N_TREES && !w->lane[i].failed; t += LANES)
            if (!grow_one(w, &w->lane[i], t)) w->lane[i].failed = true;
    return NULL;
}

static void work_free(work *w) {
    for (size_t i = 0; i < LANES; i++) {
        free(w->lane[i].sum);
        free(w->lane[i].n);
    }
    for (size_t t = 0; w->tree && t < N_TREES; t++) tree_free(&w->tree[t]);
    free(w->tree);
}

static weir_status run(work *w, weir_error *err) {
    const weirp_sample *s = w->g->s;
    pthread_t thread[LANES];
    worker workers[LANES];
    size_t started = 0;
    w->n_threads = s->n_threads < LANES ? s->n_threads : LANES;
    for (size_t i = 0; w->out_of_bag && i < LANES; i++) {
        w->lane[i].sum = weirp_array(w->n_settings * s->n * s->n_models, sizeof(double));
        w->lane[i].n = weirp_array(s->n, sizeof(uint32_t));
        if (!w->lane[i].sum || !w->lane[i].n) return weirp_nomem(err);
    }
    for (size_t i = 0; i < w->n_threads; i++) workers[i] = (worker){w, i};
    for (size_t i = 1; i < w->n_threads; i++, started++)
        if (pthread_create(&thread[i], NULL, run_lanes, &workers[i])) break;
    run_lanes(&workers[0]);
    for (size_t i = started + 1; i < w->n_threads; i++) run_lanes(&workers[i]); /* no thread to be had */
    for (size_t i = 1; i <= started; i++) pthread_join(thread[i], NULL);
    for (size_t i = 0; i < LANES; i++)
        if (w->lane[i].failed) return weirp_nomem(err);
    return WEIR_OK;
}

/* Sums of all lanes into means; rows that every tree saw get the constants. */
static void reduce(const work *w, double *predicted) {
    const weirp_sample *s = w->g->s;
    size_t k = s->n_models;
    for (size_t h = 0; h < w->n_settings; h++)
        for (size_t i = 0; i < s->n; i++) {
            uint32_t n = 0;
            for (size_t l = 0; l < LANES; l++) n += w->lane[l].n[i];
            for (size_t m = 0; m < k; m++) {
                size_t at = (h * s->n + i) * k + m;
                double sum = 0;
                for (size_t l = 0; l < LANES; l++) sum += w->lane[l].sum[at];
                predicted[at] = fmin(fmax(n ? sum / n : w->g->mean[m], s->lo), s->hi);
            }
        }
}

/* ---- the class ---- */

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "lambda=%g", lambdas[setting]);
}

static weir_status out_of_bag(const weirp_sample *sample, double *predicted, weir_error *err) {
    ground g;
    weir_status st = ground_make(&g, sample, err);
    if (st != WEIR_OK) return st;
    work w = {.g = &g, .lambda = lambdas, .n_settings = N_SETTINGS, .out_of_bag = true};
    st = run(&w, err);
    if (st == WEIR_OK) reduce(&w, predicted);
    work_free(&w);
    ground_free(&g);
    return st;
}

static void forest_free(weirp_estimator *base) {
    forest *f = (forest *)base;
    if (!f) return;
    free(f->mean);
    free(f->variance);
    free(f->steps);
    free(f->value);
    free(f->count);
    free(f);
}

static forest *forest_new(size_t n_models, size_t dim) {
    forest *f = weirp_array(1, sizeof *f);
    if (!f) return NULL;
    f->base = (weirp_estimator){&weirp_forest_class, n_models, dim};
    f->mean = weirp_array(n_models, sizeof *f->mean);
    f->variance = weirp_array(n_models, sizeof *f->variance);
    if (f->mean && f->variance) return f;
    forest_free(&f->base);
    return NULL;
}

/* One tree's nodes in breadth-first order; `order` (n_nodes) is scratch. Its leaves' values and counts follow. */
static void lay_out(forest *f, size_t t, const tree *from, const float *value, uint32_t *order) {
    size_t k = f->base.n_models, row = f->first_leaf[t];
    step *to = f->steps + f->first[t];
    uint32_t n = 1;
    order[0] = 0;
    for (uint32_t i = 0; i < from->n_nodes; i++) {
        const node *at = &from->node[order[i]];
        if (at->left != order[i]) {
            memcpy(&to[i].threshold, &at->threshold, sizeof to[i].threshold);
            to[i].next = at->feature << LEFT_BITS | n;
            order[n++] = at->left;
            order[n++] = at->left + 1;
            continue;
        }
        to[i].threshold = LEAF_BITS | (uint32_t)(row - f->first_leaf[t]);
        to[i].next = (i - 1) & LEFT_MASK; /* a tree of one leaf has no node before it: the mask turns round to it */
        memcpy(f->value + row * k, value + order[i] * k, k * sizeof *value);
        memcpy(f->count + row * k, from->count + order[i] * k, k * sizeof *value);
        row++;
    }
}

static weir_status assemble(forest *f, const work *w, weir_error *err) {
    size_t k = f->base.n_models, most = 0;
    for (size_t t = 0; t < N_TREES; t++) {
        const tree *from = &w->tree[t];
        if (from->n_nodes > LEFT_MASK / 2 || f->first[t] > MAX_NODES)
            return weirp_fail(err, WEIR_INVALID, 0, "forest: too many nodes");
        f->first[t + 1] = f->first[t] + (uint32_t)from->n_nodes;
        f->first_leaf[t + 1] = f->first_leaf[t] + (uint32_t)from->n_leaves;
        f->depth[t] = (uint32_t)from->depth;
        if (from->n_nodes > most) most = from->n_nodes;
    }
    float *value = weirp_array(most * k, sizeof *value);
    uint32_t *order = weirp_array(most, sizeof *order);
    f->steps = aligned_alloc(64, (f->first[N_TREES] * sizeof *f->steps / 64 + 1) * 64);
    f->value = weirp_array(n_leaves(f) * k, sizeof *f->value);
    f->count = weirp_array(n_leaves(f) * k, sizeof *f->count);
    weir_status st = value && order && f->steps && f->value && f->count ? WEIR_OK : weirp_nomem(err);
    for (size_t t = 0; st == WEIR_OK && t < N_TREES; t++) {
        shrink_tree(&w->tree[t], w->g, f->lambda, value);
        lay_out(f, t, &w->tree[t], value, order);
    }
    free(value);
    free(order);
    return st;
}

/* ---- walking ---- */

static inline uint32_t step_on(const step *root, uint32_t at, const float *x) {
    float threshold;
    memcpy(&threshold, &root[at].threshold, sizeof threshold);
    uint32_t next = root[at].next;
    return ((next & LEFT_MASK) + !(x[next >> LEFT_BITS] < threshold)) & LEFT_MASK;
}

/* Rows of `value` that x comes to, LANES trees in step: the loads of one tree hide the latency of the others'. */
static void find_leaves(const forest *f, const float *x, uint32_t *leaf) {
    for (size_t t = 0; t < N_TREES; t += LANES) {
        const step *root[LANES];
        uint32_t at[LANES] = {0}, depth = 0;
        for (size_t l = 0; l < LANES; l++) {
            root[l] = f->steps + f->first[t + l];
            if (f->depth[t + l] > depth) depth = f->depth[t + l];
        }
        for (uint32_t d = 0; d < depth; d++)
            for (size_t l = 0; l < LANES; l++) at[l] = step_on(root[l], at[l], x);
        for (size_t l = 0; l < LANES; l++) {
            leaf[t + l] = f->first_leaf[t + l] + (root[l][at[l]].threshold & LEAF_MASK);
            __builtin_prefetch(f->value + (size_t)leaf[t + l] * f->base.n_models);
        }
    }
}

/* How many rows a prediction rests on: Kish's effective sample size (sum w)^2 / sum w^2 of the weights that the trees'
 * leaves give to a sample of rows, averaged over probes. Shrinkage spreads the weights further; that is left out, so
 * the standard error errs on the large side. */
static weir_status find_effective_rows(forest *f, const weirp_sample *s, weir_error *err) {
    enum { PROBES = 24, ROWS = 1500 };
    size_t n = s->n < ROWS ? s->n : ROWS, stride = s->n / n, probes = n < PROBES ? n : PROBES;
    uint32_t *leaf = weirp_array(n * N_TREES, sizeof *leaf);
    double *weight = weirp_array(probes * n, sizeof *weight);
    if (!leaf || !weight) {
        free(leaf);
        free(weight);
        return weirp_nomem(err);
    }
    for (size_t i = 0; i < n; i++) find_leaves(f, s->dense + i * stride * s->dim, leaf + i * N_TREES);
    for (size_t t = 0; t < N_TREES; t++)
        for (size_t p = 0; p < probes; p++) {
            uint32_t mine = leaf[p * (n / probes) * N_TREES + t], together = 0;
            for (size_t i = 0; i < n; i++) together += leaf[i * N_TREES + t] == mine;
            for (size_t i = 0; i < n; i++) weight[p * n + i] += leaf[i * N_TREES + t] == mine ? 1.0 / together : 0;
        }
    double mean = 0;
    for (size_t p = 0; p < probes; p++) {
        double sum = 0, square = 0;
        for (size_t i = 0; i < n; i++) sum += weight[p * n + i], square += weight[p * n + i] * weight[p * n + i];
        mean += sum * sum / square / (double)probes;
    }
    f->n_effective = fmax(1, mean * (double)s->n / (double)n);
    free(leaf);
    free(weight);
    return WEIR_OK;
}

static void find_variance(forest *f, const weirp_sample *s, const double *held_out) {
    size_t k = s->n_models;
    for (size_t m = 0; m < k; m++) {
        double square = 0, n = 0;
        for (size_t i = 0; i < s->n; i++) {
            double d = s->target[i * k + m] - held_out[i * k + m];
            if (!isnan(d)) square += d * d, n++;
        }
        f->variance[m] = n > 1 ? square / n : 1;
    }
}

static weir_status fit(weirp_estimator **out, const weirp_sample *sample, size_t setting, weir_error *err) {
    ground g;
    weir_status st = ground_make(&g, sample, err);
    if (st != WEIR_OK) return st;
    work w = {.g = &g, .lambda = &lambdas[setting], .n_settings = 1, .out_of_bag = true};
    forest *f = forest_new(sample->n_models, sample->dim);
    double *held_out = weirp_array(sample->n * sample->n_models, sizeof *held_out);
    w.tree = weirp_array(N_TREES, sizeof *w.tree);
    if (!f || !held_out || !w.tree) {
        st = weirp_nomem(err);
        goto done;
    }
    f->lambda = lambdas[setting], f->lo = sample->lo, f->hi = sample->hi;
    WEIRP_TRY(run(&w, err));
    reduce(&w, held_out);
    WEIRP_TRY(assemble(f, &w, err));
    memcpy(f->mean, g.mean, sample->n_models * sizeof *f->mean);
    find_variance(f, sample, held_out);
    WEIRP_TRY(find_effective_rows(f, sample, err));
done:
    free(held_out);
    work_free(&w);
    ground_free(&g);
    if (st != WEIR_OK) {
        if (f) forest_free(&f->base);
        return st;
    }
    *out = &f->base;
    return WEIR_OK;
}

static void predict(const weirp_estimator *base, const weirp_features *x, void *scratch, double *q, double *sd) {
    const forest *f = (const forest *)base;
    size_t k = base->n_models;
    float *sum = scratch;
    uint32_t leaf[N_TREES];
    find_leaves(f, x->dense, leaf);
    memset(sum, 0, k * sizeof *sum);
    for (size_t t = 0; t < N_TREES; t++) {
        const float *v = f->value + (size_t)leaf[t] * k;
        for (size_t m = 0; m < k; m++) sum[m] += v[m];
    }
    for (size_t m = 0; m < k; m++) q[m] = fmin(fmax(sum[m] * (1.0 / N_TREES), f->lo), f->hi);
    for (size_t m = 0; sd && m < k; m++) sd[m] = sqrt(f->variance[m] / f->n_effective);
}

static size_t scratch_size(const weirp_estimator *base) {
    return base->n_models * sizeof(float);
}

static weir_status fit_predict(const weirp_sample *train, const weirp_sample *test, double *predicted,
                               weir_error *err) {
    float *tmp = weirp_array(train->n_models, sizeof *tmp);
    weir_status st = tmp ? WEIR_OK : weirp_nomem(err);
    for (size_t h = 0; st == WEIR_OK && h < N_SETTINGS; h++) {
        weirp_estimator *f = NULL;
        st = fit(&f, train, h, err);
        for (size_t i = 0; st == WEIR_OK && i < test->n; i++) {
            weirp_features x = {.dim = test->dim, .dense = test->dense + i * test->dim};
            predict(f, &x, tmp, predicted + (h * test->n + i) * train->n_models, NULL);
        }
        forest_free(f);
    }
    free(tmp);
    return st;
}

static weir_status update(weirp_estimator *base, const weirp_features *x, size_t model, double target, double weight,
                          weir_error *err) {
    (void)err;
    forest *f = (forest *)base;
    uint32_t leaf[N_TREES];
    find_leaves(f, x->dense, leaf);
    for (size_t t = 0; t < N_TREES; t++) {
        float *v = f->value + (size_t)leaf[t] * base->n_models + model;
        float *n = f->count + (size_t)leaf[t] * base->n_models + model;
        *v += (float)(weight * (target - *v) / (*n + f->lambda + weight));
        *n += (float)weight;
    }
    return WEIR_OK;
}

/* A (rows, k) table into a (rows, k + 1) one; the new column is left as it is. */
static void widen(float *to, const float *from, size_t rows, size_t k) {
    for (size_t r = 0; r < rows; r++) memcpy(to + r * (k + 1), from + r * k, k * sizeof *to);
}

static weir_status add_model(weirp_estimator *base, weir_error *err) {
    forest *f = (forest *)base;
    size_t k = base->n_models;
    float *value = weirp_array(n_leaves(f) * (k + 1), sizeof *value);
    float *count = weirp_array(n_leaves(f) * (k + 1), sizeof *count);
    double *mean = weirp_array(k + 1, sizeof *mean), *variance = weirp_array(k + 1, sizeof *variance), pool = 0;
    if (!value || !count || !mean || !variance) {
        free(value), free(count), free(mean), free(variance);
        return weirp_nomem(err);
    }
    widen(value, f->value, n_leaves(f), k);
    widen(count, f->count, n_leaves(f), k);
    for (size_t l = 0; l < n_leaves(f); l++) { /* the mean of the pool, here */
        float sum = 0;
        for (size_t m = 0; m < k; m++) sum += f->value[l * k + m];
        value[l * (k + 1) + k] = k ? sum / (float)k : 0;
    }
    memcpy(mean, f->mean, k * sizeof *mean);
    memcpy(variance, f->variance, k * sizeof *variance);
    for (size_t m = 0; m < k; m++) pool += f->mean[m] / (double)k;
    mean[k] = pool;
    variance[k] = f->n_effective; /* a standard error of 1: nothing is known of this one */
    free(f->value), free(f->count), free(f->mean), free(f->variance);
    f->value = value, f->count = count, f->mean = mean, f->variance = variance;
    base->n_models = k + 1;
    return WEIR_OK;
}

/* ---- bytes ---- */

static void save(const weirp_estimator *base, weirp_writer *w) {
    const forest *f = (const forest *)base;
    size_t k = base->n_models;
    weirp_put_u32(w, FORMAT);
    weirp_put_u64(w, k);
    weirp_put_u64(w, base->dim);
    weirp_put_f64(w, f->lambda);
    weirp_put_f64(w, f->lo);
    weirp_put_f64(w, f->hi);
    weirp_put_f64(w, f->n_effective);
    weirp_put_f64s(w, f->mean, k);
    weirp_put_f64s(w, f->variance, k);
    weirp_put_u32s(w, f->first, N_TREES + 1);
    weirp_put_u32s(w, f->first_leaf, N_TREES + 1);
    weirp_put_u32s(w, f->depth, N_TREES);
    weirp_put_u8s(w, f->steps, f->first[N_TREES] * sizeof *f->steps);
    weirp_put_f32s(w, f->value, n_leaves(f) * k);
    weirp_put_f32s(w, f->count, n_leaves(f) * k);
}

/* Every step of every walk must stay inside its tree, every walk must end in a leaf, and every leaf's row must be
 * there, whatever the bytes say. A child has a larger number than its parent, so paths end; levels are counted as they
 * go. */
static bool sound_tree(const forest *f, size_t t, uint8_t *level) {
    uint32_t n = f->first[t + 1] - f->first[t], leaves = f->first_leaf[t + 1] - f->first_leaf[t];
    const step *root = f->steps + f->first[t];
    memset(level, 0, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t left = root[i].next & LEFT_MASK, feature = root[i].next >> LEFT_BITS;
        bool leaf = (root[i].threshold & ~LEAF_MASK) == LEAF_BITS;
        if (leaf) {
            if (feature || left != ((i - 1) & LEFT_MASK) || (root[i].threshold & LEAF_MASK) >= leaves) return false;
            continue;
        }
        if (feature >= f->base.dim || left <= i || left + 1 >= n || level[i] >= f->depth[t]) return false;
        if (level[left] <= level[i]) level[left] = (uint8_t)(level[i] + 1);
        if (level[left + 1] <= level[i]) level[left + 1] = (uint8_t)(level[i] + 1);
    }
    return true;
}

static bool sound(const forest *f) {
    uint8_t *level = weirp_array(f->first[N_TREES], 1);
    bool ok = level != NULL;
    for (size_t t = 0; ok && t < N_TREES; t++) ok = f->depth[t] <= MAX_DEPTH && sound_tree(f, t, level);
    free(level);
    return ok;
}

static bool ascending(const uint32_t *first) {
    for (size_t t = 0; t < N_TREES; t++)
        if (first[t] >= first[t + 1] || first[t + 1] > MAX_NODES) return false;
    return first[0] == 0;
}

static void load_tables(forest *f, weirp_bytes *r) {
    uint32_t *first = weirp_get_u32s(r, N_TREES + 1), *first_leaf = weirp_get_u32s(r, N_TREES + 1);
    uint32_t *depth = weirp_get_u32s(r, N_TREES);
    if (!r->failed && ascending(first) && ascending(first_leaf)) {
        memcpy(f->first, first, sizeof f->first);
        memcpy(f->first_leaf, first_leaf, sizeof f->first_leaf);
        memcpy(f->depth, depth, sizeof f->depth);
        f->steps = (step *)weirp_get_u8s(r, f->first[N_TREES] * sizeof *f->steps);
        f->value = weirp_get_f32s(r, n_leaves(f) * f->base.n_models);
        f->count = weirp_get_f32s(r, n_leaves(f) * f->base.n_models);
    } else {
        r->failed = true;
    }
    free(first);
    free(first_leaf);
    free(depth);
}

static weir_status load(weirp_estimator **out, weirp_bytes *r, weir_error *err) {
    uint32_t format = weirp_get_u32(r);
    uint64_t k = weirp_get_u64(r), dim = weirp_get_u64(r);
    if (r->failed || format != FORMAT || k > UINT16_MAX || dim > MAX_FEATURES)
        return weirp_fail(err, WEIR_CORRUPT, 0, "estimator \"forest\" is damaged");
    forest *f = forest_new((size_t)k, (size_t)dim);
    if (!f) return weirp_nomem(err);
    free(f->mean), free(f->variance);
    f->lambda = weirp_get_f64(r), f->lo = weirp_get_f64(r), f->hi = weirp_get_f64(r);
    f->n_effective = weirp_get_f64(r);
    f->mean = weirp_get_f64s(r, (size_t)k);
    f->variance = weirp_get_f64s(r, (size_t)k);
    load_tables(f, r);
    if (r->failed || !sound(f)) {
        forest_free(&f->base);
        return weirp_fail(err, WEIR_CORRUPT, 0, "estimator \"forest\" is damaged");
    }
    *out = &f->base;
    return WEIR_OK;
}

const weirp_estimator_class weirp_forest_class = {.name = "forest",
                                                  .n_settings = N_SETTINGS,
                                                  .settings_ascend = true,
                                                  .describe = describe,
                                                  .fit = fit,
                                                  .fit_predict = fit_predict,
                                                  .out_of_bag = out_of_bag,
                                                  .predict = predict,
                                                  .scratch_size = scratch_size,
                                                  .update = update,
                                                  .add_model = add_model,
                                                  .save = save,
                                                  .load = load,
                                                  .free = forest_free};

/* forest.c: "forest": extremely randomised trees with hierarchical shrinkage (trees.c), walked eight at a time.
 *
 * Learning: a label moves its leaf in each tree as if the leaf's value were a mean of its rows and lambda pseudo-rows.
 * Splits and ancestors stay as fitted, so this is recursive but not what a refit would give.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/classes.h"
#include "estimators/trees.h"

#define FORMAT 1u
#define LINE   64u /* bytes of a cache line */

static const double lambdas[] = {1, 3, 10, 30, 100, 300, 1000};
enum { N_SETTINGS = sizeof lambdas / sizeof *lambdas };

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
    double n_effective;                     /* rows that a prediction rests on (1 / sum of squared weights) */
    double *mean;                           /* (n_models) root means, shrunk to the pool's */
    double *variance;                       /* (n_models) of out-of-bag residuals */
    uint32_t first[WEIRP_N_TREES + 1];      /* a tree's nodes are steps[first[t]] .. */
    uint32_t first_leaf[WEIRP_N_TREES + 1]; /* and its leaves' values begin at this row */
    uint32_t depth[WEIRP_N_TREES];
    step *steps;             /* shared with copies */
    atomic_uint *steps_refs; /* how many have them */
    float *value;            /* (first_leaf[WEIRP_N_TREES], n_models) */
    float *count;            /* (first_leaf[WEIRP_N_TREES], n_models) rows behind it; NULL: it only predicts */
} forest;

static size_t n_leaves(const forest *f) {
    return f->first_leaf[WEIRP_N_TREES];
}

/* ---- the class ---- */

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "lambda=%g", lambdas[setting]);
}

static weir_status out_of_bag(const weirp_sample *sample, double *predicted, weir_error *err) {
    weirp_ground g;
    weir_status st = weirp_ground_make(&g, sample, err);
    if (st != WEIR_OK) return st;
    weirp_trees w = {.g = &g, .lambda = lambdas, .n_settings = N_SETTINGS, .out_of_bag = true};
    st = weirp_trees_grow(&w, err);
    if (st == WEIR_OK) weirp_trees_held_out(&w, predicted);
    weirp_trees_free(&w);
    weirp_ground_free(&g);
    return st;
}

static void forest_free(weirp_estimator *base) {
    forest *f = (forest *)base;
    if (!f) return;
    free(f->mean);
    free(f->variance);
    if (!f->steps_refs || atomic_fetch_sub_explicit(f->steps_refs, 1, memory_order_acq_rel) == 1) {
        free(f->steps);
        free(f->steps_refs);
    }
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
    f->steps_refs = malloc(sizeof *f->steps_refs);
    if (f->steps_refs) atomic_init(f->steps_refs, 1);
    if (f->mean && f->variance && f->steps_refs) return f;
    forest_free(&f->base);
    return NULL;
}

/* One tree's nodes in breadth-first order; `order` (n_nodes) is scratch. Its leaves' values and counts follow. */
static void lay_out(forest *f, size_t t, const weirp_tree *from, const float *value, uint32_t *order) {
    size_t k = f->base.n_models, row = f->first_leaf[t];
    step *to = f->steps + f->first[t];
    uint32_t n = 1;
    order[0] = 0;
    for (uint32_t i = 0; i < from->n_nodes; i++) {
        const weirp_tree_node *at = &from->node[order[i]];
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

static weir_status assemble(forest *f, const weirp_trees *w, weir_error *err) {
    size_t k = f->base.n_models, most = 0;
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        const weirp_tree *from = &w->tree[t];
        if (from->n_nodes > LEFT_MASK / 2 || f->first[t] > WEIRP_TREE_MAX_NODES)
            return weirp_fail(err, WEIR_INVALID, 0, "forest: too many nodes");
        f->first[t + 1] = f->first[t] + (uint32_t)from->n_nodes;
        f->first_leaf[t + 1] = f->first_leaf[t] + (uint32_t)from->n_leaves;
        f->depth[t] = (uint32_t)from->depth;
        if (from->n_nodes > most) most = from->n_nodes;
    }
    float *value = weirp_array(most * k, sizeof *value);
    uint32_t *order = weirp_array(most, sizeof *order);
    f->steps = aligned_alloc(LINE, (f->first[WEIRP_N_TREES] * sizeof *f->steps / LINE + 1) * LINE);
    f->value = weirp_array(n_leaves(f) * k, sizeof *f->value);
    f->count = weirp_array(n_leaves(f) * k, sizeof *f->count);
    weir_status st = value && order && f->steps && f->value && f->count ? WEIR_OK : weirp_nomem(err);
    for (size_t t = 0; st == WEIR_OK && t < WEIRP_N_TREES; t++) {
        weirp_tree_shrink(&w->tree[t], w->g, f->lambda, value);
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

/* Rows of `value` that x comes to, WEIRP_LANES trees in step: the loads of one tree hide the latency of the others'. */
static void find_leaves(const forest *f, const float *x, uint32_t *leaf) {
    for (size_t t = 0; t < WEIRP_N_TREES; t += WEIRP_LANES) {
        const step *root[WEIRP_LANES];
        uint32_t at[WEIRP_LANES] = {0}, depth = 0;
        for (size_t l = 0; l < WEIRP_LANES; l++) {
            root[l] = f->steps + f->first[t + l];
            if (f->depth[t + l] > depth) depth = f->depth[t + l];
        }
        for (uint32_t d = 0; d < depth; d++)
            for (size_t l = 0; l < WEIRP_LANES; l++) at[l] = step_on(root[l], at[l], x);
        for (size_t l = 0; l < WEIRP_LANES; l++) {
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
    uint32_t *leaf = weirp_array(n * WEIRP_N_TREES, sizeof *leaf);
    double *weight = weirp_array(probes * n, sizeof *weight);
    if (!leaf || !weight) {
        free(leaf);
        free(weight);
        return weirp_nomem(err);
    }
    for (size_t i = 0; i < n; i++) find_leaves(f, s->dense + i * stride * s->dim, leaf + i * WEIRP_N_TREES);
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        for (size_t p = 0; p < probes; p++) {
            uint32_t mine = leaf[p * (n / probes) * WEIRP_N_TREES + t], together = 0;
            for (size_t i = 0; i < n; i++) together += leaf[i * WEIRP_N_TREES + t] == mine;
            for (size_t i = 0; i < n; i++)
                weight[p * n + i] += leaf[i * WEIRP_N_TREES + t] == mine ? 1.0 / together : 0;
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
    if (sample->dim > MAX_FEATURES)
        return weirp_fail(err, WEIR_INVALID, 0, "forest: more than %u features", MAX_FEATURES);
    weirp_ground g;
    weir_status st = weirp_ground_make(&g, sample, err);
    if (st != WEIR_OK) return st;
    weirp_trees w = {.g = &g, .lambda = &lambdas[setting], .n_settings = 1, .out_of_bag = true};
    forest *f = forest_new(sample->n_models, sample->dim);
    double *held_out = weirp_array(sample->n * sample->n_models, sizeof *held_out);
    w.tree = weirp_array(WEIRP_N_TREES, sizeof *w.tree);
    if (!f || !held_out || !w.tree) {
        st = weirp_nomem(err);
        goto done;
    }
    f->lambda = lambdas[setting], f->lo = sample->lo, f->hi = sample->hi;
    WEIRP_TRY(weirp_trees_grow(&w, err));
    weirp_trees_held_out(&w, held_out);
    WEIRP_TRY(assemble(f, &w, err));
    memcpy(f->mean, g.mean, sample->n_models * sizeof *f->mean);
    find_variance(f, sample, held_out);
    WEIRP_TRY(find_effective_rows(f, sample, err));
done:
    free(held_out);
    weirp_trees_free(&w);
    weirp_ground_free(&g);
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
    uint32_t leaf[WEIRP_N_TREES];
    find_leaves(f, x->dense, leaf);
    memset(sum, 0, k * sizeof *sum);
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        const float *v = f->value + (size_t)leaf[t] * k;
        for (size_t m = 0; m < k; m++) sum[m] += v[m];
    }
    for (size_t m = 0; m < k; m++) q[m] = fmin(fmax(sum[m] * (1.0 / WEIRP_N_TREES), f->lo), f->hi);
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
    forest *f = (forest *)base;
    if (!f->count) return weirp_fail(err, WEIR_INVALID, 0, "forest: a copy doesn't learn");
    uint32_t leaf[WEIRP_N_TREES];
    find_leaves(f, x->dense, leaf);
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
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

static weir_status remove_model(weirp_estimator *base, size_t index, weir_error *err) {
    forest *f = (forest *)base;
    size_t k = base->n_models;
    if (index >= k) return weirp_fail(err, WEIR_INVALID, 0, "forest: no model number %zu", index);
    for (size_t l = 0, to = 0; l < n_leaves(f) * k; l++) /* in place: nothing moves up */
        if (l % k != index) f->value[to] = f->value[l], f->count[to++] = f->count[l];
    memmove(f->mean + index, f->mean + index + 1, (k - index - 1) * sizeof *f->mean);
    memmove(f->variance + index, f->variance + index + 1, (k - index - 1) * sizeof *f->variance);
    base->n_models = k - 1;
    return WEIR_OK;
}

/* ---- copies that only predict ---- */

static void freeze(weirp_estimator *base) {
    forest *f = (forest *)base;
    free(f->count);
    f->count = NULL;
}

static weir_status copy(weirp_estimator **out, const weirp_estimator *base, weir_error *err) {
    const forest *f = (const forest *)base;
    size_t k = base->n_models, size = n_leaves(f) * k * sizeof *f->value;
    forest *c = forest_new(k, base->dim);
    float *value = malloc(size ? size : 1);
    if (!c || !value) {
        forest_free(c ? &c->base : NULL);
        free(value);
        return weirp_nomem(err);
    }
    double *mean = c->mean, *variance = c->variance;
    free(c->steps_refs);
    *c = *f;
    c->mean = mean, c->variance = variance, c->value = value, c->count = NULL;
    memcpy(mean, f->mean, k * sizeof *mean);
    memcpy(variance, f->variance, k * sizeof *variance);
    memcpy(value, f->value, size);
    atomic_fetch_add_explicit(c->steps_refs, 1, memory_order_relaxed);
    *out = &c->base;
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
    weirp_put_u32s(w, f->first, WEIRP_N_TREES + 1);
    weirp_put_u32s(w, f->first_leaf, WEIRP_N_TREES + 1);
    weirp_put_u32s(w, f->depth, WEIRP_N_TREES);
    weirp_put_u8s(w, f->steps, f->first[WEIRP_N_TREES] * sizeof *f->steps);
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
    uint8_t *level = weirp_array(f->first[WEIRP_N_TREES], 1);
    bool ok = level != NULL;
    for (size_t t = 0; ok && t < WEIRP_N_TREES; t++) ok = f->depth[t] <= WEIRP_TREE_DEPTH && sound_tree(f, t, level);
    free(level);
    return ok;
}

static bool ascending(const uint32_t *first) {
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        if (first[t] >= first[t + 1] || first[t + 1] > WEIRP_TREE_MAX_NODES) return false;
    return first[0] == 0;
}

/* At the border of a cache line, where eight steps are one line. */
static step *load_steps(weirp_bytes *r, size_t size) {
    uint8_t *bytes = weirp_get_u8s(r, size);
    step *steps = bytes ? aligned_alloc(LINE, (size / LINE + 1) * LINE) : NULL;
    if (steps)
        memcpy(steps, bytes, size);
    else if (bytes)
        r->failed = r->out_of_memory = true;
    free(bytes);
    return steps;
}

static void load_tables(forest *f, weirp_bytes *r) {
    uint32_t *first = weirp_get_u32s(r, WEIRP_N_TREES + 1), *first_leaf = weirp_get_u32s(r, WEIRP_N_TREES + 1);
    uint32_t *depth = weirp_get_u32s(r, WEIRP_N_TREES);
    if (!r->failed && ascending(first) && ascending(first_leaf)) {
        memcpy(f->first, first, sizeof f->first);
        memcpy(f->first_leaf, first_leaf, sizeof f->first_leaf);
        memcpy(f->depth, depth, sizeof f->depth);
        f->steps = load_steps(r, f->first[WEIRP_N_TREES] * sizeof *f->steps);
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
                                                  .remove_model = remove_model,
                                                  .save = save,
                                                  .load = load,
                                                  .copy = copy,
                                                  .freeze = freeze,
                                                  .free = forest_free};

/* forest.c: "forest": extremely randomised trees with hierarchical shrinkage (trees.c), walked all together (walk.c).
 *
 * Learning: a label moves its leaf in each tree as if the leaf's value were a mean of its rows and lambda pseudo-rows.
 * Splits and ancestors stay as fitted, so this is recursive but not what a refit would give.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/classes.h"
#include "estimators/trees.h"
#include "estimators/walk.h"
#include "src/linalg/parallel.h"

#define FORMAT 1u

static const double lambdas[] = {1, 3, 10, 30, 100, 300, 1000};
enum { N_SETTINGS = sizeof lambdas / sizeof *lambdas };

typedef struct forest {
    weirp_estimator base;
    double lambda, lo, hi;
    double n_effective; /* rows that a prediction rests on (1 / sum of squared weights) */
    double *mean;       /* (n_models) root means, shrunk to the pool's */
    double *variance;   /* (n_models) of out-of-bag residuals */
    weirp_walk *walk;   /* shared with copies */
    float *value;       /* (n leaves, n_models), rows as `walk` numbers them */
    float *count;       /* (n leaves, n_models) rows behind it; NULL: it only predicts */
} forest;

static size_t n_leaves(const forest *f) {
    return f->walk ? weirp_walk_n_leaves(f->walk) : 0;
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
    weirp_walk_free(f->walk);
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

/* One tree's nodes in breadth-first order, and in `leaf` which node each leaf is; `order` (n_nodes) is scratch. */
static void put_steps(weirp_steps *s, size_t t, const weirp_tree *from, uint32_t *order, uint32_t *leaf) {
    weirp_step *to = s->step + s->first[t];
    uint32_t n = 1, leaves = 0;
    order[0] = 0;
    for (uint32_t i = 0; i < from->n_nodes; i++) {
        const weirp_tree_node *at = &from->node[order[i]];
        if (at->left != order[i]) {
            memcpy(&to[i].threshold, &at->threshold, sizeof to[i].threshold);
            to[i].next = at->feature << WEIRP_LEFT_BITS | n;
            order[n++] = at->left;
            order[n++] = at->left + 1;
            continue;
        }
        leaf[s->first_leaf[t] + leaves] = order[i];
        to[i].threshold = WEIRP_LEAF_BITS | leaves++;
        to[i].next = (i - 1) & WEIRP_LEFT_MASK; /* a tree of one leaf has no node before it: the mask turns round */
    }
}

static weir_status measure_trees(weirp_steps *s, const weirp_trees *w, size_t *most, weir_error *err) {
    for (size_t t = 0; t < WEIRP_N_TREES; t++) {
        const weirp_tree *from = &w->tree[t];
        if (from->n_nodes > WEIRP_LEFT_MASK / 2 || s->first[t] > WEIRP_TREE_MAX_NODES)
            return weirp_fail(err, WEIR_INVALID, 0, "forest: too many nodes");
        s->first[t + 1] = s->first[t] + (uint32_t)from->n_nodes;
        s->first_leaf[t + 1] = s->first_leaf[t] + (uint32_t)from->n_leaves;
        s->depth[t] = (uint32_t)from->depth;
        if (from->n_nodes > *most) *most = from->n_nodes;
    }
    return WEIR_OK;
}

static weir_status assemble(forest *f, const weirp_trees *w, weir_error *err) {
    size_t k = f->base.n_models, most = 0;
    weirp_steps s = {0};
    weir_status st = measure_trees(&s, w, &most, err);
    if (st != WEIR_OK) return st;
    size_t leaves = s.first_leaf[WEIRP_N_TREES];
    float *value = weirp_array(most * k, sizeof *value);
    uint32_t *order = weirp_array(most, sizeof *order);
    uint32_t *leaf = weirp_array(leaves, sizeof *leaf), *row = weirp_array(leaves, sizeof *row);
    s.step = weirp_array(s.first[WEIRP_N_TREES], sizeof *s.step);
    f->value = weirp_large(leaves * k, sizeof *f->value);
    f->count = weirp_array(leaves * k, sizeof *f->count);
    st = value && order && leaf && row && s.step && f->value && f->count ? WEIR_OK : weirp_nomem(err);
    for (size_t t = 0; st == WEIR_OK && t < WEIRP_N_TREES; t++) put_steps(&s, t, &w->tree[t], order, leaf);
    if (st == WEIR_OK && !(f->walk = weirp_walk_new(&s, f->base.dim, row))) st = weirp_nomem(err);
    for (size_t t = 0; st == WEIR_OK && t < WEIRP_N_TREES; t++) {
        weirp_tree_shrink(&w->tree[t], w->g, f->lambda, value);
        for (size_t l = s.first_leaf[t]; l < s.first_leaf[t + 1]; l++) {
            memcpy(f->value + row[l] * k, value + leaf[l] * k, k * sizeof *value);
            memcpy(f->count + row[l] * k, w->tree[t].count + leaf[l] * k, k * sizeof *value);
        }
    }
    free(value), free(order), free(leaf), free(row), free(s.step);
    return st;
}

/* Rows of `value` that x comes to. */
static void find_leaves(const forest *f, const float *x, uint32_t *leaf) {
    weirp_walk_leaves(f->walk, x, leaf, f->value, f->base.n_models);
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
    if (sample->dim > WEIRP_MAX_FEATURES)
        return weirp_fail(err, WEIR_INVALID, 0, "forest: more than %u features", WEIRP_MAX_FEATURES);
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

/* Sums of the leaves' values, each over the trees in their order; the last of the columns may be summed twice. */
WEIRP_CLONES static void add_leaves(const float *value, size_t k, const uint32_t *leaf, float *sum) {
    enum { COLUMNS = 8 };
    for (size_t j = 0; k >= COLUMNS && j < k; j += COLUMNS) {
        size_t from = j + COLUMNS <= k ? j : k - COLUMNS;
        float s[COLUMNS] = {0};
        for (size_t t = 0; t < WEIRP_N_TREES; t++) {
            const float *v = value + (size_t)leaf[t] * k + from;
            for (size_t m = 0; m < COLUMNS; m++) s[m] += v[m];
        }
        memcpy(sum + from, s, sizeof s);
    }
    if (k >= COLUMNS) return;
    memset(sum, 0, k * sizeof *sum);
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        for (size_t m = 0; m < k; m++) sum[m] += value[(size_t)leaf[t] * k + m];
}

static void predict(const weirp_estimator *base, const weirp_features *x, void *scratch, double *q, double *sd) {
    const forest *f = (const forest *)base;
    size_t k = base->n_models;
    float *sum = scratch;
    uint32_t leaf[WEIRP_N_TREES];
    find_leaves(f, x->dense, leaf);
    add_leaves(f->value, k, leaf, sum);
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
    float *value = weirp_large(n_leaves(f) * (k + 1), sizeof *value);
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
    float *value = weirp_large(size, 1);
    if (!c || !value) {
        forest_free(c ? &c->base : NULL);
        free(value);
        return weirp_nomem(err);
    }
    double *mean = c->mean, *variance = c->variance;
    *c = *f;
    c->mean = mean, c->variance = variance, c->value = value, c->count = NULL;
    memcpy(mean, f->mean, k * sizeof *mean);
    memcpy(variance, f->variance, k * sizeof *variance);
    memcpy(value, f->value, size);
    weirp_walk_keep(c->walk);
    *out = &c->base;
    return WEIR_OK;
}

/* ---- bytes ---- */

/* A table in the order of the stored leaves. */
static void put_rows(weirp_writer *w, const float *table, const uint32_t *row, size_t n, size_t k) {
    weirp_put_u64(w, n * k);
    for (size_t l = 0; l < n; l++) weirp_put(w, table + row[l] * k, k * sizeof *table);
}

static void save(const weirp_estimator *base, weirp_writer *w) {
    const forest *f = (const forest *)base;
    size_t k = base->n_models, n_steps = f->walk->first[WEIRP_N_TREES];
    weirp_step *steps = weirp_array(n_steps, sizeof *steps);
    uint32_t *row = weirp_array(n_leaves(f), sizeof *row);
    if (!steps || !row || !weirp_walk_steps(f->walk, steps, row)) {
        w->failed = true;
        free(steps);
        free(row);
        return;
    }
    weirp_put_u32(w, FORMAT);
    weirp_put_u64(w, k);
    weirp_put_u64(w, base->dim);
    weirp_put_f64(w, f->lambda);
    weirp_put_f64(w, f->lo);
    weirp_put_f64(w, f->hi);
    weirp_put_f64(w, f->n_effective);
    weirp_put_f64s(w, f->mean, k);
    weirp_put_f64s(w, f->variance, k);
    weirp_put_u32s(w, f->walk->first, WEIRP_N_TREES + 1);
    weirp_put_u32s(w, f->walk->first_leaf, WEIRP_N_TREES + 1);
    weirp_put_u32s(w, f->walk->depth, WEIRP_N_TREES);
    weirp_put_u8s(w, steps, n_steps * sizeof *steps);
    put_rows(w, f->value, row, n_leaves(f), k);
    put_rows(w, f->count, row, n_leaves(f), k);
    free(steps);
    free(row);
}

static bool ascending(const uint32_t *first) {
    for (size_t t = 0; t < WEIRP_N_TREES; t++)
        if (first[t] >= first[t + 1] || first[t + 1] > WEIRP_TREE_MAX_NODES) return false;
    return first[0] == 0;
}

static void get_u32_array(weirp_bytes *r, uint32_t *v, size_t n) {
    if (weirp_get_u64(r) != n) r->failed = true;
    weirp_get(r, v, n * sizeof *v);
}

/* New memory, each stored row where it now belongs; NULL once failed. */
static float *get_rows(weirp_bytes *r, float *table, const uint32_t *row, size_t n, size_t k) {
    size_t size = k * sizeof *table;
    if (weirp_get_u64(r) != n * k || n * size > r->size - r->at) r->failed = true;
    if (!r->failed && !table) r->failed = r->out_of_memory = true;
    if (r->failed) {
        free(table);
        return NULL;
    }
    for (size_t l = 0; l < n; l++) memcpy(table + row[l] * k, r->data + r->at + l * size, size);
    r->at += n * size;
    return table;
}

static void load_tables(forest *f, weirp_bytes *r) {
    weirp_steps s = {0};
    get_u32_array(r, s.first, WEIRP_N_TREES + 1);
    get_u32_array(r, s.first_leaf, WEIRP_N_TREES + 1);
    get_u32_array(r, s.depth, WEIRP_N_TREES);
    size_t k = f->base.n_models, n = s.first_leaf[WEIRP_N_TREES];
    if (!r->failed && ascending(s.first) && ascending(s.first_leaf))
        s.step = (weirp_step *)(void *)weirp_get_u8s(r, s.first[WEIRP_N_TREES] * sizeof *s.step);
    if (!s.step || !weirp_steps_sound(&s, f->base.dim) || n * k > (r->size - r->at) / sizeof *f->value) {
        r->failed = true;
        free(s.step);
        return;
    }
    uint32_t *row = weirp_array(n, sizeof *row);
    f->walk = row ? weirp_walk_new(&s, f->base.dim, row) : NULL;
    free(s.step);
    if (f->walk) {
        f->value = get_rows(r, weirp_large(n * k, sizeof *f->value), row, n, k);
        f->count = r->failed ? NULL : get_rows(r, weirp_array(n * k, sizeof *f->count), row, n, k);
    } else {
        r->failed = r->out_of_memory = true;
    }
    free(row);
}

static weir_status load(weirp_estimator **out, weirp_bytes *r, weir_error *err) {
    uint32_t format = weirp_get_u32(r);
    uint64_t k = weirp_get_u64(r), dim = weirp_get_u64(r);
    if (r->failed || format != FORMAT || k > UINT16_MAX || dim > WEIRP_MAX_FEATURES)
        return weirp_fail(err, WEIR_CORRUPT, 0, "estimator \"forest\" is damaged");
    forest *f = forest_new((size_t)k, (size_t)dim);
    if (!f) return weirp_nomem(err);
    free(f->mean), free(f->variance);
    f->lambda = weirp_get_f64(r), f->lo = weirp_get_f64(r), f->hi = weirp_get_f64(r);
    f->n_effective = weirp_get_f64(r);
    f->mean = weirp_get_f64s(r, (size_t)k);
    f->variance = weirp_get_f64s(r, (size_t)k);
    load_tables(f, r);
    if (r->failed) {
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

/* trees.c: growing extremely randomised trees.
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
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/trees.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BAG_SHARE     0.7   /* of the rows, drawn with replacement, for each tree */
#define FEATURE_SHARE 0.25  /* of the features, tried at each node */
#define LEAST_LEAF    4u    /* rows; n/1000 where that is more, which also keeps trees in the cache */
#define SPLIT_ROWS    1024u /* a larger node judges its splits on so many of its rows */
#define POOL_PRIOR    5.0   /* a model's mean counts as this many rows of the pool's */

/* ---- growing one tree ---- */

static void tree_free(weirp_tree *t) {
    free(t->node);
    free(t->mean);
    free(t->count);
    free(t->parent);
    free(t->bag);
    free(t->swap);
    free(t->in_bag);
    memset(t, 0, sizeof *t);
}

static double draw(weirp_tree *t) {
    return weirp_random_uniform(t->seed, 1, t->draws++);
}

static bool tree_begin(weirp_tree *t, const weirp_ground *g, uint64_t seed) {
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

static bool add_node(weirp_tree *t, const weirp_ground *g, uint32_t parent, const uint32_t *row, size_t n) {
    size_t k = g->s->n_models, i = t->n_nodes;
    if (i >= WEIRP_TREE_MAX_NODES || !weirp_reserve((void **)&t->node, &t->capacity, i + 1, sizeof *t->node) ||
        !weirp_reserve((void **)&t->mean, &t->mean_capacity, (i + 1) * k, sizeof *t->mean) ||
        !weirp_reserve((void **)&t->count, &t->count_capacity, (i + 1) * k, sizeof *t->count) ||
        !weirp_reserve((void **)&t->parent, &t->parent_capacity, i + 1, sizeof *t->parent))
        return false;
    t->n_nodes++;
    t->node[i] = (weirp_tree_node){0, (uint32_t)i, 0};
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
static double split_gain(const weirp_ground *g, const uint32_t *row, size_t n, size_t stride, uint32_t feature,
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

static split best_split(weirp_tree *t, const weirp_ground *g, const uint32_t *row, size_t n, float *tmp) {
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
static size_t partition(weirp_tree *t, const weirp_ground *g, uint32_t *row, size_t n, split s) {
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
static bool split_node(weirp_tree *t, const weirp_ground *g, const task *at, task child[2], float *tmp, bool *failed) {
    uint32_t *row = t->bag + at->from;
    if (at->n < 2 * g->least_leaf || at->depth >= WEIRP_TREE_DEPTH) return false;
    split s = best_split(t, g, row, at->n, tmp);
    if (s.gain < 0) return false;
    size_t left = partition(t, g, row, at->n, s);
    if (left < g->least_leaf || at->n - left < g->least_leaf) return false;
    uint32_t first = (uint32_t)t->n_nodes;
    if (!add_node(t, g, at->node, row, left) || !add_node(t, g, at->node, row + left, at->n - left)) {
        *failed = true;
        return false;
    }
    t->node[at->node] = (weirp_tree_node){s.threshold, first, s.feature};
    child[0] = (task){first, at->from, left, at->depth + 1};
    child[1] = (task){first + 1, at->from + left, at->n - left, at->depth + 1};
    return true;
}

static bool tree_grow(weirp_tree *t, const weirp_ground *g, uint64_t seed) {
    task stack[2 * WEIRP_TREE_DEPTH + 2];
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
void weirp_tree_shrink(const weirp_tree *t, const weirp_ground *g, double lambda, float *value) {
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

static uint32_t descend(const weirp_tree_node *root, const float *x) {
    uint32_t at = 0;
    while (root[at].left != at) at = root[at].left + !(x[root[at].feature] < root[at].threshold);
    return at;
}

/* ---- the ground ---- */

void weirp_ground_free(weirp_ground *g) {
    free(g->z);
    free(g->mean);
    free(g->share);
}

static void find_means(weirp_ground *g) {
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

weir_status weirp_ground_make(weirp_ground *g, const weirp_sample *s, weir_error *err) {
    size_t k = s->n_models;
    memset(g, 0, sizeof *g);
    if (s->n > UINT32_MAX) return weirp_fail(err, WEIR_INVALID, 0, "forest: more than 4294967295 prompts");
    g->s = s;
    g->z = weirp_array(s->n * k, sizeof *g->z);
    g->mean = weirp_array(k, sizeof *g->mean);
    g->share = weirp_array(k, sizeof *g->share);
    if (!g->z || !g->mean || !g->share) {
        weirp_ground_free(g);
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

typedef struct worker {
    weirp_trees *w;
    size_t first;
} worker;

static void count_out_of_bag(const weirp_trees *w, weirp_lane *l, const weirp_tree *t, float *value) {
    const weirp_sample *s = w->g->s;
    size_t k = s->n_models;
    for (size_t i = 0; i < s->n; i++) l->n[i] += !t->in_bag[i];
    for (size_t h = 0; h < w->n_settings; h++) {
        weirp_tree_shrink(t, w->g, w->lambda[h], value);
        for (size_t i = 0; i < s->n; i++) {
            if (t->in_bag[i]) continue;
            const float *v = value + (size_t)descend(t->node, s->dense + i * s->dim) * k;
            double *sum = l->sum + (h * s->n + i) * k;
            for (size_t m = 0; m < k; m++) sum[m] += v[m];
        }
    }
}

static bool grow_one(weirp_trees *w, weirp_lane *l, size_t index) {
    weirp_tree local = {0}, *t = w->tree ? &w->tree[index] : &local;
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
    weirp_trees *w = me->w;
    for (size_t i = me->first; i < WEIRP_LANES; i += w->n_threads)
        for (size_t t = i; t < WEIRP_N_TREES && !w->lane[i].failed; t += WEIRP_LANES)
            if (!grow_one(w, &w->lane[i], t)) w->lane[i].failed = true;
    return NULL;
}

void weirp_trees_free(weirp_trees *w) {
    for (size_t i = 0; i < WEIRP_LANES; i++) {
        free(w->lane[i].sum);
        free(w->lane[i].n);
    }
    for (size_t t = 0; w->tree && t < WEIRP_N_TREES; t++) tree_free(&w->tree[t]);
    free(w->tree);
}

weir_status weirp_trees_grow(weirp_trees *w, weir_error *err) {
    const weirp_sample *s = w->g->s;
    pthread_t thread[WEIRP_LANES];
    worker workers[WEIRP_LANES];
    size_t started = 0;
    w->n_threads = s->n_threads < WEIRP_LANES ? s->n_threads : WEIRP_LANES;
    for (size_t i = 0; w->out_of_bag && i < WEIRP_LANES; i++) {
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
    for (size_t i = 0; i < WEIRP_LANES; i++)
        if (w->lane[i].failed) return weirp_nomem(err);
    return WEIR_OK;
}

/* Sums of all lanes into means; rows that every tree saw get the constants. */
void weirp_trees_held_out(const weirp_trees *w, double *predicted) {
    const weirp_sample *s = w->g->s;
    size_t k = s->n_models;
    for (size_t h = 0; h < w->n_settings; h++)
        for (size_t i = 0; i < s->n; i++) {
            uint32_t n = 0;
            for (size_t l = 0; l < WEIRP_LANES; l++) n += w->lane[l].n[i];
            for (size_t m = 0; m < k; m++) {
                size_t at = (h * s->n + i) * k + m;
                double sum = 0;
                for (size_t l = 0; l < WEIRP_LANES; l++) sum += w->lane[l].sum[at];
                predicted[at] = fmin(fmax(n ? sum / n : w->g->mean[m], s->lo), s->hi);
            }
        }
}

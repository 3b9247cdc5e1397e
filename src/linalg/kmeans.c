/* kmeans.c: Lloyd's k-means. All sums run in row order, so that nothing depends on threads or on the machine.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/linalg.h"

typedef struct clustering {
    const float *x; /* (n, dim) */
    size_t n, dim, k;
    float *centroid;    /* (k, dim); the caller's */
    uint32_t *assigned; /* (n) */
    float *distance;    /* (n) squared, to the assigned centroid */
    double *sum;        /* (k, dim) */
    size_t *count;      /* (k) */
} clustering;

/* The row on which `share` of the total of the distances is reached; a uniform one where all distances are zero. */
static size_t drawn(const clustering *c, double share) {
    double total = 0;
    for (size_t i = 0; i < c->n; i++) total += c->distance[i];
    if (!(total > 0)) return (size_t)(share * (double)c->n);
    double left = share * total;
    size_t last = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (!(c->distance[i] > 0)) continue;
        last = i;
        left -= c->distance[i];
        if (left < 0) break;
    }
    return last;
}

/* k-means++: each next centroid is drawn with probability proportional to the squared distance from those chosen. */
static void seed_centroids(clustering *c, uint64_t seed) {
    for (size_t i = 0; i < c->n; i++) c->distance[i] = 0;
    for (size_t j = 0; j < c->k; j++) {
        size_t row = drawn(c, weirp_random_uniform(seed, 0x6b6d, j));
        memcpy(c->centroid + j * c->dim, c->x + row * c->dim, c->dim * sizeof(float));
        for (size_t i = 0; i < c->n; i++) {
            float d = weirp_distance2(c->x + i * c->dim, c->centroid + j * c->dim, c->dim);
            if (!j || d < c->distance[i]) c->distance[i] = d;
        }
    }
}

/* Nearest centroid of every row, the first of equals; true if one changed. */
static bool assign(clustering *c) {
    bool changed = false;
    for (size_t i = 0; i < c->n; i++) {
        const float *x = c->x + i * c->dim;
        float best = FLT_MAX;
        uint32_t at = 0;
        for (size_t j = 0; j < c->k; j++) {
            float d = weirp_distance2(x, c->centroid + j * c->dim, c->dim);
            if (d < best) best = d, at = (uint32_t)j;
        }
        changed |= c->assigned[i] != at;
        c->assigned[i] = at;
        c->distance[i] = best;
    }
    return changed;
}

/* An empty cluster takes the row that is farthest from its centroid, if any is away from it at all. */
static void reseed(clustering *c, size_t cluster) {
    size_t far = 0;
    for (size_t i = 1; i < c->n; i++)
        if (c->distance[i] > c->distance[far]) far = i;
    if (!(c->distance[far] > 0)) return;
    memcpy(c->centroid + cluster * c->dim, c->x + far * c->dim, c->dim * sizeof(float));
    c->distance[far] = 0;
}

static void move_centroids(clustering *c) {
    memset(c->sum, 0, c->k * c->dim * sizeof *c->sum);
    memset(c->count, 0, c->k * sizeof *c->count);
    for (size_t i = 0; i < c->n; i++) {
        double *sum = c->sum + c->assigned[i] * c->dim;
        c->count[c->assigned[i]]++;
        for (size_t d = 0; d < c->dim; d++) sum[d] += c->x[i * c->dim + d];
    }
    for (size_t j = 0; j < c->k; j++) {
        if (!c->count[j]) {
            reseed(c, j);
            continue;
        }
        for (size_t d = 0; d < c->dim; d++)
            c->centroid[j * c->dim + d] = (float)(c->sum[j * c->dim + d] / (double)c->count[j]);
    }
}

weir_status weirp_kmeans(const float *x, size_t n, size_t dim, size_t k, size_t max_iterations, uint64_t seed,
                         float *centroid, uint32_t *assigned, weir_error *err) {
    if (!n || !dim || !k) return weirp_fail(err, WEIR_INVALID, 0, "k-means of %zu rows in %zu clusters", n, k);
    if (k > UINT32_MAX || k > SIZE_MAX / dim) return weirp_fail(err, WEIR_INVALID, 0, "%zu clusters", k);
    clustering c = {.x = x, .n = n, .dim = dim, .k = k, .centroid = centroid};
    c.assigned = assigned ? assigned : weirp_array(n, sizeof *c.assigned);
    c.distance = weirp_array(n, sizeof *c.distance);
    c.sum = weirp_array(k * dim, sizeof *c.sum);
    c.count = weirp_array(k, sizeof *c.count);
    weir_status st = WEIR_OK;
    if (!c.assigned || !c.distance || !c.sum || !c.count) {
        st = weirp_nomem(err);
    } else {
        seed_centroids(&c, seed);
        memset(c.assigned, 0xff, n * sizeof *c.assigned);
        for (size_t i = 0; i < max_iterations && assign(&c); i++) move_centroids(&c);
        assign(&c);
    }
    if (!assigned) free(c.assigned);
    free(c.distance);
    free(c.sum);
    free(c.count);
    return st;
}

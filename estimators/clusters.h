/* clusters.h: one clustering of prompts, with what models did in each cluster. The estimator: kmeans.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CLUSTERS_H
#define WEIRP_CLUSTERS_H

#include "estimators/levels.h"

typedef struct weirp_clustering {
    size_t k, columns; /* columns: models that there is room for; what isn't used is zero */
    double beta, prior;
    float *centroid;    /* (k, stride) */
    double *count;      /* (k, columns) */
    double *sum;        /* (k, columns) of target - offset */
    double *gone_count; /* (k) removed models' counts, and deviations from their means */
    double *gone;       /* (k) */
    /* what follows from these */
    double *common; /* (k) */
    double *own;    /* (k, columns) (S - N mean) / (N + beta) */
    double *spread; /* (k, columns) 1 / (N + beta); beta times it is common's share */
} weirp_clustering;

/* Rows' mean residuals, and what is left of outcomes beside them. */
typedef struct weirp_residuals {
    double *mean;              /* (n) mean over models of target - own mean; NAN where nothing was seen */
    double n, cells, together; /* rows; outcomes; outcomes in rows that have more than one */
    double squares;            /* of mean */
    double rest, rest_freedom; /* of outcomes around own mean + row mean */
} weirp_residuals;

/* mean is new. */
weir_status weirp_residuals_new(weirp_residuals *r, const weirp_sample *s, const weirp_levels *l, weir_error *err);

/* Room for k clusters; stride is the padded dim. What a failure leaves, free takes. */
bool weirp_clustering_make(weirp_clustering *c, size_t k, size_t stride, size_t n_models);
void weirp_clustering_free(weirp_clustering *c);
/* Centroids of n chosen rows (n, dim), about `size` of them. */
weir_status weirp_clustering_find(weirp_clustering *c, const weirp_sample *s, size_t size, const float *chosen,
                                  size_t n, uint64_t seed, weir_error *err);
/* Counts the sample's outcomes and says where each row is; x: (stride) work, zeros past dim; distance: (k) work. */
void weirp_clustering_count(weirp_clustering *c, const weirp_sample *s, const weirp_levels *l, uint32_t *assigned,
                            float *x, float *distance);
/* beta and prior, by moments. */
weir_status weirp_clustering_choose(weirp_clustering *c, const weirp_residuals *r, const weirp_levels *l,
                                    const uint32_t *assigned, size_t n, weir_error *err);
/* What follows from sums and means. */
void weirp_clustering_settle(const weirp_levels *l, weirp_clustering *c);
/* The nearest cluster of x (stride); distance: (k) gets all distances. */
size_t weirp_clustering_nearest(const weirp_clustering *c, size_t stride, const float *x, float *distance);
/* Adds the deviations for x to q (n_models), and the spreads to v where that isn't NULL. */
void weirp_clustering_add(const weirp_clustering *c, size_t n_models, size_t stride, const float *x, float *distance,
                          double *q, double *v);
/* Room for n_models; false: out of memory, and nothing has changed. */
bool weirp_clustering_reserve(weirp_clustering *c, size_t n_models);
/* A model without outcomes at index n, for which there is room. */
void weirp_clustering_add_model(weirp_clustering *c, size_t n);
/* Takes one of n models out; what it told of all stays. mean: its own, shrunk. */
void weirp_clustering_remove_model(weirp_clustering *c, size_t n, size_t index, double mean);
void weirp_clustering_save(const weirp_clustering *c, size_t stride, weirp_writer *w);
bool weirp_clustering_load(weirp_clustering *c, weirp_bytes *b, size_t stride, size_t n_models);

#endif

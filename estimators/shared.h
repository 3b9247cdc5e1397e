/* shared.h: the part of a prompt's difficulty that all models have in common.
 *
 * One weight vector w for all models, fitted on every outcome's residual from its model's mean ("within" estimator):
 * w = argmin sum over cells ((y - own mean) - (x - own mean x).w)^2 + alpha |w|^2. alpha maximises the evidence
 * (MacKay, Neural Computation 4(3), 1992) of the rows' mean residuals: cells of one row share their noise, so that rows
 * are counted, not cells. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SHARED_H
#define WEIRP_SHARED_H

#include "estimators/gram.h"

typedef struct weirp_shared {
    size_t dim;
    double alpha;    /* penalty, against sums over cells */
    double cells;    /* outcomes a row, when fitted */
    double variance; /* of a row's mean residual around x.w */
    double *inverse; /* triangle of (dim, dim): of the sum of scatters and alpha */
    double *t;       /* (padded dim) */
    double *w;       /* (padded dim) */
    double *sum;     /* (n_models, padded dim) sum of weight * (x - centre), of each model */
    float *quad;     /* of inverse */
} weirp_shared;

/* `like` gives alpha, cells and variance where it isn't NULL. */
weir_status weirp_shared_fit(weirp_shared *shared, const weirp_sample *sample, const weirp_gram *gram,
                             const weirp_levels *levels, const weirp_shared *like, weir_error *err);
/* One more outcome of `model`: z (padded dim, zeros past dim) is x - centre. Before levels take it. `work`: two vectors
 * of padded dim. */
void weirp_shared_add(weirp_shared *shared, const weirp_levels *levels, size_t model, const double *z, double target,
                      double weight, double *work);
weir_status weirp_shared_add_model(weirp_shared *shared, size_t n_models, weir_error *err);
void weirp_shared_remove_model(weirp_shared *shared, size_t n_models, size_t index);
/* Variance of x.w for z in floats. */
static inline double weirp_shared_variance(const weirp_shared *shared, double quad) {
    return quad * shared->cells * shared->variance;
}
void weirp_shared_save(const weirp_shared *shared, size_t n_models, weirp_writer *w);
bool weirp_shared_load(weirp_shared *shared, weirp_bytes *r, size_t dim, size_t n_models);
void weirp_shared_free(weirp_shared *shared);

/* n numbers in new memory aligned to 64 bytes, NULL once failed. */
double *weirp_get_aligned(weirp_bytes *r, size_t n);
/* Inverse of a symmetric positive definite (n, n), which is destroyed, as a triangle. */
weir_status weirp_invert_spd(double *a, size_t n, double *tri, weir_error *err);

#endif

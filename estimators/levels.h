/* levels.h: what every estimator here begins with: each model's mean, shrunk towards the pool's.
 *
 * mean_m = (sum of m's targets + kappa * pool) / (count of m + kappa), where pool is the mean over models of their own
 * means, each weighted by count / (count + kappa), and kappa is the variance within a model over the variance between
 * models (empirical Bayes, by moments; DerSimonian, Laird, Controlled Clinical Trials 7, 1986, eq. 8). A model without
 * outcomes has the pool's mean. What a removed model told of the pool stays.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LEVELS_H
#define WEIRP_LEVELS_H

#include "estimators/estimator.h"

typedef struct weirp_levels {
    size_t n_models;
    double lo, hi;                /* predictions are clipped to it */
    double offset;                /* sums are of target - offset; fixed when made, so that they stay small */
    double kappa;                 /* outcomes that the pool's mean counts for; fixed when made */
    double *count;                /* (n_models) weights of outcomes */
    double *sum;                  /* (n_models) */
    double *square;               /* (n_models) */
    double *mean;                 /* (n_models) shrunk, without the offset */
    double pool;                  /* without the offset */
    double variance;              /* of outcomes around their model's own mean, over all models */
    double gone_weight, gone_sum; /* of the pool: models that were removed */
} weirp_levels;

/* Counts a sample. `like` gives offset and kappa where it isn't NULL. */
weir_status weirp_levels_fit(weirp_levels *levels, const weirp_sample *sample, const weirp_levels *like,
                             weir_error *err);
void weirp_levels_add(weirp_levels *levels, size_t model, double target, double weight); /* and refreshes */
weir_status weirp_levels_add_model(weirp_levels *levels, weir_error *err);
void weirp_levels_remove_model(weirp_levels *levels, size_t index);
void weirp_levels_save(const weirp_levels *levels, weirp_writer *w);
bool weirp_levels_load(weirp_levels *levels, weirp_bytes *r, size_t n_models);
void weirp_levels_free(weirp_levels *levels);

/* A prediction (without the offset) in the target's range. */
static inline double weirp_levels_clip(const weirp_levels *levels, double q) {
    q += levels->offset;
    return q < levels->lo ? levels->lo : q > levels->hi ? levels->hi : q;
}

/* ---- other things that estimators share ---- */

#define WEIRP_MAX_MODELS 65536u
#define WEIRP_MAX_DIM    65536u

/* WEIR_INVALID where a sample's sizes, range or features can't be used. */
weir_status weirp_sample_check(const weirp_sample *sample, weir_error *err);
/* The same for one outcome. */
weir_status weirp_update_check(const weirp_estimator *self, const weirp_features *x, size_t model, double target,
                               double weight, weir_error *err);
static inline bool weirp_seen(double target) { /* false: a missing cell */
    return target - target == 0;
}

/* A residual variance that few outcomes can't make small: the model's own sum of squares and degrees of freedom, with
 * the pool's variance counting for ten more. */
double weirp_shrunk_variance(double sum_of_squares, double freedom, double pool);

/* Takes element `index` of `n` out of an array. */
void weirp_take_out(void *array, size_t n, size_t index, size_t size);
/* Appends one element of zeros to an array of n, in new memory; false: out of memory, and nothing has changed. */
bool weirp_append_zero(void **array, size_t n, size_t size);

/* An estimator's bytes begin with a magic number, the class, a version and the sizes, and end with a checksum of it
 * all. head gives where they begin, for tail. */
size_t weirp_put_head(weirp_writer *w, const weirp_estimator *self, uint32_t version);
void weirp_put_tail(weirp_writer *w, size_t begin);
bool weirp_get_head(weirp_bytes *r, weirp_estimator *self, uint32_t version, size_t *begin);
bool weirp_get_tail(weirp_bytes *r, size_t begin);
weir_status weirp_damaged(const weirp_bytes *r, const char *name, weir_error *err);
/* false when one of n numbers isn't finite. */
bool weirp_all_finite(const double *v, size_t n);
bool weirp_all_finite_f32(const float *v, size_t n);

#endif

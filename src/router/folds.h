/* folds.h: cross-validation folds and the gathering of rows. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_FOLDS_H
#define WEIRP_FOLDS_H

#include "estimators/estimator.h"

typedef struct weirp_folds {
    size_t n, n_folds;
    uint32_t *fold; /* (n) which fold a row is held out in */
} weirp_folds;

/* Identical rows of features share a fold, so that a repeated prompt isn't predicted from itself. */
weir_status weirp_folds_make(weirp_folds *f, const weirp_sample *sample, size_t n_folds, uint64_t seed,
                             weir_error *err);
void weirp_folds_free(weirp_folds *f);

/* Out-of-fold predictions of every setting of a class: (n_settings, n, n_models), new in *out. */
weir_status weirp_folds_predict(const weirp_folds *f, const weirp_estimator_class *class, const weirp_sample *sample,
                                double **out, weir_progress_fn progress, void *user, const char *stage,
                                weir_error *err);

#endif

/* path.h: hierarchical ridge solutions for many penalties over the same sums (the model: ridge.c).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PATH_H
#define WEIRP_PATH_H

#include "estimators/shared.h"

/* What all settings of a fit have in common. */
typedef struct weirp_ridge_path {
    weirp_levels levels;
    weirp_gram gram;
    weirp_shared shared;
} weirp_ridge_path;

/* `test` is only looked at for its sizes; NULL: none. */
weir_status weirp_ridge_path_new(weirp_ridge_path *path, const weirp_sample *train, const weirp_sample *test,
                                 weir_error *err);
/* theta: (d, n_models), all models' coefficients at one alpha. */
weir_status weirp_ridge_path_solve(const weirp_ridge_path *path, double alpha, double *theta, weir_error *err);
/* predicted: (test->n, n_models), clipped. */
weir_status weirp_ridge_path_predict(const weirp_ridge_path *path, const weirp_sample *test, const double *theta,
                                     double *predicted, weir_error *err);
void weirp_ridge_path_free(weirp_ridge_path *path);

#endif

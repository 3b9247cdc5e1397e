/* logmodel.h: one positive quantity (tokens, cost, latency) for every model, predicted on a log scale.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGMODEL_H
#define WEIRP_LOGMODEL_H

#include "src/router/folds.h"
#include "src/router/state.h"

weir_status weirp_log_model_init(weirp_log_model *m, size_t n_models, weir_error *err);
void weirp_log_model_clear(weirp_log_model *m);
/* Adds one model that has shown nothing yet; `n_models` counts it. */
weir_status weirp_log_model_grow(weirp_log_model *m, size_t n_models, weir_error *err);
void weirp_log_model_save(const weirp_log_model *m, size_t n_models, weirp_writer *w);
weir_status weirp_log_model_load(weirp_log_model *m, size_t n_models, weirp_bytes *r, weir_error *err);

/* The columns alone, without the shape. */
void weirp_log_model_save_levels(const weirp_log_model *m, size_t n_models, weirp_writer *w);
bool weirp_log_model_load_levels(weirp_log_model *m, size_t n_models, weirp_bytes *r);
/* Into an initialised one. */
weir_status weirp_log_model_copy(weirp_log_model *to, const weirp_log_model *m, size_t n_models, weir_error *err);

/* Fits a shape to sample->target (log scale, NAN missing) with the regularisation that cross-validation likes best.
 * `held_out` (n, n_models) gets out-of-fold predictions. Leaves the levels at 0; call _residuals next. */
weir_status weirp_log_model_fit(weirp_log_model *m, const weirp_sample *sample, const weirp_folds *folds,
                                double *held_out, weir_error *err);
/* Level, spread, smear and interval of each model from residuals target - held_out. With `keep_level` false the level
 * stays 0 (the shape has it already). coverage: of the interval [lo, hi]. */
weir_status weirp_log_model_residuals(weirp_log_model *m, const double *target, const double *held_out, size_t n,
                                      size_t n_models, double coverage, weir_error *err);

/* mu (n_models): expected log; NAN where nothing is known. Neither allocates nor locks. */
void weirp_log_model_predict(const weirp_log_model *m, const weirp_features *x, size_t n_models, void *scratch,
                             double *mu);
/* One observation of log y, with `mu` what weirp_log_model_predict said. */
void weirp_log_model_update(weirp_log_model *m, size_t model, double mu, double log_y);
size_t weirp_log_model_scratch(const weirp_log_model *m);

#endif

/* quality.h: the combination of estimators that predicts quality.
 *
 * q_m = mean_m + shrink * sum_k weight_k (p_km - mean_m), clipped to [0,1]. SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef WEIRP_QUALITY_H
#define WEIRP_QUALITY_H

#include "src/router/state.h"

void weirp_quality_clear(weirp_quality *q);
void weirp_quality_save(const weirp_quality *q, size_t n_models, weirp_writer *w);
weir_status weirp_quality_load(weirp_quality *q, size_t n_models, weirp_bytes *r, weir_error *err);

/* *to, which is zeros, becomes a copy that only predicts. */
weir_status weirp_quality_copy(weirp_quality *to, const weirp_quality *q, size_t n_models, weir_error *err);

/* Bytes of scratch that the hungriest member needs. */
size_t weirp_quality_scratch(const weirp_quality *q);
/* quality and sd (n_models); tmp (n_models). `timer`, where not NULL, is called after each member with its number.
 * Neither allocates nor locks. */
typedef void (*weirp_quality_timer)(void *user, size_t member);
void weirp_quality_predict(const weirp_quality *q, const weirp_features *x, size_t n_models, void *scratch, double *tmp,
                           double *quality, double *sd, weirp_quality_timer timer, void *user);
/* Every member learns one label. */
weir_status weirp_quality_update(weirp_quality *q, const weirp_features *x, size_t model, double label,
                                 weir_error *err);
/* Adds a model without outcomes; n_models counts it. */
weir_status weirp_quality_grow(weirp_quality *q, size_t n_models, weir_error *err);

#endif

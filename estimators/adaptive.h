/* adaptive.h: what has changed since the estimators were fitted: a correction of their quality, learned online.
 *
 * Sees a prompt's dense features and the prior prediction of quality for each model (from fitted estimators, or a
 * constant where there are none), predicts the residual, forgets what no longer fits, and says when a model no longer
 * does what it did. Knows no text and no risk. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ADAPTIVE_H
#define WEIRP_ADAPTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/base.h"
#include "weir/error.h"

typedef struct weirp_adaptive weirp_adaptive;

/* A model's quality has moved. */
typedef struct weirp_alarm {
    bool raised;
    double before, after; /* mean quality that was expected, and seen since the change began */
} weirp_alarm;

/* For features of `dim` numbers, the last n_scalars of them plain counts rather than text directions. `trained`: priors
 * come from fitted estimators, so that residuals are small until something changes; false: the prior is a constant and
 * the context is learned from nothing. *out is new. */
weir_status weirp_adaptive_new(weirp_adaptive **out, size_t n_models, size_t dim, size_t n_scalars, bool trained,
                               weir_error *err);
void weirp_adaptive_free(weirp_adaptive *a); /* NULL is fine */
void weirp_adaptive_save(const weirp_adaptive *a, weirp_writer *w);
weir_status weirp_adaptive_load(weirp_adaptive **out, weirp_bytes *r, weir_error *err); /* any bytes: no crash */
weir_status weirp_adaptive_add_model(weirp_adaptive *a, weir_error *err);
size_t weirp_adaptive_n_models(const weirp_adaptive *a);
size_t weirp_adaptive_dim(const weirp_adaptive *a);
uint64_t weirp_adaptive_count(const weirp_adaptive *a, size_t model); /* labels learned */

/* A prediction comes soon: what it reads is sent for, into the second-level cache. */
void weirp_adaptive_expect(const weirp_adaptive *a);
/* quality and sd: (n_models). quality = prior + correction, clipped to [0,1]; sd: standard error of the correction, as
 * exploration should see it. Neither allocates nor locks. */
void weirp_adaptive_predict(const weirp_adaptive *a, const float *dense, const double *prior, double *quality,
                            double *sd);
/* One label. *alarm is always written. Does not allocate. */
void weirp_adaptive_update(weirp_adaptive *a, const float *dense, size_t model, double prior, double label,
                           weirp_alarm *alarm);
/* One prompt has been observed, after the updates that its labels made (none, one or several): moves the clock of
 * forgetting and the running mean of the text. */
void weirp_adaptive_tick(weirp_adaptive *a, const float *dense);

#endif

/* costs.h: what an answer will cost and how long it will take: predicted tokens times prices, or the recorded cost
 * itself where no tokens are known. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_COSTS_H
#define WEIRP_COSTS_H

#include "src/router/folds.h"
#include "src/router/state.h"
#include "weir/data.h"

/* What fitting costs needs beside the outcomes. All borrowed. */
typedef struct weirp_costs_input {
    const weir_dataset *data;
    const double *approximate_tokens; /* (n_prompts) counted in the text */
    const weirp_sample *sample;       /* features of the prompts; its target is not read */
    const weirp_folds *folds;
} weirp_costs_input;

weir_status weirp_costs_init(weirp_costs *c, size_t n_models, weir_error *err);
void weirp_costs_clear(weirp_costs *c);
weir_status weirp_costs_grow(weirp_costs *c, size_t n_models, weir_error *err); /* to n_models, one more than before */
void weirp_costs_save(const weirp_costs *c, size_t n_models, weirp_writer *w);
weir_status weirp_costs_load(weirp_costs *c, size_t n_models, weirp_bytes *r, weir_error *err);

/* What learning changes, alone: the sources of costs and the levels of every part. */
void weirp_costs_save_levels(const weirp_costs *c, size_t n_models, weirp_writer *w);
/* Into a loaded `c`; false: the bytes don't fit, and `c` is not to be used. */
bool weirp_costs_load_levels(weirp_costs *c, size_t n_models, weirp_bytes *r);
/* *to, which is zeros, becomes a copy. */
weir_status weirp_costs_copy(weirp_costs *to, const weirp_costs *c, size_t n_models, weir_error *err);

/* Fits into an initialised `c`. Prices that the pool lacks and that recorded costs and tokens determine are put into
 * `pool`. `held_out` (n_prompts, n_models) gets out-of-fold cost estimates; NAN where no cost is known. */
weir_status weirp_costs_fit(weirp_costs *c, weir_pool *pool, const weirp_costs_input *in, double *held_out,
                            weir_error *err);

/* Bytes of scratch that predicting and learning need. */
size_t weirp_costs_scratch(const weirp_costs *c);
/* Fills the cost, token and latency columns of `out`. `tmp` (n_models). Neither allocates nor locks. */
void weirp_costs_predict(const weirp_costs *c, const weir_pool *pool, const weirp_features *x, void *scratch,
                         double *tmp, weir_estimates *out);
/* Learns from one outcome; fields that are NAN teach nothing. */
void weirp_costs_update(weirp_costs *c, const weir_pool *pool, const weirp_features *x, size_t model,
                        const weir_outcome *seen, void *scratch, double *tmp);

#endif

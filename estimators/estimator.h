/* estimator.h: the one interface behind which estimators live, one file each.
 *
 * An estimator predicts a target (quality; the logarithm of tokens, cost or latency) for every model of the pool from
 * features, with the standard error of its prediction, and learns. It knows features and outcomes, and nothing of risk,
 * prices or text. Adding one: a file here, a line in estimators/CMakeLists.txt, a line in registry.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ESTIMATOR_H
#define WEIRP_ESTIMATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/base.h"
#include "src/text/text.h"
#include "weir/error.h"

/* What a fit sees. All borrowed. */
typedef struct weirp_sample {
    size_t n, n_models, dim;
    const float *dense;   /* (n, dim) row-major; weirp_features.dense of each prompt */
    const double *target; /* (n, n_models) row-major; NAN: missing */
    double lo, hi;        /* the target's range; predictions are clipped to it. -INFINITY, INFINITY: none */
    uint64_t seed;
    unsigned n_threads; /* >= 1 */
} weirp_sample;

typedef struct weirp_estimator weirp_estimator;

typedef struct weirp_estimator_class {
    const char *name; /* "ridge", "knn", "kmeans", "lowrank"; also in the store, so it never changes */

    /* The class's own hyper-parameter grid, as numbered settings; describe writes a short text ("alpha=30"). */
    size_t n_settings;
    bool settings_ascend; /* each setting regularises more strongly than the one before */
    void (*describe)(size_t setting, char *text, size_t size);

    /* Fits on all rows at one setting. *out is new. A model without any outcome predicts what the others suggest. */
    weir_status (*fit)(weirp_estimator **out, const weirp_sample *sample, size_t setting, weir_error *err);

    /* Fits on `train` and predicts the rows of `test` for every setting at once, sharing the work that settings have in
     * common: predicted is (n_settings, test->n, n_models). Never reads test->target. */
    weir_status (*fit_predict)(const weirp_sample *train, const weirp_sample *test, double *predicted, weir_error *err);

    /* Out-of-bag predictions of the sample's own rows for every setting, (n_settings, n, n_models): for classes whose
     * fit holds rows out by itself. NULL: fit_predict on folds does it. */
    weir_status (*out_of_bag)(const weirp_sample *sample, double *predicted, weir_error *err);

    /* q and sd: (n_models); sd is the standard error of q, and NULL where nobody asks. Neither allocates nor locks;
     * scratch is one thread's, of scratch_size bytes, aligned to 64. */
    void (*predict)(const weirp_estimator *self, const weirp_features *x, void *scratch, double *q, double *sd);
    size_t (*scratch_size)(const weirp_estimator *self);

    /* Learns one outcome with the given weight (1: as a row of the fit). */
    weir_status (*update)(weirp_estimator *self, const weirp_features *x, size_t model, double target, double weight,
                          weir_error *err);
    /* Appends a model without outcomes; it starts from the mean of the pool and borrows until it has its own. */
    weir_status (*add_model)(weirp_estimator *self, weir_error *err);
    /* Takes model `index` out; the others' predictions stay what they were. */
    weir_status (*remove_model)(weirp_estimator *self, size_t index, weir_error *err);
    void (*save)(const weirp_estimator *self, weirp_writer *w);
    weir_status (*load)(weirp_estimator **out, weirp_bytes *r,
                        weir_error *err); /* any bytes: an error, never a crash */
    void (*free)(weirp_estimator *self);  /* NULL is fine */

    /* A copy that is only asked to predict, and freed; it may share what update and add_model don't change. NULL: what
     * save wrote, loaded. */
    weir_status (*copy)(weirp_estimator **out, const weirp_estimator *self, weir_error *err);
    /* Gives up what predicting doesn't need: from now on it is as such a copy. NULL: there is nothing. */
    void (*freeze)(weirp_estimator *self);
} weirp_estimator_class;

/* Every estimator's struct begins with this. */
struct weirp_estimator {
    const weirp_estimator_class *class;
    size_t n_models, dim;
};

weir_status weirp_estimator_copy(weirp_estimator **out, const weirp_estimator *from, weir_error *err);

/* The classes in order; NULL past the last. */
const weirp_estimator_class *weirp_estimator_class_at(size_t index);
const weirp_estimator_class *weirp_estimator_class_find(const char *name); /* NULL: none */

#endif

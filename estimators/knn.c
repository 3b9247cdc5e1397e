/* knn.c: "knn": outcomes of the k nearest prompts.
 *
 * With weights v_i of the k rows nearest to x (1; or what an update said), model m's expectation is
 *     mean_m + (sum over those of m's outcomes among them of v_i (y_im - mean_m) + BETA common) / (W_m + BETA),
 * where W_m is the sum of their weights, mean_m comes from levels.h, and common = sum of v_i r_i / (sum of v_i + RHO)
 * is how the rows' outcomes deviate from their models' means; r_i, the mean deviation of row i, is taken when the row
 * is learned. So a model with few outcomes nearby deviates as the pool does, and one with none predicts the pool's mean
 * + common. The setting is k: with k large, little is left of noise.
 *
 * sd^2 = sigma2 (1 / (W_m + BETA) + 1 / (count_m + kappa)), sigma2 the variance of m's outcomes among the neighbours,
 * shrunk towards its variance anywhere (ten outcomes' worth).
 *
 * The rows' index is ivf.h; distances are Euclidean. Update is exact: it appends the row, or fills in a cell of the row
 * appended last where that is the same prompt.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/classes.h"
#include "estimators/ivf.h"
#include "estimators/kernels.h"
#include "estimators/levels.h"

#define BETA 20.0
#define RHO  10.0

enum { VERSION = 1 };
static const size_t neighbours[] = {20, 40, 80, 160, 300, 600};
#define N_SETTINGS (sizeof neighbours / sizeof *neighbours)

typedef struct knn {
    weirp_estimator base;
    weirp_levels levels;
    weirp_ivf index;
    size_t k;
    double *variance; /* (n_models) of outcomes around their mean */
} knn;

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "k=%zu", neighbours[setting]);
}

static void knn_free(weirp_estimator *self) {
    knn *e = (knn *)self;
    if (!e) return;
    weirp_levels_free(&e->levels);
    weirp_ivf_free(&e->index);
    free(e->variance);
    free(e);
}

static void measure_variances(knn *e) {
    const weirp_levels *l = &e->levels;
    for (size_t m = 0; m < l->n_models; m++) {
        double squares = l->count[m] > 0 ? l->square[m] - l->sum[m] * l->sum[m] / l->count[m] : 0;
        e->variance[m] = weirp_shrunk_variance(squares, l->count[m] - 1, l->variance);
    }
}

static weir_status fit_at(knn **out, const weirp_sample *s, size_t k, weir_error *err) {
    weir_status st = WEIR_OK;
    knn *e = weirp_array(1, sizeof *e);
    if (!e) return weirp_nomem(err);
    e->base = (weirp_estimator){&weirp_knn_class, s->n_models, s->dim};
    e->k = k;
    e->variance = weirp_array(s->n_models, sizeof *e->variance);
    if (!e->variance) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_sample_check(s, err));
    WEIRP_TRY(weirp_levels_fit(&e->levels, s, NULL, err));
    WEIRP_TRY(weirp_ivf_fit(&e->index, s, &e->levels, err));
    measure_variances(e);
    *out = e;
done:
    if (st != WEIR_OK) knn_free(&e->base);
    return st;
}

static weir_status knn_fit(weirp_estimator **out, const weirp_sample *sample, size_t setting, weir_error *err) {
    if (setting >= N_SETTINGS) return weirp_fail(err, WEIR_INVALID, 0, "knn has no setting %zu", setting);
    knn *e = NULL;
    weir_status st = fit_at(&e, sample, neighbours[setting], err);
    if (st == WEIR_OK) *out = &e->base;
    return st;
}

void weirp_knn_probe_all(weirp_estimator *self) {
    ((knn *)self)->index.probe_all = true;
}

static size_t knn_scratch_size(const weirp_estimator *self) {
    const knn *e = (const knn *)self;
    return weirp_ivf_scratch_size(&e->index, neighbours[N_SETTINGS - 1] > e->k ? neighbours[N_SETTINGS - 1] : e->k);
}

/* Expectations from what was gathered. */
static void estimate(const knn *e, const weirp_near *near, double *q, double *sd) {
    const weirp_levels *l = &e->levels;
    double common = near->deviation / (near->weight + RHO);
    for (size_t m = 0; m < e->base.n_models; m++) {
        double w = near->count[m], sum = near->sum[m], mean = l->mean[m];
        q[m] = weirp_levels_clip(l, mean + (sum - w * mean + BETA * common) / (w + BETA));
        if (!sd) continue;
        double around = w > 0 ? near->square[m] - sum * sum / w : 0;
        double variance = weirp_shrunk_variance(around, w, e->variance[m]);
        sd[m] = sqrt(variance * (1 / (w + BETA) + 1 / (l->count[m] + l->kappa)));
    }
}

static void knn_predict(const weirp_estimator *self, const weirp_features *x, void *scratch, double *q, double *sd) {
    const knn *e = (const knn *)self;
    weirp_near near;
    weirp_ivf_begin(&e->index, x->dense, scratch, &near);
    weirp_ivf_gather(&e->index, e->k, &near);
    estimate(e, &near, q, sd);
}

/* Neighbours are looked up once a row: a larger k goes on where the smaller one ended. */
static weir_status knn_fit_predict(const weirp_sample *train, const weirp_sample *test, double *predicted,
                                   weir_error *err) {
    size_t models = train->n_models;
    if (test->dim != train->dim || test->n_models != models)
        return weirp_fail(err, WEIR_INVALID, 0, "test rows are of another kind than the training rows");
    knn *e = NULL;
    weir_status st = fit_at(&e, train, neighbours[N_SETTINGS - 1], err);
    if (st != WEIR_OK) return st;
    void *scratch = weirp_aligned(knn_scratch_size(&e->base), 1);
    if (!scratch) st = weirp_nomem(err);
    for (size_t i = 0; i < test->n && st == WEIR_OK; i++) {
        weirp_near near;
        weirp_ivf_begin(&e->index, test->dense + i * test->dim, scratch, &near);
        for (size_t a = 0; a < N_SETTINGS; a++) {
            weirp_ivf_gather(&e->index, neighbours[a], &near);
            estimate(e, &near, predicted + (a * test->n + i) * models, NULL);
        }
    }
    free(scratch);
    knn_free(&e->base);
    return st;
}

static weir_status knn_update(weirp_estimator *self, const weirp_features *x, size_t model, double target,
                              double weight, weir_error *err) {
    knn *e = (knn *)self;
    weir_status st = weirp_update_check(self, x, model, target, weight, err);
    if (st != WEIR_OK) return st;
    st = weirp_ivf_add(&e->index, x->dense, model, target - e->levels.offset, weight, err);
    if (st != WEIR_OK) return st;
    weirp_levels_add(&e->levels, model, target, weight);
    weirp_ivf_settle_last(&e->index, &e->levels);
    measure_variances(e);
    return WEIR_OK;
}

static weir_status knn_add_model(weirp_estimator *self, weir_error *err) {
    knn *e = (knn *)self;
    size_t n = self->n_models;
    if (!weirp_append_zero((void **)&e->variance, n, sizeof(double))) return weirp_nomem(err);
    weir_status st = weirp_levels_add_model(&e->levels, err);
    if (st != WEIR_OK) return st;
    if ((st = weirp_ivf_add_model(&e->index, err)) != WEIR_OK) {
        weirp_levels_remove_model(&e->levels, n);
        return st;
    }
    e->variance[n] = e->levels.variance;
    self->n_models = n + 1;
    return WEIR_OK;
}

static weir_status knn_remove_model(weirp_estimator *self, size_t index, weir_error *err) {
    knn *e = (knn *)self;
    if (index >= self->n_models) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", index);
    weirp_ivf_remove_model(&e->index, index);
    weirp_levels_remove_model(&e->levels, index);
    weirp_take_out(e->variance, self->n_models, index, sizeof(double));
    self->n_models--;
    return WEIR_OK;
}

static void knn_save(const weirp_estimator *self, weirp_writer *w) {
    const knn *e = (const knn *)self;
    size_t begin = weirp_put_head(w, self, VERSION);
    weirp_levels_save(&e->levels, w);
    weirp_put_u64(w, e->k);
    weirp_put_f64s(w, e->variance, self->n_models);
    weirp_ivf_save(&e->index, w);
    weirp_put_tail(w, begin);
}

static weir_status knn_load(weirp_estimator **out, weirp_bytes *b, weir_error *err) {
    size_t begin;
    knn *e = weirp_array(1, sizeof *e);
    if (!e) return weirp_nomem(err);
    e->base.class = &weirp_knn_class;
    bool ok = weirp_get_head(b, &e->base, VERSION, &begin) && weirp_levels_load(&e->levels, b, e->base.n_models);
    if (ok) {
        uint64_t k = weirp_get_u64(b);
        e->k = (size_t)k;
        e->variance = weirp_get_f64s(b, e->base.n_models);
        ok = !b->failed && k >= 1 && k <= WEIRP_IVF_MAX_ROWS && weirp_all_finite(e->variance, e->base.n_models) &&
             weirp_ivf_load(&e->index, b, e->base.dim, e->base.n_models);
    }
    if (!ok || !weirp_get_tail(b, begin)) {
        weirp_damaged(b, "knn", err);
        knn_free(&e->base);
        return WEIR_CORRUPT;
    }
    *out = &e->base;
    return WEIR_OK;
}

const weirp_estimator_class weirp_knn_class = {
    .name = "knn",
    .n_settings = N_SETTINGS,
    .settings_ascend = true,
    .describe = describe,
    .fit = knn_fit,
    .fit_predict = knn_fit_predict,
    .predict = knn_predict,
    .scratch_size = knn_scratch_size,
    .update = knn_update,
    .add_model = knn_add_model,
    .remove_model = knn_remove_model,
    .save = knn_save,
    .load = knn_load,
    .free = knn_free,
};

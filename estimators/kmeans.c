/* kmeans.c: "kmeans": models' means in clusters of prompts, after Avengers-Pro (arXiv 2508.12631, section 3).
 *
 * Several clusterings (sizes and seeds, the setting) are averaged. In each, a prompt belongs to its three nearest
 * clusters with weights proportional to exp(-9 squared distance), and in cluster c model m's expectation is
 *     mean_m + common_c + (S_cm - N_cm mean_m - N_cm common_c) / (N_cm + beta),
 * where S, N are m's sum and count there, mean_m comes from levels.h, and common_c is the deviation of all models'
 * outcomes in c from their means, over their count + prior: with few outcomes of its own in a cluster a model deviates
 * there as the pool does; with none at all it predicts the pool's mean + common_c. beta and prior are ratios of the
 * noise to the variance between clusters (empirical Bayes, by moments; per clustering): where clusters say nothing,
 * nothing but mean_m is left.
 *
 * sd^2 = sigma2_m (mean over clusterings of 1 / (N_cm + beta) + 1 / (count_m + kappa)).
 *
 * Update is exact: centroids, beta and prior stay, sums and all that follows from them are counted anew. From a sample
 * of very few rows there are few clusters, from none only the means. What a removed model told of common_c stays.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/classes.h"
#include "estimators/clusters.h"
#include "estimators/kernels.h"

enum { VERSION = 1, SEEDS = 2, ROWS = 4096, N_SIZES = 4 };
static const size_t sizes[N_SIZES] = {8, 16, 32, 64};

static const struct {
    const char *text;
    bool uses[N_SIZES];
} settings[] = {
    {"clusters=8", {true, false, false, false}},      {"clusters=16", {false, true, false, false}},
    {"clusters=32", {false, false, true, false}},     {"clusters=8+16+32", {true, true, true, false}},
    {"clusters=16+32+64", {false, true, true, true}},
};
#define N_SETTINGS (sizeof settings / sizeof *settings)

typedef struct kmeans {
    weirp_estimator base;
    weirp_levels levels;
    size_t stride;              /* padded dim */
    size_t n_clusterings, most; /* clusters in one */
    weirp_clustering *clusterings;
    double *sigma2; /* (n_models) */
} kmeans;

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "%s", settings[setting].text);
}

static void kmeans_free(weirp_estimator *self) {
    kmeans *km = (kmeans *)self;
    if (!km) return;
    weirp_levels_free(&km->levels);
    for (size_t i = 0; i < km->n_clusterings; i++) weirp_clustering_free(&km->clusterings[i]);
    free(km->clusterings);
    free(km->sigma2);
    free(km);
}

/* Residual variances: squares around the clusters' means, averaged over clusterings. */
static void measure_residuals(kmeans *km) {
    const weirp_levels *l = &km->levels;
    for (size_t m = 0; m < l->n_models; m++) {
        double squares = 0, freedom = 0;
        for (size_t i = 0; i < km->n_clusterings; i++) {
            const weirp_clustering *c = &km->clusterings[i];
            squares += l->square[m];
            freedom += l->count[m];
            for (size_t j = 0; j < c->k; j++) {
                double n = c->count[j * c->columns + m], s = c->sum[j * c->columns + m];
                if (n > 0) squares -= s * s / n, freedom -= 1;
            }
        }
        double parts = km->n_clusterings ? (double)km->n_clusterings : 1;
        km->sigma2[m] = weirp_shrunk_variance(squares / parts, freedom / parts, l->variance);
    }
}

static void settle(kmeans *km) {
    for (size_t i = 0; i < km->n_clusterings; i++) weirp_clustering_settle(&km->levels, &km->clusterings[i]);
    measure_residuals(km);
}

/* ---- fitting ---- */

/* Some rows in random order, for finding centroids; all where there are few. Gives their number. */
static size_t choose_rows(const weirp_sample *s, float *chosen, size_t most, size_t *order) {
    for (size_t i = 0; i < s->n; i++) order[i] = i;
    if (s->n > most) weirp_shuffle(order, s->n, s->seed);
    size_t n = s->n < most ? s->n : most;
    for (size_t i = 0; i < n; i++)
        if (s->dim) memcpy(chosen + i * s->dim, s->dense + order[i] * s->dim, s->dim * sizeof *chosen);
    return n;
}

/* The clusterings of all sizes in `uses`, in order of size and seed; or those of `like`. */
static weir_status fit_clusterings(kmeans *km, const weirp_sample *s, const bool *uses, const kmeans *like,
                                   weir_error *err) {
    weir_status st = WEIR_OK;
    size_t most = like ? like->most : sizes[N_SIZES - 1], stride = km->stride;
    weirp_residuals r = {0};
    float *chosen = weirp_array((s->n < ROWS ? s->n : ROWS) * s->dim, sizeof *chosen);
    float *x = weirp_aligned(stride, sizeof *x), *distance = weirp_array(most, sizeof *distance);
    size_t *order = weirp_array(s->n, sizeof *order);
    uint32_t *assigned = weirp_array(s->n, sizeof *assigned);
    km->clusterings = weirp_array(like ? like->n_clusterings : N_SIZES * SEEDS, sizeof *km->clusterings);
    if (!chosen || !x || !distance || !order || !assigned || !km->clusterings) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_residuals_new(&r, s, &km->levels, err));
    size_t n = choose_rows(s, chosen, ROWS, order), wanted = like ? like->n_clusterings : N_SIZES * SEEDS;
    for (size_t i = 0; i < wanted; i++) {
        if (!like && !uses[i / SEEDS]) continue;
        weirp_clustering *c = &km->clusterings[km->n_clusterings++];
        if (like) {
            const weirp_clustering *from = &like->clusterings[i];
            if (!weirp_clustering_make(c, from->k, stride, s->n_models)) WEIRP_TRY(weirp_nomem(err));
            memcpy(c->centroid, from->centroid, c->k * stride * sizeof *c->centroid);
            c->beta = from->beta, c->prior = from->prior;
        } else {
            WEIRP_TRY(weirp_clustering_find(c, s, sizes[i / SEEDS], chosen, n, s->seed + i, err));
        }
        if (c->k > km->most) km->most = c->k;
        weirp_clustering_count(c, s, &km->levels, assigned, x, distance);
        if (!like) WEIRP_TRY(weirp_clustering_choose(c, &r, &km->levels, assigned, s->n, err));
    }
    settle(km);
done:
    free(r.mean);
    free(chosen);
    free(x);
    free(distance);
    free(order);
    free(assigned);
    return st;
}

static weir_status fit_at(kmeans **out, const weirp_sample *s, const bool *uses, const kmeans *like, weir_error *err) {
    weir_status st = WEIR_OK;
    kmeans *km = weirp_array(1, sizeof *km);
    if (!km) return weirp_nomem(err);
    km->base = (weirp_estimator){&weirp_kmeans_class, s->n_models, s->dim};
    WEIRP_TRY(weirp_sample_check(s, err));
    if (like && like->base.dim != s->dim)
        WEIRP_TRY(weirp_fail(err, WEIR_INVALID, 0, "%zu features where %zu are expected", s->dim, like->base.dim));
    km->stride = weirp_padded(s->dim);
    km->sigma2 = weirp_array(s->n_models, sizeof *km->sigma2);
    if (!km->sigma2) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_levels_fit(&km->levels, s, like ? &like->levels : NULL, err));
    WEIRP_TRY(fit_clusterings(km, s, uses, like, err));
    *out = km;
done:
    if (st != WEIR_OK) kmeans_free(&km->base);
    return st;
}

static weir_status kmeans_fit(weirp_estimator **out, const weirp_sample *sample, size_t setting, weir_error *err) {
    if (setting >= N_SETTINGS) return weirp_fail(err, WEIR_INVALID, 0, "kmeans has no setting %zu", setting);
    kmeans *km = NULL;
    weir_status st = fit_at(&km, sample, settings[setting].uses, NULL, err);
    if (st == WEIR_OK) *out = &km->base;
    return st;
}

weir_status weirp_kmeans_refit(weirp_estimator **out, const weirp_estimator *like, const weirp_sample *sample,
                               weir_error *err) {
    kmeans *km = NULL;
    weir_status st = fit_at(&km, sample, NULL, (const kmeans *)like, err);
    if (st == WEIR_OK) *out = &km->base;
    return st;
}

/* ---- predicting ---- */

static size_t kmeans_scratch_size(const weirp_estimator *self) {
    const kmeans *km = (const kmeans *)self;
    return (km->stride + weirp_padded(km->most)) * sizeof(float);
}

static void kmeans_predict(const weirp_estimator *self, const weirp_features *x, void *scratch, double *q, double *sd) {
    const kmeans *km = (const kmeans *)self;
    const weirp_levels *l = &km->levels;
    size_t models = self->n_models;
    float *f = scratch, *distance = f + km->stride;
    memset(f, 0, km->stride * sizeof *f);
    if (self->dim) memcpy(f, x->dense, self->dim * sizeof *f);
    memset(q, 0, models * sizeof *q);
    if (sd) memset(sd, 0, models * sizeof *sd);
    for (size_t i = 0; i < km->n_clusterings; i++)
        weirp_clustering_add(&km->clusterings[i], models, km->stride, f, distance, q, sd);
    double part = km->n_clusterings ? 1 / (double)km->n_clusterings : 0;
    for (size_t m = 0; m < models; m++) q[m] = weirp_levels_clip(l, l->mean[m] + part * q[m]);
    for (size_t m = 0; sd && m < models; m++)
        sd[m] = sqrt(km->sigma2[m] * (part * sd[m] + 1 / (l->count[m] + l->kappa)));
}

/* Each size and seed is fitted once; a setting averages those that it uses. */
static weir_status kmeans_fit_predict(const weirp_sample *train, const weirp_sample *test, double *predicted,
                                      weir_error *err) {
    static const bool all[N_SIZES] = {true, true, true, true};
    size_t models = train->n_models;
    if (test->dim != train->dim || test->n_models != models)
        return weirp_fail(err, WEIR_INVALID, 0, "test rows are of another kind than the training rows");
    kmeans *km = NULL;
    weir_status st = fit_at(&km, train, all, NULL, err);
    if (st != WEIR_OK) return st;
    double *part = weirp_array(N_SIZES * models, sizeof *part);
    float *f = weirp_aligned(kmeans_scratch_size(&km->base), 1);
    if (!part || !f) st = weirp_nomem(err);
    for (size_t i = 0; i < test->n && st == WEIR_OK; i++) {
        if (test->dim) memcpy(f, test->dense + i * test->dim, test->dim * sizeof *f);
        memset(part, 0, N_SIZES * models * sizeof *part);
        for (size_t k = 0; k < km->n_clusterings; k++)
            weirp_clustering_add(&km->clusterings[k], models, km->stride, f, f + km->stride, part + k / SEEDS * models,
                                 NULL);
        for (size_t a = 0; a < N_SETTINGS; a++)
            for (size_t m = 0; m < models; m++) {
                double sum = 0, n = 0;
                for (size_t k = 0; k < N_SIZES; k++)
                    if (settings[a].uses[k]) sum += part[k * models + m], n += SEEDS;
                predicted[(a * test->n + i) * models + m] =
                    weirp_levels_clip(&km->levels, km->levels.mean[m] + sum / n);
            }
    }
    free(part);
    free(f);
    kmeans_free(&km->base);
    return st;
}

/* ---- learning ---- */

static weir_status kmeans_update(weirp_estimator *self, const weirp_features *x, size_t model, double target,
                                 double weight, weir_error *err) {
    kmeans *km = (kmeans *)self;
    weir_status st = weirp_update_check(self, x, model, target, weight, err);
    if (st != WEIR_OK) return st;
    float *f = weirp_aligned(kmeans_scratch_size(self), 1);
    if (!f) return weirp_nomem(err);
    if (self->dim) memcpy(f, x->dense, self->dim * sizeof *f);
    for (size_t i = 0; i < km->n_clusterings; i++) {
        weirp_clustering *c = &km->clusterings[i];
        size_t at = weirp_clustering_nearest(c, km->stride, f, f + km->stride) * c->columns + model;
        c->count[at] += weight;
        c->sum[at] += weight * (target - km->levels.offset);
    }
    free(f);
    weirp_levels_add(&km->levels, model, target, weight);
    settle(km);
    return WEIR_OK;
}

static weir_status kmeans_add_model(weirp_estimator *self, weir_error *err) {
    kmeans *km = (kmeans *)self;
    size_t n = self->n_models;
    if (!weirp_append_zero((void **)&km->sigma2, n, sizeof(double))) return weirp_nomem(err);
    for (size_t i = 0; i < km->n_clusterings; i++)
        if (!weirp_clustering_reserve(&km->clusterings[i], n + 1)) return weirp_nomem(err);
    weir_status st = weirp_levels_add_model(&km->levels, err);
    if (st != WEIR_OK) return st;
    km->sigma2[n] = km->levels.variance;
    for (size_t i = 0; i < km->n_clusterings; i++) weirp_clustering_add_model(&km->clusterings[i], n);
    self->n_models = n + 1;
    return WEIR_OK;
}

static weir_status kmeans_remove_model(weirp_estimator *self, size_t index, weir_error *err) {
    kmeans *km = (kmeans *)self;
    size_t n = self->n_models;
    if (index >= n) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", index);
    for (size_t i = 0; i < km->n_clusterings; i++)
        weirp_clustering_remove_model(&km->clusterings[i], n, index, km->levels.mean[index]);
    weirp_levels_remove_model(&km->levels, index);
    weirp_take_out(km->sigma2, n, index, sizeof(double));
    self->n_models--;
    return WEIR_OK;
}

/* ---- storing ---- */

static void kmeans_save(const weirp_estimator *self, weirp_writer *w) {
    const kmeans *km = (const kmeans *)self;
    size_t n = self->n_models, begin = weirp_put_head(w, self, VERSION);
    weirp_levels_save(&km->levels, w);
    weirp_put_f64s(w, km->sigma2, n);
    weirp_put_u64(w, km->n_clusterings);
    for (size_t i = 0; i < km->n_clusterings; i++) weirp_clustering_save(&km->clusterings[i], km->stride, w);
    weirp_put_tail(w, begin);
}

static weir_status kmeans_load(weirp_estimator **out, weirp_bytes *b, weir_error *err) {
    size_t begin;
    kmeans *km = weirp_array(1, sizeof *km);
    if (!km) return weirp_nomem(err);
    km->base.class = &weirp_kmeans_class;
    bool ok = weirp_get_head(b, &km->base, VERSION, &begin) && weirp_levels_load(&km->levels, b, km->base.n_models);
    if (ok) {
        km->stride = weirp_padded(km->base.dim);
        km->sigma2 = weirp_get_f64s(b, km->base.n_models);
        uint64_t n = weirp_get_u64(b);
        ok = !b->failed && n <= N_SIZES * SEEDS && weirp_all_finite(km->sigma2, km->base.n_models) &&
             (km->clusterings = weirp_array((size_t)n, sizeof *km->clusterings));
        while (ok && km->n_clusterings < n) {
            weirp_clustering *c = &km->clusterings[km->n_clusterings++];
            ok = weirp_clustering_load(c, b, km->stride, km->base.n_models);
            if (c->k > km->most) km->most = c->k;
        }
    }
    if (!ok || !weirp_get_tail(b, begin)) {
        weirp_damaged(b, "kmeans", err);
        kmeans_free(&km->base);
        return WEIR_CORRUPT;
    }
    *out = &km->base;
    return WEIR_OK;
}

const weirp_estimator_class weirp_kmeans_class = {
    .name = "kmeans",
    .n_settings = N_SETTINGS,
    .describe = describe,
    .fit = kmeans_fit,
    .fit_predict = kmeans_fit_predict,
    .predict = kmeans_predict,
    .scratch_size = kmeans_scratch_size,
    .update = kmeans_update,
    .add_model = kmeans_add_model,
    .remove_model = kmeans_remove_model,
    .save = kmeans_save,
    .load = kmeans_load,
    .free = kmeans_free,
};

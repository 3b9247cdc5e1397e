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
#include "estimators/kernels.h"
#include "estimators/levels.h"

enum { VERSION = 1, NEAR = 3, SEEDS = 2, ITERATIONS = 15, ROWS = 4096, ROWS_PER_CLUSTER = 4, N_SIZES = 4 };
static const size_t sizes[N_SIZES] = {8, 16, 32, 64};
static const double sharpness = 9, weakest = 1e6; /* the latter: a prior that is as good as certain */

static const struct {
    const char *text;
    bool uses[N_SIZES];
} settings[] = {
    {"clusters=8", {true, false, false, false}},      {"clusters=16", {false, true, false, false}},
    {"clusters=32", {false, false, true, false}},     {"clusters=8+16+32", {true, true, true, false}},
    {"clusters=16+32+64", {false, true, true, true}},
};
#define N_SETTINGS (sizeof settings / sizeof *settings)

typedef struct clustering {
    size_t k;
    double beta, prior;
    float *centroid;    /* (k, stride) */
    double *count;      /* (k, n_models) */
    double *sum;        /* (k, n_models) of target - offset */
    double *gone_count; /* (k) removed models' counts, and deviations from their means */
    double *gone;       /* (k) */
    /* what follows from these */
    double *common; /* (k) */
    double *own;    /* (k, n_models) (S - N mean) / (N + beta) */
    double *spread; /* (k, n_models) 1 / (N + beta); beta times it is common's share */
} clustering;

typedef struct kmeans {
    weirp_estimator base;
    weirp_levels levels;
    size_t stride;              /* padded dim */
    size_t n_clusterings, most; /* clusters in one */
    clustering *clusterings;
    double *sigma2; /* (n_models) */
} kmeans;

static void describe(size_t setting, char *text, size_t size) {
    snprintf(text, size, "%s", settings[setting].text);
}

static void clustering_free(clustering *c) {
    free(c->centroid);
    free(c->count);
    free(c->sum);
    free(c->gone_count);
    free(c->gone);
    free(c->common);
    free(c->own);
    free(c->spread);
}

static void kmeans_free(weirp_estimator *self) {
    kmeans *km = (kmeans *)self;
    if (!km) return;
    weirp_levels_free(&km->levels);
    for (size_t i = 0; i < km->n_clusterings; i++) clustering_free(&km->clusterings[i]);
    free(km->clusterings);
    free(km->sigma2);
    free(km);
}

static bool clustering_make(clustering *c, size_t k, size_t stride, size_t n_models) {
    c->k = k;
    c->centroid = weirp_aligned(k * stride, sizeof(float));
    c->count = weirp_array(k * n_models, sizeof(double));
    c->sum = weirp_array(k * n_models, sizeof(double));
    c->gone_count = weirp_array(k, sizeof(double));
    c->gone = weirp_array(k, sizeof(double));
    c->common = weirp_array(k, sizeof(double));
    c->own = weirp_array(k * n_models, sizeof(double));
    c->spread = weirp_array(k * n_models, sizeof(double));
    return c->centroid && c->count && c->sum && c->gone_count && c->gone && c->common && c->own && c->spread;
}

static size_t nearest(const clustering *c, size_t stride, const float *x, float *distance) {
    size_t best = 0;
    weirp_rows_distance(c->centroid, c->k, stride, x, distance);
    for (size_t j = 1; j < c->k; j++)
        if (distance[j] < distance[best]) best = j;
    return best;
}

/* ---- what follows from the sums ---- */

static void settle_clustering(const weirp_levels *l, clustering *c) {
    size_t models = l->n_models;
    for (size_t j = 0; j < c->k; j++) {
        double deviation = 0, count = 0;
        for (size_t m = 0; m < models; m++) {
            size_t at = j * models + m;
            double d = c->sum[at] - c->count[at] * l->mean[m];
            deviation += d;
            count += c->count[at];
            c->spread[at] = 1 / (c->count[at] + c->beta);
            c->own[at] = d * c->spread[at];
        }
        c->common[j] = (deviation + c->gone[j]) / (count + c->gone_count[j] + c->prior);
    }
}

/* Residual variances: squares around the clusters' means, averaged over clusterings. */
static void measure_residuals(kmeans *km) {
    const weirp_levels *l = &km->levels;
    for (size_t m = 0; m < l->n_models; m++) {
        double squares = 0, freedom = 0;
        for (size_t i = 0; i < km->n_clusterings; i++) {
            const clustering *c = &km->clusterings[i];
            squares += l->square[m];
            freedom += l->count[m];
            for (size_t j = 0; j < c->k; j++) {
                double n = c->count[j * l->n_models + m], s = c->sum[j * l->n_models + m];
                if (n > 0) squares -= s * s / n, freedom -= 1;
            }
        }
        double parts = km->n_clusterings ? (double)km->n_clusterings : 1;
        km->sigma2[m] = weirp_shrunk_variance(squares / parts, freedom / parts, l->variance);
    }
}

static void settle(kmeans *km) {
    for (size_t i = 0; i < km->n_clusterings; i++) settle_clustering(&km->levels, &km->clusterings[i]);
    measure_residuals(km);
}

/* ---- priors ---- */

/* Rows' mean residuals, and what is left of outcomes beside them. */
typedef struct rows {
    double *mean;              /* (n) mean over models of target - own mean; NAN where nothing was seen */
    double n, cells, together; /* rows; outcomes; outcomes in rows that have more than one */
    double squares;            /* of mean */
    double rest, rest_freedom; /* of outcomes around own mean + row mean */
} rows;

static weir_status rows_new(rows *r, const weirp_sample *s, const weirp_levels *l, weir_error *err) {
    memset(r, 0, sizeof *r);
    r->mean = weirp_array(s->n, sizeof *r->mean);
    if (!r->mean) return weirp_nomem(err);
    for (size_t i = 0; i < s->n; i++) {
        double n = 0, sum = 0, square = 0;
        for (size_t m = 0; m < s->n_models; m++) {
            double y = s->target[i * s->n_models + m];
            if (!weirp_seen(y)) continue;
            y -= l->offset + l->sum[m] / l->count[m];
            n++, sum += y, square += y * y;
        }
        r->mean[i] = n > 0 ? sum / n : NAN;
        if (!(n > 0)) continue;
        r->n++;
        r->cells += n;
        r->squares += sum * sum / (n * n);
        r->rest += square - sum * sum / n;
        r->rest_freedom += n - 1;
        if (n > 1) r->together += n;
    }
    return WEIR_OK;
}

static double ratio(double noise, double between) {
    if (!(between > 0)) return weakest;
    double r = noise / between;
    return r > weakest ? weakest : r < 0.01 ? 0.01 : r;
}

/* prior, from the clusters' means of the rows' means; in outcomes. `work`: 2 k numbers. */
static void choose_prior(clustering *c, const rows *r, const uint32_t *assigned, size_t n, double *work) {
    double *count = work, *sum = work + c->k, between = 0, n2 = 0, full = 0;
    memset(work, 0, 2 * c->k * sizeof *work);
    for (size_t i = 0; i < n; i++)
        if (weirp_seen(r->mean[i])) count[assigned[i]]++, sum[assigned[i]] += r->mean[i];
    for (size_t j = 0; j < c->k; j++) {
        if (!(count[j] > 0)) continue;
        between += sum[j] * sum[j] / count[j];
        n2 += count[j] * count[j];
        full++;
    }
    c->prior = weakest;
    if (!(r->n > full) || full < 2) return;
    double noise = (r->squares - between) / (r->n - full);
    between = (between - (full - 1) * noise) / (r->n - n2 / r->n);
    c->prior = ratio(noise, between) * r->cells / r->n;
}

/* beta, from what the clusters' means of each model leave beside the level and what all models have in common. */
static void choose_beta(clustering *c, const rows *r, const weirp_levels *l) {
    double between = 0, freedom = 1 - (double)l->n_models, weight = 0;
    for (size_t j = 0; j < c->k; j++) {
        double n = 0, n2 = 0, sum = 0, square = 0, models = 0;
        for (size_t m = 0; m < l->n_models; m++) {
            double count = c->count[j * l->n_models + m];
            if (!(count > 0)) continue;
            double e = c->sum[j * l->n_models + m] / count - l->sum[m] / l->count[m];
            n += count, n2 += count * count, sum += count * e, square += count * e * e, models++;
        }
        if (!(models > 0)) continue;
        between += square - sum * sum / n;
        weight += n - n2 / n;
        freedom += models - 1;
    }
    c->beta = weakest;
    if (!(freedom > 0) || !(weight > 0)) return;
    double noise = l->variance;
    if (2 * r->together > r->cells && r->rest_freedom > freedom)
        noise = fmax((r->rest - between) / (r->rest_freedom - freedom), 0);
    c->beta = ratio(noise, (between - freedom * noise) / weight);
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

/* Clusters that hold no row (k-means leaves some where rows are alike) would pull their neighbours to the mean: they
 * are left out. */
static size_t drop_empty(float *centroid, size_t k, size_t dim, const uint32_t *assigned, size_t n) {
    size_t kept = 0;
    for (size_t j = 0; j < k; j++) {
        bool used = false;
        for (size_t i = 0; i < n && !used; i++) used = assigned[i] == j;
        if (used) memmove(centroid + kept++ * dim, centroid + j * dim, dim * sizeof *centroid);
    }
    return kept;
}

static weir_status find_centroids(clustering *c, const weirp_sample *s, size_t size, const float *chosen, size_t n,
                                  uint64_t seed, weir_error *err) {
    size_t stride = weirp_padded(s->dim), k = size < n / ROWS_PER_CLUSTER ? size : n / ROWS_PER_CLUSTER;
    if (!k || !s->dim) k = 1;
    if (!n || !s->dim) return clustering_make(c, k, stride, s->n_models) ? WEIR_OK : weirp_nomem(err);
    float *packed = weirp_array(k * s->dim, sizeof *packed);
    uint32_t *assigned = weirp_array(n, sizeof *assigned);
    weir_status st = packed && assigned ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_kmeans(chosen, n, s->dim, k, ITERATIONS, seed, packed, assigned, err);
    if (st == WEIR_OK) {
        k = drop_empty(packed, k, s->dim, assigned, n);
        if (!clustering_make(c, k, stride, s->n_models)) st = weirp_nomem(err);
    }
    for (size_t j = 0; j < k && st == WEIR_OK; j++)
        memcpy(c->centroid + j * stride, packed + j * s->dim, s->dim * sizeof *packed);
    free(packed);
    free(assigned);
    return st;
}

/* Counts the sample into a clustering; x: (stride) work, zeros past dim. */
static void count_rows(clustering *c, const weirp_sample *s, const weirp_levels *l, uint32_t *assigned, float *x,
                       float *distance) {
    size_t models = s->n_models;
    for (size_t i = 0; i < s->n; i++) {
        if (s->dim) memcpy(x, s->dense + i * s->dim, s->dim * sizeof *x);
        size_t j = nearest(c, weirp_padded(s->dim), x, distance);
        assigned[i] = (uint32_t)j;
        for (size_t m = 0; m < models; m++) {
            double y = s->target[i * models + m];
            if (!weirp_seen(y)) continue;
            c->count[j * models + m]++;
            c->sum[j * models + m] += y - l->offset;
        }
    }
}

/* The clusterings of all sizes in `uses`, in order of size and seed; or those of `like`. */
static weir_status fit_clusterings(kmeans *km, const weirp_sample *s, const bool *uses, const kmeans *like,
                                   weir_error *err) {
    weir_status st = WEIR_OK;
    size_t most = like ? like->most : sizes[N_SIZES - 1], stride = km->stride;
    rows r = {0};
    float *chosen = weirp_array((s->n < ROWS ? s->n : ROWS) * s->dim, sizeof *chosen);
    float *x = weirp_aligned(stride, sizeof *x), *distance = weirp_array(most, sizeof *distance);
    size_t *order = weirp_array(s->n, sizeof *order);
    uint32_t *assigned = weirp_array(s->n, sizeof *assigned);
    double *work = weirp_array(2 * most, sizeof *work);
    km->clusterings = weirp_array(like ? like->n_clusterings : N_SIZES * SEEDS, sizeof *km->clusterings);
    if (!chosen || !x || !distance || !order || !assigned || !work || !km->clusterings) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(rows_new(&r, s, &km->levels, err));
    size_t n = choose_rows(s, chosen, ROWS, order), wanted = like ? like->n_clusterings : N_SIZES * SEEDS;
    for (size_t i = 0; i < wanted; i++) {
        if (!like && !uses[i / SEEDS]) continue;
        clustering *c = &km->clusterings[km->n_clusterings++];
        if (like) {
            const clustering *from = &like->clusterings[i];
            if (!clustering_make(c, from->k, stride, s->n_models)) WEIRP_TRY(weirp_nomem(err));
            memcpy(c->centroid, from->centroid, c->k * stride * sizeof *c->centroid);
            c->beta = from->beta, c->prior = from->prior;
        } else {
            WEIRP_TRY(find_centroids(c, s, sizes[i / SEEDS], chosen, n, s->seed + i, err));
        }
        if (c->k > km->most) km->most = c->k;
        count_rows(c, s, &km->levels, assigned, x, distance);
        if (!like) {
            choose_prior(c, &r, assigned, s->n, work);
            choose_beta(c, &r, &km->levels);
        }
    }
    settle(km);
done:
    free(r.mean);
    free(chosen);
    free(x);
    free(distance);
    free(order);
    free(assigned);
    free(work);
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

/* Adds one clustering's deviations for x to q (n_models), and its spreads to v where that isn't NULL. */
static void add_clustering(const clustering *c, size_t n_models, size_t stride, const float *x, float *distance,
                           double *q, double *v) {
    size_t near[NEAR] = {0}, n = c->k < NEAR ? c->k : NEAR;
    double weight[NEAR] = {0}, total = 0;
    weirp_rows_distance(c->centroid, c->k, stride, x, distance);
    for (size_t i = 0; i < n; i++) {
        size_t best = SIZE_MAX;
        for (size_t j = 0; j < c->k; j++)
            if ((i < 1 || j != near[0]) && (i < 2 || j != near[1]) &&
                (best == SIZE_MAX || distance[j] < distance[best]))
                best = j;
        near[i] = best;
        weight[i] = exp(-sharpness * (double)(distance[best] - distance[near[0]]));
        total += weight[i];
    }
    for (size_t i = 0; i < n; i++) {
        double w = weight[i] / total, common = w * c->common[near[i]] * c->beta;
        const double *own = c->own + near[i] * n_models, *spread = c->spread + near[i] * n_models;
        for (size_t m = 0; m < n_models; m++) q[m] += w * own[m] + common * spread[m];
        if (v)
            for (size_t m = 0; m < n_models; m++) v[m] += w * spread[m];
    }
}

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
        add_clustering(&km->clusterings[i], models, km->stride, f, distance, q, sd);
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
            add_clustering(&km->clusterings[k], models, km->stride, f, f + km->stride, part + k / SEEDS * models, NULL);
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
        clustering *c = &km->clusterings[i];
        size_t at = nearest(c, km->stride, f, f + km->stride) * self->n_models + model;
        c->count[at] += weight;
        c->sum[at] += weight * (target - km->levels.offset);
    }
    free(f);
    weirp_levels_add(&km->levels, model, target, weight);
    settle(km);
    return WEIR_OK;
}

/* Copies a table (k, n) into one of n + grow columns, without column `skip`; NULL: out of memory. */
static double *columns(const double *table, size_t k, size_t n, size_t new_n, size_t skip) {
    double *out = weirp_array(k * new_n, sizeof *out);
    for (size_t j = 0; out && j < k; j++)
        for (size_t m = 0, to = 0; m < n; m++)
            if (m != skip) out[j * new_n + to++] = table[j * n + m];
    return out;
}

/* Gives every table new_n columns instead of the models' number; all or none. */
static weir_status reshape(kmeans *km, size_t new_n, size_t skip, weir_error *err) {
    size_t n = km->base.n_models, tables = 4 * km->n_clusterings, made = 0;
    double **grown = weirp_array(tables, sizeof *grown);
    bool room = grown != NULL;
    for (size_t i = 0; room && i < km->n_clusterings; i++) {
        clustering *c = &km->clusterings[i];
        double *old[] = {c->count, c->sum, c->own, c->spread};
        for (int t = 0; room && t < 4; t++) room = (grown[made] = columns(old[t], c->k, n, new_n, skip)) && ++made;
    }
    for (size_t i = 0; i < km->n_clusterings && room; i++) {
        clustering *c = &km->clusterings[i];
        double **old[] = {&c->count, &c->sum, &c->own, &c->spread};
        for (int t = 0; t < 4; t++) {
            free(*old[t]);
            *old[t] = grown[4 * i + (size_t)t];
        }
    }
    for (size_t i = 0; i < made && !room; i++) free(grown[i]);
    free(grown);
    return room ? WEIR_OK : weirp_nomem(err);
}

static weir_status kmeans_add_model(weirp_estimator *self, weir_error *err) {
    kmeans *km = (kmeans *)self;
    size_t n = self->n_models;
    if (!weirp_append_zero((void **)&km->sigma2, n, sizeof(double))) return weirp_nomem(err);
    weir_status st = weirp_levels_add_model(&km->levels, err);
    if (st != WEIR_OK) return st;
    if ((st = reshape(km, n + 1, SIZE_MAX, err)) != WEIR_OK) {
        weirp_levels_remove_model(&km->levels, n);
        return st;
    }
    km->sigma2[n] = km->levels.variance;
    for (size_t i = 0; i < km->n_clusterings; i++)
        for (size_t j = 0; j < km->clusterings[i].k; j++)
            km->clusterings[i].spread[j * (n + 1) + n] = 1 / km->clusterings[i].beta;
    self->n_models = n + 1;
    return WEIR_OK;
}

static weir_status kmeans_remove_model(weirp_estimator *self, size_t index, weir_error *err) {
    kmeans *km = (kmeans *)self;
    size_t n = self->n_models;
    if (index >= n) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", index);
    for (size_t i = 0; i < km->n_clusterings; i++) {
        clustering *c = &km->clusterings[i];
        for (size_t j = 0; j < c->k; j++) {
            double count = c->count[j * n + index];
            c->gone_count[j] += count;
            c->gone[j] += c->sum[j * n + index] - count * km->levels.mean[index];
        }
    }
    weir_status st = reshape(km, n - 1, index, err);
    if (st != WEIR_OK) return st;
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
    for (size_t i = 0; i < km->n_clusterings; i++) {
        const clustering *c = &km->clusterings[i];
        weirp_put_u64(w, c->k);
        weirp_put_f64(w, c->beta);
        weirp_put_f64(w, c->prior);
        weirp_put_f32s(w, c->centroid, c->k * km->stride);
        const double *narrow[] = {c->gone_count, c->gone, c->common}, *wide[] = {c->count, c->sum, c->own, c->spread};
        for (int t = 0; t < 3; t++) weirp_put_f64s(w, narrow[t], c->k);
        for (int t = 0; t < 4; t++) weirp_put_f64s(w, wide[t], c->k * n);
    }
    weirp_put_tail(w, begin);
}

static bool load_clustering(kmeans *km, weirp_bytes *b) {
    clustering *c = &km->clusterings[km->n_clusterings++];
    uint64_t k = weirp_get_u64(b);
    if (!k || k > UINT32_MAX) b->failed = true;
    if (b->failed) return false;
    c->k = (size_t)k;
    c->beta = weirp_get_f64(b);
    c->prior = weirp_get_f64(b);
    float *plain = weirp_get_f32s(b, c->k * km->stride);
    if (plain && (c->centroid = weirp_aligned(c->k * km->stride, sizeof(float))))
        memcpy(c->centroid, plain, c->k * km->stride * sizeof(float));
    if (plain && !weirp_all_finite_f32(plain, c->k * km->stride)) b->failed = true;
    free(plain);
    double **narrow[] = {&c->gone_count, &c->gone, &c->common}, **wide[] = {&c->count, &c->sum, &c->own, &c->spread};
    size_t cells = c->k * km->base.n_models;
    for (int t = 0; t < 3; t++)
        if ((*narrow[t] = weirp_get_f64s(b, c->k)) && !weirp_all_finite(*narrow[t], c->k)) b->failed = true;
    for (int t = 0; t < 4; t++)
        if ((*wide[t] = weirp_get_f64s(b, cells)) && !weirp_all_finite(*wide[t], cells)) b->failed = true;
    for (size_t i = 0; !b->failed && i < cells; i++)
        if (!(c->count[i] >= 0 && c->spread[i] >= 0)) b->failed = true;
    if (!c->centroid || !(c->beta > 0) || !(c->prior > 0)) b->failed = true;
    if (c->k > km->most) km->most = c->k;
    return !b->failed;
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
        for (uint64_t i = 0; ok && i < n; i++) ok = load_clustering(km, b);
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

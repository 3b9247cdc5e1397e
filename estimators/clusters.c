/* clusters.c: one clustering: finding it, its priors, asking it. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/clusters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/kernels.h"

enum { NEAR = 3, ITERATIONS = 15, ROWS_PER_CLUSTER = 4 };
static const double sharpness = 9, weakest = 1e6; /* the latter: a prior that is as good as certain */

void weirp_clustering_free(weirp_clustering *c) {
    free(c->centroid);
    free(c->count);
    free(c->sum);
    free(c->gone_count);
    free(c->gone);
    free(c->common);
    free(c->own);
    free(c->spread);
}

bool weirp_clustering_make(weirp_clustering *c, size_t k, size_t stride, size_t n_models) {
    c->k = k;
    c->columns = n_models;
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

size_t weirp_clustering_nearest(const weirp_clustering *c, size_t stride, const float *x, float *distance) {
    size_t best = 0;
    weirp_rows_distance(c->centroid, c->k, stride, x, distance);
    for (size_t j = 1; j < c->k; j++)
        if (distance[j] < distance[best]) best = j;
    return best;
}

/* ---- what follows from the sums ---- */

void weirp_clustering_settle(const weirp_levels *l, weirp_clustering *c) {
    size_t models = l->n_models;
    for (size_t j = 0; j < c->k; j++) {
        double deviation = 0, count = 0;
        for (size_t m = 0; m < models; m++) {
            size_t at = j * c->columns + m;
            double d = c->sum[at] - c->count[at] * l->mean[m];
            deviation += d;
            count += c->count[at];
            c->spread[at] = 1 / (c->count[at] + c->beta);
            c->own[at] = d * c->spread[at];
        }
        c->common[j] = (deviation + c->gone[j]) / (count + c->gone_count[j] + c->prior);
    }
}

/* ---- priors ---- */

weir_status weirp_residuals_new(weirp_residuals *r, const weirp_sample *s, const weirp_levels *l, weir_error *err) {
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
static void choose_prior(weirp_clustering *c, const weirp_residuals *r, const uint32_t *assigned, size_t n,
                         double *work) {
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
static void choose_beta(weirp_clustering *c, const weirp_residuals *r, const weirp_levels *l) {
    double between = 0, freedom = 1 - (double)l->n_models, weight = 0;
    for (size_t j = 0; j < c->k; j++) {
        double n = 0, n2 = 0, sum = 0, square = 0, models = 0;
        for (size_t m = 0; m < l->n_models; m++) {
            double count = c->count[j * c->columns + m];
            if (!(count > 0)) continue;
            double e = c->sum[j * c->columns + m] / count - l->sum[m] / l->count[m];
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

weir_status weirp_clustering_choose(weirp_clustering *c, const weirp_residuals *r, const weirp_levels *l,
                                    const uint32_t *assigned, size_t n, weir_error *err) {
    double *work = weirp_array(2 * c->k, sizeof *work);
    if (!work) return weirp_nomem(err);
    choose_prior(c, r, assigned, n, work);
    choose_beta(c, r, l);
    free(work);
    return WEIR_OK;
}

/* ---- finding ---- */

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

weir_status weirp_clustering_find(weirp_clustering *c, const weirp_sample *s, size_t size, const float *chosen,
                                  size_t n, uint64_t seed, weir_error *err) {
    size_t stride = weirp_padded(s->dim), k = size < n / ROWS_PER_CLUSTER ? size : n / ROWS_PER_CLUSTER;
    if (!k || !s->dim) k = 1;
    if (!n || !s->dim) return weirp_clustering_make(c, k, stride, s->n_models) ? WEIR_OK : weirp_nomem(err);
    float *packed = weirp_array(k * s->dim, sizeof *packed);
    uint32_t *assigned = weirp_array(n, sizeof *assigned);
    weir_status st = packed && assigned ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_kmeans(chosen, n, s->dim, k, ITERATIONS, seed, packed, assigned, err);
    if (st == WEIR_OK) {
        k = drop_empty(packed, k, s->dim, assigned, n);
        if (!weirp_clustering_make(c, k, stride, s->n_models)) st = weirp_nomem(err);
    }
    for (size_t j = 0; j < k && st == WEIR_OK; j++)
        memcpy(c->centroid + j * stride, packed + j * s->dim, s->dim * sizeof *packed);
    free(packed);
    free(assigned);
    return st;
}

/* Counts the sample into a clustering; x: (stride) work, zeros past dim. */
void weirp_clustering_count(weirp_clustering *c, const weirp_sample *s, const weirp_levels *l, uint32_t *assigned,
                            float *x, float *distance) {
    size_t models = s->n_models;
    for (size_t i = 0; i < s->n; i++) {
        if (s->dim) memcpy(x, s->dense + i * s->dim, s->dim * sizeof *x);
        size_t j = weirp_clustering_nearest(c, weirp_padded(s->dim), x, distance);
        assigned[i] = (uint32_t)j;
        for (size_t m = 0; m < models; m++) {
            double y = s->target[i * models + m];
            if (!weirp_seen(y)) continue;
            c->count[j * c->columns + m]++;
            c->sum[j * c->columns + m] += y - l->offset;
        }
    }
}

/* ---- asking ---- */

void weirp_clustering_add(const weirp_clustering *c, size_t n_models, size_t stride, const float *x, float *distance,
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
        const double *own = c->own + near[i] * c->columns, *spread = c->spread + near[i] * c->columns;
        for (size_t m = 0; m < n_models; m++) q[m] += w * own[m] + common * spread[m];
        if (v)
            for (size_t m = 0; m < n_models; m++) v[m] += w * spread[m];
    }
}

/* ---- models that come and go, storing ---- */

bool weirp_clustering_reserve(weirp_clustering *c, size_t n_models) {
    if (n_models <= c->columns) return true;
    double **tables[] = {&c->count, &c->sum, &c->own, &c->spread}, *grown[4] = {0};
    size_t columns = n_models + n_models / 4 + 1;
    bool room = true;
    for (int t = 0; t < 4; t++) {
        if (!(grown[t] = weirp_array(c->k * columns, sizeof(double)))) room = false;
        for (size_t j = 0; room && j < c->k && c->columns; j++)
            memcpy(grown[t] + j * columns, *tables[t] + j * c->columns, c->columns * sizeof(double));
    }
    for (int t = 0; t < 4; t++) {
        free(room ? *tables[t] : grown[t]);
        if (room) *tables[t] = grown[t];
    }
    if (room) c->columns = columns;
    return room;
}

void weirp_clustering_add_model(weirp_clustering *c, size_t n) {
    for (size_t j = 0; j < c->k; j++) c->spread[j * c->columns + n] = 1 / c->beta;
}

void weirp_clustering_remove_model(weirp_clustering *c, size_t n, size_t index, double mean) {
    double *tables[] = {c->count, c->sum, c->own, c->spread};
    for (size_t j = 0; j < c->k; j++) {
        size_t row = j * c->columns;
        c->gone_count[j] += c->count[row + index];
        c->gone[j] += c->sum[row + index] - c->count[row + index] * mean;
        for (int t = 0; t < 4; t++) {
            weirp_take_out(tables[t] + row, n, index, sizeof(double));
            tables[t][row + n - 1] = 0;
        }
    }
}

void weirp_clustering_save(const weirp_clustering *c, size_t stride, weirp_writer *w) {
    weirp_put_u64(w, c->k);
    weirp_put_u64(w, c->columns);
    weirp_put_f64(w, c->beta);
    weirp_put_f64(w, c->prior);
    weirp_put_f32s(w, c->centroid, c->k * stride);
    const double *narrow[] = {c->gone_count, c->gone, c->common}, *wide[] = {c->count, c->sum, c->own, c->spread};
    for (int t = 0; t < 3; t++) weirp_put_f64s(w, narrow[t], c->k);
    for (int t = 0; t < 4; t++) weirp_put_f64s(w, wide[t], c->k * c->columns);
}

bool weirp_clustering_load(weirp_clustering *c, weirp_bytes *b, size_t stride, size_t n_models) {
    uint64_t k = weirp_get_u64(b), columns = weirp_get_u64(b);
    if (!k || k > UINT32_MAX || columns < n_models || columns > 2 * WEIRP_MAX_MODELS) b->failed = true;
    if (b->failed) return false;
    c->k = (size_t)k;
    c->columns = (size_t)columns;
    c->beta = weirp_get_f64(b);
    c->prior = weirp_get_f64(b);
    float *plain = weirp_get_f32s(b, c->k * stride);
    if (plain && (c->centroid = weirp_aligned(c->k * stride, sizeof(float))))
        memcpy(c->centroid, plain, c->k * stride * sizeof(float));
    if (plain && !weirp_all_finite_f32(plain, c->k * stride)) b->failed = true;
    free(plain);
    double **narrow[] = {&c->gone_count, &c->gone, &c->common}, **wide[] = {&c->count, &c->sum, &c->own, &c->spread};
    size_t cells = c->k * c->columns;
    for (int t = 0; t < 3; t++)
        if ((*narrow[t] = weirp_get_f64s(b, c->k)) && !weirp_all_finite(*narrow[t], c->k)) b->failed = true;
    for (int t = 0; t < 4; t++)
        if ((*wide[t] = weirp_get_f64s(b, cells)) && !weirp_all_finite(*wide[t], cells)) b->failed = true;
    for (size_t i = 0; !b->failed && i < cells; i++)
        if (!(c->count[i] >= 0 && c->spread[i] >= 0)) b->failed = true;
    if (!c->centroid || !(c->beta > 0) || !(c->prior > 0)) b->failed = true;
    return !b->failed;
}

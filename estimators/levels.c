/* levels.c: models' means, and small things that estimators share. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/levels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* Between these the pool's mean counts; a pool of a few models says little about the variance between models. */
#define KAPPA_MIN     0.5
#define KAPPA_MAX     50.0
#define KAPPA_UNKNOWN 5.0

/* The middle of the range, or zero where there is none. */
static double middle(const weirp_levels *l) {
    return isfinite(l->lo) && isfinite(l->hi) ? l->lo + (l->hi - l->lo) / 2 : 0;
}

/* Variance where nothing has been seen: the largest that the range allows. */
static double widest(const weirp_levels *l) {
    double half = isfinite(l->lo) && isfinite(l->hi) ? (l->hi - l->lo) / 2 : 1;
    return half * half;
}

static double own_square(const weirp_levels *l, size_t m) {
    double s = l->count[m] > 0 ? l->square[m] - l->sum[m] * l->sum[m] / l->count[m] : 0;
    return s > 0 ? s : 0;
}

static void refresh(weirp_levels *l) {
    double weight = l->gone_weight, sum = l->gone_sum, squares = 0, freedom = 0;
    for (size_t m = 0; m < l->n_models; m++) {
        if (!(l->count[m] > 0)) continue;
        double share = l->count[m] / (l->count[m] + l->kappa);
        weight += share;
        sum += share * l->sum[m] / l->count[m];
        squares += own_square(l, m);
        freedom += l->count[m] > 1 ? l->count[m] - 1 : 0;
    }
    l->pool = weight > 0 ? sum / weight : 0;
    l->variance = weirp_shrunk_variance(squares, freedom, freedom > 2 ? squares / freedom : widest(l));
    for (size_t m = 0; m < l->n_models; m++) l->mean[m] = (l->sum[m] + l->kappa * l->pool) / (l->count[m] + l->kappa);
}

/* kappa by the method of moments. */
static double kappa_of(const weirp_levels *l) {
    double n = 0, n2 = 0, sum = 0, squares = 0, freedom = 0, models = 0;
    for (size_t m = 0; m < l->n_models; m++) {
        if (!(l->count[m] > 0)) continue;
        models++;
        n += l->count[m];
        n2 += l->count[m] * l->count[m];
        sum += l->sum[m];
        squares += own_square(l, m);
        freedom += l->count[m] - 1;
    }
    if (models < 2 || freedom < 1) return KAPPA_UNKNOWN;
    double within = squares / freedom, between = 0;
    for (size_t m = 0; m < l->n_models; m++) {
        if (!(l->count[m] > 0)) continue;
        double d = l->sum[m] / l->count[m] - sum / n;
        between += l->count[m] * d * d;
    }
    between = (between - (models - 1) * within) / (n - n2 / n);
    if (!(between > within / KAPPA_MAX)) return KAPPA_MAX;
    double kappa = within / between;
    return kappa < KAPPA_MIN ? KAPPA_MIN : kappa;
}

static bool make(weirp_levels *l, size_t n_models) {
    l->n_models = n_models;
    l->count = weirp_array(n_models, sizeof(double));
    l->sum = weirp_array(n_models, sizeof(double));
    l->square = weirp_array(n_models, sizeof(double));
    l->mean = weirp_array(n_models, sizeof(double));
    return l->count && l->sum && l->square && l->mean;
}

weir_status weirp_levels_fit(weirp_levels *l, const weirp_sample *s, const weirp_levels *like, weir_error *err) {
    memset(l, 0, sizeof *l);
    l->lo = s->lo;
    l->hi = s->hi;
    if (!make(l, s->n_models)) {
        weirp_levels_free(l);
        return weirp_nomem(err);
    }
    double total = 0, n = 0;
    for (size_t i = 0; i < s->n * s->n_models; i++)
        if (weirp_seen(s->target[i])) total += s->target[i], n++;
    l->offset = like ? like->offset : n > 0 ? total / n : middle(l);
    for (size_t i = 0; i < s->n; i++)
        for (size_t m = 0; m < s->n_models; m++) {
            double y = s->target[i * s->n_models + m];
            if (!weirp_seen(y)) continue;
            y -= l->offset;
            l->count[m]++;
            l->sum[m] += y;
            l->square[m] += y * y;
        }
    l->kappa = like ? like->kappa : kappa_of(l);
    refresh(l);
    return WEIR_OK;
}

void weirp_levels_add(weirp_levels *l, size_t m, double target, double weight) {
    double y = target - l->offset;
    l->count[m] += weight;
    l->sum[m] += weight * y;
    l->square[m] += weight * y * y;
    refresh(l);
}

weir_status weirp_levels_add_model(weirp_levels *l, weir_error *err) {
    size_t n = l->n_models;
    if (n >= WEIRP_MAX_MODELS) return weirp_fail(err, WEIR_INVALID, 0, "more than %u models", WEIRP_MAX_MODELS);
    if (!weirp_append_zero((void **)&l->count, n, sizeof(double)) ||
        !weirp_append_zero((void **)&l->sum, n, sizeof(double)) ||
        !weirp_append_zero((void **)&l->square, n, sizeof(double)) ||
        !weirp_append_zero((void **)&l->mean, n, sizeof(double)))
        return weirp_nomem(err);
    l->mean[n] = l->pool;
    l->n_models = n + 1;
    return WEIR_OK;
}

void weirp_levels_remove_model(weirp_levels *l, size_t m) {
    if (l->count[m] > 0) {
        double share = l->count[m] / (l->count[m] + l->kappa);
        l->gone_weight += share;
        l->gone_sum += share * l->sum[m] / l->count[m];
    }
    weirp_take_out(l->count, l->n_models, m, sizeof(double));
    weirp_take_out(l->sum, l->n_models, m, sizeof(double));
    weirp_take_out(l->square, l->n_models, m, sizeof(double));
    weirp_take_out(l->mean, l->n_models, m, sizeof(double));
    l->n_models--;
}

void weirp_levels_save(const weirp_levels *l, weirp_writer *w) {
    const double fixed[] = {l->lo, l->hi, l->offset, l->kappa, l->pool, l->variance, l->gone_weight, l->gone_sum};
    weirp_put_f64s(w, fixed, sizeof fixed / sizeof *fixed);
    weirp_put_f64s(w, l->count, l->n_models);
    weirp_put_f64s(w, l->sum, l->n_models);
    weirp_put_f64s(w, l->square, l->n_models);
    weirp_put_f64s(w, l->mean, l->n_models);
}

static bool sound(const weirp_levels *l) {
    const double fixed[] = {l->offset, l->kappa, l->pool, l->variance, l->gone_weight, l->gone_sum};
    if (!weirp_all_finite(fixed, sizeof fixed / sizeof *fixed) || !(l->lo <= l->hi)) return false;
    if (!(l->kappa > 0) || !(l->variance >= 0) || !(l->gone_weight >= 0)) return false;
    for (size_t m = 0; m < l->n_models; m++)
        if (!(l->count[m] >= 0)) return false;
    return weirp_all_finite(l->count, l->n_models) && weirp_all_finite(l->sum, l->n_models) &&
           weirp_all_finite(l->square, l->n_models) && weirp_all_finite(l->mean, l->n_models);
}

bool weirp_levels_load(weirp_levels *l, weirp_bytes *r, size_t n_models) {
    memset(l, 0, sizeof *l);
    l->n_models = n_models;
    double *fixed = weirp_get_f64s(r, 8);
    if (fixed) {
        l->lo = fixed[0], l->hi = fixed[1], l->offset = fixed[2], l->kappa = fixed[3];
        l->pool = fixed[4], l->variance = fixed[5], l->gone_weight = fixed[6], l->gone_sum = fixed[7];
    }
    free(fixed);
    l->count = weirp_get_f64s(r, n_models);
    l->sum = weirp_get_f64s(r, n_models);
    l->square = weirp_get_f64s(r, n_models);
    l->mean = weirp_get_f64s(r, n_models);
    if (!r->failed && !sound(l)) r->failed = true;
    return !r->failed;
}

void weirp_levels_free(weirp_levels *l) {
    free(l->count);
    free(l->sum);
    free(l->square);
    free(l->mean);
    memset(l, 0, sizeof *l);
}

weir_status weirp_sample_check(const weirp_sample *s, weir_error *err) {
    if (s->n_models > WEIRP_MAX_MODELS || s->dim > WEIRP_MAX_DIM)
        return weirp_fail(err, WEIR_INVALID, 0, "a fit of %zu models in %zu dimensions is too large", s->n_models,
                          s->dim);
    if (!(s->lo <= s->hi)) return weirp_fail(err, WEIR_INVALID, 0, "a target's range is empty");
    if (s->n && s->dim && !weirp_all_finite_f32(s->dense, s->n * s->dim))
        return weirp_fail(err, WEIR_INVALID, 0, "a feature is not a finite number");
    return WEIR_OK;
}

weir_status weirp_update_check(const weirp_estimator *self, const weirp_features *x, size_t model, double target,
                               double weight, weir_error *err) {
    if (model >= self->n_models) return weirp_fail(err, WEIR_INVALID, 0, "no model has the index %zu", model);
    if (x->dim != self->dim)
        return weirp_fail(err, WEIR_INVALID, 0, "%zu features where %zu are expected", x->dim, self->dim);
    if (!weirp_seen(target)) return weirp_fail(err, WEIR_INVALID, 0, "an outcome is not a finite number");
    if (!(weight > 0) || !isfinite(weight))
        return weirp_fail(err, WEIR_INVALID, 0, "an outcome's weight is not a positive number");
    if (!weirp_all_finite_f32(x->dense, x->dim))
        return weirp_fail(err, WEIR_INVALID, 0, "a feature is not a finite number");
    return WEIR_OK;
}

double weirp_shrunk_variance(double sum_of_squares, double freedom, double pool) {
    const double prior = 10;
    if (!(freedom > 0)) return pool;
    return ((sum_of_squares > 0 ? sum_of_squares : 0) + prior * pool) / (freedom + prior);
}

void weirp_take_out(void *array, size_t n, size_t index, size_t size) {
    char *at = (char *)array + index * size;
    memmove(at, at + size, (n - 1 - index) * size);
}

bool weirp_append_zero(void **array, size_t n, size_t size) {
    if (size && n + 1 > SIZE_MAX / size) return false;
    char *moved = realloc(*array, (n + 1) * size + 1);
    if (!moved) return false;
    memset(moved + n * size, 0, size);
    *array = moved;
    return true;
}

#define MAGIC 0x74736577u /* "west" */

size_t weirp_put_head(weirp_writer *w, const weirp_estimator *self, uint32_t version) {
    size_t begin = w->size;
    weirp_put_u32(w, MAGIC);
    weirp_put_text(w, self->class->name);
    weirp_put_u32(w, version);
    weirp_put_u64(w, self->n_models);
    weirp_put_u64(w, self->dim);
    return begin;
}

void weirp_put_tail(weirp_writer *w, size_t begin) {
    if (!w->failed) weirp_put_u64(w, XXH3_64bits(w->data + begin, w->size - begin));
}

bool weirp_get_head(weirp_bytes *r, weirp_estimator *self, uint32_t version, size_t *begin) {
    *begin = r->at;
    bool ok = weirp_get_u32(r) == MAGIC;
    char *name = weirp_get_text(r);
    ok = name && strcmp(name, self->class->name) == 0 && ok;
    free(name);
    ok = weirp_get_u32(r) == version && ok;
    uint64_t n_models = weirp_get_u64(r), dim = weirp_get_u64(r);
    if (!ok || n_models > WEIRP_MAX_MODELS || dim > WEIRP_MAX_DIM) r->failed = true;
    if (r->failed) return false;
    self->n_models = (size_t)n_models;
    self->dim = (size_t)dim;
    return true;
}

bool weirp_get_tail(weirp_bytes *r, size_t begin) {
    if (r->failed) return false;
    uint64_t sum = XXH3_64bits(r->data + begin, r->at - begin);
    if (weirp_get_u64(r) != sum) r->failed = true;
    return !r->failed;
}

weir_status weirp_damaged(const weirp_bytes *r, const char *name, weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "the stored estimator \"%s\" is damaged near byte %zu", name, r->at);
}

bool weirp_all_finite(const double *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(v[i] - v[i] == 0)) return false;
    return true;
}

bool weirp_all_finite_f32(const float *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(v[i] - v[i] == 0)) return false;
    return true;
}

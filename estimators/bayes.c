/* bayes.c: the filter's arithmetic. Sums run in an order of their own, not a BLAS's, so that the same outcomes give the
 * same bits on every machine. SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/bayes.h"

#include <math.h>
#include <string.h>

#define LANES 8
/* Rounding may not take a variance to zero or below: x' cov x would stop meaning anything. */
#define LEAST_VARIANCE 1e-12

static size_t row_start(size_t i) {
    return i * (i + 1) / 2;
}

static size_t rounded(size_t n) {
    return (n + LANES - 1) / LANES * LANES;
}

size_t weirp_bayes_size(size_t dim) {
    return rounded(dim) + rounded(row_start(dim));
}

weirp_bayes weirp_bayes_at(double *memory, size_t dim) {
    return (weirp_bayes){dim, memory, memory + rounded(dim)};
}

static double prior_variance(const weirp_bayes_prior *p, size_t i) {
    return i == 0 ? p->level : i <= p->n_text ? p->text : p->scalar;
}

void weirp_bayes_reset(const weirp_bayes *b, const weirp_bayes_prior *prior, double scale) {
    memset(b->mean, 0, b->dim * sizeof *b->mean);
    memset(b->cov, 0, row_start(b->dim) * sizeof *b->cov);
    for (size_t i = 0; i < b->dim; i++) b->cov[row_start(i) + i] = scale * prior_variance(prior, i);
}

/* Lanes that are summed apart and then in pairs: the compiler may vectorise without reordering anything. */
static double dot(const double *restrict a, const double *restrict b, size_t n) {
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) lane[k] += a[i + k] * b[i + k];
    for (size_t k = 0; i < n; i++, k++) lane[k] += a[i] * b[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void add_scaled(double *restrict y, const double *restrict x, double scale, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += scale * x[i];
}

double weirp_bayes_predict(const weirp_bayes *b, const double *x) {
    return dot(b->mean, x, b->dim);
}

double weirp_bayes_gain(const weirp_bayes *b, const double *x, double *gain) {
    for (size_t i = 0; i < b->dim; i++) {
        const double *row = b->cov + row_start(i);
        gain[i] = dot(row, x, i + 1);
        add_scaled(gain, row, x[i], i);
    }
    return fmax(dot(gain, x, b->dim), 0);
}

void weirp_bayes_learn(const weirp_bayes *b, const double *gain, double variance, double noise, double error) {
    double total = noise + variance;
    add_scaled(b->mean, gain, error / total, b->dim);
    for (size_t i = 0; i < b->dim; i++) {
        double *row = b->cov + row_start(i);
        add_scaled(row, gain, -gain[i] / total, i + 1);
        if (row[i] < LEAST_VARIANCE) row[i] = LEAST_VARIANCE;
    }
}

void weirp_bayes_forget(const weirp_bayes *b, const weirp_bayes_prior *prior, double keep) {
    double root = sqrt(keep);
    b->cov[0] = keep * b->cov[0] + (1 - keep) * prior->level;
    for (size_t i = 1; i < b->dim; i++) b->cov[row_start(i)] *= root;
}

void weirp_bayes_relax(const weirp_bayes *b, const weirp_bayes_prior *prior, double share) {
    size_t n = row_start(b->dim);
    for (size_t i = 0; i < n; i++) b->cov[i] *= 1 - share;
    for (size_t i = 0; i < b->dim; i++) b->cov[row_start(i) + i] += share * prior_variance(prior, i);
}

bool weirp_bayes_sound(const weirp_bayes *b) {
    size_t n = row_start(b->dim);
    for (size_t i = 0; i < b->dim; i++)
        if (!isfinite(b->mean[i]) || !(b->cov[row_start(i) + i] > 0)) return false;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(b->cov[i])) return false;
    return true;
}

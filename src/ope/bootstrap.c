/* bootstrap.c: resamples of whole clusters, and the intervals that are read off them.
 *
 * Draws are multinomial: G clusters out of G with replacement. Poisson(1) weights would be simpler to make in pieces,
 * and for a ratio come to the same, but give a plain total the variance sum x^2 instead of sum (x - mean)^2; and with a
 * fixed number of clusters no draw is empty. Every column is resampled, the count of rows and the sums of weights among
 * them, so that denominators vary as they do. The totals of all draws are one matrix product: the times that each
 * cluster was drawn, by block, times the clusters' sums (OpenBLAS). A block of draws is one thread's from its first
 * random number to its last sum, so that nothing depends on their number (where OpenBLAS keeps to one thread, as in our
 * programs).
 *
 * BCa: Efron, Better bootstrap confidence intervals (JASA 82, 1987); Efron and Tibshirani, An Introduction to the
 * Bootstrap, 14.3: acceleration sum u^3 / (6 (sum u^2)^1.5) from the influences.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <cblas.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/parallel.h"
#include "src/measure/measure.h"
#include "src/ope/interval.h"

enum {
    DRAWS_AT_ONCE = 64,     /* of a thread: their counts fill 8 MiB where there are 65,536 clusters */
    CLUSTERS_AT_ONCE = 512, /* of a product */
    STREAM = 0x64726177     /* "draw" */
};

typedef struct making {
    weirp_draws *draws;
    const weirp_sums *sums;
    uint64_t seed;
    uint16_t *times; /* (n_threads, DRAWS_AT_ONCE, n_clusters) how often each cluster was drawn */
    double *weight;  /* (n_threads, DRAWS_AT_ONCE, CLUSTERS_AT_ONCE) the same, of some clusters, as numbers */
} making;

/* G draws from 0..G-1. Half a random word a draw: chances are equal to within G/2^32. */
static void draw(uint16_t *times, size_t g, uint64_t seed, uint64_t number) {
    const uint64_t key = weirp_random_u64(seed, STREAM, number);
    memset(times, 0, g * sizeof *times);
    for (size_t i = 0; i < g; i += 2) {
        const uint64_t word = weirp_mix64(key + (i + 1) * 0x9e3779b97f4a7c15u);
        times[((word >> 32) * g) >> 32]++;
        if (i + 1 < g) times[((word & 0xffffffffu) * g) >> 32]++;
    }
}

static void make_some(void *context, unsigned worker, size_t begin, size_t end) {
    const making *m = context;
    const size_t g = m->sums->n_clusters, n_columns = m->sums->n_columns, n = end - begin;
    uint16_t *times = m->times + (size_t)worker * DRAWS_AT_ONCE * g;
    double *weight = m->weight + (size_t)worker * DRAWS_AT_ONCE * CLUSTERS_AT_ONCE;
    double *total = m->draws->total + begin * n_columns;
    for (size_t d = 0; d < n; d++) draw(times + d * g, g, m->seed, begin + d);
    for (size_t first = 0; first < g; first += CLUSTERS_AT_ONCE) {
        const size_t some = g - first < CLUSTERS_AT_ONCE ? g - first : CLUSTERS_AT_ONCE;
        for (size_t d = 0; d < n; d++)
            for (size_t c = 0; c < some; c++) weight[d * some + c] = times[d * g + first + c];
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n, (blasint)n_columns, (blasint)some, 1, weight,
                    (blasint)some, m->sums->x + first * n_columns, (blasint)n_columns, first ? 1 : 0, total,
                    (blasint)n_columns);
    }
}

weir_status weirp_draws_make(weirp_draws *draws, const weirp_sums *sums, size_t n_draws, uint64_t seed,
                             unsigned n_threads, weir_error *err) {
    *draws = (weirp_draws){.n_draws = n_draws, .n_columns = sums->n_columns};
    const size_t pieces = n_draws / DRAWS_AT_ONCE + 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    if (n_threads > pieces) n_threads = (unsigned)pieces;
    if (n_threads < 1) n_threads = 1;
    if (!sums->n_clusters) return weirp_fail(err, WEIR_NODATA, 0, "no rows to resample");
    if (sums->n_clusters > UINT32_MAX / 2 || (sums->n_columns && n_draws > SIZE_MAX / sums->n_columns))
        return weirp_nomem(err);
    weir_status st = WEIR_OK;
    making m = {.draws = draws, .sums = sums, .seed = seed};
    m.times = weirp_array(sums->n_clusters * n_threads, DRAWS_AT_ONCE * sizeof *m.times);
    m.weight = weirp_array(n_threads, (size_t)DRAWS_AT_ONCE * CLUSTERS_AT_ONCE * sizeof *m.weight);
    draws->total = weirp_array(n_draws * sums->n_columns, sizeof *draws->total);
    if (!m.times || !m.weight || !draws->total) WEIRP_TRY(weirp_nomem(err));
    if (sums->n_columns) weirp_parallel(n_draws, DRAWS_AT_ONCE, n_threads, make_some, &m);
done:
    free(m.times);
    free(m.weight);
    if (st != WEIR_OK) weirp_draws_free(draws);
    return st;
}

void weirp_draws_free(weirp_draws *draws) {
    if (!draws) return;
    free(draws->total);
    *draws = (weirp_draws){0};
}

/* Where a normal quantile comes to lie among the draws, once bias and acceleration are taken account of. */
static double moved(double z, double bias, double acceleration) {
    const double sum = bias + z, scale = 1 - acceleration * sum;
    if (!(scale > 0)) return sum > 0 ? 1 : 0; /* past the transformation's pole */
    return gsl_cdf_ugaussian_P(bias + sum / scale);
}

/* Next to an infinity there is nothing to interpolate: then the end is as far out as can be. */
static weirp_interval between(double *value, size_t n, double p_lo, double p_hi) {
    const double lo = weirp_percentile(value, n, p_lo), hi = weirp_percentile(value, n, p_hi);
    return (weirp_interval){isnan(lo) ? -INFINITY : lo, isnan(hi) ? INFINITY : hi};
}

static double acceleration_of(const double *u, size_t n) {
    double square = 0, cube = 0, most = 0;
    for (size_t c = 0; c < n; c++) most = fmax(most, fabs(u[c]));
    if (!(most > 0)) return 0;
    for (size_t c = 0; c < n; c++) {
        const double part = u[c] / most;
        square += part * part;
        cube += part * part * part;
    }
    return cube / (6 * square * sqrt(square));
}

weir_status weirp_bootstrap_intervals(const weirp_statistic *s, const weirp_sums *sums, const weirp_draws *draws,
                                      double level, weirp_interval *percentile, weirp_interval *bca, weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t n = draws->n_draws;
    double *value = weirp_array(n, sizeof *value), *u = weirp_array(sums->n_clusters, sizeof *u);
    if (!value || !u) WEIRP_TRY(weirp_nomem(err));
    const double whole = weirp_statistic_value(s, sums->total);
    *percentile = *bca = (weirp_interval){NAN, NAN};
    if (!isfinite(whole) || !n) goto done;
    double below = 0;
    size_t undefined = 0;
    for (size_t d = 0; d < n; d++) {
        value[d] = weirp_statistic_value(s, draws->total + d * draws->n_columns);
        /* nothing is known of the statistic there: it may as well have been as low or as high as can be */
        if (isnan(value[d])) value[d] = undefined++ % 2 ? INFINITY : -INFINITY;
        below += value[d] < whole ? 1 : value[d] == whole ? 0.5 : 0;
    }
    const double tail = (1 - level) / 2, z = gsl_cdf_ugaussian_Qinv(tail);
    *percentile = between(value, n, tail, 1 - tail);
    weirp_statistic_influence(s, sums, u);
    const double share = fmin(fmax(below, 0.5), (double)n - 0.5) / (double)n;
    const double bias = gsl_cdf_ugaussian_Pinv(share), acceleration = acceleration_of(u, sums->n_clusters);
    *bca = between(value, n, moved(-z, bias, acceleration), moved(z, bias, acceleration));
done:
    free(value);
    free(u);
    return st;
}

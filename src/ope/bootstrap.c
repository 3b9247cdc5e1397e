/* bootstrap.c: resamples of whole clusters, and the intervals that are read off them.
 *
 * Draws are multinomial: G clusters out of G with replacement. Poisson(1) weights would be simpler to make in pieces,
 * and for a ratio come to the same, but give a plain total the variance sum x^2 instead of sum (x - mean)^2; and with a
 * fixed number of clusters no draw is empty. Every column is resampled, the count of rows and the sums of weights among
 * them, so that denominators vary as they do.
 *
 * The totals of all draws are a matrix product, how often each cluster was drawn times the clusters' sums, in blocks of
 * clusters and columns. It isn't BLAS's: its kernels for a matrix's last columns add in another order (OpenBLAS 0.3.21,
 * AVX-512), so that two columns with the same numbers get totals that differ in the last bit, and the difference of two
 * policies that are the same isn't 0. Here every column is added up in the clusters' order, on every machine and with
 * any number of threads; and as the counts are small whole numbers, additions are all it takes.
 *
 * BCa: Efron, Better bootstrap confidence intervals (JASA 82, 1987); Efron and Tibshirani, An Introduction to the
 * Bootstrap, 14.3: acceleration sum u^3 / (6 (sum u^2)^1.5) from the influences.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/parallel.h"
#include "src/measure/measure.h"
#include "src/ope/interval.h"

enum {
    DRAWS_AT_ONCE = 128,    /* of a thread: what they took fills 8 MiB where there are 65,536 clusters */
    CLUSTERS_AT_ONCE = 128, /* of a panel (32 KiB); at most 256 */
    LANE = 8,
    LANES = 4,
    COLUMNS_AT_ONCE = LANE * LANES,
    SLACK = 4,
    STREAM = 0x64726177 /* "draw" */
};

typedef double lane __attribute__((vector_size(LANE * sizeof(double))));

/* Some columns of some clusters; zeros past the last column. */
typedef struct panel {
    lane x[CLUSTERS_AT_ONCE][LANES];
} panel;

/* One thread's room. */
typedef struct room {
    uint16_t *times; /* (n_clusters) how often a draw took each cluster */
    uint8_t *taken;  /* (DRAWS_AT_ONCE, n_clusters + SLACK) what each draw took, in order: places within the clusters'
                        block */
    uint32_t *n;     /* (DRAWS_AT_ONCE, n_blocks) how many from each block */
    panel *panel;
} room;

typedef struct making {
    weirp_draws *draws;
    const weirp_sums *sums;
    uint64_t seed;
    size_t n_blocks; /* of clusters */
    room *room;      /* (n_threads) */
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

/* Writes each cluster a few times and keeps as many as were drawn: without a branch that can't be foreseen. `taken` has
 * SLACK more places than there are clusters. */
static void list(const uint16_t *times, size_t g, uint8_t *taken, uint32_t *n) {
    for (size_t first = 0; first < g; first += CLUSTERS_AT_ONCE, n++) {
        const size_t some = g - first < CLUSTERS_AT_ONCE ? g - first : CLUSTERS_AT_ONCE;
        uint8_t *next = taken;
        for (size_t c = 0; c < some; c++) {
            const size_t k = times[first + c];
            memset(next, (int)c, SLACK);
            if (k > SLACK) memset(next + SLACK, (int)c, k - SLACK);
            next += k;
        }
        *n = (uint32_t)(next - taken);
        taken = next;
    }
}

static void fill(panel *p, const weirp_sums *sums, size_t first, size_t column, size_t n_columns) {
    const size_t rest = sums->n_clusters - first, some = rest < CLUSTERS_AT_ONCE ? rest : CLUSTERS_AT_ONCE;
    memset(p, 0, sizeof *p);
    for (size_t c = 0; c < some; c++)
        memcpy(p->x[c], sums->x + (first + c) * sums->n_columns + column, n_columns * sizeof(double));
}

WEIRP_CLONES static void add_taken(lane *sum, const panel *p, const uint8_t *taken, size_t n) {
    lane a = sum[0], b = sum[1], c = sum[2], d = sum[3];
    for (size_t i = 0; i < n; i++) {
        const lane *x = p->x[taken[i]];
        a += x[0];
        b += x[1];
        c += x[2];
        d += x[3];
    }
    sum[0] = a, sum[1] = b, sum[2] = c, sum[3] = d;
}

static void make_some(void *context, unsigned worker, size_t begin, size_t end) {
    const making *m = context;
    const room *r = &m->room[worker];
    const size_t g = m->sums->n_clusters, all = m->sums->n_columns, n = end - begin;
    for (size_t d = 0; d < n; d++) {
        draw(r->times, g, m->seed, begin + d);
        list(r->times, g, r->taken + d * (g + SLACK), r->n + d * m->n_blocks);
    }
    for (size_t column = 0; column < all; column += COLUMNS_AT_ONCE) {
        const size_t some = all - column < COLUMNS_AT_ONCE ? all - column : COLUMNS_AT_ONCE;
        lane sum[DRAWS_AT_ONCE][LANES] = {0};
        size_t at[DRAWS_AT_ONCE] = {0};
        for (size_t block = 0; block < m->n_blocks; block++) {
            fill(r->panel, m->sums, block * CLUSTERS_AT_ONCE, column, some);
            for (size_t d = 0; d < n; d++) {
                const size_t taken = r->n[d * m->n_blocks + block];
                add_taken(sum[d], r->panel, r->taken + d * (g + SLACK) + at[d], taken);
                at[d] += taken;
            }
        }
        for (size_t d = 0; d < n; d++)
            memcpy(m->draws->total + (begin + d) * all + column, sum[d], some * sizeof(double));
    }
}

static bool room_new(room *r, size_t n_clusters, size_t n_blocks) {
    r->times = weirp_array(n_clusters, sizeof *r->times);
    r->taken = weirp_array(n_clusters + SLACK, DRAWS_AT_ONCE);
    r->n = weirp_array(n_blocks, DRAWS_AT_ONCE * sizeof *r->n);
    r->panel = weirp_large(1, sizeof *r->panel); /* lanes must begin at a cache line's border */
    return r->times && r->taken && r->n && r->panel;
}

static void room_free(room *r) {
    free(r->times);
    free(r->taken);
    free(r->n);
    free(r->panel);
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
    m.n_blocks = (sums->n_clusters + CLUSTERS_AT_ONCE - 1) / CLUSTERS_AT_ONCE;
    m.room = weirp_array(n_threads, sizeof *m.room);
    draws->total = weirp_array(n_draws * sums->n_columns, sizeof *draws->total);
    if (!m.room || !draws->total) WEIRP_TRY(weirp_nomem(err));
    for (unsigned i = 0; i < n_threads; i++)
        if (!room_new(&m.room[i], sums->n_clusters, m.n_blocks)) WEIRP_TRY(weirp_nomem(err));
    weirp_parallel(n_draws, DRAWS_AT_ONCE, n_threads, make_some, &m);
done:
    for (unsigned i = 0; m.room && i < n_threads; i++) room_free(&m.room[i]);
    free(m.room);
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

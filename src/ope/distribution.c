/* distribution.c: weighted quantiles and tails off buckets of growing width.
 *
 * Bucket i holds [LEAST g^(i-1), LEAST g^i); what is less goes into bucket 0, what is more into the last. A value is
 * told by its bucket's weighted mean, which lies in the bucket as the exact quantile does, so they differ by at most g
 * - 1. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/distribution.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

#define GROWTH 1.002
#define LEAST  1e-9 /* a thousandth of a millionth of a dollar */
#define MOST   1e12 /* ms: 30 years */

typedef struct bucket {
    double w, w2, wx;
} bucket;

struct weirp_distribution {
    size_t n_buckets;
    double per_log, log_least;
    double w, w2; /* totals */
    bucket *bucket;
};

weir_status weirp_distribution_new(weirp_distribution **out, weir_error *err) {
    *out = NULL;
    weirp_distribution *d = calloc(1, sizeof *d);
    if (!d) return weirp_nomem(err);
    d->per_log = 1 / log(GROWTH);
    d->log_least = log(LEAST);
    d->n_buckets = (size_t)(log(MOST / LEAST) * d->per_log) + 2;
    d->bucket = weirp_array(d->n_buckets, sizeof *d->bucket);
    if (!d->bucket) {
        free(d);
        return weirp_nomem(err);
    }
    *out = d;
    return WEIR_OK;
}

void weirp_distribution_free(weirp_distribution *d) {
    if (!d) return;
    free(d->bucket);
    free(d);
}

bool weirp_distribution_takes(double x, double w) {
    return x >= 0 && w > 0 && !isinf(x) && !isinf(w);
}

void weirp_distribution_clear(weirp_distribution *d) {
    memset(d->bucket, 0, d->n_buckets * sizeof *d->bucket);
    d->w = d->w2 = 0;
}

void weirp_distribution_add(weirp_distribution *d, double x, double w) {
    if (!weirp_distribution_takes(x, w)) return;
    size_t i = 0;
    if (x >= LEAST) {
        const double place = (log(x) - d->log_least) * d->per_log;
        i = place >= (double)d->n_buckets - 2 ? d->n_buckets - 1 : (size_t)fmax(place, 0) + 1;
    }
    d->bucket[i].w += w;
    d->bucket[i].w2 += w * w;
    d->bucket[i].wx += w * x;
    d->w += w;
    d->w2 += w * w;
}

/* The bucket in which the distribution function reaches `level`; `below`: all that comes before it. */
static size_t reach(const weirp_distribution *d, double level, bucket *below) {
    size_t last = 0;
    bucket sum = {0}, before = {0};
    /* Weights are added in another order than the total's: what is off by rounding has reached the level. */
    const double need = level * d->w * (1 - 1e-12);
    for (size_t i = 0; i < d->n_buckets; i++) {
        const bucket *b = &d->bucket[i];
        if (b->w == 0) continue;
        before = sum;
        last = i;
        sum.w += b->w;
        sum.w2 += b->w2;
        sum.wx += b->wx;
        if (sum.w >= need) break;
    }
    *below = before;
    return last;
}

static double value_of(const weirp_distribution *d, size_t i) {
    return d->bucket[i].wx / d->bucket[i].w;
}

double weirp_distribution_quantile(const weirp_distribution *d, double level) {
    bucket below;
    if (!(d->w > 0) || !(level >= 0 && level <= 1)) return NAN;
    return value_of(d, reach(d, level, &below));
}

double weirp_distribution_place(const weirp_distribution *d, double level) {
    bucket below;
    if (!(d->w > 0) || !(level >= 0 && level <= 1)) return NAN;
    const size_t i = reach(d, level, &below);
    return i + 1 == d->n_buckets ? INFINITY : LEAST * pow(GROWTH, (double)i);
}

weirp_interval weirp_distribution_quantile_interval(const weirp_distribution *d, double level, double inflate,
                                                    double confidence) {
    bucket below;
    if (!(d->w > 0) || !(level > 0 && level < 1) || !(confidence > 0 && confidence < 1))
        return (weirp_interval){NAN, NAN};
    /* F = sum w 1{x <= quantile} / sum w; a row's influence is w (1{x <= quantile} - F) / sum w. Taken at the level: of
     * the lump that the quantile may lie in, as much as reaches it. */
    const bucket *b = &d->bucket[reach(d, level, &below)];
    const double part = fmin(1, fmax(0, (level * d->w - below.w) / b->w)), w2 = below.w2 + part * b->w2;
    const double se = sqrt(fmax(0, (1 - 2 * level) * w2 + level * level * d->w2)) / d->w;
    const double reach_by = gsl_cdf_ugaussian_Pinv((1 + confidence) / 2) * se * inflate;
    weirp_interval interval = {0, INFINITY};
    if (level - reach_by > 0) interval.lo = value_of(d, reach(d, level - reach_by, &below));
    if (level + reach_by < 1) interval.hi = value_of(d, reach(d, level + reach_by, &below));
    return interval;
}

double weirp_distribution_cvar(const weirp_distribution *d, double level) {
    bucket below;
    if (!(d->w > 0) || !(level >= 0 && level < 1)) return NAN;
    const size_t at = reach(d, level, &below);
    double above_w = 0, above_wx = 0;
    for (size_t i = d->n_buckets; i-- > at + 1;) {
        above_w += d->bucket[i].w;
        above_wx += d->bucket[i].wx;
    }
    /* The bucket at the quantile gives as much as is missing. */
    const double tail = (1 - level) * d->w, missing = fmax(0, tail - above_w);
    return (above_wx + missing * value_of(d, at)) / (above_w + missing);
}

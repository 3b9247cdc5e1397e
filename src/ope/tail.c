/* tail.c: quantiles with the clusters' variance. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/tail.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"

const double weirp_quantile_levels[WEIRP_N_QUANTILES] = {0.5, 0.9, 0.95, 0.99};

enum { ALL = WEIRP_N_QUANTILES, N_COLUMNS }; /* sums of w 1{x <= place}, a column a place, and of w */

struct weirp_tails {
    weirp_distribution *d;
    weirp_sums sums; /* N_COLUMNS by cluster */
    double place[WEIRP_N_QUANTILES];
    double w2[N_COLUMNS]; /* the columns' sums of w^2 */
};

weir_status weirp_tails_new(weirp_tails **out, size_t n_clusters, weir_error *err) {
    *out = NULL;
    weirp_tails *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    weir_status st = weirp_distribution_new(&t->d, err);
    if (st == WEIR_OK) st = weirp_sums_init(&t->sums, n_clusters, N_COLUMNS, err);
    if (st != WEIR_OK) {
        weirp_tails_free(t);
        return st;
    }
    *out = t;
    return WEIR_OK;
}

void weirp_tails_free(weirp_tails *t) {
    if (!t) return;
    weirp_distribution_free(t->d);
    weirp_sums_free(&t->sums);
    free(t);
}

void weirp_tails_look(weirp_tails *t, double x, double w) {
    weirp_distribution_add(t->d, x, w);
}

void weirp_tails_settle(weirp_tails *t) {
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++)
        t->place[k] = weirp_distribution_place(t->d, weirp_quantile_levels[k]);
    weirp_distribution_clear(t->d);
}

void weirp_tails_add(weirp_tails *t, size_t cluster, double x, double w) {
    double *sum = t->sums.x + cluster % t->sums.n_clusters * N_COLUMNS;
    if (!weirp_distribution_takes(x, w)) return;
    weirp_distribution_add(t->d, x, w);
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++) {
        if (!(x <= t->place[k])) continue;
        sum[k] += w;
        t->w2[k] += w * w;
    }
    sum[ALL] += w;
    t->w2[ALL] += w * w;
}

/* Standard error that the share below a place would have if each cluster had one outcome: the most that clusters can
 * do, over that of rows. */
static double most_inflation(const weirp_tails *t) {
    double square = 0;
    for (size_t c = 0; c < t->sums.n_clusters; c++) {
        const double w = t->sums.x[c * N_COLUMNS + ALL];
        square += w * w;
    }
    return t->w2[ALL] > 0 ? sqrt(square / t->w2[ALL]) : 1;
}

/* By how much clusters widen the normal interval of the share below a place: their standard error over that of rows,
 * and Student's quantile over the normal's. Where nothing is on one side of the place, the most that they can. */
static double inflation(const weirp_tails *t, size_t k, double confidence) {
    const weirp_ratio ratio = {.num = k, .den = ALL, .add = WEIRP_NO_COLUMN, .add_den = WEIRP_NO_COLUMN, .factor = 1};
    const double all = t->sums.total[ALL], share = t->sums.total[k] / all;
    const double of_rows = sqrt(fmax(0, (1 - 2 * share) * t->w2[k] + share * share * t->w2[ALL])) / all;
    double df;
    const double of_clusters = weirp_se(&(weirp_statistic){&ratio, 1}, &t->sums, true, &df);
    const double tail = (1 - confidence) / 2;
    if (!(of_rows > 1e-9) || !(of_clusters > 0)) return most_inflation(t);
    return fmax(1, of_clusters / of_rows) * gsl_cdf_tdist_Qinv(tail, df) / gsl_cdf_ugaussian_Qinv(tail);
}

/* With F of what is supported, 1 - u of the mass, the whole's lies in [(1 - u) F, (1 - u) F + u]: the quantile of a
 * level lies between those of (level - u) / (1 - u) and of level / (1 - u). */
static weirp_interval allow_for(const weirp_tails *t, double level, double u, double most, double inflate,
                                double confidence) {
    weirp_interval range = {0, INFINITY};
    const double below = (level - u) / (1 - u), above = level / (1 - u);
    if (below > 0) range.lo = weirp_distribution_quantile_interval(t->d, below, inflate, confidence).lo;
    if (above < 1) range.hi = weirp_distribution_quantile_interval(t->d, above, inflate, confidence).hi;
    if (range.hi > most) range.hi = most;
    return range;
}

void weirp_tails_tell(weirp_tails *t, double confidence, double unsupported, double most, weirp_tail *tail) {
    const double u = unsupported > 0 ? fmin(unsupported, 1) : 0;
    weirp_sums_finish(&t->sums);
    tail->known = true;
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++) {
        const double level = weirp_quantile_levels[k];
        tail->quantile[k] = weirp_distribution_quantile(t->d, level);
        tail->quantile_t[k] = isnan(tail->quantile[k])
                                  ? (weirp_interval){NAN, NAN}
                                  : allow_for(t, level, u, most, inflation(t, k, confidence), confidence);
        tail->cvar[k] = weirp_distribution_cvar(t->d, level);
    }
}

/* sums.c: totals by compensated summation (Knuth's two-sum, TAOCP 2, 4.2.2), and estimates with their influences as
 * functions of them. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/sums.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"

enum { CHUNK = 64 }; /* columns that are totalled at once: both halves of each stay in the nearest cache */

weir_status weirp_sums_init(weirp_sums *sums, size_t n_clusters, size_t n_columns, weir_error *err) {
    *sums = (weirp_sums){.n_clusters = n_clusters, .n_columns = n_columns};
    if (n_columns && n_clusters > SIZE_MAX / n_columns) return weirp_nomem(err);
    sums->x = weirp_array(n_clusters * n_columns, sizeof *sums->x);
    sums->rows = weirp_array(n_clusters, sizeof *sums->rows);
    sums->total = weirp_array(n_columns, sizeof *sums->total);
    if (sums->x && sums->rows && sums->total) return WEIR_OK;
    weirp_sums_free(sums);
    return weirp_nomem(err);
}

void weirp_sums_free(weirp_sums *sums) {
    free(sums->x);
    free(sums->rows);
    free(sums->total);
    *sums = (weirp_sums){0};
}

void weirp_sums_finish(weirp_sums *sums) {
    const size_t m = sums->n_columns;
    for (size_t first = 0; first < m; first += CHUNK) {
        const size_t n = m - first < CHUNK ? m - first : CHUNK;
        double sum[CHUNK] = {0}, rest[CHUNK] = {0};
        for (size_t c = 0; c < sums->n_clusters; c++) {
            const double *x = sums->x + c * m + first;
            for (size_t k = 0; k < n; k++) {
                const double s = sum[k] + x[k], part = s - sum[k];
                rest[k] += (sum[k] - (s - part)) + (x[k] - part);
                sum[k] = s;
            }
        }
        for (size_t k = 0; k < n; k++) sums->total[first + k] = sum[k] + rest[k];
    }
}

static bool is_there(size_t num, size_t den) {
    return num != WEIRP_NO_COLUMN && den != WEIRP_NO_COLUMN;
}

double weirp_statistic_value(const weirp_statistic *s, const double *total) {
    double value = 0;
    for (size_t i = 0; i < s->n; i++) {
        const weirp_ratio *r = &s->ratio[i];
        double v = 0;
        if (is_there(r->num, r->den)) v += total[r->num] / total[r->den];
        if (is_there(r->add, r->add_den)) v += total[r->add] / total[r->add_den];
        value += r->factor * v;
    }
    return value;
}

/* One fraction's part of the influence: its derivative in the cluster's weight, (x[num] - R x[den]) / T[den], R being
 * the fraction. Left out: 0. */
typedef struct slope {
    size_t num, den;
    double ratio, scale;
} slope;

static slope slope_of(const double *total, size_t num, size_t den, double factor) {
    if (!is_there(num, den)) return (slope){0};
    return (slope){num, den, total[num] / total[den], factor / total[den]};
}

static double slope_at(const slope *d, const double *x) {
    return d->scale * (x[d->num] - d->ratio * x[d->den]);
}

/* Both fractions of a ratio are summed before they are added, so that the difference of two policies that are the same
 * is 0 to the last bit. */
void weirp_statistic_influence_of(const weirp_statistic *s, const weirp_sums *sums, size_t begin, size_t end,
                                  double *u) {
    for (size_t c = begin; c < end; c++) u[c - begin] = 0;
    for (size_t i = 0; i < s->n; i++) {
        const weirp_ratio *r = &s->ratio[i];
        const bool has = is_there(r->num, r->den), adds = is_there(r->add, r->add_den);
        const slope first = slope_of(sums->total, r->num, r->den, r->factor);
        const slope second = slope_of(sums->total, r->add, r->add_den, r->factor);
        for (size_t c = begin; c < end; c++) {
            const double *x = sums->x + c * sums->n_columns;
            u[c - begin] += (has ? slope_at(&first, x) : 0) + (adds ? slope_at(&second, x) : 0);
        }
    }
}

void weirp_statistic_influence(const weirp_statistic *s, const weirp_sums *sums, double *u) {
    weirp_statistic_influence_of(s, sums, 0, sums->n_clusters, u);
}

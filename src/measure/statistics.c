/* Goodness of fit and percentiles.
 * GSL's gsl_stats_quantile_from_sorted_data gives NAN next to an infinity, which here is a value: "never reached".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/measure/measure.h"

#include <math.h>
#include <stdlib.h>

double weirp_r2_table(const double *predicted, const double *actual, size_t n, size_t n_columns, size_t column,
                      const double *weight) {
    const size_t first = column == (size_t)-1 ? 0 : column, last = column == (size_t)-1 ? n_columns : column + 1;
    double total = 0, mean = 0, left = 0, whole = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            const double w = weight ? weight[i] : 1;
            for (size_t k = first; k < last; k++) {
                const double p = predicted[i * n_columns + k], y = actual[i * n_columns + k];
                if (isnan(p) || isnan(y)) continue;
                if (pass == 0) {
                    total += w;
                    mean += w * y;
                } else {
                    left += w * (y - p) * (y - p);
                    whole += w * (y - mean) * (y - mean);
                }
            }
        }
        if (pass == 0 && !(total > 0)) return NAN;
        if (pass == 0) mean /= total;
    }
    return whole > 1e-24 * total * mean * mean && whole > 0 ? 1 - left / whole : NAN;
}

double weirp_r2(const double *predicted, const double *actual, size_t n) {
    return weirp_r2_table(predicted, actual, n, 1, 0, NULL);
}

static int rising(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double weirp_percentile(double *values, size_t n, double p) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i])) values[count++] = values[i];
    if (count == 0) return NAN;
    qsort(values, count, sizeof *values, rising);
    const double at = fmin(fmax(p, 0), 1) * (double)(count - 1);
    const size_t i = (size_t)at;
    const double t = at - (double)i;
    if (t == 0 || values[i] == values[i + 1]) return values[i];
    return values[i] + t * (values[i + 1] - values[i]);
}

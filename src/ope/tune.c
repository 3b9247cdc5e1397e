/* tune.c: SLOPE, and the least bound on the squared error. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/tune.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

/* Order by width, widest first; of equals the one that changes the most, so that the least change is met last. */
static void sort_by_width(const weirp_choice *choices, size_t n, size_t *order) {
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && choices[order[k - 1]].se <= choices[i].se; k--) order[k] = order[k - 1];
        order[k] = i;
    }
}

size_t weirp_tune_slope(const weirp_choice *choices, size_t n, double t) {
    const double constant = sqrt(6) - 1;
    size_t order[WEIRP_MAX_CHOICES];
    assert(n >= 1 && n <= WEIRP_MAX_CHOICES);
    sort_by_width(choices, n, order);
    for (size_t i = 1; i < n; i++) {
        const weirp_choice *a = &choices[order[i]];
        for (size_t j = 0; j < i; j++) {
            const weirp_choice *b = &choices[order[j]];
            if (!(fabs(a->value - b->value) <= t * (a->se + constant * b->se))) return order[i - 1];
        }
    }
    return order[n - 1];
}

size_t weirp_tune_mse(const weirp_choice *choices, size_t n, double slack) {
    size_t best = 0;
    double least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        const double bias = fabs(choices[i].bias) + slack, mse = choices[i].se * choices[i].se + bias * bias;
        if (mse < least) {
            least = mse;
            best = i;
        }
    }
    return best;
}

double weirp_tune_slack(double mean_w2, double max_w, double n, double scale) {
    const double l = log(2 / WEIRP_TUNE_DELTA);
    return scale * (sqrt(2 * mean_w2 * l / n) + 2 * max_w * l / (3 * n));
}

size_t weirp_tune_bound(const weirp_choice *choices, size_t n, double mean_w2, double n_terms) {
    static const double DELTA = 0.05;
    const double best = sqrt(2 * log(1 / DELTA) / (3 * n_terms * mean_w2));
    double least = INFINITY;
    size_t at = 0;
    for (size_t i = 1; i < n; i++) least = fmin(least, choices[i].lambda);
    if (!(best >= least / 2)) return 0;
    for (size_t i = 1; i < n; i++)
        if (!at || fabs(log(choices[i].lambda / best)) < fabs(log(choices[at].lambda / best))) at = i;
    return at;
}

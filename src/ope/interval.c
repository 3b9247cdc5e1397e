/* interval.c: standard errors of statistics of clusters' sums, and intervals that rest on the normal or Student's law.
 *
 * The variance is the sum over clusters of squared influences, times G/(G - 1) for few clusters G (CR1; Cameron and
 * Miller, J. Human Resources 50(2), 2015, section VI.A).
 *
 * That sum, V, is itself estimated; Satterthwaite's degrees of freedom, 2 E[V]^2 / Var(V), are for normal influences of
 * variances s_c^2 equal to (sum s^2)^2 / sum s^4 (the idea of Bell and McCaffrey, Survey Methodology 28(2), 2002: few
 * large clusters count as few). With b = sum u^4 / (sum u^2)^2 and E[sum u^4] = 3 sum s^4, E[V^2] = (sum s^2)^2 + 2 sum
 * s^4, that is 3/b - 2 by the method of moments: G - 1 or more for normal influences of one size, 1 when one cluster
 * holds everything, and few as well when influences have heavy tails, where it takes account of V being too small more
 * often than not. G - 1 is the most that is given.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/interval.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"

double weirp_se(const weirp_statistic *s, const weirp_sums *sums, bool small, double *df) {
    enum { SOME = 256 };
    const size_t n = sums->n_clusters;
    const double g = (double)n;
    double u[SOME], most = 0, square = 0, fourth = 0;
    if (df) *df = NAN;
    if (n < 2) return NAN;
    for (size_t at = 0; at < n; at += SOME) {
        const size_t some = n - at < SOME ? n - at : SOME;
        weirp_statistic_influence_of(s, sums, at, at + some, u);
        for (size_t c = 0; c < some; c++)
            most = isnan(most) || isnan(u[c]) ? NAN : fmax(most, fabs(u[c])); /* fmax leaves out what is none */
    }
    if (isnan(most) || isinf(most)) return NAN;
    for (size_t at = 0; at < n; at += SOME) {
        const size_t some = n - at < SOME ? n - at : SOME;
        weirp_statistic_influence_of(s, sums, at, at + some, u);
        for (size_t c = 0; c < some; c++) {
            const double part = most > 0 ? u[c] / most : 0; /* fourth powers neither vanish nor overflow */
            square += part * part;
            fourth += part * part * part * part;
        }
    }
    if (df) *df = fourth > 0 ? fmin(g - 1, fmax(3 * square * square / fourth - 2, 1)) : g - 1;
    return most * sqrt(square * (small ? g / (g - 1) : 1));
}

static weirp_interval around(double value, double factor, double se) {
    const double half = se == 0 ? 0 : factor * se; /* no variance at all: whatever the factor */
    return (weirp_interval){value - half, value + half};
}

weirp_interval weirp_normal_interval(double value, double se, double level) {
    return around(value, gsl_cdf_ugaussian_Qinv((1 - level) / 2), se);
}

weirp_interval weirp_t_interval(double value, double se, double df, double level) {
    return around(value, df > 0 ? gsl_cdf_tdist_Qinv((1 - level) / 2, df) : NAN, se);
}

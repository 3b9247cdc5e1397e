/* band.c: simultaneous bands: the studentised sup-t of the bootstrap (Montiel Olea and Plagborg-Moller, J. Applied
 * Econometrics 34(1), 2019): the quantile of max |value* - value| / se over statistics that share their draws.
 *
 * The draws take each se for known. So the quantile is read as one of the normal law and given as that of Student's
 * with the fewest degrees of freedom among the statistics: exactly right for one of them, and hardly a change with many
 * clusters. SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_cdf.h>
#include <math.h>

#include "src/measure/measure.h"
#include "src/ope/interval.h"

void weirp_band_add(double *most, double *fewest, const weirp_statistic *s, const weirp_sums *sums,
                    const weirp_draws *draws, double se, double df) {
    if (!(se > 0) || isinf(se)) return; /* a point that doesn't move, or isn't known, needs no band */
    const double value = weirp_statistic_value(s, sums->total);
    for (size_t d = 0; d < draws->n_draws; d++) {
        const double off = fabs(weirp_statistic_value(s, draws->total + d * draws->n_columns) - value) / se;
        most[d] = isnan(off) ? INFINITY : fmax(most[d], off); /* undefined in a draw: as far off as can be */
    }
    *fewest = fmin(*fewest, df);
}

double weirp_band_factor(double *most, size_t n_draws, double fewest, double level) {
    if (isinf(fewest)) return 0; /* nothing moves */
    const double z = weirp_percentile(most, n_draws, level), tail = gsl_cdf_ugaussian_Q(z);
    return tail > 0 ? gsl_cdf_tdist_Qinv(tail, fewest) : z;
}

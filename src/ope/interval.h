/* interval.h: intervals for statistics of clusters' sums. Formulas and sources stand in each file's head comment.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_INTERVAL_H
#define WEIRP_OPE_INTERVAL_H

#include "src/ope/sums.h"

typedef struct weirp_interval {
    double lo, hi;
} weirp_interval;

/* Standard error, robust to dependence within clusters: sqrt(sum u_c^2); with `small` times G/(G-1) (CR1). The
 * degrees of freedom for Student's t: G - 1, or fewer where few clusters hold most of the variance (Bell and
 * McCaffrey's idea): 3 (sum u^2)^2 / sum u^4 - 2. `df` may be NULL. NAN: fewer than two clusters, not finite, or out of
 * memory. */
double weirp_se(const weirp_statistic *s, const weirp_sums *sums, bool small, double *df);
weirp_interval weirp_normal_interval(double value, double se, double level);
weirp_interval weirp_t_interval(double value, double se, double df, double level);

/* Resamples of the clusters: totals of every draw, shared by all statistics, so that denominators are resampled and
 * differences are paired. The same bits on every machine, with any number of threads; columns with the same numbers
 * have the same totals to the last bit. */
typedef struct weirp_draws {
    size_t n_draws, n_columns;
    double *total; /* (n_draws, n_columns) */
} weirp_draws;
weir_status weirp_draws_make(weirp_draws *draws, const weirp_sums *sums, size_t n_draws, uint64_t seed,
                             unsigned n_threads, weir_error *err);
void weirp_draws_free(weirp_draws *draws);
/* Percentile, and BCa (Efron, JASA 82, 1987: bias correction from the draws, acceleration from the influences)
 * intervals of the bootstrap. Draws in which the statistic isn't defined count as far out, half of them at either end.
 */
weir_status weirp_bootstrap_intervals(const weirp_statistic *s, const weirp_sums *sums, const weirp_draws *draws,
                                      double level, weirp_interval *percentile, weirp_interval *bca, weir_error *err);

/* Empirical Bernstein (Maurer and Pontil, COLT 2009, thm 4), two-sided, of n independent terms with this mean and
 * sample variance (over n), known beforehand to lie in [lo, hi]: the range comes from the log's least propensity, never
 * from the sample. */
weirp_interval weirp_bernstein_interval(double mean, double variance, size_t n, double lo, double hi, double level);

/* Simultaneous bands: one half-width factor for all statistics together, so that all are covered at once with `level`:
 * the quantile of max |value* - value| / se over the draws (studentised sup-t). The statistics are added one after the
 * other, with draws of the same clusters: `most` (n_draws) starts as zeros, *fewest (degrees of freedom) as INFINITY.
 * What has a se of 0, or none that is known, is left out. */
void weirp_band_add(double *most, double *fewest, const weirp_statistic *s, const weirp_sums *sums,
                    const weirp_draws *draws, double se, double df);
/* Multiplies each one's se. Sorts `most`. */
double weirp_band_factor(double *most, size_t n_draws, double fewest, double level);

#endif

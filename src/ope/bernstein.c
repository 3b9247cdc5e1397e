/* bernstein.c: Maurer and Pontil, Empirical Bernstein bounds and sample-variance penalization (COLT 2009, arXiv
 * 0907.3740), thm 4, once for each end with half of what is left of the level:
 *     mean +- (sqrt(2 V ln(4/alpha) / n) + 7 R ln(4/alpha) / (3 (n - 1))),
 * V the unbiased sample variance, R the range. It holds for every n and every law within the range.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "src/ope/interval.h"

weirp_interval weirp_bernstein_interval(double mean, double variance, size_t n, double lo, double hi, double level) {
    if (n < 2) return (weirp_interval){lo, hi};
    const double count = (double)n, unbiased = variance * count / (count - 1), terms = log(4 / (1 - level));
    const double half = sqrt(2 * unbiased * terms / count) + 7 * (hi - lo) * terms / (3 * (count - 1));
    return (weirp_interval){fmax(mean - half, lo), fmin(mean + half, hi)};
}

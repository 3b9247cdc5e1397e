/* tune.h: choosing lambda, how much weights are changed. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_TUNE_H
#define WEIRP_OPE_TUNE_H

#include <stddef.h>

/* What the estimate would be with one lambda. Arrays of these begin with weights left as they are and go on to those
 * that are changed the most. */
typedef struct weirp_choice {
    double lambda, value;
    double se;   /* standard error */
    double bias; /* how far the estimate is from that of unchanged weights */
} weirp_choice;

enum { WEIRP_MAX_CHOICES = 8 };

/* SLOPE (Su, Srinath, Krishnamurthy, ICML 2020, arXiv 2002.07729) in the order and with the constant of SLOPE++ (Tucker
 * and Lee, 2021): from the widest interval to the narrowest, the last before one that doesn't overlap all before it:
 * |value_i - value_j| <= width_i + (sqrt(6) - 1) width_j. width = t * se. Gives an index; n >= 1. */
size_t weirp_tune_slope(const weirp_choice *choices, size_t n, double t);

/* Least variance + (|bias| + slack)^2 (Su, Dimakopoulou, Krishnamurthy, Dudik, arXiv 1907.09623, section 5); of equals
 * the one that changes the least. */
size_t weirp_tune_mse(const weirp_choice *choices, size_t n, double slack);

/* The index of the lambda nearest, on a log scale, to the one that makes the sub-Gaussian bound least for n terms whose
 * weights have this mean square; 0, no change, where that is below half the least of the grid. choices[0] is no change.
 */
size_t weirp_tune_bound(const weirp_choice *choices, size_t n, double mean_w2, double n_terms);

/* With which chance the estimated bias may be off by more than the slack, and an interval's one side be wrong. */
#define WEIRP_TUNE_DELTA 0.1
/* Bernstein's slack of a mean of n terms w (r - q): w's mean square and greatest; |r - q| is of this scale. */
double weirp_tune_slack(double mean_w2, double max_w, double n, double scale);

#endif

/* quotient.h: how sure a relative difference is, its denominator being estimated too.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_QUOTIENT_H
#define WEIRP_OPE_QUOTIENT_H

#include <stdbool.h>

#include "src/ope/interval.h"

/* d = a - b and b are estimates of these variances and this covariance; what is asked for is d / b. */
typedef struct weirp_quotient {
    double d, b;
    double var_d, var_b, cov;
} weirp_quotient;

/* All x for which d - x b is no further from 0 than `below` (x too low) or `above` (x too high) of its own standard
 * errors (Fieller, JRSS B 16, 1954): for x = 0 that asks whether d is 0, so that the quotient's interval contains 0
 * exactly when d's does. [-INFINITY, INFINITY] where b may be 0; NANs where it isn't above 0. */
weirp_interval weirp_quotient_interval(const weirp_quotient *q, double below, double above);

#endif

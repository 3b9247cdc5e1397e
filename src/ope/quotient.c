/* quotient.c: Fieller's interval. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/quotient.h"

#include <math.h>

/* Where d - x b is z of its standard errors from 0: roots of (b^2 - z^2 var_b) x^2 - 2 (d b - z^2 cov) x + d^2 - z^2
 * var_d. The greater one if `up`. */
static double root(const weirp_quotient *q, double z, bool up) {
    const double a = q->b * q->b - z * z * q->var_b, half = q->d * q->b - z * z * q->cov,
                 c = q->d * q->d - z * z * q->var_d;
    if (!(a > 0)) return up ? INFINITY : -INFINITY;
    const double part = sqrt(fmax(0, half * half - a * c));
    return (half + (up ? part : -part)) / a;
}

/* A skewed interval may leave out the estimate itself: then its end lies on the other side. */
weirp_interval weirp_quotient_interval(const weirp_quotient *q, double below, double above) {
    if (!(q->b > 0) || isnan(q->d + q->var_d + q->var_b + q->cov + below + above)) return (weirp_interval){NAN, NAN};
    return (weirp_interval){root(q, below, below < 0), root(q, above, above >= 0)};
}

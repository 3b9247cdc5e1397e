/* mixture.c: two policies' decisions on one request. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/mixture.h"

bool weirp_mixture_draw(weir_decision *base, const weir_decision *candidate, double share, double u) {
    for (size_t m = 0; share > 0 && m < base->n_models; m++) {
        const double p = base->propensity[m], q = candidate->propensity[m];
        base->propensity[m] = p == q ? p : (1 - share) * p + share * q; /* where both are sure it stays sure */
    }
    if (!(u < share)) return false;
    base->model = candidate->model;
    base->rule = candidate->rule;
    base->reason = candidate->reason;
    return true;
}

/* oracle.c: the least true risk; for evaluation, where the truth is known.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "policies/policy.h"
#include "src/base/base.h"

static const char *check(const weir_policy_options *o, size_t n) {
    (void)n;
    return o->true_quality ? NULL : "the oracle needs the true qualities";
}

static double true_spend(const weirp_view *v, size_t m) {
    const double *cost = v->options->true_cost;
    return cost && isfinite(cost[m]) ? cost[m] : 0;
}

/* Models without a true quality were never asked: they can't be chosen. The decision's risks are the true ones. */
static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    size_t best = (size_t)-1;
    for (size_t m = 0; m < d->n_models; m++) {
        double q = v->options->true_quality[m];
        d->risk_usd[m] = INFINITY;
        if (!v->estimates->eligible[m] || !isfinite(q)) continue;
        d->risk_usd[m] = v->value * (1 - q) + v->money * true_spend(v, m);
        if (best == (size_t)-1 || d->risk_usd[m] < d->risk_usd[best] ||
            (d->risk_usd[m] == d->risk_usd[best] && true_spend(v, m) < true_spend(v, best)))
            best = m;
    }
    if (best == (size_t)-1) return weirp_fail(err, WEIR_NODATA, 0, "no eligible model's true quality is known");
    d->model = best;
    d->rule = WEIR_RULE_ORACLE;
    d->reason = WEIR_REASON_ASKED;
    return WEIR_OK;
}

const weirp_policy weirp_policy_oracle = {"oracle", check, decide, false};

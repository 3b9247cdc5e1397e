/* constrained.c: least risk within limits on cost, quality and latency. Over a batch or a stream with a total budget
 * the value is the reciprocal of the budget's multiplier (Routoo, arXiv 2401.13979), so that whoever keeps the budget
 * steers this same rule through value_usd. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "policies/policy.h"

/* How far `amount` is above `limit`, as a share of the amount: 0 within, near 1 far beyond; 1 where it isn't known. */
static double excess(double amount, double limit) {
    if (isinf(limit)) return 0;
    if (!isfinite(amount)) return 1;
    return amount <= limit ? 0 : 1 - limit / amount;
}

static double violation(const weirp_view *v, size_t m) {
    const weir_policy_options *o = v->options;
    double q = weirp_view_quality(v, m);
    double short_of = q >= o->min_quality ? 0 : 1 - q / o->min_quality;
    return excess(v->estimates->cost_usd[m], o->max_cost_usd) + excess(v->estimates->latency_ms[m], o->max_latency_ms) +
           short_of;
}

static const char *check(const weir_policy_options *o, size_t n) {
    (void)n;
    if (!(o->max_cost_usd >= 0)) return "the highest cost must be at least 0";
    if (!(o->max_latency_ms >= 0)) return "the highest latency must be at least 0";
    if (!(o->min_quality >= 0 && o->min_quality <= 1)) return "the least quality must be between 0 and 1";
    return NULL;
}

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    (void)err;
    size_t best = (size_t)-1;
    double least = INFINITY;
    for (size_t m = 0; m < v->estimates->n_models; m++) {
        if (!v->estimates->eligible[m]) continue;
        double far = violation(v, m);
        bool same = best != (size_t)-1 && far == least;
        bool less =
            same && (d->risk_usd[m] < d->risk_usd[best] ||
                     (d->risk_usd[m] == d->risk_usd[best] && weirp_view_spend(v, m) < weirp_view_spend(v, best)));
        if (best != (size_t)-1 && !(far < least) && !less) continue;
        best = m;
        least = far;
    }
    d->model = best;
    d->rule = WEIR_RULE_CONSTRAINED;
    d->reason = least > 0 ? WEIR_REASON_LIMITS_UNMET : WEIR_REASON_WITHIN_LIMITS;
    return WEIR_OK;
}

const weirp_policy weirp_policy_constrained = {"constrained", check, decide, false};

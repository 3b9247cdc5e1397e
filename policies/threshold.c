/* threshold.c: two models, the strong one iff it is likely enough to win (RouteLLM, arXiv 2406.18665).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "policies/policy.h"
#include "src/base/base.h"

/* About answers, not about expectations: beside the standard errors it holds the outcomes' own variance, q (1 - q) for
 * right or wrong and at most that for graded ones, as the two are drawn apart. Without it the chance is 0 or 1 for
 * nearly every prompt once data are plenty, and no threshold can tell calls apart. */
double weirp_strong_wins(const weirp_view *v, size_t strong, size_t weak) {
    double s = weirp_view_quality(v, strong), w = weirp_view_quality(v, weak);
    double sd_s = weirp_view_quality_sd(v, strong), sd_w = weirp_view_quality_sd(v, weak);
    double variance = sd_s * sd_s + sd_w * sd_w + s * (1 - s) + w * (1 - w);
    if (s == w) return 0.5;
    if (variance == 0) return s > w ? 1 : 0;
    return 0.5 * erfc((w - s) / sqrt(2 * variance));
}

double weir_policy_strong_wins(const weir_estimates *estimates, size_t strong, size_t weak) {
    weirp_view v = {.estimates = estimates};
    return weirp_strong_wins(&v, strong, weak);
}

/* Unless they are named: strong has the best expected quality; weak is the cheapest, or the worst where no cost is
 * known. */
static size_t find(const weirp_view *v, bool strong) {
    size_t best = (size_t)-1;
    for (size_t m = 0; m < v->estimates->n_models; m++) {
        if (!v->estimates->eligible[m]) continue;
        double key = strong        ? -weirp_view_quality(v, m)
                     : v->has_cost ? weirp_view_spend(v, m)
                                   : weirp_view_quality(v, m);
        double least = best == (size_t)-1 ? INFINITY
                       : strong           ? -weirp_view_quality(v, best)
                       : v->has_cost      ? weirp_view_spend(v, best)
                                          : weirp_view_quality(v, best);
        if (key < least) best = m;
    }
    return best;
}

static const char *check(const weir_policy_options *o, size_t n) {
    if (isnan(o->threshold)) return "the threshold must be a number";
    if (o->strong != (size_t)-1 && o->strong >= n) return "the strong model isn't in the pool";
    if (o->weak != (size_t)-1 && o->weak >= n) return "the weak model isn't in the pool";
    return NULL;
}

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    size_t strong = v->options->strong, weak = v->options->weak;
    if (strong == (size_t)-1) strong = find(v, true);
    if (weak == (size_t)-1) weak = find(v, false);
    const bool *eligible = v->estimates->eligible;
    if (!eligible[strong] && !eligible[weak])
        return weirp_fail(err, WEIR_NODATA, 0, "neither the strong nor the weak model may answer this prompt");
    bool up = weirp_strong_wins(v, strong, weak) >= v->options->threshold;
    if (up ? !eligible[strong] : !eligible[weak]) up = !up;
    d->model = up ? strong : weak;
    d->rule = WEIR_RULE_THRESHOLD;
    d->reason = up ? WEIR_REASON_STRONG : WEIR_REASON_WEAK;
    return WEIR_OK;
}

const weirp_policy weirp_policy_threshold = {"threshold", check, decide, false};

/* plugin.c: the model with the least expected loss (CARROT, arXiv 2502.03261), and when not to believe it.
 *
 * Falls back to minimax regret when there is no estimator, when an estimate isn't a possible number, when the prompt is
 * unlike anything seen, and when the choice is arbitrary: it would pay more for a quality that nobody has measured.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "policies/policy.h"

/* A belief spread evenly over [0,1] has a standard deviation of 0.289. Beyond 0.25 an estimate is hardly more than
 * that, so that estimators with data behind them never come here: the rule costs the curve nothing. */
#define ARBITRARY_SD 0.25

/* The dearer of two models about which next to nothing is known, with a gap smaller than its own standard error. */
static bool arbitrary(const weirp_view *v, size_t choice, size_t careful) {
    if (choice == careful || v->money == 0 || !v->has_cost) return false;
    double a = weirp_view_quality_sd(v, choice), b = weirp_view_quality_sd(v, careful);
    if (a <= ARBITRARY_SD || b <= ARBITRARY_SD) return false;
    if (weirp_view_spend(v, careful) >= weirp_view_spend(v, choice)) return false;
    return weirp_view_quality(v, choice) - weirp_view_quality(v, careful) < sqrt(a * a + b * b);
}

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    (void)err;
    size_t choice = weirp_view_least(v, d->risk_usd);
    d->model = choice;
    d->rule = WEIR_RULE_PLUGIN;
    d->reason = v->has_cost ? WEIR_REASON_LEAST_RISK : WEIR_REASON_NO_COST;
    if (!v->options->fallback) return WEIR_OK;

    const weir_estimates *e = v->estimates;
    size_t careful = weirp_view_careful(v, d);
    weir_reason why;
    if (!e->fitted)
        why = WEIR_REASON_NO_ESTIMATOR;
    else if (v->failed)
        why = WEIR_REASON_ESTIMATOR_FAILED;
    else if (!(e->novelty <= v->options->novelty_limit))
        why = WEIR_REASON_NOVEL_PROMPT;
    else if (arbitrary(v, choice, careful))
        why = WEIR_REASON_WIDE_INTERVALS;
    else
        return WEIR_OK;
    d->model = careful;
    d->rule = WEIR_RULE_MINIMAX;
    d->reason = why;
    return WEIR_OK;
}

/* Whether some value could make it careful: each reason above, as far as it doesn't hang on the value. */
static bool may_fall_back(const weirp_view *v) {
    const weir_estimates *e = v->estimates;
    size_t n_unsure = 0;
    if (!v->options->fallback) return false;
    if (!e->fitted || v->failed || !(e->novelty <= v->options->novelty_limit)) return true;
    for (size_t m = 0; m < e->n_models; m++) n_unsure += e->eligible[m] && weirp_view_quality_sd(v, m) > ARBITRARY_SD;
    return n_unsure > 1; /* an arbitrary choice is between two of them */
}

static bool decide_at(const weirp_view *v, const double *value_usd, size_t n, uint32_t *model) {
    if (may_fall_back(v)) return false;
    weirp_view_least_at(v, value_usd, n, model);
    return true;
}

const weirp_policy weirp_policy_plugin = {"plugin", NULL, decide, false, decide_at};

/* policy.h: one policy a file, behind one interface.
 *
 * Lives here: rules that turn the estimates for one prompt into a choice. May not know: text, estimators, HTTP. Nothing
 * here allocates, locks or keeps state: a decision is a function of options and estimates.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_POLICY_H
#define WEIRP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/policy.h"

/* Estimates and knobs, made safe to calculate with. The gaps of what vendors and estimators leave out are closed here,
 * once, so that no policy meets a NAN:
 *   quality    not a number: 0 (never preferred), with the interval [0,1]; clipped to [0,1]
 *   cost       unknown for some models: as the dearest that is known; for all: 0, and has_cost is false
 *   latency    the same way
 * Risk is value * (1 - q) + c + latency_price * l. With value_usd = INFINITY its unit is the value itself, R = 1 - q,
 * and money only breaks ties. */
typedef struct weirp_view {
    const weir_policy_options *options;
    const weir_estimates *estimates;
    size_t n_eligible;
    double value;        /* weight of 1 - q in the risk */
    double money;        /* weight of USD in the risk: 1, or 0 with an infinite value */
    double cost_fill;    /* what an unknown cost counts as */
    double cost_lo_fill; /* and its interval */
    double cost_hi_fill;
    double latency_fill; /* ms */
    bool has_cost;       /* some eligible model's cost is known */
    bool failed;         /* some eligible model's estimate isn't a possible number */
} weirp_view;

weirp_view weirp_view_make(const weir_policy_options *options, const weir_estimates *estimates);
double weirp_view_quality(const weirp_view *view, size_t m);
double weirp_view_quality_sd(const weirp_view *view, size_t m);
double weirp_view_spend(const weirp_view *view, size_t m); /* cost and price of time, USD: what breaks ties */
double weirp_view_risk(const weirp_view *view, size_t m);
/* Bounds of the risk from the intervals, lo <= hi. */
void weirp_view_risk_bounds(const weirp_view *view, size_t m, double *lo, double *hi);
/* Fills `risk` and `regret` (n_models): INFINITY where not eligible. */
void weirp_view_tables(const weirp_view *view, double *risk, double *regret);
/* The eligible model with the least key; ties go to the cheaper, then to the lower index. (size_t)-1: none. */
size_t weirp_view_least(const weirp_view *view, const double *key);
/* The eligible model of least worst-case regret; ties go to the least expected loss, then as above. */
size_t weirp_view_careful(const weirp_view *view, const weir_decision *d);
/* The eligible model of least risk at each of n values, as weirp_view_least of the risks would say with that value_usd,
 * ties included. `view` has some eligible model. */
void weirp_view_least_at(const weirp_view *view, const double *value_usd, size_t n, uint32_t *model);

typedef struct weirp_policy {
    const char *name;
    /* What is wrong with the options for this policy (static), or NULL. NULL function: anything goes. */
    const char *(*check)(const weir_policy_options *options, size_t n_models);
    /* Sets model, rule and reason. Risk and regret are there already; propensities are zero. A policy that draws fills
     * the propensities instead, with `model` the one it would take without drawing; the registry draws. */
    weir_status (*decide)(const weirp_view *view, weir_decision *decision, weir_error *err);
    bool draws;
    /* The model that decide() sets at each of n values, where it can tell all at once for less than one by one. False:
     * not of these estimates. NULL function: never. */
    bool (*decide_at)(const weirp_view *view, const double *value_usd, size_t n, uint32_t *model);
} weirp_policy;

extern const weirp_policy weirp_policy_plugin, weirp_policy_minimax, weirp_policy_threshold, weirp_policy_constrained,
    weirp_policy_fixed, weirp_policy_random, weirp_policy_thompson, weirp_policy_oracle;

/* One prompt at n values, all other options being what they are: model[k] is what weir_policy_decide takes with
 * value_usd = value_usd[k], before it explores. False: it has to be asked at each of them. Values are 0 or more. */
bool weirp_policy_decide_at(const weir_policy_options *options, const weir_estimates *estimates,
                            const double *value_usd, size_t n, uint32_t *model);
/* The propensities that weir_policy_decide gives where its policy takes that model. */
void weirp_policy_spread(const weir_policy_options *options, const weir_estimates *estimates, size_t model,
                         double *propensity);

/* P(strong is better than weak), from expectations and standard errors. */
double weirp_strong_wins(const weirp_view *view, size_t strong, size_t weak);

#endif

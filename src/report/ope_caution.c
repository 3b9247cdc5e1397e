/* ope_caution.c: why verdicts that were told may be less sure than their level says.
 *
 * Not refusals: what stands here was measured by drawn logs (docs/evaluation.md, "Estimators" and "Intervals"), and
 * differs from log to log by as much as nobody knows. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/report/ope_report.h"

static bool is_told(const weirp_contrast *c) {
    return c->verdict != WEIRP_VERDICT_REFUSED && c->verdict != WEIRP_VERDICT_SAME;
}

static const weirp_ope_estimator *recommended(const weir_ope *ope) {
    for (size_t i = 0; weirp_ope_estimators[i].name; i++)
        if (strcmp(weirp_ope_estimators[i].name, ope->recommended) == 0) return &weirp_ope_estimators[i];
    return NULL;
}

/* What an interval that stands on the sample's variance can't know of; NULL: the estimator is unbiased, or nearly. */
static const char *bias_of(const weirp_ope_estimator *e) {
    if (e->base == WEIRP_BASE_DM) return "how far its reward model is off, which nothing in the log tells";
    if (e->change == WEIRP_CHANGE_MATCH)
        return "it takes the rows that it keeps for what all rows are like, though those that were likelier to be kept "
               "are too many";
    /* sgdr as its bound tunes it keeps its level: little is given up, and its reward model has most of that */
    const bool slight = e->change == WEIRP_CHANGE_SUBGAUSS && e->base == WEIRP_BASE_DR && !e->spare;
    if (slight || e->change == WEIRP_CHANGE_NONE || e->change == WEIRP_CHANGE_BALANCED) return NULL;
    return "what it gave up by making large weights smaller";
}

static bool of_estimator(const weir_ope *ope, char text[WEIRP_OPE_SENTENCE]) {
    const weirp_ope_estimator *e = recommended(ope);
    const char *bias = e ? bias_of(e) : NULL;
    bool told = false;
    for (size_t i = 0; i < ope->n_contrasts; i++) told = told || is_told(&ope->contrast[i]);
    if (!bias || !told) return false;
    snprintf(text, WEIRP_OPE_SENTENCE,
             "Verdicts here go by %s, whose intervals leave out its bias: %s. They hold less often than in %g %%, and "
             "may tell a difference that isn't there: believe none that sndr, which keeps its level, doesn't tell too.",
             e->name, bias, 100 * ope->level);
    return true;
}

/* Below it the t interval of latency fell short in drawn logs (docs/evaluation.md, "Intervals"). */
static const double LATENCY_LEAST_ESS = 300;

/* The policy whose latency was compared on the least effective sample; false: on enough. */
static bool thinnest_latency(const weir_ope *ope, size_t *policy, double *ess) {
    *ess = LATENCY_LEAST_ESS;
    for (size_t i = 0; i < ope->n_contrasts; i++) {
        const weirp_contrast *c = &ope->contrast[i];
        const size_t both[] = {c->policy, c->other};
        for (size_t k = 0; k < 2 && c->metric == WEIR_METRIC_LATENCY && is_told(c); k++) {
            if (both[k] >= ope->n_policies) continue; /* what ran is known of every row */
            const double own = weirp_ope_cell(ope, both[k], WEIR_METRIC_LATENCY)->standing.ess;
            if (own < *ess) *ess = own, *policy = both[k];
        }
    }
    return *ess < LATENCY_LEAST_ESS;
}

static bool of_latency(const weir_ope *ope, char text[WEIRP_OPE_SENTENCE]) {
    size_t policy = 0;
    double ess;
    if (!thinnest_latency(ope, &policy, &ess)) return false;
    snprintf(
        text, WEIRP_OPE_SENTENCE,
        "The latency of %.200s rests on an effective sample size of %.0f. Below %g, intervals of a mean latency hold "
        "less often than in %g %%: a few slow answers make up much of it, and a log that has none of them doesn't "
        "show how uncertain it is. Look at the quantiles of the latency, or judge it on a longer log.",
        weirp_ope_policy_name(ope, policy), ess, LATENCY_LEAST_ESS, 100 * ope->level);
    return true;
}

bool weirp_ope_caution(const weir_ope *ope, size_t i, char text[WEIRP_OPE_SENTENCE]) {
    static bool (*const all[])(const weir_ope *, char[WEIRP_OPE_SENTENCE]) = {of_estimator, of_latency};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        if (all[k](ope, text) && i-- == 0) return true;
    return false;
}

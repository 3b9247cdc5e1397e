/* verdict.c: the candidate against what ran and against other candidates, paired on the same rows.
 *
 * An interval for the difference says more than two intervals: most of what moves one policy's estimate moves the
 * other's too. Where some of a policy's mass isn't supported, its interval is widened by what that mass may do.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "src/ope/judge.h"

static const double POWER = 0.8; /* with which n_more rows would settle it */

const char *weirp_verdict_text(weirp_verdict v) {
    static const char *const text[] = {[WEIRP_VERDICT_REFUSED] = "refused",
                                       [WEIRP_VERDICT_BETTER] = "better",
                                       [WEIRP_VERDICT_WORSE] = "worse",
                                       [WEIRP_VERDICT_MORE] = "not enough evidence"};
    return (unsigned)v < sizeof text / sizeof *text ? text[v] : "?";
}

static bool less_is_better(weir_metric m) {
    static const bool less[] = {
#define LESS(name, text, unit, less) less,
        WEIR_METRIC_TABLE(LESS)
#undef LESS
    };
    return less[m];
}

enum { MAX_DIFFERENCE = 2 * WEIRP_MAX_RATIOS };

/* a minus factor times b, as one statistic. False: one of them isn't to be had. */
static bool difference(const weirp_judging *j, size_t a, size_t b, double factor, weir_metric m,
                       weirp_ratio ratio[MAX_DIFFERENCE], size_t *n) {
    double lambda;
    const char *why_not;
    size_t n_b;
    if (!weirp_ope_statistic(j, a, m, j->s->recommended, ratio, n, &lambda, &why_not)) return false;
    if (!weirp_ope_statistic(j, b, m, j->s->recommended, ratio + *n, &n_b, &lambda, &why_not)) return false;
    for (size_t i = *n; i < *n + n_b; i++) ratio[i].factor = -factor * (ratio[i].factor != 0 ? ratio[i].factor : 1);
    *n += n_b;
    return true;
}

static const weirp_ope_standing *standing(const weir_ope *r, size_t policy, weir_metric m) {
    return policy == (size_t)-1 ? NULL : &r->cell[policy * WEIR_N_METRICS + m].standing;
}

static bool refused(const weir_ope *r, size_t policy, weir_metric m) {
    const weirp_ope_standing *s = standing(r, policy, m);
    return s && *s->refusal;
}

static double slack(const weir_ope *r, size_t policy, weir_metric m) {
    const weirp_ope_standing *s = standing(r, policy, m);
    return s && s->bound_hi > 0 ? s->bound_hi : 0;
}

static double rows_more(double n, double d, double se, double level) {
    if (!(se > 0)) return NAN;
    if (d == 0) return INFINITY;
    const double z = gsl_cdf_ugaussian_Pinv(0.5 + level / 2) + gsl_cdf_ugaussian_Pinv(POWER);
    const double need = n * (z * se / d) * (z * se / d);
    return need > n ? need - n : 0;
}

static weir_status contrast(const weirp_judging *j, const weir_ope *r, weirp_contrast *c, weir_error *err) {
    weirp_ratio ratio[MAX_DIFFERENCE];
    size_t n;
    c->difference = c->se = c->interval.lo = c->interval.hi = c->n_more = NAN;
    c->verdict = WEIRP_VERDICT_REFUSED;
    if (!difference(j, c->policy, c->other, 1, c->metric, ratio, &n)) return WEIR_OK;
    const weirp_statistic s = {ratio, n};
    weir_status st = weirp_ope_interval(j, &s, &c->difference, &c->se, &c->interval, err);
    if (st != WEIR_OK || refused(r, c->policy, c->metric) || refused(r, c->other, c->metric)) return st;
    const double wide = slack(r, c->policy, c->metric) + slack(r, c->other, c->metric);
    c->interval.lo -= wide;
    c->interval.hi += wide;
    const bool less = less_is_better(c->metric);
    c->verdict = c->interval.lo > 0   ? (less ? WEIRP_VERDICT_WORSE : WEIRP_VERDICT_BETTER)
                 : c->interval.hi < 0 ? (less ? WEIRP_VERDICT_BETTER : WEIRP_VERDICT_WORSE)
                                      : WEIRP_VERDICT_MORE;
    if (c->verdict == WEIRP_VERDICT_MORE) {
        const double d = fabs(c->difference) - wide;
        c->n_more =
            d > 0 ? rows_more((double)r->cell[c->policy * WEIR_N_METRICS + c->metric].standing.n, d, c->se, r->level)
                  : INFINITY;
    }
    return WEIR_OK;
}

/* ---- cheaper by so much, at no more than so much quality lost ---- */

/* Saving 1 - C_a/C_b: its influence is -(u_a - (C_a/C_b) u_b)/C_b, which is that of a difference. */
static weir_status trade(const weirp_judging *j, const weir_ope *r, weirp_ope_trade *t, weir_error *err) {
    weirp_ratio ratio[MAX_DIFFERENCE];
    size_t n;
    double value, se;
    weirp_interval interval;
    double lambda;
    const char *why_not;
    t->verdict = WEIRP_VERDICT_REFUSED;
    t->saving = t->saving_lo = t->quality_lost = t->quality_lost_hi = NAN;
    if (!weirp_ope_statistic(j, t->other, WEIR_METRIC_COST, j->s->recommended, ratio, &n, &lambda, &why_not))
        return WEIR_OK;
    const double base = weirp_statistic_value(&(weirp_statistic){ratio, n}, j->sums.total);
    if (!weirp_ope_statistic(j, t->policy, WEIR_METRIC_COST, j->s->recommended, ratio, &n, &lambda, &why_not))
        return WEIR_OK;
    const double cost = weirp_statistic_value(&(weirp_statistic){ratio, n}, j->sums.total);
    if (!(base > 0) || !difference(j, t->policy, t->other, cost / base, WEIR_METRIC_COST, ratio, &n)) return WEIR_OK;
    weir_status st = weirp_ope_interval(j, &(weirp_statistic){ratio, n}, &value, &se, &interval, err);
    if (st != WEIR_OK) return st;
    t->saving = 1 - cost / base;
    t->saving_lo = t->saving - (interval.hi - value) / base;
    if (!difference(j, t->policy, t->other, 1, WEIR_METRIC_QUALITY, ratio, &n)) return WEIR_OK;
    st = weirp_ope_interval(j, &(weirp_statistic){ratio, n}, &value, &se, &interval, err);
    if (st != WEIR_OK) return st;
    const double wide = slack(r, t->policy, WEIR_METRIC_QUALITY) + slack(r, t->other, WEIR_METRIC_QUALITY);
    t->quality_lost = -value;
    t->quality_lost_hi = -interval.lo + wide;
    const double lost_lo = -interval.hi - wide, saving_hi = t->saving + t->saving - t->saving_lo;
    if (refused(r, t->policy, WEIR_METRIC_COST) || refused(r, t->policy, WEIR_METRIC_QUALITY) ||
        refused(r, t->other, WEIR_METRIC_COST) || refused(r, t->other, WEIR_METRIC_QUALITY))
        return WEIR_OK;
    t->verdict = t->saving_lo > t->saving_wanted && t->quality_lost_hi < t->quality_margin ? WEIRP_VERDICT_BETTER
                 : saving_hi < t->saving_wanted || lost_lo > t->quality_margin             ? WEIRP_VERDICT_WORSE
                                                                                           : WEIRP_VERDICT_MORE;
    return WEIR_OK;
}

weir_status weirp_ope_conclude(const weirp_judging *j, weir_ope *r, weir_error *err) {
    weir_status st = WEIR_OK;
    r->contrast = weirp_array((j->n_targets + 1) * WEIR_N_METRICS, sizeof *r->contrast);
    if (!r->contrast) return weirp_nomem(err);
    for (size_t other = 0; other <= j->n_targets && st == WEIR_OK; other++) {
        if (other == 1)
            continue; /* place 0 is the logged policy; place k is policy k - 1, and the first is the candidate */
        for (weir_metric m = 0; m < WEIR_N_METRICS && st == WEIR_OK; m++) {
            if (!j->judged[0][m].cell) continue;
            weirp_contrast *c = &r->contrast[r->n_contrasts++];
            *c = (weirp_contrast){.policy = 0, .other = other ? other - 1 : (size_t)-1, .metric = m};
            st = contrast(j, r, c, err);
        }
    }
    const weir_ope_options *o = &j->s->o;
    if (st != WEIR_OK || !j->judged[0][WEIR_METRIC_COST].cell || !j->judged[0][WEIR_METRIC_QUALITY].cell) return st;
    r->trade = (weirp_ope_trade){.asked = true,
                                 .policy = 0,
                                 .other = j->n_targets > 1 ? 1 : (size_t)-1,
                                 .saving_wanted = o->margin_cost,
                                 .quality_margin = o->margin_quality};
    return trade(j, r, &r->trade, err);
}

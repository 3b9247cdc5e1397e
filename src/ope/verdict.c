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
#include "src/ope/quotient.h"

static const double POWER = 0.8; /* with which n_more rows would settle it */

const char *weirp_verdict_text(weirp_verdict v) {
    static const char *const text[] = {[WEIRP_VERDICT_REFUSED] = "refused",
                                       [WEIRP_VERDICT_BETTER] = "better",
                                       [WEIRP_VERDICT_WORSE] = "worse",
                                       [WEIRP_VERDICT_MORE] = "not enough evidence",
                                       [WEIRP_VERDICT_SAME] = "same"};
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

/* a, b and a minus b as statistics; all borrow the list's room. */
typedef struct pair {
    weirp_ratio ratio[MAX_DIFFERENCE], b[WEIRP_MAX_RATIOS];
    weirp_statistic difference, of_a, of_b;
} pair;

/* False: one of them isn't to be had. */
static bool find_pair(const weirp_judging *j, size_t a, size_t b, weir_metric m, pair *p) {
    double lambda;
    const char *why_not;
    size_t n_a, n_b;
    if (!weirp_ope_statistic(j, a, m, j->s->recommended, p->ratio, &n_a, &lambda, &why_not)) return false;
    if (!weirp_ope_statistic(j, b, m, j->s->recommended, p->b, &n_b, &lambda, &why_not)) return false;
    for (size_t i = 0; i < n_b; i++) {
        p->ratio[n_a + i] = p->b[i];
        p->ratio[n_a + i].factor *= -1;
    }
    p->difference = (weirp_statistic){p->ratio, n_a + n_b};
    p->of_a = (weirp_statistic){p->ratio, n_a};
    p->of_b = (weirp_statistic){p->b, n_b};
    return true;
}

static const weirp_ope_standing *standing(const weir_ope *r, size_t policy, weir_metric m) {
    return policy == (size_t)-1 ? NULL : &r->cell[policy * WEIR_N_METRICS + m].standing;
}

static bool refused(const weir_ope *r, size_t policy, weir_metric m) {
    const weirp_ope_standing *s = standing(r, policy, m);
    return s && *s->refusal;
}

/* By unsupported mass. What wasn't seen is allowed for in the difference as a whole. */
static double slack(const weir_ope *r, size_t policy, weir_metric m) {
    const weirp_ope_standing *s = standing(r, policy, m);
    return s ? fmax(0, fmax(s->bound_lo - s->unseen.lo, s->bound_hi - s->unseen.hi)) : 0;
}

/* A standard error shrinks with the root of the rows; what they leave unseen, with the rows. With x = sqrt(n / need),
 * d = z se x + unseen x^2. */
static double rows_more(double n, double d, double se, double unseen, double level) {
    if (!(se > 0 || unseen > 0)) return NAN;
    if (d == 0) return INFINITY;
    const double z = gsl_cdf_ugaussian_Pinv(0.5 + level / 2) + gsl_cdf_ugaussian_Pinv(POWER);
    const double x = 2 * d / (z * se + sqrt(z * se * z * se + 4 * unseen * d)), need = n / (x * x);
    return need > n ? need - n : 0;
}

/* Each of the two may be off by its slack, in either direction: the share's end falls and rises with both values, so
 * that its outermost places are at the corners. */
static weirp_interval share_interval(const weirp_quotient *q, double below, double above, double slack_a,
                                     double slack_b) {
    weirp_interval all = weirp_quotient_interval(q, below, above);
    for (int corner = 0; corner < 4; corner++) {
        const double a = corner & 1 ? slack_a : -slack_a, b = corner & 2 ? slack_b : -slack_b;
        weirp_quotient off = *q;
        off.d += a - b;
        off.b += b;
        const weirp_interval i = weirp_quotient_interval(&off, below, above);
        if (isnan(i.lo) || isnan(i.hi)) return i;
        all.lo = fmin(all.lo, i.lo);
        all.hi = fmax(all.hi, i.hi);
    }
    return all;
}

/* The difference as a share of the other's value, whose variance counts too. `c` has the difference with its interval,
 * not widened by unsupported mass yet, whose reach on either side, in standard errors, is taken over: so a share's
 * interval contains 0 just when the difference's does. */
static void tell_relative(const weirp_judging *j, const pair *p, double slack_a, double slack_b, weirp_contrast *c) {
    static const char *const unit[] = {
#define UNIT(name, text, unit, less) unit,
        WEIR_METRIC_TABLE(UNIT)
#undef UNIT
    };
    if (!*unit[c->metric]) return;
    const double z = gsl_cdf_ugaussian_Pinv(0.5 + j->s->o.level / 2),
                 base = weirp_statistic_value(&p->of_b, j->sums.total);
    const double se_a = weirp_se(&p->of_a, &j->sums, true, NULL), se_b = weirp_se(&p->of_b, &j->sums, true, NULL);
    const weirp_quotient q = {.d = c->difference,
                              .b = base,
                              .var_d = c->se * c->se,
                              .var_b = se_b * se_b,
                              .cov = (se_a * se_a - c->se * c->se - se_b * se_b) / 2};
    if (!(base > 0)) return;
    c->relative = c->difference / base;
    c->relative_interval = share_interval(&q, c->se > 0 ? (c->difference - c->interval.lo) / c->se : z,
                                          c->se > 0 ? (c->interval.hi - c->difference) / c->se : z, slack_a, slack_b);
    if (c->se > 0) return;
    c->relative_interval.lo = fmin(c->relative_interval.lo, c->interval.lo / base); /* where only the unseen is wide */
    c->relative_interval.hi = fmax(c->relative_interval.hi, c->interval.hi / base);
}

/* What a log can't judge of two candidates needn't be judged where both do the same. Of one that does what ran it may
 * hang on chances that aren't true. */
static bool is_same(const weirp_judging *j, const weir_ope *r, const weirp_contrast *c) {
    const weirp_ope_standing *a = standing(r, c->policy, c->metric), *b = standing(r, c->other, c->metric);
    if (!weirp_ope_is_same(j, c->policy, c->other)) return false;
    return b ? weirp_ope_is_askable(a) && weirp_ope_is_askable(b) : !*a->refusal;
}

/* Nothing is left to chance: whatever the rows say, two policies that do the same get the same. */
static void tell_same(weirp_contrast *c) {
    c->verdict = WEIRP_VERDICT_SAME;
    c->difference = c->se = c->interval.lo = c->interval.hi = 0;
    if (isnan(c->relative)) return;
    c->relative = c->relative_interval.lo = c->relative_interval.hi = 0;
}

static const weirp_interval unbounded = {-INFINITY, INFINITY};

/* What a difference may be whatever the rows say of the policy: its mean lies in [0, most], and the other's where its
 * own interval is, or anywhere there. */
static weirp_interval possible(const weirp_judging *j, const weir_ope *r, const pair *p, const weirp_contrast *c,
                               double slack_b) {
    const double most = weirp_ope_most(r->most, c->metric);
    double df;
    if (isnan(most)) return unbounded;
    if (refused(r, c->other, c->metric)) return (weirp_interval){-most, most};
    const double value = weirp_statistic_value(&p->of_b, j->sums.total), se = weirp_se(&p->of_b, &j->sums, true, &df);
    const weirp_interval t = weirp_t_interval(value, se, df, j->s->o.level),
                         unseen = weirp_ope_unseen(j, c->other, NULL, c->metric, value, t);
    const double lo = t.lo - unseen.lo - slack_b, hi = t.hi + unseen.hi + slack_b;
    if (isnan(lo) || isnan(hi)) return (weirp_interval){-most, most};
    return (weirp_interval){-fmin(fmax(hi, 0), most), most - fmin(fmax(lo, 0), most)};
}

/* Sums of huge outcomes overflow. */
static bool is_told(const weirp_contrast *c) {
    return isfinite(c->difference) && isfinite(c->se) && !isnan(c->interval.lo) && !isnan(c->interval.hi);
}

static weir_status contrast(const weirp_judging *j, const weir_ope *r, weirp_contrast *c, weir_error *err) {
    pair p;
    c->difference = c->se = c->interval.lo = c->interval.hi = c->n_more = NAN;
    c->relative = c->relative_interval.lo = c->relative_interval.hi = NAN;
    c->verdict = WEIRP_VERDICT_REFUSED;
    const bool same = is_same(j, r, c);
    if (!find_pair(j, c->policy, c->other, c->metric, &p)) {
        if (same) tell_same(c);
        return WEIR_OK;
    }
    weir_status st = weirp_ope_interval(j, &p.difference, &c->difference, &c->se, &c->interval, err);
    if (st != WEIR_OK) return st;
    const weirp_interval unseen = weirp_ope_unseen(j, c->policy, &c->other, c->metric, c->difference, c->interval);
    c->interval.lo -= unseen.lo;
    c->interval.hi += unseen.hi;
    const double slack_a = slack(r, c->policy, c->metric), slack_b = slack(r, c->other, c->metric);
    tell_relative(j, &p, slack_a, slack_b, c);
    if (same) tell_same(c);
    if (same) return WEIR_OK;
    const weirp_interval all = possible(j, r, &p, c, slack_b);
    if (refused(r, c->policy, c->metric) || refused(r, c->other, c->metric) || !is_told(c)) {
        c->interval = all;
        if (!isnan(c->relative)) c->relative_interval = unbounded;
        return WEIR_OK;
    }
    const double wide = slack_a + slack_b;
    c->interval.lo = fmin(fmax(c->interval.lo - wide, all.lo), all.hi);
    c->interval.hi = fmin(fmax(c->interval.hi + wide, all.lo), all.hi);
    const bool less = less_is_better(c->metric);
    c->verdict = c->interval.lo > 0   ? (less ? WEIRP_VERDICT_WORSE : WEIRP_VERDICT_BETTER)
                 : c->interval.hi < 0 ? (less ? WEIRP_VERDICT_BETTER : WEIRP_VERDICT_WORSE)
                                      : WEIRP_VERDICT_MORE;
    if (c->verdict == WEIRP_VERDICT_MORE) {
        const double d = fabs(c->difference) - wide, n = (double)standing(r, c->policy, c->metric)->n;
        c->n_more = d > 0 ? rows_more(n, d, c->se, c->difference > 0 ? unseen.lo : unseen.hi, r->level) : INFINITY;
    }
    return WEIR_OK;
}

/* ---- cheaper by so much, at no more than so much quality lost ---- */

/* Off the contrasts of cost and quality: a saving is a relative difference of cost. */
static weirp_ope_trade trade(const weir_ope_options *o, const weirp_contrast *cost, const weirp_contrast *quality) {
    weirp_ope_trade t = {.policy = cost->policy,
                         .other = cost->other,
                         .saving_wanted = o->margin_cost,
                         .quality_margin = o->margin_quality,
                         .saving = 0 - cost->relative, /* no minus zero */
                         .saving_lo = 0 - cost->relative_interval.hi,
                         .quality_lost = 0 - quality->difference,
                         .quality_lost_hi = 0 - quality->interval.lo,
                         .verdict = WEIRP_VERDICT_REFUSED};
    const double saving_hi = -cost->relative_interval.lo, lost_lo = -quality->interval.hi;
    if (cost->verdict == WEIRP_VERDICT_REFUSED || quality->verdict == WEIRP_VERDICT_REFUSED) return t;
    if (cost->verdict == WEIRP_VERDICT_SAME && quality->verdict == WEIRP_VERDICT_SAME)
        t.verdict = WEIRP_VERDICT_SAME;
    else if (!isnan(t.saving)) /* of nothing nothing can be saved */
        t.verdict = t.saving_lo > t.saving_wanted && t.quality_lost_hi < t.quality_margin ? WEIRP_VERDICT_BETTER
                    : saving_hi < t.saving_wanted || lost_lo > t.quality_margin           ? WEIRP_VERDICT_WORSE
                                                                                          : WEIRP_VERDICT_MORE;
    return t;
}

/* On every metric, and the trade. */
static weir_status compare(const weirp_judging *j, weir_ope *r, size_t policy, size_t other, weir_error *err) {
    const weirp_contrast *of[WEIR_N_METRICS] = {NULL};
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        if (!j->judged[policy][m].cell) continue;
        weirp_contrast *c = &r->contrast[r->n_contrasts++];
        *c = (weirp_contrast){.policy = policy, .other = other, .metric = m};
        of[m] = c;
        weir_status st = contrast(j, r, c, err);
        if (st != WEIR_OK) return st;
    }
    if (of[WEIR_METRIC_COST] && of[WEIR_METRIC_QUALITY])
        r->trade[r->n_trades++] = trade(&j->s->o, of[WEIR_METRIC_COST], of[WEIR_METRIC_QUALITY]);
    return WEIR_OK;
}

weir_status weirp_ope_conclude(const weirp_judging *j, weir_ope *r, weir_error *err) {
    const size_t logged = (size_t)-1;
    weir_status st = WEIR_OK;
    r->contrast = weirp_array(2 * j->n_targets * WEIR_N_METRICS, sizeof *r->contrast);
    r->trade = weirp_array(2 * j->n_targets, sizeof *r->trade);
    if (!r->contrast || !r->trade) return weirp_nomem(err);
    if (j->n_targets) WEIRP_TRY(compare(j, r, 0, logged, err));
    for (size_t other = 1; other < j->n_targets; other++) WEIRP_TRY(compare(j, r, 0, other, err));
    for (size_t p = 1; p < j->n_targets; p++) WEIRP_TRY(compare(j, r, p, logged, err));
done:
    return st;
}

/* honesty.c: what of a log can be trusted, and when no verdict is to be had from it.
 *
 * - Support: a candidate's mass on models that the log could not have chosen is never estimated by weighting. Where
 * outcomes lie in a known range, [0,1] or what was said to bound them, what it does is bounded (what happens there lies
 * in that range, and so does the reward model's word, which the doubly robust estimators take); for others the
 * candidate is refused.
 * - Effective sample size (Kish): (sum w)^2 / sum w^2; below it intervals from a central limit say nothing.
 * - Mean weight: E w = 1 whatever the candidate, if the logged chances are the true ones.
 * - Chances: a model is chosen as often as its chances say, to within chance. Of rare models counts aren't normal; a
 * sum of unlike chances strays less than Poisson's law does (Hoeffding, Ann. Math. Stat. 27, 1956), whose tail is told
 * as a normal's then. SPDX-License-Identifier: GPL-3.0-or-later */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/ope/judge.h"

enum { LEAST_KNOWN = 50, LEAST_CLUSTERS = 20, MINUTE_MS = 60000 };
static const double MOST_WEIGHT_SHARE = 0.2, SURE = 1 - 1e-12, NO_MASS = WEIRP_OPE_NO_MASS;
/* A test whose failure refuses a log must not fail by chance among many, nor for a trifle. */
static const double MOST_Z = 5, MOST_OFF = 0.02;

/* ---- the log ---- */

weir_status weirp_log_facts_init(weirp_log_facts *f, size_t n_models, weir_error *err) {
    *f = (weirp_log_facts){.first_ms = WEIRP_LOGGED_NO_TIME, .last_ms = WEIRP_LOGGED_NO_TIME};
    f->expected = weirp_array(n_models, sizeof *f->expected);
    f->variance = weirp_array(n_models, sizeof *f->variance);
    f->chosen = weirp_array(n_models, sizeof *f->chosen);
    return f->expected && f->variance && f->chosen ? WEIR_OK : weirp_nomem(err);
}

void weirp_log_facts_free(weirp_log_facts *f) {
    free(f->expected);
    free(f->variance);
    free(f->chosen);
}

static void add_time(weirp_log_facts *f, int64_t ms) {
    if (ms == WEIRP_LOGGED_NO_TIME) return;
    if (f->first_ms == WEIRP_LOGGED_NO_TIME || ms < f->first_ms) f->first_ms = ms;
    if (f->last_ms != WEIRP_LOGGED_NO_TIME && ms < f->last_ms - MINUTE_MS) f->n_backwards++;
    if (f->last_ms == WEIRP_LOGGED_NO_TIME || ms > f->last_ms) f->last_ms = ms;
}

static void add_chances(weirp_log_facts *f, const weirp_ope_block *b, size_t i) {
    const double *p = b->propensity + i * b->n_models;
    f->n_decided++;
    if (b->p[i] >= SURE) f->n_sure++;
    for (size_t a = 0; a < b->n_models; a++)
        if (isnan(p[a])) return;
    f->n_full++;
    f->chosen[b->chosen[i]]++;
    for (size_t a = 0; a < b->n_models; a++) {
        f->expected[a] += p[a];
        f->variance[a] += p[a] * (1 - p[a]);
    }
}

void weirp_log_facts_add(weirp_log_facts *f, const weirp_ope_block *b) {
    for (size_t i = 0; i < b->n; i++) {
        f->n++;
        f->n_cached += (b->flags[i] & WEIRP_LOGGED_CACHED) != 0;
        f->n_forced += (b->flags[i] & WEIRP_LOGGED_FORCED) != 0;
        f->n_fallen_back += (b->flags[i] & WEIRP_LOGGED_FALLEN_BACK) != 0;
        f->n_careful += (b->flags[i] & WEIRP_LOGGED_CAREFUL) != 0;
        add_time(f, b->time_ms[i]);
        if (!(b->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED))) add_chances(f, b, i);
    }
}

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

/* By how many standard errors a model was chosen more often than its chances say, of n rows. */
static double surprise(double chosen, double expected, double variance, double n) {
    static const double RARE = 100;
    const double z = (chosen - expected) / sqrt(variance);
    const bool mostly = expected > n / 2; /* then it's rare that it isn't chosen */
    const double count = mostly ? n - chosen : chosen, mean = mostly ? n - expected : expected;
    if (mean > RARE || !(mean > 0)) return z; /* rounded sums can leave nothing of next to nothing */
    const double tail =
        count > mean ? gsl_cdf_poisson_Q((unsigned)count - 1, mean) : gsl_cdf_poisson_P((unsigned)count, mean);
    const double rare = -gsl_cdf_ugaussian_Pinv(fmin(tail, 0.5));
    return isnan(rare) ? z : copysign(fmin(fabs(z), rare), z);
}

void weirp_log_facts_tell(const weirp_log_facts *f, size_t n_models, weir_ope *r) {
    r->first_ms = f->first_ms;
    r->last_ms = f->last_ms;
    r->share_cached = share(f->n_cached, f->n);
    r->share_forced = share(f->n_forced, f->n);
    r->share_fallen_back = share(f->n_fallen_back, f->n);
    r->share_careful = share(f->n_careful, f->n);
    r->share_backwards = share(f->n_backwards, f->n);
    r->n_decided = f->n_decided;
    r->deterministic = f->n_decided && f->n_sure == f->n_decided;
    r->propensities_known = f->n_full > 0;
    r->propensity_z = f->n_full ? 0 : NAN;
    r->propensity_worst = (size_t)-1;
    for (size_t a = 0; f->n_full && a < n_models; a++) {
        if (f->variance[a] <= 0) continue;
        const double z = surprise(f->chosen[a], f->expected[a], f->variance[a], (double)f->n_full);
        if (fabs(z) < fabs(r->propensity_z)) continue;
        r->propensity_z = z;
        r->propensity_worst = a;
        r->propensity_off = (f->chosen[a] - f->expected[a]) / fmax(1, f->expected[a]);
    }
}

/* ---- two policies ---- */

static const double SAME_CHANCE = 1e-9; /* what writing a chance down and reading it again may cost */

/* Rows that one of them can't be asked about tell nothing of both. */
static void compare(struct weirp_likeness *l, const double *a, const double *b, size_t n) {
    double most = 0;
    for (size_t m = 0; m < n; m++) {
        if (isnan(a[m]) || isnan(b[m])) return;
        most = fmax(most, fabs(a[m] - b[m]));
    }
    l->n++;
    if (most > SAME_CHANCE) l->unlike = true;
}

static bool all_known(const double *p, size_t n) {
    for (size_t m = 0; m < n; m++)
        if (isnan(p[m])) return false;
    return true;
}

/* A policy that is what ran ((size_t)-1, or so named) is stood for by the chances that were logged, where these are all
 * there. */
static void compare_on(const weirp_judging *j, struct weirp_likeness *l, size_t p, size_t other,
                       const weirp_ope_block *b) {
    const size_t n = b->n_models;
    const bool ran = weirp_ope_target_is_logged(j->target[p]),
               other_ran = other == (size_t)-1 || weirp_ope_target_is_logged(j->target[other]);
    for (size_t i = 0; i < b->n && !l->unlike; i++) {
        const double *logged = b->propensity ? b->propensity + i * n : NULL;
        if (b->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED)) continue;
        if (ran && other_ran) {
            l->n++;
            continue;
        }
        if ((ran || other_ran) && !(logged && all_known(logged, n))) {
            l->unlike = true;
            return;
        }
        compare(l, ran ? logged : j->pi[p] + i * n, other_ran ? logged : j->pi[other] + i * n, n);
    }
}

void weirp_ope_compare_rows(weirp_judging *j, const weirp_ope_block *b) {
    for (size_t p = 0; p < j->n_targets; p++) {
        compare_on(j, &j->to_logged[p], p, (size_t)-1, b);
        if (p) compare_on(j, &j->to_first[p], 0, p, b);
    }
}

bool weirp_ope_is_same(const weirp_judging *j, size_t policy, size_t other) {
    const struct weirp_likeness *l = other == (size_t)-1 ? &j->to_logged[policy] : &j->to_first[other];
    return l->n && !l->unlike;
}

bool weirp_ope_is_askable(const weirp_ope_standing *s) {
    return s->undecided <= WEIRP_OPE_MOST_UNDECIDED;
}

/* ---- a candidate on a metric ---- */

/* What would bound it, for a reason; "" where nothing that can be said does. */
static const char *remedy(weir_metric m) {
    switch (m) {
    case WEIR_METRIC_COST:
    case WEIR_METRIC_LOSS: return ": say what one request can cost at most (--bound cost=USD)";
    case WEIR_METRIC_LATENCY: return ": say how long one request can take at most (--bound latency=MS)";
    case WEIR_METRIC_QUALITY:
    case WEIR_METRIC_ERROR:
    case WEIR_N_METRICS: break;
    }
    return "";
}

/* Where a store is asked whose training isn't the log's, or isn't known to be. */
static void tell_training(const weir_ope *r, char *out, size_t size) {
    const size_t at = strlen(out);
    if (r->n_other_training)
        snprintf(out + at, size - at, "; the features of %zu are another training's than the store's",
                 r->n_other_training);
}

/* What isn't supported is missing from the weights, and not a sign of wrong chances: as far as it is known. */
static double due(const weirp_ope_standing *s) {
    return 1 - (s->unsupported > 0 ? s->unsupported : 0);
}

static void refuse_mean_weight(const weirp_ope_standing *s, char *out, size_t size) {
    static const char *const why = "the logged chances aren't those that the choices were made with";
    char by[64] = " in all rows";
    if (isfinite(s->mean_weight_z)) snprintf(by, sizeof by, ", by %.1f standard errors", fabs(s->mean_weight_z));
    if (isnan(s->unsupported) && s->mean_weight < 1)
        snprintf(out, size,
                 "the mean weight is %.3f and not 1%s: %s, or the candidate takes what the log could not have chosen",
                 s->mean_weight, by, why);
    else
        snprintf(out, size, "the mean weight is %.3f and not %.3g%s: %s", s->mean_weight, due(s), by, why);
}

/* Why not; the first reason that holds. The order goes from what the log is to what the candidate asks of it. */
void weirp_ope_refuse(const weir_ope *r, weir_metric m, weirp_ope_standing *s, size_t n_undecided) {
    char *out = s->refusal;
    const size_t size = sizeof s->refusal;
    if (!r->n_decided)
        snprintf(out, size, "no row of the log was decided by a policy: all were pinned or cached");
    else if (share(n_undecided, r->n_decided) > WEIRP_OPE_MOST_UNDECIDED) {
        snprintf(out, size,
                 "the candidate can't be asked about %zu of %zu rows: they lack what it decides by (estimates or "
                 "features; of \"column\" its chances)",
                 n_undecided, r->n_decided);
        tell_training(r, out, size);
    } else if (s->unsupported > NO_MASS && r->deterministic)
        snprintf(out, size,
                 "the log is deterministic: every choice had a chance of 1, so what other models would have "
                 "done was never seen and weighting is impossible; log with exploration (policy.explore_floor)");
    else if (r->deterministic && s->mean_weight < 1 - NO_MASS)
        snprintf(out, size,
                 "the log is deterministic: every choice had a chance of 1, and the candidate agrees with "
                 "only %.0f %% of them; log with exploration (policy.explore_floor)",
                 100 * s->mean_weight);
    else if (s->n_known < LEAST_KNOWN)
        snprintf(out, size, "%zu rows know the %s: at least %d are needed", s->n_known, weir_metric_name(m),
                 LEAST_KNOWN);
    else if (r->n_clusters < LEAST_CLUSTERS)
        snprintf(out, size, "the log has %zu independent sessions: at least %d are needed", r->n_clusters,
                 LEAST_CLUSTERS);
    else if (s->unsupported > NO_MASS && isnan(weirp_ope_most(r->most, m)))
        snprintf(out, size,
                 "%.3g %% of the candidate's choices go to models that the log could not have chosen, and "
                 "nothing bounds their %s%s",
                 100 * s->unsupported, weir_metric_name(m), remedy(m));
    else if (s->unsupported > 0.5)
        snprintf(out, size, "%.0f %% of the candidate's choices go to models that the log could not have chosen",
                 100 * s->unsupported);
    else if (s->ess < WEIRP_OPE_LEAST_ESS)
        snprintf(out, size,
                 "the effective sample size is %.1f of %zu rows: the candidate does what the log hardly ever "
                 "tried (at least %d are needed)",
                 s->ess, s->n, WEIRP_OPE_LEAST_ESS);
    else if (s->n_sessions > 0 && s->n_sessions < LEAST_CLUSTERS)
        snprintf(out, size,
                 "%zu independent sessions know the %s of what the candidate would do: at least %d are needed",
                 s->n_sessions, weir_metric_name(m), LEAST_CLUSTERS);
    else if (s->max_weight_share > MOST_WEIGHT_SHARE)
        snprintf(out, size, "one row holds %.0f %% of the weight: its chance of %.3g decides the result",
                 100 * s->max_weight_share, s->least_p);
    else if (fabs(s->mean_weight_z) > MOST_Z && fabs(s->mean_weight - due(s)) > MOST_OFF)
        refuse_mean_weight(s, out, size);
    else if (fabs(r->propensity_z) > MOST_Z && fabs(r->propensity_off) > MOST_OFF)
        snprintf(out, size,
                 "\"%s\" was chosen %.0f %% %s often than its logged chances say, by %.1f standard errors: they "
                 "aren't those that the choices were made with",
                 r->model[r->propensity_worst], 100 * fabs(r->propensity_off), r->propensity_off > 0 ? "more" : "less",
                 fabs(r->propensity_z));
}

/* The recommended estimator by halves of the log. A half's variance is about twice the whole's. */
static void compare_halves(const weirp_judging *j, size_t p, weir_metric m, const weirp_cell_result *c,
                           weirp_ope_standing *s) {
    weirp_ratio ratio[WEIRP_MAX_RATIOS];
    size_t n;
    double lambda;
    const char *why_not;
    s->first_half = s->second_half = s->drift_z = NAN;
    if (!weirp_ope_statistic(j, p, m, j->s->recommended, ratio, &n, &lambda, &why_not)) return;
    const weirp_statistic statistic = {ratio, n};
    s->first_half = weirp_statistic_value(&statistic, j->first_half);
    s->second_half = weirp_statistic_value(&statistic, j->second_half);
    const double se = c->estimate[j->s->recommended].se;
    s->drift_z = (s->second_half - s->first_half) / (2 * se);
}

/* In standard errors; where all weights are the same but for rounding, a mean that is off can't be so by chance. */
static double far_off(double off, double variance, double square, double n) {
    static const double ROUNDING = 1e-12; /* of the mean square: what is left of a difference of two large sums */
    if (variance > ROUNDING * square) return off / sqrt(variance / n);
    return fabs(off) > MOST_OFF ? copysign(INFINITY, off) : 0;
}

void weirp_ope_weigh(const weirp_cell_facts *f, weirp_ope_standing *s) {
    const double n = (double)f->n;
    *s = (weirp_ope_standing){.n = f->n,
                              .n_known = f->n_known,
                              .least_label = f->least_e,
                              .least_p = f->least_p,
                              .n_sessions = f->n_clusters};
    s->unsupported = f->n_full ? f->unsupported / (double)f->n_full : NAN;
    s->max_weight = f->max_w;
    /* Of the rows that know the metric: an estimate rests on no other's weight. */
    s->max_weight_share = f->sum_wk > 0 ? f->max_wk / f->sum_wk : NAN;
    s->ess = f->sum_wk2 > 0 ? f->sum_wk * f->sum_wk / f->sum_wk2 : 0;
    s->mean_weight = n > 0 ? f->sum_w / n : NAN;
    const double variance = n > 1 ? (f->sum_w2 - n * s->mean_weight * s->mean_weight) / (n - 1) : NAN;
    s->mean_weight_z = far_off(s->mean_weight - due(s), variance, f->sum_w2 / n, n);
}

/* ---- outcomes that few rows show, or none ---- */

/* How far a metric's outcomes may lie from their mean: those in [0,1] anywhere there, a loss by what its quality may
 * be. Costs and latencies by no more than is seen. False: so much. */
static bool may_lie(const weirp_judging *j, weir_metric m, double mean, weirp_unseen_side *side) {
    switch (m) {
    case WEIR_METRIC_QUALITY:
    case WEIR_METRIC_ERROR: side->up = 1 - mean, side->down = mean; return true;
    case WEIR_METRIC_LOSS:
        side->up = j->s->o.value_usd, side->down = fmin(mean, j->s->o.value_usd);
        return side->up > 0;
    case WEIR_METRIC_COST:
    case WEIR_METRIC_LATENCY:
    case WEIR_N_METRICS: break;
    }
    return false;
}

static bool add_side(const weirp_judging *j, size_t policy, weir_metric m, weirp_ratio *mean, weirp_unseen_side *side) {
    const bool ran = policy == (size_t)-1 || weirp_ope_target_is_logged(j->target[policy]);
    const weirp_cell *cell = j->judged[policy == (size_t)-1 ? 0 : policy][m].cell;
    *mean = ran ? weirp_cell_logged(cell) : weirp_cell_weighted(cell);
    side->weight = mean->den;
    side->rows = weirp_cell_rows_column(cell);
    return may_lie(j, m, weirp_statistic_value(&(weirp_statistic){mean, 1}, j->sums.total), side);
}

weirp_interval weirp_ope_unseen(const weirp_judging *j, size_t policy, const size_t *other, weir_metric m, double value,
                                weirp_interval interval) {
    weirp_ratio mean[2];
    weirp_unseen u = {.mean = {mean, other ? 2 : 1}, .b = {.weight = WEIRP_NO_COLUMN, .rows = WEIRP_NO_COLUMN}};
    if (!add_side(j, policy, m, &mean[0], &u.a) || (other && !add_side(j, *other, m, &mean[1], &u.b)))
        return (weirp_interval){0, 0};
    mean[1].factor = -1;
    return weirp_unseen_shortfall(&u, &j->sums, j->s->o.level, value, interval);
}

/* ---- the whole ---- */

/* Outcomes may be so large that their sums, or the squares of these, are no numbers any more. */
static void refuse_no_number(weir_metric m, weirp_cell_result *c, const weirp_ope_estimate *e) {
    const bool estimated = e->why_not || (isfinite(e->value) && isfinite(e->se));
    if (*c->standing.refusal || (estimated && isfinite(c->logged_mean) && isfinite(c->logged_se))) return;
    snprintf(c->standing.refusal, sizeof c->standing.refusal, "the mean %s %s isn't a number: outcomes are too large",
             weir_metric_name(m), estimated ? "of what ran" : "under the candidate");
}

void weirp_ope_stand(const weirp_judging *j, const weir_ope *r, size_t p, weir_metric m, weirp_cell_result *c) {
    const weirp_cell_facts *f = weirp_cell_facts_of(j->judged[p][m].cell);
    weirp_ope_standing *s = &c->standing;
    const double known = (double)f->n_known, most = weirp_ope_most(r->most, m);
    weirp_ope_weigh(f, s);
    s->undecided = share(f->n_undecided, r->n_decided);
    /* A normalised correction is divided by 1 - unsupported, too: as much again. */
    const double reach = s->unsupported * (weirp_ope_estimators[j->s->recommended].normalised ? 2 : 1);
    s->bound_lo = s->bound_hi = reach > 0 ? fmin(reach, 1) * most : 0;
    const weirp_ope_estimate *e = &c->estimate[j->s->recommended];
    s->unseen = weirp_ope_unseen(j, p, NULL, m, e->value, weirp_ope_interval_of(e, j->s->o.interval));
    s->bound_lo += s->unseen.lo;
    s->bound_hi += s->unseen.hi;
    const double vy = f->sum_y2 - f->sum_y * f->sum_y / known, vq = f->sum_q2 - f->sum_q * f->sum_q / known,
                 covariance = f->sum_yq - f->sum_y * f->sum_q / known;
    s->model_slope = vq > 0 ? covariance / vq : NAN;
    s->model_r2 = vy > 0 ? 1 - (f->sum_y2 - 2 * f->sum_yq + f->sum_q2) / vy : NAN;
    compare_halves(j, p, m, c, s);
    if (!weirp_ope_target_is_logged(j->target[p]) || !r->n_decided) weirp_ope_refuse(r, m, s, f->n_undecided);
    refuse_no_number(m, c, e);
}

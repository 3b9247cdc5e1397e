/* ope_words.c: which numbers of an evaluation of a log stand for what, and how they are said.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/report/ope_report.h"

static const struct {
    const char *name, *unit;
    bool less;
} metrics[WEIR_N_METRICS] = {
#define ROW(name, text, unit, less) {text, unit, less},
    WEIR_METRIC_TABLE(ROW)
#undef ROW
};

const char *weirp_ope_metric_name(weir_metric metric) {
    return metrics[metric].name;
}

bool weirp_ope_less_is_better(weir_metric metric) {
    return metrics[metric].less;
}

bool weirp_ope_time_known(int64_t ms) {
    return ms != INT64_MIN;
}

void weirp_ope_time_text(char out[WEIRP_WHEN_TEXT], int64_t ms) {
    weirp_when_text(out, ms ? ms : 1); /* which calls 0 "never"; a millisecond isn't shown */
}

const char *weirp_ope_policy_name(const weir_ope *ope, size_t policy) {
    return policy < ope->n_policies ? ope->policy[policy] : "what ran";
}

/* ---- finding ---- */

const weirp_cell_result *weirp_ope_cell(const weir_ope *ope, size_t policy, weir_metric metric) {
    return &ope->cell[policy * WEIR_N_METRICS + metric];
}

bool weirp_ope_asked(const weir_ope *ope, weir_metric metric) {
    bool asked = false;
    for (size_t p = 0; p < ope->n_policies; p++) asked = asked || weirp_ope_cell(ope, p, metric)->asked;
    return asked;
}

const weirp_ope_estimate *weirp_ope_shown(const weir_ope *ope, const weirp_cell_result *cell) {
    for (size_t i = 0; i < cell->n_estimates; i++) {
        const weirp_ope_estimate *e = &cell->estimate[i];
        if (strcmp(weirp_ope_estimators[e->estimator].name, ope->recommended) == 0)
            return e->why_not || isnan(e->value) ? NULL : e;
    }
    return NULL;
}

weirp_interval weirp_ope_shown_interval(const weir_ope *ope, size_t policy, weir_metric metric) {
    const weirp_cell_result *cell = weirp_ope_cell(ope, policy, metric);
    const weirp_ope_estimate *e = weirp_ope_shown(ope, cell);
    const double most = weirp_ope_most(ope->most, metric);
    if (!e) return (weirp_interval){NAN, NAN};
    weirp_interval i = weirp_ope_interval_of(e, ope->interval);
    if (isnan(i.lo) || isnan(i.hi)) return i;
    const bool refused = *cell->standing.refusal; /* then nothing is known, but for what outcomes can be at all */
    i.lo = refused || isnan(cell->standing.bound_lo) ? -INFINITY : i.lo - cell->standing.bound_lo;
    i.hi = refused || isnan(cell->standing.bound_hi) ? INFINITY : i.hi + cell->standing.bound_hi;
    if (isnan(most)) return i;
    return (weirp_interval){fmin(fmax(i.lo, 0), most), fmin(fmax(i.hi, 0), most)}; /* it is in [0, most] */
}

const weirp_contrast *weirp_ope_contrast_of(const weir_ope *ope, size_t policy, size_t other, weir_metric metric) {
    for (size_t i = 0; i < ope->n_contrasts; i++) {
        const weirp_contrast *c = &ope->contrast[i];
        if (c->policy == policy && c->other == other && c->metric == metric) return c;
    }
    return NULL;
}

const weirp_ope_trade *weirp_ope_trade_of(const weir_ope *ope, size_t policy, size_t other) {
    for (size_t i = 0; i < ope->n_trades; i++)
        if (ope->trade[i].policy == policy && ope->trade[i].other == other) return &ope->trade[i];
    return NULL;
}

/* ---- saying ---- */

/* The logged policy's mean, or the first estimate that there is. */
static double size_of(const weir_ope *ope, weir_metric metric) {
    for (size_t p = 0; p < ope->n_policies; p++) {
        const weirp_cell_result *cell = weirp_ope_cell(ope, p, metric);
        if (!cell->asked) continue;
        if (isfinite(cell->logged_mean) && cell->logged_mean != 0) return fabs(cell->logged_mean);
        const weirp_ope_estimate *e = weirp_ope_shown(ope, cell);
        if (e && e->value != 0) return fabs(e->value);
    }
    return 1;
}

weirp_ope_scale weirp_ope_scale_of(const weir_ope *ope, weir_metric metric) {
    weirp_ope_scale s = {metrics[metric].unit, 1, 4};
    if (metric == WEIR_METRIC_COST || metric == WEIR_METRIC_LOSS) s.unit = "USD/1k", s.factor = 1000;
    if (!*s.unit) return s; /* shares */
    const int decimals = 3 - (int)floor(log10(s.factor * size_of(ope, metric)));
    s.decimals = decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
    return s;
}

void weirp_ope_number(char *out, size_t size, const weirp_ope_scale *s, double x, bool with_sign) {
    x *= s->factor;
    if (fabs(x) < 0.5 * pow(10, -s->decimals)) x = 0; /* without a sign */
    if (isnan(x))
        snprintf(out, size, "-");
    else if (isinf(x))
        snprintf(out, size, "%s∞", x < 0 ? "-" : "");
    else if (fabs(x) >= 1e12)
        snprintf(out, size, with_sign && x != 0 ? "%+.3g" : "%.3g", x);
    else
        snprintf(out, size, with_sign && x != 0 ? "%+.*f" : "%.*f", s->decimals, x);
}

void weirp_ope_between(char *out, size_t size, const weirp_ope_scale *s, weirp_interval i, bool with_sign) {
    char lo[48], hi[48];
    *out = '\0';
    if (isnan(i.lo) || isnan(i.hi)) return;
    weirp_ope_number(lo, sizeof lo, s, i.lo, with_sign), weirp_ope_number(hi, sizeof hi, s, i.hi, with_sign);
    snprintf(out, size, "[%s, %s]", lo, hi);
}

void weirp_ope_rows(char *out, size_t size, double n) {
    *out = '\0';
    if (!(n >= 0) || n > 1e15) return;
    const double unit = n < 1000 ? 1 : pow(10, floor(log10(n)) - 2);
    weirp_text_count(out, size, (size_t)(ceil(n / unit) * unit));
}

/* No "-0.0". */
static double unsigned_zero(double percent, int decimals) {
    return fabs(percent) < 0.5 * pow(10, -decimals) ? 0 : percent;
}

/* A share of what the other policy has; false: that has nothing to be a share of. */
static bool put_relative(char *out, size_t size, const weirp_contrast *c) {
    const char *name = metrics[c->metric].name;
    const double lo = 100 * c->relative_interval.lo, hi = 100 * c->relative_interval.hi;
    double d = 100 * c->relative;
    const int decimals = fabs(d) < 10 ? 1 : 0;
    if (isnan(d)) return false;
    d = unsigned_zero(d, decimals);
    if (!isfinite(lo) || !isfinite(hi))
        snprintf(out, size, "%s %+.*f %%", name, decimals, d);
    else if (hi < 0)
        snprintf(out, size, "%.*f %% less %s [%.*f %%, %.*f %%]", decimals, fabs(d), name, decimals, -hi, decimals,
                 -lo);
    else if (lo > 0)
        snprintf(out, size, "%.*f %% more %s [%.*f %%, %.*f %%]", decimals, d, name, decimals, lo, decimals, hi);
    else
        snprintf(out, size, "%s %+.*f %% [%+.*f %%, %+.*f %%]", name, decimals, d, decimals,
                 unsigned_zero(lo, decimals), decimals, unsigned_zero(hi, decimals));
    return true;
}

void weirp_ope_difference(char *out, size_t size, const weir_ope *ope, const weirp_contrast *c) {
    if (put_relative(out, size, c)) return;
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, c->metric);
    char value[48], range[112];
    weirp_ope_number(value, sizeof value, &scale, c->difference, true);
    weirp_ope_between(range, sizeof range, &scale, c->interval, true);
    snprintf(out, size, "%s %s%s%s%s%s", metrics[c->metric].name, value, *scale.unit ? " " : "", scale.unit,
             *range ? " " : "", range);
}

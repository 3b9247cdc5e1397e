/* settings.c: options with their defaults, checked. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "datasets/logged.h"
#include "src/base/base.h"
#include "src/base/words.h"
#include "src/linalg/parallel.h"
#include "src/ope/judge.h"

static const char RECOMMENDED[] = "sndr";

const char *weir_metric_name(weir_metric m) {
    static const char *const name[] = {
#define NAME(name, text, unit, less) text,
        WEIR_METRIC_TABLE(NAME)
#undef NAME
    };
    return (unsigned)m < WEIR_N_METRICS ? name[m] : "?";
}

static bool among(const char *name, const char *const *names) {
    for (; *names; names++)
        if (strcmp(name, *names) == 0) return true;
    return false;
}

static weir_status wrong(weir_error *err, const char *key, const char *right) {
    return weirp_fail(err, WEIR_INVALID, 0, "%s must be %s", key, right);
}

static weir_status find_time(const char *name, const char *text, int64_t *ms, weir_error *err) {
    enum { A_YEAR = 4 }; /* of so few digits a number of seconds isn't meant */
    char shown[64];
    if (!text) return WEIR_OK;
    const bool year = strlen(text) == A_YEAR && strspn(text, "0123456789") == A_YEAR;
    if (!year && weirp_time_parse(text, strlen(text), ms)) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0,
                      "%s must be a time such as 2026-03-01, 2026-03-01T09:30:00Z or 2026-03-01T09:30:00+01:00, or "
                      "seconds or milliseconds since 1970, not \"%s\"",
                      name, weirp_excerpt(shown, sizeof shown, text, strlen(text)));
}

static weir_status find_times(weirp_ope_settings *s, weir_error *err) {
    s->since_ms = INT64_MIN, s->until_ms = INT64_MAX;
    weir_status st = find_time("since", s->o.since, &s->since_ms, err);
    if (st == WEIR_OK) st = find_time("until", s->o.until, &s->until_ms, err);
    if (st != WEIR_OK || s->since_ms < s->until_ms) return st;
    return weirp_fail(err, WEIR_INVALID, 0,
                      "since must be before until: no time is from \"%.64s\" on and before \"%.64s\"", s->o.since,
                      s->o.until);
}

/* ---- bounds ---- */

static bool may_be_bounded(weir_metric m) {
    return m == WEIR_METRIC_COST || m == WEIR_METRIC_LATENCY;
}

static const char *unit_of(weir_metric m) {
    static const char *const unit[] = {
#define UNIT(name, text, unit, less) unit,
        WEIR_METRIC_TABLE(UNIT)
#undef UNIT
    };
    return unit[m];
}

static weir_status find_bounds(weirp_ope_settings *s, weir_error *err) {
    const weir_ope_options *o = &s->o;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        if (o->bounds[m] == 0) continue;
        if (!may_be_bounded(m))
            return weirp_fail(err, WEIR_INVALID, 0, "the %s can't be given a bound: %s", weir_metric_name(m),
                              m == WEIR_METRIC_LOSS ? "it has one where the cost has" : "it lies in [0,1]");
        if (!(o->bounds[m] > 0 && isfinite(o->bounds[m])))
            return weirp_fail(err, WEIR_INVALID, 0, "the bound of the %s must be a number of %s above 0",
                              weir_metric_name(m), unit_of(m));
        s->most[m] = o->bounds[m];
    }
    if (s->most[WEIR_METRIC_COST] > 0) s->most[WEIR_METRIC_LOSS] = o->value_usd + s->most[WEIR_METRIC_COST];
    return WEIR_OK;
}

weir_status weirp_ope_contradicted(const weirp_ope_settings *s, weir_metric m, size_t n, double largest,
                                   const char *of_what, weir_error *err) {
    return weirp_fail(
        err, WEIR_INVALID, 0,
        "the %s isn't bounded by %.9g %s: %zu %s %s more, up to %.9g; a bound must hold for every request",
        weir_metric_name(m), s->most[m], unit_of(m), n, of_what, n == 1 ? "has" : "have", largest);
}

/* Rows that nobody decided count, too: where a model was only ever pinned, they alone know what it can cost. */
static weir_status check_bounds(const weirp_ope_settings *s, const weirp_ope_table *table, weir_error *err) {
    size_t n[WEIR_N_METRICS] = {0};
    double largest[WEIR_N_METRICS] = {0};
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    if (!(s->most[WEIR_METRIC_COST] > 0 || s->most[WEIR_METRIC_LATENCY] > 0)) return WEIR_OK;
    weir_status st = weirp_scan_new(&scan, table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        for (size_t i = 0; i < b.n; i++)
            for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
                const double y = b.metric[i * WEIR_N_METRICS + m];
                if (!may_be_bounded(m) || !(s->most[m] > 0 && y > s->most[m])) continue;
                n[m]++;
                largest[m] = fmax(largest[m], y);
            }
    weirp_scan_free(scan);
    if (st != WEIR_END) return st;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (n[m])
            return weirp_ope_contradicted(s, m, n[m], largest[m], n[m] == 1 ? "row of the log" : "rows of the log",
                                          err);
    return WEIR_OK;
}

/* ---- names ---- */

/* Reports tell policies apart by their names alone. */
static weir_status check_names(const weir_ope_options *o, weir_error *err) {
    char one[128], other[128], shown[64];
    for (size_t i = 1; i < o->n_policies; i++)
        for (size_t k = 0; k < i; k++) {
            size_t n, n_other;
            const char *a = o->policies[k], *b = o->policies[i];
            const char *name = weirp_ope_target_called(a, &n), *other_name = weirp_ope_target_called(b, &n_other);
            if (n != n_other || memcmp(name, other_name, n) != 0) continue;
            weirp_excerpt(one, sizeof one, a, strlen(a)), weirp_excerpt(other, sizeof other, b, strlen(b));
            if (strcmp(a, b) == 0)
                return weirp_fail(err, WEIR_INVALID, 0,
                                  "policy \"%s\" is given twice: give it once, or each a name of its own (name=...)",
                                  one);
            return weirp_fail(err, WEIR_INVALID, 0,
                              "policies \"%s\" and \"%s\" are both called \"%s\": give one of them another name "
                              "(name=...)",
                              one, other, weirp_excerpt(shown, sizeof shown, name, n));
        }
    return WEIR_OK;
}

/* ---- the whole ---- */

static weir_status check(const weir_ope_options *o, weir_error *err) {
    static const char *const intervals[] = {"t", "normal", "percentile", "bca", NULL};
    if (!o->n_policies) return wrong(err, "the list of policies", "one policy or more");
    if (o->n_policies > WEIRP_OPE_MAX_POLICIES) return wrong(err, "the list of policies", "16 policies at most");
    if (!(o->level > 0.5 && o->level < 1)) return wrong(err, "the level", "above 0.5 and below 1");
    if (o->n_bootstrap < 20 || o->n_bootstrap > 100000)
        return wrong(err, "the number of resamples", "from 20 to 100000");
    if (o->n_folds > 20) return wrong(err, "the number of folds", "at most 20");
    if (!(o->value_usd >= 0 && isfinite(o->value_usd))) return wrong(err, "the value", "a number of USD, 0 or more");
    if (!(o->margin_quality >= 0 && o->margin_quality <= 1)) return wrong(err, "the margin of quality", "in [0,1]");
    if (!(o->margin_cost >= 0 && o->margin_cost < 1)) return wrong(err, "the saving that is wanted", "in [0,1)");
    if (!among(o->interval, intervals)) return wrong(err, "the interval", "t, normal, percentile or bca");
    return check_names(o, err);
}

/* A value or a margin weighs quality against cost: without both there is no answer to what was asked, and one to
 * something else would be taken for it. */
static weir_status check_both(const weirp_ope_settings *s, weir_error *err) {
    const weir_ope_options *o = &s->o;
    const unsigned parts = 1u << WEIR_METRIC_QUALITY | 1u << WEIR_METRIC_COST;
    const bool margins = o->margin_quality > 0 || o->margin_cost > 0;
    if (margins && o->metrics && (o->metrics & parts) != parts)
        return weirp_fail(err, WEIR_INVALID, 0, "margins need the quality and the cost: the metrics leave one out");
    if (margins && (s->metrics & parts) != parts)
        return weirp_fail(
            err, WEIR_NODATA, 0, "no row of the log knows the %s: margins need it and the %s",
            weir_metric_name(s->metrics & 1u << WEIR_METRIC_QUALITY ? WEIR_METRIC_COST : WEIR_METRIC_QUALITY),
            weir_metric_name(s->metrics & 1u << WEIR_METRIC_QUALITY ? WEIR_METRIC_QUALITY : WEIR_METRIC_COST));
    if (o->value_usd > 0 && o->metrics && !(o->metrics >> WEIR_METRIC_LOSS & 1))
        return weirp_fail(err, WEIR_INVALID, 0, "a value needs the quality and the cost: the metrics leave one out");
    if (o->value_usd > 0 && !o->metrics && !(s->metrics >> WEIR_METRIC_LOSS & 1))
        return weirp_fail(err, WEIR_NODATA, 0,
                          "no row of the log knows both the quality and the cost: a value needs them");
    return WEIR_OK;
}

weir_status weirp_ope_settle(weirp_ope_settings *s, const weir_ope_options *given, const weirp_ope_table *table,
                             weir_error *err) {
    weir_ope_options *o = &s->o;
    *s = (weirp_ope_settings){.o = *given};
    if (!o->reward_model) o->reward_model = "auto";
    if (!o->n_folds) o->n_folds = 5;
    if (!o->estimator) o->estimator = RECOMMENDED;
    if (!o->interval) o->interval = "t";
    if (o->level == 0) o->level = 0.95;
    if (!o->n_bootstrap) o->n_bootstrap = 1000;
    if (!o->n_threads) o->n_threads = weirp_n_cores();
    weir_status st = check(o, err);
    if (st == WEIR_OK) st = find_times(s, err);
    if (st == WEIR_OK) st = find_bounds(s, err);
    if (st == WEIR_OK && table) st = check_bounds(s, table, err);
    if (st != WEIR_OK) return st;
    s->recommended = weirp_ope_estimator_find(o->estimator);
    if (s->recommended == (size_t)-1)
        return weirp_fail(err, WEIR_INVALID, 0, "there is no estimator \"%s\"; the recommended one is \"%s\"",
                          o->estimator, RECOMMENDED);
    const unsigned parts = 1u << WEIR_METRIC_QUALITY | 1u << WEIR_METRIC_COST;
    if (o->value_usd > 0 && (o->metrics & parts) == parts) o->metrics |= 1u << WEIR_METRIC_LOSS;
    for (weir_metric m = 0; table && m < WEIR_N_METRICS; m++) {
        /* Where nobody decided on any row, that is what a report must tell, of the metrics that there would be. */
        const bool known =
            weirp_ope_table_n_decided(table) ? weirp_ope_table_known(table, m) > 0 : weirp_ope_table_mentions(table, m);
        if (o->metrics >> m & 1 && !known)
            return weirp_fail(err, WEIR_NODATA, 0, "no row of the log%s knows the %s%s",
                              weirp_ope_table_mentions(table, m) ? " that somebody decided on" : "",
                              weir_metric_name(m),
                              m == WEIR_METRIC_LOSS ? " (it needs a value, quality and cost)" : "");
        if (known && (!o->metrics || o->metrics >> m & 1)) s->metrics |= 1u << m;
    }
    if (table && !s->metrics)
        return weirp_fail(err, WEIR_NODATA, 0, "no row of the log%s knows a quality, cost, latency or error",
                          weirp_ope_table_n_decided(table) ? " that somebody decided on" : "");
    return table ? check_both(s, err) : WEIR_OK;
}

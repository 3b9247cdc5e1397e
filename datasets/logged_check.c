/* logged_check.c: what a row of a log must be, however it was written. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "datasets/logged_parts.h"
#include "src/base/words.h"

/* Chances are often logged in single precision, or to a few digits. */
#define TOLERANCE 1e-6

static const char *shown_model(const weirp_logged *l, size_t m, char out[64]) {
    return weirp_excerpt(out, 64, l->models.text[m], l->models.len[m]);
}

/* (n_models) chances that sum to 1. What is above 1 by rounding becomes 1. */
static weir_status check_chances(weirp_logged *l, const char *key, double *chance, weir_error *err) {
    char name[64];
    double sum = 0;
    for (size_t m = 0; m < l->models.n; m++) {
        if (!(chance[m] >= 0 && chance[m] <= 1 + TOLERANCE))
            return weirp_logged_wrong(l, err, key, "is %g for model \"%s\": must be a chance, from 0 to 1", chance[m],
                                      shown_model(l, m, name));
        if (chance[m] > 1) chance[m] = 1;
        sum += chance[m];
    }
    if (fabs(sum - 1) <= TOLERANCE) return WEIR_OK;
    return weirp_logged_wrong(l, err, key, "sums to %.9g over the models: must be 1, to 1e-6", sum);
}

static weir_status check_p(weirp_logged *l, weir_error *err) {
    weirp_logged_row *row = &l->row;
    char name[64];
    if (row->chosen >= l->models.n)
        return weirp_logged_wrong(l, err, "chosen", "is missing: must be the model that was chosen");
    if (l->has & HAS_PROPENSITY) {
        weir_status st = check_chances(l, "propensities", l->propensity, err);
        if (st != WEIR_OK) return st;
        double p = l->propensity[row->chosen];
        if (!(p > 0))
            return weirp_logged_wrong(l, err, "propensities",
                                      "are 0 for the chosen model \"%s\", or lack it: what was chosen had a chance",
                                      shown_model(l, row->chosen, name));
        if (l->p_given && !(fabs(p - row->p) <= TOLERANCE))
            return weirp_logged_wrong(l, err, "propensity",
                                      "is %g where the propensities say %g for the chosen model \"%s\"", row->p, p,
                                      shown_model(l, row->chosen, name));
        row->p = p;
    }
    if (isnan(row->p) && !l->p_given && !(l->has & HAS_PROPENSITY))
        return weirp_logged_wrong(l, err, "propensity",
                                  "is missing: must be the chance with which the model was chosen");
    if (!(row->p > 0 && row->p <= 1 + TOLERANCE))
        return weirp_logged_wrong(l, err, "propensity", "is %g for the chosen model \"%s\": must be above 0, at most 1",
                                  row->p, shown_model(l, row->chosen, name));
    if (row->p > 1) row->p = 1;
    return WEIR_OK;
}

static weir_status check_metrics(weirp_logged *l, weir_error *err) {
    static const struct {
        weir_metric metric;
        const char *name;
        double max;
        const char *right;
    } rows[] = {
        {WEIR_METRIC_QUALITY, "quality", 1, "from 0 to 1"},
        {WEIR_METRIC_COST, "cost", HUGE_VAL, "USD, 0 or more"},
        {WEIR_METRIC_LATENCY, "latency_ms", HUGE_VAL, "milliseconds, 0 or more"},
        {WEIR_METRIC_ERROR, "error", 1, "0 or 1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double v = l->row.metric[rows[i].metric];
        if (isnan(v) || (v >= 0 && v <= rows[i].max && isfinite(v))) continue;
        return weirp_logged_wrong(l, err, rows[i].name, "is %g: must be %s", v, rows[i].right);
    }
    return WEIR_OK;
}

static weir_status check_loggers(weirp_logged *l, weir_error *err) {
    bool any = false;
    for (size_t i = 0; i < l->row.n_loggers; i++) {
        double *p = &l->by_logger[i];
        if (!(*p >= 0 && *p <= 1 + TOLERANCE))
            return weirp_logged_wrong(l, err, "by_logger", "is %g for logging policy %zu: must be from 0 to 1", *p,
                                      i + 1);
        if (*p > 1) *p = 1;
        any |= *p > 0;
    }
    if (any) return WEIR_OK;
    return weirp_logged_wrong(l, err, "by_logger", "is 0 under every logging policy: what was chosen had a chance");
}

/* An estimate that isn't a number is one that isn't known. */
static void clean(double *v, size_t n) {
    for (size_t m = 0; m < n; m++)
        if (!isfinite(v[m])) v[m] = NAN;
}

weir_status weirp_logged_check(weirp_logged *l, weir_error *err) {
    weirp_logged_row *row = &l->row;
    weir_status st;
    WEIRP_TRY(check_p(l, err));
    if (l->has & HAS_TARGET) WEIRP_TRY(check_chances(l, "target", l->target, err));
    if (l->has & HAS_BY_LOGGER) WEIRP_TRY(check_loggers(l, err));
    WEIRP_TRY(check_metrics(l, err));
    if (l->has & HAS_QUALITY) clean(l->quality_hat, l->models.n);
    if (l->has & HAS_COST) clean(l->cost_hat, l->models.n);
    row->propensity = l->has & HAS_PROPENSITY ? l->propensity : NULL;
    row->target = l->has & HAS_TARGET ? l->target : NULL;
    row->by_logger = l->has & HAS_BY_LOGGER ? l->by_logger : NULL;
    row->quality_hat = l->has & HAS_QUALITY ? l->quality_hat : NULL;
    row->cost_hat = l->has & HAS_COST ? l->cost_hat : NULL;
    row->dense = l->has & HAS_DENSE ? l->dense : NULL;
done:
    return st;
}

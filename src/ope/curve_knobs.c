/* curve_knobs.c: at which settings a curve's open knob is looked at: where the decisions of the log's own rows change,
 * spread evenly over these changes, and the ends. A grid that knows nothing of the log would put most of its settings
 * where all decisions are the same. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/measure/measure.h"
#include "src/ope/curve_parts.h"

enum { SAMPLE_ROWS = 4096, SAMPLE_CELLS = 1 << 18 }; /* rows that are asked; rows times models */

/* Room for one row's numbers. */
typedef struct work {
    double *q, *c; /* (n_models) */
    double *out;   /* values found so far */
    size_t n;
    size_t n_known; /* rows that hold the estimates which are needed */
} work;

typedef weir_status (*collector)(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err);

/* ---- where a row's decision changes ---- */

/* Weights v at which argmin of v (1 - q) + c changes: the lower envelope's corners. */
static weir_status add_corners(work *w, size_t n_models, weir_error *err) {
    weirp_path path = {0};
    size_t n = 0;
    for (size_t m = 0; m < n_models; m++) n += isfinite(w->q[m]) && isfinite(w->c[m]);
    w->n_known += n > 0;
    if (n < 2) return WEIR_OK;
    const weir_status st = weirp_path_plugin(&path, w->q, w->c, w->q, w->c, 1, n_models, err);
    for (size_t s = 0; st == WEIR_OK && s < path.n_steps; s++) w->out[w->n++] = path.steps[s].value;
    weirp_path_free(&path);
    return st;
}

/* What a model costs, with the time that it takes; NAN where that isn't known. */
static double spend(const weir_policy_options *o, const weir_estimates *e, size_t m) {
    return e->cost_usd[m] + (o->latency_usd_per_s > 0 ? o->latency_usd_per_s * e->latency_ms[m] / 1000 : 0);
}

static weir_status by_value(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    for (size_t m = 0; m < e->n_models; m++) {
        w->q[m] = e->quality[m];
        w->c[m] = e->eligible[m] ? spend(o, e, m) : NAN;
    }
    return add_corners(w, e->n_models, err);
}

static weir_status by_mu(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    const size_t first = w->n;
    const weir_status st = by_value(w, o, e, err);
    for (size_t i = first; i < w->n; i++) w->out[i] = 1 / (1 + w->out[i]);
    return st;
}

/* The price of time weighs latency as the value weighs what is missing from a quality of 1. */
static weir_status by_price(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    for (size_t m = 0; m < e->n_models; m++) {
        w->q[m] = -e->latency_ms[m] / 1000;
        w->c[m] = e->eligible[m] ? o->value_usd * (1 - e->quality[m]) + e->cost_usd[m] : NAN;
    }
    return add_corners(w, e->n_models, err);
}

static void add_limits(work *w, const weir_estimates *e, const double *amount) {
    const size_t first = w->n;
    for (size_t m = 0; m < e->n_models; m++)
        if (e->eligible[m] && isfinite(amount[m])) w->out[w->n++] = amount[m];
    w->n_known += w->n > first;
}

static weir_status by_cost(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    (void)o, (void)err;
    add_limits(w, e, e->cost_usd);
    return WEIR_OK;
}

static weir_status by_quality(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    (void)o, (void)err;
    add_limits(w, e, e->quality);
    return WEIR_OK;
}

static weir_status by_latency(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    (void)o, (void)err;
    add_limits(w, e, e->latency_ms);
    return WEIR_OK;
}

/* The eligible model of most quality, or least cost; (size_t)-1: none. */
static size_t furthest(const weir_estimates *e, const double *key, double sign) {
    size_t best = (size_t)-1;
    for (size_t m = 0; m < e->n_models; m++)
        if (e->eligible[m] && isfinite(key[m]) && (best == (size_t)-1 || sign * key[m] > sign * key[best])) best = m;
    return best;
}

static weir_status by_threshold(work *w, const weir_policy_options *o, const weir_estimates *e, weir_error *err) {
    (void)err;
    const size_t strong = o->strong != (size_t)-1 ? o->strong : furthest(e, e->quality, 1);
    size_t weak = o->weak != (size_t)-1 ? o->weak : furthest(e, e->cost_usd, -1);
    if (weak == (size_t)-1) weak = furthest(e, e->quality, -1);
    if (strong == (size_t)-1 || weak == (size_t)-1 || strong == weak) return WEIR_OK;
    w->n_known++;
    if (e->eligible[strong] && e->eligible[weak]) w->out[w->n++] = weir_policy_strong_wins(e, strong, weak);
    return WEIR_OK;
}

/* ---- the grid ---- */

/* first, last: ends of the grid beyond what the rows show; NAN: the rows' own are enough. */
static const struct source {
    const char *knob;
    double first, last;
    collector collect;
    const char *needs;
} sources[] = {
    {"value", 0, INFINITY, by_value, "quality and cost"},
    {"mu", 0, 1, by_mu, "quality and cost"},
    {"latency_usd_per_s", 0, NAN, by_price, "quality, cost and latency"},
    {"max_cost", NAN, INFINITY, by_cost, "cost"},
    {"min_quality", 0, 1, by_quality, "quality"},
    {"max_latency", NAN, INFINITY, by_latency, "latency"},
    {"threshold", NAN, INFINITY, by_threshold, "quality"},
};

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void add(weirp_curve_grid *g, double x) {
    if (g->n < WEIRP_CURVE_KNOBS && (!g->n || x > g->knob[g->n - 1])) g->knob[g->n++] = x;
}

static void spread(weirp_curve_grid *g, const struct source *s, const double *sorted, size_t n) {
    const size_t places = WEIRP_CURVE_KNOBS - 2;
    if (!isnan(s->first)) add(g, s->first);
    for (size_t k = 0; k < places; k++) add(g, sorted[(size_t)((double)(n - 1) * (double)k / (double)(places - 1))]);
    add(g, isnan(s->last) ? fmin(2 * sorted[n - 1], 1e12) : s->last); /* a corner itself is a tie: past the last */
}

/* *n_told: rows that the policy has estimates of. */
static weir_status sample(work *w, const struct source *s, weirp_ope_target *target, const weirp_ope_table *table,
                          size_t *n_told, weir_error *err) {
    const size_t n = weirp_ope_table_n(table), m = weirp_ope_table_n_models(table), cells = SAMPLE_CELLS / m + 1;
    const size_t rows = cells < SAMPLE_ROWS ? cells : SAMPLE_ROWS, stride = (n + rows - 1) / rows;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = weirp_scan_new(&scan, table, err);
    for (size_t row = 0; st == WEIR_OK && row < n; row += stride) {
        WEIRP_TRY(weirp_scan_at(scan, row, &b, err));
        const size_t i = row - b.first;
        if (b.flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED)) continue;
        const weir_estimates *e = weirp_ope_target_estimates(target, &b, i);
        if (!e) continue;
        ++*n_told;
        WEIRP_TRY(s->collect(w, weirp_ope_target_options(target), e, err));
    }
done:
    weirp_scan_free(scan);
    return st;
}

static void say_why_not(char *why, size_t size, const struct source *s, const weirp_judging *j, size_t n_told,
                        size_t n_known) {
    static const char *const own = "name a store that estimates them (--store), or log them with each decision";
    if (n_known)
        snprintf(why, size,
                 "%s makes no difference: by the estimates of %s every row's choice is the same at all of "
                 "its settings",
                 s->knob, s->needs);
    else if (!n_told && j->router)
        snprintf(why, size,
                 "no row of the log has features that the store could estimate from: they aren't logged, or are of "
                 "another training");
    else
        snprintf(why, size, "%s weighs estimates of %s, and the log's rows hold none: %s", s->knob, s->needs, own);
}

weir_status weirp_curve_place(weirp_curve_grid *g, weirp_ope_target *target, const weirp_judging *j, char *why,
                              size_t size, weir_error *err) {
    const char *knob = weirp_ope_target_knob(target, err);
    const struct source *s = NULL;
    weir_status st = WEIR_OK;
    work w = {.n = 0};
    size_t n_told = 0;
    *g = (weirp_curve_grid){.n = 0};
    for (size_t k = 0; k < sizeof sources / sizeof *sources; k++)
        if (!strcmp(sources[k].knob, knob)) s = &sources[k];
    if (!s) { /* explore: a floor for each of the models, which can't be more than an even share */
        for (size_t k = 0; k < WEIRP_CURVE_KNOBS; k++)
            add(g, (double)k / ((WEIRP_CURVE_KNOBS - 1) * (double)j->n_models));
        return WEIR_OK;
    }
    w.q = weirp_array(j->n_models, sizeof *w.q);
    w.c = weirp_array(j->n_models, sizeof *w.c);
    w.out = weirp_array(SAMPLE_CELLS + 2 * j->n_models + SAMPLE_ROWS, sizeof *w.out);
    if (!w.q || !w.c || !w.out) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(sample(&w, s, target, j->table, &n_told, err));
    if (w.n) {
        qsort(w.out, w.n, sizeof *w.out, rising);
        spread(g, s, w.out, w.n);
    }
    if (g->n < 2) {
        say_why_not(why, size, s, j, n_told, w.n_known);
        g->n = 0;
    }
done:
    free(w.q);
    free(w.c);
    free(w.out);
    return st;
}

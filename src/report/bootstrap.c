/* bootstrap.c: how far every figure would move on other prompts of the same kind.
 *
 * Percentile bootstrap over prompts (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13): the estimates
 * stay as they are, so that the intervals speak of the test set's size, not of training. A resample is a weight per
 * prompt; axis, best single model and hulls are found anew in each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

static const double LEVEL = 0.95;

enum { STREAM = 0x626f6f74 }; /* "boot" */

static void draw(double *weight, size_t n, uint64_t seed, size_t resample) {
    memset(weight, 0, n * sizeof *weight);
    for (size_t i = 0; i < n; i++)
        weight[(size_t)(weirp_random_uniform(seed, STREAM + (uint64_t)resample, i) * (double)n)]++;
}

/* A quality that a resample never reaches costs infinitely much: such resamples belong to the upper end. */
static void never_is_infinite(weirp_figures *f, const weirp_figures *whole) {
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        if (isnan(whole->policy[p].aiq)) continue;
        double *const reach[3] = {&f->policy[p].cost_at_100, &f->policy[p].cost_at_98, &f->policy[p].cost_at_95};
        for (size_t s = 0; s < 3; s++)
            if (isnan(*reach[s])) *reach[s] = INFINITY;
    }
    if (!isnan(f->apgr) && isnan(f->cpt50)) f->cpt50 = INFINITY;
    if (!isnan(f->apgr) && isnan(f->cpt80)) f->cpt80 = INFINITY;
}

weir_status weirp_bootstrap(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err) {
    const size_t n = e->tables->n, b = e->n_bootstrap;
    weir_status st = WEIR_OK;
    double *weight = weirp_array(n, sizeof *weight), *column = weirp_array(b, sizeof *column);
    weirp_point *points = weirp_array(e->max_points + e->tables->n_models, sizeof *points);
    weirp_figures *all = weirp_array(b, sizeof *all);
    if (!weight || !column || !points || !all) WEIRP_TRY(weirp_nomem(err));
    weirp_measure(e, NULL, points, &e->figures);
    for (size_t r = 0; r < b; r++) {
        WEIRP_TRY(weirp_progress(options, "bootstrap", r, b, err));
        draw(weight, n, e->seed, r);
        weirp_measure(e, weight, points, &all[r]);
        never_is_infinite(&all[r], &e->figures);
    }
    for (size_t f = 0; f < WEIRP_N_FIGURES; f++) {
        for (size_t r = 0; r < b; r++) column[r] = ((const double *)&all[r])[f];
        ((double *)&e->lo)[f] = weirp_percentile(column, b, (1 - LEVEL) / 2);
        ((double *)&e->hi)[f] = weirp_percentile(column, b, (1 + LEVEL) / 2);
    }
done:
    free(weight), free(column), free(points), free(all);
    return st;
}

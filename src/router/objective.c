/* objective.c: the routing objective that estimators are chosen by. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/objective.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/measure/measure.h"

#define LEAST_ROWS 50
/* More prompts than this add time and no certainty that the choice between estimators needs. */
#define MOST_ROWS 12000

void weirp_objective_clear(weirp_objective *o) {
    free(o->row);
    free(o->quality);
    free(o->cost);
    free(o->cost_hat);
    free(o->tmp);
    memset(o, 0, sizeof *o);
}

static size_t usable_rows(const double *quality, const double *cost, const double *cost_hat, size_t n_rows,
                          size_t n_models, size_t *row) {
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        bool whole = true;
        for (size_t at = i * n_models; whole && at < (i + 1) * n_models; at++)
            whole = !isnan(quality[at]) && (!cost || (!isnan(cost[at]) && !isnan(cost_hat[at])));
        if (whole) row[n++] = i;
    }
    return n;
}

static void column_means(const double *table, size_t n, size_t n_models, double *mean) {
    memset(mean, 0, n_models * sizeof *mean);
    for (size_t at = 0; at < n * n_models; at++) mean[at % n_models] += table[at] / (double)n;
}

/* Without costs every step up in mean quality is taken to cost the same: for two models the objective is then the area
 * under the curve of quality over the share of strong calls. */
static void rank_costs(weirp_objective *o, const double *mean) {
    for (size_t j = 0; j < o->n_models; j++) {
        size_t rank = 0;
        for (size_t k = 0; k < o->n_models; k++) rank += mean[k] < mean[j] || (mean[k] == mean[j] && k < j);
        for (size_t i = 0; i < o->n; i++)
            o->cost[i * o->n_models + j] = o->cost_hat[i * o->n_models + j] = (double)rank;
    }
}

weir_status weirp_objective_init(weirp_objective *o, const double *quality, const double *cost, const double *cost_hat,
                                 size_t n_rows, size_t n_models, weir_error *err) {
    memset(o, 0, sizeof *o);
    o->n_models = n_models;
    o->has_cost = cost != NULL;
    o->row = weirp_array(n_rows, sizeof *o->row);
    if (!o->row) return weirp_nomem(err);
    size_t n = usable_rows(quality, cost, cost_hat, n_rows, n_models, o->row);
    if (n < LEAST_ROWS) return WEIR_OK;
    if (n > MOST_ROWS) {
        weirp_shuffle(o->row, n, n);
        n = MOST_ROWS;
    }
    o->n = n;
    size_t cells = n * n_models;
    o->quality = weirp_array(cells, sizeof(double));
    o->cost = weirp_array(cells, sizeof(double));
    o->cost_hat = weirp_array(cells, sizeof(double));
    o->tmp = weirp_array(cells + n_models, sizeof(double));
    if (!o->quality || !o->cost || !o->cost_hat || !o->tmp) {
        weirp_objective_clear(o);
        return weirp_nomem(err);
    }
    for (size_t i = 0; i < n; i++) {
        size_t width = n_models * sizeof(double);
        memcpy(o->quality + i * n_models, quality + o->row[i] * n_models, width);
        if (!cost) continue;
        memcpy(o->cost + i * n_models, cost + o->row[i] * n_models, width);
        memcpy(o->cost_hat + i * n_models, cost_hat + o->row[i] * n_models, width);
    }
    double *mean = o->tmp;
    if (!cost) {
        column_means(o->quality, n, n_models, mean);
        rank_costs(o, mean);
    }
    column_means(o->cost, n, n_models, mean);
    o->cost_lo = INFINITY, o->cost_hi = -INFINITY;
    for (size_t j = 0; j < n_models; j++)
        o->cost_lo = fmin(o->cost_lo, mean[j]), o->cost_hi = fmax(o->cost_hi, mean[j]);
    return WEIR_OK;
}

/* q_hat's usable rows, or the constants, into `into`. */
static void gather(const weirp_objective *o, const double *q_hat, const double *mean, double *into) {
    for (size_t i = 0; i < o->n; i++)
        memcpy(into + i * o->n_models, q_hat ? q_hat + o->row[i] * o->n_models : mean, o->n_models * sizeof(double));
}

weir_status weirp_objective_score(weirp_objective *o, const double *q_hat, const double *mean, double *score,
                                  weir_error *err) {
    *score = NAN;
    if (!o->n) return WEIR_OK;
    gather(o, q_hat, mean, o->tmp);
    return weirp_aiq(o->tmp, o->cost_hat, o->quality, o->cost, o->n, o->n_models, o->cost_lo, o->cost_hi, score, err);
}

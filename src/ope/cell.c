/* cell.c: estimates off the columns. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/cell.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "src/ope/cell_columns.h"
#include "src/ope/tune.h"

const double weirp_cell_lambdas[N_LAMBDAS] = {1000, 100, 10, 5, 1};
const double weirp_cell_subgauss[N_SUBGAUSS] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05};

size_t weirp_cell_n_columns(void) {
    return N_COLUMNS;
}

weir_status weirp_cell_make(weirp_cell **out, const double *logger_rows, size_t n_loggers, weir_metric metric,
                            size_t first_column, bool robust, weir_error *err) {
    assert(weirp_ope_n_estimators() <= MAX_ESTIMATORS);
    *out = NULL;
    weirp_cell *cell = calloc(1, sizeof *cell);
    if (!cell) return weirp_nomem(err);
    cell->metric = metric;
    cell->first_column = first_column;
    cell->robust = robust;
    cell->n_loggers = n_loggers;
    cell->facts.least_p = cell->facts.least_e = 1;
    if (n_loggers > 1) {
        cell->share = weirp_array(n_loggers, sizeof *cell->share);
        if (!cell->share) {
            free(cell);
            return weirp_nomem(err);
        }
        double all = 0;
        for (size_t l = 0; l < n_loggers; l++) all += logger_rows[l];
        for (size_t l = 0; l < n_loggers; l++) cell->share[l] = all > 0 ? logger_rows[l] / all : 0;
    }
    *out = cell;
    return WEIR_OK;
}

void weirp_cell_free(weirp_cell *cell) {
    if (!cell) return;
    free(cell->share);
    free(cell);
}

/* Which lambdas a change of weights may have. */
static const double *lambdas_of(weirp_ope_change change, size_t *n) {
    *n = 0;
    switch (change) {
    case WEIRP_CHANGE_CLIP:
    case WEIRP_CHANGE_SWITCH:
    case WEIRP_CHANGE_SHRINK: *n = N_LAMBDAS; return weirp_cell_lambdas;
    case WEIRP_CHANGE_SUBGAUSS: *n = N_SUBGAUSS; return weirp_cell_subgauss;
    case WEIRP_CHANGE_NONE:
    case WEIRP_CHANGE_BALANCED:
    case WEIRP_CHANGE_MATCH: break;
    }
    return NULL;
}

/* The column of sum f(w) r (ips) or sum f(w) (r - q) (dr), counted within the cell; lambda's index counts from 0. */
static size_t column_of(const weirp_ope_estimator *e, weirp_ope_change change, size_t lambda) {
    const bool ips = e->base == WEIRP_BASE_IPS;
    if (e->base == WEIRP_BASE_DM) return COLUMN_V;
    switch (change) {
    case WEIRP_CHANGE_NONE: return ips ? COLUMN_B : e->robust ? COLUMN_D_ROBUST : COLUMN_D;
    case WEIRP_CHANGE_CLIP: return (ips ? COLUMN_B_CLIP : COLUMN_D_CLIP) + lambda;
    case WEIRP_CHANGE_SWITCH: return ips ? WEIRP_NO_COLUMN : COLUMN_D_SWITCH + lambda;
    case WEIRP_CHANGE_SHRINK: return ips ? WEIRP_NO_COLUMN : COLUMN_D_SHRINK + lambda;
    case WEIRP_CHANGE_SUBGAUSS: return (ips ? COLUMN_B_SUBGAUSS : COLUMN_D_SUBGAUSS) + lambda;
    case WEIRP_CHANGE_BALANCED: return ips ? COLUMN_B_BALANCED : COLUMN_D_BALANCED;
    case WEIRP_CHANGE_MATCH: return ips ? COLUMN_MATCH_B : WEIRP_NO_COLUMN;
    }
    return WEIRP_NO_COLUMN;
}

/* The column an estimator comes to, and its lambda (NAN: it has none). */
static size_t column_now(const weirp_cell *cell, size_t estimator, double *lambda) {
    const weirp_ope_estimator *e = &weirp_ope_estimators[estimator];
    size_t n, at = 0;
    const double *lambdas = lambdas_of(e->change, &n);
    *lambda = NAN;
    if (!n) return column_of(e, e->change, 0);
    if (e->tuning == WEIRP_TUNED_NOT) {
        while (at < n && lambdas[at] != e->lambda) at++;
        assert(at < n);
    } else if (cell->choice[estimator] == 0) {
        *lambda = e->change == WEIRP_CHANGE_SUBGAUSS ? 0 : INFINITY;
        return column_of(e, WEIRP_CHANGE_NONE, 0);
    } else {
        at = cell->choice[estimator] - 1;
    }
    *lambda = lambdas[at];
    return column_of(e, e->change, at);
}

/* Variances of all unnormalised estimators at once, sum u^2 of clusters' influences: variance (N_COLUMNS). Gives the
 * number of clusters that have rows. */
static size_t cluster_variances(const weirp_cell *cell, const weirp_sums *sums, double *variance) {
    const double *total = sums->total + cell->first_column, n = total[COLUMN_N];
    double mean[N_COLUMNS];
    size_t n_clusters = 0;
    for (size_t k = COLUMN_V; k < N_COLUMNS; k++) {
        mean[k] = (total[k] + (k >= COLUMN_D ? total[COLUMN_V] : 0)) / n;
        variance[k] = 0;
    }
    for (size_t c = 0; c < sums->n_clusters; c++) {
        const double *x = sums->x + c * sums->n_columns + cell->first_column;
        if (x[COLUMN_N] == 0) continue;
        n_clusters++;
        for (size_t k = COLUMN_V; k < COLUMN_D; k++) {
            const double u = (x[k] - mean[k] * x[COLUMN_N]) / n;
            variance[k] += u * u;
        }
        for (size_t k = COLUMN_D; k < N_COLUMNS; k++) {
            const double u = (x[COLUMN_V] + x[k] - mean[k] * x[COLUMN_N]) / n;
            variance[k] += u * u;
        }
    }
    return n_clusters;
}

/* The scale of the outcomes, so that choices don't hang on units: 1 for what lies in [0,1], else the root mean square.
 */
static double scale_of(const weirp_cell *cell) {
    if (cell->metric == WEIR_METRIC_QUALITY || cell->metric == WEIR_METRIC_ERROR) return 1;
    return cell->facts.n_known ? sqrt(cell->facts.sum_y2 / (double)cell->facts.n_known) : 0;
}

static size_t choose(const weirp_cell *cell, const weirp_ope_estimator *e, const double *total, const double *variance,
                     size_t n_clusters) {
    size_t n;
    const double *lambdas = lambdas_of(e->change, &n), rows = total[COLUMN_N];
    const size_t plain = column_of(e, WEIRP_CHANGE_NONE, 0);
    const double base = e->base == WEIRP_BASE_DR ? total[COLUMN_V] : 0;
    weirp_choice choice[WEIRP_MAX_CHOICES];
    assert(n < WEIRP_MAX_CHOICES);
    for (size_t i = 0; i <= n; i++) {
        const size_t k = i ? column_of(e, e->change, i - 1) : plain;
        choice[i] = (weirp_choice){.lambda = i ? lambdas[i - 1] : INFINITY,
                                   .value = (base + total[k]) / rows,
                                   .se = sqrt(variance[k]),
                                   .bias = (total[plain] - total[k]) / rows};
    }
    if (e->tuning == WEIRP_TUNED_MSE) {
        const double mean_w2 = weirp_exact_get(&cell->sum_wk2) / rows;
        return weirp_tune_mse(choice, n + 1, weirp_tune_slack(mean_w2, cell->max_wk, rows, scale_of(cell)));
    }
    if (e->tuning == WEIRP_TUNED_BOUND)
        return weirp_tune_bound(choice, n + 1, weirp_exact_get(&cell->sum_wk2) / rows, rows);
    if (n_clusters < 2) return 0;
    const double g = (double)n_clusters, t = gsl_cdf_tdist_Pinv(1 - WEIRP_TUNE_DELTA, g - 1);
    return weirp_tune_slope(choice, n + 1, t * sqrt(g / (g - 1)));
}

weir_status weirp_cell_finish(weirp_cell *cell, const weirp_sums *sums, weir_error *err) {
    (void)err;
    weirp_cell_facts *f = &cell->facts;
    f->sum_w = weirp_exact_get(&cell->sum_w);
    f->sum_w2 = weirp_exact_get(&cell->sum_w2);
    f->unsupported = weirp_exact_get(&cell->unsupported);
    f->sum_wk = sums->total[cell->first_column + COLUMN_A];
    f->sum_wk2 = weirp_exact_get(&cell->sum_wk2);
    f->max_wk = cell->max_wk;
    for (size_t c = 0; c < sums->n_clusters; c++)
        f->n_clusters += sums->x[c * sums->n_columns + cell->first_column + COLUMN_A] > 0;
    f->sum_y = weirp_exact_get(&cell->sum_y);
    f->sum_y2 = weirp_exact_get(&cell->sum_y2);
    f->sum_q = weirp_exact_get(&cell->sum_q);
    f->sum_q2 = weirp_exact_get(&cell->sum_q2);
    f->sum_yq = weirp_exact_get(&cell->sum_yq);
    cell->finished = true;
    if (!f->n) return WEIR_OK;
    double variance[N_COLUMNS];
    const size_t n_clusters = cluster_variances(cell, sums, variance);
    for (size_t i = 0; i < weirp_ope_n_estimators(); i++) {
        const weirp_ope_estimator *e = &weirp_ope_estimators[i];
        if (e->tuning != WEIRP_TUNED_NOT)
            cell->choice[i] = choose(cell, e, sums->total + cell->first_column, variance, n_clusters);
    }
    return WEIR_OK;
}

/* Why an estimator isn't to be had; NULL: it is. */
static const char *lack(const weirp_cell *cell, const weirp_ope_estimator *e) {
    if (!cell->facts.n) return "no row has a decision of both policies";
    if (!cell->facts.n_known) return "no row knows the metric";
    if (e->base != WEIRP_BASE_IPS && !(e->robust ? cell->robust : cell->has_q))
        return "no reward model was fitted for it";
    if (e->change == WEIRP_CHANGE_BALANCED && cell->n_loggers < 2)
        return "one policy made the log: it would be the same";
    if (e->change == WEIRP_CHANGE_BALANCED && cell->unbalanced) return cell->unbalanced;
    if (e->change == WEIRP_CHANGE_MATCH && cell->drawn)
        return "the policy draws at random: replay is for those that don't";
    if (e->normalised && cell->max_wk == 0) return "the log never took what the policy would take";
    return NULL;
}

bool weirp_cell_statistic(const weirp_cell *cell, size_t estimator, weirp_ratio ratio[WEIRP_MAX_RATIOS],
                          size_t *n_ratios, double *lambda, const char **why_not) {
    const weirp_ope_estimator *e = &weirp_ope_estimators[estimator];
    assert(cell->finished);
    *n_ratios = 0;
    *lambda = NAN;
    *why_not = lack(cell, e);
    if (*why_not) return false;
    const size_t first = cell->first_column, column = column_now(cell, estimator, lambda);
    const size_t norm = !e->normalised ? COLUMN_N : e->change == WEIRP_CHANGE_MATCH ? COLUMN_MATCH_A : COLUMN_A;
    *n_ratios = 1;
    ratio[0] = (weirp_ratio){
        .num = first + column, .den = first + norm, .add = WEIRP_NO_COLUMN, .add_den = WEIRP_NO_COLUMN, .factor = 1};
    if (e->base == WEIRP_BASE_DR) {
        ratio[0].add = first + (e->robust ? COLUMN_V_ROBUST : COLUMN_V);
        ratio[0].add_den = first + COLUMN_N;
    }
    return true;
}

weirp_ratio weirp_cell_logged(const weirp_cell *cell) {
    return (weirp_ratio){.num = cell->first_column + COLUMN_Y,
                         .den = cell->first_column + COLUMN_K,
                         .add = WEIRP_NO_COLUMN,
                         .add_den = WEIRP_NO_COLUMN,
                         .factor = 1};
}

weirp_ratio weirp_cell_weighted(const weirp_cell *cell) {
    return (weirp_ratio){.num = cell->first_column + COLUMN_B,
                         .den = cell->first_column + COLUMN_A,
                         .add = WEIRP_NO_COLUMN,
                         .add_den = WEIRP_NO_COLUMN,
                         .factor = 1};
}

size_t weirp_cell_rows_column(const weirp_cell *cell) {
    return cell->first_column + COLUMN_N;
}

double weirp_cell_variance(const weirp_cell *cell, size_t estimator) {
    const weirp_ope_estimator *e = &weirp_ope_estimators[estimator];
    double lambda;
    if (e->normalised || lack(cell, e)) return NAN;
    const size_t k = column_now(cell, estimator, &lambda);
    const double n = (double)cell->facts.n, mean = cell->moment[k] / n;
    return fmax(0, cell->moment2[k] / n - mean * mean);
}

const weirp_cell_facts *weirp_cell_facts_of(const weirp_cell *cell) {
    return &cell->facts;
}

/* reward_frame.c: what all fits of a metric go by: folds, the columns that there are, their places and scales.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/reward_parts.h"

weir_status weirp_reward_folds_make(weirp_reward_folds *o, size_t n_folds, weir_error *err) {
    memset(o, 0, sizeof *o);
    if (n_folds > WEIRP_REWARD_MAX_FOLDS)
        return weirp_fail(err, WEIR_INVALID, 0, "at most %d folds, not %zu", WEIRP_REWARD_MAX_FOLDS, n_folds);
    size_t splits = 1;
    while (n_folds > 1 && (n_folds - 1) * splits < WEIRP_REWARD_INNER) splits++;
    o->n_folds = n_folds;
    o->n_parts = n_folds > 1 ? n_folds * splits : WEIRP_REWARD_INNER;
    o->n_inner = WEIRP_REWARD_INNER;
    for (size_t f = 0; f < n_folds; f++) {
        size_t seen = 0;
        for (size_t p = 0; p < o->n_parts; p++)
            o->group[f][p] = n_folds > 1 && p % n_folds == f ? -1 : (signed char)(seen++ % WEIRP_REWARD_INNER);
    }
    return WEIR_OK;
}

weir_status weirp_reward_frame_begin(weirp_reward_frame *o, const weirp_ope_table *table,
                                     const weirp_reward_options *options, weir_error *err) {
    o->table = table;
    o->metric = options->metric;
    o->n_models = weirp_ope_table_n_models(table);
    o->n_segments = weirp_ope_table_n_segments(table);
    o->prior = options->prior > 0 ? options->prior : 10;
    o->seed = options->seed;
    o->n_threads = o->pass_threads = options->n_threads ? options->n_threads : 1;
    o->log_shift = o->metric == WEIR_METRIC_LATENCY ? 1 : WEIRP_COST_SHIFT;
    o->norm = 1;
    return weirp_reward_folds_make(&o->folds, options->n_folds ? options->n_folds : 5, err);
}

weir_status weirp_reward_looking_init(weirp_reward_looking *l, const weirp_reward_frame *o, weir_error *err) {
    const size_t dim = weirp_ope_table_dim(o->table);
    *l = (weirp_reward_looking){.dense = weirp_array(dim, sizeof(double)), .dense2 = weirp_array(dim, sizeof(double))};
    for (size_t p = 0; p < WEIRP_REWARD_MAX_PARTS; p++) l->lo[p] = INFINITY, l->hi[p] = -INFINITY;
    return l->dense && l->dense2 ? WEIR_OK : weirp_nomem(err);
}

void weirp_reward_looking_free(weirp_reward_looking *l) {
    free(l->dense);
    free(l->dense2);
}

void weirp_reward_look(void *context, const weirp_reward_rows *rows) {
    weirp_reward_looking *l = context;
    const weirp_ope_block *b = rows->block;
    for (size_t k = 0; k < rows->n; k++) {
        size_t i = rows->row[k], at = i * b->n_models + b->chosen[i], p = rows->part[k];
        double cost = b->cost_hat ? b->cost_hat[at] : NAN;
        double hat[3] = {b->quality_hat ? b->quality_hat[at] : NAN, cost, log(cost + WEIRP_COST_SHIFT)};
        l->n++;
        l->sum_w += rows->w[k];
        l->lo[p] = fmin(l->lo[p], rows->y[k]);
        l->hi[p] = fmax(l->hi[p], rows->y[k]);
        for (int h = 0; h < 3; h++)
            if (isfinite(hat[h])) l->n_hat[h]++, l->sum[h] += hat[h], l->square[h] += hat[h] * hat[h];
        if (!b->dense || !isfinite(b->dense[i * b->dim])) continue;
        l->n_dense++;
        for (size_t j = 0; j < b->dim; j++) {
            double x = (double)b->dense[i * b->dim + j];
            l->dense[j] += x;
            l->dense2[j] += x * x;
        }
    }
}

static double deviation(double n, double sum, double square) {
    double v = n > 0 ? square / n - (sum / n) * (sum / n) : 0;
    return v > 1e-12 * square / fmax(n, 1) ? sqrt(v) : 0;
}

weir_status weirp_reward_frame_settle(weirp_reward_frame *o, const weirp_reward_looking *l, weir_error *err) {
    const size_t dim = weirp_ope_table_dim(o->table);
    o->norm = l->sum_w > 0 ? l->n / l->sum_w : 1;
    for (int h = 0; h < 3; h++) {
        o->hat[h][0] = l->n_hat[h] > 0 ? l->sum[h] / l->n_hat[h] : 0;
        o->hat[h][1] = deviation(l->n_hat[h], l->sum[h], l->square[h]);
    }
    for (size_t f = 0; f < o->folds.n_folds; f++) {
        o->lo[f] = INFINITY, o->hi[f] = -INFINITY;
        for (size_t p = 0; p < o->folds.n_parts; p++)
            if (o->folds.group[f][p] >= 0) o->lo[f] = fmin(o->lo[f], l->lo[p]), o->hi[f] = fmax(o->hi[f], l->hi[p]);
        if (!(o->lo[f] <= o->hi[f])) o->lo[f] = o->hi[f] = 0;
    }
    size_t most = weirp_reward_gram_most_dense(&o->folds, o->n_models);
    o->dim = l->n_dense > 0 ? (dim < most ? dim : most) : 0;
    o->centre = weirp_array(o->dim, sizeof *o->centre);
    if (!o->centre) return weirp_nomem(err);
    double variance = 0;
    for (size_t j = 0; j < o->dim; j++) {
        o->centre[j] = l->dense[j] / l->n_dense;
        double sd = deviation(l->n_dense, l->dense[j], l->dense2[j]);
        variance += sd * sd / (double)o->dim;
    }
    o->scale = sqrt(variance);
    if (!(o->scale > 0) || !isfinite(o->scale)) o->dim = 0;
    return WEIR_OK;
}

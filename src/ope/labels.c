/* labels.c: the chance that a row's metric became known: a logistic regression on what was known before.
 *
 * Columns: 1, the chosen model, its logged estimates and chance, the segment, and how long before the log's end the row
 * was made (labels that come late aren't there yet): a row has at most seven that aren't 0, so that Newton's sums cost
 * next to nothing and the log is gone over once a step, in bounded memory. The penalty is a normal prior of variance 1
 * on all but the first. Fit f has seen no row of clusters c with c % n_folds == f. Chances are bounded from below, so
 * that no row weighs more than 1 / LEAST for want of labels. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/linalg/linalg.h"
#include "src/ope/reward.h"

#define LEAST     0.01
#define TOLERANCE 1e-8
#define MOST_STEP 3.0
enum { MOST_SLOTS = 256, MOST_ROUNDS = 25, MOST_FOLDS = 20, N_NUMBERS = 4, MOST_FILLED = 3 + N_NUMBERS };

struct weirp_ope_labels {
    bool all; /* every row knows it */
    weir_metric metric;
    size_t n_folds, n_models, n_segments, d; /* slots of models and segments */
    int64_t last_ms;
    double centre[N_NUMBERS], scale[N_NUMBERS]; /* scale 0: unused */
    double *theta;                              /* (n_folds, d) */
    double least;
};

typedef struct filled {
    size_t n, column[MOST_FILLED];
    double x[MOST_FILLED];
} filled;

static bool decided(const weirp_ope_block *b, size_t i) {
    return !(b->flags[i] & (WEIRP_LOGGED_CACHED | WEIRP_LOGGED_FORCED));
}

static bool known(const weirp_ope_labels *l, const weirp_ope_block *b, size_t i) {
    return isfinite(b->metric[i * WEIR_N_METRICS + l->metric]);
}

static void numbers(const weirp_ope_labels *l, const weirp_ope_block *b, size_t i, double out[N_NUMBERS]) {
    size_t at = i * b->n_models + b->chosen[i];
    double cost = b->cost_hat ? b->cost_hat[at] : NAN;
    bool timed = b->time_ms[i] != WEIRP_LOGGED_NO_TIME && l->last_ms != WEIRP_LOGGED_NO_TIME;
    out[0] = b->quality_hat ? b->quality_hat[at] : NAN;
    out[1] = cost >= 0 ? log(cost + 1e-6) : NAN;
    out[2] = timed ? log1p(fmax(0, (double)(l->last_ms - b->time_ms[i]) / 1000)) : NAN;
    out[3] = log(b->p[i]);
}

static void fill(const weirp_ope_labels *l, const weirp_ope_block *b, size_t i, filled *row) {
    double x[N_NUMBERS];
    numbers(l, b, i, x);
    *row = (filled){.n = 3,
                    .column = {0, 1 + b->chosen[i] % l->n_models, 1 + l->n_models + b->segment[i] % l->n_segments},
                    .x = {1, 1, 1}};
    for (size_t k = 0; k < N_NUMBERS; k++) {
        if (!(l->scale[k] > 0) || !isfinite(x[k])) continue;
        row->column[row->n] = 1 + l->n_models + l->n_segments + k;
        row->x[row->n++] = (x[k] - l->centre[k]) / l->scale[k];
    }
}

static double chance(const filled *row, const double *theta) {
    double t = 0;
    for (size_t k = 0; k < row->n; k++) t += row->x[k] * theta[row->column[k]];
    return t >= 0 ? 1 / (1 + exp(-t)) : exp(t) / (1 + exp(t));
}

/* ---- going over the log ---- */

typedef void (*row_fn)(void *context, const weirp_ope_block *b, size_t i);

static weir_status each(const weirp_ope_table *table, row_fn fn, void *context, weir_error *err) {
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = weirp_scan_new(&scan, table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        for (size_t i = 0; i < b.n; i++)
            if (decided(&b, i)) fn(context, &b, i);
    weirp_scan_free(scan);
    return st == WEIR_END ? WEIR_OK : st;
}

static void find_end(void *context, const weirp_ope_block *b, size_t i) {
    weirp_ope_labels *l = context;
    if (b->time_ms[i] != WEIRP_LOGGED_NO_TIME && (l->last_ms == WEIRP_LOGGED_NO_TIME || b->time_ms[i] > l->last_ms))
        l->last_ms = b->time_ms[i];
}

typedef struct look {
    weirp_ope_labels *l;
    double n, n_known, count[N_NUMBERS], sum[N_NUMBERS], square[N_NUMBERS];
    double fold_n[MOST_FOLDS], fold_known[MOST_FOLDS]; /* of the rows that a fit sees */
} look;

static bool sees(const weirp_ope_labels *l, size_t f, uint32_t cluster) {
    return l->n_folds == 1 || cluster % l->n_folds != f;
}

static void look_at(void *context, const weirp_ope_block *b, size_t i) {
    look *k = context;
    double x[N_NUMBERS];
    bool is_known = known(k->l, b, i);
    k->n++, k->n_known += is_known;
    for (size_t f = 0; f < k->l->n_folds; f++)
        if (sees(k->l, f, b->cluster[i])) k->fold_n[f]++, k->fold_known[f] += is_known;
    numbers(k->l, b, i, x);
    for (size_t j = 0; j < N_NUMBERS; j++)
        if (isfinite(x[j])) k->count[j]++, k->sum[j] += x[j], k->square[j] += x[j] * x[j];
}

typedef struct newton {
    weirp_ope_labels *l;
    double *hessian, *step; /* (n_folds, d, d) upper; (n_folds, d) */
    bool done[MOST_FOLDS];
} newton;

static void add(void *context, const weirp_ope_block *b, size_t i) {
    newton *w = context;
    weirp_ope_labels *l = w->l;
    filled row;
    fill(l, b, i, &row);
    double y = known(l, b, i);
    for (size_t f = 0; f < l->n_folds; f++) {
        if (w->done[f] || !sees(l, f, b->cluster[i])) continue;
        double p = chance(&row, l->theta + f * l->d), v = p * (1 - p);
        double *h = w->hessian + f * l->d * l->d, *g = w->step + f * l->d;
        for (size_t s = 0; s < row.n; s++) { /* columns ascend */
            g[row.column[s]] += (y - p) * row.x[s];
            for (size_t t = s; t < row.n; t++) h[row.column[s] * l->d + row.column[t]] += v * row.x[s] * row.x[t];
        }
    }
}

static weir_status step_all(newton *w, const weirp_ope_table *table, bool *moved, weir_error *err) {
    weirp_ope_labels *l = w->l;
    size_t d = l->d;
    memset(w->hessian, 0, l->n_folds * d * d * sizeof *w->hessian);
    memset(w->step, 0, l->n_folds * d * sizeof *w->step);
    weir_status st = each(table, add, w, err);
    *moved = false;
    for (size_t f = 0; st == WEIR_OK && f < l->n_folds; f++) {
        double *h = w->hessian + f * d * d, *g = w->step + f * d, *theta = l->theta + f * d, size = 0;
        if (w->done[f]) continue;
        for (size_t j = 0; j < d; j++) {
            double penalty = j ? 1 : 1e-6;
            h[j * d + j] += penalty;
            g[j] -= penalty * theta[j];
        }
        st = weirp_solve_spd(h, d, g, 1, err);
        if (st != WEIR_OK) break;
        for (size_t j = 0; j < d; j++) size = fmax(size, fabs(g[j]));
        double share = size > MOST_STEP ? MOST_STEP / size : 1;
        for (size_t j = 0; j < d; j++) theta[j] += share * g[j];
        w->done[f] = size < TOLERANCE;
        *moved |= !w->done[f];
    }
    return st;
}

static void find_least(void *context, const weirp_ope_block *b, size_t i) {
    weirp_ope_labels *l = context;
    filled row;
    fill(l, b, i, &row);
    l->least = fmin(l->least, fmax(LEAST, chance(&row, l->theta + b->cluster[i] % l->n_folds * l->d)));
}

static weir_status fit(weirp_ope_labels *l, const weirp_ope_table *table, const look *k, weir_error *err) {
    weir_status st = WEIR_OK;
    newton w = {.l = l};
    bool moved = true;
    for (size_t j = 0; j < N_NUMBERS; j++) {
        double mean = k->count[j] > 0 ? k->sum[j] / k->count[j] : 0;
        double v = k->count[j] > 0 ? k->square[j] / k->count[j] - mean * mean : 0;
        l->centre[j] = mean;
        l->scale[j] = v > 1e-10 * (1 + mean * mean) ? sqrt(v) : 0;
    }
    l->d = 1 + l->n_models + l->n_segments + N_NUMBERS;
    l->theta = weirp_array(l->n_folds * l->d, sizeof *l->theta);
    w.hessian = weirp_array(l->n_folds * l->d * l->d, sizeof *w.hessian);
    w.step = weirp_array(l->n_folds * l->d, sizeof *w.step);
    if (!l->theta || !w.hessian || !w.step) WEIRP_TRY(weirp_nomem(err));
    for (size_t f = 0; f < l->n_folds; f++)
        l->theta[f * l->d] = log((k->fold_known[f] + 0.5) / (k->fold_n[f] - k->fold_known[f] + 0.5));
    for (int round = 0; round < MOST_ROUNDS && moved; round++) WEIRP_TRY(step_all(&w, table, &moved, err));
    WEIRP_TRY(each(table, find_least, l, err));
done:
    free(w.hessian);
    free(w.step);
    return st;
}

weir_status weirp_ope_labels_fit(weirp_ope_labels **out, const weirp_ope_table *table, weir_metric metric,
                                 size_t n_folds, weir_error *err) {
    if (n_folds > MOST_FOLDS) return weirp_fail(err, WEIR_INVALID, 0, "at most %d folds, not %zu", MOST_FOLDS, n_folds);
    weirp_ope_labels *l = weirp_array(1, sizeof *l);
    if (!l) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    l->metric = metric;
    l->n_folds = n_folds ? n_folds : 5;
    l->n_models = weirp_ope_table_n_models(table);
    l->n_segments = weirp_ope_table_n_segments(table);
    if (l->n_models > MOST_SLOTS) l->n_models = MOST_SLOTS;
    if (l->n_segments > MOST_SLOTS) l->n_segments = MOST_SLOTS;
    if (!l->n_models) l->n_models = 1;
    if (!l->n_segments) l->n_segments = 1;
    l->last_ms = WEIRP_LOGGED_NO_TIME;
    l->least = 1;
    WEIRP_TRY(each(table, find_end, l, err));
    look k = {.l = l};
    WEIRP_TRY(each(table, look_at, &k, err));
    l->all = k.n_known >= k.n;
    if (!l->all) WEIRP_TRY(fit(l, table, &k, err));
    *out = l;
done:
    if (st != WEIR_OK) weirp_ope_labels_free(l);
    return st;
}

void weirp_ope_labels_predict(const weirp_ope_labels *labels, const weirp_ope_block *block, double *e) {
    for (size_t i = 0; i < block->n; i++) {
        filled row;
        e[i] = 1;
        if (labels->all) continue;
        fill(labels, block, i, &row);
        e[i] = fmax(LEAST, chance(&row, labels->theta + block->cluster[i] % labels->n_folds * labels->d));
    }
}

double weirp_ope_labels_least(const weirp_ope_labels *labels) {
    return labels->least;
}

void weirp_ope_labels_free(weirp_ope_labels *labels) {
    if (!labels) return;
    free(labels->theta);
    free(labels);
}

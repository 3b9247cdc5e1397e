/* labels.c: the chance that a row's metric became known: a logistic regression on what was known before.
 *
 * Columns: 1, the chosen model, its logged estimates and chance, the segment, and how long before the log's end the row
 * was made (labels that come late aren't there yet): a row has at most seven that aren't 0, so that Newton's sums cost
 * next to nothing. Steps start on some of the rows, which are kept; from the place they lead to, two or three over the
 * whole log are enough, as each squares the error. The penalty is a normal prior of variance 1
 * on all but the first. Fit f has seen no row of clusters c with c % n_folds == f. Chances are bounded from below, so
 * that no row weighs more for want of labels than MOST_WEIGHT, or MOST_TIMES what a labelled row weighs on average
 * where that is more: where few rows are labelled their weights must be large, or sums over them come out too small.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/linalg/linalg.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward.h"

#define MOST_WEIGHT 100.0
#define MOST_TIMES  10.0
#define TOLERANCE   1e-6 /* of the last step, which leaves about its square to go */
#define MOST_STEP   3.0
enum {
    KEPT_ROWS = 32768,
    MOST_SLOTS = 256,
    MOST_ROUNDS = 60,
    MOST_FOLDS = 20,
    N_NUMBERS = 4,
    MOST_FILLED = 3 + N_NUMBERS
};

struct weirp_ope_labels {
    bool all; /* every row knows it */
    weir_metric metric;
    size_t n_folds, n_models, n_segments, d; /* slots of models and segments */
    int64_t last_ms;
    double least[MOST_FOLDS];                   /* chance that fit f may give */
    double centre[N_NUMBERS], scale[N_NUMBERS]; /* scale 0: unused */
    double *theta;                              /* (n_folds, d) */
};

typedef struct filled {
    uint32_t n, cluster;
    uint32_t column[MOST_FILLED]; /* ascending */
    bool is_known;
    double x[MOST_FILLED];
} filled;

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
    const size_t first = 1 + l->n_models, last = first + l->n_segments;
    *row = (filled){.n = 3, .cluster = b->cluster[i], .is_known = known(l, b, i), .x = {1, 1, 1}};
    row->column[1] = (uint32_t)(1 + b->chosen[i] % l->n_models);
    row->column[2] = (uint32_t)(first + b->segment[i] % l->n_segments);
    for (size_t k = 0; k < N_NUMBERS; k++) {
        if (!(l->scale[k] > 0) || !isfinite(x[k])) continue;
        row->column[row->n] = (uint32_t)(last + k);
        row->x[row->n++] = (x[k] - l->centre[k]) / l->scale[k];
    }
}

static double chance(const filled *row, const double *theta) {
    double t = 0;
    for (size_t k = 0; k < row->n; k++) t += row->x[k] * theta[row->column[k]];
    return t >= 0 ? 1 / (1 + exp(-t)) : exp(t) / (1 + exp(t));
}

/* ---- going over the log ---- */

typedef void (*block_fn)(void *context, const weirp_ope_block *b);

static weir_status each(const weirp_ope_table *table, block_fn fn, void *context, weir_error *err) {
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = weirp_scan_new(&scan, table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK) fn(context, &b);
    weirp_scan_free(scan);
    return st == WEIR_END ? WEIR_OK : st;
}

typedef struct look {
    weirp_ope_labels *l;
    double n, n_known, count[N_NUMBERS], sum[N_NUMBERS], square[N_NUMBERS];
    double fold_n[MOST_FOLDS], fold_known[MOST_FOLDS]; /* of the rows that a fit sees */
} look;

static bool sees(const weirp_ope_labels *l, size_t f, uint32_t cluster) {
    return l->n_folds == 1 || cluster % l->n_folds != f;
}

static void look_at(void *context, const weirp_ope_block *b) {
    look *k = context;
    for (size_t i = 0; i < b->n; i++) {
        double x[N_NUMBERS];
        if (!weirp_ope_is_decided(b, i)) continue;
        const bool is_known = known(k->l, b, i);
        k->n++, k->n_known += is_known;
        for (size_t f = 0; f < k->l->n_folds; f++)
            if (sees(k->l, f, b->cluster[i])) k->fold_n[f]++, k->fold_known[f] += is_known;
        numbers(k->l, b, i, x);
        for (size_t j = 0; j < N_NUMBERS; j++)
            if (isfinite(x[j])) k->count[j]++, k->sum[j] += x[j], k->square[j] += x[j] * x[j];
    }
}

typedef struct newton {
    weirp_ope_labels *l;
    double *hessian, *step;   /* (n_folds, d, d) upper; (n_folds, d) */
    double *last;             /* (n_folds, d) theta before the last step */
    double value[MOST_FOLDS]; /* penalised log-likelihood */
    double last_value[MOST_FOLDS];
    bool done[MOST_FOLDS];
    size_t every; /* of so many rows one is kept */
    filled *kept; /* (KEPT_ROWS) */
    size_t n_kept;
    filled *block; /* (WEIRP_BLOCK_ROWS) */
    const filled *rows;
    size_t n_rows;
    unsigned n_threads;
} newton;

/* Each fold's sums take the rows in order, whatever the number of threads. */
static void add_to_folds(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    newton *w = context;
    const weirp_ope_labels *l = w->l;
    for (size_t f = begin; f < end; f++) {
        double *h = w->hessian + f * l->d * l->d, *g = w->step + f * l->d;
        for (size_t i = 0; i < w->n_rows && !w->done[f]; i++) {
            const filled *row = &w->rows[i];
            if (!sees(l, f, row->cluster)) continue;
            const double p = chance(row, l->theta + f * l->d), v = p * (1 - p), gap = row->is_known - p;
            w->value[f] += log(fmax(row->is_known ? p : 1 - p, 1e-300));
            for (size_t s = 0; s < row->n; s++) {
                double *to = h + row->column[s] * l->d, x = v * row->x[s];
                g[row->column[s]] += gap * row->x[s];
                for (size_t t = s; t < row->n; t++) to[row->column[t]] += x * row->x[t];
            }
        }
    }
}

static void add_rows(newton *w, const filled *rows, size_t n) {
    w->rows = rows;
    w->n_rows = n;
    weirp_parallel(w->l->n_folds, 1, w->n_threads, add_to_folds, w);
}

static void add_block(void *context, const weirp_ope_block *b) {
    newton *w = context;
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (weirp_ope_is_decided(b, i)) fill(w->l, b, i, &w->block[n++]);
    add_rows(w, w->block, n);
}

/* By hash, so that a log with a rhythm isn't taken out of step. */
static void keep(void *context, const weirp_ope_block *b) {
    newton *w = context;
    for (size_t i = 0; i < b->n && w->n_kept < KEPT_ROWS; i++)
        if (weirp_ope_is_decided(b, i) && weirp_mix64(b->first + i) % w->every == 0)
            fill(w->l, b, i, &w->kept[w->n_kept++]);
}

/* Newton's step, or half the way back where the last one has overshot: far from the top the likelihood is no parabola,
 * and steps of such a size can go round for ever. */
static weir_status step(newton *w, size_t f, weir_error *err) {
    const size_t d = w->l->d;
    double *h = w->hessian + f * d * d, *g = w->step + f * d, *theta = w->l->theta + f * d, *last = w->last + f * d;
    double size = 0;
    for (size_t j = 0; j < d; j++) {
        const double penalty = j ? 1 : 1e-6;
        h[j * d + j] += penalty;
        g[j] -= penalty * theta[j];
        w->value[f] -= penalty * theta[j] * theta[j] / 2;
    }
    if (w->value[f] < w->last_value[f] - 1e-9 * fabs(w->last_value[f])) {
        for (size_t j = 0; j < d; j++) theta[j] = (theta[j] + last[j]) / 2;
        return WEIR_OK;
    }
    weir_status st = weirp_solve_spd(h, d, g, 1, err);
    if (st != WEIR_OK) return st;
    for (size_t j = 0; j < d; j++) size = fmax(size, fabs(g[j]));
    const double share = size > MOST_STEP ? MOST_STEP / size : 1;
    memcpy(last, theta, d * sizeof *last);
    w->last_value[f] = w->value[f];
    for (size_t j = 0; j < d; j++) theta[j] += share * g[j];
    w->done[f] = size < TOLERANCE;
    return WEIR_OK;
}

/* table NULL: over the kept rows. */
static weir_status step_all(newton *w, const weirp_ope_table *table, bool *moved, weir_error *err) {
    weirp_ope_labels *l = w->l;
    const size_t d = l->d;
    memset(w->value, 0, sizeof w->value);
    memset(w->hessian, 0, l->n_folds * d * d * sizeof *w->hessian);
    memset(w->step, 0, l->n_folds * d * sizeof *w->step);
    weir_status st = WEIR_OK;
    if (table)
        st = each(table, add_block, w, err);
    else
        add_rows(w, w->kept, w->n_kept);
    *moved = false;
    for (size_t f = 0; st == WEIR_OK && f < l->n_folds; f++) {
        if (w->done[f]) continue;
        st = step(w, f, err);
        *moved |= !w->done[f];
    }
    return st;
}

static weir_status climb(newton *w, const weirp_ope_table *table, weir_error *err) {
    bool moved = true;
    memset(w->done, 0, sizeof w->done);
    for (size_t f = 0; f < MOST_FOLDS; f++) w->last_value[f] = -INFINITY;
    for (int round = 0; round < MOST_ROUNDS && moved; round++) {
        weir_status st = step_all(w, table, &moved, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

static weir_status fit(weirp_ope_labels *l, const weirp_ope_table *table, const look *k, unsigned n_threads,
                       weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t n = weirp_ope_table_n(table);
    newton w = {.l = l, .n_threads = n_threads};
    w.every = n <= KEPT_ROWS ? 1 : n / (KEPT_ROWS - KEPT_ROWS / 32) + 1;
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
    w.last = weirp_array(l->n_folds * l->d, sizeof *w.last);
    w.kept = weirp_array(n < KEPT_ROWS ? n : KEPT_ROWS, sizeof *w.kept);
    w.block = weirp_array(WEIRP_BLOCK_ROWS, sizeof *w.block);
    if (!l->theta || !w.hessian || !w.step || !w.last || !w.kept || !w.block) WEIRP_TRY(weirp_nomem(err));
    for (size_t f = 0; f < l->n_folds; f++) {
        l->theta[f * l->d] = log((k->fold_known[f] + 0.5) / (k->fold_n[f] - k->fold_known[f] + 0.5));
        l->least[f] = 1 / MOST_WEIGHT;
        if (k->fold_known[f] > 0) l->least[f] = fmin(l->least[f], k->fold_known[f] / k->fold_n[f] / MOST_TIMES);
    }
    WEIRP_TRY(each(table, keep, &w, err));
    WEIRP_TRY(climb(&w, NULL, err));
    if (w.every > 1) WEIRP_TRY(climb(&w, table, err));
done:
    free(w.hessian);
    free(w.step);
    free(w.last);
    free(w.kept);
    free(w.block);
    return st;
}

weir_status weirp_ope_labels_fit(weirp_ope_labels **out, const weirp_ope_table *table, weir_metric metric,
                                 size_t n_folds, unsigned n_threads, weir_error *err) {
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
    l->last_ms = weirp_ope_table_last_ms(table);
    l->all = weirp_ope_table_known(table, metric) == weirp_ope_table_n_decided(table);
    look k = {.l = l};
    if (!l->all) {
        WEIRP_TRY(each(table, look_at, &k, err));
        l->all = k.n_known >= k.n;
    }
    if (!l->all) WEIRP_TRY(fit(l, table, &k, n_threads, err));
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
        const size_t f = block->cluster[i] % labels->n_folds;
        e[i] = fmax(labels->least[f], chance(&row, labels->theta + f * labels->d));
    }
}

void weirp_ope_labels_free(weirp_ope_labels *labels) {
    if (!labels) return;
    free(labels->theta);
    free(labels);
}

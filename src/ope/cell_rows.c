/* cell_rows.c: rows into columns: some at a time as plain arrays, then cluster by cluster.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "src/ope/cell_columns.h"

/* Rows that count, gathered from a block. */
typedef struct some {
    size_t n;
    uint32_t cluster[SOME_ROWS];
    double w[SOME_ROWS], balanced[SOME_ROWS], match[SOME_ROWS];
    double k[SOME_ROWS];               /* 1/e; 0 where the metric isn't known */
    double y[SOME_ROWS];               /* 0 there */
    double q[SOME_ROWS], v[SOME_ROWS]; /* the model's word for the chosen one, and for the candidate */
    double q_robust[SOME_ROWS], v_robust[SOME_ROWS];
    double column[N_COLUMNS][SOME_ROWS];
} some;

static double dot(const double *restrict a, const double *restrict b, size_t n) {
    double s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

/* In eight lanes, which compilers may do at once, as they may not reorder one sum. */
static double sum(const double *x, size_t n) {
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++) lane[k] += x[i + k];
    for (size_t k = 0; i < n; i++, k++) lane[k] += x[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* The candidate's chances on a row: false where it is undecided. *greatest is its greatest. */
static bool is_decided(const double *pi, size_t n, double *greatest) {
    double s = 0, most = 0;
    for (size_t a = 0; a < n; a++) {
        s += pi[a];
        most = pi[a] > most ? pi[a] : most;
    }
    *greatest = most;
    return !isnan(s);
}

static double not_balanced(weirp_cell *cell, const char *why) {
    if (!cell->unbalanced) cell->unbalanced = why;
    return 0;
}

/* pi / sum_l (n_l/n) p_l of the chosen model; 0 and a note where that can't be told. The row's own policy must have
 * given the chance that was logged: else the chances stand in another order than the policies, or are of others. */
static double balanced_weight(weirp_cell *cell, const weirp_ope_block *block, size_t i, double pi) {
    static const char missing[] = "the log doesn't tell the chances under each of its policies";
    const size_t n = cell->n_loggers;
    if (!cell->share || !block->by_logger || block->n_loggers != n) return not_balanced(cell, missing);
    const double *by = block->by_logger + i * n, p = dot(cell->share, by, n);
    if (!(p > 0)) return not_balanced(cell, missing);
    if (block->logger && !(block->logger[i] < n && fabs(by[block->logger[i]] - block->p[i]) <= 1e-6))
        return not_balanced(cell, "a row's chance isn't the one that its own logging policy is said to have given");
    return pi / p;
}

/* The candidate's mass where the log never looks, on rows that tell where they do. */
static void note_support(weirp_cell *cell, const double *propensity, const double *pi, size_t n, size_t chosen) {
    if (isnan(propensity[chosen])) return;
    double mass = 0;
    for (size_t a = 0; a < n; a++)
        if (!(propensity[a] > 0)) mass += pi[a];
    weirp_exact_add(&cell->unsupported, mass);
    cell->facts.n_full++;
}

static void take_row(weirp_cell *cell, some *s, const weirp_ope_block *block, const weirp_cell_input *input, size_t i) {
    const size_t m = block->n_models, at = s->n, a = block->chosen[i];
    const double *pi = input->pi + i * m, y = block->metric[i * WEIR_N_METRICS + cell->metric];
    const double e = input->e ? input->e[i] : 1;
    const bool known = !isnan(y);
    double most;
    if (!is_decided(pi, m, &most)) {
        cell->facts.n_undecided++;
        return;
    }
    if (input->left_out && input->left_out[i]) return;
    if (most < 1 - 1e-9) cell->drawn = true;
    s->n++;
    s->cluster[at] = block->cluster[i];
    s->w[at] = pi[a] / block->p[i];
    s->balanced[at] = balanced_weight(cell, block, i, pi[a]);
    s->match[at] = pi[a] > 0.5;
    s->k[at] = known ? 1 / e : 0;
    s->y[at] = known ? y : 0;
    s->q[at] = input->q ? input->q[i * m + a] : 0;
    s->v[at] = input->q ? dot(pi, input->q + i * m, m) : 0;
    s->q_robust[at] = input->q_robust ? input->q_robust[i * m + a] : 0;
    s->v_robust[at] = input->q_robust ? dot(pi, input->q_robust + i * m, m) : 0;
    weirp_cell_facts *f = &cell->facts;
    f->n++;
    f->n_known += known;
    f->max_w = fmax(f->max_w, s->w[at]);
    f->least_p = fmin(f->least_p, block->p[i]);
    f->least_e = fmin(f->least_e, e);
    cell->max_wk = fmax(cell->max_wk, s->w[at] * s->k[at]);
    if (block->propensity) note_support(cell, block->propensity + i * m, pi, m, a);
}

/* One sum of products over the gathered rows, of those that know the metric if `known`. */
static void add_product(weirp_exact *to, const some *s, const double *a, const double *b, bool known) {
    double t[SOME_ROWS];
    for (size_t i = 0; i < s->n; i++) t[i] = known && s->k[i] == 0 ? 0 : a[i] * (b ? b[i] : 1);
    weirp_exact_add(to, sum(t, s->n));
}

static void note_sums(weirp_cell *cell, const some *s) {
    add_product(&cell->sum_w, s, s->w, NULL, false);
    add_product(&cell->sum_w2, s, s->w, s->w, false);
    add_product(&cell->sum_wk2, s, s->column[COLUMN_A], s->column[COLUMN_A], false);
    add_product(&cell->sum_y, s, s->y, NULL, true);
    add_product(&cell->sum_y2, s, s->y, s->y, true);
    add_product(&cell->sum_q, s, s->q, NULL, true);
    add_product(&cell->sum_q2, s, s->q, s->q, true);
    add_product(&cell->sum_yq, s, s->y, s->q, true);
}

/* Changed weights times k of all rows: f (SOME_ROWS). All SOME_ROWS are gone over, so that the loops have a fixed
 * length; what is behind n is 0. */
static void change(const some *s, weirp_ope_change which, double lambda, double *restrict f) {
    const double *w = s->w, *k = s->k;
    switch (which) {
    case WEIRP_CHANGE_CLIP:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = (w[i] < lambda ? w[i] : lambda) * k[i];
        break;
    case WEIRP_CHANGE_SWITCH:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = (w[i] <= lambda ? w[i] : 0) * k[i];
        break;
    case WEIRP_CHANGE_SHRINK:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = lambda * w[i] / (w[i] * w[i] + lambda) * k[i];
        break;
    case WEIRP_CHANGE_SUBGAUSS:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = w[i] / (1 - lambda + lambda * w[i]) * k[i];
        break;
    case WEIRP_CHANGE_BALANCED:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = s->balanced[i] * k[i];
        break;
    case WEIRP_CHANGE_MATCH:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = s->match[i] * k[i];
        break;
    case WEIRP_CHANGE_NONE:
        for (size_t i = 0; i < SOME_ROWS; i++) f[i] = w[i] * k[i];
        break;
    }
}

static void times(double *restrict out, const double *restrict a, const double *restrict b) {
    for (size_t i = 0; i < SOME_ROWS; i++) out[i] = a[i] * b[i];
}

static void fill_columns(some *s) {
    double f[SOME_ROWS], gap[SOME_ROWS], gap_robust[SOME_ROWS];
    for (size_t i = 0; i < SOME_ROWS; i++) {
        gap[i] = s->y[i] - s->q[i];
        gap_robust[i] = s->y[i] - s->q_robust[i];
        s->column[COLUMN_N][i] = i < s->n;
    }
    memcpy(s->column[COLUMN_K], s->k, sizeof s->k);
    memcpy(s->column[COLUMN_V], s->v, sizeof s->v);
    memcpy(s->column[COLUMN_V_ROBUST], s->v_robust, sizeof s->v_robust);
    times(s->column[COLUMN_Y], s->k, s->y);
    change(s, WEIRP_CHANGE_NONE, 0, s->column[COLUMN_A]);
    times(s->column[COLUMN_B], s->column[COLUMN_A], s->y);
    times(s->column[COLUMN_D], s->column[COLUMN_A], gap);
    times(s->column[COLUMN_D_ROBUST], s->column[COLUMN_A], gap_robust);
    change(s, WEIRP_CHANGE_MATCH, 0, s->column[COLUMN_MATCH_A]);
    times(s->column[COLUMN_MATCH_B], s->column[COLUMN_MATCH_A], s->y);
    change(s, WEIRP_CHANGE_BALANCED, 0, f);
    times(s->column[COLUMN_B_BALANCED], f, s->y);
    times(s->column[COLUMN_D_BALANCED], f, gap);
    for (size_t l = 0; l < N_LAMBDAS; l++) {
        const double lambda = weirp_cell_lambdas[l];
        change(s, WEIRP_CHANGE_CLIP, lambda, f);
        times(s->column[COLUMN_B_CLIP + l], f, s->y);
        times(s->column[COLUMN_D_CLIP + l], f, gap);
        change(s, WEIRP_CHANGE_SWITCH, lambda, f);
        times(s->column[COLUMN_D_SWITCH + l], f, gap);
        change(s, WEIRP_CHANGE_SHRINK, lambda, f);
        times(s->column[COLUMN_D_SHRINK + l], f, gap);
    }
    for (size_t l = 0; l < N_SUBGAUSS; l++) {
        change(s, WEIRP_CHANGE_SUBGAUSS, weirp_cell_subgauss[l], f);
        times(s->column[COLUMN_B_SUBGAUSS + l], f, s->y);
        times(s->column[COLUMN_D_SUBGAUSS + l], f, gap);
    }
}

/* Moments of the rows' terms. */
static void note_moments(weirp_cell *cell, const some *s) {
    for (size_t c = COLUMN_V; c < N_COLUMNS; c++) {
        const double *x = s->column[c];
        const double *plus = c >= COLUMN_D ? s->v : c == COLUMN_D_ROBUST ? s->v_robust : NULL;
        double t[SOME_ROWS], square[SOME_ROWS];
        for (size_t i = 0; i < s->n; i++) t[i] = plus ? plus[i] + x[i] : x[i];
        if (!cell->shifted) cell->shift[c] = sum(t, s->n) / (double)s->n;
        const double shift = cell->shift[c];
        for (size_t i = 0; i < s->n; i++) {
            t[i] -= shift;
            square[i] = t[i] * t[i];
        }
        cell->moment[c] += sum(t, s->n);
        cell->moment2[c] += sum(square, s->n);
    }
    cell->shifted = true;
}

static void flush(weirp_cell *cell, weirp_sums *sums, some *s) {
    if (!s->n) return;
    /* What is left of earlier rows behind n must not count, nor be anything but a number. */
    for (size_t i = s->n; i < SOME_ROWS; i++)
        s->w[i] = s->balanced[i] = s->match[i] = s->k[i] = s->y[i] = s->q[i] = s->v[i] = s->q_robust[i] =
            s->v_robust[i] = 0;
    fill_columns(s);
    note_sums(cell, s);
    note_moments(cell, s);
    for (size_t i = 0; i < s->n; i++) {
        double *x = sums->x + s->cluster[i] % sums->n_clusters * sums->n_columns + cell->first_column;
        for (size_t c = 0; c < N_COLUMNS; c++) x[c] += s->column[c][i];
    }
    s->n = 0;
}

void weirp_cell_add(weirp_cell *cell, weirp_sums *sums, const weirp_ope_block *block, const weirp_cell_input *input) {
    some s;
    s.n = 0;
    cell->has_q |= input->q != NULL;
    for (size_t i = 0; i < block->n; i++) {
        if (!weirp_ope_is_decided(block, i)) continue;
        take_row(cell, &s, block, input, i);
        if (s.n == SOME_ROWS) flush(cell, sums, &s);
    }
    flush(cell, sums, &s);
}

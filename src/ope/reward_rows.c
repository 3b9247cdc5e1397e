/* reward_rows.c: which rows a fit may use, and several fits going over them together.
 *
 * Weights of "more robust" fits: of the doubly robust estimate's variance, what the model can change is
 *     E_x d' (diag(1/p) - e e') d,    d_a = pi_a (Q_a - q_a)
 * (Farajtabar, Chow, Ghavamzadeh, arXiv 1802.03493, section 3; Q is the truth). Its diagonal, which is all of it where
 * the target is deterministic, is the expectation over logged rows of pi^2 (1 - p) / p^2 (y - q)^2: least squares with
 * that weight. What is left out are products of different models' errors, which a model can't trade against each other
 * by rows. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>

#include "src/linalg/parallel.h"
#include "src/ope/reward_parts.h"

static bool usable(const weirp_ope_block *b, size_t i, weir_metric metric) {
    return weirp_ope_is_decided(b, i) && isfinite(b->metric[i * WEIR_N_METRICS + metric]);
}

/* NAN, or 0: the row doesn't count. */
static double robust_weight(const weirp_ope_block *b, size_t i, const double *pi) {
    double share = pi[i * b->n_models + b->chosen[i]] / b->p[i];
    return share * share * (1 - b->p[i]);
}

/* One block for all passes. */
typedef struct going {
    const weirp_reward_pass *pass;
    size_t n;
    const weirp_ope_block *block;
    weirp_reward_rows *rows; /* (n_threads) */
    double **pi;             /* (n) chances of the pass's target; shared where it is the same one */
} going;

static void gather(const weirp_reward_pass *pass, const weirp_ope_block *b, const double *pi, weirp_reward_rows *rows) {
    rows->block = b;
    rows->n = 0;
    for (size_t i = 0; i < b->n; i++) {
        double w = pi ? robust_weight(b, i, pi) * pass->frame->norm : 1;
        if (!usable(b, i, pass->frame->metric) || !(w > 0) || !isfinite(w)) continue;
        rows->row[rows->n] = (uint16_t)i;
        rows->part[rows->n] = (uint8_t)(b->cluster[i] % pass->frame->folds.n_parts);
        rows->w[rows->n] = w;
        rows->y[rows->n++] = b->metric[i * WEIR_N_METRICS + pass->frame->metric];
    }
}

static void go(void *context, unsigned worker, size_t begin, size_t end) {
    const going *g = context;
    for (size_t k = begin; k < end; k++) {
        gather(&g->pass[k], g->block, g->pi[k], &g->rows[worker]);
        g->pass[k].fn(g->pass[k].context, &g->rows[worker]);
    }
}

/* The first pass with this one's target: whose chances it shares. */
static size_t first_like(const going *g, size_t k) {
    size_t first = 0;
    while (g->pass[first].robust_for != g->pass[k].robust_for) first++;
    return first;
}

static weir_status make_going(going *g, unsigned n_threads, weir_error *err) {
    g->rows = weirp_array(n_threads, sizeof *g->rows);
    g->pi = weirp_array(g->n, sizeof *g->pi);
    if (!g->rows || !g->pi) return weirp_nomem(err);
    for (size_t k = 0; k < g->n; k++) {
        const size_t first = first_like(g, k);
        if (!g->pass[k].robust_for) continue;
        g->pi[k] =
            first < k ? g->pi[first] : weirp_array(WEIRP_BLOCK_ROWS * g->pass[k].frame->n_models, sizeof(double));
        if (!g->pi[k]) return weirp_nomem(err);
    }
    return WEIR_OK;
}

weir_status weirp_reward_each_of(const weirp_reward_pass *passes, size_t n, unsigned n_threads, weir_error *err) {
    going g = {.pass = passes, .n = n};
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    size_t n_undecided = 0;
    weir_status st;
    if (n_threads < 1) n_threads = 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    if (!n) return WEIR_OK;
    WEIRP_TRY(make_going(&g, n_threads, err));
    WEIRP_TRY(weirp_scan_new(&scan, passes->frame->table, err));
    while ((st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        for (size_t k = 0; k < n; k++)
            if (passes[k].robust_for && first_like(&g, k) == k)
                WEIRP_TRY(weirp_ope_target_fill(passes[k].robust_for, &b, g.pi[k], &n_undecided, err));
        g.block = &b;
        weirp_parallel(n, 1, n_threads, go, &g);
    }
    if (st == WEIR_END) st = WEIR_OK;
done:
    weirp_scan_free(scan);
    for (size_t k = 0; g.pi && k < n; k++)
        if (first_like(&g, k) == k) free(g.pi[k]);
    free(g.pi);
    free(g.rows);
    return st;
}

weir_status weirp_reward_each(const weirp_reward_frame *frame, weirp_ope_target *robust_for, weirp_reward_rows_fn fn,
                              void *context, weir_error *err) {
    const weirp_reward_pass pass = {frame, robust_for, fn, context};
    return weirp_reward_each_of(&pass, 1, 1, err);
}

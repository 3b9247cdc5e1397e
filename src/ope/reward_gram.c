/* reward_gram.c: one pass over the rows into normal equations, a part and model each: after it the log's length no
 * longer matters. Rows wait until there are enough of them for a level-3 product. Sums of a part and model take its
 * rows in the log's order whatever the number of threads. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "src/linalg/parallel.h"
#include "src/ope/reward_parts.h"

enum { BUFFER = 64 };

static size_t bytes(const weirp_reward_folds *folds, size_t n_models, size_t d) {
    return folds->n_parts * n_models * (d * d + d * (BUFFER + 2)) * sizeof(double);
}

size_t weirp_reward_gram_bytes(const weirp_reward_frame *frame) {
    return bytes(&frame->folds, frame->n_models, weirp_reward_d(frame));
}

size_t weirp_reward_gram_most_dense(const weirp_reward_folds *folds, size_t n_models) {
    size_t d = WEIRP_Z_DENSE;
    while (d < 16384 && bytes(folds, n_models, d + 1) <= WEIRP_REWARD_GRAM_BYTES) d++;
    return d - WEIRP_Z_DENSE;
}

weir_status weirp_reward_gram_init(weirp_reward_gram *g, const weirp_reward_frame *frame, weir_error *err) {
    size_t groups = frame->folds.n_parts * frame->n_models, d = weirp_reward_d(frame);
    *g = (weirp_reward_gram){.frame = frame, .d = d};
    g->a = weirp_array(groups * d * d, sizeof *g->a);
    g->s = weirp_array(groups * WEIRP_N_SCALES * d, sizeof *g->s);
    g->yy = weirp_array(groups * WEIRP_N_SCALES, sizeof *g->yy);
    g->z = weirp_array(groups * BUFFER * d, sizeof *g->z);
    g->zy = weirp_array(groups * BUFFER * WEIRP_N_SCALES, sizeof *g->zy);
    g->n = weirp_array(groups, sizeof *g->n);
    if (g->a && g->s && g->yy && g->z && g->zy && g->n) return WEIR_OK;
    weirp_reward_gram_free(g);
    return weirp_nomem(err);
}

void weirp_reward_gram_free(weirp_reward_gram *g) {
    free(g->a);
    free(g->s);
    free(g->yy);
    free(g->z);
    free(g->zy);
    free(g->n);
    memset(g, 0, sizeof *g);
}

static double hat(const weirp_reward_frame *o, int k, double x) {
    return o->hat[k][1] > 0 && isfinite(x) ? (x - o->hat[k][0]) / o->hat[k][1] : 0;
}

bool weirp_reward_z(const weirp_reward_frame *o, const weirp_ope_block *b, size_t i, size_t m, double *z) {
    double q = b->quality_hat ? b->quality_hat[i * b->n_models + m] : NAN;
    double c = b->cost_hat ? b->cost_hat[i * b->n_models + m] : NAN;
    z[WEIRP_Z_ONE] = 1;
    z[WEIRP_Z_QUALITY] = hat(o, 0, q);
    z[WEIRP_Z_COST] = hat(o, 1, c);
    z[WEIRP_Z_LOG_COST] = hat(o, 2, log(c + WEIRP_COST_SHIFT));
    if (!o->dim || !b->dense) return !o->dim;
    const float *x = b->dense + i * b->dim;
    double sum = 0;
    for (size_t j = 0; j < o->dim; j++) {
        z[WEIRP_Z_DENSE + j] = ((double)x[j] - o->centre[j]) / o->scale;
        sum += z[WEIRP_Z_DENSE + j];
    }
    return isfinite(sum);
}

static void flush(weirp_reward_gram *g, size_t group) {
    size_t d = g->d, n = g->n[group];
    const double *z = g->z + group * BUFFER * d, *zy = g->zy + group * BUFFER * WEIRP_N_SCALES;
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)d, (int)n, 1, z, (int)d, 1, g->a + group * d * d, (int)d);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, WEIRP_N_SCALES, (int)d, (int)n, 1, zy, WEIRP_N_SCALES, z,
                (int)d, 1, g->s + group * WEIRP_N_SCALES * d, (int)d);
    for (size_t k = 0; k < n * WEIRP_N_SCALES; k++) g->yy[group * WEIRP_N_SCALES + k % WEIRP_N_SCALES] += zy[k] * zy[k];
    g->n[group] = 0;
}

static void add_row(weirp_reward_gram *g, const weirp_reward_rows *rows, size_t k, size_t group) {
    const weirp_reward_frame *o = g->frame;
    size_t i = rows->row[k], at = group * BUFFER + g->n[group];
    double *z = g->z + at * g->d, root = sqrt(rows->w[k]);
    if (!weirp_reward_z(o, rows->block, i, rows->block->chosen[i], z)) return;
    for (size_t j = 0; j < g->d; j++) z[j] *= root;
    g->zy[at * WEIRP_N_SCALES + WEIRP_SCALE_RAW] = root * rows->y[k];
    g->zy[at * WEIRP_N_SCALES + WEIRP_SCALE_LOG] = root * log(fmax(rows->y[k], 0) + o->log_shift);
    if (++g->n[group] == BUFFER) flush(g, group);
}

typedef struct adding {
    weirp_reward_gram *g;
    const weirp_reward_rows *rows;
    unsigned n_threads;
} adding;

static void add_share(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    adding *a = context;
    size_t models = a->g->frame->n_models;
    for (size_t share = begin; share < end; share++)
        for (size_t k = 0; k < a->rows->n; k++) {
            size_t m = a->rows->block->chosen[a->rows->row[k]], part = a->rows->part[k];
            if ((m + part) % a->n_threads == share) add_row(a->g, a->rows, k, part * models + m);
        }
}

void weirp_reward_gram_add(weirp_reward_gram *g, const weirp_reward_rows *rows) {
    unsigned n = g->d > 16 ? g->frame->pass_threads : 1; /* small rows aren't worth a thread */
    adding a = {g, rows, n};
    weirp_parallel(n, 1, n, add_share, &a);
}

void weirp_reward_gram_settle(weirp_reward_gram *g) {
    size_t groups = g->frame->folds.n_parts * g->frame->n_models, d = g->d;
    for (size_t k = 0; k < groups; k++) {
        if (g->n[k]) flush(g, k);
        double *a = g->a + k * d * d;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < i; j++) a[i * d + j] = a[j * d + i];
    }
    free(g->z);
    free(g->zy);
    g->z = g->zy = NULL;
}

/* reward_sample.c: taking rows into memory. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/reward_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COPIES = 8 };
#define STREAM 0x6f70652d726f7773u /* "ope-rows" */

typedef struct taking {
    weirp_reward_sample *s;
    const weirp_reward_frame *frame;
    double share; /* of the rows that is taken */
    size_t most;
    bool raw, failed;
} taking;

static bool grow(weirp_reward_sample *s, size_t most, bool raw) {
    size_t want = s->capacity ? 2 * s->capacity : 1024;
    if (want > most) want = most;
    uint32_t *chosen = realloc(s->chosen, want * sizeof *chosen);
    if (chosen) s->chosen = chosen;
    uint8_t *part = realloc(s->part, want * sizeof *part);
    if (part) s->part = part;
    double *y = realloc(s->y, want * sizeof *y);
    if (y) s->y = y;
    double *w = realloc(s->w, want * sizeof *w);
    if (w) s->w = w;
    void *x = raw ? realloc(s->dense, want * s->dim * sizeof *s->dense) : realloc(s->z, want * s->d * sizeof *s->z);
    if (x && raw) s->dense = x;
    if (x && !raw) s->z = x;
    if (!chosen || !part || !y || !w || !x) return false;
    s->capacity = want;
    return true;
}

static void take_row(taking *t, const weirp_reward_rows *rows, size_t k, double weight) {
    weirp_reward_sample *s = t->s;
    const weirp_ope_block *b = rows->block;
    size_t i = rows->row[k];
    if (s->n == t->most || t->failed) return;
    if (s->n == s->capacity && !grow(s, t->most, t->raw)) {
        t->failed = true;
        return;
    }
    if (t->raw) {
        if (!b->dense) return;
        const float *x = b->dense + i * b->dim;
        for (size_t j = 0; j < s->dim; j++)
            if (!isfinite(x[j])) return;
        memcpy(s->dense + s->n * s->dim, x, s->dim * sizeof *x);
    } else if (!weirp_reward_z(t->frame, b, i, b->chosen[i], s->z + s->n * s->d)) {
        return;
    }
    s->chosen[s->n] = b->chosen[i];
    s->part[s->n] = rows->part[k];
    s->y[s->n] = rows->y[k];
    s->w[s->n++] = weight;
}

static void take(void *context, const weirp_reward_rows *rows) {
    taking *t = context;
    for (size_t k = 0; k < rows->n; k++) {
        uint64_t number = rows->block->first + rows->row[k];
        double want = t->share * (t->raw ? rows->w[k] : 1);
        double copies = floor(want + weirp_random_uniform(t->frame->seed, STREAM, number));
        if (copies > MOST_COPIES) copies = MOST_COPIES;
        if (!t->raw && copies > 1) copies = 1;
        for (int c = 0; c < (int)copies; c++) take_row(t, rows, k, t->raw ? 1 : rows->w[k]);
    }
}

weir_status weirp_reward_sample_take(weirp_reward_sample *s, const weirp_reward_frame *frame,
                                     weirp_ope_target *robust_for, size_t most, bool raw, weir_error *err) {
    size_t known = weirp_ope_table_known(frame->table, frame->metric);
    *s = (weirp_reward_sample){.dim = frame->dim, .d = weirp_reward_d(frame)};
    taking t = {.s = s, .frame = frame, .most = most, .raw = raw};
    /* a few rows less than there is room for, so that none is left out for standing at the end */
    t.share = known > most ? (double)most * 0.98 / (double)known : 1;
    weir_status st = weirp_reward_each(frame, robust_for, take, &t, err);
    if (st == WEIR_OK && t.failed) st = weirp_nomem(err);
    if (st != WEIR_OK) weirp_reward_sample_free(s);
    return st;
}

void weirp_reward_sample_free(weirp_reward_sample *s) {
    free(s->chosen);
    free(s->part);
    free(s->y);
    free(s->w);
    free(s->dense);
    free(s->z);
    *s = (weirp_reward_sample){0};
}

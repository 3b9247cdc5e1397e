/* reward_table.c: means of segments and models, q = (sum + prior mu) / (n + prior): a cell without rows is the overall
 * mean mu, one with many is its own. Segments past SLOTS share cells by number, so that memory is bounded.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/reward_parts.h"

enum { MOST_CELLS = 1 << 21 }; /* of all parts together */

typedef struct cell {
    double n, sum;
} cell;

struct weirp_reward_table {
    const weirp_reward_frame *frame;
    bool deep;
    size_t n_slots;
    cell *cells; /* (n_parts, n_slots, n_models) */
    double *q;   /* (n_fits, n_slots, n_models) */
};

weir_status weirp_reward_table_new(weirp_reward_table **out, const weirp_reward_frame *frame, bool deep,
                                   weir_error *err) {
    weirp_reward_table *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    size_t fits = weirp_reward_n_fits(&frame->folds);
    t->frame = frame;
    t->deep = deep;
    t->n_slots = MOST_CELLS / (fits * frame->n_models);
    if (t->n_slots > frame->n_segments) t->n_slots = frame->n_segments;
    if (t->n_slots < 1) t->n_slots = 1;
    t->cells = weirp_array(frame->folds.n_parts * t->n_slots * frame->n_models, sizeof *t->cells);
    t->q = weirp_array(fits * t->n_slots * frame->n_models, sizeof *t->q);
    if (!t->cells || !t->q) {
        weirp_reward_table_free(t);
        return weirp_nomem(err);
    }
    *out = t;
    return WEIR_OK;
}

void weirp_reward_table_free(weirp_reward_table *t) {
    if (!t) return;
    free(t->cells);
    free(t->q);
    free(t);
}

void weirp_reward_table_add(weirp_reward_table *t, const weirp_reward_rows *rows) {
    const weirp_ope_block *b = rows->block;
    for (size_t k = 0; k < rows->n; k++) {
        size_t i = rows->row[k], slot = b->segment[i] % t->n_slots;
        cell *c = &t->cells[(rows->part[k] * t->n_slots + slot) * b->n_models + b->chosen[i]];
        c->n += rows->w[k];
        c->sum += rows->w[k] * rows->y[k];
    }
}

static double drawn(cell c, double towards, double prior) {
    double n = c.n + prior;
    return n > 0 ? (c.sum + prior * towards) / n : towards;
}

static void solve_fit(weirp_reward_table *t, size_t fit, cell *own, cell *seen) {
    const weirp_reward_frame *o = t->frame;
    size_t n_cells = t->n_slots * o->n_models;
    double *q = t->q + fit * n_cells;
    cell all = {0};
    memset(own, 0, o->n_models * sizeof *own);
    memset(seen, 0, n_cells * sizeof *seen);
    for (size_t p = 0; p < o->folds.n_parts; p++) {
        if (!weirp_reward_sees(&o->folds, fit, p)) continue;
        for (size_t k = 0; k < n_cells; k++) {
            cell c = t->cells[p * n_cells + k];
            seen[k].n += c.n, seen[k].sum += c.sum;
        }
    }
    for (size_t k = 0; k < n_cells; k++) {
        own[k % o->n_models].n += seen[k].n, own[k % o->n_models].sum += seen[k].sum;
        all.n += seen[k].n, all.sum += seen[k].sum;
    }
    double mu = all.n > 0 ? all.sum / all.n : 0;
    for (size_t k = 0; k < n_cells; k++) {
        double towards = t->deep ? drawn(own[k % o->n_models], mu, o->prior) : mu;
        q[k] = t->deep && t->n_slots == 1 ? towards : drawn(seen[k], towards, o->prior);
    }
}

weir_status weirp_reward_table_solve(weirp_reward_table *t, weir_error *err) {
    cell *own = weirp_array(t->frame->n_models, sizeof *own);
    cell *seen = weirp_array(t->n_slots * t->frame->n_models, sizeof *seen);
    weir_status st = own && seen ? WEIR_OK : weirp_nomem(err);
    for (size_t fit = 0; st == WEIR_OK && fit < weirp_reward_n_fits(&t->frame->folds); fit++)
        solve_fit(t, fit, own, seen);
    free(own);
    free(seen);
    return st;
}

double weirp_reward_table_predict(const weirp_reward_table *t, size_t fit, size_t segment, size_t model) {
    return t->q[(fit * t->n_slots + segment % t->n_slots) * t->frame->n_models + model];
}

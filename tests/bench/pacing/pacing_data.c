/* pacing_data.c: estimates and outcomes of prompts, and what hindsight makes of them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "tests/bench/pacing/pacing.h"
#include "weir/router.h"

static int by_value(const void *left, const void *right) {
    const edge *a = left, *b = right;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return (a->prompt > b->prompt) - (a->prompt < b->prompt);
}

static void make_walk(const table *t, walk *w, const double *q, const double *c) {
    const size_t m = t->n_models;
    w->edges = weirp_array(t->n * m, sizeof *w->edges);
    w->start = weirp_array(t->n * 4, sizeof *w->start);
    for (size_t i = 0; i < t->n; i++) {
        const size_t row = i * m;
        size_t at = row;
        for (size_t j = row; j < row + m; j++)
            if (c[j] < c[at] || (c[j] == c[at] && q[j] > q[at])) at = j;
        const double first[4] = {t->q_hat[at], t->c_hat[at], t->q[at], t->c[at]};
        memcpy(w->start + 4 * i, first, sizeof first);
        for (;;) {
            size_t to = at;
            double least = INFINITY;
            for (size_t j = row; j < row + m; j++) {
                if (!(q[j] > q[at])) continue;
                const double slope = (c[j] - c[at]) / (q[j] - q[at]);
                if (slope < least || (slope == least && q[j] > q[to])) least = slope, to = j;
            }
            if (to == at) break;
            w->edges[w->n_edges++] = (edge){.value = least,
                                            .prompt = (uint32_t)i,
                                            .d_q_hat = t->q_hat[to] - t->q_hat[at],
                                            .d_c_hat = t->c_hat[to] - t->c_hat[at],
                                            .d_q = t->q[to] - t->q[at],
                                            .d_c = t->c[to] - t->c[at]};
            at = to;
        }
    }
    qsort(w->edges, w->n_edges, sizeof *w->edges, by_value);
}

static bool complete(const weir_dataset *d, size_t i) {
    for (size_t m = 0; m < d->n_models; m++)
        if (isnan(d->quality[i * d->n_models + m]) || isnan(d->cost_usd[i * d->n_models + m])) return false;
    return true;
}

static bool fail(const weir_error *err) {
    fprintf(stderr, "pacing_bench: %s\n", err->text);
    return false;
}

bool table_load(table *t, const char *store, const char *path) {
    weir_error err = {0};
    weir_dataset *d = NULL;
    weir_router *router = NULL;
    weir_session *session = NULL;
    if (weir_dataset_load(&d, &path, 1, &(weir_reader_options){0}, &err) != WEIR_OK ||
        weir_router_open(&router, store, &err) != WEIR_OK || weir_session_new(&session, router, &err) != WEIR_OK)
        return fail(&err);
    const size_t m = d->n_models, cells = d->n_prompts * m;
    *t = (table){.n_models = m,
                 .q_hat = weirp_array(cells, sizeof(double)),
                 .c_hat = weirp_array(cells, sizeof(double)),
                 .q = weirp_array(cells, sizeof(double)),
                 .c = weirp_array(cells, sizeof(double))};
    for (size_t i = 0; i < d->n_prompts; i++) {
        if (!complete(d, i)) continue;
        const weir_estimates *e;
        if (weir_estimate(session, d->prompts[i], d->prompt_lens[i], &e, &err) != WEIR_OK) return fail(&err);
        for (size_t j = 0; j < m; j++) {
            const size_t cell = t->n * m + j, model = weir_router_find_model(router, d->model_names[j]);
            if (model == (size_t)-1) {
                fprintf(stderr, "pacing_bench: the store doesn't know %s\n", d->model_names[j]);
                return false;
            }
            t->q_hat[cell] = e->quality[model], t->c_hat[cell] = e->cost_usd[model];
            t->q[cell] = d->quality[i * m + j], t->c[cell] = d->cost_usd[i * m + j];
        }
        t->n++;
    }
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(d);
    make_walk(t, &t->by_estimate, t->q_hat, t->c_hat);
    make_walk(t, &t->by_outcome, t->q, t->c);
    return t->n > 0;
}

void table_free(table *t) {
    free(t->q_hat), free(t->c_hat), free(t->q), free(t->c);
    free(t->by_estimate.edges), free(t->by_estimate.start);
    free(t->by_outcome.edges), free(t->by_outcome.start);
}

/* With requests that may be dropped: each prompt's way begins at nothing for nothing. Rare, so it's built anew. */
typedef struct drop {
    double slope, q, c;
    uint32_t count;
} drop;

static int by_slope(const void *left, const void *right) {
    const drop *a = left, *b = right;
    return (a->slope > b->slope) - (a->slope < b->slope);
}

/* Only reached where the cheapest models can't all be paid for: the requests with the most quality for their cheapest
 * model's cost come first. */
static double best_dropping(const table *t, const walk *w, const uint32_t *count, int quality_of, int spend_of,
                            double spend) {
    drop *d = weirp_array(t->n, sizeof *d);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const double q = w->start[4 * i + 2 * quality_of], c = w->start[4 * i + 2 * spend_of + 1];
        if (count[i]) d[n++] = (drop){.slope = q > 0 ? c / q : INFINITY, .q = q, .c = c, .count = count[i]};
    }
    qsort(d, n, sizeof *d, by_slope);
    double got = 0;
    for (size_t i = 0; i < n && spend > 0; i++) {
        const double all = d[i].c * d[i].count, part = all > spend ? spend / all : 1;
        got += part * d[i].q * d[i].count;
        spend -= part * all;
    }
    free(d);
    return got;
}

double best_quality(const table *t, const walk *w, const uint32_t *count, int quality_of, int spend_of, double spend,
                    bool *dropped) {
    double q = 0, c = 0;
    for (size_t i = 0; i < t->n; i++) {
        q += count[i] * w->start[4 * i + 2 * quality_of];
        c += count[i] * w->start[4 * i + 2 * spend_of + 1];
    }
    if (c > spend * (1 + 1e-9)) {
        *dropped = true;
        return best_dropping(t, w, count, quality_of, spend_of, spend);
    }
    double best = q;
    for (size_t i = 0; i < w->n_edges; i++) { /* judged by the other set, the way may go down and come back */
        const edge *e = &w->edges[i];
        const double n = count[e->prompt];
        if (n == 0) continue;
        const double dq = n * (quality_of ? e->d_q : e->d_q_hat), dc = n * (spend_of ? e->d_c : e->d_c_hat);
        if (c <= spend && c + dc > spend) best = fmax(best, q + dq * (spend - c) / dc);
        q += dq, c += dc;
        if (c <= spend) best = fmax(best, q);
    }
    return best;
}

void spend_range(const table *t, const uint32_t *count, double *least, double *most) {
    const walk *w = &t->by_estimate;
    *least = 0;
    for (size_t i = 0; i < t->n; i++) *least += count[i] * w->start[4 * i + 3];
    *most = *least;
    for (size_t i = 0; i < w->n_edges; i++) *most += count[w->edges[i].prompt] * w->edges[i].d_c;
}

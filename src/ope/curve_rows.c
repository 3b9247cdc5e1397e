/* curve_rows.c: a curve's rows into sums: every row decided at every setting, and added to every point.
 *
 * A block's rows are decided by several threads, each with a target of its own, and each row at all settings at once.
 * Then threads share out the points, for each of which rows come in the log's order: so that the sums have the same
 * bits with any number of threads. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/parallel.h"
#include "src/ope/curve_parts.h"

/* What is worth handing to a thread, at least: rows to decide, points to add to. */
enum { SOME_ROWS = 64, SOME_POINTS = 16, MOST_WORKERS = WEIRP_BLOCK_ROWS / SOME_ROWS };

const weir_metric weirp_curve_metric[WEIRP_CURVE_AXES] = {WEIR_METRIC_QUALITY, WEIR_METRIC_COST};

/* Sums over rows of one kind of weight, of each point. */
typedef struct weights {
    double *sum, *squares, *most; /* (n_points) */
} weights;

/* What a row of the block is to all points. */
typedef struct row {
    bool taken, left_out; /* left out: some setting is undecided, so that all are paired */
    bool unsupported;     /* at some setting */
    uint16_t begin, end;  /* settings outside have a weight of 0 */
    double gap[WEIRP_CURVE_AXES], known[WEIRP_CURVE_AXES]; /* outcome less prediction; 1/e, or 0: not known */
} row;

struct weirp_curve_rows {
    const weirp_judging *j;
    const weirp_curve_points *points;
    size_t n_knobs, n_singles, n_clusters;
    size_t first, n; /* points of this way through the rows */
    weirp_sums sums;
    weirp_cell_facts same[WEIRP_CURVE_AXES]; /* what is the same of all points */
    double *numbers;                         /* what the following point into */
    weights w, wk[WEIRP_CURVE_AXES];         /* of pi/p, and of pi/p/e where the metric is known */
    double *unsupported;                     /* (n_points) */
    size_t *single_of;                       /* (n_models) place among the single models; (size_t)-1: none */
    /* one block's worth: (WEIRP_BLOCK_ROWS, n_knobs) */
    double *at_w, *at_v[WEIRP_CURVE_AXES], *at_unsupported;
    row *row; /* (WEIRP_BLOCK_ROWS) */
    unsigned n_workers;
    struct worker {
        weirp_ope_target *target;
        size_t failed_at; /* row */
        weir_status status;
        weir_error error;
    } worker[MOST_WORKERS];
};

/* ---- deciding ---- */

typedef struct task {
    weirp_curve_rows *r;
    const weirp_ope_block *block;
} task;

/* A row that is being decided. */
typedef struct deciding {
    weirp_curve_rows *r;
    row *row;
    size_t i, chosen, n_models;
    double p;
    const double *all_p;               /* (n_models) NULL: only the chosen one's is logged */
    const double *q[WEIRP_CURVE_AXES]; /* (n_models) */
} deciding;

static void note(void *context, size_t begin, size_t end, const double *pi, size_t sure) {
    const deciding *d = context;
    const weirp_curve_rows *r = d->r;
    double w = 0, unsupported = 0, v[WEIRP_CURVE_AXES] = {0};
    if (!pi && sure == WEIRP_NOT_SURE) {
        d->row->left_out = true;
        return;
    }
    if (!pi) {
        w = sure == d->chosen ? 1 / d->p : 0;
        v[0] = d->q[0][sure];
        v[1] = d->q[1][sure];
        unsupported = d->all_p && !(d->all_p[sure] > 0);
    }
    for (size_t a = 0; pi && a < d->n_models; a++) {
        if (!(pi[a] > 0)) continue;
        v[0] += pi[a] * d->q[0][a];
        v[1] += pi[a] * d->q[1][a];
        if (d->all_p && !(d->all_p[a] > 0)) unsupported += pi[a];
    }
    if (pi) w = pi[d->chosen] / d->p;
    const size_t at = d->i * r->n_knobs;
    for (size_t k = at + begin; k < at + end; k++) {
        r->at_w[k] = w;
        r->at_v[0][k] = v[0];
        r->at_v[1][k] = v[1];
        r->at_unsupported[k] = unsupported;
    }
    if (unsupported > 0) d->row->unsupported = true;
    if (!(w > 0)) return;
    if (!d->row->end) d->row->begin = (uint16_t)begin;
    d->row->end = (uint16_t)end;
}

static weir_status decide(weirp_curve_rows *r, weirp_ope_target *target, const weirp_ope_block *b, size_t i,
                          weir_error *err) {
    const weirp_judging *j = r->j;
    const size_t m = b->n_models, chosen = b->chosen[i];
    row *x = &r->row[i];
    deciding d = {.r = r, .row = x, .i = i, .chosen = chosen, .n_models = m, .p = b->p[i]};
    *x = (row){.taken = false};
    if (!weirp_ope_is_decided(b, i)) return WEIR_OK;
    if (b->propensity && !isnan(b->propensity[i * m + chosen])) d.all_p = b->propensity + i * m;
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++) {
        const weir_metric metric = weirp_curve_metric[axis];
        const double y = b->metric[i * WEIR_N_METRICS + metric];
        d.q[axis] = j->q[metric] + i * m;
        x->known[axis] = isnan(y) ? 0 : 1 / j->e[metric][i];
        x->gap[axis] = isnan(y) ? 0 : y - d.q[axis][chosen];
    }
    const weir_status st = weirp_ope_target_each_turn(target, b, i, note, &d, err);
    x->taken = !x->left_out;
    return st;
}

static void decide_some(void *context, unsigned worker, size_t begin, size_t end) {
    const task *t = context;
    weirp_curve_rows *r = t->r;
    struct worker *own = &r->worker[worker];
    const weirp_ope_block some = weirp_ope_block_rows(t->block, begin, end);
    if (own->status != WEIR_OK) return;
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++) {
        const weir_metric metric = weirp_curve_metric[axis];
        weirp_reward_predict(r->j->reward[metric], &some, r->j->q[metric] + begin * some.n_models);
        weirp_ope_labels_predict(r->j->labels[metric], &some, r->j->e[metric] + begin);
    }
    for (size_t i = begin; i < end && own->status == WEIR_OK; i++) {
        own->failed_at = i;
        own->status = decide(r, own->target, t->block, i, &own->error);
    }
}

/* The first row that failed; a worker's rows rise, so that somebody came to it. */
static weir_status tell_failure(const weirp_curve_rows *r, weir_error *err) {
    const struct worker *first = NULL;
    for (unsigned k = 0; k < r->n_workers; k++) {
        const struct worker *w = &r->worker[k];
        if (w->status != WEIR_OK && (!first || w->failed_at < first->failed_at)) first = w;
    }
    return first ? weirp_fail(err, first->status, 0, "%s", first->error.text) : WEIR_OK;
}

/* ---- adding ---- */

WEIRP_CLONES static void add(double *restrict to, const double *restrict x, size_t n) {
    for (size_t k = 0; k < n; k++) to[k] += x[k];
}

/* Weights of n points, times what the row has in common. */
WEIRP_CLONES static void weigh(const double *restrict w, size_t n, double times, double *restrict sum,
                               double *restrict squares, double *restrict most) {
    for (size_t k = 0; k < n; k++) {
        const double x = w[k] * times;
        sum[k] += x;
        squares[k] += x * x;
        most[k] = x > most[k] ? x : most[k];
    }
}

WEIRP_CLONES static void add_seen(const double *restrict w, size_t n, double times, double gap,
                                  double *restrict columns_d, double *restrict columns_a) {
    for (size_t k = 0; k < n; k++) {
        const double x = w[k] * times;
        columns_d[k] += x * gap;
        columns_a[k] += x;
    }
}

/* In a cluster's row of the sums. */
static double *column(const weirp_curve_rows *r, double *x, size_t axis, size_t kind, size_t point) {
    return x + weirp_curve_rows_column(r, axis, kind, point);
}

static void add_weights(weirp_curve_rows *r, const row *own, double *x, const double *w, size_t point, size_t n) {
    weigh(w, n, 1, r->w.sum + point, r->w.squares + point, r->w.most + point);
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++) {
        const weights *to = &r->wk[axis];
        if (!(own->known[axis] > 0)) continue;
        add_seen(w, n, own->known[axis], own->gap[axis], column(r, x, axis, WEIRP_COLUMN_D, point),
                 column(r, x, axis, WEIRP_COLUMN_A, point));
        weigh(w, n, own->known[axis], to->sum + point, to->squares + point, to->most + point);
    }
}

/* Settings [begin, end). */
static void add_knobs(weirp_curve_rows *r, const row *own, size_t i, double *x, size_t begin, size_t end) {
    const size_t at = i * r->n_knobs;
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++)
        add(column(r, x, axis, WEIRP_COLUMN_V, begin), r->at_v[axis] + at + begin, end - begin);
    if (own->unsupported) add(r->unsupported + begin, r->at_unsupported + at + begin, end - begin);
    if (begin < own->begin) begin = own->begin;
    if (end > own->end) end = own->end;
    if (begin < end) add_weights(r, own, x, r->at_w + at + begin, begin, end - begin);
}

/* Single models [begin, end), counted among the points. */
static void add_singles(weirp_curve_rows *r, const weirp_ope_block *b, size_t i, double *x, size_t begin, size_t end) {
    const size_t m = b->n_models, chosen = b->chosen[i], *model = r->points->single - r->n_knobs;
    const double *p = b->propensity ? b->propensity + i * m : NULL;
    if (p && isnan(p[chosen])) p = NULL; /* only the chosen one's chance is logged */
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++) {
        const double *q = r->j->q[weirp_curve_metric[axis]] + i * m;
        double *to = column(r, x, axis, WEIRP_COLUMN_V, begin);
        for (size_t s = begin; s < end; s++) to[s - begin] += q[model[s]];
    }
    for (size_t s = begin; p && s < end; s++) r->unsupported[s] += !(p[model[s]] > 0);
    const size_t own = r->single_of[chosen];
    if (own < begin || own >= end) return;
    const double w = 1 / b->p[i];
    add_weights(r, &r->row[i], x, &w, own, 1);
}

/* Points [begin, end) of this way. */
static void add_some(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    const task *t = context;
    weirp_curve_rows *r = t->r;
    const weirp_ope_block *b = t->block;
    const bool counts = begin == 0;
    begin += r->first;
    end += r->first;
    const size_t middle = end < r->n_knobs ? end : begin > r->n_knobs ? begin : r->n_knobs;
    for (size_t i = 0; i < b->n; i++) {
        double *x = r->sums.x + b->cluster[i] % r->n_clusters * r->sums.n_columns;
        if (!r->row[i].taken) continue;
        if (counts) x[WEIRP_COLUMN_N]++;
        if (begin < middle) add_knobs(r, &r->row[i], i, x, begin, middle);
        if (middle < end) add_singles(r, b, i, x, middle, end);
    }
}

/* ---- all rows ---- */

static void count(weirp_curve_rows *r, const weirp_ope_block *b) {
    for (size_t i = 0; i < b->n; i++)
        for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++) {
            weirp_cell_facts *f = &r->same[axis];
            const double e = r->j->e[weirp_curve_metric[axis]][i];
            f->n_undecided += r->row[i].left_out;
            if (!r->row[i].taken) continue;
            f->n++;
            f->n_known += !isnan(b->metric[i * WEIR_N_METRICS + weirp_curve_metric[axis]]);
            f->n_full += b->propensity && !isnan(b->propensity[i * b->n_models + b->chosen[i]]);
            if (b->p[i] < f->least_p) f->least_p = b->p[i];
            if (e < f->least_e) f->least_e = e;
        }
}

static weir_status add_block(weirp_curve_rows *r, const weirp_ope_block *b, weir_error *err) {
    const unsigned n_threads = r->n_workers;
    task t = {r, b};
    weirp_parallel(b->n, SOME_ROWS, n_threads, decide_some, &t);
    const weir_status st = tell_failure(r, err);
    if (st != WEIR_OK) return st;
    count(r, b);
    const size_t share = (r->n + n_threads - 1) / n_threads;
    weirp_parallel(r->n, share < SOME_POINTS ? SOME_POINTS : share, n_threads, add_some, &t);
    return st;
}

weir_status weirp_curve_rows_go(weirp_curve_rows *r, size_t first, size_t n, weir_error *err) {
    const weir_ope_options *o = &r->j->s->o;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    r->first = first;
    r->n = n;
    for (size_t axis = 0; axis < WEIRP_CURVE_AXES; axis++)
        r->same[axis] = (weirp_cell_facts){.least_p = 1, .least_e = 1};
    weirp_sums_free(&r->sums);
    weir_status st =
        weirp_sums_init(&r->sums, r->n_clusters, WEIRP_N_SHARED + n * WEIRP_CURVE_AXES * WEIRP_N_OF_AXIS, err);
    if (st == WEIR_OK) st = weirp_scan_new(&scan, r->j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        if (o->progress && o->progress(o->progress_user, "curve", b.first, weirp_ope_table_n(r->j->table)))
            st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        if (st == WEIR_OK) st = add_block(r, &b, err);
    }
    weirp_scan_free(scan);
    return st == WEIR_END ? WEIR_OK : st;
}

/* ---- before and after ---- */

static bool make_room(weirp_curve_rows *r) {
    const size_t n = r->n_knobs + r->n_singles, cells = WEIRP_BLOCK_ROWS * r->n_knobs;
    double **const of_point[] = {&r->w.sum,      &r->w.squares, &r->w.most,        &r->wk[0].sum,  &r->wk[0].squares,
                                 &r->wk[0].most, &r->wk[1].sum, &r->wk[1].squares, &r->wk[1].most, &r->unsupported},
                   **const of_cell[] = {&r->at_w, &r->at_v[0], &r->at_v[1], &r->at_unsupported};
    enum { N_OF_POINT = sizeof of_point / sizeof *of_point, N_OF_CELL = sizeof of_cell / sizeof *of_cell };
    r->row = weirp_array(WEIRP_BLOCK_ROWS, sizeof *r->row);
    r->single_of = weirp_array(r->j->n_models, sizeof *r->single_of);
    r->numbers = weirp_array(N_OF_POINT * n + N_OF_CELL * cells, sizeof *r->numbers);
    if (!r->row || !r->single_of || !r->numbers) return false;
    for (size_t k = 0; k < N_OF_POINT; k++) *of_point[k] = r->numbers + k * n;
    for (size_t k = 0; k < N_OF_CELL; k++) *of_cell[k] = r->numbers + N_OF_POINT * n + k * cells;
    for (size_t m = 0; m < r->j->n_models; m++) r->single_of[m] = (size_t)-1;
    for (size_t s = 0; s < r->n_singles; s++) r->single_of[r->points->single[s]] = r->n_knobs + s;
    return true;
}

weir_status weirp_curve_rows_new(weirp_curve_rows **out, const weirp_judging *j, const weirp_curve_points *points,
                                 size_t n_clusters, weir_error *err) {
    const unsigned n_threads = j->s->o.n_threads;
    weir_status st = WEIR_OK;
    *out = NULL;
    weirp_curve_rows *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->j = j;
    r->points = points;
    r->n_knobs = points->grid.n;
    r->n_singles = points->n_singles;
    r->n_clusters = n_clusters;
    if (!make_room(r)) WEIRP_TRY(weirp_nomem(err));
    for (; r->n_workers < MOST_WORKERS && r->n_workers < (n_threads ? n_threads : 1); r->n_workers++) {
        weirp_ope_target **target = &r->worker[r->n_workers].target;
        WEIRP_TRY(weirp_ope_target_new(target, j->s->o.curve, j->table, j->router, err));
        WEIRP_TRY(weirp_ope_target_set_turns(*target, points->grid.knob, r->n_knobs, err));
    }
    *out = r;
done:
    if (st != WEIR_OK) weirp_curve_rows_free(r);
    return st;
}

void weirp_curve_rows_free(weirp_curve_rows *r) {
    if (!r) return;
    for (unsigned k = 0; k < MOST_WORKERS; k++) weirp_ope_target_free(r->worker[k].target);
    weirp_sums_free(&r->sums);
    free(r->numbers);
    free(r->single_of);
    free(r->row);
    free(r);
}

const weirp_sums *weirp_curve_rows_sums(const weirp_curve_rows *r) {
    return &r->sums;
}

size_t weirp_curve_rows_column(const weirp_curve_rows *r, size_t axis, size_t kind, size_t point) {
    return WEIRP_N_SHARED + (axis * WEIRP_N_OF_AXIS + kind) * r->n + point - r->first;
}

weirp_cell_facts weirp_curve_rows_facts(const weirp_curve_rows *r, size_t axis, size_t point) {
    const weights *wk = &r->wk[axis];
    weirp_cell_facts f = r->same[axis];
    f.sum_w = r->w.sum[point];
    f.sum_w2 = r->w.squares[point];
    f.max_w = r->w.most[point];
    f.sum_wk = wk->sum[point];
    f.sum_wk2 = wk->squares[point];
    f.max_wk = wk->most[point];
    f.unsupported = r->unsupported[point];
    return f;
}

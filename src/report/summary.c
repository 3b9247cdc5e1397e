/* summary.c: the router seen closely: every model, one operating point, every task, the points to draw.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

enum { MANY_POINTS = 1000, THINNED_POINTS = 700, LEAST_POINTS = 400 };

/* Mean of a table's column over the cells that are known. */
static double column_mean(const double *table, size_t n, size_t m, size_t k) {
    double sum = 0, count = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(table[i * m + k])) sum += table[i * m + k], count++;
    return count > 0 ? sum / count : NAN;
}

static weir_status summarise_models(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t n = t->n, m = t->n_models;
    e->models = weirp_array(m, sizeof *e->models);
    if (!e->models) return weirp_nomem(err);
    for (size_t k = 0; k < m; k++) {
        double error = 0, count = 0;
        for (size_t i = 0; i < n; i++) {
            const double d = fmin(fmax(t->q_hat[i * m + k], 0), 1) - t->quality[i * m + k];
            if (!isnan(d) && !isnan(t->q_hat[i * m + k])) error += d * d, count++;
        }
        e->models[k] = (weirp_model_summary){
            .quality = column_mean(t->quality, n, m, k),
            .cost = e->has_cost ? column_mean(t->cost_usd, n, m, k) : NAN,
            .latency_ms = column_mean(t->latency_ms, n, m, k),
            .auc = weirp_auc_ranked(e->rank + k * n, e->n_rank[k], t->q_hat + k, t->quality + k, m, NULL),
            .brier = count > 0 ? error / count : NAN,
            .cost_r2 = e->has_cost ? weirp_r2_table(t->c_hat, t->cost_usd, n, m, k, NULL) : NAN,
            .share = NAN,
        };
    }
    return WEIR_OK;
}

/* The cheapest point that reaches the highest target, else the one of most quality. */
static weirp_point find_point(const weirp_point *points, size_t n, double best, double *target) {
    static const double targets[3] = {1, 0.98, 0.95};
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (points[i].quality > points[top].quality) top = i;
    for (size_t s = 0; s < 3; s++) {
        const double cost = weirp_points_cost(points, n, targets[s] * best);
        for (size_t i = 0; i < n && !isnan(cost); i++)
            if (points[i].cost == cost && points[i].quality >= targets[s] * best - 1e-12) {
                *target = targets[s];
                return points[i];
            }
    }
    *target = 0;
    return points[top];
}

static weir_status operate(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const weirp_path *path = &e->curve[WEIRP_PLUGIN].path;
    weirp_operating_point *o = &e->operating;
    weirp_point *points = weirp_array(path->n_steps + 1, sizeof *points);
    e->choice = weirp_array(t->n, sizeof *e->choice);
    if (!points || !e->choice) {
        free(points);
        return weirp_nomem(err);
    }
    const size_t n = weirp_path_points(path, NULL, points);
    const weirp_point at = find_point(points, n, e->figures.best_quality, &o->target);
    free(points);
    o->value = e->has_cost ? at.value : INFINITY;
    o->quality = at.quality, o->cost = e->has_cost ? at.cost : NAN;
    memcpy(e->choice, path->model, t->n * sizeof *e->choice);
    for (size_t s = 0; s < path->n_steps && path->steps[s].value <= at.value; s++)
        e->choice[path->steps[s].prompt] = path->steps[s].model;
    double latency = 0;
    for (size_t k = 0; k < t->n_models; k++) e->models[k].share = 0;
    for (size_t i = 0; i < t->n; i++) {
        e->models[e->choice[i]].share++;
        latency += t->latency_ms[i * t->n_models + e->choice[i]] / (double)t->n;
    }
    for (size_t k = 0; k < t->n_models; k++) e->models[k].share /= (double)t->n;
    o->latency_ms = latency;
    return WEIR_OK;
}

static int by_task(const void *left, const void *right) {
    return strcmp(((const weirp_task_summary *)left)->task, ((const weirp_task_summary *)right)->task);
}

static int by_size(const void *left, const void *right) {
    const weirp_task_summary *a = left, *b = right;
    if (a->n != b->n) return a->n > b->n ? -1 : 1;
    return strcmp(a->task, b->task);
}

/* One prompt's part of its task. */
static weirp_task_summary prompt_summary(const weir_evaluation *e, size_t i) {
    const weirp_tables *t = e->tables;
    const size_t row = i * t->n_models;
    weirp_task_summary s = {.task = t->tasks[i],
                            .n = 1,
                            .best_quality = t->quality[row + e->best],
                            .best_cost = t->cost_usd[row + e->best],
                            .router_quality = t->quality[row + e->choice[i]],
                            .router_cost = t->cost_usd[row + e->choice[i]],
                            .oracle_quality = t->quality[row]};
    for (size_t k = 1; k < t->n_models; k++) s.oracle_quality = fmax(s.oracle_quality, t->quality[row + k]);
    return s;
}

static weir_status summarise_tasks(weir_evaluation *e, weir_error *err) {
    const size_t n = e->tables->n;
    weirp_task_summary *s = e->tasks = weirp_array(n, sizeof *s);
    if (!s) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++) s[i] = prompt_summary(e, i);
    qsort(s, n, sizeof *s, by_task);
    size_t groups = 0;
    for (size_t i = 0; i < n; i++) {
        if (groups > 0 && strcmp(s[groups - 1].task, s[i].task) == 0) {
            weirp_task_summary *g = &s[groups - 1];
            g->n++;
            g->best_quality += s[i].best_quality, g->best_cost += s[i].best_cost;
            g->router_quality += s[i].router_quality, g->router_cost += s[i].router_cost;
            g->oracle_quality += s[i].oracle_quality;
        } else {
            s[groups++] = s[i];
        }
    }
    for (size_t g = 0; g < groups; g++) {
        double *const sums[5] = {&s[g].best_quality, &s[g].best_cost, &s[g].router_quality, &s[g].router_cost,
                                 &s[g].oracle_quality};
        for (size_t k = 0; k < 5; k++) *sums[k] /= (double)s[g].n;
        if (!e->has_cost) s[g].best_cost = s[g].router_cost = NAN;
    }
    qsort(s, groups, sizeof *s, by_size);
    e->n_tasks = groups == 1 && s[0].task[0] == '\0' ? 0 : groups;
    return WEIR_OK;
}

weir_status weirp_summarise(weir_evaluation *e, weir_error *err) {
    weir_status st = WEIR_OK;
    WEIRP_TRY(summarise_models(e, err));
    if (!e->has_curve) goto done;
    WEIRP_TRY(operate(e, err));
    WEIRP_TRY(summarise_tasks(e, err));
done:
    return st;
}

/* ---- the points to report ---- */

/* Keeps the points that the reported cost@p% and most quality come from. */
static void mark(const weirp_point *points, size_t n, double best, bool *keep) {
    static const double targets[3] = {1, 0.98, 0.95};
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (points[i].quality > points[top].quality) top = i;
    keep[top] = true;
    for (size_t s = 0; s < 3; s++) {
        const double cost = weirp_points_cost(points, n, targets[s] * best);
        for (size_t i = 0; i < n; i++)
            if (points[i].cost == cost && points[i].quality >= targets[s] * best - 1e-12) keep[i] = true;
    }
}

/* Point k's values start where the k-th group of steps of one value is: how many groups are at or below `value`? */
static size_t point_at(const double *starts, size_t n_starts, double value) {
    size_t k = 0;
    while (k < n_starts && starts[k] <= value) k++;
    return k;
}

static int by_value(const void *left, const void *right) {
    const weirp_point *a = left, *b = right;
    return (a->value > b->value) - (a->value < b->value);
}

/* A curve of few points is a staircase: the value may move without the choice moving. Values in between, log-spaced,
 * give the same points again, so that every reported curve has at least LEAST_POINTS of them. */
static weir_status fill_up(weirp_curve *c, weir_error *err) {
    const weirp_path *path = &c->path;
    if (c->n_points >= LEAST_POINTS || c->n_points == 0) return WEIR_OK;
    weirp_point *all = weirp_array(LEAST_POINTS, sizeof *all);
    if (!all) return weirp_nomem(err);
    double starts[LEAST_POINTS], lo = 1e-6, hi = 1e3;
    size_t n_starts = 0, n = c->n_points;
    for (size_t s = 0; s < path->n_steps; s++)
        if (s == 0 || path->steps[s].value > path->steps[s - 1].value) starts[n_starts++] = path->steps[s].value;
    if (n_starts > 0) lo = starts[0] / 10, hi = starts[n_starts - 1] * 10;
    memcpy(all, c->points, n * sizeof *all);
    for (size_t i = 0, extra = LEAST_POINTS - n; i < extra; i++) {
        const double value = lo * pow(hi / lo, extra > 1 ? (double)i / (double)(extra - 1) : 0.5);
        const weirp_point *at = &c->points[point_at(starts, n_starts, value)];
        all[n++] = (weirp_point){at->cost, at->quality, value};
    }
    qsort(all, n, sizeof *all, by_value);
    free(c->points);
    c->points = all, c->n_points = n;
    return WEIR_OK;
}

static weir_status keep_curve(weir_evaluation *e, weirp_policy_index p, weir_error *err) {
    weirp_curve *c = &e->curve[p];
    weir_status st = WEIR_OK;
    bool *keep = NULL;
    if (c->path.n == 0) return WEIR_OK;
    c->points = weirp_array(c->path.n_steps + 1, sizeof *c->points);
    if (!c->points) return weirp_nomem(err);
    c->n_points = weirp_path_points(&c->path, NULL, c->points);
    if (c->n_points > MANY_POINTS) {
        keep = weirp_array(c->n_points, sizeof *keep);
        if (!keep) return weirp_nomem(err);
        mark(c->points, c->n_points, e->figures.best_quality, keep);
        WEIRP_TRY(weirp_thin(c->points, &c->n_points, THINNED_POINTS, keep, err));
    } else if (p == WEIRP_PLUGIN) {
        WEIRP_TRY(fill_up(c, err));
    }
    for (size_t i = 0; p == WEIRP_THRESHOLD && i < c->n_points; i++) /* its steps carry the gap's negative */
        c->points[i].value = -c->points[i].value;
done:
    free(keep);
    return st;
}

weir_status weirp_keep_points(weir_evaluation *e, weir_error *err) {
    weir_status st = WEIR_OK;
    if (!e->has_curve || !e->has_cost) return WEIR_OK;
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++)
        if (p != WEIRP_ZERO) WEIRP_TRY(keep_curve(e, (weirp_policy_index)p, err));
    weirp_curve *zero = &e->curve[WEIRP_ZERO];
    zero->points = weirp_array(e->tables->n_models, sizeof *zero->points);
    if (!zero->points) WEIRP_TRY(weirp_nomem(err));
    for (size_t k = 0; k < e->tables->n_models; k++)
        zero->points[k] = (weirp_point){e->models[k].cost, e->models[k].quality, NAN};
    zero->n_points = weirp_hull(zero->points, e->tables->n_models);
done:
    return st;
}

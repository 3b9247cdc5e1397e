/* The value curve: the whole way of argmin value*(1-q)+c from value 0 to infinity, exactly.
 *
 * For one prompt the risks of the models are lines in the value; the choice follows their lower envelope, which is the
 * convex chain of (quality, cost) points. All prompts' breakpoints, sorted, are swept once: O(n m log(n m)).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/base/base.h"
#include "src/measure/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MANY_POINTS = 4000, THINNED_POINTS = 1000 };

weir_status weirp_path_init(weirp_path *path, size_t n, weir_error *err) {
    *path = (weirp_path){.n = n};
    if (n > UINT32_MAX) return weirp_fail(err, WEIR_INVALID, 0, "more than 4294967295 prompts in one curve");
    path->cost = weirp_array(n, sizeof *path->cost);
    path->quality = weirp_array(n, sizeof *path->quality);
    path->model = weirp_array(n, sizeof *path->model);
    if (!path->cost || !path->quality || !path->model) return weirp_nomem(err);
    return WEIR_OK;
}

weir_status weirp_path_add(weirp_path *path, weirp_step step, weir_error *err) {
    if (!weirp_reserve((void **)&path->steps, &path->capacity, path->n_steps + 1, sizeof *path->steps))
        return weirp_nomem(err);
    path->steps[path->n_steps++] = step;
    return WEIR_OK;
}

void weirp_path_free(weirp_path *path) {
    free(path->cost);
    free(path->quality);
    free(path->model);
    free(path->steps);
    *path = (weirp_path){0};
}

static int by_value(const void *left, const void *right) {
    const weirp_step *a = left, *b = right;
    if (a->value != b->value) return a->value < b->value ? -1 : 1;
    return (a->prompt > b->prompt) - (a->prompt < b->prompt);
}

void weirp_path_sort(weirp_path *path) {
    if (path->n_steps > 1) qsort(path->steps, path->n_steps, sizeof *path->steps, by_value);
}

/* One model's line for one prompt. */
typedef struct line {
    double cost, quality;
    double from; /* value from which on it is the lowest */
    uint32_t model;
} line;

static int by_intercept(const void *left, const void *right) {
    const line *a = left, *b = right;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    if (a->quality != b->quality) return a->quality > b->quality ? -1 : 1;
    return (a->model > b->model) - (a->model < b->model);
}

/* The lower envelope of (m) models' lines, from value 0 up; gives its length, 0 when no estimate is finite. */
static size_t envelope(const double *q_hat, const double *c_hat, size_t m, line *lines) {
    size_t n = 0, h = 0;
    for (size_t k = 0; k < m; k++)
        if (isfinite(q_hat[k]) && isfinite(c_hat[k])) lines[n++] = (line){c_hat[k], q_hat[k], 0, (uint32_t)k};
    qsort(lines, n, sizeof *lines, by_intercept);
    for (size_t i = 0; i < n; i++) {
        line next = lines[i];
        if (h > 0 && next.quality <= lines[h - 1].quality) continue;
        while (h > 0) {
            next.from = (next.cost - lines[h - 1].cost) / (next.quality - lines[h - 1].quality);
            if (h == 1 || next.from > lines[h - 1].from) break;
            h--;
        }
        if (isfinite(next.from)) lines[h++] = next;
    }
    return h;
}

static weir_status add_prompt(weirp_path *path, size_t i, const line *lines, size_t h, const double *quality,
                              const double *cost, weir_error *err) {
    path->model[i] = lines[0].model;
    path->cost[i] = cost[lines[0].model];
    path->quality[i] = quality[lines[0].model];
    for (size_t s = 1; s < h; s++) {
        const uint32_t to = lines[s].model, from = lines[s - 1].model;
        const weirp_step step = {lines[s].from, cost[to] - cost[from], quality[to] - quality[from], (uint32_t)i, to};
        const weir_status st = weirp_path_add(path, step, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

weir_status weirp_path_plugin(weirp_path *path, const double *q_hat, const double *c_hat, const double *quality,
                              const double *cost, size_t n, size_t n_models, weir_error *err) {
    weir_status st = WEIR_OK;
    line *lines = weirp_array(n_models, sizeof *lines);
    WEIRP_TRY(weirp_path_init(path, n, err));
    if (!lines) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < n; i++) {
        const size_t row = i * n_models;
        const size_t h = envelope(q_hat + row, c_hat + row, n_models, lines);
        if (h == 0) WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0, "prompt %zu: no model is eligible", i + 1));
        WEIRP_TRY(add_prompt(path, i, lines, h, quality + row, cost + row, err));
    }
    weirp_path_sort(path);
done:
    free(lines);
    return st;
}

/* A value inside the range that starts at step `s` and ends before step `next`. */
static double inside(const weirp_path *path, size_t s, size_t next) {
    const double from = path->steps[s].value;
    if (path->grid) return from;
    if (next == path->n_steps) return fmin(2 * from, 1e300);
    return sqrt(from) * sqrt(path->steps[next].value);
}

size_t weirp_path_points(const weirp_path *path, const double *weight, weirp_point *points) {
    double cost = 0, quality = 0, total = 0;
    for (size_t i = 0; i < path->n; i++) {
        const double w = weight ? weight[i] : 1;
        cost += w * path->cost[i];
        quality += w * path->quality[i];
        total += w;
    }
    if (!(total > 0)) return 0;
    size_t n = 0;
    points[n++] = (weirp_point){cost / total, quality / total, path->start};
    for (size_t s = 0; s < path->n_steps;) {
        const size_t first = s;
        bool moved = false;
        for (; s < path->n_steps && path->steps[s].value == path->steps[first].value; s++) {
            const double w = weight ? weight[path->steps[s].prompt] : 1;
            if (w == 0) continue;
            cost += w * path->steps[s].d_cost;
            quality += w * path->steps[s].d_quality;
            moved = true;
        }
        if (moved) points[n++] = (weirp_point){cost / total, quality / total, inside(path, first, s)};
    }
    return n;
}

/* Sets keep[i] for every point that is on the hull. */
static weir_status mark_hull(const weirp_point *points, size_t n, bool *keep, weir_error *err) {
    weirp_point *hull = weirp_array(n, sizeof *hull);
    if (!hull) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++) hull[i] = (weirp_point){points[i].cost, points[i].quality, (double)i};
    const size_t h = weirp_hull(hull, n);
    for (size_t i = 0; i < h; i++) keep[(size_t)hull[i].value] = true;
    free(hull);
    return WEIR_OK;
}

weir_status weirp_thin(weirp_point *points, size_t *n, size_t target, const bool *keep, weir_error *err) {
    const size_t all = *n;
    if (all <= target || all < 3) return WEIR_OK;
    weir_status st = WEIR_OK;
    bool *stays = weirp_array(all, sizeof *stays);
    if (!stays) return weirp_nomem(err);
    if (keep) memcpy(stays, keep, all * sizeof *stays);
    WEIRP_TRY(mark_hull(points, all, stays, err));
    stays[0] = stays[all - 1] = true;
    /* Length along the curve as it moves in log cost and in quality, plus a share for each point: a few long jumps must
     * not use up the target, so that 3/5 of it is met whatever the curve. */
    double length = 0, seen = 0, due = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 1; i < all; i++) {
            const double a = points[i - 1].cost, b = points[i].cost;
            const double dc = a > 0 && b > 0 ? fabs(log(b / a)) : 0;
            const double d = dc + 10 * fabs(points[i].quality - points[i - 1].quality);
            if (pass == 0) {
                length += d;
                continue;
            }
            seen += length > 0 ? 0.3 * d / length + 0.7 / (double)(all - 1) : 1.0 / (double)(all - 1);
            if (seen < due) continue;
            stays[i] = true;
            due = seen + 1.0 / (double)target;
        }
    }
    size_t left = 0;
    for (size_t i = 0; i < all; i++)
        if (stays[i]) points[left++] = points[i];
    *n = left;
done:
    free(stays);
    return st;
}

weir_status weirp_value_curve(const double *q_hat, const double *c_hat, const double *quality, const double *cost,
                              size_t n, size_t n_models, weirp_point **points, size_t *n_points, weir_error *err) {
    weir_status st = WEIR_OK;
    weirp_path path = {0};
    weirp_point *all = NULL;
    *points = NULL, *n_points = 0;
    WEIRP_TRY(weirp_path_plugin(&path, q_hat, c_hat, quality, cost, n, n_models, err));
    all = weirp_array(path.n_steps + 1, sizeof *all);
    if (!all) WEIRP_TRY(weirp_nomem(err));
    size_t count = weirp_path_points(&path, NULL, all);
    if (count > MANY_POINTS) WEIRP_TRY(weirp_thin(all, &count, THINNED_POINTS, NULL, err));
    *points = all, *n_points = count;
    all = NULL;
done:
    free(all);
    weirp_path_free(&path);
    return st;
}

weir_status weirp_aiq(const double *q_hat, const double *c_hat, const double *quality, const double *cost, size_t n,
                      size_t n_models, double cost_lo, double cost_hi, double *aiq, weir_error *err) {
    weir_status st = WEIR_OK;
    weirp_path path = {0};
    weirp_point *points = NULL;
    *aiq = NAN;
    WEIRP_TRY(weirp_path_plugin(&path, q_hat, c_hat, quality, cost, n, n_models, err));
    points = weirp_array(path.n_steps + 1, sizeof *points);
    if (!points) WEIRP_TRY(weirp_nomem(err));
    const size_t count = weirp_path_points(&path, NULL, points);
    if (count > 0) *aiq = weirp_hull_area(points, weirp_hull(points, count), cost_lo, cost_hi);
done:
    free(points);
    weirp_path_free(&path);
    return st;
}

/* chart.c: what of an evaluation is drawn: quality over cost, or without costs over the share of strong calls.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

/* ---- cost and quality ---- */

static void name_series(weirp_series *s, const weir_evaluation *e, weirp_policy_index p) {
    snprintf(s->legend, sizeof s->legend, "%s, AIQ %.4f", weirp_policy_labels[p], e->figures.policy[p].aiq);
}

/* Samples of the straight line (in USD) from a to b, which bends on a log axis; without a itself. Counts where `out` is
 * NULL. */
static size_t sample_line(const weirp_chart *c, const weirp_point *a, const weirp_point *b, weirp_xy *out) {
    enum { MOST = 64 };
    const double length = fabs(weirp_chart_x(c, b->cost * 1000) - weirp_chart_x(c, a->cost * 1000)) / 6;
    const size_t n = length < 2 ? 1 : length > MOST ? MOST : (size_t)length;
    for (size_t i = 1; i <= n && out; i++) {
        /* evenly along the axis, where costs allow it */
        const double t = (double)i / (double)n, r = a->cost > 0 && b->cost > 0 ? b->cost / a->cost : 1;
        const double share = fabs(r - 1) > 1e-6 ? (pow(r, t) - 1) / (r - 1) : t;
        out[i - 1] =
            (weirp_xy){1000 * (a->cost + share * (b->cost - a->cost)), a->quality + share * (b->quality - a->quality)};
    }
    return n;
}

/* A policy's points, and between them what drawing lots between two values gives. */
static weir_status add_curve(weirp_chart *c, const weir_evaluation *e, weirp_policy_index p, const char *class,
                             double weight, weir_error *err) {
    const weirp_curve *curve = &e->curve[p];
    size_t n = curve->n_points > 0;
    for (size_t i = 1; i < curve->n_points; i++) n += sample_line(c, &curve->points[i - 1], &curve->points[i], NULL);
    weirp_series *s = weirp_chart_line(c, class, weight, n);
    if (!s) return weirp_nomem(err);
    if (n > 0) s->points[s->n++] = (weirp_xy){curve->points[0].cost * 1000, curve->points[0].quality};
    for (size_t i = 1; i < curve->n_points; i++)
        s->n += sample_line(c, &curve->points[i - 1], &curve->points[i], s->points + s->n);
    name_series(s, e, p);
    return WEIR_OK;
}

/* A hull, whose straight lines bend on a log axis: sampled. */
static weir_status add_hull(weirp_chart *c, const weir_evaluation *e, weirp_policy_index p, const char *class,
                            double weight, weir_error *err) {
    enum { SAMPLES = 400 };
    weir_status st = WEIR_OK;
    const weirp_curve *curve = &e->curve[p];
    weirp_point *hull = weirp_array(curve->n_points, sizeof *hull);
    weirp_series *s = weirp_chart_line(c, class, weight, SAMPLES);
    if (!hull || !s) WEIRP_TRY(weirp_nomem(err));
    memcpy(hull, curve->points, curve->n_points * sizeof *hull);
    const size_t h = weirp_hull(hull, curve->n_points);
    const double from = fmax(hull[0].cost * 1000, c->x.lo), to = fmin(hull[h - 1].cost * 1000, c->x.hi);
    for (size_t i = 0; i < SAMPLES && to >= from; i++) {
        const double t = (double)i / (SAMPLES - 1), x = from * pow(to / from, t);
        const double y = weirp_hull_at(hull, h, fmin(x / 1000, hull[h - 1].cost));
        if (y >= c->y.lo && y <= c->y.hi) s->points[s->n++] = (weirp_xy){x, y};
    }
    name_series(s, e, p);
done:
    free(hull);
    return st;
}

/* Models in order of importance, so that where room is short the names that matter stay: distance below the hull. */
static weir_status add_models(weirp_chart *c, const weir_evaluation *e, weir_error *err) {
    const size_t m = e->tables->n_models;
    weir_status st = WEIR_OK;
    uint32_t *order = weirp_array(m, sizeof *order);
    double *height = weirp_array(m, sizeof *height);
    if (!order || !height) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_chart_marks(c, m, err));
    for (size_t k = 0; k < m; k++)
        height[k] = e->models[k].quality - weirp_curve_hull_at(&e->curve[WEIRP_ZERO], e->models[k].cost);
    size_t n;
    WEIRP_TRY(weirp_rank(height, height, m, 1, order, &n, err));
    for (size_t i = 0; i < n; i++) {
        c->marks[i] = (weirp_xy){e->models[order[i]].cost * 1000, e->models[order[i]].quality};
        c->mark_names[i] = e->tables->names[order[i]];
    }
    c->n_marks = n;
done:
    free(order), free(height);
    return st;
}

static void name_chart(weirp_chart *c, const weir_evaluation *e, const char *otherwise) {
    char n[32];
    weirp_text_fit(c->title, sizeof c->title, e->title ? e->title : otherwise, 70);
    weirp_text_count(n, sizeof n, e->tables->n);
    snprintf(c->subtitle, sizeof c->subtitle, "n = %s prompts, %zu model%s", n, e->tables->n_models,
             e->tables->n_models == 1 ? "" : "s");
}

static weir_status draw_costs(weirp_chart *c, const weir_evaluation *e, weir_error *err) {
    weir_status st = WEIR_OK;
    const weirp_figures *g = &e->figures;
    const weirp_frame f = weirp_frame_make(e, 9, 8, true);
    c->x = f.x, c->y = f.y;
    name_chart(c, e, "Cost and quality of routing");
    const size_t used = strlen(c->subtitle);
    snprintf(c->subtitle + used, sizeof c->subtitle - used, "; plug-in over zero router: AIQ %+.4f [%+.4f, %+.4f]",
             g->policy[WEIRP_PLUGIN].lift, e->lo.policy[WEIRP_PLUGIN].lift, e->hi.policy[WEIRP_PLUGIN].lift);
    snprintf(c->x_label, sizeof c->x_label, "mean cost, USD per 1,000 prompts (log scale)");
    snprintf(c->y_label, sizeof c->y_label, "mean quality");
    c->mark_legend = "single models";
    WEIRP_TRY(add_curve(c, e, WEIRP_PLUGIN, "plugin", 3, err));
    WEIRP_TRY(add_curve(c, e, WEIRP_MINIMAX, "minimax", 2, err));
    WEIRP_TRY(add_hull(c, e, WEIRP_ZERO, "zero", 1, err));
    if (f.oracle_inside)
        WEIRP_TRY(add_hull(c, e, WEIRP_ORACLE, "oracle", 2, err));
    else {
        snprintf(c->note_text, sizeof c->note_text, "↑ oracle: quality %.4f at USD %.3g, AIQ %.4f",
                 e->figures.oracle_quality, 1000 * e->figures.oracle_cost, e->figures.policy[WEIRP_ORACLE].aiq);
        c->note = c->note_text;
    }
    WEIRP_TRY(add_models(c, e, err));
    WEIRP_TRY(weirp_chart_put(c, err));
done:
    return st;
}

/* ---- without costs: quality over the share of strong calls ---- */

static weir_status add_ranking(weirp_chart *c, const weir_evaluation *e, const double *gap, const char *class,
                               double weight, const char *legend, weir_error *err) {
    enum { MOST = 500 };
    const size_t n = e->tables->n;
    weir_status st = WEIR_OK;
    double quality = 0, apgr = NAN;
    uint32_t *order = weirp_array(n, sizeof *order);
    weirp_series *s = weirp_chart_line(c, class, weight, MOST + 3);
    if (!order || !s) WEIRP_TRY(weirp_nomem(err));
    size_t ranked;
    WEIRP_TRY(weirp_rank(gap, gap, n, 1, order, &ranked, err));
    weirp_apgr_ranked(order, ranked, gap, e->q_weak, e->q_strong, NULL, NULL, 0, &apgr, NULL);
    for (size_t i = 0; i < n; i++) quality += e->q_weak[i] / (double)n;
    s->points[s->n++] = (weirp_xy){0, quality};
    size_t shown = 0; /* through ties it runs straight: a point only where the gap changes */
    for (size_t i = 0; i < ranked; i++) {
        quality += (e->q_strong[order[i]] - e->q_weak[order[i]]) / (double)n;
        if (i + 1 < ranked && (gap[order[i + 1]] == gap[order[i]] || (i + 1 - shown) * MOST < n)) continue;
        shown = i + 1;
        s->points[s->n++] = (weirp_xy){(double)shown / (double)n, quality};
    }
    snprintf(s->legend, sizeof s->legend, "%s, APGR %.4f", legend, apgr);
done:
    free(order);
    return st;
}

static weir_status draw_pair(weirp_chart *c, const weir_evaluation *e, weir_error *err) {
    const size_t n = e->tables->n;
    weir_status st = WEIR_OK;
    double lo = INFINITY, hi = -INFINITY, *truth = weirp_array(n, sizeof *truth),
           *equal = weirp_array(n, sizeof *equal);
    if (!truth || !equal) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < n; i++) truth[i] = e->q_strong[i] - e->q_weak[i];
    name_chart(c, e, "Quality and strong calls");
    snprintf(c->x_label, sizeof c->x_label, "share of calls to the strong model");
    snprintf(c->y_label, sizeof c->y_label, "mean quality");
    c->mark_legend = "single models";
    WEIRP_TRY(add_ranking(c, e, e->gap, "plugin", 3, "predicted gap", err));
    WEIRP_TRY(add_ranking(c, e, equal, "zero", 1, "random", err));
    WEIRP_TRY(add_ranking(c, e, truth, "oracle", 2, "oracle", err));
    WEIRP_TRY(weirp_chart_marks(c, 2, err));
    c->marks[0] = (weirp_xy){0, e->models[e->weak].quality}, c->mark_names[0] = e->tables->names[e->weak];
    c->marks[1] = (weirp_xy){1, e->models[e->strong].quality}, c->mark_names[1] = e->tables->names[e->strong];
    for (size_t s = 0; s < c->n_lines; s++)
        for (size_t i = 0; i < c->lines[s].n; i++)
            lo = fmin(lo, c->lines[s].points[i].y), hi = fmax(hi, c->lines[s].points[i].y);
    c->x = weirp_axis_linear(0, 1, 11);
    c->y = weirp_axis_linear(lo, hi, 8);
    WEIRP_TRY(weirp_chart_put(c, err));
done:
    free(truth), free(equal);
    return st;
}

weir_status weir_evaluation_svg(const weir_evaluation *e, FILE *out, weir_error *err) {
    weirp_chart c = {.out = out};
    weir_status st;
    if (e->has_cost)
        st = draw_costs(&c, e, err);
    else if (e->strong != (size_t)-1)
        st = draw_pair(&c, e, err);
    else
        return weirp_fail(err, WEIR_NODATA, 0, "no costs, and no strong and weak model: there is nothing to draw");
    weirp_chart_free(&c);
    return st;
}

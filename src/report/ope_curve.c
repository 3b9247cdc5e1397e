/* ope_curve.c: the cost-quality curve that was read off a log, with its band, beside the single models, and beside the
 * truth where that is known. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/chart.h"
#include "src/report/ope_report.h"

/* What has been drawn so far. */
typedef struct extent {
    double x_lo, x_hi, y_lo, y_hi;
    bool zero;
} extent;

static void cover(extent *e, double cost, double quality) {
    if (!isfinite(cost) || !isfinite(quality)) return;
    if (cost > 0)
        e->x_lo = fmin(e->x_lo, cost), e->x_hi = fmax(e->x_hi, cost);
    else
        e->zero = true;
    e->y_lo = fmin(e->y_lo, quality), e->y_hi = fmax(e->y_hi, quality);
}

static bool drawable(const weirp_curve_point *p) {
    return isfinite(p->cost) && isfinite(p->quality);
}

static int by_cost(const void *a, const void *b) {
    const weirp_curve_point *x = *(const weirp_curve_point *const *)a, *y = *(const weirp_curve_point *const *)b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->knob < y->knob ? -1 : x->knob > y->knob;
}

/* The points that can be drawn, from cheap to dear. *out is new. */
static weir_status in_order(const weirp_log_curve *c, const weirp_curve_point ***out, size_t *n, weir_error *err) {
    *n = 0;
    *out = weirp_array(c->n, sizeof **out);
    if (!*out) return weirp_nomem(err);
    for (size_t i = 0; i < c->n; i++)
        if (drawable(&c->point[i])) (*out)[(*n)++] = &c->point[i];
    qsort(*out, *n, sizeof **out, by_cost);
    return WEIR_OK;
}

/* Between the settings of two points lies one that can't be judged: nobody knows where the curve goes there. */
static bool is_gap(const weirp_log_curve *c, const weirp_curve_point *a, const weirp_curve_point *b) {
    for (size_t i = 0; i < c->n_refused; i++) {
        const double knob = c->refused[i].knob;
        if ((a->knob < knob && knob < b->knob) || (b->knob < knob && knob < a->knob)) return true;
    }
    return false;
}

static void interrupt(weirp_series *s) {
    s->points[s->n++] = (weirp_xy){NAN, NAN};
}

static weir_status add_curve(weirp_chart *chart, const weirp_log_curve *c, const weirp_curve_point *const *p, size_t n,
                             extent *e, weir_error *err) {
    weirp_series *s = weirp_chart_line(chart, "plugin", 1, 2 * n);
    if (!s) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++) {
        if (i && is_gap(c, p[i - 1], p[i])) interrupt(s);
        s->points[s->n++] = (weirp_xy){1000 * p[i]->cost, p[i]->quality};
        cover(e, 1000 * p[i]->cost, p[i]->quality);
    }
    int at = snprintf(s->legend, sizeof s->legend, "from the log");
    if (!isnan(c->aiq)) at += snprintf(s->legend + at, sizeof s->legend - (size_t)at, ", AIQ %.4f", c->aiq);
    if (!isnan(c->aiq) && !isnan(c->aiq_lo))
        at += snprintf(s->legend + at, sizeof s->legend - (size_t)at, " [%.4f, %.4f]", c->aiq_lo, c->aiq_hi);
    if (!isnan(c->aiq) && !isnan(c->aiq_drawn))
        snprintf(s->legend + at, sizeof s->legend - (size_t)at, " less bias; of this line %.4f", c->aiq_drawn);
    return WEIR_OK;
}

static weir_status add_truth(weirp_chart *chart, const weirp_log_curve *c, const weirp_curve_point *const *p, size_t n,
                             extent *e, weir_error *err) {
    bool any = false;
    for (size_t i = 0; i < n; i++) any = any || (isfinite(p[i]->true_cost) && isfinite(p[i]->true_quality));
    if (!any) return WEIR_OK;
    weirp_series *s = weirp_chart_line(chart, "minimax", 1, 2 * n);
    if (!s) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++) {
        if (i && is_gap(c, p[i - 1], p[i])) interrupt(s);
        if (!isfinite(p[i]->true_cost) || !isfinite(p[i]->true_quality)) continue;
        s->points[s->n++] = (weirp_xy){1000 * p[i]->true_cost, p[i]->true_quality};
        cover(e, 1000 * p[i]->true_cost, p[i]->true_quality);
    }
    const int at = snprintf(s->legend, sizeof s->legend, "the truth");
    if (!isnan(c->true_aiq) && !isnan(c->aiq))
        snprintf(s->legend + at, sizeof s->legend - (size_t)at, ", AIQ %.4f", c->true_aiq);
    return WEIR_OK;
}

/* One piece, from point `begin` to before `end`: upper ends from cheap to dear, lower ends back; no quality is beyond
 * [0,1]. */
static void add_piece(weirp_series *s, const weirp_curve_point *const *p, size_t begin, size_t end, extent *e) {
    for (size_t i = begin; i < end; i++) {
        if (!isfinite(p[i]->quality_hi) || !isfinite(p[i]->quality_lo)) continue;
        const double y = fmin(p[i]->quality_hi, 1);
        s->points[s->n++] = (weirp_xy){1000 * p[i]->cost, y};
        cover(e, 1000 * p[i]->cost, y);
    }
    for (size_t i = end; i-- > begin;) {
        if (!isfinite(p[i]->quality_hi) || !isfinite(p[i]->quality_lo)) continue;
        const double y = fmax(p[i]->quality_lo, 0);
        s->points[s->n++] = (weirp_xy){1000 * p[i]->cost, y};
        cover(e, 1000 * p[i]->cost, y);
    }
    interrupt(s);
}

static weir_status add_band(weirp_chart *chart, const weir_ope *ope, const weirp_curve_point *const *p, size_t n,
                            extent *e, weir_error *err) {
    weirp_series *s = weirp_chart_line(chart, "band", 0, 3 * n);
    if (!s) return weirp_nomem(err);
    s->filled = true;
    for (size_t begin = 0, end = 1; begin < n; begin = end++) {
        while (end < n && !is_gap(&ope->curve, p[end - 1], p[end])) end++;
        add_piece(s, p, begin, end, e);
    }
    snprintf(s->legend, sizeof s->legend, "%g %% for the whole curve at once", 100 * ope->level);
    return WEIR_OK;
}

/* Single models with their bars: those that can be drawn, the best first, so that their names stay. */
static int by_quality(const void *a, const void *b) {
    const weirp_curve_point *x = *(const weirp_curve_point *const *)a, *y = *(const weirp_curve_point *const *)b;
    if (x->quality != y->quality) return x->quality > y->quality ? -1 : 1;
    return x < y ? -1 : x > y;
}

static weir_status add_singles(weirp_chart *chart, const weir_ope *ope, extent *e, weir_error *err) {
    const weirp_log_curve *c = &ope->curve;
    weir_status st = WEIR_OK;
    size_t n = 0;
    const weirp_curve_point **order = weirp_array(ope->n_models, sizeof *order);
    if (!order) return weirp_nomem(err);
    for (size_t m = 0; c->single && m < ope->n_models; m++)
        if (drawable(&c->single[m])) order[n++] = &c->single[m];
    if (n) qsort(order, n, sizeof *order, by_quality);
    WEIRP_TRY(weirp_chart_marks(chart, n, err));
    chart->mark_legend = "always one model";
    if (!(chart->bars = weirp_array(n, sizeof *chart->bars))) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < n; i++) {
        const weirp_curve_point *p = order[i];
        chart->marks[i] = (weirp_xy){1000 * p->cost, p->quality};
        chart->mark_names[i] = ope->model[p - c->single];
        cover(e, 1000 * p->cost, p->quality);
        if (!isfinite(p->quality_lo) || !isfinite(p->quality_hi)) continue;
        chart->bars[chart->n_bars++] = (weirp_bar){{1000 * p->cost, p->quality_lo}, {1000 * p->cost, p->quality_hi}};
    }
done:
    free(order);
    return st;
}

/* A model that was hardly tried has a bar that would squash all else: it is cut at the picture's edge. */
static void cut_bars(weirp_chart *c) {
    for (size_t i = 0; i < c->n_bars; i++) {
        c->bars[i].from.y = fmax(c->bars[i].from.y, fmax(c->y.lo, 0));
        c->bars[i].to.y = fmin(c->bars[i].to.y, fmin(c->y.hi, 1));
    }
}

/* "12,000 decisions, 4 models; by sndr; 7 of 48 settings and 1 of 4 models can't be judged" */
static void put_subtitle(weirp_chart *chart, const weir_ope *ope) {
    const weirp_log_curve *c = &ope->curve;
    char rows[32], settings[64] = "", models[64] = "";
    size_t n = 0;
    for (size_t m = 0; c->single && m < ope->n_models; m++) n += *c->single[m].refusal != 0;
    if (c->n_refused) snprintf(settings, sizeof settings, "%zu of %zu settings", c->n_refused, c->n + c->n_refused);
    if (n) snprintf(models, sizeof models, "%zu of %zu models", n, ope->n_models);
    weirp_text_count(rows, sizeof rows, ope->n_decided ? ope->n_decided : ope->n_rows);
    snprintf(chart->subtitle, sizeof chart->subtitle, "%s decisions, %zu models; by %s%s%s%s%s%s", rows, ope->n_models,
             ope->recommended, c->n_refused || n ? "; " : "", settings, c->n_refused && n ? " and " : "", models,
             c->n_refused || n ? " can't be judged" : "");
}

weir_status weirp_ope_curve_svg(const weir_ope *ope, FILE *out, weir_error *err) {
    const weirp_log_curve *c = &ope->curve;
    weirp_chart chart = {.out = out};
    extent e = {INFINITY, 0, INFINITY, -INFINITY, false};
    const weirp_curve_point **point = NULL;
    size_t n;
    weir_status st;
    WEIRP_TRY(in_order(c, &point, &n, err));
    WEIRP_TRY(add_curve(&chart, c, point, n, &e, err));
    WEIRP_TRY(add_truth(&chart, c, point, n, &e, err));
    WEIRP_TRY(add_singles(&chart, ope, &e, err));
    WEIRP_TRY(add_band(&chart, ope, point, n, &e, err));
    if (!isfinite(e.y_lo)) e.y_lo = 0, e.y_hi = 1;
    chart.x = weirp_axis_log(e.x_lo, e.x_hi, e.zero, 9);
    chart.y = weirp_axis_linear(e.y_lo, e.y_hi, 8);
    cut_bars(&chart);
    char policy[200]; /* a policy's text may be of any length, and mustn't be cut inside a letter */
    weirp_text_fit(policy, sizeof policy, c->policy ? c->policy : "a policy", sizeof policy);
    snprintf(chart.title, sizeof chart.title, "Cost and quality of %s, from the log", policy);
    put_subtitle(&chart, ope);
    snprintf(chart.x_label, sizeof chart.x_label, "cost, USD per 1,000 requests");
    snprintf(chart.y_label, sizeof chart.y_label, "mean quality");
    st = weirp_chart_put(&chart, err);
done:
    weirp_chart_free(&chart);
    free(point);
    return st;
}

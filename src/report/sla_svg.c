/* sla_svg.c: a period's spending against plan, forecast and limit. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/when.h"
#include "src/report/chart.h"
#include "src/report/sla.h"

typedef struct drawing {
    weirp_chart chart;
    const weirp_sla *s;
    double scale;   /* of amounts */
    double unit_ms; /* of the x axis */
    double most;    /* that is drawn */
} drawing;

static double at(const drawing *d, double ms) {
    return (ms - (double)d->s->from_ms) / d->unit_ms;
}

/* Dotted, dashed: two points, or more. */
static weir_status line(drawing *d, const char *class, const char *legend, const weirp_xy *points, size_t n,
                        weir_error *err) {
    weirp_series *s = weirp_chart_line(&d->chart, class, 1, n);
    if (!s) return weirp_nomem(err);
    snprintf(s->legend, sizeof s->legend, "%s", legend);
    for (size_t i = 0; i < n; i++) {
        s->points[s->n++] = points[i];
        d->most = fmax(d->most, points[i].y);
    }
    return WEIR_OK;
}

static weir_status add_spent(drawing *d, double now, weir_error *err) {
    const weirp_sla *s = d->s;
    weirp_xy points[WEIRP_SLA_STEPS + 2] = {{0, 0}};
    size_t n = 1;
    double sum = 0;
    for (size_t i = 0; i < WEIRP_SLA_STEPS; i++) {
        const double end =
            at(d, (double)s->from_ms + (double)(s->end_ms - s->from_ms) * (double)(i + 1) / WEIRP_SLA_STEPS);
        sum += d->scale * (double)s->step[i];
        points[n++] = (weirp_xy){fmin(end, now), sum};
        if (end >= now) break;
    }
    return line(d, "plugin", "spent", points, n, err);
}

static weir_status add_lines(drawing *d, weir_error *err) {
    const weirp_sla *s = d->s;
    const double end = at(d, (double)s->end_ms), now = at(d, (double)s->to_ms), limit = d->scale * (double)s->limit;
    const double spent = d->scale * (double)s->amount;
    const bool paced = s->method && strcmp(s->method, "pacing") == 0;
    weir_status st;
    WEIRP_TRY(add_spent(d, now, err));
    if (s->method) {
        const weirp_xy fan[] = {{now, spent}, {end, s->forecast[2]}, {end, s->forecast[0]}, {now, spent}};
        WEIRP_TRY(line(d, "minimax", paced ? "forecast, 90 %" : "forecast at an even rate", fan, paced ? 4 : 2, err));
    }
    if (s->budget.period != WEIRP_PERIOD_TOTAL) {
        const double length = (double)(s->period.end - s->period.start) * 1000 / d->unit_ms;
        const weirp_xy plan[] = {{0, 0}, {end, limit * end / length}};
        WEIRP_TRY(line(d, "zero", "even plan", plan, 2, err));
    }
    const weirp_xy bound[] = {{0, limit}, {end, limit}};
    WEIRP_TRY(line(d, "oracle", "limit of a period", bound, 2, err));
    WEIRP_TRY(weirp_chart_marks(&d->chart, 1, err));
    static char name[] = "now";
    d->chart.marks[0] = (weirp_xy){now, spent};
    d->chart.mark_names[0] = name;
    d->chart.mark_legend = "now";
done:
    return st;
}

static void name_chart(drawing *d) {
    const weirp_sla *s = d->s;
    const bool hours = d->unit_ms < 86400000;
    char from[WEIRP_WHEN_TEXT];
    weirp_when_text(from, s->from_ms);
    weirp_chart *c = &d->chart;
    snprintf(c->title, sizeof c->title, "Budget %s", s->budget.name);
    int n = snprintf(c->subtitle, sizeof c->subtitle, "%.4g of %.6g %s", d->scale * (double)s->amount,
                     d->scale * (double)s->limit, weirp_unit_name(s->budget.unit));
    if (s->n_quality)
        n += snprintf(c->subtitle + n, sizeof c->subtitle - (size_t)n, "; predicted quality %.3f",
                      s->quality / (double)s->n_quality);
    const size_t best = weirp_sla_best(s);
    const weirp_sla_single *one = best == (size_t)-1 ? NULL : &s->single[best];
    if (one && one->cost_usd > 0)
        snprintf(c->subtitle + n, sizeof c->subtitle - (size_t)n, "; %.0f %% cheaper than always %.40s, quality %+.3f",
                 100 * (1 - one->routed_cost_usd / one->cost_usd), s->models[best],
                 (one->routed_quality - one->quality) / (double)one->n);
    snprintf(c->x_label, sizeof c->x_label, "%s since %s", hours ? "hours" : "days", from);
    snprintf(c->y_label, sizeof c->y_label, "spent, %s",
             s->budget.unit == WEIRP_UNIT_USD ? "USD" : weirp_unit_name(s->budget.unit));
}

weir_status weirp_sla_svg(const weirp_sla *s, FILE *out, weir_error *err) {
    const double whole = (double)(s->end_ms - s->from_ms);
    drawing d = {.s = s,
                 .scale = s->budget.unit == WEIRP_UNIT_USD ? 1e-9 : 1,
                 .unit_ms = whole > 4 * 86400000.0 ? 86400000 : 3600000};
    d.chart.out = out;
    weir_status st = add_lines(&d, err);
    if (st == WEIR_OK) {
        d.chart.x = weirp_axis_linear(0, at(&d, (double)s->end_ms), 9);
        d.chart.y = weirp_axis_linear(0, d.most > 0 ? d.most : 1, 8);
        name_chart(&d);
        st = weirp_chart_put(&d.chart, err);
    }
    weirp_chart_free(&d.chart);
    return st;
}

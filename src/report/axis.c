/* axis.c: round numbers along an axis, and what part of an evaluation a picture shows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/report/show.h"

static void add_tick(weirp_axis *a, double x, int decimals) {
    if (a->n_ticks == WEIRP_MAX_TICKS) return;
    a->tick[a->n_ticks] = x;
    char *text = a->text[a->n_ticks++];
    if (decimals >= 0)
        snprintf(text, WEIRP_TICK_TEXT, "%.*f", decimals, x);
    else
        snprintf(text, WEIRP_TICK_TEXT, "%g", x);
}

/* Round steps 1, 2, 5 x 10^k; the first that gives at most `want` of them over `span`. */
static double round_step(double span, size_t want, int *decimals) {
    static const double steps[3] = {1, 2, 5};
    int power = (int)floor(log10(span / (double)want)) - 1;
    for (;; power++)
        for (size_t s = 0; s < 3; s++) {
            const double step = steps[s] * pow(10, power);
            if (span / step <= (double)want) {
                *decimals = power < 0 ? -power : 0;
                return step;
            }
        }
}

weirp_axis weirp_axis_linear(double lo, double hi, size_t want) {
    if (!(hi - lo > 1e-9 * fmax(fabs(lo), fabs(hi)))) lo -= 0.05, hi += 0.05;
    const double pad = 0.06 * (hi - lo);
    weirp_axis a = {.lo = lo - pad, .hi = hi + pad};
    int decimals;
    const double step = round_step(a.hi - a.lo, want, &decimals);
    for (double k = ceil(a.lo / step); k * step <= a.hi; k++) add_tick(&a, k == 0 ? 0 : k * step, decimals);
    return a;
}

/* 1, 2, 5 of every decade, or 1 alone where those are too many. */
static void decade_ticks(weirp_axis *a, double from, size_t want) {
    static const double marks[3] = {1, 2, 5};
    for (int each = 3; each >= 1; each -= 2) {
        for (int stride = 1; stride < 64; stride++) {
            a->n_ticks = a->zero ? 1 : 0;
            size_t count = 0;
            for (int p = (int)floor(log10(from)); p <= (int)ceil(log10(a->hi)); p++)
                for (int s = 0; s < each; s++) {
                    const double x = marks[s] * pow(10, p);
                    if (x < from * (1 - 1e-9) || x > a->hi * (1 + 1e-9)) continue;
                    if (((p % stride) + stride) % stride != 0) continue;
                    count++;
                    add_tick(a, x, -1);
                }
            if (count <= want) return;
            if (each == 3) break; /* too many: whole decades, then every second, third, ... */
        }
    }
}

weirp_axis weirp_axis_log(double lo, double hi, bool zero, size_t want) {
    if (!(lo > 0) || !isfinite(lo)) lo = hi > 0 ? hi : 1; /* nothing positive at all */
    if (!(hi > lo * (1 + 1e-9))) lo /= 2, hi = lo * 4;
    const double pad = pow(hi / lo, 0.06);
    const double from = lo / pad;
    weirp_axis a = {.lo = from, .hi = hi * pad, .log = true, .zero = zero};
    if (zero) {
        a.lo = from / pow(hi / lo, 0.12);
        add_tick(&a, 0, 0);
    }
    decade_ticks(&a, from, want);
    if (a.n_ticks >= 3u + zero) return a;
    /* less than a decade or so: round steps of a linear kind */
    a.n_ticks = zero ? 1 : 0;
    int decimals;
    const double step = round_step(a.hi - from, want, &decimals);
    for (double k = ceil(from / step); k * step <= a.hi; k++) add_tick(&a, k * step, decimals);
    return a;
}

double weirp_axis_at(const weirp_axis *a, double x) {
    if (!a->log) return (x - a->lo) / (a->hi - a->lo);
    return x > a->lo ? log(x / a->lo) / log(a->hi / a->lo) : 0;
}

/* Grows [lo, hi] by what a curve shows. */
static void cover(const weirp_curve *c, double *x_lo, double *x_hi, double *y_lo, double *y_hi, bool *zero) {
    for (size_t i = 0; i < c->n_points; i++) {
        const double x = c->points[i].cost * 1000;
        if (x > 0)
            *x_lo = fmin(*x_lo, x), *x_hi = fmax(*x_hi, x);
        else
            *zero = true;
        *y_lo = fmin(*y_lo, c->points[i].quality), *y_hi = fmax(*y_hi, c->points[i].quality);
    }
}

weirp_frame weirp_frame_make(const weir_evaluation *e, size_t x_ticks, size_t y_ticks, bool with_oracle) {
    weirp_frame f = {0};
    double x_lo = INFINITY, x_hi = 0, y_lo = INFINITY, y_hi = -INFINITY;
    bool zero = false;
    for (size_t k = 0; k < e->tables->n_models; k++) {
        weirp_point p = {e->models[k].cost, e->models[k].quality, NAN};
        cover(&(weirp_curve){.points = &p, .n_points = 1}, &x_lo, &x_hi, &y_lo, &y_hi, &zero);
    }
    cover(&e->curve[WEIRP_PLUGIN], &x_lo, &x_hi, &y_lo, &y_hi, &zero);
    cover(&e->curve[WEIRP_MINIMAX], &x_lo, &x_hi, &y_lo, &y_hi, &zero);
    /* The oracle may take a third of the height, no more. */
    const double oracle = e->figures.oracle_quality;
    f.oracle_inside = with_oracle && oracle - y_hi <= 0.5 * (y_hi - y_lo);
    if (f.oracle_inside) y_hi = fmax(y_hi, oracle);
    f.x = weirp_axis_log(x_lo, x_hi, zero, x_ticks);
    f.y = weirp_axis_linear(y_lo, y_hi, y_ticks);
    return f;
}

double weirp_curve_hull_at(const weirp_curve *hull, double cost) {
    if (hull->n_points == 0 || cost < hull->points[0].cost) return NAN;
    return weirp_hull_at(hull->points, hull->n_points, cost);
}

/* Upper concave hulls of (cost, quality) points, and areas under them (RouterBench, arXiv 2403.12031, section 3).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/measure/measure.h"

#include <math.h>
#include <stdlib.h>

/* Sums of costs in another order differ in their last bits; what differs by less than this share is the same cost or
 * quality. Far below 1/n of any set that fits in memory. */
static const double SAME = 1e-12;

static int by_cost(const void *left, const void *right) {
    const weirp_point *a = left, *b = right;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    if (a->quality != b->quality) return a->quality > b->quality ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

/* The chain over points sorted by cost, in place. */
static size_t chain(weirp_point *p, size_t n) {
    size_t h = 0;
    for (size_t i = 0; i < n; i++) {
        const weirp_point at = p[i];
        if (h > 0 && at.quality <= p[h - 1].quality) continue;
        while (h >= 2) {
            const weirp_point *a = &p[h - 2], *b = &p[h - 1];
            if ((b->quality - a->quality) * (at.cost - b->cost) > (at.quality - b->quality) * (b->cost - a->cost))
                break;
            h--;
        }
        p[h++] = at;
    }
    return h;
}

/* A hull of a few of the points shows most of the others to lie below it: they needn't be sorted. Exact, since what
 * lies strictly below a chord between two points is not on the hull. Gives how many points are left at the front. */
static size_t drop_inner(weirp_point *points, size_t n) {
    enum { SAMPLE = 256 };
    weirp_point coarse[SAMPLE];
    for (size_t i = 0; i < SAMPLE; i++) coarse[i] = points[i * (n - 1) / (SAMPLE - 1)];
    const size_t h = weirp_hull(coarse, SAMPLE);
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (points[i].quality >= weirp_hull_at(coarse, h, points[i].cost) - SAME) points[left++] = points[i];
    return left;
}

size_t weirp_hull(weirp_point *points, size_t n) {
    if (n > 1024) n = drop_inner(points, n);
    qsort(points, n, sizeof *points, by_cost);
    return chain(points, n);
}

/* Index of the last hull point at or left of `cost`; n: none. */
static size_t last_left(const weirp_point *hull, size_t n, double cost) {
    size_t lo = 0, hi = n; /* hull[lo - 1].cost <= cost < hull[hi].cost */
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (hull[mid].cost <= cost)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo == 0 ? n : lo - 1;
}

double weirp_hull_at(const weirp_point *hull, size_t n, double cost) {
    if (n == 0) return 0;
    const size_t i = last_left(hull, n, cost);
    if (i == n) return cost >= hull[0].cost * (1 - SAME) ? hull[0].quality : 0;
    if (i + 1 == n) return hull[i].quality;
    const double t = (cost - hull[i].cost) / (hull[i + 1].cost - hull[i].cost);
    return hull[i].quality + t * (hull[i + 1].quality - hull[i].quality);
}

double weirp_hull_area(const weirp_point *hull, size_t n, double cost_lo, double cost_hi) {
    if (n == 0) return 0;
    if (!(cost_hi > cost_lo)) return weirp_hull_at(hull, n, cost_lo);
    double area = 0, x = fmax(cost_lo, hull[0].cost);
    if (x >= cost_hi) return 0;
    double y = weirp_hull_at(hull, n, x);
    for (size_t i = 0; i < n && hull[i].cost < cost_hi; i++) {
        if (hull[i].cost <= x) continue;
        area += (hull[i].cost - x) * (hull[i].quality + y) / 2;
        x = hull[i].cost, y = hull[i].quality;
    }
    area += (cost_hi - x) * (y + weirp_hull_at(hull, n, cost_hi)) / 2;
    return area / (cost_hi - cost_lo);
}

double weirp_hull_cost(const weirp_point *hull, size_t n, double quality) {
    for (size_t i = 0; i < n; i++) {
        if (hull[i].quality < quality - SAME) continue;
        if (i == 0 || hull[i].quality <= quality) return hull[i].cost;
        const double t = (quality - hull[i - 1].quality) / (hull[i].quality - hull[i - 1].quality);
        return hull[i - 1].cost + t * (hull[i].cost - hull[i - 1].cost);
    }
    return NAN;
}

double weirp_points_cost(const weirp_point *points, size_t n, double quality) {
    double least = NAN;
    for (size_t i = 0; i < n; i++)
        if (points[i].quality >= quality - SAME && !(points[i].cost >= least)) least = points[i].cost;
    return least;
}

/* labels.c: point-feature label placement (Christensen, Marks and Shieber, ACM Trans. Graphics 14(3), 1995): a discrete
 * set of places a label, a cost for what each covers, and descent from several starts, one label at a time.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

enum { NEAR = 8, RINGS = 8, AROUND = 16, PLACES = NEAR + RINGS * AROUND, STARTS = 6, ROUNDS = 24 };

static const double ring_px[RINGS] = {12, 18, 26, 36, 50, 68, 92, 124};
static const double NEAR_PX = 7, MARK_PX = 5, PAD_PX = 1.5;

/* What is how bad, relative to a curve through a label (1 a spot). */
static const double OVER_LABEL = 400, OVER_MARK = 150, OUTSIDE = 1e6, LEADER_OVER_LABEL = 60, LEADERS_CROSS = 60;

typedef struct place {
    weirp_box box;
    double cost; /* of what stands still: distance, curves, marks, the picture's edge */
    double end_x, end_y;
    bool leader;
} place;

static double overlap(const weirp_box *a, const weirp_box *b) {
    const double w = fmin(a->x1, b->x1) - fmax(a->x0, b->x0) + 2 * PAD_PX;
    const double h = fmin(a->y1, b->y1) - fmax(a->y0, b->y0) + PAD_PX;
    return w > 0 && h > 0 ? w * h : 0;
}

/* Is (x, y) left of the line from a to b? */
static double side(double ax, double ay, double bx, double by, double x, double y) {
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax);
}

static bool cross(double ax, double ay, double bx, double by, double cx, double cy, double dx, double dy) {
    return side(ax, ay, bx, by, cx, cy) * side(ax, ay, bx, by, dx, dy) < 0 &&
           side(cx, cy, dx, dy, ax, ay) * side(cx, cy, dx, dy, bx, by) < 0;
}

/* Does the segment from a to b touch the box? */
static bool cuts(const weirp_box *box, double ax, double ay, double bx, double by) {
    if (fmax(ax, bx) < box->x0 || fmin(ax, bx) > box->x1 || fmax(ay, by) < box->y0 || fmin(ay, by) > box->y1)
        return false;
    const double s[4] = {side(ax, ay, bx, by, box->x0, box->y0), side(ax, ay, bx, by, box->x1, box->y0),
                         side(ax, ay, bx, by, box->x0, box->y1), side(ax, ay, bx, by, box->x1, box->y1)};
    bool left = false, right = false;
    for (int i = 0; i < 4; i++) s[i] > 0 ? (left = true) : (right = true);
    return left && right;
}

static place make_place(const weirp_label *l, size_t index) {
    place p = {0};
    const bool is_near = index < NEAR;
    const double r = is_near ? NEAR_PX : ring_px[(index - NEAR) / AROUND];
    const double turn = is_near ? (double)index / NEAR : (double)((index - NEAR) % AROUND) / AROUND;
    const double dx = cos(2 * M_PI * turn), dy = -sin(2 * M_PI * turn); /* 0: right, then anticlockwise */
    /* The box touches the circle of radius r: beside it the box stands, above and below it is centred. */
    const double cx = l->x + dx * r + (fabs(dx) > 0.2 ? copysign(l->width / 2, dx) * fmin(1, fabs(dx) * 1.42) : 0);
    const double cy = l->y + dy * r + (fabs(dy) > 0.2 ? copysign(l->height / 2, dy) * fmin(1, fabs(dy) * 1.42) : 0);
    p.box = (weirp_box){cx - l->width / 2, cy - l->height / 2, cx + l->width / 2, cy + l->height / 2};
    p.end_x = fmin(fmax(l->x, p.box.x0), p.box.x1);
    p.end_y = fmin(fmax(l->y, p.box.y0), p.box.y1);
    p.leader = hypot(p.end_x - l->x, p.end_y - l->y) > 12;
    /* Nearer is better; of the near ones the right, then the corners on the right, as maps do it. */
    static const double taste[NEAR] = {0, 0.4, 1.0, 0.8, 0.6, 0.9, 1.1, 0.5};
    p.cost = is_near ? taste[index] : 1.5 + 0.09 * r + (p.leader ? 1 : 0);
    return p;
}

static void add_still_costs(place *p, const weirp_label *labels, size_t n, size_t own, const weirp_box *area,
                            const weirp_spot *spots, size_t n_spots) {
    const weirp_box *b = &p->box;
    if (b->x0 < area->x0 || b->x1 > area->x1 || b->y0 < area->y0 || b->y1 > area->y1) p->cost += OUTSIDE;
    for (size_t i = 0; i < n; i++) {
        const double x = labels[i].x, y = labels[i].y;
        if (i != own && x > b->x0 - MARK_PX && x < b->x1 + MARK_PX && y > b->y0 - MARK_PX && y < b->y1 + MARK_PX)
            p->cost += OVER_MARK;
        const weirp_box mark = {x - MARK_PX, y - MARK_PX, x + MARK_PX, y + MARK_PX};
        if (i != own && p->leader && cuts(&mark, labels[own].x, labels[own].y, p->end_x, p->end_y))
            p->cost += OVER_MARK / 8;
    }
    for (size_t s = 0; s < n_spots; s++)
        if (spots[s].x > b->x0 - 1 && spots[s].x < b->x1 + 1 && spots[s].y > b->y0 - 1 && spots[s].y < b->y1 + 1)
            p->cost += spots[s].weight;
}

/* What two placed labels do to each other. */
static double between(const weirp_label *a, const place *p, const weirp_label *b, const place *q) {
    double cost = 0;
    const double both = overlap(&p->box, &q->box);
    if (both > 0) cost += OVER_LABEL * (0.2 + both / fmin(a->width * a->height, b->width * b->height));
    if (p->leader && cuts(&q->box, a->x, a->y, p->end_x, p->end_y)) cost += LEADER_OVER_LABEL;
    if (q->leader && cuts(&p->box, b->x, b->y, q->end_x, q->end_y)) cost += LEADER_OVER_LABEL;
    if (p->leader && q->leader && cross(a->x, a->y, p->end_x, p->end_y, b->x, b->y, q->end_x, q->end_y))
        cost += LEADERS_CROSS;
    return cost;
}

/* Cost of label i at one place, the others as they are. */
static double at_place(const weirp_label *labels, size_t n, const place *places, const size_t *chosen, size_t i,
                       size_t where, double limit) {
    const place *p = &places[i * PLACES + where];
    double cost = p->cost;
    for (size_t j = 0; j < n && cost < limit; j++)
        if (j != i && chosen[j] < PLACES) cost += between(&labels[i], p, &labels[j], &places[j * PLACES + chosen[j]]);
    return cost;
}

/* Moves labels one by one to where they do best, until none moves; gives the total cost. `chosen` starts as PLACES, not
 * placed. */
static double descend(const weirp_label *labels, size_t n, const place *places, const size_t *order, size_t *chosen) {
    for (int round = 0; round < ROUNDS; round++) {
        bool moved = false;
        for (size_t o = 0; o < n; o++) {
            const size_t i = order[o];
            size_t best = chosen[i] < PLACES ? chosen[i] : 0;
            double least = at_place(labels, n, places, chosen, i, best, INFINITY);
            for (size_t w = 0; w < PLACES; w++) {
                const double cost = at_place(labels, n, places, chosen, i, w, least);
                if (cost < least - 1e-9) least = cost, best = w;
            }
            moved = moved || best != chosen[i];
            chosen[i] = best;
        }
        if (!moved) break;
    }
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        total += places[i * PLACES + chosen[i]].cost;
        for (size_t j = i + 1; j < n; j++)
            total += between(&labels[i], &places[i * PLACES + chosen[i]], &labels[j], &places[j * PLACES + chosen[j]]);
    }
    return total;
}

/* Takes away labels that cover another one, those of high rank first. */
static void hide_covered(weirp_label *labels, size_t n) {
    for (;;) {
        size_t worst = n;
        double most = 0;
        for (size_t i = 0; i < n; i++) {
            double covered = 0;
            for (size_t j = 0; j < n && labels[i].shown; j++)
                if (j != i && labels[j].shown) covered += overlap(&labels[i].box, &labels[j].box);
            if (covered > 0 && (worst == n || labels[i].rank > labels[worst].rank ||
                                (labels[i].rank == labels[worst].rank && covered > most)))
                worst = i, most = covered;
        }
        if (worst == n) return;
        labels[worst].shown = false;
    }
}

weir_status weirp_labels_place(weirp_label *labels, size_t n, weirp_box area, const weirp_spot *spots, size_t n_spots,
                               weir_error *err) {
    weir_status st = WEIR_OK;
    double least = INFINITY;
    place *places = weirp_array(n * PLACES, sizeof *places);
    size_t *chosen = weirp_array(2 * n, sizeof *chosen), *order = weirp_array(n, sizeof *order), *best = NULL;
    if (!places || !chosen || !order) WEIRP_TRY(weirp_nomem(err));
    best = chosen + n;
    for (size_t i = 0; i < n; i++)
        for (size_t w = 0; w < PLACES; w++) {
            places[i * PLACES + w] = make_place(&labels[i], w);
            add_still_costs(&places[i * PLACES + w], labels, n, i, &area, spots, n_spots);
        }
    for (uint64_t start = 0; start < STARTS; start++) {
        for (size_t i = 0; i < n; i++) order[i] = i, chosen[i] = PLACES;
        weirp_shuffle(order, n, start);
        const double total = descend(labels, n, places, order, chosen);
        if (total >= least) continue;
        least = total;
        memcpy(best, chosen, n * sizeof *best);
    }
    for (size_t i = 0; i < n; i++) {
        const place *p = &places[i * PLACES + best[i]];
        labels[i].box = p->box;
        labels[i].shown = p->cost < OUTSIDE;
        labels[i].leader = p->leader;
        labels[i].end_x = p->end_x, labels[i].end_y = p->end_y;
    }
    hide_covered(labels, n);
done:
    free(places), free(chosen), free(order);
    return st;
}

/* unseen.c: limits for sums of few events.
 *
 * A standard error is told by the outcomes that were seen. Of a model that made no error in 150 rows it says that none
 * will ever come, and of one that made three it says too little. With equal weights the number of events is Poisson's,
 * whose exact upper limit after k is half the chi-squared quantile with 2 (k + 1) degrees of freedom: one event more
 * than was seen (Garwood, Biometrika 28, 1936). With unlike weights a gamma law with the sum's moments stands for it,
 * and one event more with the weight of a row (Fay and Feuer, Statistics in Medicine 16, 1997).
 *
 * Here the sum is that of clusters' influences. Those above 0 and those below are two sums of events: each is taken for
 * k events of one size, so that it has their sums of squares and of fourth powers: these go by the large ones, and many
 * small ones beside them change little. The weight of a row is that of the one which a unit of weight is found in, sum
 * w^2 / sum w, which makes rows as many as the effective sample size. What moves a mean up is more of the events above
 * and fewer of those below; both are put together as independent ones are (Zou and Donner, Statistics in Medicine 27,
 * 2008). Poisson's mass x becomes a chance of 1 - exp(-x): with no event at all that is Clopper's and Pearson's limit
 * (Biometrika 26, 1934).
 *
 * From FEW events on less of it counts, and from MANY on nothing: there Student's t holds, with its degrees of freedom.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/unseen.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

static const double FEW = 5, MANY = 15;

/* Events in one direction. */
typedef struct events {
    double square, fourth; /* sums of their powers */
} events;

static events with(events e, double one_more) {
    const double square = one_more * one_more;
    return (events){e.square + square, e.fourth + square * square};
}

static double number_of(events e) {
    return e.fourth > 0 ? e.square / e.fourth * e.square : 0;
}

static double size_of(events e) {
    return sqrt(e.fourth / e.square);
}

/* How much more the events may be on average than they were. */
static double more(events e, double unseen, double tail) {
    const events all = with(e, unseen);
    const double k = number_of(all);
    return k > 0 ? size_of(all) * (gsl_cdf_chisq_Qinv(tail, 2 * k) / 2 - k) + unseen : 0;
}

/* And how much less. */
static double fewer(events e, double tail) {
    const double k = number_of(e);
    if (!(k > 0)) return 0;
    /* of so many the limit is the normal's */
    if (k > 1000) return gsl_cdf_ugaussian_Qinv(tail) * sqrt(e.square);
    return size_of(e) * (k - gsl_cdf_chisq_Pinv(tail, 2 * k) / 2);
}

/* From FEW on less of them counts. */
static double how_few(double n) {
    return fmin(1, fmax(0, (MANY - n) / (MANY - FEW)));
}

/* How far it must reach in one direction, where it reaches `reach`. The mean can't move by more than `most`. */
static double shortfall(events this, events that, double unseen, double most, double tail, double reach) {
    const double k = number_of(with(this, unseen));
    if (!(unseen > 0) || !(most > 0) || !(how_few(k) > 0)) return 0;
    const double mass = hypot(more(this, unseen, tail), fewer(that, tail)) / most;
    return fmax(0, -most * expm1(-mass) - reach) * how_few(k);
}

/* ---- the clusters ---- */

/* Weights: their sum, and that of squares. */
typedef struct weights {
    double sum, square;
} weights;

static void weigh(weights *w, double x) {
    if (!(x > 0)) return;
    w->sum += x;
    w->square += x * x;
}

static double of_a_row(const weights *w) {
    return w->sum > 0 ? w->square / w->sum : 0;
}

/* Events above a mean and below it. */
typedef struct both {
    events above, below;
} both;

static void note(both *e, double influence) {
    events *to = influence > 0 ? &e->above : &e->below;
    *to = with(*to, influence);
}

/* One of the two: its own influences, its weights, and those that it has more of than the other. */
typedef struct side {
    const weirp_unseen_side *of;
    weirp_statistic mean;
    both own;
    weights all, apart;
} side;

static double share(const side *s, const weirp_sums *sums, size_t c) {
    return sums->x[c * sums->n_columns + s->of->weight] / sums->total[s->of->weight];
}

static bool has_several(const side *s, const weirp_sums *sums, size_t c) {
    return sums->x[c * sums->n_columns + s->of->rows] > 1;
}

/* Of one row, what both sides have in common is none of their difference. Of several, it needn't be the same rows that
 * both go by. */
static void weigh_clusters(side *s, size_t n, const weirp_sums *sums, size_t begin, size_t end) {
    for (size_t c = begin; c < end; c++) {
        const double a = share(&s[0], sums, c), b = n > 1 ? share(&s[1], sums, c) : 0;
        const bool several = has_several(&s[0], sums, c) || (n > 1 && has_several(&s[1], sums, c));
        weigh(&s[0].all, a);
        weigh(&s[0].apart, several ? a : a - b);
        if (n < 2) continue;
        weigh(&s[1].all, b);
        weigh(&s[1].apart, several ? b : b - a);
    }
}

enum { SOME = 256 }; /* clusters at a time */

static void note_clusters(const weirp_statistic *of, const weirp_sums *sums, size_t begin, size_t end, both *to) {
    double influence[SOME];
    weirp_statistic_influence_of(of, sums, begin, end, influence);
    for (size_t c = begin; c < end; c++) note(to, influence[c - begin]);
}

/* An outcome that lies so far from the mean, of a row that the other side hasn't. Where outcomes vary by degrees, there
 * are as many events as rows, and this is nothing that must have been seen, if all of them together outweigh a part of
 * it: the interval reaches beyond two such outcomes, then. */
static double one_more(const side *s, bool up) {
    static const double PART = 40;
    const double far = up ? s->of->up : s->of->down, one = of_a_row(&s->all) * far;
    const events e = up ? s->own.above : s->own.below;
    const double n = one > 0 ? fmin(number_of(e), PART * e.square / (one * one)) : 0;
    return of_a_row(&s->apart) * far * how_few(n);
}

weirp_interval weirp_unseen_shortfall(const weirp_unseen *u, const weirp_sums *sums, double level, double value,
                                      weirp_interval interval) {
    const double tail = (1 - level) / 2;
    const size_t n = u->mean.n;
    side s[2] = {{.of = &u->a, .mean = {u->mean.ratio, 1}}, {.of = &u->b, .mean = {u->mean.ratio + n - 1, 1}}};
    both e = {{0, 0}, {0, 0}};
    if (isnan(value) || isnan(interval.lo) || isnan(interval.hi)) return (weirp_interval){0, 0};
    for (size_t at = 0; at < sums->n_clusters; at += SOME) {
        const size_t end = sums->n_clusters - at < SOME ? sums->n_clusters : at + SOME;
        note_clusters(&u->mean, sums, at, end, &e);
        for (size_t k = 0; k < n; k++) note_clusters(&s[k].mean, sums, at, end, &s[k].own);
        weigh_clusters(s, n, sums, at, end);
    }
    if (n > 1) { /* it is taken off */
        const events above = s[1].own.above;
        s[1].own.above = s[1].own.below, s[1].own.below = above;
    }
    double up = one_more(&s[0], true), down = one_more(&s[0], false);
    double most_up = s[0].apart.sum * u->a.up, most_down = s[0].apart.sum * u->a.down;
    if (n > 1) {
        up = fmax(up, one_more(&s[1], false)), down = fmax(down, one_more(&s[1], true));
        most_up += s[1].apart.sum * u->b.down, most_down += s[1].apart.sum * u->b.up;
    }
    return (weirp_interval){shortfall(e.below, e.above, down, most_down, tail, value - interval.lo),
                            shortfall(e.above, e.below, up, most_up, tail, interval.hi - value)};
}

/* pace.c: the value that spends what is left of a budget for the most quality.
 *
 * The problem. Over a period, choose a model m_i for each request i so that sum q_i is greatest while sum c_i <= B.
 * With a multiplier p on the budget, each request chooses argmin c - q / p alone, the plug-in rule at value = 1 / p;
 * the best p is the one at which the budget is just spent. So pacing is finding p while the requests aren't known yet.
 *
 * What others do. Dual descent moves p by spend against an even plan and needs no forecast (Balseiro, Gur: Learning in
 * repeated auctions with budgets: regret minimization and equilibrium, Management Science 65(9), 2019), with a plan
 * that follows the traffic's pattern where there is one (Kumar, Morgenstern, Schrijvers: Optimal spend rate estimation
 * and pacing for ad campaigns with budgets, arXiv 2202.05881, 2022). It pays for p's wandering: its regret grows with
 * the root of the number of requests. Solving the programme again as requests come, on those seen and with what is left
 * of the budget, does better: log n log log n (Li, Ye: Online linear programming: dual convergence, new algorithms, and
 * regret bounds, Operations Research 70(5), 2022, doi 10.1287/opre.2021.2164).
 *
 * Here. A router knows its estimates for all models, so what any p would have cost is known and not only what was
 * spent: pace_curve.c keeps that curve, and solving again is reading it backwards. pace_traffic.c forecasts how many
 * requests are to come. They aren't certain: if N is learned later, the best price now is the mean of the prices that
 * will be right then (a dollar moved between now and then must gain nothing), so that
 *
 *     1 / value = mean over N of p(left / N)
 *
 * with p(x) the slope of quality over cost at x USD a request. Where x is below what the cheapest models cost, requests
 * would have to be refused, and p is the quality of one over its cost, many times the usual price: the mean rises long
 * before, which is the safety margin; it goes as the forecast becomes sure. The mean is taken over part of the
 * forecast's width only (CAUTION). The current request is one of the N, so that the last one may spend what is left.
 *
 * A floor under the mean quality is a second multiplier. The same edges are walked for it: meeting it for the rest asks
 * for a least value, and the greater of both values meets both, unless they contradict each other.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/pace_parts.h"

enum { VERSION = 1, NODES = 7 };
/* Gauss-Hermite rule for a normal distribution (Abramowitz, Stegun: Handbook, table 25.10, nodes times root 2). */
static const double NODE[NODES] = {-3.750439717725742, -2.366759410734541, -1.154405394739968, 0,
                                   1.154405394739968,  2.366759410734541,  3.750439717725742};
static const double WEIGHT[NODES] = {5.48268855972217e-4, 3.07571239675865e-2, 0.240123178605013,  0.457142857142857,
                                     0.240123178605013,   3.07571239675865e-2, 5.48268855972217e-4};
/* Share of the outlook's width that prices are averaged over. All of it is too careful where budgets are so tight that
 * the far end means refusing requests, none of it runs out on days of surprises (docs/budgets.md, "Pacing"). */
static const double CAUTION = 0.5;
static const double Z90 = 1.6448536269514722; /* 5 % lie beyond on either side */
static const double RATIO_PRIOR = 30;         /* requests' worth of trust in estimated costs */
static const double RATIO_LEAST = 0.2, RATIO_MOST = 5;
static const double CALM = 0.98; /* a contradiction is over when the floor costs this share of what is left */
static const double LONGEST = 400 * 86400.0;

struct weirp_pacer {
    weirp_pacer_options options;
    weirp_curve curve;
    weirp_traffic traffic;
    double expected, actual, settled, keep; /* forgotten sums: costs as predicted, as they were, requests */
    double n, quality;                      /* of this period: settled requests, their predicted quality */
    bool contradiction;
};

/* ---- life ---- */

static weir_status check_period(double limit_usd, double start_s, double end_s, weir_error *err) {
    if (!(limit_usd >= 0 && limit_usd <= 1e12))
        return weirp_fail(err, WEIR_INVALID, 0, "a budget to be paced must be from 0 to 1e12 USD");
    if (!(fabs(start_s) < 1e12 && end_s > start_s && end_s - start_s <= LONGEST))
        return weirp_fail(err, WEIR_INVALID, 0, "a period to be paced must end, within 400 days of its start");
    return WEIR_OK;
}

/* 0 takes the default; false: not a number that it may be. */
static bool settle_option(double *x, double standard, double least, double most) {
    if (*x == 0) *x = standard;
    return *x >= least && *x <= most;
}

weir_status weirp_pacer_new(weirp_pacer **out, const weirp_pacer_options *options, weir_error *err) {
    *out = NULL;
    weirp_pacer_options o = *options;
    weir_status st = check_period(o.limit_usd, o.start_s, o.end_s, err);
    if (st != WEIR_OK) return st;
    if (!(o.floor >= 0 && o.floor <= 1))
        return weirp_fail(err, WEIR_INVALID, 0, "a floor of quality must be from 0 to 1");
    if (!settle_option(&o.value_least, 1e-6, 1e-12, 1e12) || !settle_option(&o.value_most, 1e3, 1e-12, 1e12) ||
        !(o.value_most >= 2 * o.value_least) || !settle_option(&o.value, 0.01, 0, 1e12))
        return weirp_fail(err, WEIR_INVALID, 0, "values must be from 1e-12 to 1e12 USD, the most twice the least");
    if (!settle_option(&o.memory_requests, 8192, 10, 1e9) || !settle_option(&o.memory_weeks, 4, 0.1, 1000) ||
        !(o.requests >= 0 && o.requests <= 1e12))
        return weirp_fail(err, WEIR_INVALID, 0, "a pacer remembers 10 to 1e9 requests and 0.1 to 1000 weeks");
    weirp_pacer *p = calloc(1, sizeof *p);
    if (!p) return weirp_nomem(err);
    p->options = o;
    p->keep = 1 - 1 / o.memory_requests;
    weirp_curve_init(&p->curve, o.value_least, o.value_most, o.memory_requests);
    weirp_traffic_init(&p->traffic, o.memory_weeks, o.requests * 3600 / (o.end_s - o.start_s));
    weirp_traffic_period(&p->traffic, o.start_s, o.end_s);
    *out = p;
    return WEIR_OK;
}

void weirp_pacer_free(weirp_pacer *pacer) {
    free(pacer);
}

weir_status weirp_pacer_begin(weirp_pacer *p, double limit_usd, double start_s, double end_s, weir_error *err) {
    weir_status st = check_period(limit_usd, start_s, end_s, err);
    if (st != WEIR_OK) return st;
    if (start_s != p->options.start_s) p->n = p->quality = 0, p->contradiction = false;
    p->options.limit_usd = limit_usd, p->options.start_s = start_s, p->options.end_s = end_s;
    weirp_traffic_period(&p->traffic, start_s, end_s);
    return WEIR_OK;
}

/* ---- learning ---- */

void weirp_pacer_observe(weirp_pacer *p, weirp_moment now, size_t n_models, const double *quality,
                         const double *cost_usd, const bool *eligible) {
    if (weirp_curve_add(&p->curve, n_models, quality, cost_usd, eligible)) weirp_traffic_pass(&p->traffic, now, true);
}

void weirp_pacer_spent(weirp_pacer *p, double quality, double expected_usd, double actual_usd) {
    if (isfinite(quality)) p->n++, p->quality += fmin(fmax(quality, 0), 1);
    if (!(expected_usd > 0 && expected_usd < 1e6 && actual_usd >= 0 && actual_usd < 1e6)) return;
    p->expected = p->keep * p->expected + expected_usd;
    p->actual = p->keep * p->actual + actual_usd;
    p->settled = p->keep * p->settled + 1;
}

/* What a call costs over what it was thought to cost. */
static double cost_ratio(const weirp_pacer *p) {
    if (!(p->settled > 0)) return 1;
    const double prior = RATIO_PRIOR * p->expected / p->settled;
    return fmin(fmax((prior + p->actual) / (prior + p->expected), RATIO_LEAST), RATIO_MOST);
}

/* ---- prices ---- */

/* What one more dollar buys where there are `usd` for a request on average. */
static double price_of(const weirp_curve *c, double usd) {
    const double none = 1 / c->most;
    if (usd > c->cost[0]) {
        const double value = weirp_curve_find(c, c->cost, usd);
        return value < c->most ? 1 / value : none;
    }
    const double first = 1 / weirp_curve_find(c, c->cost, c->cost[0] * (1 + 1e-12));
    return fmax(c->cost[0] > 0 ? c->quality[0] / c->cost[0] : none, fmax(first, none));
}

/* The requests to come, this one among them, and how unsure what they cost at `value` is: a lognormal's parameters. */
typedef struct outlook {
    double n, sd;        /* requests */
    double shift, width; /* of the logarithm of their cost over its mean */
} outlook;

static void set_width(outlook *o, const weirp_curve *c, double value) {
    const double cost = weirp_curve_at(c, c->cost, value), square = weirp_curve_at(c, c->square, value);
    double spread = o->sd * o->sd / (o->n * o->n);
    if (cost > 0) spread += fmax(square / (cost * cost) - 1, 0) / o->n;
    o->width = sqrt(log1p(spread));
    o->shift = -o->width * o->width / 2;
}

static double budget_value(const weirp_pacer *p, outlook *o, double left, double ratio) {
    const weirp_curve *c = &p->curve;
    double price = price_of(c, left / (o->n * ratio));
    set_width(o, c, 1 / price);
    price = 0;
    for (size_t i = 0; i < NODES; i++)
        price +=
            WEIGHT[i] * price_of(c, left / (o->n * ratio * exp(CAUTION * (CAUTION * o->shift + o->width * NODE[i]))));
    return fmin(fmax(1 / price, p->options.value_least), p->options.value_most);
}

/* ---- the floor ---- */

/* Mean quality that the rest needs for the period to have the floor's. */
static double quality_needed(const weirp_pacer *p, double n) {
    return (p->options.floor * (p->n + n) - p->quality) / n;
}

static double apply_floor(weirp_pacer *p, weirp_pace *pace, double value, const outlook *o, double ratio) {
    const weirp_curve *c = &p->curve;
    const double need = quality_needed(p, o->n), found = weirp_curve_find(c, c->quality, need);
    const double least = fmin(found, p->options.value_most);
    pace->unreachable = !isfinite(found);
    pace->floor_usd = o->n * ratio * weirp_curve_at(c, c->cost, least);
    const double bound = pace->left_usd * (p->contradiction ? CALM : 1);
    p->contradiction = pace->floor_usd > bound || pace->unreachable;
    pace->contradiction = p->contradiction;
    if (pace->floor_usd > pace->left_usd) return p->options.floor_first ? least : value;
    return p->options.thrift ? least : fmax(value, least);
}

/* ---- the answer ---- */

/* A sum that isn't a number says that nothing is left. */
static double sum_of(double usd) {
    return isfinite(usd) ? fmax(usd, 0) : INFINITY;
}

static void expect(const weirp_pacer *p, weirp_pace *pace, outlook *o, double gone, double ratio) {
    const weirp_curve *c = &p->curve;
    set_width(o, c, pace->value);
    /* This request is taken for one of those to come; where it isn't, it is one too many. */
    const double rest = o->n * ratio * weirp_curve_at(c, c->cost, pace->value);
    pace->spend = gone + rest;
    pace->spend_low = gone + rest * exp(o->shift - Z90 * o->width);
    pace->spend_high = gone + rest * exp(o->shift + Z90 * o->width);
    pace->quality = (p->quality + o->n * weirp_curve_at(c, c->quality, pace->value)) / (p->n + o->n);
}

weirp_pace weirp_pacer_value(weirp_pacer *p, weirp_moment now, double spent_usd, double in_flight_usd) {
    weirp_pace pace = {0};
    weirp_curve *c = &p->curve;
    const double gone = sum_of(spent_usd) + sum_of(in_flight_usd);
    pace.left_usd = fmax(p->options.limit_usd - gone, 0);
    pace.value = fmin(fmax(p->options.value, p->options.value_least), p->options.value_most);
    pace.most_usd = pace.left_usd;
    pace.spend = pace.spend_low = pace.spend_high = gone;
    weirp_traffic_pass(&p->traffic, now, false);
    double mean, variance;
    weirp_traffic_forecast(&p->traffic, fabs(now.unix_s) < 1e12 ? now.unix_s : p->traffic.last_s, &mean, &variance);
    const double spread = mean > 0 ? sqrt(log1p(variance / (mean * mean))) : 0;
    pace.requests = mean;
    pace.requests_low = mean * exp(-spread * spread / 2 - Z90 * spread);
    pace.requests_high = mean * exp(-spread * spread / 2 + Z90 * spread);
    pace.known = c->n > 0 && isfinite(p->traffic.last_s) && (p->traffic.seen > 0 || p->traffic.guess > 0);
    if (!pace.known) return pace;

    weirp_curve_refresh(c);
    const double ratio = cost_ratio(p);
    outlook o = {.n = mean + 1, .sd = sqrt(variance)};
    const double cheapest = c->cost[0] * ratio;
    pace.overloaded = o.n * cheapest > pace.left_usd;
    pace.most_usd = fmax(pace.left_usd - mean * cheapest, pace.left_usd / o.n);
    pace.value = budget_value(p, &o, pace.left_usd, ratio);
    if (p->options.floor > 0) pace.value = apply_floor(p, &pace, pace.value, &o, ratio);
    expect(p, &pace, &o, gone, ratio);
    return pace;
}

/* ---- bytes ---- */

void weirp_pacer_save(const weirp_pacer *p, weirp_writer *out) {
    weirp_put_u32(out, VERSION);
    weirp_put_f64(out, p->options.start_s);
    weirp_put_f64(out, p->expected);
    weirp_put_f64(out, p->actual);
    weirp_put_f64(out, p->settled);
    weirp_put_f64(out, p->n);
    weirp_put_f64(out, p->quality);
    weirp_put_u32(out, p->contradiction);
    weirp_curve_save(&p->curve, out);
    weirp_traffic_save(&p->traffic, out);
}

weir_status weirp_pacer_load(weirp_pacer *pacer, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes in = {.data = data, .size = size};
    const uint32_t version = weirp_get_u32(&in);
    if (in.failed) return weirp_fail(err, WEIR_CORRUPT, 0, "a pacer's state is cut short");
    if (version > VERSION) return weirp_fail(err, WEIR_NEWER, 0, "a pacer's state is of a newer version");
    weirp_pacer *p = malloc(sizeof *p);
    if (!p) return weirp_nomem(err);
    *p = *pacer;
    const double start = weirp_get_f64(&in);
    double *const sums[] = {&p->expected, &p->actual, &p->settled, &p->n, &p->quality};
    bool good = version == VERSION && isfinite(start);
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        *sums[i] = weirp_get_f64(&in);
        if (!(*sums[i] >= 0 && *sums[i] < 1e15)) good = false;
    }
    p->contradiction = weirp_get_u32(&in) == 1;
    if (start != p->options.start_s) p->n = p->quality = 0, p->contradiction = false; /* of another period */
    good = good && weirp_curve_load(&p->curve, &in) && weirp_traffic_load(&p->traffic, &in) && in.at == in.size;
    weir_status st = WEIR_OK;
    if (good)
        *pacer = *p;
    else
        st = weirp_fail(err, WEIR_CORRUPT, 0, "a pacer's state is damaged, or was saved with another range of values");
    free(p);
    return st;
}

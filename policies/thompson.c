/* thompson.c: each model with the probability that it is the best, given what is known (Thompson, Biometrika 25, 1933).
 *
 * The beliefs are normal and independent: R_m ~ N(risk_m, (value * sd_m)^2). Costs count at their expectation, for any
 * answer teaches them. The probabilities are computed, not sampled, so that the propensity that is logged is the one
 * that was drawn from.
 *
 * With more than two models: P(m is least) = integral of S(r) dH_m(r), where S is the product of the survival functions
 * and H_m = -log S_m the cumulative hazards. Between two edges the hazards are taken as proportional, which is exact
 * for the mass of a cell (it telescopes to 1) and only approximate in how models share it. The edges are quantiles of
 * the models' own beliefs, so that narrow and wide ones get the resolution they need. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "policies/policy.h"

#define MAX_CONTENDERS 64
#define REACH          4.0 /* standard deviations; what lies beyond is 3e-5 */
#define STEP           0.5
#define EDGES_EACH     17 /* 2 * REACH / STEP + 1 */

typedef struct contender {
    size_t model;
    double mean, sd;
} contender;

static contender belief(const weirp_view *v, const weir_decision *d, size_t m) {
    double sd = v->value * weirp_view_quality_sd(v, m);
    double mean = d->risk_usd[m];
    return (contender){m, mean, fmax(sd, 1e-9 * (v->value + fabs(mean)) + 1e-300)};
}

static double optimism(const contender *c) {
    return c->mean - REACH * c->sd;
}

/* Those that might be best; of more than MAX_CONTENDERS, the most promising. */
static size_t choose_contenders(const weirp_view *v, const weir_decision *d, contender *out, double *cap) {
    *cap = INFINITY;
    for (size_t m = 0; m < d->n_models; m++) {
        if (!v->estimates->eligible[m]) continue;
        contender c = belief(v, d, m);
        *cap = fmin(*cap, c.mean + REACH * c.sd);
    }
    size_t n = 0;
    for (size_t m = 0; m < d->n_models; m++) {
        if (!v->estimates->eligible[m]) continue;
        contender c = belief(v, d, m);
        if (optimism(&c) > *cap) continue;
        if (n < MAX_CONTENDERS) {
            out[n++] = c;
            continue;
        }
        size_t worst = 0;
        for (size_t i = 1; i < n; i++)
            if (optimism(&out[i]) > optimism(&out[worst])) worst = i;
        if (optimism(&c) < optimism(&out[worst])) out[worst] = c;
    }
    return n;
}

/* Shell sort with Ciura's gaps: at most about a thousand edges, mostly few. */
static void sort(double *x, size_t n) {
    static const size_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < n; i++) {
            double t = x[i];
            size_t j = i;
            for (; j >= gaps[g] && x[j - gaps[g]] > t; j -= gaps[g]) x[j] = x[j - gaps[g]];
            x[j] = t;
        }
}

static size_t make_edges(const contender *c, size_t n, double cap, double *edges) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        for (int s = 0; s < EDGES_EACH; s++) {
            double e = c[i].mean + (s * STEP - REACH) * c[i].sd;
            if (e < cap) edges[k++] = e;
        }
    edges[k++] = cap;
    sort(edges, k);
    return k;
}

static double cumulative_hazard(const contender *c, double r) {
    double z = (r - c->mean) / c->sd;
    return z > 0 ? -log(0.5 * erfc(z * M_SQRT1_2)) : -log1p(-0.5 * erfc(-z * M_SQRT1_2));
}

static void integrate(const contender *c, size_t n, double cap, double *p) {
    double edges[MAX_CONTENDERS * EDGES_EACH + 1], before[MAX_CONTENDERS] = {0}, step[MAX_CONTENDERS];
    size_t n_edges = make_edges(c, n, cap, edges);
    double survive = 1;
    for (size_t e = 0; e < n_edges; e++) {
        double total = 0;
        for (size_t i = 0; i < n; i++) {
            double h = cumulative_hazard(&c[i], edges[e]);
            step[i] = fmax(0, h - before[i]);
            before[i] = fmax(h, before[i]);
            total += step[i];
        }
        if (!(total > 0)) continue;
        double mass = survive * -expm1(-total);
        for (size_t i = 0; i < n; i++) p[c[i].model] += mass * step[i] / total;
        survive *= exp(-total);
    }
}

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    (void)err;
    d->model = weirp_view_least(v, d->risk_usd);
    d->rule = WEIR_RULE_THOMPSON;
    d->reason = v->has_cost ? WEIR_REASON_LEAST_RISK : WEIR_REASON_NO_COST;

    contender c[MAX_CONTENDERS];
    double cap, sum = 0;
    size_t n = choose_contenders(v, d, c, &cap);
    if (n == 1) {
        d->propensity[c[0].model] = 1;
        return WEIR_OK;
    }
    if (n == 2) {
        double p = 0.5 * erfc((c[0].mean - c[1].mean) / hypot(c[0].sd, c[1].sd) * M_SQRT1_2);
        d->propensity[c[0].model] = p;
        d->propensity[c[1].model] = 1 - p;
        return WEIR_OK;
    }
    integrate(c, n, cap, d->propensity);
    for (size_t i = 0; i < n; i++) sum += d->propensity[c[i].model];
    for (size_t i = 0; i < n; i++) d->propensity[c[i].model] /= sum;
    return WEIR_OK;
}

const weirp_policy weirp_policy_thompson = {"thompson", NULL, decide, true};

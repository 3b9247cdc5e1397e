/* view.c: estimates made safe to calculate with, and the risks that all policies share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "policies/policy.h"
#include "src/linalg/parallel.h"

/* Standard deviation of a uniform belief over [0,1]: what "nothing is known" means. */
#define SD_OF_IGNORANCE 0.28867513459481287

static double clip(double x, double lo, double hi, double otherwise) {
    if (!(x == x)) return otherwise;
    return x < lo ? lo : x > hi ? hi : x;
}

static bool known(double x) {
    return isfinite(x) && x >= 0;
}

/* Rounding may push an estimate past its bounds by a hair; more than that is a fault. */
static bool possible_quality(double q) {
    return q >= -1e-6 && q <= 1 + 1e-6;
}

static bool possible_amount(double x) {
    return isnan(x) || (isfinite(x) && x >= 0);
}

static bool possible(const weir_estimates *e, size_t m) {
    return possible_quality(e->quality[m]) && possible_quality(e->quality_lo[m]) &&
           possible_quality(e->quality_hi[m]) && isfinite(e->quality_sd[m]) && e->quality_sd[m] >= 0 &&
           possible_amount(e->cost_usd[m]) && possible_amount(e->cost_lo[m]) && possible_amount(e->cost_hi[m]);
}

/* What 1 - q and money weigh in the risk at a value. Without a cost only quality counts, whatever it is worth. */
static inline double weight_of_value(double value_usd, bool has_cost) {
    return isinf(value_usd) || (!has_cost && value_usd == 0) ? 1 : value_usd;
}

static inline double weight_of_money(double value_usd) {
    return isinf(value_usd) ? 0 : 1;
}

weirp_view weirp_view_make(const weir_policy_options *options, const weir_estimates *e) {
    weirp_view v = {.options = options, .estimates = e};
    double lo = INFINITY;
    for (size_t m = 0; m < e->n_models; m++) {
        if (!e->eligible[m]) continue;
        v.n_eligible++;
        if (!possible(e, m)) v.failed = true;
        if (known(e->latency_ms[m])) v.latency_fill = fmax(v.latency_fill, e->latency_ms[m]);
        if (!known(e->cost_usd[m])) continue;
        v.has_cost = true;
        v.cost_fill = fmax(v.cost_fill, e->cost_usd[m]);
        v.cost_hi_fill = fmax(v.cost_hi_fill, known(e->cost_hi[m]) ? e->cost_hi[m] : e->cost_usd[m]);
        lo = fmin(lo, known(e->cost_lo[m]) ? e->cost_lo[m] : e->cost_usd[m]);
    }
    v.cost_lo_fill = v.has_cost ? lo : 0;
    v.value = weight_of_value(options->value_usd, v.has_cost);
    v.money = weight_of_money(options->value_usd);
    return v;
}

double weirp_view_quality(const weirp_view *v, size_t m) {
    return clip(v->estimates->quality[m], 0, 1, 0);
}

double weirp_view_quality_sd(const weirp_view *v, size_t m) {
    double sd = v->estimates->quality_sd[m];
    return isfinite(sd) && sd >= 0 ? sd : SD_OF_IGNORANCE;
}

static double latency(const weirp_view *v, size_t m) {
    return known(v->estimates->latency_ms[m]) ? v->estimates->latency_ms[m] : v->latency_fill;
}

double weirp_view_spend(const weirp_view *v, size_t m) {
    double cost = known(v->estimates->cost_usd[m]) ? v->estimates->cost_usd[m] : v->cost_fill;
    return cost + v->options->latency_usd_per_s * latency(v, m) / 1000;
}

double weirp_view_risk(const weirp_view *v, size_t m) {
    return v->value * (1 - weirp_view_quality(v, m)) + v->money * weirp_view_spend(v, m);
}

void weirp_view_risk_bounds(const weirp_view *v, size_t m, double *lo, double *hi) {
    const weir_estimates *e = v->estimates;
    bool sound = isfinite(e->quality[m]);
    double q_lo = sound ? clip(e->quality_lo[m], 0, 1, 0) : 0;
    double q_hi = sound ? clip(e->quality_hi[m], q_lo, 1, 1) : 1;
    double c_lo = v->cost_lo_fill, c_hi = v->cost_hi_fill;
    if (known(e->cost_usd[m])) {
        c_lo = known(e->cost_lo[m]) ? e->cost_lo[m] : 0;
        c_hi = fmax(c_lo, known(e->cost_hi[m]) ? e->cost_hi[m] : v->cost_hi_fill);
    }
    /* Latencies are about log-normal, so that the 5th percentile is as far below the median as the 95th is above. */
    double l = latency(v, m), l_hi = known(e->latency_p95[m]) ? fmax(l, e->latency_p95[m]) : l;
    double l_lo = l_hi > 0 ? l * l / l_hi : 0, usd_per_ms = v->options->latency_usd_per_s / 1000;
    *lo = v->value * (1 - q_hi) + v->money * (c_lo + usd_per_ms * l_lo);
    *hi = v->value * (1 - q_lo) + v->money * (c_hi + usd_per_ms * l_hi);
}

/* Worst-case regret needs the least lower bound among the OTHER models: the least and the second least suffice. */
void weirp_view_tables(const weirp_view *v, double *risk, double *regret) {
    const weir_estimates *e = v->estimates;
    double least = INFINITY, second = INFINITY;
    size_t owner = (size_t)-1;
    for (size_t m = 0; m < e->n_models; m++) {
        risk[m] = regret[m] = INFINITY;
        if (!e->eligible[m]) continue;
        double lo, hi;
        weirp_view_risk_bounds(v, m, &lo, &hi);
        risk[m] = weirp_view_risk(v, m);
        regret[m] = hi;
        if (lo < least) {
            second = least;
            least = lo;
            owner = m;
        } else if (lo < second) {
            second = lo;
        }
    }
    for (size_t m = 0; m < e->n_models; m++)
        if (e->eligible[m]) regret[m] = fmax(0, regret[m] - (m == owner ? second : least));
}

size_t weirp_view_least(const weirp_view *v, const double *key) {
    size_t best = (size_t)-1;
    for (size_t m = 0; m < v->estimates->n_models; m++) {
        if (!v->estimates->eligible[m]) continue;
        if (best == (size_t)-1 || key[m] < key[best] ||
            (key[m] == key[best] && weirp_view_spend(v, m) < weirp_view_spend(v, best)))
            best = m;
    }
    return best;
}

size_t weirp_view_careful(const weirp_view *v, const weir_decision *d) {
    const bool *eligible = v->estimates->eligible;
    size_t best = weirp_view_least(v, d->regret_usd);
    for (size_t m = 0; m < v->estimates->n_models; m++)
        if (eligible[m] && d->regret_usd[m] == d->regret_usd[best] && d->risk_usd[m] < d->risk_usd[best]) best = m;
    return best;
}

/* ---- many values at once ---- */

/* Values whose best models are found together: their numbers stay in registers. As vectors, since compilers keep the
 * lanes of a choice apart otherwise. */
enum { LANES = 4, VALUES = 64, MODELS = 64 };
typedef double lane __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t mask __attribute__((vector_size(LANES * sizeof(int64_t)))); /* -1: yes */

typedef struct best {
    lane value, money; /* weights in the risk */
    lane risk, spend;  /* of the best model so far */
    mask model;
} best;

typedef struct some_models {
    size_t n;
    double missing[MODELS], spend[MODELS]; /* 1 - q */
    int64_t index[MODELS];
} some_models;

/* No function: it would have to be compiled for each kind of processor, too. */
#define CHOOSE(yes, a, b) ((lane)(((yes) & (mask)(a)) | (~(yes) & (mask)(b))))

/* The order of weirp_view_least. */
WEIRP_CLONES static void take_less(best *all, size_t n, const some_models *s) {
    for (size_t k = 0; k < n; k++) {
        best b = all[k];
        for (size_t m = 0; m < s->n; m++) {
            const lane spend = s->spend[m] - (lane){0};
            const lane risk = b.value * s->missing[m] + b.money * spend;
            const mask less = (risk < b.risk) | ((risk == b.risk) & (spend < b.spend));
            b.risk = CHOOSE(less, risk, b.risk);
            b.spend = CHOOSE(less, spend, b.spend);
            b.model = (less & s->index[m]) | (~less & b.model);
        }
        all[k] = b;
    }
}

/* Spare lanes at the end repeat the last value. Returns how many vectors there are. */
static size_t begin_with(best *all, const weirp_view *v, const double *value_usd, size_t n, size_t m) {
    const double missing = 1 - weirp_view_quality(v, m), spend = weirp_view_spend(v, m);
    const size_t n_vectors = (n + LANES - 1) / LANES;
    double value[VALUES], money[VALUES];
    for (size_t k = 0; k < n; k++) {
        value[k] = weight_of_value(value_usd[k], v->has_cost);
        money[k] = weight_of_money(value_usd[k]);
    }
    for (size_t k = n; k < n_vectors * LANES; k++) {
        value[k] = value[n - 1];
        money[k] = money[n - 1];
    }
    for (size_t k = 0; k < n_vectors; k++) {
        best *b = &all[k];
        memcpy(&b->value, value + k * LANES, sizeof b->value);
        memcpy(&b->money, money + k * LANES, sizeof b->money);
        b->spend = spend - (lane){0};
        b->risk = b->value * missing + b->money * b->spend;
        b->model = (int64_t)m - (mask){0};
    }
    return n_vectors;
}

void weirp_view_least_at(const weirp_view *v, const double *value_usd, size_t n, uint32_t *model) {
    const bool *eligible = v->estimates->eligible;
    const size_t n_models = v->estimates->n_models;
    size_t first = 0;
    while (!eligible[first]) first++;
    for (size_t done = 0; done < n; done += VALUES) {
        const size_t some = n - done < VALUES ? n - done : VALUES;
        best all[VALUES / LANES];
        const size_t n_vectors = begin_with(all, v, value_usd + done, some, first);
        for (size_t m = first + 1; m < n_models;) {
            some_models s;
            for (s.n = 0; m < n_models && s.n < MODELS; m++) {
                if (!eligible[m]) continue;
                s.missing[s.n] = 1 - weirp_view_quality(v, m);
                s.spend[s.n] = weirp_view_spend(v, m);
                s.index[s.n++] = (int64_t)m;
            }
            take_less(all, n_vectors, &s);
        }
        for (size_t k = 0; k < some; k++) model[done + k] = (uint32_t)all[k / LANES].model[k % LANES];
    }
}

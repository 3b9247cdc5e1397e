/* Policies against enumerated cases, closed forms and brute force; random estimates, broken ones among them, never make
 * one choose what it may not. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "policies/policy.h"
#include "src/base/base.h"

enum { MAX = 80 };

/* Estimates and a decision with room for MAX models. */
typedef struct desk {
    double q[MAX], sd[MAX], qlo[MAX], qhi[MAX], c[MAX], csd[MAX], clo[MAX], chi[MAX], l[MAX], lp[MAX], out[MAX];
    bool eligible[MAX];
    double risk[MAX], regret[MAX], propensity[MAX];
    weir_estimates e;
    weir_decision d;
    weir_policy_options o;
} desk;

static void desk_init(desk *k, size_t n, const double *q, const double *cost) {
    memset(k, 0, sizeof *k);
    for (size_t m = 0; m < n; m++) {
        k->q[m] = q ? q[m] : 0.5;
        k->sd[m] = 0.05;
        k->qlo[m] = fmax(0, k->q[m] - 0.2);
        k->qhi[m] = fmin(1, k->q[m] + 0.2);
        k->c[m] = cost ? cost[m] : NAN;
        k->clo[m] = cost ? cost[m] / 2 : NAN;
        k->chi[m] = cost ? cost[m] * 2 : NAN;
        k->csd[m] = cost ? cost[m] / 4 : NAN;
        k->l[m] = k->lp[m] = k->out[m] = NAN;
        k->eligible[m] = true;
    }
    k->e = (weir_estimates){n,    k->q,  k->sd, k->qlo, k->qhi,      k->c, k->csd, k->clo, k->chi,
                            k->l, k->lp, 100,   k->out, k->eligible, 0.9,  0.5,    true};
    k->d = (weir_decision){n, 0, 0, 0, k->risk, k->regret, k->propensity};
    k->o = weir_policy_defaults();
}

static void decide(desk *k) {
    weir_error err = {0};
    weir_status st = weir_policy_decide(&k->o, &k->e, &k->d, &err);
    if (st != WEIR_OK) fail_msg("%s: %s", weir_status_name(st), err.text);
}

static void expect(desk *k, const char *policy, size_t model, weir_rule rule, weir_reason reason) {
    k->o.policy = policy;
    decide(k);
    assert_int_equal(k->d.model, model);
    assert_int_equal(k->d.rule, rule);
    assert_int_equal(k->d.reason, reason);
}

static double uniform(uint64_t i, uint64_t stream) {
    return weirp_random_uniform(77, stream, i);
}

/* ---- plug-in ---- */

static void plugin_small_case(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 3, (double[]){0.9, 0.7, 0.4}, (double[]){0.3, 0.05, 0.01});
    expect(&k, NULL, 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK); /* risks 0.4, 0.35, 0.61 */
    assert_float_equal(k.risk[0], 0.4, 1e-15);
    assert_float_equal(k.risk[1], 0.35, 1e-15);
    assert_float_equal(k.risk[2], 0.61, 1e-15);
    assert_true(k.propensity[0] == 0 && k.propensity[1] == 1 && k.propensity[2] == 0);
    k.o.value_usd = 0;
    expect(&k, "plugin", 2, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.o.value_usd = 1.3;
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK); /* 0.43, 0.44, 0.79 */
    k.eligible[0] = false;
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    assert_true(isinf(k.risk[0]) && isinf(k.regret[0]));
}

static void price_of_time(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 2, (double[]){0.8, 0.8}, (double[]){0.10, 0.11});
    k.l[0] = 3000;
    k.l[1] = 500;
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.o.latency_usd_per_s = 0.02; /* 0.26 + ... against 0.12 + ... */
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    assert_float_equal(k.risk[0], 0.2 + 0.10 + 0.06, 1e-15);
    k.l[1] = NAN; /* unknown: as slow as the slowest */
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
}

static void infinite_value_and_ties(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 4, (double[]){0.8, 0.9, 0.9, 0.9}, (double[]){0.1, 7, 5, 5});
    k.o.value_usd = INFINITY;
    expect(&k, "plugin", 2, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK); /* best, then cheaper, then lower index */
    assert_float_equal(k.risk[0], 0.2, 1e-15);
    desk_init(&k, 3, (double[]){0.5, 0.5, 0.5}, (double[]){0.2, 0.1, 0.1});
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    /* equal risk by exchange of quality for money: the cheaper one */
    desk_init(&k, 2, (double[]){0.75, 0.5}, (double[]){0.5, 0.25});
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
}

static void no_cost_known(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 3, (double[]){0.2, 0.6, 0.4}, NULL);
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_NO_COST);
    k.o.value_usd = 0;
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_NO_COST);
    /* one unknown among known ones counts as the dearest */
    desk_init(&k, 3, (double[]){0.5, 0.5, 0.5}, (double[]){0.2, 0.3, 0.1});
    k.c[2] = k.clo[2] = k.chi[2] = NAN;
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    assert_float_equal(k.risk[2], 0.8, 1e-15);
}

/* CARROT's convex combination (1-mu)(1-q) + mu c has the same argmin at value = (1-mu)/mu. */
static void carrot_convex_combination(void **state) {
    (void)state;
    for (uint64_t t = 0; t < 2000; t++) {
        desk k;
        double q[6], c[6], mu = uniform(t, 1);
        size_t best = 0;
        for (size_t m = 0; m < 6; m++) {
            q[m] = uniform(t * 6 + m, 2);
            c[m] = uniform(t * 6 + m, 3);
            if ((1 - mu) * (1 - q[m]) + mu * c[m] < (1 - mu) * (1 - q[best]) + mu * c[best]) best = m;
        }
        desk_init(&k, 6, q, c);
        k.o.value_usd = weir_value_from_mu(mu);
        decide(&k);
        assert_int_equal(k.d.model, best);
    }
    assert_true(isinf(weir_value_from_mu(0)));
    assert_true(weir_value_from_mu(1) == 0);
    assert_float_equal(weir_value_from_mu(0.2), 4, 1e-12);
}

/* ---- minimax ---- */

static void minimax_brute_force(void **state) {
    (void)state;
    for (uint64_t t = 0; t < 3000; t++) {
        desk k;
        size_t n = 1 + t % 6;
        desk_init(&k, n, NULL, (double[]){1, 1, 1, 1, 1, 1});
        double value = t % 5 == 0 ? 0 : uniform(t, 4) * 3;
        k.o.value_usd = value;
        bool any = false;
        for (size_t m = 0; m < n; m++) {
            double a = uniform(t * 8 + m, 5), b = uniform(t * 8 + m, 6), c = uniform(t * 8 + m, 7);
            k.qlo[m] = fmin(a, b);
            k.qhi[m] = fmax(a, b);
            k.q[m] = (a + b) / 2;
            k.c[m] = c;
            k.clo[m] = c * uniform(t * 8 + m, 8);
            k.chi[m] = c * (1 + uniform(t * 8 + m, 9));
            k.eligible[m] = uniform(t * 8 + m, 10) < 0.8;
            any |= k.eligible[m];
        }
        if (!any) k.eligible[0] = true;
        double regret[6];
        size_t best = (size_t)-1;
        for (size_t m = 0; m < n; m++) {
            regret[m] = INFINITY;
            if (!k.eligible[m]) continue;
            /* the worst world for m: m at its upper bound, any one other model at its lower */
            regret[m] = 0;
            for (size_t j = 0; j < n; j++) {
                if (j == m || !k.eligible[j]) continue;
                double gap = value * (1 - k.qlo[m]) + k.chi[m] - (value * (1 - k.qhi[j]) + k.clo[j]);
                if (gap > regret[m]) regret[m] = gap;
            }
            if (best == (size_t)-1 || regret[m] < regret[best] || (regret[m] == regret[best] && k.c[m] < k.c[best]))
                best = m;
        }
        expect(&k, "minimax", best, WEIR_RULE_MINIMAX, WEIR_REASON_ASKED);
        for (size_t m = 0; m < n; m++) {
            if (isinf(regret[m]))
                assert_true(isinf(k.regret[m]));
            else
                assert_float_equal(k.regret[m], regret[m], 1e-12);
        }
    }
}

static void fallback_reasons(void **state) {
    (void)state;
    desk k;
    /* by expectation model 0; by worst case model 1, whose bounds are tight */
    desk_init(&k, 2, (double[]){0.8, 0.7}, (double[]){0.01, 0.01});
    k.qlo[0] = 0, k.qhi[0] = 1, k.qlo[1] = 0.69, k.qhi[1] = 0.71;
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.e.novelty = 0.9995;
    expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_NOVEL_PROMPT);
    k.o.novelty_limit = 1;
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.e.novelty = NAN; /* a novelty that can't be told is no ground for trust */
    expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_NOVEL_PROMPT);
    k.e.novelty = 0;
    k.e.fitted = false;
    expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_NO_ESTIMATOR);
    k.e.fitted = true;
    const double broken[] = {NAN, INFINITY, -INFINITY, -0.5, 1.5};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        k.q[0] = broken[i];
        expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_ESTIMATOR_FAILED);
    }
    k.q[0] = 0.8;
    k.c[0] = -1;
    expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_ESTIMATOR_FAILED);
    k.c[0] = 0.01;
    k.o.fallback = false;
    k.q[0] = NAN; /* without fallback a model of unknown quality isn't preferred */
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.o.fallback = true;
    k.eligible[0] = false; /* what isn't eligible may be broken */
    expect(&k, "plugin", 1, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
}

static void wide_intervals(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 2, (double[]){0.6, 0.5}, (double[]){0.05, 0.01});
    for (size_t m = 0; m < 2; m++) k.sd[m] = 0.27, k.qlo[m] = 0, k.qhi[m] = 1;
    expect(&k, "plugin", 1, WEIR_RULE_MINIMAX, WEIR_REASON_WIDE_INTERVALS);
    k.sd[1] = 0.2; /* the cheaper one is known better: the comparison means something */
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.sd[1] = 0.27;
    k.q[0] = 0.95, k.q[1] = 0.1; /* a gap of more than its standard error */
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
    k.q[0] = 0.6, k.q[1] = 0.5;
    k.o.value_usd = INFINITY; /* money doesn't count */
    expect(&k, "plugin", 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK);
}

/* ---- threshold ---- */

static void threshold_closed_form(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 3, (double[]){0.6, 0.9, 0.7}, (double[]){0.01, 0.5, 0.2});
    k.sd[0] = 0.3, k.sd[1] = 0.4; /* gap 0.3, variance 0.09 + 0.16 + 0.24 + 0.09: P = Phi(0.3 / sqrt(0.58)) */
    weirp_view v = weirp_view_make(&k.o, &k.e);
    assert_float_equal(weirp_strong_wins(&v, 1, 0), 0.6531796891081207, 1e-14);
    assert_float_equal(weirp_strong_wins(&v, 0, 1), 1 - 0.6531796891081207, 1e-14);
    assert_float_equal(weir_policy_strong_wins(&k.e, 1, 0), 0.6531796891081207, 1e-14);
    k.o.threshold = 0.6531;
    expect(&k, "threshold", 1, WEIR_RULE_THRESHOLD, WEIR_REASON_STRONG); /* best and cheapest by themselves */
    k.o.threshold = 0.6532;
    expect(&k, "threshold", 0, WEIR_RULE_THRESHOLD, WEIR_REASON_WEAK);
    k.o.strong = 2, k.o.weak = 1, k.o.threshold = 0.9;
    expect(&k, "threshold", 1, WEIR_RULE_THRESHOLD, WEIR_REASON_WEAK);
    k.eligible[1] = false; /* the other one of the two steps in */
    expect(&k, "threshold", 2, WEIR_RULE_THRESHOLD, WEIR_REASON_STRONG);
    k.eligible[2] = false;
    weir_error err = {0};
    assert_int_equal(weir_policy_decide(&k.o, &k.e, &k.d, &err), WEIR_NODATA);
    /* certain estimates */
    desk_init(&k, 2, (double[]){1, 0}, NULL);
    k.sd[0] = k.sd[1] = 0;
    k.o.threshold = 1;
    expect(&k, "threshold", 0, WEIR_RULE_THRESHOLD, WEIR_REASON_STRONG);
    k.q[0] = k.q[1] = 0.6; /* equal: a coin's chance */
    k.o.strong = 0, k.o.weak = 1, k.o.threshold = 0.51;
    expect(&k, "threshold", 1, WEIR_RULE_THRESHOLD, WEIR_REASON_WEAK);
    k.o.threshold = 0.5;
    expect(&k, "threshold", 0, WEIR_RULE_THRESHOLD, WEIR_REASON_STRONG);
}

/* ---- constrained ---- */

static void constrained_cases(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 3, (double[]){0.9, 0.7, 0.4}, (double[]){0.3, 0.05, 0.01});
    for (size_t m = 0; m < 3; m++) k.l[m] = 1000 * (double)(3 - m);
    expect(&k, "constrained", 1, WEIR_RULE_CONSTRAINED, WEIR_REASON_WITHIN_LIMITS);
    k.o.max_cost_usd = 0.04;
    expect(&k, "constrained", 2, WEIR_RULE_CONSTRAINED, WEIR_REASON_WITHIN_LIMITS);
    k.o.max_cost_usd = 0.005; /* none: the nearest */
    expect(&k, "constrained", 2, WEIR_RULE_CONSTRAINED, WEIR_REASON_LIMITS_UNMET);
    k.o.max_cost_usd = 0;
    expect(&k, "constrained", 1, WEIR_RULE_CONSTRAINED, WEIR_REASON_LIMITS_UNMET); /* all infinitely far: least risk */
    k.o.max_cost_usd = INFINITY;
    k.o.min_quality = 0.8;
    expect(&k, "constrained", 0, WEIR_RULE_CONSTRAINED, WEIR_REASON_WITHIN_LIMITS);
    k.o.min_quality = 0.95;
    expect(&k, "constrained", 0, WEIR_RULE_CONSTRAINED, WEIR_REASON_LIMITS_UNMET);
    k.o.min_quality = 0;
    k.o.max_latency_ms = 1500;
    expect(&k, "constrained", 2, WEIR_RULE_CONSTRAINED, WEIR_REASON_WITHIN_LIMITS);
    k.l[2] = NAN; /* an unknown latency doesn't keep a limit */
    expect(&k, "constrained", 1, WEIR_RULE_CONSTRAINED, WEIR_REASON_LIMITS_UNMET);
}

/* Whatever the limits: least risk among those that keep them, whenever any does. */
static void constrained_brute_force(void **state) {
    (void)state;
    for (uint64_t t = 0; t < 3000; t++) {
        desk k;
        double q[5], c[5];
        for (size_t m = 0; m < 5; m++) q[m] = uniform(t * 5 + m, 11), c[m] = uniform(t * 5 + m, 12);
        desk_init(&k, 5, q, c);
        k.o.max_cost_usd = uniform(t, 13);
        k.o.min_quality = uniform(t, 14);
        size_t best = (size_t)-1;
        for (size_t m = 0; m < 5; m++) {
            if (c[m] > k.o.max_cost_usd || q[m] < k.o.min_quality) continue;
            if (best == (size_t)-1 || 1 - q[m] + c[m] < 1 - q[best] + c[best]) best = m;
        }
        k.o.policy = "constrained";
        decide(&k);
        assert_int_equal(k.d.reason, best == (size_t)-1 ? WEIR_REASON_LIMITS_UNMET : WEIR_REASON_WITHIN_LIMITS);
        if (best != (size_t)-1) assert_int_equal(k.d.model, best);
    }
}

/* ---- fixed, oracle ---- */

static void fixed_and_oracle(void **state) {
    (void)state;
    desk k;
    weir_error err = {0};
    desk_init(&k, 3, (double[]){0.9, 0.7, 0.4}, (double[]){0.3, 0.05, 0.01});
    k.o.fixed = 2;
    expect(&k, "fixed", 2, WEIR_RULE_FIXED, WEIR_REASON_ASKED);
    k.eligible[2] = false;
    assert_int_equal(weir_policy_decide(&k.o, &k.e, &k.d, &err), WEIR_NODATA);
    k.o.fixed = 3;
    assert_non_null(weir_policy_check(&k.o, 3));

    k.o.policy = "oracle";
    assert_non_null(weir_policy_check(&k.o, 3));
    k.eligible[2] = true;
    k.o.true_quality = (double[]){0, 1, 1};
    k.o.true_cost = (double[]){0.001, 0.5, 0.02};
    expect(&k, "oracle", 2, WEIR_RULE_ORACLE, WEIR_REASON_ASKED);
    assert_float_equal(k.risk[1], 0.5, 1e-15);
    k.o.true_quality = (double[]){0, 1, NAN};
    expect(&k, "oracle", 1, WEIR_RULE_ORACLE, WEIR_REASON_ASKED);
    k.o.value_usd = 0.1;
    expect(&k, "oracle", 0, WEIR_RULE_ORACLE, WEIR_REASON_ASKED);
}

/* ---- drawing ---- */

/* Frequencies over many draws against the logged propensities, within 5 standard errors. */
static void check_frequencies(desk *k, size_t n) {
    enum { DRAWS = 20000 };
    size_t count[MAX] = {0};
    double p[MAX], sum = 0;
    for (uint64_t t = 0; t < DRAWS; t++) {
        k->o.draw = t;
        decide(k);
        count[k->d.model]++;
        if (!t) memcpy(p, k->propensity, sizeof p);
        assert_memory_equal(p, k->propensity, n * sizeof *p);
    }
    for (size_t m = 0; m < n; m++) {
        sum += p[m];
        double se = sqrt(p[m] * (1 - p[m]) / DRAWS);
        assert_true(fabs((double)count[m] / DRAWS - p[m]) <= 5 * se + 1e-12);
        if (!k->eligible[m]) assert_true(p[m] == 0 && count[m] == 0);
    }
    assert_float_equal(sum, 1, 1e-12);
}

static void random_draws(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 4, (double[]){0.1, 0.2, 0.3, 0.4}, NULL);
    k.eligible[1] = false;
    k.o.policy = "random";
    check_frequencies(&k, 4);
    assert_float_equal(k.propensity[0], 1.0 / 3, 1e-15);
    assert_int_equal(k.d.reason, WEIR_REASON_ASKED);
}

static void exploration_floor(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 4, (double[]){0.5, 0.6, 0.9, 0.8}, (double[]){0.1, 0.1, 0.1, 0.1});
    k.eligible[3] = false;
    k.o.explore_floor = 0.1;
    check_frequencies(&k, 4);
    assert_float_equal(k.propensity[0], 0.1, 1e-15);
    assert_float_equal(k.propensity[2], 0.8, 1e-15);
    bool explored = false, own = false;
    for (k.o.draw = 0; k.o.draw < 100; k.o.draw++) {
        decide(&k);
        assert_int_equal(k.d.rule, WEIR_RULE_PLUGIN);
        assert_int_equal(k.d.reason, k.d.model == 2 ? WEIR_REASON_LEAST_RISK : WEIR_REASON_EXPLORED);
        explored |= k.d.model != 2;
        own |= k.d.model == 2;
    }
    assert_true(explored && own);
    k.o.explore_floor = 0.25; /* all of it */
    decide(&k);
    for (size_t m = 0; m < 3; m++) assert_true(k.propensity[m] >= 0.25);
    k.o.explore_floor = 0.26;
    assert_non_null(weir_policy_check(&k.o, 4));
    /* every policy keeps the floor */
    k.o.true_quality = k.q;
    for (size_t i = 0; weir_policy_name(i); i++) {
        k.o.policy = weir_policy_name(i);
        k.o.explore_floor = 0.05;
        k.o.draw = i;
        decide(&k);
        double sum = 0;
        for (size_t m = 0; m < 4; m++) {
            sum += k.propensity[m];
            if (k.eligible[m])
                assert_true(k.propensity[m] >= 0.05);
            else
                assert_true(k.propensity[m] == 0);
        }
        assert_float_equal(sum, 1, 1e-12);
    }
}

static void thompson_two_models(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 2, (double[]){0.6, 0.5}, (double[]){0.2, 0.02});
    k.sd[0] = 0.3, k.sd[1] = 0.4;
    k.o.policy = "thompson";
    /* risks 0.6 and 0.52: P(0 better) = Phi(-0.08 / 0.5) */
    decide(&k);
    assert_float_equal(k.propensity[0], 0.5 * erfc(0.16 / sqrt(2)), 1e-14);
    check_frequencies(&k, 2);
    k.o.value_usd = 2; /* the belief widens with the value: risks 1 and 1.02, sd 1 */
    decide(&k);
    assert_float_equal(k.propensity[0], 0.5 * erfc(-0.02 / sqrt(2)), 1e-14);
    k.sd[0] = k.sd[1] = 0; /* nothing to explore */
    decide(&k);
    assert_true(k.propensity[0] == 1);
}

/* Against direct sampling from the beliefs. */
static void thompson_many_models(void **state) {
    (void)state;
    enum { SAMPLES = 200000 };
    for (uint64_t t = 0; t < 6; t++) {
        desk k;
        size_t n = 3 + 2 * t;
        double q[MAX], c[MAX], expected[MAX] = {0};
        for (size_t m = 0; m < n; m++) q[m] = 0.4 + 0.3 * uniform(t * 20 + m, 15), c[m] = 0.1 * uniform(t * 20 + m, 16);
        desk_init(&k, n, q, c);
        /* narrow beliefs beside wide ones */
        for (size_t m = 0; m < n; m++) k.sd[m] = exp(-7 * uniform(t * 20 + m, 17));
        k.o.policy = "thompson";
        decide(&k);
        for (uint64_t s = 0; s < SAMPLES; s++) {
            double least = INFINITY;
            size_t best = 0;
            for (size_t m = 0; m < n; m++) {
                double r = 1 - q[m] + c[m] + k.sd[m] * weirp_random_normal(t, m, s);
                if (r < least) least = r, best = m;
            }
            expected[best] += 1.0 / SAMPLES;
        }
        for (size_t m = 0; m < n; m++) assert_float_equal(k.propensity[m], expected[m], 0.006);
        check_frequencies(&k, n);
    }
}

/* Exchangeable models share equally, also when there are more than are looked at. */
static void thompson_symmetry(void **state) {
    (void)state;
    desk k;
    desk_init(&k, 5, NULL, (double[]){0, 0, 0, 0, 0});
    k.o.policy = "thompson";
    decide(&k);
    for (size_t m = 0; m < 5; m++) assert_float_equal(k.propensity[m], 0.2, 1e-12);
    desk_init(&k, MAX, NULL, NULL);
    k.q[MAX - 1] = 0.7;
    k.o.policy = "thompson";
    decide(&k);
    double sum = 0;
    for (size_t m = 0; m < MAX; m++) sum += k.propensity[m];
    assert_float_equal(sum, 1, 1e-12);
    for (size_t m = 0; m < MAX - 1; m++) assert_true(k.propensity[MAX - 1] > k.propensity[m]);
}

/* ---- misuse and noise ---- */

static void options_checked(void **state) {
    (void)state;
    weir_policy_options good = weir_policy_defaults(), o;
    assert_null(weir_policy_check(&good, 2));
    assert_non_null(weir_policy_check(&good, 0));
#define WRONG(member, x) (o = good, o.member = (x), assert_non_null(weir_policy_check(&o, 2)))
    WRONG(policy, "pluggin");
    WRONG(value_usd, -1);
    WRONG(value_usd, NAN);
    WRONG(latency_usd_per_s, -1);
    WRONG(latency_usd_per_s, INFINITY);
    WRONG(novelty_limit, NAN);
    WRONG(explore_floor, -0.1);
    WRONG(explore_floor, 0.6);
    WRONG(explore_floor, NAN);
    good.policy = "constrained";
    WRONG(max_cost_usd, NAN);
    WRONG(max_cost_usd, -1);
    WRONG(min_quality, 1.5);
    WRONG(max_latency_ms, -1);
    good.policy = "threshold";
    WRONG(threshold, NAN);
    WRONG(strong, 2);
    WRONG(weak, 7);
#undef WRONG
    desk k;
    weir_error err = {0};
    desk_init(&k, 2, NULL, NULL);
    k.o.value_usd = -1;
    assert_int_equal(weir_policy_decide(&k.o, &k.e, &k.d, &err), WEIR_INVALID);
    k.o.value_usd = 1;
    k.eligible[0] = k.eligible[1] = false;
    err.status = WEIR_OK;
    for (size_t i = 0; weir_policy_name(i); i++) {
        k.o.policy = weir_policy_name(i);
        k.o.true_quality = k.q;
        assert_int_equal(weir_policy_decide(&k.o, &k.e, &k.d, NULL), WEIR_NODATA);
    }
    for (int r = 0; weir_policy_name((size_t)r); r++) /* names and rules are one list */
        assert_string_equal(weir_policy_name((size_t)r), weir_rule_name((weir_rule)r));
}

static double noise(uint64_t *counter) {
    uint64_t r = weirp_random_u64(5, 18, (*counter)++);
    static const double odd[] = {NAN, INFINITY, -INFINITY, -1, 0, -0.0, 1, 2, 1e300, -1e300, 1e-300, 0.5};
    if (r % 3 == 0) return odd[(r >> 8) % (sizeof odd / sizeof *odd)];
    return (double)(r >> 11) * 0x1p-53;
}

static void fuzz(void **state) {
    (void)state;
    uint64_t counter = 0;
    for (size_t t = 0; t < 20000; t++) {
        desk k;
        size_t n = 1 + t % 9;
        desk_init(&k, n, NULL, NULL);
        double *tables[] = {k.q, k.sd, k.qlo, k.qhi, k.c, k.csd, k.clo, k.chi, k.l, k.lp};
        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
            for (size_t m = 0; m < n; m++) tables[i][m] = noise(&counter);
        bool any = false;
        for (size_t m = 0; m < n; m++) any |= k.eligible[m] = uniform(t * 9 + m, 19) < 0.6;
        if (!any) k.eligible[n - 1] = true;
        k.e.novelty = noise(&counter);
        k.o.policy = weir_policy_name(t / 9 % 8);
        k.o.value_usd = t % 7 ? fabs(noise(&counter)) : INFINITY;
        k.o.latency_usd_per_s = t % 2 ? 0 : 0.1;
        k.o.explore_floor = t % 3 ? 0 : 1.0 / 9;
        k.o.max_cost_usd = t % 4 ? INFINITY : uniform(t, 20);
        k.o.min_quality = t % 5 ? 0 : uniform(t, 21);
        k.o.draw = t;
        k.o.true_quality = k.qhi;
        k.o.true_cost = k.clo;
        weir_status st = weir_policy_decide(&k.o, &k.e, &k.d, NULL);
        if (st == WEIR_INVALID) continue; /* a value that isn't a number */
        if (st == WEIR_NODATA) { /* fixed on an ineligible one, the oracle without truth, threshold's default pair */
            assert_true(!strcmp(k.o.policy, "fixed") || !strcmp(k.o.policy, "oracle"));
            continue;
        }
        assert_int_equal(st, WEIR_OK);
        assert_true(k.d.model < n && k.eligible[k.d.model]);
        assert_true(k.propensity[k.d.model] > 0);
        double sum = 0;
        for (size_t m = 0; m < n; m++) {
            assert_true(k.propensity[m] >= 0 && k.propensity[m] <= 1 + 1e-12);
            assert_false(isnan(k.risk[m]) || isnan(k.regret[m]));
            if (!k.eligible[m])
                assert_true(k.propensity[m] == 0);
            else if (k.o.explore_floor > 0)
                assert_true(k.propensity[m] >= k.o.explore_floor * (1 - 1e-12));
            sum += k.propensity[m];
        }
        assert_float_equal(sum, 1, 1e-9);
    }
}

/* ---- many values at once ---- */

/* Estimates on a coarse grid, where ties are common, with what vendors and estimators leave out or get wrong. */
static void desk_of_ties(desk *k, size_t n, uint64_t round) {
    desk_init(k, n, NULL, NULL);
    const bool costs = uniform(round, 20) < 0.9;
    for (size_t m = 0; m < n; m++) {
        const uint64_t i = round * MAX + m;
        k->q[m] = floor(uniform(i, 21) * 8) / 8;
        if (costs) k->c[m] = floor(uniform(i, 22) * 8) / 800;
        if (uniform(i, 23) < 0.05) k->c[m] = NAN;
        if (uniform(i, 24) < 0.01) k->q[m] = uniform(i, 25) < 0.5 ? NAN : 1.5;
        if (uniform(i, 26) < 0.02) k->sd[m] = 0.27;
        if (uniform(i, 27) < 0.7) k->l[m] = floor(uniform(i, 28) * 4) * 500;
        k->eligible[m] = uniform(i, 29) < 0.8;
    }
    if (uniform(round, 30) < 0.1) k->e.novelty = 1;
    if (uniform(round, 31) < 0.1) k->e.fitted = false;
    k->o.fallback = uniform(round, 32) < 0.5;
    k->o.latency_usd_per_s = uniform(round, 33) < 0.3 ? 0.01 : 0;
    k->o.explore_floor = uniform(round, 34) < 0.3 ? 0.5 / (double)n : 0;
}

/* To the last bit what each value says alone, and a refusal wherever some value could make it careful. */
static void many_values_are_each_alone(void **state) {
    (void)state;
    enum { MOST = 70 };
    size_t n_told = 0, n_careful = 0;
    for (uint64_t round = 0; round < 3000; round++) {
        desk k;
        double value[MOST], own[MAX];
        uint32_t model[MOST];
        const size_t n = 1 + (size_t)(uniform(round, 35) * (MAX - 1)), n_values = 1 + round % MOST;
        desk_of_ties(&k, n, round);
        for (size_t v = 0; v < n_values; v++) value[v] = floor(uniform(round * MOST + v, 36) * 64) / 800;
        value[n_values / 2] = INFINITY;
        const bool told = weirp_policy_decide_at(&k.o, &k.e, value, n_values, model);
        bool any = false, careful = false;
        for (size_t m = 0; m < n; m++) any |= k.eligible[m];
        for (size_t v = 0; any && v < n_values; v++) {
            k.o.value_usd = value[v];
            decide(&k);
            careful |= k.d.rule == WEIR_RULE_MINIMAX;
            if (!told) continue;
            weirp_policy_spread(&k.o, &k.e, model[v], own);
            assert_memory_equal(own, k.propensity, n * sizeof *own);
        }
        if (told) assert_true(any && !careful);
        if (!k.o.fallback) assert_true(told == any);
        n_told += told;
        n_careful += careful;
    }
    assert_true(n_told > 1000 && n_careful > 100);
    desk k;
    desk_init(&k, 3, (double[]){0.9, 0.7, 0.4}, (double[]){0.3, 0.05, 0.01});
    uint32_t model;
    k.o.policy = "minimax";
    assert_false(weirp_policy_decide_at(&k.o, &k.e, &(double){1}, 1, &model));
    k.o.policy = "nobody";
    assert_false(weirp_policy_decide_at(&k.o, &k.e, &(double){1}, 1, &model));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugin_small_case),    cmocka_unit_test(many_values_are_each_alone),
        cmocka_unit_test(price_of_time),        cmocka_unit_test(infinite_value_and_ties),
        cmocka_unit_test(no_cost_known),        cmocka_unit_test(carrot_convex_combination),
        cmocka_unit_test(minimax_brute_force),  cmocka_unit_test(fallback_reasons),
        cmocka_unit_test(wide_intervals),       cmocka_unit_test(threshold_closed_form),
        cmocka_unit_test(constrained_cases),    cmocka_unit_test(constrained_brute_force),
        cmocka_unit_test(fixed_and_oracle),     cmocka_unit_test(random_draws),
        cmocka_unit_test(exploration_floor),    cmocka_unit_test(thompson_two_models),
        cmocka_unit_test(thompson_many_models), cmocka_unit_test(thompson_symmetry),
        cmocka_unit_test(options_checked),      cmocka_unit_test(fuzz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

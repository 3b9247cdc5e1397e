/* Evaluation: figures by hand, paths against the policies themselves, what is missing, and the three reports.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"
#include "src/report/labels.h"
#include "src/report/show.h"
#include "weir/simulate.h"

/* ---- making tables ---- */

/* Models m0, m1, ... with skills and costs that rise; estimates that know something, unless `blind`. */
static weirp_tables *make_tables(size_t n, size_t m, uint64_t seed, bool blind) {
    weirp_tables *t;
    assert_int_equal(weirp_tables_new(&t, n, m, NULL), WEIR_OK);
    for (size_t k = 0; k < m; k++) {
        char name[32];
        snprintf(name, sizeof name, "m%zu", k);
        assert_int_equal(weirp_tables_name(&t->names[k], name, NULL), WEIR_OK);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(weirp_tables_name(&t->tasks[i], i % 3 ? "often" : "seldom", NULL), WEIR_OK);
        const double hard = weirp_random_uniform(seed, 1, i), length = weirp_random_uniform(seed, 2, i);
        for (size_t k = 0; k < m; k++) {
            const size_t a = i * m + k;
            const double skill = (1 + (double)k) / (1 + (double)m);
            const double p = fmin(fmax(0.5 + 2 * (skill - hard), 0.02), 0.98);
            t->quality[a] = weirp_random_uniform(seed, 3 + k, i) < p;
            t->cost_usd[a] = 1e-4 * pow(3, (double)k) * (0.5 + length);
            t->latency_ms[a] = 100 + 50 * (double)k;
            t->q_hat[a] = blind ? skill : p;
            t->c_hat[a] = blind ? 1e-4 * pow(3, (double)k) : t->cost_usd[a];
            t->q_sd[a] = 0.05;
            t->q_lo[a] = t->q_hat[a] > 0.9 ? 1 : 0, t->q_hi[a] = t->q_hat[a] < 0.1 ? 0 : 1;
            t->c_lo[a] = t->c_hat[a] / 2, t->c_hi[a] = t->c_hat[a] * 2;
        }
    }
    return t;
}

static weir_evaluation *judge(weirp_tables *t, const weir_evaluate_options *options) {
    static const weir_evaluate_options few = {.n_bootstrap = 20};
    weir_evaluation *e;
    weir_error err = {0};
    const weir_status st = weirp_evaluation_from_tables(&e, t, options ? options : &few, &err);
    if (st != WEIR_OK) print_error("%s\n", err.text);
    assert_int_equal(st, WEIR_OK);
    return e;
}

static json_t *report(const weir_evaluation *e) {
    char *text;
    assert_int_equal(weir_evaluation_json(e, &text, NULL), WEIR_OK);
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(o);
    return o;
}

/* The member at a path of keys, "policies.plugin.aiq". */
static const json_t *get(const json_t *o, const char *path) {
    char key[64];
    while (o && *path) {
        const size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        o = json_object_get(o, key);
        path += length + (path[length] == '.');
    }
    if (!o) print_error("no %s\n", key);
    assert_non_null(o);
    return o;
}

static double real(const json_t *o, const char *path) {
    const json_t *v = get(o, path);
    return json_is_null(v) ? NAN : json_number_value(v);
}

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance)) print_error("%.17g is not %.17g\n", a, b);
    assert_true(fabs(a - b) <= tolerance);
}

/* ---- figures ---- */

/* Two prompts, two models, worked by hand: "weak" is right on the second only, "strong" on both; the router knows that
 * the first gains more. */
static weirp_tables *by_hand(void) {
    static const double quality[4] = {0, 1, 1, 1}, cost[4] = {1, 2, 1, 2}, q_hat[4] = {0.5, 0.9, 0.5, 0.6};
    weirp_tables *t;
    assert_int_equal(weirp_tables_new(&t, 2, 2, NULL), WEIR_OK);
    assert_int_equal(weirp_tables_name(&t->names[0], "weak", NULL), WEIR_OK);
    assert_int_equal(weirp_tables_name(&t->names[1], "strong", NULL), WEIR_OK);
    memcpy(t->quality, quality, sizeof quality), memcpy(t->cost_usd, cost, sizeof cost);
    memcpy(t->q_hat, q_hat, sizeof q_hat), memcpy(t->c_hat, cost, sizeof cost);
    return t;
}

static void figures_by_hand(void **state) {
    (void)state;
    weir_evaluation *e = judge(by_hand(), NULL);
    json_t *o = report(e);
    assert_int_equal(json_integer_value(get(o, "n")), 2);
    assert_string_equal(json_string_value(get(o, "best_single.name")), "strong");
    assert_near(real(o, "best_single.quality"), 1, 0);
    assert_near(real(o, "best_single.cost"), 2, 0);
    assert_near(real(o, "oracle.quality"), 1, 0);
    assert_near(real(o, "oracle.cost"), 1.5, 0);
    /* points (1, 0.5), (1.5, 1), (2, 1): mean height 0.75 over the first half, 1 over the second */
    assert_near(real(o, "policies.plugin.aiq"), 0.875, 1e-12);
    assert_near(real(o, "policies.plugin.max_quality"), 1, 0);
    assert_near(real(o, "policies.plugin.cost_at_100"), 0.75, 1e-12);
    assert_near(real(o, "policies.plugin.cost_at_95"), 0.75, 1e-12);
    /* the line from (1, 0.5) to (2, 1) */
    assert_near(real(o, "policies.zero.aiq"), 0.75, 1e-12);
    assert_near(real(o, "policies.zero.cost_at_100"), 1, 1e-12);
    assert_near(real(o, "policies.zero.cost_at_95"), 0.95, 1e-12);
    assert_near(real(o, "policies.plugin.lift"), 0.125, 1e-12);
    assert_near(real(o, "policies.plugin.captured_lift"), 1, 1e-12);
    /* constant estimates switch both prompts at once; no jump is a mixture */
    assert_near(real(o, "policies.constant.aiq"), 0.75, 1e-12);
    assert_near(real(o, "policies.constant.cost_at_95"), 1, 1e-12);
    /* fair lots: (1.5, 0.75), nothing left of it */
    assert_near(real(o, "policies.random.aiq"), 0.375, 1e-12);
    assert_true(json_is_null(get(o, "policies.random.cost_at_95")));
    assert_string_equal(json_string_value(get(o, "strong_weak.strong")), "strong");
    assert_string_equal(json_string_value(get(o, "strong_weak.weak")), "weak");
    assert_near(real(o, "strong_weak.apgr"), 0.75, 1e-12);
    assert_near(real(o, "strong_weak.cpt50"), 0.25, 1e-12);
    assert_near(real(o, "strong_weak.cpt80"), 0.4, 1e-12);
    /* weak: 0.5 against {0, 1}, a tie; strong has one class only, and doesn't count */
    assert_near(real(o, "estimator.auc"), 0.5, 1e-12);
    assert_near(real(o, "estimator.brier"), (0.25 + 0.01 + 0.25 + 0.16) / 4, 1e-12);
    assert_near(real(o, "estimator.cost_r2"), 1, 1e-12);
    assert_true(json_is_null(get(o, "estimator.quality_coverage_90")));
    assert_true(json_array_size(get(o, "policies.plugin.points")) >= 400);
    json_decref(o);
    weir_evaluation_free(e);
}

static void coverage_is_counted(void **state) {
    (void)state;
    weirp_tables *t = by_hand();
    static const double q_lo[4] = {0, 0.5, 0, 0}, q_hi[4] = {0, 1, 0.5, 1}, c_lo[4] = {1, 1, 2, 0},
                        c_hi[4] = {1, 3, 3, 1};
    memcpy(t->q_lo, q_lo, sizeof q_lo), memcpy(t->q_hi, q_hi, sizeof q_hi);
    memcpy(t->c_lo, c_lo, sizeof c_lo), memcpy(t->c_hi, c_hi, sizeof c_hi);
    weir_evaluation *e = judge(t, NULL);
    assert_near(e->figures.quality_coverage, 0.75, 1e-12);
    assert_near(e->figures.cost_coverage, 0.5, 1e-12);
    weir_evaluation_free(e);
}

/* Every reported point is what the policy itself does at the point's value. */
static void assert_policy_gives(const weir_evaluation *e, weirp_policy_index index, const char *policy, bool fallback,
                                size_t stride) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    double *room = weirp_array(6 * m, sizeof *room);
    for (size_t k = 0; k < 6 * m; k++) room[k] = NAN;
    weir_decision d = {.n_models = m, .risk_usd = room, .regret_usd = room + m, .propensity = room + 2 * m};
    weir_policy_options o = weir_policy_defaults();
    o.policy = policy, o.fallback = fallback;
    for (size_t p = 1; p < e->curve[index].n_points; p += stride) {
        const weirp_point *point = &e->curve[index].points[p];
        double cost = 0, quality = 0;
        o.value_usd = point->value;
        for (size_t i = 0; i < t->n; i++) {
            const size_t a = i * m;
            weir_estimates s = {.n_models = m, .quality = t->q_hat + a, .quality_sd = t->q_sd + a};
            s.quality_lo = t->q_lo + a, s.quality_hi = t->q_hi + a;
            s.cost_usd = t->c_hat + a, s.cost_sd = t->c_sd + a, s.cost_lo = t->c_lo + a, s.cost_hi = t->c_hi + a;
            s.latency_ms = room + 3 * m, s.latency_p95 = room + 4 * m, s.output_tokens = room + 5 * m;
            s.eligible = t->eligible + a, s.coverage = 0.9, s.novelty = t->novelty[i], s.fitted = t->fitted[i];
            assert_int_equal(weir_policy_decide(&o, &s, &d, NULL), WEIR_OK);
            cost += t->cost_usd[a + d.model] / (double)t->n;
            quality += t->quality[a + d.model] / (double)t->n;
        }
        assert_near(point->cost, cost, 1e-12);
        assert_near(point->quality, quality, 1e-12);
    }
    free(room);
}

static void curves_are_the_policies(void **state) {
    (void)state;
    weirp_tables *t = make_tables(90, 4, 7, false);
    for (size_t i = 0; i < t->n; i++) {
        if (i % 7 == 0) t->eligible[i * 4 + i % 4] = false;
        if (i % 11 == 0) t->c_hat[i * 4 + 3] = NAN; /* counts as the dearest known */
        if (i % 5 == 0) t->novelty[i] = 1;          /* falls back */
        if (i % 13 == 0) t->fitted[i] = false;
    }
    weir_evaluation *e = judge(t, NULL);
    assert_policy_gives(e, WEIRP_PLUGIN, "plugin", false, 3);
    assert_policy_gives(e, WEIRP_MINIMAX, "minimax", false, 3);
    assert_policy_gives(e, WEIRP_FALLBACK, "plugin", true, 3);
    assert_true(e->operating.fallback_share > 0.2 && e->operating.fallback_share < 0.4);
    /* the points are enough to get AIQ back */
    weirp_point points[1000];
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        const weirp_curve *c = &e->curve[p];
        assert_in_range(c->n_points, 1, 1000);
        memcpy(points, c->points, c->n_points * sizeof *points);
        double lo = INFINITY, hi = 0;
        for (size_t k = 0; k < 4; k++) lo = fmin(lo, e->models[k].cost), hi = fmax(hi, e->models[k].cost);
        assert_near(weirp_hull_area(points, weirp_hull(points, c->n_points), lo, hi), e->figures.policy[p].aiq, 1e-9);
    }
    weir_evaluation_free(e);
}

static void blind_estimates_lift_nothing(void **state) {
    (void)state;
    weirp_tables *t = make_tables(300, 5, 3, true);
    weir_evaluation *e = judge(t, NULL);
    assert_near(e->figures.policy[WEIRP_PLUGIN].aiq, e->figures.policy[WEIRP_CONSTANT].aiq, 1e-12);
    assert_true(e->figures.policy[WEIRP_PLUGIN].lift <= 1e-12);
    assert_near(e->figures.auc, 0.5, 1e-12);
    assert_in_range(e->curve[WEIRP_PLUGIN].n_points, 400, 1000);
    assert_policy_gives(e, WEIRP_PLUGIN, "plugin", false, 7);
    weir_evaluation_free(e);
    e = judge(make_tables(300, 5, 3, false), NULL);
    assert_true(e->figures.policy[WEIRP_PLUGIN].lift > 0.02);
    assert_true(e->figures.policy[WEIRP_PLUGIN].aiq < e->figures.policy[WEIRP_ORACLE].aiq);
    weir_evaluation_free(e);
}

/* ---- what is missing ---- */

static void without_costs(void **state) {
    (void)state;
    weirp_tables *t = make_tables(60, 3, 5, false);
    for (size_t i = 0; i < 180; i++) t->cost_usd[i] = NAN;
    weir_evaluation *e = judge(t, NULL);
    json_t *o = report(e);
    assert_int_equal(json_integer_value(get(o, "n")), 60);
    assert_true(json_is_null(get(o, "policies.plugin.aiq")));
    assert_true(json_is_null(get(o, "policies.plugin.aiq_interval")));
    assert_true(json_is_null(get(o, "policies.plugin.cost_at_100")));
    assert_true(json_is_null(get(o, "policies.zero.lift")));
    assert_true(json_is_null(get(o, "best_single.cost")));
    assert_true(json_is_null(get(o, "estimator.cost_r2")));
    assert_true(json_is_null(get(o, "estimator.cost_coverage_90")));
    assert_int_equal(json_array_size(get(o, "policies.plugin.points")), 0);
    assert_true(real(o, "policies.plugin.max_quality") > 0.5);
    assert_true(real(o, "strong_weak.apgr") > 0.5);
    assert_true(real(o, "estimator.auc") > 0.5);
    assert_int_equal(json_array_size(get(o, "notes")), 1);
    assert_non_null(strstr(json_string_value(json_array_get(get(o, "notes"), 0)), "No costs in the data"));
    json_decref(o);
    weir_evaluation_free(e);

    t = make_tables(60, 3, 5, false);
    for (size_t i = 0; i < 60; i++) t->cost_usd[i * 3 + 1] = NAN;
    e = judge(t, NULL);
    assert_false(e->has_cost);
    assert_int_equal(e->n_notes, 1);
    assert_non_null(strstr(e->notes[0], "No cost for m1:"));
    weir_evaluation_free(e);
}

static void missing_cells_are_counted(void **state) {
    (void)state;
    weirp_tables *t = make_tables(50, 3, 9, false);
    for (size_t i = 0; i < 4; i++) t->quality[i * 3] = NAN;
    for (size_t i = 10; i < 13; i++) t->cost_usd[i * 3 + 2] = NAN;
    for (size_t k = 0; k < 3; k++) t->eligible[20 * 3 + k] = false;
    weir_evaluation *e = judge(t, NULL);
    assert_int_equal(e->n_given, 50);
    assert_int_equal(e->n_unlabelled, 4);
    assert_int_equal(e->n_without_cost, 3);
    assert_int_equal(e->n_not_eligible, 1);
    json_t *o = report(e);
    assert_int_equal(json_integer_value(get(o, "n")), 42);
    assert_int_equal(json_integer_value(get(o, "n_left_out")), 8);
    assert_int_equal(json_array_size(get(o, "notes")), 3);
    json_decref(o);
    weir_evaluation_free(e);

    /* no prompt has all labels: the estimator is still measured */
    t = make_tables(50, 3, 9, false);
    for (size_t i = 0; i < 50; i++) t->quality[i * 3 + i % 3] = NAN;
    e = judge(t, NULL);
    o = report(e);
    assert_int_equal(json_integer_value(get(o, "n")), 0);
    assert_true(json_is_null(get(o, "best_single")));
    assert_true(real(o, "estimator.auc") > 0.5);
    json_decref(o);
    weir_evaluation_free(e);

    t = make_tables(5, 3, 9, false);
    for (size_t i = 0; i < 15; i++) t->quality[i] = NAN;
    weir_error err = {0};
    assert_int_equal(weirp_evaluation_from_tables(&e, t, NULL, &err), WEIR_NODATA);
    assert_null(e);
    assert_string_equal(err.text, "no quality label to evaluate on");
}

static void assert_reports_work(const weir_evaluation *e);

static void narrow_cases(void **state) {
    (void)state;
    /* one model; one prompt; every quality the same; every cost the same; costs of zero */
    weir_evaluation *e = judge(make_tables(20, 1, 2, false), NULL);
    assert_near(e->figures.policy[WEIRP_PLUGIN].aiq, e->figures.best_quality, 1e-12);
    assert_near(e->figures.policy[WEIRP_PLUGIN].cost_at_100, 1, 1e-12);
    assert_true(isnan(e->figures.policy[WEIRP_PLUGIN].captured_lift));
    assert_true(isnan(e->figures.apgr));
    assert_reports_work(e);
    weir_evaluation_free(e);
    e = judge(make_tables(1, 3, 2, false), NULL);
    assert_reports_work(e);
    weir_evaluation_free(e);
    weirp_tables *t = make_tables(20, 3, 2, false);
    for (size_t i = 0; i < 60; i++) t->quality[i] = 1;
    e = judge(t, NULL);
    assert_int_equal(e->best, 0);
    assert_near(e->figures.policy[WEIRP_ZERO].aiq, 1, 1e-12);
    assert_true(isnan(e->figures.auc) && isnan(e->figures.apgr));
    assert_reports_work(e);
    weir_evaluation_free(e);
    t = make_tables(20, 3, 2, false);
    for (size_t i = 0; i < 60; i++) t->cost_usd[i] = 0.25;
    e = judge(t, NULL);
    assert_near(e->figures.policy[WEIRP_ZERO].aiq, e->figures.best_quality, 1e-12);
    assert_reports_work(e);
    weir_evaluation_free(e);
    t = make_tables(20, 3, 2, false);
    for (size_t i = 0; i < 20; i++) t->cost_usd[i * 3] = t->c_hat[i * 3] = 0;
    e = judge(t, NULL);
    assert_reports_work(e);
    weir_evaluation_free(e);
    t = make_tables(20, 3, 2, false);
    for (size_t i = 0; i < 60; i++) t->cost_usd[i] = 0;
    e = judge(t, NULL);
    assert_true(isnan(e->figures.policy[WEIRP_PLUGIN].cost_at_100)); /* a share of nothing */
    assert_reports_work(e);
    weir_evaluation_free(e);
}

static void pairs_by_name(void **state) {
    (void)state;
    weir_evaluation *e;
    weir_error err = {0};
    weir_evaluate_options o = {.strong = "m1", .weak = "m2", .n_bootstrap = 5};
    e = judge(make_tables(40, 3, 4, false), &o);
    assert_int_equal(e->strong, 1);
    assert_int_equal(e->weak, 2);
    weir_evaluation_free(e);
    o.strong = "m9";
    assert_int_equal(weirp_evaluation_from_tables(&e, make_tables(40, 3, 4, false), &o, &err), WEIR_NOTFOUND);
    assert_string_equal(err.text, "no outcomes of a model named \"m9\"; there are: m0, m1, m2");
    err = (weir_error){0};
    o.strong = "m2";
    assert_int_equal(weirp_evaluation_from_tables(&e, make_tables(40, 3, 4, false), &o, &err), WEIR_INVALID);
    assert_null(e);
}

/* ---- intervals ---- */

static void intervals_are_as_wide_as_they_should(void **state) {
    (void)state;
    enum { N = 900 };
    weirp_tables *t = make_tables(N, 2, 6, false);
    for (size_t i = 0; i < N; i++) t->quality[i * 2] = 0, t->quality[i * 2 + 1] = i % 4 != 0;
    const weir_evaluate_options o = {.n_bootstrap = 2000, .seed = 5};
    weir_evaluation *e = judge(t, &o);
    /* a mean of N draws with p = 3/4: normal approximation, within 10 % */
    const double half = 1.96 * sqrt(0.75 * 0.25 / N);
    assert_near(e->figures.best_quality, 0.75, 1e-12);
    assert_near(e->lo.best_quality, 0.75 - half, 0.1 * half);
    assert_near(e->hi.best_quality, 0.75 + half, 0.1 * half);
    weir_evaluation_free(e);

    weir_evaluation *a = judge(make_tables(80, 3, 8, false), &o), *b = judge(make_tables(80, 3, 8, false), &o);
    assert_memory_equal(&a->lo, &b->lo, sizeof a->lo);
    assert_memory_equal(&a->hi, &b->hi, sizeof a->hi);
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        assert_true(a->lo.policy[p].aiq <= a->figures.policy[p].aiq);
        assert_true(a->hi.policy[p].aiq >= a->figures.policy[p].aiq);
    }
    weir_evaluation_free(a), weir_evaluation_free(b);
}

static int stop(void *user, const char *stage, size_t done, size_t total) {
    (void)done, (void)total;
    return strcmp(user, stage) == 0;
}

static void work_can_be_stopped(void **state) {
    (void)state;
    char stages[3][16] = {"minimax", "fallback", "bootstrap"};
    for (size_t i = 0; i < 3; i++) {
        const weir_evaluate_options o = {.progress = stop, .progress_user = stages[i]};
        weir_evaluation *e;
        assert_int_equal(weirp_evaluation_from_tables(&e, make_tables(30, 3, 4, false), &o, NULL), WEIR_CANCELED);
        assert_null(e);
    }
}

/* ---- the reports ---- */

static char *shown(const weir_evaluation *e, int width) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    if (width > 0)
        assert_int_equal(weir_evaluation_print(e, out, width, NULL), WEIR_OK);
    else
        assert_int_equal(weir_evaluation_svg(e, out, NULL), WEIR_OK);
    fclose(out);
    return text;
}

/* Enough of XML to know that it is well formed: tags close in order, and text has no bare '<' or '&'. */
static void assert_well_formed(const char *xml) {
    char open[32][16];
    size_t depth = 0;
    for (const char *p = xml; *p; p++) {
        assert_true((unsigned char)*p >= 32 || *p == '\n');
        if (*p == '&')
            assert_true(!strncmp(p, "&amp;", 5) || !strncmp(p, "&lt;", 4) || !strncmp(p, "&gt;", 4) ||
                        !strncmp(p, "&quot;", 6));
        if (*p != '<') continue;
        const char *end = strchr(p, '>');
        assert_non_null(end);
        char name[16];
        const size_t length = strcspn(p + 1 + (p[1] == '/'), " >/");
        assert_true(length > 0 && length < sizeof name);
        snprintf(name, sizeof name, "%.*s", (int)length, p + 1 + (p[1] == '/'));
        if (p[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            memcpy(open[depth++], name, sizeof name);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
}

static void assert_reports_work(const weir_evaluation *e) {
    const int widths[] = {20, 60, 72, 80, 100, 137, 200, 500};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        const size_t most = widths[w] < 60 ? 60 : widths[w] > 200 ? 200 : (size_t)widths[w];
        char *text = shown(e, widths[w]);
        assert_null(strchr(text, '\033')); /* no colours but on a terminal */
        assert_null(strstr(text, "nan"));
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
            if (weirp_text_width(line) > most) print_error("%d: %s\n", widths[w], line);
            assert_true(weirp_text_width(line) <= most);
        }
        free(text);
    }
    char *json;
    assert_int_equal(weir_evaluation_json(e, &json, NULL), WEIR_OK);
    free(json);
    if (!e->has_cost && e->strong == (size_t)-1) return;
    char *svg = shown(e, 0);
    assert_well_formed(svg);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    free(svg);
}

static void reports_of_many_kinds(void **state) {
    (void)state;
    for (size_t m = 2; m <= 80; m = m * 2 + 1) {
        weir_evaluation *e = judge(make_tables(40, m, m, false), NULL);
        assert_reports_work(e);
        weir_evaluation_free(e);
    }
    weirp_tables *t = make_tables(40, 4, 1, false);
    const char *names[4] = {"<b>&\"quoted\"</b>", "通义千问-超长的模型名字-七十二亿参数-指令微调版本",
                            "tab\there\033[31m",
                            "an-exceedingly-long-model-name/with-a-vendor-and-a-revision-and-a-date-2026-11-21-preview-"
                            "and-then-some-more-to-be-sure-that-it-does-not-fit-anywhere-at-all-in-two-hundred-columns-"
                            "of-a-terminal-however-wide-it-may-be"};
    for (size_t k = 0; k < 4; k++) assert_int_equal(weirp_tables_name(&t->names[k], names[k], NULL), WEIR_OK);
    const weir_evaluate_options o = {.title = "<data> & \"more\"", .n_bootstrap = 5};
    weir_evaluation *e = judge(t, &o);
    assert_reports_work(e);
    char *svg = shown(e, 0);
    assert_non_null(strstr(svg, "&lt;data&gt; &amp; &quot;more&quot;"));
    assert_non_null(strstr(svg, "prefers-color-scheme:dark"));
    free(svg);
    weir_evaluation_free(e);
    t = make_tables(60, 3, 5, false);
    for (size_t i = 0; i < 180; i++) t->cost_usd[i] = t->c_hat[i] = NAN;
    e = judge(t, NULL);
    assert_reports_work(e);
    char *text = shown(e, 80);
    assert_non_null(strstr(text, "No costs in the data"));
    assert_non_null(strstr(text, "APGR"));
    free(text);
    weir_evaluation_free(e);
}

static bool touch(const weirp_box *a, const weirp_box *b) {
    return a->x0 < b->x1 && b->x0 < a->x1 && a->y0 < b->y1 && b->y0 < a->y1;
}

/* Thirty models at nearly the same cost: every name is there, and none covers another or leaves the picture. */
static void labels_do_not_collide(void **state) {
    (void)state;
    enum { N = 30 };
    for (uint64_t seed = 0; seed < 5; seed++) {
        weirp_label labels[N] = {0};
        const weirp_box area = {0, 0, 680, 360};
        for (size_t i = 0; i < N; i++) {
            labels[i].x = 330 + 20 * weirp_random_uniform(seed, 1, i);
            labels[i].y = 40 + 280 * weirp_random_uniform(seed, 2, i);
            labels[i].width = 60 + 80 * weirp_random_uniform(seed, 3, i);
            labels[i].height = 13, labels[i].rank = (int)i;
        }
        assert_int_equal(weirp_labels_place(labels, N, area, NULL, 0, NULL), WEIR_OK);
        for (size_t i = 0; i < N; i++) {
            assert_true(labels[i].shown);
            const weirp_box *b = &labels[i].box;
            assert_true(b->x0 >= 0 && b->x1 <= 680 && b->y0 >= 0 && b->y1 <= 360);
            assert_near(b->x1 - b->x0, labels[i].width, 1e-9);
            for (size_t j = 0; j < i; j++) assert_false(touch(b, &labels[j].box));
        }
    }
    /* no room for all: those that are shown still don't collide, and the first ones stay */
    weirp_label crowd[40] = {0};
    const weirp_box small = {0, 0, 200, 60};
    size_t count = 0;
    for (size_t i = 0; i < 40; i++)
        crowd[i] = (weirp_label){.x = 100, .y = 30, .width = 60, .height = 12, .rank = (int)i};
    assert_int_equal(weirp_labels_place(crowd, 40, small, NULL, 0, NULL), WEIR_OK);
    for (size_t i = 0; i < 40; i++) {
        count += crowd[i].shown;
        for (size_t j = 0; j < i && crowd[i].shown; j++)
            assert_false(crowd[j].shown && touch(&crowd[i].box, &crowd[j].box));
    }
    assert_in_range(count, 3, 12);
}

static void text_fits(void **state) {
    (void)state;
    char out[64], small[12];
    weirp_text_fit(out, sizeof out, "short", 10);
    assert_string_equal(out, "short");
    weirp_text_fit(out, sizeof out, "0123456789", 7);
    assert_string_equal(out, "012…789");
    weirp_text_fit(out, sizeof out, "模型模型模型", 7);
    assert_true(weirp_text_width(out) <= 7);
    assert_non_null(strstr(out, "…"));
    weirp_text_fit(out, sizeof out, "a\tb\x01\xff", 10);
    assert_string_equal(out, "a b  ");
    weirp_text_fit(out, sizeof out, "abc", 0);
    assert_string_equal(out, "");
    weirp_text_fit(small, sizeof small, "模型模型模型模型模型", 40);
    assert_true(strlen(small) < sizeof small);
    assert_true(utf8proc_iterate((const utf8proc_uint8_t *)small, -1, &(utf8proc_int32_t){0}) > 0);
    weirp_text_count(out, sizeof out, 1234567);
    assert_string_equal(out, "1,234,567");
    weirp_text_count(out, sizeof out, 12);
    assert_string_equal(out, "12");
    weirp_text_amount(out, sizeof out, 0.0012345);
    assert_string_equal(out, "0.00123");
    weirp_text_amount(out, sizeof out, 1234.5);
    assert_string_equal(out, "1234");
}

static void names_stay_apart(void **state) {
    (void)state;
    char out[3][WEIRP_CELL];
    char *plain[3] = {(char[]){"openai/gpt-4"}, (char[]){"mistralai/mixtral"}, (char[]){"local"}};
    weirp_short_names(plain, 3, 30, out);
    assert_string_equal(out[0], "gpt-4");
    assert_string_equal(out[2], "local");
    char *same[3] = {(char[]){"a/llama"}, (char[]){"b/llama"}, (char[]){"c/"}};
    weirp_short_names(same, 3, 30, out);
    assert_string_equal(out[0], "a/llama");
    assert_string_equal(out[2], "c/");
    char *longs[3] = {(char[]){"some-vendor/some-model-family-with-7b-parameters-instruct-2026-11-21"},
                      (char[]){"some-vendor/some-model-family-with-13b-parameters-instruct-2026-11-21"},
                      (char[]){"some-vendor/some-model-family-with-70b-parameters-instruct-2026-11-21"}};
    weirp_short_names(longs, 3, 20, out);
    assert_non_null(strstr(out[0], "-7b-"));
    assert_non_null(strstr(out[1], "-13b-"));
    for (size_t i = 0; i < 3; i++) assert_true(weirp_text_width(out[i]) <= 20);
    char *twins[3] = {(char[]){"an-extremely-long-name-of-a-model"}, (char[]){"an-extremely-long-name-of-a-model"},
                      (char[]){"x"}};
    weirp_short_names(twins, 3, 10, out);
    for (size_t i = 0; i < 3; i++) assert_true(weirp_text_width(out[i]) <= 10);
}

static void axes_have_round_ticks(void **state) {
    (void)state;
    weirp_axis a = weirp_axis_linear(0.42, 0.97, 8);
    assert_in_range(a.n_ticks, 4, 8);
    assert_string_equal(a.text[0], "0.4");
    assert_near(weirp_axis_at(&a, a.lo), 0, 0);
    assert_near(weirp_axis_at(&a, a.hi), 1, 1e-12);
    const double ranges[][2] = {{1e-6, 1e6}, {0.02, 0.8}, {1, 1.0001},  {3, 3},
                                {0, 0},      {0.9, 1.1},  {1e-9, 2e-9}, {5, 40}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (int zero = 0; zero < 2; zero++) {
            a = weirp_axis_log(ranges[r][0], ranges[r][1], zero, 8);
            assert_in_range(a.n_ticks, 2, 10);
            for (size_t i = 0; i < a.n_ticks; i++) {
                const double at = weirp_axis_at(&a, a.tick[i]);
                assert_true(at >= 0 && at <= 1);
                if (i > 0) assert_true(a.tick[i] > a.tick[i - 1] && strcmp(a.text[i], a.text[i - 1]) != 0);
            }
        }
}

/* ---- a whole router ---- */

static weir_dataset *simulated(size_t n, size_t m, uint64_t seed) {
    weir_dataset *data;
    const weir_simulate_options o = {.n_prompts = n, .n_models = m, .seed = seed, .world_seed = 3};
    assert_int_equal(weir_simulate(&data, NULL, &o, NULL), WEIR_OK);
    return data;
}

static void a_trained_router(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-evaluate-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/r.mdb", folder);
    weir_dataset *train = simulated(600, 5, 1), *test = simulated(400, 5, 2);
    weir_router *router;
    weir_evaluation *e;
    weir_error err = {0};
    assert_int_equal(weir_train(path, train, &(weir_train_options){.n_threads = 1}, NULL, &err), WEIR_OK);
    assert_int_equal(weir_router_open(&router, path, &err), WEIR_OK);
    const weir_evaluate_options o = {.n_bootstrap = 50, .title = "simulated"};
    assert_int_equal(weir_evaluate(&e, router, test, &o, &err), WEIR_OK);
    assert_int_equal(e->tables->n, 400);
    assert_true(e->figures.auc > 0.6);
    assert_true(e->lo.policy[WEIRP_PLUGIN].lift > 0);
    assert_true(e->figures.quality_coverage > 0.8);
    assert_reports_work(e);
    weir_evaluation_free(e);

    /* a stranger in the data and a model that the data lacks are told, and left out */
    test->model_names[1][0] = '?';
    assert_int_equal(weir_evaluate(&e, router, test, &o, &err), WEIR_OK);
    assert_int_equal(e->tables->n_models, 4);
    assert_int_equal(e->n_notes, 2);
    assert_non_null(strstr(e->notes[0], "Not in the store, left out: ?"));
    assert_non_null(strstr(e->notes[1], train->model_names[1]));
    weir_evaluation_free(e);

    for (size_t k = 0; k < 5; k++) test->model_names[k][0] = '?';
    assert_int_equal(weir_evaluate(&e, router, test, &o, &err), WEIR_NODATA);
    assert_null(e);
    weir_router_close(router);
    weir_dataset_free(train), weir_dataset_free(test);
    unlink(path);
    snprintf(path, sizeof path, "%s/r.mdb-lock", folder);
    unlink(path);
    rmdir(folder);
}

/* ---- real data ---- */

static weir_dataset *real_data(const char *name) {
    const char *folder = getenv("WEIR_DATA");
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : WEIR_SOURCE_DIR "/../shared/data", name);
    weir_dataset *data = NULL;
    const char *paths[1] = {path};
    if (access(path, R_OK) != 0) return NULL;
    assert_int_equal(weir_dataset_load(&data, paths, 1, NULL, NULL), WEIR_OK);
    return data;
}

/* Constant estimates, from the training set's means, and the oracle: figures that the data alone decides, as published
 * with the data to four digits, and as an independent calculation gives them to twelve. */
static void known_sets(const char *train_name, const char *test_name, size_t n, double constant, double oracle,
                       double zero, double best) {
    weir_dataset *train = real_data(train_name), *test = real_data(test_name);
    if (!train || !test) {
        print_message("skipped: %s not found; set WEIR_DATA to the folder that holds it\n", test_name);
        weir_dataset_free(train), weir_dataset_free(test);
        skip();
    }
    const size_t m = test->n_models;
    weirp_tables *t;
    assert_int_equal(weirp_tables_new(&t, test->n_prompts, m, NULL), WEIR_OK);
    memcpy(t->quality, test->quality, t->n * m * sizeof(double));
    memcpy(t->cost_usd, test->cost_usd, t->n * m * sizeof(double));
    for (size_t k = 0; k < m; k++) {
        size_t from = 0;
        while (strcmp(train->model_names[from], test->model_names[k]) != 0) from++;
        double q = 0, c = 0, count = 0;
        for (size_t i = 0; i < train->n_prompts; i++)
            if (!isnan(train->quality[i * m + from]))
                q += train->quality[i * m + from], c += train->cost_usd[i * m + from], count++;
        for (size_t i = 0; i < t->n; i++) t->q_hat[i * m + k] = q / count, t->c_hat[i * m + k] = c / count;
    }
    weir_evaluation *e = judge(t, NULL);
    assert_int_equal(e->tables->n, n);
    assert_near(e->figures.policy[WEIRP_PLUGIN].aiq, constant, 1e-9);
    assert_near(e->figures.policy[WEIRP_ORACLE].aiq, oracle, 1e-9);
    assert_near(e->figures.policy[WEIRP_ZERO].aiq, zero, 1e-9);
    assert_near(e->figures.best_quality, best, 5e-5);
    assert_near(e->figures.auc, 0.5, 1e-12);
    weir_evaluation_free(e);
    weir_dataset_free(train), weir_dataset_free(test);
}

static void cascades(void **state) {
    (void)state;
    known_sets("cascades-train.jsonl", "cascades-test.jsonl", 1134, 0.818140721084, 0.967861767737, 0.818273263995,
               0.8483);
}

static void routerbench(void **state) {
    (void)state;
    known_sets("routerbench-train.jsonl", "routerbench-test.jsonl", 945, 0.822626708812, 0.974546409656, 0.822626708812,
               0.8794);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_by_hand),
        cmocka_unit_test(coverage_is_counted),
        cmocka_unit_test(curves_are_the_policies),
        cmocka_unit_test(blind_estimates_lift_nothing),
        cmocka_unit_test(without_costs),
        cmocka_unit_test(missing_cells_are_counted),
        cmocka_unit_test(narrow_cases),
        cmocka_unit_test(pairs_by_name),
        cmocka_unit_test(intervals_are_as_wide_as_they_should),
        cmocka_unit_test(work_can_be_stopped),
        cmocka_unit_test(reports_of_many_kinds),
        cmocka_unit_test(labels_do_not_collide),
        cmocka_unit_test(text_fits),
        cmocka_unit_test(names_stay_apart),
        cmocka_unit_test(axes_have_round_ticks),
        cmocka_unit_test(a_trained_router),
        cmocka_unit_test(cascades),
        cmocka_unit_test(routerbench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

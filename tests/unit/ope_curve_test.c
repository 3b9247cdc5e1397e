/* Curves off a log: each point is what an evaluation of that setting alone says, refusals included.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/ope_made.h"

#include "src/measure/measure.h"
#include "src/ope/curve_parts.h"

enum { M = 3, N = 900 };
static const char *const models[M] = {"small", "middle", "large"};

/* What a log is made of. */
typedef struct making {
    size_t n, n_undecided; /* rows; of them, the first ones that hold no estimates */
    double p[M];           /* chances */
    bool estimates, sure;
    size_t without; /* one row in so many could not have gone to the large model; 0: none */
} making;

static const making usual = {N, 0, {0.3, 0.4, 0.3}, true, false};

/* Dearer models are better, and by how much varies from row to row. */
static weirp_ope_table *make(const making *with) {
    weirp_ope_table *table = table_of(models, M);
    for (size_t i = 0; i < with->n; i++) {
        double u = weirp_random_uniform(3, 1, i), q[M], c[M];
        const double hard = weirp_random_uniform(3, 2, i);
        size_t a = 0;
        const double never[M] = {0.5, 0.5, 0};
        const double *const p = with->without && i % with->without == 0 ? never : with->p;
        while (a + 1 < M && u >= p[a]) u -= p[a++];
        for (size_t m = 0; m < M; m++) {
            q[m] = 0.9 - hard * (0.6 - 0.25 * (double)m);
            c[m] = 0.001 * pow(3, (double)m) * (0.5 + weirp_random_uniform(3, 3, i));
        }
        double sure[M] = {0};
        sure[a] = 1;
        weirp_logged_row row = row_new(a, with->sure ? 1 : p[a]);
        row.propensity = with->sure ? sure : p;
        row.quality_hat = with->estimates && i >= with->n_undecided ? q : NULL;
        row.cost_hat = with->estimates && i >= with->n_undecided ? c : NULL;
        row.metric[WEIR_METRIC_QUALITY] = weirp_random_uniform(3, 4, i) < q[a];
        row.metric[WEIR_METRIC_COST] = c[a] * (0.8 + 0.4 * weirp_random_uniform(3, 5, i));
        if (i % 9 == 4) row.metric[WEIR_METRIC_QUALITY] = NAN; /* some aren't graded */
        table_row(table, &row, M);
    }
    table_done(table);
    return table;
}

static double most_cost; /* that a request is said to have at most; 0: nothing is said */

/* Of one candidate, and of a curve where that isn't NULL. weirp_ope_clear it. */
static weir_ope judged_on(const weirp_ope_table *table, const char *policy, const char *curve, size_t n_bootstrap,
                          unsigned n_threads) {
    const weir_ope_options o = {.policies = &policy,
                                .n_policies = 1,
                                .reward_model = "table",
                                .curve = curve,
                                .n_bootstrap = n_bootstrap,
                                .seed = 5,
                                .bounds = {[WEIR_METRIC_COST] = most_cost},
                                .n_threads = n_threads};
    weirp_ope_settings settings;
    weirp_ope_target *target = NULL;
    weir_ope r = {.n_rows = 0};
    weir_error err = {0};
    must(weirp_ope_settle(&settings, &o, table, &err), &err);
    must(weirp_ope_target_new(&target, policy, table, NULL, &err), &err);
    must(weirp_ope_judge(&r, table, &target, 1, &settings, NULL, &err), &err);
    weirp_ope_target_free(target);
    return r;
}

static weir_ope judged(const weirp_ope_table *table, const char *policy, const char *curve, size_t n_bootstrap) {
    return judged_on(table, policy, curve, n_bootstrap, 1);
}

static void same(double a, double b, const char *what, double knob) {
    if (!(fabs(a - b) <= 1e-9 * fmax(fabs(a), 1e-3))) fail_msg("%s at %g: %.15g, alone %.15g", what, knob, a, b);
}

/* The reason that is told of the curve; NULL: none. */
static const char *refused_curve(const weir_ope *ope) {
    const char *policy, *reason;
    weir_metric metric;
    for (size_t i = 0; weir_ope_refusal(ope, i, &policy, &metric, &reason); i++)
        if (metric == WEIR_N_METRICS) {
            assert_ptr_equal(policy, ope->curve.policy);
            return reason;
        }
    return NULL;
}

/* "" or why either metric can't be judged. */
static const char *refusal_of(const weir_ope *alone) {
    const char *quality = alone->cell[WEIR_METRIC_QUALITY].standing.refusal;
    return *quality ? quality : alone->cell[WEIR_METRIC_COST].standing.refusal;
}

static void compare(const weirp_ope_table *table, const weirp_curve_point *p, const char *policy) {
    weir_ope alone = judged(table, policy, NULL, 20);
    const size_t sndr = weirp_ope_estimator_find("sndr");
    const weirp_ope_estimate *quality = &alone.cell[WEIR_METRIC_QUALITY].estimate[sndr],
                             *cost = &alone.cell[WEIR_METRIC_COST].estimate[sndr];
    assert_string_equal(p->refusal, refusal_of(&alone));
    if (*p->refusal) {
        assert_true(isnan(p->quality) && isnan(p->cost_hi));
    } else {
        same(p->quality, quality->value, "quality", p->knob);
        same(p->quality_se, quality->se, "quality's error", p->knob);
        same(p->cost, cost->value, "cost", p->knob);
        same(p->cost_se, cost->se, "cost's error", p->knob);
        assert_true(p->quality_lo < p->quality && p->cost < p->cost_hi);
    }
    weirp_ope_clear(&alone);
}

/* All settings, judged and refused ones, as candidates of their own. */
static void compare_all(const weirp_ope_table *table, const weirp_log_curve *c) {
    char policy[64];
    double last = -1;
    for (size_t k = 0, j = 0; k + j < c->n + c->n_refused;) {
        const bool first = j == c->n_refused || (k < c->n && c->point[k].knob < c->refused[j].knob);
        const weirp_curve_point *p = first ? &c->point[k++] : &c->refused[j++];
        assert_true(p->knob > last); /* by knob, and none twice */
        last = p->knob;
        snprintf(policy, sizeof policy, isinf(p->knob) ? "plugin,value=inf" : "plugin,value=%.17g", p->knob);
        compare(table, p, policy);
    }
}

/* The area under the hull of the points as they are, over the single models' range. */
static double drawn_area(const weirp_log_curve *c) {
    weirp_point points[WEIRP_CURVE_KNOBS];
    double lo = INFINITY, hi = 0;
    for (size_t i = 0; i < c->n; i++) points[i] = (weirp_point){c->point[i].cost, c->point[i].quality, 0};
    for (size_t m = 0; m < M; m++) lo = fmin(lo, c->single[m].cost), hi = fmax(hi, c->single[m].cost);
    return weirp_hull_area(points, weirp_hull(points, c->n), lo, hi);
}

static void points_are_what_each_setting_is_alone(void **state) {
    (void)state;
    weirp_ope_table *table = make(&usual);
    weir_ope r = judged(table, "logged", "plugin,value=?", 200);
    const weirp_log_curve *c = &r.curve;
    assert_string_equal(c->refusal, "");
    assert_int_equal(c->n_refused, 0);
    assert_in_range(c->n, 20, WEIRP_CURVE_KNOBS);
    assert_true(c->point[0].knob == 0 && isinf(c->point[c->n - 1].knob));
    compare_all(table, c);
    assert_int_equal(c->n_singles, M);
    for (size_t m = 0; m < M; m++) {
        char policy[64];
        snprintf(policy, sizeof policy, "fixed,model=%s", models[m]);
        compare(table, &c->single[m], policy);
    }
    /* between what the cheapest and the best settings reach */
    assert_true(c->aiq > c->point[0].quality && c->aiq < 1);
    assert_true(c->aiq_lo < c->aiq && c->aiq < c->aiq_hi);
    assert_true(fabs(c->aiq_drawn - drawn_area(c)) < 1e-12);
    assert_true(c->aiq < c->aiq_drawn); /* the best of noisy points looks better than it is */
    assert_string_equal(c->why_not, "");
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

/* The log never had the large model: nothing bounds what its answers would have cost. */
static void unsupported_settings_are_refused(void **state) {
    (void)state;
    making with = usual;
    memcpy(with.p, (double[M]){0.4, 0.6, 0}, sizeof with.p);
    weirp_ope_table *table = make(&with);
    weir_ope r = judged(table, "logged", "plugin,value=?", 200);
    const weirp_log_curve *c = &r.curve;
    assert_string_equal(c->refusal, "");
    assert_true(c->n >= 2 && c->n_refused >= 2);
    compare_all(table, c);
    for (size_t k = 0; k < c->n_refused; k++)
        assert_non_null(strstr(c->refused[k].refusal, "models that the log could not have chosen"));
    assert_true(isinf(c->refused[c->n_refused - 1].knob));
    assert_string_equal(c->single[2].refusal, "the log never chose it");
    assert_int_equal(c->n_singles, 2);
    /* the rest of the curve isn't known, and with it what it reaches */
    assert_true(isnan(c->aiq) && isnan(c->aiq_drawn) && isnan(c->aiq_lo) && isnan(c->cost_at[2]));
    assert_non_null(strstr(c->why_not, "settings can't be judged"));
    assert_null(refused_curve(&r));
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

/* The same log, where it is known that no request costs more than 0.02 USD: up to half of the mass may be unsupported,
 * and bands are wider by twice that share of the range. */
static void bounded_settings_have_wider_bands(void **state) {
    (void)state;
    const double most = 0.02;
    making with = usual;
    memcpy(with.p, (double[M]){0.4, 0.6, 0}, sizeof with.p);
    weirp_ope_table *table = make(&with);
    weir_ope without = judged(table, "logged", "plugin,value=?", 200);
    most_cost = most;
    weir_ope r = judged(table, "logged", "plugin,value=?", 200);
    const weirp_log_curve *c = &r.curve;
    compare_all(table, c);
    most_cost = 0;
    const weirp_curve_point *first = &c->point[0];
    const double factor = (first->quality_hi - first->quality) / first->quality_se;
    size_t n = 0;
    assert_true(c->n > without.curve.n && c->n_refused);
    assert_true(first->unsupported == 0 && factor > 1);
    for (size_t k = 0; k < c->n; k++) {
        const weirp_curve_point *p = &c->point[k];
        const double reach = 2 * p->unsupported;
        assert_true(p->unsupported <= 0.5);
        n += p->unsupported > 0;
        const double quality[] = {p->quality - factor * p->quality_se - reach,
                                  p->quality + factor * p->quality_se + reach};
        const double cost[] = {p->cost - factor * p->cost_se - reach * most,
                               p->cost + factor * p->cost_se + reach * most};
        same(p->quality_lo, p->unsupported > 0 ? fmax(quality[0], 0) : quality[0], "quality from", p->knob);
        same(p->quality_hi, p->unsupported > 0 ? fmin(quality[1], 1) : quality[1], "quality to", p->knob);
        same(p->cost_lo, fmax(cost[0], 0), "cost from", p->knob);
        same(p->cost_hi, fmin(cost[1], most), "cost to", p->knob);
    }
    assert_int_equal(n, c->n - without.curve.n);
    for (size_t k = 0; k < c->n_refused; k++) assert_null(strstr(c->refused[k].refusal, "nothing bounds"));
    assert_true(isnan(c->aiq));
    weirp_ope_clear(&without);
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
    /* one row in fifty has no large model: all settings are judged, and the area still isn't told */
    most_cost = most;
    with = usual;
    with.without = 50;
    table = make(&with);
    r = judged(table, "logged", "plugin,value=?", 200);
    most_cost = 0;
    assert_int_equal(r.curve.n_refused, 0);
    assert_true(isnan(r.curve.aiq) && isnan(r.curve.cost_at[0]));
    assert_non_null(strstr(r.curve.why_not, "they rest on choices that the log never could have made, at "));
    assert_non_null(strstr(r.curve.why_not, " and of 1 of 3 models"));
    const weirp_curve_point *large = &r.curve.single[2];
    same(large->unsupported, 0.02, "mass", 2);
    assert_true(large->quality_hi >= large->quality + 0.04 && large->cost_hi > large->cost + 0.04 * most);
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

/* Settings that lean on a model which is hardly ever taken have few effective rows. */
static void few_effective_rows_are_refused(void **state) {
    (void)state;
    making with = usual;
    memcpy(with.p, (double[M]){0.6, 0.36, 0.04}, sizeof with.p);
    weirp_ope_table *table = make(&with);
    weir_ope r = judged(table, "logged", "plugin,value=?", 200);
    const weirp_log_curve *c = &r.curve;
    assert_true(c->n >= 2 && c->n_refused >= 2);
    compare_all(table, c);
    assert_non_null(strstr(c->refused[c->n_refused - 1].refusal, "effective sample size"));
    assert_non_null(strstr(c->single[2].refusal, "rows chose it and know the quality: at least 50 are needed"));
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

/* Rows without estimates belong to no point, the single models' neither; of too many nothing can be told. */
static void undecided_rows_are_left_out_of_all(void **state) {
    (void)state;
    making with = usual;
    with.n_undecided = 60;
    weirp_ope_table *table = make(&with);
    weir_ope r = judged(table, "logged", "plugin,value=?", 200);
    assert_int_equal(r.curve.n_refused, 0);
    compare_all(table, &r.curve);
    weir_ope fixed = judged(table, "fixed,model=small", NULL, 20); /* asks no estimates: stands on all rows */
    const double all = fixed.cell[WEIR_METRIC_COST].estimate[weirp_ope_estimator_find("sndr")].value;
    assert_true(fabs(r.curve.single[0].cost - all) > 1e-9);
    assert_true(fabs(r.curve.single[0].cost - r.curve.point[0].cost) < 1e-12); /* value 0: always the cheapest */
    weirp_ope_clear(&fixed);
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);

    with.n_undecided = 200;
    table = make(&with);
    r = judged(table, "logged", "plugin,value=?", 20);
    assert_int_equal(r.curve.n, 0);
    assert_non_null(strstr(r.curve.refusal, "none of "));
    assert_non_null(strstr(r.curve.refusal, "can't be asked about 200 of 900 rows"));
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

/* Logs that no curve can be read off: the rest of the evaluation stands. */
static void whole_curves_are_refused(void **state) {
    (void)state;
    static const struct {
        making with;
        const char *curve, *why;
    } cases[] = {
        {{N, 0, {0.3, 0.4, 0.3}, true, true}, "plugin,value=?", "the log is deterministic"},
        {{N, 0, {0.3, 0.4, 0.3}, false, false}, "plugin,value=?", "value weighs estimates of quality and cost"},
        {{N, 0, {0.3, 0.4, 0.3}, false, false}, "constrained,max_cost=?", "max_cost weighs estimates of cost"},
        {{N, 0, {0.3, 0.4, 0.3}, true, false},
         "random,explore=?",
         "explore makes no difference: random,explore=? does"},
        {{60, 0, {0.3, 0.4, 0.3}, true, false}, "plugin,value=?", "settings of value can be judged, and a curve needs"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weirp_ope_table *table = make(&cases[k].with);
        weir_ope r = judged(table, "logged", cases[k].curve, 20);
        if (!strstr(r.curve.refusal, cases[k].why)) fail_msg("%s: %s", cases[k].why, r.curve.refusal);
        assert_ptr_equal(refused_curve(&r), r.curve.refusal);
        assert_true(weir_ope_is_refused(&r));
        assert_int_equal(r.curve.n, 0);
        assert_null(r.curve.single);
        assert_true(isnan(r.curve.aiq));
        assert_string_equal(r.curve.policy, cases[k].curve);
        assert_true(r.cell[WEIR_METRIC_QUALITY].asked);
        char *json = NULL;
        weir_error err = {0};
        must(weir_ope_json(&r, &json, &err), &err);
        assert_non_null(strstr(json, "\"refusal\": \""));
        free(json);
        weirp_ope_clear(&r);
        weirp_ope_table_free(table);
    }
}

static void every_knob_has_settings(void **state) {
    (void)state;
    static const struct {
        const char *curve, *knob;
        double first, last; /* NAN: the rows' own */
    } cases[] = {
        {"plugin,value=?", "value", 0, INFINITY},
        {"plugin,mu=?", "mu", 0, 1},
        {"plugin,explore=?,value=0.01", "explore", 0, 1.0 / M},
        {"fixed,explore=?,model=small", "explore", 0, 1.0 / M},
        {"constrained,max_cost=?,value=inf", "max_cost", NAN, INFINITY},
        {"constrained,min_quality=?,value=0", "min_quality", 0, 1},
        {"threshold,threshold=?", "threshold", NAN, INFINITY},
    };
    weirp_ope_table *table = make(&usual);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weir_ope r = judged(table, "logged", cases[k].curve, 20);
        const weirp_log_curve *c = &r.curve;
        assert_string_equal(c->refusal, "");
        assert_string_equal(c->knob, cases[k].knob);
        assert_true(c->n > 20 && !c->n_refused);
        for (size_t i = 1; i < c->n; i++) assert_true(c->point[i].knob > c->point[i - 1].knob);
        if (!isnan(cases[k].first)) assert_true(c->point[0].knob == cases[k].first);
        assert_true(c->point[c->n - 1].knob == cases[k].last);
        /* the knob does something: its ends are different policies */
        assert_true(fabs(c->point[0].cost - c->point[c->n - 1].cost) > 1e-4);
        weirp_ope_clear(&r);
    }
    weirp_ope_table_free(table);
}

/* A limit on the cost takes its settings from the costs that the log expects, 0.5 to 13.5 thousandths of a dollar. */
static void limits_lie_where_the_log_does(void **state) {
    (void)state;
    weirp_ope_table *table = make(&usual);
    weir_ope r = judged(table, "logged", "constrained,max_cost=?,value=inf", 20);
    const weirp_log_curve *c = &r.curve;
    for (size_t i = 0; i + 1 < c->n; i++) assert_true(c->point[i].knob > 0.0004 && c->point[i].knob < 0.0136);
    weirp_ope_clear(&r);
    weirp_ope_table_free(table);
}

static void mistakes_are_told_before_work(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plugin,value=1", "leaves no knob open: write KEY=? for one of value, mu, latency_usd_per_s, explore"},
        {"plugin,value=?,explore=?", "only one knob can be left open, not value and explore"},
        {"plugin,novelty_limit=?", "novelty_limit can't be left open"},
        {"column", "has no knob that could be left open"},
        {"plugin,valeu=?", "did you mean value"},
        {"plugin,latency_usd_per_s=?", "name the store"},
    };
    weirp_ope_table *table = make(&usual);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weir_error err = {0};
        const weir_ope_options o = {.curve = cases[k][0]};
        assert_int_equal(weirp_ope_curve_check(&o, table, NULL, &err), WEIR_INVALID);
        if (!strstr(err.text, cases[k][1])) fail_msg("%s: %s", cases[k][0], err.text);
    }
    weir_error err = {0};
    const weir_ope_options fine = {.curve = "plugin,value=?"},
                           half = {.curve = "plugin,value=?", .metrics = 1u << WEIR_METRIC_QUALITY};
    assert_int_equal(weirp_ope_curve_check(&fine, table, NULL, &err), WEIR_OK);
    assert_int_equal(weirp_ope_curve_check(&half, table, NULL, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "the metrics leave one out"));
    /* only a curve turns a knob: a candidate has to have one setting */
    weirp_ope_target *target = NULL;
    size_t n_undecided = 0;
    double *pi = calloc((size_t)WEIRP_BLOCK_ROWS * M, sizeof *pi);
    err = (weir_error){0};
    must(weirp_ope_target_new(&target, "plugin,value=?", table, NULL, &err), &err);
    EACH_BLOCK(table, b) assert_int_equal(weirp_ope_target_fill(target, &b, pi, &n_undecided, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "value=? is for a curve"));
    weirp_ope_target_free(target);
    free(pi);
    weirp_ope_table_free(table);
}

/* So many draws that they are made of some points at a time. */
static void many_draws_agree_with_few(void **state) {
    (void)state;
    weirp_ope_table *table = make(&usual);
    weir_ope few = judged(table, "logged", "plugin,value=?", 1000),
             many = judged(table, "logged", "plugin,value=?", 20000);
    const weirp_log_curve *a = &few.curve, *b = &many.curve;
    assert_int_equal(a->n, b->n);
    for (size_t k = 0; k < a->n; k++) {
        same(a->point[k].quality, b->point[k].quality, "quality", a->point[k].knob);
        const double width = b->point[k].quality_hi - b->point[k].quality_lo;
        assert_true(fabs(a->point[k].quality_hi - b->point[k].quality_hi) < 0.1 * width);
    }
    assert_true(fabs(a->aiq_lo - b->aiq_lo) < 0.1 * (b->aiq_hi - b->aiq_lo));
    assert_true(fabs(a->aiq_hi - b->aiq_hi) < 0.1 * (b->aiq_hi - b->aiq_lo));
    weirp_ope_clear(&few);
    weirp_ope_clear(&many);
    weirp_ope_table_free(table);
}

static void same_bits(const weirp_curve_point *a, const weirp_curve_point *b, const char *curve) {
    const double of_a[] = {a->knob,       a->quality,    a->cost,    a->quality_se, a->cost_se,
                           a->quality_lo, a->quality_hi, a->cost_lo, a->cost_hi};
    const double of_b[] = {b->knob,       b->quality,    b->cost,    b->quality_se, b->cost_se,
                           b->quality_lo, b->quality_hi, b->cost_lo, b->cost_hi};
    assert_string_equal(a->refusal, b->refusal);
    for (size_t k = 0; k < sizeof of_a / sizeof *of_a; k++)
        if (memcmp(&of_a[k], &of_b[k], sizeof of_a[k]))
            fail_msg("%s at %g: %.17g on one thread, %.17g on more", curve, a->knob, of_a[k], of_b[k]);
}

/* Rows are shared out, and points; more threads than there is work for among them. */
static void threads_make_no_difference(void **state) {
    (void)state;
    static const char *const curves[] = {"plugin,value=?", "plugin,value=?,explore=0.02", "threshold,threshold=?"};
    making with = usual;
    with.n = 2500;
    with.n_undecided = 60;
    weirp_ope_table *table = make(&with);
    for (size_t k = 0; k < sizeof curves / sizeof *curves; k++) {
        weir_ope one = judged_on(table, "logged", curves[k], 50, 1);
        assert_true(one.curve.n > 20 && one.curve.n_singles == M);
        for (unsigned n_threads = 2; n_threads <= 32; n_threads *= 2) {
            weir_ope more = judged_on(table, "logged", curves[k], 50, n_threads);
            assert_int_equal(one.curve.n, more.curve.n);
            for (size_t i = 0; i < one.curve.n; i++) same_bits(&one.curve.point[i], &more.curve.point[i], curves[k]);
            for (size_t m = 0; m < M; m++) same_bits(&one.curve.single[m], &more.curve.single[m], curves[k]);
            assert_memory_equal(&one.curve.aiq, &more.curve.aiq, sizeof one.curve.aiq);
            weirp_ope_clear(&more);
        }
        weirp_ope_clear(&one);
    }
    weirp_ope_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_what_each_setting_is_alone),
        cmocka_unit_test(unsupported_settings_are_refused),
        cmocka_unit_test(bounded_settings_have_wider_bands),
        cmocka_unit_test(few_effective_rows_are_refused),
        cmocka_unit_test(undecided_rows_are_left_out_of_all),
        cmocka_unit_test(whole_curves_are_refused),
        cmocka_unit_test(every_knob_has_settings),
        cmocka_unit_test(limits_lie_where_the_log_does),
        cmocka_unit_test(mistakes_are_told_before_work),
        cmocka_unit_test(many_draws_agree_with_few),
        cmocka_unit_test(threads_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

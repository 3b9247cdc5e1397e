/* Metrics that were said to be bounded: treated as those in [0,1] are, scaled; and what contradicts a bound.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/ope_made.h"

#include "src/ope/judge.h"
#include "src/ope/quotient.h"
#include "src/report/ope_report.h"

enum { A, B, C, M, N = 400 };
#define MOST 0.5 /* USD */
static const char *const models[M] = {"a", "b", "c"};
static const double usual[M] = {0.25, 0.5, 0.25}, without_c[M] = {0.5, 0.5, 0};

/* One row in ten could not have gone to c; of the others one in four did: 90 of 400, each with a weight of 4. Costs lie
 * in [0.05,0.45]. As many of the first rows as asked for are pinned, and cost `pinned`. The quality is that of the cost
 * in [0,1], so that each is the other, scaled. */
typedef struct making {
    bool supported;   /* all rows could have gone anywhere */
    size_t n_pinned;  /* at the end */
    double pinned;    /* their cost */
    double value_usd; /* for a loss */
} making;

static weirp_ope_table *make(const making *with) {
    weirp_ope_table *table = table_of(models, M);
    weir_error err = {0};
    for (size_t i = 0, k = 0; i < N + with->n_pinned; i++) {
        static const size_t turn[] = {A, B, B, C};
        const bool odd = i % 10 == 0 && !with->supported;
        const size_t a = odd ? i / 10 % 2 : turn[k++ % 4];
        weirp_logged_row row = row_new(a, odd ? without_c[a] : usual[a]);
        row.propensity = odd ? without_c : usual;
        const double cost = 0.05 + 0.1 * (double)a + 0.2 * (double)(i * 37 % 101) / 100;
        row.metric[WEIR_METRIC_COST] = i < N ? cost : with->pinned;
        row.metric[WEIR_METRIC_LATENCY] = 20000 * cost;
        row.metric[WEIR_METRIC_QUALITY] = cost / MOST;
        if (i >= N) row.flags = WEIRP_LOGGED_FORCED;
        table_row(table, &row, M);
    }
    must(weirp_ope_table_finish(table, with->value_usd, &err), &err);
    return table;
}

static weir_ope judged(const making *with, const char *const *policies, size_t n, weir_ope_options o) {
    weir_error err = {0};
    weirp_ope_settings settings;
    weirp_ope_target *target[WEIRP_OPE_MAX_POLICIES];
    weir_ope r = {.n_rows = 0};
    weirp_ope_table *table = make(with);
    o.policies = policies, o.n_policies = n, o.n_threads = 1, o.n_bootstrap = 20, o.value_usd = with->value_usd;
    o.reward_model = "table";
    must(weirp_ope_settle(&settings, &o, table, &err), &err);
    for (size_t i = 0; i < n; i++) must(weirp_ope_target_new(&target[i], policies[i], table, NULL, &err), &err);
    must(weirp_ope_judge(&r, table, target, n, &settings, NULL, &err), &err);
    for (size_t i = 0; i < n; i++) weirp_ope_target_free(target[i]);
    weirp_ope_table_free(table);
    return r;
}

static void near(double a, double b, const char *what) {
    if (!(fabs(a - b) <= 1e-11 * fmax(1, fabs(b)))) fail_msg("%s: %.15g, not %.15g", what, a, b);
}

static void near_interval(weirp_interval a, double lo, double hi, const char *what) {
    near(a.lo, lo, what);
    near(a.hi, hi, what);
}

static const char *const only_c[] = {"fixed,model=c"};
static const weir_ope_options no_bound = {.estimator = "snips"};

/* ---- one policy ---- */

/* A tenth of the mass is unsupported: 0.1 USD where no request costs more than 0.5 and the estimator is normalised,
 * half as much where it isn't. */
static void mass_moves_by_the_bound(void **state) {
    (void)state;
    const making with = {.value_usd = 0.02};
    static const char *const estimators[] = {"snips", "ips", "sndr", "dr"};
    for (size_t k = 0; k < sizeof estimators / sizeof *estimators; k++) {
        weir_ope_options o = {.estimator = estimators[k]};
        const double by = k % 2 ? 0.1 : 0.2;
        weir_ope free = judged(&with, only_c, 1, o);
        o.bounds[WEIR_METRIC_COST] = MOST, o.bounds[WEIR_METRIC_LATENCY] = 12000;
        weir_ope bound = judged(&with, only_c, 1, o);
        static const weir_metric of[] = {WEIR_METRIC_COST, WEIR_METRIC_LATENCY, WEIR_METRIC_LOSS};
        static const double most[] = {MOST, 12000, 0.02 + MOST};
        for (size_t i = 0; i < 3; i++) {
            const weirp_ope_standing *before = &free.cell[of[i]].standing, *s = &bound.cell[of[i]].standing;
            const size_t at = weirp_ope_estimator_find(estimators[k]);
            const weirp_interval t = bound.cell[of[i]].estimate[at].t,
                                 shown = weirp_ope_shown_interval(&bound, 0, of[i]);
            near(s->unsupported, 0.1, "unsupported");
            near(s->ess, 90, "effective sample size");
            assert_non_null(
                strstr(before->refusal, "10 % of the candidate's choices go to models that the log could not"));
            assert_non_null(strstr(before->refusal, i == 1 ? "(--bound latency=MS)" : "(--bound cost=USD)"));
            assert_true(isnan(before->bound_lo));
            assert_string_equal(s->refusal, "");
            near(bound.most[of[i]], most[i], "what bounds it");
            near(s->bound_lo / most[i], by, "may move it down");
            near(s->bound_hi / most[i], by, "may move it up");
            near_interval(shown, fmax(t.lo - by * most[i], 0), fmin(t.hi + by * most[i], most[i]), "shown");
            const weirp_contrast *c = weirp_ope_contrast_of(&bound, 0, WEIRP_OPE_LOGGED, of[i]),
                                 *was = weirp_ope_contrast_of(&free, 0, WEIRP_OPE_LOGGED, of[i]);
            assert_int_equal(was->verdict, WEIRP_VERDICT_REFUSED);
            assert_int_not_equal(c->verdict, WEIRP_VERDICT_REFUSED);
            assert_true(isinf(was->interval.lo) && isinf(was->interval.hi) && was->difference == c->difference);
            const double down = (c->difference - c->interval.lo - by * most[i]) / c->se,
                         up = (c->interval.hi - c->difference - by * most[i]) / c->se;
            if (!(fabs(down - up) < 1e-9 && down > 1.95 && down < 2.02)) /* Student's, of 900 rows */
                fail_msg("difference: %.15g and %.15g standard errors", down, up);
        }
        weirp_ope_clear(&free);
        weirp_ope_clear(&bound);
    }
}

/* The quality of these rows is their cost over 0.5. */
static void what_is_bounded_is_scaled(void **state) {
    (void)state;
    const char *const some[] = {"fixed,model=c", "random"};
    static const char *const estimators[] = {"snips", "dr", "sndr"};
    const size_t cost = WEIR_METRIC_COST, quality = WEIR_METRIC_QUALITY;
    for (size_t k = 0; k < 3; k++) {
        weir_ope_options o = {.estimator = estimators[k]};
        o.bounds[cost] = MOST;
        for (size_t s = 0; s < 2; s++) {
            weir_ope r = judged(&(making){.supported = s}, some, 2, o);
            for (size_t i = 0; i < r.n_policies; i++) {
                const weirp_cell_result *q = weirp_ope_cell(&r, i, quality), *c = weirp_ope_cell(&r, i, cost);
                const weirp_interval a = weirp_ope_shown_interval(&r, i, cost),
                                     b = weirp_ope_shown_interval(&r, i, quality);
                near_interval(a, MOST * b.lo, MOST * b.hi, "shown");
                near(c->standing.bound_hi, MOST * q->standing.bound_hi, "may move");
                for (size_t e = 0; e < c->n_estimates; e++) {
                    const weirp_interval of_cost = c->estimate[e].bernstein, of_quality = q->estimate[e].bernstein;
                    assert_int_equal(isnan(of_cost.lo), isnan(of_quality.lo));
                    if (!isnan(of_cost.lo))
                        near_interval(of_cost, MOST * of_quality.lo, MOST * of_quality.hi, "bernstein");
                }
                const size_t ips = weirp_ope_estimator_find("ips");
                if (i == 0) assert_int_equal(isnan(c->estimate[ips].bernstein.lo), !s); /* it is of what is supported */
            }
            for (size_t i = 0; i < r.n_contrasts; i++) {
                const weirp_contrast *c = &r.contrast[i], *q;
                if (c->metric != WEIR_METRIC_COST) continue;
                q = weirp_ope_contrast_of(&r, c->policy, c->other, WEIR_METRIC_QUALITY);
                near_interval(c->interval, MOST * q->interval.lo, MOST * q->interval.hi, "difference");
                if (isfinite(q->n_more)) near(c->n_more, q->n_more, "rows more");
            }
            weirp_ope_clear(&r);
        }
    }
}

/* Over half of the mass is too much, whatever bounds it. */
static void half_is_too_much(void **state) {
    (void)state;
    weir_ope r = {.n_rows = 400, .n_decided = 400, .n_clusters = 400};
    weirp_ope_standing s = {.n = 400, .n_known = 400, .ess = 200, .mean_weight = 0.45, .unsupported = 0.55};
    r.most[WEIR_METRIC_COST] = MOST;
    weirp_ope_refuse(&r, WEIR_METRIC_COST, &s, 0);
    assert_string_equal(s.refusal, "55 % of the candidate's choices go to models that the log could not have chosen");
    s.unsupported = 0.5, s.mean_weight = 0.5, *s.refusal = '\0';
    weirp_ope_refuse(&r, WEIR_METRIC_COST, &s, 0);
    assert_string_equal(s.refusal, "");
    weirp_ope_refuse(&r, WEIR_METRIC_LATENCY, &s, 0);
    assert_non_null(strstr(s.refusal, "nothing bounds their latency: say how long one request can take at most"));
}

/* ---- shares ---- */

/* Fieller's interval of the corner that moves the two values by so much. */
static weirp_interval corner(const weir_ope *r, const weirp_contrast *c, double a, double b) {
    const size_t at = weirp_ope_estimator_find("snips");
    const weirp_ope_estimate *of_a = &weirp_ope_cell(r, c->policy, WEIR_METRIC_COST)->estimate[at];
    const bool ran = c->other == WEIRP_OPE_LOGGED;
    const weirp_cell_result *other = weirp_ope_cell(r, ran ? 0 : c->other, WEIR_METRIC_COST);
    const double base = ran ? other->logged_mean : other->estimate[at].value,
                 se = ran ? other->logged_se : other->estimate[at].se;
    const double wide =
        r->cell[c->policy * WEIR_N_METRICS + WEIR_METRIC_COST].standing.bound_hi + (ran ? 0 : other->standing.bound_hi);
    const weirp_quotient q = {.d = c->difference + a - b,
                              .b = base + b,
                              .var_d = c->se * c->se,
                              .var_b = se * se,
                              .cov = (of_a->se * of_a->se - c->se * c->se - se * se) / 2};
    return weirp_quotient_interval(&q, (c->difference - c->interval.lo - wide) / c->se,
                                   (c->interval.hi - wide - c->difference) / c->se);
}

/* c of nine rows in ten, and half of that: both are off by up to their own slack, the share by its outermost corner. */
static void shares_go_to_the_outermost_corner(void **state) {
    (void)state;
    char path[] = "/tmp/ope_bounds_XXXXXX", spec[64];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_true(fputs("model,chance\na,0.5\nb,0\nc,0.5\n", f) > 0 && fclose(f) == 0);
    snprintf(spec, sizeof spec, "table,file=%s", path);
    const char *const two[] = {"fixed,model=c", spec};
    weir_ope_options o = no_bound;
    o.bounds[WEIR_METRIC_COST] = MOST;
    weir_ope r = judged(&(making){.supported = false}, two, 2, o);
    const double slack[] = {0.1, 0.05};
    for (size_t i = 0; i < 2; i++) near(weirp_ope_cell(&r, i, WEIR_METRIC_COST)->standing.bound_hi, slack[i], "slack");
    const weirp_contrast *ran = weirp_ope_contrast_of(&r, 0, WEIRP_OPE_LOGGED, WEIR_METRIC_COST),
                         *both = weirp_ope_contrast_of(&r, 0, 1, WEIR_METRIC_COST);
    near_interval(ran->relative_interval, corner(&r, ran, -0.1, 0).lo, corner(&r, ran, 0.1, 0).hi, "against what ran");
    near_interval(both->relative_interval, corner(&r, both, -0.1, 0.05).lo, corner(&r, both, 0.1, -0.05).hi, "of both");
    /* contains 0 exactly when the difference's does */
    for (size_t i = 0; i < r.n_contrasts; i++) {
        const weirp_contrast *c = &r.contrast[i];
        if (c->metric != WEIR_METRIC_COST) continue;
        assert_int_equal(c->interval.lo > 0, c->relative_interval.lo > 0);
        assert_int_equal(c->interval.hi < 0, c->relative_interval.hi < 0);
    }
    weirp_ope_clear(&r);
    remove(path);
}

/* ---- what contradicts a bound ---- */

static void settle(const making *with, weir_ope_options o, const char *wanted) {
    weirp_ope_table *table = make(with);
    weirp_ope_settings settings;
    weir_error err = {0};
    o.policies = only_c, o.n_policies = 1;
    const weir_status st = weirp_ope_settle(&settings, &o, table, &err);
    assert_int_equal(st, wanted ? WEIR_INVALID : WEIR_OK);
    if (wanted) assert_string_equal(err.text, wanted);
    weirp_ope_table_free(table);
}

static void rows_contradict(void **state) {
    (void)state;
    const making plain = {.supported = true}, pinned = {.n_pinned = 2, .pinned = 0.75};
    weir_ope_options o = no_bound;
    o.bounds[WEIR_METRIC_COST] = MOST;
    settle(&plain, o, NULL);
    settle(&pinned, o,
           "the cost isn't bounded by 0.5 USD: 2 rows of the log have more, up to 0.75; a bound must hold for every "
           "request");
    o.bounds[WEIR_METRIC_COST] = 0.75; /* what is reached holds */
    settle(&pinned, o, NULL);
    o.bounds[WEIR_METRIC_LATENCY] = 8999; /* one row of c has 9000: 20000 x (0.25 + 0.2) */
    settle(&plain, o,
           "the latency isn't bounded by 8999 ms: 1 row of the log has more, up to 9000; a bound must hold for every "
           "request");
}

static void wrong_bounds_are_told(void **state) {
    (void)state;
    const struct {
        weir_metric m;
        double bound;
        const char *text;
    } all[] = {{WEIR_METRIC_COST, -1, "the bound of the cost must be a number of USD above 0"},
               {WEIR_METRIC_COST, NAN, "the bound of the cost must be a number of USD above 0"},
               {WEIR_METRIC_LATENCY, INFINITY, "the bound of the latency must be a number of ms above 0"},
               {WEIR_METRIC_QUALITY, 1, "the quality can't be given a bound: it lies in [0,1]"},
               {WEIR_METRIC_ERROR, 1, "the error can't be given a bound: it lies in [0,1]"},
               {WEIR_METRIC_LOSS, 1, "the loss can't be given a bound: it has one where the cost has"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        weir_ope_options o = no_bound;
        o.bounds[all[i].m] = all[i].bound;
        settle(&(making){.supported = true}, o, all[i].text);
    }
}

/* ---- predictions and tails ---- */

/* Outcomes of up to 0.45, said to be at most 0.3 here: no model's word goes beyond that. */
static void predictions_keep_within(void **state) {
    (void)state;
    static const char *const names[] = {"table", "ridge", "auto", "knn"};
    weirp_ope_table *table = make(&(making){.supported = true});
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        double q[WEIRP_BLOCK_ROWS * M], greatest[2] = {0};
        for (size_t with = 0; with < 2; with++) {
            const weirp_reward_options o = {
                .name = names[k], .metric = WEIR_METRIC_COST, .n_threads = 1, .most = with ? 0.3 : 0};
            weirp_reward *reward = NULL;
            weir_error err = {0};
            const weir_status st = weirp_reward_fit_all(&reward, table, &o, 1, &err);
            if (st != WEIR_OK) break; /* an estimator that needs features */
            EACH_BLOCK(table, b) {
                weirp_reward_predict(reward, &b, q);
                for (size_t i = 0; i < b.n * M; i++) greatest[with] = fmax(greatest[with], q[i]);
            }
            weirp_reward_free(reward);
        }
        if (greatest[0] > 0) assert_true(greatest[0] > 0.3 && greatest[1] == 0.3);
        if (k < 3) assert_true(greatest[0] > 0);
    }
    weirp_ope_table_free(table);
}

/* Of 1,000 equal rows 1, 2, ..., 1000, and a tenth of the mass elsewhere: the quantile of level p lies between those of
 * (p - 0.1) / 0.9 and p / 0.9, each with its own interval, 1.96 sqrt(p (1 - p) / 1000) to either side. */
static void tails_allow_for_it(void **state) {
    (void)state;
    weirp_tails *t;
    weirp_tail tail;
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(weirp_tails_new(&t, 1000, NULL), WEIR_OK);
        for (size_t i = 1; i <= 1000; i++) weirp_tails_look(t, (double)i, 1);
        weirp_tails_settle(t);
        for (size_t i = 1; i <= 1000; i++) weirp_tails_add(t, i - 1, (double)i, 1);
        weirp_tails_tell(t, 0.95, k == 3 ? 0.6 : k ? 0.1 : NAN, k == 2 ? 1500 : NAN, &tail);
        weirp_tails_free(t);
        assert_true(fabs(tail.quantile[0] / 500 - 1) < 0.003);
        const double median[][2] = {{469.0, 531.0}, {413.6, 586.4}, {413.6, 586.4}, {0, INFINITY}};
        const double ninth[][2] = {{881.4, 918.6}, {869.5, INFINITY}, {869.5, 1500}, {722.3, INFINITY}};
        const double *const wanted[] = {median[k], ninth[k]};
        for (size_t q = 0; q < 2; q++) {
            const weirp_interval in = tail.quantile_t[q];
            if (fabs(in.lo - wanted[q][0]) > 0.005 * wanted[q][0]) fail_msg("%zu: from %g", k, in.lo);
            if (isinf(wanted[q][1]) ? !isinf(in.hi) : fabs(in.hi / wanted[q][1] - 1) > 0.005)
                fail_msg("%zu: to %g", k, in.hi);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mass_moves_by_the_bound), cmocka_unit_test(what_is_bounded_is_scaled),
        cmocka_unit_test(half_is_too_much),        cmocka_unit_test(shares_go_to_the_outermost_corner),
        cmocka_unit_test(rows_contradict),         cmocka_unit_test(wrong_bounds_are_told),
        cmocka_unit_test(predictions_keep_within), cmocka_unit_test(tails_allow_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

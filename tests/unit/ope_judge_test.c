/* Whole judgements of logs made in memory: comparisons, trades, halves, tails with sessions.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ope_made.h"
#include "src/base/base.h"
#include "src/ope/judge.h"
#include "src/report/ope_report.h"

enum { A, B, C, N_MODELS };
static const char *const names[] = {"a", "b", "c"};
static const double chances[] = {0.5, 0.3, 0.2}, better[] = {0.5, 0.6, 0.7};

typedef struct log {
    size_t n;
    uint64_t seed;
    bool only_chosen; /* no other model's chance is logged */
    size_t session;   /* rows a session, whose outcomes and choices are those of its first row; 0: no sessions */
    size_t asked;     /* every row but one in so many has estimates; 0: none has */
    bool alone;       /* but for the session each row is of its own */
    size_t labelled;  /* of so many rows the quality is known; 0: of all */
    double later;     /* quality more in the second half */
    double cost[3];   /* of a model, times a number about 1 */
} log_of;

static weirp_ope_table *table_made(const log_of *l) {
    weirp_ope_table *table = table_of(names, N_MODELS);
    for (size_t i = 0; i < l->n; i++) {
        const size_t of = l->session ? i / l->session : i, from = l->alone ? i : of;
        const double u = weirp_random_uniform(l->seed, 1, from);
        const size_t chosen = u < 0.5 ? A : u < 0.8 ? B : C;
        char session[32] = "";
        if (l->session) snprintf(session, sizeof session, "s%zu", of);
        weirp_logged_row row = row_new(chosen, chances[chosen]);
        row.session = session;
        if (!l->only_chosen) row.propensity = chances;
        if (l->asked && i % l->asked) row.quality_hat = better, row.cost_hat = l->cost;
        row.metric[WEIR_METRIC_QUALITY] =
            weirp_random_uniform(l->seed, 2, from) < 0.5 + 0.1 * (double)chosen + (2 * i >= l->n ? l->later : 0);
        if (l->labelled && i >= l->labelled) row.metric[WEIR_METRIC_QUALITY] = NAN;
        row.metric[WEIR_METRIC_COST] = l->cost[chosen] * exp(0.3 * weirp_random_normal(l->seed, 3, from));
        row.metric[WEIR_METRIC_LATENCY] = 1000 * exp(weirp_random_normal(l->seed, 4, from));
        table_row(table, &row, N_MODELS);
    }
    table_done(table);
    return table;
}

/* Policies as they are named on the command line. */
static weir_ope judged(const log_of *l, const char *const *policies, size_t n, weir_ope_options o) {
    weir_error err = {0};
    weirp_ope_settings settings;
    weirp_ope_target *target[WEIRP_OPE_MAX_POLICIES];
    weir_ope r = {.n_rows = 0};
    weirp_ope_table *table = table_made(l);
    o.policies = policies, o.n_policies = n, o.n_threads = 1;
    if (!o.n_bootstrap) o.n_bootstrap = 20;
    must(weirp_ope_settle(&settings, &o, table, &err), &err);
    for (size_t i = 0; i < n; i++) must(weirp_ope_target_new(&target[i], policies[i], table, NULL, &err), &err);
    must(weirp_ope_judge(&r, table, target, n, &settings, NULL, &err), &err);
    for (size_t i = 0; i < n; i++) weirp_ope_target_free(target[i]);
    weirp_ope_table_free(table);
    return r;
}

static const weirp_ope_standing *standing_of(const weir_ope *r, weir_metric m) {
    return &r->cell[m].standing;
}

/* ---- trades ---- */

static void every_comparison_has_its_trade(void **state) {
    (void)state;
    const log_of l = {.n = 3000, .seed = 1, .cost = {0.001, 0.002, 0.004}};
    const char *const policies[] = {"fixed,model=b", "fixed,model=c", "fixed,model=a"};
    weir_ope r = judged(&l, policies, 3, (weir_ope_options){.margin_cost = 0.3, .margin_quality = 0.3});
    const struct {
        size_t policy, other;
        weirp_verdict right;
    } all[] = {{0, WEIRP_OPE_LOGGED, WEIRP_VERDICT_WORSE},
               {0, 1, WEIRP_VERDICT_BETTER},
               {0, 2, WEIRP_VERDICT_WORSE},
               {1, WEIRP_OPE_LOGGED, WEIRP_VERDICT_WORSE},
               {2, WEIRP_OPE_LOGGED, WEIRP_VERDICT_BETTER}};
    const size_t n = sizeof all / sizeof *all;
    size_t policy, other;
    assert_int_equal(r.n_trades, n);
    for (size_t i = 0; i < n; i++) {
        const weirp_ope_trade *t = weirp_ope_trade_of(&r, all[i].policy, all[i].other);
        const weirp_contrast *c = weirp_ope_contrast_of(&r, all[i].policy, all[i].other, WEIR_METRIC_COST);
        weirp_ope_headline h;
        assert_non_null(t);
        assert_int_equal(t->verdict, all[i].right);
        assert_true(t->saving == -c->relative && t->saving_lo == -c->relative_interval.hi);
        assert_true(t->saving_wanted == 0.3 && t->quality_margin == 0.3);
        assert_true(weirp_ope_comparison(&r, i, &policy, &other));
        assert_true(policy == all[i].policy && other == all[i].other);
        weirp_ope_headline_make(&h, &r, policy, other);
        assert_non_null(strstr(h.text, "more than 30.0 %)"));
        assert_int_equal(strncmp(strchr(h.text, 'f'), policies[policy], strlen(policies[policy])), 0);
        assert_string_equal(h.word, weirp_verdict_text(all[i].right));
    }
    assert_false(weirp_ope_comparison(&r, n, &policy, &other));
    assert_true(fabs(weirp_ope_trade_of(&r, 0, 1)->saving - 0.5) < 0.05);
    weirp_ope_clear(&r);
}

/* All of the cost is saved, and nothing of that is in doubt. */
static void a_candidate_may_cost_nothing(void **state) {
    (void)state;
    const log_of l = {.n = 2000, .seed = 2, .cost = {0, 0.002, 0.004}};
    const char *const policies[] = {"fixed,model=a", "fixed,model=b"};
    weir_ope r =
        judged(&l, policies, 2, (weir_ope_options){.margin_cost = 0.99, .margin_quality = 0.3, .estimator = "snips"});
    for (size_t i = 0; i < 2; i++) { /* against what ran, and against b */
        assert_true(fabs(r.trade[i].saving - 1) < 1e-9);
        assert_true(fabs(r.trade[i].saving_lo - 1) < 1e-9);
        assert_int_equal(r.trade[i].verdict, WEIRP_VERDICT_BETTER);
    }
    weirp_ope_clear(&r);
    /* The other way round there is nothing that could be saved. */
    const char *const turned[] = {"fixed,model=b", "fixed,model=a"};
    r = judged(&l, turned, 2, (weir_ope_options){.margin_cost = 0.1, .estimator = "snips"});
    const weirp_ope_trade *t = weirp_ope_trade_of(&r, 0, 1);
    weirp_ope_headline h;
    assert_true(isnan(t->saving));
    assert_int_equal(t->verdict, WEIRP_VERDICT_REFUSED);
    weirp_ope_headline_make(&h, &r, 0, 1);
    assert_string_equal(h.word, "refused");
    assert_non_null(strstr(h.text, "Nothing can be saved, compared with a cost of 0."));
    weirp_ope_clear(&r);
}

/* ---- policies that do the same ---- */

static void check_verdicts(const weir_ope *r, size_t other, weirp_verdict verdict, const char *word) {
    weirp_ope_headline h;
    for (weir_metric m = 0; m < WEIR_METRIC_ERROR; m++) {
        const weirp_contrast *c = weirp_ope_contrast_of(r, 0, other, m);
        assert_non_null(c);
        assert_int_equal(c->verdict, verdict);
        if (verdict == WEIRP_VERDICT_SAME)
            assert_true(c->difference == 0 && c->interval.lo == 0 && c->interval.hi == 0 && isnan(c->n_more));
    }
    weirp_ope_headline_make(&h, r, 0, other);
    assert_string_equal(h.word, word);
}

static void the_same_is_said_to_be_the_same(void **state) {
    (void)state;
    log_of l = {.n = 1500, .seed = 3, .cost = {0.001, 0.002, 0.004}};
    const char *const twins[] = {"fixed,model=b", "fixed,model=b,name=twin", "fixed,model=c"};
    weir_ope r = judged(&l, twins, 3, (weir_ope_options){.seed = 1});
    check_verdicts(&r, 1, WEIRP_VERDICT_SAME, "same");
    assert_int_equal(weirp_ope_contrast_of(&r, 0, 2, WEIR_METRIC_COST)->verdict, WEIRP_VERDICT_BETTER);
    weirp_ope_clear(&r);
    /* Too few rows to judge either; that they are the same needs none. */
    l.n = 40;
    r = judged(&l, twins, 3, (weir_ope_options){.seed = 1});
    check_verdicts(&r, WEIRP_OPE_LOGGED, WEIRP_VERDICT_REFUSED, "refused");
    check_verdicts(&r, 1, WEIRP_VERDICT_SAME, "same");
    check_verdicts(&r, 2, WEIRP_VERDICT_REFUSED, "refused");
    weirp_ope_clear(&r);
    l.n = 1500;
    /* Both can't be asked about one row in twenty, or one in two. */
    const char *const askers[] = {"plugin,value=0.5", "plugin,value=0.6"};
    l.asked = 20;
    r = judged(&l, askers, 2, (weir_ope_options){.seed = 1});
    check_verdicts(&r, 1, WEIRP_VERDICT_SAME, "same");
    weirp_ope_clear(&r);
    l.asked = 2;
    r = judged(&l, askers, 2, (weir_ope_options){.seed = 1});
    check_verdicts(&r, 1, WEIRP_VERDICT_REFUSED, "refused");
    weirp_ope_clear(&r);
    /* What ran, under its own name and as a table of the same chances. */
    char path[] = "/tmp/ope_judge_XXXXXX", spec[64];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_true(fputs("model,chance\na,0.5\nb,0.3\nc,0.2\n", f) > 0 && fclose(f) == 0);
    snprintf(spec, sizeof spec, "table,file=%s", path);
    const char *const ran[] = {spec, "logged", "random"};
    r = judged(&l, ran, 3, (weir_ope_options){.margin_cost = 0.1});
    check_verdicts(&r, WEIRP_OPE_LOGGED, WEIRP_VERDICT_SAME, "same");
    check_verdicts(&r, 1, WEIRP_VERDICT_SAME, "same");
    assert_int_equal(weirp_ope_trade_of(&r, 0, 1)->verdict, WEIRP_VERDICT_SAME);
    assert_int_equal(weirp_ope_trade_of(&r, 1, WEIRP_OPE_LOGGED)->verdict, WEIRP_VERDICT_SAME);
    assert_int_not_equal(weirp_ope_trade_of(&r, 2, WEIRP_OPE_LOGGED)->verdict, WEIRP_VERDICT_SAME);
    assert_int_not_equal(weirp_ope_contrast_of(&r, 0, 2, WEIR_METRIC_COST)->verdict, WEIRP_VERDICT_SAME);
    weirp_ope_clear(&r);
    /* Nobody knows what else could have been chosen. */
    l.only_chosen = true;
    r = judged(&l, ran, 3, (weir_ope_options){.seed = 1});
    assert_int_equal(weirp_ope_contrast_of(&r, 0, WEIRP_OPE_LOGGED, WEIR_METRIC_COST)->verdict, WEIRP_VERDICT_MORE);
    assert_int_equal(weirp_ope_contrast_of(&r, 0, 1, WEIR_METRIC_COST)->verdict, WEIRP_VERDICT_MORE);
    weirp_ope_clear(&r);
    remove(path);
}

/* ---- ends ---- */

/* What can't be judged may be anything that outcomes can be. */
static void refused_intervals_say_nothing(void **state) {
    (void)state;
    const log_of l = {.n = 3000, .seed = 41, .session = 200, .cost = {0.001, 0.002, 0.004}}; /* 15 sessions */
    const char *const policies[] = {"fixed,model=b", "fixed,model=c"};
    weir_ope r = judged(&l, policies, 2, (weir_ope_options){.margin_cost = 0.1});
    assert_int_equal(r.n_trades, 3);
    for (size_t i = 0; i < r.n_contrasts; i++) {
        const weirp_contrast *c = &r.contrast[i];
        const bool share = c->metric == WEIR_METRIC_QUALITY;
        assert_int_equal(c->verdict, WEIRP_VERDICT_REFUSED);
        assert_true(isfinite(c->difference) && isfinite(c->se));
        assert_true(share ? c->interval.lo >= -1 && c->interval.hi <= 1 && c->interval.hi - c->interval.lo >= 1
                          : c->interval.lo == -INFINITY && c->interval.hi == INFINITY);
        assert_true(share || (isfinite(c->relative) && isinf(c->relative_interval.lo)));
        const weirp_interval shown = weirp_ope_shown_interval(&r, c->policy, c->metric);
        assert_true(share ? shown.lo == 0 && shown.hi == 1 : shown.lo == -INFINITY && shown.hi == INFINITY);
    }
    for (size_t i = 0; i < r.n_trades; i++)
        assert_true(r.trade[i].verdict == WEIRP_VERDICT_REFUSED && isinf(r.trade[i].saving_lo));
    weirp_ope_clear(&r);
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    const log_of l = {.n = 400, .seed = 42, .cost = {1e308, 1e308, 1e308}};
    const char *const policies[] = {"fixed,model=b"};
    weir_ope r = judged(&l, policies, 1, (weir_ope_options){.reward_model = "table"});
    for (size_t i = 0; i < r.n_contrasts; i++)
        assert_true((r.contrast[i].metric == WEIR_METRIC_COST) == (r.contrast[i].verdict == WEIRP_VERDICT_REFUSED));
    assert_non_null(strstr(standing_of(&r, WEIR_METRIC_COST)->refusal, "isn't a number: outcomes are too large"));
    assert_string_equal(standing_of(&r, WEIR_METRIC_QUALITY)->refusal, "");
    weirp_ope_clear(&r);
}

/* All of the mass that isn't supported at its worst: no further than from what ran to 0 and to 1. */
static void a_difference_ends_where_shares_do(void **state) {
    (void)state;
    static const double without_c[] = {0.6, 0.4, 0};
    weirp_ope_table *table = table_of(names, N_MODELS);
    weir_error err = {0};
    weirp_ope_settings settings;
    weirp_ope_target *target;
    weir_ope r = {.n_rows = 0};
    const char *const policies[] = {"fixed,model=c"};
    const weir_ope_options o = {.policies = policies, .n_policies = 1, .n_threads = 1, .n_bootstrap = 20};
    for (size_t i = 0; i < 2000; i++) { /* 45 % of the rows can't go to c: twice that is 0.9 */
        const bool odd = i % 20 < 9;
        const double u = weirp_random_uniform(43, 1, i), *p = odd ? without_c : chances;
        const size_t chosen = u < p[A] ? A : u < p[A] + p[B] ? B : C;
        weirp_logged_row row = row_new(chosen, p[chosen]);
        row.propensity = p;
        row.metric[WEIR_METRIC_QUALITY] = weirp_random_uniform(43, 2, i) < 0.6;
        table_row(table, &row, N_MODELS);
    }
    table_done(table);
    must(weirp_ope_settle(&settings, &o, table, &err), &err);
    must(weirp_ope_target_new(&target, policies[0], table, NULL, &err), &err);
    must(weirp_ope_judge(&r, table, &target, 1, &settings, NULL, &err), &err);
    const double ran = r.cell[WEIR_METRIC_QUALITY].logged_mean, se = r.cell[WEIR_METRIC_QUALITY].logged_se;
    const weirp_contrast *c = &r.contrast[0];
    assert_int_equal(c->verdict, WEIRP_VERDICT_MORE);
    assert_true(fabs(c->interval.lo + ran + 1.9611 * se) < 1e-4); /* Student's, of 1,999 */
    assert_true(fabs(c->interval.hi - (1 - ran + 1.9611 * se)) < 1e-4);
    weirp_ope_target_free(target);
    weirp_ope_table_free(table);
    weirp_ope_clear(&r);
}

/* Maurer's and Pontil's bound of the rows' terms w r, from their variance as it is. */
static void bernstein_takes_the_variance_once(void **state) {
    (void)state;
    const log_of l = {.n = 500, .seed = 44, .cost = {1, 1, 1}};
    const char *const policies[] = {"random"};
    weirp_ope_table *table = table_made(&l);
    double sum = 0, square = 0;
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) {
        const double x = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY] / 3 / chances[b.chosen[i]];
        sum += x;
        square += x * x;
    }
    weirp_ope_table_free(table);
    weir_ope r = judged(&l, policies, 1, (weir_ope_options){.reward_model = "table"});
    const size_t ips = weirp_ope_estimator_find("ips");
    const weirp_ope_estimate *e = &r.cell[WEIR_METRIC_QUALITY].estimate[ips];
    const double n = 500, v = (square - sum * sum / n) / (n - 1), range = 1 / 3. / 0.2, terms = log(4 / 0.05);
    const double half = sqrt(2 * v * terms / n) + 7 * range * terms / (3 * (n - 1));
    assert_true(fabs(e->bernstein.hi - fmin(sum / n + half, range)) < 1e-9);
    assert_true(fabs(e->bernstein.lo - fmax(sum / n - half, 0)) < 1e-9);
    weirp_ope_clear(&r);
}

/* ---- sessions ---- */

/* Labels of a few sessions with many rows are few labels, however many sessions there are without any. */
static void sessions_count_that_know_it(void **state) {
    (void)state;
    enum { SESSIONS = 50, ROWS = 300 };
    static const size_t labelled[] = {2, 19, 20, SESSIONS};
    const char *const policies[] = {"fixed,model=c"};
    for (size_t k = 0; k < sizeof labelled / sizeof *labelled; k++) {
        const log_of l = {.n = SESSIONS * ROWS,
                          .seed = 31,
                          .session = ROWS,
                          .alone = true,
                          .labelled = labelled[k] * ROWS,
                          .cost = {1, 1, 1}};
        weir_ope r = judged(&l, policies, 1, (weir_ope_options){.reward_model = "table"});
        const weirp_ope_standing *s = standing_of(&r, WEIR_METRIC_QUALITY);
        char right[128] = "";
        if (labelled[k] < 20)
            snprintf(right, sizeof right,
                     "%zu independent sessions know the quality of what the candidate would do: at least 20 are needed",
                     labelled[k]);
        assert_int_equal(s->n_sessions, labelled[k]); /* in 300 rows c is always chosen once */
        assert_int_equal(standing_of(&r, WEIR_METRIC_COST)->n_sessions, SESSIONS);
        assert_string_equal(standing_of(&r, WEIR_METRIC_COST)->refusal, "");
        assert_string_equal(s->refusal, right);
        weirp_ope_clear(&r);
    }
}

/* ---- halves ---- */

static void every_log_has_halves(void **state) {
    (void)state;
    const size_t sizes[] = {100, 999, 1024, 1025, 3000};
    const char *const policies[] = {"random"};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const log_of l = {.n = sizes[k], .seed = 4, .cost = {1, 1, 1}};
        weirp_ope_table *table = table_made(&l);
        double sum[2] = {0}, all[2] = {0}; /* of w y and w, by halves */
        EACH_BLOCK(table, b)
        for (size_t i = 0; i < b.n; i++) {
            const size_t half = b.first + i >= l.n / 2;
            const double w = 1 / 3. / chances[b.chosen[i]];
            sum[half] += w * b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
            all[half] += w;
        }
        weirp_ope_table_free(table);
        weir_ope r = judged(&l, policies, 1, (weir_ope_options){.estimator = "snips"});
        const weirp_ope_standing *s = standing_of(&r, WEIR_METRIC_QUALITY);
        assert_true(fabs(s->first_half - sum[0] / all[0]) < 1e-12);
        assert_true(fabs(s->second_half - sum[1] / all[1]) < 1e-12);
        assert_true(isfinite(s->drift_z));
        weirp_ope_clear(&r);
    }
    const log_of l = {.n = 800, .seed = 5, .cost = {1, 1, 1}, .later = 0.4};
    weir_ope r = judged(&l, policies, 1, (weir_ope_options){.seed = 1});
    assert_true(standing_of(&r, WEIR_METRIC_QUALITY)->drift_z > 4); /* within one block */
    weirp_ope_clear(&r);
}

/* ---- tails ---- */

/* Ten rows a session that are all the same tell as much as one: mean widths over some logs. */
static void repeated_rows_dont_narrow_tails(void **state) {
    (void)state;
    enum { LOGS = 20, SESSIONS = 500, ROWS = 10 };
    const char *const policies[] = {"random"};
    double width[2][2] = {{0}}; /* single, repeated; median, 90 % */
    for (uint64_t seed = 0; seed < LOGS; seed++)
        for (size_t k = 0; k < 2; k++) {
            const log_of l = {.n = k ? SESSIONS * ROWS : SESSIONS,
                              .seed = 100 + seed,
                              .session = k ? ROWS : 0,
                              .cost = {0.001, 0.002, 0.004}};
            weir_ope r = judged(&l, policies, 1, (weir_ope_options){.reward_model = "table"});
            const weirp_tail *t = &r.cell[WEIR_METRIC_LATENCY].tail;
            for (size_t q = 0; q < 2; q++) width[k][q] += log(t->quantile_t[q].hi / t->quantile_t[q].lo) / LOGS;
            weirp_ope_clear(&r);
        }
    for (size_t q = 0; q < 2; q++) {
        print_message("%g %%: width %.3f of single rows, %.3f of the same ten times\n", q ? 90. : 50., width[0][q],
                      width[1][q]);
        assert_true(width[1][q] > 0.9 * width[0][q] && width[1][q] < 1.15 * width[0][q]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_count_that_know_it),
        cmocka_unit_test(every_comparison_has_its_trade),
        cmocka_unit_test(a_candidate_may_cost_nothing),
        cmocka_unit_test(the_same_is_said_to_be_the_same),
        cmocka_unit_test(every_log_has_halves),
        cmocka_unit_test(repeated_rows_dont_narrow_tails),
        cmocka_unit_test(refused_intervals_say_nothing),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(a_difference_ends_where_shares_do),
        cmocka_unit_test(bernstein_takes_the_variance_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Logs, whoever wrote them: rows as printed in tests/cases/logged/, a store's log and its export alike, times, and the
 * mapping of the documentation. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/cases.h" /* before the names that it shadows */

#include "tests/unit/store_helpers.h"

#include <float.h>
#include <math.h>

#include "datasets/logged_parts.h"
#include "src/router/learner.h"
#include "src/router/session.h"
#include "weir/weir.h"

#undef OK
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != WEIR_OK) fail_msg("%s", err.text);                                                               \
    } while (0)

/* ---- cases ---- */

static void print_numbers(FILE *out, const char *name, const double *v, size_t n) {
    if (!v) return;
    fprintf(out, "  %s", name);
    for (size_t i = 0; i < n; i++) fprintf(out, " %.9g", v[i]);
    fprintf(out, "\n");
}

static void print_row(FILE *out, const weirp_logged *l, const weirp_logged_row *row) {
    size_t n = weirp_logged_n_models(l);
    fprintf(out, "line %zu id=%s session=%s segment=%s logger=%s time=%lld chosen=%s p=%.9g flags=%u", row->line,
            row->id, row->session, row->segment, row->logger,
            row->time_ms == WEIRP_LOGGED_NO_TIME ? -1 : (long long)row->time_ms, weirp_logged_model(l, row->chosen),
            row->p, row->flags);
    if (*row->trial) fprintf(out, " trial=%s/%016llx", row->trial, (unsigned long long)row->trial_digest);
    fprintf(out, " quality=%.9g cost=%.9g latency=%.9g error=%g\n", row->metric[0], row->metric[1], row->metric[2],
            row->metric[3]);
    print_numbers(out, "propensity", row->propensity, n);
    print_numbers(out, "target", row->target, n);
    print_numbers(out, "quality_hat", row->quality_hat, n);
    print_numbers(out, "cost_hat", row->cost_hat, n);
    print_numbers(out, "by_logger", row->by_logger, row->n_loggers);
    if (row->dense) {
        fprintf(out, "  features");
        for (size_t i = 0; i < row->dim; i++) fprintf(out, " %g", (double)row->dense[i]);
        fprintf(out, "\n");
    }
}

static void print_warning(void *user, const char *text) {
    fprintf(user, "left out: %s\n", text);
}

static void print_case(FILE *out) {
    weir_error err = {0};
    weirp_logged *l = NULL;
    weirp_logged_row row;
    weirp_logged_options o = {
        .map = access("map.yaml", R_OK) ? NULL : "map.yaml", .warning = print_warning, .warning_user = out};
    weir_status st = weirp_logged_open(&l, access("log.csv", R_OK) ? "log.jsonl" : "log.csv", &o, &err);
    while (st == WEIR_OK && (st = weirp_logged_next(l, &row, &err)) == WEIR_OK) print_row(out, l, &row);
    if (st != WEIR_END) fprintf(out, "%s: %s\n", weir_status_name(st), err.text);
    if (!l) return;
    fprintf(out, "%zu malformed, %zu other\n", weirp_logged_n_malformed(l), weirp_logged_n_other(l));
    weirp_logged_close(l);
}

static void cases(void **state) {
    (void)state;
    assert_int_equal(cases_run("logged", print_case), 0);
}

static void strict(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_logged *l;
    weirp_logged_row row;
    weirp_logged_options o = {.map = WEIR_SOURCE_DIR "/tests/cases/logged/csv_p_only/map.yaml", .strict = true};
    OK(weirp_logged_open(&l, WEIR_SOURCE_DIR "/tests/cases/logged/csv_p_only/log.csv", &o, &err));
    OK(weirp_logged_next(l, &row, &err));
    assert_int_equal(weirp_logged_next(l, &row, &err), WEIR_PARSE);
    assert_int_equal(err.line, 3);
    assert_non_null(strstr(err.text, "log.csv:3: key \"propensity\""));
    weirp_logged_close(l);
}

static void example(void **state) {
    (void)state;
    weir_error err = {0};
    weirp_logged *l;
    weirp_logged_row row;
    weirp_logged_options o = {.map = WEIR_SOURCE_DIR "/docs/examples/open-bandit.yaml"};
    const char *text = "timestamp,item_id,position,click,propensity_score\n"
                       "2019-11-24 00:03:13.442536+00:00,14,3,1,0.0294117647058823\n";
    spill(path, (const uint8_t *)text, strlen(text));
    OK(weirp_logged_open(&l, path, &o, &err));
    OK(weirp_logged_next(l, &row, &err));
    assert_string_equal(weirp_logged_model(l, row.chosen), "14");
    assert_string_equal(row.segment, "3");
    assert_true(row.p == 0.0294117647058823 && row.metric[WEIR_METRIC_QUALITY] == 1);
    assert_true(row.time_ms == 1574553793442 && isnan(row.metric[WEIR_METRIC_COST]));
    assert_int_equal(weirp_logged_next(l, &row, &err), WEIR_END);
    weirp_logged_close(l);
}

/* ---- times and numbers ---- */

static void times(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01", 0},
                {"1970-01-01T00:00:00Z", 0},
                {"2000-02-29 12:00", 951825600000},
                {"2019-11-24 00:03:13.442536+00:00", 1574553793442},
                {"2019-11-24T01:03:13,5+0100", 1574553793500},
                {"2019-11-23T19:03:13-05", 1574553793000},
                {"2019-11-24 00:03:13 UTC", 1574553793000},
                {"1969-12-31T23:59:59Z", -1000},
                {"1574553793", 1574553793000},
                {"1574553793.25", 1574553793250},
                {"1574553793442", 1574553793442}};
    static const char *const bad[] = {"",
                                      "today",
                                      "2019-13-01",
                                      "2019-02-30",
                                      "2019-11-24T25:00:00Z",
                                      "2019-11-24 00:03:13.",
                                      "2019-11-24 00:03:13+",
                                      "2019-11-24x",
                                      "1e300",
                                      "2019-11-24T",
                                      "--1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ms = 7;
        if (!weirp_time_parse(good[i].text, strlen(good[i].text), &ms) || ms != good[i].ms)
            fail_msg("%s is %lld", good[i].text, (long long)ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (weirp_time_parse(bad[i], strlen(bad[i]), &(int64_t){0})) fail_msg("\"%s\" is a time", bad[i]);
}

/* The fast way gives what strtod gives, to the bit. */
static void numbers(void **state) {
    (void)state;
    static const char *const formats[] = {"%.17g", "%.9g", "%.3f", "%.18f", "%.0f", "%.16e", "%.19g", "%.25g"};
    static const char *const odd[] = {"0",
                                      "-0",
                                      "1e22",
                                      "1e23",
                                      "9007199254740993",
                                      "123456789012345678901234567890",
                                      "0.000000000000000000000000000001",
                                      "4.9e-324",
                                      "1e-310",
                                      "1.7976931348623157e308",
                                      "00012.5",
                                      "1E+2",
                                      "2.5e-8",
                                      "18446744073709551615",
                                      "9999999999999999999"};
    static const char *const bad[] = {"",    "-",    ".",  "e5",  "1e",    "1x",   "nan",
                                      "inf", "0x10", "1 ", "--1", "1.2.3", "1e5.5"};
    char text[400];
    double v;
    for (uint64_t i = 0; i < 200000; i++) {
        double x = weirp_random_normal(5, 1, i) * pow(10, (double)(i % 41) - 20);
        int n = snprintf(text, sizeof text, formats[i % 8], x);
        if (!weirp_fast_number(text, (size_t)n, &v) || v != strtod(text, NULL)) fail_msg("%s is %.17g", text, v);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (!weirp_fast_number(odd[i], strlen(odd[i]), &v) || v != strtod(odd[i], NULL))
            fail_msg("%s is %.17g", odd[i], v);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (weirp_fast_number(bad[i], strlen(bad[i]), &v)) fail_msg("\"%s\" is a number", bad[i]);
}

/* ---- a store's log ---- */

enum { MODELS = 4, PROMPTS = 60 };

static void serve(weir_learner *learner, weir_session *session, const weir_dataset *data, size_t i,
                  char id[WEIRP_ID_SIZE]) {
    weir_error err = {0};
    weirp_writer w = {0};
    weir_policy_options o = weir_policy_defaults();
    const weir_decision *d;
    o.explore_floor = 0.05;
    o.draw = i;
    OK(weir_decide(session, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, &err));
    weirp_served s = {.model = i % 10 == 9   ? (size_t)-1
                               : i % 10 == 8 ? (d->model + 1) % MODELS
                                             : d->model,
                      .api = "chat",
                      .request_id = "r",
                      .status = i % 10 == 9 ? 503 : 200,
                      .pinned = i % 10 == 7,
                      .predicted_cost_usd = NAN,
                      .cost_usd = i % 10 == 6 ? NAN : 1e-4 * (double)(i + 1),
                      .latency_ms = 100 + (double)i,
                      .first_token_ms = NAN,
                      .user = i % 2 ? "somebody" : NULL};
    if (i % 10 == 5) { /* a stream that broke off, after a try that nobody saw */
        s.n_attempts = 2;
        strcpy(s.attempt[0].result, "ok");
        strcpy(s.attempt[1].result, "cut");
    } else if (i % 10 == 4) { /* one that was tried again */
        s.n_attempts = 2;
        strcpy(s.attempt[0].result, "cut");
        strcpy(s.attempt[1].result, "ok");
    } else if (i % 10 == 3) {
        s.status = 499;
        s.client_gone = true;
    } else if (i % 10 == 2) {
        s.n_attempts = 1;
        strcpy(s.attempt[0].result, "shutdown");
    }
    weirp_id_new(id, i, 7);
    double candidate[MODELS] = {0};
    candidate[i % MODELS] = 1;
    const weirp_trial trial = {
        i < 40 ? "trial" : "another", 0xfedcba9876543200 + (i / 20 << 8), 1, 0.25, i % 4 == 0, candidate};
    if (i % 3)
        weirp_record_trial(&w, session, id, &trial);
    else
        weirp_record_decision(&w, session, id);
    weirp_record_served(&w, &s);
    OK(weirp_learner_append(learner, w.data, w.size, &err));
    weirp_writer_free(&w);
}

static void make_log(void) {
    weir_error err = {0};
    weir_dataset *data;
    weir_simulate_options simulate = {.n_prompts = PROMPTS, .n_models = MODELS, .seed = 3};
    weir_train_options train = {.seed = 1};
    weir_learn_options learn = {.group_commit = 7};
    weir_learner *learner;
    weir_router *router;
    weir_session *session;
    static char id[PROMPTS][WEIRP_ID_SIZE];
    OK(weir_simulate(&data, NULL, &simulate, &err));
    OK(weir_train(path, data, &train, NULL, &err));
    OK(weir_router_open(&router, path, &err));
    OK(weir_session_new(&session, router, &err));
    OK(weir_learner_open(&learner, path, &learn, &err));
    for (size_t i = 0; i < PROMPTS; i++) {
        serve(learner, session, data, i, id[i]);
        /* later, twice for some, and on a model that didn't answer */
        size_t k = i - 20;
        if (i < 20 || k % 10 == 9) continue;
        weirp_feedback f = {.id = id[k], .quality = k % 3 ? 1 : 0.25, .source = "user"};
        OK(weirp_learner_feedback(learner, &f, &err));
        if (k % 4) continue;
        f = (weirp_feedback){.id = id[k], .quality = 0.5, .source = "judge"};
        OK(weirp_learner_feedback(learner, &f, &err));
        f = (weirp_feedback){.id = id[k], .quality = 0, .source = "other", .model = data->model_names[k % MODELS]};
        OK(weirp_learner_feedback(learner, &f, &err));
    }
    OK(weir_learner_close(learner, &err));
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static void assert_same_rows(const weirp_logged *a, const weirp_logged_row *x, const weirp_logged *b,
                             const weirp_logged_row *y) {
    assert_string_equal(x->id, y->id);
    assert_string_equal(x->session, y->session);
    assert_string_equal(weirp_logged_model(a, x->chosen), weirp_logged_model(b, y->chosen));
    assert_true(x->time_ms == y->time_ms && x->p == y->p && x->flags == y->flags);
    assert_int_equal(x->features_version, y->features_version);
    assert_string_equal(x->trial, y->trial);
    assert_true(x->trial_digest == y->trial_digest && !x->target == !*x->trial && !y->target == !*y->trial);
    for (size_t i = 0; i < WEIR_N_METRICS; i++) assert_true(same(x->metric[i], y->metric[i]));
    for (size_t m = 0; m < weirp_logged_n_models(a); m++) {
        size_t k = 0;
        while (strcmp(weirp_logged_model(b, k), weirp_logged_model(a, m)) != 0) k++;
        assert_true(x->propensity[m] == y->propensity[k]);
        if (x->target) assert_true(x->target[m] == y->target[k]);
        assert_true(same(x->quality_hat[m], y->quality_hat[k]) && same(x->cost_hat[m], y->cost_hat[k]));
    }
}

/* The export goes another way to the feedback than the reader of the store. */
static void store_and_export(void **state) {
    (void)state;
    weir_error err = {0};
    char exported[400];
    weirp_logged *a, *b;
    weirp_logged_row x, y;
    size_t n = 0, labels = 0, failed = 0, left = 0, tried = 0, fallen = 0, forced = 0, users = 0;
    make_log();
    snprintf(exported, sizeof exported, "%s/log.jsonl", folder);
    FILE *out = fopen(exported, "wb");
    OK(weir_store_export_log(path, out, &err));
    fclose(out);
    OK(weirp_logged_open(&a, path, NULL, &err));
    OK(weirp_logged_open(&b, exported, NULL, &err));
    for (;; n++) {
        weir_status st = weirp_logged_next(a, &x, &err);
        assert_int_equal(weirp_logged_next(b, &y, &err), st);
        if (st == WEIR_END) break;
        OK(st);
        assert_same_rows(a, &x, b, &y);
        assert_int_equal(x.dim > 0, true);
        assert_true(x.training != 0 && y.training == 0); /* exported lines have no features */
        labels += !isnan(x.metric[WEIR_METRIC_QUALITY]);
        failed += x.metric[WEIR_METRIC_ERROR] == 1 && isnan(x.metric[WEIR_METRIC_LATENCY]);
        if (*x.trial) {
            assert_string_equal(x.trial, n < 40 ? "trial" : "another");
            assert_true(x.trial_digest == 0xfedcba9876543200 + (n / 20 << 8));
            tried++;
        }
        left += x.metric[WEIR_METRIC_ERROR] == 0 && isnan(x.metric[WEIR_METRIC_LATENCY]);
        fallen += (x.flags & WEIRP_LOGGED_FALLEN_BACK) != 0;
        forced += (x.flags & WEIRP_LOGGED_FORCED) != 0;
        users += *x.session != 0;
    }
    assert_int_equal(n, PROMPTS);
    assert_int_equal(labels, 36); /* of 40 that were spoken of, 4 were answered by nobody */
    assert_int_equal(failed, 12); /* nobody answered, or it broke off */
    assert_int_equal(left, 12);
    assert_int_equal(tried, 40);
    assert_int_equal(fallen, 6);
    assert_int_equal(forced, 6);
    assert_int_equal(users, 30);
    assert_int_equal(weirp_logged_n_other(a), weirp_logged_n_other(b));
    assert_true(weirp_logged_n_other(a) > 36);
    assert_int_equal(weirp_logged_n_malformed(a) + weirp_logged_n_malformed(b), 0);
    assert_true(weirp_logged_share(a) == 1 && weirp_logged_share(b) == 1);
    weirp_logged_close(a);
    weirp_logged_close(b);
}

#define TEST_HERE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases), cmocka_unit_test(strict),  TEST_HERE(example),
        cmocka_unit_test(times), cmocka_unit_test(numbers), TEST_HERE(store_and_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

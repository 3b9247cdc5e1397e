/* Router: what is trained, asked and learned end to end, on simulated outcomes whose truth is known.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

static char store_path[64];

static int make_path(void **state) {
    (void)state;
    snprintf(store_path, sizeof store_path, "/tmp/weir-router-test-%ld.mdb", (long)getpid());
    unlink(store_path);
    return 0;
}

static int remove_path(void **state) {
    (void)state;
    char lock[80];
    unlink(store_path);
    snprintf(lock, sizeof lock, "%s-lock", store_path);
    unlink(lock);
    return 0;
}

#define CHECK_OK(call)                                                                                                 \
    do {                                                                                                               \
        weir_error err = {0};                                                                                          \
        weir_error *e = &err;                                                                                          \
        weir_status got = (call);                                                                                      \
        if (got != WEIR_OK) fail_msg("%s: %s: %s", #call, weir_status_name(got), err.text);                            \
    } while (0)

static weir_dataset *simulated(size_t n, uint64_t seed, double **truth) {
    weir_dataset *data = NULL;
    weir_simulate_options o = {.n_prompts = n, .n_models = 6, .seed = seed};
    CHECK_OK(weir_simulate(&data, truth, &o, e));
    return data;
}

static weir_router *trained_on(const weir_dataset *data, const char *estimator) {
    weir_train_options o = {.estimator = estimator, .seed = 1};
    weir_router *router = NULL;
    CHECK_OK(weir_train(store_path, data, &o, NULL, e));
    CHECK_OK(weir_router_open(&router, store_path, e));
    return router;
}

/* ---- asking ---- */

static void decision_is_argmin_of_its_estimates(void **state) {
    (void)state;
    weir_dataset *data = simulated(600, 1, NULL);
    weir_router *router = trained_on(data, NULL);
    weir_session *session = NULL;
    CHECK_OK(weir_session_new(&session, router, e));
    weir_policy_options o = weir_policy_defaults();
    for (size_t i = 0; i < 100; i++) {
        const weir_decision *d;
        const weir_estimates *est;
        o.value_usd = pow(10, -4 + 4.0 * (double)i / 100);
        CHECK_OK(weir_decide(session, data->prompts[i], data->prompt_lens[i], &o, &d, &est, e));
        assert_int_equal(d->rule, WEIR_RULE_PLUGIN);
        size_t best = 0;
        for (size_t m = 0; m < est->n_models; m++) {
            double risk = o.value_usd * (1 - est->quality[m]) + est->cost_usd[m];
            assert_true(fabs(risk - d->risk_usd[m]) <= 1e-12 + 1e-9 * risk);
            if (d->risk_usd[m] < d->risk_usd[best]) best = m;
            assert_true(est->quality_lo[m] <= est->quality[m] && est->quality[m] <= est->quality_hi[m]);
            assert_true(est->cost_lo[m] <= est->cost_hi[m] && est->cost_usd[m] > 0);
        }
        assert_int_equal(d->model, best);
        assert_true(d->propensity[best] == 1.0);
    }
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
}

/* Mean of value*(1-truth)+cost of the choices, less that of the best choices. */
static double excess_risk(weir_router *router, const weir_dataset *test, const double *truth, double value) {
    weir_session *session = NULL;
    CHECK_OK(weir_session_new(&session, router, e));
    weir_policy_options o = weir_policy_defaults();
    o.value_usd = value;
    double excess = 0;
    size_t k = test->n_models;
    for (size_t i = 0; i < test->n_prompts; i++) {
        const weir_decision *d;
        CHECK_OK(weir_decide(session, test->prompts[i], test->prompt_lens[i], &o, &d, NULL, e));
        double best = INFINITY, chosen = NAN;
        for (size_t m = 0; m < k; m++) {
            double risk = value * (1 - truth[i * k + m]) + test->cost_usd[i * k + m];
            best = fmin(best, risk);
            if (m == d->model) chosen = risk;
        }
        excess += (chosen - best) / (double)test->n_prompts;
    }
    weir_session_free(session);
    return excess;
}

static void excess_risk_falls_with_sample_size(void **state) {
    (void)state;
    double *truth = NULL, value = 0.01, constant, small, large;
    weir_dataset *test = simulated(1500, 99, &truth);
    weir_dataset *few = simulated(150, 2, NULL), *many = simulated(5000, 3, NULL);
    weir_router *router = trained_on(many, "constant");
    constant = excess_risk(router, test, truth, value);
    weir_router_close(router);
    router = trained_on(few, NULL);
    small = excess_risk(router, test, truth, value);
    weir_router_close(router);
    router = trained_on(many, NULL);
    large = excess_risk(router, test, truth, value);
    weir_router_close(router);
    print_message("excess risk, USD a prompt: constants %.3g, 150 prompts %.3g, 5,000 prompts %.3g\n", constant, small,
                  large);
    assert_true(large < small);
    assert_true(large < 0.6 * constant);
    assert_true(small < 1.1 * constant);
    weir_dataset_free(test);
    weir_dataset_free(few);
    weir_dataset_free(many);
    free(truth);
}

static void intervals_cover(void **state) {
    (void)state;
    weir_dataset *train = simulated(3000, 4, NULL), *test = simulated(2000, 5, NULL);
    weir_router *router = trained_on(train, NULL);
    weir_session *session = NULL;
    CHECK_OK(weir_session_new(&session, router, e));
    size_t n = 0, quality = 0, cost = 0, k = test->n_models;
    for (size_t i = 0; i < test->n_prompts; i++) {
        const weir_estimates *est;
        CHECK_OK(weir_estimate(session, test->prompts[i], test->prompt_lens[i], &est, e));
        for (size_t m = 0; m < k; m++) {
            double q = test->quality[i * k + m], c = test->cost_usd[i * k + m];
            quality += est->quality_lo[m] <= q && q <= est->quality_hi[m];
            cost += est->cost_lo[m] <= c && c <= est->cost_hi[m];
            n++;
        }
    }
    double q = (double)quality / (double)n, c = (double)cost / (double)n;
    print_message("coverage of 90%% intervals: quality %.3f, cost %.3f\n", q, c);
    assert_true(fabs(q - 0.9) < 0.025);
    assert_true(fabs(c - 0.9) < 0.025);
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(train);
    weir_dataset_free(test);
}

static void text_that_says_nothing_costs_nothing(void **state) {
    (void)state;
    weir_dataset *data = simulated(2000, 6, NULL);
    for (size_t i = 0; i < data->n_prompts; i++) { /* prompts dealt out anew: labels and text are independent */
        size_t j = (i * 7919 + 13) % data->n_prompts;
        char *t = data->prompts[i];
        size_t len = data->prompt_lens[i];
        data->prompts[i] = data->prompts[j], data->prompt_lens[i] = data->prompt_lens[j];
        data->prompts[j] = t, data->prompt_lens[j] = len;
    }
    weir_train_options o = {.seed = 1};
    weir_train_report r;
    CHECK_OK(weir_train(store_path, data, &o, &r, e));
    double weight = 0;
    for (size_t k = 0; k < r.n_members; k++) weight += r.member[k].weight;
    assert_true(weight < 0.3);
    weir_dataset_free(data);
}

static void strange_prompts_have_decisions(void **state) {
    (void)state;
    weir_dataset *data = simulated(400, 7, NULL);
    weir_router *router = trained_on(data, NULL);
    weir_session *session = NULL;
    CHECK_OK(weir_session_new(&session, router, e));
    size_t huge = 10u << 20;
    char *big = malloc(huge);
    assert_non_null(big);
    for (size_t i = 0; i < huge; i++) big[i] = (char)(i * 2654435761u >> 11);
    const struct {
        const char *text;
        size_t len;
    } cases[] = {{"", 0}, {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 8}, {"\xff\xfe\x80", 3}, {"a\0b", 3}, {big, huge}};
    weir_policy_options o = weir_policy_defaults();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const weir_decision *d;
        const weir_estimates *est;
        CHECK_OK(weir_decide(session, cases[i].text, cases[i].len, &o, &d, &est, e));
        for (size_t m = 0; m < est->n_models; m++)
            assert_true(isfinite(est->quality[m]) && isfinite(est->cost_usd[m]) && est->quality_sd[m] >= 0);
    }
    free(big);
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
}

static void foreign_text_falls_back_to_minimax(void **state) {
    (void)state;
    weir_dataset *data = simulated(1500, 8, NULL);
    weir_router *router = trained_on(data, NULL);
    weir_session *session = NULL;
    CHECK_OK(weir_session_new(&session, router, e));
    weir_policy_options o = weir_policy_defaults();
    const weir_decision *d;
    const char *klingon =
        "\xe1\x83\x98\xe1\x83\xa7\xe1\x83\x9d zqxj vvkrp \xe1\x83\x90\xe1\x83\xa0\xe1\x83\x90 wqzzt jjxq";
    CHECK_OK(weir_decide(session, klingon, strlen(klingon), &o, &d, NULL, e));
    assert_int_equal(d->rule, WEIR_RULE_MINIMAX);
    assert_int_equal(d->reason, WEIR_REASON_NOVEL_PROMPT);
    size_t fallbacks = 0;
    weir_dataset *more = simulated(1000, 9, NULL);
    for (size_t i = 0; i < more->n_prompts; i++) {
        CHECK_OK(weir_decide(session, more->prompts[i], more->prompt_lens[i], &o, &d, NULL, e));
        fallbacks += d->rule == WEIR_RULE_MINIMAX;
    }
    assert_true(fallbacks <= 20);
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
    weir_dataset_free(more);
}

/* ---- sets that are hardly data ---- */

static void degenerate_sets_train(void **state) {
    (void)state;
    static const char *one_name[] = {"only"};
    static const char *two_names[] = {"a", "b"};
    char one[] = "one", two[] = "two", three[] = "three", none[] = "";
    char *prompts[] = {one, two, three, none};
    char *texts[] = {none, none, none, none};
    size_t lens[] = {3, 3, 5, 0};
    double ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    double gaps[8] = {NAN, 0.2, NAN, 0.4, NAN, NAN, NAN, 1};
    const struct {
        const char **names;
        size_t n_models, n_prompts;
        double *quality;
    } cases[] = {{one_name, 1, 4, ones}, {two_names, 2, 4, ones}, {two_names, 2, 1, ones}, {two_names, 2, 4, gaps}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_dataset d = {.n_prompts = cases[i].n_prompts,
                          .n_models = cases[i].n_models,
                          .model_names = (char **)cases[i].names,
                          .ids = texts,
                          .tasks = texts,
                          .prompts = prompts,
                          .prompt_lens = lens,
                          .quality = cases[i].quality};
        weir_router *router = trained_on(&d, NULL);
        weir_session *session = NULL;
        CHECK_OK(weir_session_new(&session, router, e));
        const weir_decision *decision;
        weir_policy_options o = weir_policy_defaults();
        CHECK_OK(weir_decide(session, "two", 3, &o, &decision, NULL, e));
        assert_true(decision->model < cases[i].n_models);
        weir_session_free(session);
        weir_router_close(router);
    }
    weir_dataset empty = {0};
    weir_error err = {0};
    assert_int_equal(weir_train(store_path, &empty, NULL, NULL, &err), WEIR_NODATA);
    double nothing[4] = {NAN, NAN, NAN, NAN};
    weir_dataset unlabelled = {.n_prompts = 4,
                               .n_models = 1,
                               .model_names = (char **)one_name,
                               .ids = texts,
                               .tasks = texts,
                               .prompts = prompts,
                               .prompt_lens = lens,
                               .quality = nothing};
    weir_error err2 = {0};
    assert_int_equal(weir_train(store_path, &unlabelled, NULL, NULL, &err2), WEIR_NODATA);
    weir_error err3 = {0};
    weir_train_options bad = {.estimator = "magic"};
    unlabelled.quality = ones;
    assert_int_equal(weir_train(store_path, &unlabelled, &bad, NULL, &err3), WEIR_INVALID);
    assert_non_null(strstr(err3.text, "magic"));
}

/* ---- learning ---- */

static void assert_same_estimates(weir_session *a, weir_session *b, const weir_dataset *data) {
    for (size_t i = 0; i < 50 && i < data->n_prompts; i++) {
        const weir_estimates *x, *y;
        CHECK_OK(weir_estimate(a, data->prompts[i], data->prompt_lens[i], &x, e));
        CHECK_OK(weir_estimate(b, data->prompts[i], data->prompt_lens[i], &y, e));
        assert_memory_equal(x->quality, y->quality, x->n_models * sizeof(double));
        assert_memory_equal(x->cost_usd, y->cost_usd, x->n_models * sizeof(double));
    }
}

static void feed(weir_learner *l, const weir_dataset *data, size_t from, size_t to) {
    weir_policy_options o = weir_policy_defaults();
    o.value_usd = 0.01;
    for (size_t i = from; i < to; i++) {
        const weir_decision *d;
        CHECK_OK(weir_learner_decide(l, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, e));
        size_t at = i * data->n_models + d->model;
        weir_outcome outcome = {data->quality[at], data->cost_usd[at], data->input_tokens[at], data->output_tokens[at],
                                data->latency_ms[at]};
        size_t model = d->model;
        CHECK_OK(weir_learner_observe(l, data->ids[i], 1, &model, &outcome, e));
    }
}

static void replaying_the_log_gives_the_learners_state(void **state) {
    (void)state;
    weir_dataset *data = simulated(700, 10, NULL);
    weir_router_close(trained_on(data, NULL));
    weir_learner *l = NULL;
    weir_learn_options o = {.group_commit = 10};
    CHECK_OK(weir_learner_open(&l, store_path, &o, e));
    weir_error busy = {0};
    weir_learner *second = NULL;
    assert_int_equal(weir_learner_open(&second, store_path, &o, &busy), WEIR_BUSY);
    feed(l, data, 0, 200);
    assert_int_equal(weir_learner_n_durable(l), 200);
    /* beside the writer: sections of the training, and 200 records to replay */
    weir_router *replayed = NULL, *checkpointed = NULL;
    CHECK_OK(weir_router_open(&replayed, store_path, e));
    CHECK_OK(weir_learner_close(l, e));
    CHECK_OK(weir_router_open(&checkpointed, store_path, e));
    weir_session *a = NULL, *b = NULL;
    CHECK_OK(weir_session_new(&a, replayed, e));
    CHECK_OK(weir_session_new(&b, checkpointed, e));
    assert_same_estimates(a, b, data);
    assert_true(weir_router_version(checkpointed) > weir_router_version(replayed));
    weir_session_free(a);
    weir_session_free(b);
    weir_router_close(replayed);
    weir_router_close(checkpointed);
    char *json = NULL;
    CHECK_OK(weir_store_check(store_path, &json, e));
    assert_non_null(strstr(json, "\"n_feedbacks\": 200"));
    free(json);
    weir_dataset_free(data);
}

static void a_store_can_begin_with_nothing(void **state) {
    (void)state;
    remove_path(NULL);
    weir_dataset *data = simulated(400, 11, NULL);
    weir_learner *l = NULL;
    weir_learn_options o = {.create = true};
    CHECK_OK(weir_learner_open(&l, store_path, &o, e));
    for (size_t m = 0; m < data->n_models; m++) {
        size_t index;
        CHECK_OK(weir_learner_model_index(l, data->model_names[m], &index, e));
        assert_int_equal(index, m);
    }
    const weir_decision *d;
    const weir_estimates *est;
    weir_policy_options p = weir_policy_defaults();
    CHECK_OK(weir_learner_decide(l, "hello", 5, &p, &d, &est, e));
    assert_false(est->fitted);
    assert_int_equal(d->rule, WEIR_RULE_MINIMAX);
    assert_int_equal(d->reason, WEIR_REASON_NO_ESTIMATOR);
    feed(l, data, 0, 400);
    CHECK_OK(weir_learner_close(l, e));
    weir_router *router = NULL;
    CHECK_OK(weir_router_open(&router, store_path, e));
    assert_int_equal(weir_router_n_models(router), data->n_models);
    weir_router_close(router);
    weir_dataset_free(data);
}

/* ---- the pool ---- */

static void prices_act_at_once(void **state) {
    (void)state;
    weir_dataset *data = simulated(500, 12, NULL);
    weir_router *before = trained_on(data, NULL), *after = NULL;
    char newcomer[] = "newcomer";
    weir_model models[2] = {weir_model_defaults(), weir_model_defaults()};
    models[0].name = data->model_names[0];
    models[0].input_usd_per_mtok = models[0].output_usd_per_mtok = 100;
    models[1].name = newcomer;
    models[1].input_usd_per_mtok = 1;
    models[1].output_usd_per_mtok = 2;
    weir_pool pool = {2, models};
    CHECK_OK(weir_store_set_pool(store_path, &pool, false, e));
    CHECK_OK(weir_router_open(&after, store_path, e));
    assert_int_equal(weir_router_n_models(after), data->n_models + 1);
    weir_session *a = NULL, *b = NULL;
    CHECK_OK(weir_session_new(&a, before, e));
    CHECK_OK(weir_session_new(&b, after, e));
    for (size_t i = 0; i < 20; i++) {
        const weir_estimates *x, *y;
        CHECK_OK(weir_estimate(a, data->prompts[i], data->prompt_lens[i], &x, e));
        CHECK_OK(weir_estimate(b, data->prompts[i], data->prompt_lens[i], &y, e));
        /* nobody else has moved, and the newcomer stands somewhere among them */
        assert_memory_equal(x->quality, y->quality, x->n_models * sizeof(double));
        assert_memory_equal(x->cost_usd + 1, y->cost_usd + 1, (x->n_models - 1) * sizeof(double));
        assert_true(y->cost_usd[0] > x->cost_usd[0]);
        double lo = 1, hi = 0, q = y->quality[data->n_models];
        for (size_t m = 0; m < x->n_models; m++) lo = fmin(lo, x->quality[m]), hi = fmax(hi, x->quality[m]);
        assert_true(q >= lo - 0.1 && q <= hi + 0.1);
        assert_true(y->cost_usd[data->n_models] > 0);
    }
    weir_session_free(b);
    weir_router_close(after);
    CHECK_OK(weir_store_set_pool(store_path, &pool, true, e));
    CHECK_OK(weir_router_open(&after, store_path, e));
    CHECK_OK(weir_session_new(&b, after, e));
    const weir_decision *d;
    weir_policy_options o = weir_policy_defaults();
    for (size_t i = 0; i < 20; i++) {
        CHECK_OK(weir_decide(b, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, e));
        assert_true(d->model == 0 || d->model == data->n_models);
    }
    weir_session_free(a);
    weir_session_free(b);
    weir_router_close(before);
    weir_router_close(after);
    weir_dataset_free(data);
}

static void same_seed_same_store(void **state) {
    (void)state;
    weir_dataset *data = simulated(300, 13, NULL);
    weir_router *one = trained_on(data, NULL);
    weir_router *two = trained_on(data, NULL);
    weir_session *a = NULL, *b = NULL;
    CHECK_OK(weir_session_new(&a, one, e));
    CHECK_OK(weir_session_new(&b, two, e));
    assert_same_estimates(a, b, data);
    weir_session_free(a);
    weir_session_free(b);
    weir_router_close(one);
    weir_router_close(two);
    weir_dataset_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decision_is_argmin_of_its_estimates),
        cmocka_unit_test(excess_risk_falls_with_sample_size),
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(text_that_says_nothing_costs_nothing),
        cmocka_unit_test(strange_prompts_have_decisions),
        cmocka_unit_test(foreign_text_falls_back_to_minimax),
        cmocka_unit_test(degenerate_sets_train),
        cmocka_unit_test(replaying_the_log_gives_the_learners_state),
        cmocka_unit_test(a_store_can_begin_with_nothing),
        cmocka_unit_test(prices_act_at_once),
        cmocka_unit_test(same_seed_same_store),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}

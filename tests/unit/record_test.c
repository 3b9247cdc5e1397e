/* Log records: what goes in comes out; what is learned from them live is what a replay learns, to the bit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <jansson.h>
#include <math.h>

#include "src/router/learner.h"
#include "src/router/session.h"
#include "weir/weir.h"

#define MODELS 6

static weir_dataset *data;

/* A trained store, made once and copied: training is what takes the time. */
static char trained[300];

static int setup(void **state) {
    if (make_folder(state)) return -1;
    size_t size;
    uint8_t *bytes = slurp(trained, &size);
    spill(path, bytes, size);
    free(bytes);
    return 0;
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, remove_folder)

static int train_once(void **state) {
    (void)state;
    weir_error err = {0};
    weir_simulate_options simulate = {.n_prompts = 500, .n_models = MODELS, .seed = 3};
    weir_train_options options = {.seed = 1};
    snprintf(trained, sizeof trained, "/tmp/weir-record-test-%ld.mdb", (long)getpid());
    unlink(trained);
    return weir_simulate(&data, NULL, &simulate, &err) != WEIR_OK ||
           weir_train(trained, data, &options, NULL, &err) != WEIR_OK;
}

static int forget(void **state) {
    (void)state;
    char lock[320];
    snprintf(lock, sizeof lock, "%s-lock", trained);
    unlink(trained);
    unlink(lock);
    weir_dataset_free(data);
    return 0;
}

/* ---- helpers ---- */

static weir_learner *open_learner(size_t group, bool lazy) {
    weir_error err = {0};
    weir_learner *l = NULL;
    weir_learn_options o = {.group_commit = group, .lazy = lazy};
    OK(weir_learner_open(&l, path, &o, &err));
    return l;
}

static void close_learner(weir_learner *l) {
    weir_error err = {0};
    OK(weir_learner_close(l, &err));
}

typedef struct asking {
    weir_router *router;
    weir_session *session;
} asking;

static asking open_asking(void) {
    weir_error err = {0};
    asking a = {0};
    OK(weir_router_open(&a.router, path, &err));
    OK(weir_session_new(&a.session, a.router, &err));
    return a;
}

static void close_asking(asking *a) {
    weir_session_free(a->session);
    weir_router_close(a->router);
}

static weirp_served usual(size_t model, size_t i) {
    weirp_served s = {
        .model = model,
        .api = "chat",
        .request_id = "req-0123456789abcdef",
        .status = 200,
        .usage = {.input_tokens = 40 + (int64_t)i % 50, .output_tokens = 90 + (int64_t)(i * 37 % 300), .known = true},
        .predicted_cost_usd = 1.5e-4,
        .cost_usd = 1e-4 * (double)(1 + i % 7),
        .latency_ms = 300.5 + (double)(i % 100),
        .first_token_ms = NAN,
        .price_version = 0xfedcba9876543210u,
        .features_version = 1,
        .n_attempts = 1};
    s.attempt[0] = (weirp_attempt){.model = model == (size_t)-1 ? 0 : (uint32_t)model,
                                   .deployment = "eu-1",
                                   .result = "ok",
                                   .status = 200,
                                   .ms = 290.25f,
                                   .cost_usd = s.cost_usd};
    return s;
}

/* Decides on prompt i and records that its choice answered. */
static void serve(asking *a, size_t i, weirp_writer *w, char id[WEIRP_ID_SIZE]) {
    weir_error err = {0};
    weir_policy_options o = weir_policy_defaults();
    const weir_decision *d;
    o.value_usd = 0.01;
    o.explore_floor = i % 3 ? 0 : 0.05;
    o.draw = i;
    size_t at = i % data->n_prompts;
    OK(weir_decide(a->session, data->prompts[at], data->prompt_lens[at], &o, &d, NULL, &err));
    weirp_served s = usual(d->model, i);
    weirp_id_new(id, i, 7);
    w->size = 0;
    weirp_record_decision(w, a->session, id);
    weirp_record_served(w, &s);
    assert_false(w->failed);
}

static void append_served(weir_learner *l, asking *a, size_t i, char id[WEIRP_ID_SIZE]) {
    weir_error err = {0};
    weirp_writer w = {0};
    serve(a, i, &w, id);
    OK(weirp_learner_append(l, w.data, w.size, &err));
    weirp_writer_free(&w);
}

/* Every section of both, but for the checkpoints, which differ by nature. */
static void assert_same_state(const weir_learner *live, const weirp_state *loaded) {
    weir_error err = {0};
    weirp_sections a, b;
    weirp_state own = *live->state;
    own.checkpoint_log = loaded->checkpoint_log;
    OK(weirp_state_save(&own, &a, &err));
    OK(weirp_state_save(loaded, &b, &err));
    assert_int_equal(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        if (a.section[i].bytes.size != b.section[i].bytes.size ||
            memcmp(a.section[i].bytes.data, b.section[i].bytes.data, a.section[i].bytes.size) != 0)
            fail_msg("section %s differs", a.section[i].name);
    }
    weirp_sections_free(&a);
    weirp_sections_free(&b);
}

static void assert_replay_is_live(weir_learner *l) {
    weir_error err = {0};
    weirp_state *loaded = NULL;
    OK(weir_learner_commit(l, &err));
    OK(weirp_state_open(&loaded, path, &err));
    assert_same_state(l, loaded);
    assert_int_equal(loaded->n_logged, l->state->n_logged);
    assert_int_equal(loaded->store_version, l->state->store_version);
    weirp_state_free(loaded);
}

/* ---- ids ---- */

static void ids(void **state) {
    (void)state;
    char a[WEIRP_ID_SIZE], b[WEIRP_ID_SIZE];
    uint64_t before = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        weirp_id_new(a, i, 1);
        weirp_id_new(b, i, 2);
        assert_int_equal(strlen(a), 29);
        assert_true(strncmp(a, "weir-", 5) == 0);
        assert_string_not_equal(a, b);
        uint64_t n = weirp_id_number(a);
        assert_true(n > before);
        before = n;
    }
    assert_int_equal(weirp_id_number("weir-00000000000000ff00000000"), 255);
    const char *others[] = {"",
                            "weir-",
                            "weir-00000000000000ff0000000",
                            "weir-00000000000000ff000000000",
                            "weir-00000000000000FF00000000",
                            "wxir-00000000000000ff00000000",
                            "weir-00000000000000fg00000000",
                            "gsm8k.17"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_int_equal(weirp_id_number(others[i]), 0);
    assert_int_equal(weirp_id_number(NULL), 0);
}

/* ---- bytes ---- */

static void a_served_record_comes_back(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weirp_writer w = {0};
    char id[WEIRP_ID_SIZE];
    const weir_estimates *e;
    weir_policy_options o = weir_policy_defaults();
    const weir_decision *d;
    o.explore_floor = 0.02;
    OK(weir_decide(a.session, "What is 2+2?", 12, &o, &d, &e, &err));
    weirp_id_new(id, 1, 1);
    weirp_served s = usual(d->model, 5);
    s.streamed = s.client_gone = s.pinned = s.usage_estimated = true;
    s.usage = (weirp_usage){1000, 300, 20, 1, (int64_t)1 << 40, 60, 7, true, true};
    s.n_attempts = WEIRP_MAX_ATTEMPTS;
    for (size_t i = 0; i < s.n_attempts; i++) {
        s.attempt[i] = (weirp_attempt){(uint32_t)(i % MODELS), "", "", (int32_t)(400 + i), (float)i, 2.5f, NAN};
        memset(s.attempt[i].deployment, 'd', sizeof s.attempt[i].deployment - 1);
        memset(s.attempt[i].result, 'r', sizeof s.attempt[i].result - 1);
    }
    s.prompt = "What is\0 2+2?";
    s.prompt_len = 13;
    s.key = "build server";
    s.user = "u-17";
    s.budget = "daily";
    s.budget_action = WEIRP_BUDGET_CHEAPER;
    weirp_record_decision(&w, a.session, id);
    weirp_record_served(&w, &s);
    weirp_log_record r = {0};
    OK(weirp_log_decode(&r, w.data, w.size, &err));
    assert_int_equal(weirp_log_kind(w.data, w.size), WEIRP_RECORD_SERVED);
    assert_int_equal(r.kind, WEIRP_RECORD_SERVED);
    assert_string_equal(r.id, id);
    assert_true(llabs(r.time_ms - weirp_unix_ms()) < 60000);
    assert_true(r.n_models == MODELS && r.model == d->model && r.rule == d->rule && r.reason == d->reason);
    assert_int_equal(r.features_version, weir_router_version(a.router));
    for (size_t m = 0; m < MODELS; m++) {
        assert_int_equal(r.eligible[m], e->eligible[m]);
        assert_true((float)r.propensity[m] == (float)d->propensity[m]);
        assert_true((float)r.quality[m] == (float)e->quality[m]);
        assert_true((float)r.cost[m] == (float)e->cost_usd[m]);
    }
    const weirp_features *x = &a.session->workspace.features;
    assert_int_equal(r.dim, x->dim);
    assert_memory_equal(r.dense, x->dense, x->dim * sizeof(float));
    assert_true(r.approximate_tokens == x->approximate_tokens);
    assert_true(r.served.model == s.model && r.served.status == 200 && r.served.streamed && r.served.client_gone &&
                r.served.pinned && r.served.usage_estimated);
    assert_memory_equal(&r.served.usage, &s.usage, 7 * sizeof(int64_t));
    assert_true(r.served.usage.known && r.served.usage.estimated);
    assert_true(r.served.cost_usd == s.cost_usd && (float)r.served.predicted_cost_usd == (float)s.predicted_cost_usd);
    assert_true(r.served.latency_ms == s.latency_ms && isnan(r.served.first_token_ms));
    assert_true(r.served.price_version == s.price_version);
    assert_string_equal(r.served.api, "chat");
    assert_string_equal(r.served.request_id, s.request_id);
    assert_int_equal(r.served.n_attempts, WEIRP_MAX_ATTEMPTS);
    for (size_t i = 0; i < s.n_attempts; i++) {
        assert_int_equal(r.served.attempt[i].model, s.attempt[i].model);
        assert_string_equal(r.served.attempt[i].deployment, s.attempt[i].deployment);
        assert_string_equal(r.served.attempt[i].result, s.attempt[i].result);
        assert_true(r.served.attempt[i].status == s.attempt[i].status && isnan(r.served.attempt[i].cost_usd));
        assert_true(r.served.attempt[i].started_ms == (float)i && r.served.attempt[i].ms == 2.5f);
    }
    assert_string_equal(r.served.key, "build server");
    assert_string_equal(r.served.user, "u-17");
    assert_string_equal(r.served.budget, "daily");
    assert_true(!r.served.team && !r.served.tag && r.served.budget_action == WEIRP_BUDGET_CHEAPER);
    assert_int_equal(r.served.prompt_len, 13);
    assert_memory_equal(r.served.prompt, s.prompt, 13);
    /* cut off anywhere, or changed anywhere: an error or other numbers, never a crash */
    for (size_t n = 0; n < w.size; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, w.data, n);
        assert_int_equal(weirp_log_decode(&r, cut, n, NULL), WEIR_CORRUPT);
        free(cut);
    }
    for (size_t i = 0; i < 20000; i++) {
        uint64_t chance = weirp_random_u64(9, 0, i);
        uint8_t *at = &w.data[(chance >> 8) % w.size], before = *at;
        *at ^= (uint8_t)(1 + chance % 255);
        weir_status st = weirp_log_decode(&r, w.data, w.size, NULL);
        assert_true(st == WEIR_OK || st == WEIR_CORRUPT || st == WEIR_NEWER);
        *at = before;
    }
    weirp_log_record_free(&r);
    weirp_writer_free(&w);
    close_asking(&a);
}

static void records_are_small(void **state) {
    (void)state;
    asking a = open_asking();
    weirp_writer w = {0};
    char id[WEIRP_ID_SIZE];
    serve(&a, 1, &w, id);
    size_t own = w.size;
    print_message("a served record of %d models and 83 dimensions: %zu bytes\n", MODELS, own);
    assert_true(own + 5 * 8 <= 600); /* with 11 models */
    weirp_writer_free(&w);
    close_asking(&a);
}

static void a_pinned_record_comes_back(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weirp_writer w = {0};
    weirp_log_record r = {0};
    weirp_served s = usual((size_t)-1, 0);
    s.n_attempts = 0;
    s.status = 502;
    weirp_record_pinned(&w, a.router, 2, "of another make");
    weirp_record_served(&w, &s);
    OK(weirp_log_decode(&r, w.data, w.size, &err));
    assert_true(r.model == 2 && r.rule == WEIR_RULE_FIXED && r.dim == 0 && r.served.model == (size_t)-1);
    assert_true(r.propensity[2] == 1 && r.propensity[1] == 0);
    assert_string_equal(r.id, "of another make");
    weir_learner *l = open_learner(10, false);
    OK(weirp_learner_append(l, w.data, w.size, &err));
    assert_replay_is_live(l);
    close_learner(l);
    weirp_log_record_free(&r);
    weirp_writer_free(&w);
    close_asking(&a);
}

/* ---- version 2, as it was written before there were accounts ---- */

static void version_2_is_read(void **state) {
    (void)state;
    asking a = open_asking();
    weirp_writer w = {0}, old = {0};
    weirp_log_record r = {0};
    weirp_served s = usual(1, 3);
    enum { ACCOUNT = 6, COST = 8 };
    const float cost = 0.25f;
    s.n_attempts = 1;
    s.attempt[0] = (weirp_attempt){1, "d", "ok", 200, 1, 2, 0.125};
    weirp_record_pinned(&w, a.router, 2, "of another make");
    weirp_record_served(&w, &s);
    weirp_put_u32(&old, 2);
    weirp_put(&old, w.data + 4, w.size - 4 - ACCOUNT - COST);
    weirp_put(&old, &cost, sizeof cost);
    weir_error err = {0};
    OK(weirp_log_decode(&r, old.data, old.size, &err));
    assert_int_equal(weirp_log_kind(old.data, old.size), WEIRP_RECORD_SERVED);
    assert_true(r.served.attempt[0].cost_usd == 0.25 && r.served.cost_usd == s.cost_usd && r.served.status == s.status);
    assert_true(!r.served.key && !r.served.budget && r.served.budget_action == WEIRP_BUDGET_NONE);
    OK(weirp_log_decode(&r, w.data, w.size, &err));
    assert_true(r.served.attempt[0].cost_usd == 0.125);
    weirp_log_record_free(&r);
    weirp_writer_free(&old);
    weirp_writer_free(&w);
    close_asking(&a);
}

/* ---- version 1, as it was written before there were kinds ---- */

static void encode_1(weirp_writer *w, const weirp_workspace *from, const char *id, size_t model,
                     const weir_outcome *outcome) {
    size_t n_models = from->estimates.n_models;
    weirp_put_u32(w, 1);
    weirp_put_u64(w, 1700000000000);
    weirp_put_text(w, id);
    weirp_put_u32(w, (uint32_t)n_models);
    weirp_put_u32(w, (uint32_t)from->decision.model);
    weirp_put_u32(w, (uint32_t)from->decision.rule);
    weirp_put_u32(w, (uint32_t)from->decision.reason);
    weirp_put_f64s(w, from->decision.propensity, n_models);
    weirp_put_f64s(w, from->estimates.quality, n_models);
    weirp_put_f64s(w, from->estimates.cost_usd, n_models);
    weirp_put_u32(w, (uint32_t)from->features.dim);
    weirp_put_f32s(w, from->features.dense, from->features.dim);
    weirp_put_f64(w, from->features.approximate_tokens);
    weirp_put_u32(w, 1);
    weirp_put_u32(w, (uint32_t)model);
    weirp_put(w, outcome, sizeof *outcome);
}

static weir_outcome outcome_of(size_t i, size_t m) {
    size_t at = i * data->n_models + m;
    return (weir_outcome){data->quality[at], data->cost_usd[at], data->input_tokens[at], data->output_tokens[at],
                          data->latency_ms[at]};
}

static void version_1_is_replayed_to_the_bit(void **state) {
    (void)state;
    enum { N = 60 };
    weir_error err = {0};
    weir_learner *l = open_learner(1000, false);
    weirp_writer w[N] = {0};
    weirp_change changes[N];
    weir_policy_options o = weir_policy_defaults();
    for (size_t i = 0; i < N; i++) {
        const weir_decision *d;
        OK(weir_learner_decide(l, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, &err));
        size_t model = d->model;
        weir_outcome outcome = outcome_of(i, model);
        encode_1(&w[i], &l->workspace, data->ids[i], model, &outcome);
        changes[i] = append(w[i].data, w[i].size);
        OK(weir_learner_observe(l, data->ids[i], 1, &model, &outcome, &err));
    }
    /* the same feedbacks, logged as they used to be, and never committed as they are now */
    OK(weirp_store_commit(l->store, changes, N, &err));
    weirp_state *loaded = NULL;
    OK(weirp_state_open(&loaded, path, &err));
    assert_same_state(l, loaded);
    weirp_state_free(loaded);
    weirp_log_record r = {0};
    OK(weirp_log_decode(&r, w[3].data, w[3].size, &err));
    assert_string_equal(r.id, data->ids[3]);
    assert_true(r.kind == WEIRP_RECORD_LEARNED && r.time_ms == 1700000000000 && r.n_outcomes == 1);
    for (size_t n = 0; n < w[3].size; n++) assert_int_equal(weirp_log_decode(&r, w[3].data, n, NULL), WEIR_CORRUPT);
    weirp_log_record_free(&r);
    for (size_t i = 0; i < N; i++) weirp_writer_free(&w[i]);
    l->pending.n = 0; /* not to be logged twice */
    l->broken = true;
    close_learner(l);
    OK(weir_store_check(path, NULL, &err));
}

/* ---- learning ---- */

static void served_requests_teach_costs_alone(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(1000, false);
    weirp_sections before, after;
    char id[WEIRP_ID_SIZE];
    OK(weirp_state_save(l->state, &before, &err));
    double level = l->state->costs.output_tokens.level[0], latency = l->state->costs.latency.level[0];
    bool moved = false, timed = false;
    for (size_t i = 0; i < 300; i++) append_served(l, &a, i, id);
    for (size_t m = 0; m < MODELS; m++) {
        moved |= l->state->costs.output_tokens.level[m] != (m ? 0 : level);
        timed |= l->state->costs.latency.level[m] != (m ? 0 : latency);
    }
    assert_true(moved && timed);
    OK(weirp_state_save(l->state, &after, &err));
    for (size_t i = 0; i < before.n; i++)
        if (strcmp(before.section[i].name, "costs") != 0) {
            assert_int_equal(before.section[i].bytes.size, after.section[i].bytes.size);
            assert_memory_equal(before.section[i].bytes.data, after.section[i].bytes.data, after.section[i].bytes.size);
        }
    weirp_sections_free(&before);
    weirp_sections_free(&after);
    assert_replay_is_live(l);
    close_learner(l);
    close_asking(&a);
}

/* What doesn't tell tokens, or not of the model that is said to have answered, teaches nothing. */
static void what_is_not_learned_from(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(1000, false);
    weirp_sections before, after;
    char id[WEIRP_ID_SIZE];
    OK(weirp_state_save(l->state, &before, &err));
    for (int k = 0; k < 7; k++) {
        weirp_writer w = {0};
        const weir_decision *d;
        weir_policy_options o = weir_policy_defaults();
        OK(weir_decide(a.session, data->prompts[0], data->prompt_lens[0], &o, &d, NULL, &err));
        weirp_served s = usual(k == 0 ? (size_t)-1 : d->model, 3);
        if (k == 1) s.usage.known = false;
        if (k == 2) s.usage.estimated = true;
        if (k == 3) s.usage.estimated = s.usage_estimated = true;
        if (k == 4) s.status = 500;
        if (k == 5) s.client_gone = true;
        weirp_id_new(id, 1, (uint32_t)k);
        if (k == 6)
            weirp_record_pinned(&w, a.router, 1, id); /* no features */
        else
            weirp_record_decision(&w, a.session, id);
        weirp_record_served(&w, &s);
        OK(weirp_learner_append(l, w.data, w.size, &err));
        weirp_writer_free(&w);
    }
    OK(weirp_state_save(l->state, &after, &err));
    for (size_t i = 0; i < before.n; i++)
        assert_memory_equal(before.section[i].bytes.data, after.section[i].bytes.data, after.section[i].bytes.size);
    weirp_sections_free(&before);
    weirp_sections_free(&after);
    close_learner(l);
    close_asking(&a);
}

static weir_status feedback(weir_learner *l, const char *id, double quality, const char *source, const char *model) {
    weir_error err = {0};
    weirp_feedback f = {id, quality, source, model};
    weir_status st = weirp_learner_feedback(l, &f, &err);
    assert_int_equal(err.status, st);
    return st;
}

static void feedback_finds_its_decision(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(1000, false);
    enum { N = 50 };
    static char id[N][WEIRP_ID_SIZE];
    for (size_t i = 0; i < N; i++) append_served(l, &a, i, id[i]);
    uint64_t before = l->state->n_feedbacks;
    assert_int_equal(feedback(l, id[7], 1, "user", NULL), WEIR_OK); /* still waiting */
    OK(weir_learner_commit(l, &err));
    for (size_t i = 10; i < N; i++) assert_int_equal(feedback(l, id[i], 0.25, "user", NULL), WEIR_OK);
    assert_int_equal(l->state->n_feedbacks, before + 1 + N - 10);
    assert_int_equal(feedback(l, id[7], 0, "user", NULL), WEIR_INVALID);
    assert_int_equal(feedback(l, id[7], 0, "judge", NULL), WEIR_OK);
    assert_int_equal(feedback(l, id[7], 0, "second judge", l->state->pool->models[1].name), WEIR_OK);
    assert_int_equal(feedback(l, id[8], 1, "user", "nobody"), WEIR_INVALID);
    assert_int_equal(feedback(l, id[8], 1.5, "user", NULL), WEIR_INVALID);
    assert_int_equal(feedback(l, id[8], NAN, "user", NULL), WEIR_INVALID);
    assert_int_equal(feedback(l, id[8], 1, "", NULL), WEIR_INVALID);
    char other[WEIRP_ID_SIZE];
    weirp_id_new(other, 3, 3);
    assert_int_equal(feedback(l, other, 1, "user", NULL), WEIR_NOTFOUND);
    assert_int_equal(feedback(l, "gsm8k.17", 1, "user", NULL), WEIR_NOTFOUND);
    /* the same number, another decision's chance */
    memcpy(other, id[8], sizeof other);
    other[28] = other[28] == '0' ? '1' : '0';
    assert_int_equal(feedback(l, other, 1, "user", NULL), WEIR_NOTFOUND);
    assert_replay_is_live(l);
    close_learner(l);
    weirp_state *loaded = NULL;
    OK(weirp_state_open(&loaded, path, &err));
    assert_int_equal(loaded->checkpoint_log, loaded->n_logged); /* nothing to replay */
    weirp_state_free(loaded);
    OK(weir_store_check(path, NULL, &err));
    close_asking(&a);
}

/* A mixture of everything, group commits of odd sizes, checkpoints light and full in between. */
static void replay_is_live_whatever_the_mixture(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(37, false);
    enum { N = 4000 };
    char(*id)[WEIRP_ID_SIZE] = calloc(N, sizeof *id);
    size_t n_light = 0, n_full = 0;
    for (size_t i = 0; i < N; i++) {
        append_served(l, &a, i, id[i]);
        if (i >= 1500 && i % 11 == 0)
            assert_int_equal(feedback(l, id[i - i % 1400], (double)(i % 5) / 4, "user", NULL) != WEIR_NOTFOUND, true);
        if (i >= 2500 && i % 2 == 0) {
            const weir_decision *d;
            weir_policy_options o = weir_policy_defaults();
            size_t at = i % data->n_prompts;
            OK(weir_learner_decide(l, data->prompts[at], data->prompt_lens[at], &o, &d, NULL, &err));
            size_t model = d->model;
            weir_outcome outcome = outcome_of(at, model);
            OK(weir_learner_observe(l, data->ids[at], 1, &model, &outcome, &err));
        }
        n_light += l->state->costs_log > l->state->checkpoint_log;
        n_full += l->state->n_taught > 0;
        if (i % 500 == 499) assert_replay_is_live(l);
    }
    assert_true(n_light > 0 && n_full > 0);
    close_learner(l);
    weirp_state *loaded = NULL;
    OK(weirp_state_open(&loaded, path, &err));
    assert_true(loaded->checkpoint_log == loaded->n_logged && loaded->costs_log == loaded->n_logged);
    weirp_state_free(loaded);
    OK(weir_store_check(path, NULL, &err));
    free(id);
    close_asking(&a);
}

static void light_checkpoints_are_light(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(100, false);
    char id[WEIRP_ID_SIZE];
    for (size_t i = 0; i < 2100; i++) append_served(l, &a, i, id);
    weirp_snapshot *s;
    const uint8_t *levels;
    size_t size;
    OK(weirp_snapshot_begin(&s, l->store, &err));
    OK(weirp_snapshot_get(s, WEIRP_LEVELS_SECTION, &levels, &size, &err));
    assert_true(size < 4096);
    weirp_snapshot_end(s);
    assert_true(l->state->checkpoint_log >= 1000 && l->state->n_logged - l->state->checkpoint_log < 1100);
    assert_replay_is_live(l);
    close_learner(l);
    close_asking(&a);
}

static void the_same_feedback_twice(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(100000, false);
    char first[WEIRP_ID_SIZE], id[WEIRP_ID_SIZE];
    append_served(l, &a, 0, first);
    assert_int_equal(feedback(l, first, 1, "user", NULL), WEIR_OK);
    char source[32];
    append_served(l, &a, 1, id);
    for (uint32_t i = 0; i + 1 < 200; i++) {
        snprintf(source, sizeof source, "s%u", i);
        assert_int_equal(feedback(l, id, 1, source, NULL), WEIR_OK);
        assert_int_equal(feedback(l, id, 1, source, NULL), WEIR_INVALID);
        assert_int_equal(feedback(l, first, 1, "user", NULL), WEIR_INVALID);
        if (i == 100) OK(weir_learner_commit(l, &err));
    }
    close_learner(l);
    OK(weir_store_check(path, NULL, &err));
    close_asking(&a);
}

/* What was said before a restart counts; sources are told apart by the 63 bytes that are kept of them. */
static void the_same_feedback_after_a_restart(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(100000, false);
    enum { N = 300 };
    static char id[N][WEIRP_ID_SIZE];
    char longer[80], other[80];
    memset(longer, 'l', sizeof longer);
    memset(other, 'l', sizeof other);
    longer[70] = other[75] = 0;
    for (size_t i = 0; i < N; i++) append_served(l, &a, i, id[i]);
    for (size_t i = 0; i < N; i++) assert_int_equal(feedback(l, id[i], 1, i ? "user" : longer, NULL), WEIR_OK);
    close_learner(l);
    OK(weir_store_check(path, NULL, &err));
    l = open_learner(100000, false);
    uint64_t before = l->state->n_feedbacks;
    for (size_t i = 0; i < N; i++) assert_int_equal(feedback(l, id[i], 0, i ? "user" : other, NULL), WEIR_INVALID);
    assert_int_equal(l->state->n_feedbacks, before);
    for (size_t i = 0; i < N; i++) assert_int_equal(feedback(l, id[i], 0, "judge", NULL), WEIR_OK);
    assert_int_equal(l->state->n_feedbacks, before + N);
    assert_replay_is_live(l);
    close_learner(l);
    OK(weir_store_compact(path, NULL, &err));
    OK(weir_store_check(path, NULL, &err));
    l = open_learner(100000, false);
    assert_int_equal(feedback(l, id[7], 0, "judge", NULL), WEIR_INVALID);
    assert_int_equal(feedback(l, id[7], 0, "user", NULL), WEIR_INVALID);
    close_learner(l);
    uint64_t gone;
    OK(weir_store_trim(path, 10, -1, &gone, &err));
    OK(weir_store_check(path, NULL, &err));
    close_asking(&a);
}

/* A decision takes feedback from many, and not from as many as like. */
static void feedback_of_too_many(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(100000, false);
    char id[WEIRP_ID_SIZE], source[32];
    append_served(l, &a, 0, id);
    for (unsigned i = 0; i < WEIRP_FIND_MOST + 10; i++) {
        snprintf(source, sizeof source, "s%u", i);
        weir_status st = feedback(l, id, 1, source, NULL);
        assert_int_equal(st, i < WEIRP_FIND_MOST - 1 ? WEIR_OK : WEIR_INVALID);
        if (i % 100 == 99) OK(weir_learner_commit(l, &err));
    }
    close_learner(l);
    OK(weir_store_check(path, NULL, &err));
    close_asking(&a);
}

/* ---- the pool grows; training replaces it ---- */

static void indices_survive_growth(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking(); /* knows nothing of what joins */
    weir_learner *l = open_learner(50, false);
    char id[WEIRP_ID_SIZE], early[WEIRP_ID_SIZE];
    append_served(l, &a, 0, early);
    size_t index;
    OK(weir_learner_model_index(l, "newcomer", &index, &err));
    assert_int_equal(index, MODELS);
    for (size_t i = 1; i < 120; i++) append_served(l, &a, i, id);
    assert_int_equal(feedback(l, early, 1, "user", "newcomer"), WEIR_OK);
    assert_int_equal(feedback(l, id, 0, "user", NULL), WEIR_OK);
    assert_replay_is_live(l);
    weir_router *router = NULL;
    OK(weirp_learner_router(l, &router, &err));
    assert_int_equal(weir_router_n_models(router), MODELS + 1);
    weir_router_close(router);
    close_learner(l);
    close_asking(&a);
}

static size_t export_lines(char ***lines) {
    weir_error err = {0};
    FILE *f = tmpfile();
    char *line = NULL;
    size_t n = 0, capacity = 0;
    assert_non_null(f);
    OK(weir_store_export_log(path, f, &err));
    rewind(f);
    *lines = NULL;
    while (getline(&line, &capacity, f) > 0) {
        *lines = realloc(*lines, (n + 1) * sizeof **lines);
        (*lines)[n++] = strdup(line);
    }
    free(line);
    fclose(f);
    return n;
}

static void after_a_training_old_decisions_keep_their_names(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(50, false);
    char id[WEIRP_ID_SIZE], name[64];
    append_served(l, &a, 0, id);
    snprintf(name, sizeof name, "%s", l->state->pool->models[l->record.served.model].name);
    close_learner(l);
    /* the same models in another order */
    weir_dataset turned = *data;
    char *names[MODELS];
    for (size_t m = 0; m < MODELS; m++) names[m] = data->model_names[(m + 1) % MODELS];
    turned.model_names = names;
    weir_train_options options = {.seed = 2, .estimator = "constant"};
    OK(weir_train(path, &turned, &options, NULL, &err));
    l = open_learner(50, false);
    weirp_sections before, after;
    OK(weirp_state_save(l->state, &before, &err));
    assert_int_equal(feedback(l, id, 1, "user", name), WEIR_OK); /* kept, and not learned from */
    OK(weirp_state_save(l->state, &after, &err));
    for (size_t i = 0; i < before.n; i++)
        assert_memory_equal(before.section[i].bytes.data, after.section[i].bytes.data, after.section[i].bytes.size);
    weirp_sections_free(&before);
    weirp_sections_free(&after);
    assert_replay_is_live(l);
    close_learner(l);
    char **lines;
    size_t n = export_lines(&lines);
    assert_int_equal(n, 2);
    json_t *served = json_loads(lines[0], 0, NULL), *label = json_loads(lines[1], 0, NULL);
    assert_string_equal(json_string_value(json_object_get(served, "answered")), name);
    assert_true(json_is_false(json_object_get(label, "learned")));
    json_decref(served);
    json_decref(label);
    for (size_t i = 0; i < n; i++) free(lines[i]);
    free(lines);
    close_asking(&a);
}

static void export_names_every_field(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(50, false);
    char id[WEIRP_ID_SIZE];
    weirp_writer w = {0};
    const weir_decision *d;
    weir_policy_options o = weir_policy_defaults();
    OK(weir_decide(a.session, "hello", 5, &o, &d, NULL, &err));
    weirp_served s = usual((d->model + 1) % MODELS, 1);
    s.request_id = "not \xff UTF-8";
    s.prompt = "hello";
    s.prompt_len = 5;
    weirp_id_new(id, 1, 1);
    weirp_record_decision(&w, a.session, id);
    weirp_record_served(&w, &s);
    OK(weirp_learner_append(l, w.data, w.size, &err));
    assert_int_equal(feedback(l, id, 0.5, "judge", NULL), WEIR_OK);
    close_learner(l);
    char **lines;
    size_t n = export_lines(&lines);
    assert_int_equal(n, 2);
    json_t *line = json_loads(lines[0], 0, NULL);
    assert_non_null(line);
    static const char *const keys[] = {"kind",
                                       "number",
                                       "time_ms",
                                       "id",
                                       "api",
                                       "request_id",
                                       "models",
                                       "chosen",
                                       "answered",
                                       "rule",
                                       "reason",
                                       "status",
                                       "cost",
                                       "streamed",
                                       "client_gone",
                                       "pinned",
                                       "fallback",
                                       "attempts",
                                       "usage",
                                       "predicted_cost",
                                       "prompt",
                                       "price_version",
                                       "features_version",
                                       "latency_ms",
                                       "first_token_ms",
                                       "feedback"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(line, keys[i])) fail_msg("no key %s", keys[i]);
    assert_string_equal(json_string_value(json_object_get(line, "id")), id);
    assert_string_equal(json_string_value(json_object_get(line, "request_id")), "not ? UTF-8");
    assert_true(json_is_true(json_object_get(line, "fallback")));
    json_t *label = json_array_get(json_object_get(line, "feedback"), 0);
    assert_true(json_real_value(json_object_get(label, "quality")) == 0.5);
    assert_string_equal(json_string_value(json_object_get(label, "source")), "judge");
    json_decref(line);
    for (size_t i = 0; i < n; i++) free(lines[i]);
    free(lines);
    weirp_writer_free(&w);
    close_asking(&a);
}

/* ---- routers from a learner ---- */

static void assert_same_estimates(weir_router *x, weir_router *y) {
    weir_error err = {0};
    weir_session *a = NULL, *b = NULL;
    OK(weir_session_new(&a, x, &err));
    OK(weir_session_new(&b, y, &err));
    for (size_t i = 0; i < 60; i++) {
        const weir_estimates *p, *q;
        OK(weir_estimate(a, data->prompts[i], data->prompt_lens[i], &p, &err));
        OK(weir_estimate(b, data->prompts[i], data->prompt_lens[i], &q, &err));
        assert_memory_equal(p->quality, q->quality, MODELS * sizeof(double));
        assert_memory_equal(p->quality_sd, q->quality_sd, MODELS * sizeof(double));
        assert_memory_equal(p->cost_usd, q->cost_usd, MODELS * sizeof(double));
        assert_memory_equal(p->latency_ms, q->latency_ms, MODELS * sizeof(double));
    }
    weir_session_free(a);
    weir_session_free(b);
}

static void a_learners_router_is_the_stores(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(50, false);
    char id[WEIRP_ID_SIZE];
    weir_router *then = NULL, *now = NULL, *stored = NULL, *same = NULL;
    OK(weirp_learner_router(l, &same, &err));
    assert_same_estimates(same, a.router);
    for (size_t i = 0; i < 100; i++) {
        append_served(l, &a, i, id);
        assert_int_equal(feedback(l, id, (double)(i % 2), "user", NULL), WEIR_OK);
        if (i == 50) OK(weirp_learner_router(l, &then, &err));
    }
    OK(weirp_learner_router(l, &now, &err));
    assert_same_estimates(same, a.router); /* learning went past what is shared */
    close_learner(l);
    OK(weir_router_open(&stored, path, &err));
    assert_same_estimates(now, stored);
    weir_router *kept = weirp_router_keep(now);
    weir_router_close(now);
    assert_same_estimates(kept, stored);
    weir_router_close(kept);
    weir_router_close(then);
    weir_router_close(stored);
    weir_router_close(same);
    close_asking(&a);
}

static void repricing(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_router *router = NULL;
    OK(weir_router_open(&router, path, &err));
    weir_model model = {(char *)(uintptr_t)weir_router_model(router, 2), 1000, 2000, 0, INFINITY, INFINITY};
    weir_pool pool = {1, &model};
    weirp_router_reprice(router, &pool);
    weir_session *s = NULL;
    const weir_estimates *e, *f;
    OK(weir_session_new(&s, router, &err));
    OK(weir_estimate(s, "hello", 5, &e, &err));
    OK(weir_estimate(a.session, "hello", 5, &f, &err));
    assert_true(e->cost_usd[2] > 10 * f->cost_usd[2]);
    assert_true(e->cost_usd[1] == f->cost_usd[1]);
    weir_session_free(s);
    weir_router_close(router);
    close_asking(&a);
}

static void lazy_learners(void **state) {
    (void)state;
    weir_error err = {0}, busy = {0};
    weir_learner *l = open_learner(10, true), *second = NULL;
    assert_null(l->state);
    assert_int_equal(weir_learner_n_models(l), 0);
    assert_null(weir_learner_model(l, 0));
    assert_int_equal(weir_learner_open(&second, path, NULL, &busy), WEIR_BUSY);
    OK(weir_learner_commit(l, &err));
    close_learner(l);
    asking a = open_asking();
    l = open_learner(10, true);
    char id[WEIRP_ID_SIZE];
    append_served(l, &a, 0, id);
    assert_int_equal(weir_learner_n_models(l), MODELS);
    assert_replay_is_live(l);
    close_learner(l);
    l = open_learner(10, true);
    assert_int_equal(feedback(l, id, 1, "user", NULL), WEIR_OK);
    close_learner(l);
    l = open_learner(10, true);
    weir_router *router = NULL;
    OK(weirp_learner_router(l, &router, &err));
    assert_int_equal(weir_router_n_models(router), MODELS);
    weir_router_close(router);
    close_learner(l);
    close_asking(&a);
}

/* ---- trimming ---- */

static void trimming_keeps_what_is_to_be_replayed(void **state) {
    (void)state;
    weir_error err = {0};
    asking a = open_asking();
    weir_learner *l = open_learner(100, false);
    enum { N = 1500 };
    char(*id)[WEIRP_ID_SIZE] = calloc(N, sizeof *id);
    for (size_t i = 0; i < N; i++) append_served(l, &a, i, id[i]);
    uint64_t gone = 0;
    assert_int_equal(weir_store_trim(path, 10, -1, &gone, NULL), WEIR_BUSY);
    close_learner(l);
    OK(weir_store_trim(path, 100000, -1, &gone, &err));
    assert_int_equal(gone, 0);
    OK(weir_store_trim(path, 0, 1, &gone, &err)); /* everything is younger than a day */
    assert_int_equal(gone, 0);
    OK(weir_store_trim(path, 400, -1, &gone, &err));
    assert_true(gone > 900 && gone <= N - 400);
    OK(weir_store_check(path, NULL, &err));
    l = open_learner(100, false);
    assert_int_equal(feedback(l, id[0], 1, "user", NULL), WEIR_NOTFOUND);
    assert_int_equal(feedback(l, id[N - 400], 1, "user", NULL), WEIR_OK);
    for (size_t i = 0; i < 30; i++) append_served(l, &a, i, id[i]);
    assert_replay_is_live(l);
    close_learner(l);
    uint64_t more = 0;
    OK(weir_store_trim(path, 0, 0, &more, &err)); /* all but the last batch */
    OK(weir_store_check(path, NULL, &err));
    char **lines;
    size_t n = export_lines(&lines);
    assert_int_equal(n, N + 31 - gone - more);
    for (size_t i = 0; i < n; i++) free(lines[i]);
    free(lines);
    OK(weir_store_compact(path, NULL, &err));
    OK(weir_store_check(path, NULL, &err));
    free(id);
    close_asking(&a);
}

/* ---- kill -9 ---- */

static int serve_until_killed(void *user) {
    int to = *(int *)user;
    asking a = {0};
    weir_learner *l = NULL;
    weir_learn_options o = {.group_commit = 23};
    CHECK(weir_router_open(&a.router, path, NULL) == WEIR_OK);
    CHECK(weir_session_new(&a.session, a.router, NULL) == WEIR_OK);
    CHECK(weir_learner_open(&l, path, &o, NULL) == WEIR_OK);
    uint64_t before = l->state->n_logged;
    for (size_t i = 0;; i++) {
        weirp_writer w = {0};
        char id[WEIRP_ID_SIZE];
        serve(&a, i, &w, id);
        CHECK(weirp_learner_append(l, w.data, w.size, NULL) == WEIR_OK);
        weirp_writer_free(&w);
        weirp_feedback f = {id, 0.5, "user", NULL};
        if (i % 5 == 0) CHECK(weirp_learner_feedback(l, &f, NULL) == WEIR_OK);
        uint64_t durable = before + weir_learner_n_durable(l);
        CHECK(write(to, &durable, sizeof durable) == sizeof durable);
    }
}

static void killed_while_serving(void **state) {
    (void)state;
    weir_error err = {0};
    uint64_t acknowledged = 0, v;
    for (unsigned k = 0; k < 25; k++) {
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(ends[0]);
            _exit(serve_until_killed(&ends[1]));
        }
        close(ends[1]);
        for (uint64_t n = weirp_random_u64(4, 4, k) % 400; n-- > 0 && read(ends[0], &v, 8) == 8;) acknowledged = v;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &v, 8) == 8) acknowledged = v;
        close(ends[0]);
        char *json = NULL;
        OK(weir_store_check(path, &json, &err));
        json_t *o = json_loads(json, 0, NULL);
        assert_true((uint64_t)json_integer_value(json_object_get(o, "n_records")) >= acknowledged);
        json_decref(o);
        free(json);
    }
    assert_true(acknowledged > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(ids),
                                       TEST(a_served_record_comes_back),
                                       TEST(records_are_small),
                                       TEST(a_pinned_record_comes_back),
                                       TEST(version_2_is_read),
                                       TEST(version_1_is_replayed_to_the_bit),
                                       TEST(served_requests_teach_costs_alone),
                                       TEST(what_is_not_learned_from),
                                       TEST(feedback_finds_its_decision),
                                       TEST(replay_is_live_whatever_the_mixture),
                                       TEST(light_checkpoints_are_light),
                                       TEST(the_same_feedback_twice),
                                       TEST(the_same_feedback_after_a_restart),
                                       TEST(feedback_of_too_many),
                                       TEST(indices_survive_growth),
                                       TEST(after_a_training_old_decisions_keep_their_names),
                                       TEST(export_names_every_field),
                                       TEST(a_learners_router_is_the_stores),
                                       TEST(repricing),
                                       TEST(lazy_learners),
                                       TEST(trimming_keeps_what_is_to_be_replayed),
                                       TEST(killed_while_serving)};
    return cmocka_run_group_tests(tests, train_once, forget);
}

/* Threads that decide on one router while another learns and a third opens the store again and again.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "weir/weir.h"

enum { N_DECIDERS = 3, N_PROMPTS = 60, N_ROUNDS = 4, N_FEEDBACKS = 200, GROUP = 8 };

typedef struct scene {
    const weir_dataset *data;
    weir_router *router;  /* shared */
    double *expected;     /* (n_prompts, n_models) qualities, decided alone */
    size_t *model;        /* (n_prompts) choices, decided alone */
    atomic_bool done;     /* the learner is */
    atomic_size_t n_open; /* reopened so often */
    atomic_size_t failed; /* no asserts in threads: they would jump out of them */
} scene;

#define EXPECT(s, condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            (s)->failed++;                                                                                             \
        }                                                                                                              \
    } while (0)

static weir_policy_options options_of(size_t prompt) {
    weir_policy_options o = weir_policy_defaults();
    o.value_usd = pow(10, -3 + (double)(prompt % 5));
    return o;
}

/* ---- the three kinds of thread ---- */

static void *decide_on(void *user) {
    scene *s = user;
    weir_session *session = NULL;
    weir_error err = {0};
    EXPECT(s, weir_session_new(&session, s->router, &err) == WEIR_OK);
    for (size_t round = 0; session && (round < N_ROUNDS || !s->done); round++)
        for (size_t i = 0; i < N_PROMPTS; i++) {
            const weir_decision *d;
            const weir_estimates *e;
            weir_policy_options o = options_of(i);
            size_t k = s->data->n_models;
            weir_status st = weir_decide(session, s->data->prompts[i], s->data->prompt_lens[i], &o, &d, &e, &err);
            EXPECT(s, st == WEIR_OK);
            if (st != WEIR_OK) continue;
            EXPECT(s, d->model == s->model[i]);
            EXPECT(s, memcmp(e->quality, s->expected + i * k, k * sizeof *e->quality) == 0);
        }
    weir_session_free(session);
    return NULL;
}

static void *learn_on(void *user) {
    scene *s = user;
    weir_learner *l = NULL;
    weir_error err = {0};
    weir_learn_options options = {.group_commit = GROUP};
    EXPECT(s, weir_learner_open(&l, path, &options, &err) == WEIR_OK);
    for (size_t i = 0; l && i < N_FEEDBACKS; i++) {
        const weir_decision *d;
        size_t at = i % s->data->n_prompts;
        weir_policy_options o = options_of(i);
        EXPECT(s,
               weir_learner_decide(l, s->data->prompts[at], s->data->prompt_lens[at], &o, &d, NULL, &err) == WEIR_OK);
        size_t model = d->model;
        weir_outcome outcome = {s->data->quality[at * s->data->n_models + model], 0.001, 10, 10, NAN};
        EXPECT(s, weir_learner_observe(l, s->data->ids[at], 1, &model, &outcome, &err) == WEIR_OK);
    }
    if (l) EXPECT(s, weir_learner_close(l, &err) == WEIR_OK);
    s->done = true;
    return NULL;
}

static void *reopen(void *user) {
    scene *s = user;
    uint64_t version = 0;
    bool last = false;
    while (!last) { /* and once more after the learner is done */
        last = s->done;
        weir_router *router = NULL;
        weir_session *session = NULL;
        weir_error err = {0};
        const weir_estimates *e;
        weir_status st = weir_router_open(&router, path, &err);
        if (st != WEIR_OK) fprintf(stderr, "%s: %s\n", weir_status_name(st), err.text);
        EXPECT(s, st == WEIR_OK);
        if (st != WEIR_OK) return NULL;
        EXPECT(s, weir_router_version(router) >= version); /* never back */
        version = weir_router_version(router);
        EXPECT(s, weir_session_new(&session, router, &err) == WEIR_OK);
        EXPECT(s, weir_estimate(session, "one prompt", 10, &e, &err) == WEIR_OK);
        for (size_t m = 0; m < e->n_models; m++) EXPECT(s, e->quality[m] >= 0 && e->quality[m] <= 1);
        weir_session_free(session);
        weir_router_close(router);
        s->n_open++;
    }
    return NULL;
}

/* ---- scenes ---- */

static void scene_set(scene *s) {
    weir_error err = {0};
    weir_dataset *data = NULL;
    weir_simulate_options o = {.n_prompts = 120, .n_models = 4, .seed = 3};
    OK(weir_simulate(&data, NULL, &o, &err));
    weir_train_options t = {.estimator = "ridge", .seed = 1, .n_threads = 2};
    OK(weir_train(path, data, &t, NULL, &err));
    s->data = data;
    OK(weir_router_open(&s->router, path, &err));
    weir_session *session = NULL;
    OK(weir_session_new(&session, s->router, &err));
    s->expected = calloc(N_PROMPTS * data->n_models, sizeof *s->expected);
    s->model = calloc(N_PROMPTS, sizeof *s->model);
    assert_true(s->expected && s->model);
    for (size_t i = 0; i < N_PROMPTS; i++) {
        const weir_decision *d;
        const weir_estimates *e;
        weir_policy_options p = options_of(i);
        OK(weir_decide(session, data->prompts[i], data->prompt_lens[i], &p, &d, &e, &err));
        s->model[i] = d->model;
        memcpy(s->expected + i * data->n_models, e->quality, data->n_models * sizeof *e->quality);
    }
    weir_session_free(session);
}

static void scene_end(scene *s) {
    weir_router_close(s->router);
    weir_dataset_free((weir_dataset *)s->data);
    free(s->expected);
    free(s->model);
}

static size_t feedbacks_of_sound(void) {
    char *json = NULL;
    weir_error err = {0};
    OK(weir_store_check(path, &json, &err));
    const char *at = strstr(json, "\"n_feedbacks\": ");
    assert_non_null(at);
    size_t n = (size_t)strtoul(at + strlen("\"n_feedbacks\": "), NULL, 10);
    free(json);
    return n;
}

/* A router is a snapshot: who decides on it sees nothing of what is learned meanwhile. */
static void threads_decide_while_one_learns(void **state) {
    (void)state;
    scene s = {0};
    scene_set(&s);
    pthread_t decider[N_DECIDERS], learner, reader;
    for (size_t i = 0; i < N_DECIDERS; i++) assert_int_equal(pthread_create(&decider[i], NULL, decide_on, &s), 0);
    assert_int_equal(pthread_create(&reader, NULL, reopen, &s), 0);
    assert_int_equal(pthread_create(&learner, NULL, learn_on, &s), 0);
    pthread_join(learner, NULL);
    pthread_join(reader, NULL);
    for (size_t i = 0; i < N_DECIDERS; i++) pthread_join(decider[i], NULL);
    assert_int_equal(s.failed, 0);
    assert_true(s.n_open > 0);
    assert_int_equal(feedbacks_of_sound(), N_FEEDBACKS);
    scene_end(&s);
}

static int learn_in_child(void *user) {
    scene *s = user;
    learn_on(s);
    return s->failed != 0;
}

/* The same with the learner in a process of its own. */
static void threads_decide_while_a_process_learns(void **state) {
    (void)state;
    scene s = {0};
    scene_set(&s);
    fflush(NULL);
    pid_t pid = fork(); /* before there are threads: a child has the one that forked */
    assert_true(pid >= 0);
    if (pid == 0) _exit(learn_in_child(&s));
    pthread_t decider[N_DECIDERS], reader;
    for (size_t i = 0; i < N_DECIDERS; i++) assert_int_equal(pthread_create(&decider[i], NULL, decide_on, &s), 0);
    assert_int_equal(pthread_create(&reader, NULL, reopen, &s), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    s.done = true;
    pthread_join(reader, NULL);
    for (size_t i = 0; i < N_DECIDERS; i++) pthread_join(decider[i], NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(s.failed, 0);
    assert_int_equal(feedbacks_of_sound(), N_FEEDBACKS);
    scene_end(&s);
}

/* Threads that fit, each its own store. */
typedef struct fit_scene {
    const weir_dataset *data;
    char path[340];
    weir_status st;
} fit_scene;

static void *fit_one(void *user) {
    fit_scene *f = user;
    weir_train_options t = {.seed = 1, .n_threads = 2};
    weir_error err = {0};
    f->st = weir_train(f->path, f->data, &t, NULL, &err);
    return NULL;
}

static void stores_are_trained_side_by_side(void **state) {
    (void)state;
    weir_error err = {0};
    weir_dataset *data = NULL;
    weir_simulate_options o = {.n_prompts = 80, .n_models = 3, .seed = 4};
    OK(weir_simulate(&data, NULL, &o, &err));
    fit_scene f[2];
    pthread_t thread[2];
    for (size_t i = 0; i < 2; i++) {
        f[i] = (fit_scene){.data = data};
        snprintf(f[i].path, sizeof f[i].path, "%s.%zu", path, i);
        assert_int_equal(pthread_create(&thread[i], NULL, fit_one, &f[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    weir_router *router[2] = {0};
    weir_session *session[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(f[i].st, WEIR_OK);
        OK(weir_router_open(&router[i], f[i].path, &err));
        OK(weir_session_new(&session[i], router[i], &err));
    }
    for (size_t p = 0; p < 80; p++) { /* the same data and seed: the same router */
        const weir_estimates *a, *b;
        OK(weir_estimate(session[0], data->prompts[p], data->prompt_lens[p], &a, &err));
        OK(weir_estimate(session[1], data->prompts[p], data->prompt_lens[p], &b, &err));
        assert_memory_equal(a->quality, b->quality, 3 * sizeof *a->quality);
    }
    for (size_t i = 0; i < 2; i++) {
        weir_session_free(session[i]);
        weir_router_close(router[i]);
    }
    weir_dataset_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(threads_decide_while_one_learns),
        TEST(threads_decide_while_a_process_learns),
        TEST(stores_are_trained_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

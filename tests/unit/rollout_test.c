/* Rollouts in the store: each decision and its first label count once, in the transaction that logs them, whoever is
 * killed when; another rollout begins anew. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/store_helpers.h"

#include <math.h>

#include "src/gateway/journal/rollout.h"
#include "src/ope/gate_store.h"
#include "src/router/learner.h"
#include "src/router/reading.h"
#include "src/router/session.h"
#include "weir/ope.h"
#include "weir/weir.h"

static const double steps[] = {0.25, 0.5};

static void make_store(void) {
    weir_error err = {0};
    weir_learner *l = NULL;
    weir_model models[3] = {weir_model_defaults(), weir_model_defaults(), weir_model_defaults()};
    char names[][2] = {"a", "b", "c"};
    for (size_t m = 0; m < 3; m++) models[m].name = names[m];
    weir_pool pool = {.n_models = 3, .models = models};
    weir_learn_options o = {.create = true, .pool = &pool};
    OK(weir_learner_open(&l, path, &o, &err));
    OK(weir_learner_close(l, &err));
}

/* ---- a gateway's journal, in short ---- */

typedef struct gateway {
    weirp_config config;
    weirp_rollout *rollout;
    weir_learner *learner;
    weir_router *router;
    weir_session *session;
    weirp_log *log;
    int silence;
    const char *result; /* how tries end; NULL: nobody tells */
} gateway;

static weirp_config config_of(uint64_t digest) {
    weirp_config c = {.rollout = {.on = true}};
    weirp_gate_plan *g = &c.rollout.gate;
    *g = (weirp_gate_plan){.name = "trial",
                           .digest = digest,
                           .base = "plugin",
                           .candidate = "fixed",
                           .n_steps = 2,
                           .step = {steps[0], steps[1]},
                           .level = 0.95,
                           .margin = 0.05,
                           .margin_error = 0.5,
                           .min_feedback = 20};
    return c;
}

static void start(gateway *g, uint64_t digest) {
    weir_error err = {0};
    weir_learn_options o = {.group_commit = SIZE_MAX, .lazy = true};
    *g = (gateway){.config = config_of(digest)};
    g->silence = open("/dev/null", O_WRONLY);
    OK(weirp_log_new(&g->log, g->silence, WEIRP_LOG_TEXT, WEIRP_LOG_ERROR, &err));
    OK(weirp_rollout_new(&g->rollout, g->log, &err));
    if (digest) weirp_rollout_configure(g->rollout, &g->config);
    OK(weir_learner_open(&g->learner, path, &o, &err));
    OK(weirp_rollout_hold(g->rollout, g->learner, &err));
    assert_false(weirp_learner_saves(g->learner)); /* what it has begun is in the store */
    OK(weir_router_open(&g->router, path, &err));
    OK(weir_session_new(&g->session, g->router, &err));
}

static void stop(gateway *g) {
    weir_error err = {0};
    OK(weir_learner_close(g->learner, &err));
    weir_session_free(g->session);
    weir_router_close(g->router);
    weirp_rollout_free(g->rollout);
    weirp_log_free(g->log);
    close(g->silence);
}

/* The base takes model 0, the candidate model 1. Gives the decision's id. */
static void serve(gateway *g, uint64_t i, unsigned step, bool arm, int status, char id[WEIRP_ID_SIZE]) {
    weir_error err = {0};
    weirp_writer w = {0};
    const weir_estimates *e;
    const weir_decision *d;
    const double candidate[] = {0, 1, 0};
    weir_policy_options o = weir_policy_defaults();
    o.policy = "fixed";
    o.fixed = 0;
    OK(weir_estimate(g->session, "what is a weir", 14, &e, &err));
    OK(weir_session_decide(g->session, &o, &d, &err));
    weir_decision *mixed = weirp_session_decision(g->session);
    mixed->propensity[0] = 1 - steps[step];
    mixed->propensity[1] = steps[step];
    mixed->model = arm;
    weirp_trial trial = {"trial", g->config.rollout.gate.digest, step, steps[step], arm, candidate};
    weirp_id_new(id, i, 3);
    weirp_record_trial(&w, g->session, id, &trial);
    weirp_served s = {.model = status < 400 ? arm : (size_t)-1,
                      .api = "chat",
                      .request_id = "r",
                      .status = status,
                      .predicted_cost_usd = NAN,
                      .cost_usd = 0.001,
                      .latency_ms = 5,
                      .first_token_ms = NAN};
    if (g->result) {
        s.n_attempts = 1;
        strcpy(s.attempt[0].result, g->result);
    }
    weirp_record_served(&w, &s);
    assert_false(w.failed);
    OK(weirp_learner_append(g->learner, w.data, w.size, &err));
    weirp_writer_free(&w);
}

static weir_status label(gateway *g, const char *id, double quality, const char *source, const char *model) {
    weir_error err = {0};
    const weirp_feedback f = {id, quality, source, model};
    return weirp_learner_feedback(g->learner, &f, &err);
}

static void commit(gateway *g) {
    weir_error err = {0};
    OK(weir_learner_commit(g->learner, &err));
}

/* As anyone reads it who opens the store. */
static weirp_gate stored(void) {
    weir_error err = {0};
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *snapshot = NULL;
    weirp_gate gate;
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    OK(weirp_txn_get(weirp_snapshot_table(snapshot), WEIRP_GATE_KEY, 2, &data, &size, &err));
    OK(weirp_gate_load(&gate, data, size, &err));
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return gate;
}

/* ---- tests ---- */

static void each_counts_once(void **state) {
    (void)state;
    gateway g;
    char id[8][WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), 0);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x200), WEIRP_GATE_OFF);
    assert_int_equal(weirp_rollout_step(g.rollout, 0), WEIRP_GATE_OFF);
    for (uint64_t i = 0; i < 8; i++) serve(&g, i, 0, i % 4 == 0, i == 7 ? 502 : 200, id[i]);
    commit(&g);
    weirp_gate gate = stored();
    assert_int_equal(gate.n_decisions, 8);
    assert_int_equal(gate.error.n, 8);
    assert_int_equal(gate.n_feedback, 0);
    assert_int_equal(label(&g, id[0], 1, "user", NULL), WEIR_OK);
    assert_int_equal(label(&g, id[0], 0, "judge", NULL), WEIR_OK);     /* a second label on it */
    assert_int_equal(label(&g, id[0], 1, "user", NULL), WEIR_INVALID); /* the same one again */
    assert_int_equal(label(&g, id[1], 1, "user", "b"), WEIR_OK);       /* on a model that didn't answer */
    assert_int_equal(label(&g, id[1], 1, "user", NULL), WEIR_INVALID); /* who spoke of another model has spoken */
    assert_int_equal(label(&g, id[1], 1, "judge", NULL), WEIR_OK);     /* the first on the one that did */
    assert_int_equal(label(&g, id[7], 1, "user", "a"), WEIR_OK);       /* nobody answered */
    commit(&g);
    gate = stored();
    assert_int_equal(gate.n_feedback, 2);
    assert_int_equal(gate.quality.n, 2);
    stop(&g);
    start(&g, 0x100); /* nothing is replayed into it */
    gate = stored();
    assert_int_equal(gate.n_feedback, 2);
    assert_int_equal(gate.n_decisions, 8);
    assert_int_equal(label(&g, id[0], 1, "third", NULL), WEIR_OK); /* a third label, after a restart */
    assert_int_equal(label(&g, id[2], 1, "user", NULL), WEIR_OK);
    stop(&g);
    assert_int_equal(stored().n_feedback, 3);
}

/* A process that dies leaves exactly what it had committed, log and gate alike. */
static void what_isnt_committed_isnt_counted(void **state) {
    (void)state;
    make_store();
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        gateway g;
        char id[WEIRP_ID_SIZE];
        start(&g, 0x100);
        for (uint64_t i = 0; i < 10; i++) {
            serve(&g, i, 0, i % 4 == 0, 200, id);
            if (label(&g, id, 1, "user", NULL) != WEIR_OK) _exit(1);
            if (i == 5) commit(&g);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    const weirp_gate gate = stored();
    assert_int_equal(gate.n_decisions, 6);
    assert_int_equal(gate.n_feedback, 6);
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *snapshot = NULL;
    weir_error err = {0};
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    assert_int_equal(weirp_snapshot_n_log(snapshot), 12);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
}

static void harm_stops_and_stays_stopped(void **state) {
    (void)state;
    gateway g;
    char id[WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    uint64_t i = 0;
    for (; i < 4000 && weirp_rollout_step(g.rollout, 0x100) != WEIRP_GATE_OFF; i++) {
        const bool arm = weirp_random_uniform(4, 1, i) < steps[0];
        serve(&g, i, 0, arm, 200, id);
        assert_int_equal(label(&g, id, arm ? 0 : 1, "user", NULL), WEIR_OK);
    }
    assert_true(i < 4000); /* told at once, before any commit */
    weirp_rollout_fact fact;
    weirp_rollout_facts(g.rollout, &fact);
    assert_true(fact.on && fact.stopped && fact.share == 0);
    assert_true(fact.quality[1] < -0.05);
    commit(&g);
    stop(&g);
    start(&g, 0x100);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), WEIRP_GATE_OFF);
    stop(&g);
    start(&g, 0); /* a configuration without a rollout leaves it alone, and tells nothing of it */
    weirp_rollout_facts(g.rollout, &fact);
    assert_false(fact.on);
    stop(&g);
    assert_int_equal(stored().status, WEIRP_GATE_STOPPED);
    start(&g, 0x200); /* another one begins anew */
    assert_int_equal(weirp_rollout_step(g.rollout, 0x200), 0);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), WEIRP_GATE_OFF);
    stop(&g);
    const weirp_gate gate = stored();
    assert_int_equal(gate.status, WEIRP_GATE_RUNNING);
    assert_int_equal(gate.n_feedback, 0);
    assert_int_equal(gate.n_events, 1);
}

/* As the journal does after a reload. */
static void reload(gateway *g, uint64_t digest) {
    g->config = config_of(digest);
    weirp_rollout_configure(g->rollout, &g->config);
    while (weirp_rollout_look(g->rollout, g->learner)) {
        commit(g);
        weirp_rollout_committed(g->rollout, g->learner);
    }
}

/* Each answer of the candidate is bad, until that has stopped it. */
static void do_harm(gateway *g, uint64_t from) {
    char id[WEIRP_ID_SIZE];
    const uint64_t digest = g->config.rollout.gate.digest;
    uint64_t i = from;
    for (; i < from + 4000 && weirp_rollout_step(g->rollout, digest) != WEIRP_GATE_OFF; i++) {
        const bool arm = weirp_random_uniform(4, 2, i) < steps[0];
        serve(g, i, 0, arm, 200, id);
        assert_int_equal(label(g, id, arm ? 0 : 1, "user", NULL), WEIR_OK);
    }
    assert_true(i < from + 4000);
}

static void is_stopped_as(const weirp_gate *before) {
    const weirp_gate now = stored();
    assert_int_equal(now.plan.digest, before->plan.digest);
    assert_int_equal(now.status, WEIRP_GATE_STOPPED);
    assert_int_equal(now.n_feedback, before->n_feedback);
    assert_int_equal(now.n_events, before->n_events);
    for (size_t i = 0; i < now.n_events; i++) {
        assert_int_equal(now.event[i].time_ms, before->event[i].time_ms);
        assert_int_equal(now.event[i].change, before->event[i].change);
    }
}

static void what_has_stopped_stays_so_whatever_ran_between(void **state) {
    (void)state;
    gateway g;
    make_store();
    start(&g, 0x100);
    do_harm(&g, 0);
    commit(&g);
    const weirp_gate first = stored();
    assert_int_equal(first.event[first.n_events - 1].change, WEIRP_GATE_HARM_QUALITY);
    reload(&g, 0x200);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x200), 0);
    reload(&g, 0x100);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), WEIRP_GATE_OFF);
    is_stopped_as(&first);
    weirp_rollout_fact fact;
    weirp_rollout_facts(g.rollout, &fact);
    assert_true(fact.on && fact.stopped && fact.share == 0);
    reload(&g, 0x300);
    do_harm(&g, 10000); /* the stop isn't in the store yet, */
    reload(&g, 0x100);  /* and gets there first */
    is_stopped_as(&first);
    reload(&g, 0x300);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x300), WEIRP_GATE_OFF);
    const weirp_gate second = stored();
    is_stopped_as(&second);
    stop(&g);
    for (int i = 0; i < 2; i++) { /* others have the store in turn */
        start(&g, 0x200);
        assert_int_equal(weirp_rollout_step(g.rollout, 0x200), 0);
        stop(&g);
        start(&g, 0x100);
        assert_int_equal(weirp_rollout_step(g.rollout, 0x100), WEIRP_GATE_OFF);
        is_stopped_as(&first);
        stop(&g);
        start(&g, 0x300);
        is_stopped_as(&second);
        stop(&g);
    }
}

/* One transaction on the table of rollouts. */
typedef struct change {
    weirp_gate gate;
    weir_status found;
} change;

static weir_status put_stopped(void *user, weirp_txn *txn, weir_error *err) {
    change *c = user;
    weir_status st = weirp_gate_keep_stopped(txn, c->gate.plan.digest, err);
    return st == WEIR_OK ? weirp_gate_write(txn, &c->gate, err) : st;
}

static weir_status damage(void *user, weirp_txn *txn, weir_error *err) {
    static const uint8_t key[] = {'R', 's', 0, 1, 0, 0, 0, 0, 0, 0}, bytes[12] = {1};
    (void)user;
    return weirp_txn_put(txn, key, sizeof key, bytes, sizeof bytes, err);
}

static weir_status look_up(weirp_store *store, uint64_t digest, weirp_gate *gate) {
    weir_error err = {0};
    weirp_snapshot *snapshot = NULL;
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    weir_status st = weirp_gate_read_stopped(weirp_snapshot_table(snapshot), digest, gate, &err);
    weirp_snapshot_end(snapshot);
    return st;
}

static void the_newest_that_stopped_are_kept(void **state) {
    (void)state;
    enum { N = WEIRP_GATE_STOPPED_KEPT + 13 };
    weir_error err = {0};
    make_store();
    weirp_store *store = open_store(path, WEIRP_STORE_WRITE);
    change c;
    weirp_gate found;
    for (uint64_t i = 0; i < N; i++) {
        const weirp_config config = config_of((i * 37 % N + 1) << 8); /* keys aren't in the order of time */
        weirp_gate_start(&c.gate, &config.rollout.gate, 1000 + (int64_t)i);
        c.gate.status = i % 10 ? WEIRP_GATE_STOPPED : WEIRP_GATE_RUNNING;
        OK(weirp_store_transact(store, NULL, 0, put_stopped, &c, &err));
        OK(weirp_store_transact(store, NULL, 0, put_stopped, &c, &err)); /* as it stood: nothing more */
    }
    uint64_t n = 0;
    for (uint64_t i = N - 1; i-- > 0;) { /* the last one is there, not beside */
        const bool kept = i % 10 && n < WEIRP_GATE_STOPPED_KEPT;
        assert_int_equal(look_up(store, (i * 37 % N + 1) << 8, &found), kept ? WEIR_OK : WEIR_NOTFOUND);
        if (kept) assert_int_equal(found.since_ms, 1000 + (int64_t)i);
        n += kept;
    }
    assert_int_equal(n, WEIRP_GATE_STOPPED_KEPT);
    OK(weirp_store_transact(store, NULL, 0, damage, NULL, &err));
    weirp_store_close(store);
    gateway g; /* one that can't be read was stopped all the same */
    start(&g, 0x100);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), WEIRP_GATE_OFF);
    stop(&g);
    assert_int_equal(stored().status, WEIRP_GATE_STOPPED);
    char *json = NULL;
    OK(weir_ope_rollout_json(path, &json, &err));
    assert_non_null(strstr(json, "stopped before: what it had counted is lost"));
    assert_non_null(strstr(json, "\"configured\": true"));
    free(json);
}

/* The same rollout, begun anew: what was decided in its first life isn't of its second. */
static void what_was_decided_before_the_beginning_doesnt_count(void **state) {
    (void)state;
    gateway g;
    char old[3][WEIRP_ID_SIZE], id[WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    for (uint64_t i = 0; i < 3; i++) serve(&g, i, 0, i == 0, 200, old[i]);
    commit(&g);
    assert_int_equal(stored().n_decisions, 3);
    const struct timespec moment = {0, 3000000};
    nanosleep(&moment, NULL);
    reload(&g, 0x200);
    reload(&g, 0x100);
    for (int i = 0; i < 2; i++) assert_int_equal(label(&g, old[i], 1, "user", NULL), WEIR_OK);
    serve(&g, 9, 0, false, 200, id);
    assert_int_equal(label(&g, id, 1, "user", NULL), WEIR_OK);
    commit(&g);
    weirp_gate gate = stored();
    assert_int_equal(gate.n_decisions, 1);
    assert_int_equal(gate.n_feedback, 1);
    assert_int_equal(gate.n_late, 2);
    stop(&g);
    start(&g, 0x100);
    assert_int_equal(label(&g, old[2], 1, "user", NULL), WEIR_OK);
    stop(&g);
    gate = stored();
    assert_int_equal(gate.n_feedback, 1);
    assert_int_equal(gate.n_late, 3);
}

/* Requests until the rollout is stopped, at most `most`: the candidate's streams end as `result` says, or with a
 * status. */
static uint64_t serve_endings(gateway *g, const char *result, int status, uint64_t most) {
    char id[WEIRP_ID_SIZE];
    uint64_t i = 0;
    for (; i < most && weirp_rollout_step(g->rollout, 0x100) != WEIRP_GATE_OFF; i++) {
        const bool arm = weirp_random_uniform(6, 1, i) < steps[0];
        g->result = arm ? result : "ok";
        serve(g, i, 0, arm, arm ? status : 200, id);
    }
    return i;
}

/* They are counted: as requests without an error. */
static void who_leaves_got_no_error(void **state) {
    (void)state;
    enum { MOST = 1500 };
    gateway g;
    make_store();
    start(&g, 0x100);
    assert_int_equal(serve_endings(&g, "client_gone", 499, MOST), MOST);
    assert_int_equal(serve_endings(&g, "shutdown", 200, MOST), MOST);
    commit(&g);
    const weirp_gate gate = stored();
    assert_int_equal(gate.n_decisions, 2 * MOST);
    assert_int_equal(gate.error.n, 2 * MOST);
    assert_true(gate.error_now.lo <= 0 && gate.error_now.lo > -0.05);
    assert_true(gate.error_now.hi >= 0 && gate.error_now.hi < 0.05);
    stop(&g);
}

/* Of status 200, and broken off all the same. */
static void broken_streams_are_errors(void **state) {
    (void)state;
    enum { MOST = 1500 };
    gateway g;
    make_store();
    start(&g, 0x100);
    assert_true(serve_endings(&g, "cut", 200, MOST) < MOST);
    commit(&g);
    const weirp_gate gate = stored();
    assert_int_equal(gate.status, WEIRP_GATE_STOPPED);
    assert_int_equal(gate.event[gate.n_events - 1].change, WEIRP_GATE_HARM_ERRORS);
    stop(&g);
}

typedef struct heard {
    size_t n;
    weirp_gate_event last;
    double share;
} heard;

static void hear(void *user, const weirp_gate_plan *plan, const weirp_gate_event *event, double share) {
    heard *h = user;
    assert_string_equal(plan->name, "trial");
    *h = (heard){h->n + 1, *event, share};
}

/* Each answer of the candidate is worth `worth`, each of the base the opposite, until the rollout is at `until`. */
static void serve_until(gateway *g, double worth, unsigned step, unsigned until) {
    char id[WEIRP_ID_SIZE];
    uint64_t i = 0;
    for (; i < 4000 && weirp_rollout_step(g->rollout, 0x100) != until; i++) {
        const bool arm = weirp_random_uniform(5, step, i) < steps[step];
        serve(g, 4000 * step + i, step, arm, 200, id);
        assert_int_equal(label(g, id, arm ? worth : 1 - worth, "user", NULL), WEIR_OK);
    }
    assert_true(i < 4000);
}

/* Whoever listens hears of a move when it can't be lost any more, and once. */
static void moves_are_told_when_they_are_durable(void **state) {
    (void)state;
    gateway g;
    heard h = {0};
    make_store();
    start(&g, 0x100);
    weirp_rollout_listen(g.rollout, hear, &h);
    weirp_rollout_committed(g.rollout, g.learner);
    assert_int_equal(h.n, 0); /* that it has begun is no news */
    serve_until(&g, 1, 0, 1);
    assert_false(weirp_rollout_look(g.rollout, g.learner));
    weirp_rollout_committed(g.rollout, g.learner);
    assert_int_equal(h.n, 0);
    assert_int_equal(stored().n_events, 1);
    commit(&g);
    weirp_rollout_committed(g.rollout, g.learner);
    weirp_rollout_committed(g.rollout, g.learner);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.last.change, WEIRP_GATE_ADVANCED);
    assert_int_equal(h.last.step, 0);
    assert_true(h.share == steps[1]);
    serve_until(&g, 0, 1, WEIRP_GATE_OFF);
    commit(&g);
    stop(&g); /* in the moment between */
    assert_int_equal(h.n, 1);
    assert_int_equal(stored().status, WEIRP_GATE_STOPPED);
    start(&g, 0x100);
    weirp_rollout_listen(g.rollout, hear, &h);
    assert_false(weirp_rollout_look(g.rollout, g.learner));
    weirp_rollout_committed(g.rollout, g.learner);
    assert_int_equal(h.n, 1);
    stop(&g);
}

static void moves_of_one_commit_are_told_in_order(void **state) {
    (void)state;
    gateway g;
    heard h = {0};
    make_store();
    start(&g, 0x100);
    weirp_rollout_listen(g.rollout, hear, &h);
    serve_until(&g, 1, 0, 1);
    serve_until(&g, 0, 1, WEIRP_GATE_OFF);
    commit(&g);
    weirp_rollout_committed(g.rollout, g.learner);
    assert_int_equal(h.n, 2);
    assert_int_equal(h.last.change, WEIRP_GATE_HARM_QUALITY);
    assert_int_equal(h.last.step, 1);
    assert_true(h.share == 0);
    stop(&g);
}

/* Whoever loosens it needn't send a request for it to go on; and what has stopped keeps what it was stopped by. */
static void a_reload_alone_moves_it_unless_it_has_stopped(void **state) {
    (void)state;
    gateway g;
    heard h = {0};
    char id[WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    weirp_rollout_listen(g.rollout, hear, &h);
    g.config.rollout.gate.min_feedback = 1000000;
    weirp_rollout_configure(g.rollout, &g.config);
    assert_true(weirp_rollout_look(g.rollout, g.learner));
    for (uint64_t i = 0; i < 400; i++) {
        const bool arm = weirp_random_uniform(5, 3, i) < steps[0];
        serve(&g, i, 0, arm, 200, id);
        assert_int_equal(label(&g, id, arm ? 1 : 0.5, "user", NULL), WEIR_OK);
    }
    commit(&g);
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), 0);
    reload(&g, 0x100); /* min_feedback 20 */
    assert_int_equal(weirp_rollout_step(g.rollout, 0x100), 1);
    assert_int_equal(h.n, 1);
    serve_until(&g, 0, 1, WEIRP_GATE_OFF);
    commit(&g);
    g.config.rollout.gate.margin = 1;
    g.config.rollout.gate.min_feedback = 7;
    snprintf(g.config.rollout.gate.candidate, sizeof g.config.rollout.gate.candidate, "other words");
    weirp_rollout_configure(g.rollout, &g.config);
    assert_true(weirp_rollout_look(g.rollout, g.learner));
    commit(&g);
    const weirp_gate gate = stored();
    assert_int_equal(gate.status, WEIRP_GATE_STOPPED);
    assert_true(gate.plan.margin == 0.05);
    assert_int_equal(gate.plan.min_feedback, 20);
    assert_string_equal(gate.plan.candidate, "other words");
    stop(&g);
}

static void a_reload_begins_anew_and_others_follow(void **state) {
    (void)state;
    gateway g;
    weir_error err = {0};
    char id[WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    weirp_rollout *other = NULL;
    weirp_store *joined = open_store(path, WEIRP_STORE_JOIN);
    OK(weirp_rollout_new(&other, g.log, &err));
    OK(weirp_rollout_follow(other, joined, &err));
    assert_int_equal(weirp_rollout_step(other, 0x100), 0);
    serve(&g, 1, 0, false, 200, id);
    assert_false(weirp_rollout_look(g.rollout, g.learner));
    g.config = config_of(0x300);
    weirp_rollout_configure(g.rollout, &g.config);
    assert_true(weirp_rollout_look(g.rollout, g.learner));
    commit(&g);
    assert_int_equal(stored().plan.digest, 0x300);
    assert_int_equal(label(&g, id, 1, "user", NULL), WEIR_OK); /* on the one before */
    commit(&g);
    assert_int_equal(stored().n_feedback, 0);
    OK(weirp_rollout_follow(other, joined, &err));
    assert_int_equal(weirp_rollout_step(other, 0x100), WEIRP_GATE_OFF);
    assert_int_equal(weirp_rollout_step(other, 0x300), 0);
    g.config.rollout.gate.margin = 0.3; /* the same rollout */
    weirp_rollout_configure(g.rollout, &g.config);
    serve(&g, 2, 0, false, 200, id);
    assert_true(weirp_rollout_look(g.rollout, g.learner));
    commit(&g);
    assert_true(stored().plan.margin == 0.3);
    assert_int_equal(stored().n_decisions, 1);
    weirp_rollout_free(other);
    weirp_store_close(joined);
    stop(&g);
}

/* ---- records ---- */

static void records_say_both(void **state) {
    (void)state;
    gateway g;
    weir_error err = {0};
    char id[WEIRP_ID_SIZE];
    make_store();
    start(&g, 0x100);
    serve(&g, 1, 1, true, 200, id);
    commit(&g);
    weirp_store *store = open_store(path, WEIRP_STORE_READ);
    weirp_snapshot *snapshot = NULL;
    const uint8_t *data;
    size_t size;
    OK(weirp_snapshot_begin(&snapshot, store, &err));
    OK(weirp_snapshot_record(snapshot, 0, &data, &size, &err));
    weirp_log_record r = {0};
    OK(weirp_log_decode(&r, data, size, &err));
    assert_string_equal(r.trial.name, "trial");
    assert_true(r.trial.digest == 0x100 && r.trial.step == 1 && r.trial.arm && r.trial.share == 0.5);
    assert_true(r.propensity[0] == 0.5 && r.propensity[1] == 0.5 && r.propensity[2] == 0);
    assert_true(r.trial.propensity[0] == 0 && r.trial.propensity[1] == 1 && r.trial.propensity[2] == 0);
    assert_int_equal(r.served.model, 1);
    for (size_t n = 0; n < size; n++) { /* cut anywhere: refused, and never read beyond */
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, data, n);
        err = (weir_error){0};
        assert_int_equal(weirp_log_decode(&r, exact, n, &err), WEIR_CORRUPT);
        free(exact);
    }
    uint8_t *bytes = malloc(size);
    for (uint64_t t = 0; t < 20000; t++) {
        memcpy(bytes, data, size);
        bytes[(size_t)(weirp_random_uniform(2, 1, t) * (double)size)] ^= (uint8_t)(1u << t % 8);
        err = (weir_error){0};
        if (weirp_log_decode(&r, bytes, size, &err) != WEIR_OK || !r.trial.name) continue;
        assert_true(r.trial.share >= 0 && r.trial.share < 1);
        for (size_t m = 0; m < r.n_models; m++) assert_true(r.trial.propensity[m] >= 0);
    }
    free(bytes);
    weirp_log_record_free(&r);
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    stop(&g);
}

/* Without a rollout a record is what it was before there were any. */
static void other_records_are_as_before(void **state) {
    (void)state;
    gateway g;
    weir_error err = {0};
    const weir_decision *d;
    const weir_estimates *e;
    weirp_writer w = {0};
    uint32_t version;
    make_store();
    start(&g, 0);
    weir_policy_options o = weir_policy_defaults();
    OK(weir_estimate(g.session, "x", 1, &e, &err));
    OK(weir_session_decide(g.session, &o, &d, &err));
    weirp_record_decision(&w, g.session, "mine");
    memcpy(&version, w.data, 4);
    assert_int_equal(version, 3);
    weirp_writer_free(&w);
    stop(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_counts_once),
        TEST(what_isnt_committed_isnt_counted),
        TEST(harm_stops_and_stays_stopped),
        TEST(what_has_stopped_stays_so_whatever_ran_between),
        TEST(the_newest_that_stopped_are_kept),
        TEST(what_was_decided_before_the_beginning_doesnt_count),

        TEST(who_leaves_got_no_error),
        TEST(broken_streams_are_errors),
        TEST(moves_are_told_when_they_are_durable),
        TEST(moves_of_one_commit_are_told_in_order),
        TEST(a_reload_alone_moves_it_unless_it_has_stopped),
        TEST(a_reload_begins_anew_and_others_follow),
        TEST(records_say_both),
        TEST(other_records_are_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* rollout.c: the gate in the journal's thread. What it has counted is written in the transaction that logs what it was
 * counted from: after a kill the two agree, so that nothing is lost, and nothing counts twice.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/journal/rollout.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct weirp_rollout {
    _Atomic uint64_t word; /* digest, and in its lowest byte the step; 0: nothing is under way */
    weirp_log *log;
    weirp_moved moved; /* NULL: nobody listens */
    void *moved_user;
    /* The journal's thread's own */
    weirp_gate gate;          /* digest 0: none */
    bool told_blind, counted; /* counted: `fact` is behind */
    size_t n_untold;          /* of the gate's last events, that `moved` hasn't heard of */
    pthread_mutex_t mutex;    /* of what follows */
    bool changed;             /* `wanted` is new */
    weirp_gate_plan wanted;   /* digest 0: no rollout is configured */
    weirp_rollout_fact fact;  /* of the gate, */
    uint64_t fact_digest;     /* which may be of another rollout than is configured */
};

/* ---- any thread ---- */

weir_status weirp_rollout_new(weirp_rollout **out, weirp_log *log, weir_error *err) {
    weirp_rollout *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    r->log = log;
    pthread_mutex_init(&r->mutex, NULL);
    *out = r;
    return WEIR_OK;
}

void weirp_rollout_free(weirp_rollout *r) {
    if (!r) return;
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

void weirp_rollout_configure(weirp_rollout *r, const weirp_config *config) {
    pthread_mutex_lock(&r->mutex);
    r->changed = true;
    r->wanted = (weirp_gate_plan){.digest = 0};
    if (config->rollout.on) r->wanted = config->rollout.gate;
    pthread_mutex_unlock(&r->mutex);
}

void weirp_rollout_listen(weirp_rollout *r, weirp_moved moved, void *user) {
    r->moved = moved;
    r->moved_user = user;
}

unsigned weirp_rollout_step(const weirp_rollout *r, uint64_t digest) {
    const uint64_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
    return digest && (word & ~UINT64_C(0xff)) == digest ? (unsigned)(word & 0xff) : WEIRP_GATE_OFF;
}

void weirp_rollout_facts(weirp_rollout *r, weirp_rollout_fact *out) {
    pthread_mutex_lock(&r->mutex);
    *out = r->fact;
    out->on = r->wanted.digest && r->wanted.digest == r->fact_digest;
    pthread_mutex_unlock(&r->mutex);
}

/* ---- telling ---- */

/* The gate as others are to see it. */
static void show(weirp_rollout *r) {
    const weirp_gate *g = &r->gate;
    const unsigned step = g->plan.digest ? weirp_gate_now(g) : WEIRP_GATE_OFF;
    atomic_store_explicit(&r->word, g->plan.digest ? g->plan.digest | step : 0, memory_order_relaxed);
    weirp_rollout_fact fact = {.on = false};
    if (g->plan.digest) {
        memcpy(fact.name, g->plan.name, sizeof fact.name);
        fact.share = step == WEIRP_GATE_OFF ? 0 : g->plan.step[step];
        fact.step = (double)g->step + 1;
        fact.steps = (double)g->plan.n_steps;
        fact.stopped = g->status == WEIRP_GATE_STOPPED;
        fact.passed = g->status == WEIRP_GATE_PASSED;
        fact.feedback = (double)g->n_feedback;
        fact.decisions = (double)g->n_decisions;
        fact.quality[0] = g->quality_now.lo, fact.quality[1] = g->quality_now.hi;
        fact.error[0] = g->error_now.lo, fact.error[1] = g->error_now.hi;
    }
    r->counted = false;
    pthread_mutex_lock(&r->mutex);
    r->fact = fact;
    r->fact_digest = g->plan.digest;
    pthread_mutex_unlock(&r->mutex);
}

static void tell(weirp_rollout *r) {
    const weirp_gate *g = &r->gate;
    const weirp_gate_event *e = &g->event[g->n_events - 1];
    const bool harm = g->status == WEIRP_GATE_STOPPED;
    const unsigned now = weirp_gate_now(g);
    if (e->change != WEIRP_GATE_STARTED) r->n_untold++;
    WEIRP_LOG(r->log, harm ? WEIRP_LOG_WARN : WEIRP_LOG_INFO, "a rollout has moved", WEIRP_S("rollout", g->plan.name),
              WEIRP_S("base", g->plan.base), WEIRP_S("candidate", g->plan.candidate),
              WEIRP_S("what", weirp_gate_change_text(e->change)),
              WEIRP_F("share", now == WEIRP_GATE_OFF ? 0 : g->plan.step[now]), WEIRP_I("feedback", e->n_feedback),
              WEIRP_I("decisions", e->n_decisions), WEIRP_F("quality_low", e->quality.lo),
              WEIRP_F("quality_high", e->quality.hi), WEIRP_F("error_low", e->error.lo),
              WEIRP_F("error_high", e->error.hi));
    if (weirp_gate_is_blind(g) && !r->told_blind) {
        r->told_blind = true;
        WEIRP_LOG(r->log, WEIRP_LOG_WARN,
                  "a rollout in shadow learns nothing of quality: the policy has no explore_floor",
                  WEIRP_S("rollout", g->plan.name));
    }
}

/* What the candidate has after it. */
static double share_after(const weirp_gate_plan *plan, const weirp_gate_event *e) {
    if (e->change == WEIRP_GATE_HARM_QUALITY || e->change == WEIRP_GATE_HARM_ERRORS) return 0;
    return plan->step[e->change == WEIRP_GATE_ADVANCED ? e->step + 1 : e->step];
}

void weirp_rollout_committed(weirp_rollout *r, const weir_learner *learner) {
    if (!r || !r->n_untold || weirp_learner_saves(learner)) return;
    const weirp_gate *g = &r->gate;
    const size_t n = r->n_untold < g->n_events ? r->n_untold : g->n_events;
    for (const weirp_gate_event *e = g->event + (g->n_events - n); r->moved && e < g->event + g->n_events; e++)
        r->moved(r->moved_user, &g->plan, e, share_after(&g->plan, e));
    r->n_untold = 0;
}

/* ---- what the learner takes in ---- */

static void watch(void *user, const weirp_watched *seen) {
    weirp_rollout *r = user;
    weirp_gate *g = &r->gate;
    const weirp_trial *t = &seen->trial;
    const int64_t now = weirp_unix_ms();
    if (!g->plan.digest || t->digest != g->plan.digest) return;
    const bool moved = isnan(seen->label)
                           ? weirp_gate_decision(g, t->step, seen->p, seen->p_candidate, seen->failed, now)
                           : weirp_gate_feedback(g, t->step, seen->p, seen->p_candidate, seen->label, now);
    r->counted = true;
    if (!moved) return;
    show(r); /* at once: who has stopped decides nothing more */
    tell(r);
}

static weir_status save(void *user, weirp_txn *txn, weir_error *err) {
    const weirp_rollout *r = user;
    weirp_writer w = {0};
    if (!r->gate.plan.digest) return WEIR_OK;
    weirp_gate_save(&r->gate, &w);
    weir_status st = w.failed ? weirp_nomem(err)
                              : weirp_txn_put(txn, WEIRP_GATE_KEY, sizeof WEIRP_GATE_KEY - 1, w.data, w.size, err);
    weirp_writer_free(&w);
    return st;
}

/* ---- the store ---- */

/* Digest 0: there is none, or it can't be used. */
static weir_status load(weirp_rollout *r, weirp_store *store, weirp_gate *gate, weir_error *err) {
    const uint8_t *data;
    size_t size;
    weirp_snapshot *snapshot = NULL;
    *gate = (weirp_gate){.n_events = 0};
    r->n_untold = 0; /* whoever has written it tells of it */
    weir_status st = weirp_snapshot_begin(&snapshot, store, err);
    if (st != WEIR_OK) return st;
    st = weirp_txn_get(weirp_snapshot_table(snapshot), WEIRP_GATE_KEY, sizeof WEIRP_GATE_KEY - 1, &data, &size, err);
    weir_error why = {0};
    if (st == WEIR_OK && weirp_gate_load(gate, data, size, &why) != WEIR_OK)
        WEIRP_LOG(r->log, WEIRP_LOG_ERROR, "a rollout's state can't be used: it begins anew",
                  WEIRP_S("error", why.text));
    weirp_snapshot_end(snapshot);
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

/* The configuration that came last, if it hasn't been seen. */
static bool wants(weirp_rollout *r, weirp_gate_plan *wanted) {
    pthread_mutex_lock(&r->mutex);
    const bool changed = r->changed;
    *wanted = r->wanted;
    r->changed = false;
    pthread_mutex_unlock(&r->mutex);
    return changed;
}

/* Another rollout than the store's begins at its first step. True: something has changed. */
static bool take_over(weirp_rollout *r) {
    weirp_gate_plan wanted;
    if (!wants(r, &wanted) || !wanted.digest) return false;
    if (wanted.digest == r->gate.plan.digest) {
        weirp_gate_retune(&r->gate, &wanted);
        show(r);
        return true;
    }
    r->told_blind = false;
    r->n_untold = 0;
    weirp_gate_start(&r->gate, &wanted, weirp_unix_ms());
    show(r);
    tell(r);
    return true;
}

static void want_again(weirp_rollout *r) {
    pthread_mutex_lock(&r->mutex);
    r->changed = true;
    pthread_mutex_unlock(&r->mutex);
}

weir_status weirp_rollout_hold(weirp_rollout *r, weir_learner *learner, weir_error *err) {
    if (!r) return WEIR_OK;
    weir_status st = load(r, weirp_learner_store(learner), &r->gate, err);
    if (st != WEIR_OK) return st;
    weirp_learner_watch(learner, watch, save, r);
    want_again(r);
    show(r);
    if (take_over(r)) weirp_learner_save_due(learner);
    return WEIR_OK;
}

bool weirp_rollout_look(weirp_rollout *r, weir_learner *learner) {
    if (!r) return false;
    bool due = take_over(r);
    if (r->gate.plan.digest && weirp_gate_tick(&r->gate, weirp_unix_ms())) {
        show(r);
        tell(r);
        due = true;
    }
    if (r->counted) show(r);
    if (due) weirp_learner_save_due(learner);
    return due;
}

weir_status weirp_rollout_follow(weirp_rollout *r, weirp_store *store, weir_error *err) {
    if (!r) return WEIR_OK;
    weir_status st = load(r, store, &r->gate, err);
    if (st == WEIR_OK) show(r);
    return st;
}

/* rollout.c: the gate in the journal's thread. What it has counted is written in the transaction that logs what it was
 * counted from: after a kill the two agree, so that nothing is lost, and nothing counts twice.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/journal/rollout.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/gate_store.h"

#define APART_NS UINT64_C(3000000000)

struct weirp_rollout {
    _Atomic uint64_t word; /* digest, and in its lowest byte the step; 0: nothing is under way */
    weirp_log *log;
    weirp_moved moved; /* NULL: nobody listens */
    void *moved_user;
    /* The journal's thread's own */
    weirp_gate gate;                /* digest 0: none */
    bool told_blind, counted;       /* counted: `fact` is behind */
    bool told_unreadable;           /* the store's gate */
    bool unsaved;                   /* since the store was got */
    bool replaces;                  /* the store may still have another one */
    weirp_gate_configured in_force; /* what has been taken over, by who has the store */
    uint64_t apart_ns;              /* since when another rollout than this process's runs; 0: it doesn't */
    uint64_t told_apart;            /* the digest that was told of */
    size_t n_untold;                /* of the gate's last events, that `moved` hasn't heard of */
    pthread_mutex_t mutex;          /* of what follows */
    bool changed;                   /* `wanted` is new */
    weirp_gate_plan wanted;         /* digest 0: no rollout is configured */
    weirp_rollout_fact fact;        /* of the gate, */
    uint64_t fact_digest;           /* which may be of another rollout than is configured */
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
    if (!r || weirp_learner_saves(learner)) return;
    r->replaces = r->unsaved = false;
    if (!r->n_untold) return;
    const weirp_gate *g = &r->gate;
    const size_t n = r->n_untold < g->n_events ? r->n_untold : g->n_events;
    for (const weirp_gate_event *e = g->event + (g->n_events - n); r->moved && e < g->event + g->n_events; e++)
        r->moved(r->moved_user, &g->plan, e, share_after(&g->plan, e));
    r->n_untold = 0;
}

/* ---- what the learner takes in ---- */

/* One of this name and kind ran before, and another one in between: what was decided then isn't of this one. A clock
 * that was set back to before the beginning tells nothing of it. */
static bool is_from_before(const weirp_gate *g, const weirp_watched *seen, int64_t now_ms) {
    const int64_t begun_ms = g->n_events ? g->event[0].time_ms : g->since_ms;
    return seen->time_ms < begun_ms && begun_ms <= now_ms;
}

static void watch(void *user, const weirp_watched *seen) {
    weirp_rollout *r = user;
    weirp_gate *g = &r->gate;
    const weirp_trial *t = &seen->trial;
    const int64_t now = weirp_unix_ms();
    if (!g->plan.digest || t->digest != g->plan.digest) return;
    if (is_from_before(g, seen, now)) {
        g->n_late += !isnan(seen->label) && g->status != WEIRP_GATE_STOPPED;
        return;
    }
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
    if (!r->gate.plan.digest) return WEIR_OK;
    weir_status st = r->replaces ? weirp_gate_keep_stopped(txn, r->gate.plan.digest, err) : WEIR_OK;
    if (st == WEIR_OK) st = weirp_gate_write(txn, &r->gate, err);
    return st == WEIR_OK ? weirp_gate_write_configured(txn, &r->in_force, err) : st;
}

/* ---- the store ---- */

static bool is_unreadable(weir_status st) {
    return st == WEIR_CORRUPT || st == WEIR_NEWER;
}

/* Digest 0: there is none, or it can't be used. */
static weir_status load(weirp_rollout *r, weirp_store *store, weirp_gate *gate, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weir_error why = {0};
    r->n_untold = 0; /* whoever has written it tells of it */
    weir_status st = weirp_snapshot_begin(&snapshot, store, err);
    if (st != WEIR_OK) return st;
    st = weirp_gate_read(weirp_snapshot_table(snapshot), gate, &why);
    weirp_snapshot_end(snapshot);
    if (st != WEIR_OK) *gate = (weirp_gate){.n_events = 0};
    if (is_unreadable(st) && !r->told_unreadable)
        WEIRP_LOG(r->log, WEIRP_LOG_ERROR, "a rollout's state can't be used: it begins anew",
                  WEIRP_S("error", why.text));
    r->told_unreadable = is_unreadable(st);
    return st == WEIR_OK || st == WEIR_NOTFOUND || is_unreadable(st) ? WEIR_OK : weirp_fail(err, st, 0, "%s", why.text);
}

/* One that was stopped before, though another one ran since: it stays so. WEIR_NOTFOUND: it wasn't. */
static weir_status load_stopped(weirp_rollout *r, weirp_store *store, const weirp_gate_plan *wanted, weirp_gate *gate,
                                weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weir_error why = {0};
    weir_status st = weirp_snapshot_begin(&snapshot, store, err);
    if (st != WEIR_OK) return st;
    st = weirp_gate_read_stopped(weirp_snapshot_table(snapshot), wanted->digest, gate, &why);
    weirp_snapshot_end(snapshot);
    if (is_unreadable(st)) { /* that it is there says enough */
        weirp_gate_start(gate, wanted, weirp_unix_ms());
        gate->status = WEIRP_GATE_STOPPED;
        WEIRP_LOG(r->log, WEIRP_LOG_ERROR, "what a stopped rollout had counted can't be used",
                  WEIRP_S("rollout", wanted->name), WEIRP_S("error", why.text));
        return WEIR_OK;
    }
    return st == WEIR_OK || st == WEIR_NOTFOUND ? st : weirp_fail(err, st, 0, "%s", why.text);
}

/* ---- configurations ---- */

/* The configuration that came last, if it hasn't been seen. */
static bool wants(weirp_rollout *r, weirp_gate_plan *wanted) {
    pthread_mutex_lock(&r->mutex);
    const bool changed = r->changed;
    *wanted = r->wanted;
    r->changed = false;
    pthread_mutex_unlock(&r->mutex);
    return changed;
}

static void want_again(weirp_rollout *r) {
    pthread_mutex_lock(&r->mutex);
    r->changed = true;
    pthread_mutex_unlock(&r->mutex);
}

/* The same rollout, configured anew. What has stopped keeps what it was stopped by. */
static void retune(weirp_gate *g, const weirp_gate_plan *wanted) {
    weirp_gate_plan plan = *wanted;
    if (g->status == WEIRP_GATE_STOPPED) {
        plan.margin = g->plan.margin;
        plan.margin_error = g->plan.margin_error;
        plan.min_feedback = g->plan.min_feedback;
        plan.hold_ms = g->plan.hold_ms;
    }
    weirp_gate_retune(g, &plan);
}

/* Another rollout than the store's: at its first step, or as it was when it was stopped. */
static weir_status replace(weirp_rollout *r, weirp_store *store, const weirp_gate_plan *wanted, weir_error *err) {
    weirp_gate before;
    weir_status st = load_stopped(r, store, wanted, &before, err);
    if (st != WEIR_OK && st != WEIR_NOTFOUND) return st;
    r->told_blind = false;
    r->n_untold = 0;
    r->replaces = true;
    if (st == WEIR_OK) {
        r->gate = before;
        retune(&r->gate, wanted);
        show(r);
        WEIRP_LOG(r->log, WEIRP_LOG_WARN, "a rollout was stopped before, and stays so",
                  WEIRP_S("rollout", wanted->name), WEIRP_S("base", wanted->base),
                  WEIRP_S("candidate", wanted->candidate));
    } else {
        weirp_gate_start(&r->gate, wanted, weirp_unix_ms());
        show(r);
        tell(r);
    }
    return WEIR_OK;
}

/* *changed: there is something to save. What can't be read yet is wanted again. */
static weir_status take_over(weirp_rollout *r, weirp_store *store, bool *changed, weir_error *err) {
    weirp_gate_plan wanted;
    weir_status st = WEIR_OK;
    *changed = false;
    if (!wants(r, &wanted)) return st;
    if (!wanted.digest) {
        /* it stays as it is, for processes that go on with it, and for its return */
    } else if (wanted.digest == r->gate.plan.digest) {
        retune(&r->gate, &wanted);
        show(r);
    } else {
        st = replace(r, store, &wanted, err);
    }
    if (st != WEIR_OK) {
        want_again(r);
        return st;
    }
    r->in_force = (weirp_gate_configured){wanted.digest, weirp_unix_ms()};
    *changed = r->gate.plan.digest != 0;
    return st;
}

/* At once, for those who look at the store and for other processes: there may be no traffic for long. The learner has
 * nothing to write yet, and needn't read its state for this. */
static void save_now(weirp_rollout *r, weir_learner *learner) {
    weir_error err = {0};
    if (weirp_store_transact(weirp_learner_store(learner), NULL, 0, save, r, &err) == WEIR_OK) return;
    WEIRP_LOG(r->log, WEIRP_LOG_ERROR, "how the rollout stands can't be written yet", WEIRP_S("error", err.text));
    r->unsaved = true;
}

weir_status weirp_rollout_hold(weirp_rollout *r, weir_learner *learner, weir_error *err) {
    if (!r) return WEIR_OK;
    bool changed;
    weir_status st = load(r, weirp_learner_store(learner), &r->gate, err);
    if (st != WEIR_OK) return st;
    weirp_learner_watch(learner, watch, save, r);
    want_again(r);
    show(r);
    st = take_over(r, weirp_learner_store(learner), &changed, err);
    if (changed) save_now(r, learner);
    return st;
}

bool weirp_rollout_look(weirp_rollout *r, weir_learner *learner) {
    if (!r) return false;
    weir_error err = {0};
    bool due;
    /* first that it has been stopped, then what comes after it */
    if (r->gate.status == WEIRP_GATE_STOPPED && weirp_learner_saves(learner)) return true;
    if (take_over(r, weirp_learner_store(learner), &due, &err) != WEIR_OK)
        WEIRP_LOG(r->log, WEIRP_LOG_ERROR, "how the rollout stands can't be read", WEIRP_S("error", err.text));
    if (r->gate.plan.digest && weirp_gate_tick(&r->gate, weirp_unix_ms())) {
        show(r);
        tell(r);
        due = true;
    }
    due |= r->unsaved;
    if (r->counted) show(r);
    if (due) weirp_learner_save_due(learner);
    return due;
}

/* Of a process that has joined: its rollout isn't the one that runs. While configurations are being changed everywhere
 * that is nothing to speak of. */
static void look_whether_apart(weirp_rollout *r) {
    const uint64_t now = weirp_monotonic_ns();
    pthread_mutex_lock(&r->mutex);
    const uint64_t wanted = r->wanted.digest;
    char name[WEIRP_GATE_NAME];
    memcpy(name, r->wanted.name, sizeof name);
    pthread_mutex_unlock(&r->mutex);
    if (!wanted || wanted == r->gate.plan.digest) {
        r->apart_ns = r->told_apart = 0;
        return;
    }
    if (!r->apart_ns) r->apart_ns = now;
    if (now < r->apart_ns + APART_NS || r->told_apart == wanted) return;
    r->told_apart = wanted;
    WEIRP_LOG(r->log, WEIRP_LOG_WARN,
              "the process that has the store has another rollout, or none: this one's decides nothing",
              WEIRP_S("rollout", name), WEIRP_S("running", r->gate.plan.name));
}

weir_status weirp_rollout_follow(weirp_rollout *r, weirp_store *store, weir_error *err) {
    if (!r) return WEIR_OK;
    weir_status st = load(r, store, &r->gate, err);
    if (st == WEIR_OK) show(r);
    if (st == WEIR_OK) look_whether_apart(r);
    return st;
}

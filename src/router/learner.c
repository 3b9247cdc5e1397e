/* learner.c: the store's one writer. Outcomes change the state in memory and wait, encoded, for the next commit; a
 * commit appends them to the log in one durable transaction. Every so often it also writes what the log would have to
 * be replayed for, so that a reader has little to replay: the state itself (a checkpoint) where quality was learned;
 * where only tokens, costs and latency were, the few numbers of theirs that change (a light checkpoint).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/price/price.h"
#include "src/router/learner.h"
#include "src/router/session.h"

#define DEFAULT_GROUP 64
/* Bounds on what a reader has to replay: records of quality at some 30 us each, records of costs at some 3 us, and
 * records that only have to be passed over, because a light checkpoint has them, at some 0.2 us. */
#define CHECKPOINT_EVERY 1024
#define LIGHT_EVERY      1024
#define PASS_OVER_MOST   65536
/* Bytes of memory for waiting records that are kept between commits. */
#define PENDING_KEPT (1u << 20)

/* ---- opening ---- */

/* Once memory has run out in the middle of a change, estimators may disagree on how many models there are. */
static weir_status usable(const weir_learner *l, weir_error *err) {
    if (!l->broken) return WEIR_OK;
    return weirp_fail(err, WEIR_NOMEM, 0, "memory ran out while a model was added: close and open the store again");
}

static weir_status begin(weir_learner *l, weir_error *err) {
    weir_pool empty = {0};
    weir_status st = weirp_state_cold(&l->state, l->options.pool ? l->options.pool : &empty, err);
    return st == WEIR_OK ? weirp_state_commit(l->state, l->store, NULL, 0, err) : st;
}

static weir_status load(weir_learner *l, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weir_status st = weirp_snapshot_begin(&snapshot, l->store, err);
    if (st != WEIR_OK) return st;
    /* whoever made it may have been killed before there was anything to put in */
    bool empty = weirp_snapshot_version(snapshot) == 0;
    if (!empty || !l->options.create) st = weirp_state_load(&l->state, snapshot, err);
    weirp_snapshot_end(snapshot);
    return empty && st == WEIR_OK ? begin(l, err) : st;
}

weir_status weir_learner_open(weir_learner **out, const char *path, const weir_learn_options *options,
                              weir_error *err) {
    weir_learner *l = weirp_array(1, sizeof *l);
    if (!l) return weirp_nomem(err);
    weir_status st;
    if (options) l->options = *options;
    if (!l->options.group_commit) l->options.group_commit = DEFAULT_GROUP;
    weirp_store_mode mode = l->options.create ? WEIRP_STORE_CREATE : WEIRP_STORE_WRITE;
    WEIRP_TRY(weirp_store_open(&l->store, path, mode, err));
    if (!l->options.lazy) WEIRP_TRY(weirp_learner_ready(l, err));
done:
    if (st != WEIR_OK) {
        weirp_store_close(l->store);
        free(l);
        return st;
    }
    *out = l;
    return WEIR_OK;
}

weir_status weirp_learner_ready(weir_learner *l, weir_error *err) {
    if (l->state) return usable(l, err);
    weir_status st = load(l, err);
    if (st == WEIR_OK) st = weirp_workspace_init(&l->workspace, l->state, err);
    if (st != WEIR_OK) {
        weirp_state_free(l->state);
        l->state = NULL;
    }
    weirp_store_forget(l->store); /* what was read is in memory now */
    return st;
}

/* ---- models ---- */

size_t weir_learner_n_models(const weir_learner *learner) {
    return learner->state ? weirp_state_n_models(learner->state) : 0;
}

const char *weir_learner_model(const weir_learner *learner, size_t index) {
    return index < weir_learner_n_models(learner) ? learner->state->pool->models[index].name : NULL;
}

weir_status weir_learner_model_index(weir_learner *learner, const char *name, size_t *index, weir_error *err) {
    weir_status st = learner->state ? WEIR_OK : weirp_learner_ready(learner, err);
    if (st != WEIR_OK) return st;
    *index = weir_pool_find(learner->state->pool, name);
    if (*index != (size_t)-1) return WEIR_OK;
    weir_model model = weir_model_defaults();
    model.name = (char *)name;
    weirp_workspace grown;
    st = usable(learner, err);
    if (st != WEIR_OK) return st;
    st = weirp_state_add_model(learner->state, &model, err);
    if (st == WEIR_OK) st = weirp_workspace_init(&grown, learner->state, err);
    if (st != WEIR_OK) {
        learner->broken = st == WEIR_NOMEM;
        return st;
    }
    weirp_workspace_clear(&learner->workspace);
    learner->workspace = grown;
    learner->decided = false;
    learner->checkpoint_due = true;
    *index = weir_learner_n_models(learner) - 1;
    return WEIR_OK;
}

/* ---- deciding and observing ---- */

weir_status weir_learner_decide(weir_learner *learner, const char *prompt, size_t prompt_len,
                                const weir_policy_options *options, const weir_decision **out,
                                const weir_estimates **estimates, weir_error *err) {
    weirp_workspace *w = &learner->workspace;
    learner->decided = false;
    weir_status st = weirp_learner_ready(learner, err);
    if (st != WEIR_OK) return st;
    weirp_workspace_estimate(w, prompt, prompt_len);
    st = weirp_workspace_decide(w, options, err);
    if (st != WEIR_OK) return st;
    learner->decided = true;
    *out = &w->decision;
    if (estimates) *estimates = &w->estimates;
    return WEIR_OK;
}

void weirp_learner_drift(void *user, size_t model, const weirp_alarm *alarm) {
    weir_learner *l = user;
    if (!weirp_reserve((void **)&l->drift, &l->drift_capacity, l->n_drifts + 1, sizeof *l->drift)) {
        l->out_of_memory = true;
        return;
    }
    l->drift[l->n_drifts++] = (weir_drift){l->n_seen, model, alarm->before, alarm->after};
}

static weir_status check_outcomes(const weir_learner *l, size_t n, const size_t *models, const weir_outcome *o,
                                  weir_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (models[i] >= weir_learner_n_models(l))
            return weirp_fail(err, WEIR_INVALID, 0, "outcome %zu: no model number %zu", i, models[i]);
        if (o[i].quality < 0 || o[i].quality > 1)
            return weirp_fail(err, WEIR_INVALID, 0, "outcome %zu: quality %g is outside [0,1]", i, o[i].quality);
        if (o[i].cost_usd < 0 || o[i].input_tokens < 0 || o[i].output_tokens < 0 || o[i].latency_ms < 0 ||
            isinf(o[i].cost_usd) || isinf(o[i].input_tokens) || isinf(o[i].output_tokens) || isinf(o[i].latency_ms))
            return weirp_fail(err, WEIR_INVALID, 0, "outcome %zu: a cost, count or time is negative or infinite", i);
    }
    return WEIR_OK;
}

weir_status weir_learner_observe(weir_learner *learner, const char *id, size_t n, const size_t *models,
                                 const weir_outcome *outcomes, weir_error *err) {
    weirp_pending *p = &learner->pending;
    if (!learner->decided)
        return weirp_fail(err, WEIR_INVALID, 0, "nothing was decided that these outcomes could belong to");
    weir_status st = check_outcomes(learner, n, models, outcomes, err);
    if (st != WEIR_OK) return st;
    st = weirp_pending_reserve(p, 0, err);
    if (st != WEIR_OK) return st;
    size_t at = p->bytes.size;
    weirp_record_learned(&p->bytes, &learner->workspace, id, n, models, outcomes);
    size_t size = p->bytes.size - at;
    p->bytes.size = at; /* not there until it has been learned */
    if (p->bytes.failed) {
        p->bytes.failed = false; /* what was there before is as it was */
        return weirp_nomem(err);
    }
    learner->n_seen++;
    st = weirp_learn(learner->state, &learner->workspace, n, models, outcomes, WEIRP_LEARN_ALL, weirp_learner_drift,
                     learner, err);
    learner->decided = false;
    if (st == WEIR_OK && learner->out_of_memory) st = weirp_nomem(err);
    if (st != WEIR_OK) return st;
    p->bytes.size = at + size;
    p->record[p->n++] = (struct weirp_pending_record){at, size, 0, false};
    return weirp_learner_added(learner, err);
}

weir_status weirp_learner_added(weir_learner *l, weir_error *err) {
    return l->pending.n >= l->options.group_commit ? weir_learner_commit(l, err) : WEIR_OK;
}

/* ---- what waits ---- */

weir_status weirp_pending_reserve(weirp_pending *p, size_t size, weir_error *err) {
    if (size > SIZE_MAX - p->bytes.size ||
        !weirp_reserve((void **)&p->record, &p->capacity, p->n + 1, sizeof *p->record) ||
        !weirp_reserve((void **)&p->bytes.data, &p->bytes.capacity, p->bytes.size + size, 1))
        return weirp_nomem(err);
    return WEIR_OK;
}

void weirp_pending_add(weirp_pending *p, const uint8_t *data, size_t size, uint64_t number, bool follows) {
    p->record[p->n++] = (struct weirp_pending_record){p->bytes.size, size, number, follows};
    weirp_put(&p->bytes, data, size);
}

/* ---- committing ---- */

typedef enum extent { LOG_ONLY, LIGHT, FULL } extent;

/* What goes into the table beside the records; may be called more than once. */
static weir_status beside(void *user, weirp_txn *txn, weir_error *err) {
    const weir_learner *l = user;
    weir_status st = l->beside ? l->beside(l->beside_user, txn, err) : WEIR_OK;
    return st == WEIR_OK && l->save_due ? l->save(l->watch_user, txn, err) : st;
}

static bool has_work(const weir_learner *l) {
    return l->beside || l->save_due;
}

/* What the next commit writes beside the records. */
static extent due(const weir_learner *l) {
    const weirp_state *s = l->state;
    uint64_t end = s->n_logged + l->pending.n;
    bool full = l->checkpoint_due || s->n_taught >= CHECKPOINT_EVERY ||
                (s->n_taught && end >= s->checkpoint_log + PASS_OVER_MOST);
    if (full && !l->broken) return FULL;
    return s->n_served >= LIGHT_EVERY && !l->broken ? LIGHT : LOG_ONLY;
}

static weir_status commit_full(weir_learner *l, const weirp_change *changes, size_t n, weir_error *err) {
    weirp_state *s = l->state;
    uint64_t quality = s->checkpoint_log, costs = s->costs_log;
    s->checkpoint_log = s->costs_log = s->n_logged + l->pending.n;
    weir_status st = weirp_state_transact(s, l->store, changes, n, has_work(l) ? beside : NULL, l, err);
    if (st != WEIR_OK) {
        s->checkpoint_log = quality;
        s->costs_log = costs;
        return st;
    }
    s->n_taught = s->n_served = 0;
    l->checkpoint_due = false;
    return WEIR_OK;
}

/* `changes` has room for one more. */
static weir_status commit_light(weir_learner *l, weirp_change *changes, size_t n, weir_error *err) {
    weirp_state *s = l->state;
    weirp_writer levels = {0};
    uint64_t end = s->n_logged + l->pending.n, quality = s->n_taught ? s->checkpoint_log : end;
    weirp_state_save_levels(s, quality, end, &levels);
    weir_status st = levels.failed ? weirp_nomem(err) : WEIR_OK;
    changes[n] =
        (weirp_change){.kind = WEIRP_PUT, .section = WEIRP_LEVELS_SECTION, .data = levels.data, .size = levels.size};
    if (st == WEIR_OK) st = weirp_store_transact(l->store, changes, n + 1, has_work(l) ? beside : NULL, l, err);
    weirp_writer_free(&levels);
    if (st != WEIR_OK) return st;
    s->checkpoint_log = quality;
    s->costs_log = end;
    s->n_served = 0;
    return WEIR_OK;
}

static weir_status commit(weir_learner *l, extent what, weir_error *err) {
    weirp_pending *p = &l->pending;
    weirp_change *changes = weirp_array(p->n + 1, sizeof *changes);
    if (!changes) return weirp_nomem(err);
    for (size_t i = 0; i < p->n; i++)
        changes[i] = (weirp_change){.kind = WEIRP_APPEND_LOG,
                                    .data = p->bytes.data + p->record[i].at,
                                    .size = p->record[i].size,
                                    .number = p->record[i].number,
                                    .follows = p->record[i].follows};
    weir_status st = what == FULL ? commit_full(l, changes, p->n, err)
                     : what == LIGHT
                         ? commit_light(l, changes, p->n, err)
                         : weirp_store_transact(l->store, changes, p->n, has_work(l) ? beside : NULL, l, err);
    free(changes);
    if (st != WEIR_OK) return st;
    l->beside = NULL;
    l->save_due = false;
    l->state->n_logged += p->n;
    l->state->store_version += p->n || what != LOG_ONLY; /* the table alone doesn't count */
    l->n_durable += p->n;
    p->n = 0;
    p->bytes.size = 0;
    if (p->bytes.capacity > PENDING_KEPT) weirp_writer_free(&p->bytes);
    return WEIR_OK;
}

weir_status weir_learner_commit(weir_learner *learner, weir_error *err) {
    if (!learner->state && !learner->save_due) return WEIR_OK;
    weir_status st = learner->state ? WEIR_OK : weirp_learner_ready(learner, err);
    if (st != WEIR_OK) return st;
    if (learner->broken && learner->checkpoint_due) return usable(learner, err); /* the log alone can't tell */
    extent what = due(learner);
    if (what == LOG_ONLY && !learner->pending.n && !has_work(learner)) return WEIR_OK;
    return commit(learner, what, err);
}

/* So that whoever opens the store next has nothing to replay. */
static weir_status last_commit(weir_learner *l, weir_error *err) {
    const weirp_state *s = l->state;
    if (!s) return WEIR_OK;
    if (l->broken) return l->pending.n ? weir_learner_commit(l, err) : WEIR_OK;
    if (l->checkpoint_due || s->n_taught) return commit(l, FULL, err);
    bool behind = s->checkpoint_log != s->n_logged || s->costs_log != s->n_logged;
    return l->pending.n || behind ? commit(l, LIGHT, err) : WEIR_OK;
}

void weirp_learner_beside(weir_learner *learner, weirp_table_work work, void *user) {
    learner->beside = work;
    learner->beside_user = user;
}

void weirp_learner_watch(weir_learner *learner, weirp_watch watch, weirp_table_work save, void *user) {
    learner->watch = watch;
    learner->save = save;
    learner->watch_user = user;
}

void weirp_learner_save_due(weir_learner *learner) {
    learner->save_due = learner->save != NULL;
}

bool weirp_learner_saves(const weir_learner *learner) {
    return learner->save_due;
}

bool weirp_learner_has_beside(const weir_learner *learner) {
    return learner->beside != NULL;
}

weirp_store *weirp_learner_store(const weir_learner *learner) {
    return learner->store;
}

weir_status weirp_learner_set_pool(weir_learner *learner, const weir_pool *pool, weir_error *err) {
    weir_status st = weirp_learner_ready(learner, err);
    if (st == WEIR_OK) st = last_commit(learner, err);
    if (st == WEIR_OK) st = weirp_store_set_pool(learner->store, pool, false, err);
    if (st != WEIR_OK) return st;
    learner->decided = false;
    weirp_workspace_clear(&learner->workspace);
    weirp_state_free(learner->state);
    learner->state = NULL; /* it is read again */
    return weirp_learner_ready(learner, err);
}

uint64_t weir_learner_n_durable(const weir_learner *learner) {
    return learner->n_durable;
}

size_t weir_learner_drifts(const weir_learner *learner, const weir_drift **out) {
    *out = learner->drift;
    return learner->n_drifts;
}

weir_status weir_learner_close(weir_learner *learner, weir_error *err) {
    if (!learner) return WEIR_OK;
    weir_status st = last_commit(learner, err);
    weirp_writer_free(&learner->pending.bytes);
    free(learner->pending.record);
    weirp_log_record_free(&learner->record);
    free(learner->drift);
    weirp_workspace_clear(&learner->workspace);
    weirp_state_free(learner->state);
    weirp_store_close(learner->store);
    free(learner);
    return st;
}

/* ---- asking ---- */

weir_status weirp_learner_router(const weir_learner *learner, weir_router **out, weir_error *err) {
    weirp_state *copy = NULL;
    /* loading a lazy learner's state changes nothing that a caller can see */
    weir_status st = weirp_learner_ready((weir_learner *)learner, err);
    if (st == WEIR_OK) st = weirp_state_copy(&copy, learner->state, err);
    return st == WEIR_OK ? weirp_router_new(out, copy, err) : st;
}

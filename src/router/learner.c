/* learner.c: the store's one writer. Outcomes change the state in memory and wait, encoded, for the next commit; a
 * commit appends them to the log in one durable transaction. Every so often it also writes the state itself (a
 * checkpoint), so that a reader has little to replay. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/price/price.h"
#include "src/router/learn.h"

#define DEFAULT_GROUP 64
/* Log records between checkpoints: at some 30 us a record, a reader replays them in about 30 ms at most. */
#define CHECKPOINT_EVERY 1024

typedef struct pending {
    size_t n, capacity;
    weirp_writer *record; /* (n) */
} pending;

struct weir_learner {
    weirp_store *store;
    weirp_state *state;
    weirp_workspace workspace;
    weir_learn_options options;
    pending pending;
    bool decided;        /* the workspace holds a prompt to learn from */
    bool checkpoint_due; /* the pool has changed: the log alone can't tell */
    uint64_t n_durable;  /* feedbacks of this handle on disk */
    uint64_t n_seen;
    size_t n_drifts, drift_capacity;
    weir_drift *drift;
    bool out_of_memory; /* a drift alarm could not be kept */
    bool broken;        /* the pool was caught half-grown: what is here must never become a checkpoint */
};

/* ---- opening ---- */

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
    WEIRP_TRY(load(l, err));
    WEIRP_TRY(weirp_workspace_init(&l->workspace, l->state, err));
done:
    if (st != WEIR_OK) {
        weirp_state_free(l->state);
        weirp_store_close(l->store);
        free(l);
        return st;
    }
    *out = l;
    return WEIR_OK;
}

/* ---- models ---- */

size_t weir_learner_n_models(const weir_learner *learner) {
    return weirp_state_n_models(learner->state);
}

const char *weir_learner_model(const weir_learner *learner, size_t index) {
    return index < weir_learner_n_models(learner) ? learner->state->pool->models[index].name : NULL;
}

/* Once memory has run out in the middle of a change, estimators may disagree on how many models there are. */
static weir_status usable(const weir_learner *l, weir_error *err) {
    if (!l->broken) return WEIR_OK;
    return weirp_fail(err, WEIR_NOMEM, 0, "memory ran out while a model was added: close and open the store again");
}

weir_status weir_learner_model_index(weir_learner *learner, const char *name, size_t *index, weir_error *err) {
    *index = weir_pool_find(learner->state->pool, name);
    if (*index != (size_t)-1) return WEIR_OK;
    weir_model model = weir_model_defaults();
    model.name = (char *)name;
    weirp_workspace grown;
    weir_status st = usable(learner, err);
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
    weir_status st = usable(learner, err);
    if (st != WEIR_OK) return st;
    weirp_workspace_estimate(w, prompt, prompt_len);
    st = weirp_workspace_decide(w, options, err);
    if (st != WEIR_OK) return st;
    learner->decided = true;
    *out = &w->decision;
    if (estimates) *estimates = &w->estimates;
    return WEIR_OK;
}

static void note_drift(void *user, size_t model, const weirp_alarm *alarm) {
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
    pending *p = &learner->pending;
    if (!learner->decided)
        return weirp_fail(err, WEIR_INVALID, 0, "nothing was decided that these outcomes could belong to");
    weir_status st = check_outcomes(learner, n, models, outcomes, err);
    if (st != WEIR_OK) return st;
    if (!weirp_reserve((void **)&p->record, &p->capacity, p->n + 1, sizeof *p->record)) return weirp_nomem(err);
    weirp_writer record = {0};
    weirp_log_encode(&record, &learner->workspace, id, n, models, outcomes);
    if (record.failed) {
        weirp_writer_free(&record);
        return weirp_nomem(err);
    }
    learner->n_seen++;
    st = weirp_learn(learner->state, &learner->workspace, n, models, outcomes, note_drift, learner, err);
    learner->decided = false;
    if (st == WEIR_OK && learner->out_of_memory) st = weirp_nomem(err);
    if (st != WEIR_OK) {
        weirp_writer_free(&record);
        return st;
    }
    p->record[p->n++] = record;
    return p->n >= learner->options.group_commit ? weir_learner_commit(learner, err) : WEIR_OK;
}

/* ---- committing ---- */

static weir_status commit(weir_learner *l, bool checkpoint, weir_error *err) {
    pending *p = &l->pending;
    weirp_change *changes = weirp_array(p->n, sizeof *changes);
    if (!changes) return weirp_nomem(err);
    for (size_t i = 0; i < p->n; i++)
        changes[i] = (weirp_change){.kind = WEIRP_APPEND_LOG, .data = p->record[i].data, .size = p->record[i].size};
    weir_status st;
    if (checkpoint) {
        uint64_t before = l->state->checkpoint_log;
        l->state->checkpoint_log = l->state->n_logged + p->n;
        st = weirp_state_commit(l->state, l->store, changes, p->n, err);
        if (st != WEIR_OK) l->state->checkpoint_log = before;
    } else {
        st = weirp_store_commit(l->store, changes, p->n, err);
    }
    free(changes);
    if (st != WEIR_OK) return st;
    l->state->n_logged += p->n;
    l->n_durable += p->n;
    for (size_t i = 0; i < p->n; i++) weirp_writer_free(&p->record[i]);
    p->n = 0;
    if (checkpoint) l->checkpoint_due = false;
    return WEIR_OK;
}

weir_status weir_learner_commit(weir_learner *learner, weir_error *err) {
    const weirp_state *s = learner->state;
    if (learner->broken && learner->checkpoint_due) return usable(learner, err); /* the log alone can't tell */
    bool due = learner->checkpoint_due || s->n_logged + learner->pending.n >= s->checkpoint_log + CHECKPOINT_EVERY;
    bool checkpoint = due && !learner->broken;
    if (!checkpoint && !learner->pending.n) return WEIR_OK;
    return commit(learner, checkpoint, err);
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
    bool changed =
        learner->checkpoint_due || learner->pending.n || learner->state->checkpoint_log != learner->state->n_logged;
    weir_status st = WEIR_OK;
    if (learner->broken)
        st = learner->pending.n ? weir_learner_commit(learner, err) : WEIR_OK;
    else if (changed)
        st = commit(learner, true, err);
    for (size_t i = 0; i < learner->pending.n; i++) weirp_writer_free(&learner->pending.record[i]);
    free(learner->pending.record);
    free(learner->drift);
    weirp_workspace_clear(&learner->workspace);
    weirp_state_free(learner->state);
    weirp_store_close(learner->store);
    free(learner);
    return st;
}

/* learn.c: outcomes into a state. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/costs.h"
#include "src/router/quality.h"

#define RECORD_VERSION 1u
/* Caps on what a record may claim, so that a damaged one asks for no memory it can't fill. */
#define MAX_DIM 65536u

/* ---- records ---- */

void weirp_log_encode(weirp_writer *w, const weirp_workspace *from, const char *id, size_t n, const size_t *models,
                      const weir_outcome *outcomes) {
    size_t n_models = from->estimates.n_models;
    weirp_put_u32(w, RECORD_VERSION);
    weirp_put_u64(w, (uint64_t)weirp_unix_ms());
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
    weirp_put_u32(w, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        weirp_put_u32(w, (uint32_t)models[i]);
        weirp_put(w, &outcomes[i], sizeof outcomes[i]);
    }
}

weir_status weirp_log_decode(weirp_log_record *record, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {data, size, 0, false};
    memset(record, 0, sizeof *record);
    uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > RECORD_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "a log record is version %u; this weir reads up to %u: update weir",
                          version, RECORD_VERSION);
    record->time_ms = (int64_t)weirp_get_u64(&r);
    record->id = weirp_get_text(&r);
    record->n_models = weirp_get_u32(&r);
    record->model = weirp_get_u32(&r);
    record->rule = weirp_get_u32(&r);
    record->reason = weirp_get_u32(&r);
    if (!r.failed && record->n_models <= WEIR_MAX_MODELS && record->model < record->n_models) {
        record->propensity = weirp_get_f64s(&r, record->n_models);
        record->quality = weirp_get_f64s(&r, record->n_models);
        record->cost = weirp_get_f64s(&r, record->n_models);
        record->dim = weirp_get_u32(&r);
        if (record->dim <= MAX_DIM) record->dense = weirp_get_f32s(&r, record->dim);
        record->approximate_tokens = weirp_get_f64(&r);
        record->n_outcomes = weirp_get_u32(&r);
    }
    if (!r.failed && record->dense && record->n_outcomes <= record->n_models) {
        record->outcome_model = weirp_array(record->n_outcomes, sizeof *record->outcome_model);
        record->outcome = weirp_array(record->n_outcomes, sizeof *record->outcome);
        for (size_t i = 0; record->outcome_model && record->outcome && i < record->n_outcomes; i++) {
            record->outcome_model[i] = weirp_get_u32(&r);
            weirp_get(&r, &record->outcome[i], sizeof record->outcome[i]);
            if (record->outcome_model[i] >= record->n_models) r.failed = true;
        }
    }
    if (r.failed || !record->outcome_model || !record->outcome) {
        bool out_of_memory = r.out_of_memory || (!r.failed && record->n_outcomes <= record->n_models);
        weirp_log_record_free(record);
        if (out_of_memory) return weirp_nomem(err);
        return weirp_fail(err, WEIR_CORRUPT, 0, "a log record is damaged");
    }
    return WEIR_OK;
}

void weirp_log_record_free(weirp_log_record *record) {
    free(record->id);
    free(record->propensity);
    free(record->quality);
    free(record->cost);
    free(record->dense);
    free(record->outcome_model);
    free(record->outcome);
    memset(record, 0, sizeof *record);
}

/* ---- learning ---- */

weir_status weirp_learn(weirp_state *s, weirp_workspace *w, size_t n, const size_t *models,
                        const weir_outcome *outcomes, weirp_drift_fn drift, void *user, weir_error *err) {
    weir_status st = WEIR_OK;
    /* corrections first: they are residuals to what was predicted before the estimators learned */
    for (size_t i = 0; i < n; i++) {
        if (isnan(outcomes[i].quality)) continue;
        weirp_alarm alarm;
        weirp_adaptive_update(s->adaptive, w->features.dense, models[i], w->prior[models[i]], outcomes[i].quality,
                              &alarm);
        if (alarm.raised && drift) drift(user, models[i], &alarm);
    }
    weirp_adaptive_tick(s->adaptive, w->features.dense);
    for (size_t i = 0; i < n; i++) {
        if (!isnan(outcomes[i].quality))
            WEIRP_TRY(weirp_quality_update(&s->quality, &w->features, models[i], outcomes[i].quality, err));
        weirp_costs_update(&s->costs, s->pool, &w->features, models[i], &outcomes[i], w->scratch, w->tmp);
    }
    s->n_feedbacks++;
    WEIRP_TRY(weirp_workspace_refresh(w, err));
done:
    return st;
}

/* ---- replaying ---- */

typedef struct replay {
    weirp_state *state;
    weirp_workspace workspace;
} replay;

static weir_status replay_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    replay *r = user;
    weirp_log_record record;
    weir_status st = weirp_log_decode(&record, data, size, err);
    if (st != WEIR_OK) return st;
    size_t *models = weirp_array(record.n_outcomes, sizeof *models);
    if (!models)
        st = weirp_nomem(err);
    else if (record.n_models != weirp_state_n_models(r->state) ||
             record.dim != weirp_featurizer_dim(r->state->featurizer))
        st = weirp_fail(err, WEIR_CORRUPT, 0, "log record %llu doesn't fit the pool", (unsigned long long)number);
    if (st == WEIR_OK) {
        for (size_t i = 0; i < record.n_outcomes; i++) models[i] = record.outcome_model[i];
        r->workspace.features =
            (weirp_features){.dim = record.dim, .dense = record.dense, .approximate_tokens = record.approximate_tokens};
        weirp_workspace_prior(&r->workspace);
        st = weirp_learn(r->state, &r->workspace, record.n_outcomes, models, record.outcome, NULL, NULL, err);
    }
    free(models);
    weirp_log_record_free(&record);
    return st;
}

weir_status weirp_learn_replay(weirp_state *s, weirp_snapshot *snapshot, weir_error *err) {
    uint64_t n_log = weirp_snapshot_n_log(snapshot);
    if (s->checkpoint_log > n_log) return weirp_fail(err, WEIR_CORRUPT, 0, "the log is shorter than the state says");
    if (s->checkpoint_log == n_log) return WEIR_OK;
    replay r = {.state = s};
    weir_status st = weirp_workspace_init(&r.workspace, s, err);
    if (st == WEIR_OK) st = weirp_snapshot_log(snapshot, s->checkpoint_log, replay_record, &r, err);
    weirp_workspace_clear(&r.workspace);
    return st;
}

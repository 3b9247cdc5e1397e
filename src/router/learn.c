/* learn.c: outcomes into a state. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/costs.h"
#include "src/router/quality.h"

/* ---- learning ---- */

static weir_status learn_quality(weirp_state *s, weirp_workspace *w, size_t n, const size_t *models,
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
    }
    s->n_feedbacks++;
    s->n_taught++;
done:
    return st;
}

weir_status weirp_learn(weirp_state *s, weirp_workspace *w, size_t n, const size_t *models,
                        const weir_outcome *outcomes, unsigned what, weirp_drift_fn drift, void *user,
                        weir_error *err) {
    weir_status st = WEIR_OK;
    if (what & WEIRP_LEARN_QUALITY) WEIRP_TRY(learn_quality(s, w, n, models, outcomes, drift, user, err));
    for (size_t i = 0; (what & WEIRP_LEARN_COSTS) && i < n; i++)
        weirp_costs_update(&s->costs, s->pool, &w->features, models[i], &outcomes[i], w->scratch, w->tmp);
    if (what & WEIRP_LEARN_QUALITY) WEIRP_TRY(weirp_workspace_refresh(w, err));
done:
    return st;
}

bool weirp_learn_fits(const weirp_state *s, const weirp_log_record *record) {
    return record->dim == weirp_featurizer_dim(s->featurizer) && record->n_models <= weirp_state_n_models(s) &&
           record->features_version >= s->trained_version;
}

static void set_features(weirp_workspace *w, const weirp_log_record *record) {
    w->features =
        (weirp_features){.dim = record->dim, .dense = record->dense, .approximate_tokens = record->approximate_tokens};
}

/* The last try of the model that answered: its cost and its time are the model's, those of the whole may be others',
 * too. */
static const weirp_attempt *answering_attempt(const weirp_served *served) {
    for (size_t i = served->n_attempts; i-- > 0;)
        if (served->attempt[i].model == served->model) return &served->attempt[i];
    return NULL;
}

static bool is_telling(const weirp_served *s) {
    return s->model != (size_t)-1 && s->usage.known && !s->usage.estimated && s->status >= 200 && s->status < 300 &&
           !s->client_gone;
}

/* A cost, count or time that can be learned from, else NAN. */
static double usable(double v) {
    return isfinite(v) && v >= 0 ? v : NAN;
}

void weirp_learn_served(weirp_state *s, weirp_workspace *w, const weirp_log_record *record) {
    const weirp_served *served = &record->served;
    s->n_served++;
    if (!is_telling(served) || !weirp_learn_fits(s, record)) return;
    const weirp_attempt *own = answering_attempt(served);
    double cost = own ? own->cost_usd : NAN;
    if (isnan(cost) && served->n_attempts <= 1) cost = served->cost_usd;
    weir_outcome seen = {.quality = NAN,
                         .cost_usd = usable(cost),
                         .input_tokens = (double)served->usage.input_tokens,
                         .output_tokens = (double)served->usage.output_tokens,
                         .latency_ms = usable(own ? (double)own->ms : served->latency_ms)};
    set_features(w, record);
    weirp_costs_update(&s->costs, s->pool, &w->features, served->model, &seen, w->scratch, w->tmp);
}

weir_status weirp_learn_feedback(weirp_state *s, weirp_workspace *w, const weirp_log_record *record,
                                 weirp_drift_fn drift, void *user, weir_error *err) {
    weir_outcome label = {record->label, NAN, NAN, NAN, NAN};
    set_features(w, record);
    weirp_workspace_prior(w);
    return weirp_learn(s, w, 1, &record->label_model, &label, WEIRP_LEARN_QUALITY, drift, user, err);
}

/* ---- replaying ---- */

typedef struct replay {
    weirp_state *state;
    weirp_workspace workspace;
    weirp_log_record record;
    uint64_t quality_from, costs_from; /* what the state holds already lies before */
} replay;

static weir_status doesnt_fit(uint64_t number, weir_error *err) {
    return weirp_fail(err, WEIR_CORRUPT, 0, "log record %llu doesn't fit the pool", (unsigned long long)number);
}

static weir_status replay_learned(replay *r, unsigned what, uint64_t number, weir_error *err) {
    const weirp_log_record *record = &r->record;
    if (record->n_models != weirp_state_n_models(r->state) || record->dim != weirp_featurizer_dim(r->state->featurizer))
        return doesnt_fit(number, err);
    set_features(&r->workspace, record);
    if (what & WEIRP_LEARN_QUALITY) weirp_workspace_prior(&r->workspace);
    return weirp_learn(r->state, &r->workspace, record->n_outcomes, record->outcome_model, record->outcome, what, NULL,
                       NULL, err);
}

static weir_status replay_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    replay *r = user;
    unsigned what =
        (number >= r->quality_from ? WEIRP_LEARN_QUALITY : 0) | (number >= r->costs_from ? WEIRP_LEARN_COSTS : 0);
    weirp_kind_of_record kind = weirp_log_kind(data, size);
    if ((kind == WEIRP_RECORD_SERVED && !(what & WEIRP_LEARN_COSTS)) ||
        (kind == WEIRP_RECORD_FEEDBACK && !(what & WEIRP_LEARN_QUALITY)))
        return WEIR_OK;
    weir_status st = weirp_log_decode(&r->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (kind == WEIRP_RECORD_LEARNED) return replay_learned(r, what, number, err);
    if (kind == WEIRP_RECORD_SERVED) {
        weirp_learn_served(r->state, &r->workspace, &r->record);
        return WEIR_OK;
    }
    if (r->record.stale) return WEIR_OK;
    if (!weirp_learn_fits(r->state, &r->record) || r->record.label_model >= weirp_state_n_models(r->state))
        return doesnt_fit(number, err);
    return weirp_learn_feedback(r->state, &r->workspace, &r->record, NULL, NULL, err);
}

weir_status weirp_learn_replay(weirp_state *s, weirp_snapshot *snapshot, weir_error *err) {
    uint64_t n_log = weirp_snapshot_n_log(snapshot);
    replay r = {.state = s, .quality_from = s->checkpoint_log, .costs_from = s->costs_log};
    uint64_t from = r.quality_from < r.costs_from ? r.quality_from : r.costs_from;
    if (s->checkpoint_log > n_log || s->costs_log > n_log)
        return weirp_fail(err, WEIR_CORRUPT, 0, "the log is shorter than the state says");
    if (from == n_log) return WEIR_OK;
    if (from < weirp_snapshot_first_log(snapshot))
        return weirp_fail(err, WEIR_CORRUPT, 0, "the log begins after the state's checkpoint");
    weir_status st = weirp_workspace_init(&r.workspace, s, err);
    if (st == WEIR_OK) st = weirp_snapshot_log(snapshot, from, replay_record, &r, err);
    weirp_workspace_clear(&r.workspace);
    weirp_log_record_free(&r.record);
    return st;
}

/* sla_log.c: how good the answers are thought to be, and what the best single model would have made of the same
 * requests: from the estimates that each decision of the traffic log was made with.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/report/sla.h"
#include "src/router/state.h"

typedef struct reading {
    weirp_sla *s;
    weirp_log_record record;
    uint64_t trained_version;
} reading;

/* ---- decisions that count, by the hash of their ids ---- */

static uint64_t hash_of(const char *id) {
    uint64_t hash = XXH3_64bits(id, strlen(id));
    return hash ? hash : 1;
}

static uint64_t *slot_of(const weirp_sla *s, uint64_t hash) {
    size_t at = (size_t)(hash & (s->n_slots - 1));
    while (s->ids[at] && s->ids[at] != hash) at = (at + 1) & (s->n_slots - 1);
    return &s->ids[at];
}

static bool remember(weirp_sla *s, uint64_t hash) {
    if (2 * (s->n_ids + 1) > s->n_slots) {
        uint64_t *old = s->ids;
        size_t n = s->n_slots;
        uint64_t *made = weirp_array(n ? 2 * n : 1024, sizeof *made);
        if (!made) return false;
        s->ids = made;
        s->n_slots = n ? 2 * n : 1024;
        for (size_t i = 0; i < n; i++)
            if (old[i]) *slot_of(s, old[i]) = old[i];
        free(old);
    }
    uint64_t *slot = slot_of(s, hash);
    s->n_ids += !*slot;
    *slot = hash;
    return true;
}

/* ---- records ---- */

static bool covers(const weirp_sla *s, const weirp_served *v, bool named, size_t model) {
    weirp_budget anything = s->budget;
    weirp_subject who = {{NULL}};
    if (!s->has_budget) return true;
    who.value[WEIRP_DIM_KEY] = v->key;
    who.value[WEIRP_DIM_TEAM] = v->team;
    who.value[WEIRP_DIM_USER] = v->user;
    who.value[WEIRP_DIM_TAG] = v->tag;
    if (named && model < s->n_models) who.value[WEIRP_DIM_MODEL] = s->models[model];
    anything.match[WEIRP_DIM_PROVIDER][0] = '\0'; /* the log knows deployments, not their providers */
    return weirp_budget_covers(&anything, &who);
}

/* Each model's estimates beside those of the model that answered. */
static void compare(weirp_sla *s, const weirp_log_record *r, size_t answered) {
    const double quality = r->quality[answered], cost = r->cost[answered];
    if (!isfinite(quality) || !isfinite(cost)) return;
    for (size_t m = 0; m < r->n_models && m < s->n_models; m++) {
        if (!isfinite(r->quality[m]) || !isfinite(r->cost[m])) continue;
        weirp_sla_single *single = &s->single[m];
        single->n++;
        single->cost_usd += r->cost[m];
        single->quality += r->quality[m];
        single->routed_cost_usd += cost;
        single->routed_quality += quality;
    }
}

static weir_status take_served(reading *in, weir_error *err) {
    weirp_sla *s = in->s;
    const weirp_log_record *r = &in->record;
    const weirp_served *v = &r->served;
    const bool named = r->features_version >= in->trained_version;
    const size_t answered = v->model;
    if (r->time_ms < s->from_ms || r->time_ms >= s->to_ms || !covers(s, v, named, answered)) return WEIR_OK;
    s->n_requests++;
    if (!s->has_budget || !v->budget || !strcmp(v->budget, s->budget.name)) s->n_action[v->budget_action]++;
    if (!remember(s, hash_of(r->id))) return weirp_nomem(err);
    if (answered == (size_t)-1) return WEIR_OK;
    s->n_served++;
    if (answered >= r->n_models) return WEIR_OK;
    if (isfinite(r->quality[answered])) {
        s->n_quality++;
        s->quality += r->quality[answered];
    }
    if (named)
        compare(s, r, answered);
    else
        s->n_old++;
    return WEIR_OK;
}

static weir_status take_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    reading *in = user;
    weirp_sla *s = in->s;
    (void)number;
    weirp_kind_of_record kind = weirp_log_kind(data, size);
    if (kind != WEIRP_RECORD_SERVED && kind != WEIRP_RECORD_FEEDBACK) return WEIR_OK;
    weir_status st = weirp_log_decode(&in->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (kind == WEIRP_RECORD_SERVED) return take_served(in, err);
    /* feedback comes after what it is about */
    if (!s->n_slots || !*slot_of(s, hash_of(in->record.id)) || !isfinite(in->record.label)) return WEIR_OK;
    s->n_labels++;
    s->label += in->record.label;
    return WEIR_OK;
}

/* ---- all of it ---- */

static weir_status name_models(weirp_sla *s, reading *in, weir_error *err) {
    weirp_state *state = NULL;
    weir_status st = weirp_state_load(&state, s->view.snapshot, err);
    if (st != WEIR_OK) return st;
    size_t n = weirp_state_n_models(state);
    in->trained_version = state->trained_version;
    s->models = weirp_array(n, sizeof *s->models);
    s->single = weirp_array(n, sizeof *s->single);
    if (!s->models || !s->single) st = weirp_nomem(err);
    for (; st == WEIR_OK && s->n_models < n; s->n_models++) {
        const char *name = state->pool->models[s->n_models].name;
        s->models[s->n_models] = weirp_strndup(name, strlen(name));
        if (!s->models[s->n_models]) st = weirp_nomem(err);
    }
    weirp_state_free(state);
    return st;
}

weir_status weirp_sla_log(weirp_sla *s, weir_error *err) {
    reading in = {.s = s};
    weir_status st;
    if (!weirp_snapshot_n_log(s->view.snapshot)) return WEIR_OK; /* nothing was logged */
    WEIRP_TRY(name_models(s, &in, err));
    st = weirp_snapshot_log(s->view.snapshot, 0, take_record, &in, err);
done:
    weirp_log_record_free(&in.record);
    return st;
}

size_t weirp_sla_best(const weirp_sla *s) {
    size_t best = (size_t)-1;
    uint64_t most = 0;
    for (size_t m = 0; m < s->n_models; m++)
        if (s->single[m].n > most) most = s->single[m].n;
    for (size_t m = 0; most && m < s->n_models; m++) {
        const weirp_sla_single *a = &s->single[m];
        if (2 * a->n < most) continue; /* most requests couldn't have gone there */
        const weirp_sla_single *b = best == (size_t)-1 ? NULL : &s->single[best];
        if (!b || a->quality / (double)a->n > b->quality / (double)b->n) best = m;
    }
    return best;
}

/* feedback.c: what others decided: served requests, and labels that come later.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/router/learner.h"

/* ---- served requests ---- */

weir_status weirp_learner_append(weir_learner *learner, const uint8_t *record, size_t size, weir_error *err) {
    weirp_log_record *r = &learner->record;
    weir_status st = weirp_learner_ready(learner, err);
    if (st == WEIR_OK) st = weirp_log_decode(r, record, size, err);
    if (st == WEIR_OK && r->kind != WEIRP_RECORD_SERVED)
        st = weirp_fail(err, WEIR_INVALID, 0, "a record of kind \"%s\" can't be appended",
                        weirp_record_kind_name(r->kind));
    if (st == WEIR_OK) st = weirp_pending_reserve(&learner->pending, size, err);
    if (st != WEIR_OK) return st;
    /* a decision that waits for its outcomes keeps its features; learning costs leaves everything else alone */
    weirp_features features = learner->workspace.features;
    weirp_learn_served(learner->state, &learner->workspace, r);
    learner->workspace.features = features;
    weirp_pending_add(&learner->pending, record, size, weirp_id_number(r->id));
    return weirp_learner_added(learner, err);
}

/* ---- the same twice ---- */

static size_t slot_of(const weirp_memory *m, uint64_t hash) {
    const size_t mask = 2 * WEIRP_REMEMBERED - 1;
    size_t slot = (size_t)hash & mask;
    while (m->table[slot] && m->ring[m->table[slot] - 1] != hash) slot = (slot + 1) & mask;
    return slot;
}

static bool remembers(const weirp_memory *m, uint64_t hash) {
    return m->ring && m->table[slot_of(m, hash)] != 0;
}

/* Takes the entry at `slot` out; those that were pushed past it move up (Knuth, TAOCP 3, 6.4, algorithm R). */
static void unlink_slot(weirp_memory *m, size_t slot) {
    const size_t mask = 2 * WEIRP_REMEMBERED - 1;
    for (size_t next = (slot + 1) & mask; m->table[next]; next = (next + 1) & mask) {
        size_t home = (size_t)m->ring[m->table[next] - 1] & mask;
        if (((next - home) & mask) < ((next - slot) & mask)) continue; /* it lies between its home and here */
        m->table[slot] = m->table[next];
        slot = next;
    }
    m->table[slot] = 0;
}

static weir_status make_memory(weirp_memory *m, weir_error *err) {
    if (m->ring) return WEIR_OK;
    m->table = weirp_array(2 * WEIRP_REMEMBERED, sizeof *m->table);
    m->ring = m->table ? weirp_array(WEIRP_REMEMBERED, sizeof *m->ring) : NULL;
    if (m->ring) return WEIR_OK;
    free(m->table);
    m->table = NULL;
    return weirp_nomem(err);
}

static void remember(weirp_memory *m, uint64_t hash) {
    if (m->n == WEIRP_REMEMBERED)
        unlink_slot(m, slot_of(m, m->ring[m->next]));
    else
        m->n++;
    size_t slot = slot_of(m, hash);
    m->ring[m->next] = hash;
    m->table[slot] = (uint32_t)m->next + 1;
    m->next = (m->next + 1) % WEIRP_REMEMBERED;
}

static uint64_t hash_of(const char *id, const char *source) {
    return XXH3_64bits_withSeed(source, strnlen(source, 63), XXH3_64bits(id, strlen(id)));
}

/* ---- looking a decision up ---- */

typedef struct lookup {
    const char *id;
    weirp_log_record *record;
} lookup;

static weir_status is_it(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    lookup *l = user;
    (void)number;
    if (weirp_log_kind(data, size) != WEIRP_RECORD_SERVED) return WEIR_NOTFOUND;
    weir_status st = weirp_log_decode(l->record, data, size, err);
    if (st != WEIR_OK) return st;
    return strcmp(l->record->id, l->id) == 0 ? WEIR_OK : WEIR_NOTFOUND;
}

static weir_status find_decision(weir_learner *l, const char *id, weir_error *err) {
    lookup look = {id, &l->record};
    uint64_t number = weirp_id_number(id);
    weir_status st = WEIR_NOTFOUND;
    const weirp_pending *p = &l->pending;
    for (size_t i = p->n; number && st == WEIR_NOTFOUND && i-- > 0;)
        if (p->record[i].number == number)
            st = is_it(&look, 0, p->bytes.data + p->record[i].at, p->record[i].size, err);
    if (number && st == WEIR_NOTFOUND) {
        weirp_snapshot *snapshot = NULL;
        st = weirp_snapshot_begin(&snapshot, l->store, err);
        if (st == WEIR_OK) st = weirp_snapshot_find(snapshot, number, is_it, &look, err);
        weirp_snapshot_end(snapshot);
    }
    return st == WEIR_NOTFOUND ? weirp_fail(err, st, 0, "no decision has the id \"%.64s\"", id) : st;
}

/* ---- feedback ---- */

static weir_status check_feedback(const weir_learner *l, const weirp_feedback *f, weir_error *err) {
    if (!f->id || !f->source || !*f->source)
        return weirp_fail(err, WEIR_INVALID, 0, "feedback needs a decision's id and a source");
    if (!(f->quality >= 0 && f->quality <= 1))
        return weirp_fail(err, WEIR_INVALID, 0, "quality %g is outside [0,1]", f->quality);
    if (remembers(&l->memory, hash_of(f->id, f->source)))
        return weirp_fail(err, WEIR_INVALID, 0, "\"%.63s\" has given feedback on this decision before", f->source);
    return WEIR_OK;
}

static weir_status label_model(const weir_learner *l, const weirp_feedback *f, size_t *model, weir_error *err) {
    *model = f->model ? weir_pool_find(l->state->pool, f->model) : l->record.served.model;
    if (*model < weirp_state_n_models(l->state)) return WEIR_OK;
    if (f->model) return weirp_fail(err, WEIR_INVALID, 0, "the pool has no model \"%.128s\"", f->model);
    return weirp_fail(err, WEIR_INVALID, 0, "nobody answered this request: say which model the feedback is on");
}

weir_status weirp_learner_feedback(weir_learner *learner, const weirp_feedback *feedback, weir_error *err) {
    weirp_log_record *r = &learner->record;
    weirp_writer w = {0};
    size_t model = 0;
    weir_status st;
    WEIRP_TRY(weirp_learner_ready(learner, err));
    WEIRP_TRY(check_feedback(learner, feedback, err));
    WEIRP_TRY(find_decision(learner, feedback->id, err));
    WEIRP_TRY(label_model(learner, feedback, &model, err));
    bool stale = !weirp_learn_fits(learner->state, r);
    weirp_record_feedback(&w, r, model, feedback->quality, feedback->source, stale);
    if (w.failed) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(make_memory(&learner->memory, err));
    WEIRP_TRY(weirp_pending_reserve(&learner->pending, w.size, err));
    /* learned from the record as it will be replayed */
    WEIRP_TRY(weirp_log_decode(r, w.data, w.size, err));
    learner->decided = false;
    learner->n_seen++;
    if (!stale)
        WEIRP_TRY(weirp_learn_feedback(learner->state, &learner->workspace, r, weirp_learner_drift, learner, err));
    weirp_pending_add(&learner->pending, w.data, w.size, 0);
    remember(&learner->memory, hash_of(feedback->id, feedback->source));
    if (learner->out_of_memory) WEIRP_TRY(weirp_nomem(err));
    st = weirp_learner_added(learner, err);
done:
    weirp_writer_free(&w);
    return st;
}

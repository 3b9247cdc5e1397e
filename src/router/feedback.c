/* feedback.c: what others decided: served requests, and labels that come later.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/router/format.h"
#include "src/router/learner.h"

/* ---- rollouts ---- */

/* What a watcher hears of the decision; `name`: memory that lasts. False: it is part of no rollout. */
static bool watched(const weir_learner *l, const weirp_log_record *r, double label, char name[256],
                    weirp_watched *out) {
    if (!l->watch || !r->trial.name || r->served.pinned) return false;
    *out = (weirp_watched){.trial = r->trial,
                           .time_ms = r->time_ms,
                           .p = r->propensity[r->model],
                           .p_candidate = r->trial.propensity[r->model],
                           .label = label,
                           .failed = weirp_served_ending(&r->served) == WEIRP_ENDING_ERROR};
    weirp_copy_text(name, 256, r->trial.name);
    out->trial.name = name;
    out->trial.propensity = NULL;
    return true;
}

static void tell(weir_learner *l, const weirp_watched *seen) {
    l->watch(l->watch_user, seen);
    l->save_due = l->save != NULL;
}

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
    weirp_pending_add(&learner->pending, record, size, weirp_id_number(r->id), false);
    weirp_watched seen;
    char name[256];
    if (watched(learner, r, NAN, name, &seen)) tell(learner, &seen);
    return weirp_learner_added(learner, err);
}

/* ---- looking a decision up ---- */

/* What the log holds under a decision's number: the decision, and then the feedback on it. */
typedef struct lookup {
    const weirp_feedback *feedback;
    weirp_log_record *record;
    const uint8_t *data; /* the decision, borrowed; NULL: not found yet */
    size_t size;
    size_t n;        /* looked at */
    size_t answered; /* index of the model that the decision came to */
    size_t n_labels; /* on that */
} lookup;

/* WEIR_NOTFOUND: go on. */
static weir_status look_at(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    lookup *l = user;
    (void)number;
    weirp_kind_of_record kind = weirp_log_kind(data, size);
    l->n++;
    if (kind == WEIRP_RECORD_LEARNED) return WEIR_NOTFOUND;
    weir_status st = weirp_log_decode(l->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (strcmp(l->record->id, l->feedback->id) != 0) return WEIR_NOTFOUND; /* the same number, another decision */
    if (kind == WEIRP_RECORD_SERVED) {
        l->data = data;
        l->size = size;
        l->answered = l->record->served.model;
    } else if (strncmp(l->record->source, l->feedback->source, WEIRP_MAX_SOURCE) == 0) {
        return weirp_fail(err, WEIR_INVALID, 0, "\"%.63s\" has given feedback on this decision before",
                          l->feedback->source);
    } else {
        l->n_labels += l->record->label_model == l->answered;
    }
    return WEIR_NOTFOUND;
}

static weir_status look_in_pending(const weirp_pending *p, uint64_t number, lookup *look, weir_error *err) {
    weir_status st = WEIR_NOTFOUND;
    for (size_t i = 0; st == WEIR_NOTFOUND && i < p->n; i++)
        if (p->record[i].number == number)
            st = look_at(look, 0, p->bytes.data + p->record[i].at, p->record[i].size, err);
    return st;
}

/* The decision, in l->record; it is an error if its source has spoken before. */
static weir_status find_decision(weir_learner *l, const weirp_feedback *f, size_t *n_labels, weir_error *err) {
    lookup look = {.feedback = f, .record = &l->record, .answered = (size_t)-1};
    uint64_t number = weirp_id_number(f->id);
    weirp_snapshot *snapshot = NULL;
    weir_status st = WEIR_NOTFOUND;
    if (number) st = weirp_snapshot_begin(&snapshot, l->store, err);
    if (number && st == WEIR_OK) st = weirp_snapshot_find(snapshot, number, look_at, &look, err);
    if (number && st == WEIR_NOTFOUND) st = look_in_pending(&l->pending, number, &look, err);
    if (st == WEIR_NOTFOUND && look.n >= WEIRP_FIND_MOST)
        st = weirp_fail(err, WEIR_INVALID, 0, "this decision has had too many feedbacks");
    else if (st == WEIR_NOTFOUND && look.data)
        st = weirp_log_decode(&l->record, look.data, look.size, err);
    else if (st == WEIR_NOTFOUND)
        weirp_fail(err, st, 0, "no decision has the id \"%.64s\"", f->id);
    weirp_snapshot_end(snapshot);
    *n_labels = look.n_labels;
    return st;
}

/* ---- feedback ---- */

static weir_status check_feedback(const weirp_feedback *f, weir_error *err) {
    if (!f->id || !f->source || !*f->source)
        return weirp_fail(err, WEIR_INVALID, 0, "feedback needs a decision's id and a source");
    if (!(f->quality >= 0 && f->quality <= 1))
        return weirp_fail(err, WEIR_INVALID, 0, "quality %g is outside [0,1]", f->quality);
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
    size_t model = 0, n_labels;
    weirp_watched seen;
    char name[256];
    weir_status st;
    WEIRP_TRY(weirp_learner_ready(learner, err));
    WEIRP_TRY(check_feedback(feedback, err));
    WEIRP_TRY(find_decision(learner, feedback, &n_labels, err));
    WEIRP_TRY(label_model(learner, feedback, &model, err));
    /* one label a decision: what a second one says isn't independent of the first */
    bool counts = model == r->served.model && !n_labels && watched(learner, r, feedback->quality, name, &seen);
    bool stale = !weirp_learn_fits(learner->state, r);
    weirp_record_feedback(&w, r, model, feedback->quality, feedback->source, stale);
    if (w.failed) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(weirp_pending_reserve(&learner->pending, w.size, err));
    /* learned from the record as it will be replayed */
    WEIRP_TRY(weirp_log_decode(r, w.data, w.size, err));
    learner->decided = false;
    learner->n_seen++;
    if (!stale)
        WEIRP_TRY(weirp_learn_feedback(learner->state, &learner->workspace, r, weirp_learner_drift, learner, err));
    weirp_pending_add(&learner->pending, w.data, w.size, weirp_id_number(feedback->id), true);
    if (counts) tell(learner, &seen);
    if (learner->out_of_memory) WEIRP_TRY(weirp_nomem(err));
    st = weirp_learner_added(learner, err);
done:
    weirp_writer_free(&w);
    return st;
}

/* ---- asking without the learner ---- */

static void see(weirp_seen *seen, const weirp_feedback *f, const weirp_log_record *r) {
    if (strcmp(r->id, f->id) != 0) return;
    if (r->kind == WEIRP_RECORD_SERVED) {
        seen->decision = true;
        seen->answered = r->served.model < r->n_models;
    } else if (r->kind == WEIRP_RECORD_FEEDBACK) {
        seen->repeated |= strncmp(r->source, f->source, WEIRP_MAX_SOURCE) == 0;
    }
}

weir_status weirp_seen_in(weirp_seen *seen, const weirp_feedback *feedback, const uint8_t *record, size_t size,
                          weir_error *err) {
    weirp_log_record r = {0};
    weir_status st = weirp_log_decode(&r, record, size, err);
    if (st == WEIR_OK) see(seen, feedback, &r);
    weirp_log_record_free(&r);
    return st;
}

typedef struct seeing {
    weirp_seen *seen;
    const weirp_feedback *feedback;
} seeing;

static weir_status see_next(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    seeing *s = user;
    (void)number;
    weir_status st = weirp_seen_in(s->seen, s->feedback, data, size, err);
    return st == WEIR_OK ? WEIR_NOTFOUND : st;
}

weir_status weirp_seen_log(weirp_seen *seen, const weirp_feedback *feedback, weirp_snapshot *snapshot,
                           weir_error *err) {
    seeing s = {seen, feedback};
    uint64_t number = weirp_id_number(feedback->id);
    weir_status st = number ? weirp_snapshot_find(snapshot, number, see_next, &s, err) : WEIR_NOTFOUND;
    return st == WEIR_NOTFOUND ? WEIR_OK : st;
}

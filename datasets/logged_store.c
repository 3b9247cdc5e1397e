/* logged_store.c: the log of a store. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/logged_parts.h"
#include "src/router/lognames.h"
#include "src/router/reading.h"
#include "src/store/store.h"
#include "src/text/text.h"

enum { BATCH = 256, FORGET_EVERY = 64 /* batches */ };

/* A record of the log, borrowed from the snapshot. */
typedef struct piece {
    uint64_t number;
    const uint8_t *data;
    size_t size;
} piece;

/* An entry of the store's index. */
typedef struct entry {
    uint64_t index, record;
} entry;

/* All entries with the same upper half of their number: a few seconds of decisions, and the feedback on them. */
typedef struct bucket {
    bool known;
    uint32_t upper;
    entry *entry; /* (n) ascending */
    size_t n, capacity;
} bucket;

enum { BUCKETS = 4 /* kept at a time: decisions come nearly in order */ };

typedef struct stored {
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_log_names names;
    uint64_t training;            /* mark of the featurizer that the last training made */
    const weirp_names_then *then; /* of the record at hand */
    weirp_log_record record, label;
    piece piece[BATCH];
    size_t n, at, n_batches;
    uint64_t next;                 /* record */
    size_t index[WEIR_MAX_MODELS]; /* the reader's number of the names that records go by now, plus 1; 0: not asked */
    const weirp_names_then *index_of;
    bool index_known;
    bucket bucket[BUCKETS];
    /* of the decision whose feedback is looked for */
    double sum;
    size_t n_labels, answered;
} stored;

static void close_store(weirp_logged *l) {
    stored *s = l->source;
    weirp_log_record_free(&s->record);
    weirp_log_record_free(&s->label);
    weirp_log_names_free(&s->names);
    for (size_t i = 0; i < BUCKETS; i++) free(s->bucket[i].entry);
    weirp_snapshot_end(s->snapshot);
    weirp_store_close(s->store);
    free(s);
}

/* ---- records ---- */

static weir_status take(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    stored *s = user;
    (void)err;
    s->piece[s->n++] = (piece){number, data, size};
    return s->n == BATCH ? WEIR_END : WEIR_OK;
}

static weir_status next_piece(weirp_logged *l, const piece **out, weir_error *err) {
    stored *s = l->source;
    if (s->at == s->n) {
        s->at = s->n = 0;
        /* what has been read doesn't count as ours any longer */
        if (++s->n_batches % FORGET_EVERY == 0) weirp_store_forget(s->store);
        weir_status st = weirp_snapshot_log(s->snapshot, s->next, take, s, err);
        if (st != WEIR_OK && st != WEIR_END) return st;
        if (!s->n) return WEIR_END;
        s->next = s->piece[s->n - 1].number + 1;
        l->done_n = (double)s->next;
    }
    *out = &s->piece[s->at++];
    return WEIR_OK;
}

/* The reader's number of the record's model m. */
static weir_status index_of(weirp_logged *l, size_t m, size_t *index, weir_error *err) {
    stored *s = l->source;
    if (!s->index_known || s->index_of != s->then) {
        memset(s->index, 0, sizeof s->index);
        s->index_of = s->then;
        s->index_known = true;
    }
    if (!s->index[m]) {
        const char *name = weirp_log_name(&s->names, s->then, m);
        if (!strcmp(name, "?"))
            return weirp_fail(err, WEIR_PARSE, l->row.line, "%s: record %zu: nobody knows what model %zu was called",
                              l->path, l->row.line, m);
        weir_status st = weirp_logged_index(l, "models", name, strlen(name), index, err);
        if (st != WEIR_OK) return st;
        s->index[m] = *index + 1;
    }
    *index = s->index[m] - 1;
    weirp_logged_named(l, *index);
    return WEIR_OK;
}

/* ---- feedback ---- */

static weir_status add_entry(void *user, uint64_t index, uint64_t number, weir_error *err) {
    bucket *b = user;
    if (!weirp_reserve((void **)&b->entry, &b->capacity, b->n + 1, sizeof *b->entry)) return weirp_nomem(err);
    b->entry[b->n++] = (entry){index, number};
    return WEIR_OK;
}

static int by_index(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->index != y->index) return x->index < y->index ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

static weir_status bucket_of(stored *s, uint64_t number, const bucket **out, weir_error *err) {
    uint32_t upper = (uint32_t)(number >> 32);
    bucket *b = &s->bucket[upper % BUCKETS];
    *out = b;
    if (b->known && b->upper == upper) return WEIR_OK;
    b->known = false;
    b->n = 0;
    weir_status st = weirp_snapshot_bucket(s->snapshot, number, add_entry, b, err);
    if (st != WEIR_OK) return st;
    if (b->n) qsort(b->entry, b->n, sizeof *b->entry, by_index);
    b->upper = upper;
    b->known = true;
    return WEIR_OK;
}

static weir_status add_label(stored *s, uint64_t number, weir_error *err) {
    const uint8_t *data;
    size_t size;
    weir_status st = weirp_snapshot_record(s->snapshot, number, &data, &size, err);
    if (st != WEIR_OK) return st;
    if (weirp_log_kind(data, size) != WEIRP_RECORD_FEEDBACK) return WEIR_OK;
    st = weirp_log_decode(&s->label, data, size, err);
    if (st != WEIR_OK) return st;
    if (strcmp(s->label.id, s->record.id) != 0 || s->label.label_model != s->answered) return WEIR_OK;
    s->sum += s->label.label;
    s->n_labels++;
    return WEIR_OK;
}

/* The mean of the labels on the model that answered. */
static weir_status find_quality(weirp_logged *l, weir_error *err) {
    stored *s = l->source;
    const bucket *b;
    uint64_t number = weirp_id_number(s->record.id);
    s->sum = 0;
    s->n_labels = 0;
    s->answered = s->record.served.model;
    if (!number || s->answered == (size_t)-1) return WEIR_OK;
    weir_status st = bucket_of(s, number, &b, err);
    if (st != WEIR_OK) return st;
    size_t from = 0, to = b->n;
    while (from < to) {
        size_t mid = (from + to) / 2;
        if (b->entry[mid].index < number)
            from = mid + 1;
        else
            to = mid;
    }
    /* the decision itself is among them: what has no feedback has one entry */
    for (; st == WEIR_OK && from < b->n && b->entry[from].index == number; from++)
        if (b->entry[from].record != l->row.line) st = add_label(s, b->entry[from].record, err);
    if (st == WEIR_OK && s->n_labels) l->row.metric[WEIR_METRIC_QUALITY] = s->sum / (double)s->n_labels;
    return st;
}

/* ---- rows ---- */

static weir_status fill_decision(weirp_logged *l, weir_error *err) {
    stored *s = l->source;
    const weirp_log_record *r = &s->record;
    weirp_logged_own_id(l, r->id);
    l->row.time_ms = r->time_ms;
    l->row.features_version = r->features_version;
    for (size_t m = 0; m < r->n_models; m++) {
        size_t index;
        if (!r->eligible[m] && !(r->propensity[m] > 0)) continue;
        weir_status st = index_of(l, m, &index, err);
        if (st != WEIR_OK) return st;
        l->propensity[index] = r->propensity[m];
        l->quality_hat[index] = r->quality[m];
        l->cost_hat[index] = r->cost[m];
        if (r->trial.name) l->target[index] = r->trial.propensity[m];
    }
    if (r->trial.name) {
        l->row.trial = r->trial.name;
        l->row.trial_digest = r->trial.digest;
    }
    l->has |= HAS_PROPENSITY | HAS_QUALITY | HAS_COST | (r->trial.name ? HAS_TARGET : 0);
    if (weirp_logged_is_careful(r->rule, r->reason)) l->row.flags |= WEIRP_LOGGED_CAREFUL;
    if (r->dim) {
        weir_status st = weirp_logged_dense(l, r->dim, err);
        if (st != WEIR_OK) return st;
        memcpy(l->dense, r->dense, r->dim * sizeof *l->dense);
        /* those of before went with their featurizer */
        if (r->features_version >= s->names.trained_version) l->row.training = s->training;
    }
    return index_of(l, r->model, &l->row.chosen, err);
}

static void fill_served(weirp_logged *l, const weirp_log_record *r) {
    const weirp_served *v = &r->served;
    double *metric = l->row.metric;
    const weirp_ending ending = weirp_served_ending(v);
    metric[WEIR_METRIC_COST] = v->cost_usd;
    metric[WEIR_METRIC_ERROR] = ending == WEIRP_ENDING_ERROR;
    metric[WEIR_METRIC_LATENCY] = ending == WEIRP_ENDING_ANSWERED ? v->latency_ms : NAN;
    if (v->user) l->row.session = v->user;
    if (v->pinned) l->row.flags |= WEIRP_LOGGED_FORCED;
    if (v->model != (size_t)-1 && v->model != r->model) l->row.flags |= WEIRP_LOGGED_FALLEN_BACK;
}

static void fill_learned(weirp_logged *l, const weirp_log_record *r) {
    double *metric = l->row.metric;
    for (size_t i = 0; i < r->n_outcomes; i++) {
        if (r->outcome_model[i] != r->model) continue;
        metric[WEIR_METRIC_QUALITY] = r->outcome[i].quality;
        metric[WEIR_METRIC_COST] = r->outcome[i].cost_usd;
        metric[WEIR_METRIC_LATENCY] = r->outcome[i].latency_ms;
    }
}

static weir_status next_stored(weirp_logged *l, weir_error *err) {
    stored *s = l->source;
    const piece *p;
    weir_status st = next_piece(l, &p, err);
    if (st != WEIR_OK) return st;
    l->row.line = (size_t)p->number;
    if (weirp_log_kind(p->data, p->size) == WEIRP_RECORD_FEEDBACK) return WEIR_NOTFOUND;
    st = weirp_log_decode(&s->record, p->data, p->size, err);
    if (st != WEIR_OK) return st;
    s->then = weirp_log_names_then(&s->names, s->record.features_version);
    st = fill_decision(l, err);
    if (st != WEIR_OK) return st;
    if (s->record.kind == WEIRP_RECORD_LEARNED) {
        fill_learned(l, &s->record);
        return WEIR_OK;
    }
    fill_served(l, &s->record);
    return find_quality(l, err);
}

/* A damaged featurizer leaves the log as it is, and nobody knows whose its features are. */
static void read_training(stored *s) {
    const uint8_t *data;
    size_t size;
    if (weirp_snapshot_get(s->snapshot, "featurizer", &data, &size, NULL) == WEIR_OK)
        s->training = weirp_featurizer_mark(data, size);
}

weir_status weirp_logged_open_store(weirp_logged *l, const char *path, weir_error *err) {
    static const weirp_logged_form form = {next_stored, close_store};
    stored *s = calloc(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    l->source = s;
    l->form = &form;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&s->store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&s->snapshot, s->store, err));
    WEIRP_TRY(weirp_log_names_read(&s->names, s->snapshot, err));
    read_training(s);
    s->next = weirp_snapshot_first_log(s->snapshot);
    l->done_all = (double)weirp_snapshot_n_log(s->snapshot);
done:
    return st;
}

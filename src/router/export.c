/* export.c: a store's contents as JSON lines. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/router/inspect.h"
#include "src/router/lognames.h"
#include "weir/store.h"

/* Where feedback on a decision stands in the log. */
typedef struct note {
    uint64_t id_hash, number;
} note;

typedef struct export_to {
    FILE *out;
    weirp_snapshot *snapshot;
    weirp_log_record record, label;
    note *notes; /* (n_notes) sorted */
    size_t n_notes, note_capacity;
    weirp_log_names names;
    const weirp_names_then *now; /* of the record at hand; NULL: the pool's */
} export_to;

static weir_status write_line(FILE *out, json_t *o, weir_error *err) {
    if (!o) return weirp_nomem(err);
    int failed = json_dumpf(o, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) || fputc('\n', out) == EOF;
    json_decref(o);
    return failed ? weirp_fail(err, WEIR_IO, 0, "the export can't be written") : WEIR_OK;
}

/* ---- names of before ---- */

void weirp_names_section(char name[32], uint64_t trained_version) {
    snprintf(name, 32, WEIRP_NAMES_PREFIX "%016llx", (unsigned long long)trained_version);
}

weir_status weirp_names_save(weirp_snapshot *snapshot, uint64_t *trained_version, weirp_writer *w, weir_error *err) {
    weirp_state *s = NULL;
    if (!weirp_snapshot_version(snapshot) || !weirp_snapshot_n_log(snapshot)) return WEIR_NOTFOUND;
    weir_error quiet = {0};
    weir_status st = weirp_state_load(&s, snapshot, &quiet);
    if (st == WEIR_NOMEM) return weirp_nomem(err);
    if (st != WEIR_OK) return WEIR_NOTFOUND; /* a training replaces what can't be read */
    *trained_version = s->trained_version;
    weirp_put_u64(w, weirp_state_n_models(s));
    for (size_t m = 0; m < weirp_state_n_models(s); m++) weirp_put_text(w, s->pool->models[m].name);
    weirp_state_free(s);
    return w->failed ? weirp_nomem(err) : WEIR_OK;
}

static const char *name_of(const export_to *to, size_t m) {
    return weirp_log_name(&to->names, to->now, m);
}

static json_t *name_or_null(const export_to *to, size_t m) {
    return m == (size_t)-1 ? json_null() : json_string(name_of(to, m));
}

/* ---- pieces of a record ---- */

static void set(json_t *o, const char *key, json_t *v) {
    json_object_set_new(o, key, v); /* what is missing for want of memory is noticed when the line is packed */
}

/* Texts come from clients: what isn't UTF-8 can't be JSON. */
static json_t *text_json(const char *text, size_t n) {
    json_t *o = json_stringn(text, n);
    char *plain = o ? NULL : weirp_strndup(text, n);
    for (size_t i = 0; plain && i < n; i++)
        if (plain[i] & 0x80) plain[i] = '?';
    if (plain) o = json_stringn(plain, n);
    free(plain);
    return o;
}

static json_t *name_json(const char *text) {
    return text_json(text, strlen(text));
}

static json_t *outcome_json(const weir_outcome *o) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "quality", weirp_json_number(o->quality), "cost",
                     weirp_json_number(o->cost_usd), "input_tokens", weirp_json_number(o->input_tokens),
                     "output_tokens", weirp_json_number(o->output_tokens), "latency_ms",
                     weirp_json_number(o->latency_ms));
}

static json_t *learned_line(const export_to *to, uint64_t n, const weirp_log_record *r) {
    json_t *propensity = json_object(), *quality = json_object(), *cost = json_object(), *outcomes = json_object();
    for (size_t m = 0; m < r->n_models; m++) {
        set(propensity, name_of(to, m), weirp_json_number(r->propensity[m]));
        set(quality, name_of(to, m), weirp_json_number(r->quality[m]));
        set(cost, name_of(to, m), weirp_json_number(r->cost[m]));
    }
    for (size_t i = 0; i < r->n_outcomes; i++)
        set(outcomes, name_of(to, r->outcome_model[i]), outcome_json(&r->outcome[i]));
    return json_pack("{s:s, s:I, s:I, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "kind", "decision", "number",
                     (json_int_t)n, "time_ms", (json_int_t)r->time_ms, "id", name_json(r->id), "model",
                     name_of(to, r->model), "rule", weir_rule_name((weir_rule)r->rule), "reason",
                     weir_reason_text((weir_reason)r->reason), "propensities", propensity, "quality", quality, "cost",
                     cost, "outcomes", outcomes);
}

static json_t *models_json(const export_to *to, const weirp_log_record *r) {
    json_t *models = json_object();
    for (size_t m = 0; m < r->n_models; m++) {
        if (!r->eligible[m] && !(r->propensity[m] > 0)) continue;
        json_t *o = json_pack("{s:o, s:o, s:o}", "propensity", weirp_json_number(r->propensity[m]), "quality",
                              weirp_json_number(r->quality[m]), "cost", weirp_json_number(r->cost[m]));
        if (o && r->trial.name) set(o, "candidate", weirp_json_number(r->trial.propensity[m]));
        set(models, name_of(to, m), o);
    }
    return models;
}

static json_t *rollout_json(const weirp_trial *t) {
    char digest[17];
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)t->digest);
    return json_pack("{s:o, s:s, s:i, s:f, s:s}", "name", name_json(t->name), "digest", digest, "step", (int)t->step,
                     "share", t->share, "arm", t->arm ? "candidate" : "base");
}

static json_t *attempts_json(const export_to *to, const weirp_served *s) {
    json_t *attempts = json_array();
    for (size_t i = 0; i < s->n_attempts; i++) {
        const weirp_attempt *a = &s->attempt[i];
        json_array_append_new(
            attempts, json_pack("{s:s, s:o, s:o, s:i, s:o, s:o, s:o}", "model", name_of(to, a->model), "deployment",
                                name_json(a->deployment), "result", name_json(a->result), "status", (int)a->status,
                                "started_ms", weirp_json_number((double)a->started_ms), "ms",
                                weirp_json_number((double)a->ms), "cost", weirp_json_number(a->cost_usd)));
    }
    return attempts;
}

static json_t *usage_json(const weirp_served *s) {
    const weirp_usage *u = &s->usage;
    return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "known", u->known, "estimated", u->estimated,
                     "input_tokens", (json_int_t)u->input_tokens, "cached_input_tokens",
                     (json_int_t)u->cached_input_tokens, "cache_write_tokens", (json_int_t)u->cache_write_tokens,
                     "audio_input_tokens", (json_int_t)u->audio_input_tokens, "output_tokens",
                     (json_int_t)u->output_tokens, "reasoning_tokens", (json_int_t)u->reasoning_tokens,
                     "audio_output_tokens", (json_int_t)u->audio_output_tokens);
}

static json_t *label_json(const export_to *to, uint64_t n, const weirp_log_record *r) {
    return json_pack("{s:I, s:I, s:o, s:s, s:o, s:b}", "number", (json_int_t)n, "time_ms", (json_int_t)r->time_ms,
                     "source", name_json(r->source), "model", name_of(to, r->label_model), "quality",
                     weirp_json_number(r->label), "learned", !r->stale);
}

/* ---- feedback beside its decision ---- */

static uint64_t hash_of(const char *id) {
    return XXH3_64bits(id, strlen(id));
}

static int by_hash(const void *a, const void *b) {
    const note *x = a, *y = b;
    if (x->id_hash != y->id_hash) return x->id_hash < y->id_hash ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static weir_status note_feedback(void *user, uint64_t n, const uint8_t *data, size_t size, weir_error *err) {
    export_to *to = user;
    if (weirp_log_kind(data, size) != WEIRP_RECORD_FEEDBACK) return WEIR_OK;
    weir_status st = weirp_log_decode(&to->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (!weirp_reserve((void **)&to->notes, &to->note_capacity, to->n_notes + 1, sizeof *to->notes))
        return weirp_nomem(err);
    to->notes[to->n_notes++] = (note){hash_of(to->record.id), n};
    return WEIR_OK;
}

static weir_status labels_of(export_to *to, const char *id, json_t *labels, weir_error *err) {
    uint64_t hash = hash_of(id);
    size_t a = 0, b = to->n_notes;
    while (a < b) {
        size_t mid = (a + b) / 2;
        if (to->notes[mid].id_hash < hash)
            a = mid + 1;
        else
            b = mid;
    }
    for (; a < to->n_notes && to->notes[a].id_hash == hash; a++) {
        const uint8_t *data;
        size_t size;
        weir_status st = weirp_snapshot_record(to->snapshot, to->notes[a].number, &data, &size, err);
        if (st == WEIR_OK) st = weirp_log_decode(&to->label, data, size, err);
        if (st != WEIR_OK) return st;
        if (strcmp(to->label.id, id) == 0)
            json_array_append_new(labels, label_json(to, to->notes[a].number, &to->label));
    }
    return WEIR_OK;
}

/* ---- lines ---- */

static json_t *served_line(const export_to *to, uint64_t n, const weirp_log_record *r, json_t *labels) {
    const weirp_served *s = &r->served;
    char price_version[17];
    snprintf(price_version, sizeof price_version, "%016llx", (unsigned long long)s->price_version);
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:s, s:o, s:s, s:s, s:i, s:b, s:b, s:b, s:b, s:o, s:o}", "kind",
                  "served", "number", (json_int_t)n, "time_ms", (json_int_t)r->time_ms, "id", name_json(r->id), "api",
                  name_json(s->api), "request_id", name_json(s->request_id), "models", models_json(to, r), "chosen",
                  name_of(to, r->model), "answered", name_or_null(to, s->model), "rule",
                  weir_rule_name((weir_rule)r->rule), "reason", weir_reason_text((weir_reason)r->reason), "status",
                  s->status, "streamed", s->streamed, "client_gone", s->client_gone, "pinned", s->pinned, "fallback",
                  s->model != (size_t)-1 && s->model != r->model, "attempts", attempts_json(to, s), "usage",
                  usage_json(s));
    json_t *more = json_pack("{s:o, s:o, s:b, s:s, s:I, s:o, s:o, s:O}", "predicted_cost",
                             weirp_json_number(s->predicted_cost_usd), "cost", weirp_json_number(s->cost_usd),
                             "cost_estimated", s->usage_estimated, "price_version", price_version, "features_version",
                             (json_int_t)r->features_version, "latency_ms", weirp_json_number(s->latency_ms),
                             "first_token_ms", weirp_json_number(s->first_token_ms), "feedback", labels);
    const struct {
        const char *name, *text;
    } account[] = {{"key", s->key}, {"team", s->team}, {"user", s->user}, {"tag", s->tag}, {"budget", s->budget}};
    for (size_t i = 0; more && i < sizeof account / sizeof *account; i++)
        if (account[i].text) set(more, account[i].name, name_json(account[i].text));
    if (more && r->trial.name) set(more, "rollout", rollout_json(&r->trial));
    if (more && s->budget_action) set(more, "budget_action", json_string(weirp_budget_action_name(s->budget_action)));
    if (more && s->prompt) set(more, "prompt", text_json(s->prompt, s->prompt_len));
    if (!o || !more || json_object_update(o, more)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(more);
    return o;
}

static weir_status export_record(void *user, uint64_t n, const uint8_t *data, size_t size, weir_error *err) {
    export_to *to = user;
    const weirp_log_record *r = &to->record;
    weir_status st = weirp_log_decode(&to->record, data, size, err);
    if (st != WEIR_OK) return st;
    to->now = weirp_log_names_then(&to->names, r->features_version);
    if (r->kind == WEIRP_RECORD_LEARNED) return write_line(to->out, learned_line(to, n, r), err);
    if (r->kind == WEIRP_RECORD_FEEDBACK) {
        json_t *o = label_json(to, n, r);
        if (o) {
            set(o, "kind", json_string("feedback"));
            set(o, "id", name_json(r->id));
        }
        return write_line(to->out, o, err);
    }
    json_t *labels = json_array();
    st = labels ? labels_of(to, r->id, labels, err) : weirp_nomem(err);
    if (st == WEIR_OK) st = write_line(to->out, served_line(to, n, r, labels), err);
    json_decref(labels);
    return st;
}

static json_t *store_line(const weirp_view *v) {
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "kind", "store", "estimator", v->state->estimator,
                     "n_trained_prompts", (json_int_t)v->state->n_trained_prompts, "n_feedbacks",
                     (json_int_t)(weirp_snapshot_n_log(v->snapshot) - weirp_snapshot_n_indexed(v->snapshot)), "members",
                     weirp_members_json(v->state), "models", weirp_pool_json(v->state), "sections",
                     weirp_sections_json(v->snapshot));
}

static weir_status export(const char *path, FILE *out, bool whole, weir_error *err) {
    weirp_view v;
    weir_status st = weirp_view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    export_to to = {.out = out, .snapshot = v.snapshot};
    if (whole) WEIRP_TRY(write_line(out, store_line(&v), err));
    WEIRP_TRY(weirp_log_names_read(&to.names, v.snapshot, err));
    WEIRP_TRY(weirp_snapshot_log(v.snapshot, 0, note_feedback, &to, err));
    if (to.n_notes) qsort(to.notes, to.n_notes, sizeof *to.notes, by_hash);
    WEIRP_TRY(weirp_snapshot_log(v.snapshot, 0, export_record, &to, err));
done:
    free(to.notes);
    weirp_log_names_free(&to.names);
    weirp_log_record_free(&to.record);
    weirp_log_record_free(&to.label);
    weirp_view_close(&v);
    return st;
}

weir_status weir_store_export(const char *path, FILE *out, weir_error *err) {
    return export(path, out, true, err);
}

weir_status weir_store_export_log(const char *path, FILE *out, weir_error *err) {
    return export(path, out, false, err);
}

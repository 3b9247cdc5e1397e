/* inspect.c: looking after a store: what it holds, whether it is sound, a copy, its contents as text, its pool.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/price/price.h"
#include "src/router/learn.h"
#include "weir/store.h"

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static weir_status dump(json_t *o, int failed, char **json, weir_error *err) {
    *json = failed ? NULL : json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}

/* ---- pieces ---- */

static json_t *pool_json(const weirp_state *s) {
    json_t *models = json_array();
    for (size_t m = 0; m < weirp_state_n_models(s); m++) {
        const weir_model *p = &s->pool->models[m];
        json_array_append_new(models, json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "name", p->name, "enabled",
                                                !s->disabled[m], "input_usd_per_mtok", number(p->input_usd_per_mtok),
                                                "output_usd_per_mtok", number(p->output_usd_per_mtok), "request_usd",
                                                number(p->request_usd), "mean_quality", number(s->quality.mean[m])));
    }
    return models;
}

static json_t *members_json(const weirp_state *s) {
    json_t *members = json_array();
    for (size_t k = 0; k < s->quality.n_members; k++)
        json_array_append_new(members, json_pack("{s:s, s:o}", "name", s->quality.member[k]->class->name, "weight",
                                                 number(s->quality.weight[k] * s->quality.shrink)));
    return members;
}

static json_t *sections_json(weirp_snapshot *snapshot) {
    json_t *sections = json_object();
    const char *name;
    size_t size;
    weir_status st;
    for (size_t i = 0; (st = weirp_snapshot_section(snapshot, i, &name, &size, NULL)) == WEIR_OK; i++)
        if (json_object_set_new(sections, name, json_integer((json_int_t)size))) break;
    if (st == WEIR_END) return sections;
    json_decref(sections);
    return NULL;
}

/* ---- info and check ---- */

typedef struct view {
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_state *state;
} view;

static void view_close(view *v) {
    weirp_state_free(v->state);
    weirp_snapshot_end(v->snapshot);
    weirp_store_close(v->store);
}

static weir_status view_open(view *v, const char *path, weir_error *err) {
    weir_status st;
    memset(v, 0, sizeof *v);
    WEIRP_TRY(weirp_store_open(&v->store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&v->snapshot, v->store, err));
    WEIRP_TRY(weirp_state_load(&v->state, v->snapshot, err));
done:
    if (st != WEIR_OK) view_close(v);
    return st;
}

weir_status weir_store_info(const char *path, char **json, weir_error *err) {
    view v;
    weir_status st = view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    struct stat file;
    json_t *o = json_object();
    int failed = !o;
    failed |= json_object_set_new(o, "version", json_integer((json_int_t)weirp_snapshot_version(v.snapshot)));
    failed |= json_object_set_new(o, "file_bytes", json_integer(stat(path, &file) ? 0 : (json_int_t)file.st_size));
    failed |= json_object_set_new(o, "estimator", json_string(v.state->estimator));
    failed |= json_object_set_new(o, "n_trained_prompts", json_integer((json_int_t)v.state->n_trained_prompts));
    failed |= json_object_set_new(o, "n_feedbacks", json_integer((json_int_t)weirp_snapshot_n_log(v.snapshot)));
    failed |= json_object_set_new(o, "members", members_json(v.state));
    failed |= json_object_set_new(o, "models", pool_json(v.state));
    failed |= json_object_set_new(o, "sections", sections_json(v.snapshot));
    view_close(&v);
    return dump(o, failed, json, err);
}

static weir_status check_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)number;
    weirp_log_record record;
    weir_status st = weirp_log_decode(&record, data, size, err);
    if (st != WEIR_OK) return st;
    weirp_log_record_free(&record);
    (*(uint64_t *)user)++;
    return WEIR_OK;
}

static weir_status check_json(size_t n_sections, size_t n_models, uint64_t n_feedbacks, char **json, weir_error *err) {
    if (!json) return WEIR_OK;
    json_t *o = json_pack("{s:b, s:I, s:I, s:I}", "sound", 1, "n_sections", (json_int_t)n_sections, "n_models",
                          (json_int_t)n_models, "n_feedbacks", (json_int_t)n_feedbacks);
    return dump(o, !o, json, err);
}

weir_status weir_store_check(const char *path, char **json, weir_error *err) {
    size_t n_sections = 0;
    uint64_t n_log = 0, n_decoded = 0;
    weir_status st = weirp_store_verify(path, &n_sections, &n_log, err);
    if (st != WEIR_OK) return st;
    if (!n_sections && !n_log) return check_json(0, 0, 0, json, err); /* made, and nothing put in yet */
    view v;
    st = view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    st = weirp_snapshot_log(v.snapshot, 0, check_record, &n_decoded, err);
    uint64_t n_feedbacks = weirp_snapshot_n_log(v.snapshot);
    size_t n_models = weirp_state_n_models(v.state);
    if (st == WEIR_OK && n_decoded != n_feedbacks)
        st = weirp_fail(err, WEIR_CORRUPT, 0, "%s: the log says %llu records and holds %llu", path,
                        (unsigned long long)n_feedbacks, (unsigned long long)n_decoded);
    view_close(&v);
    return st == WEIR_OK ? check_json(n_sections, n_models, n_feedbacks, json, err) : st;
}

weir_status weir_store_compact(const char *path, const char *target, weir_error *err) {
    return weirp_store_compact_file(path, target, err);
}

/* ---- export ---- */

typedef struct export_to {
    FILE *out;
    const weirp_state *state;
} export_to;

static weir_status write_line(FILE *out, json_t *o, weir_error *err) {
    if (!o) return weirp_nomem(err);
    int failed = json_dumpf(o, out, JSON_COMPACT | JSON_REAL_PRECISION(17)) || fputc('\n', out) == EOF;
    json_decref(o);
    return failed ? weirp_fail(err, WEIR_IO, 0, "the export can't be written") : WEIR_OK;
}

static const char *name_of(const weirp_state *s, size_t m) {
    return m < weirp_state_n_models(s) ? s->pool->models[m].name : "?";
}

static json_t *outcome_json(const weir_outcome *o) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "quality", number(o->quality), "cost", number(o->cost_usd),
                     "input_tokens", number(o->input_tokens), "output_tokens", number(o->output_tokens), "latency_ms",
                     number(o->latency_ms));
}

static weir_status export_record(void *user, uint64_t n, const uint8_t *data, size_t size, weir_error *err) {
    export_to *to = user;
    weirp_log_record r;
    weir_status st = weirp_log_decode(&r, data, size, err);
    if (st != WEIR_OK) return st;
    json_t *propensity = json_object(), *quality = json_object(), *cost = json_object(), *outcomes = json_object();
    for (size_t m = 0; m < r.n_models; m++) {
        json_object_set_new(propensity, name_of(to->state, m), number(r.propensity[m]));
        json_object_set_new(quality, name_of(to->state, m), number(r.quality[m]));
        json_object_set_new(cost, name_of(to->state, m), number(r.cost[m]));
    }
    for (size_t i = 0; i < r.n_outcomes; i++)
        json_object_set_new(outcomes, name_of(to->state, r.outcome_model[i]), outcome_json(&r.outcome[i]));
    json_t *line =
        json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "kind", "decision", "number",
                  (json_int_t)n, "time_ms", (json_int_t)r.time_ms, "id", r.id, "model", name_of(to->state, r.model),
                  "rule", weir_rule_name((weir_rule)r.rule), "reason", weir_reason_text((weir_reason)r.reason),
                  "propensities", propensity, "quality", quality, "cost", cost, "outcomes", outcomes);
    weirp_log_record_free(&r);
    return write_line(to->out, line, err);
}

weir_status weir_store_export(const char *path, FILE *out, weir_error *err) {
    view v;
    weir_status st = view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    export_to to = {out, v.state};
    st = write_line(out,
                    json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "kind", "store", "estimator", v.state->estimator,
                              "n_trained_prompts", (json_int_t)v.state->n_trained_prompts, "n_feedbacks",
                              (json_int_t)weirp_snapshot_n_log(v.snapshot), "members", members_json(v.state), "models",
                              pool_json(v.state), "sections", sections_json(v.snapshot)),
                    err);
    if (st == WEIR_OK) st = weirp_snapshot_log(v.snapshot, 0, export_record, &to, err);
    view_close(&v);
    return st;
}

/* ---- the pool ---- */

static weir_status apply_pool(weirp_state *s, const weir_pool *pool, bool remove_others, weir_error *err) {
    for (size_t j = 0; j < pool->n_models; j++) {
        size_t m = weir_pool_find(s->pool, pool->models[j].name);
        if (m == (size_t)-1) {
            weir_status st = weirp_state_add_model(s, &pool->models[j], err);
            if (st != WEIR_OK) return st;
        } else {
            weirp_state_reprice(s, m, &pool->models[j]);
            s->disabled[m] = false;
        }
    }
    for (size_t m = 0; remove_others && m < weirp_state_n_models(s); m++)
        s->disabled[m] = weir_pool_find(pool, s->pool->models[m].name) == (size_t)-1;
    return WEIR_OK;
}

weir_status weir_store_set_pool(const char *path, const weir_pool *pool, bool remove_others, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weirp_state *state = NULL;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_WRITE, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(weirp_state_load(&state, snapshot, err));
    weirp_snapshot_end(snapshot);
    snapshot = NULL;
    WEIRP_TRY(apply_pool(state, pool, remove_others, err));
    state->checkpoint_log = state->n_logged;
    WEIRP_TRY(weirp_state_commit(state, store, NULL, 0, err));
done:
    weirp_snapshot_end(snapshot);
    weirp_state_free(state);
    weirp_store_close(store);
    return st;
}

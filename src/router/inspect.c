/* inspect.c: looking after a store: what it holds, whether it is sound, a copy, a shorter log, its pool.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/price/price.h"
#include "src/router/inspect.h"
#include "src/router/learner.h"
#include "weir/store.h"

json_t *weirp_json_number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static weir_status dump(json_t *o, int failed, char **json, weir_error *err) {
    *json = failed ? NULL : json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}

/* ---- pieces ---- */

static json_t *model_json(const weirp_state *s, size_t m) {
    const weir_model *p = &s->pool->models[m];
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"input_usd_per_mtok", p->input_usd_per_mtok},
                   {"output_usd_per_mtok", p->output_usd_per_mtok},
                   {"cached_input_usd_per_mtok", p->cached_input_usd_per_mtok},
                   {"cache_write_usd_per_mtok", p->cache_write_usd_per_mtok},
                   {"audio_input_usd_per_mtok", p->audio_input_usd_per_mtok},
                   {"reasoning_usd_per_mtok", p->reasoning_usd_per_mtok},
                   {"audio_output_usd_per_mtok", p->audio_output_usd_per_mtok},
                   {"request_usd", p->request_usd},
                   {"mean_quality", s->quality.mean[m]}};
    json_t *o = json_pack("{s:s, s:b}", "name", p->name, "enabled", !s->disabled[m]);
    int failed = !o;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        failed |= json_object_set_new(o, numbers[i].name, weirp_json_number(numbers[i].value));
    if (!failed) return o;
    json_decref(o);
    return NULL;
}

json_t *weirp_pool_json(const weirp_state *s) {
    json_t *models = json_array();
    int failed = !models;
    for (size_t m = 0; m < weirp_state_n_models(s); m++) failed |= json_array_append_new(models, model_json(s, m));
    if (!failed) return models;
    json_decref(models);
    return NULL;
}

json_t *weirp_members_json(const weirp_state *s) {
    json_t *members = json_array();
    for (size_t k = 0; k < s->quality.n_members; k++)
        json_array_append_new(members, json_pack("{s:s, s:o}", "name", s->quality.member[k]->class->name, "weight",
                                                 weirp_json_number(s->quality.weight[k] * s->quality.shrink)));
    return members;
}

json_t *weirp_sections_json(weirp_snapshot *snapshot) {
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

void weirp_view_close(weirp_view *v) {
    weirp_state_free(v->state);
    weirp_snapshot_end(v->snapshot);
    weirp_store_close(v->store);
}

weir_status weirp_view_open(weirp_view *v, const char *path, weir_error *err) {
    weir_status st;
    memset(v, 0, sizeof *v);
    WEIRP_TRY(weirp_store_open(&v->store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&v->snapshot, v->store, err));
    WEIRP_TRY(weirp_state_load(&v->state, v->snapshot, err));
done:
    if (st != WEIR_OK) weirp_view_close(v);
    return st;
}

/* Records that labels can have come with: every one that isn't a served request. */
static uint64_t n_feedbacks(weirp_snapshot *snapshot) {
    return weirp_snapshot_n_log(snapshot) - weirp_snapshot_n_indexed(snapshot);
}

weir_status weir_store_info(const char *path, char **json, weir_error *err) {
    weirp_view v;
    weir_status st = weirp_view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    struct stat file;
    json_t *o = json_object();
    int failed = !o;
    failed |= json_object_set_new(o, "version", json_integer((json_int_t)weirp_snapshot_version(v.snapshot)));
    failed |= json_object_set_new(o, "file_bytes", json_integer(stat(path, &file) ? 0 : (json_int_t)file.st_size));
    failed |= json_object_set_new(o, "estimator", json_string(v.state->estimator));
    failed |= json_object_set_new(o, "n_trained_prompts", json_integer((json_int_t)v.state->n_trained_prompts));
    failed |= json_object_set_new(o, "n_feedbacks", json_integer((json_int_t)n_feedbacks(v.snapshot)));
    failed |= json_object_set_new(o, "n_records", json_integer((json_int_t)weirp_snapshot_n_log(v.snapshot)));
    failed |= json_object_set_new(o, "n_trimmed", json_integer((json_int_t)weirp_snapshot_first_log(v.snapshot)));
    failed |= json_object_set_new(o, "n_table", json_integer((json_int_t)weirp_snapshot_n_table(v.snapshot)));
    failed |= json_object_set_new(o, "members", weirp_members_json(v.state));
    failed |= json_object_set_new(o, "models", weirp_pool_json(v.state));
    failed |= json_object_set_new(o, "sections", weirp_sections_json(v.snapshot));
    weirp_view_close(&v);
    return dump(o, failed, json, err);
}

/* What a log holds, and what the index over it should. */
typedef struct log_check {
    weirp_snapshot *snapshot;
    weirp_log_record record;
    uint64_t n, n_indexed, sum;
} log_check;

static weir_status is_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    (void)data, (void)size, (void)err;
    return number == *(const uint64_t *)user ? WEIR_OK : WEIR_NOTFOUND;
}

/* Feedback from before schema 3 isn't in the index. */
static bool feedback_is_indexed(weirp_snapshot *snapshot, uint64_t index, uint64_t number) {
    return weirp_snapshot_find(snapshot, index, is_record, &number, NULL) == WEIR_OK;
}

static weir_status check_record(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    log_check *c = user;
    weir_status st = weirp_log_decode(&c->record, data, size, err);
    if (st != WEIR_OK) return st;
    c->n++;
    uint64_t index = c->record.kind != WEIRP_RECORD_LEARNED ? weirp_id_number(c->record.id) : 0;
    if (!index) return WEIR_OK;
    if (c->record.kind == WEIRP_RECORD_FEEDBACK && !feedback_is_indexed(c->snapshot, index, number)) return WEIR_OK;
    c->n_indexed++;
    c->sum += weirp_index_sum(index, number);
    return WEIR_OK;
}

static weir_status check_log(weirp_snapshot *snapshot, const char *path, weir_error *err) {
    log_check c = {.snapshot = snapshot};
    uint64_t sum = 0;
    weir_status st = weirp_snapshot_log(snapshot, 0, check_record, &c, err);
    uint64_t kept = weirp_snapshot_n_log(snapshot) - weirp_snapshot_first_log(snapshot);
    if (st == WEIR_OK && c.n != kept)
        st = weirp_fail(err, WEIR_CORRUPT, 0, "%s: the log says %llu records and holds %llu", path,
                        (unsigned long long)kept, (unsigned long long)c.n);
    if (st == WEIR_OK) st = weirp_index_verify(snapshot, &sum, err);
    if (st == WEIR_OK && (c.n_indexed != weirp_snapshot_n_entries(snapshot) || c.sum != sum))
        st = weirp_fail(err, WEIR_CORRUPT, 0,
                        "%s: the index's %llu entries aren't those of the log's %llu served requests and feedbacks",
                        path, (unsigned long long)weirp_snapshot_n_entries(snapshot), (unsigned long long)c.n_indexed);
    weirp_log_record_free(&c.record);
    return st;
}

static weir_status count_table(const char *path, uint64_t *n, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    *n = weirp_snapshot_n_table(snapshot);
done:
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st;
}

weir_status weir_store_check(const char *path, char **json, weir_error *err) {
    size_t n_sections = 0;
    uint64_t n_log = 0;
    weirp_view v;
    json_t *o = NULL;
    weir_status st = weirp_store_verify(path, &n_sections, &n_log, err);
    if (st != WEIR_OK) return st;
    if (!n_sections && !n_log) { /* never trained */
        uint64_t n_table = 0;
        st = count_table(path, &n_table, err);
        if (st != WEIR_OK) return st;
        o = json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:I}", "sound", 1, "n_sections", 0, "n_models", 0, "n_feedbacks",
                      0, "n_records", 0, "n_trimmed", 0, "n_table", (json_int_t)n_table);
        return json ? dump(o, !o, json, err) : (json_decref(o), WEIR_OK);
    }
    st = weirp_view_open(&v, path, err);
    if (st != WEIR_OK) return st;
    st = check_log(v.snapshot, path, err);
    if (st == WEIR_OK && json)
        o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "sound", 1, "n_sections", (json_int_t)n_sections,
                      "n_models", (json_int_t)weirp_state_n_models(v.state), "n_feedbacks",
                      (json_int_t)n_feedbacks(v.snapshot), "n_records", (json_int_t)weirp_snapshot_n_log(v.snapshot),
                      "n_trimmed", (json_int_t)weirp_snapshot_first_log(v.snapshot), "n_table",
                      (json_int_t)weirp_snapshot_n_table(v.snapshot));
    weirp_view_close(&v);
    return st == WEIR_OK && json ? dump(o, !o, json, err) : st;
}

weir_status weir_store_compact(const char *path, const char *target, weir_error *err) {
    return weirp_store_compact_file(path, target, err);
}

/* ---- a shorter log ---- */

typedef struct cut {
    int64_t before_ms;
    uint64_t number;
    weirp_log_record record;
} cut;

/* Records are logged when a request is over, so that times don't quite ascend: the first that is young enough ends it.
 */
static weir_status find_cut(void *user, uint64_t number, const uint8_t *data, size_t size, weir_error *err) {
    cut *c = user;
    weir_status st = weirp_log_decode(&c->record, data, size, err);
    if (st != WEIR_OK) return st;
    if (c->record.time_ms >= c->before_ms) return WEIR_END;
    c->number = number + 1;
    return WEIR_OK;
}

/* The number of the first record to keep. */
static weir_status choose_cut(weirp_snapshot *snapshot, uint64_t keep, double older_than_days, uint64_t *number,
                              weir_error *err) {
    uint64_t n_log = weirp_snapshot_n_log(snapshot);
    if (!(older_than_days >= 0)) {
        *number = keep < n_log ? n_log - keep : 0;
        return WEIR_OK;
    }
    cut c = {.before_ms = weirp_unix_ms() - (int64_t)fmin(older_than_days * 86400e3, 1e15)};
    weir_status st = weirp_snapshot_log(snapshot, 0, find_cut, &c, err);
    weirp_log_record_free(&c.record);
    *number = c.number;
    return st == WEIR_END ? WEIR_OK : st;
}

weir_status weir_store_trim(const char *path, uint64_t keep, double older_than_days, uint64_t *n_gone,
                            weir_error *err) {
    /* deleting follows pointers that reading doesn't: everything is checked first */
    const uint64_t step = 1 << 18; /* records a transaction */
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weirp_state *state = NULL;
    uint64_t end, first, last = 0;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_WRITE, err));
    WEIRP_TRY(weirp_store_verify(path, NULL, NULL, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(choose_cut(snapshot, keep, older_than_days, &end, err));
    WEIRP_TRY(weirp_state_load(&state, snapshot, err));
    first = weirp_snapshot_first_log(snapshot);
    weirp_snapshot_end(snapshot);
    snapshot = NULL;
    /* what a reader would have to replay stays */
    if (end > state->checkpoint_log) end = state->checkpoint_log;
    if (end > state->costs_log) end = state->costs_log;
    for (uint64_t at = first; at < end;) {
        at = end - at > step ? at + step : end;
        weirp_change change = {.kind = WEIRP_TRIM_LOG, .number = at};
        WEIRP_TRY(weirp_store_commit(store, &change, 1, err));
    }
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    last = weirp_snapshot_first_log(snapshot);
    if (n_gone) *n_gone = last - first;
done:
    weirp_snapshot_end(snapshot);
    weirp_state_free(state);
    weirp_store_close(store);
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

weir_status weirp_store_set_pool(weirp_store *store, const weir_pool *pool, bool remove_others, weir_error *err) {
    weirp_snapshot *snapshot = NULL;
    weirp_state *state = NULL;
    weir_status st;
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(weirp_state_load(&state, snapshot, err));
    weirp_snapshot_end(snapshot);
    snapshot = NULL;
    WEIRP_TRY(apply_pool(state, pool, remove_others, err));
    state->checkpoint_log = state->costs_log = state->n_logged;
    WEIRP_TRY(weirp_state_commit(state, store, NULL, 0, err));
done:
    weirp_snapshot_end(snapshot);
    weirp_state_free(state);
    return st;
}

weir_status weir_store_set_pool(const char *path, const weir_pool *pool, bool remove_others, weir_error *err) {
    weirp_store *store = NULL;
    weir_status st = weirp_store_open(&store, path, WEIRP_STORE_WRITE, err);
    if (st == WEIR_OK) st = weirp_store_set_pool(store, pool, remove_others, err);
    weirp_store_close(store);
    return st;
}

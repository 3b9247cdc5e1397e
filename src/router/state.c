/* state.c: a store's state, its life and its bytes. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/price/price.h"
#include "src/router/costs.h"
#include "src/router/learn.h"
#include "src/router/quality.h"

/* Grows with each change of what the sections below hold; a section of another version is refused. */
#define SECTIONS_VERSION 1u
#define LEVELS_VERSION   1u
#define PRIOR_QUALITY    0.5
#define DEFAULT_COVERAGE 0.9

size_t weirp_state_n_models(const weirp_state *s) {
    return s->pool->n_models;
}

static weir_status intervals_init(weirp_intervals *v, size_t n_models, weir_error *err) {
    v->coverage = DEFAULT_COVERAGE;
    v->quality_half = weirp_array(n_models, sizeof(double));
    if (!v->quality_half) return weirp_nomem(err);
    for (size_t m = 0; m < n_models; m++) v->quality_half[m] = 1;
    return WEIR_OK;
}

weir_status weirp_state_new(weirp_state **out, const weir_pool *pool, weirp_featurizer *featurizer, bool trained,
                            weir_error *err) {
    weir_status st;
    weirp_state *s = weirp_array(1, sizeof *s);
    if (!s) {
        weirp_featurizer_free(featurizer);
        return weirp_nomem(err);
    }
    s->featurizer = featurizer;
    size_t n = pool->n_models;
    WEIRP_TRY(weirp_pool_copy(&s->pool, pool, err));
    s->disabled = weirp_array(n, sizeof(bool));
    s->quality.mean = weirp_array(n, sizeof(double));
    if (!s->disabled || !s->quality.mean) {
        st = weirp_nomem(err);
        goto done;
    }
    for (size_t m = 0; m < n; m++) s->quality.mean[m] = PRIOR_QUALITY;
    WEIRP_TRY(weirp_costs_init(&s->costs, n, err));
    WEIRP_TRY(intervals_init(&s->intervals, n, err));
    WEIRP_TRY(weirp_adaptive_new(&s->adaptive, n, weirp_featurizer_dim(featurizer), WEIRP_N_SCALARS, trained, err));
done:
    if (st != WEIR_OK) {
        weirp_state_free(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

weir_status weirp_state_cold(weirp_state **out, const weir_pool *pool, weir_error *err) {
    weirp_featurizer *f = NULL;
    weir_status st = weirp_featurizer_cold(&f, NULL, err);
    return st == WEIR_OK ? weirp_state_new(out, pool, f, false, err) : st;
}

void weirp_state_free(weirp_state *s) {
    if (!s) return;
    weir_pool_free(s->pool);
    free(s->disabled);
    weirp_featurizer_free(s->featurizer);
    weirp_quality_clear(&s->quality);
    weirp_costs_clear(&s->costs);
    free(s->intervals.quality_half);
    free(s->intervals.novelty);
    weirp_adaptive_free(s->adaptive);
    free(s);
}

/* ---- models ---- */

static bool grow(void *column, size_t n, size_t size) {
    void **at = column, *grown = realloc(*at, n * size);
    if (grown) *at = grown;
    return grown != NULL;
}

weir_status weirp_state_add_model(weirp_state *s, const weir_model *model, weir_error *err) {
    size_t m = weirp_state_n_models(s), n = m + 1;
    if (n > WEIR_MAX_MODELS)
        return weirp_fail(err, WEIR_INVALID, 0, "\"%s\": a pool holds at most %d models", model->name, WEIR_MAX_MODELS);
    weir_status st;
    if (!grow(&s->disabled, n, sizeof(bool)) || !grow(&s->intervals.quality_half, n, sizeof(double)))
        return weirp_nomem(err);
    s->disabled[m] = false;
    s->intervals.quality_half[m] = 1;
    WEIRP_TRY(weirp_quality_grow(&s->quality, n, err));
    WEIRP_TRY(weirp_costs_grow(&s->costs, n, err));
    WEIRP_TRY(weirp_adaptive_add_model(s->adaptive, err));
    if (weirp_pool_add(s->pool, model->name) == (size_t)-1) return weirp_nomem(err);
    weirp_state_reprice(s, m, model);
done:
    return st;
}

void weirp_state_reprice(weirp_state *s, size_t m, const weir_model *model) {
    char *name = s->pool->models[m].name;
    s->pool->models[m] = *model;
    s->pool->models[m].name = name;
    bool priced = !isnan(model->input_usd_per_mtok) && !isnan(model->output_usd_per_mtok);
    if (priced && s->costs.output_tokens.shape) s->costs.source[m] = WEIRP_COST_TOKENS;
}

/* ---- bytes ---- */

static weirp_writer *section(weirp_sections *w, const char *name) {
    strcpy(w->section[w->n].name, name);
    return &w->section[w->n++].bytes;
}

static void save_meta(const weirp_state *s, weirp_writer *w) {
    weirp_put_u32(w, SECTIONS_VERSION);
    weirp_put_u64(w, weirp_state_n_models(s));
    weirp_put_u64(w, s->n_trained_prompts);
    weirp_put_u64(w, s->n_feedbacks);
    weirp_put_u64(w, s->checkpoint_log);
    weirp_put_text(w, s->estimator);
    weirp_put_u8s(w, s->disabled, weirp_state_n_models(s));
    weirp_put_u64(w, s->trained_version);
}

static void save_intervals(const weirp_state *s, weirp_writer *w) {
    weirp_put_f64(w, s->intervals.coverage);
    weirp_put_f64s(w, s->intervals.quality_half, weirp_state_n_models(s));
    weirp_put_u64(w, s->intervals.n_novelty);
    weirp_put_f64s(w, s->intervals.novelty, s->intervals.n_novelty);
}

weir_status weirp_state_save(const weirp_state *s, weirp_sections *w, weir_error *err) {
    memset(w, 0, sizeof *w);
    save_meta(s, section(w, "meta"));
    weirp_pool_save(s->pool, section(w, "pool"));
    weirp_featurizer_save(s->featurizer, section(w, "featurizer"));
    weirp_quality_save(&s->quality, weirp_state_n_models(s), section(w, "quality"));
    weirp_costs_save(&s->costs, weirp_state_n_models(s), section(w, "costs"));
    save_intervals(s, section(w, "intervals"));
    weirp_adaptive_save(s->adaptive, section(w, "adaptive"));
    for (size_t i = 0; i < w->n; i++)
        if (w->section[i].bytes.failed) {
            weirp_sections_free(w);
            return weirp_nomem(err);
        }
    return WEIR_OK;
}

void weirp_sections_free(weirp_sections *w) {
    for (size_t i = 0; i < w->n; i++) weirp_writer_free(&w->section[i].bytes);
    w->n = 0;
}

static weir_status read_section(weirp_snapshot *snapshot, const char *name, weirp_bytes *r, weir_error *err) {
    memset(r, 0, sizeof *r);
    return weirp_snapshot_get(snapshot, name, &r->data, &r->size, err);
}

static weir_status load_meta(weirp_state *s, size_t *n_models, weirp_bytes *r, weir_error *err) {
    uint32_t version = weirp_get_u32(r);
    if (!r->failed && version > SECTIONS_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "the store's state is version %u; this weir reads up to %u: update weir",
                          version, SECTIONS_VERSION);
    *n_models = (size_t)weirp_get_u64(r);
    s->n_trained_prompts = weirp_get_u64(r);
    s->n_feedbacks = weirp_get_u64(r);
    s->checkpoint_log = weirp_get_u64(r);
    char *name = weirp_get_text(r);
    if (name) strncpy(s->estimator, name, sizeof s->estimator - 1);
    free(name);
    if (!r->failed && *n_models <= WEIR_MAX_MODELS) s->disabled = (bool *)weirp_get_u8s(r, *n_models);
    if (r->failed || !s->disabled) return weirp_fail(err, WEIR_CORRUPT, 0, "section \"meta\" is damaged");
    for (size_t m = 0; m < *n_models; m++) ((uint8_t *)s->disabled)[m] = ((uint8_t *)s->disabled)[m] != 0;
    s->costs_log = s->checkpoint_log;
    if (r->at < r->size) s->trained_version = weirp_get_u64(r); /* stores of before don't say */
    if (r->failed) return weirp_fail(err, WEIR_CORRUPT, 0, "section \"meta\" is damaged");
    return WEIR_OK;
}

static weir_status load_intervals(weirp_intervals *v, size_t n_models, weirp_bytes *r, weir_error *err) {
    v->coverage = weirp_get_f64(r);
    v->quality_half = weirp_get_f64s(r, n_models);
    v->n_novelty = (size_t)weirp_get_u64(r);
    v->novelty = weirp_get_f64s(r, v->n_novelty);
    return r->failed ? weirp_fail(err, WEIR_CORRUPT, 0, "section \"intervals\" is damaged") : WEIR_OK;
}

void weirp_state_save_levels(const weirp_state *s, uint64_t checkpoint_log, uint64_t costs_log, weirp_writer *w) {
    weirp_put_u32(w, LEVELS_VERSION);
    weirp_put_u64(w, checkpoint_log);
    weirp_put_u64(w, costs_log);
    weirp_costs_save_levels(&s->costs, weirp_state_n_models(s), w);
}

/* Levels that are newer than the section "costs"; older ones are somebody's leftovers. */
static weir_status load_levels(weirp_state *s, weirp_bytes *r, weir_error *err) {
    uint32_t version = weirp_get_u32(r);
    if (!r->failed && version > LEVELS_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "section \"levels\" is version %u; this weir reads up to %u: update weir",
                          version, LEVELS_VERSION);
    uint64_t checkpoint_log = weirp_get_u64(r), costs_log = weirp_get_u64(r);
    if (r->failed || checkpoint_log > costs_log)
        return weirp_fail(err, WEIR_CORRUPT, 0, "section \"levels\" is damaged");
    if (costs_log < s->checkpoint_log) return WEIR_OK;
    if (!weirp_costs_load_levels(&s->costs, weirp_state_n_models(s), r))
        return weirp_fail(err, WEIR_CORRUPT, 0, "section \"levels\" is damaged");
    if (checkpoint_log > s->checkpoint_log) s->checkpoint_log = checkpoint_log;
    s->costs_log = costs_log;
    return WEIR_OK;
}

/* A loader that ran out of memory says that its section is damaged, for it has read less than there should be. */
static weir_status blame(weir_status st, const weirp_bytes *r, weir_error *err) {
    if (st != WEIR_CORRUPT || !r->out_of_memory) return st;
    if (err) *err = (weir_error){0};
    return weirp_nomem(err);
}

static weir_status load_sections(weirp_state *s, weirp_snapshot *snapshot, weir_error *err) {
    weirp_bytes r;
    size_t n = 0;
    weir_status st;
    if (!weirp_snapshot_version(snapshot))
        return weirp_fail(err, WEIR_NOTFOUND, 0, "the store holds nothing yet: train it, or let it learn");
    WEIRP_TRY(read_section(snapshot, "meta", &r, err));
    WEIRP_TRY(blame(load_meta(s, &n, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "pool", &r, err));
    WEIRP_TRY(blame(weirp_pool_read(&s->pool, &r, err), &r, err));
    if (s->pool->n_models != n)
        return weirp_fail(err, WEIR_CORRUPT, 0, "section \"pool\" has another number of models");
    WEIRP_TRY(read_section(snapshot, "featurizer", &r, err));
    WEIRP_TRY(blame(weirp_featurizer_load(&s->featurizer, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "quality", &r, err));
    WEIRP_TRY(blame(weirp_quality_load(&s->quality, n, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "costs", &r, err));
    WEIRP_TRY(blame(weirp_costs_load(&s->costs, n, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "intervals", &r, err));
    WEIRP_TRY(blame(load_intervals(&s->intervals, n, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "adaptive", &r, err));
    WEIRP_TRY(blame(weirp_adaptive_load(&s->adaptive, &r, err), &r, err));
    if (weirp_adaptive_n_models(s->adaptive) != n)
        return weirp_fail(err, WEIR_CORRUPT, 0, "section \"adaptive\" has another number of models");
    st = read_section(snapshot, WEIRP_LEVELS_SECTION, &r, NULL);
    if (st == WEIR_NOTFOUND) return WEIR_OK;
    if (st != WEIR_OK) WEIRP_TRY(read_section(snapshot, WEIRP_LEVELS_SECTION, &r, err));
    WEIRP_TRY(blame(load_levels(s, &r, err), &r, err));
done:
    return st;
}

/* Estimators read `dim` numbers from the featurizer's dense vector: a store whose parts disagree must not get there. */
static weir_status check_dims(const weirp_state *s, weir_error *err) {
    size_t dim = weirp_featurizer_dim(s->featurizer);
    const weirp_estimator *all[WEIRP_MAX_MEMBERS + 4];
    size_t n = 0;
    for (size_t k = 0; k < s->quality.n_members; k++) all[n++] = s->quality.member[k];
    all[n++] = s->costs.input_tokens.shape;
    all[n++] = s->costs.output_tokens.shape;
    all[n++] = s->costs.cost.shape;
    all[n++] = s->costs.latency.shape;
    for (size_t i = 0; i < n; i++)
        if (all[i] && all[i]->dim != dim)
            return weirp_fail(err, WEIR_CORRUPT, 0, "an estimator was fitted on other features");
    if (weirp_adaptive_dim(s->adaptive) != dim)
        return weirp_fail(err, WEIR_CORRUPT, 0, "section \"adaptive\" was made for other features");
    return WEIR_OK;
}

weir_status weirp_state_load(weirp_state **out, weirp_snapshot *snapshot, weir_error *err) {
    weirp_state *s = weirp_array(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    weir_status st;
    WEIRP_TRY(load_sections(s, snapshot, err));
    WEIRP_TRY(check_dims(s, err));
    WEIRP_TRY(weirp_learn_replay(s, snapshot, err));
    s->store_version = weirp_snapshot_version(snapshot);
    s->n_logged = weirp_snapshot_n_log(snapshot);
done:
    if (st != WEIR_OK) {
        weirp_state_free(s);
        return st;
    }
    *out = s;
    return WEIR_OK;
}

weir_status weirp_state_names(weirp_snapshot *snapshot, weir_pool **pool, uint64_t *trained_version, weir_error *err) {
    weirp_state s = {0};
    weirp_bytes r;
    size_t n = 0;
    weir_status st;
    *pool = NULL;
    if (!weirp_snapshot_version(snapshot))
        return weirp_fail(err, WEIR_NOTFOUND, 0, "the store holds nothing yet: train it, or let it learn");
    WEIRP_TRY(read_section(snapshot, "meta", &r, err));
    WEIRP_TRY(blame(load_meta(&s, &n, &r, err), &r, err));
    WEIRP_TRY(read_section(snapshot, "pool", &r, err));
    WEIRP_TRY(blame(weirp_pool_read(pool, &r, err), &r, err));
    *trained_version = s.trained_version;
done:
    free(s.disabled);
    return st;
}

weir_status weirp_state_open(weirp_state **out, const char *path, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weir_status st;
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    WEIRP_TRY(weirp_state_load(out, snapshot, err));
done:
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st;
}

weir_status weirp_state_commit(const weirp_state *s, weirp_store *store, const weirp_change *more, size_t n_more,
                               weir_error *err) {
    return weirp_state_transact(s, store, more, n_more, NULL, NULL, err);
}

weir_status weirp_state_transact(const weirp_state *s, weirp_store *store, const weirp_change *more, size_t n_more,
                                 weirp_table_work work, void *user, weir_error *err) {
    weirp_sections w;
    weir_status st = weirp_state_save(s, &w, err);
    if (st != WEIR_OK) return st;
    weirp_change *changes = weirp_array(n_more + w.n + 1, sizeof *changes);
    if (changes) {
        if (n_more) memcpy(changes, more, n_more * sizeof *more);
        for (size_t i = 0; i < w.n; i++)
            changes[n_more + i] = (weirp_change){.kind = WEIRP_PUT,
                                                 .section = w.section[i].name,
                                                 .data = w.section[i].bytes.data,
                                                 .size = w.section[i].bytes.size};
        /* "costs" says it all again */
        changes[n_more + w.n] = (weirp_change){.kind = WEIRP_DELETE, .section = WEIRP_LEVELS_SECTION};
        st = weirp_store_transact(store, changes, n_more + w.n + 1, work, user, err);
    } else {
        st = weirp_nomem(err);
    }
    free(changes);
    weirp_sections_free(&w);
    return st;
}

/* pool.c: the pool file, and pools as bytes. Format: docs/formats.md, "Pool". SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/price/model_keys.h"
#include "src/price/price.h"

typedef struct entry {
    weir_model model;
    size_t line;
} entry;

typedef struct file {
    weirp_yaml_list models; /* of entry */
} file;

static const weirp_yaml_key model_keys[] = {WEIRP_MODEL_KEYS(entry, model)};
static const weirp_yaml_map model_map = {"a model with its name and prices",
                                         sizeof(entry),
                                         sizeof model_keys / sizeof model_keys[0],
                                         model_keys,
                                         .has_line = true,
                                         .line_offset = offsetof(entry, line)};
static const weirp_yaml_key file_keys[] = {
    {"models", WEIRP_YAML_MAPS, offsetof(file, models), .required = true, .map = &model_map},
};
static const weirp_yaml_map file_map = {"a pool file with the key \"models\"", sizeof(file), 1, file_keys};

static weir_status check_names(const char *path, const file *f, weir_error *err) {
    const entry *entries = f->models.items;
    if (!f->models.n) return weirp_fail(err, WEIR_NODATA, 0, "%s: \"models\" is empty: a pool needs a model", path);
    weirp_names names = {0};
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < f->models.n && st == WEIR_OK; i++) {
        const char *name = entries[i].model.name;
        char shown[64];
        bool added;
        size_t at = weirp_names_add(&names, name, strlen(name), &added);
        if (at == WEIRP_NO_NAME)
            st = weirp_nomem(err);
        else if (!added)
            st = weirp_fail(err, WEIR_PARSE, entries[i].line, "%s:%zu: model \"%s\" comes twice (first on line %zu)",
                            path, entries[i].line, weirp_excerpt(shown, sizeof shown, name, strlen(name)),
                            entries[at].line);
    }
    weirp_names_free(&names);
    return st;
}

weir_status weir_pool_load(weir_pool **out, const char *path, weir_error *err) {
    file f;
    *out = NULL;
    weir_status st = weirp_yaml_load(path, &file_map, &f, err);
    if (st) return st;
    weir_pool *pool = NULL;
    WEIRP_TRY(check_names(path, &f, err));
    pool = weirp_array(1, sizeof *pool);
    if (pool) pool->models = weirp_array(f.models.n, sizeof *pool->models);
    if (!pool || !pool->models) {
        st = weirp_nomem(err);
        goto done;
    }
    entry *entries = f.models.items;
    for (size_t i = 0; i < f.models.n; i++) {
        pool->models[i] = entries[i].model;
        entries[i].model.name = NULL; /* the pool's now */
    }
    pool->n_models = f.models.n;
    *out = pool;
    pool = NULL;
done:
    weir_pool_free(pool);
    weirp_yaml_free(&file_map, &f);
    return st;
}

void weir_pool_free(weir_pool *pool) {
    if (!pool) return;
    for (size_t i = 0; i < pool->n_models; i++) free(pool->models[i].name);
    free(pool->models);
    free(pool);
}

size_t weir_pool_find(const weir_pool *pool, const char *name) {
    for (size_t i = 0; pool && i < pool->n_models; i++)
        if (!strcmp(pool->models[i].name, name)) return i;
    return (size_t)-1;
}

weir_model weir_model_defaults(void) {
    return (weir_model){
        .input_usd_per_mtok = NAN,
        .output_usd_per_mtok = NAN,
        .max_input_tokens = INFINITY,
        .max_output_tokens = INFINITY,
        .cached_input_usd_per_mtok = NAN,
        .cache_write_usd_per_mtok = NAN,
        .audio_input_usd_per_mtok = NAN,
        .reasoning_usd_per_mtok = NAN,
        .audio_output_usd_per_mtok = NAN,
    };
}

double weirp_price_tokens(double usd_per_mtok, double tokens) {
    return usd_per_mtok == 0 || tokens == 0 ? 0 : usd_per_mtok * tokens * 1e-6;
}

double weirp_price(const weir_model *model, double input_tokens, double output_tokens) {
    return model->request_usd + weirp_price_tokens(model->input_usd_per_mtok, input_tokens) +
           weirp_price_tokens(model->output_usd_per_mtok, output_tokens);
}

weir_status weirp_pool_copy(weir_pool **out, const weir_pool *pool, weir_error *err) {
    *out = NULL;
    weir_pool *copy = weirp_array(1, sizeof *copy);
    if (copy) copy->models = weirp_array(pool->n_models, sizeof *copy->models);
    if (!copy || !copy->models) goto nomem;
    for (; copy->n_models < pool->n_models; copy->n_models++) {
        weir_model *m = &copy->models[copy->n_models];
        *m = pool->models[copy->n_models];
        m->name = weirp_strndup(m->name, strlen(m->name));
        if (!m->name) goto nomem;
    }
    *out = copy;
    return WEIR_OK;
nomem:
    weir_pool_free(copy);
    return weirp_nomem(err);
}

/* Version 1 ended with the limits. */
enum { BYTES_VERSION = 2, LEAST_MODEL_BYTES = 8 + 5 * 8 };

void weirp_pool_save(const weir_pool *pool, weirp_writer *w) {
    weirp_put_u32(w, BYTES_VERSION);
    weirp_put_u64(w, pool->n_models);
    for (size_t i = 0; i < pool->n_models; i++) {
        const weir_model *m = &pool->models[i];
        weirp_put_text(w, m->name);
        weirp_put_f64(w, m->input_usd_per_mtok);
        weirp_put_f64(w, m->output_usd_per_mtok);
        weirp_put_f64(w, m->request_usd);
        weirp_put_f64(w, m->max_input_tokens);
        weirp_put_f64(w, m->max_output_tokens);
        weirp_put_f64(w, m->cached_input_usd_per_mtok);
        weirp_put_f64(w, m->cache_write_usd_per_mtok);
        weirp_put_f64(w, m->audio_input_usd_per_mtok);
        weirp_put_f64(w, m->reasoning_usd_per_mtok);
        weirp_put_f64(w, m->audio_output_usd_per_mtok);
    }
}

weir_status weirp_pool_read(weir_pool **out, weirp_bytes *r, weir_error *err) {
    *out = NULL;
    uint32_t version = weirp_get_u32(r);
    uint64_t n = weirp_get_u64(r);
    if (!r->failed && version > BYTES_VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "the pool was written by a newer version");
    if (r->failed || !version || n > (r->size - r->at) / LEAST_MODEL_BYTES)
        return weirp_fail(err, WEIR_CORRUPT, 0, "the stored pool is damaged");
    weir_pool *pool = weirp_array(1, sizeof *pool);
    if (pool) pool->models = weirp_array((size_t)n, sizeof *pool->models);
    if (!pool || !pool->models) {
        weir_pool_free(pool);
        return weirp_nomem(err);
    }
    for (; pool->n_models < n && !r->failed; pool->n_models++) {
        weir_model *m = &pool->models[pool->n_models];
        *m = weir_model_defaults();
        m->name = weirp_get_text(r);
        m->input_usd_per_mtok = weirp_get_f64(r);
        m->output_usd_per_mtok = weirp_get_f64(r);
        m->request_usd = weirp_get_f64(r);
        m->max_input_tokens = weirp_get_f64(r);
        m->max_output_tokens = weirp_get_f64(r);
        if (version < 2) continue;
        m->cached_input_usd_per_mtok = weirp_get_f64(r);
        m->cache_write_usd_per_mtok = weirp_get_f64(r);
        m->audio_input_usd_per_mtok = weirp_get_f64(r);
        m->reasoning_usd_per_mtok = weirp_get_f64(r);
        m->audio_output_usd_per_mtok = weirp_get_f64(r);
    }
    if (r->failed) {
        weir_pool_free(pool);
        return weirp_fail(err, WEIR_CORRUPT, 0, "the stored pool is damaged");
    }
    *out = pool;
    return WEIR_OK;
}

size_t weirp_pool_add(weir_pool *pool, const char *name) {
    size_t at = weir_pool_find(pool, name);
    if (at != (size_t)-1) return at;
    char *copy = weirp_strndup(name, strlen(name));
    weir_model *grown = copy ? realloc(pool->models, (pool->n_models + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(copy);
        return (size_t)-1;
    }
    pool->models = grown;
    grown[pool->n_models] = weir_model_defaults();
    grown[pool->n_models].name = copy;
    return pool->n_models++;
}

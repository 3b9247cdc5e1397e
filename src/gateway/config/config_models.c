/* config_models.c: the pool, what its models can do and where they can be had.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/gateway/config/config_file.h"
#include "src/price/price.h"

enum { NAME_BYTES = 256, SHOWN = 96 };

/* NULL, or what is wrong with a name that stands in headers, logs and metrics. */
static const char *name_fault(const char *name) {
    size_t len = strlen(name);
    if (len > NAME_BYTES) return "is longer than 256 bytes";
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f) return "holds a space or a control character";
    return NULL;
}

static const char *reserved(const char *name) {
    if (!strcmp(name, "weir") || !strncmp(name, "weir:", 5))
        return "is reserved: clients say \"weir\" to have a model chosen";
    if (!strncmp(name, "router-", 7)) return "is reserved: names that begin with \"router-\" ask for a policy";
    return NULL;
}

/* ---- models ---- */

static weir_status add_model(weirp_maker *m, weirp_file_model *f, size_t at) {
    char shown[SHOWN];
    const char *name = f->model.name, *fault = name_fault(name);
    if (!fault) fault = reserved(name);
    if (fault)
        return weirp_maker_wrong(m, f->line, "the name \"%s\" %s",
                                 weirp_excerpt(shown, sizeof shown, name, strlen(name)), fault);
    if (!f->deployments.n)
        return weirp_maker_wrong(m, f->line, "model \"%s\" has no deployments: say at which provider it can be had",
                                 weirp_excerpt(shown, sizeof shown, name, strlen(name)));
    m->config->pool->models[at] = f->model;
    f->model.name = NULL; /* the pool's now */
    m->config->pool->n_models++;
    m->config->abilities[at] = f->abilities;
    return WEIR_OK;
}

static weir_status add_models(weirp_maker *m) {
    weirp_file_model *f = m->file.models.items;
    weirp_config *c = m->config;
    size_t n = m->file.models.n;
    if (!n) return weirp_maker_wrong(m, 1, "\"models\" is empty: there must be one");
    if (n > WEIR_MAX_MODELS)
        return weirp_maker_wrong(m, f[WEIR_MAX_MODELS].line, "a pool holds at most %d models", WEIR_MAX_MODELS);
    c->pool = weirp_array(1, sizeof *c->pool);
    c->abilities = weirp_array(n, sizeof *c->abilities);
    if (c->pool) c->pool->models = weirp_array(n, sizeof *c->pool->models);
    if (!c->pool || !c->pool->models || !c->abilities) return weirp_nomem(m->err);
    weirp_names names = {0};
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < n && !st; i++) {
        bool added;
        size_t at = weirp_names_add(&names, f[i].model.name, strlen(f[i].model.name), &added);
        char shown[SHOWN];
        if (at == WEIRP_NO_NAME)
            st = weirp_nomem(m->err);
        else if (!added)
            st = weirp_maker_wrong(m, f[i].line, "model \"%s\" comes twice (first on line %zu)",
                                   weirp_excerpt(shown, sizeof shown, f[i].model.name, strlen(f[i].model.name)),
                                   f[at].line);
        else
            st = add_model(m, &f[i], i);
    }
    weirp_names_free(&names);
    return st;
}

weir_status weirp_maker_model(const weirp_maker *m, size_t line, const char *key, const char *name, size_t *index) {
    const weir_pool *pool = m->config->pool;
    *index = weir_pool_find(pool, name);
    if (*index != (size_t)-1) return WEIR_OK;
    const char **names = weirp_array(pool->n_models, sizeof *names);
    if (!names) return weirp_nomem(m->err);
    for (size_t i = 0; i < pool->n_models; i++) names[i] = pool->models[i].name;
    weir_status st = weirp_maker_unknown(m, line, key, "model", name, names, pool->n_models);
    free(names);
    return st;
}

/* ---- deployments ---- */

static weir_status find_provider(weirp_maker *m, const weirp_file_deployment *f, size_t *at, bool *used) {
    const weirp_config *c = m->config;
    for (*at = 0; *at < c->n_providers; ++*at) {
        if (strcmp(c->providers[*at].name, f->provider) != 0) continue;
        used[*at] = true;
        return WEIR_OK;
    }
    const char **names = weirp_array(c->n_providers, sizeof *names);
    if (!names) return weirp_nomem(m->err);
    for (size_t i = 0; i < c->n_providers; i++) names[i] = c->providers[i].name;
    weir_status st =
        weirp_maker_unknown(m, f->provider_line, "provider", "provider", f->provider, names, c->n_providers);
    free(names);
    return st;
}

static weir_status add_deployment(weirp_maker *m, const weirp_file_deployment *f, size_t model, bool *used) {
    weirp_config *c = m->config;
    weirp_deployment *d = &c->deployments[c->n_deployments++];
    weir_status st;
    WEIRP_TRY(find_provider(m, f, &d->provider, used));
    bool no_stream_options, max_completion_tokens;
    const char *provider = c->providers[d->provider].name,
               *vendor_model = f->model ? f->model : c->pool->models[model].name;
    weirp_provider_habits(provider, &no_stream_options, &max_completion_tokens);
    d->model = model;
    d->vendor_model = weirp_strndup(vendor_model, strlen(vendor_model));
    if (f->name)
        d->name = weirp_strndup(f->name, strlen(f->name));
    else if (asprintf(&d->name, "%s/%s", provider, vendor_model) < 0)
        d->name = NULL;
    d->weight = f->weight;
    d->default_max_output_tokens = f->default_max_output_tokens;
    d->legacy_completions = f->legacy_completions;
    d->no_stream_options = f->no_stream_options_line ? f->no_stream_options : no_stream_options;
    d->max_completion_tokens = f->max_completion_tokens_line ? f->max_completion_tokens : max_completion_tokens;
    if (!d->vendor_model || !d->name) return weirp_nomem(m->err);
    const char *fault = name_fault(d->vendor_model);
    if (fault) return weirp_maker_wrong(m, f->line, "key \"model\" %s", fault);
    fault = name_fault(d->name);
    if (fault) return weirp_maker_wrong(m, f->line, "key \"name\" %s", fault);
done:
    return st;
}

static weir_status unique(const weirp_maker *m, weirp_names *names, const weirp_file_deployment *f, size_t *lines) {
    const weirp_deployment *d = &m->config->deployments[m->config->n_deployments - 1];
    bool added;
    size_t at = weirp_names_add(names, d->name, strlen(d->name), &added);
    char shown[SHOWN];
    if (at == WEIRP_NO_NAME) return weirp_nomem(m->err);
    if (added) {
        lines[at] = f->line;
        return WEIR_OK;
    }
    return weirp_maker_wrong(m, f->line, "deployment \"%s\" comes twice (first on line %zu): give one a \"name\"",
                             weirp_excerpt(shown, sizeof shown, d->name, strlen(d->name)), lines[at]);
}

static weir_status add_deployments(weirp_maker *m) {
    const weirp_file_model *models = m->file.models.items;
    weirp_config *c = m->config;
    size_t n = 0;
    for (size_t i = 0; i < m->file.models.n; i++) n += models[i].deployments.n;
    size_t *lines = weirp_array(n, sizeof *lines);
    bool *used = weirp_array(c->n_providers, sizeof *used);
    weirp_names names = {0};
    c->deployments = weirp_array(n, sizeof *c->deployments);
    weir_status st = lines && used && c->deployments ? WEIR_OK : weirp_nomem(m->err);
    for (size_t i = 0; i < m->file.models.n && !st; i++) {
        const weirp_file_deployment *f = models[i].deployments.items;
        for (size_t k = 0; k < models[i].deployments.n && !st; k++) {
            st = add_deployment(m, &f[k], i, used);
            if (!st) st = unique(m, &names, &f[k], lines);
        }
    }
    const weirp_file_provider *providers = m->file.providers.items;
    for (size_t i = 0; i < c->n_providers && !st; i++)
        if (!used[i])
            st = weirp_maker_warn(m, providers[i].line, "no model is to be had at provider \"%s\"", providers[i].name);
    weirp_names_free(&names);
    free(lines);
    free(used);
    return st;
}

weir_status weirp_maker_models(weirp_maker *m) {
    weir_status st = add_models(m);
    return st ? st : add_deployments(m);
}

/* config.c: from the file to a configuration. SPDX-License-Identifier: GPL-3.0-or-later */
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/base/words.h"
#include "src/gateway/config/config_file.h"
#include "src/linalg/parallel.h"

enum { SENTENCE = 384, SHOWN = 96, ALL_NAMES = 160 };

/* ---- saying what is wrong ---- */

weir_status weirp_maker_wrong(const weirp_maker *m, size_t line, const char *format, ...) {
    char text[SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return weirp_fail(m->err, WEIR_PARSE, line, "%s:%zu: %s", m->path, line, text);
}

weir_status weirp_maker_warn(weirp_maker *m, size_t line, const char *format, ...) {
    weirp_config *c = m->config;
    char text[SENTENCE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!weirp_reserve((void **)&c->warnings, &m->warnings_capacity, c->n_warnings + 1, sizeof(char *)) ||
        asprintf(&c->warnings[c->n_warnings], "%s:%zu: %s", m->path, line, text) < 0)
        return weirp_nomem(m->err);
    c->n_warnings++;
    return WEIR_OK;
}

weir_status weirp_maker_unknown(const weirp_maker *m, size_t line, const char *key, const char *what, const char *word,
                                const char *const *names, size_t n) {
    char shown[SHOWN], near_shown[SHOWN], all[ALL_NAMES] = "";
    size_t used = 0;
    const char *near = weirp_suggest(word, names, n);
    weirp_excerpt(shown, sizeof shown, word, strlen(word));
    if (near)
        return weirp_maker_wrong(m, line, "key \"%s\" is %s: no %s has that name (did you mean \"%s\"?)", key, shown,
                                 what, weirp_excerpt(near_shown, sizeof near_shown, near, strlen(near)));
    for (size_t i = 0; i < n; i++) {
        size_t need = strlen(names[i]) + 2;
        if (used + need + 4 > sizeof all) {
            strcpy(all + used, ", ...");
            break;
        }
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    return weirp_maker_wrong(m, line, "key \"%s\" is %s: no %s has that name (known: %s)", key, shown, what, all);
}

char *weirp_maker_path(const weirp_maker *m, const char *path) {
    const char *slash = strrchr(m->path, '/');
    char *out;
    if (*path == '/' || !slash) return weirp_strndup(path, strlen(path));
    return asprintf(&out, "%.*s/%s", (int)(slash - m->path), m->path, path) < 0 ? NULL : out;
}

/* ---- the gateway's own ---- */

weir_status weirp_maker_webhook(const weirp_maker *m, size_t line, char **file, char **url) {
    if (*file && strncmp(*file, "http://", 7) != 0 && strncmp(*file, "https://", 8) != 0)
        return weirp_maker_wrong(m, line, "key \"webhook\" must be an http:// or https:// URL");
    *url = *file;
    *file = NULL;
    return WEIR_OK;
}

static const char *listen_fault(const char *address) {
    const char *colon = strrchr(address, ':');
    char *end;
    if (!colon || colon[1] < '0' || colon[1] > '9') return "must be HOST:PORT, [IPv6]:PORT or :PORT";
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port > 65535) return "must end with a port from 0 to 65535";
    bool v6 = *address == '[';
    if (v6 ? colon[-1] != ']' : strcspn(address, ":") != (size_t)(colon - address))
        return "must have an IPv6 address in brackets, as in [::1]:8080";
    return NULL;
}

static weir_status set_basics(weirp_maker *m) {
    weirp_file *f = &m->file;
    weirp_config *c = m->config;
    const char *fault = listen_fault(f->listen);
    if (fault) return weirp_maker_wrong(m, f->listen_line, "key \"listen\" %s", fault);
    c->path = weirp_strndup(m->path, strlen(m->path));
    c->store = weirp_maker_path(m, f->store);
    c->listen = f->listen;
    f->listen = NULL; /* the configuration's now */
    c->threads = f->threads ? (unsigned)f->threads : weirp_n_cores();
    c->busy_poll_us = (unsigned)f->busy_poll_us;
    return c->path && c->store ? WEIR_OK : weirp_nomem(m->err);
}

static void set_limits(weirp_config *c, const weirp_file *f) {
    c->limits.header_bytes = (size_t)f->limits.header_bytes;
    c->limits.body_bytes = (size_t)f->limits.body_bytes;
    c->limits.answer_bytes = (size_t)f->limits.answer_bytes;
    c->limits.concurrent = (size_t)f->limits.concurrent;
    c->limits.connections = (size_t)f->limits.connections;
    c->limits.request_ms = (unsigned)f->limits.request_ms;
    c->limits.client_idle_s = (unsigned)f->limits.client_idle_s;
    c->retry.max = (unsigned)f->retry.max;
    c->retry.base_ms = (unsigned)f->retry.base_ms;
    c->retry.max_ms = (unsigned)f->retry.max_ms;
    c->retry.other_models = f->retry.other_models;
    c->breaker.failures = (unsigned)f->breaker.failures;
    c->breaker.window_ms = (unsigned)f->breaker.window_ms;
    c->breaker.open_ms = (unsigned)f->breaker.open_ms;
    c->hedge.on = f->hedge.on;
    c->hedge.max_share = f->hedge.max_share;
    c->hedge.least_ms = (unsigned)f->hedge.least_ms;
    c->log.format = (weirp_log_format)f->log.format;
    c->log.level = (weirp_log_level)f->log.level;
    c->log.requests = f->log.requests;
    c->traffic.on = f->traffic.on;
    c->traffic.prompts = f->traffic.prompts;
    c->traffic.commit_ms = (unsigned)f->traffic.commit_ms;
    c->traffic.refresh_ms = (unsigned)f->traffic.refresh_ms;
    c->traffic.queue_bytes = (size_t)f->traffic.queue_bytes;
    c->virtual_keys = f->auth.virtual_keys;
    c->budgets.wait_ms = (unsigned)f->budgets.wait_ms;
    c->budgets.refuse_status = f->budgets.refuse_status ? 402 : 429;
    c->shutdown.drain_ms = (unsigned)f->shutdown.drain_ms;
}

/* Compiled once here, so that a wrong one is found before anything is served. */
static weir_status set_redaction(weirp_maker *m) {
    weirp_config *c = m->config;
    char **patterns = m->file.traffic.redact.items;
    for (size_t i = 0; i < m->file.traffic.redact.n; i++) {
        regex_t regex;
        char why[128], shown[SHOWN];
        int failed = *patterns[i] ? regcomp(&regex, patterns[i], REG_EXTENDED) : REG_BADPAT;
        if (failed) regerror(failed, *patterns[i] ? &regex : NULL, why, sizeof why);
        if (failed)
            return weirp_maker_wrong(m, m->file.traffic.redact_line, "key \"redact\": \"%s\": %s",
                                     weirp_excerpt(shown, sizeof shown, patterns[i], strlen(patterns[i])), why);
        bool empty = !regexec(&regex, "", 0, NULL, 0);
        regfree(&regex);
        if (empty)
            return weirp_maker_wrong(m, m->file.traffic.redact_line,
                                     "key \"redact\": \"%s\" matches nothing at all, and so everywhere",
                                     weirp_excerpt(shown, sizeof shown, patterns[i], strlen(patterns[i])));
    }
    c->traffic.redact = patterns;
    c->traffic.n_redact = m->file.traffic.redact.n;
    m->file.traffic.redact = (weirp_yaml_list){0}; /* the configuration's now */
    return WEIR_OK;
}

static weir_status check_whole(weirp_maker *m) {
    const weirp_file *f = &m->file;
    weirp_config *c = m->config;
    size_t at;
    weir_status st = WEIR_OK;
    if (c->retry.max_ms < c->retry.base_ms)
        return weirp_maker_wrong(m, f->retry.max_ms_line ? f->retry.max_ms_line : 1,
                                 "in \"retry\", \"max_ms\" (%u) must not be less than \"base_ms\" (%u)",
                                 c->retry.max_ms, c->retry.base_ms);
    if (f->embeddings) {
        WEIRP_TRY(weirp_maker_model(m, f->embeddings_line, "embeddings", f->embeddings, &at));
        c->embeddings = m->file.embeddings;
        m->file.embeddings = NULL;
    }
    for (size_t i = 0; i < c->n_providers && !st; i++) {
        const char *host = strstr(c->providers[i].base_url, "://") + 3;
        size_t n = strlen(c->listen);
        if (!strncmp(host, c->listen, n) && (!host[n] || host[n] == '/'))
            st = weirp_maker_warn(m, f->listen_line ? f->listen_line : 1,
                                  "provider \"%s\" is where weir itself is to listen (%s)", c->providers[i].name,
                                  c->listen);
    }
    if (!st) st = weirp_maker_webhook(m, f->budgets.webhook_line, &m->file.budgets.webhook, &c->budgets.webhook);
    bool local =
        !strncmp(c->listen, "127.", 4) || !strncmp(c->listen, "[::1]", 5) || !strncmp(c->listen, "localhost:", 10);
    if (!st && !local && !c->n_client_keys && !c->virtual_keys)
        st = weirp_maker_warn(m, f->listen_line, "anyone who can reach %s may spend: \"auth\" has no keys", c->listen);
done:
    return st;
}

/* Names and prices in the file's order; -0 is 0. */
static weir_status set_price_version(weirp_maker *m) {
    weirp_writer w = {0};
    const weir_pool *pool = m->config->pool;
    for (size_t i = 0; i < pool->n_models; i++) {
        const weir_model *p = &pool->models[i];
        const double prices[] = {p->input_usd_per_mtok,        p->output_usd_per_mtok,      p->request_usd,
                                 p->cached_input_usd_per_mtok, p->cache_write_usd_per_mtok, p->audio_input_usd_per_mtok,
                                 p->reasoning_usd_per_mtok,    p->audio_output_usd_per_mtok};
        weirp_put_text(&w, p->name);
        for (size_t k = 0; k < sizeof prices / sizeof prices[0]; k++) weirp_put_f64(&w, prices[k] + 0.0);
    }
    if (!w.failed) m->config->price_version = XXH3_64bits(w.data, w.size);
    bool failed = w.failed;
    weirp_writer_free(&w);
    return failed ? weirp_nomem(m->err) : WEIR_OK;
}

/* ---- all of it ---- */

weir_status weirp_config_load(weirp_config **out, const char *path, weir_error *err) {
    weirp_maker m = {.path = path, .err = err};
    *out = NULL;
    weir_status st = weirp_yaml_load(path, &weirp_file_schema, &m.file, err);
    if (st) return st;
    m.config = weirp_array(1, sizeof *m.config);
    if (!m.config) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(set_basics(&m));
    set_limits(m.config, &m.file);
    WEIRP_TRY(weirp_maker_client_keys(&m));
    WEIRP_TRY(weirp_maker_providers(&m));
    WEIRP_TRY(weirp_maker_models(&m));
    WEIRP_TRY(weirp_maker_budgets(&m));
    WEIRP_TRY(weirp_maker_policy(&m, &m.file.policy, &m.config->policy));
    WEIRP_TRY(weirp_maker_pacing(&m));
    WEIRP_TRY(weirp_maker_rollout(&m));
    WEIRP_TRY(set_redaction(&m));
    WEIRP_TRY(check_whole(&m));
    WEIRP_TRY(set_price_version(&m));
    *out = m.config;
    m.config = NULL;
done:
    weirp_config_free(m.config);
    weirp_yaml_free(&weirp_file_schema, &m.file);
    return st;
}

static void free_texts(char **texts, size_t n) {
    for (size_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

void weirp_config_free(weirp_config *c) {
    if (!c) return;
    for (size_t i = 0; i < c->n_client_keys; i++) weirp_forget(c->client_keys[i]);
    free(c->client_keys);
    for (size_t i = 0; i < c->n_providers; i++) {
        weirp_provider *p = &c->providers[i];
        weirp_forget(p->key);
        for (size_t k = 0; k < p->n_headers; k++) weirp_forget(p->headers[k]); /* may hold one, too */
        free(p->headers);
        free(p->name);
        free(p->base_url);
        free(p->ca_file);
    }
    free(c->providers);
    for (size_t i = 0; i < c->n_deployments; i++) {
        free(c->deployments[i].name);
        free(c->deployments[i].vendor_model);
    }
    free(c->deployments);
    weir_pool_free(c->pool);
    free(c->abilities);
    free_texts(c->traffic.redact, c->traffic.n_redact);
    free_texts(c->warnings, c->n_warnings);
    free(c->embeddings);
    free(c->pacing.budget);
    free(c->budgets.list);
    weirp_forget(c->budgets.webhook); /* may hold a key */
    weirp_forget(c->rollout.webhook);
    free(c->path);
    free(c->listen);
    free(c->store);
    free(c);
}

size_t weirp_config_deployments(const weirp_config *c, size_t model, size_t *n) {
    size_t first = 0;
    while (first < c->n_deployments && c->deployments[first].model != model) first++;
    for (*n = 0; first + *n < c->n_deployments && c->deployments[first + *n].model == model; ++*n) continue;
    return first;
}

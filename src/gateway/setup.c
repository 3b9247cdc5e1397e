/* setup.c: a configuration in force. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/setup.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/endpoints.h"

/* ---- breakers ---- */

static weirp_breaker *breaker_of(weirp_breakers *breakers, const char *name) {
    for (size_t i = 0; i < breakers->n; i++)
        if (!strcmp(breakers->item[i].name, name)) return breakers->item[i].breaker;
    void *grown = realloc(breakers->item, (breakers->n + 1) * sizeof *breakers->item);
    if (!grown) return NULL;
    breakers->item = grown;
    struct weirp_named_breaker *item = &breakers->item[breakers->n];
    item->name = weirp_strndup(name, strlen(name));
    item->breaker = weirp_array(1, sizeof *item->breaker);
    if (!item->name || !item->breaker) {
        free(item->name);
        free(item->breaker);
        return NULL;
    }
    breakers->n++;
    return item->breaker;
}

void weirp_breakers_free(weirp_breakers *breakers) {
    for (size_t i = 0; i < breakers->n; i++) {
        free(breakers->item[i].name);
        free(breakers->item[i].breaker);
    }
    free(breakers->item);
    *breakers = (weirp_breakers){0};
}

/* ---- lines that go with every request to a provider ---- */

static char *line(const char *name, const char *value) {
    size_t size = strlen(name) + strlen(value) + 3;
    char *text = malloc(size);
    if (text) snprintf(text, size, "%s: %s", name, value);
    return text;
}

static char *key_line(const weirp_provider *p) {
    if (p->protocol == WEIRP_PROTOCOL_ANTHROPIC) return line("x-api-key", p->key);
    if (p->protocol == WEIRP_PROTOCOL_GEMINI) return line("x-goog-api-key", p->key);
    size_t size = strlen(p->key) + sizeof "Bearer ";
    char *bearer = malloc(size), *made = NULL;
    if (bearer) {
        snprintf(bearer, size, "Bearer %s", p->key);
        made = line("Authorization", bearer);
        explicit_bzero(bearer, size);
    }
    free(bearer);
    return made;
}

static bool heads_make(weirp_setup *s, size_t p) {
    const weirp_provider *provider = &s->config->providers[p];
    char **head = s->head[p] = weirp_array(provider->n_headers + 3, sizeof *head);
    if (!head) return false;
    size_t n = 0;
    bool whole = (head[n++] = line("Content-Type", "application/json")) != NULL;
    if (provider->key) whole = whole && (head[n++] = key_line(provider)) != NULL;
    if (provider->protocol == WEIRP_PROTOCOL_ANTHROPIC)
        whole = whole && (head[n++] = line("anthropic-version", "2023-06-01")) != NULL;
    for (size_t i = 0; whole && i < provider->n_headers; i++)
        whole = (head[n++] = weirp_strndup(provider->headers[i], strlen(provider->headers[i]))) != NULL;
    s->n_heads[p] = n;
    return whole;
}

static void heads_free(weirp_setup *s) {
    for (size_t p = 0; s->head && p < s->config->n_providers; p++) {
        for (size_t i = 0; s->head[p] && i < s->n_heads[p]; i++) {
            if (s->head[p][i]) explicit_bzero(s->head[p][i], strlen(s->head[p][i]));
            free(s->head[p][i]);
        }
        free(s->head[p]);
    }
    free(s->head);
    free(s->n_heads);
}

/* ---- the whole ---- */

static bool names_make(weirp_setup *s) {
    const weirp_config *c = s->config;
    size_t n = c->pool->n_models;
    s->name_lists = weirp_array(n + c->n_deployments, sizeof *s->name_lists);
    s->deployment_model = weirp_array(c->n_deployments, sizeof *s->deployment_model);
    if (!s->name_lists || !s->deployment_model) return false;
    for (size_t m = 0; m < n; m++) s->name_lists[m] = c->pool->models[m].name;
    for (size_t d = 0; d < c->n_deployments; d++) {
        s->name_lists[n + d] = c->deployments[d].name;
        s->deployment_model[d] = c->deployments[d].model;
    }
    s->names = (weirp_metric_names){.n_models = n,
                                    .n_deployments = c->n_deployments,
                                    .models = s->name_lists,
                                    .deployments = s->name_lists + n,
                                    .deployment_model = s->deployment_model};
    for (size_t i = 0; i < WEIRP_N_APIS; i++) s->names.endpoints[i] = weirp_endpoint_name(i);
    return true;
}

/* A further header's value may be a key (and its last word, after "Bearer "). What is short is more likely a word that
 * log lines need. */
static weir_status hide_header(weirp_log *log, const char *line, weir_error *err) {
    enum { LEAST = 16 };
    const char *value = strstr(line, ": "), *space = strrchr(line, ' ');
    if (!value || strlen(value + 2) < LEAST) return WEIR_OK;
    weir_status st = weirp_log_hide(log, value + 2, err);
    return st == WEIR_OK && strlen(space + 1) >= LEAST ? weirp_log_hide(log, space + 1, err) : st;
}

static weir_status secrets_register(const weirp_config *c, weirp_log *log, weir_error *err) {
    weir_status st = WEIR_OK;
    if (!log) return WEIR_OK;
    for (size_t p = 0; p < c->n_providers; p++) {
        if (c->providers[p].key) WEIRP_TRY(weirp_log_hide(log, c->providers[p].key, err));
        for (size_t h = 0; h < c->providers[p].n_headers; h++)
            WEIRP_TRY(hide_header(log, c->providers[p].headers[h], err));
    }
    for (size_t k = 0; k < c->n_client_keys; k++) WEIRP_TRY(weirp_log_hide(log, c->client_keys[k], err));
done:
    return st;
}

static bool make(weirp_setup *s, weirp_breakers *breakers) {
    weirp_config *c = s->config;
    s->n_heads = weirp_array(c->n_providers, sizeof *s->n_heads);
    s->head = weirp_array(c->n_providers, sizeof *s->head);
    s->breaker = weirp_array(c->n_deployments, sizeof *s->breaker);
    s->key_digest = weirp_array(c->n_client_keys, sizeof *s->key_digest);
    s->rates = weirp_array(c->pool->n_models, sizeof *s->rates);
    if (!s->n_heads || !s->head || !s->breaker || !s->key_digest || !s->rates || !names_make(s)) return false;
    for (size_t p = 0; p < c->n_providers; p++)
        if (!heads_make(s, p)) return false;
    for (size_t d = 0; d < c->n_deployments; d++)
        if (!(s->breaker[d] = breaker_of(breakers, c->deployments[d].name))) return false;
    for (size_t m = 0; m < c->pool->n_models; m++) s->rates[m] = weirp_rates_of(&c->pool->models[m]);
    for (size_t k = 0; k < c->n_client_keys; k++)
        SHA256((const unsigned char *)c->client_keys[k], strlen(c->client_keys[k]), s->key_digest[k]);
    s->breaker_limits = (weirp_breaker_limits){c->breaker.failures, c->breaker.window_ms, c->breaker.open_ms};
    return true;
}

static weir_status redact_make(weirp_setup *s, weir_error *err) {
    const weirp_config *c = s->config;
    s->redact = weirp_array(c->traffic.n_redact, sizeof *s->redact);
    if (!s->redact) return weirp_nomem(err);
    for (; s->n_redact < c->traffic.n_redact; s->n_redact++) {
        int rc = regcomp(&s->redact[s->n_redact], c->traffic.redact[s->n_redact], REG_EXTENDED);
        if (!rc) continue;
        char why[128];
        regerror(rc, &s->redact[s->n_redact], why, sizeof why);
        return weirp_fail(err, WEIR_PARSE, 0, "%s: traffic.redact: \"%s\" isn't an extended regular expression: %s",
                          c->path, c->traffic.redact[s->n_redact], why);
    }
    return WEIR_OK;
}

weir_status weirp_setup_new(weirp_setup **out, weirp_config *config, weirp_breakers *breakers, weirp_log *log,
                            weir_error *err) {
    weirp_setup *s = weirp_array(1, sizeof *s);
    if (!s) {
        weirp_config_free(config);
        return weirp_nomem(err);
    }
    s->config = config;
    atomic_init(&s->refs, 1);
    weir_status st = make(s, breakers) ? redact_make(s, err) : weirp_nomem(err);
    if (st == WEIR_OK) st = secrets_register(config, log, err);
    if (st != WEIR_OK)
        weirp_setup_drop(s);
    else
        *out = s;
    return st;
}

weirp_setup *weirp_setup_keep(weirp_setup *setup) {
    atomic_fetch_add_explicit(&setup->refs, 1, memory_order_relaxed);
    return setup;
}

void weirp_setup_drop(weirp_setup *setup) {
    if (!setup || atomic_fetch_sub_explicit(&setup->refs, 1, memory_order_acq_rel) != 1) return;
    heads_free(setup);
    free(setup->breaker);
    free(setup->key_digest);
    free(setup->rates);
    for (size_t i = 0; i < setup->n_redact; i++) regfree(&setup->redact[i]);
    free(setup->redact);
    free(setup->name_lists);
    free(setup->deployment_model);
    weirp_config_free(setup->config);
    free(setup);
}

bool weirp_setup_admits(const weirp_setup *setup, const char *key) {
    size_t n = setup->config->n_client_keys;
    if (!n) return true;
    if (!key) return false;
    uint8_t digest[WEIRP_KEY_DIGEST];
    SHA256((const unsigned char *)key, strlen(key), digest);
    int admitted = 0;
    for (size_t k = 0; k < n; k++) admitted |= CRYPTO_memcmp(digest, setup->key_digest[k], sizeof digest) == 0;
    return admitted;
}

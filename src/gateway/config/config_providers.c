/* config_providers.c: vendors: where they are, what they speak, what is sent along.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "src/base/names.h"
#include "src/base/words.h"
#include "src/gateway/config/config_file.h"

enum { NAME_BYTES = 64, SHOWN = 96 };

/* Known by name. Addresses as the vendors document them; local servers where they listen by default. OpenAI's newer
 * models take max_completion_tokens only; Mistral refuses members that it doesn't know, stream_options among them (it
 * sends usage at the end of a stream in any case). */
static const struct preset {
    const char *name;
    weirp_protocol protocol;
    bool hosted, no_stream_options, max_completion_tokens;
    const char *base_url;
} presets[] = {
    {"openai", WEIRP_PROTOCOL_OPENAI, true, false, true, "https://api.openai.com/v1"},
    {"anthropic", WEIRP_PROTOCOL_ANTHROPIC, true, false, false, "https://api.anthropic.com/v1"},
    {"gemini", WEIRP_PROTOCOL_GEMINI, true, false, false, "https://generativelanguage.googleapis.com/v1beta"},
    {"mistral", WEIRP_PROTOCOL_OPENAI, true, true, false, "https://api.mistral.ai/v1"},
    {"together", WEIRP_PROTOCOL_OPENAI, true, false, false, "https://api.together.xyz/v1"},
    {"groq", WEIRP_PROTOCOL_OPENAI, true, false, false, "https://api.groq.com/openai/v1"},
    {"openrouter", WEIRP_PROTOCOL_OPENAI, true, false, false, "https://openrouter.ai/api/v1"},
    {"deepseek", WEIRP_PROTOCOL_OPENAI, true, false, false, "https://api.deepseek.com/v1"},
    {"vllm", WEIRP_PROTOCOL_OPENAI, false, false, false, "http://127.0.0.1:8000/v1"},
    {"ollama", WEIRP_PROTOCOL_OPENAI, false, false, false, "http://127.0.0.1:11434/v1"},
    {"llamacpp", WEIRP_PROTOCOL_OPENAI, false, false, false, "http://127.0.0.1:8080/v1"},
};

static const struct preset *preset_of(const char *name) {
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (!strcmp(presets[i].name, name)) return &presets[i];
    return NULL;
}

void weirp_provider_habits(const char *name, bool *no_stream_options, bool *max_completion_tokens) {
    const struct preset *preset = preset_of(name);
    *no_stream_options = preset && preset->no_stream_options;
    *max_completion_tokens = preset && preset->max_completion_tokens;
}

/* ---- addresses ---- */

/* NULL, or what is wrong. Nothing of the address is shown: it may hold a password. */
static const char *url_fault(const char *url) {
    const char *host = !strncmp(url, "https://", 8) ? url + 8 : !strncmp(url, "http://", 7) ? url + 7 : NULL;
    if (!host) return "must begin with https:// or http://";
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
            return "must not hold spaces or characters beyond ASCII";
    size_t n = strcspn(host, "/?#");
    if (memchr(host, '@', n)) return "must not hold a user's name or password: use key_env or key_file";
    if (strpbrk(host, "?#")) return "must not hold \"?\" or \"#\": paths are put after it";
    if (!n || *host == ':') return "names no host";
    return NULL;
}

static bool begins(const char *text, const char *with) {
    return !strncasecmp(text, with, strlen(with));
}

/* Whether what goes there leaves the machine in the clear. */
static bool in_the_clear(const char *url) {
    if (!begins(url, "http://")) return false;
    const char *host = url + 7;
    return !begins(host, "localhost") && !begins(host, "127.") && !begins(host, "[::1]");
}

static weir_status set_address(weirp_maker *m, const weirp_file_provider *f, weirp_provider *p) {
    const struct preset *preset = preset_of(f->name);
    if (!f->base_url && !preset)
        return weirp_maker_wrong(
            m, f->line, "key \"base_url\" is missing: \"%s\" isn't one of the providers whose address is known",
            p->name);
    const char *url = f->base_url ? f->base_url : preset->base_url, *fault = url_fault(url);
    if (fault) return weirp_maker_wrong(m, f->base_url_line, "key \"base_url\" %s", fault);
    size_t len = strlen(url);
    while (url[len - 1] == '/') len--;
    p->base_url = weirp_strndup(url, len);
    p->protocol = f->protocol_line ? (weirp_protocol)f->protocol : preset ? preset->protocol : WEIRP_PROTOCOL_OPENAI;
    return p->base_url ? WEIR_OK : weirp_nomem(m->err);
}

/* ---- what is sent along ---- */

static bool is_token(const char *text) { /* RFC 9110, section 5.6.2 */
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("!#$%&'*+-.^_`|~", *c)) return false;
    return *text;
}

static const char *header_fault(const weirp_yaml_pair *pair) {
    static const char *const own[] = {"host",       "content-length", "content-type",    "transfer-encoding",
                                      "connection", "expect",         "accept-encoding", "te"};
    if (!is_token(pair->key)) return "isn't a header's name";
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (!strcasecmp(pair->key, own[i])) return "is set by weir itself";
    for (const char *c = pair->value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f) return "has a value with control characters";
    return NULL;
}

static weir_status set_headers(weirp_maker *m, const weirp_file_provider *f, weirp_provider *p) {
    const weirp_yaml_pair *pairs = f->headers.items;
    p->headers = weirp_array(f->headers.n, sizeof *p->headers);
    if (!p->headers) return weirp_nomem(m->err);
    for (; p->n_headers < f->headers.n; p->n_headers++) {
        const weirp_yaml_pair *pair = &pairs[p->n_headers];
        const char *fault = header_fault(pair);
        char name[SHOWN];
        if (fault)
            return weirp_maker_wrong(m, pair->line, "header \"%s\" %s",
                                     weirp_excerpt(name, sizeof name, pair->key, strlen(pair->key)), fault);
        if (asprintf(&p->headers[p->n_headers], "%s: %s", pair->key, pair->value) < 0) {
            p->headers[p->n_headers] = NULL;
            return weirp_nomem(m->err);
        }
    }
    return WEIR_OK;
}

static weir_status set_secrets(weirp_maker *m, const weirp_file_provider *f, weirp_provider *p) {
    weir_status st = WEIR_OK;
    if (f->key_env && f->key_file)
        return weirp_maker_wrong(m, f->key_file_line,
                                 "\"key_env\" and \"key_file\" are two places for one key: give one");
    if (f->key_env) st = weirp_maker_key_env(m, f->key_env_line, f->key_env, &p->key);
    if (f->key_file) st = weirp_maker_key_file(m, f->key_file_line, f->key_file, &p->key);
    if (st) return st;
    const struct preset *preset = preset_of(f->name);
    if (p->key && in_the_clear(p->base_url))
        st = weirp_maker_warn(m, f->base_url_line, "provider \"%s\": its key travels without encryption (http://)",
                              p->name);
    if (!st && !p->key && !p->n_headers && preset && preset->hosted && !f->base_url)
        st = weirp_maker_warn(m, f->line, "provider \"%s\" has no key: it will refuse requests", p->name);
    if (!st && f->ca_file) {
        p->ca_file = weirp_maker_path(m, f->ca_file);
        if (!p->ca_file) return weirp_nomem(m->err);
        if (access(p->ca_file, R_OK)) return weirp_maker_wrong(m, f->ca_file_line, "ca_file %s: %m", p->ca_file);
    }
    return st;
}

static weir_status make(weirp_maker *m, const weirp_file_provider *f, weirp_provider *p) {
    weir_status st;
    char name[SHOWN];
    if (!is_token(f->name) || strlen(f->name) > NAME_BYTES)
        return weirp_maker_wrong(
            m, f->line, "key \"name\" is %s: a provider's name is up to %d letters, digits, \"-\", \"_\", \".\"",
            weirp_excerpt(name, sizeof name, f->name, strlen(f->name)), NAME_BYTES);
    p->name = weirp_strndup(f->name, strlen(f->name));
    if (!p->name) return weirp_nomem(m->err);
    WEIRP_TRY(set_address(m, f, p));
    WEIRP_TRY(set_headers(m, f, p));
    WEIRP_TRY(set_secrets(m, f, p));
    const weirp_file_timeouts *t = &f->timeouts;
    p->timeouts = (weirp_timeouts){(unsigned)t->connect_ms, (unsigned)t->first_token_ms, (unsigned)t->idle_ms,
                                   (unsigned)t->total_ms};
done:
    return st;
}

weir_status weirp_maker_providers(weirp_maker *m) {
    const weirp_file_provider *f = m->file.providers.items;
    weirp_config *c = m->config;
    size_t n = m->file.providers.n;
    if (!n) return weirp_maker_wrong(m, 1, "\"providers\" is empty: there must be one");
    c->providers = weirp_array(n, sizeof *c->providers);
    weirp_names names = {0};
    weir_status st = c->providers ? WEIR_OK : weirp_nomem(m->err);
    for (size_t i = 0; i < n && !st; i++) {
        bool added;
        size_t at = weirp_names_add(&names, f[i].name, strlen(f[i].name), &added);
        c->n_providers++; /* also a half-made one is freed */
        if (at == WEIRP_NO_NAME)
            st = weirp_nomem(m->err);
        else if (!added)
            st = weirp_maker_wrong(m, f[i].line, "provider \"%s\" comes twice (first on line %zu)",
                                   c->providers[at].name, f[at].line);
        else
            st = make(m, &f[i], &c->providers[i]);
    }
    weirp_names_free(&names);
    return st;
}

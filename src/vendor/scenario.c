/* scenario.c: scenarios out of YAML, and rules met. SPDX-License-Identifier: GPL-3.0-or-later */
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/vendor/scenario.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))
#define MS          "milliseconds, a number of 0 or more"
#define BYTES       "a number of bytes"
#define TOKENS      "a number of tokens, 0 or more"
#define DAY_MS      86400000.0
#define MOST        1e9

static const char *const apis[] = {"any", "chat", "completions", "embeddings", "messages", "generate", NULL};
static const char *const streams[] = {"any", "only", "never", NULL};
static const char *const kinds[] = {
#define KIND_TEXT(name, text) text,
    VEND_KIND_TABLE(KIND_TEXT)
#undef KIND_TEXT
        NULL};
static const char *const malformations[] = {"no",        "bad_json", "no_done",    "garbage",
                                            "huge_line", "bad_utf8", "not_object", NULL};
static const char *const encodings[] = {"none", "gzip", "gzip_broken", NULL};
static const char *const finishes[] = {"auto", "stop", "length", "tool_calls", "content_filter", "refusal", NULL};
static const char *const tool_ways[] = {"auto", "always", "never", NULL};

const char *vend_api_name(vend_api api) {
    return apis[api + 1];
}

static const weirp_yaml_key match_keys[] = {
    {"model", WEIRP_YAML_TEXT, offsetof(vend_match, model)},
    {"api", WEIRP_YAML_CHOICE, offsetof(vend_match, api), .choices = apis},
    {"stream", WEIRP_YAML_CHOICE, offsetof(vend_match, stream), .choices = streams},
    {"share", WEIRP_YAML_NUMBER, offsetof(vend_match, share), .max = 1, .fallback = 1, .right = "a share from 0 to 1"},
    {"from", WEIRP_YAML_COUNT, offsetof(vend_match, from), .min = 1, .max = MOST, .fallback = 1},
    {"to", WEIRP_YAML_COUNT, offsetof(vend_match, to), .min = 1, .max = MOST, .fallback = VEND_UNSET},
    {"every", WEIRP_YAML_COUNT, offsetof(vend_match, every), .min = 1, .max = MOST, .fallback = 1},
    {"headers", WEIRP_YAML_PAIRS, offsetof(vend_match, headers)},
    {"prompt", WEIRP_YAML_TEXT, offsetof(vend_match, prompt)},
};
static const weirp_yaml_map match_map = {"what a request must show", sizeof(vend_match), COUNT_OF(match_keys),
                                         match_keys};

static const weirp_yaml_key error_keys[] = {
    {"kind", WEIRP_YAML_CHOICE, offsetof(vend_error_rule, kind), .required = true, .choices = kinds,
     .fallback = VEND_UNSET},
    {"status", WEIRP_YAML_COUNT, offsetof(vend_error_rule, status), .min = 400, .max = 599, .fallback = VEND_UNSET,
     .right = "an HTTP status from 400 to 599"},
    {"retry_after", WEIRP_YAML_NUMBER, offsetof(vend_error_rule, retry_after_s), .max = 86400, .fallback = NAN,
     .right = "seconds, a number of 0 or more"},
    {"retry_after_ms", WEIRP_YAML_NUMBER, offsetof(vend_error_rule, retry_after_ms), .max = DAY_MS, .fallback = NAN,
     .right = MS},
    {"message", WEIRP_YAML_TEXT, offsetof(vend_error_rule, message)},
    {"after_events", WEIRP_YAML_COUNT, offsetof(vend_error_rule, after_events), .max = MOST, .fallback = VEND_UNSET},
};
static const weirp_yaml_map error_map = {"an error with its kind", sizeof(vend_error_rule), COUNT_OF(error_keys),
                                         error_keys};

static const weirp_yaml_key cut_keys[] = {
    {"head", WEIRP_YAML_COUNT, offsetof(vend_cut, head), .max = MOST, .fallback = VEND_UNSET, .right = BYTES},
    {"bytes", WEIRP_YAML_COUNT, offsetof(vend_cut, bytes), .max = MOST, .fallback = VEND_UNSET, .right = BYTES},
    {"events", WEIRP_YAML_COUNT, offsetof(vend_cut, events), .max = MOST, .fallback = VEND_UNSET,
     .right = "a number of events"},
    {"reset", WEIRP_YAML_FLAG, offsetof(vend_cut, reset)},
};
static const weirp_yaml_map cut_map = {"where the answer is cut", sizeof(vend_cut), COUNT_OF(cut_keys), cut_keys};

#define USAGE_KEY(name, member)                                                                                        \
    { name, WEIRP_YAML_COUNT, offsetof(vend_usage_rule, member), .max = MOST, .fallback = VEND_UNSET, .right = TOKENS }
static const weirp_yaml_key usage_keys[] = {
    {"send", WEIRP_YAML_FLAG, offsetof(vend_usage_rule, send), .fallback = 1},
    USAGE_KEY("input", input),
    USAGE_KEY("output", output),
    USAGE_KEY("cached", cached),
    USAGE_KEY("cache_write", cache_write),
    USAGE_KEY("reasoning", reasoning),
    USAGE_KEY("audio_input", audio_input),
    USAGE_KEY("audio_output", audio_output),
};
static const weirp_yaml_map usage_map = {"what is counted", sizeof(vend_usage_rule), COUNT_OF(usage_keys), usage_keys};

static const weirp_yaml_key tool_keys[] = {
    {"name", WEIRP_YAML_TEXT, offsetof(vend_tool_rule, name), .required = true},
    {"arguments", WEIRP_YAML_TEXT, offsetof(vend_tool_rule, arguments)},
};
static const weirp_yaml_map tool_map = {"a tool call with its name", sizeof(vend_tool_rule), COUNT_OF(tool_keys),
                                        tool_keys};

#define R(member) offsetof(vend_rule, member)
static const weirp_yaml_key rule_keys[] = {
    {"name", WEIRP_YAML_TEXT, R(name)},
    {"match", WEIRP_YAML_MAP, R(match), .map = &match_map},
    {"latency_ms", WEIRP_YAML_NUMBER, R(latency_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"jitter_ms", WEIRP_YAML_NUMBER, R(jitter_ms), .max = DAY_MS, .right = MS},
    {"first_token_ms", WEIRP_YAML_NUMBER, R(first_token_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"per_token_ms", WEIRP_YAML_NUMBER, R(per_token_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"tokens", WEIRP_YAML_COUNT, R(tokens), .max = 1e6, .fallback = VEND_UNSET, .right = TOKENS},
    {"text", WEIRP_YAML_TEXT, R(text)},
    {"echo", WEIRP_YAML_FLAG, R(echo)},
    {"refusal", WEIRP_YAML_TEXT, R(refusal)},
    {"reasoning", WEIRP_YAML_TEXT, R(reasoning)},
    {"finish", WEIRP_YAML_CHOICE, R(finish), .choices = finishes},
    {"tools", WEIRP_YAML_CHOICE, R(tools), .choices = tool_ways},
    {"tool_calls", WEIRP_YAML_MAPS, R(calls), .map = &tool_map},
    {"usage", WEIRP_YAML_MAP, R(usage), .map = &usage_map},
    {"error", WEIRP_YAML_MAP, R(error), .map = &error_map},
    {"cut", WEIRP_YAML_MAP, R(cut), .map = &cut_map},
    {"malformed", WEIRP_YAML_CHOICE, R(malformed), .choices = malformations},
    {"malformed_after", WEIRP_YAML_COUNT, R(malformed_after), .max = MOST, .fallback = 3,
     .right = "a number of events"},
    {"huge_line_bytes", WEIRP_YAML_COUNT, R(huge_line_bytes), .min = 1, .max = 256 << 20, .fallback = 20 << 20,
     .right = BYTES},
    {"content_type", WEIRP_YAML_TEXT, R(content_type)},
    {"body", WEIRP_YAML_TEXT, R(body)},
    {"html", WEIRP_YAML_FLAG, R(html)},
    {"events", WEIRP_YAML_COUNT, R(events), .min = 1, .max = MOST, .fallback = VEND_UNSET},
    {"event_bytes", WEIRP_YAML_COUNT, R(event_bytes), .min = 1, .max = 1 << 20, .fallback = 16, .right = BYTES},
    {"event_ms", WEIRP_YAML_NUMBER, R(event_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"endless", WEIRP_YAML_FLAG, R(endless)},
    {"ignore_max_tokens", WEIRP_YAML_FLAG, R(ignore_max_tokens)},
    {"silent", WEIRP_YAML_FLAG, R(silent)},
    {"reset", WEIRP_YAML_FLAG, R(reset)},
    {"head_byte_ms", WEIRP_YAML_NUMBER, R(head_byte_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"drip_ms", WEIRP_YAML_NUMBER, R(drip_ms), .max = DAY_MS, .fallback = NAN, .right = MS},
    {"encoding", WEIRP_YAML_CHOICE, R(encoding), .choices = encodings},
    {"outage_ms", WEIRP_YAML_COUNT, R(outage_ms), .max = DAY_MS, .fallback = VEND_UNSET, .right = MS},
    {"headers", WEIRP_YAML_PAIRS, R(headers)},
};
static const weirp_yaml_map rule_map = {"a rule",  sizeof(vend_rule), COUNT_OF(rule_keys),
                                        rule_keys, .has_line = true,  .line_offset = offsetof(vend_rule, line)};

#define PRICE_KEY(name, member)                                                                                        \
    {                                                                                                                  \
        name, WEIRP_YAML_NUMBER, offsetof(vend_price, member), .max = 1e6, .fallback = NAN,                            \
                                                               .right = "USD per million tokens, from 0 to 1e6"        \
    }
static const weirp_yaml_key price_keys[] = {
    {"model", WEIRP_YAML_TEXT, offsetof(vend_price, model), .required = true},
    {"input_usd_per_mtok", WEIRP_YAML_NUMBER, offsetof(vend_price, input), .required = true, .max = 1e6,
     .right = "USD per million tokens, from 0 to 1e6"},
    {"output_usd_per_mtok", WEIRP_YAML_NUMBER, offsetof(vend_price, output), .required = true, .max = 1e6,
     .right = "USD per million tokens, from 0 to 1e6"},
    PRICE_KEY("cached_input_usd_per_mtok", cached),
    PRICE_KEY("cache_write_usd_per_mtok", cache_write),
    PRICE_KEY("audio_input_usd_per_mtok", audio_input),
    PRICE_KEY("reasoning_usd_per_mtok", reasoning),
    PRICE_KEY("audio_output_usd_per_mtok", audio_output),
    {"request_usd", WEIRP_YAML_NUMBER, offsetof(vend_price, request), .max = 1e6, .right = "USD, from 0 to 1e6"},
};
static const weirp_yaml_map price_map = {"a model's prices", sizeof(vend_price), COUNT_OF(price_keys), price_keys};

#define F(member) (offsetof(vend_scenario, file.member) - offsetof(vend_scenario, file))
static const weirp_yaml_key file_keys[] = {
    {"seed", WEIRP_YAML_COUNT, F(seed), .max = 0x1p53, .fallback = VEND_UNSET},
    {"lenient", WEIRP_YAML_FLAG, F(lenient)},
    {"strict_roles", WEIRP_YAML_FLAG, F(strict_roles)},
    {"models", WEIRP_YAML_TEXTS, F(models)},
    {"keys", WEIRP_YAML_TEXTS, F(keys)},
    {"max_context", WEIRP_YAML_COUNT, F(max_context), .min = 1, .max = MOST, .fallback = VEND_UNSET, .right = TOKENS},
    {"rules", WEIRP_YAML_MAPS, F(rules), .map = &rule_map},
    {"prices", WEIRP_YAML_MAPS, F(prices), .map = &price_map},
};
static const weirp_yaml_map file_map = {"a scenario with the key \"rules\"", sizeof(((vend_scenario *)0)->file),
                                        COUNT_OF(file_keys), file_keys};

/* What the schema can't say. */
static weir_status check_rule(const char *name, const vend_rule *r, weir_error *err) {
    const char *wrong = NULL;
    if (r->match.to != VEND_UNSET && r->match.to < r->match.from) wrong = "\"to\" is below \"from\": it never matches";
    if (r->cut.events == VEND_UNSET && r->cut.bytes == VEND_UNSET && r->cut.head == VEND_UNSET && r->cut.reset)
        wrong =
            "\"cut\" doesn't say where: it needs head, bytes or events (\"reset: true\" of the rule resets at once)";
    if (r->encoding && r->malformed) wrong = "\"encoding\" and \"malformed\" don't go together";
    if (r->encoding && (!isnan(r->head_byte_ms) || !isnan(r->drip_ms) || r->cut.bytes >= 0 || r->cut.head >= 0))
        wrong = "\"encoding\" doesn't go with \"head_byte_ms\", \"drip_ms\" or a cut by bytes";
    if (r->endless && (!isnan(r->head_byte_ms) || !isnan(r->drip_ms)) && r->cut.bytes == VEND_UNSET)
        wrong =
            "\"endless\" with \"head_byte_ms\" or \"drip_ms\" needs a cut by bytes: such answers are made beforehand";
    if (r->body && r->html) wrong = "\"body\" and \"html\" don't go together";
    if (!wrong) return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, r->line, "%s:%zu: rule: %s", name, r->line, wrong);
}

static weir_status finish_load(vend_scenario **out, vend_scenario *s, const char *name, weir_status st,
                               weir_error *err) {
    vend_rule *rules = s->file.rules.items;
    for (size_t i = 0; st == WEIR_OK && i < s->file.rules.n; i++) {
        rules[i].index = i;
        st = check_rule(name, &rules[i], err);
    }
    if (st == WEIR_OK) {
        s->counts = weirp_array(s->file.rules.n, sizeof *s->counts);
        if (!s->counts) st = weirp_nomem(err);
    }
    atomic_init(&s->references, 1);
    if (st)
        vend_scenario_unref(s);
    else
        *out = s;
    return st;
}

weir_status vend_scenario_parse(vend_scenario **out, const char *name, const char *text, size_t len, weir_error *err) {
    vend_scenario *s = weirp_array(1, sizeof *s);
    *out = NULL;
    if (!s) return weirp_nomem(err);
    if (!text) text = "{}", len = 2;
    return finish_load(out, s, name, weirp_yaml_parse(name, text, len, &file_map, &s->file, err), err);
}

weir_status vend_scenario_load(vend_scenario **out, const char *path, weir_error *err) {
    vend_scenario *s = weirp_array(1, sizeof *s);
    *out = NULL;
    if (!s) return weirp_nomem(err);
    return finish_load(out, s, path, weirp_yaml_load(path, &file_map, &s->file, err), err);
}

vend_scenario *vend_scenario_ref(vend_scenario *s) {
    atomic_fetch_add(&s->references, 1);
    return s;
}

void vend_scenario_unref(vend_scenario *s) {
    if (!s || atomic_fetch_sub(&s->references, 1) > 1) return;
    weirp_yaml_free(&file_map, &s->file);
    free(s->counts);
    free(s);
}

void vend_scenario_reset(vend_scenario *s) {
    for (size_t i = 0; i < s->file.rules.n; i++) {
        atomic_store(&s->counts[i].seen, 0);
        atomic_store(&s->counts[i].hits, 0);
    }
}

static bool shows(const vend_match *m, const vend_shown *shown) {
    if (m->api && m->api != (int)shown->api + 1) return false;
    if (m->stream && (m->stream == 1) != shown->stream) return false;
    if (m->model && fnmatch(m->model, shown->model, 0)) return false;
    if (m->prompt && !strstr(shown->text, m->prompt)) return false;
    const weirp_yaml_pair *pairs = m->headers.items;
    for (size_t i = 0; i < m->headers.n; i++) {
        const char *value = shown->header(shown->user, pairs[i].key);
        if (!value || fnmatch(pairs[i].value, value, 0)) return false;
    }
    return true;
}

const vend_rule *vend_scenario_match(vend_scenario *s, const vend_shown *shown, uint64_t seed) {
    const vend_rule *rules = s->file.rules.items;
    for (size_t i = 0; i < s->file.rules.n; i++) {
        const vend_match *m = &rules[i].match;
        if (!shows(m, shown)) continue;
        int64_t n = (int64_t)atomic_fetch_add(&s->counts[i].seen, 1) + 1;
        if (n < m->from || (m->to != VEND_UNSET && n > m->to) || (n - m->from) % m->every) continue;
        if (m->share < 1 && weirp_random_uniform(seed, i, (uint64_t)n) >= m->share) continue;
        atomic_fetch_add(&s->counts[i].hits, 1);
        return &rules[i];
    }
    return NULL;
}

/* Requests to Google's Gemini API: the path, and the body but for its contents (gemini_contents.c).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/translate/gemini.h"

bool weirp_gemini_put(weirp_gemini_draft *d, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new_nocheck(object, key, value)) d->failed = true;
    return !d->failed;
}

bool weirp_gemini_append(weirp_gemini_draft *d, json_t *array, json_t *value) {
    if (json_array_append_new(array, value)) d->failed = true;
    return !d->failed;
}

bool weirp_gemini_is(const json_t *string, const char *text) {
    return json_is_string(string) && json_string_length(string) == strlen(text) &&
           !memcmp(json_string_value(string), text, strlen(text));
}

int weirp_gemini_version(const char *model) {
    const char *slash = strrchr(model, '/');
    const char *name = slash ? slash + 1 : model;
    if (strncmp(name, "gemini-", 7) != 0) return 0;
    name += 7;
    if (*name < '0' || *name > '9') return 990;
    char *end;
    const long major = strtol(name, &end, 10);
    const int minor = *end == '.' && end[1] >= '0' && end[1] <= '9' ? end[1] - '0' : 0;
    return major < 0 || major > 98 ? 990 : (int)major * 10 + minor;
}

/* ---- path ---- */

/* "models/NAME" or "tunedModels/NAME", as Google names resources; NAME alone is a model's. What isn't unreserved (RFC
 * 3986, section 2.3) is escaped. */
static bool write_path(const weirp_gemini_draft *d, char *path, size_t size) {
    static const char hex[] = "0123456789ABCDEF";
    const char *name = d->target->model;
    const char *folder = "models";
    if (!strncmp(name, "models/", 7)) {
        name += 7;
    } else if (!strncmp(name, "tunedModels/", 12)) {
        folder = "tunedModels";
        name += 12;
    }
    char escaped[3 * 256 + 1];
    size_t n = 0;
    if (!*name || strlen(name) > 256) return false;
    for (; *name; name++) {
        const unsigned char c = (unsigned char)*name;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)) {
            escaped[n++] = (char)c;
        } else {
            escaped[n++] = '%';
            escaped[n++] = hex[c >> 4];
            escaped[n++] = hex[c & 15];
        }
    }
    escaped[n] = 0;
    const int length = snprintf(path, size, "/%s/%s:%s", folder, escaped,
                                d->request->stream ? "streamGenerateContent?alt=sse" : "generateContent");
    return length > 0 && (size_t)length < size;
}

/* ---- generationConfig ---- */

static bool put_numbers(weirp_gemini_draft *d, json_t *config) {
    static const struct {
        const char *from, *to;
        bool unless_zero; /* 0 is the default, and models without penalties refuse even that */
    } names[] = {{"temperature", "temperature", false},
                 {"top_p", "topP", false},
                 {"top_k", "topK", false},
                 {"presence_penalty", "presencePenalty", true},
                 {"frequency_penalty", "frequencyPenalty", true}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(d->request->chat, names[i].from);
        if (!value || json_is_null(value)) continue;
        if (!json_is_number(value))
            return WEIRP_GEMINI_REFUSE(d, names[i].from, "invalid_type", "'%s' must be a number.", names[i].from);
        if (names[i].unless_zero && json_number_value(value) == 0) continue;
        if (!weirp_gemini_put(d, config, names[i].to, json_incref(value))) return false;
    }
    const json_t *seed = json_object_get(d->request->chat, "seed");
    if (!seed || json_is_null(seed)) return true;
    if (!json_is_integer(seed)) return WEIRP_GEMINI_REFUSE(d, "seed", "invalid_type", "'seed' must be an integer.");
    /* Gemini's is an int32; which one it is doesn't matter, as long as the same gives the same. */
    return weirp_gemini_put(d, config, "seed", json_integer(json_integer_value(seed) & INT32_MAX));
}

static bool put_lengths(weirp_gemini_draft *d, json_t *config) {
    const double asked = d->request->max_output_tokens, most = d->target->max_output_tokens;
    const double tokens = isnan(asked) || most < asked ? most : asked;
    if (tokens >= 1 && !weirp_gemini_put(d, config, "maxOutputTokens",
                                         json_integer(tokens < INT32_MAX ? (json_int_t)tokens : INT32_MAX)))
        return false;
    if (d->request->n_choices > WEIRP_GEMINI_CANDIDATES)
        return WEIRP_GEMINI_REFUSE(d, "n", "unsupported_value", "Gemini gives at most %d choices.",
                                   WEIRP_GEMINI_CANDIDATES);
    return d->request->n_choices <= 1 ||
           weirp_gemini_put(d, config, "candidateCount", json_integer((json_int_t)d->request->n_choices));
}

static bool put_stops(weirp_gemini_draft *d, json_t *config) {
    json_t *stop = json_object_get(d->request->chat, "stop");
    if (!stop || json_is_null(stop)) return true;
    if (json_is_string(stop)) return weirp_gemini_put(d, config, "stopSequences", json_pack("[O]", stop));
    bool good = json_is_array(stop) && json_array_size(stop) <= 5; /* Gemini's limit */
    for (size_t i = 0; good && i < json_array_size(stop); i++) good = json_is_string(json_array_get(stop, i));
    if (!good)
        return WEIRP_GEMINI_REFUSE(d, "stop", "unsupported_value", "Gemini takes up to 5 stop sequences, all strings.");
    return !json_array_size(stop) || weirp_gemini_put(d, config, "stopSequences", json_incref(stop));
}

/* responseJsonSchema takes JSON Schema itself, unlike responseSchema, which is a subset of OpenAPI's. */
static bool put_format(weirp_gemini_draft *d, json_t *config) {
    const json_t *format = json_object_get(d->request->chat, "response_format");
    const json_t *type = json_object_get(format, "type");
    if (!format || json_is_null(format) || weirp_gemini_is(type, "text")) return true;
    const bool schema = weirp_gemini_is(type, "json_schema");
    if (!schema && !weirp_gemini_is(type, "json_object"))
        return WEIRP_GEMINI_REFUSE(d, "response_format.type", "unsupported_value",
                                   "Gemini has no such response format.");
    if (d->version < 30 && json_array_size(json_object_get(d->request->chat, "tools")))
        return WEIRP_GEMINI_REFUSE(
            d, "response_format", "unsupported_value",
            "Gemini models before 3 can't have tools and a JSON response format in one request.");
    if (!weirp_gemini_put(d, config, "responseMimeType", json_string("application/json"))) return false;
    const json_t *given = json_object_get(json_object_get(format, "json_schema"), "schema");
    return !schema || !json_is_object(given) ||
           weirp_gemini_put(d, config, "responseJsonSchema", weirp_gemini_schema(given));
}

/* As Google's own OpenAI-compatible endpoint does (https://ai.google.dev/gemini-api/docs/openai, "Thinking"): budgets
 * in tokens for 2.5, levels from 3 on. Thinking can't be turned off in Pro models, nor in any from 3 on: "none" asks
 * for the least there is. Older models don't think. */
static bool put_thinking(weirp_gemini_draft *d, json_t *config) {
    static const struct {
        const char *effort;
        int budget;
        const char *level, *pro_level;
    } efforts[] = {{"none", 0, "minimal", "low"},   {"minimal", 1024, "minimal", "low"},
                   {"low", 1024, "low", "low"},     {"medium", 8192, "medium", "medium"},
                   {"high", 24576, "high", "high"}, {"xhigh", 24576, "high", "high"},
                   {"max", 24576, "high", "high"}};
    const json_t *effort = json_object_get(d->request->chat, "reasoning_effort");
    if (!effort || json_is_null(effort)) return true;
    size_t i = 0;
    while (i < sizeof efforts / sizeof *efforts && !weirp_gemini_is(effort, efforts[i].effort)) i++;
    if (i == sizeof efforts / sizeof *efforts)
        return WEIRP_GEMINI_REFUSE(d, "reasoning_effort", "unsupported_value", "Unknown 'reasoning_effort'.");
    if (d->version < 25) return true;
    const bool pro = strstr(d->target->model, "pro");
    if (d->version < 30) {
        const int budget = pro && !efforts[i].budget ? 128 : efforts[i].budget; /* 128 is the least that Pro takes */
        return weirp_gemini_put(d, config, "thinkingConfig", json_pack("{si}", "thinkingBudget", budget));
    }
    const char *level = pro ? efforts[i].pro_level : efforts[i].level;
    if (pro && d->version == 30 && !strcmp(level, "medium")) level = "high"; /* 3 Pro has no middle */
    return weirp_gemini_put(d, config, "thinkingConfig", json_pack("{ss}", "thinkingLevel", level));
}

bool weirp_gemini_generation(weirp_gemini_draft *d) {
    json_t *config = json_object();
    bool good = config != NULL;
    if (!good) d->failed = true;
    good = good && put_numbers(d, config) && put_lengths(d, config) && put_stops(d, config) && put_format(d, config) &&
           put_thinking(d, config);
    if (good && json_object_size(config)) return weirp_gemini_put(d, d->root, "generationConfig", config);
    json_decref(config);
    return good;
}

/* ---- the whole ---- */

/* What would change the answer, and can't be asked of Gemini or carried back from it: a model elsewhere may do it.
 * What doesn't change the kind of answer that comes (logit_bias, user, metadata, store, service_tier, prediction,
 * verbosity, parallel_tool_calls) is left out, as it is for Anthropic. */
static bool refuse_unsupported(weirp_gemini_draft *d) {
    const json_t *chat = d->request->chat;
    if (json_is_true(json_object_get(chat, "logprobs")))
        return WEIRP_GEMINI_REFUSE(d, "logprobs", "unsupported_parameter", "Log probabilities aren't translated.");
    if (json_is_object(json_object_get(chat, "web_search_options")))
        return WEIRP_GEMINI_REFUSE(d, "web_search_options", "unsupported_parameter", "Web search isn't translated.");
    if (json_array_size(json_object_get(chat, "functions")))
        return WEIRP_GEMINI_REFUSE(d, "functions", "unsupported_parameter",
                                   "'functions' is deprecated and isn't translated; use 'tools'.");
    const json_t *modalities = json_object_get(chat, "modalities");
    for (size_t i = 0; i < json_array_size(modalities); i++)
        if (!weirp_gemini_is(json_array_get(modalities, i), "text"))
            return WEIRP_GEMINI_REFUSE(d, "modalities", "unsupported_value", "Only answers in text are translated.");
    return true;
}

static weir_status write_request(const weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                 size_t path_size, weirp_fault *fault) {
    weirp_gemini_draft d = {.request = r,
                            .target = target,
                            .fault = fault,
                            .root = json_object(),
                            .version = weirp_gemini_version(target->model)};
    if (!d.root) return WEIR_NOMEM;
    if (!write_path(&d, path, path_size))
        (void)WEIRP_GEMINI_REFUSE(&d, "model", "model_not_found", "The model's name at the vendor can't be a path.");
    body->size = 0;
    const bool good = !d.refused && refuse_unsupported(&d) && weirp_gemini_contents(&d) && weirp_gemini_tools(&d) &&
                      weirp_gemini_generation(&d) && weirp_put_json(body, d.root);
    json_decref(d.root);
    return d.refused ? WEIR_INVALID : good ? WEIR_OK : WEIR_NOMEM;
}

const weirp_protocol_ops weirp_gemini_ops = {
    .write = write_request,
    .open = weirp_gemini_open,
    .event = weirp_gemini_event,
    .body = weirp_gemini_body,
    .fault = weirp_gemini_fault,
};

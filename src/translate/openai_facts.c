/* openai_facts.c: usage, finish reasons and errors as vendors of OpenAI's protocol tell them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/words.h"
#include "src/translate/members.h"
#include "src/translate/openai.h"

static int64_t count(const json_t *object, const char *member) {
    return weirp_json_count(json_object_get(object, member));
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The numbers of a "usage" object, wherever it was read from. */
typedef struct usage_numbers {
    int64_t prompt_tokens, completion_tokens, total_tokens, prompt_cache_hit_tokens, cached_tokens, reasoning_tokens;
    int64_t in_cached, in_cache_write, in_audio, made_reasoning, made_audio;
} usage_numbers;

static bool usage_of(const usage_numbers *n, weirp_usage *out) {
    int64_t input = n->prompt_tokens, output = n->completion_tokens, total = n->total_tokens;
    int64_t reasoning = n->made_reasoning;
    if (!input && !output && !total) return false; /* some say zeros in every chunk until they know */
    /* xAI and Gemini's OpenAI endpoint leave thoughts out of completion_tokens, and have them in the total only. */
    if (total > input && total - input > output && input + output) {
        int64_t unsaid = total - input - output;
        output += unsaid;
        reasoning = larger(reasoning, unsaid);
    }
    *out = (weirp_usage){
        .input_tokens = input,
        .output_tokens = output,
        .cached_input_tokens = larger(n->in_cached, larger(n->prompt_cache_hit_tokens, /* DeepSeek */
                                                           n->cached_tokens)),         /* Moonshot */
        .cache_write_tokens = n->in_cache_write,                                       /* OpenRouter */
        .audio_input_tokens = n->in_audio,
        .reasoning_tokens = larger(reasoning, n->reasoning_tokens),
        .audio_output_tokens = n->made_audio,
        .known = true,
    };
    return true;
}

bool weirp_openai_usage(const json_t *usage, weirp_usage *out) {
    const json_t *in = json_object_get(usage, "prompt_tokens_details");
    const json_t *made = json_object_get(usage, "completion_tokens_details");
    const usage_numbers n = {.prompt_tokens = count(usage, "prompt_tokens"),
                             .completion_tokens = count(usage, "completion_tokens"),
                             .total_tokens = count(usage, "total_tokens"),
                             .prompt_cache_hit_tokens = count(usage, "prompt_cache_hit_tokens"),
                             .cached_tokens = count(usage, "cached_tokens"),
                             .reasoning_tokens = count(usage, "reasoning_tokens"),
                             .in_cached = count(in, "cached_tokens"),
                             .in_cache_write = count(in, "cache_write_tokens"),
                             .in_audio = count(in, "audio_tokens"),
                             .made_reasoning = count(made, "reasoning_tokens"),
                             .made_audio = count(made, "audio_tokens")};
    return usage_of(&n, out);
}

typedef struct usage_key {
    const char *name;
    size_t offset;                 /* in usage_numbers */
    const struct usage_key *inner; /* an object: its keys */
} usage_key;

#define AT(member) offsetof(usage_numbers, member)
static const usage_key input_keys[] = {{"cached_tokens", AT(in_cached), NULL},
                                       {"cache_write_tokens", AT(in_cache_write), NULL},
                                       {"audio_tokens", AT(in_audio), NULL},
                                       {NULL, 0, NULL}};
static const usage_key output_keys[] = {
    {"reasoning_tokens", AT(made_reasoning), NULL}, {"audio_tokens", AT(made_audio), NULL}, {NULL, 0, NULL}};
static const usage_key usage_keys[] = {{"prompt_tokens", AT(prompt_tokens), NULL},
                                       {"completion_tokens", AT(completion_tokens), NULL},
                                       {"total_tokens", AT(total_tokens), NULL},
                                       {"prompt_cache_hit_tokens", AT(prompt_cache_hit_tokens), NULL},
                                       {"cached_tokens", AT(cached_tokens), NULL},
                                       {"reasoning_tokens", AT(reasoning_tokens), NULL},
                                       {"prompt_tokens_details", 0, input_keys},
                                       {"completion_tokens_details", 0, output_keys},
                                       {NULL, 0, NULL}};

/* A plain whole number, or null; anything else is for the parser. */
static bool plain_count(const weirp_member *m, int64_t *out) {
    *out = 0;
    if (m->value_len == 4 && !memcmp(m->value, "null", 4)) return true;
    if (!m->value_len || m->value_len > 15) return false;
    for (size_t i = 0; i < m->value_len; i++) {
        if (m->value[i] < '0' || m->value[i] > '9') return false;
        *out = *out * 10 + (m->value[i] - '0');
    }
    return true;
}

static bool glance(const char *text, size_t len, const usage_key *keys, usage_numbers *out) {
    weirp_members members;
    weirp_member m;
    weirp_members_init(&members, text, len);
    while (weirp_members_next(&members, &m)) {
        const usage_key *key = keys;
        while (key->name && !weirp_member_is(&m, key->name)) key++;
        if (!key->name) continue;
        bool is_null = m.value_len == 4 && !memcmp(m.value, "null", 4);
        if (key->inner ? !is_null && !glance(m.value, m.value_len, key->inner, out)
                       : !plain_count(&m, (int64_t *)(void *)((char *)out + key->offset)))
            return false;
    }
    return !members.failed;
}

bool weirp_openai_usage_glance(const char *text, size_t len, weirp_usage *out) {
    usage_numbers n = {0};
    return glance(text, len, usage_keys, &n) && usage_of(&n, out);
}

bool weirp_openai_usage_of(const json_t *answer, weirp_usage *out) {
    if (weirp_openai_usage(json_object_get(answer, "usage"), out)) return true;
    const json_t *groq = json_object_get(answer, "x_groq"); /* in the last chunk */
    if (weirp_openai_usage(json_object_get(groq, "usage"), out)) return true;
    const json_t *timings = json_object_get(answer, "timings"); /* llama.cpp: prompt_n is without what was cached */
    int64_t cached = count(timings, "cache_n"), input = count(timings, "prompt_n") + cached;
    int64_t output = count(timings, "predicted_n");
    if (!input && !output) return false;
    *out = (weirp_usage){.input_tokens = input, .cached_input_tokens = cached, .output_tokens = output, .known = true};
    return true;
}

weirp_finish weirp_openai_finish(const char *name, size_t len) {
    static const struct {
        const char *name;
        weirp_finish finish;
    } known[] = {{"stop", WEIRP_FINISH_STOP},
                 {"length", WEIRP_FINISH_LENGTH},
                 {"tool_calls", WEIRP_FINISH_TOOLS},
                 {"function_call", WEIRP_FINISH_TOOLS},
                 {"content_filter", WEIRP_FINISH_FILTER},
                 {"model_length", WEIRP_FINISH_LENGTH}, /* Mistral */
                 {"eos", WEIRP_FINISH_STOP},            /* Together */
                 {"end_turn", WEIRP_FINISH_STOP},
                 {"max_tokens", WEIRP_FINISH_LENGTH}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == len && !memcmp(known[i].name, name, len)) return known[i].finish;
    return len ? WEIRP_FINISH_OTHER : WEIRP_FINISH_NONE;
}

bool weirp_openai_is_done(const char *data, size_t len) {
    while (len && (*data == ' ' || *data == '\n')) data++, len--;
    while (len && (data[len - 1] == ' ' || data[len - 1] == '\n')) len--;
    return len == 6 && !memcmp(data, "[DONE]", 6);
}

void weirp_put_usage(weirp_writer *w, const weirp_usage *u) {
    weirp_putf(w, "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld",
               (long long)u->input_tokens, (long long)u->output_tokens,
               (long long)u->input_tokens + (long long)u->output_tokens);
    weirp_putf(w, ",\"prompt_tokens_details\":{\"cached_tokens\":%lld,\"audio_tokens\":%lld",
               (long long)u->cached_input_tokens, (long long)u->audio_input_tokens);
    if (u->cache_write_tokens) weirp_putf(w, ",\"cache_write_tokens\":%lld", (long long)u->cache_write_tokens);
    weirp_putf(w, "},\"completion_tokens_details\":{\"reasoning_tokens\":%lld,\"audio_tokens\":%lld}%s}",
               (long long)u->reasoning_tokens, (long long)u->audio_output_tokens,
               u->estimated ? ",\"estimated\":true" : "");
}

weir_status weirp_openai_embeddings(const char *text, size_t len, weirp_answer_facts *facts, weir_error *err) {
    weirp_members members;
    weirp_member m;
    bool has_data = false;
    weirp_members_init(&members, text, len);
    while (weirp_members_next(&members, &m)) {
        if (weirp_member_is(&m, "usage") && *m.value == '{') {
            json_t *usage = weirp_json_parse(m.value, m.value_len, NULL, 0);
            weirp_usage counted;
            if (weirp_openai_usage(usage, &counted)) {
                facts->usage = counted;
                facts->usage.output_tokens = facts->usage.reasoning_tokens = 0; /* vectors aren't tokens */
            }
            json_decref(usage);
        } else if (weirp_member_is(&m, "model") && *m.value == '"') {
            weirp_excerpt(facts->model, sizeof facts->model, m.value + 1, m.value_len - 2);
        } else if (weirp_member_is(&m, "data")) {
            has_data = *m.value == '[';
        }
    }
    if (members.failed) return weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer isn't a JSON object");
    if (has_data) return WEIR_OK;
    json_t *json = weirp_json_parse(text, len, NULL, 0);
    weir_status st = weirp_openai_error(json, NULL, err);
    json_decref(json);
    return st ? st : weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer has no \"data\"");
}

/* ---- errors ---- */

/* A text as it is, anything else as JSON. */
static void copy(char *out, size_t size, const json_t *value) {
    char *text = NULL;
    if (!value || json_is_null(value)) return;
    if (json_is_string(value)) {
        weirp_excerpt(out, size, json_string_value(value), json_string_length(value));
    } else if ((text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY)) != NULL) {
        weirp_excerpt(out, size, text, strlen(text));
        free(text);
    }
}

/* The object that tells the error: {"error":{...}}; the answer itself for vLLM's and Mistral's {"object":"error"},
 * FastAPI's {"detail":...} and plain {"message":...}; NULL: this tells none. */
static const json_t *error_object(const json_t *json) {
    const json_t *error = json_object_get(json, "error");
    if (json_is_array(json) && json_array_size(json)) return error_object(json_array_get(json, 0));
    if (json_is_object(error)) return error;
    if (json_is_string(error) && json_string_length(error)) return json;
    const char *object = json_string_value(json_object_get(json, "object"));
    if (object && !strcasecmp(object, "error")) return json;
    if (json_object_get(json, "choices") || json_object_get(json, "data")) return NULL;
    return json_object_get(json, "detail") || json_object_get(json, "message") ? json : NULL;
}

static bool moderated(const json_t *error) {
    const json_t *metadata = json_object_get(error, "metadata"); /* OpenRouter */
    return json_object_get(metadata, "flagged_input") || json_object_get(metadata, "reasons") ||
           json_object_get(error, "content_filter_result"); /* Azure */
}

bool weirp_openai_fault(weirp_vendor_fault *fault, int status, const json_t *json) {
    const json_t *error = error_object(json);
    if (!error) return false;
    const json_t *code = json_object_get(error, "code"), *inner = json_object_get(error, "innererror");
    copy(fault->text, sizeof fault->text, json_object_get(error, "message"));
    if (!*fault->text) copy(fault->text, sizeof fault->text, json_object_get(error, "detail"));
    if (!*fault->text && error == json) copy(fault->text, sizeof fault->text, json_object_get(json, "error"));
    copy(fault->code, sizeof fault->code, code);
    if (!*fault->code) copy(fault->code, sizeof fault->code, json_object_get(error, "type"));
    /* In a stream the status is 200; OpenRouter and vLLM tell theirs as the code. */
    int64_t told = weirp_json_count(code);
    if (told >= 400 && told < 600 && status < 400) status = (int)told;
    char type[64] = "";
    copy(type, sizeof type, json_object_get(error, "type"));
    weirp_fault_sort(fault, status, type);
    if (moderated(error) || moderated(inner)) fault->kind = WEIRP_VENDOR_FILTERED;
    return true;
}

weir_status weirp_openai_error(const json_t *json, weirp_vendor_fault *fault, weir_error *err) {
    weirp_vendor_fault own = {0};
    if (json_object_get(json, "choices") && !json_object_get(json, "error")) return WEIR_OK;
    if (!weirp_openai_fault(&own, 0, json)) return WEIR_OK;
    if (fault) *fault = own;
    return weirp_fail(err, WEIR_NET, 0, "the vendor reports an error: %s", *own.text ? own.text : own.code);
}

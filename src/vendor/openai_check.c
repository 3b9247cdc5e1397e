/* openai_check.c: what OpenAI refuses. Facts: platform.openai.com/docs/api-reference, and the messages that its users
 * quote. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/vendor/vendor.h"

#define BAD VEND_KIND_BAD_REQUEST

static const char *const chat_keys[] = {"messages",
                                        "model",
                                        "audio",
                                        "frequency_penalty",
                                        "function_call",
                                        "functions",
                                        "logit_bias",
                                        "logprobs",
                                        "max_completion_tokens",
                                        "max_tokens",
                                        "metadata",
                                        "modalities",
                                        "moderation",
                                        "n",
                                        "parallel_tool_calls",
                                        "prediction",
                                        "presence_penalty",
                                        "prompt_cache_key",
                                        "prompt_cache_retention",
                                        "reasoning_effort",
                                        "response_format",
                                        "safety_identifier",
                                        "seed",
                                        "service_tier",
                                        "stop",
                                        "store",
                                        "stream",
                                        "stream_options",
                                        "temperature",
                                        "tool_choice",
                                        "tools",
                                        "top_logprobs",
                                        "top_p",
                                        "user",
                                        "verbosity",
                                        "web_search_options",
                                        NULL};
static const char *const completion_keys[] = {"model",
                                              "prompt",
                                              "best_of",
                                              "echo",
                                              "frequency_penalty",
                                              "logit_bias",
                                              "logprobs",
                                              "max_tokens",
                                              "n",
                                              "presence_penalty",
                                              "seed",
                                              "stop",
                                              "stream",
                                              "stream_options",
                                              "suffix",
                                              "temperature",
                                              "top_p",
                                              "user",
                                              NULL};
static const char *const embedding_keys[] = {"model", "input", "dimensions", "encoding_format", "user", NULL};
static const char *const roles[] = {"system", "developer", "user", "assistant", "tool", "function", NULL};
static const char *const part_types[] = {"text", "image_url", "input_audio", "file", "refusal", NULL};

static bool wrong_type(vend_fault *fault, const char *param, const char *expected) {
    return vend_refuse(fault, BAD, param, "Invalid type for '%s': expected %s.", param, expected);
}

static bool missing(vend_fault *fault, const char *param) {
    vend_refuse(fault, BAD, param, "Missing required parameter: '%s'.", param);
    snprintf(fault->code, sizeof fault->code, "missing_required_parameter");
    return false;
}

/* Absent, null, or a number in range. */
static bool check_number(const json_t *json, const char *key, double lo, double hi, bool whole, double *out,
                         vend_fault *fault) {
    const json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v)) return true;
    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return wrong_type(fault, key, whole ? "an integer" : "a decimal");
    double x = json_number_value(v);
    if (x < lo || x > hi)
        return vend_refuse(fault, BAD, key, "Invalid '%s': must be between %g and %g, but got %g instead.", key, lo, hi,
                           x);
    if (out) *out = x;
    return true;
}

static bool check_flag(const json_t *json, const char *key, bool *out, vend_fault *fault) {
    const json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v)) return true;
    if (!json_is_boolean(v)) return wrong_type(fault, key, "a boolean");
    if (out) *out = json_is_true(v);
    return true;
}

static bool check_stop(const json_t *json, vend_fault *fault) {
    const json_t *stop = json_object_get(json, "stop"), *one;
    size_t i;
    if (!stop || json_is_null(stop) || json_is_string(stop)) return true;
    if (!json_is_array(stop)) return wrong_type(fault, "stop", "a string or an array of strings");
    if (json_array_size(stop) > 4)
        return vend_refuse(fault, BAD, "stop", "Invalid 'stop': array too long. Expected at most 4 elements.");
    json_array_foreach(stop, i, one) {
        if (!json_is_string(one)) return wrong_type(fault, "stop", "a string or an array of strings");
    }
    return true;
}

/* What all three endpoints share; key and model come first, as with the vendor. */
static bool check_common(vend_ask *ask, const char *const *keys, vend_fault *fault) {
    const char *key = ask->header(ask->user, "authorization");
    if (!vend_check_key(ask, key && !strncasecmp(key, "bearer ", 7) ? key + 7 : NULL, fault)) return false;
    if (!json_is_object(ask->json))
        return vend_refuse(fault, BAD, NULL, "We could not parse the JSON body of your request.");
    const char *unknown = ask->scenario->file.lenient ? NULL : vend_unknown_key(ask->json, keys);
    if (unknown) return vend_refuse(fault, BAD, NULL, "Unrecognized request argument supplied: %s", unknown);
    const json_t *model = json_object_get(ask->json, "model");
    if (!model || (json_is_string(model) && !json_string_length(model)))
        return vend_refuse(fault, BAD, NULL, "you must provide a model parameter");
    if (!json_is_string(model)) return wrong_type(fault, "model", "a string");
    ask->model = json_string_value(model);
    return vend_check_model(ask, fault) && check_flag(ask->json, "stream", &ask->stream, fault);
}

static bool check_stream_options(vend_ask *ask, vend_fault *fault) {
    static const char *const known[] = {"include_usage", "include_obfuscation", NULL};
    const json_t *options = json_object_get(ask->json, "stream_options");
    if (!options || json_is_null(options)) return true;
    if (!json_is_object(options)) return wrong_type(fault, "stream_options", "an object");
    if (!ask->stream)
        return vend_refuse(fault, BAD, "stream_options",
                           "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    const char *unknown = vend_unknown_key(options, known);
    if (unknown && !ask->scenario->file.lenient)
        return vend_refuse(fault, BAD, "stream_options", "Unknown parameter: 'stream_options.%s'.", unknown);
    return check_flag(options, "include_usage", &ask->include_usage, fault);
}

static bool check_sampling(vend_ask *ask, vend_fault *fault) {
    double n = 1;
    const json_t *j = ask->json;
    bool ok = check_number(j, "temperature", 0, 2, false, NULL, fault) &&
              check_number(j, "top_p", 0, 1, false, NULL, fault) &&
              check_number(j, "presence_penalty", -2, 2, false, NULL, fault) &&
              check_number(j, "frequency_penalty", -2, 2, false, NULL, fault) &&
              check_number(j, "n", 1, VEND_MAX_CHOICES, true, &n, fault) &&
              check_number(j, "seed", -0x1p63, 0x1p63, true, NULL, fault) &&
              check_number(j, "max_tokens", 1, 1e7, true, &ask->max_tokens, fault) && check_stop(j, fault);
    ask->n = (size_t)n;
    return ok && check_stream_options(ask, fault);
}

/* ---- messages ---- */

static bool check_parts(vend_ask *ask, const json_t *parts, size_t m, vend_fault *fault) {
    size_t i;
    const json_t *part;
    char path[96];
    json_array_foreach(parts, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        snprintf(path, sizeof path, "messages[%zu].content[%zu].type", m, i);
        if (!type) return missing(fault, path);
        if (!vend_is_key(type, part_types))
            return vend_refuse(fault, BAD, path,
                               "Invalid value: '%s'. Supported values are: 'text', 'image_url', 'input_audio', "
                               "'refusal', and 'file'.",
                               type);
        const json_t *value = json_object_get(part, type);
        snprintf(path, sizeof path, "messages[%zu].content[%zu].%s", m, i, type);
        if (!value) return missing(fault, path);
        bool is_text = !strcmp(type, "text") || !strcmp(type, "refusal");
        if (is_text ? !json_is_string(value) : !json_is_object(value))
            return wrong_type(fault, path, is_text ? "a string" : "an object");
        if (!strcmp(type, "image_url") && !json_is_string(json_object_get(value, "url")))
            return vend_refuse(fault, BAD, path, "Missing required parameter: '%s.url'.", path);
        if (!strcmp(type, "text")) vend_ask_text(ask, json_string_value(value), json_string_length(value));
    }
    return true;
}

static bool check_content(vend_ask *ask, const json_t *message, size_t m, bool may_lack, vend_fault *fault) {
    const json_t *content = json_object_get(message, "content");
    char path[64];
    snprintf(path, sizeof path, "messages[%zu].content", m);
    if (!content || json_is_null(content)) {
        if (may_lack) return true;
        return vend_refuse(fault, BAD, path, "Invalid value for 'content': expected a string, got null.");
    }
    if (json_is_string(content)) {
        vend_ask_text(ask, json_string_value(content), json_string_length(content));
        return true;
    }
    if (!json_is_array(content)) return wrong_type(fault, path, "one of a string or array of objects");
    if (!json_array_size(content))
        return vend_refuse(fault, BAD, path, "Invalid '%s': empty array. Expected at least 1 element.", path);
    return check_parts(ask, content, m, fault);
}

/* An assistant's calls: their ids go into `open`, to be answered before anyone else speaks. */
static bool check_calls(const json_t *calls, size_t m, json_t *open, vend_fault *fault) {
    size_t i;
    const json_t *call;
    char path[96];
    snprintf(path, sizeof path, "messages[%zu].tool_calls", m);
    if (!json_is_array(calls)) return wrong_type(fault, path, "an array of objects");
    if (!json_array_size(calls))
        return vend_refuse(fault, BAD, path, "Invalid '%s': empty array. Expected at least 1 element.", path);
    json_array_foreach(calls, i, call) {
        const json_t *id = json_object_get(call, "id"), *function = json_object_get(call, "function");
        const char *type = json_string_value(json_object_get(call, "type"));
        bool custom = type && !strcmp(type, "custom");
        snprintf(path, sizeof path, "messages[%zu].tool_calls[%zu].id", m, i);
        if (!json_is_string(id)) return missing(fault, path);
        snprintf(path, sizeof path, "messages[%zu].tool_calls[%zu].type", m, i);
        if (!type) return missing(fault, path);
        if (!custom && strcmp(type, "function"))
            return vend_refuse(fault, BAD, path, "Invalid value: '%s'. Supported values are: 'function'.", type);
        snprintf(path, sizeof path, "messages[%zu].tool_calls[%zu].function.name", m, i);
        if (!custom && !json_is_string(json_object_get(function, "name"))) return missing(fault, path);
        snprintf(path, sizeof path, "messages[%zu].tool_calls[%zu].function.arguments", m, i);
        if (!custom && !json_is_string(json_object_get(function, "arguments")))
            return wrong_type(fault, path, "a string");
        json_object_set_new(open, json_string_value(id), json_true());
    }
    return true;
}

/* `open`: ids of calls that wait for their results; `any`: there was an assistant's call right before. */
static bool check_message(vend_ask *ask, const json_t *message, size_t m, json_t *open, bool *in_calls,
                          vend_fault *fault) {
    char path[64];
    const char *role = json_string_value(json_object_get(message, "role"));
    snprintf(path, sizeof path, "messages[%zu]", m);
    if (!json_is_object(message)) return wrong_type(fault, path, "an object");
    snprintf(path, sizeof path, "messages[%zu].role", m);
    if (!role) return missing(fault, path);
    if (!vend_is_key(role, roles))
        return vend_refuse(fault, BAD, path,
                           "Invalid value: '%s'. Supported values are: 'system', 'assistant', 'user', 'function', "
                           "'tool', and 'developer'.",
                           role);
    ask->after_tool = !strcmp(role, "tool") || !strcmp(role, "function");
    if (!strcmp(role, "tool")) {
        const char *id = json_string_value(json_object_get(message, "tool_call_id"));
        snprintf(path, sizeof path, "messages[%zu].tool_call_id", m);
        if (!id) return missing(fault, path);
        if (!*in_calls || !json_object_get(open, id))
            return vend_refuse(fault, BAD, path,
                               "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
                               "message with 'tool_calls'.");
        json_object_del(open, id);
        return check_content(ask, message, m, false, fault);
    }
    if (json_object_size(open))
        return vend_refuse(fault, BAD, path,
                           "An assistant message with 'tool_calls' must be followed by tool messages responding to "
                           "each 'tool_call_id'. The following tool_call_ids did not have response messages: %s",
                           json_object_iter_key(json_object_iter(open)));
    const json_t *calls = json_object_get(message, "tool_calls");
    bool assistant = !strcmp(role, "assistant"), has_calls = assistant && calls && !json_is_null(calls);
    bool speaks = has_calls || json_object_get(message, "function_call") || json_object_get(message, "refusal") ||
                  json_object_get(message, "audio");
    *in_calls = has_calls;
    if (has_calls && !check_calls(calls, m, open, fault)) return false;
    return check_content(ask, message, m, assistant && speaks, fault);
}

static bool check_messages(vend_ask *ask, vend_fault *fault) {
    const json_t *messages = json_object_get(ask->json, "messages"), *message;
    size_t i;
    bool in_calls = false, ok = true;
    if (!messages) return missing(fault, "messages");
    if (!json_is_array(messages)) return wrong_type(fault, "messages", "an array of objects");
    if (!json_array_size(messages))
        return vend_refuse(fault, BAD, "messages", "Invalid 'messages': empty array. Expected at least 1 element.");
    json_t *open = json_object();
    json_array_foreach(messages, i, message) {
        vend_ask_message(ask);
        if (!(ok = check_message(ask, message, i, open, &in_calls, fault))) break;
    }
    if (ok && json_object_size(open))
        ok = vend_refuse(fault, BAD, "messages",
                         "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                         "'tool_call_id'. The following tool_call_ids did not have response messages: %s",
                         json_object_iter_key(json_object_iter(open)));
    json_decref(open);
    return ok;
}

/* ---- tools and formats ---- */

static bool check_tools(vend_ask *ask, vend_fault *fault) {
    const json_t *tools = json_object_get(ask->json, "tools"), *tool;
    size_t i;
    char path[64];
    if (!tools || json_is_null(tools)) return true;
    if (!json_is_array(tools)) return wrong_type(fault, "tools", "an array of objects");
    if (!json_array_size(tools) || json_array_size(tools) > VEND_MAX_TOOLS)
        return vend_refuse(fault, BAD, "tools", "Invalid 'tools': expected an array with 1 to 128 elements.");
    json_array_foreach(tools, i, tool) {
        const char *type = json_string_value(json_object_get(tool, "type"));
        snprintf(path, sizeof path, "tools[%zu].type", i);
        if (!type) return missing(fault, path);
        if (!strcmp(type, "custom")) continue;
        if (strcmp(type, "function"))
            return vend_refuse(fault, BAD, path, "Invalid value: '%s'. Supported values are: 'function' and 'custom'.",
                               type);
        const json_t *function = json_object_get(tool, "function"), *schema = json_object_get(function, "parameters");
        const char *name = json_string_value(json_object_get(function, "name"));
        snprintf(path, sizeof path, "tools[%zu].function.name", i);
        if (!name) return missing(fault, path);
        if (strlen(name) > 64 ||
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
            return vend_refuse(fault, BAD, path,
                               "Invalid '%s': string does not match pattern. Expected a string that matches the "
                               "pattern '^[a-zA-Z0-9_-]+$'.",
                               path);
        snprintf(path, sizeof path, "tools[%zu].function.parameters", i);
        if (schema && !json_is_null(schema) && !json_is_object(schema)) return wrong_type(fault, path, "an object");
        ask->tools[ask->n_tools++] = (vend_tool){name, json_is_object(schema) ? schema : NULL};
    }
    return true;
}

static bool check_tool_choice(vend_ask *ask, vend_fault *fault) {
    const json_t *choice = json_object_get(ask->json, "tool_choice");
    const char *word = json_string_value(choice);
    if (!choice || json_is_null(choice)) return true;
    if (!json_object_get(ask->json, "tools"))
        return vend_refuse(
            fault, BAD, "tool_choice",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.");
    if (word) {
        static const char *const words[] = {"none", "auto", "required", NULL};
        if (!vend_is_key(word, words))
            return vend_refuse(fault, BAD, "tool_choice",
                               "Invalid value: '%s'. Supported values are: 'none', 'auto', and 'required'.", word);
        ask->tool_choice = *word == 'n' ? VEND_TOOL_NONE : *word == 'r' ? VEND_TOOL_REQUIRED : VEND_TOOL_AUTO;
        return true;
    }
    const char *name = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    if (!name) return missing(fault, "tool_choice.function.name");
    for (size_t i = 0; i < ask->n_tools; i++) {
        if (strcmp(ask->tools[i].name, name)) continue;
        ask->tool_choice = VEND_TOOL_NAMED;
        ask->forced = name;
        return true;
    }
    return vend_refuse(fault, BAD, "tool_choice", "Tool choice '%s' not found in 'tools' parameter.", name);
}

static bool check_format(vend_ask *ask, vend_fault *fault) {
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    const json_t *format = json_object_get(ask->json, "response_format");
    if (!format || json_is_null(format)) return true;
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!type) return missing(fault, "response_format.type");
    if (!vend_is_key(type, types))
        return vend_refuse(fault, BAD, "response_format.type",
                           "Invalid value: '%s'. Supported values are: 'json_object', 'json_schema', and 'text'.",
                           type);
    ask->wants_json = strcmp(type, "text") != 0;
    const json_t *schema = json_object_get(format, "json_schema");
    if (!strcmp(type, "json_schema")) {
        if (!json_is_string(json_object_get(schema, "name"))) return missing(fault, "response_format.json_schema.name");
        ask->schema = json_object_get(schema, "schema");
    }
    return true;
}

bool vend_openai_check_chat(vend_ask *ask, vend_fault *fault) {
    ask->parallel = true;
    if (!check_common(ask, chat_keys, fault) || !check_messages(ask, fault) || !check_sampling(ask, fault))
        return false;
    double most = NAN;
    if (!check_number(ask->json, "max_completion_tokens", 1, 1e7, true, &most, fault)) return false;
    if (!isnan(most) && !isnan(ask->max_tokens))
        return vend_refuse(fault, BAD, "max_tokens",
                           "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.");
    if (!isnan(most)) ask->max_tokens = most;
    if (!check_tools(ask, fault) || !check_tool_choice(ask, fault) || !check_format(ask, fault)) return false;
    if (json_object_get(ask->json, "parallel_tool_calls") && !ask->n_tools && !json_object_get(ask->json, "tools"))
        return vend_refuse(fault, BAD, "parallel_tool_calls",
                           "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when "
                           "'tools' are specified.");
    return check_flag(ask->json, "parallel_tool_calls", &ask->parallel, fault) &&
           check_flag(ask->json, "logprobs", NULL, fault) && vend_check_context(ask, fault);
}

/* ---- the other endpoints ---- */

static bool is_list_of_tokens(const json_t *list) {
    size_t i;
    const json_t *one;
    if (!json_array_size(list)) return false;
    json_array_foreach(list, i, one) {
        if (!json_is_integer(one)) return false;
    }
    return true;
}

/* A text, texts, tokens, or lists of tokens; gives how many inputs there are. */
static bool check_inputs(vend_ask *ask, const char *key, size_t *n, vend_fault *fault) {
    const json_t *input = json_object_get(ask->json, key), *one;
    size_t i;
    *n = 1;
    vend_ask_message(ask);
    if (!input || json_is_null(input)) return missing(fault, key);
    if (json_is_string(input)) {
        vend_ask_text(ask, json_string_value(input), json_string_length(input));
        return true;
    }
    if (!json_is_array(input) || !json_array_size(input))
        return vend_refuse(fault, BAD, key, "'$.%s' is invalid. Please check the API reference.", key);
    if (is_list_of_tokens(input)) return true;
    *n = json_array_size(input);
    json_array_foreach(input, i, one) {
        if (json_is_string(one)) {
            vend_ask_message(ask);
            vend_ask_text(ask, json_string_value(one), json_string_length(one));
        } else if (!is_list_of_tokens(one)) {
            return vend_refuse(fault, BAD, key, "'$.%s' is invalid. Please check the API reference.", key);
        }
    }
    return true;
}

bool vend_openai_check_completions(vend_ask *ask, vend_fault *fault) {
    size_t n_prompts;
    if (!check_common(ask, completion_keys, fault) || !check_inputs(ask, "prompt", &n_prompts, fault) ||
        !check_sampling(ask, fault))
        return false;
    ask->n *= n_prompts;
    if (ask->n > VEND_MAX_CHOICES)
        return vend_refuse(fault, BAD, "prompt", "Too many choices: at most %d are given.", VEND_MAX_CHOICES);
    if (isnan(ask->max_tokens)) ask->max_tokens = 16; /* this endpoint's own default */
    return vend_check_context(ask, fault);
}

bool vend_openai_check_embeddings(vend_ask *ask, vend_fault *fault) {
    static const char *const formats[] = {"float", "base64", NULL};
    if (!check_common(ask, embedding_keys, fault) || !check_inputs(ask, "input", &ask->n, fault)) return false;
    if (ask->n > 2048)
        return vend_refuse(fault, BAD, "input", "'$.input' is invalid: at most 2048 inputs are taken at once.");
    if (!check_number(ask->json, "dimensions", 1, 3072, true, NULL, fault)) return false;
    const json_t *format = json_object_get(ask->json, "encoding_format");
    if (format && (!json_is_string(format) || !vend_is_key(json_string_value(format), formats)))
        return vend_refuse(fault, BAD, "encoding_format", "Invalid 'encoding_format': must be 'float' or 'base64'.");
    return true;
}

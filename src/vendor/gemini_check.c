/* gemini_check.c: what Gemini refuses. Its JSON is a protocol buffer's: unknown names are errors wherever they stand,
 * and names may be written in camel or snake case. Facts: ai.google.dev/api/generate-content, and the messages that its
 * users quote. SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/vendor/vendor.h"

#define BAD VEND_KIND_BAD_REQUEST

enum { MAX_SCHEMA_DEPTH = 16 };

static const char *const top_keys[] = {"contents",       "systemInstruction", "generationConfig", "tools", "toolConfig",
                                       "safetySettings", "cachedContent",     "labels",           "model", NULL};
static const char *const content_keys[] = {"role", "parts", NULL};
static const char *const part_keys[] = {"text",
                                        "inlineData",
                                        "fileData",
                                        "functionCall",
                                        "functionResponse",
                                        "executableCode",
                                        "codeExecutionResult",
                                        "thought",
                                        "thoughtSignature",
                                        "videoMetadata",
                                        "mediaResolution",
                                        NULL};
static const char *const config_keys[] = {"stopSequences",
                                          "responseMimeType",
                                          "responseSchema",
                                          "responseJsonSchema",
                                          "responseModalities",
                                          "candidateCount",
                                          "maxOutputTokens",
                                          "temperature",
                                          "topP",
                                          "topK",
                                          "seed",
                                          "presencePenalty",
                                          "frequencyPenalty",
                                          "responseLogprobs",
                                          "logprobs",
                                          "enableEnhancedCivicAnswers",
                                          "speechConfig",
                                          "thinkingConfig",
                                          "imageConfig",
                                          "mediaResolution",
                                          NULL};
static const char *const tool_keys[] = {"functionDeclarations", "googleSearch", "googleSearchRetrieval",
                                        "codeExecution",        "urlContext",   "computerUse",
                                        "googleMaps",           "fileSearch",   NULL};
static const char *const declaration_keys[] = {"name",     "description",        "parameters", "parametersJsonSchema",
                                               "response", "responseJsonSchema", "behavior",   NULL};
static const char *const schema_keys[] = {
    "type",     "format",     "title",    "description",      "nullable",      "enum",      "maxItems",
    "minItems", "properties", "required", "minProperties",    "maxProperties", "minLength", "maxLength",
    "pattern",  "example",    "anyOf",    "propertyOrdering", "default",       "items",     "minimum",
    "maximum",  NULL};

/* "systemInstruction" and "system_instruction" are the same name. */
static bool same_name(const char *key, const char *camel) {
    for (; *key && *camel; key++, camel++) {
        if (*key == '_' && isupper((unsigned char)*camel)) key++;
        if (tolower((unsigned char)*camel) != tolower((unsigned char)*key)) return false;
        if (isupper((unsigned char)*key) && !isupper((unsigned char)*camel)) return false;
    }
    return !*key && !*camel;
}

static const json_t *member(const json_t *object, const char *camel) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (same_name(key, camel)) return value;
    }
    return NULL;
}

/* An object whose names are all known; `path` as the vendor writes it, "" at the top. */
static bool check_names(const vend_ask *ask, const json_t *object, const char *const *known, const char *path,
                        vend_fault *fault) {
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return vend_refuse(fault, BAD, NULL, "Invalid value at '%s' (type.googleapis.com): expected an object", path);
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        bool found = ask->scenario->file.lenient;
        for (size_t i = 0; known[i] && !found; i++) found = same_name(key, known[i]);
        if (!found)
            return vend_refuse(fault, BAD, NULL,
                               "Invalid JSON payload received. Unknown name \"%s\"%s%s%s: Cannot find field.", key,
                               *path ? " at '" : "", path, *path ? "'" : "");
    }
    return true;
}

static bool check_call(const json_t *part, const char *name, const char *path, vend_fault *fault) {
    const json_t *call = member(part, name), *data;
    const bool is_call = !strcmp(name, "functionCall");
    if (!call) return true;
    if (!json_is_string(json_object_get(call, "name")))
        return vend_refuse(fault, BAD, NULL, "* %s.%s.name: [FIELD_INVALID] Name cannot be empty.", path,
                           is_call ? "function_call" : "function_response");
    data = json_object_get(call, is_call ? "args" : "response");
    if (data ? !json_is_object(data) : !is_call)
        return vend_refuse(fault, BAD, NULL, "Invalid value at '%s.%s' (type.googleapis.com/google.protobuf.Struct)",
                           path, is_call ? "function_call.args" : "function_response.response");
    return true;
}

static bool check_part(vend_ask *ask, const json_t *part, const char *path, vend_fault *fault) {
    static const char *const data_names[] = {
        "text",           "inlineData",          "fileData", "functionCall", "functionResponse",
        "executableCode", "codeExecutionResult", NULL};
    size_t n = 0;
    if (!check_names(ask, part, part_keys, path, fault)) return false;
    for (size_t i = 0; data_names[i]; i++) n += member(part, data_names[i]) != NULL;
    if (n != 1)
        return vend_refuse(fault, BAD, NULL, "* %s.data: required oneof field 'data' must have one initialized field",
                           path);
    const json_t *text = json_object_get(part, "text"), *inline_data = member(part, "inlineData");
    if (text && !json_is_string(text))
        return vend_refuse(fault, BAD, NULL, "Invalid value at '%s.text' (TYPE_STRING)", path);
    if (text) vend_ask_text(ask, json_string_value(text), json_string_length(text));
    if (inline_data &&
        (!json_is_string(member(inline_data, "mimeType")) || !json_is_string(member(inline_data, "data"))))
        return vend_refuse(fault, BAD, NULL, "* %s.inline_data.data: required field must be set", path);
    return check_call(part, "functionCall", path, fault) && check_call(part, "functionResponse", path, fault);
}

static bool check_parts(vend_ask *ask, const json_t *content, const char *path, size_t *n_calls, size_t *n_answers,
                        vend_fault *fault) {
    const json_t *parts = json_object_get(content, "parts"), *part;
    char where[96];
    size_t i;
    *n_calls = *n_answers = 0;
    if (!check_names(ask, content, content_keys, path, fault)) return false;
    if (!json_array_size(parts))
        return vend_refuse(fault, BAD, NULL, "* GenerateContentRequest.%s.parts: contents.parts must not be empty.",
                           path);
    json_array_foreach(parts, i, part) {
        snprintf(where, sizeof where, "%s.parts[%zu]", path, i);
        if (!check_part(ask, part, where, fault)) return false;
        *n_calls += member(part, "functionCall") != NULL;
        *n_answers += member(part, "functionResponse") != NULL;
    }
    return true;
}

static bool check_contents(vend_ask *ask, vend_fault *fault) {
    const json_t *contents = json_object_get(ask->json, "contents"), *content;
    size_t i, calls = 0, answers, before = 0;
    char path[48];
    if (!json_array_size(contents))
        return vend_refuse(fault, BAD, NULL, "* GenerateContentRequest.contents: contents is not specified");
    json_array_foreach(contents, i, content) {
        const char *role = json_string_value(json_object_get(content, "role"));
        snprintf(path, sizeof path, "contents[%zu]", i);
        if (json_object_get(content, "role") &&
            (!role || (strcmp(role, "user") && strcmp(role, "model") && strcmp(role, "function"))))
            return vend_refuse(fault, BAD, NULL, "Please use a valid role: user, model.");
        if (!role && json_array_size(contents) > 1)
            return vend_refuse(fault, BAD, NULL, "Please use a valid role: user, model.");
        vend_ask_message(ask);
        if (!check_parts(ask, content, path, &calls, &answers, fault)) return false;
        bool model = role && !strcmp(role, "model");
        if (calls && (!model || !i))
            return vend_refuse(fault, BAD, NULL,
                               "Please ensure that function call turn comes immediately after a user turn or after a "
                               "function response turn.");
        if (before != answers)
            return vend_refuse(fault, BAD, NULL,
                               "Please ensure that the number of function response parts is equal to the number of "
                               "function call parts of the function call turn.");
        ask->after_tool = answers > 0;
        before = calls;
    }
    return true;
}

static bool check_schema(const vend_ask *ask, const json_t *schema, const char *path, int depth, vend_fault *fault) {
    const char *key;
    json_t *value;
    char where[256];
    size_t i = 0;
    if (depth > MAX_SCHEMA_DEPTH) return vend_refuse(fault, BAD, NULL, "The schema at '%s' is too deep.", path);
    if (!check_names(ask, schema, schema_keys, path, fault)) return false;
    const json_t *type = json_object_get(schema, "type");
    if (type && !json_is_string(type))
        return vend_refuse(fault, BAD, NULL,
                           "Invalid JSON payload received. Unknown name \"type\" at '%s': Proto field is not "
                           "repeating, cannot start list.",
                           path);
    json_object_foreach(json_object_get(schema, "properties"), key, value) {
        snprintf(where, sizeof where, "%s.properties[%zu].value", path, i++);
        if (!check_schema(ask, value, where, depth + 1, fault)) return false;
    }
    const json_t *items = json_object_get(schema, "items"), *any = member(schema, "anyOf"), *one;
    snprintf(where, sizeof where, "%s.items", path);
    if (items && !check_schema(ask, items, where, depth + 1, fault)) return false;
    json_array_foreach(any, i, one) {
        snprintf(where, sizeof where, "%s.any_of[%zu]", path, i);
        if (!check_schema(ask, one, where, depth + 1, fault)) return false;
    }
    return true;
}

static bool check_declaration(vend_ask *ask, const json_t *d, const char *path, vend_fault *fault) {
    const char *name = json_string_value(json_object_get(d, "name"));
    const json_t *schema = json_object_get(d, "parameters"), *other = member(d, "parametersJsonSchema");
    char where[160];
    if (!check_names(ask, d, declaration_keys, path, fault)) return false;
    if (!name || !*name || strlen(name) > 64 || (!isalpha((unsigned char)*name) && *name != '_'))
        return vend_refuse(fault, BAD, NULL,
                           "* GenerateContentRequest.%s.name: [FIELD_INVALID] Invalid function name. Must start with a "
                           "letter or an underscore.",
                           path);
    if (schema && other)
        return vend_refuse(fault, BAD, NULL, "parameters and parameters_json_schema are mutually exclusive (%s)", path);
    snprintf(where, sizeof where, "%s.parameters", path);
    if (schema && !check_schema(ask, schema, where, 0, fault)) return false;
    if (ask->n_tools < VEND_MAX_TOOLS) ask->tools[ask->n_tools++] = (vend_tool){name, schema ? schema : other};
    return true;
}

static bool check_tools(vend_ask *ask, vend_fault *fault) {
    const json_t *tools = json_object_get(ask->json, "tools"), *tool, *d;
    char path[96];
    size_t t, i;
    json_array_foreach(tools, t, tool) {
        snprintf(path, sizeof path, "tools[%zu]", t);
        if (!check_names(ask, tool, tool_keys, path, fault)) return false;
        json_array_foreach(member(tool, "functionDeclarations"), i, d) {
            snprintf(path, sizeof path, "tools[%zu].function_declarations[%zu]", t, i);
            if (!check_declaration(ask, d, path, fault)) return false;
        }
    }
    return true;
}

static bool check_tool_config(vend_ask *ask, vend_fault *fault) {
    const json_t *config = member(member(ask->json, "toolConfig"), "functionCallingConfig");
    const char *mode = json_string_value(json_object_get(config, "mode"));
    const json_t *allowed = member(config, "allowedFunctionNames");
    const char *name = json_string_value(json_array_get(allowed, 0));
    if (!mode) return true;
    if (!strcmp(mode, "NONE")) ask->tool_choice = VEND_TOOL_NONE;
    if (allowed && strcmp(mode, "ANY") && strcmp(mode, "VALIDATED"))
        return vend_refuse(fault, BAD, NULL,
                           "Function calling config is set with allowed_function_names, but mode is not ANY.");
    if (strcmp(mode, "ANY")) {
        static const char *const modes[] = {"AUTO", "NONE", "VALIDATED", "MODE_UNSPECIFIED", NULL};
        if (!vend_is_key(mode, modes))
            return vend_refuse(fault, BAD, NULL, "Invalid value at 'tool_config.function_calling_config.mode', \"%s\"",
                               mode);
        return true;
    }
    if (!ask->n_tools)
        return vend_refuse(fault, BAD, NULL, "Function calling config is set without function_declarations.");
    ask->tool_choice = VEND_TOOL_REQUIRED;
    for (size_t i = 0; name && i < ask->n_tools; i++)
        if (!strcmp(ask->tools[i].name, name)) ask->tool_choice = VEND_TOOL_NAMED, ask->forced = name;
    return !name || ask->forced ||
           vend_refuse(fault, BAD, NULL, "allowed_function_names holds '%s', which is not declared.", name);
}

static bool number(const json_t *config, const char *name, double lo, double hi, double *out, vend_fault *fault) {
    const json_t *v = member(config, name);
    if (!v || json_is_null(v)) return true;
    if (!json_is_number(v)) return vend_refuse(fault, BAD, NULL, "Invalid value at 'generation_config.%s'", name);
    double x = json_number_value(v);
    if (x < lo || x > hi)
        return vend_refuse(fault, BAD, NULL,
                           "* GenerateContentRequest.generation_config.%s: must be in the range [%g, %g].", name, lo,
                           hi);
    if (out) *out = x;
    return true;
}

static bool check_config(vend_ask *ask, vend_fault *fault) {
    const json_t *config = member(ask->json, "generationConfig");
    double candidates = 1;
    if (!config) return true;
    if (!check_names(ask, config, config_keys, "generation_config", fault)) return false;
    if (!number(config, "maxOutputTokens", 1, 1e7, &ask->max_tokens, fault) ||
        !number(config, "temperature", 0, 2, NULL, fault) || !number(config, "topP", 0, 1, NULL, fault) ||
        !number(config, "topK", 1, 1e6, NULL, fault) || !number(config, "candidateCount", 1, 8, &candidates, fault))
        return false;
    if (candidates > 1) return vend_refuse(fault, BAD, NULL, "Multiple candidates is not enabled for this model");
    const json_t *stop = member(config, "stopSequences"), *schema = member(config, "responseSchema");
    if (stop && (!json_is_array(stop) || json_array_size(stop) > 5))
        return vend_refuse(fault, BAD, NULL, "* GenerateContentRequest.generation_config.stop_sequences: at most 5");
    if (schema && !check_schema(ask, schema, "generation_config.response_schema", 0, fault)) return false;
    const char *mime = json_string_value(member(config, "responseMimeType"));
    ask->wants_json = mime && !strcmp(mime, "application/json");
    ask->schema = schema ? schema : member(config, "responseJsonSchema");
    if (ask->schema && !ask->wants_json)
        return vend_refuse(fault, BAD, NULL,
                           "Function calling with a response mime type: 'text/plain' is unsupported: response_schema "
                           "needs response_mime_type 'application/json'");
    return true;
}

bool vend_gemini_check(vend_ask *ask, vend_fault *fault) {
    size_t calls, answers;
    if (!vend_check_key(ask, ask->header(ask->user, "x-goog-api-key"), fault)) return false;
    if (!json_is_object(ask->json))
        return vend_refuse(fault, BAD, NULL, "Invalid JSON payload received. Unexpected token.");
    if (!check_names(ask, ask->json, top_keys, "", fault) || !vend_check_model(ask, fault)) return false;
    const json_t *system = member(ask->json, "systemInstruction");
    if (system) {
        vend_ask_message(ask);
        if (!check_parts(ask, system, "system_instruction", &calls, &answers, fault)) return false;
    }
    ask->include_usage = true;
    ask->parallel = true;
    return check_contents(ask, fault) && check_tools(ask, fault) && check_tool_config(ask, fault) &&
           check_config(ask, fault) && vend_check_context(ask, fault);
}

/* Tools for Gemini, and JSON Schema as it takes it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "src/translate/gemini.h"

/* ---- schemas ----
 *
 * Functions are declared with parametersJsonSchema, which takes JSON Schema. The older `parameters` is a message of its
 * own, whose parser refuses the whole request for each word that it doesn't know ($schema, additionalProperties,
 * exclusiveMinimum, ...). What is left to do is little: JSON Schema's parts that Gemini documents are $id, $defs, $ref,
 * $anchor, type, format, title, description, enum, items, prefixItems, minItems, maxItems, minimum, maximum, anyOf,
 * oneOf, properties, additionalProperties and required; beside $ref there may only be words that begin with $. */

enum { MAX_DEPTH = 64 }; /* below that a schema is taken as it is */

static json_t *convert(const json_t *schema, int depth);

static bool is_one_of(const char *key, const char *const *keys) {
    while (*keys && strcmp(key, *keys) != 0) keys++;
    return *keys != NULL;
}

/* Schemas in an array or as values of a map; a new reference. */
static json_t *convert_all(const json_t *many, int depth) {
    json_t *out = json_is_array(many) ? json_array() : json_object();
    const size_t n = json_array_size(many);
    for (size_t i = 0; out && i < n; i++)
        if (json_array_append_new(out, convert(json_array_get(many, i), depth))) goto failed;
    if (json_is_object(many)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)many, key, value) if (!out || json_object_set_new_nocheck(
                                                                        out, key, convert(value, depth))) goto failed;
    }
    return out;
failed:
    json_decref(out);
    return NULL;
}

/* "#/definitions/X" (before draft 2019-09) is "#/$defs/X" for Gemini. */
static json_t *convert_ref(const json_t *ref) {
    static const char old[] = "#/definitions/";
    const char *text = json_string_value(ref);
    if (!text || strncmp(text, old, sizeof old - 1) != 0) return json_incref((json_t *)ref);
    return json_sprintf("#/$defs/%s", text + sizeof old - 1);
}

static json_t *convert_value(const char *key, const json_t *value, int depth) {
    static const char *const one[] = {"items", "additionalProperties", "not", NULL};
    static const char *const many[] = {
        "properties", "$defs", "definitions", "patternProperties", "anyOf", "oneOf", "allOf", "prefixItems", NULL};
    if (!strcmp(key, "$ref")) return convert_ref(value);
    if (!strcmp(key, "const")) return json_pack("[O]", (json_t *)value);
    if (is_one_of(key, one)) return convert(value, depth + 1);
    if (is_one_of(key, many) && (json_is_object(value) || json_is_array(value))) return convert_all(value, depth + 1);
    return json_incref((json_t *)value);
}

static json_t *convert(const json_t *schema, int depth) {
    if (!json_is_object(schema) || depth > MAX_DEPTH) return json_incref((json_t *)schema);
    const bool refers = json_object_get(schema, "$ref");
    json_t *out = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)schema, key, value) {
        if (!strcmp(key, "$schema") || (refers && *key != '$')) continue;
        const char *name = !strcmp(key, "const") ? "enum" : !strcmp(key, "definitions") ? "$defs" : key;
        if (!out || json_object_set_new_nocheck(out, name, convert_value(key, value, depth))) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

json_t *weirp_gemini_schema(const json_t *schema) {
    return convert(schema, 0);
}

/* ---- tools ---- */

static bool declare(weirp_gemini_draft *d, json_t *declarations, const json_t *tool, size_t i) {
    char param[48];
    snprintf(param, sizeof param, "tools[%zu]", i);
    json_t *function = json_object_get(tool, "function");
    json_t *name = json_object_get(function, "name"), *description = json_object_get(function, "description");
    const json_t *parameters = json_object_get(function, "parameters");
    if (!weirp_gemini_is(json_object_get(tool, "type"), "function") || !json_is_string(name))
        return WEIRP_GEMINI_REFUSE(d, param, "unsupported_value", "Only tools that are functions are translated.");
    json_t *out = json_object();
    if (!weirp_gemini_append(d, declarations, out) || !weirp_gemini_put(d, out, "name", json_incref(name)))
        return false;
    if (json_is_string(description) && !weirp_gemini_put(d, out, "description", json_incref(description))) return false;
    /* An object without properties is what Gemini wants to see left out. */
    const bool any = json_object_size(json_object_get(parameters, "properties")) ||
                     json_object_get(parameters, "$ref") || json_object_get(parameters, "anyOf") ||
                     json_object_get(parameters, "oneOf") || json_object_get(parameters, "allOf") ||
                     json_is_true(json_object_get(parameters, "additionalProperties")) ||
                     json_is_object(json_object_get(parameters, "additionalProperties"));
    return !json_is_object(parameters) || !any ||
           weirp_gemini_put(d, out, "parametersJsonSchema", weirp_gemini_schema(parameters));
}

/* The names in {"allowed_tools": {"tools": [{"type": "function", "function": {"name": ..}}]}}; a new reference; NULL:
 * refused or failed. */
static json_t *allowed_names(weirp_gemini_draft *d, const json_t *allowed) {
    const json_t *tools = json_object_get(allowed, "tools");
    json_t *names = json_array();
    for (size_t i = 0; names && i < json_array_size(tools); i++) {
        json_t *name = json_object_get(json_object_get(json_array_get(tools, i), "function"), "name");
        if (!json_is_string(name)) {
            (void)WEIRP_GEMINI_REFUSE(d, "tool_choice", "unsupported_value", "Only functions can be allowed tools.");
            json_decref(names);
            return NULL;
        }
        if (!weirp_gemini_append(d, names, json_incref(name))) break;
    }
    if (!names) d->failed = true;
    return names;
}

static bool choose(weirp_gemini_draft *d, const json_t *choice) {
    static const struct { const char *from, *to; } modes[] = {{"auto", "AUTO"}, {"none", "NONE"}, {"required", "ANY"}};
    const char *mode = NULL;
    json_t *names = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (weirp_gemini_is(choice, modes[i].from)) mode = modes[i].to;
    json_t *name = json_object_get(json_object_get(choice, "function"), "name");
    const json_t *allowed = json_object_get(choice, "allowed_tools");
    if (json_is_string(name)) {
        mode = "ANY";
        names = json_pack("[O]", name);
    } else if (json_is_object(allowed)) {
        /* VALIDATED: a call of one of these, or text. */
        mode = weirp_gemini_is(json_object_get(allowed, "mode"), "required") ? "ANY" : "VALIDATED";
        names = allowed_names(d, allowed);
        if (!names) return false;
    }
    if (!mode) return WEIRP_GEMINI_REFUSE(d, "tool_choice", "unsupported_value", "Gemini has no such tool choice.");
    json_t *config = names
                         ? json_pack("{s:{sssO}}", "functionCallingConfig", "mode", mode, "allowedFunctionNames", names)
                         : json_pack("{s:{ss}}", "functionCallingConfig", "mode", mode);
    json_decref(names);
    return weirp_gemini_put(d, d->root, "toolConfig", config);
}

bool weirp_gemini_tools(weirp_gemini_draft *d) {
    const json_t *tools = json_object_get(d->request->chat, "tools");
    const json_t *choice = json_object_get(d->request->chat, "tool_choice");
    const size_t n = json_array_size(tools);
    if (!n) return true;
    json_t *declarations = json_array();
    if (!weirp_gemini_put(d, d->root, "tools", json_pack("[{so}]", "functionDeclarations", declarations))) return false;
    for (size_t i = 0; i < n; i++)
        if (!declare(d, declarations, json_array_get(tools, i), i)) return false;
    return !choice || json_is_null(choice) || choose(d, choice);
}

/* anthropic_check.c: what Anthropic refuses. Facts: docs.anthropic.com/en/api/messages and /errors, and the messages
 * that its users quote. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/vendor/vendor.h"

#define BAD VEND_KIND_BAD_REQUEST

static const char *const keys[] = {"model",
                                   "messages",
                                   "max_tokens",
                                   "cache_control",
                                   "container",
                                   "context_management",
                                   "inference_geo",
                                   "metadata",
                                   "mcp_servers",
                                   "output_config",
                                   "output_format",
                                   "service_tier",
                                   "stop_sequences",
                                   "stream",
                                   "speed",
                                   "system",
                                   "temperature",
                                   "thinking",
                                   "tool_choice",
                                   "tools",
                                   "top_k",
                                   "top_p",
                                   NULL};

static bool wrong(vend_fault *fault, const char *path, const char *what) {
    return vend_refuse(fault, BAD, NULL, "%s: %s", path, what);
}

static bool check_number(const json_t *json, const char *key, double lo, double hi, bool whole, vend_fault *fault) {
    const json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v)) return true;
    if (whole ? !json_is_integer(v) : !json_is_number(v))
        return wrong(fault, key, whole ? "Input should be a valid integer" : "Input should be a valid number");
    if (json_number_value(v) < lo)
        return vend_refuse(fault, BAD, NULL, "%s: Input should be greater than or equal to %g", key, lo);
    if (json_number_value(v) > hi)
        return vend_refuse(fault, BAD, NULL, "%s: Input should be less than or equal to %g", key, hi);
    return true;
}

static bool check_head(vend_ask *ask, vend_fault *fault) {
    const char *key = ask->header(ask->user, "x-api-key"), *bearer = ask->header(ask->user, "authorization");
    if (!key && bearer && !strncasecmp(bearer, "bearer ", 7)) key = bearer + 7;
    if (!vend_check_key(ask, key, fault)) return false;
    if (!ask->header(ask->user, "anthropic-version")) return wrong(fault, "anthropic-version", "header is required");
    if (!json_is_object(ask->json)) return vend_refuse(fault, BAD, NULL, "The request body is not valid JSON");
    const char *unknown = ask->scenario->file.lenient ? NULL : vend_unknown_key(ask->json, keys);
    if (unknown) return wrong(fault, unknown, "Extra inputs are not permitted");
    const json_t *model = json_object_get(ask->json, "model"), *most = json_object_get(ask->json, "max_tokens");
    if (!model) return wrong(fault, "model", "Field required");
    if (!json_is_string(model) || !json_string_length(model))
        return wrong(fault, "model", "Input should be a valid string");
    ask->model = json_string_value(model);
    if (!most) return wrong(fault, "max_tokens", "Field required");
    if (!check_number(ask->json, "max_tokens", 1, 1e7, true, fault)) return false;
    if (!json_is_integer(most)) return wrong(fault, "max_tokens", "Input should be a valid integer");
    ask->max_tokens = json_number_value(most);
    return vend_check_model(ask, fault);
}

/* ---- content ---- */

static bool check_source(const json_t *block, const char *path, vend_fault *fault) {
    const json_t *source = json_object_get(block, "source");
    const char *type = json_string_value(json_object_get(source, "type"));
    char where[128];
    snprintf(where, sizeof where, "%s.source", path);
    if (!type) return wrong(fault, where, "Field required");
    if (!strcmp(type, "base64") &&
        (!json_is_string(json_object_get(source, "media_type")) || !json_is_string(json_object_get(source, "data"))))
        return wrong(fault, where, "base64 needs media_type and data");
    if (!strcmp(type, "url") && !json_is_string(json_object_get(source, "url")))
        return wrong(fault, where, "url: Field required");
    return true;
}

/* What of a turn the next one must answer, and what this one answers. */
typedef struct turn {
    json_t *asked, *answered; /* ids of tool calls and of results */
    size_t n_blocks;
} turn;

static bool check_result_content(vend_ask *ask, const json_t *content, const char *path, vend_fault *fault) {
    size_t i;
    const json_t *part;
    if (!content || json_is_null(content)) return true;
    if (json_is_string(content)) {
        vend_ask_text(ask, json_string_value(content), json_string_length(content));
        return true;
    }
    if (!json_is_array(content)) return wrong(fault, path, "Input should be a valid list");
    json_array_foreach(content, i, part) {
        const json_t *text = json_object_get(part, "text");
        if (!json_is_string(json_object_get(part, "type"))) return wrong(fault, path, "type: Field required");
        if (json_is_string(text)) vend_ask_text(ask, json_string_value(text), json_string_length(text));
    }
    return true;
}

static bool check_block(vend_ask *ask, const json_t *block, const char *path, bool user, turn *t, vend_fault *fault) {
    static const char *const types[] = {"text",
                                        "image",
                                        "document",
                                        "tool_use",
                                        "tool_result",
                                        "thinking",
                                        "redacted_thinking",
                                        "search_result",
                                        "server_tool_use",
                                        "web_search_tool_result",
                                        NULL};
    const char *type = json_string_value(json_object_get(block, "type"));
    if (!type) return vend_refuse(fault, BAD, NULL, "%s.type: Field required", path);
    if (!vend_is_key(type, types))
        return vend_refuse(fault, BAD, NULL,
                           "%s: Input tag '%s' found using 'type' does not match any of the expected tags", path, type);
    if (!strcmp(type, "text")) {
        const json_t *text = json_object_get(block, "text");
        if (!json_is_string(text)) return vend_refuse(fault, BAD, NULL, "%s.text.text: Field required", path);
        if (!json_string_length(text))
            return vend_refuse(fault, BAD, NULL, "messages: text content blocks must be non-empty");
        vend_ask_text(ask, json_string_value(text), json_string_length(text));
    } else if (!strcmp(type, "image") || !strcmp(type, "document")) {
        return check_source(block, path, fault);
    } else if (!strcmp(type, "tool_use")) {
        const char *id = json_string_value(json_object_get(block, "id"));
        if (user)
            return vend_refuse(fault, BAD, NULL, "%s: `tool_use` blocks can only be in `assistant` messages", path);
        if (!id) return vend_refuse(fault, BAD, NULL, "%s.tool_use.id: Field required", path);
        if (!json_is_string(json_object_get(block, "name")))
            return vend_refuse(fault, BAD, NULL, "%s.tool_use.name: Field required", path);
        if (!json_is_object(json_object_get(block, "input")))
            return vend_refuse(fault, BAD, NULL, "%s.tool_use.input: Input should be a valid dictionary", path);
        if (json_object_get(t->asked, id))
            return vend_refuse(fault, BAD, NULL, "messages: `tool_use` ids must be unique");
        json_object_set_new(t->asked, id, json_true());
    } else if (!strcmp(type, "tool_result")) {
        const char *id = json_string_value(json_object_get(block, "tool_use_id"));
        if (!user)
            return vend_refuse(fault, BAD, NULL, "%s: `tool_result` blocks can only be in `user` messages", path);
        if (!id) return vend_refuse(fault, BAD, NULL, "%s.tool_result.tool_use_id: Field required", path);
        json_object_set_new(t->answered, id, json_true());
        ask->after_tool = true;
        return check_result_content(ask, json_object_get(block, "content"), path, fault);
    }
    return true;
}

static bool check_content(vend_ask *ask, const json_t *message, size_t m, bool user, bool last, turn *t,
                          vend_fault *fault) {
    const json_t *content = json_object_get(message, "content"), *block;
    char path[64];
    size_t i;
    snprintf(path, sizeof path, "messages.%zu.content", m);
    if (!content) return wrong(fault, path, "Field required");
    bool empty = json_is_string(content) ? !json_string_length(content) : !json_array_size(content);
    if (!json_is_string(content) && !json_is_array(content)) return wrong(fault, path, "Input should be a valid list");
    if (empty && (user || !last))
        return vend_refuse(fault, BAD, NULL,
                           "messages.%zu: all messages must have non-empty content except for the optional final "
                           "assistant message",
                           m);
    if (json_is_string(content)) {
        vend_ask_text(ask, json_string_value(content), json_string_length(content));
        return true;
    }
    json_array_foreach(content, i, block) {
        snprintf(path, sizeof path, "messages.%zu.content.%zu", m, i);
        if (!check_block(ask, block, path, user, t, fault)) return false;
    }
    return true;
}

/* Each call of the turn before must be answered in this one, and nothing else may be. */
static bool check_answers(const turn *before, const turn *now, size_t m, vend_fault *fault) {
    const char *id;
    json_t *value;
    json_object_foreach(before->asked, id, value) {
        if (!json_object_get(now->answered, id))
            return vend_refuse(fault, BAD, NULL,
                               "messages.%zu: `tool_use` ids were found without `tool_result` blocks immediately "
                               "after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the "
                               "next message.",
                               m ? m - 1 : 0, id);
    }
    json_object_foreach(now->answered, id, value) {
        if (!json_object_get(before->asked, id))
            return vend_refuse(fault, BAD, NULL,
                               "messages.%zu: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each "
                               "`tool_result` block must have a corresponding `tool_use` block in the previous "
                               "message.",
                               m, id);
    }
    return true;
}

static bool check_role(const vend_ask *ask, const char *role, const char *before, size_t m, vend_fault *fault) {
    if (!role) return vend_refuse(fault, BAD, NULL, "messages.%zu.role: Field required", m);
    if (!strcmp(role, "system"))
        return vend_refuse(fault, BAD, NULL,
                           "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` "
                           "parameter, not \"system\" as an input message role.");
    if (strcmp(role, "user") && strcmp(role, "assistant"))
        return vend_refuse(fault, BAD, NULL,
                           "messages: Unexpected role \"%s\". Allowed roles are \"user\" or \"assistant\"", role);
    if (!before && strcmp(role, "user"))
        return vend_refuse(fault, BAD, NULL, "messages: first message must use the \"user\" role");
    if (ask->scenario->file.strict_roles && before && !strcmp(role, before))
        return vend_refuse(fault, BAD, NULL,
                           "messages: roles must alternate between \"user\" and \"assistant\", but found multiple "
                           "\"%s\" roles in a row",
                           role);
    return true;
}

static bool check_turns(vend_ask *ask, const json_t *messages, turn *before, turn *now, vend_fault *fault) {
    const json_t *message;
    const char *spoke = NULL;
    size_t m, n = json_array_size(messages);
    json_array_foreach(messages, m, message) {
        const char *role = json_string_value(json_object_get(message, "role"));
        if (!json_is_object(message))
            return vend_refuse(fault, BAD, NULL, "messages.%zu: Input should be an object", m);
        if (!check_role(ask, role, spoke, m, fault)) return false;
        bool user = !strcmp(role, "user"), goes_on = spoke && !strcmp(role, spoke); /* one turn in two messages */
        if (!goes_on) {
            /* a user's turn that is over has answered the assistant's before it */
            if (spoke && !user && !check_answers(before, now, m - 1, fault)) return false;
            json_object_clear(user ? now->answered : before->asked);
        }
        ask->after_tool = false;
        vend_ask_message(ask);
        turn t = {before->asked, now->answered, 0};
        if (!check_content(ask, message, m, user, m + 1 == n, &t, fault)) return false;
        spoke = role;
    }
    bool ends_with_user = spoke && !strcmp(spoke, "user");
    if (!ends_with_user) json_object_clear(now->answered);
    return check_answers(before, now, ends_with_user ? n - 1 : n, fault);
}

static bool check_messages(vend_ask *ask, vend_fault *fault) {
    const json_t *messages = json_object_get(ask->json, "messages");
    if (!messages) return wrong(fault, "messages", "Field required");
    if (!json_is_array(messages)) return wrong(fault, "messages", "Input should be a valid list");
    if (!json_array_size(messages)) return wrong(fault, "messages", "at least one message is required");
    turn before = {.asked = json_object()}, now = {.answered = json_object()};
    bool ok = check_turns(ask, messages, &before, &now, fault);
    json_decref(before.asked);
    json_decref(now.answered);
    return ok;
}

static bool check_system(vend_ask *ask, vend_fault *fault) {
    const json_t *system = json_object_get(ask->json, "system"), *block;
    size_t i;
    if (!system) return true;
    vend_ask_message(ask);
    if (json_is_string(system)) {
        vend_ask_text(ask, json_string_value(system), json_string_length(system));
        return true;
    }
    if (!json_is_array(system)) return wrong(fault, "system", "Input should be a valid list");
    json_array_foreach(system, i, block) {
        const json_t *text = json_object_get(block, "text");
        const char *type = json_string_value(json_object_get(block, "type"));
        if (!type || strcmp(type, "text") || !json_is_string(text))
            return vend_refuse(fault, BAD, NULL, "system.%zu: Input should be a text block", i);
        if (!json_string_length(text))
            return vend_refuse(fault, BAD, NULL, "system: text content blocks must be non-empty");
        vend_ask_text(ask, json_string_value(text), json_string_length(text));
    }
    return true;
}

/* ---- the rest ---- */

static bool check_tools(vend_ask *ask, vend_fault *fault) {
    const json_t *tools = json_object_get(ask->json, "tools"), *tool;
    size_t i;
    if (!tools) return true;
    if (!json_is_array(tools)) return wrong(fault, "tools", "Input should be a valid list");
    json_array_foreach(tools, i, tool) {
        const char *name = json_string_value(json_object_get(tool, "name"));
        const char *type = json_string_value(json_object_get(tool, "type"));
        const json_t *schema = json_object_get(tool, "input_schema");
        if (!name) return vend_refuse(fault, BAD, NULL, "tools.%zu.name: Field required", i);
        if (type && strcmp(type, "custom")) continue; /* the vendor's own tools */
        if (!schema) return vend_refuse(fault, BAD, NULL, "tools.%zu.custom.input_schema: Field required", i);
        const char *of = json_string_value(json_object_get(schema, "type"));
        if (!of || strcmp(of, "object"))
            return vend_refuse(fault, BAD, NULL, "tools.%zu.custom.input_schema.type: Input should be 'object'", i);
        static const char *const tool_keys[] = {"name",   "type",          "description",    "input_schema",
                                                "strict", "cache_control", "input_examples", NULL};
        const char *unknown = ask->scenario->file.lenient ? NULL : vend_unknown_key(tool, tool_keys);
        if (unknown)
            return vend_refuse(fault, BAD, NULL, "tools.%zu.custom.%s: Extra inputs are not permitted", i, unknown);
        if (ask->n_tools < VEND_MAX_TOOLS) ask->tools[ask->n_tools++] = (vend_tool){name, schema};
    }
    return true;
}

static bool check_tool_choice(vend_ask *ask, vend_fault *fault) {
    static const char *const types[] = {"auto", "any", "tool", "none", NULL};
    const json_t *choice = json_object_get(ask->json, "tool_choice");
    ask->parallel = !json_is_true(json_object_get(choice, "disable_parallel_tool_use"));
    if (!choice) return true;
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(choice, "name"));
    if (!type || !vend_is_key(type, types))
        return wrong(fault, "tool_choice",
                     "Input tag does not match any of the expected tags: 'auto', 'any', 'tool', "
                     "'none'");
    if (!json_object_get(ask->json, "tools"))
        return wrong(fault, "tool_choice", "may only be specified while providing tools");
    if (!strcmp(type, "none")) ask->tool_choice = VEND_TOOL_NONE;
    if (!strcmp(type, "any")) ask->tool_choice = VEND_TOOL_REQUIRED;
    if (strcmp(type, "tool")) return true;
    if (!name) return wrong(fault, "tool_choice.tool.name", "Field required");
    for (size_t i = 0; i < ask->n_tools; i++)
        if (!strcmp(ask->tools[i].name, name)) {
            ask->forced = name;
            ask->tool_choice = VEND_TOOL_NAMED;
            return true;
        }
    return vend_refuse(fault, BAD, NULL, "Tool '%s' not found in provided tools", name);
}

static bool check_thinking(const vend_ask *ask, vend_fault *fault) {
    const json_t *thinking = json_object_get(ask->json, "thinking");
    const char *type = json_string_value(json_object_get(thinking, "type"));
    if (!thinking) return true;
    if (!type) return wrong(fault, "thinking.type", "Field required");
    if (strcmp(type, "enabled")) return true;
    const json_t *budget = json_object_get(thinking, "budget_tokens");
    if (!json_is_integer(budget)) return wrong(fault, "thinking.enabled.budget_tokens", "Field required");
    if (json_integer_value(budget) < 1024)
        return wrong(fault, "thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024");
    if ((double)json_integer_value(budget) >= ask->max_tokens)
        return vend_refuse(fault, BAD, NULL, "`max_tokens` must be greater than `thinking.budget_tokens`.");
    return true;
}

static bool check_stop(const vend_ask *ask, vend_fault *fault) {
    const json_t *stop = json_object_get(ask->json, "stop_sequences"), *one;
    size_t i;
    if (!stop) return true;
    if (!json_is_array(stop)) return wrong(fault, "stop_sequences", "Input should be a valid list");
    json_array_foreach(stop, i, one) {
        const char *text = json_string_value(one);
        if (!text) return wrong(fault, "stop_sequences", "Input should be a valid string");
        if (strspn(text, " \t\r\n") == strlen(text))
            return wrong(fault, "stop_sequences", "each stop sequence must contain non-whitespace");
    }
    return true;
}

bool vend_anthropic_check(vend_ask *ask, vend_fault *fault) {
    const json_t *stream;
    if (!check_head(ask, fault) || !check_system(ask, fault) || !check_messages(ask, fault)) return false;
    stream = json_object_get(ask->json, "stream");
    if (stream && !json_is_boolean(stream)) return wrong(fault, "stream", "Input should be a valid boolean");
    ask->stream = json_is_true(stream);
    ask->include_usage = true;
    return check_number(ask->json, "temperature", 0, 1, false, fault) &&
           check_number(ask->json, "top_p", 0, 1, false, fault) &&
           check_number(ask->json, "top_k", 0, 1e6, true, fault) && check_stop(ask, fault) && check_tools(ask, fault) &&
           check_tool_choice(ask, fault) && check_thinking(ask, fault) && vend_check_context(ask, fault);
}

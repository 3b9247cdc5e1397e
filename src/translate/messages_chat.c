/* messages_chat.c: requests of the Messages API as OpenAI chat requests, for vendors that speak something else.
 *
 * What has no counterpart there, and what becomes of it:
 *
 *     top_k, thinking (asked for, or in earlier     left out
 *     turns), cache_control, citations, effort,
 *     service_tier
 *     a tool result that is an error                "Error: " before its text
 *     images and documents in a tool result         parts of the user message after it: tool messages are text
 *     tools that run at Anthropic and their blocks, a fault: only Anthropic has them
 *     files and containers kept there, MCP servers,
 *     PDFs by address, max_tokens 0
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "src/translate/messages_parts.h"

typedef struct chat {
    json_t *messages;
    bool nomem, failed;
    weirp_fault *fault;
    char at[48]; /* "messages.3.content.0" */
} chat;

static bool is(const json_t *string, const char *text) {
    return json_is_string(string) && !strcmp(json_string_value(string), text);
}

static void refuse(chat *c, const char *member, const char *text) {
    if (c->failed) return;
    c->failed = true;
    char param[64];
    snprintf(param, sizeof param, "%s%s", c->at, member);
    (void)weirp_fault_set(c->fault, param, "unsupported_value", "%s: %s", param, text);
}

/* Steals value; NULL is an allocation that failed. */
static void set(chat *c, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) c->nomem = true;
}

static void append(chat *c, json_t *array, json_t *value) {
    if (json_array_append_new(array, value)) c->nomem = true;
}

static json_t *share(json_t *json) {
    return json_incref(json);
}

static json_t *typed(chat *c, const char *type) {
    json_t *object = json_object();
    set(c, object, "type", json_string(type));
    return object;
}

static json_t *text_of(chat *c, const weirp_writer *w) {
    json_t *string = w->failed ? NULL : json_stringn(w->size ? (const char *)w->data : "", w->size);
    if (!string) c->nomem = true;
    return string;
}

static void put_string(weirp_writer *w, const json_t *string, const char *before) {
    if (!json_string_length(string)) return;
    if (w->size) weirp_put(w, before, strlen(before));
    weirp_put(w, json_string_value(string), json_string_length(string));
}

/* ---- user content ---- */

static json_t *data_url(chat *c, const json_t *source) {
    const json_t *type = json_object_get(source, "media_type"), *data = json_object_get(source, "data");
    if (!json_is_string(type) || !json_is_string(data)) {
        refuse(c, ".source", "a base64 source needs media_type and data");
        return NULL;
    }
    weirp_writer w = {0};
    weirp_putf(&w, "data:%s;base64,", json_string_value(type));
    weirp_put(&w, json_string_value(data), json_string_length(data));
    json_t *url = text_of(c, &w);
    weirp_writer_free(&w);
    return url;
}

static json_t *image_part(chat *c, const json_t *block) {
    const json_t *source = json_object_get(block, "source"), *type = json_object_get(source, "type");
    json_t *url = NULL, *given = json_object_get(source, "url");
    if (is(type, "base64"))
        url = data_url(c, source);
    else if (is(type, "url") && json_is_string(given))
        url = share(given);
    else
        refuse(c, ".source", "this model takes images as base64 or url");
    if (!url) return NULL;
    json_t *part = typed(c, "image_url"), *image = json_object();
    set(c, image, "url", url);
    set(c, part, "image_url", image);
    return part;
}

static void add_text(chat *c, json_t *parts, json_t *text) {
    if (!json_string_length(text)) return;
    json_t *part = typed(c, "text");
    set(c, part, "text", share(text));
    append(c, parts, part);
}

static void add_block(chat *c, json_t *parts, const json_t *block, bool inner);

static void add_document(chat *c, json_t *parts, const json_t *block, bool inner) {
    const json_t *source = json_object_get(block, "source"), *type = json_object_get(source, "type");
    json_t *title = json_object_get(block, "title"), *content = json_object_get(source, "content");
    if (is(type, "base64") && is(json_object_get(source, "media_type"), "application/pdf")) {
        json_t *url = data_url(c, source);
        if (!url) return;
        json_t *part = typed(c, "file"), *file = json_object();
        set(c, file, "filename", json_string_length(title) ? share(title) : json_string("document.pdf"));
        set(c, file, "file_data", url);
        set(c, part, "file", file);
        append(c, parts, part);
    } else if (is(type, "text") && json_is_string(json_object_get(source, "data"))) {
        add_text(c, parts, title);
        add_text(c, parts, json_object_get(source, "data"));
    } else if (is(type, "content") && !inner) {
        add_text(c, parts, title);
        if (json_is_string(content)) add_text(c, parts, content);
        for (size_t i = 0; i < json_array_size(content); i++) add_block(c, parts, json_array_get(content, i), true);
    } else {
        refuse(c, ".source", "this model takes documents as base64 PDF, text or content");
    }
}

/* A block of a user's message or of a tool's result as parts. Two levels deep at most: `inner` ends it. */
static void add_block(chat *c, json_t *parts, const json_t *block, bool inner) {
    const json_t *type = json_object_get(block, "type"), *content = json_object_get(block, "content");
    if (is(type, "text")) {
        add_text(c, parts, json_object_get(block, "text"));
    } else if (is(type, "image")) {
        json_t *part = image_part(c, block);
        if (part) append(c, parts, part);
    } else if (is(type, "document")) {
        add_document(c, parts, block, inner);
    } else if (is(type, "search_result") && !inner) {
        add_text(c, parts, json_object_get(block, "title"));
        for (size_t i = 0; i < json_array_size(content); i++) add_block(c, parts, json_array_get(content, i), true);
    } else {
        refuse(c, ".type", "only Anthropic's models take blocks of this type");
    }
}

static bool is_text_part(const json_t *part) {
    return is(json_object_get(part, "type"), "text");
}

static void add_message(chat *c, const char *role, json_t *content) {
    json_t *message = json_object();
    set(c, message, "role", json_string(role));
    set(c, message, "content", content);
    append(c, c->messages, message);
}

/* One text goes as a string, which every server understands. Steals parts. */
static void add_user(chat *c, json_t *parts) {
    const size_t n = json_array_size(parts);
    if (n == 1 && is_text_part(json_array_get(parts, 0)))
        add_message(c, "user", share(json_object_get(json_array_get(parts, 0), "text")));
    else if (n)
        add_message(c, "user", share(parts));
    json_decref(parts);
}

/* A result's texts make the tool message; whatever else it holds is left in `rest`. */
static void add_result(chat *c, const json_t *block, json_t *rest) {
    json_t *content = json_object_get(block, "content"), *parts = json_array(),
           *id = json_object_get(block, "tool_use_id");
    weirp_writer w = {0};
    if (!json_is_string(id)) refuse(c, ".tool_use_id", "a tool result needs it");
    if (json_is_string(content)) add_text(c, parts, content);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *inner = json_array_get(content, i);
        if (!is(json_object_get(inner, "type"), "tool_reference")) add_block(c, parts, inner, false);
    }
    if (json_is_true(json_object_get(block, "is_error"))) weirp_putf(&w, "Error: ");
    const size_t head = w.size;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        json_t *part = json_array_get(parts, i);
        if (is_text_part(part))
            put_string(&w, json_object_get(part, "text"), w.size > head ? "\n" : "");
        else
            append(c, rest, share(part));
    }
    add_message(c, "tool", text_of(c, &w));
    json_t *message = json_array_get(c->messages, json_array_size(c->messages) - 1);
    if (json_is_string(id)) set(c, message, "tool_call_id", share(id));
    weirp_writer_free(&w);
    json_decref(parts);
}

/* Tool messages must follow the call at once, so that results come first. */
static void user_message(chat *c, json_t *content) {
    json_t *parts = json_array();
    const size_t end = strlen(c->at);
    if (json_is_string(content)) {
        add_message(c, "user", share(content));
        json_decref(parts);
        return;
    }
    for (int results = 1; results >= 0; results--) {
        for (size_t i = 0; i < json_array_size(content) && !c->failed; i++) {
            const json_t *block = json_array_get(content, i);
            const bool result = is(json_object_get(block, "type"), "tool_result");
            if (result != (results == 1)) continue;
            snprintf(c->at + end, sizeof c->at - end, ".content.%zu", i);
            if (result)
                add_result(c, block, parts);
            else
                add_block(c, parts, block, false);
        }
    }
    c->at[end] = '\0';
    add_user(c, parts);
}

/* ---- the assistant's content ---- */

static void add_call(chat *c, json_t *calls, const json_t *block) {
    json_t *name = json_object_get(block, "name"), *id = json_object_get(block, "id");
    const json_t *input = json_object_get(block, "input");
    weirp_writer w = {0};
    if (!json_is_string(name) || !json_is_string(id)) {
        refuse(c, "", "a tool use needs id and name");
        return;
    }
    if (!json_is_object(input))
        weirp_put(&w, "{}", 2);
    else if (!weirp_put_json(&w, input))
        c->nomem = true;
    json_t *call = json_object(), *function = json_object();
    set(c, call, "id", share(id));
    set(c, call, "type", json_string("function"));
    set(c, function, "name", share(name));
    set(c, function, "arguments", text_of(c, &w));
    set(c, call, "function", function);
    append(c, calls, call);
    weirp_writer_free(&w);
}

/* Texts that follow each other are one text cut by citations; those with something between are parted by a line. */
static void assistant_message(chat *c, json_t *content) {
    json_t *calls = json_array();
    weirp_writer w = {0};
    const char *before = "";
    const size_t end = strlen(c->at);
    if (json_is_string(content)) put_string(&w, content, "");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *type = json_object_get(block, "type");
        snprintf(c->at + end, sizeof c->at - end, ".content.%zu", i);
        if (is(type, "text")) {
            put_string(&w, json_object_get(block, "text"), before);
            before = "";
            continue;
        }
        before = "\n\n";
        if (is(type, "tool_use"))
            add_call(c, calls, block);
        else if (!is(type, "thinking") && !is(type, "redacted_thinking"))
            refuse(c, ".type", "only Anthropic's models take blocks of this type");
    }
    c->at[end] = '\0';
    const bool said = json_array_size(calls) > 0;
    if (said || w.size || json_is_string(content)) {
        add_message(c, "assistant", said && !w.size ? json_null() : text_of(c, &w));
        if (said) set(c, json_array_get(c->messages, json_array_size(c->messages) - 1), "tool_calls", share(calls));
    }
    weirp_writer_free(&w);
    json_decref(calls);
}

/* ---- the rest ---- */

static void system_message(chat *c, json_t *content) {
    weirp_writer w = {0};
    if (json_is_string(content)) put_string(&w, content, "");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        if (is_text_part(block))
            put_string(&w, json_object_get(block, "text"), "\n\n");
        else
            refuse(c, "", "a system prompt is made of text blocks");
    }
    if (w.size) add_message(c, "system", text_of(c, &w));
    weirp_writer_free(&w);
}

static void add_tools(chat *c, json_t *out, const json_t *tools) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *type = json_object_get(tool, "type");
        json_t *name = json_object_get(tool, "name"), *description = json_object_get(tool, "description");
        json_t *schema = json_object_get(tool, "input_schema"), *strict = json_object_get(tool, "strict");
        snprintf(c->at, sizeof c->at, "tools.%zu", i);
        if ((type && !json_is_null(type) && !is(type, "custom")) || !json_is_string(name)) {
            refuse(c, "", "only Anthropic's models take tools of this type");
            break;
        }
        json_t *entry = typed(c, "function"), *function = json_object();
        set(c, function, "name", share(name));
        if (json_is_string(description)) set(c, function, "description", share(description));
        if (json_is_object(schema)) set(c, function, "parameters", share(schema));
        if (json_is_boolean(strict)) set(c, function, "strict", share(strict));
        set(c, entry, "function", function);
        append(c, list, entry);
    }
    if (json_array_size(list))
        set(c, out, "tools", list);
    else
        json_decref(list);
}

static void add_tool_choice(chat *c, json_t *out, const json_t *choice) {
    const json_t *type = json_object_get(choice, "type");
    json_t *name = json_object_get(choice, "name");
    snprintf(c->at, sizeof c->at, "tool_choice");
    if (!choice || json_is_null(choice) || !json_object_get(out, "tools")) return;
    if (is(type, "auto") || is(type, "none")) {
        set(c, out, "tool_choice", json_string(json_string_value(type)));
    } else if (is(type, "any")) {
        set(c, out, "tool_choice", json_string("required"));
    } else if (is(type, "tool") && json_is_string(name)) {
        json_t *chosen = typed(c, "function"), *function = json_object();
        set(c, function, "name", share(name));
        set(c, chosen, "function", function);
        set(c, out, "tool_choice", chosen);
    } else {
        refuse(c, "", "should be auto, any, none or a tool with its name");
    }
    if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")))
        set(c, out, "parallel_tool_calls", json_false());
}

static void add_format(chat *c, json_t *out, const json_t *config) {
    const json_t *format = json_object_get(config, "format");
    json_t *schema = json_object_get(format, "schema");
    snprintf(c->at, sizeof c->at, "output_config.format");
    if (!format || json_is_null(format)) return;
    if (!is(json_object_get(format, "type"), "json_schema") || !json_is_object(schema)) {
        refuse(c, "", "should be a json_schema with its schema");
        return;
    }
    json_t *made = typed(c, "json_schema"), *wanted = json_object();
    set(c, wanted, "name", json_string("output"));
    set(c, wanted, "schema", share(schema));
    set(c, wanted, "strict", json_true());
    set(c, made, "json_schema", wanted);
    set(c, out, "response_format", made);
}

static void add_options(chat *c, json_t *out, const weirp_request *r) {
    static const char *const kept[] = {"temperature", "top_p"}, *const only_there[] = {"mcp_servers", "container"};
    json_t *stop = json_object_get(r->json, "stop_sequences"), *user;
    for (size_t i = 0; i < 2; i++) {
        json_t *value = json_object_get(r->json, kept[i]);
        if (json_is_number(value)) set(c, out, kept[i], share(value));
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(r->json, only_there[i]);
        snprintf(c->at, sizeof c->at, "%s", only_there[i]);
        if (json_is_string(value) || json_is_object(value) || json_array_size(value))
            refuse(c, "", "only Anthropic's models take this");
    }
    if (json_array_size(stop)) set(c, out, "stop", share(stop));
    user = json_object_get(json_object_get(r->json, "metadata"), "user_id");
    if (json_is_string(user)) set(c, out, "user", share(user));
    if (r->stream) set(c, out, "stream", json_true());
}

static void add_messages(chat *c, const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages) && !c->failed; i++) {
        const json_t *message = json_array_get(messages, i), *role = json_object_get(message, "role");
        json_t *content = json_object_get(message, "content");
        snprintf(c->at, sizeof c->at, "messages.%zu", i);
        if (is(role, "assistant"))
            assistant_message(c, content);
        else if (is(role, "system"))
            system_message(c, content);
        else
            user_message(c, content);
    }
}

json_t *weirp_messages_chat(const weirp_request *r, weirp_fault *fault) {
    chat c = {.messages = json_array(), .fault = fault};
    json_t *out = json_object();
    const json_int_t most = (json_int_t)r->max_output_tokens;
    set(&c, out, "model", share(json_object_get(r->json, "model")));
    snprintf(c.at, sizeof c.at, "max_tokens");
    if (most < 1) refuse(&c, "", "only Anthropic's models take 0");
    set(&c, out, "max_tokens", json_integer(most));
    snprintf(c.at, sizeof c.at, "system");
    system_message(&c, json_object_get(r->json, "system"));
    add_messages(&c, json_object_get(r->json, "messages"));
    snprintf(c.at, sizeof c.at, "messages");
    if (!json_array_size(c.messages)) refuse(&c, "", "there must be one that isn't empty");
    set(&c, out, "messages", share(c.messages));
    add_tools(&c, out, json_object_get(r->json, "tools"));
    add_tool_choice(&c, out, json_object_get(r->json, "tool_choice"));
    add_format(&c, out, json_object_get(r->json, "output_config"));
    add_options(&c, out, r);
    json_decref(c.messages);
    if (!c.failed && !c.nomem) return out;
    if (!c.failed) *fault = (weirp_fault){0}; /* out of memory */
    json_decref(out);
    return NULL;
}

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

#include "src/translate/anthropic_make.h"
#include "src/translate/messages_parts.h"

static void refuse(weirp_maker *m, const char *member, const char *text) {
    (void)weirp_make_refuse(m, member, text); /* looked at once at the end */
}

static json_t *text_of(weirp_maker *m, const weirp_writer *w) {
    json_t *string = w->failed ? NULL : json_stringn(w->size ? (const char *)w->data : "", w->size);
    if (!string) m->nomem = true;
    return string;
}

static void put_string(weirp_writer *w, const json_t *string, const char *before) {
    if (!json_string_length(string)) return;
    if (w->size) weirp_put(w, before, strlen(before));
    weirp_put(w, json_string_value(string), json_string_length(string));
}

/* ---- user content ---- */

static json_t *data_url(weirp_maker *m, const json_t *source) {
    const json_t *type = json_object_get(source, "media_type"), *data = json_object_get(source, "data");
    if (!json_is_string(type) || !json_is_string(data)) {
        refuse(m, ".source", "A base64 source needs media_type and data.");
        return NULL;
    }
    weirp_writer w = {0};
    weirp_putf(&w, "data:%s;base64,", json_string_value(type));
    weirp_put(&w, json_string_value(data), json_string_length(data));
    json_t *url = text_of(m, &w);
    weirp_writer_free(&w);
    return url;
}

static json_t *image_part(weirp_maker *m, const json_t *block) {
    const json_t *source = json_object_get(block, "source"), *type = json_object_get(source, "type");
    json_t *url = NULL, *given = json_object_get(source, "url");
    if (is(type, "base64"))
        url = data_url(m, source);
    else if (is(type, "url") && json_is_string(given))
        url = share(given);
    else
        refuse(m, ".source", "This model takes images as base64 or url.");
    if (!url) return NULL;
    json_t *part = typed(m, "image_url"), *image = json_object();
    set(m, image, "url", url);
    set(m, part, "image_url", image);
    return part;
}

static void add_text(weirp_maker *m, json_t *parts, json_t *text) {
    if (!json_string_length(text)) return;
    json_t *part = typed(m, "text");
    set(m, part, "text", share(text));
    append(m, parts, part);
}

static void add_block(weirp_maker *m, json_t *parts, const json_t *block, bool inner);

static void add_document(weirp_maker *m, json_t *parts, const json_t *block, bool inner) {
    const json_t *source = json_object_get(block, "source"), *type = json_object_get(source, "type");
    json_t *title = json_object_get(block, "title"), *content = json_object_get(source, "content");
    if (is(type, "base64") && is(json_object_get(source, "media_type"), "application/pdf")) {
        json_t *url = data_url(m, source);
        if (!url) return;
        json_t *part = typed(m, "file"), *file = json_object();
        set(m, file, "filename", json_string_length(title) ? share(title) : json_string("document.pdf"));
        set(m, file, "file_data", url);
        set(m, part, "file", file);
        append(m, parts, part);
    } else if (is(type, "text") && json_is_string(json_object_get(source, "data"))) {
        add_text(m, parts, title);
        add_text(m, parts, json_object_get(source, "data"));
    } else if (is(type, "content") && !inner) {
        add_text(m, parts, title);
        if (json_is_string(content)) add_text(m, parts, content);
        for (size_t i = 0; i < json_array_size(content); i++) add_block(m, parts, json_array_get(content, i), true);
    } else {
        refuse(m, ".source", "This model takes documents as base64 PDF, text or content.");
    }
}

/* A block of a user's message or of a tool's result as parts. Two levels deep at most: `inner` ends it. */
static void add_block(weirp_maker *m, json_t *parts, const json_t *block, bool inner) {
    const json_t *type = json_object_get(block, "type"), *content = json_object_get(block, "content");
    if (is(type, "text")) {
        add_text(m, parts, json_object_get(block, "text"));
    } else if (is(type, "image")) {
        json_t *part = image_part(m, block);
        if (part) append(m, parts, part);
    } else if (is(type, "document")) {
        add_document(m, parts, block, inner);
    } else if (is(type, "search_result") && !inner) {
        add_text(m, parts, json_object_get(block, "title"));
        for (size_t i = 0; i < json_array_size(content); i++) add_block(m, parts, json_array_get(content, i), true);
    } else {
        refuse(m, ".type", "Only Anthropic's models take blocks of this type.");
    }
}

static bool is_text_part(const json_t *part) {
    return is(json_object_get(part, "type"), "text");
}

static void add_message(weirp_maker *m, const char *role, json_t *content) {
    json_t *message = json_object();
    set(m, message, "role", json_string(role));
    set(m, message, "content", content);
    append(m, m->messages, message);
}

/* One text goes as a string, which every server understands. Steals parts. */
static void add_user(weirp_maker *m, json_t *parts) {
    const size_t n = json_array_size(parts);
    if (n == 1 && is_text_part(json_array_get(parts, 0)))
        add_message(m, "user", share(json_object_get(json_array_get(parts, 0), "text")));
    else if (n)
        add_message(m, "user", share(parts));
    json_decref(parts);
}

/* A result's texts make the tool message; whatever else it holds is left in `rest`. */
static void add_result(weirp_maker *m, const json_t *block, json_t *rest) {
    json_t *content = json_object_get(block, "content"), *parts = json_array(),
           *id = json_object_get(block, "tool_use_id");
    weirp_writer w = {0};
    if (!json_is_string(id)) refuse(m, ".tool_use_id", "A tool result needs it.");
    if (json_is_string(content)) add_text(m, parts, content);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *inner = json_array_get(content, i);
        if (!is(json_object_get(inner, "type"), "tool_reference")) add_block(m, parts, inner, false);
    }
    if (json_is_true(json_object_get(block, "is_error"))) weirp_putf(&w, "Error: ");
    const size_t head = w.size;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        json_t *part = json_array_get(parts, i);
        if (is_text_part(part))
            put_string(&w, json_object_get(part, "text"), w.size > head ? "\n" : "");
        else
            append(m, rest, share(part));
    }
    add_message(m, "tool", text_of(m, &w));
    json_t *message = json_array_get(m->messages, json_array_size(m->messages) - 1);
    if (json_is_string(id)) set(m, message, "tool_call_id", share(id));
    weirp_writer_free(&w);
    json_decref(parts);
}

/* Tool messages must follow the call at once, so that results come first. */
static void user_message(weirp_maker *m, json_t *content) {
    json_t *parts = json_array();
    const size_t end = strlen(m->at);
    if (json_is_string(content)) {
        add_message(m, "user", share(content));
        json_decref(parts);
        return;
    }
    for (int results = 1; results >= 0; results--) {
        for (size_t i = 0; i < json_array_size(content) && !m->refused; i++) {
            const json_t *block = json_array_get(content, i);
            const bool result = is(json_object_get(block, "type"), "tool_result");
            if (result != (results == 1)) continue;
            snprintf(m->at + end, sizeof m->at - end, ".content.%zu", i);
            if (result)
                add_result(m, block, parts);
            else
                add_block(m, parts, block, false);
        }
    }
    m->at[end] = '\0';
    add_user(m, parts);
}

/* ---- the assistant's content ---- */

static void add_call(weirp_maker *m, json_t *calls, const json_t *block) {
    json_t *name = json_object_get(block, "name"), *id = json_object_get(block, "id");
    const json_t *input = json_object_get(block, "input");
    weirp_writer w = {0};
    if (!json_is_string(name) || !json_is_string(id)) {
        refuse(m, "", "A tool use needs id and name.");
        return;
    }
    if (!json_is_object(input))
        weirp_put(&w, "{}", 2);
    else if (!weirp_put_json(&w, input))
        m->nomem = true;
    json_t *call = json_object(), *function = json_object();
    set(m, call, "id", share(id));
    set(m, call, "type", json_string("function"));
    set(m, function, "name", share(name));
    set(m, function, "arguments", text_of(m, &w));
    set(m, call, "function", function);
    append(m, calls, call);
    weirp_writer_free(&w);
}

/* Texts that follow each other are one text cut by citations; those with something between are parted by a line. */
static void assistant_message(weirp_maker *m, json_t *content) {
    json_t *calls = json_array();
    weirp_writer w = {0};
    const char *before = "";
    const size_t end = strlen(m->at);
    if (json_is_string(content)) put_string(&w, content, "");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *type = json_object_get(block, "type");
        snprintf(m->at + end, sizeof m->at - end, ".content.%zu", i);
        if (is(type, "text")) {
            put_string(&w, json_object_get(block, "text"), before);
            before = "";
            continue;
        }
        before = "\n\n";
        if (is(type, "tool_use"))
            add_call(m, calls, block);
        else if (!is(type, "thinking") && !is(type, "redacted_thinking"))
            refuse(m, ".type", "Only Anthropic's models take blocks of this type.");
    }
    m->at[end] = '\0';
    const bool said = json_array_size(calls) > 0;
    if (said || w.size || json_is_string(content)) {
        add_message(m, "assistant", said && !w.size ? json_null() : text_of(m, &w));
        if (said) set(m, json_array_get(m->messages, json_array_size(m->messages) - 1), "tool_calls", share(calls));
    }
    weirp_writer_free(&w);
    json_decref(calls);
}

/* ---- the rest ---- */

static void system_message(weirp_maker *m, json_t *content) {
    weirp_writer w = {0};
    if (json_is_string(content)) put_string(&w, content, "");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i);
        if (is_text_part(block))
            put_string(&w, json_object_get(block, "text"), "\n\n");
        else
            refuse(m, "", "A system prompt is made of text blocks.");
    }
    if (w.size) add_message(m, "system", text_of(m, &w));
    weirp_writer_free(&w);
}

static void add_tools(weirp_maker *m, json_t *out, const json_t *tools) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *type = json_object_get(tool, "type");
        json_t *name = json_object_get(tool, "name"), *description = json_object_get(tool, "description");
        json_t *schema = json_object_get(tool, "input_schema"), *strict = json_object_get(tool, "strict");
        snprintf(m->at, sizeof m->at, "tools.%zu", i);
        if ((type && !json_is_null(type) && !is(type, "custom")) || !json_is_string(name)) {
            refuse(m, "", "Only Anthropic's models take tools of this type.");
            break;
        }
        json_t *entry = typed(m, "function"), *function = json_object();
        set(m, function, "name", share(name));
        if (json_is_string(description)) set(m, function, "description", share(description));
        if (json_is_object(schema)) set(m, function, "parameters", share(schema));
        if (json_is_boolean(strict)) set(m, function, "strict", share(strict));
        set(m, entry, "function", function);
        append(m, list, entry);
    }
    if (json_array_size(list))
        set(m, out, "tools", list);
    else
        json_decref(list);
}

static void add_tool_choice(weirp_maker *m, json_t *out, const json_t *choice) {
    const json_t *type = json_object_get(choice, "type");
    json_t *name = json_object_get(choice, "name");
    snprintf(m->at, sizeof m->at, "tool_choice");
    if (!choice || json_is_null(choice) || !json_object_get(out, "tools")) return;
    if (is(type, "auto") || is(type, "none")) {
        set(m, out, "tool_choice", json_string(json_string_value(type)));
    } else if (is(type, "any")) {
        set(m, out, "tool_choice", json_string("required"));
    } else if (is(type, "tool") && json_is_string(name)) {
        json_t *chosen = typed(m, "function"), *function = json_object();
        set(m, function, "name", share(name));
        set(m, chosen, "function", function);
        set(m, out, "tool_choice", chosen);
    } else {
        refuse(m, "", "Should be auto, any, none or a tool with its name.");
    }
    if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")))
        set(m, out, "parallel_tool_calls", json_false());
}

static void add_format(weirp_maker *m, json_t *out, const json_t *config) {
    const json_t *format = json_object_get(config, "format");
    json_t *schema = json_object_get(format, "schema");
    snprintf(m->at, sizeof m->at, "output_config.format");
    if (!format || json_is_null(format)) return;
    if (!is(json_object_get(format, "type"), "json_schema") || !json_is_object(schema)) {
        refuse(m, "", "Should be a json_schema with its schema.");
        return;
    }
    json_t *made = typed(m, "json_schema"), *wanted = json_object();
    set(m, wanted, "name", json_string("output"));
    set(m, wanted, "schema", share(schema));
    set(m, wanted, "strict", json_true());
    set(m, made, "json_schema", wanted);
    set(m, out, "response_format", made);
}

static void add_options(weirp_maker *m, json_t *out, const weirp_request *r) {
    static const char *const kept[] = {"temperature", "top_p"}, *const only_there[] = {"mcp_servers", "container"};
    json_t *stop = json_object_get(r->json, "stop_sequences"), *user;
    for (size_t i = 0; i < 2; i++) {
        json_t *value = json_object_get(r->json, kept[i]);
        if (json_is_number(value)) set(m, out, kept[i], share(value));
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(r->json, only_there[i]);
        snprintf(m->at, sizeof m->at, "%s", only_there[i]);
        if (json_is_string(value) || json_is_object(value) || json_array_size(value))
            refuse(m, "", "Only Anthropic's models take this.");
    }
    if (json_array_size(stop)) set(m, out, "stop", share(stop));
    user = json_object_get(json_object_get(r->json, "metadata"), "user_id");
    if (json_is_string(user)) set(m, out, "user", share(user));
    if (r->stream) set(m, out, "stream", json_true());
}

static void add_messages(weirp_maker *m, const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages) && !m->refused; i++) {
        const json_t *message = json_array_get(messages, i), *role = json_object_get(message, "role");
        json_t *content = json_object_get(message, "content");
        snprintf(m->at, sizeof m->at, "messages.%zu", i);
        if (is(role, "assistant"))
            assistant_message(m, content);
        else if (is(role, "system"))
            system_message(m, content);
        else
            user_message(m, content);
    }
}

json_t *weirp_messages_chat(const weirp_request *r, weirp_fault *fault) {
    weirp_maker m = {.messages = json_array(), .fault = fault};
    json_t *out = json_object();
    const json_int_t most = (json_int_t)r->max_output_tokens;
    set(&m, out, "model", share(json_object_get(r->json, "model")));
    snprintf(m.at, sizeof m.at, "max_tokens");
    if (most < 1) refuse(&m, "", "Only Anthropic's models take 0.");
    set(&m, out, "max_tokens", json_integer(most));
    snprintf(m.at, sizeof m.at, "system");
    system_message(&m, json_object_get(r->json, "system"));
    add_messages(&m, json_object_get(r->json, "messages"));
    snprintf(m.at, sizeof m.at, "messages");
    if (!json_array_size(m.messages)) refuse(&m, "", "There must be one that isn't empty.");
    set(&m, out, "messages", share(m.messages));
    add_tools(&m, out, json_object_get(r->json, "tools"));
    add_tool_choice(&m, out, json_object_get(r->json, "tool_choice"));
    add_format(&m, out, json_object_get(r->json, "output_config"));
    add_options(&m, out, r);
    json_decref(m.messages);
    if (!m.refused && !m.nomem) return out;
    if (m.nomem) *fault = (weirp_fault){0}; /* nothing is wrong with the request */
    json_decref(out);
    return NULL;
}

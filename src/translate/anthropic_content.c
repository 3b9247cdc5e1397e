/* anthropic_content.c: OpenAI chat messages as messages of Anthropic's: turns that alternate, and blocks of content.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/translate/anthropic_make.h"

weir_status weirp_make_refuse(weirp_maker *m, const char *member, const char *text) {
    char param[64];
    if (m->refused) return WEIR_INVALID;
    m->refused = true;
    snprintf(param, sizeof param, "%s%s", m->at, member);
    (void)weirp_fault_set(m->fault, param, "unsupported_value", "%s", text);
    return WEIR_INVALID;
}

/* Where the blocks of the next message of this role go: to the one before, if it is of the same role. */
static json_t *turn(weirp_maker *m, const char *role) {
    if (m->role && !strcmp(m->role, role)) return m->blocks;
    json_t *message = json_object(), *blocks = json_array();
    set(m, message, "role", json_string(role));
    set(m, message, "content", blocks);
    append(m, m->messages, message);
    m->role = role;
    m->blocks = m->nomem ? NULL : blocks;
    return m->blocks;
}

void weirp_make_text(weirp_maker *m, json_t *blocks, json_t *text, json_t *cache_control) {
    if (blank(text)) return;
    json_t *block = typed(m, "text");
    set(m, block, "text", share(text));
    if (cache_control) set(m, block, "cache_control", share(cache_control));
    append(m, blocks, block);
}

typedef struct data_url {
    const char *type, *data;
    size_t type_len, data_len;
} data_url;

/* "data:TYPE;base64,DATA" (RFC 2397); parameters between are passed over. */
static bool data_url_read(data_url *url, const json_t *string) {
    const char *text = json_string_value(string);
    size_t len = json_string_length(string);
    if (len < 5 || strncasecmp(text, "data:", 5)) return false;
    const char *comma = memchr(text, ',', len);
    if (!comma || comma - text < 12 || strncasecmp(comma - 7, ";base64", 7)) return false;
    *url = (data_url){.type = text + 5, .data = comma + 1, .data_len = len - (size_t)(comma + 1 - text)};
    const char *end = memchr(url->type, ';', (size_t)(comma - url->type));
    url->type_len = (size_t)(end - url->type);
    return url->type_len && url->data_len;
}

static bool media_type(const data_url *url, const char *type) {
    return url->type_len == strlen(type) && !strncasecmp(url->type, type, url->type_len);
}

static const char *image_type(const data_url *url) {
    static const char *const types[] = {"image/jpeg", "image/png", "image/gif", "image/webp"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (media_type(url, types[i])) return types[i];
    return media_type(url, "image/jpg") ? types[0] : NULL;
}

static json_t *base64_source(weirp_maker *m, const char *type, const data_url *url) {
    json_t *source = typed(m, "base64");
    set(m, source, "media_type", json_string(type));
    set(m, source, "data", json_stringn(url->data, url->data_len));
    return source;
}

static weir_status image_block(weirp_maker *m, json_t **block, const json_t *part) {
    json_t *image = json_object_get(part, "image_url");
    json_t *address = json_is_string(image) ? image : json_object_get(image, "url");
    const char *text = json_is_string(address) ? json_string_value(address) : "";
    data_url url;
    json_t *source;
    if (!strncasecmp(text, "http://", 7) || !strncasecmp(text, "https://", 8)) {
        source = typed(m, "url");
        set(m, source, "url", share(address));
    } else if (!json_is_string(address) || !data_url_read(&url, address)) {
        return weirp_make_refuse(m, ".image_url",
                                 "Images must be base64 data URLs or http(s) addresses for this model.");
    } else if (!image_type(&url)) {
        return weirp_make_refuse(m, ".image_url", "This model takes JPEG, PNG, GIF and WebP images.");
    } else {
        source = base64_source(m, image_type(&url), &url);
    }
    *block = typed(m, "image");
    set(m, *block, "source", source);
    return WEIR_OK;
}

static weir_status document_block(weirp_maker *m, json_t **block, const json_t *part) {
    const json_t *file = json_object_get(part, "file");
    json_t *name = json_object_get(file, "filename");
    const json_t *data = json_object_get(file, "file_data");
    data_url url;
    if (!json_is_string(data) || !data_url_read(&url, data) || !media_type(&url, "application/pdf"))
        return weirp_make_refuse(m, ".file",
                                 "Files must be PDFs given as base64 data URLs in file_data for this model.");
    *block = typed(m, "document");
    set(m, *block, "source", base64_source(m, "application/pdf", &url));
    if (json_is_string(name) && !blank(name)) set(m, *block, "title", share(name));
    return WEIR_OK;
}

/* One content part into `blocks`. */
static weir_status add_part(weirp_maker *m, json_t *blocks, json_t *part) {
    json_t *type = json_object_get(part, "type"), *cache = json_object_get(part, "cache_control"), *block = NULL;
    json_t *text = json_object_get(part, is(type, "refusal") ? "refusal" : "text");
    weir_status st = WEIR_OK;
    if (cache && !json_is_object(cache)) cache = NULL;
    if (json_is_string(part)) {
        weirp_make_text(m, blocks, part, NULL);
        return WEIR_OK;
    }
    if (is(type, "text") || is(type, "refusal")) {
        if (!json_is_string(text)) return weirp_make_refuse(m, ".text", "Text parts must hold a text.");
        weirp_make_text(m, blocks, text, cache);
        return WEIR_OK;
    }
    if (is(type, "image_url"))
        st = image_block(m, &block, part);
    else if (is(type, "file"))
        st = document_block(m, &block, part);
    else if (is(type, "input_audio"))
        st = weirp_make_refuse(m, ".input_audio", "This model takes no audio.");
    else
        st = weirp_make_refuse(m, ".type", "This model takes text, image_url and file parts.");
    if (st != WEIR_OK) return st;
    if (cache) set(m, block, "cache_control", share(cache));
    append(m, blocks, block);
    return WEIR_OK;
}

static weir_status add_content(weirp_maker *m, json_t *blocks, json_t *content) {
    if (!content || json_is_null(content)) return WEIR_OK;
    if (json_is_string(content)) {
        weirp_make_text(m, blocks, content, NULL);
        return WEIR_OK;
    }
    if (!json_is_array(content))
        return weirp_make_refuse(m, ".content", "Contents must be a text or an array of parts.");
    const size_t end = strlen(m->at);
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < json_array_size(content); i++) {
        snprintf(m->at + end, sizeof m->at - end, ".content[%zu]", i);
        st = add_part(m, blocks, json_array_get(content, i));
    }
    m->at[end] = '\0';
    return st;
}

/* Ids that other vendors made may hold what Anthropic's pattern (letters, digits, _ and -) refuses. Calls and results
 * go through the same change, so that they still find each other. */
static json_t *tool_id(const json_t *id) {
    json_t *copy = json_stringn(json_is_string(id) ? json_string_value(id) : "", json_string_length(id));
    char *text = (char *)json_string_value(copy); /* a copy of our own */
    for (size_t i = 0; i < json_string_length(copy); i++)
        if (!memchr("_-", text[i], 2) && !((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z') &&
            !(text[i] >= '0' && text[i] <= '9'))
            text[i] = '_';
    if (copy && !json_string_length(copy)) {
        json_decref(copy);
        copy = json_string("_");
    }
    return copy;
}

json_t *weirp_anthropic_input(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && text[i] && strchr(" \t\r\n", text[i])) i++;
    if (i == len) return json_object();
    char what[128];
    json_t *json = weirp_json_parse(text, len, what, sizeof what);
    if (json_is_object(json)) return json;
    json_decref(json);
    json_t *wrapped = json_object();
    weirp_writer quoted = {0};
    weirp_put_json_text(&quoted, text, len); /* makes valid UTF-8 of it */
    json_t *string =
        quoted.failed ? NULL : json_loadb((char *)quoted.data, quoted.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    weirp_writer_free(&quoted);
    if (json_object_set_new(wrapped, "INVALID_JSON", string)) {
        json_decref(wrapped);
        return NULL;
    }
    return wrapped;
}

static weir_status add_calls(weirp_maker *m, json_t *blocks, const json_t *calls) {
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        json_t *name = json_object_get(function, "name");
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(name))
            return weirp_make_refuse(m, ".tool_calls", "This model takes calls of functions only.");
        json_t *block = typed(m, "tool_use");
        set(m, block, "id", tool_id(json_object_get(call, "id")));
        set(m, block, "name", share(name));
        set(m, block, "input",
            weirp_anthropic_input(json_is_string(arguments) ? json_string_value(arguments) : "",
                                  json_string_length(arguments)));
        append(m, blocks, block);
    }
    return WEIR_OK;
}

/* The blocks of one message, before it is known whether there are any. */
static weir_status add_turn(weirp_maker *m, const json_t *message, const char *role) {
    json_t *blocks = json_array(), *content = json_object_get(message, "content");
    weir_status st = blocks ? add_content(m, blocks, content) : WEIR_NOMEM;
    if (st == WEIR_OK && !strcmp(role, "assistant")) {
        json_t *refusal = json_object_get(message, "refusal");
        if (json_is_string(refusal)) weirp_make_text(m, blocks, refusal, NULL);
        st = add_calls(m, blocks, json_object_get(message, "tool_calls"));
    }
    if (st == WEIR_OK && json_array_size(blocks) && json_array_extend(turn(m, role), blocks)) m->nomem = true;
    json_decref(blocks);
    return st;
}

json_t *weirp_make_sole_text(const json_t *blocks) {
    const json_t *block = json_array_get(blocks, 0);
    bool plain =
        json_array_size(blocks) == 1 && json_object_size(block) == 2 && is(json_object_get(block, "type"), "text");
    return plain ? json_object_get(block, "text") : NULL;
}

static weir_status add_result(weirp_maker *m, const json_t *message) {
    json_t *blocks = json_array();
    weir_status st = blocks ? add_content(m, blocks, json_object_get(message, "content")) : WEIR_NOMEM;
    if (st == WEIR_OK) {
        json_t *block = typed(m, "tool_result"), *text = weirp_make_sole_text(blocks);
        set(m, block, "tool_use_id", tool_id(json_object_get(message, "tool_call_id")));
        if (json_array_size(blocks)) set(m, block, "content", share(text ? text : blocks));
        append(m, turn(m, "user"), block);
    }
    json_decref(blocks);
    return st;
}

static weir_status add_message(weirp_maker *m, json_t *message) {
    const json_t *role = json_object_get(message, "role");
    if (is(role, "system") || is(role, "developer"))
        return add_content(m, m->system, json_object_get(message, "content"));
    if (is(role, "user")) return add_turn(m, message, "user");
    if (is(role, "assistant")) return add_turn(m, message, "assistant");
    if (is(role, "tool")) return add_result(m, message);
    return weirp_make_refuse(m, ".role",
                             "This model takes messages of the roles system, developer, user, assistant and tool.");
}

/* A prefilled answer must not end in white space. */
static void trim_prefill(weirp_maker *m) {
    if (!m->role || strcmp(m->role, "assistant")) return;
    json_t *block = json_array_get(m->blocks, json_array_size(m->blocks) - 1), *string = json_object_get(block, "text");
    const char *text = json_string_value(string);
    size_t len = json_string_length(string);
    while (len && text[len - 1] && strchr(" \t\r\n\f\v", text[len - 1])) len--;
    if (len && len < json_string_length(string)) set(m, block, "text", json_stringn(text, len));
}

weir_status weirp_make_messages(weirp_maker *m, const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        snprintf(m->at, sizeof m->at, "messages[%zu]", i);
        weir_status st = add_message(m, json_array_get(messages, i));
        if (st != WEIR_OK) return st;
    }
    snprintf(m->at, sizeof m->at, "messages");
    if (m->nomem) return WEIR_NOMEM;
    if (!m->role && json_array_size(m->system)) {
        if (json_array_extend(turn(m, "user"), m->system) || json_array_clear(m->system)) return WEIR_NOMEM;
    }
    if (!m->role) return weirp_make_refuse(m, "", "This model needs a message that isn't empty.");
    trim_prefill(m);
    for (size_t i = 0; i < json_array_size(m->messages); i++) {
        json_t *message = json_array_get(m->messages, i),
               *text = weirp_make_sole_text(json_object_get(message, "content"));
        if (text) set(m, message, "content", share(text));
    }
    return WEIR_OK;
}

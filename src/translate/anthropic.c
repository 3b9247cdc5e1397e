/* anthropic.c: OpenAI chat requests as requests of Anthropic's Messages API (version 2023-06-01,
 * https://platform.claude.com/docs/en/api/messages).
 *
 * What has no counterpart there, and what becomes of it:
 *
 *     n above 1, logprobs, audio in or out,    WEIR_INVALID: the answer couldn't be what the client asked for, and
 *     functions, custom tools, web search,     another vendor may be able to
 *     images and files that aren't inline
 *     or at an http(s) address
 *     seed, penalties, logit_bias, store,      left out: they don't change what kind of answer comes. Anthropic's own
 *     prediction, service_tier, verbosity,     OpenAI endpoint leaves them out too
 *     metadata, reasoning_effort
 *     temperature above 1                      1
 *     temperature and top_p                    temperature alone (newer models refuse both together), unless it is at
 *                                              its default, 1
 *     response_format json_schema, strict      output_config.format; models before 4.5 refuse it
 *     the same, not strict, and json_object    an instruction at the end of the system prompt: a promise, no guarantee
 *     arguments that aren't a JSON object      {"INVALID_JSON": "their text"}, as Anthropic advises for tool inputs
 *     system messages in mid-conversation      moved to the system prompt
 *     a conversation of system messages alone  they become the user's message: there must be one
 *     blank texts                              left out: they are refused there
 *
 * reasoning_effort is no thinking budget: thinking blocks must come back signed in the next request, and OpenAI's
 * clients have no place to keep them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/translate/anthropic_parts.h"

enum { DEFAULT_MAX_TOKENS = 4096, MAX_USER_ID = 256 };

#define JSON_INSTRUCTION                                                                                               \
    "Answer with one valid JSON object and nothing else: no text before or after it, no code fences."

typedef struct builder {
    json_t *system;   /* blocks; owned */
    json_t *messages; /* owned */
    json_t *blocks;   /* of the last message; borrowed */
    const char *role; /* of the last message; NULL: there is none */
    bool nomem;
    weirp_fault *fault;
    char at[48]; /* where in the request: "messages[3].content[0]" */
} builder;

static weir_status refuse(builder *b, const char *member, const char *text) {
    char param[64];
    snprintf(param, sizeof param, "%s%s", b->at, member);
    (void)weirp_fault_set(b->fault, param, "unsupported_value", "%s", text);
    return WEIR_INVALID;
}

/* Steals value; NULL is an allocation that failed. */
static void set(builder *b, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) b->nomem = true;
}

static void append(builder *b, json_t *array, json_t *value) {
    if (json_array_append_new(array, value)) b->nomem = true;
}

static json_t *share(json_t *json) {
    return json_incref(json);
}

static json_t *typed(builder *b, const char *type) {
    json_t *object = json_object();
    set(b, object, "type", json_string(type));
    return object;
}

static bool is(const json_t *string, const char *text) {
    return json_is_string(string) && !strcmp(json_string_value(string), text);
}

static bool blank(const json_t *string) {
    const char *text = json_string_value(string);
    size_t len = json_string_length(string), i = 0;
    while (i < len && strchr(" \t\r\n\f\v", text[i]) && text[i]) i++;
    return i == len;
}

/* ---- messages ---- */

/* Where the blocks of the next message of this role go: to the one before, if it is of the same role. */
static json_t *turn(builder *b, const char *role) {
    if (b->role && !strcmp(b->role, role)) return b->blocks;
    json_t *message = json_object(), *blocks = json_array();
    set(b, message, "role", json_string(role));
    set(b, message, "content", blocks);
    append(b, b->messages, message);
    b->role = role;
    b->blocks = b->nomem ? NULL : blocks;
    return b->blocks;
}

static void text_block(builder *b, json_t *blocks, json_t *text, json_t *cache_control) {
    if (blank(text)) return;
    json_t *block = typed(b, "text");
    set(b, block, "text", share(text));
    if (cache_control) set(b, block, "cache_control", share(cache_control));
    append(b, blocks, block);
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

static json_t *base64_source(builder *b, const char *type, const data_url *url) {
    json_t *source = typed(b, "base64");
    set(b, source, "media_type", json_string(type));
    set(b, source, "data", json_stringn(url->data, url->data_len));
    return source;
}

static weir_status image_block(builder *b, json_t **block, const json_t *part) {
    json_t *image = json_object_get(part, "image_url");
    json_t *address = json_is_string(image) ? image : json_object_get(image, "url");
    const char *text = json_is_string(address) ? json_string_value(address) : "";
    data_url url;
    json_t *source;
    if (!strncasecmp(text, "http://", 7) || !strncasecmp(text, "https://", 8)) {
        source = typed(b, "url");
        set(b, source, "url", share(address));
    } else if (!json_is_string(address) || !data_url_read(&url, address)) {
        return refuse(b, ".image_url", "Images must be base64 data URLs or http(s) addresses for this model.");
    } else if (!image_type(&url)) {
        return refuse(b, ".image_url", "This model takes JPEG, PNG, GIF and WebP images.");
    } else {
        source = base64_source(b, image_type(&url), &url);
    }
    *block = typed(b, "image");
    set(b, *block, "source", source);
    return WEIR_OK;
}

static weir_status document_block(builder *b, json_t **block, const json_t *part) {
    const json_t *file = json_object_get(part, "file");
    json_t *name = json_object_get(file, "filename");
    const json_t *data = json_object_get(file, "file_data");
    data_url url;
    if (!json_is_string(data) || !data_url_read(&url, data) || !media_type(&url, "application/pdf"))
        return refuse(b, ".file", "Files must be PDFs given as base64 data URLs in file_data for this model.");
    *block = typed(b, "document");
    set(b, *block, "source", base64_source(b, "application/pdf", &url));
    if (json_is_string(name) && !blank(name)) set(b, *block, "title", share(name));
    return WEIR_OK;
}

/* One content part into `blocks`. */
static weir_status add_part(builder *b, json_t *blocks, json_t *part) {
    json_t *type = json_object_get(part, "type"), *cache = json_object_get(part, "cache_control"), *block = NULL;
    json_t *text = json_object_get(part, is(type, "refusal") ? "refusal" : "text");
    weir_status st = WEIR_OK;
    if (cache && !json_is_object(cache)) cache = NULL;
    if (json_is_string(part)) {
        text_block(b, blocks, part, NULL);
        return WEIR_OK;
    }
    if (is(type, "text") || is(type, "refusal")) {
        if (!json_is_string(text)) return refuse(b, ".text", "Text parts must hold a text.");
        text_block(b, blocks, text, cache);
        return WEIR_OK;
    }
    if (is(type, "image_url"))
        st = image_block(b, &block, part);
    else if (is(type, "file"))
        st = document_block(b, &block, part);
    else if (is(type, "input_audio"))
        st = refuse(b, ".input_audio", "This model takes no audio.");
    else
        st = refuse(b, ".type", "This model takes text, image_url and file parts.");
    if (st != WEIR_OK) return st;
    if (cache) set(b, block, "cache_control", share(cache));
    append(b, blocks, block);
    return WEIR_OK;
}

static weir_status add_content(builder *b, json_t *blocks, json_t *content) {
    if (!content || json_is_null(content)) return WEIR_OK;
    if (json_is_string(content)) {
        text_block(b, blocks, content, NULL);
        return WEIR_OK;
    }
    if (!json_is_array(content)) return refuse(b, ".content", "Contents must be a text or an array of parts.");
    const size_t end = strlen(b->at);
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < json_array_size(content); i++) {
        snprintf(b->at + end, sizeof b->at - end, ".content[%zu]", i);
        st = add_part(b, blocks, json_array_get(content, i));
    }
    b->at[end] = '\0';
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

static weir_status add_calls(builder *b, json_t *blocks, const json_t *calls) {
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        json_t *name = json_object_get(function, "name");
        const json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(name)) return refuse(b, ".tool_calls", "This model takes calls of functions only.");
        json_t *block = typed(b, "tool_use");
        set(b, block, "id", tool_id(json_object_get(call, "id")));
        set(b, block, "name", share(name));
        set(b, block, "input",
            weirp_anthropic_input(json_is_string(arguments) ? json_string_value(arguments) : "",
                                  json_string_length(arguments)));
        append(b, blocks, block);
    }
    return WEIR_OK;
}

/* The blocks of one message, before it is known whether there are any. */
static weir_status add_turn(builder *b, const json_t *message, const char *role) {
    json_t *blocks = json_array(), *content = json_object_get(message, "content");
    weir_status st = blocks ? add_content(b, blocks, content) : WEIR_NOMEM;
    if (st == WEIR_OK && !strcmp(role, "assistant")) {
        json_t *refusal = json_object_get(message, "refusal");
        if (json_is_string(refusal)) text_block(b, blocks, refusal, NULL);
        st = add_calls(b, blocks, json_object_get(message, "tool_calls"));
    }
    if (st == WEIR_OK && json_array_size(blocks) && json_array_extend(turn(b, role), blocks)) b->nomem = true;
    json_decref(blocks);
    return st;
}

static json_t *sole_text(const json_t *blocks) {
    const json_t *block = json_array_get(blocks, 0);
    bool plain =
        json_array_size(blocks) == 1 && json_object_size(block) == 2 && is(json_object_get(block, "type"), "text");
    return plain ? json_object_get(block, "text") : NULL;
}

static weir_status add_result(builder *b, const json_t *message) {
    json_t *blocks = json_array();
    weir_status st = blocks ? add_content(b, blocks, json_object_get(message, "content")) : WEIR_NOMEM;
    if (st == WEIR_OK) {
        json_t *block = typed(b, "tool_result"), *text = sole_text(blocks);
        set(b, block, "tool_use_id", tool_id(json_object_get(message, "tool_call_id")));
        if (json_array_size(blocks)) set(b, block, "content", share(text ? text : blocks));
        append(b, turn(b, "user"), block);
    }
    json_decref(blocks);
    return st;
}

static weir_status add_message(builder *b, json_t *message) {
    const json_t *role = json_object_get(message, "role");
    if (is(role, "system") || is(role, "developer"))
        return add_content(b, b->system, json_object_get(message, "content"));
    if (is(role, "user")) return add_turn(b, message, "user");
    if (is(role, "assistant")) return add_turn(b, message, "assistant");
    if (is(role, "tool")) return add_result(b, message);
    return refuse(b, ".role", "This model takes messages of the roles system, developer, user, assistant and tool.");
}

/* A prefilled answer must not end in white space. */
static void trim_prefill(builder *b) {
    if (!b->role || strcmp(b->role, "assistant")) return;
    json_t *block = json_array_get(b->blocks, json_array_size(b->blocks) - 1), *string = json_object_get(block, "text");
    const char *text = json_string_value(string);
    size_t len = json_string_length(string);
    while (len && text[len - 1] && strchr(" \t\r\n\f\v", text[len - 1])) len--;
    if (len && len < json_string_length(string)) set(b, block, "text", json_stringn(text, len));
}

static weir_status add_messages(builder *b, const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        snprintf(b->at, sizeof b->at, "messages[%zu]", i);
        weir_status st = add_message(b, json_array_get(messages, i));
        if (st != WEIR_OK) return st;
    }
    snprintf(b->at, sizeof b->at, "messages");
    if (b->nomem) return WEIR_NOMEM;
    if (!b->role && json_array_size(b->system)) {
        if (json_array_extend(turn(b, "user"), b->system) || json_array_clear(b->system)) return WEIR_NOMEM;
    }
    if (!b->role) return refuse(b, "", "This model needs a message that isn't empty.");
    trim_prefill(b);
    for (size_t i = 0; i < json_array_size(b->messages); i++) {
        json_t *message = json_array_get(b->messages, i), *text = sole_text(json_object_get(message, "content"));
        if (text) set(b, message, "content", share(text));
    }
    return WEIR_OK;
}

/* ---- everything else ---- */

static weir_status add_tools(builder *b, json_t *out, const json_t *tools) {
    json_t *list = json_array();
    weir_status st = WEIR_OK;
    for (size_t i = 0; st == WEIR_OK && i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *function = json_object_get(tool, "function");
        json_t *name = json_object_get(function, "name"), *description = json_object_get(function, "description");
        json_t *schema = json_object_get(function, "parameters"), *cache = json_object_get(tool, "cache_control");
        snprintf(b->at, sizeof b->at, "tools[%zu]", i);
        if (!is(json_object_get(tool, "type"), "function") || !json_is_string(name)) {
            st = refuse(b, ".type", "This model takes tools that are functions with a name.");
            break;
        }
        json_t *entry = json_object();
        set(b, entry, "name", share(name));
        if (json_is_string(description)) set(b, entry, "description", share(description));
        json_t *input = json_is_object(schema) ? json_copy(schema) : json_object(); /* its own top level */
        if (!json_object_get(input, "type")) set(b, input, "type", json_string("object"));
        set(b, entry, "input_schema", input);
        if (json_is_true(json_object_get(function, "strict"))) set(b, entry, "strict", json_true());
        if (json_is_object(cache)) set(b, entry, "cache_control", share(cache));
        append(b, list, entry);
    }
    if (st == WEIR_OK && json_array_size(list))
        set(b, out, "tools", list);
    else
        json_decref(list);
    return st;
}

/* Only after add_tools: without tools there is nothing to choose. */
static weir_status add_tool_choice(builder *b, json_t *out, const json_t *chat) {
    const json_t *choice = json_object_get(chat, "tool_choice");
    const bool one = json_is_false(json_object_get(chat, "parallel_tool_calls"));
    json_t *name = json_object_get(json_object_get(choice, "function"), "name"), *chosen = NULL;
    if (!json_object_get(out, "tools")) return WEIR_OK;
    snprintf(b->at, sizeof b->at, "tool_choice");
    if (!choice || json_is_null(choice))
        chosen = one ? typed(b, "auto") : NULL;
    else if (is(choice, "auto") || is(choice, "none"))
        chosen = typed(b, json_string_value(choice));
    else if (is(choice, "required"))
        chosen = typed(b, "any");
    else if (is(json_object_get(choice, "type"), "function") && json_is_string(name))
        set(b, chosen = typed(b, "tool"), "name", share(name));
    else
        return refuse(b, "", "This model takes auto, none, required or a function as tool_choice.");
    if (!chosen) return WEIR_OK;
    if (one && !is(choice, "none")) set(b, chosen, "disable_parallel_tool_use", json_true());
    set(b, out, "tool_choice", chosen);
    return WEIR_OK;
}

static void add_instruction(builder *b, const json_t *schema) {
    weirp_writer text = {0};
    weirp_putf(&text, "%s", JSON_INSTRUCTION);
    if (schema) {
        weirp_putf(&text, " It must match this JSON schema:\n");
        if (!weirp_put_json(&text, schema)) b->nomem = true;
    }
    json_t *string = text.failed ? NULL : json_stringn((char *)text.data, text.size);
    if (string)
        text_block(b, b->system, string, NULL);
    else
        b->nomem = true;
    json_decref(string);
    weirp_writer_free(&text);
}

static weir_status add_format(builder *b, json_t *out, const json_t *format) {
    const json_t *type = json_object_get(format, "type"), *wanted = json_object_get(format, "json_schema");
    json_t *schema = json_object_get(wanted, "schema");
    snprintf(b->at, sizeof b->at, "response_format");
    if (!format || json_is_null(format) || is(type, "text")) return WEIR_OK;
    if (is(type, "json_object")) {
        add_instruction(b, NULL);
    } else if (!is(type, "json_schema")) {
        return refuse(b, ".type", "This model takes text, json_object and json_schema.");
    } else if (json_is_object(schema) && json_is_true(json_object_get(wanted, "strict"))) {
        json_t *config = json_object(), *made = typed(b, "json_schema");
        set(b, made, "schema", share(schema));
        set(b, config, "format", made);
        set(b, out, "output_config", config);
    } else {
        add_instruction(b, json_is_object(schema) ? schema : NULL);
    }
    return WEIR_OK;
}

static void add_sampling(builder *b, json_t *out, const json_t *chat) {
    json_t *temperature = json_object_get(chat, "temperature"), *top_p = json_object_get(chat, "top_p");
    const double t = json_is_number(temperature) ? json_number_value(temperature) : NAN;
    const bool nucleus = json_is_number(top_p) && json_number_value(top_p) < 1;
    if (nucleus && (isnan(t) || t == 1))
        set(b, out, "top_p", share(top_p));
    else if (t > 1)
        set(b, out, "temperature", json_integer(1));
    else if (!isnan(t))
        set(b, out, "temperature", t < 0 ? json_integer(0) : share(temperature));
}

static void add_stop(builder *b, json_t *out, json_t *stop) {
    json_t *list = json_array();
    if (json_is_string(stop) && !blank(stop)) append(b, list, share(stop));
    for (size_t i = 0; i < json_array_size(stop); i++) {
        json_t *entry = json_array_get(stop, i);
        if (json_is_string(entry) && !blank(entry)) append(b, list, share(entry)); /* blank ones are refused */
    }
    if (json_array_size(list))
        set(b, out, "stop_sequences", list);
    else
        json_decref(list);
}

static double max_tokens(const weirp_request *r, const weirp_target *target) {
    double n = r->max_output_tokens;
    if (!(n >= 1)) n = target->default_max_output_tokens > 0 ? target->default_max_output_tokens : DEFAULT_MAX_TOKENS;
    if (n > target->max_output_tokens) n = target->max_output_tokens; /* NAN: no limit */
    if (!(n >= 1)) n = 1;
    return n > 1e9 ? 1e9 : floor(n);
}

static bool asked(const json_t *json) {
    return json && !json_is_null(json) && !json_is_false(json) && !(json_is_array(json) && !json_array_size(json));
}

static weir_status check(builder *b, const weirp_request *r) {
    static const struct {
        const char *key, *why;
    } refused[] = {
        {"logprobs", "This model gives no log probabilities."},
        {"audio", "This model gives no audio."},
        {"functions", "This model takes tools instead of functions."},
        {"web_search_options", "This model searches no web through this API."},
    };
    const json_t *modalities = json_object_get(r->chat, "modalities");
    if (r->n_choices > 1) return refuse(b, "n", "This model gives one answer a request.");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (asked(json_object_get(r->chat, refused[i].key))) return refuse(b, refused[i].key, refused[i].why);
    for (size_t i = 0; i < json_array_size(modalities); i++)
        if (!is(json_array_get(modalities, i), "text")) return refuse(b, "modalities", "This model gives text only.");
    return WEIR_OK;
}

static weir_status build(builder *b, json_t *out, const weirp_request *r, const weirp_target *target) {
    const json_t *chat = r->chat;
    weir_status st;
    if (!b->system || !b->messages || !out) return WEIR_NOMEM;
    WEIRP_TRY(check(b, r));
    set(b, out, "model", json_string(target->model));
    set(b, out, "max_tokens", json_integer((json_int_t)max_tokens(r, target)));
    WEIRP_TRY(add_messages(b, json_object_get(chat, "messages")));
    WEIRP_TRY(add_format(b, out, json_object_get(chat, "response_format")));
    if (json_array_size(b->system)) {
        json_t *text = sole_text(b->system);
        set(b, out, "system", share(text ? text : b->system));
    }
    set(b, out, "messages", share(b->messages));
    WEIRP_TRY(add_tools(b, out, json_object_get(chat, "tools")));
    WEIRP_TRY(add_tool_choice(b, out, chat));
    add_sampling(b, out, chat);
    add_stop(b, out, json_object_get(chat, "stop"));
    if (r->end_user && *r->end_user && strlen(r->end_user) <= MAX_USER_ID) {
        json_t *metadata = json_object();
        set(b, metadata, "user_id", json_string(r->end_user));
        set(b, out, "metadata", metadata);
    }
    if (r->stream) set(b, out, "stream", json_true());
    st = b->nomem ? WEIR_NOMEM : WEIR_OK;
done:
    return b->nomem ? WEIR_NOMEM : st;
}

/* Requests of this API's own clients: their bytes, with another model, no more tokens than it gives, and without
 * thinking that it would refuse. */
static weir_status pass_through(const weirp_request *r, const weirp_target *target, weirp_writer *body) {
    weirp_writer model = {0}, messages = {0};
    char most[32];
    weirp_edit edits[3];
    size_t n = 0;
    weirp_put_json_text(&model, target->model, strlen(target->model));
    weirp_put(&model, "", 1); /* ends it */
    edits[n++] = (weirp_edit){"model", (const char *)model.data};
    if (r->max_output_tokens > target->max_output_tokens) { /* false for NAN: no limit */
        snprintf(most, sizeof most, "%.0f", floor(target->max_output_tokens));
        edits[n++] = (weirp_edit){"max_tokens", most};
    }
    if (weirp_messages_unsigned(r, &messages)) {
        weirp_put(&messages, "", 1);
        edits[n++] = (weirp_edit){"messages", (const char *)messages.data};
    }
    weir_status st = model.failed || messages.failed ? WEIR_NOMEM : weirp_json_edit(r->text, r->len, edits, n, body);
    weirp_writer_free(&model);
    weirp_writer_free(&messages);
    return st;
}

static weir_status translate(const weirp_request *r, const weirp_target *target, weirp_writer *body,
                             weirp_fault *fault) {
    builder b = {.system = json_array(), .messages = json_array(), .fault = fault};
    json_t *out = json_object();
    weir_status st = build(&b, out, r, target);
    if (st == WEIR_OK && !weirp_put_json(body, out)) st = WEIR_NOMEM;
    json_decref(out);
    json_decref(b.messages);
    json_decref(b.system);
    return st;
}

static weir_status write_request(const weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                 size_t path_size, weirp_fault *fault) {
    body->size = 0;
    snprintf(path, path_size, "/messages");
    return r->api == WEIRP_API_MESSAGES ? pass_through(r, target, body) : translate(r, target, body, fault);
}

const weirp_protocol_ops weirp_anthropic_ops = {
    .write = write_request,
    .open = weirp_anthropic_open,
    .event = weirp_anthropic_event,
    .facts = weirp_anthropic_facts,
    .body = weirp_anthropic_body,
    .fault = weirp_anthropic_fault,
};

/* messages.c: requests of Anthropic's Messages API (POST /v1/messages) as clients send them: checked, and what routing
 * reads of them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/translate/messages_parts.h"

static bool is(const json_t *string, const char *text) {
    return json_is_string(string) && !strcmp(json_string_value(string), text);
}

static weir_status wrong(weirp_fault *fault, const char *param, const char *should) {
    return weirp_fault_set(fault, param, "invalid_value", "%s: Input should be %s", param, should);
}

/* ---- checks ---- */

/* A block, and what it needs a model to be able to do. `depth`: of contents in contents (tool results, documents). */
static weir_status check_block(weirp_request *r, const json_t *block, const char *at, weirp_fault *fault) {
    const json_t *type = json_object_get(block, "type");
    if (!json_is_object(block)) return wrong(fault, at, "an object");
    if (!json_is_string(type)) return wrong(fault, at, "a content block with a type");
    if (is(type, "text") && !json_is_string(json_object_get(block, "text")))
        return wrong(fault, at, "a text block with a text");
    if (is(type, "image")) r->has_images = true;
    const json_t *source = json_object_get(json_object_get(block, "source"), "type");
    /* pages are read as images */
    if (is(type, "document") && !is(source, "text") && !is(source, "content")) r->has_images = true;
    return WEIR_OK;
}

static weir_status check_content(weirp_request *r, const json_t *content, const char *at, bool inner,
                                 weirp_fault *fault) {
    if (json_is_string(content)) return WEIR_OK;
    if (!json_is_array(content)) return wrong(fault, at, "a valid string or list of content blocks");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *within = json_object_get(block, "content");
        char here[96];
        snprintf(here, sizeof here, "%.64s.%zu", at, i);
        weir_status st = check_block(r, block, here, fault);
        if (st == WEIR_OK && !inner && within && is(json_object_get(block, "type"), "tool_result"))
            st = check_content(r, within, here, true, fault);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

static weir_status check_messages(weirp_request *r, weirp_fault *fault) {
    const json_t *messages = json_object_get(r->json, "messages"), *system = json_object_get(r->json, "system");
    if (!messages) return weirp_missing(fault, "messages");
    if (!json_is_array(messages)) return wrong(fault, "messages", "a valid list");
    if (!json_array_size(messages))
        return weirp_fault_set(fault, "messages", "invalid_value", "messages: at least one message is required");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i), *role = json_object_get(message, "role");
        char at[64];
        snprintf(at, sizeof at, "messages.%zu", i);
        if (!json_is_object(message)) return wrong(fault, at, "an object");
        snprintf(at, sizeof at, "messages.%zu.role", i);
        if (!is(role, "user") && !is(role, "assistant") && !is(role, "system"))
            return wrong(fault, at, "'user' or 'assistant'");
        snprintf(at, sizeof at, "messages.%zu.content", i);
        if (!json_object_get(message, "content")) return weirp_missing(fault, at);
        weir_status st = check_content(r, json_object_get(message, "content"), at, false, fault);
        if (st != WEIR_OK) return st;
    }
    return system && !json_is_null(system) ? check_content(r, system, "system", true, fault) : WEIR_OK;
}

static weir_status check_options(weirp_request *r, weirp_fault *fault) {
    const json_t *tools = json_object_get(r->json, "tools");
    weir_status st = weirp_read_model(r, fault);
    if (st == WEIR_OK) st = weirp_read_stream(r, fault);
    if (st != WEIR_OK) return st;
    st =
        weirp_read_count(r, "max_tokens", 0, &r->max_output_tokens, fault); /* 0 only fills the vendor's prompt cache */
    if (st != WEIR_OK) return st;
    if (isnan(r->max_output_tokens)) return weirp_missing(fault, "max_tokens");
    if (tools && !json_is_array(tools) && !json_is_null(tools)) return wrong(fault, "tools", "a valid list");
    r->has_tools = json_array_size(tools) > 0;
    r->wants_json = json_is_object(json_object_get(json_object_get(r->json, "output_config"), "format"));
    return WEIR_OK;
}

static weir_status parse(weirp_request *r, weirp_fault *fault) {
    const json_t *user = json_object_get(json_object_get(r->json, "metadata"), "user_id");
    if (!json_is_object(r->json))
        return weirp_fault_set(fault, "", "invalid_json", "The request body must be a JSON object.");
    /* A conversation that is kept at one vendor can't be routed, and a request that goes on with one has its last
     * messages only. At this code Anthropic's clients send all of it again, and don't ask for threads any more. */
    const json_t *thread = json_object_get(r->json, "thread");
    if (thread && !json_is_null(thread))
        return weirp_fault_set(fault, "thread", "thread_unsupported_request",
                               "thread: conversations aren't kept here; send all messages, without a thread.");
    weir_status st = check_options(r, fault);
    if (st != WEIR_OK) return st;
    r->include_usage = true; /* this API's streams always have it */
    r->n_choices = 1;
    r->has_audio = false;
    r->end_user = json_is_string(user) ? json_string_value(user) : NULL;
    return check_messages(r, fault);
}

/* ---- the text that features see ---- */

static void put_text(weirp_writer *buffer, const json_t *string) {
    const size_t len = json_string_length(string);
    if (!len) return;
    if (buffer->size) weirp_put(buffer, "\n\n", 2);
    weirp_put(buffer, json_string_value(string), len);
}

static void put_content(weirp_writer *buffer, const json_t *content, bool inner) {
    put_text(buffer, content);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *type = json_object_get(block, "type");
        const json_t *source = json_object_get(block, "source");
        if (is(type, "text")) put_text(buffer, json_object_get(block, "text"));
        if (is(type, "document") && is(json_object_get(source, "type"), "text"))
            put_text(buffer, json_object_get(source, "data"));
        if (is(type, "tool_result") && !inner) put_content(buffer, json_object_get(block, "content"), true);
    }
}

void weirp_messages_prompt(const weirp_request *r, weirp_writer *buffer) {
    const json_t *messages = json_object_get(r->json, "messages");
    put_content(buffer, json_object_get(r->json, "system"), true);
    for (size_t i = 0; i < json_array_size(messages); i++)
        put_content(buffer, json_object_get(json_array_get(messages, i), "content"), false);
}

/* ---- thinking without a signature ---- */

static bool unsigned_thinking(const json_t *block) {
    return is(json_object_get(block, "type"), "thinking") && !json_string_length(json_object_get(block, "signature"));
}

static bool any_unsigned(const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *content = json_object_get(json_array_get(messages, i), "content");
        for (size_t j = 0; j < json_array_size(content); j++)
            if (unsigned_thinking(json_array_get(content, j))) return true;
    }
    return false;
}

static bool put_signed_message(weirp_writer *out, const json_t *message, bool *any) {
    json_t *content = json_object_get(message, "content"), *kept = NULL, *copy = NULL;
    if (json_is_array(content)) {
        kept = json_array();
        for (size_t j = 0; j < json_array_size(content); j++)
            if (!unsigned_thinking(json_array_get(content, j)) && json_array_append(kept, json_array_get(content, j)))
                goto nomem;
        if (!kept) goto nomem;
        if (!json_array_size(kept) && json_array_size(content)) { /* there was nothing else in it */
            json_decref(kept);
            return true;
        }
    }
    copy = json_copy((json_t *)message); /* reads only */
    if (!copy || (kept && json_object_set(copy, "content", kept))) goto nomem;
    if (*any) weirp_put(out, ",", 1);
    *any = true;
    bool good = weirp_put_json(out, copy);
    json_decref(copy);
    json_decref(kept);
    return good;
nomem:
    json_decref(copy);
    json_decref(kept);
    out->failed = true;
    return false;
}

bool weirp_messages_unsigned(const weirp_request *r, weirp_writer *out) {
    const json_t *messages = json_object_get(r->json, "messages");
    bool any = false;
    if (!any_unsigned(messages)) return false;
    weirp_put(out, "[", 1);
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!put_signed_message(out, json_array_get(messages, i), &any)) return true;
    weirp_put(out, "]", 1);
    return true;
}

const weirp_api_ops weirp_messages_ops = {
    .parse = parse,
    .prompt = weirp_messages_prompt,
    .chat = weirp_messages_chat,
    .open = weirp_messages_open,
    .piece = weirp_messages_piece,
    .end = weirp_messages_end,
    .close = weirp_messages_close,
    .error = weirp_messages_error,
};

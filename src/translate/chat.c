/* chat.c: OpenAI's chat completions as clients ask for them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/translate/pens.h"
#include "src/translate/tables.h"

static weir_status read_part(weirp_request *r, const json_t *part, size_t message, size_t i, weirp_fault *fault) {
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_object_get(part, "text");
    char param[64];
    snprintf(param, sizeof param, "messages[%zu].content[%zu]", message, i);
    if (json_is_string(part)) return WEIR_OK;
    if (!json_is_object(part)) return weirp_wrong_type(fault, param, "an object");
    if (text && !json_is_string(text)) return weirp_wrong_type(fault, param, "an object whose \"text\" is a text");
    if (!type) return WEIR_OK;
    r->has_images |= !strcmp(type, "image_url") || !strcmp(type, "input_image") || !strcmp(type, "image");
    r->has_audio |= !strcmp(type, "input_audio");
    return WEIR_OK;
}

static weir_status read_message(weirp_request *r, const json_t *message, size_t at, weirp_fault *fault) {
    const json_t *content = json_object_get(message, "content"), *role = json_object_get(message, "role");
    bool plain = json_is_string(role) && (!content || json_is_null(content) || json_is_string(content));
    if (plain) return WEIR_OK;
    char param[64];
    snprintf(param, sizeof param, "messages[%zu]", at);
    if (!json_is_object(message)) return weirp_wrong_type(fault, param, "an object");
    snprintf(param, sizeof param, "messages[%zu].role", at);
    if (!role) return weirp_missing(fault, param);
    if (!json_is_string(role)) return weirp_wrong_type(fault, param, "a text");
    snprintf(param, sizeof param, "messages[%zu].content", at);
    if (!json_is_array(content)) return weirp_wrong_type(fault, param, "a text or an array of parts");
    size_t i;
    const json_t *part;
    json_array_foreach(content, i, part) {
        weir_status st = read_part(r, part, at, i, fault);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status read_messages(weirp_request *r, weirp_fault *fault) {
    const json_t *messages = json_object_get(r->json, "messages"), *message;
    if (!messages) return weirp_missing(fault, "messages");
    if (!json_is_array(messages)) return weirp_wrong_type(fault, "messages", "an array of messages");
    if (!json_array_size(messages))
        return weirp_fault_set(fault, "messages", "empty_array", "Invalid 'messages': it is an empty array.");
    size_t i;
    json_array_foreach(messages, i, message) {
        weir_status st = read_message(r, message, i, fault);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status read_limits(weirp_request *r, weirp_fault *fault) {
    double older, newer;
    weir_status st = weirp_read_count(r, "max_tokens", 1, &older, fault);
    if (!st) st = weirp_read_count(r, "max_completion_tokens", 1, &newer, fault);
    if (!st) r->max_output_tokens = isnan(newer) ? older : newer;
    return st;
}

/* What a model must be able to do. */
static weir_status read_needs(weirp_request *r, weirp_fault *fault) {
    static const char *const lists[] = {"tools", "functions", "modalities"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const json_t *list = json_object_get(r->json, lists[i]);
        if (list && !json_is_null(list) && !json_is_array(list)) return weirp_wrong_type(fault, lists[i], "an array");
    }
    r->has_tools = json_array_size(json_object_get(r->json, "tools")) > 0 ||
                   json_array_size(json_object_get(r->json, "functions")) > 0;
    const json_t *format = json_object_get(r->json, "response_format"), *mode;
    if (format && !json_is_null(format) && !json_is_object(format))
        return weirp_wrong_type(fault, "response_format", "an object");
    const char *type = json_string_value(json_object_get(format, "type"));
    r->wants_json = type && !strncmp(type, "json", 4);
    size_t i;
    json_array_foreach(json_object_get(r->json, "modalities"), i, mode) r->has_audio |=
        json_is_string(mode) && !strcmp(json_string_value(mode), "audio");
    return WEIR_OK;
}

static weir_status parse(weirp_request *r, weirp_fault *fault) {
    weir_status st;
    WEIRP_TRY(weirp_read_model(r, fault));
    WEIRP_TRY(read_messages(r, fault));
    WEIRP_TRY(weirp_read_stream(r, fault));
    WEIRP_TRY(weirp_read_choices(r, fault));
    WEIRP_TRY(read_limits(r, fault));
    WEIRP_TRY(read_needs(r, fault));
    weirp_read_user(r, "user");
    weirp_read_user(r, "safety_identifier");
done:
    return st;
}

const weirp_api_ops weirp_chat_ops = {.parse = parse,
                                      .open = weirp_chat_pen,
                                      .piece = weirp_pen_piece,
                                      .end = weirp_pen_end,
                                      .close = weirp_pen_close,
                                      .error = weirp_pen_error};

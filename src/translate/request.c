/* request.c: reads what clients send, and has it written for a vendor. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "datasets/prompt.h"
#include "src/translate/parts.h"
#include "src/translate/tables.h"

weir_status weirp_request_parse(weirp_request *r, weirp_api api, const char *text, size_t len, weirp_fault *fault) {
    *r = (weirp_request){.api = api, .text = text, .len = len, .max_output_tokens = NAN, .n_choices = 1};
    *fault = (weirp_fault){0};
    char what[200];
    if (!len) return weirp_fault_set(fault, NULL, "invalid_json", "The request has no body.");
    r->json = weirp_json_parse(text, len, what, sizeof what);
    if (!r->json)
        return weirp_fault_set(fault, NULL, "invalid_json", "The request's body can't be read as JSON: %s.", what);
    weir_status st = WEIR_OK;
    if (!json_is_object(r->json))
        st = weirp_fault_set(fault, NULL, "invalid_json", "The request's body must be a JSON object.");
    else
        st = weirp_api_table[api]->parse(r, fault);
    if (st) weirp_request_free(r);
    return st;
}

void weirp_request_free(weirp_request *r) {
    json_decref(r->chat);
    json_decref(r->json);
    *r = (weirp_request){0};
}

/* An array with one message that has these contents. A new reference. */
static json_t *as_message(json_t *contents) {
    return json_pack("[{sO}]", "content", contents);
}

weir_status weirp_request_prompt(const weirp_request *r, weirp_writer *buffer, const char **text, size_t *len) {
    static const char *const member[] = {
        [WEIRP_API_CHAT] = "messages", [WEIRP_API_COMPLETIONS] = "prompt", [WEIRP_API_EMBEDDINGS] = "input"};
    buffer->size = 0;
    *text = "";
    *len = 0;
    if (weirp_api_table[r->api]->prompt) {
        weirp_api_table[r->api]->prompt(r, buffer);
        *len = buffer->size;
        if (buffer->size) *text = (const char *)buffer->data;
        return buffer->failed ? WEIR_NOMEM : WEIR_OK;
    }
    json_t *asked = json_object_get(r->json, member[r->api]), *made = NULL;
    if (r->api != WEIRP_API_CHAT && json_is_array(asked)) {
        asked = made = as_message(asked);
        if (!made) return WEIR_NOMEM;
    }
    /* What isn't text (lists of token numbers) has no text. */
    if (weirp_prompt_text(asked, buffer, text, len)) {
        *text = "";
        *len = 0;
    }
    json_decref(made); /* an array's text stands in the buffer */
    return buffer->failed ? WEIR_NOMEM : WEIR_OK;
}

bool weirp_speaks(weirp_api api, weirp_protocol protocol, bool legacy_completions) {
    switch (api) {
    case WEIRP_API_CHAT:
    case WEIRP_API_EMBEDDINGS: return protocol == WEIRP_PROTOCOL_OPENAI;
    case WEIRP_API_COMPLETIONS: return protocol == WEIRP_PROTOCOL_OPENAI && legacy_completions;
    case WEIRP_API_MESSAGES: return protocol == WEIRP_PROTOCOL_ANTHROPIC;
    }
    return false;
}

/* WEIR_INVALID: this request has no chat form. */
static weir_status make_chat(weirp_request *r, weirp_fault *fault) {
    if (r->chat) return WEIR_OK;
    if (r->api == WEIRP_API_CHAT)
        r->chat = json_incref(r->json);
    else
        r->chat = weirp_api_table[r->api]->chat(r, fault);
    if (r->chat) return WEIR_OK;
    return *fault->text ? WEIR_INVALID : WEIR_NOMEM;
}

weir_status weirp_request_write(weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                size_t path_size, weirp_fault *fault) {
    const weirp_protocol_ops *ops = weirp_protocol_table[target->protocol];
    body->size = 0;
    *fault = (weirp_fault){0};
    if (path_size) *path = '\0';
    if (!weirp_speaks(r->api, target->protocol, target->legacy_completions)) {
        if (!weirp_api_table[r->api]->chat && r->api != WEIRP_API_CHAT) {
            weirp_fault_set(fault, NULL, "unsupported_endpoint", "The model %.100s isn't asked for embeddings.",
                            target->model);
            return WEIR_INVALID;
        }
        weir_status st = make_chat(r, fault);
        if (st) return st;
    }
    weir_status st = ops->write(r, target, body, path, path_size, fault);
    return st == WEIR_OK && body->failed ? WEIR_NOMEM : st;
}

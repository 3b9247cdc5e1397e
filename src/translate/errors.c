/* errors.c: errors in the shape that each API's clients expect. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/translate/parts.h"

static const char *openai_type(int status) {
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "insufficient_quota";
    case 403: return "permission_error";
    case 429: return "rate_limit_error";
    case 408:
    case 504: return "timeout_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* The types of Anthropic's API reference, "Errors". */
static const char *anthropic_type(int status) {
    switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 408:
    case 504: return "timeout_error";
    case 503:
    case 529: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

static void put_or_null(weirp_writer *out, const char *name, const char *text) {
    weirp_putf(out, ",\"%s\":", name);
    if (text && *text)
        weirp_put_json_text(out, text, strlen(text));
    else
        weirp_put(out, "null", 4);
}

void weirp_error_write(weirp_api api, int status, const char *type, const char *code, const char *param,
                       const char *text, weirp_writer *out) {
    bool anthropic = api == WEIRP_API_MESSAGES;
    if (!type) type = anthropic ? anthropic_type(status) : openai_type(status);
    weirp_putf(out, anthropic ? "{\"type\":\"error\",\"error\":{\"type\":" : "{\"error\":{\"message\":");
    if (anthropic) {
        weirp_put_json_text(out, type, strlen(type));
        weirp_putf(out, ",\"message\":");
        weirp_put_json_text(out, text, strlen(text));
        if (code && !strncmp(code, "thread_", strlen("thread_"))) { /* the only ones that clients act upon */
            weirp_putf(out, ",\"details\":{\"error_code\":");
            weirp_put_json_text(out, code, strlen(code));
            weirp_put(out, "}", 1);
        }
    } else {
        weirp_put_json_text(out, text, strlen(text));
        put_or_null(out, "type", type);
        put_or_null(out, "param", param);
        put_or_null(out, "code", code);
    }
    weirp_putf(out, "}}");
}

/* fault.c: what is wrong with a request; what a vendor's error answer means. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/words.h"
#include "src/translate/tables.h"

weir_status weirp_fault_set(weirp_fault *fault, const char *param, const char *code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
    snprintf(fault->param, sizeof fault->param, "%s", param ? param : "");
    snprintf(fault->code, sizeof fault->code, "%s", code ? code : "");
    return WEIR_PARSE;
}

weirp_vendor_fault_kind weirp_fault_kind_status(int status) {
    switch (status) {
    case 401:
    case 403: return WEIRP_VENDOR_AUTH;
    case 402: return WEIRP_VENDOR_QUOTA;
    case 404:
    case 410: return WEIRP_VENDOR_NOT_FOUND;
    case 408: return WEIRP_VENDOR_TIMEOUT;
    case 413: return WEIRP_VENDOR_TOO_LONG;
    case 425:
    case 429: return WEIRP_VENDOR_RATE_LIMIT;
    case 498: /* Groq: flex tier at capacity */
    case 503:
    case 529: return WEIRP_VENDOR_OVERLOADED;
    default: return status >= 400 && status < 500 ? WEIRP_VENDOR_INVALID : WEIRP_VENDOR_SERVER;
    }
}

/* In codes, types and sentences, most telling first. */
static const struct {
    const char *words;
    weirp_vendor_fault_kind kind;
} told[] = {
    {"insufficient_quota", WEIRP_VENDOR_QUOTA},
    {"insufficient_balance", WEIRP_VENDOR_QUOTA},
    {"insufficient balance", WEIRP_VENDOR_QUOTA},
    {"insufficient credit", WEIRP_VENDOR_QUOTA},
    {"credit balance", WEIRP_VENDOR_QUOTA},
    {"billing_hard_limit", WEIRP_VENDOR_QUOTA},
    {"billing_not_active", WEIRP_VENDOR_QUOTA},
    {"billing_error", WEIRP_VENDOR_QUOTA},
    {"context_length", WEIRP_VENDOR_TOO_LONG},
    {"context length", WEIRP_VENDOR_TOO_LONG},
    {"context window", WEIRP_VENDOR_TOO_LONG},
    {"context size", WEIRP_VENDOR_TOO_LONG},
    {"exceed_context_size", WEIRP_VENDOR_TOO_LONG},
    {"prompt is too long", WEIRP_VENDOR_TOO_LONG},
    {"input is too long", WEIRP_VENDOR_TOO_LONG},
    {"maximum prompt length", WEIRP_VENDOR_TOO_LONG},
    {"too many tokens", WEIRP_VENDOR_TOO_LONG},
    {"reduce the length", WEIRP_VENDOR_TOO_LONG},
    {"string_above_max_length", WEIRP_VENDOR_TOO_LONG},
    {"input token count", WEIRP_VENDOR_TOO_LONG},
    {"content_policy", WEIRP_VENDOR_FILTERED},
    {"content_filter", WEIRP_VENDOR_FILTERED},
    {"content filter", WEIRP_VENDOR_FILTERED},
    {"content management policy", WEIRP_VENDOR_FILTERED},
    {"moderation", WEIRP_VENDOR_FILTERED},
    {"safety system", WEIRP_VENDOR_FILTERED},
    {"model_not_found", WEIRP_VENDOR_NOT_FOUND},
    {"model_decommissioned", WEIRP_VENDOR_NOT_FOUND},
    {"deploymentnotfound", WEIRP_VENDOR_NOT_FOUND},
    {"not a valid model", WEIRP_VENDOR_NOT_FOUND},
    {"invalid_model", WEIRP_VENDOR_NOT_FOUND},
    {"rate_limit", WEIRP_VENDOR_RATE_LIMIT},
    {"rate limit", WEIRP_VENDOR_RATE_LIMIT},
    {"too many requests", WEIRP_VENDOR_RATE_LIMIT},
    {"overloaded", WEIRP_VENDOR_OVERLOADED},
    {"over capacity", WEIRP_VENDOR_OVERLOADED},
    {"at capacity", WEIRP_VENDOR_OVERLOADED},
    {"invalid_api_key", WEIRP_VENDOR_AUTH},
};

/* Of a request that was refused as invalid. Words of inability alone could be about a value that nobody takes ("format
 * x is not supported"): some count only where a model is spoken of. */
static const struct {
    const char *words;
    bool of_model;
} unable[] = {
    {"unsupported_parameter", false}, /* OpenAI's codes for what a model hasn't */
    {"unsupported_value", false},
    {"operationnotsupported", false}, /* Azure */
    {"does not support", false},
    {"doesn't support", false},
    {"endpoints found that support", false}, /* OpenRouter */
    {"maximum allowed number of output tokens", false},
    {"model supports at most", false},
    {"cannot both be specified for this model", false},
    {"tool choice requires", false}, /* vLLM, by how it was started */
    {"requires --jinja", false},     /* llama.cpp, the same */
    {"not supported", true},
    {"not enabled", true}, /* Gemini */
    {"not available", true},
};

static bool says_so(const char *words) {
    bool of_model = strcasestr(words, "model") != NULL;
    for (size_t i = 0; i < sizeof unable / sizeof unable[0]; i++)
        if ((of_model || !unable[i].of_model) && strcasestr(words, unable[i].words)) return true;
    return false;
}

bool weirp_fault_unsupported(const char *code, const char *text) {
    return says_so(code) || says_so(text);
}

/* Types that say no more than a status: looked at where there is none. */
static const struct {
    const char *type;
    int status;
} types[] = {
    {"invalid_request_error", 400}, {"BadRequestError", 400},  {"authentication_error", 401}, {"permission_error", 403},
    {"not_found_error", 404},       {"NotFoundError", 404},    {"request_too_large", 413},    {"rate_limit_error", 429},
    {"timeout_error", 408},         {"overloaded_error", 529}, {"service_unavailable", 503},
};

bool weirp_fault_kind_words(const char *words, weirp_vendor_fault_kind *kind) {
    if (!*words) return false;
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        if (!strcasestr(words, told[i].words)) continue;
        *kind = told[i].kind;
        return true;
    }
    return false;
}

void weirp_fault_sort(weirp_vendor_fault *fault, int status, const char *type) {
    for (size_t i = 0; status < 400 && i < sizeof types / sizeof types[0]; i++)
        if (!strcasecmp(types[i].type, type)) status = types[i].status;
    fault->kind = weirp_fault_kind_status(status);
    if (status == 401 || status == 408) return;
    if (!weirp_fault_kind_words(fault->code, &fault->kind) && !weirp_fault_kind_words(type, &fault->kind))
        (void)weirp_fault_kind_words(fault->text, &fault->kind);
    bool router = fault->kind == WEIRP_VENDOR_NOT_FOUND && strcasestr(fault->text, "endpoints found that support");
    if (router || (fault->kind == WEIRP_VENDOR_INVALID && weirp_fault_unsupported(fault->code, fault->text)))
        fault->kind = WEIRP_VENDOR_UNSUPPORTED;
}

/* What a proxy's page or a plain text says: its title, or its beginning. */
static void excerpt_page(weirp_vendor_fault *fault, const char *text, size_t len) {
    char repaired[3 * 1024 + 1];
    if (len > 1024) len = 1024;
    size_t n = weirp_utf8_repair(repaired, text, len);
    const char *title = strcasestr(repaired, "<title>"), *end = title ? strcasestr(title, "</title>") : NULL;
    if (end) {
        title += strlen("<title>");
        while (title < end && strchr(" \r\n\t", *title)) title++;
        while (end > title && strchr(" \r\n\t", end[-1])) end--;
        weirp_excerpt(fault->text, sizeof fault->text, title, (size_t)(end - title));
    } else {
        weirp_excerpt(fault->text, sizeof fault->text, repaired, n);
    }
}

void weirp_vendor_fault_read(weirp_vendor_fault *fault, weirp_protocol protocol, int status, const char *text,
                             size_t len) {
    *fault = (weirp_vendor_fault){.kind = weirp_fault_kind_status(status)};
    while (len && strchr(" \r\n\t", *text) && *text) text++, len--;
    json_t *json = len && (*text == '{' || *text == '[') ? weirp_json_parse(text, len, NULL, 0) : NULL;
    bool told_so = json && weirp_protocol_table[protocol]->fault(fault, status, json);
    json_decref(json);
    if (told_so) return;
    *fault = (weirp_vendor_fault){.kind = weirp_fault_kind_status(status)};
    if (len)
        excerpt_page(fault, text, len);
    else
        snprintf(fault->text, sizeof fault->text, "status %d without a word", status);
}

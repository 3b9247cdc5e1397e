/* Errors as Google's APIs tell them (google.rpc.Status; https://ai.google.dev/gemini-api/docs/troubleshooting).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/gemini.h"

/* ---- what the message may say ---- */

static bool mentions(const char *text, const char *word) {
    return text && strcasestr(text, word);
}

/* Google quotes the key in some of its messages ("Consumer 'api_key:AIza..' has been suspended"): that is cut out. */
static void copy_without_keys(char *out, size_t out_size, const char *from) {
    static const char *const marks[] = {"api_key:", "AIza"};
    static const char of_keys[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    char to[2048]; /* longer than any fault's text */
    const size_t size = sizeof to;
    size_t n = 0;
    while (*from && n + 1 < size) {
        size_t secret = 0;
        for (size_t i = 0; i < sizeof marks / sizeof *marks && !secret; i++) {
            const size_t m = strlen(marks[i]);
            if (!strncmp(from, marks[i], m)) secret = m + strspn(from + m, of_keys);
        }
        if (secret) {
            n += (size_t)snprintf(to + n, size - n, "(key)");
            if (n >= size) n = size - 1;
            from += secret;
        } else {
            to[n++] = *from++;
        }
    }
    weirp_excerpt(out, out_size, to, weirp_utf8_valid(to, n));
}

/* ---- details ---- */

static bool has_reason(const json_t *error, const char *reason) {
    const json_t *details = json_object_get(error, "details");
    for (size_t i = 0; i < json_array_size(details); i++)
        if (weirp_gemini_is(json_object_get(json_array_get(details, i), "reason"), reason)) return true;
    return false;
}

/* A quota of nothing (a model that the free tier doesn't have) never refills. */
static bool has_no_quota(const json_t *error) {
    const json_t *details = json_object_get(error, "details");
    for (size_t i = 0; i < json_array_size(details); i++) {
        const json_t *violations = json_object_get(json_array_get(details, i), "violations");
        for (size_t k = 0; k < json_array_size(violations); k++)
            if (weirp_gemini_is(json_object_get(json_array_get(violations, k), "quotaValue"), "0")) return true;
    }
    return false;
}

/* A Duration, which JSON has as decimal seconds with an "s" behind them
 * (https://protobuf.dev/reference/protobuf/google.protobuf/#duration). In milliseconds, rounded up; 0: it isn't one. */
static int64_t duration_ms(const char *text) {
    int64_t ms = 0, unit = 1000;
    size_t whole = strspn(text, "0123456789");
    bool more = false;
    if (!whole || whole > 9) return 0;
    for (size_t i = 0; i < whole; i++) ms = ms * 10 + (text[i] - '0') * unit;
    text += whole;
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++) {
            unit /= 10;
            ms += (*text - '0') * unit;
            more |= !unit && *text != '0';
        }
    }
    return strcmp(text, "s") == 0 ? ms + more : 0;
}

/* google.rpc.RetryInfo */
static int64_t retry_delay_ms(const json_t *error) {
    static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
    const json_t *details = json_object_get(error, "details");
    for (size_t i = 0; i < json_array_size(details); i++) {
        const json_t *detail = json_array_get(details, i);
        const char *text = json_string_value(json_object_get(detail, "retryDelay"));
        if (!text || !weirp_gemini_is(json_object_get(detail, "@type"), type)) continue;
        int64_t ms = duration_ms(text);
        if (ms) return ms;
    }
    return 0;
}

/* ---- kinds ---- */

/* Quotas of a minute and of a day come alike, in the words "check your plan and billing details", and both refill. */
static weirp_vendor_fault_kind exhausted(const json_t *error, const char *text) {
    if (has_no_quota(error) || mentions(text, "prepayment credits") || mentions(text, "spending cap"))
        return WEIRP_VENDOR_QUOTA;
    return has_reason(error, "MODEL_CAPACITY_EXHAUSTED") ? WEIRP_VENDOR_OVERLOADED : WEIRP_VENDOR_RATE_LIMIT;
}

static weirp_vendor_fault_kind invalid(const json_t *error, const char *text) {
    if (has_reason(error, "API_KEY_INVALID") || mentions(text, "API key not valid") ||
        mentions(text, "API key expired"))
        return WEIRP_VENDOR_AUTH;
    if ((mentions(text, "token") && mentions(text, "exceeds the maximum")) || mentions(text, "payload size exceeds"))
        return WEIRP_VENDOR_TOO_LONG;
    return weirp_fault_unsupported("", text ? text : "") ? WEIRP_VENDOR_UNSUPPORTED : WEIRP_VENDOR_INVALID;
}

static weirp_vendor_fault_kind by_status(int64_t status) {
    switch (status) {
    case 401:
    case 403: return WEIRP_VENDOR_AUTH;
    case 404: return WEIRP_VENDOR_NOT_FOUND;
    case 408:
    case 504: return WEIRP_VENDOR_TIMEOUT;
    case 413: return WEIRP_VENDOR_TOO_LONG;
    case 429: return WEIRP_VENDOR_RATE_LIMIT;
    case 503: return WEIRP_VENDOR_OVERLOADED;
    default: return status >= 400 && status < 500 ? WEIRP_VENDOR_INVALID : WEIRP_VENDOR_SERVER;
    }
}

static weirp_vendor_fault_kind sort(const json_t *error, int64_t status, const char *text) {
    static const struct {
        const char *status;
        weirp_vendor_fault_kind kind;
    } known[] = {{"UNAUTHENTICATED", WEIRP_VENDOR_AUTH},  {"PERMISSION_DENIED", WEIRP_VENDOR_AUTH},
                 {"NOT_FOUND", WEIRP_VENDOR_NOT_FOUND},   {"UNAVAILABLE", WEIRP_VENDOR_OVERLOADED},
                 {"INTERNAL", WEIRP_VENDOR_SERVER},       {"UNKNOWN", WEIRP_VENDOR_SERVER},
                 {"ABORTED", WEIRP_VENDOR_SERVER},        {"CANCELLED", WEIRP_VENDOR_SERVER},
                 {"DATA_LOSS", WEIRP_VENDOR_SERVER},      {"DEADLINE_EXCEEDED", WEIRP_VENDOR_TIMEOUT},
                 {"OUT_OF_RANGE", WEIRP_VENDOR_INVALID},  {"UNIMPLEMENTED", WEIRP_VENDOR_UNSUPPORTED},
                 {"ALREADY_EXISTS", WEIRP_VENDOR_INVALID}};
    const json_t *name = json_object_get(error, "status");
    if (weirp_gemini_is(name, "RESOURCE_EXHAUSTED")) return exhausted(error, text);
    if (weirp_gemini_is(name, "INVALID_ARGUMENT")) return invalid(error, text);
    /* Where we are, or that nobody pays: not the client's doing, and the same for each of its requests. */
    if (weirp_gemini_is(name, "FAILED_PRECONDITION"))
        return mentions(text, "location") || mentions(text, "billing") ? WEIRP_VENDOR_AUTH : WEIRP_VENDOR_INVALID;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (weirp_gemini_is(name, known[i].status)) return known[i].kind;
    if (status == 429) return exhausted(error, text);
    return status == 400 ? invalid(error, text) : by_status(status);
}

bool weirp_gemini_fault(weirp_vendor_fault *fault, int status, const json_t *json) {
    /* Without alt=sse even errors come in an array. */
    const json_t *error = json_object_get(json_is_array(json) ? json_array_get(json, 0) : json, "error");
    if (!json_is_object(error)) return false;
    const char *text = json_string_value(json_object_get(error, "message"));
    const char *name = json_string_value(json_object_get(error, "status"));
    const int64_t code = weirp_json_count(json_object_get(error, "code"));
    fault->kind = sort(error, code ? code : status, text);
    fault->retry_after_ms = retry_delay_ms(error);
    copy_without_keys(fault->text, sizeof fault->text, text ? text : "");
    copy_without_keys(fault->code, sizeof fault->code, name ? name : "");
    return true;
}

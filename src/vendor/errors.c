/* errors.c: the same mishaps in three vendors' words. Sources: OpenAI's, Anthropic's and Gemini's API references, and
 * error bodies that users of these quote in public. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

typedef struct row {
    int status;
    const char *type, *code; /* OpenAI: type and code; Anthropic: type; Gemini: status */
    const char *message;
} row;

/* In the order of VEND_KIND_TABLE. */
static const row openai_rows[] = {
    {400, "invalid_request_error", NULL, "The request could not be read."},
    {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
    {403, "invalid_request_error", "unsupported_country_region_territory", "Access to this resource is not allowed."},
    {404, "invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."},
    {400, "invalid_request_error", "context_length_exceeded",
     "This model's maximum context length is 128000 tokens. Your messages hold more. Please shorten them."},
    {400, "invalid_request_error", "content_policy_violation", "The request was rejected by the safety system."},
    {429, "insufficient_quota", "insufficient_quota",
     "You exceeded your current quota, please check your plan and billing details."},
    {429, "requests", "rate_limit_exceeded", "Rate limit reached on requests per min (RPM). Please try again later."},
    {500, "server_error", NULL, "The server had an error while processing your request. Sorry about that!"},
    {503, "server_error", NULL, "The engine is currently overloaded, please try again later."},
    {503, "server_error", "overloaded", "That model is currently overloaded with other requests."},
    {408, "server_error", "timeout", "Request timed out."},
    {400, "invalid_request_error", "unsupported_parameter",
     "Unsupported parameter: this parameter is not supported with this model."},
};
static const row anthropic_rows[] = {
    {400, "invalid_request_error", NULL, "The request could not be read."},
    {401, "authentication_error", NULL, "invalid x-api-key"},
    {403, "permission_error", NULL, "Your API key does not have permission to use the specified resource."},
    {404, "not_found_error", NULL, "The requested resource could not be found."},
    {400, "invalid_request_error", NULL, "prompt is too long: 210000 tokens > 200000 maximum"},
    {400, "invalid_request_error", NULL, "Output blocked by content filtering policy"},
    {400, "invalid_request_error", NULL,
     "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to purchase credits."},
    {429, "rate_limit_error", NULL,
     "This request would exceed your organization's rate limit. Please try again later."},
    {500, "api_error", NULL, "Internal server error"},
    {503, "api_error", NULL, "Service unavailable"},
    {529, "overloaded_error", NULL, "Overloaded"},
    {504, "timeout_error", NULL, "The request timed out."},
    {400, "invalid_request_error", NULL, "This model does not support what the request asks for."},
};
static const row gemini_rows[] = {
    {400, "INVALID_ARGUMENT", NULL, "Request contains an invalid argument."},
    {400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."},
    {403, "PERMISSION_DENIED", NULL, "The caller does not have permission."},
    {404, "NOT_FOUND", NULL, "The model is not found for API version v1beta, or is not supported for generateContent."},
    {400, "INVALID_ARGUMENT", NULL,
     "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."},
    {400, "INVALID_ARGUMENT", NULL, "The prompt was blocked for safety reasons."},
    {429, "RESOURCE_EXHAUSTED", "QUOTA",
     "You exceeded your current quota, please check your plan and billing details."},
    {429, "RESOURCE_EXHAUSTED", NULL, "Resource has been exhausted (e.g. check quota)."},
    {500, "INTERNAL", NULL, "An internal error has occurred. Please retry."},
    {503, "UNAVAILABLE", NULL, "The service is currently unavailable."},
    {503, "UNAVAILABLE", NULL, "The model is overloaded. Please try again later."},
    {504, "DEADLINE_EXCEEDED", NULL, "Deadline expired before operation could complete."},
    {400, "INVALID_ARGUMENT", NULL, "Multiple candidates is not enabled for this model"},
};

static const row *row_of(vend_api api, vend_kind kind) {
    return &(api == VEND_MESSAGES ? anthropic_rows : api == VEND_GENERATE ? gemini_rows : openai_rows)[kind];
}

bool vend_refuse(vend_fault *fault, vend_kind kind, const char *param, const char *format, ...) {
    va_list args;
    *fault = (vend_fault){.kind = kind, .retry_after_s = NAN};
    snprintf(fault->param, sizeof fault->param, "%s", param ? param : "");
    va_start(args, format);
    vsnprintf(fault->message, sizeof fault->message, format, args);
    va_end(args);
    return false;
}

void vend_fault_settle(vend_fault *fault, vend_api api) {
    const row *r = row_of(api, fault->kind);
    if (!fault->status) fault->status = r->status;
    if (!fault->message[0]) snprintf(fault->message, sizeof fault->message, "%s", r->message);
}

void vend_openai_error(const vend_fault *fault, const char *id, weirp_writer *w) {
    const row *r = row_of(VEND_CHAT, fault->kind);
    (void)id;
    vend_put_member(w, "{\"error\":{\"message\":", fault->message);
    vend_put_member(w, ",\"type\":", r->type);
    vend_put_member(w, ",\"param\":", fault->param[0] ? fault->param : NULL);
    vend_put_member(w, ",\"code\":", fault->code[0] ? fault->code : r->code);
    vend_put(w, "}}");
}

void vend_anthropic_error(const vend_fault *fault, const char *id, weirp_writer *w) {
    vend_put_member(w, "{\"type\":\"error\",\"error\":{\"type\":", row_of(VEND_MESSAGES, fault->kind)->type);
    vend_put_member(w, ",\"message\":", fault->message);
    vend_put(w, "},\"request_id\":\"req_");
    vend_put(w, id);
    vend_put(w, "\"}");
}

static void put_details(const vend_fault *fault, const row *r, weirp_writer *w) {
    const char *comma = "";
    vend_put(w, ",\"details\":[");
    if (r->code && !strcmp(r->code, "API_KEY_INVALID")) {
        vend_put(w, "{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"API_KEY_INVALID\","
                    "\"domain\":\"googleapis.com\",\"metadata\":{\"service\":\"generativelanguage.googleapis.com\"}}");
        comma = ",";
    } else if (r->code) {
        vend_put(w, "{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\",\"violations\":[{\"quotaMetric\":"
                    "\"generativelanguage.googleapis.com/generate_content_free_tier_requests\",\"quotaId\":"
                    "\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\"}]}");
        comma = ",";
    }
    if (!isnan(fault->retry_after_s)) {
        vend_put(w, comma);
        vend_put_format(w, "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"%gs\"}",
                        fault->retry_after_s);
    }
    vend_put(w, "]");
}

void vend_gemini_error(const vend_fault *fault, const char *id, weirp_writer *w) {
    const row *r = row_of(VEND_GENERATE, fault->kind);
    (void)id;
    vend_put_format(w, "{\"error\":{\"code\":%d", fault->status);
    vend_put_member(w, ",\"message\":", fault->message);
    vend_put_member(w, ",\"status\":", r->type);
    if (r->code || !isnan(fault->retry_after_s)) put_details(fault, r, w);
    vend_put(w, "}}\n");
}

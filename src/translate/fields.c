/* fields.c: members of requests that several APIs share. Codes are those that OpenAI's own API answers with.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/translate/parts.h"

enum { MAX_MODEL_BYTES = 256, MAX_CHOICES = 128 };

weir_status weirp_missing(weirp_fault *fault, const char *param) {
    return weirp_fault_set(fault, param, "missing_required_parameter", "Missing required parameter: '%s'.", param);
}

weir_status weirp_wrong_type(weirp_fault *fault, const char *param, const char *right) {
    return weirp_fault_set(fault, param, "invalid_type", "Invalid type for '%s': it must be %s.", param, right);
}

/* NULL for absent and null. */
static json_t *get(const weirp_request *r, const char *member) {
    json_t *value = json_object_get(r->json, member);
    return json_is_null(value) ? NULL : value;
}

weir_status weirp_read_model(weirp_request *r, weirp_fault *fault) {
    const json_t *model = get(r, "model");
    if (!model) return weirp_missing(fault, "model");
    if (!json_is_string(model)) return weirp_wrong_type(fault, "model", "a text");
    size_t len = json_string_length(model);
    r->model = json_string_value(model);
    if (!len || len > MAX_MODEL_BYTES || strlen(r->model) != len)
        return weirp_fault_set(fault, "model", "invalid_value",
                               "Invalid value for 'model': it must be a name of 1 to %d bytes.", MAX_MODEL_BYTES);
    return WEIR_OK;
}

weir_status weirp_read_stream(weirp_request *r, weirp_fault *fault) {
    const json_t *stream = get(r, "stream"), *options = get(r, "stream_options");
    if (stream && !json_is_boolean(stream)) return weirp_wrong_type(fault, "stream", "true or false");
    r->stream = json_is_true(stream);
    if (!options) return WEIR_OK;
    if (!json_is_object(options)) return weirp_wrong_type(fault, "stream_options", "an object");
    const json_t *usage = json_object_get(options, "include_usage");
    if (usage && !json_is_null(usage) && !json_is_boolean(usage))
        return weirp_wrong_type(fault, "stream_options.include_usage", "true or false");
    r->include_usage = r->stream && json_is_true(usage);
    return WEIR_OK;
}

weir_status weirp_read_count(const weirp_request *r, const char *member, double least, double *out,
                             weirp_fault *fault) {
    const json_t *value = get(r, member);
    *out = NAN;
    if (!value) return WEIR_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || number != floor(number)) return weirp_wrong_type(fault, member, "a whole number");
    if (number < least || number > 1e9)
        return weirp_fault_set(fault, member, "invalid_value",
                               "Invalid value for '%s': it must be a whole number from %.0f to 1e9.", member, least);
    *out = number;
    return WEIR_OK;
}

weir_status weirp_read_choices(weirp_request *r, weirp_fault *fault) {
    double n;
    weir_status st = weirp_read_count(r, "n", 1, &n, fault);
    if (st || isnan(n)) return st;
    if (n > MAX_CHOICES)
        return weirp_fault_set(fault, "n", "invalid_value", "Invalid value for 'n': it must be at most %d.",
                               MAX_CHOICES);
    r->n_choices = (size_t)n;
    return WEIR_OK;
}

void weirp_read_user(weirp_request *r, const char *member) {
    const json_t *user = json_object_get(r->json, member);
    if (json_is_string(user) && json_string_length(user)) r->end_user = json_string_value(user);
}

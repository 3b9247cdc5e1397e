/* ask.c: what checks of requests share. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/vendor/vendor.h"

void vend_ask_message(vend_ask *ask) {
    if (ask->has_text) weirp_put(&ask->text, "\n\n", 2);
    ask->last = ask->text.size;
    ask->has_text = false;
}

void vend_ask_text(vend_ask *ask, const char *text, size_t len) {
    if (ask->has_text) weirp_put(&ask->text, "\n\n", 2);
    weirp_put(&ask->text, text, len);
    ask->has_text = true;
}

const char *vend_ask_last(const vend_ask *ask, size_t *len) {
    *len = ask->text.size - ask->last;
    return ask->text.data ? (const char *)ask->text.data + ask->last : "";
}

void vend_ask_free(vend_ask *ask) {
    json_decref(ask->json);
    weirp_writer_free(&ask->text);
}

bool vend_is_key(const char *key, const char *const *known) {
    for (size_t i = 0; known[i]; i++)
        if (!strcmp(key, known[i])) return true;
    return false;
}

const char *vend_unknown_key(const json_t *object, const char *const *known) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (!vend_is_key(key, known)) return key;
    }
    return NULL;
}

bool vend_check_key(const vend_ask *ask, const char *key, vend_fault *fault) {
    char *const *keys = ask->scenario->file.keys.items;
    if (!ask->scenario->file.keys.n) return true;
    for (size_t i = 0; key && i < ask->scenario->file.keys.n; i++)
        if (!strcmp(key, keys[i])) return true;
    return vend_refuse(fault, VEND_KIND_AUTH, NULL, "%s", "");
}

bool vend_check_model(const vend_ask *ask, vend_fault *fault) {
    char *const *models = ask->scenario->file.models.items;
    if (!ask->scenario->file.models.n) return true;
    for (size_t i = 0; i < ask->scenario->file.models.n; i++)
        if (!strcmp(ask->model, models[i])) return true;
    if (ask->api == VEND_MESSAGES) return vend_refuse(fault, VEND_KIND_NOT_FOUND, NULL, "model: %s", ask->model);
    if (ask->api == VEND_GENERATE)
        return vend_refuse(fault, VEND_KIND_NOT_FOUND, NULL,
                           "models/%s is not found for API version v1beta, or is not supported for generateContent.",
                           ask->model);
    return vend_refuse(fault, VEND_KIND_NOT_FOUND, NULL,
                       "The model `%s` does not exist or you do not have access to it.", ask->model);
}

bool vend_check_context(const vend_ask *ask, vend_fault *fault) {
    int64_t most = ask->scenario->file.max_context;
    if (most == VEND_UNSET) return true;
    int64_t n = vend_count_tokens((const char *)ask->text.data, ask->text.size);
    if (n <= most) return true;
    long long has = (long long)n, may = (long long)most;
    if (ask->api == VEND_MESSAGES)
        return vend_refuse(fault, VEND_KIND_CONTEXT, NULL, "prompt is too long: %lld tokens > %lld maximum", has, may);
    if (ask->api == VEND_GENERATE)
        return vend_refuse(fault, VEND_KIND_CONTEXT, NULL,
                           "The input token count (%lld) exceeds the maximum number of tokens allowed (%lld).", has,
                           may);
    return vend_refuse(fault, VEND_KIND_CONTEXT, "messages",
                       "This model's maximum context length is %lld tokens. However, your messages resulted in %lld "
                       "tokens. Please reduce the length of the messages.",
                       may, has);
}

/* endpoints.c: paths. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/endpoints.h"

#include <string.h>

#include "src/gateway/observe/metrics.h"

_Static_assert(WEIRP_N_APIS == WEIRP_N_ENDPOINTS, "metrics count by endpoint");

static const struct {
    const char *label, *method, *path;
    int key;
} table[] = {
#define ROW(name, label, method, path, key) {label, method, path, key},
    WEIRP_ENDPOINT_TABLE(ROW)
#undef ROW
};

const char *weirp_endpoint_name(size_t endpoint) {
    return endpoint < WEIRP_ENDPOINT_OTHER ? table[endpoint].label : "other";
}

weirp_endpoint weirp_endpoint_find(const char *path) {
    for (size_t i = 0; i < WEIRP_ENDPOINT_OTHER; i++)
        if (!strcmp(path, table[i].path)) return (weirp_endpoint)i;
    const char *models = table[WEIRP_ENDPOINT_MODELS].path;
    size_t len = strlen(models);
    return !strncmp(path, models, len) && path[len] == '/' ? WEIRP_ENDPOINT_MODELS : WEIRP_ENDPOINT_OTHER;
}

const char *weirp_endpoint_method(weirp_endpoint endpoint) {
    return endpoint < WEIRP_ENDPOINT_OTHER ? table[endpoint].method : "GET";
}

int weirp_endpoint_needs_key(weirp_endpoint endpoint) {
    return endpoint < WEIRP_ENDPOINT_OTHER ? table[endpoint].key : 0;
}

weirp_api weirp_endpoint_api(weirp_endpoint endpoint) {
    switch (endpoint) {
    case WEIRP_ENDPOINT_COMPLETIONS: return WEIRP_API_COMPLETIONS;
    case WEIRP_ENDPOINT_EMBEDDINGS: return WEIRP_API_EMBEDDINGS;
    case WEIRP_ENDPOINT_MESSAGES: return WEIRP_API_MESSAGES;
    default: return WEIRP_API_CHAT;
    }
}

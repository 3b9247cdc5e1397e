/* endpoints.h: the paths that the gateway serves. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ENDPOINTS_H
#define WEIRP_ENDPOINTS_H

#include <stddef.h>

#include "src/translate/translate.h"

/* X(name, label, method, path, key): the one table that dispatch, metrics and docs come from. `key`: whether a client
 * must show its key. */
#define WEIRP_ENDPOINT_TABLE(X)                                                                                        \
    X(CHAT, "chat", "POST", "/v1/chat/completions", 1)                                                                 \
    X(COMPLETIONS, "completions", "POST", "/v1/completions", 1)                                                        \
    X(EMBEDDINGS, "embeddings", "POST", "/v1/embeddings", 1)                                                           \
    X(MESSAGES, "messages", "POST", "/v1/messages", 1)                                                                 \
    X(MODELS, "models", "GET", "/v1/models", 1)                                                                        \
    X(FEEDBACK, "feedback", "POST", "/v1/feedback", 1)                                                                 \
    X(ROUTE, "route", "POST", "/v1/route", 1)                                                                          \
    X(HEALTHZ, "healthz", "GET", "/healthz", 0)                                                                        \
    X(READYZ, "readyz", "GET", "/readyz", 0)                                                                           \
    X(METRICS, "metrics", "GET", "/metrics", 0)

typedef enum weirp_endpoint {
#define WEIRP_ENDPOINT_ENUM(name, label, method, path, key) WEIRP_ENDPOINT_##name,
    WEIRP_ENDPOINT_TABLE(WEIRP_ENDPOINT_ENUM)
#undef WEIRP_ENDPOINT_ENUM
        WEIRP_ENDPOINT_OTHER,
    WEIRP_N_ENDPOINTS
} weirp_endpoint;

const char *weirp_endpoint_name(size_t endpoint); /* "chat"; "other" for what isn't one; borrowed, static */
/* By path; a model's own page below /v1/models/ is MODELS. OTHER: no such path. */
weirp_endpoint weirp_endpoint_find(const char *path);
const char *weirp_endpoint_method(weirp_endpoint endpoint);
int weirp_endpoint_needs_key(weirp_endpoint endpoint);
/* In whose shape errors at this path are told. */
weirp_api weirp_endpoint_api(weirp_endpoint endpoint);

#endif

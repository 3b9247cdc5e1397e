/* gateway.h: the server that OpenAI and Anthropic clients talk to (docs/gateway.md).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_GATEWAY_H
#define WEIR_GATEWAY_H

#include <stdbool.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

typedef struct weir_gateway_options {
    const char *config_path; /* required */
    const char *listen;      /* instead of the file's; NULL: the file's */
    unsigned threads;        /* 0: the file's */
    /* Called once the gateway answers: `address` as bound (port 0 becomes the one that was given). May be NULL. */
    void (*ready)(void *user, const char *address);
    void *ready_user;
} weir_gateway_options;

/* Checks a configuration without serving: prints nothing; WEIR_OK if `weir serve` would take it. *json (may be NULL) is
 * new: what was read, keys left out. */
WEIR_API WEIR_MUST_CHECK weir_status weir_gateway_check(const char *config_path, char **json, weir_error *err);

/* Serves until SIGTERM or SIGINT, then drains; SIGHUP reloads the configuration. Takes over these signals and SIGPIPE
 * while it runs. Blocks. Libraries that weir stands on must be set to one thread by the caller (OpenBLAS). */
WEIR_API WEIR_MUST_CHECK weir_status weir_gateway_serve(const weir_gateway_options *options, weir_error *err);

WEIR_END_DECLS

#endif

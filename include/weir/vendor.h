/* vendor.h: a simulated vendor: OpenAI's, Anthropic's and Gemini's endpoints that answer, and misbehave, as they are
 * told (docs/vendor.md). A tool for tests; no model is behind it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_VENDOR_H
#define WEIR_VENDOR_H

#include <stdint.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

typedef struct weir_vendor_options {
    const char *listen;        /* "127.0.0.1:0" and the like; required */
    const char *outcomes_path; /* outcome file: prompts that it holds are answered with its tokens and latency; NULL */
    const char *scenario_path; /* YAML; NULL: answers at once */
    const char *books_path;    /* what each call is billed is appended to it as a line of JSON; NULL: to no file */
    unsigned threads;          /* 0: 1; at most 64 */
    uint64_t seed;             /* of answers, ids and shares; a scenario's own seed goes before it */
    double speed;              /* the outcome file's latencies are divided by it; 0: 1 */
    void (*ready)(void *user, const char *address);
    void *ready_user;
} weir_vendor_options;

/* Serves until SIGTERM or SIGINT. Blocks. */
WEIR_API WEIR_MUST_CHECK weir_status weir_vendor_serve(const weir_vendor_options *options, weir_error *err);

WEIR_END_DECLS

#endif

/* scenario.h: what the vendor is told to do: rules out of a YAML file, and which of them a request meets.
 *
 * Lives in this folder: a vendor that is simulated, for tests. May not know: src/translate, src/gateway (their mistakes
 * must not be mirrored here). Keys: docs/vendor.md. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_VENDOR_SCENARIO_H
#define WEIRP_VENDOR_SCENARIO_H

#include <stdatomic.h>

#include "src/base/base.h"
#include "src/base/yaml.h"

typedef enum vend_api { VEND_CHAT, VEND_COMPLETIONS, VEND_EMBEDDINGS, VEND_MESSAGES, VEND_GENERATE } vend_api;
enum { VEND_N_APIS = VEND_GENERATE + 1, VEND_UNSET = -1 };
const char *vend_api_name(vend_api api); /* "chat", ... */

/* X(name, text): kinds of error, as vendors tell them apart. The order is that of errors.c's tables. */
#define VEND_KIND_TABLE(X)                                                                                             \
    X(BAD_REQUEST, "bad_request")                                                                                      \
    X(AUTH, "auth")                                                                                                    \
    X(PERMISSION, "permission")                                                                                        \
    X(NOT_FOUND, "not_found")                                                                                          \
    X(CONTEXT, "context_length")                                                                                       \
    X(FILTER, "content_filter")                                                                                        \
    X(QUOTA, "quota")                                                                                                  \
    X(RATE, "rate_limit")                                                                                              \
    X(SERVER, "server")                                                                                                \
    X(UNAVAILABLE, "unavailable")                                                                                      \
    X(OVERLOADED, "overloaded")                                                                                        \
    X(TIMEOUT, "timeout")                                                                                              \
    X(UNSUPPORTED, "unsupported")

typedef enum vend_kind {
#define VEND_KIND_ENUM(name, text) VEND_KIND_##name,
    VEND_KIND_TABLE(VEND_KIND_ENUM)
#undef VEND_KIND_ENUM
} vend_kind;

typedef enum vend_malformed {
    VEND_WELL,
    VEND_BAD_JSON,
    VEND_NO_DONE,
    VEND_GARBAGE,
    VEND_HUGE_LINE,
    VEND_BAD_UTF8,
    VEND_NOT_OBJECT,
} vend_malformed;
typedef enum vend_encoding { VEND_PLAIN, VEND_GZIP, VEND_GZIP_BROKEN } vend_encoding;
typedef enum vend_finish { VEND_AUTO, VEND_STOP, VEND_LENGTH, VEND_TOOLS, VEND_FILTERED, VEND_REFUSED } vend_finish;

typedef struct vend_match {
    char *model;             /* glob; NULL: any */
    int api;                 /* vend_api + 1; 0: any */
    int stream;              /* 0: any; 1: only streams; 2: none */
    double share;            /* of those that meet all the rest */
    int64_t from, to, every; /* which of them, from 1; to VEND_UNSET: no end */
    weirp_yaml_list headers; /* of weirp_yaml_pair: name, glob */
    char *prompt;            /* part of the whole text; NULL: any */
} vend_match;

typedef struct vend_error_rule {
    int kind;             /* vend_kind; VEND_UNSET: no error */
    int64_t status;       /* VEND_UNSET: the vendor's own for that kind */
    double retry_after_s; /* NAN: no such header */
    double retry_after_ms;
    char *message;        /* NULL: the vendor's own */
    int64_t after_events; /* in the middle of a stream; VEND_UNSET: at once */
} vend_error_rule;

typedef struct vend_cut {
    int64_t head, bytes, events; /* after so many; VEND_UNSET: not */
    bool reset;
} vend_cut;

typedef struct vend_usage_rule {
    bool send;
    int64_t input, output, cached, cache_write, reasoning, audio_input, audio_output; /* tokens; VEND_UNSET */
} vend_usage_rule;

typedef struct vend_tool_rule {
    char *name, *arguments;
} vend_tool_rule;

/* What a model costs: USD per million tokens; NAN: as the plain tokens of its side. */
typedef struct vend_price {
    char *model; /* glob */
    double input, cached, cache_write, audio_input, output, reasoning, audio_output;
    double request; /* USD */
} vend_price;

typedef struct vend_rule {
    char *name;
    vend_match match;
    double latency_ms, jitter_ms, first_token_ms, per_token_ms; /* NAN: the outcome file's, or none */
    int64_t tokens;                                             /* VEND_UNSET: the outcome file's, or default */
    char *text;                                                 /* NULL: words */
    bool echo;
    char *refusal;         /* NULL: none */
    char *reasoning;       /* text; NULL: none */
    int finish;            /* vend_finish */
    int tools;             /* 0: where the request or the prompt asks; 1: always; 2: never */
    weirp_yaml_list calls; /* of vend_tool_rule */
    vend_usage_rule usage;
    vend_error_rule error;
    vend_cut cut;
    int malformed;           /* vend_malformed */
    int64_t malformed_after; /* events */
    int64_t huge_line_bytes;
    char *content_type, *body; /* in place of the answer's own */
    bool html;
    int64_t events, event_bytes; /* streams for measurements: so many events of that size, ... */
    double event_ms;             /* ... one every so often */
    bool endless, silent, reset;
    bool ignore_max_tokens;
    double head_byte_ms, drip_ms; /* a byte every so often; NAN: all at once */
    int encoding;                 /* vend_encoding */
    int64_t outage_ms;            /* VEND_UNSET: none */
    weirp_yaml_list headers;      /* of weirp_yaml_pair: further ones of the answer */
    size_t line;
    size_t index;
} vend_rule;

typedef struct vend_count {
    _Atomic uint64_t seen, hits; /* requests that met all of a rule but share and from/to/every; and all */
} vend_count;

typedef struct vend_scenario {
    struct {
        int64_t seed; /* VEND_UNSET: the command line's */
        bool lenient; /* unknown members of requests pass */
        bool strict_roles;
        weirp_yaml_list models; /* of char *; empty: any model is known */
        weirp_yaml_list keys;   /* of char *; empty: no key is asked for */
        int64_t max_context;    /* tokens; VEND_UNSET: no limit */
        weirp_yaml_list rules;  /* of vend_rule */
        weirp_yaml_list prices; /* of vend_price; the first that a model meets counts */
    } file;
    vend_count *counts; /* (rules.n) */
    _Atomic size_t references;
} vend_scenario;

/* The scenario is shared between threads: it is immutable but for its counters. text NULL: one without rules. */
weir_status vend_scenario_parse(vend_scenario **out, const char *name, const char *text, size_t len, weir_error *err);
weir_status vend_scenario_load(vend_scenario **out, const char *path, weir_error *err);
vend_scenario *vend_scenario_ref(vend_scenario *scenario);
void vend_scenario_unref(vend_scenario *scenario); /* NULL is fine */
void vend_scenario_reset(vend_scenario *scenario); /* counts from the start again */

/* What a request shows of itself to rules. */
typedef struct vend_shown {
    vend_api api;
    const char *model;
    bool stream;
    const char *text;                                          /* NUL-terminated */
    const char *(*header)(const void *user, const char *name); /* NULL: absent */
    const void *user;
} vend_shown;

/* The first rule that the request meets; NULL: none. Counts. */
const vend_rule *vend_scenario_match(vend_scenario *scenario, const vend_shown *shown, uint64_t seed);

#endif

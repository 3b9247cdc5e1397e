/* config.h: the gateway's configuration file (docs/gateway.md, "Configuration").
 *
 * Lives in this room: the file's text checked, named by line where it is wrong, and turned into numbers, indices and
 * keys. Knows nothing of what is done with them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CONFIG_H
#define WEIRP_CONFIG_H

#include "src/base/base.h"
#include "src/budget/budget.h"
#include "src/ope/gate.h"
#include "src/translate/translate.h"
#include "weir/policy.h"
#include "weir/pool.h"

typedef struct weirp_timeouts {
    unsigned connect_ms, first_token_ms, idle_ms, total_ms;
} weirp_timeouts;

typedef struct weirp_provider {
    char *name;
    weirp_protocol protocol;
    char *base_url; /* without a final slash; the protocol's public one where the file is silent */
    char *key;      /* NULL: none is sent. From key_env or key_file; never printed */
    size_t n_headers;
    char **headers; /* (n_headers) "Name: value", further ones for every request */
    char *ca_file;  /* NULL: the system's */
    weirp_timeouts timeouts;
} weirp_provider;

/* One place where a model can be had. */
typedef struct weirp_deployment {
    char *name;      /* "PROVIDER/MODEL" unless the file names it; unique */
    size_t model;    /* index into pool */
    size_t provider; /* index */
    char *vendor_model;
    double weight; /* share of the model's requests among its deployments; > 0 */
    bool legacy_completions, no_stream_options, max_completion_tokens;
    double default_max_output_tokens;
} weirp_deployment;

typedef struct weirp_abilities {
    bool tools, images, audio, json; /* default true, true, false, true */
} weirp_abilities;

typedef enum weirp_log_format { WEIRP_LOG_TEXT, WEIRP_LOG_JSON } weirp_log_format;
typedef enum weirp_log_level { WEIRP_LOG_DEBUG, WEIRP_LOG_INFO, WEIRP_LOG_WARN, WEIRP_LOG_ERROR } weirp_log_level;

typedef struct weirp_config {
    char *path;
    char *listen;     /* "127.0.0.1:8080" */
    unsigned threads; /* at least 1 */
    unsigned busy_poll_us;
    char *store; /* path; relative ones are relative to the configuration file */

    size_t n_client_keys;
    char **client_keys; /* (n_client_keys) that clients must show; none: anyone may ask */

    bool virtual_keys; /* clients must show one of the store's, or one of client_keys */

    weir_policy_options policy; /* of requests that say nothing else; its models are indices into pool */
    struct {
        bool on;
        weir_policy_options policy; /* the candidate's; its models are indices into pool */
        weirp_gate_plan gate;
        char *webhook; /* where its moves are told; NULL: nowhere */
    } rollout;
    size_t n_providers;
    weirp_provider *providers;
    weir_pool *pool;            /* models, with prices */
    weirp_abilities *abilities; /* (pool->n_models) */
    size_t n_deployments;
    weirp_deployment *deployments; /* grouped by model, in the file's order */
    char *embeddings;              /* model that /v1/embeddings goes to where the client says "weir"; NULL: none */

    struct {
        size_t header_bytes, body_bytes, answer_bytes, concurrent, connections;
        unsigned request_ms; /* from a request's arrival to its answer's end: every try and wait is inside */
        unsigned client_idle_s;
    } limits;
    struct {
        unsigned max; /* further tries after the first, all models together */
        unsigned base_ms, max_ms;
        bool other_models; /* fall back to the next-least-risk model */
    } retry;
    struct {
        unsigned failures, window_ms, open_ms; /* so many failures within the window open the breaker for so long */
    } breaker;
    struct {
        bool on;
        double max_share; /* of requests that may be hedged */
        unsigned least_ms;
    } hedge;
    struct {
        weirp_log_format format;
        weirp_log_level level;
        bool requests; /* a line a request */
    } log;
    struct {
        bool on;      /* decisions go into the store's log */
        bool prompts; /* with the prompt's text */
        size_t n_redact;
        char **
            redact; /* (n_redact) extended regular expressions: what they match becomes [redacted] in a stored prompt */
        unsigned commit_ms;  /* how long a decision may wait for its durable commit */
        unsigned refresh_ms; /* how long learned things may wait until decisions use them */
        size_t queue_bytes;  /* of records that wait to be written: beyond, new decision records are dropped, and
                                counted */
    } traffic;
    struct {
        unsigned wait_ms;  /* how long a request may wait for what calls under way leave of a budget */
        int refuse_status; /* 429 or 402 */
        char *webhook;     /* where warnings are sent; NULL: nowhere */
        size_t n;
        weirp_budget *list; /* (n) that the store is to have */
    } budgets;
    struct {
        char *budget;             /* whose limit is spent for the most quality; NULL: nothing is paced */
        double min_quality;       /* least mean of predicted quality over a period; 0: none */
        bool floor_first;         /* where that and the limit contradict each other */
        double max_latency_ms;    /* INFINITY: none */
        double expected_requests; /* a period; 0: not known */
    } pacing;
    struct {
        unsigned drain_ms; /* after SIGTERM */
    } shutdown;
    uint64_t price_version; /* digest of every model's name and prices */
    size_t n_warnings;
    char **warnings; /* (n_warnings) one sentence each, for the log: what works, and is probably not meant */
} weirp_config;

/* Reads, checks, resolves keys. *out is new. Errors name file, line and key. A key file or variable that is missing is
 * an error that names it, and never shows a key. */
weir_status weirp_config_load(weirp_config **out, const char *path, weir_error *err);
void weirp_config_free(weirp_config *config); /* overwrites keys first; NULL is fine */
/* Deployments of a model: first index and count. */
size_t weirp_config_deployments(const weirp_config *config, size_t model, size_t *n);

#endif

/* config_file.h: the configuration as it stands in the file, before names are looked up and keys are fetched.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CONFIG_FILE_H
#define WEIRP_CONFIG_FILE_H

#include "src/base/yaml.h"
#include "src/gateway/config/config.h"

/* `..._line`: of the key, 0 where it is absent. */

typedef struct weirp_file_timeouts {
    int64_t connect_ms, first_token_ms, idle_ms, total_ms;
} weirp_file_timeouts;

typedef struct weirp_file_provider {
    char *name, *base_url, *key_env, *key_file, *ca_file;
    int protocol;
    weirp_yaml_list headers; /* of weirp_yaml_pair */
    weirp_file_timeouts timeouts;
    size_t line, protocol_line, base_url_line, key_env_line, key_file_line, ca_file_line;
} weirp_file_provider;

typedef struct weirp_file_deployment {
    char *name, *provider, *model;
    double weight, default_max_output_tokens;
    bool legacy_completions, no_stream_options, max_completion_tokens;
    size_t line, provider_line, no_stream_options_line, max_completion_tokens_line;
} weirp_file_deployment;

typedef struct weirp_file_model {
    weir_model model;
    weirp_abilities abilities;
    weirp_yaml_list deployments; /* of weirp_file_deployment */
    size_t line;
} weirp_file_model;

typedef struct weirp_file_policy {
    char *name, *strong, *weak, *fixed;
    double value_usd, mu, latency_usd_per_s, max_cost_usd, min_quality, max_latency_ms, threshold, novelty_limit,
        explore_floor;
    bool fallback;
    int64_t seed;
    size_t line, name_line, value_line, mu_line, price_line, max_cost_line, min_quality_line, max_latency_line,
        threshold_line, strong_line, weak_line, fixed_line, fallback_line, novelty_line, explore_line;
} weirp_file_policy;

typedef struct weirp_file_budget {
    char *name, *limit, *zone;
    char *match[WEIRP_N_DIMS];
    int per, when_exhausted;
    bool soft;
    weirp_yaml_list warn; /* of char * */
    size_t line, name_line, limit_line, zone_line, warn_line, match_line[WEIRP_N_DIMS];
} weirp_file_budget;

typedef struct weirp_file {
    char *listen, *store, *embeddings;
    int64_t threads, busy_poll_us;
    size_t listen_line, store_line, embeddings_line;
    struct {
        weirp_yaml_list key_files, key_envs; /* of char * */
        bool virtual_keys;
        size_t key_files_line, key_envs_line;
    } auth;
    weirp_file_policy policy;
    struct {
        char *name;
        weirp_file_policy policy;
        int mode;
        weirp_yaml_list steps; /* of char * */
        double margin_quality, margin_error, level, hold_hours;
        int64_t min_feedback;
        char *webhook;
        size_t line, name_line, steps_line, webhook_line;
    } rollout;
    weirp_yaml_list providers; /* of weirp_file_provider */
    weirp_yaml_list models;    /* of weirp_file_model */
    struct {
        int64_t header_bytes, body_bytes, answer_bytes, concurrent, connections, request_ms, client_idle_s;
    } limits;
    struct {
        int64_t max, base_ms, max_ms;
        bool other_models;
        size_t max_ms_line;
    } retry;
    struct {
        int64_t failures, window_ms, open_ms;
    } breaker;
    struct {
        bool on;
        double max_share;
        int64_t least_ms;
    } hedge;
    struct {
        int format, level;
        bool requests;
    } log;
    struct {
        bool on, prompts;
        weirp_yaml_list redact; /* of char * */
        int64_t commit_ms, refresh_ms, queue_bytes;
        size_t redact_line;
    } traffic;
    struct {
        int64_t wait_ms;
        int refuse_status;
        char *webhook;
        weirp_yaml_list list; /* of weirp_file_budget */
        size_t webhook_line;
    } budgets;
    struct {
        char *budget;
        double min_quality, max_latency_ms, expected_requests;
        int precedence;
        size_t line, budget_line;
    } pacing;
    struct {
        int64_t drain_ms;
    } shutdown;
} weirp_file;

extern const weirp_yaml_map weirp_file_schema;

/* A configuration that is being made. */
typedef struct weirp_maker {
    const char *path; /* of the file */
    weirp_file file;
    weirp_config *config;
    size_t warnings_capacity, client_keys_capacity;
    weir_error *err;
} weirp_maker;

/* "PATH:LINE: TEXT". */
weir_status weirp_maker_wrong(const weirp_maker *m, size_t line, const char *format, ...) WEIR_PRINTF(3, 4);
weir_status weirp_maker_warn(weirp_maker *m, size_t line, const char *format, ...) WEIR_PRINTF(3, 4);
/* `word` is none of `names` (n): says so, with the likeliest or with all of them. `what`: "provider". */
weir_status weirp_maker_unknown(const weirp_maker *m, size_t line, const char *key, const char *what, const char *word,
                                const char *const *names, size_t n);
/* A path of the file's as seen from where the configuration lies; new, NULL: out of memory. */
char *weirp_maker_path(const weirp_maker *m, const char *path);

/* A webhook's URL, which is stolen from the file. */
weir_status weirp_maker_webhook(const weirp_maker *m, size_t line, char **file, char **url);

/* config_keys.c: *key is new; overwrite it before it is freed. Messages name variable or file, never what is in them,
 * nor a name that looks as if someone had put the key itself there. */
weir_status weirp_maker_key_env(weirp_maker *m, size_t line, const char *variable, char **key);
weir_status weirp_maker_key_file(weirp_maker *m, size_t line, const char *file, char **key);
weir_status weirp_maker_client_keys(weirp_maker *m);
void weirp_forget(char *secret); /* overwrites and frees; NULL is fine */

/* config_providers.c */
weir_status weirp_maker_providers(weirp_maker *m);
/* What is known of a provider by its name, as defaults for its deployments. */
void weirp_provider_habits(const char *name, bool *no_stream_options, bool *max_completion_tokens);

/* config_models.c: pool, abilities, deployments; after the providers. */
weir_status weirp_maker_models(weirp_maker *m);
/* The pool's model of that name, by index; `key` is for messages. */
weir_status weirp_maker_model(const weirp_maker *m, size_t line, const char *key, const char *name, size_t *index);

/* config_policy.c: after the models. */
weir_status weirp_maker_policy(weirp_maker *m, const weirp_file_policy *file, weir_policy_options *policy);

/* config_policy.c: the policy as it would be written for `weir ope --policy`: NAME,KEY=VALUE,... with the keys that the
 * file sets; cut with "..." where it is longer. */
weir_status weirp_maker_policy_text(const weirp_maker *maker, const weirp_file_policy *file,
                                    const weir_policy_options *options, char out[WEIRP_GATE_POLICY]);

/* config_rollout.c: after policy and pacing. */
weir_status weirp_maker_rollout(weirp_maker *m);

/* config_budgets.c: after the models. */
weir_status weirp_maker_budgets(weirp_maker *m);

/* config_pacing.c: after the policy. */
weir_status weirp_maker_pacing(weirp_maker *m);
bool weirp_policy_has_value(const char *policy); /* others can't be steered by it */

#endif

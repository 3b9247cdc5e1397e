/* config_schema.c: every key of the configuration, with its bounds and its default. docs/gateway.md lists the same.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/gateway/config/config_file.h"
#include "src/price/model_keys.h"

#define COUNT_OF(rows)     (sizeof(rows) / sizeof((rows)[0]))
#define TEXT(type, member) #member, WEIRP_YAML_TEXT, offsetof(type, member)
#define LINE(type, member) .has_line = true, .line_offset = offsetof(type, member)
#define FLAG(type, member, default_on)                                                                                 \
    { #member, WEIRP_YAML_FLAG, offsetof(type, member), .fallback = default_on }
/* Whole numbers in a range. */
#define WHOLE(type, member, what, least, most, default_value)                                                          \
    {                                                                                                                  \
#member, WEIRP_YAML_COUNT, offsetof(type, member),                                                             \
            .right = "a whole number of " what ", from " #least " to " #most, .min = least, .max = most,               \
            .fallback = default_value                                                                                  \
    }
/* At most an hour: what waits longer is lost anyway. */
#define MILLISECONDS(type, member, least, default_value)                                                               \
    WHOLE(type, member, "milliseconds", least, 3600000, default_value)

/* ---- providers ---- */

static const weirp_yaml_key timeout_keys[] = {
    MILLISECONDS(weirp_file_timeouts, connect_ms, 1, 2000),
    MILLISECONDS(weirp_file_timeouts, first_token_ms, 1, 20000),
    MILLISECONDS(weirp_file_timeouts, idle_ms, 1, 30000),
    MILLISECONDS(weirp_file_timeouts, total_ms, 1, 300000),
};
static const weirp_yaml_map timeout_map = {"a provider's time limits", sizeof(weirp_file_timeouts),
                                           COUNT_OF(timeout_keys), timeout_keys};

static const char *const protocols[] = {"openai", "anthropic", "gemini", NULL}; /* as weirp_protocol */
static const weirp_yaml_key provider_keys[] = {
    {TEXT(weirp_file_provider, name), .required = true},
    {"protocol", WEIRP_YAML_CHOICE, offsetof(weirp_file_provider, protocol), .choices = protocols,
     LINE(weirp_file_provider, protocol_line)},
    {TEXT(weirp_file_provider, base_url), LINE(weirp_file_provider, base_url_line)},
    {TEXT(weirp_file_provider, key_env), LINE(weirp_file_provider, key_env_line)},
    {TEXT(weirp_file_provider, key_file), LINE(weirp_file_provider, key_file_line)},
    {TEXT(weirp_file_provider, ca_file), LINE(weirp_file_provider, ca_file_line)},
    {"headers", WEIRP_YAML_PAIRS, offsetof(weirp_file_provider, headers)},
    {"timeouts", WEIRP_YAML_MAP, offsetof(weirp_file_provider, timeouts), .map = &timeout_map},
};
static const weirp_yaml_map provider_map = {"a provider",
                                            sizeof(weirp_file_provider),
                                            COUNT_OF(provider_keys),
                                            provider_keys,
                                            .has_line = true,
                                            .line_offset = offsetof(weirp_file_provider, line)};

/* ---- models ---- */

static const weirp_yaml_key deployment_keys[] = {
    {TEXT(weirp_file_deployment, name)},
    {TEXT(weirp_file_deployment, provider), .required = true, LINE(weirp_file_deployment, provider_line)},
    {TEXT(weirp_file_deployment, model)},
    {"weight", WEIRP_YAML_NUMBER, offsetof(weirp_file_deployment, weight), .right = "a number from 0.001 to 1000",
     .min = 1e-3, .max = 1e3, .fallback = 1},
    {"default_max_output_tokens", WEIRP_YAML_NUMBER, offsetof(weirp_file_deployment, default_max_output_tokens),
     .right = "a number of tokens, from 1 to 1e9", .min = 1, .max = 1e9},
    FLAG(weirp_file_deployment, legacy_completions, 0),
    {"no_stream_options", WEIRP_YAML_FLAG, offsetof(weirp_file_deployment, no_stream_options),
     LINE(weirp_file_deployment, no_stream_options_line)},
    {"max_completion_tokens", WEIRP_YAML_FLAG, offsetof(weirp_file_deployment, max_completion_tokens),
     LINE(weirp_file_deployment, max_completion_tokens_line)},
};
static const weirp_yaml_map deployment_map = {"a deployment",
                                              sizeof(weirp_file_deployment),
                                              COUNT_OF(deployment_keys),
                                              deployment_keys,
                                              .has_line = true,
                                              .line_offset = offsetof(weirp_file_deployment, line)};

static const weirp_yaml_key ability_keys[] = {
    FLAG(weirp_abilities, tools, 1),
    FLAG(weirp_abilities, images, 1),
    FLAG(weirp_abilities, audio, 0),
    FLAG(weirp_abilities, json, 1),
};
static const weirp_yaml_map ability_map = {"what a model can do", sizeof(weirp_abilities), COUNT_OF(ability_keys),
                                           ability_keys};

static const weirp_yaml_key model_keys[] = {
    WEIRP_MODEL_KEYS(weirp_file_model, model),
    {"abilities", WEIRP_YAML_MAP, offsetof(weirp_file_model, abilities), .map = &ability_map},
    {"deployments", WEIRP_YAML_MAPS, offsetof(weirp_file_model, deployments), .map = &deployment_map},
};
static const weirp_yaml_map model_map = {
    "a model",  sizeof(weirp_file_model), COUNT_OF(model_keys),
    model_keys, .has_line = true,         .line_offset = offsetof(weirp_file_model, line)};

/* ---- the policy ---- */

#define USD "USD, a number of 0 or more, or .inf"
static const weirp_yaml_key policy_keys[] = {
    {TEXT(weirp_file_policy, name), LINE(weirp_file_policy, name_line)},
    {"value_usd", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, value_usd), .right = USD, .max = INFINITY,
     .fallback = 1, LINE(weirp_file_policy, value_line)},
    {"mu", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, mu), .right = "a number from 0 to 1", .max = 1,
     LINE(weirp_file_policy, mu_line)},
    {"latency_usd_per_s", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, latency_usd_per_s),
     .right = "USD a second, a number from 0 to 1e9", .max = 1e9, LINE(weirp_file_policy, price_line)},
    {"max_cost_usd", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, max_cost_usd), .right = USD, .max = INFINITY,
     .fallback = INFINITY, LINE(weirp_file_policy, max_cost_line)},
    {"min_quality", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, min_quality), .right = "a number from 0 to 1",
     .max = 1, LINE(weirp_file_policy, min_quality_line)},
    {"max_latency_ms", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, max_latency_ms),
     .right = "milliseconds, a number of 0 or more, or .inf", .max = INFINITY, .fallback = INFINITY,
     LINE(weirp_file_policy, max_latency_line)},
    {"threshold", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, threshold), .right = "a number from 0 to 1", .max = 1,
     .fallback = 0.5, LINE(weirp_file_policy, threshold_line)},
    {TEXT(weirp_file_policy, strong), LINE(weirp_file_policy, strong_line)},
    {TEXT(weirp_file_policy, weak), LINE(weirp_file_policy, weak_line)},
    {TEXT(weirp_file_policy, fixed), LINE(weirp_file_policy, fixed_line)},
    {"fallback", WEIRP_YAML_FLAG, offsetof(weirp_file_policy, fallback), .fallback = 1,
     LINE(weirp_file_policy, fallback_line)},
    {"novelty_limit", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, novelty_limit), .right = "a number from 0 to 1",
     .max = 1, .fallback = 0.999, LINE(weirp_file_policy, novelty_line)},
    {"explore_floor", WEIRP_YAML_NUMBER, offsetof(weirp_file_policy, explore_floor), .right = "a number from 0 to 0.5",
     .max = 0.5, LINE(weirp_file_policy, explore_line)},
    WHOLE(weirp_file_policy, seed, "any size", 0, 9007199254740992, 0),
};
static const weirp_yaml_map policy_map = {"the policy",          sizeof(weirp_file_policy),
                                          COUNT_OF(policy_keys), policy_keys,
                                          .has_line = true,      .line_offset = offsetof(weirp_file_policy, line)};

/* ---- the gateway itself ---- */

/* Sections are structs without a name in weirp_file: their members are given by their distance from the section's. */
#define SECTION(name, keys)                                                                                            \
    { #name, WEIRP_YAML_MAP, offsetof(weirp_file, name), .map = &(keys) }
typedef __typeof__(((weirp_file *)0)->auth) file_auth;
typedef __typeof__(((weirp_file *)0)->rollout) file_rollout;
typedef __typeof__(((weirp_file *)0)->limits) file_limits;
typedef __typeof__(((weirp_file *)0)->retry) file_retry;
typedef __typeof__(((weirp_file *)0)->breaker) file_breaker;
typedef __typeof__(((weirp_file *)0)->hedge) file_hedge;
typedef __typeof__(((weirp_file *)0)->log) file_log;
typedef __typeof__(((weirp_file *)0)->traffic) file_traffic;
typedef __typeof__(((weirp_file *)0)->budgets) file_budgets;
typedef __typeof__(((weirp_file *)0)->pacing) file_pacing;
typedef __typeof__(((weirp_file *)0)->shutdown) file_shutdown;

static const weirp_yaml_key auth_keys[] = {
    {"key_files", WEIRP_YAML_TEXTS, offsetof(file_auth, key_files), LINE(file_auth, key_files_line)},
    {"key_envs", WEIRP_YAML_TEXTS, offsetof(file_auth, key_envs), LINE(file_auth, key_envs_line)},
    FLAG(file_auth, virtual_keys, 0),
};
static const weirp_yaml_map auth_map = {"where clients' keys are", sizeof(file_auth), COUNT_OF(auth_keys), auth_keys};

static const char *const rollout_modes[] = {"shadow", "share", NULL}; /* see config_rollout.c */
static const weirp_yaml_key rollout_keys[] = {
    {TEXT(file_rollout, name), .required = true, LINE(file_rollout, name_line)},
    {"policy", WEIRP_YAML_MAP, offsetof(file_rollout, policy), .map = &policy_map},
    {"mode", WEIRP_YAML_CHOICE, offsetof(file_rollout, mode), .required = true, .choices = rollout_modes},
    {"steps", WEIRP_YAML_TEXTS, offsetof(file_rollout, steps), LINE(file_rollout, steps_line)},
    {"margin_quality", WEIRP_YAML_NUMBER, offsetof(file_rollout, margin_quality), .right = "a number from 0 to 1",
     .max = 1, .fallback = 0.02},
    {"margin_error", WEIRP_YAML_NUMBER, offsetof(file_rollout, margin_error), .right = "a number from 0 to 1", .max = 1,
     .fallback = 0.02},
    {"level", WEIRP_YAML_NUMBER, offsetof(file_rollout, level), .right = "a number from 0.5 to 0.9999", .min = 0.5,
     .max = 0.9999, .fallback = 0.95},
    WHOLE(file_rollout, min_feedback, "feedbacks", 1, 1000000000, 100),
    {"hold_hours", WEIRP_YAML_NUMBER, offsetof(file_rollout, hold_hours), .right = "hours, a number from 0 to 10000",
     .max = 1e4},
    {TEXT(file_rollout, webhook), LINE(file_rollout, webhook_line)},
};
static const weirp_yaml_map rollout_map = {
    "a rollout",  sizeof(file_rollout), COUNT_OF(rollout_keys),
    rollout_keys, .has_line = true,     .line_offset = offsetof(file_rollout, line)};

static const weirp_yaml_key limit_keys[] = {
    WHOLE(file_limits, header_bytes, "bytes", 1024, 1048576, 8192),
    WHOLE(file_limits, body_bytes, "bytes", 1024, 1073741824, 33554432),
    WHOLE(file_limits, answer_bytes, "bytes", 1024, 1073741824, 67108864),
    WHOLE(file_limits, concurrent, "requests", 1, 1000000, 10000),
    WHOLE(file_limits, connections, "connections", 1, 1000000, 10000),
    MILLISECONDS(file_limits, request_ms, 10, 600000),
    WHOLE(file_limits, client_idle_s, "seconds", 1, 3600, 75),
};
static const weirp_yaml_map limit_map = {"limits", sizeof(file_limits), COUNT_OF(limit_keys), limit_keys};

static const weirp_yaml_key retry_keys[] = {
    WHOLE(file_retry, max, "tries", 0, 15, 3), /* WEIRP_MAX_ATTEMPTS - 1 in src/router/record.h */
    MILLISECONDS(file_retry, base_ms, 1, 100),
    {"max_ms", WEIRP_YAML_COUNT, offsetof(file_retry, max_ms),
     .right = "a whole number of milliseconds, from 1 to 3600000", .min = 1, .max = 3600000, .fallback = 5000,
     LINE(file_retry, max_ms_line)},
    FLAG(file_retry, other_models, 1),
};
static const weirp_yaml_map retry_map = {"retries", sizeof(file_retry), COUNT_OF(retry_keys), retry_keys};

static const weirp_yaml_key breaker_keys[] = {
    WHOLE(file_breaker, failures, "failures", 1, 1000, 5),
    MILLISECONDS(file_breaker, window_ms, 100, 30000),
    MILLISECONDS(file_breaker, open_ms, 100, 15000),
};
static const weirp_yaml_map breaker_map = {"the circuit breakers", sizeof(file_breaker), COUNT_OF(breaker_keys),
                                           breaker_keys};

static const weirp_yaml_key hedge_keys[] = {
    FLAG(file_hedge, on, 0),
    {"max_share", WEIRP_YAML_NUMBER, offsetof(file_hedge, max_share), .right = "a number from 0 to 1", .max = 1,
     .fallback = 0.05},
    MILLISECONDS(file_hedge, least_ms, 1, 500),
};
static const weirp_yaml_map hedge_map = {"hedging", sizeof(file_hedge), COUNT_OF(hedge_keys), hedge_keys};

static const char *const log_formats[] = {"text", "json", NULL};                  /* as weirp_log_format */
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL}; /* as weirp_log_level */
static const weirp_yaml_key log_keys[] = {
    {"format", WEIRP_YAML_CHOICE, offsetof(file_log, format), .choices = log_formats, .fallback = WEIRP_LOG_TEXT},
    {"level", WEIRP_YAML_CHOICE, offsetof(file_log, level), .choices = log_levels, .fallback = WEIRP_LOG_INFO},
    FLAG(file_log, requests, 1),
};
static const weirp_yaml_map log_map = {"the log", sizeof(file_log), COUNT_OF(log_keys), log_keys};

static const weirp_yaml_key traffic_keys[] = {
    FLAG(file_traffic, on, 1),
    FLAG(file_traffic, prompts, 0),
    {"redact", WEIRP_YAML_TEXTS, offsetof(file_traffic, redact), LINE(file_traffic, redact_line)},
    MILLISECONDS(file_traffic, commit_ms, 1, 50),
    MILLISECONDS(file_traffic, refresh_ms, 10, 1000),
    WHOLE(file_traffic, queue_bytes, "bytes", 65536, 1073741824, 16777216),
};
static const weirp_yaml_map traffic_map = {"the traffic log", sizeof(file_traffic), COUNT_OF(traffic_keys),
                                           traffic_keys};

static const char *const periods[] = {"hour", "day", "week", "month", "total", NULL}; /* see config_budgets.c */
static const char *const exhausted[] = {"cheaper", "refuse", NULL};                   /* as weirp_exhausted */
#define MATCH(name, dim)                                                                                               \
    { #name, WEIRP_YAML_TEXT, offsetof(weirp_file_budget, match[dim]), LINE(weirp_file_budget, match_line[dim]) }
static const weirp_yaml_key listed_keys[] = {
    {TEXT(weirp_file_budget, name), .required = true, LINE(weirp_file_budget, name_line)},
    {TEXT(weirp_file_budget, limit), .required = true, LINE(weirp_file_budget, limit_line)},
    {"per", WEIRP_YAML_CHOICE, offsetof(weirp_file_budget, per), .required = true, .choices = periods},
    {TEXT(weirp_file_budget, zone), LINE(weirp_file_budget, zone_line)},
    MATCH(key, WEIRP_DIM_KEY),
    MATCH(team, WEIRP_DIM_TEAM),
    MATCH(user, WEIRP_DIM_USER),
    MATCH(tag, WEIRP_DIM_TAG),
    MATCH(model, WEIRP_DIM_MODEL),
    MATCH(provider, WEIRP_DIM_PROVIDER),
    FLAG(weirp_file_budget, soft, 0),
    {"when_exhausted", WEIRP_YAML_CHOICE, offsetof(weirp_file_budget, when_exhausted), .choices = exhausted},
    {"warn", WEIRP_YAML_TEXTS, offsetof(weirp_file_budget, warn), LINE(weirp_file_budget, warn_line)},
};
static const weirp_yaml_map listed_map = {
    "a budget",  sizeof(weirp_file_budget), COUNT_OF(listed_keys),
    listed_keys, .has_line = true,          .line_offset = offsetof(weirp_file_budget, line)};

static const char *const refusals[] = {"429", "402", NULL};
static const weirp_yaml_key budget_keys[] = {
    MILLISECONDS(file_budgets, wait_ms, 0, 10000),
    {"refuse_status", WEIRP_YAML_CHOICE, offsetof(file_budgets, refuse_status), .choices = refusals},
    {TEXT(file_budgets, webhook), LINE(file_budgets, webhook_line)},
    {"list", WEIRP_YAML_MAPS, offsetof(file_budgets, list), .map = &listed_map},
};
static const weirp_yaml_map budget_map = {"budgets", sizeof(file_budgets), COUNT_OF(budget_keys), budget_keys};

static const char *const precedences[] = {"budget", "floor", NULL};
static const weirp_yaml_key pacing_keys[] = {
    {TEXT(file_pacing, budget), .required = true, LINE(file_pacing, budget_line)},
    {"min_quality", WEIRP_YAML_NUMBER, offsetof(file_pacing, min_quality), .right = "a number from 0 to 1", .max = 1},
    {"precedence", WEIRP_YAML_CHOICE, offsetof(file_pacing, precedence), .choices = precedences},
    {"max_latency_ms", WEIRP_YAML_NUMBER, offsetof(file_pacing, max_latency_ms),
     .right = "milliseconds, a number of 0 or more, or .inf", .max = INFINITY, .fallback = INFINITY},
    {"expected_requests", WEIRP_YAML_NUMBER, offsetof(file_pacing, expected_requests),
     .right = "a number of requests, from 0 to 1e12", .max = 1e12},
};
static const weirp_yaml_map pacing_map = {"pacing",    sizeof(file_pacing), COUNT_OF(pacing_keys),
                                          pacing_keys, .has_line = true,    .line_offset = offsetof(file_pacing, line)};

static const weirp_yaml_key shutdown_keys[] = {
    MILLISECONDS(file_shutdown, drain_ms, 0, 30000),
};
static const weirp_yaml_map shutdown_map = {"the end", sizeof(file_shutdown), COUNT_OF(shutdown_keys), shutdown_keys};

static const weirp_yaml_key file_keys[] = {
    {TEXT(weirp_file, listen), .text = "127.0.0.1:8080", LINE(weirp_file, listen_line)},
    WHOLE(weirp_file, threads, "threads", 0, 64, 0),
    WHOLE(weirp_file, busy_poll_us, "microseconds", 0, 10000, 0),
    {TEXT(weirp_file, store), .required = true, LINE(weirp_file, store_line)},
    SECTION(auth, auth_map),
    {"policy", WEIRP_YAML_MAP, offsetof(weirp_file, policy), .map = &policy_map},
    SECTION(rollout, rollout_map),
    {"providers", WEIRP_YAML_MAPS, offsetof(weirp_file, providers), .required = true, .map = &provider_map},
    {"models", WEIRP_YAML_MAPS, offsetof(weirp_file, models), .required = true, .map = &model_map},
    {TEXT(weirp_file, embeddings), LINE(weirp_file, embeddings_line)},
    SECTION(limits, limit_map),
    SECTION(retry, retry_map),
    SECTION(breaker, breaker_map),
    SECTION(hedge, hedge_map),
    SECTION(log, log_map),
    SECTION(traffic, traffic_map),
    SECTION(budgets, budget_map),
    SECTION(pacing, pacing_map),
    SECTION(shutdown, shutdown_map),
};
const weirp_yaml_map weirp_file_schema = {"the gateway's configuration", sizeof(weirp_file), COUNT_OF(file_keys),
                                          file_keys};

/* policy_options.h: the options of a policy, the same in every command that decides.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_POLICY_OPTIONS_H
#define WEIR_TOOLS_POLICY_OPTIONS_H

#include <math.h>

#include "tools/cli.h"

typedef struct cli_policy {
    const char *policy; /* NULL: told by the other options, else the command's default */
    const char *fixed, *strong, *weak;
    double mu; /* NAN: not given */
    bool value_given, max_cost_given, min_quality_given, max_latency_given, threshold_given, explore_given,
        no_fallback;
    weir_policy_options o; /* what needs no names */
} cli_policy;

/* Rows of an option table for a `cli_policy p`, which begins as cli_policy_defaults(). */
/* clang-format off */
#define CLI_POLICY_OPTIONS(p)                                                                                          \
    {"value", 'v', CLI_REAL, &(p).o.value_usd, "USD", "what a fully right answer is worth; inf: only quality counts",  \
     .lo = 0, .hi = INFINITY, .given = &(p).value_given},                                                              \
    {"mu", 0, CLI_REAL, &(p).mu, "X", "the same knob as CARROT's convex weight: value = (1 - X) / X", .lo = 0, .hi = 1}, \
    {"policy", 'p', CLI_CHOICE, &(p).policy, "NAME", "how to decide", .choice = weir_policy_name},                     \
    {"max-cost", 0, CLI_REAL, &(p).o.max_cost_usd, "USD", "expected cost at most this",                                \
     .lo = 0, .hi = INFINITY, .given = &(p).max_cost_given},                                                           \
    {"min-quality", 0, CLI_REAL, &(p).o.min_quality, "Q",                                                              \
     "expected quality at least this; without --value: the cheapest model that reaches it",                            \
     .lo = 0, .hi = 1, .given = &(p).min_quality_given},                                                               \
    {"max-latency", 0, CLI_REAL, &(p).o.max_latency_ms, "MS", "expected latency at most this",                         \
     .lo = 0, .hi = INFINITY, .given = &(p).max_latency_given},                                                        \
    {"latency-price", 0, CLI_REAL, &(p).o.latency_usd_per_s, "USD", "price of a second of waiting", .lo = 0, .hi = 1e9}, \
    {"fixed", 0, CLI_TEXT, &(p).fixed, "MODEL", "always this model"},                                                  \
    {"strong", 0, CLI_TEXT, &(p).strong, "MODEL", "the threshold policy's strong model"},                              \
    {"weak", 0, CLI_TEXT, &(p).weak, "MODEL", "the threshold policy's weak model"},                                    \
    {"threshold", 0, CLI_REAL, &(p).o.threshold, "P", "the strong model if it is better with at least this chance",    \
     .given = &(p).threshold_given},                                                                                   \
    {"explore", 0, CLI_REAL, &(p).o.explore_floor, "P", "every model's probability is at least this",            \
     .lo = 0, .hi = 0.5, .given = &(p).explore_given},                                                                 \
    {"novelty-limit", 0, CLI_REAL, &(p).o.novelty_limit, "X", "be careful with prompts more novel than this",          \
     .lo = 0, .hi = 1},                                                                                                \
    {"no-fallback", 0, CLI_FLAG, &(p).no_fallback, NULL, "never fall back to minimax regret"},                         \
    {"seed", 0, CLI_SEED, &(p).o.seed, "N", "of the random numbers"}
/* clang-format on */

cli_policy cli_policy_defaults(void);
/* CLI_GO: the policy is p->policy or told by the other options, and nothing contradicts; names aren't looked up yet. */
int cli_policy_check(const char *command, cli_policy *p);
/* Looks names up and checks the whole. CLI_GO, or CLI_USAGE after saying what is wrong. */
int cli_policy_resolve(const char *command, const cli_policy *p, const cli_names *models, weir_policy_options *out);

#endif

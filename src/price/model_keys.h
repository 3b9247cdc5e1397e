/* model_keys.h: a model's keys in YAML: the same in pool files and in the gateway's configuration.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_MODEL_KEYS_H
#define WEIRP_MODEL_KEYS_H

#include <math.h>

#include "src/base/yaml.h"
#include "weir/pool.h"

#define WEIRP_PRICE_KEY(type, member, key)                                                                             \
    {                                                                                                                  \
#key, WEIRP_YAML_NUMBER, offsetof(type, member.key), .right = "USD per million tokens, a number of 0 or more", \
                                                             .max = 1e9, .fallback = NAN                               \
    }
#define WEIRP_LIMIT_KEY(type, member, key)                                                                             \
    {                                                                                                                  \
#key, WEIRP_YAML_NUMBER, offsetof(type, member.key),                                                           \
            .right = "a number of tokens, 1 or more (leave it out for no limit)", .min = 1, .max = INFINITY,           \
            .fallback = INFINITY                                                                                       \
    }

/* Rows of a key table for a struct `type` with a weir_model `member`. */
#define WEIRP_MODEL_KEYS(type, member)                                                                                 \
    {"name", WEIRP_YAML_TEXT, offsetof(type, member.name), .required = true, .right = "a text that isn't empty"},      \
        WEIRP_PRICE_KEY(type, member, input_usd_per_mtok), WEIRP_PRICE_KEY(type, member, output_usd_per_mtok),         \
        WEIRP_PRICE_KEY(type, member, cached_input_usd_per_mtok),                                                      \
        WEIRP_PRICE_KEY(type, member, cache_write_usd_per_mtok),                                                       \
        WEIRP_PRICE_KEY(type, member, audio_input_usd_per_mtok),                                                       \
        WEIRP_PRICE_KEY(type, member, reasoning_usd_per_mtok),                                                         \
        WEIRP_PRICE_KEY(type, member, audio_output_usd_per_mtok),                                                      \
        {"request_usd", WEIRP_YAML_NUMBER, offsetof(type, member.request_usd),                                         \
         .right = "USD a request, a number of 0 or more", .max = 1e9},                                                 \
        WEIRP_LIMIT_KEY(type, member, max_input_tokens), WEIRP_LIMIT_KEY(type, member, max_output_tokens)

#endif

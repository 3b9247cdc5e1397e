/* logged_map.h: a mapping: where a foreign log's columns are (docs/formats.md, "Log mapping").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGGED_MAP_H
#define WEIRP_LOGGED_MAP_H

#include "src/base/yaml.h"
#include "weir/pool.h"

/* X(member): texts of a row that are one column each, or one path. */
#define WEIRP_MAP_TEXTS(X)                                                                                             \
    X(id)                                                                                                              \
    X(time)                                                                                                            \
    X(session)                                                                                                         \
    X(segment)                                                                                                         \
    X(logger)                                                                                                          \
    X(chosen)                                                                                                          \
    X(answered)

/* X(member): numbers of a row, and flags, as its texts. Those of `metrics` and `flags` stand under these keys. */
#define WEIRP_MAP_METRICS(X)                                                                                           \
    X(quality)                                                                                                         \
    X(cost)                                                                                                            \
    X(latency_ms)                                                                                                      \
    X(latency_s)                                                                                                       \
    X(error)                                                                                                           \
    X(status)                                                                                                          \
    X(input_tokens)                                                                                                    \
    X(cached_input_tokens)                                                                                             \
    X(output_tokens)                                                                                                   \
    X(reasoning_tokens)

#define WEIRP_MAP_FLAGS(X)                                                                                             \
    X(cached)                                                                                                          \
    X(forced)                                                                                                          \
    X(fallen_back)                                                                                                     \
    X(careful)

typedef enum weirp_map_format { WEIRP_MAP_CSV, WEIRP_MAP_JSONL } weirp_map_format;

#define WEIRP_MAP_MEMBER(name) char *name;
typedef struct weirp_log_map {
    int format; /* weirp_map_format */
    WEIRP_MAP_TEXTS(WEIRP_MAP_MEMBER)
    char *propensity;
    char *propensities, *target, *features; /* several columns, or one path */
    weirp_yaml_list by_logger;              /* of weirp_yaml_pair: a policy's name, a column */
    struct {
        WEIRP_MAP_METRICS(WEIRP_MAP_MEMBER)
        weirp_yaml_list scale; /* of texts: what 0 and 1 are in the log */
        size_t scale_line;
    } metrics;
    struct {
        WEIRP_MAP_FLAGS(WEIRP_MAP_MEMBER)
    } flags;
    struct {
        char *quality, *cost;
    } estimates;
    char *pool_file; /* key `pool` */

    /* not of the file */
    double scale_lo, scale_hi;
    weir_pool *pool;
} weirp_log_map;
#undef WEIRP_MAP_MEMBER

/* Reads and checks. Free its contents with weirp_log_map_free. */
weir_status weirp_log_map_load(weirp_log_map *map, const char *path, weir_error *err);
void weirp_log_map_free(weirp_log_map *map);

#endif

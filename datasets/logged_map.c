/* logged_map.c: mappings, read and checked. SPDX-License-Identifier: GPL-3.0-or-later */
#include "datasets/logged_map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/base/words.h"

#define COUNT_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ---- the schema ---- */

#define RIGHT          "the name of a column, or a path such as usage.prompt_tokens"
#define OF(member)     offsetof(weirp_log_map, member)
#define TEXT_KEY(name) {#name, WEIRP_YAML_TEXT, OF(name), .right = RIGHT},

/* Offsets within a struct that has no name of its own. */
#define IN(part, member) (OF(part.member) - OF(part))
#define METRIC_KEY(name) {#name, WEIRP_YAML_TEXT, IN(metrics, name), .right = RIGHT},
#define FLAG_KEY(name)   {#name, WEIRP_YAML_TEXT, IN(flags, name), .right = RIGHT},
#define FAMILY           "columns such as prop_*, one a model, or the path of an object by model"

static const weirp_yaml_key metric_keys[] = {
    WEIRP_MAP_METRICS(METRIC_KEY){"scale", WEIRP_YAML_TEXTS, IN(metrics, scale),
                                  .right = "two numbers: what a quality of 0 and of 1 is in the log, such as [1, 5]",
                                  .has_line = true, .line_offset = IN(metrics, scale_line)},
};
static const weirp_yaml_map metric_map = {"the metrics", sizeof(((weirp_log_map *)0)->metrics), COUNT_OF(metric_keys),
                                          metric_keys};

static const weirp_yaml_key flag_keys[] = {WEIRP_MAP_FLAGS(FLAG_KEY)};
static const weirp_yaml_map flag_map = {"the flags", sizeof(((weirp_log_map *)0)->flags), COUNT_OF(flag_keys),
                                        flag_keys};

static const weirp_yaml_key estimate_keys[] = {
    {"quality", WEIRP_YAML_TEXT, IN(estimates, quality), .right = FAMILY},
    {"cost", WEIRP_YAML_TEXT, IN(estimates, cost), .right = FAMILY},
};
static const weirp_yaml_map estimate_map = {"the estimates", sizeof(((weirp_log_map *)0)->estimates),
                                            COUNT_OF(estimate_keys), estimate_keys};

static const char *const formats[] = {"csv", "jsonl", NULL}; /* as weirp_map_format */
static const weirp_yaml_key keys[] = {
    {"format", WEIRP_YAML_CHOICE, OF(format), .choices = formats, .required = true},
    WEIRP_MAP_TEXTS(TEXT_KEY){"propensity", WEIRP_YAML_TEXT, OF(propensity), .right = RIGHT},
    {"propensities", WEIRP_YAML_TEXT, OF(propensities), .right = FAMILY},
    {"target", WEIRP_YAML_TEXT, OF(target), .right = FAMILY},
    {"features", WEIRP_YAML_TEXT, OF(features), .right = "columns such as x_*, or the path of an array of numbers"},
    {"by_logger", WEIRP_YAML_PAIRS, OF(by_logger), .right = "a map from logging policies to columns or paths"},
    {"metrics", WEIRP_YAML_MAP, OF(metrics), .map = &metric_map},
    {"flags", WEIRP_YAML_MAP, OF(flags), .map = &flag_map},
    {"estimates", WEIRP_YAML_MAP, OF(estimates), .map = &estimate_map},
    {"pool", WEIRP_YAML_TEXT, OF(pool_file), .right = "the path of a pool file"},
};
static const weirp_yaml_map schema = {"a mapping", sizeof(weirp_log_map), COUNT_OF(keys), keys};

/* ---- what the schema can't say ---- */

static weir_status lacks(const char *name, weir_error *err, const char *key, const char *why) {
    return weirp_fail(err, WEIR_PARSE, 1, "%s: key \"%s\" is missing: %s", name, key, why);
}

static weir_status check_scale(weirp_log_map *map, const char *name, weir_error *err) {
    char *const *text = map->metrics.scale.items;
    map->scale_lo = 0;
    map->scale_hi = 1;
    if (!map->metrics.scale.n) return WEIR_OK;
    if (map->metrics.scale.n == 2 && weirp_number_parse(text[0], strlen(text[0]), &map->scale_lo) &&
        weirp_number_parse(text[1], strlen(text[1]), &map->scale_hi) && isfinite(map->scale_lo) &&
        isfinite(map->scale_hi) && map->scale_lo != map->scale_hi)
        return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, map->metrics.scale_line,
                      "%s:%zu: key \"scale\" must be two different numbers: what a quality of 0 and of 1 is in the log",
                      name, map->metrics.scale_line);
}

static weir_status check(weirp_log_map *map, const char *name, weir_error *err) {
    bool tokens = map->metrics.input_tokens || map->metrics.output_tokens;
    if (!map->chosen) return lacks(name, err, "chosen", "it must name the column of the model that was chosen");
    if (!map->propensity && !map->propensities)
        return lacks(name, err, "propensity",
                     "it, or \"propensities\", must name the chance with which models were chosen");
    if (tokens && !map->pool_file) return lacks(name, err, "pool", "tokens become a cost by the prices of a pool file");
    if (map->pool_file && (!map->metrics.input_tokens || !map->metrics.output_tokens))
        return lacks(name, err, map->metrics.input_tokens ? "output_tokens" : "input_tokens",
                     "a cost by the pool's prices needs input and output tokens");
    if (map->metrics.latency_ms && map->metrics.latency_s)
        return weirp_fail(err, WEIR_PARSE, 1, "%s: keys \"latency_ms\" and \"latency_s\" exclude each other", name);
    return check_scale(map, name, err);
}

/* A relative path is relative to the mapping, so that the two can be moved together. */
static weir_status load_pool(weirp_log_map *map, const char *path, weir_error *err) {
    const char *slash = strrchr(path, '/');
    size_t folder = slash && *map->pool_file != '/' ? (size_t)(slash - path) + 1 : 0, n = strlen(map->pool_file);
    char *whole = weirp_array(folder + n + 1, 1);
    if (!whole) return weirp_nomem(err);
    memcpy(whole, path, folder);
    memcpy(whole + folder, map->pool_file, n);
    weir_status st = weir_pool_load(&map->pool, whole, err);
    free(whole);
    return st;
}

static weir_status finish(weirp_log_map *map, const char *name, weir_error *err) {
    weir_status st = check(map, name, err);
    if (st == WEIR_OK && map->pool_file) st = load_pool(map, name, err);
    if (st != WEIR_OK) weirp_log_map_free(map);
    return st;
}

weir_status weirp_log_map_load(weirp_log_map *map, const char *path, weir_error *err) {
    weir_status st = weirp_yaml_load(path, &schema, map, err);
    return st == WEIR_OK ? finish(map, path, err) : st;
}

void weirp_log_map_free(weirp_log_map *map) {
    weir_pool_free(map->pool);
    map->pool = NULL;
    weirp_yaml_free(&schema, map);
}

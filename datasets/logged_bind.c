/* logged_bind.c: others' CSV and JSON lines, through a mapping. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/csv.h"
#include "datasets/jline.h"
#include "datasets/logged_map.h"
#include "datasets/logged_parts.h"
#include "src/base/words.h"
#include "src/price/price.h"
#include "src/price/usage.h"

#define FIELD(name) F_##name,
enum { WEIRP_MAP_TEXTS(FIELD) F_propensity, WEIRP_MAP_METRICS(FIELD) WEIRP_MAP_FLAGS(FIELD) N_FIELDS };
#undef FIELD

static const char *const field_key[] = {
#define KEY(name) #name,
    WEIRP_MAP_TEXTS(KEY) "propensity", WEIRP_MAP_METRICS(KEY) WEIRP_MAP_FLAGS(KEY)
#undef KEY
};

enum { PROPENSITIES, TARGET, QUALITY_HAT, COST_HAT, FEATURES, N_FAMILIES };
static const char *const family_key[] = {"propensities", "target", "estimates.quality", "estimates.cost", "features"};

enum { MAX_STEPS = 16, MAX_LOGGERS = 64, MAX_FEATURES = 4096 };

/* "usage.prompt_tokens": names of members, or places in an array. "\." is a point within a name. */
typedef struct path {
    char *text; /* new; the steps, each NUL-terminated. NULL: not mapped */
    size_t n;
    const char *step[MAX_STEPS];
    bool prefix; /* the last step is how several members' names begin */
} path;

typedef struct column {
    size_t at, model; /* place in the header; model, or number of the feature */
} column;

typedef struct family {
    path path;
    column *column; /* (n) CSV */
    size_t n, capacity;
} family;

/* A CSV's field or a JSON value. */
typedef struct cell {
    enum { NOTHING, TEXT, YES, NO, PIECES } type;
    const char *text;
    size_t len;
} cell;

typedef struct bound {
    weirp_log_map map;
    path field[N_FIELDS], logger[MAX_LOGGERS];
    size_t column[N_FIELDS], logger_column[MAX_LOGGERS]; /* CSV; WEIRP_JNONE: not mapped */
    const char *logger_name[MAX_LOGGERS];                /* borrowed from the map */
    size_t n_loggers, n_columns;
    family family[N_FAMILIES];
    weirp_csv csv;
    weirp_jline json;
    const weir_model **price; /* (n_priced) by model; NULL: the pool hasn't got it */
    size_t n_priced, price_capacity;
} bound;

static void close_mapped(weirp_logged *l) {
    bound *b = l->source;
    for (size_t f = 0; f < N_FIELDS; f++) free(b->field[f].text);
    for (size_t i = 0; i < b->n_loggers; i++) free(b->logger[i].text);
    for (size_t f = 0; f < N_FAMILIES; f++) {
        free(b->family[f].path.text);
        free(b->family[f].column);
    }
    weirp_csv_free(&b->csv);
    weirp_jline_free(&b->json);
    weirp_log_map_free(&b->map);
    free(b->price);
    free(b);
}

/* ---- paths ---- */

static weir_status split(path *p, const char *text, const char *key, const weirp_logged *l, weir_error *err) {
    size_t out = 0;
    if (!text) return WEIR_OK;
    p->text = weirp_strndup(text, strlen(text));
    if (!p->text) return weirp_nomem(err);
    p->step[p->n++] = p->text;
    for (const char *s = text; *s; s++) {
        if (*s == '\\' && s[1] == '.') {
            p->text[out++] = *++s;
        } else if (*s == '.') {
            if (p->n == MAX_STEPS)
                return weirp_fail(err, WEIR_PARSE, 0, "%s: key \"%s\" has more than %d steps", l->options.map, key,
                                  MAX_STEPS);
            p->text[out++] = '\0';
            p->step[p->n++] = p->text + out;
        } else {
            p->text[out++] = *s;
        }
    }
    p->prefix = out && p->text[out - 1] == '*';
    if (p->prefix) out--;
    p->text[out] = '\0';
    return WEIR_OK;
}

static size_t nth(const weirp_jline *j, size_t array, const char *step) {
    size_t want = 0, i = weirp_jline_first(array);
    if (!*step || strlen(step) > 6) return WEIRP_JNONE;
    for (; *step; step++) {
        if (*step < '0' || *step > '9') return WEIRP_JNONE;
        want = want * 10 + (size_t)(*step - '0');
    }
    while (want-- && i < j->value[array].next) i = weirp_jline_after(j, i);
    return i < j->value[array].next ? i : WEIRP_JNONE;
}

/* The value that the first n steps lead to. */
static size_t follow(weirp_jline *j, const path *p, size_t n) {
    size_t at = 0;
    for (size_t i = 0; i < n && at != WEIRP_JNONE; i++)
        at = j->value[at].type == WEIRP_JARRAY ? nth(j, at, p->step[i])
                                               : weirp_jline_member(j, at, p->step[i], strlen(p->step[i]));
    return at;
}

/* ---- cells ---- */

static weir_status json_cell(weirp_logged *l, weirp_jline *j, const char *key, size_t at, cell *c, weir_error *err) {
    *c = (cell){NOTHING, "", 0};
    if (at == WEIRP_JNONE) return WEIR_OK;
    switch ((weirp_jtype)j->value[at].type) {
    case WEIRP_JNULL: break;
    case WEIRP_JTRUE: *c = (cell){YES, "true", 4}; break;
    case WEIRP_JFALSE: *c = (cell){NO, "false", 5}; break;
    case WEIRP_JOBJECT:
    case WEIRP_JARRAY: c->type = PIECES; break;
    case WEIRP_JNUMBER:
    case WEIRP_JTEXT:
        c->text = weirp_jline_text(j, at, &c->len);
        if (!c->text) return weirp_logged_wrong(l, err, key, "has an escape that JSON doesn't know, or a NUL");
        if (c->len) c->type = TEXT;
        break;
    }
    return WEIR_OK;
}

static weir_status csv_cell(weirp_logged *l, const weirp_csv *csv, const char *key, size_t at, cell *c,
                            weir_error *err) {
    *c = (cell){NOTHING, "", 0};
    if (at == WEIRP_JNONE) return WEIR_OK;
    c->text = weirp_csv_field(csv, at, &c->len);
    if (memchr(c->text, 0, c->len)) return weirp_logged_wrong(l, err, key, "has a NUL");
    if (c->len) c->type = TEXT;
    return WEIR_OK;
}

static weir_status get(weirp_logged *l, size_t field, cell *c, weir_error *err) {
    bound *b = l->source;
    if (b->map.format == WEIRP_MAP_CSV) return csv_cell(l, &b->csv, field_key[field], b->column[field], c, err);
    *c = (cell){NOTHING, "", 0};
    if (!b->field[field].text) return WEIR_OK;
    return json_cell(l, &b->json, field_key[field], follow(&b->json, &b->field[field], b->field[field].n), c, err);
}

/* NAN where there is nothing. */
static weir_status number_of(weirp_logged *l, const char *key, const cell *c, double *out, weir_error *err) {
    char shown[40];
    *out = NAN;
    if (c->type == NOTHING) return WEIR_OK;
    if (c->type == PIECES) return weirp_logged_wrong(l, err, key, "is an object or an array: must be a number");
    if (c->type == YES || c->type == NO) {
        *out = c->type == YES;
        return WEIR_OK;
    }
    if (weirp_fast_number(c->text, c->len, out) && isfinite(*out)) return WEIR_OK;
    return weirp_logged_wrong(l, err, key, "is \"%s\": must be a number",
                              weirp_excerpt(shown, sizeof shown, c->text, c->len));
}

static weir_status get_number(weirp_logged *l, size_t field, double *out, weir_error *err) {
    cell c;
    weir_status st = get(l, field, &c, err);
    return st == WEIR_OK ? number_of(l, field_key[field], &c, out, err) : st;
}

static weir_status get_text(weirp_logged *l, size_t field, const char **out, weir_error *err) {
    cell c;
    weir_status st = get(l, field, &c, err);
    if (st != WEIR_OK) return st;
    if (c.type == PIECES)
        return weirp_logged_wrong(l, err, field_key[field], "is an object or an array: must be a text");
    if (weirp_utf8_valid(c.text, c.len) < c.len)
        return weirp_logged_wrong(l, err, field_key[field], "isn't UTF-8: must be a text");
    *out = c.text;
    return WEIR_OK;
}

static weir_status get_flag(weirp_logged *l, size_t field, uint32_t flag, weir_error *err) {
    static const char *const yes[] = {"1", "true", "True", "TRUE", "yes", "t"};
    static const char *const no[] = {"0", "false", "False", "FALSE", "no", "f"};
    cell c;
    weir_status st = get(l, field, &c, err);
    if (st != WEIR_OK || c.type == NOTHING || c.type == NO) return st;
    for (size_t i = 0; c.type == TEXT && i < sizeof yes / sizeof *yes; i++) {
        if (!strcmp(c.text, no[i])) return WEIR_OK;
        if (!strcmp(c.text, yes[i])) c.type = YES;
    }
    if (c.type != YES) return weirp_logged_wrong(l, err, field_key[field], "must be true or false, 1 or 0");
    l->row.flags |= flag;
    return WEIR_OK;
}

/* ---- families: something about every model ---- */

static double *array_of(weirp_logged *l, size_t which) {
    double *const arrays[] = {l->propensity, l->target, l->quality_hat, l->cost_hat};
    return arrays[which];
}

static const unsigned family_has[] = {HAS_PROPENSITY, HAS_TARGET, HAS_QUALITY, HAS_COST, HAS_DENSE};

static weir_status csv_family(weirp_logged *l, size_t which, weir_error *err) {
    bound *b = l->source;
    const family *f = &b->family[which];
    weir_status st = WEIR_OK;
    if (which == FEATURES && f->n) st = weirp_logged_dense(l, f->n, err);
    for (size_t i = 0; st == WEIR_OK && i < f->n; i++) {
        cell c;
        double v;
        st = csv_cell(l, &b->csv, family_key[which], f->column[i].at, &c, err);
        if (st == WEIR_OK) st = number_of(l, family_key[which], &c, &v, err);
        if (st != WEIR_OK) return st;
        if (which == FEATURES) {
            l->dense[i] = (float)v;
        } else if (c.type != NOTHING) {
            array_of(l, which)[f->column[i].model] = v;
            l->has |= family_has[which];
        }
    }
    return st;
}

/* The row that has no numbers for anything is one that doesn't know: {} and null are the same. */
static weir_status json_object(weirp_logged *l, size_t which, size_t at, const char *prefix, weir_error *err) {
    weirp_jline *j = &((bound *)l->source)->json;
    size_t skip = strlen(prefix), end = j->value[at].next;
    for (size_t i = weirp_jline_first(at); i < end; i = weirp_jline_after(j, i + 1)) {
        size_t len, model;
        double v;
        const char *name = weirp_jline_text(j, i, &len);
        if (!name) return weirp_logged_wrong(l, err, family_key[which], "has a name with a wrong escape, or a NUL");
        if (len <= skip || memcmp(name, prefix, skip) != 0) {
            if (skip) continue;
        }
        if (j->value[i + 1].type == WEIRP_JNULL) continue;
        if (!weirp_jline_number(j, i + 1, &v) || !isfinite(v)) {
            char shown[64];
            return weirp_logged_wrong(l, err, family_key[which], "has something else than a number for \"%s\"",
                                      weirp_excerpt(shown, sizeof shown, name, len));
        }
        weir_status st = weirp_logged_index(l, family_key[which], name + skip, len - skip, &model, err);
        if (st != WEIR_OK) return st;
        array_of(l, which)[model] = v;
        l->has |= family_has[which];
    }
    return WEIR_OK;
}

static weir_status json_features(weirp_logged *l, size_t at, weir_error *err) {
    weirp_jline *j = &((bound *)l->source)->json;
    size_t n = 0;
    if (j->value[at].type != WEIRP_JARRAY) return weirp_logged_wrong(l, err, "features", "must be an array of numbers");
    for (size_t i = weirp_jline_first(at); i < j->value[at].next; i = weirp_jline_after(j, i), n++) {
        double v;
        if (n == MAX_FEATURES) return weirp_logged_wrong(l, err, "features", "has more than %d numbers", MAX_FEATURES);
        if (!weirp_jline_number(j, i, &v)) return weirp_logged_wrong(l, err, "features", "must be an array of numbers");
        weir_status st = weirp_logged_dense(l, n + 1, err);
        if (st != WEIR_OK) return st;
        l->dense[n] = (float)v;
    }
    return WEIR_OK;
}

static weir_status json_family(weirp_logged *l, size_t which, weir_error *err) {
    bound *b = l->source;
    const path *p = &b->family[which].path;
    if (!p->text) return WEIR_OK;
    size_t at = follow(&b->json, p, p->prefix ? p->n - 1 : p->n);
    if (at == WEIRP_JNONE || b->json.value[at].type == WEIRP_JNULL) return WEIR_OK;
    if (which == FEATURES) return json_features(l, at, err);
    if (b->json.value[at].type != WEIRP_JOBJECT)
        return weirp_logged_wrong(l, err, family_key[which], "must be an object of numbers by model");
    return json_object(l, which, at, p->prefix ? p->step[p->n - 1] : "", err);
}

static weir_status get_loggers(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    bool any = false;
    if (!b->n_loggers) return WEIR_OK;
    weir_status st = weirp_logged_loggers(l, b->n_loggers, err);
    l->row.loggers = b->logger_name;
    for (size_t i = 0; st == WEIR_OK && i < b->n_loggers; i++) {
        cell c;
        st = b->map.format == WEIRP_MAP_CSV
                 ? csv_cell(l, &b->csv, "by_logger", b->logger_column[i], &c, err)
                 : json_cell(l, &b->json, "by_logger", follow(&b->json, &b->logger[i], b->logger[i].n), &c, err);
        if (st == WEIR_OK) st = number_of(l, "by_logger", &c, &l->by_logger[i], err);
        if (st == WEIR_OK) any |= c.type != NOTHING;
    }
    if (!any) l->has &= ~(unsigned)HAS_BY_LOGGER;
    return st;
}

/* ---- rows ---- */

/* A model that the pool lacks has no known cost, which is told once: to leave its rows out would bend every mean. */
static void look_up_price(weirp_logged *l, size_t model) {
    bound *b = l->source;
    size_t at = weir_pool_find(b->map.pool, l->models.text[model]);
    char name[64], text[WEIR_ERROR_TEXT];
    b->price[model] = at == (size_t)-1 ? NULL : &b->map.pool->models[at];
    if (b->price[model] || !l->options.warning) return;
    weirp_excerpt(name, sizeof name, l->models.text[model], l->models.len[model]);
    snprintf(text, sizeof text, "%s:%zu: the pool of %s has no model \"%s\": what it costs is unknown", l->path,
             l->row.line, l->options.map, name);
    l->options.warning(l->options.warning_user, text);
}

static weir_status price_of(weirp_logged *l, size_t model, const weir_model **out, weir_error *err) {
    bound *b = l->source;
    if (!weirp_reserve((void **)&b->price, &b->price_capacity, l->models.n, sizeof *b->price)) return weirp_nomem(err);
    for (; b->n_priced < l->models.n; b->n_priced++) look_up_price(l, b->n_priced);
    *out = b->price[model];
    return WEIR_OK;
}

static weir_status get_tokens(weirp_logged *l, size_t field, int64_t *out, bool *known, weir_error *err) {
    double v;
    weir_status st = get_number(l, field, &v, err);
    *known = !isnan(v);
    *out = 0;
    if (st != WEIR_OK || !*known) return st;
    if (!(v >= 0 && v <= 1e15) || v != floor(v))
        return weirp_logged_wrong(l, err, field_key[field], "is %g: must be a whole number, 0 or more", v);
    *out = (int64_t)v;
    return WEIR_OK;
}

/* The bill of the model that answered, by the pool's prices. */
static weir_status get_bill(weirp_logged *l, size_t model, weir_error *err) {
    bound *b = l->source;
    weirp_usage usage = {.known = true};
    bool in = false, out = false, rest;
    const weir_model *price = NULL;
    weir_status st;
    if (!b->map.pool || !isnan(l->row.metric[WEIR_METRIC_COST])) return WEIR_OK;
    WEIRP_TRY(get_tokens(l, F_input_tokens, &usage.input_tokens, &in, err));
    WEIRP_TRY(get_tokens(l, F_cached_input_tokens, &usage.cached_input_tokens, &rest, err));
    WEIRP_TRY(get_tokens(l, F_output_tokens, &usage.output_tokens, &out, err));
    WEIRP_TRY(get_tokens(l, F_reasoning_tokens, &usage.reasoning_tokens, &rest, err));
    if (!in || !out) return WEIR_OK;
    WEIRP_TRY(price_of(l, model, &price, err));
    if (price) l->row.metric[WEIR_METRIC_COST] = weirp_price_usage(price, &usage);
done:
    return st;
}

static weir_status get_error(weirp_logged *l, weir_error *err) {
    double *error = &l->row.metric[WEIR_METRIC_ERROR], status;
    weir_status st;
    WEIRP_TRY(get_number(l, F_error, error, err));
    WEIRP_TRY(get_number(l, F_status, &status, err));
    if (!isnan(status) && (status < 100 || status > 999))
        return weirp_logged_wrong(l, err, "status", "is %g: must be an HTTP status", status);
    if (isnan(*error) && !isnan(status)) *error = status >= 400;
done:
    return st;
}

static weir_status get_metrics(weirp_logged *l, weir_error *err) {
    const weirp_log_map *map = &((bound *)l->source)->map;
    double *metric = l->row.metric, seconds;
    weir_status st;
    WEIRP_TRY(get_number(l, F_quality, &metric[WEIR_METRIC_QUALITY], err));
    metric[WEIR_METRIC_QUALITY] = (metric[WEIR_METRIC_QUALITY] - map->scale_lo) / (map->scale_hi - map->scale_lo);
    WEIRP_TRY(get_number(l, F_cost, &metric[WEIR_METRIC_COST], err));
    WEIRP_TRY(get_number(l, F_latency_ms, &metric[WEIR_METRIC_LATENCY], err));
    WEIRP_TRY(get_number(l, F_latency_s, &seconds, err));
    if (seconds < 0) return weirp_logged_wrong(l, err, "latency_s", "is %g: must be seconds, 0 or more", seconds);
    if (!isnan(seconds)) metric[WEIR_METRIC_LATENCY] = seconds * 1000;
    WEIRP_TRY(get_error(l, err));
done:
    return st;
}

static weir_status get_model(weirp_logged *l, size_t field, size_t *model, weir_error *err) {
    cell c;
    weir_status st = get(l, field, &c, err);
    *model = (size_t)-1;
    if (st != WEIR_OK || c.type == NOTHING) return st;
    if (c.type == PIECES)
        return weirp_logged_wrong(l, err, field_key[field], "is an object or an array: must be a model's name");
    return weirp_logged_index(l, field_key[field], c.text, c.len, model, err);
}

static weir_status get_models(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    bool csv = b->map.format == WEIRP_MAP_CSV, asked = b->field[F_answered].text;
    double *metric = l->row.metric;
    size_t answered;
    weir_status st;
    for (size_t f = 0; f < N_FAMILIES; f++) WEIRP_TRY(csv ? csv_family(l, f, err) : json_family(l, f, err));
    WEIRP_TRY(get_model(l, F_chosen, &l->row.chosen, err));
    if (l->row.chosen == (size_t)-1)
        return weirp_logged_wrong(l, err, "chosen", "is missing: must be the model that was chosen");
    WEIRP_TRY(get_model(l, F_answered, &answered, err));
    if (asked && answered == (size_t)-1) {
        if (isnan(metric[WEIR_METRIC_ERROR])) metric[WEIR_METRIC_ERROR] = 1;
    } else if (asked && answered != l->row.chosen) {
        l->row.flags |= WEIRP_LOGGED_FALLEN_BACK;
    }
    WEIRP_TRY(get_bill(l, answered == (size_t)-1 ? l->row.chosen : answered, err));
    if (metric[WEIR_METRIC_ERROR] == 1) metric[WEIR_METRIC_LATENCY] = NAN;
    WEIRP_TRY(get_number(l, F_propensity, &l->row.p, err));
    l->p_given = !isnan(l->row.p);
done:
    return st;
}

static weir_status get_rest(weirp_logged *l, weir_error *err) {
    const char *time = "";
    weir_status st;
    WEIRP_TRY(get_text(l, F_id, &l->row.id, err));
    if (*l->row.id) l->row.known_by = WEIRP_LOGGED_ID;
    WEIRP_TRY(get_text(l, F_session, &l->row.session, err));
    WEIRP_TRY(get_text(l, F_segment, &l->row.segment, err));
    WEIRP_TRY(get_text(l, F_logger, &l->row.logger, err));
    WEIRP_TRY(get_text(l, F_time, &time, err));
    if (*time && !weirp_time_parse(time, strlen(time), &l->row.time_ms)) {
        char shown[48];
        return weirp_logged_wrong(
            l, err, "time", "is \"%s\": must be such as 2019-11-24T00:03:13Z, or seconds or milliseconds since 1970",
            weirp_excerpt(shown, sizeof shown, time, strlen(time)));
    }
    WEIRP_TRY(get_flag(l, F_cached, WEIRP_LOGGED_CACHED, err));
    WEIRP_TRY(get_flag(l, F_forced, WEIRP_LOGGED_FORCED, err));
    WEIRP_TRY(get_flag(l, F_fallen_back, WEIRP_LOGGED_FALLEN_BACK, err));
    WEIRP_TRY(get_flag(l, F_careful, WEIRP_LOGGED_CAREFUL, err));
    WEIRP_TRY(get_loggers(l, err));
done:
    return st;
}

static weir_status next_csv(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    weir_status st = weirp_csv_next(&b->csv, err);
    char wrong[80];
    l->row.line = b->csv.line;
    if (st == WEIR_OK && b->csv.n != b->n_columns) {
        snprintf(wrong, sizeof wrong, "%zu fields where the header has %zu", b->csv.n, b->n_columns);
        st = weirp_csv_wrong(&b->csv, wrong, err);
    }
    /* a quote that doesn't end takes the rows after it along: each of its lines may have been one */
    if (st == WEIR_PARSE && b->csv.last_line > b->csv.line) l->n_malformed += b->csv.last_line - b->csv.line;
    return st;
}

static weir_status next_json(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    weirp_line line;
    weir_status st = weirp_logged_line(l, &line, err);
    if (st == WEIR_OK) st = weirp_logged_json(l, &b->json, &line, err);
    return st;
}

static weir_status next_mapped(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    weir_status st = b->map.format == WEIRP_MAP_CSV ? next_csv(l, err) : next_json(l, err);
    if (st == WEIR_OK) st = get_metrics(l, err);
    if (st == WEIR_OK) st = get_models(l, err);
    return st == WEIR_OK ? get_rest(l, err) : st;
}

/* ---- opening ---- */

static const char *mapped(const weirp_log_map *map, size_t field) {
    const char *const names[] = {
#define NAME(name)   map->name,
#define METRIC(name) map->metrics.name,
#define FLAG(name)   map->flags.name,
        WEIRP_MAP_TEXTS(NAME) map->propensity, WEIRP_MAP_METRICS(METRIC) WEIRP_MAP_FLAGS(FLAG)
#undef NAME
#undef METRIC
#undef FLAG
    };
    return names[field];
}

static const char *mapped_family(const weirp_log_map *map, size_t which) {
    const char *const names[] = {map->propensities, map->target, map->estimates.quality, map->estimates.cost,
                                 map->features};
    return names[which];
}

static weir_status split_all(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    const weirp_yaml_pair *pair = b->map.by_logger.items;
    weir_status st = WEIR_OK;
    for (size_t f = 0; st == WEIR_OK && f < N_FIELDS; f++)
        st = split(&b->field[f], mapped(&b->map, f), field_key[f], l, err);
    for (size_t f = 0; st == WEIR_OK && f < N_FAMILIES; f++)
        st = split(&b->family[f].path, mapped_family(&b->map, f), family_key[f], l, err);
    if (st == WEIR_OK && b->map.by_logger.n > MAX_LOGGERS)
        return weirp_fail(err, WEIR_PARSE, 0, "%s: key \"by_logger\" has more than %d logging policies", l->options.map,
                          MAX_LOGGERS);
    for (size_t i = 0; i < b->map.by_logger.n; i++) b->logger_name[i] = pair[i].key;
    for (; st == WEIR_OK && b->n_loggers < b->map.by_logger.n; b->n_loggers++)
        st = split(&b->logger[b->n_loggers], pair[b->n_loggers].value, "by_logger", l, err);
    return st;
}

/* Where the header has a column of that name. */
static weir_status find_column(weirp_logged *l, const char *key, const char *name, size_t *at, weir_error *err) {
    bound *b = l->source;
    *at = WEIRP_JNONE;
    if (!name) return WEIR_OK;
    for (size_t i = 0; i < b->csv.n; i++) {
        if (strcmp(weirp_csv_field(&b->csv, i, NULL), name) != 0) continue;
        if (*at != WEIRP_JNONE)
            return weirp_fail(err, WEIR_PARSE, b->csv.line, "%s:%zu: two columns are called \"%.80s\"", l->path,
                              b->csv.line, name);
        *at = i;
    }
    if (*at != WEIRP_JNONE) return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, b->csv.line,
                      "%s:%zu: there is no column \"%.80s\", which key \"%s\" of %s asks for", l->path, b->csv.line,
                      name, key, l->options.map);
}

/* Columns whose names begin as the mapping says, one a model. */
static weir_status find_family(weirp_logged *l, size_t which, weir_error *err) {
    bound *b = l->source;
    family *f = &b->family[which];
    const char *given = mapped_family(&b->map, which);
    size_t skip = given ? strlen(given) : 0;
    if (!given) return WEIR_OK;
    if (skip && given[skip - 1] == '*') skip--;
    for (size_t i = 0; i < b->csv.n; i++) {
        size_t len, model = f->n;
        const char *name = weirp_csv_field(&b->csv, i, &len);
        if (len <= skip || memcmp(name, given, skip) != 0) continue;
        weir_status st = WEIR_OK;
        if (which == FEATURES && f->n == MAX_FEATURES)
            return weirp_fail(err, WEIR_PARSE, b->csv.line, "%s:%zu: more than %d columns of features", l->path,
                              b->csv.line, MAX_FEATURES);
        if (which != FEATURES) st = weirp_logged_index(l, family_key[which], name + skip, len - skip, &model, err);
        if (st != WEIR_OK) return st;
        for (size_t k = 0; k < f->n; k++)
            if (f->column[k].model == model)
                return weirp_fail(err, WEIR_PARSE, b->csv.line, "%s:%zu: two columns are called \"%.80s\"", l->path,
                                  b->csv.line, name);
        if (!weirp_reserve((void **)&f->column, &f->capacity, f->n + 1, sizeof *f->column)) return weirp_nomem(err);
        f->column[f->n++] = (column){i, model};
    }
    if (f->n) return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, b->csv.line,
                      "%s:%zu: no column's name begins with \"%.*s\", as key \"%s\" of %s says", l->path, b->csv.line,
                      (int)(skip < 80 ? skip : 80), given, family_key[which], l->options.map);
}

static weir_status read_header(weirp_logged *l, weir_error *err) {
    bound *b = l->source;
    const weirp_yaml_pair *pair = b->map.by_logger.items;
    b->csv = (weirp_csv){.in = l->input, .path = l->path};
    weir_status st = weirp_csv_next(&b->csv, err);
    l->row.line = b->csv.line;
    if (st == WEIR_END) return weirp_fail(err, WEIR_NODATA, 0, "%s: the file is empty", l->path);
    b->n_columns = b->csv.n;
    for (size_t f = 0; st == WEIR_OK && f < N_FIELDS; f++)
        st = find_column(l, field_key[f], mapped(&b->map, f), &b->column[f], err);
    for (size_t f = 0; st == WEIR_OK && f < N_FAMILIES; f++) st = find_family(l, f, err);
    for (size_t i = 0; st == WEIR_OK && i < b->n_loggers; i++)
        st = find_column(l, "by_logger", pair[i].value, &b->logger_column[i], err);
    return st;
}

weir_status weirp_logged_open_mapped(weirp_logged *l, weir_error *err) {
    static const weirp_logged_form form = {next_mapped, close_mapped};
    bound *b = calloc(1, sizeof *b);
    if (!b) return weirp_nomem(err);
    weir_status st = weirp_log_map_load(&b->map, l->options.map, err);
    if (st != WEIR_OK) {
        free(b);
        return st;
    }
    l->source = b;
    l->form = &form;
    st = split_all(l, err);
    if (st == WEIR_OK && b->map.format == WEIRP_MAP_CSV) st = read_header(l, err);
    return st;
}

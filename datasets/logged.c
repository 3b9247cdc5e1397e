/* logged.c: logs row by row, whoever wrote them: opening, counting, the row's memory. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/logged_parts.h"
#include "src/base/words.h"
#include "src/router/record.h"
#include "weir/policy.h"

enum { WARNINGS_SHOWN = 5 };

/* ---- opening ---- */

/* LMDB's meta page: the magic number stands behind the page's header (lmdb.h's MDB_MAGIC, in the machine's order). */
static bool is_lmdb(const char *start, size_t len) {
    uint32_t magic = 0;
    if (len < 20) return false;
    memcpy(&magic, start + 16, sizeof magic);
    return magic == 0xBEEFC0DEu;
}

/* Whether some line of the start may be one of weir's: JSON objects all. */
static bool has_object(const char *start, size_t len) {
    bool begins = true;
    for (size_t i = 0; i < len; i++) {
        if (begins && start[i] == '{') return true;
        begins = start[i] == '\n' || (begins && (start[i] == ' ' || start[i] == '\t' || start[i] == '\r'));
    }
    return false;
}

/* A log that isn't weir's is told at once, and not by each of its lines. */
static weir_status check_own(weirp_logged *l, const char *start, size_t len, weir_error *err) {
    enum { LOOK_AT = 64 << 10 };
    if (has_object(start, len)) return WEIR_OK;
    weir_status st = weirp_input_peek(l->input, LOOK_AT, &start, &len, err);
    if (st != WEIR_OK || !len || has_object(start, len)) return st;
    return weirp_fail(
        err, WEIR_PARSE, 1,
        "%s: isn't a store, nor lines of JSON as weir exports them: a log of others, such as CSV, needs a "
        "mapping of its columns (--map FILE)",
        l->path);
}

static weir_status open_form(weirp_logged *l, const char *path, weir_error *err) {
    const char *start;
    size_t len;
    weir_status st = weirp_input_open(&l->input, path, err);
    if (st == WEIR_OK) st = weirp_input_peek(l->input, 64, &start, &len, err);
    if (st != WEIR_OK) return st;
    if (is_lmdb(start, len)) {
        weirp_input_close(l->input);
        l->input = NULL;
        return weirp_logged_open_store(l, path, err);
    }
    if (l->options.map) return weirp_logged_open_mapped(l, err);
    st = check_own(l, start, len, err);
    return st == WEIR_OK ? weirp_logged_open_weir(l, err) : st;
}

weir_status weirp_logged_open(weirp_logged **out, const char *path, const weirp_logged_options *options,
                              weir_error *err) {
    *out = NULL;
    const char *shown = strcmp(path, "-") ? path : "(standard input)";
    weirp_logged *l = calloc(1, sizeof *l);
    if (!l) return weirp_nomem(err);
    if (options) l->options = *options;
    l->path = weirp_strndup(shown, strlen(shown));
    weir_status st = l->path ? open_form(l, path, err) : weirp_nomem(err);
    if (st != WEIR_OK) {
        weirp_logged_close(l);
        return st;
    }
    *out = l;
    return WEIR_OK;
}

void weirp_logged_close(weirp_logged *l) {
    if (!l) return;
    if (l->form) l->form->close(l);
    weirp_input_close(l->input);
    weirp_names_free(&l->models);
    free(l->propensity);
    free(l->target);
    free(l->quality_hat);
    free(l->cost_hat);
    free(l->named);
    free(l->by_logger);
    free(l->dense);
    free(l->path);
    free(l);
}

/* ---- the row's memory ---- */

void weirp_logged_blank(weirp_logged *l) {
    l->has = 0;
    l->p_given = false;
    l->row = (weirp_logged_row){.file = l->path,
                                .id = "",
                                .session = "",
                                .segment = "",
                                .logger = "",
                                .trial = "",
                                .time_ms = WEIRP_LOGGED_NO_TIME,
                                .chosen = (size_t)-1,
                                .p = NAN};
    for (size_t i = 0; i < WEIR_N_METRICS; i++) l->row.metric[i] = NAN;
    for (size_t m = 0; m < l->models.n; m++) {
        l->propensity[m] = l->target[m] = 0;
        l->quality_hat[m] = l->cost_hat[m] = NAN;
    }
}

static bool grow(weirp_logged *l, size_t need) {
    size_t a = l->capacity, b = a, c = a, d = a, e = a;
    bool grown = weirp_reserve((void **)&l->propensity, &a, need, sizeof(double)) &&
                 weirp_reserve((void **)&l->target, &b, need, sizeof(double)) &&
                 weirp_reserve((void **)&l->quality_hat, &c, need, sizeof(double)) &&
                 weirp_reserve((void **)&l->cost_hat, &d, need, sizeof(double)) &&
                 weirp_reserve((void **)&l->named, &e, need, sizeof *l->named);
    if (grown) l->capacity = a;
    return grown;
}

weir_status weirp_logged_index(weirp_logged *l, const char *key, const char *name, size_t len, size_t *index,
                               weir_error *err) {
    *index = weirp_names_find(&l->models, name, len);
    if (*index != WEIRP_NO_NAME) {
        weirp_logged_named(l, *index);
        return WEIR_OK;
    }
    if (!len) return weirp_logged_wrong(l, err, key, "has an empty name: must be a model's");
    if (weirp_utf8_valid(name, len) < len) return weirp_logged_wrong(l, err, key, "has a name that isn't UTF-8");
    if (l->models.n >= WEIR_MAX_MODELS)
        return weirp_logged_wrong(l, err, key, "is one of more than %d different models: at most so many are read",
                                  WEIR_MAX_MODELS);
    if (l->models.n >= l->capacity && !grow(l, l->models.n + 1)) return weirp_nomem(err);
    *index = weirp_names_add(&l->models, name, len, &(bool){false});
    if (*index == WEIRP_NO_NAME) return weirp_nomem(err);
    l->propensity[*index] = l->target[*index] = 0;
    l->quality_hat[*index] = l->cost_hat[*index] = NAN;
    l->named[*index] = l->n_read;
    return WEIR_OK;
}

weir_status weirp_logged_dense(weirp_logged *l, size_t n, weir_error *err) {
    if (!weirp_reserve((void **)&l->dense, &l->dense_capacity, n, sizeof *l->dense)) return weirp_nomem(err);
    l->row.dim = n;
    l->has |= HAS_DENSE;
    return WEIR_OK;
}

weir_status weirp_logged_loggers(weirp_logged *l, size_t n, weir_error *err) {
    if (!weirp_reserve((void **)&l->by_logger, &l->logger_capacity, n, sizeof *l->by_logger)) return weirp_nomem(err);
    l->row.n_loggers = n;
    l->has |= HAS_BY_LOGGER;
    return WEIR_OK;
}

weir_status weirp_logged_wrong(const weirp_logged *l, weir_error *err, const char *key, const char *format, ...) {
    char text[WEIR_ERROR_TEXT], shown[80];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    weirp_excerpt(shown, sizeof shown, key, strlen(key));
    return weirp_fail(err, WEIR_PARSE, l->row.line, "%s:%zu: key \"%s\" %s", l->path, l->row.line, shown, text);
}

weir_status weirp_logged_line(weirp_logged *l, weirp_line *line, weir_error *err) {
    weir_status st;
    do {
        st = weirp_input_line(l->input, WEIRP_LOGGED_LINE_BYTES, line, err);
        if (st != WEIR_OK) return st;
    } while (!line->len && !line->too_long);
    l->row.line = line->number;
    if (line->too_long)
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: the line is longer than 16 MiB", l->path,
                          line->number);
    return WEIR_OK;
}

weir_status weirp_logged_json(weirp_logged *l, weirp_jline *json, const weirp_line *line, weir_error *err) {
    weir_status st = weirp_jline_parse(json, line->text, line->len);
    if (st == WEIR_NOMEM) return weirp_nomem(err);
    const char *cut = line->unfinished ? " (the last line has no end: is the file cut off?)" : "";
    if (st != WEIR_OK)
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: column %zu: %s: a line must be one JSON object%s",
                          l->path, line->number, json->column, json->wrong, cut);
    if (json->value[0].type != WEIRP_JOBJECT)
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: a line must be one JSON object", l->path,
                          line->number);
    return WEIR_OK;
}

void weirp_logged_own_id(weirp_logged *l, const char *id) {
    l->row.id = id;
    l->row.known_by = weirp_id_number(id) ? WEIRP_LOGGED_ID : WEIRP_LOGGED_CONTENT;
}

bool weirp_logged_is_careful(unsigned rule, unsigned reason) {
    return rule == WEIR_RULE_MINIMAX && reason != WEIR_REASON_ASKED;
}

/* ---- rows ---- */

weir_status weirp_logged_next(weirp_logged *l, weirp_logged_row *row, weir_error *err) {
    for (;;) {
        weir_error why = {0};
        weirp_logged_blank(l);
        l->n_read++;
        weir_status st = l->form->next(l, &why);
        if (st == WEIR_OK) st = weirp_logged_check(l, &why);
        if (st == WEIR_OK) {
            *row = l->row;
            return WEIR_OK;
        }
        if (st == WEIR_NOTFOUND) {
            l->n_other++;
        } else if (st == WEIR_PARSE && !l->options.strict) {
            l->n_malformed++;
            if (l->options.warning) l->options.warning(l->options.warning_user, why.text);
        } else {
            if (err && err->status == WEIR_OK) *err = why;
            return st;
        }
    }
}

size_t weirp_logged_n_models(const weirp_logged *l) {
    return l->models.n;
}

const char *weirp_logged_model(const weirp_logged *l, size_t index) {
    return l->models.text[index];
}

bool weirp_logged_has_model(const weirp_logged *l, size_t index) {
    return !l->named[index] || l->named[index] == l->n_read;
}

size_t weirp_logged_n_malformed(const weirp_logged *l) {
    return l->n_malformed;
}

size_t weirp_logged_n_other(const weirp_logged *l) {
    return l->n_other;
}

double weirp_logged_share(const weirp_logged *l) {
    if (l->input) return weirp_input_share(l->input);
    if (!(l->done_all > 0)) return NAN;
    return l->done_n < l->done_all ? l->done_n / l->done_all : 1;
}

/* reader.c: outcome files line by line. Format: docs/formats.md, "Outcomes". Jansson parses each line; this checks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/datasets.h"
#include "datasets/input.h"
#include "datasets/json.h"
#include "datasets/prompt.h"
#include "src/base/names.h"
#include "src/base/words.h"
#include "src/price/price.h"

#define DEFAULT_LINE_BYTES ((size_t)64 << 20)

struct weir_reader {
    char *path; /* for messages */
    weir_reader_options options;
    weirp_input *input;
    weirp_names models;
    const weir_model **price; /* (models.n) the pool's entry; NULL: none */
    size_t price_capacity;
    size_t n_malformed;
    json_t *root;          /* of the last record, which borrows from it */
    weirp_writer prompt;   /* a flattened or NUL-terminated prompt */
    weirp_writer repaired; /* a line that wasn't UTF-8 */
    char *id, *task;       /* texts that can't be borrowed from root as they are; NULL: borrowed */
    size_t capacity;       /* of the three below */
    weir_outcome *outcome;
    const char **name;
    size_t *model;
};

weir_status weir_reader_open(weir_reader **out, const char *path, const weir_reader_options *options, weir_error *err) {
    *out = NULL;
    weir_status st;
    const char *shown = strcmp(path, "-") ? path : "(standard input)";
    weir_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return weirp_nomem(err);
    if (options) reader->options = *options;
    if (!reader->options.max_line_bytes) reader->options.max_line_bytes = DEFAULT_LINE_BYTES;
    reader->path = weirp_strndup(shown, strlen(shown));
    if (!reader->path) {
        st = weirp_nomem(err);
        goto done;
    }
    WEIRP_TRY(weirp_input_open(&reader->input, path, err));
    *out = reader;
    return WEIR_OK;
done:
    weir_reader_close(reader);
    return st;
}

void weir_reader_close(weir_reader *reader) {
    if (!reader) return;
    weirp_input_close(reader->input);
    json_decref(reader->root);
    weirp_writer_free(&reader->prompt);
    weirp_writer_free(&reader->repaired);
    weirp_names_free(&reader->models);
    free(reader->price);
    free(reader->id);
    free(reader->task);
    free(reader->outcome);
    free(reader->name);
    free(reader->model);
    free(reader->path);
    free(reader);
}

size_t weir_reader_n_models(const weir_reader *reader) {
    return reader->models.n;
}

const char *weir_reader_model(const weir_reader *reader, size_t index) {
    return reader->models.text[index];
}

size_t weir_reader_n_malformed(const weir_reader *reader) {
    return reader->n_malformed;
}

/* ---- text to JSON ---- */

/* Writes \ufffd over every \uXXXX that is half of a surrogate pair without the other half: what programs write that
 * cut texts between UTF-16 units. True: something was changed. */
static bool repair_surrogates(char *text, size_t len) {
    bool changed = false;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] != '\\') continue;
        i++;
        if (text[i] != 'u' || i + 4 >= len) continue;
        int unit = weirp_hex4(text + i + 1);
        bool high = unit >= 0xd800 && unit < 0xdc00, low = unit >= 0xdc00 && unit < 0xe000;
        bool pair = high && i + 10 < len && text[i + 5] == '\\' && text[i + 6] == 'u';
        int next = pair ? weirp_hex4(text + i + 7) : -1;
        if (next >= 0xdc00 && next < 0xe000) {
            i += 10;
        } else if (high || low) {
            memcpy(text + i + 1, "fffd", 4);
            changed = true;
        }
    }
    return changed;
}

static weir_status parse_line(weir_reader *reader, const weirp_line *line, weir_error *err) {
    char *text = line->text;
    size_t len = line->len;
    if (weirp_utf8_valid(text, len) < len) {
        reader->repaired.size = 0;
        if (!weirp_reserve((void **)&reader->repaired.data, &reader->repaired.capacity, 3 * len + 1, 1))
            return weirp_nomem(err);
        len = weirp_utf8_repair((char *)reader->repaired.data, text, len);
        text = (char *)reader->repaired.data;
    }
    json_error_t e;
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    reader->root = json_loadb(text, len, flags, &e);
    if (!reader->root && repair_surrogates(text, len)) reader->root = json_loadb(text, len, flags, &e);
    if (reader->root) return WEIR_OK;
    if (weirp_json_nomem(&e)) return weirp_nomem(err);
    const char *cut = line->unfinished ? " (the last line has no end: is the file cut off?)" : "";
    char what[JSON_ERROR_TEXT_LENGTH];
    weirp_excerpt(what, sizeof what, e.text, strlen(e.text));
    return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: column %d: %s: a line must be one JSON object%s",
                      reader->path, line->number, e.column, what, cut);
}

/* ---- JSON to a record ---- */

static const char *type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a text";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "unknown";
}

static weir_status wrong(const weir_reader *reader, size_t line, const char *key, const json_t *value,
                         const char *right, weir_error *err) {
    return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: \"%s\" is %s: %s", reader->path, line, key,
                      value ? type_name(value) : "missing", right);
}

/* "id" or "task": a text, a whole number, null or nothing. *own is freed or replaced. */
static weir_status read_label(const weir_reader *reader, size_t line, const char *key, char **own, const char **out,
                              weir_error *err) {
    const json_t *value = json_object_get(reader->root, key);
    free(*own);
    *own = NULL;
    *out = "";
    if (!value || json_is_null(value)) return WEIR_OK;
    if (json_is_integer(value)) {
        char digits[32];
        int n = snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *own = weirp_strndup(digits, (size_t)n);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t len = json_string_length(value);
        if (strlen(text) == len) {
            *out = text;
            return WEIR_OK;
        }
        /* a NUL within would cut it for whoever reads it: U+FFFD takes its place */
        char *copy = malloc(3 * len + 1);
        size_t n = 0;
        for (size_t i = 0; copy && i < len; i++) {
            if (text[i])
                copy[n++] = text[i];
            else
                n += weirp_utf8_repair(copy + n, "\xff", 1);
        }
        if (copy) copy[n] = '\0';
        *own = copy;
    } else {
        return wrong(reader, line, key, value, "must be a text", err);
    }
    *out = *own;
    return *own ? WEIR_OK : weirp_nomem(err);
}

static weir_status read_number(const weir_reader *reader, size_t line, const char *model, const char *key,
                               const json_t *value, double max, double *out, weir_error *err) {
    char shown[64];
    const char *right = max == 1 ? "a number from 0 to 1" : "a number of 0 or more";
    if (!value || json_is_null(value)) {
        *out = NAN;
    } else if (!json_is_number(value)) {
        weirp_excerpt(shown, sizeof shown, model, strlen(model));
        return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: \"%s\" of model \"%s\" is %s: must be %s or null",
                          reader->path, line, key, shown, type_name(value), right);
    } else {
        *out = json_number_value(value) + 0.0; /* no -0 */
        if (*out >= 0 && *out <= max) return WEIR_OK;
        weirp_excerpt(shown, sizeof shown, model, strlen(model));
        return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: \"%s\" of model \"%s\" is %g: must be %s", reader->path, line,
                          key, shown, *out, right);
    }
    return WEIR_OK;
}

static weir_status read_outcome(const weir_reader *reader, size_t line, const char *model, const json_t *object,
                                weir_outcome *out, weir_error *err) {
    *out = (weir_outcome){NAN, NAN, NAN, NAN, NAN};
    const struct {
        const char *key;
        double max;
        double *to;
    } fields[] = {{"quality", 1, &out->quality},
                  {"cost", HUGE_VAL, &out->cost_usd},
                  {"input_tokens", HUGE_VAL, &out->input_tokens},
                  {"output_tokens", HUGE_VAL, &out->output_tokens},
                  {"latency_ms", HUGE_VAL, &out->latency_ms}};
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
        weir_status st = read_number(reader, line, model, fields[f].key, json_object_get(object, fields[f].key),
                                     fields[f].max, fields[f].to, err);
        if (st) return st;
    }
    return WEIR_OK;
}

static bool reserve_outcomes(weir_reader *reader, size_t n) {
    size_t a = reader->capacity, b = a, c = a;
    bool ok = weirp_reserve((void **)&reader->outcome, &a, n, sizeof *reader->outcome) &&
              weirp_reserve((void **)&reader->name, &b, n, sizeof *reader->name) &&
              weirp_reserve((void **)&reader->model, &c, n, sizeof *reader->model);
    if (ok) reader->capacity = a;
    return ok;
}

/* The model's number; what the pool charges for it is looked up once. */
static weir_status model_index(weir_reader *reader, size_t line, const char *name, size_t *index, weir_error *err) {
    bool added;
    if (reader->models.n >= WEIR_MAX_MODELS && weirp_names_find(&reader->models, name, strlen(name)) == WEIRP_NO_NAME)
        return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: more than %d different models: at most so many are read",
                          reader->path, line, WEIR_MAX_MODELS);
    *index = weirp_names_add(&reader->models, name, strlen(name), &added);
    if (*index == WEIRP_NO_NAME) return weirp_nomem(err);
    if (!added) return WEIR_OK;
    size_t at = weir_pool_find(reader->options.pool, name);
    if (!weirp_reserve((void **)&reader->price, &reader->price_capacity, *index + 1, sizeof *reader->price))
        return weirp_nomem(err);
    reader->price[*index] = at == (size_t)-1 ? NULL : &reader->options.pool->models[at];
    return WEIR_OK;
}

static weir_status read_outcomes(weir_reader *reader, size_t line, json_t *outcomes, weir_record *record,
                                 weir_error *err) {
    weir_status st;
    const char *model;
    json_t *object;
    size_t n = 0;
    if (!json_is_object(outcomes))
        return wrong(reader, line, "outcomes", outcomes,
                     "must be an object such as {\"MODEL\":{\"quality\":1.0,\"cost\":0.001}}", err);
    if (!reserve_outcomes(reader, json_object_size(outcomes))) return weirp_nomem(err);
    json_object_foreach(outcomes, model, object) {
        if (json_is_null(object)) continue;
        char key[64];
        if (!*model) return wrong(reader, line, "", object, "a model's name must not be empty", err);
        if (!json_is_object(object))
            return wrong(reader, line, weirp_excerpt(key, sizeof key, model, strlen(model)), object,
                         "must be an object such as {\"quality\":1.0,\"cost\":0.001}", err);
        WEIRP_TRY(read_outcome(reader, line, model, object, &reader->outcome[n], err));
        reader->name[n++] = model;
    }
    /* the whole line is right: only now do its models count as seen */
    for (size_t i = 0; i < n; i++) {
        weir_outcome *o = &reader->outcome[i];
        WEIRP_TRY(model_index(reader, line, reader->name[i], &reader->model[i], err));
        const weir_model *price = reader->price[reader->model[i]];
        if (isnan(o->cost_usd) && price) o->cost_usd = weirp_price(price, o->input_tokens, o->output_tokens);
    }
    record->n_outcomes = n;
    record->model = reader->model;
    record->outcome = reader->outcome;
    st = WEIR_OK;
done:
    return st;
}

static weir_status read_record(weir_reader *reader, const weirp_line *line, weir_record *record, weir_error *err) {
    weir_status st;
    if (line->too_long)
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: longer than %zu bytes: at most so many are read",
                          reader->path, line->number, reader->options.max_line_bytes);
    WEIRP_TRY(parse_line(reader, line, err));
    record->line = line->number;
    if (!json_is_object(reader->root))
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: is %s: a line must be one JSON object", reader->path,
                          line->number, type_name(reader->root));
    WEIRP_TRY(read_label(reader, line->number, "id", &reader->id, &record->id, err));
    WEIRP_TRY(read_label(reader, line->number, "task", &reader->task, &record->task, err));
    const json_t *prompt = json_object_get(reader->root, "prompt");
    const char *bad = weirp_prompt_text(prompt, &reader->prompt, &record->prompt, &record->prompt_len);
    if (bad) return wrong(reader, line->number, "prompt", prompt, bad, err);
    if (!json_is_string(prompt)) {
        weirp_put(&reader->prompt, "", 1);
        record->prompt = (const char *)reader->prompt.data;
    }
    if (reader->prompt.failed) return weirp_nomem(err);
    WEIRP_TRY(read_outcomes(reader, line->number, json_object_get(reader->root, "outcomes"), record, err));
done:
    return st;
}

static bool blank(const weirp_line *line) {
    for (size_t i = 0; i < line->len; i++)
        if (line->text[i] != ' ' && line->text[i] != '\t' && line->text[i] != '\r') return false;
    return !line->too_long;
}

weir_status weir_reader_next(weir_reader *reader, weir_record *record, weir_error *err) {
    for (;;) {
        weirp_line line;
        weir_error e = {0};
        *record = (weir_record){.id = "", .task = "", .prompt = ""};
        json_decref(reader->root);
        reader->root = NULL;
        weir_status st = weirp_input_line(reader->input, reader->options.max_line_bytes, &line, err);
        if (st) return st;
        if (blank(&line)) continue;
        st = read_record(reader, &line, record, &e);
        if (st == WEIR_OK) return st;
        if (st != WEIR_PARSE || reader->options.strict) return weirp_fail(err, st, e.line, "%s", e.text);
        reader->n_malformed++;
        if (reader->options.warning) reader->options.warning(reader->options.warning_user, e.text);
    }
}

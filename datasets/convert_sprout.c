/* convert_sprout.c: SPROUT's rows (CARROT, arXiv 2502.03261) as JSON: lines, one array, or pages of the data-set
 * server. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/convert.h"
#include "datasets/json.h"
#include "datasets/prompt.h"
#include "src/base/words.h"

enum { SHOWN = 64, MAX_VALUE_BYTES = 64 << 20 };

/* The prices that CARROT's experiments use, USD per million tokens (input, output). */
#define PRICE(label, input, output)                                                                                    \
    {                                                                                                                  \
        .name = (char *)(label), .input_usd_per_mtok = (input), .output_usd_per_mtok = (output),                       \
        .max_input_tokens = INFINITY, .max_output_tokens = INFINITY, .cached_input_usd_per_mtok = NAN,                 \
        .cache_write_usd_per_mtok = NAN, .audio_input_usd_per_mtok = NAN, .reasoning_usd_per_mtok = NAN,               \
        .audio_output_usd_per_mtok = NAN                                                                               \
    }
static weir_model models[] = {
    PRICE("aws-claude-3-5-sonnet-v1", 3, 15),
    PRICE("aws-titan-text-premier-v1", 0.8, 3.2),
    PRICE("openai-gpt-4o", 2.5, 10),
    PRICE("openai-gpt-4o-mini", 0.15, 0.6),
    PRICE("wxai-granite-3-2b-instruct-8k-max-tokens", 0.1, 0.1),
    PRICE("wxai-granite-3-8b-instruct-8k-max-tokens", 0.2, 0.2),
    PRICE("wxai-llama-3-1-70b-instruct", 0.9, 0.9),
    PRICE("wxai-llama-3-1-8b-instruct", 0.2, 0.2),
    PRICE("wxai-llama-3-2-1b-instruct", 0.06, 0.06),
    PRICE("wxai-llama-3-2-3b-instruct", 0.06, 0.06),
    PRICE("wxai-llama-3-3-70b-instruct", 0.9, 0.9),
    PRICE("wxai-mixtral-8x7b-instruct-v01", 0.6, 0.6),
    PRICE("wxai-llama-3-405b-instruct", 3.5, 3.5),
};
static const weir_pool prices = {sizeof models / sizeof models[0], models};

/* ---- one row ---- */

static weir_status wrong(const char *source, size_t line, const char *column, const char *right, weir_error *err) {
    char shown[SHOWN];
    return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: \"%s\" %s", source, line,
                      weirp_excerpt(shown, SHOWN, column, strlen(column)), right);
}

static bool is_model(const json_t *value) {
    return json_object_get(value, "score") && json_object_get(value, "num_input_tokens") &&
           json_object_get(value, "num_output_tokens");
}

static bool read_number(const json_t *value, double max, double *out) {
    *out = NAN;
    if (!value || json_is_null(value)) return true;
    *out = json_number_value(value);
    return json_is_number(value) && *out >= 0 && *out <= max;
}

static weir_status add_model(const char *source, size_t line, const char *name, const json_t *value, weirp_row *row,
                             weir_error *err) {
    double score, input, output;
    if (!read_number(json_object_get(value, "score"), 1, &score))
        return wrong(source, line, name, "has a wrong \"score\": must be a number from 0 to 1, or null", err);
    if (!read_number(json_object_get(value, "num_input_tokens"), HUGE_VAL, &input) ||
        !read_number(json_object_get(value, "num_output_tokens"), HUGE_VAL, &output))
        return wrong(source, line, name, "has wrong token counts: must be numbers of 0 or more, or null", err);
    if (isnan(score)) return WEIR_OK; /* not judged: not an outcome */
    weir_outcome *o = weirp_row_add(row, name);
    if (!o) return weirp_nomem(err);
    o->quality = score;
    o->input_tokens = input;
    o->output_tokens = output;
    return WEIR_OK;
}

/* The first of two columns that is a text or whole number, as text into `own`. */
static const char *label(const json_t *row, const char *one, const char *other, char own[32]) {
    const json_t *value = json_object_get(row, one);
    if (!json_is_string(value) && !json_is_integer(value)) value = json_object_get(row, other);
    if (json_is_string(value)) return json_string_value(value);
    if (!json_is_integer(value)) return "";
    snprintf(own, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    return own;
}

weir_status weirp_sprout_row(weirp_conversion *c, const char *source, size_t line, const json_t *row, weirp_row *out,
                             weir_error *err) {
    char id[32], task[32];
    const char *name;
    json_t *value;
    weirp_writer buffer = {0};
    size_t n_models = 0;
    weir_status st;
    out->n = 0;
    out->line = line;
    if (!json_is_object(row)) return wrong(source, line, "row", "must be an object of columns", err);
    out->id = label(row, "key", "id", id);
    out->task = label(row, "dataset", "task", task);
    const char *bad = weirp_prompt_text(json_object_get(row, "prompt"), &buffer, &out->prompt, &out->prompt_len);
    if (bad) {
        st = wrong(source, line, "prompt", bad, err);
        goto done;
    }
    if (buffer.failed) {
        st = weirp_nomem(err);
        goto done;
    }
    json_object_foreach((json_t *)row, name, value) {
        if (!is_model(value)) continue;
        n_models++;
        WEIRP_TRY(add_model(source, line, name, value, out, err));
    }
    if (!n_models)
        st = wrong(source, line, "row", "has no model: a column with score, num_input_tokens and num_output_tokens",
                   err);
    else
        st = weirp_conversion_write(c, out, &prices, err);
done:
    weirp_writer_free(&buffer);
    return st;
}

/* ---- files ---- */

typedef struct file {
    weirp_conversion *c;
    const char *path;
    weirp_row row;
} file;

static weir_status one_row(file *f, size_t line, const json_t *row, const json_t *cut, weir_error *err) {
    weir_error e = {0};
    f->c->report.n_rows++;
    if (json_array_size(cut)) {
        f->c->report.n_truncated++;
        weirp_conversion_warn(f->c, "%s:%zu: left out, for the server cut its cells", f->path, line);
        return WEIR_OK;
    }
    weir_status st = weirp_sprout_row(f->c, f->path, line, row, &f->row, &e);
    return st ? weirp_conversion_reject(f->c, st, &e, err) : WEIR_OK;
}

/* A row, or a page of them as the data-set server gives it. */
static weir_status one_value(file *f, size_t line, const json_t *value, weir_error *err) {
    const json_t *rows = json_object_get(value, "rows"), *row;
    size_t i;
    if (!json_is_array(rows)) return one_row(f, line, value, NULL, err);
    json_array_foreach(rows, i, row) {
        const json_t *inner = json_object_get(row, "row");
        weir_status st = one_row(f, line, inner ? inner : row, json_object_get(row, "truncated_cells"), err);
        if (st) return st;
    }
    return WEIR_OK;
}

static weir_status parse(file *f, size_t line, const char *text, size_t len, weir_error *err) {
    json_error_t e;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    weir_status st;
    if (!value) {
        weir_error bad = {0};
        f->c->report.n_rows++;
        st = weirp_fail(&bad, weirp_json_nomem(&e) ? WEIR_NOMEM : WEIR_PARSE, line, "%s:%zu: %s: must be a JSON object",
                        f->path, line, *e.text ? e.text : "out of memory");
        return weirp_conversion_reject(f->c, st, &bad, err);
    }
    st = one_value(f, line, value, err);
    json_decref(value);
    if (st == WEIR_OK && f->c->report.n_rows % 64 == 0)
        st = weirp_conversion_progress(f->c, "converting", f->c->report.n_rows, 0, err);
    return st;
}

static weir_status read_lines(file *f, weirp_input *in, weir_error *err) {
    for (;;) {
        weirp_line line;
        weir_status st = weirp_input_line(in, MAX_VALUE_BYTES, &line, err);
        if (st == WEIR_END) return WEIR_OK;
        if (st) return st;
        if (!line.len) continue;
        if (line.too_long) {
            weir_error e = {0};
            f->c->report.n_rows++;
            st = weirp_fail(&e, WEIR_PARSE, line.number, "%s:%zu: longer than 64 MiB", f->path, line.number);
            st = weirp_conversion_reject(f->c, st, &e, err);
        } else {
            st = parse(f, line.number, line.text, line.len, err);
        }
        if (st) return st;
    }
}

/* Cuts one big array into its elements, so that it is never held whole: brackets outside strings count. */
typedef struct splitter {
    weirp_writer value;
    size_t depth, line, start_line;
    bool in_string, escaped, opened, closed;
} splitter;

static weir_status split_byte(file *f, splitter *s, char c, weir_error *err) {
    if (c == '\n') s->line++;
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!s->depth && !s->value.size) {
        if (blank || (c == ',' && s->opened && !s->closed)) return WEIR_OK;
        if (c == '[' && !s->opened) {
            s->opened = true;
            return WEIR_OK;
        }
        if (c == ']' && !s->closed) {
            s->closed = true;
            return WEIR_OK;
        }
        s->start_line = s->line;
        if (c != '{' || s->closed)
            return weirp_fail(err, WEIR_PARSE, s->line, "%s:%zu: must be an array of objects", f->path, s->line);
    }
    weirp_put(&s->value, &c, 1);
    if (s->value.failed) return weirp_nomem(err);
    if (s->value.size > MAX_VALUE_BYTES)
        return weirp_fail(err, WEIR_PARSE, s->start_line, "%s:%zu: an object longer than 64 MiB", f->path,
                          s->start_line);
    if (s->in_string) {
        if (s->escaped)
            s->escaped = false;
        else if (c == '\\')
            s->escaped = true;
        else if (c == '"')
            s->in_string = false;
    } else if (c == '"') {
        s->in_string = true;
    } else if (c == '{' || c == '[') {
        s->depth++;
    } else if ((c == '}' || c == ']') && --s->depth == 0) {
        weir_status st = parse(f, s->start_line, (const char *)s->value.data, s->value.size, err);
        s->value.size = 0;
        return st;
    }
    return WEIR_OK;
}

static weir_status read_array(file *f, weirp_input *in, weir_error *err) {
    splitter s = {.line = 1};
    weir_status st;
    char *chunk;
    size_t len;
    while ((st = weirp_input_chunk(in, &chunk, &len, err)) == WEIR_OK)
        for (size_t i = 0; i < len; i++) WEIRP_TRY(split_byte(f, &s, chunk[i], err));
    if (st == WEIR_END) {
        st = WEIR_OK;
        if (!s.closed)
            st = weirp_fail(err, WEIR_PARSE, s.line, "%s:%zu: the array doesn't end: is the file cut off?", f->path,
                            s.line);
    }
done:
    weirp_writer_free(&s.value);
    return st;
}

weir_status weirp_convert_sprout(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err) {
    file f = {.c = c, .path = path};
    const char *start;
    size_t len, at = 0;
    weir_status st = weirp_input_peek(in, 4096, &start, &len, err);
    if (st) return st;
    while (at < len && (start[at] == ' ' || start[at] == '\t' || start[at] == '\r' || start[at] == '\n')) at++;
    st = at < len && start[at] == '[' ? read_array(&f, in, err) : read_lines(&f, in, err);
    weirp_row_free(&f.row);
    return st;
}

/* convert.c: other systems' data as outcome files: which format it is, and what all formats share. Formats:
 * docs/formats.md, "Other formats". SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/convert.h"
#include "datasets/write.h"
#include "src/base/words.h"
#include "src/price/price.h"

/* ---- rows ---- */

weir_outcome *weirp_row_add(weirp_row *row, const char *model) {
    size_t a = row->capacity, b = a, need = row->n + 1;
    if (!weirp_reserve((void **)&row->name, &a, need, sizeof *row->name) ||
        !weirp_reserve((void **)&row->outcome, &b, need, sizeof *row->outcome))
        return NULL;
    row->capacity = a;
    row->name[row->n] = model;
    row->outcome[row->n] = (weir_outcome){NAN, NAN, NAN, NAN, NAN};
    return &row->outcome[row->n++];
}

void weirp_row_free(weirp_row *row) {
    free(row->name);
    free(row->outcome);
    *row = (weirp_row){0};
}

/* The text itself, or a repaired copy. */
static const char *utf8(weirp_writer *copy, const char *text, size_t *len) {
    if (weirp_utf8_valid(text, *len) == *len) return text;
    if (!weirp_reserve((void **)&copy->data, &copy->capacity, 3 * *len + 1, 1)) return NULL;
    *len = weirp_utf8_repair((char *)copy->data, text, *len);
    return (const char *)copy->data;
}

static void set_cost(const weirp_conversion *c, const char *model, const weir_pool *prices, weir_outcome *o) {
    const weir_pool *pools[] = {c->o.pool, prices};
    for (int i = 0; i < 2 && isnan(o->cost_usd); i++) {
        size_t at = weir_pool_find(pools[i], model);
        if (at != (size_t)-1) o->cost_usd = weirp_price(&pools[i]->models[at], o->input_tokens, o->output_tokens);
    }
}

weir_status weirp_conversion_write(weirp_conversion *c, weirp_row *row, const weir_pool *prices, weir_error *err) {
    size_t id_len = strlen(row->id), task_len = strlen(c->o.task ? c->o.task : row->task), prompt_len = row->prompt_len;
    const char *id = utf8(&c->repaired[0], row->id, &id_len);
    const char *task = utf8(&c->repaired[1], c->o.task ? c->o.task : row->task, &task_len);
    const char *prompt = utf8(&c->repaired[2], row->prompt, &prompt_len);
    if (!id || !task || !prompt) return weirp_nomem(err);
    for (size_t i = 0; i < row->n; i++) set_cost(c, row->name[i], prices, &row->outcome[i]);
    weir_status st =
        weirp_write_line(c->out, "output", id, task, prompt, prompt_len, row->n, row->name, row->outcome, NULL, err);
    if (st == WEIR_OK) c->report.n_written++;
    return st;
}

/* ---- trouble and progress ---- */

weir_status weirp_conversion_reject(weirp_conversion *c, weir_status st, const weir_error *e, weir_error *err) {
    if (st != WEIR_PARSE || c->o.strict) return weirp_fail(err, st, e->line, "%s", e->text);
    c->report.n_malformed++;
    if (c->o.warning) c->o.warning(c->o.warning_user, e->text);
    return WEIR_OK;
}

void weirp_conversion_warn(weirp_conversion *c, const char *format, ...) {
    char text[WEIR_ERROR_TEXT];
    if (!c->o.warning) return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->o.warning(c->o.warning_user, text);
}

weir_status weirp_conversion_progress(weirp_conversion *c, const char *stage, size_t done, size_t total,
                                      weir_error *err) {
    if (!c->o.progress || !c->o.progress(c->o.progress_user, stage, done, total)) return WEIR_OK;
    return weirp_fail(err, WEIR_CANCELED, 0, "canceled after %zu rows", done);
}

/* ---- formats ---- */

typedef weir_status (*file_fn)(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err);

static const struct format {
    const char *name;
    file_fn file; /* NULL: not file by file */
} formats[] = {{"routerbench", weirp_convert_routerbench},
               {"routellm", weirp_convert_routellm},
               {"mt-bench", NULL},
               {"sprout", weirp_convert_sprout},
               {"sprout-hub", NULL}};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const char *weir_convert_format(size_t index) {
    return index < N_FORMATS ? formats[index].name : NULL;
}

static bool holds(const char *start, size_t len, const char *text) {
    return memmem(start, len, text, strlen(text)) != NULL;
}

/* By the file's first 64 KiB; NULL: none of ours. */
static const char *guess(const char *start, size_t len) {
    size_t at = 0;
    while (at < len && strchr(" \t\r\n", start[at]) && start[at]) at++;
    if (at < len && (start[at] == '{' || start[at] == '[')) {
        if (holds(start, len, "\"num_output_tokens\"")) return "sprout";
        if (holds(start, len, "\"question_id\"")) return "mt-bench";
        if (holds(start, len, "\"outcomes\"")) return "";
        return NULL;
    }
    const char *lf = memchr(start, '\n', len);
    size_t header = lf ? (size_t)(lf - start) : len;
    if (holds(start, header, "|total_cost") || holds(start, header, "|model_response")) return "routerbench";
    if (holds(start, header, "prompt") && memchr(start, ',', header)) return "routellm";
    return NULL;
}

static weir_status unknown_format(const char *path, const char *format, weir_error *err) {
    char list[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < N_FORMATS; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", formats[i].name);
    if (format) return weirp_fail(err, WEIR_INVALID, 0, "unknown format \"%s\": must be one of %s", format, list);
    return weirp_fail(err, WEIR_INVALID, 0, "%s: can't tell which format it is: say one of %s", path, list);
}

static weir_status find_format(const char *format, const char *start, size_t len, const char *path, size_t *index,
                               weir_error *err) {
    const char *name = format ? format : guess(start, len);
    if (name && !*name) return weirp_fail(err, WEIR_INVALID, 0, "%s: is an outcome file already", path);
    for (*index = 0; name && *index < N_FORMATS; ++*index)
        if (!strcmp(formats[*index].name, name)) return WEIR_OK;
    return unknown_format(path, format, err);
}

static weir_status convert_file(weirp_conversion *c, const char *format, const char *path, bool *all, weir_error *err) {
    weirp_input *in;
    const char *start;
    size_t len, index = 0;
    weir_status st = weirp_input_open(&in, path, err);
    if (st) return st;
    WEIRP_TRY(weirp_input_peek(in, 1 << 16, &start, &len, err));
    if (!len) {
        st = weirp_fail(err, WEIR_NODATA, 0, "%s: is empty", path);
        goto done;
    }
    WEIRP_TRY(find_format(format, start, len, path, &index, err));
    if (formats[index].file) {
        st = formats[index].file(c, path, in, err);
    } else {
        if (path != c->inputs[0])
            st = weirp_fail(err, WEIR_INVALID, 0, "%s: files of different formats: convert them one by one", path);
        else {
            *all = true;
            return weirp_convert_mtbench(c, in, err);
        }
    }
done:
    weirp_input_close(in);
    return st;
}

static weir_status convert_inputs(weirp_conversion *c, const char *format, weir_error *err) {
    size_t index;
    bool all = false;
    if (!c->n_inputs) return weirp_fail(err, WEIR_INVALID, 0, "nothing to convert");
    if (format) {
        weir_status st = find_format(format, "", 0, "", &index, err);
        if (st) return st;
        if (!strcmp(format, "mt-bench")) return weirp_convert_mtbench(c, NULL, err);
        if (!strcmp(format, "sprout-hub")) {
            if (c->o.state_path && c->n_inputs > 1)
                return weirp_fail(err, WEIR_INVALID, 0, "one data set at a time can be resumed");
            for (size_t i = 0; i < c->n_inputs; i++)
                if ((st = weirp_convert_hub(c, c->inputs[i], err)) != WEIR_OK) return st;
            return WEIR_OK;
        }
    }
    for (size_t i = 0; i < c->n_inputs && !all; i++) {
        weir_status st = convert_file(c, format, c->inputs[i], &all, err);
        if (st) return st;
    }
    return WEIR_OK;
}

weir_status weir_convert(const char *format, const char *const *inputs, size_t n_inputs, FILE *out,
                         const weir_convert_options *options, weir_convert_report *report, weir_error *err) {
    weirp_conversion c = {.out = out, .inputs = inputs, .n_inputs = n_inputs};
    if (options) c.o = *options;
    weir_status st = convert_inputs(&c, format, err);
    errno = 0;
    if (fflush(out) && st == WEIR_OK) st = weirp_fail_errno(err, errno ? errno : EIO, "can't write", "output");
    if (st == WEIR_OK && !c.report.n_written)
        st = weirp_fail(err, WEIR_NODATA, 0, "%s: no usable row (%zu read, %zu malformed, %zu cut by the server)",
                        inputs[0], c.report.n_rows, c.report.n_malformed, c.report.n_truncated);
    if (report) *report = c.report;
    for (int i = 0; i < 3; i++) weirp_writer_free(&c.repaired[i]);
    return st;
}

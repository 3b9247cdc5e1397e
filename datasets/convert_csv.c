/* convert_csv.c: RouterBench's and RouteLLM's tables. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/convert.h"
#include "datasets/csv.h"
#include "src/base/arena.h"
#include "src/base/words.h"

enum { SHOWN = 64, ABSENT = -1 };

typedef struct table {
    weirp_csv csv;
    weirp_arena arena;
    size_t n;          /* columns */
    const char **name; /* (n) */
    size_t n_models;
    struct model {
        const char *name;
        size_t score;
        int cost; /* column, or ABSENT */
    } * model;    /* (n_models) */
    weirp_row row;
    weirp_writer prompt;
} table;

static void table_free(table *t) {
    weirp_csv_free(&t->csv);
    weirp_arena_free(&t->arena);
    weirp_row_free(&t->row);
    weirp_writer_free(&t->prompt);
    free(t->name);
    free(t->model);
}

static int find(const table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->name[i], name)) return (int)i;
    return ABSENT;
}

static weir_status read_header(table *t, weir_error *err) {
    weir_status st = weirp_csv_next(&t->csv, err);
    if (st == WEIR_END) return weirp_fail(err, WEIR_NODATA, 0, "%s: is empty", t->csv.path);
    if (st) return st;
    t->n = t->csv.n;
    t->name = weirp_array(t->n, sizeof *t->name);
    t->model = weirp_array(t->n, sizeof *t->model);
    if (!t->name || !t->model) return weirp_nomem(err);
    for (size_t i = 0; i < t->n; i++) {
        size_t len;
        const char *name = weirp_csv_field(&t->csv, i, &len);
        char *copy = weirp_arena_take(&t->arena, 3 * len + 1);
        if (!copy) return weirp_nomem(err);
        weirp_utf8_repair(copy, name, len);
        t->name[i] = copy;
    }
    return WEIR_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

static weir_status need_column(const table *t, const char *name, int *at, weir_error *err) {
    *at = find(t, name);
    if (*at != ABSENT) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 1, "%s:1: column \"%s\" is missing", t->csv.path, name);
}

static weir_status no_models(const table *t, const char *right, weir_error *err) {
    return weirp_fail(err, WEIR_INVALID, 1, "%s:1: no model's columns found: must be %s", t->csv.path, right);
}

typedef weir_status (*row_fn)(weirp_conversion *c, table *t, const void *about, weir_error *err);

/* Reads all rows; `fn` fills t->row and its outcomes. */
static weir_status read_rows(weirp_conversion *c, table *t, row_fn fn, const void *about, weir_error *err) {
    for (;;) {
        weir_error e = {0};
        weir_status st = weirp_csv_next(&t->csv, &e);
        if (st == WEIR_END) return WEIR_OK;
        if (st == WEIR_OK && t->csv.n != t->n)
            st = weirp_fail(&e, WEIR_PARSE, t->csv.line, "%s:%zu: %zu fields: must be %zu, as many as the header has",
                            t->csv.path, t->csv.line, t->csv.n, t->n);
        c->report.n_rows++;
        t->row.n = 0;
        t->row.line = t->csv.line;
        if (st == WEIR_OK) st = fn(c, t, about, &e);
        if (st == WEIR_OK) st = weirp_conversion_write(c, &t->row, NULL, &e);
        if (st && (st = weirp_conversion_reject(c, st, &e, err)) != WEIR_OK) return st;
        st = c->report.n_rows % 256 ? WEIR_OK : weirp_conversion_progress(c, "converting", c->report.n_rows, 0, err);
        if (st) return st;
    }
}

static weir_status wrong_cell(const table *t, size_t column, const char *right, weir_error *err) {
    char name[SHOWN], value[SHOWN];
    size_t len;
    const char *text = weirp_csv_field(&t->csv, column, &len);
    return weirp_fail(err, WEIR_PARSE, t->csv.line, "%s:%zu: column \"%s\" is \"%s\": must be %s", t->csv.path,
                      t->csv.line, weirp_excerpt(name, SHOWN, t->name[column], strlen(t->name[column])),
                      weirp_excerpt(value, SHOWN, text, len), right);
}

/* ---- RouterBench ---- */

/* An empty cell is NAN. */
static weir_status read_number(const table *t, size_t column, double max, double *out, weir_error *err) {
    size_t len;
    const char *text = weirp_csv_field(&t->csv, column, &len);
    *out = NAN;
    if (!len || !strcmp(text, "nan") || !strcmp(text, "NaN")) return WEIR_OK; /* pandas may write either */
    if (weirp_number_parse(text, len, out) && *out >= 0 && *out <= max && isfinite(*out)) return WEIR_OK;
    return wrong_cell(t, column, max == 1 ? "a number from 0 to 1, or empty" : "a number of 0 or more, or empty", err);
}

typedef struct routerbench {
    int sample_id, prompt, eval_name;
} routerbench;

static weir_status routerbench_row(weirp_conversion *c, table *t, const void *about, weir_error *err) {
    (void)c;
    weir_status st;
    const routerbench *at = about;
    size_t len;
    const char *prompt = weirp_csv_field(&t->csv, (size_t)at->prompt, &len);
    t->row.id = weirp_csv_field(&t->csv, (size_t)at->sample_id, NULL);
    t->row.task = at->eval_name == ABSENT ? "" : weirp_csv_field(&t->csv, (size_t)at->eval_name, NULL);
    t->row.prompt = prompt;
    t->row.prompt_len = len;
    if (weirp_python_strings(prompt, len, &t->prompt)) {
        t->row.prompt = t->prompt.size ? (const char *)t->prompt.data : "";
        t->row.prompt_len = t->prompt.size;
    }
    if (t->prompt.failed) return weirp_nomem(err);
    for (size_t m = 0; m < t->n_models; m++) {
        double quality, cost = NAN;
        WEIRP_TRY(read_number(t, t->model[m].score, 1, &quality, err));
        if (t->model[m].cost != ABSENT) WEIRP_TRY(read_number(t, (size_t)t->model[m].cost, HUGE_VAL, &cost, err));
        if (isnan(quality) && isnan(cost)) continue;
        weir_outcome *o = weirp_row_add(&t->row, t->model[m].name);
        if (!o) return weirp_nomem(err);
        o->quality = quality;
        o->cost_usd = cost;
    }
    st = WEIR_OK;
done:
    return st;
}

/* A column MODEL is a model when MODEL|total_cost or MODEL|model_response is there, too. */
static bool routerbench_model(table *t, size_t column) {
    char *with = malloc(strlen(t->name[column]) + sizeof "|model_response");
    if (!with) return false;
    sprintf(with, "%s|total_cost", t->name[column]);
    int cost = find(t, with);
    sprintf(with, "%s|model_response", t->name[column]);
    if (cost != ABSENT || find(t, with) != ABSENT)
        t->model[t->n_models++] = (struct model){t->name[column], column, cost};
    free(with);
    return true;
}

weir_status weirp_convert_routerbench(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err) {
    weir_status st;
    routerbench at;
    table t = {.csv = {.in = in, .path = path}};
    WEIRP_TRY(read_header(&t, err));
    WEIRP_TRY(need_column(&t, "sample_id", &at.sample_id, err));
    WEIRP_TRY(need_column(&t, "prompt", &at.prompt, err));
    at.eval_name = find(&t, "eval_name");
    for (size_t i = 0; i < t.n; i++)
        if (!routerbench_model(&t, i)) {
            st = weirp_nomem(err);
            goto done;
        }
    if (!t.n_models)
        st = no_models(&t, "MODEL, MODEL|total_cost", err);
    else
        st = read_rows(c, &t, routerbench_row, &at, err);
done:
    table_free(&t);
    return st;
}

/* ---- RouteLLM ---- */

typedef struct routellm {
    int prompt;
    size_t first_row; /* rows of this call before this file */
    char id[160], task[160];
} routellm;

/* "mmlu_world_religions.csv": ids mmlu.world_religions.N, task mmlu-world-religions; "gsm8k_responses.csv": gsm8k.N. */
static void name_rows(routellm *r, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    snprintf(r->task, sizeof r->task, "%s", strcmp(base, "-") ? base : "");
    static const char *const ends[] = {".zst", ".csv", "_responses"};
    for (size_t i = 0; i < 3; i++)
        if (ends_with(r->task, ends[i])) r->task[strlen(r->task) - strlen(ends[i])] = '\0';
    snprintf(r->id, sizeof r->id, "%s", r->task);
    if (strncmp(r->task, "mmlu_", 5)) return;
    r->id[4] = '.';
    for (char *p = r->task; *p; p++)
        if (*p == '_') *p = '-';
}

static weir_status routellm_row(weirp_conversion *c, table *t, const void *about, weir_error *err) {
    const routellm *r = about;
    char id[224];
    t->row.prompt = weirp_csv_field(&t->csv, (size_t)r->prompt, &t->row.prompt_len);
    t->row.task = r->task;
    /* the row's number in its file, from 0 */
    int n = snprintf(id, sizeof id, "%s%s%zu", r->id, *r->id ? "." : "", c->report.n_rows - 1 - r->first_row);
    t->prompt.size = 0;
    weirp_put(&t->prompt, id, (size_t)n + 1);
    if (t->prompt.failed) return weirp_nomem(err);
    t->row.id = (const char *)t->prompt.data;
    for (size_t m = 0; m < t->n_models; m++) {
        const char *text = weirp_csv_field(&t->csv, t->model[m].score, NULL);
        if (!*text) continue;
        bool right = !strcmp(text, "True");
        if (!right && strcmp(text, "False")) return wrong_cell(t, t->model[m].score, "True, False or empty", err);
        weir_outcome *o = weirp_row_add(&t->row, t->model[m].name);
        if (!o) return weirp_nomem(err);
        o->quality = right;
    }
    return WEIR_OK;
}

/* What isn't a model: the index that pandas writes, the prompt, answers. */
static bool routellm_other(const table *t, size_t column) {
    static const char *const others[] = {"", "index", "prompt", "answer", "subject", "question"};
    const char *name = t->name[column];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!strcmp(name, others[i])) return true;
    return !strncmp(name, "Unnamed:", 8) || ends_with(name, "_response");
}

weir_status weirp_convert_routellm(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err) {
    weir_status st;
    routellm r = {.first_row = c->report.n_rows};
    table t = {.csv = {.in = in, .path = path}};
    WEIRP_TRY(read_header(&t, err));
    WEIRP_TRY(need_column(&t, "prompt", &r.prompt, err));
    for (size_t i = 0; i < t.n; i++)
        if (!routellm_other(&t, i)) t.model[t.n_models++] = (struct model){t.name[i], i, ABSENT};
    name_rows(&r, path);
    if (!t.n_models)
        st = no_models(&t, "one column of True and False a model", err);
    else
        st = read_rows(c, &t, routellm_row, &r, err);
done:
    table_free(&t);
    return st;
}

/* dataset.c: outcomes in memory. How many models there are is known only at the end, so that cells are gathered in
 * chunks of rows, as wide as the models seen by then, and moved into the tables one field after the other: the peak is
 * the result and one table more. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/datasets.h"
#include "src/base/arena.h"
#include "src/base/names.h"

enum { CHUNK_ROWS = 1024, FIRST_WIDTH = 8, N_FIELDS = 5 };

_Static_assert(sizeof(weir_outcome) == N_FIELDS * sizeof(double), "an outcome is read as an array of its fields");

typedef struct chunk {
    size_t width;
    double *field[N_FIELDS]; /* (CHUNK_ROWS, width) row-major; NULL while every cell is missing */
} chunk;

/* What a finished data set's texts live in. */
typedef struct memory {
    weirp_arena prompts, ids, tasks, models;
} memory;

struct weirp_builder {
    weirp_names models, ids, tasks;
    weirp_arena prompts;
    size_t n, capacity; /* prompts */
    char **id, **task, **prompt;
    size_t *prompt_len;
    size_t n_chunks, chunk_capacity;
    chunk *chunks;
};

weir_status weirp_builder_new(weirp_builder **out, weir_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? WEIR_OK : weirp_nomem(err);
}

static void clear(weirp_builder *b) {
    weirp_names_free(&b->models);
    weirp_names_free(&b->ids);
    weirp_names_free(&b->tasks);
    weirp_arena_free(&b->prompts);
    free(b->id);
    free(b->task);
    free(b->prompt);
    free(b->prompt_len);
    for (size_t c = 0; c < b->n_chunks; c++)
        for (int f = 0; f < N_FIELDS; f++) free(b->chunks[c].field[f]);
    free(b->chunks);
    *b = (weirp_builder){0};
}

void weirp_builder_free(weirp_builder *b) {
    if (b) clear(b);
    free(b);
}

size_t weirp_builder_n_prompts(const weirp_builder *b) {
    return b->n;
}

weir_status weirp_builder_model(weirp_builder *b, const char *name, size_t *index, weir_error *err) {
    bool added;
    *index = weirp_names_add(&b->models, name, strlen(name), &added);
    if (*index == WEIRP_NO_NAME) return weirp_nomem(err);
    if (*index >= WEIR_MAX_MODELS)
        return weirp_fail(err, WEIR_PARSE, 0, "more than %d different models: at most so many are read",
                          WEIR_MAX_MODELS);
    return WEIR_OK;
}

static double *new_cells(size_t n) {
    double *cells = n > SIZE_MAX / sizeof *cells ? NULL : malloc((n ? n : 1) * sizeof *cells);
    for (size_t i = 0; cells && i < n; i++) cells[i] = NAN;
    return cells;
}

static bool widen(chunk *c, size_t width) {
    chunk wide = {.width = width};
    bool ok = true;
    for (int f = 0; f < N_FIELDS && ok; f++) {
        if (!c->field[f]) continue;
        ok = (wide.field[f] = new_cells(CHUNK_ROWS * width)) != NULL;
        for (size_t r = 0; r < CHUNK_ROWS && ok; r++)
            memcpy(wide.field[f] + r * width, c->field[f] + r * c->width, c->width * sizeof(double));
    }
    chunk *unwanted = ok ? c : &wide;
    for (int f = 0; f < N_FIELDS; f++) free(unwanted->field[f]);
    if (ok) *c = wide;
    return ok;
}

static bool reserve_row(weirp_builder *b) {
    size_t need = b->n + 1, i = b->capacity, t = i, p = i, l = i;
    if (!weirp_reserve((void **)&b->id, &i, need, sizeof *b->id) ||
        !weirp_reserve((void **)&b->task, &t, need, sizeof *b->task) ||
        !weirp_reserve((void **)&b->prompt, &p, need, sizeof *b->prompt) ||
        !weirp_reserve((void **)&b->prompt_len, &l, need, sizeof *b->prompt_len))
        return false;
    b->capacity = i;
    if (b->n / CHUNK_ROWS < b->n_chunks) return true;
    if (!weirp_reserve((void **)&b->chunks, &b->chunk_capacity, b->n_chunks + 1, sizeof *b->chunks)) return false;
    size_t width = b->models.n > FIRST_WIDTH ? b->models.n : FIRST_WIDTH;
    b->chunks[b->n_chunks++] = (chunk){.width = width};
    return true;
}

static bool put_cells(weirp_builder *b, const weir_record *record, const size_t *column) {
    chunk *c = &b->chunks[b->n / CHUNK_ROWS];
    size_t row = b->n % CHUNK_ROWS;
    for (size_t i = 0; i < record->n_outcomes; i++) {
        size_t m = column[record->model[i]];
        size_t width = c->width;
        while (width <= m) width *= 2;
        if (width > c->width && !widen(c, width)) return false;
        double value[N_FIELDS];
        memcpy(value, &record->outcome[i], sizeof value);
        for (int f = 0; f < N_FIELDS; f++) {
            if (isnan(value[f])) continue;
            if (!c->field[f] && !(c->field[f] = new_cells(CHUNK_ROWS * c->width))) return false;
            c->field[f][row * c->width + m] = value[f];
        }
    }
    return true;
}

weir_status weirp_builder_add(weirp_builder *b, const weir_record *record, const size_t *column, bool *duplicate,
                              weir_error *err) {
    bool added = true;
    size_t id = 0, task;
    *duplicate = false;
    if (!reserve_row(b)) return weirp_nomem(err);
    if (*record->id) {
        id = weirp_names_add(&b->ids, record->id, strlen(record->id), &added);
        if (id == WEIRP_NO_NAME) return weirp_nomem(err);
        *duplicate = !added;
        if (!added) return WEIR_OK;
    }
    task = weirp_names_add(&b->tasks, record->task, strlen(record->task), &added);
    if (task == WEIRP_NO_NAME) return weirp_nomem(err);
    b->prompt[b->n] = weirp_arena_text(&b->prompts, record->prompt, record->prompt_len);
    if (!b->prompt[b->n] || !put_cells(b, record, column)) return weirp_nomem(err);
    b->prompt_len[b->n] = record->prompt_len;
    /* a name's text never moves; an empty one is the literal, which nobody writes to */
    b->id[b->n] = *record->id ? (char *)b->ids.text[id] : (char *)"";
    b->task[b->n] = (char *)b->tasks.text[task];
    b->n++;
    return WEIR_OK;
}

/* Moves one field of all chunks into one table; NULL where all cells are missing. */
static bool gather(weirp_builder *b, int f, double **table) {
    bool any = false;
    *table = NULL;
    for (size_t c = 0; c < b->n_chunks; c++) any = any || b->chunks[c].field[f];
    if (!any) return true;
    size_t n_models = b->models.n;
    if (b->n > SIZE_MAX / n_models || !(*table = new_cells(b->n * n_models))) return false;
    for (size_t r = 0; r < b->n; r++) {
        const chunk *c = &b->chunks[r / CHUNK_ROWS];
        size_t width = c->width < n_models ? c->width : n_models;
        if (c->field[f]) memcpy(*table + r * n_models, c->field[f] + r % CHUNK_ROWS * c->width, width * sizeof **table);
    }
    for (size_t c = 0; c < b->n_chunks; c++) {
        free(b->chunks[c].field[f]);
        b->chunks[c].field[f] = NULL;
    }
    return true;
}

static weirp_arena taken(weirp_arena *from) {
    weirp_arena arena = *from;
    *from = (weirp_arena){0};
    return arena;
}

weir_status weirp_builder_finish(weirp_builder *b, weir_dataset **out, weir_error *err) {
    *out = NULL;
    weir_status st = WEIR_OK;
    memory *m = calloc(1, sizeof *m);
    weir_dataset *data = calloc(1, sizeof *data);
    if (!m || !data) {
        free(m);
        free(data);
        clear(b);
        return weirp_nomem(err);
    }
    data->memory = m;
    double **tables[N_FIELDS] = {&data->quality, &data->cost_usd, &data->input_tokens, &data->output_tokens,
                                 &data->latency_ms};
    for (int f = 0; f < N_FIELDS && st == WEIR_OK; f++)
        if (!gather(b, f, tables[f])) st = weirp_nomem(err);
    data->n_prompts = b->n;
    data->n_models = b->models.n;
    data->ids = b->id;
    data->tasks = b->task;
    data->prompts = b->prompt;
    data->prompt_lens = b->prompt_len;
    data->model_names = (char **)b->models.text;
    b->id = b->task = b->prompt = NULL;
    b->prompt_len = NULL;
    b->models.text = NULL;
    m->prompts = taken(&b->prompts);
    m->ids = taken(&b->ids.arena);
    m->tasks = taken(&b->tasks.arena);
    m->models = taken(&b->models.arena);
    clear(b);
    if (st)
        weir_dataset_free(data);
    else
        *out = data;
    return st;
}

void weir_dataset_free(weir_dataset *data) {
    if (!data) return;
    memory *m = data->memory;
    weirp_arena_free(&m->prompts);
    weirp_arena_free(&m->ids);
    weirp_arena_free(&m->tasks);
    weirp_arena_free(&m->models);
    free(m);
    free(data->ids);
    free(data->tasks);
    free(data->prompts);
    free(data->prompt_lens);
    free(data->model_names);
    free(data->quality);
    free(data->cost_usd);
    free(data->input_tokens);
    free(data->output_tokens);
    free(data->latency_ms);
    free(data);
}

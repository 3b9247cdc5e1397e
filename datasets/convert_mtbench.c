/* convert_mtbench.c: MT-Bench's judgements. One line judges one answer; all of a question's turn become one prompt. The
 * questions' texts are in a file of their own (question_id, category, turns), which belongs among the inputs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/convert.h"
#include "datasets/json.h"
#include "src/base/names.h"
#include "src/base/words.h"

enum { MAX_TURNS = 16 };

typedef struct question {
    const char *category;
    size_t n_turns;
    const char *turn[MAX_TURNS];
    size_t len[MAX_TURNS];
} question;

typedef struct score {
    size_t prompt, model;
    double sum, n; /* of valid judgements */
} score;

typedef struct mtbench {
    weirp_arena arena;
    weirp_names ids;     /* question_id as text */
    question **question; /* (ids.n) NULL: not seen */
    size_t question_capacity;
    weirp_names prompts;       /* "ID\nTURN" */
    weirp_names models, cells; /* cells: "PROMPT\nMODEL" by number */
    score *score;              /* (cells.n) */
    size_t score_capacity;
    weirp_row row;
    weirp_writer text;
} mtbench;

static weir_status wrong(const char *path, size_t line, const char *what, weir_error *err) {
    return weirp_fail(err, WEIR_PARSE, line, "%s:%zu: %s", path, line, what);
}

/* A question's number; its entry in `question` exists. */
static weir_status question_index(mtbench *m, const json_t *id, size_t *index, weir_error *err) {
    char text[32];
    bool added;
    const char *name = text;
    size_t len;
    if (json_is_string(id)) {
        name = json_string_value(id);
        len = json_string_length(id);
    } else {
        len = (size_t)snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
    }
    *index = weirp_names_add(&m->ids, name, len, &added);
    if (*index == WEIRP_NO_NAME ||
        !weirp_reserve((void **)&m->question, &m->question_capacity, *index + 1, sizeof *m->question))
        return weirp_nomem(err);
    if (added) m->question[*index] = NULL;
    return WEIR_OK;
}

static weir_status read_question(mtbench *m, const char *path, size_t line, const json_t *object, size_t index,
                                 weir_error *err) {
    const json_t *turns = json_object_get(object, "turns"), *turn, *category = json_object_get(object, "category");
    size_t i;
    if (!json_is_array(turns) || json_array_size(turns) > MAX_TURNS)
        return wrong(path, line, "\"turns\" must be an array of at most 16 texts", err);
    if (m->question[index]) return WEIR_OK; /* the first one stays */
    question *q = weirp_arena_take(&m->arena, sizeof *q);
    const char *c = json_is_string(category) ? json_string_value(category) : "";
    if (!q || !(c = weirp_arena_text(&m->arena, c, strlen(c)))) return weirp_nomem(err);
    *q = (question){.category = c};
    json_array_foreach(turns, i, turn) {
        if (!json_is_string(turn)) return wrong(path, line, "\"turns\" must be an array of at most 16 texts", err);
        q->len[i] = json_string_length(turn);
        q->turn[i] = weirp_arena_text(&m->arena, json_string_value(turn), q->len[i]);
        if (!q->turn[i]) return weirp_nomem(err);
        q->n_turns++;
    }
    m->question[index] = q;
    return WEIR_OK;
}

static weir_status read_judgement(mtbench *m, const char *path, size_t line, const json_t *object, size_t index,
                                  weir_error *err) {
    const json_t *model = json_object_get(object, "model"), *turn = json_object_get(object, "turn");
    const json_t *value = json_object_get(object, "score");
    char key[64];
    bool added;
    double s = json_number_value(value);
    if (!json_is_string(model) || !json_string_length(model)) return wrong(path, line, "\"model\" must be a name", err);
    if (!json_is_integer(turn) || json_integer_value(turn) < 1 || json_integer_value(turn) > MAX_TURNS)
        return wrong(path, line, "\"turn\" must be a number from 1 to 16", err);
    if (!json_is_number(value) || !(s == -1 || (s >= 1 && s <= 10)))
        return wrong(path, line, "\"score\" must be a number from 1 to 10, or -1 where the judge failed", err);
    int len = snprintf(key, sizeof key, "%zu\n%d", index, (int)json_integer_value(turn));
    size_t prompt = weirp_names_add(&m->prompts, key, (size_t)len, &added);
    size_t name = weirp_names_add(&m->models, json_string_value(model), json_string_length(model), &added);
    if (prompt == WEIRP_NO_NAME || name == WEIRP_NO_NAME) return weirp_nomem(err);
    len = snprintf(key, sizeof key, "%zu\n%zu", prompt, name);
    size_t cell = weirp_names_add(&m->cells, key, (size_t)len, &added);
    if (cell == WEIRP_NO_NAME || !weirp_reserve((void **)&m->score, &m->score_capacity, cell + 1, sizeof *m->score))
        return weirp_nomem(err);
    if (added) m->score[cell] = (score){prompt, name, 0, 0};
    if (s == -1) return WEIR_OK;
    m->score[cell].sum += s;
    m->score[cell].n++;
    return WEIR_OK;
}

static weir_status read_line(mtbench *m, const char *path, const weirp_line *line, weir_error *err) {
    weir_status st;
    json_error_t e;
    size_t index;
    if (line->too_long) return wrong(path, line->number, "longer than 64 MiB", err);
    json_t *object = json_loadb(line->text, line->len, JSON_REJECT_DUPLICATES, &e);
    if (!object && weirp_json_nomem(&e)) return weirp_nomem(err);
    if (!object)
        return weirp_fail(err, WEIR_PARSE, line->number, "%s:%zu: column %d: %s", path, line->number, e.column, e.text);
    const json_t *id = json_object_get(object, "question_id");
    if (!json_is_integer(id) && !json_is_string(id)) {
        st = wrong(path, line->number, "\"question_id\" must be a number or text", err);
        goto done;
    }
    WEIRP_TRY(question_index(m, id, &index, err));
    if (json_object_get(object, "turns"))
        st = read_question(m, path, line->number, object, index, err);
    else
        st = read_judgement(m, path, line->number, object, index, err);
done:
    json_decref(object);
    return st;
}

static weir_status read_file(weirp_conversion *c, mtbench *m, const char *path, weirp_input *in, weir_error *err) {
    for (;;) {
        weirp_line line;
        weir_error e = {0};
        weir_status st = weirp_input_line(in, (size_t)64 << 20, &line, err);
        if (st == WEIR_END) return WEIR_OK;
        if (st) return st;
        if (!line.len) continue;
        c->report.n_rows++;
        st = read_line(m, path, &line, &e);
        if (st && (st = weirp_conversion_reject(c, st, &e, err)) != WEIR_OK) return st;
    }
}

/* A later turn's prompt holds the earlier ones: that is what the model was asked. */
static weir_status set_prompt(mtbench *m, const question *q, size_t turn, weir_error *err) {
    m->text.size = 0;
    for (size_t t = 0; t < turn; t++) {
        if (t) weirp_put(&m->text, "\n\n", 2);
        weirp_put(&m->text, q->turn[t], q->len[t]);
    }
    weirp_put(&m->text, "", 1);
    m->row.prompt = (const char *)m->text.data;
    m->row.prompt_len = m->text.size - 1;
    return m->text.failed ? weirp_nomem(err) : WEIR_OK;
}

static weir_status write_prompt(weirp_conversion *c, mtbench *m, size_t prompt, const size_t *cell, size_t n,
                                weir_error *err) {
    char *rest, task[96], shown[64];
    size_t index = strtoull(m->prompts.text[prompt], &rest, 10), turn = strtoull(rest + 1, NULL, 10);
    const char *id = m->ids.text[index];
    const question *q = m->question[index];
    if (!q || q->n_turns < turn)
        return weirp_fail(err, WEIR_PARSE, 0,
                          "%s: question %s has no turn %zu: give the file of questions, too (lines with question_id, "
                          "category and turns)",
                          c->inputs[0], weirp_excerpt(shown, sizeof shown, id, strlen(id)), turn);
    weir_status st = set_prompt(m, q, turn, err);
    if (st) return st;
    m->row.n = 0;
    for (size_t i = 0; i < n; i++) {
        const score *s = &m->score[cell[i]];
        if (!s->n) continue;
        weir_outcome *o = weirp_row_add(&m->row, m->models.text[s->model]);
        if (!o) return weirp_nomem(err);
        o->quality = s->sum / s->n / 10;
    }
    if (!m->row.n) return WEIR_OK; /* the judge failed on all */
    char *full = malloc(strlen(id) + 48);
    if (!full) return weirp_nomem(err);
    sprintf(full, "mtbench.%s.%zu", id, turn);
    snprintf(task, sizeof task, "mtbench%s%s", *q->category ? "-" : "", q->category);
    m->row.id = full;
    m->row.task = task;
    st = weirp_conversion_write(c, &m->row, NULL, err);
    free(full);
    return st;
}

/* Cells in the order of their prompts, then as they came. */
static weir_status write_all(weirp_conversion *c, mtbench *m, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t *first = weirp_array(m->prompts.n + 1, sizeof *first), *order = weirp_array(m->cells.n, sizeof *order);
    size_t *at = weirp_array(m->prompts.n, sizeof *at);
    if (!first || !order || !at) st = weirp_nomem(err);
    for (size_t i = 0; i < m->cells.n && st == WEIR_OK; i++) first[m->score[i].prompt + 1]++;
    for (size_t p = 0; p < m->prompts.n && st == WEIR_OK; p++) first[p + 1] += first[p];
    for (size_t p = 0; p < m->prompts.n && st == WEIR_OK; p++) at[p] = first[p];
    for (size_t i = 0; i < m->cells.n && st == WEIR_OK; i++) order[at[m->score[i].prompt]++] = i;
    for (size_t p = 0; p < m->prompts.n && st == WEIR_OK; p++) {
        weir_error e = {0};
        st = write_prompt(c, m, p, order + first[p], first[p + 1] - first[p], &e);
        if (st) st = weirp_conversion_reject(c, st, &e, err);
    }
    free(first);
    free(order);
    free(at);
    return st;
}

weir_status weirp_convert_mtbench(weirp_conversion *c, weirp_input *first, weir_error *err) {
    mtbench m = {0};
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < c->n_inputs && st == WEIR_OK; i++) {
        weirp_input *in = i ? NULL : first;
        if (!in) st = weirp_input_open(&in, c->inputs[i], err);
        if (st == WEIR_OK) st = read_file(c, &m, c->inputs[i], in, err);
        weirp_input_close(in);
    }
    if (st == WEIR_OK) st = write_all(c, &m, err);
    weirp_arena_free(&m.arena);
    weirp_names_free(&m.ids);
    weirp_names_free(&m.prompts);
    weirp_names_free(&m.models);
    weirp_names_free(&m.cells);
    weirp_row_free(&m.row);
    weirp_writer_free(&m.text);
    free(m.question);
    free(m.score);
    return st;
}

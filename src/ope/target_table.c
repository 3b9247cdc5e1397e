/* target_table.c: chances from a CSV file, in two forms.
 *
 * Matrix, without a header: row k holds the model that the log calls "k" (from 0), or all rows the table's models in
 * their order where no model is so called; column j holds the j-th of the log's segments in sorted order (as numbers,
 * where all are numbers); a single column holds for all. Long, with a header: columns `model`, `chance` and, unless it
 * holds for all, `segment`; what no line names has the chance 0.
 *
 * Chances are used as they are written. A segment's must sum to 1 to SLACK: published tables are rounded.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/csv.h"
#include "src/base/words.h"
#include "src/ope/target_parts.h"

#define SLACK 1e-3
enum { MAX_ROWS = 65536 };

typedef struct reading {
    const char *path;
    const weirp_ope_table *table;
    weirp_csv csv;
    size_t n_models, n_segments;
    double *pi;     /* (n_segments, n_models) */
    size_t *sorted; /* (n_segments) segments by text */
    bool by_number; /* models are called by their numbers */
} reading;

typedef struct named {
    const char *text;
    double number;
    size_t index;
} named;

static int by_number(const void *a, const void *b) {
    double x = ((const named *)a)->number, y = ((const named *)b)->number;
    return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b) {
    return strcmp(((const named *)a)->text, ((const named *)b)->text);
}

static bool sort_segments(reading *r) {
    named *all = weirp_array(r->n_segments, sizeof *all);
    if (!all) return false;
    bool numbers = true;
    for (size_t s = 0; s < r->n_segments; s++) {
        all[s].text = weirp_ope_table_segment(r->table, s);
        all[s].index = s;
        numbers &= weirp_number_parse(all[s].text, strlen(all[s].text), &all[s].number);
    }
    qsort(all, r->n_segments, sizeof *all, numbers ? by_number : by_text);
    for (size_t s = 0; s < r->n_segments; s++) r->sorted[s] = all[s].index;
    free(all);
    return true;
}

static size_t find_model(const reading *r, const char *name) {
    for (size_t m = 0; m < r->n_models; m++)
        if (!strcmp(weirp_ope_table_model_name(r->table, m), name)) return m;
    return (size_t)-1;
}

static weir_status chance(reading *r, size_t field, double *x, weir_error *err) {
    size_t len;
    const char *text = weirp_csv_field(&r->csv, field, &len);
    char shown[48];
    if (weirp_number_parse(text, len, x) && *x >= 0 && *x <= 1 + SLACK) return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, r->csv.line, "%s:%zu: a chance must be a number from 0 to 1, not \"%s\"",
                      r->path, r->csv.line, weirp_excerpt(shown, sizeof shown, text, len));
}

static weir_status unknown_model(const reading *r, const char *name, weir_error *err) {
    char shown[64];
    return weirp_fail(err, WEIR_PARSE, r->csv.line,
                      "%s:%zu: the log knows no model \"%s\", so that nothing tells what it would have done", r->path,
                      r->csv.line, weirp_excerpt(shown, sizeof shown, name, strlen(name)));
}

static weir_status told_twice(const reading *r, const char *name, weir_error *err) {
    char shown[64];
    return weirp_fail(err, WEIR_PARSE, r->csv.line, "%s:%zu: the chance of model \"%s\" is there already", r->path,
                      r->csv.line, weirp_excerpt(shown, sizeof shown, name, strlen(name)));
}

static weir_status matrix_row(reading *r, size_t row, size_t n_columns, weir_error *err) {
    char name[24];
    snprintf(name, sizeof name, "%zu", row);
    size_t m = r->by_number ? find_model(r, name) : row < r->n_models ? row : (size_t)-1;
    if (r->csv.n != n_columns)
        return weirp_fail(err, WEIR_PARSE, r->csv.line, "%s:%zu: %zu columns, where the first row has %zu", r->path,
                          r->csv.line, r->csv.n, n_columns);
    for (size_t c = 0; c < n_columns; c++) {
        double x;
        weir_status st = chance(r, c, &x, err);
        if (st != WEIR_OK) return st;
        if (m == (size_t)-1 && x > 0) return unknown_model(r, name, err);
        if (m == (size_t)-1) continue;
        for (size_t s = 0; s < r->n_segments; s++)
            if (n_columns == 1 || r->sorted[c] == s) r->pi[s * r->n_models + m] = x;
    }
    return WEIR_OK;
}

static weir_status read_matrix(reading *r, weir_error *err) {
    size_t n_columns = r->csv.n;
    if (n_columns != 1 && n_columns != r->n_segments)
        return weirp_fail(err, WEIR_PARSE, r->csv.line, "%s: %zu columns, where the log has %zu segments", r->path,
                          n_columns, r->n_segments);
    r->by_number = find_model(r, "0") != (size_t)-1 || find_model(r, "1") != (size_t)-1;
    for (size_t row = 0; row < MAX_ROWS; row++) {
        weir_status st = matrix_row(r, row, n_columns, err);
        if (st == WEIR_OK) st = weirp_csv_next(&r->csv, err);
        if (st != WEIR_OK) return st == WEIR_END ? WEIR_OK : st;
    }
    return weirp_fail(err, WEIR_PARSE, 0, "%s: more than %d rows", r->path, MAX_ROWS);
}

/* After the header, whose columns are given; (size_t)-1: no segments. */
static weir_status read_long(reading *r, const size_t column[3], weir_error *err) {
    weir_status st;
    while ((st = weirp_csv_next(&r->csv, err)) == WEIR_OK) {
        double x;
        for (int k = 0; k < 3; k++)
            if (column[k] != (size_t)-1 && column[k] >= r->csv.n)
                return weirp_fail(err, WEIR_PARSE, r->csv.line, "%s:%zu: too few columns", r->path, r->csv.line);
        if ((st = chance(r, column[2], &x, err)) != WEIR_OK) return st;
        size_t len;
        const char *name = weirp_csv_field(&r->csv, column[1], &len);
        size_t m = find_model(r, name);
        if (m == (size_t)-1 && x > 0) return unknown_model(r, name, err);
        const char *segment = column[0] == (size_t)-1 ? NULL : weirp_csv_field(&r->csv, column[0], &len);
        for (size_t s = 0; s < r->n_segments && m != (size_t)-1; s++) {
            if (segment && strcmp(segment, weirp_ope_table_segment(r->table, s)) != 0) continue;
            double *pi = &r->pi[s * r->n_models + m];
            if (*pi > 0) return told_twice(r, name, err);
            *pi = x;
        }
    }
    return st == WEIR_END ? WEIR_OK : st;
}

static weir_status read_rows(reading *r, weir_error *err) {
    static const char *const names[3] = {"segment", "model", "chance"};
    size_t column[3] = {(size_t)-1, (size_t)-1, (size_t)-1}, len;
    weir_status st = weirp_csv_next(&r->csv, err);
    if (st == WEIR_END) return weirp_fail(err, WEIR_NODATA, 0, "%s: the file is empty", r->path);
    if (st != WEIR_OK) return st;
    for (size_t c = 0; c < r->csv.n; c++)
        for (int k = 0; k < 3; k++)
            if (!strcmp(weirp_csv_field(&r->csv, c, &len), names[k])) column[k] = c;
    if (column[1] != (size_t)-1 && column[2] != (size_t)-1) return read_long(r, column, err);
    double x;
    const char *first = weirp_csv_field(&r->csv, 0, &len);
    if (!weirp_number_parse(first, len, &x))
        return weirp_fail(err, WEIR_PARSE, 1,
                          "%s: a table of chances is rows of numbers, or has a header with model, chance and segment",
                          r->path);
    return read_matrix(r, err);
}

static weir_status check_sums(const reading *r, weir_error *err) {
    for (size_t s = 0; s < r->n_segments; s++) {
        double sum = 0;
        for (size_t m = 0; m < r->n_models; m++) sum += r->pi[s * r->n_models + m];
        char shown[48];
        const char *text = weirp_ope_table_segment(r->table, s);
        if (fabs(sum - 1) > SLACK)
            return weirp_fail(err, WEIR_PARSE, 0, "%s: the chances of segment \"%s\" sum to %.6g, not to 1", r->path,
                              weirp_excerpt(shown, sizeof shown, text, strlen(text)), sum);
    }
    return WEIR_OK;
}

weir_status weirp_target_table_read(double **out, const char *path, const weirp_ope_table *table, weir_error *err) {
    reading r = {.path = path, .table = table};
    weirp_input *in = NULL;
    weir_status st = WEIR_OK;
    r.n_models = weirp_ope_table_n_models(table);
    r.n_segments = weirp_ope_table_n_segments(table);
    r.pi = weirp_array(r.n_segments * r.n_models, sizeof *r.pi);
    r.sorted = weirp_array(r.n_segments, sizeof *r.sorted);
    if (!r.pi || !r.sorted || !sort_segments(&r)) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_input_open(&in, path, err));
    r.csv = (weirp_csv){.in = in, .path = path};
    WEIRP_TRY(read_rows(&r, err));
    WEIRP_TRY(check_sums(&r, err));
    *out = r.pi;
    r.pi = NULL;
done:
    weirp_csv_free(&r.csv);
    weirp_input_close(in);
    free(r.pi);
    free(r.sorted);
    return st;
}

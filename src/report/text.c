/* text.c: text in columns. Widths are utf8proc's, so that names in any script line up.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/base/base.h"
#include "src/report/show.h"

/* The next character of text that isn't empty: its bytes, and in *columns what it takes. A byte that isn't UTF-8 and a
 * control character count as one column and are not to be printed (*printable). */
static size_t next_char(const char *text, size_t *columns, bool *printable) {
    utf8proc_int32_t code;
    const utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code);
    *printable = used > 0 && code >= 32 && code != 127 && !(code >= 128 && code < 160) &&
                 utf8proc_category(code) != UTF8PROC_CATEGORY_CF;
    *columns = *printable ? (size_t)utf8proc_charwidth(code) : 1;
    return used > 0 ? (size_t)used : 1;
}

size_t weirp_text_width(const char *text) {
    size_t width = 0, columns;
    bool printable;
    while (*text) {
        text += next_char(text, &columns, &printable);
        width += columns;
    }
    return width;
}

/* Appends one character where it and the final NUL fit; false: full. */
static bool append(char *out, size_t size, size_t *at, const char *text, size_t length, bool printable) {
    if (!printable) text = " ", length = 1;
    if (*at + length + 1 > size) return false;
    memcpy(out + *at, text, length);
    *at += length;
    out[*at] = '\0';
    return true;
}

void weirp_text_fit(char *out, size_t size, const char *text, size_t columns) {
    const size_t width = weirp_text_width(text);
    /* Columns [head, width - tail) are left out, with a "…" in their place; sooner where the bytes are too few. */
    size_t limit = columns;
    if (strlen(text) >= size && limit > (size - 4) / 4) limit = (size - 4) / 4;
    const bool cut = width > limit;
    const size_t tail = cut ? (limit > 0 ? (limit - 1) / 2 : 0) : 0,
                 head = cut ? (limit > 0 ? limit - 1 - tail : 0) : 0;
    size_t at = 0, seen = 0, used;
    bool marked = false;
    out[0] = '\0';
    for (; *text; text += used) {
        size_t wide;
        bool printable;
        used = next_char(text, &wide, &printable);
        const size_t from = seen;
        seen += wide;
        if (cut && seen > head && from < width - tail) {
            if (!marked && limit > 0) append(out, size, &at, "…", strlen("…"), true);
            marked = true;
            continue;
        }
        if (!append(out, size, &at, text, used, printable)) return;
    }
}

void weirp_text_count(char *out, size_t size, size_t n) {
    char digits[32];
    const size_t length = (size_t)snprintf(digits, sizeof digits, "%zu", n);
    size_t at = 0;
    for (size_t i = 0; i < length && at + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

void weirp_text_amount(char *out, size_t size, double x) {
    if (!isfinite(x)) {
        snprintf(out, size, isnan(x) ? "-" : "∞");
        return;
    }
    if (x == 0 || fabs(x) >= 1e7 || fabs(x) < 1e-5) {
        snprintf(out, size, "%.3g", x);
        return;
    }
    const int decimals = 2 - (int)floor(log10(fabs(x)));
    snprintf(out, size, "%.*f", decimals > 0 ? decimals : 0, x);
}

/* ---- tables ---- */

char (*weirp_grid_row(weirp_grid *g, bool bold))[WEIRP_CELL] {
    const size_t cells = g->n_columns * (g->n_rows + 1);
    if (!weirp_reserve((void **)&g->cells, &g->capacity, cells, sizeof *g->cells) ||
        !weirp_reserve((void **)&g->bold, &g->bold_capacity, g->n_rows + 1, sizeof *g->bold))
        return NULL;
    char(*row)[WEIRP_CELL] = g->cells + g->n_columns * g->n_rows;
    memset(row, 0, g->n_columns * sizeof *row);
    g->bold[g->n_rows++] = bold;
    return row;
}

void weirp_grid_free(weirp_grid *g) {
    free(g->cells);
    free(g->bold);
    g->cells = NULL, g->bold = NULL;
}

/* 0 for a column that says nothing, so that it goes. */
static size_t column_width(const weirp_grid *g, size_t c) {
    size_t width = weirp_text_width(g->columns[c].title);
    bool empty = c > 0;
    for (size_t r = 0; r < g->n_rows; r++) {
        const char *cell = g->cells[r * g->n_columns + c];
        const size_t w = weirp_text_width(cell);
        if (w > width) width = w;
        empty = empty && (*cell == '\0' || strcmp(cell, "-") == 0);
    }
    return empty ? 0 : width;
}

static void put_cell(FILE *out, const char *text, size_t width, bool left, bool last) {
    char fitted[WEIRP_CELL];
    weirp_text_fit(fitted, sizeof fitted, text, width);
    const size_t used = weirp_text_width(fitted), pad = width > used ? width - used : 0;
    if (!left) fprintf(out, "%*s", (int)pad, "");
    fputs(fitted, out);
    if (left && !last) fprintf(out, "%*s", (int)pad, "");
}

enum { MAX_COLUMNS = 16, INDENT = 2, GAP = 2, LEAST_NAME = 10, SPARE = 3 };

/* Widths of the columns that fit, 0 for those that go: the least needed ones first; when only needed ones are left, a
 * first column that is a little too wide is cut instead. */
static void choose_widths(const weirp_grid *g, size_t width, size_t *widths) {
    size_t total = INDENT;
    for (size_t c = 0; c < g->n_columns; c++)
        if ((widths[c] = column_width(g, c))) total += widths[c] + (c ? GAP : 0);
    while (total > width) {
        size_t drop = 0;
        for (size_t c = 1; c < g->n_columns; c++)
            if (widths[c] && g->columns[c].priority > g->columns[drop].priority) drop = c;
        const size_t over = total - width;
        const bool needed = g->columns[drop].priority < SPARE;
        if (needed && widths[0] >= LEAST_NAME + over && (over <= widths[0] / 3 || drop == 0)) {
            widths[0] -= over;
            return;
        }
        if (drop == 0) {
            if (widths[0] > LEAST_NAME) widths[0] = LEAST_NAME;
            return;
        }
        total -= widths[drop] + GAP;
        widths[drop] = 0;
    }
}

void weirp_grid_print(const weirp_grid *g, FILE *out, size_t width, bool color) {
    size_t widths[MAX_COLUMNS], last = 0;
    if (g->n_columns > MAX_COLUMNS) return;
    choose_widths(g, width, widths);
    for (size_t c = 0; c < g->n_columns; c++)
        if (widths[c]) last = c;
    for (size_t r = 0; r <= g->n_rows; r++) { /* row 0: the titles */
        const char *style = r == 0 ? "\033[2m" : g->bold[r - 1] ? "\033[1m" : NULL;
        if (color && style) fputs(style, out);
        fprintf(out, "%*s", INDENT, "");
        for (size_t c = 0; c < g->n_columns; c++) {
            if (!widths[c]) continue;
            if (c) fprintf(out, "%*s", GAP, "");
            put_cell(out, r == 0 ? g->columns[c].title : g->cells[(r - 1) * g->n_columns + c], widths[c],
                     g->columns[c].left, c == last);
        }
        if (color && style) fputs("\033[0m", out);
        fputc('\n', out);
    }
}

/* output.c: errors, warnings, tables and reports. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <utf8proc.h>

#include "tools/cli.h"

/* ---- errors and warnings ---- */

int cli_fail(const char *command, const weir_error *err) {
    fprintf(stderr, "%s%s: %s\n", cli_prefix, command, err->text[0] ? err->text : weir_status_text(err->status));
    return CLI_FAILED;
}

int cli_misuse(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s%s: ", cli_prefix, command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry '%s%s --help'.\n", cli_prefix, command);
    va_end(args);
    return CLI_USAGE;
}

void cli_note(const char *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s%s: ", cli_prefix, command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

enum { WARNINGS_SHOWN = 10 };

void cli_warn(void *user, const char *text) {
    cli_warnings *w = user;
    if (w->n++ < WARNINGS_SHOWN) fprintf(stderr, "%s%s: warning: %s\n", cli_prefix, w->command, text);
}

void cli_warn_end(const cli_warnings *w) {
    if (w->n > WARNINGS_SHOWN)
        fprintf(stderr, "%s%s: ... and %zu more warnings\n", cli_prefix, w->command, w->n - WARNINGS_SHOWN);
}

size_t cli_find_name(const char *command, const cli_names *names, const char *name) {
    for (size_t i = 0; i < names->n; i++)
        if (!strcmp(names->name(names->owner, i), name)) return i;
    fprintf(stderr, "%s%s: no model '%s'; there are:", cli_prefix, command, name);
    for (size_t i = 0; i < names->n; i++) fprintf(stderr, "%s %s", i ? "," : "", names->name(names->owner, i));
    fputc('\n', stderr);
    return (size_t)-1;
}

static const char *router_name(const void *owner, size_t index) {
    return weir_router_model(owner, index);
}

cli_names cli_router_names(const weir_router *router) {
    return (cli_names){router, weir_router_n_models(router), router_name};
}

size_t cli_find_model(const char *command, const weir_router *router, const char *name) {
    cli_names names = cli_router_names(router);
    return cli_find_name(command, &names, name);
}

/* ---- tables ---- */

struct cli_table {
    size_t n_columns, n_cells, capacity;
    char **cells; /* row-major, the headers first */
    bool failed;
};

static void add(cli_table *t, const char *text) {
    if (t->n_cells == t->capacity) {
        size_t grown = t->capacity ? 2 * t->capacity : 64;
        char **moved = realloc(t->cells, grown * sizeof *moved);
        if (!moved) {
            t->failed = true;
            return;
        }
        t->cells = moved;
        t->capacity = grown;
    }
    char *copy = strdup(text);
    if (copy)
        t->cells[t->n_cells++] = copy;
    else
        t->failed = true;
}

cli_table *cli_table_new(const char *const *headers, size_t n_columns) {
    cli_table *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->n_columns = n_columns;
    for (size_t i = 0; i < n_columns; i++) add(t, headers[i]);
    return t;
}

void cli_table_cell(cli_table *t, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!t->failed) add(t, text);
}

static size_t width_of(const char *text) {
    size_t width = 0;
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text;
    for (utf8proc_int32_t c; *s;) {
        utf8proc_ssize_t n = utf8proc_iterate(s, -1, &c);
        if (n <= 0) n = 1, c = '?';
        width += (size_t)utf8proc_charwidth(c);
        s += n;
    }
    return width;
}

/* A column of numbers (or of nothing) is set right. */
static bool is_number(const char *text) {
    return !*text || strspn(text, "0123456789.-+$%?e,") == strlen(text) || !strcmp(text, "inf");
}

void cli_table_print(const cli_table *t, FILE *out) {
    if (t->failed) {
        fputs("(no memory for the table)\n", out);
        return;
    }
    size_t n_rows = t->n_cells / t->n_columns;
    for (size_t row = 0; row < n_rows; row++) {
        for (size_t col = 0; col < t->n_columns; col++) {
            size_t widest = 0;
            bool right = n_rows > 1;
            for (size_t r = 0; r < n_rows; r++) {
                const char *cell = t->cells[r * t->n_columns + col];
                size_t w = width_of(cell);
                if (w > widest) widest = w;
                if (r && !is_number(cell)) right = false;
            }
            const char *cell = t->cells[row * t->n_columns + col];
            int pad = (int)(widest - width_of(cell));
            if (right)
                fprintf(out, "%*s%s", pad, "", cell);
            else
                fprintf(out, "%s%*s", cell, col + 1 < t->n_columns ? pad : 0, "");
            fputs(col + 1 < t->n_columns ? "  " : "\n", out);
        }
    }
}

void cli_table_free(cli_table *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_cells; i++) free(t->cells[i]);
    free(t->cells);
    free(t);
}

const char *cli_usd(double usd, char text[CLI_USD_SIZE]) {
    if (isnan(usd)) return strcpy(text, "?");
    if (isinf(usd)) return strcpy(text, "inf");
    int digits = fabs(usd) >= 1 || usd == 0 ? 2 : (int)fmin(12, 2 - floor(log10(fabs(usd))));
    snprintf(text, CLI_USD_SIZE, "%s$%.*f", usd < 0 ? "-" : "", digits, fabs(usd));
    return text;
}

/* ---- reports ---- */

bool cli_speaks(const char *json_path) {
    return !json_path || strcmp(json_path, "-") != 0;
}

int cli_write(const char *command, const char *path, const char *text) {
    bool to_stdout = !strcmp(path, "-");
    FILE *f = to_stdout ? stdout : fopen(path, "w");
    bool ok = f && fputs(text, f) >= 0 && fputc('\n', f) != EOF && fflush(f) == 0;
    int why = errno;
    if (f && !to_stdout && fclose(f) != 0) ok = false, why = errno;
    if (ok) return CLI_OK;
    fprintf(stderr, "%s%s: can't write %s: %s\n", cli_prefix, command, to_stdout ? "standard output" : path,
            strerror(why));
    return CLI_FAILED;
}

int cli_columns(void) {
    struct winsize w;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20) return w.ws_col;
    return 80;
}

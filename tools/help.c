/* help.c: help pages from option tables. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "tools/cli_internal.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 100 };

/* Words of `text`, wrapped, from column `at` on; further lines start at `indent`. */
static void wrap(const char *text, size_t at, size_t indent) {
    size_t width = (size_t)cli_columns();
    if (width > HELP_WIDTH) width = HELP_WIDTH;
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " ");
        if (first) {
            at += n;
        } else if (at + 1 + n > width && at > indent) {
            printf("\n%*s", (int)indent, "");
            at = indent + n;
        } else {
            putchar(' ');
            at += n + 1;
        }
        printf("%.*s", (int)n, text);
        text += n;
        while (*text == ' ') text++;
    }
    putchar('\n');
}

static void append_default(const cli_option *o, char *text, size_t size) {
    size_t at = strlen(text);
    if (at >= size) return;
    if (o->required) return;
    if (o->kind == CLI_REAL && isfinite(*(double *)o->target))
        snprintf(text + at, size - at, " (default %g)", *(double *)o->target);
    if (o->kind == CLI_SIZE && *(size_t *)o->target)
        snprintf(text + at, size - at, " (default %zu)", *(size_t *)o->target);
    if (o->kind == CLI_CHOICE && *(const char **)o->target)
        snprintf(text + at, size - at, " (default %s)", *(const char **)o->target);
}

static void append_choices(const cli_option *o, char *text, size_t size) {
    if (o->kind != CLI_CHOICE) return;
    for (size_t i = 0; o->choice(i); i++) {
        size_t at = strlen(text);
        snprintf(text + at, size - at, "%s%s", i ? ", " : ": ", o->choice(i));
    }
}

static size_t heading(const cli_option *o, char *text, size_t size) {
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    const char *argument = o->kind == CLI_FLAG ? "" : o->argument;
    char shown[64];
    if (o->kind == CLI_MAYBE)
        snprintf(shown, sizeof shown, " [%s]", argument);
    else if (o->kind == CLI_LIST)
        snprintf(shown, sizeof shown, " %s...", argument);
    else
        snprintf(shown, sizeof shown, "%s%s", *argument ? " " : "", argument);
    return (size_t)snprintf(text, size, "  %s--%s%s", letter, o->name, shown);
}

void cli_option_help(const cli_option *o, char *text, size_t size) {
    snprintf(text, size, "%s", o->help);
    append_choices(o, text, size);
    append_default(o, text, size);
}

static void print_option(const cli_option *o) {
    char head[128], help[1024];
    size_t at = heading(o, head, sizeof head);
    fputs(head, stdout);
    cli_option_help(o, help, sizeof help);
    if (at + 2 > HELP_COLUMN) putchar('\n'), at = 0;
    printf("%*s", (int)(HELP_COLUMN - at), "");
    wrap(help, HELP_COLUMN, HELP_COLUMN);
}

static void print_usage(const cli_command *c) {
    printf("Usage: %s%s", cli_prefix, c->name);
    for (const cli_option *o = c->options; o->name; o++)
        if (o->required) printf(" --%s %s%s", o->name, o->argument, o->kind == CLI_LIST ? "..." : "");
    printf(" [OPTION]...%s%s\n", c->operands ? " " : "", c->operands ? c->operands : "");
}

/* Paragraphs stand apart by a newline. */
static void print_text(const char *text) {
    while (*text) {
        char paragraph[1024];
        size_t n = strcspn(text, "\n");
        snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, text);
        putchar('\n');
        wrap(paragraph, 0, 0);
        text += n;
        if (*text) text++;
    }
}

void cli_print_help(const cli_command *c) {
    const char *summary = cli_summary(c);
    print_usage(c);
    if (*summary) printf("\n%c%s.\n", summary[0] - 'a' + 'A', summary + 1);
    if (c->text) print_text(c->text);
    printf("\nOptions:\n");
    for (const cli_option *o = c->options; o->name; o++) print_option(o);
    printf("  -h, --help                show this\n");
    if (!c->examples) return;
    printf("\nExamples:\n");
    for (const char *e = c->examples; *e;) {
        size_t n = strcspn(e, "\n");
        printf("  %.*s\n", (int)n, e);
        e += n;
        if (*e) e++;
    }
}

void cli_print_options(const cli_command *c) {
    for (const cli_option *o = c->options; o->name; o++) printf("--%s ", o->name);
    printf("--help");
}

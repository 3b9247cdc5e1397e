/* manpage.c: manual pages from the same tables as the help: "weir help --man [COMMAND]", run when weir is built.
 * Language: groff_man(7). SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>

#include "tools/cli_internal.h"

/* Text with what roff would read as its own put out of harm's way; upper: in capitals. */
static void put_text(const char *text, size_t n, bool upper) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\\')
            fputs("\\e", stdout);
        else if (c == '-')
            fputs("\\-", stdout);
        else if (c == '\'')
            fputs("\\(aq", stdout);
        else if (c == '"')
            fputs("\\(dq", stdout);
        else if (c == '`')
            fputs("\\(ga", stdout);
        else if (c == '^')
            fputs("\\(ha", stdout);
        else if (c == '~')
            fputs("\\(ti", stdout);
        else if (c == '.' && i == 0)
            fputs("\\&.", stdout);
        else
            putchar(upper ? toupper(c) : c);
    }
}

static void put(const char *text) {
    put_text(text, strlen(text), false);
}

static void bold(const char *prefix, const char *text) {
    fputs("\\fB", stdout);
    put(prefix);
    put(text);
    fputs("\\fR", stdout);
}

static void italic(const char *text) {
    fputs("\\fI", stdout);
    put(text);
    fputs("\\fR", stdout);
}

static void head(const char *command, const char *summary) {
    fputs(".\\\" Made from the command's own option table; don't edit.\n.TH WEIR", stdout);
    if (*command) putchar('-');
    put_text(command, strlen(command), true);
    printf(" 1 \"\" \"weir %s\" \"weir\"\n.SH NAME\nweir", weir_version());
    if (*command) printf("\\-%s", command);
    fputs(" \\- ", stdout);
    put(summary);
    putchar('\n');
}

/* Lines as they are. */
static void verbatim(const char *text) {
    printf(".PP\n.nf\n");
    while (*text) {
        size_t n = strcspn(text, "\n");
        put_text(text, n, false);
        putchar('\n');
        text += n;
        if (*text) text++;
    }
    printf(".fi\n");
}

static void exit_status(void) {
    printf(".SH EXIT STATUS\n.TP\n0\nThe work is done.\n.TP\n1\nThe work failed; standard error says why. A reader of "
           "standard "
           "output that leaves early, such as head, is no failure.\n"
           ".TP\n2\nThe command line is wrong.\n");
}

static void argument_of(const cli_option *o) {
    if (o->kind == CLI_FLAG) return;
    fputs(o->kind == CLI_MAYBE ? " [" : " ", stdout);
    italic(o->argument);
    if (o->kind == CLI_LIST) fputs("...", stdout);
    if (o->kind == CLI_MAYBE) putchar(']');
}

static void option(const cli_option *o) {
    char help[1024];
    printf(".TP\n");
    if (o->letter) {
        const char letter[] = {o->letter, '\0'};
        bold("-", letter);
        fputs(", ", stdout);
    }
    bold("--", o->name);
    argument_of(o);
    putchar('\n');
    cli_option_help(o, help, sizeof help);
    if (islower((unsigned char)help[0])) help[0] = (char)toupper((unsigned char)help[0]);
    put(help);
    printf(".\n");
}

static void synopsis(const cli_command *c) {
    printf(".SH SYNOPSIS\n");
    bold(cli_prefix, c->name);
    for (const cli_option *o = c->options; o->name; o++) {
        if (!o->required) continue;
        putchar(' ');
        bold("--", o->name);
        argument_of(o);
    }
    fputs(" [\\fIOPTION\\fR]...", stdout);
    if (c->operands) putchar(' '), put(c->operands);
    putchar('\n');
}

void cli_print_man(const cli_command *c) {
    head(c->name, cli_summary(c));
    synopsis(c);
    if (c->text) {
        printf(".SH DESCRIPTION\n");
        for (const char *t = c->text; *t;) {
            size_t n = strcspn(t, "\n");
            if (t != c->text) printf(".PP\n");
            put_text(t, n, false);
            putchar('\n');
            t += n;
            if (*t) t++;
        }
    }
    printf(".SH OPTIONS\n");
    for (const cli_option *o = c->options; o->name; o++) option(o);
    printf(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow a short form of this page.\n");
    exit_status();
    if (c->examples) {
        printf(".SH EXAMPLES\n");
        verbatim(c->examples);
    }
    printf(".SH SEE ALSO\n.BR weir (1)\n");
}

void cli_print_man_overview(const char *first_steps) {
    head("", "cost-aware router for language models");
    printf(".SH SYNOPSIS\n\\fBweir\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...\n"
           ".SH DESCRIPTION\n"
           "For every prompt, weir predicts for each model of a pool how good the answer will be and what it will "
           "cost,\nand names the model with the least expected loss.\n"
           "It is trained on outcomes: what models did with prompts.\n"
           "What it has learned is kept in one file, the store.\n"
           ".SH COMMANDS\n");
    for (const cli_entry *e = cli_entries; e->name; e++) {
        printf(".TP\n\\fBweir\\-%s\\fR(1)\n", e->name);
        putchar(toupper((unsigned char)e->summary[0]));
        put(e->summary + 1);
        printf(".\n");
    }
    printf(".TP\n\\fBweir help\\fR [\\fICOMMAND\\fR]\nExplain a command.\n"
           ".TP\n\\fBweir \\-\\-version\\fR\nPrint the version.\n");
    exit_status();
    printf(".SH EXAMPLES\n");
    verbatim(first_steps);
}

/* cli.h: what every subcommand of weir uses: options, errors, progress, tables, reports.
 *
 * Lives in tools/: one file a subcommand, each with one entry point below. A subcommand uses the public API only.
 *
 *     int weir_cmd_train(int argc, char **argv) {
 *         const char *store = NULL;
 *         const cli_option options[] = {
 *             {"store", 's', CLI_TEXT, &store, "FILE", "the store to write", .required = true},
 *             {0},
 *         };
 *         const cli_command command = {"train", .options = options, .examples = "..."};
 *         int rc = cli_parse(&command, argc, argv);
 *         if (rc != CLI_GO) return rc;
 *         ...
 *         return CLI_OK;
 *     }
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_CLI_H
#define WEIR_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/weir.h"

/* Exit statuses, and what cli_parse says when the command should go on. */
enum { CLI_GO = -1, CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* ---- the subcommands: argv[0] is the subcommand's name; the result is the exit status ---- */

/* X(name, summary): the one table that dispatch, help and completion come from. */
#define CLI_COMMAND_TABLE(X)                                                                                           \
    X(train, "fit a router from outcomes and write it to a store")                                                     \
    X(eval, "cost-quality curve of every policy on held-out outcomes")                                                 \
    X(route, "decide on one prompt, and explain the decision")                                                         \
    X(learn, "decide and learn, outcome by outcome, from a stream")                                                    \
    X(calibrate, "find the threshold for a share of strong calls")                                                     \
    X(simulate, "write outcomes with known truth")                                                                     \
    X(convert, "turn other systems' data into outcome files")                                                          \
    X(serve, "serve OpenAI and Anthropic clients, routed over many vendors")                                           \
    X(store, "look into, check, compact or export a store; change its pool")                                           \
    X(key, "make, list, change, rotate and revoke virtual API keys")                                                   \
    X(budget, "limit what may be spent; show and audit what was")                                                      \
    X(ope, "tell from a log what another policy would have done")                                                      \
    X(bench, "measure decisions, learning and training on this machine")                                               \
    X(completion, "print shell completion")

#define CLI_DECLARE(name, summary) int weir_cmd_##name(int argc, char **argv);
CLI_COMMAND_TABLE(CLI_DECLARE)
#undef CLI_DECLARE

typedef struct cli_entry {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} cli_entry;

extern const cli_entry cli_entries[]; /* the program's own, beside its main; ends with a NULL name */

/* What comes before a command's name: "weir "; "weir-" for programs of their own (tools/vendor/main.c). */
extern const char *cli_prefix;

/* ---- options ---- */

typedef enum cli_kind {
    CLI_FLAG,   /* bool: set when given */
    CLI_TEXT,   /* const char *, borrowed from argv */
    CLI_MAYBE,  /* const char *: the argument may be left out ("--json" alone); then it is "-" */
    CLI_LIST,   /* cli_list: one or more, "--data a b" and "--data a --data b" */
    CLI_SIZE,   /* size_t; "10k" and "2M" are fine */
    CLI_SEED,   /* uint64_t */
    CLI_REAL,   /* double */
    CLI_CHOICE, /* const char *: one of choice(0), choice(1), ... */
} cli_kind;

typedef struct cli_list {
    const char **items; /* borrowed from argv; the array is ours: cli_list_free */
    size_t n;
} cli_list;

typedef struct cli_option {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* short form, 0: none */
    cli_kind kind;
    void *target;         /* as the kind says; keeps its value when the option isn't given */
    const char *argument; /* its name in the help, e.g. "FILE" */
    const char *help;     /* one line, may be long; starts in lower case */
    bool required;
    double lo, hi;                       /* CLI_REAL, CLI_SIZE: range, where lo < hi */
    const char *(*choice)(size_t index); /* CLI_CHOICE: the names, NULL past the last */
    bool *given;                         /* where not NULL: set when the option is given */
} cli_option;

typedef struct cli_command {
    const char *name;
    const char *summary;  /* NULL: that of the table above */
    const char *operands; /* "PROMPT | -"; NULL: none are taken */
    size_t max_operands;
    const char *text;          /* what it does, paragraphs; may be NULL */
    const char *examples;      /* command lines, one a line */
    const cli_option *options; /* ends with a NULL name */
    /* where operands go: */
    char ***operand; /* borrowed from argv; NULL when none are taken */
    size_t *n_operands;
} cli_command;

/* Reads the command line into the options' targets. CLI_GO: go on. Anything else is the exit status: --help has been
 * printed, or the mistake has. */
int cli_parse(const cli_command *command, int argc, char **argv);
void cli_list_free(cli_list *list);

/* All of `text` as a number, as CLI_REAL reads it; false: it isn't one. */
bool cli_real(const char *text, double *out);

/* The nearest of some names, or NULL when none is near; for "did you mean". */
const char *cli_nearest(const char *word, const char *(*name)(size_t index));

/* ---- errors and warnings ---- */

/* "weir CMD: text" on stderr; gives CLI_FAILED, or CLI_USAGE for the second one (which points at --help). */
int cli_fail(const char *command, const weir_error *err);
int cli_misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_note(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A weir_warning_fn that prints the first few and counts the rest. Start from {.command = "train"}. */
typedef struct cli_warnings {
    const char *command;
    size_t n;
} cli_warnings;
void cli_warn(void *warnings, const char *text);
void cli_warn_end(const cli_warnings *warnings); /* "... and 12 more" */

/* ---- models by name ---- */

/* Index of a model of the router; (size_t)-1 after saying which there are (the command then exits with CLI_USAGE). */
size_t cli_find_model(const char *command, const weir_router *router, const char *name);

/* The same over any list of names: name(owner, index) for index < n. */
typedef struct cli_names {
    const void *owner;
    size_t n;
    const char *(*name)(const void *owner, size_t index);
} cli_names;
size_t cli_find_name(const char *command, const cli_names *names, const char *name);
cli_names cli_router_names(const weir_router *router);

/* ---- progress ---- */

/* A weir_progress_fn that draws on stderr when that is a terminal. Ctrl-C asks the work to stop (WEIR_CANCELED); a
 * second one ends the process. Start from cli_progress_begin. */
typedef struct cli_progress_bar {
    bool draws;
    double started, drawn; /* seconds, of this stage and of the last drawing */
    char stage[48];
} cli_progress_bar;
cli_progress_bar cli_progress_begin(void);
int cli_progress(void *bar, const char *stage, size_t done, size_t total);
void cli_progress_end(cli_progress_bar *bar); /* clears the line */

/* ---- tables and reports ---- */

/* A table of text: columns as wide as they must be, in Unicode's terms. Numbers go right, the rest left. */
typedef struct cli_table cli_table;
cli_table *cli_table_new(const char *const *headers, size_t n_columns); /* NULL: out of memory */
/* The next cell, row by row. */
void cli_table_cell(cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_table_print(const cli_table *table, FILE *out);
void cli_table_free(cli_table *table);

/* USD with as many digits as it needs: "$0.00123", "$12.40"; "?" for NAN. Written into `text`, which is returned. */
#define CLI_USD_SIZE 32
const char *cli_usd(double usd, char text[CLI_USD_SIZE]);

/* True when the report for people goes to stdout: unless the machine's does. */
bool cli_speaks(const char *json_path);
/* Writes `text` and a newline to a file, or to stdout for "-"; CLI_OK or CLI_FAILED after saying why. */
int cli_write(const char *command, const char *path, const char *text);

/* What is written to standard output is all that the command is there for: with its reader gone it should stop. From
 * then on a write fails that has none; what fails with WEIR_IO once cli_reader_left has done what it was asked to. */
void cli_stdout_is_the_work(void);
bool cli_reader_left(void);

/* Width of the terminal, 80 where there is none. */
int cli_columns(void);

#endif

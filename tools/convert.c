/* convert.c: weir convert: other systems' data as outcome files. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/outfile.h"

#define COMMAND "convert"

typedef struct arguments {
    const char *from, *out, *pool, *state;
    char **input;
    size_t n_inputs;
    weir_convert_options o;
} arguments;

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* A download into a plain file leaves OUT.state behind when it breaks, and goes on from it. */
static int choose_state(arguments *a, char **own) {
    bool hub = a->from && !strcmp(a->from, "sprout-hub");
    bool plain = strcmp(a->out, "-") && !ends_with(a->out, ".zst");
    if (a->state && !(hub && plain))
        return cli_misuse(COMMAND, "--state needs --from sprout-hub and an --out that is a plain file");
    if (!a->state && hub && plain && a->n_inputs == 1) {
        size_t size = strlen(a->out) + sizeof ".state";
        *own = malloc(size);
        if (!*own) {
            cli_note(COMMAND, "out of memory");
            return CLI_FAILED;
        }
        snprintf(*own, size, "%s.state", a->out);
        a->state = *own;
    }
    a->o.state_path = a->state;
    return CLI_GO;
}

static void print_report(const arguments *a, const weir_convert_report *r) {
    cli_note(COMMAND, "%zu rows read, %zu outcome lines written to %s, %zu malformed, %zu cut by the server", r->n_rows,
             r->n_written, strcmp(a->out, "-") ? a->out : "standard output", r->n_malformed, r->n_truncated);
}

static int convert(arguments *a, const weir_pool *pool) {
    weir_error err = {0};
    weir_convert_report report = {0};
    cli_warnings warnings = {.command = COMMAND};
    cli_progress_bar bar = cli_progress_begin();
    bool resumes = a->state && !access(a->state, F_OK) && !access(a->out, F_OK);
    cli_outmode mode = !a->state ? CLI_OUT_WHOLE : resumes ? CLI_OUT_CONTINUE : CLI_OUT_IN_PLACE;
    cli_outfile *file = cli_outfile_open(COMMAND, a->out, mode);
    if (!file) return CLI_FAILED;
    if (resumes) cli_note(COMMAND, "going on where %s says", a->state);
    a->o.pool = pool;
    a->o.warning = cli_warn;
    a->o.warning_user = &warnings;
    a->o.progress = cli_progress;
    a->o.progress_user = &bar;
    weir_status st = weir_convert(a->from, (const char *const *)a->input, a->n_inputs, cli_outfile_stream(file), &a->o,
                                  &report, &err);
    cli_progress_end(&bar);
    cli_warn_end(&warnings);
    int rc = cli_outfile_close(file, st == WEIR_OK);
    if (st == WEIR_OK)
        print_report(a, &report);
    else if (!(st == WEIR_IO && cli_reader_left()))
        rc = cli_fail(COMMAND, &err);
    if (st && a->state && !access(a->state, F_OK))
        cli_note(COMMAND, "the same command goes on from here (%s); remove that file to start anew", a->state);
    return rc;
}

int weir_cmd_convert(int argc, char **argv) {
    arguments a = {.out = "-"};
    const cli_option options[] = {
        {"from", 'f', CLI_CHOICE, &a.from, "FORMAT", "format of the inputs; told by content where not given",
         .choice = weir_convert_format},
        {"out", 'o', CLI_TEXT, &a.out, "FILE", "where outcomes go; compressed if it ends in .zst (standard output)"},
        {"pool", 'p', CLI_TEXT, &a.pool, "FILE", "prices for outcomes that have tokens but no cost"},
        {"task", 't', CLI_TEXT, &a.o.task, "NAME", "task of every row, instead of the format's own"},
        {"strict", 0, CLI_FLAG, &a.o.strict, NULL, "stop at the first malformed row"},
        {"config", 0, CLI_TEXT, &a.o.config, "NAME", "sprout-hub: the data set's configuration (default)"},
        {"split", 0, CLI_TEXT, &a.o.split, "NAME", "sprout-hub: the data set's split (train)"},
        {"limit", 'n', CLI_SIZE, &a.o.limit, "N", "sprout-hub: so many rows at most"},
        {"state", 0, CLI_TEXT, &a.state, "FILE", "sprout-hub: where progress is kept (OUT.state)"},
        {"retries", 0, CLI_SIZE, &a.o.max_retries, "N", "sprout-hub: further tries of a request (8)", .lo = 1,
         .hi = 100},
        {"base-url", 0, CLI_TEXT, &a.o.base_url, "URL", "sprout-hub: another data-set server"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .operands = "INPUT...",
        .max_operands = 100000,
        .operand = &a.input,
        .n_operands = &a.n_inputs,
        .text =
            "Reads RouterBench's table (routerbench), RouteLLM's evaluation tables (routellm), MT-Bench's judgements "
            "with their questions (mt-bench) or SPROUT's rows (sprout) from files or standard input (-), and SPROUT "
            "straight from the Hugging Face data-set server (sprout-hub: INPUT is the data set's name), and writes "
            "outcome lines. A download that broke goes on where it stopped when the same command is given again.",
        .options = options,
        .examples = "weir convert --out routerbench.jsonl routerbench_0shot.csv\n"
                    "weir convert --out mtbench.jsonl judgements.jsonl question.jsonl\n"
                    "weir convert --from sprout-hub --split test --out sprout.jsonl CARROT-LLM-Routing/SPROUT",
    };
    int rc = cli_parse(&command, argc, argv);
    if (rc != CLI_GO) return rc;
    if (!a.n_inputs) return cli_misuse(COMMAND, "nothing to convert");
    weir_pool *pool = NULL;
    weir_error err = {0};
    char *own_state = NULL;
    rc = choose_state(&a, &own_state);
    if (rc == CLI_GO) rc = a.pool && weir_pool_load(&pool, a.pool, &err) ? cli_fail(COMMAND, &err) : convert(&a, pool);
    weir_pool_free(pool);
    free(own_state);
    return rc;
}

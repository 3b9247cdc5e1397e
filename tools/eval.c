/* eval.c: weir eval. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"

#define COMMAND "eval"

typedef struct arguments {
    const char *store, *pool, *strong, *weak, *json, *svg;
    cli_list data;
    size_t bootstrap;
    uint64_t seed;
    bool strict;
} arguments;

/* "cascades-test", "a and 2 more": what the data is called in a heading. New; NULL: out of memory. */
static char *title_of(const cli_list *data) {
    const char *path = data->items[0], *slash = strrchr(path, '/');
    const char *name = strcmp(path, "-") == 0 ? "standard input" : slash ? slash + 1 : path;
    const char *end = strstr(name, ".jsonl");
    const int length = (int)(end && end > name ? (size_t)(end - name) : strlen(name));
    char *title = NULL;
    const int written = data->n > 1 ? asprintf(&title, "%.*s and %zu more", length, name, data->n - 1)
                                    : asprintf(&title, "%.*s", length, name);
    return written < 0 ? NULL : title;
}

static weir_status load(const arguments *a, weir_pool **pool, weir_dataset **data, weir_error *err) {
    weir_status st = a->pool ? weir_pool_load(pool, a->pool, err) : WEIR_OK;
    if (st != WEIR_OK) return st;
    cli_warnings warnings = {COMMAND, 0};
    const weir_reader_options options = {
        .strict = a->strict, .pool = *pool, .warning = cli_warn, .warning_user = &warnings};
    st = weir_dataset_load(data, a->data.items, a->data.n, &options, err);
    cli_warn_end(&warnings);
    return st;
}

static weir_status evaluate(const arguments *a, const weir_router *router, const weir_dataset *data,
                            weir_evaluation **evaluation, weir_error *err) {
    char *title = title_of(&a->data);
    cli_progress_bar bar = cli_progress_begin();
    const weir_evaluate_options options = {.strong = a->strong,
                                           .weak = a->weak,
                                           .n_bootstrap = a->bootstrap,
                                           .seed = a->seed,
                                           .title = title,
                                           .progress = cli_progress,
                                           .progress_user = &bar};
    const weir_status st = weir_evaluate(evaluation, router, data, &options, err);
    cli_progress_end(&bar);
    free(title);
    return st;
}

static int write_json(const arguments *a, const weir_evaluation *evaluation) {
    weir_error err = {0};
    char *json;
    if (weir_evaluation_json(evaluation, &json, &err) != WEIR_OK) return cli_fail(COMMAND, &err);
    const int rc = cli_write(COMMAND, a->json, json);
    free(json);
    return rc;
}

static int write_svg(const arguments *a, const weir_evaluation *evaluation) {
    weir_error err = {.status = WEIR_OK};
    char *svg = NULL;
    size_t size;
    FILE *out = open_memstream(&svg, &size);
    weir_status st = out ? weir_evaluation_svg(evaluation, out, &err) : WEIR_NOMEM;
    if (out && fclose(out) != 0) st = WEIR_NOMEM;
    if (st == WEIR_NOMEM) err = (weir_error){WEIR_NOMEM, 0, "out of memory"};
    const int rc = st == WEIR_OK ? cli_write(COMMAND, a->svg, svg) : cli_fail(COMMAND, &err);
    free(svg);
    return rc;
}

static int report(const arguments *a, const weir_dataset *data, const weir_evaluation *evaluation) {
    weir_error err = {0};
    if (data->n_malformed) cli_note(COMMAND, "malformed lines left out: %zu", data->n_malformed);
    if (data->n_duplicates) cli_note(COMMAND, "lines left out because their id had been seen: %zu", data->n_duplicates);
    if (cli_speaks(a->json) && cli_speaks(a->svg) &&
        weir_evaluation_print(evaluation, stdout, cli_columns(), &err) != WEIR_OK)
        return cli_fail(COMMAND, &err);
    int rc = a->json ? write_json(a, evaluation) : CLI_OK;
    if (a->svg) {
        const int svg = write_svg(a, evaluation);
        if (rc == CLI_OK) rc = svg;
    }
    return rc;
}

/* A name that the store doesn't know is a mistake on the command line, and is told before any work. */
static bool known(const weir_router *router, const char *name) {
    return !name || cli_find_model(COMMAND, router, name) != (size_t)-1;
}

static int run(const arguments *a) {
    weir_error err = {0};
    weir_pool *pool = NULL;
    weir_dataset *data = NULL;
    weir_router *router = NULL;
    weir_evaluation *evaluation = NULL;
    int rc = CLI_USAGE;
    weir_status st = weir_router_open(&router, a->store, &err);
    if (st == WEIR_OK && (!known(router, a->strong) || !known(router, a->weak))) goto done;
    if (st == WEIR_OK) st = load(a, &pool, &data, &err);
    if (st == WEIR_OK) st = evaluate(a, router, data, &evaluation, &err);
    rc = st == WEIR_OK ? report(a, data, evaluation) : cli_fail(COMMAND, &err);
done:
    weir_evaluation_free(evaluation);
    weir_router_close(router);
    weir_dataset_free(data);
    weir_pool_free(pool);
    return rc;
}

int weir_cmd_eval(int argc, char **argv) {
    arguments a = {.bootstrap = 200};
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the trained store", .required = true},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "held-out outcomes: .jsonl, .jsonl.zst, - for standard input",
         .required = true},
        {"pool", 0, CLI_TEXT, &a.pool, "FILE", "prices for outcomes that have tokens but no cost (YAML)"},
        {"strong", 0, CLI_TEXT, &a.strong, "MODEL", "the strong model of APGR and CPT; default: the best one"},
        {"weak", 0, CLI_TEXT, &a.weak, "MODEL",
         "the weak model of APGR and CPT; default: the cheapest one, without costs the worst"},
        {"bootstrap", 'b', CLI_SIZE, &a.bootstrap, "N", "resamples of the prompts for the intervals", .lo = 2,
         .hi = 1000000},
        {"seed", 0, CLI_SEED, &a.seed, "N", "of the resamples"},
        {"strict", 0, CLI_FLAG, &a.strict, NULL, "stop at the first malformed line"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "write the report as JSON"},
        {"svg", 0, CLI_TEXT, &a.svg, "FILE|-", "draw the cost-quality curve"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .text = "The data must not have been trained on. Every policy is measured over its whole knob, beside the "
                "single models, their mixture (the zero router) and the oracle. Prompts on which some model has no "
                "label are left out, and counted. Without costs, what needs only quality is measured.",
        .examples = "weir eval --store router.mdb --data test.jsonl\n"
                    "weir eval --store router.mdb --data test.jsonl --json report.json --svg curve.svg\n"
                    "weir eval --store router.mdb --data test.jsonl --strong gpt-4 --weak mixtral-8x7b",
        .options = options};
    int rc = cli_parse(&command, argc, argv);
    if (rc == CLI_GO && a.json && a.svg && strcmp(a.json, "-") == 0 && strcmp(a.svg, "-") == 0)
        rc = cli_misuse(COMMAND, "--json and --svg can't both go to standard output");
    if (rc == CLI_GO) rc = run(&a);
    cli_list_free(&a.data);
    return rc;
}

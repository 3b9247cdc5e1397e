/* train.c: weir train. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "tools/cli.h"
#include "tools/json.h"

#define COMMAND "train"

typedef struct arguments {
    const char *store, *pool, *estimator, *json;
    cli_list data;
    uint64_t seed;
    size_t threads;
    bool strict;
} arguments;

static json_t *report_json(const arguments *a, const weir_dataset *data, const weir_train_report *r) {
    json_t *members = json_array();
    for (size_t i = 0; i < r->n_members; i++)
        json_array_append_new(members, json_pack("{s:s, s:o, s:o}", "name", r->member[i].name, "weight",
                                                 cli_json_number(r->member[i].weight), "score",
                                                 cli_json_number(r->member[i].score)));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:s, s:o, s:o}", "store", a->store, "estimator",
                     a->estimator ? a->estimator : "auto", "n_prompts", (json_int_t)r->n_prompts, "n_models",
                     (json_int_t)r->n_models, "n_outcomes", (json_int_t)r->n_outcomes, "n_malformed",
                     (json_int_t)data->n_malformed, "n_duplicates", (json_int_t)data->n_duplicates, "seconds",
                     r->seconds, "has_cost", (int)r->has_cost, "note", r->note, "constant_score",
                     cli_json_number(r->constant_score), "members", members);
}

static void print_score(cli_table *table, double score) {
    if (isnan(score))
        cli_table_cell(table, "-");
    else
        cli_table_cell(table, "%.4f", score);
}

static void print_report(const arguments *a, const weir_dataset *data, const weir_train_report *r) {
    printf("%zu prompts, %zu models, %zu outcomes in %.1f s -> %s\n", r->n_prompts, r->n_models, r->n_outcomes,
           r->seconds, a->store);
    if (data->n_malformed) printf("%zu malformed lines left out\n", data->n_malformed);
    if (data->n_duplicates) printf("%zu lines with an id that had been seen left out\n", data->n_duplicates);
    if (r->note[0]) printf("%s\n", r->note);
    const char *const headers[] = {"estimator", "weight", "score"};
    cli_table *table = cli_table_new(headers, 3);
    if (!table) return;
    for (size_t i = 0; i < r->n_members; i++) {
        cli_table_cell(table, "%s", r->member[i].name);
        cli_table_cell(table, "%.2f", r->member[i].weight);
        print_score(table, r->member[i].score);
    }
    cli_table_cell(table, "constant");
    cli_table_cell(table, " ");
    print_score(table, r->constant_score);
    putchar('\n');
    cli_table_print(table, stdout);
    cli_table_free(table);
    printf("score: the routing objective (area under the cost-quality curve), cross-validated\n");
}

static weir_status load(const arguments *a, weir_pool **pool, weir_dataset **data, weir_error *err) {
    weir_status st = a->pool ? weir_pool_load(pool, a->pool, err) : WEIR_OK;
    if (st != WEIR_OK) return st;
    cli_warnings warnings = {COMMAND, 0};
    weir_reader_options options = {.strict = a->strict, .pool = *pool, .warning = cli_warn, .warning_user = &warnings};
    st = weir_dataset_load(data, a->data.items, a->data.n, &options, err);
    cli_warn_end(&warnings);
    return st;
}

static int run(const arguments *a) {
    weir_error err = {0};
    weir_pool *pool = NULL;
    weir_dataset *data = NULL;
    weir_train_report report = {0};
    weir_status st = load(a, &pool, &data, &err);
    if (st == WEIR_OK) {
        cli_progress_bar bar = cli_progress_begin();
        weir_train_options options = {.estimator = a->estimator,
                                      .pool = pool,
                                      .seed = a->seed,
                                      .n_threads = (unsigned)a->threads,
                                      .progress = cli_progress,
                                      .progress_user = &bar};
        st = weir_train(a->store, data, &options, &report, &err);
        cli_progress_end(&bar);
    }
    int rc = st == WEIR_OK ? CLI_OK : cli_fail(COMMAND, &err);
    if (rc == CLI_OK && cli_speaks(a->json)) print_report(a, data, &report);
    if (rc == CLI_OK && a->json) rc = cli_write_json(COMMAND, a->json, report_json(a, data, &report));
    weir_dataset_free(data);
    weir_pool_free(pool);
    return rc;
}

int weir_cmd_train(int argc, char **argv) {
    arguments a = {0};
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the store to write; made where there is none", .required = true},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "outcomes: .jsonl, .jsonl.zst, - for standard input",
         .required = true},
        {"pool", 0, CLI_TEXT, &a.pool, "FILE", "models with prices and limits (YAML)"},
        {"estimator", 'e', CLI_CHOICE, &a.estimator, "NAME", "what to fit; auto combines them by cross-validation",
         .choice = weir_estimator_name},
        {"seed", 0, CLI_SEED, &a.seed, "N", "same data, seed and version: same store"},
        {"threads", 'j', CLI_SIZE, &a.threads, "N", "at most so many threads; 0: as many as there are cores", .lo = 0,
         .hi = 1024},
        {"strict", 0, CLI_FLAG, &a.strict, NULL, "stop at the first malformed line"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "write the report as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .text =
            "What the store held is replaced in one transaction: a router that is running sees the old state or the "
            "new one.",
        .examples = "weir train --store router.mdb --data outcomes.jsonl\n"
                    "weir train --store router.mdb --data *.jsonl.zst --pool pool.yaml --json train.json",
        .options = options};
    int rc = cli_parse(&command, argc, argv);
    if (rc == CLI_GO) rc = run(&a);
    cli_list_free(&a.data);
    return rc;
}

/* bench.c: weir bench. SPDX-License-Identifier: GPL-3.0-or-later */
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/json.h"
#include "tools/policy_options.h"

static weir_status load(const bench_arguments *a, weir_dataset **data, weir_error *err) {
    weir_reader_options options = {0};
    return weir_dataset_load(data, a->data.items, a->data.n, &options, err);
}

static int finish(const bench_arguments *a, weir_status st, weir_error *err, json_t *report) {
    int rc = st == WEIR_OK ? CLI_OK : cli_fail(BENCH, err);
    char *text = rc == CLI_OK && cli_speaks(a->json) ? json_dumps(report, 0) : NULL;
    if (text) rc = cli_print_json(BENCH, text, stdout);
    free(text);
    if (rc == CLI_OK && a->json) return cli_write_json(BENCH, a->json, report);
    json_decref(report);
    return rc;
}

static int decide_action(const bench_arguments *a) {
    weir_error err = {0};
    weir_router *router = NULL;
    weir_dataset *data = NULL;
    bench_decisions d;
    weir_status st = weir_router_open(&router, a->store, &err);
    if (st == WEIR_OK) st = load(a, &data, &err);
    if (st == WEIR_OK) st = bench_decide(&d, router, data, a->n ? a->n : 20000, a->prompt_bytes, &a->policy, &err);
    weir_dataset_free(data);
    weir_router_close(router);
    return finish(a, st, &err, st == WEIR_OK ? bench_decisions_json(&d) : NULL);
}

/* On a copy beside the store, where a commit costs what it costs there. */
static int learn_action(const bench_arguments *a) {
    weir_error err = {0};
    weir_dataset *data = NULL;
    bench_updates u;
    bench_scratch scratch;
    char *path = strdup(a->store);
    bool made = path && bench_scratch_begin(&scratch, a->directory ? a->directory : dirname(path));
    free(path);
    if (!made) return CLI_FAILED;
    weir_status st = weir_store_compact(a->store, scratch.store, &err);
    if (st == WEIR_OK) st = load(a, &data, &err);
    if (st == WEIR_OK) st = bench_learn(&u, scratch.store, data, a->n ? a->n : 10000, a->group_commit, &err);
    weir_dataset_free(data);
    bench_scratch_end(&scratch);
    return finish(a, st, &err, st == WEIR_OK ? bench_updates_json(&u) : NULL);
}

static const struct {
    const char *name;
    int (*run)(const bench_arguments *a);
    bool needs_store; /* and data */
} actions[] = {{"decide", decide_action, true},
               {"learn", learn_action, true},
               {"train", bench_train_action, false},
               {"scale", bench_scale_action, false}};

static const char *action_name(size_t i) {
    return i < sizeof actions / sizeof *actions ? actions[i].name : NULL;
}

static int run(const bench_arguments *a, char **operand, size_t n) {
    if (!n) return cli_misuse(BENCH, "what to measure? decide, learn, train or scale");
    for (size_t i = 0; action_name(i); i++) {
        if (strcmp(operand[0], action_name(i)) != 0) continue;
        if (actions[i].needs_store && !a->store) return cli_misuse(BENCH, "--store FILE is missing");
        if (actions[i].needs_store && !a->data.n) return cli_misuse(BENCH, "--data FILE is missing");
        return actions[i].run(a);
    }
    const char *near = cli_nearest(operand[0], action_name);
    if (near) return cli_misuse(BENCH, "no action '%s'; did you mean '%s'?", operand[0], near);
    return cli_misuse(BENCH, "no action '%s'; there are decide, learn, train and scale", operand[0]);
}

int weir_cmd_bench(int argc, char **argv) {
    bench_arguments a = {.prompts = 2000,
                         .models = 8,
                         .max_prompts = 100000,
                         .max_models = 200,
                         .group_commit = 64,
                         .policy = weir_policy_defaults()};
    char **operand;
    size_t n;
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "decide, learn: the trained store; train: keep the store there"},
        {"data", 'd', CLI_LIST, &a.data, "FILE", "decide, learn: outcomes"},
        {"n", 'n', CLI_SIZE, &a.n, "N", "decisions or feedbacks to measure (20000 and 10000)", .lo = 1, .hi = 1e8},
        {"prompt-bytes", 0, CLI_SIZE, &a.prompt_bytes, "N", "decide: make every prompt this long", .lo = 1, .hi = 1e8},
        {"value", 'v', CLI_REAL, &a.policy.value_usd, "USD", "decide: what a fully right answer is worth", .lo = 0,
         .hi = INFINITY},
        {"group-commit", 0, CLI_SIZE, &a.group_commit, "N", "learn: feedbacks a durable transaction", .lo = 1,
         .hi = 1e6},
        {"prompts", 0, CLI_SIZE, &a.prompts, "N", "train: simulated prompts; scale: where models grow", .lo = 1,
         .hi = 1e8},
        {"models", 0, CLI_SIZE, &a.models, "K", "train: simulated models; scale: where prompts grow", .lo = 2,
         .hi = 1000},
        {"max-prompts", 0, CLI_SIZE, &a.max_prompts, "N", "scale: up to so many prompts", .lo = 1000, .hi = 1e6},
        {"max-models", 0, CLI_SIZE, &a.max_models, "K", "scale: up to so many models", .lo = 2, .hi = 200},
        {"estimator", 'e', CLI_CHOICE, &a.estimator, "NAME", "train, scale: what to fit",
         .choice = weir_estimator_name},
        {"threads", 'j', CLI_SIZE, &a.threads, "N",
         "train, scale: at most so many threads; 0: as many as there are cores"},
        {"seed", 0, CLI_SEED, &a.seed, "N", "of what is simulated"},
        {"directory", 0, CLI_TEXT, &a.directory, "DIR", "where scratch stores go; learn: else beside the store"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "write the report as JSON"},
        {0},
    };
    const cli_command command = {
        BENCH,
        .operands = "decide|learn|train|scale",
        .max_operands = 1,
        .text =
            "decide times decisions, features included, and their phases in a pass of its own. learn times bandit "
            "feedback into a copy of the store. train simulates outcomes and trains on them. scale repeats that over "
            "numbers of prompts and models, each in a process of its own, and times decisions by prompt length; an "
            "exponent of 1 means that what is measured grows linearly. Where stdout is no terminal, the report is "
            "JSON.",
        .examples = "weir bench decide --store router.mdb --data outcomes.jsonl --prompt-bytes 1024 --json -\n"
                    "weir bench learn --store router.mdb --data outcomes.jsonl --group-commit 64\n"
                    "weir bench train --prompts 36000 --models 11\n"
                    "weir bench scale --max-prompts 1M --json scale.json",
        .options = options,
        .operand = &operand,
        .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    if (!a.json && !isatty(STDOUT_FILENO)) a.json = "-"; /* a script that reads us wants numbers */
    if (rc == CLI_GO) rc = run(&a, operand, n);
    cli_list_free(&a.data);
    return rc;
}

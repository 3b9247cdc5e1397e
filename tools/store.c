/* store.c: weir store: looking after a store. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/json.h"

#define COMMAND   "store"
#define NOT_GIVEN SIZE_MAX

typedef struct arguments {
    const char *store, *output, *pool, *json;
    bool remove_others, log;
    size_t keep;
    double older_than;
} arguments;

static int show(const arguments *a, weir_status st, char *text, weir_error *err) {
    int rc = st == WEIR_OK ? CLI_OK : cli_fail(COMMAND, err);
    if (rc == CLI_OK && cli_speaks(a->json)) rc = cli_print_json(COMMAND, text, stdout);
    if (rc == CLI_OK && a->json) rc = cli_write(COMMAND, a->json, text);
    free(text);
    return rc;
}

static int info(const arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    weir_status st = weir_store_info(a->store, &text, &err);
    return show(a, st, text, &err);
}

static int check(const arguments *a) {
    weir_error err = {0};
    char *text = NULL;
    weir_status st = weir_store_check(a->store, &text, &err);
    int rc = show(a, st, text, &err);
    if (rc == CLI_OK && cli_speaks(a->json)) printf("sound\n");
    return rc;
}

static int compact(const arguments *a) {
    weir_error err = {0};
    return weir_store_compact(a->store, a->output, &err) == WEIR_OK ? CLI_OK : cli_fail(COMMAND, &err);
}

static int export_lines(const arguments *a) {
    weir_error err = {0};
    bool to_file = a->output && strcmp(a->output, "-") != 0;
    FILE *out = to_file ? fopen(a->output, "w") : stdout;
    if (!out) {
        cli_note(COMMAND, "can't write %s: %s", a->output, strerror(errno));
        return CLI_FAILED;
    }
    if (!to_file) cli_stdout_is_the_work();
    weir_status st = a->log ? weir_store_export_log(a->store, out, &err) : weir_store_export(a->store, out, &err);
    const bool enough = st == WEIR_IO && !to_file && cli_reader_left();
    int rc = st == WEIR_OK || enough ? CLI_OK : cli_fail(COMMAND, &err);
    if (to_file && fclose(out) != 0 && rc == CLI_OK) {
        cli_note(COMMAND, "can't write %s: %s", a->output, strerror(errno));
        rc = CLI_FAILED;
    }
    return rc;
}

static int trim(const arguments *a) {
    bool by_age = a->older_than >= 0, by_number = a->keep != NOT_GIVEN;
    if (by_age == by_number) return cli_misuse(COMMAND, "trim needs --keep N or --older-than DAYS");
    weir_error err = {0};
    uint64_t n_gone = 0;
    weir_status st = weir_store_trim(a->store, a->keep, by_age ? a->older_than : -1, &n_gone, &err);
    if (st != WEIR_OK) return cli_fail(COMMAND, &err);
    printf("%llu records deleted\n", (unsigned long long)n_gone);
    return CLI_OK;
}

static int set_pool(const arguments *a) {
    if (!a->pool) return cli_misuse(COMMAND, "set-pool needs --pool FILE");
    weir_error err = {0};
    weir_pool *pool = NULL;
    weir_status st = weir_pool_load(&pool, a->pool, &err);
    if (st == WEIR_OK) st = weir_store_set_pool(a->store, pool, a->remove_others, &err);
    if (st == WEIR_OK) printf("%zu models set\n", pool->n_models);
    weir_pool_free(pool);
    return st == WEIR_OK ? CLI_OK : cli_fail(COMMAND, &err);
}

static const struct {
    const char *name;
    int (*run)(const arguments *a);
} actions[] = {{"info", info},           {"check", check},       {"compact", compact},
               {"export", export_lines}, {"set-pool", set_pool}, {"trim", trim}};

static const char *action_name(size_t i) {
    return i < sizeof actions / sizeof *actions ? actions[i].name : NULL;
}

static int run(arguments *a, char **operand, size_t n) {
    if (!n) return cli_misuse(COMMAND, "what to do? info, check, compact, export, set-pool or trim");
    for (size_t i = 0; action_name(i); i++) {
        if (strcmp(operand[0], action_name(i)) != 0) continue;
        if (n == 2 && a->store) return cli_misuse(COMMAND, "'%s' is one word too many", operand[1]);
        if (n == 2) a->store = operand[1];
        return a->store ? actions[i].run(a) : cli_misuse(COMMAND, "--store FILE is missing");
    }
    const char *near = cli_nearest(operand[0], action_name);
    if (near) return cli_misuse(COMMAND, "no action '%s'; did you mean '%s'?", operand[0], near);
    return cli_misuse(COMMAND, "no action '%s'; there are info, check, compact, export, set-pool and trim", operand[0]);
}

int weir_cmd_store(int argc, char **argv) {
    arguments a = {.keep = NOT_GIVEN, .older_than = -1};
    char **operand;
    size_t n;
    const cli_option options[] = {
        {"store", 's', CLI_TEXT, &a.store, "FILE", "the store; may also follow the action"},
        {"output", 'o', CLI_TEXT, &a.output, "FILE", "compact: write a copy there instead; export: not to stdout"},
        {"pool", 0, CLI_TEXT, &a.pool, "FILE", "set-pool: models with prices and limits (YAML)"},
        {"remove-others", 0, CLI_FLAG, &a.remove_others, NULL, "set-pool: take out models that the file doesn't name"},
        {"log", 0, CLI_FLAG, &a.log, NULL, "export: the traffic log alone, every field by name"},
        {"keep", 0, CLI_SIZE, &a.keep, "N", "trim: the newest N log records"},
        {"older-than", 0, CLI_REAL, &a.older_than, "DAYS", "trim: log records of before that"},
        {"json", 0, CLI_TEXT, &a.json, "FILE|-", "info, check: write the report as JSON"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .operands = "info|check|compact|export|set-pool|trim",
        .max_operands = 2,
        .text =
            "info says what the store holds; check reads everything and verifies it; compact drops free pages; export "
            "writes JSON lines; set-pool adds, re-prices or removes models without refitting the others; trim deletes "
            "the log's oldest records that the state has learned from (compact then shortens the file).",
        .examples = "weir store info --store router.mdb\n"
                    "weir store check --store router.mdb --json -\n"
                    "weir store set-pool --store router.mdb --pool new-prices.yaml\n"
                    "weir store export --log --store router.mdb\n"
                    "weir store trim --store router.mdb --older-than 30",
        .options = options,
        .operand = &operand,
        .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    return rc == CLI_GO ? run(&a, operand, n) : rc;
}

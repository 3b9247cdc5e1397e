/* simulate.c: weir simulate: outcomes with known truth. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/cli.h"
#include "tools/outfile.h"

#define COMMAND "simulate"

typedef weir_status (*write_fn)(FILE *out, const weir_simulate_options *options, weir_error *err);

static int write_file(const char *path, write_fn write, const weir_simulate_options *options) {
    weir_error err = {0};
    cli_outfile *file = cli_outfile_open(COMMAND, path, CLI_OUT_WHOLE);
    if (!file) return CLI_FAILED;
    weir_status st = write(cli_outfile_stream(file), options, &err);
    int rc = cli_outfile_close(file, st == WEIR_OK);
    return st == WEIR_OK || (st == WEIR_IO && cli_reader_left()) ? rc : cli_fail(COMMAND, &err);
}

int weir_cmd_simulate(int argc, char **argv) {
    const char *out = "-", *pool_out = NULL;
    weir_simulate_options o = {.n_prompts = 1000, .n_models = 8};
    const cli_option options[] = {
        {"prompts", 'n', CLI_SIZE, &o.n_prompts, "N", "how many", .lo = 1, .hi = 1e12},
        {"models", 'm', CLI_SIZE, &o.n_models, "K", "how many; the first dozen bear known names and their list prices",
         .lo = 2, .hi = 1000},
        {"seed", 's', CLI_SEED, &o.seed, "S", "of prompts and outcomes (0)"},
        {"world", 'w', CLI_SEED, &o.world_seed, "W",
         "of what is hard, and who can do what: train and test sets share a world and differ in seed (0)"},
        {"missing", 0, CLI_REAL, &o.missing, "X", "share of outcomes that are left out", .lo = 0, .hi = 0.999999},
        {"noise", 0, CLI_REAL, &o.noise, "X", "share of prompts whose text says nothing of their kind", .lo = 0,
         .hi = 1},
        {"drift-at", 0, CLI_SIZE, &o.drift_at, "N", "from this prompt on the two best models swap skills"},
        {"prompt-bytes", 0, CLI_SIZE, &o.prompt_bytes, "N", "mean length of prompts (as the templates are)", .lo = 1,
         .hi = 1 << 30},
        {"graded", 'g', CLI_FLAG, &o.graded, NULL, "quality in fifths instead of right or wrong"},
        {"pool-out", 'p', CLI_TEXT, &pool_out, "FILE", "write the models' prices as a pool file, too"},
        {"out", 'o', CLI_TEXT, &out, "FILE", "where outcomes go; compressed if it ends in .zst (standard output)"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .text = "Writes outcomes of made-up models on made-up prompts of many kinds. Each outcome carries "
                "\"expected_quality\" and \"expected_cost\": what a router that knew everything would expect. They say "
                "nothing about the real models whose names and prices they borrow.",
        .options = options,
        .examples = "weir simulate --prompts 5000 --pool-out pool.yaml --out train.jsonl\n"
                    "weir simulate --prompts 1M --models 200 --seed 7 --out large.jsonl.zst",
    };
    int rc = cli_parse(&command, argc, argv);
    if (rc != CLI_GO) return rc;
    if (pool_out) {
        rc = write_file(pool_out, weir_simulate_write_pool, &o);
        if (rc != CLI_OK) return rc;
    }
    cli_progress_bar bar = cli_progress_begin();
    o.progress = cli_progress;
    o.progress_user = &bar;
    rc = write_file(out, weir_simulate_write, &o);
    cli_progress_end(&bar);
    return rc;
}

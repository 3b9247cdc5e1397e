/* main.c: weir-vendor: the simulated vendor as a program. SPDX-License-Identifier: GPL-3.0-or-later */
#include <signal.h>

#include "tools/cli.h"
#include "weir/vendor.h"

#define COMMAND "vendor"

const cli_entry cli_entries[] = {{0}}; /* it has no subcommands */

static void ready(void *user, const char *address) {
    (void)user;
    printf("listening on %s\n", address);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *listen = "127.0.0.1:0", *scenario = NULL, *outcomes = NULL, *books = NULL;
    size_t threads = 1;
    uint64_t seed = 0;
    double speed = 1;
    bool version = false;
    const cli_option options[] = {
        {"listen", 'l', CLI_TEXT, &listen, "ADDRESS", "where to listen (default 127.0.0.1:0: any free port)"},
        {"scenario", 's', CLI_TEXT, &scenario, "FILE", "YAML: what to do with which requests"},
        {"outcomes", 'o', CLI_TEXT, &outcomes, "FILE",
         "outcome file: its prompts are answered with its tokens and latencies"},
        {"books", 'b', CLI_TEXT, &books, "FILE", "appends what each call is billed, a line of JSON a call"},
        {"speed", 0, CLI_REAL, &speed, "X", "divides the outcome file's latencies"},
        {"threads", 't', CLI_SIZE, &threads, "N", "each with its own loop and socket", .lo = 1, .hi = 64},
        {"seed", 0, CLI_SEED, &seed, "N", "of answers, ids and shares (default 0)"},
        {"version", 0, CLI_FLAG, &version, NULL, "print the version"},
        {0},
    };
    const cli_command command = {
        COMMAND, .summary = "a simulated LLM vendor, for tests and measurements",
        .text = "Speaks OpenAI's, Anthropic's and Gemini's APIs, and misbehaves as it is told. docs/vendor.md explains "
                "scenarios.\n"
                "The first line on standard output is \"listening on ADDRESS\". SIGTERM ends it.",
        .examples = "weir-vendor --listen 127.0.0.1:9000\n"
                    "weir-vendor --scenario tests/cases/scenarios/429.yaml --seed 7",
        .options = options};
    cli_prefix = "weir-";
    int rc = cli_parse(&command, argc, argv);
    if (rc != CLI_GO) return rc;
    if (version) {
        printf("weir-vendor %s\n", weir_version());
        return CLI_OK;
    }
    if (!(speed > 0 && speed <= 1e9)) return cli_misuse(COMMAND, "--speed must be a number above 0, at most 1e9");
    signal(SIGPIPE, SIG_IGN);
    weir_error err = {0};
    weir_vendor_options serve = {.listen = listen,
                                 .scenario_path = scenario,
                                 .outcomes_path = outcomes,
                                 .books_path = books,
                                 .speed = speed,
                                 .threads = (unsigned)threads,
                                 .seed = seed,
                                 .ready = ready};
    return weir_vendor_serve(&serve, &err) == WEIR_OK ? CLI_OK : cli_fail(COMMAND, &err);
}

/* main.c: weir-vendor: the simulated vendor as a program. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/vendor.h"

static void usage(FILE *out) {
    fprintf(out,
            "Usage: weir-vendor [OPTION]...\n\n"
            "A simulated LLM vendor: speaks OpenAI's, Anthropic's and Gemini's APIs, and misbehaves as it is told.\n"
            "docs/vendor.md explains scenarios.\n\nOptions:\n"
            "  -l, --listen ADDRESS   where to listen (default 127.0.0.1:0: any free port)\n"
            "  -s, --scenario FILE    YAML: what to do with which requests\n"
            "  -o, --outcomes FILE    outcome file: its prompts are answered with its tokens and latencies\n"
            "  -b, --books FILE       appends what each call is billed, a line of JSON a call\n"
            "      --speed X          divides the outcome file's latencies (default 1)\n"
            "  -t, --threads N        (default 1)\n"
            "      --seed N           of answers, ids and shares (default 0)\n"
            "      --version          print the version\n"
            "  -h, --help             show this\n\n"
            "The first line on standard output is \"listening on ADDRESS\". SIGTERM ends it.\n\n"
            "Examples:\n"
            "  weir-vendor --listen 127.0.0.1:9000\n"
            "  weir-vendor --scenario tests/cases/scenarios/429.yaml --seed 7\n");
}

static void ready(void *user, const char *address) {
    (void)user;
    printf("listening on %s\n", address);
    fflush(stdout);
}

static int misuse(const char *what, const char *value) {
    fprintf(stderr, "weir-vendor: %s '%s'\nTry 'weir-vendor --help'.\n", what, value);
    return 2;
}

static int whole(const char *text, unsigned long long most, unsigned long long *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out <= most;
}

int main(int argc, char **argv) {
    enum { SPEED = 1000, SEED, VERSION };
    static const struct option longs[] = {
        {"listen", required_argument, NULL, 'l'},   {"scenario", required_argument, NULL, 's'},
        {"outcomes", required_argument, NULL, 'o'}, {"books", required_argument, NULL, 'b'},
        {"threads", required_argument, NULL, 't'},  {"speed", required_argument, NULL, SPEED},
        {"seed", required_argument, NULL, SEED},    {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},           {0}};
    weir_vendor_options options = {.listen = "127.0.0.1:0", .ready = ready};
    weir_error err = {0};
    unsigned long long n;
    char *end;
    for (int c; (c = getopt_long(argc, argv, "hl:s:o:b:t:", longs, NULL)) != -1;) {
        switch (c) {
        case 'l': options.listen = optarg; break;
        case 's': options.scenario_path = optarg; break;
        case 'o': options.outcomes_path = optarg; break;
        case 'b': options.books_path = optarg; break;
        case 't':
            if (!whole(optarg, 64, &n) || !n) return misuse("--threads must be from 1 to 64, not", optarg);
            options.threads = (unsigned)n;
            break;
        case SEED:
            if (!whole(optarg, UINT64_MAX, &n)) return misuse("--seed must be a whole number, not", optarg);
            options.seed = n;
            break;
        case SPEED:
            options.speed = strtod(optarg, &end);
            if (end == optarg || *end || !(options.speed > 0 && options.speed <= 1e9))
                return misuse("--speed must be a number above 0, not", optarg);
            break;
        case VERSION: printf("weir-vendor %s\n", weir_version()); return 0;
        case 'h': usage(stdout); return 0;
        default: fprintf(stderr, "Try 'weir-vendor --help'.\n"); return 2;
        }
    }
    if (optind < argc) return misuse("no operand is taken:", argv[optind]);
    signal(SIGPIPE, SIG_IGN);
    if (weir_vendor_serve(&options, &err)) {
        fprintf(stderr, "weir-vendor: %s\n", err.text);
        return 1;
    }
    return 0;
}

/* serve.c: weir serve. SPDX-License-Identifier: GPL-3.0-or-later */
#include <malloc.h>
#include <stdlib.h>

#include "tools/cli.h"

#define COMMAND "serve"

typedef struct arguments {
    const char *config, *listen;
    size_t threads;
    bool check;
} arguments;

/* A program that runs for months. By itself glibc takes the largest piece that was ever freed (up to 32 MiB) for the
 * size from which pieces get pages of their own, so that the estimators, which are copied whenever something was
 * learned, come to lie among small pieces, which hold them in place: the heaps grow for a while, and stay large. At a
 * fixed size they are given back when they are freed. The size is above what requests usually take (libcurl's largest
 * buffer has 64 KiB), for a piece with pages of its own costs two system calls. */
static void keep_heaps_small(void) {
    mallopt(M_MMAP_THRESHOLD, 80 << 10);
    mallopt(M_TRIM_THRESHOLD, 256 << 10); /* of a heap's free end: what a burst of requests took goes back */
}

static void ready(void *user, const char *address) {
    (void)user;
    printf("weir serves at http://%s\n", address);
    fflush(stdout);
}

static int check(const arguments *a) {
    weir_error err = {0};
    char *json = NULL;
    if (weir_gateway_check(a->config, &json, &err) != WEIR_OK) return cli_fail(COMMAND, &err);
    int rc = cli_write(COMMAND, "-", json);
    free(json);
    return rc;
}

int weir_cmd_serve(int argc, char **argv) {
    arguments a = {0};
    const cli_option options[] = {
        {"config", 'c', CLI_TEXT, &a.config, "FILE", "the configuration (YAML)", .required = true},
        {"listen", 'l', CLI_TEXT, &a.listen, "ADDRESS", "listen here instead of where the configuration says"},
        {"threads", 't', CLI_SIZE, &a.threads, "N", "this many threads instead of the configuration's"},
        {"check", 0, CLI_FLAG, &a.check, NULL, "only read the configuration, and print what it says (keys left out)"},
        {0},
    };
    const cli_command command = {
        COMMAND,
        .text = "Serves OpenAI's and Anthropic's APIs, and sends each request to the model of the pool with the least "
                "expected loss. SIGHUP reads the configuration again; SIGTERM finishes what is under way, and ends. "
                "docs/gateway.md explains every key and endpoint.",
        .examples = "weir serve --config weir.yaml\n"
                    "weir serve --config weir.yaml --listen 127.0.0.1:0 --threads 1\n"
                    "weir serve --config weir.yaml --check\n"
                    "curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' "
                    "-d '{\"model\":\"weir\",\"messages\":[{\"role\":\"user\",\"content\":\"2 + 2?\"}]}'",
        .options = options};
    int rc = cli_parse(&command, argc, argv);
    if (rc != CLI_GO) return rc;
    if (a.check) return check(&a);
    keep_heaps_small();
    weir_error err = {0};
    weir_gateway_options serve = {
        .config_path = a.config, .listen = a.listen, .threads = (unsigned)a.threads, .ready = ready};
    return weir_gateway_serve(&serve, &err) == WEIR_OK ? CLI_OK : cli_fail(COMMAND, &err);
}

/* main.c: weir CMD: finds the subcommand. SPDX-License-Identifier: GPL-3.0-or-later */
#include <cblas.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "tools/cli_internal.h"

const cli_entry cli_entries[] = {
#define ENTRY(name, summary) {#name, weir_cmd_##name, summary},
    CLI_COMMAND_TABLE(ENTRY)
#undef ENTRY
        {0},
};

static const char *command_name(size_t index) {
    return cli_entries[index].name;
}

static const cli_entry *find(const char *name) {
    for (const cli_entry *e = cli_entries; e->name; e++)
        if (!strcmp(e->name, name)) return e;
    return NULL;
}

static const char first_steps[] = "weir simulate --prompts 2000 --out sample.jsonl\n"
                                  "weir train --store router.mdb --data sample.jsonl\n"
                                  "weir route --store router.mdb \"What is the capital of France?\"\n";

static void usage(FILE *out) {
    fprintf(out, "weir: a cost-aware router for language models\n\n"
                 "Usage: weir COMMAND [OPTION]...\n\nCommands:\n");
    for (const cli_entry *e = cli_entries; e->name; e++) fprintf(out, "  %-11s %s\n", e->name, e->summary);
    fprintf(out, "\n'weir COMMAND --help' or 'weir help COMMAND' explains one. First steps:\n\n");
    for (const char *line = first_steps; *line; line += strcspn(line, "\n") + 1)
        fprintf(out, "  %.*s\n", (int)strcspn(line, "\n"), line);
}

static int unknown(const char *name) {
    const char *near = cli_nearest(name, command_name);
    fprintf(stderr, "weir: no command '%s'%s%s%s\nTry 'weir help'.\n", name, near ? "; did you mean '" : "",
            near ? near : "", near ? "'?" : "");
    return CLI_USAGE;
}

static int help(int argc, char **argv) {
    if (argc < 2) {
        usage(stdout);
        return CLI_OK;
    }
    bool man = !strcmp(argv[1], "--man"); /* not in the help: the build asks for it */
    if (man && argc < 3) {
        cli_print_man_overview(first_steps);
        return CLI_OK;
    }
    char *name = argv[man ? 2 : 1], option[8];
    const cli_entry *entry = find(name);
    if (!entry) return unknown(name);
    snprintf(option, sizeof option, "%s", man ? "--man" : "--help");
    char *line[] = {name, option, NULL};
    return entry->run(2, line);
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("weir %s\n", weir_version());
        return CLI_OK;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help(argc - 1, argv + 1);
    const cli_entry *entry = find(argv[1]);
    return entry ? entry->run(argc - 1, argv + 1) : unknown(argv[1]);
}

int main(int argc, char **argv) {
    openblas_set_num_threads(
        1);                   /* many small matrices: its threads would spin, and sums would depend on their number */
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves is a failed write, not a death in the middle of a commit */
    cli_stdout_begin();
    int rc = run(argc, argv);
    /* a full disk behind a redirection shows only here */
    errno = 0;
    const bool wrong = fflush(stdout) != 0 || ferror(stdout);
    if (!wrong || cli_reader_left() || rc != CLI_OK) return rc;
    fprintf(stderr, "weir: can't write standard output: %s\n", strerror(errno ? errno : EIO));
    return CLI_FAILED;
}

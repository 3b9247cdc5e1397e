/* completion.c: weir completion bash, from the commands' own option tables. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include "tools/cli.h"

#define COMMAND "completion"

static void print_bash(void) {
    printf("# bash completion for weir: source <(weir completion bash)\n"
           "_weir() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} options\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W 'help");
    for (const cli_entry *e = cli_entries; e->name; e++) printf(" %s", e->name);
    printf("' -- \"$word\"))\n"
           "        return\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (const cli_entry *e = cli_entries; e->name; e++) {
        char name[32], option[] = "--list-options";
        snprintf(name, sizeof name, "%s", e->name);
        char *argv[] = {name, option, NULL};
        printf("    %s) options='", e->name);
        e->run(2, argv); /* prints them, without a newline */
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    case $word in\n"
           "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
           "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
           "    esac\n"
           "}\n"
           "complete -o filenames -F _weir weir\n");
}

int weir_cmd_completion(int argc, char **argv) {
    char **operand;
    size_t n;
    const cli_option options[] = {{0}};
    const cli_command command = {COMMAND,
                                 .operands = "bash",
                                 .max_operands = 1,
                                 .examples = "source <(weir completion bash)",
                                 .options = options,
                                 .operand = &operand,
                                 .n_operands = &n};
    int rc = cli_parse(&command, argc, argv);
    if (rc != CLI_GO) return rc;
    if (!n || strcmp(operand[0], "bash") != 0) return cli_misuse(COMMAND, "for which shell? there is: bash");
    print_bash();
    return CLI_OK;
}

/* cli_internal.h: between the files of the command-line framework; subcommands include cli.h.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_CLI_INTERNAL_H
#define WEIR_TOOLS_CLI_INTERNAL_H

#include "tools/cli.h"

/* Before anything is printed: from then on a reader of standard output that leaves is no failed write. */
void cli_stdout_begin(void);

/* Prints the command's help, or its options' names in one line (for completion), on stdout. */
void cli_print_help(const cli_command *command);
void cli_print_options(const cli_command *command);
/* Manual pages in roff, on stdout: a command's, and weir's own. */
void cli_print_man(const cli_command *command);
void cli_print_man_overview(const char *first_steps);
/* An option's help with its choices and its default. */
void cli_option_help(const cli_option *option, char *text, size_t size);
const char *cli_summary(const cli_command *command); /* "": none */

#endif

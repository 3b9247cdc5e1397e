/* cli_internal.h: between the files of the command-line framework; subcommands include cli.h.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_CLI_INTERNAL_H
#define WEIR_TOOLS_CLI_INTERNAL_H

#include "tools/cli.h"

/* Prints the command's help, or its options' names in one line (for completion), on stdout. */
void cli_print_help(const cli_command *command);
void cli_print_options(const cli_command *command);
const char *cli_summary(const char *command);

#endif

/* outfile.h: files that a command writes: whole or not at all, compressed where the name ends in .zst.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_OUTFILE_H
#define WEIR_TOOLS_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

typedef struct cli_outfile cli_outfile;

/* NULL after saying why. `path` "-" or NULL is standard output. A regular file is written beside `path` and takes its
 * place when it is closed; with `append` it is continued in place instead (zstd frames may follow one another). */
cli_outfile *cli_outfile_open(const char *command, const char *path, bool append);
FILE *cli_outfile_stream(cli_outfile *file);
/* Writes what is left. !keep: the work failed, and a file that would take another's place is dropped. Gives CLI_OK or,
 * after saying why, CLI_FAILED. NULL is fine. */
int cli_outfile_close(cli_outfile *file, bool keep);

#endif

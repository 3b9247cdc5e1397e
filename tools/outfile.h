/* outfile.h: files that a command writes: whole or not at all, compressed where the name ends in .zst.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TOOLS_OUTFILE_H
#define WEIR_TOOLS_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>

typedef struct cli_outfile cli_outfile;

typedef enum cli_outmode {
    CLI_OUT_WHOLE,    /* written beside `path`, takes its place when it is closed (devices and pipes: in place) */
    CLI_OUT_IN_PLACE, /* emptied, then written as it comes */
    CLI_OUT_CONTINUE, /* appended to */
} cli_outmode;

/* NULL after saying why. `path` "-" or NULL is standard output. */
cli_outfile *cli_outfile_open(const char *command, const char *path, cli_outmode mode);
FILE *cli_outfile_stream(cli_outfile *file);
/* Writes what is left. !keep: the work failed, and a file that would take another's place is dropped. Gives CLI_OK or,
 * after saying why, CLI_FAILED. NULL is fine. */
int cli_outfile_close(cli_outfile *file, bool keep);

#endif

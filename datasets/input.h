/* input.h: bytes and lines from a file, a zstd-compressed file or standard input, all in bounded memory.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_INPUT_H
#define WEIRP_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/error.h"

typedef struct weirp_input weirp_input;

typedef struct weirp_line {
    char *text;      /* without its end (LF or CRLF); may be written to; borrowed until the next call */
    size_t len;      /* bytes */
    size_t number;   /* from 1 */
    bool too_long;   /* longer than asked for: text holds its start only */
    bool unfinished; /* the file ends without a line end */
} weirp_line;

/* "-" is standard input. zstd is told by its magic number. *out is new. */
weir_status weirp_input_open(weirp_input **out, const char *path, weir_error *err);
/* The next line, or WEIR_END. A byte order mark at the file's start is passed over. */
weir_status weirp_input_line(weirp_input *in, size_t max_bytes, weirp_line *line, weir_error *err);
/* The next piece of the file, borrowed until the next call; WEIR_END after the last. Never empty. */
weir_status weirp_input_chunk(weirp_input *in, char **chunk, size_t *len, weir_error *err);
/* The file's start without consuming it; *len is less than `want` only where the file is that short. want <= 64 KiB. */
weir_status weirp_input_peek(weirp_input *in, size_t want, const char **start, size_t *len, weir_error *err);
/* How much of the file has been read, [0,1]; NAN for what has no size, such as a pipe. */
double weirp_input_share(const weirp_input *in);
void weirp_input_close(weirp_input *in); /* NULL is fine */

#endif

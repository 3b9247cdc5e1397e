/* convert.h: what the converters share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CONVERT_H
#define WEIRP_CONVERT_H

#include <jansson.h>

#include "datasets/datasets.h"
#include "datasets/input.h"
#include "weir/convert.h"

/* One call of weir_convert. */
typedef struct weirp_conversion {
    weir_convert_options o;
    FILE *out;
    weir_convert_report report;
    weirp_writer repaired[3];  /* id, task and prompt where they weren't UTF-8 */
    const char *const *inputs; /* (n_inputs) */
    size_t n_inputs;
} weirp_conversion;

/* A row on its way out: set it up, add outcomes, write it. Reused from row to row. */
typedef struct weirp_row {
    size_t line; /* of the input, for messages */
    const char *id, *task, *prompt;
    size_t prompt_len;
    size_t n, capacity;
    const char **name;     /* (n) borrowed */
    weir_outcome *outcome; /* (n) */
} weirp_row;

/* Adds an outcome with nothing known yet; NULL: out of memory. */
weir_outcome *weirp_row_add(weirp_row *row, const char *model);
void weirp_row_free(weirp_row *row);
/* Computes costs from the pool, or else from `prices` (NULL: none), and writes the line. Counts it. */
weir_status weirp_conversion_write(weirp_conversion *c, weirp_row *row, const weir_pool *prices, weir_error *err);

/* A row that went wrong: with `strict`, or when it isn't the row's fault, `st` and `e` go up; else it is warned of and
 * counted, and WEIR_OK says to go on. */
weir_status weirp_conversion_reject(weirp_conversion *c, weir_status st, const weir_error *e, weir_error *err);
void weirp_conversion_warn(weirp_conversion *c, const char *format, ...) WEIR_PRINTF(2, 3);
weir_status weirp_conversion_progress(weirp_conversion *c, const char *stage, size_t done, size_t total,
                                      weir_error *err);

/* The formats: each reads one input, but MT-Bench's, whose files belong together. */
weir_status weirp_convert_routerbench(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err);
weir_status weirp_convert_routellm(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err);
weir_status weirp_convert_sprout(weirp_conversion *c, const char *path, weirp_input *in, weir_error *err);
/* `first` is the first of c->inputs where it is open already, else NULL; it is closed here in any case. */
weir_status weirp_convert_mtbench(weirp_conversion *c, weirp_input *first, weir_error *err);
weir_status weirp_convert_hub(weirp_conversion *c, const char *data_set, weir_error *err);

/* SPROUT's rows, from a file or from the hub: a column is a model when its value holds a score and token counts. */
weir_status weirp_sprout_row(weirp_conversion *c, const char *source, size_t line, const json_t *row, weirp_row *out,
                             weir_error *err);

/* A Python list of strings as Python prints it, joined by an empty line, into `out` (its content goes). False: the text
 * isn't one. */
bool weirp_python_strings(const char *text, size_t len, weirp_writer *out);

#endif

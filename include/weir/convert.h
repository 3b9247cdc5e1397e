/* convert.h: other systems' data as outcome files. Formats: docs/formats.md, "Other formats".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_CONVERT_H
#define WEIR_CONVERT_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/data.h"

WEIR_BEGIN_DECLS

typedef struct weir_convert_options {
    const weir_pool *pool;   /* prices for outcomes with tokens and no cost; NULL: the format's own, where it has any */
    bool strict;             /* stop at the first malformed row */
    weir_warning_fn warning; /* NULL: only counted */
    void *warning_user;
    const char *task; /* task of every row, for formats without one; NULL: as the format says */
    /* Hugging Face data-set server only */
    const char *base_url;   /* NULL: https://datasets-server.huggingface.co */
    const char *config;     /* NULL: "default" */
    const char *split;      /* NULL: "train" */
    size_t limit;           /* rows; 0: all */
    const char *state_path; /* where progress is kept, so that a broken download resumes; NULL: none */
    size_t max_retries;     /* a request; 0: 8 */
    weir_progress_fn progress;
    void *progress_user;
} weir_convert_options;

typedef struct weir_convert_report {
    size_t n_rows;      /* read */
    size_t n_written;   /* outcome lines */
    size_t n_malformed; /* left out */
    size_t n_truncated; /* left out because the server cut a cell */
} weir_convert_report;

/* Names of the formats; NULL past the last. Borrowed, static. */
WEIR_API const char *weir_convert_format(size_t index);

/* Reads `inputs` (paths, "-", or for "sprout-hub" a data set's name) in `format` (NULL: told by content) and writes
 * outcome lines to `out`. `report` may be NULL. */
WEIR_API WEIR_MUST_CHECK weir_status weir_convert(const char *format, const char *const *inputs, size_t n_inputs,
                                                  FILE *out, const weir_convert_options *options,
                                                  weir_convert_report *report, weir_error *err);

WEIR_END_DECLS

#endif

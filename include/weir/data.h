/* data.h: outcomes: what models did with prompts, in memory and as a stream.
 *
 * File format: docs/formats.md, "Outcomes". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_DATA_H
#define WEIR_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/error.h"
#include "weir/pool.h"

WEIR_BEGIN_DECLS

/* What one model did with one prompt. A field that is not known is NAN. */
typedef struct weir_outcome {
    double quality;       /* in [0,1] */
    double cost_usd;      /* >= 0 */
    double input_tokens;  /* >= 0 */
    double output_tokens; /* >= 0 */
    double latency_ms;    /* >= 0 */
} weir_outcome;

/* One line of an outcome file. All pointers are borrowed from the reader until its next call. */
typedef struct weir_record {
    const char *id;              /* never NULL; "" where the line has none */
    const char *task;            /* never NULL; "" where the line has none; groups reports, is never a feature */
    const char *prompt;          /* UTF-8 (repaired where it wasn't), prompt_len bytes, also NUL-terminated */
    size_t prompt_len;           /* bytes */
    size_t n_outcomes;           /* how many models answered */
    const size_t *model;         /* (n_outcomes) indices into the reader's model names */
    const weir_outcome *outcome; /* (n_outcomes) */
    size_t line;                 /* line number in its file, from 1 */
} weir_record;

typedef struct weir_reader weir_reader;

/* Called for a malformed or doubtful line that was left out; `text` names file, line, key and what would be right. */
typedef void (*weir_warning_fn)(void *user, const char *text);

typedef struct weir_reader_options {
    bool strict;             /* stop at the first malformed line instead of counting it */
    const weir_pool *pool;   /* borrowed; prices for outcomes that have tokens but no cost; NULL: none */
    weir_warning_fn warning; /* NULL: only counted */
    void *warning_user;
    size_t max_line_bytes; /* a longer line is malformed; 0: 64 MiB */
} weir_reader_options;

/* Opens a .jsonl, a .jsonl.zst (told by content, not by name) or "-" (standard input). *out is new. */
WEIR_API WEIR_MUST_CHECK weir_status weir_reader_open(weir_reader **out, const char *path,
                                                      const weir_reader_options *options, weir_error *err);
/* WEIR_OK with a record, WEIR_END after the last, or an error. */
WEIR_API WEIR_MUST_CHECK weir_status weir_reader_next(weir_reader *reader, weir_record *record, weir_error *err);
/* Model names seen so far, in order of appearance; borrowed until the next call to weir_reader_next. */
WEIR_API size_t weir_reader_n_models(const weir_reader *reader);
WEIR_API const char *weir_reader_model(const weir_reader *reader, size_t index);
WEIR_API size_t weir_reader_n_malformed(const weir_reader *reader); /* lines left out so far */
WEIR_API void weir_reader_close(weir_reader *reader);               /* NULL is fine */

/* A set of outcomes in memory. A plain struct: read its members; make and free it with the calls below.
 * A table whose every cell is missing is NULL; a single missing cell is NAN. */
typedef struct weir_dataset {
    size_t n_prompts, n_models;
    char **model_names;    /* (n_models) */
    char **ids;            /* (n_prompts) never NULL strings */
    char **tasks;          /* (n_prompts) never NULL strings */
    char **prompts;        /* (n_prompts) UTF-8, NUL-terminated */
    size_t *prompt_lens;   /* (n_prompts) bytes */
    double *quality;       /* (n_prompts, n_models) row-major, [0,1] */
    double *cost_usd;      /* (n_prompts, n_models) */
    double *input_tokens;  /* (n_prompts, n_models) */
    double *output_tokens; /* (n_prompts, n_models) */
    double *latency_ms;    /* (n_prompts, n_models) */
    size_t n_malformed;    /* lines left out */
    size_t n_duplicates;   /* lines left out because their id had been seen (the first one stays) */
    void *memory;          /* the library's */
} weir_dataset;

/* Reads whole files. *out is new; free it with weir_dataset_free. No usable line: WEIR_NODATA. */
WEIR_API WEIR_MUST_CHECK weir_status weir_dataset_load(weir_dataset **out, const char *const *paths, size_t n_paths,
                                                       const weir_reader_options *options, weir_error *err);
WEIR_API void weir_dataset_free(weir_dataset *data); /* NULL is fine */

WEIR_END_DECLS

#endif

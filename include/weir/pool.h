/* pool.h: the models a request may go to, and what they charge.
 *
 * File format: docs/formats.md, "Pool". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_POOL_H
#define WEIR_POOL_H

#include "weir/error.h"

WEIR_BEGIN_DECLS

/* Models in a pool, a file or a data set at most: each is a column of every table, so that a file which names a new
 * model on every line must not take the machine's memory. */
#define WEIR_MAX_MODELS 4096

/* A price that isn't known is NAN; zero means free. Start from weir_model_defaults(), so that a member which is added
 * here one day isn't taken for a price of nothing. */
typedef struct weir_model {
    char *name;
    double input_usd_per_mtok;  /* USD per million input tokens */
    double output_usd_per_mtok; /* USD per million output tokens */
    double request_usd;         /* USD a request, on top; 0 where the file is silent */
    double max_input_tokens;    /* longer prompts are not sent there; INFINITY: no limit */
    double max_output_tokens;   /* INFINITY: no limit */

    /* Tokens that vendors count apart and may charge otherwise; NAN: as the plain rate of their side. */
    double cached_input_usd_per_mtok; /* input read from the vendor's prompt cache */
    double cache_write_usd_per_mtok;  /* input written to it */
    double audio_input_usd_per_mtok;
    double reasoning_usd_per_mtok; /* output that was thought and not said */
    double audio_output_usd_per_mtok;
} weir_model;

/* No name, no price known, nothing a request, no limits. */
WEIR_API weir_model weir_model_defaults(void);

typedef struct weir_pool {
    size_t n_models;
    weir_model *models; /* (n_models) */
} weir_pool;

/* Reads a YAML (or JSON) pool file. *out is new; free it with weir_pool_free. An unknown or wrong key is an error
 * that names file, line and key. */
WEIR_API WEIR_MUST_CHECK weir_status weir_pool_load(weir_pool **out, const char *path, weir_error *err);
WEIR_API void weir_pool_free(weir_pool *pool); /* NULL is fine */

/* Index of a model by name, or (size_t)-1. */
WEIR_API size_t weir_pool_find(const weir_pool *pool, const char *name);

WEIR_END_DECLS

#endif

/* evaluate.h: the cost-quality curve of every policy on held-out outcomes, and the measures of docs/formats.md.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_EVALUATE_H
#define WEIR_EVALUATE_H

#include <stdio.h>

#include "weir/data.h"
#include "weir/router.h"

WEIR_BEGIN_DECLS

typedef struct weir_evaluation weir_evaluation;

typedef struct weir_evaluate_options {
    const char *strong, *weak; /* names for APGR and CPT; NULL: best and cheapest (or worst) single model */
    size_t n_bootstrap;        /* resamples for intervals; 0: 200 */
    uint64_t seed;
    const char *title; /* heading of the reports, e.g. the data's name; NULL: none */
    weir_progress_fn progress;
    void *progress_user;
} weir_evaluate_options;

/* *out is new; free it with weir_evaluation_free. Prompts on which some model lacks a label are left out of the curve,
 * and counted. */
WEIR_API WEIR_MUST_CHECK weir_status weir_evaluate(weir_evaluation **out, const weir_router *router,
                                                   const weir_dataset *data, const weir_evaluate_options *options,
                                                   weir_error *err);
WEIR_API void weir_evaluation_free(weir_evaluation *evaluation); /* NULL is fine */

/* The machine's version (docs/formats.md, "Evaluation report"); *json is new: free() it. */
WEIR_API WEIR_MUST_CHECK weir_status weir_evaluation_json(const weir_evaluation *evaluation, char **json,
                                                          weir_error *err);
/* The person's version: tables with bootstrap intervals and a small curve. `columns`: width of the terminal. */
WEIR_API WEIR_MUST_CHECK weir_status weir_evaluation_print(const weir_evaluation *evaluation, FILE *out, int columns,
                                                           weir_error *err);
/* A chart for a paper: SVG that follows the reader's light or dark colour scheme. */
WEIR_API WEIR_MUST_CHECK weir_status weir_evaluation_svg(const weir_evaluation *evaluation, FILE *out, weir_error *err);

WEIR_END_DECLS

#endif

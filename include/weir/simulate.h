/* simulate.h: outcome files with known truth, for tests, benchmarks and first steps.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_SIMULATE_H
#define WEIR_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "weir/data.h"

WEIR_BEGIN_DECLS

typedef struct weir_simulate_options {
    size_t n_prompts;    /* 0: 1000 */
    size_t n_models;     /* 2 to 1000; 0: 8 */
    uint64_t seed;       /* prompts and outcomes */
    uint64_t world_seed; /* kinds' difficulty and models' skills; the same world may give train and test sets */
    double missing;      /* share of outcomes that are left out, [0,1) */
    double noise;        /* share of prompts whose text says nothing of their kind, [0,1] */
    size_t drift_at;     /* from this prompt on, the two best models swap skills; 0: never */
    size_t prompt_bytes; /* mean prompt length; 0: as the templates are */
    bool graded;         /* quality graded in [0,1] rather than right or wrong */
    weir_progress_fn progress;
    void *progress_user;
} weir_simulate_options;

/* Outcomes in memory. *truth, where not NULL, is new: (n_prompts, n_models) expected quality, row-major; free() it. */
WEIR_API WEIR_MUST_CHECK weir_status weir_simulate(weir_dataset **out, double **truth,
                                                   const weir_simulate_options *options, weir_error *err);
/* The same as outcome lines, without holding them; each outcome carries "expected_quality" and "expected_cost", which
 * readers pass over. */
WEIR_API WEIR_MUST_CHECK weir_status weir_simulate_write(FILE *out, const weir_simulate_options *options,
                                                         weir_error *err);
/* Their models with real list prices, as a pool file. */
WEIR_API WEIR_MUST_CHECK weir_status weir_simulate_write_pool(FILE *out, const weir_simulate_options *options,
                                                              weir_error *err);

WEIR_END_DECLS

#endif

/* pacing.h: parts of pacing_bench. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PACING_H
#define PACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one set of numbers, estimates or outcomes, gives as value rises: every prompt's first choice, and all later
 * changes of model in order of value. Amounts are of both sets, so that a way chosen by one is judged by the other. */
typedef struct edge {
    double value;
    uint32_t prompt;
    double d_q_hat, d_c_hat, d_q, d_c;
} edge;

typedef struct walk {
    edge *edges;
    size_t n_edges;
    double *start; /* (n, 4): q_hat, c_hat, q, c */
} walk;

/* Tables are (n, n_models) row-major. */
typedef struct table {
    size_t n, n_models;
    double *q_hat, *c_hat, *q, *c;
    walk by_estimate, by_outcome;
} table;

bool table_load(table *t, const char *store, const char *data);
void table_free(table *t);

/* The most quality (of the set that the walk goes by: 0 estimates, 1 outcomes) that a day's requests can have at a
 * spend (of the set 0 or 1): the linear programme's optimum, a mix on one edge included. `count` (n): how often each
 * prompt came. Where not even the cheapest models can be paid for, requests may be dropped. */
double best_quality(const table *t, const walk *w, const uint32_t *count, int quality_of, int spend_of, double spend,
                    bool *dropped);
/* Spend in outcomes of a day if each request goes to the estimates' best model, and to the cheapest. */
void spend_range(const table *t, const uint32_t *count, double *least, double *most);

/* ---- traffic ---- */
typedef struct traffic_options {
    double volume; /* requests on an average weekday */
    uint64_t seed;
    unsigned days;
} traffic_options;

enum { DOUBLE_DAY = 15, LATE_DAY = 17, BURST_DAY = 22, STEP_DAY = 24 };

/* Arrival times (seconds of the day, ascending) and prompts of one day; arrays are new. */
size_t make_day(const traffic_options *o, unsigned day, size_t n_prompts, double **at, uint32_t **prompt);

#endif

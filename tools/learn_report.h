/* learn_report.h: what weir learn reports: quality, cost and regret as they came. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIR_TOOLS_LEARN_REPORT_H
#define WEIR_TOOLS_LEARN_REPORT_H

#include <jansson.h>

#include "tools/cli.h"

typedef struct learn_report {
    const char *policy, *feedback;
    double value;                   /* INFINITY: risk is 1 - quality */
    size_t n_lines, n, n_malformed; /* lines read; those whose chosen model had an outcome; those left out */
    double *quality, *cost;         /* (n) the chosen model's; an unknown cost is NAN */
    size_t capacity;
    double risk, best_risk; /* sums over n: the chosen model's, and the best one's of each line */
    double *model_risk;     /* (n_models) sums over the lines that have the model's outcome */
    size_t *model_n;        /* (n_models) their number */
    size_t n_models, n_without_cost;
    uint64_t n_durable;
    const weir_drift *drifts; /* borrowed from the learner */
    size_t n_drifts;
} learn_report;

learn_report learn_report_start(double value, const char *policy, const char *feedback);
/* A line: `models` (n_outcomes) in the learner's numbers; `chosen`: which of them, (size_t)-1: no outcome of it. */
weir_status learn_report_add(learn_report *r, const weir_record *record, const size_t *models, size_t chosen,
                             weir_error *err);
void learn_report_print(const learn_report *r, const cli_names *models, size_t segments, FILE *out);
json_t *learn_report_json(const learn_report *r, const cli_names *models, size_t segments); /* new */
void learn_report_end(learn_report *r);

#endif

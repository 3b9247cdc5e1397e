/* objective.h: how good a table of predicted qualities would be at routing: the area under the cost-quality hull (AIQ)
 * that it reaches on labelled prompts, with predicted costs. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OBJECTIVE_H
#define WEIRP_OBJECTIVE_H

#include "src/base/base.h"

typedef struct weirp_objective {
    size_t n, n_models;                /* prompts on which every model has a label (and, with costs, a cost) */
    size_t *row;                       /* (n) their rows in the training set */
    double *quality, *cost, *cost_hat; /* (n, n_models) */
    double cost_lo, cost_hi;
    bool has_cost; /* false: costs are ranks of the models' mean quality, so that dear means good */
    double *tmp;   /* (n, n_models) */
} weirp_objective;

/* Needs rows on which all models that have any label at all have one; with fewer than 50 such rows n is 0 and _score
 * gives NAN. quality, cost, cost_hat: (n_rows, n_models), NAN missing; cost NULL: unknown. */
weir_status weirp_objective_init(weirp_objective *o, const double *quality, const double *cost, const double *cost_hat,
                                 size_t n_rows, size_t n_models, weir_error *err);
void weirp_objective_clear(weirp_objective *o);

/* AIQ of q_hat (n_rows, n_models); all models' quality taken for `mean` where q_hat is NULL. */
weir_status weirp_objective_score(weirp_objective *o, const double *q_hat, const double *mean, double *score,
                                  weir_error *err);
#endif

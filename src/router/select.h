/* select.h: choosing and combining estimators by cross-validation on the routing objective.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SELECT_H
#define WEIRP_SELECT_H

#include "src/router/folds.h"
#include "src/router/objective.h"
#include "src/router/state.h"

typedef struct weirp_candidate {
    const weirp_estimator_class *class;
    size_t setting;   /* the best one */
    double score;     /* AIQ of its held-out predictions; NAN: it could not be measured */
    double *held_out; /* (n, n_models) out-of-fold or out-of-bag predictions at that setting */
    double weight;    /* share in the combination */
} weirp_candidate;

typedef struct weirp_selection {
    size_t n_candidates;
    weirp_candidate candidate[WEIRP_MAX_MEMBERS];
    double shrink;
    double score, constant_score; /* AIQ; NAN: it could not be measured */
    double gain_z;                /* paired z-score of the combination's gain over constants */
    double *held_out;             /* (n, n_models) of the combination */
} weirp_selection;

/* `estimator`: "auto", or one class's name, which then is the only candidate. mean: (n_models) the constants. */
weir_status weirp_select(weirp_selection *out, const char *estimator, const weirp_sample *sample,
                         const weirp_folds *folds, const double *mean, weirp_objective *objective,
                         weir_progress_fn progress, void *user, weir_error *err);
void weirp_selection_clear(weirp_selection *s);

#endif

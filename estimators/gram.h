/* gram.h: normal equations of all models at once; models that answered the same prompts share theirs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_GRAM_H
#define WEIRP_GRAM_H

#include "estimators/levels.h"

/* Rows z = (x - centre, 1), of d = dim + 1 columns. */
typedef struct weirp_gram {
    size_t n_models, d;
    size_t n_rows; /* with an outcome at all */
    size_t n_groups;
    double *centre;  /* (d - 1) */
    uint32_t *group; /* (n_models) */
    size_t *size;    /* (n_groups) models in each */
    double *count;   /* (n_groups) rows */
    uint64_t *key;   /* (n_groups) what was seen: equal only for equal rows */
    double *a;       /* (n_groups, d, d) sum of z z' */
    double *s;       /* (n_models, d) sum of z (target - offset) */
} weirp_gram;

/* centre NULL: the mean of the rows that have an outcome. */
weir_status weirp_gram_new(weirp_gram *gram, const weirp_sample *sample, double offset, const double *centre,
                           weir_error *err);
void weirp_gram_free(weirp_gram *gram);

/* z of each row into out (n, d). */
void weirp_gram_rows(const float *dense, size_t n, size_t dim, const double *centre, double *out);

#endif

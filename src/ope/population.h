/* population.h: prompts of which everything is known: what every model would have done, and what policies choose.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_POPULATION_H
#define WEIRP_OPE_POPULATION_H

#include "src/ope/judge.h"

typedef struct weirp_population {
    size_t n, n_models, dim;
    char **model;                   /* (n_models) names */
    double *metric[WEIR_N_METRICS]; /* (n, n_models); NULL: not known (LOSS: from a value) */
    double *quality_hat, *cost_hat; /* (n, n_models) the store's estimates */
    float *dense;                   /* (n, dim) */
    weirp_ope_table *table;         /* a row a prompt, as if its first model had been chosen: for asking policies */
} weirp_population;

/* Outcomes with the estimates of a store. Prompts without all of quality and cost of every model that both know are
 * left out. */
weir_status weirp_population_make(weirp_population *p, const weir_dataset *data, const weir_router *router,
                                  double value_usd, weir_error *err);
void weirp_population_free(weirp_population *p);
/* chances (n, n_models) of a policy named as in weirp_ope_target_new, at a knob (NAN: it has none). */
weir_status weirp_population_ask(const weirp_population *p, const char *policy, const weir_router *router, double knob,
                                 double *chances, weir_error *err);
/* What these chances get over all prompts. */
double weirp_population_mean(const weirp_population *p, const double *chances, weir_metric metric);
/* Its quantiles at weirp_quantile_levels: the least outcome at or below which that share lies. */
weir_status weirp_population_quantiles(const weirp_population *p, const double *chances, weir_metric metric,
                                       double quantile[WEIRP_N_QUANTILES], weir_error *err);

/* One log of n rows, drawn with `seed` by the chances of `logging` (n, n_models). *out is new and finished. The chosen
 * prompts and models go to `prompt` and `model` (n), where not NULL. */
weir_status weirp_population_draw(const weirp_population *p, const double *logging, size_t n, uint64_t seed,
                                  double value_usd, weirp_ope_table **out, uint32_t *prompt, uint32_t *model,
                                  weir_error *err);

#endif

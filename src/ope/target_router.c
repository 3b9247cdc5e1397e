/* target_router.c: what a router expects of logged prompts, of which only the features are left.
 *
 * A row's features are those of the router's training or they mean something else: then the router can't tell. Commits
 * count within one store; across stores trainings are told apart by the featurizers that they made.
 *
 * The prompt's tokens aren't among the features. An expected cost is a + b * tokens in every model, so that the costs
 * which the log says were expected give the tokens back: the median over models of (logged - a) / b, exact while prices
 * are those of the log, and one model's new price doesn't move it. Nor is the prompt's novelty there: it counts as 0.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/target_parts.h"
#include "src/router/costs.h"

struct weirp_target_router {
    const weirp_state *state; /* borrowed */
    uint64_t training;        /* whose features its estimators know */
    weirp_workspace workspace;
    size_t n_models; /* of the table */
    size_t *own;     /* (n_models) the router's index; (size_t)-1: it doesn't know the model */
    double *base;    /* (the router's models) costs without tokens */
    double *tokens;  /* (n_models) work */
};

weir_status weirp_target_router_training(uint64_t *training, const weir_router *router, weir_error *err) {
    weirp_writer w = {0};
    weirp_featurizer_save(router->state->featurizer, &w);
    *training = weirp_featurizer_mark(w.data, w.size);
    const bool failed = w.failed;
    weirp_writer_free(&w);
    return failed ? weirp_nomem(err) : WEIR_OK;
}

weir_status weirp_target_router_new(weirp_target_router **out, const weir_router *router, const weirp_ope_table *table,
                                    weir_error *err) {
    weirp_target_router *r = weirp_array(1, sizeof *r);
    if (!r) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    r->state = router->state;
    WEIRP_TRY(weirp_target_router_training(&r->training, router, err));
    r->n_models = weirp_ope_table_n_models(table);
    r->own = weirp_array(r->n_models, sizeof *r->own);
    r->base = weirp_array(weirp_state_n_models(r->state), sizeof *r->base);
    r->tokens = weirp_array(r->n_models, sizeof *r->tokens);
    if (!r->own || !r->base || !r->tokens) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_workspace_init(&r->workspace, r->state, err));
    for (size_t m = 0; m < r->n_models; m++)
        r->own[m] = weir_router_find_model(router, weirp_ope_table_model_name(table, m));
    *out = r;
done:
    if (st != WEIR_OK) weirp_target_router_free(r);
    return st;
}

void weirp_target_router_free(weirp_target_router *r) {
    if (!r) return;
    if (r->workspace.state) weirp_workspace_clear(&r->workspace);
    free(r->own);
    free(r->base);
    free(r->tokens);
    free(r);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void predict_costs(weirp_workspace *w) {
    weirp_costs_predict(&w->state->costs, w->state->pool, &w->features, w->scratch, w->tmp, &w->estimates);
}

/* False: some cost depends on them and nothing tells how many they were. */
static bool find_tokens(weirp_target_router *r, const double *cost_hat) {
    weirp_workspace *w = &r->workspace;
    const double *cost = w->estimates.cost_usd;
    size_t n = 0, n_own = w->estimates.n_models;
    enum { PROBE = 1000 };
    w->features.approximate_tokens = 0;
    predict_costs(w);
    memcpy(r->base, cost, n_own * sizeof *cost);
    w->features.approximate_tokens = PROBE;
    predict_costs(w);
    bool depends = false;
    for (size_t m = 0; m < r->n_models; m++) {
        size_t k = r->own[m];
        if (k == (size_t)-1 || !isfinite(cost[k]) || !(cost[k] > r->base[k])) continue;
        depends = true;
        if (!cost_hat || !isfinite(cost_hat[m])) continue;
        r->tokens[n++] = fmax(0, (cost_hat[m] - r->base[k]) / (cost[k] - r->base[k]) * PROBE);
    }
    if (!depends) return true;
    if (!n) return false;
    qsort(r->tokens, n, sizeof *r->tokens, compare);
    w->features.approximate_tokens = n % 2 ? r->tokens[n / 2] : (r->tokens[n / 2 - 1] + r->tokens[n / 2]) / 2;
    return true;
}

static void take_over(const weirp_target_router *r, weir_estimates *e) {
    const weir_estimates *from = &r->workspace.estimates;
    double *const to_columns[] = {e->quality, e->quality_sd, e->quality_lo, e->quality_hi,  e->cost_usd,     e->cost_sd,
                                  e->cost_lo, e->cost_hi,    e->latency_ms, e->latency_p95, e->output_tokens};
    double *const from_columns[] = {from->quality,    from->quality_sd,  from->quality_lo,   from->quality_hi,
                                    from->cost_usd,   from->cost_sd,     from->cost_lo,      from->cost_hi,
                                    from->latency_ms, from->latency_p95, from->output_tokens};
    for (size_t c = 0; c < sizeof to_columns / sizeof *to_columns; c++)
        for (size_t m = 0; m < r->n_models; m++)
            to_columns[c][m] = r->own[m] == (size_t)-1 ? NAN : from_columns[c][r->own[m]];
    for (size_t m = 0; m < r->n_models; m++)
        if (r->own[m] == (size_t)-1 || r->state->disabled[r->own[m]]) e->eligible[m] = false;
    e->coverage = from->coverage;
    e->fitted = from->fitted;
    e->novelty = 0;
}

bool weirp_target_router_estimate(weirp_target_router *r, const weirp_ope_block *block, size_t i,
                                  weir_estimates *estimates) {
    size_t dim = weirp_featurizer_dim(r->state->featurizer);
    if (!block->dense || block->dim != dim || !block->training || block->training[i] != r->training) return false;
    const float *dense = block->dense + i * dim;
    for (size_t j = 0; j < dim; j++)
        if (!isfinite(dense[j])) return false;
    r->workspace.features = (weirp_features){.dim = dim, .dense = dense, .explained = 1};
    if (!find_tokens(r, block->cost_hat ? block->cost_hat + i * block->n_models : NULL)) return false;
    weirp_workspace_estimate_features(&r->workspace);
    take_over(r, estimates);
    return true;
}

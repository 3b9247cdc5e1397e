/* copy.c: states that are only asked. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/price/price.h"
#include "src/router/costs.h"
#include "src/router/quality.h"

void weirp_state_freeze(weirp_state *s) {
    for (size_t k = 0; k < s->quality.n_members; k++)
        if (s->quality.member[k]->class->freeze) s->quality.member[k]->class->freeze(s->quality.member[k]);
}

static weir_status copy_intervals(weirp_intervals *to, const weirp_intervals *v, size_t n_models, weir_error *err) {
    to->coverage = v->coverage;
    to->quality_half = weirp_array(n_models, sizeof *to->quality_half);
    to->novelty = weirp_array(v->n_novelty, sizeof *to->novelty);
    if (!to->quality_half || !to->novelty) return weirp_nomem(err);
    to->n_novelty = v->n_novelty;
    memcpy(to->quality_half, v->quality_half, n_models * sizeof *to->quality_half);
    if (v->n_novelty) memcpy(to->novelty, v->novelty, v->n_novelty * sizeof *to->novelty);
    return WEIR_OK;
}

static weir_status copy_adaptive(weirp_adaptive **to, const weirp_adaptive *a, weir_error *err) {
    weirp_writer w = {0};
    weirp_adaptive_save(a, &w);
    weirp_bytes r = {.data = w.data, .size = w.size};
    weir_status st = w.failed ? weirp_nomem(err) : weirp_adaptive_load(to, &r, err);
    weirp_writer_free(&w);
    return st;
}

weir_status weirp_state_copy(weirp_state **out, const weirp_state *s, weir_error *err) {
    weirp_state *c = weirp_array(1, sizeof *c);
    if (!c) return weirp_nomem(err);
    size_t n = weirp_state_n_models(s);
    weir_status st;
    c->n_trained_prompts = s->n_trained_prompts;
    c->n_feedbacks = s->n_feedbacks;
    c->checkpoint_log = s->checkpoint_log, c->costs_log = s->costs_log, c->n_logged = s->n_logged;
    c->store_version = s->store_version, c->trained_version = s->trained_version;
    memcpy(c->estimator, s->estimator, sizeof c->estimator);
    c->featurizer = weirp_featurizer_keep(s->featurizer);
    WEIRP_TRY(weirp_pool_copy(&c->pool, s->pool, err));
    c->disabled = weirp_array(n, sizeof *c->disabled);
    if (!c->disabled) {
        st = weirp_nomem(err);
        goto done;
    }
    memcpy(c->disabled, s->disabled, n * sizeof *c->disabled);
    WEIRP_TRY(weirp_quality_copy(&c->quality, &s->quality, n, err));
    WEIRP_TRY(weirp_costs_copy(&c->costs, &s->costs, n, err));
    WEIRP_TRY(copy_intervals(&c->intervals, &s->intervals, n, err));
    WEIRP_TRY(copy_adaptive(&c->adaptive, s->adaptive, err));
done:
    if (st != WEIR_OK) {
        weirp_state_free(c);
        return st;
    }
    *out = c;
    return WEIR_OK;
}

/* workspace.c: estimating, without allocation. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/workspace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/router/costs.h"
#include "src/router/quality.h"

#define ALIGNMENT 64
/* Labels that a model of an untrained store must have had before its estimate is more than a prior. */
#define COLD_LABELS 10

static size_t scratch_size(const weirp_state *s) {
    size_t a = weirp_quality_scratch(&s->quality), b = weirp_costs_scratch(&s->costs);
    size_t most = a > b ? a : b;
    return (most / ALIGNMENT + 1) * ALIGNMENT;
}

weir_status weirp_workspace_init(weirp_workspace *w, const weirp_state *state, weir_error *err) {
    memset(w, 0, sizeof *w);
    size_t n = weirp_state_n_models(state);
    w->state = state;
    weir_status st = weirp_text_scratch_new(&w->text, state->featurizer, err);
    if (st != WEIR_OK) return st;
    w->scratch_bytes = scratch_size(state);
    w->scratch = aligned_alloc(ALIGNMENT, w->scratch_bytes);
    double **columns[] = {&w->prior,
                          &w->estimates.quality,
                          &w->estimates.quality_sd,
                          &w->estimates.quality_lo,
                          &w->estimates.quality_hi,
                          &w->estimates.cost_usd,
                          &w->estimates.cost_sd,
                          &w->estimates.cost_lo,
                          &w->estimates.cost_hi,
                          &w->estimates.latency_ms,
                          &w->estimates.latency_p95,
                          &w->estimates.output_tokens,
                          &w->decision.risk_usd,
                          &w->decision.regret_usd,
                          &w->decision.propensity};
    size_t n_columns = sizeof columns / sizeof *columns;
    w->numbers = weirp_array((n_columns + 2) * n, sizeof(double));
    w->estimates.eligible = weirp_array(n, sizeof(bool));
    if (!w->scratch || !w->numbers || !w->estimates.eligible) {
        weirp_workspace_clear(w);
        return weirp_nomem(err);
    }
    for (size_t c = 0; c < n_columns; c++) *columns[c] = w->numbers + c * n;
    w->tmp = w->numbers + n_columns * n;
    w->estimates.n_models = w->decision.n_models = n;
    return WEIR_OK;
}

void weirp_workspace_clear(weirp_workspace *w) {
    weirp_text_scratch_free(w->text);
    free(w->scratch);
    free(w->numbers);
    free(w->estimates.eligible);
    memset(w, 0, sizeof *w);
}

weir_status weirp_workspace_refresh(weirp_workspace *w, weir_error *err) {
    size_t need = scratch_size(w->state);
    if (need <= w->scratch_bytes) return WEIR_OK;
    void *scratch = aligned_alloc(ALIGNMENT, 2 * need);
    if (!scratch) return weirp_nomem(err);
    free(w->scratch);
    w->scratch = scratch;
    w->scratch_bytes = 2 * need;
    return WEIR_OK;
}

/* ---- where the time goes ---- */

static void phase_start(weirp_workspace *w) {
    w->n_phases = 0;
    if (w->profile) w->mark_ns = weirp_monotonic_ns();
}

static void phase_end(weirp_workspace *w, const char *name) {
    if (!w->profile || w->n_phases == WEIRP_MAX_PHASES) return;
    uint64_t now = weirp_monotonic_ns();
    w->phase[w->n_phases++] = (weir_phase){name, now - w->mark_ns};
    w->mark_ns = now;
}

static void member_done(void *user, size_t member) {
    weirp_workspace *w = user;
    phase_end(w, w->state->quality.member[member]->class->name);
}

/* ---- estimating ---- */

static double novelty(const weirp_intervals *v, double unexplained) {
    size_t lo = 0, hi = v->n_novelty;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v->novelty[mid] < unexplained)
            lo = mid + 1;
        else
            hi = mid;
    }
    return v->n_novelty ? (double)lo / (double)v->n_novelty : 0;
}

void weirp_workspace_prior(weirp_workspace *w) {
    const weirp_state *s = w->state;
    size_t n = w->estimates.n_models;
    if (s->quality.n_members) {
        weirp_quality_predict(&s->quality, &w->features, n, w->scratch, w->tmp, w->prior, w->estimates.quality_sd,
                              w->profile ? member_done : NULL, w);
        return;
    }
    for (size_t m = 0; m < n; m++) w->prior[m] = s->quality.mean[m], w->estimates.quality_sd[m] = 0;
}

/* Corrections learned since training, the intervals, and who may be chosen at all. */
static void finish(weirp_workspace *w) {
    const weirp_state *s = w->state;
    weir_estimates *e = &w->estimates;
    double *correction_sd = w->tmp;
    weirp_adaptive_predict(s->adaptive, w->features.dense, w->prior, e->quality, correction_sd);
    e->coverage = s->intervals.coverage;
    e->novelty = s->n_trained_prompts ? novelty(&s->intervals, 1 - (double)w->features.explained) : 0;
    e->fitted = s->n_trained_prompts > 0;
    uint64_t least = UINT64_MAX;
    for (size_t m = 0; m < e->n_models; m++) {
        const weir_model *model = &s->pool->models[m];
        double half = s->intervals.quality_half[m];
        e->quality_sd[m] = hypot(e->quality_sd[m], correction_sd[m]);
        e->quality_lo[m] = fmax(e->quality[m] - half, 0);
        e->quality_hi[m] = fmin(e->quality[m] + half, 1);
        e->eligible[m] = !s->disabled[m] && !(w->features.approximate_tokens > model->max_input_tokens);
        uint64_t count = weirp_adaptive_count(s->adaptive, m);
        if (e->eligible[m] && count < least) least = count;
    }
    if (!e->fitted) e->fitted = least != UINT64_MAX && least >= COLD_LABELS;
}

void weirp_workspace_estimate_features(weirp_workspace *w) {
    weirp_workspace_prior(w);
    weirp_adaptive_expect(w->state->adaptive); /* comes in while costs are predicted */
    weirp_costs_predict(&w->state->costs, w->state->pool, &w->features, w->scratch, w->tmp, &w->estimates);
    phase_end(w, "costs");
    finish(w);
    phase_end(w, "adaptive");
}

void weirp_workspace_estimate(weirp_workspace *w, const char *prompt, size_t len) {
    phase_start(w);
    weirp_featurize(w->state->featurizer, w->text, prompt, len, &w->features);
    phase_end(w, "features");
    weirp_workspace_estimate_features(w);
}

weir_status weirp_workspace_decide(weirp_workspace *w, const weir_policy_options *options, weir_error *err) {
    weir_status st = weir_policy_decide(options, &w->estimates, &w->decision, err);
    phase_end(w, "policy");
    return st;
}

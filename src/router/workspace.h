/* workspace.h: one thread's scratch, and estimating with it: prompt -> features -> estimates.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WORKSPACE_H
#define WEIRP_WORKSPACE_H

#include "src/router/state.h"
#include "weir/router.h"

#define WEIRP_MAX_PHASES (WEIRP_MAX_MEMBERS + 4)

typedef struct weirp_workspace {
    const weirp_state *state; /* borrowed */
    weirp_text_scratch *text;
    void *scratch; /* of the estimators, scratch_bytes, 64-byte aligned */
    size_t scratch_bytes;
    double *numbers;         /* every double array below is cut from it */
    weirp_features features; /* of the last prompt */
    double *prior;           /* (n_models) fitted estimators' quality, before corrections */
    double *tmp;             /* (2 n_models) */
    weir_estimates estimates;
    weir_decision decision;
    bool profile;
    uint64_t mark_ns;
    size_t n_phases;
    weir_phase phase[WEIRP_MAX_PHASES];
} weirp_workspace;

weir_status weirp_workspace_init(weirp_workspace *w, const weirp_state *state, weir_error *err);
void weirp_workspace_clear(weirp_workspace *w);
/* After the state has learned: makes room where an estimator's scratch has grown. */
weir_status weirp_workspace_refresh(weirp_workspace *w, weir_error *err);

/* Prompt to w->features and w->estimates; no allocation. */
void weirp_workspace_estimate(weirp_workspace *w, const char *prompt, size_t len);
/* Estimates to w->decision. */
weir_status weirp_workspace_decide(weirp_workspace *w, const weir_policy_options *options, weir_error *err);
/* Fills w->prior alone, from w->features (a replayed log has no prompt). */
void weirp_workspace_prior(weirp_workspace *w);
/* Estimates from w->features as they stand. */
void weirp_workspace_estimate_features(weirp_workspace *w);

#endif

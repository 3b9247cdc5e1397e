/* target.h: a candidate policy as chances over models, for rows that another policy decided.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_TARGET_H
#define WEIRP_OPE_TARGET_H

#include "src/ope/table.h"
#include "weir/policy.h"
#include "weir/router.h"

typedef struct weirp_ope_target weirp_ope_target;

/* From "NAME[,KEY=VALUE]...":
 *   logged           the policy that made the decisions
 *   column           the chances in the log itself (a mapping's `target`, or a rollout's candidate); `rollout=` names
 *                    the rollout, which is needed where the log has the candidates of several
 *   table,file=F     a CSV of chances, a row a model (or segment's text, model, chance), a column a segment
 *   any of weir_policy_name() with its knobs: value, mu, latency_usd_per_s, max_cost, min_quality, max_latency,
 *                    threshold, strong, weak, model (fixed), explore, novelty_limit, fallback=off
 * and `name=` for how reports call it. Policies see the logged estimates or, with a router, that one's estimates of the
 * logged features. Errors name the key and what would be right. *out is new; router is borrowed, NULL: none. */
weir_status weirp_ope_target_new(weirp_ope_target **out, const char *text, const weirp_ope_table *table,
                                 const weir_router *router, weir_error *err);
/* What reports will call the policy of such a text, where it can be read: its name=, else the whole. Borrowed, *len
 * bytes. */
const char *weirp_ope_target_called(const char *text, size_t *len);
/* Whose features a router's estimators know: a row of another `training` can't be asked about. */
weir_status weirp_target_router_training(uint64_t *training, const weir_router *router, weir_error *err);
/* Whether a policy has that key in such a text. */
bool weirp_ope_target_has_key(const char *policy, const char *key);
void weirp_ope_target_free(weirp_ope_target *target);
const char *weirp_ope_target_name(const weirp_ope_target *target); /* borrowed */
bool weirp_ope_target_is_logged(const weirp_ope_target *target);

/* pi (n, n_models): chances that sum to 1 over the models that could be chosen. A row that the policy can't decide (no
 * estimates, no features): NANs, and *n_undecided grows. One thread at a time. */
weir_status weirp_ope_target_fill(weirp_ope_target *target, const weirp_ope_block *block, double *pi,
                                  size_t *n_undecided, weir_error *err);

/* The policy's one open knob set anew: for curves. WEIR_INVALID: it has none (KEY=? in its text leaves one open), or
 * the number can't be right. A policy that leaves one open can't be asked before. */
weir_status weirp_ope_target_turn(weirp_ope_target *target, double knob, weir_error *err);
/* Its key; NULL: none is open, and *err names those that could be. Static. */
const char *weirp_ope_target_knob(const weirp_ope_target *target, weir_error *err);

/* Many settings of the open knob, checked as one is: what weirp_ope_target_each_turn asks at. They are copied. */
weir_status weirp_ope_target_set_turns(weirp_ope_target *target, const double *knob, size_t n, weir_error *err);
/* Settings [begin, end), whose chances are the same: pi (n_models), or NULL: the model `sure` has a chance of 1. NULL
 * and WEIRP_NOT_SURE: undecided. Borrowed until it returns. */
typedef void (*weirp_ope_turned_fn)(void *context, size_t begin, size_t end, const double *pi, size_t sure);
#define WEIRP_NOT_SURE ((size_t)-1)
/* Row i at each of these settings, in their order: what weirp_ope_target_fill says after turning the knob to each, with
 * the row's estimates made once. The knob is left somewhere. One thread at a time. */
weir_status weirp_ope_target_each_turn(weirp_ope_target *target, const weirp_ope_block *block, size_t i,
                                       weirp_ope_turned_fn fn, void *context, weir_error *err);

/* What the policy goes by: its knobs, and what it expects of row i. NULL: it asks no estimates, or there are none.
 * Borrowed; estimates until the target is asked again. */
const weir_policy_options *weirp_ope_target_options(const weirp_ope_target *target);
const weir_estimates *weirp_ope_target_estimates(weirp_ope_target *target, const weirp_ope_block *block, size_t i);

#endif

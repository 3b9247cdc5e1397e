/* minimax.c: least worst-case regret over the intervals; where the intervals say nothing, least expected loss.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "policies/policy.h"

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    (void)err;
    d->model = weirp_view_careful(v, d);
    d->rule = WEIR_RULE_MINIMAX;
    d->reason = WEIR_REASON_ASKED;
    return WEIR_OK;
}

const weirp_policy weirp_policy_minimax = {"minimax", NULL, decide, false};

/* random.c: every eligible model with the same probability. SPDX-License-Identifier: GPL-3.0-or-later */
#include "policies/policy.h"

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    (void)err;
    for (size_t m = 0; m < d->n_models; m++)
        d->propensity[m] = v->estimates->eligible[m] ? 1.0 / (double)v->n_eligible : 0;
    d->model = (size_t)-1; /* no choice of its own that a draw could differ from */
    d->rule = WEIR_RULE_RANDOM;
    d->reason = WEIR_REASON_ASKED;
    return WEIR_OK;
}

const weirp_policy weirp_policy_random = {"random", NULL, decide, true};

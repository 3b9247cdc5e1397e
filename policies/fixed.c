/* fixed.c: always the same model. SPDX-License-Identifier: GPL-3.0-or-later */
#include "policies/policy.h"
#include "src/base/base.h"

static const char *check(const weir_policy_options *o, size_t n) {
    return o->fixed < n ? NULL : "the fixed model isn't in the pool";
}

static weir_status decide(const weirp_view *v, weir_decision *d, weir_error *err) {
    if (!v->estimates->eligible[v->options->fixed])
        return weirp_fail(err, WEIR_NODATA, 0, "the fixed model may not answer this prompt");
    d->model = v->options->fixed;
    d->rule = WEIR_RULE_FIXED;
    d->reason = WEIR_REASON_ASKED;
    return WEIR_OK;
}

const weirp_policy weirp_policy_fixed = {"fixed", check, decide, false};

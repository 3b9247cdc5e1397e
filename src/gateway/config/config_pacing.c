/* config_pacing.c: the budget that is paced. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/gateway/config/config_file.h"

bool weirp_policy_has_value(const char *policy) {
    static const char *const without[] = {"threshold", "fixed", "random"};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        if (!strcmp(without[i], policy)) return false;
    return true;
}

weir_status weirp_maker_pacing(weirp_maker *m) {
    weirp_config *c = m->config;
    c->pacing.min_quality = m->file.pacing.min_quality;
    c->pacing.floor_first = m->file.pacing.precedence == 1;
    c->pacing.max_latency_ms = m->file.pacing.max_latency_ms;
    c->pacing.expected_requests = m->file.pacing.expected_requests;
    c->pacing.budget = m->file.pacing.budget;
    m->file.pacing.budget = NULL; /* the configuration's now */
    if (!c->pacing.budget) return WEIR_OK;
    if (!c->pacing.budget[0])
        return weirp_maker_wrong(m, m->file.pacing.budget_line, "key \"budget\" must be the name of a budget");
    if (!weirp_policy_has_value(c->policy.policy))
        return weirp_maker_wrong(m, m->file.pacing.budget_line,
                                 "policy \"%s\" doesn't go by a value, which is what pacing moves", c->policy.policy);
    return WEIR_OK;
}

/* policy_options.c: from a command line to a policy. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "tools/policy_options.h"

cli_policy cli_policy_defaults(void) {
    return (cli_policy){.mu = NAN, .o = weir_policy_defaults()};
}

int cli_policy_check(const char *command, cli_policy *p) {
    bool limits = p->max_cost_given || p->min_quality_given || p->max_latency_given;
    bool pair = p->strong || p->weak || p->threshold_given;
    if (p->value_given && !isnan(p->mu)) return cli_misuse(command, "--value and --mu are the same knob: give one");
    const char *told = p->fixed ? "fixed" : pair ? "threshold" : limits ? "constrained" : NULL;
    if (!p->policy && told) p->policy = told;
    const char *name = p->policy ? p->policy : "";
    if (p->fixed && strcmp(name, "fixed") != 0) return cli_misuse(command, "--fixed doesn't go with --policy %s", name);
    if (pair && strcmp(name, "threshold") != 0)
        return cli_misuse(command, "--strong, --weak and --threshold don't go with policy %s", name);
    if (limits && strcmp(name, "constrained") != 0)
        return cli_misuse(command, "--max-cost, --min-quality and --max-latency don't go with policy %s", name);
    if (!strcmp(name, "fixed") && !p->fixed) return cli_misuse(command, "--policy fixed needs --fixed MODEL");
    if (!isnan(p->mu))
        p->o.value_usd = weir_value_from_mu(p->mu);
    else if (p->min_quality_given && !p->value_given)
        p->o.value_usd = 0; /* enough is enough: the cheapest */
    p->o.fallback = !p->no_fallback;
    return CLI_GO;
}

static bool find(const char *command, const cli_names *models, const char *name, size_t *index) {
    if (!name) return true;
    *index = cli_find_name(command, models, name);
    return *index != (size_t)-1;
}

int cli_policy_resolve(const char *command, const cli_policy *p, const cli_names *models, weir_policy_options *out) {
    *out = p->o;
    out->policy = p->policy;
    if (!find(command, models, p->fixed, &out->fixed) || !find(command, models, p->strong, &out->strong) ||
        !find(command, models, p->weak, &out->weak))
        return CLI_USAGE;
    if (p->policy && !strcmp(p->policy, "oracle")) return CLI_GO; /* whoever has the truth adds it */
    const char *wrong = weir_policy_check(out, models->n);
    return wrong ? cli_misuse(command, "%s", wrong) : CLI_GO;
}

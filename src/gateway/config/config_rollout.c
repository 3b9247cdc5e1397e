/* config_rollout.c: the candidate that is being tried. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "src/base/words.h"
#include "src/gateway/config/config_file.h"

enum { SHADOW, SHARE }; /* as the schema's modes */

static const double usual_steps[] = {0.01, 0.05, 0.2, 0.5};

static weir_status set_steps(weirp_maker *m, weirp_gate_plan *g) {
    const weirp_yaml_list *list = &m->file.rollout.steps;
    const size_t line = m->file.rollout.steps_line;
    char *const *texts = list->items;
    char shown[40];
    if (m->file.rollout.mode == SHADOW) {
        if (line)
            return weirp_maker_wrong(m, line,
                                     "key \"steps\" goes with mode \"share\": in shadow nothing is dispatched");
        g->n_steps = 1;
        return WEIR_OK;
    }
    if (!line) {
        g->n_steps = sizeof usual_steps / sizeof *usual_steps;
        memcpy(g->step, usual_steps, sizeof usual_steps);
        return WEIR_OK;
    }
    if (list->n < 1 || list->n > WEIRP_GATE_STEPS)
        return weirp_maker_wrong(m, line, "key \"steps\" has %zu shares: must be from 1 to %d", list->n,
                                 WEIRP_GATE_STEPS);
    for (size_t i = 0; i < list->n; i++) {
        if (!weirp_number_parse(texts[i], strlen(texts[i]), &g->step[i]) ||
            !(g->step[i] >= 1e-4 && g->step[i] <= 0.9999))
            return weirp_maker_wrong(m, line,
                                     "key \"steps\" has \"%s\": must be shares of the traffic, from 0.0001 to 0.9999",
                                     weirp_excerpt(shown, sizeof shown, texts[i], strlen(texts[i])));
        if (i && !(g->step[i] > g->step[i - 1]))
            return weirp_maker_wrong(m, line, "key \"steps\" must ascend: %g comes after %g", g->step[i],
                                     g->step[i - 1]);
    }
    g->n_steps = list->n;
    return WEIR_OK;
}

static void put_model(weirp_writer *w, const weirp_config *c, size_t model) {
    weirp_put_text(w, model < c->pool->n_models ? c->pool->models[model].name : "");
}

static void put_policy(weirp_writer *w, const weirp_config *c, const weir_policy_options *o) {
    const double numbers[] = {o->value_usd, o->latency_usd_per_s, o->max_cost_usd,  o->min_quality,  o->max_latency_ms,
                              o->threshold, o->fallback,          o->novelty_limit, o->explore_floor};
    weirp_put_text(w, o->policy);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) weirp_put_f64(w, numbers[i] + 0.0); /* -0 is 0 */
    put_model(w, c, o->strong);
    put_model(w, c, o->weak);
    weirp_put_text(w, !strcmp(o->policy, "fixed") ? c->pool->models[o->fixed].name : "");
}

/* Of all that makes it this rollout and no other. */
static weir_status set_digest(const weirp_maker *m, weirp_gate_plan *g) {
    const weirp_config *c = m->config;
    weirp_writer w = {0};
    weirp_put_text(&w, g->name);
    weirp_put_u32(&w, g->shadow);
    weirp_put_f64s(&w, g->step, g->n_steps);
    weirp_put_f64(&w, g->level);
    put_policy(&w, c, &c->policy);
    put_policy(&w, c, &c->rollout.policy);
    if (c->pacing.budget) weirp_put_text(&w, c->pacing.budget); /* other values for both */
    const bool failed = w.failed;
    /* the lowest byte is the step's, where both are told in one word (rollout.h) */
    if (!failed) g->digest = (XXH3_64bits(w.data, w.size) | 0x100) & ~UINT64_C(0xff);
    weirp_writer_free(&w);
    return failed ? weirp_nomem(m->err) : WEIR_OK;
}

/* Whether both policies are one, but for their values. */
static weir_status compare(const weirp_maker *m, bool *alike) {
    const weirp_config *c = m->config;
    weir_policy_options base = c->policy, candidate = c->rollout.policy;
    weirp_writer a = {0}, b = {0};
    base.value_usd = candidate.value_usd = 0;
    put_policy(&a, c, &base);
    put_policy(&b, c, &candidate);
    const bool failed = a.failed || b.failed;
    *alike = !failed && a.size == b.size && !memcmp(a.data, b.data, a.size);
    weirp_writer_free(&a);
    weirp_writer_free(&b);
    return failed ? weirp_nomem(m->err) : WEIR_OK;
}

/* Pacing gives both policies one value: a candidate may have none, or nothing else of its own. */
static weir_status check_paced(weirp_maker *m, const weirp_gate_plan *g) {
    const weirp_config *c = m->config;
    bool alike;
    weir_status st;
    WEIRP_TRY(compare(m, &alike));
    if (!weirp_policy_has_value(c->rollout.policy.policy))
        WEIRP_TRY(weirp_maker_warn(m, m->file.rollout.line,
                                   "the candidate of the rollout \"%s\", policy \"%s\", doesn't go by a value: what it "
                                   "spends of the budget \"%s\" isn't paced",
                                   g->name, c->rollout.policy.policy, c->pacing.budget));
    if (alike)
        WEIRP_TRY(weirp_maker_warn(m, m->file.rollout.line,
                                   "the candidate of the rollout \"%s\" differs from \"policy\" in nothing but its "
                                   "value, which pacing gives both of them: paced requests are decided alike",
                                   g->name));
done:
    return st;
}

/* What can't be had with it, and what is probably not meant. */
static weir_status check(weirp_maker *m, const weirp_gate_plan *g) {
    const weirp_config *c = m->config;
    const size_t line = m->file.rollout.line;
    weir_status st = WEIR_OK;
    if (!c->traffic.on) return weirp_maker_wrong(m, line, "\"rollout\" needs the traffic log: \"traffic.on\" is false");
    if (g->shadow && !(g->floor > 0))
        WEIRP_TRY(weirp_maker_warn(m, line,
                                   "the rollout \"%s\" is in shadow, and \"policy\" has no \"explore_floor\": the "
                                   "candidate's decisions are logged, and nothing can be learned of their quality",
                                   g->name));
    if (c->pacing.budget) WEIRP_TRY(check_paced(m, g));
done:
    return st;
}

weir_status weirp_maker_rollout(weirp_maker *m) {
    weirp_config *c = m->config;
    weirp_gate_plan *g = &c->rollout.gate;
    const char *name = m->file.rollout.name;
    weir_status st;
    if (!m->file.rollout.line) return WEIR_OK;
    if (!*name || strlen(name) >= sizeof g->name || weirp_utf8_valid(name, strlen(name)) < strlen(name))
        return weirp_maker_wrong(m, m->file.rollout.name_line, "key \"name\" must have from 1 to %zu bytes of UTF-8",
                                 sizeof g->name - 1);
    if (!m->file.rollout.policy.line)
        return weirp_maker_wrong(m, m->file.rollout.line, "\"rollout\" needs the key \"policy\": the candidate");
    WEIRP_TRY(weirp_maker_policy(m, &m->file.rollout.policy, &c->rollout.policy));
    weirp_copy_text(g->name, sizeof g->name, name);
    WEIRP_TRY(weirp_maker_policy_text(m, &m->file.policy, &c->policy, g->base));
    WEIRP_TRY(weirp_maker_policy_text(m, &m->file.rollout.policy, &c->rollout.policy, g->candidate));
    g->shadow = m->file.rollout.mode == SHADOW;
    g->floor = c->policy.explore_floor;
    g->level = m->file.rollout.level;
    g->margin = m->file.rollout.margin_quality;
    g->margin_error = m->file.rollout.margin_error;
    g->min_feedback = (uint64_t)m->file.rollout.min_feedback;
    g->hold_ms = m->file.rollout.hold_hours * 3600e3;
    WEIRP_TRY(weirp_maker_webhook(m, m->file.rollout.webhook_line, &m->file.rollout.webhook, &c->rollout.webhook));
    WEIRP_TRY(set_steps(m, g));
    WEIRP_TRY(set_digest(m, g));
    const char *wrong = weirp_gate_check(g);
    if (wrong) return weirp_maker_wrong(m, m->file.rollout.line, "\"rollout\": %s", wrong);
    c->rollout.on = true;
    st = check(m, g);
done:
    return st;
}

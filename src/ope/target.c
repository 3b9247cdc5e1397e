/* target.c: a candidate policy asked about rows that another one decided.
 *
 * Who may be chosen on a row: models with a logged chance above 0 or a logged estimate. Where a row tells neither of
 * all but the chosen one (foreign logs, deterministic ones), anyone may be: what the log never tried is then the
 * candidate's mass without support, which is counted, and not a mass that vanishes. A fixed model is taken everywhere,
 * for the same reason.
 *
 * What policies see without a router: logged quality and cost as expectations, no standard errors, no intervals, no
 * latency. So policies and knobs that need these are refused, and `plugin` doesn't fall back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/policy.h"
#include "src/ope/target_parts.h"

struct weirp_ope_target {
    weirp_target_spec spec;
    size_t n_models;
    double *chance;              /* (segments, n_models) of a table */
    size_t trial;                /* whose rows `column` knows */
    weirp_target_router *router; /* NULL: none */
    bool asks;                   /* the policy goes by estimates */
    double *numbers;             /* what the structs below point into */
    bool *eligible;
    weir_estimates estimates;
    weir_decision decision;
    double *last;    /* (n_models) chances at the setting before; in `numbers` */
    double *turn;    /* (n_turns) settings, as they go into spec.open */
    uint32_t *taken; /* (n_turns) who is taken at each */
    size_t n_turns;
};

static bool make_room(weirp_ope_target *t) {
    weir_estimates *e = &t->estimates;
    double **columns[] = {&e->quality,
                          &e->quality_sd,
                          &e->quality_lo,
                          &e->quality_hi,
                          &e->cost_usd,
                          &e->cost_sd,
                          &e->cost_lo,
                          &e->cost_hi,
                          &e->latency_ms,
                          &e->latency_p95,
                          &e->output_tokens,
                          &t->decision.risk_usd,
                          &t->decision.regret_usd,
                          &t->decision.propensity,
                          &t->last};
    size_t n_columns = sizeof columns / sizeof *columns;
    t->numbers = weirp_array(n_columns * t->n_models, sizeof *t->numbers);
    t->eligible = weirp_array(t->n_models, sizeof *t->eligible);
    if (!t->numbers || !t->eligible) return false;
    for (size_t c = 0; c < n_columns; c++) *columns[c] = t->numbers + c * t->n_models;
    e->eligible = t->eligible;
    e->n_models = t->decision.n_models = t->n_models;
    return true;
}

static weir_status needs_router(const weirp_ope_target *t, const char *what, weir_error *err) {
    return weirp_fail(err, WEIR_INVALID, 0,
                      "policy %s: %s isn't in a log: name the store whose estimates it should use", t->spec.name, what);
}

/* What only a router can tell. */
static weir_status check_needs(weirp_ope_target *t, weir_error *err) {
    weir_policy_options *o = &t->spec.options;
    if (t->router) return WEIR_OK;
    if (!strcmp(o->policy, "thompson")) return needs_router(t, "the standard error of an estimate", err);
    if (!strcmp(o->policy, "minimax")) return needs_router(t, "the interval of an estimate", err);
    if (o->latency_usd_per_s > 0 || !isinf(o->max_latency_ms) || t->spec.open == &o->latency_usd_per_s ||
        t->spec.open == &o->max_latency_ms)
        return needs_router(t, "the latency that was expected", err);
    if (t->spec.said_fallback && o->fallback) return needs_router(t, "the interval that the fallback rule needs", err);
    o->fallback = false;
    return WEIR_OK;
}

weir_status weirp_ope_target_new(weirp_ope_target **out, const char *text, const weirp_ope_table *table,
                                 const weir_router *router, weir_error *err) {
    weirp_ope_target *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    weir_status st = WEIR_OK;
    t->n_models = weirp_ope_table_n_models(table);
    WEIRP_TRY(weirp_target_spec_parse(&t->spec, text, table, err));
    if (t->spec.kind == WEIRP_TARGET_COLUMN) WEIRP_TRY(weirp_target_trial(&t->trial, &t->spec, table, err));
    if (t->spec.kind == WEIRP_TARGET_TABLE) WEIRP_TRY(weirp_target_table_read(&t->chance, t->spec.file, table, err));
    if (t->spec.kind == WEIRP_TARGET_POLICY) {
        t->asks = strcmp(t->spec.options.policy, "fixed") != 0 && strcmp(t->spec.options.policy, "random") != 0;
        if (router && t->asks) WEIRP_TRY(weirp_target_router_new(&t->router, router, table, err));
        if (t->asks) WEIRP_TRY(check_needs(t, err));
        if (!make_room(t)) WEIRP_TRY(weirp_nomem(err));
    }
    *out = t;
done:
    if (st != WEIR_OK) weirp_ope_target_free(t);
    return st;
}

void weirp_ope_target_free(weirp_ope_target *target) {
    if (!target) return;
    weirp_target_spec_clear(&target->spec);
    weirp_target_router_free(target->router);
    free(target->chance);
    free(target->numbers);
    free(target->eligible);
    free(target->turn);
    free(target->taken);
    free(target);
}

const char *weirp_ope_target_name(const weirp_ope_target *target) {
    return target->spec.name;
}

bool weirp_ope_target_is_logged(const weirp_ope_target *target) {
    return target->spec.kind == WEIRP_TARGET_LOGGED;
}

weir_status weirp_ope_target_turn(weirp_ope_target *target, double knob, weir_error *err) {
    return weirp_target_spec_turn(&target->spec, knob, err);
}

const char *weirp_ope_target_knob(const weirp_ope_target *target, weir_error *err) {
    char list[256];
    if (target->spec.open) return target->spec.open_key;
    weirp_target_spec_knobs(&target->spec, list, sizeof list);
    if (*list)
        (void)weirp_fail(err, WEIR_INVALID, 0, "policy %s leaves no knob open: write KEY=? for one of %s",
                         target->spec.name, list);
    else
        (void)weirp_fail(err, WEIR_INVALID, 0, "policy %s has no knob that could be left open: plugin,value=? has one",
                         target->spec.name);
    return NULL;
}

const weir_policy_options *weirp_ope_target_options(const weirp_ope_target *target) {
    return &target->spec.options;
}

/* ---- rows ---- */

static const double *row_of(const double *all, size_t n_models, size_t i) {
    return all ? all + i * n_models : NULL;
}

/* Where only the chosen one's chance is logged, the rest is spread over the others evenly: the weight is 1 all the
 * same, and only the direct method sees the difference. */
static void fill_logged(const weirp_ope_block *b, size_t i, double *pi) {
    const double *p = row_of(b->propensity, b->n_models, i);
    size_t n = b->n_models, chosen = b->chosen[i];
    bool known = p && isfinite(p[chosen]);
    double rest = n > 1 ? fmax(0, 1 - b->p[i]) / (double)(n - 1) : 0;
    for (size_t m = 0; m < n; m++) pi[m] = known ? (isfinite(p[m]) ? p[m] : 0) : rest;
    pi[chosen] = b->p[i];
}

static bool fill_column(const weirp_ope_block *b, size_t i, size_t trial, double *pi) {
    const double *target = row_of(b->target, b->n_models, i);
    if (trial != (b->trial ? b->trial[i] : 0)) return false;
    double sum = 0;
    for (size_t m = 0; target && m < b->n_models; m++) {
        pi[m] = isfinite(target[m]) ? target[m] : 0;
        sum += pi[m];
    }
    return sum > 0;
}

static void find_eligible(weirp_ope_target *t, const weirp_ope_block *b, size_t i) {
    const double *p = row_of(b->propensity, b->n_models, i), *q = row_of(b->quality_hat, b->n_models, i),
                 *c = row_of(b->cost_hat, b->n_models, i);
    size_t n_chance = 0, n_estimates = 0;
    for (size_t m = 0; m < t->n_models; m++) {
        bool chance = p && p[m] > 0, estimate = (q && isfinite(q[m])) || (c && isfinite(c[m]));
        n_chance += chance;
        n_estimates += estimate;
        t->eligible[m] = chance || estimate || m == b->chosen[i];
    }
    if (n_chance <= 1 && n_estimates == 0)
        for (size_t m = 0; m < t->n_models; m++) t->eligible[m] = true;
    if (!strcmp(t->spec.options.policy, "fixed")) t->eligible[t->spec.options.fixed] = true;
}

/* Logged estimates; false: there are none. */
static bool take_logged(weirp_ope_target *t, const weirp_ope_block *b, size_t i) {
    const double *q = row_of(b->quality_hat, b->n_models, i), *c = row_of(b->cost_hat, b->n_models, i);
    weir_estimates *e = &t->estimates;
    bool any = false;
    for (size_t m = 0; m < t->n_models; m++) {
        e->quality[m] = q ? q[m] : NAN;
        e->cost_usd[m] = c ? c[m] : NAN;
        e->quality_sd[m] = 0;
        e->quality_lo[m] = 0;
        e->quality_hi[m] = 1;
        e->cost_sd[m] = e->cost_lo[m] = e->cost_hi[m] = e->latency_ms[m] = e->latency_p95[m] = NAN;
        any |= t->eligible[m] && isfinite(e->quality[m]);
    }
    e->coverage = 1;
    e->novelty = 0;
    e->fitted = true;
    return any;
}

/* False: the policy goes by estimates, and there are none. */
static bool look_at(weirp_ope_target *t, const weirp_ope_block *b, size_t i) {
    find_eligible(t, b, i);
    const bool told = t->router ? weirp_target_router_estimate(t->router, b, i, &t->estimates) : take_logged(t, b, i);
    return told || !t->asks;
}

const weir_estimates *weirp_ope_target_estimates(weirp_ope_target *t, const weirp_ope_block *b, size_t i) {
    if (t->spec.kind != WEIRP_TARGET_POLICY || !t->asks) return NULL;
    return look_at(t, b, i) ? &t->estimates : NULL;
}

/* The chances of the row that was looked at, in the decision. False: undecided. */
static bool decide(weirp_ope_target *t, weir_status *st, weir_error *err) {
    weir_error own = {0};
    *st = weir_policy_decide(&t->spec.options, &t->estimates, &t->decision, &own);
    if (*st == WEIR_NODATA) { /* nobody it knows may answer */
        *st = WEIR_OK;
        return false;
    }
    if (*st != WEIR_OK) {
        *st = weirp_fail(err, own.status, 0, "%s", own.text);
        return false;
    }
    return true;
}

/* False: undecided. */
static bool ask(weirp_ope_target *t, const weirp_ope_block *b, size_t i, double *pi, weir_status *st, weir_error *err) {
    if (!look_at(t, b, i) || !decide(t, st, err)) return false;
    memcpy(pi, t->decision.propensity, t->n_models * sizeof *pi);
    return true;
}

weir_status weirp_ope_target_fill(weirp_ope_target *target, const weirp_ope_block *block, double *pi,
                                  size_t *n_undecided, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n = target->n_models;
    if (block->n_models != n)
        return weirp_fail(err, WEIR_INVALID, 0, "rows of %zu models, where the policy knows %zu", block->n_models, n);
    if (target->spec.open && !target->spec.turned)
        return weirp_fail(err, WEIR_INVALID, 0, "policy %s: %s=? is for a curve: here it needs a number",
                          target->spec.name, target->spec.open_key);
    for (size_t i = 0; i < block->n && st == WEIR_OK; i++) {
        double *row = pi + i * n;
        bool decided = true;
        switch (target->spec.kind) {
        case WEIRP_TARGET_LOGGED: fill_logged(block, i, row); break;
        case WEIRP_TARGET_COLUMN: decided = fill_column(block, i, target->trial, row); break;
        case WEIRP_TARGET_TABLE: memcpy(row, target->chance + block->segment[i] * n, n * sizeof *row); break;
        case WEIRP_TARGET_POLICY: decided = ask(target, block, i, row, &st, err); break;
        }
        if (decided) continue;
        ++*n_undecided;
        for (size_t m = 0; m < n; m++) row[m] = NAN;
    }
    return st;
}

/* ---- a row at many settings ---- */

weir_status weirp_ope_target_set_turns(weirp_ope_target *t, const double *knob, size_t n, weir_error *err) {
    free(t->turn);
    free(t->taken);
    t->n_turns = 0;
    t->turn = weirp_array(n, sizeof *t->turn);
    t->taken = weirp_array(n, sizeof *t->taken);
    if (!t->turn || !t->taken) return weirp_nomem(err);
    for (; t->n_turns < n; t->n_turns++) {
        const weir_status st = weirp_target_spec_turn(&t->spec, knob[t->n_turns], err);
        if (st != WEIR_OK) return st;
        t->turn[t->n_turns] = *t->spec.open;
    }
    return WEIR_OK;
}

/* Whoever is taken has all the chance, less what exploration takes. */
static void tell_taken(weirp_ope_target *t, weirp_ope_turned_fn fn, void *context) {
    const weir_policy_options *o = &t->spec.options;
    const bool explores = o->explore_floor > 0;
    double *pi = t->decision.propensity;
    for (size_t begin = 0, end; begin < t->n_turns; begin = end) {
        const uint32_t own = t->taken[begin];
        for (end = begin + 1; end < t->n_turns && t->taken[end] == own;) end++;
        if (explores) weirp_policy_spread(o, &t->estimates, own, pi);
        fn(context, begin, end, explores ? pi : NULL, explores ? WEIRP_NOT_SURE : own);
    }
}

/* One setting after the other. */
static weir_status tell_each(weirp_ope_target *t, weirp_ope_turned_fn fn, void *context, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t begin = 0;
    bool decided = false;
    for (size_t k = 0; k < t->n_turns; k++) {
        double *const before = t->decision.propensity;
        t->decision.propensity = t->last;
        t->last = before;
        *t->spec.open = t->turn[k];
        const bool is = decide(t, &st, err);
        if (st != WEIR_OK) return st;
        const bool same =
            is == decided && (!is || !memcmp(before, t->decision.propensity, t->n_models * sizeof *before));
        if (k && !same) {
            fn(context, begin, k, decided ? before : NULL, WEIRP_NOT_SURE);
            begin = k;
        }
        decided = is;
    }
    fn(context, begin, t->n_turns, decided ? t->decision.propensity : NULL, WEIRP_NOT_SURE);
    return WEIR_OK;
}

weir_status weirp_ope_target_each_turn(weirp_ope_target *t, const weirp_ope_block *block, size_t i,
                                       weirp_ope_turned_fn fn, void *context, weir_error *err) {
    const weir_policy_options *o = &t->spec.options;
    if (!t->n_turns) return weirp_fail(err, WEIR_INVALID, 0, "policy %s: no settings to turn to", t->spec.name);
    if (!look_at(t, block, i))
        fn(context, 0, t->n_turns, NULL, WEIRP_NOT_SURE);
    else if (t->spec.open == &o->value_usd && weirp_policy_decide_at(o, &t->estimates, t->turn, t->n_turns, t->taken))
        tell_taken(t, fn, context);
    else
        return tell_each(t, fn, context, err);
    return WEIR_OK;
}

/* gate.c: when a rollout goes on, and when it stops. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/gate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/words.h"

/* Versions 1 and 2 had other sequences: of such a state the step begins anew. */
#define VERSION 3u
/* Chances are logged as f32: what lies so little outside of the weights' range is on its edge. */
#define ROUNDING 1e-5
/* Labels from which on a forecast of more is worth something. */
#define FORECAST_LEAST 30

const char *weirp_gate_status_name(weirp_gate_status status) {
    static const char *const names[] = {
#define NAME(name, text) text,
        WEIRP_GATE_STATUS_TABLE(NAME)
#undef NAME
    };
    return status < WEIRP_N_GATE_STATUSES ? names[status] : "unknown";
}

const char *weirp_gate_change_text(weirp_gate_change change) {
    static const char *const texts[] = {
#define TEXT(name, text) text,
        WEIRP_GATE_CHANGE_TABLE(TEXT)
#undef TEXT
    };
    return change < WEIRP_N_GATE_CHANGES ? texts[change] : "unknown";
}

const char *weirp_gate_check(const weirp_gate_plan *p) {
    if (!p->digest) return "it has no digest";
    if (!(p->level >= 0.5 && p->level <= 0.9999)) return "the level must be from 0.5 to 0.9999";
    if (!(p->margin >= 0 && p->margin <= 1 && p->margin_error >= 0 && p->margin_error <= 1))
        return "margins must be from 0 to 1";
    if (!(p->hold_ms >= 0 && p->hold_ms < 1e15)) return "a step must take a time of 0 or more";
    if (!(p->floor >= 0 && p->floor <= 0.5)) return "the floor must be from 0 to 0.5";
    if (p->n_steps < 1 || p->n_steps > WEIRP_GATE_STEPS) return "there must be from 1 to 16 steps";
    if (p->shadow) return p->n_steps == 1 && p->step[0] == 0 ? NULL : "in shadow the share is 0";
    for (size_t i = 0; i < p->n_steps; i++)
        if (!(p->step[i] >= 1e-4 && p->step[i] <= 0.9999 && (i == 0 || p->step[i] > p->step[i - 1])))
            return "steps must ascend, from 0.0001 to 0.9999";
    return NULL;
}

bool weirp_gate_is_blind(const weirp_gate *g) {
    return g->plan.shadow && !(g->plan.floor > 0);
}

unsigned weirp_gate_now(const weirp_gate *g) {
    return g->status == WEIRP_GATE_STOPPED ? WEIRP_GATE_OFF : (unsigned)g->step;
}

/* ---- steps ---- */

static void weights(const weirp_gate *g, double *lo, double *hi) {
    const double s = g->plan.step[g->step];
    *lo = -1 / (1 - s);
    *hi = !g->plan.shadow ? 1 / s : g->plan.floor > 0 ? 1 / g->plan.floor - 1 : 1;
}

/* What is known of a difference of two means in [0,1]. */
static weirp_interval difference(const weirp_gate *g, const weirp_sequence *q) {
    if (weirp_gate_is_blind(g)) return (weirp_interval){-1, 1};
    const weirp_interval now = weirp_sequence_now(q);
    return (weirp_interval){fmin(fmax(now.lo, -1), 1), fmax(fmin(now.hi, 1), -1)};
}

static void read_sequences(weirp_gate *g) {
    g->quality_now = difference(g, &g->quality);
    g->error_now = difference(g, &g->error);
}

/* Two sequences of differences a step: by the union bound all intervals of the whole rollout are right at once with the
 * level. Those of the weights can hold it up by mistake, and nothing else: each has the level for itself. */
static void begin_sequences(weirp_gate *g) {
    double lo, hi;
    weights(g, &lo, &hi);
    const double level = 1 - (1 - g->plan.level) / (2 * (double)g->plan.n_steps);
    g->quality = weirp_sequence_start_arms(0, 1, 0.5, lo, hi, level);
    g->error = weirp_sequence_start_arms(0, 1, 0, lo, hi, level);
    g->labels = g->answers = weirp_sequence_start_weighted(lo, hi, 1, 1, 1, g->plan.level);
    read_sequences(g);
}

static void begin_step(weirp_gate *g, size_t step, int64_t now_ms) {
    g->step = step;
    g->since_ms = now_ms;
    g->n_decisions = g->n_feedback = 0;
    begin_sequences(g);
}

static void note(weirp_gate *g, weirp_gate_change change, int64_t now_ms) {
    if (g->n_events == WEIRP_GATE_EVENTS) {
        memmove(g->event, g->event + 1, (WEIRP_GATE_EVENTS - 1) * sizeof *g->event);
        g->n_events--;
    }
    g->event[g->n_events++] =
        (weirp_gate_event){now_ms, change, g->step, g->n_decisions, g->n_feedback, g->quality_now, g->error_now};
}

void weirp_gate_start(weirp_gate *g, const weirp_gate_plan *plan, int64_t now_ms) {
    memset(g, 0, sizeof *g);
    g->plan = *plan;
    begin_step(g, 0, now_ms);
    note(g, WEIRP_GATE_STARTED, now_ms);
}

void weirp_gate_retune(weirp_gate *g, const weirp_gate_plan *plan) {
    /* the digest tells that they are the same: older states have their kinds alone */
    memcpy(g->plan.base, plan->base, sizeof g->plan.base);
    memcpy(g->plan.candidate, plan->candidate, sizeof g->plan.candidate);
    g->plan.margin = plan->margin;
    g->plan.margin_error = plan->margin_error;
    g->plan.min_feedback = plan->min_feedback;
    g->plan.hold_ms = plan->hold_ms;
}

static bool has_zero(weirp_interval i) {
    return i.lo <= 0 && i.hi >= 0;
}

void weirp_gate_weights(const weirp_gate *g, weirp_interval *labels, weirp_interval *answers) {
    *labels = weirp_sequence_now(&g->labels);
    *answers = weirp_sequence_now(&g->answers);
}

bool weirp_gate_is_even(const weirp_gate *g) {
    weirp_interval labels, answers;
    weirp_gate_weights(g, &labels, &answers);
    return has_zero(labels) && has_zero(answers);
}

/* Looks, and moves. Harm stops at any time, also after the last step was passed. */
static bool look(weirp_gate *g, int64_t now_ms) {
    if (g->status == WEIRP_GATE_STOPPED) return false;
    const weirp_gate_plan *p = &g->plan;
    const weirp_interval quality = g->quality_now, error = g->error_now;
    if (quality.hi < -p->margin || error.lo > p->margin_error) {
        note(g, quality.hi < -p->margin ? WEIRP_GATE_HARM_QUALITY : WEIRP_GATE_HARM_ERRORS, now_ms);
        g->status = WEIRP_GATE_STOPPED;
        return true;
    }
    const bool harmless = quality.lo >= -p->margin && error.hi <= p->margin_error;
    if (g->status != WEIRP_GATE_RUNNING || !harmless || g->n_feedback < p->min_feedback || !g->n_feedback) return false;
    if ((double)(now_ms - g->since_ms) < p->hold_ms || !weirp_gate_is_even(g)) return false;
    const bool last = g->step + 1 == p->n_steps;
    note(g, last ? WEIRP_GATE_FINISHED : WEIRP_GATE_ADVANCED, now_ms);
    if (last)
        g->status = WEIRP_GATE_PASSED;
    else
        begin_step(g, g->step + 1, now_ms);
    return true;
}

/* ---- observations ---- */

/* With p = (1 - s) base + s candidate: (candidate - base) / p. */
static double weight(const weirp_gate *g, double p, double candidate) {
    const double s = g->plan.step[g->step];
    double lo, hi, w = (candidate / p - 1) / (1 - s);
    weights(g, &lo, &hi);
    const double slack = ROUNDING * fmax(hi, -lo);
    return w > hi && w <= hi + slack ? hi : w < lo && w >= lo - slack ? lo : w;
}

static bool counts(const weirp_gate *g, size_t step, double p, double candidate) {
    return g->status != WEIRP_GATE_STOPPED && step == g->step && !weirp_gate_is_blind(g) && p > 0 &&
           p <= 1 + ROUNDING && candidate >= 0 && candidate <= 1 + ROUNDING;
}

bool weirp_gate_decision(weirp_gate *g, size_t step, double p, double candidate, bool failed, int64_t now_ms) {
    if (!counts(g, step, p, candidate)) return false;
    const double w = weight(g, p, candidate);
    g->n_decisions++;
    weirp_sequence_add_weighted(&g->error, w, failed);
    weirp_sequence_add_weighted(&g->answers, 1, w);
    g->error_now = difference(g, &g->error);
    return look(g, now_ms);
}

bool weirp_gate_feedback(weirp_gate *g, size_t step, double p, double candidate, double quality, int64_t now_ms) {
    g->n_late += step != g->step && g->status != WEIRP_GATE_STOPPED;
    if (!counts(g, step, p, candidate)) return false;
    const double w = weight(g, p, candidate);
    g->n_feedback++;
    weirp_sequence_add_weighted(&g->quality, w, quality);
    weirp_sequence_add_weighted(&g->labels, 1, w);
    g->quality_now = difference(g, &g->quality);
    return look(g, now_ms);
}

bool weirp_gate_tick(weirp_gate *g, int64_t now_ms) {
    return look(g, now_ms);
}

/* Half the width falls like the root of the number, the middle staying where it is. */
double weirp_gate_needs(const weirp_gate *g) {
    if (weirp_gate_is_blind(g)) return INFINITY;
    if (g->status != WEIRP_GATE_RUNNING) return 0;
    const double n = (double)g->n_feedback, least = fmax((double)g->plan.min_feedback - n, 0);
    const weirp_interval now = g->quality_now;
    if (now.lo >= -g->plan.margin) return least;
    if (n < FORECAST_LEAST) return NAN;
    const double half = (now.hi - now.lo) / 2, away = fabs((now.lo + now.hi) / 2 + g->plan.margin);
    return away > 0 ? fmax(least, n * (half * half / (away * away) - 1)) : INFINITY;
}

/* ---- bytes ---- */

static void put_interval(weirp_writer *w, weirp_interval v) {
    weirp_put_f64(w, v.lo);
    weirp_put_f64(w, v.hi);
}

static void put_sequence(weirp_writer *w, const weirp_sequence *q) {
    weirp_put_u64(w, q->n);
    weirp_put_f64(w, q->sum);
    weirp_put_f64(w, q->sum_guess);
    weirp_put_f64(w, q->sum_outcome);
    weirp_put_f64(w, q->slope_num);
    weirp_put_f64(w, q->slope_den);
    weirp_put(w, q->capital, sizeof q->capital);
}

static void put_plan(weirp_writer *w, const weirp_gate_plan *p) {
    weirp_put_text(w, p->name);
    weirp_put_text(w, p->base);
    weirp_put_text(w, p->candidate);
    weirp_put_u64(w, p->digest);
    weirp_put_u32(w, p->shadow);
    weirp_put_u32(w, (uint32_t)p->n_steps);
    for (size_t i = 0; i < p->n_steps; i++) weirp_put_f64(w, p->step[i]);
    weirp_put_f64(w, p->floor);
    weirp_put_f64(w, p->level);
    weirp_put_f64(w, p->margin);
    weirp_put_f64(w, p->margin_error);
    weirp_put_f64(w, p->hold_ms);
    weirp_put_u64(w, p->min_feedback);
}

void weirp_gate_save(const weirp_gate *g, weirp_writer *w) {
    weirp_put_u32(w, VERSION);
    put_plan(w, &g->plan);
    weirp_put_u32(w, g->status);
    weirp_put_u32(w, (uint32_t)g->step);
    weirp_put_u64(w, (uint64_t)g->since_ms);
    weirp_put_u64(w, g->n_decisions);
    weirp_put_u64(w, g->n_feedback);
    weirp_put_u64(w, g->n_late);
    put_sequence(w, &g->quality);
    put_sequence(w, &g->error);
    put_sequence(w, &g->labels);
    put_sequence(w, &g->answers);
    weirp_put_u32(w, (uint32_t)g->n_events);
    for (size_t i = 0; i < g->n_events; i++) {
        const weirp_gate_event *e = &g->event[i];
        weirp_put_u64(w, (uint64_t)e->time_ms);
        weirp_put_u32(w, e->change);
        weirp_put_u32(w, (uint32_t)e->step);
        weirp_put_u64(w, e->n_decisions);
        weirp_put_u64(w, e->n_feedback);
        put_interval(w, e->quality);
        put_interval(w, e->error);
    }
}

static double get_finite(weirp_bytes *r) {
    const double v = weirp_get_f64(r);
    if (!isfinite(v)) r->failed = true;
    return v;
}

static weirp_interval get_interval(weirp_bytes *r) {
    weirp_interval v;
    v.lo = get_finite(r);
    v.hi = get_finite(r);
    return v;
}

/* Into one that has been started. */
static void get_sequence(weirp_bytes *r, weirp_sequence *q, uint32_t version) {
    q->n = weirp_get_u64(r);
    q->sum = get_finite(r);
    q->sum_guess = get_finite(r);
    if (version >= 3) q->sum_outcome = get_finite(r);
    q->slope_num = get_finite(r);
    q->slope_den = get_finite(r);
    weirp_get(r, q->capital, sizeof q->capital);
    for (size_t i = 0; i < sizeof q->capital / sizeof(double); i++)
        if (!isfinite(q->capital[i / WEIRP_SEQUENCE_BETS][i % WEIRP_SEQUENCE_BETS])) r->failed = true;
    if (!(q->slope_den > 0)) r->failed = true;
}

/* Older ones are read over: what has begun with another centre can't go on with this one. */
static void get_sequences(weirp_bytes *r, weirp_gate *g, uint32_t version) {
    weirp_sequence *const all[] = {&g->quality, &g->error, &g->labels, &g->answers};
    const size_t n = version >= 3 ? 4 : 2;
    for (size_t i = 0; i < n; i++) get_sequence(r, all[i], version);
    if (r->failed) return;
    if (version >= 3) {
        read_sequences(g);
    } else {
        begin_sequences(g);
        g->n_decisions = g->n_feedback = 0;
    }
}

/* UTF-8, as reports in JSON want it. */
static void get_name(weirp_bytes *r, char *name, size_t size) {
    const uint64_t n = weirp_get_u64(r);
    if (n >= size) r->failed = true;
    if (!r->failed) weirp_get(r, name, (size_t)n);
    if (!r->failed && (memchr(name, 0, (size_t)n) || weirp_utf8_valid(name, (size_t)n) < n)) r->failed = true;
    name[r->failed ? 0 : n] = '\0';
}

static void get_plan(weirp_bytes *r, weirp_gate_plan *p) {
    get_name(r, p->name, sizeof p->name);
    get_name(r, p->base, sizeof p->base);
    get_name(r, p->candidate, sizeof p->candidate);
    p->digest = weirp_get_u64(r);
    p->shadow = weirp_get_u32(r) != 0;
    p->n_steps = weirp_get_u32(r);
    if (p->n_steps > WEIRP_GATE_STEPS) r->failed = true;
    for (size_t i = 0; !r->failed && i < p->n_steps; i++) p->step[i] = weirp_get_f64(r);
    p->floor = weirp_get_f64(r);
    p->level = weirp_get_f64(r);
    p->margin = weirp_get_f64(r);
    p->margin_error = weirp_get_f64(r);
    p->hold_ms = weirp_get_f64(r);
    p->min_feedback = weirp_get_u64(r);
    if (!r->failed && weirp_gate_check(p)) r->failed = true;
}

static void get_event(weirp_bytes *r, const weirp_gate_plan *plan, weirp_gate_event *e) {
    e->time_ms = (int64_t)weirp_get_u64(r);
    const uint32_t change = weirp_get_u32(r);
    e->step = weirp_get_u32(r);
    if (change >= WEIRP_N_GATE_CHANGES || e->step >= plan->n_steps) r->failed = true;
    e->change = (weirp_gate_change)change;
    e->n_decisions = weirp_get_u64(r);
    e->n_feedback = weirp_get_u64(r);
    e->quality = get_interval(r);
    e->error = get_interval(r);
}

static void get_state(weirp_bytes *r, weirp_gate *g, uint32_t version) {
    get_plan(r, &g->plan);
    const uint32_t status = weirp_get_u32(r);
    g->step = weirp_get_u32(r);
    if (status >= WEIRP_N_GATE_STATUSES || g->step >= g->plan.n_steps) r->failed = true;
    if (r->failed) return;
    g->status = (weirp_gate_status)status;
    begin_sequences(g);
    g->since_ms = (int64_t)weirp_get_u64(r);
    g->n_decisions = weirp_get_u64(r);
    g->n_feedback = weirp_get_u64(r);
    g->n_late = weirp_get_u64(r);
    get_sequences(r, g, version);
    g->n_events = weirp_get_u32(r);
    if (g->n_events > WEIRP_GATE_EVENTS) r->failed = true;
    for (size_t i = 0; !r->failed && i < g->n_events; i++) get_event(r, &g->plan, &g->event[i]);
}

weir_status weirp_gate_load(weirp_gate *g, const uint8_t *data, size_t size, weir_error *err) {
    weirp_bytes r = {.data = data, .size = size};
    memset(g, 0, sizeof *g);
    const uint32_t version = weirp_get_u32(&r);
    if (!r.failed && version > VERSION)
        return weirp_fail(err, WEIR_NEWER, 0, "a rollout's state is version %u; this weir reads up to %u: update weir",
                          version, VERSION);
    if (!version) r.failed = true;
    if (!r.failed) get_state(&r, g, version);
    if (!r.failed && r.at == size) return WEIR_OK;
    memset(g, 0, sizeof *g);
    return weirp_fail(err, WEIR_CORRUPT, 0, "a rollout's state is damaged");
}

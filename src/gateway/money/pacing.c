/* pacing.c: a value for every request. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/gateway/money/pacing_parts.h"

enum { VALUE_MS = 5, LOOK_MS = 1000, SAVE_MS = 60000 };
#define MS UINT64_C(1000000) /* in nanoseconds */

static double usd(int64_t nano) {
    return (double)nano * 1e-9;
}

/* ---- the budget ---- */

static const char *trouble_with(const weirp_budget *b) {
    if (b->unit != WEIRP_UNIT_USD) return "it isn't in USD";
    if (b->period == WEIRP_PERIOD_TOTAL) return "its period never ends";
    if (weirp_budget_needs_model(b)) return "it asks for a model or a provider, which pacing has to choose first";
    for (int d = 0; d < WEIRP_N_DIMS; d++)
        if (!strcmp(b->match[d], "*")) return "it has \"*\" in it, so that each has a limit of its own";
    return NULL;
}

static weirp_moment moment(const weirp_standing *s, int64_t now_ms) {
    const double now = (double)now_ms * 1e-3, into = now - (double)s->hour.start;
    return (weirp_moment){now, s->hour_of_day, s->weekday, fmin(fmax(into, 0), 3599.999)};
}

static weir_status begin(weirp_pacing *p, const weirp_standing *s, weir_error *err) {
    const double limit = usd(s->limit), start = (double)s->span.start, end = (double)s->span.end;
    if (p->pacer) return weirp_pacer_begin(p->pacer, limit, start, end, err);
    const weirp_pacing_options *o = &p->options;
    weirp_pacer_options options = {.limit_usd = limit,
                                   .start_s = start,
                                   .end_s = end,
                                   .floor = o->floor,
                                   .floor_first = o->floor_first,
                                   .requests = o->expected_requests};
    weir_status st = weirp_pacer_new(&p->pacer, &options, err);
    if (st == WEIR_OK) weirp_pacing_take_up(p);
    return st;
}

/* Looks at the budget and reads the value anew. With the mutex. */
static void refresh(weirp_pacing *p, int64_t now_ms, bool look) {
    weirp_standing s;
    weir_error err = {0};
    p->valued_ns = weirp_monotonic_ns();
    bool found = weirp_bank_standing(p->options.bank, p->budget, now_ms, look, &s);
    p->trouble = found ? trouble_with(&s.budget) : "the store has no budget of this name";
    if (p->trouble) return;
    bool other = !p->pacer || s.limit != p->standing.limit || memcmp(&s.span, &p->standing.span, sizeof s.span) != 0;
    if (other && begin(p, &s, &err) != WEIR_OK) {
        p->trouble = "memory is out, or its limit or period is too large";
        return;
    }
    p->standing = s;
    p->pace = weirp_pacer_value(p->pacer, moment(&s, now_ms), usd(s.spent), usd(s.in_flight));
}

static bool is_due(const weirp_pacing *p, int64_t now_ms) {
    const weirp_span *hour = &p->standing.hour;
    const bool over = now_ms < hour->start * 1000 || now_ms >= hour->end * 1000;
    return weirp_monotonic_ns() - p->valued_ns >= VALUE_MS * MS || (p->pacer && !p->trouble && over);
}

/* ---- requests ---- */

/* Who may be chosen, and isn't too slow; where all are, nobody is. NULL: no memory, which is nobody's fault here. */
static const bool *allowed(weirp_pacing *p, const weir_estimates *e) {
    if (isinf(p->options.max_latency_ms)) return e->eligible;
    if (p->n_allowed < e->n_models) {
        bool *grown = realloc(p->allowed, e->n_models * sizeof *grown);
        if (!grown) return e->eligible;
        p->allowed = grown;
        p->n_allowed = e->n_models;
    }
    bool any = false;
    for (size_t m = 0; m < e->n_models; m++)
        any |= p->allowed[m] = e->eligible[m] && e->latency_ms[m] <= p->options.max_latency_ms;
    return any ? p->allowed : e->eligible;
}

static void advise(weirp_pacing *p, const weirp_subject *subject, const weir_estimates *e, bool observe,
                   weirp_advice *advice) {
    static const weirp_subject nobody = {{NULL}};
    const int64_t now_ms = weirp_unix_ms();
    if (is_due(p, now_ms)) refresh(p, now_ms, false);
    if (p->trouble || !weirp_budget_covers(&p->standing.budget, subject ? subject : &nobody)) return;
    if (observe) {
        weirp_pacer_observe(p->pacer, moment(&p->standing, now_ms), e->n_models, e->quality, e->cost_usd,
                            allowed(p, e));
        p->changed = true;
        if (!p->pace.known) refresh(p, now_ms, false);
    }
    *advice = (weirp_advice){true, p->pace.known ? p->pace.value : NAN, p->pace.known ? p->pace.most_usd : INFINITY,
                             p->options.max_latency_ms};
}

void weirp_pacing_advise(weirp_pacing *p, const weirp_subject *subject, const weir_estimates *estimates, bool observe,
                         weirp_advice *advice) {
    *advice = (weirp_advice){.value = NAN, .most_usd = INFINITY, .max_latency_ms = INFINITY};
    pthread_mutex_lock(&p->mutex);
    advise(p, subject, estimates, observe, advice);
    pthread_mutex_unlock(&p->mutex);
}

void weirp_pacing_settle(weirp_pacing *p, double quality, double expected_usd, double actual_usd) {
    pthread_mutex_lock(&p->mutex);
    if (p->pacer) weirp_pacer_spent(p->pacer, quality, expected_usd, actual_usd);
    p->changed = true;
    pthread_mutex_unlock(&p->mutex);
}

/* ---- from time to time ---- */

static void tell_trouble(weirp_pacing *p, const char *trouble) {
    if (trouble == p->told_trouble) return;
    if (trouble)
        WEIRP_LOG(p->options.log, WEIRP_LOG_WARN, "a budget can't be paced", WEIRP_S("budget", p->budget),
                  WEIRP_S("why", trouble));
    else
        WEIRP_LOG(p->options.log, WEIRP_LOG_INFO, "a budget is paced", WEIRP_S("budget", p->budget));
    p->told_trouble = trouble;
}

static void tell_contradiction(weirp_pacing *p, const weirp_pace *pace) {
    if (pace->contradiction == p->told_contradiction) return;
    p->told_contradiction = pace->contradiction;
    if (pace->contradiction)
        WEIRP_LOG(p->options.log, WEIRP_LOG_WARN, "a budget and its quality floor contradict each other",
                  WEIRP_S("budget", p->budget), WEIRP_F("floor", p->options.floor),
                  WEIRP_F("floor_usd", pace->floor_usd), WEIRP_F("left_usd", pace->left_usd),
                  WEIRP_F("quality", pace->quality), WEIRP_B("unreachable", pace->unreachable),
                  WEIRP_S("precedence", p->options.floor_first ? "floor" : "budget"));
    else
        WEIRP_LOG(p->options.log, WEIRP_LOG_INFO, "a budget and its quality floor don't contradict each other any more",
                  WEIRP_S("budget", p->budget), WEIRP_F("floor", p->options.floor),
                  WEIRP_F("floor_usd", pace->floor_usd), WEIRP_F("left_usd", pace->left_usd));
}

void weirp_pacing_tick(weirp_pacing *p) {
    const uint64_t now = weirp_monotonic_ns();
    const bool look = now - p->looked_ns >= LOOK_MS * MS;
    weir_error err = {0};
    if (look) p->looked_ns = now;
    pthread_mutex_lock(&p->mutex);
    refresh(p, weirp_unix_ms(), look);
    const char *trouble = p->trouble;
    weirp_pace pace = p->pace;
    pthread_mutex_unlock(&p->mutex);
    tell_trouble(p, trouble);
    if (!trouble && pace.known) tell_contradiction(p, &pace);
    if (now - p->saved_ns < SAVE_MS * MS) return;
    p->saved_ns = now;
    if (weirp_pacing_save(p, &err) != WEIR_OK)
        WEIRP_LOG(p->options.log, WEIRP_LOG_ERROR, "what pacing has learned can't be saved",
                  WEIRP_S("error", err.text));
}

void weirp_pacing_facts(weirp_pacing *p, weirp_pace_facts *out) {
    pthread_mutex_lock(&p->mutex);
    const weirp_pace *pace = &p->pace;
    *out = (weirp_pace_facts){.on = p->pacer && !p->trouble};
    if (out->on) {
        const double limit = usd(p->standing.limit);
        out->value_usd = pace->known ? pace->value : NAN;
        out->forecast_usd[0] = pace->spend_low;
        out->forecast_usd[1] = pace->spend;
        out->forecast_usd[2] = pace->spend_high;
        out->spent_share = limit > 0 ? usd(p->standing.spent) / limit : NAN;
        out->quality = pace->known ? pace->quality : NAN;
        out->contradiction = pace->contradiction;
        out->overloaded = pace->overloaded;
    }
    pthread_mutex_unlock(&p->mutex);
}

/* ---- life ---- */

static void let_go(weirp_pacing *p) {
    weirp_store_close(p->store);
    weirp_pacer_free(p->pacer);
    weirp_writer_free(&p->saved);
    pthread_mutex_destroy(&p->mutex);
    free(p->allowed);
    free(p->budget);
    free(p->path);
    free(p);
}

weir_status weirp_pacing_open(weirp_pacing **out, const weirp_pacing_options *options, weir_error *err) {
    weirp_pacing *p = weirp_array(1, sizeof *p);
    if (!p) return weirp_nomem(err);
    pthread_mutex_init(&p->mutex, NULL);
    p->options = *options;
    p->budget = weirp_strndup(options->budget, strlen(options->budget));
    p->path = weirp_strndup(options->store, strlen(options->store));
    p->saved_ns = weirp_monotonic_ns();
    p->options.budget = p->budget;
    p->options.store = p->path;
    weir_status st = p->budget && p->path ? WEIR_OK : weirp_nomem(err);
    if (st == WEIR_OK) st = weirp_store_open(&p->store, p->path, WEIRP_STORE_JOIN, err);
    if (st == WEIR_OK) st = weirp_pacing_read(p, err);
    if (st != WEIR_OK)
        let_go(p);
    else
        *out = p;
    return st;
}

void weirp_pacing_close(weirp_pacing *p) {
    weir_error err = {0};
    if (!p) return;
    if (weirp_pacing_save(p, &err) != WEIR_OK)
        WEIRP_LOG(p->options.log, WEIRP_LOG_ERROR, "what pacing has learned can't be saved",
                  WEIRP_S("error", err.text));
    let_go(p);
}

/* sla_json.c: the budget report's members (docs/formats.md, "Budget report").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/amount.h"
#include "src/base/when.h"
#include "src/report/sla.h"

enum { MOST_GROUPS = 100 };

static json_t *amount(weirp_unit unit, int64_t x) {
    char text[WEIRP_AMOUNT_TEXT];
    weirp_amount_text(text, unit, x);
    return json_string(text);
}

static json_t *real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *mean(double sum, uint64_t n) {
    return n ? json_real(sum / (double)n) : json_null();
}

static json_t *instant(int64_t ms) {
    char text[WEIRP_WHEN_TEXT];
    weirp_when_text(text, ms);
    return json_string(text);
}

/* ---- who ---- */

static int by_spending(const void *a, const void *b) {
    const weirp_sla_group *x = a, *y = b;
    if (x->nano != y->nano) return x->nano > y->nano ? -1 : 1;
    if (x->calls != y->calls) return x->calls > y->calls ? -1 : 1;
    return strcmp(x->name, y->name);
}

static json_t *group_json(const weirp_sla_group *g, const char *name, int64_t whole) {
    return json_pack("{s:o, s:o, s:o, s:I, s:I}", "name", name ? json_string(name) : json_null(), "spent_usd",
                     amount(WEIRP_UNIT_USD, g->nano), "share",
                     whole > 0 ? json_real((double)g->nano / (double)whole) : json_null(), "tokens",
                     (json_int_t)g->tokens, "calls", (json_int_t)g->calls);
}

/* The greatest first; what is beyond the first hundred comes as one, "others". NULL: nobody is named. */
static json_t *groups_json(const weirp_sla_groups *all, int64_t whole) {
    if (!all->n || (all->n == 1 && !all->item[0].name[0])) return NULL;
    json_t *list = json_array();
    weirp_sla_group rest = {.nano = 0};
    qsort(all->item, all->n, sizeof *all->item, by_spending);
    for (size_t i = 0; i < all->n; i++) {
        const weirp_sla_group *g = &all->item[i];
        if (i < MOST_GROUPS) {
            json_array_append_new(list, group_json(g, g->name[0] ? g->name : NULL, whole));
            continue;
        }
        rest.nano += g->nano;
        rest.tokens += g->tokens;
        rest.calls += g->calls;
    }
    if (all->n > MOST_GROUPS) json_array_append_new(list, group_json(&rest, "others", whole));
    return list;
}

/* ---- plan ---- */

static double shown(const weirp_sla *s, double x) {
    return s->budget.unit == WEIRP_UNIT_USD ? x * 1e-9 : x;
}

static json_t *forecast_json(const weirp_sla *s) {
    if (!s->method) return json_null();
    const double limit = shown(s, (double)s->limit);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "method", s->method, "low", real(s->forecast[0]), "mean",
                     real(s->forecast[1]), "high", real(s->forecast[2]), "share",
                     limit > 0 ? real(s->forecast[1] / limit) : json_null(), "requests_to_come", real(s->requests));
}

/* What would have been spent by now at an even rate; NULL: a limit for ever has none. */
static json_t *plan_json(const weirp_sla *s) {
    if (s->budget.period == WEIRP_PERIOD_TOTAL) return json_null();
    const double length = (double)(s->period.end - s->period.start) * 1000;
    const double plan = (double)s->limit * (double)(s->to_ms - s->from_ms) / length;
    return json_pack("{s:o, s:o}", "linear", real(shown(s, plan)), "spent_over_linear",
                     plan > 0 ? real((double)s->amount / plan) : json_null());
}

static json_t *budget_json(const weirp_sla *s) {
    const weirp_budget *b = &s->budget;
    if (!s->has_budget) return json_null();
    bool total = b->period == WEIRP_PERIOD_TOTAL;
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "name", b->name, "unit",
                     weirp_unit_name(b->unit), "limit", amount(b->unit, s->limit), "per", weirp_period_name(b->period),
                     "zone", b->zone, "hard", b->hard, "period_start",
                     total ? json_null() : instant(s->period.start * 1000), "period_end",
                     total ? json_null() : instant(s->period.end * 1000), "spent", amount(b->unit, s->amount),
                     "unproven", amount(b->unit, s->unproven), "plan", plan_json(s), "forecast", forecast_json(s));
}

/* ---- quality, and what it would have cost otherwise ---- */

static json_t *quality_json(const weirp_sla *s) {
    const double q = s->n_quality ? s->quality / (double)s->n_quality : NAN;
    return json_pack("{s:o, s:I, s:o, s:I, s:o, s:o}", "predicted", real(q), "n_predicted", (json_int_t)s->n_quality,
                     "feedback", mean(s->label, s->n_labels), "n_feedback", (json_int_t)s->n_labels, "floor",
                     s->floor > 0 ? json_real(s->floor) : json_null(), "above_floor",
                     s->floor > 0 && s->n_quality ? real(q - s->floor) : json_null());
}

static json_t *single_json(const weirp_sla *s) {
    const size_t m = weirp_sla_best(s);
    if (m == (size_t)-1) return json_null();
    const weirp_sla_single *a = &s->single[m];
    const double n = (double)a->n, saved = a->cost_usd - a->routed_cost_usd;
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "model", s->models[m], "requests",
                     (json_int_t)a->n, "cost_usd", real(a->cost_usd), "quality", real(a->quality / n),
                     "routed_cost_usd", real(a->routed_cost_usd), "routed_quality", real(a->routed_quality / n),
                     "saved_usd", real(saved), "saved_share", a->cost_usd > 0 ? real(saved / a->cost_usd) : json_null(),
                     "quality_given_up", real((a->quality - a->routed_quality) / n));
}

static json_t *requests_json(const weirp_sla *s) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "decided", (json_int_t)s->n_requests, "answered",
                     (json_int_t)s->n_served, "lowered", (json_int_t)s->n_action[WEIRP_BUDGET_LOWERED], "cheaper",
                     (json_int_t)s->n_action[WEIRP_BUDGET_CHEAPER], "refused",
                     (json_int_t)s->n_action[WEIRP_BUDGET_REFUSED], "of_earlier_trainings", (json_int_t)s->n_old);
}

json_t *weirp_sla_json(const weirp_sla *s) {
    json_t *by = json_object();
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        json_t *groups = groups_json(&s->by[d], s->nano);
        if (groups) json_object_set_new(by, weirp_dimension_name((weirp_dimension)d), groups);
    }
    return json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "from", instant(s->from_ms), "to",
                     instant(s->to_ms), "spent_usd", amount(WEIRP_UNIT_USD, s->nano), "calls", (json_int_t)s->n_calls,
                     "budget", budget_json(s), "requests", requests_json(s), "quality", quality_json(s), "best_single",
                     single_json(s), "by", by);
}

/* sla.h: a budget's period, as the ledger and the traffic log tell it.
 *
 * sla.c      from the ledger: what was spent, by whom, when; plan and forecast
 * sla_log.c  from the traffic log: quality, and what the best single model would have cost
 * sla_json.c, sla_svg.c  the report
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SLA_H
#define WEIRP_SLA_H

#include <jansson.h>

#include "src/budget/admin.h"
#include "src/budget/ledger.h"
#include "src/router/reading.h"
#include "weir/budget.h"

enum { WEIRP_SLA_STEPS = 240 }; /* of the curve of spending */

/* One key, team, user, tag, model or provider. */
typedef struct weirp_sla_group {
    char name[WEIRP_SCOPE_TEXT];
    int64_t nano;
    uint64_t tokens, calls;
} weirp_sla_group;

typedef struct weirp_sla_groups {
    weirp_sla_group *item; /* (n) */
    size_t n, capacity;
    json_t *index; /* name to place */
} weirp_sla_groups;

/* Sums over decisions for which model m's estimates are known, too. */
typedef struct weirp_sla_single {
    uint64_t n;
    double cost_usd, quality;               /* had it been m */
    double routed_cost_usd, routed_quality; /* as it was, by the same estimates */
} weirp_sla_single;

typedef struct weirp_sla {
    /* what is asked for */
    weirp_admin_view view;
    bool has_budget;
    weirp_budget budget;
    weirp_span period; /* of the budget at `from` */
    int64_t now_ms, from_ms, to_ms;
    double floor;
    /* ledger */
    uint64_t *accounts; /* (n_accounts) the budget's in the period */
    size_t n_accounts, accounts_capacity;
    int64_t limit, spent, unproven; /* of these, in the unit */
    weirp_sla_groups by[WEIRP_N_DIMS];
    int64_t nano, amount; /* of the entries: nano-USD; in the budget's unit */
    uint64_t n_calls;
    int64_t step[WEIRP_SLA_STEPS]; /* in the unit, or nano-USD, by time from from_ms to end_ms */
    int64_t end_ms;
    /* forecast of the period's end, in the unit */
    const char *method; /* NULL: none */
    double forecast[3]; /* low, mean, high */
    double requests;    /* still to come; NAN: not known */
    /* traffic log */
    uint64_t n_requests, n_served, n_action[WEIRP_N_BUDGET_ACTIONS];
    uint64_t n_quality, n_labels, n_old;
    double quality, label; /* sums */
    uint64_t *ids;         /* (n_slots) hashes of decisions; 0: free */
    size_t n_ids, n_slots;
    char **models; /* (n_models) of the last training */
    size_t n_models;
    weirp_sla_single *single; /* (n_models) */
} weirp_sla;

weir_status weirp_sla_ledger(weirp_sla *s, weir_error *err);
weir_status weirp_sla_log(weirp_sla *s, weir_error *err);
/* The single model to compare with: of those that most decisions could have gone to, the one thought best. SIZE_MAX:
 * none. */
size_t weirp_sla_best(const weirp_sla *s);
json_t *weirp_sla_json(const weirp_sla *s);
weir_status weirp_sla_svg(const weirp_sla *s, FILE *out, weir_error *err);

#endif

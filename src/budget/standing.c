/* standing.c: how a budget stands, for whoever paces it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/budget/till.h"

static weirp_till_budget *budget_named(weirp_bank *bank, const char *name) {
    for (size_t i = 0; i < bank->n_known; i++)
        if (!bank->budgets[i]->removed && !strcmp(bank->budgets[i]->budget.name, name)) return bank->budgets[i];
    return NULL;
}

/* The account that a request just within the budget would be charged to; NULL: there is none, or no memory. */
static weirp_account *account_for(weirp_bank *bank, const weirp_till_budget *b, int64_t now_ms) {
    weirp_subject subject = {{NULL}};
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        if (!strcmp(b->budget.match[d], "*")) return NULL;
        if (b->budget.match[d][0]) subject.value[d] = b->budget.match[d];
    }
    const weirp_till_subject *found = weirp_till_find(bank, &subject, now_ms);
    for (size_t i = 0; found && i < found->n; i++)
        if (found->accounts[i]->budget == b) return found->accounts[i];
    return NULL;
}

bool weirp_bank_standing(weirp_bank *bank, const char *name, int64_t now_ms, bool look, weirp_standing *out) {
    const int64_t now_s = now_ms >= 0 ? now_ms / 1000 : -((999 - now_ms) / 1000);
    *out = (weirp_standing){.n_others = 0};
    if (!weirp_bank_n_budgets(bank)) return false;
    pthread_mutex_lock(&bank->lock);
    weirp_till_budget *b = budget_named(bank, name);
    weirp_account *a = b ? account_for(bank, b, now_ms) : NULL;
    if (b) {
        out->budget = b->budget;
        out->limit = b->budget.limit;
        out->span = weirp_period_at(b->zone, b->budget.period, now_s);
        out->hour = weirp_period_at(b->zone, WEIRP_PERIOD_HOUR, now_s);
        weirp_zone_local(b->zone, now_s, &out->hour_of_day, &out->weekday);
        out->n_others = bank->n_others;
    }
    if (a) {
        if (a->looked_ns) out->limit = a->limit;
        out->seen = a->looked_ns != 0;
        out->spent = a->spent + a->unproven + a->unposted;
        out->in_flight = a->likely;
        if (look) {
            a->look = true;
            weirp_till_activate(bank, a);
        }
    }
    pthread_mutex_unlock(&bank->lock);
    return b != NULL;
}

static bool is_tighter(const weirp_room *a, const weirp_room *than) {
    if (than->limit < 0 || a->left != than->left) return than->limit < 0 || a->left < than->left;
    return a->period_end > than->period_end;
}

void weirp_bank_room(weirp_bank *bank, const weirp_subject *subject, int64_t now_ms, weirp_room room[WEIRP_N_UNITS]) {
    for (int u = 0; u < WEIRP_N_UNITS; u++) room[u] = (weirp_room){.limit = -1};
    if (!weirp_bank_n_budgets(bank)) return;
    pthread_mutex_lock(&bank->lock);
    const weirp_till_subject *found = weirp_till_find(bank, subject, now_ms);
    for (size_t i = 0; found && i < found->n; i++) {
        const weirp_account *a = found->accounts[i];
        const weirp_budget *b = &a->budget->budget;
        if (!b->hard || a->budget->removed || !a->looked_ns) continue;
        weirp_room r = {a->limit, a->limit - a->spent - a->unproven - a->unposted - a->likely, a->span.end};
        if (r.left < 0) r.left = 0;
        if (is_tighter(&r, &room[b->unit])) room[b->unit] = r;
    }
    pthread_mutex_unlock(&bank->lock);
}

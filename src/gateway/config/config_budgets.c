/* config_budgets.c: budgets that the file lists. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/budget/admin.h"
#include "src/budget/amount.h"
#include "src/gateway/config/config_file.h"

enum { MOST = 10000, SHARES_TEXT = 256 };

static const char *const periods[] = {"hour", "day", "week", "month", "total"}; /* as in config_schema.c */

/* `st` and `why` are of reading one key. */
static weir_status key_fault(const weirp_maker *m, const weirp_file_budget *f, size_t line, const char *key,
                             weir_status st, const weir_error *why) {
    char shown[80];
    if (st == WEIR_OK) return WEIR_OK;
    if (st == WEIR_NOMEM) return weirp_nomem(m->err);
    return weirp_maker_wrong(m, line ? line : f->line, "key \"%s\" of budget %s: %s", key,
                             weirp_excerpt(shown, sizeof shown, f->name, strlen(f->name)), why->text);
}

/* [0.5, 0.8] as "0.5,0.8". */
static bool join(const weirp_yaml_list *shares, char text[SHARES_TEXT]) {
    char **item = shares->items;
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < shares->n; i++) {
        int n = snprintf(text + used, SHARES_TEXT - used, "%s%s", i ? "," : "", item[i]);
        if (n < 0 || (size_t)n >= SHARES_TEXT - used) return false;
        used += (size_t)n;
    }
    return true;
}

/* Key by key, so that the message has the key's line; then all of it. */
static weir_status read_budget(weirp_maker *m, const weirp_file_budget *f, weirp_budget *budget) {
    char warn[SHARES_TEXT];
    double shares[WEIRP_MAX_WARNINGS];
    weir_error why = {0};
    weir_status st;
    weirp_unit unit;
    int64_t amount;
    weirp_zone *zone = NULL;
    WEIRP_TRY(key_fault(m, f, f->limit_line, "limit", weirp_amount_parse(f->limit, &unit, &amount, &why), &why));
    if (f->zone) WEIRP_TRY(key_fault(m, f, f->zone_line, "zone", weirp_zone_open(&zone, f->zone, &why), &why));
    weirp_zone_close(zone);
    if (!join(&f->warn, warn))
        return weirp_maker_wrong(m, f->warn_line, "key \"warn\" must be at most %d shares of the limit",
                                 WEIRP_MAX_WARNINGS);
    if (f->warn.n) WEIRP_TRY(key_fault(m, f, f->warn_line, "warn", weirp_admin_warn(warn, shares, &why), &why));
    for (size_t i = 1; i < f->warn.n; i++)
        if (shares[i] <= shares[i - 1])
            return weirp_maker_wrong(m, f->warn_line, "key \"warn\" must have the smaller shares before the greater");
    for (int d = 0; d < WEIRP_N_DIMS; d++)
        if (f->match[d] && (!f->match[d][0] || strlen(f->match[d]) >= WEIRP_SCOPE_TEXT))
            return weirp_maker_wrong(m, f->match_line[d],
                                     "key \"%s\" must be a name of 1 to %d bytes, or \"*\" for each",
                                     weirp_dimension_name((weirp_dimension)d), WEIRP_SCOPE_TEXT - 1);
    const weir_budget_options options = {.limit = f->limit,
                                         .per = periods[f->per],
                                         .zone = f->zone,
                                         .key = f->match[WEIRP_DIM_KEY],
                                         .team = f->match[WEIRP_DIM_TEAM],
                                         .user = f->match[WEIRP_DIM_USER],
                                         .tag = f->match[WEIRP_DIM_TAG],
                                         .model = f->match[WEIRP_DIM_MODEL],
                                         .provider = f->match[WEIRP_DIM_PROVIDER],
                                         .soft = f->soft,
                                         .when_exhausted = weirp_exhausted_name((weirp_exhausted)f->when_exhausted),
                                         .warn = f->warn.n ? warn : NULL};
    st = weirp_admin_budget(f->name, &options, budget, &why);
    if (st) st = st == WEIR_NOMEM ? weirp_nomem(m->err) : weirp_maker_wrong(m, f->name_line, "key \"name\": %s", why.text);
done:
    return st;
}

/* A budget may be there for other gateways on the same store. */
static weir_status look_up(weirp_maker *m, const weirp_file_budget *f) {
    const weirp_config *c = m->config;
    const char *model = f->match[WEIRP_DIM_MODEL], *provider = f->match[WEIRP_DIM_PROVIDER];
    bool known = !provider || !strcmp(provider, "*");
    weir_status st = WEIR_OK;
    if (model && strcmp(model, "*") != 0 && weir_pool_find(c->pool, model) == (size_t)-1)
        st = weirp_maker_warn(m, f->match_line[WEIRP_DIM_MODEL], "budget \"%s\" is for a model that isn't here",
                              f->name);
    for (size_t i = 0; !known && i < c->n_providers; i++) known = !strcmp(c->providers[i].name, provider);
    if (!st && !known)
        st = weirp_maker_warn(m, f->match_line[WEIRP_DIM_PROVIDER], "budget \"%s\" is for a provider that isn't here",
                              f->name);
    return st;
}

static int by_name(const void *a, const void *b) {
    const weirp_file_budget *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

static weir_status check_names(weirp_maker *m, const weirp_file_budget *item, size_t n) {
    const weirp_file_budget **sorted = weirp_array(n, sizeof *sorted);
    weir_status st = WEIR_OK;
    if (!sorted) return weirp_nomem(m->err);
    for (size_t i = 0; i < n; i++) sorted[i] = &item[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n && !st; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            st = weirp_maker_wrong(m, sorted[i]->name_line, "budget \"%s\" is there twice, in line %zu, too",
                                   sorted[i]->name, sorted[i - 1]->name_line);
    free(sorted);
    return st;
}

weir_status weirp_maker_budgets(weirp_maker *m) {
    const weirp_file_budget *item = m->file.budgets.list.items;
    const size_t n = m->file.budgets.list.n;
    weirp_config *c = m->config;
    weir_status st = WEIR_OK;
    if (!n) return WEIR_OK;
    if (n > MOST)
        return weirp_maker_wrong(m, item[MOST].line, "key \"list\" has %zu budgets, and may have %d", n, MOST);
    c->budgets.list = weirp_array(n, sizeof *c->budgets.list);
    if (!c->budgets.list) return weirp_nomem(m->err);
    for (; c->budgets.n < n && !st; c->budgets.n++) {
        st = read_budget(m, &item[c->budgets.n], &c->budgets.list[c->budgets.n]);
        if (!st) st = look_up(m, &item[c->budgets.n]);
    }
    return st ? st : check_names(m, item, n);
}

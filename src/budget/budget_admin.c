/* budget_admin.c: budgets set, removed, shown, audited and reconciled, beside whoever has the store.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/budget/admin.h"
#include "src/budget/amount.h"
#include "src/budget/ledger.h"
#include "src/base/when.h"
#include "weir/budget.h"

/* ---- setting ---- */

static weir_status copy(char *out, size_t size, const char *what, const char *text, weir_error *err) {
    size_t n = text ? strlen(text) : 0;
    if (n >= size) return weirp_fail(err, WEIR_INVALID, 0, "a budget's %s has at most %zu bytes", what, size - 1);
    if (n) memcpy(out, text, n);
    out[n] = '\0';
    return WEIR_OK;
}

static weir_status period_parse(const char *text, weirp_period_kind *period, weir_error *err) {
    if (weirp_period_find(text, period) && *period != WEIRP_PERIOD_MINUTE) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0, "a budget is per hour, day, week, month or total, not '%.40s'", text);
}

weir_status weirp_admin_warn(const char *text, double warn[WEIRP_MAX_WARNINGS], weir_error *err) {
    size_t n = 0;
    for (const char *at = text; at; n++) {
        size_t len = strcspn(at, ",");
        if (n == WEIRP_MAX_WARNINGS || !weirp_number_parse(at, len, &warn[n]) || !(warn[n] > 0))
            return weirp_fail(err, WEIR_INVALID, 0,
                              "warnings are up to %d shares of the limit, such as 0.5,0.8,0.95, not '%.60s'",
                              WEIRP_MAX_WARNINGS, text);
        at = at[len] ? at + len + 1 : NULL;
    }
    return WEIR_OK;
}

weir_status weirp_admin_budget(const char *name, const weir_budget_options *o, weirp_budget *b, weir_error *err) {
    const char *const match[WEIRP_N_DIMS] = {o->key, o->team, o->user, o->tag, o->model, o->provider};
    weir_status st;
    *b = (weirp_budget){.hard = !o->soft};
    WEIRP_TRY(copy(b->name, sizeof b->name, "name", name, err));
    if (!o->limit || !o->per)
        return weirp_fail(err, WEIR_INVALID, 0, "a budget needs a limit (50USD) and a period (day)");
    WEIRP_TRY(weirp_amount_parse(o->limit, &b->unit, &b->limit, err));
    WEIRP_TRY(period_parse(o->per, &b->period, err));
    WEIRP_TRY(copy(b->zone, sizeof b->zone, "time zone", o->zone ? o->zone : "UTC", err));
    for (int d = 0; d < WEIRP_N_DIMS; d++)
        WEIRP_TRY(copy(b->match[d], sizeof b->match[d], weirp_dimension_name((weirp_dimension)d), match[d], err));
    if (o->when_exhausted && !weirp_exhausted_find(o->when_exhausted, &b->exhausted))
        return weirp_fail(err, WEIR_INVALID, 0, "an exhausted budget means 'cheaper' or 'refuse', not '%.40s'",
                          o->when_exhausted);
    if (o->warn) WEIRP_TRY(weirp_admin_warn(o->warn, b->warn, err));
    weir_error why = {0}; /* of its statuses, that of a zone nobody knows isn't what a caller looks for */
    if (weirp_budget_check(b, &why) != WEIR_OK)
        st = weirp_fail(err, why.status == WEIR_NOMEM ? WEIR_NOMEM : WEIR_INVALID, 0, "%s", why.text);
done:
    return st;
}

/* The number of the budget that has the name now; 0: none. */
static weir_status number_of(const char *store, const char *name, uint32_t *id, weir_error *err) {
    weirp_admin_view view = {0};
    weirp_budget budget;
    weir_error quiet = {0};
    weir_status st;
    *id = 0;
    WEIRP_TRY(weirp_admin_open(&view, store, err));
    st = weirp_ledger_find(weirp_snapshot_table(view.snapshot), name, &budget, &quiet);
    if (st == WEIR_OK) *id = budget.id;
    if (st == WEIR_NOTFOUND)
        st = WEIR_OK;
    else if (st != WEIR_OK)
        weirp_fail(err, st, 0, "%s", quiet.text);
done:
    weirp_admin_close(&view);
    return st;
}

weir_status weir_budget_set(const char *store, const char *name, const weir_budget_options *options, bool *afresh,
                            weir_error *err) {
    weirp_budget budget;
    weirp_store *joined = NULL;
    uint32_t before, id;
    weir_status st;
    WEIRP_TRY(weirp_admin_budget(name, options, &budget, err));
    WEIRP_TRY(number_of(store, name, &before, err));
    WEIRP_TRY(weirp_store_open(&joined, store, WEIRP_STORE_JOIN, err));
    WEIRP_TRY(weirp_ledger_set(joined, &budget, &id, err));
    if (afresh) *afresh = before && before != id;
done:
    weirp_store_close(joined);
    return st;
}

/* ---- finding ---- */

enum { MAX_NAMES = 1024 };

typedef struct names {
    size_t n;
    char text[MAX_NAMES][WEIRP_BUDGET_NAME];
    const char *item[MAX_NAMES];
} names;

static weir_status collect(void *user, const weirp_budget *budget, bool removed, weir_error *err) {
    names *all = user;
    (void)err;
    if (removed) return WEIR_OK;
    if (all->n == MAX_NAMES) return WEIR_END;
    memcpy(all->text[all->n], budget->name, WEIRP_BUDGET_NAME);
    all->item[all->n] = all->text[all->n];
    all->n++;
    return WEIR_OK;
}

static weir_status no_such_budget(weirp_txn *table, const char *name, weir_error *err) {
    char shown[80];
    names *all = weirp_array(1, sizeof *all);
    if (!all) return weirp_nomem(err);
    weir_status st = weirp_ledger_budgets(table, collect, all, err);
    if (st == WEIR_OK || st == WEIR_END) {
        const char *near = weirp_suggest(name, all->item, all->n);
        weirp_excerpt(shown, sizeof shown, name, strlen(name));
        st = near ? weirp_fail(err, WEIR_INVALID, 0, "no budget '%s'; did you mean '%s'?", shown, near)
                  : weirp_fail(err, WEIR_INVALID, 0, "no budget '%s'", shown);
    }
    free(all);
    return st;
}

static weir_status find(weirp_txn *table, const char *name, weirp_budget *budget, weir_error *err) {
    weir_error quiet = {0};
    weir_status st = weirp_ledger_find(table, name, budget, &quiet);
    if (st == WEIR_NOTFOUND) return no_such_budget(table, name, err);
    return st == WEIR_OK ? st : weirp_fail(err, st, 0, "%s", quiet.text);
}

weir_status weir_budget_remove(const char *store, const char *name, weir_error *err) {
    weirp_admin_view view = {0};
    weirp_store *joined = NULL;
    weir_error quiet = {0};
    weir_status st;
    WEIRP_TRY(weirp_store_open(&joined, store, WEIRP_STORE_JOIN, err));
    st = weirp_ledger_remove(joined, name, &quiet);
    if (st == WEIR_NOTFOUND) {
        WEIRP_TRY(weirp_admin_open(&view, store, err));
        st = no_such_budget(weirp_snapshot_table(view.snapshot), name, err);
    } else if (st != WEIR_OK) {
        weirp_fail(err, st, 0, "%s", quiet.text);
    }
done:
    weirp_admin_close(&view);
    weirp_store_close(joined);
    return st;
}

/* ---- showing ---- */

static json_t *amount_json(weirp_unit unit, int64_t amount) {
    char text[WEIRP_AMOUNT_TEXT];
    weirp_amount_text(text, unit, amount);
    return json_string(text);
}

static json_t *time_json(int64_t unix_s) {
    char text[WEIRP_WHEN_TEXT];
    if (unix_s == INT64_MAX || unix_s <= 0) return json_null(); /* of "total" */
    weirp_when_text(text, unix_s * 1000);
    return json_string(text);
}

static json_t *match_json(const weirp_budget *b) {
    json_t *match = json_object();
    for (int d = 0; match && d < WEIRP_N_DIMS; d++)
        if (b->match[d][0])
            json_object_set_new(match, weirp_dimension_name((weirp_dimension)d), json_string(b->match[d]));
    return match;
}

static json_t *warn_json(const weirp_budget *b) {
    json_t *warn = json_array();
    for (size_t i = 0; i < WEIRP_MAX_WARNINGS && b->warn[i] > 0; i++)
        json_array_append_new(warn, json_real(b->warn[i]));
    return warn;
}

/* One budget and what its accounts say. */
typedef struct showing {
    weirp_budget budget;
    weirp_span span;
    int64_t spent;
    size_t n_accounts;
    json_t *accounts; /* NULL: they aren't asked for */
} showing;

typedef struct listing {
    int64_t now_s;
    showing *item; /* (n) */
    size_t n, capacity;
    const char *only; /* NULL: all */
} listing;

static weir_status take_budget(void *user, const weirp_budget *budget, bool removed, weir_error *err) {
    listing *l = user;
    if (removed || (l->only && strcmp(l->only, budget->name) != 0)) return WEIR_OK;
    if (!weirp_reserve((void **)&l->item, &l->capacity, l->n + 1, sizeof *l->item)) return weirp_nomem(err);
    weirp_zone *zone = NULL;
    weir_status st = weirp_zone_open(&zone, budget->zone, err);
    if (st != WEIR_OK) return st;
    l->item[l->n++] = (showing){*budget, weirp_period_at(zone, budget->period, l->now_s), 0, 0, NULL};
    weirp_zone_close(zone);
    return WEIR_OK;
}

static json_t *account_json(const weirp_budget *budget, const weirp_account_row *row) {
    char scope[WEIRP_ACCOUNT_SCOPE];
    int64_t start;
    if (!weirp_account_key_read(budget, row->key.bytes, row->key.size, &start, scope))
        snprintf(scope, sizeof scope, "?"); /* the audit says what is wrong with it */
    return json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "account", (json_int_t)row->number, "scope",
                     scope, "period_start", time_json(row->span.start), "period_end", time_json(row->span.end), "limit",
                     amount_json(row->unit, row->limit), "spent", amount_json(row->unit, row->spent), "leased",
                     amount_json(row->unit, row->leased), "unproven", amount_json(row->unit, row->unproven), "free",
                     amount_json(row->unit, weirp_account_free(row)));
}

static showing *showing_of(listing *l, uint32_t id) {
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i].budget.id == id) return &l->item[i];
    return NULL;
}

static weir_status take_account(void *user, const weirp_account_row *row, weir_error *err) {
    listing *l = user;
    showing *s = showing_of(l, row->budget);
    if (!s) return WEIR_OK;
    bool now = row->span.start <= l->now_s && l->now_s < row->span.end;
    if (now) {
        s->n_accounts++;
        s->spent = row->spent > INT64_MAX - s->spent ? INT64_MAX : s->spent + row->spent;
    }
    if (!s->accounts || (!now && !row->unproven)) return WEIR_OK;
    return json_array_append_new(s->accounts, account_json(&s->budget, row)) ? weirp_nomem(err) : WEIR_OK;
}

static json_t *budget_json(const showing *s) {
    const weirp_budget *b = &s->budget;
    json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:b, s:s, s:o, s:o, s:o, s:I, s:o}", "name", b->name, "unit",
                          weirp_unit_name(b->unit), "limit", amount_json(b->unit, b->limit), "per",
                          weirp_period_name(b->period), "zone", b->zone, "match", match_json(b), "hard", b->hard,
                          "when_exhausted", weirp_exhausted_name(b->exhausted), "warn", warn_json(b), "period_start",
                          time_json(s->span.start), "period_end", time_json(s->span.end), "n_accounts",
                          (json_int_t)s->n_accounts, "spent", amount_json(b->unit, s->spent));
    if (o && s->accounts) json_object_set(o, "accounts", s->accounts);
    return o;
}

weir_status weir_budget_list(const char *store, char **json, weir_error *err) {
    weirp_admin_view view = {0};
    listing l = {.now_s = weirp_unix_ms() / 1000};
    json_t *all = json_array();
    weir_status st;
    *json = NULL;
    WEIRP_TRY(weirp_admin_open(&view, store, err));
    WEIRP_TRY(weirp_ledger_budgets(weirp_snapshot_table(view.snapshot), take_budget, &l, err));
    WEIRP_TRY(weirp_ledger_accounts(weirp_snapshot_table(view.snapshot), take_account, &l, err));
    for (size_t i = 0; i < l.n; i++)
        if (json_array_append_new(all, budget_json(&l.item[i]))) {
            st = weirp_nomem(err);
            goto done;
        }
    st = weirp_admin_dump(json_pack("{s:O}", "budgets", all), json, err);
done:
    json_decref(all);
    free(l.item);
    weirp_admin_close(&view);
    return st;
}

weir_status weir_budget_show(const char *store, const char *name, char **json, weir_error *err) {
    weirp_admin_view view = {0};
    listing l = {.now_s = weirp_unix_ms() / 1000, .only = name};
    weirp_budget budget;
    weir_status st;
    *json = NULL;
    WEIRP_TRY(weirp_admin_open(&view, store, err));
    weirp_txn *table = weirp_snapshot_table(view.snapshot);
    WEIRP_TRY(find(table, name, &budget, err));
    WEIRP_TRY(take_budget(&l, &budget, false, err));
    l.item[0].accounts = json_array();
    WEIRP_TRY(weirp_ledger_accounts(table, take_account, &l, err));
    st = weirp_admin_dump(budget_json(&l.item[0]), json, err);
done:
    if (l.n) json_decref(l.item[0].accounts);
    free(l.item);
    weirp_admin_close(&view);
    return st;
}

/* ---- reconciling ---- */

typedef struct dead {
    uint64_t account;
    weirp_unproven *item; /* (n): of this account */
    size_t n, capacity;
    int64_t sum;
    weirp_unit unit;
    bool found;
} dead;

static weir_status take_unproven(void *user, const weirp_unproven *unproven, weir_error *err) {
    dead *d = user;
    if (unproven->account != d->account) return WEIR_OK;
    if (!weirp_reserve((void **)&d->item, &d->capacity, d->n + 1, sizeof *d->item)) return weirp_nomem(err);
    d->item[d->n++] = *unproven;
    d->sum += unproven->amount;
    return WEIR_OK;
}

static weir_status take_unit(void *user, const weirp_account_row *row, weir_error *err) {
    dead *d = user;
    (void)err;
    if (row->number != d->account) return WEIR_OK;
    d->unit = row->unit;
    d->found = true;
    return WEIR_OK;
}

static weir_status look(const char *store, dead *d, weir_error *err) {
    weirp_admin_view view = {0};
    weir_status st;
    WEIRP_TRY(weirp_admin_open(&view, store, err));
    WEIRP_TRY(weirp_ledger_accounts(weirp_snapshot_table(view.snapshot), take_unit, d, err));
    st = weirp_ledger_unproven(weirp_snapshot_table(view.snapshot), take_unproven, d, err);
    if (st == WEIR_OK && !d->found)
        st = weirp_fail(err, WEIR_INVALID, 0, "no account %llu; 'weir budget show NAME' lists a budget's",
                        (unsigned long long)d->account);
    if (st == WEIR_OK && !d->n)
        st = weirp_fail(err, WEIR_INVALID, 0, "nothing of account %llu is unproven", (unsigned long long)d->account);
done:
    weirp_admin_close(&view);
    return st;
}

weir_status weir_budget_reconcile(const char *store, uint64_t account, const char *spent, weir_error *err) {
    weirp_store *joined = NULL;
    dead d = {.account = account};
    int64_t rest;
    char whole[WEIRP_AMOUNT_TEXT];
    weir_status st;
    WEIRP_TRY(weirp_store_open(&joined, store, WEIRP_STORE_JOIN, err));
    WEIRP_TRY(weirp_ledger_bury(joined, store, NULL, err)); /* whoever died since the last gateway looked */
    WEIRP_TRY(look(store, &d, err));
    WEIRP_TRY(weirp_amount_parse_in(spent, d.unit, &rest, err));
    weirp_amount_text(whole, d.unit, d.sum);
    if (rest > d.sum) {
        st = weirp_fail(err, WEIR_INVALID, 0, "only %s %s of account %llu are unproven", whole, weirp_unit_name(d.unit),
                        (unsigned long long)account);
        goto done;
    }
    for (size_t i = 0; i < d.n; i++) { /* the sum is what counts, whichever of the dead it is put down to */
        int64_t part = rest < d.item[i].amount ? rest : d.item[i].amount;
        WEIRP_TRY(weirp_ledger_reconcile(joined, d.item[i].process, account, part, err));
        rest -= part;
    }
done:
    free(d.item);
    weirp_store_close(joined);
    return st;
}

/* sla.c: what was spent, as the ledger has it. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/sla.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/budget/pace.h"
#include "src/base/when.h"

#define DEFAULT_MS (INT64_C(30) * 86400 * 1000)
#define LAST_MS    (INT64_C(1) << 50)

/* ---- what is asked for ---- */

static weir_status find_budget(weirp_sla *s, const char *name, weir_error *err) {
    weir_error quiet = {0};
    weir_status st = weirp_ledger_find(weirp_snapshot_table(s->view.snapshot), name, &s->budget, &quiet);
    if (st == WEIR_NOTFOUND) return weirp_fail(err, WEIR_INVALID, 0, "no budget '%.64s'", name);
    if (st != WEIR_OK) return weirp_fail(err, st, 0, "%s", quiet.text);
    for (int d = 0; d < WEIRP_N_DIMS; d++)
        if (!strcmp(s->budget.match[d], "*"))
            return weirp_fail(err, WEIR_INVALID, 0,
                              "budget '%s' has a limit for each %s: report on all spending instead", s->budget.name,
                              weirp_dimension_name((weirp_dimension)d));
    s->has_budget = true;
    return WEIR_OK;
}

static weir_status ask(weirp_sla *s, const weir_budget_report_options *o, weir_error *err) {
    weir_status st = WEIR_OK;
    weirp_zone *zone = NULL;
    s->floor = o->min_quality;
    s->to_ms = s->now_ms;
    s->from_ms = s->now_ms - DEFAULT_MS;
    if (!(o->min_quality >= 0 && o->min_quality <= 1))
        return weirp_fail(err, WEIR_INVALID, 0, "the least quality is from 0 to 1");
    if (o->svg && !o->budget) return weirp_fail(err, WEIR_INVALID, 0, "a picture is drawn of one budget: name it");
    if (o->budget) WEIRP_TRY(find_budget(s, o->budget, err));
    if (o->from) WEIRP_TRY(weirp_since_parse("--from", o->from, s->now_ms, &s->from_ms, err));
    if (o->to) WEIRP_TRY(weirp_since_parse("--to", o->to, s->now_ms, &s->to_ms, err));
    if (s->has_budget) {
        WEIRP_TRY(weirp_zone_open(&zone, s->budget.zone, err));
        s->period = weirp_period_at(zone, s->budget.period, (o->from ? s->from_ms : s->to_ms) / 1000);
        if (!o->from && s->budget.period != WEIRP_PERIOD_TOTAL) s->from_ms = s->period.start * 1000;
    }
    if (s->from_ms >= s->to_ms)
        st = weirp_fail(err, WEIR_INVALID, 0, "nothing lies between these times: --from must be before --to");
done:
    weirp_zone_close(zone);
    return st;
}

/* ---- accounts ---- */

static weir_status take_account(void *user, const weirp_account_row *row, weir_error *err) {
    weirp_sla *s = user;
    if (row->budget != s->budget.id || row->span.start * 1000 >= s->to_ms ||
        (row->span.end < LAST_MS / 1000 && row->span.end * 1000 <= s->from_ms))
        return WEIR_OK;
    if (!weirp_reserve((void **)&s->accounts, &s->accounts_capacity, s->n_accounts + 1, sizeof *s->accounts))
        return weirp_nomem(err);
    s->accounts[s->n_accounts++] = row->number;
    s->spent += row->spent;
    s->unproven += row->unproven;
    return WEIR_OK;
}

/* Whether the entry is charged to the budget. Accounts are in the order of their numbers. */
static bool is_ours(const weirp_sla *s, const weirp_entry *e) {
    for (size_t i = 0; i < e->n_postings; i++) {
        size_t low = 0, high = s->n_accounts;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (s->accounts[middle] < e->postings[i].account)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < s->n_accounts && s->accounts[low] == e->postings[i].account) return true;
    }
    return false;
}

/* ---- entries ---- */

static weirp_sla_group *group_of(weirp_sla_groups *all, const char *name) {
    if (!all->index) all->index = json_object();
    const json_t *at = json_object_get(all->index, name);
    if (at) return &all->item[json_integer_value(at)];
    if (!all->index || !weirp_reserve((void **)&all->item, &all->capacity, all->n + 1, sizeof *all->item)) return NULL;
    if (json_object_set_new(all->index, name, json_integer((json_int_t)all->n))) return NULL;
    weirp_sla_group *g = &all->item[all->n++];
    *g = (weirp_sla_group){.nano = 0};
    weirp_copy_text(g->name, sizeof g->name, name);
    return g;
}

/* Texts come from clients: what isn't UTF-8 can't be JSON. */
static void plain(char out[WEIRP_SCOPE_TEXT], const char *text) {
    size_t n = 0;
    json_t *good = json_string(text);
    for (; text[n] && n + 1 < WEIRP_SCOPE_TEXT; n++) out[n] = (char)(!good && (text[n] & 0x80) ? '?' : text[n]);
    out[n] = '\0';
    json_decref(good);
}

static weir_status take_entry(void *user, uint64_t number, const weirp_entry *e, weir_error *err) {
    weirp_sla *s = user;
    (void)number;
    if (e->kind != WEIRP_ENTRY_SETTLE || (s->has_budget && !is_ours(s, e))) return WEIR_OK;
    const int64_t nano = e->amount[WEIRP_UNIT_USD], tokens = e->amount[WEIRP_UNIT_TOKENS];
    const int64_t amount = s->has_budget ? e->amount[s->budget.unit] : nano;
    s->n_calls++;
    s->nano += nano;
    s->amount += amount;
    const double place = (double)(e->at_ms - s->from_ms) / (double)(s->end_ms - s->from_ms) * WEIRP_SLA_STEPS;
    s->step[place < 0 ? 0 : place < WEIRP_SLA_STEPS ? (size_t)place : WEIRP_SLA_STEPS - 1] += amount;
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        char name[WEIRP_SCOPE_TEXT];
        plain(name, e->subject.value[d] ? e->subject.value[d] : "");
        weirp_sla_group *g = group_of(&s->by[d], name);
        if (!g) return weirp_nomem(err);
        g->nano += nano;
        g->tokens += (uint64_t)(tokens > 0 ? tokens : 0);
        g->calls++;
    }
    return WEIR_OK;
}

/* ---- forecast ---- */

static double shown(const weirp_sla *s, int64_t amount) {
    return s->budget.unit == WEIRP_UNIT_USD ? (double)amount * 1e-9 : (double)amount;
}

/* As a gateway's pacing thinks, if one has left its state. */
static bool forecast_paced(weirp_sla *s, const weirp_zone *zone) {
    char key[sizeof WEIRP_PACE_PREFIX + WEIRP_BUDGET_NAME];
    const uint8_t *data;
    size_t size;
    weirp_pacer *pacer = NULL;
    weirp_pacer_options o = {.limit_usd = shown(s, s->limit),
                             .start_s = (double)s->period.start,
                             .end_s = (double)s->period.end,
                             .floor = s->floor};
    int hour, weekday;
    bool known = false;
    snprintf(key, sizeof key, WEIRP_PACE_PREFIX "%s", s->budget.name);
    if (s->budget.unit != WEIRP_UNIT_USD ||
        weirp_txn_get(weirp_snapshot_table(s->view.snapshot), key, strlen(key), &data, &size, NULL) != WEIR_OK)
        return false;
    if (weirp_pacer_new(&pacer, &o, NULL) == WEIR_OK && weirp_pacer_load(pacer, data, size, NULL) == WEIR_OK) {
        weirp_zone_local(zone, s->now_ms / 1000, &hour, &weekday);
        const double now = (double)s->now_ms * 1e-3;
        const weirp_span in = weirp_period_at(zone, WEIRP_PERIOD_HOUR, s->now_ms / 1000);
        weirp_pace p =
            weirp_pacer_value(pacer,
                              (weirp_moment){now, hour, weekday, fmin(fmax(now - (double)in.start, 0), 3599.999)},
                              shown(s, s->spent + s->unproven), 0);
        known = p.known;
        s->forecast[0] = p.spend_low;
        s->forecast[1] = p.spend;
        s->forecast[2] = p.spend_high;
        s->requests = p.requests;
        s->method = "pacing";
    }
    weirp_pacer_free(pacer);
    return known;
}

static weir_status forecast(weirp_sla *s, weir_error *err) {
    s->requests = NAN;
    s->method = NULL;
    const int64_t start = s->period.start * 1000, end = s->period.end * 1000;
    if (!s->has_budget || s->budget.period == WEIRP_PERIOD_TOTAL || s->from_ms != start || s->to_ms != s->now_ms ||
        s->now_ms >= end)
        return WEIR_OK;
    weirp_zone *zone = NULL;
    weir_status st = weirp_zone_open(&zone, s->budget.zone, err);
    if (st == WEIR_OK && !forecast_paced(s, zone)) {
        const double gone = (double)(s->now_ms - start) / (double)(end - start);
        s->method = gone > 0 ? "even rate" : NULL;
        for (size_t i = 0; i < 3; i++) s->forecast[i] = shown(s, s->spent + s->unproven) / gone;
    }
    weirp_zone_close(zone);
    return st;
}

/* ---- all of it ---- */

weir_status weirp_sla_ledger(weirp_sla *s, weir_error *err) {
    weirp_txn *table = weirp_snapshot_table(s->view.snapshot);
    weir_status st;
    bool ends = s->has_budget && s->budget.period != WEIRP_PERIOD_TOTAL && s->period.end * 1000 >= s->to_ms;
    s->end_ms = ends ? s->period.end * 1000 : s->to_ms;
    s->limit = s->budget.limit;
    if (s->has_budget) WEIRP_TRY(weirp_ledger_accounts(table, take_account, s, err));
    WEIRP_TRY(weirp_ledger_entries(table, s->from_ms, s->to_ms, take_entry, s, err));
    st = forecast(s, err);
done:
    return st;
}

static void let_go(weirp_sla *s) {
    for (int d = 0; d < WEIRP_N_DIMS; d++) {
        json_decref(s->by[d].index);
        free(s->by[d].item);
    }
    for (size_t m = 0; m < s->n_models; m++) free(s->models[m]);
    free(s->models);
    free(s->single);
    free(s->accounts);
    free(s->ids);
    weirp_admin_close(&s->view);
    free(s);
}

weir_status weir_budget_report(const char *store, const weir_budget_report_options *options, char **json,
                               weir_error *err) {
    weir_status st;
    *json = NULL;
    weirp_sla *s = weirp_array(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    s->now_ms = weirp_unix_ms();
    WEIRP_TRY(weirp_admin_open(&s->view, store, err));
    WEIRP_TRY(ask(s, options, err));
    WEIRP_TRY(weirp_sla_ledger(s, err));
    WEIRP_TRY(weirp_sla_log(s, err));
    if (options->svg) WEIRP_TRY(weirp_sla_svg(s, options->svg, err));
    st = weirp_admin_dump(weirp_sla_json(s), json, err);
done:
    let_go(s);
    return st;
}

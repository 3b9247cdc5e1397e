/* audit.c: weir_budget_audit: balances against entries, entries against the traffic log.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/report/audit.h"

#include <jansson.h>

#include "src/budget/admin.h"
#include "src/budget/amount.h"
#include "src/base/when.h"
#include "weir/budget.h"

enum { MAX_TOLD = 1000 };

static void tell(void *user, const char *text) {
    json_t *differences = user;
    if (json_array_size(differences) < MAX_TOLD) json_array_append_new(differences, json_string(text));
}

static json_t *amount_json(weirp_unit unit, int64_t amount) {
    char text[WEIRP_AMOUNT_TEXT];
    if (amount < 0) return json_null();
    weirp_amount_text(text, unit, amount);
    return json_string(text);
}

static void tell_log(void *user, const weirp_log_difference *d) {
    json_t *differences = user;
    if (json_array_size(differences) >= MAX_TOLD) return;
    json_t *entry = d->entry == UINT64_MAX ? json_null() : json_integer((json_int_t)d->entry);
    json_t *id = json_string(d->id);
    json_array_append_new(differences, json_pack("{s:o, s:o, s:i, s:s, s:o, s:o, s:s}", "entry", entry, "decision",
                                                 id ? id : json_string("?"), "attempt", (int)d->attempt, "unit",
                                                 weirp_unit_name(d->unit), "ledger", amount_json(d->unit, d->ledger),
                                                 "log", amount_json(d->unit, d->log), "why", d->why));
}

static json_t *skipped_json(const weirp_log_audit *found) {
    json_t *skipped = json_array();
    for (int i = 0; skipped && i < WEIRP_N_SKIPS; i++)
        if (found->n_skipped[i])
            json_array_append_new(skipped,
                                  json_pack("{s:s, s:I, s:s}", "reason", weirp_skip_key((weirp_skip)i), "n",
                                            (json_int_t)found->n_skipped[i], "what", weirp_skip_text((weirp_skip)i)));
    return skipped;
}

/* What the traffic log says; *json is new. */
static weir_status compare_log(weirp_snapshot *snapshot, const weir_budget_audit_options *o, int64_t now_ms,
                               bool *sound, json_t **json, weir_error *err) {
    weirp_audit_log *log = NULL;
    weirp_log_source source;
    weirp_log_audit found = {0};
    json_t *differences = json_array();
    weir_status st;
    int64_t from_ms = 0;
    if (o && o->from) WEIRP_TRY(weirp_since_parse("--from", o->from, now_ms, &from_ms, err));
    WEIRP_TRY(weirp_audit_log_open(&log, snapshot, o ? o->log : NULL, &source, err));
    source.from_ms = from_ms;
    WEIRP_TRY(weirp_ledger_audit_log(weirp_snapshot_table(snapshot), &source, &found, tell_log, differences, err));
    *sound = found.n_wrong == 0;
    *json = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:O}", "n_decisions", (json_int_t)found.n_decisions,
                      "n_other_rows", (json_int_t)weirp_audit_log_n_other(log), "n_same", (json_int_t)found.n_same,
                      "n_safe", (json_int_t)found.n_safe, "settled", amount_json(WEIRP_UNIT_USD, found.spent_nano),
                      "logged", amount_json(WEIRP_UNIT_USD, found.spent_log_nano), "n_differences",
                      (json_int_t)found.n_wrong, "skipped", skipped_json(&found), "differences", differences);
done:
    weirp_audit_log_close(log);
    json_decref(differences);
    return st;
}

weir_status weir_budget_audit(const char *store, const weir_budget_audit_options *options, bool *sound, char **json,
                              weir_error *err) {
    weirp_admin_view view = {0};
    weirp_audit audit = {0};
    json_t *differences = json_array(), *log = NULL;
    bool logged = true;
    weir_status st;
    *json = NULL;
    *sound = false;
    WEIRP_TRY(weirp_admin_open(&view, store, err));
    WEIRP_TRY(weirp_ledger_audit(weirp_snapshot_table(view.snapshot), &audit, tell, differences, err));
    WEIRP_TRY(compare_log(view.snapshot, options, weirp_unix_ms(), &logged, &log, err));
    const bool all = audit.n_wrong == 0 && logged;
    st = weirp_admin_dump(json_pack("{s:b, s:I, s:I, s:I, s:I, s:O, s:O}", "sound", all, "n_entries",
                                    (json_int_t)audit.n_entries, "n_accounts", (json_int_t)audit.n_accounts,
                                    "n_settled", (json_int_t)audit.n_settled, "n_differences",
                                    (json_int_t)audit.n_wrong, "differences", differences, "log", log),
                          json, err);
    *sound = st == WEIR_OK && all;
done:
    json_decref(differences);
    json_decref(log);
    weirp_admin_close(&view);
    return st;
}

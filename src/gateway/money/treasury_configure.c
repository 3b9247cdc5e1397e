/* treasury_configure.c: the configuration's budgets in the store. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "src/budget/ledger.h"
#include "src/gateway/money/treasury.h"

static void tell_set(weirp_log *log, const weirp_budget *b, weirp_set_result did) {
    static const char *const DID[] = {"none", "made", "changed", "starts afresh"};
    if (did == WEIRP_SET_SAME) return;
    WEIRP_LOG(log, did == WEIRP_SET_AFRESH ? WEIRP_LOG_WARN : WEIRP_LOG_INFO, "a budget is set by the configuration",
              WEIRP_S("budget", b->name), WEIRP_S("change", DID[did]), WEIRP_S("unit", weirp_unit_name(b->unit)),
              WEIRP_F("limit", weirp_unit_value(b->unit, b->limit)), WEIRP_S("per", weirp_period_name(b->period)));
}

static void tell_vanished(weirp_log *log, const weirp_vanished *gone) {
    for (size_t i = 0; i < gone->n && i < WEIRP_VANISHED; i++)
        WEIRP_LOG(log, WEIRP_LOG_WARN, "a budget isn't in the configuration any more, and stays in force",
                  WEIRP_S("budget", gone->name[i]));
    if (gone->n > WEIRP_VANISHED)
        WEIRP_LOG(log, WEIRP_LOG_WARN, "more budgets aren't in the configuration any more, and stay in force",
                  WEIRP_I("budgets", gone->n - WEIRP_VANISHED));
}

weir_status weirp_treasury_configure(const char *path, const weirp_config *c, weirp_log *log, weir_error *err) {
    weirp_store *store = NULL;
    weirp_set_result *did = weirp_array(c->budgets.n, sizeof *did);
    weirp_vanished *gone = weirp_array(1, sizeof *gone);
    weir_status st;
    if (!did || !gone) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_JOIN, err));
    WEIRP_TRY(weirp_ledger_configure(store, c->budgets.list, c->budgets.n, did, gone, err));
    for (size_t i = 0; i < c->budgets.n; i++) tell_set(log, &c->budgets.list[i], did[i]);
    tell_vanished(log, gone);
done:
    weirp_store_close(store);
    free(did);
    free(gone);
    return st;
}

/* ope.c: the evaluation of logs from end to end. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/base/when.h"
#include "src/ope/judge.h"
#include "src/ope/decisions.h"

/* ---- logs to a table ---- */

#define NOT_YET ((size_t)-1)

typedef struct reading {
    const weir_ope_options *o;
    weirp_ope_table *table;
    weir_ope *result;
    weirp_decisions seen;
    size_t n_logs; /* that have been read */
    size_t *model; /* (n_models) the table's index of the log's models; NOT_YET: no row that is read names it */
    size_t n_models, capacity;
    size_t n_waiting;            /* of model, that are NOT_YET */
    uint64_t training;           /* whose features the store's estimators know; 0: there is no store */
    int64_t first_out, last_out; /* times of the rows that were left out; only once there is one */
} reading;

/* The log's names that are new since the row before. What only rows that are left out name stays unknown: a slip of the
 * pen is no model, and one that wasn't there yet at the time asked for is none that a policy could have chosen. */
static weir_status learn_models(reading *r, const weirp_logged *log, weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t n = weirp_logged_n_models(log);
    if (!weirp_reserve((void **)&r->model, &r->capacity, n, sizeof *r->model)) return weirp_nomem(err);
    for (; r->n_models < n; r->n_models++, r->n_waiting++) r->model[r->n_models] = NOT_YET;
    for (size_t m = 0; m < n && r->n_waiting && st == WEIR_OK; m++) {
        if (r->model[m] != NOT_YET || !weirp_logged_has_model(log, m)) continue;
        st = weirp_ope_table_model(r->table, weirp_logged_model(log, m), &r->model[m], err);
        r->n_waiting--;
    }
    return st;
}

/* Whether the row's time is one that was asked for; counts those that aren't. */
static bool is_asked_for(reading *r, const weirp_logged_row *row) {
    weir_ope *result = r->result;
    const int64_t ms = row->time_ms;
    if (!result->by_time) return true;
    if (ms == WEIRP_LOGGED_NO_TIME) {
        result->n_untimed++;
        return false;
    }
    if (ms >= result->since_ms && ms < result->until_ms) return true;
    if (!result->n_outside || ms < r->first_out) r->first_out = ms;
    if (!result->n_outside || ms > r->last_out) r->last_out = ms;
    result->n_outside++;
    return false;
}

static weir_status take_row(reading *r, const weirp_logged *log, const weirp_logged_row *row, weir_error *err) {
    bool before;
    if (!is_asked_for(r, row)) return WEIR_OK;
    weir_status st =
        weirp_decisions_before(&r->seen, row, weirp_logged_model(log, row->chosen), r->n_logs, &before, err);
    if (st != WEIR_OK) return st;
    if (before) {
        r->result->n_duplicates++;
        return WEIR_OK;
    }
    if (r->n_waiting || r->n_models < weirp_logged_n_models(log)) {
        st = learn_models(r, log, err);
        if (st != WEIR_OK) return st;
    }
    if (r->training && row->dense && row->dim && row->training != r->training &&
        !(row->flags & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED)))
        r->result->n_other_training++;
    return weirp_ope_table_add(r->table, row, r->n_models, r->model, err);
}

static weir_status read_log(reading *r, const char *path, weir_error *err) {
    enum { ROWS_A_REPORT = 4096, PARTS = 1000 };
    const weirp_logged_options options = {
        .map = r->o->map, .strict = r->o->strict, .warning = r->o->warning, .warning_user = r->o->warning_user};
    weirp_logged *log = NULL;
    weirp_logged_row row;
    weir_status st = weirp_logged_open(&log, path, &options, err);
    r->n_models = r->n_waiting = 0;
    for (size_t i = 0; st == WEIR_OK && (st = weirp_logged_next(log, &row, err)) == WEIR_OK; i++) {
        st = take_row(r, log, &row, err);
        if (st == WEIR_OK && i % ROWS_A_REPORT == 0 && r->o->progress) {
            const double share = weirp_logged_share(log);
            if (r->o->progress(r->o->progress_user, "reading", share >= 0 ? (size_t)(share * PARTS) : i,
                               share >= 0 ? PARTS : 0))
                st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        }
    }
    if (log) {
        r->result->n_malformed += weirp_logged_n_malformed(log);
        r->result->n_other += weirp_logged_n_other(log);
    }
    weirp_logged_close(log);
    return st == WEIR_END ? WEIR_OK : st;
}

/* Why there is no row to judge by. */
static weir_status no_row(const reading *r, weir_error *err) {
    const weir_ope *result = r->result;
    const char *malformed = result->n_malformed ? " (malformed ones were left out)" : "";
    char from[WEIRP_WHEN_TEXT], to[WEIRP_WHEN_TEXT];
    if (result->n_outside) {
        /* 0 would be "never" there; a millisecond isn't shown */
        weirp_when_text(from, r->first_out ? r->first_out : 1);
        weirp_when_text(to, r->last_out ? r->last_out : 1);
        return weirp_fail(err, WEIR_NODATA, 0,
                          "%s holds no row of the time asked for: since and until leave out %zu row%s, from %s to %s, "
                          "and %zu without a time%s",
                          r->o->logs[0], result->n_outside, result->n_outside == 1 ? "" : "s", from, to,
                          result->n_untimed, malformed);
    }
    if (result->n_untimed)
        return weirp_fail(err, WEIR_NODATA, 0,
                          "%s tells no row's time: since and until can't choose among its %zu row%s%s", r->o->logs[0],
                          result->n_untimed, result->n_untimed == 1 ? "" : "s", malformed);
    return weirp_fail(err, WEIR_NODATA, 0, "%s holds no usable row%s%s", r->o->logs[0], malformed,
                      result->n_malformed && !r->o->map ? "; logs of others need a mapping of their columns (--map)"
                                                        : "");
}

static weir_status read_logs(reading *r, weir_error *err) {
    weir_status st = WEIR_OK;
    r->result->log = weirp_array(r->o->n_logs, sizeof *r->result->log);
    if (!r->result->log) return weirp_nomem(err);
    for (size_t i = 0; i < r->o->n_logs && st == WEIR_OK; i++) {
        if (!(r->result->log[i] = strdup(r->o->logs[i]))) return weirp_nomem(err);
        r->result->n_logs++;
        st = read_log(r, r->o->logs[i], err);
        r->n_logs++;
    }
    weirp_decisions_free(&r->seen);
    if (st == WEIR_OK) st = weirp_ope_table_finish(r->table, r->o->value_usd, err);
    return st == WEIR_OK && !weirp_ope_table_n(r->table) ? no_row(r, err) : st;
}

/* ---- the whole ---- */

static weir_status run(weir_ope *result, const weir_ope_options *o, weir_error *err) {
    weirp_ope_target *target[WEIRP_OPE_MAX_POLICIES] = {NULL};
    weir_router *router = NULL;
    weirp_ope_settings settings;
    reading r = {.o = o, .result = result};
    weirp_decisions_init(&r.seen);
    weir_status st = weirp_ope_settle(&settings, o, NULL, err); /* mistakes are told before long work */
    if (st != WEIR_OK) return st;
    result->by_time = o->since || o->until;
    result->since_ms = settings.since_ms, result->until_ms = settings.until_ms;
    if (!o->n_logs) return weirp_fail(err, WEIR_INVALID, 0, "there is no log to read");
    if (o->store) {
        WEIRP_TRY(weir_router_open(&router, o->store, err));
        WEIRP_TRY(weirp_target_router_training(&r.training, router, err));
    }
    WEIRP_TRY(weirp_ope_table_new(&r.table, err));
    WEIRP_TRY(read_logs(&r, err));
    WEIRP_TRY(weirp_ope_settle(&settings, o, r.table, err));
    for (size_t i = 0; i < o->n_policies; i++)
        WEIRP_TRY(weirp_ope_target_new(&target[i], o->policies[i], r.table, router, err));
    if (o->curve) WEIRP_TRY(weirp_ope_curve_check(o, r.table, router, err));
    st = weirp_ope_judge(result, r.table, target, o->n_policies, &settings, router, err);
done:
    weirp_decisions_free(&r.seen);
    for (size_t i = 0; i < WEIRP_OPE_MAX_POLICIES; i++) weirp_ope_target_free(target[i]);
    weirp_ope_table_free(r.table);
    weir_router_close(router);
    free(r.model);
    return st;
}

weir_status weir_ope_run(weir_ope **out, const weir_ope_options *options, weir_error *err) {
    static const weir_ope_options none;
    const uint64_t begun = weirp_monotonic_ns();
    *out = NULL;
    weir_ope *result = weirp_array(1, sizeof *result);
    if (!result) return weirp_nomem(err);
    weir_status st = run(result, options ? options : &none, err);
    result->seconds = (double)(weirp_monotonic_ns() - begun) / 1e9;
    if (st == WEIR_OK)
        *out = result;
    else
        weir_ope_free(result);
    return st;
}

static bool wants_what_is_free(const weir_ope *ope, const weirp_ope_trade *t) {
    if (!(t->saving_wanted > 0 || t->quality_margin > 0)) return false;
    for (size_t i = 0; i < ope->n_contrasts; i++) {
        const weirp_contrast *c = &ope->contrast[i];
        if (c->policy == t->policy && c->other == t->other && c->metric == WEIR_METRIC_COST)
            return c->verdict != WEIRP_VERDICT_REFUSED && c->verdict != WEIRP_VERDICT_SAME && isnan(c->relative);
    }
    return false;
}

bool weir_ope_refusal(const weir_ope *ope, size_t i, const char **policy, weir_metric *metric, const char **reason) {
    for (size_t c = 0; c < ope->n_policies * WEIR_N_METRICS; c++) {
        const weirp_cell_result *cell = &ope->cell[c];
        if (!cell->asked || !*cell->standing.refusal || i--) continue;
        *policy = ope->policy[c / WEIR_N_METRICS];
        *metric = (weir_metric)(c % WEIR_N_METRICS);
        *reason = cell->standing.refusal;
        return true;
    }
    for (size_t t = 0; t < ope->n_trades; t++) {
        if (!wants_what_is_free(ope, &ope->trade[t]) || i--) continue;
        *policy = ope->policy[ope->trade[t].policy];
        *metric = WEIR_METRIC_COST;
        *reason = "nothing can be saved, compared with a cost of 0";
        return true;
    }
    if (!*ope->curve.refusal || i) return false;
    *policy = ope->curve.policy;
    *metric = WEIR_N_METRICS;
    *reason = ope->curve.refusal;
    return true;
}

void weirp_ope_clear(weir_ope *ope) {
    for (size_t i = 0; ope->model && i < ope->n_models; i++) free(ope->model[i]);
    for (size_t i = 0; ope->policy && i < ope->n_policies; i++) free(ope->policy[i]);
    for (size_t i = 0; ope->log && i < ope->n_logs; i++) free(ope->log[i]);
    for (size_t i = 0; ope->cell && i < ope->n_policies * WEIR_N_METRICS; i++) free(ope->cell[i].estimate);
    free(ope->model);
    free(ope->policy);
    free(ope->log);
    free(ope->cell);
    free(ope->contrast);
    free(ope->trade);
    free(ope->curve.point);
    free(ope->curve.refused);
    free(ope->curve.single);
    free(ope->curve.policy);
    *ope = (weir_ope){.n_rows = 0};
}

void weir_ope_free(weir_ope *ope) {
    if (ope) weirp_ope_clear(ope);
    free(ope);
}

/* metrics.c: counting. Each thread has a set of its own and is the only one to write to it, so that an addition is a
 * load and a store. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/names.h"
#include "src/gateway/observe/metrics_set.h"

static const double short_bounds[WEIRP_N_SHORT] = {10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3,
                                                   2e-3,  5e-3,  10e-3, 20e-3,  50e-3,  100e-3};
static const double first_bounds[WEIRP_N_FIRST] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
static const double long_bounds[WEIRP_N_LONG] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                 1,     2.5,    5,     10,   30,    60,   120, 300};
const weirp_scale weirp_scale_short = {WEIRP_N_SHORT, short_bounds};
const weirp_scale weirp_scale_first = {WEIRP_N_FIRST, first_bounds};
const weirp_scale weirp_scale_long = {WEIRP_N_LONG, long_bounds};

const weirp_table_shape weirp_table_shapes[WEIRP_N_TABLES] = {
#define SHAPE(name, axis, columns, kind) {WEIRP_AXIS_##axis, columns, WEIRP_CELL_##kind},
    WEIRP_TABLES(SHAPE)
#undef SHAPE
};

const char *weirp_result_label(weirp_result result) {
    switch (result) {
#define LABEL(name, label)                                                                                             \
    case WEIRP_RESULT_##name: return label;
        WEIRP_RESULT_TABLE(LABEL)
#undef LABEL
    case WEIRP_N_RESULTS: break;
    }
    return "other";
}

size_t weirp_axis_size(const weirp_metric_names *names, weirp_axis axis) {
    switch (axis) {
    case WEIRP_AXIS_ONE: break;
    case WEIRP_AXIS_ENDPOINT: return WEIRP_N_APIS;
    case WEIRP_AXIS_MODEL: return names->n_models;
    case WEIRP_AXIS_DEPLOYMENT: return names->n_deployments;
    }
    return 1;
}

weir_status weirp_metrics_new(weirp_metrics **out, const weirp_metric_names *names, weir_error *err) {
    size_t n = 0, at = 0;
    *out = NULL;
    for (size_t t = 0; t < WEIRP_N_TABLES; t++)
        n += weirp_axis_size(names, weirp_table_shapes[t].axis) * weirp_table_shapes[t].columns;
    weirp_metrics *m = weirp_array(1, sizeof *m);
    if (m) m->cells = weirp_array(n, sizeof *m->cells); /* zeros are 0, also as bits of a double */
    if (!m || !m->cells) {
        free(m);
        return weirp_nomem(err);
    }
    m->names = *names;
    for (size_t t = 0; t < WEIRP_N_TABLES; t++) {
        m->table[t] = m->cells + at;
        at += weirp_axis_size(names, weirp_table_shapes[t].axis) * weirp_table_shapes[t].columns;
    }
    *out = m;
    return WEIR_OK;
}

void weirp_metrics_free(weirp_metrics *m) {
    if (!m) return;
    free(m->cells);
    free(m);
}

/* ---- adding ---- */

static _Atomic uint64_t *cell(const weirp_metrics *m, weirp_table table, size_t row, size_t column) {
    return m->table[table] + row * weirp_table_shapes[table].columns + column;
}

static void add(_Atomic uint64_t *c, uint64_t n) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static void add_real(_Atomic uint64_t *c, double x) {
    uint64_t bits = atomic_load_explicit(c, memory_order_relaxed);
    double sum;
    memcpy(&sum, &bits, sizeof sum);
    sum += x;
    memcpy(&bits, &sum, sizeof bits);
    atomic_store_explicit(c, bits, memory_order_relaxed);
}

static void observe(const weirp_metrics *m, weirp_table table, size_t row, const weirp_scale *scale, double seconds) {
    if (!(seconds >= 0)) return; /* nor NAN: there was none */
    size_t b = 0;
    while (b < scale->n && seconds > scale->bound_s[b]) b++;
    add(cell(m, table, row, b), 1);
    add(cell(m, table, row, scale->n + 1), (uint64_t)(fmin(seconds, 1e9) * 1e9 + 0.5));
}

void weirp_metrics_request(weirp_metrics *m, size_t endpoint, int status, double seconds) {
    if (endpoint >= WEIRP_N_APIS) return;
    add(cell(m, WEIRP_TABLE_REQUESTS, endpoint, status >= 100 && status <= 599 ? (size_t)status - 99 : 0), 1);
    observe(m, WEIRP_TABLE_REQUEST_TIME, endpoint, &weirp_scale_long, seconds);
}

void weirp_metrics_decision(weirp_metrics *m, size_t model, weir_rule rule, double seconds) {
    if (model >= m->names.n_models || (size_t)rule >= WEIRP_N_RULES) return;
    add(cell(m, WEIRP_TABLE_DECISIONS, model, rule), 1);
    observe(m, WEIRP_TABLE_DECISION_TIME, 0, &weirp_scale_short, seconds);
}

void weirp_metrics_attempt(weirp_metrics *m, size_t deployment, weirp_result result, double seconds) {
    if (deployment >= m->names.n_deployments || (size_t)result >= WEIRP_N_RESULTS) return;
    add(cell(m, WEIRP_TABLE_ATTEMPTS, deployment, result), 1);
    observe(m, WEIRP_TABLE_ATTEMPT_TIME, deployment, &weirp_scale_long, seconds);
}

void weirp_metrics_first_token(weirp_metrics *m, size_t model, double seconds) {
    if (model < m->names.n_models) observe(m, WEIRP_TABLE_FIRST_TOKEN, model, &weirp_scale_first, seconds);
}

void weirp_metrics_overhead(weirp_metrics *m, double seconds) {
    observe(m, WEIRP_TABLE_OVERHEAD, 0, &weirp_scale_short, seconds);
}

void weirp_metrics_tokens(weirp_metrics *m, size_t model, const double tokens[5]) {
    if (model >= m->names.n_models) return;
    for (size_t k = 0; k < WEIRP_N_TOKEN_KINDS; k++)
        if (tokens[k] > 0 && isfinite(tokens[k])) add_real(cell(m, WEIRP_TABLE_TOKENS, model, k), tokens[k]);
}

void weirp_metrics_cost(weirp_metrics *m, size_t model, double usd, double predicted_usd, bool estimated) {
    if (model >= m->names.n_models) return;
    if (usd >= 0 && isfinite(usd))
        add(cell(m, WEIRP_TABLE_COST, model, 0), (uint64_t)llround(fmin(usd, 9e9) * 1e9)); /* a bill is whole */
    else
        add(cell(m, WEIRP_TABLE_COST_UNKNOWN, model, 0), 1);
    if (predicted_usd >= 0 && isfinite(predicted_usd))
        add_real(cell(m, WEIRP_TABLE_PREDICTED_COST, model, 0), predicted_usd);
    if (estimated) add(cell(m, WEIRP_TABLE_USAGE_ESTIMATED, model, 0), 1);
}

void weirp_metrics_fallback(weirp_metrics *m, size_t from_model, size_t to_model) {
    if (from_model < m->names.n_models) add(cell(m, WEIRP_TABLE_FALLBACKS_FROM, from_model, 0), 1);
    if (to_model < m->names.n_models) add(cell(m, WEIRP_TABLE_FALLBACKS_TO, to_model, 0), 1);
}

void weirp_metrics_retry(weirp_metrics *m, size_t deployment) {
    if (deployment < m->names.n_deployments) add(cell(m, WEIRP_TABLE_RETRIES, deployment, 0), 1);
}

void weirp_metrics_hedge(weirp_metrics *m, size_t deployment, bool won) {
    if (deployment < m->names.n_deployments) add(cell(m, WEIRP_TABLE_HEDGES, deployment, won), 1);
}

void weirp_metrics_active(weirp_metrics *m, int requests, int streams) {
    add(cell(m, WEIRP_TABLE_ACTIVE_REQUESTS, 0, 0), (uint64_t)(int64_t)requests);
    add(cell(m, WEIRP_TABLE_ACTIVE_STREAMS, 0, 0), (uint64_t)(int64_t)streams);
}

void weirp_metrics_client_gone(weirp_metrics *m) {
    add(cell(m, WEIRP_TABLE_CLIENT_GONE, 0, 0), 1);
}

/* ---- after a reload ---- */

static const char *row_name(const weirp_metric_names *names, weirp_axis axis, size_t row) {
    switch (axis) {
    case WEIRP_AXIS_ONE: break;
    case WEIRP_AXIS_ENDPOINT: return names->endpoints[row];
    case WEIRP_AXIS_MODEL: return names->models[row];
    case WEIRP_AXIS_DEPLOYMENT: return names->deployments[row];
    }
    return "";
}

static void carry_row(weirp_metrics *m, const weirp_metrics *old, weirp_table t, size_t to, size_t from) {
    for (size_t c = 0; c < weirp_table_shapes[t].columns; c++) {
        uint64_t bits = atomic_load_explicit(cell(old, t, from, c), memory_order_relaxed);
        double real;
        memcpy(&real, &bits, sizeof real);
        if (weirp_table_shapes[t].kind == WEIRP_CELL_REAL)
            add_real(cell(m, t, to, c), real);
        else
            add(cell(m, t, to, c), bits);
    }
}

static weir_status carry_axis(weirp_metrics *m, const weirp_metrics *old, weirp_axis axis, weir_error *err) {
    weirp_names names = {0};
    weir_status st = WEIR_OK;
    size_t n = weirp_axis_size(&m->names, axis);
    size_t *row_of = weirp_array(n, sizeof *row_of); /* a name that came before keeps its first row */
    if (!row_of) st = weirp_nomem(err);
    for (size_t row = 0; row < n && !st; row++) {
        const char *name = row_name(&m->names, axis, row);
        bool added;
        if (!name) continue;
        size_t at = weirp_names_add(&names, name, strlen(name), &added);
        if (at == WEIRP_NO_NAME)
            st = weirp_nomem(err);
        else if (added)
            row_of[at] = row;
    }
    for (size_t row = 0; row < weirp_axis_size(&old->names, axis) && !st; row++) {
        const char *name = row_name(&old->names, axis, row);
        size_t at = name ? weirp_names_find(&names, name, strlen(name)) : WEIRP_NO_NAME;
        for (size_t t = 0; t < WEIRP_N_TABLES && at != WEIRP_NO_NAME; t++)
            if (weirp_table_shapes[t].axis == axis && weirp_table_shapes[t].kind != WEIRP_CELL_GAUGE)
                carry_row(m, old, (weirp_table)t, row_of[at], row);
    }
    weirp_names_free(&names);
    free(row_of);
    return st;
}

weir_status weirp_metrics_carry(weirp_metrics *m, const weirp_metrics *old, weir_error *err) {
    static const weirp_axis axes[] = {WEIRP_AXIS_ONE, WEIRP_AXIS_ENDPOINT, WEIRP_AXIS_MODEL, WEIRP_AXIS_DEPLOYMENT};
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < sizeof axes / sizeof axes[0] && !st; i++) st = carry_axis(m, old, axes[i], err);
    return st;
}

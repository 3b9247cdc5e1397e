/* population.c: outcomes as a population that logs can be drawn from. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/population.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/router/session.h"

void weirp_population_free(weirp_population *p) {
    for (size_t m = 0; p->model && m < p->n_models; m++) free(p->model[m]);
    for (size_t k = 0; k < WEIR_N_METRICS; k++) free(p->metric[k]);
    free(p->model);
    free(p->quality_hat);
    free(p->cost_hat);
    free(p->dense);
    weirp_ope_table_free(p->table);
    *p = (weirp_population){.n = 0};
}

/* ---- outcomes ---- */

/* Models that both know; places in the data and in the router. */
static weir_status find_models(weirp_population *p, const weir_dataset *data, const weir_router *router,
                               size_t **in_data, size_t **in_router, weir_error *err) {
    *in_data = weirp_array(data->n_models, sizeof **in_data);
    *in_router = weirp_array(data->n_models, sizeof **in_router);
    p->model = weirp_array(data->n_models, sizeof *p->model);
    if (!*in_data || !*in_router || !p->model) return weirp_nomem(err);
    for (size_t m = 0; m < data->n_models; m++) {
        const size_t at = weir_router_find_model(router, data->model_names[m]);
        if (at == (size_t)-1) continue;
        (*in_data)[p->n_models] = m;
        (*in_router)[p->n_models] = at;
        if (!(p->model[p->n_models++] = strdup(data->model_names[m]))) return weirp_nomem(err);
    }
    if (p->n_models < 2) return weirp_fail(err, WEIR_NODATA, 0, "data and store have fewer than two models in common");
    return WEIR_OK;
}

static double *cells(const weirp_population *p, size_t n) {
    return weirp_array(n * p->n_models, sizeof(double));
}

static bool complete(const weir_dataset *data, size_t i, const size_t *in_data, size_t n_models) {
    for (size_t m = 0; m < n_models; m++) {
        const size_t at = i * data->n_models + in_data[m];
        if (!data->quality || isnan(data->quality[at]) || (data->cost_usd && isnan(data->cost_usd[at]))) return false;
    }
    return true;
}

static void take(weirp_population *p, const weir_dataset *data, size_t i, const size_t *in_data,
                 const size_t *in_router, const weir_session *session, double value_usd) {
    const weir_estimates *e = &session->workspace.estimates;
    const size_t row = p->n++;
    for (size_t m = 0; m < p->n_models; m++) {
        const size_t from = i * data->n_models + in_data[m], to = row * p->n_models + m;
        const double quality = data->quality[from], cost = data->cost_usd ? data->cost_usd[from] : NAN;
        p->metric[WEIR_METRIC_QUALITY][to] = quality;
        if (data->cost_usd) p->metric[WEIR_METRIC_COST][to] = cost;
        if (data->latency_ms) p->metric[WEIR_METRIC_LATENCY][to] = data->latency_ms[from];
        if (p->metric[WEIR_METRIC_LOSS]) p->metric[WEIR_METRIC_LOSS][to] = value_usd * (1 - quality) + cost;
        p->quality_hat[to] = e->quality[in_router[m]];
        p->cost_hat[to] = e->cost_usd[in_router[m]];
    }
    memcpy(p->dense + row * p->dim, session->workspace.features.dense, p->dim * sizeof *p->dense);
}

static weir_status make_tables(weirp_population *p, const weir_dataset *data, size_t dim, double value_usd,
                               weir_error *err) {
    const size_t n = data->n_prompts;
    p->dim = dim;
    p->quality_hat = cells(p, n);
    p->cost_hat = cells(p, n);
    p->dense = weirp_array(n * dim, sizeof *p->dense);
    p->metric[WEIR_METRIC_QUALITY] = cells(p, n);
    if (data->cost_usd) p->metric[WEIR_METRIC_COST] = cells(p, n);
    if (data->latency_ms) p->metric[WEIR_METRIC_LATENCY] = cells(p, n);
    if (data->cost_usd && value_usd > 0) p->metric[WEIR_METRIC_LOSS] = cells(p, n);
    const bool all = p->quality_hat && p->cost_hat && p->dense && p->metric[WEIR_METRIC_QUALITY] &&
                     (!data->cost_usd || p->metric[WEIR_METRIC_COST]) &&
                     (!data->latency_ms || p->metric[WEIR_METRIC_LATENCY]) &&
                     (!data->cost_usd || value_usd <= 0 || p->metric[WEIR_METRIC_LOSS]);
    return all ? WEIR_OK : weirp_nomem(err);
}

/* ---- rows ---- */

/* The row of a prompt, with a model chosen at these chances. */
static weirp_logged_row row_of(const weirp_population *p, size_t prompt, size_t model, const double *chances) {
    weirp_logged_row row = {.file = "drawn",
                            .line = prompt + 1,
                            .id = "",
                            .session = "",
                            .segment = "",
                            .logger = "",
                            .time_ms = WEIRP_LOGGED_NO_TIME,
                            .chosen = model,
                            .p = chances[model],
                            .propensity = chances,
                            .quality_hat = p->quality_hat + prompt * p->n_models,
                            .cost_hat = p->cost_hat + prompt * p->n_models,
                            .dense = p->dense + prompt * p->dim,
                            .dim = p->dim};
    for (size_t k = 0; k < WEIR_N_METRICS; k++)
        row.metric[k] = p->metric[k] && k != WEIR_METRIC_LOSS ? p->metric[k][prompt * p->n_models + model] : NAN;
    return row;
}

static weir_status new_table(const weirp_population *p, weirp_ope_table **out, size_t *model, weir_error *err) {
    weir_status st = weirp_ope_table_new(out, err);
    for (size_t m = 0; m < p->n_models && st == WEIR_OK; m++)
        st = weirp_ope_table_model(*out, p->model[m], &model[m], err);
    return st;
}

static weir_status make_asking_table(weirp_population *p, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t *model = weirp_array(p->n_models, sizeof *model);
    double *even = cells(p, 1);
    if (!model || !even) WEIRP_TRY(weirp_nomem(err));
    for (size_t m = 0; m < p->n_models; m++) even[m] = 1 / (double)p->n_models;
    WEIRP_TRY(new_table(p, &p->table, model, err));
    for (size_t i = 0; i < p->n; i++) {
        const weirp_logged_row row = row_of(p, i, 0, even);
        WEIRP_TRY(weirp_ope_table_add(p->table, &row, p->n_models, model, err));
    }
    st = weirp_ope_table_finish(p->table, 0, err);
done:
    free(model);
    free(even);
    return st;
}

weir_status weirp_population_make(weirp_population *p, const weir_dataset *data, const weir_router *router,
                                  double value_usd, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t *in_data = NULL, *in_router = NULL;
    weir_session *session = NULL;
    *p = (weirp_population){.n = 0};
    WEIRP_TRY(find_models(p, data, router, &in_data, &in_router, err));
    WEIRP_TRY(weir_session_new(&session, router, err));
    for (size_t i = 0; i < data->n_prompts; i++) {
        const weir_estimates *e;
        if (!complete(data, i, in_data, p->n_models)) continue;
        WEIRP_TRY(weir_estimate(session, data->prompts[i], data->prompt_lens[i], &e, err));
        if (!p->n) WEIRP_TRY(make_tables(p, data, session->workspace.features.dim, value_usd, err));
        take(p, data, i, in_data, in_router, session, value_usd);
    }
    if (!p->n) WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0, "no prompt has an outcome of every model"));
    st = make_asking_table(p, err);
done:
    weir_session_free(session);
    free(in_data);
    free(in_router);
    return st;
}

weir_status weirp_population_ask(const weirp_population *p, const char *policy, const weir_router *router, double knob,
                                 double *chances, weir_error *err) {
    weirp_ope_target *target = NULL;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    size_t n_undecided = 0;
    weir_status st = weirp_ope_target_new(&target, policy, p->table, router, err);
    if (st == WEIR_OK && !isnan(knob)) st = weirp_ope_target_turn(target, knob, err);
    if (st == WEIR_OK) st = weirp_scan_new(&scan, p->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        st = weirp_ope_target_fill(target, &b, chances + b.first * p->n_models, &n_undecided, err);
    weirp_scan_free(scan);
    weirp_ope_target_free(target);
    if (st != WEIR_END) return st;
    if (n_undecided)
        return weirp_fail(err, WEIR_NODATA, 0, "policy \"%s\" can't decide %zu of %zu prompts", policy, n_undecided,
                          p->n);
    return WEIR_OK;
}

double weirp_population_mean(const weirp_population *p, const double *chances, weir_metric metric) {
    double sum = 0;
    if (!p->metric[metric]) return NAN;
    for (size_t i = 0; i < p->n * p->n_models; i++)
        if (chances[i] > 0) sum += chances[i] * p->metric[metric][i];
    return sum / (double)p->n;
}

typedef struct weighted {
    double x, w;
} weighted;

static int by_x(const void *a, const void *b) {
    const weighted *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

weir_status weirp_population_quantiles(const weirp_population *p, const double *chances, weir_metric metric,
                                       double quantile[WEIRP_N_QUANTILES], weir_error *err) {
    size_t n = 0;
    double all = 0, below = 0;
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++) quantile[k] = NAN;
    if (!p->metric[metric]) return WEIR_OK;
    weighted *some = weirp_array(p->n * p->n_models, sizeof *some);
    if (!some) return weirp_nomem(err);
    for (size_t i = 0; i < p->n * p->n_models; i++) {
        if (!(chances[i] > 0) || isnan(p->metric[metric][i])) continue;
        some[n++] = (weighted){p->metric[metric][i], chances[i]};
        all += chances[i];
    }
    qsort(some, n, sizeof *some, by_x);
    for (size_t i = 0, k = 0; i < n && k < WEIRP_N_QUANTILES; i++)
        for (below += some[i].w; k < WEIRP_N_QUANTILES && below >= weirp_quantile_levels[k] * all * (1 - 1e-12); k++)
            quantile[k] = some[i].x;
    free(some);
    return WEIR_OK;
}

weir_status weirp_population_draw(const weirp_population *p, const double *logging, size_t n, uint64_t seed,
                                  double value_usd, weirp_ope_table **out, uint32_t *prompt, uint32_t *model,
                                  weir_error *err) {
    weir_status st = WEIR_OK;
    size_t *place = weirp_array(p->n_models, sizeof *place);
    *out = NULL;
    if (!place) return weirp_nomem(err);
    WEIRP_TRY(new_table(p, out, place, err));
    for (size_t i = 0; i < n; i++) {
        const size_t x = (size_t)(weirp_random_uniform(seed, 0, i) * (double)p->n);
        const double *chance = logging + x * p->n_models;
        double u = weirp_random_uniform(seed, 1, i);
        size_t a = 0;
        while (a + 1 < p->n_models && (u -= chance[a]) >= 0) a++;
        while (a > 0 && chance[a] <= 0) a--; /* rounding at the end of the sum */
        const weirp_logged_row row = row_of(p, x, a, chance);
        WEIRP_TRY(weirp_ope_table_add(*out, &row, p->n_models, place, err));
        if (prompt) prompt[i] = (uint32_t)x;
        if (model) model[i] = (uint32_t)a;
    }
    st = weirp_ope_table_finish(*out, value_usd, err);
done:
    free(place);
    if (st != WEIR_OK) weirp_ope_table_free(*out), *out = NULL;
    return st;
}

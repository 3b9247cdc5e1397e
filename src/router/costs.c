/* costs.c: predicted cost and latency of every model. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/router/costs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/price/price.h"
#include "src/router/logmodel.h"

#define COVERAGE 0.9
/* Prices read off recorded costs and tokens are believed when they explain the costs to this relative error. */
#define IMPLIED_PRICE_TOLERANCE 0.02
#define IMPLIED_PRICE_MIN_ROWS  8
/* A recorded cost of nothing (a cache, a free tier) still has a logarithm. */
#define LEAST_COST    1e-9
#define LEAST_LATENCY 1e-3 /* ms */

static weirp_log_model *parts(weirp_costs *c, size_t i) {
    weirp_log_model *all[] = {&c->input_tokens, &c->output_tokens, &c->cost, &c->latency};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

weir_status weirp_costs_init(weirp_costs *c, size_t n_models, weir_error *err) {
    memset(c, 0, sizeof *c);
    weir_status st = WEIR_OK;
    if (!(c->source = weirp_array(n_models, 1))) return weirp_nomem(err);
    for (size_t i = 0; st == WEIR_OK && parts(c, i); i++) st = weirp_log_model_init(parts(c, i), n_models, err);
    if (st != WEIR_OK) weirp_costs_clear(c);
    return st;
}

void weirp_costs_clear(weirp_costs *c) {
    for (size_t i = 0; parts(c, i); i++) weirp_log_model_clear(parts(c, i));
    free(c->source);
    memset(c, 0, sizeof *c);
}

weir_status weirp_costs_grow(weirp_costs *c, size_t n_models, weir_error *err) {
    uint8_t *source = realloc(c->source, n_models);
    if (!source) return weirp_nomem(err);
    c->source = source;
    c->source[n_models - 1] = WEIRP_COST_NONE;
    for (size_t i = 0; parts(c, i); i++) {
        weir_status st = weirp_log_model_grow(parts(c, i), n_models, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

void weirp_costs_save(const weirp_costs *c, size_t n_models, weirp_writer *w) {
    weirp_put_u8s(w, c->source, n_models);
    for (size_t i = 0; parts((weirp_costs *)c, i); i++) weirp_log_model_save(parts((weirp_costs *)c, i), n_models, w);
}

weir_status weirp_costs_load(weirp_costs *c, size_t n_models, weirp_bytes *r, weir_error *err) {
    memset(c, 0, sizeof *c);
    c->source = weirp_get_u8s(r, n_models);
    weir_status st = c->source ? WEIR_OK : weirp_fail(err, WEIR_CORRUPT, 0, "costs: the section is cut short");
    for (size_t i = 0; st == WEIR_OK && parts(c, i); i++) st = weirp_log_model_load(parts(c, i), n_models, r, err);
    for (size_t i = 0; st == WEIR_OK && i < n_models; i++)
        if (c->source[i] > WEIRP_COST_DIRECT) st = weirp_fail(err, WEIR_CORRUPT, 0, "costs: unknown source");
    if (st != WEIR_OK) weirp_costs_clear(c);
    return st;
}

void weirp_costs_save_levels(const weirp_costs *c, size_t n_models, weirp_writer *w) {
    weirp_put_u8s(w, c->source, n_models);
    for (size_t i = 0; parts((weirp_costs *)c, i); i++)
        weirp_log_model_save_levels(parts((weirp_costs *)c, i), n_models, w);
}

static bool get_sources(uint8_t *source, size_t n_models, weirp_bytes *r) {
    if (weirp_get_u64(r) != n_models) return false;
    weirp_get(r, source, n_models);
    for (size_t m = 0; m < n_models; m++)
        if (source[m] > WEIRP_COST_DIRECT) return false;
    return !r->failed;
}

bool weirp_costs_load_levels(weirp_costs *c, size_t n_models, weirp_bytes *r) {
    bool good = get_sources(c->source, n_models, r);
    for (size_t i = 0; good && parts(c, i); i++) good = weirp_log_model_load_levels(parts(c, i), n_models, r);
    return good;
}

weir_status weirp_costs_copy(weirp_costs *to, const weirp_costs *c, size_t n_models, weir_error *err) {
    weir_status st = weirp_costs_init(to, n_models, err);
    if (st != WEIR_OK) return st;
    memcpy(to->source, c->source, n_models);
    for (size_t i = 0; st == WEIR_OK && parts(to, i); i++)
        st = weirp_log_model_copy(parts(to, i), parts((weirp_costs *)c, i), n_models, err);
    return st;
}

/* ---- prices that recorded costs and tokens imply ---- */

/* Least squares of cost on (input, output) tokens, relative to the cost so that short answers count as much. */
static bool implied_prices(const weir_dataset *d, size_t j, double *in_price, double *out_price) {
    double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0;
    size_t n = 0;
    for (size_t i = 0; i < d->n_prompts; i++) {
        size_t at = i * d->n_models + j;
        double c = d->cost_usd[at], x = d->input_tokens[at], y = d->output_tokens[at];
        if (!(c > 0) || isnan(x) || isnan(y)) continue;
        x /= c, y /= c;
        a11 += x * x, a12 += x * y, a22 += y * y, b1 += x, b2 += y, n++;
    }
    double det = a11 * a22 - a12 * a12;
    if (n < IMPLIED_PRICE_MIN_ROWS || det <= 1e-12 * a11 * a22) return false;
    double p = (b1 * a22 - b2 * a12) / det, q = (b2 * a11 - b1 * a12) / det, square = 0;
    if (p < 0 || q < 0) return false;
    for (size_t i = 0; i < d->n_prompts; i++) {
        size_t at = i * d->n_models + j;
        double c = d->cost_usd[at], x = d->input_tokens[at], y = d->output_tokens[at];
        if (!(c > 0) || isnan(x) || isnan(y)) continue;
        square += (1 - (p * x + q * y) / c) * (1 - (p * x + q * y) / c);
    }
    *in_price = p * 1e6;
    *out_price = q * 1e6;
    return sqrt(square / (double)n) <= IMPLIED_PRICE_TOLERANCE;
}

static bool any_known(const double *column, size_t n, size_t n_models, size_t j) {
    for (size_t i = 0; column && i < n; i++)
        if (!isnan(column[i * n_models + j])) return true;
    return false;
}

static void choose_sources(weirp_costs *c, weir_pool *pool, const weir_dataset *d) {
    for (size_t j = 0; j < d->n_models; j++) {
        weir_model *m = &pool->models[j];
        bool tokens = d->input_tokens && d->output_tokens;
        if (tokens && d->cost_usd && isnan(m->input_usd_per_mtok) && isnan(m->output_usd_per_mtok))
            (void)(implied_prices(d, j, &m->input_usd_per_mtok, &m->output_usd_per_mtok) ||
                   (m->input_usd_per_mtok = m->output_usd_per_mtok = NAN, false));
        bool priced = !isnan(m->input_usd_per_mtok) && !isnan(m->output_usd_per_mtok);
        if (priced && d->output_tokens)
            c->source[j] = WEIRP_COST_TOKENS;
        else if (any_known(d->cost_usd, d->n_prompts, d->n_models, j))
            c->source[j] = WEIRP_COST_DIRECT;
        else
            c->source[j] = WEIRP_COST_NONE;
    }
}

/* ---- fitting ---- */

typedef double (*log_of)(const weirp_costs_input *in, size_t row, size_t at);

static double log_input(const weirp_costs_input *in, size_t row, size_t at) {
    return log(fmax(in->data->input_tokens[at], 1) / fmax(in->approximate_tokens[row], 1));
}
static double log_output(const weirp_costs_input *in, size_t row, size_t at) {
    (void)row;
    return log1p(in->data->output_tokens[at]);
}
static double log_cost(const weirp_costs_input *in, size_t row, size_t at) {
    (void)row;
    return log(fmax(in->data->cost_usd[at], LEAST_COST));
}
static double log_latency(const weirp_costs_input *in, size_t row, size_t at) {
    (void)row;
    return log(fmax(in->data->latency_ms[at], LEAST_LATENCY));
}

/* Targets on the log scale, the shape, and what its residuals say. `held_out` (n, n_models) is filled. */
static weir_status fit_part(weirp_log_model *m, const weirp_costs_input *in, const double *column, log_of f,
                            double *held_out, weir_error *err) {
    size_t n = in->data->n_prompts, k = in->data->n_models, known = 0;
    for (size_t at = 0; at < n * k; at++) held_out[at] = NAN;
    if (!column) return WEIR_OK;
    double *target = weirp_array(n * k, sizeof(double));
    if (!target) return weirp_nomem(err);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < k; j++) {
            double v = isnan(column[i * k + j]) ? NAN : f(in, i, i * k + j);
            target[i * k + j] = v;
            known += !isnan(v);
        }
    weir_status st = WEIR_OK;
    if (known) {
        weirp_sample s = *in->sample;
        s.target = target;
        s.lo = -INFINITY, s.hi = INFINITY;
        WEIRP_TRY(weirp_log_model_fit(m, &s, in->folds, held_out, err));
        WEIRP_TRY(weirp_log_model_residuals(m, target, held_out, n, k, COVERAGE, err));
        /* a model without data of its own has the shape's borrowed prediction */
        for (size_t j = 0; j < k; j++)
            if (isnan(m->level[j])) m->level[j] = 0;
    }
done:
    free(target);
    return st;
}

static double tokens_cost(const weirp_costs *c, const weir_pool *pool, size_t j, double approximate, double log_in,
                          double log_out, double *in_tokens, double *out_tokens) {
    if (isnan(log_in)) log_in = 0; /* no counts from the vendor yet: the text's own */
    *in_tokens = approximate * exp(log_in) * c->input_tokens.smear[j];
    *out_tokens = isnan(log_out) ? NAN : fmax(exp(log_out) * c->output_tokens.smear[j] - 1, 0);
    return weirp_price(&pool->models[j], *in_tokens, *out_tokens);
}

/* The interval of a cost made from tokens comes from how the whole estimate errs. */
static weir_status fit_total(weirp_costs *c, const weir_pool *pool, const weirp_costs_input *in, const double *h_in,
                             const double *h_out, double *held_out, weir_error *err) {
    const weir_dataset *d = in->data;
    size_t cells = d->n_prompts * d->n_models;
    double *actual = weirp_array(cells, sizeof(double)), *estimate = weirp_array(cells, sizeof(double));
    weir_status st = actual && estimate ? WEIR_OK : weirp_nomem(err);
    for (size_t at = 0; st == WEIR_OK && at < cells; at++) {
        size_t i = at / d->n_models, j = at % d->n_models;
        actual[at] = estimate[at] = NAN;
        if (c->source[j] != WEIRP_COST_TOKENS) continue;
        double tin, tout, cost = d->cost_usd ? d->cost_usd[at] : NAN;
        held_out[at] = tokens_cost(c, pool, j, in->approximate_tokens[i], h_in[at], h_out[at], &tin, &tout);
        if (isnan(cost) && d->input_tokens && d->output_tokens)
            cost = weirp_price(&pool->models[j], d->input_tokens[at], d->output_tokens[at]);
        if (!isnan(cost)) actual[at] = log(fmax(cost, LEAST_COST));
        estimate[at] = log(fmax(held_out[at], LEAST_COST));
    }
    if (st == WEIR_OK)
        st = weirp_log_model_residuals(&c->cost, actual, estimate, d->n_prompts, d->n_models, COVERAGE, err);
    free(actual);
    free(estimate);
    return st;
}

static void mean_from_logs(const weirp_costs *c, size_t n, size_t n_models, double *held_out) {
    for (size_t at = 0; at < n * n_models; at++) {
        size_t j = at % n_models;
        held_out[at] = c->source[j] == WEIRP_COST_DIRECT ? exp(held_out[at]) * c->cost.smear[j] : NAN;
    }
}

weir_status weirp_costs_fit(weirp_costs *c, weir_pool *pool, const weirp_costs_input *in, double *held_out,
                            weir_error *err) {
    const weir_dataset *d = in->data;
    size_t cells = d->n_prompts * d->n_models;
    double *h_in = weirp_array(cells, sizeof(double)), *h_out = weirp_array(cells, sizeof(double));
    bool direct = false;
    weir_status st = WEIR_OK;
    if (!h_in || !h_out) {
        st = weirp_nomem(err);
        goto done;
    }
    choose_sources(c, pool, d);
    WEIRP_TRY(fit_part(&c->input_tokens, in, d->input_tokens, log_input, h_in, err));
    WEIRP_TRY(fit_part(&c->output_tokens, in, d->output_tokens, log_output, h_out, err));
    for (size_t j = 0; j < d->n_models; j++) direct |= c->source[j] == WEIRP_COST_DIRECT;
    WEIRP_TRY(fit_part(&c->cost, in, direct ? d->cost_usd : NULL, log_cost, held_out, err));
    mean_from_logs(c, d->n_prompts, d->n_models, held_out);
    WEIRP_TRY(fit_total(c, pool, in, h_in, h_out, held_out, err));
    WEIRP_TRY(fit_part(&c->latency, in, d->latency_ms, log_latency, h_in, err));
done:
    free(h_in);
    free(h_out);
    return st;
}

/* ---- predicting ---- */

size_t weirp_costs_scratch(const weirp_costs *c) {
    size_t most = 0;
    for (size_t i = 0; parts((weirp_costs *)c, i); i++) {
        size_t need = weirp_log_model_scratch(parts((weirp_costs *)c, i));
        if (need > most) most = need;
    }
    return most;
}

static void predict_tokens(const weirp_costs *c, const weir_pool *pool, const weirp_features *x, void *scratch,
                           double *tmp, weir_estimates *out) {
    size_t n = out->n_models, k = 0;
    double *log_in = tmp, *log_out = out->output_tokens, sum = 0;
    weirp_log_model_predict(&c->input_tokens, x, n, scratch, log_in);
    weirp_log_model_predict(&c->output_tokens, x, n, scratch, log_out);
    for (size_t j = 0; j < n; j++) {
        double tin, tout, cost = tokens_cost(c, pool, j, x->approximate_tokens, log_in[j], log_out[j], &tin, &tout);
        log_out[j] = tout;
        if (isfinite(tin)) sum += tin, k++;
        if (c->source[j] == WEIRP_COST_TOKENS) out->cost_usd[j] = cost;
    }
    out->input_tokens = k ? sum / (double)k : x->approximate_tokens;
}

void weirp_costs_predict(const weirp_costs *c, const weir_pool *pool, const weirp_features *x, void *scratch,
                         double *tmp, weir_estimates *out) {
    size_t n = out->n_models;
    weirp_log_model_predict(&c->cost, x, n, scratch, tmp);
    for (size_t j = 0; j < n; j++)
        out->cost_usd[j] = c->source[j] == WEIRP_COST_DIRECT ? exp(tmp[j]) * c->cost.smear[j] : NAN;
    predict_tokens(c, pool, x, scratch, tmp, out);
    for (size_t j = 0; j < n; j++) {
        /* residuals of DIRECT are to the median, those of TOKENS to the mean */
        double centre = c->source[j] == WEIRP_COST_DIRECT ? out->cost_usd[j] / c->cost.smear[j] : out->cost_usd[j];
        out->cost_lo[j] = centre * exp(c->cost.lo[j]);
        out->cost_hi[j] = centre * exp(c->cost.hi[j]);
        out->cost_sd[j] = out->cost_usd[j] * fmin(c->cost.spread[j], 3);
    }
    weirp_log_model_predict(&c->latency, x, n, scratch, tmp);
    for (size_t j = 0; j < n; j++) {
        out->latency_ms[j] = exp(tmp[j]) * c->latency.smear[j];
        out->latency_p95[j] = exp(tmp[j] + c->latency.hi[j]);
    }
}

/* ---- learning ---- */

static void update_part(weirp_log_model *m, const weirp_features *x, size_t n, size_t model, double log_y,
                        void *scratch, double *tmp) {
    if (!isfinite(log_y)) return;
    weirp_log_model_predict(m, x, n, scratch, tmp);
    weirp_log_model_update(m, model, tmp[model], log_y);
}

void weirp_costs_update(weirp_costs *c, const weir_pool *pool, const weirp_features *x, size_t model,
                        const weir_outcome *seen, void *scratch, double *tmp) {
    size_t n = pool->n_models;
    const weir_model *m = &pool->models[model];
    bool priced = !isnan(m->input_usd_per_mtok) && !isnan(m->output_usd_per_mtok);
    if (c->source[model] == WEIRP_COST_NONE && priced && !isnan(seen->output_tokens))
        c->source[model] = WEIRP_COST_TOKENS;
    else if (c->source[model] == WEIRP_COST_NONE && !isnan(seen->cost_usd))
        c->source[model] = WEIRP_COST_DIRECT;
    double ratio = isnan(seen->input_tokens) ? NAN : fmax(seen->input_tokens, 1) / fmax(x->approximate_tokens, 1);
    double cost = isnan(seen->cost_usd) ? NAN : fmax(seen->cost_usd, LEAST_COST);
    double latency = isnan(seen->latency_ms) ? NAN : fmax(seen->latency_ms, LEAST_LATENCY);
    update_part(&c->input_tokens, x, n, model, log(ratio), scratch, tmp);
    update_part(&c->output_tokens, x, n, model, log1p(seen->output_tokens), scratch, tmp);
    if (c->source[model] == WEIRP_COST_DIRECT) update_part(&c->cost, x, n, model, log(cost), scratch, tmp);
    update_part(&c->latency, x, n, model, log(latency), scratch, tmp);
}

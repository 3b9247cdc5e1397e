/* tables.c: outcomes and estimates side by side; which prompts of them can be judged.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

enum { N_TABLES = 11 };

/* The (n, n_models) tables of numbers, for loops over all of them. */
static double **table(weirp_tables *t, size_t i) {
    double **const all[N_TABLES] = {&t->quality, &t->cost_usd, &t->latency_ms, &t->q_hat, &t->q_sd, &t->q_lo,
                                    &t->q_hi,    &t->c_hat,    &t->c_sd,       &t->c_lo,  &t->c_hi};
    return all[i];
}

weir_status weirp_tables_name(char **slot, const char *text, weir_error *err) {
    char *copy = weirp_strndup(text, strlen(text));
    if (!copy) return weirp_nomem(err);
    free(*slot);
    *slot = copy;
    return WEIR_OK;
}

static weir_status fill(weirp_tables *t, weir_error *err) {
    weir_status st = WEIR_OK;
    const size_t cells = t->n * t->n_models;
    if (t->n && cells / t->n != t->n_models) return weirp_nomem(err);
    for (size_t k = 0; k < N_TABLES; k++) {
        double *values = *table(t, k) = weirp_array(cells, sizeof *values);
        if (!values) return weirp_nomem(err);
        for (size_t i = 0; i < cells; i++) values[i] = NAN;
    }
    t->names = weirp_array(t->n_models, sizeof *t->names);
    t->tasks = weirp_array(t->n, sizeof *t->tasks);
    t->novelty = weirp_array(t->n, sizeof *t->novelty);
    t->eligible = weirp_array(cells, sizeof *t->eligible);
    t->fitted = weirp_array(t->n, sizeof *t->fitted);
    if (!t->names || !t->tasks || !t->novelty || !t->eligible || !t->fitted) return weirp_nomem(err);
    for (size_t i = 0; i < cells; i++) t->eligible[i] = true;
    for (size_t i = 0; i < t->n; i++) t->fitted[i] = true;
    for (size_t k = 0; k < t->n_models; k++) WEIRP_TRY(weirp_tables_name(&t->names[k], "", err));
    for (size_t i = 0; i < t->n; i++) WEIRP_TRY(weirp_tables_name(&t->tasks[i], "", err));
done:
    return st;
}

weir_status weirp_tables_new(weirp_tables **out, size_t n, size_t n_models, weir_error *err) {
    *out = NULL;
    weirp_tables *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    t->n = n, t->n_models = n_models, t->coverage = 0.9;
    const weir_status st = fill(t, err);
    if (st != WEIR_OK)
        weirp_tables_free(t);
    else
        *out = t;
    return st;
}

void weirp_tables_free(weirp_tables *t) {
    if (!t) return;
    for (size_t k = 0; k < N_TABLES; k++) free(*table(t, k));
    for (size_t k = 0; t->names && k < t->n_models; k++) free(t->names[k]);
    for (size_t i = 0; t->tasks && i < t->n; i++) free(t->tasks[i]);
    free(t->names), free(t->tasks), free(t->novelty), free(t->eligible), free(t->fitted);
    free(t);
}

/* Moves rows that stay to the front, in order; the others' tasks are freed. */
static void keep_rows(weirp_tables *t, const bool *stays) {
    const size_t m = t->n_models;
    size_t left = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!stays[i]) {
            free(t->tasks[i]);
            continue;
        }
        for (size_t k = 0; k < N_TABLES; k++)
            memmove(*table(t, k) + left * m, *table(t, k) + i * m, m * sizeof(double));
        memmove(t->eligible + left * m, t->eligible + i * m, m * sizeof *t->eligible);
        t->tasks[left] = t->tasks[i];
        t->novelty[left] = t->novelty[i];
        t->fitted[left++] = t->fitted[i];
    }
    t->n = left;
}

static size_t n_known(const double *row, size_t m) {
    size_t count = 0;
    for (size_t k = 0; k < m; k++) count += isfinite(row[k]);
    return count;
}

static bool any_eligible(const weirp_tables *t, size_t i) {
    for (size_t k = 0; k < t->n_models; k++)
        if (t->eligible[i * t->n_models + k]) return true;
    return false;
}

/* A model without a single cost makes the whole set one without costs: its place on the cost axis isn't known. */
static weir_status find_costs(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    size_t without = 0, nameless = 0, complete = 0;
    for (size_t k = 0; k < m; k++) {
        bool found = false;
        for (size_t i = 0; i < t->n && !found; i++) found = isfinite(t->cost_usd[i * m + k]);
        if (!found && without++ == 0) nameless = k;
    }
    for (size_t i = 0; i < t->n; i++)
        complete += n_known(t->quality + i * m, m) == m && n_known(t->cost_usd + i * m, m) == m;
    e->has_cost = without == 0 && complete > 0;
    if (e->has_cost) return WEIR_OK;
    if (without == m)
        return weirp_note(e, err,
                          "No costs in the data (no \"cost\", nor tokens with prices in a pool): no cost-quality "
                          "curve, AIQ or cost@p%%; what needs only quality is measured.");
    if (without > 0)
        return weirp_note(e, err, "No cost for %s%s: no cost-quality curve, AIQ or cost@p%%.", t->names[nameless],
                          without > 1 ? " and others" : "");
    return weirp_note(e, err, "No prompt has the cost of every model: no cost-quality curve, AIQ or cost@p%%.");
}

static weir_status tell_left_out(weir_evaluation *e, weir_error *err) {
    weir_status st = WEIR_OK;
    if (!e->has_curve) {
        WEIRP_TRY(weirp_note(e, err,
                             "No prompt has the label of every model: only the estimator is measured, on the "
                             "labels there are."));
        return WEIR_OK;
    }
    const size_t n = e->n_given;
    if (e->n_unlabelled)
        WEIRP_TRY(
            weirp_note(e, err, "%zu of %zu prompts left out: some model's label is missing.", e->n_unlabelled, n));
    if (e->n_without_cost)
        WEIRP_TRY(
            weirp_note(e, err, "%zu of %zu prompts left out: some model's cost is missing.", e->n_without_cost, n));
    if (e->n_not_eligible)
        WEIRP_TRY(weirp_note(e, err, "%zu of %zu prompts left out: no model may answer them.", e->n_not_eligible, n));
done:
    return st;
}

weir_status weirp_select_prompts(weir_evaluation *e, weir_error *err) {
    weirp_tables *t = e->tables;
    const size_t m = t->n_models;
    weir_status st = WEIR_OK;
    size_t used = 0, labels = 0;
    e->n_given = t->n;
    bool *stays = weirp_array(t->n, sizeof *stays);
    if (!stays) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < t->n; i++) labels += n_known(t->quality + i * m, m);
    if (m == 0 || labels == 0) WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0, "no quality label to evaluate on"));
    WEIRP_TRY(find_costs(e, err));
    for (size_t i = 0; i < t->n; i++) {
        if (n_known(t->quality + i * m, m) < m)
            e->n_unlabelled++;
        else if (e->has_cost && n_known(t->cost_usd + i * m, m) < m)
            e->n_without_cost++;
        else if (!any_eligible(t, i))
            e->n_not_eligible++;
        else
            stays[i] = true, used++;
    }
    e->has_curve = used > 0;
    if (!e->has_curve) {
        e->has_cost = false;
        for (size_t i = 0; i < t->n; i++) stays[i] = n_known(t->quality + i * m, m) > 0;
    }
    keep_rows(t, stays);
    WEIRP_TRY(tell_left_out(e, err));
done:
    free(stays);
    return st;
}

/* Estimates as the policies see them (policies/policy.h, weirp_view): quality clipped, an unknown cost as the dearest
 * that is known. The exact curve rests on it, and a test compares the two at many values. */
weir_status weirp_effective_estimates(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models, cells = t->n * m;
    e->q_eff = weirp_array(cells, sizeof *e->q_eff);
    e->c_eff = weirp_array(cells, sizeof *e->c_eff);
    if (!e->q_eff || !e->c_eff) return weirp_nomem(err);
    e->has_intervals = true;
    bool labels = true;
    for (size_t i = 0; i < cells; i++) {
        if (isfinite(t->c_hat[i])) e->estimates_cost = true;
        if (isnan(t->q_lo[i]) || isnan(t->q_hi[i])) e->has_intervals = false;
        if (!isfinite(t->q_hat[i])) labels = false;
    }
    for (size_t i = 0; i < t->n; i++) {
        double dearest = 0;
        for (size_t k = i * m; k < (i + 1) * m; k++)
            if (t->eligible[k] && isfinite(t->c_hat[k]) && t->c_hat[k] >= 0) dearest = fmax(dearest, t->c_hat[k]);
        for (size_t k = i * m; k < (i + 1) * m; k++) {
            const double q = t->q_hat[k], c = t->c_hat[k];
            e->q_eff[k] = !t->eligible[k] ? NAN : isnan(q) ? 0 : fmin(fmax(q, 0), 1);
            e->c_eff[k] = isfinite(c) && c >= 0 ? c : dearest;
        }
    }
    if (!labels) return weirp_note(e, err, "The router has no quality estimate for some cells; they count as 0.");
    if (e->has_cost && !e->estimates_cost)
        return weirp_note(e, err, "The router was trained without costs: its policies know only quality.");
    return WEIR_OK;
}

/* ope_trials.c: what came of many drawn logs, for people and machines (docs/formats.md, "Trials of estimators").
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/ope/trials.h"
#include "src/report/ope_report.h"

static double share(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : NAN;
}

static double rmse(const weirp_trial *t) {
    return t->n ? sqrt(t->sum_squares / (double)t->n) : NAN;
}

static double bias(const weirp_trial *t) {
    return t->n ? t->sum_error / (double)t->n : NAN;
}

/* The least error among main estimators that were to be had on every log. */
static double best_rmse(const weirp_trial_cell *c, size_t n_estimators) {
    double best = INFINITY;
    size_t most = 0;
    for (size_t e = 0; e < n_estimators; e++)
        if (c->estimator[e].n > most) most = c->estimator[e].n;
    for (size_t e = 0; e < n_estimators; e++)
        if (most && c->estimator[e].n == most && !weirp_ope_estimators[e].spare)
            best = fmin(best, rmse(&c->estimator[e]));
    return best;
}

/* ---- for machines ---- */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *trial_json(const weirp_trial *t) {
    json_t *coverage = json_object(), *width = json_object(), *below = json_object();
    for (size_t k = 0; k < WEIRP_N_INTERVALS; k++) {
        json_object_set_new(coverage, weirp_interval_names[k], number(share(t->covered[k], t->n_interval[k])));
        json_object_set_new(below, weirp_interval_names[k], number(share(t->below[k], t->n_interval[k])));
        json_object_set_new(width, weirp_interval_names[k],
                            number(t->n_interval[k] ? t->width[k] / (double)t->n_interval[k] : NAN));
    }
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "logs", (json_int_t)t->n, "bias", number(bias(t)), "rmse",
                     number(rmse(t)), "mean_se", number(t->n ? t->sum_se / (double)t->n : NAN), "coverage", coverage,
                     "truth_below", below, "mean_width", width);
}

/* Empty for a metric without a tail. */
static json_t *tail_json(const weirp_trial_cell *c) {
    json_t *array = json_array();
    for (size_t k = 0; k < WEIRP_N_QUANTILES && c->n_tails; k++)
        json_array_append_new(array, json_pack("{s:f, s:o, s:o}", "level", weirp_quantile_levels[k], "truth",
                                               number(c->quantile[k]), "coverage",
                                               number(share(c->quantile_covered[k], c->n_tails))));
    return array;
}

static json_t *cell_json(const weirp_trial_cell *c, size_t n_logs, size_t n_estimators) {
    const size_t n_judged = n_logs - c->n_refused;
    json_t *estimators = json_object();
    for (size_t e = 0; e < n_estimators; e++)
        if (c->estimator[e].n)
            json_object_set_new(estimators, weirp_ope_estimators[e].name, trial_json(&c->estimator[e]));
    return json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "truth", number(c->truth), "logged_truth",
                     number(c->logged_truth), "refused", (json_int_t)c->n_refused, "mean_ess",
                     number(n_judged ? c->sum_ess / (double)n_judged : NAN), "best_rmse",
                     number(best_rmse(c, n_estimators)), "estimators", estimators, "tail", tail_json(c));
}

static json_t *verdicts_json(const weirp_trial_verdicts *v) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pairs", (json_int_t)v->n, "refused",
                     (json_int_t)v->n_refused, "same", (json_int_t)v->n_same, "told", (json_int_t)v->n_told, "wrong",
                     (json_int_t)v->n_wrong, "clear", (json_int_t)v->n_clear, "clear_told", (json_int_t)v->n_clear_told,
                     "refused_clear", (json_int_t)v->n_refused_clear);
}

static json_t *curve_json(const weir_ope_trials *t) {
    if (!t->n_curves) return json_null();
    const double n = (double)t->n_curves;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o}", "logs", (json_int_t)t->n_curves, "true_aiq", number(t->true_aiq),
                     "aiq_bias", number(t->sum_aiq / n), "aiq_rmse", number(sqrt(t->sum_aiq_squares / n)),
                     "aiq_coverage", number(share(t->n_aiq_covered, t->n_curves)), "band_coverage",
                     number(share(t->n_bands_covered, t->n_curves)));
}

weir_status weir_ope_trials_json(const weir_ope_trials *t, char **json, weir_error *err) {
    json_t *policies = json_array(), *verdicts = json_object();
    for (size_t p = 0; p < t->n_policies; p++) {
        json_t *metrics = json_object();
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
            if (t->cell[p * WEIR_N_METRICS + m].asked)
                json_object_set_new(metrics, weir_metric_name(m),
                                    cell_json(&t->cell[p * WEIR_N_METRICS + m], t->n_logs, t->n_estimators));
        json_array_append_new(policies, json_pack("{s:s, s:o}", "name", t->policy[p], "metrics", metrics));
    }
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (t->verdicts[m].n) json_object_set_new(verdicts, weir_metric_name(m), verdicts_json(&t->verdicts[m]));
    json_t *o =
        json_pack("{s:I, s:[I, I], s:I, s:I, s:s, s:s, s:s, s:f, s:o, s:o, s:{s:I, s:o}, s:o, s:f}", "logs",
                  (json_int_t)t->n_logs, "rows", (json_int_t)t->least_rows, (json_int_t)t->most_rows, "prompts",
                  (json_int_t)t->n_prompts, "models", (json_int_t)t->n_models, "logging", t->logging, "estimator",
                  t->recommended, "interval", t->interval, "level", t->level, "policies", policies, "verdicts",
                  verdicts, "sequence", "logs", (json_int_t)t->n_sequences, "coverage",
                  number(share(t->n_sequences_right, t->n_sequences)), "curve", curve_json(t), "seconds", t->seconds);
    *json = o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}

/* ---- for people ---- */

static void cell(char *out, const char *format, double x) {
    if (isnan(x))
        snprintf(out, WEIRP_CELL, "-");
    else
        snprintf(out, WEIRP_CELL, format, x);
}

static weir_status put_cell(const weir_ope_trials *t, size_t p, weir_metric m, FILE *out, size_t width,
                            weir_error *err) {
    static const weirp_column columns[] = {{"estimator", true, 0},   {"bias", false, 1},    {"RMSE", false, 0},
                                           {"/ best", false, 0},     {"mean se", false, 2}, {"t", false, 0},
                                           {"percentile", false, 3}, {"bca", false, 3},     {"bernstein", false, 4}};
    static const weirp_interval_kind shown[] = {WEIRP_INTERVAL_T, WEIRP_INTERVAL_PERCENTILE, WEIRP_INTERVAL_BCA,
                                                WEIRP_INTERVAL_BERNSTEIN};
    const weirp_trial_cell *c = &t->cell[p * WEIR_N_METRICS + m];
    const double scale = m == WEIR_METRIC_COST || m == WEIR_METRIC_LOSS ? 1000 : 1,
                 best = best_rmse(c, t->n_estimators);
    weirp_grid grid = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    fprintf(out, "\n%s of %s: truly %.4g%s (what ran: %.4g)", weir_metric_name(m), t->policy[p], c->truth * scale,
            scale > 1 ? " USD per 1,000" : "", c->logged_truth * scale);
    if (c->n_refused) fprintf(out, "; refused on %zu of %zu logs", c->n_refused, t->n_logs);
    fprintf(out, "\n");
    for (size_t e = 0; e < t->n_estimators; e++) {
        const weirp_trial *trial = &c->estimator[e];
        if (!trial->n || weirp_ope_estimators[e].spare) continue;
        char(*row)[WEIRP_CELL] = weirp_grid_row(&grid, strcmp(weirp_ope_estimators[e].name, t->recommended) == 0);
        if (!row) {
            weirp_grid_free(&grid);
            return weirp_nomem(err);
        }
        snprintf(row[0], WEIRP_CELL, "%s", weirp_ope_estimators[e].name);
        cell(row[1], "%+.5f", bias(trial) * scale);
        cell(row[2], "%.5f", rmse(trial) * scale);
        cell(row[3], "%.2f", rmse(trial) / best);
        cell(row[4], "%.5f", trial->sum_se / (double)trial->n * scale);
        for (size_t k = 0; k < sizeof shown / sizeof *shown; k++)
            cell(row[5 + k], "%.1f %%", 100 * share(trial->covered[shown[k]], trial->n_interval[shown[k]]));
    }
    weirp_grid_print(&grid, out, width, false);
    weirp_grid_free(&grid);
    for (size_t k = 0; k < WEIRP_N_QUANTILES && c->n_tails; k++)
        fprintf(out, "%s%g %% in %.1f %%%s",
                k ? ", " : "  intervals of quantiles hold: ", 100 * weirp_quantile_levels[k],
                100 * share(c->quantile_covered[k], c->n_tails), k + 1 < WEIRP_N_QUANTILES ? "" : "\n");
    return WEIR_OK;
}

weir_status weir_ope_trials_print(const weir_ope_trials *t, FILE *out, int columns, weir_error *err) {
    char count[WEIRP_CELL], rows[2][WEIRP_CELL];
    weirp_text_count(count, sizeof count, t->n_logs);
    weirp_text_count(rows[0], sizeof rows[0], t->least_rows);
    weirp_text_count(rows[1], sizeof rows[1], t->most_rows);
    fprintf(out, "%s logs of %s to %s rows, drawn from %zu prompts and %zu models by %s; intervals of %g %%\n", count,
            rows[0], rows[1], t->n_prompts, t->n_models, t->logging, 100 * t->level);
    for (size_t p = 0; p < t->n_policies; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
            if (!t->cell[p * WEIR_N_METRICS + m].asked) continue;
            weir_status st = put_cell(t, p, m, out, columns > 0 ? (size_t)columns : 80, err);
            if (st != WEIR_OK) return st;
        }
    fprintf(out, "\n");
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        const weirp_trial_verdicts *v = &t->verdicts[m];
        if (!v->n) continue;
        fprintf(out, "verdicts on %s: %zu pairs, %zu of them refused", weir_metric_name(m), v->n, v->n_refused);
        if (v->n_same) fprintf(out, ", %zu the same", v->n_same);
        fprintf(out,
                "; %zu told, %zu of them wrong; of %zu whose true difference is over twice its standard error %zu told "
                "and %zu refused\n",
                v->n_told, v->n_wrong, v->n_clear, v->n_clear_told, v->n_refused_clear);
    }
    if (t->n_sequences)
        fprintf(out, "confidence sequence: held at every row in %.1f %% of %zu logs\n",
                100 * share(t->n_sequences_right, t->n_sequences), t->n_sequences);
    if (t->n_curves)
        fprintf(out,
                "curve: true AIQ %.4f, estimated with bias %+.4f, its interval holds in %.1f %%, all of the band in "
                "%.1f %%\n",
                t->true_aiq, t->sum_aiq / (double)t->n_curves, 100 * share(t->n_aiq_covered, t->n_curves),
                100 * share(t->n_bands_covered, t->n_curves));
    return WEIR_OK;
}

weir_status weir_ope_trials_svg(const weir_ope_trials *t, FILE *out, weir_error *err) {
    return weir_ope_svg(&t->last, out, err);
}

/* ope_tables.c: the longer tables of an evaluation of a log: every estimator, tails, the curve.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/ope_report.h"

static void put_title(FILE *out, bool color, const char *title) {
    fprintf(out, "\n%s%s%s\n", color ? "\033[1m" : "", title, color ? "\033[0m" : "");
}

/* ---- estimators ---- */

static const char *const kinds[] = {"normal", "t", "percentile", "bca", "bernstein"};
enum { N_KINDS = sizeof kinds / sizeof *kinds, FIXED = 3 };

static weirp_interval of_kind(const weirp_ope_estimate *e, size_t kind) {
    const weirp_interval all[N_KINDS] = {e->normal, e->t, e->percentile, e->bca, e->bernstein};
    return all[kind];
}

static void put_estimate(char (*row)[WEIRP_CELL], const weir_ope *ope, weir_metric m, const weirp_ope_estimate *e) {
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    weirp_ope_scale finer = scale;
    finer.decimals += 1;
    snprintf(row[0], WEIRP_CELL, "%s", weirp_ope_estimators[e->estimator].name);
    if (e->why_not) {
        snprintf(row[1], WEIRP_CELL, "-");
        return;
    }
    weirp_ope_number(row[1], WEIRP_CELL, &scale, e->value, false);
    weirp_ope_number(row[2], WEIRP_CELL, &finer, e->se, false);
    for (size_t k = 0; k < N_KINDS; k++) weirp_ope_between(row[FIXED + k], WEIRP_CELL, &scale, of_kind(e, k), false);
    if (!isnan(e->lambda)) weirp_text_amount(row[FIXED + N_KINDS], WEIRP_CELL, e->lambda);
}

/* One of a grid of lambdas: of interest where that is what is being looked into. */
static bool given(const weir_ope *ope, size_t estimator) {
    const weirp_ope_estimator *e = &weirp_ope_estimators[estimator];
    return e->spare && strcmp(e->name, ope->recommended) != 0;
}

/* Why some estimators are missing, each reason once. */
static void put_reasons(const weir_ope *ope, const weirp_cell_result *cell, FILE *out, size_t width) {
    for (size_t i = 0; i < cell->n_estimates; i++) {
        const char *why = cell->estimate[i].why_not;
        char text[1024] = "";
        bool told = false;
        for (size_t k = 0; k < i && why; k++)
            told = told || (cell->estimate[k].why_not && strcmp(cell->estimate[k].why_not, why) == 0);
        if (!why || told || given(ope, cell->estimate[i].estimator)) continue;
        for (size_t k = i; k < cell->n_estimates; k++) {
            const char *same = cell->estimate[k].why_not;
            if (!same || strcmp(same, why) != 0 || given(ope, cell->estimate[k].estimator)) continue;
            const size_t at = strlen(text);
            snprintf(text + at, sizeof text - at, "%s%s", at ? ", " : "",
                     weirp_ope_estimators[cell->estimate[k].estimator].name);
        }
        const size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, ": %s", why);
        fputs("  ", out);
        weirp_ope_paragraph(text, out, width, 2, 4);
    }
}

static weir_status put_cell(const weir_ope *ope, weir_metric m, FILE *out, size_t width, bool color, weir_error *err) {
    weirp_column columns[FIXED + N_KINDS + 1] = {{"estimator", true, 0}, {"value", false, 0}, {"se", false, 0}};
    const weirp_cell_result *cell = weirp_ope_cell(ope, 0, m);
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    for (size_t k = 0; k < N_KINDS; k++) /* the kind that verdicts go by stays longest */
        columns[FIXED + k] = (weirp_column){kinds[k], false, strcmp(kinds[k], ope->interval) == 0 ? 0 : 3 + (int)k};
    columns[FIXED + N_KINDS] = (weirp_column){"lambda", false, 2};
    weirp_grid g = {.columns = columns, .n_columns = FIXED + N_KINDS + 1};
    char title[128];
    snprintf(title, sizeof title, "every estimator: %s%s%s", weirp_ope_metric_name(m), *scale.unit ? ", " : "",
             scale.unit);
    put_title(out, color, title);
    for (size_t i = 0; i < cell->n_estimates; i++) {
        const weirp_ope_estimate *e = &cell->estimate[i];
        if (given(ope, e->estimator)) continue;
        char(*row)[WEIRP_CELL] =
            weirp_grid_row(&g, strcmp(weirp_ope_estimators[e->estimator].name, ope->recommended) == 0);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        put_estimate(row, ope, m, e);
    }
    weirp_grid_print(&g, out, width, color);
    weirp_grid_free(&g);
    put_reasons(ope, cell, out, width);
    return WEIR_OK;
}

weir_status weirp_ope_put_estimators(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err) {
    enum { WHOLE = 150 }; /* columns that all kinds of intervals need */
    char note[256];
    bool any = false;
    size_t n_given = 0;
    for (size_t i = 0; weirp_ope_estimators[i].name; i++) n_given += given(ope, i);
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        if (!ope->n_policies || !weirp_ope_cell(ope, 0, m)->asked) continue;
        any = true;
        const weir_status st = put_cell(ope, m, out, width, color, err);
        if (st != WEIR_OK) return st;
    }
    if (!any) return WEIR_OK;
    snprintf(note, sizeof note, "%s%s%s", n_given ? "Estimators with a given lambda are in the JSON. " : "",
             ope->n_policies > 1 ? "Other policies' estimates are in the JSON. " : "",
             width < WHOLE ? "More kinds of intervals show on a wider terminal." : "");
    if (!*note) return WEIR_OK;
    fputc('\n', out);
    weirp_ope_paragraph(note, out, width, 0, 0);
    return WEIR_OK;
}

/* ---- tails ---- */

static void put_tail_rows(char (*row)[WEIRP_CELL], char (*range)[WEIRP_CELL], char (*mean)[WEIRP_CELL],
                          const weirp_ope_scale *scale, const weirp_tail *t) {
    snprintf(range[0], WEIRP_CELL, "  interval");
    snprintf(mean[0], WEIRP_CELL, "  CVaR");
    for (size_t i = 0; i < WEIRP_N_QUANTILES; i++) {
        weirp_ope_number(row[i + 1], WEIRP_CELL, scale, t->quantile[i], false);
        weirp_ope_between(range[i + 1], WEIRP_CELL, scale, t->quantile_t[i], false);
        weirp_ope_number(mean[i + 1], WEIRP_CELL, scale, t->cvar[i], false);
    }
}

static weir_status put_tail(const weir_ope *ope, weir_metric m, FILE *out, size_t width, bool color, weir_error *err) {
    char titles[WEIRP_N_QUANTILES][16];
    weirp_column columns[WEIRP_N_QUANTILES + 1] = {{"policy", true, 0}};
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    for (size_t i = 0; i < WEIRP_N_QUANTILES; i++) {
        snprintf(titles[i], sizeof titles[i], "%g %%", 100 * weirp_quantile_levels[i]);
        columns[i + 1] = (weirp_column){titles[i], false, i == 1 ? 1 : 0};
    }
    weirp_grid g = {.columns = columns, .n_columns = WEIRP_N_QUANTILES + 1};
    size_t n = 0;
    for (size_t p = 0; p < ope->n_policies; p++) {
        const weirp_tail *t = &weirp_ope_cell(ope, p, m)->tail;
        if (!weirp_ope_cell(ope, p, m)->asked || !t->known) continue;
        char(*last)[WEIRP_CELL] = weirp_grid_row(&g, p == 0);
        if (last) last = weirp_grid_row(&g, false);
        if (last) last = weirp_grid_row(&g, false);
        if (!last) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        char(*row)[WEIRP_CELL] = last - 2 * g.n_columns;
        weirp_text_fit(row[0], WEIRP_CELL, ope->policy[p], 30);
        put_tail_rows(row, last - g.n_columns, last, &scale, t);
        n++;
    }
    if (n) {
        char title[128];
        snprintf(title, sizeof title, "tail of the %s%s%s: quantiles, and CVaR, the mean beyond each",
                 weirp_ope_metric_name(m), *scale.unit ? ", " : "", scale.unit);
        put_title(out, color, title);
        weirp_grid_print(&g, out, width, color);
    }
    weirp_grid_free(&g);
    return WEIR_OK;
}

weir_status weirp_ope_put_tails(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err) {
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        const weir_status st = put_tail(ope, m, out, width, color, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

/* ---- the curve ---- */

/* What is never reached is NAN, or infinite; "[34.1 %, ∞]" where some draws never reach it. */
static void put_share(FILE *out, const char *label, double x, double lo, double hi) {
    if (isnan(x))
        fprintf(out, "  %-12s never", label);
    else
        fprintf(out, "  %-12s %.1f %%", label, 100 * x);
    if (!isnan(lo) && !isfinite(hi))
        fprintf(out, "  [%.1f %%, ∞]", 100 * lo);
    else if (!isnan(lo))
        fprintf(out, "  [%.1f %%, %.1f %%]", 100 * lo, 100 * hi);
    fputc('\n', out);
}

/* What mu does happens just below 1. */
static void knob_text(char *out, size_t size, const weirp_log_curve *c, double knob) {
    if (c->knob && strcmp(c->knob, "mu") == 0)
        snprintf(out, size, "%.6g", knob);
    else
        weirp_text_amount(out, size, knob);
}

static weir_status put_points(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err) {
    static const weirp_column columns[] = {{"knob", true, 0},         {"USD/1k", false, 0}, {"band", false, 1},
                                           {"quality", false, 0},     {"band", false, 0},   {"true USD/1k", false, 3},
                                           {"true quality", false, 2}};
    enum { MOST = 12 };
    const weirp_log_curve *c = &ope->curve;
    const weirp_ope_scale cost = weirp_ope_scale_of(ope, WEIR_METRIC_COST),
                          quality = weirp_ope_scale_of(ope, WEIR_METRIC_QUALITY);
    const size_t step = c->n > MOST ? (c->n + MOST - 1) / MOST : 1;
    weirp_grid g = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    for (size_t i = 0; i < c->n; i += i + step < c->n || i + 1 == c->n ? step : c->n - 1 - i) { /* and the last */
        const weirp_curve_point *p = &c->point[i];
        char(*row)[WEIRP_CELL] = weirp_grid_row(&g, false);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        knob_text(row[0], WEIRP_CELL, c, p->knob);
        weirp_ope_number(row[1], WEIRP_CELL, &cost, p->cost, false);
        weirp_ope_between(row[2], WEIRP_CELL, &cost, (weirp_interval){p->cost_lo, p->cost_hi}, false);
        weirp_ope_number(row[3], WEIRP_CELL, &quality, p->quality, false);
        weirp_ope_between(row[4], WEIRP_CELL, &quality, (weirp_interval){p->quality_lo, p->quality_hi}, false);
        weirp_ope_number(row[5], WEIRP_CELL, &cost, p->true_cost, false);
        weirp_ope_number(row[6], WEIRP_CELL, &quality, p->true_quality, false);
    }
    weirp_grid_print(&g, out, width, color);
    weirp_grid_free(&g);
    if (step > 1) fprintf(out, "  %zu points in all are in the JSON\n", c->n);
    return WEIR_OK;
}

static void put_note(FILE *out, size_t width, const char *text) {
    fputs("  ", out);
    weirp_ope_paragraph(text, out, width, 2, 2);
}

/* How many settings and models can't be judged, and why. Of several reasons the first one stands for all. */
static void put_refused(const weir_ope *ope, FILE *out, size_t width) {
    static const char rest[] = " (the JSON has every reason)";
    const weirp_log_curve *c = &ope->curve;
    char knob[WEIRP_CELL], text[WEIRP_OPE_SENTENCE];
    if (c->n_refused && c->n) {
        knob_text(knob, sizeof knob, c, c->refused[0].knob);
        snprintf(text, sizeof text, "%zu of %zu settings %s shown: at %s %s: %s%s.", c->n_refused, c->n + c->n_refused,
                 c->n_refused == 1 ? "isn't" : "aren't", c->knob ? c->knob : "the knob", knob, c->refused[0].refusal,
                 c->n_refused == 1 ? "" : rest);
        put_note(out, width, text);
    }
    size_t n = 0, first = 0;
    for (size_t m = 0; c->single && m < ope->n_models; m++)
        if (*c->single[m].refusal && n++ == 0) first = m;
    if (!n) return;
    snprintf(text, sizeof text, "%zu of %zu models can't be judged alone: of %.200s, %s%s.%s", n, ope->n_models,
             ope->model[first], c->single[first].refusal, n == 1 ? "" : rest,
             *c->why_not ? "" : " AIQ and cost@p% go by the others.");
    put_note(out, width, text);
}

weir_status weirp_ope_put_curve(const weir_ope *ope, FILE *out, size_t width, bool color, weir_error *err) {
    const weirp_log_curve *c = &ope->curve;
    if (!c->policy) return WEIR_OK;
    char title[WEIRP_CELL], name[WEIRP_CELL], text[WEIRP_OPE_SENTENCE];
    weirp_text_fit(name, sizeof name, c->policy ? c->policy : "", width > 60 ? width - 30 : 30);
    snprintf(title, sizeof title, "cost-quality curve of %.200s", name);
    put_title(out, color, title);
    if (*c->refusal) {
        snprintf(text, sizeof text, "Refused: %s.", c->refusal);
        put_note(out, width, text);
        return WEIR_OK;
    }
    if (*c->why_not) {
        snprintf(text, sizeof text, "AIQ and cost@p%% aren't told: %s.", c->why_not);
        put_note(out, width, text);
    }
    if (!isnan(c->aiq)) {
        fprintf(out, "  %-12s %.4f", "AIQ", c->aiq);
        if (!isnan(c->aiq_lo) && !isnan(c->aiq_hi)) fprintf(out, "  [%.4f, %.4f]", c->aiq_lo, c->aiq_hi);
        if (!isnan(c->true_aiq)) fprintf(out, ", in truth %.4f", c->true_aiq);
        fputc('\n', out);
        if (!isnan(c->aiq_drawn))
            fprintf(out, "  %-12s %.4f, of the points as they are\n", "  with bias", c->aiq_drawn);
    }
    static const char *const shares[] = {"cost@100 %", "cost@98 %", "cost@95 %"};
    for (size_t s = 0; s < sizeof shares / sizeof *shares && !*c->why_not; s++)
        put_share(out, shares[s], c->cost_at[s], c->cost_at_lo[s], c->cost_at_hi[s]);
    put_refused(ope, out, width);
    return put_points(ope, out, width, color, err);
}

/* print.c: the person's report: models, policies with intervals, the curve, estimator, tasks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/base.h"
#include "src/report/show.h"

enum { MOST_TASKS = 20, MOST_MODELS = 62, LEAST_WIDTH = 60, MOST_WIDTH = 200 };

/* A number that rounds to zero is printed without a sign. */
static double unsigned_zero(double x, int decimals) {
    return fabs(x) < 0.5 * pow(10, -decimals) ? 0 : x;
}

static void fixed(char *cell, double x, int decimals) {
    if (isnan(x))
        snprintf(cell, WEIRP_CELL, "-");
    else
        snprintf(cell, WEIRP_CELL, "%.*f", decimals, unsigned_zero(x, decimals));
}

static void percent(char *cell, double x, int decimals) {
    if (isnan(x))
        snprintf(cell, WEIRP_CELL, "-");
    else
        snprintf(cell, WEIRP_CELL, "%.*f %%", decimals, 100 * x);
}

/* "[0.832, 0.851]"; an end that is never reached is "∞". */
static void between(char *cell, double lo, double hi, double scale, int decimals) {
    lo = unsigned_zero(lo * scale, decimals), hi = unsigned_zero(hi * scale, decimals);
    if (isnan(lo))
        cell[0] = '\0';
    else if (isinf(lo))
        snprintf(cell, WEIRP_CELL, "never");
    else if (isinf(hi))
        snprintf(cell, WEIRP_CELL, "[%.*f, ∞]", decimals, lo);
    else
        snprintf(cell, WEIRP_CELL, "[%.*f, %.*f]", decimals, lo, decimals, hi);
}

static double bound(const weir_evaluation *e, const double *figure, const weirp_figures *bounds) {
    return ((const double *)bounds)[figure - (const double *)&e->figures];
}

/* Text with its lines broken at spaces, the later ones indented. */
static void put_paragraph(const char *text, FILE *out, size_t width, size_t indent) {
    size_t column = 0;
    while (*text) {
        const size_t length = strcspn(text, " ");
        char word[512];
        snprintf(word, sizeof word, "%.*s", (int)(length < 500 ? length : 500), text);
        const size_t w = weirp_text_width(word);
        if (column > indent && column + 1 + w > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > 0) {
            fputc(' ', out), column++;
        }
        fputs(word, out);
        column += w;
        text += length + strspn(text + length, " ");
    }
    fputc('\n', out);
}

static void put_heading(const weir_evaluation *e, FILE *out, size_t width, bool color) {
    char text[256], n[32], m[32], b[32];
    weirp_text_fit(text, sizeof text, e->title ? e->title : "evaluation", width);
    fprintf(out, "%s%s%s\n", color ? "\033[1m" : "", text, color ? "\033[0m" : "");
    weirp_text_count(n, sizeof n, e->tables->n), weirp_text_count(m, sizeof m, e->tables->n_models);
    weirp_text_count(b, sizeof b, e->n_bootstrap);
    snprintf(text, sizeof text, "%s prompts, %s models; 95 %% intervals from %s resamples of the prompts", n, m, b);
    put_paragraph(text, out, width, 0);
    for (size_t i = 0; i < e->n_notes; i++) {
        fputs("! ", out);
        put_paragraph(e->notes[i], out, width - 2, 2);
    }
}

static weir_status put_models(const weir_evaluation *e, FILE *out, size_t width, bool color, weir_error *err) {
    static const weirp_column columns[] = {{"single model", true, 0}, {"quality", false, 0}, {"USD/1k", false, 0},
                                           {"latency", false, 4},     {"calls", false, 1},   {"AUC", false, 2},
                                           {"Brier", false, 5},       {"cost R2", false, 3}};
    weirp_grid g = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    const size_t m = e->tables->n_models;
    for (size_t k = 0; k < m && k < MOST_MODELS; k++) {
        const weirp_model_summary *s = &e->models[k];
        char(*row)[WEIRP_CELL] = weirp_grid_row(&g, k == e->best);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        char name[WEIRP_CELL - 2];
        weirp_text_fit(name, sizeof name, e->tables->names[k], MOST_WIDTH);
        snprintf(row[0], WEIRP_CELL, "%c %s", weirp_plot_letter(k), name);
        fixed(row[1], s->quality, 4);
        weirp_text_amount(row[2], WEIRP_CELL, 1000 * s->cost);
        if (isnan(s->latency_ms))
            snprintf(row[3], WEIRP_CELL, "-");
        else
            snprintf(row[3], WEIRP_CELL, "%.0f ms", s->latency_ms);
        percent(row[4], s->share, 1);
        fixed(row[5], s->auc, 3);
        fixed(row[6], s->brier, 4);
        fixed(row[7], s->cost_r2, 2);
    }
    weirp_grid_print(&g, out, width, color);
    weirp_grid_free(&g);
    if (m > MOST_MODELS) fprintf(out, "  and %zu more (all are in the JSON)\n", m - MOST_MODELS);
    return WEIR_OK;
}

/* A figure and, in the row below, its interval. */
static void put_figure(const weir_evaluation *e, char *cell, char *below, const double *figure, double scale,
                       int decimals) {
    fixed(cell, *figure * scale, decimals);
    between(below, bound(e, figure, &e->lo), bound(e, figure, &e->hi), scale, decimals == 4 ? 3 : decimals);
}

static weir_status put_policies(const weir_evaluation *e, FILE *out, size_t width, bool color, weir_error *err) {
    static const weirp_column columns[] = {{"policy", true, 0},       {"AIQ", false, 0},
                                           {"lift", false, 1},        {"captured %", false, 5},
                                           {"max quality", false, 3}, {"cost@100 %", false, 2},
                                           {"@98 %", false, 4},       {"@95 %", false, 6}};
    weirp_grid g = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++) {
        const weirp_policy_figures *f = &e->figures.policy[p];
        if (isnan(f->max_quality)) continue;
        char(*row)[WEIRP_CELL] = weirp_grid_row(&g, p == WEIRP_PLUGIN);
        if (row) row = weirp_grid_row(&g, false);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        char(*top)[WEIRP_CELL] = row - g.n_columns;
        snprintf(top[0], WEIRP_CELL, "%s", weirp_policy_labels[p]);
        put_figure(e, top[1], row[1], &f->aiq, 1, 4);
        if (p != WEIRP_ZERO) put_figure(e, top[2], row[2], &f->lift, 1, 4);
        if (p != WEIRP_ZERO && p != WEIRP_ORACLE) put_figure(e, top[3], row[3], &f->captured_lift, 100, 1);
        put_figure(e, top[4], row[4], &f->max_quality, 1, 4);
        put_figure(e, top[5], row[5], &f->cost_at_100, 100, 1);
        put_figure(e, top[6], row[6], &f->cost_at_98, 100, 1);
        put_figure(e, top[7], row[7], &f->cost_at_95, 100, 1);
    }
    weirp_grid_print(&g, out, width, color);
    weirp_grid_free(&g);
    return WEIR_OK;
}

static void put_line(const weir_evaluation *e, FILE *out, const char *label, const double *figure, int decimals) {
    char value[WEIRP_CELL], range[WEIRP_CELL];
    if (isnan(*figure)) return;
    put_figure(e, value, range, figure, 1, decimals);
    fprintf(out, "  %-32s %7s  %s\n", label, value, range);
}

static void put_estimator(const weir_evaluation *e, FILE *out) {
    const weirp_figures *f = &e->figures;
    char label[64];
    fputs("\nestimator\n", out);
    put_line(e, out, "AUC, mean over models", &f->auc, 4);
    put_line(e, out, "Brier score of quality", &f->brier, 4);
    put_line(e, out, "R2 of cost, all models", &f->cost_r2, 4);
    snprintf(label, sizeof label, "quality inside its %.0f %% interval", 100 * e->tables->coverage);
    put_line(e, out, label, &f->quality_coverage, 4);
    snprintf(label, sizeof label, "cost inside its %.0f %% interval", 100 * e->tables->coverage);
    put_line(e, out, label, &f->cost_coverage, 4);
}

static void put_pair(const weir_evaluation *e, FILE *out, size_t width) {
    char strong[WEIRP_CELL], weak[WEIRP_CELL];
    if (e->strong == (size_t)-1) return;
    weirp_text_fit(strong, sizeof strong, e->tables->names[e->strong], width / 3);
    weirp_text_fit(weak, sizeof weak, e->tables->names[e->weak], width / 3);
    fprintf(out, "\nstrong %s, weak %s\n", strong, weak);
    if (isnan(e->figures.apgr)) fputs("  the strong model is not the better one here: no gap to recover\n", out);
    put_line(e, out, "APGR, mean share of the gap", &e->figures.apgr, 4);
    put_line(e, out, "CPT(50 %), share of strong calls", &e->figures.cpt50, 4);
    put_line(e, out, "CPT(80 %), share of strong calls", &e->figures.cpt80, 4);
}

static void put_operating_point(const weir_evaluation *e, FILE *out, size_t width) {
    const weirp_operating_point *o = &e->operating;
    char value[32], cost[32], goal[96], text[512];
    if (!e->has_cost) {
        fprintf(out, "\nalways the model of most expected quality: quality %.4f\n", o->quality);
        return;
    }
    weirp_text_amount(value, sizeof value, o->value), weirp_text_amount(cost, sizeof cost, 1000 * o->cost);
    if (o->target > 0)
        snprintf(goal, sizeof goal, "cheapest with %.0f %% of the best single model's quality", 100 * o->target);
    else
        snprintf(goal, sizeof goal, "most quality (below 95 %% of the best single model's)");
    int length = snprintf(text, sizeof text, "%s: value %s USD gives quality %.4f for USD %s per 1,000 prompts", goal,
                          value, o->quality, cost);
    if (!isnan(o->latency_ms))
        length += snprintf(text + length, sizeof text - (size_t)length, ", mean latency %.0f ms", o->latency_ms);
    if (o->fallback_share > 0)
        snprintf(text + length, sizeof text - (size_t)length,
                 "; minimax speaks for the plug-in on %.1f %% of the prompts", 100 * o->fallback_share);
    fputc('\n', out);
    put_paragraph(text, out, width, 2);
}

static weir_status put_tasks(const weir_evaluation *e, FILE *out, size_t width, bool color, weir_error *err) {
    static const weirp_column columns[] = {{"task", true, 0},    {"prompts", false, 3}, {"best single", false, 0},
                                           {"USD/1k", false, 2}, {"router", false, 0},  {"USD/1k", false, 1},
                                           {"oracle", false, 4}};
    weirp_grid g = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    if (e->n_tasks == 0) return WEIR_OK;
    for (size_t i = 0; i < e->n_tasks && i < MOST_TASKS; i++) {
        const weirp_task_summary *t = &e->tasks[i];
        char(*row)[WEIRP_CELL] = weirp_grid_row(&g, false);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        weirp_text_fit(row[0], WEIRP_CELL, *t->task ? t->task : "(none)", MOST_WIDTH);
        weirp_text_count(row[1], WEIRP_CELL, t->n);
        fixed(row[2], t->best_quality, 4);
        weirp_text_amount(row[3], WEIRP_CELL, 1000 * t->best_cost);
        fixed(row[4], t->router_quality, 4);
        weirp_text_amount(row[5], WEIRP_CELL, 1000 * t->router_cost);
        fixed(row[6], t->oracle_quality, 4);
    }
    weirp_grid_print(&g, out, width, color);
    weirp_grid_free(&g);
    if (e->n_tasks > MOST_TASKS) fprintf(out, "  and %zu more (all are in the JSON)\n", e->n_tasks - MOST_TASKS);
    return WEIR_OK;
}

weir_status weir_evaluation_print(const weir_evaluation *e, FILE *out, int columns, weir_error *err) {
    const size_t width = columns < LEAST_WIDTH ? LEAST_WIDTH : columns > MOST_WIDTH ? MOST_WIDTH : (size_t)columns;
    const char *no_color = getenv("NO_COLOR"); /* https://no-color.org: set and not empty */
    const bool color = !(no_color && *no_color) && isatty(fileno(out));
    weir_status st = WEIR_OK;
    put_heading(e, out, width, color);
    fputc('\n', out);
    WEIRP_TRY(put_models(e, out, width, color, err));
    if (e->has_curve) {
        fputc('\n', out);
        WEIRP_TRY(put_policies(e, out, width, color, err));
    }
    if (e->has_cost) {
        fputc('\n', out);
        WEIRP_TRY(weirp_plot(e, out, width, color, err));
    }
    put_estimator(e, out);
    put_pair(e, out, width);
    if (e->has_curve) {
        put_operating_point(e, out, width);
        WEIRP_TRY(put_tasks(e, out, width, color, err));
    }
    if (fflush(out) != 0 || ferror(out)) WEIRP_TRY(weirp_fail(err, WEIR_IO, 0, "the report can't be written"));
done:
    return st;
}

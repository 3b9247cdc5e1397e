/* ope_svg.c: estimates with intervals, a panel a metric and a row a policy, against what ran; below them the curve.
 *
 * Better, worse and undecided differ in shape, in words and in colour. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/chart.h"
#include "src/report/ope_report.h"

enum {
    WIDTH = 760,
    NAMES = 18,
    LEFT = 214,
    RIGHT = 540,
    WORDS = 556,
    TOP = 78,
    ROW = 26,
    HEAD = 30,
    FOOT = 42,
    GAP = 10
};
enum { NAME_COLUMNS = 30 };

static const char forest_style[] =
    ".ran{stroke:#6e7781;stroke-width:1.5;stroke-dasharray:4 3}.ranband{fill:#6e7781;fill-opacity:.13}"
    ".rule{stroke:#d0d7de;stroke-width:1}"
    ".better{stroke:#0072b2;fill:#0072b2}.worse{stroke:#d55e00;fill:#d55e00}"
    ".open{stroke:#57606a;fill:#fff}.none{stroke:#57606a;fill:none}.alone{stroke:#57606a;fill:#57606a}"
    ".whisker{stroke-width:2;fill:none}"
    "@media (prefers-color-scheme:dark){"
    ".ran{stroke:#9aa4af}.ranband{fill:#9aa4af;fill-opacity:.2}.rule{stroke:#30363d}"
    ".better{stroke:#56b4e9;fill:#56b4e9}.worse{stroke:#e69f00;fill:#e69f00}"
    ".open{stroke:#9aa4af;fill:#0d1117}.none{stroke:#9aa4af}.alone{stroke:#9aa4af;fill:#9aa4af}"
    "}";

/* One panel. */
typedef struct panel {
    const weir_ope *ope;
    FILE *out;
    weir_metric metric;
    weirp_ope_scale scale;
    weirp_axis axis;
    double top, bottom; /* of the rows */
    double ran, ran_se; /* shown scale; NAN */
} panel;

static double px(const panel *p, double x) {
    const double at = weirp_axis_at(&p->axis, x * p->scale.factor);
    return LEFT + (RIGHT - LEFT) * fmin(fmax(at, 0), 1);
}

static bool outside(const panel *p, double x) {
    return x * p->scale.factor < p->axis.lo || x * p->scale.factor > p->axis.hi;
}

static size_t n_rows(const weir_ope *ope, weir_metric m) {
    size_t n = 0;
    for (size_t k = 0; k < ope->n_policies; k++) n += weirp_ope_cell(ope, k, m)->asked;
    return n;
}

/* ---- the axis ---- */

static const weirp_cell_result *first_cell(const weir_ope *ope, weir_metric m) {
    for (size_t k = 0; k < ope->n_policies; k++)
        if (weirp_ope_cell(ope, k, m)->asked) return weirp_ope_cell(ope, k, m);
    return NULL;
}

/* What ran with its uncertainty, and refused estimates: where nothing else is to be seen. */
static void widen(const weir_ope *ope, const panel *p, double *lo, double *hi) {
    if (isfinite(p->ran_se)) *lo = p->ran - 1.96 * p->ran_se, *hi = p->ran + 1.96 * p->ran_se;
    for (size_t k = 0; k < ope->n_policies; k++) {
        const weirp_cell_result *cell = weirp_ope_cell(ope, k, p->metric);
        const weirp_ope_estimate *e = cell->asked ? weirp_ope_shown(ope, cell) : NULL;
        if (!e || !isfinite(e->value)) continue;
        *lo = fmin(*lo, e->value), *hi = fmax(*hi, e->value);
    }
}

/* All estimates and their intervals, but no interval of a refused policy: those may be of any width. */
static weirp_axis axis_of(const weir_ope *ope, const panel *p) {
    const weir_metric m = p->metric;
    const double factor = p->scale.factor;
    double lo = p->ran, hi = p->ran;
    for (size_t k = 0; k < ope->n_policies; k++) {
        const weirp_cell_result *cell = weirp_ope_cell(ope, k, m);
        const weirp_ope_estimate *e = cell->asked ? weirp_ope_shown(ope, cell) : NULL;
        if (!e || *cell->standing.refusal) continue;
        const weirp_interval i = weirp_ope_shown_interval(ope, k, m);
        lo = fmin(lo, e->value), hi = fmax(hi, e->value);
        if (isfinite(i.lo)) lo = fmin(lo, i.lo);
        if (isfinite(i.hi)) hi = fmax(hi, i.hi);
    }
    if (!(lo < hi)) widen(ope, p, &lo, &hi);
    if (!isfinite(lo) || !isfinite(hi)) lo = 0, hi = 1;
    return weirp_axis_linear(lo * factor, hi * factor, 5);
}

static void put_axis(const panel *p) {
    for (size_t t = 0; t < p->axis.n_ticks; t++) {
        const double x = px(p, p->axis.tick[t] / p->scale.factor);
        fprintf(p->out, "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>", x, p->top, p->bottom);
        fprintf(p->out,
                "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\" text-anchor=\"middle\">%s</text>\n", x,
                p->bottom + 16, p->axis.text[t]);
    }
    fprintf(p->out, "<path class=\"axis\" d=\"M%d %.1fH%d\"/>\n", LEFT, p->bottom, RIGHT);
}

/* What ran: its mean, and the width of its own uncertainty. */
static void put_what_ran(const panel *p) {
    char mean[48];
    if (isnan(p->ran)) return;
    const double x = px(p, p->ran), at = fmin(fmax(x, LEFT + 30), RIGHT - 30);
    if (p->ran_se > 0) {
        const double lo = px(p, p->ran - 1.96 * p->ran_se), hi = px(p, p->ran + 1.96 * p->ran_se);
        fprintf(p->out, "<path class=\"ranband\" d=\"M%.1f %.1fH%.1fV%.1fH%.1fz\"/>", lo, p->top, hi, p->bottom, lo);
    }
    fprintf(p->out, "<path class=\"ran\" d=\"M%.1f %.1fV%.1f\"/>\n", x, p->top, p->bottom);
    weirp_ope_number(mean, sizeof mean, &p->scale, p->ran, false);
    fprintf(p->out,
            "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" font-size=\"11\" text-anchor=\"middle\">ran: %s</text>\n", at,
            p->top - 5, mean);
}

/* ---- rows ---- */

/* Up: better; down: worse; a ring: undecided; a cross: refused; a small disc: it wasn't compared. */
static void put_mark(FILE *out, const char *class, const char *word, double x, double y) {
    if (strcmp(word, "better") == 0)
        fprintf(out, "<path class=\"%s\" d=\"M%.1f %.1fl6.5 11h-13z\"/>\n", class, x, y - 7);
    else if (strcmp(word, "worse") == 0)
        fprintf(out, "<path class=\"%s\" d=\"M%.1f %.1fl6.5 -11h-13z\"/>\n", class, x, y + 7);
    else if (strcmp(word, "refused") == 0)
        fprintf(out, "<path class=\"%s\" stroke-width=\"2\" d=\"M%.1f %.1fl9 9m0 -9l-9 9\"/>\n", class, x - 4.5,
                y - 4.5);
    else
        fprintf(out, "<circle class=\"%s\" stroke-width=\"2\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/>\n", class, x, y,
                *word ? "4.5" : "3");
}

static void put_whisker(const panel *p, const char *class, weirp_interval i, double y) {
    if (isnan(i.lo) || isnan(i.hi)) return;
    const double lo = px(p, i.lo), hi = px(p, i.hi);
    fprintf(p->out, "<path class=\"%s whisker\" d=\"M%.1f %.1fH%.1f", class, lo, y, hi);
    if (!outside(p, i.lo)) fprintf(p->out, "M%.1f %.1fv8", lo, y - 4);
    if (!outside(p, i.hi)) fprintf(p->out, "M%.1f %.1fv8", hi, y - 4);
    fputs("\"/>", p->out);
}

static const char *word_of(const weir_ope *ope, size_t policy, weir_metric m) {
    const weirp_contrast *c = weirp_ope_contrast_of(ope, policy, WEIRP_OPE_LOGGED, m);
    if (c) return weirp_verdict_text(c->verdict);
    return *weirp_ope_cell(ope, policy, m)->standing.refusal ? "refused" : "";
}

static const char *class_of(const char *word) {
    return strcmp(word, "better") == 0    ? "better"
           : strcmp(word, "worse") == 0   ? "worse"
           : strcmp(word, "refused") == 0 ? "none"
           : !*word                       ? "alone"
                                          : "open";
}

static void put_row(const panel *p, size_t policy, double y) {
    const weir_ope *ope = p->ope;
    const weirp_cell_result *cell = weirp_ope_cell(ope, policy, p->metric);
    const weirp_ope_estimate *e = weirp_ope_shown(ope, cell);
    const weirp_interval i = weirp_ope_shown_interval(ope, policy, p->metric);
    const char *word = word_of(ope, policy, p->metric), *class = class_of(word);
    char name[WEIRP_CELL], value[48];
    weirp_text_fit(name, sizeof name, ope->policy[policy], NAME_COLUMNS);
    fprintf(p->out, "<text x=\"%d\" y=\"%.1f\" font-size=\"12\"%s>", NAMES, y + 4,
            policy == 0 ? " font-weight=\"bold\"" : "");
    weirp_svg_text(p->out, name);
    fputs("</text>\n", p->out);
    if (e && !*cell->standing.refusal) put_whisker(p, class, i, y);
    if (e)
        put_mark(p->out, class, word, px(p, e->value), y);
    else
        put_mark(p->out, "none", "refused", LEFT + 10, y);
    weirp_ope_number(value, sizeof value, &p->scale, e ? e->value : NAN, false);
    fprintf(p->out, "<text x=\"%d\" y=\"%.1f\" font-size=\"12\">%s", WORDS, y + 4, e ? value : "");
    fprintf(p->out, "<tspan class=\"soft\"%s>%s</tspan></text>\n", e ? " dx=\"8\"" : "", word);
}

static void put_panel(panel *p, double top) {
    const weir_ope *ope = p->ope;
    const weirp_cell_result *cell = first_cell(ope, p->metric);
    double y = top + HEAD;
    p->top = y;
    p->bottom = y + ROW * (double)n_rows(ope, p->metric);
    fprintf(p->out, "<path class=\"rule\" d=\"M%d %.1fH%d\"/>\n", NAMES, top - 6, WIDTH - NAMES);
    fprintf(p->out, "<text x=\"%d\" y=\"%.1f\" font-size=\"13\" font-weight=\"bold\">%s%s%s", NAMES, top + 13,
            weirp_ope_metric_name(p->metric), *p->scale.unit ? ", " : "", p->scale.unit);
    fprintf(p->out,
            "<tspan class=\"soft\" font-weight=\"normal\" font-size=\"11\" dx=\"8\">%s is better</tspan></text>\n",
            weirp_ope_less_is_better(p->metric) ? "less" : "more");
    p->ran = cell->logged_mean, p->ran_se = cell->logged_se;
    p->axis = axis_of(ope, p);
    put_axis(p);
    put_what_ran(p);
    for (size_t k = 0; k < ope->n_policies; k++) {
        if (!weirp_ope_cell(ope, k, p->metric)->asked) continue;
        put_row(p, k, y + ROW / 2.0);
        y += ROW;
    }
}

static double panel_height(const weir_ope *ope, weir_metric m) {
    return HEAD + ROW * (double)n_rows(ope, m) + FOOT - GAP;
}

/* ---- the whole ---- */

static void put_legend(FILE *out, double y) {
    static const struct {
        const char *word, *text;
    } entries[] = {{"better", "better"},
                   {"worse", "worse"},
                   {"not enough evidence", "not enough evidence"},
                   {"refused", "refused"}};
    double x = NAMES + 6;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        put_mark(out, class_of(entries[i].word), entries[i].word, x, y);
        fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"12\">%s</text>\n", x + 12, y + 4, entries[i].text);
        x += 12 + weirp_svg_text_px(entries[i].text, 12) + 22;
    }
    fprintf(out,
            "<path class=\"ran\" d=\"M%.1f %.1fv14\"/><text x=\"%.1f\" y=\"%.1f\" font-size=\"12\">what ran, ±1.96 "
            "se</text>\n",
            x, y - 7, x + 10, y + 4);
}

/* Why there is no curve, in lines of the picture's width; without `out` they are counted. */
static size_t put_no_curve(const weir_ope *ope, FILE *out, double top) {
    enum { SIZE = 12, STEP = 16 };
    const weirp_log_curve *c = &ope->curve;
    char text[WEIRP_OPE_SENTENCE], line[WEIRP_OPE_SENTENCE] = "", name[WEIRP_CELL];
    size_t n = 0;
    weirp_text_fit(name, sizeof name, c->policy, 60); /* one word, which must not be wider than the picture */
    snprintf(text, sizeof text, "No curve of %s: %s.", name, c->refusal);
    for (const char *at = text; *at;) {
        const size_t had = strlen(line), word = strcspn(at, " ") + (at[strcspn(at, " ")] == ' ');
        snprintf(line + had, sizeof line - had, "%.*s", (int)word, at);
        const bool full = had && weirp_svg_text_px(line, SIZE) > WIDTH - 2 * NAMES;
        if (full) line[had] = '\0';
        if (!full) at += word;
        if (!full && *at) continue;
        if (out) {
            fprintf(out, "<text x=\"%d\" y=\"%.1f\" font-size=\"%d\">", NAMES, top + STEP * (double)(n + 1), SIZE);
            weirp_svg_text(out, line);
            fputs("</text>\n", out);
        }
        n++;
        line[0] = '\0';
    }
    return STEP * (n + 1);
}

/* Height of the part above the curve. */
static double forest_height(const weir_ope *ope) {
    double height = TOP;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (weirp_ope_asked(ope, m)) height += panel_height(ope, m) + GAP;
    return height;
}

static void put_forest(const weir_ope *ope, FILE *out) {
    weirp_ope_headline h;
    char rows[32], name[WEIRP_CELL];
    double y = TOP;
    weirp_ope_headline_make(&h, ope, 0, WEIRP_OPE_LOGGED);
    weirp_text_fit(name, sizeof name, weirp_ope_policy_name(ope, 0), 40);
    fprintf(out, "<text x=\"%d\" y=\"24\" font-size=\"16\" font-weight=\"bold\">", NAMES);
    if (weirp_ope_is_curve_alone(ope)) {
        fputs("What ran</text>\n", out);
    } else {
        weirp_svg_text(out, name);
        fprintf(out, " against what ran: %s</text>\n", h.word);
    }
    weirp_text_count(rows, sizeof rows, ope->n_decided ? ope->n_decided : ope->n_rows);
    fprintf(out,
            "<text class=\"soft\" x=\"%d\" y=\"43\" font-size=\"12\">%s decisions, %zu models; %s with %s intervals "
            "of %g %%</text>\n",
            NAMES, rows, ope->n_models, ope->recommended, ope->interval, 100 * ope->level);
    put_legend(out, 60);
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        if (!weirp_ope_asked(ope, m)) continue;
        panel p = {.ope = ope, .out = out, .metric = m, .scale = weirp_ope_scale_of(ope, m)};
        put_panel(&p, y);
        y += panel_height(ope, m) + GAP;
    }
}

weir_status weir_ope_svg(const weir_ope *ope, FILE *out, weir_error *err) {
    enum { CURVE = 506 }; /* weirp_chart_put's height */
    weirp_ope_headline h;
    const bool refused = ope->curve.policy && *ope->curve.refusal;
    const double forest = forest_height(ope);
    const double height = forest + (refused ? (double)put_no_curve(ope, NULL, 0) : ope->curve.n ? CURVE : 0);
    weir_status st = WEIR_OK;
    weirp_ope_headline_make(&h, ope, 0, WEIRP_OPE_LOGGED);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" "
            "role=\"img\">\n<title>",
            WIDTH, height, WIDTH, height);
    weirp_svg_text(out, weirp_ope_is_curve_alone(ope) ? "What ran, and a cost-quality curve" : h.text);
    fprintf(out, "</title>\n<style>%s%s</style>\n<rect class=\"bg\" width=\"%d\" height=\"%.0f\"/>\n", weirp_svg_style,
            forest_style, WIDTH, height);
    put_forest(ope, out);
    if (refused) {
        put_no_curve(ope, out, forest);
    } else if (ope->curve.n) {
        fprintf(out, "<g transform=\"translate(0 %.0f)\">\n", forest);
        st = weirp_ope_curve_svg(ope, out, err);
        fputs("</g>\n", out);
    }
    fputs("</svg>\n", out);
    if (st == WEIR_OK && (fflush(out) != 0 || ferror(out)))
        st = weirp_fail(err, WEIR_IO, 0, "the chart can't be written");
    return st;
}

/* ope_print.c: an evaluation of a log for people: the verdict first, then what can be trusted, then the numbers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/base.h"
#include "src/report/ope_report.h"

enum { LEAST_WIDTH = 60, MOST_WIDTH = 200, NAME_WIDTH = 36 };

typedef struct printing {
    const weir_ope *ope;
    FILE *out;
    size_t width;
    bool color;
} printing;

void weirp_ope_paragraph(const char *text, FILE *out, size_t width, size_t column, size_t indent) {
    bool fresh = true; /* nothing of this line has been written yet */
    while (*text) {
        const size_t length = strcspn(text, " ");
        char word[512];
        snprintf(word, sizeof word, "%.*s", (int)(length < 500 ? length : 500), text);
        const size_t w = weirp_text_width(word);
        if (!fresh && column + 1 + w > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!fresh) {
            fputc(' ', out), column++;
        }
        fputs(word, out);
        column += w;
        fresh = false;
        text += length + strspn(text + length, " ");
    }
    fputc('\n', out);
}

static void put_title(const printing *p, const char *title) {
    fprintf(p->out, "\n%s%s%s\n", p->color ? "\033[1m" : "", title, p->color ? "\033[0m" : "");
}

/* ---- the verdict ---- */

static void put_verdicts(const printing *p) {
    size_t policy, other;
    if (weirp_ope_is_curve_alone(p->ope))
        weirp_ope_paragraph("No candidate was named: this is what ran, and further down the cost-quality curve.",
                            p->out, p->width, 0, 0);
    for (size_t i = 0; !weirp_ope_is_curve_alone(p->ope) && weirp_ope_comparison(p->ope, i, &policy, &other); i++) {
        weirp_ope_headline h;
        weirp_ope_headline_make(&h, p->ope, policy, other);
        if (p->color && i == 0) fputs("\033[1m", p->out);
        weirp_ope_paragraph(h.text, p->out, p->width, 0, 0);
        if (p->color && i == 0) fputs("\033[0m", p->out);
    }
    const char *certain = weirp_ope_certain(p->ope);
    if (!certain) return;
    fputs("\n! ", p->out);
    weirp_ope_paragraph(certain, p->out, p->width, 2, 2);
}

static void put_cautions(const printing *p) {
    char text[WEIRP_OPE_SENTENCE];
    for (size_t i = 0; weirp_ope_caution(p->ope, i, text); i++) {
        fputs("! ", p->out);
        weirp_ope_paragraph(text, p->out, p->width, 2, 2);
    }
}

/* ---- the log ---- */

static void put_fact(const printing *p, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_fact(const printing *p, const char *label, const char *format, ...) {
    enum { LABEL = 26 };
    char text[1024];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    fprintf(p->out, "  %-*s", LABEL, label);
    weirp_ope_paragraph(text, p->out, p->width, LABEL + 2, LABEL + 2);
}

/* "1 row", "2,345 malformed rows" */
static const char *counted(char out[64], size_t n, const char *what) {
    char digits[32];
    weirp_text_count(digits, sizeof digits, n);
    snprintf(out, 64, "%s %s%s", digits, what, n == 1 ? "" : "s");
    return out;
}

static void put_propensities(const printing *p) {
    const weir_ope *r = p->ope;
    if (!r->n_decided) return;
    if (!r->propensities_known)
        put_fact(p, "propensities",
                 "only the chosen models' were logged: they can't be checked, and mass that the "
                 "log doesn't support can't be seen");
    else if (r->propensity_worst < r->n_models)
        put_fact(p, "propensities", "%s\"%.200s\" was chosen %.1f %% %s often than they say, by %.1f standard errors",
                 fabs(r->propensity_z) > 4 ? "! " : "", r->model[r->propensity_worst], 100 * fabs(r->propensity_off),
                 r->propensity_off < 0 ? "less" : "more", fabs(r->propensity_z));
}

/* Which rows were asked for, and how many weren't these. */
static void put_asked_for(const printing *p) {
    const weir_ope *r = p->ope;
    char since[WEIRP_WHEN_TEXT + 8] = "", until[WEIRP_WHEN_TEXT + 8] = "", n[64];
    if (!r->by_time) return;
    if (r->since_ms != INT64_MIN) memcpy(since, "since ", 7), weirp_ope_time_text(since + 6, r->since_ms);
    if (r->until_ms != INT64_MAX) memcpy(until, "until ", 7), weirp_ope_time_text(until + 6, r->until_ms);
    put_fact(p, "asked for", "%s%s%s: %s of another time left out", since, *since && *until ? ", " : "", until,
             counted(n, r->n_outside, "row"));
    if (r->n_untimed) put_fact(p, "left out", "! %s without a time", counted(n, r->n_untimed, "row"));
}

/* What was said of the metrics, and is believed: no row contradicts it. */
static void put_bounds(const printing *p) {
    const double cost = p->ope->most[WEIR_METRIC_COST], latency = p->ope->most[WEIR_METRIC_LATENCY];
    char of_cost[48] = "", of_latency[48] = "";
    if (cost > 0) snprintf(of_cost, sizeof of_cost, "%.6g USD", cost);
    if (latency > 0) snprintf(of_latency, sizeof of_latency, "%.6g ms", latency);
    if (cost > 0 || latency > 0)
        put_fact(p, "said to be at most", "%s%s%s a request", of_cost, cost > 0 && latency > 0 ? " and " : "",
                 of_latency);
}

static void put_log(const printing *p) {
    const weir_ope *r = p->ope;
    char n[64], models[64], from[WEIRP_WHEN_TEXT], to[WEIRP_WHEN_TEXT];
    put_title(p, "the log");
    weirp_text_count(n, sizeof n, r->n_rows);
    put_fact(p, "rows", "%s of %s", n, counted(models, r->n_models, "model"));
    put_asked_for(p);
    if (r->n_malformed) put_fact(p, "left out", "! %s", counted(n, r->n_malformed, "malformed row"));
    if (r->n_duplicates) put_fact(p, "left out", "! %s that had been read before", counted(n, r->n_duplicates, "row"));
    if (r->n_other) put_fact(p, "no decisions", "%s", counted(n, r->n_other, "row"));
    weirp_text_count(n, sizeof n, r->n_clusters);
    put_fact(p, "independent groups", "%s (%s)", n, r->has_sessions ? "sessions" : "no sessions were logged: rows");
    if (weirp_ope_time_known(r->first_ms)) {
        weirp_ope_time_text(from, r->first_ms), weirp_ope_time_text(to, r->last_ms);
        put_fact(p, "time", "%s to %s", from, to);
    }
    if (r->share_backwards > 0)
        put_fact(p, "order",
                 "! %.3g %% of the rows are over a minute earlier than one before them: halves of the log "
                 "aren't halves of the time",
                 100 * r->share_backwards);
    put_fact(p, "decided by a policy", "%s (cached %.1f %%, pinned by clients %.1f %%: left out)",
             counted(n, r->n_decided, "row"), 100 * r->share_cached, 100 * r->share_forced);
    put_fact(p, "of all rows", "%.1f %% fallen back to another model, %.1f %% decided by the careful rule",
             100 * r->share_fallen_back, 100 * r->share_careful);
    put_propensities(p);
    put_bounds(p);
    if (r->n_other_training)
        put_fact(p, "features", "! those of %s are another training's than the store's: what asks it can't decide them",
                 counted(n, r->n_other_training, "row"));
}

/* ---- what can be trusted ---- */

/* One check over all metrics: a cell's text, with "!" where it needs a look. */
typedef struct check {
    const char *title;
    void (*say)(char *cell, const weir_ope *ope, weir_metric metric, const weirp_ope_standing *s);
} check;

static void flagged(char *cell, bool bad, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void flagged(char *cell, bool bad, const char *format, ...) {
    va_list rest;
    if (bad) *cell++ = '!', *cell++ = ' ';
    va_start(rest, format);
    vsnprintf(cell, WEIRP_CELL - 2, format, rest);
    va_end(rest);
}

static void say_rows(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    weirp_text_count(cell, WEIRP_CELL, s->n);
}

static void say_known(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    char n[32];
    weirp_text_count(n, sizeof n, s->n_known);
    flagged(cell, s->n_known < 50, "%s", n);
}

static void say_least_label(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (s->n_known < s->n) flagged(cell, s->least_label < 0.02, "%.3f", s->least_label);
}

static void say_undecided(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (s->undecided > 0) flagged(cell, s->undecided > 0.01, "%.1f %%", 100 * s->undecided);
}

static void say_ess(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    char n[32];
    if (s->ess < 100)
        flagged(cell, true, "%.1f", s->ess);
    else
        weirp_text_count(n, sizeof n, (size_t)s->ess), flagged(cell, false, "%s", n);
}

static void say_largest(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    const double share = 100 * s->max_weight_share;
    if (!isnan(share)) flagged(cell, share > 5, share < 0.1 ? "%.3f %%" : "%.1f %%", share);
}

static void say_mean(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (!isnan(s->mean_weight)) flagged(cell, fabs(s->mean_weight_z) > 3, "%.3f", s->mean_weight);
}

static void say_mean_z(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (isinf(s->mean_weight_z))
        flagged(cell, true, "all are");
    else if (!isnan(s->mean_weight_z))
        flagged(cell, fabs(s->mean_weight_z) > 3, "%+.1f", s->mean_weight_z);
}

static void say_unsupported(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (isnan(s->unsupported))
        snprintf(cell, WEIRP_CELL, "not known");
    else
        flagged(cell, s->unsupported > 1e-9, "%.3g %%", 100 * s->unsupported);
}

static void say_bound(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    char lo[48], hi[48];
    if (s->bound_lo == 0 && s->bound_hi == 0) return;
    weirp_ope_number(lo, sizeof lo, &scale, s->bound_lo, false);
    weirp_ope_number(hi, sizeof hi, &scale, s->bound_hi, false);
    if (isnan(s->bound_lo) || isnan(s->bound_hi))
        snprintf(cell, WEIRP_CELL, "anywhere");
    else
        snprintf(cell, WEIRP_CELL, "-%s +%s", lo, hi);
}

static void say_r2(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (!isnan(s->model_r2)) flagged(cell, s->model_r2 < 0, "%.3f", s->model_r2);
}

static void say_slope(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (!isnan(s->model_slope)) flagged(cell, s->model_slope < 0.5 || s->model_slope > 2, "%.2f", s->model_slope);
}

static void say_half(char *cell, const weir_ope *ope, weir_metric m, double x) {
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    if (!isnan(x)) weirp_ope_number(cell, WEIRP_CELL, &scale, x, false);
}

static void say_first(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    say_half(cell, ope, m, s->first_half);
}

static void say_second(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    say_half(cell, ope, m, s->second_half);
}

static void say_drift(char *cell, const weir_ope *ope, weir_metric m, const weirp_ope_standing *s) {
    (void)ope, (void)m;
    if (!isnan(s->drift_z)) flagged(cell, fabs(s->drift_z) > 3, "%+.1f", s->drift_z);
}

static const check checks[] = {
    {"rows", say_rows},
    {"that know it", say_known},
    {"least chance of a label", say_least_label},
    {"candidate can't be asked", say_undecided},
    {"effective sample size", say_ess},
    {"largest weight's share", say_largest},
    {"mean weight, should be 1", say_mean},
    {"  off by, in standard errors", say_mean_z},
    {"mass the log doesn't support", say_unsupported},
    {"  may move the estimate", say_bound},
    {"reward model: R2, unseen rows", say_r2},
    {"  slope, 1 is right", say_slope},
    {"first half of the log", say_first},
    {"second half", say_second},
    {"  apart, in standard errors", say_drift},
};

static bool says_something(const char (*row)[WEIRP_CELL], size_t n) {
    for (size_t c = 1; c < n; c++)
        if (row[c][0]) return true;
    return false;
}

static weir_status put_trust(const printing *p, size_t policy, weir_error *err) {
    weirp_column columns[WEIR_N_METRICS + 1] = {{"", true, 0}};
    weir_metric metric[WEIR_N_METRICS];
    size_t n = 0;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (weirp_ope_cell(p->ope, policy, m)->asked) {
            metric[n++] = m;
            columns[n] = (weirp_column){weirp_ope_metric_name(m), false, (int)n};
        }
    columns[1].priority = 0;
    char title[WEIRP_CELL], name[WEIRP_CELL];
    weirp_text_fit(name, sizeof name, p->ope->policy[policy], p->width / 2);
    snprintf(title, sizeof title, "what can be trusted of %.200s", name);
    put_title(p, title);
    weirp_grid g = {.columns = columns, .n_columns = n + 1};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        char(*row)[WEIRP_CELL] = weirp_grid_row(&g, false);
        if (!row) {
            weirp_grid_free(&g);
            return weirp_nomem(err);
        }
        snprintf(row[0], WEIRP_CELL, "%s", checks[i].title);
        for (size_t k = 0; k < n; k++)
            checks[i].say(row[k + 1], p->ope, metric[k], &weirp_ope_cell(p->ope, policy, metric[k])->standing);
        if (!says_something((const char(*)[WEIRP_CELL])row, n + 1)) g.n_rows--;
    }
    weirp_grid_print(&g, p->out, p->width, p->color);
    weirp_grid_free(&g);
    for (size_t k = 0; k < n; k++) {
        const char *why = weirp_ope_cell(p->ope, policy, metric[k])->standing.refusal;
        if (!*why) continue;
        fprintf(p->out, "  ! %s: ", weirp_ope_metric_name(metric[k]));
        weirp_ope_paragraph(why, p->out, p->width, 6 + strlen(weirp_ope_metric_name(metric[k])), 4);
    }
    return WEIR_OK;
}

/* ---- metrics ---- */

static const char *verdict_cell(const weir_ope *ope, size_t policy, const weirp_contrast *c, weir_metric m) {
    if (c) return c->verdict == WEIRP_VERDICT_MORE ? "not enough" : weirp_verdict_text(c->verdict);
    return *weirp_ope_cell(ope, policy, m)->standing.refusal ? "refused" : "";
}

/* Two rows of a policy: numbers, and below them their intervals. */
static weir_status put_policy(const printing *p, weirp_grid *g, size_t policy, weir_metric m, weir_error *err) {
    const weir_ope *ope = p->ope;
    const weirp_cell_result *cell = weirp_ope_cell(ope, policy, m);
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    const weirp_ope_estimate *e = weirp_ope_shown(ope, cell);
    const weirp_contrast *c = weirp_ope_contrast_of(ope, policy, WEIRP_OPE_LOGGED, m);
    char(*below)[WEIRP_CELL] = weirp_grid_row(g, policy == 0) ? weirp_grid_row(g, false) : NULL;
    if (!below) return weirp_nomem(err);
    char(*row)[WEIRP_CELL] = below - g->n_columns;
    weirp_text_fit(row[0], WEIRP_CELL, ope->policy[policy], NAME_WIDTH);
    weirp_ope_number(row[1], WEIRP_CELL, &scale, e ? e->value : NAN, false);
    weirp_ope_between(below[1], WEIRP_CELL, &scale, weirp_ope_shown_interval(ope, policy, m), false);
    if (c) {
        weirp_ope_number(row[2], WEIRP_CELL, &scale, c->difference, true);
        weirp_ope_between(below[2], WEIRP_CELL, &scale, c->interval, true);
    }
    snprintf(row[3], WEIRP_CELL, "%s", verdict_cell(ope, policy, c, m));
    if (c && c->verdict == WEIRP_VERDICT_MORE) {
        char rows[64];
        weirp_ope_rows(rows, sizeof rows, c->n_more);
        if (*rows) snprintf(below[3], WEIRP_CELL, "%.40s rows more", rows);
    }
    return WEIR_OK;
}

static weir_status put_metric(const printing *p, weir_metric m, weir_error *err) {
    static const weirp_column columns[] = {
        {"policy", true, 0}, {"estimate", false, 0}, {"against what ran", false, 0}, {"verdict", true, 1}};
    const weir_ope *ope = p->ope;
    const weirp_ope_scale scale = weirp_ope_scale_of(ope, m);
    weirp_grid g = {.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    weir_status st = WEIR_OK;
    const weirp_cell_result *any = NULL;
    for (size_t k = 0; k < ope->n_policies && !any; k++)
        if (weirp_ope_cell(ope, k, m)->asked) any = weirp_ope_cell(ope, k, m);
    char title[128];
    for (int wide = 0; wide < 2; wide++) { /* on two lines where one is too short */
        const int n =
            snprintf(title, sizeof title, "%s%s%s (%s is better;%sreward model: %s)", weirp_ope_metric_name(m),
                     *scale.unit ? ", " : "", scale.unit, weirp_ope_less_is_better(m) ? "less" : "more",
                     wide ? "\n  " : " ", any->reward_model[0] ? any->reward_model : "none");
        if ((size_t)n <= p->width) break;
    }
    put_title(p, title);
    char(*logged)[WEIRP_CELL] = weirp_grid_row(&g, false);
    if (!logged) WEIRP_TRY(weirp_nomem(err));
    snprintf(logged[0], WEIRP_CELL, "what ran");
    weirp_ope_number(logged[1], WEIRP_CELL, &scale, any->logged_mean, false);
    for (size_t k = 0; k < ope->n_policies; k++)
        if (weirp_ope_cell(ope, k, m)->asked) WEIRP_TRY(put_policy(p, &g, k, m, err));
    weirp_grid_print(&g, p->out, p->width, p->color);
done:
    weirp_grid_free(&g);
    return st;
}

weir_status weir_ope_print(const weir_ope *ope, FILE *out, int columns, weir_error *err) {
    const char *no_color = getenv("NO_COLOR"); /* https://no-color.org: set and not empty */
    const printing p = {.ope = ope,
                        .out = out,
                        .width = columns < LEAST_WIDTH  ? LEAST_WIDTH
                                 : columns > MOST_WIDTH ? MOST_WIDTH
                                                        : (size_t)columns,
                        .color = !(no_color && *no_color) && isatty(fileno(out))};
    weir_status st = WEIR_OK;
    put_verdicts(&p);
    fprintf(out, "\n(by %s, %s intervals of %g %%)\n", ope->recommended, ope->interval, 100 * ope->level);
    put_cautions(&p);
    put_log(&p);
    for (size_t k = 0; k < ope->n_policies; k++) WEIRP_TRY(put_trust(&p, k, err));
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (weirp_ope_asked(ope, m)) WEIRP_TRY(put_metric(&p, m, err));
    WEIRP_TRY(weirp_ope_put_tails(ope, out, p.width, p.color, err));
    WEIRP_TRY(weirp_ope_put_curve(ope, out, p.width, p.color, err));
    WEIRP_TRY(weirp_ope_put_estimators(ope, out, p.width, p.color, err));
    if (fflush(out) != 0 || ferror(out)) WEIRP_TRY(weirp_fail(err, WEIR_IO, 0, "the report can't be written"));
done:
    return st;
}

/* rollout.c: how a rollout stands, step by step: what a store's table says of it. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/base/when.h"
#include "src/ope/gate_store.h"
#include "src/report/ope_report.h"
#include "src/store/store.h"
#include "weir/ope.h"

enum { WHY = 640 };

/* ---- reading ---- */

/* Whether the gateway that writes the store has it in its configuration; stores of before this was written don't say.
 */
typedef struct presence {
    bool known, removed;
    int64_t removed_ms;
} presence;

static weir_status read_gate(const char *path, weirp_gate *gate, presence *there, weir_error *err) {
    weirp_store *store = NULL;
    weirp_snapshot *snapshot = NULL;
    weirp_gate_configured configured;
    weir_status st;
    *there = (presence){.known = false};
    WEIRP_TRY(weirp_store_open(&store, path, WEIRP_STORE_READ, err));
    WEIRP_TRY(weirp_snapshot_begin(&snapshot, store, err));
    st = weirp_gate_read(weirp_snapshot_table(snapshot), gate, err);
    if (st == WEIR_NOTFOUND)
        weirp_fail(err, st, 0, "%s: no rollout has been configured (docs/gateway.md, \"rollout\")", path);
    WEIRP_TRY(st);
    st = weirp_gate_read_configured(weirp_snapshot_table(snapshot), &configured, err);
    if (st == WEIR_OK) *there = (presence){true, configured.digest != gate->plan.digest, configured.since_ms};
    if (st == WEIR_NOTFOUND) st = WEIR_OK;
done:
    weirp_snapshot_end(snapshot);
    weirp_store_close(store);
    return st;
}

/* ---- why it stands where it stands ---- */

/* "1 feedback more is", "340 feedbacks more are". */
static void put_more(const char *count, char out[64]) {
    const bool one = !strcmp(count, "1");
    snprintf(out, 64, "%.31s %s", *count ? count : "very many", one ? "feedback more is" : "feedbacks more are");
}

/* Whose labels, or answers, there are more of than there should be. */
static void why_uneven(const weirp_gate *g, char out[WHY]) {
    weirp_interval of_labels, of_answers;
    weirp_gate_weights(g, &of_labels, &of_answers);
    const bool labels = of_labels.lo > 0 || of_labels.hi < 0;
    const weirp_interval now = labels ? of_labels : of_answers;
    const char *more = now.lo > 0 ? "candidate" : "base", *fewer = now.lo > 0 ? "base" : "candidate";
    snprintf(out, WHY,
             "waits: there are more %s of the %s's decisions, and fewer of the %s's, than their chances allow (mean "
             "weight %.3g to %.3g, and not 0): %s",
             labels ? "labels" : "answers", more, fewer, now.lo, now.hi,
             labels ? "label the same share of both" : "one of them is slower; it evens out with time");
}

/* What a step that runs waits for: the first reason that holds. */
static void why_waiting(const weirp_gate *g, weirp_interval quality, weirp_interval error, char out[WHY]) {
    const weirp_gate_plan *p = &g->plan;
    const double needs = weirp_gate_needs(g);
    char count[32], more[64];
    if (weirp_gate_is_blind(g)) {
        snprintf(out, WHY,
                 "learns nothing: in shadow, evidence on quality needs a policy in force with an explore_floor, since "
                 "nothing is known of models that it never chooses");
    } else if (!weirp_gate_is_even(g)) {
        why_uneven(g, out);
    } else if (quality.lo < -p->margin && isnan(needs)) {
        snprintf(out, WHY, "waits: too few feedbacks to tell how many more are needed");
    } else if (quality.lo < -p->margin && isinf(needs)) {
        snprintf(out, WHY, "waits: the difference is near the margin of %g itself, which no number of feedbacks tells",
                 p->margin);
    } else if (quality.lo < -p->margin) {
        weirp_ope_rows(count, sizeof count, needs);
        put_more(count, more);
        snprintf(out, WHY,
                 "waits: quality may still be lower by %.3g, which is more than the margin of %g; about %s needed, if "
                 "they say what those before did",
                 -quality.lo, p->margin, more);
    } else if (g->n_feedback < p->min_feedback) {
        weirp_text_count(count, sizeof count, (size_t)(p->min_feedback - g->n_feedback));
        put_more(count, more);
        snprintf(out, WHY, "waits: %s needed, as configured (min_feedback %llu)", more,
                 (unsigned long long)p->min_feedback);
    } else if (error.hi > p->margin_error) {
        snprintf(out, WHY, "waits: errors may still be more frequent by %.3g, which is more than the margin of %g",
                 error.hi, p->margin_error);
    } else if ((double)(weirp_unix_ms() - g->since_ms) < p->hold_ms) {
        snprintf(out, WHY, "waits until it has run for %g hours, as configured", p->hold_ms / 3600e3);
    } else {
        snprintf(out, WHY, "goes on as soon as a gateway looks: nothing is missing");
    }
}

static void why(const weirp_gate *g, const presence *there, weirp_interval quality, weirp_interval error,
                char out[WHY]) {
    const weirp_gate_event *last = g->n_events ? &g->event[g->n_events - 1] : NULL;
    if (g->status != WEIRP_GATE_STOPPED && there->removed)
        snprintf(
            out, WHY,
            "isn't configured any more, and decides nothing where it isn't; once it is again, it goes on from here");
    else if (g->status == WEIRP_GATE_RUNNING)
        why_waiting(g, quality, error, out);
    else if (g->status == WEIRP_GATE_PASSED && g->plan.shadow)
        snprintf(out, WHY, "passed: no harm above the margins; a rollout of mode share may follow");
    else if (g->status == WEIRP_GATE_PASSED)
        snprintf(out, WHY,
                 "passed: the share stays, and is watched, until the candidate becomes the configuration's policy");
    else if (!last || last->change < WEIRP_GATE_HARM_QUALITY) /* gate_store.h: its state couldn't be read */
        snprintf(out, WHY, "stopped before: what it had counted is lost; another name begins anew");
    else if (last->change == WEIRP_GATE_HARM_ERRORS)
        snprintf(
            out, WHY,
            "stopped: errors are more frequent by %.3g at least, which is more than the margin of %g; another name "
            "begins anew",
            last->error.lo, g->plan.margin_error);
    else
        snprintf(out, WHY,
                 "stopped: quality is lower by %.3g at least, which is more than the margin of %g; another name begins "
                 "anew",
                 -last->quality.hi, g->plan.margin);
}

static double share_now(const weirp_gate *g) {
    const unsigned step = weirp_gate_now(g);
    return step == WEIRP_GATE_OFF ? 0 : g->plan.step[step];
}

/* ---- for machines ---- */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *interval(weirp_interval i) {
    return json_pack("[o, o]", number(i.lo), number(i.hi));
}

static json_t *instant(int64_t ms) {
    char text[WEIRP_WHEN_TEXT];
    weirp_when_text(text, ms);
    return json_string(text);
}

static json_t *history_json(const weirp_gate *g) {
    json_t *list = json_array();
    for (size_t i = 0; i < g->n_events; i++) {
        const weirp_gate_event *e = &g->event[i];
        json_array_append_new(list, json_pack("{s:o, s:s, s:i, s:f, s:I, s:I, s:o, s:o}", "time", instant(e->time_ms),
                                              "what", weirp_gate_change_text(e->change), "step", (int)e->step + 1,
                                              "share", g->plan.step[e->step], "decisions", (json_int_t)e->n_decisions,
                                              "feedback", (json_int_t)e->n_feedback, "quality_difference",
                                              interval(e->quality), "error_difference", interval(e->error)));
    }
    return list;
}

static json_t *gate_json(const weirp_gate *g, const presence *there) {
    const weirp_gate_plan *p = &g->plan;
    const weirp_interval quality = g->quality_now, error = g->error_now;
    weirp_interval labels, answers;
    char text[WHY];
    weirp_gate_weights(g, &labels, &answers);
    why(g, there, quality, error, text);
    json_t *steps = json_array();
    for (size_t i = 0; i < p->n_steps; i++) json_array_append_new(steps, json_real(p->step[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:o, s:f, s:f, s:f, s:I, s:f, s:o, s:I, s:I, s:I, s:o, "
                     "s:o, s:{s:o, s:o}, s:b, s:o, s:s, s:o, s:o, s:o}",
                     "kind", "rollout", "name", p->name, "base", p->base, "candidate", p->candidate, "mode",
                     p->shadow ? "shadow" : "share", "status", weirp_gate_status_name(g->status), "step",
                     (int)g->step + 1, "share", share_now(g), "steps", steps, "level", p->level, "margin_quality",
                     p->margin, "margin_error", p->margin_error, "min_feedback", (json_int_t)p->min_feedback,
                     "hold_hours", p->hold_ms / 3600e3, "since", instant(g->since_ms), "decisions",
                     (json_int_t)g->n_decisions, "feedback", (json_int_t)g->n_feedback, "late_feedback",
                     (json_int_t)g->n_late, "quality_difference", interval(quality), "error_difference",
                     interval(error), "mean_weight", "labels", interval(labels), "answers", interval(answers), "blind",
                     weirp_gate_is_blind(g), "needs_feedback", number(weirp_gate_needs(g)), "why", text, "history",
                     history_json(g), "configured", there->known ? json_boolean(!there->removed) : json_null(),
                     "removed", there->removed ? instant(there->removed_ms) : json_null());
}

weir_status weir_ope_rollout_json(const char *store, char **json, weir_error *err) {
    weirp_gate gate;
    presence there;
    *json = NULL;
    weir_status st = read_gate(store, &gate, &there, err);
    if (st != WEIR_OK) return st;
    json_t *o = gate_json(&gate, &there);
    *json = o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    return *json ? WEIR_OK : weirp_nomem(err);
}

/* ---- for people ---- */

static const weirp_column columns[] = {{"step", false, 0},     {"share", false, 0},  {"decisions", false, 2},
                                       {"feedback", false, 0}, {"quality", true, 0}, {"errors", true, 1}};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static bool put_row(weirp_grid *grid, const weirp_gate *g, const weirp_gate_event *e, bool bold) {
    char(*cell)[WEIRP_CELL] = weirp_grid_row(grid, bold);
    if (!cell) return false;
    snprintf(cell[0], WEIRP_CELL, "%zu of %zu", e->step + 1, g->plan.n_steps);
    snprintf(cell[1], WEIRP_CELL, "%.4g %%", 100 * g->plan.step[e->step]);
    weirp_text_count(cell[2], WEIRP_CELL, (size_t)e->n_decisions);
    weirp_text_count(cell[3], WEIRP_CELL, (size_t)e->n_feedback);
    snprintf(cell[4], WEIRP_CELL, "[%+.4f, %+.4f]", e->quality.lo, e->quality.hi);
    snprintf(cell[5], WEIRP_CELL, "[%+.4f, %+.4f]", e->error.lo, e->error.hi);
    return true;
}

/* A row for each step that is over, and one for what is under way. They fit into 80 columns. */
static bool put_steps(weirp_grid *grid, const weirp_gate *g, weirp_interval quality, weirp_interval error) {
    bool whole = true;
    for (size_t i = 0; whole && i < g->n_events; i++)
        if (g->event[i].change != WEIRP_GATE_STARTED) whole = put_row(grid, g, &g->event[i], false);
    if (g->status == WEIRP_GATE_STOPPED) return whole;
    const weirp_gate_event now = {0, WEIRP_GATE_STARTED, g->step, g->n_decisions, g->n_feedback, quality, error};
    return whole && put_row(grid, g, &now, true);
}

/* When it has moved, and why: a line each, which no terminal is too narrow for. */
static void put_history(const weirp_gate *g, FILE *out) {
    for (size_t i = 0; i < g->n_events; i++) {
        const weirp_gate_event *e = &g->event[i];
        char when[WEIRP_WHEN_TEXT];
        weirp_when_text(when, e->time_ms);
        fprintf(out, "%s%s  step %zu %s\n", i ? "" : "\n", when, e->step + 1, weirp_gate_change_text(e->change));
    }
}

static void put_head(const weirp_gate *g, const presence *there, FILE *out) {
    const weirp_gate_plan *p = &g->plan;
    char since[WEIRP_WHEN_TEXT], began[WEIRP_WHEN_TEXT], removed[WEIRP_WHEN_TEXT];
    weirp_when_text(since, g->since_ms);
    weirp_when_text(removed, there->removed_ms);
    weirp_when_text(began, g->n_events ? g->event[0].time_ms : g->since_ms);
    fprintf(out, "rollout \"%s\": %s may follow %s; begun %s\n", p->name, p->candidate, p->base, began);
    if (g->status == WEIRP_GATE_STOPPED)
        fprintf(out, "stopped at step %zu of %zu: nothing is dispatched by the candidate any more\n", g->step + 1,
                p->n_steps);
    else if (there->removed)
        fprintf(out, "out of the configuration since %s; until then %s, step %zu of %zu: %.4g %% of the traffic\n",
                removed, weirp_gate_status_name(g->status), g->step + 1, p->n_steps, 100 * share_now(g));
    else if (p->shadow)
        fprintf(out, "in shadow since %s: nothing is dispatched by the candidate\n", since);
    else
        fprintf(out, "%s, step %zu of %zu: %.4g %% of the traffic since %s\n", weirp_gate_status_name(g->status),
                g->step + 1, p->n_steps, 100 * share_now(g), since);
}

weir_status weir_ope_rollout_print(const char *store, FILE *out, int width, weir_error *err) {
    weirp_gate gate;
    weirp_grid grid = {.columns = columns, .n_columns = N_COLUMNS};
    char text[WHY];
    presence there;
    weir_status st = read_gate(store, &gate, &there, err);
    if (st != WEIR_OK) return st;
    const weirp_interval quality = gate.quality_now, error = gate.error_now;
    why(&gate, &there, quality, error, text);
    put_head(&gate, &there, out);
    fprintf(out, "%s\n\n", text);
    if (put_steps(&grid, &gate, quality, error)) {
        weirp_grid_print(&grid, out, width > 0 ? (size_t)width : 100, false);
        put_history(&gate, out);
        fprintf(out,
                "\nquality and errors: candidate minus policy, with labels as they came; all intervals of the rollout "
                "are right at once with %g %%, however often one looks.\n",
                100 * gate.plan.level);
        if (gate.n_late) {
            char late[32];
            weirp_text_count(late, sizeof late, (size_t)gate.n_late);
            fprintf(out, "%s labels came after their decision's step was over: they don't count.\n", late);
        }
    } else {
        st = weirp_nomem(err);
    }
    weirp_grid_free(&grid);
    if (st == WEIR_OK && ferror(out)) st = weirp_fail(err, WEIR_IO, 0, "the report can't be written");
    return st;
}

/* policies.c: every policy's way along its knob, as paths of outcomes.
 *
 * Plug-in, constant and oracle paths are exact (measure.h). Minimax and the fallback are asked from weir_policy_decide
 * on a grid of values, and between two of them by bisection. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/report/evaluation.h"

enum { LOG_VALUES = 300, STEP_VALUES = 150, MAX_VALUES = LOG_VALUES + STEP_VALUES + 1, PROBES = 15 };

/* Values from 0 to where nothing changes any more: log-spaced, and as many again where the plug-in curve moves. */
static size_t value_grid(const weirp_path *plugin, double *grid) {
    double lo = 1e-6, hi = 1e3;
    if (plugin->n_steps > 0) {
        lo = fmax(plugin->steps[0].value / 100, 1e-12);
        hi = fmax(plugin->steps[plugin->n_steps - 1].value * 100, lo * 10);
    }
    size_t n = 0;
    grid[n++] = 0;
    for (size_t i = 0; i < LOG_VALUES; i++) grid[n++] = lo * pow(hi / lo, (double)i / (LOG_VALUES - 1));
    for (size_t i = 0; i < STEP_VALUES; i++) {
        const double at = ((double)i + 0.5) / STEP_VALUES;
        grid[n++] = plugin->n_steps > 0 ? plugin->steps[(size_t)(at * (double)plugin->n_steps)].value * (1 + 1e-9)
                                        : lo * pow(hi / lo, at);
    }
    weirp_percentile(grid, n, 0); /* sorts */
    size_t distinct = 1;
    for (size_t i = 1; i < n; i++)
        if (grid[i] > grid[distinct - 1]) grid[distinct++] = grid[i];
    return distinct;
}

/* One prompt's estimates, borrowed from the tables, and room for one decision. */
typedef struct asker {
    const weir_evaluation *e;
    weir_estimates estimates;
    weir_decision decision;
    double *room; /* (6, n_models) risk, regret, propensity; latency, its p95, output tokens: unknown */
    weir_policy_options options;
} asker;

static weir_status asker_init(asker *a, const weir_evaluation *e, const char *policy, bool fallback, weir_error *err) {
    const size_t m = e->tables->n_models;
    *a = (asker){.e = e, .options = weir_policy_defaults()};
    a->options.policy = policy;
    a->options.fallback = fallback;
    a->room = weirp_array(6 * m, sizeof *a->room);
    if (!a->room) return weirp_nomem(err);
    for (size_t k = 3 * m; k < 6 * m; k++) a->room[k] = NAN;
    a->decision =
        (weir_decision){.n_models = m, .risk_usd = a->room, .regret_usd = a->room + m, .propensity = a->room + 2 * m};
    a->estimates = (weir_estimates){.n_models = m,
                                    .latency_ms = a->room + 3 * m,
                                    .latency_p95 = a->room + 4 * m,
                                    .output_tokens = a->room + 5 * m,
                                    .input_tokens = NAN,
                                    .coverage = e->tables->coverage};
    return WEIR_OK;
}

static void look_at(asker *a, size_t i) {
    const weirp_tables *t = a->e->tables;
    const size_t row = i * t->n_models;
    weir_estimates *s = &a->estimates;
    s->quality = t->q_hat + row, s->quality_sd = t->q_sd + row;
    s->quality_lo = t->q_lo + row, s->quality_hi = t->q_hi + row;
    s->cost_usd = t->c_hat + row, s->cost_sd = t->c_sd + row;
    s->cost_lo = t->c_lo + row, s->cost_hi = t->c_hi + row;
    s->eligible = t->eligible + row;
    s->novelty = t->novelty[i];
    s->fitted = t->fitted[i];
}

static weir_status ask(asker *a, double value, size_t *model, weir_error *err) {
    a->options.value_usd = value;
    const weir_status st = weir_policy_decide(&a->options, &a->estimates, &a->decision, err);
    *model = a->decision.model;
    return st;
}

static void start_at(weirp_path *path, const weirp_tables *t, size_t i, size_t model) {
    path->model[i] = (uint32_t)model;
    path->cost[i] = t->cost_usd[i * t->n_models + model];
    path->quality[i] = t->quality[i * t->n_models + model];
}

static weir_status step_to(weirp_path *path, const weirp_tables *t, size_t i, size_t from, size_t to, double value,
                           weir_error *err) {
    const size_t a = i * t->n_models + from, b = i * t->n_models + to;
    return weirp_path_add(path,
                          (weirp_step){value, t->cost_usd[b] - t->cost_usd[a], t->quality[b] - t->quality[a],
                                       (uint32_t)i, (uint32_t)to},
                          err);
}

/* Between two values of the grid the choice moves from *model to another one: finds, by bisection, from where on, and
 * steps there. More than one change in between is followed too, as long as the ends differ. */
static weir_status follow(asker *a, weirp_path *path, size_t i, double lo, size_t *model, double hi, size_t target,
                          weir_error *err) {
    enum { HALVINGS = 64, CHANGES = 8 };
    weir_status st = WEIR_OK;
    for (int change = 0; *model != target; change++) {
        double left = lo > 0 ? lo : hi * 1e-6, right = hi;
        size_t to = target;
        for (int h = 0; h < HALVINGS && change < CHANGES && right > left * (1 + 1e-13); h++) {
            const double middle = sqrt(left) * sqrt(right);
            size_t found;
            WEIRP_TRY(ask(a, middle, &found, err));
            if (found == *model)
                left = middle;
            else
                right = middle, to = found;
        }
        WEIRP_TRY(step_to(path, a->e->tables, i, *model, to, right, err));
        *model = to;
        lo = right;
    }
done:
    return st;
}

/* One prompt's choices along the grid, asked one by one. */
static weir_status walk(asker *a, weirp_path *path, size_t i, const double *grid, size_t n_grid, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t model, at = 0;
    for (size_t g = 0; g < n_grid; g++) {
        WEIRP_TRY(ask(a, grid[g], &model, err));
        if (g == 0)
            start_at(path, a->e->tables, i, at = model);
        else
            WEIRP_TRY(follow(a, path, i, grid[g - 1], &at, grid[g], model, err));
    }
done:
    return st;
}

static weir_status trace_minimax(weir_evaluation *e, const double *grid, size_t n_grid,
                                 const weir_evaluate_options *options, weir_error *err) {
    weirp_path *path = &e->curve[WEIRP_MINIMAX].path;
    weir_status st = WEIR_OK;
    asker a = {0};
    WEIRP_TRY(weirp_path_init(path, e->tables->n, err));
    WEIRP_TRY(asker_init(&a, e, "minimax", false, err));
    for (size_t i = 0; i < path->n; i++) {
        if (i % 64 == 0) WEIRP_TRY(weirp_progress(options, "minimax", i, path->n, err));
        look_at(&a, i);
        WEIRP_TRY(walk(&a, path, i, grid, n_grid, err));
    }
    weirp_path_sort(path);
done:
    free(a.room);
    return st;
}

/* Does the plug-in policy distrust its choice for this prompt, at any of a few values? */
static weir_status falls_back(asker *a, const double *grid, size_t n_grid, bool *does, weir_error *err) {
    weir_status st = WEIR_OK;
    *does = false;
    for (size_t p = 0; p < PROBES && !*does; p++) {
        size_t model;
        WEIRP_TRY(ask(a, grid[p * (n_grid - 1) / (PROBES - 1)], &model, err));
        *does = a->decision.rule == WEIR_RULE_MINIMAX;
    }
done:
    return st;
}

/* What "weir route" does unless told otherwise: the exact plug-in path where it never falls back, the grid's elsewhere.
 */
static weir_status trace_fallback(weir_evaluation *e, const double *grid, size_t n_grid,
                                  const weir_evaluate_options *options, weir_error *err) {
    const weirp_path *plugin = &e->curve[WEIRP_PLUGIN].path;
    weirp_path *path = &e->curve[WEIRP_FALLBACK].path;
    weir_status st = WEIR_OK;
    asker a = {0};
    bool *asked = weirp_array(e->tables->n, sizeof *asked);
    size_t count = 0;
    WEIRP_TRY(weirp_path_init(path, plugin->n, err));
    WEIRP_TRY(asker_init(&a, e, "plugin", true, err));
    if (!asked) WEIRP_TRY(weirp_nomem(err));
    for (size_t i = 0; i < path->n; i++) {
        if (i % 256 == 0) WEIRP_TRY(weirp_progress(options, "fallback", i, path->n, err));
        look_at(&a, i);
        WEIRP_TRY(falls_back(&a, grid, n_grid, &asked[i], err));
        count += asked[i];
        if (asked[i])
            WEIRP_TRY(walk(&a, path, i, grid, n_grid, err));
        else
            start_at(path, e->tables, i, plugin->model[i]);
    }
    for (size_t s = 0; s < plugin->n_steps; s++)
        if (!asked[plugin->steps[s].prompt]) WEIRP_TRY(weirp_path_add(path, plugin->steps[s], err));
    weirp_path_sort(path);
    e->operating.fallback_share = path->n ? (double)count / (double)path->n : 0;
done:
    free(asked);
    free(a.room);
    return st;
}

/* Text-blind: the plug-in rule on each model's mean estimates. */
static weir_status trace_constant(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    const size_t m = t->n_models, cells = t->n * m;
    weir_status st = WEIR_OK;
    double *q = weirp_array(cells, sizeof *q), *c = weirp_array(cells, sizeof *c);
    if (!q || !c) WEIRP_TRY(weirp_nomem(err));
    for (size_t k = 0; k < m; k++) {
        double q_sum = 0, c_sum = 0;
        size_t count = 0;
        for (size_t i = 0; i < t->n; i++) {
            if (isnan(e->q_eff[i * m + k])) continue;
            q_sum += e->q_eff[i * m + k], c_sum += e->c_eff[i * m + k], count++;
        }
        for (size_t i = 0; i < t->n; i++) {
            q[i * m + k] = isnan(e->q_eff[i * m + k]) ? NAN : q_sum / (double)count;
            c[i * m + k] = c_sum / (double)count;
        }
    }
    WEIRP_TRY(weirp_path_plugin(&e->curve[WEIRP_CONSTANT].path, q, c, t->quality, t->cost_usd, t->n, m, err));
done:
    free(q), free(c);
    return st;
}

/* Strong for the prompts with the widest predicted gap; the knob falls from the widest gap to the least, so that steps
 * carry its negative. */
static weir_status trace_threshold(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    weirp_path *path = &e->curve[WEIRP_THRESHOLD].path;
    weir_status st = WEIR_OK;
    if (e->strong == (size_t)-1) return WEIR_OK;
    WEIRP_TRY(weirp_path_init(path, t->n, err));
    path->grid = true;
    path->start = -INFINITY;
    for (size_t i = 0; i < t->n; i++) {
        start_at(path, t, i, e->weak);
        WEIRP_TRY(step_to(path, t, i, e->weak, e->strong, -e->gap[i], err));
    }
    weirp_path_sort(path);
done:
    return st;
}

static weir_status trace_random(weir_evaluation *e, weir_error *err) {
    const weirp_tables *t = e->tables;
    weirp_path *path = &e->curve[WEIRP_RANDOM].path;
    const weir_status st = weirp_path_init(path, t->n, err);
    if (st != WEIR_OK) return st;
    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->n_models; k++) {
            path->cost[i] += t->cost_usd[i * t->n_models + k] / (double)t->n_models;
            path->quality[i] += t->quality[i * t->n_models + k] / (double)t->n_models;
        }
    return WEIR_OK;
}

/* Without costs the truth's cost table is zeros: one way of calculating, and what rests on cost isn't shown. */
static void clear_costs(weir_evaluation *e) {
    weirp_tables *t = e->tables;
    if (!e->has_cost) memset(t->cost_usd, 0, t->n * t->n_models * sizeof *t->cost_usd);
    if (!e->has_cost) memset(e->c_eff, 0, t->n * t->n_models * sizeof *e->c_eff);
}

static weir_status need_intervals(weir_evaluation *e, weir_error *err) {
    weirp_tables *t = e->tables;
    for (size_t i = 0; i < t->n * t->n_models; i++)
        if (isnan(t->q_sd[i])) t->q_sd[i] = 0;
    return e->has_intervals ? WEIR_OK
                            : weirp_note(e, err,
                                         "The router gives no intervals for some models: minimax takes them as "
                                         "knowing nothing there.");
}

weir_status weirp_trace_policies(weir_evaluation *e, const weir_evaluate_options *options, weir_error *err) {
    const weirp_tables *t = e->tables;
    weir_status st = WEIR_OK;
    double grid[MAX_VALUES];
    if (!e->has_curve) return WEIR_OK;
    clear_costs(e);
    WEIRP_TRY(need_intervals(e, err));
    WEIRP_TRY(weirp_path_plugin(&e->curve[WEIRP_PLUGIN].path, e->q_eff, e->c_eff, t->quality, t->cost_usd, t->n,
                                t->n_models, err));
    WEIRP_TRY(weirp_path_plugin(&e->curve[WEIRP_ORACLE].path, t->quality, t->cost_usd, t->quality, t->cost_usd, t->n,
                                t->n_models, err));
    WEIRP_TRY(trace_constant(e, err));
    WEIRP_TRY(trace_threshold(e, err));
    WEIRP_TRY(trace_random(e, err));
    size_t n_grid = 1; /* without costs only quality counts */
    grid[0] = INFINITY;
    if (e->has_cost) n_grid = value_grid(&e->curve[WEIRP_PLUGIN].path, grid);
    WEIRP_TRY(trace_minimax(e, grid, n_grid, options, err));
    WEIRP_TRY(trace_fallback(e, grid, n_grid, options, err));
    for (size_t p = 0; p < WEIRP_N_POLICIES; p++)
        if (e->curve[p].path.n_steps + 1 > e->max_points) e->max_points = e->curve[p].path.n_steps + 1;
done:
    return st;
}

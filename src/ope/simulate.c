/* simulate.c: the method on logs whose truth is known: bias, error and coverage of every estimator.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/parallel.h"
#include "src/measure/measure.h"
#include "src/ope/population.h"
#include "src/ope/sequence.h"
#include "src/ope/trials.h"

const char *const weirp_interval_names[WEIRP_N_INTERVALS] = {
#define NAME(name, text) text,
    WEIRP_INTERVAL_TABLE(NAME)
#undef NAME
};

static const char DEFAULT_LOGGING[] = "plugin,explore=0.05";

typedef struct trying {
    const weir_ope_trial_options *options;
    weirp_population population;
    double *logging;                         /* (n, n_models) chances */
    double *chances[WEIRP_OPE_MAX_POLICIES]; /* (n, n_models) */
    double bound;                            /* greatest weight of the first policy */

    weir_ope_trials *t;
    pthread_mutex_t lock; /* over t and failing */
    weir_status status;
    weir_error err;
    size_t n_done;
    atomic_bool stop;
} trying;

/* What reads the chances out of a log has none to read them from: this policy is what logs are made with. */
static weir_status check_logging(const char *policy, weir_error *err) {
    const size_t n = strcspn(policy, ",");
    if (n != 6 || (strncmp(policy, "logged", n) != 0 && strncmp(policy, "column", n) != 0)) return WEIR_OK;
    return weirp_fail(
        err, WEIR_INVALID, 0,
        "logging: \"%.*s\" reads chances from a log, and this is the policy that logs are drawn with: name "
        "one that decides, such as plugin,explore=0.05",
        (int)n, policy);
}

/* ---- the truth ---- */

static double greatest_weight(const trying *y) {
    double most = 0;
    for (size_t i = 0; i < y->population.n * y->population.n_models; i++)
        if (y->logging[i] > 0) most = fmax(most, y->chances[0][i] / y->logging[i]);
    return most;
}

static weir_status find_truth(trying *y, const weir_router *router, weir_error *err) {
    const weir_ope_options *o = &y->options->o;
    const size_t n_cells = y->population.n * y->population.n_models;
    weir_ope_trials *t = y->t;
    weir_status st = WEIR_OK;
    y->logging = weirp_array(n_cells, sizeof *y->logging);
    if (!y->logging) return weirp_nomem(err);
    WEIRP_TRY(weirp_population_ask(&y->population, t->logging, router, NAN, y->logging, err));
    for (size_t p = 0; p < o->n_policies; p++) {
        if (!(y->chances[p] = weirp_array(n_cells, sizeof *y->chances[p]))) return weirp_nomem(err);
        if (strcmp(o->policies[p], "logged") == 0)
            memcpy(y->chances[p], y->logging, n_cells * sizeof *y->logging);
        else
            WEIRP_TRY(weirp_population_ask(&y->population, o->policies[p], router, NAN, y->chances[p], err));
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
            weirp_trial_cell *c = &t->cell[p * WEIR_N_METRICS + m];
            c->truth = weirp_population_mean(&y->population, y->chances[p], m);
            c->logged_truth = weirp_population_mean(&y->population, y->logging, m);
            WEIRP_TRY(weirp_population_quantiles(&y->population, y->chances[p], m, c->quantile, err));
            if (!(c->estimator = weirp_array(t->n_estimators, sizeof *c->estimator))) return weirp_nomem(err);
        }
    }
    y->bound = greatest_weight(y);
done:
    return st;
}

/* The truth of a curve's points, at the knobs that the result has. */
static weir_status find_curve_truth(trying *y, weirp_log_curve *curve, weir_error *err) {
    const weirp_population *p = &y->population;
    const size_t n_cells = p->n * p->n_models;
    double *chances = weirp_array(n_cells, sizeof *chances), lo = INFINITY, hi = 0;
    weirp_point *points = weirp_array(curve->n, sizeof *points);
    weir_status st = WEIR_OK;
    if (!chances || !points) WEIRP_TRY(weirp_nomem(err));
    for (size_t k = 0; k < curve->n; k++) {
        WEIRP_TRY(weirp_population_ask(p, curve->policy, NULL, curve->point[k].knob, chances, err));
        curve->point[k].true_cost = weirp_population_mean(p, chances, WEIR_METRIC_COST);
        curve->point[k].true_quality = weirp_population_mean(p, chances, WEIR_METRIC_QUALITY);
        points[k] = (weirp_point){curve->point[k].true_cost, curve->point[k].true_quality, curve->point[k].knob};
    }
    for (size_t m = 0; m < p->n_models; m++) {
        for (size_t i = 0; i < n_cells; i++) chances[i] = i % p->n_models == m;
        curve->single[m].true_cost = weirp_population_mean(p, chances, WEIR_METRIC_COST);
        curve->single[m].true_quality = weirp_population_mean(p, chances, WEIR_METRIC_QUALITY);
        if (*curve->single[m].refusal) continue; /* as the estimate, the truth goes by what can be judged */
        lo = fmin(lo, curve->single[m].true_cost);
        hi = fmax(hi, curve->single[m].true_cost);
    }
    if (!*curve->why_not) curve->true_aiq = weirp_hull_area(points, weirp_hull(points, curve->n), lo, hi);
done:
    free(chances);
    free(points);
    return st;
}

/* ---- one log ---- */

static void count(weirp_trial *t, const weirp_ope_estimate *e, double truth) {
    const weirp_interval interval[WEIRP_N_INTERVALS] = {e->normal, e->t, e->percentile, e->bca, e->bernstein};
    if (e->why_not || !isfinite(e->value)) return;
    t->n++;
    t->sum_error += e->value - truth;
    t->sum_squares += (e->value - truth) * (e->value - truth);
    t->sum_se += e->se;
    for (size_t k = 0; k < WEIRP_N_INTERVALS; k++) {
        if (isnan(interval[k].lo)) continue;
        t->n_interval[k]++;
        t->covered[k] += interval[k].lo <= truth && truth <= interval[k].hi;
        t->below[k] += truth < interval[k].lo;
        t->width[k] += interval[k].hi - interval[k].lo;
    }
}

/* An end that is infinite is as right as can be. */
static void count_tail(weirp_trial_cell *c, const weirp_tail *tail) {
    if (!tail->known) return;
    c->n_tails++;
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++)
        c->quantile_covered[k] += tail->quantile_t[k].lo <= c->quantile[k] && c->quantile[k] <= tail->quantile_t[k].hi;
}

static bool less_is_better(weir_metric m) {
    return m != WEIR_METRIC_QUALITY;
}

/* What is refused has a standard error all the same, unless there is no estimate: a difference that would have been
 * clear by it is counted too. */
void weirp_trials_count_verdict(weir_ope_trials *t, const weirp_contrast *c) {
    const weirp_trial_cell *a = &t->cell[c->policy * WEIR_N_METRICS + c->metric];
    const double other =
        c->other == (size_t)-1 ? a->logged_truth : t->cell[c->other * WEIR_N_METRICS + c->metric].truth;
    const double truth = (a->truth - other) * (less_is_better(c->metric) ? -1 : 1); /* above 0: better */
    const bool refused = c->verdict == WEIRP_VERDICT_REFUSED,
               told = c->verdict == WEIRP_VERDICT_BETTER || c->verdict == WEIRP_VERDICT_WORSE;
    const bool clear = fabs(truth) > 2 * c->se + 1e-12 * fabs(other); /* what is the same differs by rounding */
    weirp_trial_verdicts *v = &t->verdicts[c->metric];
    v->n++;
    v->n_refused += refused;
    v->n_same += c->verdict == WEIRP_VERDICT_SAME;
    v->n_told += told;
    v->n_wrong += told && (c->verdict == WEIRP_VERDICT_BETTER ? truth <= 0 : truth >= 0);
    v->n_clear += clear;
    v->n_clear_told += clear && told;
    v->n_refused_clear += clear && refused;
}

static void count_curve(weir_ope_trials *t, const weirp_log_curve *c) {
    bool all = true;
    if (*c->why_not) return; /* it isn't whole */
    for (size_t k = 0; k < c->n; k++) {
        const weirp_curve_point *p = &c->point[k];
        /* the true point of this knob; where rounding alone keeps it out, it is in */
        const double tq = 1e-12, tc = 1e-12 * fabs(p->true_cost);
        all &= p->true_quality >= p->quality_lo - tq && p->true_quality <= p->quality_hi + tq &&
               p->true_cost >= p->cost_lo - tc && p->true_cost <= p->cost_hi + tc;
    }
    t->n_curves++;
    t->n_bands_covered += all;
    t->n_aiq_covered += c->aiq_lo <= c->true_aiq && c->true_aiq <= c->aiq_hi;
    t->true_aiq = c->true_aiq;
    t->sum_aiq += c->aiq - c->true_aiq;
    t->sum_aiq_squares += (c->aiq - c->true_aiq) * (c->aiq - c->true_aiq);
}

/* Whether the sequence for the first policy's quality never leaves the truth. */
static bool sequence_right(const trying *y, const uint32_t *prompt, const uint32_t *model, size_t n) {
    const weirp_population *p = &y->population;
    const double truth = y->t->cell[WEIR_METRIC_QUALITY].truth;
    weirp_sequence s = weirp_sequence_start_weighted(0, 1, 0, y->bound, 1, y->t->level);
    for (size_t i = 0; i < n; i++) {
        const size_t at = prompt[i] * p->n_models + model[i];
        weirp_sequence_add_weighted(&s, y->chances[0][at] / y->logging[at], p->metric[WEIR_METRIC_QUALITY][at]);
        const weirp_interval now = weirp_sequence_now(&s);
        if (truth < now.lo || truth > now.hi) return false;
    }
    return true;
}

static const double SUPPORTED = 1e-9; /* mass by rounding alone */

static void count_log(trying *y, weir_ope *r, bool right) {
    weir_ope_trials *t = y->t;
    /* What weighting can't see isn't promised by the sequence. */
    const bool supported = !(r->cell[WEIR_METRIC_QUALITY].standing.unsupported > SUPPORTED);
    for (size_t i = 0; i < t->n_policies * WEIR_N_METRICS; i++) {
        weirp_trial_cell *c = &t->cell[i];
        const weirp_cell_result *from = &r->cell[i];
        if (!from->asked) continue;
        c->asked = true;
        c->n_refused += *from->standing.refusal != 0;
        if (*from->standing.refusal) continue;
        c->sum_ess += from->standing.ess;
        for (size_t e = 0; e < t->n_estimators; e++) count(&c->estimator[e], &from->estimate[e], c->truth);
        count_tail(c, &from->tail);
    }
    for (size_t i = 0; i < r->n_contrasts; i++)
        if (r->contrast[i].policy == 0) weirp_trials_count_verdict(t, &r->contrast[i]);
    if (supported) {
        t->n_sequences++;
        t->n_sequences_right += right;
    }
    if (r->curve.n) count_curve(t, &r->curve);
    t->n_logs++;
    weirp_ope_clear(&t->last);
    t->last = *r;
    *r = (weir_ope){.n_rows = 0};
}

static size_t rows_of(const weir_ope_trials *t, uint64_t seed) {
    const double u = weirp_random_uniform(seed, 2, 0);
    return (size_t)lround(exp(log((double)t->least_rows) + u * log((double)t->most_rows / (double)t->least_rows)));
}

static weir_status try_log(trying *y, size_t i, weir_error *err) {
    const weir_ope_options *given = &y->options->o;
    const uint64_t seed = weirp_mix64(given->seed + i + 1);
    const size_t n = rows_of(y->t, seed);
    weirp_ope_table *table = NULL;
    weirp_ope_target *target[WEIRP_OPE_MAX_POLICIES] = {NULL};
    weirp_ope_settings settings;
    weir_ope result = {.n_rows = 0};
    weir_ope_options o = *given;
    weir_status st = WEIR_OK;
    uint32_t *prompt = weirp_array(n, sizeof *prompt), *model = weirp_array(n, sizeof *model);
    o.seed = seed;
    o.n_threads = 1;
    o.progress = NULL;
    if (!prompt || !model) WEIRP_TRY(weirp_nomem(err));
    WEIRP_TRY(weirp_population_draw(&y->population, y->logging, n, seed, o.value_usd, &table, prompt, model, err));
    WEIRP_TRY(weirp_ope_settle(&settings, &o, table, err));
    for (size_t p = 0; p < o.n_policies; p++)
        WEIRP_TRY(weirp_ope_target_new(&target[p], o.policies[p], table, NULL, err));
    WEIRP_TRY(weirp_ope_judge(&result, table, target, o.n_policies, &settings, NULL, err));
    if (result.curve.n) WEIRP_TRY(find_curve_truth(y, &result.curve, err));
    const bool right = sequence_right(y, prompt, model, n);
    pthread_mutex_lock(&y->lock);
    y->t->recommended = result.recommended;
    y->t->interval = result.interval;
    count_log(y, &result, right);
    pthread_mutex_unlock(&y->lock);
done:
    weirp_ope_clear(&result);
    for (size_t p = 0; p < WEIRP_OPE_MAX_POLICIES; p++) weirp_ope_target_free(target[p]);
    weirp_ope_table_free(table);
    free(prompt);
    free(model);
    return st;
}

static void try_logs(void *context, unsigned worker, size_t begin, size_t end) {
    trying *y = context;
    const weir_ope_options *o = &y->options->o;
    for (size_t i = begin; i < end && !atomic_load(&y->stop); i++) {
        weir_error err = {WEIR_OK, 0, ""};
        const weir_status st = try_log(y, i, &err);
        pthread_mutex_lock(&y->lock);
        y->n_done++;
        if (st != WEIR_OK && y->status == WEIR_OK) y->status = st, y->err = err;
        pthread_mutex_unlock(&y->lock);
        /* the first worker is the caller's thread: only there is the caller's function called */
        const bool canceled =
            worker == 0 && o->progress && o->progress(o->progress_user, "logs", y->n_done, y->options->n_logs);
        if (canceled && y->status == WEIR_OK) y->status = weirp_fail(&y->err, WEIR_CANCELED, 0, "canceled");
        if (canceled || st != WEIR_OK) atomic_store(&y->stop, true);
    }
}

/* ---- the whole ---- */

/* Every outcome that could be drawn, whichever are. */
static weir_status check_bounds(const weirp_ope_settings *s, const weirp_population *p, weir_error *err) {
    for (weir_metric m = 0; m < WEIR_METRIC_LOSS; m++) {
        size_t n = 0;
        double largest = 0;
        if (!(s->most[m] > 0) || !p->metric[m]) continue;
        for (size_t i = 0; i < p->n * p->n_models; i++) {
            n += p->metric[m][i] > s->most[m];
            largest = fmax(largest, p->metric[m][i]);
        }
        if (n) return weirp_ope_contradicted(s, m, n, largest, n == 1 ? "outcome" : "outcomes", err);
    }
    return WEIR_OK;
}

static weir_status begin(weir_ope_trials *t, const weir_ope_trial_options *o, weir_error *err) {
    t->least_rows = o->least_rows ? o->least_rows : 1000;
    t->most_rows = o->most_rows ? o->most_rows : o->least_rows ? o->least_rows : 10000;
    t->level = o->o.level > 0 ? o->o.level : 0.95;
    t->n_estimators = weirp_ope_n_estimators();
    t->logging = strdup(o->logging ? o->logging : DEFAULT_LOGGING);
    t->policy = weirp_array(o->o.n_policies, sizeof *t->policy);
    t->cell = weirp_array(o->o.n_policies * WEIR_N_METRICS, sizeof *t->cell);
    if (!t->logging || !t->policy || !t->cell) return weirp_nomem(err);
    for (; t->n_policies < o->o.n_policies; t->n_policies++)
        if (!(t->policy[t->n_policies] = strdup(o->o.policies[t->n_policies]))) return weirp_nomem(err);
    if (t->least_rows < 10 || t->most_rows < t->least_rows)
        return weirp_fail(err, WEIR_INVALID, 0, "a log must have 10 rows or more, and at most as many as the longest");
    return check_logging(t->logging, err);
}

static weir_status simulate(weir_ope_trials *t, const weir_ope_trial_options *o, weir_error *err) {
    trying y = {.options = o, .t = t};
    weir_dataset *data = NULL;
    weir_router *router = NULL;
    weirp_ope_settings settings;
    const weir_reader_options reading = {
        .strict = o->o.strict, .warning = o->o.warning, .warning_user = o->o.warning_user};
    pthread_mutex_init(&y.lock, NULL);
    atomic_init(&y.stop, false);
    weir_status st = weirp_ope_settle(&settings, &o->o, NULL, err);
    if (st != WEIR_OK) goto done;
    WEIRP_TRY(begin(t, o, err));
    if (!o->o.store)
        WEIRP_TRY(weirp_fail(err, WEIR_INVALID, 0, "drawing logs needs a trained store: its features and estimates"));
    WEIRP_TRY(weir_router_open(&router, o->o.store, err));
    WEIRP_TRY(weir_dataset_load(&data, o->data, o->n_data, &reading, err));
    WEIRP_TRY(weirp_population_make(&y.population, data, router, o->o.value_usd, err));
    t->n_prompts = y.population.n;
    t->n_models = y.population.n_models;
    WEIRP_TRY(check_bounds(&settings, &y.population, err));
    WEIRP_TRY(find_truth(&y, NULL, err));
    weirp_parallel(o->n_logs, 1, settings.o.n_threads, try_logs, &y);
    st = y.status;
    if (st != WEIR_OK && err && err->status == WEIR_OK) *err = y.err;
done:
    weirp_population_free(&y.population);
    free(y.logging);
    for (size_t p = 0; p < WEIRP_OPE_MAX_POLICIES; p++) free(y.chances[p]);
    weir_dataset_free(data);
    weir_router_close(router);
    pthread_mutex_destroy(&y.lock);
    return st;
}

weir_status weir_ope_simulate(weir_ope_trials **out, const weir_ope_trial_options *options, weir_error *err) {
    const uint64_t begun = weirp_monotonic_ns();
    weir_ope_trial_options o = *options;
    if (!o.n_logs) o.n_logs = 200;
    *out = NULL;
    if (o.o.since || o.o.until)
        return weirp_fail(err, WEIR_INVALID, 0, "%s chooses rows of a log by their time: what is simulated has none",
                          o.o.since ? "since" : "until");
    weir_ope_trials *t = weirp_array(1, sizeof *t);
    if (!t) return weirp_nomem(err);
    weir_status st = simulate(t, &o, err);
    t->seconds = (double)(weirp_monotonic_ns() - begun) / 1e9;
    if (st == WEIR_OK)
        *out = t;
    else
        weir_ope_trials_free(t);
    return st;
}

void weir_ope_trials_free(weir_ope_trials *t) {
    if (!t) return;
    for (size_t i = 0; t->cell && i < t->n_policies * WEIR_N_METRICS; i++) free(t->cell[i].estimator);
    for (size_t i = 0; t->policy && i < t->n_policies; i++) free(t->policy[i]);
    free(t->cell);
    free(t->policy);
    free(t->logging);
    weirp_ope_clear(&t->last);
    free(t);
}

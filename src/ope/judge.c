/* judge.c: reward models, one way through the rows, and every estimator's figures off the sums.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/ope/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/linalg/parallel.h"

/* Sums take at most this much memory: with more columns, clusters share theirs (coarser clusters are still independent
 * of each other, and 1,024 of them tell a variance to 4 %). */
enum { SUMS_BYTES = 160 << 20, LEAST_CLUSTERS = 1024 };

static bool wanted(const weirp_judging *j, weir_metric m) {
    return j->s->metrics >> m & 1;
}

static bool has_tail(weir_metric m) {
    return m == WEIR_METRIC_LATENCY || m == WEIR_METRIC_COST;
}

static bool progress(const weirp_judging *j, const char *stage, size_t done, size_t total) {
    const weir_ope_options *o = &j->s->o;
    return !o->progress || o->progress(o->progress_user, stage, done, total) == 0;
}

/* ---- before the rows ---- */

/* What is known of a loss is known of the quality and the cost: where that is all of the quality, their labels are the
 * same. */
static weir_status fit_labels(weirp_judging *j, weir_metric m, weir_error *err) {
    const weir_metric q = WEIR_METRIC_QUALITY;
    if (m == WEIR_METRIC_LOSS && j->labels[q] &&
        weirp_ope_table_known(j->table, m) == weirp_ope_table_known(j->table, q)) {
        j->labels[m] = j->labels[q];
        return WEIR_OK;
    }
    return weirp_ope_labels_fit(&j->labels[m], j->table, m, j->s->o.n_folds, j->s->o.n_threads, err);
}

static weir_status fit(weirp_judging *j, weir_error *err) {
    enum { MOST = WEIR_N_METRICS * (1 + WEIRP_OPE_MAX_POLICIES) };
    weirp_reward_options options[MOST];
    weirp_reward **to[MOST], *fitted[MOST];
    size_t n = 0;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        if (!wanted(j, m)) continue;
        weirp_reward_options r = {.name = j->s->o.reward_model,
                                  .metric = m,
                                  .n_folds = j->s->o.n_folds,
                                  .most = j->s->most[m],
                                  .seed = j->s->o.seed,
                                  .n_threads = j->s->o.n_threads};
        to[n] = &j->reward[m];
        options[n++] = r;
        for (size_t p = 0; p < j->n_targets; p++) {
            if (weirp_ope_target_is_logged(j->target[p])) continue;
            r.robust_for = j->target[p];
            to[n] = &j->judged[p][m].robust;
            options[n++] = r;
        }
    }
    if (!weirp_ope_table_n_decided(j->table)) return WEIR_OK; /* there is nothing to fit on, nor to judge */
    if (!progress(j, "reward models", 0, 2)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    weir_status st = weirp_reward_fit_all(fitted, j->table, options, n, err);
    for (size_t k = 0; k < n && st == WEIR_OK; k++) *to[k] = fitted[k];
    if (st == WEIR_OK && !progress(j, "reward models", 1, 2)) st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    for (weir_metric m = 0; m < WEIR_N_METRICS && st == WEIR_OK; m++)
        if (wanted(j, m)) st = fit_labels(j, m, err);
    return st;
}

static double *block_table(size_t n_models) {
    return weirp_array(WEIRP_BLOCK_ROWS * (n_models ? n_models : 1), sizeof(double));
}

static weir_status make_room(weirp_judging *j, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n_columns = 0;
    for (size_t p = 0; p < j->n_targets; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
            if (!wanted(j, m)) continue;
            struct weirp_judged *judged = &j->judged[p][m];
            WEIRP_TRY(weirp_cell_new(&judged->cell, j->table, m, n_columns, judged->robust != NULL, err));
            n_columns += weirp_cell_n_columns();
            if (judged->robust && !(j->q_robust[p][m] = block_table(j->n_models))) return weirp_nomem(err);
        }
    for (size_t p = 0; p < j->n_targets; p++)
        if (!(j->pi[p] = block_table(j->n_models))) return weirp_nomem(err);
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
        if (wanted(j, m) && (!(j->q[m] = block_table(j->n_models)) || !(j->e[m] = block_table(1))))
            return weirp_nomem(err);
    size_t n_clusters = weirp_ope_table_n_clusters(j->table), most = SUMS_BYTES / sizeof(double) / n_columns;
    if (most < LEAST_CLUSTERS) most = LEAST_CLUSTERS;
    WEIRP_TRY(weirp_sums_init(&j->sums, n_clusters < most ? n_clusters : most, n_columns, err));
    for (size_t p = 0; p < j->n_targets; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
            if (wanted(j, m) && has_tail(m)) WEIRP_TRY(weirp_tails_new(&j->judged[p][m].tail, j->sums.n_clusters, err));
    j->first_half = weirp_array(n_columns, sizeof *j->first_half);
    j->second_half = weirp_array(n_columns, sizeof *j->second_half);
    if (!j->first_half || !j->second_half) return weirp_nomem(err);
    st = weirp_log_facts_init(&j->facts, j->n_models, err);
done:
    return st;
}

/* ---- the rows ---- */

/* fill() makes all chances of a row NAN where the candidate is undecided. */
static bool is_undecided(const weirp_judging *j, size_t p, size_t i) {
    return isnan(j->pi[p][i * j->n_models]);
}

/* Who of several candidates can't be asked too often to be judged. One alone has nobody to take rows from. */
static weir_status set_apart(weirp_judging *j, weir_error *err) {
    size_t n_undecided[WEIRP_OPE_MAX_POLICIES] = {0}, n = 0;
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    if (j->n_targets < 2) return WEIR_OK;
    weir_status st = weirp_scan_new(&scan, j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK)
        for (size_t p = 0; p < j->n_targets && st == WEIR_OK; p++) {
            if (weirp_ope_target_is_logged(j->target[p])) continue;
            st = weirp_ope_target_fill(j->target[p], &b, j->pi[p], &n, err);
            for (size_t i = 0; i < b.n && st == WEIR_OK; i++)
                n_undecided[p] += weirp_ope_is_decided(&b, i) && is_undecided(j, p, i);
        }
    weirp_scan_free(scan);
    if (st != WEIR_END) return st;
    const double most = WEIRP_OPE_MOST_UNDECIDED * (double)weirp_ope_table_n_decided(j->table);
    for (size_t p = 0; p < j->n_targets; p++) j->apart[p] = (double)n_undecided[p] > most;
    return WEIR_OK;
}

/* Where some candidate is undecided the row is left out for all, and for what was logged: a difference of two means
 * over different rows would be paired by nothing. */
static void leave_out(weirp_judging *j, const weirp_ope_block *b) {
    memset(j->left_out, 0, sizeof j->left_out);
    for (size_t p = 0; p < j->n_targets; p++)
        for (size_t i = 0; i < b->n && !j->apart[p]; i++) j->left_out[i] |= is_undecided(j, p, i);
}

/* The greatest weight that any choice could have had: a bound on what is seen, known without seeing it. */
static double weight_bound(const weirp_ope_block *b, const double *pi, const bool *left_out) {
    double most = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (!weirp_ope_is_decided(b, i) || left_out[i]) continue;
        const double *p = b->propensity + i * b->n_models, *t = pi + i * b->n_models;
        if (isnan(p[b->chosen[i]])) return NAN;
        for (size_t a = 0; a < b->n_models; a++)
            if (p[a] > 0 && t[a] > most * p[a]) most = t[a] / p[a];
    }
    return most;
}

typedef struct task {
    weirp_judging *j;
    const weirp_ope_block *block;
} task;

/* Item i: a metric's predictions, then policies' robust ones. */
static void predict(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    const task *t = context;
    weirp_judging *j = t->j;
    for (size_t i = begin; i < end; i++) {
        const weir_metric m = (weir_metric)(i % WEIR_N_METRICS);
        const size_t p = i / WEIR_N_METRICS;
        if (!wanted(j, m)) continue;
        if (p == j->n_targets && j->reward[m]) {
            weirp_reward_predict(j->reward[m], t->block, j->q[m]);
            weirp_ope_labels_predict(j->labels[m], t->block, j->e[m]);
        } else if (p < j->n_targets && j->judged[p][m].robust) {
            weirp_reward_predict(j->judged[p][m].robust, t->block, j->q_robust[p][m]);
        }
    }
}

static void add_tail(weirp_judging *j, const weirp_ope_block *b, size_t p, weir_metric m, bool ahead) {
    weirp_tails *tail = j->judged[p][m].tail;
    for (size_t i = 0; i < b->n; i++) {
        const double x = b->metric[i * WEIR_N_METRICS + m], pi = j->pi[p][i * b->n_models + b->chosen[i]];
        if (isnan(x) || isnan(pi) || j->left_out[i] || !weirp_ope_is_decided(b, i)) continue;
        const double w = pi / b->p[i] / j->e[m][i];
        if (ahead)
            weirp_tails_look(tail, x, w);
        else
            weirp_tails_add(tail, b->cluster[i], x, w);
    }
}

/* A few blocks from all over the log tell about where the quantiles will be. */
static weir_status look_ahead(weirp_judging *j, weir_error *err) {
    enum { SOME_BLOCKS = 8 };
    const size_t n = weirp_ope_table_n(j->table), n_blocks = (n + WEIRP_BLOCK_ROWS - 1) / WEIRP_BLOCK_ROWS;
    const size_t some = n_blocks < SOME_BLOCKS ? n_blocks : SOME_BLOCKS;
    size_t n_undecided = 0; /* rows are counted when all are gone over */
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = WEIR_OK;
    if (!wanted(j, WEIR_METRIC_COST) && !wanted(j, WEIR_METRIC_LATENCY)) return WEIR_OK;
    WEIRP_TRY(weirp_scan_new(&scan, j->table, err));
    for (size_t k = 0; k < some; k++) {
        WEIRP_TRY(weirp_scan_at(scan, k * n_blocks / some * WEIRP_BLOCK_ROWS, &b, err));
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
            if (j->labels[m] && has_tail(m)) weirp_ope_labels_predict(j->labels[m], &b, j->e[m]);
        for (size_t p = 0; p < j->n_targets; p++)
            WEIRP_TRY(weirp_ope_target_fill(j->target[p], &b, j->pi[p], &n_undecided, err));
        leave_out(j, &b);
        for (size_t p = 0; p < j->n_targets; p++)
            for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
                if (j->judged[p][m].tail) add_tail(j, &b, p, m, true);
    }
    for (size_t p = 0; p < j->n_targets; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++)
            if (j->judged[p][m].tail) weirp_tails_settle(j->judged[p][m].tail);
done:
    weirp_scan_free(scan);
    return st;
}

/* Item i: a cell; each has columns of its own. */
static void add(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    const task *t = context;
    weirp_judging *j = t->j;
    for (size_t i = begin; i < end; i++) {
        const size_t p = i / WEIR_N_METRICS;
        const weir_metric m = (weir_metric)(i % WEIR_N_METRICS);
        struct weirp_judged *judged = &j->judged[p][m];
        if (!judged->cell) continue;
        const weirp_cell_input input = {
            .pi = j->pi[p], .q = j->q[m], .q_robust = j->q_robust[p][m], .e = j->e[m], .left_out = j->left_out};
        weirp_cell_add(judged->cell, &j->sums, t->block, &input);
        if (judged->tail) add_tail(j, t->block, p, m, false);
    }
}

static weir_status add_block(weirp_judging *j, const weirp_ope_block *b, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n_undecided = 0;
    task t = {j, b};
    for (size_t p = 0; p < j->n_targets; p++)
        WEIRP_TRY(weirp_ope_target_fill(j->target[p], b, j->pi[p], &n_undecided, err));
    leave_out(j, b);
    for (size_t p = 0; p < j->n_targets; p++) {
        const double bound = weight_bound(b, j->pi[p], j->left_out);
        if (!(bound <= j->bound[p])) j->bound[p] = isnan(j->bound[p]) ? NAN : bound; /* once not known, never known */
    }
    weirp_ope_compare_rows(j, b);
    weirp_parallel((j->n_targets + 1) * WEIR_N_METRICS, 1, j->s->o.n_threads, predict, &t);
    weirp_parallel(j->n_targets * WEIR_N_METRICS, 1, j->s->o.n_threads, add, &t);
    for (size_t i = 0; i < b->n; i++) j->sums.rows[b->cluster[i] % j->sums.n_clusters]++;
    weirp_log_facts_add(&j->facts, b);
done:
    return st;
}

/* The block that the log's middle lies in is taken in two. */
static weir_status add_halves(weirp_judging *j, const weirp_ope_block *b, weir_error *err) {
    const size_t middle = weirp_ope_table_n(j->table) / 2;
    if (middle < b->first || middle >= b->first + b->n) return add_block(j, b, err);
    const weirp_ope_block before = weirp_ope_block_rows(b, 0, middle - b->first),
                          after = weirp_ope_block_rows(b, middle - b->first, b->n);
    weir_status st = before.n ? add_block(j, &before, err) : WEIR_OK;
    weirp_sums_finish(&j->sums);
    memcpy(j->first_half, j->sums.total, j->sums.n_columns * sizeof *j->first_half);
    return st == WEIR_OK ? add_block(j, &after, err) : st;
}

static weir_status go_over(weirp_judging *j, weir_error *err) {
    const size_t n = weirp_ope_table_n(j->table);
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    weir_status st = set_apart(j, err);
    if (st == WEIR_OK) st = weirp_scan_new(&scan, j->table, err);
    while (st == WEIR_OK && (st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        if (!progress(j, "rows", b.first, n)) st = weirp_fail(err, WEIR_CANCELED, 0, "canceled");
        if (st == WEIR_OK) st = add_halves(j, &b, err);
    }
    weirp_scan_free(scan);
    if (st != WEIR_END) return st;
    weirp_sums_finish(&j->sums);
    for (size_t k = 0; k < j->sums.n_columns; k++) j->second_half[k] = j->sums.total[k] - j->first_half[k];
    for (size_t p = 0; p < j->n_targets; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
            if (!j->judged[p][m].cell) continue;
            st = weirp_cell_finish(j->judged[p][m].cell, &j->sums, err);
            if (st != WEIR_OK) return st;
        }
    if (!progress(j, "resamples", 0, 1)) return weirp_fail(err, WEIR_CANCELED, 0, "canceled");
    return weirp_draws_make(&j->draws, &j->sums, j->s->o.n_bootstrap, j->s->o.seed, j->s->o.n_threads, err);
}

/* ---- after the rows ---- */

bool weirp_ope_statistic(const weirp_judging *j, size_t policy, weir_metric metric, size_t estimator,
                         weirp_ratio ratio[WEIRP_MAX_RATIOS], size_t *n, double *lambda, const char **why_not) {
    const bool logged = policy == (size_t)-1;
    const weirp_cell *cell = j->judged[logged ? 0 : policy][metric].cell;
    if (!logged && !weirp_ope_target_is_logged(j->target[policy]))
        return weirp_cell_statistic(cell, estimator, ratio, n, lambda, why_not);
    ratio[0] = weirp_cell_logged(cell);
    *n = 1;
    *lambda = NAN;
    *why_not = NULL;
    return true;
}

weir_status weirp_ope_interval(const weirp_judging *j, const weirp_statistic *s, double *value, double *se,
                               weirp_interval *interval, weir_error *err) {
    const weir_ope_options *o = &j->s->o;
    double df;
    weirp_interval percentile, bca;
    *value = weirp_statistic_value(s, j->sums.total);
    *se = weirp_se(s, &j->sums, true, &df);
    if (strcmp(o->interval, "normal") == 0) *interval = weirp_normal_interval(*value, *se, o->level);
    if (strcmp(o->interval, "t") == 0) *interval = weirp_t_interval(*value, *se, df, o->level);
    if (strcmp(o->interval, "percentile") != 0 && strcmp(o->interval, "bca") != 0) return WEIR_OK;
    weir_status st = weirp_bootstrap_intervals(s, &j->sums, &j->draws, o->level, &percentile, &bca, err);
    *interval = strcmp(o->interval, "bca") == 0 ? bca : percentile;
    return st;
}

weirp_interval weirp_ope_interval_of(const weirp_ope_estimate *e, const char *kind) {
    if (strcmp(kind, "normal") == 0) return e->normal;
    if (strcmp(kind, "percentile") == 0) return e->percentile;
    if (strcmp(kind, "bca") == 0) return e->bca;
    if (strcmp(kind, "bernstein") == 0) return e->bernstein;
    return e->t;
}

/* Terms of estimators that aren't normalised lie in a range known beforehand: rewards in [0,1], or up to what was said
 * to bound them, weights below the bound. */
static weirp_interval bernstein(const weirp_judging *j, size_t p, weir_metric m, const weirp_ope_estimate *e) {
    const weirp_ope_estimator *k = &weirp_ope_estimators[e->estimator];
    const double w = j->bound[p], most = weirp_ope_most(j->s->most, m),
                 variance = weirp_cell_variance(j->judged[p][m].cell, e->estimator);
    const weirp_cell_facts *f = weirp_cell_facts_of(j->judged[p][m].cell);
    const weirp_interval none = {NAN, NAN};
    if (isnan(most) || isnan(variance) || isnan(w) || f->least_e < 1) return none;
    if (weirp_ope_table_has_sessions(j->table) || k->base == WEIRP_BASE_DM) return none;
    if (k->change != WEIRP_CHANGE_NONE || f->unsupported > 0) return none; /* it would hold for another mean */
    const bool dr = k->base == WEIRP_BASE_DR;
    return weirp_bernstein_interval(e->value, variance, f->n, dr ? -w * most : 0, (dr ? 1 + w : w) * most,
                                    j->s->o.level);
}

static weir_status tell_estimates(weirp_judging *j, size_t p, weir_metric m, weirp_cell_result *c, weir_error *err) {
    const double level = j->s->o.level;
    for (size_t i = 0; i < c->n_estimates; i++) {
        weirp_ope_estimate *e = &c->estimate[i];
        weirp_ratio ratio[WEIRP_MAX_RATIOS];
        size_t n;
        double df;
        const weirp_interval none = {NAN, NAN};
        *e = (weirp_ope_estimate){i, NAN, NAN, NAN, none, none, none, none, none, NULL};
        if (!weirp_ope_statistic(j, p, m, i, ratio, &n, &e->lambda, &e->why_not)) continue;
        const weirp_statistic s = {ratio, n};
        e->value = weirp_statistic_value(&s, j->sums.total);
        e->se = weirp_se(&s, &j->sums, true, &df);
        e->normal = weirp_normal_interval(e->value, e->se, level);
        e->t = weirp_t_interval(e->value, e->se, df, level);
        e->bernstein = bernstein(j, p, m, e);
        if (weirp_ope_estimators[i].spare && i != j->s->recommended) continue;
        weir_status st = weirp_bootstrap_intervals(&s, &j->sums, &j->draws, level, &e->percentile, &e->bca, err);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

static weir_status tell(weirp_judging *j, weir_ope *r, weir_error *err) {
    weirp_log_facts_tell(&j->facts, j->n_models, r);
    for (size_t p = 0; p < j->n_targets; p++)
        for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
            if (!j->judged[p][m].cell) continue;
            weirp_cell_result *c = &r->cell[p * WEIR_N_METRICS + m];
            c->asked = true;
            c->n_estimates = weirp_ope_n_estimators();
            if (!(c->estimate = weirp_array(c->n_estimates, sizeof *c->estimate))) return weirp_nomem(err);
            if (j->reward[m]) snprintf(c->reward_model, sizeof c->reward_model, "%s", weirp_reward_name(j->reward[m]));
            const weirp_ratio logged = weirp_cell_logged(j->judged[p][m].cell);
            const weirp_statistic s = {&logged, 1};
            double df;
            c->logged_mean = weirp_statistic_value(&s, j->sums.total);
            c->logged_se = weirp_se(&s, &j->sums, true, &df);
            weir_status st = tell_estimates(j, p, m, c, err);
            if (st != WEIR_OK) return st;
            weirp_ope_stand(j, r, p, m, c);
            if (j->judged[p][m].tail)
                weirp_tails_tell(j->judged[p][m].tail, j->s->o.level, c->standing.unsupported,
                                 weirp_ope_most(j->s->most, m), &c->tail);
        }
    return WEIR_OK;
}

static void release(weirp_judging *j) {
    if (j->labels[WEIR_METRIC_LOSS] == j->labels[WEIR_METRIC_QUALITY]) j->labels[WEIR_METRIC_LOSS] = NULL;
    for (weir_metric m = 0; m < WEIR_N_METRICS; m++) {
        weirp_reward_free(j->reward[m]);
        weirp_ope_labels_free(j->labels[m]);
        free(j->q[m]);
        free(j->e[m]);
        for (size_t p = 0; p < j->n_targets; p++) {
            weirp_cell_free(j->judged[p][m].cell);
            weirp_reward_free(j->judged[p][m].robust);
            weirp_tails_free(j->judged[p][m].tail);
            free(j->q_robust[p][m]);
        }
    }
    for (size_t p = 0; p < j->n_targets; p++) free(j->pi[p]);
    weirp_log_facts_free(&j->facts);
    weirp_sums_free(&j->sums);
    weirp_draws_free(&j->draws);
    free(j->first_half);
    free(j->second_half);
    free(j);
}

static weir_status describe(weir_ope *r, const weirp_judging *j, weir_error *err) {
    const weir_ope_options *o = &j->s->o;
    r->n_rows = weirp_ope_table_n(j->table);
    r->n_clusters = weirp_ope_table_n_clusters(j->table);
    r->has_sessions = weirp_ope_table_has_sessions(j->table);
    r->level = o->level;
    r->value_usd = o->value_usd;
    memcpy(r->most, j->s->most, sizeof r->most);
    r->quality_unknown = !o->metrics && !wanted(j, WEIR_METRIC_QUALITY);
    r->n_bootstrap = o->n_bootstrap;
    r->n_folds = o->n_folds;
    r->recommended = weirp_ope_estimators[j->s->recommended].name;
    r->interval = o->interval;
    r->model = weirp_array(j->n_models, sizeof *r->model);
    r->policy = weirp_array(j->n_targets, sizeof *r->policy);
    r->cell = weirp_array(j->n_targets * WEIR_N_METRICS, sizeof *r->cell);
    if (!r->model || !r->policy || !r->cell) return weirp_nomem(err);
    for (; r->n_models < j->n_models; r->n_models++)
        if (!(r->model[r->n_models] = strdup(weirp_ope_table_model_name(j->table, r->n_models))))
            return weirp_nomem(err);
    for (; r->n_policies < j->n_targets; r->n_policies++)
        if (!(r->policy[r->n_policies] = strdup(weirp_ope_target_name(j->target[r->n_policies]))))
            return weirp_nomem(err);
    return WEIR_OK;
}

weir_status weirp_ope_judge(weir_ope *result, const weirp_ope_table *table, weirp_ope_target *const *target,
                            size_t n_targets, const weirp_ope_settings *settings, const weir_router *router,
                            weir_error *err) {
    weirp_judging *j = weirp_array(1, sizeof *j);
    if (!j) return weirp_nomem(err);
    *j = (weirp_judging){.s = settings,
                         .table = table,
                         .router = router,
                         .target = target,
                         .n_targets = n_targets,
                         .n_models = weirp_ope_table_n_models(table)};
    weir_status st = describe(result, j, err);
    if (st == WEIR_OK) st = fit(j, err);
    if (st == WEIR_OK) st = make_room(j, err);
    if (st == WEIR_OK) st = look_ahead(j, err);
    if (st == WEIR_OK) st = go_over(j, err);
    if (st == WEIR_OK) st = tell(j, result, err);
    if (st == WEIR_OK) st = weirp_ope_conclude(j, result, err);
    if (st == WEIR_OK && settings->o.curve) st = weirp_ope_curve(j, result, err);
    release(j);
    return st;
}

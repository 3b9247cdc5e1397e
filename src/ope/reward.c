/* reward.c: the reward models by name, and what they share: folds, passes over the rows, the choice.
 *
 * "auto" goes by the least squared error on held-out rows, over all convex combinations of table, logged estimates,
 * ridge and (cost, latency) ridge on the log scale (stacking: Wolpert, Neural Networks 5, 1992; Breiman, Machine
 * Learning 24, 1996; van der Laan, Polley, Hubbard, 2007): there is nothing to gain from betting on one. What was
 * predicted on the log scale is brought to the mean by a factor of each model, the ratio of sums of outcomes and of
 * predictions on held-out rows (Duan's smearing, JASA 78, 1983, without its assumption that errors look alike).
 *
 * Weights of "more robust" fits: of the doubly robust estimate's variance, what the model can change is
 *     E_x d' (diag(1/p) - e e') d,    d_a = pi_a (Q_a - q_a)
 * (Farajtabar, Chow, Ghavamzadeh, arXiv 1802.03493, section 3; Q is the truth). Its diagonal, which is all of it where
 * the target is deterministic, is the expectation over logged rows of pi^2 (1 - p) / p^2 (y - q)^2: least squares with
 * that weight. What is left out are products of different models' errors, which a model can't trade against each other
 * by rows. SPDX-License-Identifier: GPL-3.0-or-later */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/estimator.h"
#include "src/base/words.h"
#include "src/linalg/linalg.h"
#include "src/linalg/parallel.h"
#include "src/ope/reward_parts.h"

enum { K = WEIRP_REWARD_MEMBERS, MOMENTS = (K + 1) * (K + 1), CHUNK = 64 };

typedef enum member_kind { TABLE, LOGGED, RIDGE, LOG_RIDGE } member_kind;
static const char *const member_names[] = {"table", "logged", "ridge", "log-ridge"};

struct weirp_reward {
    weirp_reward_frame frame;
    char name[64];
    weirp_reward_table *table; /* always there: it predicts where features are missing */
    size_t n_members;
    member_kind kind[K];
    weirp_reward_linear linear[K];
    double weight[WEIRP_REWARD_MAX_FOLDS][K];
    double *smear; /* (n_folds, n_models) */
    weirp_reward_other *other;
    const weirp_reward_class *other_class; /* NULL: members */
};

/* ---- folds ---- */

weir_status weirp_reward_folds_make(weirp_reward_folds *o, size_t n_folds, weir_error *err) {
    memset(o, 0, sizeof *o);
    if (n_folds > WEIRP_REWARD_MAX_FOLDS)
        return weirp_fail(err, WEIR_INVALID, 0, "at most %d folds, not %zu", WEIRP_REWARD_MAX_FOLDS, n_folds);
    size_t splits = 1;
    while (n_folds > 1 && (n_folds - 1) * splits < WEIRP_REWARD_INNER) splits++;
    o->n_folds = n_folds;
    o->n_parts = n_folds > 1 ? n_folds * splits : WEIRP_REWARD_INNER;
    o->n_inner = WEIRP_REWARD_INNER;
    for (size_t f = 0; f < n_folds; f++) {
        size_t seen = 0;
        for (size_t p = 0; p < o->n_parts; p++)
            o->group[f][p] = n_folds > 1 && p % n_folds == f ? -1 : (signed char)(seen++ % WEIRP_REWARD_INNER);
    }
    return WEIR_OK;
}

/* ---- rows ---- */

static bool usable(const weirp_ope_block *b, size_t i, weir_metric metric) {
    return weirp_ope_is_decided(b, i) && isfinite(b->metric[i * WEIR_N_METRICS + metric]);
}

/* NAN, or 0: the row doesn't count. */
static double robust_weight(const weirp_ope_block *b, size_t i, const double *pi) {
    double share = pi[i * b->n_models + b->chosen[i]] / b->p[i];
    return share * share * (1 - b->p[i]);
}

/* One block for all passes. */
typedef struct going {
    const weirp_reward_pass *pass;
    size_t n;
    const weirp_ope_block *block;
    weirp_reward_rows *rows; /* (n_threads) */
    double **pi;             /* (n) chances of the pass's target; shared where it is the same one */
} going;

static void gather(const weirp_reward_pass *pass, const weirp_ope_block *b, const double *pi, weirp_reward_rows *rows) {
    rows->block = b;
    rows->n = 0;
    for (size_t i = 0; i < b->n; i++) {
        double w = pi ? robust_weight(b, i, pi) * pass->frame->norm : 1;
        if (!usable(b, i, pass->frame->metric) || !(w > 0) || !isfinite(w)) continue;
        rows->row[rows->n] = (uint16_t)i;
        rows->part[rows->n] = (uint8_t)(b->cluster[i] % pass->frame->folds.n_parts);
        rows->w[rows->n] = w;
        rows->y[rows->n++] = b->metric[i * WEIR_N_METRICS + pass->frame->metric];
    }
}

static void go(void *context, unsigned worker, size_t begin, size_t end) {
    const going *g = context;
    for (size_t k = begin; k < end; k++) {
        gather(&g->pass[k], g->block, g->pi[k], &g->rows[worker]);
        g->pass[k].fn(g->pass[k].context, &g->rows[worker]);
    }
}

/* The first pass with this one's target: whose chances it shares. */
static size_t first_like(const going *g, size_t k) {
    size_t first = 0;
    while (g->pass[first].robust_for != g->pass[k].robust_for) first++;
    return first;
}

static weir_status make_going(going *g, unsigned n_threads, weir_error *err) {
    g->rows = weirp_array(n_threads, sizeof *g->rows);
    g->pi = weirp_array(g->n, sizeof *g->pi);
    if (!g->rows || !g->pi) return weirp_nomem(err);
    for (size_t k = 0; k < g->n; k++) {
        const size_t first = first_like(g, k);
        if (!g->pass[k].robust_for) continue;
        g->pi[k] =
            first < k ? g->pi[first] : weirp_array(WEIRP_BLOCK_ROWS * g->pass[k].frame->n_models, sizeof(double));
        if (!g->pi[k]) return weirp_nomem(err);
    }
    return WEIR_OK;
}

weir_status weirp_reward_each_of(const weirp_reward_pass *passes, size_t n, unsigned n_threads, weir_error *err) {
    going g = {.pass = passes, .n = n};
    weirp_scan *scan = NULL;
    weirp_ope_block b;
    size_t n_undecided = 0;
    weir_status st;
    if (n_threads < 1) n_threads = 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    if (!n) return WEIR_OK;
    WEIRP_TRY(make_going(&g, n_threads, err));
    WEIRP_TRY(weirp_scan_new(&scan, passes->frame->table, err));
    while ((st = weirp_scan_next(scan, &b, err)) == WEIR_OK) {
        for (size_t k = 0; k < n; k++)
            if (passes[k].robust_for && first_like(&g, k) == k)
                WEIRP_TRY(weirp_ope_target_fill(passes[k].robust_for, &b, g.pi[k], &n_undecided, err));
        g.block = &b;
        weirp_parallel(n, 1, n_threads, go, &g);
    }
    if (st == WEIR_END) st = WEIR_OK;
done:
    weirp_scan_free(scan);
    for (size_t k = 0; g.pi && k < n; k++)
        if (first_like(&g, k) == k) free(g.pi[k]);
    free(g.pi);
    free(g.rows);
    return st;
}

weir_status weirp_reward_each(const weirp_reward_frame *frame, weirp_ope_target *robust_for, weirp_reward_rows_fn fn,
                              void *context, weir_error *err) {
    const weirp_reward_pass pass = {frame, robust_for, fn, context};
    return weirp_reward_each_of(&pass, 1, 1, err);
}

/* ---- the frame ---- */

typedef struct looking {
    weirp_reward_frame *frame;
    double n, sum_w, n_hat[3], sum[3], square[3], n_dense;
    double *dense, *dense2; /* (table's dim) */
    double lo[WEIRP_REWARD_MAX_PARTS], hi[WEIRP_REWARD_MAX_PARTS];
} looking;

static void look(void *context, const weirp_reward_rows *rows) {
    looking *l = context;
    const weirp_ope_block *b = rows->block;
    for (size_t k = 0; k < rows->n; k++) {
        size_t i = rows->row[k], at = i * b->n_models + b->chosen[i], p = rows->part[k];
        double cost = b->cost_hat ? b->cost_hat[at] : NAN;
        double hat[3] = {b->quality_hat ? b->quality_hat[at] : NAN, cost, log(cost + WEIRP_COST_SHIFT)};
        l->n++;
        l->sum_w += rows->w[k];
        l->lo[p] = fmin(l->lo[p], rows->y[k]);
        l->hi[p] = fmax(l->hi[p], rows->y[k]);
        for (int h = 0; h < 3; h++)
            if (isfinite(hat[h])) l->n_hat[h]++, l->sum[h] += hat[h], l->square[h] += hat[h] * hat[h];
        if (!b->dense || !isfinite(b->dense[i * b->dim])) continue;
        l->n_dense++;
        for (size_t j = 0; j < b->dim; j++) {
            double x = (double)b->dense[i * b->dim + j];
            l->dense[j] += x;
            l->dense2[j] += x * x;
        }
    }
}

static double deviation(double n, double sum, double square) {
    double v = n > 0 ? square / n - (sum / n) * (sum / n) : 0;
    return v > 1e-12 * square / fmax(n, 1) ? sqrt(v) : 0;
}

static weir_status settle_frame(weirp_reward_frame *o, looking *l, size_t dim, weir_error *err) {
    o->norm = l->sum_w > 0 ? l->n / l->sum_w : 1;
    for (int h = 0; h < 3; h++) {
        o->hat[h][0] = l->n_hat[h] > 0 ? l->sum[h] / l->n_hat[h] : 0;
        o->hat[h][1] = deviation(l->n_hat[h], l->sum[h], l->square[h]);
    }
    for (size_t f = 0; f < o->folds.n_folds; f++) {
        o->lo[f] = INFINITY, o->hi[f] = -INFINITY;
        for (size_t p = 0; p < o->folds.n_parts; p++)
            if (o->folds.group[f][p] >= 0) o->lo[f] = fmin(o->lo[f], l->lo[p]), o->hi[f] = fmax(o->hi[f], l->hi[p]);
        if (!(o->lo[f] <= o->hi[f])) o->lo[f] = o->hi[f] = 0;
    }
    size_t most = weirp_reward_gram_most_dense(&o->folds, o->n_models);
    o->dim = l->n_dense > 0 ? (dim < most ? dim : most) : 0;
    o->centre = weirp_array(o->dim, sizeof *o->centre);
    if (!o->centre) return weirp_nomem(err);
    double variance = 0;
    for (size_t j = 0; j < o->dim; j++) {
        o->centre[j] = l->dense[j] / l->n_dense;
        double sd = deviation(l->n_dense, l->dense[j], l->dense2[j]);
        variance += sd * sd / (double)o->dim;
    }
    o->scale = sqrt(variance);
    if (!(o->scale > 0) || !isfinite(o->scale)) o->dim = 0;
    return WEIR_OK;
}

static weir_status begin_frame(weirp_reward_frame *o, const weirp_ope_table *table, const weirp_reward_options *options,
                               weir_error *err) {
    o->table = table;
    o->metric = options->metric;
    o->n_models = weirp_ope_table_n_models(table);
    o->n_segments = weirp_ope_table_n_segments(table);
    o->prior = options->prior > 0 ? options->prior : 10;
    o->seed = options->seed;
    o->n_threads = o->pass_threads = options->n_threads ? options->n_threads : 1;
    o->log_shift = o->metric == WEIR_METRIC_LATENCY ? 1 : WEIRP_COST_SHIFT;
    o->norm = 1;
    return weirp_reward_folds_make(&o->folds, options->n_folds ? options->n_folds : 5, err);
}

static weir_status begin_looking(looking *l, weirp_reward_frame *o, weir_error *err) {
    const size_t dim = weirp_ope_table_dim(o->table);
    *l = (looking){.frame = o, .dense = weirp_array(dim, sizeof(double)), .dense2 = weirp_array(dim, sizeof(double))};
    for (size_t p = 0; p < WEIRP_REWARD_MAX_PARTS; p++) l->lo[p] = INFINITY, l->hi[p] = -INFINITY;
    return l->dense && l->dense2 ? WEIR_OK : weirp_nomem(err);
}

/* ---- choosing among members ---- */

typedef struct judging {
    weirp_reward *r;
    double *moments; /* (n_folds, n_models, K + 1, K + 1) of y and the members' predictions */
    double *sums;    /* (n_folds, n_models, K + 1) */
    const weirp_reward_rows *rows;
    unsigned n_threads;
    double *z; /* (threads, d) */
    size_t d;
} judging;

static double clip(double x, double lo, double hi) {
    return x > lo ? (x < hi ? x : hi) : lo;
}

/* From a member's scale, before smearing. */
static double unscaled(const weirp_reward *r, size_t f, member_kind kind, double x) {
    const weirp_reward_frame *o = &r->frame;
    if (kind != LOG_RIDGE) return clip(x, o->lo[f], o->hi[f]);
    return exp(clip(x, log(fmax(o->lo[f], 0) + o->log_shift), log(fmax(o->hi[f], 0) + o->log_shift))) - o->log_shift;
}

static void judge_row(judging *j, size_t k, size_t f, const double *z) {
    const weirp_reward *r = j->r;
    const weirp_reward_folds *o = &r->frame.folds;
    const weirp_ope_block *b = j->rows->block;
    size_t i = j->rows->row[k], m = b->chosen[i], fit = f * (1 + o->n_inner) + 1;
    fit += (size_t)o->group[f][j->rows->part[k]];
    double v[K + 1] = {j->rows->y[k]};
    for (size_t t = 0; t < r->n_members; t++) {
        double x = r->kind[t] == TABLE ? weirp_reward_table_predict(r->table, fit, b->segment[i], m)
                                       : weirp_reward_linear_one(&r->linear[t], fit, m, z);
        v[1 + t] = unscaled(r, f, r->kind[t], x);
    }
    double *sums = j->sums + (f * r->frame.n_models + m) * (K + 1);
    double *moments = j->moments + (f * r->frame.n_models + m) * MOMENTS;
    for (size_t s = 0; s <= r->n_members; s++) {
        sums[s] += j->rows->w[k] * v[s];
        for (size_t t = 0; t <= r->n_members; t++) moments[s * (K + 1) + t] += j->rows->w[k] * v[s] * v[t];
    }
}

static void judge_share(void *context, unsigned worker, size_t begin, size_t end) {
    judging *j = context;
    const weirp_reward_frame *o = &j->r->frame;
    double *z = j->z + worker * j->d;
    for (size_t share = begin; share < end; share++)
        for (size_t k = 0; k < j->rows->n; k++) {
            size_t i = j->rows->row[k];
            if (!weirp_reward_z(o, j->rows->block, i, j->rows->block->chosen[i], z)) continue;
            for (size_t f = share; f < o->folds.n_folds; f += j->n_threads)
                if (o->folds.group[f][j->rows->part[k]] >= 0) judge_row(j, k, f, z);
        }
}

static void judge(void *context, const weirp_reward_rows *rows) {
    judging *j = context;
    j->rows = rows;
    weirp_parallel(j->n_threads, 1, j->n_threads, judge_share, j);
}

/* Ratio of outcomes to predictions, each model's drawn to that of all by `prior` rows' worth. */
static void find_smear(weirp_reward *r, const judging *j, size_t f, size_t member) {
    size_t models = r->frame.n_models;
    const double *sums = j->sums + f * models * (K + 1);
    double y = 0, p = 0, *smear = r->smear + f * models;
    for (size_t m = 0; m < models; m++) {
        y += sums[m * (K + 1)];
        p += sums[m * (K + 1) + 1 + member];
    }
    double all = p > 0 && y > 0 ? y / p : 1, drag = p / (double)models * 0.1;
    for (size_t m = 0; m < models; m++) {
        double own = sums[m * (K + 1) + 1 + member];
        smear[m] = own + drag > 0 ? (sums[m * (K + 1)] + all * drag) / (own + drag) : all;
        smear[m] = clip(smear[m], 0.1, 10);
    }
}

/* Least w'Rw over the simplex: on each face the minimum solves R u = 1 and is 1 / sum u. */
static void least_combination(const double *residual, size_t n, double *weight) {
    double least = INFINITY, trace = 0;
    for (size_t k = 0; k < n; k++) trace += residual[k * K + k];
    for (unsigned face = 1; face < 1u << n; face++) {
        double a[K * K], u[K], total = 0;
        size_t at[K], size = 0;
        bool inside = true;
        for (size_t k = 0; k < n; k++)
            if (face & 1u << k) at[size++] = k;
        for (size_t s = 0; s < size; s++) {
            u[s] = 1;
            for (size_t t = 0; t < size; t++) a[s * size + t] = residual[at[s] * K + at[t]];
            a[s * size + s] += 1e-9 * trace + DBL_MIN;
        }
        if (weirp_solve_spd(a, size, u, 1, NULL) != WEIR_OK) continue;
        for (size_t s = 0; s < size; s++) total += u[s], inside &= u[s] >= 0;
        if (!inside || !(total > 0) || !(1 / total < least)) continue;
        least = 1 / total;
        memset(weight, 0, K * sizeof *weight);
        for (size_t s = 0; s < size; s++) weight[at[s]] = u[s] / total;
    }
}

static void choose(weirp_reward *r, const judging *j, size_t f) {
    size_t models = r->frame.n_models, n = r->n_members;
    double residual[K * K] = {0};
    for (size_t t = 0; t < n; t++)
        if (r->kind[t] == LOG_RIDGE) find_smear(r, j, f, t);
    for (size_t m = 0; m < models; m++) {
        const double *c = j->moments + (f * models + m) * MOMENTS;
        for (size_t s = 0; s < n; s++)
            for (size_t t = 0; t < n; t++) {
                double a = r->kind[s] == LOG_RIDGE ? r->smear[f * models + m] : 1;
                double b = r->kind[t] == LOG_RIDGE ? r->smear[f * models + m] : 1;
                residual[s * K + t] += c[0] - a * c[1 + s] - b * c[1 + t] + a * b * c[(1 + s) * (K + 1) + 1 + t];
            }
    }
    least_combination(residual, n, r->weight[f]);
}

static bool needs_choice(const weirp_reward *r) {
    return r->n_members > 1 || (r->n_members && r->kind[0] == LOG_RIDGE);
}

static weir_status begin_judging(judging *j, weirp_reward *r, weir_error *err) {
    const weirp_reward_frame *o = &r->frame;
    const size_t folds = o->folds.n_folds, d = weirp_reward_d(o);
    *j = (judging){.r = r, .d = (d + 7) / 8 * 8};
    j->n_threads = folds < o->pass_threads ? (unsigned)folds : o->pass_threads;
    if (j->n_threads > WEIRP_MAX_THREADS) j->n_threads = WEIRP_MAX_THREADS;
    if (d <= 16) j->n_threads = 1; /* small rows aren't worth a thread */
    j->moments = weirp_array(folds * o->n_models * MOMENTS, sizeof *j->moments);
    j->sums = weirp_array(folds * o->n_models * (K + 1), sizeof *j->sums);
    j->z = weirp_array(j->n_threads * j->d, sizeof *j->z);
    return j->moments && j->sums && j->z ? WEIR_OK : weirp_nomem(err);
}

static void end_judging(judging *j) {
    free(j->moments);
    free(j->sums);
    free(j->z);
}

/* ---- fitting ---- */

typedef struct counting {
    weirp_reward_table *table;
    weirp_reward_gram *gram; /* NULL: nobody asks */
} counting;

static void count(void *context, const weirp_reward_rows *rows) {
    counting *c = context;
    weirp_reward_table_add(c->table, rows);
    if (c->gram) weirp_reward_gram_add(c->gram, rows);
}

/* The estimates that a metric goes by when it goes by nothing else. */
static unsigned own_hats(const weirp_reward_frame *o, member_kind kind) {
    unsigned q = o->hat[0][1] > 0 ? 1u << WEIRP_Z_QUALITY : 0, c = o->hat[1][1] > 0 ? 1u << WEIRP_Z_COST : 0;
    unsigned log_c = o->hat[2][1] > 0 ? 1u << WEIRP_Z_LOG_COST : 0;
    if (kind == LOG_RIDGE) return q | log_c;
    if (kind == RIDGE) return q | c | log_c;
    return o->metric == WEIR_METRIC_QUALITY ? q : o->metric == WEIR_METRIC_COST ? c : q | c;
}

static bool positive(weir_metric metric) {
    return metric == WEIR_METRIC_COST || metric == WEIR_METRIC_LATENCY;
}

static void add_member(weirp_reward *r, member_kind kind) {
    const weirp_reward_frame *o = &r->frame;
    if (kind != TABLE && !own_hats(o, kind) && (kind == LOGGED || !o->dim)) return;
    if (kind == LOG_RIDGE && !positive(o->metric)) return;
    r->kind[r->n_members++] = kind;
}

static void describe(weirp_reward *r) {
    size_t folds = r->frame.folds.n_folds, at = 0;
    if (r->n_members == 1) {
        weirp_copy_text(r->name, sizeof r->name, member_names[r->kind[0]]);
        return;
    }
    for (size_t k = 0; k < r->n_members; k++) {
        double mean = 0;
        for (size_t f = 0; f < folds; f++) mean += r->weight[f][k] / (double)folds;
        if (mean < 0.005 || at + 24 > sizeof r->name) continue;
        at += (size_t)snprintf(r->name + at, sizeof r->name - at, "%s%s %.2f", at ? " + " : "",
                               member_names[r->kind[k]], mean);
    }
}

static weir_status no_such_model(const char *name, weir_error *err) {
    const char *names[16] = {"auto", "logged", "table", "ridge", "logistic"};
    size_t n = 5;
    for (size_t k = 0; n < 16 && weirp_estimator_class_at(k); k++)
        if (strcmp(weirp_estimator_class_at(k)->name, "ridge") != 0) names[n++] = weirp_estimator_class_at(k)->name;
    char list[160] = "", shown[48];
    for (size_t k = 0, at = 0; k < n; k++, at = strlen(list))
        snprintf(list + at, sizeof list - at, "%s%s", k ? ", " : "", names[k]);
    const char *near = weirp_suggest(name, names, n);
    weirp_excerpt(shown, sizeof shown, name, strlen(name));
    if (near) return weirp_fail(err, WEIR_INVALID, 0, "no reward model is named \"%s\": did you mean %s?", shown, near);
    return weirp_fail(err, WEIR_INVALID, 0, "no reward model is named \"%s\": there are %s", shown, list);
}

static weir_status pick(weirp_reward *r, const char *name, weir_error *err) {
    bool every = !strcmp(name, "auto");
    if (every || !strcmp(name, "table")) add_member(r, TABLE);
    if (every || !strcmp(name, "logged")) add_member(r, LOGGED);
    if (every || !strcmp(name, "ridge")) add_member(r, RIDGE), add_member(r, LOG_RIDGE);
    if (!strcmp(name, "logistic")) {
        if (r->frame.metric != WEIR_METRIC_QUALITY && r->frame.metric != WEIR_METRIC_ERROR)
            return weirp_fail(err, WEIR_INVALID, 0, "the reward model logistic is for quality and error, not for %s",
                              weir_metric_name(r->frame.metric));
        r->other_class = &weirp_reward_logistic;
    } else if (strcmp(name, "ridge") != 0 && weirp_estimator_class_find(name)) {
        r->other_class = &weirp_reward_weir;
    }
    return WEIR_OK;
}

static bool known_name(const char *name) {
    static const char *const own[] = {"auto", "logged", "table", "ridge", "logistic"};
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        if (!strcmp(own[k], name)) return true;
    return weirp_estimator_class_find(name) != NULL;
}

/* What the fits of one call share while they go over the table together. */
typedef struct fitting {
    const weirp_reward_options *options; /* (n) */
    size_t n;
    unsigned n_threads;
    weirp_reward **r;              /* (n) */
    weirp_ope_target **robust_for; /* (n) NULL where weights are all 0 */
    looking *look;                 /* (n) */
    weirp_reward_gram *gram;       /* (n) */
    counting *count;               /* (n) */
    judging *judge;                /* (n) */
    weirp_reward_pass *pass;       /* (n) those of a pass */
} fitting;

static const char *name_of(const fitting *v, size_t k) {
    return v->options[k].name ? v->options[k].name : "auto";
}

static weir_status look_all(fitting *v, const weirp_ope_table *table, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n = 0;
    for (size_t k = 0; k < v->n; k++) {
        v->robust_for[k] = v->options[k].robust_for;
        WEIRP_TRY(begin_frame(&v->r[k]->frame, table, &v->options[k], err));
        if (v->n > 1) v->r[k]->frame.pass_threads = 1;
        WEIRP_TRY(begin_looking(&v->look[k], &v->r[k]->frame, err));
        v->pass[k] = (weirp_reward_pass){&v->r[k]->frame, v->robust_for[k], look, &v->look[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, v->n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++) {
        if (v->look[k].n > 0 || !v->robust_for[k]) continue;
        v->robust_for[k] = NULL;
        v->pass[n++] = (weirp_reward_pass){&v->r[k]->frame, NULL, look, &v->look[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++) {
        if (!(v->look[k].n > 0))
            WEIRP_TRY(weirp_fail(err, WEIR_NODATA, 0, "no row that somebody decided on knows the %s",
                                 weir_metric_name(v->r[k]->frame.metric)));
        WEIRP_TRY(settle_frame(&v->r[k]->frame, &v->look[k], weirp_ope_table_dim(table), err));
    }
done:
    return st;
}

static bool is_linear(const weirp_reward *r) {
    return r->n_members > 1 || (r->n_members && r->kind[0] != TABLE);
}

static weir_status solve_members(weirp_reward *r, const weirp_reward_gram *gram, weir_error *err) {
    weir_status st;
    WEIRP_TRY(weirp_reward_table_solve(r->table, err));
    for (size_t k = 0; k < r->n_members; k++)
        if (r->kind[k] != TABLE)
            WEIRP_TRY(weirp_reward_linear_fit(&r->linear[k], gram,
                                              r->kind[k] == LOG_RIDGE ? WEIRP_SCALE_LOG : WEIRP_SCALE_RAW,
                                              own_hats(&r->frame, r->kind[k]), r->kind[k] != LOGGED, err));
done:
    return st;
}

/* Those from `first` on whose normal equations fit into memory together: *end is behind the last. */
static weir_status count_some(fitting *v, size_t first, size_t *end, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t k = first, room = WEIRP_REWARD_GRAM_BYTES;
    for (; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        const size_t bytes = is_linear(r) ? weirp_reward_gram_bytes(&r->frame) : 0;
        if (k > first && bytes > room) break;
        room -= bytes < room ? bytes : room;
        WEIRP_TRY(weirp_reward_table_new(&r->table, &r->frame, strcmp(name_of(v, k), "table") != 0, err));
        if (is_linear(r)) WEIRP_TRY(weirp_reward_gram_init(&v->gram[k], &r->frame, err));
        v->count[k] = (counting){r->table, is_linear(r) ? &v->gram[k] : NULL};
        v->pass[k] = (weirp_reward_pass){&r->frame, v->robust_for[k], count, &v->count[k]};
    }
    *end = k;
    WEIRP_TRY(weirp_reward_each_of(v->pass + first, *end - first, v->n_threads, err));
    for (k = first; k < *end; k++) {
        if (is_linear(v->r[k])) weirp_reward_gram_settle(&v->gram[k]);
        WEIRP_TRY(solve_members(v->r[k], &v->gram[k], err));
        weirp_reward_gram_free(&v->gram[k]);
    }
done:
    return st;
}

static weir_status choose_all(fitting *v, weir_error *err) {
    weir_status st = WEIR_OK;
    size_t n = 0;
    for (size_t k = 0; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        for (size_t f = 0; f < r->frame.folds.n_folds; f++) r->weight[f][0] = 1;
        if (!needs_choice(r)) continue;
        WEIRP_TRY(begin_judging(&v->judge[k], r, err));
        v->pass[n++] = (weirp_reward_pass){&r->frame, v->robust_for[k], judge, &v->judge[k]};
    }
    WEIRP_TRY(weirp_reward_each_of(v->pass, n, v->n_threads, err));
    for (size_t k = 0; k < v->n; k++)
        for (size_t f = 0; v->judge[k].r && f < v->r[k]->frame.folds.n_folds; f++) choose(v->r[k], &v->judge[k], f);
done:
    return st;
}

static weir_status fit_other(weirp_reward *r, weirp_ope_target *robust_for, const char *name, weir_error *err) {
    if (!r->other_class) return WEIR_OK;
    weir_status st = r->other_class->fit(&r->other, &r->frame, robust_for, name, err);
    if (st != WEIR_OK) return st;
    if (!r->other) r->other_class = NULL, r->n_members = 1, r->kind[0] = TABLE;
    weirp_copy_text(r->name, sizeof r->name, r->other ? name : member_names[TABLE]);
    return WEIR_OK;
}

static weir_status fit_all(fitting *v, const weirp_ope_table *table, weir_error *err) {
    weir_status st = WEIR_OK;
    for (size_t k = 0; k < v->n; k++)
        if (!known_name(name_of(v, k))) return no_such_model(name_of(v, k), err);
    for (size_t k = 0; k < v->n; k++)
        if (!(v->r[k] = weirp_array(1, sizeof **v->r))) return weirp_nomem(err);
    WEIRP_TRY(look_all(v, table, err));
    for (size_t k = 0; k < v->n; k++) {
        weirp_reward *r = v->r[k];
        r->smear = weirp_array(r->frame.folds.n_folds * r->frame.n_models, sizeof *r->smear);
        if (!r->smear) WEIRP_TRY(weirp_nomem(err));
        WEIRP_TRY(pick(r, name_of(v, k), err));
        if (!r->n_members && !r->other_class) r->kind[r->n_members++] = TABLE; /* the log lacks what it would go by */
    }
    for (size_t k = 0; k < v->n;) WEIRP_TRY(count_some(v, k, &k, err));
    WEIRP_TRY(choose_all(v, err));
    for (size_t k = 0; k < v->n; k++) {
        v->r[k]->frame.pass_threads = v->r[k]->frame.n_threads;
        describe(v->r[k]);
        WEIRP_TRY(fit_other(v->r[k], v->robust_for[k], name_of(v, k), err));
    }
done:
    return st;
}

static void end_fitting(fitting *v) {
    for (size_t k = 0; k < v->n; k++) {
        if (v->r) weirp_reward_free(v->r[k]);
        if (v->look) free(v->look[k].dense), free(v->look[k].dense2);
        if (v->gram) weirp_reward_gram_free(&v->gram[k]);
        if (v->judge) end_judging(&v->judge[k]);
    }
    free(v->r);
    free(v->robust_for);
    free(v->look);
    free(v->gram);
    free(v->count);
    free(v->judge);
    free(v->pass);
}

weir_status weirp_reward_fit_all(weirp_reward **out, const weirp_ope_table *table, const weirp_reward_options *options,
                                 size_t n, weir_error *err) {
    if (!n) return WEIR_OK;
    fitting v = {.options = options,
                 .n = n,
                 .n_threads = options->n_threads,
                 .r = weirp_array(n, sizeof *v.r),
                 .robust_for = weirp_array(n, sizeof *v.robust_for),
                 .look = weirp_array(n, sizeof *v.look),
                 .gram = weirp_array(n, sizeof *v.gram),
                 .count = weirp_array(n, sizeof *v.count),
                 .judge = weirp_array(n, sizeof *v.judge),
                 .pass = weirp_array(n, sizeof *v.pass)};
    weir_status st = v.r && v.robust_for && v.look && v.gram && v.count && v.judge && v.pass ? fit_all(&v, table, err)
                                                                                             : weirp_nomem(err);
    for (size_t k = 0; k < n && st == WEIR_OK; k++) out[k] = v.r[k], v.r[k] = NULL;
    end_fitting(&v);
    return st;
}

weir_status weirp_reward_fit(weirp_reward **out, const weirp_ope_table *table, const weirp_reward_options *options,
                             weir_error *err) {
    return weirp_reward_fit_all(out, table, options, 1, err);
}

const char *weirp_reward_name(const weirp_reward *reward) {
    return reward->name;
}

void weirp_reward_free(weirp_reward *reward) {
    if (!reward) return;
    weirp_reward_table_free(reward->table);
    for (size_t k = 0; k < K; k++) weirp_reward_linear_free(&reward->linear[k]);
    if (reward->other) reward->other_class->free(reward->other);
    free(reward->smear);
    free(reward->frame.centre);
    free(reward);
}

/* ---- predicting ---- */

static void from_table(const weirp_reward *r, size_t f, const weirp_ope_block *b, size_t i, size_t begin, size_t end,
                       double *q) {
    size_t fit = f * (1 + r->frame.folds.n_inner);
    for (size_t m = begin; m < end; m++) q[m - begin] = weirp_reward_table_predict(r->table, fit, b->segment[i], m);
}

/* Models [begin, end), at most CHUNK of them; false: the row lacks features that some member needs. */
static bool combine(const weirp_reward *r, size_t f, const weirp_ope_block *b, size_t i, size_t begin, size_t end,
                    double *q) {
    double one[CHUNK];
    memset(q, 0, (end - begin) * sizeof *q);
    for (size_t k = 0; k < r->n_members; k++) {
        double weight = r->weight[f][k];
        const double *smear = r->smear + f * r->frame.n_models + begin;
        if (!(weight > 0)) continue;
        if (r->kind[k] == TABLE)
            from_table(r, f, b, i, begin, end, one);
        else if (!weirp_reward_linear_row(&r->linear[k], f, b, i, begin, end, one))
            return false;
        for (size_t m = 0; m < end - begin; m++) {
            double x = unscaled(r, f, r->kind[k], one[m]);
            q[m] += weight * (r->kind[k] == LOG_RIDGE ? smear[m] * x : x);
        }
    }
    return true;
}

void weirp_reward_predict(const weirp_reward *reward, const weirp_ope_block *block, double *q) {
    const weirp_reward_frame *o = &reward->frame;
    size_t models = block->n_models;
    weirp_reward_scratch scratch = {0};
    for (size_t i = 0; i < block->n; i++) {
        size_t f = o->folds.n_folds > 1 ? block->cluster[i] % o->folds.n_parts % o->folds.n_folds : 0;
        double *row = q + i * models;
        if (reward->other && reward->other_class->row(reward->other, f, block, i, row, &scratch)) {
            for (size_t m = 0; m < models; m++) row[m] = clip(row[m], o->lo[f], o->hi[f]);
            continue;
        }
        for (size_t begin = 0; begin < models; begin += CHUNK) {
            size_t end = models - begin < CHUNK ? models : begin + CHUNK;
            if (reward->other || !combine(reward, f, block, i, begin, end, row + begin))
                from_table(reward, f, block, i, begin, end, row + begin);
        }
    }
    free(scratch.bytes);
}

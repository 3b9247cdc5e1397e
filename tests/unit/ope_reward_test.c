/* Reward models: cross-fits against brute force, what an outcome may not move, closed forms.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/ope_made.h"

#include "src/linalg/linalg.h"
#include "src/ope/reward_sample.h"

/* ---- a made world ---- */

typedef struct world {
    size_t n, n_models, dim, sessions; /* sessions 0: every row its own */
    double noise, estimates;           /* how far logged estimates are off; < 0: none */
    bool binary, cost, segments;
    uint64_t seed;
    double bump; /* added to row `bumped`'s outcome */
    size_t bumped;
} world;

static double uniform(const world *w, size_t i, uint64_t what) {
    return weirp_random_uniform(w->seed, what, i);
}

static double truth(const world *w, const float *x, size_t segment, size_t m) {
    double t = 0.2 * (double)m - 0.3 + (w->segments ? 0.2 * (double)segment : 0);
    for (size_t j = 0; j < w->dim && j < 4; j++) t += (double)x[j] * (j % 2 ? 0.4 : 0.3 + 0.2 * (double)m);
    return w->cost ? exp(t - 6) : 1 / (1 + exp(-t));
}

static void features(const world *w, size_t i, float *x) {
    for (size_t j = 0; j < w->dim; j++) x[j] = (float)weirp_random_normal(w->seed, 100 + j, i);
}

static weirp_ope_table *make(const world *w) {
    char names[16][24], session[24];
    const char *model[16];
    float x[64];
    double q[16], c[16];
    for (size_t m = 0; m < w->n_models; m++) {
        snprintf(names[m], sizeof names[m], "m%zu", m);
        model[m] = names[m];
    }
    weirp_ope_table *table = table_of(model, w->n_models);
    for (size_t i = 0; i < w->n; i++) {
        size_t m = (size_t)(uniform(w, i, 1) * (double)w->n_models), s = (size_t)(uniform(w, i, 2) * 3);
        weirp_logged_row row = row_new(m, 1 / (double)w->n_models);
        if (w->sessions) {
            snprintf(session, sizeof session, "s%zu", (size_t)(uniform(w, i, 3) * (double)w->sessions));
            row.session = session;
        }
        if (w->segments) row.segment = s == 0 ? "a" : s == 1 ? "b" : "c";
        features(w, i, x);
        row.dense = w->dim ? x : NULL;
        row.dim = w->dim;
        double mean = truth(w, x, s, m), y;
        if (w->cost)
            y = mean * exp(w->noise * weirp_random_normal(w->seed, 5, i));
        else if (w->binary)
            y = uniform(w, i, 4) < mean;
        else
            y = mean + w->noise * weirp_random_normal(w->seed, 5, i);
        if (w->estimates >= 0) {
            for (size_t k = 0; k < w->n_models; k++) {
                double off = w->estimates * weirp_random_normal(w->seed, 200 + k, i);
                q[k] = w->cost ? 0.5 : truth(w, x, s, k) + off;
                c[k] = w->cost ? truth(w, x, s, k) * exp(off) : 0.001 * (double)(k + 1);
            }
            row.quality_hat = q;
            row.cost_hat = c;
        }
        if (i == w->bumped) y += w->bump;
        row.metric[w->cost ? WEIR_METRIC_COST : WEIR_METRIC_QUALITY] = y;
        if (i % 97 == 5) row.flags = WEIRP_LOGGED_CACHED; /* left out */
        if (i % 101 == 7) row.metric[WEIR_METRIC_QUALITY] = row.metric[WEIR_METRIC_COST] = NAN;
        table_row(table, &row, w->n_models);
    }
    table_done(table);
    return table;
}

static weirp_reward *fit(const weirp_ope_table *table, const weirp_reward_options *options) {
    weirp_reward *reward = NULL;
    weir_error err = {0};
    must(weirp_reward_fit_all(&reward, table, options, 1, &err), &err);
    return reward;
}

/* (rows, n_models), new. */
static double *predict_all(const weirp_ope_table *table, const weirp_reward *reward) {
    size_t models = weirp_ope_table_n_models(table);
    double *q = calloc(weirp_ope_table_n(table) * models, sizeof *q);
    EACH_BLOCK(table, b) weirp_reward_predict(reward, &b, q + b.first * models);
    return q;
}

static uint32_t *clusters_of(const weirp_ope_table *table) {
    uint32_t *c = calloc(weirp_ope_table_n(table), sizeof *c);
    EACH_BLOCK(table, b) memcpy(c + b.first, b.cluster, b.n * sizeof *c);
    return c;
}

static const char *const names[] = {"auto",   "table", "logged", "ridge",  "logistic",
                                    "forest", "knn",   "kmeans", "lowrank"};
enum { N_NAMES = sizeof names / sizeof *names };

/* ---- what an outcome may not move ---- */

static void own_outcome_moves_nothing(void **state) {
    (void)state;
    for (size_t k = 0; k < N_NAMES; k++)
        for (int kind = 0; kind < (k < 5 ? 4 : 2); kind++) { /* the estimators know nothing of sessions */
            static const size_t folds[] = {5, 2, 3, 7};
            world w = {.n = 700,
                       .n_models = 3,
                       .dim = 6,
                       .sessions = kind % 2 ? 60 : 0,
                       .noise = 0.2,
                       .seed = 7,
                       .estimates = 0.2,
                       .segments = true,
                       .cost = kind == 3 && k < 4,
                       .bumped = 350};
            weirp_reward_options o = {.name = names[k],
                                      .n_folds = folds[kind],
                                      .seed = 3,
                                      .n_threads = 2,
                                      .metric = w.cost ? WEIR_METRIC_COST : WEIR_METRIC_QUALITY};
            weirp_ope_table *table = make(&w);
            weirp_reward *reward = fit(table, &o);
            double *before = predict_all(table, reward);
            uint32_t *cluster = clusters_of(table);
            weirp_reward_free(reward);
            weirp_ope_table_free(table);
            w.bump = w.cost ? 0.02 : -2.5; /* outside all that was seen, so that bounds move as well */
            table = make(&w);
            reward = fit(table, &o);
            double *after = predict_all(table, reward);
            size_t own = cluster[w.bumped] % folds[kind], moved = 0;
            for (size_t i = 0; i < w.n; i++)
                for (size_t m = 0; m < w.n_models; m++) {
                    double a = before[i * w.n_models + m], b = after[i * w.n_models + m];
                    assert_true(isfinite(a) && isfinite(b));
                    if (cluster[i] % folds[kind] != own)
                        moved += a != b;
                    else if (a != b)
                        fail_msg("%s, %zu folds: row %zu moved by %g", names[k], folds[kind], i, b - a);
                }
            if (!moved) fail_msg("%s: an outcome moves nobody's prediction", names[k]);
            weirp_reward_free(reward);
            weirp_ope_table_free(table);
            free(before);
            free(after);
            free(cluster);
        }
}

/* ---- table ---- */

static void table_is_the_rule(void **state) {
    (void)state;
    world w = {.n = 3000, .n_models = 4, .binary = true, .segments = true, .seed = 11, .estimates = -1};
    weirp_ope_table *table = make(&w);
    weirp_reward_options o = {.name = "table", .n_folds = 1};
    weirp_reward *reward = fit(table, &o);
    double *q = predict_all(table, reward), n[3][4] = {{0}}, sum[3][4] = {{0}}, all = 0, mu = 0;
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) {
        double y = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
        if (isnan(y) || b.flags[i]) continue;
        n[b.segment[i]][b.chosen[i]]++, sum[b.segment[i]][b.chosen[i]] += y;
        all++, mu += y / 1;
    }
    mu /= all;
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++)
        for (size_t m = 0; m < 4; m++) {
            double right = (sum[b.segment[i]][m] + 10 * mu) / (n[b.segment[i]][m] + 10);
            assert_true(fabs(q[(b.first + i) * 4 + m] - right) < 1e-15);
        }
    assert_string_equal(weirp_reward_name(reward), "table");
    weirp_reward_free(reward);
    weirp_ope_table_free(table);
    free(q);
}

/* ---- ridge ---- */

/* Rows that a fit sees, stacked, as one least-squares problem a model, solved from the rows themselves. */
static void brute(const weirp_reward_frame *o, const weirp_ope_table *table, size_t fit, double shared, double own,
                  unsigned hats, double *theta) {
    size_t d = weirp_reward_d(o), models = o->n_models;
    long double *a = calloc((models + 1) * d * d, sizeof *a), *s = calloc((models + 1) * d, sizeof *s);
    double *z = calloc(d, sizeof *z);
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) {
        double y = b.metric[i * WEIR_N_METRICS + o->metric];
        if (isnan(y) || b.flags[i] || !weirp_reward_sees(&o->folds, fit, b.cluster[i] % o->folds.n_parts)) continue;
        assert_true(weirp_reward_z(o, &b, i, b.chosen[i], z));
        for (size_t at = b.chosen[i];; at = models) {
            for (size_t j = 0; j < d; j++) {
                s[at * d + j] += (long double)z[j] * y;
                for (size_t l = 0; l < d; l++) a[(at * d + j) * d + l] += (long double)z[j] * z[l];
            }
            if (at == models) break;
        }
    }
    double *system = calloc(d * d, sizeof *system), *first = calloc(d, sizeof *first);
    for (size_t step = 0; step <= models; step++) {
        size_t at = step == 0 ? models : step - 1;
        double *out = step == 0 ? first : theta + at * d;
        for (size_t j = 0; j < d; j++) {
            double used = j == 0 || hats & 1u << j, l = j >= WEIRP_Z_DENSE ? (step ? own : shared)
                                                        : !used            ? 1e10
                                                        : j == 0           ? (step ? 10 : 1e-9)
                                                                           : (step ? 30 : 1);
            for (size_t k = 0; k < d; k++) system[j * d + k] = (double)a[(at * d + j) * d + k];
            system[j * d + j] += l;
            out[j] = (double)s[at * d + j] + (step ? l * first[j] : 0);
        }
        weir_error err = {0};
        must(weirp_solve_spd(system, d, out, 1, &err), &err);
    }
    free(a);
    free(s);
    free(z);
    free(system);
    free(first);
}

static weirp_reward_frame frame_of(const weirp_ope_table *table, const world *w, size_t n_folds) {
    weirp_reward_frame o = {.table = table,
                            .metric = WEIR_METRIC_QUALITY,
                            .n_models = w->n_models,
                            .n_segments = 1,
                            .dim = w->dim,
                            .scale = 0.9,
                            .norm = 1,
                            .prior = 10,
                            .log_shift = 1,
                            .n_threads = 2};
    weir_error err = {0};
    must(weirp_reward_folds_make(&o.folds, n_folds, &err), &err);
    o.centre = calloc(w->dim + 1, sizeof *o.centre);
    for (size_t j = 0; j < w->dim; j++) o.centre[j] = 0.01 * (double)j;
    o.hat[0][0] = 0.5, o.hat[0][1] = 0.2, o.hat[1][0] = 0.002, o.hat[1][1] = 0.001;
    return o;
}

static void add_to_gram(void *context, const weirp_reward_rows *rows) {
    weirp_reward_gram_add(context, rows);
}

/* Every fit, final and inner, equals a refit on its rows at one of the grid's points: the same one for a final fit and
 * its inner ones, and the one of least error on what the inner ones haven't seen. */
static void ridge_is_brute_force(void **state) {
    (void)state;
    static const double shared[] = {10, 100, 1000, 10000, 1e10}, own[] = {100, 1000, 10000, 1e10};
    world w = {.n = 900, .n_models = 3, .dim = 5, .noise = 0.3, .seed = 5, .estimates = 0.3, .sessions = 80};
    weirp_ope_table *table = make(&w);
    for (size_t n_folds = 1; n_folds <= 5; n_folds += 2) {
        weirp_reward_frame o = frame_of(table, &w, n_folds);
        weirp_reward_gram gram = {0};
        weirp_reward_linear l = {0};
        weir_error err = {0};
        unsigned hats = 1u << WEIRP_Z_QUALITY | 1u << WEIRP_Z_COST;
        must(weirp_reward_gram_init(&gram, &o, &err), &err);
        must(weirp_reward_each(&o, NULL, add_to_gram, &gram, &err), &err);
        weirp_reward_gram_settle(&gram);
        must(weirp_reward_linear_fit(&l, &gram, WEIRP_SCALE_RAW, hats, true, &err), &err);
        size_t d = weirp_reward_d(&o), cells = w.n_models * d, fits = 1 + o.folds.n_inner;
        assert_int_equal(l.d, d);
        double *theta = calloc(fits * cells, sizeof *theta), *z = calloc(d, sizeof *z);
        for (size_t f = 0; f < n_folds; f++) {
            double least = INFINITY, worst = INFINITY;
            for (size_t k = 0; k < 20; k++) {
                double error = 0, apart = 0;
                for (size_t g = 0; g < fits; g++)
                    brute(&o, table, f * fits + g, shared[k % 5], own[k / 5], hats, theta + g * cells);
                EACH_BLOCK(table, b)
                for (size_t i = 0; i < b.n; i++) {
                    double y = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
                    int group = o.folds.group[f][b.cluster[i] % o.folds.n_parts];
                    if (isnan(y) || b.flags[i] || group < 0) continue;
                    weirp_reward_z(&o, &b, i, b.chosen[i], z);
                    double *t = theta + (size_t)(1 + group) * cells + b.chosen[i] * d, q = 0;
                    for (size_t j = 0; j < d; j++) q += t[j] * z[j];
                    error += (y - q) * (y - q);
                }
                for (size_t c = 0; c < fits * cells; c++)
                    apart = fmax(apart, fabs(theta[c] - l.theta[f * fits * cells + c]));
                if (error < least) least = error, worst = apart;
            }
            if (!(worst < 1e-9)) fail_msg("%zu folds, fold %zu: %g apart", n_folds, f, worst);
        }
        free(theta);
        free(z);
        weirp_reward_linear_free(&l);
        weirp_reward_gram_free(&gram);
        free(o.centre);
    }
    weirp_ope_table_free(table);
}

/* The sums don't depend on the number of threads, to the bit. */
static void threads_change_nothing(void **state) {
    (void)state;
    world w = {.n = 5000, .n_models = 4, .dim = 24, .noise = 0.3, .seed = 5, .estimates = 0.3, .segments = true};
    weirp_ope_table *table = make(&w);
    double *first = NULL;
    for (unsigned threads = 1; threads <= 3; threads++) {
        weirp_reward_options o = {.name = "auto", .n_threads = threads};
        weirp_reward *reward = fit(table, &o);
        double *q = predict_all(table, reward);
        if (first) assert_memory_equal(q, first, w.n * w.n_models * sizeof *q);
        if (first) free(q);
        if (!first) first = q;
        weirp_reward_free(reward);
    }
    free(first);
    weirp_ope_table_free(table);
}

/* ---- how good ---- */

static double error_of(const world *w, const weirp_ope_table *table, const char *name, char *called) {
    weirp_reward_options o = {
        .name = name, .n_threads = 2, .seed = 1, .metric = w->cost ? WEIR_METRIC_COST : WEIR_METRIC_QUALITY};
    weirp_reward *reward = fit(table, &o);
    double *q = predict_all(table, reward), sum = 0;
    float x[64];
    for (size_t i = 0; i < w->n; i++) {
        features(w, i, x);
        for (size_t m = 0; m < w->n_models; m++) {
            double t = truth(w, x, (size_t)(uniform(w, i, 2) * 3), m), r = q[i * w->n_models + m] - t;
            sum += r * r;
        }
    }
    if (called) snprintf(called, 64, "%s", weirp_reward_name(reward));
    weirp_reward_free(reward);
    free(q);
    return sqrt(sum / (double)(w->n * w->n_models));
}

/* "auto" is about as good as the best of what it has, whichever that is. */
static void auto_is_as_good_as_the_best(void **state) {
    (void)state;
    static const world worlds[] = {
        {.n = 1000, .n_models = 8, .dim = 40, .binary = true, .seed = 1, .estimates = -1},
        {.n = 1000, .n_models = 8, .dim = 40, .binary = true, .seed = 2, .estimates = 0.05},
        {.n = 1000, .n_models = 8, .dim = 40, .binary = true, .seed = 3, .estimates = 3},
        {.n = 1000, .n_models = 3, .binary = true, .segments = true, .seed = 4, .estimates = -1},
        {.n = 8000, .n_models = 3, .dim = 20, .binary = true, .seed = 5, .estimates = 0.3},
        {.n = 3000, .n_models = 4, .dim = 20, .cost = true, .noise = 0.5, .seed = 6, .estimates = 0.7},
        {.n = 3000, .n_models = 4, .dim = 20, .cost = true, .noise = 0.5, .seed = 7, .estimates = 0.05},
    };
    for (size_t k = 0; k < sizeof worlds / sizeof *worlds; k++) {
        weirp_ope_table *table = make(&worlds[k]);
        char called[64];
        double t = error_of(&worlds[k], table, "table", NULL), l = error_of(&worlds[k], table, "logged", NULL),
               r = error_of(&worlds[k], table, "ridge", NULL), a = error_of(&worlds[k], table, "auto", called);
        double best = fmin(t, fmin(l, r));
        if (getenv("WEIR_SHOW"))
            fprintf(stderr, "%zu: table %.5f logged %.5f ridge %.5f auto %.5f (%s)\n", k, t, l, r, a, called);
        if (!(a <= 1.15 * best)) fail_msg("world %zu: %g where the best is %g: %s", k, a, best, called);
        weirp_ope_table_free(table);
    }
}

/* ---- logged ---- */

/* Not the estimates themselves: a line through them, whichever way it goes; and latency, of which there is no estimate,
 * goes by those of quality and cost. */
static void logged_is_a_line_through_the_estimates(void **state) {
    (void)state;
    enum { N = 2000, M = 2 };
    static const char *const models[M] = {"a", "b"};
    const world w = {.seed = 21};
    weirp_ope_table *table = table_of(models, M);
    double right[N][M][2];
    for (size_t i = 0; i < N; i++) {
        const size_t m = i % M;
        double q[M], c[M];
        weirp_logged_row row = row_new(m, 0.5);
        for (size_t k = 0; k < M; k++) {
            q[k] = uniform(&w, i, 10 + k), c[k] = 0.01 * uniform(&w, i, 20 + k);
            right[i][k][0] = 0.8 - 0.5 * q[k];
            right[i][k][1] = 300 + (double)(k + 1) * 500 * q[k] + 1e5 * c[k];
        }
        row.quality_hat = q, row.cost_hat = c;
        row.metric[WEIR_METRIC_QUALITY] = right[i][m][0] + 0.02 * weirp_random_normal(w.seed, 5, i);
        row.metric[WEIR_METRIC_LATENCY] = right[i][m][1] + 20 * weirp_random_normal(w.seed, 6, i);
        table_row(table, &row, M);
    }
    table_done(table);
    for (size_t t = 0; t < 2; t++) {
        const weirp_reward_options o = {.name = "logged", .metric = t ? WEIR_METRIC_LATENCY : WEIR_METRIC_QUALITY};
        weirp_reward *reward = fit(table, &o);
        double *predicted = predict_all(table, reward), most = 0;
        assert_string_equal(weirp_reward_name(reward), "logged");
        for (size_t i = 0; i < N; i++)
            for (size_t k = 0; k < M; k++) most = fmax(most, fabs(predicted[i * M + k] - right[i][k][t]));
        assert_true(most < (t ? 20 : 0.02)); /* a row's own noise, at most */
        weirp_reward_free(reward);
        free(predicted);
    }
    weirp_ope_table_free(table);
}

/* ---- logistic ---- */

/* Without features a logistic fit is a number a model: the root of sum (y - p) = 2.5 (b - shared), where `shared` is
 * the logit of the overall mean. */
static void logistic_is_the_closed_form(void **state) {
    (void)state;
    world w = {.n = 2000, .n_models = 3, .binary = true, .seed = 9, .estimates = -1};
    weirp_ope_table *table = make(&w);
    weirp_reward_options o = {.name = "logistic", .n_folds = 1};
    weirp_reward *reward = fit(table, &o);
    double *q = predict_all(table, reward), n[3] = {0}, sum[3] = {0};
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) {
        double y = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
        if (!isnan(y) && !b.flags[i]) n[b.chosen[i]]++, sum[b.chosen[i]] += y;
    }
    double mean = (sum[0] + sum[1] + sum[2]) / (n[0] + n[1] + n[2]), shared = log(mean / (1 - mean));
    for (int m = 0; m < 3; m++) {
        double lo = -20, hi = 20;
        for (int round = 0; round < 200; round++) {
            double b = (lo + hi) / 2, slope = sum[m] - n[m] / (1 + exp(-b)) - 2.5 * (b - shared);
            if (slope > 0)
                lo = b;
            else
                hi = b;
        }
        assert_true(fabs(q[m] - 1 / (1 + exp(-lo))) < 1e-8);
    }
    weirp_reward_free(reward);
    weirp_ope_table_free(table);
    free(q);
}

static void named_models_learn(void **state) {
    (void)state;
    world w = {.n = 4000, .n_models = 3, .dim = 6, .binary = true, .seed = 12, .estimates = -1};
    weirp_ope_table *table = make(&w);
    double least = error_of(&w, table, "table", NULL);
    for (size_t k = 3; k < N_NAMES; k++) {
        char called[64];
        double error = error_of(&w, table, names[k], called);
        if (getenv("WEIR_SHOW")) fprintf(stderr, "%s (%s): %.4f, table %.4f\n", names[k], called, error, least);
        if (!(error < 0.85 * least)) fail_msg("%s: %g, where the table has %g", names[k], error, least);
    }
    weirp_ope_table_free(table);
}

/* ---- more robust ---- */

static void robust_weights(void **state) {
    (void)state;
    /* Two models, one segment; the table's means under weights pi^2 (1 - p) / p^2 by hand. */
    static const char *const models[2] = {"a", "b"};
    static const struct {
        size_t chosen;
        double p, y;
    } rows[] = {{0, 0.5, 1}, {0, 0.25, 0}, {0, 0.8, 1}, {1, 0.5, 0}, {1, 0.75, 1}, {1, 0.2, 0}, {0, 1, 0}};
    enum { N = sizeof rows / sizeof *rows };
    weirp_ope_table *table = table_of(models, 2);
    double w[N], total = 0, sum[2] = {0}, n[2] = {0}, mu = 0, count = 0, pi[2] = {0.3, 0.7};
    for (size_t i = 0; i < N; i++) {
        double p[2] = {rows[i].p, 1 - rows[i].p};
        if (rows[i].chosen) p[0] = 1 - rows[i].p, p[1] = rows[i].p;
        weirp_logged_row row = row_new(rows[i].chosen, rows[i].p);
        row.propensity = p;
        row.target = pi;
        row.metric[WEIR_METRIC_QUALITY] = rows[i].y;
        table_row(table, &row, 2);
        w[i] = pi[rows[i].chosen] * pi[rows[i].chosen] * (1 - rows[i].p) / (rows[i].p * rows[i].p);
        total += w[i];
        count += w[i] > 0;
    }
    table_done(table);
    for (size_t i = 0; i < N; i++) {
        w[i] *= count / total;
        n[rows[i].chosen] += w[i], sum[rows[i].chosen] += w[i] * rows[i].y, mu += w[i] * rows[i].y / count;
    }
    weirp_ope_target *target = NULL;
    weir_error err = {0};
    must(weirp_ope_target_new(&target, "column", table, NULL, &err), &err);
    weirp_reward_options o = {.name = "table", .n_folds = 1, .robust_for = target};
    weirp_reward *reward = fit(table, &o);
    double *q = predict_all(table, reward);
    for (int m = 0; m < 2; m++) assert_true(fabs(q[m] - (sum[m] + 10 * mu) / (n[m] + 10)) < 1e-14);
    weirp_reward_free(reward);
    weirp_ope_target_free(target);
    weirp_ope_table_free(table);
    free(q);
}

/* ---- what can't be fitted ---- */

static void refusals(void **state) {
    (void)state;
    world w = {.n = 200, .n_models = 2, .seed = 1, .estimates = -1, .binary = true};
    static const struct {
        const char *name;
        weir_metric metric;
        size_t folds;
        const char *said;
    } cases[] = {
        {"rigde", WEIR_METRIC_QUALITY, 5, "did you mean ridge"},
        {"zzzzzz", WEIR_METRIC_QUALITY, 5, "there are auto, logged, table, ridge, logistic, forest"},
        {"auto", WEIR_METRIC_LATENCY, 5, "knows the latency"},
        {"auto", WEIR_METRIC_QUALITY, 21, "at most 20 folds"},
    };
    weirp_ope_table *table = make(&w);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weirp_reward *reward = NULL;
        weir_error err = {0};
        weirp_reward_options o = {.name = cases[k].name, .metric = cases[k].metric, .n_folds = cases[k].folds};
        weir_status st = weirp_reward_fit_all(&reward, table, &o, 1, &err);
        if (st == WEIR_OK || !strstr(err.text, cases[k].said)) fail_msg("%s: %s", cases[k].name, err.text);
    }
    /* what the log lacks is left to the table */
    static const char *const lacking[] = {"ridge", "logged", "forest", "auto"};
    for (size_t k = 0; k < 4; k++) {
        weirp_reward_options o = {.name = lacking[k]};
        weirp_reward *reward = fit(table, &o);
        assert_string_equal(weirp_reward_name(reward), "table");
        weirp_reward_free(reward);
    }
    weirp_ope_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_outcome_moves_nothing),
        cmocka_unit_test(table_is_the_rule),
        cmocka_unit_test(ridge_is_brute_force),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(auto_is_as_good_as_the_best),
        cmocka_unit_test(logged_is_a_line_through_the_estimates),
        cmocka_unit_test(logistic_is_the_closed_form),
        cmocka_unit_test(named_models_learn),
        cmocka_unit_test(robust_weights),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Chances of labels: simulated logs on which labelling depends on what was chosen.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/ope_made.h"

#include "src/ope/reward.h"

enum { M = 3 };
static const char *const models[M] = {"a", "b", "c"};
static const double quality[M] = {0.2, 0.5, 0.9}, labelled[M] = {0.9, 0.75, 0.45}; /* 30 % are missing */

typedef struct made {
    size_t n, sessions;
    double rare; /* chances times this; 0: 1 */
    bool late;   /* chances grow with a row's age instead */
    uint64_t seed;
    size_t flipped; /* this row's label is there if it wasn't, and the other way round */
} made;

static double age_chance(const made *l, size_t i) {
    double age = (double)(l->n - i) * 60;
    return 1 / (1 + exp(-(log1p(age) - log1p((double)l->n * 15))));
}

static double chance_of(const made *l, size_t i, size_t m) {
    return l->late ? age_chance(l, i) : labelled[m] * (l->rare > 0 ? l->rare : 1);
}

static size_t choice(const made *l, size_t i) {
    return (size_t)(weirp_random_uniform(l->seed, 1, i) * M);
}

static weirp_ope_table *make(const made *l, double *y) {
    weirp_ope_table *table = table_of(models, M);
    char session[24];
    for (size_t i = 0; i < l->n; i++) {
        size_t m = choice(l, i);
        weirp_logged_row row = row_new(m, 1.0 / M);
        snprintf(session, sizeof session, "s%zu", i % (l->sessions ? l->sessions : 1));
        if (l->sessions) row.session = session;
        if (l->late) row.time_ms = 1700000000000 + (int64_t)i * 60000;
        y[i] = weirp_random_uniform(l->seed, 2, i) < (l->late ? 0.2 + 0.6 * (double)i / (double)l->n : quality[m]);
        bool there = weirp_random_uniform(l->seed, 3, i) < chance_of(l, i, m);
        if (i == l->flipped) there = !there;
        if (there) row.metric[WEIR_METRIC_QUALITY] = y[i];
        if (i % 50 == 3) row.flags = WEIRP_LOGGED_FORCED;
        table_row(table, &row, M);
    }
    table_done(table);
    return table;
}

static weirp_ope_labels *fit(const weirp_ope_table *table, size_t n_folds) {
    weirp_ope_labels *labels = NULL;
    weir_error err = {0};
    must(weirp_ope_labels_fit(&labels, table, WEIR_METRIC_QUALITY, n_folds, 2, &err), &err);
    return labels;
}

static double *predict(const weirp_ope_table *table, const weirp_ope_labels *labels) {
    double *e = calloc(weirp_ope_table_n(table), sizeof *e);
    EACH_BLOCK(table, b) weirp_ope_labels_predict(labels, &b, e + b.first);
    return e;
}

/* Mean over logs of three estimates of the uniform policy's value minus what is true on that log's rows: labelled rows
 * alone, and those weighted by 1/e. */
static void bias(bool late, double *naive, double *weighted, double *se) {
    enum { LOGS = 60, N = 2000 };
    double *y = calloc(N, sizeof *y), sum[2] = {0}, square = 0;
    for (size_t run = 0; run < LOGS; run++) {
        made l = {.n = N, .late = late, .seed = run + 1, .flipped = N};
        weirp_ope_table *table = make(&l, y);
        weirp_ope_labels *labels = fit(table, 5);
        double *e = predict(table, labels), truth = 0, plain = 0, plain_n = 0, ips = 0, n = 0;
        EACH_BLOCK(table, b)
        for (size_t i = 0; i < b.n; i++) {
            double seen = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
            if (b.flags[i]) continue;
            n++, truth += y[b.first + i];
            if (isnan(seen)) continue;
            plain += seen, plain_n++, ips += seen / e[b.first + i];
        }
        sum[0] += plain / plain_n - truth / n;
        sum[1] += ips / n - truth / n;
        square += (ips - truth) * (ips - truth) / (n * n);
        free(e);
        weirp_ope_labels_free(labels);
        weirp_ope_table_free(table);
    }
    *naive = sum[0] / LOGS;
    *weighted = sum[1] / LOGS;
    *se = sqrt(square / LOGS / LOGS);
    free(y);
}

static void weights_remove_the_bias(void **state) {
    (void)state;
    for (int late = 0; late < 2; late++) {
        double naive, weighted, se;
        bias(late, &naive, &weighted, &se);
        if (getenv("WEIR_SHOW"))
            fprintf(stderr, "late %d: naive %.4f weighted %.5f se %.5f\n", late, naive, weighted, se);
        assert_true(fabs(naive) > 0.05);
        if (!(fabs(weighted) < 4 * se + 1e-3))
            fail_msg("late %d: a bias of %g, %g standard errors", late, weighted, weighted / se);
    }
}

/* With the model alone to go by, and the penalty next to nothing among so many rows, chances are shares. */
static void shares_of_models(void **state) {
    (void)state;
    made l = {.n = 60000, .seed = 5, .flipped = SIZE_MAX};
    double *y = calloc(l.n, sizeof *y), n[M] = {0}, there[M] = {0};
    weirp_ope_table *table = make(&l, y);
    weirp_ope_labels *labels = fit(table, 1);
    double *e = predict(table, labels);
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++)
        if (!b.flags[i]) n[b.chosen[i]]++, there[b.chosen[i]] += !isnan(b.metric[i * WEIR_N_METRICS]);
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) assert_true(fabs(e[b.first + i] - there[b.chosen[i]] / n[b.chosen[i]]) < 1e-3);
    free(e);
    free(y);
    weirp_ope_labels_free(labels);
    weirp_ope_table_free(table);
}

static void own_label_moves_nothing(void **state) {
    (void)state;
    for (size_t sessions = 0; sessions <= 30; sessions += 30) {
        made l = {.n = 600, .sessions = sessions, .seed = 8, .flipped = SIZE_MAX};
        double *y = calloc(l.n, sizeof *y), *e[2];
        uint32_t *cluster = calloc(l.n, sizeof *cluster);
        for (int k = 0; k < 2; k++) {
            l.flipped = k ? 333 : SIZE_MAX;
            weirp_ope_table *table = make(&l, y);
            weirp_ope_labels *labels = fit(table, 5);
            e[k] = predict(table, labels);
            EACH_BLOCK(table, b) memcpy(cluster + b.first, b.cluster, b.n * sizeof *cluster);
            weirp_ope_labels_free(labels);
            weirp_ope_table_free(table);
        }
        size_t moved = 0;
        for (size_t i = 0; i < l.n; i++) {
            if (cluster[i] % 5 == cluster[333] % 5)
                assert_true(e[0][i] == e[1][i]);
            else
                moved += e[0][i] != e[1][i];
        }
        assert_true(moved > 0);
        free(e[0]);
        free(e[1]);
        free(y);
        free(cluster);
    }
}

static void all_known_is_one(void **state) {
    (void)state;
    weirp_ope_table *table = table_of(models, M);
    for (size_t i = 0; i < 10; i++) {
        weirp_logged_row row = row_new(i % M, 0.5);
        if (i != 4) row.metric[WEIR_METRIC_QUALITY] = 1;
        if (i == 4) row.flags = WEIRP_LOGGED_CACHED; /* nobody decided: it doesn't count */
        table_row(table, &row, M);
    }
    table_done(table);
    weirp_ope_labels *labels = fit(table, 5);
    double *e = predict(table, labels);
    for (size_t i = 0; i < 10; i++) assert_true(e[i] == 1);
    free(e);
    weirp_ope_labels_free(labels);
    weirp_ope_table_free(table);
}

/* Nobody labels `c`: the chance stays above its bound, and finite. */
static void never_labelled_is_bounded(void **state) {
    (void)state;
    weirp_ope_table *table = table_of(models, M);
    for (size_t i = 0; i < 30000; i++) {
        weirp_logged_row row = row_new(i % M, 0.5);
        if (i % M != 2) row.metric[WEIR_METRIC_QUALITY] = 1;
        table_row(table, &row, M);
    }
    table_done(table);
    weirp_ope_labels *labels = fit(table, 5);
    double *e = predict(table, labels);
    for (size_t i = 0; i < 30000; i++) assert_true(i % M == 2 ? e[i] == 0.01 : e[i] > 0.99);
    weir_error err = {0};
    weirp_ope_labels *none = NULL;
    assert_int_equal(weirp_ope_labels_fit(&none, table, WEIR_METRIC_QUALITY, 21, 1, &err), WEIR_INVALID);
    free(e);
    weirp_ope_labels_free(labels);
    weirp_ope_table_free(table);
}

/* One label in 350 rows: weights of several hundred are right. Cut at a hundred they come to 0.30 of what they are due,
 * and the mean of what is seen to 0.27. */
static void few_labels_weigh_much(void **state) {
    (void)state;
    made l = {.n = 200000, .rare = 0.004, .seed = 9, .flipped = SIZE_MAX};
    double *y = calloc(l.n, sizeof *y), truth = 0, weight = 0, ips = 0, n = 0;
    weirp_ope_table *table = make(&l, y);
    weirp_ope_labels *labels = fit(table, 5);
    double *e = predict(table, labels);
    EACH_BLOCK(table, b)
    for (size_t i = 0; i < b.n; i++) {
        if (b.flags[i]) continue;
        const double seen = b.metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY];
        n++, truth += y[b.first + i];
        assert_true(fabs(log(e[b.first + i] / chance_of(&l, 0, b.chosen[i]))) < 0.3);
        if (!isnan(seen)) weight += 1 / e[b.first + i], ips += seen / e[b.first + i];
    }
    if (getenv("WEIR_SHOW")) fprintf(stderr, "weight %.4f, %.4f of %.4f\n", weight / n, ips / n, truth / n);
    assert_true(fabs(weight / n - 1) < 0.1);
    assert_true(fabs(ips / truth - 1) < 0.15);
    free(e);
    free(y);
    weirp_ope_labels_free(labels);
    weirp_ope_table_free(table);
}

/* Nobody labels `c`, and few the others: the bound goes with the share of rows that fit and row may know. */
static void bound_goes_with_the_share(void **state) {
    (void)state;
    enum { N = 30000 };
    weirp_ope_table *table = table_of(models, M);
    double known = 0, decided = 0;
    for (size_t i = 0; i < N; i++) {
        weirp_logged_row row = row_new(i % M, 0.5);
        if (i % 10 == 3) row.flags = WEIRP_LOGGED_FORCED; /* these are all labelled, and count for nothing */
        if (row.flags || (i % M != 2 && i % 66 < 2)) row.metric[WEIR_METRIC_QUALITY] = 1;
        decided += !row.flags;
        known += !row.flags && !isnan(row.metric[WEIR_METRIC_QUALITY]);
        table_row(table, &row, M);
    }
    table_done(table);
    weirp_ope_labels *labels = fit(table, 1);
    double *e = predict(table, labels);
    assert_true(known / decided < 0.05);
    for (size_t i = 0; i < N; i++)
        if (i % M == 2) assert_true(fabs(e[i] - 0.1 * known / decided) < 1e-15);
    free(e);
    weirp_ope_labels_free(labels);
    weirp_ope_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_remove_the_bias),   cmocka_unit_test(shares_of_models),
        cmocka_unit_test(own_label_moves_nothing),   cmocka_unit_test(all_known_is_one),
        cmocka_unit_test(never_labelled_is_bounded), cmocka_unit_test(few_labels_weigh_much),
        cmocka_unit_test(bound_goes_with_the_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Cells: what must hold for any log. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ope_rows.h"

static void assert_close(const char *what, double a, double b, double tolerance) {
    if (isnan(a) && isnan(b)) return;
    if (!(fabs(a - b) <= tolerance * fmax(1, fabs(b)))) fail_msg("%s: %.17g is not %.17g", what, a, b);
}

/* Every model as often as any other, the candidate as the log: whoever evaluates finds the mean. Replay is for
 * policies without chance; balanced weights need two policies. */
static void uniform_on_uniform_is_the_mean(void **state) {
    (void)state;
    enum { N = 600, M = 4 };
    rows r = rows_new(N, M);
    double mean = 0, by_model[M] = {0};
    r.n_loggers = 2;
    r.by_logger = rows_need(N * 2, sizeof(double));
    r.logger_rows = rows_need(2, sizeof(double));
    r.logger_rows[0] = 200, r.logger_rows[1] = 400;
    for (size_t i = 0; i < N; i++) {
        r.chosen[i] = i % M;
        r.p[i] = r.by_logger[2 * i] = r.by_logger[2 * i + 1] = 1.0 / M;
        r.y[i] = weirp_random_uniform(3, 0, i) < 0.2 * (1 + i % M);
        by_model[i % M] += r.y[i] / (N / M);
        mean += r.y[i] / N;
        for (size_t a = 0; a < M; a++) r.pi[i * M + a] = 1.0 / M;
    }
    for (size_t i = 0; i < N * M; i++) r.q[i] = by_model[i % M];
    r.q_robust = rows_need(N * M, sizeof(double));
    memcpy(r.q_robust, r.q, N * M * sizeof(double));
    judged j = judge(&r, NULL, 100);
    size_t n_there = 0;
    for (size_t k = 0; k < weirp_ope_n_estimators(); k++) {
        double lambda, value = judged_value(&j, k, &lambda);
        if (isnan(value)) {
            assert_string_equal(weirp_ope_estimators[k].name, "replay");
            continue;
        }
        n_there++;
        assert_close(weirp_ope_estimators[k].name, value, mean, 1e-13);
    }
    assert_int_equal(n_there, weirp_ope_n_estimators() - 1);
    const weirp_ratio logged = weirp_cell_logged(j.cell);
    assert_close("logged", weirp_statistic_value(&(weirp_statistic){&logged, 1}, j.sums.total), mean, 1e-13);
    judged_free(&j);
    rows_free(&r);
}

/* Rows of clusters of one row come out the same to the bit, others to rounding; blocks' borders don't matter. */
static void order_and_blocks_change_nothing(void **state) {
    (void)state;
    enum { N = 1500 };
    for (size_t size = 1; size <= 7; size += 6) {
        rows r = rows_random(N, 5, 11 + size);
        size_t order[N];
        for (size_t i = 0; i < N; i++) {
            order[i] = i;
            r.cluster[i] = (uint32_t)(i / size);
            if (i % 9 == 0) r.y[i] = NAN;
            r.e[i] = 0.5 + 0.5 * weirp_random_uniform(12, 0, i);
            if (i % 31 == 5) r.flags[i] = WEIRP_LOGGED_CACHED;
        }
        judged a = judge(&r, NULL, WEIRP_BLOCK_ROWS);
        weirp_shuffle(order, N, 5);
        judged b = judge(&r, order, 77);
        if (size == 1)
            for (size_t k = 0; k < a.sums.n_columns; k++) assert_true(a.sums.total[k] == b.sums.total[k]);
        for (size_t k = 0; k < weirp_ope_n_estimators(); k++) {
            double l1, l2;
            const double x = judged_value(&a, k, &l1), y = judged_value(&b, k, &l2);
            assert_close(weirp_ope_estimators[k].name, y, x, 1e-13);
            assert_true((isnan(l1) && isnan(l2)) || l1 == l2);
            assert_close("variance", weirp_cell_variance(b.cell, k), weirp_cell_variance(a.cell, k), 1e-12);
        }
        judged_free(&a);
        judged_free(&b);
        rows_free(&r);
    }
}

static double term(const weirp_ope_estimator *e, double w, double y, double q, double v) {
    switch (e->change) {
    case WEIRP_CHANGE_CLIP: w = fmin(w, e->lambda); break;
    case WEIRP_CHANGE_SWITCH: w = w <= e->lambda ? w : 0; break;
    case WEIRP_CHANGE_SHRINK: w = e->lambda * w / (w * w + e->lambda); break;
    case WEIRP_CHANGE_SUBGAUSS: w = w / (1 - e->lambda + e->lambda * w); break;
    default: break;
    }
    return e->base == WEIRP_BASE_DM ? v : e->base == WEIRP_BASE_DR ? v + w * (y - q) : w * y;
}

/* Row by row as the formulas stand, mean and variance in two passes; and with a mean far from 0, where sums of squares
 * would lose their digits. */
static void values_and_variances_row_by_row(void **state) {
    (void)state;
    enum { N = 777, M = 3 };
    for (int far = 0; far < 2; far++) {
        rows r = rows_random(N, M, 21);
        if (far)
            for (size_t i = 0; i < N * M; i++) r.q[i] += 1e6;
        if (far)
            for (size_t i = 0; i < N; i++) r.y[i] += 1e6;
        judged j = judge(&r, NULL, 64);
        for (size_t k = 0; k < weirp_ope_n_estimators(); k++) {
            const weirp_ope_estimator *e = &weirp_ope_estimators[k];
            if (e->tuning || e->normalised || e->robust || e->change == WEIRP_CHANGE_BALANCED) continue;
            double t[N], mean = 0, variance = 0, lambda;
            for (size_t i = 0; i < N; i++) {
                double v = 0;
                for (size_t a = 0; a < M; a++) v += r.pi[i * M + a] * r.q[i * M + a];
                t[i] = term(e, r.pi[i * M + r.chosen[i]] / r.p[i], r.y[i], r.q[i * M + r.chosen[i]], v);
                mean += t[i] / N;
            }
            for (size_t i = 0; i < N; i++) variance += (t[i] - mean) * (t[i] - mean) / N;
            assert_close(e->name, judged_value(&j, k, &lambda), mean, 1e-12);
            assert_close(e->name, weirp_cell_variance(j.cell, k), variance, far ? 1e-9 : 1e-12);
            assert_true(variance > 0);
        }
        judged_free(&j);
        rows_free(&r);
    }
}

static void limits_of_changes(void **state) {
    (void)state;
    enum { N = 500, M = 4 };
    rows r = rows_random(N, M, 31);
    judged j = judge(&r, NULL, 1024);
    const weirp_cell_facts *f = weirp_cell_facts_of(j.cell);
    assert_true(f->max_w > 5 && f->max_w < 100);
    /* No weight is above 100: to clip or switch there changes not a bit. */
    assert_true(judged_named(&j, "clipped-ips(1000)") == judged_named(&j, "ips"));
    assert_true(judged_named(&j, "clipped-ips(100)") == judged_named(&j, "ips"));
    assert_true(judged_named(&j, "clipped-dr(100)") == judged_named(&j, "dr"));
    assert_true(judged_named(&j, "switch-dr(1000)") == judged_named(&j, "dr"));
    assert_true(judged_named(&j, "clipped-ips(1)") < judged_named(&j, "clipped-ips(5)"));
    /* Shrinking goes to dr as lambda grows and to dm as it falls, sub-Gaussian to its base as lambda falls. */
    const double dr = judged_named(&j, "dr"), ips = judged_named(&j, "ips");
    double os = 0, sg = 0;
    for (size_t i = 0; i < N; i++) {
        const double w = r.pi[i * M + r.chosen[i]] / r.p[i];
        os += (w - 1000 * w / (w * w + 1000)) / N;
        sg += fabs(w - w / (0.999 + 0.001 * w)) / N;
    }
    assert_true(fabs(judged_named(&j, "dr-os(1000)") - dr) <= os);
    assert_true(fabs(judged_named(&j, "sgips(0.001)") - ips) <= sg);
    assert_true(fabs(judged_named(&j, "sgips(0.001)") - ips) < fabs(judged_named(&j, "sgips(0.05)") - ips));
    judged_free(&j);
    rows_free(&r);
}

/* Twice the weights: ips is doubled, normalised ones don't notice. */
static void weights_and_outcomes_scale(void **state) {
    (void)state;
    enum { N = 400 };
    rows r = rows_random(N, 3, 41);
    judged a = judge(&r, NULL, 1024);
    for (size_t i = 0; i < N; i++) r.p[i] /= 2;
    judged b = judge(&r, NULL, 1024);
    assert_close("ips", judged_named(&b, "ips"), 2 * judged_named(&a, "ips"), 1e-14);
    assert_close("snips", judged_named(&b, "snips"), judged_named(&a, "snips"), 1e-14);
    assert_close("sndr", judged_named(&b, "sndr"), judged_named(&a, "sndr"), 1e-14);
    assert_close("dm", judged_named(&b, "dm"), judged_named(&a, "dm"), 1e-14);
    judged_free(&b);
    judged_free(&a);

    /* Costs in another currency: all estimates in it, with the same lambdas. */
    for (size_t i = 0; i < N; i++) r.y[i] = 0.5 + weirp_random_uniform(42, 0, i);
    r.metric = WEIR_METRIC_COST;
    a = judge(&r, NULL, 1024);
    for (size_t i = 0; i < N; i++) r.y[i] *= 1e-6;
    for (size_t i = 0; i < N * 3; i++) r.q[i] *= 1e-6;
    b = judge(&r, NULL, 1024);
    for (size_t k = 0; k < weirp_ope_n_estimators(); k++) {
        double la, lb;
        const double x = judged_value(&a, k, &la), y = judged_value(&b, k, &lb);
        assert_close(weirp_ope_estimators[k].name, y * 1e6, x, 1e-12);
        assert_true((isnan(la) && isnan(lb)) || la == lb);
    }
    judged_free(&a);
    judged_free(&b);
    rows_free(&r);
}

/* What a log is expected to tell, by going over all logs of five requests that there can be: choices of both models,
 * labels there and not, each with its chance. Unbiased estimators give the truth exactly. */
static void unbiased_over_all_logs(void **state) {
    (void)state;
    enum { N = 5, M = 2 };
    static const char *const unbiased[] = {"ips", "dr", "mrdr", "bips", "bdr"};
    double expect[5] = {0}, truth = 0, chance_sum = 0, y[N][M], p[N][M], p2[N][M], e[N];
    rows r = rows_new(N, M);
    r.q_robust = rows_need(N * M, sizeof(double));
    r.n_loggers = 2;
    r.by_logger = rows_need(N * 2, sizeof(double));
    r.logger_rows = rows_need(2, sizeof(double));
    r.logger_rows[0] = 3, r.logger_rows[1] = 2;
    for (size_t i = 0; i < N; i++) {
        p[i][0] = 0.2 + 0.1 * (double)i, p[i][1] = 1 - p[i][0];
        p2[i][0] = 0.9 - 0.15 * (double)i, p2[i][1] = 1 - p2[i][0];
        e[i] = 0.4 + 0.1 * (double)i;
        for (size_t a = 0; a < M; a++) {
            y[i][a] = weirp_random_uniform(51, a, i);
            r.q[i * M + a] = weirp_random_uniform(52, a, i);
            r.q_robust[i * M + a] = weirp_random_uniform(53, a, i);
            r.pi[i * M + a] = a ? 0.7 : 0.3;
            truth += r.pi[i * M + a] * y[i][a] / N;
        }
    }
    /* Balanced weights' logs: which of the policies decides is drawn too, by its share, so their mixture's chances. */
    for (int mixed = 0; mixed < 2; mixed++)
        for (unsigned choice = 0; choice < 1u << N; choice++)
            for (unsigned seen = 0; seen < 1u << N; seen++) {
                double chance = 1;
                for (size_t i = 0; i < N; i++) {
                    const size_t a = choice >> i & 1;
                    const double mixture = 0.6 * p[i][a] + 0.4 * p2[i][a];
                    r.chosen[i] = (uint32_t)a;
                    r.p[i] = p[i][a];
                    r.by_logger[2 * i] = p[i][a], r.by_logger[2 * i + 1] = p2[i][a];
                    r.e[i] = e[i];
                    r.y[i] = seen >> i & 1 ? y[i][a] : NAN;
                    chance *= (mixed ? mixture : p[i][a]) * (seen >> i & 1 ? e[i] : 1 - e[i]);
                }
                if (!mixed) chance_sum += chance;
                judged j = judge(&r, NULL, N);
                for (size_t k = mixed ? 3 : 0; k < (mixed ? 5 : 3); k++) {
                    const double v = judged_named(&j, unbiased[k]);
                    /* With no label at all no estimate is given; ips would say 0 there, dr its model's word. */
                    double none = 0;
                    for (size_t i = 0; i < N * M && k % 3; i++) none += r.pi[i] * (k == 2 ? r.q_robust : r.q)[i] / N;
                    if (isnan(v)) assert_int_equal(seen, 0);
                    expect[k] += chance * (isnan(v) ? (k == 3 ? 0 : none) : v);
                }
                judged_free(&j);
            }
    assert_close("chances", chance_sum, 1, 1e-14);
    for (size_t k = 0; k < 5; k++) assert_close(unbiased[k], expect[k], truth, 1e-13);
    rows_free(&r);
}

/* A cell without a reward model; and two cells side by side in one table of sums. */
static void without_a_model(void **state) {
    (void)state;
    rows r = rows_random(200, 3, 61);
    weirp_sums sums;
    weirp_cell *cell[2];
    double metric[200 * WEIR_N_METRICS];
    for (size_t i = 0; i < 200; i++)
        for (size_t m = 0; m < WEIR_N_METRICS; m++) metric[i * WEIR_N_METRICS + m] = m == 0 ? r.y[i] : 2 * r.y[i];
    const weirp_ope_block block = {.n = 200,
                                   .n_models = 3,
                                   .chosen = r.chosen,
                                   .cluster = r.cluster,
                                   .flags = r.flags,
                                   .p = r.p,
                                   .metric = metric};
    const size_t width = weirp_cell_n_columns();
    assert_int_equal(weirp_sums_init(&sums, 200, 2 * width, NULL), WEIR_OK);
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(weirp_cell_make(&cell[k], NULL, 1, k ? WEIR_METRIC_COST : WEIR_METRIC_QUALITY, k * width,
                                         false, NULL),
                         WEIR_OK);
        weirp_cell_add(cell[k], &sums, &block, &(weirp_cell_input){.pi = r.pi});
    }
    weirp_sums_finish(&sums);
    for (size_t k = 0; k < 2; k++) assert_int_equal(weirp_cell_finish(cell[k], &sums, NULL), WEIR_OK);
    judged one = {cell[0], sums}, two = {cell[1], sums};
    for (size_t k = 0; k < weirp_ope_n_estimators(); k++) {
        const weirp_ope_estimator *e = &weirp_ope_estimators[k];
        if (e->base == WEIRP_BASE_IPS) continue;
        double lambda;
        assert_true(isnan(judged_value(&one, k, &lambda)) && isnan(lambda));
        assert_true(isnan(weirp_cell_variance(cell[0], k)));
    }
    assert_close("cost", judged_named(&two, "snips"), 2 * judged_named(&one, "snips"), 1e-14);
    assert_close("cost", judged_named(&two, "clipped-ips(5)"), 2 * judged_named(&one, "clipped-ips(5)"), 1e-14);
    for (size_t k = 0; k < 2; k++) weirp_cell_free(cell[k]);
    weirp_cell_free(NULL);
    weirp_sums_free(&sums);
    rows_free(&r);
}

/* Rows that are left out for another candidate's sake aren't there; who is undecided on them is counted all the same.
 */
static void left_out_rows_arent_there(void **state) {
    (void)state;
    enum { N = 300, M = 3 };
    rows r = rows_random(N, M, 71);
    bool left_out[N];
    weirp_sums sums[2];
    weirp_cell *cell[2];
    double metric[N * WEIR_N_METRICS];
    size_t n_undecided = 0, n = 0;
    for (size_t i = 0; i < N; i++) {
        left_out[i] = i % 11 == 4;
        if (i % 22 == 4 || i % 17 == 1) n_undecided++, r.pi[i * M] = r.pi[i * M + 1] = r.pi[i * M + 2] = NAN;
        n += !left_out[i] && !isnan(r.pi[i * M]);
        for (size_t m = 0; m < WEIR_N_METRICS; m++) metric[i * WEIR_N_METRICS + m] = r.y[i];
    }
    const weirp_ope_block block = {
        .n = N, .n_models = M, .chosen = r.chosen, .cluster = r.cluster, .flags = r.flags, .p = r.p, .metric = metric};
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(weirp_sums_init(&sums[k], N, weirp_cell_n_columns(), NULL), WEIR_OK);
        assert_int_equal(weirp_cell_make(&cell[k], NULL, 1, WEIR_METRIC_QUALITY, 0, false, NULL), WEIR_OK);
        const weirp_cell_input input = {.pi = r.pi, .q = r.q, .left_out = k ? NULL : left_out};
        weirp_cell_add(cell[k], &sums[k], &block, &input);
        weirp_sums_finish(&sums[k]);
        assert_int_equal(weirp_cell_finish(cell[k], &sums[k], NULL), WEIR_OK);
        assert_int_equal(weirp_cell_facts_of(cell[k])->n_undecided, k ? n : n_undecided);
        assert_int_equal(weirp_cell_facts_of(cell[k])->n, k ? N - n : n);
        /* the second time those rows alone are undecided that the first one took */
        for (size_t i = 0; i < N; i++)
            r.pi[i * M] = left_out[i] || isnan(r.pi[i * M]) ? 0.5 : NAN, r.pi[i * M + 1] = r.pi[i * M + 2] = 0.25;
    }
    for (size_t c = 0; c < N; c++) {
        const bool there = sums[0].x[c * sums[0].n_columns] != 0;
        assert_true(there == !(sums[1].x[c * sums[1].n_columns] != 0));
    }
    for (size_t k = 0; k < 2; k++) {
        weirp_cell_free(cell[k]);
        weirp_sums_free(&sums[k]);
    }
    rows_free(&r);
}

/* Off a real table, which knows how many rows each logging policy made: the numbers of "two logging policies" in
 * tests/cases/ope-estimates.json. */
static void off_a_table(void **state) {
    (void)state;
    static const struct {
        size_t chosen;
        double y, p;
        const char *logger;
        uint32_t flags;
    } made[] = {
        {0, 1, 0.8, "a", 0},
        {1, 1, 0.2, "a", 0},
        {0, 0, 0.8, "a", 0},
        {1, 0, 0.6, "b", 0},
        {1, 1, 0.6, "b", WEIRP_LOGGED_FORCED}, /* neither policy's */
    };
    enum { N_MADE = sizeof made / sizeof *made };
    static const double by[2][2] = {{0.8, 0.4}, {0.2, 0.6}};
    double pi[2 * N_MADE], q[2 * N_MADE];
    for (size_t i = 0; i < 2 * N_MADE; i++) pi[i] = 0.5, q[i] = i % 2 ? 0.6 : 0.2;
    weirp_ope_table *table;
    weirp_scan *scan;
    weirp_ope_block block;
    size_t model[2];
    assert_int_equal(weirp_ope_table_new(&table, NULL), WEIR_OK);
    assert_int_equal(weirp_ope_table_model(table, "small", &model[0], NULL), WEIR_OK);
    assert_int_equal(weirp_ope_table_model(table, "large", &model[1], NULL), WEIR_OK);
    for (size_t i = 0; i < N_MADE; i++) {
        weirp_logged_row row = {.file = "log", .line = i + 1, .id = "", .session = "", .segment = ""};
        row.logger = made[i].logger;
        row.time_ms = WEIRP_LOGGED_NO_TIME;
        row.chosen = made[i].chosen;
        row.p = made[i].p;
        row.by_logger = by[row.chosen];
        row.n_loggers = 2;
        row.flags = made[i].flags;
        for (size_t m = 0; m < WEIR_N_METRICS; m++) row.metric[m] = NAN;
        row.metric[WEIR_METRIC_QUALITY] = made[i].y;
        assert_int_equal(weirp_ope_table_add(table, &row, 2, model, NULL), WEIR_OK);
    }
    assert_int_equal(weirp_ope_table_finish(table, 0, NULL), WEIR_OK);
    judged j;
    assert_int_equal(weirp_sums_init(&j.sums, weirp_ope_table_n_clusters(table), weirp_cell_n_columns(), NULL),
                     WEIR_OK);
    assert_int_equal(weirp_cell_new(&j.cell, table, WEIR_METRIC_QUALITY, 0, false, NULL), WEIR_OK);
    assert_int_equal(weirp_scan_new(&scan, table, NULL), WEIR_OK);
    while (weirp_scan_next(scan, &block, NULL) == WEIR_OK)
        weirp_cell_add(j.cell, &j.sums, &block, &(weirp_cell_input){.pi = pi, .q = q});
    weirp_sums_finish(&j.sums);
    assert_int_equal(weirp_cell_finish(j.cell, &j.sums, NULL), WEIR_OK);
    assert_close("bips", judged_named(&j, "bips"), (5.0 / 7 + 5.0 / 3) / 4, 1e-14);
    assert_close("bdr", judged_named(&j, "bdr"), 0.4 + (5.0 / 7 * 0.6 - 5.0 / 3 * 0.2) / 4, 1e-14);
    assert_close("ips", judged_named(&j, "ips"), (5.0 / 8 + 5.0 / 2) / 4, 1e-14);
    judged_free(&j);

    /* The policies' chances in the other order: no weight can be trusted, and none is given. */
    assert_int_equal(weirp_sums_init(&j.sums, weirp_ope_table_n_clusters(table), weirp_cell_n_columns(), NULL),
                     WEIR_OK);
    assert_int_equal(weirp_cell_new(&j.cell, table, WEIR_METRIC_QUALITY, 0, false, NULL), WEIR_OK);
    assert_int_equal(weirp_scan_at(scan, 0, &block, NULL), WEIR_OK);
    const double swapped[] = {0.4, 0.8, 0.6, 0.2, 0.4, 0.8, 0.6, 0.2};
    block.by_logger = swapped;
    weirp_cell_add(j.cell, &j.sums, &block, &(weirp_cell_input){.pi = pi, .q = q});
    weirp_sums_finish(&j.sums);
    assert_int_equal(weirp_cell_finish(j.cell, &j.sums, NULL), WEIR_OK);
    assert_true(isnan(judged_named(&j, "bips")) && isnan(judged_named(&j, "bdr")));
    assert_close("ips", judged_named(&j, "ips"), (5.0 / 8 + 5.0 / 2) / 4, 1e-14);
    weirp_scan_free(scan);
    judged_free(&j);
    weirp_ope_table_free(table);
}

/* Sessions whose rows repeat each other: widths grow with them, so SLOPE may go further than with rows that stand
 * alone. */
static void tuning_knows_clusters(void **state) {
    (void)state;
    enum { N = 20000, COPIES = 100 };
    rows r = rows_random(N, 4, 71);
    for (size_t i = 0; i < N; i++) {
        const size_t from = i / COPIES * COPIES;
        memcpy(r.pi + i * 4, r.pi + from * 4, 4 * sizeof(double));
        memcpy(r.q + i * 4, r.q + from * 4, 4 * sizeof(double));
        r.chosen[i] = r.chosen[from];
        r.p[i] = r.p[from];
        r.y[i] = r.pi[i * 4 + r.chosen[i]] > r.p[i]; /* what is clipped is what counts */
    }
    judged alone = judge(&r, NULL, 1024);
    for (size_t i = 0; i < N; i++) r.cluster[i] = (uint32_t)(i / COPIES);
    judged together = judge(&r, NULL, 1024);
    double l_alone, l_together;
    judged_value(&alone, weirp_ope_estimator_find("clipped-ips"), &l_alone);
    judged_value(&together, weirp_ope_estimator_find("clipped-ips"), &l_together);
    assert_true(l_together < l_alone);
    judged_free(&alone);
    judged_free(&together);
    rows_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_on_uniform_is_the_mean),
        cmocka_unit_test(order_and_blocks_change_nothing),
        cmocka_unit_test(values_and_variances_row_by_row),
        cmocka_unit_test(limits_of_changes),
        cmocka_unit_test(weights_and_outcomes_scale),
        cmocka_unit_test(unbiased_over_all_logs),
        cmocka_unit_test(without_a_model),
        cmocka_unit_test(left_out_rows_arent_there),
        cmocka_unit_test(off_a_table),
        cmocka_unit_test(tuning_knows_clusters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

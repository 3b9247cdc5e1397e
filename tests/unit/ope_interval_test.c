/* Intervals of statistics of clusters' sums: what each must be, and how often each is right.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "src/base/base.h"
#include "src/ope/interval.h"

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

/* Columns of the tests' sums: count of rows, and up to three of numbers. */
enum { ROWS, A, B, C, N_COLUMNS };

static const weirp_ratio MEAN = {A, ROWS, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, 1};
static const weirp_ratio RATIO = {A, B, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, 1};

static weirp_statistic of(const weirp_ratio *ratio) {
    return (weirp_statistic){ratio, 1};
}

static weirp_sums sums_of(size_t n_clusters, size_t n_columns) {
    weirp_sums sums;
    assert_int_equal(weirp_sums_init(&sums, n_clusters, n_columns, NULL), WEIR_OK);
    return sums;
}

static void put(weirp_sums *sums, size_t cluster, double a, double b, double c) {
    double *x = sums->x + cluster * sums->n_columns;
    x[ROWS]++, x[A] += a, x[B] += b, x[C] += c;
    sums->rows[cluster]++;
}

static weirp_draws draws_of(const weirp_sums *sums, size_t n, uint64_t seed) {
    weirp_draws draws;
    assert_int_equal(weirp_draws_make(&draws, sums, n, seed, 1, NULL), WEIR_OK);
    return draws;
}

/* The factor of 95 % bands over all of them at once. */
static double band_of(const weirp_statistic *s, size_t n, const weirp_sums *sums, const weirp_draws *draws,
                      const double *se) {
    double *most = calloc(draws->n_draws, sizeof *most), fewest = INFINITY, df;
    assert_non_null(most);
    for (size_t j = 0; j < n; j++) {
        weirp_se(&s[j], sums, true, &df);
        weirp_band_add(most, &fewest, &s[j], sums, draws, se[j], df);
    }
    const double factor = weirp_band_factor(most, draws->n_draws, fewest, 0.95);
    free(most);
    return factor;
}

static void bootstrap(const weirp_statistic *s, const weirp_sums *sums, size_t n_draws, uint64_t seed, double level,
                      weirp_interval *percentile, weirp_interval *bca) {
    weirp_draws draws = draws_of(sums, n_draws, seed);
    assert_int_equal(weirp_bootstrap_intervals(s, sums, &draws, level, percentile, bca, NULL), WEIR_OK);
    weirp_draws_free(&draws);
}

static double lot(uint64_t seed, uint64_t stream, uint64_t t) {
    return weirp_random_uniform(seed, stream, t);
}

static double half(weirp_interval i) {
    return (i.hi - i.lo) / 2;
}

static bool holds(weirp_interval i, double truth) {
    return i.lo <= truth && truth <= i.hi;
}

/* Quantiles as tables have them (two-sided: 2.5 % on either side). */
static void levels_are_two_sided(void **state) {
    (void)state;
    assert_near(half(weirp_normal_interval(3, 2, 0.95)), 2 * 1.959963984540054, 1e-12);
    assert_near(half(weirp_normal_interval(0, 1, 0.90)), 1.644853626951473, 1e-12);
    assert_near(half(weirp_t_interval(3, 1, 9, 0.95)), 2.262157162798205, 1e-9);
    assert_near(half(weirp_t_interval(0, 1, 4, 0.90)), 2.131846786326649, 1e-9);
    assert_near(half(weirp_t_interval(0, 1, 1, 0.95)), 12.70620473617471, 1e-8);
    assert_near(half(weirp_t_interval(0, 1, 1e7, 0.95)), 1.959963984540054, 1e-6);
    const weirp_interval i = weirp_t_interval(3, 2, 9, 0.95), none = weirp_t_interval(3, 0, NAN, 0.95);
    assert_near((i.lo + i.hi) / 2, 3, 1e-12);
    assert_true(none.lo == 3 && none.hi == 3);
    assert_true(isnan(weirp_t_interval(0, 1, NAN, 0.95).lo));
}

static void se_of_a_mean_is_the_textbooks(void **state) {
    (void)state;
    static const double x[] = {2, 4, 4, 4, 5, 5, 7, 9}; /* mean 5, sum of squares about it 32 */
    weirp_sums sums = sums_of(8, N_COLUMNS);
    for (size_t i = 0; i < 8; i++) put(&sums, i, x[i], 0, 0);
    weirp_sums_finish(&sums);
    const weirp_statistic s = of(&MEAN);
    double df;
    assert_near(weirp_se(&s, &sums, true, &df), sqrt(32.0 / 7 / 8), 1e-14);
    assert_near(weirp_se(&s, &sums, false, NULL), sqrt(32.0 / 8 / 8), 1e-14);
    /* sum u^4 / (sum u^2)^2 = (81 + 3 + 0 + 16 + 256)/32^2 */
    assert_near(df, fmin(7, 3 * 1024.0 / 356 - 2), 1e-12);
    weirp_sums_free(&sums);
    sums = sums_of(1, N_COLUMNS);
    put(&sums, 0, 1, 0, 0);
    weirp_sums_finish(&sums);
    assert_true(isnan(weirp_se(&s, &sums, true, &df)) && isnan(df)); /* one cluster tells nothing of variance */
    weirp_sums_free(&sums);
}

/* A cluster that holds nearly all of the variance leaves about one degree of freedom. */
static void few_large_clusters_count_as_few(void **state) {
    (void)state;
    weirp_sums sums = sums_of(50, N_COLUMNS);
    for (size_t c = 0; c < 50; c++) put(&sums, c, c == 0 ? 1000 : 0.001 * (double)(c % 3), 0, 0);
    weirp_sums_finish(&sums);
    const weirp_statistic s = of(&MEAN);
    double df;
    assert_true(weirp_se(&s, &sums, true, &df) > 0);
    assert_true(df >= 1 && df < 1.2);
    weirp_sums_free(&sums);
}

/* Rows repeated k times within their cluster tell nothing new; as clusters of their own they would. */
static void repeated_rows_add_nothing(void **state) {
    (void)state;
    enum { N = 300, K = 4 };
    weirp_sums once = sums_of(N, N_COLUMNS), within = sums_of(N, N_COLUMNS), own = sums_of(N * K, N_COLUMNS);
    for (size_t i = 0; i < N; i++) {
        const double a = weirp_random_normal(1, 1, i), b = 1 + lot(1, 2, i);
        put(&once, i, a, b, 0);
        for (size_t k = 0; k < K; k++) put(&within, i, a, b, 0), put(&own, i * K + k, a, b, 0);
    }
    weirp_sums_finish(&once), weirp_sums_finish(&within), weirp_sums_finish(&own);
    const weirp_ratio both[] = {MEAN, RATIO};
    for (size_t i = 0; i < 2; i++) {
        const weirp_statistic s = of(&both[i]);
        const double se = weirp_se(&s, &once, true, NULL);
        assert_near(weirp_se(&s, &within, true, NULL), se, 1e-12 * se);
        assert_near(weirp_se(&s, &own, false, NULL) * sqrt(K), weirp_se(&s, &once, false, NULL), 1e-12 * se);
        weirp_interval p, q, r, bca;
        bootstrap(&s, &once, 400, 7, 0.95, &p, &bca);
        bootstrap(&s, &within, 400, 7, 0.95, &q, &bca);
        bootstrap(&s, &own, 400, 7, 0.95, &r, &bca);
        assert_near(p.lo, q.lo, 1e-9);
        assert_near(p.hi, q.hi, 1e-9);
        assert_true(fabs(half(p) / half(r) - sqrt(K)) < 0.25);
    }
    weirp_sums_free(&once), weirp_sums_free(&within), weirp_sums_free(&own);
}

/* A ratio whose numerator is a multiple of its denominator doesn't vary, however much both do. */
static void denominators_are_resampled(void **state) {
    (void)state;
    enum { N = 200 };
    weirp_sums sums = sums_of(N, N_COLUMNS);
    for (size_t i = 0; i < N; i++)
        for (size_t row = 0; row <= i % 5; row++) {
            const double w = -log(1 - lot(2, row, i));
            put(&sums, i, 0.75 * w, w, 0.25); /* clusters of 1 to 5 rows: C / ROWS is 0.25 whatever is drawn */
        }
    weirp_sums_finish(&sums);
    const weirp_ratio constant[] = {RATIO, {C, ROWS, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, 1}};
    weirp_interval p, bca;
    for (size_t i = 0; i < 2; i++) {
        const weirp_statistic s = of(&constant[i]);
        const double value = i ? 0.25 : 0.75;
        assert_near(weirp_se(&s, &sums, true, NULL), 0, 1e-15);
        bootstrap(&s, &sums, 300, 1, 0.95, &p, &bca);
        assert_near(p.lo, value, 1e-12);
        assert_near(p.hi, value, 1e-12);
        assert_near(bca.lo, value, 1e-12);
        assert_near(bca.hi, value, 1e-12);
    }
    const weirp_statistic s = of(&MEAN);
    bootstrap(&s, &sums, 300, 1, 0.95, &p, &bca);
    assert_true(half(p) > 0.05 && weirp_se(&s, &sums, true, NULL) > 0.02);
    weirp_sums_free(&sums);
}

/* Two policies that are the same differ by nothing, and that is certain: to the last bit, since verdicts ask whether an
 * interval excludes 0. */
static void identical_policies_differ_by_nothing(void **state) {
    (void)state;
    enum { N = 100 };
    weirp_sums sums = sums_of(N, 1 + 2 * 3);
    for (size_t i = 0; i < N; i++) {
        double *x = sums.x + i * 7;
        x[0] = 1;
        for (size_t k = 1; k <= 3; k++) x[k] = x[3 + k] = 1 + lot(3, k, i);
    }
    weirp_sums_finish(&sums);
    static const weirp_ratio pairs[][2] = {
        {{1, 2, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, 1}, {4, 5, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, -1}},
        {{1, 2, 3, 0, 1}, {4, 5, 6, 0, -1}}, /* self-normalised doubly robust */
    };
    for (size_t k = 0; k < 2; k++) {
        const weirp_statistic s = {pairs[k], 2};
        double df, factor;
        const double value = weirp_statistic_value(&s, sums.total), se = weirp_se(&s, &sums, true, &df);
        assert_true(value == 0 && se == 0 && df == N - 1);
        weirp_interval all[4] = {weirp_t_interval(value, se, df, 0.95), weirp_normal_interval(value, se, 0.95)};
        bootstrap(&s, &sums, 300, 1, 0.95, &all[2], &all[3]);
        for (size_t i = 0; i < 4; i++) assert_true(all[i].lo == 0 && all[i].hi == 0);
        weirp_draws draws = draws_of(&sums, 100, 1);
        factor = band_of(&s, 1, &sums, &draws, &se);
        assert_true(factor == 0);
        weirp_draws_free(&draws);
    }
    weirp_sums_free(&sums);
}

/* A total's variance over draws is sum (x - mean)^2, not sum x^2; the number of clusters doesn't vary; draws depend on
 * the seed and not on the number of threads. */
static void draws_are_what_they_should_be(void **state) {
    (void)state;
    enum { N = 1337, DRAWS = 2000 };
    weirp_sums sums = sums_of(N, N_COLUMNS);
    double mean = 0, about = 0;
    for (size_t i = 0; i < N; i++) put(&sums, i, 10 + weirp_random_normal(4, 1, i), 1, 0);
    weirp_sums_finish(&sums);
    mean = sums.total[A] / N;
    for (size_t i = 0; i < N; i++) about += pow(sums.x[i * N_COLUMNS + A] - mean, 2);
    weirp_draws one = draws_of(&sums, DRAWS, 5), four, other = draws_of(&sums, DRAWS, 6);
    assert_int_equal(weirp_draws_make(&four, &sums, DRAWS, 5, 4, NULL), WEIR_OK);
    assert_memory_equal(one.total, four.total, DRAWS * N_COLUMNS * sizeof(double));
    assert_memory_not_equal(one.total, other.total, DRAWS * N_COLUMNS * sizeof(double));
    double sum = 0, square = 0;
    for (size_t d = 0; d < DRAWS; d++) {
        assert_true(one.total[d * N_COLUMNS + ROWS] == N);
        const double off = one.total[d * N_COLUMNS + A] - sums.total[A];
        sum += off, square += off * off;
    }
    assert_near(sum / DRAWS, 0, 4 * sqrt(about / DRAWS));
    assert_near(square / DRAWS / about, 1, 4 * sqrt(2.0 / DRAWS));
    weirp_draws_free(&one), weirp_draws_free(&four), weirp_draws_free(&other);
    weirp_sums_free(&sums);
}

/* Whatever place a column has among the others: else policies that are the same would differ in draws. */
static void equal_columns_have_equal_totals(void **state) {
    (void)state;
    enum { N = 700, DRAWS = 50 };
    for (size_t m = 2; m <= 70; m++) {
        weirp_sums sums = sums_of(N, m);
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < m; j++) sums.x[i * m + j] = weirp_random_normal(8, 1, i);
        weirp_sums_finish(&sums);
        weirp_draws draws = draws_of(&sums, DRAWS, m);
        for (size_t d = 0; d < DRAWS; d++) {
            assert_near(draws.total[d * m], sums.total[0], 6 * sqrt(N));
            for (size_t j = 1; j < m; j++) assert_true(draws.total[d * m + j] == draws.total[d * m]);
        }
        weirp_draws_free(&draws);
        weirp_sums_free(&sums);
    }
}

/* A draw takes whole clusters, a whole number of times each: with one cluster's bit in each column, totals are counts.
 */
static void draws_take_whole_clusters(void **state) {
    (void)state;
    enum { N = 150, DRAWS = 300 };
    weirp_sums sums = sums_of(N, N);
    for (size_t i = 0; i < N; i++) sums.x[i * N + i] = 1;
    weirp_sums_finish(&sums);
    weirp_draws draws = draws_of(&sums, DRAWS, 3);
    size_t none = 0;
    double most = 0;
    for (size_t d = 0; d < DRAWS; d++) {
        double all = 0;
        for (size_t i = 0; i < N; i++) {
            const double times = draws.total[d * N + i];
            assert_true(times >= 0 && times == floor(times));
            none += times == 0;
            most = fmax(most, times);
            all += times;
        }
        assert_true(all == N);
    }
    assert_near((double)none / (N * DRAWS), pow(1 - 1.0 / N, N), 0.01);
    assert_true(most >= 5 && most <= 12);
    weirp_draws_free(&draws);
    weirp_sums_free(&sums);
}

/* A statistic that many draws can't tell isn't given a confident interval by the few that can. */
static void undefined_draws_widen(void **state) {
    (void)state;
    weirp_sums sums = sums_of(50, N_COLUMNS);
    for (size_t i = 0; i < 50; i++) put(&sums, i, i == 7, i == 7, 0); /* one match: gone from a third of the draws */
    weirp_sums_finish(&sums);
    const weirp_statistic s = of(&RATIO);
    weirp_interval p, bca;
    bootstrap(&s, &sums, 500, 1, 0.95, &p, &bca);
    assert_true(p.lo == -INFINITY && p.hi == INFINITY && bca.lo == -INFINITY && bca.hi == INFINITY);
    weirp_sums_free(&sums);
}

/* Importance-weighted rows: two models, the second logged with a chance of 0.05 and wanted with 0.5. */
static const double WEIGHTED_TRUTH = 0.5 * 0.6 + 0.5 * 0.9;
static void weighted_row(weirp_sums *sums, uint64_t seed, size_t i) {
    const bool rare = lot(seed, 1, i) < 0.05;
    const double w = rare ? 0.5 / 0.05 : 0.5 / 0.95, r = lot(seed, 2, i) < (rare ? 0.9 : 0.6);
    put(sums, i, w * r, w, 0);
}

/* No interval may grow, or shrink faster than evidence comes in. */
static void widths_fall_like_the_root(void **state) {
    (void)state;
    static const size_t sizes[] = {1000, 4000, 16000};
    double first[4];
    for (size_t k = 0; k < 3; k++) {
        const size_t n = sizes[k];
        weirp_sums sums = sums_of(n, N_COLUMNS);
        for (size_t i = 0; i < n; i++) weighted_row(&sums, 31, i);
        weirp_sums_finish(&sums);
        const weirp_statistic s = of(&MEAN);
        double df;
        const double se = weirp_se(&s, &sums, true, &df), variance = se * se * (double)(n - 1);
        weirp_interval all[4] = {weirp_t_interval(0, se, df, 0.95)};
        bootstrap(&s, &sums, 1000, 1, 0.95, &all[1], &all[2]);
        all[3] = weirp_bernstein_interval(0.75, variance, n, -100, 100, 0.95);
        all[3].lo += 7 * 200 * log(80) / (3 * (double)(n - 1)), all[3].hi -= 7 * 200 * log(80) / (3 * (double)(n - 1));
        for (size_t i = 0; i < 4; i++) {
            const double scaled = half(all[i]) * sqrt((double)n);
            if (k == 0) first[i] = scaled;
            assert_near(scaled / first[i], 1, 0.15);
        }
        weirp_sums_free(&sums);
    }
}

/* The empirical Bernstein interval knows n, mean, variance and the range that was known beforehand. */
static void bernstein_is_the_theorems(void **state) {
    (void)state;
    /* n = 101, V = 0.04 unbiased, range 2, alpha 0.05: sqrt(2 0.04 ln 80 / 101) + 7 2 ln 80 / 300 */
    const double half_width = sqrt(2 * 0.04 * log(80) / 101) + 14 * log(80) / 300;
    const weirp_interval i = weirp_bernstein_interval(0.5, 0.04 * 100 / 101, 101, -0.5, 1.5, 0.95);
    assert_near(i.lo, 0.5 - half_width, 1e-14);
    assert_near(i.hi, 0.5 + half_width, 1e-14);
    const weirp_interval one = weirp_bernstein_interval(0.5, 0, 1, -2, 3, 0.95);
    assert_true(one.lo == -2 && one.hi == 3);
    /* never beyond what was possible */
    assert_true(weirp_bernstein_interval(0.99, 0.01, 50, 0, 1, 0.95).hi == 1);
}

/* Two samples of one mean and variance, of which one reaches thrice as far. */
static void the_range_isnt_the_samples(void **state) {
    (void)state;
    enum { N = 20 };
    double a[N], b[N];
    for (size_t i = 0; i < N; i++) a[i] = i % 2 ? 3 : 1; /* mean 2, variance 1, greatest 3 */
    for (size_t i = 0; i < N; i++) b[i] = 2;             /* mean 2, two of 20 at 2 +- sqrt(10): variance 1 */
    b[0] += sqrt(10), b[1] -= sqrt(10);
    weirp_interval of_a, of_b;
    const double *both[] = {a, b};
    for (size_t k = 0; k < 2; k++) {
        weirp_sums sums = sums_of(N, N_COLUMNS);
        for (size_t i = 0; i < N; i++) put(&sums, i, both[k][i], both[k][i] * both[k][i], 0);
        weirp_sums_finish(&sums);
        const double mean = sums.total[A] / N, variance = sums.total[B] / N - mean * mean;
        *(k ? &of_b : &of_a) = weirp_bernstein_interval(mean, variance, N, -20, 20, 0.95);
        weirp_sums_free(&sums);
    }
    assert_near(of_a.lo, of_b.lo, 1e-12);
    assert_near(of_a.hi, of_b.hi, 1e-12);
}

/* Ten clusters of normal sums: the t interval is right 95 times in 100, the normal one (which it isn't) is not. */
static void t_is_right_with_ten_clusters(void **state) {
    (void)state;
    enum { G = 10, REPEATS = 20000 };
    weirp_sums sums = sums_of(G, N_COLUMNS);
    const weirp_statistic s = of(&MEAN);
    size_t t = 0, normal = 0;
    for (uint64_t k = 0; k < REPEATS; k++) {
        memset(sums.x, 0, G * N_COLUMNS * sizeof(double));
        for (size_t c = 0; c < G; c++) put(&sums, c, 1 + weirp_random_normal(k, 9, c), 0, 0);
        weirp_sums_finish(&sums);
        double df;
        const double value = weirp_statistic_value(&s, sums.total), se = weirp_se(&s, &sums, true, &df);
        t += holds(weirp_t_interval(value, se, df, 0.95), 1);
        normal += holds(weirp_normal_interval(value, se, 0.95), 1);
    }
    print_message("ten normal clusters: t covers %.2f %%, normal %.2f %%\n", 100.0 * (double)t / REPEATS,
                  100.0 * (double)normal / REPEATS);
    assert_near((double)t / REPEATS, 0.95, 3 * sqrt(0.95 * 0.05 / REPEATS));
    assert_true((double)normal / REPEATS < 0.93);
    weirp_sums_free(&sums);
}

static void skewed_rows_are_covered(void **state) {
    (void)state;
    enum { N = 1000, REPEATS = 400, DRAWS = 400, KINDS = 4 };
    static const char *const names[KINDS] = {"t", "normal", "percentile", "bca"};
    size_t covers[2][KINDS] = {{0}};
    for (uint64_t k = 0; k < REPEATS; k++) {
        weirp_sums sums = sums_of(N, N_COLUMNS);
        for (size_t i = 0; i < N; i++) weighted_row(&sums, 100 + k, i);
        weirp_sums_finish(&sums);
        weirp_draws draws = draws_of(&sums, DRAWS, k);
        const weirp_ratio both[] = {MEAN, RATIO};
        for (size_t e = 0; e < 2; e++) {
            const weirp_statistic s = of(&both[e]);
            double df;
            const double value = weirp_statistic_value(&s, sums.total), se = weirp_se(&s, &sums, true, &df);
            weirp_interval i[KINDS] = {weirp_t_interval(value, se, df, 0.95), weirp_normal_interval(value, se, 0.95)};
            assert_int_equal(weirp_bootstrap_intervals(&s, &sums, &draws, 0.95, &i[2], &i[3], NULL), WEIR_OK);
            for (size_t kind = 0; kind < KINDS; kind++) covers[e][kind] += holds(i[kind], WEIGHTED_TRUTH);
        }
        weirp_draws_free(&draws);
        weirp_sums_free(&sums);
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        print_message("weighted rows: %-10s covers %.1f %% (ips), %.1f %% (self-normalised)\n", names[kind],
                      100.0 * (double)covers[0][kind] / REPEATS, 100.0 * (double)covers[1][kind] / REPEATS);
        for (size_t e = 0; e < 2; e++) /* 0.033: three standard errors of this many repeats */
            assert_near((double)covers[e][kind] / REPEATS, 0.95, 0.033);
    }
}

/* Exponential rows: the percentile interval misses at one end far more than at the other; BCa is there to mend that. */
static void bca_balances_its_ends(void **state) {
    (void)state;
    enum { N = 30, REPEATS = 2000, DRAWS = 500 };
    double misses[2][2] = {{0}};
    for (uint64_t k = 0; k < REPEATS; k++) {
        weirp_sums sums = sums_of(N, N_COLUMNS);
        for (size_t i = 0; i < N; i++) put(&sums, i, -log(1 - lot(k, 77, i)), 0, 0);
        weirp_sums_finish(&sums);
        const weirp_statistic s = of(&MEAN);
        weirp_interval i[2];
        bootstrap(&s, &sums, DRAWS, k, 0.9, &i[0], &i[1]);
        for (size_t kind = 0; kind < 2; kind++)
            misses[kind][0] += (i[kind].lo > 1) / (double)REPEATS,
                misses[kind][1] += (i[kind].hi < 1) / (double)REPEATS;
        weirp_sums_free(&sums);
    }
    print_message(
        "exponential rows, 5 %% at either end: percentile misses %.1f %% below, %.1f %% above; bca %.1f, %.1f\n",
        100 * misses[0][0], 100 * misses[0][1], 100 * misses[1][0], 100 * misses[1][1]);
    assert_true(fabs(misses[1][1] - misses[1][0]) < 0.7 * fabs(misses[0][1] - misses[0][0]));
    assert_true(misses[1][0] + misses[1][1] < misses[0][0] + misses[0][1] + 0.005);
}

/* Twelve points of a curve off one log, correlated: all covered at once. */
static void bands_cover_all_points(void **state) {
    (void)state;
    enum { N = 400, POINTS = 12, REPEATS = 1500, DRAWS = 400 };
    weirp_ratio ratio[POINTS];
    weirp_statistic s[POINTS];
    for (size_t j = 0; j < POINTS; j++) {
        ratio[j] = (weirp_ratio){1 + j, ROWS, WEIRP_NO_COLUMN, WEIRP_NO_COLUMN, 1};
        s[j] = of(&ratio[j]);
    }
    size_t all = 0, each = 0;
    double factors = 0;
    for (uint64_t k = 0; k < REPEATS; k++) {
        weirp_sums sums = sums_of(N, 1 + POINTS);
        for (size_t i = 0; i < N; i++) {
            double *x = sums.x + i * (1 + POINTS), walk = 0;
            x[ROWS] = 1;
            for (size_t j = 0; j < POINTS; j++) { /* of variance 1: neighbours go along */
                walk = 0.8 * walk + (j ? 0.6 : 1) * weirp_random_normal(k, 50 + j, i);
                x[1 + j] = walk;
            }
        }
        weirp_sums_finish(&sums);
        weirp_draws draws = draws_of(&sums, DRAWS, k);
        double se[POINTS];
        for (size_t j = 0; j < POINTS; j++) se[j] = weirp_se(&s[j], &sums, true, NULL);
        const double factor = band_of(s, POINTS, &sums, &draws, se);
        bool inside = true, pointwise = true;
        for (size_t j = 0; j < POINTS; j++) {
            const double off = fabs(weirp_statistic_value(&s[j], sums.total));
            inside = inside && off <= factor * se[j];
            pointwise = pointwise && off <= 1.96 * se[j];
        }
        all += inside, each += pointwise;
        factors += factor;
        weirp_draws_free(&draws);
        weirp_sums_free(&sums);
    }
    print_message("bands over %d points cover %.1f %% (pointwise: %.1f %%), factor %.3f\n", POINTS,
                  100.0 * (double)all / REPEATS, 100.0 * (double)each / REPEATS, factors / REPEATS);
    assert_true((double)all / REPEATS >= 0.94);
    assert_true((double)each / REPEATS < 0.9);
    assert_true(factors / REPEATS > 2.3 && factors / REPEATS < 2.95); /* below Bonferroni's, 2.87, but for noise */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_two_sided),
        cmocka_unit_test(se_of_a_mean_is_the_textbooks),
        cmocka_unit_test(few_large_clusters_count_as_few),
        cmocka_unit_test(repeated_rows_add_nothing),
        cmocka_unit_test(denominators_are_resampled),
        cmocka_unit_test(identical_policies_differ_by_nothing),
        cmocka_unit_test(draws_are_what_they_should_be),
        cmocka_unit_test(equal_columns_have_equal_totals),
        cmocka_unit_test(draws_take_whole_clusters),
        cmocka_unit_test(undefined_draws_widen),
        cmocka_unit_test(widths_fall_like_the_root),
        cmocka_unit_test(bernstein_is_the_theorems),
        cmocka_unit_test(the_range_isnt_the_samples),
        cmocka_unit_test(t_is_right_with_ten_clusters),
        cmocka_unit_test(skewed_rows_are_covered),
        cmocka_unit_test(bca_balances_its_ends),
        cmocka_unit_test(bands_cover_all_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

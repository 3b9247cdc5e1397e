/* The weighted distribution: against exact quantiles and tails, and Woodruff's interval's coverage.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "src/ope/distribution.h"

static const double levels[] = {0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1};

typedef struct weighted {
    double x, w;
} weighted;

static int by_x(const void *a, const void *b) {
    const double x = ((const weighted *)a)->x, y = ((const weighted *)b)->x;
    return (x > y) - (x < y);
}

static double exact_quantile(const weighted *v, size_t n, double level) {
    double all = 0, sum = 0;
    for (size_t i = 0; i < n; i++) all += v[i].w;
    for (size_t i = 0; i < n; i++)
        if ((sum += v[i].w) >= level * all * (1 - 1e-12)) return v[i].x;
    return v[n - 1].x;
}

static double exact_cvar(const weighted *v, size_t n, double level) {
    double all = 0, left, sum = 0;
    for (size_t i = 0; i < n; i++) all += v[i].w;
    left = (1 - level) * all;
    for (size_t i = n; i-- > 0 && left > 0;) {
        const double w = fmin(left, v[i].w);
        sum += w * v[i].x;
        left -= w;
    }
    return sum / ((1 - level) * all);
}

static void matches_exact_ones(void **state) {
    (void)state;
    enum { N = 5000 };
    static weighted v[N];
    const double scales[] = {1e-7, 1, 3e4, 1e10}; /* costs of small calls to latencies no one waits for */
    for (size_t s = 0; s < 4; s++) {
        weirp_distribution *d;
        assert_int_equal(weirp_distribution_new(&d, NULL), WEIR_OK);
        for (size_t i = 0; i < N; i++) {
            v[i].x = scales[s] * exp(1.2 * weirp_random_normal(s, 1, i));
            v[i].w = i % 5 ? exp(weirp_random_normal(s, 2, i)) : 0;
            weirp_distribution_add(d, v[i].x, v[i].w);
        }
        qsort(v, N, sizeof *v, by_x);
        for (size_t k = 0; k < sizeof levels / sizeof *levels; k++) {
            const double q = exact_quantile(v, N, levels[k]);
            assert_true(fabs(weirp_distribution_quantile(d, levels[k]) - q) <= 0.002 * q);
            if (levels[k] == 1) continue;
            const double c = exact_cvar(v, N, levels[k]);
            assert_true(fabs(weirp_distribution_cvar(d, levels[k]) - c) <= 0.002 * c);
        }
        weirp_distribution_free(d);
    }
}

static void by_hand(void **state) {
    (void)state;
    weirp_distribution *d;
    assert_int_equal(weirp_distribution_new(&d, NULL), WEIR_OK);
    assert_true(isnan(weirp_distribution_quantile(d, 0.5)));
    assert_true(isnan(weirp_distribution_cvar(d, 0.5)));
    assert_true(isnan(weirp_distribution_quantile_interval(d, 0.5, 1, 0.95).lo));
    /* 0 with weight 6, 10 with 3, 1000 with 1. */
    weirp_distribution_add(d, 1000, 1);
    weirp_distribution_add(d, 0, 6);
    weirp_distribution_add(d, 10, 1);
    weirp_distribution_add(d, 10, 2);
    const double bad[][2] = {{-1, 1}, {1, -1}, {NAN, 1}, {1, NAN}, {INFINITY, 1}, {1, INFINITY}, {1, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) weirp_distribution_add(d, bad[i][0], bad[i][1]);
    assert_true(weirp_distribution_quantile(d, 0.5) == 0);
    assert_true(weirp_distribution_quantile(d, 0.6) == 0);
    assert_true(fabs(weirp_distribution_quantile(d, 0.61) - 10) < 1e-12);
    assert_true(fabs(weirp_distribution_quantile(d, 0.9) - 10) < 1e-12);
    assert_true(fabs(weirp_distribution_quantile(d, 0.95) - 1000) < 1e-10);
    /* Worst 10 %: 1000. Worst 20 %: (1000 + 10) / 2. All: (1000 + 30) / 10. */
    assert_true(fabs(weirp_distribution_cvar(d, 0.9) - 1000) < 1e-9);
    assert_true(fabs(weirp_distribution_cvar(d, 0.8) - 505) < 1e-9);
    assert_true(fabs(weirp_distribution_cvar(d, 0) - 103) < 1e-9);
    assert_true(isnan(weirp_distribution_quantile(d, NAN)) && isnan(weirp_distribution_cvar(d, 1)));
    /* So few rows don't bound a far tail. */
    assert_true(weirp_distribution_quantile_interval(d, 0.95, 1, 0.95).hi == INFINITY);
    /* Beyond the buckets on either side. */
    weirp_distribution_add(d, 1e300, 1e-9);
    weirp_distribution_add(d, 1e-300, 1);
    assert_true(weirp_distribution_quantile(d, 1) > 1e12);
    weirp_distribution_free(d);
    weirp_distribution_free(NULL);
}

/* Rows drawn by one policy and weighted to another's: the quantile of what the other would see. Two groups with their
 * own log-normal times; the log takes the slow one with chance 0.5, the candidate with 0.2. */
static void woodruff_covers(void **state) {
    (void)state;
    enum { LOGS = 1000, N = 2000 };
    const double levels_here[] = {0.5, 0.9, 0.95};
    double truth[3];
    size_t covered[3] = {0}, tight[3] = {0};
    for (size_t k = 0; k < 3; k++) { /* 0.8 Phi(log x) + 0.2 Phi(log x - 1) = level, by halving */
        double lo = -10, hi = 10;
        for (int i = 0; i < 80; i++) {
            const double z = (lo + hi) / 2, f = 0.8 * erfc(-z / sqrt(2)) / 2 + 0.2 * erfc(-(z - 1) / sqrt(2)) / 2;
            if (f < levels_here[k]) lo = z;
            if (f >= levels_here[k]) hi = z;
        }
        truth[k] = exp(lo);
    }
    for (uint64_t l = 0; l < LOGS; l++) {
        weirp_distribution *d;
        assert_int_equal(weirp_distribution_new(&d, NULL), WEIR_OK);
        for (uint64_t i = 0; i < N; i++) {
            const bool slow = weirp_random_uniform(l, 1, i) < 0.5;
            weirp_distribution_add(d, exp(slow + weirp_random_normal(l, 2, i)), slow ? 0.4 : 1.6);
        }
        for (size_t k = 0; k < 3; k++) {
            const weirp_interval in = weirp_distribution_quantile_interval(d, levels_here[k], 1, 0.95);
            const weirp_interval wide = weirp_distribution_quantile_interval(d, levels_here[k], 2, 0.95);
            covered[k] += in.lo <= truth[k] && truth[k] <= in.hi;
            tight[k] += in.hi - in.lo < 0.6 * truth[k];
            assert_true(wide.lo <= in.lo && in.hi <= wide.hi && wide.hi - wide.lo > in.hi - in.lo);
        }
        weirp_distribution_free(d);
    }
    for (size_t k = 0; k < 3; k++) {
        print_message("quantile %.2f: covered %.1f %%\n", levels_here[k], 100.0 * (double)covered[k] / LOGS);
        /* 950 of 1000 is expected, with a standard deviation of 7. */
        assert_true(covered[k] >= 925 && covered[k] <= 975);
        assert_int_equal(tight[k], LOGS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_exact_ones),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(woodruff_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

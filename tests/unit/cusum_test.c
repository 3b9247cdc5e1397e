/* Cusum: how rarely it cries without a cause, how soon with one, and when it says that it began.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "estimators/cusum.h"
#include "src/base/base.h"

static double outcome(uint64_t run, uint64_t t, double p) {
    return weirp_random_uniform(11, run, t) < p ? 1 : 0;
}

static const weirp_cusum_side *feed(weirp_cusum *c, double expected, double seen) {
    return weirp_cusum_step(c, expected, seen, sqrt(expected * (1 - expected)));
}

/* Mean length of runs in which nothing changes; a run of `cap` steps without an alarm counts as that long. */
static double run_length(double p, uint64_t n_runs, uint64_t cap) {
    double steps = 0, alarms = 0;
    for (uint64_t run = 0; run < n_runs; run++) {
        weirp_cusum c = {0};
        uint64_t t = 0;
        bool alarm = false;
        while (t < cap && !alarm) alarm = feed(&c, p, outcome(run, t, p)) != NULL, t++;
        steps += (double)t;
        alarms += alarm;
    }
    return steps / fmax(alarms, 1);
}

/* The times to the first alarm are about exponential, so that 200 of them tell their mean to 7 %. 36,000 was found by
 * an independent simulation. */
static void rarely_cries_without_a_cause(void **state) {
    (void)state;
    double length = run_length(0.83, 200, 1000000);
    printf("in control at 0.83: %.0f observations\n", length);
    assert_true(length > 28000 && length < 45000);
    assert_true(run_length(0.5, 4, 300000) > 300000);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct finding {
    double delay, onset_error, before, after;
} finding;

/* From p to q after 200 steps: medians over runs, means of before and after. */
static finding find(double p, double q, bool up) {
    enum { RUNS = 401, CHANGE = 200 };
    double delay[RUNS], onset[RUNS];
    finding f = {0};
    for (uint64_t run = 0; run < RUNS; run++) {
        weirp_cusum c = {0};
        const weirp_cusum_side *side = NULL;
        uint64_t t = 0;
        while (!side) {
            side = feed(&c, p, outcome(run + 1000, t, t < CHANGE ? p : q));
            t++;
            assert_true(t < 100000);
        }
        assert_true((side == &c.up) == up);
        delay[run] = (double)t - CHANGE;
        onset[run] = (double)t - (double)side->n - CHANGE;
        f.before += side->expected / (double)side->n / RUNS;
        f.after += side->seen / (double)side->n / RUNS;
    }
    qsort(delay, RUNS, sizeof *delay, ascending);
    qsort(onset, RUNS, sizeof *onset, ascending);
    f.delay = delay[RUNS / 2];
    f.onset_error = onset[RUNS / 2];
    printf("%.2f to %.2f: delay %.0f, onset off by %.0f, said %.2f to %.2f\n", p, q, f.delay, f.onset_error, f.before,
           f.after);
    return f;
}

static void cries_soon_and_dates_the_change(void **state) {
    (void)state;
    finding f = find(0.83, 0.45, false); /* independent simulation: 20, 59, 165, 50 */
    assert_true(f.delay >= 18 && f.delay <= 22);
    assert_true(fabs(f.onset_error) <= 3);
    assert_true(fabs(f.before - 0.83) < 1e-9 && fabs(f.after - 0.45) < 0.08);
    f = find(0.83, 0.63, false);
    assert_true(f.delay >= 50 && f.delay <= 68);
    assert_true(fabs(f.onset_error) <= 15);
    f = find(0.6, 0.4, false);
    assert_true(f.delay >= 130 && f.delay <= 200);
    f = find(0.95, 0.75, false);
    assert_true(f.delay >= 42 && f.delay <= 58);
    f = find(0.4, 0.9, true);
    assert_true(f.delay <= 40 && f.after > 0.8);
}

/* The onset is the last time that the sum was 0, and the means are of what came after it: by the definition, over the
 * whole history. */
static void the_onset_is_where_the_sum_was_last_zero(void **state) {
    (void)state;
    enum { STEPS = 5000 };
    static double seen[STEPS], expected[STEPS];
    weirp_cusum c = {0};
    size_t checked = 0;
    for (size_t t = 0; t < STEPS; t++) {
        expected[t] = 0.2 + 0.6 * weirp_random_uniform(5, 1, t);
        seen[t] = weirp_random_uniform(5, 2, t);
        const weirp_cusum_side *side = weirp_cusum_step(&c, expected[t], seen[t], 0.3);
        size_t from = t + 1;
        double least = 0, sum = 0;
        /* the sum is what is above the least partial sum; the onset where that was */
        for (size_t i = t + 1; i-- > 0;) {
            double z = fmin(fmax((seen[i] - expected[i]) / 0.3, -3), 3) - 0.4;
            sum += z;
            if (sum > least) least = sum, from = i;
        }
        assert_true(fabs(c.up.sum - least) < 1e-9);
        if (t + 1 - from != c.up.n) continue; /* sums that rounding calls 0 or not */
        double e = 0, s = 0;
        for (size_t i = from; i <= t; i++) e += expected[i], s += seen[i];
        assert_true(fabs(e - c.up.expected) < 1e-9 && fabs(s - c.up.seen) < 1e-9);
        checked++;
        if (side) c = (weirp_cusum){0};
        if (side) break;
    }
    assert_true(checked > 100);
}

/* A wild value counts three standard deviations: it takes six of them. */
static void one_surprise_is_not_a_change(void **state) {
    (void)state;
    weirp_cusum c = {0};
    for (int i = 0; i < 5; i++) assert_null(weirp_cusum_step(&c, 0.5, 1000, 0.1));
    assert_ptr_equal(weirp_cusum_step(&c, 0.5, 1000, 0.1), &c.up);
    assert_int_equal(c.up.n, 6);
    assert_true(c.down.n == 0 && c.down.sum == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rarely_cries_without_a_cause),
        cmocka_unit_test(cries_soon_and_dates_the_change),
        cmocka_unit_test(the_onset_is_where_the_sum_was_last_zero),
        cmocka_unit_test(one_surprise_is_not_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Fieller's interval: by hand, against the difference's, and how often it holds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "src/base/base.h"
#include "src/ope/quotient.h"

static void by_hand(void **state) {
    (void)state;
    /* A denominator without variance: the difference's interval over it. */
    weirp_interval i = weirp_quotient_interval(&(weirp_quotient){.d = -2, .b = 4, .var_d = 0.25}, 2, 1);
    assert_true(fabs(i.lo + 3 / 4.) < 1e-15 && fabs(i.hi + 1.5 / 4) < 1e-15);
    /* (3/4)^2 - x^2 ... : d 1, b 2, variances 1/4, none in common, z 1: (4 - 1/4) x^2 - 4 x + 1 - 1/4 = 0 */
    i = weirp_quotient_interval(&(weirp_quotient){.d = 1, .b = 2, .var_d = 0.25, .var_b = 0.25}, 1, 1);
    assert_true(fabs(i.lo - (2 - sqrt(4 - 3.75 * 0.75)) / 3.75) < 1e-15);
    assert_true(fabs(i.hi - (2 + sqrt(4 - 3.75 * 0.75)) / 3.75) < 1e-15);
    /* a is 0 for sure: d = -b, all is saved. */
    i = weirp_quotient_interval(&(weirp_quotient){.d = -2, .b = 2, .var_d = 0.04, .var_b = 0.04, .cov = -0.04}, 2, 2);
    assert_true(fabs(i.lo + 1) < 1e-9 && fabs(i.hi + 1) < 1e-9);
    /* The denominator may be 0. */
    i = weirp_quotient_interval(&(weirp_quotient){.d = 1, .b = 1, .var_d = 0.1, .var_b = 0.3}, 2, 2);
    assert_true(isinf(i.lo) && i.lo < 0 && isinf(i.hi) && i.hi > 0);
    assert_true(isnan(weirp_quotient_interval(&(weirp_quotient){.d = 1, .b = 0}, 2, 2).lo));
    assert_true(isnan(weirp_quotient_interval(&(weirp_quotient){.d = NAN, .b = 1}, 2, 2).lo));
    /* The estimate is left out by an interval that lies wholly above it. */
    i = weirp_quotient_interval(&(weirp_quotient){.d = 1, .b = 2, .var_d = 0.01, .var_b = 0.01}, -1, 3);
    assert_true(i.lo > 0.5 && i.hi > i.lo);
}

/* Pairs of costs that go together, the other's half as uncertain as itself: what leaves the denominator's variance out
 * is wrong about the saving, this isn't. And it holds 0 just when the difference's interval does. */
static void covers_and_agrees(void **state) {
    (void)state;
    enum { LOGS = 4000, N = 200 };
    const double truth = 2 / 5. - 1, z = 1.96;
    size_t covered = 0, naive = 0;
    for (uint64_t l = 0; l < LOGS; l++) {
        double s[5] = {0};
        for (uint64_t i = 0; i < N; i++) {
            const double shared = weirp_random_normal(l, 1, i), a = 2 + 2 * shared + weirp_random_normal(l, 2, i),
                         b = 5 + 12 * shared + weirp_random_normal(l, 3, i), d = a - b;
            s[0] += d, s[1] += b, s[2] += d * d, s[3] += b * b, s[4] += d * b;
        }
        const double n = N, d = s[0] / n, b = s[1] / n;
        const weirp_quotient q = {.d = d,
                                  .b = b,
                                  .var_d = (s[2] / n - d * d) / n,
                                  .var_b = (s[3] / n - b * b) / n,
                                  .cov = (s[4] / n - d * b) / n};
        const weirp_interval i = weirp_quotient_interval(&q, z, z);
        const double half = z * sqrt(q.var_d);
        covered += i.lo <= truth && truth <= i.hi;
        naive += (d - half) / b <= truth && truth <= (d + half) / b;
        for (double shift = -2; shift <= 2;
             shift += 0.25) { /* a difference about as far from 0 as its interval's end */
            weirp_quotient near = q;
            near.d = shift * half;
            const weirp_interval x = weirp_quotient_interval(&near, z, z);
            if (fabs(fabs(shift) - 1) < 1e-9) continue;
            assert_true((x.lo <= 0 && 0 <= x.hi) == (fabs(shift) < 1));
        }
    }
    print_message("covers %.1f %%, without the denominator's variance %.1f %%\n", 100. * (double)covered / LOGS,
                  100. * (double)naive / LOGS);
    assert_in_range(covered, 0.94 * LOGS, 0.96 * LOGS);
    assert_true(naive > 0.97 * LOGS || naive < 0.93 * LOGS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_hand), cmocka_unit_test(covers_and_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tails with clusters: coverage where rows of a session hang together, and logs in which there is little to go by.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "src/ope/tail.h"

enum { MOST_ROWS = 4096 };

typedef struct rows {
    size_t n, cluster[MOST_ROWS];
    double x[MOST_ROWS], w[MOST_ROWS];
} rows;

static weirp_tail told(const rows *r, size_t n_clusters, size_t ahead) {
    weirp_tails *t;
    weirp_tail tail = {.known = false};
    assert_int_equal(weirp_tails_new(&t, n_clusters, NULL), WEIR_OK);
    for (size_t i = 0; i < ahead && i < r->n; i++) weirp_tails_look(t, r->x[i], r->w[i]);
    weirp_tails_settle(t);
    for (size_t i = 0; i < r->n; i++) weirp_tails_add(t, r->cluster[i], r->x[i], r->w[i]);
    weirp_tails_tell(t, 0.95, 0, NAN, &tail);
    weirp_tails_free(t);
    return tail;
}

static double true_quantile(double level) { /* 0.8 Phi(log x) + 0.2 Phi(log x - 1) = level, by halving */
    double lo = -10, hi = 10;
    for (int i = 0; i < 80; i++) {
        const double z = (lo + hi) / 2, f = 0.8 * erfc(-z / sqrt(2)) / 2 + 0.2 * erfc(-(z - 1) / sqrt(2)) / 2;
        if (f < level) lo = z;
        if (f >= level) hi = z;
    }
    return exp(lo);
}

/* Log-normal times, half of whose variance a session's rows share, and so the model: drawn evenly, wanted at 0.2. */
static void covers_with_sessions(void **state) {
    (void)state;
    enum { LOGS = 1000, SESSIONS = 300 };
    static rows r;
    const double levels[] = {0.5, 0.9, 0.95};
    size_t covered[3] = {0}, plain[3] = {0};
    for (uint64_t l = 0; l < LOGS; l++) {
        weirp_distribution *d;
        assert_int_equal(weirp_distribution_new(&d, NULL), WEIR_OK);
        r.n = 0;
        for (size_t c = 0; c < SESSIONS; c++) {
            const size_t some = 1 + (size_t)(weirp_random_uniform(l, 1, c) * 12);
            const bool slow = weirp_random_uniform(l, 2, c) < 0.5;
            for (size_t k = 0; k < some; k++) {
                const double z = sqrt(0.5) * (weirp_random_normal(l, 3, c) + weirp_random_normal(l, 4, 100 * c + k));
                r.x[r.n] = exp(slow + z), r.w[r.n] = slow ? 0.4 : 1.6, r.cluster[r.n] = c;
                weirp_distribution_add(d, r.x[r.n], r.w[r.n]);
                r.n++;
            }
        }
        const weirp_tail t = told(&r, SESSIONS, 1024);
        for (size_t k = 0; k < 3; k++) {
            const double truth = true_quantile(levels[k]);
            const weirp_interval in = t.quantile_t[k],
                                 narrow = weirp_distribution_quantile_interval(d, levels[k], 1, 0.95);
            covered[k] += in.lo <= truth && truth <= in.hi;
            plain[k] += narrow.lo <= truth && truth <= narrow.hi;
        }
        weirp_distribution_free(d);
    }
    for (size_t k = 0; k < 3; k++) {
        print_message("quantile %.2f: covered %.1f %%; rows for independent: %.1f %%\n", levels[k],
                      100.0 * (double)covered[k] / LOGS, 100.0 * (double)plain[k] / LOGS);
        /* 950 of 1000 is expected, with a standard deviation of 7. */
        assert_true(covered[k] >= 925 && covered[k] <= 978);
        assert_true(plain[k] < 900);
    }
}

/* A row a cluster, or a cluster of ten that are the same: the same interval. */
static void ten_times_the_same(void **state) {
    (void)state;
    enum { N = 400 };
    static rows one, ten;
    one.n = ten.n = 0;
    for (size_t i = 0; i < N; i++) {
        one.x[one.n] = exp(weirp_random_normal(5, 1, i)), one.w[one.n] = 0.5 + weirp_random_uniform(5, 2, i);
        one.cluster[one.n] = i;
        for (size_t k = 0; k < 10; k++)
            ten.x[ten.n] = one.x[i], ten.w[ten.n] = one.w[i], ten.cluster[ten.n] = i, ten.n++;
        one.n++;
    }
    const weirp_tail a = told(&one, N, N), b = told(&ten, N, ten.n);
    for (size_t k = 0; k < WEIRP_N_QUANTILES; k++) {
        assert_true(a.quantile[k] == b.quantile[k] || fabs(a.quantile[k] / b.quantile[k] - 1) < 1e-12);
        assert_true(fabs(a.quantile_t[k].lo / b.quantile_t[k].lo - 1) < 0.005);
        assert_true(a.quantile_t[k].hi == b.quantile_t[k].hi ||
                    fabs(a.quantile_t[k].hi / b.quantile_t[k].hi - 1) < 0.005);
    }
}

/* One value for all, nothing seen beforehand, nothing at all. */
static void little_to_go_by(void **state) {
    (void)state;
    static rows r;
    for (r.n = 0; r.n < 100; r.n++) r.x[r.n] = 7, r.w[r.n] = 1, r.cluster[r.n] = r.n / 10;
    weirp_tail t = told(&r, 10, 100);
    assert_true(t.known && fabs(t.quantile_t[0].lo - 7) < 1e-12 && fabs(t.quantile_t[0].hi - 7) < 1e-12);
    for (size_t i = 0; i < r.n; i++) r.x[i] = 1 + (double)(i / 10); /* sessions of one value */
    t = told(&r, 10, 0); /* where the quantiles will be isn't known: as wide as sessions can make it */
    assert_true(t.quantile_t[0].lo <= 3 && t.quantile_t[0].hi >= 7);
    r.n = 0;
    t = told(&r, 10, 0);
    assert_true(t.known && isnan(t.quantile[0]) && isnan(t.quantile_t[0].lo));
    weirp_tails_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covers_with_sessions),
        cmocka_unit_test(ten_times_the_same),
        cmocka_unit_test(little_to_go_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

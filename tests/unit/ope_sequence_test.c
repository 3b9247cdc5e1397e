/* The confidence sequence: never more than the chance of error, at all times together; and how wide it is.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "src/base/base.h"
#include "src/ope/sequence.h"

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

enum { STEPS = 10000 };

/* One observation: its weight, its outcome, and the mean of their product given all before. */
typedef struct seen {
    double w, r, mean;
} seen;

typedef struct source {
    const char *name;
    double hi, w_lo, w_hi, w_mean;
    bool arms;
    seen (*draw)(uint64_t seed, uint64_t t, double *state);
    double widest; /* at STEPS */
} source;

static weirp_sequence unweighted(double lo, double hi, double level) {
    return weirp_sequence_start_weighted(lo, hi, 1, 1, 1, level);
}

static bool add(weirp_sequence *sequence, double x) {
    return weirp_sequence_add_weighted(sequence, 1, x);
}

static double lot(uint64_t seed, uint64_t t, uint64_t which) {
    return weirp_random_uniform(seed, which, t);
}

static seen coin(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    return (seen){1, lot(seed, t, 1) < 0.3, 0.3};
}

static seen uniform(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    return (seen){1, lot(seed, t, 1), 0.5};
}

/* Two models, the second logged with a chance of 0.01 and wanted with 0.2. */
static seen weighted(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    const bool rare = lot(seed, t, 1) < 0.01;
    return (seen){rare ? 0.2 / 0.01 : 0.8 / 0.99, lot(seed, t, 2) < (rare ? 0.9 : 0.7), 0.2 * 0.9 + 0.8 * 0.7};
}

/* The candidate always wants the model of chance 0.01; products, with no more known than their range [0, 100]. */
static seen product(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    return (seen){1, lot(seed, t, 1) < 0.01 ? 100.0 * (lot(seed, t, 2) < 0.6) : 0, 0.6};
}

static seen rollout(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    const bool candidate = lot(seed, t, 1) < 0.05;
    return (seen){candidate ? 1 / 0.05 : -1 / 0.95, lot(seed, t, 2) < (candidate ? 0.7 : 0.75), -0.05};
}

/* The mean walks at random, and a failure makes the next success more probable: nothing is exchangeable. */
static seen drift(uint64_t seed, uint64_t t, double *state) {
    *state = fmin(fmax(*state + (lot(seed, t, 3) < 0.5 ? 0.03 : -0.03), -3), 3);
    const double mean = 1 / (1 + exp(-*state));
    const double r = lot(seed, t, 1) < mean;
    *state = fmin(fmax(*state + 0.02 * (mean - r), -3), 3);
    return (seen){1, r, mean};
}

static seen failures(uint64_t seed, uint64_t t, double *state) {
    (void)state;
    const bool candidate = lot(seed, t, 1) < 0.05;
    return (seen){candidate ? 1 / 0.05 : -1 / 0.95, lot(seed, t, 2) < (candidate ? 0.02 : 0.01), 0.01};
}

/* Both arms walk, and not together. */
static seen arms_in_drift(uint64_t seed, uint64_t t, double *state) {
    *state = fmin(fmax(*state + (lot(seed, t, 3) < 0.5 ? 0.03 : -0.03), -3), 3);
    const double base = 1 / (1 + exp(-*state)), candidate = 1 / (1 + exp(2 * *state));
    const bool taken = lot(seed, t, 1) < 0.5;
    return (seen){taken ? 2 : -2, lot(seed, t, 2) < (taken ? candidate : base), candidate - base};
}

static const source sources[] = {
    {"coin", 1, 1, 1, 1, false, coin, 0.035},
    {"uniform", 1, 1, 1, 1, false, uniform, 0.022},
    {"weighted", 1, 0, 20, 1, false, weighted, 0.06},
    {"product", 100, 1, 1, 1, false, product, 0.65},
    {"rollout", 1, -1 / 0.95, 20, 0, false, rollout, 0.16},
    {"arms", 1, -1 / 0.95, 20, 0, true, rollout, 0.16},
    {"failures", 1, -1 / 0.95, 20, 0, true, failures, 0.055},
    {"arms in drift", 1, -2, 2, 0, true, arms_in_drift, 0.065},
    {"drift", 1, 1, 1, 1, false, drift, 0.04},
};
enum { N_SOURCES = sizeof sources / sizeof *sources };

/* Walks one path; gives whether the interval was right all the way, looked at every time up to 1,000 and every tenth
 * from there on. */
static bool stays(const source *s, uint64_t seed, double width[2]) {
    weirp_sequence q = s->arms ? weirp_sequence_start_arms(0, s->hi, 0.5 * s->hi, s->w_lo, s->w_hi, 0.95)
                               : weirp_sequence_start_weighted(0, s->hi, s->w_lo, s->w_hi, s->w_mean, 0.95);
    double state = 0, means = 0;
    bool right = true;
    for (uint64_t t = 1; t <= STEPS; t++) {
        const seen o = s->draw(seed, t, &state);
        means += o.mean;
        assert_true(weirp_sequence_add_weighted(&q, o.w, o.r));
        if (t > 1000 && t % 10) continue;
        const weirp_interval i = weirp_sequence_now(&q);
        assert_true(i.lo <= i.hi);
        if (i.lo > means / (double)t || i.hi < means / (double)t) right = false;
        if (t == 1000) width[0] += i.hi - i.lo;
        if (t == STEPS) width[1] += i.hi - i.lo;
    }
    return right;
}

static void paths_stay_inside(void **state) {
    (void)state;
    enum { PATHS = 100 };
    for (size_t i = 0; i < N_SOURCES; i++) {
        double width[2] = {0, 0};
        unsigned stayed = 0;
        for (uint64_t p = 0; p < PATHS; p++) stayed += stays(&sources[i], 1000 * i + p, width);
        print_message("%-13s %3u of %u paths stay; width %.4f at 1,000, %.4f at 10,000\n", sources[i].name, stayed,
                      (unsigned)PATHS, width[0] / PATHS, width[1] / PATHS);
        assert_true(stayed >= 95);
        assert_true(width[1] / PATHS < sources[i].widest);
        assert_true(width[1] < 0.5 * width[0]); /* sqrt(10) is 3.2 */
    }
}

/* What the proof rests on, without luck: over the outcomes of one observation, weighed by their chances, no bet's
 * capital grows in the mean by more than exp(size (mean - guess)). */
static void no_bet_gains(void **state) {
    (void)state;
    enum { ATOMS = 6 };
    for (uint64_t c = 0; c < 2000; c++) {
        const double lo = lot(1, c, 1) - 0.5, hi = lo + 0.1 + 3 * lot(1, c, 2), share = 0.01 + 0.98 * lot(1, c, 3);
        const int kind = (int)(c % 4); /* plain, a value, a difference, one of arms */
        const double w_lo = kind == 0 ? 1 : kind == 1 ? 0 : -1 / (1 - share), w_hi = kind == 0 ? 1 : 1 / share;
        const double w_mean = kind >= 2 ? 0 : 1;
        weirp_sequence q = kind == 3 ? weirp_sequence_start_arms(lo, hi, lo + (hi - lo) * lot(1, c, 4), w_lo, w_hi, 0.9)
                                     : weirp_sequence_start_weighted(lo, hi, w_lo, w_hi, w_mean, 0.9);
        double w[ATOMS], r[ATOMS], p[ATOMS], mean = 0;
        for (int a = 0; a < ATOMS; a++) { /* three atoms share each weight, so that its mean is w_mean */
            const double p_hi = kind == 0 ? 0.5 : share, u = lot(2, c, (uint64_t)a);
            w[a] = a < 3 ? w_hi : w_lo;
            r[a] = lo + (hi - lo) * (u < 0.2 ? 0 : u < 0.4 ? 1 : lot(3, c, (uint64_t)a));
            p[a] = (a < 3 ? p_hi : 1 - p_hi) / 3;
            mean += p[a] * w[a] * r[a];
        }
        for (uint64_t t = 0; t < c % 40; t++) {
            const size_t a = (size_t)(lot(4, c, t) * ATOMS);
            (void)weirp_sequence_add_weighted(&q, w[a], r[a]);
        }
        for (int side = 0; side < 2; side++)
            for (int k = 0; k < WEIRP_SEQUENCE_BETS; k++) {
                double gain = 0, guess = 0;
                for (int a = 0; a < ATOMS; a++) {
                    weirp_sequence next = q;
                    assert_true(weirp_sequence_add_weighted(&next, w[a], r[a]));
                    guess = next.sum_guess - q.sum_guess;
                    gain += p[a] * exp(next.capital[side][k] - q.capital[side][k]);
                }
                const double size = ldexp(32 / (hi - lo), -k), ahead = side == 0 ? mean - guess : guess - mean;
                assert_true(log(gain) <= size * ahead + 1e-9 * (1 + fabs(size * guess)));
            }
    }
}

/* Shrinks like sqrt(log log n / n): from 10^4 to 10^6 hardly less than tenfold. */
static void shrinks(void **state) {
    (void)state;
    weirp_sequence q = unweighted(0, 1, 0.95);
    double before = 0;
    for (uint64_t t = 1; t <= 1000000; t++) {
        assert_true(add(&q, lot(9, t, 1) < 0.5));
        if (t == 10000) before = weirp_sequence_now(&q).hi - weirp_sequence_now(&q).lo;
    }
    const weirp_interval i = weirp_sequence_now(&q);
    print_message("width of a coin's: %.5f at 10^4, %.6f at 10^6\n", before, i.hi - i.lo);
    assert_true(i.lo < 0.5 && i.hi > 0.5);
    assert_true(i.hi - i.lo < before / 8);
}

/* One arm's outcomes first, or ten times as often as the other's: where both have the same, it says so. What moves the
 * centres would make a difference of it. */
static void order_is_no_difference(void **state) {
    (void)state;
    static const double shares[] = {0.01, 0.05, 0.2, 0.5, 0.9}, qualities[] = {0, 0.3, 0.9, 1};
    size_t told = 0;
    for (size_t i = 0; i < 5 * 4; i++) {
        const double s = shares[i % 5], quality = qualities[i / 5];
        for (uint64_t kind = 0; kind < 3;
             kind++) { /* one arm's alone, the other's alone, labelled ten times as often */
            weirp_sequence q = weirp_sequence_start_arms(0, 1, 0.5, -1 / (1 - s), 1 / s, 0.95);
            for (uint64_t t = 0; t < 1000; t++) {
                const bool taken = kind == 2 ? lot(21, t, 1) < s / (s + 10 * (1 - s)) : kind == 1;
                assert_true(weirp_sequence_add_weighted(&q, taken ? 1 / s : -1 / (1 - s), lot(22 + i, t, 2) < quality));
                if (t % 10) continue;
                const weirp_interval now = weirp_sequence_now(&q);
                assert_true(now.lo < 0.005 && now.hi > -0.005);
                told += now.lo > 0 || now.hi < 0;
            }
        }
    }
    assert_int_equal(told, 0);
}

/* Negating outcomes negates the interval; scale and place go along. */
static void is_equivariant(void **state) {
    (void)state;
    weirp_sequence a = weirp_sequence_start_weighted(0, 1, 0, 10, 1, 0.9);
    weirp_sequence b = weirp_sequence_start_weighted(-1, 0, 0, 10, 1, 0.9);
    weirp_sequence c = weirp_sequence_start_weighted(-3, 5, 0, 10, 1, 0.9);
    for (uint64_t t = 0; t < 500; t++) {
        const double w = lot(5, t, 1) < 0.1 ? 10 : 0, r = lot(5, t, 2);
        assert_true(weirp_sequence_add_weighted(&a, w, r));
        assert_true(weirp_sequence_add_weighted(&b, w, -r));
        assert_true(weirp_sequence_add_weighted(&c, w, 8 * r - 3));
    }
    const weirp_interval i = weirp_sequence_now(&a), j = weirp_sequence_now(&b), k = weirp_sequence_now(&c);
    assert_near(i.lo, -j.hi, 1e-9);
    assert_near(i.hi, -j.lo, 1e-9);
    assert_near(8 * i.lo - 3, k.lo, 1e-8);
    assert_near(8 * i.hi - 3, k.hi, 1e-8);
}

/* What is out of range widens and never narrows: as if the worst that may have been had been there, at either end. */
static void wrong_input_widens(void **state) {
    (void)state;
    static const double wrong[] = {-0.01, 1.01, NAN, INFINITY, -INFINITY};
    weirp_sequence q = unweighted(0, 1, 0.95);
    for (uint64_t t = 0; t < 1000; t++) assert_true(add(&q, lot(6, t, 1)));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weirp_sequence broken = q, low = q, high = q;
        for (int times = 0; times < 20; times++) {
            assert_false(add(&broken, wrong[i]));
            assert_true(add(&low, 0));
            assert_true(add(&high, 1));
        }
        const weirp_interval b = weirp_sequence_now(&broken);
        assert_true(isfinite(b.lo) && isfinite(b.hi));
        assert_true(b.lo <= weirp_sequence_now(&low).lo + 2e-3 && b.hi >= weirp_sequence_now(&high).hi - 2e-3);
        assert_true(b.hi - b.lo > weirp_sequence_now(&q).hi - weirp_sequence_now(&q).lo);
    }
    weirp_sequence w = weirp_sequence_start_weighted(0, 1, 0, 20, 1, 0.95);
    assert_false(weirp_sequence_add_weighted(&w, 20.1, 0.5));
    assert_false(weirp_sequence_add_weighted(&w, NAN, 0.5));
    assert_true(weirp_sequence_add_weighted(&w, 20 * (1 + 1e-12), 0.5)); /* rounding is no error */
    assert_int_equal(w.n, 3);
}

static void starts_with_the_whole_range(void **state) {
    (void)state;
    const weirp_sequence q = unweighted(-2, 3, 0.95);
    assert_true(weirp_sequence_now(&q).lo == -2 && weirp_sequence_now(&q).hi == 3);
    /* a difference of two arms can't be more than the range of outcomes */
    const weirp_sequence d = weirp_sequence_start_weighted(0, 1, -1 / 0.95, 20, 0, 0.95);
    assert_near(weirp_sequence_now(&d).lo, -1, 1e-12);
    assert_near(weirp_sequence_now(&d).hi, 1, 1e-12);
    assert_true(sizeof q <= 4096);
}

/* The level is two-sided: each end errs half as often as both; a higher level contains a lower one. */
static void levels_nest(void **state) {
    (void)state;
    weirp_sequence a = unweighted(0, 1, 0.9), b = unweighted(0, 1, 0.99);
    for (uint64_t t = 0; t < 300; t++) {
        const double x = lot(8, t, 1) < 0.5;
        assert_true(add(&a, x) && add(&b, x));
    }
    const weirp_interval i = weirp_sequence_now(&a), j = weirp_sequence_now(&b);
    assert_true(j.lo < i.lo && i.hi < j.hi);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_stay_inside), cmocka_unit_test(no_bet_gains),
        cmocka_unit_test(shrinks),           cmocka_unit_test(order_is_no_difference),
        cmocka_unit_test(is_equivariant),    cmocka_unit_test(wrong_input_widens),
        cmocka_unit_test(levels_nest),       cmocka_unit_test(starts_with_the_whole_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

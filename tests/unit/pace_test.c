/* Pacing: closed forms, what must be monotone, surprises, state, hostile input. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/budget/pace_parts.h"

static const double MONDAY = 1767571200; /* 2026-01-05, UTC */
static const double DAY = 86400;

static weirp_moment at(double unix_s) {
    const double s = unix_s - MONDAY;
    return (weirp_moment){.unix_s = unix_s,
                          .hour = (int)fmod(s / 3600, 24),
                          .weekday = (int)fmod(s / DAY, 7),
                          .into_hour_s = fmod(s, 3600)};
}

static weirp_pacer *make(weirp_pacer_options o) {
    weirp_pacer *p = NULL;
    weir_error err = {0};
    if (o.end_s == 0) o.start_s = MONDAY, o.end_s = MONDAY + DAY;
    assert_int_equal(weirp_pacer_new(&p, &o, &err), WEIR_OK);
    return p;
}

/* Two models: the dear one is worth it from a value of (c1 - c0) / (q1 - q0) = 0.005 on. */
static const double Q[2] = {0.5, 0.9}, C[2] = {0.001, 0.003};
static const double EDGE = 0.005;

/* Requests that differ: two edges, at values e and 3 e, with e from 0.001 to 0.1, evenly in its logarithm. */
static void differing(uint64_t i, double q[3], double c[3]) {
    const double e = 0.001 * pow(100, weirp_random_uniform(7, 1, i));
    q[0] = 0.5, q[1] = 0.6, q[2] = 0.9;
    c[0] = 0.0005, c[1] = c[0] + 0.1 * e, c[2] = c[1] + 0.3 * 3 * e;
}

/* A day of requests at `rate(hour)` an hour, evenly apart, each sent where value says. */
typedef struct result {
    double spent, worst_line, low, high, quality;
    size_t n, refused, dear;
} result;

typedef double (*rate_fn)(double hour);

static result live(weirp_pacer *p, double start, double limit, rate_fn rate, bool same) {
    result r = {.low = INFINITY};
    for (double t = start + 1; t < start + DAY;) {
        const double hour = (t - start) / 3600;
        if (rate(hour) <= 0) {
            t += 60;
            continue;
        }
        double q[3] = {Q[0], Q[1], 0}, c[3] = {C[0], C[1], 1};
        if (!same) differing((uint64_t)t, q, c);
        weirp_pacer_observe(p, at(t), 3, q, c, NULL);
        const weirp_pace pace = weirp_pacer_value(p, at(t), r.spent, 0);
        assert_true(pace.value > 0 && isfinite(pace.value));
        assert_true(pace.spend_low <= pace.spend * (1 + 1e-12) && pace.spend <= pace.spend_high * (1 + 1e-12));
        size_t m = 0;
        for (size_t j = 1; j < 3; j++)
            if (c[j] <= pace.most_usd && c[j] - pace.value * q[j] < c[m] - pace.value * q[m]) m = j;
        r.n++;
        if (r.spent + c[m] > limit) {
            r.refused++;
            weirp_pacer_spent(p, 0, 0, 0);
        } else {
            r.spent += c[m], r.quality += q[m], r.dear += m > 0;
            weirp_pacer_spent(p, q[m], c[m], c[m]);
        }
        if (hour > 2 && hour < 23) r.low = fmin(r.low, pace.value), r.high = fmax(r.high, pace.value);
        r.worst_line = fmax(r.worst_line, fabs(r.spent / limit - hour / 24));
        t += 3600 / rate(hour);
    }
    return r;
}

static double steady(double hour) {
    (void)hour;
    return 100;
}

/* Identical requests, even days, money for half of them to be dear: once the days are known, the value stays at the
 * edge and spend runs straight. */
static void identical_requests(void **state) {
    (void)state;
    const double limit = 2400 * (C[0] + C[1]) / 2;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = limit, .requests = 2400});
    for (int day = 0; day < 8; day++) {
        const double start = MONDAY + day * DAY;
        assert_int_equal(weirp_pacer_begin(p, limit, start, start + DAY, NULL), WEIR_OK);
        const result r = live(p, start, limit, steady, true);
        assert_int_equal(r.refused, 0);
        assert_true(r.spent <= limit && r.spent >= 0.99 * limit);
        assert_true(fabs((double)r.dear / (double)r.n - 0.5) < 0.01);
        if (day < 7) continue;
        assert_true(r.worst_line < 0.1); /* identical requests may as well be saved for: nothing is lost */
        assert_true(r.low > EDGE / 1.2 && r.high < EDGE * 1.2); /* a bin is as wide as a factor of 1.18 */
    }
    weirp_pacer_free(p);
}

/* With the edges of differing(), the mean cost of a request at v is
 * 0.0005 + (0.1 (v - 0.001) + 0.9 (v / 3 - 0.001)) / log(100) for v from 0.003 to 0.1: integrals of e over log e. */
static void curve_in_closed_form(void **state) {
    (void)state;
    weirp_curve *curve = malloc(sizeof *curve);
    weirp_curve_init(curve, 1e-6, 1e3, 1e6);
    for (uint64_t i = 0; i < 100000; i++) {
        double q[3], c[3];
        differing(i, q, c);
        assert_true(weirp_curve_add(curve, 3, q, c, NULL));
    }
    weirp_curve_refresh(curve);
    for (double v = 0.004; v < 0.09; v *= 1.5) {
        const double cost = 0.0005 + (0.1 * (v - 0.001) + 0.9 * (v / 3 - 0.001)) / log(100);
        const double quality = 0.5 + (0.1 * log(v / 0.001) + 0.3 * log(v / 3 / 0.001)) / log(100);
        assert_true(fabs(weirp_curve_find(curve, curve->cost, cost) / v - 1) < 0.02);
        assert_true(fabs(weirp_curve_find(curve, curve->quality, quality) / v - 1) < 0.02);
        assert_true(fabs(weirp_curve_at(curve, curve->quality, v) - quality) < 0.003);
    }
    assert_true(weirp_curve_at(curve, curve->cost, 0) == curve->cost[0]);
    assert_true(fabs(curve->cost[0] - 0.0005) < 1e-12 && fabs(curve->quality[WEIRP_CURVE_BINS] - 0.9) < 1e-9);
    assert_true(isinf(weirp_curve_find(curve, curve->quality, 0.91)));
    /* A model above the line between its neighbours is never worth it: the way leads past it. */
    weirp_curve_init(curve, 1e-6, 1e3, 1e6);
    const double q[4] = {0.2, 0.3, 0.8, 0.7}, c[4] = {0.001, 0.004, 0.007, 0.009};
    assert_true(weirp_curve_add(curve, 4, q, c, NULL));
    weirp_curve_refresh(curve);
    assert_true(weirp_curve_at(curve, curve->cost, 0.008) < 0.0011);
    assert_true(fabs(weirp_curve_at(curve, curve->cost, 0.013) - 0.007) < 1e-9);
    free(curve);
}

/* What was long ago counts for less: half as much after memory * log(2) requests. */
static void curve_forgets(void **state) {
    (void)state;
    weirp_curve *curve = malloc(sizeof *curve);
    weirp_curve_init(curve, 1e-6, 1e3, 1000);
    const double q = 0.5, before = 1, after = 3;
    for (int i = 0; i < 400000; i++) weirp_curve_add(curve, 1, &q, &before, NULL); /* weights are brought back once */
    for (int i = 0; i < 693; i++) weirp_curve_add(curve, 1, &q, &after, NULL);
    weirp_curve_refresh(curve);
    assert_true(fabs(curve->cost[0] - 2) < 0.01);
    free(curve);
}

static double rush(double hour) {
    return hour < 8 ? 20 : hour < 18 ? 200 : 60;
}

static double step(double hour) {
    return hour < 12 ? 60 : 180;
}

static double late(double hour) {
    return hour < 12 ? 0 : 200;
}

static double none(double hour) {
    (void)hour;
    return 0;
}

static double total(rate_fn rate) {
    double sum = 0;
    for (int h = 0; h < 24; h++) sum += rate(h);
    return sum;
}

/* After a week of the pattern a day's money lasts to its end, and the value hardly moves though traffic does. */
static void learns_the_day(void **state) {
    (void)state;
    const double limit = total(rush) * 0.006;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = limit});
    for (int day = 0; day < 9; day++) {
        const double start = MONDAY + day * DAY;
        assert_int_equal(weirp_pacer_begin(p, limit, start, start + DAY, NULL), WEIR_OK);
        const result r = live(p, start, limit, rush, false);
        assert_true(r.spent <= limit);
        if (day == 0) continue;
        assert_int_equal(r.refused, 0);
        assert_true(r.spent >= 0.98 * limit);
        if (day > 6) assert_true(r.high / r.low < 1.6);
    }
    weirp_pacer_free(p);
}

static void surprise(rate_fn usual, rate_fn then, double share) {
    const double limit = total(usual) * share;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = limit});
    for (int day = 0; day < 8; day++) {
        const double start = MONDAY + day * DAY;
        assert_int_equal(weirp_pacer_begin(p, limit, start, start + DAY, NULL), WEIR_OK);
        const result r = live(p, start, limit, day == 7 ? then : usual, false);
        assert_true(r.spent <= limit);
        if (day == 6) assert_true(r.worst_line < 0.03); /* an even day: spend runs straight */
        if (day < 7) continue;
        assert_int_equal(r.refused, 0);
        if (then != none) assert_true(r.spent >= 0.98 * limit);
    }
    weirp_pacer_free(p);
}

static double triple(double hour) {
    return 3 * steady(hour);
}

static void steps_in_traffic(void **state) {
    (void)state;
    surprise(steady, step, 0.004);
    surprise(steady, late, 0.004);
    surprise(steady, triple, 0.004);
    surprise(steady, none, 0.004);
}

/* What is left buys a value; more never buys less, and more time never buys more. */
static void more_is_not_less(void **state) {
    (void)state;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 10, .requests = 5000});
    for (double t = MONDAY; t < MONDAY + DAY / 2; t += 40) {
        double q[3], c[3];
        differing((uint64_t)t, q, c);
        weirp_pacer_observe(p, at(t), 3, q, c, NULL);
    }
    double before = 0;
    for (double spent = 10; spent >= 0; spent -= 0.05) {
        const weirp_pace pace = weirp_pacer_value(p, at(MONDAY + DAY / 2), spent, 0);
        assert_true(pace.value >= before);
        assert_true(pace.overloaded == ((pace.requests + 1) * 0.0005 * (1 + 1e-12) > pace.left_usd));
        before = pace.value;
    }
    assert_true(before > 0.005);
    double value = 0;
    for (double t = MONDAY + DAY / 2; t < MONDAY + DAY; t += 50) { /* nothing comes: what is left grows per request */
        const weirp_pace pace = weirp_pacer_value(p, at(t), 7, 0);
        assert_true(pace.value >= value * 0.98);
        value = pace.value;
    }
    assert_true(value >= 0.1); /* at the end everything may be spent */
    const weirp_pace end = weirp_pacer_value(p, at(MONDAY + DAY), 7, 0),
                     past = weirp_pacer_value(p, at(MONDAY + DAY + 9), 7, 0);
    assert_true(end.requests == 0 && past.requests == 0);
    const weirp_pace flight = weirp_pacer_value(p, at(MONDAY + DAY), 6, 1);
    assert_true(flight.value == end.value && flight.left_usd == end.left_usd);
    weirp_pacer_free(p);
}

/* Calls that cost twice what was thought count twice from then on. */
static void costs_are_corrected(void **state) {
    (void)state;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 10, .requests = 2400});
    for (double t = MONDAY; t < MONDAY + DAY / 2; t += 36) weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
    const weirp_pace right = weirp_pacer_value(p, at(MONDAY + DAY / 2), 8, 0);
    for (int i = 0; i < 3000; i++) weirp_pacer_spent(p, 0.5, 0.001, 0.002);
    const weirp_pace twice = weirp_pacer_value(p, at(MONDAY + DAY / 2), 6, 0);
    assert_true(fabs(twice.value / right.value - 1) < 0.02); /* twice as much is left */
    assert_true(fabs((twice.spend - 6) / (right.spend - 8) / 2 - 1) < 0.02);
    weirp_pacer_free(p);
}

/* The floor says what it costs, long before the money is gone. */
static void floors(void **state) {
    (void)state;
    for (int first = 0; first < 2; first++) {
        weirp_pacer *p =
            make((weirp_pacer_options){.limit_usd = 4, .requests = 2400, .floor = 0.7, .floor_first = first == 1});
        for (double t = MONDAY; t < MONDAY + DAY / 4; t += 36) {
            weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
            weirp_pacer_spent(p, 0.7, 0.002, 0.002);
        }
        /* Half of 1,800 requests must be dear: 3.6 USD. */
        const weirp_pace rich = weirp_pacer_value(p, at(MONDAY + DAY / 4), 0.2, 0);
        assert_false(rich.contradiction);
        assert_true(fabs(rich.floor_usd / 3.6 - 1) < 0.05);
        assert_true(fabs(rich.left_usd - 3.8) < 1e-9);
        const weirp_pace poor = weirp_pacer_value(p, at(MONDAY + DAY / 4), 1.2, 0);
        assert_true(poor.contradiction && !poor.unreachable);
        assert_true(poor.floor_usd > poor.left_usd);
        if (first)
            assert_true(fabs(poor.quality - 0.7) < 0.01);
        else
            assert_true(poor.quality < 0.7);
        assert_true(weirp_pacer_begin(p, 40, MONDAY, MONDAY + DAY, NULL) == WEIR_OK);
        const weirp_pace cured = weirp_pacer_value(p, at(MONDAY + DAY / 4), 1.2, 0);
        assert_true(!cured.contradiction && cured.quality > 0.8);
        weirp_pacer_free(p);
    }
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 4, .requests = 100, .floor = 0.95});
    weirp_pacer_observe(p, at(MONDAY), 2, Q, C, NULL);
    assert_true(weirp_pacer_value(p, at(MONDAY), 0, 0).unreachable);
    weirp_pacer_free(p);
    p = make((weirp_pacer_options){.limit_usd = 400, .requests = 100, .floor = 0.7, .thrift = true});
    for (double t = MONDAY; t < MONDAY + DAY / 4; t += 36) weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
    const weirp_pace thrifty = weirp_pacer_value(p, at(MONDAY + DAY / 4), 0, 0);
    assert_true(fabs(thrifty.quality - 0.7) < 0.01 && !thrifty.contradiction);
    weirp_pacer_free(p);
}

static void same_pace(weirp_pace a, weirp_pace b) {
    assert_true(a.value == b.value && a.most_usd == b.most_usd && a.requests == b.requests);
    assert_true(a.spend == b.spend && a.spend_low == b.spend_low && a.spend_high == b.spend_high);
    assert_true(a.quality == b.quality && a.floor_usd == b.floor_usd && a.contradiction == b.contradiction);
}

/* Saved and loaded, a pacer goes on as if nothing had been: bit for bit. */
static void survives(void **state) {
    (void)state;
    const weirp_pacer_options o = {.limit_usd = 6, .start_s = MONDAY + DAY, .end_s = MONDAY + 2 * DAY, .floor = 0.6};
    weirp_pacer *p = make(o), *again = make(o);
    live(p, MONDAY, 6, rush, false);
    live(p, MONDAY + DAY, 3, rush, false);
    weirp_writer first = {0}, second = {0};
    weirp_pacer_save(p, &first);
    assert_int_equal(weirp_pacer_load(again, first.data, first.size, NULL), WEIR_OK);
    weirp_pacer_save(again, &second);
    assert_true(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    for (double t = MONDAY + 2 * DAY - 200; t < MONDAY + 2 * DAY + 30000; t += 45) {
        same_pace(weirp_pacer_value(p, at(t), 2, 0.1), weirp_pacer_value(again, at(t), 2, 0.1));
        double q[3], c[3];
        differing((uint64_t)t, q, c);
        weirp_pacer_observe(p, at(t), 3, q, c, NULL);
        weirp_pacer_observe(again, at(t), 3, q, c, NULL);
    }
    weirp_writer_free(&second);
    weirp_pacer_save(p, &second);
    weirp_writer third = {0};
    weirp_pacer_save(again, &third);
    assert_true(third.size == second.size && memcmp(third.data, second.data, third.size) == 0);
    weirp_writer_free(&first);
    weirp_writer_free(&second);
    weirp_writer_free(&third);
    weirp_pacer_free(p);
    weirp_pacer_free(again);
}

/* Hours in which the process wasn't there aren't hours without traffic. */
static void pause_is_not_silence(void **state) {
    (void)state;
    const weirp_pacer_options o = {.limit_usd = 6, .start_s = MONDAY + DAY, .end_s = MONDAY + 2 * DAY};
    weirp_pacer *p = make(o), *again = make(o);
    live(p, MONDAY, 6, steady, true);
    weirp_writer w = {0};
    weirp_pacer_save(p, &w);
    assert_int_equal(weirp_pacer_load(again, w.data, w.size, NULL), WEIR_OK);
    const double noon = MONDAY + 1.5 * DAY;
    const weirp_pace silent = weirp_pacer_value(p, at(noon), 0, 0), away = weirp_pacer_value(again, at(noon), 0, 0);
    assert_true(away.requests > 1000 && away.requests < 1400);
    assert_true(silent.requests < 0.6 * away.requests);
    weirp_writer_free(&w);
    weirp_pacer_free(p);
    weirp_pacer_free(again);
}

static void damaged_state(void **state) {
    (void)state;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 6});
    live(p, MONDAY, 6, steady, true);
    weirp_writer good = {0}, now = {0};
    weirp_pacer_save(p, &good);
    weirp_pacer *other = make((weirp_pacer_options){.limit_usd = 6, .value_most = 10});
    assert_int_equal(weirp_pacer_load(other, good.data, good.size, NULL), WEIR_CORRUPT);
    for (size_t size = 0; size < good.size; size += 1 + size / 7)
        assert_int_equal(weirp_pacer_load(p, good.data, size, NULL), WEIR_CORRUPT);
    for (size_t i = 0; i + 8 <= good.size; i += 4) { /* no number that isn't one may enter */
        const double bad[] = {NAN, INFINITY, -1, 1e305};
        for (size_t k = 0; k < 4; k++) {
            uint8_t *copy = malloc(good.size);
            memcpy(copy, good.data, good.size);
            memcpy(copy + i, &bad[k], 8);
            weirp_pacer *q = make((weirp_pacer_options){.limit_usd = 6});
            if (weirp_pacer_load(q, copy, good.size, NULL) == WEIR_OK) {
                const weirp_pace pace = weirp_pacer_value(q, at(MONDAY + DAY / 2), 1, 0);
                assert_true(pace.value >= 1e-6 && pace.value <= 1e3 && isfinite(pace.requests));
            }
            weirp_pacer_free(q);
            free(copy);
        }
    }
    good.data[0] = 99;
    assert_int_equal(weirp_pacer_load(p, good.data, good.size, NULL), WEIR_NEWER);
    good.data[0] = 1;
    weirp_pacer_save(p, &now); /* nothing of this has changed it */
    assert_true(now.size == good.size && memcmp(now.data, good.data, now.size) == 0);
    weirp_writer_free(&good);
    weirp_writer_free(&now);
    weirp_pacer_free(p);
    weirp_pacer_free(other);
}

static void hostile_numbers(void **state) {
    (void)state;
    const double odd[] = {NAN, INFINITY, -INFINITY, -1, 0, 1e-300, 1e300, 1e6, 0.5};
    enum { N = sizeof odd / sizeof *odd };
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 1, .requests = 100});
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < N; j++) {
                const double q[2] = {odd[i], 0.5}, c[2] = {odd[j], odd[i]};
                const bool never[2] = {false, false};
                const double now = MONDAY + 60 * (double)(i * N + j);
                weirp_pacer_observe(p, at(now), 2, q, c, NULL);
                weirp_pacer_observe(p, at(now), 2, q, c, never);
                weirp_pacer_observe(p, at(now), 0, NULL, NULL, NULL);
                weirp_pacer_spent(p, odd[i], odd[j], odd[(i + j) % N]);
                weirp_moment when = at(now);
                if (round == 1) when.unix_s = odd[i];
                if (round == 2) when.hour = (int)i * 7 - 9, when.weekday = (int)j - 2, when.into_hour_s = odd[j];
                const weirp_pace pace = weirp_pacer_value(p, when, odd[i], odd[j]);
                assert_true(pace.value >= 1e-6 && pace.value <= 1e3);
                assert_true(pace.most_usd >= 0 && pace.requests >= 0 && isfinite(pace.requests));
                assert_true(pace.left_usd >= 0 && pace.left_usd <= 1);
                if (!isfinite(odd[i])) assert_true(pace.left_usd == 0);
            }
    weirp_pacer_free(p);
}

static void nothing_known(void **state) {
    (void)state;
    weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 1, .value = 0.02});
    weirp_pace pace = weirp_pacer_value(p, at(MONDAY), 0, 0);
    assert_true(!pace.known && pace.value == 0.02 && pace.requests == 0);
    weirp_pacer_observe(p, at(MONDAY), 2, Q, C, (bool[]){false, false}); /* none eligible: no request */
    weirp_pacer_observe(p, at(MONDAY + 300), 2, Q, C, (bool[]){false, false});
    assert_false(weirp_pacer_value(p, at(MONDAY + 300), 0, 0).known);
    weirp_pacer_free(p);
    p = make((weirp_pacer_options){.limit_usd = 0, .requests = 100}); /* nothing to spend: what is cheapest */
    weirp_pacer_observe(p, at(MONDAY), 2, Q, C, NULL);
    pace = weirp_pacer_value(p, at(MONDAY), 0, 0);
    assert_true(pace.known && pace.overloaded && pace.value < EDGE && pace.most_usd == 0);
    weirp_pacer_free(p);
}

static void wrong_options(void **state) {
    (void)state;
    const weirp_pacer_options good = {.limit_usd = 1, .start_s = MONDAY, .end_s = MONDAY + DAY};
    weirp_pacer_options bad[12];
    for (size_t i = 0; i < 12; i++) bad[i] = good;
    bad[0].limit_usd = -1, bad[1].limit_usd = NAN, bad[2].end_s = MONDAY, bad[3].end_s = INFINITY;
    bad[4].start_s = NAN, bad[5].floor = 1.5, bad[6].floor = NAN, bad[7].value_least = -1, bad[8].value_most = 1e-6;
    bad[9].memory_requests = 1, bad[10].memory_weeks = NAN, bad[11].requests = -3;
    for (size_t i = 0; i < 12; i++) {
        weirp_pacer *p = (weirp_pacer *)1;
        weir_error err = {0};
        assert_int_equal(weirp_pacer_new(&p, &bad[i], &err), WEIR_INVALID);
        assert_true(p == NULL && err.text[0]);
    }
    weirp_pacer *p = make(good);
    assert_int_equal(weirp_pacer_begin(p, 1, MONDAY, MONDAY + 500 * DAY, NULL), WEIR_INVALID);
    weirp_pacer_free(p);
    weirp_pacer_free(NULL);
}

/* Weeks and hours are periods too, and a clock that is set back does no harm. */
static void other_periods(void **state) {
    (void)state;
    weirp_pacer *p =
        make((weirp_pacer_options){.limit_usd = 24 * 7 * 100 * 0.002, .end_s = MONDAY + 7 * DAY, .start_s = MONDAY});
    double spent = 0;
    for (double t = MONDAY + 1; t < MONDAY + 7 * DAY; t += 36) {
        weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
        const weirp_pace pace = weirp_pacer_value(p, at(t), spent, 0);
        const size_t m = pace.value * (Q[1] - Q[0]) > C[1] - C[0] && C[1] <= pace.most_usd;
        spent += C[m];
        weirp_pacer_spent(p, Q[m], C[m], C[m]);
    }
    assert_true(spent <= 33.6 && spent > 33.6 * 0.99);
    const double hour = MONDAY + 7 * DAY;
    assert_int_equal(weirp_pacer_begin(p, 0.2, hour, hour + 3600, NULL), WEIR_OK);
    spent = 0;
    for (double t = hour + 1; t < hour + 3600; t += 36) {
        weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
        const weirp_pace pace = weirp_pacer_value(p, at(t), spent, 0);
        spent += C[pace.value * (Q[1] - Q[0]) > C[1] - C[0] && C[1] <= pace.most_usd];
    }
    assert_true(spent <= 0.2 + 1e-12 && spent > 0.195);
    const weirp_pace before = weirp_pacer_value(p, at(hour + 1800), 0.1, 0);
    weirp_pacer_observe(p, at(hour - 90000), 2, Q, C, NULL);
    weirp_pacer_value(p, at(hour - 90000), 0.1, 0);
    const weirp_pace after = weirp_pacer_value(p, at(hour + 1800), 0.1, 0);
    assert_true(before.known && after.known && isfinite(after.value));
    weirp_pacer_free(p);
}

/* Threads' calls come a little out of order, also over the ends of hours and days: nothing is forgotten for it. */
static void out_of_order(void **state) {
    (void)state;
    const weirp_pacer_options o = {.limit_usd = 5, .start_s = MONDAY, .end_s = MONDAY + 3 * DAY};
    weirp_pacer *p = make(o), *mixed = make(o);
    for (double t = MONDAY + 30; t < MONDAY + 2.5 * DAY; t += 60) {
        weirp_pacer_observe(p, at(t), 2, Q, C, NULL);
        weirp_pacer_observe(p, at(t + 0.5), 2, Q, C, NULL);
        weirp_pacer_observe(mixed, at(t + 31), 2, Q, C, NULL);
        weirp_pacer_observe(mixed, at(t + 29), 2, Q, C, NULL);
    }
    const double now = MONDAY + 2.5 * DAY + 40;
    const weirp_pace a = weirp_pacer_value(p, at(now), 2, 0), b = weirp_pacer_value(mixed, at(now), 2, 0);
    assert_true(fabs(a.requests - 1440) < 15 && fabs(b.requests - 1440) < 15);
    assert_true(fabs(a.spend_high - b.spend_high) < 0.02);
    weirp_pacer_free(p);
    weirp_pacer_free(mixed);
}

/* Where the local clock is put forward or back, an hour is missing or comes twice; the count of requests goes on. */
static void clock_changes(void **state) {
    (void)state;
    for (int by = -1; by <= 1; by += 2) {
        weirp_pacer *p = make((weirp_pacer_options){.limit_usd = 5, .start_s = MONDAY, .end_s = MONDAY + 4 * DAY});
        weirp_moment m = at(MONDAY);
        for (double t = MONDAY + 1; t < MONDAY + 3.5 * DAY; t += 30) {
            m = at(t < MONDAY + 3 * DAY + 7200 ? t : t + by * 3600);
            m.unix_s = t;
            weirp_pacer_observe(p, m, 2, Q, C, NULL);
        }
        const weirp_pace pace = weirp_pacer_value(p, m, 2, 0);
        assert_true(fabs(pace.requests - 1440) < 30);
        weirp_pacer_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identical_requests),
        cmocka_unit_test(curve_in_closed_form),
        cmocka_unit_test(curve_forgets),
        cmocka_unit_test(learns_the_day),
        cmocka_unit_test(steps_in_traffic),
        cmocka_unit_test(more_is_not_less),
        cmocka_unit_test(costs_are_corrected),
        cmocka_unit_test(floors),
        cmocka_unit_test(survives),
        cmocka_unit_test(pause_is_not_silence),
        cmocka_unit_test(damaged_state),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(other_periods),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(clock_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

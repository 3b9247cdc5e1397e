/* The gate of a rollout: harm stops it, an equal candidate passes, with the level over all its steps; what is stored is
 * what goes on. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "src/base/base.h"
#include "src/gateway/mixture.h"
#include "src/ope/gate.h"

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static weirp_gate_plan plan_of(double margin, size_t n, const double *steps) {
    weirp_gate_plan p = {.name = "trial",
                         .digest = 0x100,
                         .base = "plugin",
                         .candidate = "plugin",
                         .n_steps = n,
                         .level = 0.95,
                         .margin = margin,
                         .margin_error = 0.1,
                         .min_feedback = 50};
    for (size_t i = 0; i < n; i++) p.step[i] = steps[i];
    assert_null(weirp_gate_check(&p));
    return p;
}

/* ---- what is drawn ---- */

enum { MODELS = 3 };

/* Decisions with these chances, base's and candidate's. */
typedef struct pair {
    double base[MODELS], candidate[MODELS], tables[4][MODELS];
    weir_decision b, c;
} pair;

static void make_pair(pair *p, const double *base, const double *candidate) {
    memcpy(p->base, base, sizeof p->base);
    memcpy(p->candidate, candidate, sizeof p->candidate);
    p->b = (weir_decision){MODELS, 0, WEIR_RULE_PLUGIN, WEIR_REASON_LEAST_RISK, p->tables[0], p->tables[1], p->base};
    p->c = (weir_decision){MODELS, 0, WEIR_RULE_FIXED, WEIR_REASON_ASKED, p->tables[2], p->tables[3], p->candidate};
}

static size_t draw(const double *p, double u) {
    size_t m = 0;
    for (double sum = p[0]; u >= sum && m + 1 < MODELS; sum += p[m]) m++;
    return m;
}

static void the_mixture_is_what_is_drawn_from(void **state) {
    (void)state;
    const double base[] = {0.9, 0.06, 0.04}, candidate[] = {0.1, 0.9, 0};
    enum { N = 40000 };
    for (int k = 0; k < 3; k++) {
        const double s = (const double[]){0.01, 0.2, 0.5}[k];
        size_t n[MODELS] = {0}, n_arm = 0;
        double sum_w = 0;
        for (uint64_t t = 0; t < N; t++) {
            pair p;
            make_pair(&p, base, candidate);
            p.b.model = draw(base, weirp_random_uniform(5, 1, t));
            p.c.model = draw(candidate, weirp_random_uniform(5, 1, t)); /* the same number, as in the planner */
            const bool arm = weirp_mixture_draw(&p.b, &p.c, s, weirp_random_uniform(5, 2, t));
            n_arm += arm;
            assert_int_equal(p.b.rule, arm ? WEIR_RULE_FIXED : WEIR_RULE_PLUGIN);
            for (size_t m = 0; m < MODELS; m++) assert_near(p.base[m], (1 - s) * base[m] + s * candidate[m], 1e-15);
            n[p.b.model]++;
            sum_w += (candidate[p.b.model] - base[p.b.model]) / p.base[p.b.model];
        }
        assert_near((double)n_arm / N, s, 4 * sqrt(s * (1 - s) / N));
        for (size_t m = 0; m < MODELS; m++) {
            const double p = (1 - s) * base[m] + s * candidate[m];
            assert_near((double)n[m] / N, p, 4 * sqrt(p * (1 - p) / N));
        }
        assert_near(sum_w / N, 0, 4 / sqrt(s * N));
    }
}

static void shadow_leaves_the_base_alone(void **state) {
    (void)state;
    const double base[] = {0.9, 0.06, 0.04}, candidate[] = {0, 1, 0};
    pair p;
    make_pair(&p, base, candidate);
    p.c.model = 1;
    assert_false(weirp_mixture_draw(&p.b, &p.c, 0, 0));
    assert_int_equal(p.b.model, 0);
    assert_int_equal(p.b.rule, WEIR_RULE_PLUGIN);
    assert_memory_equal(p.base, base, sizeof base);
}

/* ---- runs ---- */

/* Two models, on every prompt the base takes the first, the candidate in `differs` of them the second. */
typedef struct world {
    double quality[2], error[2], differs;
} world;

/* Gives the gate as it is when it has ended, or after `most` requests. */
static weirp_gate run(const weirp_gate_plan *plan, const world *w, uint64_t seed, size_t most) {
    weirp_gate g;
    weirp_gate_start(&g, plan, 0);
    for (uint64_t t = 0; t < most && g.status == WEIRP_GATE_RUNNING; t++) {
        const size_t step = g.step;
        const double s = plan->step[step], floor = plan->shadow ? plan->floor : 0;
        const bool differs = weirp_random_uniform(seed, 1, t) < w->differs;
        const double second = differs; /* the candidate's chance of the second model */
        const double mixed = (1 - s) * floor + s * second, u = weirp_random_uniform(seed, 2, t);
        const size_t m = u < mixed;
        const double p = (double)(float)(m ? mixed : 1 - mixed), c = (double)(float)(m ? second : 1 - second);
        weirp_gate_decision(&g, step, p, c, weirp_random_uniform(seed, 3, t) < w->error[m], (int64_t)t);
        if (g.step == step && g.status == WEIRP_GATE_RUNNING)
            weirp_gate_feedback(&g, step, p, c, weirp_random_uniform(seed, 4, t) < w->quality[m], (int64_t)t);
    }
    return g;
}

static const double two_steps[] = {0.1, 0.5};

typedef struct tally {
    size_t passed, stopped, running, most_feedback;
} tally;

static tally repeat(const weirp_gate_plan *plan, const world *w, size_t n, size_t most) {
    tally t = {0};
    for (size_t i = 0; i < n; i++) {
        const weirp_gate g = run(plan, w, 1000 + i, most);
        t.passed += g.status == WEIRP_GATE_PASSED;
        t.stopped += g.status == WEIRP_GATE_STOPPED;
        t.running += g.status == WEIRP_GATE_RUNNING;
        if (g.n_feedback > t.most_feedback) t.most_feedback = g.n_feedback;
    }
    return t;
}

static void harm_stops(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.1, 2, two_steps);
    const world worse = {{0.8, 0.3}, {0, 0}, 1}, failing = {{0.8, 0.8}, {0.01, 0.5}, 1};
    tally t = repeat(&plan, &worse, 60, 20000);
    assert_int_equal(t.stopped, 60);
    t = repeat(&plan, &failing, 60, 20000);
    assert_int_equal(t.stopped, 60);
    const weirp_gate g = run(&plan, &failing, 1, 20000);
    assert_int_equal(g.event[g.n_events - 1].change, WEIRP_GATE_HARM_ERRORS);
    assert_int_equal(weirp_gate_now(&g), WEIRP_GATE_OFF);
    assert_true(g.event[g.n_events - 1].error.lo > plan.margin_error);
}

static void an_equal_one_passes(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
    const world equal = {{0.7, 0.7}, {0.02, 0.02}, 0.5};
    const tally t = repeat(&plan, &equal, 60, 60000);
    assert_true(t.passed >= 57); /* the level */
    assert_int_equal(t.running, 0);
    const world better = {{0.5, 0.9}, {0, 0}, 0.5};
    assert_true(repeat(&plan, &better, 40, 60000).passed >= 38);
}

/* Where the truth is the margin itself, any verdict is wrong: at 95 % at most one in twenty, over all steps. */
static void the_level_holds(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.1, 2, two_steps);
    const world edge = {{0.8, 0.7}, {0, 0}, 1};
    enum { N = 200 };
    const tally t = repeat(&plan, &edge, N, 4000);
    assert_true((double)(t.passed + t.stopped) <= N * 0.05 + 3 * sqrt(N * 0.05 * 0.95));
}

/* The candidate's answers, and the labels on them, come later than the base's: that it is slower is no harm. */
static void slow_is_no_harm(void **state) {
    (void)state;
    static const double shares[] = {0.05, 0.5}, qualities[] = {0.9, 1};
    enum { N = 1500, LATE = 200 };
    for (int i = 0; i < 4; i++) {
        const double share = shares[i % 2], quality = qualities[i / 2];
        const weirp_gate_plan plan = plan_of(0.02, 1, &share);
        for (uint64_t seed = 0; seed < 3; seed++) {
            bool taken[N] = {false};
            weirp_gate g;
            weirp_gate_start(&g, &plan, 0);
            for (int t = 0; t < N; t++) {
                taken[t] = weirp_random_uniform(seed, 1, (uint64_t)t) < share;
                const bool late = t >= LATE && taken[t - LATE];
                if (!taken[t]) weirp_gate_decision(&g, 0, 1 - share, 0, false, t);
                if (!taken[t])
                    weirp_gate_feedback(&g, 0, 1 - share, 0, weirp_random_uniform(seed, 2, (uint64_t)t) < quality, t);
                if (late) weirp_gate_decision(&g, 0, share, 1, false, t);
                if (late) weirp_gate_feedback(&g, 0, share, 1, weirp_random_uniform(seed, 3, (uint64_t)t) < quality, t);
                if (t == LATE - 1 && share == 0.5) assert_false(weirp_gate_is_even(&g)); /* the base's alone so far */
            }
            assert_int_not_equal(g.status, WEIRP_GATE_STOPPED);
        }
    }
}

/* Labels on every answer of the candidate and on few of the base's. What is worse must not pass for what is alike; what
 * is alike isn't harm, whichever has more labels. */
static void uneven_labels_hold_it_up(void **state) {
    (void)state;
    const double share = 0.2;
    const weirp_gate_plan plan = plan_of(0.02, 1, &share);
    for (int kind = 0; kind < 3; kind++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            static const double labelled[][2] = {{0.05, 1}, {1, 0.1}, {0.05, 1}};
            const double quality[] = {0.9, kind ? 0.9 : 0.8};
            weirp_gate g;
            weirp_gate_start(&g, &plan, 0);
            for (uint64_t t = 0; t < 4000 && g.status == WEIRP_GATE_RUNNING; t++) {
                const bool c = weirp_random_uniform(seed, 1, t) < share;
                const double p = c ? share : 1 - share;
                weirp_gate_decision(&g, 0, p, c, false, (int64_t)t);
                if (weirp_random_uniform(seed, 2, t) < labelled[kind][c])
                    weirp_gate_feedback(&g, 0, p, c, weirp_random_uniform(seed, 3, t) < quality[c], (int64_t)t);
            }
            assert_int_not_equal(g.status, WEIRP_GATE_PASSED);
            if (kind) assert_int_equal(g.status, WEIRP_GATE_RUNNING);
            if (kind) assert_false(weirp_gate_is_even(&g));
            weirp_interval labels, answers;
            weirp_gate_weights(&g, &labels, &answers);
            assert_true(answers.lo <= 0 && answers.hi >= 0);
            assert_true(kind != 1 || labels.hi < 0); /* more of the base's */
            assert_true(kind == 1 || labels.lo > 0);
        }
}

static void shadow_learns_from_the_floor(void **state) {
    (void)state;
    const double nothing[] = {0};
    weirp_gate_plan plan = plan_of(0.15, 1, two_steps);
    plan.shadow = true;
    memcpy(plan.step, nothing, sizeof nothing);
    assert_null(weirp_gate_check(&plan));
    const world worse = {{0.9, 0.1}, {0, 0}, 1}, equal = {{0.7, 0.7}, {0, 0}, 0.5};
    weirp_gate g = run(&plan, &worse, 1, 3000);
    assert_true(weirp_gate_is_blind(&g));
    assert_int_equal(g.n_feedback, 0);
    assert_true(g.quality_now.lo == -1 && g.quality_now.hi == 1 && g.error_now.lo == -1 && g.error_now.hi == 1);
    assert_true(isinf(weirp_gate_needs(&g)));
    plan.floor = 0.1;
    g = run(&plan, &worse, 1, 30000);
    assert_int_equal(g.status, WEIRP_GATE_STOPPED);
    g = run(&plan, &equal, 1, 60000);
    assert_int_equal(g.status, WEIRP_GATE_PASSED);
    assert_int_equal(weirp_gate_now(&g), 0); /* it goes on deciding, and nothing is dispatched */
}

/* ---- rules ---- */

static void other_steps_and_other_chances_dont_count(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.1, 2, two_steps);
    weirp_gate g;
    weirp_gate_start(&g, &plan, 0);
    weirp_gate_feedback(&g, 1, 0.5, 0, 1, 0);
    weirp_gate_feedback(&g, 7, 0.5, 0, 1, 0);
    weirp_gate_feedback(&g, 0, 0, 0, 1, 0);
    weirp_gate_feedback(&g, 0, NAN, 0, 1, 0);
    weirp_gate_feedback(&g, 0, 0.5, NAN, 1, 0);
    weirp_gate_feedback(&g, 0, 0.5, 1.5, 1, 0);
    weirp_gate_decision(&g, 1, 0.5, 0, true, 0);
    assert_int_equal(g.n_feedback, 0);
    assert_int_equal(g.n_decisions, 0);
    assert_int_equal(g.n_late, 2);
    weirp_gate_feedback(&g, 0, 0.9, 0, 1, 0);
    assert_int_equal(g.n_feedback, 1);
}

static void a_step_takes_its_feedback_and_its_time(void **state) {
    (void)state;
    weirp_gate_plan plan = plan_of(1, 2, two_steps); /* nothing is harm */
    plan.margin_error = 1;
    plan.min_feedback = 5;
    plan.hold_ms = 1000;
    weirp_gate g;
    weirp_gate_start(&g, &plan, 100);
    for (int i = 0; i < 400; i++)
        assert_false(weirp_gate_decision(&g, 0, i % 10 ? 0.9 : 0.1, i % 10 ? 0 : 1, false, 100));
    for (int i = 0; i < 400; i++) weirp_gate_feedback(&g, 0, i % 10 ? 0.9 : 0.1, i % 10 ? 0 : 1, 1, 100);
    assert_int_equal(g.step, 0);
    assert_false(weirp_gate_tick(&g, 1099));
    assert_true(weirp_gate_tick(&g, 1100));
    assert_int_equal(g.step, 1);
    assert_int_equal(g.n_feedback, 0);
    assert_int_equal(g.event[g.n_events - 1].change, WEIRP_GATE_ADVANCED);
    assert_int_equal(g.event[g.n_events - 1].n_feedback, 400);
    assert_false(weirp_gate_tick(&g, 9999)); /* without feedback nothing passes */
    plan.hold_ms = 0;
    plan.min_feedback = 1000000;
    weirp_gate_retune(&g, &plan);
    for (int i = 0; i < 400; i++) weirp_gate_feedback(&g, 1, 0.5, i % 2, 1, 9999);
    assert_int_equal(g.status, WEIRP_GATE_RUNNING);
    assert_near(weirp_gate_needs(&g), 1000000 - 400, 0);
    assert_false(weirp_gate_tick(&g, 9999));
    plan.min_feedback = 400; /* loosened: nothing more has to come for it to go on */
    weirp_gate_retune(&g, &plan);
    assert_true(weirp_gate_tick(&g, 9999));
    assert_int_equal(g.status, WEIRP_GATE_PASSED);
    assert_false(weirp_gate_tick(&g, 9999));
}

static void plans_are_checked(void **state) {
    (void)state;
    weirp_gate_plan p = plan_of(0.1, 2, two_steps);
    p.step[1] = p.step[0];
    assert_non_null(weirp_gate_check(&p));
    p = plan_of(0.1, 2, two_steps);
    p.n_steps = 0;
    assert_non_null(weirp_gate_check(&p));
    p = plan_of(0.1, 2, two_steps);
    p.step[1] = 1;
    assert_non_null(weirp_gate_check(&p));
    p = plan_of(0.1, 2, two_steps);
    p.level = NAN;
    assert_non_null(weirp_gate_check(&p));
    p = plan_of(0.1, 2, two_steps);
    p.shadow = true;
    assert_non_null(weirp_gate_check(&p));
}

/* ---- bytes ---- */

static void what_is_stored_goes_on(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
    const world equal = {{0.7, 0.7}, {0.02, 0.02}, 0.5};
    for (size_t most = 0; most < 6000; most += 997) {
        weirp_gate a = run(&plan, &equal, 3, most), b;
        weirp_writer x = {0}, y = {0};
        weir_error err = {0};
        weirp_gate_save(&a, &x);
        assert_int_equal(weirp_gate_load(&b, x.data, x.size, &err), WEIR_OK);
        for (int i = 0; i < 50; i++) {
            const double q = i % 3 == 0, p = i % 10 ? 0.95 : 0.05, c = i % 10 ? 0.5 : 0.5;
            assert_int_equal(weirp_gate_feedback(&a, a.step, p, c, q, i), weirp_gate_feedback(&b, b.step, p, c, q, i));
            assert_int_equal(weirp_gate_decision(&a, a.step, p, c, !q, i),
                             weirp_gate_decision(&b, b.step, p, c, !q, i));
        }
        x.size = 0;
        weirp_gate_save(&a, &x);
        weirp_gate_save(&b, &y);
        assert_int_equal(x.size, y.size);
        assert_memory_equal(x.data, y.data, x.size);
        weirp_writer_free(&x);
        weirp_writer_free(&y);
    }
}

static void any_bytes_are_taken_or_refused(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
    const world equal = {{0.7, 0.7}, {0.02, 0.02}, 0.5};
    const weirp_gate whole = run(&plan, &equal, 3, 3000);
    weirp_writer w = {0};
    weirp_gate_save(&whole, &w);
    for (size_t n = 0; n < w.size; n++) {
        weirp_gate g;
        weir_error err = {0};
        uint8_t *exact = malloc(n ? n : 1); /* so that a sanitizer sees a step beyond */
        memcpy(exact, w.data, n);
        assert_int_equal(weirp_gate_load(&g, exact, n, &err), WEIR_CORRUPT);
        assert_int_equal(g.plan.digest, 0);
        free(exact);
    }
    size_t taken = 0;
    for (uint64_t t = 0; t < 4000; t++) {
        weirp_gate g;
        weir_error err = {0};
        const size_t at = (size_t)(weirp_random_uniform(9, 1, t) * (double)w.size);
        const uint8_t old = w.data[at];
        w.data[at] = (uint8_t)(old ^ (1u << (t % 8)));
        if (weirp_gate_load(&g, w.data, w.size, &err) == WEIR_OK) {
            taken++;
            weirp_gate_feedback(&g, g.step, 0.95, 0, 1, 5);
            weirp_gate_decision(&g, g.step, 0.05, 1, true, 5);
            assert_true(isfinite(g.quality_now.lo) && isfinite(g.error_now.hi));
            (void)weirp_gate_needs(&g);
        }
        w.data[at] = old;
    }
    assert_true(taken > 0 && taken < 4000);
    assert_int_equal(w.data[0], 3);
    w.data[0] = 9;
    weirp_gate g;
    weir_error err = {0};
    assert_int_equal(weirp_gate_load(&g, w.data, w.size, &err), WEIR_NEWER);
    weirp_writer_free(&w);
}

static void long_policies_are_stored(void **state) {
    (void)state;
    for (size_t n = 1; n < WEIRP_GATE_POLICY; n++) {
        weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
        weirp_gate a, b;
        weirp_writer w = {0};
        weir_error err = {0};
        memset(plan.candidate, 'x', n);
        plan.candidate[n] = '\0';
        weirp_gate_start(&a, &plan, 5);
        weirp_gate_save(&a, &w);
        assert_false(w.failed);
        assert_int_equal(weirp_gate_load(&b, w.data, w.size, &err), WEIR_OK);
        assert_string_equal(b.plan.candidate, plan.candidate);
        assert_string_equal(b.plan.base, plan.base);
        assert_true(b.plan.digest == plan.digest && b.since_ms == 5 && b.n_events == 1);
        weirp_writer_free(&w);
    }
}

/* The bytes of versions 1 and 2: sequences without the sum of outcomes, and none of weights. */
static void save_as_before(const weirp_gate *g, uint32_t version, weirp_writer *w) {
    const weirp_sequence *const all[] = {&g->quality, &g->error};
    weirp_writer now = {0};
    weirp_gate_save(g, &now);
    const size_t capital = sizeof g->quality.capital, one = capital + 6 * sizeof(double);
    const size_t tail = sizeof(uint32_t) + g->n_events * (8 + 4 + 4 + 8 + 8 + 32);
    weirp_put_u32(w, version);
    weirp_put(w, now.data + 4, now.size - tail - 4 * one - 4);
    for (int i = 0; i < 2; i++) {
        weirp_put_u64(w, all[i]->n);
        weirp_put_f64(w, all[i]->sum);
        weirp_put_f64(w, all[i]->sum_guess);
        weirp_put_f64(w, all[i]->slope_num);
        weirp_put_f64(w, all[i]->slope_den);
        weirp_put(w, all[i]->capital, capital);
    }
    weirp_put(w, now.data + now.size - tail, tail);
    weirp_writer_free(&now);
}

/* An older state keeps its rollout, its step, its history and its end; what the step had counted is counted anew. */
static void older_steps_begin_anew(void **state) {
    (void)state;
    const weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
    const world equal = {{0.7, 0.7}, {0.02, 0.02}, 0.5}, worse = {{0.8, 0.3}, {0, 0}, 1};
    for (uint32_t version = 1; version <= 2; version++)
        for (int i = 0; i < 2; i++) {
            const weirp_gate a = run(&plan, i ? &worse : &equal, 3, i ? 3000 : 300);
            weirp_gate b;
            weirp_writer w = {0};
            weir_error err = {0};
            assert_int_equal(a.status, i ? WEIRP_GATE_STOPPED : WEIRP_GATE_RUNNING);
            save_as_before(&a, version, &w);
            assert_int_equal(weirp_gate_load(&b, w.data, w.size, &err), WEIR_OK);
            assert_true(b.status == a.status && b.step == a.step && b.since_ms == a.since_ms);
            assert_true(b.plan.digest == a.plan.digest && b.n_events == a.n_events);
            assert_int_equal(b.event[b.n_events - 1].n_feedback, a.event[a.n_events - 1].n_feedback);
            assert_true(b.n_feedback == 0 && b.quality.n == 0 && b.labels.n == 0);
            weirp_writer_free(&w);
        }
}

/* A state that has the policies' kinds alone goes on, with their whole texts from then on. */
static void older_names_are_taken_over(void **state) {
    (void)state;
    weirp_gate_plan plan = plan_of(0.15, 2, two_steps);
    weirp_gate a, b;
    weirp_writer w = {0};
    weir_error err = {0};
    strcpy(plan.base, "plugin");
    strcpy(plan.candidate, "plugin");
    weirp_gate_start(&a, &plan, 5);
    weirp_gate_decision(&a, 0, 0.95, 0, false, 6);
    weirp_gate_save(&a, &w);
    assert_int_equal(weirp_gate_load(&b, w.data, w.size, &err), WEIR_OK);
    assert_string_equal(b.plan.candidate, "plugin");
    strcpy(plan.base, "plugin,value=0.02");
    strcpy(plan.candidate, "plugin,value=0.04");
    weirp_gate_retune(&b, &plan);
    assert_string_equal(b.plan.base, "plugin,value=0.02");
    assert_string_equal(b.plan.candidate, "plugin,value=0.04");
    assert_int_equal(b.n_decisions, 1);
    weirp_writer_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mixture_is_what_is_drawn_from),
        cmocka_unit_test(shadow_leaves_the_base_alone),
        cmocka_unit_test(harm_stops),
        cmocka_unit_test(an_equal_one_passes),
        cmocka_unit_test(the_level_holds),
        cmocka_unit_test(slow_is_no_harm),
        cmocka_unit_test(uneven_labels_hold_it_up),
        cmocka_unit_test(shadow_learns_from_the_floor),
        cmocka_unit_test(other_steps_and_other_chances_dont_count),
        cmocka_unit_test(a_step_takes_its_feedback_and_its_time),
        cmocka_unit_test(plans_are_checked),
        cmocka_unit_test(what_is_stored_goes_on),
        cmocka_unit_test(any_bytes_are_taken_or_refused),
        cmocka_unit_test(long_policies_are_stored),
        cmocka_unit_test(older_steps_begin_anew),
        cmocka_unit_test(older_names_are_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What few events leave open: limits worked out by hand, and logs drawn with a known truth.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ope_made.h"
#include "src/base/base.h"
#include "src/ope/judge.h"

/* ---- limits ---- */

enum { WEIGHT, EVENTS, ROWS, OTHER_WEIGHT, OTHER_EVENTS, N_COLUMNS };
static const double LEVEL = 0.95;

static weirp_sums sums_of(size_t n) {
    weirp_sums s;
    weir_error err = {0};
    must(weirp_sums_init(&s, n, N_COLUMNS, &err), &err);
    for (size_t c = 0; c < n; c++) s.x[c * N_COLUMNS + ROWS] = 1;
    return s;
}

static void set(weirp_sums *s, size_t c, size_t column, double weight, double event) {
    s->x[c * N_COLUMNS + column] = weight;
    s->x[c * N_COLUMNS + column + 1] = weight * event;
}

/* What an interval without any width lacks. Outcomes lie in [0,1]. */
static weirp_interval lacking(weirp_sums *s, bool difference) {
    const weirp_ratio none = {.add = WEIRP_NO_COLUMN, .add_den = WEIRP_NO_COLUMN, .factor = 1};
    weirp_ratio mean[2] = {none, none};
    mean[0].num = EVENTS, mean[0].den = WEIGHT;
    mean[1].num = OTHER_EVENTS, mean[1].den = OTHER_WEIGHT, mean[1].factor = -1;
    weirp_sums_finish(s);
    const double a = s->total[EVENTS] / s->total[WEIGHT], b = s->total[OTHER_EVENTS] / s->total[OTHER_WEIGHT];
    weirp_unseen u = {.mean = {mean, difference ? 2 : 1},
                      .a = {.weight = WEIGHT, .rows = ROWS, .up = 1 - a, .down = a},
                      .b = {.weight = WEIRP_NO_COLUMN, .rows = WEIRP_NO_COLUMN}};
    if (difference) u.b = (weirp_unseen_side){.weight = OTHER_WEIGHT, .rows = ROWS, .up = 1 - b, .down = b};
    return weirp_unseen_shortfall(&u, s, LEVEL, 0.5, (weirp_interval){0.5, 0.5});
}

static void near(double x, double right, double by, const char *what) {
    if (!(fabs(x - right) <= by * fabs(right))) fail_msg("%s: %.17g, not %.17g", what, x, right);
}

static void no_event_is_clopper_and_pearson(void **state) {
    (void)state;
    static const double outcome[] = {0, 1, 0.25};
    for (size_t n = 50; n < 50000; n *= 10)
        for (size_t k = 0; k < sizeof outcome / sizeof *outcome; k++) {
            weirp_sums s = sums_of(n);
            for (size_t c = 0; c < n; c++) set(&s, c, WEIGHT, 3, outcome[k]);
            const weirp_interval i = lacking(&s, false);
            const double most = 1 - pow(0.025, 1 / (double)n); /* (1 - most)^n = 2.5 % */
            assert_true(fabs(i.hi - most * (1 - outcome[k])) < 1e-9 && fabs(i.lo - most * outcome[k]) < 1e-9);
            weirp_sums_free(&s);
        }
}

/* Exact upper limits after k events (Garwood's table), of so many rows that one is next to nothing. */
static void few_events_are_poissons(void **state) {
    (void)state;
    static const struct {
        size_t k;
        double upper, counts; /* and how much of it counts */
    } cases[] = {{1, 5.5716, 1}, {3, 8.7673, 1}, {4, 10.242, 1}, {5, 11.668, 0.9}, {16, 25.983, 0}, {40, 54.469, 0}};
    enum { N = 20000 };
    for (size_t turned = 0; turned < 2; turned++) /* the same of those that failed, and of those that didn't */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            weirp_sums s = sums_of(N);
            for (size_t c = 0; c < N; c++) set(&s, c, WEIGHT, 1, (c % 400 == 0 && c / 400 < cases[i].k) != turned);
            const weirp_interval r = lacking(&s, false);
            const double more = cases[i].upper - (double)cases[i].k;
            near((turned ? r.lo : r.hi) * N, more * cases[i].counts, 1e-3, "in that direction");
            /* Fewer than were seen: the t interval has that. Nobody asks for more than the lower limit. */
            assert_true((turned ? r.hi : r.lo) * N <= (double)cases[i].k);
            weirp_sums_free(&s);
        }
}

/* Rows of weight 1 and of 20: as many as (sum w)^2 / sum w^2 say. */
static void weights_make_fewer_rows(void **state) {
    (void)state;
    enum { N = 1000 };
    weirp_sums s = sums_of(N);
    double sum = 0, square = 0;
    for (size_t c = 0; c < N; c++) {
        const double w = c % 20 ? 1 : 20;
        set(&s, c, WEIGHT, w, 0);
        sum += w;
        square += w * w;
    }
    near(lacking(&s, false).hi, 1 - pow(0.025, square / (sum * sum)), 1e-9, "no event");
    weirp_sums_free(&s);
}

/* Of what both sides have in common nothing is unseen, unless a cluster has several rows. */
static void what_both_have_is_no_difference(void **state) {
    (void)state;
    enum { N = 400, APART = 100 };
    weirp_sums s = sums_of(N);
    for (size_t c = 0; c < N; c++) set(&s, c, WEIGHT, 1, 1), set(&s, c, OTHER_WEIGHT, 1, 1);
    weirp_interval i = lacking(&s, true);
    assert_true(i.lo == 0 && i.hi == 0);
    /* One side takes a quarter of the rows, the other all: 1/100 - 1/400 of each of those more than the other has. */
    for (size_t c = APART; c < N; c++) set(&s, c, WEIGHT, 0, 0);
    i = lacking(&s, true);
    const double most = APART * (1. / APART - 1. / N);
    near(i.lo, most * (1 - pow(0.025, (1. / APART - 1. / N) / most)), 1e-9, "failures of the one");
    near(i.hi, most * (1 - pow(0.025, 1. / N / most)), 1e-9, "failures of the other");
    for (size_t c = 0; c < N; c++) s.x[c * N_COLUMNS + ROWS] = 2;
    i = lacking(&s, true);
    near(i.lo, 1 - pow(0.025, 1. / APART), 1e-9, "of the one alone");
    near(i.hi, 1 - pow(0.025, 1. / N), 1e-9, "of the other alone");
    weirp_sums_free(&s);
}

/* What reaches so far lacks nothing; what isn't known, or has no end, neither. */
static void it_is_only_what_is_lacking(void **state) {
    (void)state;
    enum { N = 100 };
    weirp_sums s = sums_of(N);
    for (size_t c = 0; c < N; c++) set(&s, c, WEIGHT, 1, 0);
    const double all = lacking(&s, false).hi;
    const weirp_ratio mean = {
        .num = EVENTS, .den = WEIGHT, .add = WEIRP_NO_COLUMN, .add_den = WEIRP_NO_COLUMN, .factor = 1};
    const weirp_unseen u = {.mean = {&mean, 1},
                            .a = {.weight = WEIGHT, .rows = ROWS, .up = 1, .down = 0},
                            .b = {.weight = WEIRP_NO_COLUMN, .rows = WEIRP_NO_COLUMN}};
    static const double reach[] = {0, 0.01, 0.04, INFINITY};
    for (size_t k = 0; k < sizeof reach / sizeof *reach; k++) {
        const weirp_interval i = weirp_unseen_shortfall(&u, &s, LEVEL, 0.1, (weirp_interval){0.1, 0.1 + reach[k]});
        assert_true(i.lo == 0 && fabs(i.hi - fmax(0, all - reach[k])) < 1e-12);
    }
    const weirp_interval i = weirp_unseen_shortfall(&u, &s, LEVEL, NAN, (weirp_interval){NAN, NAN});
    assert_true(i.lo == 0 && i.hi == 0);
    weirp_sums_free(&s);
}

/* ---- whole judgements ---- */

/* Logs of two models, the second of which is tried with a small chance and judged as the candidate. */
typedef struct setting {
    weir_metric metric;
    size_t n, session; /* rows; of a session, whose outcomes are alike; 0: no sessions */
    double chance, mean[2];
} setting;

typedef struct found {
    size_t better, worse, refused, covered, difference_covered, widened;
    double width;
} found;

static weirp_ope_table *drawn(const setting *s, uint64_t seed) {
    static const char *const names[] = {"a", "b"};
    const double chances[] = {1 - s->chance, s->chance};
    weirp_ope_table *table = table_of(names, 2);
    for (size_t i = 0; i < s->n; i++) {
        const size_t from = s->session ? i / s->session : i;
        const size_t chosen = weirp_random_uniform(seed, 1, i) < s->chance;
        char session[32] = "";
        if (s->session) snprintf(session, sizeof session, "s%zu", from);
        weirp_logged_row row = row_new(chosen, chances[chosen]);
        row.session = session;
        row.propensity = chances;
        row.metric[s->metric] = weirp_random_uniform(seed, 2 + chosen, from) < s->mean[chosen];
        table_row(table, &row, 2);
    }
    table_done(table);
    return table;
}

static void count(found *f, const setting *s, const weir_ope *r) {
    const weirp_contrast *c = &r->contrast[0];
    const weirp_cell_result *cell = &r->cell[s->metric];
    const weirp_ope_standing *standing = &cell->standing;
    const double ran = (1 - s->chance) * s->mean[0] + s->chance * s->mean[1], truth = s->mean[1] - ran;
    weirp_interval t = {NAN, NAN};
    for (size_t e = 0; e < cell->n_estimates; e++)
        if (!strcmp(weirp_ope_estimators[e].name, r->recommended)) t = cell->estimate[e].t;
    f->refused += c->verdict == WEIRP_VERDICT_REFUSED;
    if (c->verdict == WEIRP_VERDICT_REFUSED) return;
    f->better += c->verdict == WEIRP_VERDICT_BETTER;
    f->worse += c->verdict == WEIRP_VERDICT_WORSE;
    f->covered += t.lo - standing->bound_lo <= s->mean[1] && s->mean[1] <= t.hi + standing->bound_hi;
    f->difference_covered += c->interval.lo <= truth && truth <= c->interval.hi;
    f->widened += standing->bound_lo > 0 || standing->bound_hi > 0;
    f->width += fmin(t.hi + standing->bound_hi, 1) - fmax(t.lo - standing->bound_lo, 0);
}

static found try_logs(const setting *s, size_t n) {
    static const char *const policies[] = {"fixed,model=b"};
    found f = {0};
    for (size_t i = 0; i < n; i++) {
        weir_error err = {0};
        weirp_ope_settings settings;
        weirp_ope_target *target;
        weir_ope r = {.n_rows = 0};
        weirp_ope_table *table = drawn(s, weirp_mix64(i + 1));
        const weir_ope_options o = {.policies = policies, .n_policies = 1, .n_threads = 1, .n_bootstrap = 20};
        must(weirp_ope_settle(&settings, &o, table, &err), &err);
        must(weirp_ope_target_new(&target, policies[0], table, NULL, &err), &err);
        must(weirp_ope_judge(&r, table, &target, 1, &settings, NULL, &err), &err);
        count(&f, s, &r);
        weirp_ope_target_free(target);
        weirp_ope_table_free(table);
        weirp_ope_clear(&r);
    }
    return f;
}

/* Both models are alike: what is told is false. A candidate that was tried 150 times makes no error in one log of five.
 */
static void what_is_rare_is_not_told_falsely(void **state) {
    (void)state;
    enum { LOGS = 200 };
    static const setting all[] = {{WEIR_METRIC_ERROR, 3000, 0, 0.05, {0.01, 0.01}},
                                  {WEIR_METRIC_ERROR, 1000, 0, 0.1, {0.02, 0.02}},
                                  {WEIR_METRIC_QUALITY, 1500, 0, 0.05, {0.98, 0.98}},
                                  {WEIR_METRIC_QUALITY, 1500, 0, 0.1, {0.95, 0.95}},
                                  {WEIR_METRIC_ERROR, 3000, 3, 0.05, {0.01, 0.01}}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const found f = try_logs(&all[i], LOGS);
        const double judged = (double)(LOGS - f.refused);
        if (!(judged > 0.8 * LOGS && (double)f.better <= 0.05 * judged && (double)f.worse <= 0.05 * judged &&
              (double)f.covered >= 0.93 * judged && (double)f.difference_covered >= 0.93 * judged))
            fail_msg("setting %zu: of %g %zu better, %zu worse, %zu and %zu covered", i, judged, f.better, f.worse,
                     f.covered, f.difference_covered);
    }
}

/* Where there are events enough it is the t interval, to the last bit. */
static void what_is_common_stays(void **state) {
    (void)state;
    static const setting all[] = {{WEIR_METRIC_QUALITY, 1500, 0, 0.1, {0.5, 0.5}},
                                  {WEIR_METRIC_QUALITY, 1500, 0, 0.1, {0.7, 0.6}},
                                  {WEIR_METRIC_QUALITY, 3000, 3, 0.2, {0.85, 0.85}}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) assert_int_equal(try_logs(&all[i], 50).widened, 0);
}

/* A true difference is told all the same. */
static void what_differs_is_told(void **state) {
    (void)state;
    const setting s = {WEIR_METRIC_ERROR, 4000, 0, 0.2, {0.05, 0.001}};
    const found f = try_logs(&s, 100);
    assert_true(f.better >= 98 && f.worse == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_event_is_clopper_and_pearson),
        cmocka_unit_test(few_events_are_poissons),
        cmocka_unit_test(weights_make_fewer_rows),
        cmocka_unit_test(what_both_have_is_no_difference),
        cmocka_unit_test(it_is_only_what_is_lacking),
        cmocka_unit_test(what_is_rare_is_not_told_falsely),
        cmocka_unit_test(what_is_common_stays),
        cmocka_unit_test(what_differs_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

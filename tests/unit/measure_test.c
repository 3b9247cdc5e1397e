/* Measures: hand-worked cases (tests/cases/measure.json), and the exact curve against trying every value.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/measure/measure.h"

static json_t *cases;

static int open_cases(void **state) {
    (void)state;
    json_error_t e;
    cases = json_load_file(WEIR_SOURCE_DIR "/tests/cases/measure.json", 0, &e);
    if (!cases) print_error("measure.json:%d: %s\n", e.line, e.text);
    return cases ? 0 : -1;
}

static int close_cases(void **state) {
    (void)state;
    json_decref(cases);
    return 0;
}

static double number(const json_t *v) {
    return json_is_null(v) ? NAN : json_number_value(v);
}

/* An array, or an array of arrays of one length, in one row-major table; *rows may be NULL. */
static double *table(const json_t *array, size_t *rows, size_t *columns) {
    const size_t n = json_array_size(array);
    const json_t *first = json_array_get(array, 0);
    const size_t m = json_is_array(first) ? json_array_size(first) : 1;
    double *out = weirp_array(n * m, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(array, i);
        for (size_t k = 0; k < m; k++) out[i * m + k] = number(json_is_array(row) ? json_array_get(row, k) : row);
    }
    if (rows) *rows = n;
    if (columns) *columns = m;
    return out;
}

static double at(const json_t *array, size_t i) {
    return number(json_array_get(array, i));
}

static void assert_near(double a, double b, double tolerance) {
    if (isnan(a) && isnan(b)) return;
    if (!(fabs(a - b) <= tolerance)) print_error("%.17g is not %.17g\n", a, b);
    assert_true(fabs(a - b) <= tolerance);
}

static void curves_by_hand(void **state) {
    (void)state;
    size_t index;
    json_t *c;
    json_array_foreach(json_object_get(cases, "curves"), index, c) {
        size_t n, m, n_points;
        double *q_hat = table(json_object_get(c, "q_hat"), &n, &m);
        double *c_hat = table(json_object_get(c, "c_hat"), NULL, NULL);
        double *quality = table(json_object_get(c, "quality"), NULL, NULL);
        double *cost = table(json_object_get(c, "cost"), NULL, NULL);
        const json_t *range = json_object_get(c, "range"), *want = json_object_get(c, "points");
        const json_t *between = json_object_get(c, "between");
        weirp_point *points;
        double aiq;
        assert_int_equal(weirp_value_curve(q_hat, c_hat, quality, cost, n, m, &points, &n_points, NULL), WEIR_OK);
        if (n_points != json_array_size(want)) print_error("%s\n", json_string_value(json_object_get(c, "name")));
        assert_int_equal(n_points, json_array_size(want));
        for (size_t i = 0; i < n_points; i++) {
            assert_near(points[i].cost, at(json_array_get(want, i), 0), 1e-12);
            assert_near(points[i].quality, at(json_array_get(want, i), 1), 1e-12);
            if (i > 0) assert_true(points[i].value > at(between, i - 1));
            if (i + 1 < n_points) assert_true(points[i].value < at(between, i));
        }
        assert_int_equal(weirp_aiq(q_hat, c_hat, quality, cost, n, m, at(range, 0), at(range, 1), &aiq, NULL), WEIR_OK);
        assert_near(aiq, number(json_object_get(c, "aiq")), 1e-12);
        free(points), free(q_hat), free(c_hat), free(quality), free(cost);
    }
    assert_true(index >= 10);
}

static void hulls_by_hand(void **state) {
    (void)state;
    size_t index;
    json_t *c;
    json_array_foreach(json_object_get(cases, "hulls"), index, c) {
        const json_t *in = json_object_get(c, "points"), *want = json_object_get(c, "hull");
        const json_t *range = json_object_get(c, "range");
        weirp_point p[8];
        const size_t n = json_array_size(in);
        assert_true(n <= 8);
        for (size_t i = 0; i < n; i++)
            p[i] = (weirp_point){at(json_array_get(in, i), 0), at(json_array_get(in, i), 1), NAN};
        const size_t h = weirp_hull(p, n);
        if (h != json_array_size(want)) print_error("%s\n", json_string_value(json_object_get(c, "name")));
        assert_int_equal(h, json_array_size(want));
        for (size_t i = 0; i < h; i++) {
            assert_near(p[i].cost, at(json_array_get(want, i), 0), 0);
            assert_near(p[i].quality, at(json_array_get(want, i), 1), 0);
        }
        assert_near(weirp_hull_area(p, h, at(range, 0), at(range, 1)), number(json_object_get(c, "area")), 1e-12);
    }
    assert_true(index >= 5);
}

static void reaching_a_quality(void **state) {
    (void)state;
    weirp_point p[] = {{1, 0.5, NAN}, {3, 0.4, NAN}, {2, 0.75, NAN}, {4, 1, NAN}};
    assert_near(weirp_points_cost(p, 4, 0.6), 2, 0);
    assert_near(weirp_points_cost(p, 4, 0.75 + 1e-14), 2, 0);
    assert_true(isnan(weirp_points_cost(p, 4, 1.01)));
    const size_t h = weirp_hull(p, 4);
    assert_int_equal(h, 3);
    assert_near(weirp_hull_cost(p, h, 0.6), 1.4, 1e-12);
    assert_near(weirp_hull_cost(p, h, 0.2), 1, 0);
    assert_true(isnan(weirp_hull_cost(p, h, 1.01)));
    assert_near(weirp_hull_at(p, h, 3), 0.875, 1e-12);
    assert_near(weirp_hull_at(p, h, 0.9), 0, 0);
    assert_near(weirp_hull_at(p, h, 9), 1, 0);
}

/* Random tables; `levels` > 0 rounds the estimates, so that there are many ties. */
static void make_tables(double *t[4], size_t n, size_t m, uint64_t seed, double levels) {
    for (int k = 0; k < 4; k++) {
        t[k] = weirp_array(n * m, sizeof **t);
        assert_non_null(t[k]);
        for (size_t i = 0; i < n * m; i++) {
            const double u = weirp_random_uniform(seed, (uint64_t)k, i);
            t[k][i] = k == 2 ? (u < 0.6) : levels > 0 ? ceil(u * levels) / levels : u + 1e-3;
            if (k == 1 || k == 3) t[k][i] *= (double)(1 + i % m);
        }
    }
}

/* What argmin value*(1-q)+c gives at one value, by trying every model. */
static weirp_point try_value(double *const t[4], size_t n, size_t m, double value) {
    weirp_point p = {0, 0, value};
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t k = 1; k < m; k++)
            if (value * (1 - t[0][i * m + k]) + t[1][i * m + k] < value * (1 - t[0][i * m + best]) + t[1][i * m + best])
                best = k;
        p.cost += t[3][i * m + best] / (double)n;
        p.quality += t[2][i * m + best] / (double)n;
    }
    return p;
}

/* Every value that could matter lies between two crossings of any two lines of any prompt. */
static size_t crossings(double *const t[4], size_t n, size_t m, double *values) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; a < m; a++)
            for (size_t b = 0; b < m; b++)
                if (t[0][i * m + b] > t[0][i * m + a] && t[1][i * m + b] > t[1][i * m + a])
                    values[count++] = (t[1][i * m + b] - t[1][i * m + a]) / (t[0][i * m + b] - t[0][i * m + a]);
    weirp_percentile(values, count, 0); /* sorts */
    return count;
}

static void curve_is_exact(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const size_t n = 5 + seed * 3, m = 2 + seed % 6;
        double *t[4];
        make_tables(t, n, m, seed, 0);
        double *values = weirp_array(n * m * m + 2, sizeof *values);
        const size_t count = crossings(t, n, m, values);
        weirp_point *tried = weirp_array(count + 1, sizeof *tried), *points;
        for (size_t v = 0; v <= count; v++) {
            const double lo = v == 0 ? values[0] / 2 : values[v - 1], hi = v == count ? 2 * lo : values[v];
            tried[v] = try_value(t, n, m, sqrt(lo * hi));
        }
        size_t n_points;
        assert_int_equal(weirp_value_curve(t[0], t[1], t[2], t[3], n, m, &points, &n_points, NULL), WEIR_OK);
        /* each point is what its own value gives, and each value gives one of the points */
        for (size_t i = 1; i < n_points; i++) {
            const weirp_point p = try_value(t, n, m, points[i].value);
            assert_near(p.cost, points[i].cost, 1e-12);
            assert_near(p.quality, points[i].quality, 1e-12);
        }
        for (size_t v = 0; v <= count; v++) {
            double nearest = INFINITY;
            for (size_t i = 0; i < n_points; i++)
                nearest = fmin(nearest, hypot(points[i].cost - tried[v].cost, points[i].quality - tried[v].quality));
            assert_true(nearest < 1e-12);
        }
        double aiq;
        assert_int_equal(weirp_aiq(t[0], t[1], t[2], t[3], n, m, 0.2, 2, &aiq, NULL), WEIR_OK);
        assert_near(aiq, weirp_hull_area(tried, weirp_hull(tried, count + 1), 0.2, 2), 1e-12);
        free(points), free(tried), free(values);
        for (int k = 0; k < 4; k++) free(t[k]);
    }
}

/* A resample by weights is the same as repeating and dropping rows. */
static void weights_repeat_rows(void **state) {
    (void)state;
    enum { N = 40, M = 4 };
    for (uint64_t seed = 1; seed <= 6; seed++) {
        double *t[4], *r[4], weight[N] = {0};
        make_tables(t, N, M, seed, seed % 2 ? 0 : 6);
        for (int k = 0; k < 4; k++) r[k] = weirp_array(N * M, sizeof **r);
        for (size_t i = 0; i < N; i++) {
            const size_t from = weirp_random_u64(seed, 9, i) % N;
            weight[from]++;
            for (int k = 0; k < 4; k++) memcpy(r[k] + i * M, t[k] + from * M, M * sizeof **r);
        }
        weirp_path path;
        assert_int_equal(weirp_path_plugin(&path, t[0], t[1], t[2], t[3], N, M, NULL), WEIR_OK);
        weirp_point *points = weirp_array(path.n_steps + 1, sizeof *points);
        const size_t n_points = weirp_path_points(&path, weight, points);
        double aiq;
        assert_int_equal(weirp_aiq(r[0], r[1], r[2], r[3], N, M, 0.1, 3, &aiq, NULL), WEIR_OK);
        assert_near(weirp_hull_area(points, weirp_hull(points, n_points), 0.1, 3), aiq, 1e-12);
        /* ranks too */
        uint32_t order[N];
        const double x[2] = {0.5, 0.8};
        double a[2], cpt[2][2], gap[2][N], weak[2][N], strong[2][N];
        for (size_t i = 0; i < N; i++) {
            gap[0][i] = t[0][i * M + 1] - t[0][i * M], gap[1][i] = r[0][i * M + 1] - r[0][i * M];
            weak[0][i] = t[2][i * M] / 2, weak[1][i] = r[2][i * M] / 2;
            strong[0][i] = t[2][i * M + 1], strong[1][i] = r[2][i * M + 1];
        }
        size_t ranked, auc_ranked;
        assert_int_equal(weirp_rank(gap[0], gap[0], N, 1, order, &ranked, NULL), WEIR_OK);
        assert_int_equal(ranked, N);
        weirp_apgr_ranked(order, ranked, gap[0], weak[0], strong[0], weight, x, 2, &a[0], cpt[0]);
        assert_int_equal(weirp_apgr(gap[1], weak[1], strong[1], N, x, 2, &a[1], cpt[1], NULL), WEIR_OK);
        assert_near(a[0], a[1], 1e-12);
        assert_near(cpt[0][0], cpt[1][0], 1e-12);
        assert_near(cpt[0][1], cpt[1][1], 1e-12);
        assert_int_equal(weirp_rank(t[0], t[2], N, M, order, &auc_ranked, NULL), WEIR_OK);
        assert_near(weirp_auc_ranked(order, auc_ranked, t[0], t[2], M, weight), weirp_auc(r[0], r[2], N, M), 1e-12);
        assert_near(weirp_r2_table(t[1], t[3], N, M, (size_t)-1, weight), weirp_r2(r[1], r[3], N * M), 1e-12);
        free(points);
        weirp_path_free(&path);
        for (int k = 0; k < 4; k++) free(t[k]), free(r[k]);
    }
}

/* Many points: the short way to the hull gives the long way's, and a thinned curve has the same AIQ. */
static void many_points(void **state) {
    (void)state;
    enum { N = 5000, M = 5 };
    double *t[4], aiq;
    make_tables(t, N, M, 77, 0);
    for (size_t i = 0; i < (size_t)N * M; i++) t[0][i] = 0.4 + 0.2 * t[2][i] + 0.3 * t[0][i] + 0.02 * (double)(i % M);
    weirp_point *points;
    size_t n_points;
    assert_int_equal(weirp_value_curve(t[0], t[1], t[2], t[3], N, M, &points, &n_points, NULL), WEIR_OK);
    assert_in_range(n_points, 400, 4000);
    for (size_t i = 1; i < n_points; i++) assert_true(points[i].value > points[i - 1].value);
    assert_int_equal(weirp_aiq(t[0], t[1], t[2], t[3], N, M, 0.3, 4, &aiq, NULL), WEIR_OK);
    assert_near(weirp_hull_area(points, weirp_hull(points, n_points), 0.3, 4), aiq, 1e-12);
    free(points);
    for (int k = 0; k < 4; k++) free(t[k]);
}

/* However unevenly a curve moves, thinning leaves about what it was asked for, in order, with both ends. */
static void thinning_leaves_enough(void **state) {
    (void)state;
    enum { N = 3000, TARGET = 600 };
    weirp_point *points = weirp_array(N, sizeof *points), *hull = weirp_array(N, sizeof *hull);
    for (int kind = 0; kind < 4; kind++) {
        size_t n = N;
        for (size_t i = 0; i < N; i++) {
            const double t = (double)i / N, jump = (double)(i / 700);
            points[i].cost = kind == 0 ? 1 : kind == 1 ? exp(t) : kind == 2 ? exp(9 * jump) : pow(10, 8 * t * t * t);
            points[i].quality = kind == 0   ? 0.5
                                : kind == 1 ? t * t
                                : kind == 2 ? jump / 9 + 1e-6 * t
                                            : t - 0.01 * (double)(i % 3);
            points[i].value = (double)i;
        }
        memcpy(hull, points, N * sizeof *points);
        const size_t h = weirp_hull(hull, N);
        bool *keep = weirp_array(N, sizeof *keep);
        keep[1234] = true;
        assert_int_equal(weirp_thin(points, &n, TARGET, keep, NULL), WEIR_OK);
        assert_in_range(n, TARGET * 3 / 5, TARGET + h + 3);
        assert_true(points[0].value == 0 && points[n - 1].value == N - 1);
        bool kept = false;
        for (size_t i = 1; i < n; i++) {
            assert_true(points[i].value > points[i - 1].value);
            kept = kept || points[i].value == 1234;
        }
        assert_true(kept);
        free(keep);
    }
    free(points), free(hull);
}

static void hull_covers(void **state) {
    (void)state;
    enum { N = 3000 };
    weirp_point *all = weirp_array(N, sizeof *all), *hull = weirp_array(N, sizeof *hull);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (size_t i = 0; i < N; i++) {
            all[i].cost = weirp_random_uniform(seed, 1, i);
            all[i].quality = sqrt(all[i].cost) * (1 - 0.2 * weirp_random_uniform(seed, 2, i));
            all[i].value = (double)i;
        }
        memcpy(hull, all, N * sizeof *all);
        const size_t h = weirp_hull(hull, N);
        assert_in_range(h, 2, N - 1);
        for (size_t i = 0; i < h; i++) { /* each is one of the points, and the chain bends down */
            const weirp_point *from = &all[(size_t)hull[i].value];
            assert_true(from->cost == hull[i].cost && from->quality == hull[i].quality);
            if (i > 0) assert_true(hull[i].cost > hull[i - 1].cost && hull[i].quality > hull[i - 1].quality);
            if (i > 1)
                assert_true((hull[i].quality - hull[i - 1].quality) * (hull[i - 1].cost - hull[i - 2].cost) <
                            (hull[i - 1].quality - hull[i - 2].quality) * (hull[i].cost - hull[i - 1].cost));
        }
        for (size_t i = 0; i < N; i++) assert_true(all[i].quality <= weirp_hull_at(hull, h, all[i].cost) + 1e-12);
    }
    free(all), free(hull);
}

static void auc_by_hand(void **state) {
    (void)state;
    size_t index;
    json_t *c;
    json_array_foreach(json_object_get(cases, "aucs"), index, c) {
        size_t n;
        double *score = table(json_object_get(c, "score"), &n, NULL);
        double *label = table(json_object_get(c, "label"), NULL, NULL);
        assert_near(weirp_auc(score, label, n, 1), number(json_object_get(c, "auc")), 1e-12);
        free(score), free(label);
    }
    assert_true(index >= 5);
}

static void gaps_by_hand(void **state) {
    (void)state;
    size_t index;
    json_t *c;
    json_array_foreach(json_object_get(cases, "gaps"), index, c) {
        size_t n;
        double *gap = table(json_object_get(c, "gap"), &n, NULL);
        double *weak = table(json_object_get(c, "weak"), NULL, NULL);
        double *strong = table(json_object_get(c, "strong"), NULL, NULL);
        const double x[2] = {0.5, 0.8};
        double apgr, cpt[2];
        assert_int_equal(weirp_apgr(gap, weak, strong, n, x, 2, &apgr, cpt, NULL), WEIR_OK);
        assert_near(apgr, number(json_object_get(c, "apgr")), 1e-12);
        assert_near(cpt[0], number(json_object_get(c, "cpt50")), 1e-12);
        assert_near(cpt[1], number(json_object_get(c, "cpt80")), 1e-12);
        free(gap), free(weak), free(strong);
    }
    assert_true(index >= 5);
}

static void fits_and_percentiles(void **state) {
    (void)state;
    const double y[4] = {1, 2, 3, NAN}, p[4] = {1, 2, 5, 7}, mean[3] = {2, 2, 2};
    assert_near(weirp_r2(y, y, 4), 1, 0);
    assert_near(weirp_r2(mean, y, 3), 0, 0);
    assert_near(weirp_r2(p, y, 4), 1 - 4.0 / 2, 1e-12);
    assert_true(isnan(weirp_r2(y, mean, 3)));
    assert_true(isnan(weirp_r2(y, y, 0)));
    double v[5] = {4, NAN, 1, 3, 2}, inf[3] = {INFINITY, 1, 2};
    assert_near(weirp_percentile(v, 5, 0.5), 2.5, 1e-12);
    double w[1] = {7};
    assert_near(weirp_percentile(w, 1, 0.9), 7, 0);
    assert_true(isnan(weirp_percentile(w, 0, 0.5)));
    assert_near(weirp_percentile(inf, 3, 0.25), 1.5, 1e-12);
    assert_true(isinf(weirp_percentile(inf, 3, 0.9)));
    assert_true(isinf(weirp_percentile(inf, 3, 1)));
}

static void nobody_eligible(void **state) {
    (void)state;
    const double q[2] = {NAN, NAN}, c[2] = {1, 1};
    weirp_point *points;
    size_t n;
    weir_error err = {0};
    assert_int_equal(weirp_value_curve(q, c, c, c, 1, 2, &points, &n, &err), WEIR_NODATA);
    assert_null(points);
    assert_string_equal(err.text, "prompt 1: no model is eligible");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves_by_hand),       cmocka_unit_test(hulls_by_hand),
        cmocka_unit_test(reaching_a_quality),   cmocka_unit_test(curve_is_exact),
        cmocka_unit_test(weights_repeat_rows),  cmocka_unit_test(many_points),
        cmocka_unit_test(hull_covers),          cmocka_unit_test(thinning_leaves_enough),
        cmocka_unit_test(auc_by_hand),          cmocka_unit_test(gaps_by_hand),
        cmocka_unit_test(fits_and_percentiles), cmocka_unit_test(nobody_eligible),
    };
    return cmocka_run_group_tests(tests, open_cases, close_cases);
}

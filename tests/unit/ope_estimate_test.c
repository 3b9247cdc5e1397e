/* Estimators: cases worked by hand (tests/cases/ope-estimates.json), names, and the choice of lambda.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "ope_rows.h"
#include "src/ope/tune.h"

static double number(const json_t *v) {
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static void read_numbers(const json_t *array, double **to, size_t n, size_t i, size_t n_rows) {
    if (!array) return;
    assert_int_equal(json_array_size(array), n);
    if (!*to) *to = rows_need(n_rows * n, sizeof **to);
    for (size_t a = 0; a < n; a++) (*to)[i * n + a] = number(json_array_get(array, a));
}

static uint32_t read_flags(const json_t *array) {
    uint32_t flags = 0;
    size_t i;
    const json_t *v;
    json_array_foreach((json_t *)array, i, v) {
        const char *text = json_string_value(v);
        if (!strcmp(text, "forced")) {
            flags |= WEIRP_LOGGED_FORCED;
        } else if (!strcmp(text, "cached")) {
            flags |= WEIRP_LOGGED_CACHED;
        } else {
            assert_string_equal(text, "fallen back");
            flags |= WEIRP_LOGGED_FALLEN_BACK;
        }
    }
    return flags;
}

static rows read_case(const json_t *c) {
    const json_t *list = json_object_get(c, "rows"), *loggers = json_object_get(c, "logger_rows");
    const size_t n = json_array_size(list), m = (size_t)json_integer_value(json_object_get(c, "models"));
    rows r = rows_new(n, m);
    r.n_loggers = json_array_size(loggers);
    read_numbers(loggers, &r.logger_rows, r.n_loggers, 0, 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(list, i);
        r.chosen[i] = (uint32_t)json_integer_value(json_object_get(row, "chosen"));
        r.p[i] = number(json_object_get(row, "p"));
        r.y[i] = number(json_object_get(row, "y"));
        if (json_object_get(row, "e")) r.e[i] = number(json_object_get(row, "e"));
        if (json_object_get(row, "cluster"))
            r.cluster[i] = (uint32_t)json_integer_value(json_object_get(row, "cluster"));
        r.flags[i] = read_flags(json_object_get(row, "flags"));
        read_numbers(json_object_get(row, "pi"), &r.pi, m, i, n);
        read_numbers(json_object_get(row, "q"), &r.q, m, i, n);
        read_numbers(json_object_get(row, "q_robust"), &r.q_robust, m, i, n);
        read_numbers(json_object_get(row, "propensity"), &r.propensity, m, i, n);
        read_numbers(json_object_get(row, "by_logger"), &r.by_logger, r.n_loggers, i, n);
    }
    return r;
}

static double fact(const judged *j, const char *key, bool *is_fact) {
    const weirp_cell_facts *f = weirp_cell_facts_of(j->cell);
    const weirp_ratio logged = weirp_cell_logged(j->cell);
    const struct {
        const char *key;
        double value;
    } facts[] = {
        {"n", (double)f->n},
        {"n_known", (double)f->n_known},
        {"n_undecided", (double)f->n_undecided},
        {"n_full", (double)f->n_full},
        {"sum_w", f->sum_w},
        {"sum_w2", f->sum_w2},
        {"max_w", f->max_w},
        {"least_p", f->least_p},
        {"least_e", f->least_e},
        {"unsupported", f->unsupported},
        {"sum_y", f->sum_y},
        {"sum_q", f->sum_q},
        {"sum_q2", f->sum_q2},
        {"sum_yq", f->sum_yq},
        {"logged", weirp_statistic_value(&(weirp_statistic){&logged, 1}, j->sums.total)},
    };
    *is_fact = true;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (!strcmp(facts[i].key, key)) return facts[i].value;
    static const char of[] = "variance of ";
    if (!strncmp(key, of, sizeof of - 1))
        return weirp_cell_variance(j->cell, weirp_ope_estimator_find(key + sizeof of - 1));
    *is_fact = false;
    return NAN;
}

static void cases_by_hand(void **state) {
    (void)state;
    json_error_t e;
    json_t *list = json_load_file(WEIR_SOURCE_DIR "/tests/cases/ope-estimates.json", 0, &e);
    if (!list) fail_msg("ope-estimates.json:%d: %s", e.line, e.text);
    size_t i, n_wrong = 0, n_checked = 0;
    const json_t *c, *want;
    const char *key;
    json_array_foreach(list, i, c) {
        rows r = read_case(c);
        judged j = judge(&r, NULL, WEIRP_BLOCK_ROWS);
        json_object_foreach((json_t *)json_object_get(c, "expect"), key, want) {
            bool is_fact;
            double got = fact(&j, key, &is_fact);
            if (!is_fact) got = judged_named(&j, key);
            n_checked++;
            if (json_is_null(want) ? isnan(got) : fabs(got - json_number_value(want)) <= 1e-14) continue;
            n_wrong++;
            print_error("%s: %s is %.17g, not %.17g\n", json_string_value(json_object_get(c, "name")), key, got,
                        number(want));
        }
        judged_free(&j);
        rows_free(&r);
    }
    json_decref(list);
    assert_int_equal(n_wrong, 0);
    assert_true(n_checked > 60);
}

static void names_are_found(void **state) {
    (void)state;
    static const struct {
        const char *name, *is; /* NULL: none */
    } cases[] = {
        {"sndr", "sndr"},
        {"ipw", "ips"},
        {"snipw", "snips"},
        {"dros", "dr-os"},
        {"wdr", "sndr"},
        {"clipped-ips-slope", "clipped-ips"},
        {"switch-dr-slope", "switch-dr"},
        {"clipped-ips-mse-slope", NULL},
        {"ips-slope", NULL},
        {"clipped-ips(5)", "clipped-ips(5)"},
        {"clipped-ips(5.0)", "clipped-ips(5)"},
        {"clipped-ips(1e2)", "clipped-ips(100)"},
        {"cipw(10)", "clipped-ips(10)"},
        {"clipped-ips(inf)", "ips"},
        {"clipped-dr(inf)", "dr"},
        {"switch-dr(inf)", "dr"},
        {"sgips(0)", "ips"},
        {"sgdr(0.010)", "sgdr(0.01)"},
        {"clipped-ips(7)", NULL},
        {"clipped-ips(-inf)", NULL},
        {"clipped-ips(nan)", NULL},
        {"clipped-ips()", NULL},
        {"clipped-ips(5", NULL},
        {"clipped-ips(5)x", NULL},
        {"clipped-ips-mse(5)", "clipped-ips(5)"},
        {"ips(5)", NULL},
        {"", NULL},
        {"(5)", NULL},
        {"-slope", NULL},
        {"SNDR", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t at = weirp_ope_estimator_find(cases[i].name);
        if (!cases[i].is) {
            if (at != (size_t)-1) fail_msg("%s is %s", cases[i].name, weirp_ope_estimators[at].name);
        } else if (at == (size_t)-1) {
            fail_msg("%s isn't found", cases[i].name);
        } else {
            assert_string_equal(weirp_ope_estimators[at].name, cases[i].is);
        }
    }
    const size_t n = weirp_ope_n_estimators();
    assert_null(weirp_ope_estimators[n].name);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(weirp_ope_estimator_find(weirp_ope_estimators[i].name), i);
        if (i) assert_true(weirp_ope_estimators[i].spare >= weirp_ope_estimators[i - 1].spare); /* they come last */
    }
}

static void slope_stops_at_the_first_gap(void **state) {
    (void)state;
    /* sqrt(6) - 1 = 1.4495; t = 1. Widths 4, 2, 1: the third lies 6 from the first, within 1 + 5.8; 4 from the second,
     * not within 1 + 2.9. */
    weirp_choice c[] = {{.lambda = INFINITY, .value = 0, .se = 4},
                        {.lambda = 10, .value = 2, .se = 2},
                        {.lambda = 1, .value = 6, .se = 1}};
    assert_int_equal(weirp_tune_slope(c, 3, 1), 1);
    c[2].value = 5.8;
    assert_int_equal(weirp_tune_slope(c, 3, 1), 2);
    c[1].value = 8; /* 8 > 2 + 5.8 */
    assert_int_equal(weirp_tune_slope(c, 3, 1), 0);
    assert_int_equal(weirp_tune_slope(c, 3, 2), 2);
    assert_int_equal(weirp_tune_slope(c, 1, 1), 0);
    /* By width, not by place; of equals the least change is met last. */
    const weirp_choice odd[] = {{.value = 1, .se = 1}, {.value = 1, .se = 3}, {.value = 1, .se = 2}};
    assert_int_equal(weirp_tune_slope(odd, 3, 1), 0);
    const weirp_choice same[] = {{.value = 1, .se = 1}, {.value = 1, .se = 1}, {.value = 1, .se = 1}};
    assert_int_equal(weirp_tune_slope(same, 3, 1), 0);
}

static void mse_weighs_variance_and_bias(void **state) {
    (void)state;
    const weirp_choice c[] = {{.se = 3, .bias = 0}, {.se = 2, .bias = -2}, {.se = 1, .bias = 3}};
    assert_int_equal(weirp_tune_mse(c, 3, 0), 1); /* 9, 8, 10 */
    assert_int_equal(weirp_tune_mse(c, 3, 1), 0); /* 10, 13, 17 */
    assert_int_equal(weirp_tune_mse(c + 1, 2, 0), 0);
    const weirp_choice same[] = {{.se = 1}, {.se = 1}};
    assert_int_equal(weirp_tune_mse(same, 2, 1), 0);
    /* sqrt(2 * 4 * log(20) / 100) + 2 * 6 * log(20) / 300, log(20) = 2.9957322735539909 */
    assert_true(fabs(weirp_tune_slack(4, 6, 100, 1) - (sqrt(8 * 2.9957322735539909 / 100) + 0.11982929094215964)) <
                1e-14);
    assert_true(fabs(weirp_tune_slack(4, 6, 100, 50) - 50 * weirp_tune_slack(4, 6, 100, 1)) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_by_hand),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(slope_stops_at_the_first_gap),
        cmocka_unit_test(mse_weighs_variance_and_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

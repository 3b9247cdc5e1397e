/* Base: bytes round-trip and refuse lengths that don't fit, random numbers are what they should be.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"

static void bytes_round_trip(void **state) {
    (void)state;
    weirp_writer w = {0};
    const double d[3] = {1.5, -2.0, INFINITY};
    weirp_put_u32(&w, 7);
    weirp_put_text(&w, "weir");
    weirp_put_f64s(&w, d, 3);
    assert_false(w.failed);
    weirp_bytes r = {w.data, w.size, 0, false};
    assert_int_equal(weirp_get_u32(&r), 7);
    char *text = weirp_get_text(&r);
    assert_string_equal(text, "weir");
    double *back = weirp_get_f64s(&r, 3);
    assert_memory_equal(back, d, sizeof d);
    assert_false(r.failed);
    assert_int_equal(r.at, r.size);
    free(text);
    free(back);
    /* every truncation is noticed, none reads past the end */
    for (size_t cut = 0; cut < w.size; cut++) {
        weirp_bytes t = {w.data, cut, 0, false};
        weirp_get_u32(&t);
        free(weirp_get_text(&t));
        free(weirp_get_f64s(&t, 3));
        assert_true(t.failed);
    }
    /* a length that the rest can't hold asks for no memory */
    memset(w.data + 4, 0xff, 8);
    weirp_bytes huge = {w.data, w.size, 4, false};
    assert_null(weirp_get_text(&huge));
    assert_true(huge.failed);
    weirp_writer_free(&w);
}

static void first_error_wins(void **state) {
    (void)state;
    weir_error err = {0};
    assert_int_equal(weirp_fail(&err, WEIR_PARSE, 3, "a.jsonl:3: %s", "no \"prompt\""), WEIR_PARSE);
    assert_int_equal(weirp_fail(&err, WEIR_IO, 0, "later"), WEIR_IO);
    assert_int_equal(err.status, WEIR_PARSE);
    assert_int_equal(err.line, 3);
    assert_string_equal(err.text, "a.jsonl:3: no \"prompt\"");
    assert_int_equal(weirp_fail(NULL, WEIR_NOMEM, 0, "fine without"), WEIR_NOMEM);
    assert_string_equal(weir_status_name(WEIR_FULL), "WEIR_FULL");
    assert_string_equal(weir_status_name((weir_status)9999), "WEIR_UNKNOWN");
}

static void random_moments(void **state) {
    (void)state;
    enum { N = 200000 };
    double mean = 0, square = 0, uniform = 0;
    for (uint64_t i = 0; i < N; i++) {
        double z = weirp_random_normal(1, 2, i);
        mean += z / N;
        square += z * z / N;
        double u = weirp_random_uniform(1, 3, i);
        assert_true(u >= 0 && u < 1);
        uniform += u / N;
    }
    assert_true(fabs(mean) < 0.01);
    assert_true(fabs(square - 1) < 0.02);
    assert_true(fabs(uniform - 0.5) < 0.005);
    assert_true(weirp_random_u64(1, 2, 3) == weirp_random_u64(1, 2, 3));
    assert_true(weirp_random_u64(1, 2, 3) != weirp_random_u64(1, 2, 4));
    assert_true(weirp_random_u64(1, 2, 3) != weirp_random_u64(1, 3, 3));
    assert_true(weirp_random_u64(1, 2, 3) != weirp_random_u64(2, 2, 3));
}

static void shuffle_permutes(void **state) {
    (void)state;
    size_t order[100];
    char seen[100] = {0};
    for (size_t i = 0; i < 100; i++) order[i] = i;
    weirp_shuffle(order, 100, 9);
    for (size_t i = 0; i < 100; i++) seen[order[i]]++;
    for (size_t i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
    assert_true(order[0] != 0 || order[1] != 1 || order[2] != 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_round_trip),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(random_moments),
        cmocka_unit_test(shuffle_permutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

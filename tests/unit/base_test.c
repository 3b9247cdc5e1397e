/* Base: bytes round-trip and refuse lengths that don't fit, characters are written as UTF-8, random numbers are what
 * they should be. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/base/words.h"

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

static void hexadecimal_digits(void **state) {
    (void)state;
    static const struct {
        const char *digits;
        int value;
    } cases[] = {{"0000", 0},
                 {"00e9", 0xe9},
                 {"FfFd", 0xfffd},
                 {"d83Dx", 0xd83d},
                 {"", -1},
                 {"12", -1},
                 {"12g4", -1},
                 {"12G4", -1},
                 {"-123", -1},
                 {" 123", -1},
                 {"0x12", -1},
                 {"123@", -1},
                 {"\xb1\xb1\xb1\xb1", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(weirp_hex4(cases[i].digits), cases[i].value);
}

/* Where a byte more begins to be needed; and every character there is, against what reads them. */
static void characters_as_bytes(void **state) {
    (void)state;
    static const struct {
        unsigned character;
        const char *bytes;
    } known[] = {{0x41, "A"},
                 {0x7f, "\x7f"},
                 {0x80, "\xc2\x80"},
                 {0x7ff, "\xdf\xbf"},
                 {0x800, "\xe0\xa0\x80"},
                 {0xfffd, "\xef\xbf\xbd"},
                 {0x10000, "\xf0\x90\x80\x80"},
                 {0x10ffff, "\xf4\x8f\xbf\xbf"}};
    char out[5];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        memset(out, 0, sizeof out);
        assert_int_equal(weirp_utf8_put(out, known[i].character), strlen(known[i].bytes));
        assert_string_equal(out, known[i].bytes);
    }
    for (unsigned c = 1; c <= 0x10ffff; c += c == 0xd7ff ? 0x801 : 1) {
        const size_t n = weirp_utf8_put(out, c);
        if (n < 1 || n > 4 || weirp_utf8_valid(out, n) != n) fail_msg("U+%04X takes %zu bytes", c, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_round_trip), cmocka_unit_test(first_error_wins),   cmocka_unit_test(random_moments),
        cmocka_unit_test(shuffle_permutes), cmocka_unit_test(hexadecimal_digits), cmocka_unit_test(characters_as_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

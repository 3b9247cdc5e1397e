/* breaker_test.c: when a deployment may be asked. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/gateway/breaker.h"

static const weirp_breaker_limits limits = {.failures = 3, .window_ms = 1000, .open_ms = 500};

static void opens_after_failures_within_the_window(void **state) {
    (void)state;
    weirp_breaker b = {0};
    for (uint64_t i = 0; i < 2; i++) weirp_breaker_failure(&b, &limits, 10000 + i, false);
    assert_int_equal(weirp_breaker_state(&b, 10002), WEIRP_BREAKER_CLOSED);
    weirp_breaker_failure(&b, &limits, 10003, false);
    assert_int_equal(weirp_breaker_state(&b, 10004), WEIRP_BREAKER_OPEN);
    assert_false(weirp_breaker_enter(&b, 10004));
    assert_int_equal(weirp_breaker_wait_ms(&b, 10103), 400);
}

static void old_failures_are_forgotten(void **state) {
    (void)state;
    weirp_breaker b = {0};
    for (uint64_t i = 0; i < 10; i++) weirp_breaker_failure(&b, &limits, 10000 + i * 600, false);
    assert_int_equal(weirp_breaker_state(&b, 16000), WEIRP_BREAKER_CLOSED);
    weirp_breaker c = {0};
    for (uint64_t i = 0; i < 10; i++) { /* a success in between starts the count anew */
        weirp_breaker_failure(&c, &limits, 10000 + i, false);
        weirp_breaker_success(&c);
    }
    assert_int_equal(weirp_breaker_state(&c, 10010), WEIRP_BREAKER_CLOSED);
}

static void one_at_a_time_may_try_when_half_open(void **state) {
    (void)state;
    weirp_breaker b = {0};
    weirp_breaker_failure(&b, &limits, 10000, true);
    assert_int_equal(weirp_breaker_state(&b, 10499), WEIRP_BREAKER_OPEN);
    assert_int_equal(weirp_breaker_state(&b, 10500), WEIRP_BREAKER_HALF_OPEN);
    assert_int_equal(weirp_breaker_wait_ms(&b, 10500), 0);
    assert_true(weirp_breaker_enter(&b, 10500));
    assert_false(weirp_breaker_enter(&b, 10500));
    assert_int_not_equal(weirp_breaker_wait_ms(&b, 10500), 0);
    weirp_breaker_leave(&b); /* the probe learned nothing: the next one may */
    assert_true(weirp_breaker_enter(&b, 10501));
    weirp_breaker_success(&b);
    assert_int_equal(weirp_breaker_state(&b, 10502), WEIRP_BREAKER_CLOSED);
    assert_true(weirp_breaker_enter(&b, 10502));
    assert_true(weirp_breaker_enter(&b, 10502));
}

static void each_opening_lasts_longer_up_to_eightfold(void **state) {
    (void)state;
    weirp_breaker b = {0};
    uint64_t now = 10000;
    const uint64_t expected[] = {500, 1000, 2000, 4000, 4000, 4000};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        weirp_breaker_failure(&b, &limits, now, i == 0);
        assert_int_equal(weirp_breaker_wait_ms(&b, now), expected[i]);
        weirp_breaker_failure(&b, &limits, now + 1, false); /* late news of the same failure change nothing */
        assert_int_equal(weirp_breaker_wait_ms(&b, now), expected[i]);
        now += expected[i];
        assert_true(weirp_breaker_enter(&b, now));
    }
    weirp_breaker_success(&b);
    weirp_breaker_failure(&b, &limits, now, true);
    assert_int_equal(weirp_breaker_wait_ms(&b, now), 500);
}

static void rests_when_asked_to(void **state) {
    (void)state;
    weirp_breaker b = {0};
    weirp_breaker_rest(&b, 10200);
    weirp_breaker_rest(&b, 10100); /* a shorter one doesn't shorten it */
    assert_int_equal(weirp_breaker_state(&b, 10000), WEIRP_BREAKER_CLOSED);
    assert_int_equal(weirp_breaker_wait_ms(&b, 10000), 200);
    assert_false(weirp_breaker_enter(&b, 10000));
    assert_true(weirp_breaker_enter(&b, 10200));
}

static void can_be_turned_off(void **state) {
    (void)state;
    weirp_breaker b = {0};
    const weirp_breaker_limits off = {0};
    for (uint64_t i = 0; i < 100; i++) weirp_breaker_failure(&b, &off, 10000, true);
    assert_int_equal(weirp_breaker_state(&b, 10000), WEIRP_BREAKER_CLOSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_after_failures_within_the_window),
        cmocka_unit_test(old_failures_are_forgotten),
        cmocka_unit_test(one_at_a_time_may_try_when_half_open),
        cmocka_unit_test(each_opening_lasts_longer_up_to_eightfold),
        cmocka_unit_test(rests_when_asked_to),
        cmocka_unit_test(can_be_turned_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

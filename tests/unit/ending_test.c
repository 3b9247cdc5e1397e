/* What counts as an error: every result that a try can have, and what a status says without one.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "src/gateway/observe/metrics.h"
#include "src/router/record.h"

/* Of a stream whose head was sent with status 200: the try that it came from. */
static weirp_ending ending_of_result(weirp_result result) {
    switch (result) {
    case WEIRP_RESULT_OK: return WEIRP_ENDING_ANSWERED;
    case WEIRP_RESULT_GONE:
    case WEIRP_RESULT_SHUTDOWN: return WEIRP_ENDING_UNDECIDED;
    case WEIRP_RESULT_IDLE_TIMEOUT:
    case WEIRP_RESULT_TOTAL_TIMEOUT:
    case WEIRP_RESULT_CUT:
    case WEIRP_RESULT_MALFORMED:
    case WEIRP_RESULT_TOO_LARGE:
    case WEIRP_RESULT_RATE_LIMIT: /* this one and the next ten: an error event within the stream */
    case WEIRP_RESULT_QUOTA:
    case WEIRP_RESULT_OVERLOADED:
    case WEIRP_RESULT_SERVER:
    case WEIRP_RESULT_AUTH:
    case WEIRP_RESULT_NOT_FOUND:
    case WEIRP_RESULT_TOO_LONG:
    case WEIRP_RESULT_FILTERED:
    case WEIRP_RESULT_INVALID:
    case WEIRP_RESULT_UNSUPPORTED:
    case WEIRP_RESULT_OTHER:
    case WEIRP_RESULT_CONNECT: /* those that follow never come after a head */
    case WEIRP_RESULT_TLS:
    case WEIRP_RESULT_FIRST_TIMEOUT:
    case WEIRP_RESULT_HEDGED:
    case WEIRP_RESULT_BREAKER:
    case WEIRP_RESULT_BUDGET:
    case WEIRP_N_RESULTS: break;
    }
    return WEIRP_ENDING_ERROR;
}

static void each_result(void **state) {
    (void)state;
    for (weirp_result r = 0; r < WEIRP_N_RESULTS; r++) {
        const char *label = weirp_result_label(r);
        const weirp_ending right = ending_of_result(r);
        if (weirp_ending_of(200, false, true, label) != right) fail_msg("a stream that ends with %s", label);
        /* what the client was told goes first, but for an end that nobody was told of */
        const weirp_ending told = right == WEIRP_ENDING_UNDECIDED ? right : WEIRP_ENDING_ERROR;
        if (weirp_ending_of(502, false, false, label) != told) fail_msg("status 502 after %s", label);
        if (weirp_ending_of(499, true, true, label) != WEIRP_ENDING_UNDECIDED) fail_msg("left, %s", label);
    }
}

static void statuses(void **state) {
    (void)state;
    static const struct {
        int status;
        bool gone, answered;
        weirp_ending ending;
    } cases[] = {
        {200, false, true, WEIRP_ENDING_ANSWERED},   {200, false, false, WEIRP_ENDING_ERROR},
        {0, false, true, WEIRP_ENDING_ANSWERED},     {0, false, false, WEIRP_ENDING_ERROR},
        {399, false, true, WEIRP_ENDING_ANSWERED},   {400, false, true, WEIRP_ENDING_ERROR},
        {429, false, false, WEIRP_ENDING_ERROR},     {498, false, false, WEIRP_ENDING_ERROR},
        {499, false, false, WEIRP_ENDING_UNDECIDED}, {500, false, true, WEIRP_ENDING_ERROR},
        {200, true, true, WEIRP_ENDING_UNDECIDED},   {502, true, false, WEIRP_ENDING_UNDECIDED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int empty = 0; empty < 2; empty++)
            if (weirp_ending_of(cases[i].status, cases[i].gone, cases[i].answered, empty ? "" : NULL) !=
                cases[i].ending)
                fail_msg("case %zu", i);
}

/* The last try's result counts, and none where nobody was asked. */
static void tries(void **state) {
    (void)state;
    weirp_served s = {.model = 1, .status = 200, .n_attempts = 3};
    strcpy(s.attempt[0].result, "cut");
    strcpy(s.attempt[1].result, "hedge_lost");
    strcpy(s.attempt[2].result, "ok");
    assert_int_equal(weirp_served_ending(&s), WEIRP_ENDING_ANSWERED);
    strcpy(s.attempt[2].result, "idle_timeout");
    assert_int_equal(weirp_served_ending(&s), WEIRP_ENDING_ERROR);
    s.client_gone = true;
    assert_int_equal(weirp_served_ending(&s), WEIRP_ENDING_UNDECIDED);
    s = (weirp_served){.model = (size_t)-1, .status = 429};
    assert_int_equal(weirp_served_ending(&s), WEIRP_ENDING_ERROR);
    s = (weirp_served){.model = 0, .status = 200};
    assert_int_equal(weirp_served_ending(&s), WEIRP_ENDING_ANSWERED);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_result), cmocka_unit_test(statuses),
                                       cmocka_unit_test(tries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

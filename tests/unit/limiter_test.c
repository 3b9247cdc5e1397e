/* Rate limits on a clock of the test's own. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/budget/limiter.h"

#define S  UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static weirp_limiter *limiter;

static int make(void **state) {
    (void)state;
    weir_error err = {0};
    return weirp_limiter_new(&limiter, &err) == WEIR_OK ? 0 : -1;
}

static int drop(void **state) {
    (void)state;
    weirp_limiter_free(limiter);
    limiter = NULL;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

static weirp_limit_result enter(const char *key, weirp_limits limits, int64_t tokens, uint64_t now, weirp_pass *pass,
                                weirp_quota *quota) {
    return weirp_limiter_enter(limiter, key, &limits, tokens, now, pass, quota);
}

/* As things are: a request that is larger than the limit changes nothing, and is told. */
static weirp_quota look(const char *key, weirp_limits limits, uint64_t now) {
    weirp_pass pass;
    weirp_quota q;
    if (!limits.tokens) limits.tokens = 1;
    assert_int_equal(enter(key, limits, limits.tokens + 1, now, &pass, &q), WEIRP_LIMIT_TOO_LARGE);
    return q;
}

static void test_requests_a_minute(void **state) {
    (void)state;
    weirp_pass pass;
    weirp_quota q;
    const weirp_limits limits = {.requests = 3};
    for (int i = 0; i < 3; i++) {
        uint64_t now = 10 * S + (uint64_t)i * 5 * S + 300 * MS; /* 10.3, 15.3, 20.3 */
        assert_int_equal(enter("a", limits, 0, now, &pass, &q), WEIRP_LIMIT_PASSED);
        assert_int_equal(q.requests_limit, 3);
        assert_int_equal(q.requests_left, 2 - i);
        assert_int_equal(q.requests_reset_ms, 60700); /* the second in which it came ends .7 s later */
        assert_int_equal(q.tokens_limit + q.tokens_left + q.tokens_reset_ms + q.retry_ms, 0);
        weirp_limiter_leave(limiter, &pass, 100, now);
    }
    assert_int_equal(enter("a", limits, 0, 30 * S, &pass, &q), WEIRP_LIMIT_REQUESTS);
    assert_null(pass.key);
    assert_int_equal(q.retry_ms, 41000); /* when 10 to 11 is past: at 71 */
    assert_int_equal(q.requests_reset_ms, 51000);
    assert_int_equal(enter("a", limits, 0, 70 * S + 999 * MS, &pass, &q), WEIRP_LIMIT_REQUESTS);
    assert_int_equal(q.retry_ms, 1);
    assert_int_equal(enter("a", limits, 0, 71 * S, &pass, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(q.requests_left, 0);
    /* another key has its own */
    assert_int_equal(enter("b", limits, 0, 71 * S, &pass, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(q.requests_left, 2);
}

static void test_tokens_are_reserved_and_corrected(void **state) {
    (void)state;
    weirp_pass first, second, none;
    weirp_quota q;
    const weirp_limits limits = {.tokens = 1000};
    assert_int_equal(enter("a", limits, 1001, S, &none, &q), WEIRP_LIMIT_TOO_LARGE);
    assert_int_equal(q.retry_ms, 0);
    assert_int_equal(enter("a", limits, 600, S, &first, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(q.tokens_left, 400);
    assert_int_equal(enter("a", limits, 401, 2 * S, &none, &q), WEIRP_LIMIT_TOKENS);
    assert_int_equal(q.retry_ms, 60000);
    /* down: it needed less, and that is there at once */
    weirp_limiter_leave(limiter, &first, 100, 3 * S);
    assert_null(first.key);
    assert_int_equal(enter("a", limits, 900, 3 * S, &second, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(q.tokens_left, 0);
    /* up: the excess counts from when it is known; what is left is never below nothing */
    weirp_limiter_leave(limiter, &second, 1500, 20 * S);
    q = look("a", limits, 20 * S);
    assert_int_equal(q.tokens_left, 0);
    assert_int_equal(q.tokens_reset_ms, 61000);
    q = look("a", limits, 62 * S); /* the first's 100 are gone */
    assert_int_equal(q.tokens_left, 0);
    q = look("a", limits, 64 * S); /* the second's 900, too */
    assert_int_equal(q.tokens_left, 400);
    q = look("a", limits, 81 * S);
    assert_int_equal(q.tokens_left, 1000);
    assert_int_equal(q.tokens_reset_ms, 0);
}

static void test_long_answers(void **state) {
    (void)state;
    weirp_pass less, more, unknown;
    weirp_quota q;
    const weirp_limits limits = {.tokens = 1000};
    assert_int_equal(enter("a", limits, 300, S, &less, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", limits, 300, S, &more, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", limits, 300, S, &unknown, &q), WEIRP_LIMIT_PASSED);
    /* their second no longer counts: there is nothing to give back, but what is beyond counts */
    weirp_limiter_leave(limiter, &less, 0, 500 * S);
    weirp_limiter_leave(limiter, &unknown, -1, 500 * S);
    q = look("a", limits, 500 * S);
    assert_int_equal(q.tokens_left, 1000);
    weirp_limiter_leave(limiter, &more, 500, 500 * S);
    q = look("a", limits, 500 * S);
    assert_int_equal(q.tokens_left, 800);
    weirp_limiter_leave(limiter, &more, 500, 500 * S); /* empty by now */
    q = look("a", limits, 500 * S);
    assert_int_equal(q.tokens_left, 800);
}

static void test_at_once(void **state) {
    (void)state;
    weirp_pass pass[3];
    weirp_quota q;
    const weirp_limits limits = {.at_once = 2};
    assert_int_equal(enter("a", limits, 5, S, &pass[0], &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", limits, 5, S, &pass[1], &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", limits, 5, 1000 * S, &pass[2], &q), WEIRP_LIMIT_AT_ONCE);
    assert_int_equal(q.at_once, 2);
    assert_int_equal(q.at_once_limit, 2);
    weirp_limiter_leave(limiter, &pass[2], 5, S); /* wasn't let in */
    assert_int_equal(enter("a", limits, 5, 1000 * S, &pass[2], &q), WEIRP_LIMIT_AT_ONCE);
    weirp_limiter_leave(limiter, &pass[0], 5, 1000 * S);
    assert_int_equal(enter("a", limits, 5, 1000 * S, &pass[2], &q), WEIRP_LIMIT_PASSED);
    weirp_limiter_leave(limiter, &pass[1], 5, 1000 * S);
    weirp_limiter_leave(limiter, &pass[2], 5, 1000 * S);
    q = look("a", limits, 1000 * S);
    assert_int_equal(q.at_once, 0);
}

static void test_limits_may_change(void **state) {
    (void)state;
    weirp_pass pass;
    weirp_quota q;
    for (int i = 0; i < 10; i++) assert_int_equal(enter("a", (weirp_limits){0}, 50, S, &pass, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", (weirp_limits){.requests = 10}, 50, S, &pass, &q), WEIRP_LIMIT_REQUESTS);
    assert_int_equal(enter("a", (weirp_limits){.requests = 11}, 50, S, &pass, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", (weirp_limits){.tokens = 599}, 50, S, &pass, &q), WEIRP_LIMIT_TOKENS);
    assert_int_equal(q.tokens_left, 49);
    assert_int_equal(enter("a", (weirp_limits){.tokens = 600}, 50, S, &pass, &q), WEIRP_LIMIT_PASSED);
}

static void test_clock_that_steps_back(void **state) {
    (void)state;
    weirp_pass pass;
    weirp_quota q;
    const weirp_limits limits = {.requests = 1};
    assert_int_equal(enter("a", limits, 0, 100 * S, &pass, &q), WEIRP_LIMIT_PASSED);
    assert_int_equal(enter("a", limits, 0, 10 * S, &pass, &q),
                     WEIRP_LIMIT_REQUESTS); /* another thread's, a bit older */
    assert_int_equal(q.retry_ms, 61000);
    assert_int_equal(enter("a", limits, 0, 0, &pass, &q), WEIRP_LIMIT_REQUESTS);
    assert_int_equal(enter("a", limits, 0, UINT64_MAX, &pass, &q), WEIRP_LIMIT_REQUESTS); /* no time at all */
    assert_int_equal(enter("a", limits, 0, 161 * S, &pass, &q), WEIRP_LIMIT_PASSED);
}

static void test_idle_keys_are_forgotten(void **state) {
    (void)state;
    enum { N = 20000 };
    char key[16];
    weirp_pass pass, held;
    const weirp_limits limits = {.requests = 5};
    const size_t none = mallinfo2().uordblks;
    assert_int_equal(enter("held", limits, 1, S, &held, NULL), WEIRP_LIMIT_PASSED);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(enter(key, limits, 1, S, &pass, NULL), WEIRP_LIMIT_PASSED);
        weirp_limiter_leave(limiter, &pass, 1, S);
    }
    const size_t many = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) { /* one busy key clears all the others away */
        assert_int_equal(enter("busy", (weirp_limits){0}, 1, 62 * S, &pass, NULL), WEIRP_LIMIT_PASSED);
        weirp_limiter_leave(limiter, &pass, 1, 62 * S);
    }
    /* their table stays; sanitizers' allocators tell nothing */
    if (many > none) assert_true(mallinfo2().uordblks - none < (many - none) / 10);
    const weirp_quota q = look("held", limits, 62 * S);
    assert_int_equal(q.at_once, 1);
    weirp_limiter_leave(limiter, &held, 1, 62 * S);
}

/* Random arrivals, sizes and corrections: in no 60 seconds, wherever they begin, more than the limits; and what the
 * quota said before an arrival is what happens. Nobody asks for less than it needs here: that would be found out only
 * afterwards. */
static void test_never_more_in_any_minute(void **state) {
    (void)state;
    enum { N = 4000, SEEDS = 20 };
    struct arrival {
        uint64_t at;
        int64_t tokens; /* as they turned out to be */
    } *passed = calloc(N, sizeof *passed);
    assert_non_null(passed);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        weirp_limits limits = {.requests = 1 + (uint32_t)(weirp_random_u64(seed, 0, 0) % 50),
                               .tokens = 100 + (int64_t)(weirp_random_u64(seed, 0, 1) % 5000)};
        uint64_t now = weirp_random_u64(seed, 0, 2) % (1000 * S);
        size_t n = 0, n_refused = 0;
        char key[16];
        snprintf(key, sizeof key, "seed%d", (int)seed);
        for (uint64_t i = 0; i < N; i++) {
            uint64_t pause = weirp_random_u64(seed, 1, i) % (weirp_random_u64(seed, 2, i) % 50 ? 500 * MS : 90 * S);
            now += pause;
            int64_t tokens = (int64_t)(weirp_random_u64(seed, 3, i) % 100);
            weirp_pass pass;
            weirp_quota before = look(key, limits, now), after;
            weirp_limit_result result = enter(key, limits, tokens, now, &pass, &after);
            bool fits = before.requests_left >= 1 && before.tokens_left >= tokens;
            assert_int_equal(result == WEIRP_LIMIT_PASSED, fits);
            if (result != WEIRP_LIMIT_PASSED) {
                assert_in_range(after.retry_ms, 1, 61000);
                n_refused++;
                continue;
            }
            int64_t real = (int64_t)(weirp_random_u64(seed, 4, i) % (uint64_t)(tokens + 1));
            weirp_limiter_leave(limiter, &pass, real, now);
            passed[n++] = (struct arrival){now, real};
        }
        assert_true(n_refused > 0);
        int64_t requests = 0, tokens = 0;
        for (size_t last = 0, first = 0; last < n; last++) {
            requests++;
            tokens += passed[last].tokens;
            for (; passed[last].at - passed[first].at >= 60 * S; first++) {
                requests--;
                tokens -= passed[first].tokens;
            }
            assert_true(requests <= limits.requests);
            assert_true(tokens <= limits.tokens);
        }
    }
    free(passed);
}

/* Who waits as long as was said passes, and who comes a millisecond earlier doesn't. */
static void test_retry_is_exact(void **state) {
    (void)state;
    const weirp_limits limits = {.requests = 4, .tokens = 200};
    uint64_t now = 5 * S;
    size_t n_refused = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        weirp_pass pass;
        weirp_quota q;
        int64_t tokens = (int64_t)(weirp_random_u64(7, 1, i) % 150);
        now += weirp_random_u64(7, 2, i) % (20 * S);
        weirp_limit_result result = enter("a", limits, tokens, now, &pass, &q);
        if (result != WEIRP_LIMIT_PASSED) {
            n_refused++;
            now += (uint64_t)q.retry_ms * MS;
            if (q.retry_ms > 1)
                assert_int_not_equal(enter("a", limits, tokens, now - MS, &pass, NULL), WEIRP_LIMIT_PASSED);
            assert_int_equal(enter("a", limits, tokens, now, &pass, &q), WEIRP_LIMIT_PASSED);
        }
        weirp_limiter_leave(limiter, &pass, tokens, now);
    }
    assert_true(n_refused > 100);
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_ROUNDS = 20000, LIMIT = 5000 };

static void *hammer(void *passed) {
    const weirp_limits limits = {.requests = LIMIT, .at_once = N_THREADS - 1};
    for (int i = 0; i < N_ROUNDS; i++) {
        weirp_pass pass;
        weirp_quota q;
        if (weirp_limiter_enter(limiter, "a", &limits, 1, S, &pass, &q) == WEIRP_LIMIT_PASSED) ++*(size_t *)passed;
        if (q.at_once > N_THREADS - 1) return NULL; /* the count below will miss */
        weirp_limiter_leave(limiter, &pass, 1, S);
    }
    return passed;
}

static void test_threads(void **state) {
    (void)state;
    pthread_t thread[N_THREADS];
    size_t passed[N_THREADS] = {0}, sum = 0;
    for (int i = 0; i < N_THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, hammer, &passed[i]), 0);
    for (int i = 0; i < N_THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        assert_non_null(result);
        sum += passed[i];
    }
    assert_int_equal(sum, LIMIT);
}

static void test_times_as_text(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0ms"},       {-5, "0ms"},         {12, "12ms"},        {1000, "1s"},
                 {8640, "8.640s"}, {59999, "59.999s"},  {60000, "1m0s"},     {60001, "1m1s"},
                 {360000, "6m0s"}, {3599000, "59m59s"}, {3599001, "1h0m0s"}, {86399000, "23h59m59s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        weirp_limiter_time_text(text, sizeof text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_requests_a_minute),
        TEST(test_tokens_are_reserved_and_corrected),
        TEST(test_long_answers),
        TEST(test_at_once),
        TEST(test_limits_may_change),
        TEST(test_clock_that_steps_back),
        TEST(test_idle_keys_are_forgotten),
        TEST(test_never_more_in_any_minute),
        TEST(test_retry_is_exact),
        TEST(test_threads),
        cmocka_unit_test(test_times_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

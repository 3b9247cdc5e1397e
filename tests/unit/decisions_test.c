/* Decisions that have been read: by id, by content, in memory and in a file. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/decisions.h"

static weir_error err;

enum { LEAST = 4096, KEPT = 3072 /* decisions in the smallest table */ };

static bool before(weirp_decisions *seen, const weirp_logged_row *row, const char *model, size_t log) {
    bool was = false;
    if (weirp_decisions_before(seen, row, model, log, &was, &err) != WEIR_OK) fail_msg("%s", err.text);
    return was;
}

static weirp_logged_row row_of(const char *id, weirp_logged_known_by known_by) {
    weirp_logged_row row = {.id = id, .known_by = known_by, .time_ms = 1000, .p = 0.5};
    for (size_t i = 0; i < WEIR_N_METRICS; i++) row.metric[i] = i ? NAN : 1;
    return row;
}

/* Ids in any order, each three times over: the first time alone is new, whether the table is in memory or in a file. */
static void every_id_once(void **state) {
    (void)state;
    enum { IDS = 30000 };
    for (int in_file = 0; in_file < 2; in_file++) {
        weirp_decisions seen;
        weirp_decisions_init(&seen);
        if (in_file) seen.most = LEAST;
        for (size_t i = 0; i < 3 * IDS; i++) {
            char id[32];
            snprintf(id, sizeof id, "%zu", i * 7919 % IDS);
            const weirp_logged_row row = row_of(id, WEIRP_LOGGED_ID);
            assert_int_equal(before(&seen, &row, i % 2 ? "a" : "b", i % 5), i >= IDS);
        }
        assert_int_equal(seen.n_runs, in_file ? IDS / KEPT : 0);
        assert_int_equal(seen.n, in_file ? IDS % KEPT : IDS);
        assert_true(seen.n_slots <= (in_file ? 4096 : 4 * IDS));
        weirp_decisions_free(&seen);
    }
}

/* What is in memory goes to the file. */
static void fill(weirp_decisions *seen, char prefix) {
    const size_t n = seen->n_runs;
    for (size_t i = 0; seen->n_runs == n; i++) {
        char id[32];
        snprintf(id, sizeof id, "%c%zu", prefix, i);
        const weirp_logged_row row = row_of(id, WEIRP_LOGGED_ID);
        assert_false(before(seen, &row, "a", 0));
    }
}

/* Without an id of its own a decision is what all of it says, and a log may say the same of two. */
static void content_of(bool in_file) {
    weirp_decisions seen;
    weirp_decisions_init(&seen);
    if (in_file) seen.most = LEAST;
    weirp_logged_row row = row_of("prompt", WEIRP_LOGGED_CONTENT);
    assert_false(before(&seen, &row, "a", 0));
    if (in_file) fill(&seen, 'x');
    assert_false(before(&seen, &row, "a", 0));
    assert_true(before(&seen, &row, "a", 1));
    assert_false(before(&seen, &row, "b", 1));
    weirp_logged_row other = row;
    other.time_ms++;
    assert_false(before(&seen, &other, "a", 1));
    other = row;
    other.p = 0.25;
    assert_false(before(&seen, &other, "a", 1));
    other = row;
    other.metric[WEIR_METRIC_COST] = 0;
    assert_false(before(&seen, &other, "a", 1));
    other = row;
    other.id = "";
    assert_false(before(&seen, &other, "a", 1));
    if (in_file) fill(&seen, 'y');
    assert_true(before(&seen, &row, "a", 2));
    /* what nothing is known by is never the same */
    row.known_by = WEIRP_LOGGED_NAMELESS;
    for (size_t log = 0; log < 3; log++) assert_false(before(&seen, &row, "a", log));
    weirp_decisions_free(&seen);
}

static void content(void **state) {
    (void)state;
    content_of(false);
    content_of(true);
}

static void no_room(void **state) {
    (void)state;
    const char *was = getenv("TMPDIR");
    char kept[4096], id[32];
    snprintf(kept, sizeof kept, "%s", was ? was : "");
    weirp_decisions seen;
    bool found;
    weirp_decisions_init(&seen);
    seen.most = LEAST;
    setenv("TMPDIR", "/nonexistent/folder", 1);
    for (size_t i = 0; i <= KEPT; i++) {
        snprintf(id, sizeof id, "%zu", i);
        const weirp_logged_row row = row_of(id, WEIRP_LOGGED_ID);
        assert_int_equal(weirp_decisions_before(&seen, &row, "a", 0, &found, &err) == WEIR_OK, i < KEPT);
    }
    assert_non_null(strstr(err.text, "/nonexistent/folder"));
    if (was)
        setenv("TMPDIR", kept, 1);
    else
        unsetenv("TMPDIR");
    weirp_decisions_free(&seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_id_once),
        cmocka_unit_test(content),
        cmocka_unit_test(no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

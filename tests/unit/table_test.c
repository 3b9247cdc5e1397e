/* The table of an evaluation: what goes in comes out, from memory and from its file, whatever rows lack.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/table_parts.h"

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != WEIR_OK) fail_msg("%s", err.text);                                                               \
    } while (0)

static weir_error err;

enum { ROWS = 5000, MODELS = 5, DIM = 3 };

/* Numbers of row i: models come up one by one, arrays come and go. */
typedef struct made {
    weirp_logged_row row;
    double propensity[MODELS], target[MODELS], quality[MODELS], by_logger[2];
    float dense[DIM];
    char session[32], segment[32];
    size_t n_models;
} made;

static void make(made *m, size_t i) {
    m->n_models = i < 100 ? 2 : MODELS;
    for (size_t k = 0; k < MODELS; k++) {
        m->propensity[k] = (double)(i * MODELS + k);
        m->target[k] = -(double)(i * MODELS + k);
        m->quality[k] = k == 1 ? NAN : (double)(i + k);
    }
    for (size_t k = 0; k < DIM; k++) m->dense[k] = (float)(i + k);
    m->by_logger[0] = (double)i, m->by_logger[1] = 0.5;
    snprintf(m->session, sizeof m->session, "s%zu", i / 6);
    snprintf(m->segment, sizeof m->segment, "%zu", i % 7);
    m->row = (weirp_logged_row){.file = "f",
                                .line = i + 1,
                                .id = "",
                                .session = i % 10 ? m->session : "",
                                .segment = m->segment,
                                .logger = i % 2 ? "odd" : "even",
                                .time_ms = (int64_t)i * 1000,
                                .chosen = i % m->n_models,
                                .p = 1.0 / (double)(i + 1),
                                .propensity = i % 4 ? m->propensity : NULL,
                                .target = i % 5 ? NULL : m->target,
                                .quality_hat = m->quality,
                                .by_logger = i % 6 ? m->by_logger : NULL,
                                .n_loggers = 2,
                                .dense = i % 3 ? m->dense : NULL,
                                .dim = i == 1001 ? 2 : DIM,
                                .training = i,
                                .flags = (uint32_t)(i % 16)};
    m->row.metric[WEIR_METRIC_QUALITY] = i % 9 ? 0.25 : NAN;
    m->row.metric[WEIR_METRIC_COST] = (double)i;
    m->row.metric[WEIR_METRIC_LATENCY] = m->row.metric[WEIR_METRIC_ERROR] = NAN;
    m->row.metric[WEIR_METRIC_LOSS] = NAN;
}

static weirp_ope_table *make_table(size_t limit) {
    static const char *const names[MODELS] = {"a", "b", "c", "d", "e"};
    weirp_ope_table *t;
    size_t index[MODELS], n = 0;
    made m;
    err = (weir_error){0};
    OK(weirp_ope_table_new(&t, &err));
    /* the log's models aren't the table's in number */
    OK(weirp_ope_table_model(t, "b", &n, &err));
    for (size_t k = 0; k < 2; k++) OK(weirp_ope_table_model(t, names[k], &index[k], &err));
    t->blocks.limit = limit;
    for (size_t i = 0; i < ROWS; i++) {
        make(&m, i);
        for (size_t k = 0; i == 100 && k < MODELS; k++) OK(weirp_ope_table_model(t, names[k], &index[k], &err));
        OK(weirp_ope_table_add(t, &m.row, m.n_models, index, &err));
    }
    OK(weirp_ope_table_finish(t, 2, &err));
    return t;
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

/* Where the log's model k is in the table: b came first. */
static size_t place(size_t k) {
    return k == 0 ? 1 : k == 1 ? 0 : k;
}

static bool right_row(const weirp_ope_block *b, size_t at, const made *m, size_t i) {
    bool good = b->chosen[at] == place(m->row.chosen) && b->segment[at] == i % 7 && b->logger[at] == i % 2 &&
                b->flags[at] == i % 16 && b->time_ms[at] == (int64_t)i * 1000 && b->p[at] == m->row.p &&
                b->training[at] == i;
    const double *metric = b->metric + at * WEIR_N_METRICS;
    good = good && same(metric[0], m->row.metric[0]) && metric[1] == (double)i && isnan(metric[2]) &&
           same(metric[WEIR_METRIC_LOSS], i % 9 ? 2 * 0.75 + (double)i : NAN);
    for (size_t k = 0; k < MODELS; k++) {
        size_t cell = at * MODELS + place(k);
        bool there = k < m->n_models;
        good = good &&
               same(b->propensity[cell], !m->row.propensity ? NAN
                                         : there            ? m->propensity[k]
                                                            : 0) &&
               same(b->target[cell], !m->row.target ? NAN
                                     : there        ? m->target[k]
                                                    : 0) &&
               same(b->quality_hat[cell], there ? m->quality[k] : NAN);
    }
    for (size_t k = 0; k < 2; k++)
        good = good && same(b->by_logger[at * 2 + k], m->row.by_logger ? m->by_logger[k] : NAN);
    for (size_t k = 0; k < DIM; k++) {
        bool there = m->row.dense && m->row.dim == DIM;
        good = good && same((double)b->dense[at * DIM + k], there ? (double)m->dense[k] : NAN);
    }
    return good;
}

static bool right_table(const weirp_ope_table *t) {
    weirp_scan *scan;
    weirp_ope_block b;
    weir_error wrong = {0};
    made m;
    size_t i = 0;
    weir_status st = weirp_scan_new(&scan, t, &wrong);
    bool good = st == WEIR_OK;
    while (good && (st = weirp_scan_next(scan, &b, &wrong)) == WEIR_OK) {
        good = b.first == i && b.n_models == MODELS && b.dim == DIM && b.n_loggers == 2 && !b.cost_hat;
        for (size_t at = 0; good && at < b.n; at++, i++) {
            make(&m, i);
            good = right_row(&b, at, &m, i);
        }
    }
    good = good && st == WEIR_END && i == ROWS;
    good = good && weirp_scan_at(scan, 4096, &b, &wrong) == WEIR_OK && b.first == 4096 && b.p[0] == 1.0 / 4097;
    good = good && weirp_scan_at(scan, 1, &b, &wrong) == WEIR_OK && b.first == 0 && b.p[1] == 0.5;
    good = good && weirp_scan_at(scan, ROWS, &b, &wrong) == WEIR_END;
    weirp_scan_free(scan);
    return good;
}

static void check_facts(const weirp_ope_table *t) {
    assert_int_equal(weirp_ope_table_n(t), ROWS);
    assert_int_equal(weirp_ope_table_n_models(t), MODELS);
    assert_string_equal(weirp_ope_table_model_name(t, 0), "b");
    assert_int_equal(weirp_ope_table_n_segments(t), 7);
    assert_string_equal(weirp_ope_table_segment(t, 3), "3");
    assert_int_equal(weirp_ope_table_n_loggers(t), 2);
    assert_string_equal(t->loggers.text[1], "odd");
    assert_int_equal(weirp_ope_table_logger_rows(t, 0),
                     ROWS / 4); /* odd rows were cached, every other even one forced */
    assert_int_equal(weirp_ope_table_logger_rows(t, 1), 0);
    assert_int_equal(weirp_ope_table_dim(t), DIM);
    assert_true(weirp_ope_table_has_sessions(t));
    assert_int_equal(weirp_ope_table_n_decided(t), ROWS / 4);
    assert_int_equal(weirp_ope_table_known(t, WEIR_METRIC_QUALITY), ROWS / 4 - (ROWS + 35) / 36);
    assert_int_equal(weirp_ope_table_known(t, WEIR_METRIC_LOSS), ROWS / 4 - (ROWS + 35) / 36);
    assert_int_equal(weirp_ope_table_known(t, WEIR_METRIC_COST), ROWS / 4);
    assert_int_equal(weirp_ope_table_known(t, WEIR_METRIC_LATENCY), 0);
    assert_true(weirp_ope_table_mentions(t, WEIR_METRIC_LOSS) && !weirp_ope_table_mentions(t, WEIR_METRIC_LATENCY));
}

static void in_memory(void **state) {
    (void)state;
    weirp_ope_table *t = make_table(WEIRP_TABLE_MEMORY);
    assert_int_equal(t->blocks.fd, -1);
    check_facts(t);
    assert_true(right_table(t));
    weirp_ope_table_free(t);
}

static void in_a_file(void **state) {
    (void)state;
    const size_t limits[] = {0, 300000};
    for (size_t i = 0; i < 2; i++) {
        weirp_ope_table *t = make_table(limits[i]);
        assert_true(t->blocks.fd >= 0);
        check_facts(t);
        assert_true(right_table(t));
        weirp_ope_table_free(t);
    }
}

static void *scan_it(void *table) {
    for (int i = 0; i < 5; i++)
        if (!right_table(table)) return table;
    return NULL;
}

static void in_threads(void **state) {
    (void)state;
    pthread_t thread[4];
    void *wrong;
    weirp_ope_table *t = make_table(0);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, scan_it, t), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    weirp_ope_table_free(t);
}

/* ---- chances ---- */

/* What is known of row i's chances, of (0.3, 0.7) or of 1 for the second model: 'f' all, 's' 1 for the chosen one, 'p'
 * the chosen one's alone, 'c' the same of a row from a cache. */
static void chances_as(const char *kinds, const char *known) {
    static const double all[2] = {0.3, 0.7};
    weirp_ope_table *t;
    size_t model[2];
    weirp_scan *scan;
    weirp_ope_block b;
    err = (weir_error){0};
    OK(weirp_ope_table_new(&t, &err));
    OK(weirp_ope_table_model(t, "a", &model[0], &err));
    OK(weirp_ope_table_model(t, "b", &model[1], &err));
    for (const char *k = kinds; *k; k++) {
        weirp_logged_row row = {.file = "f", .id = "", .session = "", .segment = "", .logger = "", .chosen = 1};
        row.p = *k == 's' ? 1 : 0.7;
        row.propensity = *k == 'f' ? all : NULL;
        row.flags = *k == 'c' ? WEIRP_LOGGED_CACHED : 0;
        OK(weirp_ope_table_add(t, &row, 2, model, &err));
    }
    OK(weirp_ope_table_finish(t, 0, &err));
    OK(weirp_scan_new(&scan, t, &err));
    OK(weirp_scan_next(scan, &b, &err));
    for (size_t i = 0; kinds[i]; i++) {
        const double *p = b.propensity + 2 * i;
        if (known[i] == '?')
            assert_true(isnan(p[0]) && isnan(p[1]));
        else
            assert_true(p[0] == (kinds[i] == 's' ? 0 : 0.3) && p[1] == (kinds[i] == 's' ? 1 : 0.7));
    }
    weirp_scan_free(scan);
    weirp_ope_table_free(t);
}

static void a_chance_of_one_tells_all(void **state) {
    (void)state;
    chances_as("sss", "sss");
    chances_as("sfs", "sfs");
    chances_as("scs", "s?s");
    chances_as("ff", "ff");
    chances_as("sp", "??");
    chances_as("spf", "??f");
}

/* ---- clusters ---- */

static void clusters(void **state) {
    (void)state;
    enum { SESSIONS = 100000 };
    weirp_ope_table *t;
    size_t model;
    char session[32];
    uint32_t *cluster = calloc(SESSIONS, sizeof *cluster), *rows = calloc(WEIRP_MAX_CLUSTERS, sizeof *rows), most = 0;
    weirp_logged_row row = {.file = "f", .id = "", .session = session, .segment = "", .logger = "", .p = 1};
    err = (weir_error){0};
    OK(weirp_ope_table_new(&t, &err));
    OK(weirp_ope_table_model(t, "a", &model, &err));
    for (size_t i = 0; i < 2 * SESSIONS; i++) { /* each twice */
        snprintf(session, sizeof session, "s%zu", i % SESSIONS);
        OK(weirp_ope_table_add(t, &row, 1, &model, &err));
    }
    OK(weirp_ope_table_finish(t, 0, &err));
    assert_int_equal(weirp_ope_table_n_clusters(t), WEIRP_MAX_CLUSTERS);
    assert_int_equal(weirp_ope_table_known(t, WEIR_METRIC_LOSS), 0);
    weirp_scan *scan;
    weirp_ope_block b;
    OK(weirp_scan_new(&scan, t, &err));
    while (weirp_scan_next(scan, &b, &err) == WEIR_OK)
        for (size_t i = 0; i < b.n; i++) {
            size_t k = b.first + i;
            assert_true(b.cluster[i] < WEIRP_MAX_CLUSTERS);
            if (k < WEIRP_MAX_CLUSTERS) assert_int_equal(b.cluster[i], k);
            if (k < SESSIONS)
                cluster[k] = b.cluster[i];
            else
                assert_int_equal(b.cluster[i], cluster[k - SESSIONS]);
            if (++rows[b.cluster[i]] > most) most = rows[b.cluster[i]];
        }
    assert_true(most < 24); /* late sessions are spread over all, half a session a cluster */
    weirp_scan_free(scan);
    weirp_ope_table_free(t);
    free(cluster);
    free(rows);
}

/* Rows that nobody decided make no session, nor do they make a row's own a session. */
static void sessions_of_decided_rows(void **state) {
    (void)state;
    char session[32];
    size_t model;
    weirp_logged_row row = {.file = "f", .id = "", .session = session, .segment = "", .logger = "", .p = 1};
    for (size_t n_decided = 0; n_decided <= 10; n_decided += 10) {
        weirp_ope_table *t;
        err = (weir_error){0};
        OK(weirp_ope_table_new(&t, &err));
        OK(weirp_ope_table_model(t, "a", &model, &err));
        for (size_t i = 0; i < 1000; i++) {
            row.flags = i % 2 ? WEIRP_LOGGED_FORCED : WEIRP_LOGGED_CACHED;
            snprintf(session, sizeof session, "pinned %zu", i % 300);
            OK(weirp_ope_table_add(t, &row, 1, &model, &err));
            if (i >= n_decided) continue;
            row.flags = 0;
            snprintf(session, sizeof session, "decided %zu", i);
            OK(weirp_ope_table_add(t, &row, 1, &model, &err));
        }
        OK(weirp_ope_table_finish(t, 0, &err));
        assert_int_equal(weirp_ope_table_n_clusters(t), n_decided ? n_decided : 1);
        assert_false(weirp_ope_table_has_sessions(t));
        weirp_ope_table_free(t);
    }
}

static void rows_without_sessions(void **state) {
    (void)state;
    weirp_ope_table *t;
    size_t model;
    weirp_logged_row row = {.file = "f", .id = "", .session = "", .segment = "", .logger = "", .p = 1};
    err = (weir_error){0};
    OK(weirp_ope_table_new(&t, &err));
    OK(weirp_ope_table_model(t, "a", &model, &err));
    for (size_t i = 0; i < 70000; i++) OK(weirp_ope_table_add(t, &row, 1, &model, &err));
    OK(weirp_ope_table_finish(t, 0, &err));
    assert_int_equal(weirp_ope_table_n_clusters(t), WEIRP_MAX_CLUSTERS);
    assert_false(weirp_ope_table_has_sessions(t));
    weirp_ope_table_free(t);
}

/* ---- bounds ---- */

static void too_many_segments(void **state) {
    (void)state;
    weirp_ope_table *t;
    size_t model;
    char segment[32];
    weirp_logged_row row = {.file = "log.csv", .id = "", .session = "", .segment = segment, .logger = "", .p = 1};
    err = (weir_error){0};
    OK(weirp_ope_table_new(&t, &err));
    OK(weirp_ope_table_model(t, "a", &model, &err));
    for (size_t i = 0; i < WEIRP_MAX_TEXTS; i++) {
        snprintf(segment, sizeof segment, "%zu", i);
        OK(weirp_ope_table_add(t, &row, 1, &model, &err));
    }
    snprintf(segment, sizeof segment, "more");
    row.line = 4098;
    assert_int_equal(weirp_ope_table_add(t, &row, 1, &model, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "log.csv:4098: segment \"more\" is one of more than 4096"));
    weirp_ope_table_free(t);
}

static void no_room(void **state) {
    (void)state;
    const char *before = getenv("TMPDIR");
    char *kept = before ? strdup(before) : NULL;
    weirp_blocks b;
    weirp_blocks_init(&b);
    b.limit = 0;
    err = (weir_error){0};
    setenv("TMPDIR", "/nonexistent/folder", 1);
    assert_int_not_equal(weirp_blocks_add(&b, (const uint8_t *)"x", 1, &err), WEIR_OK);
    assert_non_null(strstr(err.text, "/nonexistent/folder"));
    weirp_blocks_free(&b);
    /* a full disk, said by a device that always is */
    err = (weir_error){0};
    b.limit = 0;
    b.folder = strdup("/dev/full's folder");
    b.fd = open("/dev/full", O_RDWR);
    assert_true(b.fd >= 0);
    assert_int_equal(weirp_blocks_add(&b, (const uint8_t *)"x", 1, &err), WEIR_FULL);
    weirp_blocks_free(&b);
    if (kept)
        setenv("TMPDIR", kept, 1);
    else
        unsetenv("TMPDIR");
    free(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(in_a_file),
        cmocka_unit_test(in_threads),
        cmocka_unit_test(clusters),
        cmocka_unit_test(sessions_of_decided_rows),
        cmocka_unit_test(rows_without_sessions),
        cmocka_unit_test(too_many_segments),
        cmocka_unit_test(no_room),
        cmocka_unit_test(a_chance_of_one_tells_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Candidate policies: closed forms of their chances, and specs that can't be right.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/ope_made.h"

#include <unistd.h>

#include "src/ope/target.h"
#include "src/router/session.h"
#include "weir/data.h"
#include "weir/simulate.h"

enum { M = 3 };
static const char *const models[M] = {"small", "middle", "large"};
static const double quality[M] = {0.3, 0.6, 0.9}, cost[M] = {0.001, 0.004, 0.02};

/* Rows: 0 all known; 1 no estimates; 2 only p; 3 a deterministic log without estimates; 4 `small` not to be had. */
static weirp_ope_table *make(void) {
    static const double even[M] = {0.25, 0.25, 0.5}, sure[M] = {0, 1, 0}, two[M] = {0, 0.5, 0.5};
    static const double q2[M] = {NAN, 0.6, 0.9}, c2[M] = {NAN, 0.004, 0.02}, column[M] = {0.1, 0.2, 0.7};
    weirp_ope_table *table = table_of(models, M);
    for (int k = 0; k < 5; k++) {
        weirp_logged_row row = row_new(1, k == 3 ? 1 : k == 4 ? 0.5 : 0.25);
        row.segment = k % 2 ? "b" : "a";
        row.propensity = k == 2 ? NULL : k == 3 ? sure : k == 4 ? two : even;
        row.quality_hat = k == 0 ? quality : k == 4 ? q2 : NULL;
        row.cost_hat = k == 0 ? cost : k == 4 ? c2 : NULL;
        row.target = k == 0 ? column : NULL;
        row.metric[WEIR_METRIC_QUALITY] = 1;
        table_row(table, &row, M);
    }
    table_done(table);
    return table;
}

static weirp_ope_target *target_of(const weirp_ope_table *table, const char *text) {
    weirp_ope_target *target = NULL;
    weir_error err = {0};
    must(weirp_ope_target_new(&target, text, table, NULL, &err), &err);
    return target;
}

/* Chances of all five rows. */
static size_t fill(const weirp_ope_table *table, weirp_ope_target *target, double pi[5][M]) {
    weir_error err = {0};
    size_t undecided = 0;
    EACH_BLOCK(table, b) must(weirp_ope_target_fill(target, &b, &pi[0][0], &undecided, &err), &err);
    return undecided;
}

static void expect(const double *pi, double a, double b, double c) {
    const double right[M] = {a, b, c};
    for (int m = 0; m < M; m++)
        if (!(fabs(pi[m] - right[m]) < 1e-12) && !(isnan(pi[m]) && isnan(right[m])))
            fail_msg("%g %g %g, not %g %g %g", pi[0], pi[1], pi[2], a, b, c);
}

static void each(const char *text, size_t undecided, const double right[5][M]) {
    weirp_ope_table *table = make();
    weirp_ope_target *target = target_of(table, text);
    double pi[5][M];
    assert_int_equal(fill(table, target, pi), undecided);
    for (int k = 0; k < 5; k++) expect(pi[k], right[k][0], right[k][1], right[k][2]);
    weirp_ope_target_free(target);
    weirp_ope_table_free(table);
}

#define T 1.0 / 3
#define NO                                                                                                             \
    { NAN, NAN, NAN }

static void closed_forms(void **state) {
    (void)state;
    each("plugin,value=0", 3, (double[5][M]){{1, 0, 0}, NO, NO, NO, {0, 1, 0}});
    each("plugin,value=inf", 3, (double[5][M]){{0, 0, 1}, NO, NO, NO, {0, 0, 1}});
    /* small 0.007 + 0.001, middle 0.004 + 0.004, large 0.001 + 0.02 at 0.01; at 0.02 middle wins */
    each("plugin,value=0.02", 3, (double[5][M]){{0, 1, 0}, NO, NO, NO, {0, 1, 0}});
    each("plugin,mu=1", 3, (double[5][M]){{1, 0, 0}, NO, NO, NO, {0, 1, 0}});
    each("plugin,mu=0,fallback=off", 3, (double[5][M]){{0, 0, 1}, NO, NO, NO, {0, 0, 1}});
    each("plugin,value=0,explore=0.1", 3, (double[5][M]){{0.8, 0.1, 0.1}, NO, NO, NO, {0, 0.9, 0.1}});
    each("constrained,value=inf,max_cost=0.005", 3, (double[5][M]){{0, 1, 0}, NO, NO, NO, {0, 1, 0}});
    each("threshold,threshold=0", 3, (double[5][M]){{0, 0, 1}, NO, NO, NO, {0, 0, 1}});
    each("threshold", 3, (double[5][M]){{0, 0, 1}, NO, NO, NO, {0, 0, 1}});             /* at 0.5 */
    each("threshold,threshold=2", 3, (double[5][M]){{1, 0, 0}, NO, NO, NO, {0, 1, 0}}); /* the cheapest of the row */
    each("threshold,threshold=0,strong=middle", 3, (double[5][M]){{0, 1, 0}, NO, NO, NO, {0, 1, 0}});
    each("threshold,threshold=2,weak=small", 3, (double[5][M]){{1, 0, 0}, NO, NO, NO, {0, 0, 1}});
    each("fixed,model=large", 0, (double[5][M]){{0, 0, 1}, {0, 0, 1}, {0, 0, 1}, {0, 0, 1}, {0, 0, 1}});
    each("fixed,model=small,explore=0.1", 0,
         (double[5][M]){{0.8, 0.1, 0.1}, {0.8, 0.1, 0.1}, {0.8, 0.1, 0.1}, {0.8, 0.1, 0.1}, {0.8, 0.1, 0.1}});
    /* a deterministic log doesn't tell who could have been chosen: anyone */
    each("random", 0, (double[5][M]){{T, T, T}, {T, T, T}, {T, T, T}, {T, T, T}, {0, 0.5, 0.5}});
    each("logged", 0,
         (double[5][M]){{0.25, 0.25, 0.5}, {0.25, 0.25, 0.5}, {0.375, 0.25, 0.375}, {0, 1, 0}, {0, 0.5, 0.5}});
    each("column", 4, (double[5][M]){{0.1, 0.2, 0.7}, NO, NO, NO, NO});
}

static void knobs_turn(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double low, high, bad;
        double pi_low[M], pi_high[M];
    } cases[] = {
        {"plugin,value=?", 0, INFINITY, -1, {1, 0, 0}, {0, 0, 1}},
        {"plugin,mu=?", 1, 0, 1.5, {1, 0, 0}, {0, 0, 1}},
        {"threshold,threshold=?,weak=small", 2, 0, NAN, {1, 0, 0}, {0, 0, 1}},
        {"plugin,explore=?,value=0", 0, T, 2, {1, 0, 0}, {T, T, T}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weirp_ope_table *table = make();
        weirp_ope_target *target = target_of(table, cases[k].text);
        weir_error err = {0};
        double pi[5][M];
        must(weirp_ope_target_turn(target, cases[k].low, &err), &err);
        fill(table, target, pi);
        expect(pi[0], cases[k].pi_low[0], cases[k].pi_low[1], cases[k].pi_low[2]);
        must(weirp_ope_target_turn(target, cases[k].high, &err), &err);
        fill(table, target, pi);
        expect(pi[0], cases[k].pi_high[0], cases[k].pi_high[1], cases[k].pi_high[2]);
        assert_int_equal(weirp_ope_target_turn(target, cases[k].bad, &err), WEIR_INVALID);
        weirp_ope_target_free(target);
        weirp_ope_table_free(table);
    }
    weirp_ope_table *table = make();
    weirp_ope_target *target = target_of(table, "plugin,value=3,name=mine");
    weir_error err = {0};
    assert_int_equal(weirp_ope_target_turn(target, 1, &err), WEIR_INVALID);
    assert_string_equal(weirp_ope_target_name(target), "mine");
    assert_false(weirp_ope_target_is_logged(target));
    weirp_ope_target_free(target);
    weirp_ope_table_free(table);
}

enum { TURNS = 9 };

/* Chances at each setting, from runs of settings. */
typedef struct runs {
    double pi[TURNS][M];
    size_t next;
} runs;

static void take_run(void *context, size_t begin, size_t end, const double *pi, size_t sure) {
    runs *r = context;
    assert_int_equal(begin, r->next);
    assert_true(end > begin && end <= TURNS);
    for (size_t k = begin; k < end; k++)
        for (size_t m = 0; m < M; m++) r->pi[k][m] = pi ? pi[m] : sure == WEIRP_NOT_SURE ? NAN : (double)(sure == m);
    r->next = end;
}

/* A row at all settings at once: to the last bit what it is at each. */
static void turns_are_each_alone(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double knob[TURNS];
    } cases[] = {
        {"plugin,value=?", {0, 0.001, 0.01, 0.01, 0.02, 0.0533, 0.06, 1, INFINITY}},
        {"plugin,value=?,explore=0.1", {0, 0.001, 0.01, 0.01, 0.02, 0.0533, 0.06, 1, INFINITY}},
        {"plugin,mu=?", {0, 0.1, 0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 1}},
        {"plugin,explore=?,value=0.02", {0, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1.0 / 3}},
        {"threshold,threshold=?,weak=small", {-1, 0, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 2}},
        {"constrained,max_cost=?,value=inf", {0, 0.001, 0.002, 0.004, 0.004, 0.01, 0.02, 1, INFINITY}},
        {"constrained,value=?,max_cost=0.01", {0, 0.001, 0.01, 0.01, 0.02, 0.0533, 0.06, 1, INFINITY}},
        {"random,explore=?", {0, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1.0 / 3}},
        {"fixed,model=small,explore=?", {0, 0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1.0 / 3}},
    };
    weirp_ope_table *table = make();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        weirp_ope_target *many = target_of(table, cases[c].text), *one = target_of(table, cases[c].text);
        weir_error err = {0};
        must(weirp_ope_target_set_turns(many, cases[c].knob, TURNS, &err), &err);
        for (size_t i = 0; i < 5; i++) {
            runs r = {.next = 0};
            EACH_BLOCK(table, b) must(weirp_ope_target_each_turn(many, &b, i, take_run, &r, &err), &err);
            assert_int_equal(r.next, TURNS);
            for (size_t k = 0; k < TURNS; k++) {
                double pi[5][M];
                must(weirp_ope_target_turn(one, cases[c].knob[k], &err), &err);
                fill(table, one, pi);
                for (size_t m = 0; m < M; m++)
                    if (r.pi[k][m] != pi[i][m] && !(isnan(r.pi[k][m]) && isnan(pi[i][m])))
                        fail_msg("%s, row %zu, setting %zu, model %zu: %g, alone %g", cases[c].text, i, k, m,
                                 r.pi[k][m], pi[i][m]);
            }
        }
        assert_int_equal(weirp_ope_target_set_turns(many, (double[]){0, -2}, 2, &err),
                         strncmp(cases[c].text, "threshold", 9) != 0 ? WEIR_INVALID : WEIR_OK);
        weirp_ope_target_free(many);
        weirp_ope_target_free(one);
    }
    weirp_ope_target *closed = target_of(table, "plugin,value=3");
    weir_error err = {0};
    assert_int_equal(weirp_ope_target_set_turns(closed, (double[]){0}, 1, &err), WEIR_INVALID);
    EACH_BLOCK(table, b)
    assert_int_equal(weirp_ope_target_each_turn(closed, &b, 0, take_run, NULL, &err), WEIR_INVALID);
    weirp_ope_target_free(closed);
    weirp_ope_table_free(table);
}

/* What is wrong, and what its message must say. */
static void malformed_specs(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "no policy is named"},
        {"plugn", "did you mean plugin"},
        {"zzz", "there are logged, column, table, plugin"},
        {"zzz", "random"},
        {"oracel", "no policy is named \"oracel\": there are"},
        {"plugin,valeu=1", "did you mean value"},
        {"plugin,threshold=1", "has no key \"threshold\""},
        {"plugin,value", "must be KEY=VALUE"},
        {"plugin,=1", "must be KEY=VALUE"},
        {"plugin,", "must be KEY=VALUE"},
        {"plugin,value=", "has no value"},
        {"plugin,value=-1", "value must be USD, 0 or more"},
        {"plugin,value=nan", "value must be USD"},
        {"plugin,value=1e999", "value must be USD"},
        {"plugin,value=1x", "not \"1x\""},
        {"plugin,value=1,value=2", "value is given twice"},
        {"plugin,value=1,mu=0.5", "value and mu say the same"},
        {"plugin,mu=1.5", "mu must be a number from 0 to 1"},
        {"plugin,value=?,explore=?", "only one knob"},
        {"plugin,explore=0.5", "exploration floor"},
        {"plugin,explore=inf", "explore must be"},
        {"plugin,fallback=maybe", "fallback must be on or off"},
        {"plugin,fallback=on", "name the store"},
        {"plugin,latency_usd_per_s=1", "name the store"},
        {"constrained,max_latency=100", "name the store"},
        {"thompson", "name the store"},
        {"minimax", "name the store"},
        {"oracle", "needs the truth"},
        {"fixed", "needs model=M"},
        {"fixed,model=lagre", "did you mean large"},
        {"fixed,model=gpt", "it knows small, middle, large"},
        {"fixed,model=?", "model can't be left open (model=?); what can: explore"},
        {"plugin,novelty_limit=?", "what can: value, mu, latency_usd_per_s, explore"},
        {"threshold,strong=zzzzzzzz", "strong: the log knows no model"},
        {"table", "needs file=F"},
        {"table,file=/nowhere/at/all.csv", "/nowhere/at/all.csv"},
        {"logged,value=1", "has no key \"value\""},
        {"column,file=x", "has no key \"file\""},
        {"column,rolout=x", "did you mean rollout?"},
        {"column,rollout=", "rollout has no value"},
        {"column,rollout=a,rollout=a", "rollout is given twice"},
        {"column,rollout=a", "of a rollout \"a\": there are a mapping's target (1 rows)"},
        {"logged,rollout=a", "has no key \"rollout\""},
    };
    weirp_ope_table *table = make();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weirp_ope_target *target = NULL;
        weir_error err = {0};
        weir_status st = weirp_ope_target_new(&target, cases[k][0], table, NULL, &err);
        if (st == WEIR_OK || !strstr(err.text, cases[k][1])) fail_msg("\"%s\": %s", cases[k][0], err.text);
        assert_null(target);
    }
    weirp_ope_table_free(table);
}

/* ---- several rollouts ---- */

/* A row of a rollout, whose candidate takes model `to`. */
static void trial_row(weirp_ope_table *table, const char *trial, uint64_t digest, size_t to, int64_t ms,
                      uint32_t flags) {
    static const double even[M] = {0.25, 0.25, 0.5};
    double column[M] = {0, 0, 0};
    column[to] = 1;
    weirp_logged_row row = row_new(1, 0.25);
    row.propensity = even;
    row.target = column;
    row.trial = trial;
    row.trial_digest = digest;
    row.time_ms = ms;
    row.flags = flags;
    table_row(table, &row, M);
}

static void refuses(const weirp_ope_table *table, const char *text, const char *right) {
    weirp_ope_target *target = NULL;
    weir_error err = {0};
    assert_int_equal(weirp_ope_target_new(&target, text, table, NULL, &err), WEIR_INVALID);
    assert_string_equal(err.text, right);
}

enum { TRIALS = 2100 /* more than a block */ };

/* Rows in turn of "a", "b" and none; the model is 0, 1, none. */
static weirp_ope_table *of_two_rollouts(void) {
    weirp_ope_table *table = table_of(models, M);
    for (int64_t i = 0; i < TRIALS; i++) {
        weirp_logged_row plain = row_new(1, 0.25);
        if (i % 3 == 2)
            table_row(table, &plain, M);
        else
            trial_row(table, i % 3 ? "b" : "a", 0x1200, (size_t)(i % 3), i, 0);
    }
    table_done(table);
    return table;
}

static void a_rollout_is_chosen_by_name(void **state) {
    (void)state;
    weirp_ope_table *table = of_two_rollouts();
    static const char *const names[] = {"column,rollout=a,name=mine", "column,rollout=b"};
    for (size_t k = 0; k < 2; k++) {
        weirp_ope_target *target = target_of(table, names[k]);
        double *pi = calloc(WEIRP_BLOCK_ROWS * M, sizeof *pi);
        size_t undecided = 0;
        EACH_BLOCK(table, b) {
            weir_error err = {0};
            must(weirp_ope_target_fill(target, &b, pi, &undecided, &err), &err);
            for (size_t i = 0; i < b.n; i++)
                if ((b.first + i) % 3 == k)
                    expect(pi + i * M, k == 0, k == 1, 0);
                else
                    expect(pi + i * M, NAN, NAN, NAN);
        }
        assert_int_equal(undecided, TRIALS / 3 * 2);
        free(pi);
        weirp_ope_target_free(target);
    }
    refuses(table, "column",
            "policy column: the log has the candidates of 2 rollouts, which are different policies: \"a\" (700 rows), "
            "\"b\" (700 rows): choose one, as column,rollout=NAME");
    refuses(table, "column,rollout=c",
            "policy column: no row that is read is of a rollout \"c\": there are \"a\" (700 rows), \"b\" (700 rows)");
    weirp_ope_table_free(table);
}

/* One name, two configurations; a mapping's target; rows that nobody decided, which are no reason to refuse. */
static void configurations_are_told_apart(void **state) {
    (void)state;
    enum { DAY = 86400000 };
    weirp_ope_table *table = table_of(models, M);
    for (int64_t i = 0; i < 6; i++) trial_row(table, "a", i < 4 ? 0x100 : 0x200, 0, (i + 1) * DAY, 0);
    trial_row(table, "pinned", 0x100, 0, DAY, WEIRP_LOGGED_FORCED);
    table_done(table);
    static const char several[] =
        "policy column: the rollout \"a\" has had 2 configurations, which may be different policies: 4 rows from "
        "1970-01-02T00:00:00Z to 1970-01-05T00:00:00Z, 2 rows from 1970-01-06T00:00:00Z to 1970-01-07T00:00:00Z: "
        "choose "
        "one by its time, with since and until";
    refuses(table, "column", several);
    refuses(table, "column,rollout=a", several);
    refuses(table, "column,rollout=pinned",
            "policy column: no row that is read is of a rollout \"pinned\": there are \"a\" (6 rows)");
    weirp_ope_table_free(table);

    table = table_of(models, M);
    trial_row(table, "a", 0x100, 0, DAY, 0);
    trial_row(table, "pinned", 0x100, 0, DAY, WEIRP_LOGGED_FORCED);
    table_done(table);
    weirp_ope_target_free(target_of(table, "column"));
    weirp_ope_table_free(table);

    table = table_of(models, M);
    trial_row(table, "", 0, 0, WEIRP_LOGGED_NO_TIME, 0);
    trial_row(table, "a", 0x100, 0, WEIRP_LOGGED_NO_TIME, 0);
    trial_row(table, "a", 0x200, 0, WEIRP_LOGGED_NO_TIME, 0);
    table_done(table);
    refuses(table, "column",
            "policy column: the log has the candidates of 2 rollouts, which are different policies: a mapping's target "
            "(1 rows), \"a\" (2 rows): choose one, as column,rollout=NAME");
    refuses(
        table, "column,rollout=a",
        "policy column: the rollout \"a\" has had 2 configurations, which may be different policies: 1 rows without "
        "a time, 1 rows without a time: choose one by its time, with since and until");
    weirp_ope_table_free(table);
}

/* However many there are, what is kept of them is bounded, and no message too long. */
static void many_rollouts(void **state) {
    (void)state;
    static const size_t numbers[] = {4095, 5000};
    for (size_t k = 0; k < 2; k++) {
        weirp_ope_table *table = table_of(models, M);
        char name[300];
        for (size_t i = 0; i < numbers[k]; i++) {
            memset(name, 'n', sizeof name);
            snprintf(name + 40, sizeof name - 40, "%zu", i);
            if (i < 2) name[40 + 1] = 'n', name[sizeof name - 1] = 0; /* longer than any that a gateway takes */
            trial_row(table, name, 0x100, 0, 1, 0);
        }
        table_done(table);
        assert_int_equal(weirp_ope_table_n_trials(table), 4096);
        weirp_ope_target *target = NULL;
        weir_error err = {0};
        assert_int_equal(weirp_ope_target_new(&target, "column", table, NULL, &err), WEIR_INVALID);
        assert_non_null(strstr(err.text, k ? "more than 4095 rollouts: choose some by their time"
                                           : "of 4095 rollouts, which are different policies"));
        assert_non_null(strstr(err.text, k ? "since and until" : "and 4091 more: choose one, as column,rollout=NAME"));
        assert_int_equal(weirp_ope_table_has_more_trials(table), k == 1);
        weirp_ope_table_free(table);
    }
}

/* A file's text, and what comes of it: a message, or the chances of rows in segments a and b. */
static void tables_from_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *wrong;
        double a[M], b[M];
    } cases[] = {
        {"0.2,0.1\n0.3,0.4\n0.5,0.5\n", NULL, {0.2, 0.3, 0.5}, {0.1, 0.4, 0.5}},
        {"0.2\n0.3\n0.5\n", NULL, {0.2, 0.3, 0.5}, {0.2, 0.3, 0.5}},
        {"0.2\n0.3\n0.4999\n", NULL, {0.2, 0.3, 0.4999}, {0.2, 0.3, 0.4999}}, /* rounded: as it is written */
        {"model,chance\nlarge,1\n", NULL, {0, 0, 1}, {0, 0, 1}},
        {"chance,segment,model\n1,a,small\n0.5,b,small\n0.5,b,middle\n0,b,other\n", NULL, {1, 0, 0}, {0.5, 0.5, 0}},
        {"model,chance\nother,1\n", "knows no model \"other\"", {0}, {0}},
        {"model,chance\nlarge,1\nlarge,1\n", ":3: the chance of model \"large\" is there already", {0}, {0}},
        {"segment,model,chance\na,small,1\nb,small,1\n", NULL, {1, 0, 0}, {1, 0, 0}},
        {"0.2\n0.3\n0.4\n", "sum to 0.9", {0}, {0}},
        {"0.2\n0.3\n0.5\n0.1\n", "knows no model \"3\"", {0}, {0}},
        {"0.2,0.2,0.2\n", "where the log has 2 segments", {0}, {0}},
        {"0.2,0.2\n0.3\n", ":2: 1 columns", {0}, {0}},
        {"0.2\nnan\n", ":2: a chance must be", {0}, {0}},
        {"-0.2\n", "a chance must be", {0}, {0}},
        {"1.2\n", "a chance must be", {0}, {0}},
        {"what,is,this\n", "rows of numbers, or has a header", {0}, {0}},
        {"model,chance\nsmall\n", "too few columns", {0}, {0}},
        {"", "is empty", {0}, {0}},
    };
    char path[] = "/tmp/weir-ope-target-XXXXXX", text[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    weirp_ope_table *table = make();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        FILE *file = fopen(path, "w");
        fputs(cases[k].text, file);
        fclose(file);
        snprintf(text, sizeof text, "table,file=%s", path);
        weirp_ope_target *target = NULL;
        weir_error err = {0};
        weir_status st = weirp_ope_target_new(&target, text, table, NULL, &err);
        if (cases[k].wrong) {
            if (st == WEIR_OK || !strstr(err.text, cases[k].wrong)) fail_msg("\"%s\": %s", cases[k].text, err.text);
            continue;
        }
        must(st, &err);
        double pi[5][M];
        assert_int_equal(fill(table, target, pi), 0);
        expect(pi[0], cases[k].a[0], cases[k].a[1], cases[k].a[2]);
        expect(pi[1], cases[k].b[0], cases[k].b[1], cases[k].b[2]);
        weirp_ope_target_free(target);
    }
    unlink(path);
    weirp_ope_table_free(table);
}

/* Models called by numbers, segments in numerical order: rows of the matrix are the models' names. */
static void matrix_of_numbers(void **state) {
    (void)state;
    static const char *const names[] = {"2", "0", "1"}, *const segments[] = {"10", "9"};
    char path[] = "/tmp/weir-ope-target-XXXXXX", text[128];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    fputs("0.1,0.2\n0.3,0.3\n0.6,0.5\n", file);
    fclose(file);
    weirp_ope_table *table = table_of(names, 3);
    for (int k = 0; k < 2; k++) {
        weirp_logged_row row = row_new(0, 0.5);
        row.segment = segments[k];
        table_row(table, &row, 3);
    }
    table_done(table);
    snprintf(text, sizeof text, "table,file=%s", path);
    weirp_ope_target *target = target_of(table, text);
    double pi[5][M];
    fill(table, target, pi);
    expect(pi[0], 0.5, 0.2, 0.3); /* segment 10 is the second column */
    expect(pi[1], 0.6, 0.1, 0.3);
    weirp_ope_target_free(target);
    weirp_ope_table_free(table);
    unlink(path);
}

/* ---- with a router ---- */

static char store[64];

static int make_store_path(void **state) {
    (void)state;
    snprintf(store, sizeof store, "/tmp/weir-ope-target-%ld.mdb", (long)getpid());
    unlink(store);
    return 0;
}

static int remove_store(void **state) {
    (void)state;
    char lock[80];
    unlink(store);
    snprintf(lock, sizeof lock, "%s-lock", store);
    unlink(lock);
    return 0;
}

enum { ROUTED = 5, ASKED = 200 };

/* One asked prompt as a row: the table's model order[m] is the router's model m; model 0 is one it doesn't know. */
static void log_prompt(weirp_ope_table *table, const weir_session *session, const size_t order[ROUTED],
                       uint64_t training) {
    const weirp_workspace *w = &session->workspace;
    double q[ROUTED + 1] = {NAN}, c[ROUTED + 1] = {NAN}, p[ROUTED + 1] = {0};
    for (size_t m = 0; m < ROUTED; m++) {
        q[order[m]] = w->estimates.quality[m];
        c[order[m]] = w->estimates.cost_usd[m];
        p[order[m]] = 1.0 / ROUTED;
    }
    weirp_logged_row row = row_new(order[0], 1.0 / ROUTED);
    row.propensity = p;
    row.quality_hat = q;
    row.cost_hat = c;
    row.dense = w->features.dense;
    row.dim = w->features.dim;
    row.training = training;
    table_row(table, &row, ROUTED + 1);
}

/* From features and logged costs alone a router's policy gives what the session gave to the prompt. */
static void a_router_is_asked_again(void **state) {
    (void)state;
    static const size_t order[ROUTED] = {3, 1, 5, 2, 4};
    static const struct {
        const char *text, *policy;
        double value;
    } cases[] = {
        {"plugin,value=0.001,novelty_limit=1", "plugin", 0.001},
        {"plugin,value=0.01,novelty_limit=1,explore=0.05", "plugin", 0.01},
        {"thompson,value=0.01", "thompson", 0.01},
        {"minimax,value=0.02", "minimax", 0.02},
        {"plugin,value=0.01,latency_usd_per_s=0.001,novelty_limit=1", "plugin", 0.01},
    };
    weir_simulate_options so = {.n_prompts = 600, .n_models = ROUTED, .seed = 4};
    weir_train_options to = {.estimator = "ridge", .seed = 1};
    weir_dataset *data = NULL;
    weir_router *router = NULL;
    weir_session *session = NULL;
    weir_error err = {0};
    must(weir_simulate(&data, NULL, &so, &err), &err);
    must(weir_train(store, data, &to, NULL, &err), &err);
    must(weir_router_open(&router, store, &err), &err);
    must(weir_session_new(&session, router, &err), &err);
    uint64_t training = 0;
    must(weirp_target_router_training(&training, router, &err), &err);
    const char *names[ROUTED + 1] = {"unknown"};
    for (size_t m = 0; m < ROUTED; m++) names[order[m]] = weir_router_model(router, m);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        weirp_ope_table *table = table_of(names, ROUTED + 1);
        double right[ASKED][ROUTED], *pi = calloc((ASKED + 2) * (ROUTED + 1), sizeof *pi);
        for (size_t i = 0; i < ASKED; i++) {
            weir_policy_options o = weir_policy_defaults();
            const weir_decision *d;
            o.policy = cases[k].policy;
            o.value_usd = cases[k].value;
            o.novelty_limit = 1;
            o.explore_floor = k == 1 ? 0.05 : 0;
            o.latency_usd_per_s = k == 4 ? 0.001 : 0;
            must(weir_decide(session, data->prompts[i], data->prompt_lens[i], &o, &d, NULL, &err), &err);
            memcpy(right[i], d->propensity, sizeof right[i]);
            log_prompt(table, session, order, training);
        }
        log_prompt(table, session, order, 0);            /* nobody knows whose features */
        log_prompt(table, session, order, training + 1); /* another training's */
        table_done(table);
        weirp_ope_target *target = NULL;
        must(weirp_ope_target_new(&target, cases[k].text, table, router, &err), &err);
        size_t undecided = 0;
        EACH_BLOCK(table, b)
        must(weirp_ope_target_fill(target, &b, pi + b.first * (ROUTED + 1), &undecided, &err), &err);
        assert_int_equal(undecided, 2);
        assert_true(isnan(pi[ASKED * (ROUTED + 1)]) && isnan(pi[(ASKED + 1) * (ROUTED + 1)]));
        for (size_t i = 0; i < ASKED; i++) {
            assert_true(pi[i * (ROUTED + 1)] == 0);
            for (size_t m = 0; m < ROUTED; m++)
                if (!(fabs(pi[i * (ROUTED + 1) + order[m]] - right[i][m]) < 1e-9))
                    fail_msg("%s: row %zu, model %zu: %g, not %g", cases[k].text, i, m, pi[i * (ROUTED + 1) + order[m]],
                             right[i][m]);
        }
        weirp_ope_target_free(target);
        weirp_ope_table_free(table);
        free(pi);
    }
    weir_session_free(session);
    weir_router_close(router);
    weir_dataset_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(knobs_turn),
        cmocka_unit_test(turns_are_each_alone),
        cmocka_unit_test(malformed_specs),
        cmocka_unit_test(a_rollout_is_chosen_by_name),
        cmocka_unit_test(configurations_are_told_apart),
        cmocka_unit_test(many_rollouts),
        cmocka_unit_test(tables_from_files),
        cmocka_unit_test(matrix_of_numbers),
        cmocka_unit_test_setup_teardown(a_router_is_asked_again, make_store_path, remove_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

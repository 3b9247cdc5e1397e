/* Metrics: counted by several threads, summed by the writer, in a form that Prometheus takes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/gateway/observe/metrics_set.h"

static const char *const models[] = {"gpt-4o", "odd \"name\"\\\n{}"};
static const char *const deployments[] = {"openai/gpt-4o", "b", "c"};
static const size_t deployment_model[] = {0, 1, 1};
static const weirp_metric_names names = {2, 3, models, deployments, deployment_model, {"chat", "messages"}};

/* New; free it. */
static char *scrape(weirp_metrics *const *sets, size_t n, const weirp_metric_facts *facts) {
    weirp_writer w = {0};
    weirp_metrics_write(sets, n, facts, &w);
    weirp_put(&w, "", 1);
    assert_false(w.failed);
    return (char *)w.data;
}

/* The value of a series, as text; NULL: there is none. Borrowed until the next call. */
static const char *value(const char *text, const char *series) {
    static char out[64];
    size_t len = strlen(series);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, series, len) || line[len] != ' ') continue;
        snprintf(out, sizeof out, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
        return out;
    }
    return NULL;
}

#define VALUE(text, series, expected)                                                                                  \
    do {                                                                                                               \
        const char *got = value(text, series);                                                                         \
        if (!got || strcmp(got, expected))                                                                             \
            fail_msg("%s is %s, must be %s\n%s", series, got ? got : "absent", expected, text);                        \
    } while (0)

static void count_everything(weirp_metrics *m) {
    weirp_metrics_request(m, 0, 200, 0.0012);
    weirp_metrics_request(m, 0, 200, 400);
    weirp_metrics_request(m, 1, 429, 0.001);
    weirp_metrics_request(m, 0, 7, 1);
    weirp_metrics_decision(m, 0, WEIR_RULE_PLUGIN, 15e-6);
    weirp_metrics_decision(m, 1, WEIR_RULE_MINIMAX, 10e-6);
    weirp_metrics_attempt(m, 0, WEIRP_RESULT_OK, 0.3);
    weirp_metrics_attempt(m, 2, WEIRP_RESULT_RATE_LIMIT, 0.01);
    weirp_metrics_first_token(m, 1, 0.2);
    weirp_metrics_first_token(m, 1, NAN);
    weirp_metrics_overhead(m, 99e-6);
    weirp_metrics_tokens(m, 0, (double[]){1000, 250, 0, 20.5, NAN});
    weirp_metrics_cost(m, 0, 0.1, 0.2, false);
    weirp_metrics_cost(m, 0, 0.2, NAN, true);
    weirp_metrics_cost(m, 1, NAN, 1e-7, true);
    weirp_metrics_fallback(m, 0, 1);
    weirp_metrics_retry(m, 1);
    weirp_metrics_hedge(m, 1, true);
    weirp_metrics_hedge(m, 1, false);
    weirp_metrics_active(m, 5, 2);
    weirp_metrics_active(m, -1, -1);
    weirp_metrics_client_gone(m);
}

static void every_series(void **state) {
    (void)state;
    weirp_metrics *m;
    assert_int_equal(weirp_metrics_new(&m, &names, NULL), WEIR_OK);
    count_everything(m);
    int breaker[3] = {0, 2, 1};
    weirp_metric_facts facts = {.breaker = breaker,
                                .uptime_s = 12.5,
                                .store_version = 42,
                                .feedbacks = 7,
                                .config_loaded_unix_s = 1795301411.123,
                                .snapshot_age_s = 0.25,
                                .log_dropped = 3};
    char *t = scrape(&m, 1, &facts);
    VALUE(t, "weir_requests_total{endpoint=\"chat\",code=\"200\"}", "2");
    VALUE(t, "weir_requests_total{endpoint=\"messages\",code=\"429\"}", "1");
    VALUE(t, "weir_requests_total{endpoint=\"chat\",code=\"other\"}", "1");
    VALUE(t, "weir_request_duration_seconds_bucket{endpoint=\"chat\",le=\"0.001\"}", "0");
    VALUE(t, "weir_request_duration_seconds_bucket{endpoint=\"chat\",le=\"0.0025\"}", "1");
    VALUE(t, "weir_request_duration_seconds_bucket{endpoint=\"chat\",le=\"300\"}", "2");
    VALUE(t, "weir_request_duration_seconds_bucket{endpoint=\"chat\",le=\"+Inf\"}", "3");
    VALUE(t, "weir_request_duration_seconds_count{endpoint=\"chat\"}", "3");
    VALUE(t, "weir_request_duration_seconds_sum{endpoint=\"chat\"}", "401.001200000");
    VALUE(t, "weir_request_duration_seconds_bucket{endpoint=\"messages\",le=\"0.001\"}", "1"); /* bounds are in */
    VALUE(t, "weir_decisions_total{model=\"gpt-4o\",rule=\"plugin\"}", "1");
    VALUE(t, "weir_decisions_total{model=\"odd \\\"name\\\"\\\\\\n{}\",rule=\"minimax\"}", "1");
    VALUE(t, "weir_decision_duration_seconds_bucket{le=\"1e-05\"}", "1");
    VALUE(t, "weir_decision_duration_seconds_bucket{le=\"2e-05\"}", "2");
    VALUE(t, "weir_decision_duration_seconds_sum", "0.000025000");
    VALUE(t, "weir_attempts_total{deployment=\"openai/gpt-4o\",model=\"gpt-4o\",result=\"ok\"}", "1");
    VALUE(t, "weir_attempts_total{deployment=\"c\",model=\"odd \\\"name\\\"\\\\\\n{}\",result=\"rate_limit\"}", "1");
    VALUE(t, "weir_first_token_seconds_count{model=\"odd \\\"name\\\"\\\\\\n{}\"}", "1");
    VALUE(t, "weir_overhead_seconds_bucket{le=\"5e-05\"}", "0");
    VALUE(t, "weir_overhead_seconds_bucket{le=\"0.0001\"}", "1");
    VALUE(t, "weir_tokens_total{model=\"gpt-4o\",kind=\"input\"}", "1000");
    VALUE(t, "weir_tokens_total{model=\"gpt-4o\",kind=\"cached_input\"}", "250");
    VALUE(t, "weir_tokens_total{model=\"gpt-4o\",kind=\"output\"}", "20.5");
    VALUE(t, "weir_cost_usd_total{model=\"gpt-4o\"}", "0.3");
    VALUE(t, "weir_predicted_cost_usd_total{model=\"gpt-4o\"}", "0.2");
    VALUE(t, "weir_predicted_cost_usd_total{model=\"odd \\\"name\\\"\\\\\\n{}\"}", "1e-07");
    VALUE(t, "weir_cost_unknown_total{model=\"odd \\\"name\\\"\\\\\\n{}\"}", "1");
    VALUE(t, "weir_usage_estimated_total{model=\"gpt-4o\"}", "1");
    VALUE(t, "weir_fallbacks_total{from=\"gpt-4o\"}", "1");
    VALUE(t, "weir_fallback_targets_total{to=\"odd \\\"name\\\"\\\\\\n{}\"}", "1");
    VALUE(t, "weir_retries_total{deployment=\"b\",model=\"odd \\\"name\\\"\\\\\\n{}\"}", "1");
    VALUE(t, "weir_hedges_total{deployment=\"b\",model=\"odd \\\"name\\\"\\\\\\n{}\",outcome=\"won\"}", "1");
    VALUE(t, "weir_hedges_total{deployment=\"b\",model=\"odd \\\"name\\\"\\\\\\n{}\",outcome=\"lost\"}", "1");
    VALUE(t, "weir_breaker_state{deployment=\"b\",model=\"odd \\\"name\\\"\\\\\\n{}\"}", "2");
    VALUE(t, "weir_active_requests", "4");
    VALUE(t, "weir_active_streams", "1");
    VALUE(t, "weir_client_disconnects_total", "1");
    VALUE(t, "weir_uptime_seconds", "12.5");
    VALUE(t, "weir_store_version", "42");
    VALUE(t, "weir_feedbacks_total", "7");
    VALUE(t, "weir_log_records_dropped_total", "3");
    VALUE(t, "weir_config_loaded_timestamp_seconds", "1795301411.123");
    VALUE(t, "weir_build_info{version=\"0.1.0\"}", "1");
    assert_null(value(t, "weir_tokens_total{model=\"gpt-4o\",kind=\"reasoning\"}")); /* NaN isn't a number of tokens */
    assert_null(value(t, "weir_cost_usd_total{model=\"odd \\\"name\\\"\\\\\\n{}\"}"));
    double start = strtod(value(t, "process_start_time_seconds"), NULL), now = (double)weirp_unix_ms() / 1000;
    assert_true(start > now - 3600 && start < now + 2);
    assert_true(strtod(value(t, "process_resident_memory_bytes"), NULL) > 1e5);
    assert_true(strtod(value(t, "process_open_fds"), NULL) >= 3);
    assert_non_null(value(t, "process_cpu_seconds_total"));
    free(t);
    weirp_metrics_free(m);
}

/* A million bills add up to the nano-USD; as doubles they would be off by 1,079. */
static void money_is_exact(void **state) {
    (void)state;
    weirp_metrics *m;
    assert_int_equal(weirp_metrics_new(&m, &names, NULL), WEIR_OK);
    weirp_metrics_cost(m, 0, 123456.789012345, NAN, false);
    for (int i = 0; i < 1000000; i++) weirp_metrics_cost(m, 0, 0.000000317, NAN, false);
    char *t = scrape(&m, 1, NULL);
    VALUE(t, "weir_cost_usd_total{model=\"gpt-4o\"}", "123457.106012345");
    free(t);
    weirp_metrics_free(m);
}

/* Out of range is left uncounted, and never another's. */
static void wrong_indices(void **state) {
    (void)state;
    weirp_metrics *m;
    assert_int_equal(weirp_metrics_new(&m, &names, NULL), WEIR_OK);
    char *before = scrape(&m, 1, NULL);
    weirp_metrics_request(m, WEIRP_N_APIS, 200, 1);
    weirp_metrics_decision(m, 2, WEIR_RULE_PLUGIN, 1);
    weirp_metrics_decision(m, (size_t)-1, WEIR_RULE_PLUGIN, 1);
    weirp_metrics_decision(m, 0, (weir_rule)99, 1);
    weirp_metrics_attempt(m, 3, WEIRP_RESULT_OK, 1);
    weirp_metrics_attempt(m, 0, WEIRP_N_RESULTS, 1);
    weirp_metrics_first_token(m, 2, 1);
    weirp_metrics_tokens(m, 2, (double[]){1, 1, 1, 1, 1});
    weirp_metrics_tokens(m, 0, (double[]){-1, NAN, INFINITY, 0, -INFINITY});
    weirp_metrics_cost(m, 2, 1, 1, true);
    weirp_metrics_fallback(m, (size_t)-1, 2);
    weirp_metrics_retry(m, 3);
    weirp_metrics_hedge(m, 3, true);
    weirp_metrics_overhead(m, -1);
    weirp_metrics_overhead(m, NAN);
    char *after = scrape(&m, 1, NULL);
    *strstr(before, "# HELP process_") = 0;
    *strstr(after, "# HELP process_") = 0;
    assert_string_equal(before, after);
    weirp_metrics_overhead(m, INFINITY); /* counts as a thousand million seconds */
    free(after);
    after = scrape(&m, 1, NULL);
    VALUE(after, "weir_overhead_seconds_sum", "1000000000.000000000");
    free(before);
    free(after);
    weirp_metrics_free(m);
    weirp_metrics_free(NULL);
}

/* A decimal comma is no comma here. */
static void any_locale(void **state) {
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) {
        print_message("de_DE.UTF-8 isn't installed: not tried\n");
        skip();
    }
    weirp_metrics *m;
    assert_int_equal(weirp_metrics_new(&m, &names, NULL), WEIR_OK);
    weirp_metrics_cost(m, 0, 0.5, 0.25, false);
    char *t = scrape(&m, 1, NULL);
    VALUE(t, "weir_cost_usd_total{model=\"gpt-4o\"}", "0.5");
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_ALL, "C");
    free(t);
    weirp_metrics_free(m);
}

static void every_metric_is_documented(void **state) {
    (void)state;
    weirp_metrics *m;
    weirp_pace_facts pace = {.on = true, .forecast_usd = {1, 1.5, 2.25}};
    const weirp_budget_fact budget = {.name = "daily", .unit = "usd", .limit = 0.1, .period_end_s = INFINITY};
    weirp_metric_facts facts = {
        .breaker = (int[3]){0}, .pace = &pace, .budget = &budget, .n_budget_facts = 1, .n_budgets = 7};
    assert_int_equal(weirp_metrics_new(&m, &names, NULL), WEIR_OK);
    char *text = scrape(&m, 1, &facts);
    VALUE(text, "weir_pacing_forecast_usd{bound=\"mean\"}", "1.5");
    VALUE(text, "weir_budgets", "7");
    VALUE(text, "weir_budget_limit{budget=\"daily\",unit=\"usd\"}", "0.1");
    VALUE(text, "weir_budget_period_end_timestamp_seconds{budget=\"daily\",unit=\"usd\"}", "+Inf");
    static char chapter[1 << 16];
    FILE *file = fopen(WEIR_SOURCE_DIR "/docs/gateway.md", "rb");
    assert_non_null(file);
    chapter[fread(chapter, 1, sizeof chapter - 1, file)] = 0;
    fclose(file);
    size_t n = 0;
    for (char *line = text; (line = strstr(line, "# TYPE ")); n++) {
        char name[96];
        snprintf(name, sizeof name, "`%.*s`", (int)strcspn(line + 7, " "), line + 7);
        if (!strstr(chapter, name)) fail_msg("docs/gateway.md doesn't know %s", name);
        line += 7;
    }
    assert_true(n > 30);
    free(text);
    weirp_metrics_free(m);
}

/* ---- promtool ---- */

static void check(const char *text) {
    char path[] = "/tmp/weir-promtool-XXXXXX", command[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    snprintf(command, sizeof command, "promtool check metrics >%s 2>&1", path);
    FILE *promtool = popen(command, "w");
    assert_non_null(promtool);
    fputs(text, promtool);
    int status = pclose(promtool);
    char said[4096];
    ssize_t n = read(fd, said, sizeof said - 1);
    said[n < 0 ? 0 : n] = 0;
    close(fd);
    remove(path);
    if (status || n) fail_msg("promtool: status %d: %s", status, said);
}

static void prometheus_takes_it(void **state) {
    (void)state;
    if (system("promtool --version >/dev/null 2>&1")) {
        print_message("*** promtool (Debian package prometheus) is missing: what Prometheus takes is NOT checked\n");
        skip();
    }
    weirp_metrics *m[2];
    int breaker[3] = {0};
    weirp_metric_facts facts = {.breaker = breaker};
    for (int i = 0; i < 2; i++) assert_int_equal(weirp_metrics_new(&m[i], &names, NULL), WEIR_OK);
    char *text = scrape(m, 2, &facts); /* before anything was counted */
    check(text);
    free(text);
    for (int i = 0; i < 2; i++) count_everything(m[i]);
    text = scrape(m, 2, &facts);
    check(text);
    free(text);
    for (int i = 0; i < 2; i++) weirp_metrics_free(m[i]);
    text = scrape(NULL, 0, NULL);
    check(text);
    free(text);
}

/* ---- threads and reloads ---- */

enum { THREADS = 3, ROUNDS = 20000 };

static void *count_many(void *user) {
    weirp_metrics *m = user;
    for (int i = 0; i < ROUNDS; i++) {
        weirp_metrics_request(m, 0, 200, 1e-3);
        weirp_metrics_cost(m, 0, 0.25, 0.5, false);
        weirp_metrics_active(m, 1, 1);
        weirp_metrics_active(m, i % 2 ? -1 : 0, -1);
    }
    return NULL;
}

static void threads_are_summed(void **state) {
    (void)state;
    weirp_metrics *m[THREADS];
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(weirp_metrics_new(&m[i], &names, NULL), WEIR_OK);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, count_many, m[i]), 0);
    unsigned long long last = 0;
    for (int i = 0; i < 20; i++) { /* while they count: never less than before */
        char *t = scrape(m, THREADS, NULL);
        const char *now = value(t, "weir_requests_total{endpoint=\"chat\",code=\"200\"}");
        unsigned long long n = now ? strtoull(now, NULL, 10) : 0;
        assert_true(n >= last);
        last = n;
        free(t);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    char *t = scrape(m, THREADS, NULL);
    VALUE(t, "weir_requests_total{endpoint=\"chat\",code=\"200\"}", "60000");
    VALUE(t, "weir_request_duration_seconds_sum{endpoint=\"chat\"}", "60.000000000");
    VALUE(t, "weir_cost_usd_total{model=\"gpt-4o\"}", "15000");
    VALUE(t, "weir_active_requests", "30000");
    VALUE(t, "weir_active_streams", "0");
    free(t);
    for (int i = 0; i < THREADS; i++) weirp_metrics_free(m[i]);
}

static void counters_survive_a_reload(void **state) {
    (void)state;
    static const char *const new_models[] = {"new", "gpt-4o"};
    static const char *const new_deployments[] = {"c", "d"};
    static const size_t new_model_of[] = {0, 1};
    static const weirp_metric_names changed = {2, 2, new_models, new_deployments, new_model_of, {"messages", "chat"}};
    weirp_metrics *old, *m;
    assert_int_equal(weirp_metrics_new(&old, &names, NULL), WEIR_OK);
    assert_int_equal(weirp_metrics_new(&m, &changed, NULL), WEIR_OK);
    count_everything(old);
    weirp_metrics_cost(m, 1, 1, 1, false);
    assert_int_equal(weirp_metrics_carry(m, old, NULL), WEIR_OK);
    weirp_metrics_free(old);
    char *t = scrape(&m, 1, NULL);
    VALUE(t, "weir_requests_total{endpoint=\"chat\",code=\"200\"}", "2");
    VALUE(t, "weir_request_duration_seconds_sum{endpoint=\"chat\"}", "401.001200000");
    VALUE(t, "weir_cost_usd_total{model=\"gpt-4o\"}", "1.3");
    VALUE(t, "weir_attempts_total{deployment=\"c\",model=\"new\",result=\"rate_limit\"}", "1");
    VALUE(t, "weir_overhead_seconds_count", "1");
    VALUE(t, "weir_client_disconnects_total", "1");
    VALUE(t, "weir_active_requests", "0"); /* what is under way is still with the old one */
    assert_null(value(t, "weir_decisions_total{model=\"new\",rule=\"minimax\"}"));
    free(t);
    weirp_metrics_free(m);
}

/* One thread has taken a new configuration, the other one not yet. */
static void threads_may_differ(void **state) {
    (void)state;
    static const char *const one_model[] = {"gpt-4o"}, *const one_deployment[] = {"c"};
    static const size_t one_model_of[] = {0};
    static const weirp_metric_names smaller = {1, 1, one_model, one_deployment, one_model_of, {"chat", "messages"}};
    weirp_metrics *m[2];
    assert_int_equal(weirp_metrics_new(&m[0], &names, NULL), WEIR_OK);
    assert_int_equal(weirp_metrics_new(&m[1], &smaller, NULL), WEIR_OK);
    count_everything(m[0]);
    weirp_metrics_attempt(m[1], 0, WEIRP_RESULT_RATE_LIMIT, 0.01);
    weirp_metrics_request(m[1], 0, 200, 0.001);
    weirp_metrics_active(m[1], 3, 1);
    char *t = scrape(m, 2, NULL);
    VALUE(t, "weir_requests_total{endpoint=\"chat\",code=\"200\"}", "3");
    VALUE(t, "weir_attempts_total{deployment=\"c\",model=\"odd \\\"name\\\"\\\\\\n{}\",result=\"rate_limit\"}", "2");
    VALUE(t, "weir_active_requests", "7");
    free(t);
    weirp_metrics *other_way[] = {m[1], m[0]};
    t = scrape(other_way, 2, NULL);
    VALUE(t, "weir_attempts_total{deployment=\"c\",model=\"gpt-4o\",result=\"rate_limit\"}", "2");
    VALUE(t, "weir_active_requests", "7");
    VALUE(t, "weir_active_streams", "2");
    assert_null(value(t, "weir_attempts_total{deployment=\"openai/gpt-4o\",model=\"gpt-4o\",result=\"ok\"}"));
    free(t);
    for (size_t i = 0; i < 2; i++) weirp_metrics_free(m[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_series),
        cmocka_unit_test(money_is_exact),
        cmocka_unit_test(wrong_indices),
        cmocka_unit_test(any_locale),
        cmocka_unit_test(every_metric_is_documented),
        cmocka_unit_test(prometheus_takes_it),
        cmocka_unit_test(threads_are_summed),
        cmocka_unit_test(counters_survive_a_reload),
        cmocka_unit_test(threads_may_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* bench_train.c: training on simulated outcomes, and how everything grows. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench.h"
#include "tools/json.h"

extern char **environ;

/* ---- one size ---- */

static double peak_rss_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss; /* Linux counts in KiB */
}

static weir_status simulate(weir_dataset **out, size_t prompts, size_t models, uint64_t seed, weir_error *err) {
    weir_simulate_options options = {.n_prompts = prompts, .n_models = models, .seed = seed};
    return weir_simulate(out, NULL, &options, err);
}

/* Trains, then asks and teaches what has been trained, all in this process: its peak memory is that of simulated
 * outcomes and training together. */
static weir_status measure(json_t *report, const bench_arguments *a, const char *store, weir_error *err) {
    weir_dataset *data = NULL;
    weir_router *router = NULL;
    weir_train_report trained = {0};
    bench_decisions decisions;
    bench_updates updates;
    struct stat file = {0};
    cli_progress_bar bar = cli_progress_begin();
    weir_train_options options = {.estimator = a->estimator,
                                  .seed = a->seed,
                                  .n_threads = (unsigned)a->threads,
                                  .progress = cli_progress,
                                  .progress_user = &bar};
    double begin = bench_now(CLOCK_MONOTONIC);
    weir_status st = simulate(&data, a->prompts, a->models, a->seed, err);
    double simulated = bench_now(CLOCK_MONOTONIC), rss_data = peak_rss_bytes();
    if (st == WEIR_OK) st = weir_train(store, data, &options, &trained, err);
    double seconds = bench_now(CLOCK_MONOTONIC) - simulated, rss = peak_rss_bytes();
    cli_progress_end(&bar);
    if (st == WEIR_OK) st = weir_router_open(&router, store, err);
    if (st == WEIR_OK) st = bench_decide(&decisions, router, data, a->n ? a->n : 3000, 0, &a->policy, err);
    stat(store, &file);
    if (st == WEIR_OK) st = bench_learn(&updates, store, data, 1000, a->group_commit, err);
    if (st == WEIR_OK) {
        json_object_set_new(report, "prompts", json_integer((json_int_t)data->n_prompts));
        json_object_set_new(report, "models", json_integer((json_int_t)data->n_models));
        cli_json_set(report, "seconds", seconds);
        json_object_set_new(report, "peak_rss_bytes", json_integer((json_int_t)rss));
        json_object_set_new(report, "data_rss_bytes", json_integer((json_int_t)rss_data));
        cli_json_set(report, "simulate_seconds", simulated - begin);
        json_object_set_new(report, "store_bytes", json_integer((json_int_t)file.st_size));
        cli_json_set(report, "decide_p50_us", decisions.p50_us);
        cli_json_set(report, "decide_p99_us", decisions.p99_us);
        cli_json_set(report, "cpu_us_per_update", updates.cpu_us_per_update);
        cli_json_set(report, "durable_updates_per_s", updates.durable_updates_per_s);
    }
    weir_router_close(router);
    weir_dataset_free(data);
    return st;
}

static int print(const json_t *report, const char *json_path) {
    if (!cli_speaks(json_path)) return CLI_OK;
    char *text = json_dumps(report, 0);
    if (!text) return CLI_FAILED;
    int rc = cli_print_json(BENCH, text, stdout);
    free(text);
    return rc;
}

int bench_train_action(const bench_arguments *a) {
    bench_scratch scratch;
    if (!a->store && !bench_scratch_begin(&scratch, a->directory)) return CLI_FAILED;
    weir_error err = {0};
    json_t *report = json_object();
    weir_status st = measure(report, a, a->store ? a->store : scratch.store, &err);
    if (!a->store) bench_scratch_end(&scratch);
    int rc = st == WEIR_OK ? print(report, a->json) : cli_fail(BENCH, &err);
    if (rc == CLI_OK && a->json) return cli_write_json(BENCH, a->json, report);
    json_decref(report);
    return rc;
}

/* ---- growth: each size in a process of its own, so that its peak memory is its own ---- */

static json_t *read_json(int descriptor) {
    FILE *f = fdopen(descriptor, "r");
    if (!f) {
        close(descriptor);
        return NULL;
    }
    json_t *value = json_loadf(f, 0, NULL);
    fclose(f);
    return value;
}

/* "weir bench train" at one size; its report is new, NULL after saying what went wrong. */
static json_t *spawn_size(const bench_arguments *a, size_t prompts, size_t models, const char *store) {
    char n_prompts[24], n_models[24], seed[24], threads[24], n[24], group[24];
    snprintf(n_prompts, sizeof n_prompts, "%zu", prompts);
    snprintf(n_models, sizeof n_models, "%zu", models);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)a->seed);
    snprintf(threads, sizeof threads, "%zu", a->threads);
    snprintf(n, sizeof n, "%zu", a->n ? a->n : 3000);
    snprintf(group, sizeof group, "%zu", a->group_commit);
    const char *argv[] = {"weir",       "bench",     "train",   "--json",
                          "-",          "--prompts", n_prompts, "--models",
                          n_models,     "--seed",    seed,      "--threads",
                          threads,      "--n",       n,         "--group-commit",
                          group,        "--store",   store,     a->estimator ? "--estimator" : NULL,
                          a->estimator, NULL};
    int ends[2], status = -1;
    if (pipe(ends) != 0) {
        cli_note(BENCH, "can't make a pipe: %s", strerror(errno));
        return NULL;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    pid_t child;
    int why = posix_spawn(&child, "/proc/self/exe", &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (why) {
        cli_note(BENCH, "can't start a process: %s", strerror(why));
        close(ends[0]);
        return NULL;
    }
    json_t *value = read_json(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (value && WIFEXITED(status) && WEXITSTATUS(status) == 0) return value;
    cli_note(BENCH, "%zu prompts x %zu models failed", prompts, models);
    json_decref(value);
    return NULL;
}

static bool run_size(json_t *rows, const bench_arguments *a, size_t prompts, size_t models) {
    bench_scratch scratch;
    if (!bench_scratch_begin(&scratch, a->directory)) return false;
    cli_note(BENCH, "%zu prompts x %zu models ...", prompts, models);
    json_t *row = spawn_size(a, prompts, models, scratch.store);
    bench_scratch_end(&scratch);
    return row && json_array_append_new(rows, row) == 0;
}

static bool run_lengths(json_t *rows, const bench_arguments *a) {
    bench_scratch scratch;
    if (!bench_scratch_begin(&scratch, a->directory)) return false;
    weir_error err = {0};
    weir_dataset *data = NULL;
    weir_router *router = NULL;
    json_t *trained = spawn_size(a, a->prompts, a->models, scratch.store);
    weir_status st = trained ? simulate(&data, 500, a->models, a->seed + 1, &err) : WEIR_CANCELED;
    if (st == WEIR_OK) st = weir_router_open(&router, scratch.store, &err);
    for (size_t bytes = 10; st == WEIR_OK && bytes <= 10000000; bytes *= 10) {
        bench_decisions d;
        size_t n = a->n ? a->n : 2000, most = bytes > 100000 ? 300 : n;
        st = bench_decide(&d, router, data, n < most ? n : most, bytes, &a->policy, &err);
        if (st == WEIR_OK)
            json_array_append_new(rows,
                                  json_pack("{s:I, s:o, s:o}", "prompt_bytes", (json_int_t)bytes, "decide_p50_us",
                                            cli_json_number(d.p50_us), "decide_p99_us", cli_json_number(d.p99_us)));
    }
    if (st != WEIR_OK && trained) cli_fail(BENCH, &err);
    weir_router_close(router);
    weir_dataset_free(data);
    json_decref(trained);
    bench_scratch_end(&scratch);
    return st == WEIR_OK;
}

/* Exponent b of the power law y = a x^b that fits best, by least squares of logarithms: 1 is linear. */
static double exponent(const json_t *rows, const char *x_key, const char *y_key) {
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row) {
        double x = log(json_number_value(json_object_get(row, x_key)));
        double y = log(json_number_value(json_object_get(row, y_key)));
        if (!isfinite(x) || !isfinite(y)) continue;
        n++, sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    return n < 2 ? NAN : (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

static json_t *exponents(const json_t *rows, const char *x_key) {
    static const char *const keys[] = {"seconds", "peak_rss_bytes", "store_bytes", "decide_p50_us",
                                       "cpu_us_per_update"};
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(json_array_get(rows, 0), keys[i])) cli_json_set(o, keys[i], exponent(rows, x_key, keys[i]));
    return o;
}

int bench_scale_action(const bench_arguments *a) {
    static const size_t prompts[] = {1000, 3000, 10000, 30000, 100000, 300000, 1000000};
    static const size_t models[] = {2, 5, 10, 20, 50, 100, 200};
    json_t *by_prompts = json_array(), *by_models = json_array(), *by_length = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof prompts / sizeof *prompts && prompts[i] <= a->max_prompts; i++)
        ok = run_size(by_prompts, a, prompts[i], a->models);
    for (size_t i = 0; ok && i < sizeof models / sizeof *models && models[i] <= a->max_models; i++)
        ok = run_size(by_models, a, a->prompts, models[i]);
    if (ok) ok = run_lengths(by_length, a);
    json_t *report =
        json_pack("{s:o, s:o, s:o}", "growth_with_prompts", exponents(by_prompts, "prompts"), "growth_with_models",
                  exponents(by_models, "models"), "growth_with_length", exponents(by_length, "prompt_bytes"));
    json_object_set_new(report, "prompts", by_prompts);
    json_object_set_new(report, "models", by_models);
    json_object_set_new(report, "length", by_length);
    int rc = ok ? print(report, a->json) : CLI_FAILED;
    if (rc == CLI_OK && a->json) return cli_write_json(BENCH, a->json, report);
    json_decref(report);
    return rc;
}

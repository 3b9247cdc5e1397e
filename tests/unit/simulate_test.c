/* The simulator: the truth that it states is the truth that it draws from, and nothing depends on anything but seeds.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datasets/sim.h"
#include "src/base/names.h"
#include "weir/weir.h"

static weir_dataset *simulate(weir_simulate_options o, double **truth) {
    weir_dataset *d;
    weir_error err = {0};
    assert_int_equal(weir_simulate(&d, truth, &o, &err), WEIR_OK);
    return d;
}

/* Same value, NAN included. */
static bool same(double a, double b, double tolerance) {
    return (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * (1 + fabs(a));
}

static void assert_same(const weir_dataset *a, const weir_dataset *b, size_t n_prompts, size_t n_models,
                        double tolerance) {
    for (size_t i = 0; i < n_prompts; i++) {
        assert_string_equal(a->prompts[i], b->prompts[i]);
        assert_string_equal(a->ids[i], b->ids[i]);
        assert_string_equal(a->tasks[i], b->tasks[i]);
        for (size_t m = 0; m < n_models; m++) {
            size_t x = i * a->n_models + m, y = i * b->n_models + m;
            assert_true(same(a->quality[x], b->quality[y], 0));
            assert_true(same(a->cost_usd[x], b->cost_usd[y], tolerance));
            assert_true(same(a->input_tokens[x], b->input_tokens[y], 0));
            assert_true(same(a->output_tokens[x], b->output_tokens[y], 0));
            assert_true(same(a->latency_ms[x], b->latency_ms[y], tolerance));
        }
    }
}

static void seeds_decide(void **state) {
    (void)state;
    weir_dataset *a = simulate((weir_simulate_options){.n_prompts = 300, .n_models = 20, .seed = 4}, NULL);
    weir_dataset *b = simulate((weir_simulate_options){.n_prompts = 700, .n_models = 31, .seed = 4}, NULL);
    assert_int_equal(b->n_prompts, 700);
    assert_int_equal(b->n_models, 31);
    assert_same(a, b, 300, 20, 0); /* a longer and wider run begins with the shorter one */
    weir_dataset *c = simulate((weir_simulate_options){.n_prompts = 300, .n_models = 20, .seed = 5}, NULL);
    size_t equal = 0;
    for (size_t i = 0; i < 300; i++) equal += !strcmp(a->prompts[i], c->prompts[i]);
    assert_true(equal < 30);
    weir_dataset_free(a);
    weir_dataset_free(b);
    weir_dataset_free(c);
}

/* Means of what was drawn against the stated expectation, within five standard errors, for each model. */
static void check_truth(weir_simulate_options o) {
    double *truth;
    weir_dataset *d = simulate(o, &truth);
    for (size_t m = 0; m < d->n_models; m++) {
        double sum = 0, square = 0, n = 0;
        for (size_t i = 0; i < d->n_prompts; i++) {
            double q = d->quality[i * d->n_models + m], t = truth[i * d->n_models + m];
            assert_true(t > 0 && t < 1);
            if (isnan(q)) continue;
            sum += q - t;
            square += (q - t) * (q - t);
            n++;
        }
        assert_true(fabs(sum) < 5 * sqrt(square));
        assert_true(fabs(n / (double)d->n_prompts - (1 - o.missing)) < 0.03);
    }
    free(truth);
    weir_dataset_free(d);
}

static void truth_is_true(void **state) {
    (void)state;
    check_truth((weir_simulate_options){.n_prompts = 8000, .n_models = 6, .seed = 1});
    check_truth((weir_simulate_options){.n_prompts = 8000, .n_models = 6, .seed = 2, .graded = true, .noise = 1});
    check_truth((weir_simulate_options){
        .n_prompts = 8000, .n_models = 6, .seed = 3, .missing = 0.3, .noise = 0.5, .drift_at = 4000});
}

/* Within a band of stated qualities, so many are right: not only the mean over everything. */
static void truth_is_calibrated(void **state) {
    (void)state;
    double *truth, right[10] = {0}, stated[10] = {0}, n[10] = {0};
    weir_dataset *d = simulate((weir_simulate_options){.n_prompts = 20000, .n_models = 40, .seed = 9}, &truth);
    for (size_t i = 0; i < d->n_prompts * d->n_models; i++) {
        int band = (int)(truth[i] * 10);
        right[band] += d->quality[i];
        stated[band] += truth[i];
        n[band]++;
    }
    for (int b = 0; b < 10; b++) {
        assert_true(n[b] > 2000);
        assert_true(fabs(right[b] - stated[b]) / n[b] < 0.03);
    }
    free(truth);
    weir_dataset_free(d);
}

static void graded_is_graded(void **state) {
    (void)state;
    weir_dataset *d = simulate((weir_simulate_options){.n_prompts = 500, .n_models = 3, .graded = true}, NULL);
    size_t between = 0;
    for (size_t i = 0; i < 1500; i++) {
        double fifth = d->quality[i] * 5;
        assert_true(fifth == round(fifth) && fifth >= 0 && fifth <= 5);
        between += fifth > 0 && fifth < 5;
    }
    assert_true(between > 300);
    weir_dataset_free(d);
}

static char *write_lines(const weir_simulate_options *o, const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(weir_simulate_write(f, o, NULL), WEIR_OK);
    fclose(f);
    return NULL;
}

/* Lines read back are what memory holds; costs can be recomputed from the pool file. */
static void lines_are_the_same(void **state) {
    (void)state;
    char lines[] = "/tmp/weir-sim-XXXXXX", prices[] = "/tmp/weir-pool-XXXXXX";
    close(mkstemp(lines));
    close(mkstemp(prices));
    weir_simulate_options o = {
        .n_prompts = 400, .n_models = 15, .seed = 8, .world_seed = 3, .missing = 0.2, .noise = 0.1};
    write_lines(&o, lines);
    FILE *f = fopen(prices, "wb");
    assert_int_equal(weir_simulate_write_pool(f, &o, NULL), WEIR_OK);
    fclose(f);
    const char *paths[] = {lines};
    weir_dataset *a = simulate(o, NULL), *b;
    weir_error err = {0};
    assert_int_equal(weir_dataset_load(&b, paths, 1, NULL, &err), WEIR_OK);
    assert_int_equal(b->n_malformed, 0);
    assert_int_equal(b->n_models, 15);
    /* columns come in order of appearance */
    for (size_t i = 0; i < 400; i++)
        for (size_t m = 0; m < 15; m++) {
            size_t at = 0;
            while (strcmp(b->model_names[at], a->model_names[m])) at++;
            assert_true(same(a->quality[i * 15 + m], b->quality[i * 15 + at], 0));
            assert_true(same(a->cost_usd[i * 15 + m], b->cost_usd[i * 15 + at], 1e-14));
            assert_true(same(a->latency_ms[i * 15 + m], b->latency_ms[i * 15 + at], 1e-14));
        }
    for (size_t i = 0; i < 400; i++) assert_string_equal(a->prompts[i], b->prompts[i]);
    weir_pool *pool;
    assert_int_equal(weir_pool_load(&pool, prices, &err), WEIR_OK);
    assert_int_equal(pool->n_models, 15);
    assert_string_equal(pool->models[0].name, "gpt-4o");
    assert_true(pool->models[0].input_usd_per_mtok == 2.5 && pool->models[0].output_usd_per_mtok == 10);
    for (size_t i = 0; i < 400; i++)
        for (size_t m = 0; m < 15; m++) {
            const weir_model *p = &pool->models[m];
            double cost = (p->input_usd_per_mtok * a->input_tokens[i * 15 + m] +
                           p->output_usd_per_mtok * a->output_tokens[i * 15 + m]) *
                          1e-6;
            assert_true(same(cost, a->cost_usd[i * 15 + m], 1e-12));
        }
    weir_pool_free(pool);
    weir_dataset_free(a);
    weir_dataset_free(b);
    unlink(lines);
    unlink(prices);
}

/* The expected costs that only the lines carry are those that the costs were drawn around. */
static void costs_are_true(void **state) {
    (void)state;
    char path[] = "/tmp/weir-sim-XXXXXX";
    close(mkstemp(path));
    weir_simulate_options o = {.n_prompts = 6000, .n_models = 2, .seed = 21, .noise = 0.3};
    write_lines(&o, path);
    FILE *f = fopen(path, "rb");
    char *line = NULL;
    size_t capacity = 0, n = 0;
    double sum = 0, square = 0;
    while (getline(&line, &capacity, f) > 0) {
        const char *at = strstr(line, "\"outcomes\":");
        while (at && (at = strstr(at, "\"cost\":"))) {
            double cost = strtod(at + 7, NULL), expected = strtod(strstr(at, "\"expected_cost\":") + 16, NULL);
            sum += cost / expected - 1;
            square += (cost / expected - 1) * (cost / expected - 1);
            n++;
            at++;
        }
    }
    assert_int_equal(n, 12000);
    assert_true(fabs(sum) < 5 * sqrt(square));
    free(line);
    fclose(f);
    unlink(path);
}

static void drift_swaps_the_best(void **state) {
    (void)state;
    double *before, *after;
    weir_simulate_options o = {.n_prompts = 600, .n_models = 7, .seed = 2, .world_seed = 5};
    weir_dataset *a = simulate(o, &before);
    o.drift_at = 200;
    weir_dataset *b = simulate(o, &after);
    double mean[7] = {0};
    for (size_t i = 0; i < 600 * 7; i++) mean[i % 7] += before[i];
    size_t changed[7] = {0}, n_changed = 0, first = 0, second = 0;
    for (size_t i = 0; i < 600; i++)
        for (size_t m = 0; m < 7; m++) {
            if (i < 200) assert_true(before[i * 7 + m] == after[i * 7 + m]);
            changed[m] += before[i * 7 + m] != after[i * 7 + m];
        }
    for (size_t m = 0; m < 7; m++) {
        if (!changed[m]) continue;
        if (!n_changed++)
            first = m;
        else
            second = m;
    }
    assert_int_equal(n_changed, 2);
    for (size_t m = 0; m < 7; m++)
        if (m != first && m != second) assert_true(mean[m] < mean[first] && mean[m] < mean[second]);
    for (size_t i = 200; i < 600; i++) assert_true(after[i * 7 + first] == before[i * 7 + second]);
    free(before);
    free(after);
    weir_dataset_free(a);
    weir_dataset_free(b);
}

static void lengths_as_asked(void **state) {
    (void)state;
    weir_dataset *d = simulate((weir_simulate_options){.n_prompts = 2000, .prompt_bytes = 3000}, NULL);
    double mean = 0;
    for (size_t i = 0; i < 2000; i++) mean += (double)d->prompt_lens[i] / 2000;
    assert_true(mean > 2700 && mean < 3500);
    weir_dataset_free(d);
}

/* Every slot of every pattern names a list, and no kind has only a handful of prompts to offer. */
static void check_slots(const char *const *patterns) {
    for (; *patterns; patterns++) {
        for (const char *at = strchr(*patterns, '{'); at; at = strchr(at + 1, '{')) {
            size_t n = strspn(at + 1, "~+abcdefghijklmnopqrstuvwxyz_");
            if (at[1 + n] != '}' || !n || (n == 2 && !strncmp(at + 1, "nl", 2))) continue;
            size_t marked = at[1] == '~' || at[1] == '+';
            const weirp_sim_list *list = weirp_sim_lists;
            while (list->name && (strlen(list->name) != n - marked || strncmp(list->name, at + 1 + marked, n - marked)))
                list++;
            if (!list->name) fail_msg("no list for the slot at \"%.20s\"", at);
        }
    }
}

static void prompts_vary(void **state) {
    (void)state;
    for (const weirp_sim_list *list = weirp_sim_lists; list->name; list++) check_slots(list->entries);
    check_slots(weirp_sim_vague);
    check_slots(weirp_sim_padding);
    weirp_writer text = {0};
    for (size_t k = 0; k < weirp_sim_n_kinds; k++) {
        weirp_names seen = {0};
        check_slots(weirp_sim_kinds[k].patterns);
        for (size_t i = 0; i < 4000; i++) {
            bool added;
            weirp_sim_render(&text, weirp_sim_kinds[k].patterns, i % WEIRP_SIM_LEVELS, 0, k, i);
            assert_true(text.size > 1 && text.data[text.size] == 0);
            weirp_names_add(&seen, (const char *)text.data, text.size, &added);
        }
        if (seen.n < 1000) fail_msg("%s: %zu different prompts of 4000", weirp_sim_kinds[k].name, seen.n);
        weirp_names_free(&seen);
    }
    weirp_writer_free(&text);
}

static int stop(void *user, const char *stage, size_t done, size_t total) {
    (void)stage;
    (void)total;
    return done >= 2048 ? ++*(int *)user : 0;
}

static void wrong_options(void **state) {
    (void)state;
    weir_dataset *d;
    double *truth;
    int stopped = 0;
    const weir_simulate_options wrong[] = {{.n_models = 1},  {.n_models = 1001}, {.missing = 1}, {.missing = -0.1},
                                           {.missing = NAN}, {.noise = 1.1},     {.noise = NAN}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weir_error err = {0};
        assert_int_equal(weir_simulate(&d, &truth, &wrong[i], &err), WEIR_INVALID);
        assert_null(d);
        assert_null(truth);
        assert_non_null(strstr(err.text, "must be"));
    }
    weir_simulate_options o = {.n_prompts = 100000, .progress = stop, .progress_user = &stopped};
    assert_int_equal(weir_simulate(&d, NULL, &o, NULL), WEIR_CANCELED);
    assert_int_equal(stopped, 1);
    /* a full disk is an error, not a short file */
    FILE *full = fopen("/dev/full", "wb");
    weir_error err = {0};
    o = (weir_simulate_options){.n_prompts = 5000};
    assert_int_equal(weir_simulate_write(full, &o, &err), WEIR_FULL);
    fclose(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_decide),        cmocka_unit_test(truth_is_true),
        cmocka_unit_test(truth_is_calibrated), cmocka_unit_test(graded_is_graded),
        cmocka_unit_test(lines_are_the_same),  cmocka_unit_test(costs_are_true),
        cmocka_unit_test(lengths_as_asked),    cmocka_unit_test(drift_swaps_the_best),
        cmocka_unit_test(prompts_vary),        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

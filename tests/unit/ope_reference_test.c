/* The Open Bandit Pipeline's estimators on the Open Bandit Dataset's sample: the same numbers, to 1e-12.
 *
 * Weights are pi(item, position) / propensity, the reward model is (clicks + 10 mu) / (n + 10) of an item at a
 * position, fitted on all rows. Has no counterpart here, on purpose: ipw_lb.hoeffding, ipw_lb.bernstein   take the
 * range from the sample's greatest term, so they don't bound anything and in this test: ts_first, ts_last, which are
 * the log's times and no estimator's. The t lower bounds are one-sided of level 0.95, as their name there says: the
 * lower ends of two-sided intervals of level 0.9. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gsl/gsl_cdf.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/cell.h"

enum { POSITIONS = 3, MAX_ITEMS = 64, MAX_ROWS = 20000 };

typedef struct task {
    const char *name, *log, *target; /* target NULL: uniform */
} task;

static const task tasks[] = {
    {"men:random->bts", "random-men.csv", "obd-bts-men.csv"},
    {"men:bts->random", "bts-men.csv", NULL},
    {"women:random->bts", "random-women.csv", "obd-bts-women.csv"},
    {"women:bts->random", "bts-women.csv", NULL},
};

typedef struct obd {
    size_t n, n_items;
    uint32_t item[MAX_ROWS], position[MAX_ROWS], cluster[MAX_ROWS], none[MAX_ROWS];
    double click[MAX_ROWS], p[MAX_ROWS];
    double target[POSITIONS][MAX_ITEMS], q[POSITIONS][MAX_ITEMS];
} obd;

static FILE *open_file(const char *folder, const char *name) {
    const char *data = getenv("WEIR_DATA") ? getenv("WEIR_DATA") : WEIR_SOURCE_DIR "/../shared/data";
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", data, folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) print_message("skipped: %s not found; set WEIR_DATA to the folder that holds obd/\n", path);
    return file;
}

static void read_log(obd *o, FILE *file) {
    char line[512];
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "timestamp,item_id,position,click,propensity_score\n");
    for (o->n = 0; fgets(line, sizeof line, file); o->n++) {
        unsigned item, position;
        const size_t i = o->n;
        assert_true(i < MAX_ROWS);
        assert_int_equal(sscanf(line, "%*[^,],%u,%u,%lf,%lf", &item, &position, &o->click[i], &o->p[i]), 4);
        assert_true(item < o->n_items && position >= 1 && position <= POSITIONS);
        o->item[i] = item;
        o->position[i] = position - 1;
        o->cluster[i] = (uint32_t)i;
    }
}

static void read_target(obd *o, FILE *file) {
    for (size_t a = 0; a < o->n_items; a++)
        for (size_t k = 0; k < POSITIONS; k++)
            if (file) {
                assert_int_equal(fscanf(file, k + 1 < POSITIONS ? "%lf," : "%lf", &o->target[k][a]), 1);
            } else {
                o->target[k][a] = 1.0 / (double)o->n_items;
            }
}

static void fit(obd *o) {
    double rows[POSITIONS][MAX_ITEMS] = {{0}}, clicks[POSITIONS][MAX_ITEMS] = {{0}}, all = 0;
    for (size_t i = 0; i < o->n; i++) {
        rows[o->position[i]][o->item[i]]++;
        clicks[o->position[i]][o->item[i]] += o->click[i];
        all += o->click[i];
    }
    for (size_t k = 0; k < POSITIONS; k++)
        for (size_t a = 0; a < o->n_items; a++)
            o->q[k][a] = (clicks[k][a] + 10 * (all / (double)o->n)) / (rows[k][a] + 10);
}

static void add_rows(const obd *o, weirp_cell *cell, weirp_sums *sums) {
    static double pi[WEIRP_BLOCK_ROWS * MAX_ITEMS], q[WEIRP_BLOCK_ROWS * MAX_ITEMS],
        metric[WEIRP_BLOCK_ROWS * WEIR_N_METRICS];
    for (size_t first = 0; first < o->n; first += WEIRP_BLOCK_ROWS) {
        const size_t n = o->n - first < WEIRP_BLOCK_ROWS ? o->n - first : WEIRP_BLOCK_ROWS;
        for (size_t i = 0; i < n; i++) {
            memcpy(pi + i * o->n_items, o->target[o->position[first + i]], o->n_items * sizeof *pi);
            memcpy(q + i * o->n_items, o->q[o->position[first + i]], o->n_items * sizeof *q);
            for (size_t m = 0; m < WEIR_N_METRICS; m++) metric[i * WEIR_N_METRICS + m] = NAN;
            metric[i * WEIR_N_METRICS + WEIR_METRIC_QUALITY] = o->click[first + i];
        }
        const weirp_ope_block block = {.first = first,
                                       .n = n,
                                       .n_models = o->n_items,
                                       .chosen = o->item + first,
                                       .cluster = o->cluster + first,
                                       .segment = o->position + first,
                                       .logger = o->none,
                                       .flags = o->none,
                                       .p = o->p + first,
                                       .metric = metric};
        weirp_cell_add(cell, sums, &block, &(weirp_cell_input){.pi = pi, .q = q});
    }
}

static size_t n_wrong, n_checked;
static double worst;

static void check(const char *where, const char *what, double ours, double theirs) {
    const double off = fabs(ours - theirs);
    n_checked++;
    if (off > worst) worst = off;
    if (off <= 1e-12) return;
    n_wrong++;
    print_error("%s %s: %.17g, there %.17g, %.2g apart\n", where, what, ours, theirs, off);
}

static double estimate(const weirp_cell *cell, const weirp_sums *sums, const char *name, double *lambda) {
    weirp_ratio ratio[WEIRP_MAX_RATIOS];
    size_t n;
    const char *why_not;
    const size_t at = weirp_ope_estimator_find(name);
    if (at == (size_t)-1) fail_msg("no estimator %s", name);
    if (!weirp_cell_statistic(cell, at, ratio, &n, lambda, &why_not)) fail_msg("%s: %s", name, why_not);
    return weirp_statistic_value(&(weirp_statistic){ratio, n}, sums->total);
}

/* Standard error off the clusters' influences with n/(n-1), as weirp_se gives it: theirs are of n - 1 as well. */
static double standard_error(const weirp_cell *cell, const weirp_sums *sums, const char *name) {
    weirp_ratio ratio[WEIRP_MAX_RATIOS];
    size_t n;
    double lambda, s = 0, *u = calloc(sums->n_clusters, sizeof *u);
    const char *why_not;
    const double g = (double)sums->n_clusters;
    assert_non_null(u);
    assert_true(weirp_cell_statistic(cell, weirp_ope_estimator_find(name), ratio, &n, &lambda, &why_not));
    weirp_statistic_influence(&(weirp_statistic){ratio, n}, sums, u);
    for (size_t c = 0; c < sums->n_clusters; c++) s += u[c] * u[c];
    free(u);
    return sqrt(s * g / (g - 1));
}

/* Their names to ours: what stands before "(" or "_slope" and "_mse". */
static const struct {
    const char *theirs, *ours;
} names[] = {{"ipw", "ips"},
             {"cipw", "clipped-ips"},
             {"snipw", "snips"},
             {"dm", "dm"},
             {"dr", "dr"},
             {"sndr", "sndr"},
             {"dr_clip", "clipped-dr"},
             {"switch_dr", "switch-dr"},
             {"dr_os", "dr-os"},
             {"sg_ipw", "sgips"},
             {"sg_dr", "sgdr"},
             {"ipw_slope", "clipped-ips"},
             {"dr_slope", "clipped-dr"},
             {"switch_dr_slope", "switch-dr"},
             {"dr_os_slope", "dr-os"},
             {"ipw_mse", "clipped-ips-mse"},
             {"dr_mse", "clipped-dr-mse"},
             {"switch_dr_mse", "switch-dr-mse"},
             {"dr_os_mse", "dr-os-mse"}};

static void check_estimates(const char *where, const weirp_cell *cell, const weirp_sums *sums, const json_t *est) {
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)est, key, value) {
        const char *open = strchr(key, '('), *tail = strstr(key, "_lambda");
        const size_t length = open ? (size_t)(open - key) : tail ? (size_t)(tail - key) : strlen(key);
        char ours[64] = "";
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strlen(names[i].theirs) == length && !strncmp(names[i].theirs, key, length))
                snprintf(ours, sizeof ours, "%s%s", names[i].ours, open ? open : "");
        if (!*ours) fail_msg("%s: no counterpart for %s", where, key);
        double lambda;
        const double got = estimate(cell, sums, ours, &lambda);
        if (tail) {
            const double theirs = strtod(json_string_value(value), NULL);
            check(where, key, isinf(lambda) && isinf(theirs) ? 0 : lambda, isinf(theirs) && isinf(lambda) ? 0 : theirs);
        } else {
            check(where, key, got, json_number_value(value));
        }
    }
}

static double at(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);
    if (!v) fail_msg("the reference has no %s", key);
    return json_number_value(v);
}

static void check_rest(const char *where, const weirp_cell *cell, const weirp_sums *sums, const json_t *r) {
    const weirp_cell_facts *f = weirp_cell_facts_of(cell);
    const double n = (double)f->n, t = gsl_cdf_tdist_Pinv(0.95, n - 1);
    const weirp_ratio logged = weirp_cell_logged(cell);
    const double ips_var = weirp_cell_variance(cell, weirp_ope_estimator_find("ips"));
    const double dr_var = weirp_cell_variance(cell, weirp_ope_estimator_find("dr"));
    double none;
    check(where, "n", n, at(r, "n"));
    check(where, "clicks", f->sum_y, at(r, "clicks"));
    check(where, "mean", weirp_statistic_value(&(weirp_statistic){&logged, 1}, sums->total), at(r, "mean"));
    check(where, "iw_mean", f->sum_w / n, at(r, "iw_mean"));
    check(where, "iw_max", f->max_w, at(r, "iw_max"));
    check(where, "ess", f->sum_w * f->sum_w / f->sum_w2, at(r, "ess"));
    check(where, "ipw_se", standard_error(cell, sums, "ips"), at(r, "ipw_se"));
    check(where, "dr_se", standard_error(cell, sums, "dr"), at(r, "dr_se"));
    check(where, "dr_check", estimate(cell, sums, "dr", &none), at(r, "dr_check"));
    check(where, "ipw_lb.t", estimate(cell, sums, "ips", &none) - t * sqrt(ips_var / (n - 1)),
          at(json_object_get(r, "ipw_lb"), "t"));
    check(where, "dr_t_lb", estimate(cell, sums, "dr", &none) - t * sqrt(dr_var / (n - 1)), at(r, "dr_t_lb"));
}

static void run_task(const task *k, const json_t *r, obd *o, FILE *log, FILE *target) {
    weirp_cell *cell;
    weirp_sums sums;
    weir_error err = {0};
    o->n_items = (size_t)at(r, "A");
    assert_true(o->n_items <= MAX_ITEMS);
    read_log(o, log);
    read_target(o, target);
    fit(o);
    assert_int_equal(weirp_sums_init(&sums, o->n, weirp_cell_n_columns(), &err), WEIR_OK);
    assert_int_equal(weirp_cell_make(&cell, NULL, 0, WEIR_METRIC_QUALITY, 0, false, &err), WEIR_OK);
    add_rows(o, cell, &sums);
    weirp_sums_finish(&sums);
    assert_int_equal(weirp_cell_finish(cell, &sums, &err), WEIR_OK);
    check_rest(k->name, cell, &sums, r);
    check_estimates(k->name, cell, &sums, json_object_get(r, "est"));
    weirp_cell_free(cell);
    weirp_sums_free(&sums);
}

static void matches_reference(void **state) {
    (void)state;
    static obd o;
    FILE *file = open_file("../reference", "obd-tabular.json");
    if (!file) skip();
    json_t *reference = json_loadf(file, 0, NULL);
    fclose(file);
    assert_non_null(reference);
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        FILE *log = open_file("obd", tasks[i].log);
        FILE *target = tasks[i].target ? open_file("../reference", tasks[i].target) : NULL;
        if (!log || (tasks[i].target && !target)) {
            if (log) fclose(log);
            json_decref(reference);
            skip();
        }
        run_task(&tasks[i], json_object_get(reference, tasks[i].name), &o, log, target);
        fclose(log);
        if (target) fclose(target);
    }
    json_decref(reference);
    print_message("%zu values, the worst %.2g apart\n", n_checked, worst);
    assert_int_equal(n_wrong, 0);
    assert_true(n_checked == 4 * (11 + 32));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

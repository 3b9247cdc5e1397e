/* ope_rows.h: rows made by hand, and what a cell makes of them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_TESTS_OPE_ROWS_H
#define WEIR_TESTS_OPE_ROWS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/ope/cell.h"

typedef struct rows {
    size_t n, n_models, n_loggers, n_clusters;
    weir_metric metric;
    double *pi, *q, *q_robust, *propensity; /* (n, n_models); q_robust and propensity may be NULL */
    double *p, *y, *e;                      /* (n) */
    double *by_logger;                      /* (n, n_loggers); NULL */
    double *logger_rows;                    /* (n_loggers); NULL */
    uint32_t *chosen, *cluster, *flags;     /* (n) */
} rows;

static inline void *rows_need(size_t n, size_t size) {
    void *p = weirp_array(n ? n : 1, size);
    assert_non_null(p);
    return p;
}

/* All zeros, each row its own cluster, all labelled. */
static inline rows rows_new(size_t n, size_t n_models) {
    rows r = {.n = n, .n_models = n_models, .n_clusters = n, .metric = WEIR_METRIC_QUALITY};
    r.pi = rows_need(n * n_models, sizeof *r.pi);
    r.q = rows_need(n * n_models, sizeof *r.q);
    r.p = rows_need(n, sizeof *r.p);
    r.y = rows_need(n, sizeof *r.y);
    r.e = rows_need(n, sizeof *r.e);
    r.chosen = rows_need(n, sizeof *r.chosen);
    r.cluster = rows_need(n, sizeof *r.cluster);
    r.flags = rows_need(n, sizeof *r.flags);
    for (size_t i = 0; i < n; i++) {
        r.cluster[i] = (uint32_t)i;
        r.e[i] = 1;
    }
    return r;
}

static inline void rows_free(rows *r) {
    void *all[] = {r->pi, r->q,         r->q_robust,    r->propensity, r->p,       r->y,
                   r->e,  r->by_logger, r->logger_rows, r->chosen,     r->cluster, r->flags};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

typedef struct judged {
    weirp_cell *cell;
    weirp_sums sums;
} judged;

/* Adds the rows order[0], order[1], ...; NULL: as they stand. `step`: rows a block. */
static inline judged judge(const rows *r, const size_t *order, size_t step) {
    const size_t m = r->n_models;
    judged j;
    double *metric = rows_need(step * WEIR_N_METRICS, sizeof *metric);
    rows b = rows_new(step, m);
    if (r->q_robust) b.q_robust = rows_need(step * m, sizeof(double));
    if (r->propensity) b.propensity = rows_need(step * m, sizeof(double));
    if (r->by_logger) b.by_logger = rows_need(step * r->n_loggers, sizeof(double));
    assert_int_equal(weirp_sums_init(&j.sums, r->n_clusters, weirp_cell_n_columns() + 3, NULL), WEIR_OK);
    assert_int_equal(weirp_cell_make(&j.cell, r->logger_rows, r->n_loggers, r->metric, 2, r->q_robust != NULL, NULL),
                     WEIR_OK);
    for (size_t first = 0; first < r->n; first += step) {
        const size_t n = r->n - first < step ? r->n - first : step;
        for (size_t k = 0; k < n; k++) {
            const size_t i = order ? order[first + k] : first + k;
            memcpy(b.pi + k * m, r->pi + i * m, m * sizeof(double));
            memcpy(b.q + k * m, r->q + i * m, m * sizeof(double));
            if (b.q_robust) memcpy(b.q_robust + k * m, r->q_robust + i * m, m * sizeof(double));
            if (b.propensity) memcpy(b.propensity + k * m, r->propensity + i * m, m * sizeof(double));
            if (b.by_logger)
                memcpy(b.by_logger + k * r->n_loggers, r->by_logger + i * r->n_loggers, r->n_loggers * sizeof(double));
            b.p[k] = r->p[i];
            b.e[k] = r->e[i];
            b.chosen[k] = r->chosen[i];
            b.cluster[k] = r->cluster[i];
            b.flags[k] = r->flags[i];
            for (size_t x = 0; x < WEIR_N_METRICS; x++) metric[k * WEIR_N_METRICS + x] = NAN;
            metric[k * WEIR_N_METRICS + r->metric] = r->y[i];
        }
        const weirp_ope_block block = {.first = first,
                                       .n = n,
                                       .n_models = m,
                                       .n_loggers = r->n_loggers,
                                       .chosen = b.chosen,
                                       .cluster = b.cluster,
                                       .flags = b.flags,
                                       .p = b.p,
                                       .metric = metric,
                                       .propensity = b.propensity,
                                       .by_logger = b.by_logger};
        weirp_cell_add(j.cell, &j.sums, &block,
                       &(weirp_cell_input){.pi = b.pi, .q = b.q, .q_robust = b.q_robust, .e = b.e});
    }
    rows_free(&b);
    free(metric);
    weirp_sums_finish(&j.sums);
    assert_int_equal(weirp_cell_finish(j.cell, &j.sums, NULL), WEIR_OK);
    return j;
}

static inline void judged_free(judged *j) {
    weirp_cell_free(j->cell);
    weirp_sums_free(&j->sums);
}

/* NAN: not to be had. */
static inline double judged_value(const judged *j, size_t estimator, double *lambda) {
    weirp_ratio ratio[WEIRP_MAX_RATIOS];
    size_t n;
    const char *why_not;
    if (!weirp_cell_statistic(j->cell, estimator, ratio, &n, lambda, &why_not)) {
        assert_non_null(why_not);
        return NAN;
    }
    assert_null(why_not);
    return weirp_statistic_value(&(weirp_statistic){ratio, n}, j->sums.total);
}

static inline double judged_named(const judged *j, const char *name) {
    double lambda;
    const size_t at = weirp_ope_estimator_find(name);
    if (at == (size_t)-1) fail_msg("no estimator %s", name);
    return judged_value(j, at, &lambda);
}

/* A log drawn at random: 1 to 6 models, chances from uniform to bold, qualities that differ by model. */
static inline rows rows_random(size_t n, size_t n_models, uint64_t seed) {
    rows r = rows_new(n, n_models);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double log_sum = 0, target_sum = 0, p[16];
        for (size_t a = 0; a < n_models; a++) {
            p[a] = 0.05 + weirp_random_uniform(seed, 1, at);
            r.pi[i * n_models + a] = pow(weirp_random_uniform(seed, 2, at), 3);
            r.q[i * n_models + a] = weirp_random_uniform(seed, 3, at++);
            log_sum += p[a];
            target_sum += r.pi[i * n_models + a];
        }
        double u = weirp_random_uniform(seed, 4, i) * log_sum;
        for (size_t a = 0; a < n_models; a++) r.pi[i * n_models + a] /= target_sum;
        size_t a = 0;
        while (a + 1 < n_models && u >= p[a]) u -= p[a++];
        r.chosen[i] = (uint32_t)a;
        r.p[i] = p[a] / log_sum;
        r.y[i] = weirp_random_uniform(seed, 5, i) < 0.3 + 0.5 * (double)a / (double)n_models;
    }
    return r;
}

#endif

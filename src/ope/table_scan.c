/* table_scan.c: a table's rows as padded arrays, block by block. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/ope/table_parts.h"

struct weirp_scan {
    const weirp_ope_table *table;
    size_t next;     /* block */
    size_t unpacked; /* the block in the arrays; (size_t)-1: none */
    size_t n;        /* its rows */
    uint8_t *buffer; /* (blocks.most) */
    uint32_t *chosen, *cluster, *segment, *logger, *flags, *trial;
    int64_t *time_ms;
    double *p, *metric;
    double *by_model[WEIRP_PACKED_MODELS]; /* propensity, target, quality_hat, cost_hat; NULL: no row has it */
    double *by_logger;
    float *dense;
    uint64_t *training;
};

static bool make(void **out, size_t each, size_t size) {
    *out = weirp_array(WEIRP_BLOCK_ROWS * (each ? each : 1), size);
    return *out != NULL;
}

static bool make_arrays(weirp_scan *s) {
    const weirp_ope_table *t = s->table;
    uint32_t **const words[] = {&s->chosen, &s->cluster, &s->segment, &s->logger, &s->flags, &s->trial};
    bool good = make((void **)&s->time_ms, 1, sizeof *s->time_ms) && make((void **)&s->p, 1, sizeof *s->p) &&
                make((void **)&s->metric, WEIR_N_METRICS, sizeof *s->metric) &&
                make((void **)&s->training, 1, sizeof *s->training);
    for (size_t i = 0; good && i < sizeof words / sizeof *words; i++)
        good = make((void **)words[i], 1, sizeof(uint32_t));
    for (size_t i = 0; good && i < WEIRP_PACKED_MODELS; i++)
        if (i == 0 || t->has >> i & 1) good = make((void **)&s->by_model[i], t->models.n, sizeof(double));
    if (good && t->n_loggers) good = make((void **)&s->by_logger, t->n_loggers, sizeof *s->by_logger);
    if (good && t->has & WEIRP_PACKED_DENSE) good = make((void **)&s->dense, t->dim, sizeof *s->dense);
    s->buffer = good ? malloc(t->blocks.fd >= 0 ? t->blocks.most : 1) : NULL;
    return s->buffer != NULL;
}

weir_status weirp_scan_new(weirp_scan **out, const weirp_ope_table *table, weir_error *err) {
    *out = NULL;
    if (!table->finished) return weirp_fail(err, WEIR_INVALID, 0, "a table is gone over after its last row");
    weirp_scan *s = calloc(1, sizeof *s);
    if (!s) return weirp_nomem(err);
    s->table = table;
    s->unpacked = (size_t)-1;
    if (!make_arrays(s)) {
        weirp_scan_free(s);
        return weirp_nomem(err);
    }
    *out = s;
    return WEIR_OK;
}

void weirp_scan_free(weirp_scan *s) {
    if (!s) return;
    free(s->buffer);
    free(s->chosen);
    free(s->cluster);
    free(s->segment);
    free(s->logger);
    free(s->flags);
    free(s->trial);
    free(s->time_ms);
    free(s->p);
    free(s->metric);
    for (size_t i = 0; i < WEIRP_PACKED_MODELS; i++) free(s->by_model[i]);
    free(s->by_logger);
    free(s->dense);
    free(s->training);
    free(s);
}

/* ---- one row ---- */

/* n doubles of `room`, the rest `missing`; `at` has no alignment. */
static const uint8_t *unpack_doubles(double *out, size_t room, size_t n, double missing, const uint8_t *at) {
    memcpy(out, at, n * sizeof *out);
    for (size_t i = n; i < room; i++) out[i] = missing;
    return at + n * sizeof *out;
}

static const uint8_t *unpack(weirp_scan *s, size_t row, const uint8_t *at) {
    const weirp_ope_table *t = s->table;
    weirp_packed head;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    s->chosen[row] = head.chosen;
    s->cluster[row] = head.cluster;
    s->segment[row] = head.segment;
    s->logger[row] = head.logger;
    s->flags[row] = head.flags;
    s->trial[row] = head.trial;
    s->time_ms[row] = head.time_ms;
    s->p[row] = head.p;
    s->training[row] = head.training;
    double *metric = s->metric + row * WEIR_N_METRICS;
    memcpy(metric, head.metric, sizeof head.metric);
    metric[WEIR_METRIC_LOSS] =
        t->value_usd > 0 ? t->value_usd * (1 - metric[WEIR_METRIC_QUALITY]) + metric[WEIR_METRIC_COST] : NAN;
    for (size_t i = 0; i < WEIRP_PACKED_MODELS; i++) {
        if (!s->by_model[i]) continue;
        bool has = head.has >> i & 1;
        /* a model that came up after this row couldn't be chosen in it */
        at = unpack_doubles(s->by_model[i] + row * t->models.n, t->models.n, has ? head.n_models : 0,
                            has && i < 2 ? 0 : NAN, at);
    }
    if (t->told && !(head.has & WEIRP_PACKED_PROPENSITY) && head.p == 1) {
        double *chances = s->by_model[0] + row * t->models.n;
        for (size_t m = 0; m < t->models.n; m++) chances[m] = m == head.chosen;
    }
    if (s->by_logger) at = unpack_doubles(s->by_logger + row * t->n_loggers, t->n_loggers, head.n_loggers, NAN, at);
    if (s->dense) {
        float *dense = s->dense + row * t->dim;
        memcpy(dense, at, head.dim * sizeof *dense);
        for (size_t i = head.dim; i < t->dim; i++) dense[i] = NAN;
        at += (head.dim + 1) / 2 * 8;
    }
    return at;
}

/* ---- blocks ---- */

static weir_status unpack_block(weirp_scan *s, size_t i, weir_error *err) {
    const weirp_ope_table *t = s->table;
    const uint8_t *at;
    size_t size;
    if (s->unpacked == i) return WEIR_OK;
    weir_status st = weirp_blocks_get(&t->blocks, i, s->buffer, &at, &size, err);
    if (st != WEIR_OK) return st;
    size_t first = i * WEIRP_BLOCK_ROWS;
    s->n = t->n - first < WEIRP_BLOCK_ROWS ? t->n - first : WEIRP_BLOCK_ROWS;
    for (size_t row = 0; row < s->n; row++) at = unpack(s, row, at);
    s->unpacked = i;
    return WEIR_OK;
}

static void show(const weirp_scan *s, weirp_ope_block *b) {
    const weirp_ope_table *t = s->table;
    *b = (weirp_ope_block){.first = s->unpacked * WEIRP_BLOCK_ROWS,
                           .n = s->n,
                           .n_models = t->models.n,
                           .dim = s->dense ? t->dim : 0,
                           .n_loggers = t->n_loggers,
                           .chosen = s->chosen,
                           .cluster = s->cluster,
                           .segment = s->segment,
                           .logger = s->logger,
                           .flags = s->flags,
                           .trial = s->trial,
                           .time_ms = s->time_ms,
                           .p = s->p,
                           .metric = s->metric,
                           .propensity = s->by_model[0],
                           .target = s->by_model[1],
                           .by_logger = s->by_logger,
                           .quality_hat = s->by_model[2],
                           .cost_hat = s->by_model[3],
                           .dense = s->dense,
                           .training = s->training};
}

weir_status weirp_scan_next(weirp_scan *s, weirp_ope_block *block, weir_error *err) {
    if (s->next == s->table->blocks.n) return WEIR_END;
    weir_status st = unpack_block(s, s->next, err);
    if (st != WEIR_OK) return st;
    s->next++;
    show(s, block);
    return WEIR_OK;
}

weir_status weirp_scan_at(weirp_scan *s, size_t row, weirp_ope_block *block, weir_error *err) {
    if (row >= s->table->n) return WEIR_END;
    weir_status st = unpack_block(s, row / WEIRP_BLOCK_ROWS, err);
    if (st != WEIR_OK) return st;
    show(s, block);
    return WEIR_OK;
}

weirp_ope_block weirp_ope_block_rows(const weirp_ope_block *b, size_t from, size_t to) {
    const size_t by_model = from * b->n_models;
#define FROM(array, by) .array = b->array ? b->array + (by) : NULL
    return (weirp_ope_block){.first = b->first + from,
                             .n = to - from,
                             .n_models = b->n_models,
                             .dim = b->dim,
                             .n_loggers = b->n_loggers,
                             FROM(chosen, from),
                             FROM(cluster, from),
                             FROM(segment, from),
                             FROM(logger, from),
                             FROM(flags, from),
                             FROM(trial, from),
                             FROM(time_ms, from),
                             FROM(p, from),
                             FROM(metric, from * WEIR_N_METRICS),
                             FROM(propensity, by_model),
                             FROM(target, by_model),
                             FROM(by_logger, from * b->n_loggers),
                             FROM(quality_hat, by_model),
                             FROM(cost_hat, by_model),
                             FROM(dense, from * b->dim),
                             FROM(training, from)};
#undef FROM
}

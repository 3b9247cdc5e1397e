/* table_parts.h: what the table's files share. table.c takes rows in, table_file.c keeps their bytes, table_scan.c
 * gives them out again. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_TABLE_PARTS_H
#define WEIRP_OPE_TABLE_PARTS_H

#include "src/base/names.h"
#include "src/ope/table.h"

/* ---- blocks of bytes, in the order in which they came ---- */

enum { WEIRP_TABLE_MEMORY = 64 << 20 /* from there on it is a file */ };

typedef struct weirp_blocks {
    size_t n, capacity;
    uint64_t *start;  /* (n + 1) where each begins, in bytes of all before it */
    uint8_t **memory; /* (n) while they are in memory */
    size_t memory_capacity;
    size_t most;  /* bytes of the largest */
    size_t limit; /* WEIRP_TABLE_MEMORY; smaller in tests */
    int fd;       /* unlinked file; -1: all is in memory */
    char *folder; /* where that file is; for messages */
} weirp_blocks;

void weirp_blocks_init(weirp_blocks *b);
weir_status weirp_blocks_add(weirp_blocks *b, const uint8_t *data, size_t size, weir_error *err); /* copies */
/* Block i; in `buffer` (b->most bytes), or borrowed. Threads may call this at once. */
weir_status weirp_blocks_get(const weirp_blocks *b, size_t i, uint8_t *buffer, const uint8_t **data, size_t *size,
                             weir_error *err);
void weirp_blocks_free(weirp_blocks *b);

/* ---- rows ---- */

/* What a row's bytes begin with. After it come, as `has` says: propensity, target, quality_hat, cost_hat (n_models
 * each), by_logger (n_loggers), dense (dim floats, padded to 8 bytes). */
typedef struct weirp_packed {
    int64_t time_ms;
    uint64_t training;
    double p, metric[WEIR_METRIC_LOSS]; /* the loss is computed */
    uint32_t chosen, cluster, segment, logger, flags;
    uint16_t n_models, n_loggers;
    uint32_t dim;
    uint16_t has, trial;
} weirp_packed;

enum {
    WEIRP_PACKED_PROPENSITY = 1,
    WEIRP_PACKED_TARGET = 2,
    WEIRP_PACKED_QUALITY = 4,
    WEIRP_PACKED_COST = 8,
    WEIRP_PACKED_MODELS = 4, /* how many of these there are */
    WEIRP_PACKED_BY_LOGGER = 16,
    WEIRP_PACKED_DENSE = 32
};

enum { WEIRP_MAX_CLUSTERS = 65536, WEIRP_MAX_TEXTS = 4096 };

struct weirp_ope_table {
    size_t n; /* rows */
    weirp_names models, segments, loggers;
    weirp_names trial_names; /* by digest and name */
    weirp_ope_trial *trial;  /* (n_trials) */
    size_t n_trials, trial_capacity;
    bool more_trials;
    size_t *logger_rows; /* (loggers.n) */
    size_t logger_rows_capacity;
    double *by_logger; /* a row's, in the order of `loggers` */
    size_t by_logger_capacity;
    size_t n_loggers; /* of by_logger, the most of any row */
    size_t dim;
    bool dim_known, has_sessions, finished;
    unsigned has; /* of any row */
    bool told;    /* every decided row tells all chances: logged, or 1 for the chosen model */
    size_t n_decided, known[WEIR_N_METRICS]; /* of decided rows */
    unsigned mentioned;                      /* set of the metrics that any row knows */
    int64_t last_ms;
    double value_usd;
    /* sessions that have a cluster of their own: an open table by hash */
    struct {
        uint64_t hash;
        uint32_t cluster; /* plus 1; 0: free */
    } * slot;
    size_t n_clusters;
    weirp_writer block; /* the block that is being filled */
    weirp_blocks blocks;
};

#endif

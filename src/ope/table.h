/* table.h: a log's rows, read once and gone over several times: in memory while they are few, in an unlinked temporary
 * file ($TMPDIR) from then on, so that memory doesn't grow with the log.
 *
 * src/ope/ lives on rows of numbers: it knows no file format and no report. One way: rows (table.h) -> chances of the
 * candidate (target.h) and the reward model's predictions (reward.h) -> sums a group (sums.h) -> estimates and
 * intervals (estimate.h, interval.h) -> what can be trusted, and the verdict (result.h). SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_OPE_TABLE_H
#define WEIRP_OPE_TABLE_H

#include "datasets/logged.h"
#include "src/base/base.h"

typedef struct weirp_ope_table weirp_ope_table;

enum { WEIRP_BLOCK_ROWS = 1024 };

/* Some rows of the table as arrays, padded to all of the table's models. */
typedef struct weirp_ope_block {
    size_t first, n; /* number of the first row; rows, at most WEIRP_BLOCK_ROWS */
    size_t n_models, dim, n_loggers;
    const uint32_t *chosen;    /* (n) */
    const uint32_t *cluster;   /* (n) groups of rows that are independent of each other: sums.h */
    const uint32_t *segment;   /* (n) index of the segment's text */
    const uint32_t *logger;    /* (n) index of the logging policy's name */
    const uint32_t *flags;     /* (n) WEIRP_LOGGED_... */
    const uint32_t *trial;     /* (n) whose candidate `target` is: index of a trial; NULL: all of the first */
    const int64_t *time_ms;    /* (n) */
    const double *p;           /* (n) chance of the chosen one */
    const double *metric;      /* (n, WEIR_N_METRICS) */
    const double *propensity;  /* (n, n_models); NAN: not logged. A chance of 1 tells the others', where every row tells
them; it would stand for all, were it told of some alone */
    const double *target;      /* (n, n_models); NAN: not logged; NULL where no row has any, as all below */
    const double *by_logger;   /* (n, n_loggers) */
    const double *quality_hat; /* (n, n_models) */
    const double *cost_hat;    /* (n, n_models) */
    const float *dense;        /* (n, dim); a row without: NAN */
    const uint64_t *training;  /* (n) whose features `dense` are: as a logged row's */
} weirp_ope_block;

/* Whether row i was decided by a policy: forced and cached ones say nothing of any. */
static inline bool weirp_ope_is_decided(const weirp_ope_block *block, size_t i) {
    return !(block->flags[i] & (WEIRP_LOGGED_FORCED | WEIRP_LOGGED_CACHED));
}

/* Rows [from, to) of a block; borrows what it borrows. */
weirp_ope_block weirp_ope_block_rows(const weirp_ope_block *block, size_t from, size_t to);

weir_status weirp_ope_table_new(weirp_ope_table **out, weir_error *err); /* *out is new */
void weirp_ope_table_free(weirp_ope_table *table);                       /* NULL is fine */

/* The model's index in the table, added if it is new. */
weir_status weirp_ope_table_model(weirp_ope_table *table, const char *name, size_t *index, weir_error *err);
/* Copies a row; model[i] (row's n_models) is the table's index of the row's model i, or (size_t)-1: the table doesn't
 * have it, and the row doesn't name it. `dim` of later rows that differs from the first's: those rows have no features.
 * Sessions become clusters: the first 65,536 their own, later ones share by hash; a row without a session is its own
 * cluster, while they last. */
weir_status weirp_ope_table_add(weirp_ope_table *table, const weirp_logged_row *row, size_t n_models,
                                const size_t *model, weir_error *err);
/* After the last row: sizes are final, the loss is filled in (value_usd > 0). */
weir_status weirp_ope_table_finish(weirp_ope_table *table, double value_usd, weir_error *err);

size_t weirp_ope_table_n(const weirp_ope_table *table);
size_t weirp_ope_table_n_decided(const weirp_ope_table *table); /* of them, that somebody decided */
size_t weirp_ope_table_n_models(const weirp_ope_table *table);
const char *weirp_ope_table_model_name(const weirp_ope_table *table, size_t index);
size_t weirp_ope_table_n_segments(const weirp_ope_table *table);
const char *weirp_ope_table_segment(const weirp_ope_table *table, size_t index);
size_t weirp_ope_table_n_loggers(const weirp_ope_table *table);
size_t weirp_ope_table_logger_rows(const weirp_ope_table *table, size_t index); /* decided rows of this policy */
/* A rollout, in one of its configurations: rows' `target` are its candidate's chances. Told apart by name and digest.
 */
typedef struct weirp_ope_trial {
    const char *name; /* "": of no rollout, as a mapping's `target` */
    uint64_t digest;
    size_t n_rows;             /* decided rows that have such chances */
    int64_t first_ms, last_ms; /* their times; WEIRP_LOGGED_NO_TIME: none has one */
} weirp_ope_trial;
size_t weirp_ope_table_n_trials(const weirp_ope_table *table);                            /* at least 1 */
const weirp_ope_trial *weirp_ope_table_trial(const weirp_ope_table *table, size_t index); /* 0 is no rollout */
bool weirp_ope_table_has_more_trials(
    const weirp_ope_table *table);                               /* than are told apart: 4,096; the last has them all */
size_t weirp_ope_table_n_clusters(const weirp_ope_table *table); /* of decided rows; at most 65,536 */
bool weirp_ope_table_has_sessions(const weirp_ope_table *table); /* some cluster holds rows for that reason */
size_t weirp_ope_table_dim(const weirp_ope_table *table);
int64_t weirp_ope_table_last_ms(const weirp_ope_table *table); /* latest time; WEIRP_LOGGED_NO_TIME: no row has one */
/* Decided rows that know it: whatever depends on how many there are goes by the rows that are used. */
size_t weirp_ope_table_known(const weirp_ope_table *table, weir_metric metric);
bool weirp_ope_table_mentions(const weirp_ope_table *table, weir_metric metric); /* some row knows it, decided or not */

/* One way through the rows. Blocks are borrowed until the scan's next call; several scans of one finished table may run
 * in several threads. */
typedef struct weirp_scan weirp_scan;
weir_status weirp_scan_new(weirp_scan **out, const weirp_ope_table *table, weir_error *err); /* *out is new */
weir_status weirp_scan_next(weirp_scan *scan, weirp_ope_block *block, weir_error *err); /* WEIR_END after the last */
weir_status weirp_scan_at(weirp_scan *scan, size_t row, weirp_ope_block *block,
                          weir_error *err); /* the block of a row */
void weirp_scan_free(weirp_scan *scan);

#endif

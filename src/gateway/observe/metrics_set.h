/* metrics_set.h: what a thread counts: tables of cells, each of a fixed size. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_METRICS_SET_H
#define WEIRP_METRICS_SET_H

#include "src/gateway/observe/metrics.h"

typedef enum weirp_axis { WEIRP_AXIS_ONE, WEIRP_AXIS_ENDPOINT, WEIRP_AXIS_MODEL, WEIRP_AXIS_DEPLOYMENT } weirp_axis;

/* Statuses 100 to 599, and column 0 for any other. */
enum { WEIRP_N_CODES = 501, WEIRP_N_RULES = WEIR_RULE_ORACLE + 1, WEIRP_N_TOKEN_KINDS = 5 };

/* Upper bounds in seconds: decisions and overhead 10 us to 100 ms, a vendor's first token 10 ms to 60 s, requests and
 * attempts 1 ms to 300 s. */
typedef struct weirp_scale {
    size_t n;
    const double *bound_s; /* (n) */
} weirp_scale;
extern const weirp_scale weirp_scale_short, weirp_scale_first, weirp_scale_long;
#define WEIRP_N_SHORT 13
#define WEIRP_N_FIRST 12
#define WEIRP_N_LONG  17

/* X(name, axis of the rows, columns, kind). Columns of a histogram: its buckets, the one without bound, the sum in ns.
 */
#define WEIRP_TABLES(X)                                                                                                \
    X(REQUESTS, ENDPOINT, WEIRP_N_CODES, COUNT)                                                                        \
    X(REQUEST_TIME, ENDPOINT, WEIRP_N_LONG + 2, COUNT)                                                                 \
    X(DECISIONS, MODEL, WEIRP_N_RULES, COUNT)                                                                          \
    X(DECISION_TIME, ONE, WEIRP_N_SHORT + 2, COUNT)                                                                    \
    X(ATTEMPTS, DEPLOYMENT, WEIRP_N_RESULTS, COUNT)                                                                    \
    X(ATTEMPT_TIME, DEPLOYMENT, WEIRP_N_LONG + 2, COUNT)                                                               \
    X(FIRST_TOKEN, MODEL, WEIRP_N_FIRST + 2, COUNT)                                                                    \
    X(OVERHEAD, ONE, WEIRP_N_SHORT + 2, COUNT)                                                                         \
    X(TOKENS, MODEL, WEIRP_N_TOKEN_KINDS, REAL)                                                                        \
    X(COST, MODEL, 1, NANO)                                                                                            \
    X(PREDICTED_COST, MODEL, 1, REAL)                                                                                  \
    X(COST_UNKNOWN, MODEL, 1, COUNT)                                                                                   \
    X(USAGE_ESTIMATED, MODEL, 1, COUNT)                                                                                \
    X(FALLBACKS_FROM, MODEL, 1, COUNT)                                                                                 \
    X(FALLBACKS_TO, MODEL, 1, COUNT)                                                                                   \
    X(RETRIES, DEPLOYMENT, 1, COUNT)                                                                                   \
    X(HEDGES, DEPLOYMENT, 2, COUNT)                                                                                    \
    X(CLIENT_GONE, ONE, 1, COUNT)                                                                                      \
    X(ACTIVE_REQUESTS, ONE, 1, GAUGE)                                                                                  \
    X(ACTIVE_STREAMS, ONE, 1, GAUGE)

typedef enum weirp_table {
#define WEIRP_TABLE_ENUM(name, axis, columns, kind) WEIRP_TABLE_##name,
    WEIRP_TABLES(WEIRP_TABLE_ENUM)
#undef WEIRP_TABLE_ENUM
        WEIRP_N_TABLES
} weirp_table;

typedef struct weirp_table_shape {
    weirp_axis axis;
    size_t columns;
    /* uint64_t, bits of a double, int64_t, uint64_t of billionths */
    enum { WEIRP_CELL_COUNT, WEIRP_CELL_REAL, WEIRP_CELL_GAUGE, WEIRP_CELL_NANO } kind;
} weirp_table_shape;
extern const weirp_table_shape weirp_table_shapes[WEIRP_N_TABLES];

struct weirp_metrics {
    weirp_metric_names names;
    _Atomic uint64_t *cells;
    _Atomic uint64_t *table[WEIRP_N_TABLES]; /* (rows, columns) row-major, into cells */
};

size_t weirp_axis_size(const weirp_metric_names *names, weirp_axis axis);

/* The process as Prometheus' clients report it, appended to w. */
void weirp_metrics_process(weirp_writer *w);

/* For the two files that write: bytes, and one series without labels. */
void weirp_metrics_text(weirp_writer *w, const char *text);
void weirp_metrics_head(weirp_writer *w, const char *name, const char *type, const char *help);
void weirp_metrics_real(weirp_writer *w, double x);
void weirp_metrics_single(weirp_writer *w, const char *name, const char *type, const char *help, double x);

#endif

/* cell_columns.h: which column of a cell is what; for cell*.c alone. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_CELL_COLUMNS_H
#define WEIRP_OPE_CELL_COLUMNS_H

#include "src/ope/cell.h"

enum { N_LAMBDAS = 5, N_SUBGAUSS = 6, SOME_ROWS = 64, MAX_ESTIMATORS = 64 };

/* Sums over rows, where k is 1/e if the metric is known and 0 if it isn't. Only what some estimator reads: a bootstrap
 * goes over all columns of all clusters a thousand times. */
enum {
    COLUMN_N,                                        /* 1 */
    COLUMN_K,                                        /* k */
    COLUMN_Y,                                        /* k r */
    COLUMN_A,                                        /* w k */
    COLUMN_MATCH_A,                                  /* k where the candidate would have done the same */
    COLUMN_MATCH_B,                                  /* k r there */
    COLUMN_V_ROBUST,                                 /* v of the robust model */
    COLUMN_V,                                        /* v; from here on a row's value is an estimator's term ... */
    COLUMN_D_ROBUST,                                 /* w k (r - q) of the robust model */
    COLUMN_B,                                        /* w k r */
    COLUMN_B_BALANCED,                               /* f(w) k r ... */
    COLUMN_B_CLIP,                                   /* (N_LAMBDAS) */
    COLUMN_B_SUBGAUSS = COLUMN_B_CLIP + N_LAMBDAS,   /* (N_SUBGAUSS) */
    COLUMN_D = COLUMN_B_SUBGAUSS + N_SUBGAUSS,       /* w k (r - q); ... once v has been added */
    COLUMN_D_BALANCED,                               /* f(w) k (r - q) ... */
    COLUMN_D_CLIP,                                   /* (N_LAMBDAS) */
    COLUMN_D_SWITCH = COLUMN_D_CLIP + N_LAMBDAS,     /* (N_LAMBDAS) */
    COLUMN_D_SHRINK = COLUMN_D_SWITCH + N_LAMBDAS,   /* (N_LAMBDAS) */
    COLUMN_D_SUBGAUSS = COLUMN_D_SHRINK + N_LAMBDAS, /* (N_SUBGAUSS) */
    N_COLUMNS = COLUMN_D_SUBGAUSS + N_SUBGAUSS
};

/* From the least change to the greatest. */
extern const double weirp_cell_lambdas[N_LAMBDAS], weirp_cell_subgauss[N_SUBGAUSS];

typedef struct weirp_exact {
    double sum, rest; /* compensated */
} weirp_exact;

static inline void weirp_exact_add(weirp_exact *e, double x) {
    const double s = e->sum + x, part = s - e->sum;
    e->rest += (e->sum - (s - part)) + (x - part);
    e->sum = s;
}

static inline double weirp_exact_get(const weirp_exact *e) {
    return e->sum + e->rest;
}

struct weirp_cell {
    weir_metric metric;
    size_t first_column, n_loggers;
    double *share;             /* (n_loggers) of rows that each logging policy made; NULL: one policy */
    bool robust, has_q, drawn; /* the candidate left something to chance */
    const char *unbalanced;    /* static: why weights can't be balanced; NULL: they can */
    weirp_cell_facts facts;
    weirp_exact sum_w, sum_w2, sum_wk2, sum_y, sum_y2, sum_q, sum_q2, sum_yq, unsupported;
    double max_wk;
    /* Moments of rows' terms about a value near their mean, so that nothing cancels. */
    double shift[N_COLUMNS], moment[N_COLUMNS], moment2[N_COLUMNS];
    bool shifted, finished;
    size_t choice[MAX_ESTIMATORS]; /* of tuned estimators: 0 no change, else 1 + index of lambda */
};

#endif

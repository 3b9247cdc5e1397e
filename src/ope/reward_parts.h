/* reward_parts.h: what the files of reward models share; nobody else includes it.
 *
 * Folds. Rows fall into parts by cluster % n_parts. Final fit f predicts the rows of the parts p with p % n_folds == f,
 * and is fitted on all the others (n_folds 1: on all). What must be chosen for it (penalties, which model, smearing)
 * goes by inner fits: the parts that f may see fall into up to INNER groups, and inner fit g of f has seen none of
 * group g. So nothing in a row's prediction has seen its outcome, choices included.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_REWARD_PARTS_H
#define WEIRP_OPE_REWARD_PARTS_H

#include "src/ope/reward.h"

enum { WEIRP_REWARD_INNER = 4, WEIRP_REWARD_MAX_FOLDS = 20, WEIRP_REWARD_MAX_PARTS = 40, WEIRP_REWARD_MEMBERS = 4 };

typedef struct weirp_reward_folds {
    size_t n_folds, n_parts;
    size_t n_inner;                                                    /* groups of each final fit */
    signed char group[WEIRP_REWARD_MAX_FOLDS][WEIRP_REWARD_MAX_PARTS]; /* -1: f may not see the part */
} weirp_reward_folds;

weir_status weirp_reward_folds_make(weirp_reward_folds *folds, size_t n_folds, weir_error *err);
/* Fits are numbered f * (1 + n_inner) + (0: final, 1 + g: inner). */
static inline size_t weirp_reward_n_fits(const weirp_reward_folds *o) {
    return o->n_folds * (1 + o->n_inner);
}
static inline bool weirp_reward_sees(const weirp_reward_folds *o, size_t fit, size_t part) {
    size_t f = fit / (1 + o->n_inner), k = fit % (1 + o->n_inner);
    return o->group[f][part] >= 0 && (!k || o->group[f][part] != (int)k - 1);
}

/* What is known of the rows before anything is fitted: nothing here has seen an outcome, but for the bounds. */
typedef struct weirp_reward_frame {
    const weirp_ope_table *table;
    weir_metric metric;
    weirp_reward_folds folds;
    size_t n_models, n_segments;
    size_t dim;     /* dense columns that are used; 0: none */
    double *centre; /* (dim) of dense */
    double scale;   /* that dense is divided by */
    double hat[3]
              [2]; /* quality_hat, cost_hat, log cost_hat of the chosen model: mean, standard deviation (0: unused) */
    double norm;   /* row weights are multiplied by it: their mean is 1 */
    double prior;
    double lo[WEIRP_REWARD_MAX_FOLDS], hi[WEIRP_REWARD_MAX_FOLDS]; /* of the outcomes that final fit f may see */
    double log_shift;                                              /* the log scale is log(y + shift) */
    uint64_t seed;
    unsigned n_threads;
    unsigned pass_threads; /* while going over the rows: 1 where several fits share the cores */
} weirp_reward_frame;

/* Rows of a block that a fit may use. */
typedef struct weirp_reward_rows {
    const weirp_ope_block *block;
    size_t n;
    uint16_t row[WEIRP_BLOCK_ROWS];
    uint8_t part[WEIRP_BLOCK_ROWS];
    double y[WEIRP_BLOCK_ROWS], w[WEIRP_BLOCK_ROWS]; /* outcome; weight, of mean 1 */
} weirp_reward_rows;

/* Calls fn with each block's usable rows in order. */
typedef void (*weirp_reward_rows_fn)(void *context, const weirp_reward_rows *rows);
weir_status weirp_reward_each(const weirp_reward_frame *frame, weirp_ope_target *robust_for, weirp_reward_rows_fn fn,
                              void *context, weir_error *err);
/* The same for several at once: they see each block in parallel, and a target is asked about it once. */
typedef struct weirp_reward_pass {
    const weirp_reward_frame *frame; /* all of one table */
    weirp_ope_target *robust_for;    /* NULL */
    weirp_reward_rows_fn fn;
    void *context;
} weirp_reward_pass;
weir_status weirp_reward_each_of(const weirp_reward_pass *passes, size_t n, unsigned n_threads, weir_error *err);

/* ---- the frame ---- */

/* What is seen of the rows before anything is fitted. */
typedef struct weirp_reward_looking {
    double n, sum_w, n_hat[3], sum[3], square[3], n_dense;
    double *dense, *dense2; /* (table's dim) */
    double lo[WEIRP_REWARD_MAX_PARTS], hi[WEIRP_REWARD_MAX_PARTS];
} weirp_reward_looking;
/* All but what comes of the rows. */
weir_status weirp_reward_frame_begin(weirp_reward_frame *frame, const weirp_ope_table *table,
                                     const weirp_reward_options *options, weir_error *err);
weir_status weirp_reward_looking_init(weirp_reward_looking *l, const weirp_reward_frame *frame, weir_error *err);
void weirp_reward_look(void *looking, const weirp_reward_rows *rows);
weir_status weirp_reward_frame_settle(weirp_reward_frame *frame, const weirp_reward_looking *l, weir_error *err);
void weirp_reward_looking_free(weirp_reward_looking *l);

/* ---- table ---- */

typedef struct weirp_reward_table weirp_reward_table;
/* `deep`: cells are drawn to their model's mean, and that one to the overall mean; otherwise straight to the latter. */
weir_status weirp_reward_table_new(weirp_reward_table **out, const weirp_reward_frame *frame, bool deep,
                                   weir_error *err); /* *out is new; frame is borrowed, here and below */
void weirp_reward_table_free(weirp_reward_table *t);
void weirp_reward_table_add(weirp_reward_table *t, const weirp_reward_rows *rows);
weir_status weirp_reward_table_solve(weirp_reward_table *t, weir_error *err);
double weirp_reward_table_predict(const weirp_reward_table *t, size_t fit, size_t segment, size_t model);

/* ---- linear ---- */

#define WEIRP_COST_SHIFT 1e-6 /* USD, added before a logarithm: free answers are there, too */

/* Columns of z: 1, then the chosen model's estimates, then dense. */
enum { WEIRP_Z_ONE, WEIRP_Z_QUALITY, WEIRP_Z_COST, WEIRP_Z_LOG_COST, WEIRP_Z_DENSE };
enum { WEIRP_SCALE_RAW, WEIRP_SCALE_LOG, WEIRP_N_SCALES };

/* Normal equations of each part and model. */
typedef struct weirp_reward_gram {
    const weirp_reward_frame *frame;
    size_t d;
    double *a;  /* (n_parts, n_models, d, d) upper triangles until settled */
    double *s;  /* (n_parts, n_models, WEIRP_N_SCALES, d) */
    double *yy; /* (n_parts, n_models, WEIRP_N_SCALES) */
    double *z;  /* (n_parts, n_models, buffer, d) rows that wait */
    double *zy; /* (n_parts, n_models, buffer, WEIRP_N_SCALES) */
    size_t *n;  /* (n_parts, n_models) rows that wait */
} weirp_reward_gram;

size_t weirp_reward_gram_bytes(const weirp_reward_frame *frame);
enum { WEIRP_REWARD_GRAM_BYTES = 192 << 20 }; /* of all that are there at once */
size_t weirp_reward_gram_most_dense(const weirp_reward_folds *folds, size_t n_models); /* columns that memory allows */
weir_status weirp_reward_gram_init(weirp_reward_gram *g, const weirp_reward_frame *frame, weir_error *err);
void weirp_reward_gram_free(weirp_reward_gram *g);
void weirp_reward_gram_add(weirp_reward_gram *g, const weirp_reward_rows *rows);
void weirp_reward_gram_settle(weirp_reward_gram *g); /* after the last row */
/* z of row i for model m; false: it has no features (z then has its first columns only). */
bool weirp_reward_z(const weirp_reward_frame *frame, const weirp_ope_block *block, size_t i, size_t m, double *z);
static inline size_t weirp_reward_d(const weirp_reward_frame *frame) {
    return WEIRP_Z_DENSE + frame->dim;
}

typedef struct weirp_reward_linear {
    const weirp_reward_frame *frame;
    size_t d;
    int scale;
    unsigned hats;  /* set of columns 1 << WEIRP_Z_..., estimates that are used */
    bool dense;     /* dense columns are used */
    double *theta;  /* (n_fits, n_models, d) of z */
    double *spread; /* (n_folds, d, n_models) of the final fits, for columns as they stand in the log */
} weirp_reward_linear;

/* Chooses penalties for each final fit by its inner ones, and fits all. */
weir_status weirp_reward_linear_fit(weirp_reward_linear *l, const weirp_reward_gram *g, int scale, unsigned hats,
                                    bool dense, weir_error *err);
void weirp_reward_linear_free(weirp_reward_linear *l);
double weirp_reward_linear_one(const weirp_reward_linear *l, size_t fit, size_t model, const double *z);
/* Models [begin, end) of row i by final fit f, on the member's scale. False: the row has no features. */
bool weirp_reward_linear_row(const weirp_reward_linear *l, size_t f, const weirp_ope_block *block, size_t i,
                             size_t begin, size_t end, double *out);

/* ---- fitted on a sample of the rows, in memory ---- */

typedef struct weirp_reward_other weirp_reward_other;

/* What one call of weirp_reward_predict needs beside the model; starts from zeros, freed by the caller. */
typedef struct weirp_reward_scratch {
    void *bytes;
} weirp_reward_scratch;

typedef struct weirp_reward_class {
    weir_status (*fit)(weirp_reward_other **out, const weirp_reward_frame *frame, weirp_ope_target *robust_for,
                       const char *name, weir_error *err); /* *out is new; may be NULL: nothing to go by */
    /* q (n_models) of row i by final fit f, finite or NAN; false: the row has no features. */
    bool (*row)(const weirp_reward_other *self, size_t f, const weirp_ope_block *block, size_t i, double *q,
                weirp_reward_scratch *scratch);
    void (*free)(weirp_reward_other *self);
} weirp_reward_class;

extern const weirp_reward_class weirp_reward_weir, weirp_reward_logistic;

#endif

/* ivf.h: rows of outcomes, indexed by where their prompts are: lists around centroids (an "inverted file"; Jegou,
 * Douze, Schmid, IEEE PAMI 33(1), 2011, section IV, without the product codes).
 *
 * Features are kept as 8-bit integers, in steps of 1/127 of the largest: distances are exact integers, alike on every
 * machine, and a row is a quarter of the memory to read. A search reads the nearest lists until it has seen enough
 * rows. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_IVF_H
#define WEIRP_IVF_H

#include "estimators/levels.h"

/* More rows than this are sampled by a fit; later ones take the place of rows nearby. */
#define WEIRP_IVF_MAX_ROWS 131072u

typedef struct weirp_list {
    size_t n;
    int8_t *x;      /* (LIST_MAX, stride) */
    uint32_t *norm; /* (LIST_MAX) squared length of x */
    float *y;       /* (LIST_MAX, columns) target - offset of each model, NAN: missing; the last two columns: the row's
                     * weight, and its deviation: the mean over models of target - the model's mean */
} weirp_list;

typedef struct weirp_ivf {
    size_t dim, stride;       /* rounded up to 32 */
    size_t n_models, columns; /* n_models + 2, rounded up to 8 */
    size_t n_rows;
    float scale;    /* steps a unit */
    bool probe_all; /* a search reads all lists */
    size_t n_lists, capacity;
    weirp_list *lists;          /* (n_lists) */
    int8_t *centroid;           /* (n_lists, stride) */
    uint32_t *centroid_norm;    /* (n_lists) */
    size_t last_list, last_row; /* appended last; SIZE_MAX: none */
    uint64_t n_replaced;
} weirp_ivf;

/* A search under way: what the k nearest rows hold. Sums are (columns). */
typedef struct weirp_near {
    double weight, deviation; /* sums of weights, and of weight times deviation */
    float *count, *sum, *square;
    /* the search's own */
    const int16_t *x;
    uint32_t norm;
    uint32_t *distance;       /* of rows seen so far; behind it, what a gather needs */
    uint32_t *order, *chosen; /* of lists: the nearest first; how many of their rows are among the nearest */
    int32_t *dot;
    uint32_t *centroid_distance;
    size_t n_seen, n_probed;
} weirp_near;

weir_status weirp_ivf_fit(weirp_ivf *ivf, const weirp_sample *sample, const weirp_levels *levels, weir_error *err);
void weirp_ivf_free(weirp_ivf *ivf);

/* Bytes that a search for at most k needs. */
size_t weirp_ivf_scratch_size(const weirp_ivf *ivf, size_t k);
void weirp_ivf_begin(const weirp_ivf *ivf, const float *x, void *scratch, weirp_near *near);
/* Sums over the k nearest; k may grow from call to call, and gives what a search for that k alone gives. */
void weirp_ivf_gather(const weirp_ivf *ivf, size_t k, weirp_near *near);

/* One outcome: a new row, or a cell of the last one. */
weir_status weirp_ivf_add(weirp_ivf *ivf, const float *x, size_t model, double y, double weight, weir_error *err);
/* The last row's deviation, by the models' means now. */
void weirp_ivf_settle_last(weirp_ivf *ivf, const weirp_levels *levels);
weir_status weirp_ivf_add_model(weirp_ivf *ivf, weir_error *err);
void weirp_ivf_remove_model(weirp_ivf *ivf, size_t index);
void weirp_ivf_save(const weirp_ivf *ivf, weirp_writer *w);
bool weirp_ivf_load(weirp_ivf *ivf, weirp_bytes *r, size_t dim, size_t n_models);

#endif

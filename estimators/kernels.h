/* kernels.h: the inner loops of prediction and of recursive updates.
 *
 * Every loop keeps a fixed number of partial sums and uses no fused multiply-add, so that a machine with wide vectors
 * and one without give the same bits. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_KERNELS_H
#define WEIRP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Lengths of vectors are rounded up to this and filled with zeros. */
#define WEIRP_LANES 16u

static inline size_t weirp_padded(size_t n) {
    return (n + WEIRP_LANES - 1) / WEIRP_LANES * WEIRP_LANES;
}

/* n items of `size` bytes, zeroed, aligned to 64 bytes; NULL: out of memory. free() it. */
void *weirp_aligned(size_t n, size_t size);

/* y[r] = a[r] . x for `rows` rows of `stride` elements; stride is padded. */
void weirp_rows_dot(const double *a, size_t rows, size_t stride, const double *x, double *y);

/* out[r] = |a[r] - x|^2 for `rows` rows of `stride` floats; stride is padded. */
void weirp_rows_distance(const float *a, size_t rows, size_t stride, const float *x, float *out);

/* out[r] = a[r] . x in integers, for entries of at most 127 and at most 65536 of them. */
void weirp_rows_dot_i8(const int8_t *a, size_t rows, size_t stride, const int16_t *x, int32_t *out);

/* For n rows row[i] of y (stride floats, a multiple of 8; NAN: missing) whose last column but one is their weight w:
 * adds w, w y and w y^2 of the cells that are there to the columns' sums. */
void weirp_rows_gather(const float *y, size_t stride, const uint32_t *row, size_t n, float *count, float *sum,
                       float *square);

/* Where the smallest of n > 0 numbers is, the first of equals. */
size_t weirp_first_smallest(const uint32_t *v, size_t n);

/* The k-th smallest (from 1) of n numbers, 1 <= k <= n, in linear time. `work`: n numbers. */
uint32_t weirp_kth_smallest(const uint32_t *v, size_t n, size_t k, uint32_t *work);

/* Symmetric matrices keep the upper triangle: row i holds the columns from i rounded down to WEIRP_LANES up to
 * weirp_padded(n); what is left of the diagonal and what is past n is zero. */
size_t weirp_tri_size(size_t n);                 /* elements of the whole */
size_t weirp_tri_row(size_t n, size_t i);        /* where row i begins */
static inline size_t weirp_tri_first(size_t i) { /* the first column that row i holds */
    return i / WEIRP_LANES * WEIRP_LANES;
}

void weirp_tri_pack(double *tri, const double *full, size_t n); /* from the upper triangle of a full (n, n) */
/* y = a x; x and y have weirp_padded(n) elements, zeros past n. y may not be x. */
void weirp_tri_mul(const double *tri, size_t n, const double *x, double *y);
/* a += scale * u u'; u has weirp_padded(n) elements, zeros past n. */
void weirp_tri_rank1(double *tri, size_t n, double scale, const double *u);
double weirp_tri_diagonal(const double *tri, size_t n, size_t i);

/* The same matrix for x' a x: floats, with twice the off-diagonal entries. */
void weirp_tri_quad_from(float *quad, const double *tri, size_t n);
float weirp_tri_quad(const float *quad, size_t n, const float *x); /* x padded with zeros */

#endif

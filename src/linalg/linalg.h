/* linalg.h: dense and sparse numerics that features and estimators share, over LAPACKE/OpenBLAS.
 *
 * Lives here: matrices with no idea of what their rows mean. Everything is row-major and deterministic in its seed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LINALG_H
#define WEIRP_LINALG_H

#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"

/* A sparse matrix, compressed by rows. */
typedef struct weirp_csr {
    size_t n_rows, n_cols;
    size_t *start; /* (n_rows + 1) */
    uint32_t *col; /* (start[n_rows]) */
    float *value;  /* (start[n_rows]) */
} weirp_csr;

void weirp_csr_free(weirp_csr *a);

/* Truncated SVD by randomised subspace iteration (Halko, Martinsson, Tropp, SIAM Review 53(2), 2011, alg. 4.4 and 5.1):
 * a ~ U diag(s) V'. `v` (n_cols, rank) and `s` (rank) are the caller's; columns past the numerical rank are zero.
 * Signs are fixed so that each column's largest entry is positive. */
weir_status weirp_rsvd(const weirp_csr *a, size_t rank, size_t oversampling, size_t n_iterations, uint64_t seed,
                       unsigned n_threads, float *v, double *s, weir_error *err);

/* Solves (a) x = b in place of b for a symmetric positive definite a (n, n; destroyed) and n_rhs right-hand sides:
 * b is (n, n_rhs) row-major. WEIR_NUMERIC when a isn't positive definite. */
weir_status weirp_solve_spd(double *a, size_t n, double *b, size_t n_rhs, weir_error *err);

/* Eigenvalues (ascending, `w` (n)) and eigenvectors (columns of a, in place) of a symmetric a (n, n). */
weir_status weirp_eigh(double *a, size_t n, double *w, weir_error *err);

/* Lloyd's k-means with k-means++ seeding (Arthur, Vassilvitskii, SODA 2007) on rows x (n, dim), Euclidean. `centroid`
 * (k, dim) and `assigned` (n; may be NULL) are the caller's. Empty clusters are re-seeded at the farthest point; k > n
 * leaves copies. */
weir_status weirp_kmeans(const float *x, size_t n, size_t dim, size_t k, size_t max_iterations, uint64_t seed,
                         float *centroid, uint32_t *assigned, weir_error *err);

/* Squared Euclidean distance, and inner product; the loops the compiler vectorises. */
float weirp_distance2(const float *a, const float *b, size_t dim);
float weirp_dot(const float *a, const float *b, size_t dim);

#endif

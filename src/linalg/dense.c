/* dense.c: small dense problems, handed to LAPACK; and the two inner loops. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <limits.h>

#include <lapacke.h>

#include "src/base/base.h"
#include "src/linalg/linalg.h"
#include "src/linalg/lapack.h"
#include "src/linalg/parallel.h"

weir_status weirp_lapack_told(int info, const char *what, weir_error *err) {
    if (!info) return WEIR_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR) return weirp_nomem(err);
    if (info > 0) return weirp_fail(err, WEIR_NUMERIC, 0, "%s failed at %d", what, info);
    return weirp_fail(err, WEIR_NUMERIC, 0, "%s: the matrix holds a value that is not a number", what);
}

weir_status weirp_solve_spd(double *a, size_t n, double *b, size_t n_rhs, weir_error *err) {
    if (n > INT_MAX || n_rhs > INT_MAX) return weirp_fail(err, WEIR_INVALID, 0, "a linear system of %zu rows", n);
    if (!n || !n_rhs) return WEIR_OK;
    lapack_int size = (lapack_int)n, rhs = (lapack_int)n_rhs;
    return weirp_lapack_told(LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', size, rhs, a, size, b, rhs), "Cholesky factorisation",
                             err);
}

weir_status weirp_eigh(double *a, size_t n, double *w, weir_error *err) {
    if (n > INT_MAX) return weirp_fail(err, WEIR_INVALID, 0, "an eigenproblem of %zu rows", n);
    if (!n) return WEIR_OK;
    lapack_int size = (lapack_int)n;
    return weirp_lapack_told(LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', size, a, size, w), "eigendecomposition", err);
}

/* Sixteen running sums, added up in a fixed order: the compiler may keep them in registers of any width. */
#define LANES 16

static inline float add_lanes(const float lane[LANES]) {
    float half[8];
    for (int i = 0; i < 8; i++) half[i] = lane[i] + lane[i + 8];
    return ((half[0] + half[4]) + (half[2] + half[6])) + ((half[1] + half[5]) + (half[3] + half[7]));
}

WEIRP_CLONES static float distance2(const float *a, const float *b, size_t dim) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float d = a[i + j] - b[i + j];
            lane[j] += d * d;
        }
    for (size_t j = 0; i < dim; i++, j++) {
        float d = a[i] - b[i];
        lane[j] += d * d;
    }
    return add_lanes(lane);
}

WEIRP_CLONES static float dot(const float *a, const float *b, size_t dim) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += a[i + j] * b[i + j];
    for (size_t j = 0; i < dim; i++, j++) lane[j] += a[i] * b[i];
    return add_lanes(lane);
}

/* Clang 14 gives clones to static functions only. */
float weirp_distance2(const float *a, const float *b, size_t dim) {
    return distance2(a, b, dim);
}

float weirp_dot(const float *a, const float *b, size_t dim) {
    return dot(a, b, dim);
}

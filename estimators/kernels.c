/* kernels.c: inner loops, each compiled once for the baseline and once for AVX2.
 *
 * The bodies are the same source with the same partial sums, so both give the same bits (no contraction: the build
 * says -ffp-contract=off, and "avx2" doesn't turn FMA on). SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define WIDE        __attribute__((target("avx2")))
#define HAVE_WIDE() __builtin_cpu_supports("avx2")
#else
#define WIDE
#define HAVE_WIDE() 0
#endif
#define BODY static inline __attribute__((always_inline))

/* Defines NAME as a choice between two compilations of NAME_body. */
#define DISPATCH(NAME, PARAMETERS, ARGUMENTS)                                                                          \
    WIDE static void NAME##_wide PARAMETERS {                                                                          \
        NAME##_body ARGUMENTS;                                                                                         \
    }                                                                                                                  \
    void weirp_##NAME PARAMETERS {                                                                                     \
        if (HAVE_WIDE())                                                                                               \
            NAME##_wide ARGUMENTS;                                                                                     \
        else                                                                                                           \
            NAME##_body ARGUMENTS;                                                                                     \
    }

typedef double vd __attribute__((vector_size(64), aligned(8)));
typedef float vf __attribute__((vector_size(64), aligned(4)));
enum { D_LANES = 8, F_LANES = 16 };

void *weirp_aligned(size_t n, size_t size) {
    if (size && n > (SIZE_MAX - 128) / size) return NULL;
    size_t bytes = (n * size + 127) / 64 * 64; /* never empty */
    void *p = aligned_alloc(64, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

/* Sums lanes pairwise, in a fixed order. */
#define FOLD(sum, lanes, out)                                                                                          \
    do {                                                                                                               \
        for (size_t half = (lanes) / 2; half; half /= 2)                                                               \
            for (size_t l = 0; l < half; l++) (sum)[l] += (sum)[l + half];                                             \
        (out) = (sum)[0];                                                                                              \
    } while (0)

BODY void rows_dot_body(const double *a, size_t rows, size_t stride, const double *x, double *y) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        vd s = {0};
        for (size_t j = 0; j < stride; j += D_LANES) s += *(const vd *)(a + j) * *(const vd *)(x + j);
        FOLD(s, D_LANES, y[r]);
    }
}
DISPATCH(rows_dot, (const double *a, size_t rows, size_t stride, const double *x, double *y), (a, rows, stride, x, y))

BODY void rows_distance_body(const float *a, size_t rows, size_t stride, const float *x, float *out) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        vf s = {0};
        for (size_t j = 0; j < stride; j += F_LANES) {
            vf d = *(const vf *)(a + j) - *(const vf *)(x + j);
            s += d * d;
        }
        FOLD(s, F_LANES, out[r]);
    }
}
DISPATCH(rows_distance, (const float *a, size_t rows, size_t stride, const float *x, float *out),
         (a, rows, stride, x, out))

BODY void rows_dot_i16_body(const int16_t *a, size_t rows, size_t stride, const int16_t *x, int32_t *out) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        int32_t s = 0;
        for (size_t j = 0; j < stride; j++) s += (int32_t)a[j] * (int32_t)x[j];
        out[r] = s;
    }
}
DISPATCH(rows_dot_i16, (const int16_t *a, size_t rows, size_t stride, const int16_t *x, int32_t *out),
         (a, rows, stride, x, out))

size_t weirp_tri_row(size_t n, size_t i) {
    size_t p = weirp_padded(n), block = i / WEIRP_LANES, in_block = i % WEIRP_LANES;
    /* whole blocks above hold LANES rows of p, p - LANES, ... columns */
    size_t above = WEIRP_LANES * (block * p - WEIRP_LANES * (block * (block - (block > 0)) / 2));
    return above + in_block * (p - block * WEIRP_LANES);
}

size_t weirp_tri_size(size_t n) {
    return weirp_tri_row(n, n);
}

void weirp_tri_pack(double *tri, const double *full, size_t n) {
    memset(tri, 0, weirp_tri_size(n) * sizeof *tri);
    for (size_t i = 0; i < n; i++) {
        double *row = tri + weirp_tri_row(n, i) - weirp_tri_first(i);
        for (size_t j = i; j < n; j++) row[j] = full[i * n + j];
    }
}

BODY void tri_mul_body(const double *tri, size_t n, const double *x, double *y) {
    size_t p = weirp_padded(n);
    memset(y, 0, p * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        vd s = {0};
        double xi = x[i], dot;
        for (size_t j = first; j < p; j += D_LANES) {
            vd a = *(const vd *)(tri + (j - first));
            s += a * *(const vd *)(x + j);
            *(vd *)(y + j) += a * xi;
        }
        FOLD(s, D_LANES, dot);
        y[i] += dot - tri[i - first] * xi; /* the diagonal was in both */
        tri += p - first;
    }
}
DISPATCH(tri_mul, (const double *tri, size_t n, const double *x, double *y), (tri, n, x, y))

BODY void tri_rank1_body(double *tri, size_t n, double scale, const double *u) {
    size_t p = weirp_padded(n);
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        double f = scale * u[i];
        for (size_t j = first; j < p; j += D_LANES) *(vd *)(tri + (j - first)) += f * *(const vd *)(u + j);
        for (size_t j = first; j < i; j++) tri[j - first] = 0;
        tri += p - first;
    }
}
DISPATCH(tri_rank1, (double *tri, size_t n, double scale, const double *u), (tri, n, scale, u))

double weirp_tri_diagonal(const double *tri, size_t n, size_t i) {
    return tri[weirp_tri_row(n, i) + i - weirp_tri_first(i)];
}

void weirp_tri_quad_from(float *quad, const double *tri, size_t n) {
    size_t size = weirp_tri_size(n);
    for (size_t k = 0; k < size; k++) quad[k] = (float)(2 * tri[k]);
    for (size_t i = 0; i < n; i++) {
        size_t k = weirp_tri_row(n, i) + i - weirp_tri_first(i);
        quad[k] = (float)tri[k];
    }
}

BODY void tri_quad_body(const float *quad, size_t n, const float *x, float *out) {
    size_t p = weirp_padded(n);
    vf total = {0};
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        vf s = {0};
        for (size_t j = first; j < p; j += F_LANES) s += *(const vf *)(quad + (j - first)) * *(const vf *)(x + j);
        total += s * x[i];
        quad += p - first;
    }
    FOLD(total, F_LANES, *out);
}

WIDE static void tri_quad_wide(const float *quad, size_t n, const float *x, float *out) {
    tri_quad_body(quad, n, x, out);
}

float weirp_tri_quad(const float *quad, size_t n, const float *x) {
    float out;
    if (HAVE_WIDE())
        tri_quad_wide(quad, n, x, &out);
    else
        tri_quad_body(quad, n, x, &out);
    return out;
}

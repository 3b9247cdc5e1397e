/* kernels.c: inner loops, each compiled for several widths of registers (WEIRP_CLONES). Those are static, for compilers
 * don't agree on how another file finds the one to call; what other files call is at the end.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "estimators/kernels.h"

#include <stdlib.h>
#include <string.h>

#include "src/linalg/parallel.h"

/* Partial sums: as many doubles, or floats, as the widest registers hold. */
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

WEIRP_CLONES static void rows_dot(const double *restrict a, size_t rows, size_t stride, const double *restrict x,
                                  double *restrict y) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        double s[D_LANES] = {0};
        for (size_t j = 0; j < stride; j += D_LANES)
            for (size_t l = 0; l < D_LANES; l++) s[l] += a[j + l] * x[j + l];
        FOLD(s, D_LANES, y[r]);
    }
}

WEIRP_CLONES static void rows_distance(const float *restrict a, size_t rows, size_t stride, const float *restrict x,
                                       float *restrict out) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        float s[F_LANES] = {0};
        for (size_t j = 0; j < stride; j += F_LANES)
            for (size_t l = 0; l < F_LANES; l++) {
                float d = a[j + l] - x[j + l];
                s[l] += d * d;
            }
        FOLD(s, F_LANES, out[r]);
    }
}

WEIRP_CLONES static void rows_dot_i8(const int8_t *restrict a, size_t rows, size_t stride, const int16_t *restrict x,
                                     int32_t *restrict out) {
    for (size_t r = 0; r < rows; r++, a += stride) {
        int32_t s = 0;
        for (size_t j = 0; j < stride; j++) {
            int16_t wide = a[j]; /* products of 16-bit numbers summed in 32 bits: an instruction of its own */
            s += (int32_t)wide * (int32_t)x[j];
        }
        out[r] = s;
    }
}

/* Columns j to j + width of a gather. */
#define GATHER(width)                                                                                                  \
    do {                                                                                                               \
        float c[width] = {0}, s[width] = {0}, q[width] = {0};                                                          \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const float *all = y + row[i] * stride, *v = all + j, weight = all[stride - 2];                            \
            for (size_t l = 0; l < (width); l++) {                                                                     \
                float seen = v[l] == v[l] ? weight : 0, value = v[l] == v[l] ? v[l] : 0;                               \
                c[l] += seen;                                                                                          \
                s[l] += seen * value;                                                                                  \
                q[l] += seen * value * value;                                                                          \
            }                                                                                                          \
        }                                                                                                              \
        for (size_t l = 0; l < (width); l++) count[j + l] += c[l], sum[j + l] += s[l], square[j + l] += q[l];          \
        j += (width);                                                                                                  \
    } while (0)

WEIRP_CLONES static void rows_gather(const float *restrict y, size_t stride, const uint32_t *restrict row, size_t n,
                                     float *restrict count, float *restrict sum, float *restrict square) {
    for (size_t j = 0; j < stride;) {
        if (stride - j >= 16)
            GATHER(16);
        else
            GATHER(8);
    }
}

WEIRP_CLONES static size_t first_smallest(const uint32_t *v, size_t n) {
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < n; i++) least = v[i] < least ? v[i] : least;
    size_t at = 0;
    while (v[at] != least) at++;
    return at;
}

/* Radix selection: counts numbers by the highest bits in which they differ, keeps the bin that holds the k-th, and goes
 * on there. Each round takes eight bits off the range, so that there are four at most. */
uint32_t weirp_kth_smallest(const uint32_t *v, size_t n, size_t k, uint32_t *work) {
    for (;;) {
        uint32_t lo = UINT32_MAX, hi = 0, count[256] = {0}, bin = 0;
        for (size_t i = 0; i < n; i++) {
            lo = v[i] < lo ? v[i] : lo;
            hi = v[i] > hi ? v[i] : hi;
        }
        if (lo == hi || n == 1) return lo;
        unsigned shift = 0;
        while ((hi - lo) >> shift > 255) shift++;
        for (size_t i = 0; i < n; i++) count[(v[i] - lo) >> shift]++;
        while (k > count[bin]) k -= count[bin++];
        if (!shift) return lo + bin;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            work[kept] = v[i];
            kept += (v[i] - lo) >> shift == bin;
        }
        v = work;
        n = kept;
    }
}

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

WEIRP_CLONES static void tri_mul(const double *restrict tri, size_t n, const double *restrict x, double *restrict y) {
    size_t p = weirp_padded(n);
    memset(y, 0, p * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        double s[D_LANES] = {0}, xi = x[i], dot;
        for (size_t j = first; j < p; j += D_LANES)
            for (size_t l = 0; l < D_LANES; l++) {
                double a = tri[j - first + l];
                s[l] += a * x[j + l];
                y[j + l] += a * xi;
            }
        FOLD(s, D_LANES, dot);
        y[i] += dot - tri[i - first] * xi; /* the diagonal was in both */
        tri += p - first;
    }
}

WEIRP_CLONES static void tri_rank1(double *restrict tri, size_t n, double scale, const double *restrict u) {
    size_t p = weirp_padded(n);
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        double f = scale * u[i];
        for (size_t j = first; j < p; j++) tri[j - first] += f * u[j];
        for (size_t j = first; j < i; j++) tri[j - first] = 0;
        tri += p - first;
    }
}

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

WEIRP_CLONES static float tri_quad(const float *restrict quad, size_t n, const float *restrict x) {
    size_t p = weirp_padded(n);
    float total[F_LANES] = {0}, out;
    for (size_t i = 0; i < n; i++) {
        size_t first = weirp_tri_first(i);
        float s[F_LANES] = {0};
        for (size_t j = first; j < p; j += F_LANES)
            for (size_t l = 0; l < F_LANES; l++) s[l] += quad[j - first + l] * x[j + l];
        for (size_t l = 0; l < F_LANES; l++) total[l] += s[l] * x[i];
        quad += p - first;
    }
    FOLD(total, F_LANES, out);
    return out;
}

void weirp_rows_dot(const double *a, size_t rows, size_t stride, const double *x, double *y) {
    rows_dot(a, rows, stride, x, y);
}

void weirp_rows_distance(const float *a, size_t rows, size_t stride, const float *x, float *out) {
    rows_distance(a, rows, stride, x, out);
}

void weirp_rows_dot_i8(const int8_t *a, size_t rows, size_t stride, const int16_t *x, int32_t *out) {
    rows_dot_i8(a, rows, stride, x, out);
}

void weirp_rows_gather(const float *y, size_t stride, const uint32_t *row, size_t n, float *count, float *sum,
                       float *square) {
    rows_gather(y, stride, row, n, count, sum, square);
}

size_t weirp_first_smallest(const uint32_t *v, size_t n) {
    return first_smallest(v, n);
}

void weirp_tri_mul(const double *tri, size_t n, const double *x, double *y) {
    tri_mul(tri, n, x, y);
}

void weirp_tri_rank1(double *tri, size_t n, double scale, const double *u) {
    tri_rank1(tri, n, scale, u);
}

float weirp_tri_quad(const float *quad, size_t n, const float *x) {
    return tri_quad(quad, n, x);
}

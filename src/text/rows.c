/* rows.c: the inner loop of the projection: dense += coefficient * row, over all terms of a prompt.
 *
 * Each of the sums runs over the terms in their order, and no multiply-add is fused: every version gives the same bits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/text/parts.h"

/* Eight rows at a time, so that a sum is loaded and stored once for eight. */
void weirp_add_rows_plain(const int8_t *rows, size_t stride, const uint32_t *bucket, const float *coefficient, size_t n,
                          float *restrict dense) {
    enum { ROWS = 8 };
    memset(dense, 0, stride * sizeof *dense);
    for (size_t i = 0; i < n; i += ROWS) {
        const int8_t *row[ROWS];
        float c[ROWS];
        for (size_t k = 0; k < ROWS; k++) {
            row[k] = rows + bucket[i + k < n ? i + k : i] * stride;
            c[k] = i + k < n ? coefficient[i + k] : 0.0f;
        }
        for (size_t j = 0; j < stride; j++) {
            float sum = dense[j];
            sum += c[0] * row[0][j];
            sum += c[1] * row[1][j];
            sum += c[2] * row[2][j];
            sum += c[3] * row[3][j];
            sum += c[4] * row[4][j];
            sum += c[5] * row[5][j];
            sum += c[6] * row[6][j];
            sum += c[7] * row[7][j];
            dense[j] = sum;
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

/* GCC 12 widens bytes in three steps where the processor has one instruction: by hand this takes half the time. */
__attribute__((target("avx2"))) static void add_rows_avx2(const int8_t *rows, size_t stride, const uint32_t *bucket,
                                                          const float *coefficient, size_t n, float *restrict dense) {
    enum { LANES = 8, SUMS = 8 };
    for (size_t column = 0; column < stride; column += LANES * SUMS) {
        __m256 sum[SUMS];
        for (int k = 0; k < SUMS; k++) sum[k] = _mm256_setzero_ps();
        for (size_t i = 0; i < n; i++) {
            const int8_t *row = rows + bucket[i] * stride + column;
            __m256 c = _mm256_set1_ps(coefficient[i]);
            for (int k = 0; k < SUMS; k++) {
                __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(row + LANES * k));
                __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
                sum[k] = _mm256_add_ps(sum[k], _mm256_mul_ps(c, v));
            }
        }
        for (int k = 0; k < SUMS; k++) _mm256_storeu_ps(dense + column + LANES * k, sum[k]);
    }
}
#endif

weirp_add_rows_fn weirp_add_rows_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return add_rows_avx2;
#endif
    return weirp_add_rows_plain;
}

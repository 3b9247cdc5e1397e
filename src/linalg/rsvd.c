/* rsvd.c: the leading right singular vectors of a sparse matrix. SPDX-License-Identifier: GPL-3.0-or-later */
#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/linalg.h"
#include "src/linalg/lapack.h"
#include "src/linalg/parallel.h"

void weirp_csr_free(weirp_csr *a) {
    if (!a) return;
    free(a->start);
    free(a->col);
    free(a->value);
    memset(a, 0, sizeof *a);
}

/* The same matrix by columns, so that a product with the transpose also writes each row of its result once, in one
 * order, by one thread. */
static weir_status transposed(weirp_csr *out, const weirp_csr *a, weir_error *err) {
    size_t n = a->start[a->n_rows];
    *out = (weirp_csr){.n_rows = a->n_cols, .n_cols = a->n_rows};
    out->start = weirp_array(a->n_cols + 2, sizeof *out->start);
    out->col = weirp_array(n, sizeof *out->col);
    out->value = weirp_array(n, sizeof *out->value);
    if (!out->start || !out->col || !out->value) return weirp_nomem(err);
    /* counted two places on, so that while entries are placed start[c + 1] runs from the column's begin to its end */
    for (size_t i = 0; i < n; i++) out->start[a->col[i] + 2]++;
    for (size_t c = 2; c < a->n_cols + 2; c++) out->start[c] += out->start[c - 1];
    for (size_t row = 0; row < a->n_rows; row++)
        for (size_t i = a->start[row]; i < a->start[row + 1]; i++) {
            size_t at = out->start[a->col[i] + 1]++;
            out->col[at] = (uint32_t)row;
            out->value[at] = a->value[i];
        }
    return WEIR_OK;
}

typedef struct product {
    const weirp_csr *a;
    const float *x; /* (a->n_cols, width) */
    float *y;       /* (a->n_rows, width) */
    size_t width;
} product;

WEIRP_CLONES static void multiply_rows(const product *p, size_t begin, size_t end) {
    size_t width = p->width;
    for (size_t row = begin; row < end; row++) {
        float *restrict y = p->y + row * width;
        memset(y, 0, width * sizeof *y);
        for (size_t i = p->a->start[row]; i < p->a->start[row + 1]; i++) {
            const float *restrict x = p->x + (size_t)p->a->col[i] * width;
            float value = p->a->value[i];
            for (size_t j = 0; j < width; j++) y[j] += value * x[j];
        }
    }
}

static void multiply_range(void *context, unsigned worker, size_t begin, size_t end) {
    (void)worker;
    multiply_rows(context, begin, end);
}

static void multiply(const weirp_csr *a, const float *x, float *y, size_t width, unsigned n_threads) {
    product p = {a, x, y, width};
    weirp_parallel(a->n_rows, 64, n_threads, multiply_range, &p);
}

/* Everything the iteration needs, in one place to free. */
typedef struct space {
    weirp_csr by_column;
    size_t width;          /* of the subspace */
    float *rows;           /* (n_rows, width) */
    float *cols;           /* (n_cols, width) */
    float *tau;            /* (width) */
    float *r, *u, *vt, *s; /* (width, width), the last (width) */
} space;

static void space_free(space *m) {
    weirp_csr_free(&m->by_column);
    free(m->rows);
    free(m->cols);
    free(m->r);
    free(m->u);
    free(m->vt);
    free(m->s);
}

static weir_status space_new(space *m, const weirp_csr *a, size_t width, weir_error *err) {
    *m = (space){.width = width};
    if (width > SIZE_MAX / (a->n_cols > a->n_rows ? a->n_cols : a->n_rows)) return weirp_nomem(err);
    m->rows = weirp_array(a->n_rows * width, sizeof(float));
    m->cols = weirp_array(a->n_cols * width, sizeof(float));
    m->r = weirp_array(width * width, sizeof(float));
    m->u = weirp_array(width * width, sizeof(float));
    m->vt = weirp_array(width * width, sizeof(float));
    m->s = weirp_array(width, sizeof(float));
    if (!m->rows || !m->cols || !m->r || !m->u || !m->vt || !m->s) return weirp_nomem(err);
    return transposed(&m->by_column, a, err);
}

/* A test matrix of random signs: as good as a Gaussian one for finding a range (Martinsson, Tropp, Acta Numerica 29,
 * 2020, section 9), and 64 entries a random number. */
static void random_signs(float *x, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = weirp_random_u64(seed, 0x72737664, i);
        size_t end = n - i < 64 ? n : i + 64;
        for (size_t j = i; j < end; j++, bits >>= 1) x[j] = bits & 1 ? 1.0f : -1.0f;
    }
}

/* Gives each column the sign that makes its largest entry positive, and zeros those past the numerical rank. */
static weir_status hand_out(const space *m, size_t n_cols, size_t rank, float *v, double *s, weir_error *err) {
    float *top = weirp_array(rank, sizeof *top), *sign = weirp_array(rank, sizeof *sign);
    if (!top || !sign) {
        free(top), free(sign);
        return weirp_nomem(err);
    }
    for (size_t i = 0; i < n_cols; i++)
        for (size_t k = 0; k < rank; k++)
            if (fabsf(v[i * rank + k]) > fabsf(top[k])) top[k] = v[i * rank + k];
    for (size_t k = 0; k < rank; k++) {
        bool kept = k < m->width && m->s[k] > m->s[0] * (float)m->width * FLT_EPSILON;
        s[k] = kept ? m->s[k] : 0.0;
        sign[k] = !kept ? 0.0f : top[k] < 0 ? -1.0f : 1.0f;
    }
    /* adding zero makes a zero of negative sign the usual one */
    for (size_t i = 0; i < n_cols; i++)
        for (size_t k = 0; k < rank; k++) v[i * rank + k] = v[i * rank + k] * sign[k] + 0.0f;
    free(top);
    free(sign);
    return WEIR_OK;
}

/* With cols = a' q orthogonalised as z r, and r = u diag(s) w', the right singular vectors are z u. */
static weir_status finish(space *m, size_t n_cols, size_t rank, unsigned n_threads, float *v, double *s,
                          weir_error *err) {
    weir_status st;
    size_t width = m->width, kept = rank < width ? rank : width;
    lapack_int l = (lapack_int)width;
    WEIRP_TRY(weirp_orthonormalise(m->cols, n_cols, width, m->r, n_threads, err));
    lapack_int info = LAPACKE_sgesdd(LAPACK_ROW_MAJOR, 'A', l, l, m->r, l, m->s, m->u, l, m->vt, l);
    WEIRP_TRY(weirp_lapack_told(info, "singular value decomposition", err));
    for (size_t k = 0; k < width; k++)
        if (!isfinite(m->s[k])) return weirp_fail(err, WEIR_NUMERIC, 0, "singular values are not finite");
    memset(v, 0, n_cols * rank * sizeof *v);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n_cols, (blasint)kept, (blasint)width, 1.0f,
                m->cols, (blasint)width, m->u, (blasint)width, 0.0f, v, (blasint)rank);
    st = hand_out(m, n_cols, rank, v, s, err);
done:
    return st;
}

weir_status weirp_rsvd(const weirp_csr *a, size_t rank, size_t oversampling, size_t n_iterations, uint64_t seed,
                       unsigned n_threads, float *v, double *s, weir_error *err) {
    if (a->n_rows > INT_MAX || a->n_cols > INT_MAX || rank > INT_MAX || oversampling > INT_MAX)
        return weirp_fail(err, WEIR_INVALID, 0, "singular value decomposition of %zu by %zu", a->n_rows, a->n_cols);
    size_t width = rank + oversampling;
    if (width > a->n_rows) width = a->n_rows;
    if (width > a->n_cols) width = a->n_cols;
    if (!width || !rank || !a->start[a->n_rows]) {
        if (a->n_cols && rank) memset(v, 0, a->n_cols * rank * sizeof *v);
        for (size_t k = 0; k < rank; k++) s[k] = 0;
        return WEIR_OK;
    }
    space m;
    weir_status st;
    WEIRP_TRY(space_new(&m, a, width, err));
    random_signs(m.cols, a->n_cols * width, seed);
    multiply(a, m.cols, m.rows, width, n_threads);
    WEIRP_TRY(weirp_orthonormalise(m.rows, a->n_rows, width, NULL, n_threads, err));
    for (size_t i = 0; i < n_iterations; i++) {
        multiply(&m.by_column, m.rows, m.cols, width, n_threads);
        WEIRP_TRY(weirp_orthonormalise(m.cols, a->n_cols, width, NULL, n_threads, err));
        multiply(a, m.cols, m.rows, width, n_threads);
        WEIRP_TRY(weirp_orthonormalise(m.rows, a->n_rows, width, NULL, n_threads, err));
    }
    multiply(&m.by_column, m.rows, m.cols, width, n_threads);
    WEIRP_TRY(finish(&m, a->n_cols, rank, n_threads, v, s, err));
done:
    space_free(&m);
    return st;
}

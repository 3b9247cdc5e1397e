/* qr.c: orthonormal bases of tall matrices.
 *
 * A tall matrix is cut into blocks that fit a cache, each block is factored, and the triangles, stacked, are factored
 * in turn (Demmel, Grigori, Hoemmen, Langou, "Communication-optimal parallel and sequential QR and LU factorizations",
 * SIAM J. Sci. Comput. 34(1), 2012, section 4). The blocks don't depend on the number of threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <cblas.h>
#include <lapacke.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/lapack.h"
#include "src/linalg/parallel.h"

enum { BLOCK = 1024 };

static int factor(float *x, size_t n, size_t width, float *r, float *tau) {
    lapack_int rows = (lapack_int)n, cols = (lapack_int)width;
    lapack_int info = LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, rows, cols, x, cols, tau);
    if (info) return info;
    for (size_t i = 0; r && i < width; i++)
        for (size_t j = 0; j < width; j++) r[i * width + j] = j < i ? 0.0f : x[i * width + j];
    return LAPACKE_sorgqr(LAPACK_ROW_MAJOR, rows, cols, cols, x, cols, tau);
}

typedef struct blocks {
    float *x;     /* (n, width) */
    float *stack; /* (n_blocks * width, width) triangles, then their basis */
    float *tau;   /* (n_threads, width) */
    float *copy;  /* (n_threads, 2 * block, width) a block, to be multiplied */
    size_t n, width, block, n_blocks;
    atomic_int info;
} blocks;

/* The last block takes what is left over, too. */
static size_t block_rows(const blocks *b, size_t index) {
    return index + 1 == b->n_blocks ? b->n - index * b->block : b->block;
}

static void factor_blocks(void *context, unsigned worker, size_t begin, size_t end) {
    blocks *b = context;
    for (size_t i = begin; i < end; i++) {
        int info = factor(b->x + i * b->block * b->width, block_rows(b, i), b->width,
                          b->stack + i * b->width * b->width, b->tau + worker * b->width);
        if (info) b->info = info;
    }
}

/* Basis of a block times its part of the triangles' basis. */
static void join_blocks(void *context, unsigned worker, size_t begin, size_t end) {
    blocks *b = context;
    float *copy = b->copy + worker * 2 * b->block * b->width;
    blasint width = (blasint)b->width;
    for (size_t i = begin; i < end; i++) {
        float *x = b->x + i * b->block * b->width;
        size_t rows = block_rows(b, i);
        memcpy(copy, x, rows * b->width * sizeof *copy);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, width, width, 1.0f, copy, width,
                    b->stack + i * b->width * b->width, width, 0.0f, x, width);
    }
}

static weir_status factor_whole(float *x, size_t n, size_t width, float *r, weir_error *err) {
    float *tau = weirp_array(width, sizeof *tau);
    if (!tau) return weirp_nomem(err);
    int info = factor(x, n, width, r, tau);
    free(tau);
    return weirp_lapack_told(info, "QR factorisation", err);
}

weir_status weirp_orthonormalise(float *x, size_t n, size_t width, float *r, unsigned n_threads, weir_error *err) {
    /* at least four times as many rows as columns: the stack is at most a quarter as tall */
    size_t block = width * 4 > BLOCK ? width * 4 : BLOCK;
    blocks b = {.x = x, .n = n, .width = width, .block = block, .n_blocks = n / block};
    if (b.n_blocks < 2) return factor_whole(x, n, width, r, err);
    if (n_threads < 1) n_threads = 1;
    if (n_threads > WEIRP_MAX_THREADS) n_threads = WEIRP_MAX_THREADS;
    weir_status st = WEIR_OK;
    b.stack = weirp_array(b.n_blocks * width, width * sizeof *b.stack);
    b.tau = weirp_array(n_threads * width, sizeof *b.tau);
    b.copy = weirp_array(n_threads * 2 * block, width * sizeof *b.copy); /* the last block is under two blocks */
    if (!b.stack || !b.tau || !b.copy) WEIRP_TRY(weirp_nomem(err));
    weirp_parallel(b.n_blocks, 1, n_threads, factor_blocks, &b);
    WEIRP_TRY(weirp_lapack_told(b.info, "QR factorisation", err));
    WEIRP_TRY(weirp_orthonormalise(b.stack, b.n_blocks * width, width, r, n_threads, err));
    weirp_parallel(b.n_blocks, 1, n_threads, join_blocks, &b);
done:
    free(b.stack);
    free(b.tau);
    free(b.copy);
    return st;
}

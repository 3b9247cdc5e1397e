/* Linear algebra against direct solutions, and the same bits whatever the number of threads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/linalg/linalg.h"
#include "src/linalg/lapack.h"
#include "src/linalg/parallel.h"

static double normal(uint64_t stream, uint64_t i) {
    return weirp_random_normal(11, stream, i);
}

/* ---- parallel ---- */

typedef struct visits {
    unsigned char *seen;
    size_t grain;
} visits;

static void visit(void *context, unsigned worker, size_t begin, size_t end) {
    visits *v = context;
    assert_true(worker < WEIRP_MAX_THREADS);
    assert_true(end > begin && end - begin <= v->grain);
    for (size_t i = begin; i < end; i++) v->seen[i]++;
}

static void parallel_visits_once(void **state) {
    (void)state;
    unsigned char seen[1000];
    const size_t grains[] = {1, 7, 64, 1000, 5000};
    const unsigned threads[] = {0, 1, 2, 5, 1000};
    for (size_t n = 0; n <= 1000; n += 333)
        for (size_t g = 0; g < 5; g++)
            for (size_t t = 0; t < 5; t++) {
                memset(seen, 0, sizeof seen);
                visits v = {seen, grains[g]};
                weirp_parallel(n, grains[g], threads[t], visit, &v);
                for (size_t i = 0; i < sizeof seen; i++) assert_int_equal(seen[i], i < n);
            }
}

/* ---- inner loops ---- */

static void inner_loops(void **state) {
    (void)state;
    float a[100], b[100];
    for (size_t dim = 0; dim <= 100; dim++) {
        double dot = 0, distance = 0;
        for (size_t i = 0; i < dim; i++) {
            a[i] = (float)normal(1, i), b[i] = (float)normal(2, i);
            dot += (double)a[i] * b[i];
            distance += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        }
        assert_true(fabs(weirp_dot(a, b, dim) - dot) < 1e-4);
        assert_true(fabs(weirp_distance2(a, b, dim) - distance) < 1e-4);
        assert_true(weirp_distance2(a, a, dim) == 0);
    }
    /* what the order of summation gives, on every machine */
    uint32_t bits[2];
    float dot = weirp_dot(a, b, 100), distance = weirp_distance2(a, b, 77);
    memcpy(bits, &dot, 4), memcpy(bits + 1, &distance, 4);
    float again[2] = {0};
    float lane[2][16] = {{0}};
    for (size_t i = 0; i < 100; i++) lane[0][i % 16] += a[i] * b[i];
    for (size_t i = 0; i < 77; i++) lane[1][i % 16] += (a[i] - b[i]) * (a[i] - b[i]);
    for (size_t k = 0; k < 2; k++) {
        float h[8];
        for (size_t i = 0; i < 8; i++) h[i] = lane[k][i] + lane[k][i + 8];
        again[k] = ((h[0] + h[4]) + (h[2] + h[6])) + ((h[1] + h[5]) + (h[3] + h[7]));
    }
    assert_memory_equal(bits, again, sizeof bits);
}

/* ---- dense solvers ---- */

enum { N = 40 };

static void spd(double *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = i == j ? 0.1 : 0;
            for (size_t k = 0; k < n; k++) sum += normal(3, i * n + k) * normal(3, j * n + k) / (double)n;
            a[i * n + j] = sum;
        }
}

static void solves_spd(void **state) {
    (void)state;
    double a[N * N], factor[N * N], x[N * 3], b[N * 3];
    spd(a, N);
    memcpy(factor, a, sizeof a);
    for (size_t i = 0; i < N * 3; i++) x[i] = normal(4, i);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < 3; j++) {
            b[i * 3 + j] = 0;
            for (size_t k = 0; k < N; k++) b[i * 3 + j] += a[i * N + k] * x[k * 3 + j];
        }
    assert_int_equal(weirp_solve_spd(factor, N, b, 3, NULL), WEIR_OK);
    for (size_t i = 0; i < N * 3; i++) assert_true(fabs(b[i] - x[i]) < 1e-9);
    assert_int_equal(weirp_solve_spd(factor, 0, b, 1, NULL), WEIR_OK);

    weir_error err = {0};
    double indefinite[4] = {1, 2, 2, 1}, y[2] = {1, 1};
    assert_int_equal(weirp_solve_spd(indefinite, 2, y, 1, &err), WEIR_NUMERIC);
    assert_true(err.text[0]);
    double nan[4] = {NAN, 0, 0, 1};
    assert_int_equal(weirp_solve_spd(nan, 2, y, 1, NULL), WEIR_NUMERIC);
}

static void eigenvectors(void **state) {
    (void)state;
    double a[N * N], v[N * N], w[N];
    spd(a, N);
    a[0] = -5; /* not definite any more */
    memcpy(v, a, sizeof a);
    assert_int_equal(weirp_eigh(v, N, w, NULL), WEIR_OK);
    for (size_t k = 0; k < N; k++) {
        assert_true(!k || w[k] >= w[k - 1]);
        for (size_t i = 0; i < N; i++) {
            double sum = 0, dot = 0;
            for (size_t j = 0; j < N; j++) {
                sum += a[i * N + j] * v[j * N + k];
                dot += v[j * N + i] * v[j * N + k];
            }
            assert_true(fabs(sum - w[k] * v[i * N + k]) < 1e-10);
            assert_true(fabs(dot - (i == k)) < 1e-10);
        }
    }
    assert_true(w[0] < 0);
    v[3] = INFINITY;
    assert_int_equal(weirp_eigh(v, 0, w, NULL), WEIR_OK);
}

/* ---- orthonormal bases ---- */

static void check_basis(size_t n, size_t width, size_t rank) {
    float *x = weirp_array(n * width, sizeof *x), *q = weirp_array(n * width, sizeof *q);
    float *r = weirp_array(width * width, sizeof *r), *again = weirp_array(n * width, sizeof *again);
    for (size_t i = 0; i < n * width; i++) x[i] = (float)normal(60, i / width * rank + i % width % rank);
    memcpy(q, x, n * width * sizeof *x);
    assert_int_equal(weirp_orthonormalise(q, n, width, r, 1, NULL), WEIR_OK);
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j < width; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++) dot += (double)q[k * width + i] * q[k * width + j];
            assert_true(fabs(dot - (i == j)) < 1e-4);
            assert_true(j >= i || r[i * width + j] == 0);
        }
    for (size_t k = 0; k < n; k++)
        for (size_t j = 0; j < width; j++) {
            double sum = 0;
            for (size_t i = 0; i < width; i++) sum += (double)q[k * width + i] * r[i * width + j];
            assert_true(fabs(sum - x[k * width + j]) < 1e-4);
        }
    memcpy(again, x, n * width * sizeof *x);
    assert_int_equal(weirp_orthonormalise(again, n, width, NULL, 3, NULL), WEIR_OK);
    assert_memory_equal(again, q, n * width * sizeof *q);
    x[n * width - 1] = NAN;
    assert_int_equal(weirp_orthonormalise(x, n, width, NULL, 2, NULL), WEIR_NUMERIC);
    free(x), free(q), free(r), free(again);
}

static void bases_are_orthonormal(void **state) {
    (void)state;
    check_basis(7, 7, 7);
    check_basis(1500, 30, 30);  /* one block */
    check_basis(2048, 30, 30);  /* two */
    check_basis(2500, 260, 40); /* blocks grow with the width; columns that repeat */
    check_basis(9999, 17, 17);
}

/* ---- randomised SVD ---- */

/* A sparse copy of a dense matrix, zeros left out. */
static void sparse(weirp_csr *out, const double *a, size_t n_rows, size_t n_cols) {
    *out = (weirp_csr){.n_rows = n_rows, .n_cols = n_cols};
    out->start = weirp_array(n_rows + 1, sizeof *out->start);
    out->col = weirp_array(n_rows * n_cols, sizeof *out->col);
    out->value = weirp_array(n_rows * n_cols, sizeof *out->value);
    size_t at = 0;
    for (size_t i = 0; i < n_rows; i++) {
        for (size_t j = 0; j < n_cols; j++)
            if (a[i * n_cols + j] != 0) out->col[at] = (uint32_t)j, out->value[at++] = (float)a[i * n_cols + j];
        out->start[i + 1] = at;
    }
}

/* Rank-r matrix with singular values of about decay^k, a third of its entries zero. */
static void make_matrix(double *a, size_t rows, size_t cols, size_t r, double decay) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            a[i * cols + j] = 0;
            for (size_t k = 0; k < r; k++)
                a[i * cols + j] += pow(decay, (double)k) * normal(5 + k, i) * normal(105 + k, j);
            if (r > 20 && weirp_random_uniform(1, i, j) < 0.33) a[i * cols + j] = 0;
        }
}

static void check_svd(size_t rows, size_t cols, size_t r, double decay, size_t rank) {
    size_t least = rows < cols ? rows : cols;
    double *a = weirp_array(rows * cols, sizeof *a), *u = weirp_array(rows * least, sizeof *u);
    double *vt = weirp_array(least * cols, sizeof *vt), *s = weirp_array(least, sizeof *s);
    double *got_s = weirp_array(rank, sizeof *got_s);
    float *v = weirp_array(cols * rank, sizeof *v);
    make_matrix(a, rows, cols, r, decay);
    weirp_csr m;
    sparse(&m, a, rows, cols);
    assert_int_equal(weirp_rsvd(&m, rank, 16, 4, 7, 1, v, got_s, NULL), WEIR_OK);
    lapack_int n = (lapack_int)cols, l = (lapack_int)least;
    assert_int_equal(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', (lapack_int)rows, n, a, n, s, u, l, vt, n), 0);
    for (size_t k = 0; k < rank; k++) {
        double exact = k < least && s[k] > 1e-5 * s[0] ? s[k] : 0, cosine = 0, top = 0;
        assert_true(fabs(got_s[k] - exact) < 2e-4 * s[0]);
        for (size_t j = 0; j < cols; j++) {
            if (k < least) cosine += v[j * rank + k] * vt[k * cols + j];
            if (fabs(v[j * rank + k]) > fabs(top)) top = v[j * rank + k];
        }
        assert_true(exact > 0 ? fabs(fabs(cosine) - 1) < 2e-3 : got_s[k] == 0 && top == 0);
        assert_true(top >= 0);
    }
    weirp_csr_free(&m);
    free(a), free(u), free(vt), free(s), free(got_s), free(v);
}

static void svd_is_lapacks(void **state) {
    (void)state;
    check_svd(60, 40, 40, 0.7, 6);
    check_svd(30, 90, 30, 0.7, 6);
    check_svd(50, 50, 4, 0.5, 10); /* rank 4: the rest is zero */
    check_svd(5, 80, 5, 0.5, 12);  /* fewer rows than asked for */
    check_svd(80, 5, 5, 0.5, 12);
    check_svd(1, 1, 1, 1, 1);
}

static void svd_of_nothing(void **state) {
    (void)state;
    size_t start[4] = {0};
    weirp_csr m = {.n_rows = 3, .n_cols = 5, .start = start};
    float v[10];
    double s[2];
    memset(v, 1, sizeof v);
    assert_int_equal(weirp_rsvd(&m, 2, 4, 2, 1, 1, v, s, NULL), WEIR_OK);
    for (size_t i = 0; i < 10; i++) assert_true(v[i] == 0);
    assert_true(s[0] == 0 && s[1] == 0);
    m.n_rows = 0;
    assert_int_equal(weirp_rsvd(&m, 2, 4, 2, 1, 1, v, s, NULL), WEIR_OK);
    /* what is not a number is an error, not a result */
    uint32_t col[3] = {0, 1, 2};
    float value[3] = {1, NAN, 2};
    size_t full[4] = {0, 1, 2, 3};
    weirp_csr bad = {.n_rows = 3, .n_cols = 5, .start = full, .col = col, .value = value};
    assert_int_equal(weirp_rsvd(&bad, 2, 4, 2, 1, 1, v, s, NULL), WEIR_NUMERIC);
}

static void svd_ignores_threads(void **state) {
    (void)state;
    enum { ROWS = 300, COLS = 4200, RANK = 5 };
    double *a = weirp_array(ROWS * COLS, sizeof *a), s[2][RANK];
    float *v = weirp_array(2 * COLS * RANK, sizeof *v);
    make_matrix(a, ROWS, COLS, 6, 0.8);
    weirp_csr m;
    sparse(&m, a, ROWS, COLS);
    for (unsigned threads = 2; threads <= 5; threads++) {
        assert_int_equal(weirp_rsvd(&m, RANK, 8, 2, 3, 1, v, s[0], NULL), WEIR_OK);
        assert_int_equal(weirp_rsvd(&m, RANK, 8, 2, 3, threads, v + COLS * RANK, s[1], NULL), WEIR_OK);
        assert_memory_equal(v, v + COLS * RANK, COLS * RANK * sizeof *v);
        assert_memory_equal(s[0], s[1], sizeof s[0]);
    }
    weirp_csr_free(&m);
    free(a), free(v);
}

/* ---- k-means ---- */

static void kmeans_finds_blobs(void **state) {
    (void)state;
    enum { BLOBS = 7, EACH = 30, DIM = 5, ROWS = BLOBS * EACH };
    float x[ROWS * DIM], centroid[BLOBS * DIM];
    uint32_t assigned[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        for (size_t d = 0; d < DIM; d++)
            x[i * DIM + d] = (float)(20 * normal(50, i % BLOBS * DIM + d) + 0.1 * normal(51, i * DIM + d));
    for (uint64_t seed = 0; seed < 5; seed++) {
        assert_int_equal(weirp_kmeans(x, ROWS, DIM, BLOBS, 50, seed, centroid, assigned, NULL), WEIR_OK);
        for (size_t i = 0; i < ROWS; i++)
            for (size_t j = 0; j < ROWS; j++) assert_int_equal(assigned[i] == assigned[j], i % BLOBS == j % BLOBS);
        for (size_t i = 0; i < BLOBS; i++)
            for (size_t d = 0; d < DIM; d++) {
                double mean = 0;
                for (size_t j = 0; j < EACH; j++) mean += x[(j * BLOBS + i) * DIM + d] / (double)EACH;
                assert_true(fabs(centroid[assigned[i] * DIM + d] - mean) < 1e-4);
            }
        float again[BLOBS * DIM];
        assert_int_equal(weirp_kmeans(x, ROWS, DIM, BLOBS, 50, seed, again, NULL, NULL), WEIR_OK);
        assert_memory_equal(again, centroid, sizeof again);
    }
}

static void kmeans_edges(void **state) {
    (void)state;
    const float x[6] = {0, 0, 1, 1, 5, 5};
    float centroid[10];
    uint32_t assigned[3];
    /* more clusters than rows: every row has one at distance 0 */
    assert_int_equal(weirp_kmeans(x, 3, 2, 5, 10, 1, centroid, assigned, NULL), WEIR_OK);
    for (size_t i = 0; i < 3; i++) assert_true(weirp_distance2(x + i * 2, centroid + assigned[i] * 2, 2) == 0);
    for (size_t j = 0; j < 10; j++) assert_true(isfinite(centroid[j]));
    /* equal rows */
    const float same[6] = {2, 3, 2, 3, 2, 3};
    assert_int_equal(weirp_kmeans(same, 3, 2, 2, 10, 1, centroid, assigned, NULL), WEIR_OK);
    assert_true(centroid[assigned[0] * 2] == 2 && centroid[assigned[0] * 2 + 1] == 3);
    /* one cluster: the mean */
    assert_int_equal(weirp_kmeans(x, 3, 2, 1, 10, 1, centroid, NULL, NULL), WEIR_OK);
    assert_true(centroid[0] == 2 && centroid[1] == 2);
    assert_int_equal(weirp_kmeans(x, 0, 2, 1, 10, 1, centroid, NULL, NULL), WEIR_INVALID);
    assert_int_equal(weirp_kmeans(x, 3, 2, 0, 10, 1, centroid, NULL, NULL), WEIR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parallel_visits_once),
        cmocka_unit_test(inner_loops),
        cmocka_unit_test(solves_spd),
        cmocka_unit_test(eigenvectors),
        cmocka_unit_test(bases_are_orthonormal),
        cmocka_unit_test(svd_is_lapacks),
        cmocka_unit_test(svd_of_nothing),
        cmocka_unit_test(svd_ignores_threads),
        cmocka_unit_test(kmeans_finds_blobs),
        cmocka_unit_test(kmeans_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

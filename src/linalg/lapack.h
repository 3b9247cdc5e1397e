/* lapack.h: what the files of this folder share; nobody else includes it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LINALG_LAPACK_H
#define WEIRP_LINALG_LAPACK_H

#include "src/linalg/linalg.h"

/* dense.c: LAPACKE's answers in our words. It looks for NaN itself and reports it as a bad argument. */
weir_status weirp_lapack_told(int info, const char *what, weir_error *err);

/* qr.c: replaces x (n, width), n >= width, by an orthonormal basis of its columns. `r` (width, width; may be NULL)
 * takes the triangle: the old x is the new one times r. */
weir_status weirp_orthonormalise(float *x, size_t n, size_t width, float *r, unsigned n_threads, weir_error *err);

#endif

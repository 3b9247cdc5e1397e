/* cusum.h: whether a sequence of standardised surprises has moved, and since when.
 *
 * Page's two-sided cumulative sum (Page, "Continuous inspection schemes", Biometrika 41, 1954). Knows numbers only.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_CUSUM_H
#define WEIRP_CUSUM_H

#include <stdint.h>

/* One side. An excursion begins after the last step at which the sum was 0. */
typedef struct weirp_cusum_side {
    double sum;
    double expected, seen; /* summed over the excursion */
    uint64_t n;            /* its steps */
} weirp_cusum_side;

/* All zero to begin with. */
typedef struct weirp_cusum {
    weirp_cusum_side up, down;
} weirp_cusum;

/* One observation. The side whose sum is past the threshold, borrowed from `c`; NULL: nothing has moved. */
const weirp_cusum_side *weirp_cusum_step(weirp_cusum *c, double expected, double seen, double sd);

#endif

/* reward_sample.h: some rows in memory, for reward models that can't be fitted from sums.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_REWARD_SAMPLE_H
#define WEIRP_OPE_REWARD_SAMPLE_H

#include "src/ope/reward_parts.h"

typedef struct weirp_reward_sample {
    size_t n, capacity, dim, d;
    uint32_t *chosen; /* (n) */
    uint8_t *part;    /* (n) */
    double *y, *w;    /* (n) */
    float *dense;     /* (n, dim) as logged; NULL: not kept */
    double *z;        /* (n, d) of the chosen model; NULL: not kept */
} weirp_reward_sample;

/* About `most` of the rows with features, by a hash of their numbers. `raw`: keeps dense, copies rows by weight, and w
 * is 1; otherwise keeps z. */
weir_status weirp_reward_sample_take(weirp_reward_sample *s, const weirp_reward_frame *frame,
                                     weirp_ope_target *robust_for, size_t most, bool raw, weir_error *err);
void weirp_reward_sample_free(weirp_reward_sample *s);

#endif

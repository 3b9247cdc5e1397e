/* sequence.h: a confidence sequence: an interval after every observation, all right at once with the level asked for,
 * so that one may look as often as one likes and stop when one likes.
 *
 * Predictable plug-in empirical Bernstein (Waudby-Smith and Ramdas, JRSS B 86(1), 2024, arXiv 2010.09686, thm 2) for
 * means of observations in a known range; for weighted ones as in Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro
 * (arXiv 2210.10768). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_SEQUENCE_H
#define WEIRP_OPE_SEQUENCE_H

#include <stdint.h>

#include "src/ope/interval.h"

/* Plain numbers: may be copied and stored as they are (a rollout keeps one in its store). */
typedef struct weirp_sequence {
    double lo_range, hi_range, level;
    uint64_t n;
    double sum, sum_squares; /* of the regularised means and variances that the next bet goes by */
    double bet_sum, bet_x_sum, log_capital_sum;
    double lo, hi; /* running intersection */
} weirp_sequence;

/* Observations will lie in [lo, hi]; what lies outside is a caller's error and is clipped towards the range on the side
 * that makes the interval no narrower than it should be: weirp_sequence_add gives false. */
weirp_sequence weirp_sequence_start(double lo, double hi, double level);
bool weirp_sequence_add(weirp_sequence *sequence, double x);
weirp_interval weirp_sequence_now(const weirp_sequence *sequence);

#endif

/* sequence.h: a confidence sequence: an interval after every observation, all right at once with the level asked for,
 * so that one may look as often as one likes and stop when one likes.
 *
 * What it covers after n observations is the mean of their n conditional means (each given all that came before it): a
 * traffic that drifts is no offence, and where the mean is constant it is that mean. Method, proof and sources:
 * sequence.c. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_SEQUENCE_H
#define WEIRP_OPE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "src/ope/interval.h"

enum { WEIRP_SEQUENCE_BETS = 40 };

/* Plain numbers: may be copied and stored as they are (a rollout keeps one in its store). */
typedef struct weirp_sequence {
    double lo, hi;             /* range of outcomes */
    double w_lo, w_hi, w_mean; /* range of weights, and what they are on average */
    double level;
    double rest;  /* where outcomes are thought to lie before any is seen */
    bool of_arms; /* the mean outcome is every bet's centre */
    uint64_t n;
    double sum;                             /* of readings */
    double sum_guess;                       /* of what each was expected to be */
    double sum_outcome;                     /* less `rest` each */
    double slope_num, slope_den;            /* of the regression of w (r - rest) on w: where readings are calmest */
    double capital[2][WEIRP_SEQUENCE_BETS]; /* logs of each bet's capital, against too low a mean and too high a one */
} weirp_sequence;

/* For the mean of w r, where outcomes r lie in [lo, hi] and weights w in [w_lo, w_hi] have the mean w_mean whatever
 * came before: a policy's value (w = pi/p from 0 to 1/p_min, w_mean 1), or the difference of two arms of a rollout (a
 * row of the candidate, whose share is s: w = 1/s, of the other: w = -1/(1-s); w_mean 0). Tighter by far than the
 * products as observations in a range of their own. Weights that are all 1: the mean of the outcomes.
 * 0 < level < 1. */
weirp_sequence weirp_sequence_start_weighted(double lo, double hi, double w_lo, double w_hi, double w_mean,
                                             double level);
/* The same for the difference of two arms (w_mean 0) whose observations may not come as evenly as the weights say: one
 * arm answers later, or is labelled less. Then nothing is promised any more, but mere order isn't taken for a
 * difference: where both arms have the same outcomes, what it follows stays at 0. About as tight. `rest`, in [lo, hi]:
 * where outcomes are thought to lie before any is seen. */
weirp_sequence weirp_sequence_start_arms(double lo, double hi, double rest, double w_lo, double w_hi, double level);
/* What isn't a number or lies outside the range is the caller's error: it gives false and counts as whatever within the
 * range is worst for either end, so that the interval is right for any value that should have been there. */
bool weirp_sequence_add_weighted(weirp_sequence *sequence, double w, double r);
/* Finite always: before the first observation the whole range. */
weirp_interval weirp_sequence_now(const weirp_sequence *sequence);

#endif

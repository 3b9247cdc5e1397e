/* bayes.h: Bayesian linear regression, one observation at a time, of which only the level forgets.
 *
 * y = w.x + noise with x[0] = 1 and w ~ N(0, prior). What is known of w is a mean and a covariance; a Kalman filter
 * whose only process noise is on w[0]. Knows no models, no mixture and no time but the decay that it is told.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_BAYES_H
#define WEIRP_BAYES_H

#include <stdbool.h>
#include <stddef.h>

/* Variances of the weights before any observation: of the level x[0], of x[1 .. n_text], and of the rest. */
typedef struct weirp_bayes_prior {
    double level, text, scalar;
    size_t n_text;
} weirp_bayes_prior;

/* The memory is the owner's: weirp_bayes_size(dim) doubles. */
typedef struct weirp_bayes {
    size_t dim;   /* of x, >= 1 */
    double *mean; /* (dim) */
    double *cov;  /* (dim (dim + 1) / 2) lower triangle by rows */
} weirp_bayes;

size_t weirp_bayes_size(size_t dim); /* doubles; a multiple of 8 */
weirp_bayes weirp_bayes_at(double *memory, size_t dim);

/* Mean 0, covariance `scale` times the prior. */
void weirp_bayes_reset(const weirp_bayes *b, const weirp_bayes_prior *prior, double scale);
double weirp_bayes_predict(const weirp_bayes *b, const double *x);
/* covariance * x into `gain` (dim); returns the variance of the prediction, x' covariance x >= 0. */
double weirp_bayes_gain(const weirp_bayes *b, const double *x, double *gain);
/* Learns an observation `error` above the prediction, of noise variance `noise` > 0; gain and variance are what
 * weirp_bayes_gain gave for its x. */
void weirp_bayes_learn(const weirp_bayes *b, const double *gain, double variance, double noise, double error);
/* The level's uncertainty moves back to its prior: w[0] as it was counts `keep` in [0,1], in variance; the mean stays.
 */
void weirp_bayes_forget(const weirp_bayes *b, const weirp_bayes_prior *prior, double keep);
/* The covariance moves towards the prior by `share` in [0,1]; the mean stays. */
void weirp_bayes_relax(const weirp_bayes *b, const weirp_bayes_prior *prior, double share);
/* Every number finite, every variance positive. */
bool weirp_bayes_sound(const weirp_bayes *b);

#endif

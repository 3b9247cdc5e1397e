/* estimate.h: the estimators: one table, in which each is a way to change weights, a base and a norm.
 *
 * With w = pi/p of the chosen model, r what was seen, q the reward model's word for the chosen model,
 * v = sum_a pi(a) q(a), f a change of weights, L 1 where the metric is known and 0 where it isn't, e the chance of L:
 *
 *   ips:  sum f(w) L/e r / n                       normalised: sum f(w) L/e r / sum f(w) L/e
 *   dr:   sum v / n + sum f(w) L/e (r - q) / n     normalised: sum v / n + sum f(w) L/e (r - q) / sum f(w) L/e
 *   dm:   sum v / n
 *
 SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_ESTIMATE_H
#define WEIRP_OPE_ESTIMATE_H

#include "src/ope/sums.h"
#include "weir/ope.h"

/* X(name, text, f): changes of weights. */
#define WEIRP_CHANGE_TABLE(X)                                                                                          \
    X(NONE, "none")         /* w */                                                                                    \
    X(CLIP, "clip")         /* min(w, lambda) */                                                                       \
    X(SWITCH, "switch")     /* w where w <= lambda, else 0 (Wang, Agarwal, Dudik, ICML 2017, arXiv 1612.01205) */      \
    X(SHRINK, "shrink")     /* lambda w / (w^2 + lambda), optimistic shrinkage (Su et al., arXiv 1907.09623) */        \
    X(SUBGAUSS, "subgauss") /* w / (1 - lambda + lambda w) (Metelli, Russo, Restelli, NeurIPS 2021) */                 \
    X(BALANCED, "balanced") /* pi / sum_l (n_l/n) p_l (Agarwal et al., KDD 2017; Kallus, Saito, Uehara, ICML 2021) */  \
    X(MATCH, "match")       /* 1 where a deterministic candidate takes the chosen model (Li et al., WSDM 2011) */

typedef enum weirp_ope_change {
#define WEIRP_CHANGE_ENUM(name, text) WEIRP_CHANGE_##name,
    WEIRP_CHANGE_TABLE(WEIRP_CHANGE_ENUM)
#undef WEIRP_CHANGE_ENUM
} weirp_ope_change;

typedef enum weirp_base { WEIRP_BASE_IPS, WEIRP_BASE_DR, WEIRP_BASE_DM } weirp_base;
/* How lambda is found: given, or chosen from a grid by SLOPE (Su, Srinath, Krishnamurthy, ICML 2020, arXiv 2002.07729),
 * by the least bound on the squared error (Su et al., arXiv 1907.09623, section 5), or for the sub-Gaussian change as
 * the value that makes its concentration bound least: sqrt(2 log(1/delta) / (3 n E w^2)) (Metelli et al., theorem 5.1).
 */
typedef enum weirp_tuning { WEIRP_TUNED_NOT, WEIRP_TUNED_SLOPE, WEIRP_TUNED_MSE, WEIRP_TUNED_BOUND } weirp_tuning;

typedef struct weirp_ope_estimator {
    const char *name; /* "ips", "clipped-ips", "snips", "dr", "sndr", "switch-dr", ... */
    weirp_base base;
    weirp_ope_change change;
    weirp_tuning tuning;
    double lambda; /* where given */
    bool normalised, robust /* reward model fitted as MRDR says */;
    bool spare; /* a given lambda, "clipped-ips(5)": reports leave it out unless it was asked for */
} weirp_ope_estimator;

/* Ends with a NULL name; the spare ones come last. "clipped-ips", "switch-dr" and so on are tuned by SLOPE, "sgips" and
 * "sgdr" by their bound, those with
 * "-mse" by the bound on the squared error. */
extern const weirp_ope_estimator weirp_ope_estimators[];
size_t weirp_ope_n_estimators(void); /* spare ones among them */
/* The place of a name, of which "sndr" is the recommended; (size_t)-1: none. Knows other names that are in use: "ipw",
 * "snipw", "dros", "clipped-ips-slope", "clipped-ips(inf)", "clipped-ips(5.0)". */
size_t weirp_ope_estimator_find(const char *name);

#endif

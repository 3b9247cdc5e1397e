/* result.h: what an evaluation found: plain numbers, for reports to read and for src/ope/ alone to fill.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_OPE_RESULT_H
#define WEIRP_OPE_RESULT_H

#include <math.h>

#include "src/ope/estimate.h"
#include "src/ope/interval.h"

/* One estimator's word on one policy's mean of one metric. What can't be told is NAN, and `why_not` says why. */
typedef struct weirp_ope_estimate {
    size_t estimator; /* index into weirp_ope_estimators */
    double lambda;    /* that was used; NAN: it has none */
    double value, se;
    weirp_interval normal, t, percentile, bca, bernstein; /* of the level asked for */
    const char *why_not;                                  /* static; NULL: it is there */
} weirp_ope_estimate;
/* Its interval of a kind: "normal", "t", "percentile", "bca" or "bernstein". */
weirp_interval weirp_ope_interval_of(const weirp_ope_estimate *estimate, const char *kind);

/* Tails of a metric under a policy: its weighted distribution. */
enum { WEIRP_N_QUANTILES = 4 };
extern const double weirp_quantile_levels[WEIRP_N_QUANTILES]; /* 0.5, 0.9, 0.95, 0.99 */
typedef struct weirp_tail {
    bool known;
    double quantile[WEIRP_N_QUANTILES];
    weirp_interval quantile_t[WEIRP_N_QUANTILES]; /* Woodruff's, of the level asked for */
    double cvar[WEIRP_N_QUANTILES];               /* mean beyond each quantile: of the worst 50 %, 10 %, ... */
} weirp_tail;

/* What the log can tell of one policy on one metric. */
typedef struct weirp_ope_standing {
    size_t n, n_known;                   /* rows; rows that know the metric */
    size_t n_sessions;                   /* independent sessions that have a weight in it; 0: none, or nobody counted */
    double least_label;                  /* least chance of a label, as modelled; 1: all known */
    double mean_weight;                  /* should be 1 */
    double mean_weight_z;                /* by how many standard errors it isn't */
    double least_p;                      /* least chance of a chosen model */
    double ess;                          /* effective sample size (sum w)^2 / sum w^2, of rows that know the metric */
    double max_weight, max_weight_share; /* greatest weight; its share of all */
    double
        unsupported; /* target's mass where the log never looks: mean over rows; NAN: only chosen chances are logged */
    double bound_lo, bound_hi; /* how far unsupported mass, and outcomes of which few or none were seen, may move the
                                  estimate down and up; NAN: no bound */
    weirp_interval unseen;     /* of that, for what wasn't seen, beyond where its interval ends: below, and above */
    double undecided;          /* share of rows on which the policy couldn't be asked */
    double model_r2;           /* reward model on rows that it hadn't seen; NAN */
    double model_slope;        /* of outcomes on predictions there: calibration; 1 is right; NAN */
    double first_half, second_half, drift_z; /* the recommended estimator's value by time, and how far they are apart */
    char refusal[256];                       /* why no verdict can be had; "": it can */
} weirp_ope_standing;

typedef struct weirp_cell_result {
    bool asked; /* this metric was evaluated */
    double logged_mean, logged_se;
    weirp_ope_estimate *estimate; /* (n_estimators) */
    size_t n_estimates;
    weirp_tail tail;
    weirp_ope_standing standing;
    char reward_model[64];
} weirp_cell_result;

typedef enum weirp_verdict {
    WEIRP_VERDICT_REFUSED,
    WEIRP_VERDICT_BETTER,
    WEIRP_VERDICT_WORSE,
    WEIRP_VERDICT_MORE,
    WEIRP_VERDICT_SAME /* both would have done the same on every row: nothing is left to estimate */
} weirp_verdict;
const char *weirp_verdict_text(weirp_verdict verdict); /* "refused", "better", "worse", "not enough evidence", "same" */

/* The candidate against another policy, on one metric: candidate minus other, paired. */
typedef struct weirp_contrast {
    size_t policy, other; /* indices into policies; other (size_t)-1: the logged policy */
    weir_metric metric;
    double difference, se;
    weirp_interval interval; /* of the kind asked for */
    weirp_verdict verdict;
    double n_more;   /* rows more that would settle it, at this difference and variance; NAN, INFINITY: no difference */
    double relative; /* share of the other's cost, latency or loss; NAN for shares, and of nothing */
    weirp_interval relative_interval; /* quotient.h; contains 0 exactly when `interval` does */
} weirp_contrast;

/* "Cheaper by x at no more than y quality lost": both must hold by the ends of the intervals of the level asked for. */
typedef struct weirp_ope_trade {
    size_t policy, other;                 /* as a contrast's */
    double saving_wanted, quality_margin; /* share of the other's cost; quality */
    double saving, quality_lost;          /* estimates */
    double saving_lo, quality_lost_hi;    /* the ends that must hold */
    weirp_verdict verdict;
} weirp_ope_trade;

/* A cost-quality curve off the log, with simultaneous bands. */
typedef struct weirp_curve_point {
    double knob, cost, cost_se, quality, quality_se;
    double unsupported;                              /* mass where the log never looks, as a standing's */
    double quality_lo, quality_hi, cost_lo, cost_hi; /* simultaneous over the curve, that mass allowed for */
    double true_cost, true_quality;                  /* NAN where the truth isn't known */
    char refusal[256]; /* why it can't be judged: all but `knob` is NAN then; "": it can */
} weirp_curve_point;

typedef struct weirp_log_curve {
    weirp_curve_point *point;   /* (n) settings that can be judged, by knob: these are the curve */
    weirp_curve_point *refused; /* (n_refused) settings that can't, by knob */
    size_t n, n_refused;
    char *policy;               /* its text; NULL: no curve was asked for */
    const char *knob;           /* key of the one that is left open; static */
    char refusal[384];          /* why there is no curve: then n is 0; "": there is */
    weirp_curve_point *single;  /* (n_models) always that model; NULL where there is no curve */
    size_t n_singles;           /* of them, that can be judged: AIQ and cost@p% go by these alone */
    char why_not[128];          /* why AIQ and cost@p% aren't told; "": they are */
    double aiq, aiq_lo, aiq_hi; /* less the bias that the bootstrap shows; NAN: not known */
    double aiq_drawn;           /* of the points as they are */
    double cost_at[3], cost_at_lo[3], cost_at_hi[3]; /* cost@100, 98, 95 %, as shares; NAN: never */
    double true_aiq;
} weirp_log_curve;

/* The most that an outcome can be, the least being 0; NAN: nothing bounds it. */
static inline double weirp_ope_most(const double most[WEIR_N_METRICS], weir_metric metric) {
    if (metric == WEIR_METRIC_QUALITY || metric == WEIR_METRIC_ERROR) return 1;
    return most[metric] > 0 ? most[metric] : NAN;
}

struct weir_ope {
    size_t n_rows, n_malformed, n_other, n_models, n_policies, n_clusters;
    bool by_time;                     /* rows were chosen by their time: */
    int64_t since_ms, until_ms;       /* those in [since_ms, until_ms); INT64_MIN, INT64_MAX: no limit */
    size_t n_outside, n_untimed;      /* rows left out: of another time, and without one */
    size_t n_duplicates;              /* rows left out: their decisions had been read before */
    size_t n_other_training;          /* decided rows with features that the store's estimators don't know */
    bool quality_unknown;             /* no row knows it, and nobody asked for other metrics alone */
    bool has_sessions, deterministic; /* every propensity is 1: IPS is impossible */
    char **model;                     /* (n_models) */
    char **policy;                    /* (n_policies) names */
    char **log;                       /* (n_logs) */
    size_t n_logs;
    int64_t first_ms, last_ms; /* WEIRP_LOGGED_NO_TIME where unknown */
    double share_cached, share_forced, share_fallen_back, share_careful;
    double propensity_z; /* calibration of propensities: greatest |z| over models of (times chosen - sum of chances) */
    size_t propensity_worst; /* that model; (size_t)-1: none */
    double propensity_off;   /* by what share it was chosen too often */
    double share_backwards;  /* rows more than a minute earlier than one before them */
    size_t n_decided;        /* rows that a policy decided */
    bool propensities_known;
    double level, value_usd;
    double most[WEIR_N_METRICS]; /* what was said to bound cost and latency, and the loss by it; 0: nothing does */
    size_t n_bootstrap, n_folds;
    const char *recommended;  /* estimator that verdicts go by; static */
    const char *interval;     /* and interval; static */
    weirp_cell_result *cell;  /* (n_policies, WEIR_N_METRICS) */
    weirp_contrast *contrast; /* (n_contrasts) by comparison: the first policy against the logged one and all others,
                                 then these against the logged one */
    size_t n_contrasts;
    weirp_ope_trade *trade; /* (n_trades) of each comparison, where cost and quality were evaluated */
    size_t n_trades;
    weirp_log_curve curve;
    double seconds;
};

#endif

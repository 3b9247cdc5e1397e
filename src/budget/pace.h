/* pace.h: spends a period's budget for the most quality (docs/budgets.md, "Pacing").
 *
 * `value` (USD that a fully right answer is worth) is what the plug-in rule is steered by. A pacer moves it so that the
 * traffic still to come, at that value, costs what is left: it learns when requests come (pace_traffic.c) and what each
 * value would have cost for the requests that came (pace_curve.c). It only advises: that a hard budget isn't passed is
 * the ledger's work.
 *
 * Pure: no clock, no thread, no store; the caller serialises calls and hands in the time. A pacer must see all requests
 * that its budget pays for. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PACE_H
#define WEIRP_PACE_H

#include "src/base/base.h"

typedef struct weirp_pacer weirp_pacer;

/* A time, and where it lies in the local week: hour and weekday as weirp_zone_local gives them, and how long the hour
 * has lasted: unix_s less the start of weirp_period_at(zone, WEIRP_PERIOD_HOUR, unix_s). */
typedef struct weirp_moment {
    double unix_s;
    int hour, weekday;  /* [0, 24), 0: Monday */
    double into_hour_s; /* [0, 3600) */
} weirp_moment;

typedef struct weirp_pacer_options {
    double limit_usd;               /* of the period; >= 0 */
    double start_s, end_s;          /* the period, unix; at most 400 days */
    double floor;                   /* least mean of predicted quality over the period, [0, 1]; 0: none */
    bool floor_first;               /* where floor and limit contradict each other, the floor is kept */
    bool thrift;                    /* spends no more than the floor asks for; otherwise all there is */
    double value;                   /* until the first request has been observed; 0: 0.01 */
    double value_least, value_most; /* range of the answer; 0: 1e-6 and 1e3 */
    double requests;                /* that a period is thought to have, before there is experience; 0: unknown */
    double memory_requests;         /* how many requests the costs are a mean of; 0: 8192 */
    double memory_weeks;            /* half-life of the traffic's pattern; 0: 4 */
} weirp_pacer_options;

/* What to do now, and what is expected of it. Intervals have a nominal coverage of 90 %. */
typedef struct weirp_pace {
    double value;    /* for the next request */
    double most_usd; /* dearest call that leaves enough for serving the rest with what is cheapest */
    double requests, requests_low, requests_high; /* still to come in this period */
    double spend, spend_low, spend_high;          /* at the period's end, were the value to stay as it is; the limit
                                                     isn't applied to it */
    double quality;                               /* mean predicted quality of the period, the value staying */
    double floor_usd;   /* what meeting the floor costs for the requests to come; 0: no floor */
    double left_usd;    /* what there is for it */
    bool contradiction; /* floor_usd is more than left_usd: one of them will be missed */
    bool unreachable;   /* not even the best models would meet the floor */
    bool overloaded;    /* what is left won't pay for the expected requests even where each goes to the cheapest */
    bool known;         /* false: nothing was observed, so `value` is the options' */
} weirp_pace;

/* *out is new. `options` is copied. */
weir_status weirp_pacer_new(weirp_pacer **out, const weirp_pacer_options *options, weir_error *err);
void weirp_pacer_free(weirp_pacer *pacer); /* NULL is fine */
/* The next period, or another limit for this one: what was learned stays; what was counted for the floor goes when the
 * start is another. */
weir_status weirp_pacer_begin(weirp_pacer *pacer, double limit_usd, double start_s, double end_s, weir_error *err);

/* A request has come: its estimates for all models (n_models each; eligible NULL: all are). Models that may not be
 * chosen, say for their latency, aren't eligible. Without a model of finite quality and cost it counts as no request.
 */
void weirp_pacer_observe(weirp_pacer *pacer, weirp_moment now, size_t n_models, const double *quality,
                         const double *cost_usd, const bool *eligible);
/* A request is settled: what its model's quality and cost were thought to be, and what it did cost. Refused: zeros. */
void weirp_pacer_spent(weirp_pacer *pacer, double quality, double expected_usd, double actual_usd);
/* `spent_usd`: settled in this period; `in_flight_usd`: expected of calls under way; what isn't a number says that
 * nothing is left. Call it before each decision, or as often as is convenient. */
weirp_pace weirp_pacer_value(weirp_pacer *pacer, weirp_moment now, double spent_usd, double in_flight_usd);

/* What was learned and counted, as bytes with a version number in front; a state of another range of values is refused.
 * Options aren't part of it. After a failure the pacer is as it was. A pause of more than a minute between saving and
 * the next call isn't taken for a lack of traffic. */
#define WEIRP_PACE_PREFIX "Pb" /* of a gateway's, in the store's table: then the budget's name */
void weirp_pacer_save(const weirp_pacer *pacer, weirp_writer *out);
weir_status weirp_pacer_load(weirp_pacer *pacer, const uint8_t *data, size_t size, weir_error *err);

#endif

/* pace_parts.h: what a pacer is made of. Only pace*.c include it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PACE_PARTS_H
#define WEIRP_PACE_PARTS_H

#include "src/budget/pace.h"

/* ---- pace_curve.c: what a request costs and yields as a function of value ---- */

enum { WEIRP_CURVE_BINS = 128 };

typedef struct weirp_curve {
    double least, most;               /* values */
    double log_step;                  /* log of the ratio between neighbouring values */
    double growth;                    /* of each request's weight over the one before: forgetting */
    double weight, next;              /* sum of weights; weight of the next request */
    double n;                         /* requests, never forgotten */
    double base[3];                   /* weighted sums at the least value: cost, cost squared, quality */
    double step[3][WEIRP_CURVE_BINS]; /* weighted sums of what is gained by passing from value k to k + 1 */
    /* Means a request at value k, derived. */
    double cost[WEIRP_CURVE_BINS + 1], square[WEIRP_CURVE_BINS + 1], quality[WEIRP_CURVE_BINS + 1];
    bool stale;
} weirp_curve;

void weirp_curve_init(weirp_curve *curve, double least, double most, double memory);
/* False: no model of finite quality and cost. */
bool weirp_curve_add(weirp_curve *curve, size_t n, const double *quality, const double *cost, const bool *eligible);
void weirp_curve_refresh(weirp_curve *curve);                                    /* before the calls below */
double weirp_curve_at(const weirp_curve *curve, const double *of, double value); /* of: one of the derived arrays */
/* Least value at which the mean `of` a request reaches `target`; INFINITY: none does. */
double weirp_curve_find(const weirp_curve *curve, const double *of, double target);
void weirp_curve_save(const weirp_curve *curve, weirp_writer *out);
bool weirp_curve_load(weirp_curve *curve, weirp_bytes *in);

/* ---- pace_traffic.c: how many requests will come ---- */

enum { WEIRP_WEEK_HOURS = 168, WEIRP_LEVELS = 2 };

typedef struct weirp_traffic {
    double memory_s; /* e-folding time of the pattern */
    double guess;    /* requests an hour, before there is experience; 0: unknown */
    double count[WEIRP_WEEK_HOURS], hours[WEIRP_WEEK_HOURS]; /* requests, and how long was watched: forgotten slowly */
    double rate[WEIRP_WEEK_HOURS];                           /* requests an hour, derived */
    double counted;                                          /* requests behind them, derived */
    double seen;                                             /* hours watched ever */
    /* How busy it is against the pattern: each level is Gamma with mean (a0 + got) / (a0 + due), a0 = 1 / spread. */
    double got[WEIRP_LEVELS], due[WEIRP_LEVELS];
    double spread, rough;          /* variance of the level about 1, and of an hour about its level */
    double opened, unsure;         /* level expected when the hour began, and its variance */
    double hour_count, hour_hours; /* of the current hour, not in count[] and hours[] yet */
    double pending;                /* requests since last_s */
    double last_s, into_s;         /* NAN: not begun */
    double tick_s;
    int hour; /* of the week */
    bool resumed;
    /* Requests from last_s to the period's end, derived. */
    double end_s, mean, variance, now_rate;
} weirp_traffic;

void weirp_traffic_init(weirp_traffic *t, double memory_weeks, double guess);
void weirp_traffic_period(weirp_traffic *t, double start_s, double end_s);
void weirp_traffic_pass(weirp_traffic *t, weirp_moment now, bool request);
/* Mean and variance of the number of requests from `now_s` to the period's end. */
void weirp_traffic_forecast(const weirp_traffic *t, double now_s, double *mean, double *variance);
void weirp_traffic_save(const weirp_traffic *t, weirp_writer *out);
bool weirp_traffic_load(weirp_traffic *t, weirp_bytes *in);

#endif

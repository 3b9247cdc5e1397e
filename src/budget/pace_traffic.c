/* pace_traffic.c: how many requests are still to come in the period, and how sure that is.
 *
 * Two time scales. Slowly: a rate for each of the local week's 168 hours, counts over hours watched, drawn to what hour
 * of the day and day of the week say apart from each other, and those to a uniform rate; forgotten over weeks.
 * Quickly: a level, how busy it is against that pattern, as a Gamma-Poisson model with forgetting. How long a level
 * lasts isn't known (a busy day lasts until midnight, an outage until it is repaired), so there are two: one of the
 * day, which keeps little over midnight, and one of the last hours. Looking ahead, each returns to 1 as fast as it
 * forgets. Their forecasts are mixed in fixed shares: shares that followed how well each had predicted lately did worse
 * on replayed traffic, as is often seen where forecasts are combined.
 *
 * Local time runs evenly from now on: where the clock is changed within the forecast, an hour is read from its
 * neighbour. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "src/budget/pace_parts.h"

static const double HOUR = 3600;
static const double MEMORY_HOURS[WEIRP_LEVELS] = {1.5, 60}, DAY_SHARE = 0.8;
enum { RECENT, DAY };
static const double OVER_NIGHT[WEIRP_LEVELS] = {1, 0.25}; /* what is kept at midnight */
/* So many standard deviations off, an hour shows that the day has changed. */
static const double SURPRISE = 2.5, KEPT_IN_DOUBT = 0.1;
/* Hours' worth of evidence that the weaker of two weighs: what was said beforehand against the uniform rate, that
 * against an hour of the day, days of the week against none, all these against an hour of the week (4 of which take a
 * month to come by). */
static const double SHRINK_GUESS = 24, SHRINK_HOUR = 0.15, SHRINK_WEEK = 4, SHRINK_DAY = 12;
/* So long is too short to tell a pattern from a level: all goes into the uniform rate. */
static const double EARLY_HOURS = 6, LEARNT_HOURS = 24;
/* Variances of level and hour before there is experience, the hours' worth of evidence they weigh, how fast they are
 * forgotten, and where they are kept. */
static const double SPREAD = 0.1, ROUGH = 0.02, PRIOR_HOURS = 24, SPREAD_MEMORY = 336, SPARSE = 20;
static const double SPREAD_LEAST = 0.005, SPREAD_MOST = 2, ROUGH_LEAST = 0.002;
/* Until a pattern has been seen, it may be anything, all the more on a first day of which nobody has said how many
 * requests it will have: variance of a sum of hours against its mean, and how fast that goes. */
static const double UNKNOWN = 0.3, UNKNOWN_HOURS = 24, UNTOLD = 3;
static const double MOST = 1e15;                       /* of any number in a state */
static const double PAUSE = 28 * 86400.0, RESUME = 60; /* longer than that nobody was watching; seconds */

void weirp_traffic_init(weirp_traffic *t, double memory_weeks, double guess) {
    memset(t, 0, sizeof *t);
    t->memory_s = memory_weeks * 7 * 86400 / log(2);
    t->guess = guess;
    t->spread = SPREAD, t->rough = ROUGH, t->opened = 1;
    t->last_s = t->into_s = NAN;
    t->tick_s = 60;
}

/* ---- the pattern ---- */

static void make_rates(weirp_traffic *t) {
    double count = 0, hours = 0, by_hour[24], of_day[7];
    for (size_t i = 0; i < WEIRP_WEEK_HOURS; i++) count += t->count[i], hours += t->hours[i];
    const double prior = t->guess > 0 ? SHRINK_GUESS : 1.0 / 60; /* hours */
    t->counted = count + prior * t->guess;
    const double uniform = (count + prior * t->guess) / (hours + prior);
    for (size_t h = 0; h < 24; h++) {
        double c = SHRINK_HOUR * uniform, e = SHRINK_HOUR;
        for (size_t d = 0; d < 7; d++) c += t->count[24 * d + h], e += t->hours[24 * d + h];
        by_hour[h] = c / e;
    }
    for (size_t d = 0; d < 7; d++) {
        double c = SHRINK_DAY * uniform, due = c;
        for (size_t h = 0; h < 24; h++) c += t->count[24 * d + h], due += t->hours[24 * d + h] * by_hour[h];
        of_day[d] = due > 0 ? c / due : 1;
    }
    for (size_t i = 0; i < WEIRP_WEEK_HOURS; i++) {
        const double weaker = by_hour[i % 24] * of_day[i / 24];
        t->rate[i] = (t->count[i] + SHRINK_WEEK * weaker) / (t->hours[i] + SHRINK_WEEK);
    }
}

/* ---- the level ---- */

static double level_of(const weirp_traffic *t, size_t j) {
    const double a0 = 1 / t->spread;
    return (a0 + t->got[j]) / (a0 + t->due[j]);
}

/* Before a day's pattern is known, what looks like a busy day is an hour of it. */
static double share_of(const weirp_traffic *t, size_t j) {
    const double day = t->seen < LEARNT_HOURS ? 0 : DAY_SHARE;
    return j == DAY ? day : 1 - day;
}

static double level(const weirp_traffic *t) {
    double sum = 0;
    for (size_t j = 0; j < WEIRP_LEVELS; j++) sum += share_of(t, j) * level_of(t, j);
    return sum;
}

/* Remembers what is thought of the level, to be compared with what comes. */
static void open_hour(weirp_traffic *t) {
    const double a0 = 1 / t->spread;
    t->opened = level(t);
    t->unsure = 0;
    for (size_t j = 0; j < WEIRP_LEVELS; j++) {
        const double b = a0 + t->due[j], off = level_of(t, j) - t->opened;
        t->unsure += share_of(t, j) * ((a0 + t->got[j]) / (b * b) + off * off);
    }
}

/* `n` requests came where the pattern expects `due`, in `hours` within one hour of the week. Rough hours say less about
 * the level than a Poisson's count would: they are weighed down to that. */
static void learn_level(weirp_traffic *t, double n, double due, double hours) {
    const double w = 1 / (1 + t->rough * t->rate[t->hour]);
    for (size_t j = 0; j < WEIRP_LEVELS; j++) {
        const double keep = exp(-hours / MEMORY_HOURS[j]);
        t->got[j] = keep * t->got[j] + w * n;
        t->due[j] = keep * t->due[j] + w * due;
    }
}

static double kept(double x, double least, double most) {
    return fmin(fmax(x, least), most);
}

/* How far counts scatter beyond a Poisson's, about the pattern and about the level. */
static void learn_spread(weirp_traffic *t, double n, double due) {
    const double by = due / (due + SPARSE) / fmin(t->seen - LEARNT_HOURS + PRIOR_HOURS, SPREAD_MEMORY);
    const double about = due * t->opened, noise = about + due * due * t->unsure;
    const double wide = kept(((n - due) * (n - due) - due) / (due * due), -1, 1);
    const double near = kept(((n - about) * (n - about) - noise) / fmax(about * about, 1), -1, 1);
    t->spread = kept(t->spread + by * (wide - t->spread), SPREAD_LEAST, SPREAD_MOST);
    t->rough = kept(t->rough + by * (near - t->rough), ROUGH_LEAST, t->spread);
}

/* An hour that the level can't explain says that the day has changed: what it was like before counts for less. */
static void doubt(weirp_traffic *t, double n, double due) {
    const double about = due * t->opened, off = n - about;
    const double variance = about + about * about * t->rough + due * due * t->unsure;
    if (off * off <= SURPRISE * SURPRISE * variance) return;
    const double w = 1 / (1 + t->rough * t->rate[t->hour]);
    t->got[DAY] = KEPT_IN_DOUBT * fmax(t->got[DAY] - w * n, 0) + w * n;
    t->due[DAY] = KEPT_IN_DOUBT * fmax(t->due[DAY] - w * due, 0) + w * due;
}

/* ---- time ---- */

/* The hour's count goes into the pattern. */
static void close_hour(weirp_traffic *t) {
    const double due = t->rate[t->hour] * t->hour_hours;
    if (t->seen > LEARNT_HOURS && t->hour_hours > 0.5 && due >= 3) {
        doubt(t, t->hour_count, due);
        learn_spread(t, t->hour_count, due);
    }
    const double keep = exp(-t->hour_hours * HOUR / t->memory_s);
    for (size_t i = 0; i < WEIRP_WEEK_HOURS; i++) t->count[i] *= keep, t->hours[i] *= keep;
    t->count[t->hour] += t->hour_count;
    t->hours[t->hour] += t->hour_hours;
    t->hour_count = t->hour_hours = 0;
    make_rates(t);
}

/* Watched for `s` seconds within one hour of the week; what is pending came in them. */
static void watch(weirp_traffic *t, double s) {
    const double hours = s / HOUR;
    if (t->seen > EARLY_HOURS) learn_level(t, t->pending, t->rate[t->hour] * hours, hours);
    t->hour_count += t->pending;
    t->hour_hours += hours;
    t->seen += hours;
    t->pending = 0;
    if (t->seen <= EARLY_HOURS) close_hour(t);
}

static void advance(weirp_traffic *t, double s) {
    while (s > 0) {
        const double rest = HOUR - t->into_s, part = fmin(rest, s);
        watch(t, part);
        s -= part;
        t->into_s += part;
        if (part < rest) break;
        close_hour(t);
        t->hour = (t->hour + 1) % WEIRP_WEEK_HOURS;
        t->into_s = 0;
        for (size_t j = 0; j < WEIRP_LEVELS && t->hour % 24 == 0; j++)
            t->got[j] *= OVER_NIGHT[j], t->due[j] *= OVER_NIGHT[j];
        open_hour(t);
    }
}

/* Sums of expected requests and their variances over the hours from last_s to the end, for level j. What is known of
 * the level fades along the way, and what isn't known is taken to be the same for a day and new the day after. */
static void look_ahead(const weirp_traffic *t, size_t j, double hours, double *mean, double *variance) {
    const double a0 = 1 / t->spread, a = a0 + t->got[j], b = a0 + t->due[j], l = a / b;
    const double fade = exp(-1 / MEMORY_HOURS[j]), known_sd = sqrt(a) / b;
    double sum = 0, known = 0, day = 0, days = 0, rough = 0, left = hours, f = 1;
    for (int k = 0; k < WEIRP_WEEK_HOURS && left > 0; k++) {
        const double part = fmin(k == 0 ? 1 - t->into_s / HOUR : 1, left), due = t->rate[(t->hour + k) % 168] * part;
        const double here = due * (1 + (l - 1) * f);
        sum += here;
        known += due * f * known_sd;
        day += due * sqrt(fmax(1 - f * f, 0) * t->spread);
        rough += here * here * t->rough;
        if ((t->hour + k) % 24 == 23 || left <= part) days += day * day, day = 0;
        left -= part;
        f *= fade * ((t->hour + k) % 24 == 23 ? OVER_NIGHT[j] : 1);
    }
    days += day * day;
    if (left > 0) { /* whole weeks, on the pattern alone */
        double week = 0;
        for (size_t i = 0; i < WEIRP_WEEK_HOURS; i++) week += t->rate[i];
        sum += week * left / WEIRP_WEEK_HOURS;
        days += week * week / 7 * t->spread * left / WEIRP_WEEK_HOURS;
    }
    const double fading = UNKNOWN * exp(-t->seen * t->seen / (UNKNOWN_HOURS * UNKNOWN_HOURS));
    const bool untold = t->seen < LEARNT_HOURS && !(t->guess > 0);
    const double unknown = (untold ? UNTOLD : fading) + 1 / (1 + t->counted);
    *mean = sum;
    *variance = sum + known * known + days + rough + unknown * sum * sum;
}

static void forecast(weirp_traffic *t) {
    const double hours = fmax(t->end_s - t->last_s, 0) / HOUR;
    double mean[WEIRP_LEVELS], variance[WEIRP_LEVELS];
    t->mean = t->variance = 0;
    for (size_t j = 0; j < WEIRP_LEVELS; j++) {
        look_ahead(t, j, hours, &mean[j], &variance[j]);
        t->mean += share_of(t, j) * mean[j];
    }
    for (size_t j = 0; j < WEIRP_LEVELS; j++) {
        const double off = mean[j] - t->mean;
        t->variance += share_of(t, j) * (variance[j] + off * off);
    }
    t->now_rate = t->rate[t->hour] * level(t);
}

void weirp_traffic_period(weirp_traffic *t, double start_s, double end_s) {
    t->end_s = end_s;
    t->tick_s = kept((end_s - start_s) / 2048, 1, 60);
    if (isfinite(t->last_s)) forecast(t);
}

void weirp_traffic_pass(weirp_traffic *t, weirp_moment now, bool request) {
    const double into = now.into_hour_s >= 0 && now.into_hour_s < HOUR ? now.into_hour_s : 0;
    if (!(fabs(now.unix_s) < MOST) || now.hour < 0 || now.hour > 23 || now.weekday < 0 || now.weekday > 6) return;
    const int hour = now.weekday * 24 + now.hour;
    const double since = now.unix_s - t->last_s; /* NAN at first */
    const bool fresh = !isfinite(since) || since > PAUSE || (t->resumed && since > RESUME) || since < -RESUME;
    t->resumed = false;
    if (!fresh && since < 0) { /* threads' calls may come out of order */
        t->pending += request;
        return;
    }
    if (fresh || since >= t->tick_s || hour != t->hour) {
        if (!fresh) advance(t, since);
        if (t->hour != hour && t->hour_hours > 0) close_hour(t); /* the clock was changed, or nobody was watching */
        if (fresh) make_rates(t);
        t->hour = hour, t->into_s = into;
        t->last_s = now.unix_s;
        forecast(t);
    }
    t->pending += request;
}

void weirp_traffic_forecast(const weirp_traffic *t, double now_s, double *mean, double *variance) {
    double gone = now_s - t->last_s;
    gone = gone > 0 ? gone / HOUR * t->now_rate : 0;
    *mean = now_s < t->end_s ? fmax(t->mean - gone, 0) : 0;
    *variance = t->mean > 0 ? t->variance * *mean / t->mean : 0;
}

/* ---- bytes ---- */

/* The state's numbers, and what they may be. */
typedef struct field {
    double *at;
    double least, most;
} field;

enum { MAX_FIELDS = 2 * WEIRP_WEEK_HOURS + 2 * WEIRP_LEVELS + 8 };

static size_t fields(weirp_traffic *t, field *f) {
    size_t n = 0;
    for (size_t i = 0; i < WEIRP_WEEK_HOURS; i++) {
        f[n++] = (field){&t->count[i], 0, MOST};
        f[n++] = (field){&t->hours[i], 0, MOST};
    }
    for (size_t j = 0; j < WEIRP_LEVELS; j++) {
        f[n++] = (field){&t->got[j], 0, MOST};
        f[n++] = (field){&t->due[j], 0, MOST};
    }
    f[n++] = (field){&t->seen, 0, MOST};
    f[n++] = (field){&t->spread, SPREAD_LEAST, SPREAD_MOST};
    f[n++] = (field){&t->rough, ROUGH_LEAST, SPREAD_MOST};
    f[n++] = (field){&t->opened, 0, MOST};
    f[n++] = (field){&t->unsure, 0, MOST};
    f[n++] = (field){&t->hour_count, 0, MOST};
    f[n++] = (field){&t->hour_hours, 0, MOST};
    f[n++] = (field){&t->pending, 0, MOST};
    return n;
}

void weirp_traffic_save(const weirp_traffic *t, weirp_writer *out) {
    weirp_traffic copy = *t;
    field f[MAX_FIELDS];
    const size_t n = fields(&copy, f);
    for (size_t i = 0; i < n; i++) weirp_put_f64(out, *f[i].at);
    weirp_put_f64(out, t->last_s);
    weirp_put_f64(out, t->into_s);
    weirp_put_u32(out, (uint32_t)t->hour);
}

bool weirp_traffic_load(weirp_traffic *t, weirp_bytes *in) {
    field f[MAX_FIELDS];
    const size_t n = fields(t, f);
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        *f[i].at = weirp_get_f64(in);
        if (!(*f[i].at >= f[i].least && *f[i].at <= f[i].most)) good = false;
    }
    t->last_s = weirp_get_f64(in);
    t->into_s = weirp_get_f64(in);
    const uint32_t hour = weirp_get_u32(in);
    const bool begun = fabs(t->last_s) < MOST && t->into_s >= 0 && t->into_s < HOUR;
    if (!begun && !(isnan(t->last_s) && isnan(t->into_s))) good = false;
    if (!good || in->failed || hour >= WEIRP_WEEK_HOURS) return false;
    t->hour = (int)hour;
    t->resumed = true;
    make_rates(t);
    if (begun) forecast(t);
    return true;
}

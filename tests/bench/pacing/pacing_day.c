/* pacing_day.c: traffic: Poisson arrivals with an hour-of-day and a day-of-week pattern, days and hours that are busier
 * or quieter than usual, and days of surprises. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>

#include "src/base/base.h"
#include "tests/bench/pacing/pacing.h"

/* An office's day: two humps and a quiet night; sums to 24 below. */
static const double SHAPE[24] = {.25, .18, .14, .12, .12, .18, .35, .8, 1.5, 2.1, 2.3, 2.2,
                                 1.7, 1.8, 2.2, 2.3, 2.1, 1.6, 1.1, .8, .7,  .6,  .45, .35};
static const double WEEK[7] = {1, 1.05, 1.1, 1.05, .8, .45, .35};

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double hour_rate(const traffic_options *o, unsigned day, unsigned hour) {
    double sum = 0;
    for (size_t h = 0; h < 24; h++) sum += SHAPE[h];
    const double busy = exp(0.2 * weirp_random_normal(o->seed, 11, day) - 0.02);
    const double rough = exp(0.1 * weirp_random_normal(o->seed, 12, day * 24 + hour) - 0.005);
    double rate = o->volume * SHAPE[hour] / sum * WEEK[day % 7] * rough * busy;
    if (day == DOUBLE_DAY) rate *= 2;
    if (day == LATE_DAY && hour < 12) rate = 0;
    if (day == BURST_DAY && hour == 20) rate *= 8;
    if (day == STEP_DAY) rate *= hour < 12 ? 0.6 : 1.8;
    return rate;
}

size_t make_day(const traffic_options *o, unsigned day, size_t n_prompts, double **at, uint32_t **prompt) {
    double rates[24], room = 64;
    for (unsigned h = 0; h < 24; h++) room += (rates[h] = hour_rate(o, day, h));
    size_t n = 0, capacity = (size_t)(room + 10 * sqrt(room)); /* ten standard deviations */
    *at = weirp_array(capacity, sizeof **at);
    *prompt = weirp_array(capacity, sizeof **prompt);
    uint64_t draw = (uint64_t)day << 32;
    for (unsigned h = 0; h < 24; h++) {
        double s = 0;
        while (rates[h] > 0 && n < capacity) {
            s -= log1p(-weirp_random_uniform(o->seed, 13, draw++)) * 3600 / rates[h];
            if (s >= 3600) break;
            (*at)[n++] = h * 3600.0 + s;
        }
    }
    qsort(*at, n, sizeof **at, ascending);
    for (size_t i = 0; i < n; i++)
        (*prompt)[i] = (uint32_t)(weirp_random_u64(o->seed, 14, ((uint64_t)day << 32) + i) % n_prompts);
    return n;
}

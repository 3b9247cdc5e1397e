/* period.h: calendar periods in a time zone. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PERIOD_H
#define WEIRP_PERIOD_H

#include "src/base/base.h"

typedef enum weirp_period_kind {
    WEIRP_PERIOD_MINUTE, /* of rate limits */
    WEIRP_PERIOD_HOUR,
    WEIRP_PERIOD_DAY,
    WEIRP_PERIOD_WEEK, /* from Monday, as ISO 8601 has it */
    WEIRP_PERIOD_MONTH,
    WEIRP_PERIOD_TOTAL, /* one period, for ever */
    WEIRP_N_PERIODS
} weirp_period_kind;

enum { WEIRP_ZONE_NAME = 64 };

const char *weirp_period_name(weirp_period_kind kind); /* "minute", "hour", ... */
bool weirp_period_find(const char *name, weirp_period_kind *kind);

/* [start, end) in seconds since 1970, UTC; TOTAL: [0, INT64_MAX), which every instant counts to. A day begins at its
 * first instant there is: where the clock jumps over midnight, at the jump; where midnight comes twice, at the first. A
 * day that was left out has no period; weeks and months begin with their first day that there is. Hours and minutes are
 * the clock's, and end where it is put forward or back: the repeated hour of autumn is an hour of its own. So every
 * instant lies in exactly one period, and periods follow each other without a gap. */
typedef struct weirp_span {
    int64_t start, end;
} weirp_span;

typedef struct weirp_zone weirp_zone; /* immutable; any thread */
/* "UTC", "Europe/Berlin", ...: a name of the IANA time zone database, as this machine has it ($TZDIR, or
 * /usr/share/zoneinfo); "" is UTC, which needs none. WEIR_NOTFOUND names what isn't one. *out is new. */
weir_status weirp_zone_open(weirp_zone **out, const char *name, weir_error *err);
void weirp_zone_close(weirp_zone *zone); /* NULL is fine */
/* About a microsecond: whoever asks for every request keeps the span until it is over. `zone` NULL: UTC. Instants three
 * million years away count as the last of these. */
weirp_span weirp_period_at(const weirp_zone *zone, weirp_period_kind kind, int64_t unix_s);
/* Local hour of the day [0, 24) and day of the week (0: Monday), for forecasts. */
void weirp_zone_local(const weirp_zone *zone, int64_t unix_s, int *hour, int *weekday);

#endif

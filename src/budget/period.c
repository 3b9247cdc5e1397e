/* period.c: calendar periods. GLib knows the offset of every instant; days, weeks and months come from it here, and
 * from the C library's calendar. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/period.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };
/* No clock is further from UTC than this, or ever was (Manila's, 15:56, before 1845). */
enum { MOST_OFFSET = 16 * HOUR };
/* About three million years on both sides: sums stay within 63 bits. */
static const int64_t MOST_TIME = INT64_C(100000000000000);

struct weirp_zone {
    GTimeZone *tz; /* NULL: UTC */
};

/* ---- names ---- */

static const char *const period_names[WEIRP_N_PERIODS] = {"minute", "hour", "day", "week", "month", "total"};

const char *weirp_period_name(weirp_period_kind kind) {
    return kind < WEIRP_N_PERIODS ? period_names[kind] : "unknown";
}

bool weirp_period_find(const char *name, weirp_period_kind *kind) {
    for (int i = 0; name && i < WEIRP_N_PERIODS; i++)
        if (!strcmp(name, period_names[i])) {
            *kind = (weirp_period_kind)i;
            return true;
        }
    return false;
}

/* ---- zones ---- */

/* GLib also takes rules ("CET-1CEST"), offsets and paths: a name is one if the database has a file for it. */
static bool in_database(const char *name) {
    size_t len = strlen(name);
    if (len >= WEIRP_ZONE_NAME || !g_ascii_isalpha(*name) || !strncmp(name, "right/", 6)) return false;
    for (const char *at = name; *at; at++)
        if (!g_ascii_isalnum(*at) && !strchr("/_-+", *at)) return false;
    char path[1024], magic[4] = "";
    const char *folder = getenv("TZDIR");
    int n = snprintf(path, sizeof path, "%s/%s", folder ? folder : "/usr/share/zoneinfo", name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "rbe") : NULL;
    bool is = file && fread(magic, 1, sizeof magic, file) == sizeof magic && !memcmp(magic, "TZif", sizeof magic);
    if (file) fclose(file);
    return is;
}

weir_status weirp_zone_open(weirp_zone **out, const char *name, weir_error *err) {
    *out = NULL;
    bool utc = !*name || !strcmp(name, "UTC");
    GTimeZone *tz = !utc && in_database(name) ? g_time_zone_new_identifier(name) : NULL;
    if (!utc && !tz)
        return weirp_fail(err, WEIR_NOTFOUND, 0,
                          "\"%.64s\" isn't a time zone that this machine knows: say \"UTC\", or a name of the IANA "
                          "database such as \"Europe/Berlin\" (Debian has it in the package tzdata)",
                          name);
    weirp_zone *zone = weirp_array(1, sizeof *zone);
    if (!zone) {
        if (tz) g_time_zone_unref(tz);
        return weirp_nomem(err);
    }
    zone->tz = tz;
    *out = zone;
    return WEIR_OK;
}

void weirp_zone_close(weirp_zone *zone) {
    if (!zone) return;
    if (zone->tz) g_time_zone_unref(zone->tz);
    free(zone);
}

/* ---- offsets ---- */

static int interval_at(const weirp_zone *zone, int64_t t) {
    return zone && zone->tz ? g_time_zone_find_interval(zone->tz, G_TIME_TYPE_UNIVERSAL, t) : 0;
}

static int64_t offset_at(const weirp_zone *zone, int64_t t) {
    return zone && zone->tz ? g_time_zone_get_offset(zone->tz, interval_at(zone, t)) : 0;
}

/* The first instant after `t` and up to `limit` at which the offset is another one; else `limit`. */
static int64_t next_change(const weirp_zone *zone, int64_t t, int64_t limit) {
    int last = interval_at(zone, limit);
    int64_t offset = offset_at(zone, t);
    for (int at; t < limit && (at = interval_at(zone, t)) != last;) {
        int64_t in = t, beyond = limit; /* the interval's end lies between */
        while (beyond - in > 1) {
            int64_t middle = in + (beyond - in) / 2;
            if (interval_at(zone, middle) == at)
                in = middle;
            else
                beyond = middle;
        }
        t = beyond;
        if (offset_at(zone, t) != offset) return t;
    }
    return limit;
}

/* ---- days ---- */

static int64_t floor_to(int64_t t, int64_t unit) {
    int64_t rest = t % unit;
    return t - (rest < 0 ? rest + unit : rest);
}

static int64_t local_at(const weirp_zone *zone, int64_t t) {
    return t + offset_at(zone, t);
}

/* The first instant at which the clock shows `local` or later, for the first time. */
static int64_t first_at(const weirp_zone *zone, int64_t local) {
    int64_t t = local - MOST_OFFSET, limit = local + MOST_OFFSET;
    while (t < limit) {
        int64_t end = next_change(zone, t, limit), shown = local - offset_at(zone, t);
        if (shown < end) return shown > t ? shown : t;
        t = end;
    }
    return limit;
}

/* Local midnight, as if it were UTC, of the latest day that the clock has shown up to `t`: one that it was put back
 * over has begun all the same. */
static int64_t day_of(const weirp_zone *zone, int64_t t) {
    int64_t latest = local_at(zone, t);
    for (int64_t at = t - 2 * MOST_OFFSET; at < t;) {
        int64_t end = next_change(zone, at, t);
        if (local_at(zone, end - 1) > latest) latest = local_at(zone, end - 1);
        at = end;
    }
    return floor_to(latest, DAY);
}

/* ---- periods ---- */

static weirp_span of_clock(const weirp_zone *zone, int64_t t, int64_t unit) {
    int64_t offset = offset_at(zone, t), start = floor_to(t + offset, unit) - offset, end = start + unit;
    for (int64_t at = next_change(zone, start, t); at < t; at = next_change(zone, at, t)) start = at;
    if (offset_at(zone, start) != offset) start = t;
    return (weirp_span){start, next_change(zone, t, end)};
}

/* Midnight of the month's first day, and of the next one's. */
static void month_of(int64_t day, int64_t *first, int64_t *next) {
    time_t at = (time_t)day;
    struct tm tm;
    gmtime_r(&at, &tm);
    tm.tm_mday = 1;
    *first = timegm(&tm);
    tm.tm_mon++;
    *next = timegm(&tm);
}

static int weekday_of(int64_t day) { /* 1970 began on a Thursday */
    return (int)((floor_to(day + 3 * DAY, DAY) - floor_to(day + 3 * DAY, 7 * DAY)) / DAY);
}

weirp_span weirp_period_at(const weirp_zone *zone, weirp_period_kind kind, int64_t unix_s) {
    int64_t t = unix_s > MOST_TIME ? MOST_TIME : unix_s < -MOST_TIME ? -MOST_TIME : unix_s;
    if (kind == WEIRP_PERIOD_MINUTE || kind == WEIRP_PERIOD_HOUR)
        return of_clock(zone, t, kind == WEIRP_PERIOD_HOUR ? HOUR : MINUTE);
    if (kind != WEIRP_PERIOD_DAY && kind != WEIRP_PERIOD_WEEK && kind != WEIRP_PERIOD_MONTH)
        return (weirp_span){0, INT64_MAX};
    int64_t first = day_of(zone, t), next = first + DAY;
    if (kind == WEIRP_PERIOD_WEEK) {
        first -= weekday_of(first) * DAY;
        next = first + 7 * DAY;
    } else if (kind == WEIRP_PERIOD_MONTH)
        month_of(first, &first, &next);
    return (weirp_span){first_at(zone, first), first_at(zone, next)};
}

void weirp_zone_local(const weirp_zone *zone, int64_t unix_s, int *hour, int *weekday) {
    int64_t t = unix_s > MOST_TIME ? MOST_TIME : unix_s < -MOST_TIME ? -MOST_TIME : unix_s;
    int64_t local = local_at(zone, t), day = floor_to(local, DAY);
    *hour = (int)((local - day) / HOUR);
    *weekday = weekday_of(day);
}

/* Calendar periods: by a table, and by what must hold of all of them, with the C library's own local time as referee.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/budget/period.h"

/* UTC throughout. The spans were found by walking through local dates a minute at a time (Python's zoneinfo). */
static const struct {
    const char *zone;
    weirp_period_kind kind;
    const char *at, *start, *end;
} cases[] = {
    {"Europe/Berlin", WEIRP_PERIOD_DAY, "2026-03-29 12:00:00", "2026-03-28 23:00:00",
     "2026-03-29 22:00:00"}, /* spring: 23 hours */
    {"Europe/Berlin", WEIRP_PERIOD_DAY, "2026-10-25 12:00:00", "2026-10-24 22:00:00",
     "2026-10-25 23:00:00"}, /* autumn: 25 hours */
    {"Europe/Berlin", WEIRP_PERIOD_DAY, "2026-10-24 21:59:59", "2026-10-23 22:00:00",
     "2026-10-24 22:00:00"}, /* its last second before */
    {"Europe/Berlin", WEIRP_PERIOD_HOUR, "2026-03-29 00:59:59", "2026-03-29 00:00:00",
     "2026-03-29 01:00:00"}, /* before the jump */
    {"Europe/Berlin", WEIRP_PERIOD_HOUR, "2026-03-29 01:00:00", "2026-03-29 01:00:00",
     "2026-03-29 02:00:00"}, /* after the jump: three o'clock */
    {"Europe/Berlin", WEIRP_PERIOD_HOUR, "2026-10-25 00:30:00", "2026-10-25 00:00:00",
     "2026-10-25 01:00:00"}, /* two o'clock, in summer */
    {"Europe/Berlin", WEIRP_PERIOD_HOUR, "2026-10-25 01:30:00", "2026-10-25 01:00:00",
     "2026-10-25 02:00:00"}, /* two o'clock again */
    {"Europe/Berlin", WEIRP_PERIOD_WEEK, "2026-03-29 12:00:00", "2026-03-22 23:00:00",
     "2026-03-29 22:00:00"}, /* a week of 167 hours */
    {"Europe/Berlin", WEIRP_PERIOD_MONTH, "2026-10-31 22:59:59", "2026-09-30 22:00:00",
     "2026-10-31 23:00:00"}, /* a month with the change */
    {"Europe/Berlin", WEIRP_PERIOD_MONTH, "2026-10-31 23:00:00", "2026-10-31 23:00:00",
     "2026-11-30 23:00:00"}, /* and the next */
    {"America/New_York", WEIRP_PERIOD_DAY, "2026-03-08 12:00:00", "2026-03-08 05:00:00",
     "2026-03-09 04:00:00"}, /* spring */
    {"America/New_York", WEIRP_PERIOD_DAY, "2026-11-01 12:00:00", "2026-11-01 04:00:00",
     "2026-11-02 05:00:00"}, /* autumn */
    {"America/New_York", WEIRP_PERIOD_HOUR, "2026-11-01 06:15:00", "2026-11-01 06:00:00",
     "2026-11-01 07:00:00"}, /* one o'clock again */
    {"America/New_York", WEIRP_PERIOD_MINUTE, "2026-11-01 06:00:30", "2026-11-01 06:00:00",
     "2026-11-01 06:01:00"}, /* its first minute */
    {"Australia/Lord_Howe", WEIRP_PERIOD_DAY, "2026-04-05 03:00:00", "2026-04-04 13:00:00",
     "2026-04-05 13:30:00"}, /* autumn: half an hour more */
    {"Australia/Lord_Howe", WEIRP_PERIOD_DAY, "2026-10-04 03:00:00", "2026-10-03 13:30:00",
     "2026-10-04 13:00:00"}, /* spring: half an hour less */
    {"Australia/Lord_Howe", WEIRP_PERIOD_HOUR, "2026-04-04 14:45:00", "2026-04-04 14:00:00",
     "2026-04-04 15:00:00"}, /* one o'clock, in summer */
    {"Australia/Lord_Howe", WEIRP_PERIOD_HOUR, "2026-04-04 15:10:00", "2026-04-04 15:00:00",
     "2026-04-04 15:30:00"}, /* half past one again: half an hour */
    {"Australia/Lord_Howe", WEIRP_PERIOD_HOUR, "2026-10-03 15:40:00", "2026-10-03 15:30:00",
     "2026-10-03 16:00:00"}, /* half past two, after the jump */
    {"America/Sao_Paulo", WEIRP_PERIOD_DAY, "2018-11-04 12:00:00", "2018-11-04 03:00:00",
     "2018-11-05 02:00:00"}, /* no midnight: begins at one o'clock */
    {"America/Sao_Paulo", WEIRP_PERIOD_DAY, "2018-11-04 02:59:59", "2018-11-03 03:00:00",
     "2018-11-04 03:00:00"}, /* the day before it */
    {"America/Sao_Paulo", WEIRP_PERIOD_DAY, "2018-02-18 02:30:00", "2018-02-17 02:00:00",
     "2018-02-18 03:00:00"}, /* 25 hours, back at midnight */
    {"America/Sao_Paulo", WEIRP_PERIOD_MONTH, "2018-11-15 12:00:00", "2018-11-01 03:00:00",
     "2018-12-01 02:00:00"}, /* a month around it */
    {"Africa/Cairo", WEIRP_PERIOD_DAY, "2024-04-26 12:00:00", "2024-04-25 22:00:00",
     "2024-04-26 21:00:00"}, /* no midnight */
    {"Africa/Cairo", WEIRP_PERIOD_DAY, "2024-10-31 21:30:00", "2024-10-30 21:00:00",
     "2024-10-31 22:00:00"}, /* eleven o'clock again, at midnight */
    {"Africa/Cairo", WEIRP_PERIOD_DAY, "2024-11-01 12:00:00", "2024-10-31 22:00:00",
     "2024-11-01 22:00:00"}, /* a plain day after it */
    {"Asia/Beirut", WEIRP_PERIOD_DAY, "2025-03-30 12:00:00", "2025-03-29 22:00:00",
     "2025-03-30 21:00:00"}, /* no midnight */
    {"Asia/Beirut", WEIRP_PERIOD_DAY, "2025-10-25 21:30:00", "2025-10-24 21:00:00",
     "2025-10-25 22:00:00"}, /* eleven o'clock again */
    {"Asia/Beirut", WEIRP_PERIOD_HOUR, "2025-10-25 20:30:00", "2025-10-25 20:00:00",
     "2025-10-25 21:00:00"}, /* eleven o'clock, in summer */
    {"Asia/Beirut", WEIRP_PERIOD_HOUR, "2025-10-25 21:30:00", "2025-10-25 21:00:00",
     "2025-10-25 22:00:00"}, /* and in winter */
    {"America/St_Johns", WEIRP_PERIOD_DAY, "2010-11-07 02:30:30", "2010-11-07 02:30:00",
     "2010-11-08 03:30:00"}, /* midnight, one minute long, and then the day before again */
    {"America/St_Johns", WEIRP_PERIOD_DAY, "2010-11-07 03:10:00", "2010-11-07 02:30:00",
     "2010-11-08 03:30:00"}, /* the day before again: it is over */
    {"America/St_Johns", WEIRP_PERIOD_DAY, "2010-11-06 20:00:00", "2010-11-06 02:30:00",
     "2010-11-07 02:30:00"}, /* the day before */
    {"Pacific/Apia", WEIRP_PERIOD_DAY, "2011-12-30 09:59:59", "2011-12-29 10:00:00",
     "2011-12-30 10:00:00"}, /* the last second of 29 December */
    {"Pacific/Apia", WEIRP_PERIOD_DAY, "2011-12-30 10:00:00", "2011-12-30 10:00:00",
     "2011-12-31 10:00:00"}, /* 31 December: there was no 30th */
    {"Pacific/Apia", WEIRP_PERIOD_WEEK, "2011-12-30 10:00:00", "2011-12-26 10:00:00",
     "2012-01-01 10:00:00"}, /* a week of six days */
    {"Pacific/Apia", WEIRP_PERIOD_MONTH, "2011-12-31 00:00:00", "2011-12-01 10:00:00",
     "2011-12-31 10:00:00"}, /* a month of thirty */
    {"Asia/Kolkata", WEIRP_PERIOD_DAY, "2026-01-01 00:00:00", "2025-12-31 18:30:00",
     "2026-01-01 18:30:00"}, /* half an hour off */
    {"Asia/Kolkata", WEIRP_PERIOD_HOUR, "2026-01-01 00:00:00", "2025-12-31 23:30:00",
     "2026-01-01 00:30:00"}, /* half an hour off */
    {"Asia/Kathmandu", WEIRP_PERIOD_HOUR, "2026-01-01 00:00:00", "2025-12-31 23:15:00",
     "2026-01-01 00:15:00"}, /* a quarter of an hour off */
    {"UTC", WEIRP_PERIOD_DAY, "2024-02-29 23:59:59", "2024-02-29 00:00:00", "2024-03-01 00:00:00"},   /* a leap day */
    {"UTC", WEIRP_PERIOD_MONTH, "2024-02-29 23:59:59", "2024-02-01 00:00:00", "2024-03-01 00:00:00"}, /* a leap month */
    {"UTC", WEIRP_PERIOD_MONTH, "2100-02-28 23:59:59", "2100-02-01 00:00:00", "2100-03-01 00:00:00"}, /* none */
    {"UTC", WEIRP_PERIOD_MONTH, "2000-02-29 12:00:00", "2000-02-01 00:00:00",
     "2000-03-01 00:00:00"}, /* one all the same */
    {"UTC", WEIRP_PERIOD_MONTH, "2025-12-31 23:59:59", "2025-12-01 00:00:00", "2026-01-01 00:00:00"}, /* a year's end */
    {"UTC", WEIRP_PERIOD_MONTH, "2026-01-01 00:00:00", "2026-01-01 00:00:00",
     "2026-02-01 00:00:00"}, /* a year's beginning */
    {"UTC", WEIRP_PERIOD_WEEK, "2025-12-31 12:00:00", "2025-12-29 00:00:00", "2026-01-05 00:00:00"}, /* over new year */
    {"UTC", WEIRP_PERIOD_WEEK, "2027-01-01 12:00:00", "2026-12-28 00:00:00",
     "2027-01-04 00:00:00"}, /* over new year, from the 53rd week */
    {"UTC", WEIRP_PERIOD_WEEK, "1970-01-01 00:00:00", "1969-12-29 00:00:00", "1970-01-05 00:00:00"},   /* from 1969 */
    {"UTC", WEIRP_PERIOD_HOUR, "1969-12-31 23:59:59", "1969-12-31 23:00:00", "1970-01-01 00:00:00"},   /* before 1970 */
    {"UTC", WEIRP_PERIOD_MINUTE, "2026-01-01 00:00:59", "2026-01-01 00:00:00", "2026-01-01 00:01:00"}, /* a minute */
    {"America/New_York", WEIRP_PERIOD_DAY, "2099-11-01 12:00:00", "2099-11-01 04:00:00",
     "2099-11-02 05:00:00"}, /* by the rule, beyond the table */
};

static int64_t utc(const char *text) {
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
    assert_true(end && !*end);
    return timegm(&tm);
}

static weirp_zone *zone_of(const char *name) {
    weirp_zone *zone;
    weir_error err = {0};
    if (weirp_zone_open(&zone, name, &err)) fail_msg("%s", err.text);
    return zone;
}

static void by_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_zone *zone = zone_of(cases[i].zone);
        weirp_span s = weirp_period_at(zone, cases[i].kind, utc(cases[i].at));
        if (s.start != utc(cases[i].start) || s.end != utc(cases[i].end))
            fail_msg("%s, %s of %s: %lld to %lld, must be %lld to %lld", cases[i].zone,
                     weirp_period_name(cases[i].kind), cases[i].at, (long long)s.start, (long long)s.end,
                     (long long)utc(cases[i].start), (long long)utc(cases[i].end));
        weirp_zone_close(zone);
    }
}

/* ---- what must hold ---- */

enum { SEED = 5, ROUNDS = 50, SAMPLE_S = 1800, LOOK_BACK_S = 36 * 3600 };
static const int64_t LAST = INT64_C(4102444800); /* 2100 */

static const char *const zones[] = {"UTC",
                                    "Europe/Berlin",
                                    "America/New_York",
                                    "Australia/Lord_Howe",
                                    "America/Sao_Paulo",
                                    "Africa/Cairo",
                                    "Asia/Beirut",
                                    "Pacific/Apia",
                                    "Asia/Kolkata",
                                    "Asia/Kathmandu",
                                    "America/St_Johns",
                                    "Asia/Gaza",
                                    "Asia/Tehran",
                                    "Africa/Monrovia",
                                    "Africa/Casablanca",
                                    "America/Scoresbysund",
                                    "Antarctica/Troll",
                                    "America/Asuncion",
                                    "Asia/Pyongyang",
                                    "Pacific/Kwajalein",
                                    "Pacific/Kiritimati",
                                    "America/Caracas",
                                    "Antarctica/Casey",
                                    "Europe/Lisbon"};

static struct tm shown(int64_t t) {
    time_t at = (time_t)t;
    struct tm tm;
    localtime_r(&at, &tm);
    return tm;
}

static int64_t label_of(weirp_period_kind kind, int64_t t) {
    struct tm tm = shown(t), day = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday, .tm_hour = 12};
    if (kind == WEIRP_PERIOD_WEEK) day.tm_mday -= (tm.tm_wday + 6) % 7;
    if (kind == WEIRP_PERIOD_MONTH) day.tm_mday = 1;
    return timegm(&day);
}

/* The latest day, week or month that was shown in a good while before `t`. */
static int64_t latest_before(weirp_period_kind kind, int64_t t) {
    int64_t latest = label_of(kind, t - 1);
    for (int64_t at = t - LOOK_BACK_S; at < t; at += SAMPLE_S / 6) {
        int64_t label = label_of(kind, at);
        if (label > latest) latest = label;
    }
    return latest;
}

/* It begins where a later date is shown than ever before, and goes on until the next such. */
static void check_calendar(weirp_period_kind kind, weirp_span s) {
    int64_t label = label_of(kind, s.start);
    assert_true(label > latest_before(kind, s.start));
    assert_true(label_of(kind, s.end) > latest_before(kind, s.end));
    for (int64_t t = s.start; t < s.end; t += SAMPLE_S) assert_true(label_of(kind, t) <= label);
}

/* The same hour or minute, by the same clock, all along and no longer. */
static void check_clock(weirp_period_kind kind, weirp_span s, int64_t t) {
    struct tm here = shown(t), first = shown(s.start), last = shown(s.end - 1), before = shown(s.start - 1),
              after = shown(s.end);
    bool minute = kind == WEIRP_PERIOD_MINUTE;
    assert_true(first.tm_gmtoff == here.tm_gmtoff && last.tm_gmtoff == here.tm_gmtoff);
    assert_true(first.tm_hour == here.tm_hour && last.tm_hour == here.tm_hour);
    assert_true(!minute || (first.tm_min == here.tm_min && last.tm_min == here.tm_min));
    assert_true(s.end - s.start <= (minute ? 60 : 3600));
    assert_true(before.tm_gmtoff != here.tm_gmtoff ||
                (minute ? before.tm_min != here.tm_min : before.tm_hour != here.tm_hour));
    assert_true(after.tm_gmtoff != here.tm_gmtoff ||
                (minute ? after.tm_min != here.tm_min : after.tm_hour != here.tm_hour));
}

static void check_span(const weirp_zone *zone, weirp_period_kind kind, int64_t t) {
    weirp_span s = weirp_period_at(zone, kind, t), same, next, before;
    assert_true(s.start <= t && t < s.end);
    const int64_t within[] = {s.start, s.end - 1, s.start + (s.end - s.start) / 2};
    for (size_t i = 0; i < 3; i++) {
        same = weirp_period_at(zone, kind, within[i]);
        assert_true(same.start == s.start && same.end == s.end);
    }
    next = weirp_period_at(zone, kind, s.end);
    before = weirp_period_at(zone, kind, s.start - 1);
    assert_true(next.start == s.end && before.end == s.start);
    if (kind == WEIRP_PERIOD_MINUTE || kind == WEIRP_PERIOD_HOUR)
        check_clock(kind, s, t);
    else
        check_calendar(kind, s);
}

static void spans_tile_time(void **state) {
    (void)state;
    uint64_t drawn = 0;
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
        weirp_zone *zone = zone_of(zones[z]);
        setenv("TZ", zones[z], 1);
        tzset();
        for (int i = 0; i < ROUNDS; i++) {
            int64_t t = (int64_t)(weirp_random_uniform(SEED, 1, drawn++) * (double)LAST);
            /* most of them beside a change of the clock, if there is one in the half-year to come */
            if (i % 4)
                for (int64_t end = t + 183 * 86400; t < end && i % 4; t += 3600)
                    if (shown(t).tm_gmtoff != shown(t + 3600).tm_gmtoff) {
                        t += (int64_t)(weirp_random_uniform(SEED, 2, drawn++) * 14400) - 7200;
                        break;
                    }
            if (t < 0) t = 0;
            weirp_period_kind kind = (weirp_period_kind)(i % WEIRP_PERIOD_TOTAL);
            check_span(zone, kind, t);
            int hour, weekday;
            weirp_zone_local(zone, t, &hour, &weekday);
            struct tm tm = shown(t);
            assert_true(hour == tm.tm_hour && weekday == (tm.tm_wday + 6) % 7);
        }
        weirp_zone_close(zone);
    }
    unsetenv("TZ");
    tzset();
}

static void whole_of_time(void **state) {
    (void)state;
    weirp_zone *zone = zone_of("Europe/Berlin");
    static const int64_t at[] = {0, 1700000000, INT64_MAX - 1};
    for (size_t i = 0; i < 3; i++) {
        weirp_span s = weirp_period_at(zone, WEIRP_PERIOD_TOTAL, at[i]);
        assert_true(s.start == 0 && s.end == INT64_MAX);
    }
    /* the ends of the clock: no overflow, and nothing without an end */
    static const int64_t far[] = {INT64_MIN, INT64_MAX, INT64_C(-99999999999999), INT64_C(99999999999999)};
    for (int kind = 0; kind < WEIRP_PERIOD_TOTAL; kind++)
        for (size_t i = 0; i < 4; i++) {
            weirp_span s = weirp_period_at(zone, (weirp_period_kind)kind, far[i]);
            assert_true(s.start < s.end && s.end - s.start <= 31 * 86400 + 7200);
            if (i > 1) assert_true(s.start <= far[i] && far[i] < s.end);
        }
    weirp_zone_close(zone);
    weirp_zone_close(NULL);
    weirp_span s = weirp_period_at(NULL, WEIRP_PERIOD_DAY, 86399);
    assert_true(s.start == 0 && s.end == 86400);
}

static void names(void **state) {
    (void)state;
    for (int i = 0; i < WEIRP_N_PERIODS; i++) {
        weirp_period_kind kind = WEIRP_N_PERIODS;
        assert_true(weirp_period_find(weirp_period_name((weirp_period_kind)i), &kind) && (int)kind == i);
    }
    weirp_period_kind kind;
    assert_false(weirp_period_find("year", &kind) || weirp_period_find("", &kind) || weirp_period_find(NULL, &kind));
    static const char *const good[] = {
        "", "UTC", "Etc/UTC", "EST5EDT", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) weirp_zone_close(zone_of(good[i]));
    /* rules, offsets and paths that GLib would take, and other files that lie beside the zones */
    static const char *const bad[] = {"Europe",
                                      "Europe/",
                                      "Europe/Berlim",
                                      "CET-1",
                                      "CET-1CEST",
                                      "+02:00",
                                      "-5",
                                      "Z",
                                      "/usr/share/zoneinfo/UTC",
                                      "../zoneinfo/UTC",
                                      "Europe/../UTC",
                                      "zone.tab",
                                      "tzdata.zi",
                                      "leapseconds",
                                      "right/UTC",
                                      " UTC",
                                      "UTC ",
                                      "\xff",
                                      "local",
                                      "Europe/Berlin\n",
                                      "A/very/long/name/that/goes/on/and/on/and/on/and/on/and/on/until"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weirp_zone *zone = (weirp_zone *)&zone;
        weir_error err = {0};
        assert_int_equal(weirp_zone_open(&zone, bad[i], &err), WEIR_NOTFOUND);
        assert_null(zone);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_table),
        cmocka_unit_test(spans_tile_time),
        cmocka_unit_test(whole_of_time),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* logged_time.c: times as logs write them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>

#include "datasets/jline.h"
#include "datasets/logged_parts.h"

/* Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms":
 * years that begin in March, in eras of 400 years). */
static int64_t days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool digits(const char **at, const char *end, int n, int *out) {
    *out = 0;
    for (int i = 0; i < n; i++, ++*at) {
        if (*at >= end || **at < '0' || **at > '9') return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool sign(const char **at, const char *end, char c) {
    if (*at >= end || **at != c) return false;
    ++*at;
    return true;
}

/* What follows the seconds: ".442536", of which milliseconds are kept. */
static bool fraction(const char **at, const char *end, int *ms) {
    int unit = 100, n = 0;
    *ms = 0;
    if (*at >= end || (**at != '.' && **at != ',')) return true;
    for (++*at; *at < end && **at >= '0' && **at <= '9'; ++*at, n++, unit /= 10) *ms += unit * (**at - '0');
    return n > 0;
}

/* "Z", "+01:00", "-0530", "+01", " UTC", or nothing: UTC. */
static bool zone(const char **at, const char *end, int *minutes) {
    int hours = 0, rest = 0;
    *minutes = 0;
    while (sign(at, end, ' ')) continue;
    if (*at == end || sign(at, end, 'Z') || sign(at, end, 'z')) return true;
    if (end - *at == 3 && (*at)[0] == 'U' && (*at)[1] == 'T' && (*at)[2] == 'C') return *at = end, true;
    bool less = **at == '-';
    if (!less && **at != '+') return false;
    ++*at;
    if (!digits(at, end, 2, &hours)) return false;
    sign(at, end, ':');
    if (*at < end && !digits(at, end, 2, &rest)) return false;
    *minutes = (hours * 60 + rest) * (less ? -1 : 1);
    return hours < 24 && rest < 60;
}

static bool clock_time(const char **at, const char *end, int64_t *ms) {
    int hour = 0, minute = 0, second = 0, thousandths = 0;
    if (!digits(at, end, 2, &hour) || !sign(at, end, ':') || !digits(at, end, 2, &minute)) return false;
    if (sign(at, end, ':') && (!digits(at, end, 2, &second) || !fraction(at, end, &thousandths))) return false;
    *ms = ((hour * 60 + minute) * 60 + second) * (int64_t)1000 + thousandths;
    return hour < 24 && minute < 60 && second <= 60;
}

static bool date(const char *text, size_t len, int64_t *ms) {
    static const char lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at = text, *end = text + len;
    int year, month, day, minutes = 0;
    int64_t in_day = 0;
    if (!digits(&at, end, 4, &year) || !sign(&at, end, '-') || !digits(&at, end, 2, &month) || !sign(&at, end, '-') ||
        !digits(&at, end, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > lengths[month - 1]) return false;
    if (at < end && (sign(&at, end, 'T') || sign(&at, end, 't') || sign(&at, end, ' ')))
        if (!clock_time(&at, end, &in_day) || !zone(&at, end, &minutes)) return false;
    *ms = days_of(year, month, day) * 86400000 + in_day - minutes * (int64_t)60000;
    return at == end;
}

bool weirp_time_parse(const char *text, size_t len, int64_t *ms) {
    double v;
    if (date(text, len, ms)) return true;
    if (!weirp_fast_number(text, len, &v) || !(fabs(v) < 1e16)) return false;
    if (fabs(v) < 1e11) v *= 1000;
    *ms = (int64_t)llround(v);
    return true;
}

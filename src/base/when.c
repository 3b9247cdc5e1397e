/* when.c: durations and instants, read and written. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/base/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_PER_S   INT64_C(1000)
#define LONGEST_MS (INT64_C(36525) * 86400 * MS_PER_S) /* 100 years */

static int64_t unit_ms(char unit) {
    switch (unit) {
    case 's': return MS_PER_S;
    case 'm': return 60 * MS_PER_S;
    case 'h': return 3600 * MS_PER_S;
    case 'd': return 86400 * MS_PER_S;
    case 'w': return 7 * 86400 * MS_PER_S;
    default: return 0;
    }
}

static bool duration(const char *text, int64_t *ms) {
    int64_t n = 0;
    size_t digits = strspn(text, "0123456789"), i = 0;
    if (!digits || digits > 12) return false;
    for (; i < digits; i++) n = 10 * n + (text[i] - '0');
    int64_t unit = unit_ms(text[i]);
    if (!unit && !text[i] && !n) unit = 1; /* "0" needs none */
    if (!unit || (text[i] && text[i + 1]) || n > LONGEST_MS / unit) return false;
    *ms = n * unit;
    return true;
}

weir_status weirp_duration_parse(const char *what, const char *text, int64_t *ms, weir_error *err) {
    if (duration(text, ms)) return WEIR_OK;
    return weirp_fail(err, WEIR_INVALID, 0,
                      "%s must be a whole number and a unit (s, m, h, d or w), such as 30d, not '%.60s'", what, text);
}

/* Two or four digits. */
static bool number(const char **at, int digits, int least, int most, int *out) {
    *out = 0;
    for (int i = 0; i < digits; i++, ++*at) {
        if (**at < '0' || **at > '9') return false;
        *out = 10 * *out + (**at - '0');
    }
    return *out >= least && *out <= most;
}

static bool skip(const char **at, char c) {
    return **at == c && ++*at;
}

static bool instant(const char *text, int64_t *ms) {
    struct tm tm = {0};
    const char *at = text;
    int year, month;
    if (!number(&at, 4, 1970, 9999, &year) || !skip(&at, '-') || !number(&at, 2, 1, 12, &month) || !skip(&at, '-') ||
        !number(&at, 2, 1, 31, &tm.tm_mday))
        return false;
    if (*at) {
        if (!skip(&at, 'T') || !number(&at, 2, 0, 23, &tm.tm_hour) || !skip(&at, ':') ||
            !number(&at, 2, 0, 59, &tm.tm_min))
            return false;
        if (skip(&at, ':') && !number(&at, 2, 0, 59, &tm.tm_sec)) return false;
        if (!skip(&at, 'Z') || *at) return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    int64_t s = timegm(&tm);
    if (tm.tm_mday != day) return false; /* February the 30th, which timegm moved on */
    *ms = s * MS_PER_S;
    return true;
}

weir_status weirp_when_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms, weir_error *err) {
    if (!strcmp(text, "never")) {
        *ms = 0;
        return WEIR_OK;
    }
    if (!strcmp(text, "now")) {
        *ms = now_ms;
        return WEIR_OK;
    }
    if (instant(text, ms)) return WEIR_OK;
    if (duration(text, ms)) {
        *ms += now_ms;
        return WEIR_OK;
    }
    return weirp_fail(err, WEIR_INVALID, 0,
                      "%s must be a time from now (30d, 12h), a day (2027-01-31), an instant (2027-01-31T12:00Z), now "
                      "or never, not '%.60s'",
                      what, text);
}

weir_status weirp_since_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms, weir_error *err) {
    if (!strchr(text, '-') && strcmp(text, "now") != 0) { /* a duration: before now */
        weir_status st = weirp_duration_parse(what, text, ms, err);
        *ms = now_ms - *ms;
        return st;
    }
    weir_status st = weirp_when_parse(what, text, now_ms, ms, err);
    if (st == WEIR_OK && !*ms) return weirp_fail(err, WEIR_INVALID, 0, "%s must be a time", what);
    return st;
}

void weirp_when_text(char out[WEIRP_WHEN_TEXT], int64_t ms) {
    time_t s = (time_t)(ms / MS_PER_S);
    struct tm tm;
    if (!ms)
        snprintf(out, WEIRP_WHEN_TEXT, "never");
    else if (!gmtime_r(&s, &tm) || !strftime(out, WEIRP_WHEN_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
        snprintf(out, WEIRP_WHEN_TEXT, "?");
}

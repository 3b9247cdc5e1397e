/* when.h: times as people write them. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WHEN_H
#define WEIRP_WHEN_H

#include "src/base/base.h"

/* "90s", "15m", "12h", "30d", "2w": a whole number and its unit; at most 100 years. WEIR_INVALID says so, calling it
 * `what`. */
weir_status weirp_duration_parse(const char *what, const char *text, int64_t *ms, weir_error *err);
/* A duration from `now_ms` on, "2027-01-31" (where that day begins, UTC), "2027-01-31T12:00Z" or with seconds, "now",
 * or "never" (0). Milliseconds since 1970. */
weir_status weirp_when_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms, weir_error *err);
/* The same, but a duration goes back from `now_ms`; never "never". */
weir_status weirp_since_parse(const char *what, const char *text, int64_t now_ms, int64_t *ms, weir_error *err);
/* "2027-01-31T12:00:00Z", rounded down; "never" for 0. */
enum { WEIRP_WHEN_TEXT = 32 };
void weirp_when_text(char out[WEIRP_WHEN_TEXT], int64_t ms);

#endif

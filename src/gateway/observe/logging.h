/* logging.h: structured logs to standard error, as text or JSON lines. Any thread; a line is written whole.
 *
 * No key, no header and no prompt ever goes in: values are what callers name, and texts from vendors are cut and
 * cleaned (see weirp_log_text). SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGGING_H
#define WEIRP_LOGGING_H

#include "src/gateway/config/config.h"

typedef struct weirp_log weirp_log;

typedef struct weirp_log_pair {
    const char *key;
    enum { WEIRP_LOG_STR, WEIRP_LOG_INT, WEIRP_LOG_REAL, WEIRP_LOG_BOOL } kind;
    const char *text; /* NULL: the pair is left out */
    int64_t count;
    double number; /* NAN: left out */
} weirp_log_pair;

#define WEIRP_S(k, v) ((weirp_log_pair){.key = (k), .kind = WEIRP_LOG_STR, .text = (v)})
#define WEIRP_I(k, v) ((weirp_log_pair){.key = (k), .kind = WEIRP_LOG_INT, .count = (int64_t)(v)})
#define WEIRP_F(k, v) ((weirp_log_pair){.key = (k), .kind = WEIRP_LOG_REAL, .number = (v)})
#define WEIRP_B(k, v) ((weirp_log_pair){.key = (k), .kind = WEIRP_LOG_BOOL, .count = (v)})

weir_status weirp_log_new(weirp_log **out, int fd, weirp_log_format format, weirp_log_level level, weir_error *err);
void weirp_log_free(weirp_log *log); /* NULL is fine */
/* Format and level may change while other threads log. */
void weirp_log_set(weirp_log *log, weirp_log_format format, weirp_log_level level);
/* Registers a secret: wherever it would appear in a value it becomes "[secret]". Copied. */
weir_status weirp_log_hide(weirp_log *log, const char *secret, weir_error *err);
/* The same in a text that goes elsewhere: `text` is NUL-terminated in `size` bytes; what doesn't fit any more is cut.
 */
void weirp_log_clean(const weirp_log *log, char *text, size_t size);
/* One line: time, level, message, pairs. Never fails; a line longer than 8 KiB is cut. Doesn't allocate. */
void weirp_log_line(weirp_log *log, weirp_log_level level, const char *message, const weirp_log_pair *pairs, size_t n);
#define WEIRP_LOG(log, level, message, ...)                                                                            \
    weirp_log_line((log), (level), (message), (const weirp_log_pair[]){__VA_ARGS__},                                   \
                   sizeof((const weirp_log_pair[]){__VA_ARGS__}) / sizeof(weirp_log_pair))

#endif

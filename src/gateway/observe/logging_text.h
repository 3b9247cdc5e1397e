/* logging_text.h: values as text in a buffer of fixed size, with secrets taken out.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_LOGGING_TEXT_H
#define WEIRP_LOGGING_TEXT_H

#include <stdatomic.h>

#include "src/gateway/observe/logging.h"

/* ---- secrets: a list that only grows, so that readers need no lock ---- */

typedef struct weirp_secret {
    size_t len;
    struct weirp_secret *next;
    char text[];
} weirp_secret;

typedef struct weirp_secrets {
    _Atomic(weirp_secret *) first;
    /* Bit of the first two bytes of each secret: most texts have no such pair anywhere. A secret of one byte sets every
     * pair that begins with it. */
    _Atomic uint64_t pairs[65536 / 64];
} weirp_secrets;

/* Callers take turns. */
weir_status weirp_secrets_add(weirp_secrets *secrets, const char *secret, weir_error *err);
/* Overwrites and frees them. */
void weirp_secrets_free(weirp_secrets *secrets);
/* Length of the longest secret that stands at text[at], or of the front of one that the text was cut in (8 bytes or
 * more); 0: none. `text` is NUL-terminated at len. */
size_t weirp_secrets_at(const weirp_secrets *secrets, const char *text, size_t len, size_t at);

/* Puts [secret] in their place, as weirp_log_clean says. */
void weirp_secrets_clean(const weirp_secrets *secrets, char *text, size_t size);

/* ---- a line under way ---- */

typedef struct weirp_line {
    char *at, *end; /* room for what comes next; a tail to close the line with is kept beyond `end` */
    bool full;      /* something didn't fit: nothing more is appended */
    bool json;      /* how quotes and controls are escaped is the same; this is for what stands around values */
    const weirp_secrets *secrets;
} weirp_line;

/* All or nothing. */
void weirp_line_put(weirp_line *line, const char *bytes, size_t n);
/* Text without anything that could end it or the line: quotes, backslashes and controls as JSON escapes, bytes that
 * aren't UTF-8 as U+FFFD, secrets as [secret]. As much as fits. */
void weirp_line_text(weirp_line *line, const char *text, size_t len);
void weirp_line_int(weirp_line *line, int64_t x);
/* Six digits, as %g gives them, '.' in any locale; infinities as null. */
void weirp_line_real(weirp_line *line, double x);
/* "2026-11-21T22:50:11.123Z" */
void weirp_line_time(weirp_line *line, int64_t unix_ms);

#endif

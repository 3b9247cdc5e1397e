/* words.h: bytes from outside: UTF-8 that may be broken, numbers as text, names that were mistyped.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_WORDS_H
#define WEIRP_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes at the front of `text` that are well-formed UTF-8 (no surrogates, nothing overlong, nothing above U+10FFFF). */
size_t weirp_utf8_valid(const char *text, size_t len);
/* Copies text to out (3 * len + 1 bytes hold any result), each byte that is not part of a well-formed character as
 * U+FFFD; NUL-terminated. Gives the length. */
size_t weirp_utf8_repair(char *out, const char *text, size_t len);

/* Writes a character (at most U+10FFFF) as UTF-8: at most 4 bytes, no NUL after them. Gives how many. */
size_t weirp_utf8_put(char *out, unsigned character);
/* What follows the "\u" of an escape, 4 hexadecimal digits: their value; -1: they aren't such. Reads no further than
 * the first that isn't one. */
int weirp_hex4(const char *digits);

/* For messages: the start of `text`, cut at a character's border with "..." where it doesn't fit, control characters
 * as '?'. Always terminated; gives `out`. `size` >= 8. */
const char *weirp_excerpt(char *out, size_t size, const char *text, size_t len);

/* Copies a text, cut where it doesn't fit; always terminated. Gives its whole length, so that `size` or more means that
 * it was cut. On paths where snprintf is too slow: libquadmath, which comes with LAPACK, extends printf, and makes
 * glibc take the slow way through every format of the process. */
size_t weirp_copy_text(char *out, size_t size, const char *text);

/* Reads all of text as a decimal number ("1", "-2.5e3"), '.' being the point in every locale. False: it isn't one.
 * Overflow gives +-INFINITY; "inf" and "nan" aren't numbers. */
bool weirp_number_parse(const char *text, size_t len, double *out);

/* The one of `names` (n) that `word` most likely is a slip of, or NULL if none is near. Borrowed from names. */
const char *weirp_suggest(const char *word, const char *const *names, size_t n);

#endif

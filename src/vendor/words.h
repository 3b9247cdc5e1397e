/* words.h: text out of nothing but a seed, and how many tokens a text has. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_VENDOR_WORDS_H
#define WEIRP_VENDOR_WORDS_H

#include <stddef.h>
#include <stdint.h>

enum { VEND_PIECE = 64 }; /* bytes that the longest word takes, at most */

/* The i-th word of the text that `seed` names, with the space before it, into piece; gives its length. A word is a
 * token. Some hold characters of two to four bytes, so that a stream that is cut inside of one shows. */
size_t vend_word(char piece[VEND_PIECE], uint64_t seed, uint64_t i);
/* Tokens of a text as this vendor counts: a word of up to 8 bytes is one, longer ones are one for every 4 bytes. */
int64_t vend_count_tokens(const char *text, size_t len);
/* Length of the first token-like piece of text: a word with the white space before it; at most 32 bytes, cut between
 * characters. 0 only where len is 0. */
size_t vend_split(const char *text, size_t len);
uint64_t vend_hash(const char *text, size_t len, uint64_t seed);

#endif

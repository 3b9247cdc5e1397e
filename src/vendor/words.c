/* words.c: text out of a seed. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "src/base/base.h"
#include "src/vendor/words.h"

static const char *const vocabulary[] = {
    "the",          "a",          "of",      "and",     "to",      "in",        "is",         "that",      "it",
    "as",           "for",        "with",    "on",      "by",      "from",      "at",         "this",      "are",
    "which",        "be",         "or",      "an",      "water",   "river",     "stone",      "bridge",    "stream",
    "current",      "level",      "flow",    "gate",    "channel", "bank",      "depth",      "height",    "width",
    "measure",      "gauge",      "spring",  "rain",    "field",   "valley",    "hill",       "mill",      "wheel",
    "boat",         "fish",       "reed",    "willow",  "meadow",  "winter",    "summer",     "morning",   "evening",
    "north",        "south",      "first",   "second",  "third",   "small",     "large",      "slow",      "quick",
    "clear",        "deep",       "narrow",  "rises",   "falls",   "turns",     "runs",       "holds",     "carries",
    "meets",        "leaves",     "reaches", "crosses", "divides", "caf\u00e9", "na\u00efve", "\u00fcber", "\u6c34",
    "\u6cb3\u5ddd", "\U0001F30A", "42",      "1,000",   "\u03c0",  "5\u00b0",
};
enum { N_WORDS = sizeof vocabulary / sizeof *vocabulary, SENTENCE = 12 };

size_t vend_word(char piece[VEND_PIECE], uint64_t seed, uint64_t i) {
    const char *word = vocabulary[weirp_mix64(seed ^ (i * 0x9e3779b97f4a7c15u)) % N_WORDS];
    size_t len = strlen(word), at = 0;
    if (i) piece[at++] = ' ';
    memcpy(piece + at, word, len);
    at += len;
    if (i % SENTENCE == SENTENCE - 1) piece[at++] = '.';
    piece[at] = '\0';
    return at;
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

int64_t vend_count_tokens(const char *text, size_t len) {
    int64_t n = 0;
    for (size_t i = 0; i < len;) {
        while (i < len && is_space(text[i])) i++;
        size_t from = i;
        while (i < len && !is_space(text[i])) i++;
        if (i > from) n += i - from <= 8 ? 1 : (int64_t)((i - from + 3) / 4);
    }
    return n;
}

size_t vend_split(const char *text, size_t len) {
    enum { LONGEST = 32 };
    size_t i = 0;
    while (i < len && i < LONGEST && is_space(text[i])) i++;
    while (i < len && i < LONGEST && !is_space(text[i])) i++;
    /* a character's further bytes are 10xxxxxx */
    while (i < len && ((unsigned char)text[i] & 0xc0) == 0x80) i++;
    return i;
}

uint64_t vend_hash(const char *text, size_t len, uint64_t seed) {
    return XXH3_64bits_withSeed(text, len, seed);
}

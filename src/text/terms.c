/* terms.c: a prompt's words and character n-grams, hashed into counters.
 *
 * Words are runs of letters, marks and digits (and '_'); an ideograph or kana is a word of its own, every symbol a
 * token. The lower half of the buckets counts n-grams of tokens, the upper half n-grams of characters within a word
 * that has a border put before and after it. Ideographs in a row give n-grams of characters as a word does.
 *
 * Hashes are multilinear over the integers mod 2^64 with random odd keys, of which the top bits are used: strongly
 * universal, one multiplication a character, and n-grams of several orders share their sums (Lemire, Kaser, "Strongly
 * universal string hashing is fast", Computer Journal 57(11), 2014, sections 3 and 4).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/text/parts.h"

/* ' ' as the border: no word holds one. */
enum { BORDER = ' ' };

/* Lower-cased letter, digit or '_' of an ASCII character; 0: not part of a word. */
#define LOWER(c) [(c) - 'a' + 'A'] = (c), [c] = (c)
static const uint8_t in_word[256] = {
    LOWER('a'),  LOWER('b'),  LOWER('c'),  LOWER('d'),  LOWER('e'),  LOWER('f'),  LOWER('g'),  LOWER('h'),
    LOWER('i'),  LOWER('j'),  LOWER('k'),  LOWER('l'),  LOWER('m'),  LOWER('n'),  LOWER('o'),  LOWER('p'),
    LOWER('q'),  LOWER('r'),  LOWER('s'),  LOWER('t'),  LOWER('u'),  LOWER('v'),  LOWER('w'),  LOWER('x'),
    LOWER('y'),  LOWER('z'),  ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['_'] = '_'};

typedef struct reader {
    weirp_counter *c;
    unsigned shift; /* of a hash, to half of the buckets */
    uint32_t half;  /* where the buckets of characters begin */
    uintptr_t table, char_table; /* entries of the buckets, which are sent for: both halves' */
    unsigned char_min, char_max, word_max;
    uint64_t before[MAX_WORD_ORDER]; /* hashes of the last tokens, newest first */
    unsigned n_before;
    uint32_t alone[2]; /* the ideographs just before, newest first; 0: none */
    size_t n;          /* characters of the word */
    uint32_t word[MAX_WORD + 2];
} reader;

/* Counts one more of `bucket` and lists it when it is the first; the list's new length. Without a branch, for which
 * terms are new can't be foreseen. */
static inline size_t bump(uint8_t *restrict count, uint32_t *restrict list, size_t n, uint32_t bucket, uintptr_t table) {
    uint8_t before = count[bucket];
    __builtin_prefetch((const void *)(table + bucket * sizeof(weirp_bucket)), 0, 2);
    list[n] = bucket;
    count[bucket] = (uint8_t)(before + (before != MAX_COUNT));
    return n + (before == 0);
}

static inline void bump_word(reader *r, uint64_t hash) {
    r->c->n_words = bump(r->c->count, r->c->words, r->c->n_words, (uint32_t)(hash >> r->shift), r->table);
}

static inline void bump_chars(reader *r, uint64_t hash) {
    r->c->n_chars = bump(r->c->count + r->half, r->c->chars, r->c->n_chars, (uint32_t)(hash >> r->shift), r->char_table);
}

/* Counts a token and the n-grams that end with it. Only the upper halves of hashes are combined: they are the ones that
 * are random. */
static inline void token(reader *r, uint64_t hash) {
    const uint64_t *key = r->c->key + 1;
    size_t n_words = r->c->n_words;
    bump_word(r, hash);
    r->c->n_tokens++;
    r->c->n_distinct += r->c->n_words - n_words;
    uint64_t sum = (hash >> 32) * key[0];
    for (unsigned i = 0; i < r->n_before; i++) {
        sum += (r->before[i] >> 32) * key[i + 1];
        bump_word(r, sum);
    }
    if (r->word_max < 2) return;
    for (unsigned i = r->word_max - 2; i > 0; i--) r->before[i] = r->before[i - 1];
    r->before[0] = hash;
    if (r->n_before < r->word_max - 1) r->n_before++;
}

/* All n-grams of orders lo..hi of text (n), the longer ones from the shorter ones' sums. */
static inline void grams(reader *r, const uint32_t *text, size_t n, unsigned lo, unsigned hi) {
    const uint64_t *key = r->c->key;
    for (size_t at = 0; at + lo <= n; at++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < lo; i++) sum += text[at + i] * key[i];
        bump_chars(r, sum);
        size_t most = n - at < hi ? n - at : hi;
        for (size_t i = lo; i < most; i++) {
            sum += text[at + i] * key[i];
            bump_chars(r, sum);
        }
    }
}

/* The usual orders, with nothing left to decide or to load again within the loop. */
static inline void grams_3_to_5(reader *r, const uint32_t *restrict text, size_t n) {
    weirp_counter *c = r->c;
    const uint64_t k0 = c->key[0], k1 = c->key[1], k2 = c->key[2], k3 = c->key[3], k4 = c->key[4];
    uint8_t *restrict count = c->count + r->half;
    uint32_t *restrict list = c->chars;
    const unsigned shift = r->shift;
    const uintptr_t table = r->char_table;
    size_t at = 0, listed = c->n_chars;
    for (; at + 5 <= n; at++) {
        uint64_t sum = text[at] * k0 + text[at + 1] * k1 + text[at + 2] * k2;
        listed = bump(count, list, listed, (uint32_t)(sum >> shift), table);
        sum += text[at + 3] * k3;
        listed = bump(count, list, listed, (uint32_t)(sum >> shift), table);
        sum += text[at + 4] * k4;
        listed = bump(count, list, listed, (uint32_t)(sum >> shift), table);
    }
    for (; at + 3 <= n; at++) {
        uint64_t sum = text[at] * k0 + text[at + 1] * k1 + text[at + 2] * k2;
        listed = bump(count, list, listed, (uint32_t)(sum >> shift), table);
        if (at + 4 > n) break;
        sum += text[at + 3] * k3;
        listed = bump(count, list, listed, (uint32_t)(sum >> shift), table);
    }
    c->n_chars = listed;
}

static inline void end_word(reader *r) {
    if (!r->n) return;
    size_t n = r->n;
    uint64_t hash = n * r->c->key[MAX_WORD];
    for (size_t i = 1; i <= n; i++) hash += r->word[i] * r->c->key[i - 1];
    token(r, hash);
    r->word[n + 1] = BORDER;
    if (r->char_min == 3 && r->char_max == 5)
        grams_3_to_5(r, r->word, n + 2);
    else
        grams(r, r->word, n + 2, r->char_min, r->char_max);
    r->n = 0;
    r->alone[0] = 0;
}

static void append(reader *r, uint32_t c) {
    if (r->n == MAX_WORD) end_word(r);
    r->word[++r->n] = c;
}

static void ideograph(reader *r, uint32_t c) {
    end_word(r);
    token(r, c * r->c->key[0] + r->c->key[MAX_WORD]);
    bump_chars(r, c * r->c->key[1]);
    if (r->alone[0]) {
        bump_chars(r, r->alone[0] * r->c->key[0] + c * r->c->key[1]);
        if (r->alone[1]) bump_chars(r, r->alone[1] * r->c->key[0] + r->alone[0] * r->c->key[1] + c * r->c->key[2]);
    }
    r->alone[1] = r->alone[0];
    r->alone[0] = c;
}

/* The key after the words' own: "?" and a word of one letter never meet. */
static inline void symbol(reader *r, uint32_t c) {
    end_word(r);
    r->alone[0] = 0;
    token(r, c * r->c->key[MAX_WORD + 1]);
}

static size_t wide(reader *r, const unsigned char *at, size_t len) {
    uint32_t folded[MAX_FOLDED];
    size_t size, n;
    switch (weirp_char_read(at, len, &size, folded, &n)) {
    case CHAR_SPACE: end_word(r), r->alone[0] = 0; break;
    case CHAR_IGNORED: break;
    case CHAR_LETTER:
        for (size_t i = 0; i < n; i++) append(r, folded[i]);
        break;
    case CHAR_ALONE: ideograph(r, folded[0]); break;
    case CHAR_SYMBOL: symbol(r, folded[0]); break;
    }
    return size;
}

static void read_piece(reader *r, const char *text, size_t len) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t at = 0; at < len;) {
        uint8_t lower = in_word[p[at]];
        if (lower) {
            append(r, lower);
            at++;
            /* the rest of the word in a loop of its own: most characters are here */
            size_t n = r->n;
            while (at < len && n < MAX_WORD && (lower = in_word[p[at]])) r->word[++n] = lower, at++;
            r->n = n;
        } else if (p[at] >= 0x80) {
            at += wide(r, p + at, len - at);
        } else if (p[at] <= ' ' || p[at] == 0x7f) {
            end_word(r);
            r->alone[0] = 0;
            at++;
        } else {
            symbol(r, p[at++]);
        }
    }
    end_word(r);
    r->n_before = 0;
    r->alone[0] = 0;
}

void weirp_counter_keys(weirp_counter *c) {
    for (unsigned i = 0; i < MAX_WORD + 2; i++) c->key[i] = weirp_mix64(UINT64_C(0x7465787400000000) + i) | 1;
}

void weirp_count_terms(const weirp_featurizer *f, weirp_counter *c, const char *prompt, size_t len) {
    const weirp_text_options *o = &f->options;
    c->n_words = c->n_chars = c->n_tokens = c->n_distinct = 0;
    reader r = {.c = c,
                .shift = 65 - o->bucket_bits,
                .half = (uint32_t)(f->n_buckets / 2),
                .table = (uintptr_t)f->table,
                .char_table = (uintptr_t)f->table + f->n_buckets / 2 * sizeof *f->table,
                .char_min = o->char_min,
                .char_max = o->char_max,
                .word_max = o->word_max};
    r.word[0] = BORDER;
    if (len <= WEIRP_TEXT_WINDOW) {
        read_piece(&r, prompt, len);
        return;
    }
    const char *tail = prompt + len - WEIRP_TEXT_WINDOW / 2;
    size_t skip = weirp_to_char(tail, WEIRP_TEXT_WINDOW / 2);
    read_piece(&r, prompt, weirp_whole_chars(prompt, WEIRP_TEXT_WINDOW / 2));
    read_piece(&r, tail + skip, WEIRP_TEXT_WINDOW / 2 - skip);
}

double weirp_distinct_share(const weirp_counter *c) {
    return c->n_tokens ? (double)c->n_distinct / (double)c->n_tokens : 1;
}

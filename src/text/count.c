/* count.c: how many characters of which kind. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#include "src/text/parts.h"

/* Eight counters a byte wide in one word, so that an ASCII character is one table look-up and one addition; emptied
 * before any can run over. */
enum { LANE_DIGIT, LANE_UPPER, LANE_LOWER, LANE_PUNCTUATION, LANE_CODE, LANE_MATH, LANE_SPACE, LANE_QUESTION, N_LANES };
#define ONE(lane) (UINT64_C(1) << (8 * (lane)))
enum { BATCH = 255 };

#define D ONE(LANE_DIGIT)
#define U ONE(LANE_UPPER)
#define L ONE(LANE_LOWER)
#define S ONE(LANE_SPACE)
#define P ONE(LANE_PUNCTUATION)
#define C (P + ONE(LANE_CODE))
#define M (P + ONE(LANE_MATH))
#define B (C + ONE(LANE_MATH))
#define Q (P + ONE(LANE_QUESTION))

static const uint64_t ascii[128] = {S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    S,
                                    /*sp!"#$%&'  ()*+,-./ */ S,
                                    P,
                                    P,
                                    C,
                                    M,
                                    M,
                                    C,
                                    P,
                                    C,
                                    C,
                                    M,
                                    M,
                                    P,
                                    M,
                                    P,
                                    M,
                                    /*0-9       :;<=>?    */ D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    D,
                                    P,
                                    C,
                                    B,
                                    B,
                                    B,
                                    Q,
                                    /*@ A-O               */ C,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    /*P-Z       [\]^_     */ U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    U,
                                    C,
                                    B,
                                    C,
                                    M,
                                    C,
                                    /*` a-o               */ C,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    /*p-z       {|}~ del  */ L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    L,
                                    C,
                                    C,
                                    C,
                                    C,
                                    S};

#undef D
#undef U
#undef L
#undef S
#undef P
#undef C
#undef M
#undef B
#undef Q

/* Whole numbers while one piece is read. */
typedef struct tally {
    size_t chars, words, newlines, uppers, latins, cjk, others, spaces, digits, punctuation, code, math, questions;
    bool in_word;
} tally;

static size_t count_ascii(tally *t, const unsigned char *p, size_t len) {
    size_t at = 0;
    while (at < len && p[at] < 0x80) {
        size_t end = len - at < BATCH ? len : at + BATCH, begin = at, words = 0, newlines = 0;
        uint64_t sums = 0, before = t->in_word;
        for (; at < end && p[at] < 0x80; at++) {
            uint64_t kind = ascii[p[at]], visible = ~(kind >> (8 * LANE_SPACE)) & 1;
            sums += kind;
            words += visible & ~before;
            newlines += p[at] == '\n';
            before = visible;
        }
        t->chars += at - begin;
        t->words += words;
        t->newlines += newlines;
        t->in_word = before;
        t->digits += sums >> (8 * LANE_DIGIT) & 255;
        t->uppers += sums >> (8 * LANE_UPPER) & 255;
        t->latins += (sums >> (8 * LANE_LOWER) & 255) + (sums >> (8 * LANE_UPPER) & 255);
        t->punctuation += sums >> (8 * LANE_PUNCTUATION) & 255;
        t->code += sums >> (8 * LANE_CODE) & 255;
        t->math += sums >> (8 * LANE_MATH) & 255;
        t->spaces += sums >> (8 * LANE_SPACE) & 255;
        t->questions += sums >> (8 * LANE_QUESTION) & 255;
    }
    return at;
}

static bool is_cjk(utf8proc_int32_t c) {
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static bool is_latin(utf8proc_int32_t c) {
    return (c >= 0xc0 && c <= 0x24f) || (c >= 0x1e00 && c <= 0x1eff) || (c >= 0xff21 && c <= 0xff5a);
}

static bool is_math(utf8proc_int32_t c) {
    return c == 0xac || c == 0xb1 || c == 0xd7 || c == 0xf7 || (c >= 0x2190 && c <= 0x22ff) ||
           (c >= 0x27c0 && c <= 0x27ef) || (c >= 0x2980 && c <= 0x2aff);
}

static void count_wide(tally *t, utf8proc_int32_t c) {
    bool visible = true;
    t->chars++;
    if (is_cjk(c)) {
        /* each counts as a word: they stand without spaces */
        t->cjk++, t->words++, t->in_word = true;
        return;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: t->uppers++; /* fall through */
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: is_latin(c) ? t->latins++ : t->others++; break;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: t->others++; break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: t->digits++; break;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC: t->spaces++, visible = false; break;
    default: t->punctuation++;
    }
    if (is_math(c)) t->math++;
    if (c == 0xff1f || c == 0x61f || c == 0x37e || c == 0xbf) t->questions++; /* fullwidth, Arabic, Greek, inverted */
    t->words += visible && !t->in_word;
    t->in_word = visible;
}

static void count_piece(tally *t, const char *text, size_t len) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t at = 0; at < len;) {
        at += count_ascii(t, p + at, len - at);
        while (at < len && p[at] >= 0x80) {
            utf8proc_int32_t c = 0xfffd;
            utf8proc_ssize_t size = utf8proc_iterate(p + at, len - at < 4 ? (utf8proc_ssize_t)(len - at) : 4, &c);
            count_wide(t, size > 0 ? c : 0xfffd);
            at += size > 0 ? (size_t)size : 1;
        }
    }
}

static void add_scaled(weirp_counts *c, const tally *t, double scale) {
    c->chars += scale * (double)t->chars;
    c->spaces += scale * (double)t->spaces;
    c->newlines += scale * (double)t->newlines;
    c->words += scale * (double)t->words;
    c->digits += scale * (double)t->digits;
    c->uppers += scale * (double)t->uppers;
    c->latins += scale * (double)t->latins;
    c->punctuation += scale * (double)t->punctuation;
    c->code += scale * (double)t->code;
    c->math += scale * (double)t->math;
    c->questions += scale * (double)t->questions;
    c->cjk += scale * (double)t->cjk;
    c->others += scale * (double)t->others;
}

/* Beyond the window, at most so much is read: as many slices of this size, evenly spread, stand for the rest. */
enum { SLICES = 64, SLICE = 1024 };

static void count_middle(weirp_counts *out, const char *text, size_t len) {
    tally t = {0};
    if (len <= (size_t)SLICES * SLICE) {
        count_piece(&t, text, len);
        add_scaled(out, &t, 1);
        return;
    }
    size_t read = 0, step = len / SLICES;
    for (size_t i = 0; i < SLICES; i++) {
        const char *slice = text + i * step;
        size_t skip = weirp_to_char(slice, SLICE), whole = weirp_whole_chars(slice, SLICE);
        t.in_word = true; /* a slice begins anywhere: its first word may have begun before */
        if (whole > skip) count_piece(&t, slice + skip, whole - skip), read += whole - skip;
    }
    if (read) add_scaled(out, &t, (double)len / (double)read);
}

void weirp_count_chars(const char *prompt, size_t len, weirp_counts *out) {
    tally t = {0};
    memset(out, 0, sizeof *out);
    if (len <= WEIRP_TEXT_WINDOW) {
        count_piece(&t, prompt, len);
        add_scaled(out, &t, 1);
        return;
    }
    /* in the order of the text, so that counting in one go and in pieces agree where nothing is sampled */
    size_t head = weirp_whole_chars(prompt, WEIRP_TEXT_WINDOW / 2), tail = WEIRP_TEXT_WINDOW / 2;
    tail -= weirp_to_char(prompt + len - tail, tail);
    count_piece(&t, prompt, head);
    if (len - head - tail <= (size_t)SLICES * SLICE) {
        count_piece(&t, prompt + head, len - head);
    } else {
        count_middle(out, prompt + head, len - head - tail);
        count_piece(&t, prompt + len - tail, tail);
    }
    add_scaled(out, &t, 1);
}

/* Tokens as byte-pair vocabularies of about 100,000 entries cut them: measured on no vendor's in particular. */
double weirp_counts_tokens(const weirp_counts *c) {
    double symbols = c->punctuation * 0.8 + c->newlines * 0.5;
    return c->latins / 4.2 + c->digits / 3.0 + c->cjk * 1.0 + c->others / 2.5 + symbols;
}

double weirp_count_tokens(const char *prompt, size_t len) {
    weirp_counts counts;
    weirp_count_chars(prompt, len, &counts);
    return weirp_counts_tokens(&counts);
}

/* count.c: how many characters of which kind. SPDX-License-Identifier: GPL-3.0-or-later */
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
    size_t n[N_KINDS];
    bool in_word;
} tally;

static void add_batch(tally *t, uint64_t sums) {
    static const weirp_kind kinds[N_LANES] = {[LANE_DIGIT] = KIND_DIGIT, [LANE_UPPER] = KIND_UPPER,
                                              [LANE_LOWER] = KIND_LATIN, [LANE_PUNCTUATION] = KIND_PUNCTUATION,
                                              [LANE_CODE] = KIND_CODE,   [LANE_MATH] = KIND_MATH,
                                              [LANE_SPACE] = KIND_SPACE, [LANE_QUESTION] = KIND_QUESTION};
    for (int lane = 0; lane < N_LANES; lane++) t->n[kinds[lane]] += sums >> (8 * lane) & 255;
    t->n[KIND_LATIN] += sums >> (8 * LANE_UPPER) & 255;
}

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
        t->n[KIND_CHAR] += at - begin;
        t->n[KIND_WORD] += words;
        t->n[KIND_NEWLINE] += newlines;
        t->in_word = before;
        add_batch(t, sums);
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
    t->n[KIND_CHAR]++;
    if (is_cjk(c)) {
        /* each counts as a word: they stand without spaces */
        t->n[KIND_CJK]++, t->n[KIND_WORD]++, t->in_word = true;
        return;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: t->n[KIND_UPPER]++; /* fall through */
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: t->n[is_latin(c) ? KIND_LATIN : KIND_OTHER]++; break;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: t->n[KIND_OTHER]++; break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: t->n[KIND_DIGIT]++; break;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC: t->n[KIND_SPACE]++, visible = false; break;
    default: t->n[KIND_PUNCTUATION]++;
    }
    t->n[KIND_MATH] += is_math(c);
    /* fullwidth, Arabic, Greek, inverted */
    t->n[KIND_QUESTION] += c == 0xff1f || c == 0x61f || c == 0x37e || c == 0xbf;
    t->n[KIND_WORD] += visible && !t->in_word;
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

static void add_scaled(double out[N_KINDS], const tally *t, double scale) {
    for (int kind = 0; kind < N_KINDS; kind++) out[kind] += scale * (double)t->n[kind];
}

/* Beyond the window, at most so much is read: as many slices of this size, evenly spread, stand for the rest. */
enum { SLICES = 64, SLICE = 1024 };

static void sample_middle(double out[N_KINDS], const char *text, size_t len) {
    tally t = {0};
    size_t read = 0, step = len / SLICES;
    for (size_t i = 0; i < SLICES; i++) {
        const char *slice = text + i * step;
        size_t skip = weirp_to_char(slice, SLICE), whole = weirp_whole_chars(slice, SLICE);
        t.in_word = true; /* a slice begins anywhere: its first word may have begun before */
        if (whole > skip) count_piece(&t, slice + skip, whole - skip), read += whole - skip;
    }
    if (read) add_scaled(out, &t, (double)len / (double)read);
}

/* Where what follows the last blank line begins; 0: there is none. */
static size_t after_blank_line(const char *text, size_t len) {
    const char *newline;
    for (size_t at = len; at > 0 && (newline = memrchr(text, '\n', at)) != NULL;) {
        at = (size_t)(newline - text);
        if (at >= 1 && text[at - 1] == '\n') return at + 1;
        if (at >= 2 && text[at - 1] == '\r' && text[at - 2] == '\n') return at + 1;
    }
    return 0;
}

/* Characters of the last paragraph, as far as it is within half a window; white space at the end isn't one. */
static double last_paragraph(const char *prompt, size_t len) {
    const char *text = len < WEIRP_TEXT_WINDOW / 2 ? prompt : prompt + len - WEIRP_TEXT_WINDOW / 2;
    size_t end = (size_t)(prompt + len - text), chars = 0;
    while (end > 0 && (unsigned char)text[end - 1] <= ' ') end--;
    for (size_t i = after_blank_line(text, end); i < end; i++) chars += ((unsigned char)text[i] & 0xc0) != 0x80;
    return (double)chars;
}

void weirp_count_chars(const char *prompt, size_t len, weirp_counts *out) {
    memset(out, 0, sizeof *out);
    if (!len) return;
    tally t = {0}, end = {0};
    size_t tail = len < WEIRP_TEXT_TAIL ? len : WEIRP_TEXT_TAIL, body = len - tail;
    if (body) body += weirp_to_char(prompt + body, tail), tail = len - body;
    size_t head = weirp_whole_chars(prompt, WEIRP_TEXT_WINDOW / 2 < body ? WEIRP_TEXT_WINDOW / 2 : body);
    size_t late = len < WEIRP_TEXT_WINDOW ? head : len - WEIRP_TEXT_WINDOW / 2;
    late += weirp_to_char(prompt + late, len - late);
    if (late > head && late - head > (size_t)SLICES * SLICE) {
        count_piece(&t, prompt, head);
        sample_middle(out->whole, prompt + head, late - head);
        count_piece(&t, prompt + late, body - late);
    } else {
        count_piece(&t, prompt, body);
    }
    end.in_word = t.in_word;
    count_piece(&end, prompt + body, tail);
    add_scaled(out->whole, &t, 1);
    add_scaled(out->whole, &end, 1);
    add_scaled(out->tail, &end, 1);
    out->last_paragraph = last_paragraph(prompt, len);
}

/* Tokens as byte-pair vocabularies of about 100,000 entries cut them: measured on no vendor's in particular. */
double weirp_counts_tokens(const weirp_counts *c) {
    const double *n = c->whole;
    return n[KIND_LATIN] / 4.2 + n[KIND_DIGIT] / 3.0 + n[KIND_CJK] * 1.0 + n[KIND_OTHER] / 2.5 +
           n[KIND_PUNCTUATION] * 0.8 + n[KIND_NEWLINE] * 0.5;
}

double weirp_count_tokens(const char *prompt, size_t len) {
    weirp_counts counts;
    weirp_count_chars(prompt, len, &counts);
    return weirp_counts_tokens(&counts);
}

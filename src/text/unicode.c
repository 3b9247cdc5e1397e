/* unicode.c: what a character is, by utf8proc's tables. SPDX-License-Identifier: GPL-3.0-or-later */
#include <utf8proc.h>

#include "src/text/parts.h"

/* Han and kana, as they stand in text: a word each. Hangul isn't among them, for Korean puts spaces between words. */
static bool stands_alone(uint32_t c) {
    if (c < 0x3040) return c >= 0x2e80 && c < 0x2fe0;
    return c <= 0x30ff || (c >= 0x31f0 && c <= 0x31ff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static weirp_char_kind kind_of(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CHAR_LETTER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC: return CHAR_SPACE;
    case UTF8PROC_CATEGORY_CF: return CHAR_IGNORED;
    default: return CHAR_SYMBOL;
    }
}

weirp_char_kind weirp_char_read(const unsigned char *at, size_t len, size_t *size, uint32_t *folded, size_t *n) {
    utf8proc_int32_t c;
    utf8proc_ssize_t read = utf8proc_iterate(at, len < 4 ? (utf8proc_ssize_t)len : 4, &c);
    *n = 1;
    if (read <= 0) {
        *size = 1;
        folded[0] = 0xfffd;
        return CHAR_SYMBOL;
    }
    *size = (size_t)read;
    folded[0] = (uint32_t)c;
    /* most of what isn't ASCII in CJK text needs no table */
    if (c >= 0x4e00 && c <= 0x9fff) return CHAR_ALONE;
    if (c >= 0x3040 && c <= 0x30ff) return c == 0x3099 || c == 0x309a ? CHAR_IGNORED : CHAR_ALONE;
    if (c >= 0xac00 && c <= 0xd7a3) return CHAR_LETTER;
    weirp_char_kind kind = kind_of((uint32_t)c);
    if (kind == CHAR_SPACE || kind == CHAR_IGNORED) return kind;
    utf8proc_int32_t parts[MAX_FOLDED];
    int boundary = 0;
    utf8proc_ssize_t got = utf8proc_decompose_char(
        c, parts, MAX_FOLDED, UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE, &boundary);
    if (got == 0) return CHAR_IGNORED;
    if (got > 0 && got <= MAX_FOLDED) {
        *n = (size_t)got;
        for (size_t i = 0; i < *n; i++) folded[i] = (uint32_t)parts[i];
    }
    return kind == CHAR_LETTER && stands_alone(folded[0]) ? CHAR_ALONE : kind;
}

/* Bytes of the character that `lead` begins; 1 for what begins none. */
static size_t promised(unsigned char lead) {
    return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
}

size_t weirp_whole_chars(const char *text, size_t len) {
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if ((c & 0xc0) != 0x80) return promised(c) > back ? len - back : len;
    }
    return len;
}

size_t weirp_to_char(const char *text, size_t len) {
    size_t skip = 0;
    while (skip < 3 && skip < len && ((unsigned char)text[skip] & 0xc0) == 0x80) skip++;
    return skip;
}

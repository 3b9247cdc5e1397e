/* words.c: UTF-8 through utf8proc, numbers through strtod in the C locale, slips by edit distance.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/base/words.h"

/* Characters are mostly ASCII: eight at a time while no byte has its high bit. */
static size_t ascii_run(const char *text, size_t len) {
    size_t at = 0;
    for (uint64_t eight; at + 8 <= len; at += 8) {
        memcpy(&eight, text + at, 8);
        if (eight & 0x8080808080808080u) break;
    }
    while (at < len && !(text[at] & 0x80)) at++;
    return at;
}

size_t weirp_utf8_valid(const char *text, size_t len) {
    size_t at = 0;
    if (!len) return 0; /* NULL is an empty text, and isn't added to */
    for (;;) {
        at += ascii_run(text + at, len - at);
        if (at == len) return at;
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(len - at), &c);
        if (n <= 0) return at;
        at += (size_t)n;
    }
}

size_t weirp_utf8_repair(char *out, const char *text, size_t len) {
    size_t at = 0, n = 0;
    while (at < len) {
        size_t good = weirp_utf8_valid(text + at, len - at);
        memcpy(out + n, text + at, good);
        at += good;
        n += good;
        if (at == len) break;
        memcpy(out + n, "\xef\xbf\xbd", 3);
        at++;
        n += 3;
    }
    out[n] = '\0';
    return n;
}

size_t weirp_utf8_put(char *out, unsigned character) {
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)character, (utf8proc_uint8_t *)out);
}

int weirp_hex4(const char *digits) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = digits[i], low = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            value = value * 16 + (low - 'a' + 10);
        else
            return -1;
    }
    return value;
}

const char *weirp_excerpt(char *out, size_t size, const char *text, size_t len) {
    bool cut = len >= size;
    size_t n = cut ? size - 4 : len;
    while (cut && n && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    memcpy(out + n, "...", cut ? 3 : 0);
    out[n + (cut ? 3 : 0)] = '\0';
    return out;
}

size_t weirp_copy_text(char *out, size_t size, const char *text) {
    size_t len = strlen(text), n = len < size ? len : size - 1;
    if (!size) return len;
    memcpy(out, text, n);
    out[n] = '\0';
    return len;
}

bool weirp_number_parse(const char *text, size_t len, double *out) {
    char buffer[128];
    if (!len || len >= sizeof buffer) return false;
    for (size_t i = 0; i < len; i++) {
        if (!strchr("0123456789+-.eE", text[i]) || !text[i]) return false;
        buffer[i] = text[i];
    }
    buffer[len] = '\0';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's own constant: no allocation */
    if (!c) return false;
    char *end = buffer;
    *out = strtod_l(buffer, &end, c);
    freelocale(c);
    return end == buffer + len;
}

enum { LONGEST_WORD = 63 };

/* Edits (insert, delete, replace, swap of neighbours) from a to b, letter case aside: the "optimal string alignment"
 * distance (Boytsov: Indexing methods for approximate dictionary searching, 2011, section 2). */
static size_t edits(const char *a, size_t n, const char *b, size_t m) {
    size_t rows[3][LONGEST_WORD + 1];
    for (size_t j = 0; j <= m; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            size_t best = above[j - 1] + (x != y);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swapped =
                i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]);
            if (swapped && above2[j - 2] + 1 < best) best = above2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *weirp_suggest(const char *word, const char *const *names, size_t n) {
    size_t len = strlen(word);
    if (!len || len > LONGEST_WORD) return NULL;
    const char *best = NULL;
    size_t least = len / 3 + 2; /* up to a third of the letters, and one more */
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(names[i]);
        if (m > LONGEST_WORD) continue;
        size_t d = edits(word, len, names[i], m);
        if (d < least && d < m) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

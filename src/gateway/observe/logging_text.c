/* logging_text.c: times, numbers and texts without stdio, which takes locks and minds locales.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/gateway/observe/logging_text.h"

enum { LEAST_FRONT = 8 };

/* ---- secrets ---- */

static unsigned pair_of(const char *text) {
    return (unsigned)(unsigned char)text[0] << 8 | (unsigned char)text[1];
}

static void set_pair(weirp_secrets *s, unsigned pair) {
    atomic_fetch_or_explicit(&s->pairs[pair / 64], (uint64_t)1 << pair % 64, memory_order_release);
}

weir_status weirp_secrets_add(weirp_secrets *s, const char *secret, weir_error *err) {
    size_t len = strlen(secret);
    if (!len) return weirp_fail(err, WEIR_INVALID, 0, "an empty secret can't be hidden");
    weirp_secret *first = atomic_load_explicit(&s->first, memory_order_relaxed);
    for (const weirp_secret *known = first; known; known = known->next)
        if (known->len == len && !memcmp(known->text, secret, len)) return WEIR_OK;
    weirp_secret *node = malloc(sizeof *node + len + 1);
    if (!node) return weirp_nomem(err);
    node->len = len;
    node->next = first;
    memcpy(node->text, secret, len + 1);
    atomic_store_explicit(&s->first, node, memory_order_release);
    for (unsigned second = 0; len == 1 && second < 256; second++)
        set_pair(s, (unsigned)(unsigned char)*secret << 8 | second);
    if (len > 1) set_pair(s, pair_of(secret)); /* after the secret: who sees the bit sees it */
    return WEIR_OK;
}

void weirp_secrets_free(weirp_secrets *s) {
    weirp_secret *node = atomic_load(&s->first);
    while (node) {
        weirp_secret *next = node->next;
        explicit_bzero(node->text, node->len);
        free(node);
        node = next;
    }
    atomic_store(&s->first, NULL);
}

size_t weirp_secrets_at(const weirp_secrets *s, const char *text, size_t len, size_t at) {
    unsigned pair = pair_of(text + at);
    if (!(atomic_load_explicit(&s->pairs[pair / 64], memory_order_acquire) >> pair % 64 & 1)) return 0;
    size_t left = len - at, longest = 0;
    for (const weirp_secret *n = atomic_load_explicit(&s->first, memory_order_acquire); n; n = n->next) {
        size_t take = n->len <= left ? n->len : left;
        bool enough = n->len <= left || left >= LEAST_FRONT;
        if (enough && take > longest && !memcmp(n->text, text + at, take)) longest = take;
    }
    return longest;
}

void weirp_secrets_clean(const weirp_secrets *s, char *text, size_t size) {
    static const char mark[] = "[secret]";
    enum { MARK = sizeof mark - 1 };
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at++) {
        size_t hidden = weirp_secrets_at(s, text, len, at);
        if (!hidden) continue;
        size_t rest = at + hidden, kept = len - rest, room = size - 1 - at;
        size_t put = MARK < room ? MARK : room;
        if (kept > room - put) kept = room - put;
        memmove(text + at + put, text + rest, kept);
        memcpy(text + at, mark, put);
        len = at + put + kept;
        text[len] = 0;
        at += put - (put > 0);
    }
    text[weirp_utf8_valid(text, len)] = 0; /* a character may have been cut */
}

/* ---- text ---- */

void weirp_line_put(weirp_line *line, const char *bytes, size_t n) {
    if (line->full || n > (size_t)(line->end - line->at)) {
        line->full = true;
        return;
    }
    memcpy(line->at, bytes, n);
    line->at += n;
}

/* Bytes of ASCII that stand for themselves. */
static const bool *plain_table(void) {
    static const bool plain[256] = {
#define ROW(from) [from...(from) + 15] = true
        ROW(0x20), ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60), ROW(0x70),
#undef ROW
    };
    return plain;
}

static void escape(weirp_line *line, unsigned c) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', digits[c >> 12 & 15], digits[c >> 8 & 15], digits[c >> 4 & 15], digits[c & 15]};
    char letter = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c == '"' || c == '\\' ? (char)c : 0;
    text[1] = letter ? letter : 'u';
    weirp_line_put(line, text, letter ? 2 : 6);
}

/* One character that isn't plain; gives its bytes. Beyond ASCII, C1 controls, line and paragraph separators and what
 * turns the direction of writing would let a text pretend to be something else on a terminal. */
static size_t special(weirp_line *line, const char *text, size_t len) {
    unsigned char c = (unsigned char)*text;
    if (c < 0x80) {
        escape(line, c);
        return 1;
    }
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (n > len || weirp_utf8_valid(text, n) != n) {
        weirp_line_put(line, "\xef\xbf\xbd", 3);
        return 1;
    }
    unsigned code = n == 2 ? (c & 0x1fu) << 6 | ((unsigned char)text[1] & 0x3fu)
                    : n == 3
                        ? (c & 0x0fu) << 12 | ((unsigned char)text[1] & 0x3fu) << 6 | ((unsigned char)text[2] & 0x3fu)
                        : 0x10000;
    bool hidden = code < 0xa0 || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                  code == 0x200e || code == 0x200f || code == 0xfeff;
    if (hidden)
        escape(line, code);
    else
        weirp_line_put(line, text, n);
    return n;
}

void weirp_line_text(weirp_line *line, const char *text, size_t len) {
    const bool *plain = plain_table();
    bool secrets = atomic_load_explicit(&line->secrets->first, memory_order_relaxed);
    for (size_t at = 0; at < len && !line->full;) {
        size_t start = at, hidden = 0;
        while (at < len && plain[(unsigned char)text[at]] && text[at] != '"' && text[at] != '\\' && text[at] != 0x7f &&
               !(secrets && (hidden = weirp_secrets_at(line->secrets, text, len, at))))
            at++;
        size_t room = (size_t)(line->end - line->at);
        if (at - start > room) { /* as much as fits */
            weirp_line_put(line, text + start, room);
            line->full = true;
            return;
        }
        weirp_line_put(line, text + start, at - start);
        if (at == len) return;
        if (!hidden && secrets) hidden = weirp_secrets_at(line->secrets, text, len, at);
        if (hidden) weirp_line_put(line, "[secret]", 8);
        at += hidden ? hidden : special(line, text + at, len - at);
    }
}

/* ---- numbers ---- */

static size_t digits_of(char *out, uint64_t x) { /* out: 20 bytes */
    char back[20];
    size_t n = 0;
    do back[n++] = (char)('0' + x % 10);
    while (x /= 10);
    for (size_t i = 0; i < n; i++) out[i] = back[n - 1 - i];
    return n;
}

void weirp_line_int(weirp_line *line, int64_t x) {
    char text[21];
    uint64_t size = x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    text[0] = '-';
    size_t n = digits_of(text + 1, size);
    weirp_line_put(line, x < 0 ? text : text + 1, x < 0 ? n + 1 : n);
}

/* x > 0 as a six-digit whole number times 10^(*exponent - 5). The scaling may round once more than printf would: the
 * sixth digit can be off by one where x lies in the middle between two. */
static uint64_t six_digits(double x, int *exponent) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int e = (int)floor(log10(x));
    for (;;) {
        int up = 5 - e;
        double scaled;
        if (up >= 0)
            scaled = up <= 22 ? x * tens[up] : x * 1e22 * pow(10, up - 22);
        else
            scaled = -up <= 22 ? x / tens[-up] : x / pow(10, -up);
        uint64_t six = (uint64_t)(scaled + 0.5);
        if (six >= 100000 && six < 1000000) {
            *exponent = e;
            return six;
        }
        e += six < 100000 ? -1 : 1; /* log10 was off by a hair, or rounding up gave a seventh digit */
    }
}

/* `n` significant digits, exponent as in d.ddd * 10^e. */
static size_t fixed_point(char *out, const char *digit, size_t n, int e) {
    size_t at = 0;
    if (e < 0) {
        memcpy(out, "0.", 2);
        at = 2;
        for (int i = -1; i > e; i--) out[at++] = '0';
    }
    for (size_t i = 0; i < n || (int)i <= e; i++) {
        if (i && (int)i == e + 1) out[at++] = '.';
        out[at++] = i < n ? digit[i] : '0';
    }
    return at;
}

void weirp_line_real(weirp_line *line, double x) {
    char out[40], digit[20];
    size_t at = 0;
    int e;
    if (isnan(x) || isinf(x)) {
        weirp_line_put(line, "null", 4);
        return;
    }
    if (x == 0) {
        weirp_line_put(line, "0", 1);
        return;
    }
    if (x < 0) out[at++] = '-';
    size_t n = digits_of(digit, six_digits(fabs(x), &e));
    while (n > 1 && digit[n - 1] == '0') n--;
    if (e >= -5 && e < 15) {
        at += fixed_point(out + at, digit, n, e);
    } else {
        at += fixed_point(out + at, digit, n, 0);
        out[at++] = 'e';
        out[at++] = e < 0 ? '-' : '+';
        int size = e < 0 ? -e : e;
        if (size < 10) out[at++] = '0';
        at += digits_of(out + at, (uint64_t)size);
    }
    weirp_line_put(line, out, at);
}

/* ---- time ---- */

static void two(char *out, unsigned x) {
    out[0] = (char)('0' + x / 10 % 10);
    out[1] = (char)('0' + x % 10);
}

/* gmtime_r takes the lock of the time zone. Days to a date as in H. Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms", civil_from_days: years begin in March, eras have 400 years. */
void weirp_line_time(weirp_line *line, int64_t unix_ms) {
    char text[] = "0000-00-00T00:00:00.000Z";
    if (unix_ms < 0) unix_ms = 0;
    unsigned ms = (unsigned)(unix_ms % 1000), s = (unsigned)(unix_ms / 1000 % 86400);
    uint64_t days = (uint64_t)unix_ms / 86400000 + 719468;
    unsigned era = (unsigned)(days / 146097), day = (unsigned)(days % 146097);
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned of_year = day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153;
    unsigned date = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    two(text, year / 100);
    two(text + 2, year);
    two(text + 5, month);
    two(text + 8, date);
    two(text + 11, s / 3600);
    two(text + 14, s / 60 % 60);
    two(text + 17, s % 60);
    text[20] = (char)('0' + ms / 100);
    two(text + 21, ms);
    weirp_line_put(line, text, sizeof text - 1);
}

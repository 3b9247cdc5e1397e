/* jline.c: a reader of JSON (RFC 8259) into a flat list. SPDX-License-Identifier: GPL-3.0-or-later */
#include "datasets/jline.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"

/* ---- numbers ---- */

enum { MAX_DIGITS = 19, MAX_POWER = 27 };

/* 10^k is exact in 64 bits of mantissa up to k = 27 (5^27 < 2^63). */
static const long double power[MAX_POWER + 1] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                                 1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                                 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};

/* digits * 10^exponent, if that takes one rounding only, or two of which the second can't go wrong. */
static bool scale(uint64_t digits, int exponent, double *out) {
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22) {
        *out = exponent < 0 ? (double)digits / exact[-exponent] : (double)digits * exact[exponent];
        return true;
    }
#if LDBL_MANT_DIG == 64
    if (exponent < -MAX_POWER || exponent > MAX_POWER) return false;
    long double v = exponent < 0 ? (long double)digits / power[-exponent] : (long double)digits * power[exponent];
    /* v is within half a unit of its 64 bits; the 53 of a double follow from it unless it lies in the middle of two */
    uint64_t mantissa;
    memcpy(&mantissa, &v, sizeof mantissa);
    uint64_t low = mantissa & 0x7ff;
    if (low >= 0x3ff && low <= 0x401) return false;
    *out = (double)v;
    return *out >= DBL_MIN; /* below, a double has fewer bits */
#else
    (void)power;
    return false;
#endif
}

/* Eight bytes at a time: what follows holds for the little-endian machines that weir is tested on, and big ones take
 * the loops behind it. */
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { EIGHTS = 1 };
#else
enum { EIGHTS = 0 };
#endif

static inline uint64_t load8(const char *s) {
    uint64_t v;
    memcpy(&v, s, sizeof v);
    return v;
}

/* Whether all eight are digits: upper halves are 3, and stay so when 6 is added. */
static inline bool are_digits(uint64_t v) {
    return ((v & (v + 0x0606060606060606u)) & 0xf0f0f0f0f0f0f0f0u) == 0x3030303030303030u;
}

/* Their value: neighbours become pairs, pairs fours, fours the whole. */
static inline uint64_t value8(uint64_t v) {
    v -= 0x3030303030303030u;
    v = v * 10 + (v >> 8);
    v = (v & 0x00ff00ff00ff00ffu) * 100 + ((v >> 16) & 0x00ff00ff00ff00ffu);
    v = (v & 0x0000ffff0000ffffu) * 10000 + ((v >> 32) & 0x0000ffff0000ffffu);
    return v & 0xffffffffu;
}

/* Takes digits up to something else; *n counts from the first that isn't 0. False: too many. */
static inline bool take_digits(const char **at, const char *end, uint64_t *digits, int *n) {
    const char *s = *at;
    if (!*digits)
        while (s < end && *s == '0') s++;
    while (EIGHTS && end - s >= 8 && *n <= MAX_DIGITS - 8 && are_digits(load8(s))) {
        *digits = *digits * 100000000 + value8(load8(s));
        *n += 8;
        s += 8;
    }
    for (; s < end && *s >= '0' && *s <= '9'; s++) {
        if (++*n > MAX_DIGITS) return false;
        *digits = *digits * 10 + (uint64_t)(*s - '0');
    }
    *at = s;
    return true;
}

bool weirp_fast_number(const char *text, size_t len, double *out) {
    const char *s = text, *end = text + len;
    bool minus = len && *s == '-';
    uint64_t digits = 0;
    int n = 0, exponent = 0;
    if (minus) s++;
    const char *from = s;
    if (!take_digits(&s, end, &digits, &n)) return weirp_number_parse(text, len, out);
    size_t n_seen = (size_t)(s - from);
    if (s < end && *s == '.') {
        from = ++s;
        if (!take_digits(&s, end, &digits, &n) || s - from > 300) return weirp_number_parse(text, len, out);
        n_seen += (size_t)(s - from);
        exponent = -(int)(s - from);
    }
    if (!n_seen) return false;
    if (s < end && (*s | 0x20) == 'e') {
        bool less = false;
        int e = 0;
        if (++s < end && (*s == '-' || *s == '+')) less = *s++ == '-';
        if (s == end || end - s > 4) return weirp_number_parse(text, len, out);
        for (; s < end && *s >= '0' && *s <= '9'; s++) e = e * 10 + (*s - '0');
        exponent += less ? -e : e;
    }
    if (s != end) return weirp_number_parse(text, len, out);
    if (!digits)
        *out = 0;
    else if (!scale(digits, exponent, out))
        return weirp_number_parse(text, len, out);
    if (minus) *out = -*out;
    return true;
}

/* ---- the text's structure ---- */

typedef struct reader {
    weirp_jline *j;
    const char *at, *end;
    bool no_memory;
} reader;

static bool fail(reader *r, const char *wrong) {
    if (!r->j->wrong) r->j->wrong = wrong;
    return false;
}

static inline void skip_space(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static inline weirp_jvalue *add(reader *r, weirp_jtype type) {
    weirp_jline *j = r->j;
    if (j->n == j->capacity && !weirp_reserve((void **)&j->value, &j->capacity, j->n + 1, sizeof *j->value)) {
        r->no_memory = true;
        return NULL;
    }
    weirp_jvalue *v = &j->value[j->n++];
    *v = (weirp_jvalue){.type = (uint8_t)type, .start = (uint32_t)(r->at - j->text), .next = (uint32_t)j->n};
    return v;
}

/* Whether one of eight bytes is a quote, a backslash or below 0x20; a byte above 0x7f may look so, too. (Mycroft's test
 * for a zero byte, on each.) */
static inline bool are_special(uint64_t v) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\';
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v)) & highs;
}

/* At the opening quote. */
static bool read_text(reader *r) {
    r->at++;
    weirp_jvalue *v = add(r, WEIRP_JTEXT);
    if (!v) return false;
    const char *from = r->at, *s = from, *end = r->end;
    for (;; s++) {
        while (EIGHTS && end - s >= 8 && !are_special(load8(s))) s += 8;
        while (s < end && *s != '"' && *s != '\\' && (unsigned char)*s >= 0x20) s++;
        r->at = s;
        if (s >= end) return fail(r, "a text doesn't end");
        if (*s == '"') break;
        if (*s != '\\') return fail(r, "a control character in a text");
        v->escaped = true;
        if (++s == end) return fail(r, "a text doesn't end");
    }
    v->len = (uint32_t)(s - from);
    r->at = s + 1;
    return true;
}

static bool read_digits(reader *r) {
    const char *from = r->at;
    while (EIGHTS && r->end - r->at >= 8 && are_digits(load8(r->at))) r->at += 8;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return r->at > from;
}

static bool read_number(reader *r) {
    weirp_jvalue *v = add(r, WEIRP_JNUMBER);
    if (!v) return false;
    const char *from = r->at;
    if (*r->at == '-') r->at++;
    const char *first = r->at;
    if (!read_digits(r) || (*first == '0' && r->at > first + 1)) return fail(r, "a value is expected here");
    if (r->at < r->end && *r->at == '.' && (r->at++, !read_digits(r))) return fail(r, "a number ends too soon");
    if (r->at < r->end && (*r->at | 0x20) == 'e') {
        if (++r->at < r->end && (*r->at == '+' || *r->at == '-')) r->at++;
        if (!read_digits(r)) return fail(r, "a number ends too soon");
    }
    v->len = (uint32_t)(r->at - from);
    return true;
}

static bool read_word(reader *r, const char *word, weirp_jtype type) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return fail(r, "a value is expected here");
    if (!add(r, type)) return false;
    r->j->value[r->j->n - 1].len = (uint32_t)n;
    r->at += n;
    return true;
}

static bool read_scalar(reader *r) {
    switch (*r->at) {
    case '"': return read_text(r);
    case 't': return read_word(r, "true", WEIRP_JTRUE);
    case 'f': return read_word(r, "false", WEIRP_JFALSE);
    case 'n': return read_word(r, "null", WEIRP_JNULL);
    default: return read_number(r);
    }
}

/* A member's name and its colon. */
static bool read_key(reader *r) {
    skip_space(r);
    if (r->at >= r->end || *r->at != '"') return fail(r, "a member's name is expected here");
    if (!read_text(r)) return false;
    skip_space(r);
    if (r->at >= r->end || *r->at != ':') return fail(r, "a colon is expected here");
    r->at++;
    return true;
}

static bool read_values(reader *r) {
    uint32_t open[WEIRP_JLINE_DEPTH];
    size_t depth = 0;
    weirp_jline *j = r->j;
    for (;;) {
        skip_space(r);
        if (r->at >= r->end) return fail(r, "it ends too soon");
        if (*r->at == '{' || *r->at == '[') {
            bool object = *r->at == '{';
            if (depth == WEIRP_JLINE_DEPTH) return fail(r, "more than 64 levels");
            open[depth++] = (uint32_t)j->n;
            if (!add(r, object ? WEIRP_JOBJECT : WEIRP_JARRAY)) return false;
            r->at++;
            skip_space(r);
            if (r->at >= r->end || *r->at != (object ? '}' : ']')) {
                if (object && !read_key(r)) return false;
                continue;
            }
        } else if (!read_scalar(r)) {
            return false;
        }
        /* a value has ended: so may those that it is in */
        for (;;) {
            if (!depth) return true;
            weirp_jvalue *in = &j->value[open[depth - 1]];
            bool object = in->type == WEIRP_JOBJECT;
            skip_space(r);
            if (r->at < r->end && *r->at == ',') {
                r->at++;
                if (object && !read_key(r)) return false;
                break;
            }
            if (r->at >= r->end || *r->at != (object ? '}' : ']'))
                return fail(r, object ? "a comma or a closing brace is expected here"
                                      : "a comma or a closing bracket is expected here");
            r->at++;
            in->next = (uint32_t)j->n;
            in->len = (uint32_t)(r->at - j->text) - in->start;
            depth--;
        }
    }
}

weir_status weirp_jline_parse(weirp_jline *j, char *text, size_t len) {
    reader r = {.j = j, .at = text, .end = text + len};
    j->text = text;
    j->n = 0;
    j->wrong = NULL;
    j->column = 0;
    bool good = len < INT32_MAX ? read_values(&r) : fail(&r, "more than 2 GiB");
    if (r.no_memory) return WEIR_NOMEM;
    if (good) {
        skip_space(&r);
        if (r.at < r.end) good = fail(&r, "something follows its end");
    }
    j->column = (size_t)(r.at - text) + 1;
    return good ? WEIR_OK : WEIR_PARSE;
}

void weirp_jline_free(weirp_jline *j) {
    free(j->value);
    *j = (weirp_jline){0};
}

/* ---- values ---- */

/* The \u at `s` (n bytes left): its character, and how many bytes it takes; 0: it isn't one. Half a surrogate pair is
 * U+FFFD. */
static size_t unicode(const char *s, size_t n, unsigned *c) {
    int unit = n >= 6 ? weirp_hex4(s + 2) : -1;
    if (unit < 0) return 0;
    *c = (unsigned)unit;
    if (unit < 0xd800 || unit > 0xdfff) return 6;
    int low = unit < 0xdc00 && n >= 12 && s[6] == '\\' && s[7] == 'u' ? weirp_hex4(s + 8) : -1;
    bool pair = low >= 0xdc00 && low <= 0xdfff;
    *c = pair ? 0x10000 + ((unsigned)(unit - 0xd800) << 10) + (unsigned)(low - 0xdc00) : 0xfffd;
    return pair ? 12 : 6;
}

/* In place: what an escape stands for is never longer than the escape. */
static bool undo_escapes(char *s, uint32_t *len) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t out = 0;
    for (size_t i = 0; i < *len;) {
        if (s[i] != '\\') {
            s[out++] = s[i++];
            continue;
        }
        if (i + 1 >= *len) return false;
        const char *known = s[i + 1] ? strchr(from, s[i + 1]) : NULL;
        unsigned c = 0;
        size_t n = known ? 2 : s[i + 1] == 'u' ? unicode(s + i, *len - i, &c) : 0;
        if (!n) return false;
        if (known)
            s[out++] = to[known - from];
        else
            out += weirp_utf8_put(s + out, c);
        i += n;
    }
    *len = (uint32_t)out;
    return true;
}

const char *weirp_jline_text(weirp_jline *j, size_t i, size_t *len) {
    weirp_jvalue *v = &j->value[i];
    char *s = j->text + v->start;
    if (v->type != WEIRP_JTEXT && v->type != WEIRP_JNUMBER) return NULL;
    if (v->escaped && !undo_escapes(s, &v->len)) return NULL;
    v->escaped = false;
    if (memchr(s, 0, v->len)) return NULL;
    s[v->len] = '\0';
    if (len) *len = v->len;
    return s;
}

bool weirp_jline_number(const weirp_jline *j, size_t i, double *out) {
    const weirp_jvalue *v = &j->value[i];
    return v->type == WEIRP_JNUMBER && weirp_fast_number(j->text + v->start, v->len, out);
}

size_t weirp_jline_member(weirp_jline *j, size_t object, const char *key, size_t len) {
    if (j->value[object].type != WEIRP_JOBJECT) return WEIRP_JNONE;
    for (size_t i = object + 1; i < j->value[object].next; i = j->value[i + 1].next) {
        const weirp_jvalue *k = &j->value[i];
        if (k->escaped) {
            size_t n;
            const char *s = weirp_jline_text(j, i, &n);
            if (s && n == len && !memcmp(s, key, len)) return i + 1;
        } else if (k->len == len && !memcmp(j->text + k->start, key, len)) {
            return i + 1;
        }
    }
    return WEIRP_JNONE;
}

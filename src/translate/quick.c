/* quick.c: plain JSON into Jansson's values, at a third of what Jansson's own reader takes, which looks at text byte by
 * byte through three layers. Takes a part of JSON only, and leaves all that is wrong or rare to Jansson: what is read
 * here Jansson reads the same way, and what isn't, Jansson judges. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/base.h"
#include "src/base/words.h"
#include "src/translate/quick.h"

/* Beyond, Jansson decides within its caller's limits. 18 digits fit into any json_int_t. */
enum { MAX_DEPTH = 64, MAX_VALUES = 1 << 16, MAX_DIGITS = 18, MAX_NUMBER = 64 };

typedef struct reader {
    const char *at, *end;
    size_t depth, values;
    char *room; /* for strings with escapes */
    size_t capacity;
} reader;

/* The next byte that isn't white space; 0: the end. */
static char next(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
    return r->at < r->end ? *r->at : '\0';
}

/* ---- strings ---- */

#define ALL(byte) (UINT64_C(0x0101010101010101) * (byte))
/* Not zero if any of eight bytes is `byte` (or, harmlessly, some byte after such a one is one more). */
#define ANY(eight, byte) ((((eight) ^ ALL(byte)) - ALL(1)) & ~((eight) ^ ALL(byte)))

/* The first byte from `at` on that is a quote, a backslash, a control character or not ASCII. */
static const char *plain_run(const char *at, const char *end) {
    for (; end - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        if ((eight | (eight - ALL(0x20)) | ANY(eight, '"') | ANY(eight, '\\')) & ALL(0x80)) break;
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\') at++;
    return at;
}

/* "\uXXXX", or a pair of surrogates; *at is after the 'u'. NULL: NUL, or half a pair. */
static char *put_unicode(char *out, const char **at, const char *end) {
    int c = end - *at < 4 ? -1 : weirp_hex4(*at);
    if (c <= 0 || (c >= 0xdc00 && c < 0xe000)) return NULL;
    *at += 4;
    if (c < 0xd800 || c >= 0xe000) return out + weirp_utf8_put(out, (unsigned)c);
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') return NULL;
    int low = weirp_hex4(*at + 2);
    if (low < 0xdc00 || low >= 0xe000) return NULL;
    *at += 6;
    return out + weirp_utf8_put(out, 0x10000u + ((unsigned)(c - 0xd800) << 10) + (unsigned)(low - 0xdc00));
}

/* The text between `at` and `end`, which holds escapes: never longer than it is written. NULL: not for here. */
static json_t *unescape(reader *r, const char *at, const char *end) {
    size_t most = (size_t)(end - at);
    if (!weirp_reserve((void **)&r->room, &r->capacity, most, 1)) return NULL;
    char *out = r->room;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at)), *to = slash ? slash : end;
        memcpy(out, at, (size_t)(to - at));
        out += to - at;
        at = to;
        if (!slash) break;
        at += 2; /* an escaped quote doesn't end a string, so that there is a byte after the backslash */
        switch (slash[1]) {
        case 'n': *out++ = '\n'; break;
        case 't': *out++ = '\t'; break;
        case 'r': *out++ = '\r'; break;
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case '"':
        case '\\':
        case '/': *out++ = slash[1]; break;
        case 'u':
            out = put_unicode(out, &at, end);
            if (!out) return NULL;
            break;
        default: return NULL;
        }
    }
    return json_stringn_nocheck(r->room, (size_t)(out - r->room));
}

/* At the first quote. The string's bytes as they stand, UTF-8 checked; r->at is after it. False: not for here. */
static bool read_text(reader *r, const char **text, size_t *len, bool *escaped) {
    const char *begin = r->at + 1, *at = begin;
    bool odd = false;
    *escaped = false;
    for (;; at++) {
        at = plain_run(at, r->end);
        if (at == r->end) return false;
        if (*at == '"') break;
        if (*at == '\\') {
            *escaped = true;
            if (++at == r->end || (unsigned char)*at >= 128) return false;
        } else {
            odd |= (unsigned char)*at >= 0x80;
            if ((unsigned char)*at < 0x20) return false;
        }
    }
    *text = begin;
    *len = (size_t)(at - begin);
    r->at = at + 1;
    return !odd || weirp_utf8_valid(begin, *len) == *len;
}

static json_t *read_string(reader *r) {
    const char *text;
    size_t len;
    bool escaped;
    if (!read_text(r, &text, &len, &escaped)) return NULL;
    return escaped ? unescape(r, text, text + len) : json_stringn_nocheck(text, len);
}

/* ---- numbers and words ---- */

static json_t *read_number(reader *r) {
    const char *begin = r->at;
    json_int_t value = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && r->at - begin < MAX_DIGITS)
        value = value * 10 + (*r->at++ - '0');
    bool more = r->at < r->end && memchr("0123456789+-.eE", *r->at, 15);
    if (!more && r->at > begin && (*begin != '0' || r->at == begin + 1)) return json_integer(value);
    while (r->at < r->end && memchr("0123456789+-.eE", *r->at, 15)) r->at++;
    size_t len = (size_t)(r->at - begin);
    return len && len <= MAX_NUMBER ? json_loadb(begin, len, JSON_DECODE_ANY, NULL) : NULL;
}

static bool skip_word(reader *r, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) return false;
    r->at += len;
    return true;
}

/* ---- values: as deep as MAX_DEPTH ---- */

static json_t *read_value(reader *r);

static bool read_member(reader *r, json_t *object) {
    const char *key;
    size_t len;
    bool escaped;
    if (next(r) != '"' || !read_text(r, &key, &len, &escaped) || escaped) return false;
    if (next(r) != ':' || json_object_getn(object, key, len)) return false; /* twice: for Jansson to refuse */
    r->at++;
    json_t *value = read_value(r);
    return value && json_object_setn_new_nocheck(object, key, len, value) == 0;
}

/* After the opening brace or bracket. Steals `made`. */
static json_t *read_inside(reader *r, json_t *made, char close) {
    bool good = made && ++r->depth <= MAX_DEPTH;
    if (good && next(r) == close) {
        r->at++;
        r->depth--;
        return made;
    }
    while (good) {
        good = close == '}' ? read_member(r, made) : json_array_append_new(made, read_value(r)) == 0;
        char c = good ? next(r) : '\0';
        if (c) r->at++;
        if (c == close) {
            r->depth--;
            return made;
        }
        good = c == ',';
    }
    json_decref(made);
    return NULL;
}

static json_t *read_value(reader *r) {
    if (++r->values > MAX_VALUES) return NULL;
    switch (next(r)) {
    case '{': r->at++; return read_inside(r, json_object(), '}');
    case '[': r->at++; return read_inside(r, json_array(), ']');
    case '"': return read_string(r);
    case 't': return skip_word(r, "true") ? json_true() : NULL;
    case 'f': return skip_word(r, "false") ? json_false() : NULL;
    case 'n': return skip_word(r, "null") ? json_null() : NULL;
    default: return read_number(r);
    }
}

json_t *weirp_json_quick(const char *text, size_t len) {
    reader r = {.at = text, .end = text + len};
    char first = next(&r);
    json_t *json = first == '{' || first == '[' ? read_value(&r) : NULL;
    if (json && (next(&r), r.at < r.end)) {
        json_decref(json);
        json = NULL;
    }
    free(r.room);
    return json;
}

/* json.c: JSON in and out: parsed by Jansson inside limits, written into writers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/members.h"
#include "src/translate/parts.h"
#include "src/translate/quick.h"

/* Jansson allows 2048 levels and any number of values, each of which costs it some 60 bytes. */
enum { MAX_DEPTH = 128, MAX_VALUES = 1 << 20 };

json_t *weirp_json_parse(const char *text, size_t len, char *what, size_t what_size) {
    json_t *quick = weirp_json_quick(text, len);
    if (quick) return quick;
    size_t depth, values;
    weirp_json_measure(text, len, &depth, &values);
    if (depth > MAX_DEPTH) {
        snprintf(what, what_size, "nested more than %d levels deep", MAX_DEPTH);
        return NULL;
    }
    if (values > MAX_VALUES) {
        snprintf(what, what_size, "more than %d values", MAX_VALUES);
        return NULL;
    }
    if (memchr(text, '\0', len)) { /* no JSON has one; Jansson 2.14 passes over those behind numbers */
        snprintf(what, what_size, "a NUL byte");
        return NULL;
    }
    json_error_t error;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json && what_size) {
        char shown[JSON_ERROR_TEXT_LENGTH]; /* quotes what is near, control characters and all */
        snprintf(what, what_size, "%s at byte %d", weirp_excerpt(shown, sizeof shown, error.text, strlen(error.text)),
                 error.position);
    }
    return json;
}

int64_t weirp_json_count(const json_t *json) {
    if (json_is_integer(json)) return json_integer_value(json) > 0 ? json_integer_value(json) : 0;
    double real = json_is_real(json) ? json_real_value(json) : 0;
    return real >= 1 && real < 9e15 && real == (double)(int64_t)real ? (int64_t)real : 0;
}

static void put_escaped(weirp_writer *w, unsigned char c) {
    static const char *const named[] = {['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r",
                                        ['\t'] = "\\t", ['"'] = "\\\"", ['\\'] = "\\\\"};
    if (c < sizeof named / sizeof named[0] && named[c])
        weirp_put(w, named[c], 2);
    else
        weirp_putf(w, "\\u%04x", c);
}

static void put_valid(weirp_writer *w, const char *text, size_t len) {
    size_t begin = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        weirp_put(w, text + begin, i - begin);
        put_escaped(w, c);
        begin = i + 1;
    }
    weirp_put(w, text + begin, len - begin);
}

void weirp_put_json_text(weirp_writer *w, const char *text, size_t len) {
    weirp_put(w, "\"", 1);
    for (size_t at = 0; at < len;) {
        size_t good = weirp_utf8_valid(text + at, len - at);
        put_valid(w, text + at, good);
        at += good;
        if (at == len) break;
        weirp_put(w, "\xef\xbf\xbd", 3);
        at++;
    }
    weirp_put(w, "\"", 1);
}

void weirp_putf(weirp_writer *w, const char *format, ...) {
    char small[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    char *large = n >= (int)sizeof small ? malloc((size_t)n + 1) : NULL;
    if (n < 0 || (n >= (int)sizeof small && !large)) {
        w->failed = true;
    } else if (large) {
        vsnprintf(large, (size_t)n + 1, format, again);
        weirp_put(w, large, (size_t)n);
    } else {
        weirp_put(w, small, (size_t)n);
    }
    va_end(again);
    free(large);
}

static int dump_chunk(const char *bytes, size_t len, void *writer) {
    weirp_put(writer, bytes, len);
    return ((weirp_writer *)writer)->failed ? -1 : 0;
}

bool weirp_put_json(weirp_writer *w, const json_t *json) {
    if (json_dump_callback(json, dump_chunk, w, JSON_COMPACT | JSON_ENCODE_ANY)) w->failed = true;
    return !w->failed;
}

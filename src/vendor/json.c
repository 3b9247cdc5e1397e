/* json.c: JSON written by hand: an answer is a few hundred bytes, made tens of thousands of times a second; Jansson's
 * tree would cost more than all the rest. Input is read with Jansson. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/words.h"

enum { MAX_DEPTH = 8, MAX_ITEMS = 64 };

void vend_put(weirp_writer *w, const char *text) {
    weirp_put(w, text, strlen(text));
}

void vend_put_int(weirp_writer *w, int64_t v) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do digits[--at] = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0) digits[--at] = '-';
    weirp_put(w, digits + at, sizeof digits - at);
}

void vend_put_escaped(weirp_writer *w, const char *text, size_t len) {
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        weirp_put(w, text + from, i - from);
        from = i + 1;
        char escaped[8];
        const char *letter = c ? strchr("\"\"\\\\\nn\tt\rr\bb\ff", c) : NULL;
        if (letter)
            snprintf(escaped, sizeof escaped, "\\%c", letter[1]);
        else
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        vend_put(w, escaped);
    }
    weirp_put(w, text + from, len - from);
}

void vend_put_quoted(weirp_writer *w, const char *text, size_t len) {
    weirp_put(w, "\"", 1);
    vend_put_escaped(w, text, len);
    weirp_put(w, "\"", 1);
}

void vend_put_member(weirp_writer *w, const char *key, const char *text) {
    vend_put(w, key);
    if (text)
        vend_put_quoted(w, text, strlen(text));
    else
        vend_put(w, "null");
}

void vend_put_format(weirp_writer *w, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0) weirp_put(w, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* ---- values for schemas ---- */

static void sample(weirp_writer *w, const json_t *schema, uint64_t seed, int depth);

static void sample_object(weirp_writer *w, const json_t *schema, uint64_t seed, int depth) {
    const char *key;
    json_t *value;
    size_t n = 0;
    weirp_put(w, "{", 1);
    json_object_foreach(json_object_get(schema, "properties"), key, value) {
        if (n == MAX_ITEMS) break;
        if (n++) weirp_put(w, ",", 1);
        vend_put_quoted(w, key, strlen(key));
        weirp_put(w, ":", 1);
        sample(w, value, weirp_mix64(seed + n), depth + 1);
    }
    weirp_put(w, "}", 1);
}

static void sample_text(weirp_writer *w, uint64_t seed) {
    char piece[VEND_PIECE];
    weirp_put(w, "\"", 1);
    for (size_t i = 0; i < 2 + seed % 3; i++) {
        size_t len = vend_word(piece, seed, i);
        vend_put_escaped(w, piece, len);
    }
    weirp_put(w, "\"", 1);
}

/* "type" is a text, of any case (Gemini's are upper), or an array of them. */
static const char *type_of(const json_t *schema) {
    const json_t *type = json_object_get(schema, "type");
    if (json_is_array(type)) type = json_array_get(type, 0);
    if (json_is_string(type)) return json_string_value(type);
    return json_object_get(schema, "properties") ? "object" : "string";
}

static void sample(weirp_writer *w, const json_t *schema, uint64_t seed, int depth) {
    const json_t *of = json_object_get(schema, "enum");
    const char *type = type_of(schema);
    if (json_array_size(of)) {
        char *text = json_dumps(json_array_get(of, seed % json_array_size(of)), JSON_ENCODE_ANY | JSON_COMPACT);
        vend_put(w, text ? text : "null");
        free(text);
    } else if (depth > MAX_DEPTH) {
        vend_put(w, "null");
    } else if (!strcasecmp(type, "object")) {
        sample_object(w, schema, seed, depth);
    } else if (!strcasecmp(type, "array")) {
        weirp_put(w, "[", 1);
        sample(w, json_object_get(schema, "items"), seed, depth + 1);
        weirp_put(w, "]", 1);
    } else if (!strcasecmp(type, "integer")) {
        vend_put_int(w, (int64_t)(seed % 100));
    } else if (!strcasecmp(type, "number")) {
        vend_put_format(w, "%u.5", (unsigned)(seed % 100));
    } else if (!strcasecmp(type, "boolean")) {
        vend_put(w, seed % 2 ? "true" : "false");
    } else if (!strcasecmp(type, "null")) {
        vend_put(w, "null");
    } else {
        sample_text(w, seed);
    }
}

void vend_sample(weirp_writer *w, const json_t *schema, uint64_t seed) {
    if (json_is_object(schema))
        sample(w, schema, seed, 0);
    else
        vend_put(w, "{}");
}

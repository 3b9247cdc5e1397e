/* members.c: walks over JSON text by its quotes and brackets alone. Never recursive, linear in the text.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "src/translate/members.h"

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

const char *weirp_json_skip_string(const char *at, const char *end) {
    const char *begin = ++at;
    for (const char *quote; at < end && (quote = memchr(at, '"', (size_t)(end - at))) != NULL; at = quote + 1) {
        /* The backslashes before a quote stand behind the quote before it: none is looked at twice. */
        const char *back = quote;
        while (back > begin && back[-1] == '\\') back--;
        if ((quote - back) % 2 == 0) return quote + 1;
        begin = quote + 1;
    }
    return NULL;
}

static const char *skip_container(const char *at, const char *end) {
    size_t depth = 0;
    while (at < end) {
        char c = *at++;
        if (c == '"') {
            at = weirp_json_skip_string(at - 1, end);
            if (!at) return NULL;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0) return at;
        }
    }
    return NULL;
}

const char *weirp_json_skip(const char *at, const char *end) {
    if (at >= end) return NULL;
    if (*at == '"') return weirp_json_skip_string(at, end);
    if (*at == '{' || *at == '[') return skip_container(at, end);
    const char *begin = at;
    while (at < end && !strchr(",:{}[]\" \n\r\t", *at)) at++; /* a NUL ends it, too */
    return at > begin ? at : NULL;
}

void weirp_json_measure(const char *text, size_t len, size_t *depth, size_t *values) {
    const char *at = text, *end = text + len;
    size_t now = 0;
    *depth = 0;
    *values = 1;
    while (at && at < end) {
        switch (*at++) {
        case '"': at = weirp_json_skip_string(at - 1, end); break;
        case '{':
        case '[':
            ++*values;
            if (++now > *depth) *depth = now;
            break;
        case '}':
        case ']': now -= now > 0; break;
        case ',': ++*values; break;
        default: break;
        }
    }
}

void weirp_members_init(weirp_members *m, const char *text, size_t len) {
    *m = (weirp_members){.at = skip_space(text, text + len), .end = text + len};
    if (m->at == m->end || *m->at != '{')
        m->failed = true;
    else
        m->at++;
}

static bool fail(weirp_members *m) {
    m->failed = true;
    return false;
}

bool weirp_members_next(weirp_members *m, weirp_member *out) {
    if (m->failed || m->closed) return false;
    out->begin = m->at;
    const char *at = skip_space(m->at, m->end);
    if (at < m->end && *at == '}' && !m->started) {
        m->at = at + 1;
        m->closed = true;
        return false;
    }
    m->started = true;
    if (at >= m->end || *at != '"') return fail(m);
    out->key = at + 1;
    at = weirp_json_skip_string(at, m->end);
    if (!at) return fail(m);
    out->key_len = (size_t)(at - 1 - out->key);
    at = skip_space(at, m->end);
    if (at >= m->end || *at != ':') return fail(m);
    out->value = skip_space(at + 1, m->end);
    at = weirp_json_skip(out->value, m->end);
    if (!at) return fail(m);
    out->value_len = (size_t)(at - out->value);
    out->end = at = skip_space(at, m->end);
    if (at >= m->end || (*at != ',' && *at != '}')) return fail(m);
    m->at = at + 1;
    m->closed = *at == '}';
    return true;
}

const char *weirp_members_end(const weirp_members *m) {
    return m->at;
}

bool weirp_member_is(const weirp_member *member, const char *key) {
    size_t len = strlen(key);
    if (!memchr(member->key, '\\', member->key_len)) return len == member->key_len && !memcmp(member->key, key, len);
    json_t *text = json_loadb(member->key - 1, member->key_len + 2, JSON_DECODE_ANY, NULL);
    bool same = json_is_string(text) && json_string_length(text) == len && !memcmp(json_string_value(text), key, len);
    json_decref(text);
    return same;
}

const char *weirp_element_next(const char *text, size_t len, const char **at, size_t *element_len) {
    const char *end = text + len;
    bool first = !*at;
    const char *next = skip_space(first ? text : *at, end);
    if (next >= end || *next != (first ? '[' : ',')) return NULL;
    next = skip_space(next + 1, end);
    if (next >= end || *next == ']') return NULL;
    *at = weirp_json_skip(next, end);
    if (!*at) return NULL;
    *element_len = (size_t)(*at - next);
    return next;
}

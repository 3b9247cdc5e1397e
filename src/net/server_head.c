/* server_head.c: heads that two servers in a row could read differently are refused (request smuggling, RFC 9112
 * section 11.2).
 *
 * libmicrohttpd 0.9.75 ends lines at a bare LF, cuts values at a NUL, joins folded lines, takes names that end in a
 * space, and goes by the first of several Content-Length. It hands out names and values where they lie in its read
 * buffer, so that each field must start exactly two bytes (CRLF) after the end of the one before it; a byte that was
 * hidden, joined or cut shows as a gap. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <strings.h>

#include "src/net/server_internal.h"

enum { CRLF = 2, VERSION = 8 }; /* bytes; "HTTP/1.1" */

/* RFC 9110 section 5.6.2 */
static bool is_token(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && !(c && strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return len > 0;
}

static bool is_text(const char *text, size_t len) {
    unsigned bad = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bad |= (c < 32 && c != '\t') || c == 127;
    }
    return !bad;
}

static bool is_name(const char *name, size_t len, const char *wanted) {
    return strlen(wanted) == len && strncasecmp(name, wanted, len) == 0;
}

/* Digits alone. Larger than any limit: UINT64_MAX. */
static bool read_length(const char *text, size_t len, uint64_t *out) {
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        n = n > UINT64_MAX / 16 ? UINT64_MAX / 16 + 1 : n * 10 + (uint64_t)(text[i] - '0');
    }
    *out = n > UINT64_MAX / 16 ? UINT64_MAX : n;
    return len > 0;
}

size_t weirp_head_uri(const char *uri) {
    size_t len = uri ? strlen(uri) : 0;
    return len && is_text(uri, len) && !memchr(uri, ' ', len) && !memchr(uri, '\t', len) ? len : 0;
}

void weirp_head_begin(weirp_head *head, const char *method, const char *uri, size_t uri_len, const char *version) {
    *head = (weirp_head){.next = version + VERSION + CRLF};
    size_t method_len = strlen(method);
    head->bad =
        !is_token(method, method_len) || uri_len == 0 || uri != method + method_len + 1 || version != uri + uri_len + 1;
}

void weirp_head_field(weirp_head *head, const char *name, size_t name_len, const char *value, size_t value_len) {
    if (head->bad) return;
    head->bad = true;
    if (name != head->next || !is_token(name, name_len) || value <= name + name_len) return;
    for (const char *at = name + name_len + 1; at < value; at++)
        if (*at != ' ' && *at != '\t') return;
    if (!is_text(value, value_len)) return;
    head->next = value + value_len + CRLF;

    switch (name_len) { /* of the few that matter here */
    case 4: head->n_host += is_name(name, name_len, "host"); break;
    case 6: head->expects |= is_name(name, name_len, "expect"); break;
    case 14:
        if (!is_name(name, name_len, "content-length")) break;
        head->n_length++;
        if (!read_length(value, value_len, &head->length)) return;
        break;
    case 17:
        if (!is_name(name, name_len, "transfer-encoding")) break;
        head->n_encoding++;
        head->chunked = is_name(value, value_len, "chunked");
        break;
    default: break;
    }
    head->bad = false;
}

const char *weirp_head_end(const weirp_head *head, const char *version, const char *end) {
    bool old = strcmp(version, "HTTP/1.0") == 0;
    if (head->bad || head->next + CRLF != end) return "malformed head";
    if (head->n_host > 1 || (head->n_host == 0 && !old)) return "there must be one Host";
    if (head->n_length > 1) return "more than one Content-Length";
    if (head->n_encoding && head->n_length) return "both Content-Length and Transfer-Encoding";
    if (head->n_encoding > 1 || (head->n_encoding && !head->chunked)) return "unknown Transfer-Encoding";
    if (head->n_encoding && old) return "Transfer-Encoding in HTTP/1.0";
    return NULL;
}

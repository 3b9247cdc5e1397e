/* load_reply.c: HTTP/1.1 answers, as far as a client of the gateway's needs them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/bench/gateway/load.h"

void load_reply_restart(load_reply *r) {
    *r = (load_reply){.body = r->body, .user = r->user};
}

static void header(load_reply *r) {
    if (!strncasecmp(r->line, "content-length:", 15)) {
        r->has_length = true;
        r->left = strtoull(r->line + 15, NULL, 10);
    } else if (!strncasecmp(r->line, "transfer-encoding:", 18)) {
        r->chunked = strcasestr(r->line + 18, "chunked");
    } else if (!strncasecmp(r->line, "connection:", 11)) {
        r->closes = strcasestr(r->line + 11, "close");
    }
}

static load_state after_head(load_reply *r) {
    if (r->status >= 100 && r->status < 200) { /* an interim answer: the real one follows */
        load_reply_restart(r);
        return LOAD_STATUS_LINE;
    }
    if (r->chunked) return LOAD_CHUNK_SIZE;
    if (!r->has_length) return LOAD_UNTIL_CLOSE;
    return r->left ? LOAD_BODY : LOAD_COMPLETE;
}

/* A whole line without its end. */
static load_state line(load_reply *r) {
    char *end;
    switch (r->state) {
    case LOAD_STATUS_LINE:
        if (strncmp(r->line, "HTTP/1.1 ", 9) != 0) return LOAD_BROKEN;
        r->status = atoi(r->line + 9);
        return LOAD_HEADERS;
    case LOAD_HEADERS:
        if (!r->line_len) return after_head(r);
        header(r);
        return LOAD_HEADERS;
    case LOAD_CHUNK_SIZE:
        r->left = strtoull(r->line, &end, 16);
        if (end == r->line) return LOAD_BROKEN;
        return r->left ? LOAD_CHUNK : LOAD_TRAILERS;
    case LOAD_CHUNK_END: return r->line_len ? LOAD_BROKEN : LOAD_CHUNK_SIZE;
    default: return r->line_len ? LOAD_TRAILERS : LOAD_COMPLETE;
    }
}

/* Of a line longer than the buffer the beginning is kept. */
static size_t take_line(load_reply *r, const char *bytes, size_t size) {
    const char *end = memchr(bytes, '\n', size);
    size_t n = end ? (size_t)(end - bytes) : size, room = LOAD_LINE - 1 - r->line_len;
    size_t kept = n < room ? n : room;
    memcpy(r->line + r->line_len, bytes, kept);
    r->line_len += kept;
    if (!end) return n;
    if (r->line_len && r->line[r->line_len - 1] == '\r') r->line_len--;
    r->line[r->line_len] = 0;
    r->state = line(r);
    r->line_len = 0;
    return n + 1;
}

static size_t take_body(load_reply *r, const char *bytes, size_t size) {
    size_t n = r->state == LOAD_UNTIL_CLOSE || size < r->left ? size : (size_t)r->left;
    if (r->body) r->body(r->user, bytes, n);
    if (r->state == LOAD_UNTIL_CLOSE) return n;
    r->left -= n;
    if (!r->left) r->state = r->state == LOAD_CHUNK ? LOAD_CHUNK_END : LOAD_COMPLETE;
    return n;
}

size_t load_reply_feed(load_reply *r, const char *bytes, size_t size) {
    size_t used = 0;
    while (used < size && r->state != LOAD_COMPLETE && r->state != LOAD_BROKEN) {
        bool body = r->state == LOAD_BODY || r->state == LOAD_CHUNK || r->state == LOAD_UNTIL_CLOSE;
        used += (body ? take_body : take_line)(r, bytes + used, size - used);
    }
    return used;
}

/* server_out.c: bytes of a stream on their way to the socket. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "src/net/server_internal.h"

enum { OUT_FIRST = 512, CHUNK_FRAME = 20 }; /* bytes; a frame: 16 hexadecimal digits and twice CRLF */

static bool out_room(weirp_out *out, size_t n) {
    if (out->at && out->len + n > out->capacity) { /* what has gone makes room first */
        memmove(out->data, out->data + out->at, weirp_out_size(out));
        out->len -= out->at;
        out->at = 0;
    }
    if (out->len + n <= out->capacity) return true;
    size_t capacity = out->capacity ? out->capacity : OUT_FIRST;
    while (capacity < out->len + n) capacity *= 2;
    char *data = realloc(out->data, capacity);
    if (!data) return false;
    out->data = data;
    out->capacity = capacity;
    return true;
}

static void out_add(weirp_out *out, const char *bytes, size_t n) {
    memcpy(out->data + out->len, bytes, n);
    out->len += n;
}

bool weirp_out_put(weirp_out *out, const char *bytes, size_t len, bool chunked) {
    if (!len) return true; /* as a chunk it would end the body */
    if (len > SIZE_MAX / 4 || !out_room(out, len + CHUNK_FRAME)) return false;
    if (chunked) {
        char size[CHUNK_FRAME];
        char *end = size + sizeof size, *at = end;
        *--at = '\n';
        *--at = '\r';
        for (size_t n = len; n; n >>= 4) *--at = "0123456789abcdef"[n & 15];
        out_add(out, at, (size_t)(end - at));
    }
    out_add(out, bytes, len);
    if (chunked) out_add(out, "\r\n", 2);
    return true;
}

/* Goes on until all is sent or the socket has said that it is full, for only then is its next edge sure to come. */
weirp_sent weirp_out_send(weirp_out *out, int fd) {
    while (out->at < out->len) {
        ssize_t n = send(fd, out->data + out->at, weirp_out_size(out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            out->at += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return WEIRP_SENT_BLOCKED;
        } else if (errno != EINTR) {
            return WEIRP_SENT_BROKEN;
        }
    }
    weirp_out_free(out);
    return WEIRP_SENT_ALL;
}

void weirp_out_free(weirp_out *out) {
    free(out->data);
    *out = (weirp_out){0};
}

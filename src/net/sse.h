/* sse.h: server-sent events out of bytes that come in any pieces (WHATWG HTML, section 9.2.6).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_SSE_H
#define WEIRP_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/base.h"

typedef struct weirp_sse_event {
    const char *type; /* "event:" field, NOT terminated; type_len 0: none ("message") */
    size_t type_len;
    const char *data; /* NOT terminated; several "data:" lines are joined by LF */
    size_t len;
    const char *id; /* NULL: none */
    size_t id_len;
} weirp_sse_event;

/* Zero-initialise, then set max_event_bytes. Holds at most one unfinished event; nothing is allocated while events come
 * whole. */
typedef struct weirp_sse {
    size_t max_event_bytes; /* 0: 16 MiB */
    weirp_writer held;      /* unfinished event */
    weirp_writer joined;    /* data of several lines */
    bool started, after_cr;
} weirp_sse;

/* A non-OK return stops the feeding and comes back. Everything is borrowed for the length of the call. */
typedef weir_status (*weirp_sse_fn)(void *user, const weirp_sse_event *event, weir_error *err);
/* LF, CRLF and CR end lines; a byte order mark is passed over; comments and events without data are passed over (as the
 * standard says). WEIR_PARSE: an event beyond the limit. */
weir_status weirp_sse_feed(weirp_sse *sse, const char *bytes, size_t len, weirp_sse_fn fn, void *user, weir_error *err);
bool weirp_sse_pending(const weirp_sse *sse); /* bytes of an unfinished event are held: the stream was cut in it */
void weirp_sse_free(weirp_sse *sse);

#endif

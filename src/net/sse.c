/* sse.c: server-sent events by hand, because every byte of every stream goes through here.
 *
 * An event is looked at where it lies if it's whole in the input; only what a piece ends in the middle of is copied. No
 * byte is searched twice: within a piece the next LF and the next CR are each remembered until they are passed, and
 * between pieces only new bytes are searched. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/net/sse.h"

#include <string.h>

#define DEFAULT_MAX_EVENT (16u * 1024 * 1024)
#define KEEP_CAPACITY     (64u * 1024) /* what a long event has taken beyond this is given back */

static void empty(weirp_writer *w) {
    w->size = 0;
    if (w->capacity > KEEP_CAPACITY) weirp_writer_free(w);
}

/* What is held and `len` bytes more. */
static bool fits(const weirp_sse *sse, size_t len) {
    return len <= sse->max_event_bytes && sse->held.size <= sse->max_event_bytes - len;
}

static weir_status too_long(const weirp_sse *sse, weir_error *err) {
    return weirp_fail(err, WEIR_PARSE, 0, "a server-sent event of more than %zu bytes", sse->max_event_bytes);
}

/* ---- one event's lines ---- */

static const char *find(const char *at, const char *end, char c) {
    const char *found = memchr(at, c, (size_t)(end - at));
    return found ? found : end;
}

typedef struct field {
    const char *name, *value;
    size_t name_len, value_len;
} field;

static field split(const char *line, size_t len) {
    const char *colon = memchr(line, ':', len);
    if (!colon) return (field){line, line + len, len, 0};
    size_t name_len = (size_t)(colon - line), at = name_len + 1;
    if (at < len && line[at] == ' ') at++;
    return (field){line, line + at, name_len, len - at};
}

static bool is(const field *f, const char *name, size_t len) {
    return f->name_len == len && !memcmp(f->name, name, len);
}

/* The next line of [*at, end), without its end. */
static size_t take_line(const char **at, const char *end, const char **lf) {
    const char *line = *at;
    if (*lf < line) *lf = find(line, end, '\n');
    const char *cr = memchr(line, '\r', (size_t)(*lf - line));
    const char *stop = cr ? cr : *lf;
    *at = stop;
    if (*at < end) (*at)++;
    if (cr && *at < end && **at == '\n') (*at)++;
    return (size_t)(stop - line);
}

static void join(weirp_sse *sse, weirp_sse_event *e, const field *f) {
    weirp_writer *w = &sse->joined;
    if (!w->size) weirp_put(w, e->data, e->len);
    weirp_put(w, "\n", 1);
    weirp_put(w, f->value, f->value_len);
    e->len = w->size;
}

static weir_status dispatch(weirp_sse *sse, const char *at, size_t len, weirp_sse_fn fn, void *user, weir_error *err) {
    if (len > sse->max_event_bytes) return too_long(sse, err);
    const char *end = at + len, *lf = find(at, end, '\n');
    weirp_sse_event e = {0};
    size_t n_data = 0;
    while (at < end) {
        const char *line = at;
        field f = split(line, take_line(&at, end, &lf));
        if (is(&f, "data", 4)) {
            if (n_data++) {
                join(sse, &e, &f);
            } else {
                e.data = f.value;
                e.len = f.value_len;
            }
        } else if (is(&f, "event", 5)) {
            e.type = f.value;
            e.type_len = f.value_len;
        } else if (is(&f, "id", 2) && !memchr(f.value, '\0', f.value_len)) {
            e.id = f.value;
            e.id_len = f.value_len;
        }
    }
    if (sse->joined.failed) return weirp_nomem(err);
    if (n_data > 1) e.data = (const char *)sse->joined.data;
    weir_status st = n_data ? fn(user, &e, err) : WEIR_OK;
    if (n_data > 1) empty(&sse->joined);
    return st;
}

/* ---- pieces ---- */

/* A stream may start with a byte order mark, in pieces, too. What turns out not to be one is the start of a line.
 * False: not decided yet, and all is taken. */
static bool skip_mark(weirp_sse *sse, const char **bytes, const char *end) {
    static const uint8_t mark[3] = {0xef, 0xbb, 0xbf};
    while (!sse->started && *bytes < end) {
        if ((uint8_t) * *bytes == mark[sse->held.size]) {
            weirp_put(&sse->held, (*bytes)++, 1);
            if (sse->held.size < sizeof mark && !sse->held.failed) continue;
            sse->held.size = 0;
        }
        sse->started = true;
    }
    return sse->started;
}

typedef struct piece {
    const char *end, *lf, *cr; /* next of each at or after `at`; end: none */
} piece;

static const char *next_end(piece *p, const char *at) {
    if (p->lf < at) p->lf = find(at, p->end, '\n');
    if (p->cr < at) p->cr = find(at, p->end, '\r');
    return p->lf < p->cr ? p->lf : p->cr;
}

/* The event ends before `stop`: in the input alone, or in what is held and the input. */
static weir_status finish(weirp_sse *sse, const char *block, const char *stop, weirp_sse_fn fn, void *user,
                          weir_error *err) {
    size_t len = (size_t)(stop - block);
    if (!sse->held.size) return len ? dispatch(sse, block, len, fn, user, err) : WEIR_OK;
    if (!fits(sse, len)) return too_long(sse, err);
    weirp_put(&sse->held, block, len);
    if (sse->held.failed) return weirp_nomem(err);
    weir_status st = dispatch(sse, (const char *)sse->held.data, sse->held.size, fn, user, err);
    empty(&sse->held);
    return st;
}

static weir_status hold(weirp_sse *sse, const char *block, const char *end, weir_error *err) {
    size_t len = (size_t)(end - block);
    if (!fits(sse, len)) return too_long(sse, err);
    weirp_put(&sse->held, block, len);
    return sse->held.failed ? weirp_nomem(err) : WEIR_OK;
}

weir_status weirp_sse_feed(weirp_sse *sse, const char *bytes, size_t len, weirp_sse_fn fn, void *user,
                           weir_error *err) {
    if (!sse->max_event_bytes) sse->max_event_bytes = DEFAULT_MAX_EVENT;
    const char *at = bytes, *end = bytes + len;
    if (!skip_mark(sse, &at, end)) return sse->held.failed ? weirp_nomem(err) : WEIR_OK;
    const char *block = at, *line = at; /* where event and line start, as far as they lie in this piece */
    if (at == end) return WEIR_OK;
    piece p = {end, find(at, end, '\n'), find(at, end, '\r')};
    uint8_t last = sse->held.size ? sse->held.data[sse->held.size - 1] : '\n';
    bool begun = last != '\n' && last != '\r'; /* the line started in an earlier piece */
    while (at < end) {
        bool second = sse->after_cr && *at == '\n'; /* half of a line's end that has been seen */
        sse->after_cr = false;
        if (second) {
            if (block == at && !sse->held.size) block++;
            line = ++at;
            continue;
        }
        const char *stop = next_end(&p, at);
        if (stop == end) break;
        sse->after_cr = *stop == '\r';
        /* A comment between events isn't kept. One that is held is the only line held, for the same reason. */
        bool comment = sse->held.size ? sse->held.data[0] == ':' : line == block && *block == ':';
        if (comment) {
            if (!fits(sse, (size_t)(stop - block))) return too_long(sse, err);
            empty(&sse->held);
            block = stop + 1;
        } else if (stop == line && !begun) {
            weir_status st = finish(sse, block, stop, fn, user, err);
            if (st) return st;
            block = stop + 1;
        }
        begun = false;
        at = line = stop + 1;
    }
    return block < end ? hold(sse, block, end, err) : WEIR_OK;
}

bool weirp_sse_pending(const weirp_sse *sse) {
    return sse->held.size > 0;
}

void weirp_sse_free(weirp_sse *sse) {
    weirp_writer_free(&sse->held);
    weirp_writer_free(&sse->joined);
}

/* send.c: answers on their way out: through the server, or past it, where they are to be slow or broken.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "src/vendor/json.h"
#include "src/vendor/talk.h"

enum {
    MAX_FIELDS = 32,
    RETRY_NS = 5000000,
    CUT_AFTER_NS = 10000000 /* what was written before a cut gets that long to go out */
};

/* ---- heads ---- */

typedef struct head {
    weirp_field fields[MAX_FIELDS];
    size_t n;
    char id[64], retry[48], retry_ms[48];
} head;

static void add(head *h, const char *name, const char *value) {
    if (h->n < MAX_FIELDS) h->fields[h->n++] = (weirp_field){name, value};
}

static void make_head(vend_talk *t, head *h, const char *type, const vend_fault *fault) {
    const vend_rule *r = t->rule;
    h->n = 0;
    add(h, "Content-Type", r && r->content_type ? r->content_type : type ? type : "application/json");
    if (t->has_reply) {
        snprintf(h->id, sizeof h->id, "req_%s", t->reply.id);
        add(h, vend_dialect_of(t->ask.api)->id_header, h->id);
    }
    if (r && r->encoding) add(h, "Content-Encoding", "gzip");
    if (t->ask.api == VEND_GENERATE) fault = NULL; /* Gemini tells the delay in the body alone */
    if (fault && r && !isnan(r->error.retry_after_s)) {
        snprintf(h->retry, sizeof h->retry, "%g", r->error.retry_after_s);
        add(h, "Retry-After", h->retry);
    }
    if (fault && r && !isnan(r->error.retry_after_ms)) {
        snprintf(h->retry_ms, sizeof h->retry_ms, "%g", r->error.retry_after_ms);
        add(h, "retry-after-ms", h->retry_ms);
    }
    const weirp_yaml_pair *pairs = r ? r->headers.items : NULL;
    for (size_t i = 0; r && i < r->headers.n; i++) add(h, pairs[i].key, pairs[i].value);
}

/* ---- past the server ---- */

static bool is_raw(const vend_talk *t) {
    const vend_rule *r = t->rule;
    return r &&
           (r->cut.head != VEND_UNSET || r->cut.bytes != VEND_UNSET || !isnan(r->head_byte_ms) || !isnan(r->drip_ms));
}

/* How many bytes may be out by now, and when the next one may. */
static size_t allowed(const vend_talk *t, uint64_t now_ns, uint64_t *next_ns) {
    bool in_head = t->raw_at < t->raw_head;
    double byte_ns = (in_head ? t->rule->head_byte_ms : t->rule->drip_ms) * 1e6;
    size_t end = t->raw_out.size < t->raw_limit ? t->raw_out.size : t->raw_limit;
    if (isnan(byte_ns) || byte_ns <= 0) return in_head && t->raw_head < end ? t->raw_head : end;
    if (in_head && t->raw_head < end) end = t->raw_head;
    size_t from = in_head ? 0 : t->raw_head;
    double n = (double)(now_ns - t->raw_since_ns) / byte_ns;
    size_t may = n < (double)(end - from) ? from + (size_t)n : end;
    *next_ns = t->raw_since_ns + (uint64_t)((double)(may - from + 1) * byte_ns);
    return may;
}

static void raw_step(vend_talk *t) {
    for (;;) {
        uint64_t now = weirp_monotonic_ns(), next = 0;
        size_t end = t->raw_out.size < t->raw_limit ? t->raw_out.size : t->raw_limit, may = allowed(t, now, &next);
        if (t->raw_at == end) {
            if (t->raw_whole || end == t->raw_limit) vend_talk_break(t, t->raw_reset);
            return; /* more comes with the next piece */
        }
        if (may <= t->raw_at) {
            vend_due_at(t, next, raw_step);
            return;
        }
        ssize_t n =
            send(weirp_call_socket(t->call), t->raw_out.data + t->raw_at, may - t->raw_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            vend_due_at(t, now + RETRY_NS, raw_step);
            return;
        }
        if (n < 0) {
            vend_talk_break(t, false);
            return;
        }
        bool was_head = t->raw_at < t->raw_head;
        t->raw_at += (size_t)n;
        if (was_head && t->raw_at >= t->raw_head) t->raw_since_ns = weirp_monotonic_ns();
    }
}

static const char *reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Whatever";
    }
}

/* `length` SIZE_MAX: chunked. */
static void raw_begin(vend_talk *t, int status, const head *h, size_t length) {
    weirp_writer *w = &t->raw_out;
    t->raw = true;
    t->raw_reset = t->rule->cut.reset;
    t->raw_since_ns = weirp_monotonic_ns();
    vend_put_format(w, "HTTP/1.1 %d %s\r\nConnection: close\r\n", status, reason(status));
    for (size_t i = 0; i < h->n; i++) {
        vend_put(w, h->fields[i].name);
        vend_put(w, ": ");
        vend_put(w, h->fields[i].value);
        vend_put(w, "\r\n");
    }
    if (length == SIZE_MAX)
        vend_put(w, "Transfer-Encoding: chunked\r\n\r\n");
    else
        vend_put_format(w, "Content-Length: %zu\r\n\r\n", length);
    t->raw_head = w->size;
    if (t->rule->cut.head != VEND_UNSET) t->raw_limit = (size_t)t->rule->cut.head;
}

/* The limit on the body's bytes becomes one on those of the connection once they are reached. */
static void raw_body(vend_talk *t, const char *bytes, size_t len) {
    int64_t most = t->rule->cut.bytes;
    if (most != VEND_UNSET && t->raw_limit == SIZE_MAX && t->n_bytes + len >= (uint64_t)most)
        t->raw_limit = t->raw_out.size + (size_t)((uint64_t)most - t->n_bytes);
    weirp_put(&t->raw_out, bytes, len);
    t->n_bytes += len;
}

/* ---- through the server ---- */

static void unzip_broken(weirp_writer *w) {
    for (size_t i = 12; i < w->size && i < 24; i++) w->data[i] ^= 0x5a; /* lengths that don't fit their complement */
}

static void send_zipped(vend_talk *t, int status, const head *h, const char *body, size_t len) {
    weirp_writer zipped = {0};
    vend_gzip_write(&t->gzip, &zipped, body, len, true);
    if (t->rule->encoding == VEND_GZIP_BROKEN) unzip_broken(&zipped);
    if (zipped.failed)
        vend_talk_break(t, true);
    else
        weirp_call_answer(t->call, status, h->fields, h->n, (const char *)zipped.data, zipped.size);
    weirp_writer_free(&zipped);
}

static void answer(vend_talk *t, int status, const head *h, const char *body, size_t len) {
    t->status = status;
    if (is_raw(t)) {
        raw_begin(t, status, h, len);
        raw_body(t, body, len);
        t->raw_whole = true;
        if (t->raw_out.failed)
            vend_talk_break(t, true);
        else
            raw_step(t);
    } else if (t->rule && t->rule->encoding) {
        send_zipped(t, status, h, body, len);
    } else {
        weirp_call_answer(t->call, status, h->fields, h->n, body, len);
    }
}

void vend_send_whole(vend_talk *t, int status, const char *type, const char *body, size_t len) {
    head h;
    make_head(t, &h, type, NULL);
    answer(t, status, &h, body, len);
}

void vend_send_fault(vend_talk *t, vend_fault *fault) {
    weirp_writer body = {0};
    head h;
    vend_fault_settle(fault, t->ask.api);
    vend_dialect_of(t->ask.api)->error(fault, t->has_reply ? t->reply.id : "01refused", &body);
    make_head(t, &h, NULL, fault);
    if (body.failed)
        vend_talk_break(t, true);
    else
        answer(t, fault->status, &h, (const char *)body.data, body.size);
    weirp_writer_free(&body);
}

void vend_send_begin(vend_talk *t, const char *type) {
    head h;
    make_head(t, &h, type, NULL);
    add(&h, "Cache-Control", "no-cache");
    t->status = 200;
    if (is_raw(t)) {
        raw_begin(t, 200, &h, SIZE_MAX);
        raw_step(t);
    } else {
        weirp_call_begin(t->call, 200, h.fields, h.n);
    }
}

static bool send_zipped_piece(vend_talk *t, const char *bytes, size_t len, bool last) {
    weirp_writer zipped = {0};
    vend_gzip_write(&t->gzip, &zipped, bytes, len, last);
    if (t->rule->encoding == VEND_GZIP_BROKEN && t->n_events == 1) unzip_broken(&zipped);
    bool more = zipped.failed || weirp_call_write(t->call, (const char *)zipped.data, zipped.size);
    weirp_writer_free(&zipped);
    return more;
}

bool vend_send_piece(vend_talk *t, const char *bytes, size_t len) {
    if (t->end != VEND_UNDER_WAY) return false;
    if (t->raw) {
        vend_put_format(&t->raw_out, "%zx\r\n", len);
        raw_body(t, bytes, len);
        vend_put(&t->raw_out, "\r\n");
        return t->raw_out.size < t->raw_limit;
    }
    t->n_bytes += len;
    if (t->rule && t->rule->encoding) return send_zipped_piece(t, bytes, len, false);
    return weirp_call_write(t->call, bytes, len);
}

static void cut_now(vend_talk *t) {
    vend_talk_break(t, t->rule->cut.reset);
}

void vend_send_cut(vend_talk *t) {
    if (!t->raw) {
        vend_due_at(t, weirp_monotonic_ns() + CUT_AFTER_NS, cut_now);
        return;
    }
    t->raw_whole = true; /* as far as it goes */
    raw_step(t);
}

void vend_send_end(vend_talk *t) {
    if (t->raw) {
        vend_put(&t->raw_out, "0\r\n\r\n");
        t->raw_whole = true;
        raw_step(t);
        return;
    }
    if (t->rule && t->rule->encoding) send_zipped_piece(t, "", 0, true);
    weirp_call_finish(t->call);
}

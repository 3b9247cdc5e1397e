/* client_answer.c: an answer's head, bytes and end, out of libcurl's callbacks and codes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/net/client_internal.h"

#define MAX_HEAD_BYTES (64u * 1024)        /* status line and headers together; libcurl's own bound is 300 KiB */
#define MAX_HELD_BYTES (32u * 1024 * 1024) /* what one buffer, unpacked, may come to while its fetch is paused */
#define MAX_RETRY_MS   (INT64_C(86400000) * 366)

const char *weirp_fetch_result_text(weirp_fetch_result result) {
    static const char *const texts[] = {
#define TEXT(name, text) text,
        WEIRP_FETCH_TABLE(TEXT)
#undef TEXT
    };
    return (size_t)result < sizeof texts / sizeof *texts ? texts[result] : "failed";
}

static size_t break_off(weirp_fetch *f, weirp_fetch_result why) {
    f->broken = true;
    f->result = why;
    return 0;
}

/* The connection stands (TLS included), new or kept; the request goes out next. Also called again where a kept
 * connection was dead. */
int weirp_fetch_on_connected(void *user, char *peer, char *local, int peer_port, int local_port) {
    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    weirp_fetch *f = user;
    if (f->cancelled) return CURL_PREREQFUNC_ABORT;
    f->connected = weirp_monotonic_ns();
    weirp_fetch_arm(f);
    return CURL_PREREQFUNC_OK;
}

size_t weirp_fetch_on_header(char *line, size_t size, size_t n, void *user) {
    weirp_fetch *f = user;
    n *= size;
    if (f->cancelled || f->broken) return 0;
    f->last = weirp_monotonic_ns();
    if (!f->heard) {
        f->heard = true;
        weirp_fetch_arm(f);
    }
    f->head_bytes += n;
    if (f->head_bytes > MAX_HEAD_BYTES) return break_off(f, WEIRP_FETCH_TOO_LARGE);
    if (f->status || !n || (line[0] != '\r' && line[0] != '\n')) return n; /* a trailer, or not the head's last line */
    long status = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 1) return n;
    f->status = (int)status;
    if (f->o.head) {
        f->busy++;
        f->o.head(f->o.user, f, f->status);
        f->busy--;
    }
    return f->cancelled ? 0 : n;
}

static size_t hold(weirp_fetch *f, const char *bytes, size_t n) {
    if (f->held.size - f->held_at + n > MAX_HELD_BYTES) return break_off(f, WEIRP_FETCH_TOO_LARGE);
    weirp_put(&f->held, bytes, n);
    if (f->held.failed) return break_off(f, WEIRP_FETCH_NOMEM);
    f->curl_paused = false; /* a new connection in place of a dead one has forgotten it */
    weirp_fetch_dirty(f);
    return n;
}

size_t weirp_fetch_on_body(char *bytes, size_t size, size_t n, void *user) {
    weirp_fetch *f = user;
    n *= size;
    if (f->cancelled || f->broken || !n) return 0;
    if (!f->status) return break_off(f, WEIRP_FETCH_PROTOCOL);
    f->last = weirp_monotonic_ns();
    if (f->o.max_bytes && n > f->o.max_bytes - f->received) return break_off(f, WEIRP_FETCH_TOO_LARGE);
    f->received += n;
    if (f->paused || f->held.size) return hold(f, bytes, n);
    if (f->o.data) {
        f->busy++;
        f->o.data(f->o.user, f, bytes, n);
        f->busy--;
    }
    return f->cancelled ? 0 : n;
}

/* ---- the end ---- */

static weirp_fetch_result map_timeout(const weirp_fetch *f) {
    return f->connected ? WEIRP_FETCH_CUT : WEIRP_FETCH_CONNECT_TIMEOUT; /* the kernel's own: our timers end it else */
}

weirp_fetch_result weirp_fetch_map(const weirp_fetch *f, CURLcode code) {
    if (f->broken) return f->result;
    switch (code) {
    case CURLE_OK:
        return f->status ? WEIRP_FETCH_DONE : WEIRP_FETCH_CUT; /* libcurl lets a head end in the middle pass */
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
    case CURLE_INTERFACE_FAILED: return WEIRP_FETCH_CONNECT;
    case CURLE_OPERATION_TIMEDOUT: return map_timeout(f);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED: return WEIRP_FETCH_TLS;
    case CURLE_RECV_ERROR:
        /* libcurl 7.88 has no code of its own for a bad chunk or a head beyond its bounds. */
        if (strcasestr(f->what, "chunk") || strcasestr(f->what, "headers")) return WEIRP_FETCH_PROTOCOL;
        return WEIRP_FETCH_CUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR: return WEIRP_FETCH_CUT;
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer without a status line ("HTTP/0.9") or of another version */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING: return WEIRP_FETCH_PROTOCOL;
    case CURLE_OUT_OF_MEMORY:
        /* Also libcurl 7.88's answer to a head's line of more than 100 KiB. */
        return f->connected && !f->status ? WEIRP_FETCH_PROTOCOL : WEIRP_FETCH_NOMEM;
    default: return WEIRP_FETCH_OTHER;
    }
}

/* ---- the head ---- */

const char *weirp_fetch_header(weirp_fetch *f, const char *name) {
    struct curl_header *h;
    if (!f->status || curl_easy_header(f->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK) return NULL;
    return h->value;
}

int weirp_fetch_status(const weirp_fetch *f) {
    return f->status;
}

bool weirp_fetch_reused(weirp_fetch *f) {
    long n = 0;
    curl_easy_getinfo(f->easy, CURLINFO_NUM_CONNECTS, &n);
    return f->connected && n == 0;
}

/* Digits with an optional fraction, times `unit`; -1: something else. */
static int64_t parse_ms(const char *text, int64_t unit) {
    int64_t whole = 0, fraction = 0, scale = unit;
    if (*text < '0' || *text > '9') return -1;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (whole <= MAX_RETRY_MS) whole = whole * 10 + (*text - '0');
    }
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++) {
            scale /= 10;
            fraction += scale * (*text - '0');
        }
    }
    while (*text == ' ' || *text == '\t') text++;
    if (*text) return -1;
    return whole > MAX_RETRY_MS / unit ? MAX_RETRY_MS : whole * unit + fraction;
}

int64_t weirp_fetch_retry_after_ms(weirp_fetch *f) {
    const char *text = weirp_fetch_header(f, "retry-after-ms");
    int64_t ms = text ? parse_ms(text, 1) : -1;
    if (ms >= 0) return ms;
    text = weirp_fetch_header(f, "Retry-After");
    if (!text) return -1;
    ms = parse_ms(text, 1000);
    /* curl_getdate also takes numbers and half dates; a date has a weekday's letter first and a colon in its time. */
    if (ms >= 0 || !strchr(text, ':') || *text < 'A') return ms;
    time_t when = curl_getdate(text, NULL);
    if (when < 0) return -1;
    int64_t left = (int64_t)when * 1000 - weirp_unix_ms();
    return left < 0 ? 0 : left > MAX_RETRY_MS ? MAX_RETRY_MS : left;
}

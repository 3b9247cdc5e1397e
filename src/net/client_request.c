/* client_request.c: a fetch's easy handle: what is set once, what is set for each request.
 *
 * An easy handle costs some 5 KiB and its settings some microseconds, so each fetch keeps its own and comes back from
 * a free list. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/net/client_internal.h"

/* libcurl sends a body of less than 64 KiB in one piece with the head, from the pointer, and asks for larger ones as
 * the socket takes them (MAX_INITIAL_POST_SIZE in lib/http.c). Those come from a callback that can refuse, because a
 * body may be let go of while libcurl is on the stack. */
#define LARGE_BODY (64u * 1024 - 1)
/* libcurl waits for "100 Continue" from 1 MiB on, unless told otherwise. */
#define EXPECT_BODY (1024u * 1024)
/* A stream isn't asked for packed: that delays events and costs a window each. It's unpacked where it comes. */
#define PACKED             "gzip, deflate"
#define PLAIN              "identity"
#define BUFFER_BYTES       16384L
#define SMALL_BUFFER_BYTES 1024L /* the least that libcurl takes; an event is mostly shorter */

static size_t on_read(char *out, size_t size, size_t n, void *user) {
    weirp_fetch *f = user;
    size_t room = size * n, left = f->o.body_len - f->body_at;
    if (f->cancelled) return CURL_READFUNC_ABORT;
    if (room > left) room = left;
    memcpy(out, f->o.body + f->body_at, room);
    f->body_at += room;
    return room;
}

/* A kept connection that turned out dead: the body is sent again over a new one. */
static int on_seek(void *user, curl_off_t offset, int origin) {
    weirp_fetch *f = user;
    if (f->cancelled || origin != SEEK_SET || offset < 0 || (size_t)offset > f->o.body_len) return CURL_SEEKFUNC_FAIL;
    f->body_at = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        if ((code = curl_easy_setopt(f->easy, option, value)) != CURLE_OK) return code;                                \
    } while (0)

static CURLcode set_callbacks(weirp_fetch *f) {
    CURLcode code;
    SET(CURLOPT_PRIVATE, f);
    SET(CURLOPT_ERRORBUFFER, f->what);
    SET(CURLOPT_HEADERFUNCTION, weirp_fetch_on_header);
    SET(CURLOPT_HEADERDATA, f);
    SET(CURLOPT_WRITEFUNCTION, weirp_fetch_on_body);
    SET(CURLOPT_WRITEDATA, f);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, f);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, f);
    SET(CURLOPT_PREREQFUNCTION, weirp_fetch_on_connected);
    SET(CURLOPT_PREREQDATA, f);
    SET(CURLOPT_OPENSOCKETFUNCTION, weirp_client_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, f);
    SET(CURLOPT_CLOSESOCKETFUNCTION, weirp_client_close_socket);
    SET(CURLOPT_CLOSESOCKETDATA, f->client);
    return CURLE_OK;
}

static CURLcode set_once(weirp_fetch *f) {
    CURLcode code = set_callbacks(f);
    if (code) return code;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_SHARE, f->client->share);
    SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    SET(CURLOPT_ACCEPT_ENCODING, PACKED); /* what comes packed is unpacked */
    if (f->client->no_proxy) SET(CURLOPT_PROXY, "");
    /* libcurl keeps the parsed certificates for all connections only where they come from one file alone; the folder
     * that some systems build in would cost each connection milliseconds and a megabyte. */
    const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
    if (f->client->ca_file) SET(CURLOPT_CAINFO, f->client->ca_file);
    if (f->client->ca_file || built->cainfo) SET(CURLOPT_CAPATH, NULL);
    return CURLE_OK;
}

/* Switching back and forth resets what the other kind has set, so it's done only where the kind changes. */
static CURLcode set_method(weirp_fetch *f, const weirp_fetch_options *o) {
    CURLcode code;
    const char *method = o->method ? o->method : o->body ? "POST" : "GET", *custom = NULL;
    enum fetch_kind kind = o->body ? KIND_POST : KIND_GET;
    if (!strcmp(method, "POST")) {
        kind = KIND_POST;
    } else if (!strcmp(method, "HEAD")) {
        kind = KIND_HEAD;
    } else if (strcmp(method, "GET") != 0 || o->body) {
        custom = method;
    }
    if (kind != f->kind) {
        SET(CURLOPT_NOBODY, 0L);
        if (kind == KIND_GET) SET(CURLOPT_HTTPGET, 1L);
        if (kind == KIND_POST) SET(CURLOPT_POST, 1L);
        if (kind == KIND_HEAD) SET(CURLOPT_NOBODY, 1L);
        f->kind = kind;
    }
    if (custom || f->custom) {
        SET(CURLOPT_CUSTOMREQUEST, custom);
        free(f->custom);
        f->custom = NULL;
        if (custom && !(f->custom = weirp_strndup(custom, strlen(custom)))) return CURLE_OUT_OF_MEMORY;
    }
    return CURLE_OK;
}

/* Given as text, libcurl 7.88 takes the address apart and puts it together again for each request. */
static CURLcode set_url(weirp_fetch *f, const char *url) {
    CURLcode code;
    SET(CURLOPT_CURLU, NULL);
    SET(CURLOPT_URL, url);
    curl_url_cleanup(f->parsed);
    f->parsed = curl_url();
    free(f->url);
    f->url = weirp_strndup(url, strlen(url));
    if (!f->parsed || !f->url) return CURLE_OUT_OF_MEMORY;
    /* What it can't take apart it refuses when the request is made. */
    if (curl_url_set(f->parsed, CURLUPART_URL, url, 0) == CURLUE_OK) SET(CURLOPT_CURLU, f->parsed);
    return CURLE_OK;
}

static CURLcode set_request(weirp_fetch *f, const weirp_fetch_options *o) {
    CURLcode code = set_method(f, o);
    if (code) return code;
    if (!f->url || strcmp(f->url, o->url) != 0) code = set_url(f, o->url);
    if (code) return code;
    if (f->kind == KIND_POST) {
        f->large_body = o->body && o->body_len > LARGE_BODY;
        SET(CURLOPT_POSTFIELDS, f->large_body ? NULL : o->body ? o->body : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(o->body ? o->body_len : 0));
    }
    if (o->ca_file || f->own_ca) {
        const curl_version_info_data *built = curl_version_info(CURLVERSION_NOW);
        const char *other = f->client->ca_file ? f->client->ca_file : built->cainfo;
        SET(CURLOPT_CAINFO, o->ca_file ? o->ca_file : other);
        SET(CURLOPT_CAPATH, o->ca_file || other ? NULL : built->capath);
        f->own_ca = o->ca_file != NULL;
    }
    SET(CURLOPT_HTTPHEADER, f->fields);
    if (o->small_buffers != f->small) {
        SET(CURLOPT_BUFFERSIZE, o->small_buffers ? SMALL_BUFFER_BYTES : BUFFER_BYTES);
        f->small = o->small_buffers;
    }
    return CURLE_OK;
}
#undef SET

static bool names(const char *header, const char *name) {
    size_t len = strlen(name);
    return !strncasecmp(header, name, len) && (header[len] == ':' || header[len] == ';');
}

/* Copies the headers into one block and strings libcurl's list together on it. */
static weir_status copy_headers(weirp_fetch *f, const weirp_fetch_options *o, weir_error *err) {
    static char no_expect[] = "Expect:", no_type[] = "Content-Type:", agent[] = "User-Agent: weir/" WEIR_VERSION;
    static char packed[] = "Accept-Encoding: " PACKED, plain[] = "Accept-Encoding: " PLAIN;
    bool has_type = false, has_agent = false, has_encoding = false;
    size_t size = 0, n = 0, at = 0;
    for (size_t i = 0; i < o->n_headers; i++) {
        const char *h = o->headers[i];
        size_t len = strcspn(h, "\r\n");
        if (h[len]) return weirp_fail(err, WEIR_INVALID, 0, "a request header holds a line break");
        if (!memchr(h, ':', len)) return weirp_fail(err, WEIR_INVALID, 0, "a request header has no colon");
        size += len + 1;
        has_type |= names(h, "Content-Type");
        has_agent |= names(h, "User-Agent");
        has_encoding |= names(h, "Accept-Encoding");
    }
    if (!weirp_reserve((void **)&f->text, &f->text_capacity, size, 1) ||
        !weirp_reserve((void **)&f->fields, &f->fields_capacity, o->n_headers + 4, sizeof *f->fields))
        return weirp_nomem(err);
    for (size_t i = 0; i < o->n_headers; i++) {
        size_t len = strlen(o->headers[i]) + 1;
        f->fields[n++].data = memcpy(f->text + at, o->headers[i], len);
        at += len;
    }
    /* libcurl writes a header of ours once, and its own twice, byte by byte. */
    if (!has_agent) f->fields[n++].data = agent;
    if (!has_encoding) f->fields[n++].data = o->small_buffers ? plain : packed;
    /* A name without a value takes libcurl's own header away. */
    if (o->body_len >= EXPECT_BODY) f->fields[n++].data = no_expect;
    if (!has_type) f->fields[n++].data = no_type;
    for (size_t i = 0; i < n; i++) f->fields[i].next = i + 1 < n ? &f->fields[i + 1] : NULL;
    return WEIR_OK;
}

weir_status weirp_fetch_prepare(weirp_fetch *f, const weirp_fetch_options *o, weir_error *err) {
    if (!o->url || (strncasecmp(o->url, "http://", 7) != 0 && strncasecmp(o->url, "https://", 8) != 0))
        return weirp_fail(err, WEIR_INVALID, 0, "%s: not an http or https address", o->url ? o->url : "(none)");
    if (o->body_len && !o->body) return weirp_fail(err, WEIR_INVALID, 0, "a request body has a length but no bytes");
    weir_status st = copy_headers(f, o, err);
    if (st) return st;
    CURLcode code = set_request(f, o);
    if (code == CURLE_OUT_OF_MEMORY) return weirp_nomem(err);
    if (code) return weirp_fail(err, WEIR_INVALID, 0, "%s: %s", o->url, curl_easy_strerror(code));
    f->o = *o;
    f->o.method = f->o.url = NULL;
    f->o.headers = NULL;
    return WEIR_OK;
}

weirp_fetch *weirp_fetch_new(weirp_client *client, weir_error *err) {
    weirp_fetch *f = weirp_array(1, sizeof *f);
    if (!f) return weirp_nomem(err), NULL;
    f->client = client;
    f->easy = curl_easy_init();
    CURLcode code = f->easy ? set_once(f) : CURLE_OUT_OF_MEMORY;
    if (!code) return f;
    if (code == CURLE_OUT_OF_MEMORY)
        weirp_nomem(err);
    else
        weirp_fail(err, WEIR_NET, 0, "libcurl: %s", curl_easy_strerror(code));
    weirp_fetch_free(f);
    return NULL;
}

void weirp_fetch_free(weirp_fetch *f) {
    if (!f) return;
    if (f->easy) curl_easy_cleanup(f->easy);
    curl_url_cleanup(f->parsed);
    weirp_timer_free(f->timer);
    weirp_writer_free(&f->held);
    free(f->text);
    free(f->fields);
    free(f->url);
    free(f->custom);
    free(f);
}

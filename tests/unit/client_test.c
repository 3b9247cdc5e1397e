/* The client against servers that misbehave, many at once, cancelled in each handler, paused against a fast sender.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "src/net/client.h"

/* ---- a server in a thread, a thread a connection ---- */

/* gzip of 143 and of 200,000 bytes. */
static const char gzip_text[] =
    "\037\213\010\000\000\000\000\000\002\003\313\110\315\311\311\327\121\310\030\014\124\122\145\052"
    "\000\346\337\344\310\217\000\000\000";
static const char gzip_zeros[] =
    "\037\213\010\000\000\000\000\000\002\003\355\301\061\001\000\000\000\302\240\365\117\155\006\177"
    "\240\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000"
    "\000\000\200\327\000\173\130\340\134\100\015\003\000";

#define HEAD      "HTTP/1.1 200 OK\r\n"
#define BIG_BYTES ((size_t)24 << 20)

enum then { KEEP, CLOSE, RESET, SILENT, DRIP, BIG, ECHO, STALE };

static const struct script {
    const char *path, *answer;
    size_t len; /* 0: NUL-terminated */
    enum then then;
} scripts[] = {
    {"/ok", HEAD "Content-Length: 5\r\nX-Twice: one\r\nx-twice: two\r\n\r\nhello", 0, KEEP},
    {"/stale", HEAD "Content-Length: 5\r\n\r\nhello", 0, STALE},
    {"/500", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 0, KEEP},
    {"/302", "HTTP/1.1 302 Elsewhere\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/early", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" HEAD "Content-Length: 2\r\n\r\nok", 0, KEEP},
    {"/chunks", HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n", 0, KEEP},
    {"/until-close", HEAD "\r\nall of it", 0, CLOSE},
    {"/short", HEAD "Content-Length: 10\r\n\r\nhello", 0, CLOSE},
    {"/chunk-cut", HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0, CLOSE},
    {"/chunk-bad", HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", 0, SILENT},
    {"/head-bad", "what is this\r\n\r\n", 0, SILENT},
    {"/head-no-colon", HEAD "no colon here\r\n\r\n", 0, SILENT},
    {"/head-cut", HEAD "Content-Le", 0, CLOSE},
    {"/nothing", "", 0, CLOSE},
    {"/reset", "", 0, RESET},
    {"/reset-in-body", HEAD "Content-Length: 10\r\n\r\nhello", 0, RESET},
    {"/silent", "", 0, SILENT},
    {"/silent-body", HEAD "Content-Length: 10\r\n\r\nhello", 0, SILENT},
    {"/drip", HEAD "\r\n", 0, DRIP},
    {"/gzip-bad", HEAD "Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!", 0, KEEP},
    {"/encoding-bad", HEAD "Content-Encoding: secret\r\nContent-Length: 3\r\n\r\nabc", 0, KEEP},
    {"/gzip", gzip_text, sizeof gzip_text - 1, CLOSE},
    {"/gzip-zeros", gzip_zeros, sizeof gzip_zeros - 1, CLOSE},
    {"/retry-s", "HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/retry-half", "HTTP/1.1 429 No\r\nRetry-After: 1.5\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/retry-ms", "HTTP/1.1 429 No\r\nRetry-After: 7\r\nretry-after-ms: 250\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/retry-bad", "HTTP/1.1 429 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/retry-past", "HTTP/1.1 429 No\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n", 0,
     KEEP},
    {"/retry-huge", "HTTP/1.1 429 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", 0, KEEP},
    {"/retry-date", NULL, 0, KEEP},
    {"/big", HEAD "\r\n", 0, BIG},
    {"/echo", NULL, 0, ECHO},
};

typedef struct server {
    int fd, port;
    pthread_t thread;
    atomic_int accepted, closed; /* closed: by the client */
    atomic_int turn;             /* of the test; what an earlier one left is not counted */
    atomic_bool expect;          /* a request asked for 100-continue */
    atomic_bool sent_all;
} server;

static server srv;

static bool put_all(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_big(int fd) {
    static char block[65536];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (char)(i * 7 % 251);
    for (size_t at = 0; at < BIG_BYTES; at += sizeof block) {
        if (!put_all(fd, block, sizeof block)) return false;
    }
    atomic_store(&srv.sent_all, true);
    return false; /* closed at the end: no length was given */
}

static bool drip(int fd) {
    while (put_all(fd, ".", 1)) usleep(20000);
    return false;
}

/* Waits until the client closes. */
static void wait_close(int fd, const char *request) {
    char rest[4096];
    const char *turn = strstr(request, "\r\nX-Turn: ");
    while (recv(fd, rest, sizeof rest, 0) > 0) continue;
    if (turn && atoi(turn + 10) == atomic_load(&srv.turn)) atomic_fetch_add(&srv.closed, 1);
}

static bool answer(int fd, const char *request, const char *body, size_t body_len) {
    const struct script *s = scripts;
    const char *path = strchr(request, ' ') + 1;
    size_t path_len = strcspn(path, " ");
    while (strlen(s->path) != path_len || memcmp(s->path, path, path_len) != 0) {
        if (++s == scripts + sizeof scripts / sizeof *scripts) return false;
    }
    char head[256] = "";
    if (s->then == ECHO) {
        snprintf(head, sizeof head, HEAD "Content-Length: %zu\r\n\r\n", body_len);
        return put_all(fd, head, strlen(head)) && put_all(fd, body, body_len);
    }
    if (!s->answer) {
        time_t when = time(NULL) + 60;
        struct tm tm;
        strftime(head, sizeof head,
                 "HTTP/1.1 503 No\r\nRetry-After: %a, %d %b %Y %H:%M:%S GMT\r\nContent-Length: 0\r\n\r\n",
                 gmtime_r(&when, &tm));
        return put_all(fd, head, strlen(head));
    }
    if (s->len) {
        snprintf(head, sizeof head, HEAD "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", s->len);
        if (!put_all(fd, head, strlen(head))) return false;
    }
    if (!put_all(fd, s->answer, s->len ? s->len : strlen(s->answer))) return false;
    if (s->then == SILENT) wait_close(fd, request);
    if (s->then == RESET) {
        usleep(20000); /* so that what was sent is read before the reset overtakes it */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    }
    if (s->then == DRIP) return drip(fd);
    if (s->then == BIG) return send_big(fd);
    return s->then == KEEP;
}

static void *serve(void *user) {
    int fd = (int)(intptr_t)user;
    size_t capacity = 1 << 20, size = 0;
    char *in = malloc(capacity + 1);
    for (;;) {
        ssize_t n = recv(fd, in + size, capacity - size, 0);
        if (n <= 0) break;
        size += (size_t)n;
        in[size] = '\0';
        char *end = strstr(in, "\r\n\r\n");
        if (!end) continue;
        char *length = strcasestr(in, "\r\nContent-Length:");
        size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0, head = (size_t)(end + 4 - in);
        if (strcasestr(in, "\r\nExpect:")) atomic_store(&srv.expect, true);
        if (head + body > capacity) {
            in = realloc(in, (capacity = head + body) + 1);
            end = in + head - 4;
        }
        if (size < head + body) continue;
        if (!answer(fd, in, in + head, body)) break;
        size = 0;
    }
    free(in);
    close(fd);
    return NULL;
}

static void *accept_all(void *user) {
    (void)user;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    for (;;) {
        int fd = accept(srv.fd, NULL, NULL);
        if (fd < 0) break;
        atomic_fetch_add(&srv.accepted, 1);
        pthread_t thread;
        if (pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd) != 0) close(fd);
    }
    pthread_attr_destroy(&attr);
    return NULL;
}

static int listen_any(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 2048), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* ---- a fetch and what came of it ---- */

enum { AT_NONE, AT_HEAD, AT_DATA, AT_END };

typedef struct trace {
    weirp_fetch *fetch;
    size_t n_heads, n_data, bytes, after_cancel;
    int status, cancel_at, ends;
    bool reused;
    uint64_t sum; /* of the bytes, with their places */
    weirp_fetch_result result;
    char text[256], what[256], header[64];
    int64_t retry_ms;
    struct trace *victim; /* cancelled in the handler that cancel_at names, in place of itself */
    bool again;           /* starts another in `end` */
    size_t pause_every;   /* bytes; resumed by a timer */
    size_t since_pause;
    bool paused;
    size_t while_paused;
    weirp_timer *resume;
    void *body; /* freed when cancelled */
} trace;

static weirp_loop *loop;
static weirp_client *client;
static size_t n_pending;

static void one_done(void) {
    if (--n_pending == 0) weirp_loop_stop(loop);
}

static void cancel(trace *t) {
    weirp_fetch *f = t->fetch;
    assert_non_null(f);
    t->fetch = NULL;
    weirp_fetch_cancel(f);
    free(t->body);
    t->body = NULL;
    one_done();
}

static void maybe_cancel(trace *t, int at) {
    if (t->cancel_at != at) return;
    t->cancel_at = AT_NONE;
    cancel(t->victim ? t->victim : t);
}

static void on_head(void *user, weirp_fetch *fetch, int status) {
    trace *t = user;
    t->after_cancel += t->fetch != fetch;
    t->n_heads++;
    t->status = status;
    assert_int_equal(weirp_fetch_status(fetch), status);
    maybe_cancel(t, AT_HEAD);
}

static void on_data(void *user, weirp_fetch *fetch, const char *bytes, size_t len) {
    trace *t = user;
    t->after_cancel += t->fetch != fetch;
    t->n_data++;
    for (size_t i = 0; i < len; i++) t->sum = t->sum * 31 + (uint8_t)bytes[i];
    if (t->bytes + len < sizeof t->text) memcpy(t->text + t->bytes, bytes, len);
    t->bytes += len;
    if (t->paused) t->while_paused += len;
    t->since_pause += len;
    if (t->pause_every && t->since_pause >= t->pause_every) {
        t->since_pause = 0;
        t->paused = true;
        weirp_fetch_pause(fetch);
        weirp_timer_start(t->resume, 1);
    }
    maybe_cancel(t, AT_DATA);
}

static void start(trace *t, const char *path, weirp_fetch_options o);

static void on_end(void *user, weirp_fetch *fetch, weirp_fetch_result result, const char *what) {
    trace *t = user;
    t->after_cancel += t->fetch != fetch;
    t->ends++;
    t->result = result;
    t->reused = weirp_fetch_reused(fetch);
    t->retry_ms = weirp_fetch_retry_after_ms(fetch);
    const char *header = weirp_fetch_header(fetch, "X-TWICE");
    snprintf(t->header, sizeof t->header, "%s", header ? header : "none");
    snprintf(t->what, sizeof t->what, "%s", what);
    weirp_fetch_cancel(fetch); /* nothing is left to cancel: no harm */
    t->fetch = NULL;
    maybe_cancel(t, AT_END);
    if (t->again) {
        t->again = false;
        start(t, "/ok", (weirp_fetch_options){0});
    }
    one_done();
}

static void start_url(trace *t, const char *url, weirp_fetch_options o) {
    o.url = url;
    o.user = t;
    o.head = on_head;
    o.data = on_data;
    o.end = on_end;
    assert_int_equal(weirp_fetch_start(&t->fetch, client, &o, NULL), WEIR_OK);
    n_pending++;
}

static void start(trace *t, const char *path, weirp_fetch_options o) {
    char url[128], turn[32];
    const char *headers[] = {turn};
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", srv.port, path);
    snprintf(turn, sizeof turn, "X-Turn: %d", atomic_load(&srv.turn));
    if (!o.n_headers) {
        o.headers = headers;
        o.n_headers = 1;
    }
    start_url(t, url, o);
}

static void run(void) {
    assert_int_equal(weirp_loop_run(loop, NULL), WEIR_OK);
    assert_int_equal(n_pending, 0);
    assert_int_equal(weirp_client_n_fetches(client), 0);
}

static trace fetch(const char *path, weirp_fetch_options o) {
    trace t = {0};
    start(&t, path, o);
    run();
    assert_int_equal(t.ends, 1);
    assert_int_equal(t.after_cancel, 0);
    return t;
}

static int setup(void **state) {
    (void)state;
    weir_error err = {0};
    atomic_fetch_add(&srv.turn, 1);
    n_pending = 0;
    if (weirp_loop_new(&loop, &err) || weirp_client_new(&client, loop, NULL, &err)) return -1;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weirp_client_free(client);
    weirp_loop_free(loop);
    return 0;
}

/* ---- tests ---- */

static void each_result(void **state) {
    (void)state;
    static const struct {
        const char *path;
        weirp_fetch_result result;
        int status;
        const char *text;
    } cases[] = {
        {"/ok", WEIRP_FETCH_DONE, 200, "hello"},
        {"/500", WEIRP_FETCH_DONE, 500, "no"},
        {"/302", WEIRP_FETCH_DONE, 302, ""},
        {"/early", WEIRP_FETCH_DONE, 200, "ok"},
        {"/chunks", WEIRP_FETCH_DONE, 200, "abcde"},
        {"/until-close", WEIRP_FETCH_DONE, 200, "all of it"},
        {"/gzip", WEIRP_FETCH_DONE, 200, NULL},
        {"/short", WEIRP_FETCH_CUT, 200, "hello"},
        {"/chunk-cut", WEIRP_FETCH_CUT, 200, "hello"},
        {"/head-cut", WEIRP_FETCH_CUT, 0, ""},
        {"/nothing", WEIRP_FETCH_CUT, 0, ""},
        {"/reset", WEIRP_FETCH_CUT, 0, ""},
        {"/reset-in-body", WEIRP_FETCH_CUT, 200, "hello"},
        {"/chunk-bad", WEIRP_FETCH_PROTOCOL, 200, ""},
        {"/head-bad", WEIRP_FETCH_PROTOCOL, 0, ""},
        {"/head-no-colon", WEIRP_FETCH_PROTOCOL, 0, ""},
        {"/gzip-bad", WEIRP_FETCH_PROTOCOL, 200, ""},
        {"/encoding-bad", WEIRP_FETCH_PROTOCOL, -1, ""},
    };
    for (size_t small = 0; small < 2; small++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            trace t = fetch(cases[i].path, (weirp_fetch_options){.small_buffers = small, .total_ms = 5000});
            if (t.result != cases[i].result || (cases[i].status >= 0 && t.status != cases[i].status))
                fail_msg("%s: %s (%s), status %d", cases[i].path, weirp_fetch_result_text(t.result), t.what, t.status);
            if (cases[i].text) assert_string_equal(t.text, cases[i].text);
            assert_true(*t.what);
        }
    }
    trace t = fetch("/gzip", (weirp_fetch_options){0});
    assert_int_equal(t.bytes, 143);
    assert_memory_equal(t.text, "hello, hello, ", 14);
    assert_memory_equal(t.text + 140, "bye", 3);
}

static void no_connection(void **state) {
    (void)state;
    int port;
    close(listen_any(&port)); /* nobody listens there any more */
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    const char *urls[] = {url, "http://weir.invalid/"};
    for (size_t i = 0; i < 2; i++) {
        trace t = {0};
        start_url(&t, urls[i], (weirp_fetch_options){0});
        run();
        assert_int_equal(t.result, WEIRP_FETCH_CONNECT);
        assert_int_equal(t.status, 0);
    }
    trace t = {0};
    snprintf(url, sizeof url, "https://127.0.0.1:%d/head-bad", srv.port);
    start_url(&t, url, (weirp_fetch_options){.total_ms = 5000, .connect_ms = 2000});
    run();
    assert_true(t.result == WEIRP_FETCH_TLS || t.result == WEIRP_FETCH_CONNECT_TIMEOUT);
}

/* Each limit ends what the others would let go on, not before its time. */
static void timeouts(void **state) {
    (void)state;
    static const struct {
        const char *path;
        weirp_fetch_options o;
        weirp_fetch_result result;
    } cases[] = {
        {"/silent", {.first_byte_ms = 80, .idle_ms = 5000, .total_ms = 5000}, WEIRP_FETCH_FIRST_TIMEOUT},
        {"/silent-body", {.first_byte_ms = 5000, .idle_ms = 80, .total_ms = 5000}, WEIRP_FETCH_IDLE_TIMEOUT},
        {"/silent-body", {.first_byte_ms = 10, .idle_ms = 80}, WEIRP_FETCH_IDLE_TIMEOUT},
        {"/drip", {.first_byte_ms = 60, .idle_ms = 60, .total_ms = 200}, WEIRP_FETCH_TOTAL_TIMEOUT},
        {"/silent", {.total_ms = 80}, WEIRP_FETCH_TOTAL_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int closed = atomic_load(&srv.closed);
        uint64_t began = weirp_monotonic_ns();
        trace t = fetch(cases[i].path, cases[i].o);
        uint64_t took = (weirp_monotonic_ns() - began) / 1000000;
        if (t.result != cases[i].result) fail_msg("case %zu: %s", i, weirp_fetch_result_text(t.result));
        assert_true(took >= (cases[i].o.total_ms == 200 ? 200 : 80));
        assert_true(took < 3000);
        if (strcmp(cases[i].path, "/drip") != 0) {
            for (int w = 0; w < 5000 && atomic_load(&srv.closed) == closed; w++) usleep(1000);
            assert_int_equal(atomic_load(&srv.closed), closed + 1);
        }
    }
}

/* A listener whose queue is full answers no SYN. */
static void connect_timeout(void **state) {
    (void)state;
    int port, fds[8];
    int fd = listen_any(&port);
    assert_int_equal(listen(fd, 0), 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < 8; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&a, sizeof a);
    }
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    trace t = {0};
    start_url(&t, url, (weirp_fetch_options){.connect_ms = 100, .first_byte_ms = 20, .idle_ms = 20, .total_ms = 5000});
    run();
    assert_int_equal(t.result, WEIRP_FETCH_CONNECT_TIMEOUT);
    for (size_t i = 0; i < 8; i++) close(fds[i]);
    close(fd);
}

static void bounds(void **state) {
    (void)state;
    trace t = fetch("/ok", (weirp_fetch_options){.max_bytes = 5});
    assert_int_equal(t.result, WEIRP_FETCH_DONE);
    t = fetch("/ok", (weirp_fetch_options){.max_bytes = 4});
    assert_int_equal(t.result, WEIRP_FETCH_TOO_LARGE);
    assert_true(t.bytes <= 4);
    t = fetch("/gzip-zeros", (weirp_fetch_options){0});
    assert_int_equal(t.bytes, 200000);
    t = fetch("/gzip-zeros", (weirp_fetch_options){.max_bytes = 50000});
    assert_int_equal(t.result, WEIRP_FETCH_TOO_LARGE);
    assert_true(t.bytes <= 50000);
}

static void heads(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int64_t least, most;
    } cases[] = {{"/ok", -1, -1},
                 {"/retry-s", 7000, 7000},
                 {"/retry-half", 1500, 1500},
                 {"/retry-ms", 250, 250},
                 {"/retry-bad", -1, -1},
                 {"/retry-past", 0, 0},
                 {"/retry-date", 57000, 60000},
                 {"/retry-huge", INT64_C(86400000) * 366, INT64_C(86400000) * 366}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trace t = fetch(cases[i].path, (weirp_fetch_options){0});
        if (t.retry_ms < cases[i].least || t.retry_ms > cases[i].most)
            fail_msg("%s: %lld", cases[i].path, (long long)t.retry_ms);
    }
    trace t = fetch("/ok", (weirp_fetch_options){0});
    assert_string_equal(t.header, "one");
    t = fetch("/500", (weirp_fetch_options){0});
    assert_string_equal(t.header, "none");
}

static void refused_requests(void **state) {
    (void)state;
    const char *split[] = {"X: a\r\nY: b"}, *bare[] = {"nothing"};
    const weirp_fetch_options cases[] = {{.url = "ftp://127.0.0.1/"},
                                         {.url = "file:///etc/passwd"},
                                         {0},
                                         {.url = "http://127.0.0.1/", .headers = split, .n_headers = 1},
                                         {.url = "http://127.0.0.1/", .headers = bare, .n_headers = 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weirp_fetch *f;
        weir_error err = {0};
        assert_int_equal(weirp_fetch_start(&f, client, &cases[i], &err), WEIR_INVALID);
        assert_null(f);
        assert_int_equal(weirp_client_n_fetches(client), 0);
    }
}

static void bodies(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 100000, 3000000};
    const char *headers[] = {"Content-Type: application/json", "Authorization: Bearer x"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *body = malloc(sizes[i] + 1);
        uint64_t sum = 0;
        for (size_t b = 0; b < sizes[i]; b++) sum = sum * 31 + (uint8_t)(body[b] = (char)(b * 13 % 127));
        trace t = fetch("/echo",
                        (weirp_fetch_options){.body = body, .body_len = sizes[i], .headers = headers, .n_headers = 2});
        assert_int_equal(t.result, WEIRP_FETCH_DONE);
        assert_int_equal(t.bytes, sizes[i]);
        assert_int_equal(t.sum, sum);
        free(body);
    }
    assert_false(atomic_load(&srv.expect));
    trace t = fetch("/ok", (weirp_fetch_options){.method = "HEAD"});
    assert_int_equal(t.result, WEIRP_FETCH_DONE);
    assert_int_equal(t.bytes, 0);
    t = fetch("/ok", (weirp_fetch_options){.method = "DELETE"});
    assert_string_equal(t.text, "hello");
    t = fetch("/echo", (weirp_fetch_options){.method = "PUT", .body = "put", .body_len = 3});
    assert_string_equal(t.text, "put");
}

static void connections_are_kept(void **state) {
    (void)state;
    int before = atomic_load(&srv.accepted);
    for (size_t i = 0; i < 50; i++) {
        trace t = fetch(
            "/ok", (weirp_fetch_options){.small_buffers = i % 2, .body = i % 3 ? "x" : NULL, .body_len = i % 3 > 0});
        assert_int_equal(t.result, WEIRP_FETCH_DONE);
        assert_true(t.reused == (i > 1)); /* streams have connections of their own */
    }
    assert_int_equal(atomic_load(&srv.accepted), before + 2);
}

/* The server closes a connection that it had said to keep: a small and a large request go out again by themselves. */
static void stale_connections(void **state) {
    (void)state;
    static char large[100000];
    for (size_t i = 0; i < 6; i++) {
        trace t = fetch("/stale", (weirp_fetch_options){0});
        assert_int_equal(t.result, WEIRP_FETCH_DONE);
        if (i % 2) usleep(5000); /* seen as closed before; else perhaps while the request is on its way */
        t = fetch(i < 2 ? "/ok" : "/stale",
                  (weirp_fetch_options){.body = large, .body_len = i < 3 ? 10 : sizeof large});
        if (t.result != WEIRP_FETCH_DONE) fail_msg("%zu: %s", i, t.what);
        assert_string_equal(t.text, "hello");
    }
}

#define MANY 1000

static void many_at_once(void **state) {
    (void)state;
    trace *t = calloc(MANY, sizeof *t);
    for (int round = 0; round < 2; round++) {
        memset(t, 0, MANY * sizeof *t);
        for (size_t i = 0; i < MANY; i++)
            start(&t[i], i % 10 ? "/ok" : "/short", (weirp_fetch_options){.small_buffers = i % 2, .total_ms = 60000});
        assert_int_equal(weirp_client_n_fetches(client), MANY);
        assert_int_equal(t[0].n_heads, 0);
        run();
        for (size_t i = 0; i < MANY; i++) {
            assert_int_equal(t[i].result, i % 10 ? WEIRP_FETCH_DONE : WEIRP_FETCH_CUT);
            assert_string_equal(t[i].text, "hello");
        }
    }
    free(t);
}

static void wait_closed(int n) {
    for (int w = 0; w < 5000 && atomic_load(&srv.closed) < n; w++) usleep(1000); /* its threads may be slow */
    assert_int_equal(atomic_load(&srv.closed), n);
}

/* Each handler cancels its own fetch or another one, which no handler hears of again. */
static void cancel_in_handlers(void **state) {
    (void)state;
    for (int at = AT_HEAD; at <= AT_END; at++) {
        for (int other = at == AT_END; other < 2; other++) {
            for (int paused = 0; paused < 2; paused++) {
                trace t = {.cancel_at = at}, victim = {0}, large = {0};
                if (other) {
                    t.victim = &victim;
                    victim.body = malloc(200000);
                    memset(victim.body, 'x', 200000);
                    start(&victim, "/silent-body", (weirp_fetch_options){.body = victim.body, .body_len = 200000});
                    if (paused) weirp_fetch_pause(victim.fetch);
                }
                start(&t, at == AT_END ? "/short" : "/silent-body", (weirp_fetch_options){0});
                start(&large, "/gzip-zeros", (weirp_fetch_options){0});
                if (other && at != AT_END) { /* t itself goes on for ever: its idle time ends it */
                    cancel(&t);
                    start(&t, "/silent-body", (weirp_fetch_options){.idle_ms = 50});
                }
                run();
                assert_int_equal(t.after_cancel + victim.after_cancel, 0);
                assert_int_equal(large.bytes, 200000);
                assert_int_equal(victim.ends, 0);
                assert_int_equal(t.ends, other);
                assert_null(victim.fetch);
            }
        }
    }
}

static uint64_t thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Fetches that wait are cancelled from outside: the connections are closed at once. */
static void cancel_waiting(void **state) {
    (void)state;
    trace t[200] = {0}, last = {0};
    int accepted = atomic_load(&srv.accepted), closed = atomic_load(&srv.closed);
    for (size_t i = 0; i < 200; i++) start(&t[i], i % 2 ? "/silent" : "/silent-body", (weirp_fetch_options){0});
    start(&last, "/silent", (weirp_fetch_options){.total_ms = 300});
    n_pending -= 200; /* stops the loop when `last` is over */
    assert_int_equal(weirp_loop_run(loop, NULL), WEIR_OK);
    assert_int_equal(atomic_load(&srv.accepted), accepted + 201);
    wait_closed(closed + 1);
    n_pending += 201;
    uint64_t began = thread_ns();
    for (size_t i = 0; i < 200; i++) cancel(&t[i]);
    n_pending--;
    assert_int_equal(weirp_client_n_fetches(client), 0);
    assert_true(thread_ns() - began < UINT64_C(50000000));
    wait_closed(closed + 201);
    for (size_t i = 0; i < 200; i++) assert_int_equal(t[i].ends, 0);
}

static void start_in_end(void **state) {
    (void)state;
    trace t[4] = {{.again = true}, {.again = true}, {.again = true}, {.again = true}};
    const char *paths[] = {"/ok", "/short", "/silent", "/head-bad"};
    for (size_t i = 0; i < 4; i++) start(&t[i], paths[i], (weirp_fetch_options){.total_ms = 50});
    run();
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(t[i].ends, 2);
        assert_int_equal(t[i].result, WEIRP_FETCH_DONE);
    }
}

static void free_under_way(void **state) {
    (void)state;
    trace t[3] = {0}, last = {0};
    for (size_t i = 0; i < 3; i++) start(&t[i], i ? "/silent" : "/silent-body", (weirp_fetch_options){0});
    start(&last, "/ok", (weirp_fetch_options){0});
    n_pending -= 3;
    assert_int_equal(weirp_loop_run(loop, NULL), WEIR_OK);
    trace queued = {0};
    start(&queued, "/ok", (weirp_fetch_options){0});
    weirp_client_free(client); /* no handler may be called any more, and the loop goes on without it */
    n_pending = 0;
    assert_int_equal(weirp_client_new(&client, loop, NULL, NULL), WEIR_OK);
    trace t2 = fetch("/ok", (weirp_fetch_options){0});
    assert_int_equal(t2.result, WEIRP_FETCH_DONE);
}

static void on_resume(void *user) {
    trace *t = user;
    if (!t->fetch) return;
    t->paused = false;
    weirp_fetch_resume(t->fetch);
}

static void pausing(const char *path, bool small, size_t every, size_t want, uint64_t *sum) {
    trace t = {.pause_every = every};
    assert_int_equal(weirp_timer_new(&t.resume, loop, on_resume, &t, NULL), WEIR_OK);
    start(&t, path, (weirp_fetch_options){.small_buffers = small, .idle_ms = 1000});
    run();
    weirp_timer_free(t.resume);
    assert_int_equal(t.result, WEIRP_FETCH_DONE);
    assert_int_equal(t.bytes, want);
    assert_int_equal(t.while_paused, 0);
    if (*sum) assert_int_equal(t.sum, *sum);
    *sum = t.sum;
}

/* Pausing in the middle of a buffer, of an unpacked one, too, loses nothing and calls nothing until resumed. */
static void pause_and_resume(void **state) {
    (void)state;
    uint64_t sum = 0;
    for (int small = 0; small < 2; small++) {
        pausing("/big", small, 0, BIG_BYTES, &sum);
        pausing("/big", small, 100000, BIG_BYTES, &sum);
    }
    sum = 0;
    for (int small = 0; small < 2; small++) {
        pausing("/gzip-zeros", small, 0, 200000, &sum);
        pausing("/gzip-zeros", small, 1, 200000, &sum);
    }
    sum = 0;
    pausing("/chunks", true, 0, 5, &sum);
    pausing("/chunks", true, 1, 5, &sum);
}

static size_t resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    size_t pages = 0, total = 0;
    if (f && fscanf(f, "%zu %zu", &total, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return pages * 4096;
}

/* A paused fetch takes nothing from a fast sender but what the kernel holds; nor is it idle. */
static void paused_is_bounded_and_not_idle(void **state) {
    (void)state;
    atomic_store(&srv.sent_all, false);
    trace t = {.pause_every = 1}, wait = {0};
    assert_int_equal(weirp_timer_new(&t.resume, loop, on_resume, &t, NULL), WEIR_OK);
    start(&t, "/big", (weirp_fetch_options){.idle_ms = 100});
    weirp_timer_stop(t.resume);
    weirp_timer *never = t.resume;
    t.resume = NULL;
    assert_int_equal(weirp_timer_new(&t.resume, loop, on_resume, &wait, NULL), WEIR_OK); /* resumes nothing */
    size_t before = resident();
    start(&wait, "/silent", (weirp_fetch_options){.total_ms = 400});
    n_pending--;
    assert_int_equal(weirp_loop_run(loop, NULL), WEIR_OK);
    n_pending++;
    assert_int_equal(t.ends, 0);
    assert_true(t.bytes > 0 && t.bytes <= 16384);
    assert_false(atomic_load(&srv.sent_all));
    assert_true(resident() < before + BIG_BYTES / 2);
    t.pause_every = 0;
    t.paused = false;
    n_pending = 1;
    weirp_fetch_resume(t.fetch);
    run();
    assert_int_equal(t.result, WEIRP_FETCH_DONE);
    assert_int_equal(t.bytes, BIG_BYTES);
    weirp_timer_free(t.resume);
    weirp_timer_free(never);
}

int main(void) {
    srv.fd = listen_any(&srv.port);
    if (pthread_create(&srv.thread, NULL, accept_all, NULL) != 0) return 1;
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(each_result),
        CASE(no_connection),
        CASE(timeouts),
        CASE(connect_timeout),
        CASE(bounds),
        CASE(heads),
        CASE(refused_requests),
        CASE(bodies),
        CASE(connections_are_kept),
        CASE(stale_connections),
        CASE(many_at_once),
        CASE(cancel_in_handlers),
        CASE(cancel_waiting),
        CASE(start_in_end),
        CASE(free_under_way),
        CASE(pause_and_resume),
        CASE(paused_is_bounded_and_not_idle),
    };
#undef CASE
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shutdown(srv.fd, SHUT_RDWR);
    close(srv.fd);
    pthread_join(srv.thread, NULL);
    return failed;
}

/* The HTTP server under input that is wrong, too large, too slow, or meant to be read differently by someone else.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/server_helpers.h"

/* ---- heads and bodies that are refused, and some that only look odd ---- */

enum { CLOSED = -1 }; /* without an answer */

typedef struct hostile {
    const char *name, *bytes;
    size_t len;
    int status;
    int n_requests; /* that reach a handler */
} hostile;

#define CASE(name, text, status, n_requests)                                                                           \
    { name, text, sizeof(text) - 1, status, n_requests }
#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\n" HOST
#define LAST "Connection: close\r\n"

static const hostile cases[] = {
    /* well-formed */
    CASE("plain", GET HOST LAST "\r\n", 200, 1),
    CASE("empty lines before", "\r\n\r\n" GET HOST LAST "\r\n", 200, 1),
    CASE("unknown method", "FROB / HTTP/1.1\r\n" HOST LAST "\r\n", 200, 1),
    CASE("empty values", GET HOST "X:\r\nY: \r\nZ:\tz\t\r\n" LAST "\r\n", 200, 1),
    CASE("cookies", GET HOST "Cookie: a=b; c=\"d\"; e; =\r\nX: y\r\n" LAST "\r\n", 200, 1),
    CASE("coded NUL in the path", "GET /a%00b HTTP/1.1\r\n" HOST LAST "\r\n", 404, 1),
    CASE("coded NUL in the query", "GET /?a%00b=c%00d&%&%zz HTTP/1.1\r\n" HOST LAST "\r\n", 200, 1),
    CASE("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 200, 1),
    CASE("body with GET", GET HOST LAST "Content-Length: 3\r\n\r\nabc", 200, 1),
    CASE("chunks with extension and trailer",
         POST LAST "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", 200, 1),

    /* request lines */
    CASE("HTTP/0.9", "GET /\r\n\r\n", 400, 0),
    CASE("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 0),
    CASE("no version", "GET / FTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("two spaces", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("space in the path", "GET /a b HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("trailing space", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400, 0),
    CASE("tab in the path", "GET /a\tb HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("method that is no token", "G(T / HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("NUL in the method", "GE\0T / HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("NUL in the path", "GET /\0a HTTP/1.1\r\n" HOST "\r\n", 400, 0),
    CASE("no word at all", "\x80\xff\0\x01\r\n\r\n", CLOSED, 0),

    /* lines of a head */
    CASE("no Host", GET "\r\n", 400, 0),
    CASE("two Hosts", GET HOST HOST "\r\n", 400, 0),
    CASE("line feeds alone", "GET / HTTP/1.1\nHost: a\n\n", 400, 0),
    CASE("one line feed alone", GET "Host: a\nX: b\r\n\r\n", 400, 0),
    CASE("last line feed alone", GET HOST "\n", 400, 0),
    CASE("carriage return alone", GET "Host: a\rX: b\r\n\r\n", 400, 0),
    CASE("NUL in a value", GET "Host: a\0b\r\n\r\n", 400, 0),
    CASE("NULs that look like ends of lines", GET "Host: a\0\0X\0y\r\n\r\n", 400, 0),
    CASE("NUL at the end of a value", GET "Host: a\0\r\n\r\n", 400, 0),
    CASE("NUL in a name", GET HOST "X\0Y: 1\r\n\r\n", 400, 0),
    CASE("control character in a value", GET HOST "X: a\x01\r\n\r\n", 400, 0),
    CASE("folded line", GET HOST "X: b\r\n c\r\n\r\n", 400, 0),
    CASE("folded first line", GET " c: d\r\n" HOST "\r\n", 400, 0),
    CASE("space before the colon", POST "Content-Length : 3\r\n\r\nabc", 400, 0),
    CASE("no colon", GET HOST "foo\r\n\r\n", 400, 0),
    CASE("no name", GET HOST ": foo\r\n\r\n", 400, 0),
    CASE("name that is no token", GET HOST "a{b}: foo\r\n\r\n", 400, 0),

    /* lengths (RFC 9112 section 6.3) */
    CASE("two equal lengths", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, 0),
    CASE("two lengths", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, 0),
    CASE("a list of lengths", POST "Content-Length: 3, 3\r\n\r\nabc", 400, 0),
    CASE("negative length", POST "Content-Length: -1\r\n\r\n", 400, 0),
    CASE("signed length", POST "Content-Length: +3\r\n\r\nabc", 400, 0),
    CASE("length with more", POST "Content-Length: 3x\r\n\r\nabc", 400, 0),
    CASE("hexadecimal length", POST "Content-Length: 0x3\r\n\r\nabc", 400, 0),
    CASE("empty length", POST "Content-Length:\r\n\r\n", 400, 0),
    CASE("length beyond 64 bits", POST "Content-Length: 99999999999999999999999\r\n\r\n", 413, 0),
    CASE("length over the limit", POST "Content-Length: 18446744073709551615\r\n\r\nabc", 413, 0),
    CASE("length and chunks", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 0),
    CASE("chunks and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, 0),
    CASE("chunked twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 0),
    CASE("another coding first", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, 0),
    CASE("coding with a space", POST "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", 400, 0),
    CASE("coding with a tab before",
         POST "Transfer-Encoding:\x0b"
              "chunked\r\n\r\n0\r\n\r\n",
         400, 0),
    CASE("unknown coding", POST "Transfer-Encoding: identity\r\n\r\n", 400, 0),
    CASE("chunks in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 0),

    /* chunks */
    CASE("no size", POST "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 400, 0),
    CASE("negative size", POST "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400, 0),
    CASE("0x size", POST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400, 0),
    CASE("space before the size", POST "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", 400, 0),
    CASE("size beyond 64 bits", POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc", 413, 0),
    CASE("chunk longer than its size", POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400, 0),
};

static void odd_requests_get_their_answer(void **state) {
    house *h = *state;
    house_open(h);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hostile *c = &cases[i];
        int before = h->n_requests;
        for (int way = 0; way < 2; way++) { /* in one piece, and in two that are cut anywhere */
            int fd = dial(h);
            size_t cut = way ? 1 + weirp_random_u64(1, 2, i) % (c->len - 1) : c->len;
            say_bytes(fd, c->bytes, cut);
            if (way) nap_ms(2);
            say_bytes(fd, c->bytes + cut, c->len - cut);
            heard got = hear(fd, "\x01never", 2000);
            close(fd);
            if (!got.closed || status_of(&got) != (c->status == CLOSED ? 0 : c->status))
                fail_msg("%s (%s): %s, %.100s", c->name, way ? "two pieces" : "whole", got.closed ? "closed" : "open",
                         got.bytes);
            free(got.bytes);
        }
        if (h->n_requests - before != 2 * c->n_requests) fail_msg("%s: reached a handler", c->name);
    }
}

static void the_rest_of_a_refused_connection_is_not_looked_at(void **state) {
    house *h = *state;
    house_open(h);
    heard got = ask(h, POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET HOST "\r\n");
    assert_int_equal(status_of(&got), 400);
    assert_null(strstr(got.bytes, "hello"));
    assert_int_equal(h->n_requests, 0);
    free(got.bytes);
}

static void random_bytes_break_nothing(void **state) {
    house *h = *state;
    house_open(h);
    for (uint64_t round = 0; round < 300; round++) {
        const hostile *c = &cases[weirp_random_u64(7, 0, round) % (sizeof cases / sizeof *cases)];
        char bytes[512];
        size_t len = c->len < sizeof bytes ? c->len : sizeof bytes;
        memcpy(bytes, c->bytes, len);
        for (uint64_t k = 0; k < 1 + round % 4; k++)
            bytes[weirp_random_u64(8, round, k) % len] = (char)weirp_random_u64(9, round, k);
        int fd = dial(h);
        say_bytes(fd, bytes, len);
        shutdown(fd, SHUT_WR);
        heard got = hear(fd, "\x01never", 2000);
        if (!got.closed) fail_msg("round %d: left open: %.*s", (int)round, (int)len, bytes);
        free(got.bytes);
        close(fd);
    }
    heard got = ask(h, GET HOST LAST "\r\n");
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
}

/* ---- too large ---- */

static void heads_have_a_limit(void **state) {
    house *h = *state;
    house_open(h);
    for (int kind = 0; kind < 3; kind++) {
        int fd = dial(h);
        say(fd, kind == 0 ? "GET /" : GET HOST "X: ");
        for (int i = 0; i < 4000; i++) say(fd, kind == 2 ? "a\r\nX: " : "aaaaaa");
        heard got = hear(fd, "\x01never", 2000);
        assert_true(got.closed);
        if (got.len) assert_int_equal(status_of(&got), kind == 0 ? 414 : 431);
        free(got.bytes);
        close(fd);
    }
    assert_int_equal(h->n_requests, 0);
}

static char *json_body(void *user, int status, const char *path, const char *what) {
    house *h = user;
    char text[256];
    if (!what || !*what || !path) h->n_wrong++;
    snprintf(text, sizeof text, "{\"status\":%d,\"path\":\"%s\"}", status, path ? path : "");
    return weirp_strndup(text, strlen(text));
}

static void small_bodies(house *h) {
    h->options.max_body_bytes = 1000;
    h->options.error_body = json_body;
    h->options.error_user = h;
    house_open(h);
}

static void bodies_over_the_limit_are_refused_early(void **state) {
    house *h = *state;
    small_bodies(h);
    heard got = ask(h, POST LAST "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(status_of(&got), 413); /* without the 100 */
    assert_non_null(strstr(got.bytes, "{\"status\":413,\"path\":\"/echo\"}"));
    free(got.bytes);

    int fd = dial(h); /* sends on, as most do; the answer is there nevertheless */
    say(fd, POST "Content-Length: 1000000\r\n\r\n");
    for (int i = 0; i < 1000; i++) {
        char piece[1000];
        memset(piece, 'x', sizeof piece);
        say_bytes(fd, piece, sizeof piece);
    }
    got = hear(fd, "\x01never", 2000);
    assert_int_equal(status_of(&got), 413);
    assert_non_null(strstr(got.bytes, "application/json"));
    assert_non_null(strstr(got.bytes, "{\"status\":413,\"path\":\"/echo\"}"));
    assert_true(got.closed && !got.reset);
    free(got.bytes);
    close(fd);
    assert_int_equal(h->n_requests, 0);
}

static void bodies_over_the_limit_are_refused_late(void **state) {
    house *h = *state;
    small_bodies(h);
    int fd = dial(h);
    say(fd, POST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++) {
        say(fd, "64\r\n");
        for (int k = 0; k < 10; k++) say(fd, "0123456789");
        say(fd, "\r\n");
    }
    heard got = hear(fd, "}", 2000);
    assert_int_equal(status_of(&got), 413);
    free(got.bytes);
    say(fd, "0\r\n\r\n");
    assert_true(server_closes(fd, 1000));
    close(fd);
    got = ask(h, POST LAST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    assert_int_equal(h->n_requests, 1);
}

static void a_head_that_is_refused_is_answered_after_its_body(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    for (int round = 0; round < 3; round++) { /* and the connection goes on */
        say(fd, POST "X-Refuse: yes\r\nContent-Length: 20000\r\n\r\n");
        for (int i = 0; i < 2000; i++) say(fd, "0123456789");
        heard got = hear(fd, "who are you?", 2000);
        assert_int_equal(status_of(&got), 401);
        assert_false(got.closed);
        free(got.bytes);
    }
    say(fd, GET HOST "X-Refuse: silently\r\n\r\n");
    heard got = hear(fd, "refused", 2000);
    assert_int_equal(status_of(&got), 401);
    free(got.bytes);
    say(fd, POST "X-Refuse: yes\r\nContent-Length: 20000\r\nExpect: 100-continue\r\n\r\n");
    got = hear(fd, "\x01never", 2000);
    assert_int_equal(status_of(&got), 401); /* at once */
    assert_true(got.closed);
    free(got.bytes);
    close(fd);
    assert_int_equal(h->n_requests, 0);
    assert_true(wait_for(&h->n_end, 5, 1000));
}

static void a_client_may_wait_to_be_told_to_send(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    say(fd, POST LAST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    heard got = hear(fd, "100 Continue\r\n\r\n", 1000);
    assert_int_equal(status_of(&got), 100);
    free(got.bytes);
    say(fd, "abc");
    got = hear(fd, "abc", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    close(fd);
}

/* ---- too slow ---- */

static void who_does_nothing_is_closed(void **state) {
    house *h = *state;
    h->options.idle_timeout_s = 1;
    house_open(h);
    static const char *const starts[] = {"",
                                         "GET",
                                         GET "Host",
                                         GET HOST "\r\n", /* answered, and then nothing */
                                         POST "Content-Length: 10\r\n\r\nabc",
                                         POST "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
                                         POST "Transfer-Encoding: chunked\r\n\r\n5;"};
    enum { N = sizeof starts / sizeof *starts };
    int fds[N], waiting = dial(h), stuck = dial(h);
    for (int i = 0; i < N; i++) {
        fds[i] = dial(h);
        say(fds[i], starts[i]);
    }
    say(waiting, "GET /silent HTTP/1.1\r\n" HOST "\r\n"); /* waits for the server */
    say(stuck, POST "Transfer-Encoding: chunked\r\n\r\n5;");
    for (int i = 0; i < 3000; i++) say(stuck, "extension");
    nap_ms(500);
    for (int i = 0; i < N; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLRDHUP};
        if (i != 3) assert_int_equal(poll(&p, 1, 0), 0); /* not yet */
    }
    for (int i = 0; i < N; i++)
        if (!server_closes(fds[i], 3000)) fail_msg("%s: still open", starts[i]);
    assert_true(server_closes(stuck, 4000));
    struct pollfd p = {.fd = waiting, .events = POLLIN | POLLRDHUP};
    assert_int_equal(poll(&p, 1, 0), 0);
    for (int i = 0; i < N; i++) close(fds[i]);
    close(stuck);
    close(waiting);
    assert_true(wait_for(&h->n_gone, 1, 1000));
}

static void who_does_next_to_nothing_is_closed(void **state) {
    house *h = *state;
    h->options.idle_timeout_s = 1;
    house_open(h);
    int head = dial(h), body = dial(h), reader = dial(h);
    say(head, GET);
    say(body, POST "Content-Length: 10000\r\n\r\n");
    int small = 4096;
    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    say(reader, "GET /flood?n=100000 HTTP/1.1\r\n" HOST "\r\n");
    bool head_closed = false, body_closed = false;
    for (int i = 0; i < 45 && !(head_closed && body_closed); i++) { /* a byte each 100 ms */
        say(head, "X");
        say(body, "x");
        nap_ms(100);
        struct pollfd p[] = {{.fd = head, .events = POLLRDHUP}, {.fd = body, .events = POLLRDHUP}};
        poll(p, 2, 0);
        head_closed |= p[0].revents != 0;
        body_closed |= p[1].revents != 0;
    }
    assert_true(head_closed);
    assert_true(body_closed);
    assert_true(wait_for(&h->n_gone, 1, 3000)); /* the reader that doesn't read */
    assert_true(wait_for(&h->n_end, 2, 1000));
    close(head);
    close(body);
    close(reader);
}

/* ---- too many ---- */

static void connections_over_the_limit_are_closed_at_once(void **state) {
    house *h = *state;
    h->options.max_connections = 10;
    house_open(h);
    int fds[10];
    for (int i = 0; i < 10; i++) {
        fds[i] = dial(h);
        say(fds[i], GET HOST "\r\n");
        heard got = hear(fds[i], "hello", 1000);
        assert_int_equal(status_of(&got), 200);
        free(got.bytes);
    }
    for (int i = 0; i < 3; i++) {
        int fd = dial(h);
        assert_true(server_closes(fd, 1000));
        close(fd);
    }
    close(fds[0]);
    nap_ms(50);
    fds[0] = dial(h);
    say(fds[0], GET HOST "\r\n");
    heard got = hear(fds[0], "hello", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    for (int i = 0; i < 10; i++) close(fds[i]);
}

static void stuck_uploads_cost_the_others_nothing(void **state) {
    house *h = *state;
    house_open(h);
    int stuck[20], pausing = dial(h);
    char *line = malloc(30000);
    assert_non_null(line);
    memset(line, 'x', 30000);
    say(pausing, POST "Transfer-Encoding: chunked\r\n\r\n5\r\nab"); /* looks the same from outside, and is innocent */
    for (int i = 0; i < 20; i++) {
        stuck[i] = dial(h);
        say(stuck[i], POST "Transfer-Encoding: chunked\r\n\r\n5;");
        say_bytes(stuck[i], line, i % 2 ? 30000 : 9000);
    }
    free(line);
    nap_ms(100);
    uint64_t started = weirp_monotonic_ns();
    int fd = dial(h);
    for (int i = 0; i < 300; i++) {
        say(fd, i % 2 ? GET HOST "\r\n" : "GET /posted HTTP/1.1\r\n" HOST "\r\n");
        heard got = hear(fd, "hello", 1000);
        assert_int_equal(status_of(&got), 200);
        free(got.bytes);
    }
    print_message("300 requests beside 20 stuck uploads: %.1f ms\n", (double)(weirp_monotonic_ns() - started) / 1e6);
    assert_true(weirp_monotonic_ns() - started < 2000000000u);
    say(pausing, "cde\r\n0\r\n\r\n");
    heard got = hear(pausing, "abcde", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    close(fd);
    close(pausing);
    for (int i = 0; i < 20; i++) close(stuck[i]);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(odd_requests_get_their_answer),
        TEST(the_rest_of_a_refused_connection_is_not_looked_at),
        TEST(random_bytes_break_nothing),
        TEST(heads_have_a_limit),
        TEST(bodies_over_the_limit_are_refused_early),
        TEST(bodies_over_the_limit_are_refused_late),
        TEST(a_head_that_is_refused_is_answered_after_its_body),
        TEST(a_client_may_wait_to_be_told_to_send),
        TEST(who_does_nothing_is_closed),
        TEST(who_does_next_to_nothing_is_closed),
        TEST(connections_over_the_limit_are_closed_at_once),
        TEST(stuck_uploads_cost_the_others_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The HTTP server: answers, streams, clients that leave or read slowly, its end. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include "tests/unit/server_helpers.h"

#include <arpa/inet.h>
#include <sys/resource.h>

enum { N_LEAVERS = 200 };

/* ---- whole answers ---- */

static void answers_at_once_and_later_on_one_connection(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    static const char *const paths[] = {"/", "/posted", "/timer", "/", "/posted", "/nowhere"};
    for (size_t i = 0; i < 6; i++) {
        char request[128];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        say(fd, request);
        heard got = hear(fd, i == 5 ? "what?" : "hello", 2000);
        assert_int_equal(status_of(&got), i == 5 ? 404 : 200);
        assert_non_null(strstr(got.bytes, "X-Test: yes\r\n"));
        assert_false(got.closed);
        free(got.bytes);
    }
    close(fd);
    assert_true(wait_for(&h->n_end, 6, 1000));
    assert_int_equal(h->n_requests, 6);
    assert_int_equal(h->n_gone, 0);
}

static void requests_in_one_write_are_answered_in_order(void **state) {
    house *h = *state;
    house_open(h);
    heard got = ask(h, "GET /timer HTTP/1.1\r\n" HOST "\r\n"
                       "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                       "GET /burst?n=2 HTTP/1.1\r\n" HOST "\r\n"
                       "GET /describe?q=last HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    const char *at = strstr(got.bytes, "hello");
    assert_non_null(at);
    at = strstr(at, "\r\n\r\nabc");
    assert_non_null(at);
    at = strstr(at, "6\r\nburst \r\n6\r\nburst \r\n0\r\n\r\n");
    assert_non_null(at);
    assert_non_null(strstr(at, "q=last"));
    assert_true(got.closed);
    free(got.bytes);
}

static void a_request_is_seen_as_it_was_sent(void **state) {
    house *h = *state;
    house_open(h);
    heard got = ask(h, "PATCH /describe?a=1&q=%7Bx%7D+y&q=2 HTTP/1.1\r\n" HOST
                       "X-Other: first\r\nX-Other: second\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_non_null(strstr(got.bytes, "PATCH /describe q={x} y x=first len=4 nul=0 peer=127.0.0.1"));
    free(got.bytes);
    got = ask(h, "GET /a%20b%2f HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(status_of(&got), 404); /* not decoded into something else */
    free(got.bytes);
    got = ask(h, "GET /describe HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(got.bytes, "GET /describe q=- x=- len=0 nul=0"));
    assert_true(got.closed);
    free(got.bytes);
}

static void fields_that_would_break_the_head_are_left_out(void **state) {
    house *h = *state;
    house_open(h);
    heard got = ask(h, "GET /fields HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(status_of(&got), 200);
    assert_non_null(strstr(got.bytes, "X-Good: c\r\n"));
    assert_non_null(strstr(got.bytes, "Content-Length: 6\r\n"));
    assert_null(strstr(got.bytes, "Evil"));
    assert_null(strstr(got.bytes, "X-B"));
    free(got.bytes);
}

/* ---- bodies ---- */

static char *pattern(size_t len) {
    char *text = malloc(len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++) text[i] = (char)('a' + weirp_random_u64(1, 2, i) % 26);
    text[len] = 0;
    return text;
}

static void *say_all(void *user) {
    void **what = user;
    say_bytes(*(int *)what[0], what[1], *(size_t *)what[2]);
    return NULL;
}

/* Sends in a thread, for the echo of a large body comes while it is still being sent to nobody. */
static void echo(const house *h, char *request, size_t size, const char *body, size_t len) {
    int fd = dial(h);
    void *what[] = {&fd, request, &size};
    pthread_t sender;
    assert_int_equal(pthread_create(&sender, NULL, say_all, what), 0);
    heard got = hear(fd, "\x01never", 5000);
    pthread_join(sender, NULL);
    close(fd);
    assert_int_equal(status_of(&got), 200);
    const char *start = strstr(got.bytes, "\r\n\r\n");
    assert_non_null(start);
    assert_int_equal(got.len - (size_t)(start + 4 - got.bytes), len);
    assert_memory_equal(start + 4, body, len);
    free(got.bytes);
}

static void bodies_of_all_sizes_come_whole(void **state) {
    house *h = *state;
    house_open(h);
    static const size_t sizes[] = {0, 1, 4095, 4096, 8192, 70000, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *body = pattern(sizes[i]), *request = malloc(sizes[i] + 200 + sizes[i] / 10);
        assert_non_null(request);
        int head = sprintf(request, "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: %zu\r\n\r\n",
                           sizes[i]);
        memcpy(request + head, body, sizes[i]);
        echo(h, request, (size_t)head + sizes[i], body, sizes[i]);

        char *at = request + sprintf(request, "POST /echo HTTP/1.1\r\n" HOST
                                              "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (size_t sent = 0; sent < sizes[i];) {
            size_t n = 1 + weirp_random_u64(3, 4, sent) % 999;
            if (n > sizes[i] - sent) n = sizes[i] - sent;
            at += sprintf(at, "%zx\r\n", n);
            memcpy(at, body + sent, n);
            at += n;
            sent += n;
            at += sprintf(at, "\r\n");
        }
        at += sprintf(at, "0\r\n\r\n");
        echo(h, request, (size_t)(at - request), body, sizes[i]);
        free(request);
        free(body);
    }
}

static void a_request_may_come_byte_by_byte(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    static const char request[] = "POST /echo?q=1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcde";
    for (size_t i = 0; i + 1 < sizeof request; i++) {
        say_bytes(fd, request + i, 1);
        if (i % 8 == 0) nap_ms(1);
    }
    heard got = hear(fd, "abcde", 2000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    close(fd);
}

/* ---- streams ---- */

static void a_streams_head_comes_before_its_first_bytes(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    for (int round = 0; round < 2; round++) { /* and the connection goes on after it */
        say(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        heard got = hear(fd, "\r\n\r\n", 1000);
        assert_int_equal(status_of(&got), 200);
        assert_non_null(strstr(got.bytes, "Transfer-Encoding: chunked\r\n"));
        assert_null(strstr(got.bytes, "data:")); /* comes 60 ms later */
        free(got.bytes);
        got = hear(fd, "0\r\n\r\n", 2000);
        assert_string_equal(got.bytes, "9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n");
        free(got.bytes);
    }
    close(fd);
    assert_true(wait_for(&h->n_end, 2, 1000));
    assert_int_equal(h->n_gone, 0);
}

static void streams_without_a_body_or_without_chunks(void **state) {
    house *h = *state;
    house_open(h);
    heard got = ask(h, "GET /stream HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(got.bytes, "\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"));
    assert_true(got.closed && !got.reset);
    free(got.bytes);
    got = ask(h, "HEAD /stream HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(status_of(&got), 200);
    assert_string_equal(strstr(got.bytes, "\r\n\r\n"), "\r\n\r\n");
    free(got.bytes);
    got = ask(h, "GET /empty HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_int_equal(status_of(&got), 204);
    assert_string_equal(strstr(got.bytes, "\r\n\r\n"), "\r\n\r\n");
    free(got.bytes);
    got = ask(h, "HEAD / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_non_null(strstr(got.bytes, "Content-Length: 5\r\n"));
    assert_string_equal(strstr(got.bytes, "\r\n\r\n"), "\r\n\r\n");
    free(got.bytes);
}

/* Takes the chunks out of `got` and checks that they are the events 0 .. n-1. */
static void check_flood(const heard *got, unsigned n) {
    const char *at = strstr(got->bytes, "\r\n\r\n");
    assert_non_null(at);
    at += 4;
    for (unsigned i = 0; i < n; i++) {
        char *data, *end;
        assert_int_equal(strtoul(at, &data, 16), STREAM_EVENT);
        data += 2;
        assert_int_equal(strtoul(data + STREAM_EVENT - 10, &end, 10), i);
        assert_ptr_equal(end, data + STREAM_EVENT);
        at = end + 2;
    }
    assert_string_equal(at, "0\r\n\r\n");
}

static void a_slow_reader_gets_everything_and_holds_little(void **state) {
    house *h = *state;
    h->options.write_high_bytes = 20000;
    house_open(h);
    enum { N = 20000 }; /* 20 MB, more than sockets hold */
    int fd = dial(h);
    say(fd, "GET /flood?n=20000 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(wait_for(&h->n_refused_writes, 1, 2000));
    nap_ms(100);
    size_t before = h->n_written;
    nap_ms(100);
    assert_int_equal(before, h->n_written); /* it waits for the reader */
    assert_true(before < 12000000);
    heard got = hear(fd, "\r\n0\r\n\r\n", 20000);
    assert_int_equal(h->n_written, N * STREAM_EVENT);
    assert_true(h->n_drained > 10);
    check_flood(&got, N);
    free(got.bytes);
    say(fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    got = hear(fd, "hello", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    close(fd);
}

static void begin_held(house *h) {
    if (h->held)
        begin(h->held, 200);
    else
        h->n_wrong++;
}

static void write_held(house *h) {
    if (h->held)
        weirp_call_write(h->held, "half", 4);
    else
        h->n_wrong++;
}

static void abort_held(house *h) {
    if (h->held)
        weirp_call_abort(h->held);
    else
        h->n_wrong++;
}

static void finish_held(house *h) {
    if (h->held)
        weirp_call_finish(h->held);
    else
        h->n_wrong++;
}

static void what_is_broken_off_never_looks_whole(void **state) {
    house *h = *state;
    house_open(h);
    static const char *const versions[] = {"HTTP/1.1", "HTTP/1.0"};
    int idle = dial(h); /* libmicrohttpd looks again at a connection that it has closed only if it is the most idle */
    say(idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
    heard first = hear(idle, "hello", 1000);
    assert_int_equal(status_of(&first), 200);
    free(first.bytes);
    for (int i = 0; i < 2; i++) {
        char request[100];
        snprintf(request, sizeof request, "GET /open %s\r\n" HOST "\r\n", versions[i]);
        int fd = dial(h);
        say(fd, request);
        heard got = hear(fd, "\r\n\r\n", 1000);
        assert_int_equal(status_of(&got), 200);
        free(got.bytes);
        house_do(h, write_held);
        house_do(h, abort_held);
        got = hear(fd, "\x01never", 1000);
        assert_true(got.closed);
        assert_true(i == 0 ? strcmp(got.bytes, "4\r\nhalf\r\n") == 0 : got.reset);
        free(got.bytes);
        close(fd);
    }
    heard got = ask(h, "GET /abort HTTP/1.1\r\n" HOST "\r\n"); /* before there was an answer */
    assert_int_equal(got.len, 0);
    assert_true(got.closed);
    free(got.bytes);
    assert_true(wait_for(&h->n_end, 4, 1000));
    assert_int_equal(h->n_gone, 0); /* it was the server that left */
    close(idle);
}

static void a_stream_may_begin_late(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    say(fd, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    assert_true(wait_for(&h->n_requests, 1, 1000));
    house_do(h, begin_held);
    heard got = hear(fd, "\r\n\r\n", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    house_do(h, write_held);
    got = hear(fd, "half\r\n", 1000);
    assert_string_equal(got.bytes, "4\r\nhalf\r\n");
    free(got.bytes);
    house_do(h, finish_held);
    got = hear(fd, "0\r\n\r\n", 1000);
    assert_string_equal(got.bytes, "0\r\n\r\n");
    free(got.bytes);
    close(fd);
}

/* ---- clients that leave ---- */

static void leave(int fd, bool reset) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* 200 clients that wait for `path`, and leave; each way of leaving is noticed. */
static void leavers(house *h, const char *path, int n, double most_ms) {
    int fds[N_LEAVERS];
    char request[128];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
    for (int i = 0; i < n; i++) {
        fds[i] = dial(h);
        int small = 4096; /* so that those that are to be full soon are */
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        say(fds[i], request);
    }
    assert_true(wait_for(&h->n_requests, n, 3000));
    nap_ms(50);
    uint64_t started = weirp_monotonic_ns();
    for (int i = 0; i < n; i++) leave(fds[i], i % 2);
    assert_true(wait_for(&h->n_gone, n, 1000));
    assert_true(wait_for(&h->n_end, n, 1000));
    double ms = (double)(h->last_gone_ns - started) / 1e6;
    print_message("%s: %d of %d noticed within %.1f ms\n", path, (int)h->n_gone, n, ms);
    assert_int_equal(h->n_gone, n);
    assert_true(ms < most_ms);
}

static void clients_that_leave_a_silent_handler_are_noticed(void **state) {
    house_open(*state);
    leavers(*state, "/silent", N_LEAVERS, 50);
}

static void clients_that_leave_an_open_stream_are_noticed(void **state) {
    house_open(*state);
    leavers(*state, "/open", N_LEAVERS, 50);
}

static void clients_that_leave_a_full_stream_are_noticed(void **state) {
    house_open(*state);
    leavers(*state, "/flood?n=100000", N_LEAVERS / 5, 1000); /* the kernel throws their bytes away first */
}

static void a_client_that_has_left_before_it_is_asked_for(void **state) {
    house *h = *state;
    house_open(h);
    for (int i = 0; i < 50; i++) {
        int fd = dial(h);
        say(fd, i % 2 ? "GET /silent HTTP/1.1\r\n" HOST "\r\n" : "GET /open HTTP/1.1\r\n" HOST "\r\n");
        close(fd); /* request and end may come in one turn of the loop */
    }
    assert_true(wait_for(&h->n_end, 50, 2000));
    assert_int_equal(h->n_gone, 50);
}

static void a_half_closed_client_gets_what_is_answered_at_once(void **state) {
    house *h = *state;
    house_open(h);
    int fd = dial(h);
    say(fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    heard got = hear(fd, "hello", 1000);
    assert_int_equal(status_of(&got), 200);
    free(got.bytes);
    assert_true(server_closes(fd, 1000));
    close(fd);
}

static void a_client_that_leaves_in_its_request_reaches_no_handler(void **state) {
    house *h = *state;
    house_open(h);
    static const char *const starts[] = {"", "GET", "GET / HTTP/1.1\r\nHos", "GET / HTTP/1.1\r\n" HOST "\r"};
    for (int i = 0; i < 40; i++) {
        int fd = dial(h);
        say(fd, starts[i % 4]);
        if (i % 3) nap_ms(1);
        leave(fd, i % 2);
    }
    int fd = dial(h);
    say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    nap_ms(20);
    close(fd);
    assert_true(wait_for(&h->n_end, 1, 1000)); /* for `head` has seen it */
    assert_int_equal(h->n_requests, 0);
    assert_int_equal(h->n_gone, 0);
}

/* ---- the end ---- */

static size_t n_connections;

static void count_connections(house *h) {
    n_connections = weirp_server_n_connections(h->server);
}

static void quiesce(house *h) {
    weirp_server_quiesce(h->server);
    weirp_server_quiesce(h->server);
}

static void answer_held(house *h) {
    answer_text(h->held, 200, "late");
}

static void a_quiesced_server_answers_what_is_under_way(void **state) {
    house *h = *state;
    house_open(h);
    int idle = dial(h), busy = dial(h), streaming = dial(h);
    say(idle, "GET / HTTP/1.1\r\n" HOST "\r\n");
    heard got = hear(idle, "hello", 1000);
    free(got.bytes);
    say(busy, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    say(streaming, "GET /stream?n=8 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(wait_for(&h->n_requests, 3, 1000));
    int fresh = dial(h);
    house_do(h, quiesce);
    assert_true(server_closes(idle, 500));
    say(fresh, "GET / HTTP/1.1\r\n" HOST "\r\n"); /* was connected in time */
    got = hear(fresh, "hello", 1000);
    assert_int_equal(status_of(&got), 200);
    assert_non_null(strstr(got.bytes, "Connection: close\r\n"));
    free(got.bytes);
    h->held ? house_do(h, answer_held) : fail();
    got = hear(busy, "\x01never", 1000);
    assert_non_null(strstr(got.bytes, "late"));
    assert_non_null(strstr(got.bytes, "Connection: close\r\n"));
    assert_true(got.closed);
    free(got.bytes);
    got = hear(streaming, "\x01never", 2000);
    assert_non_null(strstr(got.bytes, "data: 7\n\n\r\n0\r\n\r\n"));
    assert_true(got.closed);
    free(got.bytes);
    for (int i = 0; i < 100; i++) {
        house_do(h, count_connections);
        if (!n_connections) break;
        nap_ms(20);
    }
    assert_int_equal(n_connections, 0);
    close(idle);
    close(busy);
    close(streaming);
    close(fresh);
}

static void freeing_a_server_ends_what_is_under_way(void **state) {
    house *h = *state;
    house_open(h);
    static const char *const paths[] = {"/silent", "/open", "/stream?n=100", "/flood?n=100000", "/hold"};
    int fds[7];
    for (int i = 0; i < 5; i++) {
        char request[100];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i]);
        fds[i] = dial(h);
        say(fds[i], request);
        assert_true(wait_for(&h->n_requests, i + 1, 1000));
    }
    fds[5] = dial(h);
    say(fds[5], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    fds[6] = dial(h);
    nap_ms(10);
    house_close(h);
    assert_int_equal(h->n_gone, 5);
    assert_int_equal(h->n_end, 6); /* the half request was known to `head` */
    for (int i = 0; i < 7; i++) {
        assert_true(server_closes(fds[i], 500));
        close(fds[i]);
    }
    weirp_server_free(NULL);
}

/* ---- no work where there is none ---- */

static struct timespec cpu;

static void note_cpu(house *h) {
    (void)h;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
}

static void waiting_costs_nothing(void **state) {
    house *h = *state;
    house_open(h);
    int fds[40];
    for (int i = 0; i < 40; i++) {
        static const char *const kinds[] = {"GET /silent HTTP/1.1\r\n" HOST "\r\n",
                                            "GET /open HTTP/1.1\r\n" HOST "\r\n",
                                            "GET /flood?n=100000 HTTP/1.1\r\n" HOST "\r\n", "GET / HT",
                                            "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab"};
        fds[i] = dial(h);
        int small = 4096;
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        say(fds[i], kinds[i % 5]);
    }
    /* The size line of a chunk that fills the buffer makes libmicrohttpd ask to be run again and again. */
    char *line = pattern(9000);
    say(fds[39], "c\r\n");
    memset(line, 'x', 9000);
    int long_line = dial(h);
    say(long_line, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;");
    say(long_line, line);
    free(line);
    assert_true(wait_for(&h->n_refused_writes, 8, 2000));
    for (size_t before = 0; before != h->n_written; nap_ms(300)) before = h->n_written; /* sockets fill up slowly */
    house_do(h, note_cpu);
    struct timespec before = cpu;
    nap_ms(500);
    house_do(h, note_cpu);
    double ms = (double)(cpu.tv_sec - before.tv_sec) * 1e3 + (double)(cpu.tv_nsec - before.tv_nsec) / 1e6;
    print_message("500 ms of waiting took %.2f ms of CPU\n", ms);
    assert_true(ms < 50);
    close(long_line);
    for (int i = 0; i < 40; i++) close(fds[i]);
}

/* ---- listening ---- */

static void listening_sockets_are_named_and_shared(void **state) {
    (void)state;
    weir_error err = {0};
    char name[80], again[80];
    int a, b;
    assert_int_equal(weirp_listen(&a, "127.0.0.1:0", 0, false, &err), WEIR_OK);
    weirp_listen_name(a, name, sizeof name);
    assert_int_equal(strncmp(name, "127.0.0.1:", 10), 0);
    assert_int_equal(weirp_listen(&b, name, 0, false, &err), WEIR_OK); /* SO_REUSEPORT */
    weirp_listen_name(b, again, sizeof again);
    assert_string_equal(name, again);
    int other = -1;
    assert_int_equal(weirp_listen(&other, name, 0, true, &err),
                     WEIR_NET); /* taken, by somebody else as far as that goes */
    assert_non_null(strstr(err.text, name));
    err = (weir_error){0};
    close(a);
    close(b);
    assert_int_equal(weirp_listen(&a, ":0", 0, false, &err), WEIR_OK);
    close(a);
    assert_int_equal(weirp_listen(&a, "localhost:0", 0, false, &err), WEIR_OK);
    close(a);
    if (weirp_listen(&a, "[::1]:0", 0, false, NULL) == WEIR_OK) { /* there are machines without IPv6 */
        weirp_listen_name(a, name, sizeof name);
        assert_int_equal(strncmp(name, "[::1]:", 6), 0);
        close(a);
    }
    static const char *const wrong[] = {"",      "8080",    "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "::1:80",
                                        "[::1]", "[::1:80", ":65536",    ":123456",    "[::1]80",     ":-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(&err, 0, sizeof err);
        assert_int_equal(weirp_listen(&a, wrong[i], 0, false, &err), WEIR_INVALID);
        assert_int_equal(a, -1);
        assert_non_null(strstr(err.text, wrong[i]));
    }
    memset(&err, 0, sizeof err);
    assert_int_equal(weirp_listen(&a, "192.0.2.1:80", 0, false, &err), WEIR_NET); /* of nobody (RFC 5737) */
    assert_non_null(strstr(err.text, "192.0.2.1:80"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answers_at_once_and_later_on_one_connection),
        TEST(requests_in_one_write_are_answered_in_order),
        TEST(a_request_is_seen_as_it_was_sent),
        TEST(fields_that_would_break_the_head_are_left_out),
        TEST(bodies_of_all_sizes_come_whole),
        TEST(a_request_may_come_byte_by_byte),
        TEST(a_streams_head_comes_before_its_first_bytes),
        TEST(streams_without_a_body_or_without_chunks),
        TEST(a_slow_reader_gets_everything_and_holds_little),
        TEST(what_is_broken_off_never_looks_whole),
        TEST(a_stream_may_begin_late),
        TEST(clients_that_leave_a_silent_handler_are_noticed),
        TEST(clients_that_leave_an_open_stream_are_noticed),
        TEST(clients_that_leave_a_full_stream_are_noticed),
        TEST(a_client_that_has_left_before_it_is_asked_for),
        TEST(a_half_closed_client_gets_what_is_answered_at_once),
        TEST(a_client_that_leaves_in_its_request_reaches_no_handler),
        TEST(a_quiesced_server_answers_what_is_under_way),
        TEST(freeing_a_server_ends_what_is_under_way),
        TEST(waiting_costs_nothing),
        cmocka_unit_test(listening_sockets_are_named_and_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

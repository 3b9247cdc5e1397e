/* Server-sent events: the standard's examples and corner cases, the same from every split of the bytes, within bounds,
 * in linear time. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "src/net/sse.h"

#define TEXT(literal) literal, sizeof(literal) - 1

/* Events as text, "type|data|id;", "-" where there is none. */
typedef struct record {
    weirp_writer out;
    const char *inside; /* with len: data must lie in there, not in a copy */
    size_t inside_len;
    bool outside;
    size_t n, stop_at;
} record;

static weir_status on_event(void *user, const weirp_sse_event *e, weir_error *err) {
    record *r = user;
    weirp_put(&r->out, e->type ? e->type : "-", e->type ? e->type_len : 1);
    weirp_put(&r->out, "|", 1);
    weirp_put(&r->out, e->data, e->len);
    weirp_put(&r->out, "|", 1);
    weirp_put(&r->out, e->id ? e->id : "-", e->id ? e->id_len : 1);
    weirp_put(&r->out, ";", 1);
    if (r->inside && (e->data < r->inside || e->data + e->len > r->inside + r->inside_len)) r->outside = true;
    if (++r->n == r->stop_at) return weirp_fail(err, WEIR_CANCELED, 0, "enough");
    return WEIR_OK;
}

static void expect(const record *r, const char *want, size_t len) {
    assert_int_equal(r->out.size, len);
    if (len) assert_memory_equal(r->out.data, want, len);
}

static const struct sample {
    const char *in;
    size_t in_len;
    const char *out;
    size_t out_len;
    bool pending; /* at the end */
} samples[] = {
    {TEXT("data: one\n\ndata: two\n\n"), TEXT("-|one|-;-|two|-;"), false},
    {TEXT("data: one\r\n\r\ndata: two\r\n\r\n"), TEXT("-|one|-;-|two|-;"), false},
    {TEXT("data: one\r\rdata: two\r\r"), TEXT("-|one|-;-|two|-;"), false},
    {TEXT("data: one\r\n\rdata: two\r\r\n"), TEXT("-|one|-;-|two|-;"), false},
    {TEXT("data: one\n\rdata: two\n\r\n"), TEXT("-|one|-;-|two|-;"), false},
    {TEXT("\xef\xbb\xbf"
          "data: marked\n\n"),
     TEXT("-|marked|-;"), false},
    {TEXT("\xef\xbb"
          "data: not marked\n\ndata: x\n\n"),
     TEXT("-|x|-;"), false},
    {TEXT("data: x\n\n\xef\xbb\xbf"
          "data: a mark in the middle is no mark\n\n"),
     TEXT("-|x|-;"), false},
    {TEXT("event: message_start\ndata: {\"a\":1}\n\n"), TEXT("message_start|{\"a\":1}|-;"), false},
    /* the standard's examples */
    {TEXT("data: YHOO\ndata: +2\ndata: 10\n\n"), TEXT("-|YHOO\n+2\n10|-;"), false},
    {TEXT(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"),
     TEXT("-|first event|1;-|second event|;"), true},
    {TEXT("data\n\ndata\ndata\n\ndata:"), TEXT("-||-;-|\n|-;"), true},
    {TEXT("data:test\n\ndata: test\n\n"), TEXT("-|test|-;-|test|-;"), false},
    /* fields */
    {TEXT("data:  two spaces\n\n"), TEXT("-| two spaces|-;"), false},
    {TEXT("data: a: b\n\n"), TEXT("-|a: b|-;"), false},
    {TEXT("Data: x\ndatas: y\ndat: z\n data: u\n\n"), TEXT(""), false},
    {TEXT("retry: 10\nfoo: bar\nbaz\ndata: x\n\n"), TEXT("-|x|-;"), false},
    {TEXT("event: lonely\nid: 4\n\ndata: x\n\n"), TEXT("-|x|-;"), false},
    {TEXT("event: a\nevent: b\ndata: x\n\n"), TEXT("b|x|-;"), false},
    {TEXT("id: a\0b\ndata: x\n\n"), TEXT("-|x|-;"), false},
    {TEXT("data: nul \0 stays\n\n"), TEXT("-|nul \0 stays|-;"), false},
    {TEXT("data: \ndata:\ndata\n\n"), TEXT("-|\n\n|-;"), false},
    /* comments */
    {TEXT(": ping\n\n: ping\r\n\r\n:\n:\n\n"), TEXT(""), false},
    {TEXT(": done"), TEXT(""), true},
    {TEXT(": done\n"), TEXT(""), false},
    {TEXT(": a\ndata: x\n: b\ndata: y\n\n: c\r"), TEXT("-|x\ny|-;"), false},
    {TEXT("data: x\n: cut in it\n"), TEXT(""), true},
    {TEXT("\n\n\r\n\r\r\n\ndata: x\n\n\n\n"), TEXT("-|x|-;"), false},
    {TEXT(""), TEXT(""), false},
};

static void feed_all(weirp_sse *sse, record *r, const char *bytes, size_t len) {
    assert_int_equal(weirp_sse_feed(sse, bytes, len, on_event, r, NULL), WEIR_OK);
}

static void done(weirp_sse *sse, record *r) {
    weirp_sse_free(sse);
    weirp_writer_free(&r->out);
}

static void samples_whole_and_in_two_or_three(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        for (size_t a = 0; a <= s->in_len; a++) {
            for (size_t b = a; b <= s->in_len; b++) {
                weirp_sse sse = {0};
                record r = {0};
                feed_all(&sse, &r, s->in, a);
                feed_all(&sse, &r, s->in + a, b - a);
                feed_all(&sse, &r, s->in + b, s->in_len - b);
                expect(&r, s->out, s->out_len);
                assert_int_equal(weirp_sse_pending(&sse), s->pending);
                done(&sse, &r);
            }
        }
    }
}

static void samples_byte_by_byte(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        weirp_sse sse = {0};
        record r = {0};
        /* each byte in memory of its own, so that a sanitizer sees a look beyond it */
        for (size_t at = 0; at < samples[i].in_len; at++) {
            char *byte = malloc(1);
            *byte = samples[i].in[at];
            feed_all(&sse, &r, byte, 1);
            free(byte);
        }
        expect(&r, samples[i].out, samples[i].out_len);
        assert_int_equal(weirp_sse_pending(&sse), samples[i].pending);
        done(&sse, &r);
    }
}

static void random_bytes_in_random_pieces(void **state) {
    (void)state;
    static const char *const bits[] = {"data: ", "data", ":", "\n", "\r", "\r\n", "id: 7", "event: e", "x", "\n\n"};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        weirp_writer text = {0};
        for (uint64_t i = 0; i < 40; i++) {
            const char *bit = bits[weirp_random_u64(seed, 1, i) % (sizeof bits / sizeof *bits)];
            weirp_put(&text, bit, strlen(bit));
        }
        const char *bytes = (const char *)text.data;
        weirp_sse whole = {0}, pieces = {0};
        record want = {0}, got = {0};
        feed_all(&whole, &want, bytes, text.size);
        for (size_t at = 0, i = 0; at < text.size; i++) {
            size_t n = weirp_random_u64(seed, 2, i) % 9;
            if (n > text.size - at) n = text.size - at;
            feed_all(&pieces, &got, bytes + at, n);
            at += n;
        }
        assert_int_equal(want.n, got.n);
        expect(&got, (const char *)want.out.data, want.out.size);
        assert_int_equal(weirp_sse_pending(&whole), weirp_sse_pending(&pieces));
        done(&whole, &want);
        done(&pieces, &got);
        weirp_writer_free(&text);
    }
}

static void whole_events_are_not_copied(void **state) {
    (void)state;
    const char in[] = "event: delta\ndata: {\"x\":1}\nid: 3\n\n: ping\n\ndata: [DONE]\r\n\r\n";
    weirp_sse sse = {0};
    record r = {.inside = in, .inside_len = sizeof in};
    feed_all(&sse, &r, in, sizeof in - 1);
    assert_int_equal(r.n, 2);
    assert_false(r.outside);
    assert_null(sse.held.data); /* nothing was ever allocated */
    assert_null(sse.joined.data);
    done(&sse, &r);
}

/* The bound is on the bytes before the empty line, whatever the pieces. */
static void bounded(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t max;
        weir_status want;
        size_t n;
    } cases[] = {{"data: x\n\n", 8, WEIR_OK, 1},
                 {"data: x\n\n", 7, WEIR_PARSE, 0},
                 {"data: x\n\ndata: longer\n\n", 8, WEIR_PARSE, 1},
                 {"data: x\n\n: a long comment\n\n", 8, WEIR_PARSE, 1},
                 {"data: without an end", 8, WEIR_PARSE, 0},
                 {": short\n: short\n: short\ndata: x\n\n", 8, WEIR_OK, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = strlen(cases[i].in);
        for (size_t piece = 1; piece <= len; piece++) {
            weirp_sse sse = {.max_event_bytes = cases[i].max};
            record r = {0};
            weir_error err = {0};
            weir_status st = WEIR_OK;
            for (size_t at = 0; at < len && !st; at += piece)
                st = weirp_sse_feed(&sse, cases[i].in + at, piece < len - at ? piece : len - at, on_event, &r, &err);
            assert_int_equal(st, cases[i].want);
            assert_int_equal(r.n, cases[i].n);
            if (st) assert_non_null(strstr(err.text, "bytes"));
            assert_true(sse.held.size <= cases[i].max);
            done(&sse, &r);
        }
    }
}

static void handler_stops(void **state) {
    (void)state;
    weirp_sse sse = {0};
    record r = {.stop_at = 2};
    weir_error err = {0};
    assert_int_equal(weirp_sse_feed(&sse, TEXT("data: 1\n\ndata: 2\n\ndata: 3\n\n"), on_event, &r, &err),
                     WEIR_CANCELED);
    assert_string_equal(err.text, "enough");
    assert_int_equal(r.n, 2);
    done(&sse, &r);
}

static double seconds(weirp_writer *text, size_t piece) {
    weirp_sse sse = {.max_event_bytes = SIZE_MAX};
    record r = {0};
    uint64_t start = weirp_cpu_ns();
    for (size_t at = 0; at < text->size; at += piece)
        feed_all(&sse, &r, (const char *)text->data + at, piece < text->size - at ? piece : text->size - at);
    double took = (double)(weirp_cpu_ns() - start) / 1e9;
    done(&sse, &r);
    return took;
}

/* A megabyte of what makes a careless parser quadratic. At 1 us a byte it's still a hundred times the usual. */
static void linear(void **state) {
    (void)state;
    static const char *const units[] = {"data\n", "data\r", "data\r\n",    ":\n",         "\n",
                                        "\r",     "x",      "data: x\r\r", "data: x\n\n", "id: 1\r"};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        weirp_writer text = {0};
        while (text.size < 1 << 20) weirp_put(&text, units[u], strlen(units[u]));
        assert_true(seconds(&text, text.size) < 1.0);
        assert_true(seconds(&text, 7) < 1.0);
        assert_true(seconds(&text, 16384) < 1.0);
        weirp_writer_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_whole_and_in_two_or_three),
        cmocka_unit_test(samples_byte_by_byte),
        cmocka_unit_test(random_bytes_in_random_pieces),
        cmocka_unit_test(whole_events_are_not_copied),
        cmocka_unit_test(bounded),
        cmocka_unit_test(handler_stops),
        cmocka_unit_test(linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

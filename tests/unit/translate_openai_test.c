/* What cases as data can't say of OpenAI's side: edits against Jansson, every cut of a stream, limits, and time.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/translate/members.h"
#include "src/translate/openai.h"
#include "src/translate/tables.h"

/* ---- JSON text ---- */

static void test_json_text(void **state) {
    (void)state;
    static const char text[] = "a\"b\\c\x01\n\xff\xc3\xa4\x00z\xed\xa0\x80";
    weirp_writer w = {0};
    weirp_put_json_text(&w, text, sizeof text - 1);
    static const char right[] =
        "\"a\\\"b\\\\c\\u0001\\n\xef\xbf\xbd\xc3\xa4\\u0000z\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"";
    assert_int_equal(w.size, sizeof right - 1);
    assert_memory_equal(w.data, right, w.size);
    weirp_writer_free(&w);
    for (size_t n = 250; n < 260; n++) { /* around putf's own buffer */
        weirp_putf(&w, "%0*d", (int)n, 7);
        assert_int_equal(w.size, n);
        assert_int_equal(w.data[n - 1], '7');
        w.size = 0;
    }
    weirp_writer_free(&w);
}

static void test_count(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t count;
    } cases[] = {{"[7]", 7},     {"[-7]", 0},   {"[12.0]", 12}, {"[1.5]", 0}, {"[1e300]", 0},
                 {"[\"7\"]", 0}, {"[null]", 0}, {"[true]", 0},  {"[0]", 0},   {"[9007199254740993]", 9007199254740993}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = weirp_json_parse(cases[i].text, strlen(cases[i].text), NULL, 0);
        assert_non_null(json);
        assert_int_equal(weirp_json_count(json_array_get(json, 0)), cases[i].count);
        json_decref(json);
    }
    assert_int_equal(weirp_json_count(NULL), 0);
}

/* An edit must do what Jansson's own set and delete do. */
static void check_edit(const char *text, const weirp_edit *edits, size_t n) {
    json_t *right = json_loads(text, 0, NULL);
    weirp_writer out = {0};
    assert_int_equal(weirp_json_edit(text, strlen(text), edits, n, &out), WEIR_OK);
    for (size_t i = 0; i < n; i++) {
        if (edits[i].value)
            json_object_set_new(right, edits[i].key, json_loads(edits[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(right, edits[i].key);
    }
    json_t *got = json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(got);
    assert_true(json_equal(got, right));
    json_decref(got);
    json_decref(right);
    weirp_writer_free(&out);
}

static void test_edit(void **state) {
    (void)state;
    static const char *const texts[] = {"{}",
                                        " { } ",
                                        "{\"a\":1}",
                                        "{\"a\":1,\"b\":2}",
                                        "{\"b\":2,\"a\":1}",
                                        "{\"c\":[1,{\"a\":\"}\"}],\"a\":{\"a\":0},\"b\":\"\\\\\"}",
                                        "\n{ \"b\" : \"\\\"a\\\":1\" , \"a\" : null , \"c\" : -1.5e3 }\n",
                                        "{\"\\u0061\":true,\"b\\\\\":\"x\"}"};
    static const char *const values[] = {NULL, "9", "{\"x\":[]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t j = 0; j < 9; j++) {
            weirp_edit edits[] = {{"a", values[j % 3]}, {"b", values[j / 3]}};
            check_edit(texts[i], edits, 2);
            check_edit(texts[i], edits, 1);
            check_edit(texts[i], edits, 0);
        }
    }
    weirp_writer out = {0};
    static const char *const broken[] = {
        "", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\" 1}", "{a:1}", "{\"a\":\"\\\"}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(weirp_json_edit(broken[i], strlen(broken[i]), NULL, 0, &out), WEIR_PARSE);
    weirp_writer_free(&out);
}

/* ---- limits ---- */

static char *repeated(const char *head, const char *piece, size_t n, const char *tail) {
    size_t size = strlen(head) + n * strlen(piece) + strlen(tail) + 1;
    char *text = malloc(size), *at = text;
    assert_non_null(text);
    at = stpcpy(at, head);
    for (size_t i = 0; i < n; i++) at = stpcpy(at, piece);
    stpcpy(at, tail);
    return text;
}

static void check_refused(char *text, const char *reason) {
    weirp_request r;
    weirp_fault fault;
    assert_int_equal(weirp_request_parse(&r, WEIRP_API_CHAT, text, strlen(text), &fault), WEIR_PARSE);
    assert_string_equal(fault.code, "invalid_json");
    assert_non_null(strstr(fault.text, reason));
    assert_null(r.json);
    free(text);
}

static void test_limits(void **state) {
    (void)state;
    check_refused(repeated("{\"a\":", "[", 100000, ""), "levels deep");
    check_refused(repeated("{\"a\":", "{\"a\":", 130, "1"), "levels deep");
    check_refused(repeated("{\"a\":[0", ",0", 2 << 20, "]}"), "values");
    check_refused(repeated("{\"a\":\"", "\\\\", 1 << 20, ""), "JSON"); /* linear, however many backslashes */
    char *text = repeated("{\"a\":\"", "[[{{,,", 100000, "\"}");       /* in strings brackets are letters */
    json_t *json = weirp_json_parse(text, strlen(text), NULL, 0);
    assert_non_null(json);
    json_decref(json);
    free(text);
}

/* A vendor's calls and choices are bounded, too. */
static void test_reader_limits(void **state) {
    (void)state;
    weirp_request r;
    weirp_fault fault;
    static const char asked[] = "{\"model\":\"m\",\"prompt\":\"a\",\"stream\":true}";
    assert_int_equal(weirp_request_parse(&r, WEIRP_API_COMPLETIONS, asked, strlen(asked), &fault), WEIR_OK);
    weirp_answer_options options = {.protocol = WEIRP_PROTOCOL_OPENAI, .model = "m", .id = "i"};
    weirp_answer *answer;
    weirp_writer out = {0};
    weir_error err = {0};
    static const char far[] = "{\"choices\":[{\"index\":4000000000,\"delta\":{\"content\":\"a\"}}]}";
    assert_int_equal(weirp_answer_new(&answer, &r, &options, NULL), WEIR_OK);
    assert_int_equal(weirp_answer_event(answer, "", 0, far, strlen(far), &out, NULL, &err), WEIR_PARSE);
    weir_status st = WEIR_OK;
    size_t n = 0;
    for (; st == WEIR_OK && n < 5000; n++) {
        char text[128];
        snprintf(text, sizeof text, "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":%zu,\"id\":\"c%zu\"}]}}]}", n,
                 n);
        st = weirp_answer_event(answer, "", 0, text, strlen(text), &out, NULL, NULL);
    }
    assert_int_equal(st, WEIR_PARSE);
    assert_true(n > 100 && n < 5000);
    weirp_answer_free(answer);
    weirp_writer_free(&out);
    weirp_request_free(&r);
}

/* ---- pieces ---- */

typedef struct trace {
    char text[4096];
    size_t len;
} trace;

static weir_status record(void *user, const weirp_piece *p, weir_error *err) {
    static const char *const kinds[] = {"start",     "text",   "reasoning", "refusal", "tool",
                                        "arguments", "finish", "usage",     "end"};
    trace *t = user;
    (void)err;
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s %zu.%zu %.*s %.*s %.*s\n", kinds[p->kind],
                               p->choice, p->index, (int)p->text_len, p->text ? p->text : "", (int)p->id_len,
                               p->id ? p->id : "", (int)p->name_len, p->name ? p->name : "");
    return WEIR_OK;
}

static void check_pieces(const char *const *events, size_t n, const char *right) {
    weirp_reader *reader = weirp_openai_open();
    trace t = {0};
    assert_non_null(reader);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(weirp_openai_event(reader, "", 0, events[i], strlen(events[i]), record, &t, NULL, NULL),
                         WEIR_OK);
    assert_string_equal(t.text, right);
    free(reader);
}

static void test_parallel_calls(void **state) {
    (void)state;
    static const char *const proper[] = {
        "{\"id\":\"i\",\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{"
        "\"name\":\"f\",\"arguments\":\"\"}}]}}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\"}}]}}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\","
        "\"arguments\":\"{}\"}}]}}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"}\"}}]}}]}"};
    check_pieces(
        proper, 4,
        "start 0.0  i \ntool 1.0  a f\narguments 1.0 {  \ntool 1.1  b g\narguments 1.1 {}  \narguments 1.0 }  \n");
    /* Gemini's OpenAI endpoint has called all of them 0, or none anything. */
    static const char *const zeros[] = {"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\","
                                        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}",
                                        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\","
                                        "\"function\":{\"name\":\"g\",\"arguments\":\"[]\"}}]}}]}"};
    check_pieces(zeros, 2, "start 0.0   \ntool 0.0  a f\narguments 0.0 {}  \ntool 0.1  b g\narguments 0.1 []  \n");
    static const char *const none[] = {
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1}}}"
        ",{\"id\":\"b\",\"function\":{\"name\":\"g\"}}]}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"[]\"}}]}}]}"};
    check_pieces(none, 2,
                 "start 0.0   \ntool 0.0  a f\narguments 0.0 {\"x\":1}  \ntool 0.1  b g\narguments 0.1 []  \n");
}

/* Pieces as a translated vendor's reader gives them, written for a chat client. */
static void write_pieces(const weirp_piece *pieces, size_t n, const weirp_answer_facts *facts, bool stream,
                         weirp_writer *out) {
    weirp_pen_options options = {.stream = stream, .model = "m", .id = "7", .created_s = 5};
    weirp_pen *pen = weirp_chat_ops.open(&options);
    assert_non_null(pen);
    for (size_t i = 0; i < n; i++) assert_int_equal(weirp_chat_ops.piece(pen, &pieces[i], out, NULL), WEIR_OK);
    assert_int_equal(weirp_chat_ops.end(pen, facts, "n", 1, out, NULL), WEIR_OK);
    weirp_chat_ops.close(pen);
    weirp_put(out, "", 1);
}

#define TEXT(kind_, choice_, text_)                                                                                    \
    { .kind = WEIRP_PIECE_##kind_, .choice = choice_, .text = text_, .text_len = sizeof text_ - 1 }
#define TOOL(choice_, index_, id_, name_)                                                                              \
    {                                                                                                                  \
        .kind = WEIRP_PIECE_TOOL, .choice = choice_, .index = index_, .id = id_, .id_len = sizeof id_ - 1,             \
        .name = name_, .name_len = sizeof name_ - 1                                                                    \
    }
#define ARGUMENTS(choice_, index_, text_)                                                                              \
    { .kind = WEIRP_PIECE_ARGUMENTS, .choice = choice_, .index = index_, .text = text_, .text_len = sizeof text_ - 1 }

static const weirp_piece spoken[] = {{.kind = WEIRP_PIECE_START, .id = "x", .id_len = 1},
                                     TEXT(REASONING, 0, "hm\xff"),
                                     TEXT(TEXT, 0, "He"),
                                     TEXT(TEXT, 0, "y"),
                                     TOOL(0, 0, "", "f"),
                                     ARGUMENTS(0, 0, "{\"a\":"),
                                     ARGUMENTS(0, 0, "1}"),
                                     TOOL(0, 1, "call_9", "g"),
                                     TEXT(REFUSAL, 1, "no"),
                                     {.kind = WEIRP_PIECE_FINISH, .choice = 0, .finish = WEIRP_FINISH_STOP},
                                     {.kind = WEIRP_PIECE_FINISH, .choice = 1, .finish = WEIRP_FINISH_FILTER},
                                     {.kind = WEIRP_PIECE_END}};
static const weirp_answer_facts spoken_facts = {.usage = {.input_tokens = 3,
                                                          .output_tokens = 4,
                                                          .cached_input_tokens = 2,
                                                          .cache_write_tokens = 1,
                                                          .reasoning_tokens = 1,
                                                          .known = true}};

static void test_whole_answer(void **state) {
    (void)state;
    weirp_writer out = {0};
    write_pieces(spoken, sizeof spoken / sizeof spoken[0], &spoken_facts, false, &out);
    json_t *got = json_loads((const char *)out.data, JSON_REJECT_DUPLICATES, NULL);
    json_t *right =
        json_loads("{\"id\":\"chatcmpl-7\",\"object\":\"chat.completion\",\"created\":5,\"model\":\"m\",\"choices\":["
                   "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hey\",\"refusal\":null,\"reasoning_"
                   "content\":\"hm\xef\xbf\xbd\","
                   "\"tool_calls\":[{\"id\":\"call_7_0_0\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                   "\"arguments\":\"{\\\"a\\\":1}\"}},"
                   "{\"id\":\"call_9\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"
                   "\"logprobs\":null,\"finish_reason\":\"tool_calls\"},"
                   "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},\"logprobs\":"
                   "null,\"finish_reason\":\"content_filter\"}],"
                   "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,\"prompt_tokens_"
                   "details\":{\"cached_tokens\":2,\"audio_tokens\":0,\"cache_write_tokens\":1},"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":1,\"audio_tokens\":0}}}",
                   0, NULL);
    assert_non_null(right);
    assert_true(json_equal(got, right));
    json_decref(got);
    json_decref(right);
    weirp_writer_free(&out);
}

/* What a client gathers from the stream must be what it gets whole: our own reader is the client. */
static void test_stream_equals_whole(void **state) {
    (void)state;
    weirp_writer out = {0};
    write_pieces(spoken, sizeof spoken / sizeof spoken[0], &spoken_facts, true, &out);
    weirp_reader *reader = weirp_openai_open();
    trace t = {0};
    char *save, *text = (char *)out.data;
    assert_non_null(strstr(text, "\n\n: n\n\ndata: [DONE]\n\n"));
    assert_null(strstr(text, "\"usage\"")); /* nobody asked */
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (*line == ':') continue;
        assert_int_equal(strncmp(line, "data: ", 6), 0);
        assert_int_equal(weirp_openai_event(reader, "", 0, line + 6, strlen(line + 6), record, &t, NULL, NULL),
                         WEIR_OK);
    }
    assert_string_equal(t.text,
                        "start 0.0  chatcmpl-7 m\nreasoning 0.0 hm\xef\xbf\xbd  \ntext 0.0 He  \ntext 0.0 y  \n"
                        "tool 0.0  call_7_0_0 f\narguments 0.0 {\"a\":  \narguments 0.0 1}  \ntool 0.1  call_9 g\n"
                        "refusal 1.0 no  \nfinish 0.0   \nfinish 1.0   \nend 0.0   \n");
    free(reader);
    weirp_writer_free(&out);
}

static void test_empty_answer(void **state) {
    (void)state;
    weirp_writer out = {0};
    weirp_answer_facts facts = {.finish = WEIRP_FINISH_FILTER};
    write_pieces(NULL, 0, &facts, true, &out);
    assert_non_null(strstr((const char *)out.data, "\"finish_reason\":\"content_filter\""));
    out.size = 0;
    write_pieces(NULL, 0, &facts, false, &out);
    json_t *got = json_loads((const char *)out.data, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(got, "choices")), 1);
    json_decref(got);
    weirp_writer_free(&out);
}

/* ---- want of memory ---- */

static size_t allocations_left;

static void *scarce_malloc(size_t n) {
    if (!allocations_left) return NULL;
    allocations_left--;
    return malloc(n);
}

/* A legacy completion as a chat, there and back, with so many of Jansson's allocations. True: all went well. */
static bool survive(size_t n) {
    static const char prompt[] =
        "{\"model\":\"m\",\"prompt\":[\"a\"],\"stream\":true,\"max_tokens\":9,\"stream_options\":{\"x\":1}}";
    static const char event[] =
        "{\"id\":\"i\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}";
    weirp_request r;
    weirp_fault fault;
    weirp_answer *answer = NULL;
    weirp_answer_options options = {.protocol = WEIRP_PROTOCOL_OPENAI, .model = "m", .id = "i"};
    weirp_target target = {.model = "v", .max_output_tokens = 5};
    weirp_writer body = {0}, out = {0};
    char path[64];
    allocations_left = n;
    weir_status st = weirp_request_parse(&r, WEIRP_API_COMPLETIONS, prompt, strlen(prompt), &fault);
    assert_true(st == WEIR_OK || st == WEIR_PARSE || st == WEIR_NOMEM);
    if (st) return false;
    st = weirp_request_write(&r, &target, &body, path, sizeof path, &fault);
    assert_true(st == WEIR_OK || st == WEIR_NOMEM);
    bool ok = !st;
    assert_int_equal(weirp_answer_new(&answer, &r, &options, NULL), WEIR_OK);
    st = weirp_answer_event(answer, "", 0, event, strlen(event), &out, NULL, NULL);
    assert_true(st == WEIR_OK || st == WEIR_PARSE || st == WEIR_NOMEM);
    ok = ok && !st && !weirp_answer_end(answer, &out, NULL);
    weirp_answer_free(answer);
    weirp_request_free(&r);
    weirp_writer_free(&body);
    weirp_writer_free(&out);
    return ok;
}

static void test_want_of_memory(void **state) {
    (void)state;
    size_t n = 0;
    json_set_alloc_funcs(scarce_malloc, free);
    while (n < 1000 && !survive(n)) n++;
    json_set_alloc_funcs(malloc, free);
    assert_true(n > 20 && n < 1000);
}

/* ---- time ---- */

static const char asked[] = "{\"model\":\"weir\",\"temperature\":0.7,\"max_tokens\":512,\"stream\":true,\"messages\":[{"
                            "\"role\":\"system\",\"content\":"
                            "\"You are a helpful assistant that answers in one short "
                            "paragraph.\"},{\"role\":\"user\",\"content\":\"Explain how a "
                            "heat pump can move more heat into a house than the electric energy that it takes, and "
                            "what limits it on cold days.\"}],"
                            "\"user\":\"user-1234\",\"stream_options\":{\"include_usage\":false}}";
static const char said[] =
    "{\"id\":\"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":"
    "\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{"
    "\"index\":0,"
    "\"delta\":{\"content\":\" house\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}";

/* Figures for those who look; the bounds are so wide that only a wrong order of growth breaks them. */
static void test_time(void **state) {
    (void)state;
    enum { ROUNDS = 20000 };
    weirp_target target = {.model = "gpt-4o-mini", .max_output_tokens = NAN};
    weirp_writer body = {0}, out = {0};
    weirp_request r;
    weirp_fault fault;
    char path[64];
    uint64_t begin = weirp_cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(weirp_request_parse(&r, WEIRP_API_CHAT, asked, sizeof asked - 1, &fault), WEIR_OK);
        assert_int_equal(weirp_request_write(&r, &target, &body, path, sizeof path, &fault), WEIR_OK);
        weirp_request_free(&r);
    }
    double request_us = (double)(weirp_cpu_ns() - begin) / 1e3 / ROUNDS;
    weirp_answer_options options = {.protocol = WEIRP_PROTOCOL_OPENAI, .model = "m", .id = "i"};
    weirp_answer *answer;
    assert_int_equal(weirp_request_parse(&r, WEIRP_API_CHAT, asked, sizeof asked - 1, &fault), WEIR_OK);
    assert_int_equal(weirp_answer_new(&answer, &r, &options, NULL), WEIR_OK);
    begin = weirp_cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        out.size = 0;
        if (weirp_answer_event(answer, "", 0, said, sizeof said - 1, &out, NULL, NULL)) fail();
    }
    double event_us = (double)(weirp_cpu_ns() - begin) / 1e3 / ROUNDS;
    print_message("request of %zu bytes: %.2f us; event of %zu bytes: %.2f us\n", sizeof asked - 1, request_us,
                  sizeof said - 1, event_us);
    assert_int_equal(weirp_answer_facts_of(answer)->output_chars, 6 * ROUNDS);
    assert_true(request_us < 2000 && event_us < 1000);
    weirp_answer_free(answer);
    weirp_request_free(&r);
    weirp_writer_free(&body);
    weirp_writer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_text),     cmocka_unit_test(test_count),
        cmocka_unit_test(test_edit),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_reader_limits), cmocka_unit_test(test_parallel_calls),
        cmocka_unit_test(test_whole_answer),  cmocka_unit_test(test_stream_equals_whole),
        cmocka_unit_test(test_empty_answer),  cmocka_unit_test(test_want_of_memory),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

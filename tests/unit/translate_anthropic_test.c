/* translate_anthropic_test.c: Anthropic's Messages API on both sides: what can't be told as one request or answer in
 * and one out. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/translate/anthropic.h"

/* ---- helpers ---- */

static json_t *json_of(const char *text) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json) fail_msg("the test's own JSON is wrong: %s", text);
    return json;
}

/* A chat request as chat.c would hand it over. */
static weirp_request chat_request(const char *text) {
    weirp_request r = {.api = WEIRP_API_CHAT, .text = text, .len = strlen(text), .n_choices = 1};
    r.json = json_of(text);
    r.chat = json_incref(r.json);
    const json_t *most = json_object_get(r.json, "max_tokens");
    r.max_output_tokens = json_is_number(most) ? json_number_value(most) : NAN;
    const json_t *n = json_object_get(r.json, "n"), *user = json_object_get(r.json, "user");
    if (json_is_integer(n)) r.n_choices = (size_t)json_integer_value(n);
    r.end_user = json_string_value(user);
    r.stream = json_is_true(json_object_get(r.json, "stream"));
    return r;
}

static weir_status messages_request(weirp_request *r, const char *text, weirp_fault *fault) {
    *r = (weirp_request){.api = WEIRP_API_MESSAGES, .text = text, .len = strlen(text), .json = json_of(text)};
    return weirp_messages_ops.parse(r, fault);
}

static void request_free(weirp_request *r) {
    json_decref(r->json);
    json_decref(r->chat);
}

static const weirp_target target = {.protocol = WEIRP_PROTOCOL_ANTHROPIC, .model = "claude", .max_output_tokens = NAN};

/* What Anthropic is asked, as JSON; NULL: refused. */
static json_t *asked(const weirp_request *r, const weirp_target *t, weirp_fault *fault) {
    weirp_writer body = {0};
    char path[64];
    weir_status st = weirp_anthropic_ops.write(r, t, &body, path, sizeof path, fault);
    json_t *json = NULL;
    if (st == WEIR_OK) {
        assert_string_equal(path, "/messages");
        json = json_loadb((char *)body.data, body.size, 0, NULL);
        assert_non_null(json);
    } else {
        assert_int_equal(st, WEIR_INVALID);
        assert_true(fault->text[0]);
    }
    weirp_writer_free(&body);
    return json;
}

static void assert_json(const json_t *got, const char *expected) {
    json_t *wanted = json_of(expected);
    if (!json_equal(got, wanted)) {
        char *text = json_dumps(got, JSON_ENCODE_ANY);
        fail_msg("expected %s\ngot %s", expected, text);
    }
    json_decref(wanted);
}

/* Pieces as lines of text. */
static weir_status note_piece(void *user, const weirp_piece *p, weir_error *err) {
    weirp_writer *w = user;
    (void)err;
    const int text = (int)p->text_len, id = (int)p->id_len, name = (int)p->name_len;
    switch (p->kind) {
    case WEIRP_PIECE_START: weirp_putf(w, "start %.*s %.*s\n", id, p->id, name, p->name); break;
    case WEIRP_PIECE_TEXT: weirp_putf(w, "text %.*s\n", text, p->text); break;
    case WEIRP_PIECE_REASONING: weirp_putf(w, "reasoning %.*s\n", text, p->text); break;
    case WEIRP_PIECE_REFUSAL: weirp_putf(w, "refusal %.*s\n", text, p->text); break;
    case WEIRP_PIECE_TOOL: weirp_putf(w, "tool %zu %.*s %.*s\n", p->index, id, p->id, name, p->name); break;
    case WEIRP_PIECE_ARGUMENTS: weirp_putf(w, "arguments %zu %.*s\n", p->index, text, p->text); break;
    case WEIRP_PIECE_FINISH: weirp_putf(w, "finish %d\n", (int)p->finish); break;
    case WEIRP_PIECE_USAGE:
        weirp_putf(w, "usage in %lld cached %lld written %lld out %lld reasoning %lld\n",
                   (long long)p->usage->input_tokens, (long long)p->usage->cached_input_tokens,
                   (long long)p->usage->cache_write_tokens, (long long)p->usage->output_tokens,
                   (long long)p->usage->reasoning_tokens);
        break;
    case WEIRP_PIECE_END: weirp_putf(w, "end\n"); break;
    }
    return WEIR_OK;
}

static void assert_text(weirp_writer *w, const char *expected) {
    weirp_put(w, "", 1);
    assert_false(w->failed);
    assert_string_equal((char *)w->data, expected);
    weirp_writer_free(w);
}

static weir_status event(weirp_reader *reader, const char *data, weirp_writer *lines, weirp_vendor_fault *fault,
                         weir_error *err) {
    return weirp_anthropic_ops.event(reader, NULL, 0, data, strlen(data), note_piece, lines, fault, err);
}

/* ---- requests to Anthropic ---- */

static void limits_of_the_model_hold(void **state) {
    (void)state;
    weirp_fault fault = {0};
    static const struct {
        const char *request;
        double most, standard;
        json_int_t expected;
    } table[] = {
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", NAN, 0, 4096},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", NAN, 1000, 1000},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 512, 1000, 512},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":100}", NAN, 1000, 100},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":100}", 64, 1000, 64},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":100}", INFINITY, 0, 100},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":0}", NAN, 0, 4096},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        weirp_request r = chat_request(table[i].request);
        weirp_target t = target;
        t.max_output_tokens = table[i].most;
        t.default_max_output_tokens = table[i].standard;
        json_t *body = asked(&r, &t, &fault);
        assert_int_equal(json_integer_value(json_object_get(body, "max_tokens")), table[i].expected);
        json_decref(body);
        request_free(&r);
    }
}

static void what_cannot_be_asked_names_its_place(void **state) {
    (void)state;
    static const struct {
        const char *members, *param;
    } table[] = {
        {"\"n\":2", "n"},
        {"\"logprobs\":true", "logprobs"},
        {"\"modalities\":[\"text\",\"audio\"]", "modalities"},
        {"\"functions\":[{\"name\":\"f\"}]", "functions"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"input_audio\","
         "\"input_audio\":{\"data\":\"AA==\",\"format\":\"wav\"}}]}]",
         "messages[0].content[1].input_audio"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"ftp://"
         "x\"}}]}]",
         "messages[0].content[0].image_url"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
         "{\"url\":\"data:image/tiff;base64,AAAA\"}}]}]",
         "messages[0].content[0].image_url"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]",
         "messages[0].content[0].file"},
        {"\"messages\":[{\"role\":\"user\",\"content\":7}]", "messages[0].content"},
        {"\"messages\":[{\"role\":\"function\",\"content\":\"x\"}]", "messages[0].role"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"  \"}]", "messages"},
        {"\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}]", "tools[0].type"},
        {"\"response_format\":{\"type\":\"xml\"}", "response_format.type"},
        {"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":{\"type\":\"allowed_"
         "tools\"}",
         "tool_choice"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const bool own = strstr(table[i].members, "\"messages\"") != NULL;
        char text[512];
        snprintf(text, sizeof text, "{%s%s}", table[i].members,
                 own ? "" : ",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]");
        weirp_request r = chat_request(text);
        weirp_fault fault = {0};
        assert_null(asked(&r, &target, &fault));
        assert_string_equal(fault.param, table[i].param);
        request_free(&r);
    }
}

static void sampling_is_brought_into_range(void **state) {
    (void)state;
    static const struct {
        const char *members, *expected; /* temperature and top_p */
    } table[] = {
        {"", "{}"},
        {",\"temperature\":0.3", "{\"temperature\":0.3}"},
        {",\"temperature\":1.7", "{\"temperature\":1}"},
        {",\"temperature\":-1", "{\"temperature\":0}"},
        {",\"top_p\":0.9", "{\"top_p\":0.9}"},
        {",\"top_p\":1", "{}"},
        {",\"temperature\":0.3,\"top_p\":0.9", "{\"temperature\":0.3}"},
        {",\"temperature\":1,\"top_p\":0.9", "{\"top_p\":0.9}"},
        {",\"temperature\":null,\"top_p\":null", "{}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s}", table[i].members);
        weirp_request r = chat_request(text);
        weirp_fault fault = {0};
        json_t *body = asked(&r, &target, &fault);
        json_object_del(body, "model");
        json_object_del(body, "max_tokens");
        json_object_del(body, "messages");
        assert_json(body, table[i].expected);
        json_decref(body);
        request_free(&r);
    }
}

static void a_request_can_be_written_twice(void **state) {
    (void)state;
    weirp_request r =
        chat_request("{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"x\"},"
                     "{\"role\":\"assistant\",\"content\":\"y \"}],"
                     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]}");
    json_t *before = json_deep_copy(r.chat);
    weirp_fault fault = {0};
    json_t *first = asked(&r, &target, &fault), *second = asked(&r, &target, &fault);
    assert_true(json_equal(first, second));
    assert_true(json_equal(before, r.chat)); /* and the next vendor gets what the client sent */
    json_decref(first);
    json_decref(second);
    json_decref(before);
    request_free(&r);
}

static void own_clients_requests_pass_through(void **state) {
    (void)state;
    const char *text = "{ \"model\" : \"weir\",\"max_tokens\":900, \"top_k\":5,\n"
                       "\"messages\":[ {\"role\":\"user\",\"content\":\"x\\u00e9\"} ] }";
    weirp_fault fault = {0};
    weirp_request r;
    assert_int_equal(messages_request(&r, text, &fault), WEIR_OK);
    weirp_target t = target;
    t.max_output_tokens = 800;
    weirp_writer body = {0};
    char path[32];
    assert_int_equal(weirp_anthropic_ops.write(&r, &t, &body, path, sizeof path, &fault), WEIR_OK);
    assert_string_equal(path, "/messages");
    assert_text(&body, "{ \"model\" : \"claude\",\"max_tokens\":800, \"top_k\":5,\n"
                       "\"messages\":[ {\"role\":\"user\",\"content\":\"x\\u00e9\"} ] }");
    request_free(&r);
}

static void unsigned_thinking_stays_here(void **state) {
    (void)state;
    weirp_fault fault = {0};
    weirp_request r;
    assert_int_equal(
        messages_request(
            &r,
            "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"\"},"
            "{\"type\":\"text\",\"text\":\"b\"}]},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"c\",\"signature\":\"\"}]},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"d\",\"signature\":\"e\"}]},"
            "{\"role\":\"user\",\"content\":\"y\"}]}",
            &fault),
        WEIR_OK);
    json_t *body = asked(&r, &target, &fault);
    assert_json(json_object_get(body, "messages"),
                "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\","
                "\"text\":\"b\"}]},"
                "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"d\",\"signature\":\"e\"}]},"
                "{\"role\":\"user\",\"content\":\"y\"}]");
    json_decref(body);
    request_free(&r);
}

/* ---- chat -> anthropic -> chat keeps what simple conversations say ---- */

static unsigned random_below(uint64_t *counter, unsigned n) {
    return (unsigned)(weirp_random_u64(20231101, 7, (*counter)++) % n);
}

static json_t *random_text(uint64_t *counter) {
    static const char *const words[] = {
        "river", "gate \"two\"", "\xc3\xa9t\xc3\xa9", "\\", "\xe4\xb8\x80", "line\nline", "0", "{}"};
    char text[96] = "w";
    for (unsigned i = 0, n = random_below(counter, 5); i < n; i++) {
        strcat(text, " ");
        strcat(text, words[random_below(counter, 8)]);
    }
    return json_string(text);
}

static json_t *random_user(uint64_t *counter) {
    if (random_below(counter, 2)) return json_pack("{ssso}", "role", "user", "content", random_text(counter));
    return json_pack("{sss[{ssso}{sss{ss}}]}", "role", "user", "content", "type", "text", "text", random_text(counter),
                     "type", "image_url", "image_url", "url",
                     random_below(counter, 2) ? "data:image/png;base64,iVBORw0KGgo=" : "https://example.org/a.png");
}

static void random_tool_turn(json_t *messages, uint64_t *counter, unsigned turn) {
    json_t *calls = json_array(), *results = json_array();
    for (unsigned i = 0, n = 1 + random_below(counter, 3); i < n; i++) {
        char id[32], arguments[64];
        snprintf(id, sizeof id, "call_%u_%u", turn, i);
        snprintf(arguments, sizeof arguments, "{\"n\":%u,\"deep\":[{\"a\":null}]}", random_below(counter, 100));
        json_array_append_new(calls, json_pack("{sssss{ssss}}", "id", id, "type", "function", "function", "name",
                                               "look", "arguments", arguments));
        json_array_append_new(results, json_pack("{sssoss}", "role", "tool", "content", random_text(counter),
                                                 "tool_call_id", id));
    }
    json_array_append_new(messages, json_pack("{sssoso}", "role", "assistant", "content",
                                              random_below(counter, 2) ? random_text(counter) : json_null(),
                                              "tool_calls", calls));
    json_array_extend(messages, results);
    json_decref(results);
}

static json_t *random_chat(uint64_t *counter) {
    json_t *messages = json_array();
    if (random_below(counter, 2))
        json_array_append_new(messages, json_pack("{ssso}", "role", "system", "content", random_text(counter)));
    for (unsigned i = 0, n = 1 + random_below(counter, 3); i < n; i++) {
        json_array_append_new(messages, random_user(counter));
        if (random_below(counter, 3) == 0) random_tool_turn(messages, counter, i);
        json_array_append_new(messages, json_pack("{ssso}", "role", "assistant", "content", random_text(counter)));
    }
    json_array_append_new(messages, random_user(counter));
    json_t *chat = json_pack("{sssosi}", "model", "weir", "messages", messages, "max_tokens",
                             1 + (int)random_below(counter, 4096));
    if (random_below(counter, 2))
        json_object_set_new(chat, "temperature", json_real(random_below(counter, 101) / 100.0));
    if (random_below(counter, 2)) json_object_set_new(chat, "stop", json_pack("[ss]", "END", "\n\nQ"));
    if (random_below(counter, 2)) json_object_set_new(chat, "user", random_text(counter));
    if (random_below(counter, 2)) json_object_set_new(chat, "stream", json_true());
    if (random_below(counter, 2)) {
        static const char *const choices[] = {"\"auto\"", "\"none\"", "\"required\"",
                                              "{\"type\":\"function\",\"function\":{\"name\":\"look\"}}"};
        json_object_set_new(chat, "tools",
                            json_of(
                                "[{\"type\":\"function\",\"function\":{\"name\":\"look\",\"description\":\"d\","
                                "\"parameters\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"}}},"
                                "\"strict\":true}}]"));
        const unsigned choice = random_below(counter, 4);
        json_object_set_new(chat, "tool_choice", json_of(choices[choice]));
        if (choice != 1 && random_below(counter, 2)) json_object_set_new(chat, "parallel_tool_calls", json_false());
    }
    return chat;
}

static void round_trips_keep_the_meaning(void **state) {
    (void)state;
    uint64_t counter = 0;
    for (int i = 0; i < 500; i++) {
        json_t *chat = random_chat(&counter);
        char *text = json_dumps(chat, JSON_COMPACT);
        weirp_request out = chat_request(text), back;
        weirp_fault fault = {0};
        json_t *body = asked(&out, &target, &fault);
        assert_non_null(body);
        char *there = json_dumps(body, JSON_COMPACT);
        assert_int_equal(messages_request(&back, there, &fault), WEIR_OK);
        back.chat = weirp_messages_ops.chat(&back, &fault);
        assert_non_null(back.chat);
        json_object_set_new(chat, "model", json_string("claude"));
        if (!json_equal(chat, back.chat)) {
            char *got = json_dumps(back.chat, JSON_COMPACT);
            fail_msg("sent %s\nasked %s\ngot back %s", text, there, got);
        }
        request_free(&out);
        request_free(&back);
        json_decref(body);
        json_decref(chat);
        free(text);
        free(there);
    }
}

/* ---- answers ---- */

static void usage_is_cumulative_and_whole(void **state) {
    (void)state;
    weirp_reader *reader = weirp_anthropic_ops.open();
    weirp_writer lines = {0};
    weir_error err = {0};
    assert_int_equal(
        event(reader,
              "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-x\",\"usage\":{"
              "\"input_tokens\":10,\"cache_read_input_tokens\":200,\"cache_creation_input_tokens\":30,"
              "\"output_tokens\":1}}}",
              &lines, NULL, &err),
        WEIR_OK);
    assert_int_equal(
        event(reader, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":7}}",
              &lines, NULL, &err),
        WEIR_OK);
    assert_int_equal(
        event(
            reader,
            "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{\"input_tokens\":11,"
            "\"cache_read_input_tokens\":null,\"output_tokens\":9,\"output_tokens_details\":{\"thinking_tokens\":4}}}",
            &lines, NULL, &err),
        WEIR_OK);
    assert_text(&lines, "start msg_1 claude-x\nusage in 240 cached 200 written 30 out 1 reasoning 0\n"
                        "usage in 240 cached 200 written 30 out 7 reasoning 0\n"
                        "finish 2\nusage in 241 cached 200 written 30 out 9 reasoning 4\n");
    free(reader);
}

static void absurd_usage_stays_a_number(void **state) {
    (void)state;
    weirp_answer_facts facts = {0};
    const char *data = "{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"input_tokens\":9223372036854775807,"
                       "\"cache_read_input_tokens\":9223372036854775807,\"output_tokens\":-5}}";
    assert_int_equal(weirp_anthropic_facts(&facts, "message_delta", 13, data, strlen(data), NULL, NULL), WEIR_OK);
    assert_int_equal(facts.usage.input_tokens, 0);
    assert_int_equal(facts.usage.output_tokens, 0);
}

static void events_become_pieces(void **state) {
    (void)state;
    static const char *const events[] = {
        "{\"type\":\"ping\"}",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"x\"}}",
        "{\"type\":\"content_block_stop\",\"index\":0}",
        "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
        "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}",
        "{\"type\":\"content_block_stop\",\"index\":1}",
        "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"s\","
        "\"name\":\"web\"}}",
        "{\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}"
        "\"}}",
        "{\"type\":\"content_block_stop\",\"index\":2}",
        "{\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":"
        "\"a\",\"input\":{}}}",
        "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{"
        "\\\"k\\\":\"}}",
        "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"1}"
        "\"}}",
        "{\"type\":\"content_block_stop\",\"index\":3}",
        "{\"type\":\"content_block_start\",\"index\":4,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t2\",\"name\":"
        "\"b\",\"input\":{}}}",
        "{\"type\":\"content_block_delta\",\"index\":4,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}"
        "}",
        "{\"type\":\"content_block_stop\",\"index\":4}",
        "{\"type\":\"something_new\",\"x\":1}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}",
        "{\"type\":\"message_stop\"}",
    };
    weirp_reader *reader = weirp_anthropic_ops.open();
    weirp_writer lines = {0};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        assert_int_equal(event(reader, events[i], &lines, NULL, NULL), WEIR_OK);
    assert_text(&lines, "reasoning hm\ntext Hi\ntool 0 t1 a\narguments 0 {\"k\":\narguments 0 1}\ntool 1 t2 b\n"
                        "arguments 1 {}\nfinish 3\nend\n");
    free(reader);
}

static void stop_reasons_have_their_meaning(void **state) {
    (void)state;
    static const struct {
        const char *reason;
        weirp_finish finish;
    } table[] = {
        {"end_turn", WEIRP_FINISH_STOP},     {"stop_sequence", WEIRP_FINISH_STOP},
        {"max_tokens", WEIRP_FINISH_LENGTH}, {"tool_use", WEIRP_FINISH_TOOLS},
        {"refusal", WEIRP_FINISH_FILTER},    {"pause_turn", WEIRP_FINISH_OTHER},
        {"in a year", WEIRP_FINISH_OTHER},   {"model_context_window_exceeded", WEIRP_FINISH_LENGTH},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        weirp_answer_facts facts = {0};
        char data[160];
        int n = snprintf(data, sizeof data, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\"}}",
                         table[i].reason);
        assert_int_equal(weirp_anthropic_facts(&facts, "message_delta", 13, data, (size_t)n, NULL, NULL), WEIR_OK);
        assert_int_equal(facts.finish, table[i].finish);
        assert_false(facts.usage.known);
    }
}

static void errors_are_sorted(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *type, *message;
        weirp_vendor_fault_kind kind;
    } table[] = {
        {429, "rate_limit_error", "slow down", WEIRP_VENDOR_RATE_LIMIT},
        {529, "overloaded_error", "Overloaded", WEIRP_VENDOR_OVERLOADED},
        {401, "authentication_error", "invalid x-api-key", WEIRP_VENDOR_AUTH},
        {403, "permission_error", "no", WEIRP_VENDOR_AUTH},
        {404, "not_found_error", "model: claude-9", WEIRP_VENDOR_NOT_FOUND},
        {413, "request_too_large", "too many bytes", WEIRP_VENDOR_TOO_LONG},
        {402, "billing_error", "card", WEIRP_VENDOR_QUOTA},
        {400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", WEIRP_VENDOR_TOO_LONG},
        {400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
         WEIRP_VENDOR_TOO_LONG},
        {400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.",
         WEIRP_VENDOR_QUOTA},
        {400, "invalid_request_error", "Output blocked by content filtering policy", WEIRP_VENDOR_FILTERED},
        {400, "invalid_request_error", "messages: roles must alternate", WEIRP_VENDOR_INVALID},
        {500, "api_error", "Internal server error", WEIRP_VENDOR_SERVER},
        {504, "timeout_error", "late", WEIRP_VENDOR_TIMEOUT},
        {503, "new_error", "?", WEIRP_VENDOR_OVERLOADED},
        {422, "new_error", "?", WEIRP_VENDOR_INVALID},
        {0, "new_error", "?", WEIRP_VENDOR_SERVER},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        weirp_vendor_fault fault = {0};
        json_t *json =
            json_pack("{sss{ssss}}", "type", "error", "error", "type", table[i].type, "message", table[i].message);
        assert_true(weirp_anthropic_ops.fault(&fault, table[i].status, json));
        assert_int_equal(fault.kind, table[i].kind);
        assert_string_equal(fault.text, table[i].message);
        assert_string_equal(fault.code, table[i].type);
        json_decref(json);
    }
    weirp_vendor_fault fault = {0};
    json_t *other = json_of("{\"detail\":\"nope\"}");
    assert_false(weirp_anthropic_ops.fault(&fault, 500, other));
    json_decref(other);
}

static void errors_end_streams(void **state) {
    (void)state;
    const char *data = "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
    weirp_reader *reader = weirp_anthropic_ops.open();
    weirp_vendor_fault fault = {0};
    weirp_writer lines = {0};
    weir_error err = {0};
    assert_int_equal(event(reader, data, &lines, &fault, &err), WEIR_NET);
    assert_int_equal(fault.kind, WEIRP_VENDOR_OVERLOADED);
    assert_string_equal(fault.text, "Overloaded");
    assert_int_equal(event(reader, data, &lines, NULL, NULL), WEIR_NET);
    assert_int_equal(event(reader, "{\"type\":", &lines, NULL, NULL), WEIR_PARSE);
    assert_int_equal(event(reader, "[]", &lines, NULL, NULL), WEIR_PARSE);
    assert_int_equal(lines.size, 0);
    weirp_answer_facts facts = {0};
    memset(&fault, 0, sizeof fault);
    assert_int_equal(weirp_anthropic_facts(&facts, "error", 5, data, strlen(data), &fault, NULL), WEIR_NET);
    assert_int_equal(fault.kind, WEIRP_VENDOR_OVERLOADED);
    free(reader);
}

/* ---- pass-through ---- */

static void see(weirp_answer_facts *facts, const char *type, const char *data) {
    assert_int_equal(weirp_anthropic_facts(facts, type, type ? strlen(type) : 0, data, strlen(data), NULL, NULL),
                     WEIR_OK);
}

static void facts_come_from_events_that_pass(void **state) {
    (void)state;
    weirp_answer_facts facts = {0};
    see(&facts, "message_start",
        "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_7\",\"model\":\"claude-y\",\"usage\":{\"input_tokens\":"
        "5,"
        "\"cache_read_input_tokens\":6,\"output_tokens\":1}}}");
    assert_string_equal(facts.id, "msg_7");
    assert_string_equal(facts.model, "claude-y");
    see(&facts, "ping", "{\"type\": \"ping\"}");
    see(&facts, "content_block_start",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}");
    assert_false(facts.has_content);
    see(&facts, "content_block_delta",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"t\xc3\xa9xt\"}}");
    assert_true(facts.has_content);
    assert_int_equal(facts.output_chars, 4);
    assert_true(facts.approximate_tokens > 0);
    see(&facts, NULL,
        "{\"type\": \"content_block_delta\", \"delta\": {\"type\": \"text_delta\", \"text\": "
        "\"a\\\"text\\\":\\n\\u00e9\"}}");
    assert_int_equal(facts.output_chars, 4 + 10);
    see(&facts, "content_block_delta",
        "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}"
        "\"}}");
    see(&facts, "content_block_delta",
        "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"abc\"}}");
    see(&facts, "content_block_delta",
        "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"zzzz\"}"
        "}");
    assert_int_equal(facts.output_chars, 4 + 10 + 2 + 3);
    see(&facts, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}");
    see(&facts, "message_delta",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":12}}");
    assert_int_equal(facts.usage.input_tokens, 11);
    assert_int_equal(facts.usage.cached_input_tokens, 6);
    assert_int_equal(facts.usage.output_tokens, 12);
    assert_int_equal(facts.finish, WEIRP_FINISH_STOP);
    assert_false(facts.done);
    see(&facts, NULL, "{\"type\":\"message_stop\"}");
    assert_true(facts.done);
}

/* ---- what clients get ---- */

typedef struct written {
    weirp_pen *pen;
    weirp_writer out;
} written;

static written write_start(bool stream) {
    weirp_pen_options o = {.stream = stream, .model = "weir", .id = "1"};
    written w = {.pen = weirp_messages_ops.open(&o)};
    assert_non_null(w.pen);
    return w;
}

static weir_status put(written *w, weirp_piece_kind kind, size_t index, const char *text) {
    weirp_piece p = {.kind = kind, .index = index, .text = text, .text_len = strlen(text), .id = "id", .id_len = 2};
    p.name = text;
    p.name_len = p.text_len;
    return weirp_messages_ops.piece(w->pen, &p, &w->out, NULL);
}

static void finish(written *w, const char *note) {
    weirp_answer_facts facts = {
        .usage = {.input_tokens = 9, .cached_input_tokens = 4, .output_tokens = 3, .known = true}};
    assert_int_equal(weirp_messages_ops.end(w->pen, &facts, note, strlen(note), &w->out, NULL), WEIR_OK);
    weirp_messages_ops.close(w->pen);
}

/* The stream's content as it would be put together: a line a block, checking the order of events. */
static void assert_blocks(written *w, const char *expected) {
    char line[512], *text;
    long open = -1, next = 0;
    weirp_writer got = {0};
    weirp_put(&w->out, "", 1);
    text = (char *)w->out.data;
    for (char *data = strstr(text, "data: "); data;
         data = strstr(data + 1, "\ndata: ") ? strstr(data + 1, "\ndata: ") + 1 : NULL) {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(data + 6, "\n"), data + 6);
        json_t *json = json_of(line);
        const char *type = json_string_value(json_object_get(json, "type"));
        const json_t *index = json_object_get(json, "index"), *delta = json_object_get(json, "delta");
        const json_t *block = json_object_get(json, "content_block");
        if (!strcmp(type, "content_block_start")) {
            assert_int_equal(open, -1);
            assert_int_equal(json_integer_value(index), next);
            open = next++;
            weirp_putf(&got, "%s:", json_string_value(json_object_get(block, "type")));
        } else if (!strcmp(type, "content_block_delta")) {
            assert_int_equal(json_integer_value(index), open);
            const char *kinds[] = {"text", "thinking", "partial_json"};
            for (int i = 0; i < 3; i++)
                if (json_object_get(delta, kinds[i]))
                    weirp_putf(&got, "%s", json_string_value(json_object_get(delta, kinds[i])));
        } else if (!strcmp(type, "content_block_stop")) {
            assert_int_equal(json_integer_value(index), open);
            open = -1;
            weirp_putf(&got, "\n");
        } else if (!strcmp(type, "message_delta")) {
            assert_int_equal(open, -1);
            weirp_putf(&got, "%s\n", json_string_value(json_object_get(delta, "stop_reason")));
        }
        json_decref(json);
    }
    weirp_writer_free(&w->out);
    assert_text(&got, expected);
}

static void mixed_calls_come_one_after_another(void **state) {
    (void)state;
    written w = write_start(true);
    assert_int_equal(put(&w, WEIRP_PIECE_TEXT, 0, "so"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_TOOL, 0, "a"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_TOOL, 1, "b"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 1, "{\"q\":"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, "{\"p\":\"}\\\""), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_TEXT, 0, "then"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, "\"}"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 1, "[{}]}"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, "\n"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, "x"), WEIR_PARSE);
    assert_int_equal(put(&w, WEIRP_PIECE_REASONING, 0, "hm"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_TEXT, 0, "end"), WEIR_OK);
    finish(&w, "");
    assert_blocks(
        &w, "text:so\ntool_use:{\"p\":\"}\\\"\"}\ntool_use:{\"q\":[{}]}\ntext:then\nthinking:hm\ntext:end\ntool_use\n");
}

/* What a vendor sends call after call isn't held back. */
static void calls_are_passed_on_as_they_come(void **state) {
    (void)state;
    written w = write_start(true);
    assert_int_equal(put(&w, WEIRP_PIECE_TOOL, 0, "a"), WEIR_OK);
    assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, "{}"), WEIR_OK);
    for (size_t call = 1; call < 4; call++) {
        const char *parts[] = {"{\"k\"", ":", "1}"};
        size_t before = w.out.size;
        assert_int_equal(put(&w, WEIRP_PIECE_TOOL, call, "a"), WEIR_OK);
        assert_true(w.out.size > before);
        for (int i = 0; i < 3; i++) {
            before = w.out.size;
            assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, call, parts[i]), WEIR_OK);
            assert_true(w.out.size > before);
        }
    }
    finish(&w, "");
    assert_blocks(&w, "tool_use:{}\ntool_use:{\"k\":1}\ntool_use:{\"k\":1}\ntool_use:{\"k\":1}\ntool_use\n");
}

static void whole_messages_hold_objects_as_input(void **state) {
    (void)state;
    static const struct {
        const char *arguments, *input;
    } table[] = {
        {"{\"a\":[1]}", "{\"a\":[1]}"},
        {"", "{}"},
        {" \n", "{}"},
        {"{\"a\":", "{\"INVALID_JSON\":\"{\\\"a\\\":\"}"},
        {"[1]", "{\"INVALID_JSON\":\"[1]\"}"},
        {"\"\xff", "{\"INVALID_JSON\":\"\\\"\\ufffd\"}"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        written w = write_start(false);
        assert_int_equal(put(&w, WEIRP_PIECE_TOOL, 0, "f"), WEIR_OK);
        assert_int_equal(put(&w, WEIRP_PIECE_ARGUMENTS, 0, table[i].arguments), WEIR_OK);
        assert_int_equal(w.out.size, 0);
        finish(&w, "no place for it");
        json_t *json = json_loadb((char *)w.out.data, w.out.size, 0, NULL);
        assert_non_null(json);
        assert_json(json_object_get(json_array_get(json_object_get(json, "content"), 0), "input"), table[i].input);
        assert_json(json_object_get(json, "usage"), "{\"input_tokens\":5,\"cache_creation_input_tokens\":0,"
                                                    "\"cache_read_input_tokens\":4,\"output_tokens\":3}");
        json_decref(json);
        weirp_writer_free(&w.out);
    }
}

static void empty_answers_are_messages_too(void **state) {
    (void)state;
    written w = write_start(true);
    finish(&w, "weir decision=x");
    assert_text(
        &w.out,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
        "\"role\":\"assistant\",\"model\":\"weir\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
        "\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":4,"
        "\"output_tokens\":3}}}\n\n"
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
        "\"stop_sequence\":null},\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":0,"
        "\"cache_read_input_tokens\":4,\"output_tokens\":3}}\n\n"
        ": weir decision=x\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    weirp_writer out = {0};
    weirp_messages_ops.error(NULL, "it \"broke\"", NULL, &out);
    assert_text(&out, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"it "
                      "\\\"broke\\\"\"}}\n\n");
}

/* ---- requests of clients ---- */

static void wrong_requests_name_the_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *param;
    } table[] = {
        {"{\"max_tokens\":1,\"messages\":[]}", "model"},
        {"{\"model\":7,\"max_tokens\":1,\"messages\":[]}", "model"},
        {"{\"model\":\"m\",\"messages\":[]}", "max_tokens"},
        {"{\"model\":\"m\",\"max_tokens\":1.5,\"messages\":[]}", "max_tokens"},
        {"{\"model\":\"m\",\"max_tokens\":-1,\"messages\":[]}", "max_tokens"},
        {"{\"model\":\"m\",\"max_tokens\":1}", "messages"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":{}}", "messages"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[]}", "messages"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[7]}", "messages.0"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages.0.role"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\"}]}", "messages.0.content"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]}",
         "messages.0.content.0"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
         "messages.0.content.0"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
         "\"content\":7}]}]}",
         "messages.0.content.0"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"system\":7,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         "system"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"stream\":\"yes\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         "stream"},
        {"{\"model\":\"m\",\"max_tokens\":1,\"tools\":{},\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         "tools"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        weirp_request r;
        weirp_fault fault = {0};
        assert_int_equal(messages_request(&r, table[i].text, &fault), WEIR_PARSE);
        assert_string_equal(fault.param, table[i].param);
        assert_true(fault.text[0] && fault.code[0]);
        request_free(&r);
    }
}

static void what_routing_reads_is_found(void **state) {
    (void)state;
    weirp_request r;
    weirp_fault fault = {0};
    assert_int_equal(
        messages_request(
            &r,
            "{\"model\":\"weir\",\"max_tokens\":77,\"stream\":true,\"metadata\":{\"user_id\":\"u\"},"
            "\"system\":[{\"type\":\"text\",\"text\":\"S\"}],\"tools\":[{\"name\":\"f\",\"input_schema\":{}}],"
            "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}},"
            "\"messages\":[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":["
            "{\"type\":\"text\",\"text\":\"two\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}]},"
            "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":["
            "{\"type\":\"text\",\"text\":\"three\"},{\"type\":\"image\",\"source\":{}}]},"
            "{\"type\":\"text\",\"text\":\"four\"}]}]}",
            &fault),
        WEIR_OK);
    assert_string_equal(r.model, "weir");
    assert_string_equal(r.end_user, "u");
    assert_true(r.stream && r.include_usage && r.has_tools && r.has_images && r.wants_json && !r.has_audio);
    assert_true(r.max_output_tokens == 77 && r.n_choices == 1);
    weirp_writer prompt = {0};
    weirp_messages_prompt(&r, &prompt);
    assert_text(&prompt, "S\n\none\n\ntwo\n\nthree\n\nfour");
    request_free(&r);
}

static void what_only_anthropic_has_is_said(void **state) {
    (void)state;
    static const struct {
        const char *members, *param;
    } table[] = {
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":"
         "\"f\"}}]}]",
         "messages.0.content.0.source"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":"
         "\"u\"}}]}]",
         "messages.0.content.0.source"},
        {"\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"server_tool_use\"}]}]",
         "messages.0.content.0.type"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"container_upload\"}]}]",
         "messages.0.content.0.type"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{\"type\":\"bash_20250124\",\"name\":"
         "\"bash\"}]",
         "tools.0"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"mcp_servers\":[{\"name\":\"x\"}]", "mcp_servers"},
        {"\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"x\"}]}]",
         "messages"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"model\":\"m\",\"max_tokens\":1,%s}", table[i].members);
        weirp_request r;
        weirp_fault fault = {0};
        assert_int_equal(messages_request(&r, text, &fault), WEIR_OK);
        assert_null(weirp_messages_ops.chat(&r, &fault));
        assert_string_equal(fault.param, table[i].param);
        request_free(&r);
    }
}

/* ---- no memory ---- */

static long allowed; /* allocations that Jansson still gets; below 0: no limit */

static void *scarce_malloc(size_t size) {
    if (allowed == 0) return NULL;
    if (allowed > 0) allowed--;
    return malloc(size);
}

static weir_status write_scarcely(weirp_request *r, const weirp_target *t) {
    weirp_writer body = {0};
    weirp_fault fault = {0};
    char path[32];
    weir_status st = weirp_anthropic_ops.write(r, t, &body, path, sizeof path, &fault);
    weirp_writer_free(&body);
    return st;
}

static weir_status chat_scarcely(weirp_request *r, const weirp_target *t) {
    weirp_fault fault = {.text = "stale"};
    json_t *chat = weirp_messages_ops.chat(r, &fault);
    (void)t;
    if (!chat) assert_string_equal(fault.text, ""); /* nothing is wrong with the request */
    json_decref(chat);
    return chat ? WEIR_OK : WEIR_NOMEM;
}

/* The n-th allocation fails, for every n until there is enough: each time that is said, and nothing leaks. */
static void assert_survives(weirp_request *r, const weirp_target *t,
                            weir_status (*work)(weirp_request *, const weirp_target *)) {
    weir_status st = WEIR_NOMEM;
    long n = 0;
    for (; st != WEIR_OK && n < 2000; n++) {
        allowed = n;
        st = work(r, t);
        allowed = -1;
        assert_true(st == WEIR_OK || st == WEIR_NOMEM);
    }
    assert_true(n > 20 && n < 2000);
}

static void want_of_memory_is_said(void **state) {
    (void)state;
    allowed = -1;
    json_set_alloc_funcs(scarce_malloc, free);
    weirp_request r = chat_request(
        "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"x\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]},"
        "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],\"tool_choice\":"
        "\"required\","
        "\"stop\":[\"a\"],\"user\":\"u\",\"response_format\":{\"type\":\"json_object\"}}");
    assert_survives(&r, &target, write_scarcely);
    request_free(&r);
    weirp_fault fault = {0};
    assert_int_equal(
        messages_request(
            &r,
            "{\"model\":\"m\",\"max_tokens\":5,\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":["
            "{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":"
            "\"image\","
            "\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
            "png\",\"data\":\"AAAA\"}}]}]},{\"role\":\"assistant\","
            "\"content\":[{\"type\":\"tool_use\",\"id\":\"u\",\"name\":\"f\",\"input\":{\"a\":1}}]}],\"tools\":[{"
            "\"name\":\"f\","
            "\"input_schema\":{}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"},\"stop_sequences\":[\"q\"]}",
            &fault),
        WEIR_OK);
    assert_survives(&r, &target, chat_scarcely);
    request_free(&r);
    json_set_alloc_funcs(malloc, free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_the_model_hold),
        cmocka_unit_test(what_cannot_be_asked_names_its_place),
        cmocka_unit_test(sampling_is_brought_into_range),
        cmocka_unit_test(a_request_can_be_written_twice),
        cmocka_unit_test(own_clients_requests_pass_through),
        cmocka_unit_test(unsigned_thinking_stays_here),
        cmocka_unit_test(round_trips_keep_the_meaning),
        cmocka_unit_test(usage_is_cumulative_and_whole),
        cmocka_unit_test(absurd_usage_stays_a_number),
        cmocka_unit_test(events_become_pieces),
        cmocka_unit_test(stop_reasons_have_their_meaning),
        cmocka_unit_test(errors_are_sorted),
        cmocka_unit_test(errors_end_streams),
        cmocka_unit_test(facts_come_from_events_that_pass),
        cmocka_unit_test(mixed_calls_come_one_after_another),
        cmocka_unit_test(calls_are_passed_on_as_they_come),
        cmocka_unit_test(whole_messages_hold_objects_as_input),
        cmocka_unit_test(empty_answers_are_messages_too),
        cmocka_unit_test(wrong_requests_name_the_place),
        cmocka_unit_test(what_routing_reads_is_found),
        cmocka_unit_test(what_only_anthropic_has_is_said),
        cmocka_unit_test(want_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Translations as data: every file tests/cases/translate/NAME.json is a case, or an array of cases. A case is an
 * object; only "about" and "api" are required, and each expectation is checked where it is given:
 *
 *   about            what the case shows
 *   api              "chat", "completions", "embeddings", "messages"
 *   request          the client's request, any JSON; or request_text: its bytes
 *   fault            the request is refused when it is parsed: {"code","param","text"}, each optional
 *   parsed           members of weirp_request, those that matter, and "prompt", the text that features see
 *   target           members of weirp_target; "protocol" is "openai" (as when absent), "anthropic", "gemini"
 *   refused          this vendor can't be asked that (WEIR_INVALID): as "fault"
 *   path, sent       what goes to the vendor, compared as JSON; or sent_text: byte for byte
 *   events           the vendor's stream: each a text (its data), {"type","data"} with data as text or JSON, or any
 * other object or array: JSON data without a type body             the vendor's whole answer, any JSON; or body_text
 *   fails            "parse" or "net": how the answer ends before it should; "end": only the stream's end fails
 *   vendor_fault     {"kind","text","code","retry_after_ms"}, each optional: of a "net" failure, or of error
 *   error            {"status","body" or "body_text"}: the vendor's error answer
 *   note             the comment for the stream's end
 *   stream           what the client gets of a stream: an array of blocks (what an empty line ends); a text is compared
 *                    byte for byte, an object {"event","data"} as JSON, "event" being optional
 *   answer           what the client gets of a whole answer, compared as JSON; or answer_text: byte for byte
 *   facts            members of weirp_answer_facts, those that matter, and of its usage; "finish" by name;
 *                    "approximate_tokens" and "output_chars" may be off by a third
 *   client_error     {"status","type","code","param","text"} is written as "answer", or, with "stream", in mid-stream
 *
 * The answer is called "weir-1" (model), "a1" (id), created 1700000000. SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "src/translate/tables.h"
#include "tests/unit/cases.h"

static int n_wrong, n_checks;
static char where[600];

static void wrong(const char *what, const char *expected, const char *got) {
    fprintf(stderr, "%s: %s\n  expected %s\n  got      %s\n", where, what, expected, got);
    n_wrong++;
}

static void check_text(const char *what, const char *expected, const char *got) {
    n_checks++;
    if (strcmp(expected, got)) wrong(what, expected, got);
}

static void check_json(const char *what, const json_t *expected, const json_t *got) {
    n_checks++;
    if (got && json_equal(expected, got)) return;
    char *a = json_dumps(expected, JSON_ENCODE_ANY | JSON_COMPACT),
         *b = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT);
    wrong(what, a, b ? b : "(nothing)");
    free(a);
    free(b);
}

/* Members of `expected` (may be NULL) against those of `got` (steals it). */
static void check_members(const char *what, const json_t *expected, json_t *got) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)expected, key, value) {
        char name[200];
        snprintf(name, sizeof name, "%s.%s", what, key);
        const json_t *other = json_object_get(got, key);
        bool near = !strcmp(key, "approximate_tokens") || !strcmp(key, "output_chars");
        double a = json_number_value(value), b = json_number_value(other);
        if (near && fabs(a - b) <= a / 3)
            n_checks++;
        else
            check_json(name, value, other);
    }
    json_decref(got);
}

static const char *text_of(const json_t *c, const char *key, const char *otherwise) {
    const char *text = json_string_value(json_object_get(c, key));
    return text ? text : otherwise;
}

/* The bytes under "KEY_text", or the JSON under "KEY"; NULL: neither. free() it. */
static char *bytes_of(const json_t *c, const char *key, size_t *len) {
    char name[64];
    snprintf(name, sizeof name, "%s_text", key);
    const json_t *text = json_object_get(c, name), *json = json_object_get(c, key);
    char *bytes = NULL;
    *len = 0;
    if (json_is_string(text)) {
        *len = json_string_length(text);
        bytes = weirp_strndup(json_string_value(text), *len);
    } else if (json) {
        bytes = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
        *len = strlen(bytes);
    }
    return bytes;
}

static int index_of(const char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return i;
    wrong("unknown name", "one of those of the format", name);
    return 0;
}

static void check_keys(const json_t *c) {
    static const char *const keys[] = {"about",  "api",       "request",     "request_text", "fault",       "parsed",
                                       "target", "refused",   "path",        "sent",         "sent_text",   "events",
                                       "body",   "body_text", "fails",       "vendor_fault", "error",       "note",
                                       "stream", "answer",    "answer_text", "facts",        "client_error"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)c, key, value)(void) index_of(keys, (int)(sizeof keys / sizeof keys[0]), key);
}

/* ---- requests ---- */

static const char *const api_names[] = {"chat", "completions", "embeddings", "messages"};
static const char *const protocol_names[] = {"openai", "anthropic", "gemini"};

static double number_of(const json_t *c, const char *key, double otherwise) {
    const json_t *value = json_object_get(c, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static bool flag_of(const json_t *c, const char *key) {
    return json_is_true(json_object_get(c, key));
}

static weirp_target read_target(const json_t *t) {
    return (weirp_target){
        .protocol = (weirp_protocol)index_of(protocol_names, 3, text_of(t, "protocol", "openai")),
        .model = text_of(t, "model", "vendor-model"),
        .max_output_tokens = number_of(t, "max_output_tokens", NAN),
        .default_max_output_tokens = number_of(t, "default_max_output_tokens", 0),
        .legacy_completions = flag_of(t, "legacy_completions"),
        .no_stream_options = flag_of(t, "no_stream_options"),
        .max_completion_tokens = flag_of(t, "max_completion_tokens"),
    };
}

static json_t *fault_json(const weirp_fault *f) {
    return json_pack("{ss, ss, ss}", "code", f->code, "param", f->param, "text", f->text);
}

static void check_parsed(const weirp_request *r, const json_t *expected) {
    weirp_writer buffer = {0};
    const char *text;
    size_t len;
    assert_int_equal(weirp_request_prompt(r, &buffer, &text, &len), WEIR_OK);
    json_t *got =
        json_pack("{ss, sb, sb, sI, sb, sb, sb, sb, ss%}", "model", r->model, "stream", r->stream, "include_usage",
                  r->include_usage, "n_choices", (json_int_t)r->n_choices, "has_tools", r->has_tools, "has_images",
                  r->has_images, "has_audio", r->has_audio, "wants_json", r->wants_json, "prompt", text, len);
    assert_non_null(got);
    if (!isnan(r->max_output_tokens))
        json_object_set_new(got, "max_output_tokens", json_integer((json_int_t)r->max_output_tokens));
    else
        json_object_set_new(got, "max_output_tokens", json_null());
    json_object_set_new(got, "end_user", r->end_user ? json_string(r->end_user) : json_null());
    check_members("parsed", expected, got);
    weirp_writer_free(&buffer);
}

static void check_sent(const json_t *c, const weirp_writer *body) {
    const json_t *expected = json_object_get(c, "sent"), *text = json_object_get(c, "sent_text");
    json_error_t error;
    json_t *got = json_loadb((const char *)body->data, body->size, JSON_REJECT_DUPLICATES, &error);
    if (!got) wrong("sent", "JSON", error.text);
    if (expected) check_json("sent", expected, got);
    json_decref(got);
    if (!text) return;
    char *sent = weirp_strndup((const char *)body->data, body->size);
    check_text("sent_text", json_string_value(text), sent);
    free(sent);
}

static void check_write(const json_t *c, weirp_request *r) {
    weirp_target target = read_target(json_object_get(c, "target"));
    weirp_writer body = {0};
    weirp_fault fault;
    char path[256];
    const json_t *refused = json_object_get(c, "refused");
    if (!weirp_protocol_table[target.protocol]) {
        wrong("target", "a protocol that is linked", protocol_names[target.protocol]);
        return;
    }
    weir_status st = weirp_request_write(r, &target, &body, path, sizeof path, &fault);
    check_text("writing", weir_status_name(refused ? WEIR_INVALID : WEIR_OK), weir_status_name(st));
    if (refused) {
        check_members("refused", refused, fault_json(&fault));
    } else if (!st) {
        check_sent(c, &body);
        if (json_object_get(c, "path")) check_text("path", text_of(c, "path", ""), path);
    } else {
        wrong("writing", "no fault", fault.text);
    }
    weirp_writer_free(&body);
}

/* ---- answers ---- */

static json_t *facts_json(const weirp_answer_facts *f) {
    static const char *const finish[] = {"none", "stop", "length", "tools", "filter", "other"};
    const weirp_usage *u = &f->usage;
    json_t *got =
        json_pack("{sI, sI, sI, sI, sI, sI, sI, sb, sb, ss, sb, sb, sI, sf, ss, ss}", "input_tokens",
                  (json_int_t)u->input_tokens, "cached_input_tokens", (json_int_t)u->cached_input_tokens,
                  "cache_write_tokens", (json_int_t)u->cache_write_tokens, "audio_input_tokens",
                  (json_int_t)u->audio_input_tokens, "output_tokens", (json_int_t)u->output_tokens, "reasoning_tokens",
                  (json_int_t)u->reasoning_tokens, "audio_output_tokens", (json_int_t)u->audio_output_tokens, "known",
                  u->known, "estimated", u->estimated, "finish", finish[f->finish], "has_content", f->has_content,
                  "done", f->done, "output_chars", (json_int_t)f->output_chars, "approximate_tokens",
                  f->approximate_tokens, "model", f->model, "id", f->id);
    assert_non_null(got);
    return got;
}

static json_t *vendor_fault_json(const weirp_vendor_fault *f) {
    static const char *const kinds[] = {"rate_limit", "quota",    "overloaded", "server",      "auth",   "not_found",
                                        "too_long",   "filtered", "invalid",    "unsupported", "timeout"};
    return json_pack("{ss, ss, ss, sI}", "kind", kinds[f->kind], "text", f->text, "code", f->code, "retry_after_ms",
                     (json_int_t)f->retry_after_ms);
}

/* `block` ends before its empty line; it is cut up. */
static void check_block(size_t at, const json_t *expected, char *block) {
    char what[64];
    snprintf(what, sizeof what, "stream[%zu]", at);
    if (json_is_string(expected)) {
        check_text(what, json_string_value(expected), block);
        return;
    }
    const char *event = "";
    char *data = block;
    if (!strncmp(block, "event: ", 7)) {
        event = block + 7;
        data = strchr(block, '\n');
        if (data) *data++ = '\0';
    }
    check_text(what, text_of(expected, "event", ""), event);
    json_t *got = data && !strncmp(data, "data: ", 6) ? json_loads(data + 6, JSON_DECODE_ANY, NULL) : NULL;
    if (!got) wrong(what, "a data line with JSON", data ? data : "no data");
    check_json(what, json_object_get(expected, "data"), got);
    json_decref(got);
}

static void check_stream(const json_t *expected, const weirp_writer *out) {
    char *text = weirp_strndup(out->size ? (const char *)out->data : "", out->size), *at = text;
    size_t i;
    json_t *block;
    json_array_foreach((json_t *)expected, i, block) {
        char *end = strstr(at, "\n\n");
        if (!end) {
            wrong("stream", "more blocks", at);
            break;
        }
        *end = '\0';
        check_block(i, block, at);
        at = end + 2;
    }
    if (i == json_array_size(expected)) check_text("after the last block of the stream", "", at);
    free(text);
}

static void write_note(void *user, const weirp_answer_facts *facts, weirp_writer *out) {
    assert_true(facts->usage.known || facts->usage.estimated);
    weirp_putf(out, "%s", (const char *)user);
}

static weir_status feed(weirp_answer *answer, const json_t *event, weirp_writer *out, weirp_vendor_fault *fault,
                        weir_error *err) {
    const json_t *data = event, *inner = json_object_get(event, "data");
    const char *type = "";
    if (inner) {
        data = inner;
        type = text_of(event, "type", "");
    }
    char *text = json_is_string(data) ? weirp_strndup(json_string_value(data), json_string_length(data))
                                      : json_dumps(data, JSON_COMPACT);
    weir_status st = weirp_answer_event(answer, type, strlen(type), text, strlen(text), out, fault, err);
    free(text);
    return st;
}

static void check_answer(const json_t *c, const weirp_request *r) {
    weirp_target target = read_target(json_object_get(c, "target"));
    const char *note = text_of(c, "note", NULL), *fails = text_of(c, "fails", "");
    weirp_answer_options options = {.protocol = target.protocol,
                                    .legacy_completions = target.legacy_completions,
                                    .model = "weir-1",
                                    .id = "a1",
                                    .created_s = 1700000000,
                                    .note = note ? write_note : NULL,
                                    .note_user = (void *)note};
    weirp_answer *answer;
    weirp_writer out = {0};
    weirp_vendor_fault fault = {0};
    weir_error err = {0};
    size_t i, len;
    json_t *event;
    if (!weirp_protocol_table[target.protocol]) return;
    assert_int_equal(weirp_answer_new(&answer, r, &options, &err), WEIR_OK);
    char *body = bytes_of(c, "body", &len), *expected_text;
    weir_status st = body ? weirp_answer_body(answer, body, len, &out, &err) : WEIR_OK;
    json_array_foreach(json_object_get(c, "events"), i, event) if (!st) st = feed(answer, event, &out, &fault, &err);
    if (!strcmp(fails, "end")) check_text("the stream before its end", "WEIR_OK", weir_status_name(st));
    if (!st) st = weirp_answer_end(answer, &out, &err);
    weir_status wanted = !*fails ? WEIR_OK : !strcmp(fails, "net") ? WEIR_NET : WEIR_PARSE;
    check_text("the answer's status", weir_status_name(wanted), weir_status_name(st));
    if (st && st != wanted) wrong("the answer", "no error", err.text);
    if (json_object_get(c, "vendor_fault"))
        check_members("vendor_fault", json_object_get(c, "vendor_fault"), vendor_fault_json(&fault));
    if (json_object_get(c, "stream")) check_stream(json_object_get(c, "stream"), &out);
    check_members("facts", json_object_get(c, "facts"), facts_json(weirp_answer_facts_of(answer)));
    char *text = weirp_strndup(out.size ? (const char *)out.data : "", out.size);
    if (json_object_get(c, "answer")) {
        json_t *got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        check_json("answer", json_object_get(c, "answer"), got);
        json_decref(got);
    } else if ((expected_text = bytes_of(c, "answer", &len)) != NULL) {
        check_text("answer_text", expected_text, text);
        free(expected_text);
    }
    free(text);
    free(body);
    weirp_answer_free(answer);
    weirp_writer_free(&out);
}

static void check_error(const json_t *c) {
    const json_t *error = json_object_get(c, "error");
    weirp_target target = read_target(json_object_get(c, "target"));
    weirp_vendor_fault fault;
    size_t len;
    if (!weirp_protocol_table[target.protocol]) return;
    char *body = bytes_of(error, "body", &len);
    weirp_vendor_fault_read(&fault, target.protocol, (int)number_of(error, "status", 0), body, len);
    check_members("vendor_fault", json_object_get(c, "vendor_fault"), vendor_fault_json(&fault));
    free(body);
}

static void check_client_error(const json_t *c, weirp_api api) {
    const json_t *e = json_object_get(c, "client_error");
    weirp_writer out = {0};
    if (json_object_get(c, "stream")) {
        weirp_request request = {.api = api, .stream = true};
        weirp_answer_options options = {.protocol = WEIRP_PROTOCOL_OPENAI, .model = "weir-1", .id = "a1"};
        weirp_answer *answer;
        assert_int_equal(weirp_answer_new(&answer, &request, &options, NULL), WEIR_OK);
        weirp_answer_error(answer, text_of(e, "text", ""), text_of(e, "type", NULL), &out);
        check_stream(json_object_get(c, "stream"), &out);
        weirp_answer_free(answer);
    } else {
        weirp_error_write(api, (int)number_of(e, "status", 400), text_of(e, "type", NULL), text_of(e, "code", NULL),
                          text_of(e, "param", NULL), text_of(e, "text", ""), &out);
        json_t *got = json_loadb((const char *)out.data, out.size, 0, NULL);
        check_json("answer", json_object_get(c, "answer"), got);
        json_decref(got);
    }
    weirp_writer_free(&out);
}

/* ---- cases ---- */

static void run(const json_t *c) {
    check_keys(c);
    weirp_api api = (weirp_api)index_of(api_names, 4, text_of(c, "api", ""));
    if (!weirp_api_table[api]) {
        wrong("api", "one that is linked", api_names[api]);
        return;
    }
    if (json_object_get(c, "error")) check_error(c);
    if (json_object_get(c, "client_error")) check_client_error(c, api);
    size_t len;
    char *text = bytes_of(c, "request", &len);
    if (!text) return;
    weirp_request r;
    weirp_fault fault;
    const json_t *expected = json_object_get(c, "fault");
    weir_status st = weirp_request_parse(&r, api, text, len, &fault);
    check_text("parsing", weir_status_name(expected ? WEIR_PARSE : WEIR_OK), weir_status_name(st));
    if (st && !expected) wrong("parsing", "no fault", fault.text);
    if (expected) check_members("fault", expected, fault_json(&fault));
    if (!st) {
        if (json_object_get(c, "parsed")) check_parsed(&r, json_object_get(c, "parsed"));
        if (json_object_get(c, "target")) check_write(c, &r);
        if (json_object_get(c, "events") || json_object_get(c, "body") || json_object_get(c, "body_text"))
            check_answer(c, &r);
        weirp_request_free(&r);
    }
    free(text);
}

static int is_case(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && !strcmp(dot, ".json");
}

static void run_file(const char *name) {
    char path[600];
    json_error_t error;
    json_t *one = NULL;
    size_t i;
    snprintf(path, sizeof path, "%s/tests/cases/translate/%s", WEIR_SOURCE_DIR, name);
    snprintf(where, sizeof where, "%s", name);
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!file) {
        fprintf(stderr, "%s:%d: %s\n", name, error.line, error.text);
        n_wrong++;
        return;
    }
    json_t *cases = json_is_array(file) ? json_incref(file) : json_pack("[O]", file);
    json_array_foreach(cases, i, one) {
        snprintf(where, sizeof where, "%.100s: %s", name, text_of(one, "about", "(\"about\" is missing)"));
        int before = n_checks;
        run(one);
        if (n_checks == before) wrong("the case", "something to check", "nothing");
    }
    json_decref(cases);
    json_decref(file);
}

static void test_cases(void **state) {
    (void)state;
    char folder[512];
    struct dirent **entry = NULL;
    snprintf(folder, sizeof folder, "%s/tests/cases/translate", WEIR_SOURCE_DIR);
    int n = scandir(folder, &entry, is_case, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        run_file(entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
    print_message("%d files, %d checks\n", n, n_checks);
    assert_int_equal(n_wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

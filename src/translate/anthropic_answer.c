/* anthropic_answer.c: answers of Anthropic's Messages API as pieces: whole messages, events of a stream, errors
 * (https://platform.claude.com/docs/en/build-with-claude/streaming and /docs/en/api/errors).
 *
 * Thinking becomes reasoning; its signatures, redacted thinking, citations and the blocks of tools that run at the
 * vendor have no counterpart and are passed over, and so are events and deltas of kinds not known here: the vendor's
 * versioning policy says that more may come. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/anthropic_parts.h"

enum { MAX_CALLS = 256 };

struct weirp_reader {
    weirp_usage usage;
    size_t n_calls;
    int64_t call_block[MAX_CALLS]; /* which content block a call is */
    bool call_written[MAX_CALLS];  /* has had arguments */
};

static bool is(const json_t *string, const char *text) {
    return json_is_string(string) && !strcmp(json_string_value(string), text);
}

static const char *text_of(const json_t *json) {
    return json_is_string(json) ? json_string_value(json) : "";
}

/* ---- usage and stop reasons ---- */

static int64_t count_or(const json_t *usage, const char *key, int64_t otherwise) {
    const json_t *json = json_object_get(usage, key);
    return json_is_number(json) ? weirp_json_count(json) : otherwise;
}

/* Counts there are cumulative, and those that an event doesn't name stay as an earlier one had them. input_tokens are
 * without those that were read from the cache or written to it. */
static void read_usage(weirp_usage *u, const json_t *usage) {
    if (!json_is_object(usage)) return;
    int64_t plain = u->input_tokens - u->cached_input_tokens - u->cache_write_tokens;
    u->cached_input_tokens = count_or(usage, "cache_read_input_tokens", u->cached_input_tokens);
    u->cache_write_tokens = count_or(usage, "cache_creation_input_tokens", u->cache_write_tokens);
    plain = count_or(usage, "input_tokens", plain);
    const int64_t most = INT64_MAX / 4; /* so that no sum runs over */
    if (plain > most || u->cached_input_tokens > most || u->cache_write_tokens > most) {
        plain = u->cached_input_tokens = u->cache_write_tokens = 0; /* nobody counted that */
    }
    u->input_tokens = plain + u->cached_input_tokens + u->cache_write_tokens;
    u->output_tokens = count_or(usage, "output_tokens", u->output_tokens);
    u->reasoning_tokens =
        count_or(json_object_get(usage, "output_tokens_details"), "thinking_tokens", u->reasoning_tokens);
    u->known = true;
}

static weirp_finish read_finish(const json_t *reason) {
    static const struct {
        const char *name;
        weirp_finish finish;
    } table[] = {
        {"end_turn", WEIRP_FINISH_STOP},
        {"stop_sequence", WEIRP_FINISH_STOP},
        {"max_tokens", WEIRP_FINISH_LENGTH},
        {"tool_use", WEIRP_FINISH_TOOLS},
        {"refusal", WEIRP_FINISH_FILTER},
        {"pause_turn", WEIRP_FINISH_OTHER},
        {"model_context_window_exceeded", WEIRP_FINISH_LENGTH},
    };
    if (!json_is_string(reason)) return WEIRP_FINISH_NONE;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (is(reason, table[i].name)) return table[i].finish;
    return WEIRP_FINISH_OTHER;
}

/* ---- errors ---- */

static bool says(const char *text, const char *words) {
    return strcasestr(text, words) != NULL;
}

static weirp_vendor_fault_kind kind_of_invalid(const char *text) {
    if (says(text, "credit balance") || says(text, "usage limits")) return WEIRP_VENDOR_QUOTA;
    if (says(text, "prompt is too long") || says(text, "context limit") || says(text, "context window"))
        return WEIRP_VENDOR_TOO_LONG;
    if (says(text, "content filtering")) return WEIRP_VENDOR_FILTERED;
    return weirp_fault_unsupported("", text) ? WEIRP_VENDOR_UNSUPPORTED : WEIRP_VENDOR_INVALID;
}

bool weirp_anthropic_fault(weirp_vendor_fault *fault, int status, const json_t *json) {
    static const struct {
        const char *type;
        weirp_vendor_fault_kind kind;
    } table[] = {
        {"rate_limit_error", WEIRP_VENDOR_RATE_LIMIT},
        {"overloaded_error", WEIRP_VENDOR_OVERLOADED},
        {"authentication_error", WEIRP_VENDOR_AUTH},
        {"permission_error", WEIRP_VENDOR_AUTH},
        {"not_found_error", WEIRP_VENDOR_NOT_FOUND},
        {"request_too_large", WEIRP_VENDOR_TOO_LONG},
        {"billing_error", WEIRP_VENDOR_QUOTA},
        {"timeout_error", WEIRP_VENDOR_TIMEOUT},
        {"api_error", WEIRP_VENDOR_SERVER},
    };
    const json_t *error = json_object_get(json, "error"), *type = json_object_get(error, "type");
    const json_t *message = json_object_get(error, "message");
    if (!json_is_string(type)) return false;
    const char *name = json_string_value(type), *text = text_of(message);
    fault->kind = weirp_fault_kind_status(status);
    if (is(type, "invalid_request_error")) {
        fault->kind = kind_of_invalid(text);
    } else {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (!strcmp(name, table[i].type)) fault->kind = table[i].kind;
    }
    weirp_excerpt(fault->text, sizeof fault->text, text, strlen(text));
    weirp_excerpt(fault->code, sizeof fault->code, name, strlen(name));
    return true;
}

static weir_status told_error(const json_t *json, weirp_vendor_fault *fault, weir_error *err) {
    weirp_vendor_fault own, *f = fault ? fault : &own;
    memset(f, 0, sizeof *f);
    f->kind = WEIRP_VENDOR_SERVER;
    (void)weirp_anthropic_fault(f, 0, json);
    return weirp_fail(err, WEIR_NET, 0, "the vendor reports an error in its answer: %s",
                      f->text[0] ? f->text : f->code);
}

/* ---- pieces ---- */

typedef struct sink {
    weirp_piece_fn fn;
    void *user;
    weir_error *err;
} sink;

static weir_status emit(const sink *s, const weirp_piece *piece) {
    return s->fn(s->user, piece, s->err);
}

static weir_status emit_text(const sink *s, weirp_piece_kind kind, size_t index, const json_t *text) {
    if (!json_string_length(text)) return WEIR_OK;
    weirp_piece piece = {
        .kind = kind, .index = index, .text = json_string_value(text), .text_len = json_string_length(text)};
    return emit(s, &piece);
}

static weir_status emit_named(const sink *s, weirp_piece_kind kind, size_t index, const json_t *id,
                              const json_t *name) {
    weirp_piece piece = {.kind = kind, .index = index, .id = text_of(id), .id_len = json_string_length(id)};
    piece.name = text_of(name);
    piece.name_len = json_string_length(name);
    return emit(s, &piece);
}

static weir_status emit_finish(const sink *s, const json_t *reason) {
    weirp_piece piece = {.kind = WEIRP_PIECE_FINISH, .finish = read_finish(reason)};
    return piece.finish == WEIRP_FINISH_NONE ? WEIR_OK : emit(s, &piece);
}

static weir_status emit_usage(const sink *s, const weirp_usage *usage) {
    weirp_piece piece = {.kind = WEIRP_PIECE_USAGE, .usage = usage};
    return usage->known ? emit(s, &piece) : WEIR_OK;
}

static weir_status emit_end(const sink *s) {
    weirp_piece piece = {.kind = WEIRP_PIECE_END};
    return emit(s, &piece);
}

/* ---- whole messages ---- */

static weir_status emit_call(const sink *s, size_t index, const json_t *block) {
    const json_t *input = json_object_get(block, "input");
    weirp_writer text = {0};
    weir_status st;
    WEIRP_TRY(emit_named(s, WEIRP_PIECE_TOOL, index, json_object_get(block, "id"), json_object_get(block, "name")));
    if (json_is_object(input))
        (void)weirp_put_json(&text, input);
    else
        weirp_put(&text, "{}", 2);
    if (text.failed) WEIRP_TRY(weirp_nomem(s->err));
    weirp_piece piece = {
        .kind = WEIRP_PIECE_ARGUMENTS, .index = index, .text = (const char *)text.data, .text_len = text.size};
    st = emit(s, &piece);
done:
    weirp_writer_free(&text);
    return st;
}

static weir_status emit_content(const sink *s, const json_t *content) {
    size_t calls = 0;
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *block = json_array_get(content, i), *type = json_object_get(block, "type");
        weir_status st = WEIR_OK;
        if (is(type, "text"))
            st = emit_text(s, WEIRP_PIECE_TEXT, 0, json_object_get(block, "text"));
        else if (is(type, "thinking"))
            st = emit_text(s, WEIRP_PIECE_REASONING, 0, json_object_get(block, "thinking"));
        else if (is(type, "tool_use"))
            st = emit_call(s, calls++, block);
        if (st != WEIR_OK) return st;
    }
    return WEIR_OK;
}

weir_status weirp_anthropic_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err) {
    const sink s = {fn, user, err};
    char what[160];
    weirp_usage usage = {0};
    weir_status st;
    json_t *json = weirp_json_parse(text, len, what, sizeof what);
    if (!json) return weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer isn't JSON: %s", what);
    const json_t *content = json_object_get(json, "content");
    if (is(json_object_get(json, "type"), "error")) {
        st = told_error(json, NULL, err); /* with status 200, as some gateways give it */
        goto done;
    }
    if (!is(json_object_get(json, "type"), "message") || !json_is_array(content)) {
        st = weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer isn't a message");
        goto done;
    }
    WEIRP_TRY(emit_named(&s, WEIRP_PIECE_START, 0, json_object_get(json, "id"), json_object_get(json, "model")));
    WEIRP_TRY(emit_content(&s, content));
    WEIRP_TRY(emit_finish(&s, json_object_get(json, "stop_reason")));
    read_usage(&usage, json_object_get(json, "usage"));
    WEIRP_TRY(emit_usage(&s, &usage));
    st = emit_end(&s);
done:
    json_decref(json);
    return st;
}

/* ---- streams ---- */

weirp_reader *weirp_anthropic_open(void) {
    return calloc(1, sizeof(weirp_reader));
}

/* Which call a content block is, or n_calls. */
static size_t call_of(const weirp_reader *reader, const json_t *event) {
    const int64_t block = json_integer_value(json_object_get(event, "index"));
    size_t i = reader->n_calls;
    while (i && reader->call_block[i - 1] != block) i--;
    return i ? i - 1 : reader->n_calls;
}

static weir_status block_start(weirp_reader *reader, const json_t *event, const sink *s) {
    const json_t *block = json_object_get(event, "content_block"), *type = json_object_get(block, "type");
    if (is(type, "text")) return emit_text(s, WEIRP_PIECE_TEXT, 0, json_object_get(block, "text"));
    if (is(type, "thinking")) return emit_text(s, WEIRP_PIECE_REASONING, 0, json_object_get(block, "thinking"));
    if (!is(type, "tool_use")) return WEIR_OK;
    if (reader->n_calls == MAX_CALLS)
        return weirp_fail(s->err, WEIR_PARSE, 0, "the vendor's answer has more than %d tool calls", MAX_CALLS);
    const size_t call = reader->n_calls++;
    reader->call_block[call] = json_integer_value(json_object_get(event, "index"));
    return emit_named(s, WEIRP_PIECE_TOOL, call, json_object_get(block, "id"), json_object_get(block, "name"));
}

static weir_status block_delta(weirp_reader *reader, const json_t *event, const sink *s) {
    const json_t *delta = json_object_get(event, "delta"), *type = json_object_get(delta, "type");
    if (is(type, "text_delta")) return emit_text(s, WEIRP_PIECE_TEXT, 0, json_object_get(delta, "text"));
    if (is(type, "thinking_delta")) return emit_text(s, WEIRP_PIECE_REASONING, 0, json_object_get(delta, "thinking"));
    if (!is(type, "input_json_delta")) return WEIR_OK;
    const json_t *part = json_object_get(delta, "partial_json");
    const size_t call = call_of(reader, event);
    if (call == reader->n_calls) return WEIR_OK; /* of a tool that runs at the vendor */
    if (json_string_length(part)) reader->call_written[call] = true;
    return emit_text(s, WEIRP_PIECE_ARGUMENTS, call, part);
}

/* A call without arguments has no text there; everywhere else it is an empty object. */
static weir_status block_stop(weirp_reader *reader, const json_t *event, const sink *s) {
    const size_t call = call_of(reader, event);
    if (call == reader->n_calls || reader->call_written[call]) return WEIR_OK;
    reader->call_written[call] = true;
    weirp_piece piece = {.kind = WEIRP_PIECE_ARGUMENTS, .index = call, .text = "{}", .text_len = 2};
    return emit(s, &piece);
}

static weir_status message_start(weirp_reader *reader, const json_t *event, const sink *s) {
    const json_t *message = json_object_get(event, "message");
    weir_status st =
        emit_named(s, WEIRP_PIECE_START, 0, json_object_get(message, "id"), json_object_get(message, "model"));
    read_usage(&reader->usage, json_object_get(message, "usage"));
    return st == WEIR_OK ? emit_usage(s, &reader->usage) : st;
}

static weir_status message_delta(weirp_reader *reader, const json_t *event, const sink *s) {
    weir_status st = emit_finish(s, json_object_get(json_object_get(event, "delta"), "stop_reason"));
    read_usage(&reader->usage, json_object_get(event, "usage"));
    return st == WEIR_OK ? emit_usage(s, &reader->usage) : st;
}

static weir_status one_event(weirp_reader *reader, const json_t *type, const json_t *event, const sink *s) {
    if (is(type, "content_block_delta")) return block_delta(reader, event, s);
    if (is(type, "content_block_start")) return block_start(reader, event, s);
    if (is(type, "content_block_stop")) return block_stop(reader, event, s);
    if (is(type, "message_start")) return message_start(reader, event, s);
    if (is(type, "message_delta")) return message_delta(reader, event, s);
    if (is(type, "message_stop")) return emit_end(s);
    return WEIR_OK;
}

static json_t *parse_event(const char *data, size_t len, weir_error *err) {
    char what[160];
    json_t *json = weirp_json_parse(data, len, what, sizeof what);
    if (!json) {
        (void)weirp_fail(err, WEIR_PARSE, 0, "an event of the vendor's stream isn't JSON: %s", what);
    } else if (!json_is_string(json_object_get(json, "type"))) {
        (void)weirp_fail(err, WEIR_PARSE, 0, "an event of the vendor's stream has no type");
        json_decref(json);
        json = NULL;
    }
    return json;
}

weir_status weirp_anthropic_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                                  weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err) {
    const sink s = {fn, user, err};
    (void)type; /* the data says it too, and what comes through other gateways has sometimes lost its "event:" line */
    (void)type_len;
    json_t *json = parse_event(data, len, err);
    if (!json) return WEIR_PARSE;
    const json_t *kind = json_object_get(json, "type");
    weir_status st = is(kind, "error") ? told_error(json, fault, err) : one_event(reader, kind, json, &s);
    json_decref(json);
    return st;
}

/* ---- streams that pass through ---- */

/* The text of the first member `key` that is a string, escapes as they stand. Inside of JSON strings quotes are
 * escaped, so that a quoted key can't be found there. */
static bool find_text(const char *data, size_t len, const char *key, const char **text, size_t *text_len) {
    const char *end = data + len, *at = data;
    const size_t key_len = strlen(key);
    while ((at = memmem(at, (size_t)(end - at), key, key_len))) {
        at += key_len;
        const char *c = at;
        while (c < end && (*c == ' ' || *c == ':')) c++;
        if (c == at || c == end || *c != '"') continue;
        *text = ++c;
        while (c < end && *c != '"') c += *c == '\\' ? 2 : 1;
        if (c >= end) return false;
        *text_len = (size_t)(c - *text);
        return true;
    }
    return false;
}

static void look_at_delta(weirp_answer_facts *facts, const char *data, size_t len) {
    static const char *const keys[] = {"\"text\"", "\"partial_json\"", "\"thinking\""};
    const char *text;
    size_t n, i = 0;
    while (i < 3 && !find_text(data, len, keys[i], &text, &n)) i++;
    if (i == 3) return; /* signatures, citations */
    if (!memchr(text, '\\', n)) {
        weirp_facts_text(facts, text, n);
        return;
    }
    json_t *string = json_loadb(text - 1, n + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (string) weirp_facts_text(facts, json_string_value(string), json_string_length(string));
    json_decref(string);
}

static weir_status facts_piece(void *user, const weirp_piece *piece, weir_error *err) {
    (void)err;
    weirp_facts_piece(user, piece);
    return WEIR_OK;
}

static bool type_is(const char *type, size_t type_len, const char *name) {
    return type_len == strlen(name) && !memcmp(type, name, type_len);
}

/* The type as the data itself has it where it is the first member. */
static size_t type_in(const char *data, size_t len, const char **type) {
    size_t n = 0;
    static const char key[] = "\"type\"";
    const char *at = memmem(data, len < 16 ? len : 16, key, sizeof key - 1);
    return at && find_text(at, len - (size_t)(at - data), key, type, &n) ? n : 0;
}

weir_status weirp_anthropic_facts(weirp_answer_facts *facts, const char *type, size_t type_len, const char *data,
                                  size_t len, weirp_vendor_fault *fault, weir_error *err) {
    if (!type_len) type_len = type_in(data, len, &type);
    if (type_is(type, type_len, "content_block_delta")) {
        look_at_delta(facts, data, len);
        return WEIR_OK;
    }
    if (type_is(type, type_len, "content_block_stop") || type_is(type, type_len, "ping")) return WEIR_OK;
    if (type_is(type, type_len, "message_stop")) {
        facts->done = true;
        return WEIR_OK;
    }
    json_t *json = parse_event(data, len, err);
    if (!json) return WEIR_PARSE;
    const json_t *kind = json_object_get(json, "type");
    const sink s = {facts_piece, facts, err};
    weir_status st = WEIR_OK;
    if (is(kind, "error")) {
        st = told_error(json, fault, err);
    } else {
        weirp_reader reader = {.usage = facts->usage}; /* what the events that are parsed here need of it */
        st = one_event(&reader, kind, json, &s);
        facts->usage = reader.usage;
    }
    json_decref(json);
    return st;
}

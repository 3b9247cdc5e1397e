/* Any bytes as an answer of Anthropic's, written for its own clients; and as requests in both directions. The first
 * byte says which: 0 a whole answer, 1 a stream (an event a line), 2 a stream that passes through, 3 a chat request, 4
 * a Messages request. What comes out must be JSON, and a stream's blocks must come in order. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/translate/anthropic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
    if (!good) abort();
}

static json_t *must_be_json(const char *text, size_t len) {
    json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    must(json_is_object(json));
    return json;
}

/* ---- answers ---- */

typedef struct copy {
    weirp_pen *pen;
    weirp_writer out;
    weirp_usage usage;
} copy;

static weir_status write_piece(void *user, const weirp_piece *piece, weir_error *err) {
    copy *c = user;
    if (piece->kind == WEIRP_PIECE_USAGE) {
        const weirp_usage *u = piece->usage;
        must(u->input_tokens >= 0 && u->output_tokens >= 0 && u->cached_input_tokens >= 0 &&
             u->cache_write_tokens >= 0);
        must(u->cached_input_tokens + u->cache_write_tokens <= u->input_tokens);
    }
    must(piece->text || !piece->text_len);
    return weirp_messages_ops.piece(c->pen, piece, &c->out, err);
}

static void check_event(const char *text, size_t len, json_int_t *open, json_int_t *next) {
    json_t *json = must_be_json(text, len);
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_int_t index = json_integer_value(json_object_get(json, "index"));
    must(type != NULL);
    if (!strcmp(type, "content_block_start")) {
        must(*open < 0 && index == *next);
        *open = (*next)++;
    } else if (!strcmp(type, "content_block_delta")) {
        must(*open == index);
    } else if (!strcmp(type, "content_block_stop")) {
        must(*open == index);
        *open = -1;
    } else {
        must(*open < 0);
    }
    json_decref(json);
}

static void check_stream(const weirp_writer *out) {
    const char *at = (const char *)out->data, *end = at + out->size;
    json_int_t open = -1, next = 0;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        must(line != NULL);
        if (line - at > 6 && !memcmp(at, "data: ", 6)) check_event(at + 6, (size_t)(line - at - 6), &open, &next);
        at = line + 1;
    }
    must(open < 0);
}

static void answer(const char *text, size_t len, bool stream) {
    const weirp_pen_options options = {.stream = stream, .model = "m", .id = "1"};
    copy c = {.pen = weirp_messages_ops.open(&options)};
    weirp_reader *reader = weirp_anthropic_ops.open();
    weirp_vendor_fault fault;
    weir_status st = WEIR_OK;
    must(c.pen && reader);
    if (!stream) st = weirp_anthropic_ops.body(text, len, write_piece, &c, NULL);
    while (stream && st == WEIR_OK && len) {
        const char *line = memchr(text, '\n', len);
        const size_t n = line ? (size_t)(line - text) : len;
        if (n) st = weirp_anthropic_ops.event(reader, NULL, 0, text, n, write_piece, &c, &fault, NULL);
        text += line ? n + 1 : n;
        len -= line ? n + 1 : n;
    }
    if (st == WEIR_OK && weirp_messages_ops.end(c.pen, NULL, "note", 4, &c.out, NULL) == WEIR_OK) {
        if (stream)
            check_stream(&c.out);
        else
            json_decref(must_be_json((char *)c.out.data, c.out.size));
    }
    weirp_messages_ops.close(c.pen);
    weirp_writer_free(&c.out);
    free(reader);
}

static void pass(const char *text, size_t len) {
    weirp_answer_facts facts = {0};
    weirp_writer out = {0};
    while (len) {
        const char *line = memchr(text, '\n', len);
        const size_t n = line ? (size_t)(line - text) : len;
        (void)weirp_anthropic_facts(&facts, NULL, 0, text, n, NULL, NULL);
        weirp_put_event(&out, NULL, 0, text, n);
        must(facts.usage.input_tokens >= 0 && facts.usage.output_tokens >= 0 && facts.output_chars <= out.size);
        text += line ? n + 1 : n;
        len -= line ? n + 1 : n;
    }
    must(isfinite(facts.approximate_tokens));
    weirp_writer_free(&out);
}

/* ---- requests ---- */

static void write_it(weirp_request *r) {
    const weirp_target target = {.protocol = WEIRP_PROTOCOL_ANTHROPIC, .model = "m", .max_output_tokens = 4096};
    weirp_writer body = {0};
    weirp_fault fault = {0};
    char path[64];
    if (weirp_anthropic_ops.write(r, &target, &body, path, sizeof path, &fault) == WEIR_OK) {
        json_t *json = must_be_json((char *)body.data, body.size);
        const json_t *most = json_object_get(json, "max_tokens");
        must(json_integer_value(most) <= 4096);
        must(r->api == WEIRP_API_MESSAGES || json_array_size(json_object_get(json, "messages")));
        json_decref(json);
    } else {
        must(fault.text[0]);
    }
    weirp_writer_free(&body);
}

static void request(const char *text, size_t len, weirp_api api) {
    char what[128];
    weirp_request r = {.api = api, .text = text, .len = len, .max_output_tokens = NAN, .n_choices = 1};
    weirp_fault fault = {0};
    r.json = weirp_json_parse(text, len, what, sizeof what);
    if (!json_is_object(r.json)) {
        json_decref(r.json);
        return;
    }
    if (api == WEIRP_API_CHAT) {
        r.chat = json_incref(r.json);
        write_it(&r);
    } else if (weirp_messages_ops.parse(&r, &fault) == WEIR_OK) {
        weirp_writer prompt = {0};
        weirp_messages_prompt(&r, &prompt);
        weirp_writer_free(&prompt);
        write_it(&r);
        r.chat = weirp_messages_ops.chat(&r, &fault);
        if (r.chat) { /* and back, as another vendor of the same kind would be asked */
            r.api = WEIRP_API_CHAT;
            write_it(&r);
        } else {
            must(fault.text[0]);
        }
    } else {
        must(fault.text[0]);
    }
    json_decref(r.chat);
    json_decref(r.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    const char *text = (const char *)data + 1;
    switch (data[0] % 5) {
    case 0: answer(text, size - 1, false); break;
    case 1: answer(text, size - 1, true); break;
    case 2: pass(text, size - 1); break;
    case 3: request(text, size - 1, WEIRP_API_CHAT); break;
    default: request(text, size - 1, WEIRP_API_MESSAGES); break;
    }
    return 0;
}

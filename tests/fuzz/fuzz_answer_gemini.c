/* Any bytes as what Gemini answers (the first byte says how: a whole answer, a stream of one event a line, an error)
 * and as a chat request to be written for it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool held) {
    if (!held) abort();
}

typedef struct listener {
    size_t n_calls[8];
    bool finished[8];
    size_t ends;
} listener;

static void check_text(const char *text, size_t len) {
    need(!len || (text && weirp_utf8_valid(text, len) == len));
}

static void check_usage(const weirp_usage *u) {
    need(u->cached_input_tokens >= 0 && u->cache_write_tokens >= 0 && u->audio_input_tokens >= 0);
    need(u->cached_input_tokens + u->cache_write_tokens + u->audio_input_tokens <= u->input_tokens);
    need(u->reasoning_tokens >= 0 && u->audio_output_tokens >= 0);
    need(u->reasoning_tokens + u->audio_output_tokens <= u->output_tokens);
}

static weir_status listen(void *user, const weirp_piece *p, weir_error *err) {
    listener *l = user;
    (void)err;
    need(p->choice < 8);
    check_text(p->text, p->text_len);
    check_text(p->id, p->id_len);
    check_text(p->name, p->name_len);
    if (p->kind == WEIRP_PIECE_TOOL) {
        need(p->index == l->n_calls[p->choice]++ && p->id_len && p->id_len <= 40 && p->name_len);
    } else if (p->kind == WEIRP_PIECE_ARGUMENTS) {
        json_t *json = json_loadb(p->text, p->text_len, JSON_ALLOW_NUL, NULL);
        need(json_is_object(json) && p->index + 1 == l->n_calls[p->choice]);
        json_decref(json);
    } else if (p->kind == WEIRP_PIECE_FINISH) {
        need(!l->finished[p->choice] && p->finish != WEIRP_FINISH_NONE);
        l->finished[p->choice] = true;
    } else if (p->kind == WEIRP_PIECE_USAGE) {
        check_usage(p->usage);
    } else if (p->kind == WEIRP_PIECE_END) {
        need(!l->ends++);
    }
    return WEIR_OK;
}

static void check_fault(const weirp_vendor_fault *fault) {
    need(memchr(fault->text, 0, sizeof fault->text) && memchr(fault->code, 0, sizeof fault->code));
    check_text(fault->text, strlen(fault->text));
    need(!strstr(fault->text, "AIza"));
}

static void read_body(const char *text, size_t len) {
    listener l = {0};
    weir_error err = {0};
    const weir_status st = weirp_gemini_ops.body(text, len, listen, &l, &err);
    need(st == err.status && (st == WEIR_OK || *err.text));
    need(st != WEIR_OK || l.ends == 1);
}

static void read_stream(const char *text, size_t len) {
    listener l = {0};
    weirp_reader *reader = weirp_gemini_ops.open();
    weir_status st = WEIR_OK;
    for (size_t at = 0; reader && st == WEIR_OK && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        const size_t n = end ? (size_t)(end - text) - at : len - at;
        weir_error err = {0};
        weirp_vendor_fault fault = {0};
        st = weirp_gemini_ops.event(reader, NULL, 0, text + at, n, listen, &l, &fault, &err);
        need(st == err.status && (st == WEIR_OK || *err.text));
        check_fault(&fault);
        at += n + 1;
    }
    free(reader);
}

static void read_fault(const char *text, size_t len) {
    char what[128];
    json_t *json = weirp_json_parse(text, len, what, sizeof what);
    weirp_vendor_fault fault = {0};
    if (json && weirp_gemini_ops.fault(&fault, 400, json)) check_fault(&fault);
    json_decref(json);
}

static void write_request(const char *text, size_t len, const char *model) {
    char what[128], path[128];
    json_t *json = weirp_json_parse(text, len, what, sizeof what);
    const weirp_request request = {.json = json, .chat = json, .max_output_tokens = NAN, .n_choices = 1};
    const weirp_target target = {.protocol = WEIRP_PROTOCOL_GEMINI, .model = model, .max_output_tokens = 100};
    weirp_writer body = {0};
    weirp_fault fault = {0};
    if (json_is_object(json)) {
        const weir_status st = weirp_gemini_ops.write(&request, &target, &body, path, sizeof path, &fault);
        need(st == WEIR_OK || (st == WEIR_INVALID && *fault.text));
        json_t *out = st ? NULL : json_loadb((const char *)body.data, body.size, JSON_ALLOW_NUL, NULL);
        need(st || json_array_size(json_object_get(out, "contents")));
        json_decref(out);
    }
    weirp_writer_free(&body);
    json_decref(json);
}

/* The answer as a client of `api` gets it. */
static void carry(const char *text, size_t len, weirp_api api, bool stream) {
    static const char plain[] =
        "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";
    static const char streamed[] = "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"messages\":[{\"role\":\"user\","
                                   "\"content\":\"x\"}]}";
    const weirp_answer_options options = {.protocol = WEIRP_PROTOCOL_GEMINI, .model = "m", .id = "1"};
    const char *asked = stream ? streamed : plain;
    weirp_request request;
    weirp_answer *answer = NULL;
    weirp_writer out = {0};
    weirp_fault fault;
    need(weirp_request_parse(&request, api, asked, strlen(asked), &fault) == WEIR_OK);
    need(weirp_answer_new(&answer, &request, &options, NULL) == WEIR_OK);
    weir_status st = stream ? WEIR_OK : weirp_answer_body(answer, text, len, &out, NULL);
    for (size_t at = 0; stream && st == WEIR_OK && at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        const size_t n = end ? (size_t)(end - text) - at : len - at;
        st = weirp_answer_event(answer, NULL, 0, text + at, n, &out, NULL, NULL);
        at += n + 1;
    }
    if (stream && st == WEIR_OK) st = weirp_answer_end(answer, &out, NULL);
    check_text((const char *)out.data, out.size);
    need(st != WEIR_OK || out.size);
    if (st == WEIR_OK && !stream) {
        json_t *json = json_loadb((const char *)out.data, out.size, JSON_ALLOW_NUL, NULL);
        need(json_is_object(json));
        json_decref(json);
    }
    weirp_writer_free(&out);
    weirp_answer_free(answer);
    weirp_request_free(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    const char *text = (const char *)data + 1;
    switch (*data % 8) {
    case 0: read_body(text, size - 1); break;
    case 1: read_stream(text, size - 1); break;
    case 2: read_fault(text, size - 1); break;
    case 3: write_request(text, size - 1, "gemini-2.5-flash"); break;
    case 4: write_request(text, size - 1, "models/gemini-3-pro-preview"); break;
    case 5: carry(text, size - 1, WEIRP_API_CHAT, true); break;
    case 6: carry(text, size - 1, WEIRP_API_MESSAGES, true); break;
    default:
        carry(text, size - 1, WEIRP_API_CHAT, false);
        carry(text, size - 1, WEIRP_API_MESSAGES, false);
        break;
    }
    return 0;
}

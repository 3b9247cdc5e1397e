/* answer.c: one answer on its way from a vendor to a client: passed through where both speak the same, otherwise read
 * into pieces and written from them. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/text/text.h"
#include "src/translate/openai.h"
#include "src/translate/tables.h"

const weirp_api_ops *const weirp_api_table[] = {[WEIRP_API_CHAT] = &weirp_chat_ops,
                                                [WEIRP_API_COMPLETIONS] = &weirp_completions_ops,
                                                [WEIRP_API_EMBEDDINGS] = &weirp_embeddings_ops,
                                                [WEIRP_API_MESSAGES] = &weirp_messages_ops};

const weirp_protocol_ops *const weirp_protocol_table[] = {[WEIRP_PROTOCOL_OPENAI] = &weirp_openai_ops,
                                                          [WEIRP_PROTOCOL_ANTHROPIC] = &weirp_anthropic_ops,
                                                          [WEIRP_PROTOCOL_GEMINI] = &weirp_gemini_ops};

struct weirp_answer {
    const weirp_request *request; /* borrowed */
    weirp_answer_options options;
    weirp_answer_facts facts;
    const weirp_api_ops *api;
    const weirp_protocol_ops *protocol;
    bool passes;          /* both speak the same */
    bool ended;           /* all that the client gets has been written */
    size_t n_finished;    /* choices with a finish reason */
    weirp_relay *relay;   /* OpenAI's streams that pass through */
    weirp_reader *reader; /* other streams */
    weirp_pen *pen;       /* what is translated */
};

/* ---- facts ---- */

void weirp_facts_text(weirp_answer_facts *facts, const char *text, size_t len) {
    if (!len) return;
    facts->has_content = true;
    for (size_t i = 0; i < len; i++) facts->output_chars += ((unsigned char)text[i] & 0xc0) != 0x80;
    facts->approximate_tokens += weirp_count_tokens(text, len);
}

void weirp_facts_piece(weirp_answer_facts *facts, const weirp_piece *piece) {
    switch (piece->kind) {
    case WEIRP_PIECE_START:
        if (!*facts->id && piece->id_len) weirp_excerpt(facts->id, sizeof facts->id, piece->id, piece->id_len);
        if (!*facts->model && piece->name_len)
            weirp_excerpt(facts->model, sizeof facts->model, piece->name, piece->name_len);
        break;
    case WEIRP_PIECE_TEXT:
    case WEIRP_PIECE_REASONING:
    case WEIRP_PIECE_REFUSAL:
    case WEIRP_PIECE_ARGUMENTS: weirp_facts_text(facts, piece->text, piece->text_len); break;
    case WEIRP_PIECE_TOOL: facts->has_content = true; break;
    case WEIRP_PIECE_FINISH:
        if (piece->finish != WEIRP_FINISH_NONE) facts->finish = piece->finish;
        break;
    case WEIRP_PIECE_USAGE: facts->usage = *piece->usage; break;
    case WEIRP_PIECE_END: facts->done = true; break;
    }
}

/* The vendor has counted nothing: what was asked and said is counted here. */
static weir_status settle_usage(weirp_answer *a, weir_error *err) {
    weirp_writer buffer = {0};
    const char *text;
    size_t len;
    if (a->facts.usage.known || a->facts.usage.estimated) return WEIR_OK;
    if (weirp_request_prompt(a->request, &buffer, &text, &len)) {
        weirp_writer_free(&buffer);
        return weirp_nomem(err);
    }
    a->facts.usage = (weirp_usage){.input_tokens = (int64_t)ceil(weirp_count_tokens(text, len)),
                                   .output_tokens = (int64_t)ceil(a->facts.approximate_tokens),
                                   .estimated = true};
    weirp_writer_free(&buffer);
    return WEIR_OK;
}

/* ---- life ---- */

static weirp_pen_options pen_options(const weirp_answer *a) {
    return (weirp_pen_options){.stream = a->request->stream,
                               .include_usage = a->request->include_usage,
                               .model = a->options.model ? a->options.model : "",
                               .id = a->options.id ? a->options.id : "",
                               .created_s = a->options.created_s};
}

static bool open_pen(weirp_answer *a) {
    weirp_pen_options options = pen_options(a);
    if (!a->pen && a->api->open) a->pen = a->api->open(&options);
    return a->pen != NULL;
}

weir_status weirp_answer_new(weirp_answer **out, const weirp_request *request, const weirp_answer_options *options,
                             weir_error *err) {
    *out = NULL;
    weirp_answer *a = calloc(1, sizeof *a);
    if (!a) return weirp_nomem(err);
    a->request = request;
    a->options = *options;
    a->api = weirp_api_table[request->api];
    a->protocol = weirp_protocol_table[options->protocol];
    a->passes = weirp_speaks(request->api, options->protocol, options->legacy_completions);
    bool ok = true;
    if (a->passes && options->protocol == WEIRP_PROTOCOL_OPENAI) {
        if (request->stream) ok = (a->relay = weirp_relay_new(request->include_usage, request->n_choices)) != NULL;
    } else {
        if (request->stream) ok = (a->reader = a->protocol->open()) != NULL;
        if (ok && !a->passes) ok = open_pen(a);
    }
    if (!ok) {
        weirp_answer_free(a);
        return weirp_nomem(err);
    }
    *out = a;
    return WEIR_OK;
}

void weirp_answer_free(weirp_answer *a) {
    if (!a) return;
    weirp_relay_free(a->relay);
    free(a->reader);
    if (a->pen) a->api->close(a->pen);
    free(a);
}

const weirp_answer_facts *weirp_answer_facts_of(const weirp_answer *a) {
    return &a->facts;
}

/* ---- streams ---- */

typedef struct step {
    weirp_answer *answer;
    weirp_writer *out; /* NULL: facts only */
} step;

static weir_status take_piece(void *user, const weirp_piece *piece, weir_error *err) {
    step *s = user;
    weirp_answer *a = s->answer;
    weirp_facts_piece(&a->facts, piece);
    a->n_finished += piece->kind == WEIRP_PIECE_FINISH && piece->finish != WEIRP_FINISH_NONE;
    return s->out ? a->api->piece(a->pen, piece, s->out, err) : WEIR_OK;
}

/* The note, made of the facts as they are now. */
static weir_status make_note(weirp_answer *a, weirp_writer *note, weir_error *err) {
    weir_status st = settle_usage(a, err);
    if (st || !a->options.note) return st;
    a->options.note(a->options.note_user, &a->facts, note);
    return note->failed ? weirp_nomem(err) : WEIR_OK;
}

/* What passes isn't parsed, and clients' JSON readers stop at bytes that aren't UTF-8, maybe in the middle of a stream.
 */
static weir_status check_text(const char *text, size_t len, weir_error *err) {
    if (weirp_utf8_valid(text, len) == len) return WEIR_OK;
    return weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer isn't UTF-8");
}

/* Events of other protocols that pass: read for the facts, sent on as they are. */
static weir_status pass_event(weirp_answer *a, const char *type, size_t type_len, const char *data, size_t len,
                              weirp_writer *out, weirp_vendor_fault *fault, weir_error *err) {
    step s = {a, NULL};
    weirp_writer note = {0};
    if (a->facts.done) return WEIR_OK;
    weir_status st;
    if (a->protocol->facts)
        WEIRP_TRY(a->protocol->facts(&a->facts, type, type_len, data, len, fault, err));
    else
        WEIRP_TRY(a->protocol->event(a->reader, type, type_len, data, len, take_piece, &s, fault, err));
    if (a->facts.done) {
        WEIRP_TRY(make_note(a, &note, err));
        weirp_put_comment(out, (const char *)note.data, note.size);
    }
    weirp_put_event(out, type, type_len, data, len);
    if (out->failed) st = weirp_nomem(err);
done:
    weirp_writer_free(&note);
    return st;
}

weir_status weirp_answer_event(weirp_answer *a, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_writer *out, weirp_vendor_fault *fault, weir_error *err) {
    if (fault) *fault = (weirp_vendor_fault){.kind = WEIRP_VENDOR_SERVER};
    if (a->passes) {
        weir_status st = check_text(data, len, err);
        if (!st) st = check_text(type, type_len, err);
        if (st) return st;
    }
    if (a->relay) return weirp_relay_event(a->relay, type, type_len, data, len, &a->facts, out, fault, err);
    if (!a->reader) return weirp_fail(err, WEIR_PARSE, 0, "the vendor answers with a stream that wasn't asked for");
    if (a->passes) return pass_event(a, type, type_len, data, len, out, fault, err);
    step s = {a, out};
    return a->protocol->event(a->reader, type, type_len, data, len, take_piece, &s, fault, err);
}

/* [DONE] is left out by some of those who speak OpenAI's protocol. */
static bool is_complete(const weirp_answer *a) {
    if (a->relay) return weirp_relay_complete(a->relay, &a->facts);
    if (a->facts.done) return true;
    return a->options.protocol == WEIRP_PROTOCOL_OPENAI && a->n_finished && a->n_finished >= a->request->n_choices;
}

static weir_status write_end(weirp_answer *a, weirp_writer *out, weir_error *err) {
    weirp_writer note = {0};
    weirp_pen_options options = pen_options(a);
    bool legacy = a->request->api == WEIRP_API_COMPLETIONS;
    weir_status st;
    WEIRP_TRY(make_note(a, &note, err));
    const char *text = note.size ? (const char *)note.data : "";
    if (a->pen)
        st = a->api->end(a->pen, &a->facts, text, note.size, out, err);
    else if (a->relay)
        weirp_relay_end(a->relay, &options, legacy, &a->facts, text, note.size, out);
    if (!st && out->failed) st = weirp_nomem(err);
done:
    weirp_writer_free(&note);
    return st;
}

weir_status weirp_answer_end(weirp_answer *a, weirp_writer *out, weir_error *err) {
    if (a->ended) return WEIR_OK;
    weir_status st = settle_usage(a, err);
    if (st) return st;
    if (!is_complete(a)) return weirp_fail(err, WEIR_PARSE, 0, "the vendor's stream ended before its end");
    a->facts.done = true;
    a->ended = true;
    return write_end(a, out, err);
}

/* ---- whole answers ---- */

weir_status weirp_answer_body(weirp_answer *a, const char *text, size_t len, weirp_writer *out, weir_error *err) {
    weir_status st;
    /* A vendor that doesn't stream though it was asked to: the client gets its stream. */
    bool writes = !a->passes || a->request->stream;
    step s = {a, writes ? out : NULL};
    if (!writes) WEIRP_TRY(check_text(text, len, err));
    if (a->request->api == WEIRP_API_EMBEDDINGS) {
        WEIRP_TRY(weirp_openai_embeddings(text, len, &a->facts, err));
        weirp_put(out, text, len);
        a->facts.done = a->facts.has_content = a->ended = true;
        return out->failed ? weirp_nomem(err) : settle_usage(a, err);
    }
    if (writes && !open_pen(a)) return weirp_nomem(err);
    bool seen = !writes && a->options.protocol == WEIRP_PROTOCOL_OPENAI && weirp_openai_glance(text, len, &a->facts);
    if (!seen) WEIRP_TRY(a->protocol->body(text, len, take_piece, &s, err));
    a->facts.done = a->ended = true;
    if (writes) return write_end(a, out, err);
    weirp_put(out, text, len);
    WEIRP_TRY(settle_usage(a, err));
    if (out->failed) st = weirp_nomem(err);
done:
    return st;
}

void weirp_answer_error(const weirp_answer *a, const char *text, const char *type, weirp_writer *out) {
    if (a->api->error) a->api->error(a->pen, text, type, out);
}

/* ---- events as text ---- */

static void put_line(weirp_writer *out, const char *name, const char *text, size_t len) {
    weirp_put(out, name, strlen(name));
    weirp_put(out, text, len);
    weirp_put(out, "\n", 1);
}

static size_t line_end(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && text[i] != '\n' && text[i] != '\r') i++;
    return i;
}

void weirp_put_event(weirp_writer *out, const char *type, size_t type_len, const char *data, size_t len) {
    if (type_len) put_line(out, "event: ", type, line_end(type, type_len));
    if (!memchr(data, '\n', len) && !memchr(data, '\r', len)) {
        put_line(out, "data: ", data, len);
    } else {
        for (size_t at = 0; at <= len;) {
            size_t n = line_end(data + at, len - at);
            put_line(out, "data: ", data + at, n);
            at += n + 1;
        }
    }
    weirp_put(out, "\n", 1);
}

void weirp_put_comment(weirp_writer *out, const char *note, size_t len) {
    if (!len) return;
    weirp_put(out, ": ", 2);
    for (size_t at = 0; at < len;) {
        size_t n = line_end(note + at, len - at);
        weirp_put(out, note + at, n);
        at += n + 1;
        if (at <= len) weirp_put(out, " ", 1);
    }
    weirp_put(out, "\n\n", 2);
}

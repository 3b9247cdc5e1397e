/* pens.c: pieces into OpenAI's chunks and bodies. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/translate/draft.h"
#include "src/translate/pens.h"

struct weirp_pen {
    bool stream, include_usage, legacy;
    weirp_writer head; /* {"id":..,"object":..,"created":..,"model":..,"choices":[ */
    weirp_writer ids;  /* the answer's id, for those of tool calls; NUL-terminated */
    weirp_draft draft; /* of streams: without texts */
};

static weirp_pen *open_pen(const weirp_pen_options *o, bool legacy) {
    weirp_pen *pen = calloc(1, sizeof *pen);
    if (!pen) return NULL;
    pen->stream = o->stream;
    pen->include_usage = o->include_usage;
    pen->legacy = legacy;
    pen->draft.keeps_text = !o->stream;
    const char *object = legacy ? "text_completion" : o->stream ? "chat.completion.chunk" : "chat.completion";
    weirp_putf(&pen->ids, "%s%c", o->id, 0);
    weirp_writer id = {0};
    weirp_putf(&id, "%s-%s", legacy ? "cmpl" : "chatcmpl", o->id);
    weirp_putf(&pen->head, "{\"id\":");
    weirp_put_json_text(&pen->head, (const char *)id.data, id.size);
    weirp_putf(&pen->head, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object, (long long)o->created_s);
    weirp_put_json_text(&pen->head, o->model, strlen(o->model));
    weirp_putf(&pen->head, ",\"choices\":[");
    bool failed = id.failed || pen->head.failed || pen->ids.failed;
    weirp_writer_free(&id);
    if (!failed) return pen;
    weirp_pen_close(pen);
    return NULL;
}

weirp_pen *weirp_chat_pen(const weirp_pen_options *options) {
    return open_pen(options, false);
}

weirp_pen *weirp_completions_pen(const weirp_pen_options *options) {
    return open_pen(options, true);
}

void weirp_pen_close(weirp_pen *pen) {
    if (!pen) return;
    weirp_writer_free(&pen->head);
    weirp_writer_free(&pen->ids);
    weirp_draft_free(&pen->draft);
    free(pen);
}

const char *weirp_finish_name(weirp_finish finish) {
    switch (finish) {
    case WEIRP_FINISH_LENGTH: return "length";
    case WEIRP_FINISH_TOOLS: return "tool_calls";
    case WEIRP_FINISH_FILTER: return "content_filter";
    default: return "stop";
    }
}

/* Some vendors say "stop" after tool calls; OpenAI's clients look for "tool_calls". */
static const char *finish_of(const weirp_draft_choice *choice) {
    bool calls = choice->n_tools && (choice->finish == WEIRP_FINISH_STOP || choice->finish == WEIRP_FINISH_NONE);
    return weirp_finish_name(calls ? WEIRP_FINISH_TOOLS : choice->finish);
}

/* ---- streams ---- */

static void put_head(const weirp_pen *pen, weirp_writer *out) {
    weirp_putf(out, "data: ");
    weirp_put(out, pen->head.data, pen->head.size);
}

static void put_tail(const weirp_pen *pen, weirp_writer *out) {
    weirp_putf(out, pen->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

/* Up to where what is said goes. */
static void begin_chunk(const weirp_pen *pen, size_t choice, weirp_writer *out) {
    put_head(pen, out);
    weirp_putf(out, "{\"index\":%zu,%s", choice, pen->legacy ? "\"text\":" : "\"delta\":{");
}

static void end_chunk(const weirp_pen *pen, const char *finish, weirp_writer *out) {
    weirp_putf(out, "%s\"logprobs\":null,\"finish_reason\":", pen->legacy ? "," : "},");
    if (finish)
        weirp_putf(out, "\"%s\"}", finish);
    else
        weirp_putf(out, "null}");
    put_tail(pen, out);
}

static void put_text_chunk(const weirp_pen *pen, const weirp_piece *piece, const char *member, weirp_writer *out) {
    begin_chunk(pen, piece->choice, out);
    if (!pen->legacy) weirp_putf(out, "\"%s\":", member);
    weirp_put_json_text(out, piece->text, piece->text_len);
    end_chunk(pen, NULL, out);
}

/* OpenAI's clients answer a call by its id: a vendor that gives none gets one from us. */
static void put_call_id(const weirp_pen *pen, const char *id, size_t id_len, size_t choice, size_t index,
                        weirp_writer *out) {
    char made[160];
    if (!id_len) {
        snprintf(made, sizeof made, "call_%.100s_%zu_%zu", (const char *)pen->ids.data, choice, index);
        id = made;
        id_len = strlen(made);
    }
    weirp_put_json_text(out, id, id_len);
}

static void put_tool_chunk(const weirp_pen *pen, const weirp_piece *piece, weirp_writer *out) {
    begin_chunk(pen, piece->choice, out);
    weirp_putf(out, "\"tool_calls\":[{\"index\":%zu,", piece->index);
    if (piece->kind == WEIRP_PIECE_TOOL) {
        weirp_putf(out, "\"id\":");
        put_call_id(pen, piece->id, piece->id_len, piece->choice, piece->index, out);
        weirp_putf(out, ",\"type\":\"function\",\"function\":{\"name\":");
        weirp_put_json_text(out, piece->name, piece->name_len);
        weirp_putf(out, ",\"arguments\":\"\"}}]");
    } else {
        weirp_putf(out, "\"function\":{\"arguments\":");
        weirp_put_json_text(out, piece->text, piece->text_len);
        weirp_putf(out, "}}]");
    }
    end_chunk(pen, NULL, out);
}

static void put_finish_chunk(const weirp_pen *pen, size_t choice, const char *finish, weirp_writer *out) {
    begin_chunk(pen, choice, out);
    if (pen->legacy) weirp_putf(out, "\"\"");
    end_chunk(pen, finish, out);
}

static void put_role_chunk(const weirp_pen *pen, size_t choice, weirp_writer *out) {
    if (pen->legacy) return;
    begin_chunk(pen, choice, out);
    weirp_putf(out, "\"role\":\"assistant\",\"content\":\"\"");
    end_chunk(pen, NULL, out);
}

static void put_piece(const weirp_pen *pen, const weirp_piece *piece, weirp_writer *out) {
    switch (piece->kind) {
    case WEIRP_PIECE_TEXT: put_text_chunk(pen, piece, "content", out); break;
    case WEIRP_PIECE_REFUSAL: put_text_chunk(pen, piece, "refusal", out); break;
    case WEIRP_PIECE_REASONING:
        if (!pen->legacy) put_text_chunk(pen, piece, "reasoning_content", out);
        break;
    case WEIRP_PIECE_TOOL:
    case WEIRP_PIECE_ARGUMENTS:
        if (!pen->legacy) put_tool_chunk(pen, piece, out);
        break;
    default: break;
    }
}

weir_status weirp_pen_piece(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err) {
    size_t known = pen->draft.n_choices;
    weirp_draft_choice *choice;
    weir_status st = weirp_draft_piece(&pen->draft, piece, &choice, err);
    if (st || !pen->stream || !choice) return st;
    if (piece->kind == WEIRP_PIECE_FINISH && piece->finish == WEIRP_FINISH_NONE) return WEIR_OK;
    for (; known < pen->draft.n_choices; known++) put_role_chunk(pen, known, out);
    if (choice->finished) return WEIR_OK;
    if (piece->kind == WEIRP_PIECE_FINISH) {
        put_finish_chunk(pen, piece->choice, finish_of(choice), out);
        choice->finished = true;
    } else {
        put_piece(pen, piece, out);
    }
    return out->failed ? weirp_nomem(err) : WEIR_OK;
}

static void end_stream(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                       weirp_writer *out) {
    if (!pen->draft.n_choices) { /* an empty answer is an answer */
        put_role_chunk(pen, 0, out);
        put_finish_chunk(pen, 0, weirp_finish_name(facts->finish), out);
    }
    for (size_t i = 0; i < pen->draft.n_choices; i++)
        if (!pen->draft.choices[i].finished) put_finish_chunk(pen, i, finish_of(&pen->draft.choices[i]), out);
    if (pen->include_usage) {
        put_head(pen, out);
        weirp_putf(out, "],\"usage\":");
        weirp_put_usage(out, &facts->usage);
        weirp_putf(out, "}\n\n");
    }
    weirp_put_comment(out, note, note_len);
    weirp_putf(out, "data: [DONE]\n\n");
}

/* ---- whole answers ---- */

static void put_text(weirp_writer *out, const weirp_writer *text) {
    weirp_put_json_text(out, text->size ? (const char *)text->data : "", text->size);
}

static void put_calls(const weirp_pen *pen, const weirp_draft_choice *choice, size_t at, weirp_writer *out) {
    weirp_putf(out, ",\"tool_calls\":[");
    for (size_t i = 0; i < choice->n_tools; i++) {
        const weirp_draft_tool *tool = &choice->tools[i];
        weirp_putf(out, "%s{\"id\":", i ? "," : "");
        put_call_id(pen, (const char *)tool->id.data, tool->id.size, at, i, out);
        weirp_putf(out, ",\"type\":\"function\",\"function\":{\"name\":");
        put_text(out, &tool->name);
        weirp_putf(out, ",\"arguments\":");
        if (tool->arguments.size)
            put_text(out, &tool->arguments);
        else
            weirp_putf(out, "\"{}\"");
        weirp_putf(out, "}}");
    }
    weirp_putf(out, "]");
}

static void put_message(const weirp_pen *pen, const weirp_draft_choice *choice, size_t at, weirp_writer *out) {
    weirp_putf(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (choice->text.size || (!choice->n_tools && !choice->refusal.size))
        put_text(out, &choice->text);
    else
        weirp_putf(out, "null");
    weirp_putf(out, ",\"refusal\":");
    if (choice->refusal.size)
        put_text(out, &choice->refusal);
    else
        weirp_putf(out, "null");
    if (choice->reasoning.size) {
        weirp_putf(out, ",\"reasoning_content\":");
        put_text(out, &choice->reasoning);
    }
    if (choice->n_tools) put_calls(pen, choice, at, out);
    weirp_putf(out, "}");
}

static void put_choice(const weirp_pen *pen, const weirp_draft_choice *choice, size_t at, weirp_writer *out) {
    weirp_putf(out, "%s{\"index\":%zu,", at ? "," : "", at);
    if (pen->legacy) {
        weirp_putf(out, "\"text\":");
        put_text(out, choice->text.size ? &choice->text : &choice->refusal);
    } else {
        put_message(pen, choice, at, out);
    }
    weirp_putf(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}", finish_of(choice));
}

static void end_body(weirp_pen *pen, const weirp_answer_facts *facts, weirp_writer *out) {
    weirp_put(out, pen->head.data, pen->head.size);
    weirp_draft_choice empty = {.finish = facts->finish};
    if (!pen->draft.n_choices) put_choice(pen, &empty, 0, out);
    for (size_t i = 0; i < pen->draft.n_choices; i++) put_choice(pen, &pen->draft.choices[i], i, out);
    weirp_putf(out, "],\"usage\":");
    weirp_put_usage(out, &facts->usage);
    weirp_putf(out, "}");
}

weir_status weirp_pen_end(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                          weirp_writer *out, weir_error *err) {
    if (pen->stream)
        end_stream(pen, facts, note, note_len, out);
    else
        end_body(pen, facts, out);
    return out->failed ? weirp_nomem(err) : WEIR_OK;
}

void weirp_pen_error(const weirp_pen *pen, const char *text, const char *type, weirp_writer *out) {
    (void)pen;
    weirp_putf(out, "data: ");
    weirp_error_write(WEIRP_API_CHAT, 500, type, NULL, NULL, text, out);
    weirp_putf(out, "\n\n");
}

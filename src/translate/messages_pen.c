/* messages_pen.c: pieces of an answer as a message of Anthropic's Messages API, whole or as a stream
 * (https://platform.claude.com/docs/en/build-with-claude/streaming).
 *
 * A stream of this API has one content block open at a time, while other vendors may send the arguments of several tool
 * calls in turns. So blocks wait in a queue: what belongs to its first one is written at once, what belongs to those
 * behind it is held until the first is complete (a call's arguments are when their braces are closed), or until the
 * end. Vendors that send call after call, which is all that are known, are never held up.
 *
 * The first event waits for the first content: until then nothing has been promised to the client, and usage that came
 * meanwhile is in it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "src/translate/messages_parts.h"

enum { MAX_QUEUED = 1024 };

typedef enum block_kind { BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL } block_kind;

typedef struct block {
    block_kind kind;
    size_t call;       /* BLOCK_TOOL: which */
    char *id, *name;   /* BLOCK_TOOL; owned */
    weirp_writer held; /* what of it isn't written yet */
    bool started;      /* its first event is out */
    /* BLOCK_TOOL: how far its arguments are */
    size_t depth;
    bool in_string, escaped, complete;
} block;

struct weirp_pen {
    weirp_pen_options options;
    char *model, *id; /* owned */
    block *block;     /* (n_blocks) streams: the queue; whole answers: all of them */
    size_t n_blocks, capacity;
    size_t n_closed; /* streams: blocks that are out and forgotten */
    size_t n_calls;
    bool started; /* message_start is out */
    weirp_finish finish;
    bool refused; /* a refusal has come */
    weirp_usage usage;
};

/* ---- the queue ---- */

static void block_free(block *b) {
    free(b->id);
    free(b->name);
    weirp_writer_free(&b->held);
}

static block *block_add(weirp_pen *pen, block_kind kind) {
    if (!weirp_reserve((void **)&pen->block, &pen->capacity, pen->n_blocks + 1, sizeof *pen->block)) return NULL;
    block *b = &pen->block[pen->n_blocks++];
    *b = (block){.kind = kind};
    return b;
}

static void block_drop_first(weirp_pen *pen) {
    block_free(pen->block);
    pen->n_blocks--;
    pen->n_closed++;
    memmove(pen->block, pen->block + 1, pen->n_blocks * sizeof *pen->block);
}

static block *block_of_call(const weirp_pen *pen, size_t call) {
    for (size_t i = pen->n_blocks; i-- > 0;)
        if (pen->block[i].kind == BLOCK_TOOL && pen->block[i].call == call) return &pen->block[i];
    return NULL;
}

/* Follows arguments to the brace that closes them. */
static void follow(block *b, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (b->escaped) {
            b->escaped = false;
        } else if (b->in_string) {
            b->escaped = c == '\\';
            b->in_string = c != '"';
        } else if (c == '"') {
            b->in_string = true;
        } else if (c == '{' || c == '[') {
            b->depth++;
        } else if ((c == '}' || c == ']') && b->depth) {
            b->complete = --b->depth == 0;
        }
    }
}

static bool white(const char *text, size_t len) {
    while (len && (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r')) text++, len--;
    return !len;
}

/* ---- events ---- */

/* Anthropic counts input without what was read from the cache or written to it. */
static void put_usage(weirp_writer *out, const weirp_usage *u) {
    int64_t cached = u->cached_input_tokens > 0 ? u->cached_input_tokens : 0;
    int64_t written = u->cache_write_tokens > 0 ? u->cache_write_tokens : 0;
    int64_t plain = u->input_tokens - cached - written;
    weirp_putf(out,
               "{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,\"cache_read_input_tokens\":%lld,"
               "\"output_tokens\":%lld}",
               (long long)(plain > 0 ? plain : 0), (long long)written, (long long)cached,
               (long long)(u->output_tokens > 0 ? u->output_tokens : 0));
}

static void put_text(weirp_writer *out, const char *text) {
    weirp_put_json_text(out, text, strlen(text));
}

static void put_head(const weirp_pen *pen, weirp_writer *out) {
    weirp_putf(out, "{\"id\":");
    put_text(out, pen->id);
    weirp_putf(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    put_text(out, pen->model);
}

static void put_message_start(weirp_pen *pen, weirp_writer *out) {
    if (pen->started) return;
    pen->started = true;
    weirp_putf(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    put_head(pen, out);
    weirp_putf(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    put_usage(out, &pen->usage);
    weirp_putf(out, "}}\n\n");
}

static void put_block_start(const weirp_pen *pen, const block *b, weirp_writer *out) {
    weirp_putf(out,
               "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":%zu,\"content_block\":",
               pen->n_closed);
    if (b->kind == BLOCK_TEXT) {
        weirp_putf(out, "{\"type\":\"text\",\"text\":\"\"}");
    } else if (b->kind == BLOCK_THINKING) {
        weirp_putf(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    } else {
        weirp_putf(out, "{\"type\":\"tool_use\",\"id\":");
        put_text(out, b->id);
        weirp_putf(out, ",\"name\":");
        put_text(out, b->name);
        weirp_putf(out, ",\"input\":{}}");
    }
    weirp_putf(out, "}\n\n");
}

static void put_delta(const weirp_pen *pen, const block *b, const char *text, size_t len, weirp_writer *out) {
    static const char *const delta[] = {
        [BLOCK_TEXT] = "{\"type\":\"text_delta\",\"text\":",
        [BLOCK_THINKING] = "{\"type\":\"thinking_delta\",\"thinking\":",
        [BLOCK_TOOL] = "{\"type\":\"input_json_delta\",\"partial_json\":",
    };
    if (!len) return;
    weirp_putf(out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%zu,\"delta\":%s",
               pen->n_closed, delta[b->kind]);
    weirp_put_json_text(out, text, len);
    weirp_putf(out, "}}\n\n");
}

/* Writes what is held of the first block. */
static void write_first(weirp_pen *pen, weirp_writer *out) {
    block *b = pen->block;
    put_message_start(pen, out);
    if (!b->started) put_block_start(pen, b, out);
    b->started = true;
    put_delta(pen, b, (const char *)b->held.data, b->held.size, out);
    b->held.size = 0;
}

/* Writes what can be: the first block, and those behind it as far as all before them are complete. `all`: whatever is
 * there, and closes it. */
static void advance(weirp_pen *pen, bool all, weirp_writer *out) {
    while (pen->n_blocks) {
        write_first(pen, out);
        const block *b = pen->block;
        if (!all && (pen->n_blocks == 1 || (b->kind == BLOCK_TOOL && !b->complete))) return;
        weirp_putf(out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":%zu}\n\n",
                   pen->n_closed);
        block_drop_first(pen);
    }
}

/* ---- pieces ---- */

static weir_status add_said(weirp_pen *pen, block_kind kind, const weirp_piece *piece, weirp_writer *out,
                            weir_error *err) {
    if (!piece->text_len) return WEIR_OK;
    block *b = pen->n_blocks ? &pen->block[pen->n_blocks - 1] : NULL;
    if (!b || b->kind != kind) b = block_add(pen, kind);
    if (!b) return weirp_nomem(err);
    if (pen->options.stream && b == pen->block && b->started) {
        put_delta(pen, b, piece->text, piece->text_len, out);
        return WEIR_OK;
    }
    weirp_put(&b->held, piece->text, piece->text_len);
    if (b->held.failed) return weirp_nomem(err);
    if (pen->options.stream) advance(pen, false, out);
    return WEIR_OK;
}

static weir_status add_call(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err) {
    if (block_of_call(pen, piece->index)) return WEIR_OK; /* told once more */
    weirp_writer made = {0};
    block *b = block_add(pen, BLOCK_TOOL);
    if (!b) return weirp_nomem(err);
    b->call = piece->index;
    if (!piece->id_len) weirp_putf(&made, "toolu_%s_%zu", pen->id, pen->n_calls); /* clients must have one */
    if (made.failed)
        b->id = NULL;
    else if (made.size)
        b->id = weirp_strndup((const char *)made.data, made.size);
    else
        b->id = weirp_strndup(piece->id, piece->id_len);
    b->name = weirp_strndup(piece->name_len ? piece->name : "", piece->name_len);
    weirp_writer_free(&made);
    if (!b->id || !b->name) return weirp_nomem(err);
    pen->n_calls++;
    if (pen->options.stream) advance(pen, false, out);
    return WEIR_OK;
}

static weir_status add_arguments(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err) {
    block *b = block_of_call(pen, piece->index);
    if (!b) {
        if (white(piece->text, piece->text_len)) return WEIR_OK;
        return weirp_fail(err, WEIR_PARSE, 0, "the vendor sent arguments of a tool call that isn't open");
    }
    follow(b, piece->text, piece->text_len);
    if (pen->options.stream && b == pen->block && b->started)
        put_delta(pen, b, piece->text, piece->text_len, out);
    else
        weirp_put(&b->held, piece->text, piece->text_len);
    if (b->held.failed) return weirp_nomem(err);
    if (pen->options.stream) advance(pen, false, out);
    return WEIR_OK;
}

weir_status weirp_messages_piece(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err) {
    if (piece->choice) return WEIR_OK; /* this API has one */
    weir_status st = WEIR_OK;
    switch (piece->kind) {
    case WEIRP_PIECE_TEXT: st = add_said(pen, BLOCK_TEXT, piece, out, err); break;
    case WEIRP_PIECE_REFUSAL:
        pen->refused = pen->refused || piece->text_len;
        st = add_said(pen, BLOCK_TEXT, piece, out, err);
        break;
    case WEIRP_PIECE_REASONING: st = add_said(pen, BLOCK_THINKING, piece, out, err); break;
    case WEIRP_PIECE_TOOL: st = add_call(pen, piece, out, err); break;
    case WEIRP_PIECE_ARGUMENTS: st = add_arguments(pen, piece, out, err); break;
    case WEIRP_PIECE_FINISH: pen->finish = piece->finish; break;
    case WEIRP_PIECE_USAGE: pen->usage = *piece->usage; break;
    case WEIRP_PIECE_START:
    case WEIRP_PIECE_END: break;
    }
    if (st == WEIR_OK && pen->options.stream && pen->n_blocks > MAX_QUEUED)
        return weirp_fail(err, WEIR_PARSE, 0, "the vendor mixed more than %d blocks", MAX_QUEUED);
    return st == WEIR_OK && out->failed ? weirp_nomem(err) : st;
}

/* ---- the end ---- */

static const char *stop_reason(const weirp_pen *pen) {
    if (pen->finish == WEIRP_FINISH_LENGTH) return "max_tokens";
    if (pen->finish == WEIRP_FINISH_FILTER || pen->refused) return "refusal";
    return pen->n_calls ? "tool_use" : "end_turn"; /* some vendors say "stop" after calls too */
}

static weir_status put_block(const block *b, weirp_writer *out) {
    const char *text = b->held.size ? (const char *)b->held.data : "";
    if (b->kind == BLOCK_TEXT) {
        weirp_putf(out, "{\"type\":\"text\",\"text\":");
        weirp_put_json_text(out, text, b->held.size);
    } else if (b->kind == BLOCK_THINKING) {
        weirp_putf(out, "{\"type\":\"thinking\",\"thinking\":");
        weirp_put_json_text(out, text, b->held.size);
        weirp_putf(out, ",\"signature\":\"\"");
    } else {
        weirp_putf(out, "{\"type\":\"tool_use\",\"id\":");
        put_text(out, b->id);
        weirp_putf(out, ",\"name\":");
        put_text(out, b->name);
        weirp_putf(out, ",\"input\":");
        json_t *input = weirp_anthropic_input(text, b->held.size);
        const bool good = input && weirp_put_json(out, input);
        json_decref(input);
        if (!good) return WEIR_NOMEM;
    }
    weirp_putf(out, "}");
    return WEIR_OK;
}

static weir_status write_whole(weirp_pen *pen, weirp_writer *out, weir_error *err) {
    put_head(pen, out);
    weirp_putf(out, ",\"content\":[");
    for (size_t i = 0; i < pen->n_blocks; i++) {
        if (i) weirp_put(out, ",", 1);
        if (put_block(&pen->block[i], out) != WEIR_OK) return weirp_nomem(err);
    }
    weirp_putf(out, "],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":", stop_reason(pen));
    put_usage(out, &pen->usage);
    weirp_putf(out, "}");
    return out->failed ? weirp_nomem(err) : WEIR_OK;
}

weir_status weirp_messages_end(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                               weirp_writer *out, weir_error *err) {
    if (facts && (facts->usage.known || facts->usage.estimated)) pen->usage = facts->usage;
    if (!pen->options.stream) return write_whole(pen, out, err);
    put_message_start(pen, out);
    advance(pen, true, out);
    weirp_putf(out,
               "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\","
               "\"stop_sequence\":null},\"usage\":",
               stop_reason(pen));
    put_usage(out, &pen->usage);
    weirp_putf(out, "}\n\n");
    weirp_put_comment(out, note, note_len); /* before the end, at which clients leave */
    weirp_putf(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    return out->failed ? weirp_nomem(err) : WEIR_OK;
}

void weirp_messages_error(const weirp_pen *pen, const char *text, const char *type, weirp_writer *out) {
    (void)pen;
    weirp_putf(out, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":");
    put_text(out, type ? type : "api_error");
    weirp_putf(out, ",\"message\":");
    put_text(out, text ? text : "");
    weirp_putf(out, "}}\n\n");
}

weirp_pen *weirp_messages_open(const weirp_pen_options *options) {
    weirp_pen *pen = calloc(1, sizeof *pen);
    const char *id = options->id ? options->id : "weir";
    weirp_writer made = {0};
    if (!pen) return NULL;
    pen->options = *options;
    if (strncmp(id, "msg_", 4)) weirp_put(&made, "msg_", 4);
    weirp_put(&made, id, strlen(id));
    pen->id = made.failed ? NULL : weirp_strndup((const char *)made.data, made.size);
    pen->model = weirp_strndup(options->model ? options->model : "", options->model ? strlen(options->model) : 0);
    weirp_writer_free(&made);
    if (pen->id && pen->model) return pen;
    weirp_messages_close(pen);
    return NULL;
}

void weirp_messages_close(weirp_pen *pen) {
    if (!pen) return;
    for (size_t i = 0; i < pen->n_blocks; i++) block_free(&pen->block[i]);
    free(pen->block);
    free(pen->model);
    free(pen->id);
    free(pen);
}

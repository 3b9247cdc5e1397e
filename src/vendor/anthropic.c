/* anthropic.c: Anthropic's answers. Shapes: docs.anthropic.com, "Messages" and "Streaming messages".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

static const char *finish_name(const vend_reply *r) {
    switch (r->finish) {
    case VEND_LENGTH: return "max_tokens";
    case VEND_TOOLS: return "tool_use";
    case VEND_FILTERED:
    case VEND_REFUSED: return "refusal";
    default: return "end_turn";
    }
}

/* Anthropic's input_tokens are those that neither came from the cache nor went into it. */
static void put_usage(const vend_reply *r, weirp_writer *w, int64_t output) {
    int64_t plain = r->input - r->cached - r->cache_write;
    vend_put(w, "{\"input_tokens\":");
    vend_put_int(w, plain > 0 ? plain : 0);
    vend_put(w, ",\"cache_creation_input_tokens\":");
    vend_put_int(w, r->cache_write);
    vend_put(w, ",\"cache_read_input_tokens\":");
    vend_put_int(w, r->cached);
    vend_put(w, ",\"cache_creation\":{\"ephemeral_5m_input_tokens\":");
    vend_put_int(w, r->cache_write);
    vend_put(w, ",\"ephemeral_1h_input_tokens\":0},\"output_tokens\":");
    vend_put_int(w, output);
    vend_put(w, ",\"service_tier\":\"standard\"}");
}

static void put_opening(const vend_reply *r, weirp_writer *w) {
    vend_put(w, "{\"id\":\"msg_01");
    vend_put(w, r->id);
    vend_put_member(w, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", r->ask->model);
    vend_put(w, ",\"content\":[");
}

static const char signature[] = "RXFRQkNrZ0lCeEFCR0FJaVFIc2ltdWxhdGVkdGhpbmtpbmc=";

static void put_blocks(vend_reply *r, weirp_writer *w) {
    if (r->reasoning) {
        vend_put_member(w, "{\"type\":\"thinking\",\"thinking\":", r->reasoning);
        vend_put_member(w, ",\"signature\":", signature);
        vend_put(w, r->n_calls || r->n_pieces || r->refusal ? "}," : "}");
    }
    for (size_t i = 0; i < r->n_calls; i++) {
        vend_put(w, i ? ",{\"type\":\"tool_use\",\"id\":\"toolu_01" : "{\"type\":\"tool_use\",\"id\":\"toolu_01");
        vend_put(w, r->calls[i].id);
        vend_put_member(w, "\",\"name\":", r->calls[i].name);
        vend_put(w, ",\"input\":");
        vend_put(w, r->calls[i].arguments);
        vend_put(w, "}");
    }
    if (r->n_calls || (!r->n_pieces && !r->refusal)) return;
    vend_put(w, "{\"type\":\"text\",\"text\":\"");
    if (r->refusal)
        vend_put_escaped(w, r->refusal, strlen(r->refusal));
    else
        vend_reply_text(r, 0, w);
    vend_put(w, "\"}");
}

static void whole(vend_reply *r, weirp_writer *w) {
    put_opening(r, w);
    put_blocks(r, w);
    vend_put_member(w, "],\"stop_reason\":", finish_name(r));
    vend_put(w, ",\"stop_sequence\":null");
    if (r->send_usage) {
        vend_put(w, ",\"usage\":");
        put_usage(r, w, r->output);
    }
    vend_put(w, "}");
}

/* ---- events ---- */

#define EVENT(name) "event: " name "\ndata: {\"type\":\"" name "\""

static vend_phase next_phase(const vend_reply *r) {
    return r->n_calls ? VEND_CALLS : vend_reply_more(r) || r->refusal ? VEND_CONTENT : VEND_END;
}

static void begin(vend_reply *r, weirp_writer *w) {
    vend_put(w, EVENT("message_start") ",\"message\":");
    put_opening(r, w);
    vend_put(w, "],\"stop_reason\":null,\"stop_sequence\":null");
    if (r->send_usage) {
        vend_put(w, ",\"usage\":");
        put_usage(r, w, 1); /* the vendor's own first count */
    }
    vend_put(w, "}}\n\n");
    r->phase = r->reasoning ? VEND_REASONING : next_phase(r);
}

static void put_index(const vend_reply *r, weirp_writer *w, const char *event) {
    vend_put(w, event);
    vend_put(w, ",\"index\":");
    vend_put_int(w, (int64_t)r->index);
}

static void start_block(vend_reply *r, weirp_writer *w, const char *block) {
    put_index(r, w, EVENT("content_block_start"));
    vend_put(w, ",\"content_block\":");
    vend_put(w, block);
    if (*block) vend_put(w, "}\n\n");
}

static void stop_block(vend_reply *r, weirp_writer *w, vend_phase next) {
    put_index(r, w, EVENT("content_block_stop"));
    vend_put(w, "}\n\n");
    r->index++;
    r->step = 0;
    r->phase = next;
}

static void put_delta(vend_reply *r, weirp_writer *w, const char *delta, const char *text, size_t len) {
    put_index(r, w, EVENT("content_block_delta"));
    vend_put(w, ",\"delta\":{\"type\":");
    vend_put(w, delta);
    vend_put_quoted(w, text, len);
    vend_put(w, "}}\n\n");
}

/* step 0: the block begins; 1: its pieces; 2: the signature; 3: its end. */
static void reasoning(vend_reply *r, weirp_writer *w) {
    size_t len;
    const char *piece;
    if (!r->step) {
        start_block(r, w, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
        r->step = 1;
    } else if (r->step == 1 && (piece = vend_reply_thought(r, &len))) {
        put_delta(r, w, "\"thinking_delta\",\"thinking\":", piece, len);
        if (!r->reasoning[r->thought_at]) r->step = 2;
    } else if (r->step <= 2) {
        put_delta(r, w, "\"signature_delta\",\"signature\":", signature, strlen(signature));
        r->step = 3;
    } else {
        stop_block(r, w, next_phase(r));
    }
}

/* step 0: the block begins; 1: a ping, as the vendor sends one early on; 2: pieces; 3: its end. */
static void content(vend_reply *r, weirp_writer *w) {
    char scratch[VEND_PIECE];
    size_t len;
    if (!r->step) {
        start_block(r, w, "{\"type\":\"text\",\"text\":\"\"}");
        r->step = 1;
    } else if (r->step == 1) {
        vend_put(w, EVENT("ping") "}\n\n");
        r->step = 2;
    } else if (r->step == 2 && r->refusal) {
        put_delta(r, w, "\"text_delta\",\"text\":", r->refusal, strlen(r->refusal));
        r->step = 3;
    } else if (r->step == 2) {
        const char *piece = vend_reply_piece(r, 0, scratch, &len);
        put_delta(r, w, "\"text_delta\",\"text\":", piece, len);
        vend_reply_advance(r);
        if (!vend_reply_more(r)) r->step = 3;
    } else {
        stop_block(r, w, VEND_END);
    }
}

/* step 0: the block begins; then pieces of its arguments; then its end. r->choice: the call. */
static void call(vend_reply *r, weirp_writer *w) {
    const vend_call *c = &r->calls[r->choice];
    const char *text;
    size_t len;
    if (!r->step) {
        start_block(r, w, "");
        vend_put(w, "{\"type\":\"tool_use\",\"id\":\"toolu_01");
        vend_put(w, c->id);
        vend_put_member(w, "\",\"name\":", c->name);
        vend_put(w, ",\"input\":{}}}\n\n");
        r->step = 1;
    } else if (r->step == 1) { /* the vendor's first delta is empty */
        put_delta(r, w, "\"input_json_delta\",\"partial_json\":", "", 0);
        r->step = 2;
    } else if (vend_call_piece(c, r->step - 2, &text, &len)) {
        put_delta(r, w, "\"input_json_delta\",\"partial_json\":", text, len);
        r->step++;
    } else {
        r->choice++;
        stop_block(r, w, r->choice == r->n_calls ? VEND_END : VEND_CALLS);
    }
}

static bool event(vend_reply *r, weirp_writer *w) {
    switch (r->phase) {
    case VEND_BEGIN: begin(r, w); return true;
    case VEND_REASONING: reasoning(r, w); return true;
    case VEND_CONTENT: content(r, w); return true;
    case VEND_CALLS: call(r, w); return true;
    case VEND_END:
        vend_put_member(w, EVENT("message_delta") ",\"delta\":{\"stop_reason\":", finish_name(r));
        vend_put(w, ",\"stop_sequence\":null}");
        if (r->send_usage) {
            vend_put(w, ",\"usage\":");
            put_usage(r, w, r->output);
        }
        vend_put(w, "}\n\n");
        r->phase = VEND_DONE;
        return true;
    default:
        if (r->phase != VEND_DONE || (r->rule && r->rule->malformed == VEND_NO_DONE)) return false;
        vend_put(w, EVENT("message_stop") "}\n\n");
        r->phase = VEND_OVER;
        return true;
    }
}

static void error_event(const vend_fault *fault, const char *id, weirp_writer *w) {
    vend_put(w, "event: error\ndata: ");
    vend_anthropic_error(fault, id, w);
    vend_put(w, "\n\n");
}

const vend_dialect vend_anthropic = {vend_anthropic_check, whole,       event,
                                     vend_anthropic_error, error_event, "request-id"};

/* gemini.c: Gemini's answers. Shapes: ai.google.dev/api/generate-content (GenerateContentResponse). A stream's chunks
 * are whole answers with a part of the text each, and end in CR LF. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

static const char *finish_name(const vend_reply *r) {
    switch (r->finish) {
    case VEND_LENGTH: return "MAX_TOKENS";
    case VEND_FILTERED:
    case VEND_REFUSED: return "SAFETY";
    default: return "STOP"; /* tool calls too */
    }
}

/* Gemini's candidates are without the thoughts; those from the cache are a part of the prompt's. */
static void put_usage(const vend_reply *r, weirp_writer *w, bool last) {
    int64_t said = last ? r->output - r->reasoning_tokens : r->piece;
    if (said < 0) said = 0;
    vend_put(w, ",\"usageMetadata\":{\"promptTokenCount\":");
    vend_put_int(w, r->input);
    if (said) {
        vend_put(w, ",\"candidatesTokenCount\":");
        vend_put_int(w, said);
    }
    vend_put(w, ",\"totalTokenCount\":");
    vend_put_int(w, r->input + said + r->reasoning_tokens);
    if (r->cached) {
        vend_put(w, ",\"cachedContentTokenCount\":");
        vend_put_int(w, r->cached);
    }
    vend_put(w, ",\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":");
    vend_put_int(w, r->input - r->audio_input);
    if (r->audio_input) {
        vend_put(w, "},{\"modality\":\"AUDIO\",\"tokenCount\":");
        vend_put_int(w, r->audio_input);
    }
    vend_put(w, "}]");
    if (last && r->audio_output) {
        vend_put(w, ",\"candidatesTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":");
        vend_put_int(w, said - r->audio_output);
        vend_put(w, "},{\"modality\":\"AUDIO\",\"tokenCount\":");
        vend_put_int(w, r->audio_output);
        vend_put(w, "}]");
    }
    if (r->reasoning_tokens) {
        vend_put(w, ",\"thoughtsTokenCount\":");
        vend_put_int(w, r->reasoning_tokens);
    }
    vend_put(w, "}");
}

static void put_ending(vend_reply *r, weirp_writer *w, bool last) {
    if (r->send_usage) put_usage(r, w, last);
    vend_put_member(w, ",\"modelVersion\":", r->ask->model);
    vend_put(w, ",\"responseId\":\"");
    vend_put(w, r->id);
    vend_put(w, "\"}");
}

/* A prompt that is blocked has no candidate. */
static void put_blocked(vend_reply *r, weirp_writer *w) {
    vend_put(w, "{\"promptFeedback\":{\"blockReason\":\"SAFETY\",\"safetyRatings\":[{\"category\":"
                "\"HARM_CATEGORY_DANGEROUS_CONTENT\",\"probability\":\"HIGH\",\"blocked\":true}]}");
    put_ending(r, w, true);
}

static void put_call(const vend_call *call, weirp_writer *w) {
    vend_put_member(w, "{\"functionCall\":{\"name\":", call->name);
    vend_put(w, ",\"args\":");
    vend_put(w, call->arguments);
    vend_put(w, "}}");
}

static void close_candidate(vend_reply *r, weirp_writer *w, bool last) {
    vend_put(w, "],\"role\":\"model\"}");
    if (last) vend_put_member(w, ",\"finishReason\":", finish_name(r));
    vend_put(w, ",\"index\":0}]");
    put_ending(r, w, last);
}

static void whole(vend_reply *r, weirp_writer *w) {
    if (r->refusal) {
        put_blocked(r, w);
        return;
    }
    vend_put(w, "{\"candidates\":[{\"content\":{\"parts\":[");
    if (r->reasoning) {
        vend_put_member(w, "{\"text\":", r->reasoning);
        vend_put(w, r->n_calls || r->n_pieces ? ",\"thought\":true}," : ",\"thought\":true}");
    }
    for (size_t i = 0; i < r->n_calls; i++) {
        if (i) vend_put(w, ",");
        put_call(&r->calls[i], w);
    }
    if (!r->n_calls && r->n_pieces) {
        vend_put(w, "{\"text\":\"");
        vend_reply_text(r, 0, w);
        vend_put(w, "\"}");
    }
    close_candidate(r, w, true);
    vend_put(w, "\n");
}

/* ---- events ---- */

static void next_phase(vend_reply *r) {
    r->phase = r->n_calls ? VEND_CALLS : vend_reply_more(r) ? VEND_CONTENT : VEND_END;
}

static void put_text(vend_reply *r, weirp_writer *w, bool *last) {
    char scratch[VEND_PIECE];
    size_t len;
    const char *piece = vend_reply_piece(r, 0, scratch, &len);
    vend_put(w, "{\"text\":");
    vend_put_quoted(w, piece, len);
    vend_put(w, "}");
    vend_reply_advance(r);
    *last = !vend_reply_more(r);
}

static void put_chunk(vend_reply *r, weirp_writer *w) {
    bool last = false;
    size_t len;
    if (r->refusal) {
        put_blocked(r, w);
        r->phase = VEND_OVER;
        return;
    }
    if (r->phase == VEND_BEGIN) {
        r->phase = VEND_REASONING;
        if (!r->reasoning) next_phase(r);
    }
    vend_put(w, "{\"candidates\":[{\"content\":{\"parts\":[");
    if (r->phase == VEND_REASONING) {
        const char *piece = vend_reply_thought(r, &len);
        vend_put(w, "{\"text\":");
        vend_put_quoted(w, piece ? piece : "", piece ? len : 0);
        vend_put(w, ",\"thought\":true}");
        if (!r->reasoning[r->thought_at]) next_phase(r);
    } else if (r->phase == VEND_CALLS) {
        put_call(&r->calls[r->index++], w);
        last = r->index == r->n_calls;
    } else if (r->phase == VEND_CONTENT) {
        put_text(r, w, &last);
    } else { /* nothing to say: an empty text, and the end */
        vend_put(w, "{\"text\":\"\"}");
        last = true;
    }
    if (last) r->phase = VEND_OVER;
    close_candidate(r, w, last && !(r->rule && r->rule->malformed == VEND_NO_DONE));
}

/* As events, or as an array's elements where alt=sse wasn't asked for. */
static bool event(vend_reply *r, weirp_writer *w) {
    if (r->phase == VEND_OVER || r->phase == VEND_DONE) return false;
    bool first = !r->step++;
    vend_put(w, !r->ask->array ? "data: " : first ? "[" : ",\r\n");
    put_chunk(r, w);
    if (!r->ask->array)
        vend_put(w, "\r\n\r\n");
    else if (r->phase == VEND_OVER)
        vend_put(w, "]");
    return true;
}

static void error_event(const vend_fault *fault, const char *id, weirp_writer *w) {
    vend_put(w, "data: ");
    vend_gemini_error(fault, id, w);
    vend_put(w, "\r\n\r\n");
}

const vend_dialect vend_gemini = {vend_gemini_check, whole, event, vend_gemini_error, error_event, "x-request-id"};

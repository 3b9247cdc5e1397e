/* openai.c: OpenAI's answers: chat and legacy completions. Shapes: platform.openai.com/docs/api-reference (chat/object,
 * chat/streaming, completions/object). SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

static const char *finish_name(const vend_reply *r) {
    switch (r->finish) {
    case VEND_LENGTH: return "length";
    case VEND_TOOLS: return "tool_calls";
    case VEND_FILTERED: return "content_filter";
    default: return "stop";
    }
}

static void put_usage(vend_reply *r, weirp_writer *w) {
    vend_put(w, "{\"prompt_tokens\":");
    vend_put_int(w, r->input);
    vend_put(w, ",\"completion_tokens\":");
    vend_put_int(w, r->output);
    vend_put(w, ",\"total_tokens\":");
    vend_put_int(w, r->input + r->output);
    vend_put(w, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    vend_put_int(w, r->cached);
    vend_put(w, ",\"audio_tokens\":");
    vend_put_int(w, r->audio_input);
    if (r->cache_write) { /* a reseller's word (OpenRouter, "Prompt caching"); OpenAI itself doesn't bill writes */
        vend_put(w, ",\"cache_write_tokens\":");
        vend_put_int(w, r->cache_write);
    }
    vend_put(w, "},\"completion_tokens_details\":{\"reasoning_tokens\":");
    vend_put_int(w, r->reasoning_tokens);
    vend_put(w, ",\"audio_tokens\":");
    vend_put_int(w, r->audio_output);
    vend_put(w, ",\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}");
}

/* From "id" to "model", without the comma behind. */
static void put_envelope(const vend_reply *r, weirp_writer *w, const char *prefix, const char *object) {
    vend_put(w, "{\"id\":\"");
    vend_put(w, prefix);
    vend_put(w, r->id);
    vend_put(w, "\",\"object\":\"");
    vend_put(w, object);
    vend_put(w, "\",\"created\":");
    vend_put_int(w, r->created_s);
    vend_put_member(w, ",\"model\":", r->ask->model);
}

#define TIER ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_5eed5eed5e\""

/* ---- chat, whole ---- */

static void put_calls(const vend_reply *r, weirp_writer *w) {
    vend_put(w, ",\"tool_calls\":[");
    for (size_t i = 0; i < r->n_calls; i++) {
        vend_put(w, i ? ",{\"id\":\"call_" : "{\"id\":\"call_");
        vend_put(w, r->calls[i].id);
        vend_put_member(w, "\",\"type\":\"function\",\"function\":{\"name\":", r->calls[i].name);
        vend_put_member(w, ",\"arguments\":", r->calls[i].arguments);
        vend_put(w, "}}");
    }
    vend_put(w, "]");
}

static void put_message(vend_reply *r, weirp_writer *w, size_t choice) {
    vend_put(w, "{\"role\":\"assistant\",\"content\":");
    if (r->n_calls || r->refusal) {
        vend_put(w, "null");
    } else {
        vend_put(w, "\"");
        vend_reply_text(r, choice, w);
        vend_put(w, "\"");
    }
    if (r->reasoning) vend_put_member(w, ",\"reasoning_content\":", r->reasoning);
    if (r->n_calls) put_calls(r, w);
    vend_put_member(w, ",\"refusal\":", r->refusal);
    vend_put(w, ",\"annotations\":[]}");
}

static void chat_whole(vend_reply *r, weirp_writer *w) {
    put_envelope(r, w, "chatcmpl-", "chat.completion");
    vend_put(w, ",\"choices\":[");
    for (size_t c = 0; c < r->ask->n; c++) {
        vend_put(w, c ? ",{\"index\":" : "{\"index\":");
        vend_put_int(w, (int64_t)c);
        vend_put(w, ",\"message\":");
        put_message(r, w, c);
        vend_put_member(w, ",\"logprobs\":null,\"finish_reason\":", finish_name(r));
        vend_put(w, "}");
    }
    vend_put(w, "]");
    if (r->send_usage) {
        vend_put(w, ",\"usage\":");
        put_usage(r, w);
    }
    vend_put(w, TIER "}\n");
}

/* ---- chat, in events ---- */

/* The phases in their order; each event of `n` choices comes once a choice. True: this was the last choice's. */
static bool next_choice(vend_reply *r) {
    if (++r->choice < r->ask->n) return false;
    r->choice = 0;
    return true;
}

static vend_phase after_reasoning(const vend_reply *r) {
    return r->n_calls ? VEND_CALLS : vend_reply_more(r) || r->refusal ? VEND_CONTENT : VEND_END;
}

static void open_chunk(vend_reply *r, weirp_writer *w) {
    weirp_put(w, r->head.data, r->head.size);
    vend_put_int(w, (int64_t)r->choice);
    vend_put(w, ",\"delta\":{");
}

static void close_chunk(vend_reply *r, weirp_writer *w) {
    weirp_put(w, r->tail.data, r->tail.size);
}

static void prepare_chunks(vend_reply *r, const char *prefix, const char *object) {
    vend_put(&r->head, "data: ");
    put_envelope(r, &r->head, prefix, object);
    vend_put(&r->head, TIER ",\"choices\":[{\"index\":");
    vend_put(&r->tail, "},\"logprobs\":null,\"finish_reason\":null}]");
    vend_put(&r->tail, r->ask->include_usage && r->send_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void chat_begin(vend_reply *r, weirp_writer *w) {
    if (!r->head.size) prepare_chunks(r, "chatcmpl-", "chat.completion.chunk");
    open_chunk(r, w);
    vend_put(w, "\"role\":\"assistant\",\"content\":");
    vend_put(w, r->n_calls || r->refusal ? "null" : "\"\"");
    vend_put(w, ",\"refusal\":null");
    close_chunk(r, w);
    if (next_choice(r)) r->phase = r->reasoning ? VEND_REASONING : after_reasoning(r);
}

static void chat_reasoning(vend_reply *r, weirp_writer *w) {
    size_t len;
    const char *piece = vend_reply_thought(r, &len);
    open_chunk(r, w);
    vend_put(w, "\"reasoning_content\":");
    vend_put_quoted(w, piece ? piece : "", piece ? len : 0);
    close_chunk(r, w);
    if (!piece || !r->reasoning[r->thought_at]) r->phase = after_reasoning(r);
}

static void chat_content(vend_reply *r, weirp_writer *w) {
    char scratch[VEND_PIECE];
    size_t len;
    open_chunk(r, w);
    if (r->refusal) {
        vend_put_member(w, "\"refusal\":", r->refusal);
    } else {
        const char *piece = vend_reply_piece(r, r->choice, scratch, &len);
        vend_put(w, "\"content\":");
        vend_put_quoted(w, piece, len);
    }
    close_chunk(r, w);
    if (!next_choice(r)) return;
    if (!r->refusal) vend_reply_advance(r);
    if (r->refusal || !vend_reply_more(r)) r->phase = VEND_END;
}

/* r->index: the call; r->step: 0 for its name, then a piece of its arguments each. */
static void chat_call(vend_reply *r, weirp_writer *w) {
    const vend_call *call = &r->calls[r->index];
    const char *text;
    size_t len;
    open_chunk(r, w);
    vend_put(w, "\"tool_calls\":[{\"index\":");
    vend_put_int(w, (int64_t)r->index);
    if (!r->step) {
        vend_put(w, ",\"id\":\"call_");
        vend_put(w, call->id);
        vend_put_member(w, "\",\"type\":\"function\",\"function\":{\"name\":", call->name);
        vend_put(w, ",\"arguments\":\"\"}}]");
    } else {
        vend_call_piece(call, r->step - 1, &text, &len);
        vend_put(w, ",\"function\":{\"arguments\":");
        vend_put_quoted(w, text, len);
        vend_put(w, "}}]");
    }
    close_chunk(r, w);
    if (!next_choice(r) || vend_call_piece(call, r->step++, &text, &len)) return;
    r->step = 0;
    if (++r->index == r->n_calls) r->phase = VEND_END;
}

/* The stream's last events, the same for both endpoints but for what stands in the choice. */
static bool put_ending(vend_reply *r, weirp_writer *w, const char *choice) {
    bool wants_usage = r->ask->include_usage && r->send_usage;
    switch (r->phase) {
    case VEND_END:
        weirp_put(w, r->head.data, r->head.size);
        vend_put_int(w, (int64_t)r->choice);
        vend_put(w, choice);
        vend_put_member(w, ",\"logprobs\":null,\"finish_reason\":", finish_name(r));
        vend_put(w, wants_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
        if (next_choice(r)) r->phase = wants_usage ? VEND_USAGE : VEND_DONE;
        break;
    case VEND_USAGE:
        weirp_put(w, r->head.data, r->head.size - strlen("{\"index\":"));
        vend_put(w, "],\"usage\":");
        put_usage(r, w);
        vend_put(w, "}\n\n");
        r->phase = VEND_DONE;
        break;
    default:
        if (r->phase != VEND_DONE || (r->rule && r->rule->malformed == VEND_NO_DONE)) return false;
        vend_put(w, "data: [DONE]\n\n");
        r->phase = VEND_OVER;
    }
    return true;
}

static bool chat_event(vend_reply *r, weirp_writer *w) {
    switch (r->phase) {
    case VEND_BEGIN: chat_begin(r, w); break;
    case VEND_REASONING: chat_reasoning(r, w); break;
    case VEND_CONTENT: chat_content(r, w); break;
    case VEND_CALLS: chat_call(r, w); break;
    default: return put_ending(r, w, ",\"delta\":{}");
    }
    return true;
}

/* ---- legacy completions ---- */

static void completions_whole(vend_reply *r, weirp_writer *w) {
    put_envelope(r, w, "cmpl-", "text_completion");
    vend_put(w, ",\"system_fingerprint\":\"fp_5eed5eed5e\",\"choices\":[");
    for (size_t c = 0; c < r->ask->n; c++) {
        vend_put(w, c ? ",{\"index\":" : "{\"index\":");
        vend_put_int(w, (int64_t)c);
        vend_put(w, ",\"text\":\"");
        vend_reply_text(r, c, w);
        vend_put_member(w, "\",\"logprobs\":null,\"finish_reason\":", finish_name(r));
        vend_put(w, "}");
    }
    vend_put(w, "]");
    if (r->send_usage) {
        vend_put(w, ",\"usage\":");
        put_usage(r, w);
    }
    vend_put(w, "}\n");
}

static bool completions_event(vend_reply *r, weirp_writer *w) {
    char scratch[VEND_PIECE];
    size_t len;
    if (r->phase == VEND_BEGIN) {
        prepare_chunks(r, "cmpl-", "text_completion");
        r->phase = vend_reply_more(r) ? VEND_CONTENT : VEND_END;
    }
    if (r->phase != VEND_CONTENT) return put_ending(r, w, ",\"text\":\"\"");
    weirp_put(w, r->head.data, r->head.size);
    vend_put_int(w, (int64_t)r->choice);
    vend_put(w, ",\"text\":");
    const char *piece = vend_reply_piece(r, r->choice, scratch, &len);
    vend_put_quoted(w, piece, len);
    weirp_put(w, r->tail.data + 1, r->tail.size - 1); /* without the delta's brace */
    if (!next_choice(r)) return true;
    vend_reply_advance(r);
    if (!vend_reply_more(r)) r->phase = VEND_END;
    return true;
}

static void error_event(const vend_fault *fault, const char *id, weirp_writer *w) {
    vend_put(w, "data: ");
    vend_openai_error(fault, id, w);
    vend_put(w, "\n\n");
}

const vend_dialect vend_openai_chat = {vend_openai_check_chat, chat_whole,  chat_event,
                                       vend_openai_error,      error_event, "x-request-id"};
const vend_dialect vend_openai_completions = {vend_openai_check_completions,
                                              completions_whole,
                                              completions_event,
                                              vend_openai_error,
                                              error_event,
                                              "x-request-id"};

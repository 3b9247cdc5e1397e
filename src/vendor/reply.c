/* reply.c: what is answered, whichever vendor says it. SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/vendor/json.h"
#include "src/vendor/vendor.h"

enum { DEFAULT_TOKENS = 16, MAX_FIXED = 4 << 20, NO_LIMIT = 2000000000 /* beyond any count there is */ };

/* ---- pieces ---- */

const char *vend_reply_piece(vend_reply *r, size_t choice, char scratch[VEND_PIECE], size_t *len) {
    if (r->piece_bytes) { /* "000000012 " and filling: a lost or moved event shows */
        int n = snprintf(scratch, VEND_PIECE, "%09lld ", (long long)r->piece);
        *len = r->piece_bytes;
        memcpy(r->filler, scratch, (size_t)n < r->piece_bytes ? (size_t)n : r->piece_bytes);
        return r->filler;
    }
    if (!r->text) {
        *len = vend_word(scratch, r->seed + choice, (uint64_t)r->piece);
        return scratch;
    }
    if (r->at == r->text_len) r->at = 0; /* endless: from the start again */
    *len = vend_split(r->text + r->at, r->text_len - r->at);
    return r->text + r->at;
}

void vend_reply_advance(vend_reply *r) {
    if (r->text && !r->piece_bytes) {
        if (r->at == r->text_len) r->at = 0;
        r->at += vend_split(r->text + r->at, r->text_len - r->at);
    }
    r->piece++;
}

bool vend_reply_more(const vend_reply *r) {
    return r->n_pieces == VEND_UNSET || r->piece < r->n_pieces;
}

void vend_reply_text(vend_reply *r, size_t choice, weirp_writer *w) {
    char scratch[VEND_PIECE];
    for (r->piece = 0, r->at = 0; vend_reply_more(r); vend_reply_advance(r)) {
        size_t len;
        const char *piece = vend_reply_piece(r, choice, scratch, &len);
        vend_put_escaped(w, piece, len);
    }
}

const char *vend_reply_thought(vend_reply *r, size_t *len) {
    if (!r->reasoning) return NULL;
    const char *rest = r->reasoning + r->thought_at;
    *len = vend_split(rest, strlen(rest));
    r->thought_at += *len;
    return *len ? rest : NULL;
}

bool vend_reply_paced(const vend_reply *r) {
    bool blocks = r->ask->api == VEND_MESSAGES; /* whose starts and ends aren't tokens */
    switch (r->phase) {
    case VEND_REASONING: return !blocks || r->step == 1;
    case VEND_CONTENT: return !r->choice && (blocks ? r->step == 2 : vend_reply_more(r));
    case VEND_CALLS: return blocks ? r->step > 0 : !r->choice;
    default: return false;
    }
}

bool vend_call_piece(const vend_call *call, size_t step, const char **text, size_t *len) {
    enum { STEP = 12 };
    size_t size = strlen(call->arguments), from = 0;
    for (size_t i = 0;; i++) {
        if (from == size) return false;
        size_t to = from + STEP < size ? from + STEP : size;
        while (to < size && ((unsigned char)call->arguments[to] & 0xc0) == 0x80) to++;
        *text = call->arguments + from;
        *len = to - from;
        if (i == step) return true;
        from = to;
    }
}

/* ---- tools ---- */

/* "call NAME", "use NAME" or "use the tool(s)" in the last message, unless that is a tool's result. */
static const vend_tool *asked_by_prompt(const vend_ask *ask) {
    size_t len;
    const char *last = vend_ask_last(ask, &len);
    if (ask->after_tool) return NULL;
    for (size_t i = 0; i < ask->n_tools; i++) {
        char words[160];
        for (int use = 0; use < 2; use++) {
            int n = snprintf(words, sizeof words, "%s %s", use ? "use" : "call", ask->tools[i].name);
            if ((size_t)n < sizeof words && memmem(last, len, words, (size_t)n)) return &ask->tools[i];
        }
    }
    return ask->n_tools && memmem(last, len, "use the tool", 12) ? &ask->tools[0] : NULL;
}

static const vend_tool *find_tool(const vend_ask *ask, const char *name) {
    for (size_t i = 0; i < ask->n_tools; i++)
        if (!strcmp(ask->tools[i].name, name)) return &ask->tools[i];
    return NULL;
}

/* arguments NULL: made to fit the tool's schema. */
static bool add_call(vend_reply *r, const char *name, const char *arguments, const json_t *schema) {
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    vend_call *call = &r->calls[r->n_calls];
    weirp_writer made = {0};
    uint64_t bits = weirp_random_u64(r->seed, 77, r->n_calls);
    for (size_t i = 0; i < 24; i++) {
        call->id[i] = digits[bits % 62];
        bits = weirp_mix64(bits + i);
    }
    if (arguments)
        vend_put(&made, arguments);
    else
        vend_sample(&made, schema, r->seed + r->n_calls);
    call->name = weirp_strndup(name, strlen(name));
    call->arguments = made.failed ? NULL : weirp_strndup((const char *)made.data, made.size);
    weirp_writer_free(&made);
    r->n_calls++;
    return call->name && call->arguments;
}

static bool make_calls(vend_reply *r) {
    const vend_ask *ask = r->ask;
    const vend_rule *rule = r->rule;
    if (!ask->n_tools || ask->tool_choice == VEND_TOOL_NONE || (rule && rule->tools == 2)) return true;
    if (rule && rule->calls.n && !ask->after_tool) {
        const vend_tool_rule *calls = rule->calls.items;
        for (size_t i = 0; i < rule->calls.n && i < VEND_MAX_CALLS; i++) {
            const vend_tool *tool = find_tool(ask, calls[i].name);
            if (!add_call(r, calls[i].name, calls[i].arguments, tool ? tool->schema : NULL)) return false;
            if (!ask->parallel) break;
        }
        return true;
    }
    const vend_tool *tool = asked_by_prompt(ask);
    if (ask->tool_choice == VEND_TOOL_NAMED) tool = find_tool(ask, ask->forced);
    bool must = ask->tool_choice == VEND_TOOL_REQUIRED || (rule && rule->tools == 1 && !ask->after_tool);
    if (!tool && must) tool = &ask->tools[0];
    return !tool || add_call(r, tool->name, NULL, tool->schema);
}

/* ---- text ---- */

static int64_t count_pieces(const char *text, size_t len) {
    int64_t n = 0;
    for (size_t at = 0; at < len; n++) at += vend_split(text + at, len - at);
    return n;
}

/* What is said in a fixed text; false: out of memory. */
static bool choose_text(vend_reply *r) {
    const vend_rule *rule = r->rule;
    if (rule && rule->text) {
        r->text = rule->text;
    } else if (rule && rule->echo) {
        r->text = vend_ask_last(r->ask, &r->text_len);
        if (r->text_len > MAX_FIXED) r->text_len = MAX_FIXED;
        return true;
    } else if (r->ask->wants_json) {
        weirp_writer made = {0};
        if (r->ask->schema)
            vend_sample(&made, r->ask->schema, r->seed);
        else
            vend_put(&made, "{\"answer\":\"the river rises\",\"sure\":true}");
        r->text = r->own_text = made.failed ? NULL : weirp_strndup((const char *)made.data, made.size);
        weirp_writer_free(&made);
        if (!r->text) return false;
    }
    if (r->text) r->text_len = strlen(r->text);
    return true;
}

/* Tokens that a choice may have; reasoning is part of them, as with all three vendors. */
static int64_t room_of(const vend_reply *r) {
    bool ignored = r->rule && r->rule->ignore_max_tokens;
    return ignored || !(r->ask->max_tokens < NO_LIMIT) ? NO_LIMIT : (int64_t)r->ask->max_tokens;
}

/* Counts the reasoning, cuts it to the room, and leaves the rest of that. False: out of memory. */
static bool think(vend_reply *r, int64_t *room) {
    int64_t written = r->reasoning ? count_pieces(r->reasoning, strlen(r->reasoning)) : 0;
    int64_t told = r->rule ? r->rule->usage.reasoning : VEND_UNSET;
    r->reasoning_tokens = told != VEND_UNSET ? told : written;
    if (written > *room) {
        size_t len = 0, all = strlen(r->reasoning);
        for (int64_t i = 0; i < *room; i++) len += vend_split(r->reasoning + len, all - len);
        r->reasoning = r->own_reasoning = weirp_strndup(r->reasoning, len);
        if (!r->reasoning) return false;
        r->finish = VEND_LENGTH;
    }
    if (r->reasoning_tokens > *room) {
        r->reasoning_tokens = *room;
        r->finish = VEND_LENGTH;
    }
    *room -= r->reasoning_tokens;
    return true;
}

static int64_t call_tokens(const vend_call *call) {
    return 4 + (int64_t)strlen(call->arguments) / 4;
}

/* Calls that don't fit are left out: half of one's arguments would be no JSON, where the vendor has an object. */
static void cut_calls(vend_reply *r, int64_t room) {
    size_t keep = 0;
    while (keep < r->n_calls && call_tokens(&r->calls[keep]) <= room) room -= call_tokens(&r->calls[keep++]);
    while (r->n_calls > keep) {
        vend_call *call = &r->calls[--r->n_calls];
        free(call->name);
        free(call->arguments);
        r->finish = VEND_LENGTH;
    }
}

static bool make_pieces(vend_reply *r, const vend_known *known, int64_t room) {
    const vend_rule *rule = r->rule;
    int64_t want = rule && rule->tokens != VEND_UNSET   ? rule->tokens
                   : known && known->output_tokens >= 0 ? (int64_t)fmin(known->output_tokens, 1e6)
                                                        : DEFAULT_TOKENS;
    if (!choose_text(r)) return false;
    r->n_pieces = r->text ? count_pieces(r->text, r->text_len) : want;
    if (rule && rule->events != VEND_UNSET && r->ask->stream) {
        r->n_pieces = rule->events;
        r->piece_bytes = (size_t)rule->event_bytes;
        r->filler = malloc(r->piece_bytes);
        if (!r->filler) return false;
        memset(r->filler, 'x', r->piece_bytes);
    }
    if (r->n_pieces > room) {
        r->n_pieces = room;
        r->finish = VEND_LENGTH;
    }
    if (rule && rule->endless && r->ask->stream) {
        r->n_pieces = VEND_UNSET;
        if (r->text && !r->text_len) r->text = NULL;
    }
    return true;
}

static int64_t or_else(int64_t said, int64_t otherwise) {
    return said != VEND_UNSET ? said : otherwise;
}

static void make_usage(vend_reply *r, const vend_known *known) {
    static const vend_usage_rule nothing = {true, -1, -1, -1, -1, -1, -1, -1};
    const vend_usage_rule *u = r->rule ? &r->rule->usage : &nothing;
    int64_t input = known && known->input_tokens >= 0
                        ? (int64_t)known->input_tokens
                        : vend_count_tokens((const char *)r->ask->text.data, r->ask->text.size) + 4;
    int64_t output = r->n_pieces == VEND_UNSET ? 0 : r->n_pieces, n = (int64_t)r->ask->n, most = room_of(r) * n;
    if (r->refusal) output = vend_count_tokens(r->refusal, strlen(r->refusal));
    for (size_t i = 0; i < r->n_calls; i++) output += call_tokens(&r->calls[i]);
    r->content_tokens = output * n;
    r->input = or_else(u->input, input);
    r->cached = or_else(u->cached, 0);
    r->cache_write = or_else(u->cache_write, 0);
    r->audio_input = or_else(u->audio_input, 0);
    r->audio_output = or_else(u->audio_output, 0);
    /* all of it, as OpenAI counts: reasoning is a part */
    r->output = or_else(u->output, r->content_tokens + r->reasoning_tokens + r->audio_output);
    if (r->output > most) {
        r->output = most;
        if (r->audio_output > most - r->reasoning_tokens) r->audio_output = most - r->reasoning_tokens;
        if (!r->refusal && !(r->rule && r->rule->finish)) r->finish = VEND_LENGTH;
    }
    r->send_usage = u->send;
}

/* `all` is the count at the end, of which `done` of `of` parts are out. */
static int64_t share(int64_t all, int64_t done, int64_t of) {
    return of > 0 && done < of ? (int64_t)((double)all * (double)done / (double)of) : all;
}

vend_tally vend_reply_tally(const vend_reply *r, int64_t content) {
    bool apart = r->ask->api != VEND_MESSAGES; /* Anthropic tells neither reasoning nor audio from the rest */
    vend_tally t = {.input = r->input, .cached = r->cached};
    if (r->ask->api != VEND_GENERATE) t.cache_write = r->cache_write; /* Gemini has no word for it */
    if (apart) t.audio_input = r->audio_input;
    if (r->ask->api == VEND_EMBEDDINGS) return t;
    int64_t reasoning = r->reasoning_tokens, said = r->output - reasoning, audio = r->audio_output;
    if (said < 0) reasoning = r->output, said = 0;
    if (content != VEND_ALL_CONTENT) { /* what is thought comes first: all of it, where it isn't shown */
        if (r->reasoning)
            reasoning = share(reasoning, count_pieces(r->reasoning, r->thought_at),
                              count_pieces(r->reasoning, strlen(r->reasoning)));
        else if (!content)
            reasoning = 0;
        said = r->n_pieces == VEND_UNSET ? content : content ? share(said, content, r->content_tokens) : 0;
        audio = content ? share(audio, content, r->content_tokens) : 0;
    }
    t.output = reasoning + said;
    t.reasoning = apart ? reasoning : 0;
    t.audio_output = apart ? audio : 0;
    return t;
}

int64_t vend_reply_content_out(const vend_reply *r) {
    if (r->n_calls) return r->phase == VEND_CALLS || r->phase >= VEND_END ? r->content_tokens : 0;
    if (r->refusal) return r->phase >= VEND_END ? r->content_tokens : 0;
    int64_t n = r->piece * (int64_t)r->ask->n;
    return n + (r->phase == VEND_CONTENT ? (int64_t)r->choice : 0);
}

static void make_id(vend_reply *r, uint64_t seed, uint64_t number) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t bits = 0;
    for (size_t i = 0; i < 28; i++) {
        if (i % 10 == 0) bits = weirp_random_u64(seed, number, i);
        r->id[i] = digits[bits % 62];
        bits /= 62;
    }
}

bool vend_reply_make(vend_reply *r, const vend_ask *ask, const vend_rule *rule, const vend_known *known, uint64_t seed,
                     uint64_t number) {
    size_t len;
    const char *last = vend_ask_last(ask, &len);
    *r = (vend_reply){.ask = ask, .rule = rule, .created_s = (int64_t)time(NULL)};
    r->seed = vend_hash(last, len, seed);
    make_id(r, seed, number);
    r->reasoning = rule ? rule->reasoning : NULL;
    r->refusal = rule ? rule->refusal : NULL;
    int64_t room = room_of(r);
    if (!think(r, &room)) return false;
    if (!r->refusal && !make_calls(r)) return false;
    bool calls = r->n_calls > 0;
    cut_calls(r, room);
    if (!calls && !r->refusal && !make_pieces(r, known, room)) return false;
    if (r->n_calls && r->finish != VEND_LENGTH) r->finish = VEND_TOOLS;
    if (r->refusal) r->finish = VEND_REFUSED;
    if (rule && rule->finish) r->finish = (vend_finish)rule->finish;
    if (!r->finish) r->finish = VEND_STOP;
    make_usage(r, known);
    return true;
}

void vend_reply_free(vend_reply *r) {
    for (size_t i = 0; i < r->n_calls; i++) {
        free(r->calls[i].name);
        free(r->calls[i].arguments);
    }
    free(r->own_text);
    free(r->own_reasoning);
    free(r->filler);
    weirp_writer_free(&r->head);
    weirp_writer_free(&r->tail);
}

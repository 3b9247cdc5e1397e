/* openai_read.c: OpenAI's chunks and bodies into pieces, for clients that speak something else, and for the facts of
 * bodies. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/translate/openai.h"

enum { MAX_CALLS = 256, MAX_CHOICES = 128 };

typedef struct call {
    size_t choice, index; /* as the vendor counts; index is NO_INDEX where it doesn't */
    size_t own;           /* index within its choice, as we count */
    uint64_t id;          /* hash of its id; 0: none */
} call;

#define NO_INDEX ((size_t)-1)

struct weirp_reader {
    bool started;
    size_t n_calls;
    call calls[MAX_CALLS];
};

typedef struct sink {
    weirp_piece_fn fn;
    void *user;
    weir_error *err;
    weirp_reader *reader; /* NULL: a whole body */
} sink;

static weir_status give(const sink *s, const weirp_piece *piece) {
    return s->fn(s->user, piece, s->err);
}

static weir_status give_text(const sink *s, weirp_piece_kind kind, size_t choice, const json_t *text) {
    size_t len = json_string_length(text);
    if (!len) return WEIR_OK;
    return give(s, &(weirp_piece){.kind = kind, .choice = choice, .text = json_string_value(text), .text_len = len});
}

/* A text, or Mistral's parts: {"type":"text","text":..}, {"type":"thinking","thinking":[{"type":"text",..}]}. */
static weir_status give_content(const sink *s, weirp_piece_kind kind, size_t choice, const json_t *content) {
    size_t i, j;
    const json_t *part, *thought;
    weir_status st = give_text(s, kind, choice, content);
    json_array_foreach(content, i, part) {
        if (!st) st = give_text(s, kind, choice, json_object_get(part, "text"));
        json_array_foreach(json_object_get(part, "thinking"), j, thought) {
            if (!st) st = give_text(s, WEIRP_PIECE_REASONING, choice, json_object_get(thought, "text"));
        }
    }
    return st;
}

/* ---- tool calls ---- */

/* The call that this chunk goes on with, or NULL. Some vendors count all calls as 0, some don't count: ids tell. */
static call *find_call(weirp_reader *reader, size_t choice, size_t index, uint64_t id) {
    for (size_t i = reader->n_calls; i-- > 0;) {
        call *c = &reader->calls[i];
        if (c->choice != choice || (index != NO_INDEX && c->index != index)) continue;
        if (!id || c->id == id) return c;
        if (index == NO_INDEX) continue;
        return NULL;
    }
    return NULL;
}

static call *add_call(weirp_reader *reader, size_t choice, size_t index, uint64_t id) {
    if (reader->n_calls == MAX_CALLS) return NULL;
    call *c = &reader->calls[reader->n_calls];
    *c = (call){.choice = choice, .index = index, .id = id};
    for (size_t i = 0; i < reader->n_calls; i++) c->own += reader->calls[i].choice == choice;
    reader->n_calls++;
    return c;
}

static weir_status give_arguments(const sink *s, size_t choice, size_t index, const json_t *arguments) {
    weirp_piece piece = {.kind = WEIRP_PIECE_ARGUMENTS, .choice = choice, .index = index};
    if (!arguments || json_is_null(arguments)) return WEIR_OK;
    char *made = NULL;
    if (json_is_string(arguments)) {
        piece.text = json_string_value(arguments);
        piece.text_len = json_string_length(arguments);
    } else { /* Ollama gives an object */
        piece.text = made = json_dumps(arguments, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!made) return weirp_nomem(s->err);
        piece.text_len = strlen(made);
    }
    weir_status st = piece.text_len ? give(s, &piece) : WEIR_OK;
    free(made);
    return st;
}

static weir_status give_call(const sink *s, size_t choice, size_t at, const json_t *index, const json_t *id,
                             const json_t *function) {
    const json_t *name = json_object_get(function, "name");
    size_t id_len = json_string_length(id), own = at;
    bool begins = true;
    if (s->reader) {
        size_t told = json_is_integer(index) ? (size_t)weirp_json_count(index) : NO_INDEX;
        uint64_t hash = id_len ? XXH3_64bits(json_string_value(id), id_len) : 0;
        call *c = find_call(s->reader, choice, told, hash);
        begins = !c;
        if (!c) c = add_call(s->reader, choice, told, hash);
        if (!c) return weirp_fail(s->err, WEIR_PARSE, 0, "more than %d tool calls in one answer", MAX_CALLS);
        own = c->own;
    }
    weir_status st = WEIR_OK;
    if (begins)
        st = give(s, &(weirp_piece){.kind = WEIRP_PIECE_TOOL,
                                    .choice = choice,
                                    .index = own,
                                    .id = json_string_value(id),
                                    .id_len = id_len,
                                    .name = json_string_value(name),
                                    .name_len = json_string_length(name)});
    return st ? st : give_arguments(s, choice, own, json_object_get(function, "arguments"));
}

static weir_status give_calls(const sink *s, size_t choice, const json_t *said) {
    size_t i;
    const json_t *tool, *older = json_object_get(said, "function_call");
    json_array_foreach(json_object_get(said, "tool_calls"), i, tool) {
        weir_status st = give_call(s, choice, i, json_object_get(tool, "index"), json_object_get(tool, "id"),
                                   json_object_get(tool, "function"));
        if (st) return st;
    }
    return json_is_object(older) ? give_call(s, choice, 0, NULL, NULL, older) : WEIR_OK;
}

/* ---- choices ---- */

/* `said` is a delta or a message. */
static weir_status give_said(const sink *s, size_t choice, const json_t *said) {
    const json_t *thought = json_object_get(said, "reasoning_content"); /* DeepSeek; OpenRouter, vLLM: "reasoning" */
    if (!json_string_length(thought)) thought = json_object_get(said, "reasoning");
    weir_status st;
    WEIRP_TRY(give_content(s, WEIRP_PIECE_REASONING, choice, thought));
    WEIRP_TRY(give_content(s, WEIRP_PIECE_TEXT, choice, json_object_get(said, "content")));
    WEIRP_TRY(give_text(s, WEIRP_PIECE_REFUSAL, choice, json_object_get(said, "refusal")));
    WEIRP_TRY(give_text(s, WEIRP_PIECE_TEXT, choice, json_object_get(json_object_get(said, "audio"), "transcript")));
    WEIRP_TRY(give_calls(s, choice, said));
done:
    return st;
}

static weir_status give_choice(const sink *s, const json_t *choice, size_t at) {
    const json_t *index = json_object_get(choice, "index"), *said = json_object_get(choice, "delta");
    if (!said) said = json_object_get(choice, "message");
    if (json_is_integer(index)) at = (size_t)weirp_json_count(index);
    if (at >= MAX_CHOICES) return weirp_fail(s->err, WEIR_PARSE, 0, "more than %d choices in one answer", MAX_CHOICES);
    weir_status st = give_said(s, at, said);
    if (!st) st = give_text(s, WEIRP_PIECE_TEXT, at, json_object_get(choice, "text")); /* legacy completions */
    const json_t *reason = json_object_get(choice, "finish_reason");
    if (st || !json_string_length(reason)) return st;
    return give(s,
                &(weirp_piece){.kind = WEIRP_PIECE_FINISH,
                               .choice = at,
                               .finish = weirp_openai_finish(json_string_value(reason), json_string_length(reason))});
}

static weir_status give_start(const sink *s, const json_t *json) {
    const json_t *id = json_object_get(json, "id"), *model = json_object_get(json, "model");
    return give(s, &(weirp_piece){.kind = WEIRP_PIECE_START,
                                  .id = json_string_value(id),
                                  .id_len = json_string_length(id),
                                  .name = json_string_value(model),
                                  .name_len = json_string_length(model)});
}

static weir_status give_all(const sink *s, const json_t *json) {
    size_t i;
    const json_t *choice;
    weirp_usage usage;
    json_array_foreach(json_object_get(json, "choices"), i, choice) {
        weir_status st = give_choice(s, choice, i);
        if (st) return st;
    }
    if (!weirp_openai_usage_of(json, &usage)) return WEIR_OK;
    return give(s, &(weirp_piece){.kind = WEIRP_PIECE_USAGE, .usage = &usage});
}

/* Only parts: what relay.c has noted already stays out. */
static weir_status note_part(void *user, const weirp_piece *piece, weir_error *err) {
    (void)err;
    if (piece->kind == WEIRP_PIECE_TEXT || piece->kind == WEIRP_PIECE_REASONING) weirp_facts_piece(user, piece);
    return WEIR_OK;
}

weir_status weirp_openai_note(const json_t *json, weirp_answer_facts *facts, weir_error *err) {
    sink s = {note_part, facts, err, NULL};
    size_t i;
    const json_t *choice;
    json_array_foreach(json_object_get(json, "choices"), i, choice) {
        const json_t *delta = json_object_get(choice, "delta"), *content = json_object_get(delta, "content");
        weir_status st = json_is_array(content) ? give_content(&s, WEIRP_PIECE_TEXT, 0, content) : WEIR_OK;
        if (!st)
            st = give_text(&s, WEIRP_PIECE_TEXT, 0, json_object_get(json_object_get(delta, "audio"), "transcript"));
        if (st) return st;
    }
    return WEIR_OK;
}

weirp_reader *weirp_openai_open(void) {
    return calloc(1, sizeof(weirp_reader));
}

static json_t *parse(const char *text, size_t len, const char *what, weir_error *err) {
    char why[160] = "";
    json_t *json = weirp_json_parse(text, len, why, sizeof why);
    if (json_is_object(json)) return json;
    json_decref(json);
    weirp_fail(err, WEIR_PARSE, 0, "the vendor's %s isn't a JSON object%s%s", what, *why ? ": " : "", why);
    return NULL;
}

weir_status weirp_openai_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err) {
    (void)type, (void)type_len;
    sink s = {fn, user, err, reader};
    if (weirp_openai_is_done(data, len)) return give(&s, &(weirp_piece){.kind = WEIRP_PIECE_END});
    json_t *json = parse(data, len, "event", err);
    if (!json) return WEIR_PARSE;
    weir_status st = weirp_openai_error(json, fault, err);
    if (!st && !reader->started) {
        reader->started = true;
        st = give_start(&s, json);
    }
    if (!st) st = give_all(&s, json);
    json_decref(json);
    return st;
}

weir_status weirp_openai_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err) {
    sink s = {fn, user, err, NULL};
    json_t *json = parse(text, len, "answer", err);
    if (!json) return WEIR_PARSE;
    weir_status st = weirp_openai_error(json, NULL, err);
    if (!st && !json_is_array(json_object_get(json, "choices")))
        st = weirp_fail(err, WEIR_PARSE, 0, "the vendor's answer has no \"choices\"");
    if (!st) st = give_start(&s, json);
    if (!st) st = give_all(&s, json);
    if (!st) st = give(&s, &(weirp_piece){.kind = WEIRP_PIECE_END});
    json_decref(json);
    return st;
}

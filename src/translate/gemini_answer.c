/* Gemini's answers, whole and in streams, as pieces. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "src/translate/gemini.h"

typedef struct candidate {
    size_t n_calls;
    bool seen, finished;
} candidate;

struct weirp_reader {
    candidate candidates[WEIRP_GEMINI_CANDIDATES];
    bool started; /* the piece START has gone out */
    bool done;    /* the piece END has */
};

/* One event, or a whole answer, on its way out. */
typedef struct telling {
    weirp_reader *reader;
    const json_t *json;
    weirp_piece_fn fn;
    void *user;
    weir_error *err;
} telling;

static weir_status tell(const telling *t, weirp_piece piece) {
    return t->fn(t->user, &piece, t->err);
}

static weir_status tell_text(const telling *t, weirp_piece_kind kind, size_t choice, const json_t *text) {
    return tell(
        t, (weirp_piece){
               .kind = kind, .choice = choice, .text = json_string_value(text), .text_len = json_string_length(text)});
}

/* ---- calls ---- */

static void mix(XXH3_state_t *state, const json_t *string) {
    const size_t n = json_string_length(string);
    (void)XXH3_128bits_update(state, &n, sizeof n);
    if (n) (void)XXH3_128bits_update(state, json_string_value(string), n);
}

/* Gemini's own id, where it has one that every vendor takes back (OpenAI wants 40 characters at most); otherwise one
 * made of the answer's id and the call, so that it is the same whenever it is made and no other in the conversation is.
 */
static bool call_id(const telling *t, const json_t *call, size_t choice, size_t index, const weirp_writer *args,
                    char id[41]) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const json_t *own = json_object_get(call, "id");
    const size_t n = json_string_length(own);
    if (n && n <= 40 && strspn(json_string_value(own), plain) == n) {
        memcpy(id, json_string_value(own), n + 1);
        return true;
    }
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    const size_t place[2] = {choice, index};
    (void)XXH3_128bits_reset(state);
    (void)XXH3_128bits_update(state, place, sizeof place);
    mix(state, json_object_get(t->json, "responseId"));
    mix(state, own);
    mix(state, json_object_get(call, "name"));
    (void)XXH3_128bits_update(state, args->data, args->size);
    const XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    snprintf(id, 41, "call_%016" PRIx64 "%08" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64 >> 32);
    return true;
}

static weir_status tell_call(const telling *t, const json_t *call, size_t choice) {
    const json_t *name = json_object_get(call, "name"), *args = json_object_get(call, "args");
    if (!json_is_string(name) || !json_string_length(name))
        return weirp_fail(t->err, WEIR_PARSE, 0, "Gemini's answer has a function call without a name");
    const size_t index = t->reader->candidates[choice].n_calls++;
    char id[41];
    weirp_writer text = {0};
    weir_status st;
    if (json_is_object(args))
        (void)weirp_put_json(&text, args);
    else
        weirp_put(&text, "{}", 2);
    if (text.failed || !call_id(t, call, choice, index, &text, id)) {
        st = weirp_nomem(t->err);
        goto done;
    }
    WEIRP_TRY(tell(t, (weirp_piece){.kind = WEIRP_PIECE_TOOL,
                                    .choice = choice,
                                    .index = index,
                                    .id = id,
                                    .id_len = strlen(id),
                                    .name = json_string_value(name),
                                    .name_len = json_string_length(name)}));
    st = tell(t, (weirp_piece){.kind = WEIRP_PIECE_ARGUMENTS,
                               .choice = choice,
                               .index = index,
                               .text = (const char *)text.data,
                               .text_len = text.size});
done:
    weirp_writer_free(&text);
    return st;
}

/* ---- candidates ---- */

/* What is neither text nor a call (pictures, code that Gemini ran, ...) is passed over: it was never asked for, and
 * chat answers have no place for it. */
static weir_status tell_part(const telling *t, const json_t *part, size_t choice) {
    const json_t *text = json_object_get(part, "text"), *call = json_object_get(part, "functionCall");
    if (json_is_object(call)) return tell_call(t, call, choice);
    if (!json_string_length(text)) return WEIR_OK;
    return tell_text(t, json_is_true(json_object_get(part, "thought")) ? WEIRP_PIECE_REASONING : WEIRP_PIECE_TEXT,
                     choice, text);
}

static weirp_finish finish_of(const json_t *reason, bool called) {
    static const char *const filters[] = {"SAFETY",      "RECITATION",       "BLOCKLIST",
                                          "SPII",        "IMAGE_SAFETY",     "PROHIBITED_CONTENT",
                                          "MODEL_ARMOR", "IMAGE_RECITATION", "IMAGE_PROHIBITED_CONTENT"};
    if (weirp_gemini_is(reason, "STOP")) return called ? WEIRP_FINISH_TOOLS : WEIRP_FINISH_STOP;
    if (weirp_gemini_is(reason, "MAX_TOKENS")) return WEIRP_FINISH_LENGTH;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (weirp_gemini_is(reason, filters[i])) return WEIRP_FINISH_FILTER;
    return WEIRP_FINISH_OTHER;
}

static weir_status finish(const telling *t, size_t choice, weirp_finish why) {
    candidate *c = &t->reader->candidates[choice];
    if (c->finished) return WEIR_OK;
    c->seen = c->finished = true;
    return tell(t, (weirp_piece){.kind = WEIRP_PIECE_FINISH, .choice = choice, .finish = why});
}

static weir_status tell_candidate(const telling *t, const json_t *json, size_t place) {
    const json_t *index = json_object_get(json, "index"), *reason = json_object_get(json, "finishReason");
    const size_t choice = json_is_integer(index) ? (size_t)json_integer_value(index) : place;
    if (!json_is_object(json) || choice >= WEIRP_GEMINI_CANDIDATES)
        return weirp_fail(t->err, WEIR_PARSE, 0, "Gemini's answer has a candidate that can't be");
    candidate *c = &t->reader->candidates[choice];
    c->seen = true;
    const json_t *parts = json_object_get(json_object_get(json, "content"), "parts");
    weir_status st = WEIR_OK;
    for (size_t i = 0; i < json_array_size(parts); i++) WEIRP_TRY(tell_part(t, json_array_get(parts, i), choice));
    if (json_is_string(reason)) st = finish(t, choice, finish_of(reason, c->n_calls > 0));
done:
    return st;
}

/* ---- usage ---- */

/* A count that sums of a few can't overflow. */
static int64_t count(const json_t *object, const char *key) {
    const int64_t n = weirp_json_count(json_object_get(object, key)), most = INT64_C(1) << 48;
    return n < most ? n : most;
}

static int64_t audio(const json_t *usage, const char *key) {
    const json_t *details = json_object_get(usage, key);
    int64_t sum = 0;
    for (size_t i = 0; i < json_array_size(details) && i < 64; i++)
        if (weirp_gemini_is(json_object_get(json_array_get(details, i), "modality"), "AUDIO"))
            sum += count(json_array_get(details, i), "tokenCount");
    return sum;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Gemini's prompt includes what was cached, but not what its own tools read; its candidates are without thoughts.
 * Cached audio is counted under both heads there, and here as cached. */
static weir_status tell_usage(const telling *t) {
    const json_t *json = json_object_get(t->json, "usageMetadata");
    if (!json_is_object(json)) return WEIR_OK;
    weirp_usage usage = {.input_tokens = count(json, "promptTokenCount") + count(json, "toolUsePromptTokenCount"),
                         .output_tokens = count(json, "candidatesTokenCount") + count(json, "thoughtsTokenCount"),
                         .reasoning_tokens = count(json, "thoughtsTokenCount")};
    usage.cached_input_tokens = least(count(json, "cachedContentTokenCount"), usage.input_tokens);
    const int64_t heard = audio(json, "promptTokensDetails") + audio(json, "toolUsePromptTokensDetails") -
                          audio(json, "cacheTokensDetails");
    usage.audio_input_tokens = least(heard > 0 ? heard : 0, usage.input_tokens - usage.cached_input_tokens);
    usage.audio_output_tokens =
        least(audio(json, "candidatesTokensDetails"), usage.output_tokens - usage.reasoning_tokens);
    /* In the middle of a stream the prompt may be all that has been counted yet; a stream that is cut there must not
     * look like one that was counted to the end. */
    usage.known =
        t->reader->done || json_object_get(json, "candidatesTokenCount") || json_object_get(json, "thoughtsTokenCount");
    return tell(t, (weirp_piece){.kind = WEIRP_PIECE_USAGE, .usage = &usage});
}

/* ---- an event, or a whole answer ---- */

static weir_status tell_start(const telling *t) {
    const json_t *id = json_object_get(t->json, "responseId"), *model = json_object_get(t->json, "modelVersion");
    if (t->reader->started || (!json_is_string(id) && !json_is_string(model))) return WEIR_OK;
    t->reader->started = true;
    return tell(t, (weirp_piece){.kind = WEIRP_PIECE_START,
                                 .id = json_is_string(id) ? json_string_value(id) : "",
                                 .id_len = json_string_length(id),
                                 .name = json_is_string(model) ? json_string_value(model) : "",
                                 .name_len = json_string_length(model)});
}

/* A prompt that Gemini doesn't want to answer has a reason instead of candidates. */
static bool is_blocked(const json_t *json) {
    const json_t *reason = json_object_get(json_object_get(json, "promptFeedback"), "blockReason");
    return json_is_string(reason) && !weirp_gemini_is(reason, "BLOCK_REASON_UNSPECIFIED") &&
           !json_array_size(json_object_get(json, "candidates"));
}

static bool all_finished(const weirp_reader *reader) {
    size_t seen = 0;
    for (size_t i = 0; i < WEIRP_GEMINI_CANDIDATES; i++) {
        if (reader->candidates[i].seen && !reader->candidates[i].finished) return false;
        seen += reader->candidates[i].seen;
    }
    return seen > 0;
}

/* Usage goes before what is said, so that a client whose API begins with the prompt's count gets it there; at an end,
 * behind, where it is known. */
static weir_status tell_all(const telling *t) {
    weirp_reader *reader = t->reader;
    const json_t *candidates = json_object_get(t->json, "candidates");
    weir_status st = WEIR_OK;
    bool finishes = is_blocked(t->json);
    for (size_t i = 0; i < json_array_size(candidates); i++)
        finishes = finishes || json_is_string(json_object_get(json_array_get(candidates, i), "finishReason"));
    WEIRP_TRY(tell_start(t));
    if (!finishes) WEIRP_TRY(tell_usage(t));
    for (size_t i = 0; i < json_array_size(candidates); i++)
        WEIRP_TRY(tell_candidate(t, json_array_get(candidates, i), i));
    if (is_blocked(t->json)) {
        WEIRP_TRY(finish(t, 0, WEIRP_FINISH_FILTER));
        for (size_t i = 1; i < WEIRP_GEMINI_CANDIDATES; i++)
            if (reader->candidates[i].seen) WEIRP_TRY(finish(t, i, WEIRP_FINISH_FILTER));
    }
    const bool ends = !reader->done && all_finished(reader);
    reader->done = reader->done || ends;
    if (finishes) WEIRP_TRY(tell_usage(t));
    if (ends) st = tell(t, (weirp_piece){.kind = WEIRP_PIECE_END});
done:
    return st;
}

static json_t *parse(const char *text, size_t len, weir_error *err) {
    char what[160];
    json_t *json = weirp_json_parse(text, len, what, sizeof what);
    if (!json) (void)weirp_fail(err, WEIR_PARSE, 0, "Gemini's answer is not JSON: %s", what);
    return json;
}

weirp_reader *weirp_gemini_open(void) {
    return calloc(1, sizeof(weirp_reader));
}

weir_status weirp_gemini_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err) {
    (void)type, (void)type_len; /* Gemini's events have none */
    weirp_vendor_fault own = {0};
    if (!fault) fault = &own;
    json_t *json = parse(data, len, err);
    if (!json) return WEIR_PARSE;
    weir_status st;
    if (weirp_gemini_fault(fault, 0, json))
        st = weirp_fail(err, WEIR_NET, 0, "Gemini broke its answer off: %s: %s", fault->code, fault->text);
    else if (!json_is_object(json))
        st = weirp_fail(err, WEIR_PARSE, 0, "Gemini's event is not an object");
    else
        st = tell_all(&(telling){.reader = reader, .json = json, .fn = fn, .user = user, .err = err});
    json_decref(json);
    return st;
}

weir_status weirp_gemini_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err) {
    json_t *json = parse(text, len, err);
    if (!json) return WEIR_PARSE;
    weirp_reader reader = {0};
    weirp_vendor_fault fault = {0};
    weir_status st;
    if (weirp_gemini_fault(&fault, 0, json))
        st = weirp_fail(err, WEIR_NET, 0, "Gemini sent an error as an answer: %s: %s", fault.code, fault.text);
    else if (!json_array_size(json_object_get(json, "candidates")) && !is_blocked(json))
        st = weirp_fail(err, WEIR_PARSE, 0, "Gemini's answer has no candidates");
    else
        st = tell_all(&(telling){.reader = &reader, .json = json, .fn = fn, .user = user, .err = err});
    if (st == WEIR_OK && !reader.done) st = weirp_fail(err, WEIR_PARSE, 0, "Gemini's answer has no end");
    json_decref(json);
    return st;
}

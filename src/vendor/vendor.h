/* vendor.h: requests as the vendor reads them, and answers as it writes them. One dialect a vendor.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_VENDOR_VENDOR_H
#define WEIRP_VENDOR_VENDOR_H

#include <jansson.h>

#include "src/vendor/scenario.h"
#include "src/vendor/words.h"
#include "weir/vendor.h"

/* ---- errors ---- */

typedef struct vend_fault {
    vend_kind kind;
    int status;
    char message[512];
    char param[128];      /* "" : none */
    char code[64];        /* "": the kind's own */
    double retry_after_s; /* NAN: not said */
} vend_fault;

/* Fills the fault; false, so that `return vend_refuse(...)` reads well. param NULL: none. */
bool vend_refuse(vend_fault *fault, vend_kind kind, const char *param, const char *format, ...) WEIR_PRINTF(4, 5);

/* ---- requests ---- */

enum { VEND_MAX_TOOLS = 128, VEND_MAX_CALLS = 16, VEND_MAX_CHOICES = 16 };

typedef struct vend_tool {
    const char *name;     /* borrowed from the request */
    const json_t *schema; /* NULL: none */
} vend_tool;

typedef enum vend_tool_choice { VEND_TOOL_AUTO, VEND_TOOL_NONE, VEND_TOOL_REQUIRED, VEND_TOOL_NAMED } vend_tool_choice;

typedef struct vend_ask {
    vend_api api;
    const vend_scenario *scenario;
    const char *(*header)(const void *user, const char *name);
    const void *user;
    json_t *json;      /* owned */
    const char *model; /* borrowed */
    bool stream, include_usage;
    bool array;        /* Gemini's stream as a JSON array, for want of alt=sse */
    weirp_writer text; /* texts of all messages, joined by an empty line; NUL-terminated once read */
    size_t last;       /* where the last message's text begins */
    bool has_text;
    double max_tokens; /* NAN: not said */
    size_t n;          /* choices */
    size_t n_tools;
    vend_tool tools[VEND_MAX_TOOLS];
    vend_tool_choice tool_choice;
    const char *forced;   /* VEND_TOOL_NAMED: its name */
    bool after_tool;      /* the last message is a tool's result */
    bool wants_json;      /* structured output */
    const json_t *schema; /* of that; NULL: any object */
    bool parallel;        /* several calls at once are welcome */
} vend_ask;

/* Appends one message's text; the next call starts a further message. */
void vend_ask_text(vend_ask *ask, const char *text, size_t len);
void vend_ask_message(vend_ask *ask); /* a message begins */
const char *vend_ask_last(const vend_ask *ask, size_t *len);
void vend_ask_free(vend_ask *ask);

/* Helpers of checks. Paths are printf-made; the member's own name comes behind. */
bool vend_is_key(const char *key, const char *const *known);
/* NULL where every key of the object is known (NULL-terminated). */
const char *vend_unknown_key(const json_t *object, const char *const *known);

/* ---- answers ---- */

typedef struct vend_call {
    char *name, *arguments; /* new */
    char id[40];
} vend_call;

typedef enum vend_phase {
    VEND_BEGIN,
    VEND_REASONING,
    VEND_CONTENT,
    VEND_CALLS,
    VEND_END,
    VEND_USAGE,
    VEND_DONE,
    VEND_OVER
} vend_phase;

typedef struct vend_reply {
    const vend_ask *ask;
    const vend_rule *rule; /* NULL: none */
    uint64_t seed;
    char id[40]; /* without the vendor's prefix */
    int64_t created_s;
    /* What is said: words of the seed, or a text; the same for the parts of a benchmark's stream. */
    const char *text; /* NULL: words */
    size_t text_len;
    char *own_text;      /* new; what text points to, where it isn't borrowed */
    char *own_reasoning; /* the same, of reasoning */
    int64_t n_pieces;    /* VEND_UNSET: endless */
    size_t piece_bytes;  /* > 0: each piece is its number and filling up to that size */
    const char *reasoning, *refusal;
    size_t n_calls;
    vend_call calls[VEND_MAX_CALLS];
    vend_finish finish;
    bool send_usage;
    int64_t content_tokens; /* as they are counted here: pieces, calls or the refusal, of all choices */
    int64_t input, output, cached, cache_write, reasoning_tokens, audio_input, audio_output; /* as the vendor knows */
    /* Where a stream has come to. */
    vend_phase phase;
    size_t choice, step;     /* within the phase */
    int64_t piece;           /* next */
    size_t at, thought_at;   /* bytes of text and of reasoning that are out */
    weirp_writer head, tail; /* what stands around each piece of content, made once */
    char *filler;            /* (piece_bytes) new */
    size_t index;            /* Anthropic: of the content block that is open */
} vend_reply;

/* The piece that comes now: a word of choice's text with what stands before it. Borrowed until the next call. */
const char *vend_reply_piece(vend_reply *r, size_t choice, char scratch[VEND_PIECE], size_t *len);
void vend_reply_advance(vend_reply *r); /* to the next piece, for all choices */
bool vend_reply_more(const vend_reply *r);
/* The whole text of a choice, escaped for JSON, without quotes. */
void vend_reply_text(vend_reply *r, size_t choice, weirp_writer *w);
/* The next piece of the reasoning's text; NULL: there is none left. */
const char *vend_reply_thought(vend_reply *r, size_t *len);
/* True where the next event is a token, so that it waits for its time. */
bool vend_reply_paced(const vend_reply *r);
/* Half-open [from, to) of a call's arguments for a stream's piece `step`, from 0; false: none is left. */
bool vend_call_piece(const vend_call *call, size_t step, const char **text, size_t *len);

/* What an answer's maker counts, as the books have it: input and output are all of them, and the others parts of these,
 * where the vendor's usage tells them apart. */
typedef struct vend_tally {
    int64_t input, cached, cache_write, audio_input, output, reasoning, audio_output;
} vend_tally;
#define VEND_ALL_CONTENT INT64_MAX
/* With so many tokens of content made, of content_tokens; reasoning as far as the stream has come with it. */
vend_tally vend_reply_tally(const vend_reply *r, int64_t content);
int64_t vend_reply_content_out(const vend_reply *r); /* tokens of content that a stream has come to */

/* What the outcome file knows; NANs where nothing. */
typedef struct vend_known {
    double input_tokens, output_tokens, latency_ms;
} vend_known;

/* Decides what is said, counts it. False: out of memory. */
bool vend_reply_make(vend_reply *r, const vend_ask *ask, const vend_rule *rule, const vend_known *known, uint64_t seed,
                     uint64_t number);
void vend_reply_free(vend_reply *r);

/* ---- dialects ---- */

typedef struct vend_dialect {
    /* Reads and checks ask->json as the vendor would. */
    bool (*check)(vend_ask *ask, vend_fault *fault);
    void (*whole)(vend_reply *r, weirp_writer *w);
    /* The stream's next event; false: none is left, nothing was written. */
    bool (*event)(vend_reply *r, weirp_writer *w);
    void (*error)(const vend_fault *fault, const char *id, weirp_writer *w);
    /* The same in the middle of a stream, as an event. */
    void (*error_event)(const vend_fault *fault, const char *id, weirp_writer *w);
    const char *id_header; /* the header that carries the request's id */
} vend_dialect;

extern const vend_dialect vend_openai_chat, vend_openai_completions, vend_openai_embeddings, vend_anthropic,
    vend_gemini;
const vend_dialect *vend_dialect_of(vend_api api);

/* Whether the request shows a key that the scenario takes. */
bool vend_check_key(const vend_ask *ask, const char *key, vend_fault *fault);
bool vend_check_model(const vend_ask *ask, vend_fault *fault);
/* The text is longer than the scenario's max_context. */
bool vend_check_context(const vend_ask *ask, vend_fault *fault);

bool vend_openai_check_chat(vend_ask *ask, vend_fault *fault);
bool vend_openai_check_completions(vend_ask *ask, vend_fault *fault);
bool vend_openai_check_embeddings(vend_ask *ask, vend_fault *fault);
bool vend_anthropic_check(vend_ask *ask, vend_fault *fault);
bool vend_gemini_check(vend_ask *ask, vend_fault *fault);

/* The status that a fault has, and its sentence where it has none. */
void vend_fault_settle(vend_fault *fault, vend_api api);
void vend_openai_error(const vend_fault *fault, const char *id, weirp_writer *w);
void vend_anthropic_error(const vend_fault *fault, const char *id, weirp_writer *w);
void vend_gemini_error(const vend_fault *fault, const char *id, weirp_writer *w);

/* ---- what the outcome file holds ---- */

typedef struct vend_outcomes vend_outcomes;
weir_status vend_outcomes_load(vend_outcomes **out, const char *path, weir_error *err);
void vend_outcomes_free(vend_outcomes *outcomes);                                  /* NULL is fine */
vend_known vend_outcomes_find(const vend_outcomes *outcomes, const vend_ask *ask); /* outcomes may be NULL */
size_t vend_outcomes_n_models(const vend_outcomes *outcomes);                      /* NULL: 0 */
const char *vend_outcomes_model(const vend_outcomes *outcomes, size_t index);

/* GET /v1/models, as OpenAI or (anthropic) Anthropic lists them. */
void vend_models_write(weirp_writer *w, const vend_scenario *scenario, const vend_outcomes *outcomes, bool anthropic);
/* A gzip member with the data stored, or a further block of one that is open (RFC 1951, 3.2.4; RFC 1952). */
typedef struct vend_gzip {
    uint32_t crc, size;
    bool begun;
} vend_gzip;
void vend_gzip_write(vend_gzip *z, weirp_writer *w, const char *bytes, size_t len, bool last);

/* A running vendor, for tests within the process. `options->ready` isn't called. */
typedef struct vend_vendor vend_vendor;
weir_status vend_vendor_start(vend_vendor **out, const weir_vendor_options *options, weir_error *err);
const char *vend_vendor_address(const vend_vendor *vendor); /* "127.0.0.1:40123" */
void vend_vendor_stop(vend_vendor *vendor);                 /* NULL is fine */

#endif

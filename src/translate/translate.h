/* translate.h: requests and answers between the APIs that clients speak and the protocols of vendors.
 *
 * Lives in this folder: JSON and event shapes, nothing else. May not know: sockets, routing, money, keys. Pure
 * functions of bytes, so that cases can be data and fuzzers can reach all of it.
 *
 *     client bytes -> weirp_request (chat.c, completions.c, embeddings.c, messages.c)
 *     weirp_request -> vendor bytes  (openai.c, anthropic.c, gemini.c)
 *     vendor bytes  -> pieces        (the same files)
 *     pieces        -> client bytes  (the first files again)
 *
 * Where client and vendor speak the same, bytes pass through, and only what must change is cut and pasted.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_H
#define WEIRP_TRANSLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "src/base/base.h"
#include "src/price/usage.h"

/* What a client speaks. */
typedef enum weirp_api {
    WEIRP_API_CHAT,        /* OpenAI: POST /v1/chat/completions */
    WEIRP_API_COMPLETIONS, /* OpenAI: POST /v1/completions */
    WEIRP_API_EMBEDDINGS,  /* OpenAI: POST /v1/embeddings: passed through, never translated */
    WEIRP_API_MESSAGES,    /* Anthropic: POST /v1/messages */
} weirp_api;

/* What a vendor speaks. */
typedef enum weirp_protocol { WEIRP_PROTOCOL_OPENAI, WEIRP_PROTOCOL_ANTHROPIC, WEIRP_PROTOCOL_GEMINI } weirp_protocol;

/* ---- requests ---- */

typedef struct weirp_request {
    weirp_api api;
    const char *text; /* the body as it came, (len), borrowed */
    size_t len;
    json_t *json;             /* the same, parsed */
    json_t *chat;             /* the request as an OpenAI chat request, made by weirp_request_chat; NULL until then. For
                                 WEIRP_API_CHAT: json itself, with a reference of its own */
    const char *model;        /* as the client named it; borrowed from json */
    bool stream;              /* an event stream is wanted */
    bool include_usage;       /* the client of a stream wants usage (always true for WEIRP_API_MESSAGES) */
    double max_output_tokens; /* as the client asked; NAN: it didn't */
    size_t n_choices;         /* "n": 1 unless asked otherwise */
    bool has_tools, has_images, has_audio, wants_json; /* what a model must be able to do */
    const char *end_user; /* "user", "metadata.user_id", "safety_identifier"; NULL: none; borrowed */
} weirp_request;

/* What is wrong with a request, in the terms that every API's error shape has. */
typedef struct weirp_fault {
    char text[256]; /* one sentence */
    char param[64]; /* "messages[2].content"; "" where none */
    char code[48];  /* "invalid_json", "missing_required_parameter", ...; "" where none */
} weirp_fault;

/* Reads what clients of `api` send. WEIR_PARSE: the fault says what is wrong (the client's doing, status 400);
 * WEIR_NOMEM. Depth, duplicate keys, sizes and UTF-8 are checked here. Only what routing or translation reads is looked
 * at: unknown members pass. On failure nothing is left to free. */
weir_status weirp_request_parse(weirp_request *r, weirp_api api, const char *text, size_t len, weirp_fault *fault);
void weirp_request_free(weirp_request *r);
/* The request's text as features see it (datasets' rule for chat messages; system prompts count, images don't), written
 * into `buffer` (emptied first) or borrowed from the request. */
weir_status weirp_request_prompt(const weirp_request *r, weirp_writer *buffer, const char **text, size_t *len);

/* Asked for where a number is needed, and neither the client nor the configuration has one. */
enum { WEIRP_DEFAULT_MAX_TOKENS = 4096 };

/* How the vendor is to be asked. */
typedef struct weirp_target {
    weirp_protocol protocol;
    const char *model;        /* its name at the vendor */
    double max_output_tokens; /* to ask for at most; NAN: as the client said. Anthropic needs a number: where there is
                                 none, default_max_output_tokens */
    double default_max_output_tokens; /* 0: WEIRP_DEFAULT_MAX_TOKENS */
    bool legacy_completions;          /* OpenAI: the vendor has /completions for this model */
    bool no_stream_options;           /* OpenAI: the vendor refuses stream_options */
    bool
        max_completion_tokens; /* OpenAI: the vendor refuses max_tokens in chats: max_completion_tokens stands for it */
} weirp_target;

/* The body to send, into `body` (emptied first), and the path after the vendor's base URL ("/chat/completions",
 * "/messages", "/models/NAME:streamGenerateContent?alt=sse"), into `path`. For streams usage is asked for.
 * WEIR_INVALID: this vendor can't be asked that (the fault says why: another model may be able to). The same request
 * may be written for several vendors, one after another. */
weir_status weirp_request_write(weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                                size_t path_size, weirp_fault *fault);

/* ---- answers ---- */

typedef enum weirp_finish {
    WEIRP_FINISH_NONE,
    WEIRP_FINISH_STOP,
    WEIRP_FINISH_LENGTH,
    WEIRP_FINISH_TOOLS,
    WEIRP_FINISH_FILTER,
    WEIRP_FINISH_OTHER
} weirp_finish;

/* What of an answer routing, billing and logs need, kept up to date while it is read. */
typedef struct weirp_answer_facts {
    weirp_usage usage;
    weirp_finish finish;
    bool has_content;    /* a first token (text, reasoning, tool call, refusal) has come */
    bool done;           /* the protocol's own end has come: [DONE], message_stop, Gemini's finishReason */
    size_t output_chars; /* characters of text, reasoning and arguments so far, for estimates: a whole answer that tells
                            its usage and passes through isn't counted */
    double approximate_tokens; /* of that output, by weirp's own count; for usage that never comes: weirp_answer_end
                                  puts it into `usage`, as estimated, even where it fails */
    char model[128];           /* as the vendor named it; "" */
    char id[96];               /* as the vendor named the answer; "" */
} weirp_answer_facts;

typedef struct weirp_answer weirp_answer; /* one answer on its way from a vendor to a client */

/* `note`: text for a comment at the end of a stream, made when it ends (usage is known by then): called with the facts,
 * writes "weir decision=... cost_usd=..." without line ends into out. NULL: no comment. */
typedef void (*weirp_note_fn)(void *user, const weirp_answer_facts *facts, weirp_writer *out);

typedef struct weirp_answer_options {
    weirp_protocol protocol;
    bool legacy_completions; /* as the target's */
    const char *model;       /* name to give to the client where an answer is translated; borrowed until freed */
    const char *id;          /* the same for its id: "chatcmpl-..." is made of it */
    int64_t created_s;       /* unix time, where the client's API wants one */
    weirp_note_fn note;
    void *note_user;
} weirp_answer_options;

/* `request` is borrowed until the answer is freed. */
weir_status weirp_answer_new(weirp_answer **out, const weirp_request *request, const weirp_answer_options *options,
                             weir_error *err);
void weirp_answer_free(weirp_answer *answer); /* NULL is fine */
const weirp_answer_facts *weirp_answer_facts_of(const weirp_answer *answer);

/* A vendor's error, as told in a body or in the middle of a stream. */
typedef enum weirp_vendor_fault_kind {
    WEIRP_VENDOR_RATE_LIMIT,  /* 429, and quotas that refill */
    WEIRP_VENDOR_QUOTA,       /* money is out: insufficient_quota, credit balance: trying again is useless */
    WEIRP_VENDOR_OVERLOADED,  /* 503, 529, overloaded_error */
    WEIRP_VENDOR_SERVER,      /* 500, 502, 504, api_error, malformed answers */
    WEIRP_VENDOR_AUTH,        /* 401, 403: our key is wrong: the client can't help it */
    WEIRP_VENDOR_NOT_FOUND,   /* no such model or path at the vendor */
    WEIRP_VENDOR_TOO_LONG,    /* context length: a model with more room may take it */
    WEIRP_VENDOR_FILTERED,    /* content policy */
    WEIRP_VENDOR_INVALID,     /* the request is wrong: 400, 422 */
    WEIRP_VENDOR_UNSUPPORTED, /* so, for this model or vendor alone, in its own words: another one may take it */
    WEIRP_VENDOR_TIMEOUT,     /* 408 */
} weirp_vendor_fault_kind;

typedef struct weirp_vendor_fault {
    weirp_vendor_fault_kind kind;
    char text[512];         /* the vendor's sentence, cut; "" */
    char code[64];          /* the vendor's code or type; "" */
    int64_t retry_after_ms; /* as its body says; 0: it doesn't */
} weirp_vendor_fault;

/* One event of the vendor's stream: appends what the client is to get now (may be nothing) to `out`. WEIR_PARSE: the
 * event isn't what the protocol says (`err`); WEIR_NET: the vendor reports an error in mid-stream (`fault`, may be
 * NULL). The facts are up to date in any case. */
weir_status weirp_answer_event(weirp_answer *answer, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_writer *out, weirp_vendor_fault *fault, weir_error *err);
/* The vendor's stream has ended, or the facts say that it is done: appends what is still owed to the client: usage if
 * it asked, the note, the API's own end marker. WEIR_PARSE where the protocol's end hasn't come: what is missing was
 * cut off; nothing is appended then.
 */
weir_status weirp_answer_end(weirp_answer *answer, weirp_writer *out, weir_error *err);
/* A whole answer (not a stream), status 2xx: appends what the client is to get; a stream, where it asked for one and
 * the vendor doesn't stream. WEIR_PARSE as above; WEIR_NET: the vendor reports an error all the same
 * (weirp_vendor_fault_read sorts it). Nothing is to be sent on then. */
weir_status weirp_answer_body(weirp_answer *answer, const char *text, size_t len, weirp_writer *out, weir_error *err);
/* An error in the middle of a stream that has begun: in the shape in which clients of the API expect it. */
void weirp_answer_error(const weirp_answer *answer, const char *text, const char *type, weirp_writer *out);

/* Sorts a vendor's error answer. `text` may be anything, or empty. */
void weirp_vendor_fault_read(weirp_vendor_fault *fault, weirp_protocol protocol, int status, const char *text,
                             size_t len);

/* ---- errors to clients ---- */

/* A whole error body in the shape of `api`. `type` NULL: the API's usual one for that status ("invalid_request_error",
 * "rate_limit_error", ...). */
void weirp_error_write(weirp_api api, int status, const char *type, const char *code, const char *param,
                       const char *text, weirp_writer *out);

#endif

/* parts.h: what the files of this folder share: the pieces that an answer is read into, and the tables of those who
 * read and write them. Adding a vendor protocol or a client API is one file and one line in its table (answer.c).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_PARTS_H
#define WEIRP_TRANSLATE_PARTS_H

#include "src/translate/translate.h"

/* One step of an answer. Texts are borrowed for the length of the call, NOT terminated. */
typedef enum weirp_piece_kind {
    WEIRP_PIECE_START,     /* the answer begins: id, name (model) where known; may come more than once, first counts */
    WEIRP_PIECE_TEXT,      /* text: a part of what is said */
    WEIRP_PIECE_REASONING, /* text: a part of what is thought aloud */
    WEIRP_PIECE_REFUSAL,   /* text */
    WEIRP_PIECE_TOOL,      /* a tool call begins: index, id, name */
    WEIRP_PIECE_ARGUMENTS, /* index, text: a part of its arguments (JSON text) */
    WEIRP_PIECE_FINISH,    /* finish, of this choice */
    WEIRP_PIECE_USAGE,     /* usage, so far (later ones replace earlier ones) */
    WEIRP_PIECE_END,       /* the protocol's own end */
} weirp_piece_kind;

typedef struct weirp_piece {
    weirp_piece_kind kind;
    size_t choice; /* which of n answers */
    size_t index;  /* TOOL, ARGUMENTS: which tool call of the choice, from 0 */
    const char *text, *id, *name;
    size_t text_len, id_len, name_len;
    weirp_finish finish;
    const weirp_usage *usage;
} weirp_piece;

typedef weir_status (*weirp_piece_fn)(void *user, const weirp_piece *piece, weir_error *err);

/* ---- vendors' side: one file a protocol ---- */

typedef struct weirp_reader weirp_reader; /* a protocol's own state of one answer; new by `open`, freed by free() */

typedef struct weirp_protocol_ops {
    /* The chat request (OpenAI's form, r->chat) in the vendor's form; for streams too. r->chat is NULL where r->api is
     * the protocol's own (weirp_speaks): then r->text is to be sent, with the members changed that must be. */
    weir_status (*write)(const weirp_request *r, const weirp_target *target, weirp_writer *body, char *path,
                         size_t path_size, weirp_fault *fault);
    weirp_reader *(*open)(void); /* NULL: out of memory */
    /* Event or body into pieces. WEIR_PARSE, WEIR_NET as weirp_answer_event. */
    weir_status (*event)(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                         weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err);
    /* An event that passes through, into the facts and nothing else: a cheaper `event`. NULL: `event` does it. */
    weir_status (*facts)(weirp_answer_facts *facts, const char *type, size_t type_len, const char *data, size_t len,
                         weirp_vendor_fault *fault, weir_error *err);
    weir_status (*body)(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err);
    /* Fills kind, text and code from an error's JSON; returns false where there is none in the protocol's shape. */
    bool (*fault)(weirp_vendor_fault *fault, int status, const json_t *json);
} weirp_protocol_ops;

extern const weirp_protocol_ops weirp_openai_ops, weirp_anthropic_ops, weirp_gemini_ops;

/* ---- clients' side: one file an API ---- */

typedef struct weirp_pen weirp_pen; /* an API's own state of one answer that is being written; freed by `close` */

typedef struct weirp_pen_options {
    bool stream, include_usage;
    const char *model, *id; /* borrowed */
    int64_t created_s;
} weirp_pen_options;

typedef struct weirp_api_ops {
    /* Fills what weirp_request holds from r->json; checks what is read. */
    weir_status (*parse)(weirp_request *r, weirp_fault *fault);
    /* Appends the request's text as features see it; buffer->failed: out of memory. NULL: datasets' rule does. */
    void (*prompt)(const weirp_request *r, weirp_writer *buffer);
    /* The OpenAI chat request that means the same (a new reference), or NULL with the fault filled. NULL function:
     * never translated. */
    json_t *(*chat)(const weirp_request *r, weirp_fault *fault);
    weirp_pen *(*open)(const weirp_pen_options *options); /* NULL: out of memory */
    /* Streams: appends events; whole answers: gathers, and writes at `end`. */
    weir_status (*piece)(weirp_pen *pen, const weirp_piece *piece, weirp_writer *out, weir_error *err);
    /* `note` (len) goes into the stream as a comment; len 0: none. */
    weir_status (*end)(weirp_pen *pen, const weirp_answer_facts *facts, const char *note, size_t note_len,
                       weirp_writer *out, weir_error *err);
    void (*close)(weirp_pen *pen);
    /* In mid-stream; `pen` is NULL where events pass through. */
    void (*error)(const weirp_pen *pen, const char *text, const char *type, weirp_writer *out);
} weirp_api_ops;

extern const weirp_api_ops weirp_chat_ops, weirp_completions_ops, weirp_messages_ops;

/* ---- small things that all need ---- */

/* Client and vendor speak the same: bytes pass through, as requests, as events (with the note before the event that is
 * the protocol's end) and as bodies. */
bool weirp_speaks(weirp_api api, weirp_protocol protocol, bool legacy_completions);

weir_status weirp_fault_set(weirp_fault *fault, const char *param, const char *code, const char *format, ...)
    WEIR_PRINTF(4, 5); /* WEIR_PARSE, always */
/* Members that several APIs share, read and checked; params in faults are the members' names. */
weir_status weirp_read_model(weirp_request *r, weirp_fault *fault);   /* "model": required */
weir_status weirp_read_stream(weirp_request *r, weirp_fault *fault);  /* "stream", "stream_options" */
weir_status weirp_read_choices(weirp_request *r, weirp_fault *fault); /* "n" */
void weirp_read_user(weirp_request *r, const char *member);
/* A whole number of at least `least`; NAN where it is absent or null. */
weir_status weirp_read_count(const weirp_request *r, const char *member, double least, double *out, weirp_fault *fault);
weir_status weirp_missing(weirp_fault *fault, const char *param);
weir_status weirp_wrong_type(weirp_fault *fault, const char *param, const char *right);
/* Text as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void weirp_put_json_text(weirp_writer *w, const char *text, size_t len);
/* A printf into a writer. */
void weirp_putf(weirp_writer *w, const char *format, ...) WEIR_PRINTF(2, 3);
/* Compact JSON; false: out of memory. */
bool weirp_put_json(weirp_writer *w, const json_t *json);
int64_t weirp_json_count(const json_t *json); /* a whole number, 0 or more; 0 for anything else */

/* Cuts and pastes a JSON object's text without touching what stays: `edits` name top-level members; value NULL takes
 * the member out, otherwise it replaces it or is appended. `text` must be an object that Jansson has accepted. */
typedef struct weirp_edit {
    const char *key;
    const char *value; /* JSON text; NULL: take out */
} weirp_edit;
/* Appended to `out`. WEIR_PARSE: not an object; WEIR_NOMEM. */
weir_status weirp_json_edit(const char *text, size_t len, const weirp_edit *edits, size_t n, weirp_writer *out);
/* Parses an object or array with the limits for all that comes from outside: depth, duplicate keys, size. A new
 * reference. NULL: `what` says why (what_size 0: it isn't wanted). */
json_t *weirp_json_parse(const char *text, size_t len, char *what, size_t what_size);
/* "event: TYPE" (type_len 0: none) and "data: ..." lines, as many as `data` has, and the empty line. */
void weirp_put_event(weirp_writer *out, const char *type, size_t type_len, const char *data, size_t len);
/* ": NOTE" and an empty line; nothing for len 0. */
void weirp_put_comment(weirp_writer *out, const char *note, size_t len);
/* Keeps the facts of an answer up to date. */
void weirp_facts_piece(weirp_answer_facts *facts, const weirp_piece *piece);
void weirp_facts_text(weirp_answer_facts *facts, const char *text, size_t len); /* output of any kind */
/* The piece's usage as OpenAI writes it: {"prompt_tokens":...}. */
void weirp_put_usage(weirp_writer *w, const weirp_usage *usage);
/* Sorts an HTTP status; what a code, a type or a sentence of a vendor gives away beyond it (false: nothing). */
weirp_vendor_fault_kind weirp_fault_kind_status(int status);
bool weirp_fault_kind_words(const char *words, weirp_vendor_fault_kind *kind);
/* Whether a refusal is about what this model or vendor can do, and not about what the client got wrong. */
bool weirp_fault_unsupported(const char *code, const char *text);
/* Both, for a fault whose code and text are filled: sets its kind. `status` below 400 (an error in a stream): `type`
 * stands for one. `type` may be "". */
void weirp_fault_sort(weirp_vendor_fault *fault, int status, const char *type);

#endif

/* openai.h: what the files about OpenAI's protocol share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_OPENAI_H
#define WEIRP_TRANSLATE_OPENAI_H

#include "src/translate/parts.h"

/* ---- into pieces (openai_read.c) ---- */

weirp_reader *weirp_openai_open(void);
weir_status weirp_openai_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err);
/* Takes what a parsed chunk's choices say into the facts. */
weir_status weirp_openai_note(const json_t *json, weirp_answer_facts *facts, weir_error *err);
/* Chat completions and legacy completions. */
weir_status weirp_openai_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err);

/* The facts of a whole answer, without parsing it; false: it must be parsed, and the facts are as they were. */
bool weirp_openai_glance(const char *text, size_t len, weirp_answer_facts *facts);

/* ---- details (openai_facts.c) ---- */

/* A "usage" object; false: there is nothing in it. */
bool weirp_openai_usage(const json_t *usage, weirp_usage *out);
/* The same of its text, without parsing it; false, too, where anything in it is unusual. */
bool weirp_openai_usage_glance(const char *text, size_t len, weirp_usage *out);
/* The usage that an answer or a chunk tells, at whichever of the places vendors put it; false: none. */
bool weirp_openai_usage_of(const json_t *answer, weirp_usage *out);
weirp_finish weirp_openai_finish(const char *name, size_t len);
bool weirp_openai_fault(weirp_vendor_fault *fault, int status, const json_t *json);
/* An error told in the place of an answer: fills the fault (may be NULL) and `err`, returns WEIR_NET. WEIR_OK: none. */
weir_status weirp_openai_error(const json_t *json, weirp_vendor_fault *fault, weir_error *err);
/* `data` is the stream's own end. */
bool weirp_openai_is_done(const char *data, size_t len);

/* ---- streams that pass through (relay.c) ---- */

typedef struct weirp_relay weirp_relay;

weirp_relay *weirp_relay_new(bool include_usage, size_t n_choices); /* NULL: out of memory */
void weirp_relay_free(weirp_relay *relay);
weir_status weirp_relay_event(weirp_relay *relay, const char *type, size_t type_len, const char *data, size_t len,
                              weirp_answer_facts *facts, weirp_writer *out, weirp_vendor_fault *fault, weir_error *err);
/* The end has come: [DONE], or, as some leave that out, a finish reason for every choice. */
bool weirp_relay_complete(const weirp_relay *relay, const weirp_answer_facts *facts);
/* What is still owed after the last event: usage, the note, the end. `options`: for a chunk of our own. */
void weirp_relay_end(const weirp_relay *relay, const weirp_pen_options *options, bool legacy,
                     const weirp_answer_facts *facts, const char *note, size_t note_len, weirp_writer *out);
/* A whole answer of the embeddings API: usage and model. It may be large and is mostly numbers: not parsed. */
weir_status weirp_openai_embeddings(const char *text, size_t len, weirp_answer_facts *facts, weir_error *err);

#endif

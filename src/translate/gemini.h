/* gemini.h: what the files of Gemini's protocol share (v1beta of generativelanguage.googleapis.com: generateContent and
 * streamGenerateContent?alt=sse; reference: https://ai.google.dev/api/generate-content).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_GEMINI_H
#define WEIRP_GEMINI_H

#include "src/translate/parts.h"

#define WEIRP_GEMINI_CANDIDATES 8 /* as many as candidateCount may ask for */

/* A request that is being written. */
typedef struct weirp_gemini_draft {
    const weirp_request *request;
    const weirp_target *target;
    weirp_fault *fault;
    json_t *root; /* the body */
    int version;  /* of the model, as weirp_gemini_version says */
    bool refused; /* this vendor can't be asked that: the fault says why */
    bool failed;  /* out of memory */
} weirp_gemini_draft;

/* All return false where the draft is refused or failed. */
bool weirp_gemini_contents(weirp_gemini_draft *d);   /* contents, systemInstruction */
bool weirp_gemini_tools(weirp_gemini_draft *d);      /* tools, toolConfig */
bool weirp_gemini_generation(weirp_gemini_draft *d); /* generationConfig */

/* 25 for "models/gemini-2.5-flash", 30 for "gemini-3-pro"; 990 where a Gemini's name has no number
 * ("gemini-flash-latest" is the newest); 0 for other models (Gemma). */
int weirp_gemini_version(const char *model);

/* Refuses the request: param, code, format, ... as weirp_fault_set; false. */
#define WEIRP_GEMINI_REFUSE(d, ...) ((void)weirp_fault_set((d)->fault, __VA_ARGS__), (d)->refused = true, false)

/* Puts or appends `value` (steals it); NULL, or no memory, fails the draft. */
bool weirp_gemini_put(weirp_gemini_draft *d, json_t *object, const char *key, json_t *value);
bool weirp_gemini_append(weirp_gemini_draft *d, json_t *array, json_t *value);
bool weirp_gemini_is(const json_t *string, const char *text); /* a JSON string of just this text */

/* A JSON Schema in the words that Gemini knows: a new reference; NULL: out of memory. `schema` is left as it is. */
json_t *weirp_gemini_schema(const json_t *schema);

/* ---- answers ---- */

weirp_reader *weirp_gemini_open(void);
weir_status weirp_gemini_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                               weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err);
weir_status weirp_gemini_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err);
bool weirp_gemini_fault(weirp_vendor_fault *fault, int status, const json_t *json);

#endif

/* anthropic_parts.h: what anthropic.c and anthropic_answer.c share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_ANTHROPIC_PARTS_H
#define WEIRP_TRANSLATE_ANTHROPIC_PARTS_H

#include "src/translate/anthropic.h"

/* The text of a call's arguments as a tool's input: always an object; {} for no text, {"INVALID_JSON": text} for text
 * that is no JSON object. New; NULL: out of memory. */
json_t *weirp_anthropic_input(const char *text, size_t len);

/* weirp_protocol_ops */
weirp_reader *weirp_anthropic_open(void);
weir_status weirp_anthropic_event(weirp_reader *reader, const char *type, size_t type_len, const char *data, size_t len,
                                  weirp_piece_fn fn, void *user, weirp_vendor_fault *fault, weir_error *err);
weir_status weirp_anthropic_body(const char *text, size_t len, weirp_piece_fn fn, void *user, weir_error *err);
bool weirp_anthropic_fault(weirp_vendor_fault *fault, int status, const json_t *json);

#endif

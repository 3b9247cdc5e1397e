/* anthropic.h: what answer.c needs of Anthropic's Messages API where client and vendor both speak it, so that requests
 * and answers pass through instead of being translated.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_ANTHROPIC_H
#define WEIRP_TRANSLATE_ANTHROPIC_H

#include "src/translate/parts.h"

/* weirp_protocol_ops: one event of a stream that passes through, into the facts. Events that carry text are looked at,
 * not parsed as JSON; those that carry usage, a stop reason or an error are parsed. Clients of this API tell events
 * apart by their "event:" line, so that what passes through must be written with its type again (weirp_put_event). */
weir_status weirp_anthropic_facts(weirp_answer_facts *facts, const char *type, size_t type_len, const char *data,
                                  size_t len, weirp_vendor_fault *fault, weir_error *err);

/* weirp_api_ops: system, then every text of the messages, their tool results and documents, parted by empty lines. */
void weirp_messages_prompt(const weirp_request *r, weirp_writer *buffer);

/* Thinking that other vendors' models did aloud comes to clients as thinking blocks without a signature, and clients
 * send it back with the next request; Anthropic refuses it there. Appends "messages" without such blocks as JSON text
 * to `out` and returns true; false: there are none, and the messages can stay as they are. out->failed: out of memory.
 */
bool weirp_messages_unsigned(const weirp_request *r, weirp_writer *out);

#endif

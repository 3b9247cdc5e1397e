/* anthropic.h: what answer.c needs of Anthropic's Messages API where client and vendor both speak it, so that requests
 * and answers pass through instead of being translated.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_ANTHROPIC_H
#define WEIRP_TRANSLATE_ANTHROPIC_H

#include "src/translate/parts.h"

/* One event of a stream that passes through, into the facts. Events that carry text are only looked at, not parsed as
 * JSON; those that carry usage, a stop reason or an error are parsed. WEIR_PARSE: not what the protocol says (`err`);
 * WEIR_NET: the vendor reports an error (`fault`, may be NULL). Clients of this API tell events apart by their "event:"
 * line, so that what passes through must be framed again with weirp_messages_frame. */
weir_status weirp_anthropic_facts(weirp_answer_facts *facts, const char *type, size_t type_len, const char *data,
                                  size_t len, weirp_vendor_fault *fault, weir_error *err);

/* Appends "event: TYPE\ndata: DATA\n\n"; data with line ends in it becomes several "data:" lines. Without a type the
 * data's own "type" member is taken where it is its first, otherwise there is no "event:" line. */
void weirp_messages_frame(weirp_writer *out, const char *type, size_t type_len, const char *data, size_t len);

/* Thinking that other vendors' models did aloud comes to clients as thinking blocks without a signature, and clients
 * send it back with the next request; Anthropic refuses it there. Appends "messages" without such blocks as JSON text
 * to `out` and returns true; false: there are none, and the messages can stay as they are. out->failed: out of memory.
 */
bool weirp_messages_unsigned(const weirp_request *r, weirp_writer *out);

/* The request's text as features see it (system, then every text of the messages and their tool results, parted by
 * empty lines), appended to `buffer`. false: out of memory. */
bool weirp_messages_prompt(const weirp_request *r, weirp_writer *buffer);

#endif

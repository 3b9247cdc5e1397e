/* prompt.h: what a request asks, as one text. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_PROMPT_H
#define WEIRP_PROMPT_H

#include <jansson.h>

#include "src/base/base.h"

/* The rule (docs/formats.md, "Outcomes"): a string is itself. An array of chat messages is the contents of all of them
 * in order, joined by an empty line; roles don't count. A content is a string, null (nothing), or an array of parts,
 * of which those with a "text" count, each like a message of its own; images and the like are passed over.
 *
 * *text (not NUL-terminated) is borrowed from `prompt` or from `buffer`, which the caller frees and may reuse. Returns
 * what is wrong with the prompt (static), NULL if nothing is. buffer->failed: out of memory. */
const char *weirp_prompt_text(const json_t *prompt, weirp_writer *buffer, const char **text, size_t *len);

#endif

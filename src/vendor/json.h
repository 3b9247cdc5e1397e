/* json.h: JSON written straight into a buffer, as answers are made of it. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_VENDOR_JSON_H
#define WEIRP_VENDOR_JSON_H

#include <jansson.h>

#include "src/base/base.h"

void vend_put(weirp_writer *w, const char *text);
void vend_put_int(weirp_writer *w, int64_t v);
/* In quotes and escaped; `text` is UTF-8. The second form leaves the quotes to the caller. */
void vend_put_quoted(weirp_writer *w, const char *text, size_t len);
void vend_put_escaped(weirp_writer *w, const char *text, size_t len);
/* `key` comes with all that stands before the value: "\"id\":". NULL text gives null. */
void vend_put_member(weirp_writer *w, const char *key, const char *text);
void vend_put_format(weirp_writer *w, const char *format, ...) WEIR_PRINTF(2, 3);

/* A value that fits a JSON Schema, the same for the same seed: what a model would give as arguments of a tool, or as
 * structured output. A schema that isn't understood gives {}. */
void vend_sample(weirp_writer *w, const json_t *schema, uint64_t seed);

#endif

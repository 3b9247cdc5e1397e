/* quick.h: a fast reader for plain JSON. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_TRANSLATE_QUICK_H
#define WEIRP_TRANSLATE_QUICK_H

#include <jansson.h>
#include <stddef.h>

/* The object or array, new; NULL: it isn't plain (or isn't JSON), ask Jansson. What this reads json_loadb with
 * JSON_REJECT_DUPLICATES reads to the same values. At most 64 levels deep and 65,536 values. */
json_t *weirp_json_quick(const char *text, size_t len);

#endif

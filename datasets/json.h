/* json.h: what Jansson leaves to its callers. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_JSON_H
#define WEIRP_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* True where json_load...() failed for want of memory, and not because of its input: it then mostly leaves the error's
 * text empty, and its code unset. */
static inline bool weirp_json_nomem(const json_error_t *e) {
    return !*e->text || json_error_code(e) == json_error_out_of_memory;
}

#endif

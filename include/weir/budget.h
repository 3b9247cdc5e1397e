/* budget.h: virtual API keys, and limits on what may be spent, in a store.
 *
 * All of it works beside a running gateway on the same store, which follows changes by itself. Reports are JSON texts
 * in new memory: free() them. WEIR_INVALID: what was asked for is wrong, or isn't there, and the message says what
 * would be right. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_BUDGET_H
#define WEIR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

/* ---- virtual API keys ---- */

#define WEIR_KEY_TEXT 64 /* bytes that hold any key's text, with its zero */

/* Zeros: no limit, no team, all models, for ever. Texts are borrowed. */
typedef struct weir_key_options {
    const char *team, *note;
    const char *expires; /* "30d", "2027-01-31" (where that day begins, UTC), "2027-01-31T12:00Z"; NULL: never */
    const char *const *models;
    size_t n_models;
    uint32_t requests_per_minute, concurrent;
    int64_t tokens_per_minute;
} weir_key_options;

/* `secret` gets the key's text: it can't be had again, for the store keeps a digest alone. Names are unique. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_create(const char *store, const char *name,
                                                     const weir_key_options *options, char secret[WEIR_KEY_TEXT],
                                                     weir_error *err);
/* {"keys":[{"name","team","key","state","created","rotated","expires","revoked","previous_until",
 * "requests_per_minute","tokens_per_minute","concurrent","models","note"}]}: null where there is none; "key" is its
 * last characters. One key: the object alone. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_list(const char *store, char **json, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_key_show(const char *store, const char *name, char **json, weir_error *err);
/* A new text under the same name and limits. The old one goes on for `grace` ("1h"; NULL: it ends at once); one that
 * was in grace already ends at once. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_rotate(const char *store, const char *name, const char *grace,
                                                     char secret[WEIR_KEY_TEXT], weir_error *err);
/* `when` as in the options, or "now", or "never". */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_expire(const char *store, const char *name, const char *when,
                                                     weir_error *err);
/* For ever; revoking twice is fine. Its name stays taken until it is removed. */
WEIR_API WEIR_MUST_CHECK weir_status weir_key_revoke(const char *store, const char *name, weir_error *err);
WEIR_API WEIR_MUST_CHECK weir_status weir_key_remove(const char *store, const char *name, weir_error *err);

WEIR_END_DECLS

#endif

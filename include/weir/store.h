/* store.h: looking after a store file. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIR_STORE_H
#define WEIR_STORE_H

#include <stdint.h>
#include <stdio.h>

#include "weir/error.h"

WEIR_BEGIN_DECLS

/* What the store holds, as JSON; *json is new: free() it. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_info(const char *path, char **json, weir_error *err);

/* Reads everything and verifies every checksum and cross-reference. WEIR_OK: sound. *json (may be NULL) is new: what
 * was checked, with counts, n_feedbacks among them. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_check(const char *path, char **json, weir_error *err);

/* Writes a copy without free pages to `target` (which must not exist), or in place of the store where target is NULL.
 */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_compact(const char *path, const char *target, weir_error *err);

/* The store's contents as JSON lines: pool, sections, and the log a line a decision. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_export(const char *path, FILE *out, weir_error *err);

/* The log alone, a record a line, every field by name. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_export_log(const char *path, FILE *out, weir_error *err);

/* Deletes the log's oldest records: all but the last `keep`, or, where older_than_days >= 0, those of before that. What
 * the state has yet to take in stays, and so does what shares a batch with a record that stays: up to some hundred more.
 * *n_gone (may be NULL): how many went. The file keeps its size, with room in it (weir_store_compact). WEIR_BUSY beside a
 * learner. */
WEIR_API WEIR_MUST_CHECK weir_status weir_store_trim(const char *path, uint64_t keep, double older_than_days,
                                                     uint64_t *n_gone, weir_error *err);

WEIR_END_DECLS

#endif

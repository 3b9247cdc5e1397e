/* datasets.h: reading, making and converting outcomes.
 *
 * Lives here: outcome files, data sets in memory, the simulator, other systems' formats. May not know: features,
 * estimators, policies. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_DATASETS_H
#define WEIRP_DATASETS_H

#include "src/base/base.h"
#include "weir/data.h"

/* A data set that grows record by record. */
typedef struct weirp_builder weirp_builder;

weir_status weirp_builder_new(weirp_builder **out, weir_error *err); /* *out is new */
/* The model's column, added if it is new. */
weir_status weirp_builder_model(weirp_builder *b, const char *name, size_t *index, weir_error *err);
/* Copies the record; record->model[i] goes to column column[record->model[i]]. An id that was there before (but not "")
 * leaves the record out: *duplicate. */
weir_status weirp_builder_add(weirp_builder *b, const weir_record *record, const size_t *column, bool *duplicate,
                              weir_error *err);
size_t weirp_builder_n_prompts(const weirp_builder *b);
/* *out is new; the builder is empty afterwards, also on failure. */
weir_status weirp_builder_finish(weirp_builder *b, weir_dataset **out, weir_error *err);
void weirp_builder_free(weirp_builder *b); /* NULL is fine */

#endif

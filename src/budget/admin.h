/* admin.h: what key_admin.c and budget_admin.c share, and what others ask as people do. SPDX-License-Identifier:
 * GPL-3.0-or-later */
#ifndef WEIRP_ADMIN_H
#define WEIRP_ADMIN_H

#include <jansson.h>

#include "src/budget/budget.h"
#include "src/store/store.h"
#include "weir/budget.h"

/* A store as it is now, to read. Zeros: nothing to end. */
typedef struct weirp_admin_view {
    weirp_store *store;
    weirp_snapshot *snapshot;
} weirp_admin_view;
weir_status weirp_admin_open(weirp_admin_view *view, const char *path, weir_error *err);
void weirp_admin_close(weirp_admin_view *view);
/* The value's text; steals it. NULL: memory ran out while it was made. *json is new. */
weir_status weirp_admin_dump(json_t *value, char **json, weir_error *err);

/* A budget as it was said; WEIR_INVALID says what would be right. */
weir_status weirp_admin_budget(const char *name, const weir_budget_options *options, weirp_budget *budget,
                               weir_error *err);
/* "0.5,0.8,0.95". */
weir_status weirp_admin_warn(const char *text, double warn[WEIRP_MAX_WARNINGS], weir_error *err);

#endif

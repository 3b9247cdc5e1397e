/* admin.h: what key_admin.c and budget_admin.c share. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_ADMIN_H
#define WEIRP_ADMIN_H

#include <jansson.h>

#include "src/store/store.h"

/* A store as it is now, to read. Zeros: nothing to end. */
typedef struct weirp_admin_view {
    weirp_store *store;
    weirp_snapshot *snapshot;
} weirp_admin_view;
weir_status weirp_admin_open(weirp_admin_view *view, const char *path, weir_error *err);
void weirp_admin_close(weirp_admin_view *view);
/* The value's text; steals it. NULL: memory ran out while it was made. *json is new. */
weir_status weirp_admin_dump(json_t *value, char **json, weir_error *err);

#endif

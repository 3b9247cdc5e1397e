/* inspect.h: a store as it is looked at. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef WEIRP_INSPECT_H
#define WEIRP_INSPECT_H

#include <jansson.h>

#include "src/router/learn.h"

typedef struct weirp_view {
    weirp_store *store;
    weirp_snapshot *snapshot;
    weirp_state *state;
} weirp_view;

weir_status weirp_view_open(weirp_view *v, const char *path, weir_error *err);
void weirp_view_close(weirp_view *v);

/* Each is new, or NULL when memory is out. */
json_t *weirp_json_number(double v); /* null where it isn't finite */
json_t *weirp_pool_json(const weirp_state *s);
json_t *weirp_members_json(const weirp_state *s);
json_t *weirp_sections_json(weirp_snapshot *snapshot);

/* Names that the models of an earlier training had: a section by the commit of that training. */
#define WEIRP_NAMES_PREFIX "names."
void weirp_names_section(char name[32], uint64_t trained_version);
/* Fills `w` with the names of the snapshot's pool, if it has one and log records refer to it; *trained_version: since
 * which commit they were those. WEIR_NOTFOUND: there is nothing to keep. */
weir_status weirp_names_save(weirp_snapshot *snapshot, uint64_t *trained_version, weirp_writer *w, weir_error *err);

#endif

/* admin.c: reading a store to report on it. SPDX-License-Identifier: GPL-3.0-or-later */
#include "src/budget/admin.h"

weir_status weirp_admin_open(weirp_admin_view *view, const char *path, weir_error *err) {
    weir_status st;
    WEIRP_TRY(weirp_store_open(&view->store, path, WEIRP_STORE_READ, err));
    st = weirp_snapshot_begin(&view->snapshot, view->store, err);
done:
    return st;
}

void weirp_admin_close(weirp_admin_view *view) {
    weirp_snapshot_end(view->snapshot);
    weirp_store_close(view->store);
    *view = (weirp_admin_view){0};
}

weir_status weirp_admin_dump(json_t *value, char **json, weir_error *err) {
    *json = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(value);
    return *json ? WEIR_OK : weirp_nomem(err);
}

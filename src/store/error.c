/* error.c: LMDB's codes as ours. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "src/store/internal.h"

static weir_status status_of(int rc) {
    switch (rc) {
    case MDB_INVALID: return WEIR_FOREIGN;
    case MDB_VERSION_MISMATCH: return WEIR_NEWER;
    case MDB_INCOMPATIBLE: /* a database with other flags than ours, or a copy that met lost pages */
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED: return WEIR_CORRUPT;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL: return WEIR_FULL;
    case MDB_READERS_FULL: return WEIR_BUSY;
    case MDB_NOTFOUND: return WEIR_NOTFOUND;
    default: return WEIR_IO;
    }
}

weir_status weirp_store_fail(weir_error *err, int rc, const char *what, const char *path) {
    if (rc == EFBIG) return weirp_fail(err, WEIR_FULL, 0, "%s: %s: file size limit reached", path, what);
    if (rc > 0) return weirp_fail_errno(err, rc, what, path);
    return weirp_fail(err, status_of(rc), 0, "%s: %s: %s", path, what, mdb_strerror(rc));
}

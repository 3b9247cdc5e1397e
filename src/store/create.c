/* create.c: new files, whole or not at all.
 *
 * A store is made under another name and renamed when it is complete, so that a kill -9 leaves no half-made file under
 * the store's name. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/store/internal.h"

weir_status weirp_temporary(const char *path, char **temp, int *fd, weir_error *err) {
    for (uint64_t i = 0; i < 100; i++) {
        char suffix[64];
        uint64_t salt = weirp_mix64(weirp_monotonic_ns() + i);
        snprintf(suffix, sizeof suffix, ".new-%ld-%08lx", (long)getpid(), (unsigned long)(salt & 0xffffffffu));
        *temp = weirp_sibling(path, suffix);
        if (!*temp) return weirp_nomem(err);
        *fd = open(*temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) return WEIR_OK;
        int e = errno;
        free(*temp);
        *temp = NULL;
        if (e != EEXIST) return weirp_fail_errno(err, e, "can't create a file beside it", path);
    }
    return weirp_fail(err, WEIR_IO, 0, "%s: can't create a file beside it", path);
}

static int rename_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    /* a file system that can't: a hard link fails where the name is taken, too */
    return link(from, to) == 0 && unlink(from) == 0 ? 0 : errno;
}

weir_status weirp_put_in_place(const char *temp, const char *path, bool replace, weir_error *err) {
    int gate;
    weir_status st = weirp_gate_enter(&gate, path, true, err);
    if (st != WEIR_OK) return st;
    char *lock = weirp_sibling(path, "-lock");
    int rc = !lock ? ENOMEM : replace ? (rename(temp, path) == 0 ? 0 : errno) : rename_new(temp, path);
    if (!rc && unlink(lock) != 0 && errno != ENOENT) rc = errno;
    if (!rc) rc = weirp_sync_folder(path);
    weirp_unlock(gate);
    free(lock);
    if (rc == EEXIST) return weirp_fail(err, WEIR_INVALID, 0, "%s: exists", path);
    return rc ? weirp_fail_errno(err, rc, "can't put the new file in place", path) : WEIR_OK;
}

static int fill(MDB_env *env, const char *path) {
    int rc;
    MDB_txn *txn = NULL;
    MDB_dbi meta, other;
    uint8_t bytes[WEIRP_META_SIZE];
    char key_text[] = WEIRP_META_KEY;
    MDB_val key = {strlen(key_text), key_text}, value = {0, bytes};
    value.mv_size = weirp_meta_encode(&(weirp_meta){.schema = WEIRP_SCHEMA_PLAIN}, bytes);
    if ((rc = mdb_env_set_maxdbs(env, WEIRP_MAX_DBS)) ||
        (rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0666)) || (rc = mdb_txn_begin(env, NULL, 0, &txn)))
        return rc;
    if ((rc = mdb_dbi_open(txn, WEIRP_DB_META, MDB_CREATE, &meta)) ||
        (rc = mdb_dbi_open(txn, WEIRP_DB_SECTIONS, MDB_CREATE, &other)) ||
        (rc = mdb_dbi_open(txn, WEIRP_DB_LOG, MDB_CREATE, &other)) || (rc = mdb_put(txn, meta, &key, &value, 0))) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

weir_status weirp_create(const char *path, weir_error *err) {
    char *temp = NULL;
    int fd = -1;
    MDB_env *env = NULL;
    weir_status st = weirp_temporary(path, &temp, &fd, err);
    if (st != WEIR_OK) return st;
    int rc = mdb_env_create(&env);
    if (!rc) rc = fill(env, temp);
    mdb_env_close(env);
    if (!rc && fsync(fd) != 0) rc = errno;
    close(fd);
    if (rc)
        st = weirp_store_fail(err, rc, "can't create", path);
    else
        st = weirp_put_in_place(temp, path, false, NULL);
    if (st == WEIR_INVALID)
        st = WEIR_OK; /* another process made it first */
    else if (st != WEIR_OK)
        weirp_fail(err, st, 0, "%s: can't create: %s", path, weir_status_text(st));
    unlink(temp);
    free(temp);
    return st;
}
